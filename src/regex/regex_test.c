/* Tests of regex. What Go accepts, refuses and answers is the measure: a table by hand, recorded answers
 * (tests/vectors/regex-go.txt), Python's re where it means the same, and a plain backtracking matcher written
 * here. The matchers are included, so that each answers every question and must agree with the others. */
#include "regex/regex_match.c"
#include "regex/regex_dfa.c"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>
#include "base/child_test.h"

/* ---- asking */

/* All matches with all groups, as Go prints FindAllSubmatchIndex. */
static void print_all(const struct regex *re, struct regex_scratch *scratch, struct span text, struct buf *out)
{
	struct regex_walk walk = {};
	struct regex_range groups[64];
	unsigned n = MIN(regex_n_groups(re), (unsigned)ARRAY_LEN(groups));
	while (regex_find_next(re, scratch, text, &walk, groups, n, NULL) > 0) {
		buf_chr(out, '[');
		for (unsigned i = 0; i < n; i++)
			buf_printf(out, "%s%td,%td", i ? "," : "", groups[i].from, groups[i].to);
		buf_chr(out, ']');
	}
}

/* Every matcher that this file has answers the same question. */
static void check_engines(const struct regex *re, struct regex_scratch *scratch, struct span pattern, struct span text)
{
	ptrdiff_t a[32], b[32];
	size_t n = MIN((size_t)regex_n_groups(re) * 2, ARRAY_LEN(a));
	if (!text.ptr)
		text = SPAN("");
	for (size_t i = 0; i < n; i++)
		a[i] = b[i] = -1;
	bool found = pike_find(re, scratch, text, 0, a, n);
	if (text.len * re->n_insts < 1 << 20) {
		bool also = backtrack_find(re, scratch, text, 0, b, n);
		if (found != also || (found && memcmp(a, b, n * sizeof(*a)) != 0))
			fail_msg("/%.*s/ on \"%.*s\": threads %d %td,%td, backtracking %d %td,%td", SPAN_ARG(pattern),
				 SPAN_ARG(text), found, a[0], a[1], also, b[0], b[1]);
	}
	if (re->n_classes && regex_dfa_matches(re, scratch, text) != found)
		fail_msg("/%.*s/ on \"%.*s\": threads %d, automaton not", SPAN_ARG(pattern), SPAN_ARG(text), found);
	if (re->table && table_matches(re, text, &scratch->steps) != found)
		fail_msg("/%.*s/ on \"%.*s\": threads %d, table not", SPAN_ARG(pattern), SPAN_ARG(text), found);
	assert_int_equal(regex_matches(re, scratch, text), found);
}

/* ---- syntax */

static void accepts(void **state)
{
	static const char *const rows[] = {
		"", "a", "a.", "a.b", "ab", "a|b", "a||b", "|", "()", "(|a)*", "a*", "a+?", "a{2}", "a{2,3}", "a{2,}?", "a{0,1000}",
		"a{,2}", "a{", "a{2", "a{2,", "a{x}", "{", "}", "]", "a{01}", "(?:a*)*", "^*", "$+", "a(?i)*", "\\_", "\\.", "\\-",
		"[]a]", "[^]a]", "[a-]", "[-a]", "[a\\-z]", "[\\d-z]", "[[:alpha:]]", "[[:^alpha:]x]", "[[:word:]]", "[:alpha:]",
		"\\pL", "\\PL", "\\p{L}", "\\p{Lu}", "\\p{^Lu}", "\\P{^Lu}", "\\p{Greek}", "\\p{Any}", "\\pZ", "\\p{Kawi}",
		"\\x41", "\\x{10FFFF}", "\\101", "\\0", "\\07", "\\a\\f\\n\\r\\t\\v", "\\Q+*\\E", "\\Qab", "a*\\Q\\E*", "\\A\\z\\b\\B",
		"(?P<n>a)", "(?<n>a)", "(?P<n>a)(?P<n>b)", "(?P<1>a)", "(?i)a", "(?i:a)", "(?im-sU:a)", "(?-i)a", "(?)", "(?:)",
		"((a{10}){10}){10}", "(a{1000}){0}", "\xe2\x82\xac", "[\xe2\x82\xac-\xe2\x82\xad]", "\\\\", "\x01\x7f",
		"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err err = ERR_INIT;
		auto_regex struct regex *re = regex_new(span_of(rows[i]), 0, &err);
		if (!re)
			fail_msg("/%s/ refused: %s", rows[i], err_msg(&err));
		assert_int_equal(err.class, ERR_NONE);
	}
}

