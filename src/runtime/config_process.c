/* The process object of config.json: also what `exec --process` takes. */
#include <linux/ioprio.h>
#include <string.h>

#include "runtime/config.h"

#define IDS_MAX 65536 /* the kernel's NGROUPS_MAX */
#define CPUS_MAX (8 * sizeof(cpu_set_t)) /* CPU_SETSIZE of glibc; musl's is a smaller number than its set has room for */

static const struct {
	const char *name;
	uint32_t policy;
} policies[] = {
	{ "SCHED_OTHER", 0 }, { "SCHED_FIFO", 1 }, { "SCHED_RR", 2 },	    { "SCHED_BATCH", 3 },
	{ "SCHED_ISO", 4 },   { "SCHED_IDLE", 5 }, { "SCHED_DEADLINE", 6 },
};

static const struct {
	const char *name;
	uint64_t flag;
} policy_flags[] = {
	{ "SCHED_FLAG_RESET_ON_FORK", 0x01 },  { "SCHED_FLAG_RECLAIM", 0x02 },
	{ "SCHED_FLAG_DL_OVERRUN", 0x04 },     { "SCHED_FLAG_KEEP_POLICY", 0x08 },
	{ "SCHED_FLAG_KEEP_PARAMS", 0x10 },    { "SCHED_FLAG_UTIL_CLAMP_MIN", 0x20 },
	{ "SCHED_FLAG_UTIL_CLAMP_MAX", 0x40 },
};

static void user_read(struct reader *r, const struct at *up, const struct json *process, struct config_process *p)
{
	const struct at *at = AT(up, "user");
	const struct json *u = runtime_reader_get(r, at, process, JSON_OBJECT);
	int64_t n = 0;
	/* 2^32-1 means "no change" to the kernel, so it is nobody's id */
	if (runtime_reader_int(r, AT(at, "uid"), u, 0, UINT32_MAX - 1, &n))
		p->uid = (uint32_t)n;
	if (runtime_reader_int(r, AT(at, "gid"), u, 0, UINT32_MAX - 1, &n))
		p->gid = (uint32_t)n;
	p->has_umask = runtime_reader_int(r, AT(at, "umask"), u, 0, 0777, &n);
	if (p->has_umask)
		p->umask = (unsigned)n;
	const struct at *gids_at = AT(at, "additionalGids");
	const struct json *gids = runtime_reader_get(r, gids_at, u, JSON_ARRAY);
	if (gids && gids->n > IDS_MAX)
		runtime_reader_fail(r, gids_at, "more than %d groups", IDS_MAX);
	if (!gids || r->failed)
		return;
	p->gids = arena_alloc_n(r->a, gids->n, sizeof(*p->gids));
	for (uint32_t i = 0; i < gids->n; i++) {
		int64_t g = json_i64(&gids->items[i], -1);
		if (g < 0 || g >= UINT32_MAX)
			runtime_reader_fail(r, AT_INDEX(gids_at, i), "expected a group id");
		p->gids[p->n_gids++] = (uint32_t)g;
	}
}

static void caps_read(struct reader *r, const struct at *up, const struct json *process, struct config_process *p)
{
	const struct at *at = AT(up, "capabilities");
	const struct json *caps = runtime_reader_get(r, at, process, JSON_OBJECT);
	if (!caps)
		return;
	const struct {
		const char *name;
		uint64_t *bits;
	} sets[] = {
		{ "bounding", &p->caps.bounding },   { "effective", &p->caps.effective },
		{ "permitted", &p->caps.permitted }, { "inheritable", &p->caps.inheritable },
		{ "ambient", &p->caps.ambient },
	};
	p->has_caps = true;
	for (size_t s = 0; s < ARRAY_LEN(sets); s++) {
		const struct at *set_at = AT(at, sets[s].name);
		const struct json *list = runtime_reader_get(r, set_at, caps, JSON_ARRAY);
		JSON_EACH_ITEM (list, item) {
			int cap = sys_caps_by_name(json_span(item));
			/* The specification: what cannot be granted is a warning and no error. */
			if (!json_is(item, JSON_STRING))
				runtime_reader_fail(r, AT_INDEX(set_at, (size_t)(item - list->items)),
						    "expected a name");
			else if (cap >= 0)
				*sets[s].bits |= UINT64_C(1) << cap;
			else if (!p->unknown_caps || !strstr(p->unknown_caps, arena_cstr(r->a, json_span(item))))
				p->unknown_caps = arena_printf(r->a, "%s%s%.*s", p->unknown_caps ? p->unknown_caps : "",
							       p->unknown_caps ? " " : "", SPAN_ARG(json_span(item)))
							  .ptr;
		}
	}
}

