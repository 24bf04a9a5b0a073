/* A borrowed view of bytes. It owns nothing and need not end in a 0 byte; it is passed by value.
 * An empty span has len 0; its ptr may be NULL. Compare with span_eq, never by pointer.
 *
 *     struct span rest = path, part;
 *     while (span_cut(&rest, '/', &part)) ...
 *     printf("%.*s", SPAN_ARG(part)); */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const char *ptr;
	size_t len;
};

#define SPAN(literal) ((struct span){ "" literal, sizeof(literal) - 1 })
#define SPAN_INIT(literal) { "" literal, sizeof(literal) - 1 } /* for static tables */
#define SPAN_EMPTY ((struct span){ NULL, 0 })
#define SPAN_ARG(s) ((int)(s).len), ((s).ptr ? (s).ptr : "")

static inline struct span span_make(const void *ptr, size_t len)
{
	return (struct span){ ptr, len };
}
static inline struct span span_of(const char *cstr) /* NULL gives an empty span */
{
	return (struct span){ cstr, cstr ? strlen(cstr) : 0 };
}
static inline bool span_eq(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool span_is(struct span a, const char *cstr)
{
	return span_eq(a, span_of(cstr));
}
int span_cmp(struct span a, struct span b);       /* byte order, as Go and SQLite compare strings */
bool span_eq_nocase(struct span a, struct span b); /* ASCII only */
bool span_starts(struct span s, struct span prefix);
bool span_ends(struct span s, struct span suffix);
bool span_has(struct span s, struct span part);
/* Index of the first (last) c, or -1. */
ptrdiff_t span_chr(struct span s, char c);
ptrdiff_t span_rchr(struct span s, char c);
/* Index of the first part, or -1. */
ptrdiff_t span_find(struct span s, struct span part);
/* The bytes [from, to), both clipped to the length. */
struct span span_sub(struct span s, size_t from, size_t to);
static inline struct span span_from(struct span s, size_t from)
{
	return span_sub(s, from, s.len);
}
/* Without blanks, tabs, CR and LF at both ends. */
struct span span_trim(struct span s);
/* Takes what stands before the next sep from *rest into *out_part; the last part is what is left.
 * False when *rest is used up. A sep ends a part and does not begin one: "a,,b" gives "a", "", "b"; "" gives
 * nothing; "a," gives "a"; "," gives "". */
bool span_cut(struct span *rest, char sep, struct span *out_part);
/* Splits at the first sep: *out_head before it, *out_tail behind it. False (head = s, tail empty) without sep. */
bool span_split(struct span s, char sep, struct span *out_head, struct span *out_tail);

/* Whole-span numbers, base 10: an optional sign (signed only), digits, nothing else. False on anything
 * else or on overflow, *out untouched. */
bool span_to_i64(struct span s, int64_t *out);
bool span_to_u64(struct span s, uint64_t *out);
/* The same for any base from 2 to 36, without prefix. */
bool span_to_u64_base(struct span s, unsigned base, uint64_t *out);
/* The words of Go's strconv.ParseBool: 1 t T true TRUE True, 0 f F false FALSE False. False on anything else, *out untouched. */
bool span_to_bool(struct span s, bool *out);

/* Keyed hash (SipHash-1-3 with a key drawn at process start): outsiders cannot choose collisions. */
uint64_t span_hash(struct span s);