static void refuses(void **state)
{
	static const struct {
		const char *pattern, *words;
	} rows[] = {
		{ "a(b", "missing closing ): `a(b`" },
		{ "(a))", "unexpected ): `(a))`" },
		{ ")", "unexpected ): `)`" },
		{ "a)(", "unexpected ): `a)(`" },
		{ "[a", "missing closing ]: `[a`" },
		{ "x[]", "missing closing ]: `[]`" },
		{ "[^]", "missing closing ]: `[^]`" },
		{ "[a-", "missing closing ]: `[a-`" },
		{ "a**", "invalid nested repetition operator: `**`" },
		{ "a*?+", "invalid nested repetition operator: `*?+`" },
		{ "a{2}{3}", "invalid nested repetition operator: `{2}{3}`" },
		{ "a*??", "invalid nested repetition operator: `*??`" },
		{ "*", "missing argument to repetition operator: `*`" },
		{ "a|+b", "missing argument to repetition operator: `+`" },
		{ "(?i)*", "missing argument to repetition operator: `*`" },
		{ "({1}?)", "missing argument to repetition operator: `{1}?`" },
		{ "a{1001}", "invalid repeat count: `{1001}`" },
		{ "a{2,1}", "invalid repeat count: `{2,1}`" },
		{ "a{0,99999999999}", "invalid repeat count: `{0,99999999999}`" },
		{ "(a{40}){30}", "invalid repeat count: `{30}`" },
		{ "((a{2}){2}){251}", "invalid repeat count: `{251}`" },
		{ "(?:(?:a{2}){600,})?", "invalid repeat count: `{600,}`" },
		{ "\\", "trailing backslash at end of expression: ``" },
		{ "[\\", "trailing backslash at end of expression: ``" },
		{ "a\\q", "invalid escape sequence: `\\q`" },
		{ "\\1", "invalid escape sequence: `\\1`" },
		{ "\\8", "invalid escape sequence: `\\8`" },
		{ "\\C", "invalid escape sequence: `\\C`" },
		{ "\\Z", "invalid escape sequence: `\\Z`" },
		{ "[\\b]", "invalid escape sequence: `\\b`" },
		{ "\\x", "invalid escape sequence: `\\x`" },
		{ "\\x4", "invalid escape sequence: `\\x4`" },
		{ "\\x4g", "invalid escape sequence: `\\x4g`" },
		{ "\\x{", "invalid escape sequence: `\\x{`" },
		{ "\\x{}", "invalid escape sequence: `\\x{}`" },
		{ "\\x{110000}", "invalid escape sequence: `\\x{110000`" },
		{ "\\\xc3\xa9", "invalid escape sequence: `\\\xc3\xa9`" },
		{ "[b-a]", "invalid character class range: `b-a`" },
		{ "[a-\\d]", "invalid escape sequence: `\\d`" },
		{ "[[:foo:]]", "invalid character class range: `[:foo:]`" },
		{ "\\p", "invalid character class range: `\\p`" },
		{ "\\pX", "invalid character class range: `\\pX`" },
		{ "\\p{Lq}", "invalid character class range: `\\p{Lq}`" },
		{ "\\p{greek}", "invalid character class range: `\\p{greek}`" },
		{ "\\p{", "invalid character class range: `\\p{`" },
		{ "\\p{Cn}", "invalid character class range: `\\p{Cn}`" },
		{ "(?P<", "invalid or unsupported Perl syntax: `(?P`" },
		{ "(?P<n", "invalid named capture: `(?P<n`" },
		{ "(?P<>a)", "invalid named capture: `(?P<>`" },
		{ "(?<n-m>a)", "invalid named capture: `(?<n-m>`" },
		{ "(?=a)", "invalid or unsupported Perl syntax: `(?=`" },
		{ "(?<=a)", "invalid named capture: `(?<=a)`" },
		{ "(?<!a>)", "invalid named capture: `(?<!a>`" },
		{ "(?P=n)", "invalid or unsupported Perl syntax: `(?P`" },
		{ "(?#c)", "invalid or unsupported Perl syntax: `(?#`" },
		{ "(?i-)", "invalid or unsupported Perl syntax: `(?i-)`" },
		{ "(?i--s)", "invalid or unsupported Perl syntax: `(?i--`" },
		{ "(?i", "invalid or unsupported Perl syntax: `(?i`" },
		{ "a(?", "invalid or unsupported Perl syntax: `(?`" },
		{ "a\xff""b", "invalid UTF-8: `\xff""b`" },
		{ "[a\xff]", "invalid UTF-8: `\xff]`" },
		{ "\\\xff", "invalid UTF-8: `\xff`" },
		{ "\\Qa\xff\\Eb", "invalid UTF-8: `\xff`" },
		{ "(?P<\xff>a)", "invalid UTF-8: `\xff`" },
		{ "\\p{\xff}", "invalid UTF-8: `\xff`" },
		{ "\xed\xa0\x80", "invalid UTF-8: `\xed\xa0\x80`" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err err = ERR_INIT;
		auto_regex struct regex *re = regex_new(span_of(rows[i].pattern), 0, &err);
		if (re)
			fail_msg("/%s/ accepted", rows[i].pattern);
		assert_int_equal(err.class, ERR_INVALID);
		struct span got = span_of(err_msg(&err)), head = SPAN("error parsing regexp: ");
		assert_true(span_starts(got, head));
		if (!span_is(span_from(got, head.len), rows[i].words))
			fail_msg("/%s/: \"%s\", want \"%s\"", rows[i].pattern, err_msg(&err), rows[i].words);
	}
	assert_null(regex_new(SPAN("("), 0, NULL));
}

static void repeated(struct buf *out, const char *text, size_t times)
{
	while (times--)
		buf_str(out, text);
}

static void check_refused(struct buf *pattern, const char *words)
{
	auto_err struct err err = ERR_INIT;
	auto_regex struct regex *re = regex_new(buf_span(pattern), 0, &err);
	if (re)
		fail_msg("accepted %.60s... (%zu bytes)", buf_cstr(pattern), pattern->len);
	auto_buf struct buf want = {};
	buf_printf(&want, "error parsing regexp: %s: `%s`", words, buf_cstr(pattern));
	assert_string_equal(err_msg(&err), buf_cstr(&want));
}

static void limits(void **state)
{
	static const struct {
		const char *open, *close;
	} nests[] = { { "(", ")" }, { "(?:", ")*" }, { "(?:a|b?", ")" } };
	for (size_t i = 0; i < ARRAY_LEN(nests); i++) {
		auto_buf struct buf b = {};
		repeated(&b, nests[i].open, 1000);
		repeated(&b, nests[i].close, 1000);
		check_refused(&b, "expression nests too deeply");
	}
	auto_buf struct buf deep = {};
	repeated(&deep, "(", 999);
	repeated(&deep, ")", 999);
	auto_regex struct regex *re = regex_new(buf_span(&deep), 0, NULL);
	assert_non_null(re);
	assert_int_equal(regex_n_groups(re), 1000);
	struct regex_scratch scratch = {};
	assert_true(regex_matches(re, &scratch, SPAN("x")));

	/* Groups that only group cost no height. */
	auto_buf struct buf plain = {};
	repeated(&plain, "(?:", 20000);
	buf_chr(&plain, 'a');
	repeated(&plain, ")", 20000);
	auto_regex struct regex *flat = regex_new(buf_span(&plain), 0, NULL);
	assert_non_null(flat);
	assert_int_equal(flat->n_insts, 2);

	auto_buf struct buf large = {};
	repeated(&large, "(abcdefgh){1000}", 30);
	check_refused(&large, "expression too large");
	buf_trunc(&large, 0);
	repeated(&large, "x", REGEX_MAX_INSTS + 2);
	check_refused(&large, "expression too large");
	/* Many large classes, each different: by memory. */
	buf_trunc(&large, 0);
	for (int i = 0; i < 8000; i++)
		buf_printf(&large, "[\\pL\\x{%x}]", 0x10000 + 2 * i);
	check_refused(&large, "expression too large");
	/* One class put together from ever the same: by work. */
	buf_trunc(&large, 0);
	buf_chr(&large, '[');
	repeated(&large, "\\pL", 50000);
	buf_chr(&large, ']');
	check_refused(&large, "expression too large");
	buf_trunc(&large, 0);
	repeated(&large, "(?i)[\\x{0}-\\x{1e900}]", 5000);
	check_refused(&large, "expression too large");

	/* What looks like the beginning of [:name:] a hundred thousand times: each would look for an end. */
	buf_trunc(&large, 0);
	repeated(&large, "[[:", 100000);
	check_refused(&large, "missing closing ]");

	/* The same class a thousand times is stored once. */
	buf_trunc(&large, 0);
	repeated(&large, "\\pL", 1000);
	auto_regex struct regex *shared = regex_new(buf_span(&large), 0, NULL);
	assert_non_null(shared);
	assert_int_equal(shared->sets.n, 1);
	assert_in_range(regex_size(shared), 12000, 50000);

	/* Many groups wanted from a large program: refused as an error, not tried. */
	buf_trunc(&large, 0);
	repeated(&large, "(a?)", 20000);
	auto_regex struct regex *groups = regex_new(buf_span(&large), 0, NULL);
	assert_non_null(groups);
	auto_free struct regex_range *out = mem_alloc(20001 * sizeof(*out));
	auto_err struct err err = ERR_INIT;
	assert_int_equal(regex_find(groups, &scratch, SPAN("aa"), 0, out, 20001, &err), -ERR_TOO_LARGE);
	assert_string_equal(err_msg(&err), "regular expression of 80001 instructions: too large to find 20001 groups");
	assert_int_equal(regex_find(groups, &scratch, SPAN("aa"), 0, out, 2, &err), 1);
	assert_int_equal(out[1].to, 1);
	regex_scratch_done(&scratch);
}

/* ---- answers */

static void finds(void **state)
{
	static const struct {
		const char *pattern, *text, *want;
	} rows[] = {
		{ "", "", "[0,0]" },
		{ "", "ab", "[0,0][1,1][2,2]" },
		{ "a*", "baac", "[0,0][1,3][4,4]" },
		{ "a|ab", "ab", "[0,1]" },
		{ "(a|ab)(c|bcd)(d*)", "abcd", "[0,4,0,1,1,4,4,4]" },
		{ "(a+)(b+)", "xaabb", "[1,5,1,3,3,5]" },
		{ "(a+?)(a*)", "aaa", "[0,3,0,1,1,3]" },
		{ "(?U)(a+)(a*)", "aaa", "[0,1,0,1,1,1][1,2,1,2,2,2][2,3,2,3,3,3]" },
		{ "(a)|(b)", "ba", "[0,1,-1,-1,0,1][1,2,1,2,-1,-1]" },
		{ "(a)*b", "aab", "[0,3,1,2]" },
		{ "(|a)*", "aa", "[0,0,0,0][1,1,1,1][2,2,2,2]" },
		{ "(|a)+", "aa", "[0,0,0,0][1,1,1,1][2,2,2,2]" },
		{ "(a|b)*?c", "abc", "[0,3,1,2]" },
		{ "^abc$", "abc", "[0,3]" },
		{ "^b", "ab\nb", "" },
		{ "(?m)^b", "ab\nb", "[3,4]" },
		{ "(?m)a$", "a\nba", "[0,1][3,4]" },
		{ "(?m)^$", "\n\n", "[0,0][1,1][2,2]" },
		{ "a$", "a\n", "" },
		{ "a\\z", "a\n", "" },
		{ ".", "\n", "" },
		{ "(?s).", "\n", "[0,1]" },
		{ "[^a]", "\n", "[0,1]" },
		{ "\\bfoo\\b", "foo foobar foo", "[0,3][11,14]" },
		{ "\\B", "ab", "[1,1]" },
		{ "\\b", "\xc3\xa9", "" },
		{ "(?i)straSSE", "STRASSE Stra\xc5\xbfse", "[0,7][8,16]" },
		{ "(?i)k", "kK\xe2\x84\xaa", "[0,1][1,2][2,5]" },
		{ "(?i)[^k]", "kK\xe2\x84\xaa", "" },
		{ "(?i)\\x{3c3}", "\xcf\x83\xcf\x82\xce\xa3", "[0,2][2,4][4,6]" },
		{ "(?i)\\w", "\xc5\xbf", "[0,2]" },
		{ "a(?i)b(?-i)c", "aBc aBC Abc", "[0,3]" },
		{ "(?i:a)b", "Ab AB", "[0,2]" },
		{ "(a(?i)b)c", "aBc aBC", "[0,3,0,2]" },
		{ "\\s+", "a \t\n\v b", "[1,4][5,6]" },
		{ "[[:space:]]+", "a \t\n\v b", "[1,6]" },
		{ "\\p{Greek}+", "a\xce\xb1\xce\xb2 ", "[1,5]" },
		{ "\\pN", "a\xe0\xa5\xa9", "[1,4]" },
		{ "\\p{Kawi}", "\xf0\x91\xbc\x84", "[0,4]" }, /* Unicode 15 */
		{ "[\\p{Han}b]+", "a\xe6\xbc\xa2""b", "[1,5]" },
		{ "\\Q.*\\E+", "a.***", "[1,5]" },
		{ "\\x41\\102\\x{43}", "ABC", "[0,3]" },
		{ "x{2,3}", "xxxxx", "[0,3][3,5]" },
		{ "x{2,3}?", "xxxxx", "[0,2][2,4]" },
		{ "x{0}y", "xy", "[1,2]" },
		{ "(x){0}y", "xy", "[1,2,-1,-1]" },
		{ "(?:(a)|b){2}", "ab", "[0,2,0,1]" },
		{ "a{,2}", "a{,2}", "[0,5]" },
		{ ".", "\xff\xe6\xbc\xc3", "[0,1][1,2][2,3][3,4]" },
		{ "\\x{fffd}", "\xff\xef\xbf\xbd", "[0,1][1,4]" },
		{ "[^\\x{0}-\\x{10ffff}]", "a", "" },
		{ "[^\\x{0}-\\x{10ffff}]*", "a", "[0,0][1,1]" },
		{ "(?:(?:^)*a)+", "aa", "[0,2]" },
		{ "$^", "", "[0,0]" },
	};
	struct regex_scratch scratch = {};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span pattern = span_of(rows[i].pattern), text = span_of(rows[i].text);
		auto_err struct err err = ERR_INIT;
		auto_regex struct regex *re = regex_new(pattern, 0, &err);
		if (!re)
			fail_msg("/%s/ refused: %s", rows[i].pattern, err_msg(&err));
		auto_buf struct buf got = {};
		print_all(re, &scratch, text, &got);
		if (!span_is(buf_span(&got), rows[i].want))
			fail_msg("/%s/ on \"%s\": %s, want %s", rows[i].pattern, rows[i].text, buf_cstr(&got), rows[i].want);
		check_engines(re, &scratch, pattern, text);
	}
	regex_scratch_done(&scratch);
}

