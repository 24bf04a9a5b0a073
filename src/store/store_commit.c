/* The committer: the one thread that changes anything.
 *
 *      callers -- queue --> [take all] -> apply to the working tree -> write records -> SYNC -> publish -> answer, wake
 *                               ^                                                                      |
 *                               '-- what arrived meanwhile: the next batch <---------------------------'
 *
 * So the batch grows with the load by itself: one writer waits for one sync, sixteen writers share it.
 *
 * Invariants
 * 1. Nothing is published before its records are synced; nothing is answered before it is published.
 * 2. A batch whose writing fails leaves no trace in memory: the working tree is dropped, every durable call in it is
 *    refused, its revisions are burnt. Volatile transactions are then applied again by themselves, so leases and
 *    heart beats go on while a disk is full.
 * 3. The thread sleeps unless something was handed in, a lease ends, ring segments come of age, or volatile state
 *    is due. Housekeeping (log, history, free pages) follows writing and then stops. */
#include <errno.h>
#include <signal.h>
#include "store/store_private.h"

#define BATCH_CALLS 4096
#define BATCH_BYTES (8 << 20)
#define RESERVE_BLOCK 10000
#define RETRY_MS 10000
#define IDLE_MS 50 /* without a call: housekeeping may begin */
#define REST_MS 500 /* and then SQLite's page cache goes: at once it would be read again by whoever writes now and then */

/* ---- the queue */

