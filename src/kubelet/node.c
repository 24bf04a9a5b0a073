/* The Node in the API. One timer (the Lease's) wakes it at rest; what changes is written when it changes.
 *
 *     begin ──> Version, Status of the runtime ──┐
 *          └──> informer of the own Node ────────┴──> make it or take it up ──> status ──> Lease
 *
 * The runtime's Status is asked again with back-off 5 ms doubled up to 1 s while it is not ready, at once when the Node gets its
 * podCIDR (the conflist is written then), and at each renewal of the Lease. */
#include "kubelet/node.h"
#include "kubelet/cri.h"
#include "kubelet/image.h"
#include "kubelet/machine.h"
#include "kubelet/worker.h"

#define IMAGES_MAX 50
#define VERSION "v1.33.0+knarr." KNARR_VERSION

enum condition { MEMORY, DISK, PID, READY, CONDITIONS };

struct kl_node {
	struct kl *k;
	struct client_informer *informer;
	struct kl_object_node {
		struct arena arena;
		struct bytes *json;
		struct api_core_node node;
	} *object;                        /* owned; NULL: not there */
	struct loop_timer lease_timer, retry_timer, runtime_timer;
	struct client_call *register_call, *status_call, *lease_call;
	struct kubelet_cri_call *version_call, *runtime_call, *images_call;
	bool making_lease;
	int64_t images_ms;                /* when they were listed last */
	int64_t lease_ms;                 /* when it was renewed last */
	bool runtime_ready, network_ready, runtime_seen, dirty, said_ready;
	bool unschedulable;               /* as last told */
	struct buf runtime_words, network_reason, network_words;
	unsigned runtime_tries;
	bool is[CONDITIONS];              /* as last told */
	int64_t since_s[CONDITIONS];
	bool told[CONDITIONS];
	int64_t reported_ms;              /* of the whole status; 0: never */
	struct machine m;
	struct buf images;                /* JSON list */
	struct buf cpu, memory, storage;  /* allocatable, as quantities */
	unsigned failures;
};

static const struct client_kind nodes = { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("nodes"), false };
static const struct client_kind leases = { SPAN_INIT("coordination.k8s.io"), SPAN_INIT("v1"), SPAN_INIT("leases"), true };

static void report(struct kl_node *n);
static void ask_runtime(struct kl_node *n);
static void ask_images(struct kl_node *n);

/* ---- facts for others */

bool kl_node_network_ready(const struct kl *k)
{
	return k->node->network_ready;
}

void kl_node_network_words(const struct kl *k, struct buf *out)
{
	const struct kl_node *n = k->node;
	buf_printf(out, "container runtime network not ready: NetworkReady=false reason:%s message:%s", buf_cstr(&n->network_reason),
		   buf_cstr(&n->network_words));
}

int64_t kl_node_memory(const struct kl *k)
{
	return k->node->m.memory;
}

bool kl_node_disk(const struct kl *k, uint64_t *out_total, uint64_t *out_avail)
{
	uint64_t inodes, inodes_free;
	return kl_machine_disk(k->o->root_dir.ptr, out_total, out_avail, &inodes, &inodes_free);
}

void kl_node_allocatable(const struct kl *k, struct kl_amounts *out)
{
	const struct machine *m = &k->node->m;
	const struct kl_options *o = k->o;
	*out = (struct kl_amounts){ .cpu_milli = m->cpus * INT64_C(1000), .memory = m->memory, .storage = m->storage,
				    .pods = o->max_pods };
	if (o->pods_per_core)
		out->pods = MIN(o->max_pods, o->pods_per_core * m->cpus);
	const struct span reserved[] = { o->kube_reserved, o->system_reserved };
	for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
		out->cpu_milli -= kl_machine_reserved(reserved[i], "cpu", '=', 0);
		out->memory -= kl_machine_reserved(reserved[i], "memory", '=', m->memory);
		out->storage -= kl_machine_reserved(reserved[i], "ephemeral-storage", '=', m->storage);
	}
	out->memory -= kl_machine_reserved(o->eviction_hard, "memory.available", '<', m->memory);
	out->storage -= kl_machine_reserved(o->eviction_hard, "nodefs.available", '<', m->storage);
	out->cpu_milli = MAX(out->cpu_milli, 0);
	out->memory = MAX(out->memory, 0);
	out->storage = MAX(out->storage, 0);
}

