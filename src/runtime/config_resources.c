/* linux.resources of config.json, also the body of `update`. */
#include <limits.h>
#include <string.h>

#include "runtime/config.h"

#define LIST_MAX 4096

static const struct json *list_get(struct reader *r, const struct at *at, const struct json *object, size_t *out_n)
{
	const struct json *v = runtime_reader_get(r, at, object, JSON_ARRAY);
	*out_n = v ? v->n : 0;
	if (*out_n > LIST_MAX) {
		runtime_reader_fail(r, at, "more than %d items", LIST_MAX);
		*out_n = 0;
	}
	for (size_t i = 0; i < *out_n; i++)
		if (!json_is(&v->items[i], JSON_OBJECT))
			runtime_reader_fail(r, AT_INDEX(at, i), "expected an object");
	if (r->failed)
		*out_n = 0;
	return v;
}

static void memory_read(struct reader *r, const struct at *up, const struct json *resources,
			struct sys_cgroup_limits *l)
{
	const struct at *at = AT(up, "memory");
	const struct json *m = runtime_reader_get(r, at, resources, JSON_OBJECT);
	l->memory = runtime_reader_num(r, AT(at, "limit"), m, -1, INT64_MAX);
	l->reservation = runtime_reader_num(r, AT(at, "reservation"), m, -1, INT64_MAX);
	l->swap = runtime_reader_num(r, AT(at, "swap"), m, -1, INT64_MAX);
	l->kernel = runtime_reader_num(r, AT(at, "kernel"), m, -1, INT64_MAX);
	l->kernel_tcp = runtime_reader_num(r, AT(at, "kernelTCP"), m, -1, INT64_MAX);
	l->swappiness = runtime_reader_num(r, AT(at, "swappiness"), m, 0, INT64_MAX);
	const struct json *b = runtime_reader_get(r, AT(at, "disableOOMKiller"), m, JSON_BOOL);
	l->oom_off = (struct sys_cgroup_num){ b != NULL, b && b->b };
	b = runtime_reader_get(r, AT(at, "useHierarchy"), m, JSON_BOOL);
	l->use_hierarchy = (struct sys_cgroup_num){ b != NULL, b && b->b };
	l->check_before_update = runtime_reader_bool(r, AT(at, "checkBeforeUpdate"), m);
}

/* "0-3,5": digits, commas and dashes; the kernel judges the rest. */
static const char *cpu_list_read(struct reader *r, const struct at *at, const struct json *object)
{
	const char *s = runtime_reader_str(r, at, object);
	if (s && s[strspn(s, "0123456789,-")])
		runtime_reader_fail(r, at, "\"%s\" is no list of numbers and ranges", s);
	return s && *s ? s : NULL;
}

static void cpu_read(struct reader *r, const struct at *up, const struct json *resources, struct sys_cgroup_limits *l)
{
	const struct at *at = AT(up, "cpu");
	const struct json *c = runtime_reader_get(r, at, resources, JSON_OBJECT);
	l->shares = runtime_reader_num(r, AT(at, "shares"), c, 0, INT64_MAX);
	l->quota = runtime_reader_num(r, AT(at, "quota"), c, INT64_MIN, INT64_MAX);
	l->burst = runtime_reader_num(r, AT(at, "burst"), c, 0, INT64_MAX);
	l->period = runtime_reader_num(r, AT(at, "period"), c, 0, INT64_MAX);
	l->rt_runtime = runtime_reader_num(r, AT(at, "realtimeRuntime"), c, INT64_MIN, INT64_MAX);
	l->rt_period = runtime_reader_num(r, AT(at, "realtimePeriod"), c, 0, INT64_MAX);
	l->idle = runtime_reader_num(r, AT(at, "idle"), c, 0, 1);
	l->cpus = cpu_list_read(r, AT(at, "cpus"), c);
	l->mems = cpu_list_read(r, AT(at, "mems"), c);
}

