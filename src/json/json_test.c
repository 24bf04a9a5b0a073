#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "json/chance_test.h"
#include "json/json.h"
#include "json/scan.h"

/* ---- helpers */
static struct json parse_ok(struct arena *a, struct span text, unsigned flags)
{
	struct json v = JSON_NULL_VALUE;
	auto_err struct err err = ERR_INIT;
	if (json_parse(a, text, flags, NULL, &v, &err) < 0)
		fail_msg("refused: %.*s\n%s", SPAN_ARG(text), err_msg(&err));
	return v;
}

static void assert_written(const struct json *v, unsigned style, const char *expected)
{
	auto_buf struct buf b = {};
	json_write(&b, v, style);
	assert_string_equal(buf_cstr(&b), expected);
	assert_int_equal(b.len, strlen(expected));
	/* The same through a buf with a limit that it just fits, and one byte less. */
	auto_buf struct buf tight = { .limit = b.len };
	json_write(&tight, v, style);
	assert_false(buf_overflowed(&tight));
	assert_true(span_eq(buf_span(&tight), buf_span(&b)));
	if (b.len > 1) {
		auto_buf struct buf small = { .limit = b.len - 1 };
		json_write(&small, v, style);
		assert_true(buf_overflowed(&small));
		assert_true(small.len <= b.len - 1);
	}
}

/* ---- what is JSON and what is not */
#define ROW(text, out) { SPAN_INIT(text), out }
static const struct {
	struct span text;
	const char *written;
} accepted[] = {
	ROW("null", "null"),
	ROW("true", "true"),
	ROW("false", "false"),
	ROW(" \t\r\n1\n", "1"),
	ROW("\"\"", "\"\""),
	ROW("[]", "[]"),
	ROW("{}", "{}"),
	ROW("[ ]", "[]"),
	ROW("{ \n }", "{}"),
	ROW("[[]   ]", "[[]]"),
	ROW("[1,null,true,false,\"x\",{},[]]", "[1,null,true,false,\"x\",{},[]]"),
	ROW("{\"\":0}", "{\"\":0}"),
	ROW("{\"a\":{\"b\":{\"c\":[1,[2,[3]]]}}}", "{\"a\":{\"b\":{\"c\":[1,[2,[3]]]}}}"),
	ROW("{\"a\" :\t1 ,\r\n\"b\": 2}", "{\"a\":1,\"b\":2}"),
	ROW("{\"z\":1,\"a\":2}", "{\"z\":1,\"a\":2}"),
	ROW("{\"a\\u0000b\":1}", "{\"a\\u0000b\":1}"),
	ROW("[0]", "[0]"),
	ROW("[-0]", "[-0]"),
	ROW("[-0.0]", "[-0]"),
	ROW("[0e1]", "[0]"),
	ROW("[0e+1]", "[0]"),
	ROW("[0E-1]", "[0]"),
	ROW("[1E22]", "[1e+22]"),
	ROW("[20e1]", "[200]"),
	ROW("[123e-2]", "[1.23]"),
	ROW("[-1]", "[-1]"),
	ROW("[1.5]", "[1.5]"),
	ROW("[1.0]", "[1]"),
	ROW("[-123]", "[-123]"),
	ROW("[123.456e78]", "[1.23456e+80]"),
	ROW("[9223372036854775807]", "[9223372036854775807]"),
	ROW("[9223372036854775808]", "[9223372036854775808]"),
	ROW("[-9223372036854775808]", "[-9223372036854775808]"),
	ROW("[-9223372036854775809]", "[-9223372036854776000]"),
	ROW("[18446744073709551615]", "[18446744073709551615]"),
	ROW("[18446744073709551616]", "[18446744073709552000]"),
	ROW("[99999999999999999999]", "[100000000000000000000]"),
	ROW("[19999999999999999999]", "[20000000000000000000]"),
	ROW("[10000000000000000000]", "[10000000000000000000]"),
	ROW("[1e-400]", "[0]"),
	ROW("[-1e-400]", "[-0]"),
	ROW("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""),
	ROW("\"\\u0060\\u012a\\u12AB\"", "\"`\u012a\u12ab\""),
	ROW("\"\\u0022\\u005c\"", "\"\\\"\\\\\""),
	ROW("\"\\u001f\\u007f\"", "\"\\u001f\x7f\""),
	ROW("\"\\ud83d\\ude00\"", "\"\U0001f600\""),
	ROW("\"\\uD834\\uDd1e\"", "\"\U0001d11e\""),
	ROW("\"\\uDBFF\\uDFFF\"", "\"\U0010ffff\""),
	ROW("\"\\uFFFF\\ufdd0\"", "\"\uffff\ufdd0\""),
	/* half a pair: U+FFFD, what follows keeps its meaning */
	ROW("\"\\ud800\"", "\"\ufffd\""),
	ROW("\"\\udc00\"", "\"\ufffd\""),
	ROW("\"\\ud800x\"", "\"\ufffdx\""),
	ROW("\"\\ud800\\n\"", "\"\ufffd\\n\""),
	ROW("\"\\ud800\\u0041\"", "\"\ufffdA\""),
	ROW("\"\\ud800\\ud800\\udc00\"", "\"\ufffd\U00010000\""),
	ROW("\"\\udc00\\ud800\"", "\"\ufffd\ufffd\""),
	ROW("\"\\u2028\\u2029\"", "\"\\u2028\\u2029\""),
	ROW("\"\u2028\u2029\u202a\"", "\"\\u2028\\u2029\u202a\""),
	ROW("\"\x7f\"", "\"\x7f\""),
	ROW("\"\u00e9\u4e2d\U0001f600\"", "\"\u00e9\u4e2d\U0001f600\""),
	ROW("\"\xf4\x8f\xbf\xbf\"", "\"\xf4\x8f\xbf\xbf\""),
	ROW("\"/*x*/ // #\"", "\"/*x*/ // #\""),
	ROW("\"0123456789abcdef\\n0123456789abcdef\"", "\"0123456789abcdef\\n0123456789abcdef\""),
};

static void test_accepts(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
		for (unsigned flags = 0; flags <= JSON_BORROW; flags++) {
			auto_arena struct arena a = {};
			/* An allocation of exactly this size: a sanitizer sees the first byte read past it. */
			char *text = mem_alloc(accepted[i].text.len);
			memcpy(text, accepted[i].text.ptr, accepted[i].text.len);
			struct json v = parse_ok(&a, span_make(text, accepted[i].text.len), flags);
			assert_written(&v, 0, accepted[i].written);
			auto_err struct err err = ERR_INIT;
			if (json_check(span_make(text, accepted[i].text.len), NULL, &err) < 0)
				fail_msg("json_check refused %s: %s", text, err_msg(&err));
			free(text);
		}
	}
}

