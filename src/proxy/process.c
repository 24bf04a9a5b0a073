/* The applet: flags, a client, three informers, and what they feed.
 *
 *     nodes ──> routes, CNI configuration, ranges
 *       └ synced (this node's name and zone are known) ──> services, endpointslices ──> state ──> kernel
 *
 * The kernel is compared when services and slices are both synced for the first time: before that it keeps what a process before
 * us left there, and connections go on. */
#include <math.h>
#include <unistd.h>

#include "cni/cni.h"
#include "base/flags.h"
#include "proxy/health.h"
#include "proxy/proxy.h"
#include "proxy/watch.h"
#include "tls/tls.h"

#define RANGES_MAX 4

enum { SYNC_SECONDS, SERVICES, FAILURES, FAMILIES_N };
static const double sync_bounds[] = { .00005, .0001, .0002, .0005, .001, .002, .005, .01, .05, .1, .5, 1, INFINITY };
static const struct metrics_family families[FAMILIES_N] = {
	[SYNC_SECONDS] = { "kubeproxy_sync_proxy_rules_duration_seconds", "From a change that is due to the kernel's acknowledgement.",
			   METRICS_HISTOGRAM, .bounds = sync_bounds },
	[SERVICES] = { "kubeproxy_sync_proxy_rules_services_total", "Services written to the kernel.", METRICS_COUNTER },
	[FAILURES] = { "kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "Transactions that the kernel refused for good.",
		       METRICS_COUNTER },
};

struct process {
	struct client_process frame;
	struct client_informer *nodes_inf, *services_inf, *slices_inf;
	struct proxy_kernel kernel;
	struct proxy_state *state;
	struct proxy_nodes *nodes;
	struct proxy_health *health;
	struct proxy_watch *watch;
	struct metrics *metrics;
	struct metrics_table *table;
	struct loop_task nodes_due;
	struct loop_timer nodes_retry;
	bool kernel_open, services_synced, slices_synced, begun, told;
	char zone[128], id[9], name[256];
	struct sys_prefix pods[RANGES_MAX], ranges[RANGES_MAX];
	unsigned n_pods, n_ranges;
	char health_address[64], metrics_address[64];
	unsigned health_port, metrics_port;
	/* flags */
	const char *kubeconfig, *master, *data_dir, *hostname, *cni_conf_dir;
	bool help, cleanup;
};

enum flag_kind { FLAG_TEXT, FLAG_CLEANUP, FLAG_RANGES, FLAG_ADDRESS, FLAG_MODE, FLAG_FALSE, FLAG_LEVEL };
#define AT(member) offsetof(struct process, member)
static const struct flag {
	const char *name;
	enum flag_kind kind;
	size_t at, at_n;
	const char *help;
} flags[] = {
	{ "kubeconfig", FLAG_TEXT, AT(kubeconfig), 0, "how the API server is reached" },
	{ "master", FLAG_TEXT, AT(master), 0, "address of the API server, in place of the kubeconfig's" },
	{ "data-dir", FLAG_TEXT, AT(data_dir), 0, "(default /var/lib/knarr)" },
	{ "hostname-override", FLAG_TEXT, AT(hostname), 0, "this node's name (default: the host's, in lower case)" },
	{ "cluster-cidr", FLAG_RANGES, AT(pods), AT(n_pods), "addresses of all pods; who is not in it comes from outside" },
	{ "service-cluster-ip-range", FLAG_RANGES, AT(ranges), AT(n_ranges), "addresses of services; what has no service is rejected" },
	{ "cni-conf-dir", FLAG_TEXT, AT(cni_conf_dir), 0, "write the CNI configuration there (default: none is written)" },
	{ "healthz-bind-address", FLAG_ADDRESS, AT(health_address), AT(health_port), "(default 0.0.0.0:10256; \"\": none)" },
	{ "metrics-bind-address", FLAG_ADDRESS, AT(metrics_address), AT(metrics_port), "(default 127.0.0.1:10249; \"\": none)" },
	{ "cleanup", FLAG_CLEANUP, 0, 0, "take back tables, interfaces of pods, routes and forwarding, and end" },
	{ "proxy-mode", FLAG_MODE, 0, 0, "nftables, the only one" },
	{ "masquerade-all", FLAG_FALSE, 0, 0, "true is not to be had: pods are seen by their own addresses" },
	{ "v", FLAG_LEVEL, 0, 0, "4 and more: debug" },
};

