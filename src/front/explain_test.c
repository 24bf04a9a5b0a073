/* The pure part of explain: wrapping, and documents that a server of ours would not send. Its layout is compared with the real
 * kubectl's in tests/82-kubectl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front/explain.c"

static void test_wrap(void **state)
{
	static const struct { unsigned width; const char *text, *want; } rows[] = {
		{ 10, "", "  " },
		{ 10, "short", "  short" },
		{ 10, "one two three four", "  one two\n  three four" },
		{ 10, "one  two   three", "  one  two\n  three" },
		{ 10, "1234567890", "  1234567890" },
		{ 10, "12345678901 x", "  12345678901\n  x" },
		{ 10, "a 1234567890123", "  a\n  1234567890123" },
		{ 10, "line\nend\n", "  line\n  end\n  " },
		{ 10, "line  \n\n  in", "  line  \n  \n    in" },
		{ 10, "123456789   \nx", "  123456789\n  x" },
		{ 10, "\xc3\xa4\xc3\xb6\xc3\xbc \xc3\xa4\xc3\xb6\xc3\xbc \xc3\xa4\xc3\xb6\xc3\xbc",
		  "  \xc3\xa4\xc3\xb6\xc3\xbc \xc3\xa4\xc3\xb6\xc3\xbc\n  \xc3\xa4\xc3\xb6\xc3\xbc" },
		{ 10, "a\xc2\xa0" "b cd efghi", "  a\xc2\xa0" "b cd\n  efghi" },
		{ 10, "bad \xff bytes", "  bad \xff\n  bytes" },
		{ 10, "\033[2J\r\x7f", "  ^[[2J^M^?" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf out = {};
		wrap(&out, span_of(rows[i].text), rows[i].width, 2);
		assert_string_equal(buf_cstr(&out), rows[i].want);
	}
}

#define KIND "{\"group\":\"g\",\"version\":\"v1\",\"kind\":\"Thing\"}"
#define HEAD "GROUP:      g\nKIND:       Thing\nVERSION:    v1\n\n"

/* A document whose kind has the schema `thing`, with `others` beside it. */
static int print(const char *thing, const char *others, const char *path, bool recursive, struct buf *out, struct err *err)
{
	static const struct resource r = { SPAN_INIT("g"), SPAN_INIT("v1"), SPAN_INIT("things") };
	auto_arena struct arena a = {};
	auto_buf struct buf text = {};
	struct front_words words = {};
	struct span rest = span_of(path), part;
	struct json doc;
	buf_printf(&text, "{\"paths\":{\"/apis/g/v1/things\":{\"get\":{\"x-kubernetes-group-version-kind\":" KIND "}}},\"components\":"
		   "{\"schemas\":{\"a.Thing\":{\"x-kubernetes-group-version-kind\":[" KIND "],%s}%s}}}", thing, others);
	assert_int_equal(json_parse(&a, buf_span(&text), 0, NULL, &doc, err), 0);
	while (span_cut(&rest, '.', &part))
		front_words_add(&a, &words, part);
	return print_kind(&doc, &r, &words, recursive, out, err);
}