const struct api_core_node *kl_node_object(const struct kl *k)
{
	return k->node->object ? &k->node->object->node : NULL;
}

void kl_node_facts(void *pod, struct kl_facts *out)
{
	const struct kl_pod *p = pod;
	const struct kl_node *n = p->k->node;
	*out = (struct kl_facts){ .node_name = p->k->node_name, .n_host_ips = p->k->n_node_ips, .cpu = buf_span(&n->cpu),
				  .memory = buf_span(&n->memory), .storage = buf_span(&n->storage) };
	for (unsigned i = 0; i < p->k->n_node_ips; i++)
		out->host_ips[i] = p->k->node_ips[i];
	out->n_pod_ips = kl_pod_ips(p, out->pod_ips);
}

void kl_node_event(const struct kl *k, const char *type, const char *reason, const char *fmt, ...)
{
	auto_buf struct buf text = {};
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	const struct client_object_ref ref = { .kind = SPAN("Node"), .name = k->node_name, .uid = k->node_name };
	if (k->events)
		client_event(k->events, &ref, type, reason, buf_span(&text));
}

/* ---- the object */

static void kv(struct json_out *o, const char *key, struct span v)
{
	json_out_key(o, span_of(key));
	json_out_span(o, v);
}

static void quantity(struct json_out *o, const char *key, int64_t value, enum api_quantity_format f)
{
	auto_buf struct buf text = {};
	struct api_quantity q = api_quantity_of(value, 0, f);
	api_quantity_print(&q, &text);
	kv(o, key, buf_span(&text));
}

static void ki(struct json_out *o, const char *key, int64_t kib)
{
	auto_buf struct buf text = {};
	buf_printf(&text, "%lldKi", (long long)kib);
	kv(o, key, buf_span(&text));
}

static void labels(const struct kl_node *n, struct json_out *o)
{
	struct span rest = n->k->o->node_labels, one, key, value;
	kv(o, "beta.kubernetes.io/arch", span_of(n->m.arch));
	kv(o, "beta.kubernetes.io/os", SPAN("linux"));
	kv(o, "kubernetes.io/arch", span_of(n->m.arch));
	kv(o, "kubernetes.io/hostname", n->k->node_name);
	kv(o, "kubernetes.io/os", SPAN("linux"));
	while (span_cut(&rest, ',', &one)) {
		(void)span_split(span_trim(one), '=', &key, &value);
		if (!key.len)
			continue;
		json_out_key(o, key);
		json_out_span(o, value);
	}
}

static void taints(const struct kl_node *n, struct json_out *o)
{
	struct span rest = n->k->o->taints, one, head, effect, key, value;
	if (!rest.len)
		return;
	json_out_key(o, SPAN("taints"));
	json_out_begin_array(o);
	while (span_cut(&rest, ',', &one)) {
		(void)span_split(span_trim(one), ':', &head, &effect);
		(void)span_split(head, '=', &key, &value);
		json_out_begin(o);
		kv(o, "key", key);
		json_out_kspan(o, "value", value);
		kv(o, "effect", effect);
		json_out_end(o);
	}
	json_out_end(o);
}

