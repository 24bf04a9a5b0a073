/* Trees: reading members, building objects, and what differs between two states. */
#include "controllers/frame.h"

const struct json *tree_get(const struct json *object, const char *key)
{
	return json_get(object, span_of(key));
}

struct span tree_span(const struct json *object, const char *key)
{
	return json_span(tree_get(object, key));
}

int64_t tree_int(const struct json *object, const char *key, int64_t otherwise)
{
	return json_i64(tree_get(object, key), otherwise);
}

bool tree_bool(const struct json *object, const char *key, bool otherwise)
{
	return json_truth(tree_get(object, key), otherwise);
}

const struct json *tree_meta(const struct json *object, const char *key)
{
	return tree_get(json_getl(object, "metadata"), key);
}

struct span tree_meta_span(const struct json *object, const char *key)
{
	return json_span(tree_meta(object, key));
}

struct span tree_annotation(const struct json *object, const char *key)
{
	return tree_span(tree_meta(object, "annotations"), key);
}

int64_t tree_time(const struct json *text)
{
	struct span s = json_span(text);
	int64_t unix_s;
	int32_t ns;
	return s.len && time_parse(s.ptr, s.len, &unix_s, &ns) == 0 ? unix_s : 0;
}

struct json tree_time_of(struct arena *a, int64_t unix_s)
{
	char text[40];
	size_t n = time_format(text, unix_s, 0, 0);
	return json_str(arena_span(a, span_make(text, n)));
}

bool tree_has_text(const struct json *list, struct span s)
{
	JSON_EACH_ITEM(list, item)
		if (span_eq(json_span(item), s))
			return true;
	return false;
}

struct json *tree_find(const struct json *list, const char *member, struct span s)
{
	JSON_EACH_ITEM(list, item)
		if (span_eq(tree_span(item, member), s))
			return item;
	return NULL;
}

struct json *tree_at(struct arena *a, struct json *object, const char *key)
{
	struct json *v = json_get(object, span_of(key));
	return json_is(v, JSON_OBJECT) ? v : json_set(a, object, span_of(key), json_object());
}

void tree_set(struct arena *a, struct json *object, const char *key, struct json value)
{
	(void)json_set(a, object, span_of(key), value);
}

void tree_set_span(struct arena *a, struct json *object, const char *key, struct span s)
{
	if (s.len)
		tree_set(a, object, key, json_str(s));
}

void tree_set_cstr(struct arena *a, struct json *object, const char *key, const char *s)
{
	tree_set(a, object, key, json_cstr(s));
}

void tree_set_int(struct arena *a, struct json *object, const char *key, int64_t n)
{
	tree_set(a, object, key, json_int(n));
}

void tree_set_some(struct arena *a, struct json *object, const char *key, int64_t n)
{
	if (n)
		tree_set_int(a, object, key, n);
}

/* Depth is bounded by the parser's. */
bool tree_diff(struct arena *a, const struct json *from, const struct json *to, struct json *out)
{
	static const struct json nothing = { .kind = JSON_OBJECT };
	*out = json_object();
	if (!json_is(from, JSON_OBJECT))
		from = &nothing;
	JSON_EACH_MEMBER(to, m) {
		const struct json *was = json_get(from, json_key(m));
		struct json inner;
		if (was && json_equal(was, &m->value))
			continue;
		if (m->value.kind == JSON_OBJECT && json_is(was, JSON_OBJECT)) { /* an empty one says nothing of itself */
			(void)tree_diff(a, was, &m->value, &inner);
			(void)json_set(a, out, json_key(m), inner);
		} else {
			(void)json_set(a, out, json_key(m), m->value);
		}
	}
	JSON_EACH_MEMBER(from, m)
		if (m->value.kind != JSON_NULL && !json_get(to, json_key(m)))
			(void)json_set(a, out, json_key(m), JSON_NULL_VALUE);
	return out->n > 0;
}

struct json tree_owner(struct arena *a, enum cm_kind kind, const struct json *owner, bool controls)
{
	struct json o = json_object();
	tree_set_cstr(a, &o, "apiVersion", cm_kinds[kind].api_version);
	tree_set_cstr(a, &o, "kind", cm_kinds[kind].kind);
	tree_set_span(a, &o, "name", tree_meta_span(owner, "name"));
	tree_set_span(a, &o, "uid", tree_meta_span(owner, "uid"));
	if (controls) {
		tree_set(a, &o, "controller", json_bool(true));
		tree_set(a, &o, "blockOwnerDeletion", json_bool(true));
	}
	return o;
}

struct json tree_pod(struct arena *a, const struct json *template, enum cm_kind kind, const struct json *owner)
{
	static const char *const copied[] = { "labels", "annotations", "finalizers" };
	struct json pod = json_object(), owners = json_array(), meta = json_object();
	for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
		const struct json *v = tree_meta(template, copied[i]);
		if (v && v->kind != JSON_NULL)
			tree_set(a, &meta, copied[i], json_copy(a, v));
	}
	(void)json_push(a, &owners, tree_owner(a, kind, owner, true));
	tree_set(a, &meta, "ownerReferences", owners);
	tree_set_cstr(a, &pod, "apiVersion", "v1");
	tree_set_cstr(a, &pod, "kind", "Pod");
	tree_set(a, &pod, "metadata", meta);
	const struct json *spec = tree_get(template, "spec");
	if (spec)
		tree_set(a, &pod, "spec", json_copy(a, spec));
	return pod;
}

bool tree_condition(struct arena *a, struct json *list, const char *type, const char *status, const char *reason,
		    struct span message, int64_t now_s, const char *update_time)
{
	struct json *was = tree_find(list, "type", span_of(type));
	struct json c = json_object();
	bool same_status = was && span_is(tree_span(was, "status"), status);
	if (same_status && span_is(tree_span(was, "reason"), reason) && span_eq(tree_span(was, "message"), message))
		return false;
	tree_set_cstr(a, &c, "type", type);
	tree_set_cstr(a, &c, "status", status);
	if (update_time)
		tree_set(a, &c, update_time, tree_time_of(a, now_s));
	tree_set(a, &c, "lastTransitionTime", same_status && tree_get(was, "lastTransitionTime") ? *tree_get(was, "lastTransitionTime")
											  : tree_time_of(a, now_s));
	tree_set_span(a, &c, "reason", span_of(reason));
	tree_set_span(a, &c, "message", message);
	if (was)
		*was = c;
	else
		(void)json_push(a, list, c);
	return true;
}
