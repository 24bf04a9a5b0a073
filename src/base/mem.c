/* Heap allocation; see mem.h for which call may fail. */
#include "base/base.h"

#include <errno.h>
#include <stdatomic.h>

static _Atomic long fail_countdown; /* 0 = off; 1 = the next mem_try_alloc fails */

static void die_of_memory(size_t size)
{
	char line[96];
	int n = snprintf(line, sizeof(line), "knarr: out of memory (%zu bytes asked)\n", size);
	/* The process ends here; a failed write changes nothing. */
	(void)!write(2, line, (size_t)n);
	abort();
}

void *mem_alloc(size_t size)
{
	void *p = malloc(size ? size : 1);
	if (unlikely(!p))
		die_of_memory(size);
	return p;
}

void *mem_zalloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);
	if (unlikely(!p))
		die_of_memory(size);
	return p;
}

void *mem_realloc(void *p, size_t size)
{
	void *q = realloc(p, size ? size : 1);
	if (unlikely(!q))
		die_of_memory(size);
	return q;
}

void *mem_realloc_n(void *p, size_t n, size_t size)
{
	size_t total;
	if (unlikely(__builtin_mul_overflow(n, size, &total)))
		die_of_memory(SIZE_MAX);
	return mem_realloc(p, total);
}

char *mem_dup(const void *data, size_t len)
{
	char *p = mem_alloc(len + 1);
	if (len)
		memcpy(p, data, len);
	p[len] = 0;
	return p;
}

void *mem_try_alloc(size_t size)
{
	long left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
	if (unlikely(left > 0) && atomic_fetch_sub(&fail_countdown, 1) == 1) {
		errno = ENOMEM;
		return NULL;
	}
	return malloc(size ? size : 1);
}

void mem_fail_after(long n)
{
	atomic_store(&fail_countdown, n);
}

void fd_close(int *fd)
{
	if (*fd < 0)
		return;
	int saved = errno;
	(void)close(*fd); /* nothing to do about a failed close of a descriptor that nobody syncs */
	*fd = -1;
	errno = saved;
}
