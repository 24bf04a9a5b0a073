/* Quantities.
 *
 * Reading takes the text apart exactly as the real parser does (sign, zeros, digits, point, suffix), because its edge cases
 * are visible: "." and "+" are zero, "1.G" is 1G, a lone suffix is zero with that suffix. The number is then made one integer:
 *
 *     decimal   the digits up to 10^-9, plus one when any digit behind is not zero
 *     binary    digits × 2^exponent × 10^9 / 10^fraction, plus one when the division left a rest
 *
 * Invariants: (1) sign == 0 exactly when all limbs are 0; (2) a parsed magnitude is below 2^448, so that sums of 2^64 of
 * them cannot reach the end of the struct.
 */
#include "api/quantity.h"

#include <assert.h>

#define LIMBS API_QUANTITY_LIMBS
/* A canonical form counts in nano at worst: 10^120 is 130 digits of it, so that what is printed can be read again. */
#define DIGITS_MAX 130
#define POINT_MAX 130 /* digits before the point in nano units: 10^121 units */

static const char err_format[] =
	"quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
static const char err_numeric[] = "unable to parse numeric part of quantity";
static const char err_suffix[] = "unable to parse quantity's suffix";

/* ---- magnitudes */
/* m = m * by + plus; false (m undefined) when it does not fit. */
static bool mag_mul(uint64_t m[LIMBS], uint64_t by, uint64_t plus)
{
	unsigned __int128 carry = plus;
	for (unsigned i = 0; i < LIMBS; i++) {
		if (!(m[i] | (uint64_t)carry)) /* nearly all of nearly every quantity; what was carried is below 2^64 */
			continue;
		carry += (unsigned __int128)m[i] * by;
		m[i] = (uint64_t)carry;
		carry >>= 64;
	}
	return carry == 0;
}

static uint64_t mag_div(uint64_t m[LIMBS], uint64_t by) /* returns the rest */
{
	uint64_t rest = 0;
	for (unsigned i = LIMBS; i-- > 0;) {
		if (!rest) { /* one machine division, or none, in place of a call for 128 bits */
			rest = m[i] % by;
			m[i] /= by;
			continue;
		}
		unsigned __int128 part = (unsigned __int128)rest << 64 | m[i];
		m[i] = (uint64_t)(part / by);
		rest = (uint64_t)(part % by);
	}
	return rest;
}

static bool mag_zero(const uint64_t m[LIMBS])
{
	uint64_t all = 0;
	for (unsigned i = 0; i < LIMBS; i++)
		all |= m[i];
	return all == 0;
}

static int mag_cmp(const uint64_t a[LIMBS], const uint64_t b[LIMBS])
{
	for (unsigned i = LIMBS; i-- > 0;)
		if (a[i] != b[i])
			return a[i] < b[i] ? -1 : 1;
	return 0;
}

static bool mag_add(uint64_t a[LIMBS], const uint64_t b[LIMBS])
{
	unsigned __int128 carry = 0;
	for (unsigned i = 0; i < LIMBS; i++) {
		carry += (unsigned __int128)a[i] + b[i];
		a[i] = (uint64_t)carry;
		carry >>= 64;
	}
	return carry == 0;
}

static void mag_sub(uint64_t out[LIMBS], const uint64_t a[LIMBS], const uint64_t b[LIMBS]) /* a >= b */
{
	uint64_t borrow = 0;
	for (unsigned i = 0; i < LIMBS; i++) {
		unsigned __int128 d = (unsigned __int128)a[i] - b[i] - borrow;
		out[i] = (uint64_t)d;
		borrow = (uint64_t)(d >> 64) & 1;
	}
}

static uint64_t pow10_u64(unsigned n) /* n <= 19 */
{
	static const uint64_t powers[] = {
		UINT64_C(1), UINT64_C(10), UINT64_C(100), UINT64_C(1000), UINT64_C(10000), UINT64_C(100000), UINT64_C(1000000),
		UINT64_C(10000000), UINT64_C(100000000), UINT64_C(1000000000), UINT64_C(10000000000), UINT64_C(100000000000),
		UINT64_C(1000000000000), UINT64_C(10000000000000), UINT64_C(100000000000000), UINT64_C(1000000000000000),
		UINT64_C(10000000000000000), UINT64_C(100000000000000000), UINT64_C(1000000000000000000),
		UINT64_C(10000000000000000000),
	};
	return powers[n];
}

