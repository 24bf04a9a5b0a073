/* HorizontalPodAutoscaler, v2 and v1. A v1 object is checked as the v2 one that it stands for: its CPU target is the metric
 * spec.metrics[0]. */
#include "strategy/check.h"

/* ---- defaults */
static void add_policy(struct arena *a, struct json *list, const char *type, int64_t value)
{
	struct json *policy = json_push(a, list, json_object());
	json_setl(a, policy, "type", json_cstr(type));
	json_setl(a, policy, "value", json_int(value));
	json_setl(a, policy, "periodSeconds", json_int(15));
}

static void default_rules(struct arena *a, struct json *behavior, bool up)
{
	struct json *rules = default_object(a, behavior, up ? "scaleUp" : "scaleDown");
	if (up)
		default_int(a, rules, "stabilizationWindowSeconds", 0);
	default_unset(a, rules, "selectPolicy", "Max");
	if (member(rules, "policies"))
		return;
	struct json *list = json_setl(a, rules, "policies", json_array());
	if (up)
		add_policy(a, list, "Pods", 4);
	add_policy(a, list, "Percent", 100);
}

static void default_hpa(struct arena *a, struct json *object)
{
	struct json *spec = default_object(a, object, "spec");
	default_int(a, spec, "minReplicas", 1);
	if (!json_count(member(spec, "metrics"))) {
		struct json *list = json_setl(a, spec, "metrics", json_array());
		struct json *metric = json_push(a, list, json_object());
		json_setl(a, metric, "type", json_str(SPAN("Resource")));
		struct json *resource = json_setl(a, metric, "resource", json_object());
		json_setl(a, resource, "name", json_str(SPAN("cpu")));
		struct json *target = json_setl(a, resource, "target", json_object());
		json_setl(a, target, "type", json_str(SPAN("Utilization")));
		json_setl(a, target, "averageUtilization", json_int(80));
	}
	if (member(spec, "behavior")) {
		default_rules(a, member(spec, "behavior"), true);
		default_rules(a, member(spec, "behavior"), false);
	}
}

static void default_hpa_v1(struct arena *a, struct json *object)
{
	struct json *spec = default_object(a, object, "spec");
	default_int(a, spec, "minReplicas", 1);
	if (!json_get(json_path(object, "metadata", "annotations", NULL), SPAN("autoscaling.alpha.kubernetes.io/metrics")))
		default_int(a, spec, "targetCPUUtilizationPercentage", 80);
}

/* The tolerance of a rule belongs to a feature that is off in 1.33. */
static void prepare_hpa(struct strategy *s)
{
	static const char *const names[] = { "scaleUp", "scaleDown" };
	bool had = false;
	prepare_status(s);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		had |= json_path(s->old, "spec", "behavior", names[i], "tolerance", NULL) != NULL;
	for (size_t i = 0; i < ARRAY_LEN(names) && !had; i++) {
		struct json *rules = json_path(s->object, "spec", "behavior", names[i], NULL);
		if (json_is(rules, JSON_OBJECT))
			json_remove(rules, SPAN("tolerance"));
	}
}

/* ---- validation */
static void check_reference(struct check *c, const struct path *at, const struct json *ref)
{
	if (check_present(c, at, ref, "kind"))
		check_name(c, &PATH(at, "kind"), member_text(ref, "kind"), api_name_path_segment);
	if (check_present(c, at, ref, "name"))
		check_name(c, &PATH(at, "name"), member_text(ref, "name"), api_name_path_segment);
}

static void check_positive_quantity(struct check *c, const struct path *at, const struct json *value)
{
	struct api_quantity q;
	if (!check_quantity(value, &q) || api_quantity_sign(&q) > 0)
		return;
	/* behind a pointer a quantity shows its text */
	auto_buf struct buf text = {};
	strategy_go_syntax(&text, "resource.Quantity", value);
	struct json raw = { .kind = JSON_RAW, .n = (uint32_t)text.len, .str = buf_cstr(&text) };
	bad_value(c, at, &raw, "must be positive");
}

static void check_target(struct check *c, const struct path *at, const struct json *target)
{
	struct span type = member_text(target, "type");
	const struct json *share = member(target, "averageUtilization");
	if (!type.len)
		bad_required(c, &PATH(at, "type"), "must specify a metric target type");
	if (!check_one_of(type, "Utilization Value AverageValue"))
		bad_string(c, &PATH(at, "type"), type, "must be either Utilization, Value, or AverageValue");
	check_positive_quantity(c, &PATH(at, "value"), member(target, "value"));
	check_positive_quantity(c, &PATH(at, "averageValue"), member(target, "averageValue"));
	if (share && json_i64(share, 0) < 1)
		bad_value(c, &PATH(at, "averageUtilization"), share, "must be greater than 0");
}

