/* The parent's side: make what lies outside of the container, clone, answer the child, write the state. On any failure
 * everything goes again, in reverse. See plan.h and runtime.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/plan.h"

static int step(const char *name, struct err *err)
{
	int errnum = 0;
	return FAILPOINT_ERR("runtime.create", &errnum) ? err_sys_num(err, errnum, "%s: failpoint", name) : 0;
}

/* ---- before the clone */

static bool in_user_namespace(void)
{
	auto_buf struct buf text = {};
	if (sys_file_read(AT_FDCWD, "/proc/self/uid_map", &text, 65536) < 0)
		return false;
	return !span_has(buf_span(&text), SPAN("4294967295"));
}

/* systemd's slices are systemd's: controllers that no unit of its own needs in one are taken away when it reloads, and
 * with them the limits of groups that somebody else made there. So a scope is asked for, where somebody can be asked. */
static bool scope_wanted(const struct runtime_plan *plan)
{
	if (!plan->opts.systemd_cgroup || !sys_cgroup_pure_v2() || access("/run/systemd/system", F_OK) < 0)
		return false;
	if (!plan->rootless && runtime_plan_may_wait_for_cgroups(plan) && plan->cgroup.n == 1 &&
	    span_ends(span_of(plan->cgroup.dirs[0].path), SPAN(".scope")))
		return true;
	if (plan->opts.warn)
		plan->opts.warn("--systemd-cgroup: the scope is made without systemd, which may take controllers and with "
				"them limits away when it reloads, unless its slice holds a unit with Delegate=yes");
	return false;
}

/* The limits are set on a group in the scope: those of the scope's own are systemd's, and it writes them anew when it
 * reloads. What is below a unit with Delegate=yes it leaves alone. The process moves before controllers are enabled. */
static int scope_make(struct runtime_plan *plan, pid_t pid, struct err *err)
{
	struct sys_cgroup_dir *d = &plan->cgroup.dirs[0];
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", pid);
	int r = sys_scope_start(d->path, d->mount, pid, arena_printf(plan->arena, "container %s", plan->opts.id).ptr, err);
	if (r < 0)
		return r;
	d->path = arena_printf(plan->arena, "%s/container", d->path).ptr;
	if (mkdir(d->path, 0755) < 0)
		return err_sys(err, "make cgroup %s", d->path);
	if (sys_file_write(AT_FDCWD, arena_printf(plan->arena, "%s/cgroup.procs", d->path).ptr, text, (size_t)n) < 0)
		return err_sys(err, "move the first process to cgroup %s", d->path);
	return 0;
}

/* The groups are made in two parts. A v2 group is there before the clone, because to be born in it costs nothing and to move into
 * it costs a grace period of the kernel. Those of v1 (ten hierarchies on some machines, a third of a millisecond) are made while
 * the first process, on the other processor, makes its network namespace and whatever else comes before CGROUP. */
static int cgroups_begin(struct runtime_plan *plan, struct err *err)
{
	struct config *c = plan->config;
	int r = sys_cgroup_locate(plan->arena, c->cgroup_path, plan->opts.systemd_cgroup, plan->opts.id, &plan->cgroup,
				  err);
	if (r < 0)
		return r;
	plan->cgroups_wanted = sys_cgroup_limits_need(&c->limits);
	if (sys_cgroup_pure_v2()) /* what statistics and later updates need */
		plan->cgroups_wanted |= 1u << SYS_CG_CPU | 1u << SYS_CG_MEMORY | 1u << SYS_CG_PIDS |
					1u << SYS_CG_BLKIO | 1u << SYS_CG_CPUSET | 1u << SYS_CG_HUGETLB;
	plan->rootless = geteuid() != 0 || in_user_namespace();
	plan->scope = scope_wanted(plan);
	plan->late_cgroups = plan->scope || (!plan->rootless && plan->cgroup.n > 1 && runtime_plan_may_wait_for_cgroups(plan));
	plan->cgroup.by_name = plan->late_cgroups;
	if (plan->scope)
		return 0;
	return plan->late_cgroups ? sys_cgroup_make_v2(&plan->cgroup, plan->cgroups_wanted, false, err) : 0;
}