static void condition(struct kl_node *n, struct json_out *o, enum condition c, bool is, struct span message)
{
	static const struct {
		const char *type, *yes, *no, *yes_words, *no_words, *yes_event, *no_event;
	} rows[] = {
		{ "MemoryPressure", "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory",
		  "kubelet has insufficient memory available",
		  "kubelet has sufficient memory available", "NodeHasInsufficientMemory", "NodeHasSufficientMemory" },
		{ "DiskPressure", "KubeletHasDiskPressure", "KubeletHasNoDiskPressure", "kubelet has disk pressure",
		  "kubelet has no disk pressure", "NodeHasDiskPressure", "NodeHasNoDiskPressure" },
		{ "PIDPressure", "KubeletHasInsufficientPID", "KubeletHasSufficientPID", "kubelet has insufficient PID available",
		  "kubelet has sufficient PID available", "NodeHasInsufficientPID", "NodeHasSufficientPID" },
		{ "Ready", "KubeletReady", "KubeletNotReady", "kubelet is posting ready status", "", "NodeReady", "NodeNotReady" },
	};
	char since[40], now[40];
	int64_t now_s = kl_now_s(n->k);
	if (!n->told[c] || n->is[c] != is) {
		if (!n->told[c] && n->object) { /* what was so before this kubelet, since when */
			const struct api_core_node_status *st = &n->object->node.status;
			for (uint32_t i = 0; i < st->conditions.n; i++)
				if (span_is(st->conditions.ptr[i].type, rows[c].type) &&
				    span_is(st->conditions.ptr[i].status, is ? "True" : "False"))
					n->since_s[c] = st->conditions.ptr[i].last_transition_time.unix_s;
		}
		if (n->told[c] || !n->since_s[c]) {
			n->since_s[c] = now_s;
			if (c != READY || is || n->told[c]) /* a node that comes is not ready; nobody is told that it ceased to be */
				kl_node_event(n->k, "Normal", is ? rows[c].yes_event : rows[c].no_event, "Node %.*s status is now: %s",
					      SPAN_ARG(n->k->node_name), is ? rows[c].yes_event : rows[c].no_event);
		}
		n->is[c] = is;
		n->told[c] = true;
	}
	size_t since_len = time_format(since, n->since_s[c], 0, 0), now_len = time_format(now, now_s, 0, 0);
	json_out_begin(o);
	kv(o, "type", span_of(rows[c].type));
	kv(o, "status", is ? SPAN("True") : SPAN("False"));
	kv(o, "lastHeartbeatTime", span_make(now, now_len));
	kv(o, "lastTransitionTime", span_make(since, since_len));
	kv(o, "reason", span_of(is ? rows[c].yes : rows[c].no));
	kv(o, "message", message.len ? message : span_of(is ? rows[c].yes_words : rows[c].no_words));
	json_out_end(o);
}

static void now_is(const struct kl_node *n, bool is[CONDITIONS], struct buf *words)
{
	const struct kl_options *o = n->k->o;
	uint64_t total, avail, inodes, inodes_free;
	is[MEMORY] = kl_machine_memory_available() < kl_machine_reserved(o->eviction_hard, "memory.available", '<', n->m.memory);
	is[DISK] = kl_machine_disk(o->root_dir.ptr, &total, &avail, &inodes, &inodes_free) &&
		   ((int64_t)avail < kl_machine_reserved(o->eviction_hard, "nodefs.available", '<', (int64_t)total) ||
		    (inodes && (int64_t)inodes_free < kl_machine_reserved(o->eviction_hard, "nodefs.inodesFree", '<', (int64_t)inodes)));
	is[PID] = kl_machine_pids_available() < kl_machine_reserved(o->eviction_hard, "pid.available", '<', kl_machine_pids_max());
	is[READY] = n->runtime_ready && n->network_ready;
	if (!n->runtime_ready)
		buf_printf(words, "%s", n->runtime_words.len ? buf_cstr(&n->runtime_words) :
			   "container runtime status check may not have completed yet");
	else if (!n->network_ready)
		kl_node_network_words(n->k, words);
}

static void amounts(const struct kl_node *n, struct json_out *o)
{
	struct kl_amounts a;
	kl_node_allocatable(n->k, &a);
	json_out_key(o, SPAN("capacity"));
	json_out_begin(o);
	quantity(o, "cpu", n->m.cpus, API_QUANTITY_DECIMAL);
	ki(o, "ephemeral-storage", n->m.storage / 1024);
	kv(o, "hugepages-1Gi", SPAN("0"));
	kv(o, "hugepages-2Mi", SPAN("0"));
	ki(o, "memory", n->m.memory / 1024);
	quantity(o, "pods", a.pods, API_QUANTITY_DECIMAL);
	json_out_end(o);
	json_out_key(o, SPAN("allocatable"));
	json_out_begin(o);
	kv(o, "cpu", buf_span(&n->cpu));
	kv(o, "ephemeral-storage", buf_span(&n->storage));
	kv(o, "hugepages-1Gi", SPAN("0"));
	kv(o, "hugepages-2Mi", SPAN("0"));
	kv(o, "memory", buf_span(&n->memory));
	quantity(o, "pods", a.pods, API_QUANTITY_DECIMAL);
	json_out_end(o);
}

