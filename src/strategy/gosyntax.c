/* Go's %#v of API values, which is how a field error of 1.33 shows what is neither string, number nor boolean:
 *
 *     v1.LabelSelector{MatchLabels:map[string]string{"a":"b"}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}
 *
 * Types print with the name of the internal package (core.ServicePort, for core/v1), which has the same fields in the same order
 * as far as this is used. A set pointer prints as an address upstream; then there is no text to be equal to, and the
 * whole value is shown as JSON. */
#include "strategy/check.h"

/* Package of a type: "core/v1.X" is core, meta/v1 alone keeps its version's name. */
static void type_name(struct buf *out, const struct api_type *t)
{
	struct span name = api_type_name(t), package, rest;
	if (api_type_kind(t) != API_OBJECT || !span_split(name, '/', &package, &rest)) {
		api_type_go_name(t, out);
		return;
	}
	struct span version, type;
	span_split(rest, '.', &version, &type);
	buf_span_add(out, span_is(package, "meta") ? version : package);
	buf_chr(out, '.');
	buf_span_add(out, type);
}

/* The Go type of a node: "[]core.ServicePort", "map[string]string". */
static void whole_type_name(struct buf *out, const struct api_type *t)
{
	if (api_type_kind(t) == API_LIST) {
		buf_str(out, "[]");
		whole_type_name(out, api_type_elem(t));
	} else if (api_type_kind(t) == API_MAP) {
		buf_str(out, "map[string]");
		whole_type_name(out, api_type_elem(t));
	} else if (api_type_kind(t) == API_INTORSTRING) {
		buf_str(out, "intstr.IntOrString");
	} else {
		type_name(out, t);
	}
}

/* Appends; false when there is something that Go would print as an address, or that is no plain value. */
static bool print(struct buf *out, const struct api_type *t, const struct json *v, unsigned depth);

/* Tables keep a field's Go name only where it is not the JSON name with a capital. */
static void field_name(struct buf *out, const struct api_field *f)
{
	struct span go = api_field_go_name(f), json = api_field_name(f);
	if (go.len) {
		buf_span_add(out, go);
	} else if (json.len) {
		buf_chr(out, (char)(json.ptr[0] >= 'a' && json.ptr[0] <= 'z' ? json.ptr[0] - 'a' + 'A' : json.ptr[0]));
		buf_span_add(out, span_from(json, 1));
	}
}

static bool print_fields(struct buf *out, const struct api_type *t, const struct json *v, unsigned depth)
{
	type_name(out, t);
	buf_chr(out, '{');
	for (unsigned i = 0; i < api_type_n_fields(t); i++) {
		const struct api_field *f = api_type_field_at(t, i);
		const struct json *m = json_get(v, api_field_name(f));
		if (i)
			buf_str(out, ", ");
		field_name(out, f);
		buf_chr(out, ':');
		if (!api_field_has(f, API_FIELD_POINTER)) {
			if (!print(out, api_field_type(f), m, depth + 1))
				return false;
			continue;
		}
		if (m)
			return false;
		buf_str(out, "(*");
		whole_type_name(out, api_field_type(f));
		buf_str(out, ")(nil)");
	}
	buf_chr(out, '}');
	return true;
}

static int by_key(const void *a, const void *b)
{
	return span_cmp(json_key(*(struct json_member *const *)a), json_key(*(struct json_member *const *)b));
}

static bool print_map(struct buf *out, const struct api_type *elem, const struct json *v, unsigned depth)
{
	auto_arena struct arena a = {};
	struct json_member **order = arena_alloc_n(&a, v->n + 1, sizeof(struct json_member *));
	uint32_t n = 0;
	JSON_EACH_MEMBER(v, m)
		order[n++] = m;
	qsort(order, n, sizeof(struct json_member *), by_key);
	for (uint32_t i = 0; i < n; i++) {
		if (i)
			buf_str(out, ", ");
		api_go_quote(out, json_key(order[i]));
		buf_chr(out, ':');
		if (!print(out, elem, &order[i]->value, depth + 1))
			return false;
	}
	return true;
}

static bool print(struct buf *out, const struct api_type *t, const struct json *v, unsigned depth)
{
	if (depth > 32)
		return false;
	switch (api_type_kind(t)) {
	case API_STRING:
		api_go_quote(out, json_span(v));
		return true;
	case API_INT32:
	case API_INT64:
		buf_i64(out, json_i64(v, 0));
		return true;
	case API_BOOL:
		buf_str(out, json_truth(v, false) ? "true" : "false");
		return true;
	case API_INTORSTRING:
		buf_printf(out, "intstr.IntOrString{Type:%d, IntVal:%d, StrVal:", json_is(v, JSON_STRING),
			   (int)(json_is(v, JSON_INT) ? v->i : 0));
		api_go_quote(out, json_span(v));
		buf_chr(out, '}');
		return true;
	case API_LIST:
		whole_type_name(out, t);
		if (!v) {
			buf_str(out, "(nil)");
			return true;
		}
		buf_chr(out, '{');
		JSON_EACH_INDEX(v, item, i) {
			if (i)
				buf_str(out, ", ");
			if (!print(out, api_type_elem(t), item, depth + 1))
				return false;
		}
		buf_chr(out, '}');
		return true;
	case API_MAP:
		whole_type_name(out, t);
		if (!v) {
			buf_str(out, "(nil)");
			return true;
		}
		buf_chr(out, '{');
		if (!print_map(out, api_type_elem(t), v, depth))
			return false;
		buf_chr(out, '}');
		return true;
	case API_OBJECT:
		return print_fields(out, t, v, depth);
	default:
		return false; /* times, quantities and raw values have insides of their own */
	}
}

