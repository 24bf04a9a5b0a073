/* The writer: doubles and strings as Go prints them, styles, and values without a tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "json/chance_test.h"
#include "json/json.h"

static double of_bits(uint64_t bits)
{
	double d;
	memcpy(&d, &bits, sizeof(d));
	return d;
}

/* ---- doubles */
/* The first part is the table of RFC 8785 appendix B (numbers as ECMAScript prints them; Go's encoding/json chose the same
 * forms), except that Go keeps the sign of -0. */
static const struct {
	uint64_t bits;
	const char *text;
} doubles[] = {
	{ 0x0000000000000000, "0" },
	{ 0x8000000000000000, "-0" },
	{ 0x0000000000000001, "5e-324" },
	{ 0x8000000000000001, "-5e-324" },
	{ 0x7fefffffffffffff, "1.7976931348623157e+308" },
	{ 0xffefffffffffffff, "-1.7976931348623157e+308" },
	{ 0x4340000000000000, "9007199254740992" },
	{ 0xc340000000000000, "-9007199254740992" },
	{ 0x4430000000000000, "295147905179352830000" },
	{ 0x44b52d02c7e14af5, "9.999999999999997e+22" },
	{ 0x44b52d02c7e14af6, "1e+23" },
	{ 0x44b52d02c7e14af7, "1.0000000000000001e+23" },
	{ 0x444b1ae4d6e2ef4e, "999999999999999700000" },
	{ 0x444b1ae4d6e2ef4f, "999999999999999900000" },
	{ 0x444b1ae4d6e2ef50, "1e+21" },
	{ 0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7" },
	{ 0x3eb0c6f7a0b5ed8d, "0.000001" },
	{ 0x41b3de4355555553, "333333333.3333332" },
	{ 0x41b3de4355555554, "333333333.33333325" },
	{ 0x41b3de4355555555, "333333333.3333333" },
	{ 0x41b3de4355555556, "333333333.3333334" },
	{ 0x41b3de4355555557, "333333333.33333343" },
	{ 0xbecbf647612f3696, "-0.0000033333333333333333" },
	{ 0x43143ff3c1cb0959, "1424953923781206.2" },
	{ 0x7ff0000000000000, "null" },
	{ 0xfff0000000000000, "null" },
	{ 0x7ff8000000000000, "null" },
	{ 0x0010000000000000, "2.2250738585072014e-308" }, /* the least normal */
	{ 0x000fffffffffffff, "2.225073858507201e-308" },  /* the greatest denormal */
	{ 0x0000000000000002, "1e-323" },
	{ 0x000000000000000a, "5e-323" },
	/* powers of two: the gap below is half the gap above */
	{ 0x3d30000000000000, "5.684341886080802e-14" }, /* 2^-44: its nearest 16 digits, ...801, do not read back */
	{ 0x3ff0000000000000, "1" },
	{ 0x4350000000000000, "18014398509481984" },
	{ 0x4660000000000000, "1.0141204801825835e+31" }, /* 2^103 */
	{ 0x7fe0000000000000, "8.98846567431158e+307" },
};

static const struct {
	double d;
	const char *text;
} decimals[] = {
	{ 0.1, "0.1" },
	{ 0.1 + 0.2, "0.30000000000000004" },
	{ 1.0 / 3, "0.3333333333333333" },
	{ 2.0 / 3, "0.6666666666666666" },
	{ 3.141592653589793, "3.141592653589793" },
	{ -2.5, "-2.5" },
	{ 4.35, "4.35" },
	{ 0.001, "0.001" },
	{ 0.00025, "0.00025" },
	{ 1e-5, "0.00001" },
	{ 1e-7, "1e-7" },
	{ 1.5e-9, "1.5e-9" },
	{ 1e-10, "1e-10" },
	{ 1e15, "1000000000000000" },
	{ 1e20, "100000000000000000000" },
	{ 1.5e20, "150000000000000000000" },
	{ 123456789.125, "123456789.125" },
	{ 999999999.999999, "999999999.999999" },
	{ 1e9 + 0.5, "1000000000.5" },
	{ 1234567890123456.7, "1234567890123456.8" },
	{ 18446744073709551616.0, "18446744073709552000" },
	{ 1e100, "1e+100" },
	{ 99.99, "99.99" },
	{ 100.000001, "100.000001" },
	{ 0.1234567, "0.1234567" },
	{ 1e22, "1e+22" },
	{ 6.02214076e23, "6.02214076e+23" },
};

static void assert_double(double d, const char *expected)
{
	auto_buf struct buf b = {};
	json_write_double(&b, d);
	assert_string_equal(buf_cstr(&b), expected);
}

static void test_double_table(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(doubles); i++)
		assert_double(of_bits(doubles[i].bits), doubles[i].text);
	for (size_t i = 0; i < ARRAY_LEN(decimals); i++)
		assert_double(decimals[i].d, decimals[i].text);
}

