/* Tests of base. Each piece has its own group of cases; the sanitizer builds run the same file. */
#include "base/base.h"
#include "base/flags.h"
#include "base/path.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

static void assert_span(struct span got, const char *want)
{
	if (!span_is(got, want))
		fail_msg("got \"%.*s\", want \"%s\"", SPAN_ARG(got), want);
}

/* ---- span */

static void span_parts(void **state)
{
	static const struct {
		const char *text, *joined;
	} rows[] = { { "a,,b", "[a][][b]" }, { "", "" }, { "a,", "[a]" }, { ",", "[]" }, { "abc", "[abc]" }, { ",,", "[][]" } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf out = {};
		struct span rest = span_of(rows[i].text), part;
		while (span_cut(&rest, ',', &part))
			buf_printf(&out, "[%.*s]", SPAN_ARG(part));
		assert_string_equal(buf_cstr(&out), rows[i].joined);
	}
	struct span head, tail;
	assert_true(span_split(SPAN("k=v=w"), '=', &head, &tail));
	assert_span(head, "k");
	assert_span(tail, "v=w");
	assert_false(span_split(SPAN("key"), '=', &head, &tail));
	assert_span(head, "key");
	assert_int_equal(tail.len, 0);
	assert_span(span_trim(SPAN(" \t\r\n x y \n")), "x y");
	assert_span(span_sub(SPAN("hello"), 1, 3), "el");
	assert_span(span_sub(SPAN("hello"), 3, 99), "lo");
	assert_span(span_sub(SPAN("hello"), 9, 2), "");
	assert_int_equal(span_find(SPAN("hello"), SPAN("ll")), 2);
	assert_int_equal(span_find(SPAN("hello"), SPAN("lx")), -1);
	assert_int_equal(span_rchr(SPAN("a/b/c"), '/'), 3);
	assert_true(span_cmp(SPAN("a"), SPAN("ab")) < 0);
	assert_true(span_cmp(SPAN("b"), SPAN("ab")) > 0);
	assert_true(span_cmp(SPAN("\xff"), SPAN("a")) > 0);
	assert_int_equal(span_cmp(SPAN_EMPTY, SPAN("")), 0);
	assert_true(span_eq_nocase(SPAN("Content-TYPE"), SPAN("content-type")));
	assert_false(span_eq_nocase(SPAN("@"), SPAN("`")));
}