static void test_print(void **state)
{
#define SELF "\"description\":\"itself\",\"properties\":{\"self\":{\"$ref\":\"#/components/schemas/a.Self\"},\"end\":{\"type\":\"string\"}}"
	static const struct { const char *thing, *others, *path; bool recursive; const char *want, *complaint; } rows[] = {
		/* in the order of names; what must be there; no description */
		{ "\"properties\":{\"b\":{\"type\":\"string\"},\"a\":{\"type\":\"integer\",\"description\":\"first\"}},\"required\":[\"b\"]", "", "", false,
		  HEAD "DESCRIPTION:\n    <empty>\nFIELDS:\n  a\t<integer>\n    first\n\n  b\t<string> -required-\n    <no description>\n\n\n", NULL },
		/* a schema that holds itself ends where it is met again */
		{ "\"properties\":{\"s\":{\"allOf\":[{\"$ref\":\"#/components/schemas/a.Self\"}]}}", ",\"a.Self\":{" SELF "}", "", true,
		  HEAD "DESCRIPTION:\n    <empty>\nFIELDS:\n  s\t<Self>\n    end\t<string>\n    self\t<Self>\n\n", NULL },
		{ "\"properties\":{\"s\":{\"$ref\":\"#/components/schemas/a.Self\"}}", ",\"a.Self\":{" SELF "}", "s.self.self.end", false,
		  HEAD "FIELD: end <string>\n\n\nDESCRIPTION:\n    <empty>\n\n", NULL },
		/* a reference into nothing is a name */
		{ "\"properties\":{\"s\":{\"$ref\":\"#/components/schemas/x.Gone\"}}", "", "", true,
		  HEAD "DESCRIPTION:\n    <empty>\nFIELDS:\n  s\t<Gone>\n\n", NULL },
		{ "\"properties\":{\"s\":{\"$ref\":\"#/components/schemas/x.Gone\"}}", "", "s.t", false, HEAD, "field \"t\" does not exist" },
		/* lists that hold themselves */
		{ "\"items\":{\"$ref\":\"#/components/schemas/a.L\"}", ",\"a.L\":{\"items\":{\"$ref\":\"#/components/schemas/a.L\"}}", "x", false, HEAD,
		  "field \"x\" does not exist" },
		{ "\"items\":{\"$ref\":\"#/components/schemas/a.L\"}", ",\"a.L\":{\"items\":{\"$ref\":\"#/components/schemas/a.L\"}}", "", false, HEAD,
		  "the schema is nested deeper than 128 levels" },
		/* values of an enum: the first four, then all */
		{ "\"properties\":{\"e\":{\"type\":\"string\",\"enum\":[\"\",1,10000000,true,null]}}", "", "", true,
		  HEAD "DESCRIPTION:\n    <empty>\nFIELDS:\n  e\t<string>\n  enum: \"\", 1, 1e+07, true, ....\n\n", NULL },
		{ "\"properties\":{\"e\":{\"type\":\"string\",\"enum\":[\"\",1,10000000,true,null]}}", "", "e", true,
		  HEAD "FIELD: e <string>\nENUM:\n    \"\"\n    1\n    1e+07\n    true\n    <no value>\n\nDESCRIPTION:\n    <empty>\n\n", NULL },
		/* nothing of the wrong shape is believed */
		{ "\"properties\":[1],\"items\":true,\"allOf\":{\"a\":1},\"description\":7", "", "", true, HEAD "DESCRIPTION:\n    <empty>\n\n", NULL },
		{ "\"properties\":{\"\\u001b[2J\":{\"type\":\"\\u001b\",\"description\":\"\\u001b\"}}", "", "", false,
		  HEAD "DESCRIPTION:\n    <empty>\nFIELDS:\n  ^[[2J\t<^[>\n    ^[\n\n\n", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		int rc = print(rows[i].thing, rows[i].others, rows[i].path, rows[i].recursive, &out, &err);
		assert_string_equal(buf_cstr(&out), rows[i].want);
		assert_string_equal(rc < 0 ? err_msg(&err) : "", rows[i].complaint ? rows[i].complaint : "");
	}
}

/* References that branch: 2 to the power of 40 schemas. */
static void test_branching(void **state)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf out = {}, others = {};
	for (int i = 0; i < 40; i++)
		buf_printf(&others, ",\"r%d\":{\"allOf\":[{\"$ref\":\"#/components/schemas/r%d\"},{\"$ref\":\"#/components/schemas/r%d\"}]}", i, i + 1,
			   i + 1);
	assert_int_equal(print("\"allOf\":[{\"$ref\":\"#/components/schemas/r0\"}]", buf_cstr(&others), "", true, &out, &err), -ERR_TOO_LARGE);
	assert_string_equal(err_msg(&err), "the schema has too many parts");
	assert_string_equal(buf_cstr(&out), HEAD);
}

/* A resource without paths, and a kind without a schema. */
static void test_nothing(void **state)
{
	static const struct resource r = { SPAN_INIT("g"), SPAN_INIT("v1"), SPAN_INIT("things") };
	static const char *const rows[][2] = {
		{ "{}", "GVR (g/v1, Resource=things) not found in OpenAPI schema" },
		{ "{\"paths\":{\"/apis/g/v1/namespaces/{namespace}/things\":{\"post\":{\"x-kubernetes-group-version-kind\":" KIND "}}}}",
		  "GVK map[group:g kind:Thing version:v1] not found in OpenAPI schema" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		struct json doc;
		assert_int_equal(json_parse(&a, span_of(rows[i][0]), 0, NULL, &doc, &err), 0);
		assert_int_equal(print_kind(&doc, &r, &(struct front_words){}, false, &out, &err), -ERR_NOT_FOUND);
		assert_string_equal(err_msg(&err), rows[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrap), cmocka_unit_test(test_print), cmocka_unit_test(test_branching), cmocka_unit_test(test_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