static void flags_and_names(void **state)
{
	static const struct {
		const char *pattern;
		unsigned flags;
		const char *text;
		bool want;
	} rows[] = {
		{ "ab", REGEX_FOLD, "AB", true },	     { "(?-i)ab", REGEX_FOLD, "AB", false },
		{ "^b", REGEX_MULTI_LINE, "a\nb", true },    { "a.b", REGEX_DOT_NL, "a\nb", true },
		{ "a.b", 0, "a\nb", false },		     { "a.b(", REGEX_LITERAL, "xa.b(", true },
		{ "A*", REGEX_LITERAL | REGEX_FOLD, "a*", true }, { "a*", REGEX_LITERAL, "aa", false },
	};
	struct regex_scratch scratch = {};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_regex struct regex *re = regex_new(span_of(rows[i].pattern), rows[i].flags, NULL);
		assert_non_null(re);
		if (regex_matches(re, &scratch, span_of(rows[i].text)) != rows[i].want)
			fail_msg("/%s/ flags %u on \"%s\": want %d", rows[i].pattern, rows[i].flags, rows[i].text, rows[i].want);
	}
	struct regex_range m;
	auto_regex struct regex *lazy = regex_new(SPAN("a+"), REGEX_UNGREEDY, NULL);
	assert_int_equal(regex_find(lazy, &scratch, SPAN("baaa"), 0, &m, 1, NULL), 1);
	assert_int_equal(m.to, 2);

	auto_regex struct regex *re = regex_new(SPAN("(?P<year>\\d+)-(x)(?<month>\\d+)"), 0, NULL);
	assert_int_equal(regex_n_groups(re), 4);
	assert_true(span_is(regex_group_name(re, 1), "year"));
	assert_true(span_is(regex_group_name(re, 3), "month"));
	assert_int_equal(regex_group_name(re, 0).len, 0);
	assert_int_equal(regex_group_name(re, 2).len, 0);
	assert_int_equal(regex_group_name(re, 99).len, 0);

	/* From an offset: what stands before still counts. */
	auto_regex struct regex *word = regex_new(SPAN("\\b."), 0, NULL), *start = regex_new(SPAN("^b|c"), 0, NULL);
	assert_int_equal(regex_find(word, &scratch, SPAN("ab cd"), 1, &m, 1, NULL), 1);
	assert_int_equal(m.from, 2);
	assert_int_equal(regex_find(start, &scratch, SPAN("abc"), 1, &m, 1, NULL), 1);
	assert_int_equal(m.from, 2);
	assert_int_equal(regex_find(start, &scratch, SPAN("abc"), 3, &m, 1, NULL), 0);
	assert_int_equal(regex_find(start, &scratch, SPAN("abc"), 4, &m, 1, NULL), 0);
	assert_true(regex_matches(start, &scratch, SPAN("xc")));
	assert_false(regex_matches(start, &scratch, SPAN_EMPTY));

	auto_buf struct buf quoted = {};
	regex_quote(&quoted, SPAN("a.b*[\\]$^+?(){}|-\n"));
	assert_string_equal(buf_cstr(&quoted), "a\\.b\\*\\[\\\\\\]\\$\\^\\+\\?\\(\\)\\{\\}\\|-\n");
	auto_regex struct regex *self = regex_new(buf_span(&quoted), 0, NULL);
	assert_true(regex_matches(self, &scratch, SPAN("a.b*[\\]$^+?(){}|-\n")));
	regex_scratch_done(&scratch);
}