#undef ROW
#define ROW(text, msg) { SPAN_INIT(text), msg }
static const struct {
	struct span text;
	const char *msg;
} refused[] = {
	ROW("", "line 1, column 1: expected a value, found the end of the text"),
	ROW("  \n ", "line 2, column 2: expected a value, found the end of the text"),
	ROW("[", "line 1, column 2: expected a value, found the end of the text"),
	ROW("]", "line 1, column 1: expected a value, found ']'"),
	ROW("[1", "line 1, column 3: expected ',' or ']' after an item, found the end of the text"),
	ROW("[1,", "line 1, column 4: expected a value, found the end of the text"),
	ROW("[1,]", "line 1, column 4: expected a value, found ']'"),
	ROW("[,1]", "line 1, column 2: expected a value, found ','"),
	ROW("[1,,2]", "line 1, column 4: expected a value, found ','"),
	ROW("[1 2]", "line 1, column 4: expected ',' or ']' after an item, found '2'"),
	ROW("[1}", "line 1, column 3: expected ',' or ']' after an item, found '}'"),
	ROW("[1:2]", "line 1, column 3: expected ',' or ']' after an item, found ':'"),
	ROW("{", "line 1, column 2: expected a name in quotes or '}', found the end of the text"),
	ROW("{1:2}", "line 1, column 2: expected a name in quotes or '}', found '1'"),
	ROW("{\"a\"", "line 1, column 5: expected ':' after a name, found the end of the text"),
	ROW("{\"a\",1}", "line 1, column 5: expected ':' after a name, found ','"),
	ROW("{\"a\":}", "line 1, column 6: expected a value, found '}'"),
	ROW("{\"a\":1,}", "line 1, column 8: expected a name in quotes, found '}'"),
	ROW("{\"a\":1 \"b\":2}", "line 1, column 8: expected ',' or '}' after a member, found '\"'"),
	ROW("{\"a\":1]", "line 1, column 7: expected ',' or '}' after a member, found ']'"),
	ROW("{a:1}", "line 1, column 2: expected a name in quotes or '}', found 'a'"),
	ROW("{'a':1}", "line 1, column 2: expected a name in quotes or '}', found '''"),
	ROW("{\n  \"a\": 1,\n  \"b\": [1, 2;\n}", "line 3, column 13: expected ',' or ']' after an item, found ';'"),
	ROW("[]]", "line 1, column 3: expected the end of the text, found ']'"),
	ROW("1 2", "line 1, column 3: expected the end of the text, found '2'"),
	ROW("{}\0", "line 1, column 3: expected the end of the text, found byte 0x00"),
	ROW("nul", "line 1, column 1: expected a value, found 'n'"),
	ROW("nulll", "line 1, column 5: expected the end of the text, found 'l'"),
	ROW("True", "line 1, column 1: expected a value, found 'T'"),
	ROW("[tru]", "line 1, column 2: expected a value, found 't'"),
	ROW("[falsy]", "line 1, column 2: expected a value, found 'f'"),
	ROW("NaN", "line 1, column 1: expected a value, found 'N'"),
	ROW("Infinity", "line 1, column 1: expected a value, found 'I'"),
	ROW("-Infinity", "line 1, column 2: expected a digit, found 'I'"),
	ROW("+1", "line 1, column 1: expected a value, found '+'"),
	ROW("-", "line 1, column 2: expected a digit, found the end of the text"),
	ROW("--1", "line 1, column 2: expected a digit, found '-'"),
	ROW(".5", "line 1, column 1: expected a value, found '.'"),
	ROW("-.5", "line 1, column 2: expected a digit, found '.'"),
	ROW("1.", "line 1, column 3: expected a digit behind the decimal point, found the end of the text"),
	ROW("[1.e1]", "line 1, column 4: expected a digit behind the decimal point, found 'e'"),
	ROW("1.5.5", "line 1, column 4: expected the end of the text, found '.'"),
	ROW("1e", "line 1, column 3: expected a digit in the exponent, found the end of the text"),
	ROW("1e+", "line 1, column 4: expected a digit in the exponent, found the end of the text"),
	ROW("1e1.5", "line 1, column 4: expected the end of the text, found '.'"),
	ROW("1eE2", "line 1, column 3: expected a digit in the exponent, found 'E'"),
	ROW("01", "line 1, column 1: a number must not begin with 0"),
	ROW("-01", "line 1, column 2: a number must not begin with 0"),
	ROW("00.5", "line 1, column 1: a number must not begin with 0"),
	ROW("0x10", "line 1, column 2: expected the end of the text, found 'x'"),
	ROW("1_000", "line 1, column 2: expected the end of the text, found '_'"),
	ROW("1e400", "line 1, column 1: number 1e400 is beyond the range of a double"),
	ROW("[-1e400]", "line 1, column 2: number -1e400 is beyond the range of a double"),
	ROW("1e99999999999999999999", "line 1, column 1: number 1e99999999999999999999 is beyond the range of a double"),
	ROW("\xef\xbc\x91", "line 1, column 1: expected a value, found byte 0xef"),
	ROW("\xef\xbb\xbf{}", "line 1, column 1: expected a value, found byte 0xef"),
	ROW("[\xc2\xa0]", "line 1, column 2: expected a value, found byte 0xc2"),
	ROW("[\x0c]", "line 1, column 2: expected a value, found byte 0x0c"),
	ROW("\"", "line 1, column 1: string without an end"),
	ROW("\"abc", "line 1, column 1: string without an end"),
	ROW("\"0123456789abcdef0123456789", "line 1, column 1: string without an end"),
	ROW("\"\\", "line 1, column 2: string without an end"),
	ROW("\"\\\"", "line 1, column 1: string without an end"),
	ROW("\"\\x41\"", "line 1, column 3: unknown escape: backslash and 'x'"),
	ROW("\"\\'\"", "line 1, column 3: unknown escape: backslash and '''"),
	ROW("\"\\U0041\"", "line 1, column 3: unknown escape: backslash and 'U'"),
	ROW("\"\\\0\"", "line 1, column 3: unknown escape: backslash and byte 0x00"),
	ROW("\"\\u\"", "line 1, column 2: \\u needs four hexadecimal digits"),
	ROW("\"\\u004", "line 1, column 2: \\u needs four hexadecimal digits"),
	ROW("\"\\u00g0\"", "line 1, column 2: \\u needs four hexadecimal digits"),
	ROW("\"\\ud800\\u00\"", "line 1, column 8: \\u needs four hexadecimal digits"),
	ROW("\"a\nb\"", "line 1, column 3: control character 0x0a in a string must be escaped"),
	ROW("\"a\tb\"", "line 1, column 3: control character 0x09 in a string must be escaped"),
	ROW("\"a\0b\"", "line 1, column 3: control character 0x00 in a string must be escaped"),
	ROW("\"\x1f\"", "line 1, column 2: control character 0x1f in a string must be escaped"),
	ROW("\"\xff\"", "line 1, column 2: byte 0xff is not valid UTF-8"),
	ROW("\"\x80\"", "line 1, column 2: byte 0x80 is not valid UTF-8"),
	ROW("\"\xc3\"", "line 1, column 2: byte 0xc3 is not valid UTF-8"),
	ROW("\"\xc0\x80\"", "line 1, column 2: byte 0xc0 is not valid UTF-8"),
	ROW("\"\xe0\x80\x80\"", "line 1, column 2: byte 0xe0 is not valid UTF-8"),
	ROW("\"\xed\xa0\x80\"", "line 1, column 2: byte 0xed is not valid UTF-8"),
	ROW("\"\xf4\x90\x80\x80\"", "line 1, column 2: byte 0xf4 is not valid UTF-8"),
	ROW("\"\xf8\x88\x80\x80\x80\"", "line 1, column 2: byte 0xf8 is not valid UTF-8"),
	ROW("\"\xe4\xb8", "line 1, column 2: byte 0xe4 is not valid UTF-8"),
	ROW("{\"\xff\":1}", "line 1, column 3: byte 0xff is not valid UTF-8"),
	ROW("[1] // no", "line 1, column 5: expected the end of the text, found '/'"),
	ROW("/**/1", "line 1, column 1: expected a value, found '/'"),
	ROW("{\"a\":1,\n\"b\":2, \"a\":3}", "line 2, column 8: name \"a\" is there twice"),
	ROW("{\"a\":1,\"\\u0061\":3}", "line 1, column 8: name \"a\" is there twice"),
	ROW("[{\"\":1,\"\":1}]", "line 1, column 8: name \"\" is there twice"),
};