/* What v2 does not have and an engine may still ask for, because it was harmless with runc. */
static void limits_warn(const struct runtime_plan *plan)
{
	const struct sys_cgroup_limits *l = &plan->config->limits;
	const struct {
		const char *field;
		bool set;
	} rows[] = {
		{ "disableOOMKiller", l->oom_off.set && l->oom_off.v },
		{ "swappiness", l->swappiness.set },
		{ "kernelTCP", l->kernel_tcp.set },
	};
	const struct sys_cgroup_dir *memory = sys_cgroup_find(&plan->cgroup, SYS_CG_MEMORY);
	for (size_t i = 0; i < ARRAY_LEN(rows) && memory && memory->v2 && plan->opts.warn; i++)
		if (rows[i].set)
			plan->opts.warn(arena_printf(plan->arena, "linux.resources.memory.%s: cgroup v2 has no such setting, it has "
						     "no effect", rows[i].field).ptr);
}

static int cgroups_make(struct runtime_plan *plan, struct err *err)
{
	struct config *c = plan->config;
	bool rootless = plan->rootless;
	int r = sys_cgroup_make(&plan->cgroup, plan->cgroups_wanted, rootless, plan->scope, err);
	if (r < 0)
		return r;
	r = sys_cgroup_limits_set(&plan->cgroup, &c->limits, err);
	if (r < 0)
		return r;
	limits_warn(plan);
	if (!sys_cgroup_find(&plan->cgroup, SYS_CG_DEVICES) || rootless) {
		/* Without the right nothing can be restricted; without a user namespace the rules of the file must hold. */
		if (!rootless && c->n_device_rules)
			return err_set(err, ERR_UNSUPPORTED,
				       "linux.resources.devices: this machine has no cgroup that can restrict devices");
		return 0;
	}
	return sys_cgroup_devices_set(&plan->cgroup, plan->rules, plan->n_rules, err);
}

