/* Runs of list items, encoded once and shared. Private to apiserver.
 *
 * A list in a form that costs work (protobuf, metadata only, gzip of any) is made of chunks: some 16 to 256 neighbouring items,
 * cut where the hash of a key says so. The cut depends on the keys alone, so after one object has changed all chunks but its own
 * are those of the list before, whatever the list's revision. A chunk is named by what it was made from: the form, and key
 * and revision of each item (128 bits of a sum over them).
 *
 *     struct chunk_key key;
 *     chunk_key_begin(&key, seed);                      // the form, as 64 bits
 *     for each item: chunk_key_add(&key, item);
 *     struct chunk *ch = chunk_find(cache, &key);       // a reference, or NULL
 *     if (!ch) ch = chunk_add(cache, &key, raw, gzip);  // encoded bytes of the items; compressed here
 *     ... http_bytes(bytes_ref(ch->data)) ...
 *     chunk_unref(ch);
 *
 * Compressed chunks are complete runs of deflate blocks on a byte boundary that refer to nothing before them, so a gzip member
 * is joined from any of them and text of the moment (the list's revision, commas) as stored blocks: RFC 1951 section 3.2.4,
 * the check by adding CRCs.
 *
 * Threads: all of it from any. The cache holds at most its budget; what a list still sends lives on by its references. */
#pragma once

#include "base/base.h"
#include "store/store.h"

struct chunk_cache;

struct chunk_key {
	uint64_t h[2];
};

struct chunk {
	_Atomic uint32_t refs;
	uint32_t crc;	    /* of the raw bytes, when compressed */
	uint32_t raw_len;   /* before compression */
	struct bytes *data; /* shared */
	struct chunk_key key;
	struct list link; /* the cache's: least recently used first */
};

struct chunk_cache *chunk_cache_new(size_t budget_bytes);
void chunk_cache_free(struct chunk_cache *cc); /* accepts NULL */
struct chunk_stats {
	uint64_t hits, misses;
	size_t bytes, n;
};
struct chunk_stats chunk_cache_stats(struct chunk_cache *cc);

void chunk_key_begin(struct chunk_key *k, uint64_t seed);
void chunk_key_add(struct chunk_key *k, const struct store_item *it);
/* Is the item the last one of its chunk? n counts it, bytes are those of the values so far. */
bool chunk_ends(const struct store_item *it, unsigned n, size_t bytes);
#define CHUNK_ITEMS_MAX 256

struct chunk *chunk_find(struct chunk_cache *cc, const struct chunk_key *k);
/* A reference to the new chunk, or to the one that somebody else added meanwhile. cc NULL: shared with nobody. */
struct chunk *chunk_add(struct chunk_cache *cc, const struct chunk_key *k, struct span raw, bool gzip);
void chunk_unref(struct chunk *c); /* accepts NULL */

/* One gzip member under way. Zero-initialised is its beginning. */
struct chunk_join {
	uint32_t crc;
	uint32_t len; /* modulo 2^32, as RFC 1952 wants it */
	bool begun;
};
/* Appends text as stored blocks; the first call writes the member's header. */
void chunk_join_text(struct chunk_join *j, struct buf *out, struct span text);
/* Counts a chunk whose data the caller puts behind what was appended so far. */
void chunk_join_chunk(struct chunk_join *j, const struct chunk *c);
void chunk_join_end(struct chunk_join *j, struct buf *out);
