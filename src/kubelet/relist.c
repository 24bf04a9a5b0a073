/* Lists sandboxes and containers, asks for the state of each that is new or looks different, and drops records of what is gone.
 * Then events keep the records as they are. runtime_known is set when the first round has its last answer: from then on a pod
 * without a record has no container. An answer that failed says nothing: everything is listed again after a back-off, and until a
 * whole round came through the runtime is not known. */
#include "kubelet/relist.h"
#include "kubelet/node.h"
#include "kubelet/worker.h"

#define AGAIN_FIRST_MS 500 /* doubled up to 16 s */

struct kl_relist {
	struct kl *k;
	struct kubelet_cri_events *events;
	struct kubelet_cri_call *sandboxes, *containers;
	struct list asks;
	struct loop_timer again;  /* after a round in which something failed */
	bool failed;              /* in this round */
	unsigned failures;        /* rounds in a row */
};

/* One question about one thing. */
struct ask {
	struct list link;
	struct kl_relist *r;
	struct kubelet_cri_call *call;
	char *uid, *sandbox; /* owned; sandbox: of a container */
	bool of_sandbox;
	char id[];
};

static void ask_free(struct ask *a)
{
	list_remove(&a->link);
	free(a->uid);
	free(a->sandbox);
	free(a);
}

/* A call failed: what it would have told is not known. */
static void miss(struct kl_relist *r, const char *what, const struct err *why)
{
	log_warn("the runtime does not answer as it should", kv_str("call", what), kv_err(why));
	r->failed = true;
}

/* A round is over when nothing is out any more. */
static void settle(struct kl_relist *r)
{
	struct kl *k = r->k;
	if (r->sandboxes || r->containers || !list_empty(&r->asks))
		return;
	if (r->failed) {
		r->failed = false;
		loop_timer_start(&r->again, AGAIN_FIRST_MS << MIN(r->failures, 5u));
		r->failures++;
		return;
	}
	r->failures = 0;
	if (k->runtime_known)
		return;
	k->runtime_known = true;
	log_debug("the runtime's containers are known", kv_u64("pods", k->pods.n));
	size_t pos = 0;
	for (struct kl_pod *p; (p = kl_pod_next(k, &pos));)
		kl_pod_wake(p);
	kl_orphans_sweep(k);
}

static struct kl_pod *pod_for(struct kl *k, const struct api_pair *labels, uint32_t n)
{
	struct span uid = api_pair_get(labels, n, SPAN(KL_LABEL_POD_UID));
	if (!uid.len || uid.len > 63)
		return NULL;
	struct kl_pod *p = map_get(&k->pods, uid);
	if (p)
		return p;
	p = kl_pod_new(k, uid, api_pair_get(labels, n, SPAN(KL_LABEL_POD_NS)), api_pair_get(labels, n, SPAN(KL_LABEL_POD_NAME)));
	p->orphan = true;
	kl_worker_new(p);
	return p;
}

static void on_container(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_container_status_response *resp = reply;
	struct ask *a = arg;
	struct kl_relist *r = a->r;
	struct kl_pod *p = map_get(&r->k->pods, span_of(a->uid));
	if (p && why && why->class == ERR_NOT_FOUND) {
		struct kl_container *c = (struct kl_container *)kl_pod_container_id(p, span_of(a->id));
		if (c)
			kl_container_drop(c);
		kl_pod_wake(p);
	} else if (why && why->class != ERR_NOT_FOUND) {
		miss(r, "ContainerStatus", why);
	} else if (p && !why && resp->status && kl_container_put(p, resp->status, span_of(a->sandbox))) {
		kl_pod_wake(p);
	}
	ask_free(a);
	settle(r);
}

