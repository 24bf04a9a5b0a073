/* The status of a pod. After upstream's convertStatusToAPIStatus, getPhase and status.Generate*Condition. */
#include "kubelet/status.h"
#include "kubelet/config.h"
#include "kubelet/plan.h"

static void set(struct arena *a, struct json *o, const char *key, struct json v)
{
	(void)json_add(a, o, span_of(key), v);
}

static void set_span(struct arena *a, struct json *o, const char *key, struct span s)
{
	if (s.len)
		set(a, o, key, json_str(s));
}

static struct json time_of(struct arena *a, int64_t unix_s)
{
	char text[40];
	size_t n = time_format(text, unix_s, 0, 0);
	return unix_s > 0 ? json_str(arena_span(a, span_make(text, n))) : JSON_NULL_VALUE;
}

/* ---- containers */

struct view { /* of one container of the spec */
	const struct api_core_container *spec;
	enum kl_container_kind kind;
	const struct kl_item *item;
	const struct kl_container *c, *before;
	bool waiting; /* shown as waiting although there is a dead one */
	bool forgotten; /* the runtime knows nothing of it, and what the API was told of it is not begun again */
};

static struct json terminated(struct arena *a, const struct kl_status_in *in, const struct kl_container *c)
{
	struct json t = json_object();
	set(a, &t, "exitCode", json_int(c->exit_code));
	set_span(a, &t, "reason", c->reason.len ? c->reason : c->exit_code ? SPAN("Error") : SPAN("Completed"));
	set_span(a, &t, "message", c->said ? span_of(c->said) : c->message);
	/* What never ran shows the epoch: people read `Started: Thu, 01 Jan 1970` as just that. */
	set(a, &t, "startedAt", c->started_ns > 0 ? time_of(a, c->started_ns / NS_PER_S) : json_cstr("1970-01-01T00:00:00Z"));
	set(a, &t, "finishedAt", time_of(a, c->finished_ns / NS_PER_S));
	set_span(a, &t, "containerID", arena_printf(a, "%.*s://%.*s", SPAN_ARG(in->runtime), SPAN_ARG(c->id)));
	return t;
}

static struct json one_state(struct arena *a, const char *key, struct json v)
{
	struct json s = json_object();
	set(a, &s, key, v);
	return s;
}

/* It ran, and how it ended nobody knows. */
static struct json lost(struct arena *a, const char *message)
{
	struct json t = json_object();
	set(a, &t, "exitCode", json_int(137));
	set_span(a, &t, "reason", SPAN("ContainerStatusUnknown"));
	set_span(a, &t, "message", span_of(message));
	set(a, &t, "startedAt", JSON_NULL_VALUE);
	set(a, &t, "finishedAt", JSON_NULL_VALUE);
	return t;
}

static struct json waiting(struct arena *a, const struct kl_status_in *in, const struct view *v)
{
	struct json w = json_object();
	const struct api_core_pod_spec *s = &in->pod->object->pod.spec;
	const char *reason = v->item->waiting ? v->item->waiting :
			     v->kind != KL_EPHEMERAL && s->init_containers.n && !in->initialized ? "PodInitializing" : "ContainerCreating";
	set_span(a, &w, "reason", span_of(reason));
	if (v->item->waiting && v->item->message)
		set_span(a, &w, "message", span_of(v->item->message));
	return w;
}

/* What the API knew of a container that the runtime has forgotten. */
static const struct json *old_of(const struct kl_status_in *in, const struct view *v)
{
	static const char *const lists[] = { "containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses" };
	const struct json *list = json_get(in->old, span_of(lists[v->kind]));
	JSON_EACH_ITEM(list, item)
		if (span_eq(json_span(json_getl(item, "name")), v->spec->name))
			return item;
	return NULL;
}

/* The API refuses a status in which what had ended for good goes on. Init containers do, in a new sandbox: they stay as they were
 * told. */
static const struct json *final_init(const struct kl_status_in *in, const struct view *v)
{
	const struct api_core_pod_spec *s = &in->pod->object->pod.spec;
	const struct json *state = json_getl(old_of(in, v), "state"), *code = json_path(state, "terminated", "exitCode", NULL);
	if (v->kind != KL_INIT || kl_is_sidecar(v->spec, v->kind) || !code || span_is(s->restart_policy, "Always"))
		return NULL;
	return json_i64(code, 1) == 0 || span_is(s->restart_policy, "Never") ? state : NULL;
}