/* ---- recorded answers of Go */

static void go_vectors(void **state)
{
	auto_buf struct buf file = {};
	auto_err struct err err = ERR_INIT;
	if (io_read_file(AT_FDCWD, "tests/vectors/regex-go.txt", &file, 1 << 22, &err) < 0)
		fail_msg("%s", err_msg(&err));
	struct regex_scratch scratch = {};
	struct span rest = buf_span(&file), line;
	int n = 0;
	while (span_cut(&rest, '\n', &line) && line.len) {
		struct span input, want, pattern, text;
		assert_true(span_split(line, '\t', &input, &want));
		assert_true(span_split(input, ' ', &pattern, &text));
		auto_free char *bytes = mem_alloc(line.len + 1);
		char *text_at = bytes + pattern.len / 2, *want_at = text_at + text.len / 2;
		assert_true(hex_parse(pattern, bytes) && hex_parse(text, text_at));
		pattern = span_make(bytes, pattern.len / 2);
		text = span_make(text_at, text.len / 2);
		auto_err struct err refused = ERR_INIT;
		auto_regex struct regex *re = regex_new(pattern, 0, &refused);
		auto_buf struct buf got = {};
		if (span_starts(want, SPAN("error "))) {
			want = span_from(want, 6);
			assert_true(hex_parse(want, want_at));
			want = span_make(want_at, want.len / 2);
			buf_str(&got, re ? "accepted" : err_msg(&refused));
		} else if (!re) {
			buf_str(&got, err_msg(&refused));
		} else {
			print_all(re, &scratch, text, &got);
			check_engines(re, &scratch, pattern, text);
		}
		if (!span_eq(buf_span(&got), want))
			fail_msg("/%.*s/ on \"%.*s\": %s, Go %.*s", SPAN_ARG(pattern), SPAN_ARG(text), buf_cstr(&got),
				 SPAN_ARG(want));
		n++;
	}
	assert_int_equal(n, 2000);
	regex_scratch_done(&scratch);
}

