#include "apiserver/object.h"

#include "apiserver/custom.h"

void object_key(struct buf *out, const struct api_resource *res, struct span ns, struct span name)
{
	buf_str(out, "/registry/");
	buf_span_add(out, res->storage_group.len ? res->storage_group : SPAN("core"));
	buf_chr(out, '/');
	buf_span_add(out, res->plural);
	buf_chr(out, '/');
	if (res->namespaced && ns.len) {
		buf_span_add(out, ns);
		buf_chr(out, '/');
	}
	buf_span_add(out, name);
}

bool object_key_read(struct span key, const struct api_resource *res, struct span *out_ns, struct span *out_name)
{
	auto_buf struct buf prefix = {};
	object_key(&prefix, res, SPAN_EMPTY, SPAN_EMPTY);
	if (!span_starts(key, buf_span(&prefix)))
		return false;
	struct span rest = span_from(key, prefix.len), ns = SPAN_EMPTY, name = rest;
	if (res->namespaced && !span_split(rest, '/', &ns, &name))
		return false;
	if (!name.len || span_chr(name, '/') >= 0 || (res->namespaced && !ns.len))
		return false;
	*out_ns = ns;
	*out_name = name;
	return true;
}

/* ---- marks */

/* The first '"' or '\\' at or behind i; v.len when there is none. Eight bytes at a time: the marks of a list of 5,000 pods are a
 * million bytes of names. */
static size_t quote_find(struct span v, size_t i)
{
	const uint64_t ones = 0x0101010101010101, highs = 0x8080808080808080;
	for (; v.len - i >= 8; i += 8) {
		uint64_t w;
		memcpy(&w, v.ptr + i, 8);
		uint64_t q = w ^ ones * '"', b = w ^ ones * '\\';
		/* A byte that is 0 sets its high bit; what a borrow sets besides lies above the first one. */
		uint64_t hit = (((q - ones) & ~q) | ((b - ones) & ~b)) & highs;
		if (hit)
			return i + (size_t)__builtin_ctzll(hit) / 8;
	}
	while (i < v.len && v.ptr[i] != '"' && v.ptr[i] != '\\')
		i++;
	return i;
}

/* The string that begins at *at (its opening quote), stepped over. */
static bool skip_string(struct span v, size_t *at, struct span *out)
{
	size_t i = *at;
	if (i >= v.len || v.ptr[i] != '"')
		return false;
	for (i = quote_find(v, i + 1); i < v.len && v.ptr[i] == '\\'; i = quote_find(v, MIN(i + 2, v.len)))
		;
	if (i >= v.len)
		return false;
	*out = span_sub(v, *at + 1, i);
	*at = i + 1;
	return true;
}

static bool skip(struct span v, size_t *at, struct span text)
{
	if (!span_starts(span_from(v, *at), text))
		return false;
	*at += text.len;
	return true;
}

bool object_marks(struct span v, struct object_marks *out)
{
	static const struct span before[] = { SPAN_INIT("name"), SPAN_INIT("generateName"), SPAN_INIT("namespace"),
					      SPAN_INIT("selfLink"), SPAN_INIT("uid") };
	struct object_marks m = {};
	struct span key, value;
	size_t at = 0;
	if (v.len > UINT32_MAX || !skip(v, &at, SPAN("{\"kind\":")) || !skip_string(v, &at, &value) ||
	    !skip(v, &at, SPAN(",\"apiVersion\":")) || !skip_string(v, &at, &value) || !skip(v, &at, SPAN(",")))
		return false;
	m.body = (uint32_t)at;
	if (!skip(v, &at, SPAN("\"metadata\":{")))
		return false;
	m.rv = (uint32_t)at;
	m.first = true;
	for (;;) {
		size_t next = at;
		if (at < v.len && v.ptr[at] == '}') {
			m.last = true;
			break;
		}
		if (!m.first && !skip(v, &next, SPAN(",")))
			return false;
		if (!skip_string(v, &next, &key) || !skip(v, &next, SPAN(":")))
			return false;
		bool early = false;
		for (size_t i = 0; i < ARRAY_LEN(before) && !early; i++)
			early = span_eq(key, before[i]);
		if (!early)
			break;
		if (!skip_string(v, &next, &value))
			return false;
		at = next;
		m.rv = (uint32_t)at;
		m.first = false;
	}
	*out = m;
	return true;
}

/* ---- writing */

