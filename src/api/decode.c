/* Checking a tree against a type, in place: what Go's decoder does between text and struct.
 *
 * The walk looks a member's name up in its type (first guess: the field after the last one, because most writers keep
 * an order), puts the table's name into the member, drops nulls and unknown fields by moving the later members down, and
 * brings scalars to canonical form. Where it is, it knows by a chain of places on the stack; text is made of
 * them only when something is wrong.
 *
 * Two kinds of path, as upstream has two: Go's unmarshal errors name fields only (spec.containers.name), strict
 * errors name indexes and map keys too (spec.containers[0].name).
 *
 * Custom resources: kinds are left to validation, which says it in other words; nulls stay, because nullable and defaults
 * decide about them.
 */
#include <assert.h>
#include "api/codec.h"
#include "api/rows.h"
#include "api/scalar.h"
#include "yaml/yaml.h"

enum {
	DEPTH_MAX = 200,
	TEXT_MAX = 16 << 20,
	NODES_MAX = 2000000,
	FOUND_MAX = 100, /* as upstream */
};

static const struct json_limits limits = { .bytes = TEXT_MAX, .depth = DEPTH_MAX, .nodes = NODES_MAX };

struct place {
	const struct place *up;
	const struct api_type *owner; /* FIELD: the struct */
	struct span name;             /* FIELD, KEY */
	uint32_t index;               /* ITEM */
	enum { FIELD, KEY, ITEM } kind;
};

struct walk {
	struct arena *a;
	struct api_decode *d;
	struct err *err;
	const struct api_field *field; /* the nearest, for the name of its string type */
	unsigned depth;
	unsigned cap_found;
};

static int walk_value(struct walk *w, const struct api_type *t, struct json *v, const struct place *at);

/* ---- errors */

static void path_go(struct buf *b, const struct place *p)
{
	if (!p)
		return;
	path_go(b, p->up);
	if (p->kind != FIELD)
		return;
	if (b->len)
		buf_chr(b, '.');
	buf_span_add(b, p->name);
}

static void path_strict(struct buf *b, const struct place *p)
{
	if (!p)
		return;
	path_strict(b, p->up);
	if (p->kind == ITEM) {
		buf_printf(b, "[%u]", p->index);
		return;
	}
	if (b->len)
		buf_chr(b, '.');
	buf_span_add(b, p->name);
}

static const char *go_kind(const struct json *v)
{
	switch (v->kind) {
	case JSON_BOOL: return "bool";
	case JSON_STRING: return "string";
	case JSON_ARRAY: return "array";
	case JSON_OBJECT: return "object";
	case JSON_NULL: return "null";
	default: return "number";
	}
}

/* "v1.PullPolicy" of core/v1.PullPolicy */
static void enum_go_name(const struct api_enum *e, struct buf *out)
{
	struct span name = api_enum_name(e);
	buf_span_add(out, span_from(name, (size_t)(span_rchr(name, '/') + 1)));
}

static int refuse_as(struct walk *w, const struct json *v, bool literal, const char *go_type, size_t go_len,
		     const struct place *at)
{
	auto_buf struct buf b = {};
	auto_buf struct buf path = {};
	const struct place *field = at;
	while (field && field->kind != FIELD)
		field = field->up;
	buf_printf(&b, "json: cannot unmarshal %s", go_kind(v));
	if (literal) {
		buf_chr(&b, ' ');
		json_write(&b, v, 0);
		if (v->kind == JSON_DOUBLE && !memchr(b.ptr + 24, '.', b.len - 24) && !memchr(b.ptr + 24, 'e', b.len - 24))
			buf_str(&b, ".0"); /* a whole number that was written as a fraction */
	}
	if (field) {
		struct span owner = api_type_name(field->owner);
		owner = span_from(owner, (size_t)(span_rchr(owner, '.') + 1));
		path_go(&path, at);
		buf_printf(&b, " into Go struct field %.*s.%.*s of type %.*s", SPAN_ARG(owner),
			   SPAN_ARG(buf_span(&path)), (int)go_len, go_type);
	} else {
		buf_printf(&b, " into Go value of type %.*s", (int)go_len, go_type);
	}
	return err_set(w->err, ERR_INVALID_REQUEST, "%s", buf_cstr(&b));
}