/* ---- a plain backtracking matcher, exponential and obvious, on random patterns */

struct tree {
	enum { T_RUNE, T_ANY, T_SET, T_LOOK, T_CONCAT, T_ALT, T_STAR, T_PLUS, T_QUEST, T_GROUP } kind;
	bool lazy, nullable;
	char c;   /* T_RUNE; T_LOOK: its letter */
	int group;
	struct tree *a, *b;
};

struct random_pattern {
	struct tree nodes[64];
	int n_nodes, n_groups;
	struct rng rng;
	struct buf text;
};

/* Loops get bodies that consume only: what an empty round means is Go's own rule (recorded above). */
static struct tree *random_tree(struct random_pattern *p, int depth)
{
	struct tree *t = &p->nodes[p->n_nodes++];
	uint64_t kind = rng_below(&p->rng, depth <= 0 || p->n_nodes > 40 ? 5 : 14);
	*t = (struct tree){ .kind = T_RUNE, .c = (char)('a' + rng_below(&p->rng, 2)) };
	switch (kind) {
	case 3:
		t->kind = T_ANY;
		buf_chr(&p->text, '.');
		break;
	case 4:
		t->kind = T_LOOK;
		t->nullable = true;
		t->c = "^$bB"[rng_below(&p->rng, 4)];
		buf_printf(&p->text, "%s%c", t->c > 'A' && t->c != '^' ? "\\" : "", t->c);
		break;
	case 5:
		t->kind = T_SET;
		buf_printf(&p->text, "[^%c]", t->c);
		break;
	case 6:
	case 7:
	case 8:
		t->kind = T_CONCAT;
		t->a = random_tree(p, depth - 1);
		t->b = random_tree(p, depth - 1);
		t->nullable = t->a->nullable && t->b->nullable;
		break;
	case 9:
	case 10:
		t->kind = T_ALT;
		buf_str(&p->text, "(?:");
		t->a = random_tree(p, depth - 1);
		buf_chr(&p->text, '|');
		t->b = random_tree(p, depth - 1);
		buf_chr(&p->text, ')');
		t->nullable = t->a->nullable || t->b->nullable;
		break;
	case 11:
		t->kind = T_GROUP;
		t->group = ++p->n_groups;
		buf_chr(&p->text, '(');
		t->a = random_tree(p, depth - 1);
		buf_chr(&p->text, ')');
		t->nullable = t->a->nullable;
		break;
	case 12:
	case 13: {
		buf_str(&p->text, "(?:");
		t->a = random_tree(p, depth - 1);
		buf_chr(&p->text, ')');
		static const char ops[] = "*+?";
		uint64_t op = t->a->nullable ? 2 : rng_below(&p->rng, 3);
		t->kind = op == 0 ? T_STAR : op == 1 ? T_PLUS : T_QUEST;
		t->lazy = rng_below(&p->rng, 2);
		t->nullable = op != 1;
		buf_printf(&p->text, "%c%s", ops[op], t->lazy ? "?" : "");
		break;
	}
	default:
		buf_chr(&p->text, t->c);
	}
	return t;
}

struct reference {
	struct span text;
	ptrdiff_t slots[2 + 2 * 64];
	ptrdiff_t best[2 + 2 * 64];
	long budget; /* steps left; a text that needs more is left out */
};

/* What is still to match behind the current node. */
struct rest {
	enum { R_NODE, R_LOOP, R_CLOSE } kind;
	const struct tree *node;
	struct rest *then;
};

static bool reference_match(struct reference *r, const struct tree *t, size_t at, struct rest *then);

static bool reference_rest(struct reference *r, size_t at, struct rest *then)
{
	if (!then) {
		memcpy(r->best, r->slots, sizeof(r->best));
		r->best[1] = (ptrdiff_t)at;
		return true;
	}
	if (then->kind == R_NODE)
		return reference_match(r, then->node, at, then->then);
	if (then->kind == R_CLOSE) {
		ptrdiff_t old = r->slots[then->node->group * 2 + 1];
		r->slots[then->node->group * 2 + 1] = (ptrdiff_t)at;
		if (reference_rest(r, at, then->then))
			return true;
		r->slots[then->node->group * 2 + 1] = old;
		return false;
	}
	/* Behind one round of a loop: another, or on. */
	const struct tree *t = then->node;
	struct rest again = { .kind = R_LOOP, .node = t, .then = then->then };
	if (t->lazy)
		return reference_rest(r, at, then->then) || reference_match(r, t->a, at, &again);
	return reference_match(r, t->a, at, &again) || reference_rest(r, at, then->then);
}

