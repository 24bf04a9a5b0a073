#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/jsonpatch.h"
#include "json/parse_test.h"

static void patches(void **state)
{
	(void)state;
	static const struct {
		const char *doc, *patch, *out, *error;
	} rows[] = {
		/* RFC 6902, appendix A */
		{ "{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]", "{\"foo\":\"bar\",\"baz\":\"qux\"}", NULL },
		{ "{\"foo\":[\"bar\",\"baz\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"qux\"}]",
		  "{\"foo\":[\"bar\",\"qux\",\"baz\"]}", NULL },
		{ "{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"remove\",\"path\":\"/baz\"}]", "{\"foo\":\"bar\"}", NULL },
		{ "{\"foo\":[\"bar\",\"qux\",\"baz\"]}", "[{\"op\":\"remove\",\"path\":\"/foo/1\"}]", "{\"foo\":[\"bar\",\"baz\"]}", NULL },
		{ "{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"replace\",\"path\":\"/baz\",\"value\":\"boo\"}]",
		  "{\"baz\":\"boo\",\"foo\":\"bar\"}", NULL },
		{ "{\"foo\":{\"bar\":\"baz\",\"waldo\":\"fred\"},\"qux\":{\"corge\":\"grault\"}}",
		  "[{\"op\":\"move\",\"from\":\"/foo/waldo\",\"path\":\"/qux/thud\"}]",
		  "{\"foo\":{\"bar\":\"baz\"},\"qux\":{\"corge\":\"grault\",\"thud\":\"fred\"}}", NULL },
		{ "{\"foo\":[\"all\",\"grass\",\"cows\",\"eat\"]}", "[{\"op\":\"move\",\"from\":\"/foo/1\",\"path\":\"/foo/3\"}]",
		  "{\"foo\":[\"all\",\"cows\",\"eat\",\"grass\"]}", NULL },
		{ "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}",
		  "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"qux\"},{\"op\":\"test\",\"path\":\"/foo/1\",\"value\":2}]",
		  "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}", NULL },
		{ "{\"foo\":[\"bar\"]}", "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":[\"abc\",\"def\"]}]",
		  "{\"foo\":[\"bar\",[\"abc\",\"def\"]]}", NULL },
		{ "{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":10},{\"op\":\"test\",\"path\":\"/~1\",\"value\":9}]",
		  "{\"/\":9,\"~1\":10}", NULL },
		{ "{\"foo\":null}", "[{\"op\":\"test\",\"path\":\"/foo\",\"value\":null}]", "{\"foo\":null}", NULL },
		{ "{\"a\":{\"b\":[1]}}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/c\"},{\"op\":\"add\",\"path\":\"/c/b/-\",\"value\":2}]",
		  "{\"a\":{\"b\":[1]},\"c\":{\"b\":[1,2]}}", NULL },
		{ "{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/-1\",\"value\":3}]", "{\"a\":[1,2,3]}", NULL },
		{ "{\"a\":[1,2]}", "[{\"op\":\"remove\",\"path\":\"/a/-1\"}]", "{\"a\":[1]}", NULL },
		{ "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/b\",\"value\":2}]", "{\"a\":1,\"b\":2}", NULL },
		{ "{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"/b\",\"path\":\"/c\"}]", "{\"a\":1,\"c\":null}", NULL },
		{ "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"x\":[]}}]", "{\"x\":[]}", NULL },
		{ "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":7}]", "{\"a\":1}", NULL },
		{ "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"\",\"value\":{\"a\":1}}]", "{\"a\":1}", NULL },
		{ "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"x/b\"}]", "{\"a\":1,\"b\":null}", NULL },
		{ "{\"\":1}", "[{\"op\":\"remove\",\"path\":\"/\"}]", "{}", NULL },
		{ "{\"a\":1}", "[]", "{\"a\":1}", NULL },
		{ "{\"baz\":\"qux\"}", "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"bar\"}]", NULL, "testing value /baz failed: test failed" },
		{ "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1.0}]", NULL, "testing value /a failed: test failed" },
		{ "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":\"1\"}]", NULL, "testing value /a failed: test failed" },
		{ "{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz/bat\",\"value\":\"qux\"}]", NULL,
		  "add operation does not apply: doc is missing path: \"/baz/bat\": missing value" },
		{ "{}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", NULL,
		  "error in remove for path: '/a': Unable to remove nonexistent key: a: missing value" },
		{ "{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/1\"}]", NULL,
		  "error in remove for path: '/a/1': Unable to access invalid index: 1: invalid index referenced" },
		{ "{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/3\",\"value\":0}]", NULL,
		  "error in add for path: '/a/3': Unable to access invalid index: 3: invalid index referenced" },
		{ "{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/x\",\"value\":0}]", NULL,
		  "error in add for path: '/a/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax" },
		{ "{\"a\":[1]}", "[{\"op\":\"replace\",\"path\":\"/a/1\",\"value\":0}]", NULL,
		  "replace operation does not apply: doc is missing key: /a/1: missing value" },
		{ "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/a/b/c\",\"value\":0}]", NULL,
		  "replace operation does not apply: doc is missing path: /a/b/c: missing value" },
		{ "{}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b\"}]", NULL,
		  "error in move for path: 'a': Unable to remove nonexistent key: a: missing value" },
		{ "{}", "[{\"op\":\"copy\",\"from\":\"/a/b\",\"path\":\"/c\"}]", NULL,
		  "copy operation does not apply: doc is missing from path: /a/b: missing value" },
		{ "{}", "[{\"op\":\"remove\",\"path\":\"\"}]", NULL,
		  "remove operation does not apply: doc is missing path: \"\": missing value" },
		{ "{}", "[{\"op\":\"add\",\"value\":1}]", NULL, "add operation failed to decode path: missing value" },
		{ "{}", "[{\"op\":\"replace\",\"value\":1}]", NULL,
		  "replace operation failed to decode path: operation missing path field: missing value" },
		{ "{}", "[{\"op\":\"move\",\"path\":\"/a\"}]", NULL,
		  "move operation failed to decode from: operation, missing from field: missing value" },
		{ "{}", "[{\"op\":\"test\",\"path\":1}]", NULL,
		  "test operation failed to decode path: json: cannot unmarshal number into Go value of type string" },
		{ "{}", "[{\"op\":\"frob\",\"path\":\"/a\"}]", NULL, "Unexpected kind: frob" },
		{ "{}", "[{}]", NULL, "Unexpected kind: unknown" },
		{ "{}", "{}", NULL, "json: cannot unmarshal object into Go value of type jsonpatch.Patch" },
		{ "{}", "[1]", NULL, "json: cannot unmarshal number into Go value of type jsonpatch.Operation" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		struct json doc = parse(&a, rows[i].doc), patch = parse(&a, rows[i].patch);
		int rc = api_json_patch(&a, &doc, &patch, NULL, &err);
		if (rows[i].error) {
			if (rc >= 0 || strcmp(err_msg(&err), rows[i].error))
				fail_msg("%s on %s:\n got  %d %s\n want %s", rows[i].patch, rows[i].doc, rc, err_msg(&err), rows[i].error);
			continue;
		}
		json_write(&out, &doc, 0);
		if (rc < 0 || strcmp(buf_cstr(&out), rows[i].out))
			fail_msg("%s on %s:\n got  %d %s %s\n want %s", rows[i].patch, rows[i].doc, rc, err_msg(&err), buf_cstr(&out),
				 rows[i].out);
	}
}

static void limits(void **state)
{
	(void)state;
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json doc = parse(&a, "{\"a\":[\"0123456789\"]}"), patch = json_array(), op;
	op = parse(&a, "{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/-\"}"); /* doubles each time */
	for (int i = 0; i < 40; i++)
		json_push(&a, &patch, op);
	assert_int_equal(api_json_patch(&a, &doc, &patch, NULL, &err), -ERR_INVALID);
	assert_non_null(strstr(err_msg(&err), "Unable to complete the copy, the accumulated size increase of copy is "));
	assert_non_null(strstr(err_msg(&err), ", exceeding the limit 3145728"));
	assert_true(a.total < 64 << 20);
	patch = json_array();
	op = parse(&a, "{\"op\":\"add\",\"path\":\"/x\",\"value\":1}");
	for (int i = 0; i < 10001; i++)
		json_push(&a, &patch, op);
	assert_int_equal(api_json_patch(&a, &doc, &patch, NULL, &err), -ERR_TOO_LARGE);
	assert_string_equal(err_msg(&err), "The allowed maximum operations in a JSON patch is 10000, got 10001");
	patch.n--;
	assert_int_equal(api_json_patch(&a, &doc, &patch, NULL, &err), 0);
	struct span unknown[1];
	patch = parse(&a, "[{\"op\":\"add\"},{\"path\":\"\",\"x\":1,\"y\":2}]");
	assert_int_equal(api_json_patch_unknown(&a, &patch, unknown, 1), 2);
	assert_true(span_is(unknown[0], "json patch unknown field \"[1].x\""));
}

static void merges(void **state)
{
	(void)state;
	static const struct {
		const char *doc, *patch, *out, *error;
	} rows[] = {
		/* RFC 7386, appendix A, as far as documents are objects */
		{ "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}", NULL },
		{ "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}", NULL },
		{ "{\"a\":\"b\"}", "{\"a\":null}", "{}", NULL },
		{ "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}", NULL },
		{ "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}", NULL },
		{ "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}", NULL },
		{ "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}", NULL },
		{ "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}", NULL },
		{ "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}", NULL },
		{ "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}", NULL },
		{ "{\"a\":1}", "{\"a\":{\"b\":null,\"c\":[null,{\"d\":null}]}}", "{\"a\":{\"c\":[null,{}]}}", NULL },
		{ "{\"a\":1}", "[1]", "[1]", NULL },
		{ "{\"a\":1}", "null", NULL, "Invalid JSON Patch" },
		{ "{\"a\":1}", "\"x\"", NULL, "Invalid JSON Patch" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		struct json doc = parse(&a, rows[i].doc), patch = parse(&a, rows[i].patch);
		int rc = api_merge_patch(&a, &doc, &patch, &err);
		if (rows[i].error) {
			assert_int_equal(rc, -ERR_INVALID_REQUEST);
			assert_string_equal(err_msg(&err), rows[i].error);
			continue;
		}
		json_write(&out, &doc, 0);
		if (rc < 0 || strcmp(buf_cstr(&out), rows[i].out))
			fail_msg("%s on %s:\n got  %d %s\n want %s", rows[i].patch, rows[i].doc, rc, buf_cstr(&out), rows[i].out);
	}
}

static struct json random_value(struct arena *a, struct rng *r, int depth)
{
	switch (rng_below(r, depth > 3 ? 3 : 5)) {
	case 0:
		return json_int((int64_t)rng_below(r, 5));
	case 1:
		return json_str(arena_printf(a, "s%d", (int)rng_below(r, 5)));
	case 2:
		return json_bool(rng_below(r, 2));
	case 3: {
		struct json v = json_array();
		for (uint64_t n = rng_below(r, 4); n > 0; n--)
			json_push(a, &v, random_value(a, r, depth + 1));
		return v;
	}
	default: {
		struct json v = json_object();
		for (uint64_t n = rng_below(r, 5); n > 0; n--)
			json_set(a, &v, arena_printf(a, "k%d", (int)rng_below(r, 6)), random_value(a, r, depth + 1));
		return v;
	}
	}
}

/* The patch between two objects makes one out of the other, and a second time changes nothing. */
static void merge_round(void **state)
{
	(void)state;
	struct rng rng;
	rng_init(&rng, 3);
	for (int i = 0; i < 5000; i++) {
		auto_arena struct arena a = {};
		struct json from = json_object(), to = json_object();
		for (int k = 0; k < 4; k++) {
			json_set(&a, &from, arena_printf(&a, "k%d", (int)rng_below(&rng, 6)), random_value(&a, &rng, 0));
			json_set(&a, &to, arena_printf(&a, "k%d", (int)rng_below(&rng, 6)), random_value(&a, &rng, 0));
		}
		struct json patch = api_merge_patch_of(&a, &from, &to);
		struct json got = json_copy(&a, &from);
		assert_int_equal(api_merge_patch(&a, &got, &patch, NULL), 0);
		assert_true(json_equal(&got, &to));
		assert_int_equal(api_merge_patch(&a, &got, &patch, NULL), 0);
		assert_true(json_equal(&got, &to));
		assert_int_equal(api_merge_patch_of(&a, &to, &to).n, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patches),
		cmocka_unit_test(limits),
		cmocka_unit_test(merges),
		cmocka_unit_test(merge_round),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