static void kl_machine_part(const struct kl_node *n, struct json_out *o)
{
	const struct kl *k = n->k;
	json_out_key(o, SPAN("addresses"));
	json_out_begin_array(o);
	for (unsigned i = 0; i < k->n_node_ips; i++) {
		json_out_begin(o);
		kv(o, "type", SPAN("InternalIP"));
		kv(o, "address", k->node_ips[i]);
		json_out_end(o);
	}
	json_out_begin(o);
	kv(o, "type", SPAN("Hostname"));
	kv(o, "address", k->node_name);
	json_out_end(o);
	json_out_end(o);
	amounts(n, o);
	json_out_key(o, SPAN("daemonEndpoints"));
	json_out_begin(o);
	json_out_key(o, SPAN("kubeletEndpoint"));
	json_out_begin(o);
	json_out_ki64(o, "Port", k->o->port);
	json_out_end(o);
	json_out_end(o);
	json_out_key(o, SPAN("nodeInfo"));
	json_out_begin(o);
	kv(o, "machineID", span_of(n->m.machine_id));
	kv(o, "systemUUID", span_of(n->m.system_uuid));
	kv(o, "bootID", span_of(n->m.boot_id));
	kv(o, "kernelVersion", span_of(n->m.kernel));
	kv(o, "osImage", span_of(n->m.os_image));
	auto_buf struct buf runtime = {};
	buf_printf(&runtime, "%.*s://%.*s", SPAN_ARG(k->runtime_name), SPAN_ARG(k->runtime_version));
	kv(o, "containerRuntimeVersion", buf_span(&runtime));
	kv(o, "kubeletVersion", SPAN(VERSION));
	kv(o, "kubeProxyVersion", SPAN(""));
	kv(o, "operatingSystem", SPAN("linux"));
	kv(o, "architecture", span_of(n->m.arch));
	json_out_end(o);
	if (n->images.len) {
		json_out_key(o, SPAN("images"));
		json_out_raw(o, buf_span(&n->images));
	}
}

/* ---- status */

static void again(struct kl_node *n)
{
	unsigned times = MIN(n->failures, 7u);
	int64_t wait_ms = MIN(INT64_C(100) << times, 5000);
	n->failures++;
	loop_timer_start(&n->retry_timer, wait_ms);
}

static void on_status(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct kl_node *n = arg;
	n->status_call = NULL;
	if (why) {
		log_warn("the node's status could not be written", kv_err(why));
		n->dirty = true;
		again(n);
		return;
	}
	n->failures = 0;
	n->reported_ms = loop_now_ms(n->k->loop);
	if (n->is[READY] && !n->said_ready)
		log_info("node is ready");
	n->said_ready = n->is[READY];
	if (n->dirty)
		report(n);
}

static void report(struct kl_node *n)
{
	auto_buf struct buf path = {}, text = {}, words = {};
	bool is[CONDITIONS];
	if (!n->object || !n->k->client || !n->runtime_seen)
		return;
	if (n->status_call) {
		n->dirty = true;
		return;
	}
	n->dirty = false;
	now_is(n, is, &words);
	struct json_out o = { .buf = &text };
	json_out_begin(&o);
	json_out_key(&o, SPAN("status"));
	json_out_begin(&o);
	kl_machine_part(n, &o);
	json_out_key(&o, SPAN("conditions"));
	json_out_begin_array(&o);
	for (int c = 0; c < CONDITIONS; c++)
		condition(n, &o, (enum condition)c, is[c], c == READY ? buf_span(&words) : SPAN_EMPTY);
	json_out_end(&o);
	json_out_end(&o);
	json_out_end(&o);
	client_path(&path, &nodes, SPAN_EMPTY, n->k->node_name, "status");
	n->status_call = client_send(n->k->client, &(struct client_request){ .method = "PATCH", .path = buf_span(&path),
				     .body = buf_span(&text), .content_type = CLIENT_STRATEGIC_PATCH, .done = on_status, .arg = n });
}

