/* Deflate states are large (256 KB) and costly to set up, so each thread keeps a few for the next answer. */
#include "http/http_gzip.h"

#include <pthread.h>
#include <zlib.h>

enum { OUT_PIECE = 16384, KEEP = 2 };

struct http_gzip {
	z_stream z;
	int level;
	bool finished;
};

static __thread struct {
	struct http_gzip *kept[KEEP];
	unsigned n;
	bool registered;
} cache;

static pthread_key_t cache_key;
static pthread_once_t cache_once = PTHREAD_ONCE_INIT;

static void gzip_end(struct http_gzip *g)
{
	(void)deflateEnd(&g->z); /* complains about unfinished data only */
	free(g);
}

static void cache_drop(void *arg)
{
	while (cache.n)
		gzip_end(cache.kept[--cache.n]);
}

static void cache_key_make(void)
{
	int rc = pthread_key_create(&cache_key, cache_drop);
	assert(rc == 0);
}

struct http_gzip *http_gzip_new(int level)
{
	for (unsigned i = 0; i < cache.n; i++)
		if (cache.kept[i]->level == level) {
			struct http_gzip *g = cache.kept[i];
			cache.kept[i] = cache.kept[--cache.n];
			return g;
		}
	struct http_gzip *g = mem_new(struct http_gzip);
	g->level = level;
	int rc = deflateInit2(&g->z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
	assert(rc == Z_OK);
	return g;
}

void http_gzip_free(struct http_gzip *g)
{
	if (!g)
		return;
	if (cache.n == KEEP || deflateReset(&g->z) != Z_OK) {
		gzip_end(g);
		return;
	}
	g->finished = false;
	if (!cache.registered) { /* any non-NULL value makes the thread's end call cache_drop */
		pthread_once(&cache_once, cache_key_make);
		pthread_setspecific(cache_key, &cache);
		cache.registered = true;
	}
	cache.kept[cache.n++] = g;
}

bool http_gzip_run(struct http_gzip *g, struct http_out *from, struct http_out *to, size_t max, bool finish)
{
	size_t made = 0;
	while (!g->finished && made < max) {
		struct iovec in = {};
		unsigned n = http_out_peek(from, &in, 1);
		if (!n && !finish)
			return true;
		struct bytes *out = bytes_alloc(OUT_PIECE);
		g->z.next_out = (void *)out->data;
		g->z.avail_out = OUT_PIECE;
		/* As many input pieces as fill one output piece. */
		while (g->z.avail_out) {
			n = http_out_peek(from, &in, 1);
			if (!n && !finish)
				break;
			size_t take = MIN(in.iov_len, (size_t)1 << 20);
			g->z.next_in = n ? in.iov_base : NULL;
			g->z.avail_in = n ? (unsigned)take : 0;
			bool last = finish && take == from->len;
			int rc = deflate(&g->z, last ? Z_FINISH : Z_NO_FLUSH);
			assert(rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR);
			if (n)
				http_out_drop(from, take - g->z.avail_in);
			if (rc == Z_STREAM_END) {
				g->finished = true;
				break;
			}
		}
		size_t len = OUT_PIECE - g->z.avail_out;
		made += len;
		http_out_add(to, http_part(out, span_make(out->data, len)));
	}
	return g->finished || (!finish && !from->n);
}

struct bytes *http_gzip(const struct http_piece *pieces, size_t n, int level)
{
	struct http_out in = {}, out = {};
	for (size_t i = 0; i < n; i++) {
		struct http_piece p = pieces[i];
		if (p.bytes)
			bytes_ref(p.bytes);
		http_out_add(&in, p);
	}
	struct http_gzip *g = http_gzip_new(level);
	bool all = http_gzip_run(g, &in, &out, SIZE_MAX, true);
	assert(all);
	http_gzip_free(g);
	struct bytes *whole = bytes_alloc(out.len);
	http_out_gather(&out, whole->data, whole->len);
	http_out_done(&in);
	http_out_done(&out);
	return whole;
}
