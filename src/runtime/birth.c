/* What the birth of a container's first process (create.c, child.c) and of one more process in it (exec.c) have in common:
 * the clone, the parent's half of the conversation, and the first things that the new process does. See plan.h.
 *
 *     parent                          new process
 *     runtime_birth_clone    ───>     runtime_birth_session, ... its own steps ..., runtime_final_exec
 *     runtime_birth_serve    <───     WARN*, TERMINAL, HOOKS, FILTER      (the last two are answered with GO)
 *                            <───     ERROR, or READY and then the end of the stream, which is the exec */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/plan.h"

/* ---- clone */

static void stage_run(const struct clone_wish *w, int sync) __attribute__((noreturn));
static void stage_run(const struct clone_wish *w, int sync)
{
	auto_err struct err err = ERR_INIT;
	/* The user namespace first: it gives the right to enter what belongs to it. */
	if (w->join_user >= 0 && setns(w->join_user, CLONE_NEWUSER) < 0) {
		err_sys(&err, "join user namespace");
	} else if (w->join_pid >= 0 && setns(w->join_pid, CLONE_NEWPID) < 0) {
		err_sys(&err, "join pid namespace");
	} else {
		struct sys_clone_args args = { .flags = w->flags | CLONE_PARENT };
		if (w->cgroup_fd >= 0) {
			args.flags |= SYS_CLONE_INTO_CGROUP;
			args.cgroup = (uint64_t)w->cgroup_fd;
		}
		pid_t pid = sys_clone3(&args);
		if (pid == 0) {
			w->child(w->arg);
			_exit(1);
		}
		FAILPOINT("runtime.stage"); /* sleeps in a test: the first process runs ahead of us */
		if (pid > 0 && runtime_sync_send(sync, SYNC_PID, pid, 0, NULL, -1) == 0)
			_exit(0);
		err_sys(&err, "clone");
	}
	(void)runtime_sync_send_err(sync, &err);
	_exit(1);
}

/* The first process of a staged birth is a grandchild: the intermediate one joins what can only be joined before, clones,
 * tells the number and ends. It has a line of its own for that word: on the common one the first process, which runs
 * already, may be faster. */
static int staged_clone(const struct clone_wish *w, struct sys_clone_args *args, int sync_parent, pid_t *out_pid,
			int *out_pidfd, struct err *err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socket pair");
	auto_fd int ours = pair[0], theirs = pair[1];
	pid_t pid = sys_clone3(args);
	if (pid < 0)
		return err_sys(err, "clone the intermediate process");
	if (pid == 0) {
		close(sync_parent);
		close(ours);
		stage_run(w, theirs);
	}
	fd_close(&theirs);
	struct sync_msg m = {};
	int got = runtime_sync_recv(ours, &m, NULL);
	if (!w->clone_parent)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	if (got == 1 && m.kind == SYNC_ERROR)
		return runtime_sync_err(&m, err);
	if (got != 1 || m.kind != SYNC_PID)
		return err_set(err, ERR_INTERNAL, "the intermediate process ended without a word");
	*out_pid = m.a;
	*out_pidfd = sys_pidfd_open(m.a, 0);
	return *out_pidfd < 0 ? err_sys(err, "open the first process") : 0;
}

int runtime_birth_clone(const struct clone_wish *w, int sync_parent, pid_t *out_pid, int *out_pidfd, struct err *err)
{
	bool staged = w->join_user >= 0 || w->join_pid >= 0;
	int pidfd = -1;
	struct sys_clone_args args = { .exit_signal = SIGCHLD };
	if (!staged) {
		args.flags = w->flags | CLONE_PIDFD;
		args.pidfd = (uintptr_t)&pidfd;
		if (w->cgroup_fd >= 0) {
			args.flags |= SYS_CLONE_INTO_CGROUP;
			args.cgroup = (uint64_t)w->cgroup_fd;
		}
	}
	if (w->clone_parent) {
		args.flags |= CLONE_PARENT;
		args.exit_signal = 0;
	}
	if (staged)
		return staged_clone(w, &args, sync_parent, out_pid, out_pidfd, err);
	pid_t pid = sys_clone3(&args);
	if (pid < 0)
		return err_sys(err, "clone the first process (flags %#llx)", (unsigned long long)args.flags);
	if (pid == 0) {
		close(sync_parent);
		w->child(w->arg);
		_exit(1);
	}
	*out_pid = pid;
	*out_pidfd = pidfd;
	return 0;
}