/* Custom resources are written with sorted keys; here the head and the early members of metadata come first for them too. */
static void early_first(struct arena *a, struct json *object, const struct span *names, size_t n)
{
	struct json sorted = json_object();
	for (size_t i = 0; i < n; i++) {
		struct json *v = json_get(object, names[i]);
		if (v)
			(void)json_add(a, &sorted, names[i], *v);
	}
	JSON_EACH_MEMBER(object, m) {
		bool early = false;
		for (size_t i = 0; i < n && !early; i++)
			early = span_eq(json_key(m), names[i]);
		if (!early)
			(void)json_add(a, &sorted, json_key(m), m->value);
	}
	*object = sorted;
}

void object_encode(struct buf *out, const struct api_resource *res, struct json *tree, struct arena *a)
{
	static const struct span head[] = { SPAN_INIT("kind"), SPAN_INIT("apiVersion"), SPAN_INIT("metadata") };
	static const struct span early[] = { SPAN_INIT("name"), SPAN_INIT("generateName"), SPAN_INIT("namespace"),
					     SPAN_INIT("selfLink"), SPAN_INIT("uid") };
	auto_buf struct buf gv = {};
	buf_reserve(out, 2000); /* a usual object's bytes: spares the buffer five moves */
	if (res->storage_group.len)
		buf_printf(&gv, "%.*s/", SPAN_ARG(res->storage_group));
	buf_span_add(&gv, res->storage_version);
	(void)json_set(a, tree, SPAN("kind"), json_str(res->storage_kind));
	(void)json_set(a, tree, SPAN("apiVersion"), json_str(arena_span(a, buf_span(&gv))));
	struct json *meta = json_getl(tree, "metadata");
	assert(json_is(meta, JSON_OBJECT));
	(void)json_remove(meta, SPAN("resourceVersion"));
	struct json converted;
	if (api_to_storage(a, res, tree, &converted))
		tree = &converted;
	if (api_type_flags(res->type) & API_TYPE_CUSTOM) {
		json_sort(tree);
		early_first(a, json_getl(tree, "metadata"), early, ARRAY_LEN(early));
		early_first(a, tree, head, ARRAY_LEN(head));
		json_write(out, tree, JSON_HTML);
	} else {
		api_encode_json(out, api_storage_type(res), tree, 0);
	}
}

bool object_write_head(struct buf *out, struct span value, int64_t rev, struct span kind, struct span api_version,
		       struct span *out_rest)
{
	struct object_marks m;
	if (!object_marks(value, &m))
		return false;
	buf_chr(out, '{');
	if (kind.len) {
		/* Kinds and group versions need no escapes. */
		buf_str(out, "\"kind\":\"");
		buf_span_add(out, kind);
		buf_str(out, "\",\"apiVersion\":\"");
		buf_span_add(out, api_version);
		buf_str(out, "\",");
	}
	buf_add(out, value.ptr + m.body, m.rv - m.body);
	buf_str(out, m.first ? "\"resourceVersion\":\"" : ",\"resourceVersion\":\"");
	buf_i64(out, rev);
	buf_str(out, m.first && !m.last ? "\"," : "\"");
	*out_rest = span_from(value, m.rv);
	return true;
}

bool object_write(struct buf *out, struct span value, int64_t rev, struct span kind, struct span api_version)
{
	struct span rest;
	if (!object_write_head(out, value, rev, kind, api_version, &rest))
		return false;
	buf_span_add(out, rest);
	return true;
}

bool object_as_stored(const struct api_resource *res)
{
	return !api_converts(res) && !custom_is(res);
}

int object_read(struct arena *a, const struct api_resource *res, struct span value, int64_t rev, struct json *out,
		struct err *err)
{
	int rc = api_decode_json(a, api_storage_type(res), value, NULL, out, err);
	if (rc < 0) {
		/* What is in the store was checked when it came in: this is damage, not somebody's mistake. */
		auto_err struct err why = ERR_INIT;
		err_move(&why, err);
		return err_set(err, ERR_CORRUPT, "stored %.*s cannot be read: %s", SPAN_ARG(res->plural),
			       err_msg(&why));
	}
	apiserver_custom_read(a, res, out);
	struct json *meta = json_getl(out, "metadata");
	if (!json_is(meta, JSON_OBJECT))
		return err_set(err, ERR_CORRUPT, "stored %.*s has no metadata", SPAN_ARG(res->plural));
	(void)json_set(a, meta, SPAN("resourceVersion"), json_str(arena_printf(a, "%lld", (long long)rev)));
	/* What stands there are the names of the storage version. */
	auto_buf struct buf gv = {};
	api_resource_gv(res, &gv);
	(void)json_set(a, out, SPAN("kind"), json_str(res->kind));
	(void)json_set(a, out, SPAN("apiVersion"), json_str(arena_span(a, buf_span(&gv))));
	api_from_storage(a, res, out);
	return 0;
}
