/* Stopping one container: preStop with as much of the grace period as it takes, then StopContainer with the rest (2 s at least),
 * then its state. A later wish with less time overtakes: the call is made again with what is left. */
#include "kubelet/action.h"
#include "kubelet/worker.h"

#define LEAST_S 2
#define AGAIN_MS 1000

struct kl_stop {
	struct list link;
	struct kl_worker *w;
	char *id, *name;   /* owned */
	int64_t grace_s, deadline_ms; /* of the loop's clock */
	struct kl_action *hook;
	struct kubelet_cri_call *call;
	struct loop_timer timer; /* the hook may take the grace period and no longer */
	bool busy_item;
};

static struct kl_item *item_of(const struct kl_stop *s)
{
	struct kl_pod *p = s->w->pod;
	int i = p->object ? kl_spec_find(&p->object->pod.spec, span_of(s->name)) : -1;
	return i < 0 ? NULL : &p->items[i];
}

static void stop_free(struct kl_stop *s)
{
	struct kl_item *it = item_of(s);
	if (it && s->busy_item)
		it->busy = false;
	if (s->hook)
		kl_action_cancel(s->hook);
	if (s->call)
		kubelet_cri_cancel(s->call);
	loop_timer_stop(&s->timer);
	list_remove(&s->link);
	free(s->id);
	free(s->name);
	free(s);
}

void kl_stops_free(struct kl_worker *w)
{
	LIST_EACH(&w->stops, s, struct kl_stop, link)
		stop_free(s);
}

static void end(struct kl_stop *s)
{
	struct kl_worker *w = s->w;
	stop_free(s);
	kl_worker_wake(w);
}

static void on_again(struct loop_timer *t);

static void again_later(struct kl_stop *s)
{
	s->timer.fn = on_again;
	loop_timer_start(&s->timer, AGAIN_MS);
}

static void on_status(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_container_status_response *r = reply;
	struct kl_stop *s = arg;
	struct kl_pod *p = s->w->pod;
	s->call = NULL;
	if (!why && r->status)
		(void)kl_container_put(p, r->status, SPAN_EMPTY);
	bool runs = !why && (!r->status || r->status->state == KL_RUNNING || r->status->state == KL_UNKNOWN);
	if (runs || (why && why->class != ERR_NOT_FOUND)) {
		/* Whoever asked for the stop would ask again at once. */
		log_warn("a container that was stopped is not known to have ended", kv_str("id", s->id),
			 kv_str("why", why ? err_msg(why) : "the runtime says that it runs"));
		again_later(s);
		return;
	}
	if (why && why->class == ERR_NOT_FOUND) {
		struct kl_container *c = (struct kl_container *)kl_pod_container_id(p, span_of(s->id));
		if (c)
			kl_container_drop(c);
	}
	end(s);
}

static void look(struct kl_stop *s)
{
	struct api_cri_container_status_request q = { .container_id = span_of(s->id) };
	s->call = kubelet_cri_container_status(s->w->pod->k->cri, &q, on_status, s);
}

static void stop_send(struct kl_stop *s);

static void on_stopped(const struct err *why, const void *reply, void *arg)
{
	struct kl_stop *s = arg;
	s->call = NULL;
	if (why && why->class != ERR_NOT_FOUND) {
		kl_pod_event(s->w->pod, span_of(s->name), "Warning", "FailedKillPod",
			     "error killing pod: failed to \"KillContainer\" for \"%s\" "
			     "with KillContainerError: \"%s\"", s->name, err_msg(why));
		again_later(s);
		return;
	}
	FAILPOINT("kubelet.stop.stopped");
	look(s);
}

static void on_again(struct loop_timer *t)
{
	stop_send(container_of(t, struct kl_stop, timer));
}

