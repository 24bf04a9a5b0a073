/* Reconciling stored roles and bindings with wanted ones, and aggregated cluster roles: the semantics of upstream's
 * reconciliation at start (union: no right is taken away) and of its clusterrole-aggregation controller. Pure. */
#include "auth/auth.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"
#define AUTOUPDATE "rbac.authorization.kubernetes.io/autoupdate"

/* The member of that name, made `empty` when it is absent or of another kind (null). */
static struct json *member_as(struct arena *a, struct json *object, struct span name, struct json empty)
{
	struct json *v = json_get(object, name);
	return v && v->kind == empty.kind ? v : json_set(a, object, name, empty);
}

static uint32_t count(const struct json *array)
{
	return json_is(array, JSON_ARRAY) ? array->n : 0;
}

/* Adds the labels or annotations that are missing; those that are there keep their values. True when one was added. */
static bool add_missing_words(struct arena *a, struct json *object, const struct json *wanted, struct span name)
{
	bool changed = false;
	JSON_EACH_MEMBER(json_get(json_getl(wanted, "metadata"), name), m) {
		struct json *meta = member_as(a, object, SPAN("metadata"), json_object());
		struct json *map = member_as(a, meta, name, json_object());
		if (json_get(map, json_key(m)))
			continue;
		json_add(a, map, json_key(m), m->value);
		changed = true;
	}
	return changed;
}

/* ---- rules */

static void add_list(struct arena *a, struct json *rule, const char *name, const struct span *list, unsigned n)
{
	if (!n)
		return;
	struct json *array = json_add(a, rule, span_of(name), json_array());
	for (unsigned i = 0; i < n; i++) {
		bool again = false;
		for (unsigned j = 0; j < i && !again; j++)
			again = span_eq(list[i], list[j]); /* two wanted rules may lack the same right */
		if (!again)
			json_push(a, array, json_str(list[i]));
	}
}

static struct json rule_tree(struct arena *a, const struct auth_rule *rule)
{
	struct json tree = json_object();
	add_list(a, &tree, "apiGroups", rule->groups, rule->n_groups);
	add_list(a, &tree, "nonResourceURLs", rule->urls, rule->n_urls);
	add_list(a, &tree, "resourceNames", rule->names, rule->n_names);
	add_list(a, &tree, "resources", rule->resources, rule->n_resources);
	add_list(a, &tree, "verbs", rule->verbs, rule->n_verbs);
	return tree;
}

/* Appends the rights that the stored rules do not cover. They are written compacted, a rule for each resource; upstream
 * writes a rule for each verb, which gives the same. */
static bool add_missing_rules(struct arena *a, struct json *object, const struct json *stored,
			      const struct json *wanted)
{
	const struct auth_rule *have, *want, *missing;
	unsigned n_have, n_want, n_missing;
	auth_rules_read(a, json_getl(stored, "rules"), &have, &n_have);
	auth_rules_read(a, json_getl(wanted, "rules"), &want, &n_want);
	if (auth_rules_cover(have, n_have, want, n_want, a, &missing, &n_missing))
		return false;
	struct json *rules = member_as(a, object, SPAN("rules"), json_array());
	for (unsigned i = 0; i < n_missing; i++)
		json_push(a, rules, rule_tree(a, &missing[i]));
	return true;
}

static bool holds(const struct json *array, const struct json *value)
{
	JSON_EACH_ITEM(array, item)
		if (json_equal(item, value))
			return true;
	return false;
}

static bool add_missing_selectors(struct arena *a, struct json *object, const struct json *wanted)
{
	bool changed = false;
	JSON_EACH_ITEM(json_path(wanted, "aggregationRule", "clusterRoleSelectors", NULL), selector) {
		if (holds(json_path(object, "aggregationRule", "clusterRoleSelectors", NULL), selector))
			continue;
		struct json *made_of = member_as(a, object, SPAN("aggregationRule"), json_object());
		json_push(a, member_as(a, made_of, SPAN("clusterRoleSelectors"), json_array()), *selector);
		changed = true;
	}
	return changed;
}