static void on_sandbox(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_pod_sandbox_status_response *resp = reply;
	struct ask *a = arg;
	struct kl_relist *r = a->r;
	struct kl_pod *p = map_get(&r->k->pods, span_of(a->uid));
	if (p && why && why->class == ERR_NOT_FOUND) {
		LIST_EACH(&p->sandboxes, s, struct kl_sandbox, link)
			if (span_is(s->id, a->id))
				kl_sandbox_drop(s);
		kl_pod_wake(p);
	} else if (why && why->class != ERR_NOT_FOUND) {
		miss(r, "PodSandboxStatus", why);
	} else if (p && !why && resp->status && kl_sandbox_put(p, resp->status)) {
		kl_pod_wake(p);
	}
	ask_free(a);
	settle(r);
}

static void ask(struct kl_relist *r, const struct kl_pod *p, struct span id, struct span sandbox, bool of_sandbox)
{
	LIST_EACH(&r->asks, o, struct ask, link)
		if (span_is(id, o->id))
			return;
	struct ask *a = mem_zalloc(sizeof(*a) + id.len + 1);
	a->r = r;
	a->of_sandbox = of_sandbox;
	a->uid = mem_dup(p->uid.ptr, p->uid.len);
	a->sandbox = mem_dup(sandbox.ptr, sandbox.len);
	memcpy(a->id, id.ptr, id.len);
	list_push(&r->asks, &a->link);
	if (of_sandbox) {
		struct api_cri_pod_sandbox_status_request q = { .pod_sandbox_id = span_of(a->id) };
		a->call = kubelet_cri_pod_sandbox_status(r->k->cri, &q, on_sandbox, a);
	} else {
		struct api_cri_container_status_request q = { .container_id = span_of(a->id) };
		a->call = kubelet_cri_container_status(r->k->cri, &q, on_container, a);
	}
}

void kl_look(struct kl_pod *p, struct span container_id)
{
	const struct kl_sandbox *s = kl_pod_sandbox(p);
	ask(p->k->relist, p, container_id, s ? s->id : SPAN_EMPTY, false);
}

/* ---- lists */

static void on_sandboxes(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_list_pod_sandbox_response *resp = reply;
	struct kl_relist *r = arg;
	struct kl *k = r->k;
	r->sandboxes = NULL;
	if (why) {
		miss(r, "ListPodSandbox", why);
		settle(r);
		return;
	}
	for (uint32_t i = 0; i < resp->items.n; i++) {
		const struct api_cri_pod_sandbox *s = &resp->items.ptr[i];
		struct kl_pod *p = pod_for(k, s->labels.ptr, s->labels.n);
		const struct kl_sandbox *have = NULL;
		if (!p)
			continue;
		LIST_EACH(&p->sandboxes, o, struct kl_sandbox, link)
			if (span_eq(o->id, s->id))
				have = o;
		if (!have || have->ready != (s->state == 0))
			ask(r, p, s->id, SPAN_EMPTY, true);
	}
	size_t pos = 0;
	for (struct kl_pod *p; (p = kl_pod_next(k, &pos));)
		LIST_EACH(&p->sandboxes, o, struct kl_sandbox, link) {
			bool there = false;
			for (uint32_t i = 0; i < resp->items.n && !there; i++)
				there = span_eq(resp->items.ptr[i].id, o->id);
			if (!there)
				ask(r, p, o->id, SPAN_EMPTY, true); /* it may be newer than the list */
		}
	settle(r);
}

static void on_containers(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_list_containers_response *resp = reply;
	struct kl_relist *r = arg;
	struct kl *k = r->k;
	r->containers = NULL;
	if (why) {
		miss(r, "ListContainers", why);
		settle(r);
		return;
	}
	for (uint32_t i = 0; i < resp->containers.n; i++) {
		const struct api_cri_container *c = &resp->containers.ptr[i];
		struct kl_pod *p = pod_for(k, c->labels.ptr, c->labels.n);
		const struct kl_container *have = p ? kl_pod_container_id(p, c->id) : NULL;
		if (p && (!have || (int)have->state != c->state))
			ask(r, p, c->id, c->pod_sandbox_id, false);
	}
	size_t pos = 0;
	for (struct kl_pod *p; (p = kl_pod_next(k, &pos));)
		LIST_EACH(&p->containers, o, struct kl_container, link) {
			bool there = false;
			for (uint32_t i = 0; i < resp->containers.n && !there; i++)
				there = span_eq(resp->containers.ptr[i].id, o->id);
			if (!there)
				ask(r, p, o->id, o->sandbox, false);
		}
	settle(r);
}

