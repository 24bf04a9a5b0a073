/* Opening, closing, and the calls: the seam's thin front. The work is the committer's (store_commit.c). */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include "store/store_private.h"

static int embedded_close(struct store *s, struct err *err);

static const struct store_ops embedded = {
	.name = "embedded",
	.submit = store_committer_submit,
	.close = embedded_close,
	.kick = store_committer_kick,
};

/* One process a folder. The lock goes with the process, however it dies. */
static int lock_dir(struct store *s, struct err *err)
{
	auto_buf struct buf path = { 0 };
	buf_printf(&path, "%s/lock", s->dir);
	s->lock_fd = open(buf_cstr(&path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return err_sys(err, "opening %s", buf_cstr(&path));
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return err_sys(err, "locking %s", buf_cstr(&path));
		char pid[24] = "";
		ssize_t n = pread(s->lock_fd, pid, sizeof(pid) - 1, 0);
		return err_set(err, ERR_IN_USE, "%s is in use by another process (%.*s)", s->dir, n > 0 ? (int)n : 7,
			       n > 0 ? pid : "unknown");
	}
	char pid[24], had[24] = "";
	int n = snprintf(pid, sizeof(pid), "%d", (int)getpid());
	/* For people only, so no sync, a failure is no failure, and an unchanged text is not written again. */
	if (pread(s->lock_fd, had, sizeof(had) - 1, 0) != n || strcmp(had, pid) != 0)
		if (ftruncate(s->lock_fd, 0) < 0 || pwrite(s->lock_fd, pid, (size_t)n, 0) < 0)
			errno = 0;
	return 0;
}

static void store_free(struct store *s)
{
	store_state_done(&s->st);
	store_disk_close(&s->disk);
	store_leases_done(s);
	store_undo_done(&s->undo);
	free(s->changes);
	free(s->batch.rows);
	free(s->batch.leases);
	fd_close(&s->lock_fd);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->ports_lock);
	pthread_cond_destroy(&s->cond);
	err_done(&s->close_err);
	free(s->dir);
	free(s);
}

int store_open(const struct store_options *o, struct store **out_store, struct err *err)
{
	struct store *s = mem_new(struct store);
	s->ops = &embedded;
	s->o = *o;
	s->clock = o->clock ? o->clock : clock_real();
	s->o.quota_bytes = o->quota_bytes ? o->quota_bytes : INT64_C(8) << 30;
	s->o.history_ms = o->history_ms ? o->history_ms : 5 * 60 * 1000;
	s->o.history_bytes = o->history_bytes ? o->history_bytes : 64 << 20;
	s->o.undo_ms = o->undo_ms ? o->undo_ms : 24 * 3600 * 1000;
	s->o.volatile_flush_ms = o->volatile_flush_ms ? o->volatile_flush_ms : 3600 * 1000;
	s->o.volatile_bytes = o->volatile_bytes ? o->volatile_bytes : 4 << 20;
	s->o.fleeting_ms = MIN(o->fleeting_ms, INT64_MAX / 4); /* it is added to Unix times */
	s->o.wal_pages = o->wal_pages ? o->wal_pages : 512;
	s->dir = mem_dup(o->dir, strlen(o->dir));
	s->o.dir = s->dir;
	s->lock_fd = -1;
	s->st.on_dead = store_committer_on_dead;
	s->st.on_dead_arg = s;
	s->st.detach = o->detach;
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->cond, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->ports_lock, NULL);
	list_init(&s->queue);
	list_init(&s->ports);
	list_init(&s->lease_list);
	list_init(&s->backups);

	auto_buf struct buf path = { 0 };
	buf_printf(&path, "%s/store.db", s->dir);
	s->disk.path = buf_take(&path, NULL);
	int code = io_mkdirs(AT_FDCWD, s->dir, 0700, err);
	if (code == 0)
		code = lock_dir(s, err);
	if (code == 0)
		code = store_disk_open(s, err);
	if (code == 0)
		code = store_committer_start(s, err);
	if (code < 0) {
		store_free(s);
		return code;
	}
	*out_store = s;
	return 0;
}

