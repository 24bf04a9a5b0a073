#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>

#include "yaml/private.h"
#include "yaml/yaml.h"

static const char fixtures[] = "tests/fixtures/roundtrip";

static void assert_writes(const char *json, const char *expected)
{
	auto_arena struct arena a = {};
	auto_buf struct buf b = {};
	struct json v, back;
	auto_err struct err err = ERR_INIT;
	if (json_parse(&a, span_of(json), JSON_DUPLICATES_KEEP, NULL, &v, &err) < 0)
		fail_msg("%s: %s", json, err_msg(&err));
	yaml_write(&b, &v);
	if (!span_is(buf_span(&b), expected))
		fail_msg("\n%s\ngives\n%s\nexpected\n%s", json, buf_cstr(&b), expected);
	if (yaml_parse(&a, buf_span(&b), 0, NULL, &back, &err) < 0)
		fail_msg("\n%s\ngives\n%s\nwhich is refused: %s", json, buf_cstr(&b), err_msg(&err));
	if (!json_equal(&v, &back)) {
		auto_buf struct buf other = {};
		json_write(&other, &back, 0);
		fail_msg("\n%s\ngives\n%s\nwhich reads back as\n%s", json, buf_cstr(&b), buf_cstr(&other));
	}
}

/* ---- strings: what go-yaml v2 prints for a value */
#define LONG60 "aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee fffffffff "
static const struct {
	const char *json, *yaml;
} values[] = {
	{ "\"\"", "\"\"\n" },
	{ "\"a\"", "a\n" },
	{ "\"hello world\"", "hello world\n" },
	{ "null", "null\n" },
	{ "true", "true\n" },
	{ "[]", "[]\n" },
	{ "{}", "{}\n" },
	/* words that would resolve */
	{ "\"null\"", "\"null\"\n" },
	{ "\"~\"", "\"~\"\n" },
	{ "\"true\"", "\"true\"\n" },
	{ "\"yes\"", "\"yes\"\n" },
	{ "\"y\"", "\"y\"\n" },
	{ "\"N\"", "\"N\"\n" },
	{ "\"Off\"", "\"Off\"\n" },
	{ "\"oFF\"", "oFF\n" },
	{ "\"0\"", "\"0\"\n" },
	{ "\"12\"", "\"12\"\n" },
	{ "\"-1.5\"", "\"-1.5\"\n" },
	{ "\"1e3\"", "\"1e3\"\n" },
	{ "\"1e400\"", "1e400\n" },
	{ "\"0x1F\"", "\"0x1F\"\n" },
	{ "\"0644\"", "\"0644\"\n" },
	{ "\"0o7\"", "\"0o7\"\n" },
	{ "\"1_000\"", "\"1_000\"\n" },
	{ "\".5\"", "\".5\"\n" },
	{ "\".inf\"", "\".inf\"\n" },
	{ "\".NaN\"", "\".NaN\"\n" },
	{ "\"1.2.3\"", "1.2.3\n" },
	{ "\"100m\"", "100m\n" },
	{ "\"1Gi\"", "1Gi\n" },
	{ "\"5e\"", "5e\n" },
	/* times */
	{ "\"2008-01-01T01:01:01Z\"", "\"2008-01-01T01:01:01Z\"\n" },
	{ "\"2008-01-01T01:01:01.123456Z\"", "\"2008-01-01T01:01:01.123456Z\"\n" },
	{ "\"2008-01-01T01:01:01+02:00\"", "\"2008-01-01T01:01:01+02:00\"\n" },
	{ "\"2008-01-01\"", "\"2008-01-01\"\n" },
	{ "\"2008-1-1\"", "\"2008-1-1\"\n" },
	{ "\"2008-13-01\"", "2008-13-01\n" },
	{ "\"2007-02-29\"", "2007-02-29\n" },
	{ "\"2008-02-29\"", "\"2008-02-29\"\n" },
	{ "\"2008-01-01 10:00:00\"", "\"2008-01-01 10:00:00\"\n" },
	{ "\"2008-01-01 10:00:00Z\"", "2008-01-01 10:00:00Z\n" },
	{ "\"2008-01-01T10:00:00\"", "2008-01-01T10:00:00\n" },
	{ "\"2008-01-01T24:00:00Z\"", "2008-01-01T24:00:00Z\n" },
	/* base 60 */
	{ "\"1:30\"", "\"1:30\"\n" },
	{ "\"12:30:45.5\"", "\"12:30:45.5\"\n" },
	{ "\"1:70\"", "1:70\n" },
	{ "\"10:20:30:40\"", "\"10:20:30:40\"\n" },
	{ "\"1_0:59\"", "\"1_0:59\"\n" },
	{ "\"8080:80\"", "8080:80\n" },
	{ "\"8080:8\"", "\"8080:8\"\n" },
	{ "\"1:2a\"", "1:2a\n" },
	/* indicators */
	{ "\"- a\"", "'- a'\n" },
	{ "\"-a\"", "-a\n" },
	{ "\"-\"", "'-'\n" },
	{ "\"--\"", "--\n" },
	{ "\"--flag=x\"", "--flag=x\n" },
	{ "\"---\"", "'---'\n" },
	{ "\"---a\"", "'---a'\n" },
	{ "\"...\"", "'...'\n" },
	{ "\"? a\"", "'? a'\n" },
	{ "\"?a\"", "?a\n" },
	{ "\":a\"", ":a\n" },
	{ "\": a\"", "': a'\n" },
	{ "\":\"", "':'\n" },
	{ "\"a:\"", "'a:'\n" },
	{ "\"a: b\"", "'a: b'\n" },
	{ "\"a:b\"", "a:b\n" },
	{ "\"a #b\"", "'a #b'\n" },
	{ "\"a#b\"", "a#b\n" },
	{ "\"#a\"", "'#a'\n" },
	{ "\"*\"", "'*'\n" },
	{ "\"*a\"", "'*a'\n" },
	{ "\"&a\"", "'&a'\n" },
	{ "\"!a\"", "'!a'\n" },
	{ "\"|\"", "'|'\n" },
	{ "\">a\"", "'>a'\n" },
	{ "\"%a\"", "'%a'\n" },
	{ "\"@a\"", "'@a'\n" },
	{ "\"`a\"", "'`a'\n" },
	{ "\"[a]\"", "'[a]'\n" },
	{ "\"{a}\"", "'{a}'\n" },
	{ "\",a\"", "',a'\n" },
	{ "\"a,b [c] {d}\"", "a,b [c] {d}\n" },
	{ "\"'a\"", "'''a'\n" },
	{ "\"it's\"", "it's\n" },
	{ "\"it's: x\"", "'it''s: x'\n" },
	{ "\"\\\"a\\\"\"", "'\"a\"'\n" },
	{ "\"a\\\"b\"", "a\"b\n" },
	{ "\"a\\\\b\"", "a\\b\n" },
	{ "\"<<\"", "<<\n" },
	{ "\"=\"", "=\n" },
	{ "\"$(x)\"", "$(x)\n" },
	{ "\"+\"", "+\n" },
	{ "\".\"", ".\n" },
	/* blanks */
	{ "\" a\"", "' a'\n" },
	{ "\"a \"", "'a '\n" },
	{ "\" \"", "' '\n" },
	{ "\"a  b\"", "a  b\n" },
	{ "\"a\\tb\"", "\"a\\tb\"\n" },
	/* beyond ASCII */
	{ "\"\u00e9\u4e2d\"", "\u00e9\u4e2d\n" },
	{ "\"\U0001f600\"", "\"\\U0001F600\"\n" }, /* go-yaml v2 takes nothing beyond the basic plane for printable */
	{ "\"\\u0000\\u0007\\u001b\\u007f\"", "\"\\0\\a\\e\\x7F\"\n" },
	{ "\"a\\u0085b\"", "\"a\\Nb\"\n" },
	{ "\"a\\u00a0b\"", "a\u00a0b\n" },
	{ "\"a\\ufeffb\"", "\"a\\uFEFFb\"\n" },
	{ "\"\\ufeffab\"", "\"\\uFEFF\\x61\\x62\"\n" },
	{ "\"a\\ud800b\"", "a\ufffdb\n" },
	/* line breaks */
	{ "\"a\\nb\"", "|-\n  a\n  b\n" },
	{ "\"a\\nb\\n\"", "|\n  a\n  b\n" },
	{ "\"a\\n\\n\"", "|+\n  a\n\n" },
	{ "\"\\n\"", "|2+\n\n" },
	{ "\"\\na\"", "|2-\n\n  a\n" },
	{ "\" a\\nb\"", "|2-\n   a\n  b\n" },
	{ "\"a\\n b\\n\"", "|\n  a\n   b\n" },
	{ "\"a\\n\\n\\nb\\n\"", "|\n  a\n\n\n  b\n" },
	{ "\"a \\nb\"", "\"a \\nb\"\n" },
	{ "\"a\\nb \"", "\"a\\nb \"\n" },
	{ "\"a\\n\\tb\"", "\"a\\n\\tb\"\n" },
	{ "\"a\\r\\nb\"", "\"a\\r\\nb\"\n" },
	{ "\"true\\n\"", "|\n  true\n" },
	{ "\"#!/bin/sh\\necho hi\\n\"", "|\n  #!/bin/sh\n  echo hi\n" },
	{ "\"- a\\n\"", "|\n  - a\n" },
	/* long lines break at the first blank behind column 80 */
	{ "\"" LONG60 "ggggggggg hhhhhhhhh iiiiiiiii\"", LONG60 "ggggggggg hhhhhhhhh iiiiiiiii\n" },
	{ "\"" LONG60 "ggggggggg hhhhhhhhh iiiiiiiii jjj\"", LONG60 "ggggggggg hhhhhhhhh iiiiiiiii\n  jjj\n" },
	{ "\"" LONG60 "ggggggggg hhhhhhhhh i  jjj kkk\"", LONG60 "ggggggggg hhhhhhhhh i  jjj\n  kkk\n" },
	{ "\"# " LONG60 "ggggggggg hhhhhhhhh iiiiiiiii jjj\"", "'# " LONG60 "ggggggggg hhhhhhhhh\n  iiiiiiiii jjj'\n" },
	{ "\"\\t" LONG60 "ggggggggg hhhhhhhhh iiiiiiiii jjj\"", "\"\\t" LONG60 "ggggggggg hhhhhhhhh\n  iiiiiiiii jjj\"\n" },
	{ "\"\\t" LONG60 "ggggggggg hhhhhhhhh  iiiiiiiii jjj\"",
	  "\"\\t" LONG60 "ggggggggg hhhhhhhhh\n  \\ iiiiiiiii jjj\"\n" },
	{ "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n" },
	/* numbers */
	{ "0", "0\n" },
	{ "-7", "-7\n" },
	{ "18446744073709551615", "18446744073709551615\n" },
	{ "1.5", "1.5\n" },
	{ "1.0", "1\n" },
	{ "-0.0", "0\n" },
	{ "1e6", "1000000\n" },
	{ "1234567.5", "1.2345675e+06\n" },
	{ "123456.5", "123456.5\n" },
	{ "0.0001", "0.0001\n" },
	{ "0.00001", "1e-05\n" },
	{ "1.5e-7", "1.5e-07\n" },
	{ "1e20", "1e+20\n" },
	{ "1e100", "1e+100\n" },
	{ "1.7976931348623157e308", "1.7976931348623157e+308\n" },
	{ "5e-324", "5e-324\n" },
	/* containers */
	{ "[1,[2,[3]],[]]", "- 1\n- - 2\n  - - 3\n- []\n" },
	{ "[{\"a\":1,\"b\":[1,{\"c\":2}]},{}]", "- a: 1\n  b:\n  - 1\n  - c: 2\n- {}\n" },
	{ "{\"a\":{\"b\":{\"c\":null}},\"d\":[],\"e\":{}}", "a:\n  b:\n    c: null\nd: []\ne: {}\n" },
	{ "{\"a\":[{\"b\":[\"x\"]}]}", "a:\n- b:\n  - x\n" },
	{ "{\"a\":\"x\\ny\\n\",\"b\":[\"p\\nq\"]}", "a: |\n  x\n  y\nb:\n- |-\n  p\n  q\n" },
	{ "{\"a\":{\"b\":\"x\\n\\n\",\"c\":1}}", "a:\n  b: |+\n    x\n\n  c: 1\n" },
	/* keys */
	{ "{\"\":1,\"true\":2,\"1\":3,\"a b\":4,\"a: b\":5,\"a\\nb\":6}",
	  "\"\": 1\n\"1\": 3\n? |-\n  a\n  b\n: 6\na b: 4\n'a: b': 5\n\"true\": 2\n" },
	{ "{\"a\\nb\":{\"c\":1},\"a\\nc\":[1]}", "? |-\n  a\n  b\n: c: 1\n? |-\n  a\n  c\n: - 1\n" },
	{ "{\"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
	  "kkkkkkkk\":1}",
	  "? kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
	  "kkkkkkkk\n: 1\n" },
	{ "{\"long\":\"" LONG60 "ggggggggg hhhhhhhhh iiiiiiiii\"}", "long: " LONG60 "ggggggggg hhhhhhhhh\n  iiiiiiiii\n" },
	{ "{\"a\":{\"b\":[\"" LONG60 "ggggggggg hhhhhhhhh iiiiiiiii\"]}}",
	  "a:\n  b:\n  - " LONG60 "ggggggggg hhhhhhhhh\n    iiiiiiiii\n" },
	/* order: numbers in names by value, letters behind other characters */
	{ "{\"b\":1,\"a10\":2,\"a9\":3,\"a1\":4,\"a01\":5,\"B\":6,\"a-b\":7,\"a.b\":8,\"ab\":9,\"a\":10,\"1\":11,\"_\":12}",
	  "_: 12\n\"1\": 11\nB: 6\na: 10\na-b: 7\na.b: 8\na1: 4\na01: 5\na9: 3\na10: 2\nab: 9\nb: 1\n" },
};

