/* What happens to a container after it was built: start, signals, delete. See runtime.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/plan.h"

#define DELETE_WAIT_MS 10000

int runtime_lifecycle_pid_file_write(const char *path, pid_t pid, struct err *err)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", pid);
	int r = io_write_file_lazy(AT_FDCWD, path, span_make(text, (size_t)n), 0644, err);
	return r < 0 ? err_note(err, "pid file %s", path) : 0;
}

/* runtime.md 1.0.1, Lifecycle: start is invoked (3), then the prestart hooks are (4), then the program runs (5). */
int runtime_lifecycle_prestart(const struct config *c, const struct state *s, struct err *err)
{
	auto_buf struct buf text = {};
	if (!c->prestart_at_start)
		return 0;
	runtime_state_json(&text, s, STATE_CREATED, false);
	return runtime_hook_run_all(c, HOOK_PRESTART, buf_span(&text), err);
}

/* One that fails is an error and the container's end (runtime.md 1.3.0, Lifecycle, 9; runc before it was written); an old bundle
 * gets what the text said then: a warning, and the remaining hooks run. */
int runtime_lifecycle_poststart(const struct config *c, const struct state *s, const struct runtime_opts *opts, struct err *err)
{
	auto_buf struct buf text = {};
	if (!c->n_hooks[HOOK_POSTSTART])
		return 0;
	runtime_state_json(&text, s, STATE_RUNNING, false);
	if (!runtime_config_version_old(c->oci_version))
		return runtime_hook_run_all(c, HOOK_POSTSTART, buf_span(&text), err);
	runtime_hook_run_rest(c, HOOK_POSTSTART, buf_span(&text), opts);
	return 0;
}

static int knock(int dir, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	auto_fd int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return err_sys(err, "socket");
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/start.sock", dir);
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(err, "reach the container's first process");
	/* From here on it is started, also when we are killed before the answer comes. */
	if (unlinkat(dir, "start.sock", 0) < 0)
		return err_sys(err, "remove start.sock");
	if (runtime_sync_send(sock, SYNC_GO, 0, 0, NULL, -1) < 0)
		return err_sys(err, "start the container's first process");
	return take_fd(&sock);
}

int runtime_lifecycle_let_go(int dir, const struct config *c, const struct state *s, int pidfd, const struct runtime_opts *opts,
			     struct err *err)
{
	auto_fd int sock = knock(dir, err);
	if (sock < 0)
		return sock;
	bool ready;
	struct runtime_container first = { .pid = s->pid, .pidfd = pidfd, .terminal = -1 };
	struct birth_parent b = { .opts = opts, .config = c, .state = s, .status = STATE_CREATED, .console_fd = -1 };
	int r = runtime_birth_serve(&b, sock, &first, &ready, err);
	fd_close(&first.terminal); /* none is sent any more */
	return r == 0 && !ready ? err_set(err, ERR_UPSTREAM, "the container's first process ended before it could start") : r;
}

int runtime_start(const char *root, const char *id, const struct runtime_opts *opts, struct err *err)
{
	auto_arena struct arena a = {};
	struct state s;
	struct config *c;
	auto_fd int dir = -1;
	int r = runtime_state_read(&a, root, id, &s, &dir, err);
	if (r < 0)
		return r;
	enum runtime_state_status status = runtime_state_status(dir, &s);
	if (status == STATE_STOPPED)
		return err_set(err, ERR_IN_USE, "cannot start a container that has stopped");
	if (status != STATE_CREATED && !(status == STATE_PAUSED && faccessat(dir, "start.sock", F_OK, 0) == 0))
		return err_set(err, ERR_IN_USE, "cannot start an already running container");
	r = runtime_state_config_read(&a, dir, &c, err);
	if (r < 0)
		return r;
	if (!c->process) /* runtime.md, Start; without effect, as every error of start that is not a hook's */
		return err_set(err, ERR_INVALID, "cannot start: config.json: process: is missing, there is nothing to run");
	auto_fd int pidfd = sys_process_open(s.pid, s.start_ticks);
	if (pidfd < 0)
		return err_set(err, ERR_IN_USE, "cannot start a container that has stopped");
	r = runtime_lifecycle_prestart(c, &s, err);
	if (r == 0) {
		r = runtime_lifecycle_let_go(dir, c, &s, pidfd, opts, err);
		if (r < 0)
			return r;
		r = runtime_lifecycle_poststart(c, &s, opts, err);
	}
	if (r < 0) { /* a hook failed: the container is stopped, and goes on to be destroyed */
		auto_err struct err why = ERR_INIT;
		fd_close(&dir); /* with its lock, which delete takes */
		if (runtime_delete(root, id, true, opts, &why) < 0 && opts->warn)
			opts->warn(err_msg(&why));
	}
	return r;
}

int runtime_lifecycle_kill(const struct state *s, int sig, bool all, struct err *err)
{
	int errnum = 0;
	if (FAILPOINT_ERR("runtime.kill", &errnum))
		return err_sys_num(err, errnum, "signal container %s", s->id);
	if (all) {
		struct sys_cgroup cg = s->cgroup;
		int r = sys_cgroup_open(&cg, err);
		r = r < 0 ? r : sys_cgroup_signal(&cg, sig, err);
		sys_cgroup_done(&cg);
		return r;
	}
	auto_fd int pidfd = sys_process_open(s->pid, s->start_ticks);
	if (pidfd < 0 && errno != ESRCH && errno != ENOENT)
		return err_sys(err, "signal container %s", s->id);
	if (pidfd < 0 || sys_pidfd_send_signal(pidfd, sig) < 0)
		return pidfd < 0 || errno == ESRCH ? err_set(err, ERR_NOT_FOUND, "container not running")
						   : err_sys(err, "signal container %s", s->id);
	/* A frozen process takes even SIGKILL only when it is thawed (cgroup v1; v2 kills frozen ones). */
	if (sig == SIGKILL) {
		struct sys_cgroup cg = s->cgroup;
		bool frozen = false;
		if (sys_cgroup_open(&cg, NULL) == 0 && sys_cgroup_frozen(&cg, &frozen, NULL) == 0 && frozen)
			(void)sys_cgroup_freeze(&cg, false, NULL);
		sys_cgroup_done(&cg);
	}
	return 0;
}

