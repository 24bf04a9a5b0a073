/* Statistics: /stats/summary, /metrics/resource, /metrics/cadvisor.
 *
 * One gathering for all three: ListContainerStats, ListPodSandboxStats (for networks; a runtime that has it not gives none),
 * ImageFsInfo; then the page is written. CPU rates that the runtime does not tell are the difference to the sample before, which
 * is kept for each container until the next gathering. */
#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kubelet/server_impl.h"
#include "kubelet/volume.h"
#include "sys/sys.h"

struct sample {
	struct span id;
	int64_t cpu_ts, memory_ts, fs_ts; /* ns; 0 = not known */
	uint64_t cpu_ns, nano_cores, working_set, usage, rss, faults, major_faults, fs_used, fs_inodes;
	bool has_rate;
};
struct net {
	struct span sandbox, name;
	int64_t ts;
	uint64_t rx, rx_errors, tx, tx_errors;
};
struct node_sample {
	int64_t ts;
	uint64_t cpu_ns, total, usage, working_set, rss, faults, major_faults;
	int64_t boot_s;
};

struct gathering {
	struct kl_request *q;
	void (*write)(struct gathering *g, struct buf *out);
	struct sample *samples;
	struct net *nets;
	uint32_t n_samples, n_nets;
	struct node_sample node;
	struct span image_mount;
	uint64_t image_used, image_inodes;
	int64_t image_ts;
};

static uint64_t u64(const struct api_cri_u_int64_value *v)
{
	return v ? v->value : 0;
}

/* ---- the node, from /proc */

static uint64_t field_kb(struct span text, const char *name)
{
	struct span line, key, rest, number;
	while (span_cut(&text, '\n', &line)) {
		uint64_t v;
		if (span_split(line, ':', &key, &rest) && span_is(key, name)) {
			rest = span_trim(rest);
			(void)span_split(rest, ' ', &number, &rest);
			return span_to_u64(number, &v) ? v * 1024 : 0;
		}
	}
	return 0;
}

static void node_gather(struct node_sample *n, int64_t now)
{
	auto_buf struct buf stat = {}, memory = {}, vm = {};
	struct span rest, line, word;
	*n = (struct node_sample){ .ts = now };
	(void)sys_file_read(AT_FDCWD, "/proc/stat", &stat, 4 << 20);
	(void)sys_file_read(AT_FDCWD, "/proc/meminfo", &memory, 1 << 20);
	(void)sys_file_read(AT_FDCWD, "/proc/vmstat", &vm, 1 << 20);
	rest = buf_span(&stat);
	while (span_cut(&rest, '\n', &line)) {
		uint64_t v, ticks = 0;
		if (span_starts(line, SPAN("cpu "))) {
			struct span numbers = span_trim(span_from(line, 4));
			/* user nice system idle iowait irq softirq steal: all but idle and iowait (proc(5)) */
			for (int i = 0; i < 8 && span_cut(&numbers, ' ', &word); i++)
				if (i != 3 && i != 4 && span_to_u64(word, &v))
					ticks += v;
			n->cpu_ns = ticks * (uint64_t)(NS_PER_S / sysconf(_SC_CLK_TCK));
		} else if (span_starts(line, SPAN("btime ")) && span_to_u64(span_from(line, 6), &v)) {
			n->boot_s = (int64_t)v;
		}
	}
	uint64_t inactive = field_kb(buf_span(&memory), "Inactive(file)");
	n->total = field_kb(buf_span(&memory), "MemTotal");
	n->usage = n->total - MIN(n->total, field_kb(buf_span(&memory), "MemFree"));
	n->working_set = n->usage - MIN(n->usage, inactive);
	n->rss = field_kb(buf_span(&memory), "AnonPages");
	rest = buf_span(&vm);
	while (span_cut(&rest, '\n', &line)) {
		struct span key, number;
		if (!span_split(line, ' ', &key, &number))
			continue;
		if (span_is(key, "pgfault"))
			(void)span_to_u64(number, &n->faults);
		else if (span_is(key, "pgmajfault"))
			(void)span_to_u64(number, &n->major_faults);
	}
}

/* ---- samples from one gathering to the next: "id ts cpu_ns\n" */

