#include "http/http_out.h"

/* A piece up to SMALL is copied: two vectors and a reference cost about as much as 512 bytes. */
enum { SMALL = 512, CHUNK = 4096 - sizeof(struct bytes) - 32 };

void http_out_done(struct http_out *q)
{
	for (unsigned i = 0; i < q->n; i++)
		bytes_unref(q->segs[q->head + i].bytes);
	free(q->segs);
	bytes_unref(q->chunk);
	uint64_t taken = q->taken;
	*q = (struct http_out){ .taken = taken };
}

static struct http_seg *seg_add(struct http_out *q)
{
	if (q->head + q->n == q->cap) {
		if (q->head > q->n) { /* more gone than left: make room at the front */
			memcpy(q->segs, q->segs + q->head, q->n * sizeof(*q->segs));
			q->head = 0;
		} else {
			q->cap = q->cap ? q->cap * 2 : 4;
			q->segs = mem_realloc_n(q->segs, q->cap, sizeof(*q->segs));
		}
	}
	return &q->segs[q->head + q->n++];
}

void http_out_copy(struct http_out *q, const void *data, size_t len)
{
	if (!len)
		return;
	if (len > CHUNK) {
		struct bytes *b = bytes_new(data, len);
		*seg_add(q) = (struct http_seg){ b->data, len, b };
		q->len += len;
		return;
	}
	if (!q->chunk || q->chunk->len - q->chunk_used < len) {
		bytes_unref(q->chunk);
		q->chunk = bytes_alloc(CHUNK);
		q->chunk_used = 0;
	}
	char *at = q->chunk->data + q->chunk_used;
	memcpy(at, data, len);
	q->chunk_used += len;
	q->len += len;
	struct http_seg *last = q->n ? &q->segs[q->head + q->n - 1] : NULL;
	if (last && last->bytes == q->chunk && last->ptr + last->len == at) {
		last->len += len;
		return;
	}
	*seg_add(q) = (struct http_seg){ at, len, bytes_ref(q->chunk) };
}

void http_out_add(struct http_out *q, struct http_piece piece)
{
	if (piece.bytes && piece.data.len > SMALL) {
		*seg_add(q) = (struct http_seg){ piece.data.ptr, piece.data.len, piece.bytes };
		q->len += piece.data.len;
		return;
	}
	http_out_copy(q, piece.data.ptr, piece.data.len);
	bytes_unref(piece.bytes);
}

unsigned http_out_peek(const struct http_out *q, struct iovec *iov, unsigned max)
{
	unsigned n = MIN(q->n, max);
	for (unsigned i = 0; i < n; i++)
		iov[i] = (struct iovec){ (void *)(uintptr_t)q->segs[q->head + i].ptr, q->segs[q->head + i].len };
	return n;
}

/* Nothing is left: give the memory back, so that an idle connection holds none. */
static void rest(struct http_out *q)
{
	if (!q->n)
		http_out_done(q);
}

void http_out_drop(struct http_out *q, size_t len)
{
	assert(len <= q->len);
	q->len -= len;
	q->taken += len;
	while (len) {
		struct http_seg *s = &q->segs[q->head];
		if (s->len > len) {
			s->ptr += len;
			s->len -= len;
			return;
		}
		len -= s->len;
		bytes_unref(s->bytes);
		q->head++;
		q->n--;
	}
	rest(q);
}

void http_out_move(struct http_out *to, struct http_out *from, size_t len)
{
	len = MIN(len, from->len);
	from->len -= len;
	from->taken += len;
	while (len) {
		struct http_seg *s = &from->segs[from->head];
		size_t n = MIN(s->len, len);
		if (n <= SMALL) {
			http_out_copy(to, s->ptr, n);
			if (n == s->len)
				bytes_unref(s->bytes);
		} else {
			*seg_add(to) = (struct http_seg){ s->ptr, n, n == s->len ? s->bytes : bytes_ref(s->bytes) };
			to->len += n;
		}
		len -= n;
		if (n == s->len) {
			from->head++;
			from->n--;
		} else {
			s->ptr += n;
			s->len -= n;
		}
	}
	rest(from);
}

size_t http_out_gather(const struct http_out *q, char *out, size_t cap)
{
	size_t n = 0;
	for (unsigned i = 0; i < q->n && n < cap; i++) {
		const struct http_seg *s = &q->segs[q->head + i];
		size_t part = MIN(s->len, cap - n);
		memcpy(out + n, s->ptr, part);
		n += part;
	}
	return n;
}