static void check_metric_name(struct check *c, const struct path *at, const struct json *metric)
{
	struct span name = member_text(metric, "name");
	if (!name.len)
		bad_required(c, &PATH(at, "name"), "must specify a metric name");
	else
		check_name(c, &PATH(at, "name"), name, api_name_path_segment);
}

/* kind of source: 'o'bject, 'e'xternal, 'p'ods, 'r'esource, 'c'ontainerResource */
static void check_source(struct check *c, const struct path *at, const struct json *source, char kind)
{
	const struct path target_at = PATH(at, "target");
	const struct json *target = member(source, "target");
	const struct json *value = member(target, "value"), *average = member(target, "averageValue");
	const struct json *share = member(target, "averageUtilization");
	struct span name = member_text(source, "name"), container = member_text(source, "container");
	if (kind == 'o')
		check_reference(c, &PATH(at, "describedObject"), member(source, "describedObject"));
	if (kind == 'o' || kind == 'e' || kind == 'p')
		check_metric_name(c, &PATH(at, "metric"), member(source, "metric"));
	if ((kind == 'r' || kind == 'c') && !name.len)
		bad_required(c, &PATH(at, "name"), "must specify a resource name");
	else if (kind == 'c')
		check_container_resource_name(c, &PATH(at, "name"), name);
	if (kind == 'c' && !container.len)
		bad_required(c, &PATH(at, "container"), "must specify a container");
	else if (kind == 'c')
		check_name(c, &PATH(at, "container"), container, api_name_dns1123_label);
	check_target(c, &target_at, target);
	if (kind == 'o' && !value && !average)
		bad_required(c, &PATH(&target_at, "averageValue"), "must set either a target value or averageValue");
	if (kind == 'e' && !value && !average)
		bad_required(c, &PATH(&target_at, "averageValue"), "must set either a target value for metric or a per-pod target");
	if (kind == 'e' && value && average)
		bad_forbidden(c, &PATH(&target_at, "value"), "may not set both a target value for metric and a per-pod target");
	if (kind == 'p' && !average)
		bad_required(c, &PATH(&target_at, "averageValue"), "must specify a positive target averageValue");
	if ((kind == 'r' || kind == 'c') && !share && !average)
		bad_required(c, &PATH(&target_at, "averageUtilization"),
			"must set either a target raw value or a target utilization");
	if ((kind == 'r' || kind == 'c') && share && average)
		bad_forbidden(c, &PATH(&target_at, "averageValue"), "may not set both a target raw value and a target utilization");
}

#define METRIC_TYPES "ContainerResource External Object Pods Resource"

static void check_metric(struct check *c, const struct path *at, const struct json *metric)
{
	static const struct { const char *type, *field; } kinds[] = {
		{ "Object", "object" }, { "External", "external" }, { "Pods", "pods" }, { "Resource", "resource" },
		{ "ContainerResource", "containerResource" },
	};
	struct span type = member_text(metric, "type");
	unsigned present = 0;
	if (!type.len)
		bad_required(c, &PATH(at, "type"), "must specify a metric source type");
	if (!check_one_of(type, METRIC_TYPES))
		bad_choice(c, &PATH(at, "type"), type, METRIC_TYPES);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct json *source = json_get(metric, span_of(kinds[i].field));
		if (source && ++present == 1)
			check_source(c, &PATH_SPAN(at, span_of(kinds[i].field)), source, kinds[i].field[0]);
	}
	bool known = false;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!span_is(type, kinds[i].type))
			continue;
		known = true;
		if (!json_get(metric, span_of(kinds[i].field)))
			bad_required(c, &PATH_SPAN(at, span_of(kinds[i].field)),
				"must populate information for the given metric source");
	}
	if (!known)
		bad_choice(c, &PATH(at, "type"), type, METRIC_TYPES);
	for (size_t i = 0; i < ARRAY_LEN(kinds) && present != 1; i++)
		if (json_get(metric, span_of(kinds[i].field)) && !span_is(type, kinds[i].type))
			bad_forbidden(c, &PATH_SPAN(at, span_of(kinds[i].field)), "must populate the given metric source only");
}

