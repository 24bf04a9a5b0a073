/* The strategy of pods: what is cleared and set before a pod is stored, and its row among the kinds. */
#include "strategy/pod.h"

/* ---- features that 1.33 has switched off: their fields are cleared, unless the stored object holds some already */
typedef void each_fn(struct json *container);

static void each_container(struct json *spec, each_fn *fn)
{
	static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(json_get(spec, span_of(lists[i])), ctr)
			fn(ctr);
}

static void drop_claims(struct json *ctr)
{
	struct json *resources = member(ctr, "resources");
	if (json_is(resources, JSON_OBJECT))
		json_remove(resources, SPAN("claims"));
}

static void drop_stop_signal(struct json *ctr)
{
	struct json *lifecycle = member(ctr, "lifecycle");
	if (json_is(lifecycle, JSON_OBJECT) && json_remove(lifecycle, SPAN("stopSignal")) && !lifecycle->n)
		json_remove(ctr, SPAN("lifecycle"));
}

static bool uses_stop_signal(const struct json *spec)
{
	static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(json_get(spec, span_of(lists[i])), ctr)
			if (member(member(ctr, "lifecycle"), "stopSignal"))
				return true;
	return false;
}

static bool has_image_volume(const struct json *spec)
{
	JSON_EACH_ITEM(member(spec, "volumes"), volume)
		if (member(volume, "image"))
			return true;
	return false;
}

/* Image volumes go with their mounts. */
static void drop_mounts(struct json *spec, struct span volume)
{
	static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(json_get(spec, span_of(lists[i])), ctr) {
			struct json *mounts = member(ctr, "volumeMounts");
			for (uint32_t k = json_count(mounts); k-- > 0;)
				if (span_eq(member_text(&mounts->items[k], "name"), volume))
					json_remove_at(mounts, k);
		}
}

static void drop_image_volumes(struct json *spec)
{
	struct json *volumes = member(spec, "volumes");
	for (uint32_t i = json_count(volumes); i-- > 0;)
		if (member(&volumes->items[i], "image")) {
			drop_mounts(spec, member_text(&volumes->items[i], "name"));
			json_remove_at(volumes, i);
		}
}

void pod_drop_disabled(struct arena *a, struct json *spec, const struct json *old_spec)
{
	if (!json_is(spec, JSON_OBJECT))
		return;
	if (!json_count(member(old_spec, "resourceClaims"))) { /* DynamicResourceAllocation */
		json_remove(spec, SPAN("resourceClaims"));
		each_container(spec, drop_claims);
	}
	if (!member(old_spec, "resources")) /* PodLevelResources */
		json_remove(spec, SPAN("resources"));
	if (!uses_stop_signal(old_spec)) /* ContainerStopSignals */
		each_container(spec, drop_stop_signal);
	if (!has_image_volume(old_spec)) /* ImageVolume */
		drop_image_volumes(spec);
	JSON_EACH_ITEM(member(spec, "volumes"), volume) {
		JSON_EACH_ITEM(json_path(volume, "projected", "sources", NULL), source)
			json_remove(source, SPAN("clusterTrustBundle")); /* ClusterTrustBundleProjection */
		struct json *resources = json_path(volume, "ephemeral", "volumeClaimTemplate", "spec", "resources", NULL);
		if (json_is(resources, JSON_OBJECT))
			json_remove(resources, SPAN("claims"));
	}
}

void pod_drop_disabled_template(struct arena *a, struct json *template, const struct json *old_template)
{
	pod_drop_disabled(a, member(template, "spec"), member(old_template, "spec"));
}

/* Status: resource health and observed generations are off too. */
static bool observes(const struct json *status)
{
	if (member(status, "observedGeneration"))
		return true;
	JSON_EACH_ITEM(member(status, "conditions"), condition)
		if (member(condition, "observedGeneration"))
			return true;
	return false;
}

static void drop_disabled_status(struct json *status, const struct json *old)
{
	static const char *const lists[] = { "initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses" };
	bool healths = false;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(json_get(old, span_of(lists[i])), s)
			healths |= json_count(member(s, "allocatedResourcesStatus"));
	for (size_t i = 0; i < ARRAY_LEN(lists) && !healths; i++)
		JSON_EACH_ITEM(json_get(status, span_of(lists[i])), s)
			json_remove(s, SPAN("allocatedResourcesStatus"));
	if (!json_is(status, JSON_OBJECT) || observes(old))
		return;
	json_remove(status, SPAN("observedGeneration"));
	JSON_EACH_ITEM(member(status, "conditions"), condition)
		json_remove(condition, SPAN("observedGeneration"));
}

/* ---- create */
static void add_gated_condition(struct strategy *s, struct json *status)
{
	struct json condition = json_object();
	json_setl(s->arena, &condition, "type", json_cstr("PodScheduled"));
	json_setl(s->arena, &condition, "status", json_cstr("False"));
	if (s->now.len)
		json_setl(s->arena, &condition, "lastTransitionTime", json_str(arena_span(s->arena, s->now)));
	json_setl(s->arena, &condition, "reason", json_cstr("SchedulingGated"));
	json_setl(s->arena, &condition, "message", json_cstr("Scheduling is blocked due to non-empty scheduling gates"));
	json_push(s->arena, json_setl(s->arena, status, "conditions", json_array()), condition);
}