/* Something that conditions depend on may have changed. */
static void review(struct kl_node *n)
{
	auto_buf struct buf words = {};
	bool is[CONDITIONS], changed = false;
	if (!n->object)
		return;
	now_is(n, is, &words);
	if (is[DISK])
		kl_images_pressure(n->k->images);
	for (int c = 0; c < CONDITIONS; c++)
		changed |= !n->told[c] || n->is[c] != is[c];
	if (changed || !n->reported_ms || loop_now_ms(n->k->loop) - n->reported_ms >= n->k->o->status_report_ms)
		report(n);
}

static void wake_pods(const struct kl_node *n)
{
	size_t pos = 0;
	for (struct kl_pod *p; (p = kl_pod_next(n->k, &pos));)
		if (p->worker) {
			p->worker->sandbox_retry_ns = 0;
			kl_worker_wake(p->worker);
		}
}

/* ---- making it */

static void on_registered(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct kl_node *n = arg;
	n->register_call = NULL;
	if (why && why->class != ERR_EXISTS) {
		log_warn("the node could not be registered", kv_err(why));
		again(n);
	} else if (!why) {
		log_info("node registered", kv_span("node", n->k->node_name));
	}
}

static void make(struct kl_node *n)
{
	auto_buf struct buf path = {}, text = {};
	if (n->register_call || !n->k->o->register_node)
		return;
	struct json_out o = { .buf = &text };
	json_out_begin(&o);
	kv(&o, "apiVersion", SPAN("v1"));
	kv(&o, "kind", SPAN("Node"));
	json_out_key(&o, SPAN("metadata"));
	json_out_begin(&o);
	kv(&o, "name", n->k->node_name);
	json_out_key(&o, SPAN("labels"));
	json_out_begin(&o);
	labels(n, &o);
	json_out_end(&o);
	json_out_key(&o, SPAN("annotations"));
	json_out_begin(&o);
	kv(&o, "volumes.kubernetes.io/controller-managed-attach-detach", SPAN("true"));
	json_out_end(&o);
	json_out_end(&o);
	json_out_key(&o, SPAN("spec"));
	json_out_begin(&o);
	taints(n, &o);
	json_out_end(&o);
	json_out_end(&o);
	client_path(&path, &nodes, SPAN_EMPTY, SPAN_EMPTY, NULL);
	n->register_call = client_send(n->k->client, &(struct client_request){ .method = "POST", .path = buf_span(&path),
				       .body = buf_span(&text), .done = on_registered, .arg = n });
}

static void object_free(struct kl_node *n)
{
	if (!n->object)
		return;
	arena_done(&n->object->arena);
	bytes_unref(n->object->json);
	free(n->object);
	n->object = NULL;
}

static void seen(struct kl_node *n, const struct client_item *it)
{
	auto_err struct err err = ERR_INIT;
	bool first = !n->object, had_cidr = n->object && n->object->node.spec.pod_cidr.len;
	struct kl_object_node *o = mem_new(struct kl_object_node);
	o->json = bytes_ref(it->json);
	if (api_core_node_decode(&o->arena, API_FORM_JSON, bytes_span(o->json), &o->node, &err) < 0) {
		log_warn("the node cannot be read", kv_err(&err));
		arena_done(&o->arena);
		bytes_unref(o->json);
		free(o);
		return;
	}
	object_free(n);
	n->object = o;
	if (n->unschedulable != o->node.spec.unschedulable) {
		n->unschedulable = o->node.spec.unschedulable;
		const char *word = n->unschedulable ? "NodeNotSchedulable" : "NodeSchedulable";
		kl_node_event(n->k, "Normal", word, "Node %.*s status is now: %s", SPAN_ARG(n->k->node_name), word);
	}
	if (!had_cidr && o->node.spec.pod_cidr.len) {
		n->runtime_tries = 0;
		ask_runtime(n);
	}
	if (first) {
		review(n);
		wake_pods(n); /* they can be admitted now */
	}
}

