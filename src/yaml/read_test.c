#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "yaml/yaml.h"

static void assert_json(const struct json *v, const char *yaml, const char *expected)
{
	auto_buf struct buf b = {};
	json_write(&b, v, JSON_SORTED);
	if (!span_is(buf_span(&b), expected))
		fail_msg("\n%s\ngives    %s\nexpected %s", yaml, buf_cstr(&b), expected);
}

static void assert_reads(struct span yaml, unsigned flags, const char *expected)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json v;
	if (yaml_parse(&a, yaml, flags, NULL, &v, &err) < 0)
		fail_msg("\n%.*s\nrefused: %s", SPAN_ARG(yaml), err_msg(&err));
	assert_json(&v, yaml.ptr, expected);
}

static void assert_refused(struct span yaml, unsigned flags, int class, const char *msg)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json v = json_int(77);
	int r = yaml_parse(&a, yaml, flags, NULL, &v, &err);
	if (r == 0)
		fail_msg("\n%.*s\nwas taken", SPAN_ARG(yaml));
	assert_string_equal(err_msg(&err), msg);
	assert_int_equal(r, -class);
	assert_int_equal(v.i, 77);
	assert_int_equal(yaml_parse(&a, yaml, flags, NULL, &v, NULL), -class);
}

/* ---- scalars: what go-yaml v2 resolves, as JSON */
static const struct {
	const char *scalar, *json;
} scalars[] = {
	{ "", "null" },
	{ "~", "null" },
	{ "null", "null" },
	{ "Null", "null" },
	{ "NULL", "null" },
	{ "nULL", "\"nULL\"" },
	{ "y", "true" },
	{ "Y", "true" },
	{ "yes", "true" },
	{ "Yes", "true" },
	{ "YES", "true" },
	{ "yEs", "\"yEs\"" },
	{ "on", "true" },
	{ "On", "true" },
	{ "ON", "true" },
	{ "true", "true" },
	{ "True", "true" },
	{ "TRUE", "true" },
	{ "n", "false" },
	{ "N", "false" },
	{ "no", "false" },
	{ "No", "false" },
	{ "NO", "false" },
	{ "off", "false" },
	{ "Off", "false" },
	{ "OFF", "false" },
	{ "false", "false" },
	{ "False", "false" },
	{ "FALSE", "false" },
	{ "'yes'", "\"yes\"" },
	{ "\"no\"", "\"no\"" },
	{ "0", "0" },
	{ "-0", "0" },
	{ "1", "1" },
	{ "+1", "1" },
	{ "-1", "-1" },
	{ "0644", "420" },
	{ "0o644", "420" },
	{ "0O17", "15" },
	{ "08", "8" }, /* no octal, so a float, which JSON prints as 8 */
	{ "-017", "-15" },
	{ "0x1F", "31" },
	{ "-0x1f", "-31" },
	{ "0X10", "16" },
	{ "0b101", "5" },
	{ "-0b101", "-5" },
	{ "0b-101", "-5" },
	{ "0b102", "\"0b102\"" },
	{ "0x", "\"0x\"" },
	{ "0xg", "\"0xg\"" },
	{ "1_000", "1000" },
	{ "1__0_", "10" },
	{ "_1", "\"_1\"" },
	{ "0x_1f", "31" },
	{ "9223372036854775807", "9223372036854775807" },
	{ "9223372036854775808", "9223372036854775808" },
	{ "18446744073709551615", "18446744073709551615" },
	{ "18446744073709551616", "18446744073709552000" },
	{ "-9223372036854775808", "-9223372036854775808" },
	{ "-9223372036854775809", "-9223372036854776000" },
	{ "0xffffffffffffffff", "18446744073709551615" },
	{ "+9223372036854775808", "9223372036854776000" },
	{ "1.5", "1.5" },
	{ "1.0", "1" },
	{ "-1.0", "-1" },
	{ "-0.0", "-0" },
	{ "1.", "1" },
	{ ".5", "0.5" },
	{ "-.5", "-0.5" },
	{ "+.5e1", "5" },
	{ ".5_0", "0.5" },
	{ "._5", "\"._5\"" },
	{ "1e3", "1000" },
	{ "1E3", "1000" },
	{ "1e-3", "0.001" },
	{ "1e21", "1e+21" },
	{ "1e20", "100000000000000000000" },
	{ "1e400", "\"1e400\"" },
	{ "1.5.5", "\"1.5.5\"" },
	{ "1e", "\"1e\"" },
	{ ".", "\".\"" },
	{ ".e1", "\".e1\"" },
	{ "-", "[null]" },
	{ "+", "\"+\"" },
	{ "1:30", "\"1:30\"" }, /* no base 60 */
	{ "1:30:15.5", "\"1:30:15.5\"" },
	{ "12e03", "12000" },
	{ "0x1p-2", "\"0x1p-2\"" },
	{ "2008-01-01", "\"2008-01-01\"" },
	{ "2008-01-01T01:01:01Z", "\"2008-01-01T01:01:01Z\"" },
	{ "2008-1-1 1:1:1.5", "\"2008-1-1 1:1:1.5\"" },
	{ "=", "\"=\"" },
	{ "<<", "\"<<\"" },
	{ "hello world", "\"hello world\"" },
	{ "a: b", "{\"a\":\"b\"}" },
	{ "a:b", "\"a:b\"" },
	{ "a #b", "\"a\"" },
	{ "a#b", "\"a#b\"" },
	{ "'it''s'", "\"it's\"" },
	{ "\"\\x41\\u00e9\\U0001F600\\n\\e\\_\"", "\"A\u00e9\U0001f600\\n\\u001b\u00a0\"" },
	{ "|\n  a\n   b\n\n", "\"a\\n b\\n\"" },
	{ "|-\n  a\n", "\"a\"" },
	{ "|+\n  a\n\n", "\"a\\n\\n\"" },
	{ ">\n  a\n  b\n", "\"a b\\n\"" },
	/* tags */
	{ "!!str 12", "\"12\"" },
	{ "!!str true", "\"true\"" },
	{ "!!str", "\"\"" },
	{ "!!int '12'", "12" },
	{ "!!int 0x10", "16" },
	{ "!!float 1", "1" },
	{ "!!float 1.5", "1.5" },
	{ "!!bool yes", "true" },
	{ "!!bool 'on'", "true" },
	{ "!!null ''", "null" },
	{ "!!null ~", "null" },
	{ "!!binary aGk=", "\"hi\"" },
	{ "!!binary /w==", "\"\ufffd\"" },
	{ "!!timestamp 2001-01-01", "\"2001-01-01\"" },
	{ "!foo 12", "\"12\"" },
	{ "! 12", "\"12\"" },
	{ "!!map {a: 1}", "{\"a\":1}" },
	{ "!!seq [1]", "[1]" },
	{ "!!set {a, b}", "{\"a\":null,\"b\":null}" },
	{ "[1, 2.5, yes, ~, x]", "[1,2.5,true,null,\"x\"]" },
	{ "{a: 1, 'b': \"2\", c: {d: []}}", "{\"a\":1,\"b\":\"2\",\"c\":{\"d\":[]}}" },
};

