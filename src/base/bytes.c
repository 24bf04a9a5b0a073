#include "base/base.h"

struct bytes *bytes_alloc(size_t len)
{
	struct bytes *b = mem_alloc(sizeof(*b) + len + 1);
	atomic_init(&b->refs, 1);
	b->reserved = 0;
	b->len = len;
	b->data[len] = 0;
	return b;
}

struct bytes *bytes_new(const void *data, size_t len)
{
	struct bytes *b = bytes_alloc(len);
	if (len)
		memcpy(b->data, data, len);
	return b;
}

struct bytes *buf_seal(struct buf *buf)
{
	assert(!buf->overflowed);
	struct bytes *b = bytes_new(buf->ptr, buf->len);
	buf_trunc(buf, 0);
	return b;
}

void bytes_unref(struct bytes *b)
{
	if (!b)
		return;
	/* Release on every return and acquire before the free: what other holders read happened before. In one operation,
	 * not with a fence: ThreadSanitizer does not know fences. */
	if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(b);
}
