/* The state in memory: snapshots, the ring of events, and when what is superseded may be freed.
 *
 *   current ──┐ (index | count, one word)
 *             v
 *   slots:  [s7] [s9] [s12]          live snapshots, oldest first; the last one is current
 *            |    |     root ── tree of batch 12
 *            |    garbage: what batches 10..12 superseded and s9 still sees
 *            garbage: what batches 8..9 superseded and s7 still sees
 *
 * Taking a snapshot is one fetch_add on `current`, which yields the slot and counts the reference in one step. When a
 * batch is published, the count gathered in the word moves into the slot (count += gathered - BIAS), so the slot's
 * count can reach 0 only after it is superseded, and reaches it exactly once.
 *
 * Every object (node, item, segment, directory) knows the batch that made it, and is put into the garbage of the snapshot
 * before the one that superseded it: the newest one that sees it. When that snapshot dies, the object is freed, unless
 * the next older live snapshot is young enough to see it too: then it moves there. So exactly what some
 * live snapshot sees is kept, and a reader that holds a snapshot for an hour keeps one version of the state alive, not
 * all that were made in that hour (the weakness of plain epochs), while copying a node counts nothing (the cost of
 * counting references per node).
 *
 * The last reader of a superseded snapshot only pushes it on a stack; the committer frees.
 *
 * Invariants
 * 1. live is ordered by seq; its last element is `published`.
 * 2. An object in s.garbage has born <= s.seq, and is in no younger live snapshot.
 * 3. Nothing published is changed, except segment.events beyond every published end, and garbage and links, which
 *    only the committer reads. */
#include "store/store_private.h"

#define COUNT_MASK ((UINT64_C(1) << CURRENT_COUNT_BITS) - 1)

/* ---- items */

struct store_item *store_item_new(struct span key, struct bytes *value)
{
	struct store_item *it = mem_alloc(sizeof(*it) + key.len + 1);
	memset(it, 0, sizeof(*it));
	atomic_init(&it->refs, 1);
	it->key_len = (uint16_t)key.len;
	memcpy(it->key, key.ptr, key.len);
	it->key[key.len] = 0;
	it->value = bytes_ref(value);
	return it;
}

/* One function for all stores of the process: the item must not point back at its store, which may be gone. */
static _Atomic(void (*)(void *)) detach_fn;

void store_item_unref(struct store_item *it)
{
	if (!it || atomic_fetch_sub_explicit(&it->refs, 1, memory_order_acq_rel) != 1)
		return;
	void *attached = atomic_load_explicit(&it->attached, memory_order_acquire);
	if (attached) {
		void (*detach)(void *) = atomic_load_explicit(&detach_fn, memory_order_acquire);
		if (detach)
			detach(attached);
	}
	bytes_unref(it->value);
	free(it);
}

void *store_item_attach(struct store *s, const struct store_item *it, void *data)
{
	void *was = NULL;
	if (atomic_compare_exchange_strong_explicit(&((struct store_item *)it)->attached, &was, data,
						    memory_order_acq_rel, memory_order_acquire))
		return data;
	if (s->st.detach)
		s->st.detach(data);
	return was;
}

/* ---- segments */

/* The number of events is the committer's field; whoever holds the last reference comes after the committer's
 * own release, so it may read it. */
