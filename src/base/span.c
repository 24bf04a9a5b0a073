#include "base/base.h"

#include <stdatomic.h>

int span_cmp(struct span a, struct span b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	if (n && a.ptr[0] != b.ptr[0]) /* most names that are compared in a search differ here */
		return (unsigned char)a.ptr[0] < (unsigned char)b.ptr[0] ? -1 : 1;
	int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
	if (c)
		return c;
	return a.len < b.len ? -1 : a.len > b.len;
}

static inline unsigned char lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

bool span_eq_nocase(struct span a, struct span b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (lower((unsigned char)a.ptr[i]) != lower((unsigned char)b.ptr[i]))
			return false;
	return true;
}

bool span_starts(struct span s, struct span prefix)
{
	return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

bool span_ends(struct span s, struct span suffix)
{
	return s.len >= suffix.len &&
	       (suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

bool span_has(struct span s, struct span part)
{
	return span_find(s, part) >= 0;
}

ptrdiff_t span_chr(struct span s, char c)
{
	const char *p = s.len ? memchr(s.ptr, c, s.len) : NULL;
	return p ? p - s.ptr : -1;
}

ptrdiff_t span_rchr(struct span s, char c)
{
	const char *p = s.len ? memrchr(s.ptr, c, s.len) : NULL;
	return p ? p - s.ptr : -1;
}

ptrdiff_t span_find(struct span s, struct span part)
{
	if (!part.len)
		return 0;
	const char *p = s.len ? memmem(s.ptr, s.len, part.ptr, part.len) : NULL;
	return p ? p - s.ptr : -1;
}

struct span span_sub(struct span s, size_t from, size_t to)
{
	if (to > s.len)
		to = s.len;
	if (from > to)
		from = to;
	/* An empty view keeps its place: callers compute offsets from it. */
	return (struct span){ s.ptr ? s.ptr + from : NULL, to - from };
}

static inline bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct span span_trim(struct span s)
{
	while (s.len && blank(s.ptr[0]))
		s.ptr++, s.len--;
	while (s.len && blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

bool span_cut(struct span *rest, char sep, struct span *out_part)
{
	if (!rest->len)
		return false;
	ptrdiff_t at = span_chr(*rest, sep);
	if (at < 0) {
		*out_part = *rest;
		*rest = span_from(*rest, rest->len);
	} else {
		*out_part = span_sub(*rest, 0, (size_t)at);
		*rest = span_from(*rest, (size_t)at + 1);
	}
	return true;
}

bool span_split(struct span s, char sep, struct span *out_head, struct span *out_tail)
{
	ptrdiff_t at = span_chr(s, sep);
	if (at < 0) {
		*out_head = s;
		*out_tail = span_from(s, s.len);
		return false;
	}
	*out_head = span_sub(s, 0, (size_t)at);
	*out_tail = span_from(s, (size_t)at + 1);
	return true;
}

bool span_to_u64_base(struct span s, unsigned base, uint64_t *out)
{
	uint64_t v = 0;
	if (!s.len)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		unsigned digit;
		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if (c >= 'a' && c <= 'z')
			digit = (unsigned)(c - 'a') + 10;
		else if (c >= 'A' && c <= 'Z')
			digit = (unsigned)(c - 'A') + 10;
		else
			return false;
		if (digit >= base || __builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, digit, &v))
			return false;
	}
	*out = v;
	return true;
}

bool span_to_u64(struct span s, uint64_t *out)
{
	return span_to_u64_base(s, 10, out);
}

bool span_to_bool(struct span s, bool *out)
{
	static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
	static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };
	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		if (span_is(s, yes[i]) || span_is(s, no[i])) {
			*out = span_is(s, yes[i]);
			return true;
		}
	return false;
}

bool span_to_i64(struct span s, int64_t *out)
{
	bool negative = s.len && s.ptr[0] == '-';
	if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+'))
		s = span_from(s, 1);
	uint64_t v;
	if (!span_to_u64_base(s, 10, &v) || v > (uint64_t)INT64_MAX + negative)
		return false;
	*out = negative ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

/* SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF"): one compression round a word and three at
 * the end are what hash tables of other languages use; the key is what keeps an outsider from building collisions. */
static uint64_t hash_key[2];

__attribute__((constructor)) static void hash_key_draw(void)
{
	rng_secret(hash_key, sizeof(hash_key));
}

static inline uint64_t rotl(uint64_t x, int b)
{
	return (x << b) | (x >> (64 - b));
}

#define SIP_ROUND                                                                                                      \
	do {                                                                                                           \
		v0 += v1, v1 = rotl(v1, 13), v1 ^= v0, v0 = rotl(v0, 32);                                              \
		v2 += v3, v3 = rotl(v3, 16), v3 ^= v2;                                                                 \
		v0 += v3, v3 = rotl(v3, 21), v3 ^= v0;                                                                 \
		v2 += v1, v1 = rotl(v1, 17), v1 ^= v2, v2 = rotl(v2, 32);                                              \
	} while (0)

uint64_t span_hash(struct span s)
{
	uint64_t v0 = hash_key[0] ^ UINT64_C(0x736f6d6570736575), v1 = hash_key[1] ^ UINT64_C(0x646f72616e646f6d);
	uint64_t v2 = hash_key[0] ^ UINT64_C(0x6c7967656e657261), v3 = hash_key[1] ^ UINT64_C(0x7465646279746573);
	const char *p = s.ptr;
	size_t left = s.len;
	for (; left >= 8; left -= 8, p += 8) {
		uint64_t word;
		memcpy(&word, p, 8);
		v3 ^= word;
		SIP_ROUND;
		v0 ^= word;
	}
	uint64_t last = (uint64_t)s.len << 56;
	for (size_t i = 0; i < left; i++)
		last |= (uint64_t)(unsigned char)p[i] << (8 * i);
	v3 ^= last;
	SIP_ROUND;
	v0 ^= last;
	v2 ^= 0xff;
	SIP_ROUND;
	SIP_ROUND;
	SIP_ROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}