static void test_scalars(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(scalars); i++)
		assert_reads(span_of(scalars[i].scalar), YAML_STRICT, scalars[i].json);
}

/* ---- keys */
static void test_keys(void **state)
{
	static const struct {
		const char *yaml, *json;
	} rows[] = {
		{ "1: a\n-2: b\n0x10: c\n", "{\"-2\":\"b\",\"1\":\"a\",\"16\":\"c\"}" },
		{ "yes: a\noff: b\n", "{\"false\":\"b\",\"true\":\"a\"}" },
		{ "y: 1\n", "{\"true\":1}" },
		{ "1.5: a\n0.1: b\n3.14159265358979: c\n", "{\"0.1\":\"b\",\"1.5\":\"a\",\"3.1415927\":\"c\"}" },
		{ "1e3: a\n1e6: b\n1e300: c\n-.inf: d\n.nan: e\n",
		  "{\"-.inf\":\"d\",\".inf\":\"c\",\".nan\":\"e\",\"1000\":\"a\",\"1e+06\":\"b\"}" },
		{ "2001-01-01: a\n", "{\"2001-01-01\":\"a\"}" },
		{ "? a\n: b\n", "{\"a\":\"b\"}" },
		{ "? |\n  two\n  lines\n: b\n", "{\"two\\nlines\\n\":\"b\"}" },
		{ "'': x\n", "{\"\":\"x\"}" },
		/* 1 and "1" are two keys until they meet as strings */
		{ "1: a\n'1': b\n", "{\"1\":\"b\"}" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_reads(span_of(rows[i].yaml), YAML_STRICT, rows[i].json);
#define WRONG "error converting YAML to JSON: "
	assert_refused(SPAN("~: x\n"), 0, ERR_INVALID_REQUEST,
		       WRONG "unsupported map key of type: %!s(<nil>), key: <nil>, value: \"x\"");
	assert_refused(SPAN("9223372036854775808: x\n"), 0, ERR_INVALID_REQUEST,
		       WRONG "unsupported map key of type: uint64, key: 0x8000000000000000, value: \"x\"");
	assert_refused(SPAN("{[.]}"), 0, ERR_INVALID_REQUEST, WRONG "yaml: invalid map key: []interface {}{\".\"}");
	/* the template that nobody filled in */
	assert_refused(SPAN("a: {{ .Values.x }}\n"), 0, ERR_INVALID_REQUEST,
		       WRONG "yaml: invalid map key: map[interface {}]interface {}{\".Values.x\":interface {}(nil)}");
	assert_refused(SPAN("? [1, \"a\\n\", 2.5]\n: x\n"), 0, ERR_INVALID_REQUEST,
		       WRONG "yaml: invalid map key: []interface {}{1, \"a\\n\", 2.5}");
}

static void test_repeated_keys(void **state)
{
	struct span yaml = SPAN("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n2: x\n2: z\n");
	assert_reads(yaml, 0, "{\"2\":\"z\",\"a\":3,\"b\":{\"c\":2}}");
	assert_refused(yaml, YAML_STRICT, ERR_INVALID_REQUEST,
		       WRONG "yaml: unmarshal errors:\n  line 4: key \"c\" already set in map\n"
			     "  line 5: key \"a\" already set in map\n  line 7: key 2 already set in map");
	/* the line is the value's */
	assert_refused(SPAN("a: 1\na:\n  - 1\n"), YAML_STRICT, ERR_INVALID_REQUEST,
		       WRONG "yaml: unmarshal errors:\n  line 3: key \"a\" already set in map");
	/* large objects look keys up in another way */
	for (unsigned n = 10; n <= 10000; n *= 10) {
		auto_buf struct buf b = {}, expected = {};
		for (unsigned i = 0; i < n; i++)
			buf_printf(&b, "k%u: %u\n", i, i);
		auto_arena struct arena a = {};
		struct json v;
		assert_int_equal(yaml_parse(&a, buf_span(&b), YAML_STRICT, NULL, &v, NULL), 0);
		assert_int_equal(v.n, n);
		assert_int_equal(v.members[0].mark, 0);
		buf_printf(&b, "k%u: again\n", n / 2);
		assert_int_equal(yaml_parse(&a, buf_span(&b), 0, NULL, &v, NULL), 0);
		assert_int_equal(v.n, n);
		assert_true(span_is(json_span(&v.members[n / 2].value), "again"));
		buf_printf(&expected, WRONG "yaml: unmarshal errors:\n  line %u: key \"k%u\" already set in map", n + 1, n / 2);
		assert_refused(buf_span(&b), YAML_STRICT, ERR_INVALID_REQUEST, buf_cstr(&expected));
	}
}

/* ---- anchors, aliases, merges */
static void test_aliases(void **state)
{
	static const struct {
		const char *yaml, *json;
	} rows[] = {
		{ "a: &x 1\nb: *x\n", "{\"a\":1,\"b\":1}" },
		{ "a: &x [1, {k: v}]\nb: *x\n", "{\"a\":[1,{\"k\":\"v\"}],\"b\":[1,{\"k\":\"v\"}]}" },
		{ "a: &x 1\nb: &x 2\nc: *x\n", "{\"a\":1,\"b\":2,\"c\":2}" },
		{ "&k key: *k\n", "{\"key\":\"key\"}" },
		{ "a: &x 1.0\n*x : b\n", "{\"1\":\"b\",\"a\":1}" },
		{ "b: &b {x: 1, z: 2}\nm:\n  <<: *b\n  z: 3\n", "{\"b\":{\"x\":1,\"z\":2},\"m\":{\"x\":1,\"z\":3}}" },
		/* a merge overwrites what stands before it, as in go-yaml v2 */
		{ "b: &b {x: 1, z: 2}\nm:\n  z: 3\n  <<: *b\n", "{\"b\":{\"x\":1,\"z\":2},\"m\":{\"x\":1,\"z\":2}}" },
		{ "a: &a {x: 1}\nb: &b {x: 2, z: 2}\nm:\n  <<: [*a, *b]\n",
		  "{\"a\":{\"x\":1},\"b\":{\"x\":2,\"z\":2},\"m\":{\"x\":1,\"z\":2}}" },
		{ "m:\n  <<: {x: 1}\n  z: 1\n", "{\"m\":{\"x\":1,\"z\":1}}" },
		{ "m:\n  !!merge <<: {x: 1}\n", "{\"m\":{\"x\":1}}" },
		{ "m:\n  '<<': {x: 1}\n", "{\"m\":{\"<<\":{\"x\":1}}}" },
		{ "a: &a {x: 1}\nb: &b {<<: *a, w: 2}\nc: {<<: *b, z: 3}\n",
		  "{\"a\":{\"x\":1},\"b\":{\"w\":2,\"x\":1},\"c\":{\"w\":2,\"x\":1,\"z\":3}}" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_reads(span_of(rows[i].yaml), 0, rows[i].json);
	assert_refused(SPAN("a: *x\n"), 0, ERR_INVALID_REQUEST, WRONG "yaml: unknown anchor 'x' referenced");
	assert_refused(SPAN("a: &x [*x]\n"), 0, ERR_INVALID_REQUEST, WRONG "yaml: anchor 'x' value contains itself");
	assert_refused(SPAN("a: &x {b: {c: *x}}\n"), 0, ERR_INVALID_REQUEST, WRONG "yaml: anchor 'x' value contains itself");
	assert_refused(SPAN("a: &x {<<: *x}\n"), 0, ERR_INVALID_REQUEST, WRONG "yaml: anchor 'x' value contains itself");
	static const char *const no_maps[] = { "<<: 1\n", "<<: [1]\n", "a: &a 1\n<<: *a\n", "a: &a [1]\nb: {<<: [*a]}\n" };
	for (size_t i = 0; i < ARRAY_LEN(no_maps); i++)
		assert_refused(span_of(no_maps[i]), 0, ERR_INVALID_REQUEST,
			       WRONG "yaml: map merge requires map or sequence of maps as the value");
	/* strict: a merged key that is there */
	assert_refused(SPAN("b: &b {x: 1}\nm:\n  x: 3\n  <<: *b\n"), YAML_STRICT, ERR_INVALID_REQUEST,
		       WRONG "yaml: unmarshal errors:\n  line 1: key \"x\" already set in map");
}

/* What an alias stands for is a copy: changing one leaves the other. */
static void test_alias_copies(void **state)
{
	auto_arena struct arena a = {};
	struct json v;
	assert_int_equal(yaml_parse(&a, SPAN("a: &x [1]\nb: *x\n"), 0, NULL, &v, NULL), 0);
	json_push(&a, json_getl(&v, "a"), json_int(2));
	json_getl(&v, "a")->items[0] = json_int(9);
	assert_json(&v, "", "{\"a\":[9,2],\"b\":[1]}");
}

/* ---- bombs and bounds */
static void test_bombs(void **state)
{
	auto_buf struct buf b = {};
	/* a billion laughs */
	buf_str(&b, "a: &a [x,x,x,x,x,x,x,x,x,x]\n");
	for (char c = 'b'; c <= 'i'; c++) {
		buf_printf(&b, "%c: &%c [", c, c);
		for (int i = 0; i < 10; i++)
			buf_printf(&b, "%s*%c", i ? "," : "", c - 1);
		buf_str(&b, "]\n");
	}
	assert_refused(buf_span(&b), 0, ERR_TOO_LARGE, WRONG "yaml: document contains excessive aliasing");
	/* by merging */
	buf_trunc(&b, 0);
	buf_str(&b, "a: &a {x: 1}\n");
	for (char c = 'b'; c <= 'z'; c++) {
		buf_printf(&b, "%c: &%c {<<: [", c, c);
		for (int i = 0; i < 10; i++)
			buf_printf(&b, "%s*%c", i ? "," : "", c - 1);
		buf_str(&b, "]}\n");
	}
	assert_refused(buf_span(&b), 0, ERR_TOO_LARGE, WRONG "yaml: document contains excessive aliasing");
	/* go-yaml's own case: 1000 kB of maps, 100 times */
	buf_trunc(&b, 0);
	buf_str(&b, "{a: &a [{a}");
	for (int i = 0; i < 1000 * 1024 / 4 - 100; i++)
		buf_str(&b, ",{a}");
	buf_str(&b, "], b: &b [*a");
	for (int i = 0; i < 99; i++)
		buf_str(&b, ",*a");
	buf_str(&b, "]}");
	assert_refused(buf_span(&b), 0, ERR_TOO_LARGE, WRONG "yaml: document contains excessive aliasing");
	/* many aliases of little things are fine */
	buf_trunc(&b, 0);
	buf_str(&b, "a: &a x\nb:\n");
	for (int i = 0; i < 50; i++)
		buf_str(&b, "- *a\n");
	auto_arena struct arena a = {};
	struct json v;
	assert_int_equal(yaml_parse(&a, buf_span(&b), 0, NULL, &v, NULL), 0);
}

static void test_limits(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json v;
	struct json_limits limits = { .bytes = 5 };
	assert_int_equal(yaml_parse(&a, SPAN("a: 12"), 0, &limits, &v, NULL), 0);
	assert_int_equal(yaml_parse(&a, SPAN("a: 123"), 0, &limits, &v, &err), -ERR_TOO_LARGE);
	limits = (struct json_limits){ .depth = 3 };
	assert_int_equal(yaml_parse(&a, SPAN("- - - 1"), 0, &limits, &v, NULL), 0);
	assert_int_equal(yaml_parse(&a, SPAN("- - - - 1"), 0, &limits, &v, &err), -ERR_TOO_LARGE);
	assert_string_equal(err_msg(&err), WRONG "yaml: exceeded max depth of 3");
	/* deep by aliases only */
	assert_int_equal(yaml_parse(&a, SPAN("- &a [1]\n- &b [*a]\n- &c [*b]\n"), 0, &limits, &v, &err), -ERR_TOO_LARGE);
	limits = (struct json_limits){ .nodes = 4 };
	assert_int_equal(yaml_parse(&a, SPAN("[1, 2]"), 0, &limits, &v, NULL), 0);
	assert_int_equal(yaml_parse(&a, SPAN("[1, 2, 3, 4]"), 0, &limits, &v, &err), -ERR_TOO_LARGE);
	assert_string_equal(err_msg(&err), WRONG "yaml: line 1: more than 4 values");
	static const char *const deep[] = { "[", "- ", "{a: ", "? " };
	for (size_t i = 0; i < ARRAY_LEN(deep); i++) {
		auto_buf struct buf b = {};
		for (int k = 0; k < 100000; k++)
			buf_str(&b, deep[i]);
		assert_int_equal(yaml_parse(&a, buf_span(&b), 0, NULL, &v, &err), -ERR_TOO_LARGE);
		assert_string_equal(err_msg(&err), WRONG "yaml: exceeded max depth of 512");
	}
	auto_buf struct buf b = {};
	for (int k = 0; k < 1000; k++)
		buf_str(&b, "- ");
	limits = (struct json_limits){ .depth = 5000 };
	assert_int_equal(yaml_parse(&a, buf_span(&b), 0, &limits, &v, NULL), 0);
	buf_str(&b, "- ");
	assert_int_equal(yaml_parse(&a, buf_span(&b), 0, &limits, &v, NULL), -ERR_TOO_LARGE);
}

/* ---- messages */
static void test_messages(void **state)
{
	static const struct {
		const char *yaml, *msg;
	} rows[] = {
		{ "a: 1\nb: 2\nc: d: e\n", "yaml: line 3: mapping values are not allowed in this context" },
		{ "a: b: c\n", "yaml: mapping values are not allowed in this context" },
		{ "a:\n  b: 1\n c: 2\n", "yaml: line 2: did not find expected key" },
		{ "a: [1, 2\nb: 3\n", "yaml: line 1: did not find expected ',' or ']'" },
		{ "a:\n\t- b\n", "yaml: line 2: found character that cannot start any token" },
		{ "a: \"x\n", "yaml: line 2: found unexpected end of stream" },
		{ "a: 'b\n\n\nc\n", "yaml: line 5: found unexpected end of stream" },
		{ "- a\nb: c\n", "yaml: line 1: did not find expected '-' indicator" },
		{ "a: %x\n", "yaml: found character that cannot start any token" },
		{ "a: @x\n", "yaml: found character that cannot start any token" },
		{ "a: !x!y z\n", "yaml: found undefined tag handle" },
		{ "a: 1\nb\nc: 3\n", "yaml: line 3: could not find expected ':'" },
		{ "a: \x01\n", "yaml: control characters are not allowed" },
		{ "a: \xff\n", "yaml: invalid leading UTF-8 octet" },
		{ "a: \xc3(\n", "yaml: invalid trailing UTF-8 octet" },
		{ "a: \"\\q\"\n", "yaml: found unknown escape character" },
		{ "v: [A,", "yaml: line 1: did not find expected node content" },
		{ "v:\n- [A,", "yaml: line 2: did not find expected node content" },
		{ "a:\n- b: *,", "yaml: line 2: did not find expected alphabetic or numeric character" },
		{ "value: -", "yaml: block sequence entries are not allowed in this context" },
		{ "a:\n  1:\nb\n  2:", "yaml: line 4: could not find expected ':'" },
		{ "a: .inf\n", "json: unsupported value: +Inf" },
		{ "a: -.INF\n", "json: unsupported value: -Inf" },
		{ "- .NaN\n", "json: unsupported value: NaN" },
		{ ".nan", "json: unsupported value: NaN" },
		{ "a: !!int x\n", "yaml: cannot decode !!str `x` as a !!int" },
		{ "a: !!int 1.5\n", "yaml: cannot decode !!float `1.5` as a !!int" },
		{ "a: !!bool 1\n", "yaml: cannot decode !!int `1` as a !!bool" },
		{ "a: !!null x\n", "yaml: cannot decode !!str `x` as a !!null" },
		{ "a: !!float x\n", "yaml: cannot decode !!str `x` as a !!float" },
		{ "a: !!timestamp x\n", "yaml: cannot decode !!str `x` as a !!timestamp" },
		{ "a: !!binary '*'\n", "yaml: !!binary value contains invalid base64 data" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf msg = {};
		buf_printf(&msg, WRONG "%s", rows[i].msg);
		assert_refused(span_of(rows[i].yaml), 0, ERR_INVALID_REQUEST, buf_cstr(&msg));
	}
}

/* ---- documents */
static void test_documents(void **state)
{
	assert_reads(SPAN(""), 0, "null");
	assert_reads(SPAN("# nothing\n"), 0, "null");
	assert_reads(SPAN("---\n...\n"), 0, "null");
	assert_reads(SPAN("--- {a: 1}\n---\nb: 2\n"), 0, "{\"a\":1}");
	assert_reads(SPAN("%YAML 1.1\n---\na: 1\n"), 0, "{\"a\":1}");
	assert_reads(SPAN("\xef\xbb\xbf" "a: 1\n"), 0, "{\"a\":1}");
	/* where libyaml and go-yaml v2 part: yaml.h */
	assert_reads(SPAN("%YAML 1.2\n---\na: [a?b]\n"), 0, "{\"a\":[\"a?b\"]}");
	assert_refused(SPAN("a: [a:]\n"), 0, ERR_INVALID_REQUEST, WRONG "yaml: found unexpected ':'");
}

static void test_stream(void **state)
{
	static const struct {
		const char *text;
		const char *docs; /* line of each, and its JSON */
	} rows[] = {
		{ "", "" },
		{ "\n\n# only\n", "" },
		{ "---\n", "" },
		{ "a: 1\n", "1 {\"a\":1}\n" },
		{ "---\na: 1\n---\nb: 2\n", "1 {\"a\":1}\n4 {\"b\":2}\n" },
		{ "a: 1\n--- # comment\n# empty\n---\n---  \nb: 2", "1 {\"a\":1}\n5 {\"b\":2}\n" },
		{ "a: |\n  x\n  ---\n  y\n---\n- 1\n", "1 {\"a\":\"x\\n---\\ny\\n\"}\n6 [1]\n" },
		{ "a: 1\r\n---\r\nb: 2\r\n", "1 {\"a\":1}\n3 {\"b\":2}\n" },
		{ "null\n---\n~\n---\nfalse\n", "5 false\n" },
		/* the same anchor in two documents */
		{ "a: &x 1\nb: *x\n---\na: &x 2\nb: *x\n", "1 {\"a\":1,\"b\":1}\n4 {\"a\":2,\"b\":2}\n" },
		{ " {\"a\":1}\n{\"b\":2}{\"c\":3}", "1 {\"a\":1}\n2 {\"b\":2}\n2 {\"c\":3}\n" },
		{ "{\"a\":1}\n---\nb: 2\n---\n{\"c\":3}\n", "1 {\"a\":1}\n3 {\"b\":2}\n5 {\"c\":3}\n" },
		{ "{a: 1}\n---\n{\"a\":\n 2}\n", "1 {\"a\":1}\n3 {\"a\":2}\n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf got = {};
		auto_err struct err err = ERR_INIT;
		struct yaml_stream s = yaml_stream(span_of(rows[i].text));
		struct json v;
		int r;
		while ((r = yaml_next(&s, &a, YAML_STRICT, NULL, &v, &err)) == 0) {
			buf_printf(&got, "%zu ", s.doc_line);
			json_write(&got, &v, 0);
			buf_chr(&got, '\n');
		}
		if (r != -ERR_NOT_FOUND)
			fail_msg("%s: %s", rows[i].text, err_msg(&err));
		assert_string_equal(buf_cstr(&got), rows[i].docs);
	}
}

/* A bad document is told with its place; the stream goes on behind it. */
static void test_stream_bad(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct yaml_stream s = yaml_stream(SPAN("a: 1\n---\nx: 1\ny: z: 2\n---\nb: 2\n---\n{\"c\":,}\n---\nd: 4\n"));
	struct json v;
	assert_int_equal(yaml_next(&s, &a, 0, NULL, &v, &err), 0);
	assert_int_equal(yaml_next(&s, &a, 0, NULL, &v, &err), -ERR_INVALID_REQUEST);
	assert_int_equal(s.doc_line, 3);
	assert_string_equal(err_msg(&err), WRONG "yaml: line 2: mapping values are not allowed in this context");
	assert_int_equal(yaml_next(&s, &a, 0, NULL, &v, &err), 0);
	assert_json(&v, "", "{\"b\":2}");
	assert_int_equal(yaml_next(&s, &a, 0, NULL, &v, &err), 0);
	assert_json(&v, "", "{\"c\":null}");
	assert_int_equal(yaml_next(&s, &a, 0, NULL, &v, &err), 0);
	assert_int_equal(yaml_next(&s, &a, 0, NULL, &v, &err), -ERR_NOT_FOUND);
	s = yaml_stream(SPAN("{\"c\": 1 1}\n"));
	assert_int_equal(yaml_next(&s, &a, 0, NULL, &v, &err), 0); /* YAML: the string "1 1" */
	s = yaml_stream(SPAN("{\"c\": \n 1 ]\n"));
	assert_int_equal(yaml_next(&s, &a, 0, NULL, &v, &err), -ERR_INVALID_REQUEST);
	assert_string_equal(err_msg(&err), "line 2, column 4: expected ',' or '}' after a member, found ']'");
	assert_true(yaml_is_json(SPAN(" \n\t{")));
	assert_false(yaml_is_json(SPAN("a: {")));
	assert_false(yaml_is_json(SPAN("[1]")));
	assert_false(yaml_is_json(SPAN("")));
}

/* Every prefix of a text with everything in it ends in a result, never in a crash. */
static void test_truncated(void **state)
{
	static const char whole[] = "%YAML 1.1\n---\n? &a !!str \"k\\u00e9y\\x41\"\n: - 'it''s'\n  - |+2\n     lit\n\n  - >-\n    folded\n"
				    "    text\n  - {<<: &m {x: 1}, y: [*a, ~]}\n  - *m\n\xc3\xa9: !!binary aGk=\n...\n";
	for (size_t n = 0; n < sizeof(whole); n++) {
		auto_arena struct arena a = {};
		char *text = mem_alloc(n + !n);
		memcpy(text, whole, n);
		struct json v;
		int r = yaml_parse(&a, span_make(text, n), 0, NULL, &v, NULL);
		assert_true(r == 0 || r == -ERR_INVALID_REQUEST);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scalars),	  cmocka_unit_test(test_keys),
		cmocka_unit_test(test_repeated_keys), cmocka_unit_test(test_aliases),
		cmocka_unit_test(test_alias_copies), cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_limits),	  cmocka_unit_test(test_messages),
		cmocka_unit_test(test_documents), cmocka_unit_test(test_stream),
		cmocka_unit_test(test_stream_bad), cmocka_unit_test(test_truncated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
