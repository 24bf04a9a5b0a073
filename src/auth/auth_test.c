/* Tests of auth: rules, the RBAC index against a slow model, grants, the node graph, every kind of credential and what is
 * wrong with it. */
#include "auth/auth.h"
#include "json/parse_test.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void put(struct auth_rbac *r, enum auth_rbac_kind kind, const char *text)
{
	auto_arena struct arena a = {};
	struct json v = parse(&a, text);
	auth_rbac_put(r, kind, &v);
}

static const struct span jane_groups[] = { SPAN_INIT("dev"), SPAN_INIT("system:authenticated") };
static const struct auth_user jane = { .name = SPAN_INIT("jane"), .groups = jane_groups, .n_groups = 2 };

/* "get pods default web", "get pods/log default", "get deployments.apps default", "get /healthz" */
static struct auth_ask ask_of(const struct auth_user *u, const char *text)
{
	struct auth_ask ask = { .user = u, .is_resource = true };
	struct span rest = span_of(text), part;
	span_cut(&rest, ' ', &ask.verb);
	span_cut(&rest, ' ', &part);
	if (span_starts(part, SPAN("/"))) {
		ask.path = part;
		ask.is_resource = false;
		return ask;
	}
	struct span full = part;
	span_split(full, '/', &full, &ask.subresource);
	span_split(full, '.', &ask.resource, &ask.group);
	if (span_cut(&rest, ' ', &part) && !span_is(part, "-"))
		ask.ns = part;
	if (span_cut(&rest, ' ', &part))
		ask.name = part;
	return ask;
}

static void expect(struct auth_rbac *r, const struct auth_user *u, const char *text, bool allowed, const char *reason)
{
	auto_arena struct arena a = {};
	struct auth_ask ask = ask_of(u, text);
	struct span why;
	bool got = auth_rbac_allows(r, &ask, &a, &why) == AUTH_ALLOW;
	if (got != allowed)
		fail_msg("%s: got %d", text, got);
	if (reason && !span_is(why, reason))
		fail_msg("%s:\n got %.*s\nwant %s", text, SPAN_ARG(why), reason);
}

static void rbac_decides(void **state)
{
	struct auth_rbac *r = auth_rbac_new();
	put(r, AUTH_CLUSTER_ROLE, "{'metadata':{'name':'reader'},'rules':[{'verbs':['get','list'],'apiGroups':['','apps'],"
				  "'resources':['pods','*/status','deployments/scale']},"
				  "{'verbs':['get'],'nonResourceURLs':['/healthz','/api/*']}]}");
	put(r, AUTH_CLUSTER_ROLE, "{'metadata':{'name':'root'},'rules':[{'verbs':['*'],'apiGroups':['*'],'resources':['*']}]}");
	put(r, AUTH_ROLE, "{'metadata':{'name':'one','namespace':'ns'},'rules':[{'verbs':['update'],'apiGroups':[''],"
			  "'resources':['secrets'],'resourceNames':['a','b']}]}");
	put(r, AUTH_CLUSTER_ROLE_BINDING, "{'metadata':{'name':'readers'},'roleRef':{'kind':'ClusterRole','name':'reader'},"
					  "'subjects':[{'kind':'Group','name':'dev'}]}");
	put(r, AUTH_ROLE_BINDING, "{'metadata':{'name':'b','namespace':'ns'},'roleRef':{'kind':'Role','name':'one'},"
				  "'subjects':[{'kind':'User','name':'jane'},{'kind':'ServiceAccount','name':'robot'}]}");
	put(r, AUTH_ROLE_BINDING, "{'metadata':{'name':'ghost','namespace':'ns'},'roleRef':{'kind':'Role','name':'none'},"
				  "'subjects':[{'kind':'User','name':'jane'}]}");

	expect(r, &jane, "get pods other web", true,
	       "RBAC: allowed by ClusterRoleBinding \"readers\" of ClusterRole \"reader\" to Group \"dev\"");
	expect(r, &jane, "list pods -", true, NULL);
	expect(r, &jane, "watch pods other", false, "");
	expect(r, &jane, "get pods/log other web", false, NULL);
	expect(r, &jane, "get pods/status other web", true, NULL);
	expect(r, &jane, "get nodes/status -", true, NULL);
	expect(r, &jane, "get deployments.apps/scale ns", true, NULL);
	expect(r, &jane, "get deployments.apps ns", false, NULL);
	expect(r, &jane, "get pods.metrics.k8s.io ns", false, NULL);
	expect(r, &jane, "update secrets ns a", true, "RBAC: allowed by RoleBinding \"b/ns\" of Role \"one\" to User \"jane\"");
	expect(r, &jane, "update secrets ns c", false, "RBAC: role.rbac.authorization.k8s.io \"none\" not found");
	expect(r, &jane, "update secrets ns", false, NULL); /* names were asked for, none was given */
	expect(r, &jane, "update secrets other a", false, "");
	expect(r, &jane, "get /healthz", true, NULL);
	expect(r, &jane, "get /healthz/etcd", false, NULL);
	expect(r, &jane, "get /api/v1/x", true, NULL);
	expect(r, &jane, "post /api/v1", false, NULL);

	static const struct auth_user robot = { .name = SPAN_INIT("system:serviceaccount:ns:robot") };
	expect(r, &robot, "update secrets ns b", true, "RBAC: allowed by RoleBinding \"b/ns\" of Role \"one\" to ServiceAccount \"robot\"");
	expect(r, &robot, "get pods ns", false, "");

	/* Objects come, change and go in any order. */
	auth_rbac_remove(r, AUTH_CLUSTER_ROLE, SPAN(""), SPAN("reader"));
	expect(r, &jane, "get pods other web", false, "RBAC: clusterrole.rbac.authorization.k8s.io \"reader\" not found");
	expect(r, &jane, "get pods ns web", false,
	       "RBAC: [clusterrole.rbac.authorization.k8s.io \"reader\" not found, "
	       "role.rbac.authorization.k8s.io \"none\" not found]");
	put(r, AUTH_CLUSTER_ROLE_BINDING, "{'metadata':{'name':'readers'},'roleRef':{'kind':'ClusterRole','name':'root'},"
					  "'subjects':[{'kind':'User','name':'jane'}]}");
	expect(r, &jane, "delete nodes - n1", true, NULL);
	expect(r, &jane, "get /healthz", false, NULL); /* resources do not give paths */
	auth_rbac_remove(r, AUTH_CLUSTER_ROLE_BINDING, SPAN(""), SPAN("readers"));
	auth_rbac_remove(r, AUTH_CLUSTER_ROLE_BINDING, SPAN(""), SPAN("readers"));
	expect(r, &jane, "delete nodes - n1", false, "");
	auth_rbac_free(r);
	auth_rbac_free(NULL);
}

