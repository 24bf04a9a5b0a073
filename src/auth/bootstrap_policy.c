/* The bootstrap roles and bindings as trees, out of the tables made from policy.txt. */
#include "auth/auth.h"
#include "auth/policy_rows.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

static struct span word(uint16_t at)
{
	return span_of(&auth_policy_words[at]);
}

static struct json text(const char *cstr)
{
	return json_cstr(cstr);
}

/* A list of words under a name; nothing when it is empty, as the API leaves empty lists out. */
static void add_words(struct arena *a, struct json *object, const char *name, uint16_t at)
{
	const uint16_t *list = &auth_policy_lists[at];
	if (!list[0])
		return;
	struct json *array = json_add(a, object, span_of(name), json_array());
	for (uint16_t i = 1; i <= list[0]; i++)
		json_push(a, array, json_str(word(list[i])));
}

static struct json rule_tree(struct arena *a, const struct policy_rule *rule)
{
	struct json tree = json_object();
	add_words(a, &tree, "apiGroups", rule->groups);
	add_words(a, &tree, "nonResourceURLs", rule->urls);
	add_words(a, &tree, "resourceNames", rule->names);
	add_words(a, &tree, "resources", rule->resources);
	add_words(a, &tree, "verbs", rule->verbs);
	return tree;
}

static struct span part_label(struct arena *a, uint16_t part)
{
	return arena_printf(a, RBAC_GROUP "/aggregate-to-%.*s", SPAN_ARG(word(part)));
}

/* apiVersion, kind and metadata; label_part (a word) may be empty. */
static struct json head(struct arena *a, const char *kind, uint16_t ns, uint16_t name, uint16_t label_part)
{
	struct json tree = json_object();
	json_add(a, &tree, SPAN("apiVersion"), text(RBAC_GROUP "/v1"));
	json_add(a, &tree, SPAN("kind"), text(kind));
	struct json meta = json_object(), labels = json_object(), annotations = json_object();
	json_add(a, &annotations, SPAN("rbac.authorization.kubernetes.io/autoupdate"), text("true"));
	json_add(a, &labels, SPAN("kubernetes.io/bootstrapping"), text("rbac-defaults"));
	if (word(label_part).len)
		json_add(a, &labels, part_label(a, label_part), text("true"));
	json_add(a, &meta, SPAN("annotations"), annotations);
	json_add(a, &meta, SPAN("labels"), labels);
	json_add(a, &meta, SPAN("name"), json_str(word(name)));
	if (word(ns).len)
		json_add(a, &meta, SPAN("namespace"), json_str(word(ns)));
	json_add(a, &tree, SPAN("metadata"), meta);
	return tree;
}

static struct json role_tree(struct arena *a, const struct policy_role *role)
{
	struct json tree = head(a, word(role->ns).len ? "Role" : "ClusterRole", role->ns, role->name, role->to);
	if (word(role->from).len) {
		struct json labels = json_object(), selector = json_object(), selectors = json_array(), made_of = json_object();
		json_add(a, &labels, part_label(a, role->from), text("true"));
		json_add(a, &selector, SPAN("matchLabels"), labels);
		json_push(a, &selectors, selector);
		json_add(a, &made_of, SPAN("clusterRoleSelectors"), selectors);
		json_add(a, &tree, SPAN("aggregationRule"), made_of);
		json_add(a, &tree, SPAN("rules"), JSON_NULL_VALUE);
		return tree;
	}
	struct json rules = json_array();
	const uint16_t *list = &auth_policy_lists[role->rules];
	for (uint16_t i = 1; i <= list[0]; i++)
		json_push(a, &rules, rule_tree(a, &auth_policy_rules[list[i]]));
	json_add(a, &tree, SPAN("rules"), rules);
	return tree;
}

static struct json binding_tree(struct arena *a, const struct policy_binding *binding)
{
	bool cluster = !word(binding->ns).len;
	struct json tree = head(a, cluster ? "ClusterRoleBinding" : "RoleBinding", binding->ns, binding->name, 0);
	struct json ref = json_object();
	json_add(a, &ref, SPAN("apiGroup"), text(RBAC_GROUP));
	json_add(a, &ref, SPAN("kind"), text(cluster ? "ClusterRole" : "Role"));
	json_add(a, &ref, SPAN("name"), json_str(word(binding->role)));
	json_add(a, &tree, SPAN("roleRef"), ref);
	const uint16_t *list = &auth_policy_lists[binding->subjects];
	if (!list[0])
		return tree;
	struct json subjects = json_array();
	for (uint16_t i = 1; i < list[0]; i += 2) {
		struct span name = word(list[i]);
		struct json subject = json_object();
		if (name.ptr[0] != 's')
			json_add(a, &subject, SPAN("apiGroup"), text(RBAC_GROUP));
		json_add(a, &subject, SPAN("kind"),
			 text(name.ptr[0] == 's' ? "ServiceAccount" : name.ptr[0] == 'g' ? "Group" : "User"));
		json_add(a, &subject, SPAN("name"), json_str(span_from(name, 1)));
		if (name.ptr[0] == 's')
			json_add(a, &subject, SPAN("namespace"), json_str(word(list[i + 1])));
		json_push(a, &subjects, subject);
	}
	json_add(a, &tree, SPAN("subjects"), subjects);
	return tree;
}

unsigned auth_policy_count(enum auth_rbac_kind kind)
{
	switch (kind) {
	case AUTH_CLUSTER_ROLE:
		return auth_policy_n_cluster_roles;
	case AUTH_ROLE:
		return auth_policy_n_roles - auth_policy_n_cluster_roles;
	case AUTH_CLUSTER_ROLE_BINDING:
		return auth_policy_n_cluster_bindings;
	case AUTH_ROLE_BINDING:
		return auth_policy_n_bindings - auth_policy_n_cluster_bindings;
	case AUTH_RBAC_KIND_COUNT:
		break;
	}
	return 0;
}

struct json auth_policy_object(enum auth_rbac_kind kind, unsigned i, struct arena *a)
{
	assert(i < auth_policy_count(kind));
	switch (kind) {
	case AUTH_CLUSTER_ROLE:
		return role_tree(a, &auth_policy_roles[i]);
	case AUTH_ROLE:
		return role_tree(a, &auth_policy_roles[auth_policy_n_cluster_roles + i]);
	case AUTH_CLUSTER_ROLE_BINDING:
		return binding_tree(a, &auth_policy_bindings[i]);
	default:
		return binding_tree(a, &auth_policy_bindings[auth_policy_n_cluster_bindings + i]);
	}
}