static int bad(const struct flag *f, const char *value, struct err *err)
{
	return err_set(err, ERR_USAGE, "invalid argument \"%s\" for \"--%s\" flag", value, f->name);
}

/* An address alone keeps the port; "" is none. */
static bool address_set(char *out, unsigned *out_port, struct span v)
{
	struct sys_addr a;
	uint16_t port = (uint16_t)*out_port;
	if (!v.len) {
		*out_port = 0;
		return true;
	}
	if (!sys_addr_port_parse(v, &a, &port))
		return false;
	(void)sys_addr_text(&a, out);
	*out_port = port;
	return true;
}

static int set_flag(struct process *p, const struct flag *f, const char *value, struct err *err)
{
	char *place = (char *)p + f->at;
	unsigned *n = (unsigned *)(void *)((char *)p + f->at_n);
	struct span v = span_of(value), one;
	int64_t level;
	switch (f->kind) {
	case FLAG_TEXT: *(const char **)(void *)place = value; return 0;
	case FLAG_CLEANUP:
		if (!span_is(v, "true") && !span_is(v, "false"))
			return bad(f, value, err);
		p->cleanup = span_is(v, "true");
		return 0;
	case FLAG_RANGES:
		*n = 0;
		while (span_cut(&v, ',', &one))
			if (*n == RANGES_MAX || !sys_prefix_parse(one, &((struct sys_prefix *)(void *)place)[(*n)++]))
				return bad(f, value, err);
		return 0;
	case FLAG_ADDRESS: return address_set(place, n, v) ? 0 : bad(f, value, err);
	case FLAG_MODE: return span_is(v, "nftables") || !v.len ? 0 : bad(f, value, err);
	case FLAG_FALSE:
		if (span_is(v, "true"))
			return err_set(err, ERR_USAGE, "--%s: %s", f->name, f->help);
		return span_is(v, "false") ? 0 : bad(f, value, err);
	case FLAG_LEVEL:
		if (!span_to_i64(v, &level) || level < 0)
			return bad(f, value, err);
		log_open(2, level >= 4 ? LOG_DEBUG : LOG_INFO, "proxy");
		return 0;
	}
	return 0;
}

static int parse(struct process *p, int argc, char **argv, struct err *err)
{
	struct flags w = FLAGS_OF(argc, argv, flags, "unexpected argument:");
	struct span value;
	int rc;
	while ((rc = flags_next(&w, err)) > 0) {
		const struct flag *f = &flags[w.row];
		bool is_truth = f->kind == FLAG_FALSE || f->kind == FLAG_CLEANUP;
		if ((rc = flags_value(&w, is_truth, &value, err)) < 0 || (rc = set_flag(p, f, value.ptr, err)) < 0)
			return rc;
	}
	p->help = w.help;
	return rc;
}

static int names_set(struct process *p, struct err *err)
{
	if (p->hostname && *p->hostname)
		snprintf(p->name, sizeof(p->name), "%s", p->hostname);
	else if (gethostname(p->name, sizeof(p->name) - 1) < 0)
		return err_sys(err, "asking for the host's name");
	for (char *c = p->name; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	if (strcmp(p->data_dir, "/var/lib/knarr") == 0) {
		memcpy(p->id, "0", 2);
		return 0;
	}
	auto_buf struct buf hex = { 0 };
	uint8_t digest[32];
	tls_sha256(span_of(p->data_dir), digest);
	hex_add(&hex, digest, 4);
	memcpy(p->id, hex.ptr, 9);
	return 0;
}

/* ---- services and slices */

static void on_applied(void *arg, int64_t took_ns, size_t services)
{
	struct process *p = arg;
	metrics_observe(METRICS_SERIES(p->table, SYNC_SECONDS), (double)took_ns / NS_PER_S);
	metrics_add(METRICS_SERIES(p->table, SERVICES), (double)services);
	if (p->health)
		proxy_health_ports(p->health);
	if (!p->told)
		notify_ready();
	p->told = true;
}

static void begin(struct process *p)
{
	auto_err struct err err = ERR_INIT;
	if (p->begun || !p->services_synced || !p->slices_synced)
		return;
	p->begun = true;
	if (proxy_state_begin(p->state, &err) < 0) {
		metrics_inc(METRICS_SERIES(p->table, FAILURES));
		log_error("services could not be written; trying again", kv_err(&err));
	}
}

static void on_service(struct client_informer *inf, struct client_item *it, const struct json *o, void *arg)
{
	struct process *p = arg;
	proxy_state_service(p->state, it->key, proxy_service_read(o));
}

static void on_service_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *o,
			       void *arg)
{
	on_service(inf, it, o, arg);
}