static void on_added(struct client_informer *inf, struct client_item *it, const struct json *object, void *arg)
{
	seen(arg, it);
}

static void on_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *object, void *arg)
{
	seen(arg, it);
}

static void on_removed(struct client_informer *inf, struct client_item *it, void *arg)
{
	struct kl_node *n = arg;
	object_free(n);
	memset(n->told, 0, sizeof(n->told));
	make(n); /* somebody deleted it: it comes back, as upstream's does */
}

static void on_synced(struct client_informer *inf, void *arg)
{
	struct kl_node *n = arg;
	if (!n->object)
		make(n);
}

/* ---- Lease */

static void on_lease(struct client_call *c, const struct err *why, int status, struct span body, void *arg);

static void send_lease(struct kl_node *n, bool create)
{
	auto_buf struct buf path = {}, text = {};
	char now[40];
	int64_t wall_ns = loop_wall_ns(n->k->loop);
	size_t len = time_format(now, wall_ns / NS_PER_S, (int32_t)(wall_ns % NS_PER_S), 6);
	struct json_out o = { .buf = &text };
	json_out_begin(&o);
	kv(&o, "apiVersion", SPAN("coordination.k8s.io/v1"));
	kv(&o, "kind", SPAN("Lease"));
	json_out_key(&o, SPAN("metadata"));
	json_out_begin(&o);
	kv(&o, "name", n->k->node_name);
	kv(&o, "namespace", SPAN("kube-node-lease"));
	if (n->object) {
		json_out_key(&o, SPAN("ownerReferences"));
		json_out_begin_array(&o);
		json_out_begin(&o);
		kv(&o, "apiVersion", SPAN("v1"));
		kv(&o, "kind", SPAN("Node"));
		kv(&o, "name", n->k->node_name);
		kv(&o, "uid", n->object->node.metadata.uid);
		json_out_end(&o);
		json_out_end(&o);
	}
	json_out_end(&o);
	json_out_key(&o, SPAN("spec"));
	json_out_begin(&o);
	kv(&o, "holderIdentity", n->k->node_name);
	json_out_ki64(&o, "leaseDurationSeconds", n->k->o->lease_s);
	kv(&o, "renewTime", span_make(now, len));
	json_out_end(&o);
	json_out_end(&o);
	client_path(&path, &leases, SPAN("kube-node-lease"), create ? SPAN_EMPTY : n->k->node_name, NULL);
	n->lease_call = client_send(n->k->client, &(struct client_request){ .method = create ? "POST" : "PATCH",
									    .path = buf_span(&path),
				    .body = buf_span(&text), .content_type = create ? NULL : CLIENT_MERGE_PATCH, .done = on_lease,
				    .arg = n });
}

static void on_lease(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct kl_node *n = arg;
	n->lease_call = NULL;
	if (why && why->class == ERR_NOT_FOUND && !n->making_lease) {
		n->making_lease = true;
		send_lease(n, true);
		return;
	}
	n->making_lease = false;
	if (why) {
		log_warn("the lease could not be renewed", kv_err(why));
		n->lease_ms = 0;
		loop_timer_start(&n->lease_timer, 1000);
	}
}

static void on_lease_timer(struct loop_timer *t)
{
	struct kl_node *n = container_of(t, struct kl_node, lease_timer);
	int64_t lease_ms = n->k->o->lease_s * 250, now_ms = loop_now_ms(n->k->loop);
	loop_timer_start(&n->lease_timer, MIN(lease_ms, n->k->o->status_update_ms));
	if (n->k->client && n->object && !n->lease_call && now_ms - n->lease_ms >= lease_ms - 50) {
		n->lease_ms = now_ms;
		send_lease(n, false);
	}
	ask_runtime(n);
	if (n->k->runtime_name.len && now_ms - n->images_ms >= n->k->o->status_report_ms)
		ask_images(n);
	review(n);
}

