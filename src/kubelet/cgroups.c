/* See cgroups.h. */
#include "kubelet/cgroups.h"
#include "kubelet/config.h"

#include "sys/sys.h"

#include <dirent.h>
#include <unistd.h>

#define RETRY_NS (1 * NS_PER_S)
#define ASK_FIRST_MS 20
#define ASK_LAST_MS 1000
#define GROUPS 3
#define JOBS_MAX 100000

static const char *const classes[GROUPS] = { "", "burstable", "besteffort" };

struct kl_cgroups {
	struct kl_cgroups_params p;
	bool systemd;
	struct kubelet_cri_call *call;
	struct loop_timer again;
	struct loop_task begin;
	unsigned tries;
	struct loop_pool *pool; /* one thread: what was asked for later is done later. NULL without systemd */
	struct list jobs;
};

struct group {
	const char *path;
	struct sys_cgroup_limits limits;
};

/* What systemd is asked for, in order. */
struct job {
	struct loop_work work;
	struct list link;
	struct kl_cgroups *c; /* NULL: the kubelet has ended */
	struct arena arena;
	struct group group[GROUPS];
	unsigned n, at;
	bool remove;
	struct span uid; /* of a pod whose group it is; "" = kubepods and its classes */
	struct err why;
};

/* ---- names */

static void part_add(struct buf *out, struct buf *name, struct span part)
{
	if (name->len)
		buf_chr(name, '-');
	for (size_t i = 0; i < part.len; i++)
		buf_chr(name, part.ptr[i] == '-' ? '_' : part.ptr[i]);
	buf_printf(out, "/%.*s.slice", (int)name->len, name->ptr);
}

void kl_cgroup_path(struct buf *out, bool systemd, struct span root, const char *class, struct span uid)
{
	auto_buf struct buf name = {}, pod = {};
	struct span rest = root, part;
	while (root.len && root.ptr[root.len - 1] == '/')
		root.len--;
	if (!systemd) {
		buf_printf(out, "%.*s/kubepods%s%s", SPAN_ARG(root), *class ? "/" : "", class);
		if (uid.len)
			buf_printf(out, "/pod%.*s", SPAN_ARG(uid));
		return;
	}
	while (span_cut(&rest, '/', &part))
		if (part.len)
			part_add(out, &name, part);
	part_add(out, &name, SPAN("kubepods"));
	if (*class)
		part_add(out, &name, span_of(class));
	buf_printf(&pod, "pod%.*s", SPAN_ARG(uid));
	if (uid.len)
		part_add(out, &name, buf_span(&pod));
}

static const char *path_of(struct arena *a, const struct kl_cgroups *c, const char *class, struct span uid)
{
	auto_buf struct buf path = {};
	kl_cgroup_path(&path, c->systemd, c->p.k->o->cgroup_root, class, uid);
	return arena_cstr(a, buf_span(&path));
}

/* ---- groups */

static int folders_make(const struct group *g, struct err *err)
{
	const uint32_t wanted = 1u << SYS_CG_CPU | 1u << SYS_CG_MEMORY | 1u << SYS_CG_PIDS | 1u << SYS_CG_CPUSET;
	auto_arena struct arena a = {};
	auto_sys_cgroup struct sys_cgroup cg = {};
	int rc = sys_cgroup_locate(&a, g->path, false, "", &cg, err);
	if (rc == 0)
		rc = sys_cgroup_make(&cg, wanted, false, true, err);
	return rc == 0 ? sys_cgroup_limits_set(&cg, &g->limits, err) : rc;
}

/* Of hierarchies of version 1 systemd knows only some: the others are ours, with the same names. */
static int group_make(const struct group *g, bool systemd, struct err *err)
{
	if (systemd) {
		int rc = sys_slice_set(strrchr(g->path, '/') + 1, "pods of Knarr's kubelet", &g->limits, err);
		if (rc < 0 || sys_cgroup_pure_v2())
			return rc;
	}
	return folders_make(g, err);
}

