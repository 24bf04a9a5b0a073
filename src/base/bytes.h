/* An immutable, counted byte string: stored objects, encoded events, shared responses.
 *
 * Made once (from data, or by sealing a buf), then never changed; any thread may hold references and read.
 * The count is atomic. A reference is given with bytes_ref and returned with bytes_unref; who returns
 * the last one frees it. Sharing, not copying, is how ten thousand watchers get one event. */
#pragma once

#include <stdatomic.h>
#include "base/auto.h"
#include "base/buf.h"
#include "base/span.h"

struct bytes {
	_Atomic uint32_t refs;
	uint32_t reserved;
	size_t len;
	char data[]; /* len bytes and a 0 byte */
};

struct bytes *bytes_new(const void *data, size_t len);
static inline struct bytes *bytes_of(struct span s)
{
	return bytes_new(s.ptr, s.len);
}
/* A new one of len bytes for the caller to fill before anybody else sees it. */
struct bytes *bytes_alloc(size_t len);
/* The buf's contents; the buf is emptied (its memory is kept for reuse). */
struct bytes *buf_seal(struct buf *b);

static inline struct bytes *bytes_ref(struct bytes *b)
{
	if (b)
		atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}
/* n references at once: fan-out takes them per segment, not per event. */
static inline void bytes_ref_n(struct bytes *b, uint32_t n)
{
	atomic_fetch_add_explicit(&b->refs, n, memory_order_relaxed);
}
void bytes_unref(struct bytes *b); /* accepts NULL */
static inline struct span bytes_span(const struct bytes *b)
{
	return b ? (struct span){ b->data, b->len } : SPAN_EMPTY;
}
AUTO_DEFINE(bytes, struct bytes *, bytes_unref)
#define auto_bytes auto_cleanup(auto_bytes_)
