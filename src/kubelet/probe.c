/* One struct a probe of a running container. It begins when the record says that the container runs, and ends with it.
 *
 * Upstream's rules (prober/worker.go): the first result comes after initialDelaySeconds; liveness and readiness wait until the
 * startup probe has succeeded; a result counts from the threshold on; a liveness probe that fails stops until the container was
 * restarted; at the first moment readiness is false, liveness true. Upstream spreads probes of a restarted kubelet over one
 * period by chance; here the first one comes at once, because a loop that has nothing to do can bear it. */
#include "kubelet/probe.h"
#include "kubelet/action.h"

#include "tls/tls.h"

enum what { STARTUP, LIVENESS, READINESS };
static const char *const names[] = { "Startup", "Liveness", "Readiness" };

struct probe {
	struct list link; /* kl_worker.probes */
	struct kl_worker *w;
	struct kl_object *object; /* owned reference: where spec lies */
	const struct api_core_container *spec;
	const struct api_core_probe *p;
	enum what what;
	char *id;         /* owned; of the container */
	struct loop_timer timer;
	struct kl_action *action;
	int64_t began_ms;
	int last, run;    /* result, how often in a row; -1: none yet */
	bool held, seen;  /* held: no result is wanted any more */
};

static void on_timer(struct loop_timer *t);

static struct kl_item *item_of(const struct probe *b)
{
	struct kl_pod *p = b->w->pod;
	int i = p->object ? kl_spec_find(&p->object->pod.spec, b->spec->name) : -1;
	return i < 0 ? NULL : &p->items[i];
}

static void probe_free(struct probe *b)
{
	if (b->action)
		kl_action_cancel(b->action);
	loop_timer_stop(&b->timer);
	list_remove(&b->link);
	kl_object_unref(b->object);
	free(b->id);
	free(b);
}

static void again(struct probe *b)
{
	if (!b->held)
		loop_timer_start(&b->timer, MAX(b->p->period_seconds, 1) * INT64_C(1000));
}

static void settle(struct probe *b, bool good)
{
	struct kl_item *it = item_of(b);
	if (!it)
		return;
	bool changed = false;
	switch (b->what) {
	case STARTUP:
		changed = good ? !it->started : !it->startup_failed;
		if (good && changed) {
			it->started = true;
			it->ready = !b->spec->readiness_probe;
		}
		it->startup_failed = !good;
		b->held = true; /* either way its work is done */
		break;
	case LIVENESS:
		changed = it->liveness_failed == good;
		it->liveness_failed = !good;
		b->held |= !good;
		break;
	case READINESS:
		changed = it->ready != good;
		it->ready = good;
		break;
	}
	if (changed)
		kl_worker_wake(b->w);
}

static void on_result(enum kl_result result, struct span message, void *arg)
{
	struct probe *b = arg;
	struct kl_pod *pod = b->w->pod;
	b->action = NULL;
	if (result == KL_UNKNOWN_RESULT) {
		kl_pod_event(pod, b->spec->name, "Warning", "ProbeError", "%s probe errored and resulted in unknown state: %.*s",
			     names[b->what], SPAN_ARG(message));
		again(b);
		return;
	}
	bool good = result == KL_SUCCESS;
	if (!good)
		kl_pod_event(pod, b->spec->name, "Warning", "Unhealthy", "%s probe failed: %.*s", names[b->what], SPAN_ARG(message));
	b->run = b->last == (int)good ? b->run + 1 : 1;
	b->last = good;
	if (b->run >= (good ? MAX(b->p->success_threshold, 1) : MAX(b->p->failure_threshold, 1)))
		settle(b, good);
	again(b);
}

static void on_timer(struct loop_timer *t)
{
	struct probe *b = container_of(t, struct probe, timer);
	const struct kl_item *it = item_of(b);
	if (!it || b->action || b->held)
		return;
	unsigned timeout_s = (unsigned)MIN(MAX(b->p->timeout_seconds, 1), UINT16_MAX); /* in ms an unsigned would not hold all */
	struct kl_action_params ap = { .pod = b->w->pod, .container = b->spec, .id = span_of(b->id), .exec = b->p->exec,
				       .http_get = b->p->http_get, .tcp_socket = b->p->tcp_socket, .grpc = b->p->grpc,
				       .timeout_ms = timeout_s * 1000, .probe = true,
				       .done = on_result, .arg = b };
	b->action = kl_action_begin(&ap);
}

