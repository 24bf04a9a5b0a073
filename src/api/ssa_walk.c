/* Typed walks of server-side apply. Each is a recursion over (type, value) or (type, set), as deep as the tree. */
#include "api/ssa_walk.h"

#include "api/gotext.h"

static const struct json null_value = JSON_NULL_VALUE;

/* ---- shapes */
enum shape_kind { SHAPE_SCALAR, SHAPE_LIST, SHAPE_MAP };
struct shape {
	enum shape_kind kind;
	bool atomic;
	struct ssa_type elem;        /* of a list's items; of a map's members that are no fields */
	bool has_elem;               /* unknown members are allowed */
	const struct api_type *type; /* of a typed list or map */
};

static struct shape shape_by_value(const struct json *v, bool atomic)
{
	struct shape s = { .kind = SHAPE_SCALAR, .atomic = atomic, .has_elem = true,
			   .elem = { NULL, atomic ? SSA_ATOMIC : SSA_DEDUCED } };
	if (json_is(v, JSON_ARRAY)) {
		s.kind = SHAPE_LIST;
		s.atomic = true; /* lists without a schema are taken as a whole */
	} else if (json_is(v, JSON_OBJECT)) {
		s.kind = SHAPE_MAP;
	}
	return s;
}

/* v (may be NULL) decides where the schema leaves the kind open. */
static struct shape shape_of(struct ssa_type t, const struct json *v)
{
	if (t.mode != SSA_TYPED || !t.type)
		return shape_by_value(v, t.mode == SSA_ATOMIC);
	unsigned flags = api_type_flags(t.type);
	struct shape s = { .kind = SHAPE_SCALAR, .type = t.type, .atomic = flags & API_TYPE_ATOMIC };
	switch (api_type_kind(t.type)) {
	case API_OBJECT:
		s.kind = SHAPE_MAP;
		s.has_elem = flags & (API_TYPE_PRESERVE | API_TYPE_EMBEDDED);
		s.elem = (struct ssa_type){ NULL, SSA_DEDUCED };
		return s;
	case API_MAP:
		s.kind = SHAPE_MAP;
		s.has_elem = true;
		s.elem = ssa_typed(api_type_elem(t.type));
		return s;
	case API_LIST:
		s.kind = SHAPE_LIST;
		s.elem = ssa_typed(api_type_elem(t.type));
		s.atomic |= api_type_list(t.type) != API_LIST_MAP && api_type_list(t.type) != API_LIST_SET;
		return s;
	case API_RAW: /* an object with members of any kind, each taken as a whole */
	case API_ANY:
		if (flags & API_TYPE_CUSTOM)
			return shape_by_value(v, false);
		s = shape_by_value(v, true);
		s.atomic = s.kind != SHAPE_MAP;
		return s;
	case API_UNION:
		return shape_by_value(v, true);
	default:
		return s;
	}
}

static bool is_field(const struct shape *s, struct span name)
{
	return s->type && api_type_kind(s->type) == API_OBJECT && api_type_field(s->type, name);
}

static struct ssa_type member_type(const struct shape *s, struct span name)
{
	if (s->type && api_type_kind(s->type) == API_OBJECT) {
		const struct api_field *f = api_type_field(s->type, name);
		if (f)
			return ssa_typed(api_field_type(f));
	}
	return s->elem;
}

/* The rules below a path element, for walks over sets. */
static struct ssa_type below_type(const struct shape *s, const struct api_pe *pe)
{
	return pe->kind == API_PE_FIELD && s->kind == SHAPE_MAP ? member_type(s, pe->field) : s->elem;
}

static struct api_pe field_pe(struct span name)
{
	return (struct api_pe){ .kind = API_PE_FIELD, .field = name };
}

