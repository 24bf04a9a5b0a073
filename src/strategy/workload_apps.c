/* Deployments and ReplicaSets, ReplicationControllers and PodTemplates. */
#include "strategy/workload.h"

/* ---- what Deployments and ReplicaSets share */
static void check_template_for_set(struct check *c, const struct path *spec_at, const struct json *spec,
				   const struct pod_opts *opts)
{
	const struct path at = PATH(spec_at, "template"), selector_at = PATH(spec_at, "selector");
	const struct json *template = member(spec, "template");
	enum workload_match match = workload_match(c->arena, member(spec, "selector"), template);
	if (match == WORKLOAD_BAD_SELECTOR) {
		bad_typed(c, &selector_at, "meta/v1.LabelSelector", member(spec, "selector"), "invalid label selector");
		return;
	}
	if (match == WORKLOAD_DIFFERS)
		check_template_labels(c, &at, template);
	check_pod_template(c, &at, template, opts);
	check_template_runs_on(c, &at, template, "ReplicaSet");
}

static struct pod_opts template_opts(struct check *c, const struct json *old)
{
	return pod_opts_of_template(c->arena, json_path(old, "spec", "template", NULL));
}

static void check_selector_kept(struct check *c, const struct json *object, const struct json *old)
{
	if (old)
		check_immutable_pointer(c, &PATH(&PATH(PATH_ROOT, "spec"), "selector"), "meta/v1.LabelSelector",
					json_path(object, "spec", "selector", NULL), json_path(old, "spec", "selector", NULL));
}

static void check_meta_both(struct check *c, const struct json *object, const struct json *old)
{
	if (old)
		check_meta_update(c, object, old, META_CORE);
	else
		check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
}

/* ---- Deployment */
static void default_deployment(struct arena *a, struct json *d)
{
	struct json *spec = default_object(a, d, "spec");
	default_pod_template(a, default_object(a, spec, "template"));
	default_int(a, spec, "replicas", 1);
	default_int(a, spec, "revisionHistoryLimit", 10);
	default_int(a, spec, "progressDeadlineSeconds", 600);
	struct json *strategy = default_object(a, spec, "strategy");
	default_string(a, strategy, "type", "RollingUpdate");
	if (span_is(member_text(strategy, "type"), "RollingUpdate")) {
		struct json *rolling = default_object(a, strategy, "rollingUpdate");
		default_unset(a, rolling, "maxUnavailable", "25%");
		default_unset(a, rolling, "maxSurge", "25%");
	}
}

/* Annotations count as a change too: kubectl rollout and others speak through them. */
static void prepare_deployment(struct strategy *s)
{
	prepare_workload(s, "apps/v1.DeploymentSpec");
	if (!strategy_creates(s) && member_changed(member(s->object, "metadata"), member(s->old, "metadata"), "annotations"))
		strategy_generation(s, true);
}

static void check_rolling(struct check *c, const struct path *at, const struct json *rolling)
{
	const struct json *unavailable = member(rolling, "maxUnavailable"), *surge = member(rolling, "maxSurge");
	const struct path unavailable_at = PATH(at, "maxUnavailable");
	check_int_or_percent(c, &unavailable_at, unavailable);
	check_int_or_percent(c, &PATH(at, "maxSurge"), surge);
	if (!workload_int_or_percent(unavailable) && !workload_int_or_percent(surge))
		bad_typed(c, &unavailable_at, "intstr.IntOrString", unavailable, "may not be 0 when `maxSurge` is 0");
	check_at_most_100_percent(c, &unavailable_at, unavailable);
}

static void check_deployment_strategy(struct check *c, const struct path *at, const struct json *strategy)
{
	struct span type = member_text(strategy, "type");
	const struct json *rolling = member(strategy, "rollingUpdate");
	const struct path rolling_at = PATH(at, "rollingUpdate");
	if (span_is(type, "Recreate")) {
		if (rolling)
			bad_forbidden(c, &rolling_at, "may not be specified when strategy `type` is 'Recreate'");
	} else if (span_is(type, "RollingUpdate")) {
		if (!rolling)
			bad_required(c, &rolling_at, "this should be defaulted and never be nil");
		else
			check_rolling(c, &rolling_at, rolling);
	} else {
		auto_buf struct buf shown = {};
		strategy_go_syntax(&shown, "apps/v1.DeploymentStrategy", strategy);
		pod_bad(c, at, API_FE_NOT_SUPPORTED, buf_span(&shown), "supported values: \"Recreate\", \"RollingUpdate\"");
	}
}