static bool reference_match(struct reference *r, const struct tree *t, size_t at, struct rest *then)
{
	if (--r->budget < 0)
		return false;
	bool more = at < r->text.len;
	char c = more ? r->text.ptr[at] : 0;
	switch (t->kind) {
	case T_RUNE:
		return more && c == t->c && reference_rest(r, at + 1, then);
	case T_ANY:
		return more && c != '\n' && reference_rest(r, at + 1, then);
	case T_SET:
		return more && c != t->c && reference_rest(r, at + 1, then);
	case T_LOOK: {
		bool before = at > 0 && regex_is_word((uint8_t)r->text.ptr[at - 1]), after = more && regex_is_word((uint8_t)c);
		bool holds = t->c == '^' ? at == 0 : t->c == '$' ? !more : t->c == 'b' ? before != after : before == after;
		return holds && reference_rest(r, at, then);
	}
	case T_CONCAT: {
		struct rest second = { .kind = R_NODE, .node = t->b, .then = then };
		return reference_match(r, t->a, at, &second);
	}
	case T_ALT:
		return reference_match(r, t->a, at, then) || reference_match(r, t->b, at, then);
	case T_QUEST:
		if (t->lazy)
			return reference_rest(r, at, then) || reference_match(r, t->a, at, then);
		return reference_match(r, t->a, at, then) || reference_rest(r, at, then);
	case T_PLUS: {
		struct rest loop = { .kind = R_LOOP, .node = t, .then = then };
		return reference_match(r, t->a, at, &loop);
	}
	case T_STAR: {
		struct rest loop = { .kind = R_LOOP, .node = t, .then = then };
		return reference_rest(r, at, &loop);
	}
	case T_GROUP: {
		struct rest close = { .kind = R_CLOSE, .node = t, .then = then };
		ptrdiff_t old = r->slots[t->group * 2];
		r->slots[t->group * 2] = (ptrdiff_t)at;
		if (reference_match(r, t->a, at, &close))
			return true;
		r->slots[t->group * 2] = old;
		return false;
	}
	}
	return false;
}

static void against_reference(void **state)
{
	struct regex_scratch scratch = {};
	int compared = 0, matched = 0;
	for (uint64_t seed = 1; seed <= 4000; seed++) {
		struct random_pattern p = {};
		rng_init(&p.rng, seed);
		struct tree *tree = random_tree(&p, 6);
		struct span pattern = buf_span(&p.text);
		auto_regex struct regex *re = regex_new(pattern, 0, NULL);
		if (!re)
			fail_msg("seed %ju: /%.*s/ refused", (uintmax_t)seed, SPAN_ARG(pattern));
		for (int k = 0; k < 12; k++) {
			char text[12];
			struct reference r = { .text = { text, rng_below(&p.rng, sizeof(text)) }, .budget = 200000 };
			for (size_t i = 0; i < r.text.len; i++)
				text[i] = "aabb \n"[rng_below(&p.rng, 6)];
			bool want = false;
			for (size_t from = 0; from <= r.text.len && !want; from++) {
				memset(r.slots, 0xff, sizeof(r.slots));
				r.slots[0] = (ptrdiff_t)from;
				want = reference_match(&r, tree, from, NULL);
			}
			if (r.budget < 0)
				continue;
			struct regex_range got[64];
			int found = regex_find(re, &scratch, r.text, 0, got, ARRAY_LEN(got), NULL);
			if (found != want)
				fail_msg("seed %ju: /%.*s/ on \"%.*s\": %d, want %d", (uintmax_t)seed, SPAN_ARG(pattern),
					 SPAN_ARG(r.text), found, want);
			for (int g = 0; want && g <= p.n_groups; g++)
				if (got[g].from != r.best[2 * g] || got[g].to != r.best[2 * g + 1])
					fail_msg("seed %ju: /%.*s/ on \"%.*s\": group %d is %td,%td, want %td,%td",
						 (uintmax_t)seed, SPAN_ARG(pattern), SPAN_ARG(r.text), g, got[g].from,
						 got[g].to, r.best[2 * g], r.best[2 * g + 1]);
			check_engines(re, &scratch, pattern, r.text);
			compared++;
			matched += want;
		}
		buf_done(&p.text);
	}
	assert_in_range(compared, 40000, 48000);
	assert_in_range(matched, 5000, 45000);
	regex_scratch_done(&scratch);
}

/* ---- Python's re */

/* Runs the script with `in` on its standard input; false when there is no python3. */
static bool run_python(const char *script, struct span in, struct buf *out)
{
	static const char *const programs[] = { "python3", NULL };
	const char *argv[] = { "python3", script, NULL };
	int status = child_run(programs, argv, in, false, out);
	if (status != 127)
		assert_int_equal(status, 0);
	return status != 127;
}

