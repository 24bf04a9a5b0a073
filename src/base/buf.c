#include "base/base.h"

void buf_done(struct buf *b)
{
	free(b->ptr);
	size_t limit = b->limit;
	*b = (struct buf){ .limit = limit };
}

const char *buf_cstr(const struct buf *b)
{
	return b->ptr && b->len ? b->ptr : "";
}

char *buf_reserve(struct buf *b, size_t n)
{
	size_t need;
	if (b->overflowed || __builtin_add_overflow(b->len, n, &need) || (b->limit && need > b->limit)) {
		b->overflowed = true;
		return NULL;
	}
	if (need + 1 > b->cap) {
		size_t cap = b->cap ? b->cap : 64;
		while (cap < need + 1)
			cap += cap < ((size_t)1 << 20) ? cap : cap / 2;
		b->ptr = mem_realloc(b->ptr, cap);
		b->cap = cap;
	}
	return b->ptr + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
	assert(n < b->cap - b->len);
	b->len += n;
	b->ptr[b->len] = 0;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	char *to = buf_reserve(b, len);
	if (!to)
		return;
	if (len)
		memcpy(to, data, len);
	buf_commit(b, len);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	va_copy(again, ap);
	size_t room = b->cap > b->len ? b->cap - b->len : 0;
	int n = vsnprintf(room ? b->ptr + b->len : NULL, room, fmt, ap);
	assert(n >= 0);
	if ((size_t)n < room && !b->overflowed && (!b->limit || b->len + (size_t)n <= b->limit)) {
		b->len += (size_t)n;
	} else {
		if (room)
			b->ptr[b->len] = 0; /* the first try may have written a part */
		char *to = buf_reserve(b, (size_t)n);
		if (to) {
			(void)vsnprintf(to, (size_t)n + 1, fmt, again);
			buf_commit(b, (size_t)n);
		}
	}
	va_end(again);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void buf_u64(struct buf *b, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);
	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	buf_add(b, digits + at, sizeof(digits) - at);
}

void buf_i64(struct buf *b, int64_t v)
{
	if (v < 0)
		buf_chr(b, '-');
	buf_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void buf_trunc(struct buf *b, size_t len)
{
	assert(len <= b->len);
	b->len = len;
	if (b->ptr)
		b->ptr[len] = 0;
	if (!len)
		b->overflowed = false;
}

void buf_shift(struct buf *b, size_t n)
{
	assert(n <= b->len);
	if (!n)
		return;
	memmove(b->ptr, b->ptr + n, b->len - n);
	b->len -= n;
	b->ptr[b->len] = 0;
}

char *buf_take(struct buf *b, size_t *out_len)
{
	char *p = b->ptr ? b->ptr : mem_dup("", 0);
	if (out_len)
		*out_len = b->len;
	size_t limit = b->limit;
	*b = (struct buf){ .limit = limit };
	return p;
}
