/* JSON patch and JSON merge patch. Recursion is bounded by the depth of the trees, which the parser bounds. */
#include "api/jsonpatch.h"

#include <assert.h>

#include "api/gotext.h"
#include "yaml/yaml.h"

#define OPS_MAX 10000
#define COPY_BYTES_MAX (3 * 1024 * 1024)

struct patch {
	struct arena *arena;
	struct json *doc;
	const struct json *op;
	size_t copied, copy_limit;
	struct err *err;
};

/* Where an operation applies: a container and the last part of the path, unescaped. */
struct place {
	struct json *in; /* NULL: there is no such place */
	struct span key;
};

static const char missing[] = "missing value", bad_index[] = "invalid index referenced", failed[] = "test failed";

static struct span unescape(struct arena *a, struct span s)
{
	if (span_chr(s, '~') < 0)
		return s;
	char *text = arena_alloc(a, s.len + 1);
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++) {
		char next = i + 1 < s.len ? s.ptr[i + 1] : 0;
		if (s.ptr[i] == '~' && (next == '0' || next == '1')) {
			text[n++] = next == '0' ? '~' : '/';
			i++;
		} else {
			text[n++] = s.ptr[i];
		}
	}
	return span_make(text, n);
}

/* strconv.Atoi; the reason of a failure goes to why. */
static bool index_read(struct span key, int64_t *out, struct buf *why)
{
	if (span_to_i64(key, out))
		return true;
	size_t digits = key.len && (key.ptr[0] == '-' || key.ptr[0] == '+') ? 1 : 0;
	bool number = key.len > digits;
	for (size_t i = digits; i < key.len; i++)
		number &= key.ptr[i] >= '0' && key.ptr[i] <= '9';
	buf_str(why, "strconv.Atoi: parsing ");
	api_go_quote(why, key);
	buf_str(why, number ? ": value out of range" : ": invalid syntax");
	return false;
}

/* An index of an array of n items, counted from the end when negative. */
static bool index_of(uint32_t n, struct span key, uint32_t *out, struct buf *why)
{
	int64_t i;
	if (!index_read(key, &i, why))
		return false;
	if (i >= (int64_t)n || i < -(int64_t)n) {
		buf_printf(why, "Unable to access invalid index: %lld: %s", (long long)i, bad_index);
		return false;
	}
	*out = (uint32_t)(i < 0 ? i + (int64_t)n : i);
	return true;
}

/* A member that is absent gives NULL and true, as upstream's map does. */
static bool get(const struct place *p, struct json **out, struct buf *why)
{
	uint32_t i;
	*out = NULL;
	if (p->in->kind == JSON_OBJECT) {
		*out = json_get(p->in, p->key);
		return true;
	}
	if (!index_of(p->in->n, p->key, &i, why))
		return false;
	*out = &p->in->items[i];
	return true;
}

static struct place find(struct patch *p, struct span path)
{
	struct place none = { NULL, SPAN_EMPTY };
	struct json *at = p->doc;
	struct span part, rest;
	auto_buf struct buf why = {};
	if (!span_split(path, '/', &part, &rest) || (at->kind != JSON_OBJECT && at->kind != JSON_ARRAY))
		return none;
	while (span_split(rest, '/', &part, &rest)) {
		struct place step = { at, unescape(p->arena, part) };
		if (!get(&step, &at, &why) || !at || (at->kind != JSON_OBJECT && at->kind != JSON_ARRAY))
			return none;
	}
	return (struct place){ at, unescape(p->arena, part) };
}

static bool add(struct patch *p, const struct place *at, struct json value, struct buf *why)
{
	if (at->in->kind == JSON_OBJECT) {
		json_set(p->arena, at->in, arena_span(p->arena, at->key), value);
		return true;
	}
	if (span_is(at->key, "-")) {
		json_push(p->arena, at->in, value);
		return true;
	}
	int64_t i;
	auto_buf struct buf reason = {};
	if (!index_read(at->key, &i, &reason)) {
		buf_printf(why, "value was not a proper array index: '%.*s': %s", SPAN_ARG(at->key), buf_cstr(&reason));
		return false;
	}
	int64_t places = (int64_t)at->in->n + 1;
	if (i >= places || i < -places) {
		buf_printf(why, "Unable to access invalid index: %lld: %s", (long long)i, bad_index);
		return false;
	}
	json_insert(p->arena, at->in, (uint32_t)(i < 0 ? i + places : i), value);
	return true;
}

