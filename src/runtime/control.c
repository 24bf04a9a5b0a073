/* What is done to a container from outside while it runs. See runtime.h.
 *
 * Nothing here clones, builds or needs libseccomp. state.json says where the groups are; what is asked for is then asked from
 * the kernel. Changes are made with the container's folder locked, so that none meets a `delete`. */
#include <signal.h>

#include "runtime/plan.h"

int runtime_cgroup_open(struct arena *a, const char *root, const char *id, struct sys_cgroup *out, struct err *err)
{
	struct state s;
	int r = runtime_state_read(a, root, id, &s, NULL, err);
	if (r < 0)
		return r;
	r = sys_cgroup_open(&s.cgroup, err);
	if (r < 0)
		sys_cgroup_done(&s.cgroup);
	else
		*out = s.cgroup;
	return r;
}

int runtime_kill(const char *root, const char *id, int sig, bool all, struct err *err)
{
	auto_arena struct arena a = {};
	struct state s;
	auto_fd int dir = -1;
	int r = runtime_state_read(&a, root, id, &s, &dir, err);
	if (r < 0)
		return r;
	/* Without a pid namespace of its own the container does not die with its first process. */
	if (sig == SIGKILL && !s.has_pid_ns && s.cgroup.n)
		all = true;
	if (runtime_state_status(dir, &s) == STATE_STOPPED && !all)
		return err_set(err, ERR_NOT_FOUND, "container not running");
	return runtime_lifecycle_kill(&s, sig, all, err);
}

int runtime_freeze(const char *root, const char *id, bool on, struct err *err)
{
	auto_arena struct arena a = {};
	struct state s;
	auto_fd int dir = -1;
	int r = runtime_state_read(&a, root, id, &s, &dir, err);
	if (r < 0)
		return r;
	enum runtime_state_status status = runtime_state_status(dir, &s);
	if (on && status != STATE_RUNNING && status != STATE_CREATED)
		return err_set(err, ERR_IN_USE, "container not running or created: %s",
			       runtime_state_status_names[status]);
	if (!on && status != STATE_PAUSED)
		return err_set(err, ERR_IN_USE, "container not paused");
	auto_sys_cgroup struct sys_cgroup cg = s.cgroup;
	r = sys_cgroup_open(&cg, err);
	return r < 0 ? r : sys_cgroup_freeze(&cg, on, err);
}

int runtime_control_limits_set(const char *root, const char *id, const struct sys_cgroup_limits *l, struct err *err)
{
	auto_arena struct arena a = {};
	struct state s;
	auto_fd int dir = -1;
	int r = runtime_state_read(&a, root, id, &s, &dir, err);
	if (r < 0)
		return r;
	if (runtime_state_status(dir, &s) == STATE_STOPPED)
		return err_set(err, ERR_IN_USE, "container not running");
	auto_sys_cgroup struct sys_cgroup cg = s.cgroup;
	r = sys_cgroup_open(&cg, err);
	return r < 0 ? r : sys_cgroup_limits_set(&cg, l, err);
}

int runtime_update(const char *root, const char *id, struct span resources, struct err *err)
{
	auto_arena struct arena a = {};
	struct sys_cgroup_limits l = {};
	int r = runtime_config_resources_parse(&a, arena_span(&a, resources), &l, err);
	return r < 0 ? r : runtime_control_limits_set(root, id, &l, err);
}
