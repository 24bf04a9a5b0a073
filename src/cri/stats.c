/* Statistics, read when asked for:
 *
 *     container engine   the counters of each running container, all at once
 *     worker             what changed in their layers (not older than a minute), the sandbox' interfaces
 *     loop               the answer
 *
 * usage_nano_cores is a rate and needs two readings: it is that since the reading before, and absent at the first. A sandbox'
 * numbers are the sums of its containers' and its pause's; but its processor time is its group's where it has one, as that of
 * containers which have ended belongs to it, too: it must not go back. */
#include <fcntl.h>

#include "cri/private.h"
#include "sys/sys.h"

#define LAYER_FRESH_MS 60000
#define RATE_LEAST_NS NS_PER_S
#define INTERFACES_MAX 32

struct reading { /* of one container */
	struct container_call call;
	struct stats *s;
	char id[65];
	struct json doc;         /* container_stats' result; null when it does not run */
	bool layer_wanted, layer_read;
	uint64_t layer_bytes, layer_inodes;
	int64_t layer_ns;
};

struct network {
	char pod[65];
	pid_t pid;
	struct api_cri_network_interface_usage *items;
	uint32_t n;
	const char *group;       /* of the sandbox; NULL = it has none of its own, or a name that only systemd knows */
	bool has_cpu;
	uint64_t cpu_ns;
};

struct stats {
	struct cri_call *k;
	struct reading *readings;
	size_t n;
	unsigned left;
	struct network *networks;
	size_t n_networks;
	void (*then)(struct cri_call *k);
};

static uint64_t num(const struct json *o, const char *key)
{
	return (uint64_t)json_i64(json_get(o, span_of(key)), 0);
}

static struct api_cri_u_int64_value *value(struct arena *a, uint64_t n)
{
	struct api_cri_u_int64_value *v = arena_new(a, struct api_cri_u_int64_value);
	v->value = n;
	return v;
}

/* ---- reading */

static int layers_run(struct cri_call *k, struct err *err);

static void layers_then(struct cri_call *k)
{
	struct stats *s = k->state;
	for (size_t i = 0; i < s->n; i++) {
		struct reading *r = &s->readings[i];
		struct cri_container *one = map_get(&k->cri->all_by_id, span_of(r->id));
		if (!one || !r->layer_read)
			continue;
		one->layer_bytes = r->layer_bytes;
		one->layer_inodes = r->layer_inodes;
		one->layer_ns = r->layer_ns;
		one->layer_at_ms = loop_now_ms(k->cri->p.loop);
	}
	err_done(&k->err); /* a layer that cannot be counted has no number */
	s->then(k);
}

static void readings_over(struct stats *s)
{
	if (--s->left == 0)
		cri_work(s->k, layers_run, layers_then);
}

static void on_reading(struct container_call *call, const struct err *err)
{
	struct reading *r = container_of(call, struct reading, call);
	if (!err)
		r->doc = call->result;
	readings_over(r->s);
}

static void group_read(struct network *net, struct arena *a)
{
	auto_sys_cgroup struct sys_cgroup cg = {};
	struct sys_cgroup_stats *s = arena_new(a, struct sys_cgroup_stats);
	net->has_cpu = net->group && sys_cgroup_locate(a, net->group, false, "", &cg, NULL) == 0 && sys_cgroup_open(&cg, NULL) == 0 &&
		       sys_cgroup_stats_read(&cg, s, NULL) == 0 && s->cpu_total_ns > 0;
	net->cpu_ns = s->cpu_total_ns;
}

static int layers_run(struct cri_call *k, struct err *err)
{
	struct stats *s = k->state;
	for (size_t i = 0; i < s->n; i++) {
		struct reading *r = &s->readings[i];
		const char *key = arena_printf(&k->arena, "cri-%s", r->id).ptr;
		if (!r->layer_wanted || snapshot_usage(k->cri->p.snapshots, key, &r->layer_inodes, &r->layer_bytes, NULL) < 0)
			continue;
		r->layer_read = true;
		r->layer_ns = clock_wall_ns(clock_real());
	}
	for (size_t i = 0; i < s->n_networks; i++) {
		s->networks[i].n = cri_interfaces_read(s->networks[i].pid, &k->arena, &s->networks[i].items);
		group_read(&s->networks[i], &k->arena);
	}
	return 0;
}