static void on_service_gone(struct client_informer *inf, struct client_item *it, void *arg)
{
	struct process *p = arg;
	proxy_state_service(p->state, it->key, NULL);
}

static void on_services(struct client_informer *inf, void *arg)
{
	struct process *p = arg;
	p->services_synced = true;
	begin(p);
}

static void on_slice(struct client_informer *inf, struct client_item *it, const struct json *o, void *arg)
{
	struct process *p = arg;
	struct span service = json_span(json_path(o, "metadata", "labels", "kubernetes.io/service-name", NULL));
	auto_buf struct buf key = { 0 };
	buf_printf(&key, "%.*s/%.*s", SPAN_ARG(it->ns), SPAN_ARG(service));
	proxy_state_slice(p->state, buf_span(&key), it->key,
			  service.len ? proxy_slice_read(o, span_of(p->name), span_of(p->zone)) : NULL);
}

static void on_slice_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *o,
			     void *arg)
{
	on_slice(inf, it, o, arg);
}

static void on_slice_gone(struct client_informer *inf, struct client_item *it, void *arg)
{
	struct process *p = arg;
	proxy_state_slice(p->state, SPAN_EMPTY, it->key, NULL);
}

static void on_slices(struct client_informer *inf, void *arg)
{
	struct process *p = arg;
	p->slices_synced = true;
	begin(p);
}

/* ---- nodes */

static void on_nodes_due(struct loop_task *t)
{
	struct process *p = container_of(t, struct process, nodes_due);
	auto_err struct err err = ERR_INIT;
	if (proxy_nodes_apply(p->nodes, &err) == 0)
		return;
	log_error("routes to nodes or the CNI configuration could not be written; trying again", kv_err(&err));
	loop_timer_start(&p->nodes_retry, 5000);
}

static void on_nodes_retry(struct loop_timer *t)
{
	struct process *p = container_of(t, struct process, nodes_retry);
	if (!loop_task_waiting(&p->nodes_due))
		loop_defer(p->frame.loop, &p->nodes_due);
}

static void nodes_mark(struct process *p)
{
	if (client_informer_synced(p->nodes_inf) && !loop_task_waiting(&p->nodes_due))
		loop_defer(p->frame.loop, &p->nodes_due);
}

static void on_node(struct client_informer *inf, struct client_item *it, const struct json *o, void *arg)
{
	struct process *p = arg;
	if (proxy_nodes_put(p->nodes, it->key, o))
		nodes_mark(p);
	/* Which endpoints are near was decided with the zone: a new beginning is simpler, and no connection notices. */
	if (p->services_inf && span_is(it->key, p->name) && !span_is(proxy_nodes_zone(p->nodes), p->zone)) {
		log_info("this node's zone has changed: starting anew", kv_span("zone", proxy_nodes_zone(p->nodes)));
		client_process_stop(&p->frame, 1);
	}
}

static void on_node_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *o, void *arg)
{
	on_node(inf, it, o, arg);
}

static void on_node_gone(struct client_informer *inf, struct client_item *it, void *arg)
{
	struct process *p = arg;
	if (proxy_nodes_put(p->nodes, it->key, NULL))
		nodes_mark(p);
}

static void on_broken(struct client_informer *inf, const struct err *why, void *arg)
{
	log_warn("the API server cannot be followed; the kernel keeps what it has", kv_err(why));
}