static void blkio_read(struct reader *r, const struct at *up, const struct json *resources, struct sys_cgroup_limits *l)
{
	static const char *const rates[SYS_CG_RATES] = { "throttleReadBpsDevice", "throttleWriteBpsDevice",
							 "throttleReadIOPSDevice", "throttleWriteIOPSDevice" };
	const struct at *at = AT(up, "blockIO");
	const struct json *b = runtime_reader_get(r, at, resources, JSON_OBJECT);
	l->blkio_weight = runtime_reader_num(r, AT(at, "weight"), b, 0, 65535);
	l->blkio_leaf_weight = runtime_reader_num(r, AT(at, "leafWeight"), b, 0, 65535);
	const struct at *list_at = AT(at, "weightDevice");
	const struct json *list = list_get(r, list_at, b, &l->n_dev_weights);
	l->dev_weights = arena_alloc_n(r->a, l->n_dev_weights + 1, sizeof(*l->dev_weights));
	for (size_t i = 0; i < l->n_dev_weights; i++) {
		struct sys_cgroup_dev_weight *w = &l->dev_weights[i];
		const struct at *here = AT_INDEX(list_at, i);
		*w = (struct sys_cgroup_dev_weight){};
		runtime_reader_int(r, AT(here, "major"), &list->items[i], 0, INT_MAX, &w->major);
		runtime_reader_int(r, AT(here, "minor"), &list->items[i], 0, INT_MAX, &w->minor);
		w->weight = runtime_reader_num(r, AT(here, "weight"), &list->items[i], 0, 65535);
		w->leaf_weight = runtime_reader_num(r, AT(here, "leafWeight"), &list->items[i], 0, 65535);
	}
	for (int k = 0; k < SYS_CG_RATES; k++) {
		list_at = AT(at, rates[k]);
		list = list_get(r, list_at, b, &l->n_rates[k]);
		l->rates[k] = arena_alloc_n(r->a, l->n_rates[k] + 1, sizeof(*l->rates[k]));
		for (size_t i = 0; i < l->n_rates[k]; i++) {
			const struct at *here = AT_INDEX(list_at, i);
			int64_t rate = 0;
			l->rates[k][i] = (struct sys_cgroup_dev_rate){};
			runtime_reader_int(r, AT(here, "major"), &list->items[i], 0, INT_MAX, &l->rates[k][i].major);
			runtime_reader_int(r, AT(here, "minor"), &list->items[i], 0, INT_MAX, &l->rates[k][i].minor);
			runtime_reader_int(r, AT(here, "rate"), &list->items[i], 0, INT64_MAX, &rate);
			l->rates[k][i].rate = (uint64_t)rate;
		}
	}
}

static bool name_ok(const char *s)
{
	return s && *s && !strpbrk(s, "/ \n") && strcmp(s, "..") != 0;
}

static void lists_read(struct reader *r, const struct at *up, const struct json *resources, struct sys_cgroup_limits *l)
{
	const struct at *at = AT(up, "hugepageLimits");
	const struct json *list = list_get(r, at, resources, &l->n_hugetlb);
	l->hugetlb = arena_alloc_n(r->a, l->n_hugetlb + 1, sizeof(*l->hugetlb));
	for (size_t i = 0; i < l->n_hugetlb; i++) {
		const struct at *here = AT_INDEX(at, i);
		l->hugetlb[i] =
			(struct sys_cgroup_key){ .key = runtime_reader_str(r, AT(here, "pageSize"), &list->items[i]) };
		l->hugetlb[i].a = runtime_reader_num(r, AT(here, "limit"), &list->items[i], 0, INT64_MAX);
		if (!name_ok(l->hugetlb[i].key))
			runtime_reader_fail(r, AT(here, "pageSize"), "must name a size such as 2MB");
		if (!l->hugetlb[i].a.set)
			runtime_reader_fail(r, AT(here, "limit"), "is missing");
	}
	at = AT(up, "network");
	const struct json *net = runtime_reader_get(r, at, resources, JSON_OBJECT);
	l->net_class = runtime_reader_num(r, AT(at, "classID"), net, 0, UINT32_MAX);
	const struct at *prio_at = AT(at, "priorities");
	list = list_get(r, prio_at, net, &l->n_net_prio);
	l->net_prio = arena_alloc_n(r->a, l->n_net_prio + 1, sizeof(*l->net_prio));
	for (size_t i = 0; i < l->n_net_prio; i++) {
		const struct at *here = AT_INDEX(prio_at, i);
		l->net_prio[i] =
			(struct sys_cgroup_key){ .key = runtime_reader_str(r, AT(here, "name"), &list->items[i]) };
		l->net_prio[i].a = runtime_reader_num(r, AT(here, "priority"), &list->items[i], 0, UINT32_MAX);
		if (!name_ok(l->net_prio[i].key))
			runtime_reader_fail(r, AT(here, "name"), "must name an interface");
	}
	at = AT(up, "rdma");
	const struct json *rdma = runtime_reader_get(r, at, resources, JSON_OBJECT);
	l->n_rdma = rdma ? MIN(rdma->n, (uint32_t)LIST_MAX) : 0;
	l->rdma = arena_alloc_n(r->a, l->n_rdma + 1, sizeof(*l->rdma));
	for (size_t i = 0; i < l->n_rdma && !r->failed; i++) {
		const char *name = arena_cstr(r->a, json_key(&rdma->members[i]));
		const struct at *here = AT(at, name);
		if (!name_ok(name) || !json_is(&rdma->members[i].value, JSON_OBJECT))
			runtime_reader_fail(r, here, "expected a device name with an object");
		l->rdma[i] = (struct sys_cgroup_key){ .key = name };
		l->rdma[i].a = runtime_reader_num(r, AT(here, "hcaHandles"), &rdma->members[i].value, 0, UINT32_MAX);
		l->rdma[i].b = runtime_reader_num(r, AT(here, "hcaObjects"), &rdma->members[i].value, 0, UINT32_MAX);
	}
	at = AT(up, "unified");
	const struct json *unified = runtime_reader_get(r, at, resources, JSON_OBJECT);
	l->n_unified = unified ? MIN(unified->n, (uint32_t)LIST_MAX) : 0;
	l->unified = arena_alloc_n(r->a, l->n_unified + 1, sizeof(*l->unified));
	for (size_t i = 0; i < l->n_unified && !r->failed; i++) {
		const char *key = arena_cstr(r->a, json_key(&unified->members[i]));
		const char *value = runtime_reader_text(r, AT(at, key), &unified->members[i].value);
		if (!name_ok(key))
			runtime_reader_fail(r, AT(at, key), "is no file name");
		l->unified[i] = (struct sys_cgroup_key){ .key = key, .text = value };
	}
}