/* Whether some decimal of n digits reads back as d > 0: the nearest one and its two neighbours are enough, because
 * what reads back is an interval around d. */
static bool some_decimal(double d, int n)
{
	char text[40];
	snprintf(text, sizeof(text), "%.*e", n - 1, d);
	if (strtod(text, NULL) == d)
		return true;
	char digits[24];
	digits[0] = text[0];
	memcpy(digits + 1, text + 2, (size_t)(n > 1 ? n - 1 : 0));
	digits[n] = 0;
	int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10) - (n - 1);
	uint64_t v = strtoull(digits, NULL, 10);
	for (int step = -1; step <= 1; step += 2) {
		snprintf(text, sizeof(text), "%llue%d", (unsigned long long)(v + (uint64_t)(int64_t)step), exponent);
		if (strtod(text, NULL) == d)
			return true;
	}
	return false;
}

static void check_shortest(double d)
{
	auto_buf struct buf b = {};
	json_write_double(&b, d);
	double back = strtod(buf_cstr(&b), NULL);
	if (memcmp(&back, &d, sizeof(d)) != 0)
		fail_msg("%a printed as %s reads back as %a", d, buf_cstr(&b), back);
	assert_true(json_read_double(buf_span(&b), &back));
	assert_memory_equal(&back, &d, sizeof(d));
	/* significant digits of what was printed */
	char digits[40];
	int n = 0;
	for (const char *s = buf_cstr(&b); *s && *s != 'e'; s++) {
		if (*s >= '0' && *s <= '9' && (n || *s != '0') && n < 39)
			digits[n++] = *s;
	}
	while (n && digits[n - 1] == '0')
		n--;
	d = fabs(d);
	if (n > 1 && some_decimal(d, n - 1))
		fail_msg("%a printed as %s: fewer digits do", d, buf_cstr(&b));
	/* and of that length the nearest: snprintf's, unless that one does not read back */
	char nearest[40];
	snprintf(nearest, sizeof(nearest), "%.*e", n - 1, d);
	if (n && strtod(nearest, NULL) == d && (nearest[0] != digits[0] || memcmp(nearest + 2, digits + 1, (size_t)n - 1) != 0))
		fail_msg("%a printed as %s: %s is nearer", d, buf_cstr(&b), nearest);
}

static void test_double_random(void **state)
{
	uint64_t seed = seed_of_run();
	for (int i = 0; i < 100000; i++) {
		double d = of_bits(chance(&seed));
		if (isfinite(d))
			check_shortest(d);
	}
	/* denormals, whole numbers, decimals of a few places */
	for (int i = 0; i < 2000; i++)
		check_shortest(of_bits(chance(&seed) >> (12 + chance(&seed) % 52)));
	for (int i = 0; i < 20000; i++) {
		check_shortest((double)(int64_t)(chance(&seed) >> (chance(&seed) % 64)));
		check_shortest((double)(chance(&seed) >> (14 + chance(&seed) % 50)) / pow(10, (double)(chance(&seed) % 12)));
	}
	/* every power of two */
	for (int e = -1074; e < 1024; e++)
		check_shortest(ldexp(1, e));
}

