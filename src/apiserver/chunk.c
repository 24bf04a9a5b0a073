#include "apiserver/chunk.h"

#include <pthread.h>
#include <zlib.h>

#define CHUNK_ITEMS_MIN 16
#define CHUNK_MEAN_MASK 31 /* behind the first 16: one key in 32 ends a chunk */
#define CHUNK_BYTES (160 * 1024)

struct chunk_cache {
	pthread_mutex_t lock;
	struct map map;	    /* key's 16 bytes → chunk */
	struct list recent; /* least recently used first */
	size_t bytes, budget;
	uint64_t hits, misses;
};

struct chunk_cache *chunk_cache_new(size_t budget_bytes)
{
	struct chunk_cache *cc = mem_new(struct chunk_cache);
	pthread_mutex_init(&cc->lock, NULL);
	list_init(&cc->recent);
	cc->budget = budget_bytes;
	return cc;
}

void chunk_cache_free(struct chunk_cache *cc)
{
	if (!cc)
		return;
	struct chunk *c;
	while ((c = LIST_POP(&cc->recent, struct chunk, link)))
		chunk_unref(c);
	map_done(&cc->map);
	pthread_mutex_destroy(&cc->lock);
	free(cc);
}

struct chunk_stats chunk_cache_stats(struct chunk_cache *cc)
{
	pthread_mutex_lock(&cc->lock);
	struct chunk_stats s = { cc->hits, cc->misses, cc->bytes, cc->map.n };
	pthread_mutex_unlock(&cc->lock);
	return s;
}

void chunk_unref(struct chunk *c)
{
	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	bytes_unref(c->data);
	free(c);
}

/* ---- names */

static uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t p = (__uint128_t)a * b;
	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t sum(struct span s, uint64_t h)
{
	uint64_t w;
	size_t i = 0;
	for (; s.len - i >= 8; i += 8) {
		memcpy(&w, s.ptr + i, 8);
		h = mix(h ^ w, 0x9e3779b97f4a7c15) + 0xd6e8feb86659fd93;
	}
	w = 0;
	memcpy(&w, s.ptr + i, s.len - i);
	return mix(h ^ w, 0xa0761d6478bd642f) + s.len;
}

void chunk_key_begin(struct chunk_key *k, uint64_t seed)
{
	k->h[0] = mix(seed ^ 0x8ebc6af09c88c6e3, 0x589965cc75374cc3);
	k->h[1] = mix(seed ^ 0x1d8e4e27c47d124f, 0xeb44accab455d165);
}

void chunk_key_add(struct chunk_key *k, const struct store_item *it)
{
	uint64_t s = sum(store_item_key(it), (uint64_t)it->rev);
	k->h[0] = mix(k->h[0] ^ s, 0x9e3779b97f4a7c15) + (uint64_t)it->rev;
	k->h[1] = mix(k->h[1] + s, 0xd6e8feb86659fd93) ^ (uint64_t)it->create_rev;
}

bool chunk_ends(const struct store_item *it, unsigned n, size_t bytes)
{
	return n >= CHUNK_ITEMS_MAX || bytes >= CHUNK_BYTES ||
	       (n >= CHUNK_ITEMS_MIN && !(sum(store_item_key(it), 0x2545f4914f6cdd1d) >> 40 & CHUNK_MEAN_MASK));
}

/* ---- compression */

/* One state a thread: it is a quarter of a megabyte and slow to make. */
static pthread_key_t state_key;
static pthread_once_t state_once = PTHREAD_ONCE_INIT;

static void state_free(void *arg)
{
	(void)deflateEnd(arg); /* complains about unfinished data only */
	free(arg);
}

static void state_key_make(void)
{
	int rc = pthread_key_create(&state_key, state_free);
	assert(rc == 0);
}