static int refuse(struct walk *w, const struct api_type *t, const struct json *v, bool literal, const struct place *at)
{
	auto_buf struct buf go = {};
	const struct api_enum *e = w->field && t->kind == API_STRING ? api_field_enum(w->field) : NULL;
	/* The enum of a map is that of its keys. */
	if (e && api_field_type(w->field)->kind != API_MAP)
		enum_go_name(e, &go);
	else
		api_type_go_name(t, &go);
	return refuse_as(w, v, literal, go.ptr, go.len, at);
}

static void note_found(struct walk *w, struct span what)
{
	for (unsigned i = 0; i < w->d->n_found; i++)
		if (span_eq(w->d->found[i], what))
			return;
	if (w->d->n_found == w->cap_found) {
		w->cap_found = w->cap_found ? 2 * w->cap_found : 8;
		struct span *more = arena_alloc_n(w->a, w->cap_found, sizeof(*more));
		if (w->d->n_found)
			memcpy(more, w->d->found, w->d->n_found * sizeof(*more));
		w->d->found = more;
	}
	w->d->found[w->d->n_found++] = arena_span(w->a, what);
}

/* Notes an unknown or duplicate field once. */
static void found(struct walk *w, const char *what, struct span name, const struct place *at)
{
	auto_buf struct buf b = {}, path = {};
	struct place here = { .up = at, .name = name, .kind = KEY };
	if (w->d->n_found >= FOUND_MAX)
		return;
	path_strict(&path, &here);
	buf_printf(&b, "%s field \"%.*s\"", what, SPAN_ARG(buf_span(&path)));
	note_found(w, buf_span(&b));
}

/* ---- members of one name, where the names are free: the last one counts, in the place of the first */

static bool keys_repeat(const struct json *v)
{
	if (v->n < 2)
		return false;
	if (v->n <= 16) {
		for (uint32_t i = 1; i < v->n; i++)
			for (uint32_t j = 0; j < i; j++)
				if (span_eq(json_key(&v->members[i]), json_key(&v->members[j])))
					return true;
		return false;
	}
	auto_map struct map seen = {};
	for (uint32_t i = 0; i < v->n; i++)
		if (map_put(&seen, json_key(&v->members[i]), &v->members[i]))
			return true;
	return false;
}

static void merge_repeated(struct walk *w, struct json *v, const struct place *at)
{
	if (likely(!keys_repeat(v)))
		return;
	auto_map struct map seen = {};
	uint32_t n = 0;
	for (uint32_t i = 0; i < v->n; i++) {
		struct json_member m = v->members[i];
		struct json_member *first = map_get(&seen, json_key(&m));
		if (first) {
			found(w, "duplicate", json_key(&m), at);
			first->value = m.value;
			continue;
		}
		v->members[n] = m;
		(void)map_put(&seen, json_key(&v->members[n]), &v->members[n]);
		n++;
	}
	v->n = n;
}

/* ---- kinds */

static int walk_text(struct walk *w, const struct api_type *t, struct json *v)
{
	auto_buf struct buf why = {};
	struct span in = json_span(v), out = in;
	int rc = 0;
	switch (t->kind) {
	case API_TIME:
	case API_MICROTIME:
		rc = api_time_canon(w->a, in, t->kind == API_MICROTIME, &out, &why);
		if (rc == 0 && !out.len) {
			*v = JSON_NULL_VALUE; /* Go's zero time */
			return 0;
		}
		break;
	case API_DURATION:
		rc = api_duration_canon(w->a, in, &out, &why);
		break;
	case API_BYTES:
		rc = api_base64_canon(w->a, in, &out, &why);
		break;
	default:
		rc = api_quantity_text(w->a, in, &out, &why);
	}
	if (rc < 0)
		return err_set(w->err, ERR_INVALID_REQUEST, "%s", buf_cstr(&why));
	v->str = out.ptr;
	v->n = (uint32_t)out.len;
	return 0;
}

