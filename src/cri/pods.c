/* Sandboxes: run, stop, remove.
 *
 *     run  ┬─ namespace ─┬─> its plugins, one after the other (thread) ─┬─> answered    a failure of either goes the way back,
 *          └─ pause made ┴─> pause started (loop) ─────────────────────┘              when both are over
 *     stop    its containers are killed ─> the pause ─> network (thread)
 *     remove  stop ─> its containers removed ─> the pause: without its record there is no sandbox
 *
 * A death in between leaves what cri_take_up takes back: a pause that never ran, or plugins that have not all run. Changes of one
 * sandbox come one after the other. */
#include <fcntl.h>
#include <sys/utsname.h>

#include "cri/cni.h"
#include "cri/private.h"

#define SECCOMP_BYTES (1u << 20)
#define BURST_MAX 4294967295LL /* as containerd says "no bound" to the bandwidth plugin */

/* ---- one change at a time */

void cri_pod_lock(struct cri_pod *pod, struct cri_call *k, void (*begin)(struct cri_call *k))
{
	bool first = list_empty(&pod->ops);
	k->pod = pod;
	k->pod_begin = begin;
	list_push(&pod->ops, &k->of_pod);
	if (first)
		begin(k);
}

void cri_pod_unlock(struct cri_call *k)
{
	struct cri_pod *pod = take(&k->pod);
	list_remove(&k->of_pod);
	struct cri_call *next = pod ? LIST_FIRST(&pod->ops, struct cri_call, of_pod) : NULL;
	if (next)
		next->pod_begin(next);
}

/* It is gone: who waited for it finds nothing. */
static void pod_gone(struct cri_pod *pod, struct cri_call *k)
{
	struct list waiting;
	list_init(&waiting);
	list_remove(&k->of_pod);
	k->pod = NULL;
	list_append(&waiting, &pod->ops);
	cri_pod_free(pod);
	for (struct cri_call *w; (w = LIST_POP(&waiting, struct cri_call, of_pod));) {
		w->pod = NULL;
		w->pod_begin(w);
	}
}

/* ---- the same for all of a sandbox' containers */

struct part {
	struct container_call call;
	struct cri_call *k;
	char id[65];
	bool remove;
};

static void part_over(struct cri_call *k)
{
	if (--k->parts == 0)
		k->parts_then(k);
}

static void on_part(struct container_call *call, const struct err *err)
{
	struct part *p = container_of(call, struct part, call);
	struct cri_call *k = p->k;
	bool ok = !err || err->class == ERR_NOT_FOUND;
	if (!ok && !k->err.class)
		(void)err_set(&k->err, err->class, "%s", err_msg(err));
	struct cri_container *c = map_get(&k->cri->all_by_id, span_of(p->id));
	if (ok && p->remove && c)
		cri_container_gone(c);
	part_over(k);
}

static void parts_begin(struct cri_call *k, bool remove, void (*then)(struct cri_call *k))
{
	struct container_engine *e = k->cri->containers;
	k->parts = 1;
	k->parts_then = then;
	LIST_EACH (&k->pod->containers, c, struct cri_container, of_pod) {
		struct part *p = arena_new(&k->arena, struct part);
		*p = (struct part){ .call = { .done = on_part }, .k = k, .remove = remove };
		memcpy(p->id, c->id, sizeof(p->id));
		k->parts++;
		if (remove)
			container_remove(e, span_of(c->id), CONTAINER_RM_FORCE | CONTAINER_RM_VOLUMES, &p->call);
		else
			container_stop(e, span_of(c->id), SPAN("KILL"), 0, &p->call);
	}
	part_over(k);
}

/* ---- run */

struct run {
	const struct api_cri_pod_sandbox_config *config;
	struct span handler, name, seccomp_path, seccomp;
	char id[65];
	bool host_net, networked, made, owed;
	struct cri_net_wish wish;
	struct cri_call *k;
	struct loop_msg there;    /* the namespace is */
	unsigned sides;           /* not over yet: the thread's, the pause's */
	bool side_by_side, begun, may_start, starting, net_over; /* may_start: what the pause joins is there */
	/* the thread's, while the loop makes the pause */
	struct arena net_arena;
	struct err net_err;
	struct json result;
	struct cri_documents docs;
	struct err why;           /* of a failure, while it is taken back */
	struct list link;         /* of cri.making */
};

