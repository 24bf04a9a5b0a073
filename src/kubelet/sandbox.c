/* Sandboxes of a pod: RunPodSandbox, the addresses, StopPodSandbox; and what is dead and need not be kept. */
#include "kubelet/config.h"
#include "kubelet/node.h"
#include "kubelet/rotate.h"
#include "kubelet/worker.h"

#include <fcntl.h>
#include <sys/stat.h>

#define RETRY_NS (1 * NS_PER_S)
#define REFUSED_NS (10 * NS_PER_S) /* what only another pod, or an administrator, can change */

/* ---- sandboxes */

static void over(struct kl_worker *w, bool failed)
{
	w->sandbox_call = NULL;
	w->making = false;
	free(take(&w->handler));
	free((char *)w->sandbox_id.ptr);
	w->sandbox_id = SPAN_EMPTY;
	w->sandbox_retry_ns = failed ? loop_wall_ns(w->pod->k->loop) + RETRY_NS : 0;
	kl_worker_wake(w);
}

static void on_status(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_pod_sandbox_status_response *r = reply;
	struct kl_worker *w = arg;
	if (!why && r->status) {
		(void)kl_sandbox_put(w->pod, r->status);
	} else if (why && why->class == ERR_NOT_FOUND) {
		LIST_EACH(&w->pod->sandboxes, s, struct kl_sandbox, link)
			if (span_eq(s->id, w->sandbox_id))
				kl_sandbox_drop(s);
	}
	over(w, why != NULL);
}

static void look(struct kl_worker *w, struct span id)
{
	struct api_cri_pod_sandbox_status_request q = { .pod_sandbox_id = id };
	char *copy = mem_dup(id.ptr, id.len);
	free((char *)w->sandbox_id.ptr);
	w->sandbox_id = span_make(copy, id.len);
	w->sandbox_call = kubelet_cri_pod_sandbox_status(w->pod->k->cri, &q, on_status, w);
}

static void on_made(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_run_pod_sandbox_response *r = reply;
	struct kl_worker *w = arg;
	if (why) {
		kl_pod_event(w->pod, SPAN_EMPTY, "Warning", "FailedCreatePodSandBox", "Failed to create pod sandbox: %s", err_msg(why));
		over(w, true);
		return;
	}
	FAILPOINT("kubelet.sandbox.made");
	log_debug("sandbox made", kv_span("pod", w->pod->name), kv_span("id", r->pod_sandbox_id));
	/* A runtime whose events carry statuses has told already; others are asked. */
	LIST_EACH(&w->pod->sandboxes, s, struct kl_sandbox, link) {
		if (span_eq(s->id, r->pod_sandbox_id) && s->ready && (s->n_ips || w->pod->object->pod.spec.host_network)) {
			over(w, false);
			return;
		}
	}
	look(w, r->pod_sandbox_id);
}