/* ---- the parent's half */

int runtime_birth_preserved_check(const struct runtime_opts *opts, struct err *err)
{
	for (int i = 0; i < opts->preserve_fds; i++)
		if (fcntl(3 + i, F_GETFD) < 0)
			return err_set(err, ERR_INVALID, "please check that preserved-fd %d (of %d) is present", i,
				       opts->preserve_fds);
	return 0;
}

/* config.md, Linux Process: "Any value which cannot be mapped to a relevant kernel interface MUST cause an error" until 1.0.2, is a
 * warning from 1.1.0 on. */
int runtime_birth_caps_check(const struct runtime_opts *opts, const char *oci_version, const struct config_process *p,
			     struct err *err)
{
	auto_buf struct buf text = {};
	uint64_t all = p->caps.bounding | p->caps.effective | p->caps.permitted | p->caps.inheritable | p->caps.ambient;
	bool old = runtime_config_version_old(oci_version);
	if (p->unknown_caps)
		buf_printf(&text, " %s", p->unknown_caps);
	for (int i = old && all ? sys_caps_last() + 1 : 64; i < 64; i++)
		if (all >> i & 1)
			buf_printf(&text, " %s", sys_caps_name(i));
	if (text.len && old)
		return err_set(err, ERR_INVALID,
			       "config.json: process.capabilities: not known to this kernel:%s (ociVersion %s makes that an error, "
			       "1.1.0 a warning)", buf_cstr(&text), oci_version);
	if (text.len && opts->warn) {
		auto_buf struct buf warning = {};
		buf_printf(&warning, "process.capabilities: unknown, not granted:%s", buf_cstr(&text));
		opts->warn(buf_cstr(&warning));
	}
	return 0;
}

void runtime_birth_warn(void *opts, const char *text)
{
	const struct runtime_opts *o = opts;
	if (o->warn)
		o->warn(text);
}

int runtime_birth_death(pid_t pid, struct err *err)
{
	siginfo_t info = {};
	struct sys_process p;
	int sig = 0;
	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0)
		sig = info.si_code == CLD_KILLED ? info.si_status : 0;
	else if (sys_process_read(pid, &p, NULL) == 0) /* a child of our parent, which has not reaped it yet */
		sig = WIFSIGNALED(p.wait_status) ? WTERMSIG(p.wait_status) : 0;
	if (sig)
		return err_set(err, ERR_UPSTREAM, "the container's process was killed by signal %d before its program ran%s", sig,
			       sig == SIGKILL ? " (out of memory? linux.resources.memory.limit may be too low)" : "");
	return err_set(err, ERR_UPSTREAM, "the container's process ended before its program ran");
}

static int go(int sync)
{
	(void)runtime_sync_send(sync, SYNC_GO, 0, 0, NULL, -1); /* gone meanwhile: the next receive says so */
	return 0;
}

static int message_serve(const struct birth_parent *b, int sync, const struct sync_msg *m, int *fd,
			 struct runtime_container *c, struct err *err)
{
	int r = 0;
	switch ((enum sync_kind)m->kind) {
	case SYNC_WARN:
		if (b->opts->warn)
			b->opts->warn(m->text);
		return 0;
	case SYNC_ERROR: return runtime_sync_err(m, err);
	case SYNC_READY: return 0;
	case SYNC_TERMINAL:
		if (b->console_fd >= 0)
			return runtime_console_fd_send(b->console_fd, *fd, err);
		c->terminal = take_fd(fd);
		return 0;
	case SYNC_HOOKS:
		if (!b->hooks)
			break;
		r = b->hooks(b->hooks_arg, err);
		return r < 0 ? r : go(sync);
	case SYNC_FILTER:
		r = runtime_listener_serve(b->config->seccomp, b->state, b->status, c->pidfd, m->a, err);
		return r < 0 ? r : go(sync);
	case SYNC_GO:
	case SYNC_PID: break;
	}
	return err_set(err, ERR_INTERNAL, "unexpected message %u", m->kind);
}