static bool mag_mul10(uint64_t m[LIMBS], unsigned n)
{
	for (; n > 19; n -= 19)
		if (!mag_mul(m, pow10_u64(19), 0))
			return false;
	return mag_mul(m, pow10_u64(n), 0);
}

/* m = m / 10^n rounded up; true when there was no rest. */
static bool mag_div10_up(uint64_t m[LIMBS], unsigned n)
{
	bool rest = false;
	for (; n > 19; n -= 19)
		rest |= mag_div(m, pow10_u64(19)) != 0;
	rest |= mag_div(m, pow10_u64(n)) != 0;
	if (rest)
		(void)mag_mul(m, 1, 1); /* cannot overflow: it was divided by two or more */
	return !rest;
}

static void mag_saturate(uint64_t m[LIMBS])
{
	for (unsigned i = 0; i < LIMBS; i++)
		m[i] = UINT64_MAX;
}

/* 2^63-1 units in nano units. */
static void mag_int64_max(uint64_t m[LIMBS])
{
	memset(m, 0, LIMBS * sizeof(m[0]));
	m[0] = INT64_MAX;
	(void)mag_mul(m, 1000000000, 0);
}

/* ---- reading */
struct text {
	bool negative;
	struct span num, denom; /* digits before the point without leading zeros, "0" when none; digits behind */
	struct span suffix;
};

static struct span digits_at(struct span in, size_t *pos)
{
	size_t from = *pos;
	while (*pos < in.len && in.ptr[*pos] >= '0' && in.ptr[*pos] <= '9')
		++*pos;
	return span_sub(in, from, *pos);
}

static bool text_split(struct span in, struct text *t)
{
	size_t pos = 0;
	*t = (struct text){ .num = SPAN("0") };
	if (in.len && (in.ptr[0] == '-' || in.ptr[0] == '+')) {
		t->negative = in.ptr[0] == '-';
		pos++;
	}
	while (pos < in.len && in.ptr[pos] == '0')
		pos++;
	struct span num = digits_at(in, &pos);
	if (num.len)
		t->num = num;
	if (pos < in.len && in.ptr[pos] == '.') {
		pos++;
		t->denom = digits_at(in, &pos);
	}
	size_t from = pos;
	while (pos < in.len && memchr("eEinumkKMGTP", in.ptr[pos], 12))
		pos++;
	if (pos < in.len && (in.ptr[pos] == '-' || in.ptr[pos] == '+'))
		pos++;
	(void)digits_at(in, &pos);
	t->suffix = span_sub(in, from, pos);
	return pos == in.len;
}

struct suffix {
	char text[3];
	int8_t base, exponent;
};
/* Printing counts on this order: decimal from n in steps of three, binary from Ki in steps of ten. */
static const struct suffix suffixes[] = {
	{ "n", 10, -9 }, { "u", 10, -6 }, { "m", 10, -3 }, { "", 10, 0 },   { "k", 10, 3 }, { "M", 10, 6 },
	{ "G", 10, 9 },  { "T", 10, 12 }, { "P", 10, 15 }, { "E", 10, 18 }, { "Ki", 2, 10 }, { "Mi", 2, 20 },
	{ "Gi", 2, 30 }, { "Ti", 2, 40 }, { "Pi", 2, 50 }, { "Ei", 2, 60 },
};
#define SUFFIX_DECIMAL(exponent) (suffixes[((exponent) + 9) / 3].text)
#define SUFFIX_BINARY(exponent) (suffixes[10 + (exponent) / 10 - 1].text)