void store_segment_unref(struct segment *seg)
{
	if (!seg || atomic_fetch_sub_explicit(&seg->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (uint32_t i = 0; i < seg->n; i++) {
		store_item_unref(seg->events[i].item);
		store_item_unref(seg->events[i].prev);
	}
	free(seg);
}

/* ---- garbage */

#define GARBAGE_MASK ((uintptr_t)3)

static uint64_t garbage_born(uintptr_t g)
{
	void *p = (void *)(g & ~GARBAGE_MASK);
	switch ((enum garbage_kind)(g & GARBAGE_MASK)) {
	case GARBAGE_NODE:
		return ((struct node *)p)->born;
	case GARBAGE_ITEM:
		return ((struct store_item *)p)->born_;
	case GARBAGE_SEGMENT:
		return ((struct segment *)p)->born;
	case GARBAGE_DIR:
		return ((struct ring_dir *)p)->born;
	}
	return 0;
}

static void garbage_free(uintptr_t g)
{
	void *p = (void *)(g & ~GARBAGE_MASK);
	switch ((enum garbage_kind)(g & GARBAGE_MASK)) {
	case GARBAGE_ITEM:
		store_item_unref(p);
		break;
	case GARBAGE_SEGMENT:
		store_segment_unref(p);
		break;
	case GARBAGE_NODE:
	case GARBAGE_DIR:
		free(p);
		break;
	}
}

static void garbage_done(struct garbage *g)
{
	for (size_t i = 0; i < g->n; i++)
		garbage_free(g->v[i]);
	free(g->v);
	*g = (struct garbage){ 0 };
}

static void garbage_move(struct garbage *to, struct garbage *from)
{
	if (!to->n) {
		free(to->v);
		*to = *from;
		*from = (struct garbage){ 0 };
		return;
	}
	for (size_t i = 0; i < from->n; i++) {
		MEM_GROW(to->v, to->n, to->cap);
		to->v[to->n++] = from->v[i];
	}
	from->n = 0;
}

/* ---- snapshots */

static struct store_snapshot *slot_at(struct state *st, uint32_t index)
{
	struct store_snapshot *chunk =
		atomic_load_explicit(&st->chunks[index >> SLOT_BITS], memory_order_acquire);
	return &chunk[index & (SLOTS_PER_CHUNK - 1)];
}

bool store_state_full(const struct state *st)
{
	return !st->free_slots && st->n_slots == SLOT_CHUNKS * SLOTS_PER_CHUNK;
}

static struct store_snapshot *slot_new(struct state *st)
{
	struct store_snapshot *s = st->free_slots;
	if (s) {
		st->free_slots = s->next_free;
		return s;
	}
	assert(st->n_slots < SLOT_CHUNKS * SLOTS_PER_CHUNK);
	uint32_t index = st->n_slots++;
	/* Chunks are made whole on first use; one slot would do for a quiet store, but a slot is only 128 bytes. */
	if (!(index & (SLOTS_PER_CHUNK - 1))) {
		struct store_snapshot *chunk = mem_zalloc(SLOTS_PER_CHUNK * sizeof(*chunk));
		atomic_store_explicit(&st->chunks[index >> SLOT_BITS], chunk, memory_order_release);
	}
	s = slot_at(st, index);
	s->index = index;
	s->st = st;
	return s;
}

struct store_snapshot *store_state_acquire(struct state *st)
{
	uint64_t word = atomic_fetch_add(&st->current, 1);
	return slot_at(st, (uint32_t)(word >> CURRENT_COUNT_BITS));
}

struct store_snapshot *store_snapshot_ref(struct store_snapshot *snap)
{
	atomic_fetch_add_explicit(&snap->count, 1, memory_order_relaxed);
	return snap;
}

static void slot_dead(struct store_snapshot *snap)
{
	struct state *st = snap->st;
	struct store_snapshot *head = atomic_load_explicit(&st->dead, memory_order_relaxed);
	do {
		atomic_store_explicit(&snap->next_dead, head, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(&st->dead, &head, snap, memory_order_seq_cst,
							memory_order_relaxed));
}

void store_snapshot_unref(struct store_snapshot *snap)
{
	if (!snap)
		return;
	struct state *st = snap->st;
	if (atomic_fetch_sub_explicit(&snap->count, 1, memory_order_acq_rel) != 1)
		return;
	slot_dead(snap);
	if (st->on_dead)
		st->on_dead(st->on_dead_arg);
}

int64_t store_snapshot_rev(const struct store_snapshot *snap)
{
	return snap->rev;
}

int64_t store_snapshot_floor(const struct store_snapshot *snap)
{
	return snap->floor_rev;
}

/* Frees what the snapshots whose last reference went were the last to see. */
void store_state_reap(struct state *st)
{
	struct store_snapshot *d = atomic_exchange_explicit(&st->dead, NULL, memory_order_acquire);
	while (d) {
		struct store_snapshot *next = atomic_load_explicit(&d->next_dead, memory_order_relaxed);
		struct store_snapshot *older = d->live.prev == &st->live ?
							NULL : LIST_ENTRY(d->live.prev, struct store_snapshot, live);
		if (older) {
			size_t kept = 0;
			for (size_t i = 0; i < d->garbage.n; i++) {
				uintptr_t g = d->garbage.v[i];
				if (garbage_born(g) <= older->seq)
					d->garbage.v[kept++] = g;
				else
					garbage_free(g);
			}
			d->garbage.n = kept;
			garbage_move(&older->garbage, &d->garbage);
		}
		garbage_done(&d->garbage);
		list_remove(&d->live);
		st->n_live--;
		d->root = NULL;
		d->dir = NULL;
		d->next_free = st->free_slots;
		st->free_slots = d;
		d = next;
	}
}

static void publish(struct state *st, int64_t rev)
{
	struct store_snapshot *s = slot_new(st), *old = st->published;
	s->seq = st->seq;
	s->rev = rev;
	s->floor_rev = st->floor_rev;
	s->root = st->root;
	s->dir = st->dir;
	s->events_end = st->events_end;
	s->garbage = (struct garbage){ 0 };
	atomic_store_explicit(&s->count, SNAPSHOT_BIAS, memory_order_relaxed);
	list_push(&st->live, &s->live);
	st->n_live++;
	st->published = s;
	uint64_t word = atomic_exchange(&st->current, (uint64_t)s->index << CURRENT_COUNT_BITS);
	if (!old)
		return;
	garbage_move(&old->garbage, &st->retired);
	int64_t delta = (int64_t)(word & COUNT_MASK) - SNAPSHOT_BIAS;
	if (atomic_fetch_add_explicit(&old->count, delta, memory_order_acq_rel) + delta == 0)
		slot_dead(old);
}

/* ---- the batch under work */

void store_state_begin(struct state *st)
{
	assert(!st->n_fresh && !st->n_made && !st->n_staged);
	st->seq = st->published->seq + 1;
	st->root = st->published->root;
	st->rev = st->published->rev;
}

const struct store_item *store_state_get(struct state *st, struct span key)
{
	return store_tree_get(st->root, key);
}

static void item_leaves(struct state *st, struct store_item *it)
{
	if (it->born_ != st->seq) {
		store_garbage_add(&st->retired, it, GARBAGE_ITEM);
		return;
	}
	MEM_GROW(st->lost, st->n_lost, st->cap_lost);
	st->lost[st->n_lost++] = it;
}

/* Events are staged with plain pointers: the items live at least as long as the batch, and the ring takes its
 * references when the batch is published. */
static void stage(struct state *st, int64_t rev, struct store_item *item, struct store_item *prev)
{
	MEM_GROW(st->staged, st->n_staged, st->cap_staged);
	st->staged[st->n_staged++] = (struct store_event){ .rev = rev, .item = item, .prev = prev };
}

void store_state_put(struct state *st, struct store_item *it)
{
	it->born_ = st->seq;
	MEM_GROW(st->made, st->n_made, st->cap_made);
	st->made[st->n_made++] = it;
	struct store_item *prev = store_tree_put(st, it);
	if (prev)
		item_leaves(st, prev);
	st->rev = MAX(st->rev, it->rev);
	stage(st, it->rev, it, prev);
}

bool store_state_delete(struct state *st, struct span key, int64_t rev)
{
	struct store_item *prev = store_tree_delete(st, key);
	if (!prev)
		return false;
	item_leaves(st, prev);
	st->rev = MAX(st->rev, rev);
	stage(st, rev, NULL, prev);
	return true;
}

/* While loading there are no events and no way back: what was replaced goes at once. */
void store_state_load_settle(struct state *st)
{
	for (size_t i = 0; i < st->n_lost; i++)
		store_item_unref(st->lost[i]);
	st->n_lost = st->n_made = st->n_staged = 0;
}

static uint64_t event_bytes(const struct store_event *e)
{
	return sizeof(*e) + (e->prev ? sizeof(*e->prev) + store_item_bytes(e->prev) : 0);
}

/* A directory is immutable once published: the first change in a batch copies it. */
static struct ring_dir *dir_own(struct state *st, uint32_t n)
{
	struct ring_dir *old = st->dir;
	struct ring_dir *d = mem_alloc(sizeof(*d) + n * sizeof(d->segments[0]));
	d->born = st->seq;
	d->n = n;
	memcpy(d->segments, old->segments, MIN(n, old->n) * sizeof(d->segments[0]));
	if (old->born == st->seq)
		free(old);
	else
		store_garbage_add(&st->retired, old, GARBAGE_DIR);
	st->dir = d;
	return d;
}

static void ring_append(struct state *st, const struct store_event *e, int64_t now_ms)
{
	struct ring_dir *d = st->dir;
	struct segment *seg = d->n ? d->segments[d->n - 1] : NULL;
	uint64_t bytes = event_bytes(e);
	if (!seg || seg->n == SEGMENT_EVENTS || (seg->n && seg->bytes + bytes > SEGMENT_BYTES)) {
		seg = mem_alloc(sizeof(*seg));
		atomic_init(&seg->refs, 1);
		seg->n = 0;
		seg->born = st->seq;
		seg->first = st->events_end;
		seg->bytes = 0;
		d = dir_own(st, d->n + 1);
		d->segments[d->n - 1] = seg;
	}
	seg->events[seg->n] = *e;
	if (e->item)
		(void)store_item_ref(e->item);
	if (e->prev)
		(void)store_item_ref(e->prev);
	seg->n++;
	seg->bytes += bytes;
	seg->last_ms = now_ms;
	st->ring_bytes += bytes;
	st->ring_events++;
	st->events_end++;
}

void store_state_commit(struct state *st, int64_t rev, int64_t now_ms)
{
	for (size_t i = 0; i < st->n_staged; i++)
		ring_append(st, &st->staged[i], now_ms);
	for (size_t i = 0; i < st->n_fresh; i++)
		if (st->fresh[i]->dead)
			free(st->fresh[i]);
	for (size_t i = 0; i < st->n_lost; i++)
		store_item_unref(st->lost[i]);
	st->n_staged = st->n_fresh = st->n_made = st->n_lost = 0;
	publish(st, rev);
	store_state_reap(st);
}

void store_state_drop(struct state *st)
{
	for (size_t i = 0; i < st->n_fresh; i++)
		free(st->fresh[i]);
	for (size_t i = 0; i < st->n_made; i++)
		store_item_unref(st->made[i]);
	st->n_staged = st->n_fresh = st->n_made = st->n_lost = 0;
	st->retired.n = 0;
	st->root = st->published->root;
}

/* ---- ring */

int64_t store_state_ring_oldest_ms(const struct state *st)
{
	return st->dir->n ? st->dir->segments[0]->last_ms : INT64_MAX;
}

bool store_state_ring_due(const struct state *st, int64_t before_ms, uint64_t max_bytes)
{
	return st->dir->n && (store_state_ring_oldest_ms(st) < before_ms || st->ring_bytes > max_bytes);
}

void store_state_ring_trim(struct state *st, int64_t before_ms, uint64_t max_bytes, int64_t upto_rev)
{
	struct ring_dir *d = st->dir;
	uint32_t drop = 0;
	uint64_t bytes = st->ring_bytes;
	while (drop < d->n) {
		struct segment *seg = d->segments[drop];
		bool old = seg->last_ms < before_ms || bytes > max_bytes;
		if (!old && seg->events[seg->n - 1].rev > upto_rev)
			break;
		bytes -= seg->bytes;
		st->ring_events -= seg->n;
		st->floor_rev = MAX(st->floor_rev, seg->events[seg->n - 1].rev);
		drop++;
	}
	st->ring_bytes = bytes;
	st->floor_rev = MAX(st->floor_rev, MIN(upto_rev, st->rev));
	if (!drop)
		return;
	for (uint32_t i = 0; i < drop; i++)
		store_garbage_add(&st->retired, d->segments[i], GARBAGE_SEGMENT);
	d = dir_own(st, d->n);
	memmove(d->segments, d->segments + drop, (d->n - drop) * sizeof(d->segments[0]));
	d->n -= drop;
}

uint64_t store_snapshot_events_begin(const struct store_snapshot *snap)
{
	return snap->dir->n ? snap->dir->segments[0]->first : snap->events_end;
}

static uint32_t dir_find(const struct store_snapshot *snap, uint64_t seq)
{
	const struct ring_dir *d = snap->dir;
	uint32_t lo = 0, hi = d->n;
	while (hi - lo > 1) {
		uint32_t mid = (lo + hi) / 2;
		if (d->segments[mid]->first <= seq)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

struct segment *store_snapshot_segment(const struct store_snapshot *snap, uint64_t seq, uint64_t *out_end)
{
	assert(seq >= store_snapshot_events_begin(snap) && seq < snap->events_end);
	uint32_t i = dir_find(snap, seq);
	*out_end = i + 1 < snap->dir->n ? snap->dir->segments[i + 1]->first : snap->events_end;
	return snap->dir->segments[i];
}

uint64_t store_snapshot_event_of_rev(const struct store_snapshot *snap, int64_t rev)
{
	uint64_t lo = store_snapshot_events_begin(snap), hi = snap->events_end;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2, end;
		struct segment *seg = store_snapshot_segment(snap, mid, &end);
		if (seg->events[mid - seg->first].rev < rev)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* ---- begin and end */

void store_state_init(struct state *st, int64_t rev)
{
	list_init(&st->live);
	st->seq = 1;
	st->floor_rev = rev;
	st->events_end = 1;
	st->dir = mem_zalloc(sizeof(*st->dir));
	st->dir->born = 1;
	atomic_store_explicit(&detach_fn, st->detach, memory_order_release);
	publish(st, rev);
}

static void tree_free(struct node *n)
{
	for (unsigned i = 0; i < n->n; i++)
		store_item_unref(n->items[i]);
	if (!n->leaf)
		for (unsigned i = 0; i <= n->n; i++)
			tree_free(n->kids[i]); /* at most STORE_DEPTH_MAX deep */
	free(n);
}

void store_state_done(struct state *st)
{
	if (!st->published)
		return;
	store_state_reap(st);
	struct store_snapshot *s = st->published;
	/* Our own mistake in a caller: a snapshot outlived the store. */
	assert(st->n_live == 1);
	uint64_t word = atomic_load_explicit(&st->current, memory_order_acquire);
	assert(atomic_load_explicit(&s->count, memory_order_acquire) + (int64_t)(word & COUNT_MASK) == SNAPSHOT_BIAS);
	if (s->root)
		tree_free(s->root);
	for (uint32_t i = 0; i < st->dir->n; i++)
		store_segment_unref(st->dir->segments[i]);
	free(st->dir);
	garbage_done(&st->retired);
	free(st->fresh);
	free(st->made);
	free(st->lost);
	free(st->staged);
	for (uint32_t i = 0; i < SLOT_CHUNKS; i++)
		free(atomic_load_explicit(&st->chunks[i], memory_order_relaxed));
}
