/* Typed structs <-> trees, driven by the types' own rows and the offsets beside them.
 *
 * JSON goes through the checked tree in both directions, so a typed object has passed the same checks as any other and is
 * written by the same encoder; the tree shares its strings with both. Protobuf goes straight (typed_proto.c). Lists have
 * the layout { void *, uint32_t } whatever they hold, pairs of a map { struct span key; V value }. */
#include <assert.h>
#include "api/slots.h"
#include "api/times.h"
#include "api/typed_impl.h"

const struct api_type *api_typed_type(enum api_typed id)
{
	assert(id < API_TYPED_COUNT);
	return &api_t_types[api_t_typed[id].type];
}

int api_typed_find(struct span name)
{
	const struct api_type *t = api_type_find(name);
	return t ? api_t_typed_of[t - api_t_types] - 1 : -1;
}

size_t api_typed_size(enum api_typed id)
{
	assert(id < API_TYPED_COUNT);
	return api_t_typed[id].size;
}

struct span api_pair_get(const struct api_pair *pairs, uint32_t n, struct span key)
{
	for (uint32_t lo = 0, hi = n; lo < hi;) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = span_cmp(key, pairs[mid].key);
		if (c == 0)
			return pairs[mid].value;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return SPAN_EMPTY;
}

const struct api_typed_row *api_typed_row_of(const struct api_type *t)
{
	uint16_t id = api_t_typed_of[t - api_t_types];
	assert(id); /* the generator gives every type that a listed one holds a struct */
	return &api_t_typed[id - 1];
}

size_t api_typed_size_of(const struct api_type *t)
{
	switch ((enum api_kind)t->kind) {
	case API_INT32: return sizeof(int32_t);
	case API_INT64:
	case API_DURATION: return sizeof(int64_t);
	case API_UINT64: return sizeof(uint64_t);
	case API_BOOL: return sizeof(bool);
	case API_DOUBLE: return sizeof(double);
	case API_TIME:
	case API_MICROTIME: return sizeof(struct api_time);
	case API_INTORSTRING: return sizeof(struct api_int_or_string);
	case API_RAW:
	case API_ANY:
	case API_UNION: return sizeof(struct json);
	case API_OBJECT: return api_typed_row_of(t)->size;
	case API_LIST:
	case API_MAP: return sizeof(struct api_any_list);
	default: return sizeof(struct span);
	}
}

size_t api_typed_pair_size(const struct api_type *elem)
{
	return (sizeof(struct span) + api_typed_size_of(elem) + 7) & ~(size_t)7;
}

/* ---- tree to struct; the tree was checked */

static int of_object(struct arena *a, const struct api_type *t, const struct json *v, char *out, struct err *err);

/* Strings that are there are never NULL, the empty one included. */
static struct span there(struct span s)
{
	return s.ptr ? s : SPAN("");
}

int api_typed_pair_cmp(const void *x, const void *y)
{
	return span_cmp(*(const struct span *)x, *(const struct span *)y);
}

static int of_many(struct arena *a, const struct api_type *t, const struct json *v, struct api_any_list *out, struct err *err)
{
	const struct api_type *elem = api_ref_type(t->elem);
	const bool map = t->kind == API_MAP;
	size_t each = map ? api_typed_pair_size(elem) : api_typed_size_of(elem);
	char *at = arena_zalloc(a, v->n ? v->n * each : 1);
	*out = (struct api_any_list){ at, v->n };
	for (uint32_t i = 0; i < v->n; i++, at += each) {
		int rc;
		if (map) {
			struct span key = there(json_key(&v->members[i]));
			memcpy(at, &key, sizeof(key));
			rc = api_typed_set(a, elem, &v->members[i].value, at + sizeof(key), err);
		} else {
			rc = api_typed_set(a, elem, &v->items[i], at, err);
		}
		if (rc < 0)
			return rc;
	}
	if (map)
		qsort(out->ptr, out->n, each, api_typed_pair_cmp);
	return 0;
}

