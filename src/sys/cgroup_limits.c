/* Limits: what config.json asks for becomes a list of (controller, file, text), then the list is written.
 *
 * Making the list is a pure function, so a test holds it against every field and both versions. Conversions from v1
 * values to v2 files are those that runc and crun use, so that a bundle behaves alike under all three:
 *   cpu.weight = 1 + (shares - 2) * 9999 / 262142        io.weight = 1 + (weight - 10) * 9999 / 990
 *   memory.swap.max = swap - limit                       -1 = "max" */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "sys/cgroup.h"
#include "sys/process.h"

struct plan {
	struct arena *a;
	struct sys_cgroup_write *list; /* owned until handed to the arena */
	size_t n, cap;
	uint32_t on_v2;
};

static bool v2(const struct plan *p, enum sys_cgroup_controller c)
{
	return p->on_v2 & (1u << c);
}

static struct sys_cgroup_write *put(struct plan *p, enum sys_cgroup_controller c, const char *file, const char *field,
				    const char *value)
{
	MEM_GROW(p->list, p->n, p->cap);
	p->list[p->n] = (struct sys_cgroup_write){ .controller = c, .file = file, .value = value, .field = field };
	return &p->list[p->n++];
}

static const char *num(struct plan *p, int64_t v)
{
	return arena_printf(p->a, "%lld", (long long)v).ptr;
}

static const char *num_or_max(struct plan *p, int64_t v)
{
	return v < 0 ? "max" : num(p, v);
}

static int memory_plan(struct plan *p, const struct sys_cgroup_limits *l, struct err *err)
{
	bool two = v2(p, SYS_CG_MEMORY);
	if (two) {
		if (l->memory.set)
			put(p, SYS_CG_MEMORY, "memory.max", "memory.limit", num_or_max(p, l->memory.v));
		if (l->swap.set) {
			/* v1 counts memory and swap together, v2 swap alone. */
			int64_t swap = l->swap.v;
			if (swap > 0 && !l->memory.set)
				return err_set(err, ERR_INVALID,
					       "memory.swap: unable to set swap limit without memory limit");
			if (swap > 0 && l->memory.v > 0) {
				if (swap < l->memory.v)
					return err_set(
						err, ERR_INVALID,
						"memory.swap: memory+swap limit %lld is below the memory limit %lld",
						(long long)swap, (long long)l->memory.v);
				swap -= l->memory.v;
			} else if (swap > 0) {
				swap = -1;
			}
			if (l->swap.v != 0)
				put(p, SYS_CG_MEMORY, "memory.swap.max", "memory.swap", num_or_max(p, swap))->may_lack =
					swap <= 0;
		}
		if (l->reservation.set)
			put(p, SYS_CG_MEMORY, "memory.low", "memory.reservation", num_or_max(p, l->reservation.v));
		return 0;
	}
	if (l->swap.set && l->swap.v > 0 && l->memory.set && l->memory.v > l->swap.v)
		return err_set(err, ERR_INVALID, "memory.swap: memory+swap limit %lld is below the memory limit %lld",
			       (long long)l->swap.v, (long long)l->memory.v);
	if (l->memory.set)
		put(p, SYS_CG_MEMORY, "memory.limit_in_bytes", "memory.limit", num(p, l->memory.v));
	if (l->swap.set && l->swap.v != 0)
		put(p, SYS_CG_MEMORY, "memory.memsw.limit_in_bytes", "memory.swap", num(p, l->swap.v))->may_lack =
			l->swap.v < 0;
	else if (l->memory.set && l->memory.v == -1) /* an unlimited group must not keep an old swap limit */
		put(p, SYS_CG_MEMORY, "memory.memsw.limit_in_bytes", "memory.swap", "-1")->may_lack = true;
	if (l->reservation.set)
		put(p, SYS_CG_MEMORY, "memory.soft_limit_in_bytes", "memory.reservation", num(p, l->reservation.v));
	/* memory.kernel is accepted and ignored, as kernels do since 5.16 (and config-linux.md 1.1.0 advises against it). */
	if (l->kernel_tcp.set)
		put(p, SYS_CG_MEMORY, "memory.kmem.tcp.limit_in_bytes", "memory.kernelTCP", num(p, l->kernel_tcp.v));
	if (l->oom_off.set && l->oom_off.v)
		put(p, SYS_CG_MEMORY, "memory.oom_control", "memory.disableOOMKiller", "1");
	if (l->use_hierarchy.set && l->use_hierarchy.v)
		put(p, SYS_CG_MEMORY, "memory.use_hierarchy", "memory.useHierarchy", "1")->may_lack = true;
	if (l->swappiness.set) {
		if (l->swappiness.v < 0 || l->swappiness.v > 100)
			return err_set(err, ERR_INVALID, "memory.swappiness: %lld is not between 0 and 100",
				       (long long)l->swappiness.v);
		put(p, SYS_CG_MEMORY, "memory.swappiness", "memory.swappiness", num(p, l->swappiness.v));
	}
	return 0;
}

