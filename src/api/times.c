/* Times and durations. time_parse of base is stricter and has no words; this follows Go's time.Parse, layout by layout
 * element, because its complaints are what people see for a bad timestamp. */
#include "api/times.h"

#include "api/gotext.h"

static bool digit(struct span s, size_t i)
{
	return i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9';
}

/* time.getnum: two digits, or one when !fixed and no second follows. */
static bool getnum(struct span *s, bool fixed, int *out)
{
	if (!digit(*s, 0))
		return false;
	if (!digit(*s, 1)) {
		if (fixed)
			return false;
		*out = s->ptr[0] - '0';
		*s = span_from(*s, 1);
		return true;
	}
	*out = (s->ptr[0] - '0') * 10 + (s->ptr[1] - '0');
	*s = span_from(*s, 2);
	return true;
}

struct time_text {
	struct span whole, rest;
	enum api_time_kind kind;
	struct err *err;
};

static int cannot(const struct time_text *t, struct span at, const char *element)
{
	auto_buf struct buf b = {};
	buf_str(&b, "parsing time ");
	api_go_quote(&b, t->whole);
	buf_printf(&b, " as \"2006-01-02T15:04:05%sZ07:00\": cannot parse ", t->kind == API_TIME_MICRO ? ".000000" : "");
	api_go_quote(&b, at);
	return err_set(t->err, ERR_INVALID_REQUEST, "%s as \"%s\"", buf_cstr(&b), element);
}

static int out_of_range(const struct time_text *t, const char *what)
{
	auto_buf struct buf b = {};
	api_go_quote(&b, t->whole);
	return err_set(t->err, ERR_INVALID_REQUEST, "parsing time %s: %s out of range", buf_cstr(&b), what);
}

static int literal(struct time_text *t, const char *c)
{
	if (!t->rest.len || t->rest.ptr[0] != *c)
		return cannot(t, t->rest, c);
	t->rest = span_from(t->rest, 1);
	return 0;
}

static int number(struct time_text *t, const char *element, bool fixed, int from, int to, const char *what, int *out)
{
	struct span hold = t->rest;
	if (!getnum(&t->rest, fixed, out))
		return cannot(t, hold, element);
	if (*out < from || *out > to)
		return out_of_range(t, what);
	return 0;
}

static bool fraction(struct time_text *t, size_t digits, int32_t *ns)
{
	int64_t v = 0;
	for (size_t i = 0; i < 9; i++)
		v = v * 10 + (i < digits ? t->rest.ptr[1 + i] - '0' : 0);
	*ns = (int32_t)v;
	t->rest = span_from(t->rest, 1 + digits);
	return true;
}

static int zone(struct time_text *t, int64_t *offset_s)
{
	struct span v = t->rest, hh, mm;
	int h, m;
	*offset_s = 0;
	if (v.len && v.ptr[0] == 'Z') {
		t->rest = span_from(v, 1);
		return 0;
	}
	if (v.len < 6 || v.ptr[3] != ':')
		return cannot(t, v, "Z07:00");
	hh = span_sub(v, 1, 3);
	mm = span_sub(v, 4, 6);
	if (!getnum(&hh, true, &h) || !getnum(&mm, true, &m))
		return cannot(t, v, "Z07:00");
	t->rest = span_from(v, 6);
	if (h > 24)
		return out_of_range(t, "time zone offset hour");
	if (m > 60)
		return out_of_range(t, "time zone offset minute");
	if (v.ptr[0] != '+' && v.ptr[0] != '-')
		return cannot(t, v, "Z07:00");
	*offset_s = (h * 3600 + m * 60) * (v.ptr[0] == '-' ? -1 : 1);
	return 0;
}

static int days_in(int year, int month)
{
	static const int8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return month == 2 && leap ? 29 : days[month - 1];
}

/* Days from 1970-01-01, proleptic Gregorian (H. Hinnant's days_from_civil). */
static int64_t days_from_civil(int64_t y, int m, int d)
{
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + doe - 719468;
}

