/* What a batch changes: transactions are applied to the working tree, and every change is written down three times:
 * as an event (by the state), as a record for the disk, and as a `struct change` from which, once the commit has
 * succeeded, the side tables follow: sizes, undo history, leases.
 *
 * Records. A durable put or delete appends one. A volatile put appends none: the item keeps the number of the key's
 * newest record (row_), which is what a crash returns to, and is dirty until a flush or a durable change. Deleting
 * a key that has no record on disk writes nothing. */
#include "store/store_private.h"

int64_t store_change_rev(struct store *s)
{
	s->st.rev = MAX(s->st.rev, s->burnt_rev) + 1;
	return s->st.rev;
}

static struct change *change_add(struct store *s)
{
	MEM_GROW(s->changes, s->n_changes, s->cap_changes);
	struct change *c = &s->changes[s->n_changes++];
	memset(c, 0, sizeof(*c));
	return c;
}

static int64_t row_add(struct store *s, const struct store_item *it, struct span key, int64_t rev, int64_t at_ms)
{
	struct disk_batch *b = &s->batch;
	MEM_GROW(b->rows, b->n_rows, b->cap_rows);
	b->rows[b->n_rows++] =
		(struct disk_row){ .item = it, .key = key, .row = s->next_row, .rev = rev, .at_ms = at_ms };
	return s->next_row++;
}

void store_change_put(struct store *s, const struct txn_op *op, int64_t rev, int64_t at_ms, enum dirt dirt,
		struct store_item **out_item, struct store_item **out_prev)
{
	struct span key = bytes_span(op->key);
	struct store_item *prev = (struct store_item *)store_state_get(&s->st, key);
	struct store_item *it = store_item_new(key, op->value);
	it->rev = rev;
	it->create_rev = prev ? prev->create_rev : rev;
	it->version = prev ? prev->version + 1 : 1;
	it->lease = op->lease;
	it->at_ms = at_ms;
	struct change *c = change_add(s);
	c->item = store_item_ref(it);
	c->prev = prev ? store_item_ref(prev) : NULL;
	c->rev = rev;
	c->at_ms = at_ms;
	if (dirt) {
		it->row_ = prev ? prev->row_ : 0;
		it->dirty_ = (uint8_t)dirt;
		s->volatile_used = true;
	} else {
		c->old_row = prev ? prev->row_ : 0;
		c->new_row = it->row_ = row_add(s, it, store_item_key(it), rev, at_ms);
	}
	store_state_put(&s->st, it);
	*out_item = it;
	*out_prev = prev;
}

void store_change_delete(struct store *s, const struct store_item *it, int64_t rev, int64_t at_ms)
{
	struct change *c = change_add(s);
	c->prev = store_item_ref(it);
	c->rev = rev;
	c->at_ms = at_ms;
	c->old_row = it->row_;
	if (it->row_)
		c->new_row = row_add(s, NULL, store_item_key(c->prev), rev, at_ms);
	else
		s->volatile_used = true;
	(void)store_state_delete(&s->st, store_item_key(c->prev), rev);
}

void store_change_flush(struct store *s, struct store_item *it)
{
	struct change *c = change_add(s);
	c->flush = true;
	c->item = store_item_ref(it);
	c->rev = it->rev;
	c->at_ms = it->at_ms;
	c->old_row = it->row_;
	c->new_row = row_add(s, it, store_item_key(it), it->rev, it->at_ms);
}

static void to_history(struct store *s, const struct change *c)
{
	const struct store_item *prev = c->prev;
	struct span key = store_item_key(c->item ? c->item : prev);
	struct dead d = { .row = c->old_row, .died_rev = c->rev, .died_s = (uint32_t)(c->at_ms / 1000),
			  .hash = store_undo_hash(key) };
	if (prev && !prev->dirty_) {
		d.born_rev = prev->rev;
		d.born_s = (uint32_t)(prev->at_ms / 1000);
		d.bytes = (uint32_t)store_item_bytes(prev);
	} else { /* the record is older than the volatile version before this one */
		struct store_version v;
		if (store_disk_row_read(&s->disk, c->old_row, &v, NULL) == 0) {
			d.born_rev = v.rev;
			d.born_s = (uint32_t)(v.at_ms / 1000);
			d.bytes = (uint32_t)(key.len + (v.value ? v.value->len : 0));
			free((void *)v.key.ptr);
			bytes_unref(v.value);
		} else { /* unreadable: it still has to be counted, and goes with its time */
			d.born_rev = c->rev;
			d.born_s = d.died_s;
			d.bytes = (uint32_t)key.len;
		}
	}
	store_undo_add(&s->undo, d);
}