/* ---- bindings */

/* An apiGroup that is left out means the RBAC group, except for service accounts, whose group is the empty one. */
static bool same_word(const struct json *x, const struct json *y, struct span name, struct span absent)
{
	struct span p = json_span(json_get(x, name)), q = json_span(json_get(y, name));
	return span_eq(p.len ? p : absent, q.len ? q : absent);
}

static bool same_ref(const struct json *x, const struct json *y)
{
	return same_word(x, y, SPAN("apiGroup"), SPAN(RBAC_GROUP)) && same_word(x, y, SPAN("kind"), SPAN_EMPTY) &&
	       same_word(x, y, SPAN("name"), SPAN_EMPTY);
}

static bool same_subject(const struct json *x, const struct json *y)
{
	bool account = span_is(json_span(json_getl(x, "kind")), "ServiceAccount");
	return same_word(x, y, SPAN("kind"), SPAN_EMPTY) && same_word(x, y, SPAN("name"), SPAN_EMPTY) &&
	       same_word(x, y, SPAN("namespace"), SPAN_EMPTY) &&
	       same_word(x, y, SPAN("apiGroup"), account ? SPAN_EMPTY : SPAN(RBAC_GROUP));
}

static bool add_missing_subjects(struct arena *a, struct json *object, const struct json *wanted)
{
	bool changed = false;
	JSON_EACH_ITEM(json_getl(wanted, "subjects"), subject) {
		bool found = false;
		JSON_EACH_ITEM(json_getl(object, "subjects"), s)
			found = found || same_subject(s, subject);
		if (found)
			continue;
		json_push(a, member_as(a, object, SPAN("subjects"), json_array()), *subject);
		changed = true;
	}
	return changed;
}

enum auth_policy_step auth_policy_reconcile(enum auth_rbac_kind kind, const struct json *stored,
					    const struct json *wanted, struct arena *a, struct json *out_object)
{
	*out_object = json_copy(a, wanted);
	if (!stored)
		return AUTH_POLICY_CREATE;
	const struct json *mark = json_get(json_path(stored, "metadata", "annotations", NULL), SPAN(AUTOUPDATE));
	bool protected = span_is(json_span(mark), "false");
	bool binding = kind == AUTH_ROLE_BINDING || kind == AUTH_CLUSTER_ROLE_BINDING;
	if (binding && !same_ref(json_getl(stored, "roleRef"), json_getl(wanted, "roleRef")))
		return protected ? AUTH_POLICY_PROTECTED : AUTH_POLICY_RECREATE;

	struct json object = json_copy(a, stored), source = *out_object; /* what is added is shared with the copy of wanted */
	bool changed = add_missing_words(a, &object, &source, SPAN("annotations"));
	changed |= add_missing_words(a, &object, &source, SPAN("labels"));
	if (binding) {
		changed |= add_missing_subjects(a, &object, &source);
	} else {
		changed |= add_missing_rules(a, &object, stored, &source);
		/* Rights that a selector would add to a role that has its own are nobody's intention. */
		if (json_is(json_getl(wanted, "aggregationRule"), JSON_OBJECT))
			changed |= add_missing_selectors(a, &object, &source);
		else if (json_is(json_getl(stored, "aggregationRule"), JSON_OBJECT))
			changed |= json_remove(&object, SPAN("aggregationRule"));
	}
	*out_object = object;
	if (!changed)
		return AUTH_POLICY_NONE;
	return protected ? AUTH_POLICY_PROTECTED : AUTH_POLICY_UPDATE;
}

/* ---- aggregation */

