/* Tests of the bootstrap policy: what it grants, how stored objects are reconciled with it, aggregation, and, where
 * KNARR_POLICY_TESTDATA names the folder, every object against the YAML files that upstream checks its own policy with. */
#include "auth/auth.h"
#include "json/parse_test.h"
#include "yaml/yaml.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const enum auth_rbac_kind kinds[] = { AUTH_CLUSTER_ROLE, AUTH_CLUSTER_ROLE_BINDING, AUTH_ROLE, AUTH_ROLE_BINDING };

static const char *print(struct arena *a, const struct json *v)
{
	auto_buf struct buf b = {};
	json_write(&b, v, JSON_SORTED);
	return arena_cstr(a, buf_span(&b));
}

static void expect_json(struct arena *a, const char *row, const struct json *got, const char *want)
{
	struct json w = parse(a, want);
	if (!json_equal(got, &w))
		fail_msg("%s:\n got %s\nwant %s", row, print(a, got), print(a, &w));
}

static struct span name_of(const struct json *object)
{
	return json_span(json_path(object, "metadata", "name", NULL));
}

static struct json object_named(struct arena *a, enum auth_rbac_kind kind, const char *ns, const char *name)
{
	for (unsigned i = 0; i < auth_policy_count(kind); i++) {
		struct json o = auth_policy_object(kind, i, a);
		if (span_is(name_of(&o), name) && span_is(json_span(json_path(&o, "metadata", "namespace", NULL)), ns))
			return o;
	}
	fail_msg("no object %s/%s", ns, name);
	return JSON_NULL_VALUE;
}

/* All cluster roles; the aggregated ones get their rules, until nothing changes (edit is made of view, admin of edit). */
static struct json *cluster_roles(struct arena *a, unsigned *out_n)
{
	unsigned n = auth_policy_count(AUTH_CLUSTER_ROLE);
	struct json *roles = arena_alloc_n(a, n, sizeof(*roles));
	const struct json **list = arena_alloc_n(a, n, sizeof(*list));
	for (unsigned i = 0; i < n; i++) {
		roles[i] = auth_policy_object(AUTH_CLUSTER_ROLE, i, a);
		list[i] = &roles[i];
	}
	unsigned rounds = 0;
	for (bool changed = true; changed; rounds++) {
		assert_true(rounds < 5);
		changed = false;
		for (unsigned i = 0; i < n; i++) {
			auto_err struct err err = ERR_INIT;
			struct json rules;
			int rc = auth_policy_aggregate(&roles[i], list, n, a, &rules, &err);
			assert_true(rc >= 0);
			if (rc) {
				json_setl(a, &roles[i], "rules", rules);
				changed = true;
			}
		}
	}
	*out_n = n;
	return roles;
}

static struct auth_rbac *loaded(void)
{
	auto_arena struct arena a = {};
	struct auth_rbac *r = auth_rbac_new();
	unsigned n;
	struct json *roles = cluster_roles(&a, &n);
	for (unsigned i = 0; i < n; i++)
		auth_rbac_put(r, AUTH_CLUSTER_ROLE, &roles[i]);
	for (size_t k = 1; k < ARRAY_LEN(kinds); k++)
		for (unsigned i = 0; i < auth_policy_count(kinds[k]); i++) {
			struct json o = auth_policy_object(kinds[k], i, &a);
			auth_rbac_put(r, kinds[k], &o);
		}
	/* Users who have admin, edit and view in one namespace, and a node with its deprecated cluster role. */
	static const char *const parts[] = { "admin", "edit", "view", "system:node" };
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		char text[512];
		snprintf(text, sizeof(text), "{'metadata':{'name':'t-%s','namespace':'team'},'roleRef':{'kind':'ClusterRole','name':'%s'},"
			 "'subjects':[{'kind':'User','name':'a-%s'}]}", parts[i], parts[i], parts[i]);
		struct json o = parse(&a, text);
		auth_rbac_put(r, AUTH_ROLE_BINDING, &o);
	}
	return r;
}

