/* Label selectors: the lexer and parser of k8s.io/apimachinery/pkg/labels, whose oddities are part of the syntax: "in" and
 * "notin" are words only where an operator may stand, "x in ()" and "x in (,)" hold the empty value, "x=" too. */
#include "api/selector.h"

#include "api/fielderr.h"
#include "api/gotext.h"
#include "api/names.h"

static const char *const op_texts[API_SEL_OP_COUNT] = {
	[API_SEL_IN] = " in ",         [API_SEL_NOT_IN] = " notin ", [API_SEL_EQUALS] = "=",
	[API_SEL_DOUBLE_EQUALS] = "==", [API_SEL_NOT_EQUALS] = "!=",  [API_SEL_GREATER] = ">",
	[API_SEL_LESS] = "<",          [API_SEL_EXISTS] = "",        [API_SEL_NOT_EXISTS] = "",
};

/* ---- requirements */
static int span_order(const void *a, const void *b)
{
	return span_cmp(*(const struct span *)a, *(const struct span *)b);
}

static bool int64_text(struct span s, int64_t *out)
{
	return span_to_i64(s, out);
}

/* Errors of one requirement: several are shown as [a, b]. */
struct complaints {
	struct buf text;
	unsigned n;
};

static void complain(struct complaints *c, const char *field, struct span bad_value, const char *detail)
{
	if (c->n++)
		buf_str(&c->text, ", ");
	buf_printf(&c->text, "%s: ", field);
	api_fe_body(&c->text, API_FE_INVALID, bad_value, span_of(detail));
}

static void join(struct buf *out, const struct api_complaints *bad)
{
	for (unsigned i = 0; i < bad->n; i++)
		buf_printf(out, "%s%s", i ? "; " : "", bad->text[i]);
}

static void complain_name(struct complaints *c, const char *field, struct span value, const struct api_complaints *bad)
{
	auto_buf struct buf quoted = {}, why = {};
	api_go_quote(&quoted, value);
	join(&why, bad);
	complain(c, field, buf_span(&quoted), buf_cstr(&why));
}

/* %#v of a []string */
static void strings_go(struct buf *out, const struct span *values, unsigned n)
{
	buf_str(out, n ? "[]string{" : "[]string(nil)");
	for (unsigned i = 0; i < n; i++) {
		if (i)
			buf_str(out, ", ");
		api_go_quote(out, values[i]);
	}
	if (n)
		buf_chr(out, '}');
}

/* labels.NewRequirement. values may be in any order; they are sorted here, in place. */
static int requirement_make(struct span key, enum api_selector_op op, struct span *values, unsigned n,
			    struct api_requirement *out, struct err *err)
{
	struct complaints c = {};
	struct api_complaints bad;
	auto_buf struct buf all = {};
	*out = (struct api_requirement){ .key = key, .op = op, .n_values = n, .values = values };
	strings_go(&all, values, n);
	if (api_name_qualified(key, &bad))
		complain_name(&c, "key", key, &bad);
	switch (op) {
	case API_SEL_IN:
	case API_SEL_NOT_IN:
		if (n == 0)
			complain(&c, "values", buf_span(&all), "for 'in', 'notin' operators, values set can't be empty");
		break;
	case API_SEL_EXISTS:
	case API_SEL_NOT_EXISTS:
		if (n)
			complain(&c, "values", buf_span(&all), "values set must be empty for exists and does not exist");
		break;
	case API_SEL_GREATER:
	case API_SEL_LESS:
		if (!int64_text(values[0], &out->number)) {
			auto_buf struct buf quoted = {};
			api_go_quote(&quoted, values[0]);
			complain(&c, "values[0]", buf_span(&quoted), "for 'Gt', 'Lt' operators, the value must be an integer");
		}
		break;
	default: /* the parser gives exactly one value */
		break;
	}
	for (unsigned i = 0; i < n; i++) {
		if (!api_name_label_value(values[i], &bad))
			continue;
		auto_buf struct buf field = {};
		buf_printf(&field, "values[%u][%.*s]", i, SPAN_ARG(key));
		complain_name(&c, buf_cstr(&field), values[i], &bad);
	}
	int rc = 0;
	if (c.n)
		rc = err_set(err, ERR_INVALID_REQUEST, c.n > 1 ? "[%s]" : "%s", buf_cstr(&c.text));
	buf_done(&c.text);
	if (n > 1)
		qsort(values, n, sizeof(*values), span_order);
	return rc;
}

