/* Memory of nghttp2's sessions. Each takes 23 KB when it is made and keeps it for life: itself (3 KB), the table of its streams
 * (4 KB) and a buffer for the frame that it packs (16 KB). Of these a connection at rest, and one that sends DATA by reference,
 * touches the first and the beginning of the last. From malloc all three lie in memory that was used before and is resident; here
 * they come from pages of their own, laid out so that what is touched is one page:
 *
 *     region (mmap, 2 MB): [slot 24 KB][slot]...       a fresh or given-back slot holds no memory until it is written
 *     slot: 0 session | 3 KB frame buffer ...          | 20 KB streams' table | 24 KB
 *
 * Measured with 500 at rest, TLS: 33.9 KB a connection with malloc, 21.5 KB so. Sizes that do not fit (another nghttp2) go
 * to malloc, like everything else. One thread: the server's. */
#include "http/http_impl.h"

#include <nghttp2/nghttp2.h>
#include <sys/mman.h>

enum { SLOT = 24576, REGION = 2 << 20, PER_REGION = REGION / SLOT };
enum part { PART_SESSION, PART_FRAME, PART_STREAMS, PART_COUNT };
static const struct {
	size_t at, min, max; /* where in the slot; which sizes are taken for this part */
} parts[PART_COUNT] = {
	[PART_SESSION] = { 0, 2048, 3072 },
	[PART_FRAME] = { 3072, 12288, 17408 },
	[PART_STREAMS] = { 20480, 4096, 4096 },
};

struct region {
	char *base;
	uint8_t live[PER_REGION]; /* parts in use of each slot */
};

struct http_h2_mem {
	nghttp2_mem fns;
	struct region **regions; /* owned */
	size_t n, cap;
	char **spare; /* owned: slots given back; they read as zeros */
	size_t n_spare, cap_spare;
	size_t used;	       /* slots of the last region */
	char *open;	       /* the slot of the session that was made last */
	bool taken[PART_COUNT]; /* of it */
};

static struct region *region_of(const struct http_h2_mem *m, const void *p)
{
	for (size_t i = 0; i < m->n; i++)
		if ((uintptr_t)p - (uintptr_t)m->regions[i]->base < REGION)
			return m->regions[i];
	return NULL;
}

static char *slot_take(struct http_h2_mem *m)
{
	if (m->n_spare)
		return m->spare[--m->n_spare];
	if (!m->n || m->used == PER_REGION) {
		char *base = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (base == MAP_FAILED)
			return NULL;
		(void)madvise(base, REGION, MADV_NOHUGEPAGE); /* single pages are what this is for */
		struct region *r = mem_new(struct region);
		r->base = base;
		MEM_GROW(m->regions, m->n, m->cap);
		m->regions[m->n++] = r;
		m->used = 0;
	}
	return m->regions[m->n - 1]->base + (size_t)SLOT * m->used++;
}

/* A part of the open slot that fits, zeroed; NULL: this one is malloc's. may_begin: it may be a session, which nghttp2 takes as one
 * zeroed piece. */
static void *part_take(struct http_h2_mem *m, size_t size, bool may_begin)
{
	for (int i = may_begin ? PART_SESSION : PART_FRAME; i < PART_COUNT; i++) {
		if (size < parts[i].min || size > parts[i].max)
			continue;
		if (i == PART_SESSION && (m->open = slot_take(m)))
			memset(m->taken, 0, sizeof(m->taken));
		if (!m->open || m->taken[i])
			return NULL;
		m->taken[i] = true;
		struct region *r = region_of(m, m->open);
		r->live[(size_t)(m->open - r->base) / SLOT]++;
		return m->open + parts[i].at;
	}
	return NULL;
}

static void *h2_malloc(size_t size, void *arg)
{
	void *p = part_take(arg, size, false);
	return p ? p : malloc(size);
}

static void *h2_calloc(size_t n, size_t size, void *arg)
{
	void *p = n && size <= SLOT / n ? part_take(arg, n * size, n == 1) : NULL;
	return p ? p : calloc(n, size);
}

static void h2_free(void *p, void *arg)
{
	struct http_h2_mem *m = arg;
	/* Parts begin on multiples of 1 KB, which malloc's pieces hardly ever do. */
	struct region *r = p && !((uintptr_t)p & 1023) ? region_of(m, p) : NULL;
	if (!r) {
		free(p);
		return;
	}
	size_t i = (size_t)((char *)p - r->base) / SLOT;
	char *slot = r->base + i * SLOT;
	assert(r->live[i]);
	if (--r->live[i])
		return;
	if (slot == m->open)
		m->open = NULL;
	if (madvise(slot, SLOT, MADV_DONTNEED) < 0)
		memset(slot, 0, SLOT);
	MEM_GROW(m->spare, m->n_spare, m->cap_spare);
	m->spare[m->n_spare++] = slot;
}

static void *h2_realloc(void *p, size_t size, void *arg)
{
	struct region *r = p ? region_of(arg, p) : NULL;
	if (!p)
		return h2_malloc(size, arg); /* how nghttp2 takes its buffers */
	if (!r)
		return realloc(p, size);
	size_t at = (size_t)((char *)p - r->base) % SLOT, room = 0;
	for (int i = 0; i < PART_COUNT; i++)
		if (parts[i].at == at)
			room = parts[i].max;
	if (size <= room)
		return p;
	void *larger = malloc(size);
	if (larger) {
		memcpy(larger, p, room);
		h2_free(p, arg);
	}
	return larger;
}

void *http_h2_mem(struct http_server *s)
{
	if (!s->h2_mem) {
		s->h2_mem = mem_new(struct http_h2_mem);
		s->h2_mem->fns = (nghttp2_mem){ s->h2_mem, h2_malloc, h2_free, h2_calloc, h2_realloc };
	}
	return &s->h2_mem->fns;
}

void http_h2_mem_free(struct http_server *s)
{
	struct http_h2_mem *m = s->h2_mem;
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++) {
		(void)munmap(m->regions[i]->base, REGION); /* a whole mapping of ours */
		free(m->regions[i]);
	}
	free(m->regions);
	free(m->spare);
	free(m);
	s->h2_mem = NULL;
}