static int group_remove(const struct group *g, bool systemd, struct err *err)
{
	auto_arena struct arena a = {};
	auto_sys_cgroup struct sys_cgroup cg = {};
	int rc = sys_cgroup_locate(&a, g->path, false, "", &cg, err);
	bool there = false;
	for (unsigned i = 0; rc == 0 && i < cg.n; i++)
		there |= access(cg.dirs[i].path, F_OK) == 0;
	if (rc < 0 || !there)
		return rc;
	if (systemd)
		rc = sys_slice_stop(strrchr(g->path, '/') + 1, err);
	return rc == 0 ? sys_cgroup_remove(&cg, 0, err) : rc;
}

/* ---- on systemd's thread */

static void job_free(struct job *j)
{
	if (j->c)
		list_remove(&j->link);
	err_done(&j->why);
	arena_done(&j->arena);
	free(j);
}

static void job_run(struct loop_work *w)
{
	struct job *j = container_of(w, struct job, work);
	int rc = 0;
	for (j->at = 0; rc == 0 && j->at < j->n; j->at += rc == 0)
		rc = j->remove ? group_remove(&j->group[j->at], true, &j->why) : group_make(&j->group[j->at], true, &j->why);
}

static void pod_made(struct kl *k, const struct job *j)
{
	struct kl_pod *p = map_get(&k->pods, j->uid);
	struct kl_worker *w = p ? p->worker : NULL;
	if (!w)
		return; /* forgotten meanwhile; its removal comes behind us */
	w->cgroup_out = false;
	if (j->why.class != ERR_NONE)
		return kl_cgroup_failed(w, j->group[0].path, &j->why);
	free((char *)w->cgroup.ptr);
	w->cgroup = span_make(mem_dup(j->group[0].path, strlen(j->group[0].path)), strlen(j->group[0].path));
	w->cgroup_made = true;
	kl_worker_wake(w);
}

static void job_done(struct loop_work *w)
{
	struct job *j = container_of(w, struct job, work);
	struct kl_cgroups *c = j->c;
	bool failed = j->why.class != ERR_NONE;
	if (c && j->remove && failed) {
		log_warn("a pod's cgroup stays", kv_str("path", j->group[j->at].path), kv_err(&j->why));
	} else if (c && !j->remove && j->uid.len) {
		pod_made(c->p.k, j);
	} else if (c && !j->remove) {
		if (failed)
			(void)err_note(&j->why, "making cgroup %s", j->group[j->at].path);
		c->p.ready(true, failed ? &j->why : NULL, c->p.arg);
	}
	job_free(j);
}

static struct job *job_new(struct kl_cgroups *c, struct span uid)
{
	struct job *j = mem_new(struct job);
	*j = (struct job){ .c = c };
	j->uid = arena_span(&j->arena, uid);
	list_push(&c->jobs, &j->link);
	return j;
}

static void job_submit(struct job *j)
{
	struct kl_cgroups *c = j->c;
	int rc = c->pool ? 0 : loop_pool_new(1, JOBS_MAX, &c->pool, &j->why);
	if (rc == 0)
		rc = loop_work_submit(c->pool, c->p.k->loop, &j->work, "cgroups", job_run, job_done);
	if (rc == 0)
		return;
	if (j->why.class == ERR_NONE)
		(void)err_set(&j->why, ERR_TOO_MANY, "%d changes of cgroups wait already", JOBS_MAX);
	job_done(&j->work);
}

/* ---- pods */

static void pod_limits(const struct kl *k, const struct api_core_pod_spec *s, struct sys_cgroup_limits *l)
{
	struct kl_sums sums;
	kl_sums(s, &sums);
	l->shares = (struct sys_cgroup_num){ true, kl_cpu_shares(sums.cpu_request) };
	if (sums.all_cpu_limited && k->o->cpu_cfs_quota) {
		l->period = (struct sys_cgroup_num){ true, 100000 };
		l->quota = (struct sys_cgroup_num){ true, kl_cpu_quota(sums.cpu_limit, 100000) };
	}
	if (sums.all_memory_limited && sums.memory_limit > 0)
		l->memory = (struct sys_cgroup_num){ true, sums.memory_limit };
	if (k->o->pod_pids_limit > 0)
		l->pids = (struct sys_cgroup_num){ true, k->o->pod_pids_limit };
}