static int namespaces_open(struct runtime_plan *plan, struct err *err)
{
	for (int i = 0; i < SYS_NS_COUNT; i++) {
		const char *path = plan->config->ns[i].path;
		if (!path)
			continue;
		plan->ns_fd[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (plan->ns_fd[i] < 0)
			return err_sys(err, "linux.namespaces: open %s namespace %s", sys_ns_rows[i].name, path);
	}
	return 0;
}

static int start_socket_make(struct runtime_plan *plan, int dir, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	auto_fd int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return err_sys(err, "socket");
	/* Through the folder's descriptor: the path may be longer than an address. */
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/start.sock", dir);
	mode_t old = umask(0177);
	int r = bind(sock, (struct sockaddr *)&addr, sizeof(addr));
	int saved = errno;
	umask(old);
	errno = saved;
	if (r < 0 || listen(sock, 4) < 0)
		return err_sys(err, "make start.sock");
	plan->listen_fd = take_fd(&sock);
	return 0;
}

/* ---- after the clone */

struct hooks_of {
	const struct config *config;
	const struct state *state;
};

static int hooks_serve(void *arg, struct err *err)
{
	const struct hooks_of *h = arg;
	auto_buf struct buf text = {};
	runtime_state_json(&text, h->state, STATE_CREATING, false);
	int r = h->config->prestart_at_start ? 0 : runtime_hook_run_all(h->config, HOOK_PRESTART, buf_span(&text), err);
	return r < 0 ? r : runtime_hook_run_all(h->config, HOOK_CREATE_RUNTIME, buf_span(&text), err);
}

/* Answers the child until it is built and waits, or runs. */
static int child_serve(struct runtime_plan *plan, int sync, struct runtime_container *out, struct err *err)
{
	struct state s;
	bool ready;
	runtime_state_of_plan(plan, out->pid, &s);
	struct hooks_of hooks = { plan->config, &s };
	struct birth_parent b = { .opts = &plan->opts,
				  .config = plan->config,
				  .state = &s,
				  .status = STATE_CREATING,
				  .console_fd = plan->console_fd,
				  .until_ready = plan->held,
				  .hooks = hooks_serve,
				  .hooks_arg = &hooks };
	int r = runtime_birth_serve(&b, sync, out, &ready, err);
	return r == 0 && !ready ? runtime_birth_death(out->pid, err) : r;
}

struct first {
	struct runtime_plan *plan;
	int sync;
};

static void first_run(void *arg) __attribute__((noreturn));
static void first_run(void *arg)
{
	struct first *f = arg;
	runtime_child_main(f->plan, f->sync);
}

static int process_make(struct runtime_plan *plan, struct runtime_container *out, int *out_sync, struct err *err)
{
	struct config *c = plan->config;
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socket pair");
	auto_fd int ours = pair[0], theirs = pair[1];
	struct first first = { plan, theirs };
	struct clone_wish w = { .cgroup_fd = sys_cgroup_v2_fd(&plan->cgroup),
				.join_user = plan->ns_fd[SYS_NS_USER],
				.join_pid = plan->ns_fd[SYS_NS_PID],
				.clone_parent = plan->opts.clone_parent,
				.child = first_run,
				.arg = &first };
	for (int i = 0; i < SYS_NS_COUNT; i++)
		if (c->ns[i].wanted && !c->ns[i].path && i != SYS_NS_CGROUP && i != SYS_NS_TIME &&
		    !(i == SYS_NS_NETWORK && plan->late_cgroups))
			w.flags |= sys_ns_rows[i].flag;
	int r = runtime_birth_clone(&w, ours, &out->pid, &out->pidfd, err);
	fd_close(&theirs);
	fd_close(&plan->listen_fd);
	*out_sync = take_fd(&ours);
	return r;
}

static int build(struct runtime_plan *plan, int dir, struct runtime_container *out, struct err *err)
{
	struct config *c = plan->config;
	auto_fd int sync = -1;
	for (size_t i = 0; i < c->n_mounts && plan->opts.warn; i++)
		if (c->mounts[i].kind == MOUNT_BIND && c->mounts[i].data)
			plan->opts.warn(arena_printf(plan->arena,
						     "mounts[%zu].options: \"%s\" has no effect on a bind mount", i,
						     c->mounts[i].data)
						.ptr);
	int r = step("check preserved descriptors", err);
	r = r < 0 ? r : runtime_birth_preserved_check(&plan->opts, err);
	r = r < 0 ? r : runtime_birth_caps_check(&plan->opts, c->oci_version, c->process, err);
	r = r < 0 ? r : namespaces_open(plan, err);
	if (r == 0 && c->seccomp) {
		r = runtime_seccomp_compile(plan->arena, c->seccomp, plan->opts.cache_dir, &plan->filter, err);
		if (r < 0)
			return err_note(err, "config.json");
	}
	r = r < 0 ? r : step("cgroups", err);
	r = r < 0 ? r : cgroups_begin(plan, err);
	if (r == 0 && !plan->late_cgroups)
		r = cgroups_make(plan, err);
	r = r < 0 ? r : step("sources", err);
	if (r == 0 && geteuid() == 0 && !c->ns[SYS_NS_MOUNT].path)
		r = runtime_rootfs_sources_open(plan, false, err);
	if (r == 0 && c->process->terminal && plan->opts.console_socket)
		r = runtime_console_socket_connect(plan->opts.console_socket, &plan->console_fd, err);
	r = r < 0 ? r : step("start socket", err);
	if (r == 0 && plan->held)
		r = start_socket_make(plan, dir, err);
	r = r < 0 ? r : step("clone", err);
	r = r < 0 ? r : process_make(plan, out, &sync, err);
	r = r < 0 ? r : step("v1 cgroups", err);
	if (r == 0 && plan->scope)
		r = scope_make(plan, out->pid, err);
	if (r == 0 && plan->late_cgroups) {
		r = cgroups_make(plan, err);
		if (r == 0) /* gone: what it said is heard below */
			(void)runtime_sync_send(sync, SYNC_GO, 0, 0, NULL, -1);
	}
	r = r < 0 ? r : step("id maps", err);
	if (r == 0 && plan->userns_new)
		r = sys_ns_maps_write(out->pid, c->uids, c->n_uids, c->gids, c->n_gids, err);
	if (r == 0 && c->ns[SYS_NS_USER].wanted)
		r = runtime_final_rlimits(out->pid, c->process, runtime_birth_warn, &plan->opts, err);
	if (r == 0 && plan->userns_new && runtime_sync_send(sync, SYNC_GO, 0, 0, NULL, -1) < 0)
		r = runtime_birth_death(out->pid, err);
	if (r < 0)
		return r;
	/* While the child works: the number that identifies it for good. */
	struct sys_process p;
	r = sys_process_read(out->pid, &p, err);
	r = r < 0 ? r : step("state", err);
	r = r < 0 ? r : runtime_state_write(dir, plan, out->pid, p.start_ticks, err);
	r = r < 0 ? r : step("serve", err);
	r = r < 0 ? r : child_serve(plan, sync, out, err);
	r = r < 0 ? r : step("pid file", err);
	if (r == 0 && plan->opts.pid_file)
		r = runtime_lifecycle_pid_file_write(plan->opts.pid_file, out->pid, err);
	if (r < 0 || !plan->opts.start)
		return r;
	struct state s;
	runtime_state_of_plan(plan, out->pid, &s);
	if (plan->held) {
		r = runtime_lifecycle_prestart(c, &s, err);
		r = r < 0 ? r : runtime_lifecycle_let_go(dir, c, &s, out->pidfd, &plan->opts, err);
	}
	return r < 0 ? r : runtime_lifecycle_poststart(c, &s, &plan->opts, err);
}

static void plan_close(struct runtime_plan *plan)
{
	struct config *c = plan->config;
	for (size_t i = 0; i < c->n_mounts; i++)
		fd_close(&c->mounts[i].tree);
	for (size_t i = 0; i < c->n_devices; i++)
		fd_close(&c->devices[i].tree);
	for (int i = 0; i < SYS_NS_COUNT; i++)
		fd_close(&plan->ns_fd[i]);
	for (unsigned i = 0; i < plan->cgroup.n; i++) {
		fd_close(&plan->cgroup.dirs[i].fd);
		fd_close(&plan->cgroup.dirs[i].tasks_fd);
	}
	fd_close(&plan->root_tree);
	fd_close(&plan->listen_fd);
	fd_close(&plan->console_fd);
}

static void birth_undo(struct runtime_plan *plan, struct runtime_container *out)
{
	runtime_birth_undo(out, &plan->cgroup);
	runtime_lifecycle_unmount(plan->config, plan->rootfs);
	(void)sys_cgroup_remove(&plan->cgroup, 2000, NULL); /* the first cause is what is reported */
}

int runtime_create(struct runtime_plan *plan, struct runtime_container *out, struct err *err)
{
	struct runtime_container c = { .pidfd = -1, .terminal = -1 };
	auto_fd int dir = -1;
	int r = runtime_state_make(plan->opts.root, plan->opts.id, &dir, err);
	if (r < 0)
		return r;
	r = build(plan, dir, &c, err);
	if (r < 0) {
		struct state s;
		auto_buf struct buf text = {};
		bool born = c.pid > 0;
		birth_undo(plan, &c);
		runtime_state_of_plan(plan, c.pid, &s);
		runtime_state_json(&text, &s, STATE_STOPPED, false);
		plan_close(plan);
		if (born) /* The lifecycle continues at "destroyed": poststop hooks run, and cannot fail any more. */
			runtime_hook_run_rest(plan->config, HOOK_POSTSTOP, buf_span(&text), &plan->opts);
		fd_close(&dir);
		runtime_state_remove(plan->opts.root, plan->opts.id);
		if (plan->opts.pid_file)
			(void)unlink(plan->opts.pid_file);
		return r;
	}
	plan_close(plan);
	*out = c;
	return 0;
}
