/* The applet: flags, a client, informers, and what they feed.
 *
 *     node ──> address ──> services, endpointslices ──> zone ──┐
 *                            └ both synced ──> sockets <───────┴── forward <── resolv.conf
 *                                               └ announce: this node's EndpointSlice of kube-system/kube-dns */
#include <sys/stat.h>

#include "base/flags.h"
#include "dns/about.h"
#include "dns/announce.h"
#include "dns/dns.h"

struct process {
	struct client_process frame;
	struct client_informer *node_inf, *services_inf, *slices_inf;
	struct dns_zone *zone;
	struct dns_forward *forward;
	struct dns_serve *serve;
	struct dns_about *about;
	struct dns_announce *announce; /* NULL: no node's */
	struct loop_task beginning;
	struct sys_addr address; /* where questions come in; family 0: not known yet */
	/* flags */
	const char *kubeconfig, *master, *data_dir, *hostname, *zone_name, *upstream;
	struct sys_addr wanted_address;
	char health_address[SYS_ADDR_TEXT];
	uint16_t port, health_port, metrics_port; /* port 0: not settled yet */
	bool help;
};

enum { PORT = 53, PORT_SECOND = 10053 };

enum flag_kind { FLAG_TEXT, FLAG_ADDRESS, FLAG_PORT, FLAG_HEALTH, FLAG_LEVEL };
#define AT(member) offsetof(struct process, member)
static const struct flag {
	const char *name;
	enum flag_kind kind;
	size_t at;
	const char *help;
} flags[] = {
	{ "kubeconfig", FLAG_TEXT, AT(kubeconfig), "how the API server is reached" },
	{ "master", FLAG_TEXT, AT(master), "address of the API server, in place of the kubeconfig's" },
	{ "data-dir", FLAG_TEXT, AT(data_dir), "(default /var/lib/knarr)" },
	{ "hostname-override", FLAG_TEXT, AT(hostname), "this node's name: its EndpointSlice of kube-system/kube-dns is kept" },
	{ "address", FLAG_ADDRESS, AT(wanted_address), "where questions come in; it need not be there yet (default: the "
						      "first of the node's pods, 127.0.0.1 without a node)" },
	{ "port", FLAG_PORT, AT(port), "of UDP and TCP (default 53, and on a node 10053 where that is taken)" },
	{ "metrics-port", FLAG_PORT, AT(metrics_port), "of /metrics at that address (default 9153; 0: none)" },
	{ "healthz-bind-address", FLAG_HEALTH, 0, "of /healthz, /readyz and /metrics (default 127.0.0.1:10054; \"\": none)" },
	{ "zone", FLAG_TEXT, AT(zone_name), "the cluster's (default cluster.local)" },
	{ "upstream", FLAG_TEXT, AT(upstream), "file with the servers of other names (default /etc/resolv.conf)" },
	{ "v", FLAG_LEVEL, 0, "4 and more: debug" },
};

/* "" is none. */
static bool health_set(struct process *p, struct span v)
{
	struct sys_addr a;
	p->health_address[0] = 0;
	p->health_port = 0;
	if (!v.len)
		return true;
	if (!sys_addr_port_parse(v, &a, &p->health_port) || !p->health_port)
		return false;
	(void)sys_addr_text(&a, p->health_address);
	return true;
}

static int set_flag(struct process *p, const struct flag *f, const char *value, struct err *err)
{
	char *place = (char *)p + f->at;
	uint64_t number;
	bool fits = true;
	switch (f->kind) {
	case FLAG_TEXT: *(const char **)(void *)place = value; break;
	case FLAG_ADDRESS: fits = sys_addr_parse(span_of(value), (struct sys_addr *)(void *)place); break;
	case FLAG_PORT:
		fits = span_to_u64(span_of(value), &number) && number < 65536 && (number > 0 || f->at != AT(port));
		*(uint16_t *)(void *)place = fits ? (uint16_t)number : 0;
		break;
	case FLAG_HEALTH: fits = health_set(p, span_of(value)); break;
	case FLAG_LEVEL:
		fits = span_to_u64(span_of(value), &number);
		if (fits)
			log_open(2, number >= 4 ? LOG_DEBUG : LOG_INFO, "dns");
		break;
	}
	return fits ? 0 : err_set(err, ERR_USAGE, "invalid argument \"%s\" for \"--%s\" flag", value, f->name);
}

static int parse(struct process *p, int argc, char **argv, struct err *err)
{
	struct flags w = FLAGS_OF(argc, argv, flags, "unexpected argument:");
	struct span value;
	int rc;
	while ((rc = flags_next(&w, err)) > 0)
		if ((rc = flags_value(&w, false, &value, err)) < 0 || (rc = set_flag(p, &flags[w.row], value.ptr, err)) < 0)
			return rc;
	p->help = w.help;
	return rc;
}

/* ---- services and slices */

static void on_service(struct client_informer *inf, struct client_item *it, const struct json *o, void *arg)
{
	struct process *p = arg;
	dns_zone_service(p->zone, it->key, dns_service_read(o));
}

static void on_service_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *o,
			       void *arg)
{
	on_service(inf, it, o, arg);
}