/* A question: verb, "resource.group/sub" or "/path", namespace or -, name. */
static bool allowed(struct auth_rbac *r, const char *user, const char *const *groups, const char *question)
{
	auto_arena struct arena a = {};
	struct span list[4], rest = span_of(question), part, full;
	struct auth_user u = { .name = span_of(user), .groups = list };
	for (; groups[u.n_groups]; u.n_groups++)
		list[u.n_groups] = span_of(groups[u.n_groups]);
	struct auth_ask ask = { .user = &u };
	span_cut(&rest, ' ', &ask.verb);
	span_cut(&rest, ' ', &part);
	if (span_starts(part, SPAN("/"))) {
		ask.path = part;
	} else {
		ask.is_resource = true;
		full = part;
		span_split(part, '/', &full, &ask.subresource);
		span_split(full, '.', &ask.resource, &ask.group);
		if (span_cut(&rest, ' ', &part) && !span_is(part, "-"))
			ask.ns = part;
		span_cut(&rest, ' ', &ask.name);
	}
	struct span why;
	return auth_rbac_allows(r, &ask, &a, &why) == AUTH_ALLOW;
}

static void decisions(void **state)
{
	static const struct {
		const char *user, *groups[3];
		const char *question;
		bool yes;
	} rows[] = {
#define ANON "system:anonymous", { "system:unauthenticated" }
#define JANE "jane", { "system:authenticated" }
#define CONTROLLER(name) "system:serviceaccount:kube-system:" name, { "system:serviceaccounts", "system:authenticated" }
#define SCHEDULER "system:kube-scheduler", { "system:authenticated" }
#define MANAGER "system:kube-controller-manager", { "system:authenticated" }
		{ "root", { "system:masters", "system:authenticated" }, "delete nodes - n", true },
		{ "root", { "system:masters", "system:authenticated" }, "get /metrics", true },
		{ ANON, "get /healthz", true },
		{ ANON, "get /livez", true },
		{ ANON, "get /readyz", true },
		{ ANON, "get /version", true },
		{ ANON, "get /version/", true },
		{ ANON, "get /metrics", false },
		{ ANON, "get /livez/etcd", false },
		{ ANON, "post /healthz", false },
		{ ANON, "get /api", false },
		{ ANON, "get /openid/v1/jwks", false },
		{ ANON, "create selfsubjectaccessreviews.authorization.k8s.io -", false },
		{ JANE, "get /apis/apps/v1", true },
		{ JANE, "get /openapi/v3", true },
		{ JANE, "get /healthz", true },
		{ JANE, "get /metrics", false },
		{ JANE, "create selfsubjectaccessreviews.authorization.k8s.io -", true },
		{ JANE, "create selfsubjectreviews.authentication.k8s.io -", true },
		{ JANE, "create subjectaccessreviews.authorization.k8s.io -", false },
		{ JANE, "list pods team", false },
		{ "prometheus", { "system:monitoring" }, "get /metrics", true },
		{ "prometheus", { "system:monitoring" }, "get /livez/etcd", true },
		{ "prometheus", { "system:monitoring" }, "get nodes/metrics - n", false }, /* since 1.34 */
		{ "system:serviceaccount:x:y", { "system:serviceaccounts" }, "get /openid/v1/jwks/", true },
		{ "a-view", { "system:authenticated" }, "list pods team", true },
		{ "a-view", { "system:authenticated" }, "list pods other", false },
		{ "a-view", { "system:authenticated" }, "get secrets team s", false },
		{ "a-view", { "system:authenticated" }, "get pods/log team p", true },
		{ "a-view", { "system:authenticated" }, "create pods team", false },
		{ "a-view", { "system:authenticated" }, "get deployments.apps/status team d", true },
		{ "a-edit", { "system:authenticated" }, "get secrets team s", true },
		{ "a-edit", { "system:authenticated" }, "list pods team", true },
		{ "a-edit", { "system:authenticated" }, "create pods/eviction team p", true },
		{ "a-edit", { "system:authenticated" }, "update endpoints team e", false },
		{ "a-edit", { "system:authenticated" }, "create rolebindings.rbac.authorization.k8s.io team", false },
		{ "a-edit", { "system:authenticated" }, "impersonate serviceaccounts team sa", true },
		{ "a-admin", { "system:authenticated" }, "create rolebindings.rbac.authorization.k8s.io team", true },
		{ "a-admin", { "system:authenticated" }, "delete secrets team s", true },
		{ "a-admin", { "system:authenticated" }, "update resourcequotas team q", false },
		{ SCHEDULER, "create pods/binding team p", true },
		{ SCHEDULER, "update pods/status team p", true },
		{ SCHEDULER, "create pods team", false },
		{ SCHEDULER, "list secrets team", false },
		{ SCHEDULER, "update leases.coordination.k8s.io any kube-scheduler", true },
		{ SCHEDULER, "update leases.coordination.k8s.io any other", false },
		{ SCHEDULER, "update leases.coordination.k8s.io kube-system other", true },
		{ SCHEDULER, "update persistentvolumes - v", true },
		{ SCHEDULER, "get configmaps kube-system extension-apiserver-authentication", true },
		{ SCHEDULER, "get configmaps kube-system other", false },
		{ MANAGER, "list anything.example.com -", true },
		{ MANAGER, "create serviceaccounts/token kube-system job-controller", true },
		{ MANAGER, "delete pods team p", false },
		{ "system:kube-proxy", { "system:authenticated" }, "list endpointslices.discovery.k8s.io -", true },
		{ "system:kube-proxy", { "system:authenticated" }, "list secrets -", false },
		{ CONTROLLER("deployment-controller"), "update deployments.apps/status team d", true },
		{ CONTROLLER("deployment-controller"), "create replicasets.apps team", true },
		{ CONTROLLER("deployment-controller"), "create pods team", false },
		{ CONTROLLER("replicaset-controller"), "create pods team", true },
		{ CONTROLLER("job-controller"), "create events.events.k8s.io team", true },
		{ CONTROLLER("namespace-controller"), "deletecollection widgets.example.com team", true },
		{ CONTROLLER("horizontal-pod-autoscaler"), "update widgets.example.com/scale team w", true },
		{ CONTROLLER("certificate-controller"), "sign signers.certificates.k8s.io - kubernetes.io/kubelet-serving", true },
		{ CONTROLLER("certificate-controller"), "approve signers.certificates.k8s.io - kubernetes.io/kubelet-serving", false },
		{ CONTROLLER("clusterrole-aggregation-controller"), "escalate clusterroles.rbac.authorization.k8s.io - edit", true },
		{ CONTROLLER("token-cleaner"), "delete secrets kube-system bootstrap-token-abcdef", true },
		{ CONTROLLER("token-cleaner"), "delete secrets team s", false },
		{ CONTROLLER("bootstrap-signer"), "update configmaps kube-public cluster-info", true },
		{ CONTROLLER("bootstrap-signer"), "update configmaps kube-public other", false },
		{ CONTROLLER("kube-dns"), "list services -", true },
		{ "system:serviceaccount:team:deployment-controller", { "system:serviceaccounts" }, "update deployments.apps/status team d", false },
		{ "system:node:n", { "system:nodes", "system:authenticated" }, "get secrets team s", false },
		{ "system:node:n", { "system:nodes", "system:authenticated" }, "list pods -", false },
		{ "a-system:node", { "system:authenticated" }, "create pods/eviction team p", true },
	};
	struct auth_rbac *r = loaded();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *groups[] = { rows[i].groups[0], rows[i].groups[1], rows[i].groups[2], NULL };
		bool got = allowed(r, rows[i].user, groups, rows[i].question);
		if (got != rows[i].yes)
			fail_msg("%s: %s: got %d, want %d", rows[i].user, rows[i].question, got, rows[i].yes);
	}
	auth_rbac_free(r);
}

