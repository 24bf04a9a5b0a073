/* The machine of one pod: see worker.h for its states. */
#include "kubelet/worker.h"

#include "kubelet/image.h"
#include "kubelet/node.h"
#include "kubelet/probe.h"
#include "kubelet/files.h"
#include "kubelet/serving.h"
#include "kubelet/sources.h"
#include "kubelet/volume.h"

#include <fcntl.h>
#include <sys/stat.h>

#define SANDBOX_RETRY_NS (1 * NS_PER_S)

static void step(struct loop_task *t);

void kl_worker_wake(struct kl_worker *w)
{
	if (!w->pod->k->stopping)
		loop_defer(w->pod->k->loop, &w->step);
}

void kl_pod_wake(struct kl_pod *p)
{
	if (p->worker)
		kl_worker_wake(p->worker);
}

static void on_timer(struct loop_timer *t)
{
	kl_worker_wake(container_of(t, struct kl_worker, timer));
}

static void on_report_timer(struct loop_timer *t)
{
	kl_report(container_of(t, struct kl_worker, report_timer));
}

void kl_worker_new(struct kl_pod *p)
{
	struct kl_worker *w = mem_new(struct kl_worker);
	w->pod = p;
	p->worker = w;
	loop_task_init(&w->step, step);
	loop_timer_init(&w->timer, p->k->loop, "pod", on_timer);
	loop_timer_init(&w->report_timer, p->k->loop, "pod status", on_report_timer);
	list_init(&w->starts);
	list_init(&w->stops);
	list_init(&w->probes);
	w->start_s = kl_now_s(p->k);
	kl_worker_wake(w);
}

void kl_worker_free(struct kl_worker *w)
{
	loop_task_cancel(&w->step);
	loop_timer_stop(&w->timer);
	loop_timer_stop(&w->report_timer);
	kl_probes_free(w);
	kl_starts_cancel(w, true);
	kl_stops_free(w);
	kl_report_free(w);
	if (w->sandbox_call)
		kubelet_cri_cancel(w->sandbox_call);
	if (w->class_call)
		client_cancel(w->class_call);
	free(w->handler);
	if (w->pod->volumes)
		kl_volumes_leave(w->pod->volumes);
	w->pod->volumes = NULL;
	free(w->reason);
	free(w->message);
	free((char *)w->cgroup.ptr);
	free((char *)w->sandbox_id.ptr);
	w->pod->worker = NULL;
	free(w);
}

void kl_worker_fail(struct kl_worker *w, const char *reason, struct span message)
{
	if (w->reason)
		return;
	w->reason = mem_dup(reason, strlen(reason));
	w->message = mem_dup(message.ptr, message.len);
	if (w->stage < KL_ENDING)
		w->stage = KL_ENDING;
	kl_worker_wake(w);
}

void kl_worker_gone(struct kl_worker *w)
{
	w->gone = true;
	kl_worker_wake(w);
}

int64_t kl_worker_grace(const struct kl_worker *w)
{
	const struct api_core_pod *pod = w->pod->object ? &w->pod->object->pod : NULL;
	int64_t grace = pod ? 30 : 1; /* of one that is gone from the API nobody waits for the end, as with the published kubelet */
	if (pod && pod->metadata.deletion_timestamp.set && pod->metadata.has_deletion_grace_period_seconds)
		grace = pod->metadata.deletion_grace_period_seconds;
	else if (pod && pod->spec.has_termination_grace_period_seconds)
		grace = pod->spec.termination_grace_period_seconds;
	return MIN(MAX(grace, 1), KL_SECONDS_MAX);
}

static void wake_at(struct kl_worker *w, int64_t wall_ns)
{
	if (!wall_ns)
		return;
	int64_t delay_ms = (wall_ns - loop_wall_ns(w->pod->k->loop)) / NS_PER_MS + 1;
	delay_ms = MAX(delay_ms, 0);
	if (!loop_timer_running(&w->timer) || w->timer.due_ms > loop_now_ms(w->pod->k->loop) + delay_ms)
		loop_timer_start(&w->timer, delay_ms);
}