static void test_refuses(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		for (unsigned flags = 0; flags <= JSON_BORROW; flags++) {
			auto_arena struct arena a = {};
			auto_err struct err err = ERR_INIT;
			struct json v = json_int(77);
			char *text = mem_alloc(refused[i].text.len + !refused[i].text.len);
			memcpy(text, refused[i].text.ptr, refused[i].text.len);
			struct span s = span_make(text, refused[i].text.len);
			if (json_parse(&a, s, flags, NULL, &v, &err) != -ERR_INVALID_REQUEST)
				fail_msg("row %zu taken: %.*s", i, SPAN_ARG(refused[i].text));
			assert_string_equal(err_msg(&err), refused[i].msg);
			assert_int_equal(err.class, ERR_INVALID_REQUEST);
			assert_int_equal(v.i, 77);
			assert_int_equal(json_parse(&a, s, flags, NULL, &v, NULL), -ERR_INVALID_REQUEST);
			assert_int_equal(json_check(s, NULL, NULL), -ERR_INVALID_REQUEST);
			free(text);
		}
	}
}

/* Every prefix of a valid object is refused, none read past its end. */
static void test_truncated(void **state)
{
	static const char whole[] = "{\"a\":[1,-2.5e3,true,null,\"x\\u00e9\xc3\xa9\\ud83d\\ude00\"],\"b\":{\"c\":{}}}";
	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		char *text = mem_alloc(n + !n);
		memcpy(text, whole, n);
		auto_arena struct arena a = {};
		struct json v;
		assert_int_equal(json_parse(&a, span_make(text, n), 0, NULL, &v, NULL), -ERR_INVALID_REQUEST);
		assert_int_equal(json_check(span_make(text, n), NULL, NULL), -ERR_INVALID_REQUEST);
		free(text);
	}
	assert_int_equal(json_check(SPAN("1"), NULL, NULL), 0);
}

