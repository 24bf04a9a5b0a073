/* StatefulSets, DaemonSets and the ControllerRevisions in which both keep their past. */
#include "strategy/workload.h"

static struct pod_opts template_opts(struct check *c, const struct json *old)
{
	return pod_opts_of_template(c->arena, json_path(old, "spec", "template", NULL));
}

/* ---- StatefulSet */
static void default_stateful_set(struct arena *a, struct json *set)
{
	struct json *spec = default_object(a, set, "spec");
	default_pod_template(a, default_object(a, spec, "template"));
	JSON_EACH_ITEM(member(spec, "volumeClaimTemplates"), claim) {
		default_string(a, claim, "kind", "PersistentVolumeClaim");
		default_string(a, claim, "apiVersion", "v1");
		default_claim_spec(a, default_object(a, claim, "spec"));
		default_string(a, default_object(a, claim, "status"), "phase", "Pending");
	}
	default_string(a, spec, "podManagementPolicy", "OrderedReady");
	default_int(a, spec, "replicas", 1);
	default_int(a, spec, "revisionHistoryLimit", 10);
	struct json *strategy = default_object(a, spec, "updateStrategy");
	if (!member_text(strategy, "type").len) {
		default_string(a, strategy, "type", "RollingUpdate");
		default_object(a, strategy, "rollingUpdate");
	}
	if (span_is(member_text(strategy, "type"), "RollingUpdate") && member(strategy, "rollingUpdate"))
		default_int(a, member(strategy, "rollingUpdate"), "partition", 0);
	struct json *retention = default_object(a, spec, "persistentVolumeClaimRetentionPolicy");
	default_string(a, retention, "whenDeleted", "Retain");
	default_string(a, retention, "whenScaled", "Retain");
}

