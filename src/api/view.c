/* A tree as reading its own encoding would give it back, without the text in between: each write of an object needs one for the
 * bookkeeping of managers (ssa.c), and making and parsing 2 KB of text took a twelfth of a create.
 *
 * Containers are made anew, strings are borrowed. What text would change (numbers with a fraction or too large, values of a kind
 * that the type does not have) does go through text: there is next to none of it. */
#include "api/view.h"

#include "api/codec.h"
#include "api/slots.h"

static struct json view_value(struct arena *a, const struct api_type *t, const struct json *v);
static struct json view_object(struct arena *a, const struct api_type *t, const struct json *v);

static struct json by_text(struct arena *a, const struct api_type *t, const struct json *v)
{
	static const struct json_limits limits = { .bytes = SIZE_MAX, .depth = 10000, .nodes = SIZE_MAX };
	auto_buf struct buf text = {};
	struct json out;
	api_encode_json(&text, t, v, 0);
	int rc = json_parse(a, arena_span(a, buf_span(&text)), JSON_DUPLICATES_LAST | JSON_BORROW, &limits, &out, NULL);
	assert(rc == 0); /* we wrote it */
	return out;
}

/* Values that text gives back as they are. */
static bool is_plain(const struct json *v)
{
	return v->kind == JSON_STRING || v->kind == JSON_INT || v->kind == JSON_BOOL || v->kind == JSON_NULL;
}

static struct json plain(const struct json *v)
{
	struct json out = *v;
	out.mark = 0;
	return out;
}

/* A field that is absent, and that Go writes all the same. */
static struct json view_zero(struct arena *a, const struct api_field *f)
{
	const struct api_type *t = api_ref_type(f->type);
	if (f->flags & API_FIELD_POINTER)
		return JSON_NULL_VALUE;
	switch ((enum api_kind)t->kind) {
	case API_STRING: return json_str(SPAN(""));
	case API_INT32:
	case API_INT64:
	case API_UINT64:
	case API_DOUBLE:
	case API_INTORSTRING: return json_int(0);
	case API_BOOL: return json_bool(false);
	case API_QUANTITY: return json_str(SPAN("0"));
	case API_DURATION: return json_str(SPAN("0s"));
	case API_OBJECT: return view_object(a, t, NULL);
	default: return JSON_NULL_VALUE;
	}
}

static struct json view_object(struct arena *a, const struct api_type *t, const struct json *v)
{
	const struct api_field *fields = api_row_fields(t);
	struct api_slots s __attribute__((uninitialized));
	struct json out = json_object();
	unsigned most = 0;
	api_slots_fill(&s, t, v);
	for (unsigned i = 0; i < t->n_fields; i++)
		most += (s.present >> i & 1) || fields[i].always;
	out.members = arena_alloc_n(a, most, sizeof(*out.members));
	out.exact = 1;
	for (unsigned i = 0; i < t->n_fields; i++) {
		const struct api_field *f = &fields[i];
		const struct api_type *ft = api_ref_type(f->type);
		bool present = s.present >> i & 1;
		if (present ? (f->flags & (API_FIELD_OMITEMPTY | API_FIELD_POINTER)) == API_FIELD_OMITEMPTY && api_is_empty(ft, s.v[i])
			    : !f->always)
			continue;
		out.members[out.n++] = (struct json_member){ .key = api_ref_text(f->name), .key_len = f->name_len, .mark = i + 1,
							     .value = present ? view_value(a, ft, s.v[i]) : view_zero(a, f) };
	}
	return out;
}

static struct json view_list(struct arena *a, const struct api_type *t, const struct json *v)
{
	struct json out = { .kind = JSON_ARRAY, .exact = 1, .n = v->n };
	out.items = arena_alloc_n(a, v->n, sizeof(*out.items));
	for (uint32_t i = 0; i < v->n; i++)
		out.items[i] = view_value(a, api_ref_type(t->elem), &v->items[i]);
	return out;
}

static struct json view_map(struct arena *a, const struct api_type *t, const struct json *v)
{
	struct json out = { .kind = JSON_OBJECT, .exact = 1, .n = v->n };
	const struct api_type *elem = api_ref_type(t->elem);
	out.members = arena_alloc_n(a, v->n, sizeof(*out.members));
	for (uint32_t i = 0; i < v->n; i++) {
		const struct json_member *m = &v->members[i];
		bool as_is = elem->kind <= API_QUANTITY && is_plain(&m->value);
		out.members[i] = (struct json_member){ .key = m->key, .key_len = m->key_len,
						       .value = as_is ? plain(&m->value) : view_value(a, elem, &m->value) };
	}
	return out;
}

static struct json view_value(struct arena *a, const struct api_type *t, const struct json *v)
{
	if (is_plain(v) && !(v->kind == JSON_INT && t->kind == API_DOUBLE))
		return plain(v);
	if (t->flags & API_TYPE_CUSTOM)
		return by_text(a, t, v);
	if (v->kind == JSON_OBJECT && t->kind == API_OBJECT)
		return view_object(a, t, v);
	if (v->kind == JSON_OBJECT && t->kind == API_MAP)
		return view_map(a, t, v);
	if (v->kind == JSON_ARRAY && t->kind == API_LIST)
		return view_list(a, t, v);
	if (v->kind == JSON_OBJECT && t->kind == API_UNION)
		return view_object(a, api_ref_type(t->elem), v);
	return by_text(a, t, v);
}

struct json api_view(struct arena *a, const struct api_type *t, const struct json *v)
{
	if (v->kind == JSON_NULL && t->kind == API_OBJECT && !(t->flags & API_TYPE_CUSTOM))
		return view_object(a, t, NULL);
	return view_value(a, t, v);
}
