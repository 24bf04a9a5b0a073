#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/jsonpath.h"

static const char nodes[] =
	"{\"kind\":\"List\",\"items\":["
	"{\"kind\":\"None\",\"metadata\":{\"name\":\"127.0.0.1\",\"labels\":{\"kubernetes.io/hostname\":\"127.0.0.1\"}},"
	"\"status\":{\"capacity\":{\"cpu\":\"4\"},\"ready\":true,\"addresses\":[{\"type\":\"LegacyHostIP\",\"address\":\"127.0.0.1\"}]}},"
	"{\"kind\":\"None\",\"metadata\":{\"name\":\"127.0.0.2\",\"labels\":{\"kubernetes.io/hostname\":\"127.0.0.2\"}},"
	"\"status\":{\"capacity\":{\"cpu\":\"8\"},\"ready\":false,\"addresses\":[{\"type\":\"LegacyHostIP\",\"address\":\"127.0.0.2\"},"
	"{\"type\":\"another\",\"address\":\"127.0.0.3\"}]}}],"
	"\"users\":[{\"name\":\"myself\",\"user\":{}},{\"name\":\"e2e\",\"user\":{\"username\":\"admin\",\"password\":\"secret\"}}]}";
static const char points[] = "[{\"id\":\"i1\",\"x\":4,\"y\":-5},{\"id\":\"i2\",\"x\":-2,\"y\":-5,\"z\":1},{\"id\":\"i3\",\"x\":8,\"y\":3},"
			     "{\"id\":\"i4\",\"x\":null,\"y\":4.5}]";
static const char numbers[] = "{\"n\":[0,1,2,3,4],\"b\":[true,false],\"s\":[\"one\",\"two\",\"three\"],\"f\":[1.5,2.25],\"e\":[],"
			      "\"m\":{\"b\":2,\"a\":1},\"t\":\"ab\",\"z\":null,\"h\":\"<&>\",\"o\":{\"x\":\"<\"}}";