static void id_make(struct cri *c, char out[65])
{
	uint8_t raw[32];
	auto_buf struct buf b = {};
	do {
		rng_secret(raw, sizeof(raw));
		buf_trunc(&b, 0);
		hex_add(&b, raw, sizeof(raw));
	} while (map_get(&c->pods_by_id, buf_span(&b)));
	memcpy(out, buf_cstr(&b), 65);
}

/* "name_namespace_uid_attempt": one sandbox of each. */
static struct span pod_name(struct arena *a, const struct api_cri_pod_sandbox_metadata *m)
{
	return arena_printf(a, "%.*s_%.*s_%.*s_%llu", SPAN_ARG(m->name), SPAN_ARG(m->namespace), SPAN_ARG(m->uid),
		(unsigned long long)m->attempt);
}

static int name_reserve(struct cri_call *k, struct run *r, struct err *err)
{
	const char *who = NULL;
	struct run *other;
	r->name = pod_name(&k->arena, r->config->metadata);
	LIST_EACH (&k->cri->pods, pod, struct cri_pod, link)
		if (span_eq(pod_name(&k->arena, pod->config.metadata), r->name))
			who = pod->id;
	for (struct list *l = k->cri->making.next; l != &k->cri->making; l = l->next) {
		other = LIST_ENTRY(l, struct run, link);
		if (span_eq(other->name, r->name))
			who = other->id;
	}
	if (who)
		return err_set(err, ERR_EXISTS, "failed to reserve sandbox name \"%.*s\": name \"%.*s\" is reserved for \"%s\"",
			SPAN_ARG(r->name), SPAN_ARG(r->name), who);
	list_push(&k->cri->making, &r->link);
	return 0;
}

/* ---- what plugins may be told */

static void rate_put(struct arena *a, struct json *o, const char *rate, const char *burst, struct span text)
{
	struct api_quantity q;
	if (!text.len || api_quantity_parse(text, &q, NULL) < 0)
		return;
	(void)json_add(a, o, span_of(rate), json_int(api_quantity_value(&q)));
	(void)json_add(a, o, span_of(burst), json_int(BURST_MAX));
}

static struct json texts(struct arena *a, const struct span *list, uint32_t n)
{
	struct json out = json_array();
	for (uint32_t i = 0; i < n; i++)
		(void)json_push(a, &out, json_str(list[i]));
	return out;
}

static struct json ports(struct arena *a, const struct api_cri_pod_sandbox_config *p)
{
	static const char *const protocols[] = { "tcp", "udp", "sctp" };
	struct json list = json_array();
	for (uint32_t i = 0; i < p->port_mappings.n; i++) {
		const struct api_cri_port_mapping *m = &p->port_mappings.ptr[i];
		struct json v = json_object();
		if (!m->host_port)
			continue; /* cri_spec_pod has seen the others */
		(void)json_setl(a, &v, "hostPort", json_int(m->host_port));
		(void)json_setl(a, &v, "containerPort", json_int(m->container_port));
		(void)json_setl(a, &v, "protocol", json_cstr(protocols[m->protocol]));
		(void)json_setl(a, &v, "hostIP", json_str(m->host_ip));
		(void)json_push(a, &list, v);
	}
	return list;
}

static struct json capabilities(struct cri_call *k, const struct api_cri_pod_sandbox_config *p)
{
	struct arena *a = &k->arena;
	struct json v = json_object(), bandwidth = json_object(), dns = json_object(), notes = json_object();
	struct json mapped = ports(a, p);
	if (mapped.n)
		(void)json_setl(a, &v, "portMappings", mapped);
	rate_put(a, &bandwidth, "ingressRate", "ingressBurst",
		api_pair_get(p->annotations.ptr, p->annotations.n, SPAN("kubernetes.io/ingress-bandwidth")));
	rate_put(a, &bandwidth, "egressRate", "egressBurst",
		api_pair_get(p->annotations.ptr, p->annotations.n, SPAN("kubernetes.io/egress-bandwidth")));
	if (bandwidth.n)
		(void)json_setl(a, &v, "bandwidth", bandwidth);
	if (p->dns_config) {
		(void)json_setl(a, &dns, "servers", texts(a, p->dns_config->servers.ptr, p->dns_config->servers.n));
		(void)json_setl(a, &dns, "searches", texts(a, p->dns_config->searches.ptr, p->dns_config->searches.n));
		(void)json_setl(a, &dns, "options", texts(a, p->dns_config->options.ptr, p->dns_config->options.n));
		(void)json_setl(a, &v, "dns", dns);
	}
	if (k->cri->pod_cidr)
		(void)json_setl(a, &v, "ipRanges", cri_ip_ranges(a, span_of(k->cri->pod_cidr)));
	if (p->linux_ && p->linux_->cgroup_parent.len)
		(void)json_setl(a, &v, "cgroupPath", json_str(p->linux_->cgroup_parent));
	for (uint32_t i = 0; i < p->annotations.n; i++)
		(void)json_set(a, &notes, p->annotations.ptr[i].key, json_str(p->annotations.ptr[i].value));
	(void)json_setl(a, &v, "io.kubernetes.cri.pod-annotations", notes);
	return v;
}

