/* From config.json to the list of steps. Pure but for reading the bundle. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/plan.h"

#define CONFIG_MAX (16 << 20)
#define MOUNTS_BEFORE_CGROUP 8

static const char *const step_texts[STEP_COUNT] = {
#define X(name, text) [STEP_##name] = text,
	STEPS(X)
#undef X
};

void runtime_plan_step_print(const struct runtime_plan *plan, const struct step *s, struct buf *out)
{
	const struct config *c = plan->config;
	switch (s->kind) {
	case STEP_MOUNT: {
		const struct config_mount *m = &c->mounts[s->index];
		buf_printf(out, "mount %s to %s in container", m->kind == MOUNT_BIND ? m->source : m->type,
			   m->destination);
		return;
	}
	case STEP_JOIN: buf_printf(out, "join %s namespace", sys_ns_rows[s->index].name); return;
	case STEP_SYSCTL: buf_printf(out, "write sysctl %s", c->sysctl[s->index].key); return;
	case STEP_MASK: buf_printf(out, "mask %s", c->masked[s->index]); return;
	case STEP_READONLY: buf_printf(out, "make %s read-only", c->readonly[s->index]); return;
	default: buf_str(out, step_texts[s->kind]); return;
	}
}

void runtime_plan_print(const struct runtime_plan *plan, struct buf *out)
{
	for (size_t i = 0; i < plan->n_steps; i++) {
		runtime_plan_step_print(plan, &plan->steps[i], out);
		buf_chr(out, '\n');
	}
}

static void put(struct runtime_plan *plan, enum step_kind kind, size_t index)
{
	plan->steps[plan->n_steps++] = (struct step){ kind, index };
}

static bool filled(const char *s)
{
	return s && *s;
}

bool runtime_plan_may_wait_for_cgroups(const struct runtime_plan *plan)
{
	const struct config *c = plan->config;
	return plan->mountns_new && !c->ns[SYS_NS_USER].wanted && !c->ns[SYS_NS_CGROUP].path;
}

static void steps_make(struct runtime_plan *plan)
{
	const struct config *c = plan->config;
	size_t most = STEP_COUNT + SYS_NS_COUNT + c->n_sysctl + c->n_mounts + c->n_masked + c->n_readonly;
	plan->steps = arena_alloc_n(plan->arena, most, sizeof(*plan->steps));
	put(plan, STEP_SESSION, 0);
	/* The group before the user namespace: what we hold open there was opened with the rights of outside, but a
	 * cgroup namespace must belong to the user namespace. */
	if (c->ns[SYS_NS_USER].wanted)
		put(plan, STEP_MAPS, 0);
	bool cgroup_early = !runtime_plan_may_wait_for_cgroups(plan);
	if (cgroup_early)
		put(plan, STEP_CGROUP, 0);
	for (size_t ns = 0; ns < SYS_NS_COUNT; ns++)
		if (c->ns[ns].path && ns != SYS_NS_USER && ns != SYS_NS_PID)
			put(plan, STEP_JOIN, ns);
	if (c->ns[SYS_NS_TIME].wanted && !c->ns[SYS_NS_TIME].path)
		put(plan, STEP_TIME, 0);
	if (c->ns[SYS_NS_NETWORK].wanted && !c->ns[SYS_NS_NETWORK].path) {
		put(plan, STEP_NETWORK, 0);
		put(plan, STEP_LOOPBACK, 0);
	}
	if (!plan->opts.no_new_keyring)
		put(plan, STEP_KEYRING, 0);
	if (filled(c->hostname))
		put(plan, STEP_HOSTNAME, 0);
	if (filled(c->domainname))
		put(plan, STEP_DOMAINNAME, 0);
	for (size_t i = 0; i < c->n_sysctl; i++)
		put(plan, STEP_SYSCTL, i);
	if (c->process->has_oom_score)
		put(plan, STEP_OOM_SCORE, 0);
	if (filled(c->process->apparmor) || filled(c->process->selinux))
		put(plan, STEP_LABELS, 0);
	if (plan->mountns_new)
		put(plan, STEP_PROPAGATION, 0);
	put(plan, STEP_SOURCES, 0);
	put(plan, STEP_ROOT_ATTACH, 0);
	/* Some mounts later than it could be, for the parent makes the groups meanwhile. Not behind one for the groups themselves,
	 * which shows the one that we are in, and behind none that has contents or many: their memory is the container's. */
	bool in_group = cgroup_early;
	for (size_t i = 0; i < c->n_mounts; i++) {
		if (!in_group && (c->mounts[i].kind == MOUNT_CGROUP || c->mounts[i].opts.copy_up || i == MOUNTS_BEFORE_CGROUP)) {
			put(plan, STEP_CGROUP, 0);
			in_group = true;
		}
		put(plan, STEP_MOUNT, i);
	}
	if (!in_group)
		put(plan, STEP_CGROUP, 0);
	if (plan->own_dev)
		put(plan, STEP_DEVICES, 0);
	/* Hooks see the mounts in place and may still add to them; the root changes afterwards. */
	if ((c->n_hooks[HOOK_PRESTART] && !c->prestart_at_start) || c->n_hooks[HOOK_CREATE_RUNTIME])
		put(plan, STEP_HOOKS_RUNTIME, 0);
	if (c->n_hooks[HOOK_CREATE_CONTAINER])
		put(plan, STEP_HOOKS_CONTAINER, 0);
	put(plan, STEP_CWD, 0);
	if (c->process->terminal)
		put(plan, STEP_TERMINAL, 0);
	for (size_t i = 0; i < c->n_readonly; i++)
		put(plan, STEP_READONLY, i);
	for (size_t i = 0; i < c->n_masked; i++)
		put(plan, STEP_MASK, i);
	if (c->root_readonly)
		put(plan, STEP_ROOT_READONLY, 0);
	put(plan, STEP_PIVOT, 0);
	put(plan, STEP_DETACH, 0);
	if (c->root_propagation && plan->mountns_new)
		put(plan, STEP_ROOT_PROPAGATION, 0);
}

