/* Formats of strings: those that kube-apiserver checks in custom resources, with the meaning that its libraries give
 * them (strfmt of kube-openapi, govalidator, Go's net, net/url, net/mail and time). Other formats are notes to people.
 *
 * Names are compared without dashes: date-time is datetime. */
#include <pthread.h>
#include "custom/private.h"

/* ---- characters */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int hex_of(char c)
{
	return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool all_hex(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (hex_of(s.ptr[i]) < 0)
			return false;
	return true;
}

static bool all_digits(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_digit(s.ptr[i]))
			return false;
	return true;
}

/* ---- those with a pattern */

#define LABEL "[a-zA-Z0-9\\p{S}\\p{L}]"
#define BYTE_DECIMAL "\\s*(0|[1-9]\\d?|1\\d\\d?|2[0-4]\\d|25[0-5])\\s*"
enum { RE_HOSTNAME, RE_CARD, RE_RGB, RE_TIME, RE_COUNT };
static const char *const patterns[RE_COUNT] = {
	[RE_HOSTNAME] = "^(" LABEL "((-?" LABEL "{0,62})?)|(" LABEL "(([a-zA-Z0-9-\\p{S}\\p{L}]{0,61}" LABEL
			")?)(\\.)){1,}([a-zA-Z\\p{L}]){2,63})$",
	[RE_CARD] = "^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|"
		    "(222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}|6(?:011|5[0-9][0-9])[0-9]{12}|"
		    "3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\\d{3})\\d{11}|6[27][0-9]{14})$",
	[RE_RGB] = "^rgb\\(" BYTE_DECIMAL "," BYTE_DECIMAL "," BYTE_DECIMAL "\\)$",
	[RE_TIME] = "^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$",
};
static struct regex *compiled[RE_COUNT];

static void compile_all(void)
{
	for (size_t i = 0; i < RE_COUNT; i++) {
		compiled[i] = regex_new(span_of(patterns[i]), 0, NULL);
		assert(compiled[i]);
	}
}

static bool pattern_matches(unsigned which, struct span s)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct regex_scratch scratch = {};
	(void)pthread_once(&once, compile_all);
	bool ok = regex_matches(compiled[which], &scratch, s);
	regex_scratch_done(&scratch);
	return ok;
}

static bool is_hostname(struct span s)
{
	struct span rest = s, part;
	if (s.len > 255 || !pattern_matches(RE_HOSTNAME, s))
		return false;
	while (span_cut(&rest, '.', &part))
		if (part.len > 63)
			return false;
	return true;
}

static bool is_rgbcolor(struct span s)
{
	return pattern_matches(RE_RGB, s);
}

/* ---- numbers with check digits */

/* What is not a digit goes; at most cap stay, more is no number of these. */
static struct span digits_of(struct span s, char *out, size_t cap)
{
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++)
		if (is_digit(s.ptr[i]) && n < cap)
			out[n++] = s.ptr[i];
	return span_make(out, n);
}

static bool is_creditcard(struct span s)
{
	char text[32];
	struct span d = digits_of(s, text, sizeof(text));
	unsigned sum = 0;
	if (!pattern_matches(RE_CARD, d))
		return false;
	for (size_t i = 0; i < d.len; i++) { /* Luhn */
		unsigned v = (unsigned)(d.ptr[d.len - 1 - i] - '0');
		v = i % 2 ? v * 2 : v;
		sum += v > 9 ? v - 9 : v;
	}
	return sum % 10 == 0;
}

/* Without blanks and dashes. */
static struct span isbn_of(struct span s, char *out, size_t cap)
{
	size_t n = 0;
	for (size_t i = 0; i < s.len && n < cap; i++)
		if (!strchr(" \t\n\f\r-", s.ptr[i]) || !s.ptr[i])
			out[n++] = s.ptr[i];
	return span_make(out, n);
}