static struct json container(struct arena *a, const struct kl_status_in *in, const struct view *v)
{
	struct json out = json_object(), state, last = json_object();
	const struct kl_container *c = v->c;
	const struct json *old = c ? NULL : old_of(in, v);
	bool runs = c && c->state == KL_RUNNING, ready = false;
	int64_t restarts = c ? c->attempt : json_i64(json_getl(old, "restartCount"), 0);
	if (runs) {
		struct json r = json_object();
		set(a, &r, "startedAt", time_of(a, c->started_ns / NS_PER_S));
		state = one_state(a, "running", r);
		ready = v->item->ready && (v->kind != KL_INIT || kl_is_sidecar(v->spec, v->kind));
	} else if (c && c->state == KL_EXITED && !v->waiting) {
		state = one_state(a, "terminated", terminated(a, in, c));
		ready = v->kind == KL_INIT && !kl_is_sidecar(v->spec, v->kind) && c->exit_code == 0;
	} else if (!c && json_path(old, "state", "terminated", NULL) && (in->over || in->initialized) && v->kind == KL_INIT) {
		state = json_copy(a, json_getl(old, "state")); /* its record was removed; what was said of it stays */
		ready = json_i64(json_path(old, "state", "terminated", "exitCode", NULL), 1) == 0;
	} else if (v->forgotten && json_path(old, "state", "terminated", NULL)) {
		state = json_copy(a, json_getl(old, "state"));
	} else if ((v->forgotten || (in->over && c && c->state == KL_UNKNOWN)) && json_path(old, "state", "running", NULL)) {
		state = one_state(a, "terminated", lost(a, "The container could not be located when the pod was terminated"));
	} else {
		state = one_state(a, "waiting", waiting(a, in, v));
	}
	const struct json *final = json_getl(&state, "terminated") ? NULL : final_init(in, v);
	if (final) {
		state = json_copy(a, final);
		ready = json_i64(json_path(final, "terminated", "exitCode", NULL), 1) == 0;
	}
	const struct kl_container *ended = c && c->state == KL_EXITED && v->waiting ? c : v->before;
	if (ended && ended->state == KL_EXITED)
		last = one_state(a, "terminated", terminated(a, in, ended));
	else if (!c && !v->forgotten && json_path(old, "state", "running", NULL)) /* else its pod would be Pending again */
		last = one_state(a, "terminated",
				 lost(a, "The container could not be located when the pod was deleted.  The container used to be Running"));
	else if (!c && json_is(json_getl(old, "lastState"), JSON_OBJECT))
		last = json_copy(a, json_getl(old, "lastState"));
	set_span(a, &out, "name", v->spec->name);
	set(a, &out, "state", state);
	set(a, &out, "lastState", last);
	set(a, &out, "ready", json_bool(ready));
	set(a, &out, "restartCount", json_int(restarts));
	set(a, &out, "image", json_str(c && c->image.len ? c->image : v->spec->image));
	set(a, &out, "imageID", json_str(c ? (c->image_ref.len ? c->image_ref : c->image_id) : json_span(json_getl(old, "imageID"))));
	if (c)
		set_span(a, &out, "containerID", arena_printf(a, "%.*s://%.*s", SPAN_ARG(in->runtime), SPAN_ARG(c->id)));
	else
		set_span(a, &out, "containerID", json_span(json_getl(old, "containerID")));
	set(a, &out, "started", json_bool(runs && v->item->started));
	struct json mounts = json_array();
	for (uint32_t i = 0; i < v->spec->volume_mounts.n; i++) {
		const struct api_core_volume_mount *m = &v->spec->volume_mounts.ptr[i];
		struct json one = json_object();
		set_span(a, &one, "name", m->name);
		set_span(a, &one, "mountPath", m->mount_path);
		if (m->read_only) { /* as mounts.c of the runtime is asked for it */
			set(a, &one, "readOnly", json_bool(true));
			set_span(a, &one, "recursiveReadOnly", span_is(m->recursive_read_only, "Enabled") ? SPAN("Enabled") : SPAN("Disabled"));
		}
		(void)json_push(a, &mounts, one);
	}
	if (mounts.n)
		set(a, &out, "volumeMounts", mounts);
	return out;
}