/* matchLabelKeys become expressions with the pod's own label values; without a selector nothing matches anyway. */
static void merge_label_keys(struct arena *a, struct json *selector, const struct json *keys, const char *op,
			     const struct json *labels)
{
	JSON_EACH_ITEM(keys, key) {
		const struct json *value = json_get(labels, json_span(key));
		if (!value)
			continue;
		struct json one = json_object(), values = json_array();
		json_push(a, &values, *value);
		json_setl(a, &one, "key", *key);
		json_setl(a, &one, "operator", json_cstr(op));
		json_setl(a, &one, "values", values);
		struct json *list = member(selector, "matchExpressions");
		if (!list)
			list = json_setl(a, selector, "matchExpressions", json_array());
		json_push(a, list, one);
	}
}

static void merge_term(struct arena *a, struct json *term, const struct json *labels)
{
	struct json *selector = member(term, "labelSelector");
	if (!selector)
		return;
	merge_label_keys(a, selector, member(term, "matchLabelKeys"), "In", labels);
	merge_label_keys(a, selector, member(term, "mismatchLabelKeys"), "NotIn", labels);
}

static void merge_affinity_keys(struct strategy *s)
{
	static const char *const kinds[] = { "podAffinity", "podAntiAffinity" };
	const struct json *labels = json_path(s->object, "metadata", "labels", NULL);
	const struct json *affinity = json_path(s->object, "spec", "affinity", NULL);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct json *kind = json_get(affinity, span_of(kinds[i]));
		JSON_EACH_ITEM(member(kind, "preferredDuringSchedulingIgnoredDuringExecution"), term)
			merge_term(s->arena, member(term, "podAffinityTerm"), labels);
		JSON_EACH_ITEM(member(kind, "requiredDuringSchedulingIgnoredDuringExecution"), term)
			merge_term(s->arena, term, labels);
	}
}

/* The profile that an old annotation names; false when it names none. */
static bool apparmor_of(struct arena *a, struct span said, struct json *out)
{
	*out = json_object();
	if (span_is(said, "unconfined")) {
		json_setl(a, out, "type", json_cstr("Unconfined"));
	} else if (span_is(said, "runtime/default")) {
		json_setl(a, out, "type", json_cstr("RuntimeDefault"));
	} else if (span_starts(said, SPAN("localhost/"))) {
		struct span name = span_from(said, strlen("localhost/"));
		if (!name.len || span_trim(name).len != name.len || name.len > 4095)
			return false;
		json_setl(a, out, "type", json_cstr("Localhost"));
		json_setl(a, out, "localhostProfile", json_str(name));
	} else {
		return false;
	}
	return true;
}

/* Annotations of AppArmor become fields where there is none. */
static void sync_apparmor(struct strategy *s)
{
	static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
	static const char prefix[] = "container.apparmor.security.beta.kubernetes.io/";
	struct json *spec = member(s->object, "spec");
	const struct json *annotations = json_path(s->object, "metadata", "annotations", NULL);
	const struct json *of_pod = json_path(spec, "securityContext", "appArmorProfile", NULL);
	if (!json_count(annotations) || span_is(member_text(member(spec, "os"), "name"), "windows"))
		return;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(json_get(spec, span_of(lists[i])), ctr) {
			struct span name = member_text(ctr, "name");
			struct span key = arena_printf(s->arena, "%s%.*s", prefix, SPAN_ARG(name));
			const struct json *said = json_get(annotations, key);
			struct json profile;
			if (!said || json_path(ctr, "securityContext", "appArmorProfile", NULL))
				continue;
			bool good = apparmor_of(s->arena, json_span(said), &profile);
			if (good && pod_same_named("core/v1.AppArmorProfile", &profile, of_pod))
				continue;
			if (good)
				json_setl(s->arena, default_object(s->arena, ctr, "securityContext"), "appArmorProfile", profile);
			strategy_warn(
				s,
				"metadata.annotations[%.*s]: deprecated since v1.30; use the \"appArmorProfile\" field instead",
				SPAN_ARG(key));
		}
}

static void prepare_create(struct strategy *s)
{
	strategy_generation(s, false);
	struct json *spec = default_object(s->arena, s->object, "spec");
	/* A class that is given is kept, as upstream does. */
	struct span class = member_text(member(s->object, "status"), "qosClass");
	struct json status = json_object();
	if (!class.len)
		class = pod_qos(s->arena, spec);
	json_setl(s->arena, &status, "phase", json_cstr("Pending"));
	json_setl(s->arena, &status, "qosClass", json_str(class));
	pod_drop_disabled(s->arena, spec, NULL);
	if (json_count(member(spec, "schedulingGates")))
		add_gated_condition(s, &status);
	json_setl(s->arena, s->object, "status", status);
	merge_affinity_keys(s);
	sync_apparmor(s);
}

