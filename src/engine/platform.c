/* "platform" and "platforms" of images: OCI platforms in JSON. An image has one here, so they choose nothing: they fit or they
 * do not. */
#include "engine/private.h"

static struct span text_of(struct arena *a, const struct image_platform *p)
{
	return arena_printf(a, "%s/%s%s%s", p->os, p->arch, p->variant[0] ? "/" : "", p->variant);
}

static int member_take(const struct json *v, const char *key, char *out, size_t size, struct err *err)
{
	const struct json *m = json_get(v, span_of(key));
	struct span s = json_span(m);
	if ((m && m->kind != JSON_STRING && m->kind != JSON_NULL) || s.len >= size || memchr(s.ptr ? s.ptr : "", 0, s.len))
		return err_set(err, ERR_INVALID_REQUEST, "failed to parse platform: \"%s\" is no short text", key);
	memcpy(out, s.ptr ? s.ptr : "", s.len);
	out[s.len] = 0;
	return 0;
}

/* Docker's DecodePlatform and its words. */
static int platform_parse(struct span text, struct arena *a, struct image_platform *out, struct err *err)
{
	static const struct json_limits limits = { .bytes = 4096, .depth = 4, .nodes = 100 };
	struct json v;
	auto_err struct err why = ERR_INIT;
	*out = (struct image_platform){};
	auto_buf struct buf complaint = {};
	if (json_go_complaint(&complaint, text))
		return err_set(err, ERR_INVALID_REQUEST, "failed to parse platform: %s", buf_cstr(&complaint));
	if (json_parse(a, text, JSON_DUPLICATES_LAST, &limits, &v, &why) < 0)
		return err_set(err, ERR_INVALID_REQUEST, "failed to parse platform: %s", err_msg(&why));
	if (v.kind != JSON_OBJECT)
		return err_set(err, ERR_INVALID_REQUEST, "failed to parse platform: a JSON object is wanted");
	int rc = member_take(&v, "os", out->os, sizeof(out->os), err);
	rc = rc < 0 ? rc : member_take(&v, "architecture", out->arch, sizeof(out->arch), err);
	rc = rc < 0 ? rc : member_take(&v, "variant", out->variant, sizeof(out->variant), err);
	if (rc < 0)
		return rc;
	if (!out->os[0] && !out->arch[0] && (out->variant[0] || json_getl(&v, "os.version") || json_getl(&v, "os.features")))
		return err_set(err, ERR_INVALID_REQUEST, "optional platform fields provided, but OS and Architecture are missing");
	if (!out->os[0] || !out->arch[0])
		return err_set(err, ERR_INVALID_REQUEST, "both OS and Architecture must be provided");
	return 0;
}

int engine_platform(struct engine_call *c, unsigned since, struct image_platform *out, bool *out_said, struct err *err)
{
	int rc = 0;
	*out_said = false;
	for (size_t i = 0; rc == 0 && c->api >= since && i < c->n_params; i++) {
		if (!span_is(c->params[i].key, "platform") || !c->params[i].value.len)
			continue;
		if (*out_said)
			return err_set(err, ERR_INVALID_REQUEST, "multiple platform parameters not supported");
		rc = platform_parse(c->params[i].value, &c->arena, out, err);
		*out_said = rc == 0;
	}
	return rc;
}

static int fits(struct engine_call *c, struct span name, const struct image_platform *want, struct err *err)
{
	struct arena *a = &c->arena;
	struct image_digest id;
	struct image_info info;
	struct image_config config;
	struct image_manifest manifest;
	int rc = image_find(c->e->images, name, &id, err);
	rc = rc < 0 ? rc : image_inspect(c->e->images, &id, a, &info, &config, &manifest, err);
	/* An image without a variant is taken for any, as Docker does: the configuration often lacks it. */
	struct image_platform plain = *want;
	if (rc == 0 && !info.platform.variant[0])
		plain.variant[0] = 0;
	if (rc == 0 && !image_platform_score(want, &info.platform) && !image_platform_score(&plain, &info.platform))
		rc = err_set(err, ERR_NOT_FOUND, "image with reference %.*s was found but does not provide the specified platform (%.*s)",
			SPAN_ARG(span_sub(name, 0, 512)), SPAN_ARG(text_of(a, want)));
	return rc;
}

int engine_platform_check(struct engine_call *c, unsigned since, struct span name, struct err *err)
{
	struct image_platform want;
	bool said;
	int rc = engine_platform(c, since, &want, &said, err);
	return rc < 0 || !said ? rc : fits(c, name, &want, err);
}

int engine_platforms_check(struct engine_call *c, unsigned since, struct span name, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && c->api >= since && i < c->n_params; i++) {
		struct image_platform want;
		if (!span_is(c->params[i].key, "platforms") || !c->params[i].value.len)
			continue;
		rc = platform_parse(c->params[i].value, &c->arena, &want, err);
		rc = rc < 0 ? rc : fits(c, name, &want, err);
	}
	return rc;
}