static void dirty_move(struct store *s, const struct store_item *it, int sign)
{
	if (!it || !it->dirty_)
		return;
	if (sign > 0 && !s->dirty_bytes)
		s->dirty_since_ms = store_mono_ms(s);
	s->dirty_bytes += sign > 0 ? store_item_bytes(it) : -store_item_bytes(it);
}

void store_changes_follow(struct store *s)
{
	for (size_t i = 0; i < s->n_changes; i++) {
		struct change *c = &s->changes[i];
		if (c->old_row && c->new_row)
			to_history(s, c);
		if (c->flush) {
			dirty_move(s, c->item, -1);
			c->item->dirty_ = DIRT_NONE;
			c->item->row_ = c->new_row;
			continue;
		}
		if (c->prev)
			s->live_bytes -= store_item_bytes(c->prev);
		if (c->item)
			s->live_bytes += store_item_bytes(c->item);
		dirty_move(s, c->item, 1); /* before the other: a key that is renewed and renewed is dirty since the first time */
		dirty_move(s, c->prev, -1);
		if (!c->item && c->new_row)
			store_undo_add(&s->undo, (struct dead){ .row = c->new_row, .born_rev = c->rev, .died_rev = c->rev,
							  .born_s = (uint32_t)(c->at_ms / 1000),
							  .died_s = (uint32_t)(c->at_ms / 1000), .bytes = c->prev->key_len,
							  .hash = store_undo_hash(store_item_key(c->prev)), .tombstone = true });
		store_lease_follow(s, c);
	}
	store_changes_forget(s);
}

void store_changes_forget(struct store *s)
{
	for (size_t i = 0; i < s->n_changes; i++) {
		store_item_unref(s->changes[i].item);
		store_item_unref(s->changes[i].prev);
	}
	s->n_changes = 0;
	s->batch.n_rows = s->batch.n_leases = 0;
	s->batch.reserve = 0;
}

/* ---- transactions */

static bool compare_holds(const struct txn_compare *c, const struct store_item *it)
{
	int order;
	if (c->field == STORE_VALUE) {
		if (!it)
			return false;
		order = span_cmp(bytes_span(it->value), bytes_span(c->value));
	} else {
		int64_t have = 0;
		if (it)
			have = c->field == STORE_REV ? it->rev : c->field == STORE_CREATE_REV ? it->create_rev :
			       c->field == STORE_VERSION ? it->version : it->lease;
		order = have < c->number ? -1 : have > c->number;
	}
	switch ((enum store_compare)c->how) {
	case STORE_EQUAL:
		return order == 0;
	case STORE_NOT_EQUAL:
		return order != 0;
	case STORE_LESS:
		return order < 0;
	case STORE_GREATER:
		return order > 0;
	}
	return false;
}

static int key_cmp(const void *pa, const void *pb)
{
	return span_cmp(bytes_span(*(struct bytes *const *)pa), bytes_span(*(struct bytes *const *)pb));
}

/* etcd's rule: no key is changed twice, neither by its name nor by a prefix that covers a put. */
static bool changed_twice(const struct store_txn *t, enum store_branch b, struct err *err)
{
	struct bytes *keys[STORE_TXN_OPS_MAX];
	size_t n = 0, prefixes = 0;
	for (size_t i = 0; i < t->n_ops; i++) {
		const struct txn_op *op = &t->ops[i];
		if (op->branch != b)
			continue;
		if (op->kind == OP_PUT || op->kind == OP_DELETE)
			keys[n++] = op->key;
		prefixes += op->kind == OP_DELETE_PREFIX;
	}
	if (n > 1)
		qsort(keys, n, sizeof(keys[0]), key_cmp);
	struct span twice = SPAN_EMPTY;
	for (size_t i = 1; i < n && !twice.len; i++)
		if (span_eq(bytes_span(keys[i - 1]), bytes_span(keys[i])))
			twice = bytes_span(keys[i]);
	for (size_t i = 0; prefixes && i < t->n_ops && !twice.len; i++) {
		const struct txn_op *p = &t->ops[i];
		if (p->branch != b || p->kind != OP_DELETE_PREFIX)
			continue;
		for (size_t k = 0; k < n && !twice.len; k++)
			if (span_starts(bytes_span(keys[k]), bytes_span(p->key)))
				twice = bytes_span(keys[k]);
	}
	if (!twice.len)
		return false;
	err_set(err, ERR_INVALID_REQUEST, "duplicate key given in transaction: %.*s", (int)MIN(twice.len, (size_t)200), twice.ptr);
	return true;
}