/* ---- items of lists by key. why may be NULL. */
static bool item_pe(struct arena *a, const struct shape *s, const struct json *item, struct api_pe *out, struct buf *why)
{
	*out = (struct api_pe){};
	if (api_type_list(s->type) == API_LIST_SET) {
		static const char *const problems[JSON_KIND_COUNT] = {
			[JSON_OBJECT] = "associative list without keys has an element that's a map type",
			[JSON_ARRAY] = "not supported: associative list with lists as elements",
			[JSON_NULL] = "associative list without keys has an element that's an explicit null",
		};
		if (problems[item->kind]) {
			if (why)
				buf_str(why, problems[item->kind]);
			return false;
		}
		out->kind = API_PE_VALUE;
		out->value = *item;
		return true;
	}
	if (item->kind != JSON_OBJECT) {
		if (why)
			buf_str(why, item->kind == JSON_NULL ? "associative list with keys may not have a null element" :
							       "associative list with keys may not have non-map elements");
		return false;
	}
	out->kind = API_PE_KEY;
	out->value = json_object();
	for (unsigned i = 0; i < api_type_n_keys(s->type); i++) {
		struct span key = api_type_key(s->type, i);
		const struct json *v = json_get(item, key);
		struct json other;
		if (!v) {
			const struct api_type *elem = s->elem.type;
			const struct api_field *f = api_type_kind(elem) == API_OBJECT ? api_type_field(elem, key) : NULL;
			struct span text = f ? api_field_default(f) : SPAN_EMPTY;
			if (f && !text.len)
				text = api_type_default(api_field_type(f));
			if (!text.len || json_parse(a, text, 0, NULL, &other, NULL) < 0) {
				auto_buf struct buf quoted = {};
				api_go_quote(&quoted, key);
				if (why)
					buf_printf(why,
						   "associative list with keys has an element that omits key field %s (and "
						   "doesn't have default value)",
						   buf_cstr(&quoted));
				return false;
			}
			v = &other;
		}
		json_add(a, &out->value, key, *v);
	}
	json_sort(&out->value);
	return true;
}

struct item_index { /* the items of a list by their path elements */
	uint32_t n;         /* items that have one */
	struct api_pe *pes; /* in the order of the list */
	uint32_t *first;    /* the place in the list of each */
	uint32_t *order;    /* numbers of pes, sorted by element, equal ones in the order of the list */
};

static __thread const struct api_pe *sort_pes;

static int pe_order(const void *x, const void *y)
{
	uint32_t i = *(const uint32_t *)x, j = *(const uint32_t *)y;
	int c = api_pe_cmp(&sort_pes[i], &sort_pes[j]);
	return c ? c : i < j ? -1 : i > j;
}

/* Items that have no element (bad ones) are left out. */
static struct item_index index_of(struct arena *a, const struct shape *s, const struct json *list)
{
	struct item_index x = {};
	uint32_t n = json_is(list, JSON_ARRAY) ? list->n : 0;
	x.pes = arena_alloc_n(a, n, sizeof(*x.pes));
	x.order = arena_alloc_n(a, n, sizeof(*x.order));
	x.first = arena_alloc_n(a, n, sizeof(*x.first));
	for (uint32_t i = 0; i < n; i++) {
		if (!item_pe(a, s, &list->items[i], &x.pes[x.n], NULL))
			continue;
		x.first[x.n] = i;
		x.order[x.n] = x.n;
		x.n++;
	}
	sort_pes = x.pes;
	if (x.n > 1)
		qsort(x.order, x.n, sizeof(*x.order), pe_order);
	return x;
}