static void span_numbers(void **state)
{
	static const struct {
		const char *text;
		bool ok;
		int64_t value;
	} rows[] = {
		{ "0", true, 0 },
		{ "-0", true, 0 },
		{ "+7", true, 7 },
		{ "9223372036854775807", true, INT64_MAX },
		{ "-9223372036854775808", true, INT64_MIN },
		{ "9223372036854775808", false, 0 },
		{ "-9223372036854775809", false, 0 },
		{ "99999999999999999999999", false, 0 },
		{ "", false, 0 },
		{ "-", false, 0 },
		{ "+-1", false, 0 },
		{ "1 ", false, 0 },
		{ "0x1", false, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t v = 42;
		bool ok = span_to_i64(span_of(rows[i].text), &v);
		if (ok != rows[i].ok || v != (ok ? rows[i].value : 42))
			fail_msg("\"%s\": got %d %lld", rows[i].text, ok, (long long)v);
	}
	uint64_t u = 0;
	assert_true(span_to_u64(SPAN("18446744073709551615"), &u) && u == UINT64_MAX);
	assert_false(span_to_u64(SPAN("18446744073709551616"), &u));
	assert_true(span_to_u64_base(SPAN("fF"), 16, &u) && u == 255);
	assert_true(span_to_u64_base(SPAN("755"), 8, &u) && u == 0755);
	assert_false(span_to_u64_base(SPAN("8"), 8, &u));
}

static void span_hashes(void **state)
{
	/* Every bit of the input matters, and so does its length. */
	char text[32] = {};
	uint64_t base = span_hash(span_make(text, sizeof(text)));
	for (size_t bit = 0; bit < sizeof(text) * 8; bit++) {
		text[bit / 8] ^= (char)(1 << bit % 8);
		assert_true(span_hash(span_make(text, sizeof(text))) != base);
		text[bit / 8] ^= (char)(1 << bit % 8);
	}
	for (size_t len = 0; len < sizeof(text); len++)
		assert_true(span_hash(span_make(text, len)) != base);
	assert_true(span_hash(SPAN_EMPTY) == span_hash(SPAN("")));
}

/* ---- buf, bytes */

static void buf_grows(void **state)
{
	auto_buf struct buf b = {};
	assert_string_equal(buf_cstr(&b), "");
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%d,", i);
	assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
	assert_true(span_ends(buf_span(&b), SPAN("998,999,")));
	assert_int_equal(b.ptr[b.len], 0);
	buf_shift(&b, 2);
	assert_true(span_starts(buf_span(&b), SPAN("1,2,")));
	buf_trunc(&b, 3);
	assert_string_equal(buf_cstr(&b), "1,2");
	buf_i64(&b, INT64_MIN);
	buf_u64(&b, UINT64_MAX);
	assert_string_equal(buf_cstr(&b), "1,2-922337203685477580818446744073709551615");
	size_t len;
	auto_free char *taken = buf_take(&b, &len);
	assert_int_equal(strlen(taken), len);
	assert_int_equal(b.len, 0);
}

static void buf_keeps_its_limit(void **state)
{
	auto_buf struct buf b = { .limit = 5 };
	buf_str(&b, "abc");
	buf_str(&b, "def"); /* does not fit: dropped whole */
	assert_true(buf_overflowed(&b));
	assert_string_equal(buf_cstr(&b), "abc");
	buf_chr(&b, 'x'); /* would fit, but what follows a gap is not kept */
	assert_string_equal(buf_cstr(&b), "abc");
	buf_trunc(&b, 0);
	assert_false(buf_overflowed(&b));
	buf_printf(&b, "%s", "12345");
	assert_false(buf_overflowed(&b));
	buf_printf(&b, "%s", "6");
	assert_true(buf_overflowed(&b));
	assert_string_equal(buf_cstr(&b), "12345");
}

static void *share_bytes(void *arg)
{
	struct bytes *b = arg;
	for (int i = 0; i < 10000; i++) {
		struct bytes *mine = bytes_ref(b);
		assert_int_equal(mine->data[0], 'h');
		bytes_unref(mine);
	}
	bytes_unref(b);
	return NULL;
}

static void bytes_are_shared(void **state)
{
	auto_buf struct buf b = {};
	buf_str(&b, "hello");
	struct bytes *sealed = buf_seal(&b);
	assert_span(bytes_span(sealed), "hello");
	assert_int_equal(b.len, 0);
	pthread_t threads[4];
	bytes_ref_n(sealed, ARRAY_LEN(threads));
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, share_bytes, sealed), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&sealed->refs), 1);
	bytes_unref(sealed);
	bytes_unref(NULL);
}

/* ---- arena */

static void note_end(void *arg)
{
	buf_str(arg, "x");
}

static void note_end_2(void *arg)
{
	buf_str(arg, "y");
}

static void arena_holds(void **state)
{
	auto_buf struct buf ends = {};
	struct arena a = {};
	char *pieces[500];
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		size_t size = i * 37 % 3000;
		pieces[i] = arena_alloc(&a, size);
		assert_int_equal((uintptr_t)pieces[i] % 8, 0);
		memset(pieces[i], (int)(i & 0xff), size);
	}
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++)
		for (size_t j = 0; j < i * 37 % 3000; j++)
			assert_int_equal((unsigned char)pieces[i][j], i & 0xff);
	char *huge = arena_zalloc(&a, 3 << 20);
	assert_int_equal(huge[(3 << 20) - 1], 0);
	assert_span(arena_printf(&a, "%s-%d", "pod", 7), "pod-7");
	char long_text[600];
	memset(long_text, 'q', sizeof(long_text));
	assert_int_equal(arena_printf(&a, "%.*s", 600, long_text).len, 600);
	assert_span(arena_span(&a, SPAN("copy")), "copy");
	arena_defer(&a, note_end, &ends);
	arena_defer(&a, note_end_2, &ends);
	arena_reset(&a);
	assert_string_equal(buf_cstr(&ends), "yx");
	assert_int_equal(*(char *)arena_zalloc(&a, 1), 0);
	arena_done(&a);
	arena_done(&a);
	assert_non_null(arena_alloc(&a, 0)); /* also the first thing in an empty one */
	arena_done(&a);
	arena_small(&a);
	assert_true(a.total <= 512);
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		size_t size = i * 7 % 300;
		pieces[i] = arena_alloc(&a, size);
		memset(pieces[i], (int)(i & 0xff), size);
	}
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++)
		for (size_t k = 0; k < i * 7 % 300; k++)
			assert_int_equal((unsigned char)pieces[i][k], i & 0xff);
	arena_done(&a);
}