void runtime_lifecycle_unmount(const struct config *c, const char *rootfs)
{
	auto_fd int root = c->ns[SYS_NS_MOUNT].wanted ? -1 : open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = c->n_mounts; root >= 0 && i-- > 0;) {
		char name[32];
		auto_fd int top = sys_path_open(root, c->mounts[i].destination, O_PATH, 0);
		snprintf(name, sizeof(name), "/proc/self/fd/%d", top);
		if (top >= 0)
			(void)umount2(name, MNT_DETACH); /* EINVAL: it was not mounted */
	}
}

/* Until the first process is gone: 0, or TIMEOUT. */
static int end_wait(const struct state *s, struct err *err)
{
	auto_fd int pidfd = sys_process_open(s->pid, s->start_ticks);
	if (pidfd < 0)
		return 0;
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	if (poll(&p, 1, DELETE_WAIT_MS) == 0)
		return err_set(err, ERR_TIMEOUT, "container init still running after %d s of SIGKILL",
			       DELETE_WAIT_MS / 1000);
	return 0;
}

static int processes_end(const struct state *s, struct err *err)
{
	int r = runtime_lifecycle_kill(s, SIGKILL, false, err);
	if (r == -ERR_NOT_FOUND)
		r = 0;
	if (r == 0 && !s->has_pid_ns && s->cgroup.n)
		r = runtime_lifecycle_kill(s, SIGKILL, true, err);
	return r < 0 ? r : end_wait(s, err);
}

int runtime_lifecycle_plan_delete(struct runtime_plan *plan, pid_t pid, struct err *err)
{
	struct state s;
	runtime_state_of_plan(plan, pid, &s);
	if (!s.has_pid_ns && s.cgroup.n)
		(void)runtime_lifecycle_kill(&s, SIGKILL, true, NULL); /* a refusal shows below */
	int errnum = 0, r = 0;
	if (FAILPOINT_ERR("runtime.delete", &errnum))
		r = err_sys_num(err, errnum, "delete container %s", s.id);
	r = r < 0 ? r : sys_cgroup_remove(&plan->cgroup, DELETE_WAIT_MS, err);
	if (r < 0)
		return r;
	runtime_lifecycle_unmount(plan->config, plan->rootfs);
	runtime_state_remove(plan->opts.root, plan->opts.id);
	if (!plan->config->n_hooks[HOOK_POSTSTOP])
		return 0;
	auto_buf struct buf text = {};
	runtime_state_json(&text, &s, STATE_STOPPED, false);
	runtime_hook_run_rest(plan->config, HOOK_POSTSTOP, buf_span(&text), &plan->opts);
	return 0;
}

int runtime_delete(const char *root, const char *id, bool force, const struct runtime_opts *opts, struct err *err)
{
	auto_arena struct arena a = {};
	struct state s;
	auto_fd int dir = -1;
	int r = runtime_state_read(&a, root, id, &s, &dir, err);
	/* The rest of a builder that was killed, if there is any; or a state that a power cut has torn, as it is not synced: its
	 * processes, groups and mounts went with the power. */
	if ((r == -ERR_NOT_FOUND || r == -ERR_CORRUPT) && force) {
		err_done(err);
		runtime_state_remove(root, id);
		return 0;
	}
	if (r < 0)
		return r;
	enum runtime_state_status status = runtime_state_status(dir, &s);
	/* runtime.md, Delete: what is not stopped is an error. runc deletes created ones, and engines count on that; they write
	 * newer versions. */
	bool may = status == STATE_STOPPED || (status == STATE_CREATED && !runtime_config_version_old(s.oci_version));
	if (!may && !force)
		return err_set(err, ERR_IN_USE, "cannot delete container %s that is not stopped: %s (--force kills it)", id,
			       runtime_state_status_names[status]);
	if (status != STATE_STOPPED) {
		r = processes_end(&s, err);
	} else if (s.cgroup.n && !s.has_pid_ns) {
		(void)runtime_lifecycle_kill(&s, SIGKILL, true,
					     NULL); /* left-overs of a shared pid namespace; a refusal shows below */
	}
	int errnum = 0;
	if (r == 0 && FAILPOINT_ERR("runtime.delete", &errnum))
		r = err_sys_num(err, errnum, "delete container %s", id);
	if (r == 0)
		r = sys_cgroup_remove(&s.cgroup, DELETE_WAIT_MS, err);
	if (r < 0)
		return r; /* the state stays, so that delete can be tried again */
	struct config *c = NULL;
	auto_err struct err why = ERR_INIT;
	int found = runtime_state_config_read(&a, dir, &c, &why);
	bool config = found == 0;
	if (config)
		runtime_lifecycle_unmount(c, s.rootfs);
	runtime_state_remove(root, id);
	if (config) {
		auto_buf struct buf text = {};
		runtime_state_json(&text, &s, STATE_STOPPED, false);
		runtime_hook_run_rest(c, HOOK_POSTSTOP, buf_span(&text), opts);
	} else if (opts->warn && found != -ERR_NOT_FOUND) { /* not there: `run`, which waited for this end, has deleted it */
		opts->warn(err_msg(&why));
	}
	return 0;
}
