/* Syntax of names. Each check is a loop over character classes that accepts the same language as the regular expression
 * in its complaint; names_test.c compares them over all short strings of a critical alphabet. */
#include "api/names.h"

/* ---- the expressions and their sentences, word for word (k8s.io/apimachinery/pkg/util/validation) */
#define QNAME "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
#define LABEL "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define SUBDOMAIN LABEL "(\\." LABEL ")*"

#define MAX_LEN(n) "must be no more than " #n " characters"
#define NO_EXAMPLE(msg, re) msg " (regex used for validation is '" re "')"
#define E1(msg, re, a) msg " (e.g. '" a "', regex used for validation is '" re "')"
#define E2(msg, re, a, b) msg " (e.g. '" a "',  or '" b "', regex used for validation is '" re "')"
#define E3(msg, re, a, b, c) msg " (e.g. '" a "',  or '" b "',  or '" c "', regex used for validation is '" re "')"

#define QUALIFIED_MSG                                                                                                  \
	E3("must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character", \
	   QNAME, "MyName", "my.name", "123-abc")
#define SUBDOMAIN_MSG                                                                                                  \
	E1("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "  \
	   "start and end with an alphanumeric character",                                                             \
	   SUBDOMAIN, "example.com")

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}
static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}
static bool is_lower_alnum(char c)
{
	return is_lower(c) || is_digit(c);
}
static bool is_alpha(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}
static bool is_alnum(char c)
{
	return is_alpha(c) || is_digit(c);
}
static bool is_one_of(char c, const char *set)
{
	return c && strchr(set, c);
}

static void complain(struct api_complaints *out, const char *text)
{
	if (out->n < API_COMPLAINTS_MAX)
		out->text[out->n++] = text;
}

/* Every check fills a list of its own when the caller has none. */
#define CHECK(name)                                                                                                    \
	static void name##_into(struct span s, struct api_complaints *out);                                            \
	unsigned name(struct span s, struct api_complaints *out)                                                       \
	{                                                                                                              \
		struct api_complaints own;                                                                             \
		if (!out)                                                                                              \
			out = &own;                                                                                    \
		out->n = 0;                                                                                            \
		name##_into(s, out);                                                                                   \
		return out->n;                                                                                         \
	}                                                                                                              \
	static void name##_into(struct span s, struct api_complaints *out)

/* ---- languages */
static bool all(struct span s, bool (*class)(char), const char *extra)
{
	for (size_t i = 0; i < s.len; i++)
		if (!class(s.ptr[i]) && !is_one_of(s.ptr[i], extra))
			return false;
	return true;
}

/* [class]([extra class]*[class])? */
static bool is_bounded(struct span s, bool (*class)(char), const char *extra)
{
	return s.len && class(s.ptr[0]) && class(s.ptr[s.len - 1]) && all(s, class, extra);
}

static bool is_label(struct span s)
{
	return is_bounded(s, is_lower_alnum, "-");
}

static bool is_label_underscore(struct span s)
{
	if (s.len && s.ptr[0] == '_')
		s = span_from(s, 1);
	return is_bounded(s, is_lower_alnum, "-_");
}

static bool is_dotted(struct span s, bool (*part_ok)(struct span))
{
	struct span part;
	while (span_split(s, '.', &part, &s))
		if (!part_ok(part))
			return false;
	return part_ok(part);
}

/* ---- checks */
CHECK(api_name_dns1123_label)
{
	if (s.len > 63)
		complain(out, MAX_LEN(63));
	if (is_label(s))
		return;
	if (is_dotted(s, is_label))
		complain(out, "must not contain dots");
	else
		complain(out, E2("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
				 "start and end with an alphanumeric character",
				 LABEL, "my-name", "123-abc"));
}

CHECK(api_name_dns1123_subdomain)
{
	if (s.len > 253)
		complain(out, MAX_LEN(253));
	if (!is_dotted(s, is_label))
		complain(out, SUBDOMAIN_MSG);
}