static void look(const struct kl_status_in *in, unsigned i, struct view *v)
{
	const struct kl_pod *p = in->pod;
	*v = (struct view){ .item = &p->items[i] };
	v->spec = kl_spec_container(&p->object->pod.spec, i, &v->kind);
	v->c = kl_pod_container(p, v->spec->name, false);
	v->before = kl_pod_container(p, v->spec->name, true);
	v->forgotten = !v->c && (in->over || (v->kind != KL_INIT && !kl_should_restart(p, i, NULL)));
	v->waiting = v->c && v->c->state != KL_RUNNING && v->item->waiting && !in->over;
	if (v->item->hooked && v->c && v->c->state == KL_RUNNING && !in->over) { /* told as it was before this start */
		v->c = v->before;
		v->before = NULL;
		v->waiting = true;
	}
}

/* ---- phase */

/* The state's member: "running", "waiting", "terminated". */
static bool is_in(const struct json *status, const char *state)
{
	return json_get(json_getl(status, "state"), span_of(state)) != NULL;
}

static const char *phase_of(const struct kl_status_in *in, const struct json *init, const struct json *regular)
{
	const struct api_core_pod_spec *s = &in->pod->object->pod.spec;
	bool never = span_is(s->restart_policy, "Never");
	unsigned pending = 0, failed = 0, waits = 0, running = 0, stopped = 0, succeeded = 0, k = 0;
	JSON_EACH_ITEM(init, one) {
		const struct json *last = json_path(one, "lastState", "terminated", NULL);
		bool sidecar = kl_is_sidecar(&s->init_containers.ptr[k++], KL_INIT);
		if (sidecar) {
			pending += !json_truth(json_getl(one, "started"), false);
		} else if (is_in(one, "terminated")) {
			failed += json_i64(json_path(one, "state", "terminated", "exitCode", NULL), 1) != 0;
		} else if (is_in(one, "waiting") && last) {
			failed += json_i64(json_getl(last, "exitCode"), 0) != 0;
			pending += json_i64(json_getl(last, "exitCode"), 0) == 0;
		} else {
			pending++;
		}
	}
	JSON_EACH_ITEM(regular, one) {
		if (is_in(one, "running")) {
			running++;
		} else if (is_in(one, "terminated")) {
			stopped++;
			succeeded += json_i64(json_path(one, "state", "terminated", "exitCode", NULL), 1) == 0;
		} else if (json_path(one, "lastState", "terminated", NULL)) {
			stopped++;
		} else {
			waits++;
		}
	}
	if (failed && never && in->over)
		return "Failed";
	if (in->over && stopped && !waits)
		return stopped == succeeded ? "Succeeded" : "Failed";
	if (in->over) /* also one whose sandbox went away before its containers began: nothing of it will run any more */
		return "Failed";
	if ((pending || failed) && !in->initialized)
		return "Pending";
	if (waits)
		return "Pending";
	if (running)
		return "Running";
	/* All have stopped. The end of a pod is told when nothing of it runs any more: in->over. */
	return stopped ? "Running" : "Pending";
}

/* ---- conditions */

static void condition(struct arena *a, const struct kl_status_in *in, struct json *list, const char *type, bool yes,
		      const char *reason,
		      struct span message)
{
	struct json c = json_object();
	const char *status = yes ? "True" : "False";
	struct json since = time_of(a, in->now_s);
	const struct json *before = json_getl(in->old, "conditions");
	JSON_EACH_ITEM(before, old) {
		if (!span_is(json_span(json_getl(old, "type")), type) || !span_is(json_span(json_getl(old, "status")), status))
			continue;
		const struct json *t = json_getl(old, "lastTransitionTime");
		if (json_span(t).len)
			since = *t;
	}
	set_span(a, &c, "type", span_of(type));
	set_span(a, &c, "status", span_of(status));
	set(a, &c, "lastProbeTime", JSON_NULL_VALUE);
	set(a, &c, "lastTransitionTime", since);
	set_span(a, &c, "reason", span_of(reason));
	set_span(a, &c, "message", message);
	(void)json_push(a, list, c);
}