/* A list or map of a type that no node stands for: the prefix is printed here. */
static bool print_named(struct buf *out, const char *go_type, const struct json *v)
{
	if (strcmp(go_type, "map[string]string") == 0 || strcmp(go_type, "[]string") == 0) {
		buf_str(out, go_type);
		if (!v) {
			buf_str(out, "(nil)");
			return true;
		}
		buf_chr(out, '{');
		bool map = go_type[0] == 'm', good = true;
		const struct api_type *meta = api_type_find(SPAN("meta/v1.ObjectMeta"));
		const struct api_type *text = api_field_type(api_type_field(meta, SPAN("name")));
		if (map) {
			good = print_map(out, text, v, 0);
		} else {
			JSON_EACH_INDEX(v, item, i) {
				buf_str(out, i ? ", " : "");
				api_go_quote(out, json_span(item));
			}
		}
		buf_chr(out, '}');
		return good;
	}
	bool list = strncmp(go_type, "[]", 2) == 0;
	const struct api_type *t = api_type_find(span_of(go_type + (list ? 2 : 0)));
	assert(t || list); /* the names are literals of ours */
	if (!list)
		return print(out, t, v, 0);
	buf_str(out, "[]");
	if (t) {
		type_name(out, t);
	} else { /* a named string: []core.IPFamily */
		struct span package, rest, version, type;
		span_split(span_of(go_type + 2), '/', &package, &rest);
		span_split(rest, '.', &version, &type);
		buf_printf(out, "%.*s.%.*s", SPAN_ARG(package), SPAN_ARG(type));
	}
	if (!v) {
		buf_str(out, "(nil)");
		return true;
	}
	buf_chr(out, '{');
	JSON_EACH_INDEX(v, item, i) {
		buf_str(out, i ? ", " : "");
		if (!t)
			api_go_quote(out, json_span(item));
		else if (!print(out, t, item, 1))
			return false;
	}
	buf_chr(out, '}');
	return true;
}

/* resource.Quantity of a text in canonical form. Its insides show where ParseQuantity takes its short path; the others hold a
 * pointer, and there the text is shown. */
static void print_quantity(struct buf *out, struct span text)
{
	size_t i = 0, from = !text.len || (text.ptr[0] != '-' && text.ptr[0] != '+') ? 0 : 1, point = 0, digits = 0;
	bool negative = from && text.ptr[0] == '-', fraction = false;
	uint64_t value = 0;
	for (i = from; i < text.len; i++) {
		if (text.ptr[i] == '.' && !fraction) {
			fraction = true;
			continue;
		}
		if (text.ptr[i] < '0' || text.ptr[i] > '9' || digits >= 18)
			break;
		value = value * 10 + (uint64_t)(text.ptr[i] - '0');
		digits++;
		point += fraction;
	}
	static const struct { const char *suffix; int scale; } decimal[] = {
		{ "n", -9 }, { "u", -6 }, { "m", -3 }, { "", 0 }, { "k", 3 }, { "M", 6 }, { "G", 9 }, { "T", 12 }, { "P", 15 },
			{ "E", 18 },
	};
	struct span suffix = span_from(text, i);
	const char *format = NULL;
	int scale = 0;
	for (size_t k = 0; k < ARRAY_LEN(decimal); k++)
		if (span_is(suffix, decimal[k].suffix)) {
			scale = decimal[k].scale - (int)point;
			format = scale >= -9 ? "DecimalSI" : NULL;
		}
	ptrdiff_t binary = suffix.len == 2 && suffix.ptr[1] == 'i' ? span_chr(SPAN("KMGTPE"), suffix.ptr[0]) : -1;
	if (binary >= 0 && !point && 15 - (int)digits - (int)((float)(binary + 1) * 10 * 3 / 10) - 1 >= 0) {
		value <<= 10 * (binary + 1);
		format = "BinarySI";
	}
	if (!format) {
		api_go_quote(out, text);
		return;
	}
	buf_printf(out, "resource.Quantity{i:resource.int64Amount{value:%s%llu, scale:%d}, "
		"d:resource.infDecAmount{Dec:(*inf.Dec)(nil)}, s:", negative ? "-" : "", (unsigned long long)value, scale);
	api_go_quote(out, text);
	buf_printf(out, ", Format:\"%s\"}", format);
}

void strategy_go_syntax(struct buf *out, const char *go_type, const struct json *value)
{
	size_t start = out->len;
	if (strcmp(go_type, "intstr.IntOrString") == 0) {
		buf_printf(out, "intstr.IntOrString{Type:%d, IntVal:%d, StrVal:", json_is(value, JSON_STRING),
			   (int)(json_is(value, JSON_INT) ? value->i : 0));
		api_go_quote(out, json_span(value));
		buf_chr(out, '}');
		return;
	}
	if (strcmp(go_type, "resource.Quantity") == 0) {
		print_quantity(out, json_span(value));
		return;
	}
	/* A pointer ("*core/v1.X") is shown as what it points to, nil as null. */
	if (go_type[0] == '*') {
		if (!value) {
			buf_str(out, "null");
			return;
		}
		go_type++;
	}
	if (print_named(out, go_type, value))
		return;
	buf_trunc(out, start);
	if (value)
		json_write(out, value, 0);
	else
		buf_str(out, "null");
}
