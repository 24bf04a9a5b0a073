/* Numbers, checksums and pax records: the texts that headers are made of. */
#include "tar/private.h"

bool tar_number_read(const char *field, size_t len, int64_t *out)
{
	const unsigned char *p = (const unsigned char *)field;
	if (len && p[0] & 0x80) {
		/* GNU base 256: big-endian two's complement; the first bit only marks the form (0x80 positive, 0xff negative). */
		bool negative = p[0] & 0x40;
		uint64_t v = negative ? UINT64_MAX : 0;
		for (size_t i = 0; i < len; i++) {
			unsigned char c = i ? p[i] : (unsigned char)(negative ? p[0] | 0x80 : p[0] & 0x7f);
			if ((v >> 56) != (negative ? 0xff : 0))
				return false;
			v = v << 8 | c;
		}
		if ((v >> 63) != negative)
			return false;
		*out = (int64_t)v;
		return true;
	}
	struct span s = span_make(field, strnlen(field, len));
	while (s.len && s.ptr[0] == ' ')
		s = span_from(s, 1);
	while (s.len && s.ptr[s.len - 1] == ' ')
		s.len--;
	if (!s.len) { /* an empty field is zero: GNU tar and others leave fields out */
		*out = 0;
		return true;
	}
	uint64_t v;
	if (!span_to_u64_base(s, 8, &v) || v > INT64_MAX)
		return false;
	*out = (int64_t)v;
	return true;
}

bool tar_number_write(char *field, size_t len, uint64_t v)
{
	for (size_t i = len - 1; i-- > 0; v >>= 3)
		field[i] = (char)('0' + (v & 7));
	field[len - 1] = 0;
	return v == 0;
}

unsigned tar_sum(const struct tar_header *h, bool with_sign)
{
	/* Some old programs summed signed characters; readers accept both (pax: "unsigned" is the standard's). */
	const unsigned char *p = (const unsigned char *)h;
	unsigned sum = 8 * ' ';
	for (size_t i = 0; i < sizeof(*h); i++)
		if (i < offsetof(struct tar_header, sum) || i >= offsetof(struct tar_header, type))
			sum += with_sign ? (unsigned)(signed char)p[i] : p[i];
	return sum;
}

int tar_pax_next(struct span *rest, struct span *out_key, struct span *out_value)
{
	if (!rest->len)
		return 0;
	ptrdiff_t blank = span_chr(span_sub(*rest, 0, 21), ' ');
	uint64_t len;
	if (blank < 1 || !span_to_u64(span_sub(*rest, 0, (size_t)blank), &len) || len > rest->len ||
	    len < (size_t)blank + 3 || rest->ptr[len - 1] != '\n')
		return -1;
	struct span record = span_sub(*rest, (size_t)blank + 1, len - 1);
	if (!span_split(record, '=', out_key, out_value) || !out_key->len)
		return -1;
	*rest = span_from(*rest, len);
	return 1;
}

void tar_pax_add(struct buf *out, const char *key, const char *key_rest, struct span value)
{
	/* The length counts its own digits: try until it agrees with itself. */
	size_t body = 1 + strlen(key) + strlen(key_rest) + 1 + value.len + 1, len = body + 1;
	for (;;) {
		size_t digits = 1;
		for (size_t n = len; n >= 10; n /= 10)
			digits++;
		if (body + digits == len)
			break;
		len = body + digits;
	}
	buf_u64(out, len);
	buf_chr(out, ' ');
	buf_str(out, key);
	buf_str(out, key_rest);
	buf_chr(out, '=');
	buf_span_add(out, value);
	buf_chr(out, '\n');
}

bool tar_pax_time_read(struct span s, struct timespec *out)
{
	struct span whole, fraction;
	span_split(s, '.', &whole, &fraction);
	bool negative = whole.len && whole.ptr[0] == '-';
	int64_t sec;
	if (span_is(whole, "-") || span_is(whole, "-0"))
		sec = 0;
	else if (!span_to_i64(whole, &sec))
		return false;
	long ns = 0, scale = 100000000;
	bool more = false; /* digits behind the ninth that are not 0 */
	for (size_t i = 0; i < fraction.len; i++, scale /= 10) {
		if (fraction.ptr[i] < '0' || fraction.ptr[i] > '9')
			return false;
		ns += scale * (fraction.ptr[i] - '0');
		more |= !scale && fraction.ptr[i] != '0';
	}
	if (negative && more && ++ns == 1000000000) {
		if (sec == INT64_MIN)
			return false;
		sec--, ns = 0;
	}
	if (negative && ns) {
		if (sec == INT64_MIN)
			return false;
		sec--;
		ns = 1000000000 - ns;
	}
	*out = (struct timespec){ .tv_sec = sec, .tv_nsec = ns };
	return true;
}

void tar_pax_time_add(struct buf *out, const char *key, struct timespec t)
{
	char text[48];
	/* -1.5 is stored as -2 s + 0.5 s and written as one decimal number. */
	bool negative = t.tv_sec < 0;
	uint64_t sec = negative ? 0 - (uint64_t)t.tv_sec : (uint64_t)t.tv_sec;
	long ns = t.tv_nsec;
	if (negative && ns) {
		sec--;
		ns = 1000000000 - ns;
	}
	int n = snprintf(text, sizeof(text), "%s%llu", negative ? "-" : "", (unsigned long long)sec);
	if (ns) {
		n += snprintf(text + n, sizeof(text) - (size_t)n, ".%09ld", ns);
		while (text[n - 1] == '0')
			n--;
	}
	tar_pax_add(out, key, "", span_make(text, (size_t)n));
}