static void name_add(struct buf *to, struct span name)
{
	buf_printf(to, "%s%.*s", to->len ? " " : "", SPAN_ARG(name));
}

/* containers with incomplete status: [a b] */
static struct span listed(struct arena *a, const char *what, const struct buf *names)
{
	return names->len ? arena_printf(a, "containers with %s status: [%s]", what, buf_cstr(names)) : SPAN_EMPTY;
}

static void ready_conditions(struct arena *a, const struct kl_status_in *in, const char *phase, const struct json *init,
			     const struct json *regular, struct json *list)
{
	const struct api_core_pod_spec *s = &in->pod->object->pod.spec;
	const char *reason = NULL;
	struct span words = SPAN_EMPTY;
	auto_buf struct buf unready = {}, gates = {};
	unsigned k = 0;
	bool succeeded = strcmp(phase, "Succeeded") == 0, failed = strcmp(phase, "Failed") == 0;
	JSON_EACH_ITEM(init, one)
		if (kl_is_sidecar(&s->init_containers.ptr[k++], KL_INIT) && !json_truth(json_getl(one, "ready"), false))
			name_add(&unready, json_span(json_getl(one, "name")));
	JSON_EACH_ITEM(regular, one)
		if (!json_truth(json_getl(one, "ready"), false))
			name_add(&unready, json_span(json_getl(one, "name")));
	if (succeeded) {
		reason = "PodCompleted";
	} else if (failed) {
		reason = "PodFailed";
	} else if (unready.len) {
		reason = "ContainersNotReady";
		words = listed(a, "unready", &unready);
	}
	bool ready = !reason;
	const char *gate_reason = reason;
	struct span gate_words = words;
	for (uint32_t i = 0; ready && i < s->readiness_gates.n; i++) {
		struct span type = s->readiness_gates.ptr[i].condition_type;
		const struct json *found = NULL, *conditions = json_getl(in->old, "conditions");
		JSON_EACH_ITEM(conditions, c)
			if (span_eq(json_span(json_getl(c, "type")), type))
				found = c;
		if (!found)
			buf_printf(&gates, "%scorresponding condition of pod readiness gate \"%.*s\" does not exist.",
				   gates.len ? ", " : "", SPAN_ARG(type));
		else if (!span_is(json_span(json_getl(found, "status")), "True"))
			buf_printf(&gates, "%sthe status of pod readiness gate \"%.*s\" is not \"True\", but %.*s", gates.len ? ", " : "",
				   SPAN_ARG(type), SPAN_ARG(json_span(json_getl(found, "status"))));
	}
	if (gates.len) {
		gate_reason = "ReadinessGatesNotReady";
		gate_words = arena_span(a, buf_span(&gates));
	}
	condition(a, in, list, "Ready", !gate_reason, gate_reason, gate_words);
	condition(a, in, list, "ContainersReady", ready, reason, words);
}

static void conditions(struct arena *a, const struct kl_status_in *in, const char *phase, const struct json *init,
		       const struct json *regular, struct json *out)
{
	const struct api_core_pod_spec *s = &in->pod->object->pod.spec;
	const struct kl_sandbox *sb = kl_pod_sandbox(in->pod);
	struct json list = json_array();
	auto_buf struct buf incomplete = {};
	unsigned k = 0;
	bool succeeded = strcmp(phase, "Succeeded") == 0;
	condition(a, in, &list, "PodReadyToStartContainers", sb && (sb->n_ips || s->host_network), NULL, SPAN_EMPTY);
	JSON_EACH_ITEM(init, one) {
		bool sidecar = kl_is_sidecar(&s->init_containers.ptr[k++], KL_INIT);
		if (!json_truth(json_get(one, sidecar ? SPAN("started") : SPAN("ready")), false))
			name_add(&incomplete, json_span(json_getl(one, "name")));
	}
	bool initialized = !incomplete.len || in->initialized || succeeded;
	condition(a, in, &list, "Initialized", initialized, succeeded ? "PodCompleted" : initialized ? NULL
		  : "ContainersNotInitialized",
		  initialized ? SPAN_EMPTY : listed(a, "incomplete", &incomplete));
	ready_conditions(a, in, phase, init, regular, &list);
	const struct json *before = json_getl(in->old, "conditions");
	bool scheduled = false;
	JSON_EACH_ITEM(before, old) {
		static const char *const own[] = { "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady" };
		bool mine = false;
		for (size_t i = 0; i < ARRAY_LEN(own); i++)
			mine |= span_is(json_span(json_getl(old, "type")), own[i]);
		bool place = span_is(json_span(json_getl(old, "type")), "PodScheduled");
		if (mine || (place && !span_is(json_span(json_getl(old, "status")), "True")))
			continue;
		scheduled |= place;
		(void)json_push(a, &list, *old);
	}
	if (!scheduled)
		condition(a, in, &list, "PodScheduled", true, NULL, SPAN_EMPTY);
	set(a, out, "conditions", list);
}