static void on_service_gone(struct client_informer *inf, struct client_item *it, void *arg)
{
	struct process *p = arg;
	dns_zone_service(p->zone, it->key, NULL);
}

static void on_slice(struct client_informer *inf, struct client_item *it, const struct json *o, void *arg)
{
	struct process *p = arg;
	struct span service = json_span(json_path(o, "metadata", "labels", "kubernetes.io/service-name", NULL));
	auto_buf struct buf key = { 0 };
	buf_printf(&key, "%.*s/%.*s", SPAN_ARG(it->ns), SPAN_ARG(service));
	dns_zone_slice(p->zone, buf_span(&key), it->key, service.len ? dns_slice_read(o) : NULL);
	dns_announce_seen(p->announce, it->key, o);
}

static void on_slice_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *o,
			     void *arg)
{
	on_slice(inf, it, o, arg);
}

static void on_slice_gone(struct client_informer *inf, struct client_item *it, void *arg)
{
	struct process *p = arg;
	dns_zone_slice(p->zone, SPAN_EMPTY, it->key, NULL);
	dns_announce_seen(p->announce, it->key, NULL);
}

static void on_broken(struct client_informer *inf, const struct err *why, void *arg)
{
	log_warn("the API server cannot be followed; names are answered as they were", kv_err(why));
}

static void on_right(void *arg)
{
	struct process *p = arg;
	dns_about_ready(p->about);
	notify_ready();
}

/* All names are known. The question that looks for a loop goes out when its way back is open. */
static void on_beginning(struct loop_task *t)
{
	struct process *p = container_of(t, struct process, beginning);
	auto_err struct err err = ERR_INIT;
	char text[SYS_ADDR_TEXT];
	const struct dns_forward_params fp = { .loop = p->frame.loop, .resolv_conf = p->upstream, .own = p->address,
					       .own_port = p->port };
	int rc = dns_forward_new(&fp, &p->forward, &err);
	const struct dns_serve_params sp = { .loop = p->frame.loop, .zone = p->zone, .forward = p->forward, .address = p->address,
					     .port = p->port };
	if (rc == 0)
		rc = dns_serve_new(&sp, &p->serve, &err);
	if (rc == 0)
		rc = dns_about_begin(p->about, p->serve, p->forward, &p->address, p->metrics_port, &err);
	if (rc < 0) {
		log_error("names cannot be answered", kv_err(&err));
		client_process_stop(&p->frame, 1);
		return;
	}
	log_info("names are answered", kv_str("address", sys_addr_text(&p->address, text)), kv_u64("port", p->port),
		 kv_str("zone", p->zone_name));
	if (p->announce)
		dns_announce_begin(p->announce);
	else
		on_right(p);
}

static void on_synced(struct client_informer *inf, void *arg)
{
	struct process *p = arg;
	if (client_informer_synced(p->services_inf) && client_informer_synced(p->slices_inf) && !p->serve && !p->frame.stopping &&
	    !loop_task_waiting(&p->beginning))
		loop_defer(p->frame.loop, &p->beginning);
}

static int follow(struct process *p, struct err *err)
{
	int rc = dns_zone_new(span_of(p->zone_name), &p->address, &p->zone, err);
	if (rc < 0)
		return rc;
	p->services_inf = client_informer_new(&(struct client_informer_params){
		.client = p->frame.client, .kind = CLIENT_KIND("", "v1", "services", true), .no_bytes = true, .added = on_service,
		.changed = on_service_changed, .removed = on_service_gone, .synced = on_synced, .broken = on_broken, .arg = p });
	p->slices_inf = client_informer_new(&(struct client_informer_params){
		.client = p->frame.client, .kind = CLIENT_KIND("discovery.k8s.io", "v1", "endpointslices", true), .no_bytes = true,
		.added = on_slice, .changed = on_slice_changed, .removed = on_slice_gone, .synced = on_synced, .broken = on_broken,
		.arg = p });
	return 0;
}

/* ---- the node */

/* The CNI plugin gives the first address of the range to no pod, and the proxy makes it the node's own. */
static bool node_address(const struct process *p, const struct json *node, struct sys_addr *out)
{
	const struct json *spec = json_getl(node, "spec"), *ranges = json_getl(spec, "podCIDRs");
	struct sys_prefix range;
	*out = p->wanted_address;
	if (out->family)
		return true;
	struct span text = json_span(json_getl(spec, "podCIDR"));
	if (json_is(ranges, JSON_ARRAY) && ranges->n)
		text = json_span(&ranges->items[0]);
	if (!sys_prefix_parse(text, &range) || sys_prefix_size(&range) < 4)
		return false;
	*out = sys_prefix_at(&range, 1);
	return true;
}

static bool is_free(const struct sys_addr *address, uint16_t port, int type)
{
	auto_err struct err err = ERR_INIT;
	auto_fd int sock = dns_socket(address, port, type, &err);
	return sock >= 0 || err.errnum != EADDRINUSE;
}

/* A server of the machine's own may have the port at every address, ours among them. Pods ask the Service, whose slice says where
 * we are: another port is as good (decision 0797). One that a flag names is kept. */
