#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/gotext.h"
#include "api/intstr.h"
#include "api/quantity.h"
#include "api/times.h"

static const char bad_format[] =
	"quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
static const char bad_number[] = "unable to parse numeric part of quantity";
static const char bad_suffix[] = "unable to parse quantity's suffix";

static void canon(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out, *error;
	} rows[] = {
		{ "0", "0", NULL }, { "0n", "0", NULL }, { "0Ki", "0", NULL }, { "00", "0", NULL }, { "-0", "0", NULL },
		{ "+", "0", NULL }, { ".", "0", NULL }, { "k", "0", NULL }, { "0e9", "0", NULL }, { "0e99999999", "0", NULL },
		{ "1", "1", NULL }, { "8Ki", "8Ki", NULL }, { "7Mi", "7Mi", NULL }, { "1024Mi", "1Gi", NULL },
		{ "307200Ki", "300Mi", NULL }, { "1025024Mi", "1001Gi", NULL }, { "1024Gi", "1Ti", NULL },
		{ "3Ei", "3Ei", NULL },
		{ "5000m", "5", NULL }, { "0.5", "500m", NULL }, { "1000M", "1G", NULL }, { "0.001T", "1G", NULL },
		{ "1000u", "1m", NULL }, { "1.08", "1080m", NULL }, { "1080000000n", "1080m", NULL },
		{ ".001e12", "1e9", NULL },
		{ "0.001e0", "1e-3", NULL }, { "1000e-12", "1e-9", NULL }, { "1234567M", "1234567M", NULL },
		{ "100.035k", "100.035k", NULL }, { "100.0350k", "100035", NULL }, { "100.03k", "100030", NULL },
		{ "0.0005k", "500m", NULL }, { "1.3E+6", "1300e3", NULL },
		{ "1e14", "100e12", NULL }, { "1E12", "1E12", NULL }, { "1e+3", "1e+3", NULL }, { "0.5e-2", "5e-3", NULL },
		{ "3.001n", "4n", NULL }, { "0.0000000001", "1n", NULL }, { "-0.0000000001", "-1n", NULL },
		{ "0.00000012345", "124n", NULL }, { "0.9n", "1n", NULL }, { "1.1E-9", "2e-9", NULL },
		{ "9Ei", "9223372036854775807", NULL }, { "9223372036854775807Ki", "9223372036854775807", NULL },
		{ "-9Ei", "-9223372036854775807", NULL }, { "12E", "12E", NULL }, { "100.035Ki", "102435840m", NULL },
		{ "0.5Mi", "512Ki", NULL }, { "0.05Gi", "53687091200m", NULL }, { "0.000000000001Ki", "2n", NULL },
		{ ".0001k", "100m", NULL }, { "1.", "1.", NULL }, { "1.G", "1.G", NULL }, { "+5", "+5", NULL },
		{ "05", "05", NULL },
		{ "05Ki", "05Ki", NULL }, { "05Pi", "5Pi", NULL }, { "1000", "1k", NULL }, { "1000E", "1000E", NULL },
		{ "1024Ei", "9223372036854775807", NULL }, { "  100m\t", "100m", NULL }, { "-1.5Gi", "-1536Mi", NULL },
		{ "12345678901234567890", "12345678901234567890", NULL }, { "1e30", "1e30", NULL },
		{ "100000000000000000000000000000000000000", "100000000000000000000E", NULL },
		{ "0.00000000000000000000000000000000000001", "1n", NULL }, { "1e-100000", "1e-9", NULL },
		{ "5.25", "5250m", NULL }, { "1000m", "1", NULL }, { "128974848", "128974848", NULL },
		{ "129e6", "129e6", NULL },
		{ "123Mi", "123Mi", NULL }, { "1537Ki", "1537Ki", NULL }, { "1.5Ki", "1536", NULL }, { "500Ki", "500Ki", NULL },
		{ "1Ki", "1Ki", NULL }, { "1.5", "1500m", NULL },
		{ "", NULL, bad_format }, { " ", NULL, bad_format }, { "1.1.M", NULL, bad_format },
		{ "1+1.0M", NULL, bad_format },
		{ "0.1mi", NULL, bad_suffix }, { "0.1am", NULL, bad_format }, { "aoeu", NULL, bad_format },
		{ ".5i", NULL, bad_suffix }, { "1i", NULL, bad_suffix }, { "-3.01i", NULL, bad_suffix },
		{ "-3.01e-", NULL, bad_suffix }, { "1e", NULL, bad_suffix }, { "1Kib", NULL, bad_format },
		{ "1 Ki", NULL, bad_format },
		{ "--1", NULL, bad_suffix }, { "1KiKi", NULL, bad_suffix }, { "K", NULL, bad_suffix },
		{ "1g", NULL, bad_format },
		{ "1e999", NULL, bad_number }, { "1e99999999999999999999", NULL, bad_suffix }, { "NaN", NULL, bad_format },
		{ "1\n2", NULL, bad_format }, { "0x10", NULL, bad_format },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf out = {};
		auto_err struct err err = ERR_INIT;
		int rc = api_quantity_canon(span_of(rows[i].in), &out, &err);
		if (rows[i].error) {
			if (rc != -ERR_INVALID_REQUEST || strcmp(err_msg(&err), rows[i].error))
				fail_msg("\"%s\": got %d %s %s, want %s", rows[i].in, rc, buf_cstr(&out), err_msg(&err), rows[i].error);
			assert_int_equal(out.len, 0);
		} else if (rc < 0 || strcmp(buf_cstr(&out), rows[i].out)) {
			fail_msg("\"%s\": got %d %s %s, want %s", rows[i].in, rc, buf_cstr(&out), err_msg(&err), rows[i].out);
		}
	}
}