static bool last_of(struct kl_server *s, struct span id, int64_t *ts, uint64_t *cpu_ns)
{
	struct span rest = buf_span(&s->stats_last), line, key, when, what;
	while (span_cut(&rest, '\n', &line))
		if (span_split(line, ' ', &key, &when) && span_eq(key, id) && span_split(when, ' ', &when, &what))
			return span_to_i64(when, ts) && span_to_u64(what, cpu_ns);
	return false;
}

static void rate(struct kl_server *s, struct span id, int64_t ts, uint64_t cpu_ns, bool *has, uint64_t *out)
{
	int64_t ts0;
	uint64_t ns0;
	if (*has || !last_of(s, id, &ts0, &ns0) || ts <= ts0 || cpu_ns < ns0)
		return;
	*has = true;
	*out = (uint64_t)((double)(cpu_ns - ns0) * 1e9 / (double)(ts - ts0));
}

static void last_keep(struct gathering *g)
{
	struct buf *b = &g->q->s->stats_last;
	buf_trunc(b, 0);
	buf_printf(b, "/ %lld %llu\n", (long long)g->node.ts, (unsigned long long)g->node.cpu_ns);
	for (uint32_t i = 0; i < g->n_samples; i++)
		buf_printf(b, "%.*s %lld %llu\n", SPAN_ARG(g->samples[i].id), (long long)g->samples[i].cpu_ts,
			   (unsigned long long)g->samples[i].cpu_ns);
}

/* ---- gathering */

static void finish(struct gathering *g)
{
	auto_buf struct buf b = {};
	struct kl_request *q = g->q;
	for (uint32_t i = 0; i < g->n_samples; i++) {
		struct sample *s = &g->samples[i];
		rate(q->s, s->id, s->cpu_ts, s->cpu_ns, &s->has_rate, &s->nano_cores);
	}
	g->write(g, &b);
	last_keep(g);
	if (q->http)
		http_reply_text(q->http, 200, q->route->path[0] == 's' ? "application/json" : METRICS_CONTENT_TYPE, buf_span(&b));
}

static void on_images(const struct err *why, const void *reply, void *arg)
{
	struct gathering *g = arg;
	const struct api_cri_image_fs_info_response *r = reply;
	g->q->cri = NULL;
	if (r && r->image_filesystems.n) {
		const struct api_cri_filesystem_usage *f = &r->image_filesystems.ptr[0];
		if (f->fs_id)
			g->image_mount = arena_span(g->q->a, f->fs_id->mountpoint);
		g->image_used = u64(f->used_bytes);
		g->image_inodes = u64(f->inodes_used);
		g->image_ts = f->timestamp;
	}
	finish(g);
}

static void on_sandboxes(const struct err *why, const void *reply, void *arg)
{
	struct gathering *g = arg;
	const struct api_cri_list_pod_sandbox_stats_response *r = reply;
	static const struct api_cri_image_fs_info_request none;
	uint32_t n = 0;
	g->q->cri = NULL;
	for (uint32_t i = 0; r && i < r->stats.n; i++)
		if (r->stats.ptr[i].linux_ && r->stats.ptr[i].linux_->network)
			n += 1 + r->stats.ptr[i].linux_->network->interfaces.n;
	g->nets = arena_alloc_n(g->q->a, n + 1, sizeof(*g->nets));
	for (uint32_t i = 0; r && i < r->stats.n; i++) {
		const struct api_cri_pod_sandbox_stats *s = &r->stats.ptr[i];
		const struct api_cri_network_usage *u = s->linux_ ? s->linux_->network : NULL;
		const struct api_cri_network_interface_usage *f = u ? u->default_interface : NULL;
		if (!f || !s->attributes)
			continue;
		g->nets[g->n_nets++] = (struct net){ arena_span(g->q->a, s->attributes->id), arena_span(g->q->a, f->name), u->timestamp,
						     u64(f->rx_bytes), u64(f->rx_errors), u64(f->tx_bytes), u64(f->tx_errors) };
	}
	g->q->cri = kubelet_cri_image_fs_info(g->q->s->k->cri, &none, on_images, g);
}