/* A LabelSelector (meta/v1): an empty one selects everything. 1 or 0, INVALID_REQUEST for an unknown operator. */
static int selects(const struct json *selector, const struct json *labels, struct err *err)
{
	int all = 1;
	JSON_EACH_MEMBER(json_getl(selector, "matchLabels"), m) {
		const struct json *value = json_get(labels, json_key(m));
		if (!value || !span_eq(json_span(value), json_span(&m->value)))
			all = 0;
	}
	JSON_EACH_ITEM(json_getl(selector, "matchExpressions"), e) {
		const struct json *value = json_get(labels, json_span(json_getl(e, "key")));
		struct span op = json_span(json_getl(e, "operator"));
		bool listed = false;
		JSON_EACH_ITEM(json_getl(e, "values"), v)
			listed = listed || (value && span_eq(json_span(v), json_span(value)));
		bool holds_here;
		if (span_is(op, "In"))
			holds_here = listed;
		else if (span_is(op, "NotIn"))
			holds_here = !listed;
		else if (span_is(op, "Exists"))
			holds_here = value != NULL;
		else if (span_is(op, "DoesNotExist"))
			holds_here = value == NULL;
		else
			return err_set(err, ERR_INVALID_REQUEST, "\"%.*s\" is not a valid label selector operator", SPAN_ARG(op));
		if (!holds_here)
			all = 0;
	}
	return all;
}

static struct span name_of(const struct json *object)
{
	return json_span(json_path(object, "metadata", "name", NULL));
}

static int by_name(const void *x, const void *y)
{
	return span_cmp(name_of(*(const struct json *const *)x), name_of(*(const struct json *const *)y));
}

static bool same_list(const struct json *x, const struct json *y, struct span name)
{
	const struct json *p = json_get(x, name), *q = json_get(y, name);
	if (count(p) != count(q))
		return false;
	for (uint32_t i = 0; i < count(p); i++)
		if (!span_eq(json_span(&p->items[i]), json_span(&q->items[i])))
			return false;
	return true;
}

/* Same words in the same order; an absent list is an empty one. */
static bool same_rule(const struct json *x, const struct json *y)
{
	return same_list(x, y, SPAN("verbs")) && same_list(x, y, SPAN("resources")) && same_list(x, y, SPAN("apiGroups")) &&
	       same_list(x, y, SPAN("resourceNames")) && same_list(x, y, SPAN("nonResourceURLs"));
}

int auth_policy_aggregate(const struct json *role, const struct json *const *roles, unsigned n_roles, struct arena *a,
			  struct json *out_rules, struct err *err)
{
	if (!json_is(json_getl(role, "aggregationRule"), JSON_OBJECT))
		return 0;
	const struct json **sorted = arena_alloc_n(a, n_roles, sizeof(*sorted));
	for (unsigned i = 0; i < n_roles; i++)
		sorted[i] = roles[i];
	if (n_roles)
		qsort(sorted, n_roles, sizeof(*sorted), by_name);
	struct json rules = json_array();
	JSON_EACH_ITEM(json_path(role, "aggregationRule", "clusterRoleSelectors", NULL), selector) {
		for (unsigned i = 0; i < n_roles; i++) {
			if (span_eq(name_of(sorted[i]), name_of(role)))
				continue;
			int chosen = selects(selector, json_path(sorted[i], "metadata", "labels", NULL), err);
			if (chosen < 0)
				return chosen;
			if (!chosen)
				continue;
			JSON_EACH_ITEM(json_getl(sorted[i], "rules"), rule) {
				bool known = false;
				for (uint32_t k = 0; k < rules.n && !known; k++)
					known = same_rule(&rules.items[k], rule);
				if (!known)
					json_push(a, &rules, *rule);
			}
		}
	}
	const struct json *old = json_getl(role, "rules");
	bool same = count(old) == rules.n;
	for (uint32_t i = 0; i < rules.n && same; i++)
		same = same_rule(&old->items[i], &rules.items[i]);
	if (same)
		return 0;
	*out_rules = rules;
	return 1;
}
