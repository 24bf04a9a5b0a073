/* The pure parts of describe: columns, words of fields. Its forms are compared with the real kubectl's in tests/82-kubectl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front/describe.c"

/* text/tabwriter: a column is a run of rows that have a cell in it; what a row ends with has no width. */
static void test_layout(void **state)
{
	static const struct { const char *text, *want; } rows[] = {
		{ "a:\tb\nlonger:\tc\n", "a:       b\nlonger:  c\n" },
		{ "a:\tb\nno cell\nlonger:\tc\n", "a:  b\nno cell\nlonger:  c\n" },
		{ "x\ty\tz\nxx\tend\nx\tyy\tz\n", "x   y  z\nxx  end\nx   yy  z\n" },
		{ "\ttail\nhead\t\tx\n", "      tail\nhead    x\n" },
		{ "\xc3\xa4:\tb\nab:\tc\n", "\xc3\xa4:   b\nab:  c\n" },
		{ "", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf out = {};
		describe_layout(&out, span_of(rows[i].text));
		assert_string_equal(buf_cstr(&out), rows[i].want);
	}
}

/* More cells than a row may have: the rest is one cell. */
static void test_layout_bound(void **state)
{
	auto_buf struct buf text = {}, out = {};
	for (int i = 0; i < 3 * CELLS_MAX; i++)
		buf_str(&text, "x\t");
	buf_str(&text, "end\n");
	describe_layout(&out, buf_span(&text));
	assert_true(span_ends(buf_span(&out), SPAN("x\tend\n")));
}

static void test_field_words(void **state)
{
	static const char *const rows[][2] = {
		{ "apiVersion", "API Version" }, { "podCIDR", "Pod CIDR" }, { "uid", "UID" }, { "creationTimestamp", "Creation Timestamp" },
		{ "HTTPGet", "HTTP Get" }, { "a.b/c", "a.b/c" }, { "clusterIPs", "Cluster I Ps" }, { "size", "Size" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf out = {};
		field_words(&out, span_of(rows[i][0]));
		assert_string_equal(buf_cstr(&out), rows[i][1]);
	}
}

/* An object cannot steer the terminal that it is described on. */
static void test_tame(void **state)
{
	struct front f = {};
	struct describe d = { .f = &f };
	describe_put(&d, 1, "%s:\t%s\n", "note", "\033[2J\rx");
	describe_flush(&d);
	assert_string_equal(buf_cstr(&f.out), "  note:  ^[[2J\\rx\n");
	buf_done(&d.text);
	buf_done(&f.out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout), cmocka_unit_test(test_layout_bound), cmocka_unit_test(test_field_words),
		cmocka_unit_test(test_tame),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