int api_typed_set(struct arena *a, const struct api_type *t, const struct json *v, void *out, struct err *err)
{
	if (v->kind == JSON_NULL && t->kind != API_RAW && t->kind != API_ANY)
		return 0; /* a nil item of a list or map: the zero value */
	switch ((enum api_kind)t->kind) {
	case API_STRING:
	case API_BLOB:
	case API_QUANTITY:
		*(struct span *)out = there(json_span(v));
		break;
	case API_BYTES: {
		auto_buf struct buf b = {};
		if (!base64_parse(&b, BASE64_STD, json_span(v)))
			return err_set(err, ERR_INVALID_REQUEST, "illegal base64 data");
		*(struct span *)out = arena_span(a, buf_span(&b));
		break;
	}
	case API_INT32:
		*(int32_t *)out = (int32_t)json_i64(v, 0);
		break;
	case API_INT64:
		*(int64_t *)out = json_i64(v, 0);
		break;
	case API_UINT64:
		*(uint64_t *)out = v->kind == JSON_UINT ? v->u : (uint64_t)json_i64(v, 0);
		break;
	case API_BOOL:
		*(bool *)out = json_truth(v, false);
		break;
	case API_DOUBLE:
		*(double *)out = v->kind == JSON_DOUBLE ? v->d : v->kind == JSON_UINT ? (double)v->u : (double)json_i64(v, 0);
		break;
	case API_DURATION:
		return api_duration_parse(json_span(v), out, err);
	case API_TIME:
	case API_MICROTIME: {
		struct api_time *time = out;
		if (time_parse(v->str, v->n, &time->unix_s, &time->ns) < 0)
			return err_set(err, ERR_INVALID_REQUEST, "not a time");
		time->set = true;
		break;
	}
	case API_INTORSTRING: {
		struct api_int_or_string *is = out;
		is->is_string = v->kind == JSON_STRING;
		if (is->is_string)
			is->s = there(json_span(v));
		else
			is->i = (int32_t)json_i64(v, 0);
		break;
	}
	case API_RAW:
	case API_ANY:
	case API_UNION:
		*(struct json *)out = *v;
		break;
	case API_OBJECT:
		return of_object(a, t, v, out, err);
	case API_LIST:
	case API_MAP:
		return of_many(a, t, v, out, err);
	case API_KIND_COUNT:
		break;
	}
	return 0;
}