static void check_scaling(struct check *c, const struct path *at, const struct json *rules)
{
	const struct path window_at = PATH(at, "stabilizationWindowSeconds"), policies_at = PATH(at, "policies");
	const struct json *window = member(rules, "stabilizationWindowSeconds");
	if (!rules)
		return;
	if (window && window->i < 0)
		bad_value(c, &window_at, window, "must be greater than or equal to zero");
	if (window && window->i > 3600)
		bad_value(c, &window_at, window, "must be less than or equal to 3600");
	check_choice(c, &PATH(at, "selectPolicy"), member(rules, "selectPolicy"), "Disabled Max Min");
	if (!json_count(member(rules, "policies")))
		bad_required(c, &policies_at, "must specify at least one Policy");
	JSON_EACH_INDEX(member(rules, "policies"), policy, i) {
		const struct path item = PATH_INDEX(&policies_at, i);
		int64_t value = member_int(policy, "value"), period = member_int(policy, "periodSeconds");
		if (!check_one_of(member_text(policy, "type"), "Percent Pods"))
			bad_choice(c, &PATH(&item, "type"), member_text(policy, "type"), "Percent Pods");
		if (value <= 0)
			bad_int(c, &PATH(&item, "value"), value, "must be greater than zero");
		if (period <= 0)
			bad_int(c, &PATH(&item, "periodSeconds"), period, "must be greater than zero");
		if (period > 1800)
			bad_int(c, &PATH(&item, "periodSeconds"), period, "must be less than or equal to 1800");
	}
}

static void check_metrics(struct check *c, const struct path *at, const struct json *spec)
{
	const struct path metrics_at = PATH(at, "metrics");
	const struct json *share = member(spec, "targetCPUUtilizationPercentage"); /* v1 */
	bool scales_to_zero = false;
	JSON_EACH_INDEX(member(spec, "metrics"), metric, i) {
		check_metric(c, &PATH_INDEX(&metrics_at, i), metric);
		scales_to_zero |= check_one_of(member_text(metric, "type"), "Object External");
	}
	if (share && share->i < 1)
		bad_value(c, &PATH(&PATH(&PATH(&PATH_INDEX(&metrics_at, 0), "resource"), "target"), "averageUtilization"), share,
			  "must be greater than 0");
	if (member(spec, "minReplicas") && !member_int(spec, "minReplicas") && !scales_to_zero)
		bad_forbidden(c, &metrics_at, "must specify at least one Object or External metric to support scaling to zero "
			"replicas");
}

static void check_hpa(struct check *c, const struct json *hpa, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec"), behavior_at = PATH(&at, "behavior");
	const struct json *spec = member(hpa, "spec"), *min = member(spec, "minReplicas"), *was = json_path(old, "spec",
		"minReplicas", NULL);
	int64_t most = member_int(spec, "maxReplicas"), bound = was && was->i == 0 ? 0 : 1;
	if (old)
		check_meta_update(c, hpa, old, META_CORE);
	else
		check_meta(c, hpa, META_CORE, api_name_dns1123_subdomain);
	if (min && min->i < bound)
		bad_value(c, &PATH(&at, "minReplicas"), min, "must be greater than or equal to %d", (int)bound);
	if (most < 1)
		bad_int(c, &PATH(&at, "maxReplicas"), most, "must be greater than 0");
	if (min && most < min->i)
		bad_int(c, &PATH(&at, "maxReplicas"), most, "must be greater than or equal to `minReplicas`");
	check_reference(c, &PATH(&at, "scaleTargetRef"), member(spec, "scaleTargetRef"));
	check_metrics(c, &at, spec);
	check_scaling(c, &PATH(&behavior_at, "scaleUp"), json_path(spec, "behavior", "scaleUp", NULL));
	check_scaling(c, &PATH(&behavior_at, "scaleDown"), json_path(spec, "behavior", "scaleDown", NULL));
}

static void check_hpa_status(struct check *c, const struct json *hpa, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "status");
	const struct json *status = member(hpa, "status");
	check_meta_update(c, hpa, old, META_CORE);
	check_non_negative(c, &PATH(&at, "currentReplicas"), member(status, "currentReplicas"));
	check_non_negative(c, &PATH(&at, "desiredReplicas"), member(status, "desiredReplicas"));
}

const struct strategy_kind strategy_kind_hpa = {
	.group = "autoscaling", .kind = "HorizontalPodAutoscaler", .version = "v2", .flags = STRATEGY_UNCONDITIONAL_UPDATE,
	.defaults = default_hpa, .prepare = prepare_hpa, .check = check_hpa, .subs = { { "status", prepare_status_only,
		check_hpa_status } },
};
const struct strategy_kind strategy_kind_hpa_v1 = {
	.group = "autoscaling", .kind = "HorizontalPodAutoscaler", .version = "v1", .flags = STRATEGY_UNCONDITIONAL_UPDATE,
	.defaults = default_hpa_v1, .check = check_hpa, .subs = { { "status", prepare_status_only, check_hpa_status } },
};
