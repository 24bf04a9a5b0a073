/* Statuses of pods to the API: a patch that holds what differs from what the server has, one at a time a pod, and none when
 * nothing differs. A pod that is quickly up is not told as Pending first: the first word waits 20 ms for a better one. */
#include "kubelet/status.h"
#include "kubelet/worker.h"

#define FIRST_WAIT_MS 20

static const struct client_kind pods = { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("pods"), true };

static struct span api_uid(const struct kl_pod *p)
{
	return p->is_static ? p->mirror_uid : p->uid;
}

static void keep_reported(struct kl_worker *w, const struct json *object)
{
	auto_buf struct buf text = {};
	int64_t rv = 0;
	const struct json *status = json_getl(object, "status");
	(void)span_to_i64(json_span(json_path(object, "metadata", "resourceVersion", NULL)), &rv);
	if (w->reported && rv < w->reported_rv)
		return;
	json_write(&text, json_is(status, JSON_OBJECT) ? status : &(struct json){ .kind = JSON_OBJECT }, 0);
	bytes_unref(w->reported);
	w->reported = bytes_of(buf_span(&text));
	w->reported_rv = rv;
}

void kl_report_seen(struct kl_worker *w)
{
	auto_arena struct arena a = {};
	struct json object;
	if (w->report_call || w->pod->is_static)
		return; /* the answer says it better */
	if (json_parse(&a, bytes_span(w->pod->object->json), JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &object, NULL) == 0)
		keep_reported(w, &object);
}

static void make(const struct kl_worker *w, struct arena *a, const struct json *old, struct json *out)
{
	const struct kl_pod *p = w->pod;
	const struct kl_status_in in = { .pod = p, .old = old, .now_s = kl_now_s(p->k), .start_s = w->start_s,
					 .over = w->over && w->stage == KL_ENDED, .initialized = w->initialized, .reason = w->reason,
					 .refused = w->refused,
					 .message = w->message, .runtime = p->k->runtime_name };
	kl_status_make(a, &in, out);
}

static bool read_reported(const struct kl_worker *w, struct arena *a, struct json *out)
{
	*out = json_object();
	return w->reported && json_parse(a, bytes_span(w->reported), JSON_BORROW, NULL, out, NULL) == 0;
}

void kl_pod_write(struct buf *out, const struct kl_pod *p)
{
	auto_arena struct arena a = {};
	struct json object, old, status;
	if (!p->object || !p->worker ||
	    json_parse(&a, bytes_span(p->object->json), JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &object, NULL) < 0) {
		buf_str(out, "{}");
		return;
	}
	(void)read_reported(p->worker, &a, &old);
	make(p->worker, &a, &old, &status);
	(void)json_setl(&a, &object, "status", status);
	json_write(out, &object, 0);
}

static void on_written(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct kl_worker *w = arg;
	auto_arena struct arena a = {};
	struct json object;
	FAILPOINT("kubelet.status.written");
	w->report_call = NULL;
	if (!why) {
		w->report_failures = 0;
		w->report_retry_ms = 0;
		if (json_parse(&a, body, JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &object, NULL) == 0)
			keep_reported(w, &object);
	} else if (why->class == ERR_NOT_FOUND) {
		log_debug("a status had no pod any more", kv_span("pod", w->pod->name));
	} else {
		unsigned times = MIN(w->report_failures, 10u);
		int64_t wait_ms = MIN(INT64_C(100) << times, 10000);
		w->report_failures++;
		w->report_retry_ms = loop_now_ms(w->pod->k->loop) + wait_ms;
		log_warn("a status could not be written", kv_span("pod", w->pod->name), kv_span("namespace", w->pod->ns), kv_err(why));
		loop_timer_start(&w->report_timer, wait_ms);
	}
	kl_worker_wake(w);
}

/* The first word about a new pod waits a moment: true, and the timer runs. */
static bool can_wait(struct kl_worker *w, const struct json *old, const struct json *status)
{
	bool first = !json_getl(old, "startTime");
	if (!first || !span_is(json_span(json_getl(status, "phase")), "Pending") || w->stage != KL_LIVE)
		return false;
	if (w->first_waited)
		return loop_timer_running(&w->report_timer);
	w->first_waited = true;
	loop_timer_start(&w->report_timer, FIRST_WAIT_MS);
	return true;
}