static void rlimits_read(struct reader *r, const struct at *up, const struct json *process, struct config_process *p)
{
	const struct at *at = AT(up, "rlimits");
	const struct json *list = runtime_reader_get(r, at, process, JSON_ARRAY);
	if (!list || !list->n)
		return;
	if (list->n > 64) {
		runtime_reader_fail(r, at, "more than 64 limits");
		return;
	}
	p->rlimits = arena_alloc_n(r->a, list->n, sizeof(*p->rlimits));
	JSON_EACH_ITEM (list, item) {
		const struct at *here = AT_INDEX(at, (size_t)(item - list->items));
		struct config_rlimit limit = {};
		if (!json_is(item, JSON_OBJECT))
			runtime_reader_fail(r, here, "expected an object");
		const char *type = runtime_reader_str(r, AT(here, "type"), item);
		limit.resource = type ? sys_rlimit_by_name(span_of(type)) : -1;
		if (limit.resource < 0)
			runtime_reader_fail(r, AT(here, "type"), "\"%s\" is no resource limit", type ? type : "");
		for (size_t i = 0; i < p->n_rlimits; i++)
			if (p->rlimits[i].resource == limit.resource)
				runtime_reader_fail(r, AT(here, "type"), "%s is given twice", type);
		static const char *const names[] = { "soft", "hard" };
		for (int k = 0; k < 2; k++) {
			const struct json *v = runtime_reader_get(r, AT(here, names[k]), item, JSON_INT);
			/* -1 is how some writers spell "unlimited" */
			uint64_t n = v && v->kind == JSON_UINT ? v->u : v ? (uint64_t)json_i64(v, 0) : 0;
			if (!v)
				runtime_reader_fail(r, AT(here, names[k]), "is missing");
			*(k ? &limit.value.rlim_max : &limit.value.rlim_cur) = n;
		}
		if (limit.value.rlim_cur > limit.value.rlim_max)
			runtime_reader_fail(r, here, "soft limit %llu is above hard limit %llu",
					    (unsigned long long)limit.value.rlim_cur,
					    (unsigned long long)limit.value.rlim_max);
		if (r->failed)
			return;
		p->rlimits[p->n_rlimits++] = limit;
	}
}

static void scheduler_read(struct reader *r, const struct at *up, const struct json *process, struct config_process *p)
{
	const struct at *at = AT(up, "scheduler");
	const struct json *s = runtime_reader_get(r, at, process, JSON_OBJECT);
	if (!s)
		return;
	struct sys_sched_attr *a = &p->scheduler;
	*a = (struct sys_sched_attr){ .size = sizeof(*a) };
	const char *policy = runtime_reader_str(r, AT(at, "policy"), s);
	bool found = false;
	for (size_t i = 0; policy && i < ARRAY_LEN(policies); i++)
		if (!strcmp(policy, policies[i].name)) {
			a->policy = policies[i].policy;
			found = true;
		}
	if (!found)
		runtime_reader_fail(r, AT(at, "policy"), "\"%s\" is no scheduling policy", policy ? policy : "");
	int64_t n = 0;
	if (runtime_reader_int(r, AT(at, "nice"), s, -20, 19, &n))
		a->nice = (int32_t)n;
	bool rt = a->policy == 1 || a->policy == 2;
	if (runtime_reader_int(r, AT(at, "priority"), s, 0, 99, &n)) {
		a->priority = (uint32_t)n;
		if (n && !rt)
			runtime_reader_fail(r, AT(at, "priority"), "only for SCHED_FIFO and SCHED_RR");
	}
	const struct at *flags_at = AT(at, "flags");
	const struct json *flags = runtime_reader_get(r, flags_at, s, JSON_ARRAY);
	JSON_EACH_ITEM (flags, item) {
		uint64_t flag = 0;
		for (size_t i = 0; i < ARRAY_LEN(policy_flags); i++)
			if (span_is(json_span(item), policy_flags[i].name))
				flag = policy_flags[i].flag;
		if (!flag)
			runtime_reader_fail(r, AT_INDEX(flags_at, (size_t)(item - flags->items)),
					    "no such scheduler flag");
		a->flags |= flag;
	}
	static const char *const names[] = { "runtime", "deadline", "period" };
	uint64_t *values[] = { &a->runtime_ns, &a->deadline_ns, &a->period_ns };
	for (int i = 0; i < 3; i++) {
		if (!runtime_reader_int(r, AT(at, names[i]), s, 0, INT64_MAX, &n))
			continue;
		*values[i] = (uint64_t)n;
		if (n && a->policy != 6)
			runtime_reader_fail(r, AT(at, names[i]), "only for SCHED_DEADLINE");
	}
	p->has_scheduler = true;
}

