/* Chunks are linked newest first; the head of each holds its size:
 *
 *     | next | size | pieces ... pos ->      <- end |
 *
 * The first chunk of an arena has CHUNK_FIRST bytes (CHUNK_SMALL after arena_small), each further one doubles up to CHUNK_MAX; a
 * piece larger than a quarter of the next chunk gets a chunk of its own, behind the current one, so that the room left there stays
 * in use.
 * Chunks of CHUNK_FIRST bytes go to a per-thread cache of at most CACHE_MAX when an arena ends. */
#include "base/base.h"

#define CHUNK_FIRST ((size_t)4096)
#define CHUNK_SMALL ((size_t)504) /* with malloc's word: 512 */
#define CHUNK_MAX ((size_t)256 * 1024)
#define CACHE_MAX 16

struct arena_chunk {
	struct arena_chunk *next;
	size_t size; /* of the whole chunk, head included */
};

struct arena_deferred {
	struct arena_deferred *next;
	void (*fn)(void *arg);
	void *arg;
};

#ifdef ARENA_MALLOC

static struct arena_chunk *chunk_new(struct arena *a, size_t size)
{
	struct arena_chunk *c = mem_alloc(size);
	c->size = size;
	c->next = a->chunks;
	a->chunks = c;
	a->total += size;
	return c;
}

void *arena_alloc_slow_(struct arena *a, size_t size)
{
	assert(size < SIZE_MAX / 2);
	return chunk_new(a, sizeof(struct arena_chunk) + size) + 1;
}

static void chunk_free(struct arena_chunk *c)
{
	free(c);
}

void arena_small(struct arena *a)
{
	assert(!a->chunks); /* and there is nothing to save: each piece is as large as it is */
}

#else

static __thread struct {
	struct arena_chunk *free;
	unsigned n;
	bool registered;
} cache;

static pthread_key_t cache_key;
static pthread_once_t cache_once = PTHREAD_ONCE_INIT;

static void cache_drop(void *arg)
{
	while (cache.free) {
		struct arena_chunk *c = cache.free;
		cache.free = c->next;
		free(c);
	}
	cache.n = CACHE_MAX; /* a destructor that runs later and ends an arena must not fill it again */
}

static void cache_key_make(void)
{
	int rc = pthread_key_create(&cache_key, cache_drop);
	assert(rc == 0);
}

static struct arena_chunk *chunk_new(size_t size)
{
	struct arena_chunk *c;
	if (size == CHUNK_FIRST && cache.free) {
		c = cache.free;
		cache.free = c->next;
		cache.n--;
	} else {
		c = mem_alloc(size);
	}
	c->size = size;
	return c;
}

static void chunk_free(struct arena_chunk *c)
{
	if (c->size != CHUNK_FIRST || cache.n >= CACHE_MAX) {
		free(c);
		return;
	}
	if (!cache.registered) {
		/* Any non-NULL value makes the thread's end call cache_drop. */
		pthread_once(&cache_once, cache_key_make);
		pthread_setspecific(cache_key, &cache);
		cache.registered = true;
	}
	c->next = cache.free;
	cache.free = c;
	cache.n++;
}

static void chunk_push(struct arena *a, size_t size)
{
	struct arena_chunk *c = chunk_new(size);
	c->next = a->chunks;
	a->chunks = c;
	a->total += size;
	a->pos = (char *)(c + 1);
	a->end = (char *)c + size;
}

void arena_small(struct arena *a)
{
	assert(!a->chunks);
	chunk_push(a, CHUNK_SMALL);
}

void *arena_alloc_slow_(struct arena *a, size_t size)
{
	assert(size < SIZE_MAX / 2);
	size_t need = (size + 7) & ~(size_t)7;
	size_t next = a->chunks ? MIN(CHUNK_MAX, a->total) : CHUNK_FIRST;

	if (need > (next - sizeof(struct arena_chunk)) / 4 && a->chunks) {
		struct arena_chunk *own = chunk_new(sizeof(*own) + need);
		own->next = a->chunks->next;
		a->chunks->next = own;
		a->total += own->size;
		return own + 1;
	}
	while (next < sizeof(struct arena_chunk) + need)
		next *= 2;
	chunk_push(a, next);
	void *p = a->pos;
	a->pos += need;
	return p;
}

#endif

void arena_done(struct arena *a)
{
	while (a->deferred) {
		struct arena_deferred *d = a->deferred;
		a->deferred = d->next;
		d->fn(d->arg);
	}
	while (a->chunks) {
		struct arena_chunk *c = a->chunks;
		a->chunks = c->next;
		chunk_free(c);
	}
	*a = (struct arena){};
}

void arena_reset(struct arena *a)
{
	arena_done(a);
}

void *arena_zalloc(struct arena *a, size_t size)
{
	return memset(arena_alloc(a, size), 0, size);
}

void *arena_alloc_n(struct arena *a, size_t n, size_t size)
{
	size_t total;
	bool overflow = __builtin_mul_overflow(n, size, &total);
	assert(!overflow);
	return arena_alloc(a, total);
}

char *arena_copy(struct arena *a, const void *data, size_t len)
{
	char *p = arena_alloc(a, len + 1);
	if (len)
		memcpy(p, data, len);
	p[len] = 0;
	return p;
}

struct span arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
	char small[256];
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	assert(n >= 0);
	char *p = arena_alloc(a, (size_t)n + 1);
	if ((size_t)n < sizeof(small))
		memcpy(p, small, (size_t)n + 1);
	else
		(void)vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	return span_make(p, (size_t)n);
}

struct span arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct span s = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return s;
}

void arena_defer(struct arena *a, void (*fn)(void *arg), void *arg)
{
	struct arena_deferred *d = arena_alloc(a, sizeof(*d));
	*d = (struct arena_deferred){ .next = a->deferred, .fn = fn, .arg = arg };
	a->deferred = d;
}