/* ---- the runtime */

static void on_images(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_list_images_response *r = reply;
	struct kl_node *n = arg;
	bool *taken;
	n->images_call = NULL;
	if (why)
		return;
	auto_buf struct buf text = {};
	auto_arena struct arena a = {};
	struct json_out o = { .buf = &text };
	taken = arena_zalloc(&a, r->images.n + 1);
	json_out_begin_array(&o);
	for (unsigned k = 0; k < IMAGES_MAX; k++) { /* the largest, as upstream */
		int best = -1;
		for (uint32_t i = 0; i < r->images.n; i++)
			if (!taken[i] && (best < 0 || r->images.ptr[i].size > r->images.ptr[best].size))
				best = (int)i;
		if (best < 0)
			break;
		const struct api_cri_image *im = &r->images.ptr[best];
		taken[best] = true;
		json_out_begin(&o);
		json_out_key(&o, SPAN("names"));
		json_out_begin_array(&o);
		for (uint32_t i = 0; i < MIN(im->repo_digests.n, 5u); i++)
			json_out_span(&o, im->repo_digests.ptr[i]);
		for (uint32_t i = 0; i < MIN(im->repo_tags.n, 5u); i++)
			json_out_span(&o, im->repo_tags.ptr[i]);
		json_out_end(&o);
		json_out_ki64(&o, "sizeBytes", (int64_t)im->size);
		json_out_end(&o);
	}
	json_out_end(&o);
	if (span_eq(buf_span(&text), buf_span(&n->images)))
		return;
	buf_trunc(&n->images, 0);
	buf_span_add(&n->images, buf_span(&text));
	if (n->reported_ms)
		report(n);
}

static void on_runtime(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_status_response *r = reply;
	struct kl_node *n = arg;
	bool was_ready = n->runtime_ready && n->network_ready;
	n->runtime_call = NULL;
	n->runtime_seen = true;
	buf_trunc(&n->runtime_words, 0);
	buf_trunc(&n->network_words, 0);
	buf_trunc(&n->network_reason, 0);
	n->runtime_ready = n->network_ready = false;
	if (why) {
		buf_printf(&n->runtime_words, "container runtime is down");
		log_debug("the runtime does not answer", kv_err(why));
	}
	for (uint32_t i = 0; !why && r->status && i < r->status->conditions.n; i++) {
		const struct api_cri_runtime_condition *c = &r->status->conditions.ptr[i];
		if (span_is(c->type, "RuntimeReady")) {
			n->runtime_ready = c->status;
			if (!c->status)
				buf_printf(&n->runtime_words, "container runtime not ready: RuntimeReady=false reason:%.*s message:%.*s",
					   SPAN_ARG(c->reason), SPAN_ARG(c->message));
		} else if (span_is(c->type, "NetworkReady")) {
			n->network_ready = c->status;
			buf_span_add(&n->network_reason, c->reason);
			buf_span_add(&n->network_words, c->message);
		}
	}
	bool ready = n->runtime_ready && n->network_ready;
	if (!ready) {
		unsigned times = MIN(n->runtime_tries, 8u);
		int64_t wait_ms = MIN(INT64_C(5) << times, 1000);
		n->runtime_tries++;
		loop_timer_start(&n->runtime_timer, wait_ms);
	} else {
		n->runtime_tries = 0;
	}
	if (n->network_ready && !was_ready) /* pods that wait for the network need not wait longer */
		wake_pods(n);
	review(n);
}

static void ask_runtime(struct kl_node *n)
{
	struct api_cri_status_request q = {};
	if (!n->runtime_call)
		n->runtime_call = kubelet_cri_status(n->k->cri, &q, on_runtime, n);
}

static void ask_images(struct kl_node *n)
{
	struct api_cri_list_images_request q = {};
	n->images_ms = loop_now_ms(n->k->loop);
	if (!n->images_call)
		n->images_call = kubelet_cri_list_images(n->k->cri, &q, on_images, n);
}

