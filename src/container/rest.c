/* What a removed container leaves on disk: the tree of its snapshot, its folder, what its last run left in RUN. Since the record is
 * gone nobody can see any of it any more, and an open removes it: so it need not be gone before the removal is answered. One
 * after the other, because deleting is the disk's work (a folder costs a discard of its own where the file system is mounted so:
 * 16 of them were 1 ms of a `run --rm`), and because starts want the other workers. When REST_MAX wait already, removals come
 * faster than the disk: they delete by themselves then, before they answer (container_rest_full). Closing waits for it. */
#include "container/private.h"

#define FULL_MS 50
#define REST_MAX 32

struct rest {
	struct list link;
	char id[65], snapshot[SNAPSHOT_REST_LEN];
	bool run_files;
};

static void next(struct container_engine *e);

static struct rest *first(struct container_engine *e)
{
	return LIST_FIRST(&e->rests, struct rest, link);
}

void container_rest_remove(struct container_engine *e, const char *id, const char *snapshot, bool run_files)
{
	auto_err struct err err = ERR_INIT;
	int rc = run_files ? container_clear(e, id, &err) : 0;
	if (rc == 0 && snapshot[0])
		rc = snapshot_rest_remove(e->o.snapshots, snapshot, &err);
	if (rc == 0) {
		FAILPOINT("container.remove.snapshot");
		rc = container_folder_remove(e->containers_fd, id, &err);
	}
	if (rc < 0)
		container_warn(e, "a removed container left something behind until the engine opens again", id, &err);
}

static void rest_run(struct loop_work *w)
{
	struct container_engine *e = container_of(w, struct container_engine, rest_work);
	const struct rest *r = first(e); /* the loop's thread only adds behind it */
	container_rest_remove(e, r->id, r->snapshot, r->run_files);
}

static void rest_done(struct loop_work *w)
{
	struct container_engine *e = container_of(w, struct container_engine, rest_work);
	free(LIST_POP(&e->rests, struct rest, link));
	e->n_rests--;
	next(e);
	container_busy(e, -1);
}

static void next(struct container_engine *e)
{
	if (first(e) && loop_work_submit(e->o.pool, e->o.loop, &e->rest_work, "container rest", rest_run, rest_done) < 0)
		loop_timer_start(&e->rest_timer, FULL_MS);
}

static void again(struct loop_timer *t)
{
	next(container_of(t, struct container_engine, rest_timer));
}

bool container_rest_full(const struct container_engine *e)
{
	return e->n_rests >= REST_MAX;
}

void container_rest_init(struct container_engine *e)
{
	list_init(&e->rests);
	loop_timer_init(&e->rest_timer, e->o.loop, "container rest", again);
}

void container_rest_add(struct container_engine *e, const char *id, const char *snapshot, bool run_files)
{
	struct rest *r = mem_new(struct rest);
	bool idle = !first(e);
	snprintf(r->id, sizeof(r->id), "%s", id);
	snprintf(r->snapshot, sizeof(r->snapshot), "%s", snapshot);
	r->run_files = run_files;
	list_push(&e->rests, &r->link);
	e->n_rests++;
	container_busy(e, 1);
	if (idle)
		next(e);
}
