/* How Go prints values. */
#include "api/gotext.h"

#include <math.h>

/* What unicode.IsPrint says, as far as names and error texts go: control characters, the soft hyphen, line separators,
 * blanks other than ' ', surrogates, private use and noncharacters are escaped. */
static bool rune_prints(uint32_t c)
{
	if (c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad)
		return false;
	if (c == 0x1680 || (c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) || (c >= 0x205f && c <= 0x206f) ||
	    c == 0x3000 || c == 0xfeff || (c >= 0xfff0 && c <= 0xfffb))
		return false;
	if ((c >= 0xd800 && c <= 0xf8ff) || (c & 0xfffe) == 0xfffe || c >= 0xe0000)
		return false;
	return true;
}

void api_go_quote(struct buf *out, struct span s)
{
	buf_chr(out, '"');
	for (size_t i = 0; i < s.len;) {
		uint32_t c;
		size_t n = utf8_next(span_from(s, i), &c);
		if (n == 0) {
			buf_printf(out, "\\x%02x", (unsigned char)s.ptr[i++]);
			continue;
		}
		static const char from[] = "\a\b\f\n\r\t\v\"\\", to[] = "abfnrtv\"\\";
		const char *at = c && c < 0x80 ? strchr(from, (int)c) : NULL;
		if (at) {
			buf_chr(out, '\\');
			buf_chr(out, to[at - from]);
		} else if (rune_prints(c)) {
			buf_add(out, s.ptr + i, n);
		} else if (c < 0x80) {
			buf_printf(out, "\\x%02x", c);
		} else {
			buf_printf(out, c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
		}
		i += n;
	}
	buf_chr(out, '"');
}

void api_go_float(struct buf *out, double d)
{
	if (isnan(d) || isinf(d)) {
		buf_str(out, isnan(d) ? "NaN" : d > 0 ? "+Inf" : "-Inf");
		return;
	}
	char text[40];
	int precision = 1;
	do
		snprintf(text, sizeof(text), "%.*e", precision - 1, d);
	while (strtod(text, NULL) != d && ++precision <= 17);
	int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
	if (exponent < -4 || exponent >= 6)
		buf_str(out, text); /* both print at least two digits of exponent */
	else
		buf_printf(out, "%.*f", MAX(precision - 1 - exponent, 0), d);
}

static int member_cmp(const void *a, const void *b)
{
	return span_cmp(json_key(*(struct json_member *const *)a), json_key(*(struct json_member *const *)b));
}

void api_go_value(struct buf *out, const struct json *v)
{
	switch ((enum json_kind)v->kind) {
	case JSON_BOOL:
		buf_str(out, v->b ? "true" : "false");
		break;
	case JSON_INT:
		buf_i64(out, v->i);
		break;
	case JSON_UINT:
		api_go_float(out, (double)v->u);
		break;
	case JSON_DOUBLE:
		api_go_float(out, v->d);
		break;
	case JSON_STRING:
	case JSON_RAW:
		buf_span_add(out, json_span(v));
		break;
	case JSON_ARRAY:
		buf_chr(out, '[');
		JSON_EACH_ITEM(v, item) {
			if (item != v->items)
				buf_chr(out, ' ');
			api_go_value(out, item);
		}
		buf_chr(out, ']');
		break;
	case JSON_OBJECT: {
		auto_free struct json_member **sorted = mem_realloc_n(NULL, v->n + 1, sizeof(*sorted));
		for (uint32_t i = 0; i < v->n; i++)
			sorted[i] = &v->members[i];
		qsort(sorted, v->n, sizeof(*sorted), member_cmp);
		buf_str(out, "map[");
		for (uint32_t i = 0; i < v->n; i++) {
			if (i)
				buf_chr(out, ' ');
			buf_span_add(out, json_key(sorted[i]));
			buf_chr(out, ':');
			api_go_value(out, &sorted[i]->value);
		}
		buf_chr(out, ']');
		break;
	}
	case JSON_NULL:
	case JSON_KIND_COUNT:
		buf_str(out, "<nil>");
		break;
	}
}

const char *api_go_type(const struct json *v)
{
	static const char *const names[JSON_KIND_COUNT] = {
		[JSON_NULL] = "<nil>",
		[JSON_BOOL] = "bool",
		[JSON_INT] = "int64",
		[JSON_UINT] = "float64",
		[JSON_DOUBLE] = "float64",
		[JSON_STRING] = "string",
		[JSON_ARRAY] = "[]interface {}",
		[JSON_OBJECT] = "map[string]interface {}",
		[JSON_RAW] = "string",
	};
	return names[v->kind];
}