static int cpu_plan(struct plan *p, const struct sys_cgroup_limits *l, struct err *err)
{
	if (v2(p, SYS_CG_CPU)) {
		if (l->idle.set)
			put(p, SYS_CG_CPU, "cpu.idle", "cpu.idle", num(p, l->idle.v));
		if (l->shares.set && l->shares.v > 0 && !(l->idle.set && l->idle.v == 1)) {
			int64_t s = l->shares.v < 2 ? 2 : l->shares.v > 262144 ? 262144 : l->shares.v;
			put(p, SYS_CG_CPU, "cpu.weight", "cpu.shares", num(p, 1 + (s - 2) * 9999 / 262142));
		}
		if (l->quota.set || l->period.set) {
			const char *quota = l->quota.set && l->quota.v > 0 ? num(p, l->quota.v) : "max";
			int64_t period = l->period.set && l->period.v > 0 ? l->period.v : 100000;
			put(p, SYS_CG_CPU, "cpu.max", "cpu.quota",
			    arena_printf(p->a, "%s %lld", quota, (long long)period).ptr);
		}
		if (l->burst.set)
			put(p, SYS_CG_CPU, "cpu.max.burst", "cpu.burst", num(p, l->burst.v));
		if (l->rt_period.set || l->rt_runtime.set)
			return err_set(err, ERR_UNSUPPORTED,
				       "cpu.realtimeRuntime, cpu.realtimePeriod: cgroup v2 has no such limit");
		return 0;
	}
	if (l->shares.set && l->shares.v > 0)
		put(p, SYS_CG_CPU, "cpu.shares", "cpu.shares", num(p, l->shares.v));
	if (l->period.set && l->period.v > 0)
		put(p, SYS_CG_CPU, "cpu.cfs_period_us", "cpu.period", num(p, l->period.v));
	if (l->quota.set && l->quota.v != 0)
		put(p, SYS_CG_CPU, "cpu.cfs_quota_us", "cpu.quota", num(p, l->quota.v));
	if (l->burst.set)
		put(p, SYS_CG_CPU, "cpu.cfs_burst_us", "cpu.burst", num(p, l->burst.v));
	if (l->rt_period.set && l->rt_period.v)
		put(p, SYS_CG_CPU, "cpu.rt_period_us", "cpu.realtimePeriod", num(p, l->rt_period.v));
	if (l->rt_runtime.set && l->rt_runtime.v)
		put(p, SYS_CG_CPU, "cpu.rt_runtime_us", "cpu.realtimeRuntime", num(p, l->rt_runtime.v));
	if (l->idle.set)
		put(p, SYS_CG_CPU, "cpu.idle", "cpu.idle", num(p, l->idle.v));
	return 0;
}