int runtime_birth_serve(const struct birth_parent *b, int sync, struct runtime_container *c, bool *out_ready, struct err *err)
{
	*out_ready = false;
	for (;;) {
		struct sync_msg m = {};
		auto_fd int fd = -1;
		int got = runtime_sync_recv(sync, &m, &fd);
		if (got < 0)
			return err_sys(err, "hear from the new process");
		if (got == 0)
			return 0;
		int r = message_serve(b, sync, &m, &fd, c, err);
		if (r < 0)
			return r;
		*out_ready |= m.kind == SYNC_READY;
		if (*out_ready && b->until_ready)
			return 0;
	}
}

void runtime_birth_undo(struct runtime_container *c, const struct sys_cgroup *all)
{
	if (c->pid > 0) {
		if (c->pidfd < 0 || sys_pidfd_send_signal(c->pidfd, SIGKILL) < 0)
			kill(c->pid, SIGKILL); /* not reaped yet, so the number is still its own */
		if (all)
			(void)sys_cgroup_signal(all, SIGKILL, NULL); /* what hooks may have started in it */
		while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	fd_close(&c->pidfd);
	fd_close(&c->terminal);
}

/* ---- the new process's first things */

int runtime_birth_session(bool hide, struct err *err)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(0);
	if (setsid() < 0 && errno != EPERM) /* EPERM: leader of a group already, which a fresh process is not */
		return err_sys(err, "setsid");
	if (hide && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, "become undumpable");
	return 0;
}

/* A session keyring of the container's own, else it would share the caller's keys. Where one of that name belongs to somebody
 * else, one without a name. A kernel without keys (or a filter that forbids them, around us) has none to share. */
int runtime_birth_keyring(const char *id, struct err *err)
{
	char name[300];
	snprintf(name, sizeof(name), "_ses.%.250s", id);
	if (sys_keyctl_join_session(name) < 0 && errno != ENOSYS && errno != EPERM &&
	    (errno != EACCES || sys_keyctl_join_session(NULL) < 0))
		return err_sys(err, "join session keyring %s", name);
	return 0;
}

/* The attribute file is opened through the host's /proc: a container's own could be anything (CVE-2019-16884). */
int runtime_birth_label_open(const struct config_process *p, int *out_fd, struct err *err)
{
	bool apparmor = p->apparmor && *p->apparmor;
	if (!apparmor && !(p->selinux && *p->selinux))
		return 0;
	const char *file = apparmor ? "/proc/self/attr/apparmor/exec" : "/proc/self/attr/exec";
	if (apparmor && access("/sys/kernel/security/apparmor", F_OK) < 0 &&
	    access("/sys/module/apparmor/parameters/enabled", F_OK) < 0)
		return err_set(err, ERR_UNSUPPORTED,
			       "process.apparmorProfile: \"%s\" is wanted, but the kernel has no AppArmor",
			       p->apparmor);
	if (!apparmor && access("/sys/fs/selinux/enforce", F_OK) < 0)
		return err_set(err, ERR_UNSUPPORTED,
			       "process.selinuxLabel: \"%s\" is wanted, but SELinux is disabled or not supported",
			       p->selinux);
	*out_fd = open(file, O_WRONLY | O_CLOEXEC);
	if (*out_fd < 0 && apparmor)
		*out_fd = open("/proc/self/attr/exec", O_WRONLY | O_CLOEXEC);
	return *out_fd < 0 ? err_sys(err, "open %s", file) : 0;
}

int runtime_birth_scheduling(const struct config_process *p, struct err *err)
{
	if (p->has_scheduler && sys_sched_setattr(0, &p->scheduler) < 0)
		return err_sys(err, "process.scheduler: set policy %u", p->scheduler.policy);
	if (p->has_ioprio && sys_ioprio_set(1, 0, p->ioprio) < 0)
		return err_sys(err, "process.ioPriority: set");
	return 0;
}
