/* Linear probing over a power of two, at most three quarters in use. A removed entry leaves a grave (value GRAVE)
 * that lookups walk over; graves vanish when the table is rebuilt. */
#include "base/base.h"

#define GRAVE ((void *)-1)

void map_done(struct map *m)
{
	free(m->slots);
	*m = (struct map){};
}

static struct map_entry *find(const struct map *m, struct span key, uint64_t hash)
{
	if (!m->cap)
		return NULL;
	size_t mask = m->cap - 1;
	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		struct map_entry *e = &m->slots[i];
		if (!e->value)
			return NULL;
		if (e->value != GRAVE && e->hash == hash && span_eq(e->key, key))
			return e;
	}
}

static void rebuild(struct map *m)
{
	struct map old = *m;
	size_t cap = 8;
	while (cap < (old.n + 1) * 2)
		cap *= 2;
	m->slots = mem_zalloc(cap * sizeof(*m->slots));
	m->cap = cap;
	m->used = old.n;
	MAP_EACH(&old, e) {
		size_t i = e->hash & (cap - 1);
		while (m->slots[i].value)
			i = (i + 1) & (cap - 1);
		m->slots[i] = *e;
	}
	free(old.slots);
}

void *map_get(const struct map *m, struct span key)
{
	if (!m->n)
		return NULL;
	struct map_entry *e = find(m, key, span_hash(key));
	return e ? e->value : NULL;
}

void *map_put(struct map *m, struct span key, void *value)
{
	assert(value && value != GRAVE);
	uint64_t hash = span_hash(key);
	struct map_entry *e = find(m, key, hash);
	if (e) {
		void *old = e->value;
		e->key = key;
		e->value = value;
		return old;
	}
	if ((m->used + 1) * 4 > m->cap * 3)
		rebuild(m);
	size_t mask = m->cap - 1, i = hash & mask;
	while (m->slots[i].value && m->slots[i].value != GRAVE)
		i = (i + 1) & mask;
	if (!m->slots[i].value)
		m->used++;
	m->slots[i] = (struct map_entry){ .key = key, .value = value, .hash = hash };
	m->n++;
	return NULL;
}

void *map_remove(struct map *m, struct span key)
{
	struct map_entry *e = m->n ? find(m, key, span_hash(key)) : NULL;
	if (!e)
		return NULL;
	void *old = e->value;
	e->value = GRAVE;
	e->key = SPAN_EMPTY;
	m->n--;
	return old;
}

void map_clear(struct map *m)
{
	if (m->cap)
		memset(m->slots, 0, m->cap * sizeof(*m->slots));
	m->n = m->used = 0;
}