static void on_containers(const struct err *why, const void *reply, void *arg)
{
	struct gathering *g = arg;
	const struct api_cri_list_container_stats_response *r = reply;
	static const struct api_cri_list_pod_sandbox_stats_request all;
	g->q->cri = NULL;
	if (why)
		return kl_request_text(g->q, 500, "%s", err_msg(why));
	g->samples = arena_alloc_n(g->q->a, r->stats.n + 1, sizeof(*g->samples));
	for (uint32_t i = 0; i < r->stats.n; i++) {
		const struct api_cri_container_stats *s = &r->stats.ptr[i];
		struct sample *to = &g->samples[g->n_samples];
		if (!s->attributes)
			continue;
		*to = (struct sample){ .id = arena_span(g->q->a, s->attributes->id) };
		if (s->cpu) {
			to->cpu_ts = s->cpu->timestamp;
			to->cpu_ns = u64(s->cpu->usage_core_nano_seconds);
			to->has_rate = s->cpu->usage_nano_cores;
			to->nano_cores = u64(s->cpu->usage_nano_cores);
		}
		if (s->memory) {
			to->memory_ts = s->memory->timestamp;
			to->working_set = u64(s->memory->working_set_bytes);
			to->usage = u64(s->memory->usage_bytes);
			to->rss = u64(s->memory->rss_bytes);
			to->faults = u64(s->memory->page_faults);
			to->major_faults = u64(s->memory->major_page_faults);
		}
		if (s->writable_layer) {
			to->fs_ts = s->writable_layer->timestamp;
			to->fs_used = u64(s->writable_layer->used_bytes);
			to->fs_inodes = u64(s->writable_layer->inodes_used);
		}
		g->n_samples++;
	}
	g->q->cri = kubelet_cri_list_pod_sandbox_stats(g->q->s->k->cri, &all, on_sandboxes, g);
}

static void gather(struct kl_request *q, void (*write)(struct gathering *g, struct buf *out))
{
	static const struct api_cri_list_container_stats_request all;
	struct gathering *g = arena_new(q->a, struct gathering);
	g->q = q;
	g->write = write;
	node_gather(&g->node, loop_wall_ns(q->s->k->loop));
	q->cri = kubelet_cri_list_container_stats(q->s->k->cri, &all, on_containers, g);
}

static const struct sample *sample_of(const struct gathering *g, const struct kl_container *c)
{
	for (uint32_t i = 0; i < g->n_samples; i++)
		if (span_eq(g->samples[i].id, c->id))
			return &g->samples[i];
	return NULL;
}

static const struct net *net_of(const struct gathering *g, const struct kl_pod *p)
{
	const struct kl_sandbox *s = kl_pod_sandbox(p);
	for (uint32_t i = 0; s && i < g->n_nets; i++)
		if (span_eq(g->nets[i].sandbox, s->id))
			return &g->nets[i];
	return NULL;
}

/* ---- /stats/summary */

static void key_time(struct json_out *o, const char *key, int64_t ns)
{
	char text[40];
	json_out_key(o, span_of(key));
	json_out_span(o, span_make(text, time_format(text, ns / NS_PER_S, 0, 0)));
}

static void key_u64(struct json_out *o, const char *key, uint64_t v)
{
	json_out_key(o, span_of(key));
	json_out_u64(o, v);
}

static void write_cpu(struct json_out *o, const struct sample *s)
{
	json_out_key(o, SPAN("cpu"));
	json_out_begin(o);
	key_time(o, "time", s->cpu_ts);
	if (s->has_rate)
		key_u64(o, "usageNanoCores", s->nano_cores);
	key_u64(o, "usageCoreNanoSeconds", s->cpu_ns);
	json_out_end(o);
}

static void write_memory(struct json_out *o, const struct sample *s, uint64_t total)
{
	json_out_key(o, SPAN("memory"));
	json_out_begin(o);
	key_time(o, "time", s->memory_ts);
	if (total)
		key_u64(o, "availableBytes", total - MIN(total, s->working_set));
	if (s->usage)
		key_u64(o, "usageBytes", s->usage);
	key_u64(o, "workingSetBytes", s->working_set);
	if (s->rss)
		key_u64(o, "rssBytes", s->rss);
	if (s->faults)
		key_u64(o, "pageFaults", s->faults);
	if (s->major_faults || s->faults)
		key_u64(o, "majorPageFaults", s->major_faults);
	json_out_end(o);
}

/* used and inodes < 0: of the whole file system. */
static void fs_members(struct json_out *o, const struct statvfs *v, int64_t ts, int64_t used, int64_t inodes)
{
	uint64_t unit = v->f_frsize ? v->f_frsize : v->f_bsize;
	key_time(o, "time", ts);
	key_u64(o, "availableBytes", v->f_bavail * unit);
	key_u64(o, "capacityBytes", v->f_blocks * unit);
	key_u64(o, "usedBytes", used >= 0 ? (uint64_t)used : (v->f_blocks - v->f_bfree) * unit);
	key_u64(o, "inodesFree", v->f_ffree);
	key_u64(o, "inodes", v->f_files);
	key_u64(o, "inodesUsed", inodes >= 0 ? (uint64_t)inodes : v->f_files - v->f_ffree);
}