/* ---- the whole */

static void addresses(struct arena *a, const struct kl_status_in *in, struct json *out)
{
	const struct kl_pod *p = in->pod;
	struct span ips[4];
	struct json hosts = json_array(), pods = json_array();
	unsigned n = kl_pod_ips(p, ips);
	for (unsigned i = 0; i < p->k->n_node_ips; i++) {
		struct json one = json_object();
		set(a, &one, "ip", json_str(p->k->node_ips[i]));
		(void)json_push(a, &hosts, one);
	}
	for (unsigned i = 0; i < n; i++) {
		struct json one = json_object();
		set(a, &one, "ip", json_str(ips[i]));
		(void)json_push(a, &pods, one);
	}
	if (hosts.n) {
		set(a, out, "hostIP", json_str(p->k->node_ips[0]));
		set(a, out, "hostIPs", hosts);
	}
	/* A pod that is over is shown with the addresses it had, also by a kubelet that never saw them. */
	const struct json *had = json_getl(in->old, "podIP"), *all = json_getl(in->old, "podIPs");
	if (n) {
		set(a, out, "podIP", json_str(ips[0]));
		set(a, out, "podIPs", pods);
	} else if (in->over && had && all) {
		set(a, out, "podIP", *had);
		set(a, out, "podIPs", *all);
	}
}

static void by_name(struct json *list)
{
	for (uint32_t i = 1; i < list->n; i++)
		for (uint32_t k = i; k > 0; k--) {
			struct json *x = &list->items[k - 1], *y = &list->items[k], t = *x;
			if (span_cmp(json_span(json_getl(x, "name")), json_span(json_getl(y, "name"))) <= 0)
				break;
			*x = *y;
			*y = t;
		}
}

/* A pod that was not let in has neither addresses nor containers, and of the conditions only what others said of it. A kubelet that
 * finds it so says the same again. */
static void refused(struct arena *a, const struct kl_status_in *in, struct json *out)
{
	static const char *const words[] = { "phase", "reason", "message" };
	const char *const now[] = { "Failed", in->reason, in->message };
	const struct json *since = json_getl(in->old, "startTime"), *conditions = json_getl(in->old, "conditions");
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		set_span(a, out, words[i], in->reason ? span_of(now[i]) : json_span(json_get(in->old, span_of(words[i]))));
	if (json_is(conditions, JSON_ARRAY))
		set(a, out, "conditions", *conditions);
	set(a, out, "startTime", json_span(since).len ? *since : time_of(a, in->start_s));
	set_span(a, out, "qosClass", span_of(kl_qos_name(kl_qos(&in->pod->object->pod.spec))));
}