/* Room for n readings; add, then begin. */
static struct stats *stats_new(struct cri_call *k, size_t n, size_t n_pods, void (*then)(struct cri_call *k))
{
	struct stats *s = arena_new(&k->arena, struct stats);
	s->k = k;
	s->then = then;
	s->readings = arena_zalloc(&k->arena, (n + 1) * sizeof(*s->readings));
	s->networks = arena_zalloc(&k->arena, (n_pods + 1) * sizeof(*s->networks));
	k->state = s;
	return s;
}

static void add(struct stats *s, const char *id)
{
	struct reading *r = &s->readings[s->n++];
	const struct cri_container *one = map_get(&s->k->cri->all_by_id, span_of(id));
	r->s = s;
	memcpy(r->id, id, sizeof(r->id));
	r->doc = JSON_NULL_VALUE;
	r->layer_wanted = one && (!one->layer_ns || loop_now_ms(s->k->cri->p.loop) - one->layer_at_ms >= LAYER_FRESH_MS);
}

static void begin(struct stats *s)
{
	struct cri_call *k = s->k;
	s->left = 1;
	for (size_t i = 0; i < s->n; i++) {
		struct reading *r = &s->readings[i];
		s->left++;
		r->call = (struct container_call){ .done = on_reading, .arena = &k->arena };
		container_stats(k->cri->containers, span_of(r->id), &r->call);
	}
	readings_over(s);
}

/* ---- showing */

static const struct reading *reading_of(const struct stats *s, const char *id)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->readings[i].id, id))
			return &s->readings[i];
	return NULL;
}

/* v1 counts what is below in names of their own. */
static uint64_t of_memory(const struct json *memory, const char *v1, const char *v2)
{
	const struct json *stats = json_getl(memory, "stats");
	return json_get(stats, span_of(v1)) ? num(stats, v1) : num(stats, v2);
}

static void rate_take(struct cri_rate *r, uint64_t cpu_ns, int64_t now_ms)
{
	int64_t passed = (now_ms - r->at_ms) * NS_PER_MS;
	if (r->at_ms && passed < RATE_LEAST_NS)
		return;
	r->known = r->at_ms && cpu_ns >= r->cpu_ns;
	r->nano_cores = r->known ? (uint64_t)((double)(cpu_ns - r->cpu_ns) * (double)NS_PER_S / (double)passed) : 0;
	r->cpu_ns = cpu_ns;
	r->at_ms = now_ms;
}

static struct api_cri_cpu_usage *show_cpu(struct cri_container *one, const struct json *doc, int64_t now, struct arena *a)
{
	struct api_cri_cpu_usage *cpu = arena_new(a, struct api_cri_cpu_usage);
	uint64_t total = num(json_path(doc, "cpu_stats", "cpu_usage", NULL), "total_usage");
	cpu->timestamp = now;
	cpu->usage_core_nano_seconds = value(a, total);
	if (one) {
		rate_take(&one->cpu, total, loop_now_ms(one->pod->cri->p.loop));
		cpu->usage_nano_cores = one->cpu.known ? value(a, one->cpu.nano_cores) : NULL;
	}
	return cpu;
}

static struct api_cri_memory_usage *show_memory(const struct json *doc, uint64_t limit, int64_t now, struct arena *a)
{
	const struct json *memory = json_getl(doc, "memory_stats");
	struct api_cri_memory_usage *m = arena_new(a, struct api_cri_memory_usage);
	uint64_t usage = num(memory, "usage"), idle = of_memory(memory, "total_inactive_file", "inactive_file");
	uint64_t working = usage > idle ? usage - idle : 0;
	m->timestamp = now;
	m->usage_bytes = value(a, usage);
	m->working_set_bytes = value(a, working);
	m->rss_bytes = value(a, of_memory(memory, "total_rss", "anon"));
	m->page_faults = value(a, of_memory(memory, "total_pgfault", "pgfault"));
	m->major_page_faults = value(a, of_memory(memory, "total_pgmajfault", "pgmajfault"));
	m->available_bytes = value(a, limit > working ? limit - working : 0);
	return m;
}