static void against_python(void **state)
{
	auto_buf struct buf in = {}, want = {};
	struct regex_scratch scratch = {};
	enum { COUNT = 3000 };
	struct span patterns[COUNT], texts[COUNT];
	struct arena arena = {};
	for (uint64_t i = 0; i < COUNT; i++) {
		struct random_pattern p = {};
		rng_init(&p.rng, 1000000 + i);
		(void)random_tree(&p, 6);
		char text[12];
		size_t len = 1 + rng_below(&p.rng, sizeof(text)); /* on "" Python 3.11 finds no \B */
		for (size_t k = 0; k < len; k++)
			text[k] = "aabb "[rng_below(&p.rng, 5)];
		patterns[i] = arena_span(&arena, buf_span(&p.text));
		texts[i] = arena_span(&arena, span_make(text, len));
		buf_printf(&in, "%.*s\t%.*s\n", SPAN_ARG(patterns[i]), SPAN_ARG(texts[i]));
		buf_done(&p.text);
	}
	if (!run_python("src/regex/regex_test_python.py", buf_span(&in), &want)) {
		print_message("skipped: no python3\n");
		skip();
	}
	struct span rest = buf_span(&want), line;
	for (size_t i = 0; i < COUNT; i++) {
		assert_true(span_cut(&rest, '\n', &line));
		if (span_is(line, "?")) /* Python takes too long */
			continue;
		auto_regex struct regex *re = regex_new(patterns[i], 0, NULL);
		assert_non_null(re);
		struct regex_range m[64];
		auto_buf struct buf got = {};
		unsigned n = regex_n_groups(re);
		if (regex_find(re, &scratch, texts[i], 0, m, ARRAY_LEN(m), NULL) > 0)
			for (unsigned g = 0; g < n; g++)
				buf_printf(&got, "%s%td,%td", g ? " " : "", m[g].from, m[g].to);
		else
			buf_chr(&got, '-');
		if (!span_eq(buf_span(&got), line))
			fail_msg("/%.*s/ on \"%.*s\": %s, Python %.*s", SPAN_ARG(patterns[i]), SPAN_ARG(texts[i]),
				 buf_cstr(&got), SPAN_ARG(line));
	}
	arena_done(&arena);
	regex_scratch_done(&scratch);
}

/* ---- time and memory */

/* Steps for a text of n and of 2n: the second is at most about twice the first. */
static void check_linear(const char *pattern, const char *unit, const char *tail, size_t n)
{
	uint64_t steps[2][3];
	auto_regex struct regex *re = regex_new(span_of(pattern), 0, NULL);
	assert_non_null(re);
	for (int i = 0; i < 2; i++) {
		auto_buf struct buf text = {};
		repeated(&text, unit, n << i);
		buf_str(&text, tail);
		for (int engine = 0; engine < 3; engine++) {
			struct regex_scratch scratch = {};
			ptrdiff_t slots[2];
			if (engine == 0)
				(void)regex_matches(re, &scratch, buf_span(&text));
			else if (engine == 1)
				(void)pike_find(re, &scratch, buf_span(&text), 0, slots, 2);
			else
				(void)regex_find(re, &scratch, buf_span(&text), 0, &(struct regex_range){}, 1, NULL);
			steps[i][engine] = scratch.steps;
			uint64_t bound = 4 * (uint64_t)(re->n_insts + 1) * (text.len + 2);
			if (scratch.steps > bound)
				fail_msg("/%s/ engine %d: %ju steps for %zu bytes and %u instructions", pattern, engine,
					 (uintmax_t)scratch.steps, text.len, re->n_insts);
			regex_scratch_done(&scratch);
		}
	}
	for (int engine = 0; engine < 3; engine++)
		if (steps[1][engine] > steps[0][engine] * 5 / 2 + 100)
			fail_msg("/%s/ engine %d: %ju steps, then %ju for twice the text", pattern, engine,
				 (uintmax_t)steps[0][engine], (uintmax_t)steps[1][engine]);
}

static void linear_time(void **state)
{
	check_linear("(a*)*b", "a", "", 5000);
	check_linear("(a*)*$", "a", "b", 5000);
	check_linear("^(x+x+)+y$", "x", "", 5000);
	check_linear("(a|aa)+$", "a", "c", 5000);
	check_linear("([a-zA-Z]+)*!", "ab", "", 5000);
	check_linear("(.*)(.*)(.*)(.*)(.*)[^a]", "a", "", 3000);
	check_linear("^(([a-z])+.)+[A-Z]([a-z])+$", "a", "", 5000);
	check_linear("(?:.*a){20}z", "ab", "", 3000);
	check_linear("[ab]*a[ab]{14}c", "abbaab", "", 3000);
	check_linear("(\\pL|\\w|[^x])*\\bq", "a ", "", 3000);

	/* a?{n}a{n}: exponential for backtracking. */
	for (int n = 20; n <= 200; n *= 10) {
		auto_buf struct buf pattern = {}, text = {};
		buf_printf(&pattern, "a?{%d}a{%d}", n, n);
		buf_trunc(&pattern, 0);
		buf_printf(&pattern, "(?:a?){%d}a{%d}", n, n);
		repeated(&text, "a", (size_t)n);
		auto_regex struct regex *re = regex_new(buf_span(&pattern), 0, NULL);
		struct regex_scratch scratch = {};
		struct regex_range m;
		assert_int_equal(regex_find(re, &scratch, buf_span(&text), 0, &m, 1, NULL), 1);
		assert_int_equal(m.to, n);
		assert_true(regex_matches(re, &scratch, buf_span(&text)));
		if (scratch.steps > 8 * (uint64_t)re->n_insts * (text.len + 1))
			fail_msg("n %d: %ju steps", n, (uintmax_t)scratch.steps);
		regex_scratch_done(&scratch);
	}
}