/* ---- its steps */

static void undone(struct cri_call *k)
{
	struct run *r = k->state;
	err_done(&k->err);
	(void)err_move(&k->err, &r->why);
	list_remove(&r->link);
	arena_done(&r->net_arena);
	err_done(&r->net_err);
	cri_fail(k);
}

static void undo_network(struct cri_call *k)
{
	const struct run *r = k->state;
	if (r->networked || r->owed) { /* nobody waits for it: the client tries again with a sandbox of another id */
		cri_debt_add(k->cri, r->id);
		cri_debts_settle(k->cri);
	}
	undone(k);
}

/* k->err says why. */
static void undo(struct cri_call *k)
{
	struct run *r = k->state;
	(void)err_move(&r->why, &k->err);
	if (r->made && !k->cri->closing) /* else the next open takes it away */
		container_remove(k->cri->containers, span_of(r->id), CONTAINER_RM_FORCE | CONTAINER_RM_VOLUMES,
			cri_container_call(k, undo_network));
	else
		undo_network(k);
}

static void ips_take(struct cri_pod *pod, const struct json *result)
{
	struct span found[CRI_IPS_MAX];
	arena_reset(&pod->net_arena);
	pod->n_ips = cri_net_ips(result, found, ARRAY_LEN(found));
	pod->ips = arena_alloc_n(&pod->net_arena, pod->n_ips + 1, sizeof(*pod->ips));
	for (unsigned i = 0; i < pod->n_ips; i++)
		pod->ips[i] = arena_span(&pod->net_arena, found[i]);
}

/* The container engine may be gone already: k->err says so. */
static bool closing(struct cri_call *k)
{
	if (k->cri->closing)
		(void)err_set(&k->err, ERR_UNAVAILABLE, "the engine is stopping");
	return k->cri->closing;
}

static void run_whole(struct cri_call *k)
{
	struct run *r = k->state;
	struct cri_pod *pod;
	FAILPOINT("cri.pod.started");
	if (closing(k)) { /* whole, and in nobody's list: the next open finds it */
		(void)err_move(&r->why, &k->err);
		undone(k);
		return;
	}
	if (cri_pod_add(k->cri, r->id, &r->docs.extra, &pod, &k->err) < 0) {
		undo(k);
		return;
	}
	list_remove(&r->link);
	ips_take(pod, &r->result);
	arena_done(&r->net_arena);
	cri_event(pod, pod->id, CRI_EVENT_CREATED);
	cri_event(pod, pod->id, CRI_EVENT_STARTED);
	const struct api_cri_run_pod_sandbox_response out = { .pod_sandbox_id = span_of(pod->id) };
	cri_answer(k, &out);
}

/* Of two failures the network's is told. */
static void side_over(struct cri_call *k)
{
	struct run *r = k->state;
	if (--r->sides > 0)
		return;
	if (r->net_err.class) {
		err_done(&k->err);
		(void)err_move(&k->err, &r->net_err);
	}
	if (k->err.class)
		undo(k);
	else
		run_whole(k);
}

static void run_started(struct cri_call *k)
{
	const struct run *r = k->state;
	if (k->err.class)
		(void)err_note(&k->err, "failed to start sandbox \"%s\"", r->id);
	side_over(k);
}

/* The pause is made, or the network has come on. */
static void pause_go(struct cri_call *k)
{
	struct run *r = k->state;
	if (!r->made || r->starting)
		return;
	if (r->may_start) {
		r->starting = true;
		if (closing(k))
			side_over(k);
		else
			container_start(k->cri->containers, span_of(r->id), cri_container_call(k, run_started));
	} else if (r->net_over) {
		side_over(k); /* there is nothing to start it in */
	}
}