/* ---- live */

/* Records of containers tell whether they run: items that depend on that are brought into line. */
static void settle_items(struct kl_worker *w)
{
	struct kl_pod *p = w->pod;
	for (unsigned i = 0; i < p->n_items; i++) {
		enum kl_container_kind kind;
		const struct api_core_container *spec = kl_spec_container(&p->object->pod.spec, i, &kind);
		const struct kl_container *c = kl_pod_container(p, spec->name, false);
		struct kl_item *it = &p->items[i];
		if (!c || c->state != KL_RUNNING) {
			it->started = it->ready = it->liveness_failed = it->startup_failed = false;
			it->hooked = it->hooked && it->busy; /* else its hook failed, and it is stopped now */
			continue;
		}
		if (!it->hooked)
			kl_item_waiting(it, NULL, SPAN_EMPTY);
		it->retry_ns = 0;
	}
	LIST_EACH(&p->containers, c, struct kl_container, link)
		if (c->state == KL_EXITED && !c->said)
			kl_message_read(p, c);
}

static void tell_back_off(struct kl_worker *w, unsigned index)
{
	struct kl_pod *p = w->pod;
	struct kl_item *it = &p->items[index];
	auto_arena struct arena a = {};
	const struct api_core_container *c = kl_spec_container(&p->object->pod.spec, index, NULL);
	if (it->waiting && strcmp(it->waiting, "CrashLoopBackOff") == 0)
		return;
	kl_pod_event(p, c->name, "Warning", "BackOff", "Back-off restarting failed container %.*s in pod %.*s_%.*s(%.*s)",
		     SPAN_ARG(c->name), SPAN_ARG(p->name), SPAN_ARG(p->ns), SPAN_ARG(p->uid));
	auto_buf struct buf length = {};
	api_duration_print(&length, it->backoff_ms * NS_PER_MS);
	kl_item_waiting(it, "CrashLoopBackOff",
			arena_printf(&a, "back-off %s restarting failed container=%.*s pod=%.*s_%.*s(%.*s)", buf_cstr(&length),
				     SPAN_ARG(c->name), SPAN_ARG(p->name), SPAN_ARG(p->ns), SPAN_ARG(p->uid)));
}

/* Everything of the pod is stopped, in order; true: there is nothing left to stop. */
static bool stop_all(struct kl_worker *w, struct arena *a, int64_t grace_s)
{
	struct kl_end end;
	kl_starts_cancel(w, false);
	kl_plan_end(a, w->pod, &end);
	for (unsigned i = 0; i < end.n_kill; i++)
		kl_stop_begin(w, &end.kill[i], end.kill[i].grace_s >= 0 ? end.kill[i].grace_s : grace_s);
	if (!list_empty(&w->starts) || !list_empty(&w->stops) || kl_sandbox_busy(w))
		return false;
	if (end.sandbox && w->sandbox_retry_ns > loop_wall_ns(w->pod->k->loop))
		wake_at(w, w->sandbox_retry_ns);
	else if (end.sandbox)
		kl_sandbox_stop(w, end.sandbox);
	return end.done;
}

static bool past_deadline(struct kl_worker *w)
{
	const struct api_core_pod *pod = &w->pod->object->pod;
	if (!pod->spec.has_active_deadline_seconds)
		return false;
	int64_t now_s = kl_now_s(w->pod->k);
	int64_t since_s = pod->status.start_time.set ? MIN(pod->status.start_time.unix_s, now_s) : w->start_s;
	int64_t end_s = since_s + MIN(pod->spec.active_deadline_seconds, KL_SECONDS_MAX);
	if (now_s < end_s) {
		wake_at(w, end_s * NS_PER_S);
		return false;
	}
	return true;
}

/* May containers be made? A kubelet that began behind their sandbox does not know its group before it has looked; a runtime
 * that is told of none puts them beside all pods. */
