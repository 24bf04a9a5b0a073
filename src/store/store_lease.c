/* Leases: a time to live that keys hang on.
 *
 * On disk: id and length, when granted and when gone. In memory: when it ends, and the keys put with it, as a list that
 * may hold keys that left it since (deleted, or put with another lease); each is looked at again before it is deleted. The list
 * is rewritten when more than half of it is stale. A renewal touches memory alone: after a restart every lease
 * has its whole time again, which errs on the side of keeping. */
#include "store/store_private.h"

#define LEASE_STEP 1000 /* keys deleted in one transaction */

struct lease *store_lease_get(struct store *s, int64_t id)
{
	return map_get(&s->leases, span_make(&id, sizeof(id)));
}

struct lease *store_lease_add(struct store *s, int64_t id, int64_t ttl_ms)
{
	struct lease *l = mem_new(struct lease);
	l->id = id;
	l->ttl_ms = ttl_ms;
	l->ends_ms = store_mono_ms(s) + ttl_ms;
	memcpy(l->name, &id, sizeof(id));
	map_put(&s->leases, span_make(l->name, sizeof(l->name)), l);
	list_push(&s->lease_list, &l->link);
	return l;
}

void store_lease_remove(struct store *s, struct lease *l)
{
	map_remove(&s->leases, span_make(l->name, sizeof(l->name)));
	list_remove(&l->link);
	buf_done(&l->keys);
	free(l);
}

void store_leases_done(struct store *s)
{
	LIST_EACH(&s->lease_list, l, struct lease, link)
		store_lease_remove(s, l);
	map_done(&s->leases);
}

void store_lease_stage(struct store *s, int64_t id, int64_t ttl_ms)
{
	struct disk_batch *b = &s->batch;
	MEM_GROW(b->leases, b->n_leases, b->cap_leases);
	b->leases[b->n_leases].id = id;
	b->leases[b->n_leases++].ttl_ms = ttl_ms;
}

void store_lease_key_add(struct lease *l, struct span key)
{
	uint16_t len = (uint16_t)key.len;
	buf_add(&l->keys, &len, sizeof(len));
	buf_span_add(&l->keys, key);
	l->n_keys++;
}

static bool key_next(struct span *rest, struct span *out_key)
{
	uint16_t len;
	if (!rest->len)
		return false;
	memcpy(&len, rest->ptr, sizeof(len));
	*out_key = span_sub(*rest, sizeof(len), sizeof(len) + len);
	*rest = span_from(*rest, sizeof(len) + len);
	return true;
}

static void lease_compact(struct store *s, struct lease *l)
{
	struct buf old = l->keys;
	l->keys = (struct buf){ 0 };
	l->n_keys = l->n_gone = 0;
	struct span rest = buf_span(&old), key;
	while (key_next(&rest, &key)) {
		const struct store_item *it = store_tree_get(s->st.published->root, key);
		if (it && it->lease == l->id)
			store_lease_key_add(l, key);
	}
	buf_done(&old);
}

/* After a commit. */
void store_lease_follow(struct store *s, const struct change *c)
{
	int64_t was = c->prev ? c->prev->lease : 0, is = c->item ? c->item->lease : 0;
	if (was == is)
		return;
	struct lease *l;
	if (was && (l = store_lease_get(s, was)) && ++l->n_gone > 64 && l->n_gone > l->n_keys / 2)
		lease_compact(s, l);
	if (is && (l = store_lease_get(s, is)))
		store_lease_key_add(l, store_item_key(c->item));
}

/* Monotonic time at which the first lease ends; INT64_MAX for none. One pass: a server has tens of leases, because it
 * shares one among the keys of a minute, as kube-apiserver does. */
int64_t store_lease_next_end(const struct store *s)
{
	int64_t first = INT64_MAX;
	LIST_EACH(&s->lease_list, l, struct lease, link)
		first = MIN(first, l->ending ? INT64_MIN : l->ends_ms);
	return first;
}

bool store_lease_end_step(struct store *s, struct lease *l, int64_t at_ms)
{
	struct span rest = buf_span(&l->keys), key;
	int64_t rev = 0;
	unsigned n = 0;
	while (n < LEASE_STEP && key_next(&rest, &key)) {
		const struct store_item *it = store_state_get(&s->st, key);
		if (!it || it->lease != l->id)
			continue;
		if (!rev)
			rev = store_change_rev(s);
		store_change_delete(s, it, rev, at_ms);
		n++;
	}
	if (n == LEASE_STEP && rest.len) {
		l->ending = true; /* the rest in later batches; what is deleted already is skipped then */
		return false;
	}
	store_lease_stage(s, l->id, 0);
	return true;
}