static void test_kinds(void **state)
{
	auto_arena struct arena a = {};
	struct json v = parse_ok(&a, SPAN("[1,-1,9223372036854775807,9223372036854775808,-9223372036854775808,1.0,-0,1e2,"
					  "\"s\",true,null,{}]"), 0);
	static const uint8_t kinds[] = { JSON_INT, JSON_INT, JSON_INT, JSON_UINT, JSON_INT, JSON_DOUBLE, JSON_DOUBLE,
					 JSON_DOUBLE, JSON_STRING, JSON_BOOL, JSON_NULL, JSON_OBJECT };
	assert_int_equal(v.n, ARRAY_LEN(kinds));
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		assert_int_equal(v.items[i].kind, kinds[i]);
	assert_true(v.items[3].u == 9223372036854775808ull);
	assert_true(v.items[4].i == INT64_MIN);
	assert_true(__builtin_signbit(v.items[6].d));
	assert_int_equal(json_uint(5).kind, JSON_INT);
	assert_int_equal(json_uint(UINT64_MAX).kind, JSON_UINT);
	_Static_assert(sizeof(struct json) == 16, "a value is 16 bytes");
	_Static_assert(sizeof(struct json_member) == 32, "a member is 32 bytes");
}

/* ---- limits */
static void test_limits(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json v;
	struct json_limits limits = { .bytes = 10 };
	assert_int_equal(json_parse(&a, SPAN("[1,2,3,45]"), 0, &limits, &v, &err), 0);
	assert_int_equal(json_parse(&a, SPAN("[1,2,3,456]"), 0, &limits, &v, &err), -ERR_TOO_LARGE);
	assert_string_equal(err_msg(&err), "the text has 11 bytes, more than the limit of 10");
	limits = (struct json_limits){ .depth = 3 };
	assert_int_equal(json_parse(&a, SPAN("[{\"a\":[1]},[[]]]"), 0, &limits, &v, &err), 0);
	assert_int_equal(json_parse(&a, SPAN("[[],[[[]]]]"), 0, &limits, &v, &err), -ERR_TOO_LARGE);
	assert_string_equal(err_msg(&err), "line 1, column 7: nested deeper than 3 levels");
	limits = (struct json_limits){ .nodes = 4 };
	assert_int_equal(json_parse(&a, SPAN("[1,{\"a\":2}]"), 0, &limits, &v, &err), 0);
	assert_int_equal(json_parse(&a, SPAN("[1,{\"a\":2},3]"), 0, &limits, &v, &err), -ERR_TOO_LARGE);
	assert_string_equal(err_msg(&err), "line 1, column 12: more than 4 values");
	assert_int_equal(json_check(SPAN("[1,{\"a\":2},3]"), &limits, NULL), -ERR_TOO_LARGE);
}