static bool suffix_read(struct span s, int *out_base, int *out_exponent, enum api_quantity_format *out_format)
{
	char text[2] = { s.len ? s.ptr[0] : 0, s.len > 1 ? s.ptr[1] : 0 };
	for (size_t i = 0; s.len <= 2 && i < ARRAY_LEN(suffixes); i++)
		if (text[0] == suffixes[i].text[0] && text[1] == suffixes[i].text[1]) {
			*out_base = suffixes[i].base;
			*out_exponent = suffixes[i].exponent;
			*out_format = suffixes[i].base == 2 ? API_QUANTITY_BINARY : API_QUANTITY_DECIMAL;
			return true;
		}
	if (s.len < 2 || (s.ptr[0] != 'e' && s.ptr[0] != 'E'))
		return false;
	int64_t e;
	if (!span_to_i64(span_from(s, 1), &e))
		return false;
	*out_base = 10;
	*out_exponent = e > 100000 ? 100000 : e < -100000 ? -100000 : (int)e; /* both are past every bound */
	*out_format = API_QUANTITY_EXPONENT;
	return true;
}

static char digit_of(const struct text *t, size_t i)
{
	return i < t->num.len ? t->num.ptr[i] : t->denom.ptr[i - t->num.len];
}

#define SMALL_DIGITS 18 /* fit an int64_t */
/* All digits as one number; false when they are more than SMALL_DIGITS. */
static bool small_read(const struct text *t, int64_t *out)
{
	size_t n = t->num.len + t->denom.len;
	int64_t value = 0;
	if (n > SMALL_DIGITS)
		return false;
	for (size_t i = 0; i < n; i++)
		value = value * 10 + (digit_of(t, i) - '0');
	*out = value;
	return true;
}

/* True when the real parser keeps the text as the canonical form: the fast path of ParseQuantity, which reads small
 * numbers as (int64, scale) and takes the text over when neither a larger suffix nor a rounding is possible. value: all digits. */
static bool text_kept(const struct text *t, int64_t value, int exponent, enum api_quantity_format format)
{
	size_t n = t->num.len + t->denom.len;
	if (format == API_QUANTITY_BINARY) {
		int64_t product;
		if (t->denom.len || 15 - (int)n - exponent * 3 / 10 - 1 < 0)
			return false;
		if (__builtin_mul_overflow(value, (int64_t)1 << exponent, &product))
			return false;
		return (value & 7) != 0;
	}
	int scale = exponent - (int)t->denom.len;
	if (scale < -9 || scale % 3 != 0 || digit_of(t, 0) == '0')
		return false;
	return !(n >= 3 && digit_of(t, n - 1) == '0' && digit_of(t, n - 2) == '0' && digit_of(t, n - 3) == '0');
}

static bool decimal_read(const struct text *t, int exponent, uint64_t m[LIMBS])
{
	size_t n = t->num.len + t->denom.len, first = 0;
	while (first < n && digit_of(t, first) == '0')
		first++;
	if (first == n)
		return true;
	/* Digits [first, point) are whole nano units. */
	int64_t point = (int64_t)t->num.len + exponent + 9;
	if (point - (int64_t)first > POINT_MAX)
		return false;
	int64_t i = (int64_t)first;
	for (; i < point && i < (int64_t)n; i++)
		if (!mag_mul(m, 10, (uint64_t)(digit_of(t, (size_t)i) - '0')))
			return false;
	if (i < point)
		return mag_mul10(m, (unsigned)(point - i));
	for (i = MAX(i, (int64_t)0); i < (int64_t)n; i++)
		if (digit_of(t, (size_t)i) != '0')
			return mag_mul(m, 1, 1);
	return true;
}

static bool binary_read(const struct text *t, int exponent, uint64_t m[LIMBS])
{
	size_t n = t->num.len + t->denom.len;
	for (size_t i = 0; i < n; i++)
		if (!mag_mul(m, 10, (uint64_t)(digit_of(t, i) - '0')))
			return false;
	if (!mag_mul(m, (uint64_t)1 << exponent, 0))
		return false;
	if (t->denom.len <= 9)
		return mag_mul10(m, 9 - (unsigned)t->denom.len);
	(void)mag_div10_up(m, (unsigned)t->denom.len - 9);
	return true;
}

/* The quantities of every day, "100m" or "64Mi": a number that two multiplications turn into nano units. False: any other. */
static bool common_read(const struct text *t, int64_t value, int base, int exponent, uint64_t m[LIMBS])
{
	int64_t whole = value;
	int tens = 9 - (int)t->denom.len;
	if (base == 2 && __builtin_mul_overflow(value, (int64_t)1 << exponent, &whole))
		return false;
	if (base == 10)
		tens += exponent;
	if (tens < 0 || tens > 19)
		return false;
	unsigned __int128 nano = (unsigned __int128)whole * pow10_u64((unsigned)tens);
	m[0] = (uint64_t)nano;
	m[1] = (uint64_t)(nano >> 64);
	return true;
}