static int walk_union(struct walk *w, const struct api_type *t, struct json *v, const struct place *at)
{
	if (v->kind == JSON_OBJECT)
		return walk_value(w, api_ref_type(t->elem), v, at);
	switch ((enum api_union)t->union_form) {
	case API_UNION_OR_BOOL:
		if (v->kind == JSON_BOOL)
			return 0;
		return err_set(w->err, ERR_INVALID_REQUEST, "boolean or JSON schema expected");
	case API_UNION_OR_ARRAY:
		if (v->kind != JSON_ARRAY)
			break;
		JSON_EACH_ITEM(v, item) {
			struct place here = { .up = at, .index = (uint32_t)(item - v->items), .kind = ITEM };
			if (item->kind == JSON_NULL)
				*item = json_object();
			int rc = walk_value(w, api_ref_type(t->elem), item, &here);
			if (rc < 0)
				return rc;
		}
		return 0;
	case API_UNION_OR_STRINGS:
		if (v->kind != JSON_ARRAY)
			break;
		JSON_EACH_ITEM(v, item) {
			if (item->kind == JSON_NULL)
				*item = json_str(SPAN(""));
			if (item->kind != JSON_STRING)
				return refuse_as(w, item, false, "string", 6, at);
		}
		return 0;
	}
	*v = JSON_NULL_VALUE; /* upstream ignores other forms */
	return 0;
}

/* What null means as an item of a list or a value of a map: the zero value where Go's type has one. */
static void zero_item(const struct api_type *elem, struct json *v)
{
	switch (elem->kind) {
	case API_STRING: *v = json_str(SPAN("")); break;
	case API_INT32:
	case API_INT64:
	case API_UINT64:
	case API_DOUBLE:
	case API_INTORSTRING: *v = json_int(0); break;
	case API_BOOL: *v = json_bool(false); break;
	case API_QUANTITY: *v = json_str(SPAN("0")); break;
	case API_DURATION: *v = json_str(SPAN("0s")); break;
	case API_OBJECT: *v = json_object(); break;
	default: break; /* nil lists, maps, bytes, raw values and zero times print as null */
	}
}

