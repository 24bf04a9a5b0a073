#include "apiserver/budget.h"

#define DISRUPTED_MAX 2000 /* MaxDisruptedPodSize: then the controller is not following */

static struct span phase_of(const struct json *pod)
{
	return json_span(json_path(pod, "status", "phase", (char *)NULL));
}

static bool is_ready(const struct json *pod)
{
	JSON_EACH_ITEM(json_path(pod, "status", "conditions", (char *)NULL), item)
		if (span_is(json_span(json_getl(item, "type")), "Ready"))
			return span_is(json_span(json_getl(item, "status")), "True");
	return false;
}

bool budget_is_free(const struct json *pod)
{
	struct span phase = phase_of(pod);
	return span_is(phase, "Succeeded") || span_is(phase, "Failed") || span_is(phase, "Pending") ||
	       json_path(pod, "metadata", "deletionTimestamp", (char *)NULL);
}

bool budget_lets_go_unready(const struct json *budget, const struct json *pod)
{
	const struct json *status = json_getl(budget, "status");
	int64_t healthy = json_i64(json_getl(status, "currentHealthy"), 0), wanted = json_i64(json_getl(status, "desiredHealthy"), 0);
	struct span policy = json_span(json_path(budget, "spec", "unhealthyPodEvictionPolicy", (char *)NULL));
	return !is_ready(pod) && (span_is(policy, "AlwaysAllow") || (wanted > 0 && healthy >= wanted));
}

static int too_many(struct span message, int retry_ms, struct err *err)
{
	err_cause_add(err, SPAN_EMPTY, "DisruptionBudget", message);
	int rc = err_set(err, ERR_TOO_MANY, "Cannot evict pod as it would violate the pod's disruption budget.");
	err->retry_ms = retry_ms;
	return rc;
}

int budget_unseen(struct arena *a, struct span name, struct err *err)
{
	return too_many(arena_printf(a, "The disruption budget %.*s is still being processed by the server.", SPAN_ARG(name)), 10000,
			err);
}

static int budget_forbids(struct span name, const char *why, struct err *err)
{
	return err_set(err, ERR_FORBIDDEN, "poddisruptionbudget.policy \"%.*s\" is forbidden: %s", SPAN_ARG(name),
		       why);
}

/* The condition DisruptionAllowed of a budget that has nothing left to give. */
static void set_exhausted(struct arena *a, struct json *status, struct span now)
{
	struct json *list = json_getl(status, "conditions"), *condition = NULL;
	if (!list)
		list = json_set(a, status, SPAN("conditions"), json_array());
	JSON_EACH_ITEM(list, item)
		if (span_is(json_span(json_getl(item, "type")), "DisruptionAllowed"))
			condition = item;
	if (!condition) {
		condition = json_push(a, list, json_object());
		(void)json_setl(a, condition, "type", json_cstr("DisruptionAllowed"));
	}
	if (!span_is(json_span(json_getl(condition, "status")), "False"))
		(void)json_setl(a, condition, "lastTransitionTime", json_str(now));
	(void)json_setl(a, condition, "status", json_cstr("False"));
	(void)json_setl(a, condition, "reason", json_cstr("InsufficientPods"));
	(void)json_setl(a, condition, "message", json_cstr(""));
	const struct json *seen = json_getl(status, "observedGeneration");
	if (seen)
		(void)json_setl(a, condition, "observedGeneration", *seen);
}

int budget_take(struct arena *a, struct json *budget, struct span pod_name, struct span now, struct err *err)
{
	struct json *status = json_getl(budget, "status"), *disrupted;
	const struct json *meta = json_getl(budget, "metadata");
	struct span name = json_span(json_getl(meta, "name"));
	int64_t allowed = json_i64(json_getl(status, "disruptionsAllowed"), 0);
	if (json_i64(json_getl(status, "observedGeneration"), 0) < json_i64(json_getl(meta, "generation"), 0))
		return budget_unseen(a, name, err);
	if (allowed < 0)
		return budget_forbids(name, "pdb disruptions allowed is negative", err);
	disrupted = json_getl(status, "disruptedPods");
	if (disrupted && disrupted->n > DISRUPTED_MAX)
		return budget_forbids(name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller", err);
	if (allowed == 0)
		return too_many(arena_printf(a, "The disruption budget %.*s needs %lld healthy pods and has %lld currently", SPAN_ARG(name),
					     (long long)json_i64(json_getl(status, "desiredHealthy"), 0),
					     (long long)json_i64(json_getl(status, "currentHealthy"), 0)),
				0, err);
	(void)json_setl(a, status, "disruptionsAllowed", json_int(allowed - 1));
	if (allowed == 1)
		set_exhausted(a, status, now);
	disrupted = json_getl(status, "disruptedPods"); /* a new member has moved it */
	if (!disrupted)
		disrupted = json_set(a, status, SPAN("disruptedPods"), json_object());
	(void)json_set(a, disrupted, pod_name, json_str(now));
	return 0;
}
