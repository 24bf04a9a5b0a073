/* String → pointer. Open addressing, keyed hash: outsiders cannot choose collisions.
 *
 * Zero-initialised is a valid empty map. Keys are borrowed: they must live as long as the entry (usually they sit
 * inside the value). Values must not be NULL. Order of iteration is undefined; adding while
 * iterating is not allowed, removing the current entry is. Single-threaded.
 *
 *     struct map by_name = {};
 *     map_put(&by_name, c->name, c);
 *     struct container *c = map_get(&by_name, SPAN("web"));
 *     MAP_EACH(&by_name, e) use(e->key, e->value);
 */
#pragma once

#include <stdint.h>
#include "base/span.h"

struct map_entry {
	struct span key;  /* borrowed */
	void *value;      /* NULL = empty slot */
	uint64_t hash;
};

struct map {
	struct map_entry *slots; /* owned; a power of two */
	size_t n, cap, used;     /* entries; slots; slots that are or were in use */
};

void map_done(struct map *m); /* frees the table, not keys and values */
#define auto_map auto_cleanup(map_done)
void *map_get(const struct map *m, struct span key); /* NULL when absent */
/* Sets; returns the value that was there before, or NULL. The key of an existing entry is replaced too. */
void *map_put(struct map *m, struct span key, void *value);
void *map_remove(struct map *m, struct span key); /* returns the value, or NULL */
void map_clear(struct map *m);

static inline struct map_entry *map_next_(const struct map *m, struct map_entry *e)
{
	struct map_entry *end = m->slots + m->cap;
	while (e < end && (!e->value || e->value == (void *)-1))
		e++;
	return e < end ? e : NULL;
}
#define MAP_EACH(m, e)                                                                                                 \
	for (struct map_entry *e = (m)->cap ? map_next_((m), (m)->slots) : NULL; e; e = map_next_((m), e + 1))
