#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <regex.h>

#include "api/names.h"

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void sentences(void **state)
{
	(void)state;
	static const struct {
		api_name_fn *check;
		const char *in, *want; /* complaints joined with "; " */
	} rows[] = {
		{ api_name_dns1123_label, "web-1", "" },
		{ api_name_dns1123_label, A63, "" },
		{ api_name_dns1123_label, A63 "a", "must be no more than 63 characters" },
		{ api_name_dns1123_label, "a.b", "must not contain dots" },
		{ api_name_dns1123_label, "Web",
		  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
		  "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')" },
		{ api_name_dns1123_subdomain, "my.domain-1", "" },
		{ api_name_dns1123_subdomain, "a..b",
		  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
		  "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
		  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')" },
		{ api_name_dns1035_label, "1a",
		  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end "
		  "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
		  "'[a-z]([-a-z0-9]*[a-z0-9])?')" },
		{ api_name_qualified, "app.kubernetes.io/name", "" },
		{ api_name_qualified, "/x", "prefix part must be non-empty" },
		{ api_name_qualified, "",
		  "name part must be non-empty; name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
		  "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
		  "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')" },
		{ api_name_qualified, "a/b/c",
		  "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
		  "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
		  "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')" },
		{ api_name_label_value, "", "" },
		{ api_name_label_value, "a b",
		  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
		  "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
		  "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')" },
		{ api_name_path_segment, "..", "may not be '..'" },
		{ api_name_path_segment, "a/%", "may not contain '/'; may not contain '%'" },
		{ api_name_path_segment, "system:node:X", "" },
		{ api_name_path_prefix, ".", "" },
		{ api_name_port, "http", "" },
		{ api_name_port, "1", "must contain at least one letter (a-z)" },
		{ api_name_port, "-a--b-toolongforaport",
		  "must be no more than 15 characters; must not contain consecutive hyphens; must not begin or end with a hyphen" },
		{ api_name_port, "",
		  "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-); must contain at least one letter (a-z)" },
		{ api_name_env_var, "..x", "must not start with '..'" },
		{ api_name_env_var, "1X",
		  "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start "
		  "with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is "
		  "'[-._a-zA-Z][-._a-zA-Z0-9]*')" },
		{ api_name_env_var_relaxed, "a=b",
		  "a valid environment variable name must consist only of printable ASCII characters other than '='" },
		{ api_name_env_var_relaxed, "1 x", "" },
		{ api_name_config_key, "..", "must not be '..'" },
		{ api_name_config_key, "a/b",
		  "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
		  "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')" },
		{ api_name_percent, "5", "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
					 "'93%', regex used for validation is '[0-9]+%')" },
		{ api_name_fully_qualified, "a.b", "should be a domain with at least three segments separated by dots" },
		{ api_name_fqdn, "a.", "should be a domain with at least two segments separated by dots" },
		{ api_name_fqdn, "a.b.", "" },
		{ api_name_wildcard_subdomain, "*.a.b", "" },
		{ api_name_wildcard_subdomain, "a.*.b",
		  "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case "
		  "alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for "
		  "validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')" },
		{ api_port_number, "65536", "must be between 1 and 65535, inclusive" },
		{ api_port_number, "80", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct api_complaints bad;
		auto_buf struct buf got = {};
		unsigned n = rows[i].check(span_of(rows[i].in), &bad);
		assert_int_equal(n, bad.n);
		assert_int_equal(n, rows[i].check(span_of(rows[i].in), NULL));
		for (unsigned k = 0; k < n; k++)
			buf_printf(&got, "%s%s", k ? "; " : "", bad.text[k]);
		if (strcmp(buf_cstr(&got), rows[i].want))
			fail_msg("\"%s\":\n got  %s\n want %s", rows[i].in, buf_cstr(&got), rows[i].want);
	}
	struct api_complaints bad;
	assert_int_equal(api_port_check(0, &bad), 1);
	assert_string_equal(bad.text[0], "must be between 1 and 65535, inclusive");
	assert_int_equal(api_user_id_check(INT32_MAX, NULL), 0);
	assert_int_equal(api_user_id_check(-1, NULL), 1);
	assert_int_equal(api_name_as_prefix(api_name_dns1123_label, SPAN("web-"), NULL), 0);
	assert_int_equal(api_name_as_prefix(api_name_dns1123_label, SPAN("-"), NULL), 1);
}

/* Every string of up to six letters of an alphabet that has one of each class: the loops must accept what the expression
 * in the sentence accepts. */
static void languages(void **state)
{
	(void)state;
	static const struct {
		api_name_fn *check;
		const char *regex;
	} rows[] = {
		{ api_name_dns1123_label, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" },
		{ api_name_dns1123_subdomain, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" },
		{ api_name_dns1123_subdomain_underscore,
		  "^_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*$" },
		{ api_name_dns1035_label, "^[a-z]([-a-z0-9]*[a-z0-9])?$" },
		{ api_name_label_value, "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$" },
		{ api_name_c_identifier, "^[A-Za-z_][A-Za-z0-9_]*$" },
		{ api_name_http_header, "^[-A-Za-z0-9]+$" },
		{ api_name_percent, "^[0-9]+%$" },
		{ api_name_condition_reason, "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$" },
	};
	static const char alphabet[] = "a0-._A%,";
	enum { LETTERS = sizeof(alphabet) - 1, LONGEST = 5 };
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		regex_t re;
		assert_int_equal(regcomp(&re, rows[r].regex, REG_EXTENDED | REG_NOSUB), 0);
		for (int length = 0; length <= LONGEST; length++) {
			unsigned count = 1;
			for (int i = 0; i < length; i++)
				count *= LETTERS;
			for (unsigned code = 0; code < count; code++) {
				char text[LONGEST + 1] = "";
				for (unsigned i = 0, c = code; i < (unsigned)length; i++, c /= LETTERS)
					text[i] = alphabet[c % LETTERS];
				bool want = regexec(&re, text, 0, NULL, 0) == 0;
				bool got = rows[r].check(span_make(text, (size_t)length), NULL) == 0;
				if (want != got)
					fail_msg("\"%s\" by %s: got %d, want %d", text, rows[r].regex, got, want);
			}
		}
		regfree(&re);
	}
}

static void addresses(void **state)
{
	(void)state;
	static const struct {
		const char *in;
		enum api_ip_mode mode;
		const char *want;
	} ips[] = {
		{ "10.9.8.7", API_IP_CANONICAL, "" }, { "010.9.8.7", API_IP_LEGACY, "" },
		{ "010.9.8.7", API_IP_STRICT, "must not have leading 0s" },
		{ "::ffff:1.2.3.4", API_IP_LEGACY, "" },
		{ "::ffff:1.2.3.4", API_IP_STRICT, "must not be an IPv4-mapped IPv6 address" },
		{ "2001:DB8::1", API_IP_CANONICAL, "must be in canonical form (\"2001:db8::1\")" },
		{ "2001:db8:0:0:0:0:0:1", API_IP_CANONICAL, "must be in canonical form (\"2001:db8::1\")" },
		{ "::", API_IP_CANONICAL, "" }, { "::1", API_IP_CANONICAL, "" }, { "1::", API_IP_CANONICAL, "" },
		{ "1:0:0:2:0:0:0:3", API_IP_CANONICAL, "must be in canonical form (\"1:0:0:2::3\")" },
		{ "1:2:3:4:5:6:7:8", API_IP_CANONICAL, "" }, { "1:0:3:4:5:6:7:8", API_IP_CANONICAL, "" },
		{ "fe80::1%eth0", API_IP_LEGACY, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)" },
		{ "1.2.3", API_IP_LEGACY, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)" },
		{ "1.2.3.256", API_IP_LEGACY, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)" },
		{ "1:2:3:4:5:6::8", API_IP_LEGACY, "" /* "::" stands for at least one group */ },
		{ "1:2:3:4:5:6:7::8", API_IP_LEGACY, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)" },
		{ "1:2:3:4:5:6:7:8::", API_IP_LEGACY, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)" },
		{ "1::2::3", API_IP_LEGACY, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)" },
		{ ":1", API_IP_LEGACY, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)" },
		{ "1:", API_IP_LEGACY, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)" },
		{ "", API_IP_LEGACY, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)" },
	}, cidrs[] = {
		{ "10.0.0.0/8", API_IP_CANONICAL, "" }, { "10.0.0.1/8", API_IP_LEGACY, "" },
		{ "10.0.0.1/8", API_IP_STRICT, "must not have bits set beyond the prefix length" },
		{ "10.0.0.0/08", API_IP_STRICT, "must not have leading 0s in IP or prefix length" },
		{ "2001:DB8::/32", API_IP_CANONICAL, "must be in canonical form (\"2001:db8::/32\")" },
		{ "::ffff:10.0.0.0/104", API_IP_STRICT, "must not have an IPv4-mapped IPv6 address" },
		{ "10.0.0.0/33", API_IP_LEGACY, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)" },
		{ "10.0.0.0", API_IP_LEGACY, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)" },
		{ "10.0.0.0/", API_IP_LEGACY, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)" },
		{ "0.0.0.0/0", API_IP_CANONICAL, "" }, { "::/0", API_IP_CANONICAL, "" }, { "::1/128", API_IP_CANONICAL, "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(ips) + ARRAY_LEN(cidrs); i++) {
		bool is_ip = i < ARRAY_LEN(ips);
		size_t k = is_ip ? i : i - ARRAY_LEN(ips);
		const char *in = is_ip ? ips[k].in : cidrs[k].in, *want = is_ip ? ips[k].want : cidrs[k].want;
		auto_arena struct arena a = {};
		struct api_complaints bad;
		unsigned n = is_ip ? api_ip_check(&a, span_of(in), ips[k].mode, &bad) :
				     api_cidr_check(&a, span_of(in), cidrs[k].mode, &bad);
		const char *got = n ? bad.text[0] : "";
		if (strcmp(got, want) || n > 1)
			fail_msg("\"%s\": got \"%s\" (%u), want \"%s\"", in, got, n, want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sentences),
		cmocka_unit_test(languages),
		cmocka_unit_test(addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