static bool has_group(struct kl_worker *w, int64_t now_ns)
{
	if (w->cgroup.len || !w->pod->k->o->cgroups_per_qos) {
		w->cgroup_made = false; /* if it was for these containers, the next sandbox has it looked at all the same */
		return true;
	}
	if (w->sandbox_retry_ns <= now_ns)
		return kl_cgroup_make(w);
	wake_at(w, w->sandbox_retry_ns);
	return false;
}

static void step_live(struct kl_worker *w)
{
	auto_arena struct arena a = {};
	struct kl_pod *p = w->pod;
	struct kl_plan plan;
	int64_t now_ns = loop_wall_ns(p->k->loop);
	if (!p->volumes)
		p->volumes = kl_volumes_open(p->k->volumes, p->object, p->uid, p);
	kl_plan_make(&a, &(struct kl_plan_in){ .pod = p, .now_ns = now_ns, .max_backoff_ms = p->k->o->max_backoff_ms }, &plan);
	if (w->initialized && !plan.initialized && plan.make_sandbox)
		w->initialized = false; /* all of it anew */
	w->initialized |= plan.initialized;
	if (plan.kill_pod && plan.over) {
		w->over = true;
		w->stage = KL_ENDING;
		kl_worker_wake(w);
		return;
	}
	if (plan.kill_pod) {
		if (!w->sandbox_changed)
			kl_pod_event(p, SPAN_EMPTY, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
		w->sandbox_changed = true;
		if (stop_all(w, &a, kl_worker_grace(w)))
			kl_worker_wake(w);
		return;
	}
	for (unsigned i = 0; i < plan.n_waiting; i++)
		tell_back_off(w, plan.waiting[i]);
	for (unsigned i = 0; i < plan.n_kill; i++)
		kl_stop_begin(w, &plan.kill[i], plan.kill[i].grace_s >= 0 ? plan.kill[i].grace_s : kl_worker_grace(w));
	if (plan.make_sandbox && !kl_sandbox_busy(w)) {
		if (w->sandbox_retry_ns > now_ns) {
			wake_at(w, w->sandbox_retry_ns);
		} else {
			if (plan.attempt && !w->sandbox_changed)
				kl_pod_event(p, SPAN_EMPTY, "Normal", "SandboxChanged",
					     "Pod sandbox changed, it will be killed and re-created.");
			w->sandbox_changed = false;
			kl_sandbox_make(w, plan.attempt);
		}
	}
	/* Images are fetched beside the making of a sandbox, which has its group looked at. */
	bool begin = plan.n_start && (plan.make_sandbox || has_group(w, now_ns));
	for (unsigned i = 0; begin && i < plan.n_start; i++)
		kl_start_begin(w, plan.start[i]);
	kl_starts_go(w);
	kl_probes_look(w);
	kl_sweep(w, false);
	wake_at(w, plan.wake_ns);
}

/* ---- the end */

static void on_volumes_gone(void *arg)
{
	struct kl_worker *w = arg;
	w->volumes_closing = false;
	w->volumes_closed = true;
	w->pod->k->folders_out--;
	kl_worker_wake(w);
}

static void on_purged(void *arg)
{
	struct kl_worker *w = arg;
	w->purged = true;
	w->pod->k->folders_out--;
	kl_worker_wake(w);
}

static void forget(struct kl_worker *w)
{
	struct kl_pod *p = w->pod;
	auto_buf struct buf logs = {};
	if (!w->purging) {
		w->purging = true;
		p->k->folders_out++;
		kl_volumes_purge(p->k->volumes, p->uid, on_purged, w);
	}
	if (!w->purged)
		return;
	FAILPOINT("kubelet.pod.purged");
	kl_pod_log_dir(&logs, p);
	kl_serving_forget(p->k->serving, p);
	kl_images_forget(p->k->images, p->uid);
	kl_sources_forget(p->k->sources, p);
	(void)kl_tree_remove(buf_cstr(&logs), NULL);
	log_debug("pod forgotten", kv_span("pod", p->name), kv_span("uid", p->uid));
	kl_worker_free(w);
	kl_pod_free(p);
}

static void step_end(struct kl_worker *w)
{
	auto_arena struct arena a = {};
	struct kl_pod *p = w->pod;
	int64_t grace_s = kl_worker_grace(w);
	kl_probes_end(w);
	if (w->stage != KL_ENDED) {
		if (!stop_all(w, &a, grace_s))
			return;
		/* Of a pod that a kubelet before us has set up nothing may be open here, and everything be mounted. */
		bool left = p->object && !w->volumes_closed && !w->volumes_closing;
		if (p->volumes || left) {
			w->volumes_closing = true;
			p->k->folders_out++;
			if (p->volumes)
				kl_volumes_close(take(&p->volumes), on_volumes_gone, w);
			else
				kl_volumes_close_of(p->k->volumes, p->uid, on_volumes_gone, w);
		}
		if (w->volumes_closing)
			return;
		kl_cgroup_remove(w);
		w->over = true;
		w->stage = KL_ENDED;
	}
	bool leaving = w->gone || !p->object;
	if (leaving) {
		kl_sweep(w, true);
		if (w->removals == 0 && list_empty(&p->containers) && list_empty(&p->sandboxes) && !w->report_call && !w->delete_call)
			forget(w);
		return;
	}
	kl_sweep(w, false);
	if (p->object->pod.metadata.deletion_timestamp.set)
		kl_report_end(w);
}

static void refuse(struct kl_worker *w, const char *reason, struct span message)
{
	auto_arena struct arena a = {};
	kl_pod_event(w->pod, SPAN_EMPTY, "Warning", reason, "%.*s", SPAN_ARG(message));
	w->refused = true;
	kl_worker_fail(w, reason, arena_printf(&a, "Pod was rejected: %.*s", SPAN_ARG(message)));
}

static void admit(struct kl_worker *w)
{
	auto_arena struct arena a = {};
	struct kl_pod *p = w->pod;
	const char *reason;
	struct span message, phase = p->object->pod.status.phase;
	if (p->object->pod.metadata.deletion_timestamp.set || span_is(phase, "Failed") || span_is(phase, "Succeeded")) {
		w->over = span_is(phase, "Failed") || span_is(phase, "Succeeded");
		w->initialized = w->over;
		w->refused = w->over && !p->object->pod.status.container_statuses.n && list_empty(&p->containers);
		w->stage = KL_ENDING;
		return;
	}
	/* What ran here before this kubelet did is in, and what has nothing left to run takes no place. */
	if (list_empty(&p->sandboxes) && !kl_plan_finished(p) && !kl_admit(&a, p, &reason, &message)) {
		refuse(w, reason, message);
		return;
	}
	w->stage = KL_LIVE;
}

static void step(struct loop_task *t)
{
	struct kl_worker *w = container_of(t, struct kl_worker, step);
	struct kl_pod *p = w->pod;
	struct kl *k = p->k;
	if (!k->runtime_known)
		return;
	kl_serving_look(k->serving, p);
	if (!p->object) {
		/* In the runtime and in no source, or the source was not read yet. */
		if (!k->pods_synced)
			return;
		w->gone = true;
		w->stage = w->stage < KL_ENDING ? KL_ENDING : w->stage;
		step_end(w);
		return;
	}
	settle_items(w);
	/* What the Node says of labels and taints decides; static pods do without. */
	if (w->stage == KL_NEW && !w->gone && !p->is_static && k->client && !kl_node_object(k))
		return;
	if (w->stage == KL_NEW && !w->gone)
		admit(w);
	if (w->gone || p->object->pod.metadata.deletion_timestamp.set)
		w->stage = w->stage < KL_ENDING ? KL_ENDING : w->stage;
	if (w->stage == KL_LIVE && past_deadline(w)) {
		kl_pod_event(p, SPAN_EMPTY, "Normal", "DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
		kl_worker_fail(w, "DeadlineExceeded", SPAN("Pod was active on the node longer than the specified deadline"));
	}
	if (w->stage == KL_LIVE)
		step_live(w);
	bool stays = true;
	if (w->stage >= KL_ENDING) {
		kl_report(w);
		stays = !w->gone;
		step_end(w);
	}
	if (stays)
		kl_report(w);
}