/* What of its swap is free; NULL when nobody says how much it may have. */
static struct api_cri_u_int64_value *swap_left(const struct cri_container *one, uint64_t used, struct arena *a)
{
	const struct api_cri_linux_container_resources *r = one->config.linux_ ? one->config.linux_->resources : NULL;
	if (!r || r->memory_limit_in_bytes <= 0 || r->memory_swap_limit_in_bytes < 0)
		return NULL;
	int64_t both = r->memory_swap_limit_in_bytes ? r->memory_swap_limit_in_bytes : r->memory_limit_in_bytes;
	uint64_t most = both > r->memory_limit_in_bytes ? (uint64_t)(both - r->memory_limit_in_bytes) : 0;
	return value(a, most > used ? most - used : 0);
}

static uint64_t limit_of(const struct cri_container *one)
{
	const struct api_cri_linux_container_resources *r = one->config.linux_ ? one->config.linux_->resources : NULL;
	return r && r->memory_limit_in_bytes > 0 ? (uint64_t)r->memory_limit_in_bytes : 0;
}

static void show_container(struct cri_container *one, const struct reading *r, struct arena *a, struct api_cri_container_stats *out)
{
	int64_t now = loop_wall_ns(one->pod->cri->p.loop);
	*out = (struct api_cri_container_stats){ .attributes = arena_new(a, struct api_cri_container_attributes) };
	out->attributes->id = span_of(one->id);
	out->attributes->metadata = one->config.metadata;
	CRI_LIST(out->attributes->labels, one->config.labels);
	CRI_LIST(out->attributes->annotations, one->config.annotations);
	if (one->layer_ns) {
		out->writable_layer = arena_new(a, struct api_cri_filesystem_usage);
		out->writable_layer->timestamp = one->layer_ns;
		out->writable_layer->fs_id = arena_new(a, struct api_cri_filesystem_identifier);
		out->writable_layer->fs_id->mountpoint = arena_printf(a, "%s/snapshots", one->pod->cri->p.data_dir);
		out->writable_layer->used_bytes = value(a, one->layer_bytes);
		out->writable_layer->inodes_used = value(a, one->layer_inodes);
	}
	struct container_state state;
	if (!r || r->doc.kind != JSON_OBJECT || cri_container_now(one, &state) != CRI_RUNNING)
		return;
	out->cpu = show_cpu(one, &r->doc, now, a);
	out->memory = show_memory(&r->doc, limit_of(one), now, a);
	const struct json *stats = json_path(&r->doc, "memory_stats", "stats", NULL);
	if (json_getl(stats, "total_swap") || json_getl(stats, "swap")) {
		out->swap = arena_new(a, struct api_cri_swap_usage);
		out->swap->timestamp = now;
		out->swap->swap_usage_bytes = value(a, of_memory(json_getl(&r->doc, "memory_stats"), "total_swap", "swap"));
		out->swap->swap_available_bytes = swap_left(one, out->swap->swap_usage_bytes->value, a);
	}
}

/* ---- containers */

static void one_then(struct cri_call *k)
{
	const struct stats *s = k->state;
	struct api_cri_container_stats stats;
	const struct api_cri_container_stats_response out = { .stats = &stats };
	struct cri_container *one = map_get(&k->cri->all_by_id, span_of(s->readings[0].id));
	if (!one) {
		cri_fail_with(k, ERR_NOT_FOUND, "container %s was removed", s->readings[0].id);
		return;
	}
	show_container(one, &s->readings[0], &k->arena, &stats);
	cri_answer(k, &out);
}

void cri_container_stats(struct cri_call *k, const void *in)
{
	const struct api_cri_container_stats_request *q = in;
	struct cri_container *one = cri_container_find(k->cri, q->container_id, &k->err);
	if (!one) {
		cri_fail(k);
		return;
	}
	struct stats *s = stats_new(k, 1, 0, one_then);
	add(s, one->id);
	begin(s);
}

static void list_then(struct cri_call *k)
{
	const struct stats *s = k->state;
	struct api_cri_list_container_stats_response out = {};
	out.stats.ptr = arena_alloc_n(&k->arena, s->n + 1, sizeof(*out.stats.ptr));
	for (size_t i = 0; i < s->n; i++) {
		struct cri_container *one = map_get(&k->cri->all_by_id, span_of(s->readings[i].id));
		if (one)
			show_container(one, &s->readings[i], &k->arena, &out.stats.ptr[out.stats.n++]);
	}
	cri_answer(k, &out);
}