static void check_deployment(struct check *c, const struct json *d, const struct json *old)
{
	const struct json *spec = member(d, "spec"), *progress = member(spec, "progressDeadlineSeconds");
	const struct path at = PATH(PATH_ROOT, "spec"), progress_at = PATH(&at, "progressDeadlineSeconds");
	struct pod_opts opts = template_opts(c, old);
	check_meta_both(c, d, old);
	check_non_negative(c, &PATH(&at, "replicas"), member(spec, "replicas"));
	check_workload_selector(c, &at, spec, "deployment");
	check_template_for_set(c, &at, spec, &opts);
	check_deployment_strategy(c, &PATH(&at, "strategy"), member(spec, "strategy"));
	check_non_negative(c, &PATH(&at, "minReadySeconds"), member(spec, "minReadySeconds"));
	check_non_negative(c, &PATH(&at, "revisionHistoryLimit"), member(spec, "revisionHistoryLimit"));
	check_non_negative(c, &progress_at, progress);
	if (progress && json_i64(progress, 0) <= member_int(spec, "minReadySeconds"))
		bad_value(c, &progress_at, progress, "must be greater than minReadySeconds");
	check_selector_kept(c, d, old);
}

static void check_deployment_status(struct check *c, const struct json *d, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "status");
	const struct json *status = member(d, "status");
	check_meta_update(c, d, old, META_CORE);
	check_counts(c, &at, status,
		     "observedGeneration replicas updatedReplicas readyReplicas availableReplicas unavailableReplicas "
		     "collisionCount");
	check_not_above(c, &at, status, "updatedReplicas", "replicas", "status.replicas");
	check_not_above(c, &at, status, "readyReplicas", "replicas", "status.replicas");
	check_not_above(c, &at, status, "availableReplicas", "replicas", "status.replicas");
	check_not_above(c, &at, status, "availableReplicas", "readyReplicas", "readyReplicas");
	check_collision_count(c, status, member(old, "status"));
}

static void warn_named(struct check *c, const struct json *object, const struct json *old)
{
	if (!old)
		check_warn_name(c, object, "Pod names and hostnames");
	workload_template_warnings(c, object, old);
}

const struct strategy_kind strategy_kind_deployment = {
	.group = "apps", .kind = "Deployment", .flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_HAS_GENERATION,
	.defaults = default_deployment, .prepare = prepare_deployment, .check = check_deployment, .warnings = warn_named,
	.subs = { { "status", prepare_status_meta, check_deployment_status } },
};

/* ---- ReplicaSet */
static void default_replica_set(struct arena *a, struct json *rs)
{
	struct json *spec = default_object(a, rs, "spec");
	if (member(spec, "template"))
		default_pod_template(a, member(spec, "template"));
	default_int(a, spec, "replicas", 1);
}

static void prepare_replica_set(struct strategy *s)
{
	prepare_workload(s, "apps/v1.ReplicaSetSpec");
}

static void check_replica_set(struct check *c, const struct json *rs, const struct json *old)
{
	const struct json *spec = member(rs, "spec");
	const struct path at = PATH(PATH_ROOT, "spec");
	struct pod_opts opts = template_opts(c, old);
	check_meta(c, rs, META_CORE, api_name_dns1123_subdomain);
	check_non_negative(c, &PATH(&at, "replicas"), member(spec, "replicas"));
	check_non_negative(c, &PATH(&at, "minReadySeconds"), member(spec, "minReadySeconds"));
	check_workload_selector(c, &at, spec, "deployment"); /* upstream's word, copied from there */
	check_template_for_set(c, &at, spec, &opts);
	if (old)
		check_meta_update(c, rs, old, META_CORE);
	check_selector_kept(c, rs, old);
}

/* ReplicaSets and ReplicationControllers count alike. */
static void check_replica_status(struct check *c, const struct json *rs, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "status");
	const struct json *status = member(rs, "status");
	check_meta_update(c, rs, old, META_CORE);
	check_counts(c, &at, status, "replicas fullyLabeledReplicas readyReplicas availableReplicas observedGeneration");
	check_not_above(c, &at, status, "fullyLabeledReplicas", "replicas", "status.replicas");
	check_not_above(c, &at, status, "readyReplicas", "replicas", "status.replicas");
	check_not_above(c, &at, status, "availableReplicas", "replicas", "status.replicas");
	check_not_above(c, &at, status, "availableReplicas", "readyReplicas", "readyReplicas");
}