/* ---- err */

static void err_tells(void **state)
{
	auto_err struct err err = ERR_INIT;
	assert_int_equal(err_set(&err, ERR_NOT_FOUND, "no pod \"%s\"", "web"), -ERR_NOT_FOUND);
	assert_string_equal(err_msg(&err), "no pod \"web\"");
	assert_int_equal(err_note(&err, "binding %s", "web"), -ERR_NOT_FOUND);
	assert_string_equal(err_msg(&err), "binding web: no pod \"web\"");
	/* A message that quotes the old one may replace it. */
	err_set(&err, ERR_INTERNAL, "again: %s", err_msg(&err));
	assert_string_equal(err_msg(&err), "again: binding web: no pod \"web\"");

	char long_text[700];
	memset(long_text, 'm', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = 0;
	err_set(&err, ERR_INVALID, "%s", long_text);
	assert_string_equal(err_msg(&err), long_text);
	err_note(&err, "n");
	assert_int_equal(strlen(err_msg(&err)), 702);
	errno = ENOSPC;
	assert_int_equal(err_sys(&err, "write %s", "layer"), -ERR_NO_SPACE);
	assert_string_equal(err_msg(&err), "write layer: No space left on device");
	assert_int_equal(err.errnum, ENOSPC);

	for (int i = 0; i < 9; i++)
		err_cause_add(&err, SPAN("spec.x"), "FieldValueInvalid", SPAN("bad"));
	assert_int_equal(err.n_causes, 9);
	assert_string_equal(err.causes[8].field, "spec.x");
	auto_err struct err other = ERR_INIT;
	assert_int_equal(err_move(&other, &err), -ERR_NO_SPACE);
	assert_int_equal(err.class, ERR_NONE);
	assert_int_equal(other.n_causes, 9);
	assert_int_equal(err_set(NULL, ERR_STALE, "nobody listens"), -ERR_STALE);
}

static void words_are_truth(void **state)
{
	static const char *const words[] = { "1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False" };
	static const char *const none[] = { "", "yes", "tRUE", "2", "true ", "00" };
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		bool got = i >= 6;
		assert_true(span_to_bool(span_of(words[i]), &got));
		assert_int_equal(got, i < 6);
	}
	for (size_t i = 0; i < ARRAY_LEN(none); i++) {
		bool got = true;
		assert_false(span_to_bool(span_of(none[i]), &got));
		assert_true(got);
	}
}

static void error_numbers_have_words(void **state)
{
	for (int i = 0; i < 134; i++)
		if (!strstr(strerror(i), "Unknown error")) /* 41 and 58 are nobody's */
			assert_string_equal(err_why(i), strerror(i));
	assert_string_equal(err_why(41), "Unknown error");
	assert_string_equal(err_why(-ENOENT), "Unknown error");
	assert_string_equal(err_why(100000), "Unknown error");
}

static void err_table(void **state)
{
	assert_int_equal(err_kube_code(-ERR_INVALID), 422);
	assert_int_equal(err_docker_code(ERR_INVALID), 400);
	assert_string_equal(err_kube_reason(ERR_STALE), "Conflict");
	assert_string_equal(err_class_name(-ERR_TIMEOUT), "TIMEOUT");
	assert_int_equal(err_exit_code(ERR_NO_COMMAND), 127);
	for (int c = ERR_NONE + 1; c < ERR_COUNT; c++) {
		assert_in_range(err_kube_code(c), 400, 599);
		assert_in_range(err_docker_code(c), 400, 599);
		assert_in_range(err_exit_code(c), 1, 255);
	}
}

/* ---- map, list */