/* *out_kept: the text is its own canonical form. */
static int quantity_read(struct span in, struct api_quantity *out, bool *out_kept, struct err *err)
{
	struct text t;
	int base, exponent;
	enum api_quantity_format format;
	if (in.len == 0 || !text_split(in, &t))
		return err_set(err, ERR_INVALID_REQUEST, "%s", err_format);
	if (!suffix_read(t.suffix, &base, &exponent, &format))
		return err_set(err, ERR_INVALID_REQUEST, "%s", err_suffix);
	int64_t value;
	bool small = small_read(&t, &value);
	*out_kept = small && text_kept(&t, value, exponent, format);
	struct api_quantity q = { .format = (uint8_t)format };
	if (!(small && common_read(&t, value, base, exponent, q.nano)) &&
	    (t.num.len + t.denom.len > DIGITS_MAX || !(base == 2 ? binary_read : decimal_read)(&t, exponent, q.nano)))
		return err_set(err, ERR_INVALID_REQUEST, "%s", err_numeric);
	if (base == 2) {
		uint64_t most[LIMBS], one[LIMBS] = { 1000000000 };
		mag_int64_max(most);
		if (mag_cmp(q.nano, most) > 0)
			memcpy(q.nano, most, sizeof(most));
		else if (!mag_zero(q.nano) && mag_cmp(q.nano, one) < 0)
			q.format = API_QUANTITY_DECIMAL;
	}
	q.sign = mag_zero(q.nano) ? 0 : t.negative ? -1 : 1;
	*out = q;
	return 0;
}

int api_quantity_parse(struct span in, struct api_quantity *out, struct err *err)
{
	bool kept;
	return quantity_read(in, out, &kept, err);
}

/* ---- printing */
static void mag_print(const uint64_t m[LIMBS], struct buf *out)
{
	uint64_t rest[LIMBS], parts[10];
	unsigned n = 0;
	memcpy(rest, m, sizeof(rest));
	do
		parts[n++] = mag_div(rest, pow10_u64(18));
	while (!mag_zero(rest) && n < ARRAY_LEN(parts));
	assert(mag_zero(rest)); /* 512 bits are 155 digits, 10 parts hold 180 */
	buf_u64(out, parts[--n]);
	while (n-- > 0)
		buf_printf(out, "%018llu", (unsigned long long)parts[n]);
}

/* Divides by base while there is no rest, at most `most` times; returns how often. */
static int factors_remove(uint64_t m[LIMBS], uint64_t base, int most)
{
	int times = 0;
	while (times < most) {
		uint64_t q[LIMBS];
		memcpy(q, m, sizeof(q));
		if (mag_div(q, base) != 0)
			break;
		memcpy(m, q, sizeof(q));
		times++;
	}
	return times;
}

void api_quantity_print(const struct api_quantity *q, struct buf *out)
{
	uint64_t m[LIMBS];
	if (q->sign == 0) {
		buf_chr(out, '0');
		return;
	}
	if (q->sign < 0)
		buf_chr(out, '-');
	memcpy(m, q->nano, sizeof(m));
	enum api_quantity_format format = q->format;
	if (format == API_QUANTITY_BINARY) {
		static const uint64_t kibi[LIMBS] = { UINT64_C(1024) * 1000000000 };
		if (mag_cmp(m, kibi) >= 0 && mag_div(m, 1000000000) == 0) {
			int exponent = 10 * factors_remove(m, 1024, 6);
			mag_print(m, out);
			if (exponent)
				buf_str(out, SUFFIX_BINARY(exponent));
			return;
		}
		/* A fraction, or less than 1Ki: shown in the decimal form, so that nothing is lost. */
		memcpy(m, q->nano, sizeof(m));
		format = API_QUANTITY_DECIMAL;
	}
	int exponent = -9 + 3 * factors_remove(m, 1000, format == API_QUANTITY_DECIMAL ? 9 : 1000);
	mag_print(m, out);
	if (format == API_QUANTITY_DECIMAL)
		buf_str(out, SUFFIX_DECIMAL(exponent));
	else if (exponent)
		buf_printf(out, "e%d", exponent);
}