static int blkio_plan(struct plan *p, const struct sys_cgroup_limits *l, struct err *err)
{
	static const struct {
		const char *v1, *v2, *field;
	} rates[SYS_CG_RATES] = {
		[SYS_CG_READ_BPS] = { "blkio.throttle.read_bps_device", "rbps", "blockIO.throttleReadBpsDevice" },
		[SYS_CG_WRITE_BPS] = { "blkio.throttle.write_bps_device", "wbps", "blockIO.throttleWriteBpsDevice" },
		[SYS_CG_READ_IOPS] = { "blkio.throttle.read_iops_device", "riops", "blockIO.throttleReadIOPSDevice" },
		[SYS_CG_WRITE_IOPS] = { "blkio.throttle.write_iops_device", "wiops",
					"blockIO.throttleWriteIOPSDevice" },
	};
	bool two = v2(p, SYS_CG_BLKIO);
	if (l->blkio_weight.set && l->blkio_weight.v) {
		int64_t w = l->blkio_weight.v;
		if (w < 10 || w > 1000)
			return err_set(err, ERR_INVALID, "blockIO.weight: %lld is not between 10 and 1000",
				       (long long)w);
		if (two)
			put(p, SYS_CG_BLKIO, "io.bfq.weight", "blockIO.weight", num(p, w))->other_file = "io.weight";
		else
			put(p, SYS_CG_BLKIO, "blkio.weight", "blockIO.weight", num(p, w))->other_file =
				"blkio.bfq.weight";
	}
	if (l->blkio_leaf_weight.set && l->blkio_leaf_weight.v) {
		if (two)
			return err_set(err, ERR_UNSUPPORTED, "blockIO.leafWeight: cgroup v2 has no such limit");
		put(p, SYS_CG_BLKIO, "blkio.leaf_weight", "blockIO.leafWeight", num(p, l->blkio_leaf_weight.v));
	}
	for (size_t i = 0; i < l->n_dev_weights; i++) {
		const struct sys_cgroup_dev_weight *d = &l->dev_weights[i];
		if (d->weight.set && d->weight.v) {
			const char *text = arena_printf(p->a, "%lld:%lld %lld", (long long)d->major,
							(long long)d->minor, (long long)d->weight.v)
						   .ptr;
			if (two)
				put(p, SYS_CG_BLKIO, "io.bfq.weight", "blockIO.weightDevice", text);
			else
				put(p, SYS_CG_BLKIO, "blkio.weight_device", "blockIO.weightDevice", text)->other_file =
					"blkio.bfq.weight_device";
		}
		if (d->leaf_weight.set && d->leaf_weight.v) {
			if (two)
				return err_set(err, ERR_UNSUPPORTED,
					       "blockIO.weightDevice.leafWeight: cgroup v2 has no such limit");
			put(p, SYS_CG_BLKIO, "blkio.leaf_weight_device", "blockIO.weightDevice",
			    arena_printf(p->a, "%lld:%lld %lld", (long long)d->major, (long long)d->minor,
					 (long long)d->leaf_weight.v)
				    .ptr);
		}
	}
	for (int k = 0; k < SYS_CG_RATES; k++) {
		for (size_t i = 0; i < l->n_rates[k]; i++) {
			const struct sys_cgroup_dev_rate *d = &l->rates[k][i];
			char value[24] = "max";
			if (d->rate || !two)
				snprintf(value, sizeof(value), "%llu", (unsigned long long)d->rate);
			put(p, SYS_CG_BLKIO, two ? "io.max" : rates[k].v1, rates[k].field,
			    arena_printf(p->a, "%lld:%lld %s%s%s", (long long)d->major, (long long)d->minor,
					 two ? rates[k].v2 : "", two ? "=" : "", value)
				    .ptr);
		}
	}
	return 0;
}

