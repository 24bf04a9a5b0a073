/* What upstream checks beside the schema: list sets and list maps hold nothing twice (apiserver/schema/listtype), embedded
 * resources have proper apiVersion, kind and metadata (apiserver/schema/objectmeta). */
#include "custom/private.h"

struct lists {
	struct arena *a;
	struct complaints *c;
};

static void duplicate(struct lists *l, const struct place *at, const struct json *value)
{
	auto_buf struct buf path = {};
	custom_place_text(at, &path);
	custom_complain(l->c, buf_span(&path), API_FE_DUPLICATE, value, SPAN_EMPTY);
}

/* The first repetition of each value is complained about, as upstream. keys are what is compared, one per item; shown what is
 * told. */
static void check_unique(struct lists *l, const struct place *at, const struct json *keys, const struct json *shown)
{
	auto_map struct map seen = {};
	auto_arena struct arena a = {};
	static char once[1], twice[1]; /* what the map says: seen, complained about */
	for (uint32_t i = 0; i < keys->n; i++) {
		auto_buf struct buf text = {};
		json_write(&text, &keys->items[i], JSON_SORTED);
		void *was = map_get(&seen, buf_span(&text));
		if (was == once)
			duplicate(l, &PLACE_INDEX(at, i), &shown->items[i]);
		if (!was || was == once)
			map_put(&seen, arena_span(&a, buf_span(&text)), was ? twice : once);
	}
}

static void check_map(struct lists *l, const struct node *n, const struct place *at, const struct json *list)
{
	struct json keys = json_array();
	for (uint32_t i = 0; i < list->n; i++) {
		const struct json *item = &list->items[i];
		if (item->kind != JSON_OBJECT && item->kind != JSON_NULL) {
			auto_buf struct buf path = {};
			custom_place_text(&PLACE_INDEX(at, i), &path);
			custom_complain(l->c, buf_span(&path), API_FE_INVALID, item,
					SPAN("must be an object for an array of list-type map"));
			return;
		}
		struct json *key = json_push(l->a, &keys, json_object());
		for (unsigned k = 0; k < n->n_keys; k++) {
			const struct json *v = json_get(item, n->keys[k]);
			if (v)
				(void)json_set(l->a, key, n->keys[k], *v);
		}
	}
	check_unique(l, at, &keys, &keys);
}

static void walk(struct lists *l, const struct node *n, const struct place *at, const struct json *value)
{
	if (value->kind == JSON_ARRAY) {
		if (n->list == API_LIST_SET && value->n > 1)
			check_unique(l, at, value, value);
		else if (n->list == API_LIST_MAP)
			check_map(l, n, at, value);
		for (uint32_t i = 0; n->items && i < value->n; i++)
			walk(l, n->items, &PLACE_INDEX(at, i), &value->items[i]);
	}
	if (n->additional)
		JSON_EACH_MEMBER(value, m)
			walk(l, n->additional, &PLACE_KEY(at, json_key(m)), &m->value);
	JSON_EACH_MEMBER(n->n_properties ? value : NULL, m) {
		const struct node *p = custom_node_property(n, json_key(m));
		if (p)
			walk(l, p, &PLACE(at, json_key(m)), &m->value);
	}
}

void custom_lists_validate(struct arena *a, const struct node *n, const struct json *object, struct complaints *c)
{
	struct lists l = { a, c };
	walk(&l, n, NULL, object);
}

/* ---- embedded resources */

struct embedded {
	struct arena *a;
	struct complaints *c;
	struct span base;
	void (*meta)(struct arena *a, struct span at, const struct json *meta, struct err *err);
};

static struct span path_below(struct embedded *e, const struct place *at, const char *name)
{
	auto_buf struct buf path = {};
	buf_span_add(&path, e->base);
	if (at) {
		auto_buf struct buf rest = {};
		custom_place_text(at, &rest);
		buf_printf(&path, "%s%.*s", path.len && buf_cstr(&rest)[0] != '[' ? "." : "", SPAN_ARG(buf_span(&rest)));
	}
	buf_printf(&path, "%s%s", path.len ? "." : "", name);
	return arena_span(e->a, buf_span(&path));
}