static bool is_isbn10(struct span s)
{
	char text[16];
	struct span d = isbn_of(s, text, sizeof(text));
	unsigned sum = 0;
	if (d.len != 10 || !all_digits(span_sub(d, 0, 9)) || (!is_digit(d.ptr[9]) && d.ptr[9] != 'X'))
		return false;
	for (unsigned i = 0; i < 9; i++)
		sum += (i + 1) * (unsigned)(d.ptr[i] - '0');
	sum += 10 * (d.ptr[9] == 'X' ? 10 : (unsigned)(d.ptr[9] - '0'));
	return sum % 11 == 0;
}

static bool is_isbn13(struct span s)
{
	char text[16];
	struct span d = isbn_of(s, text, sizeof(text));
	unsigned sum = 0;
	if (d.len != 13 || !all_digits(d))
		return false;
	for (unsigned i = 0; i < 12; i++)
		sum += (i % 2 ? 3 : 1) * (unsigned)(d.ptr[i] - '0');
	return (10 - sum % 10) % 10 == (unsigned)(d.ptr[12] - '0');
}

static bool is_isbn(struct span s)
{
	return is_isbn10(s) || is_isbn13(s);
}

static bool is_ssn(struct span s) /* 000-00-0000 or 000 00 0000 */
{
	return s.len == 11 && all_digits(span_sub(s, 0, 3)) && strchr("- ", s.ptr[3]) && s.ptr[3] && all_digits(span_sub(s, 4, 6)) &&
	       strchr("- ", s.ptr[6]) && s.ptr[6] && all_digits(span_from(s, 7));
}

/* ---- hex */

/* version 0: any. */
static bool uuid_matches(struct span s, char version)
{
	static const unsigned groups[] = { 8, 4, 4, 4, 12 };
	size_t at = 0;
	for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
		struct span part = span_sub(s, at, at + groups[g]);
		if (part.len != groups[g] || !all_hex(part))
			return false;
		if (g == 2 && version && part.ptr[0] != version)
			return false;
		if (g == 3 && version >= '4' && (hex_of(part.ptr[0]) & 0xc) != 8)
			return false;
		at += groups[g];
		if (g < 4 && at < s.len && s.ptr[at] == '-')
			at++;
	}
	return at == s.len;
}

static bool is_uuid(struct span s)
{
	return uuid_matches(s, 0);
}

static bool is_uuid3(struct span s)
{
	return uuid_matches(s, '3');
}

static bool is_uuid4(struct span s)
{
	return uuid_matches(s, '4');
}

static bool is_uuid5(struct span s)
{
	return uuid_matches(s, '5');
}

static bool is_bsonobjectid(struct span s)
{
	return s.len == 24 && all_hex(s);
}

static bool is_hexcolor(struct span s)
{
	s = s.len && s.ptr[0] == '#' ? span_from(s, 1) : s;
	return (s.len == 3 || s.len == 6) && all_hex(s);
}

static bool is_mac(struct span s)
{
	size_t step = s.len > 2 && (s.ptr[2] == ':' || s.ptr[2] == '-') ? 3 : s.len > 4 && s.ptr[4] == '.' ? 5 : 0, i;
	if (!step || (s.len + 1) % step)
		return false;
	size_t bytes = (s.len + 1) / step * (step == 3 ? 1 : 2);
	if (bytes != 6 && bytes != 8 && bytes != 20)
		return false;
	for (i = 0; i < s.len; i++)
		if (i % step == step - 1 ? s.ptr[i] != s.ptr[step - 1] : hex_of(s.ptr[i]) < 0)
			return false;
	return true;
}

static bool is_byte(struct span s)
{
	auto_buf struct buf out = {};
	return s.len && span_chr(s, '\n') < 0 && span_chr(s, '\r') < 0 && base64_parse(&out, BASE64_STD, s);
}

/* ---- addresses */

static bool is_ipv4(struct span s)
{
	struct api_ip ip;
	return span_chr(s, '.') >= 0 && api_ip_parse(s, &ip);
}

static bool is_ipv6(struct span s)
{
	struct api_ip ip;
	return span_chr(s, ':') >= 0 && api_ip_parse(s, &ip);
}