void kl_cgroup_failed(struct kl_worker *w, const char *path, const struct err *why)
{
	kl_pod_event(w->pod, SPAN_EMPTY, "Warning", "FailedCreatePodContainer",
		     "unable to ensure pod container exists: failed to create container for %s : %s", path, err_msg(why));
	w->sandbox_retry_ns = loop_wall_ns(w->pod->k->loop) + RETRY_NS;
	kl_worker_wake(w);
}

bool kl_cgroup_make(struct kl_worker *w)
{
	struct kl_pod *p = w->pod;
	struct kl_cgroups *c = p->k->cgroups;
	const struct api_core_pod_spec *s = &p->object->pod.spec;
	enum kl_qos qos = kl_qos(s);
	const char *class = classes[qos == KL_BURSTABLE ? 1 : qos == KL_BEST_EFFORT ? 2 : 0];
	if (!p->k->o->cgroups_per_qos)
		return true;
	if (c->systemd) {
		if (w->cgroup_made) {
			w->cgroup_made = false; /* the next sandbox has it looked at anew */
			return true;
		}
		if (w->cgroup_out)
			return false;
		struct job *j = job_new(c, p->uid);
		j->group[j->n++].path = path_of(&j->arena, c, class, p->uid);
		pod_limits(p->k, s, &j->group[0].limits);
		w->cgroup_out = true;
		job_submit(j);
		return false;
	}
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct group g = { .path = path_of(&a, c, class, p->uid) };
	pod_limits(p->k, s, &g.limits);
	if (group_make(&g, false, &err) < 0) {
		kl_cgroup_failed(w, g.path, &err);
		return false;
	}
	FAILPOINT("kubelet.cgroup.made");
	free((char *)w->cgroup.ptr);
	w->cgroup = span_make(mem_dup(g.path, strlen(g.path)), strlen(g.path));
	return true;
}

/* In each class: an earlier kubelet may have made it. */
static void pod_remove(struct kl_cgroups *c, struct span uid, bool told)
{
	struct job *j = job_new(c, uid);
	j->remove = true;
	for (; j->n < GROUPS; j->n++)
		j->group[j->n].path = path_of(&j->arena, c, classes[j->n], uid);
	if (c->systemd)
		return job_submit(j);
	for (unsigned i = 0; i < j->n; i++) {
		auto_err struct err err = ERR_INIT;
		if (group_remove(&j->group[i], false, &err) == 0)
			continue;
		if (told)
			log_warn("a pod's cgroup stays", kv_str("path", j->group[i].path), kv_err(&err));
		else
			log_debug("a pod's cgroup stays", kv_str("path", j->group[i].path), kv_err(&err));
	}
	FAILPOINT("kubelet.cgroup.removed");
	job_free(j);
}

void kl_cgroup_remove(struct kl_worker *w)
{
	struct kl_pod *p = w->pod;
	if (!p->k->o->cgroups_per_qos)
		return;
	free((char *)w->cgroup.ptr);
	w->cgroup = SPAN_EMPTY;
	w->cgroup_made = false;
	pod_remove(p->k->cgroups, p->uid, false);
}

/* ---- what is nobody's */

/* Groups of pods in one folder that no pod of ours has. name: with a "@" where the UID stands. */
static void sweep_folder(struct kl_cgroups *c, const char *folder, struct span name)
{
	struct span before, after, uid;
	DIR *d = opendir(folder);
	if (!span_split(name, '@', &before, &after)) /* there is no other: kl_cgroup_path */
		before = after = SPAN_EMPTY;
	for (struct dirent *e; d && (e = readdir(d));) {
		char text[64];
		struct span n = span_of(e->d_name);
		if (n.len <= before.len + after.len || n.len - before.len - after.len >= sizeof(text) || !span_starts(n, before) ||
		    !span_ends(n, after))
			continue;
		uid = span_sub(n, before.len, n.len - after.len);
		for (size_t i = 0; i < uid.len; i++)
			text[i] = c->systemd && uid.ptr[i] == '_' ? '-' : uid.ptr[i];
		uid = span_make(text, uid.len);
		if (map_get(&c->p.k->pods, uid))
			continue;
		log_info("the group of a pod that is gone is removed", kv_span("uid", uid));
		pod_remove(c, uid, true);
	}
	if (d)
		(void)closedir(d);
}