static void on_nodes(struct client_informer *inf, void *arg)
{
	struct process *p = arg;
	if (!loop_task_waiting(&p->nodes_due))
		loop_defer(p->frame.loop, &p->nodes_due);
	struct span zone = proxy_nodes_zone(p->nodes);
	memcpy(p->zone, zone.ptr, zone.len);
	p->zone[zone.len] = 0;
	/* What carries these labels is somebody else's to serve, or nobody's. */
	const struct client_informer_params services = { .client = p->frame.client, .kind = CLIENT_KIND("", "v1", "services", true),
		.label_selector = SPAN("!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless"), .no_bytes = true,
		.added = on_service, .changed = on_service_changed, .removed = on_service_gone, .synced = on_services,
		.broken = on_broken, .arg = p };
	const struct client_informer_params slices = { .client = p->frame.client,
		.kind = CLIENT_KIND("discovery.k8s.io", "v1", "endpointslices", true),
		.label_selector = SPAN("!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless"), .no_bytes = true,
		.added = on_slice, .changed = on_slice_changed, .removed = on_slice_gone, .synced = on_slices, .broken = on_broken,
		.arg = p };
	p->services_inf = client_informer_new(&services);
	p->slices_inf = client_informer_new(&slices);
}

/* ---- others change what is ours */

static void on_services_touched(void *arg)
{
	struct process *p = arg;
	proxy_state_doubt(p->state);
}

static void ports_restore(struct process *p)
{
	auto_buf struct buf state = { 0 };
	auto_err struct err err = ERR_INIT;
	buf_printf(&state, "%s/cni/state", p->data_dir);
	if (cni_restore(buf_cstr(&state), p->id, &err) < 0)
		log_error("the table of pods' host ports could not be written", kv_err(&err));
}

static void on_ports_touched(void *arg)
{
	struct process *p = arg;
	log_warn("somebody removed the table of pods' host ports; writing it anew");
	ports_restore(p);
}

static void on_routes_touched(void *arg)
{
	struct process *p = arg;
	if (proxy_nodes_others(p->nodes))
		nodes_mark(p);
}

static void ranges_put(struct process *p, enum proxy_set set, const struct sys_prefix *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct sys_prefix first = sys_prefix_mask(list[i]);
		struct sys_addr last = first.addr;
		for (unsigned bit = list[i].bits; bit < sys_addr_len(&last) * 8; bit++)
			last.b[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		proxy_elements_put(&p->kernel.ranges, last.family == AF_INET ? V4 : V6, set, first.addr.b, last.b, NULL);
	}
}

static int start(struct client_process *frame, struct err *err)
{
	struct process *p = container_of(frame, struct process, frame);
	static const struct sys_prefix all[] = { { { AF_INET, { 0 } }, 0 }, { { AF_INET6, { 0 } }, 0 } };
	bool six = false;
	loop_timer_init(&p->nodes_retry, frame->loop, "nodes put right again", on_nodes_retry);
	int rc = names_set(p, err);
	if (rc < 0 || (rc = proxy_kernel_open(&p->kernel, p->id, err)) < 0)
		return rc;
	p->kernel_open = true;
	for (unsigned i = 0; i < p->n_pods; i++)
		six |= p->pods[i].addr.family == AF_INET6;
	if ((rc = proxy_forwarding_on(p->data_dir, six, err)) < 0)
		return rc;
	/* Without the range of pods nobody is known to come from outside. */
	if (p->n_pods)
		ranges_put(p, PROXY_PODS, p->pods, p->n_pods);
	else
		ranges_put(p, PROXY_PODS, all, ARRAY_LEN(all));
	ranges_put(p, PROXY_RANGE, p->ranges, p->n_ranges);
	proxy_elements_sort(&p->kernel.ranges);
	auto_buf struct buf lines = { 0 };
	if (proxy_kernel_obstacles(&p->kernel, &lines, NULL) == 0 && lines.len)
		log_warn("a firewall drops what this node forwards; pods may be out of reach",
			 kv_span("chains", span_trim(buf_span(&lines))));
	const struct proxy_nodes_params np = { .name = span_of(p->name), .data_dir = p->data_dir, .id = p->id,
					       .cni_conf_dir = p->cni_conf_dir, .pods = p->pods, .n_pods = p->n_pods,
					       .kernel = &p->kernel };
	if ((rc = proxy_nodes_new(&np, &p->nodes, err)) < 0)
		return rc;
	p->state = proxy_state_new(&(struct proxy_state_params){ .loop = frame->loop, .kernel = &p->kernel, .ranges = p->ranges,
								 .n_ranges = p->n_ranges, .applied = on_applied, .arg = p });
	const struct proxy_watch_params wp = { .loop = frame->loop, .id = p->id, .own_filter = sys_nl_port(p->kernel.sock),
					       .own_route = proxy_nodes_port(p->nodes), .services = on_services_touched,
					       .ports = on_ports_touched, .routes = on_routes_touched, .arg = p };
	if ((rc = proxy_watch_open(&wp, &p->watch, err)) < 0)
		return rc;
	ports_restore(p); /* it may have gone while nobody looked */
	const struct proxy_health_params hp = { .loop = frame->loop, .state = p->state, .nodes = p->nodes, .metrics = p->metrics,
						.health_address = p->health_address, .health_port = p->health_port,
						.metrics_address = p->metrics_address, .metrics_port = p->metrics_port };
	if ((rc = proxy_health_new(&hp, &p->health, err)) < 0)
		return rc;
	p->nodes_inf = client_informer_new(&(struct client_informer_params){
		.client = frame->client, .kind = CLIENT_KIND("", "v1", "nodes", false), .no_bytes = true, .added = on_node,
		.changed = on_node_changed, .removed = on_node_gone, .synced = on_nodes, .broken = on_broken, .arg = p });
	return 0;
}

