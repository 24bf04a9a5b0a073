#include "controllers/disruption_plan.h"

bool disruption_asks_scale(const struct json *budget)
{
	const struct json *spec = tree_get(budget, "spec"), *least = tree_get(spec, "minAvailable");
	return tree_get(spec, "maxUnavailable") || json_is(least, JSON_STRING);
}

int disruption_expect(const struct json *budget, int64_t n_pods, int64_t scale, int64_t *out_expected, int64_t *out_desired,
		      struct err *err)
{
	const struct json *spec = tree_get(budget, "spec");
	const struct json *most = tree_get(spec, "maxUnavailable"), *least = tree_get(spec, "minAvailable");
	int64_t n = 0;
	int rc = 0;
	*out_expected = disruption_asks_scale(budget) ? scale : least ? n_pods : 0;
	if (most || least)
		rc = api_intstr_scaled(most ? most : least, *out_expected, true, &n, err);
	*out_desired = most ? MAX(*out_expected - n, (int64_t)0) : n;
	return rc;
}

/* The condition, whose time stays while its status does; observedGeneration is part of it. */
static struct json condition(struct arena *a, const struct json *was, bool allowed, const char *reason, struct span message,
			     int64_t generation, int64_t now_s)
{
	const char *status = allowed ? "True" : "False";
	struct json c = json_object();
	bool same = was && span_is(tree_span(was, "status"), status) && tree_get(was, "lastTransitionTime");
	tree_set_cstr(a, &c, "type", "DisruptionAllowed");
	tree_set_cstr(a, &c, "status", status);
	tree_set_some(a, &c, "observedGeneration", generation);
	tree_set(a, &c, "lastTransitionTime", same ? *tree_get(was, "lastTransitionTime") : tree_time_of(a, now_s));
	tree_set_cstr(a, &c, "reason", reason);
	tree_set(a, &c, "message", json_str(message));
	return c;
}

static void set_condition(struct arena *a, const struct json *budget, struct json *status, bool allowed, const char *reason,
			  struct span message, int64_t now_s)
{
	const struct json *old = tree_get(tree_get(budget, "status"), "conditions");
	struct json list = json_is(old, JSON_ARRAY) ? json_copy(a, old) : json_array();
	struct json *was = tree_find(&list, "type", SPAN("DisruptionAllowed"));
	struct json c = condition(a, was, allowed, reason, message, json_i64(tree_meta(budget, "generation"), 0), now_s);
	if (was)
		*was = c;
	else
		(void)json_push(a, &list, c);
	tree_set(a, status, "conditions", list);
}

struct json disruption_status(struct arena *a, const struct json *budget, struct disruption_pod *pods, unsigned n, int64_t expected,
			      int64_t desired, int64_t now_s, int64_t *out_again_s)
{
	const struct json *let_go = tree_get(tree_get(budget, "status"), "disruptedPods");
	struct json status = json_object(), still = json_object();
	int64_t healthy = 0;
	*out_again_s = 0;
	for (unsigned i = 0; i < n; i++) {
		const struct json *when = pods[i].deleted ? NULL : json_get(let_go, pods[i].name);
		int64_t until_s = when ? tree_time(when) + DISRUPTION_GONE_S : 0;
		bool going = when && until_s >= now_s;
		if (going) {
			(void)json_set(a, &still, pods[i].name, *when);
			*out_again_s = *out_again_s ? MIN(*out_again_s, until_s) : until_s;
		}
		pods[i].late = when && !going;
		healthy += !pods[i].deleted && !going && pods[i].ready;
	}
	/* A budget of no pods lets nothing go: the first that it gets may appear before we look again. */
	int64_t allowed = expected <= 0 ? 0 : MAX(healthy - desired, (int64_t)0);
	tree_set_some(a, &status, "observedGeneration", json_i64(tree_meta(budget, "generation"), 0));
	if (still.n)
		tree_set(a, &status, "disruptedPods", still);
	tree_set_int(a, &status, "disruptionsAllowed", allowed);
	tree_set_int(a, &status, "currentHealthy", healthy);
	tree_set_int(a, &status, "desiredHealthy", desired);
	tree_set_int(a, &status, "expectedPods", expected);
	set_condition(a, budget, &status, allowed > 0, allowed > 0 ? "SufficientPods" : "InsufficientPods", SPAN_EMPTY, now_s);
	return status;
}

struct json disruption_failed(struct arena *a, const struct json *budget, struct span why, int64_t now_s)
{
	const struct json *old = tree_get(budget, "status");
	struct json status = json_is(old, JSON_OBJECT) ? json_copy(a, old) : json_object();
	tree_set_int(a, &status, "disruptionsAllowed", 0);
	tree_set_some(a, &status, "observedGeneration", json_i64(tree_meta(budget, "generation"), 0));
	set_condition(a, budget, &status, false, "SyncFailed", why, now_s);
	return status;
}

static int by_key(const void *x, const void *y)
{
	const struct json_member *const *a = x, *const *b = y;
	return span_cmp(json_key(*a), json_key(*b));
}

void disruption_selector(struct buf *out, const struct json *selector)
{
	const struct json_member *sorted[64] = {};
	size_t n = 0;
	buf_str(out, "&LabelSelector{MatchLabels:map[string]string{");
	JSON_EACH_MEMBER(tree_get(selector, "matchLabels"), m)
		if (n < ARRAY_LEN(sorted))
			sorted[n++] = m;
	qsort(sorted, n, sizeof(*sorted), by_key);
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%.*s: %.*s,", SPAN_ARG(json_key(sorted[i])), SPAN_ARG(json_span(&sorted[i]->value)));
	buf_str(out, "},MatchExpressions:[]LabelSelectorRequirement{");
	JSON_EACH_ITEM(tree_get(selector, "matchExpressions"), e) {
		buf_printf(out, "LabelSelectorRequirement{Key:%.*s,Operator:%.*s,Values:[", SPAN_ARG(tree_span(e, "key")),
			   SPAN_ARG(tree_span(e, "operator")));
		const char *between = "";
		JSON_EACH_ITEM(tree_get(e, "values"), v) {
			buf_printf(out, "%s%.*s", between, SPAN_ARG(json_span(v)));
			between = " ";
		}
		buf_str(out, "],},");
	}
	buf_str(out, "},}");
}

int64_t disruption_stale_in(const struct json *pod, int64_t now_s)
{
	struct span phase = tree_span(tree_get(pod, "status"), "phase");
	const struct json *c = tree_find(tree_get(tree_get(pod, "status"), "conditions"), "type", SPAN("DisruptionTarget"));
	if (!c || !span_is(tree_span(c, "status"), "True") || tree_meta(pod, "deletionTimestamp") || span_is(phase, "Succeeded") ||
	    span_is(phase, "Failed"))
		return -1;
	return MAX(tree_time(tree_get(c, "lastTransitionTime")) + DISRUPTION_GONE_S - now_s, (int64_t)0);
}
