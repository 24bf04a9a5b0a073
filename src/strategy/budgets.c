/* PodDisruptionBudget. */
#include "strategy/check.h"

void check_int_or_percent(struct check *c, const struct path *at, const struct json *value)
{
	struct api_complaints bad;
	if (!json_is(value, JSON_STRING)) {
		check_non_negative(c, at, value);
		return;
	}
	if (api_name_percent(json_span(value), &bad))
		for (unsigned i = 0; i < bad.n; i++)
			bad_typed(c, at, "intstr.IntOrString", value, "%s", bad.text[i]);
}

void check_at_most_100_percent(struct check *c, const struct path *at, const struct json *value)
{
	int64_t percent;
	struct span text = json_span(value);
	if (!json_is(value, JSON_STRING) || api_name_percent(text, NULL))
		return;
	if (!span_to_i64(span_sub(text, 0, text.len - 1), &percent) || percent > 100)
		bad_typed(c, at, "intstr.IntOrString", value, "must not be greater than 100%%");
}

static void check_budget(struct check *c, const struct json *budget, const struct json *old)
{
	static const char *const bounds[] = { "minAvailable", "maxUnavailable" };
	const struct path at = PATH(PATH_ROOT, "spec");
	const struct json *spec = member(budget, "spec");
	if (member(spec, "minAvailable") && member(spec, "maxUnavailable"))
		bad_typed(c, &at, "policy/v1.PodDisruptionBudgetSpec", spec, "minAvailable and maxUnavailable cannot be both set");
	for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
		const struct json *v = json_get(spec, span_of(bounds[i]));
		const struct path bound_at = PATH_SPAN(&at, span_of(bounds[i]));
		if (!v)
			continue;
		check_int_or_percent(c, &bound_at, v);
		check_at_most_100_percent(c, &bound_at, v);
	}
	check_label_selector(c, &PATH(&at, "selector"), member(spec, "selector"),
			     check_selector_has_bad_value(json_path(old, "spec", "selector", NULL)));
	check_choice(c, &PATH(&at, "unhealthyPodEvictionPolicy"), member(spec, "unhealthyPodEvictionPolicy"),
		     "AlwaysAllow IfHealthyBudget");
}

static void check_budget_status(struct check *c, const struct json *budget, const struct json *old)
{
	static const char *const counts[] = { "disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods" };
	const struct path at = PATH(PATH_ROOT, "status");
	const struct json *status = member(budget, "status");
	check_conditions(c, &PATH(&at, "conditions"), member(status, "conditions"));
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		check_non_negative(c, &PATH_SPAN(&at, span_of(counts[i])), json_get(status, span_of(counts[i])));
}

const struct strategy_kind strategy_kind_budget = {
	.group = "policy", .kind = "PodDisruptionBudget", .flags = STRATEGY_HAS_GENERATION, .prepare = prepare_generation,
	.check = check_budget, .subs = { { "status", prepare_status_only, check_budget_status } },
};