void kl_status_make(struct arena *a, const struct kl_status_in *in, struct json *out)
{
	const struct kl_pod *p = in->pod;
	const struct api_core_pod_spec *s = &p->object->pod.spec;
	struct json lists[3] = { json_array(), json_array(), json_array() }; /* by enum kl_container_kind */
	*out = json_object();
	if (in->refused)
		return refused(a, in, out);
	for (unsigned i = 0; i < kl_spec_n(s); i++) {
		struct view v;
		look(in, i, &v);
		(void)json_push(a, &lists[v.kind], container(a, in, &v));
	}
	const char *phase = phase_of(in, &lists[KL_INIT], &lists[KL_CONTAINER]);
	struct span before = json_span(json_getl(in->old, "phase"));
	/* Failed is said once nothing of the pod runs any more: a Job would begin the next one beside it. Unready it is at once. */
	bool failed = in->reason && in->over;
	if (span_is(before, "Succeeded") || span_is(before, "Failed")) /* nothing comes behind an end */
		phase = span_is(before, "Failed") ? "Failed" : "Succeeded";
	else if (failed)
		phase = "Failed";
	set_span(a, out, "phase", span_of(phase));
	conditions(a, in, in->reason ? "Failed" : phase, &lists[KL_INIT], &lists[KL_CONTAINER], out);
	set_span(a, out, "reason", failed ? span_of(in->reason) : json_span(json_getl(in->old, "reason")));
	set_span(a, out, "message", failed ? span_of(in->message) : json_span(json_getl(in->old, "message")));
	addresses(a, in, out);
	const struct json *since = json_getl(in->old, "startTime");
	set(a, out, "startTime", json_span(since).len ? *since : time_of(a, in->start_s));
	by_name(&lists[KL_CONTAINER]);
	by_name(&lists[KL_EPHEMERAL]);
	if (lists[KL_INIT].n)
		set(a, out, "initContainerStatuses", lists[KL_INIT]);
	if (lists[KL_CONTAINER].n)
		set(a, out, "containerStatuses", lists[KL_CONTAINER]);
	if (lists[KL_EPHEMERAL].n)
		set(a, out, "ephemeralContainerStatuses", lists[KL_EPHEMERAL]);
	set_span(a, out, "qosClass", span_of(kl_qos_name(kl_qos(s))));
}

/* Conditions merge by their types, so that those of others (readiness gates) are not touched; addresses are replaced. */
static struct json list_patch(struct arena *a, const struct json *from, const struct json *to, struct span key)
{
	struct json list = json_array();
	if (span_is(key, "podIPs") || span_is(key, "hostIPs")) {
		struct json how = json_object();
		set(a, &how, "$patch", json_cstr("replace"));
		list = json_copy(a, to);
		(void)json_push(a, &list, how);
		return list;
	}
	if (!span_is(key, "conditions"))
		return *to;
	JSON_EACH_ITEM(to, item) {
		const struct json *was = NULL;
		JSON_EACH_ITEM(from, old)
			if (span_eq(json_span(json_getl(old, "type")), json_span(json_getl(item, "type"))))
				was = old;
		if (was && json_equal(was, item))
			continue;
		struct json one = json_copy(a, item);
		JSON_EACH_MEMBER(was, m) /* members merge too: what is said no more is taken back */
			if (!json_get(item, json_key(m)))
				(void)json_add(a, &one, json_key(m), JSON_NULL_VALUE);
		(void)json_push(a, &list, one);
	}
	return list;
}

/* null members and absent ones say the same */
static bool same_value(const struct json *x, const struct json *y)
{
	if (!x || !y)
		return (!x || x->kind == JSON_NULL || x->n == 0) && (!y || y->kind == JSON_NULL || y->n == 0);
	return json_equal(x, y);
}

bool kl_status_diff(struct arena *a, const struct json *from, const struct json *to, struct json *out)
{
	*out = json_object();
	JSON_EACH_MEMBER(to, m) {
		const struct json *was = json_get(from, json_key(m));
		if (same_value(was, &m->value))
			continue;
		(void)json_add(a, out, json_key(m), m->value.kind == JSON_ARRAY ? list_patch(a, was, &m->value, json_key(m)) : m->value);
	}
	/* What only we say and say no more. */
	static const char *const own[] = { "podIP", "reason", "message" };
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if (json_get(from, span_of(own[i])) && !json_get(to, span_of(own[i])))
			set(a, out, own[i], JSON_NULL_VALUE);
	if (json_getl(from, "podIPs") && !json_getl(to, "podIPs")) {
		struct json none = json_array();
		set(a, out, "podIPs", list_patch(a, NULL, &none, SPAN("podIPs")));
	}
	return out->n > 0;
}
