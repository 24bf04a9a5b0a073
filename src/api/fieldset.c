/* Sets of field paths.
 *
 * Upstream (structured-merge-diff) keeps the members and the children of a node in two sorted lists; here an entry is both,
 * because they are printed merged. Invariants: entries are sorted and differ; an entry is a member or has a non-empty set below. */
#include "api/fieldset.h"

#include "api/gotext.h"
#include "api/ssa_walk.h"

const struct api_fieldset api_fieldset_empty;

/* ---- order */
static int kind_rank(const struct json *v)
{
	switch ((enum json_kind)v->kind) {
	case JSON_INT:
	case JSON_UINT:
	case JSON_DOUBLE:
		return 0;
	case JSON_STRING:
	case JSON_RAW:
		return 1;
	case JSON_BOOL:
		return 2;
	case JSON_ARRAY:
		return 3;
	case JSON_OBJECT:
		return 4;
	default:
		return 5;
	}
}

static int value_cmp(const struct json *x, const struct json *y);

static int members_cmp(const struct json *x, const struct json *y)
{
	for (uint32_t i = 0; i < x->n && i < y->n; i++) {
		int c = span_cmp(json_key(&x->members[i]), json_key(&y->members[i]));
		if (c || (c = value_cmp(&x->members[i].value, &y->members[i].value)))
			return c;
	}
	return x->n < y->n ? -1 : x->n > y->n;
}

static int value_cmp(const struct json *x, const struct json *y)
{
	int rx = kind_rank(x), ry = kind_rank(y), c = 0;
	if (rx != ry)
		return rx < ry ? -1 : 1;
	switch (rx) {
	case 0:
		if (x->kind == JSON_INT && y->kind == JSON_INT)
			return x->i < y->i ? -1 : x->i > y->i;
		double dx = x->kind == JSON_INT ? (double)x->i : x->kind == JSON_UINT ? (double)x->u : x->d;
		double dy = y->kind == JSON_INT ? (double)y->i : y->kind == JSON_UINT ? (double)y->u : y->d;
		return dx < dy ? -1 : dx > dy;
	case 1:
		return span_cmp(json_span(x), json_span(y));
	case 2:
		return x->b - y->b;
	case 3:
		for (uint32_t i = 0; !c && i < x->n && i < y->n; i++)
			c = value_cmp(&x->items[i], &y->items[i]);
		return c ? c : x->n < y->n ? -1 : x->n > y->n;
	case 4:
		return members_cmp(x, y);
	default:
		return 0;
	}
}

int api_pe_cmp(const struct api_pe *x, const struct api_pe *y)
{
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->kind == API_PE_FIELD)
		return span_cmp(x->field, y->field);
	return value_cmp(&x->value, &y->value);
}

