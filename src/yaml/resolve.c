/* What a plain scalar means: go-yaml v2's resolver, which is YAML 1.1 without base 60 and with Go's integer forms. */
#include <math.h>

#include "yaml/private.h"
#include "yaml/unicode.h"

/* ---- words */
static const struct {
	const char *word;
	enum yaml_type type;
	double value; /* bool: 0 or 1; float */
} words[] = {
	{ "", YAML_TYPE_NULL, 0 },
	{ "~", YAML_TYPE_NULL, 0 },
	{ "null", YAML_TYPE_NULL, 0 },
	{ "Null", YAML_TYPE_NULL, 0 },
	{ "NULL", YAML_TYPE_NULL, 0 },
	{ "y", YAML_TYPE_BOOL, 1 },
	{ "Y", YAML_TYPE_BOOL, 1 },
	{ "yes", YAML_TYPE_BOOL, 1 },
	{ "Yes", YAML_TYPE_BOOL, 1 },
	{ "YES", YAML_TYPE_BOOL, 1 },
	{ "true", YAML_TYPE_BOOL, 1 },
	{ "True", YAML_TYPE_BOOL, 1 },
	{ "TRUE", YAML_TYPE_BOOL, 1 },
	{ "on", YAML_TYPE_BOOL, 1 },
	{ "On", YAML_TYPE_BOOL, 1 },
	{ "ON", YAML_TYPE_BOOL, 1 },
	{ "n", YAML_TYPE_BOOL, 0 },
	{ "N", YAML_TYPE_BOOL, 0 },
	{ "no", YAML_TYPE_BOOL, 0 },
	{ "No", YAML_TYPE_BOOL, 0 },
	{ "NO", YAML_TYPE_BOOL, 0 },
	{ "false", YAML_TYPE_BOOL, 0 },
	{ "False", YAML_TYPE_BOOL, 0 },
	{ "FALSE", YAML_TYPE_BOOL, 0 },
	{ "off", YAML_TYPE_BOOL, 0 },
	{ "Off", YAML_TYPE_BOOL, 0 },
	{ "OFF", YAML_TYPE_BOOL, 0 },
	{ ".nan", YAML_TYPE_FLOAT, NAN },
	{ ".NaN", YAML_TYPE_FLOAT, NAN },
	{ ".NAN", YAML_TYPE_FLOAT, NAN },
	{ ".inf", YAML_TYPE_FLOAT, INFINITY },
	{ ".Inf", YAML_TYPE_FLOAT, INFINITY },
	{ ".INF", YAML_TYPE_FLOAT, INFINITY },
	{ "+.inf", YAML_TYPE_FLOAT, INFINITY },
	{ "+.Inf", YAML_TYPE_FLOAT, INFINITY },
	{ "+.INF", YAML_TYPE_FLOAT, INFINITY },
	{ "-.inf", YAML_TYPE_FLOAT, -INFINITY },
	{ "-.Inf", YAML_TYPE_FLOAT, -INFINITY },
	{ "-.INF", YAML_TYPE_FLOAT, -INFINITY },
};

/* ---- times */
static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* One or two digits (exactly two with fixed) at the start of *s, in [from, to]. */
static bool take_number(struct span *s, bool fixed, int from, int to, int *out)
{
	if (s->len == 0 || !is_digit(s->ptr[0]))
		return false;
	size_t n = s->len > 1 && is_digit(s->ptr[1]) ? 2 : 1;
	if (fixed && n < 2)
		return false;
	int v = s->ptr[0] - '0';
	if (n == 2)
		v = v * 10 + (s->ptr[1] - '0');
	*s = span_from(*s, n);
	*out = v;
	return v >= from && v <= to;
}

static bool take_char(struct span *s, char c)
{
	if (s->len == 0 || s->ptr[0] != c)
		return false;
	*s = span_from(*s, 1);
	return true;
}

static bool is_zone(struct span s)
{
	int n;
	if (span_is(s, "Z"))
		return true;
	if (s.len != 6 || (s.ptr[0] != '+' && s.ptr[0] != '-') || s.ptr[3] != ':')
		return false;
	struct span hour = span_sub(s, 1, 3), minute = span_from(s, 4);
	return take_number(&hour, true, 0, 24, &n) && take_number(&minute, true, 0, 60, &n);
}

