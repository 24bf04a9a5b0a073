/* A queue of output: segments that refer to counted bytes. Private.
 *
 *     segs:  [ref 2 KB][copied 310 B][ref 16 KB]...      copied segments lie in chunks of the queue's own
 *
 * Small pieces are copied into the open chunk, so that a header and a short body are one segment; larger ones are held
 * by reference. Zero-initialised is a valid empty queue. */
#pragma once

#include <sys/uio.h>
#include "http/http.h"

struct http_seg {
	const char *ptr;
	size_t len;
	struct bytes *bytes; /* a reference */
};

struct http_out {
	struct http_seg *segs; /* owned; in use: [head, head + n) */
	unsigned head, n, cap;
	size_t len;            /* bytes queued */
	struct bytes *chunk;   /* where small pieces are copied: a reference */
	size_t chunk_used;
	uint64_t taken;        /* bytes that left by http_out_drop, ever */
};

void http_out_done(struct http_out *q);
void http_out_add(struct http_out *q, struct http_piece piece);
void http_out_copy(struct http_out *q, const void *data, size_t len);
static inline void http_out_span(struct http_out *q, struct span s)
{
	http_out_copy(q, s.ptr, s.len);
}
/* The first segments as vectors; returns how many. */
unsigned http_out_peek(const struct http_out *q, struct iovec *iov, unsigned max);
void http_out_drop(struct http_out *q, size_t len);
/* Moves the first len bytes (or all there are) of from to the end of to. */
void http_out_move(struct http_out *to, struct http_out *from, size_t len);
/* Copies the first bytes, at most cap, without taking them. */
size_t http_out_gather(const struct http_out *q, char *out, size_t cap);
