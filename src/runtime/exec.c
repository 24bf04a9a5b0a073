/* One more process in a running container.
 *
 * The parent stays outside. The process is born in the container's pid and user namespace (an intermediate process joins
 * those and clones), enters the cgroup, then the other namespaces, through one pidfd of the first process, so that
 * all of them belong to the container that was checked. What could be of use to somebody inside who watches it come is closed
 * or unwritable: the process cannot be traced (undumpable), its program file is on a read-only mount (protect.c). */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/plan.h"

struct exec {
	const struct exec_wish *wish;
	const struct state *state;
	const struct config *config; /* the container's */
	struct sys_cgroup *cgroup;
	int pidfd;		 /* of the first process */
	int ns_fd[SYS_NS_COUNT]; /* the same namespaces one by one, for kernels whose setns takes no pidfd; -1 */
	int sync;
	bool into_v2; /* born in the v2 group already */
	struct filter filter;
};

static void parent_warn(void *arg, const char *text)
{
	const struct exec *b = arg;
	(void)runtime_sync_send(b->sync, SYNC_WARN, 0, 0, text, -1); /* nobody left to warn */
}

static int namespaces_join(const struct exec *b, struct err *err)
{
	uint64_t rest = b->state->ns_flags & ~(uint64_t)(CLONE_NEWUSER | CLONE_NEWPID);
	if (!rest)
		return 0;
	if (setns(b->pidfd, (int)rest) == 0)
		return 0;
	if (errno != EINVAL && errno != EBADF && errno != EPERM)
		return err_sys(err, "join the container's namespaces");
	/* Before Linux 5.8 one by one; the mount namespace last, because names change with it. */
	for (int i = SYS_NS_COUNT - 1; i > SYS_NS_USER; i--)
		if ((rest & sys_ns_rows[i].flag) && setns(b->ns_fd[i], (int)sys_ns_rows[i].flag) < 0)
			return err_sys(err, "join the container's %s namespace", sys_ns_rows[i].name);
	return 0;
}

static int affinity_set(const char *cpus, bool may_lack, struct err *err)
{
	cpu_set_t set;
	if (!cpus || !runtime_config_cpus_parse(cpus, &set) || sched_setaffinity(0, sizeof(set), &set) == 0)
		return 0;
	return may_lack && errno == EINVAL ? 0 : err_sys(err, "process.execCPUAffinity: %s", cpus);
}

static int build(struct exec *b, struct final *f, struct err *err)
{
	const struct config_process *p = b->wish->process;
	bool in_userns = b->state->ns_flags & CLONE_NEWUSER;
	int r = runtime_birth_session(!in_userns, err), errnum = 0;
	/* "before the transition to container's cgroup" (config.md): who was born in it has no before, and may lack these CPUs. */
	if (r == 0 && (!b->into_v2 || !p->cpus_final))
		r = affinity_set(p->cpus_initial, b->into_v2, err);
	if (r == 0 && FAILPOINT_ERR("runtime.exec.step", &errnum))
		r = err_sys_num(err, errnum, "failpoint");
	r = r < 0 ? r : sys_cgroup_enter(b->cgroup, !b->into_v2, err);
	if (r == 0 && p->has_oom_score)
		r = runtime_final_oom_score(p->oom_score, parent_warn, b, err);
	int label_fd = -1;
	r = r < 0 ? r : runtime_birth_label_open(p, &label_fd, err);
	r = r < 0 ? r : affinity_set(p->cpus_final, false, err);
	r = r < 0 ? r : namespaces_join(b, err);
	if (r < 0)
		return r;
	if (in_userns) {
		struct sync_msg m = {}; /* limits were set from outside when GO comes */
		if (runtime_sync_recv(b->sync, &m, NULL) != 1 || m.kind != SYNC_GO)
			return err_set(err, ERR_CANCELLED, "the runtime is gone");
		if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
			return err_sys(err, "become root of the user namespace");
	}
	if (!b->wish->opts->no_new_keyring) {
		r = runtime_birth_keyring(b->state->id, err);
		if (r < 0)
			return r;
	}
	if (p->terminal) {
		struct child c = { .sync = b->sync, .root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC) };
		r = runtime_terminal_open(&c, p, b->wish->opts, false, err);
		fd_close(&c.root);
		if (r < 0)
			return r;
	}
	r = runtime_birth_scheduling(p, err);
	if (r < 0)
		return r;
	*f = (struct final){
		.process = p,
		.filter = b->filter,
		.in_userns = in_userns,
		.keep_fds = b->wish->opts->preserve_fds,
		.sync = b->sync,
		.listen_fd = -1,
		.label_fd = label_fd,
	};
	return runtime_final_exec(f, err);
}