/* The kernel keeps everything. */
static void leave(struct client_process *frame)
{
	struct process *p = container_of(frame, struct process, frame);
	client_informer_free(p->nodes_inf);
	client_informer_free(p->services_inf);
	client_informer_free(p->slices_inf);
	p->nodes_inf = p->services_inf = p->slices_inf = NULL;
	proxy_health_stop(p->health);
	if (p->state)
		proxy_state_free(p->state);
	p->state = NULL;
	loop_task_cancel(&p->nodes_due);
	loop_timer_stop(&p->nodes_retry);
	proxy_watch_close(p->watch);
	p->watch = NULL;
	proxy_nodes_free(p->nodes);
	p->nodes = NULL;
}

static void done(struct client_process *frame)
{
	struct process *p = container_of(frame, struct process, frame);
	proxy_health_free(p->health);
	if (p->kernel_open)
		proxy_kernel_done(&p->kernel);
	metrics_free(p->metrics);
}

int proxy_main(int argc, char **argv)
{
	static const struct client_process_ops ops = { .start = start, .leave = leave, .done = done };
	auto_err struct err err = ERR_INIT;
	struct process p = { .data_dir = "/var/lib/knarr", .health_address = "0.0.0.0", .health_port = 10256,
			     .metrics_address = "127.0.0.1", .metrics_port = 10249 };
	log_open(2, LOG_INFO, "proxy");
	int rc = parse(&p, argc - 1, argv + 1, &err);
	if (rc == 0 && p.help) {
		printf("Usage: knarr proxy [flags]\n\nLeads the addresses of services to pods, and pods to other nodes.\n\nFlags:\n");
		FLAGS_PRINT(flags);
		return 0;
	}
	if (rc == 0 && p.cleanup) {
		rc = names_set(&p, &err);
		if (rc == 0)
			rc = proxy_cleanup(p.data_dir, p.id, p.pods, p.n_pods, &err);
	}
	if (rc < 0)
		(void)fprintf(stderr, "Error: %s\n", err_msg(&err));
	if (rc < 0 || p.cleanup)
		return rc < 0;
	loop_task_init(&p.nodes_due, on_nodes_due);
	p.metrics = metrics_new();
	p.table = metrics_register(p.metrics, families, FAMILIES_N);
	metrics_process_add(p.metrics);
	p.frame = (struct client_process){ .ops = &ops, .source = { .kubeconfig = p.kubeconfig, .server = p.master },
					   .user_agent = "knarr-proxy" };
	return client_process_run(&p.frame);
}
