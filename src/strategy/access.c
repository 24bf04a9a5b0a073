/* rbac.authorization.k8s.io: roles and their bindings. */
#include "strategy/check.h"

#define RBAC "rbac.authorization.k8s.io"

static void check_rules(struct check *c, const struct json *role, bool namespaced)
{
	const struct path at = PATH(PATH_ROOT, "rules");
	JSON_EACH_INDEX(member(role, "rules"), rule, i) {
		const struct path item = PATH_INDEX(&at, i), urls_at = PATH(&item, "nonResourceURLs");
		const struct json *urls = member(rule, "nonResourceURLs");
		uint32_t groups = json_count(member(rule, "apiGroups")), resources = json_count(member(rule, "resources"));
		uint32_t names = json_count(member(rule, "resourceNames"));
		if (!json_count(member(rule, "verbs")))
			bad_required(c, &PATH(&item, "verbs"), "verbs must contain at least one value");
		if (json_count(urls)) {
			if (namespaced)
				bad_typed(c, &urls_at, "[]string", urls, "namespaced rules cannot apply to non-resource URLs");
			if (groups || resources || names)
				bad_typed(c, &urls_at, "[]string", urls,
					  "rules cannot apply to both regular resources and non-resource URLs");
			continue;
		}
		if (!groups)
			bad_required(c, &PATH(&item, "apiGroups"), "resource rules must supply at least one api group");
		if (!resources)
			bad_required(c, &PATH(&item, "resources"), "resource rules must supply at least one resource");
		if (names && resources > 1)
			bad_required(c, &PATH(&item, "resourceNames"), "resource names cannot apply to multiple resources");
	}
}

static void check_role(struct check *c, const struct json *role, const struct json *old)
{
	check_meta(c, role, META_CORE, api_name_path_segment);
	check_rules(c, role, true);
	if (old)
		check_meta_update(c, role, old, META_CORE);
}

static void check_cluster_role(struct check *c, const struct json *role, const struct json *old)
{
	const struct json *rule = member(role, "aggregationRule"), *selectors = member(rule, "clusterRoleSelectors");
	const struct path at = PATH(&PATH(PATH_ROOT, "aggregationRule"), "clusterRoleSelectors");
	bool lax = false;
	JSON_EACH_ITEM(json_path(old, "aggregationRule", "clusterRoleSelectors", NULL), selector)
		lax |= check_selector_has_bad_value(selector);
	check_meta(c, role, META_CORE, api_name_path_segment);
	check_rules(c, role, false);
	if (rule && !json_count(selectors))
		bad_required(c, &at, "at least one clusterRoleSelector required if aggregationRule is non-nil");
	JSON_EACH_INDEX(selectors, selector, i)
		check_label_selector(c, &PATH_INDEX(&at, i), selector, lax);
	if (old)
		check_meta_update(c, role, old, META_CORE);
}

static void default_binding(struct arena *a, struct json *object)
{
	default_string(a, default_object(a, object, "roleRef"), "apiGroup", RBAC);
	JSON_EACH_ITEM(member(object, "subjects"), subject)
		if (check_one_of(member_text(subject, "kind"), "User Group"))
			default_string(a, subject, "apiGroup", RBAC);
}

static void bad_empty_choice(struct check *c, const struct path *at, struct span value)
{
	auto_buf struct buf field = {}, shown = {};
	path_text(at, &field);
	api_go_quote(&shown, value);
	api_fe_add(&c->err, buf_span(&field), API_FE_NOT_SUPPORTED, buf_span(&shown), SPAN("supported values: \"\""));
	c->n++;
}

static void check_subject(struct check *c, const struct path *at, const struct json *subject, bool namespaced)
{
	struct span kind = member_text(subject, "kind"), name = member_text(subject, "name"), group = member_text(subject,
		"apiGroup");
	check_present(c, at, subject, "name");
	if (span_is(kind, "ServiceAccount")) {
		if (name.len)
			check_name(c, &PATH(at, "name"), name, api_name_dns1123_subdomain);
		if (group.len)
			bad_empty_choice(c, &PATH(at, "apiGroup"), group);
		if (!namespaced)
			check_present(c, at, subject, "namespace");
	} else if (check_one_of(kind, "User Group")) {
		if (!name.len)
			bad_string(c, &PATH(at, "name"), name, "%s name cannot be empty", span_is(kind, "User") ? "user" : "group");
		if (!span_is(group, RBAC))
			bad_choice(c, &PATH(at, "apiGroup"), group, RBAC);
	} else {
		bad_choice(c, &PATH(at, "kind"), kind, "ServiceAccount User Group");
	}
}

static void check_binding(struct check *c, const struct json *binding, const struct json *old)
{
	const struct path ref_at = PATH(PATH_ROOT, "roleRef");
	const struct json *ref = member(binding, "roleRef");
	bool namespaced = c->s->resource->namespaced;
	const char *kinds = namespaced ? "Role ClusterRole" : "ClusterRole";
	check_meta(c, binding, META_CORE, api_name_path_segment);
	if (!span_is(member_text(ref, "apiGroup"), RBAC))
		bad_choice(c, &PATH(&ref_at, "apiGroup"), member_text(ref, "apiGroup"), RBAC);
	if (!check_one_of(member_text(ref, "kind"), kinds))
		bad_choice(c, &PATH(&ref_at, "kind"), member_text(ref, "kind"), kinds);
	if (check_present(c, &ref_at, ref, "name"))
		check_name(c, &PATH(&ref_at, "name"), member_text(ref, "name"), api_name_path_segment);
	JSON_EACH_INDEX(member(binding, "subjects"), subject, i)
		check_subject(c, &PATH_INDEX(&PATH(PATH_ROOT, "subjects"), i), subject, namespaced);
	if (!old)
		return;
	check_meta_update(c, binding, old, META_CORE);
	if (!strategy_same(ref, member(old, "roleRef")))
		bad_typed(c, &ref_at, "rbac/v1.RoleRef", ref, "cannot change roleRef");
}

#define BOTH (STRATEGY_CREATE_ON_UPDATE | STRATEGY_UNCONDITIONAL_UPDATE)
const struct strategy_kind strategy_kind_role = {
	.group = RBAC, .kind = "Role", .flags = BOTH, .prepare = prepare_nothing, .check = check_role,
};
const struct strategy_kind strategy_kind_cluster_role = {
	.group = RBAC, .kind = "ClusterRole", .flags = BOTH, .prepare = prepare_nothing, .check = check_cluster_role,
};
const struct strategy_kind strategy_kind_role_binding = {
	.group = RBAC, .kind = "RoleBinding", .flags = BOTH, .defaults = default_binding, .prepare = prepare_nothing,
		.check = check_binding,
};
const struct strategy_kind strategy_kind_cluster_role_binding = {
	.group = RBAC, .kind = "ClusterRoleBinding", .flags = BOTH, .defaults = default_binding, .prepare = prepare_nothing,
	.check = check_binding,
};
