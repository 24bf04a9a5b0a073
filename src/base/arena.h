/* Many allocations, one end: one arena per request, parse or reconcile pass.
 *
 * Nothing in it is freed alone. arena_defer ties descriptors, references and timers to it, and arena_done (or
 * arena_reset, the same under the name that says the arena is used again) runs those in reverse order and then
 * gives all memory back.
 * What must live longer is copied out by its new owner. Not thread safe; may be moved between threads.
 *
 * Zero-initialised is a valid empty arena. Pieces are aligned to 8 bytes.
 * Chunks come from a small per-thread cache, so a short request costs no malloc.
 * With -Darena=malloc every piece is an allocation of its own, so that sanitizers see overruns. */
#pragma once

#include <stdarg.h>
#include "base/auto.h"
#include "base/mem.h"
#include "base/span.h"

struct arena_chunk;
struct arena_deferred;

struct arena {
	char *pos;                      /* next free byte of the current chunk */
	char *end;
	struct arena_chunk *chunks;     /* owned, newest first */
	struct arena_deferred *deferred; /* in the arena, newest first */
	size_t total;                   /* bytes of all chunks */
};

/* For an arena that holds a few names and lives long (one for each open watch, each role): begins an empty one with a chunk of
 * some 500 bytes instead of 4 KB; later chunks double. */
void arena_small(struct arena *a);
void arena_done(struct arena *a);
void arena_reset(struct arena *a);
#define auto_arena auto_cleanup(arena_done)

void *arena_alloc_slow_(struct arena *a, size_t size) __attribute__((malloc, returns_nonnull));
/* Never NULL; not cleared. */
static inline void *arena_alloc(struct arena *a, size_t size)
{
#ifndef ARENA_MALLOC
	size_t need = (size + 7) & ~(size_t)7;
	/* Strictly less, so that a piece of no bytes in an empty arena is no NULL either. */
	if (likely(need < (size_t)(a->end - a->pos) && need >= size)) {
		void *p = a->pos;
		a->pos += need;
		return p;
	}
#endif
	return arena_alloc_slow_(a, size);
}
void *arena_zalloc(struct arena *a, size_t size) __attribute__((malloc, returns_nonnull));
/* n elements; an overflowing product aborts. Not cleared. */
void *arena_alloc_n(struct arena *a, size_t n, size_t size) __attribute__((malloc, returns_nonnull));
#define arena_new(a, type) ((type *)arena_zalloc((a), sizeof(type)))

/* Copies with a 0 byte behind. */
char *arena_copy(struct arena *a, const void *data, size_t len) __attribute__((returns_nonnull));
static inline struct span arena_span(struct arena *a, struct span s)
{
	return (struct span){ arena_copy(a, s.ptr, s.len), s.len };
}
static inline char *arena_cstr(struct arena *a, struct span s)
{
	return arena_copy(a, s.ptr, s.len);
}
struct span arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct span arena_vprintf(struct arena *a, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* Runs fn(arg) when the arena ends, newest first. */
void arena_defer(struct arena *a, void (*fn)(void *arg), void *arg);