static bool remove_at(const struct place *at, struct buf *why)
{
	uint32_t i;
	if (at->in->kind == JSON_OBJECT) {
		if (json_remove(at->in, at->key))
			return true;
		buf_printf(why, "Unable to remove nonexistent key: %.*s: %s", SPAN_ARG(at->key), missing);
		return false;
	}
	if (!index_of(at->in->n, at->key, &i, why))
		return false;
	json_remove_at(at->in, i);
	return true;
}

/* Upstream compares scalars by their text, so 1 and 1.0 differ. */
static bool same(const struct json *a, const struct json *b)
{
	if (a->kind != b->kind || ((a->kind == JSON_OBJECT || a->kind == JSON_ARRAY) && a->n != b->n))
		return false;
	if (a->kind == JSON_ARRAY) {
		for (uint32_t i = 0; i < a->n; i++)
			if (!same(&a->items[i], &b->items[i]))
				return false;
		return true;
	}
	if (a->kind == JSON_OBJECT) {
		JSON_EACH_MEMBER(a, m) {
			const struct json *other = json_get(b, json_key(m));
			if (!other || !same(&m->value, other))
				return false;
		}
		return true;
	}
	return json_equal(a, b);
}

/* ---- operations */
static int fail(struct patch *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct patch *p, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int rc = err_vset(p->err, ERR_INVALID, fmt, ap);
	va_end(ap);
	return rc;
}

/* The string member "path" or "from"; why gets the reason when there is none. */
static bool text_member(const struct patch *p, const char *name, struct span *out, struct buf *why)
{
	const struct json *v = json_get(p->op, span_of(name));
	if (!v || v->kind == JSON_NULL) {
		buf_printf(why, strcmp(name, "path") ? "operation, missing %s field: %s" : "operation missing %s field: %s", name,
			   missing);
		return false;
	}
	if (v->kind != JSON_STRING) {
		static const char *const kinds[JSON_KIND_COUNT] = { [JSON_BOOL] = "bool",     [JSON_INT] = "number",
								    [JSON_UINT] = "number",  [JSON_DOUBLE] = "number",
								    [JSON_ARRAY] = "array",  [JSON_OBJECT] = "object" };
		buf_printf(why, "json: cannot unmarshal %s into Go value of type string", kinds[v->kind]);
		return false;
	}
	*out = json_span(v);
	return true;
}

static struct json value_of(const struct patch *p)
{
	const struct json *v = json_getl(p->op, "value");
	return v ? json_copy(p->arena, v) : JSON_NULL_VALUE;
}

static int op_add(struct patch *p)
{
	struct span path;
	auto_buf struct buf why = {};
	if (!text_member(p, "path", &path, &why))
		return fail(p, "add operation failed to decode path: %s", missing);
	struct place at = find(p, path);
	if (!at.in)
		return fail(p, "add operation does not apply: doc is missing path: \"%.*s\": %s", SPAN_ARG(path), missing);
	if (!add(p, &at, value_of(p), &why))
		return fail(p, "error in add for path: '%.*s': %s", SPAN_ARG(path), buf_cstr(&why));
	return 0;
}

static int op_remove(struct patch *p)
{
	struct span path;
	auto_buf struct buf why = {};
	if (!text_member(p, "path", &path, &why))
		return fail(p, "remove operation failed to decode path: %s", missing);
	struct place at = find(p, path);
	if (!at.in)
		return fail(p, "remove operation does not apply: doc is missing path: \"%.*s\": %s", SPAN_ARG(path), missing);
	if (!remove_at(&at, &why))
		return fail(p, "error in remove for path: '%.*s': %s", SPAN_ARG(path), buf_cstr(&why));
	return 0;
}

static int op_replace(struct patch *p)
{
	struct span path;
	struct json *old;
	auto_buf struct buf why = {};
	if (!text_member(p, "path", &path, &why))
		return fail(p, "replace operation failed to decode path: %s", buf_cstr(&why));
	if (!path.len) {
		struct json v = value_of(p);
		if (v.kind == JSON_OBJECT || v.kind == JSON_ARRAY) /* upstream ignores anything else here */
			*p->doc = v;
		return 0;
	}
	struct place at = find(p, path);
	if (!at.in)
		return fail(p, "replace operation does not apply: doc is missing path: %.*s: %s", SPAN_ARG(path), missing);
	if (!get(&at, &old, &why))
		return fail(p, "replace operation does not apply: doc is missing key: %.*s: %s", SPAN_ARG(path), missing);
	if (old)
		*old = value_of(p);
	else
		json_set(p->arena, at.in, arena_span(p->arena, at.key), value_of(p));
	return 0;
}