static int embedded_close(struct store *s, struct err *err)
{
	store_committer_stop(s);
	pthread_mutex_lock(&s->ports_lock);
	assert(list_empty(&s->ports));
	pthread_mutex_unlock(&s->ports_lock);
	int code = -(int)s->close_err.class;
	if (code && err)
		err_move(err, &s->close_err);
	store_free(s);
	return code;
}

int store_close(struct store *s, struct err *err)
{
	return s->ops->close(s, err);
}

void store_kick(struct store *s)
{
	s->ops->kick(s);
}

struct store_snapshot *store_snapshot(struct store *s)
{
	return store_state_acquire(&s->st);
}

void store_status(struct store *s, struct store_status *out_status)
{
	pthread_mutex_lock(&s->lock);
	*out_status = s->status;
	pthread_mutex_unlock(&s->lock);
}

/* ---- calls */

static void submit(struct store *s, struct store_call *call, struct store_port *port, store_done_fn *done, void *arg)
{
	call->port_ = port;
	call->done = done;
	call->arg = arg;
	s->ops->submit(s, call);
}

void store_commit(struct store *s, struct store_txn *t, struct store_port *port, store_done_fn *done, void *arg)
{
	submit(s, &t->call, port, done, arg);
}

static struct other_call *other_new(enum call_kind kind, struct span key, int64_t number, int64_t number2)
{
	struct other_call *c = mem_new(struct other_call);
	list_init(&c->call.link_);
	c->call.kind_ = (int)kind;
	c->key = bytes_of(key);
	c->number = number;
	c->number2 = number2;
	return c;
}

void store_sync(struct store *s, struct store_port *port, store_done_fn *done, void *arg)
{
	submit(s, &other_new(CALL_SYNC, SPAN_EMPTY, 0, 0)->call, port, done, arg);
}

void store_lease_grant(struct store *s, int64_t id, int64_t ttl_ms, struct store_port *port, store_done_fn *done, void *arg)
{
	submit(s, &other_new(CALL_GRANT, SPAN_EMPTY, id, ttl_ms)->call, port, done, arg);
}

void store_lease_keep(struct store *s, int64_t id, struct store_port *port, store_done_fn *done, void *arg)
{
	submit(s, &other_new(CALL_KEEP, SPAN_EMPTY, id, 0)->call, port, done, arg);
}

void store_lease_revoke(struct store *s, int64_t id, struct store_port *port, store_done_fn *done, void *arg)
{
	submit(s, &other_new(CALL_REVOKE, SPAN_EMPTY, id, 0)->call, port, done, arg);
}

void store_compact(struct store *s, int64_t rev, struct store_port *port, store_done_fn *done, void *arg)
{
	submit(s, &other_new(CALL_COMPACT, SPAN_EMPTY, rev, 0)->call, port, done, arg);
}

void store_history(struct store *s, struct span key, uint32_t limit, int64_t next, struct store_port *port,
		   store_done_fn *done, void *arg)
{
	struct other_call *c = other_new(CALL_HISTORY, key, next, 0);
	c->limit = limit;
	submit(s, &c->call, port, done, arg);
}

void store_history_at(struct store *s, struct span prefix, int64_t rev, int64_t at_ms, int64_t next,
		      struct store_port *port, store_done_fn *done, void *arg)
{
	struct other_call *c = other_new(CALL_HISTORY_AT, prefix, next, rev);
	c->number3 = at_ms;
	submit(s, &c->call, port, done, arg);
}

void store_backup(struct store *s, const char *path, struct store_port *port, store_done_fn *done, void *arg)
{
	submit(s, &other_new(CALL_BACKUP, span_of(path), 0, 0)->call, port, done, arg);
}
