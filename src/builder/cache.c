/* The cache is the images that are stored: a step is found among its parent's children by what it was made of. */
#include "builder/work.h"

#include "tls/tls.h"

void builder_key(const struct json *doc, const struct json *cmd, uint8_t out[32])
{
	auto_buf struct buf text = {};
	struct json_out o = { .buf = &text };
	/* The parent is known by being the parent. */
	builder_config_write(&o, doc, cmd, SPAN_EMPTY);
	tls_sha256(buf_span(&text), out);
}

#define KNOWN_MAX 10000 /* images whose making is remembered: 2 MB */

/* What a stored image was made of. */
struct known {
	uint8_t key[32];                /* all zeros: by no step */
	struct image_platform platform; /* as its configuration says it */
	int64_t created_ns;
};

static int64_t time_ns(const struct json *v)
{
	struct span t = json_span(v);
	int64_t s = 0;
	int32_t ns = 0;
	return time_parse(t.ptr ? t.ptr : "", t.len, &s, &ns) == 0 ? s * NS_PER_S + ns : 0;
}

static void word_take(char out[32], const struct json *v)
{
	snprintf(out, 32, "%.*s", SPAN_ARG(json_span(v)));
}

static int known_read(struct builder *b, const struct image_digest *id, struct known *out)
{
	auto_arena struct arena a = {};
	auto_buf struct buf text = {};
	struct json v;
	*out = (struct known){};
	if (image_blob_read(b->o.images, id, &text, 8 << 20, NULL) < 0 || json_parse(&a, buf_span(&text), JSON_BORROW, NULL, &v,
		NULL) < 0)
		return -1;
	const struct json *doc = json_getl(&v, "container_config");
	const struct json *cmd = json_getl(doc, "Cmd");
	if (!json_is(doc, JSON_OBJECT) || !json_is(cmd, JSON_ARRAY))
		return 0;
	builder_key(doc, cmd, out->key);
	word_take(out->platform.os, json_getl(&v, "os"));
	word_take(out->platform.arch, json_getl(&v, "architecture"));
	word_take(out->platform.variant, json_getl(&v, "variant"));
	out->created_ns = time_ns(json_getl(&v, "created"));
	return 0;
}

/* Read once a process. */
static bool known_of(struct builder *b, const struct image_digest *id, struct known *out)
{
	pthread_mutex_lock(&b->mutex);
	const struct known *known = map_get(&b->keys, image_digest_span(id));
	if (known)
		*out = *known;
	pthread_mutex_unlock(&b->mutex);
	if (known)
		return true;
	if (known_read(b, id, out) < 0)
		return false; /* its configuration is damaged: no hit, and no reason to fail */
	pthread_mutex_lock(&b->mutex);
	if (b->keys.n >= KNOWN_MAX) { /* most are of images that are gone: read again what is needed */
		map_clear(&b->keys);
		arena_reset(&b->keys_arena);
	}
	if (!map_get(&b->keys, image_digest_span(id)))
		map_put(&b->keys, arena_span(&b->keys_arena, image_digest_span(id)), arena_copy(&b->keys_arena, out, sizeof(*out)));
	pthread_mutex_unlock(&b->mutex);
	return true;
}

static bool same_platform(const struct image_platform *a, const struct image_platform *b)
{
	return strcmp(a->os, b->os) == 0 && strcmp(a->arch, b->arch) == 0 && strcmp(a->variant, b->variant) == 0;
}

static bool fits(const struct known *have, const struct cache_want *want)
{
	if (memcmp(have->key, want->key, sizeof(want->key)) != 0)
		return false;
	if (want->epoch_ns && have->created_ns != *want->epoch_ns)
		return false;
	return !want->platform || same_platform(want->platform, &have->platform);
}

bool builder_cache_probe(struct builder *b, const struct image_digest *parent, const struct cache_want *want,
	struct image_digest *out)
{
	auto_arena struct arena a = {};
	struct image_digest *ids;
	size_t n;
	struct known have;
	image_children(b->o.images, parent, &a, &ids, &n);
	for (size_t i = n; i-- > 0;)
		if (known_of(b, &ids[i], &have) && fits(&have, want)) {
			*out = ids[i];
			return true;
		}
	return false;
}

/* ---- --cache-from ---- */

static bool begins_with(const struct base *whole, const struct base *base)
{
	if (base->history.n >= whole->history.n || base->n > whole->n)
		return false;
	for (size_t i = 0; i < base->history.n; i++)
		if (!json_equal(&whole->history.items[i], &base->history.items[i]))
			return false;
	for (size_t i = 0; i < base->n; i++)
		if (!image_digest_eq(&whole->diffs[i], &base->diffs[i]))
			return false;
	return true;
}

int builder_cache_from(struct builder *b, struct cache_sources *from, const struct base *base, const struct json *doc,
	const struct json *cmd, const int64_t *epoch_ns, struct arena *a, struct image_digest *out, struct err *err)
{
	auto_buf struct buf by = {};
	JSON_EACH_ITEM(cmd, item)
		buf_printf(&by, "%s%.*s", item == cmd->items ? "" : " ", SPAN_ARG(json_span(item)));
	for (size_t i = 0; i < from->n; i++) {
		struct base whole;
		if (builder_base_load(b, &from->ids[i], a, &whole, NULL) < 0 || !begins_with(&whole, base))
			continue; /* gone, damaged or another's: no hit */
		if (!base->id.text[0] && !same_platform(&base->platform, &whole.platform))
			continue;
		const struct json *entry = &whole.history.items[base->history.n];
		int64_t created_ns = time_ns(json_getl(entry, "created"));
		if (!span_eq(json_span(json_getl(entry, "created_by")), buf_span(&by)) || (epoch_ns && created_ns != *epoch_ns))
			continue;
		bool empty = json_truth(json_getl(entry, "empty_layer"), false);
		if (!empty && base->n >= whole.n)
			continue;
		const struct base_step step = { .doc = doc, .cmd = cmd, .created_ns = created_ns,
			.comment = json_span(json_getl(entry, "comment")), .author = json_span(json_getl(entry, "author")),
			.layer = empty ? NULL : &whole.diffs[base->n], .elsewhere = true,
			.as = empty ? NULL : &whole.layers[base->n] };
		int rc;
		if (base->history.n + 1 == whole.history.n) {
			/* Its last step: the image itself. */
			struct image_info info;
			struct image_config config;
			struct image_manifest manifest;
			rc = image_inspect(b->o.images, &from->ids[i], a, &info, &config, &manifest, err);
			rc = rc < 0 ? rc : image_register(b->o.images, &info.manifest, base->id.text[0] ? &base->id : NULL,
				container_unpacker(b->o.containers), NULL, out, err);
		} else {
			rc = builder_base_step(b, base, &step, a, out, err);
		}
		if (rc < 0)
			return rc;
		from->ids[0] = from->ids[i]; /* it goes on in that one */
		from->n = 1;
		return 1;
	}
	return 0;
}