/* ---- reading */
static void test_read_double(void **state)
{
	static const struct {
		const char *text;
		double d;
	} good[] = {
		{ "0", 0 }, { "+1", 1 }, { "-1", -1 }, { ".5", 0.5 }, { "5.", 5 }, { "-.5e1", -5 }, { "1E3", 1000 },
		{ "1e-400", 0 }, { "0e999999999999999999", 0 }, { "0.000e-5", 0 }, { "4.9e-324", 0x1p-1074 },
		{ "2.4703282292062327e-324", 0 }, { "2.4703282292062328e-324", 0x1p-1074 },
		{ "1.7976931348623158e308", 0x1.fffffffffffffp1023 },
		{ "9007199254740993", 9007199254740992.0 }, { "9007199254740993.00000000000000000000000000001", 9007199254740994.0 },
		{ "123456789012345e22", 123456789012345e22 }, { "123456789012345e-22", 123456789012345e-22 },
		{ "8.5", 8.5 }, { "00012.50", 12.5 },
	};
	static const char *const bad[] = { "", "+", "-", ".", "e5", ".e5", "1e", "1e+", "1.2.3", "0x10", "1 ", " 1", "inf",
					   "nan", "1e5x", "--1", "1e309", "-1.8e308", "1e999999999999999999999", "1,5" };
	double d = 0;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		if (!json_read_double(span_of(good[i].text), &d) || d != good[i].d)
			fail_msg("%s gives %a, not %a", good[i].text, d, good[i].d);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		d = 77;
		if (json_read_double(span_of(bad[i]), &d) || d != 77)
			fail_msg("'%s' was taken", bad[i]);
	}
}

/* Literals far longer than any buffer, and the digit far behind that decides. */
static void test_read_double_long(void **state)
{
	auto_buf struct buf b = {};
	double d;
	buf_str(&b, "0.");
	for (int i = 0; i < 100000; i++)
		buf_chr(&b, '0');
	buf_str(&b, "125e100000");
	assert_true(json_read_double(buf_span(&b), &d) && d == 0.125);
	buf_trunc(&b, 0);
	buf_chr(&b, '1');
	for (int i = 0; i < 100000; i++)
		buf_chr(&b, '0');
	buf_str(&b, "e-100001");
	assert_true(json_read_double(buf_span(&b), &d) && d == 0.1);
	/* exactly between 2^53 and 2^53 + 2: to even, unless something follows */
	for (int tail = 0; tail < 2; tail++) {
		buf_trunc(&b, 0);
		buf_str(&b, "9007199254740993.");
		for (int i = 0; i < 5000; i++)
			buf_chr(&b, '0');
		buf_chr(&b, tail ? '1' : '0');
		assert_true(json_read_double(buf_span(&b), &d));
		assert_true(d == (tail ? 9007199254740994.0 : 9007199254740992.0));
	}
	buf_trunc(&b, 0);
	for (int i = 0; i < 5000; i++)
		buf_chr(&b, '9');
	assert_false(json_read_double(buf_span(&b), &d));
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json v;
	assert_int_equal(json_parse(&a, buf_span(&b), 0, NULL, &v, &err), -ERR_INVALID_REQUEST);
	assert_string_equal(err_msg(&err), "line 1, column 1: number 9999999999999999999999999999999999999999... is "
					   "beyond the range of a double");
}

/* Against strtod over texts of every shape. */
static void test_read_double_random(void **state)
{
	uint64_t seed = seed_of_run();
	for (int i = 0; i < 100000; i++) {
		char text[64];
		int n = 0, digits = 1 + (int)(chance(&seed) % 22), point = (int)(chance(&seed) % 24);
		for (int k = 0; k < digits; k++) {
			text[n++] = (char)('0' + chance(&seed) % 10);
			if (k == point)
				text[n++] = '.';
		}
		n += snprintf(text + n, sizeof(text) - (size_t)n, "e%d", (int)(chance(&seed) % 60) - 30);
		double d = -1, expected = strtod(text, NULL);
		if (!json_read_double(span_make(text, (size_t)n), &d) || d != expected)
			fail_msg("%s gives %a, not %a", text, d, expected);
	}
}