/* What every container may open and make, behind the rules of the file, as runc adds them: any node may be made (mknod is
 * bounded by CAP_MKNOD), these may be used. */
static const struct sys_cgroup_device default_rules[] = {
	{ true, 'c', -1, -1, false, false, true }, { true, 'b', -1, -1, false, false, true },
	{ true, 'c', 1, 3, true, true, true },	   { true, 'c', 1, 5, true, true, true },
	{ true, 'c', 1, 7, true, true, true },	   { true, 'c', 1, 8, true, true, true },
	{ true, 'c', 1, 9, true, true, true },	   { true, 'c', 5, 0, true, true, true },
	{ true, 'c', 5, 2, true, true, true },	   { true, 'c', 136, -1, true, true, true },
};

static void rules_make(struct runtime_plan *plan)
{
	const struct config *c = plan->config;
	plan->rules = arena_alloc_n(plan->arena, c->n_device_rules + ARRAY_LEN(default_rules), sizeof(*plan->rules));
	for (size_t i = 0; i < c->n_device_rules; i++)
		plan->rules[plan->n_rules++] = c->device_rules[i];
	for (size_t i = 0; i < ARRAY_LEN(default_rules); i++)
		plan->rules[plan->n_rules++] = default_rules[i];
}

static int annotations_check(const struct config *c, struct err *err)
{
	for (size_t i = 0; i < c->n_annotations; i++)
		if (!c->annotations[i].value)
			return err_set(err, ERR_INVALID, "annotations.%s: expected a string", c->annotations[i].key);
	return 0;
}

int runtime_plan_parse(struct arena *a, const struct runtime_opts *opts, struct span text, struct runtime_plan **out,
		       struct err *err)
{
	struct runtime_plan *plan = arena_new(a, struct runtime_plan);
	plan->opts = *opts;
	plan->arena = a;
	plan->text = text;
	plan->root_tree = plan->listen_fd = plan->console_fd = -1;
	for (int i = 0; i < SYS_NS_COUNT; i++)
		plan->ns_fd[i] = -1;
	int r = runtime_config_parse(a, text, &plan->config, err);
	if (r < 0)
		return err_note(err, "config.json");
	struct config *c = plan->config;
	if (!c->process && opts->start)
		return err_set(err, ERR_INVALID, "config.json: process: is missing, there is nothing to run");
	if (!c->process) { /* "REQUIRED when start is called" (config.md, Process): this one waits for its end */
		c->process = arena_new(a, struct config_process);
		c->process->cwd = "/";
		c->process->args = c->process->env = arena_zalloc(a, sizeof(char *)); /* empty lists */
	}
	r = annotations_check(c, err);
	if (r < 0)
		return err_note(err, "config.json");
	plan->userns_new = c->ns[SYS_NS_USER].wanted && !c->ns[SYS_NS_USER].path;
	plan->mountns_new = c->ns[SYS_NS_MOUNT].wanted && !c->ns[SYS_NS_MOUNT].path;
	plan->own_dev = c->ns[SYS_NS_MOUNT].wanted;
	plan->held = !opts->start || c->prestart_at_start;
	for (size_t i = 0; i < c->n_mounts; i++) {
		struct config_mount *m = &c->mounts[i];
		if (m->kind == MOUNT_BIND && (!strcmp(m->destination, "/dev") || !strcmp(m->destination, "/dev/")))
			plan->own_dev = false;
		if (m->kind == MOUNT_BIND && m->source[0] != '/')
			m->source = arena_printf(a, "%s/%s", opts->bundle, m->source).ptr;
	}
	plan->rootfs = c->root_path[0] == '/' ? c->root_path : arena_printf(a, "%s/%s", opts->bundle, c->root_path).ptr;
	rules_make(plan);
	steps_make(plan);
	*out = plan;
	return 0;
}

int runtime_plan_load(struct arena *a, const struct runtime_opts *opts, struct runtime_plan **out, struct err *err)
{
	auto_buf struct buf text = {};
	const char *name = opts->config ? opts->config : "config.json";
	char path[PATH_MAX];
	if (snprintf(path, sizeof(path), "%s%s%s", opts->config ? "" : opts->bundle, opts->config ? "" : "/", name) >=
	    (int)sizeof(path))
		return err_set(err, ERR_INVALID, "the bundle's path is longer than %d bytes", PATH_MAX);
	if (sys_file_read(AT_FDCWD, path, &text, CONFIG_MAX) < 0) {
		if (errno == ENOENT)
			return err_set(err, ERR_NOT_FOUND, "JSON specification file %s not found", path);
		return err_sys(err, "read %s", path);
	}
	struct span copy = arena_span(a, buf_span(&text));
	struct runtime_plan *plan;
	int r = runtime_plan_parse(a, opts, copy, &plan, err);
	if (r < 0)
		return r;
	char real[PATH_MAX];
	struct stat st;
	if (!realpath(plan->rootfs, real) || stat(real, &st) < 0)
		return err_sys(err, "config.json: root.path: %s", plan->rootfs);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID, "config.json: root.path: %s is not a folder", plan->rootfs);
	if (!strcmp(real, "/"))
		return err_set(err, ERR_INVALID, "config.json: root.path: must not be the host's root");
	plan->rootfs = arena_cstr(a, span_of(real));
	*out = plan;
	return 0;
}
