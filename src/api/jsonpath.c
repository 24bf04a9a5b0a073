/* Running JSONPath templates. A part of the template maps a list of values to a list of values, node by node. */
#include "api/jsonpath.h"

#include "api/gotext.h"
#include "api/jsonpath_private.h"

#define RESULTS_MAX (1 << 20)

struct values {
	struct json *items; /* in the arena */
	unsigned n, cap;
};

struct run {
	struct arena *arena;
	bool missing_ok;
	unsigned made; /* values so far, against RESULTS_MAX */
	/* Ranges, as upstream counts them: begun but not entered, entered, ended but not left. */
	int begin_range, in_range, end_range;
	const struct node *last_end;
	unsigned depth;
	struct api_jsonpath_part *parts; /* heap while it grows */
	unsigned n_parts, cap_parts;
	struct err *err;
};

static int bad(const struct run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int bad(const struct run *r, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int rc = err_vset(r->err, ERR_INVALID_REQUEST, fmt, ap);
	va_end(ap);
	return rc;
}

static int add(struct run *r, struct values *out, struct json v)
{
	if (++r->made > RESULTS_MAX)
		return err_set(r->err, ERR_TOO_LARGE, "the jsonpath template makes more than %d values", RESULTS_MAX);
	if (out->n == out->cap) {
		unsigned cap = out->cap ? out->cap * 2 : 4;
		struct json *items = arena_alloc_n(r->arena, cap, sizeof(*items));
		if (out->n)
			memcpy(items, out->items, out->n * sizeof(*items));
		out->items = items;
		out->cap = cap;
	}
	out->items[out->n++] = v;
	return 0;
}

static int walk_list(struct run *r, const struct node_list *list, struct values in, struct values *out);

/* ---- children, members in the order of their keys */
static int member_order(const void *a, const void *b)
{
	return span_cmp(json_key(*(struct json_member *const *)a), json_key(*(struct json_member *const *)b));
}

static int children(struct run *r, const struct json *v, struct values *out)
{
	int rc = 0;
	if (v->kind == JSON_ARRAY) {
		for (uint32_t i = 0; rc == 0 && i < v->n; i++)
			rc = add(r, out, v->items[i]);
	} else if (v->kind == JSON_OBJECT) {
		struct json_member **sorted = arena_alloc_n(r->arena, v->n, sizeof(struct json_member *));
		for (uint32_t i = 0; i < v->n; i++)
			sorted[i] = &v->members[i];
		if (v->n > 1)
			qsort(sorted, v->n, sizeof(*sorted), member_order);
		for (uint32_t i = 0; rc == 0 && i < v->n; i++)
			rc = add(r, out, sorted[i]->value);
	} else if (v->kind == JSON_STRING) { /* Go ranges over the bytes of a string */
		for (uint32_t i = 0; rc == 0 && i < v->n; i++)
			rc = add(r, out, json_int((unsigned char)v->str[i]));
	}
	return rc;
}

/* The value and everything below it that has children, from the top down. */
static int descend(struct run *r, const struct json *v, struct values *out)
{
	if (v->kind != JSON_ARRAY && v->kind != JSON_OBJECT && v->kind != JSON_STRING)
		return 0;
	if (!v->n)
		return 0;
	int rc = add(r, out, *v);
	if (rc < 0 || v->kind == JSON_STRING)
		return rc;
	struct values below = {};
	rc = children(r, v, &below);
	for (unsigned i = 0; rc == 0 && i < below.n; i++)
		rc = descend(r, &below.items[i], out);
	return rc;
}

/* ---- nodes */
static int walk_field(struct run *r, const struct node *n, struct values in, struct values *out)
{
	int rc = 0;
	for (unsigned i = 0; rc == 0 && i < in.n; i++) {
		const struct json *v = json_get(&in.items[i], n->text);
		if (v)
			rc = add(r, out, *v);
	}
	if (rc == 0 && in.n && !out->n && !r->missing_ok)
		return bad(r, "%.*s is not found", SPAN_ARG(n->text));
	return rc;
}

static int walk_array(struct run *r, const struct node *n, struct values in, struct values *out)
{
	int rc = 0;
	for (unsigned k = 0; rc == 0 && k < in.n; k++) {
		const struct json *v = &in.items[k];
		if (v->kind == JSON_NULL)
			continue;
		if (v->kind != JSON_ARRAY)
			return bad(r, "%s is not array or slice", api_go_type(v));
		int64_t length = v->n, step = 1;
		int64_t from = n->bounds[0].known ? n->bounds[0].value : 0, to = n->bounds[1].known ? n->bounds[1].value : length;
		if (from < 0)
			from += length;
		if (to < 0 || (to == 0 && n->bounds[1].derived))
			to += length;
		if (from == to)
			return 0; /* no element asked for; what other values gave stays, as upstream */
		if (from >= length || from < 0)
			return bad(r, "array index out of bounds: index %lld, length %lld", (long long)from, (long long)length);
		if (to > length || to < 0)
			return bad(r, "array index out of bounds: index %lld, length %lld", (long long)to - 1, (long long)length);
		if (from > to)
			return bad(r, "starting index %lld is greater than ending index %lld", (long long)from, (long long)to);
		if (n->bounds[2].known) {
			step = n->bounds[2].value;
			if (step <= 0)
				return bad(r, "step must be > 0");
		}
		for (int64_t i = from; rc == 0 && i < to; i += MIN(step, length))
			rc = add(r, out, v->items[i]);
	}
	return rc;
}

/* ---- comparing, as Go's templates: only values of one kind */
enum cmp_kind { CMP_NONE, CMP_BOOL, CMP_INT, CMP_FLOAT, CMP_STRING };

static enum cmp_kind cmp_kind(const struct json *v)
{
	switch ((enum json_kind)v->kind) {
	case JSON_BOOL:
		return CMP_BOOL;
	case JSON_INT:
		return CMP_INT;
	case JSON_UINT:
	case JSON_DOUBLE:
		return CMP_FLOAT;
	case JSON_STRING:
		return CMP_STRING;
	default:
		return CMP_NONE;
	}
}

static double number(const struct json *v)
{
	return v->kind == JSON_UINT ? (double)v->u : v->d;
}

static int compare(const struct run *r, const struct json *a, struct span op, const struct json *b, bool *out)
{
	enum cmp_kind ka = cmp_kind(a), kb = cmp_kind(b);
	bool equality = span_is(op, "==") || span_is(op, "!=");
	int c = 0;
	if (!equality && !span_is(op, "<") && !span_is(op, ">") && !span_is(op, "<=") && !span_is(op, ">="))
		return bad(r, "unrecognized filter operator %.*s", SPAN_ARG(op));
	if (ka == CMP_NONE || kb == CMP_NONE || (ka == kb && ka == CMP_BOOL && !equality))
		return bad(r, "invalid type for comparison");
	if (ka != kb)
		return bad(r, "incompatible types for comparison");
	switch (ka) {
	case CMP_BOOL:
		c = a->b - b->b;
		break;
	case CMP_INT:
		c = a->i < b->i ? -1 : a->i > b->i;
		break;
	case CMP_FLOAT:
		c = number(a) < number(b) ? -1 : number(a) > number(b);
		break;
	default:
		c = span_cmp(json_span(a), json_span(b));
		break;
	}
	char first = op.ptr[0];
	bool with_equal = op.len == 2;
	*out = equality ? (c == 0) == (first == '=') : first == '<' ? c < (with_equal ? 1 : 0) : c > (with_equal ? -1 : 0);
	return 0;
}

static int walk_filter(struct run *r, const struct node *n, struct values in, struct values *out)
{
	for (unsigned k = 0; k < in.n; k++) {
		const struct json *v = &in.items[k];
		if (v->kind != JSON_ARRAY) {
			auto_buf struct buf shown = {};
			api_go_value(&shown, v);
			return bad(r, "%s is not array or slice and cannot be filtered", buf_cstr(&shown));
		}
		for (uint32_t i = 0; i < v->n; i++) {
			struct values one = { &v->items[i], 1, 1 }, left = {}, right = {};
			bool pass = false;
			if (span_is(n->text, "exists")) {
				/* A part that fails is a part that is not there. */
				struct err *kept = r->err;
				auto_err struct err ignored = ERR_INIT;
				r->err = &ignored;
				int rc = walk_list(r, &n->list, one, &left);
				r->err = kept;
				if (rc == -ERR_TOO_LARGE)
					return err_move(kept, &ignored);
				pass = rc == 0 && left.n;
			} else {
				int rc = walk_list(r, &n->list, one, &left);
				if (rc < 0)
					return rc;
				if (!left.n)
					continue;
				if (left.n > 1)
					return bad(r, "can only compare one element at a time");
				if ((rc = walk_list(r, &n->right, one, &right)) < 0)
					return rc;
				if (!right.n)
					continue;
				if (right.n > 1)
					return bad(r, "can only compare one element at a time");
				if ((rc = compare(r, &left.items[0], n->text, &right.items[0], &pass)) < 0)
					return rc;
			}
			int rc = pass ? add(r, out, v->items[i]) : 0;
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

static int walk_each(struct run *r, struct values in, struct values *out, struct json v)
{
	int rc = 0;
	for (unsigned i = 0; rc == 0 && i < in.n; i++)
		rc = add(r, out, v);
	return rc;
}

static int walk(struct run *r, const struct node *n, struct values in, struct values *out)
{
	int rc = 0;
	switch (n->kind) {
	case NODE_TEXT:
		return add(r, out, json_str(n->text));
	case NODE_ACTION:
		return walk_list(r, &n->list, in, out);
	case NODE_FIELD:
		return walk_field(r, n, in, out);
	case NODE_ARRAY:
		return walk_array(r, n, in, out);
	case NODE_FILTER:
		return walk_filter(r, n, in, out);
	case NODE_INT:
		return walk_each(r, in, out, json_int(n->i));
	case NODE_FLOAT:
		return walk_each(r, in, out, json_double(n->d));
	case NODE_BOOL:
		return walk_each(r, in, out, json_bool(n->b));
	case NODE_WILDCARD:
		for (unsigned i = 0; rc == 0 && i < in.n; i++)
			rc = children(r, &in.items[i], out);
		return rc;
	case NODE_RECURSIVE:
		for (unsigned i = 0; rc == 0 && i < in.n; i++)
			rc = descend(r, &in.items[i], out);
		return rc;
	case NODE_UNION:
		for (const struct node *m = n->list.first; rc == 0 && m; m = m->next) {
			struct values part = {};
			rc = walk_list(r, &m->list, in, &part);
			for (unsigned i = 0; rc == 0 && i < part.n; i++)
				rc = add(r, out, part.items[i]);
		}
		return rc;
	case NODE_IDENTIFIER:
		if (span_is(n->text, "range")) {
			r->begin_range++;
			*out = in;
			return 0;
		}
		if (!span_is(n->text, "end"))
			return bad(r, "unrecognized identifier %.*s", SPAN_ARG(n->text));
		if (r->in_range <= 0)
			return bad(r, "not in range, nothing to end");
		r->end_range++;
		return 0;
	}
	return 0;
}

static int walk_list(struct run *r, const struct node_list *list, struct values in, struct values *out)
{
	*out = (struct values){ in.items, in.n, in.n }; /* cap == n: growing copies */
	for (const struct node *n = list->first; n; n = n->next) {
		struct values next = {};
		int rc = walk(r, n, *out, &next);
		if (rc < 0)
			return rc;
		next.cap = next.n;
		*out = next;
	}
	return 0;
}

/* The parts from node `from` on, for one value (none: an empty range, whose parts run once for nothing). Ends at the {end} of the
 * range that the caller entered. */
static int run_parts(struct run *r, const struct node *from, const struct json *data, bool keep)
{
	struct json nothing = JSON_NULL_VALUE;
	struct values cur = { data ? (struct json *)data : &nothing, 1, 1 };
	if (++r->depth > 64)
		return bad(r, "ranges are nested deeper than 64");
	for (const struct node *n = from; n; n = n->next) {
		struct values got = {};
		int rc = walk(r, n, cur, &got);
		if (rc < 0)
			return rc;
		if (r->end_range > 0 && r->end_range <= r->in_range) {
			r->end_range--;
			r->last_end = n;
			break;
		}
		if (r->begin_range > 0) {
			r->begin_range--;
			r->in_range++;
			for (unsigned i = 0; i < got.n; i++)
				if ((rc = run_parts(r, n->next, &got.items[i], keep)) < 0)
					return rc;
			if (!got.n && (rc = run_parts(r, n->next, NULL, false)) < 0)
				return rc;
			r->in_range--;
			for (const struct node *k = n->next; k; k = k->next)
				if (k == r->last_end) {
					n = k;
					break;
				}
			continue;
		}
		if (!keep)
			continue;
		if (r->n_parts >= RESULTS_MAX)
			return err_set(r->err, ERR_TOO_LARGE, "the jsonpath template makes more than %d values", RESULTS_MAX);
		MEM_GROW(r->parts, r->n_parts, r->cap_parts);
		r->parts[r->n_parts++] = (struct api_jsonpath_part){ got.n, got.items };
	}
	r->depth--;
	return 0;
}

int api_jsonpath_find(const struct api_jsonpath *path, struct arena *a, const struct json *data, unsigned flags,
		      struct api_jsonpath_result *out, struct err *err)
{
	struct run r = { .arena = a, .missing_ok = flags & API_JSONPATH_MISSING, .err = err };
	int rc = run_parts(&r, path->root.first, data, true);
	if (rc == 0)
		*out = (struct api_jsonpath_result){
			r.n_parts,
			r.n_parts ? (void *)arena_copy(a, r.parts, r.n_parts * sizeof(*r.parts)) : NULL,
		};
	free(r.parts);
	return rc;
}

void api_jsonpath_print_value(struct buf *out, const struct json *v)
{
	if (v->kind == JSON_OBJECT || v->kind == JSON_ARRAY)
		json_write(out, v, JSON_HTML | JSON_SORTED);
	else if (v->kind == JSON_NULL)
		buf_str(out, "null");
	else
		api_go_value(out, v);
}

int api_jsonpath_print(const struct api_jsonpath *path, const struct json *data, unsigned flags, struct buf *out,
		       struct err *err)
{
	auto_arena struct arena a = {};
	struct api_jsonpath_result found;
	int rc = api_jsonpath_find(path, &a, data, flags, &found, err);
	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < found.n; i++) {
		const struct api_jsonpath_part *part = &found.parts[i];
		if (flags & API_JSONPATH_AS_JSON) {
			struct json list = json_array();
			for (unsigned k = 0; k < part->n; k++)
				json_push(&a, &list, part->values[k]);
			json_write(out, &list, JSON_HTML | JSON_SORTED | JSON_PRETTY | JSON_PRETTY4);
			buf_chr(out, '\n');
			continue;
		}
		for (unsigned k = 0; k < part->n; k++) {
			if (k)
				buf_chr(out, ' ');
			api_jsonpath_print_value(out, &part->values[k]);
		}
	}
	return 0;
}