static void map_against_model(void **state)
{
	enum { KEYS = 300 };
	static char names[KEYS][16];
	long model[KEYS] = {};
	struct map m = {};
	struct rng r;
	rng_init(&r, 1);
	for (int i = 0; i < KEYS; i++)
		(void)snprintf(names[i], sizeof(names[i]), "key-%d", i);
	for (long step = 1; step < 20000; step++) {
		size_t k = rng_below(&r, KEYS);
		struct span key = span_of(names[k]);
		switch (rng_below(&r, 3)) {
		case 0:
			assert_int_equal((long)(intptr_t)map_put(&m, key, (void *)(intptr_t)step), model[k]);
			model[k] = step;
			break;
		case 1:
			assert_int_equal((long)(intptr_t)map_remove(&m, key), model[k]);
			model[k] = 0;
			break;
		default:
			assert_int_equal((long)(intptr_t)map_get(&m, key), model[k]);
		}
	}
	size_t want = 0, seen = 0;
	for (int i = 0; i < KEYS; i++)
		want += model[i] != 0;
	MAP_EACH(&m, e) {
		seen++;
		map_remove(&m, e->key);
	}
	assert_int_equal(seen, want);
	assert_int_equal(m.n, 0);
	assert_null(map_get(&m, SPAN("key-1")));
	map_done(&m);
}

static void list_order(void **state)
{
	struct item {
		int v;
		struct list link;
	} items[4] = { { .v = 1 }, { .v = 2 }, { .v = 3 }, { .v = 4 } };
	struct list a, b;
	list_init(&a);
	list_init(&b);
	for (int i = 0; i < 3; i++)
		list_push(&a, &items[i].link);
	list_push_front(&b, &items[3].link);
	list_append(&b, &a);
	assert_true(list_empty(&a));
	int sum = 0;
	LIST_EACH(&b, it, struct item, link) {
		sum = sum * 10 + it->v;
		list_remove(&it->link);
		list_remove(&it->link);
	}
	assert_int_equal(sum, 4123);
	assert_null(list_pop(&b));
	assert_null(LIST_FIRST(&b, struct item, link));
}

/* ---- clock */