static int op_move(struct patch *p)
{
	struct span from, path;
	struct json *v;
	auto_buf struct buf why = {};
	if (!text_member(p, "from", &from, &why))
		return fail(p, "move operation failed to decode from: %s", buf_cstr(&why));
	struct place at = find(p, from);
	if (!at.in)
		return fail(p, "move operation does not apply: doc is missing from path: %.*s: %s", SPAN_ARG(from), missing);
	struct span key = at.key;
	if (!get(&at, &v, &why))
		return fail(p, "error in move for path: '%.*s': %s", SPAN_ARG(key), buf_cstr(&why));
	struct json moved = v ? *v : JSON_NULL_VALUE;
	if (!remove_at(&at, &why))
		return fail(p, "error in move for path: '%.*s': %s", SPAN_ARG(key), buf_cstr(&why));
	if (!text_member(p, "path", &path, &why))
		return fail(p, "move operation failed to decode path: %s", buf_cstr(&why));
	at = find(p, path);
	if (!at.in)
		return fail(p, "move operation does not apply: doc is missing destination path: %.*s: %s", SPAN_ARG(path), missing);
	if (!add(p, &at, moved, &why))
		return fail(p, "error in move for path: '%.*s': %s", SPAN_ARG(path), buf_cstr(&why));
	return 0;
}

static int op_test(struct patch *p)
{
	struct span path;
	struct json *v;
	auto_buf struct buf why = {};
	if (!text_member(p, "path", &path, &why))
		return fail(p, "test operation failed to decode path: %s", buf_cstr(&why));
	const struct json *given = json_getl(p->op, "value"), null = JSON_NULL_VALUE;
	if (path.len) {
		struct place at = find(p, path);
		if (!at.in)
			return fail(p, "test operation does not apply: is missing path: %.*s: %s", SPAN_ARG(path), missing);
		if (!get(&at, &v, &why))
			return fail(p, "error in test for path: '%.*s': %s", SPAN_ARG(path), buf_cstr(&why));
	} else {
		v = p->doc;
	}
	if (!same(v ? v : &null, given ? given : &null))
		return fail(p, "testing value %.*s failed: %s", SPAN_ARG(path), failed);
	return 0;
}

static int op_copy(struct patch *p)
{
	struct span from, path;
	struct json *v;
	auto_buf struct buf why = {}, text = {};
	if (!text_member(p, "from", &from, &why))
		return fail(p, "copy operation failed to decode from: %s", buf_cstr(&why));
	struct place at = find(p, from);
	if (!at.in)
		return fail(p, "copy operation does not apply: doc is missing from path: %.*s: %s", SPAN_ARG(from), missing);
	if (!get(&at, &v, &why))
		return fail(p, "error in copy for from: '%.*s': %s", SPAN_ARG(from), buf_cstr(&why));
	if (!text_member(p, "path", &path, &why))
		return fail(p, "copy operation failed to decode path: %s", missing);
	at = find(p, path);
	if (!at.in)
		return fail(p, "copy operation does not apply: doc is missing destination path: %.*s: %s", SPAN_ARG(path), missing);
	struct json copy = JSON_NULL_VALUE;
	if (v) {
		/* The text is written only as far as the limit, so that a bomb of copies costs no more than it. */
		text.limit = p->copy_limit - p->copied + 1;
		json_write(&text, v, JSON_HTML);
		p->copied += text.len;
		if (buf_overflowed(&text) || p->copied > p->copy_limit)
			return fail(p,
				    "Unable to complete the copy, the accumulated size increase of copy is %zu, "
				    "exceeding the limit %zu",
				    MAX(p->copied, p->copy_limit + 1), p->copy_limit);
		copy = json_copy(p->arena, v);
	}
	if (!add(p, &at, copy, &why))
		return fail(p, "error while adding value during copy: %s", buf_cstr(&why));
	return 0;
}

