/* A value against its schema: k8s.io/kube-openapi/pkg/validation/validate, in its order and words.
 *
 * Upstream builds a tree of results and merges them; here a walk appends to one list, and only allOf, anyOf, oneOf and
 * not have lists of their own. `matched` counts as upstream's MatchCount does: of several failures of an anyOf or oneOf
 * the one is shown that had most right.
 *
 * Ratcheting (CRDValidationRatcheting, on in 1.33): what was complained about below a value that equals its old one is dropped.
 * Old values are found by name in objects (not those of map type atomic) and by keys in lists of type map, as the structural
 * schema says; `main` is that schema while a walk is inside of an allOf and the like. */
#include <math.h>
#include "custom/private.h"

enum code { CODE_TYPE, CODE_REQUIRED, CODE_TOO_LONG, CODE_ENUM, CODE_MAX_ITEMS, CODE_TOO_MANY, CODE_OTHER, CODE_SCHEMA };

struct failure {
	struct failure *next;
	enum code code;
	struct span name, message;
	const struct json *value; /* NULL = none, shown as "" */
	int64_t have, most;
	const struct node *node;  /* of ENUM */
};

struct result {
	struct failure *first, **last;
	unsigned n;
	uint64_t matched;
};

struct validation {
	struct arena *a;
	struct regex_scratch scratch;
	struct span base;
};

static void result_init(struct result *r)
{
	*r = (struct result){ .last = &r->first };
}

static struct span path_of(struct validation *v, const struct place *at)
{
	auto_buf struct buf b = {};
	custom_place_text(at, &b);
	return arena_span(v->a, buf_span(&b));
}

/* A message that is there already is not said again. */
static void append(struct result *r, struct failure *f)
{
	if (r->n >= CUSTOM_CAUSES_MAX)
		return;
	for (const struct failure *i = r->first; i; i = i->next)
		if (span_eq(i->message, f->message))
			return;
	f->next = NULL;
	*r->last = f;
	r->last = &f->next;
	r->n++;
}

static void merge(struct result *to, struct result *from)
{
	for (struct failure *f = from->first, *next; f; f = next) {
		next = f->next;
		append(to, f);
	}
	to->matched += from->matched;
}

static struct failure *fail_with(struct validation *v, struct result *r, const struct place *at, enum code code,
				 const struct json *value, struct span message)
{
	struct failure *f = arena_new(v->a, struct failure);
	f->message = message;
	f->code = code;
	f->name = path_of(v, at);
	f->value = value;
	append(r, f);
	return f;
}