static void refuse(struct kl_worker *w, const char *reason, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void refuse(struct kl_worker *w, const char *reason, const char *fmt, ...)
{
	auto_arena struct arena a = {};
	va_list ap;
	va_start(ap, fmt);
	struct span words = arena_vprintf(&a, fmt, ap);
	va_end(ap);
	log_warn("no sandbox for a pod", kv_span("pod", w->pod->name), kv_span("why", words));
	kl_pod_event(w->pod, SPAN_EMPTY, "Warning", reason, "%.*s", SPAN_ARG(words));
	w->sandbox_retry_ns = loop_wall_ns(w->pod->k->loop) + REFUSED_NS;
	kl_worker_wake(w);
}

static void on_class(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct kl_worker *w = arg;
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct api_node_runtime_class class;
	w->class_call = NULL;
	if (!why && api_node_runtime_class_decode(&a, API_FORM_JSON, body, &class, &err) == 0) {
		free(w->handler);
		w->handler = mem_dup(class.handler.ptr, class.handler.len);
		kl_worker_wake(w);
		return;
	}
	refuse(w, "FailedCreatePodSandBox", "Failed to create pod sandbox: failed to get sandbox runtime: %s",
	       err_msg(why ? why : &err));
}

/* What the pod says of how it is kept apart from the machine is kept, or it does not run. False: it does not yet. */
static bool kept_apart(struct kl_worker *w)
{
	static const struct client_kind classes = { SPAN_INIT("node.k8s.io"), SPAN_INIT("v1"), SPAN_INIT("runtimeclasses"), false };
	const struct api_core_pod_spec *s = &w->pod->object->pod.spec;
	auto_buf struct buf path = {};
	if (s->has_host_users && !s->host_users) {
		refuse(w, "FailedCreatePodSandBox",
		       "Failed to create pod sandbox: can't set `spec.hostUsers: false`, runtime does not support user namespaces");
		return false;
	}
	if (s->resource_claims.n) {
		refuse(w, "FailedPrepareDynamicResources", "Failed to prepare dynamic resources: this kubelet has no dynamic resources");
		return false;
	}
	if (!s->runtime_class_name.len || w->handler)
		return true;
	if (!w->pod->k->client) {
		refuse(w, "FailedCreatePodSandBox", "Failed to create pod sandbox: failed to get sandbox runtime: RuntimeClass \"%.*s\" "
		       "cannot be read without an API server", SPAN_ARG(s->runtime_class_name));
		return false;
	}
	client_path(&path, &classes, SPAN_EMPTY, s->runtime_class_name, NULL);
	w->class_call = client_send(w->pod->k->client, &(struct client_request){ .method = "GET", .path = buf_span(&path),
				    .done = on_class, .arg = w });
	return false;
}

void kl_sandbox_make(struct kl_worker *w, uint32_t attempt)
{
	struct kl_pod *p = w->pod;
	auto_arena struct arena a = {};
	auto_buf struct buf resolv = {}, dir = {};
	auto_err struct err err = ERR_INIT;
	struct api_cri_run_pod_sandbox_request q = {};
	struct api_cri_dns_config dns;
	struct api_cri_pod_sandbox_config config;
	bool fallback;
	if (!kl_node_network_ready(p->k) && !p->object->pod.spec.host_network) {
		auto_buf struct buf reason = {};
		kl_node_network_words(p->k, &reason);
		kl_pod_event(p, SPAN_EMPTY, "Warning", "NetworkNotReady", "network is not ready: %s", buf_cstr(&reason));
		w->sandbox_retry_ns = loop_wall_ns(p->k->loop) + 2 * NS_PER_S; /* the node's part wakes all pods when it is */
		kl_worker_wake(w);
		return;
	}
	if (!kept_apart(w))
		return;
	kl_pod_log_dir(&dir, p);
	if (io_mkdirs(AT_FDCWD, buf_cstr(&dir), 0755, &err) < 0) {
		kl_pod_event(p, SPAN_EMPTY, "Warning", "FailedCreatePodSandBox",
			     "Failed to create pod sandbox: create pod log directory for pod: %s", err_msg(&err));
		w->sandbox_retry_ns = loop_wall_ns(p->k->loop) + RETRY_NS;
		kl_worker_wake(w);
		return;
	}
	if (!kl_cgroup_make(w))
		return;
	kl_sandbox_config(&a, p, attempt, w->cgroup, &config);
	(void)io_read_file(AT_FDCWD, p->k->o->resolv_conf.ptr, &resolv, 1 << 16, NULL);
	kl_pod_dns(&a, p, buf_span(&resolv), &dns, &fallback);
	if (fallback)
		kl_pod_event(p, SPAN_EMPTY, "Warning", "MissingClusterDNS",
			     "pod: \"%.*s_%.*s(%.*s)\". kubelet does not have ClusterDNS IP configured and cannot create Pod using \"%.*s\" "
			     "policy. Falling back to \"Default\" policy.", SPAN_ARG(p->name), SPAN_ARG(p->ns), SPAN_ARG(p->uid),
			     SPAN_ARG(p->object->pod.spec.dns_policy));
	config.dns_config = &dns;
	q.config = &config;
	q.runtime_handler = span_of(w->handler);
	w->making = true;
	log_debug("making a sandbox", kv_span("pod", p->name), kv_u64("attempt", attempt));
	FAILPOINT("kubelet.sandbox.ask");
	w->sandbox_call = kubelet_cri_run_pod_sandbox(p->k->cri, &q, on_made, w);
}

static void on_stopped(const struct err *why, const void *reply, void *arg)
{
	struct kl_worker *w = arg;
	if (why && why->class != ERR_NOT_FOUND) {
		kl_pod_event(w->pod, SPAN_EMPTY, "Warning", "FailedKillPod",
			     "error killing pod: failed to \"KillPodSandbox\" for \"%.*s\" with KillPodSandboxError: \"%s\"",
			     SPAN_ARG(w->pod->uid), err_msg(why));
		over(w, true);
		return;
	}
	FAILPOINT("kubelet.sandbox.stopped");
	/* What the runtime then says of it counts. */
	struct span id = w->sandbox_id;
	w->sandbox_id = SPAN_EMPTY;
	look(w, id);
	free((char *)id.ptr);
}

void kl_sandbox_stop(struct kl_worker *w, const struct kl_sandbox *s)
{
	struct api_cri_stop_pod_sandbox_request q = { .pod_sandbox_id = s->id };
	w->sandbox_id = span_make(mem_dup(s->id.ptr, s->id.len), s->id.len);
	w->sandbox_call = kubelet_cri_stop_pod_sandbox(w->pod->k->cri, &q, on_stopped, w);
}

/* ---- what is dead */

struct removal {
	struct kl *k;
	bool sandbox;
	char uid[64];
	char id[];
};

static void on_removed(const struct err *why, const void *reply, void *arg)
{
	struct removal *r = arg;
	struct kl_pod *p = map_get(&r->k->pods, span_of(r->uid));
	if (p && p->worker) {
		p->worker->removals--;
		if (r->sandbox)
			FAILPOINT("kubelet.sandbox.removed");
		else
			FAILPOINT("kubelet.container.removed");
		if (!why || why->class == ERR_NOT_FOUND) {
			struct kl_container *c = (struct kl_container *)kl_pod_container_id(p, span_of(r->id));
			if (c) {
				kl_log_remove(c->log_path);
				kl_container_drop(c);
			}
			LIST_EACH(&p->sandboxes, s, struct kl_sandbox, link)
				if (r->sandbox && span_is(s->id, r->id))
					kl_sandbox_drop(s);
		} else {
			log_warn("the runtime does not remove", kv_str("id", r->id), kv_err(why));
			loop_timer_start(&p->worker->timer, 5000);
		}
		if (p->worker->removals == 0 && (!why || why->class == ERR_NOT_FOUND))
			kl_worker_wake(p->worker);
	}
	free(r);
}

static struct removal *removal(struct kl_worker *w, struct span id, bool sandbox)
{
	struct removal *r = mem_zalloc(sizeof(*r) + id.len + 1);
	r->k = w->pod->k;
	r->sandbox = sandbox;
	(void)snprintf(r->uid, sizeof(r->uid), "%.*s", SPAN_ARG(w->pod->uid));
	memcpy(r->id, id.ptr, id.len);
	w->removals++;
	return r;
}

void kl_sweep(struct kl_worker *w, bool all)
{
	struct kl_pod *p = w->pod;
	const struct kl_container *dead[64];
	unsigned n = 0;
	if (w->removals)
		return; /* one round at a time */
	if (!all)
		n = kl_plan_garbage(p, w->stage == KL_ENDED, dead, ARRAY_LEN(dead));
	LIST_EACH(&p->containers, c, struct kl_container, link)
		if (all && n < ARRAY_LEN(dead) && c->state != KL_RUNNING)
			dead[n++] = c;
	for (unsigned i = 0; i < n; i++) {
		struct api_cri_remove_container_request q = { .container_id = dead[i]->id };
		if (!all && kl_pod_container(p, dead[i]->name, false) == dead[i] && dead[i]->state == KL_CREATED)
			continue;
		(void)kubelet_cri_remove_container(p->k->cri, &q, on_removed, removal(w, dead[i]->id, false));
	}
	if (n)
		return; /* sandboxes follow their containers */
	LIST_EACH(&p->sandboxes, s, struct kl_sandbox, link) {
		bool used = false;
		LIST_EACH(&p->containers, c, struct kl_container, link)
			used |= span_eq(c->sandbox, s->id);
		/* The newest one holds the addresses that the status tells. */
		if (s->ready || used || (!all && LIST_FIRST(&p->sandboxes, struct kl_sandbox, link) == s))
			continue;
		struct api_cri_remove_pod_sandbox_request q = { .pod_sandbox_id = s->id };
		(void)kubelet_cri_remove_pod_sandbox(p->k->cri, &q, on_removed, removal(w, s->id, true));
	}
}
