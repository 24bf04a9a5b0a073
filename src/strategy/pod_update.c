/* Changes of pods that exist: what a user may alter, what the kubelet may report, ephemeral containers, resizing, binding. */
#include "strategy/pod.h"

static const char pod_type[] = "core/v1.PodSpec";

/* ---- metadata and spec, on create and on every update */
static void check_token_accounts(struct check *c, const struct json *spec)
{
	const struct path at = PATH(&PATH(PATH_ROOT, "spec"), "volumes");
	if (member_text(spec, "serviceAccountName").len)
		return;
	JSON_EACH_INDEX(member(spec, "volumes"), volume, i) {
		const struct path projected = PATH(&PATH_INDEX(&at, i), "projected"), sources = PATH(&projected, "sources");
		JSON_EACH_INDEX(member(member(volume, "projected"), "sources"), source, k)
			if (member(source, "serviceAccountToken"))
				bad_forbidden(c, &PATH(&PATH_INDEX(&sources, k), "serviceAccountToken"),
					      "must not be specified when serviceAccountName is not set");
	}
}

static void check_images(struct check *c, const struct path *at, const struct json *containers, bool required)
{
	JSON_EACH_INDEX(containers, ctr, i) {
		const struct path image_at = PATH(&PATH_INDEX(at, i), "image");
		struct span image = member_text(ctr, "image");
		if (required && !image.len)
			bad_required(c, &image_at, "");
		if (span_trim(image).len != image.len)
			bad_string(c, &image_at, image, "must not have leading or trailing whitespace");
	}
}

static void check_whole(struct check *c, const struct json *pod, const struct pod_opts *opts)
{
	const struct json *spec = member(pod, "spec"), *meta = member(pod, "metadata");
	const struct path spec_at = PATH(PATH_ROOT, "spec");
	check_meta(c, pod, META_CORE, api_name_dns1123_subdomain);
	check_pod_annotations(c, &PATH(&PATH(PATH_ROOT, "metadata"), "annotations"), member(meta, "annotations"), spec, opts);
	check_pod_spec(c, &spec_at, spec, meta, opts);
	check_token_accounts(c, spec);
	check_images(c, &PATH(&spec_at, "containers"), member(spec, "containers"), false);
	check_images(c, &PATH(&spec_at, "initContainers"), member(spec, "initContainers"), false);
}

static struct pod_opts opts_of(struct check *c, const struct json *old)
{
	struct pod_opts opts = pod_opts_of(c->arena, member(old, "spec"), member(old, "metadata"));
	opts.is_pod = true;
	return opts;
}

void check_pod_annotation_update(struct check *c, const struct json *pod, const struct json *old, const struct pod_opts *opts)
{
	struct span mirror = SPAN("kubernetes.io/config.mirror"),
		    apparmor = SPAN("container.apparmor.security.beta.kubernetes.io/");
	const struct json *now = json_path(pod, "metadata", "annotations", NULL);
	const struct json *was = json_path(old, "metadata", "annotations", NULL);
	const struct path at = PATH(&PATH(PATH_ROOT, "metadata"), "annotations");
	JSON_EACH_MEMBER(was, m) {
		const struct json *same = json_get(now, json_key(m));
		const struct path item = PATH_KEY(&at, json_key(m));
		if (same && span_eq(json_span(same), json_span(&m->value)))
			continue;
		if (span_starts(json_key(m), apparmor))
			bad_forbidden(c, &item, "may not remove or update AppArmor annotations");
		if (span_eq(json_key(m), mirror))
			bad_forbidden(c, &item, "may not remove or update mirror pod annotation");
	}
	JSON_EACH_MEMBER(now, m) {
		const struct path item = PATH_KEY(&at, json_key(m));
		if (json_get(was, json_key(m)))
			continue;
		if (span_starts(json_key(m), apparmor))
			bad_forbidden(c, &item, "may not add AppArmor annotations");
		if (span_eq(json_key(m), mirror))
			bad_forbidden(c, &item, "may not add mirror pod annotation");
	}
	check_pod_annotations(c, &at, now, member(pod, "spec"), opts);
}

/* ---- updates by users */
static bool check_container_changes(struct check *c, const struct path *at, const struct json *now, const struct json *was)
{
	if (json_count(now) != json_count(was)) {
		bad_forbidden(c, at, "pod updates may not add or remove containers");
		return false;
	}
	check_images(c, at, now, true);
	return true;
}

