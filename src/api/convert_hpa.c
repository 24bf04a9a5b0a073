/* HorizontalPodAutoscaler between autoscaling/v2 (stored) and v1, as pkg/apis/autoscaling/v1 of Kubernetes converts them. v1 knows
 * one target, the CPU's utilization; other metrics, their state, the behavior and the conditions travel in annotations, as
 * JSON: metrics and conditions in the shapes of v1's own types, the behavior in Go's internal one, whose members begin
 * with capitals. */
#include "api/convert_private.h"

#include "api/codec.h"

#define NOTE(name) "autoscaling.alpha.kubernetes.io/" name

static const char *const notes[] = { NOTE("metrics"),	 NOTE("current-metrics"),      NOTE("behavior"),
				     NOTE("conditions"), NOTE("scale-down-tolerance"), NOTE("scale-up-tolerance") };

static void copy(struct arena *a, struct json *to, const char *to_name, const struct json *from, const char *from_name)
{
	const struct json *v = json_get(from, span_of(from_name));
	if (v)
		(void)json_set(a, to, span_of(to_name), *v);
}

static struct json *object_in(struct arena *a, struct json *parent, const char *name)
{
	struct json *v = json_get(parent, span_of(name));
	return v ? v : json_set(a, parent, span_of(name), json_object());
}

/* ---- annotations */

void api_convert_hpa_clean(struct arena *a, struct json *hpa)
{
	struct json *meta = json_getl(hpa, "metadata"), *annotations = json_getl(meta, "annotations");
	bool found = false;
	for (size_t i = 0; annotations && i < ARRAY_LEN(notes); i++)
		found = json_remove(annotations, span_of(notes[i])) || found;
	if (found && !annotations->n)
		(void)json_remove(meta, SPAN("annotations"));
}

static void note_set(struct arena *a, struct json *hpa, const char *name, struct span text)
{
	struct json *annotations = object_in(a, object_in(a, hpa, "metadata"), "annotations");
	(void)json_set(a, annotations, span_of(name), json_str(arena_span(a, text)));
}

/* The annotation's JSON; false when it is not there or none. */
static bool note_get(struct arena *a, const struct json *hpa, const char *name, struct json *out)
{
	struct span text = json_span(json_get(json_path(hpa, "metadata", "annotations", (char *)NULL), span_of(name)));
	return text.len && json_parse(a, text, JSON_DUPLICATES_LAST, NULL, out, NULL) == 0;
}

/* A list of v1's types as Go writes it. */
static void note_list(struct arena *a, struct json *hpa, const char *name, const char *type, const struct json *list)
{
	auto_buf struct buf text = {};
	buf_chr(&text, '[');
	JSON_EACH_ITEM(list, item) {
		if (text.len > 1)
			buf_chr(&text, ',');
		api_encode_json(&text, api_type_find(span_of(type)), item, 0);
	}
	buf_chr(&text, ']');
	note_set(a, hpa, name, buf_span(&text));
}

static bool note_list_get(struct arena *a, const struct json *hpa, const char *name, const char *type, struct json *out)
{
	if (!note_get(a, hpa, name, out) || out->kind != JSON_ARRAY)
		return false;
	JSON_EACH_ITEM(out, item)
		if (api_decode_tree(a, api_type_find(span_of(type)), item, NULL, NULL) < 0)
			return false;
	return true;
}

/* ---- metrics */

enum source { OBJECT, PODS, RESOURCE, CONTAINER_RESOURCE, EXTERNAL, SOURCE_COUNT };
static const char *const sources[SOURCE_COUNT] = { [OBJECT] = "object",
						   [PODS] = "pods",
						   [RESOURCE] = "resource",
						   [CONTAINER_RESOURCE] = "containerResource",
						   [EXTERNAL] = "external" };