void cri_list_container_stats(struct cri_call *k, const void *in)
{
	const struct api_cri_list_container_stats_request *q = in;
	const struct api_cri_container_stats_filter *f = q->filter;
	struct stats *s = stats_new(k, k->cri->all_by_id.n, 0, list_then);
	struct container_state now;
	LIST_EACH (&k->cri->all, one, struct cri_container, link) {
		if (cri_container_now(one, &now) != CRI_RUNNING)
			continue;
		if (f && ((f->id.len && !span_starts(span_of(one->id), f->id)) ||
				 (f->pod_sandbox_id.len && !span_starts(span_of(one->pod->id), f->pod_sandbox_id)) ||
				 !CRI_LABELS(f->label_selector, one->config.labels)))
			continue;
		add(s, one->id);
	}
	begin(s);
}

/* ---- sandboxes */

static void pod_add(struct stats *s, struct cri_pod *pod)
{
	struct network *net = &s->networks[s->n_networks++];
	struct container_state state;
	memcpy(net->pod, pod->id, sizeof(net->pod));
	if (!cri_spec_host_network(&pod->config) && container_state(pod->cri->containers, span_of(pod->id), &state, NULL) == 0)
		net->pid = state.pid;
	const struct api_cri_linux_pod_sandbox_config *l = pod->config.linux_;
	if (l && span_starts(l->cgroup_parent, SPAN("/")) && l->cgroup_parent.len > 1)
		net->group = arena_cstr(&s->k->arena, l->cgroup_parent);
	add(s, pod->id);
	LIST_EACH (&pod->containers, one, struct cri_container, of_pod)
		if (cri_container_now(one, &state) == CRI_RUNNING)
			add(s, one->id);
}

static void sum(struct api_cri_u_int64_value **to, const struct api_cri_u_int64_value *v, struct arena *a)
{
	if (v && !*to)
		*to = value(a, 0);
	if (v)
		(*to)->value += v->value;
}

static void pod_sum(struct api_cri_linux_pod_sandbox_stats *l, const struct api_cri_cpu_usage *cpu,
	const struct api_cri_memory_usage *m, uint64_t pids, struct arena *a)
{
	sum(&l->cpu->usage_core_nano_seconds, cpu->usage_core_nano_seconds, a);
	sum(&l->cpu->usage_nano_cores, cpu->usage_nano_cores, a);
	sum(&l->memory->usage_bytes, m->usage_bytes, a);
	sum(&l->memory->working_set_bytes, m->working_set_bytes, a);
	sum(&l->memory->rss_bytes, m->rss_bytes, a);
	sum(&l->memory->page_faults, m->page_faults, a);
	sum(&l->memory->major_page_faults, m->major_page_faults, a);
	l->process->process_count->value += pids;
}

static void group_cpu(const struct stats *s, struct cri_pod *pod, struct api_cri_cpu_usage *cpu, struct arena *a)
{
	for (size_t i = 0; i < s->n_networks; i++) {
		const struct network *net = &s->networks[i];
		if (strcmp(net->pod, pod->id) != 0 || !net->has_cpu)
			continue;
		rate_take(&pod->cpu, net->cpu_ns, loop_now_ms(pod->cri->p.loop));
		cpu->usage_core_nano_seconds = value(a, net->cpu_ns);
		cpu->usage_nano_cores = pod->cpu.known ? value(a, pod->cpu.nano_cores) : NULL;
	}
}

static void show_network(const struct stats *s, const struct cri_pod *pod, int64_t now, struct arena *a,
	struct api_cri_network_usage **out)
{
	for (size_t i = 0; i < s->n_networks; i++) {
		const struct network *net = &s->networks[i];
		if (strcmp(net->pod, pod->id) != 0 || !net->n)
			continue;
		struct api_cri_network_usage *u = *out = arena_new(a, struct api_cri_network_usage);
		u->timestamp = now;
		u->interfaces.ptr = arena_alloc_n(a, net->n, sizeof(*u->interfaces.ptr));
		for (uint32_t j = 0; j < net->n; j++) {
			if (span_is(net->items[j].name, CRI_IFNAME))
				u->default_interface = &net->items[j];
			else
				u->interfaces.ptr[u->interfaces.n++] = net->items[j];
		}
	}
}