static int walk_list(struct walk *w, const struct api_type *t, struct json *v, const struct place *at)
{
	const struct api_type *elem = api_ref_type(t->elem);
	if (v->kind != JSON_ARRAY)
		return t->flags & API_TYPE_CUSTOM ? 0 : refuse(w, t, v, false, at);
	struct place here = { .up = at, .kind = ITEM };
	for (uint32_t i = 0; i < v->n; i++) {
		struct json *item = &v->items[i];
		if (item->kind == JSON_NULL) {
			if (!(t->flags & API_TYPE_CUSTOM))
				zero_item(elem, item);
			continue;
		}
		here.index = i;
		int rc = walk_value(w, elem, item, &here);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int walk_map(struct walk *w, const struct api_type *t, struct json *v, const struct place *at)
{
	const struct api_type *elem = api_ref_type(t->elem);
	if (v->kind != JSON_OBJECT)
		return t->flags & API_TYPE_CUSTOM ? 0 : refuse(w, t, v, false, at);
	merge_repeated(w, v, at);
	struct place here = { .up = at, .kind = KEY };
	JSON_EACH_MEMBER(v, m) {
		m->mark = 0;
		if (m->value.kind == JSON_NULL) {
			if (!(t->flags & API_TYPE_CUSTOM))
				zero_item(elem, &m->value);
			continue;
		}
		here.name = json_key(m);
		int rc = walk_value(w, elem, &m->value, &here);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Index of the field with the member's name: the guess, or by the table; -1 when unknown. */
static inline int field_of(const struct api_type *t, const struct api_field *fields, unsigned guess,
			   const struct json_member *m)
{
	if (guess < t->n_fields) {
		const struct api_field *f = &fields[guess];
		if (f->name_len == m->key_len && memcmp(api_ref_text(f->name), m->key, m->key_len) == 0)
			return (int)guess;
	}
	return api_row_find(t, m->key, m->key_len);
}

static int walk_object(struct walk *w, const struct api_type *t, struct json *v, const struct place *at)
{
	const bool custom = t->flags & API_TYPE_CUSTOM;
	if (v->kind != JSON_OBJECT)
		return custom ? 0 : refuse(w, t, v, false, at);
	if (custom)
		merge_repeated(w, v, at);
	const struct api_field *fields = api_row_fields(t);
	const struct api_field *outer = w->field;
	const bool keep = w->d->keep_unknown || (t->flags & API_TYPE_PRESERVE);
	struct place here = { .up = at, .owner = t, .kind = FIELD };
	uint64_t seen = 0;
	unsigned guess = 0;
	uint32_t n = 0;
	for (uint32_t i = 0; i < v->n; i++) {
		struct json_member *m = &v->members[i];
		int at_field = field_of(t, fields, guess, m);
		if (unlikely(at_field < 0)) {
			if (!(t->flags & API_TYPE_PRESERVE))
				found(w, "unknown", json_key(m), at);
			m->mark = 0;
			if (keep)
				v->members[n++] = *m;
			continue;
		}
		const struct api_field *f = &fields[at_field];
		guess = (unsigned)at_field + 1;
		struct json value = m->value;
		const bool again = !custom && seen >> at_field & 1;
		if (unlikely(again))
			found(w, "duplicate", api_field_name(f), at);
		if (!custom)
			seen |= UINT64_C(1) << at_field;
		if (value.kind != JSON_NULL) {
			w->field = f;
			here.name = api_field_name(f);
			int rc = walk_value(w, api_ref_type(f->type), &value, &here);
			w->field = outer;
			if (rc < 0)
				return rc;
		}
		if (unlikely(again)) {
			uint32_t k = 0;
			while (k < n && v->members[k].mark != (uint32_t)at_field + 1)
				k++;
			if (k < n) {
				if (value.kind != JSON_NULL) /* Go leaves what is there when null follows */
					v->members[k].value = value;
				continue;
			}
		}
		if (value.kind == JSON_NULL && !custom)
			continue;
		v->members[n++] = (struct json_member){ .key = api_ref_text(f->name), .key_len = f->name_len,
							.mark = (uint32_t)at_field + 1, .value = value };
	}
	v->n = n;
	return 0;
}

static int walk_deeper(struct walk *w, const struct api_type *t, struct json *v, const struct place *at)
{
	if (w->depth >= DEPTH_MAX)
		return err_set(w->err, ERR_INVALID_REQUEST, "nested more than %d levels deep", DEPTH_MAX);
	w->depth++;
	int rc = t->kind == API_OBJECT ? walk_object(w, t, v, at) :
		 t->kind == API_LIST ? walk_list(w, t, v, at) : t->kind == API_MAP ? walk_map(w, t, v, at) :
		 walk_union(w, t, v, at);
	w->depth--;
	return rc;
}

/* v is not null. It may become null: Go's zero time. */
static int walk_value(struct walk *w, const struct api_type *t, struct json *v, const struct place *at)
{
	const bool custom = t->flags & API_TYPE_CUSTOM;
	switch ((enum api_kind)t->kind) {
	case API_STRING:
	case API_BLOB:
		if (likely(v->kind == JSON_STRING) || custom)
			return 0;
		break;
	case API_INT32:
	case API_INT64:
		if (custom)
			return 0;
		if (v->kind == JSON_INT) {
			if (t->kind == API_INT64 || (v->i >= INT32_MIN && v->i <= INT32_MAX))
				return 0;
			return refuse(w, t, v, true, at);
		}
		return refuse(w, t, v, json_is_number(v), at);
	case API_UINT64:
		if ((v->kind == JSON_INT && v->i >= 0 && (!(t->flags & API_TYPE_32BIT) || v->i <= UINT32_MAX)) ||
		    (v->kind == JSON_UINT && !(t->flags & API_TYPE_32BIT)))
			return 0;
		return refuse(w, t, v, json_is_number(v), at);
	case API_BOOL:
		if (v->kind == JSON_BOOL || custom)
			return 0;
		break;
	case API_DOUBLE:
		if (json_is_number(v) || custom)
			return 0;
		break;
	case API_BYTES:
		if (custom)
			return 0;
		if (v->kind == JSON_STRING)
			return walk_text(w, t, v);
		break;
	case API_TIME:
	case API_MICROTIME:
	case API_DURATION:
		if (v->kind == JSON_STRING)
			return walk_text(w, t, v);
		return refuse_as(w, v, false, "string", 6, at); /* their decoders go through a Go string */
	case API_QUANTITY:
		if (json_is_number(v)) { /* a bare number is a quantity too */
			auto_buf struct buf b = {};
			json_write(&b, v, 0);
			*v = json_str(arena_span(w->a, buf_span(&b)));
		}
		if (v->kind != JSON_STRING) { /* upstream hands the raw text to its parser, which refuses it so */
			auto_buf struct buf why = {};
			struct span unused;
			if (api_quantity_text(w->a, SPAN("{"), &unused, &why) < 0)
				return err_set(w->err, ERR_INVALID_REQUEST, "%s", buf_cstr(&why));
			break;
		}
		return walk_text(w, t, v);
	case API_INTORSTRING:
		if (v->kind == JSON_STRING || custom)
			return 0;
		if (v->kind == JSON_INT && v->i >= INT32_MIN && v->i <= INT32_MAX)
			return 0;
		return refuse_as(w, v, json_is_number(v), "int32", 5, at);
	case API_RAW:
	case API_ANY:
		return 0;
	case API_OBJECT:
	case API_LIST:
	case API_MAP:
	case API_UNION:
		return walk_deeper(w, t, v, at);
	case API_KIND_COUNT:
		break;
	}
	return refuse(w, t, v, false, at);
}

/* ---- the seam */

static int strict_error(struct api_decode *d, struct err *err)
{
	auto_buf struct buf b = {};
	buf_str(&b, "strict decoding error: ");
	for (unsigned i = 0; i < d->n_found; i++) {
		if (i)
			buf_str(&b, ", ");
		buf_span_add(&b, d->found[i]);
	}
	return err_set(err, ERR_INVALID_REQUEST, "%s", buf_cstr(&b));
}

/* Of a custom resource upstream tells what was there twice, then what metadata does not know, then the rest by name. */
static int found_rank(struct span text)
{
	return span_starts(text, SPAN("unknown field \"metadata.")) ? 1 : span_starts(text, SPAN("unknown ")) ? 2 : 0;
}

static int by_found(const void *x, const void *y)
{
	struct span a = *(const struct span *)x, b = *(const struct span *)y;
	int rank_a = found_rank(a), rank_b = found_rank(b);
	return rank_a != rank_b ? rank_a - rank_b : span_cmp(a, b);
}

/* before: a finding from before the walk, empty = none. */
static int decode(struct arena *a, const struct api_type *t, struct json *tree, struct api_decode *d, struct span before,
		  struct err *err)
{
	struct api_decode none = {};
	if (!d)
		d = &none;
	d->n_found = 0;
	d->found = NULL;
	struct walk w = { .a = a, .d = d, .err = err };
	if (before.len)
		note_found(&w, before);
	if (tree->kind == JSON_NULL)
		*tree = json_object(); /* Go: null into a struct changes nothing */
	int rc = walk_value(&w, t, tree, NULL);
	if (rc == 0 && d->n_found > 1 && (t->flags & API_TYPE_CUSTOM))
		qsort(d->found, d->n_found, sizeof(*d->found), by_found);
	if (rc == 0 && d->strict && d->n_found)
		rc = strict_error(d, err);
	return rc;
}

int api_decode_tree(struct arena *a, const struct api_type *t, struct json *tree, struct api_decode *d, struct err *err)
{
	return decode(a, t, tree, d, SPAN_EMPTY, err);
}

int api_decode_json(struct arena *a, const struct api_type *t, struct span text, struct api_decode *d,
		    struct json *out, struct err *err)
{
	struct json tree;
	int rc = json_parse(a, text, JSON_BORROW | JSON_DUPLICATES_KEEP | JSON_REPLACE_BAD_UTF8, &limits, &tree, err);
	if (rc == 0)
		rc = api_decode_tree(a, t, &tree, d, err);
	if (rc == 0)
		*out = tree;
	return rc;
}

/* Depth is the parser's: 200 at most. */
static void walk_any(struct walk *w, struct json *v, const struct place *at)
{
	struct place here = { .up = at };
	if (v->kind == JSON_OBJECT) {
		merge_repeated(w, v, at);
		here.kind = KEY;
		JSON_EACH_MEMBER(v, m) {
			here.name = json_key(m);
			walk_any(w, &m->value, &here);
		}
	}
	here.kind = ITEM;
	JSON_EACH_ITEM(v, item) {
		here.index = (uint32_t)(item - v->items);
		walk_any(w, item, &here);
	}
}

int api_decode_any(struct arena *a, struct span text, struct api_decode *d, struct json *out, struct err *err)
{
	struct json tree;
	int rc = json_parse(a, text, JSON_BORROW | JSON_DUPLICATES_KEEP | JSON_REPLACE_BAD_UTF8, &limits, &tree, err);
	if (rc < 0)
		return rc;
	struct walk w = { .a = a, .d = d, .err = err };
	walk_any(&w, &tree, NULL);
	if (d->strict && d->n_found)
		return strict_error(d, err);
	*out = tree;
	return 0;
}

void api_decode_note(struct arena *a, struct api_decode *d, struct span what)
{
	struct walk w = { .a = a, .d = d, .cap_found = d->n_found };
	if (d->n_found < FOUND_MAX)
		note_found(&w, what);
}

/* The message as the API server gives it: sigs.k8s.io/yaml's own words without what its Unmarshal puts in front. */
static struct span yaml_words(const struct err *err)
{
	struct span text = span_of(err_msg(err)), front = SPAN("error converting YAML to JSON: ");
	return span_starts(text, front) ? span_from(text, front.len) : text;
}

/* Upstream converts twice: leniently for the object, strictly for what there is to complain about. */
int api_decode_yaml(struct arena *a, const struct api_type *t, struct span text, struct api_decode *d,
		    struct json *out, struct err *err)
{
	auto_err struct err strict_err = ERR_INIT, lenient_err = ERR_INIT;
	struct span before = SPAN_EMPTY;
	struct json tree;
	int rc = yaml_parse(a, text, YAML_STRICT, &limits, &tree, &strict_err);
	if (rc < 0) {
		rc = yaml_parse(a, text, 0, &limits, &tree, &lenient_err);
		if (rc < 0) {
			struct span words = yaml_words(&lenient_err);
			return err_set(err, -rc, "%.*s", SPAN_ARG(words));
		}
		before = yaml_words(&strict_err);
	}
	rc = decode(a, t, &tree, d, before, err);
	if (rc == 0)
		*out = tree;
	return rc;
}

int api_peek_gvk(struct arena *a, struct span text, struct span *out_api_version, struct span *out_kind, struct err *err)
{
	if (span_starts(text, API_PROTO_MAGIC)) {
		struct api_envelope e;
		int rc = api_envelope_read(text, &e, err);
		if (rc == 0) {
			*out_api_version = e.api_version;
			*out_kind = e.kind;
		}
		return rc;
	}
	struct json tree;
	int rc = json_parse(a, text, JSON_BORROW | JSON_DUPLICATES_KEEP | JSON_REPLACE_BAD_UTF8, &limits, &tree, err);
	if (rc < 0)
		return rc;
	*out_api_version = json_span(json_getl(&tree, "apiVersion"));
	*out_kind = json_span(json_getl(&tree, "kind"));
	return 0;
}