/* ---- strings */
static void test_string_styles(void **state)
{
	static const struct {
		struct span s;
		const char *plain, *html;
	} rows[] = {
		{ SPAN_INIT(""), "\"\"", "\"\"" },
		{ SPAN_INIT("<a href=\"x\">&amp;</a>"), "\"<a href=\\\"x\\\">&amp;</a>\"",
		  "\"\\u003ca href=\\\"x\\\"\\u003e\\u0026amp;\\u003c/a\\u003e\"" },
		{ SPAN_INIT("\b\f\n\r\t\v\0\x1b\x7f/\\"), "\"\\b\\f\\n\\r\\t\\u000b\\u0000\\u001b\x7f/\\\\\"",
		  "\"\\b\\f\\n\\r\\t\\u000b\\u0000\\u001b\x7f/\\\\\"" },
		{ SPAN_INIT("\u2027\u2028\u2029\u202a"), "\"\u2027\\u2028\\u2029\u202a\"", "\"\u2027\\u2028\\u2029\u202a\"" },
		{ SPAN_INIT("\xff\xc3(\xed\xa0\x80"), "\"\\ufffd\\ufffd(\\ufffd\\ufffd\\ufffd\"",
		  "\"\\ufffd\\ufffd(\\ufffd\\ufffd\\ufffd\"" },
		{ SPAN_INIT("\ufffd"), "\"\ufffd\"", "\"\ufffd\"" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf b = {};
		json_write_string(&b, rows[i].s, 0);
		assert_string_equal(buf_cstr(&b), rows[i].plain);
		buf_trunc(&b, 0);
		json_write_string(&b, rows[i].s, JSON_HTML);
		assert_string_equal(buf_cstr(&b), rows[i].html);
	}
}

/* Long strings of every sort of character at every place around the piece borders: they read back. */
static void test_string_pieces(void **state)
{
	static const char *const chars[] = { "a", "\n", "\u00e9", "\u2028", "\U0001f600", "<", "\x01" };
	for (size_t c = 0; c < ARRAY_LEN(chars); c++) {
		for (size_t lead = 230; lead < 530; lead += lead < 265 || lead > 500 ? 1 : 40) {
			auto_arena struct arena a = {};
			auto_buf struct buf raw = {}, b = {}, tight = {};
			for (size_t i = 0; i < lead; i++)
				buf_chr(&raw, 'x');
			for (int i = 0; i < 300; i++)
				buf_str(&raw, chars[c]);
			struct json v = json_str(buf_span(&raw)), back;
			json_write(&b, &v, JSON_HTML);
			assert_int_equal(json_parse(&a, buf_span(&b), 0, NULL, &back, NULL), 0);
			assert_true(json_equal(&v, &back));
			tight.limit = b.len;
			json_write(&tight, &v, JSON_HTML);
			assert_true(span_eq(buf_span(&b), buf_span(&tight)));
		}
	}
}

/* ---- layout */
static void test_styles(void **state)
{
	auto_arena struct arena a = {};
	struct json v;
	assert_int_equal(json_parse(&a, SPAN("{\"b\":[1,{\"c\":[]},[2]],\"a\":{},\"<\":\"&\"}"), 0, NULL, &v, NULL), 0);
	static const struct {
		unsigned style;
		const char *out;
	} rows[] = {
		{ 0, "{\"b\":[1,{\"c\":[]},[2]],\"a\":{},\"<\":\"&\"}" },
		{ JSON_HTML, "{\"b\":[1,{\"c\":[]},[2]],\"a\":{},\"\\u003c\":\"\\u0026\"}" },
		{ JSON_SORTED, "{\"<\":\"&\",\"a\":{},\"b\":[1,{\"c\":[]},[2]]}" },
		{ JSON_PRETTY, "{\n  \"b\": [\n    1,\n    {\n      \"c\": []\n    },\n    [\n      2\n    ]\n  ],\n"
			       "  \"a\": {},\n  \"<\": \"&\"\n}" },
		{ JSON_PRETTY4 | JSON_SORTED,
		  "{\n    \"<\": \"&\",\n    \"a\": {},\n    \"b\": [\n        1,\n        {\n            \"c\": []\n        },\n"
		  "        [\n            2\n        ]\n    ]\n}" },
		{ JSON_PRETTY | JSON_TABS, "{\n\t\"b\": [\n\t\t1,\n\t\t{\n\t\t\t\"c\": []\n\t\t},\n\t\t[\n\t\t\t2\n\t\t]\n\t],\n"
					   "\t\"a\": {},\n\t\"<\": \"&\"\n}" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf b = {};
		json_write(&b, &v, rows[i].style);
		assert_string_equal(buf_cstr(&b), rows[i].out);
	}
	/* deeper than the line of blanks that is at hand */
	auto_buf struct buf deep = {}, pretty = {}, flat = {};
	for (int i = 0; i < 300; i++)
		buf_chr(&deep, '[');
	for (int i = 0; i < 300; i++)
		buf_chr(&deep, ']');
	assert_int_equal(json_parse(&a, buf_span(&deep), 0, NULL, &v, NULL), 0);
	json_write(&pretty, &v, JSON_PRETTY);
	assert_true(span_has(buf_span(&pretty), SPAN("\n]")));
	size_t most = 0;
	for (struct span rest = buf_span(&pretty), line; span_cut(&rest, '\n', &line);)
		most = MAX(most, line.len);
	assert_int_equal(most, 299 * 2 + 2);
	assert_int_equal(json_parse(&a, buf_span(&pretty), 0, NULL, &v, NULL), 0);
	json_write(&flat, &v, 0);
	assert_true(span_eq(buf_span(&flat), buf_span(&deep)));
}

/* ---- without a tree */
static void test_out(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b, .style = JSON_HTML };
	struct json tree;
	assert_int_equal(json_parse(&a, SPAN("{\"t\":[1,2]}"), 0, NULL, &tree, NULL), 0);
	json_out_begin(&o);
	json_out_key(&o, SPAN("Id"));
	json_out_span(&o, SPAN("a<b"));
	json_out_key(&o, SPAN("list"));
	json_out_begin_array(&o);
	json_out_i64(&o, INT64_MIN);
	json_out_u64(&o, UINT64_MAX);
	json_out_double(&o, 0.5);
	json_out_begin(&o);
	json_out_end(&o);
	json_out_begin_array(&o);
	json_out_end(&o);
	json_out_bool(&o, true);
	json_out_bool(&o, false);
	json_out_null(&o);
	json_out_end(&o);
	json_out_kspan(&o, "empty", SPAN(""));
	json_out_ki64(&o, "zero", 0);
	json_out_kbool(&o, "no", false);
	json_out_kspan(&o, "s", SPAN("x"));
	json_out_ki64(&o, "i", -1);
	json_out_kbool(&o, "yes", true);
	json_out_key(&o, SPAN("raw"));
	json_out_raw(&o, SPAN("[ 1 ]"));
	json_out_key(&o, SPAN("v"));
	json_out_value(&o, &tree);
	json_out_end(&o);
	assert_int_equal(o.depth, 0);
	assert_string_equal(buf_cstr(&b), "{\"Id\":\"a\\u003cb\",\"list\":[-9223372036854775808,18446744073709551615,0.5,{},[],"
					  "true,false,null],\"s\":\"x\",\"i\":-1,\"yes\":true,\"raw\":[ 1 ],\"v\":{\"t\":[1,2]}}");
	/* all 64 levels */
	buf_trunc(&b, 0);
	for (int i = 0; i < 64; i++)
		json_out_begin_array(&o);
	json_out_null(&o);
	json_out_null(&o);
	for (int i = 0; i < 64; i++)
		json_out_end(&o);
	assert_int_equal(json_check(buf_span(&b), NULL, NULL), 0);
	assert_int_equal(b.len, 64 * 2 + 9);
}

/* ---- against python's json */
/* Documents from a seed, divided by 0 bytes: with "make" written to the output in a random layout, with "check" made once
 * more and compared with the texts at the input. */
static const char python_script[] =
	"import json,random,sys\n"
	"r=random.Random(int(sys.argv[2]))\n"
	"def char():\n"
	" return chr(r.choice([r.randrange(32,127),r.randrange(32),r.randrange(128,0xd800),r.randrange(0xe000,0x110000),"
	"0x2028,34,92,60]))\n"
	"def text():return ''.join(char() for _ in range(r.choice([0,1,3,5,10,20,40])))\n"
	"def value(d):\n"
	" k=r.randrange(9 if d<6 else 7)\n"
	" if k==0:return None\n"
	" if k==1:return r.random()<.5\n"
	" if k==2:return r.choice([0,-1,r.getrandbits(63),-r.getrandbits(63),r.getrandbits(64),r.randrange(-999,999)])\n"
	" if k==3:return r.choice([.1,1e-7,1e21,5e-324,-0.0,r.random(),r.uniform(-1e6,1e6),r.random()*10.**r.randrange(-300,300)])\n"
	" if k<7:return text()\n"
	" if k==7:return [value(d+1) for _ in range(r.randrange(7))]\n"
	" return {text():value(d+1) for _ in range(r.choice([0,1,3,7,25]))}\n"
	"def same(a,b):\n"
	" if isinstance(a,float):return not isinstance(b,(str,bool)) and float(a)==float(b)\n"
	" if type(a)!=type(b):return False\n"
	" if isinstance(a,list):return len(a)==len(b) and all(map(same,a,b))\n"
	" if isinstance(a,dict):return a.keys()==b.keys() and all(same(v,b[k]) for k,v in a.items())\n"
	" return a==b\n"
	"docs=[value(0) for _ in range(400)]\n"
	"if sys.argv[1]=='make':\n"
	" sys.stdout.buffer.write('\\0'.join(json.dumps(d,ensure_ascii=r.random()<.5,indent=r.choice([None,1,'\\t']))"
	" for d in docs).encode())\n"
	"else:\n"
	" back=[json.loads(t) for t in sys.stdin.buffer.read().decode().split('\\0')]\n"
	" bad=[(a,b) for a,b in zip(docs,back) if not same(a,b)]\n"
	" sys.exit(str(bad[0]) if bad or len(docs)!=len(back) else 0)\n";

static int run_python(const char *what, uint64_t seed, int in, int out)
{
	extern char **environ;
	char number[24];
	snprintf(number, sizeof(number), "%llu", (unsigned long long)seed);
	char *argv[] = { (char *)"python3", (char *)"-c", (char *)python_script, (char *)what, number, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	pid_t pid;
	int failed = posix_spawnp(&pid, "python3", &actions, NULL, argv, environ), status = -1;
	posix_spawn_file_actions_destroy(&actions);
	assert_int_equal(failed, 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_python(void **state)
{
	uint64_t seed = seed_of_run() >> 1;
	auto_fd int made = memfd_create("made", MFD_CLOEXEC), back = memfd_create("back", MFD_CLOEXEC);
	auto_buf struct buf texts = {}, ours = {};
	assert_int_equal(run_python("make", seed, 0, made), 0);
	assert_int_equal(lseek(made, 0, SEEK_SET), 0);
	assert_int_equal(io_read_all(made, &texts, 64 << 20, NULL), 0);
	struct span rest = buf_span(&texts), text;
	unsigned n = 0;
	while (span_cut(&rest, 0, &text)) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct json v;
		if (json_parse(&a, text, n & 1, NULL, &v, &err) < 0 || json_check(text, NULL, &err) < 0)
			fail_msg("%.*s\n%s", SPAN_ARG(text), err_msg(&err));
		if (n)
			buf_chr(&ours, 0);
		json_write(&ours, &v, n++ % 32);
	}
	assert_int_equal(n, 400);
	assert_int_equal(io_write_all(back, ours.ptr, ours.len, NULL), 0);
	assert_int_equal(lseek(back, 0, SEEK_SET), 0);
	assert_int_equal(run_python("check", seed, back, 1), 0);
}

/* Texts of Go 1.24's encoding/json; more of them in strategy's tests. */
static void words_of_go(void **state)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{ " {\"a\" : [1, -2.5e+3, true, null, {}], \"b\":\"\\u00e4\\n\"} ", NULL },
		{ "1", NULL },
		{ "{\"a\":1,\"a\":2}", NULL },
		{ "", "unexpected end of JSON input" },
		{ "[1,", "unexpected end of JSON input" },
		{ "{a}", "invalid character 'a' looking for beginning of object key string" },
		{ "[1 2]", "invalid character '2' after array element" },
		{ "{} x", "invalid character 'x' after top-level value" },
		{ "nul1", "invalid character '1' in literal null (expecting 'l')" },
		{ "'", "invalid character '\\'' looking for beginning of value" },
		{ "[\\", "invalid character '\\\\' looking for beginning of value" },
		{ "[}", "invalid character '}' looking for beginning of value" },
		{ "\"\n", "invalid character '\\n' in string literal" },
		{ "\"\x01", "invalid character '\\x01' in string literal" },
		{ "\x7f", "invalid character '\\x7f' looking for beginning of value" },
		{ "\xa0", "invalid character '\\u00a0' looking for beginning of value" },
		{ "\xe4", "invalid character '\xc3\xa4' looking for beginning of value" },
		{ "1\"", "invalid character '\"' after top-level value" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf out = {};
		bool complaint = json_go_complaint(&out, span_of(rows[i].text));
		if (complaint != !!rows[i].words || strcmp(buf_cstr(&out), rows[i].words ? rows[i].words : ""))
			fail_msg("%s: got %s, want %s", rows[i].text, buf_cstr(&out), rows[i].words ? rows[i].words : "(none)");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_of_go),
		cmocka_unit_test(test_double_table),	 cmocka_unit_test(test_double_random),
		cmocka_unit_test(test_read_double),	 cmocka_unit_test(test_read_double_long),
		cmocka_unit_test(test_read_double_random), cmocka_unit_test(test_string_styles),
		cmocka_unit_test(test_string_pieces),	 cmocka_unit_test(test_styles),
		cmocka_unit_test(test_out),		 cmocka_unit_test(test_python),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
