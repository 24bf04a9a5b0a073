/* Private to json: how the parser and the writer find the next byte that needs a thought.
 *
 * Most bytes of a JSON text stand inside strings and are plain: ASCII, no quote, no backslash, no control character.
 * SSE2 looks at 16 of them at once; elsewhere a word of 8 does. The portable form is always compiled, so that the
 * unit test can hold the two against each other. */
#pragma once

#include "base/base.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif


static inline bool scan_is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

#define SCAN_ONES 0x0101010101010101ull
#define SCAN_HIGHS 0x8080808080808080ull
/* A high bit in (at least) the lowest byte of w that equals c. Higher bytes may be marked wrongly by a borrow, and
 * the caller takes only the lowest (on a little-endian machine: the first). */
#define SCAN_EQ(w, c) (((w) ^ (SCAN_ONES * (unsigned char)(c))) - SCAN_ONES) & ~((w) ^ (SCAN_ONES * (unsigned char)(c)))

/* The first byte from s on that is not plain, or end. With html, <, > and & are not plain either. */
static inline const char *scan_plain_portable(const char *s, const char *end, bool html)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	while (end - s >= 8) {
		uint64_t w;
		memcpy(&w, s, 8);
		uint64_t hit = (SCAN_EQ(w, '"')) | (SCAN_EQ(w, '\\')) | w | ((w - SCAN_ONES * 0x20) & ~w);
		if (html)
			hit |= (SCAN_EQ(w, '<')) | (SCAN_EQ(w, '>')) | (SCAN_EQ(w, '&'));
		hit &= SCAN_HIGHS;
		if (hit)
			return s + (__builtin_ctzll(hit) >> 3);
		s += 8;
	}
#endif
	for (; s < end; s++) {
		if (!scan_is_plain((unsigned char)*s) || (html && (*s == '<' || *s == '>' || *s == '&')))
			break;
	}
	return s;
}

#if defined(__SSE2__)
/* A bit for each of the 16 bytes that is not plain. */
static inline unsigned scan_hits(__m128i v, bool html)
{
	/* As signed bytes, control characters and everything from 0x80 on are both below 0x20. */
	__m128i hit = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20));
	hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
	hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
	if (html) {
		hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('<')));
		hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('>')));
		hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('&')));
	}
	return (unsigned)_mm_movemask_epi8(hit);
}

static inline unsigned scan_mask16(const char *s, bool html)
{
	return scan_hits(_mm_loadu_si128((const __m128i *)s), html);
}
#endif

static inline const char *scan_plain(const char *s, const char *end, bool html)
{
#if defined(__SSE2__)
	while (end - s >= 16) {
		unsigned hit = scan_mask16(s, html);
		if (hit)
			return s + __builtin_ctz(hit);
		s += 16;
	}
#endif
	return scan_plain_portable(s, end, html);
}

/* The first byte from s on that is no JSON blank, or end. Indented text has a line feed and a run of blanks before
 * most values; compact text has none, so the first test usually ends it. */
static inline const char *scan_blanks(const char *s, const char *end)
{
	while (s < end) {
		unsigned char c = (unsigned char)*s;
		if (c > 0x20)
			return s;
		if (c == '\n' || c == ' ') {
			s++;
#if defined(__SSE2__)
			while (end - s >= 16) {
				__m128i v = _mm_loadu_si128((const __m128i *)s);
				unsigned other = ~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(' '))) & 0xffff;
				if (other) {
					s += __builtin_ctz(other);
					break;
				}
				s += 16;
			}
#endif
		} else if (c == '\t' || c == '\r') {
			s++;
		} else {
			return s;
		}
	}
	return s;
}