static void on_version(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_version_response *r = reply;
	struct kl_node *n = arg;
	n->version_call = NULL;
	if (why) {
		loop_timer_start(&n->retry_timer, 20);
		return;
	}
	struct kl *k = n->k;
	free((char *)k->runtime_name.ptr);
	free((char *)k->runtime_version.ptr);
	k->runtime_name = span_make(mem_dup(r->runtime_name.ptr, r->runtime_name.len), r->runtime_name.len);
	k->runtime_version = span_make(mem_dup(r->runtime_version.ptr, r->runtime_version.len), r->runtime_version.len);
	ask_images(n);
	kl_images_begin(k->images);
	ask_runtime(n);
}

static void ask_version(struct kl_node *n)
{
	struct api_cri_version_request q = { .version = SPAN("v1") };
	if (!n->version_call)
		n->version_call = kubelet_cri_version(n->k->cri, &q, on_version, n);
}

void kl_node_runtime(struct kl_node *n, const struct err *why)
{
	n->runtime_tries = 0;
	if (why)
		ask_runtime(n);
	else
		ask_version(n);
}

static void on_runtime_timer(struct loop_timer *t)
{
	ask_runtime(container_of(t, struct kl_node, runtime_timer));
}

static void on_retry(struct loop_timer *t)
{
	struct kl_node *n = container_of(t, struct kl_node, retry_timer);
	if (!n->k->runtime_name.len)
		ask_version(n);
	if (!n->object && n->informer && client_informer_synced(n->informer))
		make(n);
	else if (n->dirty)
		report(n);
}

struct kl_node *kl_node_new(struct kl *k)
{
	struct kl_node *n = mem_new(struct kl_node);
	struct kl_amounts a;
	n->k = k;
	k->node = n;
	loop_timer_init(&n->lease_timer, k->loop, "lease", on_lease_timer);
	loop_timer_init(&n->retry_timer, k->loop, "node", on_retry);
	loop_timer_init(&n->runtime_timer, k->loop, "runtime", on_runtime_timer);
	kl_machine_read(&n->m, k->o->root_dir.ptr);
	kl_node_allocatable(k, &a);
	struct api_quantity cpu = api_quantity_of(a.cpu_milli, -3, API_QUANTITY_DECIMAL);
	api_quantity_print(&cpu, &n->cpu);
	buf_printf(&n->memory, "%lldKi", (long long)(a.memory / 1024));
	buf_i64(&n->storage, a.storage);
	return n;
}

void kl_node_begin(struct kl_node *n)
{
	struct kl *k = n->k;
	kl_node_event(k, "Normal", "Starting", "Starting kubelet.");
	ask_version(n);
	ask_runtime(n);
	loop_timer_start(&n->lease_timer, 100);
	if (!k->client)
		return;
	auto_buf struct buf selector = {};
	buf_printf(&selector, "metadata.name=%.*s", SPAN_ARG(k->node_name));
	const struct client_informer_params p = { .client = k->client, .kind = nodes, .field_selector = buf_span(&selector),
						  .added = on_added, .changed = on_changed, .removed = on_removed, .synced = on_synced,
						  .arg = n };
	n->informer = client_informer_new(&p);
}

void kl_node_free(struct kl_node *n)
{
	if (!n)
		return;
	struct client_call *calls[] = { n->register_call, n->status_call, n->lease_call };
	struct kubelet_cri_call *cri[] = { n->version_call, n->runtime_call, n->images_call };
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		if (calls[i])
			client_cancel(calls[i]);
	for (size_t i = 0; i < ARRAY_LEN(cri); i++)
		if (cri[i])
			kubelet_cri_cancel(cri[i]);
	if (n->informer)
		client_informer_free(n->informer);
	loop_timer_stop(&n->lease_timer);
	loop_timer_stop(&n->retry_timer);
	loop_timer_stop(&n->runtime_timer);
	object_free(n);
	struct buf *bufs[] = { &n->runtime_words, &n->network_reason, &n->network_words, &n->images, &n->cpu, &n->memory,
			       &n->storage };
	for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
		buf_done(bufs[i]);
	n->k->node = NULL;
	free(n);
}