static void test_values(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		assert_writes(values[i].json, values[i].yaml);
}

/* Each key against each other, in both directions: the strings of go-yaml's own test of its order, and some beside. */
static void test_key_order(void **state)
{
	static const char *const order[] = {
		"", ".1", ".2", ".a", "_", "0", "1", "2", "2.1", "10", "A", "a", "a\x01", "a!10", "a-b",
		"a/0001", "a/002", "a/3", "a/10", "a/11", "a/0012", "a/100", "a~10", "a1", "a01", "a10", "ab",
		"ab/1", "b/1", "b/01", "b/2", "b/02", "b/3", "b/03", "b1", "b01", "b3", "c2.10", "c10.2", "d1",
		"d7", "d7abc", "d12", "d12a", "\u00e9", "\u4e2d",
	};
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		for (size_t k = 0; k < ARRAY_LEN(order); k++) {
			int c = yaml_key_cmp(span_of(order[i]), span_of(order[k]));
			int expected = (i > k) - (i < k);
			if (c != expected)
				fail_msg("\"%s\" and \"%s\": %d, not %d", order[i], order[k], c, expected);
		}
	}
}

static void test_raw(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf b = {};
	struct json v = json_object();
	json_setl(&a, &v, "r", ((struct json){ .kind = JSON_RAW, .n = 11, .str = "{\"k\":[1,2]}" }));
	json_setl(&a, &v, "bad", json_str(SPAN("x\xff")));
	yaml_write(&b, &v);
	assert_string_equal(buf_cstr(&b), "bad: x\ufffd\nr:\n  k:\n  - 1\n  - 2\n");
}