static void list_all(struct kl_relist *r)
{
	struct api_cri_list_pod_sandbox_request sq = {};
	struct api_cri_list_containers_request cq = {};
	loop_timer_stop(&r->again);
	if (!r->sandboxes)
		r->sandboxes = kubelet_cri_list_pod_sandbox(r->k->cri, &sq, on_sandboxes, r);
	if (!r->containers)
		r->containers = kubelet_cri_list_containers(r->k->cri, &cq, on_containers, r);
}

static void on_again(struct loop_timer *t)
{
	list_all(container_of(t, struct kl_relist, again));
}

/* ---- events */

static void on_opened(void *arg)
{
	struct kl_relist *r = arg;
	list_all(r);
	kl_node_runtime(r->k->node, NULL);
}

static void on_lost(const struct err *why, void *arg)
{
	struct kl_relist *r = arg;
	kl_node_runtime(r->k->node, why);
}

static void on_full(struct kl_relist *r, const struct kubelet_cri_event *e)
{
	const struct api_cri_container_event_response *full = e->full;
	const struct api_cri_pod_sandbox_status *s = full->pod_sandbox_status;
	bool changed = false;
	struct kl_pod *p = pod_for(r->k, s->labels.ptr, s->labels.n);
	if (!p)
		return;
	changed |= kl_sandbox_put(p, s);
	for (uint32_t i = 0; i < full->containers_statuses.n; i++)
		changed |= kl_container_put(p, &full->containers_statuses.ptr[i], s->id);
	if (changed)
		kl_pod_wake(p);
}

static void on_event(const struct kubelet_cri_event *e, void *arg)
{
	struct kl_relist *r = arg;
	struct kl *k = r->k;
	if (e->type != KUBELET_CRI_DELETED && e->full && e->full->pod_sandbox_status && e->full->pod_sandbox_status->id.len) {
		on_full(r, e);
		return;
	}
	struct kl_pod *p = e->pod_uid.len ? map_get(&k->pods, e->pod_uid) : NULL;
	size_t pos = 0;
	bool of_sandbox = e->sandbox_id.len && span_eq(e->sandbox_id, e->container_id);
	for (struct kl_pod *o; !p && (o = kl_pod_next(k, &pos));) {
		if (kl_pod_container_id(o, e->container_id))
			p = o;
		LIST_EACH(&o->sandboxes, s, struct kl_sandbox, link)
			if (span_eq(s->id, e->container_id)) {
				p = o;
				of_sandbox = true;
			}
	}
	if (!p) {
		if (e->type == KUBELET_CRI_CREATED || e->type == KUBELET_CRI_STARTED)
			list_all(r); /* somebody else's, or a pod of which nothing is known */
		return;
	}
	ask(r, p, e->container_id, e->sandbox_id, of_sandbox);
}

struct kl_relist *kl_relist_new(struct kl *k)
{
	struct kl_relist *r = mem_new(struct kl_relist);
	r->k = k;
	list_init(&r->asks);
	loop_timer_init(&r->again, k->loop, "list containers again", on_again);
	return r;
}

void kl_relist_begin(struct kl_relist *r)
{
	const struct kubelet_cri_events_params p = { .cri = r->k->cri, .opened = on_opened, .event = on_event, .closed = on_lost,
						     .arg = r };
	r->events = kubelet_cri_events_open(&p);
}

void kl_relist_free(struct kl_relist *r)
{
	if (!r)
		return;
	kubelet_cri_events_close(r->events);
	loop_timer_stop(&r->again);
	if (r->sandboxes)
		kubelet_cri_cancel(r->sandboxes);
	if (r->containers)
		kubelet_cri_cancel(r->containers);
	LIST_EACH(&r->asks, a, struct ask, link) {
		kubelet_cri_cancel(a->call);
		ask_free(a);
	}
	free(r);
}