/* The counts of upstream 1.33 with its default gates; the shape of one object of each kind. */
static void objects(void **state)
{
	auto_arena struct arena a = {};
	assert_int_equal(auth_policy_count(AUTH_CLUSTER_ROLE), 31 + 35);
	assert_int_equal(auth_policy_count(AUTH_CLUSTER_ROLE_BINDING), 12 + 35);
	assert_int_equal(auth_policy_count(AUTH_ROLE), 7);
	assert_int_equal(auth_policy_count(AUTH_ROLE_BINDING), 7);
	assert_int_equal(auth_policy_count(AUTH_RBAC_KIND_COUNT), 0);
#define META(labels, name) "'metadata':{'annotations':{'rbac.authorization.kubernetes.io/autoupdate':'true'},"             \
			   "'labels':{'kubernetes.io/bootstrapping':'rbac-defaults'" labels "}," name "}"
#define V1 "'apiVersion':'rbac.authorization.k8s.io/v1',"
	static const struct {
		enum auth_rbac_kind kind;
		const char *ns, *name, *want;
	} rows[] = {
		{ AUTH_CLUSTER_ROLE, "", "cluster-admin", "{" V1 "'kind':'ClusterRole'," META("", "'name':'cluster-admin'") ",'rules':["
		  "{'apiGroups':['*'],'resources':['*'],'verbs':['*']},{'nonResourceURLs':['*'],'verbs':['*']}]}" },
		{ AUTH_CLUSTER_ROLE, "", "edit", "{" V1 "'kind':'ClusterRole',"
		  META(",'rbac.authorization.k8s.io/aggregate-to-admin':'true'", "'name':'edit'") ",'rules':null,'aggregationRule':"
		  "{'clusterRoleSelectors':[{'matchLabels':{'rbac.authorization.k8s.io/aggregate-to-edit':'true'}}]}}" },
		{ AUTH_CLUSTER_ROLE_BINDING, "", "system:public-info-viewer", "{" V1 "'kind':'ClusterRoleBinding',"
		  META("", "'name':'system:public-info-viewer'") ",'roleRef':{'apiGroup':'rbac.authorization.k8s.io',"
		  "'kind':'ClusterRole','name':'system:public-info-viewer'},'subjects':["
		  "{'apiGroup':'rbac.authorization.k8s.io','kind':'Group','name':'system:authenticated'},"
		  "{'apiGroup':'rbac.authorization.k8s.io','kind':'Group','name':'system:unauthenticated'}]}" },
		{ AUTH_CLUSTER_ROLE_BINDING, "", "system:node", "{" V1 "'kind':'ClusterRoleBinding'," META("", "'name':'system:node'")
		  ",'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':'ClusterRole','name':'system:node'}}" },
		{ AUTH_ROLE, "kube-public", "system:controller:bootstrap-signer", "{" V1 "'kind':'Role',"
		  META("", "'name':'system:controller:bootstrap-signer','namespace':'kube-public'") ",'rules':["
		  "{'apiGroups':[''],'resources':['configmaps'],'verbs':['get','list','watch']},"
		  "{'apiGroups':[''],'resourceNames':['cluster-info'],'resources':['configmaps'],'verbs':['update']},"
		  "{'apiGroups':['','events.k8s.io'],'resources':['events'],'verbs':['create','patch','update']}]}" },
		{ AUTH_ROLE_BINDING, "kube-system", "system:controller:token-cleaner", "{" V1 "'kind':'RoleBinding',"
		  META("", "'name':'system:controller:token-cleaner','namespace':'kube-system'")
		  ",'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':'Role','name':'system:controller:token-cleaner'},"
		  "'subjects':[{'kind':'ServiceAccount','name':'token-cleaner','namespace':'kube-system'}]}" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json o = object_named(&a, rows[i].kind, rows[i].ns, rows[i].name);
		expect_json(&a, rows[i].name, &o, rows[i].want);
	}
}

#define RULE(verbs, resources) "{'verbs':[" verbs "],'apiGroups':[''],'resources':[" resources "]}"
#define SELECTOR(key) "{'matchLabels':{'" key "':'true'}}"
#define USER(name) "{'kind':'User','apiGroup':'rbac.authorization.k8s.io','name':'" name "'}"
#define ACCOUNT(name) "{'kind':'ServiceAccount','namespace':'kube-system','name':'" name "'}"
#define REF(kind, name) "'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':'" kind "','name':'" name "'}"
#define OFF "'annotations':{'rbac.authorization.kubernetes.io/autoupdate':'false'}"

static void reconciling(void **state)
{
	static const struct {
		const char *what;
		enum auth_rbac_kind kind;
		const char *stored, *wanted;
		enum auth_policy_step step;
		const char *object; /* NULL: not looked at */
	} rows[] = {
		{ "nothing stored", AUTH_ROLE, NULL, "{'rules':[" RULE("'get'", "'pods'") "]}", AUTH_POLICY_CREATE,
		  "{'rules':[" RULE("'get'", "'pods'") "]}" },
		{ "the same", AUTH_ROLE, "{'rules':[" RULE("'get'", "'pods'") "]}", "{'rules':[" RULE("'get'", "'pods'") "]}",
		  AUTH_POLICY_NONE, NULL },
		{ "covered by more", AUTH_CLUSTER_ROLE, "{'rules':[" RULE("'*'", "'pods','nodes'") "]}",
		  "{'rules':[" RULE("'get'", "'pods'") "," RULE("'list'", "'nodes'") "]}", AUTH_POLICY_NONE, NULL },
		{ "a right is missing, one is extra", AUTH_CLUSTER_ROLE, "{'metadata':{'name':'r','resourceVersion':'7'},'rules':["
		  RULE("'get','delete'", "'pods'") "]}", "{'metadata':{'name':'r'},'rules':[" RULE("'get','list','watch'", "'pods'") "]}",
		  AUTH_POLICY_UPDATE, "{'metadata':{'name':'r','resourceVersion':'7'},'rules':[" RULE("'get','delete'", "'pods'") ","
		  RULE("'list','watch'", "'pods'") "]}" },
		{ "two wanted rules lack one right", AUTH_CLUSTER_ROLE, "{'rules':null}",
		  "{'rules':[" RULE("'get'", "'pods'") "," RULE("'get','list'", "'pods'") "]}", AUTH_POLICY_UPDATE,
		  "{'rules':[" RULE("'get','list'", "'pods'") "]}" },
		{ "a path and a name", AUTH_CLUSTER_ROLE, "{'rules':[{'verbs':['get'],'nonResourceURLs':['/healthz']}]}",
		  "{'rules':[{'verbs':['get'],'nonResourceURLs':['/healthz','/livez']},"
		  "{'verbs':['get'],'apiGroups':[''],'resources':['configmaps'],'resourceNames':['a']}]}", AUTH_POLICY_UPDATE,
		  "{'rules':[{'verbs':['get'],'nonResourceURLs':['/healthz']},{'verbs':['get'],'nonResourceURLs':['/livez']},"
		  "{'verbs':['get'],'apiGroups':[''],'resources':['configmaps'],'resourceNames':['a']}]}" },
		{ "protected", AUTH_CLUSTER_ROLE, "{'metadata':{" OFF "},'rules':[]}", "{'rules':[" RULE("'get'", "'pods'") "]}",
		  AUTH_POLICY_PROTECTED, NULL },
		{ "protected, nothing lacks", AUTH_CLUSTER_ROLE, "{'metadata':{" OFF "},'rules':[]}", "{'metadata':{'annotations':"
		  "{'rbac.authorization.kubernetes.io/autoupdate':'true'}},'rules':[]}", AUTH_POLICY_NONE, NULL },
		{ "labels and annotations join, values stay", AUTH_ROLE, "{'metadata':{'labels':{'a':'mine'}},'rules':[]}",
		  "{'metadata':{'labels':{'a':'1','b':'2'},'annotations':{'c':'3'}},'rules':[]}", AUTH_POLICY_UPDATE,
		  "{'metadata':{'labels':{'a':'mine','b':'2'},'annotations':{'c':'3'}},'rules':[]}" },
		{ "aggregated already; its rules are not ours", AUTH_CLUSTER_ROLE, "{'aggregationRule':{'clusterRoleSelectors':["
		  SELECTOR("x") "]},'rules':[" RULE("'get'", "'pods'") "]}", "{'aggregationRule':{'clusterRoleSelectors':["
		  SELECTOR("x") "]},'rules':null}", AUTH_POLICY_NONE, NULL },
		{ "a selector is missing, one is extra", AUTH_CLUSTER_ROLE, "{'aggregationRule':{'clusterRoleSelectors':["
		  SELECTOR("y") "]},'rules':[]}", "{'aggregationRule':{'clusterRoleSelectors':[" SELECTOR("x") "]},'rules':null}",
		  AUTH_POLICY_UPDATE, "{'aggregationRule':{'clusterRoleSelectors':[" SELECTOR("y") "," SELECTOR("x") "]},'rules':[]}" },
		{ "becomes aggregated", AUTH_CLUSTER_ROLE, "{'rules':[" RULE("'get'", "'pods'") "]}",
		  "{'aggregationRule':{'clusterRoleSelectors':[" SELECTOR("x") "]},'rules':null}", AUTH_POLICY_UPDATE,
		  "{'rules':[" RULE("'get'", "'pods'") "],'aggregationRule':{'clusterRoleSelectors':[" SELECTOR("x") "]}}" },
		{ "is aggregated and should not be", AUTH_CLUSTER_ROLE, "{'aggregationRule':{'clusterRoleSelectors':[" SELECTOR("x")
		  "]},'rules':[" RULE("'get'", "'pods'") "]}", "{'rules':[" RULE("'get'", "'pods'") "]}", AUTH_POLICY_UPDATE,
		  "{'rules':[" RULE("'get'", "'pods'") "]}" },
		{ "subjects join", AUTH_ROLE_BINDING, "{" REF("Role", "r") ",'subjects':[" USER("jane") "]}",
		  "{" REF("Role", "r") ",'subjects':[" USER("bob") "," ACCOUNT("c") "]}", AUTH_POLICY_UPDATE,
		  "{" REF("Role", "r") ",'subjects':[" USER("jane") "," USER("bob") "," ACCOUNT("c") "]}" },
		{ "subjects without apiGroup are the same", AUTH_CLUSTER_ROLE_BINDING, "{'roleRef':{'kind':'ClusterRole','name':'r'},"
		  "'subjects':[{'kind':'User','name':'bob'}]}", "{" REF("ClusterRole", "r") ",'subjects':[" USER("bob") "]}",
		  AUTH_POLICY_NONE, NULL },
		{ "an account of another namespace is another", AUTH_ROLE_BINDING, "{" REF("Role", "r") ",'subjects':["
		  "{'kind':'ServiceAccount','namespace':'x','name':'c'}]}", "{" REF("Role", "r") ",'subjects':[" ACCOUNT("c") "]}",
		  AUTH_POLICY_UPDATE, "{" REF("Role", "r") ",'subjects':[{'kind':'ServiceAccount','namespace':'x','name':'c'},"
		  ACCOUNT("c") "]}" },
		{ "no subjects at all", AUTH_CLUSTER_ROLE_BINDING, "{" REF("ClusterRole", "r") ",'subjects':null}",
		  "{" REF("ClusterRole", "r") ",'subjects':[" USER("bob") "]}", AUTH_POLICY_UPDATE,
		  "{" REF("ClusterRole", "r") ",'subjects':[" USER("bob") "]}" },
		{ "another role", AUTH_ROLE_BINDING, "{'metadata':{'uid':'u'}," REF("Role", "q") ",'subjects':[" USER("jane") "]}",
		  "{" REF("Role", "r") ",'subjects':[" USER("bob") "]}", AUTH_POLICY_RECREATE,
		  "{" REF("Role", "r") ",'subjects':[" USER("bob") "]}" },
		{ "another kind of role, protected", AUTH_ROLE_BINDING, "{'metadata':{" OFF "}," REF("ClusterRole", "r") "}",
		  "{" REF("Role", "r") "}", AUTH_POLICY_PROTECTED, NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json wanted = parse(&a, rows[i].wanted), stored = JSON_NULL_VALUE, out;
		if (rows[i].stored)
			stored = parse(&a, rows[i].stored);
		struct json before = json_copy(&a, &stored);
		enum auth_policy_step step = auth_policy_reconcile(rows[i].kind, rows[i].stored ? &stored : NULL, &wanted, &a, &out);
		if (step != rows[i].step)
			fail_msg("%s: got step %d, want %d", rows[i].what, step, rows[i].step);
		if (rows[i].object)
			expect_json(&a, rows[i].what, &out, rows[i].object);
		assert_true(json_equal(&before, &stored));
		struct json again;
		if (step != AUTH_POLICY_PROTECTED)
			assert_int_equal(auth_policy_reconcile(rows[i].kind, &out, &wanted, &a, &again), AUTH_POLICY_NONE);
	}
}

/* What was written needs nothing more, also after the controller filled the aggregated roles. */
static void settled(void **state)
{
	auto_arena struct arena a = {};
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		for (unsigned i = 0; i < auth_policy_count(kinds[k]); i++) {
			struct json wanted = auth_policy_object(kinds[k], i, &a), written, out;
			assert_int_equal(auth_policy_reconcile(kinds[k], NULL, &wanted, &a, &written), AUTH_POLICY_CREATE);
			assert_true(json_equal(&written, &wanted));
			assert_int_equal(auth_policy_reconcile(kinds[k], &written, &wanted, &a, &out), AUTH_POLICY_NONE);
		}
	unsigned n;
	struct json *roles = cluster_roles(&a, &n), out;
	for (unsigned i = 0; i < n; i++) {
		struct json wanted = auth_policy_object(AUTH_CLUSTER_ROLE, i, &a);
		assert_int_equal(auth_policy_reconcile(AUTH_CLUSTER_ROLE, &roles[i], &wanted, &a, &out), AUTH_POLICY_NONE);
	}
}

static void aggregation(void **state)
{
#define ROLE(name, labels, rules) "{'metadata':{'name':'" name "','labels':{" labels "}},'rules':[" rules "]}"
	static const char *const world[] = {
		ROLE("c", "'x':'true'", RULE("'get'", "'secrets'") "," RULE("'get'", "'pods'")),
		ROLE("a", "'x':'true','y':'2'", RULE("'get'", "'pods'")),
		ROLE("b", "'y':'3'", RULE("'list'", "'nodes'")),
		ROLE("none", "", RULE("'*'", "'*'")),
	};
	static const struct {
		const char *selectors;
		const char *old;
		int rc;
		const char *rules;
	} rows[] = {
		{ SELECTOR("x"), "null", 1, "[" RULE("'get'", "'pods'") "," RULE("'get'", "'secrets'") "]" },
		{ SELECTOR("x"), "[" RULE("'get'", "'pods'") "," RULE("'get'", "'secrets'") "]", 0, NULL },
		{ SELECTOR("x"), "[" RULE("'get'", "'secrets'") "," RULE("'get'", "'pods'") "]", 1,
		  "[" RULE("'get'", "'pods'") "," RULE("'get'", "'secrets'") "]" },
		{ "{'matchExpressions':[{'key':'y','operator':'Exists'}]}," SELECTOR("x"), "[]", 1,
		  "[" RULE("'get'", "'pods'") "," RULE("'list'", "'nodes'") "," RULE("'get'", "'secrets'") "]" },
		{ "{'matchExpressions':[{'key':'y','operator':'In','values':['1','3']}]}", "[]", 1, "[" RULE("'list'", "'nodes'") "]" },
		{ "{'matchLabels':{'x':'true'},'matchExpressions':[{'key':'y','operator':'NotIn','values':['2']}]}", "[]", 1,
		  "[" RULE("'get'", "'secrets'") "," RULE("'get'", "'pods'") "]" },
		{ "{'matchExpressions':[{'key':'x','operator':'DoesNotExist'},{'key':'y','operator':'DoesNotExist'}]}", "[]", 1,
		  "[" RULE("'*'", "'*'") "]" },
		{ "{}", "[]", 1, "[" RULE("'get'", "'pods'") "," RULE("'list'", "'nodes'") "," RULE("'get'", "'secrets'") ","
		  RULE("'*'", "'*'") "]" },
		{ SELECTOR("z"), "null", 0, NULL },
		{ SELECTOR("z"), "[" RULE("'get'", "'pods'") "]", 1, "[]" },
		{ "{'matchExpressions':[{'key':'y','operator':'Like'}]}", "[]", -ERR_INVALID_REQUEST, NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		char text[1024], row[32];
		snprintf(row, sizeof(row), "row %zu", i);
		/* It carries the labels of others: it must not take its own rules in. */
		snprintf(text, sizeof(text), "{'metadata':{'name':'sum','labels':{'x':'true','y':'3'}},'rules':%s,"
			 "'aggregationRule':{'clusterRoleSelectors':[%s]}}", rows[i].old, rows[i].selectors);
		struct json role = parse(&a, text), trees[ARRAY_LEN(world)], rules;
		const struct json *list[ARRAY_LEN(world) + 1];
		for (size_t k = 0; k < ARRAY_LEN(world); k++) {
			trees[k] = parse(&a, world[k]);
			list[k] = &trees[k];
		}
		list[ARRAY_LEN(world)] = &role;
		int rc = auth_policy_aggregate(&role, list, ARRAY_LEN(list), &a, &rules, &err);
		if (rc != rows[i].rc)
			fail_msg("%s: got %d, want %d (%s)", row, rc, rows[i].rc, err_msg(&err));
		if (rc == 1)
			expect_json(&a, row, &rules, rows[i].rules);
		struct json plain = trees[0];
		assert_int_equal(auth_policy_aggregate(&plain, list, ARRAY_LEN(list), &a, &rules, &err), 0);
	}
}

/* ---- upstream's test data */

static struct json read_yaml(struct arena *a, const char *folder, const char *file)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf text = {};
	struct span path = arena_printf(a, "%s/%s", folder, file);
	struct json v = JSON_NULL_VALUE;
	if (io_read_file(AT_FDCWD, path.ptr, &text, 1 << 20, &err) < 0 ||
	    yaml_parse(a, arena_span(a, buf_span(&text)), YAML_STRICT, NULL, &v, &err) < 0)
		fail_msg("%s: %s", path.ptr, err_msg(&err));
	return v;
}

static void against_upstream(void **state)
{
	const char *folder = getenv("KNARR_POLICY_TESTDATA");
	if (!folder) {
		print_message("skipped: KNARR_POLICY_TESTDATA names no folder with upstream's bootstrappolicy/testdata of 1.33\n");
		skip();
	}
	static const struct {
		const char *file;
		enum auth_rbac_kind kind;
	} rows[] = {
		{ "cluster-roles.yaml", AUTH_CLUSTER_ROLE },
		{ "controller-roles.yaml", AUTH_CLUSTER_ROLE },
		{ "cluster-role-bindings.yaml", AUTH_CLUSTER_ROLE_BINDING },
		{ "controller-role-bindings.yaml", AUTH_CLUSTER_ROLE_BINDING },
		{ "namespace-roles.yaml", AUTH_ROLE },
		{ "namespace-role-bindings.yaml", AUTH_ROLE_BINDING },
	};
	auto_arena struct arena a = {};
	unsigned seen[AUTH_RBAC_KIND_COUNT] = {}, wrong = 0;
	for (size_t f = 0; f < ARRAY_LEN(rows); f++) {
		struct json list = read_yaml(&a, folder, rows[f].file);
		JSON_EACH_ITEM(json_getl(&list, "items"), want) {
			json_remove(json_getl(want, "metadata"), SPAN("creationTimestamp")); /* null, in older versions */
			seen[rows[f].kind]++;
			bool found = false;
			for (unsigned i = 0; i < auth_policy_count(rows[f].kind) && !found; i++) {
				struct json got = auth_policy_object(rows[f].kind, i, &a);
				if (!span_eq(name_of(&got), name_of(want)) ||
				    !span_eq(json_span(json_path(&got, "metadata", "namespace", NULL)),
					     json_span(json_path(want, "metadata", "namespace", NULL))))
					continue;
				found = true;
				if (!json_equal(&got, want)) {
					print_error("%s:\n got %s\nwant %s\n", rows[f].file, print(&a, &got), print(&a, want));
					wrong++;
				}
			}
			if (!found) {
				print_error("%s: missing %.*s\n", rows[f].file, SPAN_ARG(name_of(want)));
				wrong++;
			}
		}
	}
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		assert_int_equal(seen[kinds[k]], auth_policy_count(kinds[k]));
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects),	cmocka_unit_test(decisions),   cmocka_unit_test(reconciling),
		cmocka_unit_test(settled),	cmocka_unit_test(aggregation), cmocka_unit_test(against_upstream),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