void store_committer_submit(struct store *s, struct store_call *call)
{
	pthread_mutex_lock(&s->lock);
	assert(!s->stopping);
	bool was_empty = list_empty(&s->queue);
	list_push(&s->queue, &call->link_);
	if (was_empty)
		pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

void store_committer_kick(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	s->kicked = true;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

/* A reader released a superseded snapshot: either it sees us asleep, or we see its snapshot on the stack before we sleep
 * (both sides write, then read, sequentially consistent). */
void store_committer_on_dead(void *arg)
{
	struct store *s = arg;
	if (atomic_load(&s->sleeping))
		store_committer_kick(s);
}

static bool too_dirty(const struct store *s)
{
	return s->dirty_bytes > (uint64_t)s->o.volatile_bytes;
}

static int64_t flush_due_ms(const struct store *s)
{
	if (!s->dirty_bytes)
		return INT64_MAX;
	int64_t due = too_dirty(s) ? 0 : s->dirty_since_ms + s->o.volatile_flush_ms;
	return MAX(due, s->retry_ms);
}

/* When there is something to do though nobody asks; INT64_MAX = never. */
static int64_t next_due_ms(struct store *s)
{
	int64_t due = MIN(MAX(store_lease_next_end(s), s->retry_ms), flush_due_ms(s));
	if (store_state_full(&s->st))
		return INT64_MAX; /* nothing can be published; the reader that releases a snapshot wakes us */
	int64_t oldest = store_state_ring_oldest_ms(&s->st);
	if (oldest != INT64_MAX) /* a sixteenth of slack, so that a quiet store wakes a few times only */
		due = MIN(due, oldest + s->o.history_ms + s->o.history_ms / 16);
	if (s->idle_work)
		due = MIN(due, MAX(s->idle_retry_ms, s->busy_ms + IDLE_MS));
	else if (s->disk.cached)
		due = MIN(due, s->busy_ms + REST_MS);
	return due;
}

static void wait_for_work(struct store *s)
{
	int64_t due = next_due_ms(s);
	atomic_store(&s->sleeping, true);
	while (list_empty(&s->queue) && !s->stopping && !s->kicked &&
	       !atomic_load(&s->st.dead)) {
		int64_t now = store_mono_ms(s);
		if (due <= now)
			break;
		if (due == INT64_MAX || s->clock != clock_real()) { /* a clock turned by hand says so itself: store_kick */
			pthread_cond_wait(&s->cond, &s->lock);
			continue;
		}
		struct timespec at = { .tv_sec = (time_t)(due / 1000), .tv_nsec = (long)(due % 1000 * NS_PER_MS) };
		if (pthread_cond_timedwait(&s->cond, &s->lock, &at) == ETIMEDOUT)
			break;
	}
	atomic_store(&s->sleeping, false);
	s->kicked = false;
}

/* ---- one batch */

static void refuse(struct store_call *c, const struct err *err)
{
	if (c->kind_ == CALL_TXN)
		store_txn_results_clear((struct store_txn *)c);
	err_set(&c->err, err->class, "%s", err_msg(err));
	c->err.errnum = err->errnum;
	c->err.retry_ms = RETRY_MS;
}

static void grant(struct store *s, struct other_call *c)
{
	int64_t id = c->number, ttl_ms = c->number2;
	if (ttl_ms < 1000 || ttl_ms > INT64_MAX / 4 || id < 0) {
		err_set(&c->call.err, ERR_INVALID_REQUEST, "lease %lld of %lld ms: at least 1000 ms and no negative id",
			(long long)id, (long long)ttl_ms);
		return;
	}
	if (id && store_lease_get(s, id)) {
		err_set(&c->call.err, ERR_EXISTS, "lease already exists: %lld", (long long)id);
		return;
	}
	while (!id || store_lease_get(s, id)) {
		rng_secret(&id, sizeof(id));
		id &= INT64_MAX;
	}
	(void)store_lease_add(s, id, ttl_ms); /* taken back if the batch fails */
	store_lease_stage(s, id, ttl_ms);
	c->call.lease = id;
	c->call.ttl_ms = ttl_ms;
}

static struct lease *lease_of(struct store *s, struct other_call *c)
{
	struct lease *l = store_lease_get(s, c->number);
	if (!l || l->ending) {
		err_set(&c->call.err, ERR_NOT_FOUND, "requested lease not found: %lld", (long long)c->number);
		return NULL;
	}
	c->call.lease = l->id;
	c->call.ttl_ms = l->ttl_ms;
	return l;
}

static void apply(struct store *s, struct store_call *call, int64_t at_ms)
{
	struct other_call *c = (struct other_call *)call;
	struct lease *l;
	switch ((enum call_kind)call->kind_) {
	case CALL_TXN:
		store_txn_apply(s, (struct store_txn *)call, at_ms);
		break;
	case CALL_GRANT:
		grant(s, c);
		break;
	case CALL_KEEP:
		if ((l = lease_of(s, c)))
			l->ends_ms = store_mono_ms(s) + l->ttl_ms;
		break;
	case CALL_REVOKE: /* from now on it takes no keys; the deletions follow in this and the next batches */
		if ((l = lease_of(s, c)))
			l->ending = true;
		break;
	case CALL_COMPACT:
		if (c->number > s->st.rev)
			err_set(&call->err, ERR_INVALID_REQUEST, "required revision %lld is a future revision, current is %lld",
				(long long)c->number, (long long)s->st.rev);
		else if (c->number <= s->st.floor_rev)
			err_set(&call->err, ERR_EXPIRED, "required revision %lld has been compacted", (long long)c->number);
		else
			s->compact_rev = MAX(s->compact_rev, c->number);
		break;
	case CALL_BACKUP:
		s->flush_now = true;
		break;
	case CALL_SYNC:
	case CALL_HISTORY:
	case CALL_HISTORY_AT:
	case CALL_KIND_COUNT:
		break;
	}
}

/* Leases whose time is up, and the rest of those that are being ended. */
static void end_leases(struct store *s, int64_t at_ms, struct list *ended)
{
	int64_t now = store_mono_ms(s);
	if (now < s->retry_ms)
		return;
	LIST_EACH(&s->lease_list, l, struct lease, link) {
		if (!l->ending && l->ends_ms > now)
			continue;
		if (s->n_changes > BATCH_CALLS)
			break;
		l->ending = true;
		if (store_lease_end_step(s, l, at_ms)) {
			list_remove(&l->link);
			list_push(ended, &l->link);
		}
	}
}

/* Ends before the next flush by time, and its owner is not late by a whole interval (nor has the clock been turned). */
static bool ends_soon(struct store *s, const struct store_item *it, int64_t at_ms)
{
	int64_t left_ms = it->at_ms + s->o.fleeting_ms - at_ms;
	return it->dirty_ == DIRT_FLEETING && s->o.fleeting_ms && left_ms <= s->o.volatile_flush_ms &&
	       left_ms > -s->o.volatile_flush_ms;
}

/* What is dirty, or what of it does not end soon. */
static void flush(struct store *s, bool all, int64_t at_ms)
{
	struct store_snapshot view = { .root = s->st.root, .rev = s->st.rev };
	struct store_iter it;
	if (store_iter_init(&it, &view, SPAN_EMPTY, SPAN_EMPTY, 0, NULL) < 0)
		return; /* cannot be: no prefix, no revision */
	for (const struct store_item *item; (item = store_iter_next(&it));)
		if (item->dirty_ && (all || !ends_soon(s, item, at_ms)))
			store_change_flush(s, (struct store_item *)item);
	store_iter_done(&it);
}

static bool trim_due(struct store *s)
{
	if (store_state_full(&s->st))
		return false;
	return s->compact_rev > s->st.floor_rev ||
	       store_state_ring_due(&s->st, store_mono_ms(s) - s->o.history_ms, (uint64_t)s->o.history_bytes);
}

/* Writes what is staged and publishes; true when events came out of it. Negative class: nothing happened. */
static int conclude(struct store *s, bool *out_events, struct err *err)
{
	struct disk_batch *b = &s->batch;
	*out_events = false;
	if (s->volatile_used && s->st.rev > s->disk.reserved)
		b->reserve = s->st.rev + RESERVE_BLOCK;
	if (b->n_rows || b->n_leases || b->reserve) {
		int code = store_disk_commit(&s->disk, b, store_mono_ms(s), err);
		if (code < 0)
			return code;
		s->syncs++;
		s->idle_work = true;
		s->disk.cached = true;
		s->last_error = 0;
		s->retry_ms = 0;
	}
	*out_events = s->st.n_staged > 0;
	if (*out_events || trim_due(s)) {
		if (trim_due(s))
			store_state_ring_trim(&s->st, store_mono_ms(s) - s->o.history_ms, (uint64_t)s->o.history_bytes,
					      s->compact_rev);
		store_state_commit(&s->st, s->st.rev, store_mono_ms(s));
		s->commits++;
	}
	s->compact_rev = 0;
	store_changes_follow(s);
	return 0;
}

static void begin(struct store *s)
{
	store_state_begin(&s->st);
	s->next_row = s->disk.last_row + 1;
	s->volatile_used = false;
}

static void drop(struct store *s)
{
	s->burnt_rev = MAX(s->burnt_rev, s->st.rev);
	store_state_drop(&s->st);
	store_changes_forget(s);
}

static void batch_failed(struct store *s, struct list *batch, struct list *ended, const struct err *err, bool *out_events)
{
	drop(s);
	s->last_error = err->class;
	s->retry_ms = store_mono_ms(s) + RETRY_MS; /* what nobody asked for: flushes, ends of leases */
	/* Ended leases stay, ending, and are tried again. */
	list_append(&s->lease_list, ended);
	begin(s);
	LIST_EACH(batch, c, struct store_call, link_) {
		bool again = c->kind_ == CALL_TXN && ((struct store_txn *)c)->dirt;
		if (c->kind_ == CALL_GRANT && c->lease && store_lease_get(s, c->lease))
			store_lease_remove(s, store_lease_get(s, c->lease));
		if (c->err.class)
			continue; /* refused for a reason of its own */
		if (again) {
			store_txn_results_clear((struct store_txn *)c);
			apply(s, c, store_unix_ms(s));
		} else if (c->kind_ == CALL_TXN || c->kind_ == CALL_GRANT || c->kind_ == CALL_REVOKE || c->kind_ == CALL_BACKUP) {
			refuse(c, err);
		}
	}
	auto_err struct err second = ERR_INIT;
	/* Deleting what has a record on disk is durable even in a volatile transaction: those are refused too. */
	if (s->batch.n_rows || conclude(s, out_events, &second) < 0) {
		drop(s);
		LIST_EACH(batch, c, struct store_call, link_)
			if (c->kind_ == CALL_TXN && !c->err.class)
				refuse(c, err);
	}
}

static void after(struct store *s, struct store_call *call)
{
	if (call->kind_ != CALL_TXN || call->err.class)
		call->rev = s->st.published->rev;
	if (call->err.class)
		return;
	if (call->kind_ == CALL_HISTORY)
		store_undo_history(s, (struct other_call *)call);
	if (call->kind_ == CALL_HISTORY_AT)
		store_undo_history_at(s, (struct other_call *)call);
}

static void answer(struct store *s, struct list *calls, bool events)
{
	LIST_EACH(calls, c, struct store_call, link_) {
		list_remove(&c->link_);
		if (c->port_) {
			store_port_answer(c->port_, c);
		} else {
			c->done(c, c->arg);
			store_call_free(c);
		}
	}
	store_ports_wake(s, events);
}

static void status_update(struct store *s)
{
	const struct state *st = &s->st;
	if (s->disk.written_since > 256 << 10)
		store_disk_measure(&s->disk);
	struct store_status now = {
		.rev = st->published->rev,
		.floor_rev = st->floor_rev,
		.items = st->published->root ? st->published->root->total : 0,
		.live_bytes = s->live_bytes,
		.ring_events = st->ring_events,
		.ring_bytes = st->ring_bytes,
		.undo_rows = s->undo.rows,
		.undo_bytes = s->undo.bytes,
		.dirty_bytes = s->dirty_bytes,
		.snapshots = st->n_live,
		.disk_bytes = s->disk.pages * s->disk.page_size,
		.disk_used_bytes = (s->disk.pages - s->disk.free_pages) * s->disk.page_size,
		.wal_bytes = (uint64_t)s->disk.wal_pages * s->disk.page_size,
		.quota_bytes = (uint64_t)s->o.quota_bytes,
		.commits = s->commits,
		.syncs = s->syncs,
		.last_error = s->last_error,
		.leases = s->leases.n,
	};
	pthread_mutex_lock(&s->lock);
	s->status = now;
	pthread_mutex_unlock(&s->lock);
}

static void run_batch(struct store *s, struct list *work)
{
	struct list batch, ended, backups;
	list_init(&batch);
	list_init(&ended);
	list_init(&backups);
	int64_t at_ms = store_unix_ms(s);
	size_t calls = 0, bytes = 0;
	store_state_reap(&s->st);
	begin(s);
	while (!list_empty(work) && calls < BATCH_CALLS && bytes < BATCH_BYTES) {
		struct store_call *c = LIST_POP(work, struct store_call, link_);
		list_push(&batch, &c->link_);
		if (store_state_full(&s->st)) {
			err_set(&c->err, ERR_UNAVAILABLE, "readers hold a million old snapshots; release some");
			continue;
		}
		apply(s, c, at_ms);
		calls++;
		bytes += c->kind_ == CALL_TXN ? ((struct store_txn *)c)->bytes : 0;
	}
	bool flushed = false;
	if (!store_state_full(&s->st)) {
		end_leases(s, at_ms, &ended);
		flushed = s->flush_now || flush_due_ms(s) <= store_mono_ms(s);
		if (flushed)
			flush(s, s->flush_now || too_dirty(s), at_ms);
	}
	s->flush_now = false;
	bool events = false;
	auto_err struct err err = ERR_INIT;
	if (conclude(s, &events, &err) < 0)
		batch_failed(s, &batch, &ended, &err, &events);
	else if (flushed)
		s->dirty_since_ms = store_mono_ms(s); /* what was left out waits for the next one */
	LIST_EACH(&ended, l, struct lease, link)
		store_lease_remove(s, l);
	LIST_EACH(&batch, c, struct store_call, link_) {
		after(s, c);
		if (c->kind_ == CALL_BACKUP && !c->err.class) {
			list_remove(&c->link_);
			list_push(&s->backups, &c->link_);
		}
	}
	store_backup_step(s, &batch);
	status_update(s);
	answer(s, &batch, events);
}

/* ---- housekeeping */

/* One step; false when there is nothing left to do (or it failed and is to be tried later). */
static bool idle_step(struct store *s)
{
	auto_err struct err err = ERR_INIT;
	if (!s->idle_work && s->disk.cached && store_mono_ms(s) >= s->busy_ms + REST_MS)
		store_disk_rest(&s->disk);
	if (!s->idle_work || store_mono_ms(s) < MAX(s->idle_retry_ms, s->busy_ms + IDLE_MS))
		return false;
	int code = 0;
	bool more = true;
	if (store_undo_due(s, false)) {
		code = store_undo_thin(s, false, &err);
	} else if (s->disk.wal_pages >= s->o.wal_pages) {
		code = store_disk_checkpoint(&s->disk, false, &err);
		if (code == 0 && s->disk.wal_pages >= s->o.wal_pages) { /* another program reads the file */
			s->idle_retry_ms = store_mono_ms(s) + RETRY_MS;
			return false;
		}
	} else if (!store_disk_shrink(&s->disk, &err)) {
		s->idle_work = false;
		more = false;
		code = err.class ? -(int)err.class : 0;
	}
	s->idle_retry_ms = 0;
	status_update(s);
	if (code < 0) {
		s->idle_work = true;
		s->idle_retry_ms = store_mono_ms(s) + RETRY_MS;
		return false;
	}
	return more;
}

/* Under steady load there is no idle moment: what has grown too far is done at once. */
static void forced_step(struct store *s)
{
	if (store_mono_ms(s) < s->idle_retry_ms)
		return;
	int code = 0;
	if (s->disk.wal_pages / 8 >= s->o.wal_pages) {
		code = store_disk_checkpoint(&s->disk, false, NULL);
		if (s->disk.wal_pages / 8 >= s->o.wal_pages)
			code = -ERR_IO; /* not all of it: do not try with every batch */
	}
	if (code == 0 && s->undo.bytes > 2 * MAX(s->live_bytes, (uint64_t)(1 << 20)))
		code = store_undo_thin(s, false, NULL);
	s->idle_retry_ms = code < 0 ? store_mono_ms(s) + RETRY_MS : 0;
}

static void finish(struct store *s)
{
	struct list none;
	list_init(&none);
	store_backup_abort(s, &none);
	answer(s, &none, false);
	begin(s);
	flush(s, true, 0);
	/* A block of revisions was reserved; only so many were used. */
	if (s->disk.reserved > s->st.rev)
		s->batch.reserve = s->st.rev;
	bool events;
	if (conclude(s, &events, &s->close_err) < 0)
		drop(s);
	else if (s->idle_work || s->disk.wal_pages)
		(void)store_disk_checkpoint(&s->disk, true, NULL); /* the log is complete without it */
}

static void *committer(void *arg)
{
	struct store *s = arg;
	struct list work;
	list_init(&work);
	bool stopping = false, idle = false;
	while (!stopping || !list_empty(&work)) {
		pthread_mutex_lock(&s->lock);
		if (list_empty(&work) && !idle)
			wait_for_work(s);
		list_append(&work, &s->queue);
		stopping = s->stopping;
		pthread_mutex_unlock(&s->lock);
		bool had_work = !list_empty(&work);
		if (had_work)
			s->busy_ms = store_mono_ms(s);
		if (had_work || !idle || s->backup)
			run_batch(s, &work);
		forced_step(s);
		idle = list_empty(&work) && !stopping && (s->backup || !list_empty(&s->backups) || idle_step(s));
	}
	finish(s);
	return NULL;
}

int store_committer_start(struct store *s, struct err *err)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&s->thread, NULL, committer, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return err_sys_num(err, rc, "starting the committer");
	s->has_thread = true;
	(void)pthread_setname_np(s->thread, "committer"); /* only for people who look */
	return 0;
}

void store_committer_stop(struct store *s)
{
	if (!s->has_thread)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	s->has_thread = false;
}