static int other_plan(struct plan *p, const struct sys_cgroup_limits *l, struct err *err)
{
	if (l->cpus)
		put(p, SYS_CG_CPUSET, "cpuset.cpus", "cpu.cpus", l->cpus);
	if (l->mems)
		put(p, SYS_CG_CPUSET, "cpuset.mems", "cpu.mems", l->mems);
	if (l->pids.set)
		put(p, SYS_CG_PIDS, "pids.max", "pids.limit", l->pids.v <= 0 ? "max" : num(p, l->pids.v));
	for (size_t i = 0; i < l->n_hugetlb; i++) {
		const char *size = l->hugetlb[i].key;
		bool two = v2(p, SYS_CG_HUGETLB);
		const char *value = arena_printf(p->a, "%llu", (unsigned long long)l->hugetlb[i].a.v).ptr;
		put(p, SYS_CG_HUGETLB,
		    arena_printf(p->a, two ? "hugetlb.%s.max" : "hugetlb.%s.limit_in_bytes", size).ptr,
		    "hugepageLimits", value);
		put(p, SYS_CG_HUGETLB,
		    arena_printf(p->a, two ? "hugetlb.%s.rsvd.max" : "hugetlb.%s.rsvd.limit_in_bytes", size).ptr,
		    "hugepageLimits", value)
			->may_lack = true;
	}
	for (size_t i = 0; i < l->n_rdma; i++) {
		auto_buf struct buf b = {};
		buf_str(&b, l->rdma[i].key);
		if (l->rdma[i].a.set)
			buf_printf(&b, " hca_handle=%lld", (long long)l->rdma[i].a.v);
		if (l->rdma[i].b.set)
			buf_printf(&b, " hca_object=%lld", (long long)l->rdma[i].b.v);
		put(p, SYS_CG_RDMA, "rdma.max", "rdma", arena_cstr(p->a, buf_span(&b)));
	}
	if (l->net_class.set && l->net_class.v)
		put(p, SYS_CG_NET_CLS, "net_cls.classid", "network.classID", num(p, l->net_class.v));
	for (size_t i = 0; i < l->n_net_prio; i++)
		put(p, SYS_CG_NET_PRIO, "net_prio.ifpriomap", "network.priorities",
		    arena_printf(p->a, "%s %lld", l->net_prio[i].key, (long long)l->net_prio[i].a.v).ptr);
	for (size_t i = 0; i < l->n_unified; i++) {
		struct span key = span_of(l->unified[i].key), name, tail;
		if (span_chr(key, '/') >= 0 || !span_split(key, '.', &name, &tail))
			return err_set(err, ERR_INVALID, "unified: \"%s\" is no cgroup v2 file name (controller.key)",
				       l->unified[i].key);
		int c = span_is(name, "cgroup") ? SYS_CG_FREEZER : sys_cgroup_by_name(name);
		if (c < 0)
			return err_set(err, ERR_INVALID, "unified: \"%s\": no such controller", l->unified[i].key);
		/* A value of several lines is several writes (io.max). */
		struct span rest = span_of(l->unified[i].text), line;
		while (span_cut(&rest, '\n', &line))
			if (line.len || !l->unified[i].text[0])
				put(p, (enum sys_cgroup_controller)c, l->unified[i].key, "unified",
				    arena_cstr(p->a, line));
	}
	return 0;
}

int sys_cgroup_limits_plan(struct arena *a, const struct sys_cgroup_limits *l, uint32_t on_v2,
			   struct sys_cgroup_write **out, size_t *out_n, struct err *err)
{
	struct plan p = { .a = a, .on_v2 = on_v2 };
	int r = memory_plan(&p, l, err);
	r = r < 0 ? r : cpu_plan(&p, l, err);
	r = r < 0 ? r : blkio_plan(&p, l, err);
	r = r < 0 ? r : other_plan(&p, l, err);
	if (r == 0) {
		*out = p.n ? (struct sys_cgroup_write *)arena_copy(a, p.list, p.n * sizeof(*p.list)) : NULL;
		*out_n = p.n;
	}
	free(p.list);
	return r;
}

uint32_t sys_cgroup_limits_need(const struct sys_cgroup_limits *l)
{
	auto_arena struct arena a = {};
	struct sys_cgroup_write *list = NULL;
	size_t n = 0;
	uint32_t need = 0;
	/* The v1 plan names every controller; values that it refuses are reported when the limits are set. */
	if (sys_cgroup_limits_plan(&a, l, 0, &list, &n, NULL) < 0)
		return ~0u;
	for (size_t i = 0; i < n; i++)
		need |= 1u << list[i].controller;
	return need;
}