/* Random roles and bindings; every question is also answered by walking over all of them. */
static void rbac_against_model(void **state)
{
	enum { ROLES = 12, BINDINGS = 40, NSS = 3, USERS = 6, VERBS = 3, RES = 4 };
	struct model_binding {
		int ns, role, role_ns, user, group;
	} model[BINDINGS] = {};
	int roles[NSS + 1][ROLES] = {}; /* bits of verb x resource; index 0 = cluster */
	struct rng rng;
	rng_init(&rng, 42);
	struct auth_rbac *r = auth_rbac_new();
	for (int step = 0; step < 3000; step++) {
		int ns = (int)rng_below(&rng, NSS + 1);
		auto_buf struct buf t = {};
		if (rng_below(&rng, 3) == 0) {
			int role = (int)rng_below(&rng, ROLES), bits = (int)(rng_u64(&rng) & ((1 << VERBS * RES) - 1));
			bool gone = rng_below(&rng, 5) == 0;
			char name[16], ns_name[16] = "";
			(void)snprintf(name, sizeof(name), "r%d", role);
			if (ns)
				(void)snprintf(ns_name, sizeof(ns_name), "n%d", ns);
			if (gone) {
				auth_rbac_remove(r, ns ? AUTH_ROLE : AUTH_CLUSTER_ROLE, span_of(ns_name), span_of(name));
				roles[ns][role] = 0;
				continue;
			}
			buf_printf(&t, "{'metadata':{'name':'%s','namespace':'%s'},'rules':[", name, ns_name);
			bool first = true;
			for (int b = 0; b < VERBS * RES; b++)
				if (bits >> b & 1) {
					buf_printf(&t, "%s{'verbs':['v%d'],'apiGroups':[''],'resources':['x%d']}", first ? "" : ",",
						   b / RES, b % RES);
					first = false;
				}
			buf_str(&t, "]}");
			put(r, ns ? AUTH_ROLE : AUTH_CLUSTER_ROLE, buf_cstr(&t));
			roles[ns][role] = bits;
		} else {
			int b = (int)rng_below(&rng, BINDINGS);
			/* A binding keeps its namespace for ever, as an object of that name would. */
			ns = b % (NSS + 1);
			struct model_binding *m = &model[b];
			*m = (struct model_binding){ .ns = ns, .role = (int)rng_below(&rng, ROLES),
						     .role_ns = ns && rng_below(&rng, 2) ? ns : 0,
						     .user = (int)rng_below(&rng, USERS) + 1, .group = (int)rng_below(&rng, USERS) + 1 };
			if (ns)
				buf_printf(&t, "{'metadata':{'name':'b%d','namespace':'n%d'},", b, ns);
			else
				buf_printf(&t, "{'metadata':{'name':'b%d'},", b);
			buf_printf(&t, "'roleRef':{'kind':'%s','name':'r%d'},'subjects':[{'kind':'User','name':'u%d'},{'kind':'Group',"
				       "'name':'g%d'}]}",
				   m->role_ns ? "Role" : "ClusterRole", m->role, m->user, m->group);
			put(r, ns ? AUTH_ROLE_BINDING : AUTH_CLUSTER_ROLE_BINDING, buf_cstr(&t));
		}
		int user = (int)rng_below(&rng, USERS) + 1, group = (int)rng_below(&rng, USERS) + 1;
		int in = (int)rng_below(&rng, NSS + 1), verb = (int)rng_below(&rng, VERBS), res = (int)rng_below(&rng, RES);
		bool want = false;
		for (int b = 0; b < BINDINGS; b++) {
			struct model_binding *m = &model[b];
			if (!m->user || (m->ns && m->ns != in) || (m->user != user && m->group != group))
				continue;
			want = want || (roles[m->role_ns][m->role] >> (verb * RES + res) & 1);
		}
		char name[16], group_name[16], question[64];
		(void)snprintf(name, sizeof(name), "u%d", user);
		(void)snprintf(group_name, sizeof(group_name), "g%d", group);
		const struct span groups[] = { span_of(group_name) };
		const struct auth_user u = { .name = span_of(name), .groups = groups, .n_groups = 1 };
		if (in)
			(void)snprintf(question, sizeof(question), "v%d x%d n%d", verb, res, in);
		else
			(void)snprintf(question, sizeof(question), "v%d x%d -", verb, res);
		expect(r, &u, question, want, NULL);
	}
	auth_rbac_free(r);
}