static void stop_send(struct kl_stop *s)
{
	int64_t left_s = (s->deadline_ms - loop_now_ms(s->w->pod->k->loop) + 999) / 1000;
	struct api_cri_stop_container_request q = { .container_id = span_of(s->id) };
	q.timeout = s->grace_s <= LEAST_S ? MAX(s->grace_s, 0) : MAX(left_s, LEAST_S);
	FAILPOINT("kubelet.stop.ask");
	loop_timer_stop(&s->timer);
	s->call = kubelet_cri_stop_container(s->w->pod->k->cri, &q, on_stopped, s);
}

static void on_hook(enum kl_result result, struct span message, void *arg)
{
	struct kl_stop *s = arg;
	FAILPOINT("kubelet.stop.hooked");
	s->hook = NULL;
	if (result != KL_SUCCESS)
		kl_pod_event(s->w->pod, span_of(s->name), "Warning", "FailedPreStopHook", "PreStopHook failed");
	stop_send(s);
}

static void on_hook_late(struct loop_timer *t)
{
	struct kl_stop *s = container_of(t, struct kl_stop, timer);
	kl_action_cancel(s->hook);
	s->hook = NULL;
	stop_send(s);
}

static void shorten(struct kl_stop *s, int64_t grace_s)
{
	int64_t deadline_ms = loop_now_ms(s->w->pod->k->loop) + grace_s * 1000;
	if (deadline_ms >= s->deadline_ms - 500)
		return;
	s->deadline_ms = deadline_ms;
	s->grace_s = grace_s;
	if (s->hook) {
		loop_timer_start(&s->timer, grace_s * 1000);
	} else if (s->call) {
		kubelet_cri_cancel(s->call);
		stop_send(s);
	}
}

void kl_stop_begin(struct kl_worker *w, const struct kl_kill *kill, int64_t grace_s)
{
	struct kl_pod *p = w->pod;
	const struct kl_container *c = kill->container;
	grace_s = MIN(grace_s, KL_SECONDS_MAX); /* a probe may have its own */
	LIST_EACH(&w->stops, o, struct kl_stop, link)
		if (span_is(c->id, o->id)) {
			shorten(o, grace_s);
			return;
		}
	struct kl_stop *s = mem_new(struct kl_stop);
	s->w = w;
	s->id = mem_dup(c->id.ptr, c->id.len);
	s->name = mem_dup(c->name.ptr, c->name.len);
	s->grace_s = grace_s;
	s->deadline_ms = loop_now_ms(p->k->loop) + grace_s * 1000;
	loop_timer_init(&s->timer, p->k->loop, "preStop", on_hook_late);
	list_push(&w->stops, &s->link);
	const struct api_core_container *spec = kill->index >= 0 ? kl_spec_container(&p->object->pod.spec, (unsigned)kill->index,
										     NULL) : NULL;
	if (kill->index >= 0 && !p->items[kill->index].busy) {
		p->items[kill->index].busy = true;
		s->busy_item = true;
	}
	if (kill->message.len)
		kl_pod_event(p, c->name, "Normal", "Killing", "%.*s", SPAN_ARG(kill->message));
	else
		kl_pod_event(p, c->name, "Normal", "Killing", "Stopping container %.*s", SPAN_ARG(c->name));
	const struct api_core_lifecycle_handler *hook = spec && spec->lifecycle ? spec->lifecycle->pre_stop : NULL;
	if (!hook || grace_s <= 0 || c->state != KL_RUNNING) {
		stop_send(s);
		return;
	}
	unsigned timeout_ms = (unsigned)MIN(grace_s * 1000 + 1000, INT64_C(86400000));
	struct kl_action_params ap = { .pod = p, .container = spec, .id = span_of(s->id), .exec = hook->exec,
				       .http_get = hook->http_get,
				       .tcp_socket = hook->tcp_socket, .sleep = hook->sleep,
				       .timeout_ms = timeout_ms, .done = on_hook, .arg = s };
	s->hook = kl_action_begin(&ap);
	loop_timer_start(&s->timer, grace_s * 1000);
}
