/* What the groups count, both versions in one form. A file that is not there leaves zeros: a kernel without
 * swap accounting is no error for somebody who asks for CPU time. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/base.h"
#include "sys/cgroup.h"
#include "sys/process.h"

static bool text_read(const struct sys_cgroup_dir *d, const char *file, struct buf *b)
{
	buf_trunc(b, 0);
	return sys_file_read(d->fd, file, b, 1 << 20) == 0;
}

/* "max" is UINT64_MAX. */
static uint64_t number_read(const struct sys_cgroup_dir *d, const char *file)
{
	auto_buf struct buf b = {};
	uint64_t v = 0;
	if (!text_read(d, file, &b))
		return 0;
	struct span s = span_trim(buf_span(&b));
	if (span_is(s, "max"))
		return UINT64_MAX;
	(void)span_to_u64(s, &v); /* stays 0 */
	return v;
}

/* The value behind key in a file of "key value" lines. */
static uint64_t keyed(struct span text, const char *key)
{
	struct span line, k, v;
	uint64_t n = 0;
	while (span_cut(&text, '\n', &line))
		if (span_split(line, ' ', &k, &v) && span_is(k, key) && span_to_u64(v, &n))
			return n;
	return 0;
}

static void cpu_read(const struct sys_cgroup *cg, struct sys_cgroup_stats *s)
{
	auto_buf struct buf b = {};
	const struct sys_cgroup_dir *cpu = sys_cgroup_find(cg, SYS_CG_CPU), *acct = sys_cgroup_find(cg, SYS_CG_CPUACCT);
	for (unsigned i = 0; !cpu && i < cg->n; i++)
		if (cg->dirs[i].v2 && !acct)
			cpu = &cg->dirs[i]; /* cpu.stat is in every v2 group */
	if (cpu && text_read(cpu, "cpu.stat", &b)) {
		struct span t = buf_span(&b);
		s->cpu_periods = keyed(t, "nr_periods");
		s->cpu_throttled = keyed(t, "nr_throttled");
		s->cpu_throttled_ns = cpu->v2 ? keyed(t, "throttled_usec") * 1000 : keyed(t, "throttled_time");
		if (cpu->v2) {
			s->cpu_total_ns = keyed(t, "usage_usec") * 1000;
			s->cpu_user_ns = keyed(t, "user_usec") * 1000;
			s->cpu_kernel_ns = keyed(t, "system_usec") * 1000;
		}
	}
	if (acct) {
		s->cpu_total_ns = number_read(acct, "cpuacct.usage");
		s->cpu_user_ns = number_read(acct, "cpuacct.usage_user");
		s->cpu_kernel_ns = number_read(acct, "cpuacct.usage_sys");
	}
}

static void memory_read(const struct sys_cgroup *cg, struct sys_cgroup_stats *s)
{
	auto_buf struct buf b = {};
	const struct sys_cgroup_dir *d = sys_cgroup_find(cg, SYS_CG_MEMORY);
	if (!d)
		return;
	if (d->v2) {
		s->memory_usage = number_read(d, "memory.current");
		s->memory_max_usage = number_read(d, "memory.peak");
		s->memory_limit = number_read(d, "memory.max");
		/* runc counts swap as v1 did: memory and swap together. */
		s->swap_usage = number_read(d, "memory.swap.current") + s->memory_usage;
		s->swap_limit = number_read(d, "memory.swap.max");
		if (s->swap_limit != UINT64_MAX && s->memory_limit != UINT64_MAX)
			s->swap_limit += s->memory_limit;
		if (text_read(d, "memory.events", &b)) {
			s->memory_failcnt = keyed(buf_span(&b), "max");
			s->oom_kills = keyed(buf_span(&b), "oom_kill");
		}
	} else {
		s->memory_usage = number_read(d, "memory.usage_in_bytes");
		s->memory_max_usage = number_read(d, "memory.max_usage_in_bytes");
		s->memory_limit = number_read(d, "memory.limit_in_bytes");
		s->memory_failcnt = number_read(d, "memory.failcnt");
		s->swap_usage = number_read(d, "memory.memsw.usage_in_bytes");
		s->swap_max_usage = number_read(d, "memory.memsw.max_usage_in_bytes");
		s->swap_limit = number_read(d, "memory.memsw.limit_in_bytes");
		s->swap_failcnt = number_read(d, "memory.memsw.failcnt");
		s->kernel_usage = number_read(d, "memory.kmem.usage_in_bytes");
		s->kernel_tcp_usage = number_read(d, "memory.kmem.tcp.usage_in_bytes");
		if (text_read(d, "memory.oom_control", &b))
			s->oom_kills = keyed(buf_span(&b), "oom_kill");
	}
	if (!text_read(d, "memory.stat", &b))
		return;
	struct span rest = buf_span(&b), line, k, v;
	s->memory_cache = keyed(rest, d->v2 ? "file" : "cache");
	while (s->n_memory_stat < ARRAY_LEN(s->memory_stat) && span_cut(&rest, '\n', &line)) {
		uint64_t n;
		if (!span_split(line, ' ', &k, &v) || k.len >= sizeof(s->memory_stat[0].key) || !span_to_u64(v, &n))
			continue;
		memcpy(s->memory_stat[s->n_memory_stat].key, k.ptr, k.len);
		s->memory_stat[s->n_memory_stat].key[k.len] = 0;
		s->memory_stat[s->n_memory_stat++].value = n;
	}
}

static bool device_parse(struct span s, uint64_t *out_major, uint64_t *out_minor)
{
	struct span a, b;
	return span_split(s, ':', &a, &b) && span_to_u64(a, out_major) && span_to_u64(b, out_minor);
}