static void exec_run(void *arg) __attribute__((noreturn));
static void exec_run(void *arg)
{
	struct exec *b = arg;
	struct final f = { .sync = b->sync };
	auto_err struct err err = ERR_INIT;
	(void)build(b, &f, &err);		   /* returns only with an error, which is in err */
	(void)runtime_sync_send_err(f.sync, &err); /* nobody listens: the exit status tells */
	_exit(err_exit_code((int)err.class));
}

static int cgroup_below(struct arena *a, struct sys_cgroup *cg, const char *sub, struct err *err)
{
	struct span s = span_of(sub), rest = s, part, controller = SPAN_EMPTY, path;
	if (span_split(s, ':', &controller, &path))
		rest = path;
	else
		path = s;
	while (span_cut(&rest, '/', &part))
		if (span_is(part, ".."))
			return err_set(err, ERR_INVALID, "%s is not a sub cgroup path", sub);
	for (unsigned i = 0; i < cg->n; i++) {
		struct sys_cgroup_dir *d = &cg->dirs[i];
		int c = controller.len ? sys_cgroup_by_name(controller) : -1;
		if (controller.len && (c < 0 || !(d->controllers & (1u << c))))
			continue;
		if (!controller.len && !d->v2 && !sys_cgroup_pure_v2() && cg->n > 1 && access(d->path, F_OK) < 0)
			continue;
		d->path = arena_printf(a, "%s/%.*s", d->path, SPAN_ARG(path)).ptr;
		if (access(d->path, F_OK) < 0)
			return err_sys(err, "%s", d->path);
	}
	return 0;
}