static void check_api_version(struct embedded *e, const struct place *at, const struct json *v)
{
	struct span text = json_span(v), first, rest;
	if (v->kind != JSON_STRING) {
		custom_complain(e->c, path_below(e, at, "apiVersion"), API_FE_INVALID, v, SPAN("must be a string"));
	} else if (!text.len) {
		custom_complain(e->c, path_below(e, at, "apiVersion"), API_FE_INVALID, v, SPAN("must not be empty"));
	} else if (span_split(text, '/', &first, &rest) && span_chr(rest, '/') >= 0) {
		auto_buf struct buf why = {};
		buf_printf(&why, "unexpected GroupVersion string: %.*s", SPAN_ARG(text));
		custom_complain(e->c, path_below(e, at, "apiVersion"), API_FE_INVALID, v, buf_span(&why));
	}
}

static void check_kind(struct embedded *e, const struct place *at, const struct json *v)
{
	struct span text = json_span(v);
	struct api_complaints bad;
	auto_buf struct buf lower = {}, why = {};
	for (size_t i = 0; i < text.len; i++)
		buf_chr(&lower, (char)(text.ptr[i] >= 'A' && text.ptr[i] <= 'Z' ? text.ptr[i] + 32 : text.ptr[i]));
	if (v->kind != JSON_STRING) {
		custom_complain(e->c, path_below(e, at, "kind"), API_FE_INVALID, v, SPAN("must be a string"));
	} else if (!text.len) {
		custom_complain(e->c, path_below(e, at, "kind"), API_FE_INVALID, v, SPAN("must not be empty"));
	} else if (api_name_dns1035_label(buf_span(&lower), &bad)) {
		buf_str(&why, "may have mixed case, but should otherwise match: ");
		for (unsigned i = 0; i < bad.n; i++)
			buf_printf(&why, "%s%s", i ? "," : "", bad.text[i]);
		custom_complain(e->c, path_below(e, at, "kind"), API_FE_INVALID, v, buf_span(&why));
	}
}

static void check_embedded(struct embedded *e, const struct place *at, const struct json *value)
{
	const struct json *version = json_getl(value, "apiVersion"), *kind = json_getl(value, "kind");
	const struct json *meta = json_getl(value, "metadata");
	if (!version)
		custom_complain(e->c, path_below(e, at, "apiVersion"), API_FE_REQUIRED, NULL, SPAN("must not be empty"));
	if (!kind)
		custom_complain(e->c, path_below(e, at, "kind"), API_FE_REQUIRED, NULL, SPAN("must not be empty"));
	if (version)
		check_api_version(e, at, version);
	if (kind)
		check_kind(e, at, kind);
	if (meta && e->meta) {
		unsigned before = e->c->err ? e->c->err->n_causes : 0;
		e->meta(e->a, path_below(e, at, "metadata"), meta, e->c->err);
		e->c->n += e->c->err ? e->c->err->n_causes - before : 0;
	}
}

static void walk_embedded(struct embedded *e, const struct node *n, const struct place *at, const struct json *value, bool root)
{
	if (value->kind == JSON_OBJECT && n->embedded && !root)
		check_embedded(e, at, value);
	for (uint32_t i = 0; n->items && value->kind == JSON_ARRAY && i < value->n; i++)
		walk_embedded(e, n->items, &PLACE_INDEX(at, i), &value->items[i], false);
	JSON_EACH_MEMBER(value, m) {
		const struct node *p = custom_node_property(n, json_key(m));
		if (p)
			walk_embedded(e, p, &PLACE(at, json_key(m)), &m->value, false);
		else if (n->additional)
			walk_embedded(e, n->additional, &PLACE_KEY(at, json_key(m)), &m->value, false);
	}
}

void custom_embedded_validate(const struct custom_change *ch, const struct node *n, const struct json *object,
			      struct complaints *c)
{
	struct embedded e = { .a = ch->arena, .c = c, .meta = ch->meta };
	walk_embedded(&e, n, NULL, object, true);
}

void custom_embedded_validate_at(struct arena *a, struct span at, const struct node *n, const struct json *value,
				 struct complaints *c)
{
	struct embedded e = { .a = a, .c = c, .base = at };
	walk_embedded(&e, n, NULL, value, false);
}