/* "spec.x in body " and what the format says. Paths are made into text here and not earlier: most values are right. */
static struct failure *fail(struct validation *v, struct result *r, const struct place *at, enum code code,
			    const struct json *value, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
static struct failure *fail(struct validation *v, struct result *r, const struct place *at, enum code code,
			    const struct json *value, const char *fmt, ...)
{
	auto_buf struct buf b = {};
	va_list ap;
	custom_place_text(at, &b);
	buf_str(&b, " in body ");
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	return fail_with(v, r, at, code, value, arena_span(v->a, buf_span(&b)));
}

/* Of a whole schema upstream knows no path: it stands quoted in the message, the field is the root. */
static void fail_schema(struct validation *v, struct result *r, const struct place *at, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static void fail_schema(struct validation *v, struct result *r, const struct place *at, const char *fmt, ...)
{
	auto_buf struct buf b = {}, path = {};
	va_list ap;
	custom_place_text(at, &path);
	api_go_quote(&b, buf_span(&path));
	buf_chr(&b, ' ');
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	fail_with(v, r, NULL, CODE_SCHEMA, NULL, arena_span(v->a, buf_span(&b)));
}

static const struct json *text_value(struct validation *v, struct span text)
{
	struct json *j = arena_new(v->a, struct json);
	*j = json_str(text);
	return j;
}

/* ---- type */

static bool is_integral(double d) /* swag.IsFloat64AJSONInteger */
{
	if (isnan(d) || isinf(d) || fabs(d) > 9007199254740991.0)
		return false;
	double whole = trunc(d), off = fabs(d - whole);
	return off == 0 || off / (fabs(d) + fabs(whole)) < 1e-9;
}

static const char *type_name(const struct json *v)
{
	switch ((enum json_kind)v->kind) {
	case JSON_NULL: return "null";
	case JSON_BOOL: return "boolean";
	case JSON_INT: return "integer";
	case JSON_UINT:
	case JSON_DOUBLE: return "number";
	case JSON_STRING: return "string";
	case JSON_ARRAY: return "array";
	default: return "object";
	}
}

/* As upstream prints the types wanted; "" = any. */
static const char *wanted_of(const struct node *n)
{
	static const char *const names[] = {
		[SCHEMA_ANY] = "",	     [SCHEMA_OBJECT] = "object", [SCHEMA_ARRAY] = "array",     [SCHEMA_STRING] = "string",
		[SCHEMA_INTEGER] = "integer", [SCHEMA_NUMBER] = "number", [SCHEMA_BOOLEAN] = "boolean",
	};
	return n->int_or_string ? "integer,string" : names[n->type];
}

static double double_of(const struct json *v)
{
	return v->kind == JSON_INT ? (double)v->i : v->kind == JSON_UINT ? (double)v->u : v->d;
}

static bool type_fits(const struct node *n, const struct json *v)
{
	bool integer = n->int_or_string || n->type == SCHEMA_INTEGER;
	if (json_is_number(v)) {
		if (v->kind == JSON_INT)
			return integer || n->type == SCHEMA_NUMBER;
		return n->type == SCHEMA_NUMBER || (integer && is_integral(double_of(v)));
	}
	if (v->kind == JSON_STRING)
		return n->int_or_string || n->type == SCHEMA_STRING;
	return (v->kind == JSON_ARRAY && n->type == SCHEMA_ARRAY) || (v->kind == JSON_OBJECT && n->type == SCHEMA_OBJECT) ||
	       (v->kind == JSON_BOOL && n->type == SCHEMA_BOOLEAN);
}

static void check_type(struct validation *v, const struct node *n, const struct place *at, const struct json *value,
		       struct result *r)
{
	const char *wanted = wanted_of(n), *is = type_name(value);
	bool number = n->int_or_string || n->type == SCHEMA_INTEGER || n->type == SCHEMA_NUMBER;
	if (!*wanted && !n->format.len)
		return;
	if (value->kind == JSON_NULL ? n->nullable || !*wanted : type_fits(n, value)) {
		r->matched++;
		return;
	}
	if (value->kind != JSON_NULL && n->format.len) {
		bool listed = value->kind == JSON_STRING || value->kind == JSON_ARRAY;
		if (!number && listed) { /* the format has its own say about strings */
			r->matched++;
			return;
		}
		if (!listed) {
			/* Of another type than text a format complains itself, with the name of a number's format. */
			is = value->kind == JSON_INT ? "int64" : json_is_number(value) ? "float64" : "";
			fail(v, r, at, CODE_TYPE, text_value(v, span_of(is)), "must be of type %.*s: \"%s\"",
			     SPAN_ARG(n->format), is);
			return;
		}
	}
	fail(v, r, at, CODE_TYPE, text_value(v, span_of(is)), "must be of type %s: \"%s\"", wanted,
	     is);
}

/* ---- strings and numbers */

static int64_t runes(struct span s)
{
	int64_t n = 0;
	for (size_t i = 0; i < s.len; n++) {
		uint32_t code;
		size_t width = utf8_next(span_from(s, i), &code);
		i += width ? width : 1;
	}
	return n;
}

static void check_string(struct validation *v, const struct node *n, const struct place *at, const struct json *value,
			 struct result *r)
{
	struct span text = json_span(value);
	int64_t length = n->has & (HAS_MAX_LENGTH | HAS_MIN_LENGTH) ? runes(text) : 0;
	if (n->has & HAS_MAX_LENGTH && length > n->max_length)
		fail(v, r, at, CODE_TOO_LONG, value, "should be at most %lld chars long",
		     (long long)n->max_length)->most = n->max_length;
	else if (n->has & HAS_MIN_LENGTH && length < n->min_length)
		fail(v, r, at, CODE_OTHER, value, "should be at least %lld chars long",
		     (long long)n->min_length);
	else if (n->regex && !regex_matches(n->regex, &v->scratch, text))
		fail(v, r, at, CODE_OTHER, value, "should match '%.*s'", SPAN_ARG(n->pattern));
	r->matched++;
	if (!n->format.len)
		return;
	if (!custom_format_matches(n->format, text)) {
		auto_buf struct buf quoted = {};
		api_go_quote(&quoted, text);
		fail(v, r, at, CODE_TYPE, value, "must be of type %.*s: %s", SPAN_ARG(n->format),
		     buf_cstr(&quoted));
	}
	r->matched++;
}

/* Go's conversion, saturating where Go leaves it open. */
static int64_t to_int(double d)
{
	return d >= 9223372036854775807.0 ? INT64_MAX : d <= -9223372036854775808.0 ? INT64_MIN : (int64_t)d;
}

static struct span number_text(struct validation *v, bool whole, double d)
{
	auto_buf struct buf b = {};
	if (whole)
		buf_i64(&b, to_int(d));
	else
		api_go_float(&b, d);
	return arena_span(v->a, buf_span(&b));
}

/* Bounds of whole numbers are compared as whole numbers, as upstream does (a minimum of 3.5 is 3 to them). */
static int compare(const struct json *value, double bound)
{
	if (value->kind == JSON_INT)
		return value->i < to_int(bound) ? -1 : value->i > to_int(bound);
	double d = double_of(value);
	return d < bound ? -1 : d > bound;
}

static void check_multiple(struct validation *v, const struct node *n, const struct place *at, const struct json *value,
			   struct result *r)
{
	bool whole = value->kind == JSON_INT, fits;
	struct span factor = number_text(v, whole, n->multiple_of);
	if (whole ? to_int(n->multiple_of) <= 0 : n->multiple_of <= 0) {
		struct json *shown = arena_new(v->a, struct json);
		*shown = whole ? json_int(to_int(n->multiple_of)) : json_double(n->multiple_of);
		fail_with(v, r, at, CODE_OTHER, shown,
			  arena_printf(v->a, "factor MultipleOf declared for %.*s must be positive: %.*s",
				       SPAN_ARG(path_of(v, at)), SPAN_ARG(factor)));
		return;
	}
	if (whole)
		fits = value->i % to_int(n->multiple_of) == 0;
	else
		fits = is_integral(n->multiple_of < 1 ? 1 / n->multiple_of * double_of(value)
						      : double_of(value) / n->multiple_of);
	if (!fits)
		fail(v, r, at, CODE_OTHER, value, "should be a multiple of %.*s", SPAN_ARG(factor));
}

static void check_number(struct validation *v, const struct node *n, const struct place *at, const struct json *value,
			 struct result *r)
{
	bool whole = value->kind == JSON_INT;
	if (n->has & HAS_MULTIPLE_OF)
		check_multiple(v, n, at, value, r);
	if (n->has & HAS_MINIMUM && compare(value, n->minimum) < (n->exclusive_minimum ? 1 : 0)) {
		struct span bound = number_text(v, whole, n->minimum);
		fail(v, r, at, CODE_OTHER, value, "should be greater than %s%.*s",
		     n->exclusive_minimum ? "" : "or equal to ", SPAN_ARG(bound));
	}
	if (n->has & HAS_MAXIMUM && compare(value, n->maximum) > (n->exclusive_maximum ? -1 : 0)) {
		struct span bound = number_text(v, whole, n->maximum);
		fail(v, r, at, CODE_OTHER, value, "should be less than %s%.*s",
		     n->exclusive_maximum ? "" : "or equal to ", SPAN_ARG(bound));
	}
	r->matched += 2;
}

/* ---- enum */

static bool enum_equal(const struct json *value, const struct json *choice)
{
	if (json_is_number(value) && choice->kind == JSON_INT && value->kind != JSON_INT)
		return to_int(double_of(value)) == choice->i; /* converted to the choice's type, as upstream */
	return json_equal(value, choice);
}

static void check_enum(struct validation *v, const struct node *n, const struct place *at, const struct json *value,
		       struct result *r)
{
	if (!n->enums)
		return;
	JSON_EACH_ITEM(n->enums, choice)
		if (enum_equal(value, choice))
			return;
	auto_buf struct buf list = {};
	api_go_value(&list, n->enums);
	fail(v, r, at, CODE_ENUM, value, "should be one of %s", buf_cstr(&list))->node = n;
}

/* ---- the inside of a value; old is what it is compared with, main says how */

static void walk(struct validation *v, const struct node *n, const struct node *main, const struct place *at,
		 const struct json *value, const struct json *old, struct result *r);

/* A value of its own path: complaints go when it is what it was. */
static void walk_below(struct validation *v, const struct node *n, const struct node *main, const struct place *at,
		       const struct json *value, const struct json *old, struct result *r)
{
	struct failure **before = r->last;
	unsigned n_before = r->n;
	walk(v, n, main, at, value, old, r);
	if (r->n > n_before && old && json_equal(value, old)) {
		*before = NULL;
		r->last = before;
		r->n = n_before;
	}
}

static const struct node *main_below(const struct node *main, struct span name)
{
	const struct node *p = main ? custom_node_property(main, name) : NULL;
	return p ? p : main ? main->additional : NULL;
}

static const struct json *old_below(const struct node *main, const struct json *old, const struct place *at, struct span name)
{
	/* apiVersion and kind are never ratcheted: both sides show the version asked for. */
	if (!main || main->map_atomic || !json_is(old, JSON_OBJECT) || !main_below(main, name) ||
	    (!at && (span_is(name, "kind") || span_is(name, "apiVersion"))))
		return NULL;
	return json_get(old, name);
}

static bool same_keys(const struct node *main, const struct json *a, const struct json *b)
{
	for (unsigned i = 0; i < main->n_keys; i++) {
		const struct json *x = json_get(a, main->keys[i]), *y = json_get(b, main->keys[i]);
		if (!x != !y || (x && !json_equal(x, y)))
			return false;
	}
	return true;
}

static const struct json *old_item(const struct node *main, const struct json *old, const struct json *item)
{
	if (!main || main->list != API_LIST_MAP || !json_is(old, JSON_ARRAY) || !json_is(item, JSON_OBJECT))
		return NULL;
	JSON_EACH_ITEM(old, was)
		if (json_is(was, JSON_OBJECT) && same_keys(main, was, item))
			return was;
	return NULL;
}

static void check_list(struct validation *v, const struct node *n, const struct node *main, const struct place *at,
		       const struct json *value, const struct json *old, struct result *r)
{
	for (uint32_t i = 0; n->items && i < value->n; i++)
		walk_below(v, n->items, main ? main->items : NULL, &PLACE_INDEX(at, i), &value->items[i],
			   old_item(main, old, &value->items[i]), r);
	if (n->has & HAS_MIN_ITEMS && value->n < n->min_items) {
		struct json *have = arena_new(v->a, struct json);
		*have = json_int(value->n);
		fail(v, r, at, CODE_OTHER, have, "should have at least %lld items",
		     (long long)n->min_items);
	}
	if (n->has & HAS_MAX_ITEMS && value->n > n->max_items) {
		struct failure *f = fail(v, r, at, CODE_MAX_ITEMS, NULL, "should have at most %lld items",
					 (long long)n->max_items);
		f->have = value->n;
		f->most = n->max_items;
	}
	r->matched += 2;
}

static void check_count(struct validation *v, const struct node *n, const struct place *at, const struct json *value,
			struct result *r)
{
	if (n->has & HAS_MIN_PROPERTIES && value->n < n->min_properties) {
		struct json *have = arena_new(v->a, struct json);
		*have = json_int(value->n);
		fail(v, r, at, CODE_OTHER, have, "should have at least %lld properties",
		     (long long)n->min_properties);
	}
	if (n->has & HAS_MAX_PROPERTIES && value->n > n->max_properties) {
		struct failure *f = fail(v, r, at, CODE_TOO_MANY, NULL, "should have at most %lld properties",
					 (long long)n->max_properties);
		f->have = value->n;
		f->most = n->max_properties;
	}
}

static void check_object(struct validation *v, const struct node *n, const struct node *main, const struct place *at,
			 const struct json *value, const struct json *old, struct result *r)
{
	check_count(v, n, at, value, r);
	JSON_EACH_MEMBER(n->additional || n->additional_false ? value : NULL, m) {
		struct span name = json_key(m);
		if (custom_node_property(n, name))
			continue;
		if (n->additional_false)
			fail_with(v, r, at, CODE_OTHER, text_value(v, name),
				  arena_printf(v->a, "%.*s in body is a forbidden property",
					       SPAN_ARG(path_of(v, &PLACE(at, name)))));
		else
			walk_below(v, n->additional, main_below(main, name), &PLACE(at, name), &m->value,
				   old_below(main, old, at, name), r);
	}
	for (unsigned i = 0; i < n->n_properties; i++) {
		struct span name = n->properties[i].name;
		const struct json *below = json_get(value, name);
		if (below)
			walk_below(v, n->properties[i].node, main_below(main, name), &PLACE(at, name), below,
				   old_below(main, old, at, name), r);
	}
	for (unsigned i = 0; i < n->n_required; i++)
		if (!json_get(value, n->required[i]))
			fail(v, r, &PLACE(at, n->required[i]), CODE_REQUIRED, NULL, "is required");
	r->matched++;
}

/* ---- allOf, anyOf, oneOf, not */

static void check_any(struct validation *v, const struct node *n, const struct node *main, const struct place *at,
		      const struct json *value, const struct json *old, struct result *r)
{
	struct result best = {};
	bool failed = false;
	for (unsigned i = 0; i < n->n_any; i++) {
		struct result one;
		result_init(&one);
		walk(v, n->any[i], main, at, value, old, &one);
		if (!one.n) {
			r->matched += one.matched;
			return;
		}
		if (!failed || one.matched > best.matched)
			best = one;
		failed = true;
	}
	fail_schema(v, r, at, "must validate at least one schema (anyOf)");
	merge(r, &best);
}

static void check_one(struct validation *v, const struct node *n, const struct node *main, const struct place *at,
		      const struct json *value, const struct json *old, struct result *r)
{
	struct result best = {};
	bool failed = false;
	uint64_t first = 0;
	unsigned valid = 0;
	for (unsigned i = 0; i < n->n_one; i++) {
		struct result one;
		result_init(&one);
		walk(v, n->one[i], main, at, value, old, &one);
		if (!one.n) {
			first = valid++ ? first : one.matched;
			failed = false;
		} else if (!valid && (!failed || one.matched > best.matched)) {
			best = one;
			failed = true;
		}
	}
	if (valid == 1) {
		r->matched += first;
		return;
	}
	if (valid)
		fail_schema(v, r, at, "must validate one and only one schema (oneOf). Found %u valid alternatives", valid);
	else
		fail_schema(v, r, at, "must validate one and only one schema (oneOf). Found none valid");
	if (failed)
		merge(r, &best);
}

static void check_all(struct validation *v, const struct node *n, const struct node *main, const struct place *at,
		      const struct json *value, const struct json *old, struct result *r)
{
	unsigned valid = 0;
	for (unsigned i = 0; i < n->n_all; i++) {
		struct result one;
		result_init(&one);
		walk(v, n->all[i], main, at, value, old, &one);
		valid += !one.n;
		merge(r, &one);
	}
	if (valid == n->n_all)
		return;
	fail_schema(v, r, at, "must validate all the schemas (allOf)%s", valid ? "" : ". None validated");
}

static void check_not(struct validation *v, const struct node *n, const struct node *main, const struct place *at,
		      const struct json *value, const struct json *old, struct result *r)
{
	struct result one;
	result_init(&one);
	walk(v, n->not_, main, at, value, old, &one);
	if (one.n)
		return;
	fail_schema(v, r, at, "must not validate the schema (not)");
}

static void walk(struct validation *v, const struct node *n, const struct node *main, const struct place *at,
		 const struct json *value, const struct json *old, struct result *r)
{
	if (r->n >= CUSTOM_CAUSES_MAX)
		return;
	check_type(v, n, at, value, r);
	if (value->kind == JSON_NULL) {
		check_enum(v, n, at, value, r);
		return;
	}
	r->matched += *wanted_of(n) || n->format.len; /* the type's turn */
	if (n->n_any)
		check_any(v, n, main, at, value, old, r);
	if (n->n_one)
		check_one(v, n, main, at, value, old, r);
	if (n->n_all)
		check_all(v, n, main, at, value, old, r);
	if (n->not_)
		check_not(v, n, main, at, value, old, r);
	r->matched += 2;
	if (value->kind == JSON_STRING)
		check_string(v, n, at, value, r);
	else if (json_is_number(value))
		check_number(v, n, at, value, r);
	else if (value->kind == JSON_ARRAY)
		check_list(v, n, main, at, value, old, r);
	check_enum(v, n, at, value, r);
	r->matched += 2; /* enum's turn, and the whole */
	if (value->kind == JSON_OBJECT)
		check_object(v, n, main, at, value, old, r);
}

/* ---- failures as field errors */

static void choices_text(const struct node *n, struct buf *out)
{
	JSON_EACH_ITEM(n->enums, choice) {
		auto_buf struct buf text = {};
		if (choice->kind != JSON_STRING)
			json_write(&text, choice, JSON_HTML | JSON_SORTED);
		buf_str(out, out->len ? ", " : "supported values: ");
		api_go_quote(out, choice->kind == JSON_STRING ? json_span(choice) : buf_span(&text));
	}
}

static void report(struct validation *v, const struct failure *f, struct complaints *c)
{
	auto_buf struct buf at = {}, detail = {};
	struct json have = json_int(f->have), none = json_str(SPAN(""));
	buf_span_add(&at, v->base);
	if (f->name.len && f->code != CODE_SCHEMA)
		buf_printf(&at, "%s%.*s", at.len ? "." : "", SPAN_ARG(f->name));
	if (!at.len)
		buf_str(&at, "<nil>"); /* upstream's nil path */
	switch (f->code) {
	case CODE_REQUIRED:
		custom_complain(c, buf_span(&at), API_FE_REQUIRED, NULL, SPAN_EMPTY);
		return;
	case CODE_ENUM:
		choices_text(f->node, &detail);
		custom_complain(c, buf_span(&at), API_FE_NOT_SUPPORTED, f->value, buf_span(&detail));
		return;
	case CODE_TOO_LONG:
		buf_printf(&detail, "may not be more than %lld bytes", (long long)f->most);
		custom_complain(c, buf_span(&at), API_FE_TOO_LONG, NULL, buf_span(&detail));
		return;
	case CODE_MAX_ITEMS:
	case CODE_TOO_MANY:
		buf_printf(&detail, "must have at most %lld items", (long long)f->most);
		custom_complain(c, buf_span(&at), API_FE_TOO_MANY, &have, buf_span(&detail));
		return;
	case CODE_TYPE:
		custom_complain(c, buf_span(&at), API_FE_TYPE_INVALID, f->value ? f->value : &none, f->message);
		return;
	default:
		custom_complain(c, buf_span(&at), API_FE_INVALID, f->value ? f->value : &none, f->message);
	}
}

void custom_validate_value(struct arena *a, const struct node *n, struct span base, const struct json *value,
			   const struct json *old, struct complaints *c)
{
	struct validation v = { .a = a, .base = base };
	struct result r;
	result_init(&r);
	walk_below(&v, n, n, NULL, value, old, &r);
	for (const struct failure *f = r.first; f; f = f->next)
		report(&v, f, c);
	regex_scratch_done(&v.scratch);
}
