/* The first process of a container: it takes the plan's steps one by one, then becomes the program.
 *
 * It runs in a copy of the parent's memory, in the new namespaces, and may fail anywhere: every error goes to the parent with the
 * step's name, and the kernel undoes the rest when the process and with it the mount namespace is gone. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/plan.h"
#include "runtime/rootfs.h"

static void parent_warn(void *arg, const char *text)
{
	const struct child *c = arg;
	(void)runtime_sync_send(c->sync, SYNC_WARN, 0, 0, text, -1); /* the parent is gone: nobody to warn */
}

/* ---- identity and namespaces */

static int maps_wait(struct child *c, struct err *err)
{
	if (c->plan->userns_new) {
		struct sync_msg m = {};
		if (runtime_sync_recv(c->sync, &m, NULL) != 1 || m.kind != SYNC_GO)
			return err_set(err, ERR_CANCELLED, "the runtime that was building this container is gone");
	}
	/* Before the ids, because afterwards a denied setgroups would keep the caller's groups unnoticed. */
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return err_sys(err, "become root of the user namespace (is id 0 mapped?)");
	return 0;
}

static int namespace_join(struct child *c, enum sys_ns ns, struct err *err)
{
	if (setns(c->plan->ns_fd[ns], (int)sys_ns_rows[ns].flag) < 0)
		return err_sys(err, "%s", c->plan->config->ns[ns].path);
	return 0;
}

static int time_set(struct child *c, struct err *err)
{
	const struct config *config = c->plan->config;
	static const char *const names[] = { "monotonic", "boottime" };
	if (unshare(SYS_CLONE_NEWTIME) < 0)
		return err_sys(err, "make a time namespace");
	auto_buf struct buf text = {};
	for (int i = 0; i < 2; i++)
		if (config->has_time_offset[i])
			buf_printf(&text, "%s %lld %u\n", names[i], (long long)config->time_offset_s[i],
				   config->time_offset_ns[i]);
	if (text.len && sys_file_write(AT_FDCWD, "/proc/self/timens_offsets", text.ptr, text.len) < 0)
		return err_sys(err, "linux.timeOffsets: write /proc/self/timens_offsets");
	auto_fd int fd = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, SYS_CLONE_NEWTIME) < 0)
		return err_sys(err, "enter the time namespace");
	return 0;
}

static int loopback_up(struct child *c, struct err *err)
{
	struct ifreq req = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &req) < 0)
		return err_sys(err, "bring lo up");
	return 0;
}

/* /proc/sys of the host shows the namespaces of whoever looks. */
static int sysctl_write(struct child *c, const struct config_pair *s, struct err *err)
{
	auto_buf struct buf path = {};
	buf_str(&path, "/proc/sys/");
	bool slashes = strchr(s->key, '/') && (!strchr(s->key, '.') || strchr(s->key, '/') < strchr(s->key, '.'));
	for (const char *p = s->key; *p; p++)
		buf_chr(&path, !slashes && *p == '.' ? '/' : *p);
	if (sys_file_write(AT_FDCWD, buf_cstr(&path), s->value, strlen(s->value)) < 0)
		return err_sys(err, "linux.sysctl: write \"%s\" to %s", s->value, buf_cstr(&path));
	return 0;
}

/* ---- hooks */

static int pid_find(struct child *c, struct err *err)
{
	char text[32];
	ssize_t n = c->host_pid ? 0 : readlink("/proc/self", text, sizeof(text));
	int64_t pid;
	if (c->host_pid)
		return 0;
	if (n <= 0 || !span_to_i64(span_make(text, (size_t)n), &pid))
		return err_sys(err, "read our number from /proc/self");
	c->host_pid = (pid_t)pid;
	return 0;
}

static int hooks_run(struct child *c, enum config_hook_point point, enum runtime_state_status status, struct err *err)
{
	struct state s;
	auto_buf struct buf text = {};
	runtime_state_of_plan(c->plan, c->host_pid, &s);
	runtime_state_json(&text, &s, status, false);
	return runtime_hook_run_all(c->plan->config, point, buf_span(&text), err);
}

static int hooks_runtime(struct child *c, struct err *err)
{
	struct sync_msg m = {};
	if (runtime_sync_send(c->sync, SYNC_HOOKS, 0, 0, NULL, -1) < 0)
		return err_sys(err, "ask for the hooks");
	if (runtime_sync_recv(c->sync, &m, NULL) != 1 || m.kind != SYNC_GO)
		return err_set(err, ERR_CANCELLED, "the runtime gave up"); /* it knows why */
	return 0;
}

static int before_exec(void *arg, struct err *err)
{
	return hooks_run(arg, HOOK_START_CONTAINER, STATE_CREATED, err);
}

/* ---- the steps */

static int session_start(struct child *c, struct err *err)
{
	const struct config_namespace *ns = c->plan->config->ns;
	bool shares_pids = ns[SYS_NS_PID].path || !ns[SYS_NS_PID].wanted;
	return runtime_birth_session(shares_pids && geteuid() == 0 && !ns[SYS_NS_USER].wanted, err);
}

static int cgroup_enter(struct child *c, struct err *err)
{
	if (c->plan->late_cgroups) {
		struct sync_msg m = {};
		if (runtime_sync_recv(c->sync, &m, NULL) != 1 || m.kind != SYNC_GO)
			return err_set(err, ERR_CANCELLED, "the runtime gave up"); /* it knows why */
	}
	int r = sys_cgroup_enter(&c->plan->cgroup, false, err);
	if (r == 0 && c->plan->config->ns[SYS_NS_CGROUP].wanted && !c->plan->config->ns[SYS_NS_CGROUP].path &&
	    unshare(CLONE_NEWCGROUP) < 0)
		r = err_sys(err, "make a cgroup namespace");
	return r;
}