static void grants_do_not_escalate(void **state)
{
	static const struct {
		const char *have, *want, *missing; /* missing NULL = covered */
	} rows[] = {
		{ "[{'verbs':['*'],'apiGroups':['*'],'resources':['*']}]",
		  "[{'verbs':['get'],'apiGroups':['x'],'resources':['y/z'],'resourceNames':['n']}]", NULL },
		{ "[{'verbs':['get','list'],'apiGroups':[''],'resources':['pods']}]",
		  "[{'verbs':['get'],'apiGroups':[''],'resources':['pods']}]", NULL },
		/* split over several rules */
		{ "[{'verbs':['get'],'apiGroups':[''],'resources':['pods']},{'verbs':['list'],'apiGroups':[''],'resources':['pods']}]",
		  "[{'verbs':['get','list'],'apiGroups':[''],'resources':['pods']}]", NULL },
		{ "[{'verbs':['get'],'apiGroups':[''],'resources':['pods']}]",
		  "[{'verbs':['get','list','watch'],'apiGroups':[''],'resources':['pods','secrets']}]",
		  "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"watch\"]}\n"
		  "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\" \"watch\"]}" },
		{ "[{'verbs':['get'],'apiGroups':[''],'resources':['pods'],'resourceNames':['a']}]",
		  "[{'verbs':['get'],'apiGroups':[''],'resources':['pods']}]",
		  "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}" },
		{ "[{'verbs':['get'],'apiGroups':[''],'resources':['pods']}]",
		  "[{'verbs':['get'],'apiGroups':[''],'resources':['pods'],'resourceNames':['a','b']}]", NULL },
		{ "[{'verbs':['get'],'apiGroups':[''],'resources':['*/scale']}]",
		  "[{'verbs':['get'],'apiGroups':[''],'resources':['x/scale']}]", NULL },
		{ "[{'verbs':['get'],'apiGroups':[''],'resources':['*/scale']}]",
		  "[{'verbs':['get'],'apiGroups':[''],'resources':['x']}]", "{APIGroups:[\"\"], Resources:[\"x\"], Verbs:[\"get\"]}" },
		{ "[{'verbs':['get'],'nonResourceURLs':['/api/*']}]", "[{'verbs':['get'],'nonResourceURLs':['/api/v1','/api/*']}]", NULL },
		{ "[{'verbs':['get'],'nonResourceURLs':['/api/*']}]", "[{'verbs':['get'],'nonResourceURLs':['/apis']}]",
		  "{NonResourceURLs:[\"/apis\"], Verbs:[\"get\"]}" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json have_tree = parse(&a, rows[i].have), want_tree = parse(&a, rows[i].want);
		const struct auth_rule *have, *want, *missing = NULL;
		unsigned n_have, n_want, n_missing = 0;
		auth_rules_read(&a, &have_tree, &have, &n_have);
		auth_rules_read(&a, &want_tree, &want, &n_want);
		bool covered = auth_rules_cover(have, n_have, want, n_want, &a, &missing, &n_missing);
		auto_buf struct buf text = {};
		for (unsigned k = 0; k < n_missing; k++) {
			buf_str(&text, k ? "\n" : "");
			auth_rule_text(&missing[k], &text);
		}
		if (covered != !rows[i].missing || strcmp(buf_cstr(&text), rows[i].missing ? rows[i].missing : "") != 0)
			fail_msg("row %zu: covered %d\n%s", i, covered, buf_cstr(&text));
	}
	/* A rule too large to break down is not covered unless one rule covers it whole. */
	auto_arena struct arena a = {};
	auto_buf struct buf big = {};
	buf_str(&big, "[{'verbs':['a','b','c'],'apiGroups':[''],'resources':[");
	for (int i = 0; i < 1000; i++)
		buf_printf(&big, "%s'r%d'", i ? "," : "", i);
	buf_str(&big, "],'resourceNames':[");
	for (int i = 0; i < 1000; i++)
		buf_printf(&big, "%s'n%d'", i ? "," : "", i);
	buf_str(&big, "]}]");
	struct json tree = parse(&a, buf_cstr(&big)), all_tree = parse(&a, "[{'verbs':['*'],'apiGroups':['*'],'resources':['*']}]");
	const struct auth_rule *want, *all, *missing;
	unsigned n_want, n_all, n_missing;
	auth_rules_read(&a, &tree, &want, &n_want);
	auth_rules_read(&a, &all_tree, &all, &n_all);
	assert_true(auth_rules_cover(all, n_all, want, n_want, &a, &missing, &n_missing));
	assert_false(auth_rules_cover(NULL, 0, want, n_want, &a, &missing, &n_missing));
	assert_int_equal(n_missing, 1);

	struct auth_rbac *r = auth_rbac_new();
	struct json small = parse(&a, "[{'verbs':['get'],'apiGroups':[''],'resources':['pods']}]");
	auth_rules_read(&a, &small, &want, &n_want);
	auto_err struct err err = ERR_INIT;
	assert_int_equal(auth_rbac_check_grant(r, &jane, SPAN("ns"), want, n_want, &err), -ERR_FORBIDDEN);
	assert_string_equal(err_msg(&err),
			    "user \"jane\" (groups=[\"dev\" \"system:authenticated\"]) is attempting to grant RBAC permissions not "
			    "currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}");
	put(r, AUTH_CLUSTER_ROLE, "{'metadata':{'name':'x'},'rules':[{'verbs':['get'],'apiGroups':[''],'resources':['pods']}]}");
	put(r, AUTH_ROLE_BINDING, "{'metadata':{'name':'x','namespace':'ns'},'roleRef':{'kind':'ClusterRole','name':'x'},"
				  "'subjects':[{'kind':'User','name':'jane'}]}");
	assert_int_equal(auth_rbac_check_grant(r, &jane, SPAN("ns"), want, n_want, &err), 0);
	assert_int_equal(auth_rbac_check_grant(r, &jane, SPAN("other"), want, n_want, &err), -ERR_FORBIDDEN);
	const struct auth_rule *role;
	unsigned n_role;
	assert_true(auth_rbac_role_rules(r, SPAN(""), SPAN("x"), &a, &role, &n_role));
	assert_int_equal(n_role, 1);
	assert_false(auth_rbac_role_rules(r, SPAN("ns"), SPAN("x"), &a, &role, &n_role));
	auth_rbac_free(r);
}

static void refusals_in_the_real_words(void **state)
{
	static const struct {
		const char *ask, *reason, *message;
	} rows[] = {
		{ "list pods default", "", "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the "
					   "namespace \"default\"" },
		{ "get pods/log default web", "", "pods \"web\" is forbidden: User \"jane\" cannot get resource \"pods/log\" in API "
						  "group \"\" in the namespace \"default\"" },
		{ "delete nodes - n1", "because", "nodes \"n1\" is forbidden: User \"jane\" cannot delete resource \"nodes\" in API "
						  "group \"\" at the cluster scope: because" },
		{ "patch deployments.apps d web", "", "deployments.apps \"web\" is forbidden: User \"jane\" cannot patch resource "
						      "\"deployments\" in API group \"apps\" in the namespace \"d\"" },
		{ "get /metrics", "", "forbidden: User \"jane\" cannot get path \"/metrics\"" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct auth_ask ask = ask_of(&jane, rows[i].ask);
		auto_err struct err err = ERR_INIT;
		assert_int_equal(auth_forbidden(&ask, span_of(rows[i].reason), &err), -ERR_FORBIDDEN);
		assert_string_equal(err_msg(&err), rows[i].message);
	}
}

/* ---- nodes */

static void node_put(struct auth_node *n, enum auth_node_kind kind, const char *text)
{
	auto_arena struct arena a = {};
	struct json v = parse(&a, text);
	auth_node_put(n, kind, &v);
}

static const struct span node_groups[] = { SPAN_INIT("system:nodes") };
static const struct auth_user kubelet = { .name = SPAN_INIT("system:node:n1"), .groups = node_groups, .n_groups = 1 };

static void node_expect(struct auth_node *n, const char *text, bool allowed, const char *reason)
{
	auto_arena struct arena a = {};
	struct auth_ask ask = ask_of(&kubelet, text);
	struct span why;
	bool got = auth_node_allows(n, &ask, &a, &why) == AUTH_ALLOW;
	if (got != allowed || (reason && !span_is(why, reason)))
		fail_msg("%s: got %d \"%.*s\"", text, got, SPAN_ARG(why));
}

static void nodes_see_what_their_pods_refer_to(void **state)
{
	struct auth_node *n = auth_node_new();
	static const char pod[] =
		"{'metadata':{'name':'web','namespace':'ns'},'spec':{'nodeName':'n1','serviceAccountName':'sa','imagePullSecrets':"
		"[{'name':'pull'}],'containers':[{'env':[{'valueFrom':{'secretKeyRef':{'name':'env'}}}],'envFrom':[{'configMapRef':"
		"{'name':'cm'}}]}],'initContainers':[{'envFrom':[{'secretRef':{'name':'init'}}]}],'volumes':[{'name':'a','secret':"
		"{'secretName':'vol'}},{'name':'b','persistentVolumeClaim':{'claimName':'data'}},{'name':'c','projected':{'sources':"
		"[{'secret':{'name':'proj'}},{'configMap':{'name':'pcm'}}]}},{'name':'scratch','ephemeral':{}},{'name':'d','csi':"
		"{'nodePublishSecretRef':{'name':'csi'}}}]}}";
	node_put(n, AUTH_NODE_POD, pod);
	node_put(n, AUTH_NODE_PV, "{'metadata':{'name':'pv1'},'spec':{'claimRef':{'namespace':'ns','name':'data'},'csi':"
				  "{'nodeStageSecretRef':{'name':'stage','namespace':'store'}}}}");
	node_put(n, AUTH_NODE_ATTACHMENT, "{'metadata':{'name':'va1'},'spec':{'nodeName':'n1'}}");
	node_put(n, AUTH_NODE_ATTACHMENT, "{'metadata':{'name':'va2'},'spec':{'nodeName':'n2'}}");
	static const char *const yes[] = {
		"get secrets ns pull", "get secrets ns env", "get secrets ns init", "get secrets ns vol", "list secrets ns proj",
		"watch secrets ns csi", "get configmaps ns cm", "get configmaps ns pcm", "get persistentvolumeclaims ns data",
		"get persistentvolumeclaims ns web-scratch", "get persistentvolumes - pv1", "get secrets store stage",
		"get volumeattachments.storage.k8s.io - va1", "create serviceaccounts/token ns sa", "get pods ns web",
		"patch persistentvolumeclaims/status ns data", "update pods/status ns web", "create pods ns", "delete pods ns x",
		"get nodes - n1", "patch nodes/status - n1", "create nodes -", "get services ns x", "create events ns",
		"get leases.coordination.k8s.io kube-node-lease n1", "create leases.coordination.k8s.io kube-node-lease",
		"get csinodes.storage.k8s.io - n1", "list runtimeclasses.node.k8s.io -", "create tokenreviews.authentication.k8s.io -",
		"create certificatesigningrequests.certificates.k8s.io -", "create pods/eviction ns web",
	};
	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		node_expect(n, yes[i], true, NULL);
	node_expect(n, "get secrets ns other", false, "no relationship found between node 'n1' and this object");
	node_expect(n, "get secrets other pull", false, NULL);
	node_expect(n, "update secrets ns pull", false, "can only read resources of this type");
	node_expect(n, "list secrets -", false, "can only read namespaced object of this type");
	node_expect(n, "list persistentvolumes -", false, "can only get individual resources of this type");
	node_expect(n, "get volumeattachments.storage.k8s.io - va2", false, NULL);
	node_expect(n, "create serviceaccounts/token ns other", false, NULL);
	node_expect(n, "create serviceaccounts ns sa", false, "can only create token subresource of service account");
	node_expect(n, "get leases.coordination.k8s.io kube-node-lease n2", false,
		    "can only access node lease with the same name as the requesting node");
	node_expect(n, "get leases.coordination.k8s.io ns n1", false,
		    "can only access leases in the \"kube-node-lease\" system namespace");
	node_expect(n, "get nodes - n2", false, "node 'n1' cannot read 'n2', only its own Node object");
	node_expect(n, "list pods -", false, "can only list/watch pods with spec.nodeName field selector");
	node_expect(n, "delete nodes - n1", false, "");
	node_expect(n, "get /healthz", false, "");
	auto_arena struct arena a = {};
	struct span why;
	struct auth_ask list = ask_of(&kubelet, "list pods -");
	list.node_name = SPAN("n1");
	assert_int_equal(auth_node_allows(n, &list, &a, &why), AUTH_ALLOW);
	list.node_name = SPAN("n2");
	assert_int_equal(auth_node_allows(n, &list, &a, &why), AUTH_NO_OPINION);
	struct auth_ask jane_ask = ask_of(&jane, "get secrets ns pull");
	assert_int_equal(auth_node_allows(n, &jane_ask, &a, &why), AUTH_NO_OPINION);
	assert_int_equal(why.len, 0);

	/* A mirror pod gives nothing; a pod that moves takes its rights along; a pod that goes ends them. */
	node_put(n, AUTH_NODE_POD, "{'metadata':{'name':'m','namespace':'ns','annotations':{'kubernetes.io/config.mirror':'x'}},"
				   "'spec':{'nodeName':'n1','imagePullSecrets':[{'name':'mirror'}]}}");
	node_expect(n, "get secrets ns mirror", false, NULL);
	node_expect(n, "get pods ns m", true, NULL);
	node_put(n, AUTH_NODE_POD, "{'metadata':{'name':'web','namespace':'ns'},'spec':{'nodeName':'n2','imagePullSecrets':"
				   "[{'name':'pull'}]}}");
	node_expect(n, "get secrets ns pull", false, NULL);
	node_expect(n, "get persistentvolumes - pv1", false, NULL);
	node_put(n, AUTH_NODE_POD, pod);
	node_expect(n, "get persistentvolumes - pv1", true, NULL);
	auth_node_remove(n, AUTH_NODE_POD, SPAN("ns"), SPAN("web"));
	auth_node_remove(n, AUTH_NODE_POD, SPAN("ns"), SPAN("web"));
	node_expect(n, "get secrets ns pull", false, NULL);
	node_expect(n, "get secrets store stage", false, NULL);
	auth_node_free(n);
	auth_node_free(NULL);
}

/* ---- credentials */

static void token_file(void **state)
{
	struct auth_tokens *t;
	auto_err struct err err = ERR_INIT;
	auto_arena struct arena a = {};
	assert_int_equal(auth_tokens_parse(SPAN("tok1,jane,u1,\"dev, ops\"\n\n\"to,k\"\"2\",bob,u2\r\ntok3,eve,u3,solo\n"), "file", &t,
					   &err), 0);
	struct auth_user u;
	assert_true(auth_tokens_find(t, SPAN("tok1"), &a, &u));
	assert_true(span_is(u.name, "jane") && span_is(u.uid, "u1") && u.n_groups == 3);
	assert_true(span_is(u.groups[0], "dev") && span_is(u.groups[1], "ops") && span_is(u.groups[2], "system:authenticated"));
	assert_true(auth_tokens_find(t, SPAN("to,k\"2"), &a, &u));
	assert_true(span_is(u.name, "bob") && u.n_groups == 1);
	assert_true(auth_tokens_find(t, SPAN("tok3"), &a, &u) && span_is(u.groups[0], "solo"));
	assert_false(auth_tokens_find(t, SPAN("tok"), &a, &u));
	assert_false(auth_tokens_find(t, SPAN(""), &a, &u));
	assert_false(auth_tokens_find(NULL, SPAN("tok1"), &a, &u));
	auth_tokens_free(t);
	static const char *bad[][2] = {
		{ "a,b\n", "file, line 1: token file needs at least 3 columns (token, user name, user uid), found 2" },
		{ "a,b,c\n,b,c\n", "file, line 2: the token is empty" },
		{ "a,b,c\na,d,e\n", "file, line 2: the token of this line stands in an earlier one too" },
		{ "a,\"b,c\n", "file, line 1: a quote is out of place" },
		{ "a,b\"x,c\n", "file, line 1: a quote is out of place" },
		{ "a,\"b\"x,c\n", "file, line 1: a quote is out of place" },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(auth_tokens_parse(span_of(bad[i][0]), "file", &t, &err), -ERR_INVALID);
		assert_string_equal(err_msg(&err), bad[i][1]);
	}
}

static const struct world_row {
	const char *kind, *ns, *name, *uid;
	int64_t deletion_s;
} world[] = {
	{ "serviceaccounts", "ns", "robot", "sa-uid", 0 },  { "pods", "ns", "web", "pod-uid", 0 },
	{ "pods", "ns", "ending", "end-uid", 1000 },	    { "nodes", "", "n1", "node-uid", 0 },
	{ "secrets", "ns", "bound", "secret-uid", 0 },
};
static const char *legacy_secret;

static bool world_uid(void *arg, struct span kind, struct span ns, struct span name, struct arena *a, struct span *out_uid,
		      int64_t *out_deletion_s)
{
	for (size_t i = 0; i < ARRAY_LEN(world); i++) {
		if (!span_is(kind, world[i].kind) || !span_is(ns, world[i].ns) || !span_is(name, world[i].name))
			continue;
		*out_uid = span_of(world[i].uid);
		*out_deletion_s = world[i].deletion_s;
		return true;
	}
	return false;
}

static bool world_secret(void *arg, struct span ns, struct span name, struct arena *a, struct json *out)
{
	if (span_is(ns, "ns") && span_is(name, "legacy") && legacy_secret) {
		*out = parse(a, legacy_secret);
		return true;
	}
	if (span_is(ns, "kube-system") && span_is(name, "bootstrap-token-abcdef") && arg) {
		*out = parse(a, arg);
		return true;
	}
	return false;
}

static void service_account_tokens(void **state)
{
	for (int alg = 0; alg < TLS_ALG_COUNT; alg++) {
		auto_err struct err err = ERR_INIT;
		auto_arena struct arena a = {};
		struct tls_key *key, *other;
		assert_int_equal(tls_key_new((enum tls_alg)alg, &key, &err), 0);
		assert_int_equal(tls_key_new((enum tls_alg)alg, &other, &err), 0);
		struct tls_key *verify[] = { other, key };
		const struct auth_issuer i = { .issuer = SPAN("https://kubernetes.default.svc"), .verify = verify, .n_verify = 2,
					       .sign = key, .extend = true };
		const struct auth_lookup look = { .uid_of = world_uid, .secret = world_secret };
		const uint8_t jti[16] = { 1, 2, 3 };
		const int64_t now = 1000000;
		int64_t expires;
		const struct span *auds;
		unsigned n_auds;
		struct auth_token_facts facts;
		struct auth_user u;
		const struct auth_bound pod = { .kind = SPAN("Pod"), .name = SPAN("web"), .uid = SPAN("pod-uid"),
						.node_name = SPAN("n1"), .node_uid = SPAN("node-uid") };
		auto_buf struct buf t = {};
		assert_int_equal(auth_token_issue(&i, SPAN("ns"), SPAN("robot"), SPAN("sa-uid"), &pod, NULL, 0, 3600, now, jti, &t,
						  &expires, &err), 0);
		assert_int_equal(expires, now + 3600);
		assert_int_equal(auth_token_check(&i, &look, buf_span(&t), now + 10, NULL, 0, &a, &u, &auds, &n_auds, &facts, &err), 0);
		assert_true(span_is(u.name, "system:serviceaccount:ns:robot") && span_is(u.uid, "sa-uid"));
		assert_true(auth_user_in(&u, SPAN("system:serviceaccounts:ns")) && auth_user_in(&u, SPAN("system:authenticated")));
		assert_int_equal(u.n_extra, 5);
		assert_true(span_is(u.extra[0].values[0], "JTI=01020300-0000-4000-8000-000000000000"));
		assert_true(span_is(u.extra[3].key, "authentication.kubernetes.io/pod-name") && span_is(u.extra[3].values[0], "web"));
		assert_true(n_auds == 1 && span_eq(auds[0], i.issuer) && !facts.stale);

		/* the payload, as upstream writes it */
		struct span rest = buf_span(&t), part;
		span_cut(&rest, '.', &part);
		span_cut(&rest, '.', &part);
		auto_buf struct buf payload = {};
		assert_true(base64_parse(&payload, BASE64_URL_RAW, part));
		assert_string_equal(buf_cstr(&payload),
				    "{\"aud\":[\"https://kubernetes.default.svc\"],\"exp\":1003600,\"iat\":1000000,\"iss\":"
				    "\"https://kubernetes.default.svc\",\"jti\":\"01020300-0000-4000-8000-000000000000\",\"kubernetes.io\":"
				    "{\"namespace\":\"ns\",\"node\":{\"name\":\"n1\",\"uid\":\"node-uid\"},\"pod\":{\"name\":\"web\",\"uid\":"
				    "\"pod-uid\"},\"serviceaccount\":{\"name\":\"robot\",\"uid\":\"sa-uid\"}},\"nbf\":1000000,\"sub\":"
				    "\"system:serviceaccount:ns:robot\"}");

		/* times */
		static const struct {
			int64_t at;
			const char *why;
		} times[] = { { 1003601, "service account token has expired" }, { 999999, "service account token is not valid yet" } };
		for (size_t k = 0; k < ARRAY_LEN(times); k++) {
			assert_int_equal(auth_token_check(&i, &look, buf_span(&t), times[k].at, NULL, 0, &a, &u, &auds, &n_auds, &facts,
							  &err), -ERR_UNAUTHORIZED);
			assert_string_equal(err_msg(&err), times[k].why);
		}
		/* audiences */
		const struct span vault[] = { SPAN("vault") };
		assert_int_equal(auth_token_check(&i, &look, buf_span(&t), now, vault, 1, &a, &u, &auds, &n_auds, &facts, &err),
				 -ERR_UNAUTHORIZED);
		assert_string_equal(err_msg(&err), "token audiences [\"https://kubernetes.default.svc\"] is invalid for the target "
						   "audiences [\"vault\"]");
		/* every single changed byte is noticed */
		for (size_t at = 0; at < t.len; at += alg == TLS_RS256 ? 7 : 3) {
			char keep = t.ptr[at];
			t.ptr[at] = keep == 'A' ? 'B' : 'A';
			/* The last character of base64 holds bits that do not count; changed bytes there may mean the same. */
			bool loose = at + 1 == t.len || t.ptr[at + 1] == '.';
			int rc = auth_token_check(&i, &look, buf_span(&t), now, NULL, 0, &a, &u, &auds, &n_auds, &facts, &err);
			if (rc == 0 && !loose)
				fail_msg("a token changed at byte %zu was taken", at);
			t.ptr[at] = keep;
		}
		/* a key that we do not have, no algorithm, another issuer */
		struct tls_key *only_other[] = { other };
		struct auth_issuer stranger = i;
		stranger.verify = only_other;
		stranger.n_verify = 1;
		assert_int_equal(auth_token_check(&stranger, &look, buf_span(&t), now, NULL, 0, &a, &u, &auds, &n_auds, &facts, &err),
				 -ERR_UNAUTHORIZED);
		stranger = i;
		stranger.issuer = SPAN("https://elsewhere");
		assert_int_equal(auth_token_check(&stranger, &look, buf_span(&t), now, NULL, 0, &a, &u, &auds, &n_auds, &facts, &err),
				 -ERR_NOT_FOUND);
		auto_buf struct buf none = {};
		base64_add(&none, BASE64_URL_RAW, "{\"alg\":\"none\"}", 14);
		buf_printf(&none, ".%.*s.", SPAN_ARG(part));
		assert_int_equal(auth_token_check(&i, &look, buf_span(&none), now, NULL, 0, &a, &u, &auds, &n_auds, &facts, &err),
				 -ERR_UNAUTHORIZED);
		assert_string_equal(err_msg(&err), "invalid bearer token: no key of this server signs with algorithm \"none\"");

		/* bound objects: gone, replaced, deleted for longer than the leeway */
		static const struct {
			const char *kind, *name, *uid;
			bool ok;
		} bounds[] = {
			{ "Pod", "web", "pod-uid", true },    { "Pod", "web", "old-uid", false }, { "Pod", "gone", "x", false },
			{ "Pod", "ending", "end-uid", false }, { "Secret", "bound", "secret-uid", true },
			{ "Secret", "bound", "x", false },    { "Node", "n1", "node-uid", true }, { "Node", "n2", "x", false },
		};
		for (size_t k = 0; k < ARRAY_LEN(bounds); k++) {
			const struct auth_bound b = { .kind = span_of(bounds[k].kind), .name = span_of(bounds[k].name),
						      .uid = span_of(bounds[k].uid) };
			buf_trunc(&t, 0);
			assert_int_equal(auth_token_issue(&i, SPAN("ns"), SPAN("robot"), SPAN("sa-uid"), &b, vault, 1, 600, now, jti, &t,
							  &expires, &err), 0);
			int rc = auth_token_check(&i, &look, buf_span(&t), now, vault, 1, &a, &u, &auds, &n_auds, &facts, &err);
			if ((rc == 0) != bounds[k].ok)
				fail_msg("row %zu: %d %s", k, rc, rc ? err_msg(&err) : "");
		}
		/* an hour and seven seconds: a year, stale after the hour */
		buf_trunc(&t, 0);
		assert_int_equal(auth_token_issue(&i, SPAN("ns"), SPAN("robot"), SPAN("sa-uid"), NULL, NULL, 0, 3607, now, jti, &t, &expires,
						  &err), 0);
		assert_int_equal(expires, now + 365 * 24 * 3600);
		assert_int_equal(auth_token_check(&i, &look, buf_span(&t), now + 3608, NULL, 0, &a, &u, &auds, &n_auds, &facts, &err), 0);
		assert_true(facts.stale);
		/* the service account itself */
		buf_trunc(&t, 0);
		assert_int_equal(auth_token_issue(&i, SPAN("ns"), SPAN("robot"), SPAN("former"), NULL, NULL, 0, 600, now, jti, &t, &expires,
						  &err), 0);
		assert_int_equal(auth_token_check(&i, &look, buf_span(&t), now, NULL, 0, &a, &u, &auds, &n_auds, &facts, &err),
				 -ERR_UNAUTHORIZED);

		/* legacy tokens live as long as their Secret holds them */
		buf_trunc(&t, 0);
		assert_int_equal(auth_token_issue_legacy(&i, SPAN("ns"), SPAN("robot"), SPAN("sa-uid"), SPAN("legacy"), &t, &err), 0);
		auto_buf struct buf secret = {};
		buf_str(&secret, "{'metadata':{},'data':{'token':'");
		base64_add(&secret, BASE64_STD, t.ptr, t.len);
		buf_str(&secret, "'}}");
		legacy_secret = buf_cstr(&secret);
		assert_int_equal(auth_token_check(&i, &look, buf_span(&t), now, NULL, 0, &a, &u, &auds, &n_auds, &facts, &err), 0);
		assert_int_equal(u.n_extra, 0);
		legacy_secret = "{'data':{'token':'AAAA'}}";
		assert_int_equal(auth_token_check(&i, &look, buf_span(&t), now, NULL, 0, &a, &u, &auds, &n_auds, &facts, &err),
				 -ERR_UNAUTHORIZED);
		assert_string_equal(err_msg(&err), "token does not match server's copy");
		legacy_secret = NULL;

		static const char *shapes[] = { "", ".", "..", "a.b.c", "a.b.c.d", "e30.e30.", "e30..e30" };
		for (size_t k = 0; k < ARRAY_LEN(shapes); k++)
			assert_int_equal(auth_token_check(&i, &look, span_of(shapes[k]), now, NULL, 0, &a, &u, &auds, &n_auds, &facts, &err),
					 -ERR_NOT_FOUND);

		auto_buf struct buf docs = {};
		auth_openid_config(&i, SPAN("https://k/openid/v1/jwks"), &docs);
		struct json doc = parse(&a, buf_cstr(&docs));
		assert_true(span_is(json_span(json_getl(&doc, "issuer")), "https://kubernetes.default.svc"));
		buf_trunc(&docs, 0);
		auth_openid_jwks(&i, &docs);
		doc = parse(&a, buf_cstr(&docs));
		assert_int_equal(json_getl(&doc, "keys")->n, 2);
		tls_key_unref(key);
		tls_key_unref(other);
	}
}

/* What is remembered is the signature of one token, nothing of what else makes it good; and keys that are gone take it along. */
static void tokens_are_remembered(void **state)
{
	auto_err struct err err = ERR_INIT;
	auto_arena struct arena a = {};
	struct tls_key *key, *other;
	assert_int_equal(tls_key_new(TLS_ES256, &key, &err), 0);
	assert_int_equal(tls_key_new(TLS_ES256, &other, &err), 0);
	struct auth_issuer i = { .issuer = SPAN("https://kubernetes.default.svc"), .verify = &key, .n_verify = 1, .sign = key,
				 .memory = auth_memory_new() };
	struct auth_issuer forger = { .issuer = SPAN("https://kubernetes.default.svc"), .sign = other };
	const struct auth_lookup look = { .uid_of = world_uid, .secret = world_secret };
	const uint8_t jti[16] = { 1, 2, 3 };
	const int64_t now = 1000000;
	int64_t expires;
	const struct span *auds;
	unsigned n_auds;
	struct auth_token_facts facts;
	struct auth_user u;
	auto_buf struct buf t = {}, forged = {};
	assert_int_equal(auth_token_issue(&i, SPAN("ns"), SPAN("robot"), SPAN("sa-uid"), NULL, NULL, 0, 3600, now, jti, &t, &expires,
					  &err), 0);
	assert_int_equal(auth_token_issue(&forger, SPAN("ns"), SPAN("robot"), SPAN("sa-uid"), NULL, NULL, 0, 3600, now, jti, &forged,
					  &expires, &err), 0);
	for (int k = 0; k < 3; k++) {
		assert_int_equal(auth_token_check(&i, &look, buf_span(&t), now, NULL, 0, &a, &u, &auds, &n_auds, &facts, &err), 0);
		assert_int_equal(facts.remembered, k > 0);
		assert_true(span_is(u.name, "system:serviceaccount:ns:robot"));
		assert_int_equal(auth_token_check(&i, &look, buf_span(&forged), now, NULL, 0, &a, &u, &auds, &n_auds, &facts, &err),
				 -ERR_UNAUTHORIZED);
		assert_false(facts.remembered);
	}
	assert_int_equal(auth_token_check(&i, &look, buf_span(&t), now + 3601, NULL, 0, &a, &u, &auds, &n_auds, &facts, &err),
			 -ERR_UNAUTHORIZED);
	assert_true(facts.remembered);
	assert_string_equal(err_msg(&err), "service account token has expired");
	struct span vault = SPAN("vault");
	assert_int_equal(auth_token_check(&i, &look, buf_span(&t), now, &vault, 1, &a, &u, &auds, &n_auds, &facts, &err),
			 -ERR_UNAUTHORIZED);
	/* one letter of the signature: another token */
	t.ptr[t.len - 2] = t.ptr[t.len - 2] == 'A' ? 'B' : 'A';
	assert_int_equal(auth_token_check(&i, &look, buf_span(&t), now, NULL, 0, &a, &u, &auds, &n_auds, &facts, &err),
			 -ERR_UNAUTHORIZED);
	assert_false(facts.remembered);
	auth_memory_free(i.memory);
	tls_key_unref(key);
	tls_key_unref(other);
}

static void bootstrap_tokens(void **state)
{
	/* abcdef . 0123456789abcdef; expiration 2030-01-01T00:00:00Z */
#define HEAD "{'type':'bootstrap.kubernetes.io/token','data':{'token-id':'YWJjZGVm','token-secret':'MDEyMzQ1Njc4OWFiY2RlZg=='"
	static const struct {
		const char *secret, *token;
		int rc;
	} rows[] = {
		{ HEAD ",'usage-bootstrap-authentication':'dHJ1ZQ=='}}", "abcdef.0123456789abcdef", 0 },
		{ HEAD ",'usage-bootstrap-authentication':'dHJ1ZQ=='}}", "abcdef.0123456789abcdee", -ERR_NOT_FOUND },
		{ HEAD ",'usage-bootstrap-authentication':'dHJ1ZQ=='}}", "abcdeg.0123456789abcdef", -ERR_NOT_FOUND },
		{ HEAD ",'usage-bootstrap-authentication':'dHJ1ZQ=='}}", "abcdef.0123456789ABCDEF", -ERR_NOT_FOUND },
		{ HEAD "}}", "abcdef.0123456789abcdef", -ERR_UNAUTHORIZED },
		{ HEAD ",'usage-bootstrap-authentication':'dHJ1ZQ==','expiration':'MjAzMC0wMS0wMVQwMDowMDowMFo='}}",
		  "abcdef.0123456789abcdef", 0 },
		{ HEAD ",'usage-bootstrap-authentication':'dHJ1ZQ==','expiration':'MjAyMC0wMS0wMVQwMDowMDowMFo='}}",
		  "abcdef.0123456789abcdef", -ERR_UNAUTHORIZED },
		/* auth-extra-groups: system:bootstrappers:a, then admins */
		{ HEAD ",'usage-bootstrap-authentication':'dHJ1ZQ==','auth-extra-groups':'c3lzdGVtOmJvb3RzdHJhcHBlcnM6YQ=='}}",
		  "abcdef.0123456789abcdef", 0 },
		{ HEAD ",'usage-bootstrap-authentication':'dHJ1ZQ==','auth-extra-groups':'YWRtaW5z'}}", "abcdef.0123456789abcdef",
		  -ERR_UNAUTHORIZED },
		{ "{'type':'Opaque','data':{}}", "abcdef.0123456789abcdef", -ERR_NOT_FOUND },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct auth_user u;
		const struct auth_lookup look = { .uid_of = world_uid, .secret = world_secret, .arg = (void *)rows[i].secret };
		int rc = auth_bootstrap_check(&look, span_of(rows[i].token), 1800000000, &a, &u, &err);
		if (rc != rows[i].rc)
			fail_msg("row %zu: got %d %s", i, rc, err_msg(&err));
		if (rc == 0) {
			assert_true(span_is(u.name, "system:bootstrap:abcdef"));
			assert_true(auth_user_in(&u, SPAN("system:bootstrappers")));
		}
	}
}

static void certificates_and_names(void **state)
{
	auto_arena struct arena a = {};
	const char *orgs[] = { "system:masters", "dev" };
	struct tls_peer peer = { .verified = true, .cn = "admin", .orgs = orgs, .n_orgs = 2, .sha256 = { 0xab }, .not_after_s = 100 };
	struct auth_user u;
	assert_true(auth_cert_user(&peer, 100, &a, &u));
	assert_true(span_is(u.name, "admin") && u.n_groups == 3 && auth_user_in(&u, SPAN("system:authenticated")));
	assert_true(span_starts(u.extra[0].values[0], SPAN("X509SHA256=ab00")));
	assert_false(auth_cert_user(&peer, 101, &a, &u)); /* it expired while the connection lived */
	peer.verified = false;
	assert_false(auth_cert_user(&peer, 100, &a, &u));
	peer = (struct tls_peer){ .verified = true, .cn = "", .not_after_s = 100 };
	assert_false(auth_cert_user(&peer, 100, &a, &u));
	assert_false(auth_cert_user(NULL, 100, &a, &u));
	auth_anonymous(&u);
	assert_true(span_is(u.name, "system:anonymous") && auth_user_in(&u, SPAN("system:unauthenticated")));
	struct span ns, name;
	assert_true(auth_sa_split(SPAN("system:serviceaccount:a:b"), &ns, &name) && span_is(ns, "a") && span_is(name, "b"));
	assert_false(auth_sa_split(SPAN("system:serviceaccount:a"), &ns, &name));
	assert_false(auth_sa_split(SPAN("system:serviceaccount:a:"), &ns, &name));
	assert_false(auth_sa_split(SPAN("system:serviceaccount:a:b:c"), &ns, &name));
	assert_false(auth_sa_split(SPAN("jane"), &ns, &name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rbac_decides),
		cmocka_unit_test(rbac_against_model),
		cmocka_unit_test(grants_do_not_escalate),
		cmocka_unit_test(refusals_in_the_real_words),
		cmocka_unit_test(nodes_see_what_their_pods_refer_to),
		cmocka_unit_test(token_file),
		cmocka_unit_test(service_account_tokens),
		cmocka_unit_test(tokens_are_remembered),
		cmocka_unit_test(bootstrap_tokens),
		cmocka_unit_test(certificates_and_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