static void devices_read(struct reader *r, const struct at *up, const struct json *resources,
			 struct sys_cgroup_device **out, size_t *out_n)
{
	const struct at *at = AT(up, "devices");
	size_t n;
	const struct json *list = list_get(r, at, resources, &n);
	struct sys_cgroup_device *rules = arena_alloc_n(r->a, n + 1, sizeof(*rules));
	for (size_t i = 0; i < n && !r->failed; i++) {
		const struct at *here = AT_INDEX(at, i);
		const struct json *v = &list->items[i];
		struct sys_cgroup_device d = { .type = 'a', .major = -1, .minor = -1 };
		d.allow = runtime_reader_bool(r, AT(here, "allow"), v);
		const char *type = runtime_reader_str(r, AT(here, "type"), v);
		if (type && *type) {
			if (strlen(type) != 1 || !strchr("abcu", type[0]))
				runtime_reader_fail(r, AT(here, "type"), "\"%s\" is none of a, b, c", type);
			d.type = type[0] == 'u' ? 'c' : type[0];
		}
		runtime_reader_int(r, AT(here, "major"), v, -1, UINT32_MAX, &d.major);
		runtime_reader_int(r, AT(here, "minor"), v, -1, UINT32_MAX, &d.minor);
		const char *access = runtime_reader_str(r, AT(here, "access"), v);
		for (const char *c = access ? access : ""; *c; c++) {
			if (!strchr("rwm", *c))
				runtime_reader_fail(r, AT(here, "access"), "\"%s\" holds more than r, w, m", access);
			d.read |= *c == 'r';
			d.write |= *c == 'w';
			d.mknod |= *c == 'm';
		}
		if (!access || !*access)
			d.read = d.write = d.mknod = true;
		rules[i] = d;
	}
	*out = rules;
	*out_n = n;
}

void runtime_config_resources_read(struct reader *r, const struct at *at, const struct json *v,
				   struct sys_cgroup_limits *out, struct sys_cgroup_device **out_rules,
				   size_t *out_n_rules)
{
	*out = (struct sys_cgroup_limits){};
	memory_read(r, at, v, out);
	cpu_read(r, at, v, out);
	const struct at *pids_at = AT(at, "pids");
	out->pids = runtime_reader_num(r, AT(pids_at, "limit"), runtime_reader_get(r, pids_at, v, JSON_OBJECT),
				       INT64_MIN, INT64_MAX);
	blkio_read(r, at, v, out);
	lists_read(r, at, v, out);
	struct sys_cgroup_device *rules;
	size_t n;
	devices_read(r, at, v, &rules, &n);
	if (out_rules) {
		*out_rules = rules;
		*out_n_rules = n;
	}
}

int runtime_config_resources_parse(struct arena *a, struct span text, struct sys_cgroup_limits *out, struct err *err)
{
	struct json v;
	int r = json_parse(a, text, JSON_BORROW | JSON_DUPLICATES_LAST, &(struct json_limits){ .bytes = 1 << 20 }, &v,
			   err);
	if (r < 0)
		return err_note(err, "resources");
	if (v.kind != JSON_OBJECT)
		return err_set(err, ERR_INVALID, "resources: expected an object");
	struct reader rd = { .a = a, .err = err };
	struct sys_cgroup_limits l;
	runtime_config_resources_read(&rd, AT(NULL, "resources"), &v, &l, NULL, NULL);
	if (!rd.failed)
		*out = l;
	return rd.failed;
}