static void templates(void **state)
{
	(void)state;
	static const struct {
		const char *text, *data, *out, *error;
		unsigned flags;
	} rows[] = {
		{ "hello jsonpath", "null", "hello jsonpath", NULL, 0 },
		{ "", "{}", "", NULL, 0 },
		{ "{\"{\"}", "null", "{", NULL, 0 },
		{ "{.n}", numbers, "[0,1,2,3,4]", NULL, 0 },
		{ "{ .n[0] }", numbers, "0", NULL, 0 },
		{ "{$.n[-1]}", numbers, "4", NULL, 0 },
		{ "{@.n[1:3]}", numbers, "1 2", NULL, 0 },
		{ "{.n[:2]}", numbers, "0 1", NULL, 0 },
		{ "{.n[::2]}", numbers, "0 2 4", NULL, 0 },
		{ "{.n[1::2]}", numbers, "1 3", NULL, 0 },
		{ "{.n[-2:]}", numbers, "3 4", NULL, 0 },
		{ "{.n[:-3]}", numbers, "0 1", NULL, 0 },
		{ "{.n[2:2]}", numbers, "", NULL, 0 },
		{ "{.n[]}", numbers, "0", NULL, 0 },
		{ "{.n[1,3,4]}", numbers, "1 3 4", NULL, 0 },
		{ "{.n[ 0 , 2 ]}", numbers, "0 2", NULL, 0 },
		{ "{.n[*]}", numbers, "0 1 2 3 4", NULL, 0 },
		{ "{.b}", numbers, "[true,false]", NULL, 0 },
		{ "{.f}", numbers, "[1.5,2.25]", NULL, 0 },
		{ "{.m}", numbers, "{\"a\":1,\"b\":2}", NULL, 0 },
		{ "{.m.*}", numbers, "1 2", NULL, 0 },
		{ "{.t.*}", numbers, "97 98", NULL, 0 }, /* Go ranges over bytes */
		{ "{.z}", numbers, "null", NULL, 0 },
		{ "{.z[0]}", numbers, "", NULL, 0 },
		{ "{.h}{.o}", numbers, "<&>{\"x\":\"\\u003c\"}", NULL, 0 },
		{ "{['m']['a']}", numbers, "1", NULL, 0 },
		{ "{['m.a']}", numbers, "1", NULL, 0 },
		{ "{.n[?(@>2)]}", numbers, "3 4", NULL, 0 },
		{ "{.n[?(@ >= 2)]}", numbers, "2 3 4", NULL, 0 },
		{ "{.n[?(@!=2)]}", numbers, "0 1 3 4", NULL, 0 },
		{ "{.s[?(@<\"two\")]}", numbers, "one three", NULL, 0 },
		{ "{.b[?(@==true)]}", numbers, "true", NULL, 0 },
		{ "{.f[?(@<=1.5)]}", numbers, "1.5", NULL, 0 },
		{ "{.n[?(@.x)]}", numbers, "", NULL, 0 },
		{ "{true}{1}{-2.5}{\"a\\tb\\x41\\u00e9\"}", "{}", "true1-2.5a\tbA\xc3\xa9", NULL, 0 },
		{ "{'it\\'s'}", "{}", "it's", NULL, 0 },
		{ "{.a}{.b.c}-", "{}", "-", NULL, API_JSONPATH_MISSING },
		{ "{.items[*].metadata.name}", nodes, "127.0.0.1 127.0.0.2", NULL, 0 },
		{ "{range .items[*]}{.metadata.name}, {end}{.kind}", nodes, "127.0.0.1, 127.0.0.2, List", NULL, 0 },
		{ "{range .items[*]}{.metadata.name}{\"\\t\"}{end}", nodes, "127.0.0.1\t127.0.0.2\t", NULL, 0 },
		{ "{range .items[*]}{range .status.addresses[*]}{.address}, {end}{end}", nodes, "127.0.0.1, 127.0.0.2, 127.0.0.3, ",
		  NULL, 0 },
		{ "{.items[*]['metadata.name', 'status.capacity']}", nodes,
		  "127.0.0.1 127.0.0.2 {\"cpu\":\"4\"} {\"cpu\":\"8\"}", NULL, 0 },
		{ "{range .items[*]}[{.metadata.name}, {.status.capacity}] {end}", nodes,
		  "[127.0.0.1, {\"cpu\":\"4\"}] [127.0.0.2, {\"cpu\":\"8\"}] ", NULL, 0 },
		{ "{.users[?(@.name==\"e2e\")].user.password}", nodes, "secret", NULL, 0 },
		{ "{.items[0].metadata.labels.kubernetes\\.io/hostname}", nodes, "127.0.0.1", NULL, 0 },
		{ "{.items[?(@.metadata.labels.kubernetes\\.io/hostname==\"127.0.0.1\")].kind}", nodes, "None", NULL, 0 },
		{ "{.items[?(@..ready==true)].metadata.name}", nodes, "127.0.0.1", NULL, 0 },
		{ "{..name}", nodes, "127.0.0.1 127.0.0.2 myself e2e", NULL, 0 },
		{ "{...name}", nodes, "127.0.0.1 127.0.0.2 myself e2e", NULL, 0 },
		{ "{range .items[*]}{.metadata.name}{end}", "{\"items\":[]}", "", NULL, API_JSONPATH_MISSING },
		{ "{range .items[*]}{.metadata.name}{\":\"}{range @.spec.containers[*]}{.name}{\",\"}{end}{\"+\"}{end}", "{\"items\":[]}",
		  "", NULL, API_JSONPATH_MISSING },
		{ "{range .items[*]}{.metadata.name} {end}{range .users[*]}{.name} {end}!", nodes,
		  "127.0.0.1 127.0.0.2 myself e2e !", NULL, 0 },
		{ "{[?(@.z)].id}", points, "i2", NULL, 0 },
		{ "{[0]['id']}", points, "i1", NULL, 0 },
		{ "{[-1]['x']}", points, "null", NULL, 0 },
		{ "{[?(@.y>0)].id}", "[{\"id\":1,\"y\":1},{\"id\":2,\"y\":0}]", "1", NULL, 0 },
		{ "{.m}", numbers, "[\n    {\n        \"a\": 1,\n        \"b\": 2\n    }\n]\n", NULL, API_JSONPATH_AS_JSON },
		/* complaints of the parser */
		{ "{", "{}", NULL, "unclosed action", 0 },
		{ "{.a", "{}", NULL, "unclosed action", 0 },
		{ "{.a\n}", "{}", NULL, "unclosed action", 0 },
		{ "{#}", "{}", NULL, "unrecognized character in action: U+0023 '#'", 0 },
		{ "{.a[0}", "{}", NULL, "unterminated array", 0 },
		{ "{.a[x]}", "{}", NULL, "invalid array index x", 0 },
		{ "{.a[-]}", "{}", NULL, "array index - is not a number", 0 },
		{ "{.a[0,x]}", "{}", NULL, "invalid array index x", 0 },
		{ "{\"a}", "{}", NULL, "unterminated quoted string", 0 },
		{ "{\"\\q\"}", "{}", NULL, "unquote string \"\\q\" error invalid syntax", 0 },
		{ "{.a[?(@.b}", "{}", NULL, "unterminated filter", 0 },
		{ "{.a[?(@.b)}", "{}", NULL, "unclosed array expect ]", 0 },
		{ "{....a}", "{}", NULL, "invalid multiple recursive descent", 0 },
		{ "{1.2.3}", "{}", NULL, "cannot parse number 1.2.3", 0 },
		/* complaints of the run */
		{ "{hello}", "{}", NULL, "unrecognized identifier hello", 0 },
		{ "{.hello}", "{}", NULL, "hello is not found", 0 },
		{ "{end}", "{}", NULL, "not in range, nothing to end", 0 },
		{ "{range .m.*}{@}{end}{end}", numbers, NULL, "not in range, nothing to end", 0 },
		{ "{.m[0]}", numbers, NULL, "map[string]interface {} is not array or slice", 0 },
		{ "{.m[*]}", numbers, NULL, "map[string]interface {} is not array or slice", 0 },
		{ "{.t[0]}", numbers, NULL, "string is not array or slice", 0 },
		{ "{.n[7]}", numbers, NULL, "array index out of bounds: index 7, length 5", 0 },
		{ "{.n[-9]}", numbers, NULL, "array index out of bounds: index -4, length 5", 0 },
		{ "{.n[1:9]}", numbers, NULL, "array index out of bounds: index 8, length 5", 0 },
		{ "{.n[3:1]}", numbers, NULL, "starting index 3 is greater than ending index 1", 0 },
		{ "{.n[0:2:0]}", numbers, NULL, "step must be > 0", 0 },
		{ "{.n[0:2:-1]}", numbers, NULL, "step must be > 0", 0 },
		{ "{.e[0]}", numbers, NULL, "array index out of bounds: index 0, length 0", 0 },
		{ "{.m[?(@.a)]}", numbers, NULL, "map[a:1 b:2] is not array or slice and cannot be filtered", 0 },
		{ "{.n[?(@<>1)]}", numbers, NULL, "unrecognized filter operator <>", 0 },
		{ "{.n[?(@==\"1\")]}", numbers, NULL, "incompatible types for comparison", 0 },
		{ "{.b[?(@<true)]}", numbers, NULL, "invalid type for comparison", 0 },
		{ "{[?(@.x==1)].id}", points, NULL, "invalid type for comparison", 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		struct json data;
		struct api_jsonpath *path;
		assert_int_equal(json_parse(&a, span_of(rows[i].data), 0, NULL, &data, NULL), 0);
		int rc = api_jsonpath_parse(&a, span_of(rows[i].text), &path, &err);
		if (rc == 0)
			rc = api_jsonpath_print(path, &data, rows[i].flags, &out, &err);
		if (rows[i].error) {
			if (rc != -ERR_INVALID_REQUEST || strcmp(err_msg(&err), rows[i].error))
				fail_msg("%s: got %d \"%s\" %s, want error %s", rows[i].text, rc, buf_cstr(&out), err_msg(&err),
					 rows[i].error);
		} else if (rc < 0 || strcmp(buf_cstr(&out), rows[i].out)) {
			fail_msg("%s: got %d \"%s\" %s, want \"%s\"", rows[i].text, rc, buf_cstr(&out), err_msg(&err), rows[i].out);
		}
	}
}

static void relaxed(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} rows[] = { { "a.b", "{.a.b}" }, { ".a.b", "{.a.b}" }, { "{a.b}", "{.a.b}" }, { "{.a.b}", "{.a.b}" }, { "", "" },
		     { "{a", NULL }, { "a}", NULL }, { "{}", NULL }, { "{a}{b}", NULL } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf out = {};
		int rc = api_jsonpath_relaxed(span_of(rows[i].in), &out, NULL);
		if (rows[i].out)
			assert_string_equal(buf_cstr(&out), rows[i].out);
		else
			assert_int_equal(rc, -ERR_INVALID_REQUEST);
	}
}