static void ports_settle(struct process *p)
{
	if (!p->port && is_free(&p->address, PORT, SOCK_DGRAM) && is_free(&p->address, PORT, SOCK_STREAM)) {
		p->port = PORT;
	} else if (!p->port) {
		p->port = PORT_SECOND;
		log_warn("somebody has port 53 of every address; taking another one", kv_u64("port", p->port));
	}
	if (p->metrics_port && !is_free(&p->address, p->metrics_port, SOCK_STREAM)) {
		log_warn("the port of /metrics is taken; doing without", kv_u64("port", p->metrics_port));
		p->metrics_port = 0;
	}
}

static void on_node(struct client_informer *inf, struct client_item *it, const struct json *o, void *arg)
{
	struct process *p = arg;
	auto_err struct err err = ERR_INIT;
	struct sys_addr address;
	if (p->frame.stopping || !node_address(p, o, &address))
		return; /* its range is still to come */
	if (p->address.family) {
		if (!sys_addr_eq(&address, &p->address)) {
			log_info("the node has another range of pods: starting anew");
			client_process_stop(&p->frame, 1);
		}
		return;
	}
	p->address = address;
	ports_settle(p);
	p->announce = dns_announce_new(&(struct dns_announce_params){ .client = p->frame.client, .node = it->name, .uid = it->uid,
								      .address = address, .port = p->port,
								      .metrics_port = p->metrics_port, .right = on_right, .arg = p });
	if (follow(p, &err) < 0) {
		log_error("names cannot be followed", kv_err(&err));
		client_process_stop(&p->frame, 1);
	}
}

static void on_node_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *o, void *arg)
{
	on_node(inf, it, o, arg);
}

/* One that comes again is another, and may have another range. */
static void on_node_gone(struct client_informer *inf, struct client_item *it, void *arg)
{
	struct process *p = arg;
	log_info("the node is gone: starting anew");
	client_process_stop(&p->frame, 1);
}

/* ---- */

static int start(struct client_process *frame, struct err *err)
{
	struct process *p = container_of(frame, struct process, frame);
	const struct dns_about_params ap = { .loop = frame->loop, .health_address = p->health_address, .health_port = p->health_port };
	auto_buf struct buf selector = { 0 };
	struct stat st;
	if (stat(p->data_dir, &st) < 0)
		return err_sys(err, "looking for the data directory %s", p->data_dir);
	int rc = dns_about_new(&ap, &p->about, err);
	if (rc < 0)
		return rc;
	if (!p->hostname) {
		p->address = p->wanted_address;
		if (!p->address.family)
			p->address = (struct sys_addr){ AF_INET, { 127, 0, 0, 1 } };
		p->port = p->port ? p->port : PORT;
		return follow(p, err);
	}
	buf_printf(&selector, "metadata.name=%s", p->hostname);
	p->node_inf = client_informer_new(&(struct client_informer_params){
		.client = frame->client, .kind = CLIENT_KIND("", "v1", "nodes", false), .field_selector = buf_span(&selector),
		.no_bytes = true, .added = on_node, .changed = on_node_changed, .removed = on_node_gone, .broken = on_broken, .arg = p });
	return 0;
}

static void leave(struct client_process *frame)
{
	struct process *p = container_of(frame, struct process, frame);
	client_informer_free(p->node_inf);
	client_informer_free(p->services_inf);
	client_informer_free(p->slices_inf);
	p->node_inf = p->services_inf = p->slices_inf = NULL;
	loop_task_cancel(&p->beginning);
	dns_announce_free(p->announce);
	p->announce = NULL;
	dns_about_stop(p->about);
	dns_serve_stop(p->serve);
	dns_forward_stop(p->forward);
}

static void done(struct client_process *frame)
{
	struct process *p = container_of(frame, struct process, frame);
	dns_about_free(p->about);
	dns_serve_free(p->serve);
	dns_forward_free(p->forward);
	dns_zone_free(p->zone);
}

int dns_main(int argc, char **argv)
{
	static const struct client_process_ops ops = { .start = start, .leave = leave, .done = done };
	auto_err struct err err = ERR_INIT;
	struct process p = { .data_dir = "/var/lib/knarr", .zone_name = "cluster.local", .upstream = "/etc/resolv.conf",
			     .metrics_port = 9153, .health_address = "127.0.0.1", .health_port = 10054 };
	log_open(2, LOG_INFO, "dns");
	if (parse(&p, argc - 1, argv + 1, &err) < 0) {
		(void)fprintf(stderr, "Error: %s\n", err_msg(&err));
		return 1;
	}
	if (p.help) {
		printf("Usage: knarr dns [flags]\n\nAnswers for the names of services and pods, and asks others about the rest.\n\n"
		       "Flags:\n");
		FLAGS_PRINT(flags);
		return 0;
	}
	loop_task_init(&p.beginning, on_beginning);
	p.frame = (struct client_process){ .ops = &ops, .source = { .kubeconfig = p.kubeconfig, .server = p.master },
					   .user_agent = "knarr-dns" };
	return client_process_run(&p.frame);
}