static bool is_cidr(struct span s)
{
	struct api_ip ip;
	unsigned bits;
	return api_cidr_parse(s, &ip, &bits);
}

static bool escapes_ok(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] == '%' && (i + 2 >= s.len || hex_of(s.ptr[i + 1]) < 0 || hex_of(s.ptr[i + 2]) < 0))
			return false;
	return true;
}

static bool host_ok(struct span host)
{
	struct span name = host, port = SPAN_EMPTY;
	if (host.len && host.ptr[0] == '[') {
		ptrdiff_t end = span_rchr(host, ']');
		if (end < 0)
			return false;
		name = span_sub(host, 0, (size_t)end + 1);
		port = span_from(host, (size_t)end + 1);
	} else {
		ptrdiff_t colon = span_rchr(host, ':');
		if (colon >= 0) {
			name = span_sub(host, 0, (size_t)colon);
			port = span_from(host, (size_t)colon);
		}
	}
	if (port.len && (port.ptr[0] != ':' || !all_digits(span_from(port, 1))))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		if (c == '%' && (i + 2 >= name.len || hex_of(name.ptr[i + 1]) < 0 || hex_of(name.ptr[i + 2]) < 0 ||
				 (hex_of(name.ptr[i + 1]) < 8 && !span_starts(span_from(name, i), SPAN("%25")))))
			return false;
		if (!((unsigned char)c >= 0x80 || is_alpha(c) || is_digit(c) || (c && strchr("-_.~!$&'()*+,;=:[]<>\"%", c))))
			return false;
	}
	return true;
}

/* url.ParseRequestURI: an absolute URI or an absolute path. */
static bool is_uri(struct span s)
{
	size_t i = 0;
	for (size_t k = 0; k < s.len; k++)
		if ((unsigned char)s.ptr[k] < 0x20 || s.ptr[k] == 0x7f)
			return false;
	if (!s.len || s.ptr[0] == ':')
		return false;
	if (span_is(s, "*"))
		return true;
	while (i < s.len && (is_alpha(s.ptr[i]) || (i && (is_digit(s.ptr[i]) || (s.ptr[i] && strchr("+-.", s.ptr[i]))))))
		i++;
	bool scheme = i && i < s.len && s.ptr[i] == ':';
	struct span rest = scheme ? span_from(s, i + 1) : s, query;
	(void)span_split(rest, '?', &rest, &query);
	if (!rest.len || rest.ptr[0] != '/')
		return scheme; /* opaque, or no URI of a request */
	if (scheme && span_starts(rest, SPAN("//"))) {
		struct span authority = span_from(rest, 2), user = SPAN_EMPTY;
		ptrdiff_t slash = span_chr(authority, '/');
		rest = slash < 0 ? SPAN_EMPTY : span_from(authority, (size_t)slash);
		authority = slash < 0 ? authority : span_sub(authority, 0, (size_t)slash);
		ptrdiff_t at = span_rchr(authority, '@');
		if (at >= 0) {
			user = span_sub(authority, 0, (size_t)at);
			authority = span_from(authority, (size_t)at + 1);
		}
		for (size_t k = 0; k < user.len; k++)
			if (!is_alpha(user.ptr[k]) && !is_digit(user.ptr[k]) &&
			    (!user.ptr[k] || !strchr("-._:~!$&'()*+,;=%@", user.ptr[k])))
				return false;
		if (!escapes_ok(user) || !host_ok(authority))
			return false;
	}
	return escapes_ok(rest);
}

/* ---- mail addresses: net/mail.ParseAddress */

static void skip_space(struct span *s)
{
	while (s->len && (s->ptr[0] == ' ' || s->ptr[0] == '\t'))
		*s = span_from(*s, 1);
}

/* Blanks and comments; false when a comment has no end. */
static bool skip_comments(struct span *s)
{
	for (;;) {
		skip_space(s);
		if (!s->len || s->ptr[0] != '(')
			return true;
		size_t i = 0, depth = 0;
		for (; i < s->len; i++) {
			if (s->ptr[i] == '\\' && i + 1 < s->len)
				i++;
			else if (s->ptr[i] == '(')
				depth++;
			else if (s->ptr[i] == ')' && --depth == 0)
				break;
		}
		if (i == s->len)
			return false;
		*s = span_from(*s, i + 1);
	}
}