static void show_pod_stats(const struct stats *s, struct cri_pod *pod, struct arena *a, struct api_cri_pod_sandbox_stats *out)
{
	int64_t now = loop_wall_ns(pod->cri->p.loop);
	struct api_cri_linux_pod_sandbox_stats *l = arena_new(a, struct api_cri_linux_pod_sandbox_stats);
	size_t n = 0;
	*out = (struct api_cri_pod_sandbox_stats){ .attributes = arena_new(a, struct api_cri_pod_sandbox_attributes), .linux_ = l };
	out->attributes->id = span_of(pod->id);
	out->attributes->metadata = pod->config.metadata;
	CRI_LIST(out->attributes->labels, pod->config.labels);
	CRI_LIST(out->attributes->annotations, pod->config.annotations);
	l->cpu = arena_new(a, struct api_cri_cpu_usage);
	l->memory = arena_new(a, struct api_cri_memory_usage);
	l->process = arena_new(a, struct api_cri_process_usage);
	l->process->process_count = value(a, 0);
	l->cpu->timestamp = l->memory->timestamp = l->process->timestamp = now;
	show_network(s, pod, now, a, &l->network);
	const struct reading *pause = reading_of(s, pod->id);
	if (pause && pause->doc.kind == JSON_OBJECT)
		pod_sum(l, show_cpu(NULL, &pause->doc, now, a), show_memory(&pause->doc, 0, now, a),
			num(json_getl(&pause->doc, "pids_stats"), "current"), a);
	LIST_EACH (&pod->containers, one, struct cri_container, of_pod)
		n++;
	l->containers.ptr = arena_alloc_n(a, n + 1, sizeof(*l->containers.ptr));
	LIST_EACH (&pod->containers, one, struct cri_container, of_pod) {
		const struct reading *r = reading_of(s, one->id);
		struct api_cri_container_stats *c = &l->containers.ptr[l->containers.n];
		if (!r)
			continue;
		show_container(one, r, a, c);
		l->containers.n++;
		if (c->cpu)
			pod_sum(l, c->cpu, c->memory, num(json_getl(&r->doc, "pids_stats"), "current"), a);
	}
	group_cpu(s, pod, l->cpu, a);
}

static void pod_then(struct cri_call *k)
{
	const struct stats *s = k->state;
	struct api_cri_pod_sandbox_stats stats;
	const struct api_cri_pod_sandbox_stats_response out = { .stats = &stats };
	struct cri_pod *pod = map_get(&k->cri->pods_by_id, span_of(s->networks[0].pod));
	if (!pod) {
		cri_fail_with(k, ERR_NOT_FOUND, "sandbox %s was removed", s->networks[0].pod);
		return;
	}
	show_pod_stats(s, pod, &k->arena, &stats);
	cri_answer(k, &out);
}

static size_t pod_size(const struct cri_pod *pod)
{
	size_t n = 1;
	LIST_EACH (&pod->containers, one, struct cri_container, of_pod)
		n++;
	return n;
}

void cri_pod_sandbox_stats(struct cri_call *k, const void *in)
{
	const struct api_cri_pod_sandbox_stats_request *q = in;
	struct cri_pod *pod = cri_pod_find(k->cri, q->pod_sandbox_id, &k->err);
	if (pod && !cri_pod_ready(pod))
		(void)err_set(&k->err, ERR_IN_USE, "sandbox %s is not running", pod->id);
	if (!pod || k->err.class) {
		cri_fail(k);
		return;
	}
	struct stats *s = stats_new(k, pod_size(pod), 1, pod_then);
	pod_add(s, pod);
	begin(s);
}

static void pods_begin(struct cri_call *k, const struct api_cri_pod_sandbox_stats_filter *f, void (*then)(struct cri_call *k))
{
	struct stats *s = stats_new(k, k->cri->all_by_id.n + k->cri->pods_by_id.n, k->cri->pods_by_id.n, then);
	LIST_EACH (&k->cri->pods, pod, struct cri_pod, link) {
		if (!cri_pod_ready(pod) || (f && ((f->id.len && !span_starts(span_of(pod->id), f->id)) ||
							 !CRI_LABELS(f->label_selector, pod->config.labels))))
			continue;
		pod_add(s, pod);
	}
	begin(s);
}