/* Which v1 member holds which part of v2's source: spec's `target`, status' `current`. NULL: v1 has no such part. */
static const struct parts {
	const char *value, *average, *utilization, *selector;
} spec_parts[SOURCE_COUNT] = {
	[OBJECT] = { "targetValue", "averageValue", NULL, "selector" },
	[PODS] = { NULL, "targetAverageValue", NULL, "selector" },
	[RESOURCE] = { NULL, "targetAverageValue", "targetAverageUtilization", NULL },
	[CONTAINER_RESOURCE] = { NULL, "targetAverageValue", "targetAverageUtilization", NULL },
	[EXTERNAL] = { "targetValue", "targetAverageValue", NULL, "metricSelector" },
}, status_parts[SOURCE_COUNT] = {
	[OBJECT] = { "currentValue", "averageValue", NULL, "selector" },
	[PODS] = { NULL, "currentAverageValue", NULL, "selector" },
	[RESOURCE] = { NULL, "currentAverageValue", "currentAverageUtilization", NULL },
	[CONTAINER_RESOURCE] = { NULL, "currentAverageValue", "currentAverageUtilization", NULL },
	[EXTERNAL] = { "currentValue", "currentAverageValue", NULL, "metricSelector" },
};

static struct json source_to_v1(struct arena *a, enum source kind, const struct json *in, bool status)
{
	const struct parts *p = &(status ? status_parts : spec_parts)[kind];
	const struct json *target = json_get(in, span_of(status ? "current" : "target")), *metric = json_getl(in, "metric");
	struct json out = json_object();
	copy(a, &out, "target", in, "describedObject");
	copy(a, &out, "metricName", metric, "name");
	copy(a, &out, "name", in, "name");
	copy(a, &out, "container", in, "container");
	if (p->value)
		copy(a, &out, p->value, target, "value");
	if (p->average)
		copy(a, &out, p->average, target, "averageValue");
	if (p->utilization)
		copy(a, &out, p->utilization, target, "averageUtilization");
	if (p->selector)
		copy(a, &out, p->selector, metric, "selector");
	return out;
}

static bool is_zero(const struct json *quantity)
{
	return !quantity || span_is(json_span(quantity), "0");
}

/* How v2 names what v1's members imply. */
static const char *target_type(enum source kind, const struct json *in)
{
	switch (kind) {
	case OBJECT: return json_getl(in, "averageValue") ? "AverageValue" : "Value";
	case EXTERNAL: return json_getl(in, "targetValue") ? "Value" : "AverageValue";
	case RESOURCE:
	case CONTAINER_RESOURCE: return json_getl(in, "targetAverageUtilization") ? "Utilization" : "AverageValue";
	default: return "AverageValue";
	}
}

static struct json source_from_v1(struct arena *a, enum source kind, const struct json *in, bool status)
{
	const struct parts *p = &(status ? status_parts : spec_parts)[kind];
	struct json out = json_object(), target = json_object(), metric = json_object();
	bool named = kind == RESOURCE || kind == CONTAINER_RESOURCE;
	copy(a, &out, "describedObject", in, "target");
	copy(a, &out, "name", in, "name");
	copy(a, &out, "container", in, "container");
	copy(a, &metric, "name", in, "metricName");
	if (p->selector)
		copy(a, &metric, "selector", in, p->selector);
	if (!named)
		(void)json_setl(a, &out, "metric", metric);
	if (!status)
		(void)json_setl(a, &target, "type", json_cstr(target_type(kind, in)));
	/* v1 cannot leave targetValue out: beside an average, 0 means that there is none. */
	if (p->value && !(!status && kind == OBJECT && json_getl(in, "averageValue") && is_zero(json_getl(in, "targetValue"))))
		copy(a, &target, "value", in, p->value);
	if (p->average)
		copy(a, &target, "averageValue", in, p->average);
	if (p->utilization)
		copy(a, &target, "averageUtilization", in, p->utilization);
	(void)json_set(a, &out, span_of(status ? "current" : "target"), target);
	return out;
}

static struct json metric_convert(struct arena *a, const struct json *in, bool status, bool to_v1)
{
	struct json out = json_object();
	copy(a, &out, "type", in, "type");
	for (int k = 0; k < SOURCE_COUNT; k++) {
		const struct json *source = json_get(in, span_of(sources[k]));
		if (source)
			(void)json_set(a, &out, span_of(sources[k]),
				       to_v1 ? source_to_v1(a, (enum source)k, source, status)
					     : source_from_v1(a, (enum source)k, source, status));
	}
	return out;
}