/* ---- finding and inserting */
static unsigned lower_bound(const struct api_fieldset *s, const struct api_pe *pe, bool *out_found)
{
	unsigned from = 0, to = s->n;
	*out_found = false;
	while (from < to) {
		unsigned mid = from + (to - from) / 2;
		int c = api_pe_cmp(&s->entries[mid].pe, pe);
		if (c == 0) {
			*out_found = true;
			return mid;
		}
		if (c < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

const struct api_fieldset_entry *api_fieldset_find(const struct api_fieldset *s, const struct api_pe *pe)
{
	bool found;
	if (!s)
		return NULL;
	unsigned at = lower_bound(s, pe, &found);
	return found ? &s->entries[at] : NULL;
}

struct api_fieldset *api_fieldset_new(struct arena *a)
{
	return arena_new(a, struct api_fieldset);
}

static void reserve(struct arena *a, struct api_fieldset *s)
{
	if (s->n < s->cap)
		return;
	unsigned cap = s->cap ? s->cap * 2 : 4;
	struct api_fieldset_entry *entries = arena_alloc_n(a, cap, sizeof(*entries));
	if (s->n)
		memcpy(entries, s->entries, s->n * sizeof(*entries));
	s->entries = entries;
	s->cap = cap;
}

struct api_fieldset_entry *api_fieldset_entry(struct arena *a, struct api_fieldset *s, const struct api_pe *pe)
{
	bool found;
	unsigned at = lower_bound(s, pe, &found);
	if (found)
		return &s->entries[at];
	reserve(a, s);
	memmove(s->entries + at + 1, s->entries + at, (s->n - at) * sizeof(*s->entries));
	s->entries[at] = (struct api_fieldset_entry){ .pe = *pe };
	s->n++;
	return &s->entries[at];
}

static struct api_fieldset *set_of(struct arena *a, struct api_fieldset *s, const struct api_path *path)
{
	if (!path)
		return s;
	struct api_fieldset_entry *e = api_fieldset_entry(a, set_of(a, s, path->up), &path->pe);
	if (!e->below)
		e->below = api_fieldset_new(a);
	return (struct api_fieldset *)e->below; /* the builder's own */
}

void api_fieldset_insert(struct arena *a, struct api_fieldset *s, const struct api_path *path)
{
	if (path)
		api_fieldset_entry(a, set_of(a, s, path->up), &path->pe)->member = true;
}

static void append(struct arena *a, struct api_fieldset *s, const struct api_pe *pe, bool member, const struct api_fieldset *below)
{
	if (api_fieldset_is_empty(below))
		below = NULL;
	if (!member && !below)
		return;
	reserve(a, s);
	s->entries[s->n++] = (struct api_fieldset_entry){ *pe, member, below };
}

/* ---- algebra: one walk over two sorted lists; a side that has no such entry gives an empty one */
enum op { UNION, INTERSECTION, DIFFERENCE, RECURSIVE_DIFFERENCE };

static const struct api_fieldset *combine(struct arena *a, const struct api_fieldset *x, const struct api_fieldset *y, enum op op)
{
	if (api_fieldset_is_empty(x))
		return op == UNION && y ? y : &api_fieldset_empty;
	if (api_fieldset_is_empty(y))
		return op == INTERSECTION ? &api_fieldset_empty : x;
	struct api_fieldset *out = api_fieldset_new(a);
	for (unsigned i = 0, j = 0; i < x->n || j < y->n;) {
		int c = i == x->n ? 1 : j == y->n ? -1 : api_pe_cmp(&x->entries[i].pe, &y->entries[j].pe);
		const struct api_fieldset_entry *ex = c <= 0 ? &x->entries[i++] : NULL, *ey = c >= 0 ? &y->entries[j++] : NULL;
		bool mx = ex && ex->member, my = ey && ey->member;
		const struct api_fieldset *bx = ex ? ex->below : NULL, *by = ey ? ey->below : NULL;
		const struct api_pe *pe = ex ? &ex->pe : &ey->pe;
		switch (op) {
		case UNION:
			append(a, out, pe, mx || my, combine(a, bx, by, op));
			break;
		case INTERSECTION:
			append(a, out, pe, mx && my, combine(a, bx, by, op));
			break;
		case DIFFERENCE:
			append(a, out, pe, mx && !my, combine(a, bx, by, op));
			break;
		case RECURSIVE_DIFFERENCE:
			append(a, out, pe, mx && !my, my ? NULL : combine(a, bx, by, op));
			break;
		}
	}
	return out;
}

const struct api_fieldset *api_fieldset_union(struct arena *a, const struct api_fieldset *x, const struct api_fieldset *y)
{
	return combine(a, x, y, UNION);
}

const struct api_fieldset *api_fieldset_intersection(struct arena *a, const struct api_fieldset *x,
						     const struct api_fieldset *y)
{
	return combine(a, x, y, INTERSECTION);
}

const struct api_fieldset *api_fieldset_difference(struct arena *a, const struct api_fieldset *x, const struct api_fieldset *y,
						   bool recursive)
{
	return combine(a, x, y, recursive ? RECURSIVE_DIFFERENCE : DIFFERENCE);
}

bool api_fieldset_equal(const struct api_fieldset *x, const struct api_fieldset *y)
{
	if (api_fieldset_is_empty(x) || api_fieldset_is_empty(y))
		return api_fieldset_is_empty(x) && api_fieldset_is_empty(y);
	if (x->n != y->n)
		return false;
	for (unsigned i = 0; i < x->n; i++)
		if (x->entries[i].member != y->entries[i].member || api_pe_cmp(&x->entries[i].pe, &y->entries[i].pe) ||
		    !api_fieldset_equal(x->entries[i].below, y->entries[i].below))
			return false;
	return true;
}

unsigned api_fieldset_size(const struct api_fieldset *s)
{
	unsigned n = 0;
	for (unsigned i = 0; s && i < s->n; i++)
		n += s->entries[i].member + api_fieldset_size(s->entries[i].below);
	return n;
}

/* ---- paths as text */
static void value_print(const struct json *v, struct buf *out)
{
	if (v->kind == JSON_STRING)
		api_go_quote(out, json_span(v));
	else
		api_go_value(out, v);
}

void api_pe_print(const struct api_pe *pe, struct buf *out)
{
	bool first = true;
	switch (pe->kind) {
	case API_PE_FIELD:
		buf_chr(out, '.');
		buf_span_add(out, pe->field);
		return;
	case API_PE_KEY:
		buf_chr(out, '[');
		JSON_EACH_MEMBER(&pe->value, m) {
			if (!first)
				buf_chr(out, ',');
			first = false;
			buf_span_add(out, json_key(m));
			buf_chr(out, '=');
			value_print(&m->value, out);
		}
		buf_chr(out, ']');
		return;
	case API_PE_VALUE:
		buf_str(out, "[=");
		value_print(&pe->value, out);
		buf_chr(out, ']');
		return;
	case API_PE_INDEX:
		buf_printf(out, "[%lld]", (long long)pe->value.i);
		return;
	}
}

static void each(const struct api_fieldset *s, struct buf *path, void (*fn)(void *arg, struct span path), void *arg)
{
	size_t stem = path->len;
	/* Members first, then what is below: upstream's order, which messages show. */
	for (unsigned i = 0; i < s->n; i++)
		if (s->entries[i].member) {
			api_pe_print(&s->entries[i].pe, path);
			fn(arg, buf_span(path));
			buf_trunc(path, stem);
		}
	for (unsigned i = 0; i < s->n; i++)
		if (s->entries[i].below) {
			api_pe_print(&s->entries[i].pe, path);
			each(s->entries[i].below, path, fn, arg);
			buf_trunc(path, stem);
		}
}

void api_fieldset_each(const struct api_fieldset *s, void (*fn)(void *arg, struct span path), void *arg)
{
	auto_buf struct buf path = {};
	if (s)
		each(s, &path, fn, arg);
}

/* ---- FieldsV1 */
static int pe_parse(struct arena *a, struct span key, struct api_pe *out, bool *out_known, struct err *err)
{
	static const struct json_limits limits = { .bytes = 1 << 20, .depth = 32 };
	*out = (struct api_pe){};
	*out_known = true;
	if (key.len < 2)
		return err_set(err, ERR_INVALID, "parsing key as path element: key must be 2 characters long:");
	if (key.ptr[1] != ':')
		return err_set(err, ERR_INVALID, "parsing key as path element: missing colon: %.*s", SPAN_ARG(key));
	struct span rest = span_from(key, 2);
	switch (key.ptr[0]) {
	case 'f':
		out->kind = API_PE_FIELD;
		out->field = rest;
		return 0;
	case 'k':
	case 'v':
		out->kind = key.ptr[0] == 'k' ? API_PE_KEY : API_PE_VALUE;
		if (json_parse(a, rest, JSON_DUPLICATES_LAST, &limits, &out->value, err) < 0)
			return err_note(err, "parsing key as path element");
		if (out->kind == API_PE_KEY && out->value.kind != JSON_OBJECT)
			return err_set(err, ERR_INVALID, "parsing key as path element: %.*s has no keys", SPAN_ARG(key));
		json_sort(&out->value);
		return 0;
	case 'i': {
		int64_t i;
		out->kind = API_PE_INDEX;
		if (!span_to_i64(rest, &i))
			return err_set(err, ERR_INVALID,
				       "parsing key as path element: strconv.Atoi: parsing \"%.*s\": invalid syntax",
				       SPAN_ARG(rest));
		out->value = json_int(i);
		return 0;
	}
	default:
		*out_known = false;
		return 0;
	}
}

/* out_self: the object says "." of itself, or has nothing below. */
static int set_parse(struct arena *a, const struct json *v, struct api_fieldset *out, bool *out_self, struct err *err)
{
	*out_self = false;
	JSON_EACH_MEMBER(v, m) {
		struct api_pe pe;
		bool known, self;
		if (span_is(json_key(m), ".")) {
			*out_self = true;
			continue;
		}
		int rc = pe_parse(a, json_key(m), &pe, &known, err);
		if (rc < 0)
			return rc;
		if (!known)
			continue;
		struct api_fieldset *below = api_fieldset_new(a);
		if ((rc = set_parse(a, &m->value, below, &self, err)) < 0)
			return rc;
		struct api_fieldset_entry *e = api_fieldset_entry(a, out, &pe);
		e->member |= self;
		e->below = below->n ? below : e->below;
	}
	if (!out->n)
		*out_self = true;
	return 0;
}

int api_fieldset_parse(struct arena *a, const struct json *fields_v1, const struct api_fieldset **out, struct err *err)
{
	struct api_fieldset *s = api_fieldset_new(a);
	bool self;
	if (fields_v1 && fields_v1->kind != JSON_NULL && fields_v1->kind != JSON_OBJECT)
		return err_set(err, ERR_INVALID, "expected a field set, got %s", api_go_type(fields_v1));
	int rc = set_parse(a, fields_v1, s, &self, err);
	if (rc == 0)
		*out = s;
	return rc;
}

static struct span pe_key(struct arena *a, const struct api_pe *pe)
{
	static const char letters[] = "fkvi";
	if (pe->kind == API_PE_FIELD) { /* nearly all are; a buffer for each would be a malloc for each */
		char *text = arena_alloc(a, pe->field.len + 2);
		text[0] = letters[API_PE_FIELD];
		text[1] = ':';
		if (pe->field.len)
			memcpy(text + 2, pe->field.ptr, pe->field.len);
		return (struct span){ text, pe->field.len + 2 };
	}
	auto_buf struct buf b = {};
	buf_chr(&b, letters[pe->kind]);
	buf_chr(&b, ':');
	json_write(&b, &pe->value, JSON_HTML);
	return arena_span(a, buf_span(&b));
}

struct json api_fieldset_json(struct arena *a, const struct api_fieldset *s)
{
	struct json out = json_object();
	for (unsigned i = 0; s && i < s->n; i++) {
		struct json below = api_fieldset_json(a, s->entries[i].below);
		if (s->entries[i].member && below.n) {
			struct json with_self = json_object();
			json_add(a, &with_self, SPAN("."), json_object());
			JSON_EACH_MEMBER(&below, m)
				json_add(a, &with_self, json_key(m), m->value);
			below = with_self;
		}
		json_add(a, &out, pe_key(a, &s->entries[i].pe), below);
	}
	return out;
}