/* A pattern whose whole automaton has 2^15 states: the scratch forgets and goes on, within its bound. */
static void forgets_states(void **state)
{
	struct span pattern = SPAN("[ab]*a[ab]{14}c");
	auto_regex struct regex *re = regex_new(pattern, 0, NULL);
	assert_null(re->table);
	assert_in_range(re->n_classes, 3, 5);
	struct regex_scratch scratch = {};
	struct rng rng;
	rng_init(&rng, 7);
	for (int round = 0; round < 8; round++) {
		auto_buf struct buf text = {};
		for (int i = 0; i < 20000; i++)
			buf_chr(&text, rng_below(&rng, 2) ? 'a' : 'b');
		if (round % 2)
			buf_str(&text, "abbbbbbbbbbbbbbc");
		assert_int_equal(regex_matches(re, &scratch, buf_span(&text)), round % 2);
		assert_in_range(dfa_bytes(scratch.dfa), 1, REGEX_DFA_BYTES);
	}
	assert_in_range(scratch.dfa->forgotten, 2, 1000);
	/* Another pattern with the same scratch, and back. */
	auto_regex struct regex *other = regex_new(SPAN("(?:[xy]*x[xy]{9})+z\\b"), 0, NULL);
	assert_null(other->table);
	assert_true(regex_matches(other, &scratch, SPAN("xxxyyyyyyyyyxz")) == false);
	assert_true(regex_matches(other, &scratch, SPAN("xyyyyyyyyyz")));
	assert_true(regex_matches(re, &scratch, SPAN("aaaaaaaaaaaaaaac")));
	assert_false(regex_matches(re, &scratch, SPAN("aaaaaaaaaaaaac")));
	regex_scratch_done(&scratch);
}

static void tables(void **state)
{
	/* What schemas use gets its whole automaton at once. */
	static const char *const small[] = {
		"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
		"^(\\d+)(ms|s|m|h)$", "^.*$", "", "^\\pL+$", "(?i)^(true|false)$",
	};
	for (size_t i = 0; i < ARRAY_LEN(small); i++) {
		auto_regex struct regex *re = regex_new(span_of(small[i]), 0, NULL);
		assert_non_null(re);
		if (!re->table)
			fail_msg("/%s/ has no table", small[i]);
		assert_in_range(regex_size(re), 1, 40000);
	}
	/* More rune classes than fit: no automaton, the other matchers answer. */
	auto_buf struct buf many = {};
	for (uint32_t i = 0; i < 300; i++) {
		utf8_add(&many, 0x4e00 + i);
		buf_chr(&many, 'x');
	}
	auto_regex struct regex *re = regex_new(buf_span(&many), 0, NULL);
	assert_int_equal(re->n_classes, 0);
	struct regex_scratch scratch = {};
	assert_true(regex_matches(re, &scratch, buf_span(&many)));
	assert_false(regex_matches(re, &scratch, span_from(buf_span(&many), 1)));
	regex_scratch_done(&scratch);
}

/* ---- case folding and tables against each other */

static void fold_orbits(void **state)
{
	uint32_t folded = 0;
	for (uint32_t rune = 0; rune <= REGEX_RUNE_LAST; rune++) {
		uint32_t other = regex_fold_next(rune);
		int n = 1;
		folded += other != rune;
		for (; other != rune && n < 8; n++)
			other = regex_fold_next(other);
		if (other != rune)
			fail_msg("U+%04X: its orbit does not come back", rune);
	}
	assert_int_equal(folded, 2878);
	assert_int_equal(regex_fold_next('k'), 0x212a);
	assert_int_equal(regex_fold_next(0x212a), 'K');
	assert_int_equal(regex_fold_next('K'), 'k');
	assert_int_equal(regex_fold_next('1'), '1');

	/* Every code point is in one category at most, and in C, L, M, N, P, S or Z accordingly. */
	struct regex_class all = {};
	static const char letters[] = "CLMNPSZ";
	size_t runes = 0, again = 0;
	for (const char *c = letters; *c; c++)
		assert_true(regex_class_add_unicode(&all, span_make(c, 1)));
	for (size_t i = 0; i < all.n; i++)
		runes += all.ranges[i].hi - all.ranges[i].lo + 1;
	regex_class_clean(&all);
	for (size_t i = 0; i < all.n; i++)
		again += all.ranges[i].hi - all.ranges[i].lo + 1;
	assert_int_equal(runes, again);
	assert_int_equal(runes, 288767); /* 149,186 characters, 65 controls, 2,048 surrogates, 137,468 private */
	regex_class_done(&all);
}

/* ---- threads */

struct shared {
	const struct regex *re;
	bool good;
};

static void *match_much(void *arg)
{
	struct shared *s = arg;
	struct regex_scratch scratch = {};
	s->good = true;
	for (int i = 0; i < 500; i++) {
		s->good &= regex_matches(s->re, &scratch, SPAN("babbabaaaaaaaaaaac"));
		s->good &= !regex_matches(s->re, &scratch, SPAN("babbabaabbabbabbabbbabbababa"));
		struct regex_range m[2];
		s->good &= regex_find(s->re, &scratch, SPAN("xxaaaaaaaaaaaaac"), 0, m, 2, NULL) == 1 && m[0].from == 2;
	}
	regex_scratch_done(&scratch);
	return NULL;
}

static void many_threads(void **state)
{
	static const char *const patterns[] = { "([ab]*)a[ab]{9}c", "(a|b)+c" };
	for (size_t k = 0; k < ARRAY_LEN(patterns); k++) {
		auto_regex struct regex *re = regex_new(span_of(patterns[k]), 0, NULL);
		assert_int_equal(re->table == NULL, k == 0);
		struct shared s[4];
		pthread_t threads[4];
		for (int i = 0; i < 4; i++) {
			s[i] = (struct shared){ .re = re };
			assert_int_equal(pthread_create(&threads[i], NULL, match_much, &s[i]), 0);
		}
		for (int i = 0; i < 4; i++) {
			assert_int_equal(pthread_join(threads[i], NULL), 0);
			assert_true(s[i].good);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts), cmocka_unit_test(refuses), cmocka_unit_test(limits), cmocka_unit_test(finds),
		cmocka_unit_test(flags_and_names), cmocka_unit_test(go_vectors), cmocka_unit_test(against_reference),
		cmocka_unit_test(against_python), cmocka_unit_test(linear_time), cmocka_unit_test(forgets_states),
		cmocka_unit_test(tables), cmocka_unit_test(fold_orbits), cmocka_unit_test(many_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