static void test_deep(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf deep = {}, b = {};
	for (int i = 0; i < 1000; i++)
		buf_str(&deep, "{\"k\":[");
	for (int i = 0; i < 1000; i++)
		buf_str(&deep, "]}");
	struct json v;
	assert_int_equal(json_parse(&a, buf_span(&deep), 0, &(struct json_limits){ .depth = 2000 }, &v, NULL), 0);
	yaml_write(&b, &v);
	assert_true(span_starts(buf_span(&b), SPAN("k:\n- k:\n  - k:\n    - k:\n")));
}

/* ---- fixtures */
static struct span read_file(struct arena *a, const char *name, const char *ending)
{
	struct span path = arena_printf(a, "%s/%s%s", fixtures, name, ending);
	int fd = open(path.ptr, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail_msg("%s: %s", path.ptr, strerror(errno));
	char *text = arena_alloc(a, 1 << 20);
	ssize_t n = read(fd, text, 1 << 20);
	close(fd);
	assert_in_range(n, 1, (1 << 20) - 1);
	return span_make(text, (size_t)n);
}

static void test_fixtures(void **state)
{
	DIR *dir = opendir(fixtures);
	assert_non_null(dir);
	int n = 0;
	for (struct dirent *de; (de = readdir(dir));) {
		struct span name = span_of(de->d_name);
		if (!span_ends(name, SPAN(".json")))
			continue;
		auto_arena struct arena a = {};
		auto_buf struct buf b = {};
		auto_err struct err err = ERR_INIT;
		const char *stem = arena_cstr(&a, span_sub(name, 0, name.len - 5));
		struct json from_json, from_yaml;
		struct span yaml = read_file(&a, stem, ".yaml");
		if (json_parse(&a, read_file(&a, stem, ".json"), 0, NULL, &from_json, &err) < 0 ||
		    yaml_parse(&a, yaml, YAML_STRICT, NULL, &from_yaml, &err) < 0)
			fail_msg("%s: %s", stem, err_msg(&err));
		if (!json_equal(&from_json, &from_yaml))
			fail_msg("%s: YAML and JSON differ", stem);
		yaml_write(&b, &from_json);
		if (!span_eq(buf_span(&b), yaml)) {
			size_t at = 0;
			while (at < b.len && at < yaml.len && b.ptr[at] == yaml.ptr[at])
				at++;
			fail_msg("%s differs at byte %zu:\n%.60s\nexpected\n%.60s", stem, at, b.ptr + at, yaml.ptr + at);
		}
		n++;
	}
	closedir(dir);
	print_message("%d fixtures\n", n);
	assert_true(n >= 92);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values), cmocka_unit_test(test_key_order), cmocka_unit_test(test_raw),
		cmocka_unit_test(test_deep),   cmocka_unit_test(test_fixtures),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