static void nested(struct buf *b, unsigned depth, const char *open, const char *close)
{
	for (unsigned i = 0; i < depth; i++)
		buf_str(b, open);
	buf_str(b, "0");
	for (unsigned i = 0; i < depth; i++)
		buf_str(b, close);
}

static void test_depth(void **state)
{
	static const struct {
		unsigned depth, limit;
		bool ok;
	} rows[] = { { 512, 0, true }, { 513, 0, false }, { 10000, 10000, true }, { 10001, 10000, false },
		     { 10001, 1000000, false }, { 200000, 0, false } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (int object = 0; object < 2; object++) {
			auto_arena struct arena a = {};
			auto_buf struct buf b = {}, again = {};
			nested(&b, rows[i].depth, object ? "{\"k\":" : "[", object ? "}" : "]");
			struct json_limits limits = { .depth = rows[i].limit };
			struct json v;
			int r = json_parse(&a, buf_span(&b), 0, &limits, &v, NULL);
			assert_int_equal(r, rows[i].ok ? 0 : -ERR_TOO_LARGE);
			assert_int_equal(json_check(buf_span(&b), &limits, NULL), r);
			if (r < 0)
				continue;
			/* Writer, copy, equality and sort at that depth. */
			json_write(&again, &v, JSON_SORTED);
			assert_true(span_eq(buf_span(&b), buf_span(&again)));
			struct json copy = json_copy(&a, &v);
			json_sort(&copy);
			assert_true(json_equal(&v, &copy));
		}
	}
}

/* ---- repeated names */
static void test_duplicates(void **state)
{
	auto_arena struct arena a = {};
	struct json v = parse_ok(&a, SPAN("{\"a\":1,\"b\":2,\"a\":[3],\"c\":4,\"b\":5}"), JSON_DUPLICATES_LAST);
	assert_written(&v, 0, "{\"a\":[3],\"b\":5,\"c\":4}");
	v = parse_ok(&a, SPAN("{\"a\":1,\"b\":2,\"a\":[3]}"), JSON_DUPLICATES_KEEP);
	assert_written(&v, 0, "{\"a\":1,\"b\":2,\"a\":[3]}");
	assert_written(&v, JSON_SORTED, "{\"a\":1,\"a\":[3],\"b\":2}");
	/* names of one length that differ in one place only, so that fingerprints meet */
	v = parse_ok(&a, SPAN("{\"aaaaXaaaa\":1,\"aaaaYaaaa\":2,\"axb\":3,\"ayb\":4,\"ab\":5,\"abb\":6}"), 0);
	assert_int_equal(v.n, 6);
}

/* Sizes around the change from pairs to the table, and far beyond. */
static void test_duplicates_many(void **state)
{
	static const unsigned sizes[] = { 2, 15, 16, 17, 18, 31, 32, 33, 64, 65, 1000, 50000 };
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		unsigned n = sizes[i];
		auto_arena struct arena a = {};
		auto_buf struct buf b = {};
		buf_chr(&b, '{');
		for (unsigned k = 0; k < n; k++)
			buf_printf(&b, "%s\"name-%u\":%u", k ? "," : "", k, k);
		size_t unique = b.len;
		buf_chr(&b, '}');
		struct json v = parse_ok(&a, buf_span(&b), JSON_BORROW);
		assert_int_equal(v.n, n);
		buf_trunc(&b, unique);
		buf_printf(&b, ",\n\"name-%u\":-1}", n / 2);
		auto_err struct err err = ERR_INIT;
		assert_int_equal(json_parse(&a, buf_span(&b), 0, NULL, &v, &err), -ERR_INVALID_REQUEST);
		char expected[80];
		snprintf(expected, sizeof(expected), "line 2, column 1: name \"name-%u\" is there twice", n / 2);
		assert_string_equal(err_msg(&err), expected);
		assert_int_equal(json_check(buf_span(&b), NULL, NULL), -ERR_INVALID_REQUEST);
		v = parse_ok(&a, buf_span(&b), JSON_DUPLICATES_LAST);
		assert_int_equal(v.n, n);
		assert_int_equal(v.members[n / 2].value.i, -1);
		assert_int_equal(v.members[n - 1].mark, 0);
		v = parse_ok(&a, buf_span(&b), JSON_DUPLICATES_KEEP);
		assert_int_equal(v.n, n + 1);
	}
}