/* The utilization of a metric that is the CPU's; NULL for any other. */
static const struct json *cpu_share(const struct json *metric, const char *where)
{
	const struct json *resource = json_getl(metric, "resource");
	if (!span_is(json_span(json_getl(metric, "type")), "Resource") ||
	    !span_is(json_span(json_getl(resource, "name")), "cpu"))
		return NULL;
	return json_getl(json_get(resource, span_of(where)), "averageUtilization");
}

static struct json cpu_metric(struct arena *a, const char *where, struct json share)
{
	struct json metric = json_object(), resource = json_object(), target = json_object();
	bool spec = strcmp(where, "target") == 0;
	if (spec)
		(void)json_setl(a, &target, "type", json_cstr("Utilization"));
	(void)json_setl(a, &target, "averageUtilization", share);
	(void)json_setl(a, &resource, "name", json_cstr("cpu"));
	(void)json_set(a, &resource, span_of(where), target);
	(void)json_setl(a, &metric, "type", json_cstr("Resource"));
	(void)json_setl(a, &metric, "resource", resource);
	return metric;
}

/* ---- behavior: Go's internal struct, marshalled as it is */

static void member_or_null(struct json_out *o, const char *name, const struct json *v)
{
	json_out_key(o, span_of(name));
	if (v)
		json_out_value(o, v);
	else
		json_out_null(o);
}

static void rules_write(struct json_out *o, const char *name, const struct json *rules)
{
	json_out_key(o, span_of(name));
	if (!rules) {
		json_out_null(o);
		return;
	}
	json_out_begin(o);
	member_or_null(o, "StabilizationWindowSeconds", json_getl(rules, "stabilizationWindowSeconds"));
	member_or_null(o, "SelectPolicy", json_getl(rules, "selectPolicy"));
	json_out_key(o, SPAN("Policies"));
	const struct json *policies = json_getl(rules, "policies");
	if (policies) {
		json_out_begin_array(o);
		JSON_EACH_ITEM(policies, policy) {
			json_out_begin(o);
			json_out_key(o, SPAN("Type"));
			json_out_span(o, json_span(json_getl(policy, "type")));
			json_out_key(o, SPAN("Value"));
			json_out_i64(o, json_i64(json_getl(policy, "value"), 0));
			json_out_key(o, SPAN("PeriodSeconds"));
			json_out_i64(o, json_i64(json_getl(policy, "periodSeconds"), 0));
			json_out_end(o);
		}
		json_out_end(o);
	} else {
		json_out_null(o);
	}
	member_or_null(o, "Tolerance", json_getl(rules, "tolerance"));
	json_out_end(o);
}

static void behavior_note(struct arena *a, struct json *hpa, const struct json *behavior)
{
	auto_buf struct buf text = {};
	struct json_out o = { .buf = &text, .style = JSON_HTML };
	json_out_begin(&o);
	rules_write(&o, "ScaleUp", json_getl(behavior, "scaleUp"));
	rules_write(&o, "ScaleDown", json_getl(behavior, "scaleDown"));
	json_out_end(&o);
	note_set(a, hpa, NOTE("behavior"), buf_span(&text));
}

/* Members as our types spell them: the first letter small. Go reads names in any case; what has the right letters is taken. */
static void small_first(struct arena *a, struct json *v, unsigned depth)
{
	static const char *const names[] = { "scaleUp",	   "scaleDown", "stabilizationWindowSeconds", "selectPolicy", "policies",
					     "tolerance", "type",      "value",			     "periodSeconds" };
	if (!depth)
		return;
	JSON_EACH_ITEM(v, item)
		small_first(a, item, depth - 1);
	JSON_EACH_MEMBER(v, m) {
		for (size_t i = 0; i < ARRAY_LEN(names); i++) {
			if (!span_eq_nocase(json_key(m), span_of(names[i])))
				continue;
			m->key = names[i];
			m->key_len = (uint32_t)strlen(names[i]);
			m->mark = 0;
		}
		small_first(a, &m->value, depth - 1);
	}
}

static bool behavior_get(struct arena *a, const struct json *hpa, struct json *out)
{
	if (!note_get(a, hpa, NOTE("behavior"), out))
		return false;
	small_first(a, out, 5);
	return api_decode_tree(a, api_type_find(SPAN("autoscaling/v2.HorizontalPodAutoscalerBehavior")), out, NULL, NULL) == 0 &&
	       out->n;
}