static int namespaces_open(struct exec *b, struct err *err)
{
	for (int i = 0; i < SYS_NS_COUNT; i++) {
		char path[64];
		b->ns_fd[i] = -1;
		if (!(b->state->ns_flags & sys_ns_rows[i].flag))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", b->state->pid, sys_ns_rows[i].proc);
		b->ns_fd[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (b->ns_fd[i] < 0)
			return err_sys(err, "open %s", path);
	}
	return 0;
}

static int serve(struct exec *b, struct runtime_container *out, int sync, int console, struct err *err)
{
	struct birth_parent p = { .opts = b->wish->opts,
				  .config = b->config,
				  .state = b->state,
				  .status = STATE_RUNNING,
				  .console_fd = console };
	bool ready;
	int r = runtime_birth_serve(&p, sync, out, &ready, err);
	return r == 0 && !ready ? runtime_birth_death(out->pid, err) : r;
}

static int process_make(struct exec *b, struct runtime_container *out, struct err *err)
{
	const struct exec_wish *w = b->wish;
	auto_fd int console = -1;
	int pair[2], r = 0;
	if (w->process->terminal && w->opts->console_socket)
		r = runtime_console_socket_connect(w->opts->console_socket, &console, err);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socket pair");
	auto_fd int ours = pair[0], theirs = pair[1];
	b->sync = theirs;
	struct clone_wish clone = { .cgroup_fd = sys_cgroup_v2_fd(b->cgroup),
				    .join_user = b->ns_fd[SYS_NS_USER],
				    .join_pid = b->ns_fd[SYS_NS_PID],
				    .clone_parent = w->opts->clone_parent,
				    .child = exec_run,
				    .arg = b };
	b->into_v2 = clone.cgroup_fd >= 0;
	r = runtime_birth_clone(&clone, ours, &out->pid, &out->pidfd, err);
	if (r == -ERR_FORBIDDEN || r == -ERR_IN_USE) { /* a v2 group may refuse to be born into (threaded, delegated) */
		auto_err struct err again = ERR_INIT;
		clone.cgroup_fd = -1;
		b->into_v2 = false;
		if (runtime_birth_clone(&clone, ours, &out->pid, &out->pidfd, &again) < 0)
			return r; /* the first error is the better one */
		if (err)
			err_done(err);
		r = 0;
	}
	fd_close(&theirs);
	if (r == 0 && (b->state->ns_flags & CLONE_NEWUSER)) {
		r = runtime_final_rlimits(out->pid, w->process, runtime_birth_warn, (void *)(uintptr_t)w->opts, err);
		if (r == 0 && runtime_sync_send(ours, SYNC_GO, 0, 0, NULL, -1) < 0)
			r = runtime_birth_death(out->pid, err);
	}
	r = r < 0 ? r : serve(b, out, ours, console, err);
	if (r == 0 && w->opts->pid_file)
		r = runtime_lifecycle_pid_file_write(w->opts->pid_file, out->pid, err);
	return r;
}

int runtime_exec_process(const struct exec_wish *w, struct runtime_container *out, struct err *err)
{
	auto_arena struct arena a = {};
	struct state s;
	struct config *config;
	auto_fd int dir = -1, pidfd = -1;
	struct runtime_container c = { .pidfd = -1, .terminal = -1 };
	int r = runtime_state_look(&a, w->opts->root, w->opts->id, &s, &dir, err);
	if (r < 0)
		return r;
	enum runtime_state_status status = runtime_state_status(dir, &s);
	if (status == STATE_STOPPED)
		return err_set(err, ERR_IN_USE, "cannot exec in a stopped container");
	if (status == STATE_PAUSED && !w->ignore_paused)
		return err_set(err, ERR_IN_USE, "cannot exec in a paused container (use --ignore-paused to override)");
	r = runtime_birth_preserved_check(w->opts, err);
	r = r < 0 ? r : runtime_state_config_read(&a, dir, &config, err);
	if (r < 0)
		return r;
	fd_close(&dir); /* an exec may last for days */
	pidfd = sys_process_open(s.pid, s.start_ticks);
	if (pidfd < 0)
		return err_set(err, ERR_IN_USE, "cannot exec in a stopped container");
	r = runtime_birth_caps_check(w->opts, s.oci_version, w->process, err);
	if (r < 0)
		return r;
	struct exec b = { .wish = w, .state = &s, .config = config, .cgroup = &s.cgroup, .pidfd = pidfd, .sync = -1 };
	for (int i = 0; i < SYS_NS_COUNT; i++)
		b.ns_fd[i] = -1;
	if (config->seccomp)
		r = runtime_seccomp_compile(&a, config->seccomp, w->opts->cache_dir, &b.filter, err);
	if (r == 0 && w->cgroup)
		r = cgroup_below(&a, &s.cgroup, w->cgroup, err);
	r = r < 0 ? r : sys_cgroup_open(&s.cgroup, err);
	r = r < 0 ? r : namespaces_open(&b, err);
	r = r < 0 ? r : process_make(&b, &c, err);
	sys_cgroup_done(&s.cgroup);
	for (int i = 0; i < SYS_NS_COUNT; i++)
		fd_close(&b.ns_fd[i]);
	if (r < 0) {
		runtime_birth_undo(&c, NULL);
		return r;
	}
	*out = c;
	return 0;
}

int runtime_exec(const struct runtime_opts *opts, struct span process, struct runtime_container *out, struct err *err)
{
	auto_arena struct arena a = {};
	struct config_process *p;
	int r = runtime_config_process_parse(&a, process, &p, err);
	struct exec_wish wish = { .opts = opts, .process = p };
	return r < 0 ? r : runtime_exec_process(&wish, out, err);
}
