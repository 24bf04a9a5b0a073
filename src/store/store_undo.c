/* Undo history: records on disk that are no longer current, thinned instead of deleted.
 *
 * In memory a queue in order of death, 48 bytes an entry; on disk nothing but the records themselves, because the
 * queue is rebuilt while they are loaded.
 *
 *     died less than 10 minutes ago    every version
 *     10 minutes to 2 hours            versions that stood at some full minute
 *     2 hours to undo_ms (24 hours)    versions that stood at some full quarter of an hour
 *     older, or when history is larger than the live data (1 MB at least): oldest deaths first
 *
 * Whether a version goes depends on its own two times alone, so nothing has to be compared or remembered. When one goes,
 * the version before it takes over its time, which is also what a reload makes of the records that are left.
 * Removals ride in steps of up to 1,000 records, in moments after other writing; never by the clock alone. The record
 * with the highest id stays: it says where ids go on. */
#include "store/store_private.h"

#define UNDO_STEP 1000
#define UNDO_LEAST_BYTES (1 << 20)

static const struct {
	uint32_t age_s, grid_s;
} tiers[2] = { { 600, 60 }, { 7200, 900 } };

/* Only spreads; it lives in this process's memory alone. */
uint32_t store_undo_hash(struct span key)
{
	return (uint32_t)span_hash(key);
}

void store_undo_add(struct undo *u, struct dead d)
{
	if (!d.row)
		return;
	if (u->n == u->cap && u->head > u->n / 2) {
		memmove(u->v, u->v + u->head, (u->n - u->head) * sizeof(u->v[0]));
		for (unsigned t = 0; t < 2; t++)
			u->tier[t] = u->tier[t] > u->head ? u->tier[t] - u->head : 0;
		u->n -= u->head;
		u->shifted += u->head;
		u->head = 0;
	}
	MEM_GROW(u->v, u->n, u->cap);
	u->v[u->n++] = d;
	u->bytes += d.bytes;
	u->rows++;
}

void store_undo_done(struct undo *u)
{
	free(u->v);
	*u = (struct undo){ 0 };
}

static uint64_t bound(const struct store *s)
{
	return MAX(s->live_bytes, (uint64_t)UNDO_LEAST_BYTES);
}

static uint32_t now_s(struct store *s)
{
	return (uint32_t)(store_unix_ms(s) / 1000);
}

static uint32_t oldest_s(struct store *s)
{
	uint32_t now = now_s(s), age = (uint32_t)(s->o.undo_ms / 1000);
	return now > age ? now - age : 0;
}

/* Worth a transaction: an eighth too large, an hour too old, or 512 records through with a tier. */
bool store_undo_due(struct store *s, bool force)
{
	const struct undo *u = &s->undo;
	if (u->head == u->n || u->rows == 0)
		return false;
	uint32_t now = now_s(s);
	if (force || u->bytes > bound(s) + bound(s) / 8 || u->v[u->head].died_s + 3600 < oldest_s(s))
		return true;
	for (unsigned t = 0; t < 2; t++) {
		size_t i = MAX(u->tier[t], u->head) + 512;
		if (i < u->n && u->v[i].died_s + tiers[t].age_s < now)
			return true;
	}
	return false;
}

struct gone {
	uint32_t hash;
	int64_t born_rev;
	size_t at;
};

static int gone_cmp(const void *pa, const void *pb)
{
	const struct gone *a = pa, *b = pb;
	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	return a->born_rev < b->born_rev ? -1 : a->born_rev > b->born_rev;
}

/* Each version that went leaves its time to the one before it: the entry of the same key that died when it was born. That
 * one died earlier, so it stands further left; walking to the left settles whole chains in one pass. */
static void inherit(struct undo *u, struct gone *gone, size_t n)
{
	qsort(gone, n, sizeof(gone[0]), gone_cmp);
	for (size_t i = u->n; i-- > u->head;) {
		struct gone want = { .hash = u->v[i].hash, .born_rev = u->v[i].died_rev };
		const struct gone *g = bsearch(&want, gone, n, sizeof(gone[0]), gone_cmp);
		if (!g || g->at <= i || u->v[i].tombstone)
			continue;
		u->v[i].died_rev = u->v[g->at].died_rev;
		u->v[i].died_s = u->v[g->at].died_s;
	}
}