static unsigned io_row(struct sys_cgroup_stats *s, uint64_t major, uint64_t minor)
{
	for (unsigned i = 0; i < s->n_io; i++)
		if (s->io[i].major == major && s->io[i].minor == minor)
			return i;
	if (s->n_io == ARRAY_LEN(s->io))
		return ARRAY_LEN(s->io);
	s->io[s->n_io].major = major;
	s->io[s->n_io].minor = minor;
	return s->n_io++;
}

static void io_read(const struct sys_cgroup *cg, struct sys_cgroup_stats *s)
{
	auto_buf struct buf b = {};
	const struct sys_cgroup_dir *d = sys_cgroup_find(cg, SYS_CG_BLKIO);
	struct span rest, line, word;
	uint64_t major, minor, v;
	if (!d)
		return;
	if (d->v2) { /* 8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0 */
		if (!text_read(d, "io.stat", &b))
			return;
		rest = buf_span(&b);
		while (span_cut(&rest, '\n', &line)) {
			if (!span_cut(&line, ' ', &word) || !device_parse(word, &major, &minor))
				continue;
			unsigned i = io_row(s, major, minor);
			while (i < ARRAY_LEN(s->io) && span_cut(&line, ' ', &word)) {
				struct span k, n;
				if (!span_split(word, '=', &k, &n) || !span_to_u64(n, &v))
					continue;
				if (span_is(k, "rbytes"))
					s->io[i].read_bytes = v;
				else if (span_is(k, "wbytes"))
					s->io[i].write_bytes = v;
				else if (span_is(k, "rios"))
					s->io[i].read_ops = v;
				else if (span_is(k, "wios"))
					s->io[i].write_ops = v;
			}
		}
		return;
	}
	static const char *const files[] = { "blkio.throttle.io_service_bytes_recursive",
					     "blkio.throttle.io_serviced_recursive" };
	for (int f = 0; f < 2; f++) { /* 8:0 Read 1 */
		if (!text_read(d, files[f], &b))
			continue;
		rest = buf_span(&b);
		while (span_cut(&rest, '\n', &line)) {
			struct span kind;
			if (!span_cut(&line, ' ', &word) || !device_parse(word, &major, &minor) ||
			    !span_split(line, ' ', &kind, &word) || !span_to_u64(word, &v))
				continue;
			unsigned i = io_row(s, major, minor);
			if (i == ARRAY_LEN(s->io))
				continue;
			if (span_is(kind, "Read"))
				*(f ? &s->io[i].read_ops : &s->io[i].read_bytes) = v;
			else if (span_is(kind, "Write"))
				*(f ? &s->io[i].write_ops : &s->io[i].write_bytes) = v;
		}
	}
}

static void hugetlb_read(const struct sys_cgroup *cg, struct sys_cgroup_stats *s)
{
	static const char *const sizes[] = { "2MB", "1GB", "64KB", "32MB", "16MB", "512MB", "16GB" };
	const struct sys_cgroup_dir *d = sys_cgroup_find(cg, SYS_CG_HUGETLB);
	auto_buf struct buf b = {};
	for (size_t i = 0; d && i < ARRAY_LEN(sizes) && s->n_hugetlb < ARRAY_LEN(s->hugetlb); i++) {
		char file[64];
		snprintf(file, sizeof(file), d->v2 ? "hugetlb.%s.current" : "hugetlb.%s.usage_in_bytes", sizes[i]);
		if (faccessat(d->fd, file, F_OK, 0) < 0)
			continue;
		unsigned k = s->n_hugetlb++;
		snprintf(s->hugetlb[k].size, sizeof(s->hugetlb[k].size), "%s", sizes[i]);
		s->hugetlb[k].usage = number_read(d, file);
		if (d->v2) {
			snprintf(file, sizeof(file), "hugetlb.%s.events", sizes[i]);
			if (text_read(d, file, &b))
				s->hugetlb[k].failcnt = keyed(buf_span(&b), "max");
		} else {
			snprintf(file, sizeof(file), "hugetlb.%s.max_usage_in_bytes", sizes[i]);
			s->hugetlb[k].max_usage = number_read(d, file);
			snprintf(file, sizeof(file), "hugetlb.%s.failcnt", sizes[i]);
			s->hugetlb[k].failcnt = number_read(d, file);
		}
	}
}

int sys_cgroup_stats_read(const struct sys_cgroup *cg, struct sys_cgroup_stats *out, struct err *err)
{
	if (!cg->n)
		return err_set(err, ERR_UNSUPPORTED, "the container has no cgroup: nothing counts for it");
	*out = (struct sys_cgroup_stats){};
	cpu_read(cg, out);
	memory_read(cg, out);
	const struct sys_cgroup_dir *pids = sys_cgroup_find(cg, SYS_CG_PIDS);
	if (pids) {
		out->pids = number_read(pids, "pids.current");
		out->pids_limit = number_read(pids, "pids.max");
		if (out->pids_limit == UINT64_MAX)
			out->pids_limit = 0; /* runc's word for "no limit" */
	}
	io_read(cg, out);
	hugetlb_read(cg, out);
	return 0;
}

int sys_cgroup_oom_event(const struct sys_cgroup_dir *d, int counter)
{
	char text[32];
	auto_fd int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int n = snprintf(text, sizeof(text), "%d %d", event, counter);
	if (event < 0 || sys_file_write(d->fd, "cgroup.event_control", text, (size_t)n) < 0)
		return -1;
	return take_fd(&event);
}