/* ---- bad UTF-8, borrowing */
static void test_bad_utf8_replaced(void **state)
{
	static const struct {
		struct span text;
		const char *out;
	} rows[] = {
		{ SPAN_INIT("\"a\xff" "b\""), "\"a\ufffd" "b\"" },
		{ SPAN_INIT("\"\xe4\xb8\""), "\"\ufffd\ufffd\"" },
		{ SPAN_INIT("\"\xed\xa0\x80\""), "\"\ufffd\ufffd\ufffd\"" },
		{ SPAN_INIT("\"\xc3\xa9\xc3\""), "\"\u00e9\ufffd\"" },
		{ SPAN_INIT("{\"\xff\":\"\\n\xfe\"}"), "{\"\ufffd\":\"\\n\ufffd\"}" },
	};
	auto_arena struct arena a = {};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json v = parse_ok(&a, rows[i].text, JSON_REPLACE_BAD_UTF8);
		assert_written(&v, 0, rows[i].out);
	}
	/* in a tree that nobody checked */
	struct json v = json_str(SPAN("x\xffy\xe2\x80"));
	assert_written(&v, 0, "\"x\\ufffdy\\ufffd\\ufffd\"");
}

static void test_borrow(void **state)
{
	auto_arena struct arena a = {};
	struct span text = SPAN("{\"key\":\"value\",\"k\\u0065y2\":\"va\\nlue\"}");
	struct json v = parse_ok(&a, text, JSON_BORROW);
	assert_ptr_equal(v.members[0].key, text.ptr + 2);
	assert_ptr_equal(v.members[0].value.str, text.ptr + 8);
	assert_false(v.members[1].key >= text.ptr && v.members[1].key < text.ptr + text.len);
	assert_true(span_is(json_span(json_getl(&v, "key2")), "va\nlue"));
	/* Without it the text may go. */
	char *gone = mem_dup(text.ptr, text.len);
	v = parse_ok(&a, span_make(gone, text.len), 0);
	memset(gone, 'x', text.len);
	free(gone);
	assert_written(&v, 0, "{\"key\":\"value\",\"key2\":\"va\\nlue\"}");
}

/* ---- streams */
static void test_next(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct span rest = SPAN(" {\"a\":1}\n[2]3 \"x\"true{}\n");
	static const char *const values[] = { "{\"a\":1}", "[2]", "3", "\"x\"", "true", "{}" };
	struct json v;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		assert_int_equal(json_parse_next(&a, &rest, 0, NULL, &v, &err), 0);
		assert_written(&v, 0, values[i]);
	}
	assert_int_equal(json_parse_next(&a, &rest, 0, NULL, &v, &err), -ERR_NOT_FOUND);
	assert_int_equal(rest.len, 0);
	rest = SPAN("1 [");
	assert_int_equal(json_parse_next(&a, &rest, 0, NULL, &v, &err), 0);
	assert_int_equal(json_parse_next(&a, &rest, 0, NULL, &v, &err), -ERR_INVALID_REQUEST);
	assert_true(span_is(rest, " ["));
	rest = SPAN_EMPTY;
	assert_int_equal(json_parse_next(&a, &rest, 0, NULL, &v, NULL), -ERR_NOT_FOUND);
}

/* ---- reading and changing */
static void test_read(void **state)
{
	auto_arena struct arena a = {};
	struct json v = parse_ok(&a, SPAN("{\"spec\":{\"nodeName\":\"n1\",\"n\":2.0,\"t\":true,\"z\":null,\"big\":1e300}}"), 0);
	assert_true(span_is(json_span(json_path(&v, "spec", "nodeName", NULL)), "n1"));
	assert_null(json_path(&v, "spec", "none", "x", NULL));
	assert_null(json_path(&v, "spec", "nodeName", "x", NULL));
	assert_ptr_equal(json_path(&v, NULL), &v);
	struct json *spec = json_getl(&v, "spec");
	assert_int_equal(json_i64(json_getl(spec, "n"), -1), 2);
	assert_int_equal(json_i64(json_getl(spec, "big"), -1), -1);
	assert_int_equal(json_i64(json_getl(spec, "t"), -1), -1);
	assert_int_equal(json_i64(NULL, 7), 7);
	assert_true(json_truth(json_getl(spec, "t"), false));
	assert_true(json_truth(json_getl(spec, "n"), true));
	assert_true(json_is(json_getl(spec, "z"), JSON_NULL));
	assert_null(json_getl(spec, "absent"));
	assert_null(json_getl(NULL, "absent"));
	assert_null(json_member(json_getl(spec, "n"), SPAN("x")));
	assert_int_equal(json_span(json_getl(spec, "n")).len, 0);
	struct json half = json_double(2.5), edge = json_double(-0x1p63), over = json_double(0x1p63);
	assert_int_equal(json_i64(&half, -1), -1);
	assert_true(json_i64(&edge, -1) == INT64_MIN);
	assert_int_equal(json_i64(&over, -1), -1);
	unsigned n = 0;
	JSON_EACH_MEMBER(spec, m)
		n += m->key_len;
	assert_int_equal(n, 8 + 1 + 1 + 1 + 3);
	JSON_EACH_ITEM(spec, item)
		fail_msg("an object has no items (%p)", (void *)item);
}

