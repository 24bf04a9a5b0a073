/* Memory from the heap.
 *
 * mem_alloc and friends are for sizes that we choose: running out there aborts, because truth is on disk
 * and a container does not depend on this process. mem_try_alloc is for a size that an outsider chose
 * (after it was bounded): it may return NULL, and the fault sweeps make it do so. */
#pragma once

#include <stddef.h>

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1)));
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1)));
void *mem_realloc(void *p, size_t size) __attribute__((returns_nonnull, alloc_size(2)));
/* For n elements of a size; an overflowing product aborts. */
void *mem_realloc_n(void *p, size_t n, size_t size) __attribute__((returns_nonnull, alloc_size(2, 3)));
char *mem_dup(const void *data, size_t len) __attribute__((malloc, returns_nonnull)); /* with a 0 byte behind */
void *mem_try_alloc(size_t size) __attribute__((malloc, alloc_size(1)));

#define mem_new(type) ((type *)mem_zalloc(sizeof(type)))

/* A growing array: makes room for one more element at the end.
 *     MEM_GROW(items, n_items, cap_items);  items[n_items++] = x; */
#define MEM_GROW(ptr, n, cap)                                                                                          \
	do {                                                                                                           \
		if ((n) >= (cap)) {                                                                                    \
			(cap) = (cap) ? (cap) * 2 : 8;                                                                 \
			(ptr) = mem_realloc_n((ptr), (cap), sizeof(*(ptr)));                                           \
		}                                                                                                      \
	} while (0)

/* Test hook: fail the n-th mem_try_alloc from now on (1 = the next), 0 = never. Not for production code. */
void mem_fail_after(long n);