void kl_cgroups_sweep(struct kl *k)
{
	struct kl_cgroups *c = k->cgroups;
	for (unsigned i = 0; i < GROUPS && k->o->cgroups_per_qos; i++) {
		auto_arena struct arena a = {};
		auto_sys_cgroup struct sys_cgroup cg = {};
		struct span path = span_of(path_of(&a, c, classes[i], SPAN("@")));
		ptrdiff_t slash = span_rchr(path, '/');
		if (slash < 0 || sys_cgroup_locate(&a, arena_cstr(&a, span_sub(path, 0, (size_t)slash)), false, "", &cg, NULL) < 0)
			continue;
		for (unsigned h = 0; h < cg.n; h++)
			sweep_folder(c, cg.dirs[h].path, span_from(path, (size_t)slash + 1));
	}
}

/* ---- the beginning */

static void classes_make(struct kl_cgroups *c)
{
	struct job *j = job_new(c, SPAN_EMPTY);
	for (; j->n < GROUPS; j->n++)
		j->group[j->n].path = path_of(&j->arena, c, classes[j->n], SPAN_EMPTY);
	j->group[2].limits.shares = (struct sys_cgroup_num){ true, 2 };
	if (c->systemd)
		return job_submit(j);
	auto_err struct err err = ERR_INIT;
	int rc = 0;
	for (unsigned i = 0; rc == 0 && i < j->n; i++) {
		rc = group_make(&j->group[i], false, &err);
		if (rc < 0)
			(void)err_note(&err, "making cgroup %s", j->group[i].path);
	}
	job_free(j);
	c->p.ready(false, rc < 0 ? &err : NULL, c->p.arg);
}

static void on_config(const struct err *why, const void *reply, void *arg)
{
	enum { SYSTEMD, CGROUPFS }; /* CgroupDriver */
	const struct api_cri_runtime_config_response *r = reply;
	struct kl_cgroups *c = arg;
	c->call = NULL;
	if (why && why->class != ERR_UNSUPPORTED) {
		unsigned times = MIN(c->tries, 8u);
		c->tries++;
		loop_timer_start(&c->again, MIN(ASK_FIRST_MS << times, ASK_LAST_MS));
		c->p.away(why, c->p.arg);
		return;
	}
	c->systemd = span_is(c->p.k->o->cgroup_driver, "systemd");
	if (!why && r->linux_)
		c->systemd = r->linux_->cgroup_driver == SYSTEMD;
	else
		log_info("the runtime does not say who manages cgroups: --cgroup-driver does", kv_span("driver", c->p.k->o->cgroup_driver));
	classes_make(c);
}

static void ask(struct kl_cgroups *c)
{
	struct api_cri_runtime_config_request q = {};
	c->call = kubelet_cri_runtime_config(c->p.k->cri, &q, on_config, c);
}

static void on_again(struct loop_timer *t)
{
	ask(container_of(t, struct kl_cgroups, again));
}

static void on_begin(struct loop_task *t)
{
	struct kl_cgroups *c = container_of(t, struct kl_cgroups, begin);
	if (c->p.k->o->cgroups_per_qos)
		ask(c);
	else
		c->p.ready(span_is(c->p.k->o->cgroup_driver, "systemd"), NULL, c->p.arg);
}

struct kl_cgroups *kl_cgroups_begin(const struct kl_cgroups_params *p)
{
	struct kl_cgroups *c = mem_new(struct kl_cgroups);
	*c = (struct kl_cgroups){ .p = *p };
	list_init(&c->jobs);
	loop_timer_init(&c->again, p->k->loop, "cgroup driver", on_again);
	loop_task_init(&c->begin, on_begin);
	loop_defer(p->k->loop, &c->begin);
	return c;
}

void kl_cgroups_free(struct kl_cgroups *c)
{
	if (!c)
		return;
	if (c->call)
		kubelet_cri_cancel(c->call);
	loop_timer_stop(&c->again);
	loop_task_cancel(&c->begin);
	LIST_EACH(&c->jobs, j, struct job, link) {
		if (loop_work_cancel(&j->work)) {
			job_free(j);
		} else {
			list_remove(&j->link);
			j->c = NULL; /* it frees itself */
		}
	}
	loop_pool_free(c->pool);
	free(c);
}