int api_quantity_canon(struct span in, struct buf *out, struct err *err)
{
	while (in.len && strchr(" \t\n\v\f\r", in.ptr[0]) && in.ptr[0])
		in = span_from(in, 1);
	while (in.len && strchr(" \t\n\v\f\r", in.ptr[in.len - 1]) && in.ptr[in.len - 1])
		in.len--;
	struct api_quantity q;
	bool kept;
	int rc = quantity_read(in, &q, &kept, err);
	if (rc < 0)
		return rc;
	if (kept)
		buf_span_add(out, in);
	else
		api_quantity_print(&q, out);
	return 0;
}

/* ---- arithmetic */
struct api_quantity api_quantity_of(int64_t value, int scale, enum api_quantity_format format)
{
	assert(scale >= -9 && scale <= 18);
	struct api_quantity q = { .format = (uint8_t)format, .sign = value > 0 ? 1 : value < 0 ? -1 : 0 };
	q.nano[0] = value < 0 ? -(uint64_t)value : (uint64_t)value;
	(void)mag_mul10(q.nano, (unsigned)(scale + 9)); /* below 2^64 × 10^27 */
	return q;
}

int api_quantity_cmp(const struct api_quantity *a, const struct api_quantity *b)
{
	if (a->sign != b->sign)
		return a->sign < b->sign ? -1 : 1;
	int c = mag_cmp(a->nano, b->nano);
	return a->sign < 0 ? -c : c;
}

static void signed_add(struct api_quantity *q, const struct api_quantity *y, int y_sign)
{
	if (q->sign == 0)
		q->format = y->format;
	if (y_sign == 0)
		return;
	if (q->sign == 0 || q->sign == y_sign) {
		if (!mag_add(q->nano, y->nano))
			mag_saturate(q->nano);
		q->sign = (int8_t)y_sign;
		return;
	}
	int c = mag_cmp(q->nano, y->nano);
	if (c >= 0) {
		mag_sub(q->nano, q->nano, y->nano);
		q->sign = c == 0 ? 0 : q->sign;
	} else {
		mag_sub(q->nano, y->nano, q->nano);
		q->sign = (int8_t)y_sign;
	}
}

void api_quantity_add(struct api_quantity *q, const struct api_quantity *y)
{
	signed_add(q, y, y->sign);
}

void api_quantity_sub(struct api_quantity *q, const struct api_quantity *y)
{
	signed_add(q, y, -y->sign);
}

void api_quantity_mul(struct api_quantity *q, int64_t factor)
{
	if (!mag_mul(q->nano, factor < 0 ? -(uint64_t)factor : (uint64_t)factor, 0))
		mag_saturate(q->nano);
	q->sign = factor == 0 ? 0 : factor < 0 ? -q->sign : q->sign;
}

void api_quantity_neg(struct api_quantity *q)
{
	q->sign = -q->sign;
}

int64_t api_quantity_scaled(const struct api_quantity *q, int scale)
{
	assert(scale >= -9 && scale <= 18);
	uint64_t m[LIMBS];
	memcpy(m, q->nano, sizeof(m));
	(void)mag_div10_up(m, (unsigned)(scale + 9));
	bool large = m[0] > INT64_MAX;
	for (unsigned i = 1; i < LIMBS; i++)
		large |= m[i] != 0;
	if (large)
		return q->sign < 0 ? INT64_MIN : INT64_MAX;
	return q->sign < 0 ? -(int64_t)m[0] : (int64_t)m[0];
}

bool api_quantity_round_up(struct api_quantity *q, int scale)
{
	assert(scale >= -9 && scale <= 18);
	bool exact = mag_div10_up(q->nano, (unsigned)(scale + 9));
	if (!mag_mul10(q->nano, (unsigned)(scale + 9)))
		mag_saturate(q->nano);
	return exact;
}

double api_quantity_double(const struct api_quantity *q)
{
	double d = 0;
	for (unsigned i = LIMBS; i-- > 0;)
		d = d * 18446744073709551616.0 + (double)q->nano[i];
	return q->sign < 0 ? -(d / 1e9) : d / 1e9;
}