/* Arrays and objects against a plain model, from exact and grown storage. */
static void test_change_model(void **state)
{
	uint64_t seed = seed_of_run();
	for (int round = 0; round < 200; round++) {
		auto_arena struct arena a = {};
		int64_t model[400];
		uint32_t n = 0;
		struct json v = json_array();
		if (round & 1) {
			v = parse_ok(&a, SPAN("[1,2,3,4,5]"), 0);
			for (; n < 5; n++)
				model[n] = n + 1;
		}
		for (int step = 0; step < 300; step++) {
			uint64_t r = chance(&seed);
			uint32_t at = n ? (uint32_t)(r >> 8) % n : 0;
			if (r % 8 < 3 || n == 0) {
				json_push(&a, &v, json_int((int64_t)(r >> 32)));
				model[n++] = (int64_t)(r >> 32);
			} else if (r % 8 < 5) {
				json_insert(&a, &v, at, json_int((int64_t)(r >> 32)));
				memmove(model + at + 1, model + at, (n - at) * sizeof(*model));
				model[at] = (int64_t)(r >> 32);
				n++;
			} else {
				json_remove_at(&v, at);
				memmove(model + at, model + at + 1, (n - at - 1) * sizeof(*model));
				n--;
			}
			assert_int_equal(v.n, n);
		}
		for (uint32_t i = 0; i < n; i++)
			assert_int_equal(v.items[i].i, model[i]);
	}
}

static void test_change_object(void **state)
{
	auto_arena struct arena a = {};
	struct json v = parse_ok(&a, SPAN("{\"a\":1,\"b\":2,\"c\":3}"), 0);
	json_setl(&a, &v, "b", json_cstr("two"));
	json_setl(&a, &v, "d", json_bool(true));
	assert_written(&v, 0, "{\"a\":1,\"b\":\"two\",\"c\":3,\"d\":true}");
	assert_true(json_remove(&v, SPAN("a")));
	assert_false(json_remove(&v, SPAN("a")));
	assert_false(json_remove(NULL, SPAN("a")));
	assert_written(&v, 0, "{\"b\":\"two\",\"c\":3,\"d\":true}");
	json_remove_at(&v, 1);
	struct json *list = json_add(&a, &v, SPAN("list"), json_array());
	json_push(&a, list, JSON_NULL_VALUE);
	json_push(&a, list, json_object());
	json_push(&a, list, (struct json){ .kind = JSON_RAW, .n = 7, .str = "{\"r\":1}" });
	assert_written(&v, 0, "{\"b\":\"two\",\"d\":true,\"list\":[null,{},{\"r\":1}]}");
	struct json e = json_object();
	for (int i = 0; i < 40; i++)
		json_set(&a, &e, arena_printf(&a, "k%d", i % 20), json_int(i));
	assert_int_equal(e.n, 20);
	assert_int_equal(json_i64(json_getl(&e, "k7"), 0), 27);
}

static void test_copy(void **state)
{
	auto_arena struct arena a = {};
	struct json v, copy;
	{
		auto_arena struct arena b = {};
		v = parse_ok(&b, SPAN("{\"a\":[1,\"x\",{\"k\":{}}],\"e\":[],\"s\":\"long enough to be a piece of its own\"}"), 0);
		v.mark = 5;
		json_add(&b, &v, SPAN("raw"), (struct json){ .kind = JSON_RAW, .n = 2, .str = "{}" });
		v.members[1].mark = 9;
		copy = json_copy(&a, &v);
		assert_true(json_equal(&v, &copy));
	}
	assert_int_equal(copy.mark, 5);
	assert_int_equal(copy.members[1].mark, 9);
	assert_written(&copy, 0,
		       "{\"a\":[1,\"x\",{\"k\":{}}],\"e\":[],\"s\":\"long enough to be a piece of its own\",\"raw\":{}}");
	json_push(&a, json_getl(&copy, "e"), json_int(1));
	json_push(&a, json_getl(&copy, "a"), json_int(4));
	assert_written(json_getl(&copy, "a"), 0, "[1,\"x\",{\"k\":{}},4]");
}