static void ioprio_read(struct reader *r, const struct at *up, const struct json *process, struct config_process *p)
{
	static const struct {
		const char *name;
		int class;
	} classes[] = { { "IOPRIO_CLASS_RT", IOPRIO_CLASS_RT },
			{ "IOPRIO_CLASS_BE", IOPRIO_CLASS_BE },
			{ "IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE } };
	const struct at *at = AT(up, "ioPriority");
	const struct json *io = runtime_reader_get(r, at, process, JSON_OBJECT);
	if (!io)
		return;
	const char *class = runtime_reader_str(r, AT(at, "class"), io);
	int number = -1;
	for (size_t i = 0; class && i < ARRAY_LEN(classes); i++)
		if (!strcmp(class, classes[i].name))
			number = classes[i].class;
	if (number < 0)
		runtime_reader_fail(r, AT(at, "class"), "\"%s\" is no I/O priority class", class ? class : "");
	int64_t n = 0;
	runtime_reader_int(r, AT(at, "priority"), io, 0, 7, &n);
	p->has_ioprio = true;
	p->ioprio = IOPRIO_PRIO_VALUE(number, (int)n);
}

struct config_process *runtime_config_process_read(struct reader *r, const struct at *at, const struct json *process)
{
	struct config_process *p = arena_new(r->a, struct config_process);
	int64_t n = 0;
	p->terminal = runtime_reader_bool(r, AT(at, "terminal"), process);
	const struct at *size_at = AT(at, "consoleSize");
	const struct json *size = runtime_reader_get(r, size_at, process, JSON_OBJECT);
	if (runtime_reader_int(r, AT(size_at, "width"), size, 0, 65535, &n))
		p->width = (unsigned)n;
	if (runtime_reader_int(r, AT(size_at, "height"), size, 0, 65535, &n))
		p->height = (unsigned)n;
	user_read(r, at, process, p);
	p->args = runtime_reader_strings(r, AT(at, "args"), process, &p->n_args);
	p->env = runtime_reader_strings(r, AT(at, "env"), process, &p->n_env);
	if (!p->n_args)
		runtime_reader_fail(r, AT(at, "args"), "args must not be empty");
	else if (!p->args[0][0])
		runtime_reader_fail(r, AT_INDEX(AT(at, "args"), 0), "the program's name is empty");
	for (size_t i = 0; i < p->n_env; i++)
		if (!strchr(p->env[i], '=') || p->env[i][0] == '=')
			runtime_reader_fail(r, AT_INDEX(AT(at, "env"), i), "\"%s\" is not NAME=value", p->env[i]);
	p->cwd = runtime_reader_str(r, AT(at, "cwd"), process);
	if (!p->cwd || !*p->cwd)
		runtime_reader_fail(r, AT(at, "cwd"), "Cwd property must not be empty");
	else if (p->cwd[0] != '/')
		runtime_reader_fail(r, AT(at, "cwd"), "Cwd must be an absolute path, found \"%s\"", p->cwd);
	caps_read(r, at, process, p);
	rlimits_read(r, at, process, p);
	p->no_new_privs = runtime_reader_bool(r, AT(at, "noNewPrivileges"), process);
	p->apparmor = runtime_reader_str(r, AT(at, "apparmorProfile"), process);
	p->selinux = runtime_reader_str(r, AT(at, "selinuxLabel"), process);
	p->has_oom_score = runtime_reader_int(r, AT(at, "oomScoreAdj"), process, -1000, 1000, &n);
	if (p->has_oom_score)
		p->oom_score = (int)n;
	scheduler_read(r, at, process, p);
	ioprio_read(r, at, process, p);
	const struct at *affinity_at = AT(at, "execCPUAffinity");
	const struct json *affinity = runtime_reader_get(r, affinity_at, process, JSON_OBJECT);
	p->cpus_initial = runtime_reader_str(r, AT(affinity_at, "initial"), affinity);
	p->cpus_final = runtime_reader_str(r, AT(affinity_at, "final"), affinity);
	cpu_set_t set;
	if (p->cpus_initial && !runtime_config_cpus_parse(p->cpus_initial, &set))
		runtime_reader_fail(r, AT(affinity_at, "initial"), "\"%s\" is no list of CPUs", p->cpus_initial);
	if (p->cpus_final && !runtime_config_cpus_parse(p->cpus_final, &set))
		runtime_reader_fail(r, AT(affinity_at, "final"), "\"%s\" is no list of CPUs", p->cpus_final);
	return p;
}

bool runtime_config_cpus_parse(const char *text, cpu_set_t *out)
{
	uint8_t bits[CPUS_MAX / 8];
	cpu_set_t set;
	CPU_ZERO(&set);
	if (!sys_numbers_parse(span_of(text), bits, sizeof(bits)))
		return false;
	for (unsigned i = 0; i < CPUS_MAX; i++)
		if (bits[i / 8] & (1U << i % 8))
			CPU_SET(i, &set);
	if (!CPU_COUNT(&set))
		return false;
	*out = set;
	return true;
}

int runtime_config_process_parse(struct arena *a, struct span text, struct config_process **out, struct err *err)
{
	struct json v;
	int r = json_parse(a, text, JSON_BORROW | JSON_DUPLICATES_LAST, &(struct json_limits){ .bytes = 8 << 20 }, &v,
			   err);
	if (r < 0)
		return err_note(err, "process");
	if (v.kind != JSON_OBJECT)
		return err_set(err, ERR_INVALID, "process: expected an object");
	struct reader rd = { .a = a, .err = err };
	struct config_process *p = runtime_config_process_read(&rd, AT(NULL, "process"), &v);
	if (!rd.failed)
		*out = p;
	return rd.failed;
}