/* From unset to a number, and down from there; false ends the validation. */
static bool check_deadline(struct check *c, const struct path *spec_at, const struct json *now, const struct json *was)
{
	const struct path at = PATH(spec_at, "activeDeadlineSeconds");
	int64_t n = json_i64(now, 0);
	if (!now) {
		if (was)
			bad_null(c, &at, "must not update from a positive integer to nil value");
		return true;
	}
	if (n < 0 || n > INT32_MAX) {
		bad_int(c, &at, n, "must be between 0 and 2147483647, inclusive");
		return false;
	}
	if (was && json_i64(was, 0) < n) {
		bad_int(c, &at, n, "must be less than or equal to previous value");
		return false;
	}
	return true;
}

/* Old tolerations stay but for their seconds; others may come. */
static void check_added_tolerations(struct check *c, const struct path *at, const struct json *now, const struct json *was)
{
	JSON_EACH_ITEM(was, old) {
		bool found = false;
		JSON_EACH_ITEM(now, t) {
			struct json copy = json_copy(c->arena, t);
			const struct json *seconds = member(old, "tolerationSeconds");
			if (seconds)
				json_setl(c->arena, &copy, "tolerationSeconds", *seconds);
			else
				json_remove(&copy, SPAN("tolerationSeconds"));
			found |= pod_same_named("core/v1.Toleration", &copy, old);
		}
		if (!found) {
			bad_forbidden(c, at, "existing toleration can not be modified except its tolerationSeconds");
			return;
		}
	}
	check_pod_tolerations(c, at, now);
}

static void check_removed_gates(struct check *c, const struct path *at, const struct json *now, const struct json *was)
{
	JSON_EACH_INDEX(now, gate, i) {
		struct span name = member_text(gate, "name");
		bool old = false, later = false;
		JSON_EACH_ITEM(was, g)
			old |= span_eq(member_text(g, "name"), name);
		for (uint32_t k = i + 1; k < now->n; k++)
			later |= span_eq(member_text(&now->items[k], "name"), name);
		if (!old && !later)
			bad_forbidden(c, &PATH(&PATH_INDEX(at, i), "name"),
				      "only deletion is allowed, but found new scheduling gate '%.*s'", SPAN_ARG(name));
	}
}