static void write_fs(struct json_out *o, const char *key, const char *path, int64_t ts, int64_t used, int64_t inodes)
{
	struct statvfs v;
	if (statvfs(path, &v) < 0)
		return;
	json_out_key(o, span_of(key));
	json_out_begin(o);
	fs_members(o, &v, ts, used, inodes);
	json_out_end(o);
}

static uint64_t log_bytes(const struct kl_container *c)
{
	auto_arena struct arena a = {};
	struct stat st;
	return c->log_path.len && stat(arena_cstr(&a, c->log_path), &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void write_container(struct json_out *o, struct gathering *g, const struct kl_container *c, const struct sample *s,
			    struct sample *sum, uint64_t *storage)
{
	auto_arena struct arena a = {};
	uint64_t log = log_bytes(c);
	json_out_begin(o);
	json_out_kspan(o, "name", c->name);
	key_time(o, "startTime", c->started_ns);
	write_cpu(o, s);
	write_memory(o, s, 0);
	if (s->fs_ts && g->image_mount.len)
		write_fs(o, "rootfs", arena_cstr(&a, g->image_mount), s->fs_ts, (int64_t)s->fs_used, (int64_t)s->fs_inodes);
	if (c->log_path.len)
		write_fs(o, "logs", arena_cstr(&a, c->log_path), g->node.ts, (int64_t)log, 1);
	json_out_end(o);
	*storage += s->fs_used + log;
	sum->cpu_ts = MAX(sum->cpu_ts, s->cpu_ts);
	sum->memory_ts = MAX(sum->memory_ts, s->memory_ts);
	sum->cpu_ns += s->cpu_ns;
	sum->nano_cores += s->nano_cores;
	sum->has_rate |= s->has_rate;
	sum->working_set += s->working_set;
	sum->usage += s->usage;
	sum->rss += s->rss;
	sum->faults += s->faults;
	sum->major_faults += s->major_faults;
}

static void write_network(struct json_out *o, const struct net *n)
{
	json_out_key(o, SPAN("network"));
	json_out_begin(o);
	key_time(o, "time", n->ts);
	for (int i = 0; i < 2; i++) { /* the default interface, then the list of all */
		if (i) {
			json_out_key(o, SPAN("interfaces"));
			json_out_begin_array(o);
			json_out_begin(o);
		}
		json_out_kspan(o, "name", n->name);
		key_u64(o, "rxBytes", n->rx);
		key_u64(o, "rxErrors", n->rx_errors);
		key_u64(o, "txBytes", n->tx);
		key_u64(o, "txErrors", n->tx_errors);
	}
	json_out_end(o);
	json_out_end(o);
	json_out_end(o);
}

/* Volumes that are file systems of their own (in memory, a claim's). What one that is a folder holds could only be counted file by
 * file; it is in the node's figures. */
static void write_volumes(struct json_out *o, struct gathering *g, const struct kl_pod *p)
{
	auto_arena struct arena a = {};
	struct stat root, own;
	struct statvfs v;
	bool begun = false;
	if (!p->volumes || stat(arena_cstr(&a, g->q->s->p.root_dir), &root) < 0)
		return;
	for (unsigned i = 0; i < kl_volumes_n(p->volumes); i++) {
		struct span name;
		const char *path = kl_volumes_path(p->volumes, i, &name);
		if (!path || stat(path, &own) < 0 || own.st_dev == root.st_dev || statvfs(path, &v) < 0)
			continue;
		if (!begun) {
			json_out_key(o, SPAN("volume"));
			json_out_begin_array(o);
		}
		begun = true;
		json_out_begin(o);
		fs_members(o, &v, g->node.ts, -1, -1);
		json_out_kspan(o, "name", name);
		json_out_end(o);
	}
	if (begun)
		json_out_end(o);
}

static void write_pod(struct json_out *o, struct gathering *g, const struct kl_pod *p)
{
	struct sample sum = { .cpu_ts = 0 };
	uint64_t storage = 0;
	const struct kl_sandbox *sb = kl_pod_sandbox(p);
	const struct net *net = net_of(g, p);
	auto_arena struct arena a = {};
	json_out_begin(o);
	json_out_key(o, SPAN("podRef"));
	json_out_begin(o);
	json_out_kspan(o, "name", p->name);
	json_out_kspan(o, "namespace", p->ns);
	json_out_kspan(o, "uid", p->uid);
	json_out_end(o);
	key_time(o, "startTime", sb ? sb->created_ns : 0);
	json_out_key(o, SPAN("containers"));
	json_out_begin_array(o);
	LIST_EACH(&p->containers, c, const struct kl_container, link) {
		const struct sample *s = c->state == KL_RUNNING ? sample_of(g, c) : NULL;
		if (s)
			write_container(o, g, c, s, &sum, &storage);
	}
	json_out_end(o);
	if (sum.cpu_ts)
		write_cpu(o, &sum);
	if (sum.memory_ts)
		write_memory(o, &sum, 0);
	if (net)
		write_network(o, net);
	write_volumes(o, g, p);
	write_fs(o, "ephemeral-storage", arena_cstr(&a, g->q->s->p.root_dir), g->node.ts, (int64_t)storage, -1);
	json_out_end(o);
}

static bool runs(const struct kl_pod *p)
{
	LIST_EACH(&p->containers, c, const struct kl_container, link)
		if (c->state == KL_RUNNING)
			return true;
	return false;
}

static void write_summary(struct gathering *g, struct buf *out)
{
	struct json_out o = { .buf = out };
	auto_arena struct arena a = {};
	const struct kl *k = g->q->s->k;
	const struct kl_pod *p;
	size_t pos = 0;
	struct sample node = { .cpu_ts = g->node.ts, .memory_ts = g->node.ts, .cpu_ns = g->node.cpu_ns,
		.working_set = g->node.working_set,
			       .usage = g->node.usage, .rss = g->node.rss, .faults = g->node.faults, .major_faults = g->node.major_faults };
	rate(g->q->s, SPAN("/"), g->node.ts, g->node.cpu_ns, &node.has_rate, &node.nano_cores);
	json_out_begin(&o);
	json_out_key(&o, SPAN("node"));
	json_out_begin(&o);
	json_out_kspan(&o, "nodeName", k->node_name);
	key_time(&o, "startTime", g->node.boot_s * NS_PER_S);
	write_cpu(&o, &node);
	write_memory(&o, &node, g->node.total);
	write_fs(&o, "fs", arena_cstr(&a, g->q->s->p.root_dir), g->node.ts, -1, -1);
	if (g->image_mount.len) {
		json_out_key(&o, SPAN("runtime"));
		json_out_begin(&o);
		write_fs(&o, "imageFs", arena_cstr(&a, g->image_mount), g->image_ts, (int64_t)g->image_used, (int64_t)g->image_inodes);
		json_out_end(&o);
	}
	json_out_end(&o);
	json_out_key(&o, SPAN("pods"));
	json_out_begin_array(&o);
	while ((p = kl_pod_next(k, &pos)))
		if (runs(p))
			write_pod(&o, g, p);
	json_out_end(&o);
	json_out_end(&o);
	buf_chr(out, '\n');
}

void kl_serve_summary(struct kl_request *q)
{
	gather(q, write_summary);
}

/* ---- Prometheus' text format, with the time of the sample */

struct label {
	const char *name;
	struct span value;
};

static void family(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void row(struct buf *b, const char *name, const struct label *labels, unsigned n, double value, int64_t ts_ns)
{
	buf_str(b, name);
	for (unsigned i = 0; i < n; i++) {
		buf_printf(b, "%s%s=\"", i ? "," : "{", labels[i].name);
		for (size_t j = 0; j < labels[i].value.len; j++) {
			char c = labels[i].value.ptr[j];
			if (c == '\n')
				buf_str(b, "\\n");
			else if (c == '"' || c == '\\')
				buf_printf(b, "\\%c", c);
			else
				buf_chr(b, c);
		}
		buf_chr(b, '"');
	}
	buf_printf(b, "%s %.17g", n ? "}" : "", value);
	if (ts_ns)
		buf_printf(b, " %lld", (long long)(ts_ns / NS_PER_MS));
	buf_chr(b, '\n');
}

/* What of a container stands in a row; false: not known. */
enum what { CPU, WORKING_SET, STARTED, USAGE, RSS, FS_USED, LAST_SEEN };

static bool value_of(const struct kl_container *c, const struct sample *s, enum what w, double *v, int64_t *ts)
{
	const int64_t seen_s = s->cpu_ts / NS_PER_S; /* whole seconds, as cAdvisor tells it */
	*ts = w == CPU ? s->cpu_ts : s->memory_ts;
	switch (w) {
	case CPU: *v = (double)s->cpu_ns / 1e9; return s->cpu_ts;
	case WORKING_SET: *v = (double)s->working_set; return s->memory_ts;
	case USAGE: *v = (double)s->usage; return s->memory_ts && s->usage;
	case RSS: *v = (double)s->rss; return s->memory_ts;
	case FS_USED: *ts = s->fs_ts; *v = (double)s->fs_used; return s->fs_ts;
	case STARTED: *ts = 0; *v = (double)c->started_ns / 1e9; return c->started_ns;
	case LAST_SEEN: *v = (double)seen_s; return s->cpu_ts;
	}
	return false;
}

static void resource_rows(struct gathering *g, struct buf *b, const char *name, enum what w)
{
	const struct kl_pod *p;
	size_t pos = 0;
	while ((p = kl_pod_next(g->q->s->k, &pos)))
		LIST_EACH(&p->containers, c, const struct kl_container, link) {
			const struct sample *s = c->state == KL_RUNNING ? sample_of(g, c) : NULL;
			const struct label labels[] = { { "container", c->name }, { "namespace", p->ns }, { "pod", p->name } };
			double v;
			int64_t ts;
			if (s && value_of(c, s, w, &v, &ts))
				row(b, name, labels, 3, v, ts);
		}
}

static void pod_rows(struct gathering *g, struct buf *b, const char *name, enum what w)
{
	const struct kl_pod *p;
	size_t pos = 0;
	while ((p = kl_pod_next(g->q->s->k, &pos))) {
		const struct label labels[] = { { "namespace", p->ns }, { "pod", p->name } };
		double sum = 0, v;
		int64_t last = 0, ts;
		LIST_EACH(&p->containers, c, const struct kl_container, link) {
			const struct sample *s = c->state == KL_RUNNING ? sample_of(g, c) : NULL;
			if (s && value_of(c, s, w, &v, &ts)) {
				sum += v;
				last = MAX(last, ts);
			}
		}
		if (last)
			row(b, name, labels, 2, sum, last);
	}
}

static void write_resource(struct gathering *g, struct buf *b)
{
	family(b, "container_cpu_usage_seconds_total", "counter", "[STABLE] Cumulative cpu time consumed by the container in "
		"core-seconds");
	resource_rows(g, b, "container_cpu_usage_seconds_total", CPU);
	family(b, "container_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the container in bytes");
	resource_rows(g, b, "container_memory_working_set_bytes", WORKING_SET);
	family(b, "container_start_time_seconds", "gauge", "[STABLE] Start time of the container since unix epoch in seconds");
	resource_rows(g, b, "container_start_time_seconds", STARTED);
	family(b, "node_cpu_usage_seconds_total", "counter", "[STABLE] Cumulative cpu time consumed by the node in core-seconds");
	row(b, "node_cpu_usage_seconds_total", NULL, 0, (double)g->node.cpu_ns / 1e9, g->node.ts);
	family(b, "node_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the node in bytes");
	row(b, "node_memory_working_set_bytes", NULL, 0, (double)g->node.working_set, g->node.ts);
	family(b, "pod_cpu_usage_seconds_total", "counter", "[STABLE] Cumulative cpu time consumed by the pod in core-seconds");
	pod_rows(g, b, "pod_cpu_usage_seconds_total", CPU);
	family(b, "pod_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the pod in bytes");
	pod_rows(g, b, "pod_memory_working_set_bytes", WORKING_SET);
	family(b, "resource_scrape_error", "gauge", "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise");
	row(b, "resource_scrape_error", NULL, 0, 0, 0);
	family(b, "scrape_error", "gauge", "[ALPHA] (Deprecated since 1.29.0) 1 if there was an error while getting container metrics, "
					   "0 otherwise");
	row(b, "scrape_error", NULL, 0, 0, 0);
}

void kl_serve_metrics_resource(struct kl_request *q)
{
	gather(q, write_resource);
}

/* ---- /metrics/cadvisor: what dashboards of Prometheus read */

static void cadvisor_rows(struct gathering *g, struct buf *b, const char *name, enum what w, const char *extra, const char *value)
{
	const struct kl_pod *p;
	size_t pos = 0;
	while ((p = kl_pod_next(g->q->s->k, &pos)))
		LIST_EACH(&p->containers, c, const struct kl_container, link) {
			const struct sample *s = c->state == KL_RUNNING ? sample_of(g, c) : NULL;
			auto_arena struct arena a = {};
			double v;
			int64_t ts;
			if (!s || !value_of(c, s, w, &v, &ts))
				continue;
			struct label labels[7];
			unsigned n = 0;
			labels[n++] = (struct label){ "container", c->name };
			if (extra)
				labels[n++] = (struct label){ extra, span_of(value) };
			labels[n++] = (struct label){ "id", arena_printf(&a, "/kubepods/pod%.*s/%.*s", SPAN_ARG(p->uid), SPAN_ARG(c->id)) };
			labels[n++] = (struct label){ "image", c->image };
			labels[n++] = (struct label){ "name", c->id };
			labels[n++] = (struct label){ "namespace", p->ns };
			labels[n++] = (struct label){ "pod", p->name };
			row(b, name, labels, n, v, ts);
		}
}

static void network_rows(struct gathering *g, struct buf *b, const char *name, const char *help, size_t at)
{
	const struct kl_pod *p;
	size_t pos = 0;
	family(b, name, "counter", help);
	while ((p = kl_pod_next(g->q->s->k, &pos))) {
		const struct net *n = net_of(g, p);
		auto_arena struct arena a = {};
		uint64_t v;
		if (!n)
			continue;
		memcpy(&v, (const char *)n + at, sizeof(v));
		const struct label labels[] = {
			{ "id", arena_printf(&a, "/kubepods/pod%.*s", SPAN_ARG(p->uid)) }, { "interface", n->name },
			{ "name", n->sandbox }, { "namespace", p->ns }, { "pod", p->name },
		};
		row(b, name, labels, ARRAY_LEN(labels), (double)v, n->ts);
	}
}

static void write_cadvisor(struct gathering *g, struct buf *b)
{
	static const struct {
		const char *name, *type, *help;
		enum what what;
		const char *extra, *value;
	} rows[] = {
		{ "container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", CPU, "cpu", "total" },
		{ "container_memory_working_set_bytes", "gauge", "Current working set in bytes.", WORKING_SET },
		{ "container_memory_usage_bytes", "gauge", "Current memory usage in bytes, including all memory regardless of when it "
							   "was accessed", USAGE },
		{ "container_memory_rss", "gauge", "Size of RSS in bytes.", RSS },
		{ "container_fs_usage_bytes", "gauge", "Number of bytes that are consumed by the container on this filesystem.", FS_USED,
		  "device", "" },
		{ "container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds.", STARTED },
		{ "container_last_seen", "gauge", "Last time a container was seen by the exporter", LAST_SEEN },
	};
	const struct label root[] = { { "container", SPAN("") }, { "cpu", SPAN("total") }, { "id", SPAN("/") }, { "image", SPAN("") },
				      { "name", SPAN("") }, { "namespace", SPAN("") }, { "pod", SPAN("") } };
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		family(b, rows[i].name, rows[i].type, rows[i].help);
		if (rows[i].what == CPU)
			row(b, rows[i].name, root, ARRAY_LEN(root), (double)g->node.cpu_ns / 1e9, g->node.ts);
		cadvisor_rows(g, b, rows[i].name, rows[i].what, rows[i].extra, rows[i].value);
	}
	network_rows(g, b, "container_network_receive_bytes_total", "Cumulative count of bytes received", offsetof(struct net, rx));
	network_rows(g, b, "container_network_receive_errors_total", "Cumulative count of errors encountered while receiving",
		     offsetof(struct net, rx_errors));
	network_rows(g, b, "container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", offsetof(struct net, tx));
	network_rows(g, b, "container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting",
		     offsetof(struct net, tx_errors));
	family(b, "machine_cpu_cores", "gauge", "Number of logical CPU cores.");
	row(b, "machine_cpu_cores", NULL, 0, (double)sysconf(_SC_NPROCESSORS_ONLN), 0);
	family(b, "machine_memory_bytes", "gauge", "Amount of memory installed on the machine.");
	row(b, "machine_memory_bytes", NULL, 0, (double)g->node.total, 0);
}

void kl_serve_metrics_cadvisor(struct kl_request *q)
{
	gather(q, write_cadvisor);
}
