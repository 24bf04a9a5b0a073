/* What Go's encoding/json says about a text that is no JSON. A scanner with a stack of brackets; nothing is built. It runs only
 * when a text was refused already, so it may be simple and slow. */
#include "json/json.h"

struct scan {
	struct span text;
	size_t at;
	struct buf *out;
};

/* Between the quotes: the byte as a rune of its own, as strconv.Quote prints it, but for both quotes. */
static void quote(struct buf *out, unsigned char c)
{
	static const char letters[] = "\aa\bb\ff\nn\rr\tt\vv\\\\''";
	for (size_t i = 0; i + 1 < sizeof(letters); i += 2) {
		if ((unsigned char)letters[i] == c) {
			buf_chr(out, '\\');
			buf_chr(out, letters[i + 1]);
			return;
		}
	}
	if (c < 0x20 || c == 0x7f)
		buf_printf(out, "\\x%02x", c);
	else if ((c >= 0x80 && c <= 0xa0) || c == 0xad) /* not printable */
		buf_printf(out, "\\u%04x", c);
	else
		utf8_add(out, c);
}

static bool complain(struct scan *s, const char *context)
{
	if (s->at >= s->text.len) {
		buf_str(s->out, "unexpected end of JSON input");
		return false;
	}
	buf_str(s->out, "invalid character '");
	quote(s->out, (unsigned char)s->text.ptr[s->at]);
	buf_printf(s->out, "' %s", context);
	return false;
}

static int peek(const struct scan *s)
{
	return s->at < s->text.len ? (unsigned char)s->text.ptr[s->at] : -1;
}

static void blanks(struct scan *s)
{
	while (peek(s) == ' ' || peek(s) == '\t' || peek(s) == '\r' || peek(s) == '\n')
		s->at++;
}

static bool digits(struct scan *s)
{
	if (peek(s) < '0' || peek(s) > '9')
		return false;
	while (peek(s) >= '0' && peek(s) <= '9')
		s->at++;
	return true;
}

static bool scan_string(struct scan *s) /* behind the opening quote */
{
	for (;; s->at++) {
		int c = peek(s);
		if (c == '"') {
			s->at++;
			return true;
		}
		if (c < 0x20)
			return complain(s, "in string literal");
		if (c != '\\')
			continue;
		s->at++;
		if (peek(s) == 'u') {
			for (int i = 0; i < 4; i++) {
				s->at++;
				if (peek(s) < 0 || !strchr("0123456789abcdefABCDEF", peek(s)) || !peek(s))
					return complain(s, "in \\u hexadecimal character escape");
			}
		} else if (peek(s) <= 0 || !strchr("\"\\/bfnrt", peek(s))) {
			return complain(s, "in string escape code");
		}
	}
}

static bool scan_number(struct scan *s)
{
	if (peek(s) == '-') {
		s->at++;
		if (peek(s) < '0' || peek(s) > '9')
			return complain(s, "in numeric literal");
	}
	if (peek(s) == '0')
		s->at++;
	else
		(void)digits(s);
	if (peek(s) == '.') {
		s->at++;
		if (!digits(s))
			return complain(s, "after decimal point in numeric literal");
	}
	if (peek(s) == 'e' || peek(s) == 'E') {
		s->at++;
		if (peek(s) == '+' || peek(s) == '-')
			s->at++;
		if (!digits(s))
			return complain(s, "in exponent of numeric literal");
	}
	return true;
}

static bool scan_word(struct scan *s, const char *word)
{
	for (size_t i = 0; word[i]; i++, s->at++) {
		if (peek(s) == word[i])
			continue;
		char context[64];
		snprintf(context, sizeof(context), "in literal %s (expecting '%c')", word, word[i]);
		return complain(s, context);
	}
	return true;
}

static bool scan_scalar(struct scan *s)
{
	int c = peek(s);
	if (c == '"') {
		s->at++;
		return scan_string(s);
	}
	if (c == '-' || (c >= '0' && c <= '9'))
		return scan_number(s);
	if (c == 't' || c == 'f' || c == 'n')
		return scan_word(s, c == 't' ? "true" : c == 'f' ? "false" : "null");
	return complain(s, "looking for beginning of value");
}

static bool scan_key(struct scan *s)
{
	if (peek(s) != '"')
		return complain(s, "looking for beginning of object key string");
	s->at++;
	if (!scan_string(s))
		return false;
	blanks(s);
	if (peek(s) != ':')
		return complain(s, "after object key");
	s->at++;
	blanks(s);
	return true;
}

/* One value of any depth; open holds the brackets. */
static bool scan_value(struct scan *s, struct buf *open)
{
	for (;;) {
		blanks(s);
		int c = peek(s);
		bool closed = false;
		if (c == '{' || c == '[') {
			if (open->len >= 10000) {
				buf_str(s->out, "exceeded max depth");
				return false;
			}
			buf_chr(open, (char)c);
			s->at++;
			blanks(s);
			closed = peek(s) == (c == '{' ? '}' : ']');
			if (!closed && c == '{' && !scan_key(s))
				return false;
			if (!closed)
				continue;
		} else if (!scan_scalar(s)) {
			return false;
		}
		/* Behind a value: a comma and the next, or closing brackets. */
		for (;; closed = false) {
			blanks(s);
			if (!open->len)
				return true;
			bool object = open->ptr[open->len - 1] == '{';
			if (closed || peek(s) == (object ? '}' : ']')) {
				s->at++;
				buf_trunc(open, open->len - 1);
				continue;
			}
			if (peek(s) != ',')
				return complain(s, object ? "after object key:value pair" : "after array element");
			s->at++;
			blanks(s);
			if (object && !scan_key(s))
				return false;
			break;
		}
	}
}

bool json_go_complaint(struct buf *out, struct span text)
{
	auto_buf struct buf open = {};
	struct scan s = { .text = text, .out = out };
	if (!scan_value(&s, &open))
		return true;
	blanks(&s);
	return s.at < text.len && !complain(&s, "after top-level value");
}