static struct api_quantity q_of(const char *text)
{
	struct api_quantity q;
	auto_err struct err err = ERR_INIT;
	if (api_quantity_parse(span_of(text), &q, &err) < 0)
		fail_msg("%s: %s", text, err_msg(&err));
	return q;
}

static void q_is(const struct api_quantity *q, const char *want)
{
	auto_buf struct buf out = {};
	api_quantity_print(q, &out);
	assert_string_equal(buf_cstr(&out), want);
}

static void arithmetic(void **state)
{
	(void)state;
	static const struct {
		const char *a, *b, *sum, *difference;
		int cmp;
	} rows[] = {
		{ "10", "15", "25", "-5", -1 },
		{ "0", "1Gi", "1Gi", "-1Gi", -1 }, /* a zero takes the other's format */
		{ "1Gi", "512Mi", "1536Mi", "512Mi", 1 },
		{ "100m", "1", "1100m", "-900m", -1 },
		{ "1Ki", "1k", "2024", "24", 1 },
		{ "-1", "1", "0", "-2", -1 },
		{ "1e3", "500m", "1000500e-3", "999500e-3", 1 },
		{ "8Ei", "8Ei", "18446744073709551614", "0", 0 },
		{ "7Ei", "7Ei", "14Ei", "0", 0 },
		{ "12E", "8E", "20E", "4E", 1 },
		{ "1n", "1E", "1000000000000000000000000001n", "-999999999999999999999999999n", -1 },
		{ "-5", "-7", "-12", "2", 1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct api_quantity a = q_of(rows[i].a), b = q_of(rows[i].b), sum = a, difference = a;
		api_quantity_add(&sum, &b);
		api_quantity_sub(&difference, &b);
		q_is(&sum, rows[i].sum);
		q_is(&difference, rows[i].difference);
		assert_int_equal(api_quantity_cmp(&a, &b), rows[i].cmp);
		assert_int_equal(api_quantity_cmp(&b, &a), -rows[i].cmp);
	}
	struct api_quantity q = q_of("250m");
	api_quantity_mul(&q, -6);
	q_is(&q, "-1500m");
	api_quantity_neg(&q);
	q_is(&q, "1500m");
	assert_false(api_quantity_round_up(&q, 0));
	q_is(&q, "2");
	assert_true(api_quantity_round_up(&q, 0));
	for (int i = 0; i < 40; i++) /* past 512 bits it stays at the end and does not wrap */
		api_quantity_mul(&q, INT64_MAX);
	assert_int_equal(api_quantity_sign(&q), 1);
	assert_int_equal(api_quantity_value(&q), INT64_MAX);
}

static void values(void **state)
{
	(void)state;
	static const struct {
		const char *in;
		int64_t value, milli;
	} rows[] = {
		{ "0", 0, 0 }, { "1", 1, 1000 }, { "1500m", 2, 1500 }, { "-1500m", -2, -1500 }, { "1n", 1, 1 },
		{ "0.5", 1, 500 },
		{ "1Gi", 1 << 30, INT64_C(1073741824000) }, { "12E", INT64_MAX, INT64_MAX }, { "-12E", INT64_MIN, INT64_MIN },
		{ "9Ei", INT64_MAX, INT64_MAX }, { "1001u", 1, 2 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct api_quantity q = q_of(rows[i].in);
		assert_int_equal(api_quantity_value(&q), rows[i].value);
		assert_int_equal(api_quantity_milli(&q), rows[i].milli);
	}
	struct api_quantity q = q_of("1500m");
	assert_true(api_quantity_double(&q) == 1.5);
	q = api_quantity_of(-3, 3, API_QUANTITY_DECIMAL);
	q_is(&q, "-3k");
	assert_int_equal(api_quantity_scaled(&q, 3), -3);
	assert_int_equal(api_quantity_scaled(&q, 6), -1);
}

/* Canonical text is a fixed point with the same value; sums commute, and undo. */
static void properties(void **state)
{
	(void)state;
	static const char *const suffix[] = { "n", "u", "m", "", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "e3", "e-5", "E7" };
	struct rng rng;
	rng_init(&rng, 20261121);
	for (int i = 0; i < 20000; i++) {
		struct api_quantity q[2];
		for (int k = 0; k < 2; k++) {
			char text[64];
			uint64_t digits = rng_u64(&rng) >> rng_below(&rng, 64);
			int n = snprintf(text, sizeof(text), "%s%llu", rng_below(&rng, 4) ? "" : "-", (unsigned long long)digits);
			if (rng_below(&rng, 2))
				n += snprintf(text + n, sizeof(text) - (size_t)n, ".%llu", (unsigned long long)rng_below(&rng, 100000));
			snprintf(text + n, sizeof(text) - (size_t)n, "%s", suffix[rng_below(&rng, ARRAY_LEN(suffix))]);
			q[k] = q_of(text);
			auto_buf struct buf once = {}, twice = {};
			assert_int_equal(api_quantity_canon(span_of(text), &once, NULL), 0);
			assert_int_equal(api_quantity_canon(buf_span(&once), &twice, NULL), 0);
			assert_string_equal(buf_cstr(&once), buf_cstr(&twice));
			struct api_quantity again = q_of(buf_cstr(&once));
			if (api_quantity_cmp(&again, &q[k]))
				fail_msg("%s became %s", text, buf_cstr(&once));
		}
		struct api_quantity ab = q[0], ba = q[1];
		api_quantity_add(&ab, &q[1]);
		api_quantity_add(&ba, &q[0]);
		assert_int_equal(api_quantity_cmp(&ab, &ba), 0);
		api_quantity_sub(&ab, &q[1]);
		assert_int_equal(api_quantity_cmp(&ab, &q[0]), 0);
	}
}

/* Small numbers are read by a way of their own: with zeros enough behind the point the same number takes the general one. */
static void two_ways(void **state)
{
	(void)state;
	static const char *const suffix[] = { "n", "u", "m", "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "e-5", "E7" };
	struct rng rng;
	rng_init(&rng, 20261122);
	for (int i = 0; i < 20000; i++) {
		char small[64], large[64];
		unsigned long long digits = rng_u64(&rng) >> (4 + rng_below(&rng, 60)), behind = rng_below(&rng, 2) ? rng_below(&rng, 1000) : 0;
		const char *s = suffix[rng_below(&rng, ARRAY_LEN(suffix))], *sign = rng_below(&rng, 4) ? "" : "-";
		snprintf(small, sizeof(small), behind ? "%s%llu.%03llu%s" : "%s%llu%.0llu%s", sign, digits, behind, s);
		snprintf(large, sizeof(large), "%s%llu.%03llu0000000000000000000%s", sign, digits, behind, s);
		struct api_quantity x = q_of(small), y = q_of(large);
		if (api_quantity_cmp(&x, &y) != 0 || x.format != y.format || x.sign != y.sign)
			fail_msg("%s and %s differ: %g, %g", small, large, api_quantity_double(&x), api_quantity_double(&y));
	}
}

static void intstr(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t total;
		bool up;
		int64_t want;
		const char *error;
	} rows[] = {
		{ "25%", 10, true, 3, NULL }, { "25%", 10, false, 2, NULL }, { "0%", 10, true, 0, NULL },
		{ "100%", 7, false, 7, NULL },
		{ "33%", 100, true, 33, NULL }, { "150%", 2, true, 3, NULL }, { "-25%", 10, true, -2, NULL },
		{ "-25%", 10, false, -3, NULL },
		{ "10", 10, true, 0, "invalid value for IntOrString: invalid type: string is not a percentage" },
		{ "a%", 10, true, 0, "invalid value for IntOrString: invalid value \"a%\": strconv.Atoi: parsing \"a\": invalid syntax" },
		{ "%", 10, true, 0, "invalid value for IntOrString: invalid value \"%\": strconv.Atoi: parsing \"\": invalid syntax" },
		{ "99999999999999999999%", 1, true, 0, "invalid value for IntOrString: invalid value \"99999999999999999999%\": "
		  "strconv.Atoi: parsing \"99999999999999999999\": value out of range" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err err = ERR_INIT;
		struct json v = json_cstr(rows[i].text);
		int64_t got = 0;
		int rc = api_intstr_scaled(&v, rows[i].total, rows[i].up, &got, &err);
		if (rows[i].error) {
			assert_int_equal(rc, -ERR_INVALID);
			assert_string_equal(err_msg(&err), rows[i].error);
		} else {
			assert_int_equal(rc, 0);
			assert_int_equal(got, rows[i].want);
		}
	}
	struct json n = json_int(7), s = json_cstr("80"), other = json_bool(true);
	int64_t got;
	assert_int_equal(api_intstr_scaled(&n, 100, true, &got, NULL), 0);
	assert_int_equal(got, 7);
	assert_int_equal(api_intstr_scaled(NULL, 100, true, &got, NULL), -ERR_INVALID);
	assert_int_equal(api_intstr_scaled(&other, 100, true, &got, NULL), -ERR_INVALID);
	assert_int_equal(api_intstr_int(&s), 80);
	assert_int_equal(api_intstr_int(&n), 7);
	assert_int_equal(api_intstr_of(SPAN("2147483647")).kind, JSON_INT);
	assert_int_equal(api_intstr_of(SPAN("2147483648")).kind, JSON_STRING);
	assert_int_equal(api_intstr_of(SPAN("http")).kind, JSON_STRING);
}

static void times(void **state)
{
	(void)state;
#define LAYOUT "\"2006-01-02T15:04:05Z07:00\""
	static const struct {
		const char *in;
		enum api_time_kind kind;
		const char *out, *error;
	} rows[] = {
		{ "2024-02-29T12:30:45Z", API_TIME_SECONDS, "2024-02-29T12:30:45Z", NULL },
		{ "2024-02-29T12:30:45.987Z", API_TIME_SECONDS, "2024-02-29T12:30:45Z", NULL },
		{ "2024-02-29T12:30:45+02:30", API_TIME_SECONDS, "2024-02-29T10:00:45Z", NULL },
		{ "2024-01-01T00:30:00-05:00", API_TIME_SECONDS, "2024-01-01T05:30:00Z", NULL },
		{ "0001-01-01T00:00:00Z", API_TIME_SECONDS, "0001-01-01T00:00:00Z", NULL },
		{ "2024-01-01T05:30:00.000001Z", API_TIME_MICRO, "2024-01-01T05:30:00.000001Z", NULL },
		{ "", API_TIME_SECONDS, NULL, "parsing time \"\" as " LAYOUT ": cannot parse \"\" as \"2006\"" },
		{ "now", API_TIME_SECONDS, NULL, "parsing time \"now\" as " LAYOUT ": cannot parse \"now\" as \"2006\"" },
		{ "2024-01-01", API_TIME_SECONDS, NULL, "parsing time \"2024-01-01\" as " LAYOUT ": cannot parse \"\" as \"T\"" },
		{ "2024-13-01T00:00:00Z", API_TIME_SECONDS, NULL, "parsing time \"2024-13-01T00:00:00Z\": month out of range" },
		{ "2023-02-29T00:00:00Z", API_TIME_SECONDS, NULL, "parsing time \"2023-02-29T00:00:00Z\": day out of range" },
		{ "2023-02-20T24:00:00Z", API_TIME_SECONDS, NULL, "parsing time \"2023-02-20T24:00:00Z\": hour out of range" },
		{ "2023-02-20T00:00:00", API_TIME_SECONDS, NULL,
		  "parsing time \"2023-02-20T00:00:00\" as " LAYOUT ": cannot parse \"\" as \"Z07:00\"" },
		{ "2023-02-20T00:00:00Zx", API_TIME_SECONDS, NULL, "parsing time \"2023-02-20T00:00:00Zx\": extra text: \"x\"" },
		{ "2024-01-01T05:30:00Z", API_TIME_MICRO, NULL,
		  "parsing time \"2024-01-01T05:30:00Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"Z\" as \".000000\"" },
		{ "2024-01-01T05:30:00.1234567Z", API_TIME_MICRO, NULL,
		  "parsing time \"2024-01-01T05:30:00.1234567Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"7Z\" as "
		  "\"Z07:00\"" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		int64_t s;
		int32_t ns;
		int rc = api_time_parse(span_of(rows[i].in), rows[i].kind, &s, &ns, &err);
		if (rows[i].error) {
			assert_int_equal(rc, -ERR_INVALID_REQUEST);
			assert_string_equal(err_msg(&err), rows[i].error);
			continue;
		}
		if (rc < 0)
			fail_msg("%s: %s", rows[i].in, err_msg(&err));
		api_time_print(&out, rows[i].kind, s, ns);
		assert_string_equal(buf_cstr(&out), rows[i].out);
	}
	int64_t zero;
	int32_t ns;
	assert_int_equal(api_time_parse(SPAN("0001-01-01T00:00:00Z"), API_TIME_SECONDS, &zero, &ns, NULL), 0);
	assert_int_equal(zero, API_TIME_ZERO_S);
}

static void durations(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out, *error;
	} rows[] = {
		{ "0", "0s", NULL }, { "5s", "5s", NULL }, { "30s", "30s", NULL }, { "1478s", "24m38s", NULL },
		{ "-5s", "-5s", NULL },
		{ "+5s", "5s", NULL }, { "5.6s", "5.6s", NULL }, { ".5s", "500ms", NULL }, { "1.004s", "1.004s", NULL },
		{ "10ns", "10ns", NULL }, { "11us", "11\xc2\xb5s", NULL }, { "12\xc2\xb5s", "12\xc2\xb5s", NULL },
		{ "13ms", "13ms", NULL }, { "15m", "15m0s", NULL }, { "16h", "16h0m0s", NULL }, { "3h30m", "3h30m0s", NULL },
		{ "10.5s4m", "4m10.5s", NULL }, { "39h9m14.425s", "39h9m14.425s", NULL }, { "1h", "1h0m0s", NULL },
		{ "0.100000000000000000000h", "6m0s", NULL }, { "2562047h47m16.854775807s", "2562047h47m16.854775807s", NULL },
		{ "-9223372036854775808ns", "-2562047h47m16.854775808s", NULL },
		{ "", NULL, "time: invalid duration \"\"" }, { "3", NULL, "time: missing unit in duration \"3\"" },
		{ "-", NULL, "time: invalid duration \"-\"" }, { "s", NULL, "time: invalid duration \"s\"" },
		{ ".", NULL, "time: invalid duration \".\"" }, { "+.s", NULL, "time: invalid duration \"+.s\"" },
		{ "1d", NULL, "time: unknown unit \"d\" in duration \"1d\"" },
		{ "\x85\x85", NULL, "time: invalid duration \"\\x85\\x85\"" },
		{ "9223372036854775808ns", NULL, "time: invalid duration \"9223372036854775808ns\"" },
		{ "3000000h", NULL, "time: invalid duration \"3000000h\"" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		int64_t ns = 0;
		int rc = api_duration_parse(span_of(rows[i].in), &ns, &err);
		if (rows[i].error) {
			assert_int_equal(rc, -ERR_INVALID_REQUEST);
			assert_string_equal(err_msg(&err), rows[i].error);
			continue;
		}
		if (rc < 0)
			fail_msg("%s: %s", rows[i].in, err_msg(&err));
		api_duration_print(&out, ns);
		assert_string_equal(buf_cstr(&out), rows[i].out);
	}
}

static void ages(void **state)
{
	(void)state;
	static const struct {
		int64_t s;
		const char *out;
	} rows[] = {
		{ -2, "<invalid>" }, { -1, "0s" }, { 0, "0s" }, { 1, "1s" }, { 119, "119s" }, { 120, "2m" }, { 121, "2m1s" },
		{ 599, "9m59s" }, { 600, "10m" }, { 179 * 60 + 59, "179m" }, { 3 * 3600, "3h" }, { 3 * 3600 + 60, "3h1m" },
		{ 8 * 3600 + 60, "8h" }, { 47 * 3600, "47h" }, { 48 * 3600, "2d" }, { 49 * 3600, "2d1h" }, { 8 * 86400, "8d" },
		{ 729 * 86400, "729d" }, { 730 * 86400, "2y" }, { 740 * 86400, "2y10d" }, { INT64_C(2920) * 86400, "8y" },
		{ INT64_C(3000) * 86400, "8y" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf out = {};
		api_age_print(&out, rows[i].s * NS_PER_S);
		assert_string_equal(buf_cstr(&out), rows[i].out);
	}
}

static void go_text(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} quoted[] = {
		{ "abc", "\"abc\"" }, { "a\"b\\", "\"a\\\"b\\\\\"" }, { "\n\t\x01\x7f", "\"\\n\\t\\x01\\x7f\"" },
		{ "\xc3\xa9\xe2\x82\xac", "\"\xc3\xa9\xe2\x82\xac\"" }, { "\xc2\xa0", "\"\\u00a0\"" }, { "\xff", "\"\\xff\"" },
		{ "\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"" }, { "\xe2\x80\xa8", "\"\\u2028\"" },
	};
	for (size_t i = 0; i < ARRAY_LEN(quoted); i++) {
		auto_buf struct buf out = {};
		api_go_quote(&out, span_of(quoted[i].in));
		assert_string_equal(buf_cstr(&out), quoted[i].out);
	}
	static const struct {
		const char *json, *out;
	} values[] = {
		{ "null", "<nil>" }, { "{\"b\":[1,\"x\",null],\"a\":{}}", "map[a:map[] b:[1 x <nil>]]" }, { "1.5", "1.5" },
		{ "1e6", "1e+06" }, { "1e21", "1e+21" }, { "123456789.5", "1.234567895e+08" }, { "0.00001", "1e-05" },
		{ "true", "true" }, { "-7", "-7" }, { "100.25", "100.25" },
	};
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf out = {};
		struct json v;
		assert_int_equal(json_parse(&a, span_of(values[i].json), 0, NULL, &v, NULL), 0);
		api_go_value(&out, &v);
		assert_string_equal(buf_cstr(&out), values[i].out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(canon), cmocka_unit_test(arithmetic), cmocka_unit_test(values), cmocka_unit_test(properties),
		cmocka_unit_test(two_ways), cmocka_unit_test(intstr), cmocka_unit_test(times), cmocka_unit_test(durations),
		cmocka_unit_test(ages), cmocka_unit_test(go_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