static void run_made(struct cri_call *k)
{
	struct run *r = k->state;
	if (k->err.class) {
		(void)err_note(&k->err, "failed to create sandbox \"%s\"", r->id);
		side_over(k);
		return;
	}
	r->made = true;
	FAILPOINT("cri.pod.made");
	pause_go(k);
}

static struct json pod_record(struct cri_call *k, const struct run *r)
{
	struct arena *a = &k->arena;
	struct json v = json_object();
	(void)json_setl(a, &v, "Kind", json_cstr("sandbox"));
	(void)json_setl(a, &v, "Config", api_typed_to_tree(a, API_TYPED_CRI_POD_SANDBOX_CONFIG, r->config));
	(void)json_setl(a, &v, "Handler", json_str(r->handler));
	(void)json_setl(a, &v, "CreatedNs", json_int(loop_wall_ns(k->cri->p.loop)));
	return v;
}

/* The pause's side. The call's arena and err are the loop's. */
static void pause_begin(struct cri_call *k)
{
	struct run *r = k->state;
	struct arena *a = &k->arena;
	struct cri *c = k->cri;
	struct span netns = r->host_net ? SPAN_EMPTY : arena_printf(a, "%s/%s", c->paths.netns, r->id);
	r->begun = true;
	bool systemd = container_systemd(c->containers);
	if (closing(k) || cri_spec_pod(r->config, c->p.runner, netns, r->seccomp, systemd, a, &r->docs, &k->err) < 0) {
		side_over(k);
		return;
	}
	struct utsname host;
	if (!r->host_net && !r->config->hostname.len && uname(&host) == 0) /* the machine's, as with containerd */
		(void)json_setl(a, &r->docs.config, "Hostname", json_str(arena_span(a, span_of(host.nodename))));
	(void)json_setl(a, &r->docs.extra, "Cri", pod_record(k, r));
	const struct container_create_params p = { .name = span_of(r->id), .id = span_of(r->id), .config = &r->docs.config,
		.host_config = &r->docs.host, .extra = &r->docs.extra };
	container_create(c->containers, &p, cri_container_call(k, run_made));
}

static void on_there(struct loop_msg *m)
{
	struct run *r = container_of(m, struct run, there);
	r->may_start = true;
	if (r->begun)
		pause_go(r->k);
	else
		pause_begin(r->k);
}

static void run_networked(struct cri_call *k)
{
	struct run *r = k->state;
	if (!r->host_net)
		cri_debts_settle(k->cri); /* what hindered the plugins may be over */
	r->net_over = true;
	r->may_start |= !r->net_err.class;
	if (r->begun)
		pause_go(k);
	else if (!r->net_err.class)
		pause_begin(k);
	else
		r->sides--;
	side_over(k);
}

int cri_profile_read(struct span path, struct arena *a, struct span *out, struct err *err)
{
	auto_buf struct buf b = {};
	*out = SPAN_EMPTY;
	if (!path.len)
		return 0;
	int rc = io_read_file(AT_FDCWD, arena_cstr(a, path), &b, SECCOMP_BYTES, err);
	*out = rc < 0 ? SPAN_EMPTY : arena_span(a, buf_span(&b));
	return rc < 0 ? err_note(err, "failed to load seccomp profile") : 0;
}

static int run_work(struct cri_call *k, struct err *err)
{
	struct run *r = k->state;
	int rc = cri_profile_read(r->seccomp_path, &r->net_arena, &r->seccomp, &r->net_err);
	if (rc < 0 || r->host_net)
		return 0; /* net_err tells, here and below: k->err is the loop's */
	rc = cri_netns_make(arena_printf(&r->net_arena, "%s/%s", k->cri->paths.netns, r->id).ptr, &r->net_err);
	FAILPOINT("cri.net.made");
	if (rc == 0 && r->side_by_side)
		loop_post(k->cri->p.loop, &r->there);
	rc = rc < 0 ? rc : cri_net_add(&k->cri->paths, &r->wish, &r->net_arena, &r->result, &r->net_err);
	if (rc < 0) {
		r->owed = true;
		r->net_err.class = ERR_INTERNAL; /* whatever was missing was not what the client named */
		(void)err_note(&r->net_err, "failed to setup network for sandbox \"%s\"", r->id);
	}
	r->networked = rc == 0;
	return 0;
}

