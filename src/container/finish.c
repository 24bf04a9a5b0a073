/* A container's end: what it leaves is cleared away, then everybody is told, then its policy decides.
 *
 *     monitor says it ended ─> RUNNING, ending ──worker: container_clear──> EXITED ──policy──> RESTARTING ──timer──> start
 *                                                                             └──AutoRemove──> remove
 *
 * A fleeting one has EXITED at once: nobody looks at its files again, and who makes its successor need not wait for the unmounting.
 * Its operations wait until it is cleared away all the same (op.c). */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "container/private.h"
#include "runtime/runtime.h"
#include "sys/sys.h"

#define BACK_OFF_FIRST_MS 100
#define BACK_OFF_MAX_MS 60000
#define BACK_OFF_RESET_NS (10 * NS_PER_S)

struct finish {
	struct loop_work work;
	struct container *c;
	struct arena arena;
	struct json plan; /* the worker's: the container's document may change meanwhile */
	struct monitor_exit end;
	bool told, remove;
	bool later; /* the removal that follows takes along what nobody can see: empty groups, the folders in RUN */
	struct err err;
};

const char *container_path(struct arena *a, const struct container *c, const char *name)
{
	return arena_printf(a, "%s/containers/%s%s%s", c->e->dir, c->id, name ? "/" : "", name ? name : "").ptr;
}

const char *container_run_path(struct arena *a, const struct container *c, const char *name)
{
	return arena_printf(a, "%s/containers/%s%s%s", c->e->run_dir, c->id, name ? "/" : "", name ? name : "").ptr;
}

static int unmount(const char *path, struct err *err)
{
	/* Somebody may still look at it (a process of the host in that folder): it goes when they do. */
	if (umount2(path, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
		return 0;
	if (errno == EBUSY && umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) == 0)
		return 0;
	return err_sys(err, "unmount %s", path);
}

int container_unmount(struct container_engine *e, const char *id, struct err *err)
{
	auto_arena struct arena a = {};
	const char *run = arena_printf(&a, "%s/containers/%s", e->run_dir, id).ptr;
	int rc = unmount(arena_printf(&a, "%s/rootfs", run).ptr, err);
	return rc < 0 ? rc : unmount(arena_printf(&a, "%s/shm", run).ptr, err);
}

/* config.json, the places of mounts, and the temporary file of an engine that was killed while it wrote: of whatever name. Nothing
 * below them: should a mount still be there, what is in it is not ours to remove. */
static int run_folder_remove(const char *run, struct err *err)
{
	DIR *list = opendir(run);
	struct dirent *d;
	if (!list)
		return errno == ENOENT ? 0 : err_sys(err, "open %s", run);
	while ((d = readdir(list)))
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 && unlinkat(dirfd(list), d->d_name, 0) < 0 &&
		    (errno == EISDIR || errno == EPERM))
			(void)unlinkat(dirfd(list), d->d_name, AT_REMOVEDIR); /* what stays keeps the folder, which is said below */
	closedir(list);
	return rmdir(run) < 0 && errno != ENOENT ? err_sys(err, "remove %s", run) : 0;
}

int container_clear(struct container_engine *e, const char *id, struct err *err)
{
	auto_arena struct arena a = {};
	const char *runtime = arena_printf(&a, "%s/runtime", e->run_dir).ptr;
	const char *run = arena_printf(&a, "%s/containers/%s", e->run_dir, id).ptr;
	struct runtime_opts opts = { .root = runtime, .id = id };
	auto_err struct err why = ERR_INIT;
	int rc = runtime_delete(runtime, id, true, &opts, &why);
	if (rc < 0 && rc != -ERR_NOT_FOUND) {
		err_move(err, &why);
		return err_note(err, "clearing away container %s", id);
	}
	FAILPOINT("container.clear.deleted");
	rc = container_unmount(e, id, err);
	if (rc < 0)
		return rc;
	FAILPOINT("container.clear.unmounted");
	return run_folder_remove(run, err);
}

void container_exit_set(struct container *c, const struct monitor_exit *end)
{
	c->exit_code = end->exit_code;
	if (c->started_ns < end->started_ns)
		c->started_ns = end->started_ns;
	/* Somebody may have set the clock back meanwhile: nothing ends before it began. */
	c->finished_ns = MAX(end->finished_ns, c->started_ns);
	c->oom_killed = end->oom_kills > 0;
	c->pid = 0;
	free(c->error);
	c->error = end->class && end->class != ERR_GONE && end->error[0] ? mem_dup(end->error, strlen(end->error)) : NULL;
	if (end->class == ERR_GONE)
		c->error = mem_dup("its monitor was killed", strlen("its monitor was killed"));
	c->status = STATUS_EXITED;
}

bool container_restart_wanted(const struct container *c, bool at_boot)
{
	const struct json *policy = json_getl(c->host, "RestartPolicy");
	struct span name = container_str(policy, "Name");
	int64_t max = container_num(policy, "MaximumRetryCount");
	if (span_is(name, "always"))
		return at_boot || !c->manually_stopped;
	if (c->manually_stopped)
		return false;
	if (span_is(name, "unless-stopped"))
		return true;
	return span_is(name, "on-failure") && c->exit_code != 0 && (max == 0 || c->restart_count < max);
}

