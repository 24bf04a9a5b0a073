/* A create request as anybody may send it: {"Image":Config of the image,"Config":{...},"HostConfig":{...}}. What passes the checks
 * must become a config.json that is JSON, whatever is in it. Nothing is written or started; devices are looked at. */
#include "container/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct container_engine *engine(void)
{
	static struct container_engine e;
	static bool made;
	if (!made) {
		made = true;
		e.runner = mem_dup("/bin/true", 9);
		int rc = container_settings_read(NULL, &e.settings, NULL);
		assert(rc == 0);
		e.settings.systemd = false;
	}
	return &e;
}

static void spec(struct arena *a, const struct json *config, const struct json *host)
{
	auto_buf struct buf text = {};
	struct json tmpfs = json_array(), args, v;
	struct container_ids ids = { .uid = 1, .gid = 2, .home = "/" };
	struct spec_params p = { .e = engine(), .id = "c", .config = config, .host = host, .args = &args, .root = "/tmp", .ids = &ids,
		.hostname = SPAN("h"), .tmpfs = &tmpfs };
	container_command(a, config, &p.path, &args);
	if (container_spec_write(&p, a, &text, NULL) == 0)
		assert(json_parse(a, buf_span(&text), 0, NULL, &v, NULL) == 0 && v.kind == JSON_OBJECT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	struct json doc, config, host = json_object(), warnings = json_array(), none = json_object();
	const struct json_limits limits = { .bytes = 1 << 16, .depth = 16 };
	(void)container_name_ok(span_make(data, size));
	if (json_parse(&a, span_make(data, size), JSON_DUPLICATES_LAST, &limits, &doc, NULL) < 0 || doc.kind != JSON_OBJECT)
		return 0;
	const struct json *image = json_getl(&doc, "Image"), *request = json_getl(&doc, "Config");
	const struct json *asked = json_getl(&doc, "HostConfig");
	if (!json_is(request, JSON_OBJECT) || container_config_check(request, NULL) < 0)
		return 0;
	if (json_is(image, JSON_OBJECT) && container_config_check(image, NULL) < 0)
		return 0; /* an image's is read with the same eyes */
	if (container_config_merge(&a, json_is(image, JSON_OBJECT) ? image : &none, request, &config, NULL) < 0)
		return 0;
	if (json_is(asked, JSON_OBJECT))
		host = json_copy(&a, asked);
	if (container_host_check(engine(), &a, &host, &config, 0, &warnings, NULL) < 0)
		return 0;
	container_host_defaults(engine(), &a, &host);
	spec(&a, &config, &host);
	return 0;
}