static void prepare_stateful_set(struct strategy *s)
{
	/* MaxUnavailableStatefulSet is off in 1.33. */
	struct json *rolling = json_path(s->object, "spec", "updateStrategy", "rollingUpdate", NULL);
	if (json_is(rolling, JSON_OBJECT) && !json_path(s->old, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable", NULL))
		json_remove(rolling, SPAN("maxUnavailable"));
	prepare_workload(s, "apps/v1.StatefulSetSpec");
}

static void check_set_strategy(struct check *c, const struct path *at, const struct json *strategy)
{
	struct span type = member_text(strategy, "type");
	const struct json *rolling = member(strategy, "rollingUpdate"), *unavailable = member(rolling, "maxUnavailable");
	const struct path rolling_at = PATH(at, "rollingUpdate"), unavailable_at = PATH(&rolling_at, "maxUnavailable");
	if (!type.len) {
		bad_required(c, at, "");
	} else if (span_is(type, "OnDelete")) {
		if (rolling)
			bad_typed(c, &rolling_at, "apps/v1.RollingUpdateStatefulSetStrategy", rolling,
				  "only allowed for updateStrategy 'RollingUpdate'");
	} else if (span_is(type, "RollingUpdate")) {
		check_non_negative(c, &PATH(&rolling_at, "partition"), member(rolling, "partition"));
		if (!unavailable)
			return;
		check_int_or_percent(c, &unavailable_at, unavailable);
		if (!workload_int_or_percent(unavailable))
			bad_typed(c, &unavailable_at, "intstr.IntOrString", unavailable, "cannot be 0");
		check_at_most_100_percent(c, &unavailable_at, unavailable);
	} else {
		bad_typed(c, at, "apps/v1.StatefulSetUpdateStrategy", strategy, "must be 'RollingUpdate' or 'OnDelete'");
	}
}

/* Of a StatefulSet's template only labels and annotations are looked at: its volumes come from claims too. */
static void check_set_template(struct check *c, const struct path *spec_at, const struct json *spec, const struct pod_opts *opts)
{
	const struct path at = PATH(spec_at, "template"), annotations_at = PATH(&at, "annotations");
	const struct json *template = member(spec, "template"), *meta = member(template, "metadata");
	enum workload_match match = workload_match(c->arena, member(spec, "selector"), template);
	if (match == WORKLOAD_BAD_SELECTOR) {
		bad_typed(c, &PATH(spec_at, "selector"), "meta/v1.LabelSelector", member(spec, "selector"), "%s", "");
	} else {
		if (match == WORKLOAD_DIFFERS)
			check_template_labels(c, &at, template);
		check_labels(c, &PATH(&at, "labels"), member(meta, "labels"));
		check_annotations(c, &annotations_at, member(meta, "annotations"));
		check_pod_annotations(c, &annotations_at, member(meta, "annotations"), member(template, "spec"), opts);
	}
	check_template_runs_on(c, &at, template, "StatefulSet");
}

static void check_set_spec(struct check *c, const struct json *set, const struct json *old)
{
	const struct json *spec = member(set, "spec"), *retention = member(spec, "persistentVolumeClaimRetentionPolicy");
	const struct path at = PATH(PATH_ROOT, "spec"), retention_at = PATH(&at, "persistentVolumeClaimRetentionPolicy");
	struct pod_opts opts = template_opts(c, old);
	struct span policy = member_text(spec, "podManagementPolicy"), service = member_text(spec, "serviceName");
	if (!policy.len)
		bad_required(c, &PATH(&at, "podManagementPolicy"), "");
	else if (!check_one_of(policy, "OrderedReady Parallel"))
		bad_string(c, &PATH(&at, "podManagementPolicy"), policy, "must be 'OrderedReady' or 'Parallel'");
	check_set_strategy(c, &PATH(&at, "updateStrategy"), member(spec, "updateStrategy"));
	if (retention) {
		static const char *const when[] = { "whenDeleted", "whenScaled" };
		for (size_t i = 0; i < ARRAY_LEN(when); i++)
			if (!check_one_of(member_text(retention, when[i]), "Retain Delete"))
				bad_choice(c, &PATH_SPAN(&retention_at, span_of(when[i])), member_text(retention, when[i]),
					   "Retain Delete");
	}
	check_non_negative(c, &PATH(&at, "replicas"), member(spec, "replicas"));
	check_non_negative(c, &PATH(&at, "minReadySeconds"), member(spec, "minReadySeconds"));
	check_non_negative(c, &PATH(&at, "ordinals.start"), member(member(spec, "ordinals"), "start"));
	if (service.len && !old)
		check_name(c, &PATH(&at, "serviceName"), service, api_name_dns1123_label);
	check_workload_selector(c, &at, spec, "statefulset");
	check_set_template(c, &at, spec, &opts);
}

/* The rest of the spec: a copy in which everything that may change is as it was. */
static void check_set_kept(struct check *c, const struct json *set, const struct json *old)
{
	static const char *const free_fields[] = {
		"replicas", "template", "updateStrategy", "minReadySeconds", "ordinals", "revisionHistoryLimit",
		"persistentVolumeClaimRetentionPolicy",
	};
	const struct json *was = member(old, "spec"), *now = member(set, "spec");
	struct json copy = now ? json_copy(c->arena, now) : json_object();
	for (size_t i = 0; i < ARRAY_LEN(free_fields); i++) {
		const struct json *m = json_get(was, span_of(free_fields[i]));
		if (m)
			json_set(c->arena, &copy, span_of(free_fields[i]), *m);
		else
			json_remove(&copy, span_of(free_fields[i]));
	}
	if (!pod_same_named("apps/v1.StatefulSetSpec", &copy, was))
		bad_forbidden(
			c, &PATH(PATH_ROOT, "spec"),
			"updates to statefulset spec for fields other than 'replicas', 'ordinals', "
			"'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
			"'minReadySeconds' are forbidden");
}

static void check_stateful_set(struct check *c, const struct json *set, const struct json *old)
{
	if (old)
		check_meta_update(c, set, old, META_CORE);
	else
		check_meta(c, set, META_CORE, api_name_dns1123_label);
	check_set_spec(c, set, old);
	if (old)
		check_set_kept(c, set, old);
}

static void check_stateful_status(struct check *c, const struct json *set, const struct json *old)
{
	static const char *const bounded[] = { "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas" };
	const struct path at = PATH(PATH_ROOT, "status");
	const struct json *status = member(set, "status");
	check_counts(c, &at, status, "replicas readyReplicas currentReplicas updatedReplicas availableReplicas observedGeneration "
				     "collisionCount");
	for (size_t i = 0; i < ARRAY_LEN(bounded); i++)
		check_not_above(c, &at, status, bounded[i], "replicas", "status.replicas");
	check_not_above(c, &at, status, "availableReplicas", "readyReplicas", "status.readyReplicas");
	check_meta_update(c, set, old, META_CORE);
	check_collision_count(c, status, member(old, "status"));
}

static void warn_stateful_set(struct check *c, const struct json *set, const struct json *old)
{
	const struct json *spec = member(set, "spec");
	const struct path at = PATH(&PATH(PATH_ROOT, "spec"), "volumeClaimTemplates");
	workload_template_warnings(c, set, old);
	if (!old || member_int(member(set, "metadata"), "generation") != member_int(member(old, "metadata"), "generation"))
		JSON_EACH_INDEX(member(spec, "volumeClaimTemplates"), claim, i)
			strategy_warn_claim_spec(c->s, &PATH_INDEX(&at, i), member(claim, "spec"));
	if (member_int(spec, "revisionHistoryLimit") < 0)
		strategy_warn(c->s, "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is "
				    "recommended");
}

const struct strategy_kind strategy_kind_stateful_set = {
	.group = "apps", .kind = "StatefulSet", .flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_HAS_GENERATION,
	.defaults = default_stateful_set, .prepare = prepare_stateful_set, .check = check_stateful_set,
	.warnings = warn_stateful_set,
	.subs = { { "status", prepare_status_only, check_stateful_status } },
};

/* ---- DaemonSet. The internal templateGeneration is an annotation in v1: the server counts changes of the template there. */
static const char generation_key[] = "deprecated.daemonset.template.generation";

static void default_daemon_set(struct arena *a, struct json *set)
{
	struct json *spec = default_object(a, set, "spec");
	default_pod_template(a, default_object(a, spec, "template"));
	default_int(a, spec, "revisionHistoryLimit", 10);
	struct json *strategy = default_object(a, spec, "updateStrategy");
	default_string(a, strategy, "type", "RollingUpdate");
	if (span_is(member_text(strategy, "type"), "RollingUpdate")) {
		struct json *rolling = default_object(a, strategy, "rollingUpdate");
		default_int(a, rolling, "maxUnavailable", 1);
		default_int(a, rolling, "maxSurge", 0);
	}
}

static int64_t template_generation(const struct json *set)
{
	int64_t n = 0;
	(void)span_to_i64(json_span(json_get(json_path(set, "metadata", "annotations", NULL), span_of(generation_key))), &n);
	return n;
}

static void set_template_generation(struct strategy *s, int64_t n)
{
	struct json *annotations = default_object(s->arena, strategy_meta(s), "annotations");
	json_set(s->arena, annotations, span_of(generation_key), json_str(arena_printf(s->arena, "%lld", (long long)n)));
}

static void prepare_daemon_set(struct strategy *s)
{
	prepare_workload(s, "apps/v1.DaemonSetSpec");
	if (strategy_creates(s)) {
		int64_t n = template_generation(s->object);
		set_template_generation(s, n < 1 ? 1 : n);
		return;
	}
	bool changed = !pod_same_named("core/v1.PodTemplateSpec", json_path(s->object, "spec", "template", NULL),
				       json_path(s->old, "spec", "template", NULL));
	set_template_generation(s, template_generation(s->old) + changed);
}

static void check_daemon_strategy(struct check *c, const struct path *at, const struct json *strategy)
{
	struct span type = member_text(strategy, "type");
	const struct json *rolling = member(strategy, "rollingUpdate");
	const struct json *unavailable = member(rolling, "maxUnavailable"), *surge = member(rolling, "maxSurge");
	const struct path rolling_at = PATH(at, "rollingUpdate");
	const struct path unavailable_at = PATH(&rolling_at, "maxUnavailable"), surge_at = PATH(&rolling_at, "maxSurge");
	if (span_is(type, "OnDelete"))
		return;
	if (!span_is(type, "RollingUpdate")) {
		auto_buf struct buf shown = {};
		strategy_go_syntax(&shown, "apps/v1.DaemonSetUpdateStrategy", strategy);
		pod_bad(c, at, API_FE_NOT_SUPPORTED, buf_span(&shown), "supported values: \"RollingUpdate\", \"OnDelete\"");
		return;
	}
	if (!rolling) {
		bad_required(c, &rolling_at, "");
		return;
	}
	check_int_or_percent(c, &unavailable_at, unavailable);
	check_int_or_percent(c, &surge_at, surge);
	check_at_most_100_percent(c, &unavailable_at, unavailable);
	check_at_most_100_percent(c, &surge_at, surge);
	bool some_down = workload_int_or_percent(unavailable), some_more = workload_int_or_percent(surge);
	if (some_down && some_more)
		bad_typed(c, &surge_at, "intstr.IntOrString", surge, "may not be set when maxUnavailable is non-zero");
	else if (!some_down && !some_more)
		bad_required(c, &unavailable_at, "cannot be 0 when maxSurge is 0");
}

static void check_daemon_set(struct check *c, const struct json *set, const struct json *old)
{
	const struct json *spec = member(set, "spec"), *selector = member(spec, "selector"), *template = member(spec, "template");
	const struct path at = PATH(PATH_ROOT, "spec"), template_at = PATH(&at, "template"), selector_at = PATH(&at, "selector");
	struct pod_opts opts = template_opts(c, old);
	opts.lax_selector_values |= check_selector_has_bad_value(json_path(old, "spec", "selector", NULL));
	check_meta(c, set, META_CORE, api_name_dns1123_subdomain);
	check_label_selector(c, &selector_at, selector, opts.lax_selector_values);
	if (workload_match(c->arena, selector, template) == WORKLOAD_DIFFERS)
		check_template_labels(c, &template_at, template);
	if (selector && !json_count(member(selector, "matchLabels")) && !json_count(member(selector, "matchExpressions")))
		bad_typed(c, &selector_at, "meta/v1.LabelSelector", selector, "empty selector is invalid for daemonset");
	check_pod_template(c, &template_at, template, &opts);
	check_template_runs_on(c, &template_at, template, "DaemonSet");
	check_non_negative(c, &PATH(&at, "minReadySeconds"), member(spec, "minReadySeconds"));
	check_daemon_strategy(c, &PATH(&at, "updateStrategy"), member(spec, "updateStrategy"));
	check_non_negative(c, &PATH(&at, "revisionHistoryLimit"), member(spec, "revisionHistoryLimit"));
	if (!old)
		return;
	check_meta_update(c, set, old, META_CORE);
	check_immutable_pointer(c, &selector_at, "meta/v1.LabelSelector", selector, json_path(old, "spec", "selector", NULL));
}

static void check_daemon_status(struct check *c, const struct json *set, const struct json *old)
{
	const struct json *status = member(set, "status");
	check_meta_update(c, set, old, META_CORE);
	check_counts(c, &PATH(PATH_ROOT, "status"), status,
		     "currentNumberScheduled numberMisscheduled desiredNumberScheduled numberReady "
		     "observedGeneration updatedNumberScheduled numberAvailable numberUnavailable collisionCount");
	check_collision_count(c, status, member(old, "status"));
}

const struct strategy_kind strategy_kind_daemon_set = {
	.group = "apps", .kind = "DaemonSet", .flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_HAS_GENERATION,
	.defaults = default_daemon_set, .prepare = prepare_daemon_set, .check = check_daemon_set,
	.warnings = workload_template_warnings,
	.subs = { { "status", prepare_status_only, check_daemon_status } },
};

/* ---- ControllerRevision */
static void check_controller_revision(struct check *c, const struct json *revision, const struct json *old)
{
	const struct path data_at = PATH(PATH_ROOT, "data");
	const struct json *data = member(revision, "data");
	if (old)
		check_meta_update(c, revision, old, META_CORE);
	check_meta(c, revision, META_CORE, api_name_dns1123_subdomain);
	if (!data)
		bad_required(c, &data_at, "data is mandatory");
	check_non_negative(c, &PATH(PATH_ROOT, "revision"), member(revision, "revision"));
	if (old && !json_equal(data ? data : &JSON_NULL_VALUE, member(old, "data") ? member(old, "data") : &JSON_NULL_VALUE)) {
		/* runtime.RawExtension prints its bytes upstream; ours shows the JSON. */
		auto_buf struct buf shown = {};
		if (data)
			json_write(&shown, data, 0);
		pod_bad(c, &data_at, API_FE_INVALID, data ? buf_span(&shown) : SPAN("\"null\""), "field is immutable");
	}
}

const struct strategy_kind strategy_kind_controller_revision = {
	.group = "apps", .kind = "ControllerRevision", .flags = STRATEGY_UNCONDITIONAL_UPDATE,
	.prepare = prepare_nothing, .check = check_controller_revision,
};