static void pods_then(struct cri_call *k)
{
	const struct stats *s = k->state;
	struct api_cri_list_pod_sandbox_stats_response out = {};
	out.stats.ptr = arena_alloc_n(&k->arena, s->n_networks + 1, sizeof(*out.stats.ptr));
	for (size_t i = 0; i < s->n_networks; i++) {
		struct cri_pod *pod = map_get(&k->cri->pods_by_id, span_of(s->networks[i].pod));
		if (pod)
			show_pod_stats(s, pod, &k->arena, &out.stats.ptr[out.stats.n++]);
	}
	cri_answer(k, &out);
}

void cri_list_pod_sandbox_stats(struct cri_call *k, const void *in)
{
	const struct api_cri_list_pod_sandbox_stats_request *q = in;
	pods_begin(k, q->filter, pods_then);
}

/* ---- metrics: the same numbers by cAdvisor's names ---- */

enum { COUNTER, GAUGE }; /* MetricType */

static const struct metric_row {
	const char *name, *help;
	int type;
	bool interface; /* one for each, and of the sandbox */
} metric_rows[] = {
	{ "container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", COUNTER, false },
	{ "container_memory_usage_bytes",
		"Current memory usage in bytes, including all memory regardless of when it was accessed.", GAUGE, false },
	{ "container_memory_working_set_bytes", "Current working set in bytes.", GAUGE, false },
	{ "container_memory_rss", "Size of RSS in bytes.", GAUGE, false },
	{ "container_processes", "Number of processes running inside the container.", GAUGE, false },
	{ "container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.", GAUGE, false },
	{ "container_network_receive_bytes_total", "Cumulative count of bytes received.", COUNTER, true },
	{ "container_network_transmit_bytes_total", "Cumulative count of bytes transmitted.", COUNTER, true },
};
static const char *const label_keys[] = { "container", "id", "image", "name", "namespace", "pod", "interface" };

void cri_list_metric_descriptors(struct cri_call *k, const void *in)
{
	struct api_cri_metric_descriptor rows[ARRAY_LEN(metric_rows)] = {};
	struct span keys[ARRAY_LEN(label_keys)];
	struct api_cri_list_metric_descriptors_response out = {};
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		keys[i] = span_of(label_keys[i]);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		rows[i].name = span_of(metric_rows[i].name);
		rows[i].help = span_of(metric_rows[i].help);
		rows[i].label_keys.ptr = keys;
		rows[i].label_keys.n = metric_rows[i].interface ? ARRAY_LEN(keys) : ARRAY_LEN(keys) - 1;
	}
	out.descriptors.ptr = rows;
	out.descriptors.n = ARRAY_LEN(rows);
	cri_answer(k, &out);
}

struct labels {
	struct span values[ARRAY_LEN(label_keys)];
};

static void metric(struct arena *a, struct api_cri_metric *out, size_t row, const struct labels *labels, uint64_t v, int64_t now)
{
	const struct metric_row *m = &metric_rows[row];
	uint32_t n = m->interface ? ARRAY_LEN(label_keys) : ARRAY_LEN(label_keys) - 1;
	*out = (struct api_cri_metric){ .name = span_of(m->name), .timestamp = now, .metric_type = m->type, .value = value(a, v) };
	out->label_values.ptr = arena_alloc_n(a, n, sizeof(struct span));
	memcpy(out->label_values.ptr, labels->values, n * sizeof(struct span));
	out->label_values.n = n;
}

static void container_metrics(const struct stats *s, const struct cri_pod *pod, const struct api_cri_container_stats *c,
	struct arena *a, struct api_cri_container_metrics *out)
{
	const struct cri_container *one = map_get(&pod->cri->all_by_id, c->attributes->id);
	const struct reading *r = one ? reading_of(s, one->id) : NULL;
	struct labels l = { { c->attributes->metadata->name, c->attributes->id, one ? one->image : SPAN_EMPTY, c->attributes->id,
		pod->config.metadata->namespace, pod->config.metadata->name } };
	int64_t now = c->cpu->timestamp;
	const uint64_t values[] = { c->cpu->usage_core_nano_seconds->value / (uint64_t)NS_PER_S, c->memory->usage_bytes->value,
		c->memory->working_set_bytes->value, c->memory->rss_bytes->value,
		r ? num(json_getl(&r->doc, "pids_stats"), "current") : 0,
		c->writable_layer ? c->writable_layer->used_bytes->value : 0 };
	*out = (struct api_cri_container_metrics){ .container_id = c->attributes->id };
	out->metrics.ptr = arena_alloc_n(a, ARRAY_LEN(values), sizeof(*out->metrics.ptr));
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		metric(a, &out->metrics.ptr[out->metrics.n++], i, &l, values[i], now);
}