static bool is_atext(char c, bool dot)
{
	return (unsigned char)c >= 0x80 || is_alpha(c) || is_digit(c) || (c == '.' && dot) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool take_atom(struct span *s, bool dots_anywhere)
{
	size_t n = 0;
	while (n < s->len && is_atext(s->ptr[n], true))
		n++;
	struct span atom = span_sub(*s, 0, n);
	if (!n || !utf8_valid(atom))
		return false;
	if (!dots_anywhere && (atom.ptr[0] == '.' || atom.ptr[n - 1] == '.' || span_find(atom, SPAN("..")) >= 0))
		return false;
	*s = span_from(*s, n);
	return true;
}

static bool take_quoted(struct span *s)
{
	for (size_t i = 1; i < s->len; i++) {
		unsigned char c = (unsigned char)s->ptr[i];
		if (c == '"') {
			*s = span_from(*s, i + 1);
			return i > 1;
		}
		if (c == '\\' && i + 1 < s->len)
			c = (unsigned char)s->ptr[++i];
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return false;
}

static bool take_addr_spec(struct span *s)
{
	skip_space(s);
	if (!s->len || !(s->ptr[0] == '"' ? take_quoted(s) : take_atom(s, false)))
		return false;
	if (!s->len || s->ptr[0] != '@')
		return false;
	*s = span_from(*s, 1);
	skip_space(s);
	if (s->len && s->ptr[0] == '[') {
		ptrdiff_t end = span_chr(*s, ']');
		struct api_ip ip;
		struct span literal = end < 0 ? SPAN_EMPTY : span_sub(*s, 1, (size_t)end);
		if (span_starts(literal, SPAN("IPv6:")))
			literal = span_from(literal, 5);
		if (!literal.len || !api_ip_parse(literal, &ip))
			return false;
		*s = span_from(*s, (size_t)end + 1);
		return true;
	}
	return s->len && take_atom(s, false);
}

static bool is_email(struct span text)
{
	struct span s = text;
	if (!skip_comments(&s))
		return false;
	struct span whole = s;
	if (take_addr_spec(&s) && skip_comments(&s) && !s.len)
		return true;
	/* A name, then the address in angle brackets. */
	s = whole;
	while (s.len && s.ptr[0] != '<') {
		if (!(s.ptr[0] == '"' ? take_quoted(&s) : take_atom(&s, true)) || !skip_comments(&s))
			return false;
	}
	if (!s.len)
		return false;
	s = span_from(s, 1);
	if (!take_addr_spec(&s) || !s.len || s.ptr[0] != '>')
		return false;
	s = span_from(s, 1);
	return skip_comments(&s) && !s.len;
}

/* ---- times */

static bool two_digits(struct span s, size_t at, unsigned *out)
{
	if (at + 2 > s.len || !is_digit(s.ptr[at]) || !is_digit(s.ptr[at + 1]))
		return false;
	*out = (unsigned)(s.ptr[at] - '0') * 10 + (unsigned)(s.ptr[at + 1] - '0');
	return true;
}

static bool is_date(struct span s)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	unsigned century, year, month, day;
	if (s.len != 10 || s.ptr[4] != '-' || s.ptr[7] != '-' || !two_digits(s, 0, &century) || !two_digits(s, 2, &year) ||
	    !two_digits(s, 5, &month) || !two_digits(s, 8, &day) || month < 1 || month > 12)
		return false;
	year += century * 100;
	bool leap = (year % 4 == 0 && year % 100) || year % 400 == 0;
	return day >= 1 && day <= days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

static bool is_datetime(struct span s)
{
	auto_buf struct buf lower = {};
	struct span date, time;
	for (size_t i = 0; i < s.len; i++)
		buf_chr(&lower, (char)(s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? s.ptr[i] + 32 : s.ptr[i]));
	if (s.len < 4 || !span_split(buf_span(&lower), 't', &date, &time) || !is_date(date))
		return false;
	(void)span_split(time, 't', &time, &date); /* what follows a second T is not looked at */
	return pattern_matches(RE_TIME, time);
}

/* "3 days", "10 sec": Scala's durations. The last word of a row is a beginning, the others are whole units. */
static bool unit_known(struct span unit)
{
	static const char *const whole[] = { "ns", "us", "\302\265s", "ms", "s", "m", "h", "hr", "d", "w", "wk" };
	static const char *const begins[] = { "nano", "micro", "milli", "sec", "min", "hour", "day", "week" };
	char text[16] = {};
	for (size_t i = 0; i < unit.len && i < sizeof(text) - 1; i++)
		text[i] = (char)(unit.ptr[i] >= 'A' && unit.ptr[i] <= 'Z' ? unit.ptr[i] + 32 : unit.ptr[i]);
	for (size_t i = 0; i < ARRAY_LEN(begins); i++)
		if (strncmp(text, begins[i], strlen(begins[i])) == 0)
			return true;
	for (size_t i = 0; i < ARRAY_LEN(whole); i++)
		if (unit.len < sizeof(text) && strcmp(text, whole[i]) == 0)
			return true;
	return false;
}

static bool is_duration(struct span s)
{
	int64_t ns, n;
	bool known = false;
	if (api_duration_parse(s, &ns, NULL) == 0)
		return true;
	for (size_t i = 0; i < s.len;) {
		size_t from = i, digits, word;
		while (i < s.len && is_digit(s.ptr[i]))
			i++;
		digits = i;
		while (i < s.len && s.ptr[i] && strchr(" \t\n\f\r", s.ptr[i]))
			i++;
		word = i;
		while (i < s.len && (is_alpha(s.ptr[i]) || span_starts(span_from(s, i), SPAN("\302\265"))))
			i += is_alpha(s.ptr[i]) ? 1 : 2;
		if (digits == from || i == word) { /* no match begins here */
			i = digits > from ? digits : from + 1;
			continue;
		}
		if (!span_to_i64(span_sub(s, from, digits), &n))
			return false;
		known |= unit_known(span_sub(s, word, i));
	}
	return known;
}

static bool is_password(struct span s)
{
	return true;
}

/* ---- */

static const struct {
	const char *name;
	bool (*matches)(struct span s);
} formats[] = {
	{ "bsonobjectid", is_bsonobjectid }, { "uri", is_uri },		{ "email", is_email },
	{ "hostname", is_hostname },	     { "ipv4", is_ipv4 },	{ "ipv6", is_ipv6 },
	{ "cidr", is_cidr },		     { "mac", is_mac },		{ "uuid", is_uuid },
	{ "uuid3", is_uuid3 },		     { "uuid4", is_uuid4 },	{ "uuid5", is_uuid5 },
	{ "isbn", is_isbn },		     { "isbn10", is_isbn10 },	{ "isbn13", is_isbn13 },
	{ "creditcard", is_creditcard },     { "ssn", is_ssn },		{ "hexcolor", is_hexcolor },
	{ "rgbcolor", is_rgbcolor },	     { "byte", is_byte },	{ "password", is_password },
	{ "date", is_date },		     { "duration", is_duration }, { "datetime", is_datetime },
};

static int format_index(struct span format)
{
	char name[16];
	size_t n = 0;
	for (size_t i = 0; i < format.len; i++) {
		if (format.ptr[i] == '-')
			continue;
		if (n == sizeof(name))
			return -1;
		name[n++] = format.ptr[i];
	}
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (span_is(span_make(name, n), formats[i].name))
			return (int)i;
	return -1;
}

bool custom_format_known(struct span format)
{
	return format_index(format) >= 0;
}

bool custom_format_matches(struct span format, struct span text)
{
	int i = format_index(format);
	return i < 0 || formats[i].matches(text);
}