static z_stream *state_get(void)
{
	pthread_once(&state_once, state_key_make);
	z_stream *z = pthread_getspecific(state_key);
	if (z) {
		int rc = deflateReset(z);
		assert(rc == Z_OK);
		return z;
	}
	z = mem_new(z_stream);
	int rc = deflateInit2(z, 1, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
	assert(rc == Z_OK);
	pthread_setspecific(state_key, z);
	return z;
}

static struct bytes *deflated(struct span raw)
{
	z_stream *z = state_get();
	auto_buf struct buf out = {};
	assert(raw.len <= UINT32_MAX);
	size_t room = deflateBound(z, raw.len) + 16; /* and the empty block that ends a full flush */
	z->next_in = (Bytef *)(uintptr_t)raw.ptr;
	z->avail_in = (uInt)raw.len;
	z->next_out = (Bytef *)buf_reserve(&out, room);
	z->avail_out = (uInt)room;
	int rc = deflate(z, Z_FULL_FLUSH);
	assert(rc == Z_OK && !z->avail_in && z->avail_out);
	buf_commit(&out, room - z->avail_out);
	return bytes_of(buf_span(&out));
}

static void stored(struct buf *out, struct span text, bool final)
{
	do {
		struct span part = span_sub(text, 0, 65535);
		text = span_from(text, part.len);
		const unsigned char head[5] = { final && !text.len, part.len & 255, part.len >> 8 & 255, ~part.len & 255,
						~part.len >> 8 & 255 };
		buf_add(out, head, 5);
		buf_span_add(out, part);
	} while (text.len);
}

void chunk_join_text(struct chunk_join *j, struct buf *out, struct span text)
{
	if (!j->begun) {
		static const unsigned char head[10] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255 };
		buf_add(out, head, sizeof(head));
		j->begun = true;
	}
	if (!text.len)
		return;
	j->crc = (uint32_t)crc32_z(j->crc, (const Bytef *)text.ptr, text.len);
	j->len += (uint32_t)text.len;
	stored(out, text, false);
}

void chunk_join_chunk(struct chunk_join *j, const struct chunk *c)
{
	assert(j->begun);
	j->crc = (uint32_t)crc32_combine(j->crc, c->crc, (z_off_t)c->raw_len);
	j->len += c->raw_len;
}

void chunk_join_end(struct chunk_join *j, struct buf *out)
{
	chunk_join_text(j, out, SPAN_EMPTY);
	stored(out, SPAN_EMPTY, true);
	for (int i = 0; i < 4; i++)
		buf_chr(out, (char)(j->crc >> 8 * i));
	for (int i = 0; i < 4; i++)
		buf_chr(out, (char)(j->len >> 8 * i));
}

/* ---- the cache */

static struct span name_of(const struct chunk_key *k)
{
	return span_make((const char *)k->h, sizeof(k->h));
}

static size_t cost(const struct chunk *c)
{
	return c->data->len + sizeof(*c) + sizeof(struct bytes) + 2 * sizeof(struct map_entry);
}

static struct chunk *ref(struct chunk *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

struct chunk *chunk_find(struct chunk_cache *cc, const struct chunk_key *k)
{
	if (!cc)
		return NULL;
	pthread_mutex_lock(&cc->lock);
	struct chunk *c = map_get(&cc->map, name_of(k));
	if (c) {
		cc->hits++;
		list_remove(&c->link);
		list_push(&cc->recent, &c->link);
		(void)ref(c);
	} else {
		cc->misses++;
	}
	pthread_mutex_unlock(&cc->lock);
	return c;
}

struct chunk *chunk_add(struct chunk_cache *cc, const struct chunk_key *k, struct span raw, bool gzip)
{
	struct chunk *c = mem_new(struct chunk);
	atomic_init(&c->refs, 1);
	c->raw_len = (uint32_t)raw.len;
	c->crc = gzip ? (uint32_t)crc32_z(0, (const Bytef *)raw.ptr, raw.len) : 0;
	c->data = gzip ? deflated(raw) : bytes_of(raw);
	c->key = *k;
	list_init(&c->link);
	if (!cc || cost(c) > cc->budget / 4)
		return c;
	pthread_mutex_lock(&cc->lock);
	struct chunk *was = map_get(&cc->map, name_of(k));
	if (was) {
		(void)ref(was);
		pthread_mutex_unlock(&cc->lock);
		chunk_unref(c);
		return was;
	}
	map_put(&cc->map, name_of(&c->key), c);
	list_push(&cc->recent, &ref(c)->link);
	cc->bytes += cost(c);
	while (cc->bytes > cc->budget) {
		struct chunk *old = LIST_POP(&cc->recent, struct chunk, link);
		map_remove(&cc->map, name_of(&old->key));
		cc->bytes -= cost(old);
		chunk_unref(old);
	}
	pthread_mutex_unlock(&cc->lock);
	return c;
}