static void begin(struct kl_worker *w, unsigned i, const struct kl_container *c, enum what what, const struct api_core_probe *p)
{
	struct loop *l = w->pod->k->loop;
	LIST_EACH(&w->probes, b, struct probe, link)
		if (b->what == what && span_is(c->id, b->id)) {
			b->seen = true;
			return;
		}
	struct probe *b = mem_new(struct probe);
	*b = (struct probe){ .w = w, .object = kl_object_ref(w->pod->object), .what = what, .p = p, .last = -1, .seen = true };
	b->spec = kl_spec_container(&w->pod->object->pod.spec, i, NULL);
	b->id = mem_dup(c->id.ptr, c->id.len);
	int64_t ran_ms = (loop_wall_ns(l) - c->started_ns) / NS_PER_MS;
	b->began_ms = loop_now_ms(l) - MAX(ran_ms, 0);
	loop_timer_init(&b->timer, l, "probe", on_timer);
	list_push(&w->probes, &b->link);
	int64_t wait_ms = p->initial_delay_seconds * INT64_C(1000) - MAX(ran_ms, 0);
	loop_timer_start(&b->timer, MAX(wait_ms, 0));
}

/* A kubelet that was started anew finds containers running whose probes succeeded before: what the API was told holds until
 * the first result. */
static void take_up(struct kl_worker *w, unsigned i, const struct api_core_container *spec, const struct kl_container *c)
{
	struct kl_item *it = &w->pod->items[i];
	const struct api_core_pod_status *st = &w->pod->object->pod.status;
	if (it->busy || it->started)
		return;
	bool known = false, was_started = false, was_ready = false;
	const struct api_core_container_status *lists[] = { st->container_statuses.ptr, st->init_container_statuses.ptr };
	const uint32_t n[] = { st->container_statuses.n, st->init_container_statuses.n };
	for (size_t l = 0; l < ARRAY_LEN(lists); l++)
		for (uint32_t k = 0; k < n[l]; k++)
			if (span_eq(lists[l][k].name, spec->name) && span_ends(lists[l][k].container_id, c->id)) {
				known = true;
				was_started = lists[l][k].started;
				was_ready = lists[l][k].ready;
			}
	it->started = !spec->startup_probe || (known && was_started);
	it->ready = it->started && (!spec->readiness_probe || (known && was_ready));
}

void kl_probes_look(struct kl_worker *w)
{
	struct kl_pod *p = w->pod;
	bool began = !list_empty(&w->probes);
	LIST_EACH(&w->probes, b, struct probe, link)
		b->seen = false;
	for (unsigned i = 0; i < p->n_items; i++) {
		enum kl_container_kind kind;
		const struct api_core_container *spec = kl_spec_container(&p->object->pod.spec, i, &kind);
		const struct kl_container *c = kl_pod_container(p, spec->name, false);
		if (!c || c->state != KL_RUNNING)
			continue;
		bool was_started = p->items[i].started, was_ready = p->items[i].ready;
		take_up(w, i, spec, c);
		if (was_started != p->items[i].started || was_ready != p->items[i].ready)
			kl_worker_wake(w);
		if (kind == KL_EPHEMERAL || (kind == KL_INIT && !kl_is_sidecar(spec, kind)))
			continue;
		/* The record may be here before the start that it belongs to has said so: then nothing is started yet. */
		bool started = p->items[i].started;
		if (!started && !p->items[i].busy && spec->startup_probe)
			begin(w, i, c, STARTUP, spec->startup_probe);
		if (started && spec->liveness_probe)
			begin(w, i, c, LIVENESS, spec->liveness_probe);
		if (started && spec->readiness_probe)
			begin(w, i, c, READINESS, spec->readiness_probe);
	}
	LIST_EACH(&w->probes, b, struct probe, link)
		if (began && !b->seen)
			probe_free(b);
}

void kl_probes_end(struct kl_worker *w)
{
	struct kl_pod *p = w->pod;
	LIST_EACH(&w->probes, b, struct probe, link) {
		const struct kl_container *c = kl_pod_container_id(p, span_of(b->id));
		if (b->what != READINESS || !c || c->state != KL_RUNNING)
			probe_free(b);
	}
}

void kl_probes_free(struct kl_worker *w)
{
	LIST_EACH(&w->probes, b, struct probe, link)
		probe_free(b);
}

struct tls_ctx *kl_probe_tls(struct kl *k, struct err *err)
{
	if (!k->probe_tls)
		(void)tls_client_new(&(struct tls_client_params){ .insecure = true }, &k->probe_tls, err);
	return k->probe_tls;
}