/* Stable: requirements of one key stay in their order. */
static void requirements_sort(struct api_requirement *reqs, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		struct api_requirement r = reqs[i];
		unsigned at = i;
		for (; at && span_cmp(reqs[at - 1].key, r.key) > 0; at--)
			reqs[at] = reqs[at - 1];
		reqs[at] = r;
	}
}

/* ---- the lexer */
enum token {
	T_ERROR,
	T_END,
	T_CLOSE,
	T_COMMA,
	T_NOT,
	T_DOUBLE_EQUALS,
	T_EQUALS,
	T_GREATER,
	T_IDENTIFIER,
	T_IN,
	T_LESS,
	T_NOT_EQUALS,
	T_NOT_IN,
	T_OPEN,
};

struct item {
	enum token token;
	struct span literal;
};

struct parser {
	struct arena *arena;
	struct span text;
	size_t pos;
	struct item *items; /* the last one is T_END */
	unsigned n, at;
	struct err *err;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_special(char c)
{
	return c && strchr("=!(),><", c);
}

static enum token token_of(struct span s)
{
	static const struct {
		const char *text;
		enum token token;
	} tokens[] = { { ")", T_CLOSE },  { ",", T_COMMA }, { "!", T_NOT }, { "==", T_DOUBLE_EQUALS }, { "=", T_EQUALS },
		       { ">", T_GREATER }, { "in", T_IN },   { "<", T_LESS }, { "!=", T_NOT_EQUALS },   { "notin", T_NOT_IN },
		       { "(", T_OPEN } };
	for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
		if (span_is(s, tokens[i].text))
			return tokens[i].token;
	return T_ERROR;
}

static struct item lex(struct parser *p)
{
	struct span s = p->text;
	while (p->pos < s.len && is_space(s.ptr[p->pos]))
		p->pos++;
	if (p->pos >= s.len || !s.ptr[p->pos]) /* a 0 byte ends the text, as upstream */
		return (struct item){ T_END, SPAN_EMPTY };
	size_t from = p->pos;
	if (is_special(s.ptr[from])) {
		/* The longest operator: of two characters only "==" and "!=" are one. */
		size_t n = from + 1 < s.len && s.ptr[from + 1] == '=' && strchr("=!", s.ptr[from]) ? 2 : 1;
		p->pos += n;
		struct span literal = span_sub(s, from, from + n);
		return (struct item){ token_of(literal), literal };
	}
	while (p->pos < s.len && s.ptr[p->pos] && !is_special(s.ptr[p->pos]) && !is_space(s.ptr[p->pos]))
		p->pos++;
	struct span literal = span_sub(s, from, p->pos);
	if (p->pos < s.len && !s.ptr[p->pos])
		p->pos++;
	enum token word = token_of(literal);
	return (struct item){ word == T_ERROR ? T_IDENTIFIER : word, literal };
}

static void scan(struct parser *p)
{
	unsigned cap = 0;
	auto_free struct item *items = NULL;
	do {
		MEM_GROW(items, p->n, cap);
		items[p->n] = lex(p);
	} while (items[p->n++].token != T_END);
	p->items = (struct item *)arena_copy(p->arena, items, p->n * sizeof(*items));
}

/* ---- the parser */
static struct item peek(const struct parser *p, bool words)
{
	struct item i = p->items[MIN(p->at, p->n - 1)];
	if (!words && (i.token == T_IN || i.token == T_NOT_IN))
		i.token = T_IDENTIFIER;
	return i;
}

static struct item next(struct parser *p, bool words)
{
	struct item i = peek(p, words);
	p->at++;
	return i;
}

static int found(const struct parser *p, struct span literal, const char *expected)
{
	return err_set(p->err, ERR_INVALID_REQUEST, "found '%.*s'%s", SPAN_ARG(literal), expected);
}

struct values {
	struct span *items;
	unsigned n, cap;
};

static void value_add(struct values *v, struct span s) /* a set */
{
	for (unsigned i = 0; i < v->n; i++)
		if (span_eq(v->items[i], s))
			return;
	MEM_GROW(v->items, v->n, v->cap);
	v->items[v->n++] = s;
}

static int parse_list(struct parser *p, struct values *v)
{
	struct item i = next(p, false);
	if (i.token != T_OPEN)
		return found(p, i.literal, " expected: '('");
	i = peek(p, false);
	if (i.token == T_CLOSE) {
		p->at++;
		value_add(v, SPAN_EMPTY);
		return 0;
	}
	if (i.token != T_IDENTIFIER && i.token != T_COMMA)
		return found(p, i.literal, ", expected: ',', ')' or identifier");
	for (;;) {
		i = next(p, false);
		if (i.token == T_IDENTIFIER) {
			value_add(v, i.literal);
			struct item behind = peek(p, false);
			if (behind.token == T_COMMA)
				continue;
			if (behind.token != T_CLOSE)
				return found(p, behind.literal, ", expected: ',' or ')'");
			break;
		}
		if (i.token != T_COMMA)
			return found(p, i.literal, ", expected: ',', or identifier");
		if (!v->n)
			value_add(v, SPAN_EMPTY); /* "(," */
		struct item behind = peek(p, false);
		if (behind.token == T_CLOSE) { /* ",)" */
			value_add(v, SPAN_EMPTY);
			break;
		}
		if (behind.token == T_COMMA) { /* ",," */
			p->at++;
			value_add(v, SPAN_EMPTY);
		}
	}
	p->at++; /* the ')' that was seen */
	return 0;
}

static int parse_value(struct parser *p, struct values *v)
{
	struct item i = peek(p, false);
	if (i.token == T_END || i.token == T_COMMA) {
		value_add(v, SPAN_EMPTY);
		return 0;
	}
	p->at++;
	if (i.token != T_IDENTIFIER)
		return found(p, i.literal, ", expected: identifier");
	value_add(v, i.literal);
	return 0;
}

static int parse_requirement(struct parser *p, struct api_requirement *out)
{
	struct item i = next(p, false);
	bool not = i.token == T_NOT;
	if (not)
		i = next(p, false);
	if (i.token != T_IDENTIFIER)
		return found(p, i.literal, ", expected: identifier");
	struct span key = i.literal;
	struct api_complaints bad;
	if (api_name_qualified(key, &bad)) { /* upstream has no path here, and shows it */
		struct complaints c = {};
		complain_name(&c, "<nil>", key, &bad);
		int rc = err_set(p->err, ERR_INVALID_REQUEST, "%s", buf_cstr(&c.text));
		buf_done(&c.text);
		return rc;
	}
	enum token behind = peek(p, false).token;
	if (not || behind == T_END || behind == T_COMMA)
		return requirement_make(key, not ? API_SEL_NOT_EXISTS : API_SEL_EXISTS, NULL, 0, out, p->err);
	enum api_selector_op op;
	i = next(p, true);
	switch (i.token) {
	case T_IN:
		op = API_SEL_IN;
		break;
	case T_NOT_IN:
		op = API_SEL_NOT_IN;
		break;
	case T_EQUALS:
		op = API_SEL_EQUALS;
		break;
	case T_DOUBLE_EQUALS:
		op = API_SEL_DOUBLE_EQUALS;
		break;
	case T_NOT_EQUALS:
		op = API_SEL_NOT_EQUALS;
		break;
	case T_GREATER:
		op = API_SEL_GREATER;
		break;
	case T_LESS:
		op = API_SEL_LESS;
		break;
	default:
		return found(p, i.literal, ", expected: in, notin, =, ==, !=, gt, lt");
	}
	struct values v = {};
	int rc = op == API_SEL_IN || op == API_SEL_NOT_IN ? parse_list(p, &v) : parse_value(p, &v);
	if (rc == 0) {
		qsort(v.items, v.n, sizeof(*v.items), span_order);
		struct span *values = (struct span *)arena_copy(p->arena, v.items, v.n * sizeof(*v.items));
		rc = requirement_make(key, op, values, v.n, out, p->err);
	}
	free(v.items);
	return rc;
}

int api_label_selector_parse(struct arena *a, struct span text, struct api_label_selector *out, struct err *err)
{
	struct parser p = { .arena = a, .text = text, .err = err };
	auto_free struct api_requirement *reqs = NULL;
	unsigned n = 0, cap = 0;
	scan(&p);
	while (peek(&p, false).token != T_END) {
		struct item i = peek(&p, false);
		if (i.token != T_IDENTIFIER && i.token != T_NOT)
			return found(&p, i.literal, ", expected: !, identifier, or 'end of string'");
		MEM_GROW(reqs, n, cap);
		int rc = parse_requirement(&p, &reqs[n]);
		if (rc < 0)
			return err_note(err, "unable to parse requirement");
		n++;
		i = next(&p, false);
		if (i.token == T_END)
			break;
		if (i.token != T_COMMA)
			return found(&p, i.literal, ", expected: ',' or 'end of string'");
		i = peek(&p, false);
		if (i.token != T_IDENTIFIER && i.token != T_NOT)
			return found(&p, i.literal, ", expected: identifier after ','");
	}
	requirements_sort(reqs, n);
	*out = (struct api_label_selector){ .n = n, .reqs = (void *)arena_copy(a, reqs, n * sizeof(*reqs)) };
	return 0;
}

/* ---- the struct form */
static bool struct_op(struct span name, enum api_selector_op *out)
{
	static const char *const names[] = { "In", "NotIn", "Exists", "DoesNotExist" };
	static const enum api_selector_op ops[] = { API_SEL_IN, API_SEL_NOT_IN, API_SEL_EXISTS, API_SEL_NOT_EXISTS };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (span_is(name, names[i])) {
			*out = ops[i];
			return true;
		}
	return false;
}

int api_label_selector_of(struct arena *a, const struct json *selector, struct api_label_selector *out, struct err *err)
{
	if (!selector || selector->kind == JSON_NULL) {
		*out = (struct api_label_selector){ .nothing = true };
		return 0;
	}
	const struct json *labels = json_getl(selector, "matchLabels"), *expressions = json_getl(selector, "matchExpressions");
	unsigned most = (json_is(labels, JSON_OBJECT) ? labels->n : 0) + (json_is(expressions, JSON_ARRAY) ? expressions->n : 0);
	struct api_requirement *reqs = arena_alloc_n(a, most, sizeof(*reqs));
	unsigned n = 0;
	int rc = 0;
	JSON_EACH_MEMBER(labels, m) {
		struct span *value = arena_alloc(a, sizeof(*value));
		*value = json_span(&m->value);
		if ((rc = requirement_make(json_key(m), API_SEL_EQUALS, value, 1, &reqs[n++], err)) < 0)
			goto invalid;
	}
	JSON_EACH_ITEM(expressions, e) {
		enum api_selector_op op;
		struct span name = json_span(json_getl(e, "operator"));
		if (!struct_op(name, &op)) {
			auto_buf struct buf quoted = {};
			api_go_quote(&quoted, name);
			return err_set(err, ERR_INVALID, "%s is not a valid label selector operator", buf_cstr(&quoted));
		}
		const struct json *list = json_getl(e, "values");
		unsigned n_values = json_is(list, JSON_ARRAY) ? list->n : 0, k = 0;
		struct span *values = arena_alloc_n(a, n_values, sizeof(*values));
		JSON_EACH_ITEM(list, v)
			values[k++] = json_span(v);
		if ((rc = requirement_make(json_span(json_getl(e, "key")), op, values, k, &reqs[n++], err)) < 0)
			goto invalid;
	}
	requirements_sort(reqs, n);
	*out = (struct api_label_selector){ .n = n, .reqs = reqs };
	return 0;
invalid:
	if (err)
		err->class = ERR_INVALID; /* a field of an object, not a parameter */
	return -ERR_INVALID;
}

void api_label_selector_of_map(struct arena *a, const struct json *map, struct api_label_selector *out)
{
	unsigned most = json_is(map, JSON_OBJECT) ? map->n : 0, n = 0;
	struct api_requirement *reqs = arena_alloc_n(a, most, sizeof(*reqs));
	struct span *values = arena_alloc_n(a, most, sizeof(*values));
	JSON_EACH_MEMBER(map, m) {
		values[n] = json_span(&m->value);
		reqs[n] = (struct api_requirement){ .key = json_key(m), .op = API_SEL_EQUALS, .n_values = 1, .values = &values[n] };
		n++;
	}
	requirements_sort(reqs, n);
	*out = (struct api_label_selector){ .n = n, .reqs = reqs };
}

static void validate_each(struct err *err, unsigned *n, struct span field, struct span value, const struct api_complaints *bad)
{
	auto_buf struct buf quoted = {};
	api_go_quote(&quoted, value);
	for (unsigned i = 0; i < bad->n; i++, ++*n)
		api_fe_add(err, field, API_FE_INVALID, buf_span(&quoted), span_of(bad->text[i]));
}

unsigned api_label_selector_validate(const struct json *selector, struct span path, bool values_lax, struct err *err)
{
	struct api_complaints bad;
	unsigned n = 0, i = 0;
	auto_buf struct buf field = {};
	buf_printf(&field, "%.*s.matchLabels", SPAN_ARG(path));
	JSON_EACH_MEMBER(json_getl(selector, "matchLabels"), m) {
		if (api_name_qualified(json_key(m), &bad))
			validate_each(err, &n, buf_span(&field), json_key(m), &bad);
		if (api_name_label_value(json_span(&m->value), &bad))
			validate_each(err, &n, buf_span(&field), json_span(&m->value), &bad);
	}
	JSON_EACH_ITEM(json_getl(selector, "matchExpressions"), e) {
		const struct json *values = json_getl(e, "values");
		struct span op_name = json_span(json_getl(e, "operator")), key = json_span(json_getl(e, "key"));
		bool any = json_is(values, JSON_ARRAY) && values->n;
		enum api_selector_op op;
		buf_trunc(&field, 0);
		buf_printf(&field, "%.*s.matchExpressions[%u].", SPAN_ARG(path), i++);
		size_t stem = field.len;
		if (!struct_op(op_name, &op)) {
			auto_buf struct buf quoted = {};
			api_go_quote(&quoted, op_name);
			buf_str(&field, "operator");
			api_fe_add(err, buf_span(&field), API_FE_INVALID, buf_span(&quoted), SPAN("not a valid selector operator"));
			n++;
		} else if ((op == API_SEL_IN || op == API_SEL_NOT_IN) && !any) {
			buf_str(&field, "values");
			api_fe_add(err, buf_span(&field), API_FE_REQUIRED, SPAN_EMPTY,
				   SPAN("must be specified when `operator` is 'In' or 'NotIn'"));
			n++;
		} else if ((op == API_SEL_EXISTS || op == API_SEL_NOT_EXISTS) && any) {
			buf_str(&field, "values");
			api_fe_add(err, buf_span(&field), API_FE_FORBIDDEN, SPAN_EMPTY,
				   SPAN("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
			n++;
		}
		buf_trunc(&field, stem);
		buf_str(&field, "key");
		if (api_name_qualified(key, &bad))
			validate_each(err, &n, buf_span(&field), key, &bad);
		unsigned at = 0;
		JSON_EACH_ITEM(values, v) {
			buf_trunc(&field, stem);
			buf_printf(&field, "values[%u]", at++);
			if (!values_lax && api_name_label_value(json_span(v), &bad))
				validate_each(err, &n, buf_span(&field), json_span(v), &bad);
		}
	}
	return n;
}

/* ---- printing and matching */
void api_label_selector_print(const struct api_label_selector *sel, struct buf *out)
{
	for (unsigned i = 0; i < sel->n; i++) {
		const struct api_requirement *r = &sel->reqs[i];
		bool list = r->op == API_SEL_IN || r->op == API_SEL_NOT_IN;
		if (i)
			buf_chr(out, ',');
		if (r->op == API_SEL_NOT_EXISTS)
			buf_chr(out, '!');
		buf_span_add(out, r->key);
		buf_str(out, op_texts[r->op]);
		if (list)
			buf_chr(out, '(');
		for (unsigned k = 0; k < r->n_values; k++) {
			if (k)
				buf_chr(out, ',');
			buf_span_add(out, r->values[k]);
		}
		if (list)
			buf_chr(out, ')');
	}
}

bool api_label_selector_exact(const struct api_label_selector *sel, struct span key, struct span *out_value)
{
	for (unsigned i = 0; i < sel->n; i++) {
		const struct api_requirement *r = &sel->reqs[i];
		if (!span_eq(r->key, key))
			continue;
		if (r->n_values != 1 ||
		    (r->op != API_SEL_EQUALS && r->op != API_SEL_DOUBLE_EQUALS && r->op != API_SEL_IN))
			return false;
		*out_value = r->values[0];
		return true;
	}
	return false;
}

/* value: NULL when the label is not there. */
static bool requirement_match(const struct api_requirement *r, const struct span *value)
{
	int64_t number;
	switch (r->op) {
	case API_SEL_EXISTS:
		return value;
	case API_SEL_NOT_EXISTS:
		return !value;
	case API_SEL_GREATER:
		return value && int64_text(*value, &number) && number > r->number;
	case API_SEL_LESS:
		return value && int64_text(*value, &number) && number < r->number;
	default:
		break;
	}
	bool negative = r->op == API_SEL_NOT_IN || r->op == API_SEL_NOT_EQUALS;
	if (!value)
		return negative;
	for (unsigned i = 0; i < r->n_values; i++)
		if (span_eq(r->values[i], *value))
			return !negative;
	return negative;
}

bool api_label_selector_match(const struct api_label_selector *sel, const struct json *labels)
{
	if (sel->nothing)
		return false;
	for (unsigned i = 0; i < sel->n; i++) {
		const struct json *v = json_get(labels, sel->reqs[i].key);
		struct span value = json_span(v);
		if (!requirement_match(&sel->reqs[i], v ? &value : NULL))
			return false;
	}
	return true;
}

static int label_order(const void *a, const void *b)
{
	return span_cmp(((const struct api_label *)a)->key, ((const struct api_label *)b)->key);
}

struct api_label_set api_label_set_of(struct arena *a, const struct json *labels)
{
	unsigned n = 0;
	struct api_label *items = arena_alloc_n(a, json_is(labels, JSON_OBJECT) ? labels->n : 0, sizeof(*items));
	JSON_EACH_MEMBER(labels, m)
		items[n++] = (struct api_label){ json_key(m), json_span(&m->value) };
	if (n > 1)
		qsort(items, n, sizeof(*items), label_order);
	return (struct api_label_set){ n, items };
}

bool api_label_selector_match_set(const struct api_label_selector *sel, const struct api_label_set *set)
{
	if (sel->nothing)
		return false;
	/* Both are sorted by key: one walk. */
	unsigned at = 0;
	for (unsigned i = 0; i < sel->n; i++) {
		int c = 1;
		while (at < set->n && (c = span_cmp(set->items[at].key, sel->reqs[i].key)) < 0)
			at++;
		bool there = at < set->n && c == 0;
		if (!requirement_match(&sel->reqs[i], there ? &set->items[at].value : NULL))
			return false;
	}
	return true;
}