void kl_report(struct kl_worker *w)
{
	struct kl_pod *p = w->pod;
	auto_arena struct arena a = {};
	struct json old, status, diff, body = json_object(), meta = json_object();
	if (w->report_call || w->gone || w->deleted || w->stage == KL_NEW || !p->object || !p->k->client || !api_uid(p).len)
		return;
	int64_t late_ms = w->report_retry_ms - loop_now_ms(p->k->loop);
	if (late_ms > 0) {
		if (!loop_timer_running(&w->report_timer)) /* whatever stopped it, this is not forgotten */
			loop_timer_start(&w->report_timer, late_ms);
		return;
	}
	if (!w->reported)
		kl_report_seen(w);
	int64_t hold_ms = w->stage == KL_LIVE ? kl_starts_hold_ms(w) : 0;
	if (hold_ms > 0) {
		if (!loop_timer_running(&w->report_timer))
			loop_timer_start(&w->report_timer, hold_ms);
		return;
	}
	(void)read_reported(w, &a, &old);
	make(w, &a, &old, &status);
	if (!kl_status_diff(&a, &old, &status, &diff) || can_wait(w, &old, &status))
		return;
	auto_buf struct buf path = {}, text = {};
	(void)json_setl(&a, &meta, "uid", json_str(api_uid(p)));
	(void)json_setl(&a, &body, "metadata", meta);
	(void)json_setl(&a, &body, "status", diff);
	json_write(&text, &body, 0);
	client_path(&path, &pods, p->ns, p->name, "status");
	/* What the server takes and does not keep would be sent for ever. */
	uint64_t hash = span_hash(buf_span(&text));
	if (hash == w->last_patch && w->last_patch_ns + 10 * NS_PER_S > loop_wall_ns(p->k->loop) && !w->report_failures) {
		log_debug("a status that the server does not keep", kv_span("pod", p->name), kv_span("patch", buf_span(&text)));
		return;
	}
	w->last_patch = hash;
	w->last_patch_ns = loop_wall_ns(p->k->loop);
	loop_timer_stop(&w->report_timer);
	log_debug("status", kv_span("pod", p->name), kv_span("patch", buf_span(&text)));
	w->report_call = client_send(p->k->client, &(struct client_request){ .method = "PATCH", .path = buf_span(&path),
				     .body = buf_span(&text), .content_type = CLIENT_STRATEGIC_PATCH, .done = on_written, .arg = w });
}

static void on_deleted(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct kl_worker *w = arg;
	FAILPOINT("kubelet.pod.deleted");
	w->delete_call = NULL;
	if (why && why->class != ERR_NOT_FOUND && why->class != ERR_STALE) {
		w->deleted = false;
		log_warn("a pod could not be deleted", kv_span("pod", w->pod->name), kv_err(why));
		loop_timer_start(&w->timer, 1000);
	}
	kl_worker_wake(w);
}

void kl_report_end(struct kl_worker *w)
{
	struct kl_pod *p = w->pod;
	auto_arena struct arena a = {};
	auto_buf struct buf path = {}, text = {};
	struct json old, status, diff;
	if (w->deleted || w->delete_call || w->report_call || !p->k->client || !api_uid(p).len)
		return;
	(void)read_reported(w, &a, &old);
	make(w, &a, &old, &status);
	if (kl_status_diff(&a, &old, &status, &diff) && w->report_failures < 3) {
		kl_report(w); /* the last status first */
		if (w->report_call || w->report_failures)
			return;
	}
	client_path(&path, &pods, p->ns, p->name, NULL);
	buf_printf(&text,
		   "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"gracePeriodSeconds\":0,\"preconditions\":{\"uid\":\"%.*s\"}}",
		   SPAN_ARG(api_uid(p)));
	FAILPOINT("kubelet.pod.delete");
	w->deleted = true;
	w->delete_call = client_send(p->k->client, &(struct client_request){ .method = "DELETE", .path = buf_span(&path),
				     .body = buf_span(&text), .done = on_deleted, .arg = w });
}

void kl_report_free(struct kl_worker *w)
{
	if (w->report_call)
		client_cancel(w->report_call);
	if (w->delete_call)
		client_cancel(w->delete_call);
	bytes_unref(w->reported);
}