/* The items with this element: how many; *out_at is the first one's number among x's elements. */
static unsigned index_find(const struct item_index *x, const struct api_pe *pe, uint32_t *out_at)
{
	uint32_t from = 0, to = x->n;
	while (from < to) {
		uint32_t mid = from + (to - from) / 2;
		if (api_pe_cmp(&x->pes[x->order[mid]], pe) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	unsigned n = 0;
	while (from + n < x->n && api_pe_cmp(&x->pes[x->order[from + n]], pe) == 0)
		n++;
	if (n)
		*out_at = x->order[from];
	return n;
}

/* ---- validation */
struct check {
	struct arena *arena;
	bool duplicates_ok;
	struct buf path, errors;
	unsigned n;
};

static void problem(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void problem(struct check *c, const char *fmt, ...)
{
	va_list ap;
	if (++c->n > 100) /* one object cannot make an endless message */
		return;
	if (c->n > 1)
		buf_chr(&c->errors, '\n');
	buf_printf(&c->errors, "  %.*s%s", SPAN_ARG(buf_span(&c->path)), c->path.len ? ": " : "");
	va_start(ap, fmt);
	buf_vprintf(&c->errors, fmt, ap);
	va_end(ap);
}

static void check_value(struct check *c, struct ssa_type t, const struct json *v);

static void check_list(struct check *c, const struct shape *s, const struct json *list)
{
	struct item_index seen = {};
	bool by_key = !s->atomic && s->type;
	size_t stem = c->path.len;
	if (by_key && !c->duplicates_ok)
		seen = index_of(c->arena, s, list);
	for (uint32_t i = 0; i < list->n; i++) {
		struct api_pe pe = { .kind = API_PE_INDEX, .value = json_int(i) };
		auto_buf struct buf why = {};
		if (by_key && !item_pe(c->arena, s, &list->items[i], &pe, &why)) {
			problem(c, "element %u: %s", i, buf_cstr(&why));
			return;
		}
		uint32_t at;
		if (by_key && !c->duplicates_ok && index_find(&seen, &pe, &at) > 1 && seen.first[at] != i) {
			auto_buf struct buf shown = {};
			api_pe_print(&pe, &shown);
			problem(c, "duplicate entries for key %s", buf_cstr(&shown));
		}
		api_pe_print(&pe, &c->path);
		check_value(c, s->elem, &list->items[i]);
		buf_trunc(&c->path, stem);
	}
}

static void check_scalar(struct check *c, struct ssa_type t, const struct json *v)
{
	auto_buf struct buf shown = {};
	if (t.mode != SSA_TYPED || !t.type || v->kind == JSON_NULL)
		return;
	switch (api_type_kind(t.type)) {
	case API_INT32:
	case API_INT64:
	case API_UINT64:
	case API_DOUBLE:
		if (!json_is_number(v))
			problem(c, "expected numeric (int or float), got %s", api_go_type(v));
		break;
	case API_BOOL:
		if (v->kind == JSON_BOOL)
			break;
		if (v->kind == JSON_STRING)
			api_go_quote(&shown, json_span(v));
		else
			api_go_value(&shown, v);
		problem(c, "expected boolean, got %s", buf_cstr(&shown));
		break;
	case API_STRING:
	case API_BYTES:
	case API_TIME:
	case API_MICROTIME:
		if (v->kind == JSON_STRING)
			break;
		/* %#v of a value: numbers and objects as upstream's value type prints them */
		api_go_value(&shown, v);
		problem(c, "expected string, got &value.valueUnstructured{Value:%s}", buf_cstr(&shown));
		break;
	default:
		if (v->kind == JSON_OBJECT || v->kind == JSON_ARRAY) {
			api_go_value(&shown, v);
			problem(c, "expected any scalar, got %s", buf_cstr(&shown));
		}
		break;
	}
}

static void check_value(struct check *c, struct ssa_type t, const struct json *v)
{
	struct shape s = shape_of(t, v);
	size_t stem = c->path.len;
	auto_buf struct buf shown = {};
	if (s.kind == SHAPE_SCALAR) {
		check_scalar(c, t, v);
		return;
	}
	if (v->kind == JSON_NULL)
		return;
	if (v->kind != (s.kind == SHAPE_LIST ? JSON_ARRAY : JSON_OBJECT)) {
		if (v->kind == JSON_STRING)
			api_go_quote(&shown, json_span(v));
		else
			json_write(&shown, v, JSON_SORTED);
		problem(c, "expected %s, got %s", s.kind == SHAPE_LIST ? "list" : "map", buf_cstr(&shown));
		return;
	}
	if (s.kind == SHAPE_LIST) {
		check_list(c, &s, v);
		return;
	}
	JSON_EACH_MEMBER(v, m) {
		buf_chr(&c->path, '.');
		buf_span_add(&c->path, json_key(m));
		if (!is_field(&s, json_key(m)) && !s.has_elem)
			problem(c, "field not declared in schema");
		else
			check_value(c, member_type(&s, json_key(m)), &m->value);
		buf_trunc(&c->path, stem);
	}
}

int api_ssa_check(struct arena *a, struct ssa_type t, const struct json *v, bool duplicates_ok, struct err *err)
{
	struct check c = { .arena = a, .duplicates_ok = duplicates_ok };
	int rc = 0;
	check_value(&c, t, v);
	if (c.n == 1)
		rc = err_set(err, ERR_INTERNAL, "%s", buf_cstr(&c.errors) + 2);
	else if (c.n)
		rc = err_set(err, ERR_INTERNAL, "errors:\n%s", buf_cstr(&c.errors));
	buf_done(&c.path);
	buf_done(&c.errors);
	return rc;
}

/* ---- field sets */
static void fields_walk(struct arena *a, struct ssa_type t, const struct json *v, const struct api_path *path,
			struct api_fieldset *out)
{
	struct shape s = shape_of(t, v);
	if (s.kind == SHAPE_SCALAR || s.atomic) {
		api_fieldset_insert(a, out, path);
		return;
	}
	if (s.kind == SHAPE_LIST) {
		struct item_index x = index_of(a, &s, v);
		for (uint32_t i = 0; i < x.n; i++) {
			struct api_path item = { path, x.pes[i] };
			uint32_t first;
			/* Of duplicates only the item as a whole is owned. */
			if (index_find(&x, &x.pes[i], &first) == 1)
				fields_walk(a, s.elem, &v->items[x.first[i]], &item, out);
			api_fieldset_insert(a, out, &item);
		}
		return;
	}
	JSON_EACH_MEMBER(v, m) {
		struct api_path member = { path, field_pe(json_key(m)) };
		fields_walk(a, member_type(&s, json_key(m)), &m->value, &member, out);
		if (m->value.kind == JSON_NULL || (m->value.kind == JSON_OBJECT && !m->value.n) || !is_field(&s, json_key(m)))
			api_fieldset_insert(a, out, &member);
	}
}

const struct api_fieldset *api_ssa_fields(struct arena *a, struct ssa_type t, const struct json *v)
{
	struct api_fieldset *out = api_fieldset_new(a);
	fields_walk(a, t, v, NULL, out);
	return out;
}

/* ---- merging */
static bool has_any(const struct json *v, enum json_kind kind)
{
	return json_is(v, kind) && v->n;
}

static bool merge(struct arena *a, struct ssa_type t, const struct json *l, const struct json *r, struct json *out);

/* Live's items in their order, applied's shared items pulled into theirs: a two-sided walk as upstream's visitListItems. */
static bool merge_list(struct arena *a, const struct shape *s, const struct json *l, const struct json *r, struct json *out)
{
	struct item_index xl = index_of(a, s, l), xr = index_of(a, s, r);
	*out = json_array();
	uint32_t shared_n = 0, shared_at = 0, at;
	uint32_t *shared = arena_alloc_n(a, xr.n, sizeof(*shared)); /* applied's items that live has too */
	bool *done = arena_alloc_n(a, xr.n, sizeof(*done));         /* applied's items that are in the result */
	for (uint32_t i = 0; i < xr.n; i++) {
		done[i] = false;
		if (index_find(&xl, &xr.pes[i], &at))
			shared[shared_n++] = i;
	}
	for (uint32_t i = 0, j = 0; i < xl.n || j < xr.n;) {
		const struct json *item_l = i < xl.n ? &l->items[xl.first[i]] : NULL;
		struct json merged;
		uint32_t in_r = 0, in_l = 0;
		bool found_r = i < xl.n && index_find(&xr, &xl.pes[i], &in_r);
		if (i < xl.n && j < xr.n) {
			if (api_pe_cmp(&xl.pes[i], &xr.pes[j]) == 0) {
				done[j] = true;
				/* Of live's duplicates none is merged with. */
				bool single = index_find(&xl, &xl.pes[i], &in_l) == 1;
				if (merge(a, s->elem, single ? item_l : &null_value, &r->items[xr.first[j]], &merged))
					json_push(a, out, merged);
				i++;
				j++;
				if (shared_at < shared_n)
					shared_at++;
				continue;
			}
			if (found_r && shared_at < shared_n && api_pe_cmp(&xr.pes[shared[shared_at]], &xl.pes[i])) {
				i++; /* comes later, where applied has it */
				continue;
			}
		}
		if (i < xl.n) {
			if (!found_r) {
				if (merge(a, s->elem, item_l, NULL, &merged))
					json_push(a, out, merged);
				i++;
				continue;
			}
			if (done[in_r])
				i++;
		}
		if (j < xr.n) {
			unsigned n = index_find(&xl, &xr.pes[j], &in_l);
			const struct json *live = n == 1 ? &l->items[xl.first[in_l]] : n ? &null_value : NULL;
			done[j] = true;
			if (merge(a, s->elem, live, &r->items[xr.first[j]], &merged))
				json_push(a, out, merged);
			if (shared_at < shared_n && shared[shared_at] == j)
				shared_at++;
			j++;
		}
	}
	return out->n > 0;
}

/* False: nothing comes out. At least one of l and r is there. */
static bool merge(struct arena *a, struct ssa_type t, const struct json *l, const struct json *r, struct json *out)
{
	struct shape s = shape_of(t, r ? r : l);
	enum json_kind kind = s.kind == SHAPE_LIST ? JSON_ARRAY : JSON_OBJECT;
	if (s.kind == SHAPE_SCALAR || s.atomic || (!has_any(l, kind) && !has_any(r, kind))) {
		*out = r ? *r : *l;
		return true;
	}
	if (s.kind == SHAPE_LIST)
		return merge_list(a, &s, l, r, out);
	*out = json_object();
	JSON_EACH_MEMBER(l, m) {
		struct json v;
		if (merge(a, member_type(&s, json_key(m)), &m->value, json_get(r, json_key(m)), &v))
			json_add(a, out, json_key(m), v);
	}
	JSON_EACH_MEMBER(r, m) {
		struct json v;
		if (!json_member(l, json_key(m)) && merge(a, member_type(&s, json_key(m)), NULL, &m->value, &v))
			json_add(a, out, json_key(m), v);
	}
	return out->n > 0;
}

struct json api_ssa_merge(struct arena *a, struct ssa_type t, const struct json *live, const struct json *applied)
{
	struct json out;
	return merge(a, t, live, applied, &out) ? out : JSON_NULL_VALUE;
}

/* ---- removing */
struct json api_ssa_remove(struct arena *a, struct ssa_type t, const struct json *v, const struct api_fieldset *set)
{
	struct shape s = shape_of(t, v);
	struct json out = { .kind = v->kind };
	if (s.kind == SHAPE_SCALAR)
		return *v;
	if (s.atomic || v->kind != (s.kind == SHAPE_LIST ? JSON_ARRAY : JSON_OBJECT))
		return JSON_NULL_VALUE;
	for (uint32_t i = 0; i < v->n; i++) {
		struct api_pe pe;
		const struct json *child = s.kind == SHAPE_LIST ? &v->items[i] : &v->members[i].value;
		if (s.kind == SHAPE_MAP)
			pe = field_pe(json_key(&v->members[i]));
		const struct api_fieldset_entry *e = NULL;
		if (s.kind == SHAPE_MAP || item_pe(a, &s, child, &pe, NULL))
			e = api_fieldset_find(set, &pe);
		if (e && e->member)
			continue;
		struct json kept = *child;
		if (e && e->below)
			kept = api_ssa_remove(a, below_type(&s, &pe), child, e->below);
		if (s.kind == SHAPE_LIST)
			json_push(a, &out, kept);
		else
			json_add(a, &out, pe.field, kept);
	}
	return out.n ? out : JSON_NULL_VALUE;
}

/* ---- comparing */
enum outcome { REMOVED, MODIFIED, ADDED, OUTCOMES };

/* A node on the way from the root. It remembers the sets below it, so that one element is looked up for a path that is told, and
 * not all that lead to it: entries move when their set grows, the sets below them do not. */
struct level {
	struct level *up;
	struct api_pe pe;
	struct api_fieldset *below[OUTCOMES]; /* NULL: not looked up yet */
};
struct compare {
	struct arena *arena;
	struct api_fieldset *sets[OUTCOMES];
};

static void compare(struct compare *c, struct ssa_type t, const struct json *l, const struct json *r, struct level *at);

static struct api_fieldset *set_below(struct compare *c, enum outcome what, struct level *at)
{
	if (!at)
		return c->sets[what];
	if (!at->below[what]) {
		struct api_fieldset_entry *e = api_fieldset_entry(c->arena, set_below(c, what, at->up), &at->pe);
		if (!e->below)
			e->below = api_fieldset_new(c->arena);
		at->below[what] = (struct api_fieldset *)e->below; /* ours, as all that the three sets are made of */
	}
	return at->below[what];
}

static void tell(struct compare *c, enum outcome what, struct level *at)
{
	if (at) /* the root is no member */
		api_fieldset_entry(c->arena, set_below(c, what, at->up), &at->pe)->member = true;
}

static void compare_lists(struct compare *c, const struct shape *s, const struct json *l, const struct json *r,
			  struct level *at)
{
	struct item_index xl = index_of(c->arena, s, l), xr = index_of(c->arena, s, r);
	for (uint32_t i = 0; i < xl.n + xr.n; i++) {
		bool from_l = i < xl.n;
		const struct api_pe *pe = from_l ? &xl.pes[i] : &xr.pes[i - xl.n];
		uint32_t at_l = 0, at_r = 0;
		unsigned n_l = index_find(&xl, pe, &at_l), n_r = index_find(&xr, pe, &at_r);
		struct level item = { .up = at, .pe = *pe };
		if (from_l ? at_l != i : n_l || at_r != i - xl.n)
			continue; /* seen already */
		const struct json *first_l = n_l ? &l->items[xl.first[at_l]] : NULL;
		const struct json *first_r = n_r ? &r->items[xr.first[at_r]] : NULL;
		if (n_l <= 1 && n_r <= 1) {
			compare(c, s->elem, first_l, first_r, &item);
		} else if (n_l >= 2 && n_r >= 2) {
			bool same = n_l == n_r;
			uint32_t k_l = 0, k_r = 0;
			while (same && k_l < xl.n && k_r < xr.n) { /* equal elements in their order */
				if (api_pe_cmp(&xl.pes[k_l], pe))
					k_l++;
				else if (api_pe_cmp(&xr.pes[k_r], pe))
					k_r++;
				else
					same = json_equal(&l->items[xl.first[k_l++]], &r->items[xr.first[k_r++]]);
			}
			if (!same)
				tell(c, MODIFIED, &item);
		} else if (n_l >= 2) {
			if (n_r)
				compare(c, s->elem, NULL, first_r, &item);
			tell(c, REMOVED, &item);
		} else {
			if (n_l)
				compare(c, s->elem, first_l, NULL, &item);
			tell(c, ADDED, &item);
		}
	}
}

static void leaf(struct compare *c, const struct json *l, const struct json *r, struct level *at)
{
	if (!l)
		tell(c, ADDED, at);
	else if (!r)
		tell(c, REMOVED, at);
	else if (!json_equal(l, r))
		tell(c, MODIFIED, at);
}

/* By one side's shape; the other side counts as nothing where its kind differs. True when it ended in a leaf. */
static bool compare_shape(struct compare *c, const struct shape *s, const struct json *l, const struct json *r,
			  struct level *at)
{
	enum json_kind kind = s->kind == SHAPE_LIST ? JSON_ARRAY : JSON_OBJECT;
	if (s->kind == SHAPE_SCALAR || s->atomic || (!has_any(l, kind) && !has_any(r, kind))) {
		leaf(c, l, r, at);
		return true;
	}
	if (s->kind == SHAPE_LIST) {
		compare_lists(c, s, json_is(l, kind) ? l : NULL, json_is(r, kind) ? r : NULL, at);
		return false;
	}
	JSON_EACH_MEMBER(l, m) {
		struct level member = { .up = at, .pe = field_pe(json_key(m)) };
		compare(c, member_type(s, json_key(m)), &m->value, json_get(r, json_key(m)), &member);
	}
	JSON_EACH_MEMBER(r, m) {
		struct level member = { .up = at, .pe = field_pe(json_key(m)) };
		if (!json_member(l, json_key(m)))
			compare(c, member_type(s, json_key(m)), NULL, &m->value, &member);
	}
	return false;
}

static void compare(struct compare *c, struct ssa_type t, const struct json *l, const struct json *r, struct level *at)
{
	struct shape sl = {}, sr = {}; /* a side that is not there has none, and nobody asks for it */
	if (l)
		sl = shape_of(t, l);
	if (r)
		sr = shape_of(t, r);
	/* Null keeps the other side's shape: only a typed value has one of its own. */
	if (r && r->kind == JSON_NULL && !sr.type && l)
		sr = sl;
	if (l && l->kind == JSON_NULL && !sl.type && r)
		sl = sr;
	if (l && r && sl.kind != sr.kind)
		(void)compare_shape(c, &sl, l, r, at);
	bool in_leaf = compare_shape(c, r ? &sr : &sl, l, r, at);
	if (!in_leaf && !l)
		tell(c, ADDED, at);
	else if (!in_leaf && !r)
		tell(c, REMOVED, at);
}

void api_ssa_compare(struct arena *a, struct ssa_type t, const struct json *from, const struct json *to, struct ssa_difference *out)
{
	struct compare c = { a, { api_fieldset_new(a), api_fieldset_new(a), api_fieldset_new(a) } };
	compare(&c, t, from, to, NULL);
	*out = (struct ssa_difference){ c.sets[REMOVED], c.sets[MODIFIED], c.sets[ADDED] };
}

/* ---- walks over sets */
const struct api_fieldset *api_ssa_name_fields(struct arena *a, struct ssa_type t, const struct api_fieldset *set)
{
	if (api_fieldset_is_empty(set))
		return &api_fieldset_empty;
	struct shape s = shape_of(t, NULL);
	struct api_fieldset *out = api_fieldset_new(a);
	out->n = out->cap = set->n;
	out->entries = arena_alloc_n(a, set->n, sizeof(*out->entries));
	for (unsigned i = 0; i < set->n; i++) {
		struct api_fieldset_entry e = set->entries[i];
		if (e.below) {
			if (e.pe.kind == API_PE_FIELD && is_field(&s, e.pe.field))
				e.member = true;
			e.below = api_ssa_name_fields(a, below_type(&s, &e.pe), e.below);
		}
		out->entries[i] = e;
	}
	return out;
}

const struct api_fieldset *api_ssa_reconcile(struct arena *a, struct ssa_type t, const struct api_fieldset *set)
{
	if (api_fieldset_is_empty(set) || t.mode != SSA_TYPED)
		return set;
	struct shape s = shape_of(t, NULL);
	struct api_fieldset *out = api_fieldset_new(a);
	out->n = out->cap = set->n;
	out->entries = arena_alloc_n(a, set->n, sizeof(*out->entries));
	for (unsigned i = 0; i < set->n; i++) {
		struct api_fieldset_entry e = set->entries[i];
		struct ssa_type below = below_type(&s, &e.pe);
		if (e.below && below.mode == SSA_TYPED && below.type) {
			struct shape bs = shape_of(below, NULL);
			if (bs.kind != SHAPE_SCALAR && bs.atomic) {
				e.member = true;
				e.below = NULL;
			} else {
				e.below = api_ssa_reconcile(a, below, e.below);
			}
		}
		out->entries[i] = e;
	}
	return out;
}