/* Templates that multiply are cut off. */
static void bounds(void **state)
{
	(void)state;
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf text = {}, out = {};
	struct api_jsonpath *path;
	struct json data, list = json_array();
	for (int i = 0; i < 100; i++)
		json_push(&a, &list, json_int(i));
	data = json_object();
	json_setl(&a, &data, "a", list);
	buf_str(&text, "{");
	buf_str(&text, ".a[0");
	for (int i = 0; i < 20000; i++)
		buf_str(&text, ",:");
	buf_str(&text, "]}");
	assert_int_equal(api_jsonpath_parse(&a, buf_span(&text), &path, &err), 0);
	assert_int_equal(api_jsonpath_print(path, &data, 0, &out, &err), -ERR_TOO_LARGE);
	buf_trunc(&text, 0);
	buf_str(&text, "{");
	for (int i = 0; i < 40; i++)
		buf_str(&text, "[?(@.a");
	for (int i = 0; i < 40; i++)
		buf_str(&text, ")]");
	buf_str(&text, "}");
	assert_int_equal(api_jsonpath_parse(&a, buf_span(&text), &path, &err), -ERR_INVALID_REQUEST);
	buf_trunc(&text, 0);
	while (text.len <= 64 * 1024)
		buf_str(&text, "x");
	assert_int_equal(api_jsonpath_parse(&a, buf_span(&text), &path, &err), -ERR_INVALID_REQUEST);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(templates), cmocka_unit_test(relaxed), cmocka_unit_test(bounds) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