/* Pages in use, with what was written since they were counted taken twice: two rows may share no page. */
static bool quota_full(struct store *s)
{
	struct disk *d = &s->disk;
	uint64_t quota = (uint64_t)s->o.quota_bytes;
	for (int round = 0;; round++) {
		if ((d->pages - d->free_pages) * d->page_size + 2 * d->written_since <= quota)
			return false;
		if (d->written_since) {
			store_disk_measure(d);
			continue;
		}
		/* History is what may go first. */
		if (round > 1000 || !s->undo.rows || store_undo_thin(s, true, NULL) < 0 || !s->undo.rows)
			break;
		store_disk_measure(d);
	}
	store_disk_measure(d);
	return (d->pages - d->free_pages) * d->page_size > quota;
}

static struct store_item **one(struct store_item *it, size_t *out_n)
{
	if (!it)
		return NULL;
	struct store_item **v = mem_alloc(sizeof(*v));
	v[0] = store_item_ref(it);
	*out_n = 1;
	return v;
}

/* All items of a range of the working tree, referenced. */
static struct store_item **collect(struct store *s, struct span prefix, size_t limit, size_t *out_n)
{
	struct store_snapshot view = { .root = s->st.root, .rev = s->st.rev };
	struct store_iter it;
	struct store_item **v = NULL;
	size_t n = 0, cap = 0;
	if (store_iter_init(&it, &view, prefix, SPAN_EMPTY, 0, NULL) < 0)
		return NULL; /* the prefix's length was checked when the operation was built */
	for (const struct store_item *item; n < limit && (item = store_iter_next(&it));) {
		MEM_GROW(v, n, cap);
		v[n++] = store_item_ref(item);
	}
	store_iter_done(&it);
	*out_n = n;
	return v;
}

static void op_apply(struct store *s, struct store_txn *t, const struct txn_op *op, struct store_result *r, int64_t *rev,
		     int64_t at_ms)
{
	struct span key = bytes_span(op->key);
	struct store_item *it = NULL, *prev = NULL;
	switch ((enum op_kind)op->kind) {
	case OP_PUT:
		if (!*rev)
			*rev = store_change_rev(s);
		store_change_put(s, op, *rev, at_ms, t->dirt, &it, &prev);
		r->items = one(it, &r->n_items);
		r->prev = one(prev, &r->n_prev);
		break;
	case OP_DELETE:
		prev = (struct store_item *)store_state_get(&s->st, key);
		r->prev = one(prev, &r->n_prev);
		r->count = r->n_prev;
		break;
	case OP_DELETE_PREFIX:
		r->prev = collect(s, key, SIZE_MAX, &r->n_prev);
		r->count = r->n_prev;
		break;
	case OP_GET:
		r->items = one((struct store_item *)store_state_get(&s->st, key), &r->n_items);
		r->count = r->n_items;
		break;
	case OP_RANGE:
		r->count = store_tree_rank_end(s->st.root, key) - store_tree_rank(s->st.root, key);
		if (!op->count_only)
			r->items = collect(s, key, op->limit, &r->n_items);
		break;
	}
	if (op->kind != OP_DELETE && op->kind != OP_DELETE_PREFIX)
		return;
	for (size_t i = 0; i < r->n_prev; i++) {
		if (!*rev)
			*rev = store_change_rev(s);
		store_change_delete(s, r->prev[i], *rev, at_ms);
	}
}

void store_txn_apply(struct store *s, struct store_txn *t, int64_t at_ms)
{
	struct err *err = &t->call.err;
	if (err->class)
		return;
	t->held = true;
	for (size_t i = 0; i < t->n_compares && t->held; i++)
		t->held = compare_holds(&t->compares[i], store_state_get(&s->st, bytes_span(t->compares[i].key)));
	enum store_branch b = t->held ? STORE_THEN : STORE_ELSE;
	size_t n = 0;
	bool puts = false;
	for (size_t i = 0; i < t->n_ops; i++) {
		const struct txn_op *op = &t->ops[i];
		if (op->branch != b)
			continue;
		n++;
		puts |= op->kind == OP_PUT;
		struct lease *l = op->kind == OP_PUT && op->lease ? store_lease_get(s, op->lease) : NULL;
		if (op->kind == OP_PUT && op->lease && (!l || l->ending)) {
			err_set(err, ERR_NOT_FOUND, "requested lease not found: %lld", (long long)op->lease);
			return;
		}
	}
	if (n > 1 && changed_twice(t, b, err))
		return;
	if (puts && quota_full(s)) {
		err_set(err, ERR_NO_SPACE,
			"database space exceeded: the store uses its quota of %lld bytes; delete objects or raise the quota",
			(long long)s->o.quota_bytes);
		return;
	}
	t->results = n ? mem_zalloc(n * sizeof(t->results[0])) : NULL;
	t->n_results = n;
	int64_t rev = 0;
	n = 0;
	for (size_t i = 0; i < t->n_ops; i++)
		if (t->ops[i].branch == b)
			op_apply(s, t, &t->ops[i], &t->results[n++], &rev, at_ms);
	t->call.rev = rev ? rev : s->st.rev;
}