int store_undo_thin(struct store *s, bool force, struct err *err)
{
	struct undo *u = &s->undo;
	uint32_t now = now_s(s), oldest = oldest_s(s);
	int64_t *rows = mem_alloc(UNDO_STEP * sizeof(*rows));
	struct gone *gone = mem_alloc(UNDO_STEP * sizeof(*gone));
	size_t n = 0, tier[2], head = u->head;
	uint64_t bytes = u->bytes;
	/* Tiers first; what the last pass then finds gone already it must not count again, so a step does one or the other. */
	for (unsigned t = 0; t < 2; t++) {
		size_t i = MAX(u->tier[t], u->head);
		for (; i < u->n && n < UNDO_STEP && u->v[i].died_s + tiers[t].age_s < now; i++) {
			struct dead *d = &u->v[i];
			if (!d->row || d->tombstone || d->row == s->disk.last_row ||
			    d->born_s / tiers[t].grid_s != d->died_s / tiers[t].grid_s)
				continue;
			bool twice = false; /* found by the other tier in this very step */
			for (size_t k = 0; t && k < n && !twice; k++)
				twice = rows[k] == d->row;
			if (twice)
				continue;
			rows[n] = d->row;
			gone[n++] = (struct gone){ d->hash, d->born_rev, i };
			bytes -= d->bytes;
		}
		tier[t] = i;
	}
	bool from_tiers = n > 0;
	for (; !from_tiers && head < u->n && n < UNDO_STEP; head++) {
		struct dead *d = &u->v[head];
		if (!force && bytes <= bound(s) && d->died_s >= oldest)
			break;
		if (!d->row)
			continue;
		if (d->row == s->disk.last_row)
			break;
		rows[n] = d->row;
		gone[n++] = (struct gone){ d->hash, d->born_rev, head };
		bytes -= d->bytes;
	}
	int code = n ? store_disk_remove(&s->disk, rows, n, s->st.published->rev, err) : 0;
	if (code == 0) {
		for (size_t i = 0; i < n; i++)
			u->v[gone[i].at].row = 0;
		if (from_tiers)
			inherit(u, gone, n);
		u->bytes = bytes;
		u->rows -= n;
		u->head = head;
		memcpy(u->tier, tier, sizeof(tier));
	}
	free(rows);
	free(gone);
	return code;
}

/* ---- reading */

/* Room doubles at 8, 16, 32...: the count alone says when. */
static void version_add(struct store_call *c, struct store_version v)
{
	size_t n = c->n_versions;
	if (n == 0 || (n >= 8 && !(n & (n - 1))))
		c->versions = mem_realloc_n(c->versions, n ? n * 2 : 8, sizeof(c->versions[0]));
	c->versions[c->n_versions++] = v;
}

void store_undo_history(struct store *s, struct other_call *c)
{
	struct undo *u = &s->undo;
	struct span key = bytes_span(c->key);
	uint32_t limit = c->limit ? MIN(c->limit, 1000u) : 1000, hash = store_undo_hash(key), oldest = oldest_s(s);
	if (!c->number) { /* the first page begins with what stands now */
		const struct store_item *it = store_tree_get(s->st.published->root, key);
		if (it)
			version_add(&c->call, (struct store_version){
				.rev = it->rev, .create_rev = it->create_rev, .version = it->version, .at_ms = it->at_ms,
				.key = span_make(mem_dup(key.ptr, key.len), key.len), .value = bytes_ref(it->value) });
	}
	for (size_t i = u->n; i-- > u->head;) {
		const struct dead *d = &u->v[i];
		if (d->hash != hash || !d->row || (c->number && d->row >= c->number) || d->died_s < oldest)
			continue;
		if (c->call.n_versions >= limit) {
			c->call.more = true;
			return;
		}
		struct store_version v;
		if (store_disk_row_read(&s->disk, d->row, &v, &c->call.err) < 0)
			return;
		c->call.next = d->row;
		if (span_eq(v.key, key)) {
			version_add(&c->call, v);
		} else { /* another key of the same hash */
			free((void *)v.key.ptr);
			bytes_unref(v.value);
		}
	}
}

void store_undo_history_at(struct store *s, struct other_call *c)
{
	struct undo *u = &s->undo;
	struct span prefix = bytes_span(c->key);
	int64_t rev = c->number2;
	uint32_t at_s = (uint32_t)(c->number3 / 1000), oldest = oldest_s(s);
	uint64_t from = (uint64_t)c->number > u->shifted ? (uint64_t)c->number - u->shifted : 0;
	unsigned reads = 0;
	for (size_t i = MAX((size_t)from, u->head); i < u->n; i++) {
		const struct dead *d = &u->v[i];
		bool stood = rev > 0 ? d->born_rev <= rev && rev < d->died_rev : d->born_s <= at_s && at_s < d->died_s;
		if (!stood || !d->row || d->tombstone || d->died_s < oldest)
			continue;
		if (reads++ == 1000) {
			c->call.more = true;
			c->call.next = (int64_t)(u->shifted + i);
			return;
		}
		struct store_version v;
		if (store_disk_row_read(&s->disk, d->row, &v, &c->call.err) < 0)
			return;
		if (store_key_vs_prefix(v.key, prefix) == 0) {
			version_add(&c->call, v);
		} else {
			free((void *)v.key.ptr);
			bytes_unref(v.value);
		}
	}
}