int api_time_parse(struct span in, enum api_time_kind kind, int64_t *out_unix_s, int32_t *out_ns, struct err *err)
{
	struct time_text t = { .whole = in, .rest = in, .kind = kind, .err = err };
	int year = 0, month, day, hour, minute, second, rc;
	int32_t ns = 0;
	int64_t offset_s;
	for (size_t i = 0; i < 4; i++) {
		if (!digit(in, i))
			return cannot(&t, in, "2006");
		year = year * 10 + (in.ptr[i] - '0');
	}
	t.rest = span_from(in, 4);
	if ((rc = literal(&t, "-")) < 0 || (rc = number(&t, "01", true, 1, 12, "month", &month)) < 0 ||
	    (rc = literal(&t, "-")) < 0 || (rc = number(&t, "02", true, 0, 99, "day", &day)) < 0 ||
	    (rc = literal(&t, "T")) < 0 || (rc = number(&t, "15", false, 0, 23, "hour", &hour)) < 0 ||
	    (rc = literal(&t, ":")) < 0 || (rc = number(&t, "04", true, 0, 59, "minute", &minute)) < 0 ||
	    (rc = literal(&t, ":")) < 0 || (rc = number(&t, "05", true, 0, 59, "second", &second)) < 0)
		return rc;
	bool point = t.rest.len && (t.rest.ptr[0] == '.' || t.rest.ptr[0] == ',');
	size_t digits = 0;
	while (point && digit(t.rest, 1 + digits))
		digits++;
	if (kind == API_TIME_MICRO) {
		if (!point || digits < 6)
			return cannot(&t, t.rest, ".000000");
		fraction(&t, 6, &ns);
	} else if (digits) {
		fraction(&t, digits, &ns);
	}
	if ((rc = zone(&t, &offset_s)) < 0)
		return rc;
	if (t.rest.len) {
		auto_buf struct buf b = {}, extra = {};
		api_go_quote(&b, in);
		api_go_quote(&extra, t.rest);
		return err_set(err, ERR_INVALID_REQUEST, "parsing time %s: extra text: %s", buf_cstr(&b), buf_cstr(&extra));
	}
	if (day < 1 || day > days_in(year, month))
		return out_of_range(&t, "day");
	*out_unix_s = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset_s;
	*out_ns = ns;
	return 0;
}

void api_time_print(struct buf *out, enum api_time_kind kind, int64_t unix_s, int32_t ns)
{
	char text[40];
	buf_add(out, text, time_format(text, unix_s, ns, kind == API_TIME_MICRO ? 6 : 0));
}

/* ---- durations */
static int duration_bad(struct span in, struct err *err)
{
	auto_buf struct buf b = {};
	api_go_quote(&b, in);
	return err_set(err, ERR_INVALID_REQUEST, "time: invalid duration %s", buf_cstr(&b));
}

static bool unit_ns(struct span unit, uint64_t *out)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = { { "ns", 1 }, { "us", 1000 }, { "\xc2\xb5s", 1000 }, { "\xce\xbcs", 1000 }, { "ms", 1000000 },
		      { "s", 1000000000 }, { "m", UINT64_C(60000000000) }, { "h", UINT64_C(3600000000000) } };
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (span_is(unit, units[i].name)) {
			*out = units[i].ns;
			return true;
		}
	return false;
}