CHECK(api_name_dns1123_subdomain_underscore)
{
	if (s.len > 253)
		complain(out, MAX_LEN(253));
	if (!is_dotted(s, is_label_underscore)) /* upstream shows the expression without the underscore */
		complain(out, E1("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or "
				 "'.', and must start and end with an alphanumeric character",
				 SUBDOMAIN, "example.com"));
}

CHECK(api_name_dns1035_label)
{
	if (s.len > 63)
		complain(out, MAX_LEN(63));
	if (!is_label(s) || !is_lower(s.ptr[0]))
		complain(out, E2("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
				 "alphabetic character, and end with an alphanumeric character",
				 "[a-z]([-a-z0-9]*[a-z0-9])?", "my-name", "abc-123"));
}

CHECK(api_name_wildcard_subdomain)
{
	if (s.len > 253)
		complain(out, MAX_LEN(253));
	if (!span_starts(s, SPAN("*.")) || !is_dotted(span_from(s, 2), is_label))
		complain(out, E1("a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which "
				 "must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric "
				 "character",
				 "\\*\\." SUBDOMAIN, "*.example.com"));
}

CHECK(api_name_qualified)
{
	struct span prefix, name;
	if (span_split(s, '/', &prefix, &name)) {
		if (span_chr(name, '/') >= 0) {
			complain(out, "a qualified name " QUALIFIED_MSG
				      " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
			return;
		}
		if (!prefix.len) {
			complain(out, "prefix part must be non-empty");
		} else {
			if (prefix.len > 253)
				complain(out, "prefix part " MAX_LEN(253));
			if (!is_dotted(prefix, is_label))
				complain(out, "prefix part " SUBDOMAIN_MSG);
		}
	} else {
		name = s;
	}
	if (!name.len)
		complain(out, "name part must be non-empty");
	else if (name.len > 63)
		complain(out, "name part " MAX_LEN(63));
	if (!is_bounded(name, is_alnum, "-_."))
		complain(out, "name part " QUALIFIED_MSG);
}

CHECK(api_name_label_value)
{
	if (s.len > 63)
		complain(out, MAX_LEN(63));
	if (s.len && !is_bounded(s, is_alnum, "-_."))
		complain(out, E3("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
				 "and must start and end with an alphanumeric character",
				 "(" QNAME ")?", "MyValue", "my_value", "12345"));
}

CHECK(api_name_path_prefix)
{
	if (span_chr(s, '/') >= 0)
		complain(out, "may not contain '/'");
	if (span_chr(s, '%') >= 0)
		complain(out, "may not contain '%'");
}

CHECK(api_name_path_segment)
{
	if (span_is(s, "."))
		complain(out, "may not be '.'");
	else if (span_is(s, ".."))
		complain(out, "may not be '..'");
	else
		api_name_path_prefix_into(s, out);
}

CHECK(api_name_port)
{
	bool letter = false;
	if (s.len > 15)
		complain(out, MAX_LEN(15));
	for (size_t i = 0; i < s.len; i++)
		letter |= is_lower(s.ptr[i]);
	if (!s.len || !all(s, is_lower_alnum, "-"))
		complain(out, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
	if (!letter)
		complain(out, "must contain at least one letter (a-z)");
	if (span_has(s, SPAN("--")))
		complain(out, "must not contain consecutive hyphens");
	if (s.len && (s.ptr[0] == '-' || s.ptr[s.len - 1] == '-'))
		complain(out, "must not begin or end with a hyphen");
}

static void no_dots_first(struct span s, struct api_complaints *out)
{
	if (span_is(s, "."))
		complain(out, "must not be '.'");
	else if (span_is(s, ".."))
		complain(out, "must not be '..'");
	else if (span_starts(s, SPAN("..")))
		complain(out, "must not start with '..'");
}

CHECK(api_name_env_var)
{
	if (!s.len || is_digit(s.ptr[0]) || !all(s, is_alnum, "-._"))
		complain(out, E3("a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or "
				 "'.', and must not start with a digit",
				 "[-._a-zA-Z][-._a-zA-Z0-9]*", "my.env-name", "MY_ENV.NAME", "MyEnvName1"));
	no_dots_first(s, out);
}

CHECK(api_name_env_var_relaxed)
{
	if (!s.len)
		complain(out, "environment variable name must be non-empty");
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < 0x20 || s.ptr[i] > 0x7e || s.ptr[i] == '=') {
			complain(out, "a valid environment variable name must consist only of printable ASCII characters other "
				      "than '='");
			break;
		}
}

CHECK(api_name_config_key)
{
	if (s.len > 253)
		complain(out, MAX_LEN(253));
	if (!s.len || !all(s, is_alnum, "-._"))
		complain(out, E3("a valid config key must consist of alphanumeric characters, '-', '_' or '.'", "[-._a-zA-Z0-9]+",
				 "key.name", "KEY_NAME", "key-name"));
	no_dots_first(s, out);
}

CHECK(api_name_c_identifier)
{
	if (!s.len || is_digit(s.ptr[0]) || !all(s, is_alnum, "_"))
		complain(out, E3("a valid C identifier must start with alphabetic character or '_', followed by a string of "
				 "alphanumeric characters or '_'",
				 "[A-Za-z_][A-Za-z0-9_]*", "my_name", "MY_NAME", "MyName"));
}

CHECK(api_name_percent)
{
	if (s.len < 2 || s.ptr[s.len - 1] != '%' || !all(span_sub(s, 0, s.len - 1), is_digit, ""))
		complain(out, E2("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", "1%",
				 "93%"));
}

CHECK(api_name_http_header)
{
	if (!s.len || !all(s, is_alnum, "-"))
		complain(out, E1("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+",
				 "X-Header-Name"));
}

CHECK(api_name_condition_reason)
{
	if (s.len && is_alpha(s.ptr[0]) && all(s, is_alnum, "_,:") && (is_alnum(s.ptr[s.len - 1]) || s.ptr[s.len - 1] == '_'))
		return;
	complain(out, "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
		      "characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  "
		      "or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is "
		      "'[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')");
}

static unsigned segments(struct span s)
{
	unsigned n = 1;
	for (size_t i = 0; i < s.len; i++)
		n += s.ptr[i] == '.';
	return n;
}

CHECK(api_name_fully_qualified)
{
	api_name_dns1123_subdomain_into(s, out);
	if (!out->n && segments(s) < 3)
		complain(out, "should be a domain with at least three segments separated by dots");
}

CHECK(api_name_fqdn)
{
	struct span part;
	if (span_ends(s, SPAN(".")))
		s.len--;
	api_name_dns1123_subdomain_into(s, out);
	if (out->n)
		return;
	if (segments(s) < 2) {
		complain(out, "should be a domain with at least two segments separated by dots");
		return;
	}
	while (span_cut(&s, '.', &part)) /* no part is empty here */
		api_name_dns1123_label_into(part, out);
}

unsigned api_name_as_prefix(api_name_fn *check, struct span prefix, struct api_complaints *out)
{
	/* maskTrailingDash: "web-" is checked as "weba". No name is longer than its rule by more than one complaint, so a
	 * prefix too long for the buffer is too long for every rule and may be cut. */
	char text[512];
	if (prefix.len < 2 || prefix.ptr[prefix.len - 1] != '-')
		return check(prefix, out);
	size_t n = MIN(prefix.len, sizeof(text));
	memcpy(text, prefix.ptr, n);
	text[n - 1] = 'a';
	return check(span_make(text, n), out);
}

CHECK(api_port_number)
{
	int64_t port;
	if (!s.len || !all(s, is_digit, "") || !span_to_i64(s, &port))
		port = 0;
	if (port < 1 || port > 65535)
		complain(out, "must be between 1 and 65535, inclusive");
}

static unsigned range_check(bool good, const char *text, struct api_complaints *out)
{
	if (out)
		*out = (struct api_complaints){ .n = !good, .text = { text } };
	return !good;
}

unsigned api_port_check(int64_t port, struct api_complaints *out)
{
	return range_check(port >= 1 && port <= 65535, "must be between 1 and 65535, inclusive", out);
}

unsigned api_user_id_check(int64_t id, struct api_complaints *out)
{
	return range_check(id >= 0 && id <= INT32_MAX, "must be between 0 and 2147483647, inclusive", out);
}