/* Gated pods: the node selector may grow. */
static void check_selector_growth(struct check *c, const struct path *at, const struct json *now, const struct json *was)
{
	JSON_EACH_MEMBER(was, m) {
		const struct json *v = json_get(now, json_key(m));
		if (v && span_eq(json_span(v), json_span(&m->value)))
			continue;
		bad_typed(c, at, "map[string]string", now,
			  "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
		return;
	}
}

static bool starts_same(const struct json *now, const struct json *was)
{
	uint32_t n = json_count(was);
	if (json_count(now) < n)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (!pod_same_named("core/v1.NodeSelectorRequirement", &now->items[i], &was->items[i]))
			return false;
	return true;
}

static bool term_grows(const struct json *now, const struct json *was)
{
	const struct json *e = member(now, "matchExpressions"), *f = member(now, "matchFields");
	const struct json *old_e = member(was, "matchExpressions"), *old_f = member(was, "matchFields");
	if (!json_count(old_e) && !json_count(old_f) && (json_count(e) || json_count(f)))
		return false;
	return starts_same(e, old_e) && starts_same(f, old_f);
}

static void check_affinity_growth(struct check *c, const struct path *spec_at, const struct json *now, const struct json *was)
{
	const char *required = "requiredDuringSchedulingIgnoredDuringExecution";
	const struct path affinity = PATH(spec_at, "affinity"), node = PATH(&affinity, "nodeAffinity");
	const struct path req = PATH_SPAN(&node, span_of(required)), at = PATH(&req, "nodeSelectorTerms");
	const struct json *old_terms = member(json_get(was, span_of(required)), "nodeSelectorTerms");
	const struct json *terms = member(json_get(now, span_of(required)), "nodeSelectorTerms");
	if (!json_count(old_terms))
		return;
	if (json_count(terms) != json_count(old_terms)) {
		bad_typed(c, &at, "[]core/v1.NodeSelectorTerm", terms,
			  "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
		return;
	}
	JSON_EACH_INDEX(terms, term, i)
		if (!term_grows(term, &old_terms->items[i]))
			bad_typed(c, &PATH_INDEX(&at, i), "core/v1.NodeSelectorTerm", term,
				  "only additions are allowed (no mutations or deletions)");
}

/* A copy of now in which everything that may change is as it was. */
static void as_old(struct arena *a, struct json *object, const struct json *from, const char *name)
{
	const struct json *was = json_get(from, span_of(name));
	if (was)
		json_set(a, object, span_of(name), *was);
	else
		json_remove(object, span_of(name));
}

static void take_images(struct arena *a, struct json *spec, const struct json *old, const char *name)
{
	const struct json *was = json_get(old, span_of(name));
	uint32_t i = 0;
	JSON_EACH_ITEM(json_get(spec, span_of(name)), ctr)
		as_old(a, ctr, &was->items[i++], "image");
}

/* What a gated pod may change besides. */
static void munge_gated(struct check *c, const struct path *spec_at, struct json *spec, const struct json *old)
{
	const struct json *affinity = member(spec, "affinity"), *old_affinity = member(old, "affinity");
	const struct json *now = member(affinity, "nodeAffinity"), *was = member(old_affinity, "nodeAffinity");
	if (!json_count(member(old, "schedulingGates")))
		return;
	if (!pod_same(api_field_type(api_type_field(api_type_find(SPAN("core/v1.PodSpec")), SPAN("nodeSelector"))),
		      member(spec, "nodeSelector"), member(old, "nodeSelector"))) {
		check_selector_growth(c, &PATH(spec_at, "nodeSelector"), member(spec, "nodeSelector"), member(old, "nodeSelector"));
		as_old(c->arena, spec, old, "nodeSelector");
	}
	if (!now == !was && pod_same_named("core/v1.NodeAffinity", now, was))
		return;
	check_affinity_growth(c, spec_at, now, was);
	if (!affinity && !was)
		return;
	if (affinity && !old_affinity && !member(affinity, "podAffinity") && !member(affinity, "podAntiAffinity"))
		json_remove(spec, SPAN("affinity"));
	else
		as_old(c->arena, default_object(c->arena, spec, "affinity"), old_affinity, "nodeAffinity");
}

static void check_frozen_spec(struct check *c, const struct path *spec_at, const struct json *now, const struct json *old)
{
	struct arena *a = c->arena;
	if (pod_same_named(pod_type, now, old))
		return;
	struct json spec = now ? json_copy(a, now) : json_object();
	take_images(a, &spec, old, "containers");
	take_images(a, &spec, old, "initContainers");
	as_old(a, &spec, old, "activeDeadlineSeconds");
	as_old(a, &spec, old, "schedulingGates");
	as_old(a, &spec, old, "tolerations");
	if (member_int(old, "terminationGracePeriodSeconds") < 0 && member_int(&spec, "terminationGracePeriodSeconds") == 1)
		as_old(a, &spec, old, "terminationGracePeriodSeconds");
	munge_gated(c, spec_at, &spec, old);
	if (pod_same_named(pod_type, &spec, old))
		return;
	auto_buf struct buf diff = {};
	strategy_diff(&diff, old, &spec);
	bad_forbidden(
		c, spec_at,
		"pod updates may not change fields other than `spec.containers[*].image`,"
		"`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
		"tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n%s",
		buf_cstr(&diff));
}

static void check_update(struct check *c, const struct json *pod, const struct json *old)
{
	struct pod_opts opts = opts_of(c, old);
	const struct json *now = member(pod, "spec"), *was = member(old, "spec");
	const struct path at = PATH(PATH_ROOT, "spec");
	check_meta_update(c, pod, old, META_CORE);
	check_whole(c, pod, &opts);
	check_pod_annotation_update(c, pod, old, &opts);
	if (!check_container_changes(c, &PATH(&at, "containers"), member(now, "containers"), member(was, "containers")) ||
	    !check_container_changes(c, &PATH(&at, "initContainers"), member(now, "initContainers"),
				     member(was, "initContainers")) ||
	    !check_deadline(c, &at, member(now, "activeDeadlineSeconds"), member(was, "activeDeadlineSeconds")))
		return;
	check_added_tolerations(c, &PATH(&at, "tolerations"), member(now, "tolerations"), member(was, "tolerations"));
	check_removed_gates(c, &PATH(&at, "schedulingGates"), member(now, "schedulingGates"), member(was, "schedulingGates"));
	check_frozen_spec(c, &at, now, was);
}

void check_pod(struct check *c, const struct json *pod, const struct json *old)
{
	if (old) {
		check_update(c, pod, old);
		return;
	}
	struct pod_opts opts = { .is_pod = true };
	const struct json *spec = member(pod, "spec");
	const struct path at = PATH(PATH_ROOT, "spec");
	check_whole(c, pod, &opts);
	if (json_count(member(spec, "ephemeralContainers")))
		bad_forbidden(c, &PATH(&at, "ephemeralContainers"), "cannot be set on create");
	if (member_text(spec, "nodeName").len && json_count(member(spec, "schedulingGates")))
		bad_forbidden(c, &PATH(&at, "nodeName"), "cannot be set until all schedulingGates have been cleared");
	check_pod_profiles(c, &at, member(pod, "metadata"), spec);
}

/* ---- /ephemeralcontainers */
static bool is_mirror(const struct json *pod)
{
	return json_getl(json_path(pod, "metadata", "annotations", NULL), "kubernetes.io/config.mirror");
}

/* The whole answer of a check that refuses outright: what was found before does not count. */
static void refuse(struct check *c, const char *why)
{
	err_done(&c->err);
	c->err = (struct err)ERR_INIT;
	bad_forbidden(c, &PATH(PATH_ROOT, ""), "%s", why);
}

void check_pod_ephemeral(struct check *c, const struct json *pod, const struct json *old)
{
	struct pod_opts opts = opts_of(c, old);
	const struct path at = PATH(&PATH(PATH_ROOT, "spec"), "ephemeralContainers");
	const struct json *now = json_path(pod, "spec", "ephemeralContainers", NULL);
	check_meta_update(c, pod, old, META_CORE);
	check_whole(c, pod, &opts);
	check_pod_annotation_update(c, pod, old, &opts);
	if (is_mirror(old)) {
		refuse(c, "static pods do not support ephemeral containers");
		return;
	}
	JSON_EACH_ITEM(json_path(old, "spec", "ephemeralContainers", NULL), was) {
		struct span name = member_text(was, "name");
		const struct json *found = NULL;
		JSON_EACH_ITEM(now, ctr)
			if (span_eq(member_text(ctr, "name"), name))
				found = ctr;
		auto_buf struct buf quoted = {}, diff = {};
		api_go_quote(&quoted, name);
		if (!found) {
			bad_forbidden(c, &at, "existing ephemeral containers %s may not be removed\n", buf_cstr(&quoted));
		} else if (!pod_same_named("core/v1.EphemeralContainer", found, was)) {
			strategy_diff(&diff, was, found);
			bad_forbidden(c, &at, "existing ephemeral containers %s may not be changed\n%s", buf_cstr(&quoted),
				      buf_cstr(&diff));
		}
	}
}

/* ---- /resize */
static bool removed(const struct json *now, const struct json *was)
{
	JSON_EACH_MEMBER(was, m)
		if (!json_get(now, json_key(m)))
			return true;
	return json_count(was) > json_count(now);
}

static void check_container_resize(struct check *c, const struct path *at, const struct json *ctr, const struct json *old)
{
	const struct json *now = member(ctr, "resources"), *was = member(old, "resources");
	const struct json *limit = member(member(now, "limits"), "memory"), *old_limit = member(member(was, "limits"), "memory");
	const struct path limits_at = PATH(at, "limits"), memory_at = PATH_KEY(&limits_at, SPAN("memory"));
	struct api_quantity a, b;
	if (removed(member(now, "requests"), member(was, "requests")))
		bad_forbidden(c, &PATH(at, "requests"), "resource requests cannot be removed");
	if (removed(member(now, "limits"), member(was, "limits")))
		bad_forbidden(c, &limits_at, "resource limits cannot be removed");
	JSON_EACH_ITEM(member(ctr, "resizePolicy"), policy) {
		if (!span_is(member_text(policy, "resourceName"), "memory"))
			continue;
		if (!check_one_of(member_text(policy, "restartPolicy"), "NotRequired") && member_text(policy, "restartPolicy").len)
			return;
		break;
	}
	if (limit && !old_limit)
		bad_forbidden(c, &memory_at, "memory limits cannot be added unless resizePolicy is RestartContainer");
	else if (limit && check_quantity(limit, &a) && check_quantity(old_limit, &b) && api_quantity_cmp(&a, &b) < 0)
		bad_forbidden(c, &memory_at, "memory limits cannot be decreased unless resizePolicy is RestartContainer");
}

/* cpu and memory of a container's resources as they were. */
static void take_resources(struct arena *a, struct json *ctr, const struct json *old)
{
	static const char *const lists[] = { "limits", "requests" }, *const names[] = { "cpu", "memory" };
	const struct json *was = member(old, "resources");
	struct json *resources = default_object(a, ctr, "resources");
	json_remove(resources, SPAN("claims")); /* upstream's copy forgets them */
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		const struct json *old_list = json_get(was, span_of(lists[i]));
		if (!old_list) {
			json_remove(resources, span_of(lists[i]));
			continue;
		}
		struct json *list = default_object(a, resources, lists[i]);
		for (size_t k = 0; k < ARRAY_LEN(names); k++)
			as_old(a, list, old_list, names[k]);
	}
}

static bool same_container(const struct json *a, const struct json *b)
{
	return pod_same_named("core/v1.Container", a, b);
}

static bool node_can_resize(const struct json *pod)
{
	JSON_EACH_ITEM(json_path(pod, "status", "containerStatuses", NULL), s)
		if (member(member(s, "state"), "running"))
			return member(s, "resources");
	return true;
}

static struct span qos_of(struct arena *a, const struct json *pod)
{
	struct span class = member_text(member(pod, "status"), "qosClass");
	return class.len ? class : pod_qos(a, member(pod, "spec"));
}

static bool has_own_resources(const struct json *pod)
{
	const struct json *r = json_path(pod, "spec", "resources", NULL);
	return json_count(member(r, "requests")) || json_count(member(r, "limits"));
}

void check_pod_resize(struct check *c, const struct json *pod, const struct json *old)
{
	struct pod_opts opts = opts_of(c, old);
	struct arena *a = c->arena;
	const struct path at = PATH(PATH_ROOT, "spec");
	const struct json *was = member(old, "spec");
	check_meta_update(c, pod, old, META_CORE);
	check_whole(c, pod, &opts);
	if (has_own_resources(pod) || has_own_resources(old)) {
		refuse(c, "pods with pod-level resources cannot be resized");
		return;
	}
	if (is_mirror(old)) {
		refuse(c, "static pods cannot be resized");
		return;
	}
	if (span_is(member_text(member(was, "os"), "name"), "windows")) {
		refuse(c, "windows pods cannot be resized");
		return;
	}
	if (!span_eq(qos_of(a, old), pod_qos(a, member(pod, "spec"))))
		bad_string(c, &at, member_text(member(pod, "status"), "qosClass"),
			   "Pod QOS Class may not change as a result of resizing");
	if (!node_can_resize(old))
		bad_forbidden(c, &at, "Pod running on node without support for resize");
	struct json spec = member(pod, "spec") ? json_copy(a, member(pod, "spec")) : json_object();
	struct json *list = member(&spec, "containers"), *init = member(&spec, "initContainers");
	const struct json *old_list = member(was, "containers"), *old_init = member(was, "initContainers");
	/* A change in number is refused here; upstream's strategy leaves such a pod as it is and its check would index past the
	 * end. */
	if (json_count(list) != json_count(old_list) || json_count(init) != json_count(old_init)) {
		bad_forbidden(c, &at, "only cpu and memory resources are mutable");
		return;
	}
	const struct path list_at = PATH(&at, "containers"), init_at = PATH(&at, "initContainers");
	JSON_EACH_INDEX(old_init, ctr, i)
		if (pod_is_sidecar(ctr))
			check_container_resize(c, &PATH(&PATH_INDEX(&init_at, i), "resources"), &init->items[i], ctr);
	JSON_EACH_INDEX(old_list, ctr, i)
		check_container_resize(c, &PATH(&PATH_INDEX(&list_at, i), "resources"), &list->items[i], ctr);
	JSON_EACH_INDEX(list, ctr, i) {
		take_resources(a, ctr, &old_list->items[i]);
		if (!same_container(ctr, &old_list->items[i]))
			bad_forbidden(c, &at, "only cpu and memory resources are mutable");
	}
	JSON_EACH_INDEX(init, ctr, i) {
		bool sidecar = pod_is_sidecar(ctr);
		if (sidecar)
			take_resources(a, ctr, &old_init->items[i]);
		if (!same_container(ctr, &old_init->items[i]))
			bad_forbidden(c, &at, "%s", sidecar ? "only cpu and memory resources for sidecar containers are mutable"
							    : "resources for non-sidecar init containers are immutable");
	}
	if (!c->n && !pod_same_named(pod_type, &spec, was))
		bad_forbidden(c, &at, "only cpu and memory resources are mutable");
}

/* ---- /binding */
void check_pod_binding(struct check *c, const struct json *binding, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "target");
	struct span kind = member_text(member(binding, "target"), "kind");
	if (kind.len && !span_is(kind, "Node"))
		bad_choice(c, &PATH(&at, "kind"), kind, "Node <empty>");
	if (!member_text(member(binding, "target"), "name").len)
		bad_required(c, &PATH(&at, "name"), "");
}