/* ---- the whole object */

void api_convert_hpa_to_v1(struct arena *a, struct json *hpa)
{
	struct json *spec = json_getl(hpa, "spec"), *status = json_getl(hpa, "status");
	const struct json *metrics = json_getl(spec, "metrics"), *current = json_getl(status, "currentMetrics");
	const struct json *behavior = json_getl(spec, "behavior"), *conditions = json_getl(status, "conditions");
	const struct json *share = NULL, *now = NULL;
	struct json others = json_array(), states = json_array();
	api_convert_hpa_clean(a, hpa);
	JSON_EACH_ITEM(metrics, metric) {
		const struct json *mine = cpu_share(metric, "target");
		share = share ? share : mine;
		if (!mine)
			(void)json_push(a, &others, metric_convert(a, metric, false, true));
	}
	JSON_EACH_ITEM(current, metric) {
		const struct json *mine = cpu_share(metric, "current");
		now = mine ? mine : now;
		(void)json_push(a, &states, metric_convert(a, metric, true, true));
	}
	if (others.n)
		note_list(a, hpa, NOTE("metrics"), "autoscaling/v1.MetricSpec", &others);
	if (states.n)
		note_list(a, hpa, NOTE("current-metrics"), "autoscaling/v1.MetricStatus", &states);
	if (behavior)
		behavior_note(a, hpa, behavior);
	if (conditions && conditions->n)
		note_list(a, hpa, NOTE("conditions"), "autoscaling/v1.HorizontalPodAutoscalerCondition", conditions);
	spec = json_getl(hpa, "spec"); /* annotations may have moved members */
	status = json_getl(hpa, "status");
	if (share)
		(void)json_setl(a, spec, "targetCPUUtilizationPercentage", *share);
	if (now)
		(void)json_setl(a, status, "currentCPUUtilizationPercentage", *now);
	if (spec) {
		(void)json_remove(spec, SPAN("metrics"));
		(void)json_remove(spec, SPAN("behavior"));
	}
	if (status) {
		(void)json_remove(status, SPAN("currentMetrics"));
		(void)json_remove(status, SPAN("conditions"));
	}
}

void api_convert_hpa_from_v1(struct arena *a, struct json *hpa)
{
	struct json *spec = object_in(a, hpa, "spec"), *status = json_getl(hpa, "status"), noted;
	const struct json *share = json_getl(spec, "targetCPUUtilizationPercentage");
	const struct json *now = json_getl(status, "currentCPUUtilizationPercentage");
	struct json metrics = json_array(), states = json_array();
	if (note_list_get(a, hpa, NOTE("metrics"), "autoscaling/v1.MetricSpec", &noted))
		JSON_EACH_ITEM(&noted, metric)
			(void)json_push(a, &metrics, metric_convert(a, metric, false, false));
	if (share)
		(void)json_push(a, &metrics, cpu_metric(a, "target", *share));
	if (!metrics.n) /* v1 always meant this much */
		(void)json_push(a, &metrics, cpu_metric(a, "target", json_int(80)));
	(void)json_remove(spec, SPAN("targetCPUUtilizationPercentage"));
	(void)json_setl(a, spec, "metrics", metrics);
	if (behavior_get(a, hpa, &noted))
		(void)json_setl(a, spec, "behavior", noted);
	if (note_list_get(a, hpa, NOTE("current-metrics"), "autoscaling/v1.MetricStatus", &noted)) {
		JSON_EACH_ITEM(&noted, metric)
			(void)json_push(a, &states, metric_convert(a, metric, true, false));
	} else if (now) {
		(void)json_push(a, &states, cpu_metric(a, "current", *now));
	}
	bool conditions = note_list_get(a, hpa, NOTE("conditions"), "autoscaling/v1.HorizontalPodAutoscalerCondition", &noted);
	if (states.n || conditions)
		status = object_in(a, hpa, "status");
	if (states.n)
		(void)json_setl(a, status, "currentMetrics", states);
	if (conditions)
		(void)json_setl(a, status, "conditions", noted);
	if (status)
		(void)json_remove(status, SPAN("currentCPUUtilizationPercentage"));
	api_convert_hpa_clean(a, hpa);
}
