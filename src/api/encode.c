/* Trees to JSON, in the bytes that Go's encoding/json makes of the typed object.
 *
 * An object is written by going through its fields in table order with the members in slots (slots.h), so the tree's
 * order does not matter, and what Go always writes ("creationTimestamp":null, "status":{}) comes from the table. Custom
 * resources are unstructured in Go: maps, whose keys are sorted at every level; the plain JSON writer does that. */
#include <assert.h>
#include "api/codec.h"
#include "api/slots.h"
#include "yaml/yaml.h"

enum { DEPTH_MAX = 600 }; /* decoding stops at 200; a tree that code has built may nest some trees */

struct enc {
	struct buf *out;
	unsigned depth;
};

static void write_value(struct enc *e, const struct api_type *t, const struct json *v);
static void write_object(struct enc *e, const struct api_type *t, const struct json *v);

static void put(struct enc *e, const char *text, size_t len)
{
	buf_add(e->out, text, len);
}
#define PUT(e, literal) put((e), "" literal, sizeof(literal) - 1)

/* ,"name": or "name": ; names in tables need no escapes */
static void write_key(struct enc *e, const struct api_field *f, bool first)
{
	size_t n = f->name_len;
	char *p = buf_reserve(e->out, n + 4);
	if (unlikely(!p))
		return;
	char *start = p;
	if (!first)
		*p++ = ',';
	*p++ = '"';
	memcpy(p, api_ref_text(f->name), n);
	p += n;
	*p++ = '"';
	*p++ = ':';
	buf_commit(e->out, (size_t)(p - start));
}

/* A field that is absent, and that Go writes all the same. */
static void write_zero(struct enc *e, const struct api_field *f)
{
	const struct api_type *t = api_ref_type(f->type);
	if (f->flags & API_FIELD_POINTER) {
		PUT(e, "null");
		return;
	}
	switch ((enum api_kind)t->kind) {
	case API_STRING: PUT(e, "\"\""); break;
	case API_INT32:
	case API_INT64:
	case API_UINT64:
	case API_DOUBLE:
	case API_INTORSTRING: PUT(e, "0"); break;
	case API_BOOL: PUT(e, "false"); break;
	case API_QUANTITY: PUT(e, "\"0\""); break;
	case API_DURATION: PUT(e, "\"0s\""); break;
	case API_OBJECT: write_object(e, t, NULL); break;
	default: PUT(e, "null");
	}
}

static void write_object(struct enc *e, const struct api_type *t, const struct json *v)
{
	const struct api_field *fields = api_row_fields(t);
	struct api_slots s __attribute__((uninitialized));
	bool first = true;
	api_slots_fill(&s, t, v);
	PUT(e, "{");
	for (unsigned i = 0; i < t->n_fields; i++) {
		const struct api_field *f = &fields[i];
		if (s.present >> i & 1) {
			const struct api_type *ft = api_ref_type(f->type);
			if ((f->flags & (API_FIELD_OMITEMPTY | API_FIELD_POINTER)) == API_FIELD_OMITEMPTY &&
			    api_is_empty(ft, s.v[i]))
				continue;
			write_key(e, f, first);
			write_value(e, ft, s.v[i]);
			first = false;
		} else if (f->always) {
			write_key(e, f, first);
			write_zero(e, f);
			first = false;
		}
	}
	PUT(e, "}");
}

static void write_list(struct enc *e, const struct api_type *t, const struct json *v)
{
	const struct api_type *elem = api_ref_type(t->elem);
	PUT(e, "[");
	for (uint32_t i = 0; i < v->n; i++) {
		if (i)
			PUT(e, ",");
		write_value(e, elem, &v->items[i]);
	}
	PUT(e, "]");
}

static int member_cmp(const void *a, const void *b)
{
	const struct json_member *const *x = a, *const *y = b;
	return span_cmp(json_key(*x), json_key(*y));
}

static void write_map(struct enc *e, const struct api_type *t, const struct json *v)
{
	const struct api_type *elem = api_ref_type(t->elem);
	const struct json_member *room[32], **order = room;
	auto_free void *heap = NULL;
	if (elem->kind <= API_QUANTITY) { /* text and numbers: nothing below that has an order */
		json_write(e->out, v, JSON_HTML | JSON_SORTED);
		return;
	}
	if (v->n > ARRAY_LEN(room))
		order = heap = mem_realloc_n(NULL, v->n, sizeof(*order));
	bool sorted = true;
	for (uint32_t i = 0; i < v->n; i++) {
		order[i] = &v->members[i];
		sorted = sorted && (i == 0 || member_cmp(&order[i - 1], &order[i]) < 0);
	}
	if (!sorted)
		qsort(order, v->n, sizeof(*order), member_cmp);
	PUT(e, "{");
	for (uint32_t i = 0; i < v->n; i++) {
		if (i)
			PUT(e, ",");
		json_write_string(e->out, json_key(order[i]), JSON_HTML);
		PUT(e, ":");
		write_value(e, elem, &order[i]->value);
	}
	PUT(e, "}");
}