int api_duration_parse(struct span in, int64_t *out_ns, struct err *err)
{
	struct span s = in;
	bool negative = false;
	uint64_t total = 0, most = (uint64_t)1 << 63;
	if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
		negative = s.ptr[0] == '-';
		s = span_from(s, 1);
	}
	if (span_is(s, "0")) {
		*out_ns = 0;
		return 0;
	}
	if (s.len == 0)
		return duration_bad(in, err);
	while (s.len) {
		uint64_t whole = 0, part = 0, unit;
		double scale = 1;
		bool any = false, part_full = false;
		if (s.ptr[0] != '.' && !digit(s, 0))
			return duration_bad(in, err);
		for (; digit(s, 0); s = span_from(s, 1), any = true) {
			if (whole > most / 10)
				return duration_bad(in, err);
			whole = whole * 10 + (uint64_t)(s.ptr[0] - '0');
			if (whole > most)
				return duration_bad(in, err);
		}
		if (s.len && s.ptr[0] == '.') {
			for (s = span_from(s, 1); digit(s, 0); s = span_from(s, 1), any = true) {
				uint64_t d = (uint64_t)(s.ptr[0] - '0');
				/* Digits past int64 are dropped, as leadingFraction does. */
				if (part_full || part > (most - 1) / 10 || part * 10 + d > most) {
					part_full = true;
					continue;
				}
				part = part * 10 + d;
				scale *= 10;
			}
		}
		if (!any)
			return duration_bad(in, err);
		size_t n = 0;
		while (n < s.len && s.ptr[n] != '.' && !digit(s, n))
			n++;
		struct span name = span_sub(s, 0, n);
		s = span_from(s, n);
		auto_buf struct buf quoted = {};
		api_go_quote(&quoted, in);
		if (n == 0)
			return err_set(err, ERR_INVALID_REQUEST, "time: missing unit in duration %s", buf_cstr(&quoted));
		if (!unit_ns(name, &unit)) {
			auto_buf struct buf quoted_unit = {};
			api_go_quote(&quoted_unit, name);
			return err_set(err, ERR_INVALID_REQUEST, "time: unknown unit %s in duration %s", buf_cstr(&quoted_unit),
				       buf_cstr(&quoted));
		}
		if (whole > most / unit)
			return duration_bad(in, err);
		whole *= unit;
		if (part) {
			whole += (uint64_t)((double)part * ((double)unit / scale));
			if (whole > most)
				return duration_bad(in, err);
		}
		total += whole;
		if (total > most)
			return duration_bad(in, err);
	}
	if (!negative && total > most - 1)
		return duration_bad(in, err);
	*out_ns = negative ? (int64_t)-total : (int64_t)total;
	return 0;
}

/* "<whole>.<fraction>" of v in units of 10^digits, zeros at the end left out. */
static void fraction_print(struct buf *out, uint64_t v, unsigned digits)
{
	uint64_t unit = 1;
	for (unsigned i = 0; i < digits; i++)
		unit *= 10;
	buf_u64(out, v / unit);
	uint64_t part = v % unit;
	if (!part)
		return;
	for (; part % 10 == 0; digits--)
		part /= 10;
	buf_printf(out, ".%0*llu", (int)digits, (unsigned long long)part);
}

void api_duration_print(struct buf *out, int64_t ns)
{
	uint64_t u = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
	if (ns < 0)
		buf_chr(out, '-');
	if (u == 0) {
		buf_str(out, "0s");
	} else if (u < 1000) {
		buf_u64(out, u);
		buf_str(out, "ns");
	} else if (u < 1000000) {
		fraction_print(out, u, 3);
		buf_str(out, "\xc2\xb5s");
	} else if (u < 1000000000) {
		fraction_print(out, u, 6);
		buf_str(out, "ms");
	} else {
		uint64_t minutes = u / UINT64_C(60000000000);
		if (minutes >= 60)
			buf_printf(out, "%lluh", (unsigned long long)(minutes / 60));
		if (minutes)
			buf_printf(out, "%llum", (unsigned long long)(minutes % 60));
		fraction_print(out, u % UINT64_C(60000000000), 9);
		buf_chr(out, 's');
	}
}

static void two_units(struct buf *out, int64_t a, char unit_a, int64_t b, char unit_b)
{
	buf_i64(out, a);
	buf_chr(out, unit_a);
	if (b) {
		buf_i64(out, b);
		buf_chr(out, unit_b);
	}
}

void api_age_print(struct buf *out, int64_t elapsed_ns)
{
	/* Go's int(d.Seconds()) cuts towards zero: one second too early still shows 0s. */
	int64_t s = elapsed_ns / NS_PER_S, m = s / 60, h = s / 3600;
	if (s < -1)
		buf_str(out, "<invalid>");
	else if (s < 0)
		buf_str(out, "0s");
	else if (s < 120)
		two_units(out, s, 's', 0, 0);
	else if (m < 10)
		two_units(out, m, 'm', s % 60, 's');
	else if (m < 180)
		two_units(out, m, 'm', 0, 0);
	else if (h < 8)
		two_units(out, h, 'h', m % 60, 'm');
	else if (h < 48)
		two_units(out, h, 'h', 0, 0);
	else if (h < 24 * 8)
		two_units(out, h / 24, 'd', h % 24, 'h');
	else if (h < 24 * 365 * 2)
		two_units(out, h / 24, 'd', 0, 0);
	else if (h < 24 * 365 * 8)
		two_units(out, h / 24 / 365, 'y', h / 24 % 365, 'd');
	else
		two_units(out, h / 24 / 365, 'y', 0, 0);
}
