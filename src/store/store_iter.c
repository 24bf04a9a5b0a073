/* Reading: single keys, counts, ranges; also as of an older revision.
 *
 * The tree shows one revision. An older one is rebuilt from the ring: each event carries what was there before it, so
 * for every key changed after revision R the `prev` of its first event after R is its state at R. Those states,
 * sorted by key, are merged with the walk over the tree:
 *
 *     tree     a   c   d   f          (now)
 *     undone     b   c-  d'           (b was deleted since, c did not exist yet, d had another value)
 *     result   a b     d'  f
 *
 * That costs one pass over the younger events and no memory between the pages of a list. */
#include "store/store_private.h"

const struct store_item *store_get(struct store_snapshot *snap, struct span key)
{
	return store_tree_get(snap->root, key);
}

uint64_t store_count(struct store_snapshot *snap, struct span prefix)
{
	return store_tree_rank_end(snap->root, prefix) - store_tree_rank(snap->root, prefix);
}

static struct span iter_prefix(const struct store_iter *it)
{
	return span_make(it->prefix, it->prefix_len);
}

/* Places the stack at the first item >= key. Each level remembers which item comes next in it. */
static void seek(struct store_iter *it, struct span key)
{
	it->depth = 0;
	for (const struct node *n = it->snap->root; n;) {
		bool found;
		unsigned i = store_node_search(n, key, &found);
		assert(it->depth < STORE_DEPTH_MAX);
		it->stack[it->depth].node = n;
		it->stack[it->depth++].at = i;
		n = found || n->leaf ? NULL : n->kids[i];
	}
}

static const struct store_item *tree_peek(struct store_iter *it)
{
	while (it->depth && it->stack[it->depth - 1].at == it->stack[it->depth - 1].node->n)
		it->depth--;
	if (!it->depth)
		return NULL;
	const struct store_item *item = it->stack[it->depth - 1].node->items[it->stack[it->depth - 1].at];
	return store_key_vs_prefix(store_item_key(item), iter_prefix(it)) == 0 ? item : NULL;
}

static void tree_step(struct store_iter *it)
{
	const struct node *n = it->stack[it->depth - 1].node;
	unsigned i = ++it->stack[it->depth - 1].at;
	if (n->leaf)
		return;
	for (n = n->kids[i];; n = n->kids[0]) {
		assert(it->depth < STORE_DEPTH_MAX);
		it->stack[it->depth].node = n;
		it->stack[it->depth++].at = 0;
		if (n->leaf)
			return;
	}
}

static int undone_cmp(const void *pa, const void *pb)
{
	const struct store_undone *a = pa, *b = pb;
	int c = span_cmp(a->key, b->key);
	return c ? c : a->seq < b->seq ? -1 : a->seq > b->seq;
}

static void undo_after(struct store_iter *it, struct span from, int64_t rev)
{
	const struct store_snapshot *snap = it->snap;
	size_t cap = 0;
	for (uint64_t seq = store_snapshot_event_of_rev(snap, rev + 1); seq < snap->events_end;) {
		uint64_t end;
		const struct segment *seg = store_snapshot_segment(snap, seq, &end);
		for (; seq < end; seq++) {
			const struct store_event *e = &seg->events[seq - seg->first];
			struct span key = store_event_key(e);
			if (store_key_vs_prefix(key, iter_prefix(it)) || span_cmp(key, from) < 0)
				continue;
			MEM_GROW(it->undone, it->n_undone, cap);
			it->undone[it->n_undone++] = (struct store_undone){ key, seq, e->prev };
		}
	}
	if (!it->n_undone)
		return;
	qsort(it->undone, it->n_undone, sizeof(it->undone[0]), undone_cmp);
	size_t kept = 1;
	for (size_t i = 1; i < it->n_undone; i++)
		if (!span_eq(it->undone[i].key, it->undone[kept - 1].key))
			it->undone[kept++] = it->undone[i];
	it->n_undone = kept;
}

int store_iter_init(struct store_iter *it, struct store_snapshot *snap, struct span prefix, struct span from, int64_t rev,
		    struct err *err)
{
	if (prefix.len > STORE_KEY_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "prefix of %zu bytes is longer than %d", prefix.len, STORE_KEY_MAX);
	if (rev > snap->rev)
		return err_set(err, ERR_INVALID_REQUEST, "required revision %lld is a future revision, current is %lld",
			       (long long)rev, (long long)snap->rev);
	if (rev > 0 && rev < snap->floor_rev)
		return err_set(err, ERR_EXPIRED, "required revision %lld has been compacted, oldest is %lld",
			       (long long)rev, (long long)snap->floor_rev);
	it->snap = snap;
	it->undone = NULL;
	it->n_undone = it->undone_at = 0;
	it->prefix_len = (uint16_t)prefix.len;
	if (prefix.len)
		memcpy(it->prefix, prefix.ptr, prefix.len);
	struct span first = span_cmp(from, prefix) > 0 ? from : prefix;
	seek(it, first);
	if (rev > 0 && rev < snap->rev)
		undo_after(it, first, rev);
	return 0;
}

const struct store_item *store_iter_next(struct store_iter *it)
{
	for (;;) {
		const struct store_item *now = tree_peek(it);
		if (it->undone_at == it->n_undone) {
			if (now)
				tree_step(it);
			return now;
		}
		const struct store_undone *u = &it->undone[it->undone_at];
		int c = now ? span_cmp(store_item_key(now), u->key) : 1;
		if (c < 0) {
			tree_step(it);
			return now;
		}
		it->undone_at++;
		if (c == 0)
			tree_step(it);
		if (u->item)
			return u->item;
	}
}

uint64_t store_iter_left(const struct store_iter *it)
{
	struct store_iter peek = *it;
	const struct store_item *next = tree_peek(&peek);
	const struct node *root = it->snap->root;
	uint64_t left = next ? store_tree_rank_end(root, iter_prefix(it)) - store_tree_rank(root, store_item_key(next)) : 0;
	for (size_t i = it->undone_at; i < it->n_undone; i++) {
		bool is_there = store_tree_get(root, it->undone[i].key) != NULL;
		left += (it->undone[i].item ? 1u : 0u);
		left -= is_there ? 1u : 0u;
	}
	return left;
}

void store_iter_done(struct store_iter *it)
{
	free(it->undone);
	it->undone = NULL;
	it->n_undone = it->undone_at = 0;
}