static int step_run(struct child *c, const struct step *s, struct err *err)
{
	struct config *config = c->plan->config;
	switch (s->kind) {
	case STEP_SESSION: return session_start(c, err);
	case STEP_MAPS: return maps_wait(c, err);
	case STEP_NETWORK:
		return c->plan->late_cgroups && unshare(CLONE_NEWNET) < 0 ? err_sys(err, "unshare") : 0;
	case STEP_CGROUP: return cgroup_enter(c, err);
	case STEP_JOIN: return namespace_join(c, (enum sys_ns)s->index, err);
	case STEP_TIME: return time_set(c, err);
	case STEP_LOOPBACK: return loopback_up(c, err);
	case STEP_KEYRING: return runtime_birth_keyring(c->plan->opts.id, err);
	case STEP_HOSTNAME:
		return sethostname(config->hostname, strlen(config->hostname)) < 0
			       ? err_sys(err, "hostname: \"%s\"", config->hostname)
			       : 0;
	case STEP_DOMAINNAME:
		return setdomainname(config->domainname, strlen(config->domainname)) < 0
			       ? err_sys(err, "domainname: \"%s\"", config->domainname)
			       : 0;
	case STEP_SYSCTL: return sysctl_write(c, &config->sysctl[s->index], err);
	case STEP_OOM_SCORE: return runtime_final_oom_score(config->process->oom_score, parent_warn, c, err);
	case STEP_LABELS: return runtime_birth_label_open(config->process, &c->label_fd, err);
	case STEP_PROPAGATION:
		return mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0 ? err_sys(err, "make all mounts slaves") : 0;
	case STEP_SOURCES: {
		int r = runtime_rootfs_sources_open(c->plan, true, err);
		return r == 0 && c->plan->old_mounts ? runtime_rootfs_proc_fds(c, err) : r;
	}
	case STEP_ROOT_ATTACH: return runtime_rootfs_attach(c, err);
	case STEP_HOOKS_RUNTIME: return hooks_runtime(c, err);
	case STEP_HOOKS_CONTAINER: {
		int r = pid_find(c, err);
		return r < 0 ? r : hooks_run(c, HOOK_CREATE_CONTAINER, STATE_CREATING, err);
	}
	case STEP_PIVOT: {
		int r = config->n_hooks[HOOK_START_CONTAINER] ? pid_find(c, err) : 0; /* the host's /proc is about to go */
		return r < 0 ? r : runtime_rootfs_pivot(c, err);
	}
	case STEP_MOUNT: return runtime_rootfs_mount(c, &config->mounts[s->index], err);
	case STEP_DEVICES: return runtime_rootfs_devices(c, err);
	case STEP_CWD: return runtime_rootfs_cwd(c, err);
	case STEP_TERMINAL: return runtime_rootfs_terminal(c, err);
	case STEP_MASK: return runtime_rootfs_mask(c, config->masked[s->index], err);
	case STEP_READONLY: return runtime_rootfs_readonly(c, config->readonly[s->index], err);
	case STEP_ROOT_READONLY: return runtime_rootfs_root_readonly(c, err);
	case STEP_DETACH: return runtime_rootfs_detach(c, err);
	case STEP_ROOT_PROPAGATION:
		return mount(NULL, "/", NULL, config->root_propagation, NULL) < 0
			       ? err_sys(err, "linux.rootfsPropagation")
			       : 0;
	case STEP_COUNT: break;
	}
	return err_set(err, ERR_INTERNAL, "no such step");
}

static int build(struct child *c, struct final *f, struct err *err)
{
	struct runtime_plan *plan = c->plan;
	struct config *config = plan->config;
	for (size_t i = 0; i < plan->n_steps; i++) {
		int errnum = 0, r;
		if (FAILPOINT_ERR("runtime.step", &errnum))
			r = err_sys_num(err, errnum, "failpoint");
		else
			r = step_run(c, &plan->steps[i], err);
		if (r < 0) {
			auto_buf struct buf name = {};
			runtime_plan_step_print(plan, &plan->steps[i], &name);
			return err_note(err, "%s", buf_cstr(&name));
		}
	}
	int r = runtime_birth_scheduling(config->process, err);
	if (r == 0 && config->has_personality && personality(config->personality) < 0)
		r = err_sys(err, "linux.personality");
	if (r < 0)
		return r;
	fd_close(&c->root);
	*f = (struct final){
		.process = config->process,
		.filter = plan->filter,
		.in_userns = config->ns[SYS_NS_USER].wanted,
		.keep_fds = plan->opts.preserve_fds,
		.sync = c->sync,
		.listen_fd = plan->listen_fd,
		.label_fd = c->label_fd,
	};
	if (config->n_hooks[HOOK_START_CONTAINER]) {
		f->before = before_exec;
		f->before_arg = c;
	}
	return runtime_final_exec(f, err);
}

void runtime_child_main(struct runtime_plan *plan, int sync)
{
	struct child c = { .plan = plan,
			   .sync = sync,
			   .root = -1,
			   .old_root = -1,
			   .proc_fds = -1,
			   .null = -1,
			   .dev = -1,
			   .label_fd = -1 };
	struct final f = { .sync = sync };
	auto_err struct err err = ERR_INIT;
	(void)build(&c, &f, &err);		   /* returns only with an error, which is in err */
	(void)runtime_sync_send_err(f.sync, &err); /* nobody listens any more: the exit status tells */
	_exit(err_exit_code((int)err.class));
}
