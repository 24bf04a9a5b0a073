/* Removal. The record goes first, synced: from then on there is no such container. What it held is given back: volumes, the image's
 * layers, its name. Then it is answered, and what is left of it (a tree, folders) is removed behind the answer (rest.c) or, after a
 * crash, when the engine opens. */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "container/private.h"
#include "runtime/runtime.h"

struct removal {
	struct op op;
	unsigned flags;
	struct ask ask;
	struct end_listener end;
	struct loop_timer patience; /* with the end */
	struct loop_task packed;    /* nobody compresses its log any more */
	struct json volumes_gone; /* those of its plan that went with it; an array */
	enum run_left run_left;
	char rest[SNAPSHOT_REST_LEN]; /* of its snapshot; "" = there was none */
	bool at_once;                 /* too much waits to be deleted already */
	bool gone;                    /* nothing is left to delete, or nothing that can be, which was told */
};

/* The folder has one level of folders: state/. */
int container_folder_remove(int at, const char *name, struct err *err)
{
	auto_fd int dir = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open %s", name);
	DIR *list = fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 0));
	struct dirent *d;
	if (!list)
		return err_sys(err, "list %s", name);
	while ((d = readdir(list))) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		if (unlinkat(dir, d->d_name, 0) < 0 && (errno == EISDIR || errno == EPERM)) {
			auto_fd int inner = openat(dir, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			DIR *below = inner < 0 ? NULL : fdopendir(fcntl(inner, F_DUPFD_CLOEXEC, 0));
			struct dirent *f;
			while (below && (f = readdir(below)))
				if (strcmp(f->d_name, ".") != 0 && strcmp(f->d_name, "..") != 0)
					(void)unlinkat(inner, f->d_name, 0); /* what stays makes the next step fail */
			if (below)
				closedir(below);
			(void)unlinkat(dir, d->d_name, AT_REMOVEDIR);
		}
	}
	closedir(list);
	return unlinkat(at, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? err_sys(err, "remove folder %s", name) : 0;
}

static void removal_run(struct loop_work *w)
{
	struct removal *r = OP_OF_WORK(removal, w);
	const struct container *c = r->op.c;
	struct container_engine *e = c->e;
	struct err *err = &r->op.err;
	if (r->run_left == RUN_LEFT_ALL && container_clear(e, c->id, err) < 0)
		return;
	auto_fd int dir = openat(e->containers_fd, c->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || (unlinkat(dir, "container.json", 0) < 0 && errno != ENOENT) ||
	    (!container_is_volatile(c) && fsync(dir) < 0)) {
		err_sys(err, "remove the record of container %s", c->id);
		return;
	}
	FAILPOINT("container.remove.committed");
	container_mounts_release(e, c->id, json_getl(&c->doc, "Plan"),
		(r->flags & CONTAINER_RM_VOLUMES) || container_truth(c->host, "AutoRemove"), &r->op.arena, &r->volumes_gone);
	FAILPOINT("container.remove.volumes");
	auto_err struct err why = ERR_INIT;
	int rc = snapshot_retire(e->o.snapshots, container_snapshot_key(&r->op.arena, e, c->id), r->rest, &why);
	if (rc < 0 && rc != -ERR_NOT_FOUND) {
		container_warn(e, "a removed container left something behind until the engine opens again", c->id, &why);
		r->gone = true;
	} else if (r->at_once) {
		container_rest_remove(e, c->id, r->rest, r->run_left == RUN_LEFT_FILES);
		r->gone = true;
	}
}

static void removal_done(struct loop_work *w)
{
	struct removal *r = OP_OF_WORK(removal, w);
	struct container *c = r->op.c;
	struct container_engine *e = c->e;
	auto_err struct err err = ERR_INIT, none = ERR_INIT;
	if (r->op.err.class) {
		err_move(&err, &r->op.err);
		err_note(&err, "container %s", c->id);
		c->status = STATUS_DEAD;
		container_users_update(c, false);
		(void)container_record_save(c, false, NULL); /* the error goes to who asked */
		container_waits_removed(c, err_msg(&err));
		if (!r->op.ticket.call)
			container_warn(e, "a container cannot be removed", c->id, &err);
		container_op_end(&r->op, &err);
		return;
	}
	JSON_EACH_ITEM (&r->volumes_gone, m)
		container_volume_event(c, VOLUME_DESTROYED, m);
	container_event_send(c, "destroy", NULL);
	container_users_update(c, true);
	map_remove(&e->by_id, span_of(c->id));
	map_remove(&e->by_name, span_of(c->name));
	list_remove(&c->link);
	err_set(&none, ERR_NOT_FOUND, "No such container: %s", c->id);
	container_streams_fail(&c->streams, &none);
	container_waits_removed(c, NULL);
	if (!r->gone)
		container_rest_add(e, c->id, r->rest, r->run_left == RUN_LEFT_FILES);
	container_op_end(&r->op, NULL);
	for (struct op *op; (op = LIST_FIRST(&c->ops, struct op, link));)
		container_op_end(op, &none);
	if (c->sources)
		c->gone = true;
	else
		container_free(c);
}