/* The forms that go-yaml asks Go's time.Parse for: a date; date, blank and time; date, T or t, time and zone. */
bool yaml_is_timestamp(struct span s)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int year = 0, month, day, n;
	if (s.len < 5 || s.ptr[4] != '-')
		return false;
	for (int i = 0; i < 4; i++) {
		if (!is_digit(s.ptr[i]))
			return false;
		year = year * 10 + (s.ptr[i] - '0');
	}
	s = span_from(s, 5);
	if (!take_number(&s, false, 1, 12, &month) || !take_char(&s, '-') || !take_number(&s, false, 1, 31, &day))
		return false;
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	if (day > days[month - 1] + (month == 2 && leap))
		return false;
	if (s.len == 0)
		return true;
	bool zone = s.ptr[0] == 'T' || s.ptr[0] == 't';
	if (!zone && s.ptr[0] != ' ')
		return false;
	s = span_from(s, 1);
	if (!take_number(&s, false, 0, 23, &n) || !take_char(&s, ':') || !take_number(&s, false, 0, 59, &n) ||
	    !take_char(&s, ':') || !take_number(&s, false, 0, 59, &n))
		return false;
	if (s.len > 1 && (s.ptr[0] == '.' || s.ptr[0] == ',') && is_digit(s.ptr[1])) {
		size_t i = 1;
		while (i < s.len && is_digit(s.ptr[i]))
			i++;
		s = span_from(s, i);
	}
	return zone ? is_zone(s) : s.len == 0;
}

/* ---- numbers */
/* Go's strconv.ParseUint(s, 0, 64) without underscores. */
static bool parse_unsigned(struct span s, uint64_t *out)
{
	unsigned base = 10;
	if (s.len >= 1 && s.ptr[0] == '0') {
		char prefix = s.len >= 3 ? s.ptr[1] | 0x20 : 0;
		base = prefix == 'x' ? 16 : prefix == 'b' ? 2 : 8;
		if (s.len == 1) {
			*out = 0;
			return true;
		}
		s = span_from(s, prefix == 'x' || prefix == 'b' || prefix == 'o' ? 2 : 1);
	}
	return span_to_u64_base(s, base, out);
}

static bool with_sign(uint64_t magnitude, bool negative, struct json *out)
{
	if (magnitude > (uint64_t)INT64_MAX + negative)
		return false;
	*out = json_int(negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude);
	return true;
}

static bool resolve_int(struct span plain, struct json *out)
{
	uint64_t v;
	bool sign = plain.len && (plain.ptr[0] == '-' || plain.ptr[0] == '+');
	bool negative = sign && plain.ptr[0] == '-';
	if (parse_unsigned(span_from(plain, sign), &v)) {
		if (with_sign(v, negative, out))
			return true;
		if (!sign) {
			*out = json_uint(v);
			return true;
		}
	}
	return false;
}

/* What go-yaml does last with 0b: the sign may stand behind the prefix. */
static bool resolve_odd_binary(struct span plain, struct json *out)
{
	uint64_t v;
	if (!span_starts(plain, SPAN("0b")))
		return false;
	struct span s = span_from(plain, 2);
	bool sign = s.len && (s.ptr[0] == '-' || s.ptr[0] == '+');
	return sign && span_to_u64_base(span_from(s, 1), 2, &v) && with_sign(v, s.ptr[0] == '-', out);
}

/* Underscores may stand between digits only; removes them. */
static bool between_digits(struct span text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] != '_') {
			buf_chr(out, text.ptr[i]);
			continue;
		}
		if (i == 0 || i + 1 == text.len || !is_digit(text.ptr[i - 1]) || !is_digit(text.ptr[i + 1]))
			return false;
	}
	return true;
}

enum yaml_type yaml_resolve(struct span text, struct json *out)
{
	double d;
	char c = text.len ? text.ptr[0] : 0;
	bool number = is_digit(c) || c == '-' || c == '+';
	*out = json_str(text);
	if (text.len && !number && !strchr("yYnNtTfFoO~.", c))
		return YAML_TYPE_STRING;
	for (size_t i = 0; text.len <= 5 && i < ARRAY_LEN(words); i++) {
		if (!span_is(text, words[i].word))
			continue;
		if (words[i].type == YAML_TYPE_NULL)
			*out = JSON_NULL_VALUE;
		else if (words[i].type == YAML_TYPE_BOOL)
			*out = json_bool(words[i].value != 0);
		else
			*out = json_double(words[i].value);
		return words[i].type;
	}
	auto_buf struct buf plain = {};
	if (c == '.') {
		if (!between_digits(text, &plain) || !json_read_double(buf_span(&plain), &d))
			return YAML_TYPE_STRING;
		*out = json_double(d);
		return YAML_TYPE_FLOAT;
	}
	if (!number)
		return YAML_TYPE_STRING;
	if (yaml_is_timestamp(text))
		return YAML_TYPE_TIMESTAMP;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] != '_')
			buf_chr(&plain, text.ptr[i]);
	}
	if (resolve_int(buf_span(&plain), out))
		return YAML_TYPE_INT;
	if (json_read_double(buf_span(&plain), &d)) {
		*out = json_double(d);
		return YAML_TYPE_FLOAT;
	}
	return resolve_odd_binary(buf_span(&plain), out) ? YAML_TYPE_INT : YAML_TYPE_STRING;
}

