/* A copy-on-write B-tree of items, ordered by key.
 *
 *      root  [ . k . k . ]            items sit at every level: n items, n + 1 kids
 *             /    |    \             all leaves are equally deep
 *        [k k k] [k k] [k k k k]      NODE_MIN..NODE_MAX items each (the root may have fewer)
 *
 * A node carries the number of the batch that made it. The batch under work changes its own nodes in place and copies
 * every other one first; the original goes to state.retired and stays readable for the snapshots that see it.
 * Copying a node counts nothing: an item has one reference for the tree as a whole, given back when the last snapshot
 * that sees it is gone (store_state.c). Counting per node would touch 62 cache lines for each copied leaf.
 *
 * Invariants (store_tree_check): (1) order; (2) NODE_MIN <= n <= NODE_MAX except in the root; (3) total = items below;
 * (4) equal depth, at most STORE_DEPTH_MAX (21^11 items). */
#include "store/store_private.h"

static struct span item_key(const struct store_item *it)
{
	return store_item_key(it);
}

unsigned store_node_search(const struct node *n, struct span key, bool *out_found)
{
	unsigned lo = 0, hi = n->n;
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		int c = span_cmp(item_key(n->items[mid]), key);
		if (c == 0) {
			*out_found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*out_found = false;
	return lo;
}

const struct store_item *store_tree_get(const struct node *root, struct span key)
{
	for (const struct node *n = root; n;) {
		bool found;
		unsigned i = store_node_search(n, key, &found);
		if (found)
			return n->items[i];
		n = n->leaf ? NULL : n->kids[i];
	}
	return NULL;
}

void store_garbage_add(struct garbage *g, void *p, enum garbage_kind kind)
{
	MEM_GROW(g->v, g->n, g->cap);
	g->v[g->n++] = (uintptr_t)p | kind;
}

static struct node *node_new(struct state *st, bool leaf)
{
	size_t size = sizeof(struct node) + (leaf ? 0 : (NODE_MAX + 1) * sizeof(struct node *));
	struct node *n = mem_alloc(size);
	n->born = st->seq;
	n->total = 0;
	n->n = 0;
	n->leaf = leaf;
	n->dead = 0;
	MEM_GROW(st->fresh, st->n_fresh, st->cap_fresh);
	st->fresh[st->n_fresh++] = n;
	return n;
}

/* The node is no longer part of the working tree. */
static void node_retire(struct state *st, struct node *n)
{
	if (n->born == st->seq)
		n->dead = 1;
	else
		store_garbage_add(&st->retired, n, GARBAGE_NODE);
}

static struct node *node_own(struct state *st, struct node *n)
{
	if (n->born == st->seq)
		return n;
	struct node *c = node_new(st, n->leaf);
	c->total = n->total;
	c->n = n->n;
	memcpy(c->items, n->items, n->n * sizeof(n->items[0]));
	if (!n->leaf)
		memcpy(c->kids, n->kids, (n->n + 1u) * sizeof(n->kids[0]));
	node_retire(st, n);
	return c;
}

static uint32_t node_sum(const struct node *n)
{
	uint32_t total = n->n;
	if (!n->leaf)
		for (unsigned i = 0; i <= n->n; i++)
			total += n->kids[i]->total;
	return total;
}

/* Opens a gap at i for an item and, in an inner node, for the kid to its right. */
static void node_insert(struct node *n, unsigned i, struct store_item *it, struct node *right)
{
	assert(n->n < NODE_MAX);
	memmove(n->items + i + 1, n->items + i, (n->n - i) * sizeof(n->items[0]));
	n->items[i] = it;
	if (!n->leaf) {
		memmove(n->kids + i + 2, n->kids + i + 1, (n->n - i) * sizeof(n->kids[0]));
		n->kids[i + 1] = right;
	}
	n->n++;
}

static void node_remove(struct node *n, unsigned i)
{
	memmove(n->items + i, n->items + i + 1, (n->n - i - 1u) * sizeof(n->items[0]));
	if (!n->leaf)
		memmove(n->kids + i + 1, n->kids + i + 2, (n->n - i - 1u) * sizeof(n->kids[0]));
	n->n--;
}

struct split {
	struct store_item *mid; /* NULL = no split */
	struct node *right;
};

/* Splits a full, owned node and puts (it, right) where it belongs. Appending in key order, the usual case for
 * generated names and for loading, would leave every left half at 31 items and never fill it: an insert at the far right
 * end therefore leaves as much on the left as NODE_MIN allows. */
static void node_split_insert(struct state *st, struct node *n, unsigned i, struct store_item *it, struct node *right,
			      struct split *out)
{
	unsigned at = i == NODE_MAX ? NODE_MAX - NODE_MIN : NODE_MAX / 2;
	struct node *r = node_new(st, n->leaf);
	/* items [at + 1, n) move right, items[at] goes up */
	r->n = (uint16_t)(n->n - at - 1);
	memcpy(r->items, n->items + at + 1, r->n * sizeof(n->items[0]));
	if (!n->leaf)
		memcpy(r->kids, n->kids + at + 1, (r->n + 1u) * sizeof(n->kids[0]));
	out->mid = n->items[at];
	out->right = r;
	n->n = (uint16_t)at;
	if (i <= at)
		node_insert(n, i, it, right);
	else
		node_insert(r, i - at - 1, it, right);
	n->total = node_sum(n);
	r->total = node_sum(r);
}

static struct node *insert(struct state *st, struct node *n, struct store_item *it, struct split *out,
			   struct store_item **out_prev)
{
	bool found;
	unsigned i = store_node_search(n, item_key(it), &found);
	n = node_own(st, n);
	if (found) {
		*out_prev = n->items[i];
		n->items[i] = it;
		return n;
	}
	struct store_item *up = it;
	struct node *right = NULL;
	if (!n->leaf) {
		struct split s = { NULL, NULL };
		n->kids[i] = insert(st, n->kids[i], it, &s, out_prev);
		if (!s.mid) {
			n->total += *out_prev ? 0 : 1;
			return n;
		}
		up = s.mid;
		right = s.right;
	}
	if (n->n == NODE_MAX) {
		node_split_insert(st, n, i, up, right, out);
	} else {
		node_insert(n, i, up, right);
		n->total++;
	}
	return n;
}

/* Returns the item that was there, which has left the tree. */
struct store_item *store_tree_put(struct state *st, struct store_item *it)
{
	struct store_item *prev = NULL;
	if (!st->root)
		st->root = node_new(st, true);
	struct split s = { NULL, NULL };
	struct node *root = insert(st, st->root, it, &s, &prev);
	if (s.mid) {
		struct node *top = node_new(st, false);
		top->n = 1;
		top->items[0] = s.mid;
		top->kids[0] = root;
		top->kids[1] = s.right;
		top->total = node_sum(top);
		root = top;
	}
	st->root = root;
	return prev;
}

/* Kid i of an owned node may have fallen below NODE_MIN: borrow from a neighbour or join with one. */
static void node_refill(struct state *st, struct node *n, unsigned i)
{
	struct node *kid = n->kids[i];
	if (kid->n >= NODE_MIN)
		return;
	if (i > 0 && n->kids[i - 1]->n > NODE_MIN) {
		struct node *left = n->kids[i - 1] = node_own(st, n->kids[i - 1]);
		struct node *moved = left->leaf ? NULL : left->kids[left->n];
		memmove(kid->items + 1, kid->items, kid->n * sizeof(kid->items[0]));
		if (!kid->leaf) {
			memmove(kid->kids + 1, kid->kids, (kid->n + 1u) * sizeof(kid->kids[0]));
			kid->kids[0] = moved;
		}
		kid->items[0] = n->items[i - 1];
		kid->n++;
		n->items[i - 1] = left->items[left->n - 1];
		left->n--;
		uint32_t delta = 1 + (moved ? moved->total : 0);
		left->total -= delta;
		kid->total += delta;
		return;
	}
	if (i < n->n && n->kids[i + 1]->n > NODE_MIN) {
		struct node *right = n->kids[i + 1] = node_own(st, n->kids[i + 1]);
		struct node *moved = right->leaf ? NULL : right->kids[0];
		kid->items[kid->n] = n->items[i];
		if (!kid->leaf)
			kid->kids[kid->n + 1] = moved;
		kid->n++;
		n->items[i] = right->items[0];
		memmove(right->items, right->items + 1, (right->n - 1u) * sizeof(right->items[0]));
		if (!right->leaf)
			memmove(right->kids, right->kids + 1, right->n * sizeof(right->kids[0]));
		right->n--;
		uint32_t delta = 1 + (moved ? moved->total : 0);
		right->total -= delta;
		kid->total += delta;
		return;
	}
	unsigned l = i > 0 ? i - 1 : i;
	struct node *left = n->kids[l] = node_own(st, n->kids[l]);
	struct node *right = n->kids[l + 1];
	assert(left->n + right->n + 1 <= NODE_MAX);
	left->items[left->n] = n->items[l];
	memcpy(left->items + left->n + 1, right->items, right->n * sizeof(right->items[0]));
	if (!left->leaf)
		memcpy(left->kids + left->n + 1, right->kids, (right->n + 1u) * sizeof(right->kids[0]));
	left->n = (uint16_t)(left->n + right->n + 1);
	left->total += right->total + 1;
	node_retire(st, right);
	node_remove(n, l);
}

static struct node *remove_last(struct state *st, struct node *n, struct store_item **out_item)
{
	n = node_own(st, n);
	if (n->leaf) {
		*out_item = n->items[--n->n];
		n->total--;
		return n;
	}
	unsigned i = n->n;
	n->kids[i] = remove_last(st, n->kids[i], out_item);
	n->total--;
	node_refill(st, n, i);
	return n;
}

/* key is there. */
static struct node *remove_key(struct state *st, struct node *n, struct span key, struct store_item **out_item)
{
	bool found;
	unsigned i = store_node_search(n, key, &found);
	n = node_own(st, n);
	n->total--;
	if (n->leaf) {
		assert(found);
		*out_item = n->items[i];
		node_remove(n, i);
		return n;
	}
	if (found) {
		*out_item = n->items[i];
		struct store_item *before = NULL;
		n->kids[i] = remove_last(st, n->kids[i], &before);
		n->items[i] = before;
	} else {
		n->kids[i] = remove_key(st, n->kids[i], key, out_item);
	}
	node_refill(st, n, i);
	return n;
}

/* Returns the item that has left the tree, or NULL when there was none. */
struct store_item *store_tree_delete(struct state *st, struct span key)
{
	if (!store_tree_get(st->root, key))
		return NULL;
	struct store_item *gone = NULL;
	struct node *root = remove_key(st, st->root, key, &gone);
	if (root->n == 0) {
		struct node *below = root->leaf ? NULL : root->kids[0];
		node_retire(st, root);
		root = below;
	}
	st->root = root;
	return gone;
}

uint64_t store_tree_rank(const struct node *root, struct span key)
{
	uint64_t rank = 0;
	for (const struct node *n = root; n;) {
		bool found;
		unsigned i = store_node_search(n, key, &found);
		rank += i;
		if (n->leaf)
			return rank;
		for (unsigned k = 0; k < i; k++)
			rank += n->kids[k]->total;
		if (found)
			return rank + n->kids[i]->total;
		n = n->kids[i];
	}
	return rank;
}

uint64_t store_tree_rank_end(const struct node *root, struct span prefix)
{
	uint64_t rank = 0;
	for (const struct node *n = root; n;) {
		unsigned lo = 0, hi = n->n;
		while (lo < hi) { /* the first item above the prefix range */
			unsigned mid = (lo + hi) / 2;
			if (store_key_vs_prefix(item_key(n->items[mid]), prefix) <= 0)
				lo = mid + 1;
			else
				hi = mid;
		}
		rank += lo;
		if (n->leaf)
			return rank;
		for (unsigned k = 0; k < lo; k++)
			rank += n->kids[k]->total;
		n = n->kids[lo];
	}
	return rank;
}

static int check(const struct node *n, bool is_root, const struct store_item *above, const struct store_item *below)
{
	if (n->n > NODE_MAX || (!is_root && n->n < NODE_MIN) || n->n == 0 || node_sum(n) != n->total)
		return -1;
	int depth = 0;
	for (unsigned i = 0; i <= n->n; i++) {
		const struct store_item *lo = i ? n->items[i - 1] : above;
		const struct store_item *hi = i < n->n ? n->items[i] : below;
		if (lo && hi && span_cmp(item_key(lo), item_key(hi)) >= 0)
			return -1;
		if (n->leaf)
			continue;
		int d = check(n->kids[i], false, lo, hi);
		if (d < 0 || (i && d != depth) || d >= STORE_DEPTH_MAX)
			return -1;
		depth = d;
	}
	return depth + 1;
}

bool store_tree_check(const struct node *root, bool is_root)
{
	return !root || check(root, is_root, NULL, NULL) > 0;
}