static void work_begin(struct loop_task *t)
{
	container_op_work(&container_of(t, struct removal, packed)->op, removal_run, removal_done);
}

static void clear_away(struct removal *r)
{
	struct container *c = r->op.c;
	loop_timer_stop(&c->restart_timer);
	loop_timer_stop(&c->record_timer);
	c->status = STATUS_REMOVING;
	r->run_left = c->run_left;
	r->at_once = container_rest_full(c->e);
	if (!container_pack_drop(c, &r->packed))
		work_begin(&r->packed);
}

static void killed(struct end_listener *l)
{
	struct removal *r = container_of(l, struct removal, end);
	loop_timer_stop(&r->patience);
	clear_away(r);
}

static void impatient(struct loop_timer *t)
{
	struct removal *r = container_of(t, struct removal, patience);
	auto_err struct err err = ERR_INIT;
	if (r->op.c->ending) /* it has ended, and is being cleared away */
		return;
	list_remove(&r->end.link);
	list_remove(&r->ask.link);
	err_set(&err, ERR_INTERNAL, "cannot remove container \"/%s\": could not kill container: " CONTAINER_NO_EXIT, r->op.c->name);
	container_op_end(&r->op, &err);
}

static void ask_done(struct ask *a, const struct err *err)
{
	/* OK, or it has ended meanwhile: killed() comes either way. */
}

static void thaw_run(struct loop_work *w)
{
	struct op *op = container_of(w, struct op, work);
	/* A group that is gone is thawed. */
	(void)runtime_freeze(arena_printf(&op->arena, "%s/runtime", op->c->e->run_dir).ptr, op->c->id, false, NULL);
}

static void kill_send(struct removal *r)
{
	struct container *c = r->op.c;
	list_push(&c->end_listeners, &r->end.link);
	if (c->ending)
		return;
	container_event_send(c, "kill", "signal", "9", NULL);
	loop_timer_start(&r->patience, CONTAINER_END_MS);
	(void)container_ask(c, &r->ask, MONITOR_KILL, SIGKILL, 0, ask_done, NULL); /* a failure: it is ending */
}

static void thawed(struct loop_work *w)
{
	struct removal *r = OP_OF_WORK(removal, w);
	if (container_is_running(r->op.c))
		kill_send(r);
	else
		clear_away(r);
}

static void removal_begin(struct op *op)
{
	struct removal *r = OP_OF(removal, op);
	struct container *c = op->c;
	auto_err struct err err = ERR_INIT;
	bool running = container_is_running(c);
	if ((running || c->status == STATUS_RESTARTING) && !(r->flags & CONTAINER_RM_FORCE)) {
		if (c->status == STATUS_PAUSED)
			err_set(&err, ERR_IN_USE, "cannot remove container \"/%s\": container is paused and must be unpaused first", c->name);
		else
			err_set(&err, ERR_IN_USE, "cannot remove container \"/%s\": container is %s: stop the container before removing or "
				"force remove", c->name, container_status_names[c->status]);
		container_op_end(op, &err);
		return;
	}
	if (!running) {
		clear_away(r);
		return;
	}
	c->manually_stopped = true;
	if (c->status == STATUS_PAUSED)
		container_op_work(op, thaw_run, thawed);
	else
		kill_send(r);
}

void container_remove_op(struct container *c, unsigned flags, struct container_call *call)
{
	struct removal *r = container_op_new(sizeof(*r), c, "container remove", removal_begin, call);
	r->volumes_gone = json_array();
	r->flags = flags;
	r->end.fn = killed;
	list_init(&r->ask.link);
	loop_task_init(&r->packed, work_begin);
	loop_timer_init(&r->patience, c->e->o.loop, "container remove", impatient);
	r->op.waiting_end = true;
	if (flags & CONTAINER_RM_FORCE)
		container_stops_hurry(c, 0);
	container_op_submit(&r->op);
}