/* ---- floats as Go's 'g' */
void yaml_float_text(struct buf *out, double d, int bits)
{
	char text[40];
	int n = 0, exponent;
	/* The digits: of a double from the JSON form, which is shortest; of a float by trying every length. */
	char digits[24];
	if (bits == 32) {
		d = (double)(float)d;
		if (isinf(d)) {
			buf_str(out, d < 0 ? "-Inf" : "+Inf");
			return;
		}
		for (n = 1; n < 9; n++) {
			snprintf(text, sizeof(text), "%.*e", n - 1, fabs(d));
			if (strtof(text, NULL) == (float)fabs(d))
				break;
		}
		snprintf(text, sizeof(text), "%.*e", n - 1, fabs(d));
		digits[0] = text[0];
		memcpy(digits + 1, text + 2, (size_t)(n - 1));
		exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
	} else {
		auto_buf struct buf shortest = {};
		json_write_double(&shortest, fabs(d));
		int point = -1, e = 0, leading = 0;
		for (const char *s = buf_cstr(&shortest); *s; s++) {
			if (*s == 'e') {
				e = (int)strtol(s + 1, NULL, 10);
				break;
			}
			if (*s == '.')
				point = n + leading;
			else if (n == 0 && *s == '0')
				leading++;
			else if (n < (int)sizeof(digits))
				digits[n++] = *s;
		}
		if (point < 0)
			point = n + leading;
		exponent = n ? point - leading - 1 + e : 0;
		if (n == 0)
			digits[n++] = '0';
	}
	while (n > 1 && digits[n - 1] == '0')
		n--;
	if (signbit(d))
		buf_chr(out, '-');
	if (exponent < -4 || exponent >= 6) {
		buf_chr(out, digits[0]);
		if (n > 1) {
			buf_chr(out, '.');
			buf_add(out, digits + 1, (size_t)n - 1);
		}
		buf_printf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
		return;
	}
	if (exponent < 0) {
		buf_str(out, "0.");
		for (int i = -1; i > exponent; i--)
			buf_chr(out, '0');
		buf_add(out, digits, (size_t)n);
		return;
	}
	for (int i = 0; i < n || i <= exponent; i++) {
		if (i == exponent + 1)
			buf_chr(out, '.');
		buf_chr(out, i < n ? digits[i] : '0');
	}
}

/* ---- order of keys */
static bool in_ranges(const struct unicode_range *ranges, size_t n, uint32_t c)
{
	size_t low = 0, high = n;
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (c > ranges[mid].to)
			low = mid + 1;
		else
			high = mid;
	}
	return low < n && c >= ranges[low].from;
}

static bool letter(uint32_t c)
{
	if (c < 0x80)
		return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
	return in_ranges(unicode_letters, ARRAY_LEN(unicode_letters), c);
}

static bool digit(uint32_t c)
{
	if (c < 0x80)
		return c >= '0' && c <= '9';
	return in_ranges(unicode_digits, ARRAY_LEN(unicode_digits), c);
}

static size_t next_code(struct span s, size_t at, uint32_t *out)
{
	size_t n = at < s.len ? utf8_next(span_from(s, at), out) : 0;
	if (n)
		return n;
	*out = 0xfffd;
	return 1;
}

/* The digits from `at` on as a number that begins with n, and where they end. Wraps as Go's int64 does. */
static int64_t number_at(struct span s, size_t at, int64_t n, size_t *out_digits)
{
	*out_digits = 0;
	for (uint32_t c; at < s.len; (*out_digits)++) {
		size_t len = next_code(s, at, &c);
		if (!digit(c))
			break;
		n = (int64_t)((uint64_t)n * 10 + c - '0');
		at += len;
	}
	return n;
}

/* Whether the digits right before `at` hold one that is not 0. Digits beyond ASCII have more bytes: walk code points. */
static bool number_before(struct span s, size_t at)
{
	while (at > 0) {
		size_t start = at - 1;
		while (start > 0 && ((unsigned char)s.ptr[start] & 0xc0) == 0x80)
			start--;
		uint32_t c;
		next_code(s, start, &c);
		if (!digit(c))
			return false;
		if (c != '0')
			return true;
		at = start;
	}
	return false;
}

/* go-yaml's order: at the first difference letters by code and behind all else; numbers by value, then by length. */
int yaml_key_cmp(struct span a, struct span b)
{
	size_t at = 0;
	/* To the first differing code point: equal bytes, then back to the start of the sequence. */
	while (at < a.len && at < b.len && a.ptr[at] == b.ptr[at])
		at++;
	while (at > 0 && at < a.len && at < b.len && ((unsigned char)a.ptr[at] & 0xc0) == 0x80)
		at--;
	if (at == a.len || at == b.len)
		return (a.len > b.len) - (a.len < b.len);
	uint32_t ca, cb;
	next_code(a, at, &ca);
	next_code(b, at, &cb);
	bool la = letter(ca), lb = letter(cb);
	int by_code = (ca > cb) - (ca < cb);
	if (la && lb)
		return by_code;
	if (la || lb)
		return lb ? -1 : 1;
	int64_t start = (ca == '0' || cb == '0') && number_before(a, at);
	size_t da, db;
	int64_t na = number_at(a, at, start, &da), nb = number_at(b, at, start, &db);
	if (na != nb)
		return na < nb ? -1 : 1;
	if (da != db)
		return da < db ? -1 : 1;
	return by_code;
}