static void pod_metrics(const struct stats *s, struct cri_pod *pod, struct arena *a, struct api_cri_pod_sandbox_metrics *out)
{
	struct api_cri_pod_sandbox_stats stats;
	int64_t now = loop_wall_ns(pod->cri->p.loop);
	show_pod_stats(s, pod, a, &stats);
	*out = (struct api_cri_pod_sandbox_metrics){ .pod_sandbox_id = span_of(pod->id) };
	out->metrics.ptr = arena_alloc_n(a, 2 * INTERFACES_MAX, sizeof(*out->metrics.ptr));
	for (size_t i = 0; i < s->n_networks; i++)
		for (uint32_t j = 0; !strcmp(s->networks[i].pod, pod->id) && j < s->networks[i].n; j++) {
			const struct api_cri_network_interface_usage *u = &s->networks[i].items[j];
			struct labels l = { { SPAN(""), span_of(pod->id), SPAN(CRI_PAUSE_IMAGE), span_of(pod->id),
				pod->config.metadata->namespace, pod->config.metadata->name, u->name } };
			metric(a, &out->metrics.ptr[out->metrics.n++], 6, &l, u->rx_bytes->value, now);
			metric(a, &out->metrics.ptr[out->metrics.n++], 7, &l, u->tx_bytes->value, now);
		}
	out->container_metrics.ptr = arena_alloc_n(a, stats.linux_->containers.n + 1, sizeof(*out->container_metrics.ptr));
	for (uint32_t i = 0; i < stats.linux_->containers.n; i++)
		if (stats.linux_->containers.ptr[i].cpu)
			container_metrics(s, pod, &stats.linux_->containers.ptr[i], a,
				&out->container_metrics.ptr[out->container_metrics.n++]);
}

static void metrics_then(struct cri_call *k)
{
	const struct stats *s = k->state;
	struct api_cri_list_pod_sandbox_metrics_response out = {};
	out.pod_metrics.ptr = arena_alloc_n(&k->arena, s->n_networks + 1, sizeof(*out.pod_metrics.ptr));
	for (size_t i = 0; i < s->n_networks; i++) {
		struct cri_pod *pod = map_get(&k->cri->pods_by_id, span_of(s->networks[i].pod));
		if (pod)
			pod_metrics(s, pod, &k->arena, &out.pod_metrics.ptr[out.pod_metrics.n++]);
	}
	cri_answer(k, &out);
}

void cri_list_pod_sandbox_metrics(struct cri_call *k, const void *in)
{
	pods_begin(k, NULL, metrics_then);
}

/* ---- /proc/PID/net/dev: two lines of titles, then "name: " and 16 numbers, the first eight of what was received */

uint32_t cri_interfaces_parse(struct span text, struct arena *a, struct api_cri_network_interface_usage **out)
{
	struct span rest = text, line;
	uint32_t n = 0;
	*out = arena_zalloc(a, INTERFACES_MAX * sizeof(**out));
	while (n < INTERFACES_MAX && span_cut(&rest, '\n', &line)) {
		struct span name, numbers, word;
		uint64_t v[16] = {};
		size_t count = 0;
		if (!span_split(line, ':', &name, &numbers) || span_is(span_trim(name), "lo"))
			continue;
		while (count < ARRAY_LEN(v) && span_cut(&numbers, ' ', &word))
			if (word.len && span_to_u64(word, &v[count]))
				count++;
		if (count < ARRAY_LEN(v))
			continue;
		(*out)[n++] = (struct api_cri_network_interface_usage){ .name = arena_span(a, span_trim(name)),
			.rx_bytes = value(a, v[0]), .rx_errors = value(a, v[2]), .tx_bytes = value(a, v[8]), .tx_errors = value(a, v[10]) };
	}
	return n;
}

uint32_t cri_interfaces_read(pid_t pid, struct arena *a, struct api_cri_network_interface_usage **out)
{
	auto_buf struct buf b = {};
	char path[64];
	if (pid <= 0)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/net/dev", pid);
	if (io_read_file(AT_FDCWD, path, &b, 1 << 20, NULL) < 0) /* it has ended */
		return 0;
	return cri_interfaces_parse(buf_span(&b), a, out);
}
