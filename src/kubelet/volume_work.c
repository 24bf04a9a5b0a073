/* What of volumes takes as long as a disk does, on workers: removals, and the ownership of a claim's files. */
#include "kubelet/volume_impl.h"

/* Several, because one that waits for a disk that is dead must not hold the others up. */
enum { WORKERS = 4, RETRY_FIRST_MS = 500, RETRY_MAX_MS = 122000, LATE_MS = 60000 };

int64_t kl_vol_backoff_ms(unsigned failures)
{
	return failures < 8 ? RETRY_FIRST_MS << failures : RETRY_MAX_MS;
}

static int pool_begin(struct kl_volumes *v, struct err *err)
{
	return v->pool ? 0 : loop_pool_new(WORKERS, 100000, &v->pool, err);
}

/* ---- removals */

/* A removal: on the worker, repeated until it is done. */
struct removal {
	struct list link;
	struct loop_work work;
	struct loop_timer again, late;
	struct kl_volumes *v; /* NULL: forgotten while the worker had it */
	char *dir[2]; /* owned */
	unsigned failures;
	struct err why;
	void (*gone)(void *arg);
	void *arg;
};

static void removal_run(struct loop_work *w)
{
	struct removal *r = container_of(w, struct removal, work);
	for (int i = 0; i < 2 && r->dir[i] && !r->why.class; i++) {
		if (kl_tree_unmount(r->dir[i], &r->why) < 0)
			return;
		FAILPOINT("kubelet.volume.unmounted");
		(void)kl_tree_remove(r->dir[i], &r->why);
		FAILPOINT("kubelet.volume.removed");
	}
}

static void removal_free(struct removal *r)
{
	list_remove(&r->link);
	err_done(&r->why);
	free(r->dir[0]);
	free(r->dir[1]);
	free(r);
}

static void removal_done(struct loop_work *w)
{
	struct removal *r = container_of(w, struct removal, work);
	if (!r->v)
		return removal_free(r);
	loop_timer_stop(&r->late);
	if (r->why.class) {
		log_warn("volumes cannot be removed", kv_str("dir", r->dir[0]), kv_err(&r->why));
		err_done(&r->why);
		loop_timer_start(&r->again, kl_vol_backoff_ms(r->failures++));
		return;
	}
	void (*gone)(void *) = r->gone;
	void *arg = r->arg;
	removal_free(r);
	gone(arg);
}

static int64_t late_ms(const struct kl_volumes *v)
{
	return v->p.late_ms ? v->p.late_ms : LATE_MS;
}

static void removal_late(struct loop_timer *t)
{
	struct removal *r = container_of(t, struct removal, late);
	log_warn("a folder takes long to be removed: does its disk answer?", kv_str("dir", r->dir[0]));
	loop_timer_start(&r->late, late_ms(r->v));
}

static void removal_submit(struct loop_timer *t)
{
	struct removal *r = container_of(t, struct removal, again);
	if (pool_begin(r->v, &r->why) < 0)
		return removal_done(&r->work);
	loop_timer_start(&r->late, late_ms(r->v));
	if (loop_work_submit(r->v->pool, r->v->p.loop, &r->work, "remove volumes", removal_run, removal_done) < 0)
		loop_timer_start(&r->again, kl_vol_backoff_ms(0));
}

void kl_vol_remove(struct kl_volumes *v, char *dir, char *dir2, void (*gone)(void *arg), void *arg)
{
	struct removal *r = mem_new(struct removal);
	*r = (struct removal){ .v = v, .dir = { dir, dir2 }, .gone = gone, .arg = arg };
	list_push(&v->removals, &r->link);
	loop_timer_init(&r->again, v->p.loop, "remove volumes", removal_submit);
	loop_timer_init(&r->late, v->p.loop, "a removal that is late", removal_late);
	loop_timer_start(&r->again, 0);
}

/* ---- ownership: once for a volume of a pod, before it is said to be there */

struct vol_own {
	struct list link;     /* kl_volumes.ownings */
	struct loop_work work;
	struct vol *vol;      /* NULL: its pod left meanwhile */
	char *path;           /* owned */
	int64_t gid;
	bool mismatch;
	struct err why;
};

static void own_free(struct vol_own *o)
{
	list_remove(&o->link);
	err_done(&o->why);
	free(o->path);
	free(o);
}

static void own_run(struct loop_work *w)
{
	struct vol_own *o = container_of(w, struct vol_own, work);
	(void)kl_tree_own(o->path, o->gid, false, o->mismatch, &o->why);
}

static void own_done(struct loop_work *w)
{
	struct vol_own *o = container_of(w, struct vol_own, work);
	struct vol *vol = o->vol;
	if (vol) {
		vol->own = NULL;
		vol->owned = o->why.class == ERR_NONE;
		if (!vol->owned)
			err_move(&vol->own_why, &o->why);
		kl_vol_wake(vol);
	}
	own_free(o);
}

int kl_vol_own(struct vol *v, const char *path, int64_t gid, bool mismatch, struct err *err)
{
	struct kl_volumes *all = v->pod->v;
	if (v->owned)
		return 0;
	if (v->own)
		return err_set(err, ERR_UNAVAILABLE, "waiting for the group of its files");
	if (v->own_why.class != ERR_NONE)
		return err_move(err, &v->own_why); /* tried anew next time */
	int rc = pool_begin(all, err);
	if (rc < 0)
		return rc;
	struct vol_own *o = mem_new(struct vol_own);
	*o = (struct vol_own){ .vol = v, .path = mem_dup(path, strlen(path)), .gid = gid, .mismatch = mismatch };
	list_push(&all->ownings, &o->link);
	if (loop_work_submit(all->pool, all->p.loop, &o->work, "group of a volume", own_run, own_done) < 0) {
		own_free(o);
		return err_set(err, ERR_TOO_MANY, "too much is under way");
	}
	v->own = o;
	return err_set(err, ERR_UNAVAILABLE, "waiting for the group of its files");
}

void kl_vol_own_leave(struct vol *v)
{
	err_done(&v->own_why);
	if (!v->own)
		return;
	v->own->vol = NULL;
	if (loop_work_cancel(&v->own->work))
		own_free(v->own);
	v->own = NULL;
}

/* ---- the end */

/* Removals that are not through go on in the next life: whoever comes finds the folders. */
void kl_vol_works_done(struct kl_volumes *v)
{
	LIST_EACH(&v->removals, r, struct removal, link) {
		loop_timer_stop(&r->late);
		if (loop_timer_running(&r->again)) {
			loop_timer_stop(&r->again);
			removal_free(r);
		} else if (loop_work_cancel(&r->work)) {
			removal_free(r);
		} else {
			list_remove(&r->link);
			r->v = NULL;
		}
	}
	LIST_EACH(&v->ownings, o, struct vol_own, link)
		list_remove(&o->link);
	loop_pool_free(v->pool);
}

bool kl_volumes_owning(const struct kl_volumes *v)
{
	return !list_empty(&v->ownings);
}