static void times(void **state)
{
	static const struct {
		const char *text;
		bool ok;
		int64_t s;
		int32_t ns;
	} rows[] = {
		{ "1970-01-01T00:00:00Z", true, 0, 0 },
		{ "2008-01-01T01:01:01Z", true, 1199149261, 0 },
		{ "2000-02-29T23:59:59.5Z", true, 951868799, 500000000 },
		{ "1969-12-31T23:59:59.999999999Z", true, -1, 999999999 },
		{ "2024-01-01T02:00:00+02:00", true, 1704067200, 0 },
		{ "2023-12-31T22:30:00-01:30", true, 1704067200, 0 },
		{ "0001-01-01T00:00:00Z", true, INT64_C(-62135596800), 0 },
		{ "9999-12-31T23:59:59Z", true, INT64_C(253402300799), 0 },
		{ "2023-02-29T00:00:00Z", false, 0, 0 },
		{ "2023-13-01T00:00:00Z", false, 0, 0 },
		{ "2023-01-01T24:00:00Z", false, 0, 0 },
		{ "2023-01-01 00:00:00Z", false, 0, 0 },
		{ "2023-01-01T00:00:00", false, 0, 0 },
		{ "2023-01-01T00:00:00.Z", false, 0, 0 },
		{ "2023-01-01T00:00:00Zx", false, 0, 0 },
		{ "2023-01-01T00:00:00+0200", false, 0, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t s = 0;
		int32_t ns = 0;
		bool ok = time_parse(rows[i].text, strlen(rows[i].text), &s, &ns) == 0;
		if (ok != rows[i].ok || s != rows[i].s || ns != rows[i].ns)
			fail_msg("%s: got %d %lld.%09d", rows[i].text, ok, (long long)s, ns);
	}
	char out[40];
	time_format(out, 951868799, 500000000, -1);
	assert_string_equal(out, "2000-02-29T23:59:59.5Z");
	time_format(out, 0, 1000, 6);
	assert_string_equal(out, "1970-01-01T00:00:00.000001Z");
	time_format(out, 253402300799, 0, 0);
	assert_string_equal(out, "9999-12-31T23:59:59Z");
	assert_int_equal(time_format(out, 253402300800, 0, 0), 0);
	struct rng r;
	rng_init(&r, 7);
	for (int i = 0; i < 20000; i++) {
		int64_t s = (int64_t)rng_below(&r, UINT64_C(315537897600)) - INT64_C(62135596800), back;
		int32_t ns = (int32_t)rng_below(&r, 1000000000), back_ns;
		size_t len = time_format(out, s, ns, 9);
		assert_int_equal(time_parse(out, len, &back, &back_ns), 0);
		assert_true(back == s && back_ns == ns);
	}
}

static void clock_by_hand(void **state)
{
	struct clock_fake c;
	clock_fake_init(&c, 5, 100);
	clock_fake_advance(&c, 7);
	assert_int_equal(clock_mono_ns(&c.clock), 12);
	assert_int_equal(clock_wall_ns(&c.clock), 107);
	int64_t t = clock_mono_ns(clock_real());
	assert_true(clock_mono_ns(clock_real()) >= t);
	struct rng a, b;
	rng_init(&a, 3);
	rng_init(&b, 3);
	for (int i = 0; i < 100; i++) {
		assert_true(rng_u64(&a) == rng_u64(&b));
		assert_in_range(rng_below(&a, 6), 0, 5);
		(void)rng_below(&b, 6);
	}
}

/* ---- text */

static void base64_rows(void **state)
{
	/* RFC 4648 section 10 */
	static const char *rows[][2] = { { "", "" },	     { "f", "Zg==" },	      { "fo", "Zm8=" },
					 { "foo", "Zm9v" },  { "foob", "Zm9vYg==" },  { "fooba", "Zm9vYmE=" },
					 { "foobar", "Zm9vYmFy" } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf b = {}, back = {};
		base64_add(&b, BASE64_STD, rows[i][0], strlen(rows[i][0]));
		assert_string_equal(buf_cstr(&b), rows[i][1]);
		assert_true(base64_parse(&back, BASE64_STD, buf_span(&b)));
		assert_string_equal(buf_cstr(&back), rows[i][0]);
	}
	static const char *bad[] = { "Z",    "Zg",    "Zg=", "Zg===",    "Zm9v=", "Z=g=",
				     "Zm-v", "Zm9v!", "=",   "Zg==Zg==", "Zm9v====" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		auto_buf struct buf b = {};
		buf_str(&b, "keep");
		if (base64_parse(&b, BASE64_STD, span_of(bad[i])))
			fail_msg("\"%s\" was accepted", bad[i]);
		assert_string_equal(buf_cstr(&b), "keep");
	}
	auto_buf struct buf b = {};
	assert_true(base64_parse(&b, BASE64_STD, SPAN("Zm9v\r\nYmFy\n")));
	assert_string_equal(buf_cstr(&b), "foobar");
	buf_trunc(&b, 0);
	base64_add(&b, BASE64_URL_RAW, "\xfb\xff", 2);
	assert_string_equal(buf_cstr(&b), "-_8");
	auto_buf struct buf back = {};
	assert_true(base64_parse(&back, BASE64_URL_RAW, SPAN("-_8")));
	assert_memory_equal(back.ptr, "\xfb\xff", 2);
}

static void utf8_rows(void **state)
{
	static const char *good[] = { "", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
				      "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "12345678\xc3\xa4x" };
	static const char *bad[] = { "\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
				     "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc3", "\xe2\x82", "12345678\xff", "\xc3x" };
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(utf8_valid(span_of(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (utf8_valid(span_of(bad[i])))
			fail_msg("row %zu was accepted", i);
	for (uint32_t c = 0; c < 0x110000; c += c < 0x3000 ? 1 : 97) {
		auto_buf struct buf b = {};
		utf8_add(&b, c);
		uint32_t back;
		assert_int_equal(utf8_next(buf_span(&b), &back), b.len);
		assert_int_equal(back, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
	}
}

static void escapes(void **state)
{
	char uuid[37];
	text_uuid((const uint8_t[16]){ 0xff, 1, 2, 3, 4, 5, 0xff, 7, 0xff, 9, 10, 11, 12, 13, 14, 0xff }, uuid);
	assert_string_equal(uuid, "ff010203-0405-4f07-bf09-0a0b0c0d0eff");
	auto_buf struct buf b = {};
	hex_add(&b, "\x00\xab\xff", 3);
	assert_string_equal(buf_cstr(&b), "00abff");
	unsigned char raw[3];
	assert_true(hex_parse(SPAN("00ABff"), raw) && raw[1] == 0xab && raw[2] == 0xff);
	assert_false(hex_parse(SPAN("0"), raw));
	assert_false(hex_parse(SPAN("0g"), raw));
	buf_trunc(&b, 0);
	assert_true(percent_parse(&b, SPAN("a%2Fb+c%00"), true));
	assert_memory_equal(b.ptr, "a/b c\0", 6);
	assert_false(percent_parse(&b, SPAN("x%2"), false));
	assert_false(percent_parse(&b, SPAN("x%zz"), false));
	assert_int_equal(b.len, 6);
	buf_trunc(&b, 0);
	percent_add(&b, SPAN("a b/\xc3\xa4~"), "/");
	assert_string_equal(buf_cstr(&b), "a%20b/%C3%A4~");
	buf_trunc(&b, 0);
	assert_true(query_get(SPAN("a=1&label%53elector=x%3Dy&b"), "labelSelector", &b));
	assert_string_equal(buf_cstr(&b), "x=y");
	buf_trunc(&b, 0);
	assert_true(query_get(SPAN("a=1&b"), "b", &b));
	assert_false(query_get(SPAN("a=1&b"), "c", &b));
	assert_false(query_get(SPAN("a=%f"), "a", &b));
}

/* ---- log */

static void log_lines(void **state)
{
	int pipe_fd[2];
	assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
	log_open(pipe_fd[1], LOG_INFO, "test");
	auto_err struct err err = ERR_INIT;
	err_set(&err, ERR_IO, "disk gone");
	log_debug("not seen");
	log_info("pod started", kv_str("pod", "web-1"), kv_i64("ms", -14), kv_str("evil", "a\nb\"c\\ \x01"),
		 kv_u64("n", UINT64_MAX), kv_err(&err), kv_str("empty", ""));
	log_open(2, LOG_INFO, "knarr");
	char line[512] = {};
	ssize_t n = read(pipe_fd[0], line, sizeof(line) - 1);
	assert_true(n > 28);
	assert_string_equal(line + 27, " info test: pod started pod=web-1 ms=-14 evil=\"a\\nb\\\"c\\\\ \\x01\" "
				       "n=18446744073709551615 err=\"disk gone\" empty=\"\"\n");
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

/* ---- failpoints */

static void failpoints(void **state)
{
	int num = 0;
	assert_int_equal(fail_arm("a.b=ENOSPC@2; c.d=EIO@2+"), 0);
	assert_false(FAILPOINT_ERR("a.b", &num));
	assert_true(FAILPOINT_ERR("a.b", &num));
	assert_int_equal(num, ENOSPC);
	assert_false(FAILPOINT_ERR("a.b", &num));
	assert_false(FAILPOINT_ERR("c.d", &num));
	assert_true(FAILPOINT_ERR("c.d", &num));
	assert_true(FAILPOINT_ERR("c.d", &num));
	FAILPOINT("e.f");
	static const char *bad[] = { "a", "a=", "=kill", "a=kill@0", "a=nonsense", "a=exit", "a=kill:3", "a=EIO@x", "a=while", "a=while:",
				     "a=while:/x;b=while:/y" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (fail_arm(bad[i]) == 0)
			fail_msg("\"%s\" was accepted", bad[i]);
	pid_t child = fork();
	if (child == 0) {
		fail_arm("die.here=kill@3");
		for (int i = 0; i < 5; i++)
			FAILPOINT("die.here");
		_exit(9);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	char path[] = "/tmp/knarr-base-XXXXXX", spec[64];
	int fd = mkstemp(path), pipefd[2];
	assert_true(fd >= 0 && pipe(pipefd) == 0);
	snprintf(spec, sizeof(spec), "wait.here=while:%s", path);
	child = fork();
	if (child == 0) {
		fail_arm(spec);
		FAILPOINT("wait.here");
		(void)!write(pipefd[1], "x", 1);
		_exit(0);
	}
	struct pollfd told = { pipefd[0], POLLIN, 0 };
	assert_int_equal(poll(&told, 1, 50), 0);
	unlink(path);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(poll(&told, 1, 0), 1);
	for (int i = 0; i < 3; i++)
		close((int[]){ fd, pipefd[0], pipefd[1] }[i]);
	fail_arm("");
	assert_false(atomic_load(&fail_armed_));
}

/* ---- io */

static void descriptors(void **state)
{
	struct rlimit before, after;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	struct rlimit low = { MIN(before.rlim_cur, (rlim_t)64), before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	io_descriptors_raise();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
	assert_int_equal(after.rlim_cur, before.rlim_max);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void files(void **state)
{
	char dir[] = "/tmp/knarr-base-XXXXXX";
	assert_non_null(mkdtemp(dir));
	auto_fd int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_err struct err err = ERR_INIT;
	assert_int_equal(io_mkdirs(at, "a/b/c", 0700, &err), 0);
	assert_int_equal(io_mkdirs(at, "a/b/c", 0700, &err), 0);
	assert_int_equal(io_write_file(at, "a/b/c/key", SPAN("secret"), 0600, &err), 0);
	assert_int_equal(io_write_file_lazy(at, "a/b/c/key", SPAN("new"), 0640, &err), 0);
	struct stat st;
	assert_int_equal(fstatat(at, "a/b/c/key", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	auto_buf struct buf b = {};
	assert_int_equal(io_read_file(at, "a/b/c/key", &b, 100, &err), 0);
	assert_string_equal(buf_cstr(&b), "new");
	assert_int_equal(io_read_file(at, "a/b/c/key", &b, 2, &err), -ERR_TOO_LARGE);
	assert_int_equal(io_read_file(at, "a/none", &b, 2, &err), -ERR_NOT_FOUND);
	assert_string_equal(err_msg(&err), "open a/none: No such file or directory");
	/* A failing write leaves the old contents and no temporary file. */
	fail_arm("io.write_file.before_rename=kill");
	pid_t child = fork();
	if (child == 0) {
		io_write_file(at, "a/b/c/key", SPAN("torn"), 0600, NULL);
		_exit(0);
	}
	fail_arm("");
	int status;
	waitpid(child, &status, 0);
	assert_true(WIFSIGNALED(status));
	buf_trunc(&b, 0);
	assert_int_equal(io_read_file(at, "a/b/c/key", &b, 100, &err), 0);
	assert_string_equal(buf_cstr(&b), "new");
	assert_int_equal(io_write_file(at, "a/none/key", SPAN("x"), 0600, &err), -ERR_NOT_FOUND);

	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(io_write_all(fds[1], "abcd", 4, &err), 0);
	close(fds[1]);
	char got[8];
	assert_int_equal(io_read_exact(fds[0], got, 3, &err), 0);
	assert_memory_equal(got, "abc", 3);
	assert_int_equal(io_read_exact(fds[0], got, 3, &err), -ERR_CORRUPT);
	close(fds[0]);
	pid_t remover = fork();
	if (remover == 0)
		execlp("rm", "rm", "-r", dir, (char *)NULL);
	waitpid(remover, &status, 0);
	assert_int_equal(status, 0);
}

static void memory_may_fail(void **state)
{
	mem_fail_after(2);
	void *a = mem_try_alloc(10), *b = mem_try_alloc(10), *c = mem_try_alloc(10);
	assert_non_null(a);
	assert_null(b);
	assert_non_null(c);
	free(a);
	free(c);
	auto_fd int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int given = take_fd(&fd);
	assert_int_equal(fd, -1);
	errno = 7;
	fd_close(&given);
	assert_int_equal(given, -1);
	assert_int_equal(errno, 7);
}

struct flag_row {
	const char *name;
	bool is_truth;
};
static const struct flag_row flag_rows[] = { { "port", false }, { NULL, true }, { "all", true }, { "v", false } };

/* What a walk tells, in one line: flags with their values, help, or the complaint. */
static void flags_tell(int argc, char **argv, const char *stray, struct buf *out)
{
	auto_err struct err err = ERR_INIT;
	struct flags w = FLAGS_OF(argc, argv, flag_rows, stray);
	struct span value;
	int rc;
	buf_trunc(out, 0);
	while ((rc = flags_next(&w, &err)) > 0) {
		if ((rc = flags_value(&w, flag_rows[w.row].is_truth, &value, &err)) < 0)
			break;
		assert_non_null(value.ptr);
		assert_int_equal(value.ptr[value.len], 0);
		buf_printf(out, "%s=[%s]", flag_rows[w.row].name, value.ptr);
	}
	if (w.help)
		buf_str(out, "help");
	if (rc < 0) {
		assert_int_equal(rc, -ERR_USAGE);
		buf_str(out, err_msg(&err));
	}
}

static void paths_have_one_form(void **state)
{
	static const char *const rows[][2] = { { "", "" }, { "/", "" }, { "./a//b/../c", "a/c" }, { "/a/", "a" }, { "a/..", "" },
					       { "../../a", "a" }, { "a/../../b/.", "b" }, { "...", "..." }, { "a/b/c/../..", "a" } };
	auto_arena struct arena a = {};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span got = path_clean(&a, span_of(rows[i][0]));
		assert_span(got, rows[i][1]);
		assert_int_equal(got.ptr[got.len], 0);
	}
}

static void flags_are_printed(void **state)
{
	static const struct {
		const char *name;
		int other;
		const char *help;
	} rows[] = { { "port", 1, "where" }, { NULL, 2, "no flag" }, { "all", 3, "(default true)" } };
	auto_fd int file = memfd_create("flags", MFD_CLOEXEC), before = dup(1);
	auto_buf struct buf got = {};
	(void)fflush(stdout);
	assert_int_equal(dup2(file, 1), 1);
	FLAGS_PRINT(rows);
	(void)fflush(stdout);
	assert_int_equal(dup2(before, 1), 1);
	assert_int_equal(lseek(file, 0, SEEK_SET), 0);
	assert_int_equal(io_read_all(file, &got, 1000, NULL), 0);
	assert_string_equal(buf_cstr(&got), "      --port                                     where\n"
					    "      --all                                      (default true)\n");
}

static void flags_walk(void **state)
{
	static const struct {
		const char *args[5];
		const char *want;
	} rows[] = {
		{ { NULL }, "" },
		{ { "--port=1", "--all", "-v=4" }, "port=[1]all=[true]v=[4]" },
		{ { "--port", "1", "--all=false", "-v", "4" }, "port=[1]all=[false]v=[4]" },
		{ { "--port=", "--v=a=b" }, "port=[]v=[a=b]" },
		{ { "--port", "--all" }, "port=[--all]" }, /* what stands behind is its value, whatever it looks like */
		{ { "--all", "--help", "--no" }, "all=[true]help" },
		{ { "-h" }, "help" },
		{ { "--port" }, "flag needs an argument: --port" },
		{ { "-v" }, "flag needs an argument: --v" },
		{ { "--all", "x" }, "all=[true]no flag: x" },
		{ { "-p" }, "no flag: -p" },
		{ { "" }, "no flag: " },
		{ { "--no=1" }, "unknown flag: --no" },
		{ { "--" }, "unknown flag: --" },
		{ { "-vv" }, "unknown flag: --vv" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf got = {};
		int n = 0;
		while (n < 5 && rows[i].args[n])
			n++;
		flags_tell(n, (char **)rows[i].args, "no flag:", &got);
		assert_string_equal(buf_cstr(&got), rows[i].want);
	}
}

static void notices(void **state)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char text[32];
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* An abstract name of the kernel's choosing: five hex digits behind a 0 byte (unix(7)). */
	socklen_t len = sizeof(at);
	assert_int_equal(bind(sock, (struct sockaddr *)&at, sizeof(sa_family_t)), 0);
	assert_int_equal(getsockname(sock, (struct sockaddr *)&at, &len), 0);
	snprintf(text, sizeof(text), "@%.*s", (int)(len - sizeof(sa_family_t) - 1), at.sun_path + 1);
	setenv("NOTIFY_SOCKET", text, 1);
	notify_ready();
	assert_int_equal(recv(sock, text, sizeof(text), 0), 7);
	assert_memory_equal(text, "READY=1", 7);
	setenv("NOTIFY_SOCKET", "relative", 1);
	notify_ready();
	unsetenv("NOTIFY_SOCKET");
	notify_ready();
	assert_int_equal(recv(sock, text, sizeof(text), 0), -1);
	close(sock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(span_parts),	   cmocka_unit_test(span_numbers),	  cmocka_unit_test(span_hashes),
		cmocka_unit_test(buf_grows),	   cmocka_unit_test(buf_keeps_its_limit), cmocka_unit_test(bytes_are_shared),
		cmocka_unit_test(arena_holds),	   cmocka_unit_test(err_tells),		  cmocka_unit_test(words_are_truth),
		cmocka_unit_test(error_numbers_have_words),
		cmocka_unit_test(err_table),
		cmocka_unit_test(map_against_model), cmocka_unit_test(list_order),	  cmocka_unit_test(times),
		cmocka_unit_test(clock_by_hand),   cmocka_unit_test(base64_rows),	  cmocka_unit_test(utf8_rows),
		cmocka_unit_test(escapes),	   cmocka_unit_test(log_lines),		  cmocka_unit_test(failpoints),
		cmocka_unit_test(flags_walk), cmocka_unit_test(flags_are_printed), cmocka_unit_test(paths_have_one_form),
		cmocka_unit_test(notices),	   cmocka_unit_test(descriptors), cmocka_unit_test(files),	   cmocka_unit_test(memory_may_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