static int of_object(struct arena *a, const struct api_type *t, const struct json *v, char *out, struct err *err)
{
	const struct api_typed_row *row = api_typed_row_of(t);
	const struct api_field *fields = api_row_fields(t);
	struct api_slots s __attribute__((uninitialized));
	api_slots_fill(&s, t, v);
	for (uint64_t left = s.present; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);
		const struct api_type *ft = api_ref_type(fields[i].type);
		const struct api_member *m = &api_t_members[row->first + i];
		void *at = out + m->at;
		if (m->has)
			*(bool *)(out + m->has) = true;
		if (ft->kind == API_OBJECT && fields[i].flags & API_FIELD_POINTER) {
			void *inner = arena_zalloc(a, api_typed_size_of(ft));
			*(void **)at = inner;
			at = inner;
		}
		int rc = api_typed_set(a, ft, s.v[i], at, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int api_typed_of_tree(struct arena *a, enum api_typed id, const struct json *tree, void *out, struct err *err)
{
	const struct api_type *t = api_typed_type(id);
	char *fresh = arena_zalloc(a, api_t_typed[id].size); /* *out stays as it was on failure */
	int rc = of_object(a, t, tree, fresh, err);
	if (rc == 0)
		memcpy(out, fresh, api_t_typed[id].size);
	return rc;
}

/* ---- struct to tree. Values are absent where the struct cannot tell them from zero and the type says that is the same. */

static struct json object_tree(struct arena *a, const struct api_type *t, const char *in);

static struct json text_tree(struct arena *a, struct buf *b)
{
	struct json v = json_str(arena_span(a, buf_span(b)));
	buf_done(b);
	return v;
}

static struct json many_tree(struct arena *a, const struct api_type *t, const struct api_any_list *in)
{
	const struct api_type *elem = api_ref_type(t->elem);
	const bool map = t->kind == API_MAP;
	const char *at = in->ptr;
	size_t each = map ? api_typed_pair_size(elem) : api_typed_size_of(elem);
	struct json v = map ? json_object() : json_array();
	if (!at)
		return JSON_NULL_VALUE;
	if (!in->n)
		return v;
	if (map)
		v.members = arena_alloc_n(a, in->n, sizeof(*v.members));
	else
		v.items = arena_alloc_n(a, in->n, sizeof(*v.items));
	v.n = in->n;
	v.exact = 1;
	for (uint32_t i = 0; i < in->n; i++, at += each) {
		if (map) {
			const struct span *key = (const struct span *)at;
			v.members[i] = (struct json_member){ .key = key->ptr, .key_len = (uint32_t)key->len,
							     .value = api_typed_get(a, elem, at + sizeof(*key)) };
		} else {
			v.items[i] = api_typed_get(a, elem, at);
		}
	}
	return v;
}

struct json api_typed_get(struct arena *a, const struct api_type *t, const void *in)
{
	struct buf b = {};
	switch ((enum api_kind)t->kind) {
	case API_STRING:
	case API_BLOB:
		return json_str(there(*(const struct span *)in));
	case API_QUANTITY: {
		struct span s = *(const struct span *)in;
		return json_str(s.len ? s : SPAN("0"));
	}
	case API_BYTES: {
		struct span s = *(const struct span *)in;
		if (!s.ptr)
			return JSON_NULL_VALUE;
		base64_add(&b, BASE64_STD, s.ptr, s.len);
		return text_tree(a, &b);
	}
	case API_INT32:
		return json_int(*(const int32_t *)in);
	case API_INT64:
		return json_int(*(const int64_t *)in);
	case API_UINT64:
		return json_uint(*(const uint64_t *)in);
	case API_BOOL:
		return json_bool(*(const bool *)in);
	case API_DOUBLE:
		return json_double(*(const double *)in);
	case API_DURATION:
		api_duration_print(&b, *(const int64_t *)in);
		return text_tree(a, &b);
	case API_TIME:
	case API_MICROTIME: {
		const struct api_time *time = in;
		if (!time->set)
			return JSON_NULL_VALUE;
		api_time_print(&b, t->kind == API_TIME ? API_TIME_SECONDS : API_TIME_MICRO, time->unix_s, time->ns);
		return text_tree(a, &b);
	}
	case API_INTORSTRING: {
		const struct api_int_or_string *is = in;
		return is->is_string ? json_str(there(is->s)) : json_int(is->i);
	}
	case API_OBJECT:
		return object_tree(a, t, in);
	case API_LIST:
	case API_MAP:
		return many_tree(a, t, in);
	default:
		return *(const struct json *)in;
	}
}

/* Is a member of this kind absent by being all zero? */
bool api_typed_is_absent(const struct api_type *t, const void *in)
{
	switch ((enum api_kind)t->kind) {
	case API_STRING:
	case API_BLOB:
	case API_BYTES:
	case API_QUANTITY: return !((const struct span *)in)->ptr;
	case API_INT32: return !*(const int32_t *)in;
	case API_INT64:
	case API_UINT64:
	case API_DURATION: return !*(const int64_t *)in;
	case API_BOOL: return !*(const bool *)in;
	case API_DOUBLE: return *(const double *)in == 0;
	case API_TIME:
	case API_MICROTIME: return !((const struct api_time *)in)->set;
	case API_LIST:
	case API_MAP: return !((const struct api_any_list *)in)->ptr;
	case API_RAW:
	case API_ANY:
	case API_UNION: return ((const struct json *)in)->kind == JSON_NULL;
	default: return false;
	}
}

static struct json object_tree(struct arena *a, const struct api_type *t, const char *in)
{
	const struct api_typed_row *row = api_typed_row_of(t);
	const struct api_field *fields = api_row_fields(t);
	struct json_member room[API_FIELDS_MAX] __attribute__((uninitialized));
	struct json v = json_object();
	for (unsigned i = 0; i < t->n_fields; i++) {
		const struct api_type *ft = api_ref_type(fields[i].type);
		const struct api_member *m = &api_t_members[row->first + i];
		const void *at = in + m->at;
		if (m->has && !*(const bool *)(in + m->has))
			continue;
		if (ft->kind == API_OBJECT && fields[i].flags & API_FIELD_POINTER) {
			at = *(void *const *)at;
			if (!at)
				continue;
		} else if (!m->has && api_typed_is_absent(ft, at)) {
			continue;
		}
		struct json value = api_typed_get(a, ft, at);
		if (ft->kind == API_OBJECT && !(fields[i].flags & API_FIELD_POINTER) && value.n == 0)
			continue;
		room[v.n++] = (struct json_member){ .key = api_ref_text(fields[i].name), .key_len = fields[i].name_len,
						    .mark = i + 1, .value = value };
	}
	if (v.n) {
		v.members = arena_alloc_n(a, v.n, sizeof(*room));
		memcpy(v.members, room, v.n * sizeof(*room));
		v.exact = 1;
	}
	return v;
}

struct json api_typed_to_tree(struct arena *a, enum api_typed id, const void *v)
{
	return object_tree(a, api_typed_type(id), v);
}

/* ---- bytes */

static struct span *meta_of(const struct api_type *t, struct span name, void *in)
{
	const struct api_field *f = t->flags & API_TYPE_TOP ? api_type_field(t, name) : NULL;
	return f ? (struct span *)((char *)in + api_t_members[api_typed_row_of(t)->first + api_field_index(t, f)].at) : NULL;
}

int api_typed_decode(struct arena *a, enum api_typed id, enum api_form form, struct span data, void *out, struct err *err)
{
	const struct api_type *t = api_typed_type(id);
	struct json tree;
	int rc;
	if (form == API_FORM_JSON) {
		rc = api_decode_json(a, t, data, NULL, &tree, err);
		return rc < 0 ? rc : api_typed_of_tree(a, id, &tree, out, err);
	}
	struct api_envelope e = { .raw = data };
	if (form == API_FORM_PROTO && (rc = api_envelope_read(data, &e, err)) < 0)
		return rc;
	char *fresh = arena_zalloc(a, api_t_typed[id].size); /* *out stays as it was on failure */
	rc = api_typed_of_message(a, t, e.raw, fresh, err);
	if (rc < 0)
		return rc;
	struct span *version = meta_of(t, SPAN("apiVersion"), fresh), *kind = meta_of(t, SPAN("kind"), fresh);
	if (version && e.api_version.len)
		*version = e.api_version;
	if (kind && e.kind.len)
		*kind = e.kind;
	memcpy(out, fresh, api_t_typed[id].size);
	return 0;
}

int api_typed_encode(struct buf *out, enum api_typed id, enum api_form form, const void *v, struct err *err)
{
	static const struct span none = SPAN_INIT("");
	const struct api_type *t = api_typed_type(id);
	if (form == API_FORM_JSON) {
		auto_arena struct arena a = {};
		struct json tree = api_typed_to_tree(&a, id, v);
		api_encode_json(out, t, &tree, 0);
		return 0;
	}
	if (form == API_FORM_MESSAGE)
		return api_typed_to_message(out, t, v, NULL, NULL, err);
	char *in = (char *)(uintptr_t)v; /* read only, to find two members */
	const struct span *version = meta_of(t, SPAN("apiVersion"), in), *kind = meta_of(t, SPAN("kind"), in);
	return api_typed_to_message(out, t, v, version ? version : &none, kind ? kind : &none, err);
}
