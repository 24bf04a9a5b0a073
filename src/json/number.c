/* Doubles to text and back.
 *
 * Reading. A decimal of at most 15 digits is a whole number below 2^53 times a power of ten; when that power is
 * at most 10^22 both are exact doubles and one multiplication or division rounds once, so the result is the nearest
 * double (Clinger's fast path). Everything else goes through strtod, normalised to digits and an exponent without a
 * decimal point, so that no locale has a say, and cut to 800 digits: 767 can matter, and a last 1
 * stands for whatever non-zero was cut.
 *
 * Writing. Go's strconv.FormatFloat(d, 'f' or 'e', -1, 64): the fewest digits that read back as d, and of those the
 * nearest to d. Of a normal double, a decimal of at most 15 digits that reads back as it is what %.14e
 * gives (that many digits survive the way through a double); else 16 digits do or 17 must. Only at a power of two, where
 * the gap below is half the gap above, can the nearest decimal of 16 digits fail and the next above it serve. Denormals
 * carry fewer digits, there each length is tried. */
#include "json/json.h"
#include "json/private.h"

#include <math.h>

enum {
	DIGITS_MOST = 800,
	EXPONENT_MOST = 1000000000, /* beyond any text we read, and small enough to add up */
};

static const double powers_of_ten[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
					1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

static inline bool is_digit(char c)
{
	return (unsigned char)(c - '0') < 10;
}

bool json_read_double(struct span text, double *out)
{
	const char *s = text.ptr, *end = s + text.len;
	char digits[DIGITS_MOST + 32] __attribute__((uninitialized));
	size_t n = 0;         /* significant digits kept */
	int64_t exponent = 0; /* of ten, for the kept digits read as a whole number */
	uint64_t whole = 0;   /* the kept digits, while there are at most 19 */
	bool cut = false, any = false, negative = false;
	if (s < end && (*s == '-' || *s == '+'))
		negative = *s++ == '-';
	for (bool fraction = false; s < end && (is_digit(*s) || (*s == '.' && !fraction)); s++) {
		if (*s == '.') {
			fraction = true;
			continue;
		}
		any = true;
		if (n == 0 && *s == '0') {
			exponent -= fraction;
		} else if (n < DIGITS_MOST) {
			digits[n++] = *s;
			whole = whole * 10 + (uint64_t)(*s - '0');
			exponent -= fraction;
		} else {
			cut = cut || *s != '0';
			exponent += !fraction;
		}
	}
	if (!any)
		return false;
	if (s < end && (*s == 'e' || *s == 'E')) {
		s++;
		bool minus = false;
		if (s < end && (*s == '-' || *s == '+'))
			minus = *s++ == '-';
		if (s == end || !is_digit(*s))
			return false;
		int64_t e = 0;
		for (; s < end && is_digit(*s); s++) {
			if (e < 100 * (int64_t)EXPONENT_MOST)
				e = e * 10 + (*s - '0');
		}
		exponent += minus ? -e : e;
	}
	if (s != end)
		return false;
	double d;
	if (n == 0) {
		d = 0;
	} else if (n <= 15 && exponent >= -22 && exponent <= 22) {
		d = exponent < 0 ? (double)whole / powers_of_ten[-exponent] : (double)whole * powers_of_ten[exponent];
	} else {
		if (cut) {
			digits[n++] = '1';
			exponent--;
		}
		exponent = MAX(MIN(exponent, (int64_t)EXPONENT_MOST), -(int64_t)EXPONENT_MOST);
		snprintf(digits + n, sizeof(digits) - n, "e%d", (int)exponent);
		d = strtod(digits, NULL);
		if (isinf(d))
			return false;
	}
	*out = negative ? -d : d;
	return true;
}

/* digits[0..n) with a point behind the first, times 10^exponent, is the shortest form of d > 0. No zeros at the end. */
struct shortest {
	char digits[20];
	int n, exponent;
};

/* d with so many digits, as snprintf rounds it; whether it reads back as d. */
static bool with_digits(double d, int n, struct shortest *out)
{
	char text[40];
	snprintf(text, sizeof(text), "%.*e", n - 1, d);
	bool same = strtod(text, NULL) == d;
	out->digits[0] = text[0];
	if (n > 1)
		memcpy(out->digits + 1, text + 2, (size_t)n - 1);
	out->n = n;
	out->exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
	return same;
}

/* The next decimal above of the same length; whether it reads back as d. */
static bool step_up(double d, struct shortest *v)
{
	int i = v->n - 1;
	while (i >= 0 && v->digits[i] == '9')
		v->digits[i--] = '0';
	if (i < 0) {
		v->digits[0] = '1';
		v->exponent++;
	} else {
		v->digits[i]++;
	}
	char text[40];
	snprintf(text, sizeof(text), "%.*se%d", v->n, v->digits, v->exponent - (v->n - 1));
	return strtod(text, NULL) == d;
}

static void shortest_of(double d, struct shortest *out)
{
	bool found;
	if (d < 0x1p-1022) {
		int n = 1;
		while (!with_digits(d, n, out))
			n++;
	} else {
		int binary;
		found = with_digits(d, 15, out) || with_digits(d, 16, out) ||
			(frexp(d, &binary) == 0.5 && step_up(d, out));
		if (!found)
			with_digits(d, 17, out);
	}
	while (out->n > 1 && out->digits[out->n - 1] == '0')
		out->n--;
}

/* Whole numbers and decimals of a few places, which is what people write. Prices, percentages and seconds end
 * here. A decimal of at most 15 digits that reads back as d, without zeros at the end, is the shortest. */
static bool write_short(struct buf *out, double d, bool negative)
{
	if (d < 1e15 && d == (double)(uint64_t)d) {
		if (negative)
			buf_chr(out, '-');
		buf_u64(out, (uint64_t)d);
		return true;
	}
	if (d < 1e-3 || d >= 1e9)
		return false;
	for (int places = 1; places <= 6; places++) {
		uint64_t scaled = (uint64_t)(d * powers_of_ten[places] + 0.5);
		if ((double)scaled / powers_of_ten[places] != d)
			continue;
		char text[32];
		char *at = text + sizeof(text);
		uint64_t v = scaled;
		for (int i = 0; i < places; i++, v /= 10)
			*--at = (char)('0' + v % 10);
		*--at = '.';
		do {
			*--at = (char)('0' + v % 10);
			v /= 10;
		} while (v);
		if (negative)
			*--at = '-';
		buf_add(out, at, (size_t)(text + sizeof(text) - at));
		return true;
	}
	return false;
}

void json_write_double(struct buf *out, double d)
{
	if (!isfinite(d)) {
		buf_add(out, "null", 4);
		return;
	}
	bool negative = signbit(d);
	d = fabs(d);
	if (write_short(out, d, negative))
		return;
	struct shortest v;
	shortest_of(d, &v);
	char text[48];
	size_t n = 0;
	if (negative)
		text[n++] = '-';
	if (v.exponent < -6 || v.exponent >= 21) {
		/* d.ddde-9: Go writes at least two digits of exponent, and its JSON encoder takes e-0N back to e-N. */
		text[n++] = v.digits[0];
		if (v.n > 1) {
			text[n++] = '.';
			memcpy(text + n, v.digits + 1, (size_t)v.n - 1);
			n += (size_t)v.n - 1;
		}
		n += (size_t)snprintf(text + n, sizeof(text) - n, "e%c%d", v.exponent < 0 ? '-' : '+', abs(v.exponent));
	} else if (v.exponent < 0) {
		text[n++] = '0';
		text[n++] = '.';
		for (int i = -1; i > v.exponent; i--)
			text[n++] = '0';
		memcpy(text + n, v.digits, (size_t)v.n);
		n += (size_t)v.n;
	} else {
		for (int i = 0; i < v.n || i <= v.exponent; i++) {
			if (i == v.exponent + 1)
				text[n++] = '.';
			text[n++] = i < v.n ? v.digits[i] : '0';
		}
	}
	buf_add(out, text, n);
}
