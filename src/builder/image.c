/* Images step by step: what an instruction stands on, and what it makes. */
#include "builder/work.h"

int builder_base_load(struct builder *b, const struct image_digest *id, struct arena *a, struct base *out, struct err *err)
{
	*out = (struct base){ .id = *id, .config = json_object(), .history = json_array(), .rest = json_object() };
	out->platform = image_platform_here();
	if (!id->text[0])
		return 0;
	struct image_info info;
	struct image_config config;
	struct image_manifest manifest;
	int rc = image_inspect(b->o.images, id, a, &info, &config, &manifest, err);
	if (rc < 0)
		return rc;
	static const char *const passed[] = { "os.version", "os.features" };
	const struct json *doc = json_getl(&config.tree, "config"), *history = json_getl(&config.tree, "history");
	if (json_is(doc, JSON_OBJECT))
		out->config = *doc;
	if (json_is(history, JSON_ARRAY))
		out->history = *history;
	for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
		const struct json *v = json_get(&config.tree, span_of(passed[i]));
		if (v)
			(void)json_set(a, &out->rest, span_of(passed[i]), *v);
	}
	out->diffs = config.diffs;
	out->layers = manifest.items;
	out->n = manifest.n;
	out->platform = config.platform;
	for (size_t i = 0; i < out->n; i++)
		image_chain(i ? out->chain : "", &out->diffs[i], out->chain);
	return 0;
}

static void time_out(struct json_out *o, const char *key, int64_t ns)
{
	char text[40];
	size_t n = time_format(text, ns / NS_PER_S, (int32_t)(ns % NS_PER_S), -1);
	json_out_kspan(o, key, span_make(text, n));
}

static void config_out(struct buf *out, const struct base *base, const struct base_step *s)
{
	struct json_out o = { .buf = out };
	auto_buf struct buf by = {};
	JSON_EACH_ITEM(s->cmd, item)
		buf_printf(&by, "%s%.*s", item == s->cmd->items ? "" : " ", SPAN_ARG(json_span(item)));
	json_out_begin(&o);
	json_out_kspan(&o, "architecture", span_of(base->platform.arch));
	json_out_kspan(&o, "variant", span_of(base->platform.variant));
	json_out_kspan(&o, "author", s->author);
	json_out_key(&o, SPAN("config"));
	builder_config_write(&o, s->doc, NULL, image_digest_span(&base->id));
	json_out_key(&o, SPAN("container_config"));
	builder_config_write(&o, s->doc, s->cmd, image_digest_span(&base->id));
	time_out(&o, "created", s->created_ns);
	json_out_key(&o, SPAN("history"));
	json_out_begin_array(&o);
	JSON_EACH_ITEM(&base->history, item)
		json_out_value(&o, item);
	json_out_begin(&o);
	json_out_kspan(&o, "author", s->author);
	json_out_kspan(&o, "comment", s->comment);
	time_out(&o, "created", s->created_ns);
	json_out_kspan(&o, "created_by", buf_span(&by));
	json_out_kbool(&o, "empty_layer", !s->layer);
	json_out_end(&o);
	json_out_end(&o);
	json_out_kspan(&o, "os", span_of(base->platform.os));
	JSON_EACH_MEMBER(&base->rest, m) {
		json_out_key(&o, json_key(m));
		json_out_value(&o, &m->value);
	}
	json_out_key(&o, SPAN("rootfs"));
	json_out_begin(&o);
	json_out_kspan(&o, "type", SPAN("layers"));
	json_out_key(&o, SPAN("diff_ids"));
	json_out_begin_array(&o);
	for (size_t i = 0; i < base->n; i++)
		json_out_span(&o, image_digest_span(&base->diffs[i]));
	if (s->layer)
		json_out_span(&o, image_digest_span(s->layer));
	json_out_end(&o);
	json_out_end(&o);
	json_out_end(&o);
}

static void descriptor_out(struct json_out *o, struct span type, const struct image_digest *d, uint64_t size)
{
	json_out_begin(o);
	json_out_kspan(o, "mediaType", type);
	json_out_kspan(o, "digest", image_digest_span(d));
	json_out_key(o, SPAN("size"));
	json_out_u64(o, size);
	json_out_end(o);
}

static void manifest_out(struct buf *out, const struct base *base, const struct base_step *s, const struct image_digest *config,
	size_t config_bytes)
{
	struct json_out o = { .buf = out };
	json_out_begin(&o);
	json_out_ki64(&o, "schemaVersion", 2);
	json_out_kspan(&o, "mediaType", span_of(IMAGE_TYPE_OCI_MANIFEST));
	json_out_key(&o, SPAN("config"));
	descriptor_out(&o, span_of(IMAGE_TYPE_OCI_CONFIG), config, config_bytes);
	json_out_key(&o, SPAN("layers"));
	json_out_begin_array(&o);
	for (size_t i = 0; i < base->n; i++)
		descriptor_out(&o, base->layers[i].media_type, &base->layers[i].digest, base->layers[i].size);
	if (s->as)
		descriptor_out(&o, s->as->media_type, &s->as->digest, s->as->size);
	else if (s->layer)
		descriptor_out(&o, span_of(IMAGE_TYPE_OCI_LAYER), s->layer, s->layer_bytes);
	json_out_end(&o);
	json_out_end(&o);
}

/* The containers' unpacker, which ends when the build is to end. */
struct unpacking {
	const struct image_unpacker *real;
	struct builder_stop *stop;
};

static bool unpacking_has(void *arg, const char *chain)
{
	const struct unpacking *u = arg;
	return u->real->has(u->real->arg, chain);
}

static int unpacking_unpack(void *arg, const char *parent, struct tar_source *from, void **out_pending, struct err *err)
{
	const struct unpacking *u = arg;
	struct stop_source s;
	builder_stop_source(&s, from, u->stop);
	return u->real->unpack(u->real->arg, parent, &s.source, out_pending, err);
}

static int unpacking_commit(void *arg, void *pending, const char *chain, const char *parent, struct err *err)
{
	const struct unpacking *u = arg;
	return u->real->commit(u->real->arg, pending, chain, parent, err);
}

static void unpacking_drop(void *arg, void *pending)
{
	const struct unpacking *u = arg;
	u->real->drop(u->real->arg, pending);
}

int builder_base_step(struct builder *b, const struct base *base, const struct base_step *s, struct arena *a,
	struct image_digest *out_id, struct err *err)
{
	struct image_digest config, manifest;
	auto_buf struct buf text = {}, list = {};
	if (base->n + (s->layer != NULL) > 127)
		return err_set(err, ERR_INVALID_REQUEST, "max depth exceeded");
	config_out(&text, base, s);
	int rc = image_blob_put(b->o.images, buf_span(&text), &config, err);
	if (rc < 0)
		return rc;
	manifest_out(&list, base, s, &config, text.len);
	FAILPOINT("builder.step.config");
	rc = image_blob_put(b->o.images, buf_span(&list), &manifest, err);
	FAILPOINT("builder.step.manifest");
	struct unpacking u = { container_unpacker(b->o.containers), s->stop };
	const struct image_unpacker unpacker = { .arg = &u, .sequential = u.real->sequential, .has = unpacking_has,
		.unpack = unpacking_unpack, .commit = unpacking_commit, .drop = unpacking_drop };
	rc = rc < 0 ? rc : image_register(b->o.images, &manifest, s->elsewhere && !base->id.text[0] ? NULL : &base->id, &unpacker, NULL,
		out_id, err);
	FAILPOINT("builder.step.registered");
	return rc;
}