static void test_equal(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
		{ "null", "null", true },
		{ "null", "false", false },
		{ "true", "true", true },
		{ "true", "false", false },
		{ "1", "1.0", true },
		{ "1", "2", false },
		{ "0", "-0", true },
		{ "9007199254740993", "9007199254740992.0", false },
		{ "18446744073709551615", "18446744073709551615", true },
		{ "18446744073709551615", "18446744073709551614", false },
		{ "9223372036854775808", "9223372036854775808.0", true },
		{ "18446744073709551615", "18446744073709551615.0", false },
		{ "-1", "18446744073709551615", false },
		{ "1.5", "1.5", true },
		{ "1", "\"1\"", false },
		{ "\"a\"", "\"a\"", true },
		{ "\"a\"", "\"b\"", false },
		{ "[1,2]", "[1,2]", true },
		{ "[1,2]", "[2,1]", false },
		{ "[1]", "[1,1]", false },
		{ "[]", "{}", false },
		{ "{\"a\":1,\"b\":{\"c\":2,\"d\":3}}", "{\"b\":{\"d\":3,\"c\":2},\"a\":1.0}", true },
		{ "{\"a\":1,\"b\":2}", "{\"b\":1,\"a\":2}", false },
		{ "{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}", false },
		{ "{\"a\":1}", "{\"a\":null}", false },
		{ "{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":1}", false },
		{ "{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}", true },
		{ "{\"x\":0,\"a\":1,\"a\":2}", "{\"a\":1,\"x\":0,\"a\":2}", true },
		{ "{\"x\":0,\"a\":1,\"a\":2}", "{\"a\":2,\"x\":0,\"a\":1}", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json x = parse_ok(&a, span_of(rows[i].a), JSON_DUPLICATES_KEEP);
		struct json y = parse_ok(&a, span_of(rows[i].b), JSON_DUPLICATES_KEEP);
		if (json_equal(&x, &y) != rows[i].same || json_equal(&y, &x) != rows[i].same)
			fail_msg("%s and %s: equal is not %d", rows[i].a, rows[i].b, rows[i].same);
	}
}

static void test_sort(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf b = {};
	struct json v = parse_ok(&a, SPAN("{\"b\":[{\"z\":1,\"y\":{\"q\":1,\"p\":2}}],\"a\":2,\"B\":3,\"\":4,\"aa\":5,\"\u00e9\":6}"), 0);
	assert_written(&v, JSON_SORTED,
		       "{\"\":4,\"B\":3,\"a\":2,\"aa\":5,\"b\":[{\"y\":{\"p\":2,\"q\":1},\"z\":1}],\"\u00e9\":6}");
	assert_written(&v, 0, "{\"b\":[{\"z\":1,\"y\":{\"q\":1,\"p\":2}}],\"a\":2,\"B\":3,\"\":4,\"aa\":5,\"\u00e9\":6}");
	json_sort(&v);
	assert_written(&v, 0,
		       "{\"\":4,\"B\":3,\"a\":2,\"aa\":5,\"b\":[{\"y\":{\"p\":2,\"q\":1},\"z\":1}],\"\u00e9\":6}");
	uint64_t seed = seed_of_run();
	struct json big = json_object();
	for (int i = 0; i < 3000; i++)
		json_add(&a, &big, arena_printf(&a, "k%u", (unsigned)(chance(&seed) % 1000)), json_int(i));
	json_write(&b, &big, JSON_SORTED);
	json_sort(&big);
	for (uint32_t i = 1; i < big.n; i++) {
		int c = span_cmp(json_key(big.members + i - 1), json_key(big.members + i));
		assert_true(c < 0 || (c == 0 && big.members[i - 1].value.i < big.members[i].value.i));
	}
	assert_written(&big, 0, buf_cstr(&b));
}

/* ---- what scans fast scans right */
static void test_scan(void **state)
{
	uint64_t seed = seed_of_run();
	static const char special[] = "\"\\<>&\n\x1f\x80\xff\x7f !";
	for (int round = 0; round < 20000; round++) {
		char text[80];
		size_t n = chance(&seed) % sizeof(text);
		for (size_t i = 0; i < n; i++)
			text[i] = (char)('a' + chance(&seed) % 26);
		for (size_t k = n ? chance(&seed) % 3 : 0; k; k--)
			text[chance(&seed) % n] = special[chance(&seed) % (sizeof(special) - 1)];
		for (int html = 0; html < 2; html++) {
			const char *slow = text;
			while (slow < text + n && scan_is_plain((unsigned char)*slow) && !(html && strchr("<>&", *slow)))
				slow++;
			assert_ptr_equal(scan_plain(text, text + n, html), slow);
			assert_ptr_equal(scan_plain_portable(text, text + n, html), slow);
		}
		memset(text, ' ', n);
		for (size_t k = n ? chance(&seed) % 4 : 0; k; k--)
			text[chance(&seed) % n] = " \n\t\rx\0"[chance(&seed) % 6];
		const char *slow = text;
		while (slow < text + n && *slow && strchr(" \n\t\r", *slow))
			slow++;
		assert_ptr_equal(scan_blanks(text, text + n), slow);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepts),		cmocka_unit_test(test_refuses),
		cmocka_unit_test(test_truncated),	cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_limits),		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_duplicates),	cmocka_unit_test(test_duplicates_many),
		cmocka_unit_test(test_bad_utf8_replaced), cmocka_unit_test(test_borrow),
		cmocka_unit_test(test_next),		cmocka_unit_test(test_read),
		cmocka_unit_test(test_change_model),	cmocka_unit_test(test_change_object),
		cmocka_unit_test(test_copy),		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_sort),		cmocka_unit_test(test_scan),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
