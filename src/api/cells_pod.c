/* The cells of a pod: ready count, status text, restarts, readiness gates (facts/README, podStatusText). */
#include "api/cells_private.h"
#include "api/times.h"

static bool restartable(const struct json *pod, struct span name)
{
	JSON_EACH_ITEM(api_cell_get(pod, "spec.initContainers"), c)
		if (span_eq(api_cell_str(c, "name"), name))
			return span_is(api_cell_str(c, "restartPolicy"), "Always");
	return false;
}

static bool is_true(const struct json *v, const char *path)
{
	return json_truth(api_cell_get(v, path), false);
}

static unsigned count(const struct json *list)
{
	return json_is(list, JSON_ARRAY) ? list->n : 0;
}

/* Why a container has ended: its reason, else its signal or exit code. */
static void ended_text(struct buf *out, const struct json *terminated)
{
	struct span reason = api_cell_str(terminated, "reason");
	if (reason.len)
		buf_span_add(out, reason);
	else if (api_cell_int(terminated, "signal"))
		buf_printf(out, "Signal:%lld", (long long)api_cell_int(terminated, "signal"));
	else
		buf_printf(out, "ExitCode:%lld", (long long)api_cell_int(terminated, "exitCode"));
}

/* The init containers' part of the text; true when one of them keeps the pod from starting. */
static bool init_text(struct buf *out, const struct json *pod)
{
	unsigned i = 0, total = count(api_cell_get(pod, "spec.initContainers"));
	JSON_EACH_ITEM(api_cell_get(pod, "status.initContainerStatuses"), s) {
		const struct json *terminated = api_cell_get(s, "state.terminated");
		struct span waiting = api_cell_str(s, "state.waiting.reason");
		unsigned at = i++;
		if (terminated && !api_cell_int(terminated, "exitCode"))
			continue;
		if (restartable(pod, api_cell_str(s, "name")) && is_true(s, "started"))
			continue;
		buf_trunc(out, 0);
		buf_str(out, "Init:");
		if (terminated)
			ended_text(out, terminated);
		else if (waiting.len && !span_is(waiting, "PodInitializing"))
			buf_span_add(out, waiting);
		else
			buf_printf(out, "%u/%u", at, total);
		return true;
	}
	return false;
}

static bool condition_true(const struct json *pod, const char *type)
{
	return span_is(api_cell_str(api_cell_condition(pod, type), "status"), "True");
}

static bool is_initializing(const struct json *pod)
{
	auto_buf struct buf scratch = {};
	return init_text(&scratch, pod);
}

struct span api_pod_status_text(struct arena *a, const struct json *pod)
{
	auto_buf struct buf out = {};
	struct span reason = api_cell_str(pod, "status.reason"), phase = api_cell_str(pod, "status.phase");
	buf_span_add(&out, reason.len ? reason : phase);
	if (span_is(api_cell_str(api_cell_condition(pod, "PodScheduled"), "reason"), "SchedulingGated")) {
		buf_trunc(&out, 0);
		buf_str(&out, "SchedulingGated");
	}
	bool initializing = init_text(&out, pod);
	if (!initializing || condition_true(pod, "Initialized")) {
		const struct json *statuses = api_cell_get(pod, "status.containerStatuses");
		bool running = false;
		for (unsigned i = count(statuses); i-- > 0;) {
			const struct json *s = &statuses->items[i], *terminated = api_cell_get(s, "state.terminated");
			struct span waiting = api_cell_str(s, "state.waiting.reason");
			if (waiting.len) {
				buf_trunc(&out, 0);
				buf_span_add(&out, waiting);
			} else if (terminated) {
				buf_trunc(&out, 0);
				ended_text(&out, terminated);
			} else if (is_true(s, "ready") && api_cell_get(s, "state.running")) {
				running = true;
			}
		}
		if (span_is(buf_span(&out), "Completed") && running) {
			buf_trunc(&out, 0);
			buf_str(&out, condition_true(pod, "Ready") ? "Running" : "NotReady");
		}
	}
	if (api_cell_str(pod, "metadata.deletionTimestamp").len) {
		bool lost = span_is(reason, "NodeLost");
		if (lost || (!span_is(phase, "Succeeded") && !span_is(phase, "Failed"))) {
			buf_trunc(&out, 0);
			buf_str(&out, lost ? "Unknown" : "Terminating");
		}
	}
	return arena_span(a, buf_span(&out));
}

struct json api_cell_pod_status(const struct cell_ctx *c)
{
	return json_str(api_pod_status_text(c->arena, c->object));
}

struct json api_cell_pod_ready(const struct cell_ctx *c)
{
	unsigned ready = 0, total = count(api_cell_get(c->object, "spec.containers"));
	JSON_EACH_ITEM(api_cell_get(c->object, "spec.initContainers"), i)
		total += span_is(api_cell_str(i, "restartPolicy"), "Always");
	JSON_EACH_ITEM(api_cell_get(c->object, "status.initContainerStatuses"), s)
		ready += restartable(c->object, api_cell_str(s, "name")) && is_true(s, "started") && is_true(s, "ready");
	bool counted = !is_initializing(c->object) || condition_true(c->object, "Initialized");
	JSON_EACH_ITEM(api_cell_get(c->object, "status.containerStatuses"), s)
		ready += counted && is_true(s, "ready") && api_cell_get(s, "state.running");
	return json_str(arena_printf(c->arena, "%u/%u", ready, total));
}

static void restarts_add(const struct json *s, int64_t *sum, struct span *newest)
{
	struct span at = api_cell_str(s, "lastState.terminated.finishedAt");
	*sum += api_cell_int(s, "restartCount");
	if (span_cmp(at, *newest) > 0) /* RFC 3339 in UTC orders as text */
		*newest = at;
}

struct json api_cell_pod_restarts(const struct cell_ctx *c)
{
	int64_t all_init = 0, kept_init = 0, sum = 0;
	struct span newest_init = SPAN_EMPTY, newest_kept = SPAN_EMPTY, newest = SPAN_EMPTY;
	JSON_EACH_ITEM(api_cell_get(c->object, "status.initContainerStatuses"), s) {
		restarts_add(s, &all_init, &newest_init);
		if (restartable(c->object, api_cell_str(s, "name")))
			restarts_add(s, &kept_init, &newest_kept);
	}
	if (is_initializing(c->object) && !condition_true(c->object, "Initialized")) {
		sum = all_init;
		newest = newest_init;
	} else {
		sum = kept_init;
		newest = newest_kept;
		JSON_EACH_ITEM(api_cell_get(c->object, "status.containerStatuses"), s)
			restarts_add(s, &sum, &newest);
	}
	auto_buf struct buf out = {};
	buf_i64(&out, sum);
	if (sum && newest.len) {
		struct json age = api_cell_age(c, newest);
		buf_printf(&out, " (%.*s ago)", SPAN_ARG(json_span(&age)));
	}
	return api_cell_done(c->arena, &out);
}

struct json api_cell_pod_gates(const struct cell_ctx *c)
{
	const struct json *gates = api_cell_get(c->object, "spec.readinessGates");
	unsigned passed = 0;
	if (!count(gates))
		return json_cstr("<none>");
	JSON_EACH_ITEM(gates, g)
		JSON_EACH_ITEM(api_cell_get(c->object, "status.conditions"), k)
			if (span_eq(api_cell_str(g, "conditionType"), api_cell_str(k, "type"))) {
				passed += span_is(api_cell_str(k, "status"), "True");
				break;
			}
	return json_str(arena_printf(c->arena, "%u/%u", passed, count(gates)));
}