/* ---- updates */
static bool spec_changed(const struct strategy *s)
{
	return !pod_same_named("core/v1.PodSpec", member(s->object, "spec"), member(s->old, "spec"));
}

static void prepare_pod(struct strategy *s)
{
	if (strategy_creates(s)) {
		prepare_create(s);
		return;
	}
	strategy_keep(s, "status");
	pod_drop_disabled(s->arena, member(s->object, "spec"), member(s->old, "spec"));
	strategy_generation(s, spec_changed(s));
}

static void prepare_pod_status(struct strategy *s)
{
	const struct json *was = member(s->old, "status");
	strategy_keep(s, "spec");
	strategy_drop_in(s, "metadata", "deletionTimestamp"); /* put back from old afterwards */
	strategy_keep_in(s, "metadata", "ownerReferences");
	struct json *status = default_object(s->arena, s->object, "status");
	if (!member_text(status, "qosClass").len && member_text(was, "qosClass").len)
		json_setl(s->arena, status, "qosClass", json_str(member_text(was, "qosClass")));
	drop_disabled_status(status, was);
}

/* metav1.ResetObjectMetaForStatus */
static void keep_meta(struct strategy *s)
{
	static const char *const names[] = {
		"deletionTimestamp", "generation", "selfLink", "labels", "annotations", "finalizers", "ownerReferences",
	};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		strategy_keep_in(s, "metadata", names[i]);
}

static void prepare_ephemeral(struct strategy *s)
{
	const struct json *list = json_path(s->object, "spec", "ephemeralContainers", NULL);
	struct json kept = list ? *list : json_array();
	strategy_keep(s, "spec");
	strategy_keep(s, "status");
	keep_meta(s);
	struct json *spec = default_object(s->arena, s->object, "spec");
	if (kept.n)
		json_setl(s->arena, spec, "ephemeralContainers", kept);
	else
		json_remove(spec, SPAN("ephemeralContainers"));
	pod_drop_disabled(s->arena, spec, member(s->old, "spec"));
	strategy_generation(s, spec_changed(s));
}

/* Containers of old with the resources and resize policies of now; false when they are other containers: then validation speaks. */
static bool resized(struct arena *a, const struct json *now, const struct json *was, struct json *out)
{
	static const char *const names[] = { "resources", "resizePolicy" };
	*out = was ? json_copy(a, was) : json_array();
	if (json_count(now) != json_count(was))
		return false;
	JSON_EACH_INDEX(out, ctr, i) {
		const struct json *from = &now->items[i];
		if (!span_eq(member_text(ctr, "name"), member_text(from, "name")))
			return false;
		for (size_t k = 0; k < ARRAY_LEN(names); k++) {
			const struct json *m = json_get(from, span_of(names[k]));
			if (m)
				json_set(a, ctr, span_of(names[k]), *m);
			else
				json_remove(ctr, span_of(names[k]));
		}
	}
	return true;
}

static void prepare_resize(struct strategy *s)
{
	struct json *spec = member(s->object, "spec");
	const struct json *was = member(s->old, "spec"), *init = member(spec, "initContainers");
	struct json containers, inits;
	if (json_count(member(spec, "containers")) == json_count(member(was, "containers")) &&
	    json_count(init) == json_count(member(was, "initContainers"))) {
		if (!resized(s->arena, member(spec, "containers"), member(was, "containers"), &containers))
			containers = *member(spec, "containers");
		if (!resized(s->arena, init, member(was, "initContainers"), &inits) && init)
			inits = *init;
		strategy_keep(s, "spec");
		strategy_keep(s, "status");
		keep_meta(s);
		spec = default_object(s->arena, s->object, "spec");
		json_setl(s->arena, spec, "containers", containers);
		if (inits.n)
			json_setl(s->arena, spec, "initContainers", inits);
	}
	pod_drop_disabled(s->arena, spec, was);
	strategy_generation(s, spec_changed(s));
}

/* ---- warnings: on create alone, since people seldom change pods */
static void warn_pod(struct check *c, const struct json *pod, const struct json *old)
{
	if (old)
		return;
	check_warn_name(c, pod, "the Pod's hostname");
	pod_warnings(c, PATH_ROOT, member(pod, "spec"), member(pod, "metadata"));
}

static void default_whole(struct arena *a, struct json *pod)
{
	strategy_default_type(a, SPAN("core/v1.Pod"), pod);
}

const struct strategy_kind strategy_kind_pod = {
	.group = "", .kind = "Pod",
	.flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_GRACEFUL_DELETE | STRATEGY_HAS_GENERATION,
	.defaults = default_whole, .prepare = prepare_pod, .check = check_pod, .warnings = warn_pod,
	.subs = {
		{ "status", prepare_pod_status, check_pod_status },
		{ "ephemeralcontainers", prepare_ephemeral, check_pod_ephemeral },
		{ "resize", prepare_resize, check_pod_resize },
		{ "binding", NULL, check_pod_binding },
	},
};

const struct strategy_kind strategy_kind_binding = {
	.group = "", .kind = "Binding", .prepare = prepare_nothing, .check = check_pod_binding,
};