static void write_deeper(struct enc *e, const struct api_type *t, const struct json *v)
{
	assert(e->depth < DEPTH_MAX);
	e->depth++;
	if (t->flags & API_TYPE_CUSTOM)
		json_write(e->out, v, JSON_HTML | JSON_SORTED);
	else if (v->kind == JSON_OBJECT && t->kind == API_OBJECT)
		write_object(e, t, v);
	else if (v->kind == JSON_OBJECT && t->kind == API_MAP)
		write_map(e, t, v);
	else if (v->kind == JSON_ARRAY && t->kind == API_LIST)
		write_list(e, t, v);
	else if (t->kind == API_UNION && v->kind == JSON_OBJECT)
		write_object(e, api_ref_type(t->elem), v);
	else if (t->kind == API_UNION && v->kind == JSON_ARRAY && t->union_form == API_UNION_OR_ARRAY)
		write_list(e, t, v);
	else
		json_write(e->out, v, JSON_HTML); /* a form that decoding never leaves: shown as it is */
	e->depth--;
}

static void write_value(struct enc *e, const struct api_type *t, const struct json *v)
{
	switch (v->kind) {
	case JSON_STRING:
		json_write_string(e->out, json_span(v), JSON_HTML);
		break;
	case JSON_NULL:
		PUT(e, "null");
		break;
	case JSON_BOOL:
		if (v->b)
			PUT(e, "true");
		else
			PUT(e, "false");
		break;
	case JSON_INT:
		if (t->kind == API_DOUBLE)
			json_write_double(e->out, (double)v->i);
		else
			buf_i64(e->out, v->i);
		break;
	case JSON_OBJECT:
	case JSON_ARRAY:
		if (t->kind >= API_OBJECT) {
			write_deeper(e, t, v);
			break;
		}
		__attribute__((fallthrough));
	default:
		json_write(e->out, v, JSON_HTML | (t->flags & API_TYPE_CUSTOM ? JSON_SORTED : 0));
	}
}

/* ---- indenting compact JSON: two blanks a level, as Go's MarshalIndent */

static void new_line(struct buf *out, unsigned level)
{
	static const char blanks[] = "                                ";
	buf_chr(out, '\n');
	for (size_t n = 2 * (size_t)level; n;) {
		size_t k = MIN(n, sizeof(blanks) - 1);
		buf_add(out, blanks, k);
		n -= k;
	}
}

static void indent(struct buf *out, struct span s)
{
	unsigned level = 0;
	const char *p = s.ptr, *end = s.ptr + s.len;
	while (p < end) {
		char c = *p++;
		switch (c) {
		case '"': {
			const char *start = p - 1;
			while (*p != '"')
				p += *p == '\\' ? 2 : 1;
			p++;
			buf_add(out, start, (size_t)(p - start));
			break;
		}
		case '{':
		case '[':
			buf_chr(out, c);
			if (*p == c + 2) { /* ']' and '}' stand two behind their openers in ASCII */
				buf_chr(out, *p++);
				break;
			}
			new_line(out, ++level);
			break;
		case '}':
		case ']':
			new_line(out, --level);
			buf_chr(out, c);
			break;
		case ',':
			buf_chr(out, c);
			new_line(out, level);
			break;
		case ':':
			buf_str(out, ": ");
			break;
		default:
			buf_chr(out, c);
		}
	}
}

void api_encode_json(struct buf *out, const struct api_type *t, const struct json *v, unsigned style)
{
	if (style & JSON_PRETTY) {
		auto_buf struct buf compact = {};
		api_encode_json(&compact, t, v, 0);
		indent(out, buf_span(&compact));
		return;
	}
	struct enc e = { .out = out };
	if (v->kind == JSON_NULL && t->kind == API_OBJECT && !(t->flags & API_TYPE_CUSTOM))
		write_object(&e, t, NULL);
	else
		write_value(&e, t, v);
}

void api_encode_yaml(struct buf *out, const struct api_type *t, const struct json *v)
{
	auto_arena struct arena a = {};
	auto_buf struct buf text = {};
	static const struct json_limits limits = { .bytes = SIZE_MAX, .depth = 10000, .nodes = SIZE_MAX };
	struct json tree;
	api_encode_json(&text, t, v, 0);
	int rc = json_parse(&a, buf_span(&text), JSON_BORROW, &limits, &tree, NULL);
	assert(rc == 0); /* we wrote it */
	yaml_write(out, &tree);
}