static const struct {
	const char *name;
	int (*apply)(struct patch *p);
} ops[] = { { "add", op_add },   { "remove", op_remove }, { "replace", op_replace },
	    { "move", op_move }, { "test", op_test },     { "copy", op_copy } };

static const char *go_json_kind(const struct json *v)
{
	return v->kind == JSON_STRING ? "string" : v->kind == JSON_BOOL ? "bool" : v->kind == JSON_ARRAY ? "array" :
	       v->kind == JSON_OBJECT ? "object" : "number";
}

int api_json_patch(struct arena *a, struct json *doc, const struct json *patch, const struct api_json_patch_limits *limits,
		   struct err *err)
{
	struct patch p = { .arena = a, .doc = doc, .err = err, .copy_limit = COPY_BYTES_MAX };
	unsigned most = OPS_MAX;
	if (limits && limits->ops)
		most = limits->ops;
	if (limits && limits->copy_bytes)
		p.copy_limit = limits->copy_bytes;
	if (patch->kind == JSON_NULL)
		return 0;
	if (patch->kind != JSON_ARRAY)
		return err_set(err, ERR_INVALID_REQUEST, "json: cannot unmarshal %s into Go value of type jsonpatch.Patch",
			       go_json_kind(patch));
	if (patch->n > most)
		return err_set(err, ERR_TOO_LARGE, "The allowed maximum operations in a JSON patch is %u, got %u", most, patch->n);
	JSON_EACH_ITEM(patch, op)
		if (op->kind != JSON_OBJECT && op->kind != JSON_NULL)
			return err_set(err, ERR_INVALID_REQUEST,
				       "json: cannot unmarshal %s into Go value of type jsonpatch.Operation", go_json_kind(op));
	JSON_EACH_ITEM(patch, op) {
		const struct json *kind = json_getl(op, "op");
		struct span name = json_is(kind, JSON_STRING) ? json_span(kind) : SPAN("unknown");
		size_t i = 0;
		while (i < ARRAY_LEN(ops) && !span_is(name, ops[i].name))
			i++;
		if (i == ARRAY_LEN(ops))
			return fail(&p, "Unexpected kind: %.*s", SPAN_ARG(name));
		p.op = op;
		int rc = ops[i].apply(&p);
		if (rc < 0)
			return rc;
	}
	return 0;
}

unsigned api_json_patch_unknown(struct arena *a, const struct json *patch, struct span *out, unsigned max)
{
	unsigned found = 0, at = 0;
	JSON_EACH_ITEM(patch, op) {
		JSON_EACH_MEMBER(op, m) {
			struct span key = json_key(m);
			if (span_is(key, "op") || span_is(key, "path") || span_is(key, "from") || span_is(key, "value"))
				continue;
			if (found < max)
				out[found] = arena_printf(a, "json patch unknown field \"[%u].%.*s\"", at, SPAN_ARG(key));
			found++;
		}
		at++;
	}
	return found;
}

/* ---- merge patch */
static void prune_nulls(struct json *v)
{
	if (v->kind == JSON_ARRAY) {
		JSON_EACH_ITEM(v, item)
			prune_nulls(item); /* null items of lists stay: only members are removals */
		return;
	}
	for (uint32_t i = 0; v->kind == JSON_OBJECT && i < v->n;) {
		if (v->members[i].value.kind == JSON_NULL) {
			json_remove_at(v, i);
			continue;
		}
		prune_nulls(&v->members[i++].value);
	}
}

static void merge(struct arena *a, struct json *doc, const struct json *patch)
{
	JSON_EACH_MEMBER(patch, m) {
		if (m->value.kind == JSON_NULL) {
			json_remove(doc, json_key(m));
			continue;
		}
		struct json *cur = json_get(doc, json_key(m));
		if (cur && cur->kind == JSON_OBJECT && m->value.kind == JSON_OBJECT) {
			merge(a, cur, &m->value);
			continue;
		}
		/* Upstream drops nulls from what it puts in place of a scalar or of nothing, but not in place of an object. */
		struct json v = json_copy(a, &m->value);
		if (!cur || cur->kind != JSON_OBJECT)
			prune_nulls(&v);
		if (cur)
			*cur = v;
		else
			json_add(a, doc, arena_span(a, json_key(m)), v);
	}
}