const struct strategy_kind strategy_kind_replica_set = {
	.group = "apps", .kind = "ReplicaSet", .flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_HAS_GENERATION,
	.defaults = default_replica_set, .prepare = prepare_replica_set, .check = check_replica_set, .warnings = warn_named,
	.subs = { { "status", prepare_status_only, check_replica_status } },
};

/* ---- ReplicationController */
static void default_replication_controller(struct arena *a, struct json *rc)
{
	struct json *meta = default_object(a, rc, "metadata"), *spec = default_object(a, rc, "spec"),
		    *template = member(spec, "template");
	meta = member(rc, "metadata"); /* adding a member moves its neighbours */
	default_pod_template(a, template);
	const struct json *labels = member(member(template, "metadata"), "labels");
	if (json_count(labels)) {
		if (!json_count(member(spec, "selector")))
			json_setl(a, spec, "selector", json_copy(a, labels));
		if (!json_count(member(meta, "labels")))
			json_setl(a, meta, "labels", json_copy(a, labels));
	}
	default_int(a, spec, "replicas", 1);
	default_int(a, spec, "minReadySeconds", 0);
}

static void prepare_replication_controller(struct strategy *s)
{
	prepare_workload(s, "core/v1.ReplicationControllerSpec");
}

static void check_replication_controller(struct check *c, const struct json *rc, const struct json *old)
{
	const struct json *spec = member(rc, "spec"), *template = member(spec, "template"), *selector = member(spec, "selector");
	const struct path at = PATH(PATH_ROOT, "spec"), template_at = PATH(&at, "template");
	struct pod_opts opts = template_opts(c, old);
	struct api_label_selector sel;
	check_meta(c, rc, META_CORE, api_name_dns1123_subdomain);
	check_non_negative(c, &PATH(&at, "minReadySeconds"), member(spec, "minReadySeconds"));
	if (!json_count(selector))
		bad_required(c, &PATH(&at, "selector"), "");
	check_non_negative(c, &PATH(&at, "replicas"), member(spec, "replicas"));
	if (!template) {
		bad_required(c, &template_at, "");
	} else {
		api_label_selector_of_map(c->arena, selector, &sel);
		if (!api_label_selector_match(&sel, json_path(template, "metadata", "labels", NULL)))
			check_template_labels(c, &template_at, template);
		check_pod_template(c, &template_at, template, &opts);
		check_template_runs_on(c, &template_at, template, "ReplicationController");
	}
	if (old)
		check_meta_update(c, rc, old, META_CORE);
}

const struct strategy_kind strategy_kind_replication_controller = {
	.group = "", .kind = "ReplicationController", .flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_HAS_GENERATION,
	.defaults = default_replication_controller, .prepare = prepare_replication_controller,
	.check = check_replication_controller, .warnings = warn_named,
	.subs = { { "status", prepare_status_only, check_replica_status } },
};

/* ---- PodTemplate */
static void default_template_object(struct arena *a, struct json *t)
{
	default_pod_template(a, default_object(a, t, "template"));
}

static void prepare_template_object(struct strategy *s)
{
	struct json *template = member(s->object, "template");
	const struct json *was = member(s->old, "template");
	pod_drop_disabled_template(s->arena, template, was);
	strategy_generation(s, !strategy_creates(s) && !pod_same_named("core/v1.PodTemplateSpec", template, was));
}

static void check_template_object(struct check *c, const struct json *t, const struct json *old)
{
	struct pod_opts opts = pod_opts_of_template(c->arena, member(old, "template"));
	check_meta_both(c, t, old);
	check_pod_template(c, &PATH(PATH_ROOT, "template"), member(t, "template"), &opts);
}

static void warn_template_object(struct check *c, const struct json *t, const struct json *old)
{
	const struct json *template = member(t, "template");
	pod_warnings(c, &PATH(PATH_ROOT, "template"), member(template, "spec"), member(template, "metadata"));
}

const struct strategy_kind strategy_kind_pod_template = {
	.group = "",
	.kind = "PodTemplate",
	.flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_CREATE_ON_UPDATE | STRATEGY_HAS_GENERATION,
	.defaults = default_template_object,
	.prepare = prepare_template_object,
	.check = check_template_object,
	.warnings = warn_template_object,
};