static void restart_due(struct loop_timer *t)
{
	struct container *c = container_of(t, struct container, restart_timer);
	if (!c->e->closing)
		container_start_op(c, NULL, true);
}

static void restart_plan(struct container *c)
{
	bool long_run = c->finished_ns - c->started_ns >= BACK_OFF_RESET_NS;
	c->back_off_ms = long_run || !c->back_off_ms ? BACK_OFF_FIRST_MS : MIN(c->back_off_ms * 2, BACK_OFF_MAX_MS);
	c->restart_count++;
	c->status = STATUS_RESTARTING;
	c->restart_timer.fn = restart_due;
	loop_timer_start(&c->restart_timer, c->back_off_ms);
}

static void finish_run(struct loop_work *w)
{
	struct finish *f = container_of(w, struct finish, work);
	struct container_engine *e = f->c->e;
	int rc = f->later ? container_unmount(e, f->c->id, &f->err) : container_clear(e, f->c->id, &f->err);
	if (rc == 0)
		container_mounts_end(e, f->c->id, &f->plan);
}

/* From here on it has ended for everybody who looks. */
static void tell(struct finish *f)
{
	struct container *c = f->c;
	struct container_engine *e = c->e;
	char code[16], seconds[24];
	bool paused = c->status == STATUS_PAUSED;
	container_exit_set(c, &f->end);
	c->oom_killed |= c->oom && f->end.signal == SIGKILL;
	bool restart = !e->closing && container_restart_wanted(c, false);
	f->remove = !restart && container_truth(c->host, "AutoRemove") && !e->closing;
	if (restart)
		restart_plan(c);
	else
		c->back_off_ms = 0;
	container_users_update(c, false);
	loop_timer_stop(&c->record_timer);
	if (container_is_fleeting(c))
		loop_timer_start(&c->record_timer, CONTAINER_RECORD_MS);
	else if (!f->remove)
		(void)container_record_save(c, false, NULL); /* exit.json is on disk and says the same */
	snprintf(code, sizeof(code), "%d", c->exit_code);
	snprintf(seconds, sizeof(seconds), "%lld", (long long)MAX((c->finished_ns - c->started_ns) / NS_PER_S, (int64_t)0));
	if (paused)
		container_event_send(c, "unpause", NULL);
	container_event_send(c, "die", "exitCode", code, "execDuration", seconds, NULL);
}

static void finish_done(struct loop_work *w)
{
	struct finish *f = container_of(w, struct finish, work);
	struct container *c = f->c;
	struct container_engine *e = c->e;
	if (f->err.class) /* tried again by the next start, or when the engine opens */
		container_warn(e, "a container left something behind", c->id, &f->err);
	else
		c->run_left = f->later ? RUN_LEFT_FILES : RUN_LEFT_NOTHING;
	if (!f->told)
		tell(f);
	bool remove = f->remove;
	c->ending = NULL;
	err_done(&f->err);
	arena_done(&f->arena);
	free(f);
	for (struct end_listener *l; (l = LIST_POP(&c->end_listeners, struct end_listener, link));)
		l->fn(l);
	container_waits_ended(c);
	/* Behind the answers, as Docker's events have it too: nobody can ask for the ports before this turn is over. The removal goes
	 * first, so that its worker is at it while the network is taken back here. */
	if (remove) {
		container_remove_op(c, CONTAINER_RM_FORCE | CONTAINER_RM_VOLUMES, NULL);
		container_net_stop_later(c);
	} else {
		container_net_stop(c);
	}
	container_volume_events(c, VOLUME_UNMOUNTED);
	container_op_resume(c);
	container_busy(e, -1);
}

void container_ended(struct container *c, const struct monitor_exit *end)
{
	struct finish *f = mem_new(struct finish);
	const struct json *plan = json_getl(&c->doc, "Plan");
	f->c = c;
	f->plan = plan ? json_copy(&f->arena, plan) : json_array();
	f->end = *end;
	/* The end of a pid namespace's first process is the end of all in it. */
	struct span pids = container_str(c->host, "PidMode");
	bool all_ended = !c->e->closing && (!pids.len || span_is(pids, "private"));
	f->later = all_ended && container_is_volatile(c);
	f->told = all_ended && container_is_fleeting(c) && c->status == STATUS_RUNNING;
	c->ending = f;
	container_control_close(c);
	container_health_stopped(c);
	if (!container_is_volatile(c)) /* else it goes in a moment */
		container_pack_due(c);
	container_busy(c->e, 1);
	FAILPOINT("container.end.heard");
	if (f->told)
		tell(f);
	if (loop_work_submit(c->e->o.pool, c->e->o.loop, &f->work, "container end", finish_run, finish_done) < 0) {
		/* The pool is full: clearing away waits for the next start or open, the end does not. */
		err_set(&f->err, ERR_TOO_MANY, "too many operations are under way");
		loop_post_call(c->e->o.loop, (void (*)(void *))finish_done, &f->work);
	}
}