/* A sysctl of an interface needs the interface, and what plugins set is the pod's to change. */
static bool sets_network(const struct api_cri_pod_sandbox_config *p)
{
	for (uint32_t i = 0; p->linux_ && i < p->linux_->sysctls.n; i++)
		if (span_starts(p->linux_->sysctls.ptr[i].key, SPAN("net")))
			return true;
	return false;
}

static int wish_make(struct cri_call *k, struct run *r, struct err *err)
{
	struct arena *a = &k->arena;
	const struct api_cri_pod_sandbox_metadata *m = r->config->metadata;
	const char *why = NULL;
	const struct json *list = cri_cni_config(k->cri->cni, &why);
	if (!list)
		return err_set(err, ERR_INTERNAL, "failed to setup network for sandbox \"%s\": %s", r->id, why);
	r->wish = (struct cri_net_wish){ .id = r->id, .config = json_copy(a, list), .capabilities = capabilities(k, r->config) };
	r->wish.args = arena_printf(a,
		"IgnoreUnknown=1;K8S_POD_NAMESPACE=%.*s;K8S_POD_NAME=%.*s;K8S_POD_INFRA_CONTAINER_ID=%s;K8S_POD_UID=%.*s",
		SPAN_ARG(m->namespace), SPAN_ARG(m->name), r->id, SPAN_ARG(m->uid));
	return 0;
}

bool cri_handler_known(struct span name)
{
	return !name.len || span_is(name, "knarr") || span_is(name, "runc");
}

void cri_run_pod_sandbox(struct cri_call *k, const void *in)
{
	const struct api_cri_run_pod_sandbox_request *q = in;
	struct run *r = arena_new(&k->arena, struct run);
	k->state = r;
	r->config = q->config;
	r->handler = q->runtime_handler;
	r->result = JSON_NULL_VALUE;
	r->k = k;
	r->there.fn = on_there;
	r->sides = 2;
	list_init(&r->link);
	if (!q->config || !q->config->metadata || !q->config->metadata->name.len) {
		cri_fail_with(k, ERR_INVALID_REQUEST, "sandbox config must include metadata");
		return;
	}
	if (!cri_handler_known(q->runtime_handler)) {
		cri_fail_with(k, ERR_INVALID_REQUEST, "failed to get sandbox runtime: no runtime for \"%.*s\" is configured",
			SPAN_ARG(q->runtime_handler));
		return;
	}
	id_make(k->cri, r->id);
	r->host_net = cri_spec_host_network(q->config);
	const struct api_cri_linux_sandbox_security_context *s = q->config->linux_ ? q->config->linux_->security_context : NULL;
	if (s && cri_spec_selinux(s->selinux_options, cri_selinux_there(), &k->err) < 0) {
		cri_fail(k);
		return;
	}
	if (s)
		r->seccomp_path = cri_spec_seccomp_path(s->seccomp, s->seccomp_profile_path);
	/* What the documents cannot say must be known before a plugin runs. */
	int rc = cri_spec_pod(q->config, k->cri->p.runner, SPAN_EMPTY, SPAN("{}"), false, &k->arena, &r->docs, &k->err);
	rc = rc < 0 ? rc : name_reserve(k, r, &k->err);
	if (rc < 0) {
		cri_fail(k);
		return;
	}
	if (!r->host_net && wish_make(k, r, &k->err) < 0) {
		list_remove(&r->link);
		cri_fail(k);
		return;
	}
	r->side_by_side = !sets_network(q->config);
	cri_thread(k, run_work, run_networked);
	if (k->err.class) /* there is no thread */
		(void)err_move(&r->net_err, &k->err);
	else if (!r->seccomp_path.len) /* a profile has to be read before there is a document */
		pause_begin(k);
}

/* ---- stop */

static void pod_failed(struct cri_call *k)
{
	k->pod->removing = false;
	cri_pod_unlock(k);
	cri_fail(k);
}

static int stop_net(struct cri_call *k, struct err *err)
{
	const struct cri_pod *pod = k->pod; /* it stays while we are at its head */
	return cri_net_del(&k->cri->paths, pod->id, k->force, err);
}

static void net_stopped(struct cri_call *k)
{
	struct cri_pod *pod = k->pod;
	if (k->err.class) {
		k->err.class = ERR_INTERNAL;
		(void)err_note(&k->err, "failed to destroy network for sandbox \"%s\"", pod->id);
		pod_failed(k);
		return;
	}
	arena_reset(&pod->net_arena);
	pod->n_ips = 0;
	k->stopped_then(k);
}