int api_merge_patch(struct arena *a, struct json *doc, const struct json *patch, struct err *err)
{
	if (patch->kind == JSON_ARRAY) { /* upstream: the array becomes the document, which no object then is */
		*doc = json_copy(a, patch);
		prune_nulls(doc);
		return 0;
	}
	if (patch->kind != JSON_OBJECT)
		return err_set(err, ERR_INVALID_REQUEST, "Invalid JSON Patch");
	if (doc->kind != JSON_OBJECT)
		*doc = json_object();
	merge(a, doc, patch);
	return 0;
}

/* nulls: a null member of `to` removes as well. */
static struct json merge_patch_of(struct arena *a, const struct json *from, const struct json *to, bool nulls)
{
	struct json patch = json_object();
	assert(from->kind == JSON_OBJECT && to->kind == JSON_OBJECT);
	JSON_EACH_MEMBER(from, m) {
		const struct json *v = json_get(to, json_key(m));
		if (!v) {
			json_add(a, &patch, json_key(m), JSON_NULL_VALUE);
		} else if (m->value.kind == JSON_OBJECT && v->kind == JSON_OBJECT) {
			struct json sub = merge_patch_of(a, &m->value, v, nulls);
			if (sub.n)
				json_add(a, &patch, json_key(m), sub);
		} else if ((v->kind != JSON_NULL || nulls) && !json_equal(&m->value, v)) {
			json_add(a, &patch, json_key(m), *v);
		}
	}
	JSON_EACH_MEMBER(to, m)
		if (!json_member(from, json_key(m)) && (m->value.kind != JSON_NULL || nulls))
			json_add(a, &patch, json_key(m), m->value);
	return patch;
}

struct json api_merge_patch_of(struct arena *a, const struct json *from, const struct json *to)
{
	return merge_patch_of(a, from, to, false);
}

/* Of a merge patch either the removals or all else; empty objects stay with the values. */
static struct json nulls_filter(struct arena *a, const struct json *patch, bool nulls)
{
	struct json out = json_object();
	JSON_EACH_MEMBER(patch, m) {
		struct json v = m->value;
		if (v.kind == JSON_NULL ? !nulls : nulls && (v.kind != JSON_OBJECT || !v.n))
			continue;
		if (v.kind == JSON_OBJECT && v.n) {
			v = nulls_filter(a, &v, nulls);
			if (!v.n)
				continue;
		}
		json_add(a, &out, json_key(m), v);
	}
	return out;
}

/* Both hold a member that is not an object on both sides. Removals alone on one side and values alone on the other never meet
 * in equal values. */
static bool patches_clash(const struct json *left, const struct json *right)
{
	if (left->kind != JSON_OBJECT || right->kind != JSON_OBJECT)
		return true;
	JSON_EACH_MEMBER(left, m) {
		const struct json *other = json_get(right, json_key(m));
		if (other && patches_clash(&m->value, other))
			return true;
	}
	return false;
}

static void patches_join(struct arena *a, struct json *into, const struct json *from)
{
	JSON_EACH_MEMBER(from, m) {
		struct json *there = json_get(into, json_key(m));
		if (there) /* both objects, or they would clash */
			patches_join(a, there, &m->value);
		else
			json_add(a, into, json_key(m), m->value);
	}
}

int api_merge_patch_three(struct arena *a, const struct json *original, const struct json *modified, const struct json *current,
			  struct json *out_patch, struct err *err)
{
	struct json none = json_object();
	const struct json *was = original ? original : &none;
	if (was->kind != JSON_OBJECT || modified->kind != JSON_OBJECT || current->kind != JSON_OBJECT)
		return err_set(err, ERR_INVALID_REQUEST, "Invalid JSON Document");
	struct json changes = merge_patch_of(a, current, modified, true), removals = merge_patch_of(a, was, modified, true);
	changes = nulls_filter(a, &changes, false);
	removals = nulls_filter(a, &removals, true);
	if (patches_clash(&changes, &removals)) {
		auto_buf struct buf left = {}, right = {};
		yaml_write(&left, &changes);
		yaml_write(&right, &removals);
		return err_set(err, ERR_STALE, "patch:\n%s\nconflicts with changes made from original to current:\n%s\n",
			       buf_cstr(&left), buf_cstr(&right));
	}
	patches_join(a, &removals, &changes);
	json_sort(&removals);
	*out_patch = removals;
	return 0;
}