void container_remove(struct container_engine *e, struct span name, unsigned flags, struct container_call *call)
{
	auto_err struct err err = ERR_INIT;
	struct container *c = container_get(e, name, &err);
	if (c && c->status == STATUS_REMOVING)
		err_set(&err, ERR_IN_USE, "removal of container %.*s is already in progress", SPAN_ARG(name));
	if (c && (flags & CONTAINER_RM_LINK))
		err_set(&err, ERR_INVALID_REQUEST, "links of containers cannot be removed by themselves: use a network of your own");
	if (err.class)
		container_fail_later(e, call, &err);
	else
		container_remove_op(c, flags, call);
}

/* ---- prune: one removal after the other */

struct prune {
	struct ticket ticket;
	struct container_engine *e;
	char (*ids)[65];
	size_t n, at;
	struct container_call one;
	struct arena arena;
	struct json deleted;
	uint64_t bytes, one_bytes;
	const char *key; /* of the snapshot that is counted */
	struct loop_work work;
};

static bool prunable(const struct container *c)
{
	return c && !container_is_running(c) && c->status != STATUS_RESTARTING && c->status != STATUS_REMOVING;
}

static void prune_next(struct prune *p);

static void prune_one_done(struct container_call *call, const struct err *err)
{
	struct prune *p = container_of(call, struct prune, one);
	if (!err) {
		json_push(&p->arena, &p->deleted, json_cstr(p->ids[p->at - 1]));
		p->bytes += p->one_bytes;
	}
	prune_next(p);
}

/* A walk over all of a container's files: not for the loop. */
static void prune_count(struct loop_work *w)
{
	struct prune *p = container_of(w, struct prune, work);
	uint64_t entries;
	if (snapshot_usage(p->e->o.snapshots, p->key, &entries, &p->one_bytes, NULL) < 0)
		p->one_bytes = 0; /* a number for people: what cannot be counted is not told as freed */
}

static void prune_uncounted(void *arg) /* also when the pool is full */
{
	struct prune *p = arg;
	struct container *c = map_get(&p->e->by_id, span_of(p->ids[p->at - 1]));
	if (!prunable(c)) { /* started or removed meanwhile */
		prune_next(p);
		return;
	}
	p->one = (struct container_call){ .done = prune_one_done };
	container_remove_op(c, 0, &p->one);
}

static void prune_counted(struct loop_work *w)
{
	prune_uncounted(container_of(w, struct prune, work));
}

static void prune_next(struct prune *p)
{
	while (p->at < p->n) {
		struct container *c = map_get(&p->e->by_id, span_of(p->ids[p->at++]));
		if (!prunable(c))
			continue;
		p->key = container_snapshot_key(&p->arena, p->e, c->id);
		p->one_bytes = 0;
		if (loop_work_submit(p->e->o.pool, p->e->o.loop, &p->work, "container prune", prune_count, prune_counted) < 0)
			loop_post_call(p->e->o.loop, prune_uncounted, p);
		return;
	}
	struct container_call *call = p->ticket.call;
	struct container_engine *e = p->e;
	if (call && call->arena) {
		call->result = json_object();
		json_setl(call->arena, &call->result, "ContainersDeleted", p->deleted.n ? json_copy(call->arena,
			&p->deleted) : JSON_NULL_VALUE);
		json_setl(call->arena, &call->result, "SpaceReclaimed", json_uint(p->bytes));
	}
	container_ticket_answer(&p->ticket, NULL);
	arena_done(&p->arena);
	free(p);
	container_busy(e, -1);
}

static void prune_begin(void *arg)
{
	prune_next(arg);
}

void container_prune(struct container_engine *e, bool (*want)(void *arg, const struct json *summary), void *arg,
	struct container_call *call)
{
	struct prune *p = mem_new(struct prune);
	auto_arena struct arena scratch = {};
	p->e = e;
	p->deleted = json_array();
	container_ids(e, &p->arena, &p->ids, &p->n);
	size_t kept = 0;
	for (size_t i = 0; i < p->n; i++) {
		struct container *c = map_get(&e->by_id, span_of(p->ids[i]));
		struct json summary;
		if (!prunable(c))
			continue;
		if (want && (container_summary(e, span_of(c->id), &scratch, &summary, NULL) < 0 || !want(arg, &summary)))
			continue;
		memmove(p->ids[kept++], p->ids[i], sizeof(p->ids[0]));
	}
	p->n = kept;
	container_ticket_take(&p->ticket, call);
	container_busy(e, 1);
	loop_post_call(e->o.loop, prune_begin, p);
}