static void net_stop(struct cri_call *k)
{
	cri_thread(k, stop_net, net_stopped);
}

static void pause_stopped(struct cri_call *k)
{
	if (k->err.class == ERR_NOT_FOUND)
		err_done(&k->err);
	if (k->err.class) {
		(void)err_note(&k->err, "failed to stop sandbox container \"%s\"", k->pod->id);
		pod_failed(k);
		return;
	}
	if (!cri_check_end(k->cri, k->pod->id, k, net_stop))
		net_stop(k);
}

static void containers_stopped(struct cri_call *k)
{
	if (k->err.class)
		pod_failed(k);
	else
		container_stop(k->cri->containers, span_of(k->pod->id), SPAN("KILL"), 0, cri_container_call(k, pause_stopped));
}

static void stop_all(struct cri_call *k, bool force, void (*then)(struct cri_call *k))
{
	k->pod->stopped = true;
	k->force = force;
	k->stopped_then = then;
	parts_begin(k, false, containers_stopped);
}

static void pod_answer(struct cri_call *k)
{
	cri_pod_unlock(k);
	cri_answer_empty(k);
}

static void stop_begin(struct cri_call *k)
{
	if (k->pod)
		stop_all(k, false, pod_answer);
	else
		cri_answer_empty(k);
}

void cri_stop_pod_sandbox(struct cri_call *k, const void *in)
{
	const struct api_cri_stop_pod_sandbox_request *q = in;
	struct cri_pod *pod = cri_pod_find(k->cri, q->pod_sandbox_id, &k->err);
	if (pod) {
		cri_pod_lock(pod, k, stop_begin);
	} else if (k->err.class == ERR_NOT_FOUND) { /* idempotent: it is stopped */
		cri_answer_empty(k);
	} else {
		cri_fail(k);
	}
}

/* ---- remove */

static void pause_removed(struct cri_call *k)
{
	struct cri_pod *pod = k->pod;
	if (k->err.class == ERR_NOT_FOUND)
		err_done(&k->err);
	if (k->err.class) {
		(void)err_note(&k->err, "failed to remove sandbox container \"%s\"", pod->id);
		pod_failed(k);
		return;
	}
	cri_event(pod, pod->id, CRI_EVENT_DELETED);
	pod_gone(pod, k);
	cri_answer_empty(k);
}

static void containers_removed(struct cri_call *k)
{
	if (k->err.class) {
		pod_failed(k);
		return;
	}
	FAILPOINT("cri.pod.emptied");
	container_remove(k->cri->containers, span_of(k->pod->id), CONTAINER_RM_FORCE | CONTAINER_RM_VOLUMES,
		cri_container_call(k, pause_removed));
}

static void remove_stopped(struct cri_call *k)
{
	parts_begin(k, true, containers_removed);
}

static void remove_begin(struct cri_call *k)
{
	if (!k->pod) {
		cri_answer_empty(k);
		return;
	}
	k->pod->removing = true;
	stop_all(k, true, remove_stopped);
}

void cri_remove_pod_sandbox(struct cri_call *k, const void *in)
{
	const struct api_cri_remove_pod_sandbox_request *q = in;
	struct cri_pod *pod = cri_pod_find(k->cri, q->pod_sandbox_id, &k->err);
	if (pod) {
		cri_pod_lock(pod, k, remove_begin);
	} else if (k->err.class == ERR_NOT_FOUND) {
		cri_answer_empty(k);
	} else {
		cri_fail(k);
	}
}

/* The pod's own group is the kubelet's; containers have their limits by UpdateContainerResources. */
void cri_update_pod_sandbox_resources(struct cri_call *k, const void *in)
{
	const struct api_cri_update_pod_sandbox_resources_request *q = in;
	if (cri_pod_find(k->cri, q->pod_sandbox_id, &k->err))
		cri_answer_empty(k);
	else
		cri_fail(k);
}

/* ---- after a restart */

void cri_pod_take_up(struct cri_pod *pod, const struct json *net)
{
	ips_take(pod, net);
	/* The plugins look whether all is still as they made it (CHECK): what happened meanwhile is said, and left to a person. The
	 * kubelet makes a pod anew when its sandbox is not ready; a wrong guess here would cost pods that work. */
	if (pod->n_ips && cri_pod_ready(pod))
		cri_check_add(pod->cri, pod->id);
}