static int one_write(const struct sys_cgroup *cg, const struct sys_cgroup_write *w, struct err *err)
{
	bool unified = !strcmp(w->field, "unified");
	const struct sys_cgroup_dir *d = sys_cgroup_find(cg, w->controller);
	if (unified && (!d || !d->v2))
		return err_set(err, ERR_UNSUPPORTED,
			       "linux.resources.unified: \"%s\" needs its controller on cgroup v2", w->file);
	if (!d) {
		if (w->may_lack)
			return 0;
		if (w->controller == SYS_CG_NET_CLS || w->controller == SYS_CG_NET_PRIO)
			return err_set(err, ERR_UNSUPPORTED,
				       "linux.resources.%s: needs a controller of cgroup v1 that this machine does not "
				       "mount (v2 has none)",
				       w->field);
		return err_set(err, ERR_UNSUPPORTED, "linux.resources.%s: this machine has no cgroup controller for it",
			       w->field);
	}
	int errnum = 0;
	if (FAILPOINT_ERR("sys.cgroup.limit", &errnum))
		return err_sys_num(err, errnum, "linux.resources.%s: write \"%s\" to %s/%s", w->field, w->value,
				   d->path, w->file);
	if (sys_file_write(d->fd, w->file, w->value, strlen(w->value)) == 0)
		return 0;
	if (errno == ENOENT && w->other_file && sys_file_write(d->fd, w->other_file, w->value, strlen(w->value)) == 0)
		return 0;
	if (errno == ENOENT && w->may_lack)
		return 0;
	if (errno == ENOENT)
		return err_sys(err, "linux.resources.%s: the kernel has no %s here (%s)", w->field, w->file, d->path);
	return err_sys(err, "linux.resources.%s: write \"%s\" to %s/%s", w->field, w->value, d->path, w->file);
}

/* Two values that bound each other (memory and memory+swap; period and quota) may be refused in one order and taken in
 * the other, depending on what was there before. */
static bool pair(const struct sys_cgroup_write *a, const struct sys_cgroup_write *b)
{
	return (!strcmp(a->file, "memory.limit_in_bytes") && !strcmp(b->file, "memory.memsw.limit_in_bytes")) ||
	       (!strcmp(a->file, "cpu.cfs_period_us") && !strcmp(b->file, "cpu.cfs_quota_us"));
}

static int usage_check(const struct sys_cgroup *cg, const struct sys_cgroup_limits *l, struct err *err)
{
	const struct sys_cgroup_dir *d = sys_cgroup_find(cg, SYS_CG_MEMORY);
	auto_buf struct buf text = {};
	uint64_t usage;
	if (!l->check_before_update || !l->memory.set || l->memory.v <= 0 || !d)
		return 0;
	if (sys_file_read(d->fd, d->v2 ? "memory.current" : "memory.usage_in_bytes", &text, 64) < 0)
		return err_sys(err, "read memory usage of %s", d->path);
	if (span_to_u64(span_trim(buf_span(&text)), &usage) && usage > (uint64_t)l->memory.v)
		return err_set(err, ERR_INVALID,
			       "linux.resources.memory.limit: rejecting memory limit %lld < usage %llu",
			       (long long)l->memory.v, (unsigned long long)usage);
	return 0;
}

int sys_cgroup_limits_set(const struct sys_cgroup *cg, const struct sys_cgroup_limits *l, struct err *err)
{
	auto_arena struct arena a = {};
	struct sys_cgroup_write *list;
	size_t n;
	uint32_t on_v2 = 0;
	for (unsigned i = 0; i < cg->n; i++)
		if (cg->dirs[i].v2)
			on_v2 |= cg->dirs[i].controllers;
	if (sys_cgroup_pure_v2())
		on_v2 = ~0u;
	int r = sys_cgroup_limits_plan(&a, l, on_v2, &list, &n, err);
	if (r < 0)
		return err_note(err, "linux.resources");
	r = usage_check(cg, l, err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		auto_err struct err first = ERR_INIT;
		r = one_write(cg, &list[i], &first);
		if (r < 0 && i + 1 < n && pair(&list[i], &list[i + 1]) && one_write(cg, &list[i + 1], NULL) == 0) {
			err_done(&first);
			r = one_write(cg, &list[i], &first);
			i++;
		}
		if (r < 0)
			r = err_move(err, &first); /* only now: *err is the caller's, and untouched on success */
	}
	return r;
}
