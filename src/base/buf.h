/* A growing byte string with one owner.
 *
 * Zero-initialised is a valid empty buf. Appending never fails to the caller; a buf with a limit that would grow
 * past it drops the piece, remembers it, and stays so: check buf_overflowed() once at the end instead of
 * after each append. Running out of memory aborts (the limit is what bounds outsiders).
 * The bytes are always followed by a 0 byte once anything was added, so buf_cstr() is cheap. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include "base/auto.h"
#include "base/span.h"

struct buf {
	char *ptr;    /* owned */
	size_t len;   /* bytes in use, without the closing 0 */
	size_t cap;   /* bytes allocated */
	size_t limit; /* largest len allowed; 0 = none */
	bool overflowed;
};

void buf_done(struct buf *b);
#define auto_buf auto_cleanup(buf_done)

static inline struct span buf_span(const struct buf *b)
{
	return (struct span){ b->ptr, b->len };
}
const char *buf_cstr(const struct buf *b); /* "" for an empty one; valid until the next change */
static inline bool buf_overflowed(const struct buf *b)
{
	return b->overflowed;
}
/* Room for n more bytes; returns where they go, or NULL past the limit. buf_commit(n) then takes them in. */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

void buf_add(struct buf *b, const void *data, size_t len);
static inline void buf_span_add(struct buf *b, struct span s)
{
	buf_add(b, s.ptr, s.len);
}
static inline void buf_str(struct buf *b, const char *cstr)
{
	buf_add(b, cstr, strlen(cstr));
}
static inline void buf_chr(struct buf *b, char c)
{
	if (likely(b->len + 1 < b->cap && !b->limit)) {
		b->ptr[b->len++] = c;
		b->ptr[b->len] = 0;
	} else {
		buf_add(b, &c, 1);
	}
}
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void buf_i64(struct buf *b, int64_t v); /* decimal; much faster than printf */
void buf_u64(struct buf *b, uint64_t v);
/* Cuts to len bytes (which must not be more than there are); forgets an overflow when len is 0. */
void buf_trunc(struct buf *b, size_t len);
/* Removes the first n bytes, moving the rest down. */
void buf_shift(struct buf *b, size_t n);
/* Gives the bytes away as a malloc'ed, 0-ended string (never NULL); the buf is empty afterwards. */
char *buf_take(struct buf *b, size_t *out_len);
