/* The parts of the write path that the tests of the whole server reach only in passing: admission's riders and quotas, the guard
 * of RBAC, what actions share, objects of the server's own. */
#include "apiserver/admit.h"
#include "apiserver/guard.h"
#include "apiserver/heartbeat.h"
#include "apiserver/seed.h"
#include "apiserver/sub.h"
#include "apiserver/write.h"
#include "server_test.h"

#define NS(name) "{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" name "\"},\"status\":{\"phase\":\"Active\"}}"

/* ---- admit.c */

static void riders(void **state)
{
	struct bench *b = *state;
	struct call *c = call_begin(b, "", "configmaps", "", "d", "x");
	struct bytes *one = bytes_of(SPAN("1"));
	char key[] = "/a";
	also_put(c, span_of(key), 0, bytes_ref(one));
	also_delete(c, SPAN("/b"), 7);
	key[1] = 'z'; /* keys are copied */
	assert_true(also_has(c, SPAN("/a")) && also_has(c, SPAN("/b")));
	assert_false(also_has(c, SPAN("/z")));
	also_reset(c);
	assert_false(also_has(c, SPAN("/a")));
	call_end(c);
	bytes_unref(one);
}

static void riders_hold_or_fall_with_the_write(void **state)
{
	struct bench *b = *state;
	auto_arena struct arena a = {};
	for (int held = 1; held >= 0; held--) {
		struct call *c = call_begin(b, "", "configmaps", "", "d", "x");
		struct store_txn *t = store_txn_new();
		auto_bytes struct bytes *main = bytes_of(SPAN("main"));
		put(b, "/rider", NULL);
		(void)stored(b, &a, "/rider");
		also_put(c, SPAN("/rider"), held ? 0 : 1, bytes_of(SPAN("rider"))); /* it is not there: revision 1 is wrong */
		also_add(c, t);
		store_txn_put(t, STORE_THEN, held ? SPAN("/main1") : SPAN("/main0"), main, 0);
		store_commit(b->server.store, t, NULL, put_done, NULL);
		assert_string_equal(stored(b, &a, "/rider"), held ? "rider" : "");
		assert_string_equal(stored(b, &a, held ? "/main1" : "/main0"), held ? "main" : "");
		call_end(c);
	}
}

static void plugins_note_and_refuse(void **state)
{
	struct bench *b = *state;
	auto_err struct err err = ERR_INIT;
	auto_arena struct arena a = {};
	assert_int_equal(admission_set_parse(SPAN(""), SPAN("ServiceAccount"), &b->server.admission, &err), 0);
	assert_true(admit_has(&b->server, "PodSecurity"));
	assert_false(admit_has(&b->server, "NodeRestriction"));
	struct call *c = call_begin(b, "", "configmaps", "", "nope", "x");
	struct json object = tree(&c->arena, "{'metadata':{'name':'x'}}");
	assert_int_equal(admit_both(c, ADMISSION_CREATE, &object, NULL), -ERR_NOT_FOUND);
	assert_string_equal(err_msg(&c->err), "namespaces \"nope\" not found");
	assert_true(c->about && span_is(c->about->kind, "namespaces") && span_is(c->about->name, "nope"));
	call_end(c);
	put(b, "/registry/core/namespaces/d", "{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"d\",\"labels\":{"
					      "\"pod-security.kubernetes.io/warn\":\"baseline\"}}}");
	(void)stored(b, &a, "/");
	c = call_begin(b, "", "pods", "", "d", "x");
	struct json pod = tree(&c->arena, "{'metadata':{'name':'x'},'spec':{'hostNetwork':true,'containers':[{'name':'c','image':'i'}]}}");
	struct admission *req = admit_begin(c, ADMISSION_CREATE, &pod, NULL);
	assert_int_equal(admit_check(c, req), 0);
	assert_int_equal(c->n_warnings, 1);
	assert_true(span_starts(c->warnings[0], SPAN("would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)")));
	call_end(c);
}

/* The counters of a quota ride with the object; who exceeds it gets none. */
static void quotas_are_charged(void **state)
{
	struct bench *b = *state;
	auto_err struct err err = ERR_INIT;
	auto_arena struct arena a = {};
	static const char key[] = "/registry/core/resourcequotas/d/q";
	assert_int_equal(admission_set_parse(SPAN(""), SPAN("ServiceAccount"), &b->server.admission, &err), 0);
	put(b, "/registry/core/namespaces/d", NS("d"));
	put(b, key, "{\"kind\":\"ResourceQuota\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"q\",\"namespace\":\"d\"},\"spec\":{"
		    "\"hard\":{\"configmaps\":\"1\"}},\"status\":{\"hard\":{\"configmaps\":\"1\"},\"used\":{\"configmaps\":\"0\"}}}");
	(void)stored(b, &a, "/");
	for (int i = 0; i < 2; i++) {
		struct call *c = call_begin(b, "", "configmaps", "", "d", "x");
		struct json object = tree(&c->arena, "{'metadata':{'name':'x','namespace':'d'}}");
		struct admission *req = admit_begin(c, ADMISSION_CREATE, &object, NULL);
		assert_int_equal(admit_mutate(c, req), 0);
		assert_int_equal(admit_validate(c, req), i ? -ERR_FORBIDDEN : 0);
		assert_int_equal(also_has(c, span_of(key)), !i);
		if (i == 0) {
			struct store_txn *t = store_txn_new();
			also_add(c, t);
			store_commit(b->server.store, t, NULL, put_done, NULL);
			assert_non_null(strstr(stored(b, &a, key), "\"used\":{\"configmaps\":\"1\"}"));
		} else {
			assert_string_equal(err_msg(&c->err), "configmaps \"x\" is forbidden: exceeded quota: q, requested: configmaps=1, "
							      "used: configmaps=1, limited: configmaps=1");
		}
		call_end(c);
	}
}

/* ---- guard.c */

static int guarded(struct bench *b, const char *plural, const char *name, const char *now, const char *was, struct err *err)
{
	bool cluster = strncmp(plural, "cluster", 7) == 0;
	struct call *c = call_begin(b, "rbac.authorization.k8s.io", plural, "", cluster ? "" : "d", name);
	struct json object = tree(&c->arena, now), old = tree(&c->arena, was ? was : "{}");
	int rc = guard_rbac(c, &object, was ? &old : NULL);
	if (rc < 0)
		err_move(err, &c->err);
	call_end(c);
	return rc;
}

static void rights_are_not_grown(void **state)
{
	struct bench *b = *state;
	auto_arena struct arena a = {};
	static const struct {
		enum auth_rbac_kind kind;
		const char *text;
	} policy[] = {
		/* jane reads pods everywhere, and may bind one role that she does not hold */
		{ AUTH_CLUSTER_ROLE, "{'metadata':{'name':'reader'},'rules':[{'verbs':['get'],'apiGroups':[''],'resources':['pods']},{'verbs':["
				     "'bind'],'apiGroups':['rbac.authorization.k8s.io'],'resources':['clusterroles'],'resourceNames':['strong']},"
				     "{'verbs':['escalate'],'apiGroups':['rbac.authorization.k8s.io'],'resources':['roles'],'resourceNames':["
				     "'free']}]}" },
		{ AUTH_CLUSTER_ROLE, "{'metadata':{'name':'strong'},'rules':[{'verbs':['*'],'apiGroups':['*'],'resources':['*']}]}" },
		{ AUTH_CLUSTER_ROLE, "{'metadata':{'name':'secrets'},'rules':[{'verbs':['get'],'apiGroups':[''],'resources':['secrets']}]}" },
		{ AUTH_CLUSTER_ROLE_BINDING, "{'metadata':{'name':'b'},'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':'ClusterRole','name':"
					     "'reader'},'subjects':[{'kind':'User','apiGroup':'rbac.authorization.k8s.io','name':'jane'}]}" },
	};
	static const struct {
		const char *plural, *name, *now, *was, *refusal; /* refusal: its class's words; NULL: allowed */
	} rows[] = {
		{ "roles", "r", "{'metadata':{'name':'r'},'rules':[{'verbs':['get'],'apiGroups':[''],'resources':['pods']}]}", NULL, NULL },
		{ "roles", "r", "{'metadata':{'name':'r'},'rules':[{'verbs':['get'],'apiGroups':[''],'resources':['secrets']}]}", NULL,
		  "is attempting to grant RBAC permissions not currently held" },
		{ "roles", "free", "{'metadata':{'name':'free'},'rules':[{'verbs':['get'],'apiGroups':[''],'resources':['secrets']}]}", NULL, NULL },
		/* what does not change needs no right */
		{ "roles", "r", "{'metadata':{'name':'r','labels':{'a':'b'}},'rules':[{'verbs':['get'],'resources':['secrets']}]}",
		  "{'metadata':{'name':'r'},'rules':[{'verbs':['get'],'resources':['secrets']}]}", NULL },
		{ "clusterroles", "agg", "{'metadata':{'name':'agg'},'aggregationRule':{'clusterRoleSelectors':[{'matchLabels':{'a':'b'}}]}}", NULL,
		  "must have cluster-admin privileges to use the aggregationRule" },
		{ "clusterroles", "agg", "{'metadata':{'name':'agg'},'rules':[]}",
		  "{'metadata':{'name':'agg'},'rules':[],'aggregationRule':{'clusterRoleSelectors':[{}]}}",
		  "must have cluster-admin privileges to use the aggregationRule" },
		{ "rolebindings", "rb", "{'metadata':{'name':'rb'},'roleRef':{'kind':'ClusterRole','name':'strong'}}", NULL, NULL },
		{ "rolebindings", "rb", "{'metadata':{'name':'rb'},'roleRef':{'kind':'ClusterRole','name':'secrets'}}", NULL,
		  "is attempting to grant RBAC permissions not currently held" },
		{ "rolebindings", "rb", "{'metadata':{'name':'rb'},'roleRef':{'kind':'ClusterRole','name':'reader'}}", NULL, NULL }, /* all hers */
		{ "rolebindings", "rb", "{'metadata':{'name':'rb'},'roleRef':{'kind':'Role','name':'none'}}", NULL,
		  "roles.rbac.authorization.k8s.io \"none\" not found" },
		{ "rolebindings", "rb", "{'metadata':{'name':'rb','labels':{'a':'b'}},'roleRef':{'kind':'ClusterRole','name':'secrets'}}",
		  "{'metadata':{'name':'rb'},'roleRef':{'kind':'ClusterRole','name':'secrets'}}", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(policy); i++) {
		struct json object = tree(&a, policy[i].text);
		auth_rbac_put(b->server.rbac, policy[i].kind, &object);
	}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err err = ERR_INIT;
		int rc = guarded(b, rows[i].plural, rows[i].name, rows[i].now, rows[i].was, &err);
		if ((rc < 0) != (rows[i].refusal != NULL) || (rc < 0 && !strstr(err_msg(&err), rows[i].refusal)))
			fail_msg("row %zu, %s %s: %d %s", i, rows[i].plural, rows[i].name, rc, err_msg(&err));
	}
}

/* ---- sub.c */

static void actions_agree(void **state)
{
	struct bench *b = *state;
	static const struct {
		const char *body, *refusal;
	} rows[] = {
		{ "{'metadata':{'name':'p'}}", NULL },
		{ "{'apiVersion':'v1','kind':'Binding','metadata':{'name':'p','namespace':'d'}}", NULL },
		{ "{'apiVersion':'v2','metadata':{'name':'p'}}", "the API version in the data (v2) does not match the expected API version (v1)" },
		{ "{'kind':'Pod','metadata':{'name':'p'}}", "Pod in version \"v1\" cannot be handled as a Binding: no kind match" },
		{ "{'metadata':{'name':'q'}}", "name in URL does not match name in Binding object" },
		{ "{}", "name in URL does not match name in Binding object" },
		{ "{'metadata':{'name':'p','namespace':'e'}}", "the namespace of the provided object does not match the namespace sent on the request" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct call *c = call_begin(b, "", "pods", "binding", "d", "p");
		struct json body = tree(&c->arena, rows[i].body);
		int rc = sub_agree(c, &body, SPAN("v1"));
		assert_string_equal(rc ? err_msg(&c->err) : "", rows[i].refusal ? rows[i].refusal : "");
		call_end(c);
	}
}

static void conditions_are_set(void **state)
{
	struct bench *b = *state;
	struct call *c = call_begin(b, "", "pods", "binding", "d", "p");
	struct json pod = tree(&c->arena, "{'metadata':{}}");
	auto_buf struct buf was = {}, is = {};
	assert_true(sub_condition_set(c, &pod, "PodScheduled", NULL, NULL));
	json_write(&was, &pod, 0);
	assert_string_equal(buf_cstr(&was), "{\"metadata\":{},\"status\":{\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"True\","
					    "\"lastTransitionTime\":\"2023-11-14T22:13:20Z\"}]}}");
	atomic_fetch_add(&b->clock.passed_ns, 60 * NS_PER_S);
	assert_false(sub_condition_set(c, &pod, "PodScheduled", NULL, NULL)); /* as it was */
	assert_true(sub_condition_set(c, &pod, "PodScheduled", "Why", "because")); /* other words, the same time */
	json_write(&is, &pod, 0);
	assert_string_equal(buf_cstr(&is), "{\"metadata\":{},\"status\":{\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"True\","
					   "\"lastTransitionTime\":\"2023-11-14T22:13:20Z\",\"reason\":\"Why\",\"message\":\"because\"}]}}");
	call_end(c);
}

/* ---- seed.c */

static void own_objects(void **state)
{
	struct bench *b = *state;
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_bytes struct bytes *made = NULL;
	struct call *c = call_begin(b, "", "configmaps", "", "d", "x");
	struct json object = tree(&a, "{'metadata':{'name':'x','namespace':'d'},'data':{'a':'b'}}"), read;
	assert_int_equal(seed_object(&b->server, c->res, &a, &object, NULL, SPAN("us"), &made, &err), 0);
	assert_int_equal(object_read(&a, c->res, bytes_span(made), 7, &read, &err), 0);
	const struct json *meta = json_getl(&read, "metadata"), *fields = json_getl(meta, "managedFields");
	assert_int_equal(json_span(json_getl(meta, "uid")).len, 36);
	assert_true(span_is(json_span(json_getl(meta, "creationTimestamp")), "2023-11-14T22:13:20Z"));
	assert_true(span_is(json_span(json_getl(meta, "resourceVersion")), "7"));
	assert_int_equal(fields->n, 1);
	assert_true(span_is(json_span(json_getl(&fields->items[0], "manager")), "us"));
	struct json bad = tree(&a, "{'metadata':{'name':'X_','namespace':'d'}}");
	auto_bytes struct bytes *none = NULL;
	assert_int_equal(seed_object(&b->server, c->res, &a, &bad, NULL, SPAN("us"), &none, &err), -ERR_INVALID);
	assert_null(none);
	call_end(c);
}

static void no_wake(void *arg)
{
}

static void parts_come_back(void **state)
{
	struct bench *b = *state;
	auto_arena struct arena a = {};
	static const char map[] = "/registry/core/configmaps/kube-system/extension-apiserver-authentication";
	b->worker.port = store_port_open(b->server.store, no_wake, NULL);
	b->server.authorities = bytes_of(SPAN("PEM"));
	seed_again(&b->worker, SEED_AUTHENTICATION);
	assert_non_null(strstr(stored(b, &a, map), "\"client-ca-file\":\"PEM\""));
	/* others' entries stay; ours follows */
	bytes_unref(b->server.authorities);
	b->server.authorities = bytes_of(SPAN("NEW"));
	put(b, map, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"extension-apiserver-authentication\",\"namespace\":"
		    "\"kube-system\"},\"data\":{\"client-ca-file\":\"PEM\",\"requestheader-client-ca-file\":\"X\"}}");
	(void)stored(b, &a, "/");
	seed_again(&b->worker, SEED_AUTHENTICATION);
	assert_non_null(strstr(stored(b, &a, map), "\"data\":{\"client-ca-file\":\"NEW\",\"requestheader-client-ca-file\":\"X\"}"));
	seed_again(&b->worker, SEED_NAMESPACES);
	assert_non_null(strstr(stored(b, &a, "/registry/core/namespaces/kube-node-lease"), "\"finalizers\":[\"kubernetes\"]"));
	bytes_unref(b->server.authorities);
	while (store_port_run(b->worker.port, 256))
		;
	store_port_close(b->worker.port);
}

/* ---- heartbeat.c */

#define LEASE(holder, renewed, managed)                                                                                       \
	"{\"kind\":\"Lease\",\"apiVersion\":\"coordination.k8s.io/v1\",\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"managedFields\":[{"   \
	"\"manager\":\"m\",\"time\":\"" managed "\"}]},\"spec\":{\"holderIdentity\":\"" holder "\",\"leaseDurationSeconds\":15,\"renewTime\":"  \
	"\"" renewed "\"}}"
#define NODE(ready, beat, kubelet)                                                                                            \
	"{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"x\"},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"" \
	ready "\",\"lastHeartbeatTime\":\"" beat "\"}],\"nodeInfo\":{\"kubeletVersion\":\"" kubelet "\"}}}"
#define T0 "2026-11-21T10:00:00.000000Z"
#define T1 "2026-11-21T10:00:02.000000Z"

static void only_heartbeats_are_kept_in_memory(void **state)
{
	struct bench *b = *state;
	static const struct {
		const char *group, *plural, *sub, *old, *new;
		enum heartbeat is;
	} rows[] = {
		{ "coordination.k8s.io", "leases", "", LEASE("a", T0, T0), LEASE("a", T1, T1), HEARTBEAT_RENEWAL },
		{ "coordination.k8s.io", "leases", "", LEASE("a", T0, T0), LEASE("b", T1, T1), HEARTBEAT_NONE },
		{ "coordination.k8s.io", "leases", "", NULL, LEASE("a", T0, T0), HEARTBEAT_NONE },
		{ "", "nodes", "status", NODE("True", T0, "1"), NODE("True", T1, "1"), HEARTBEAT_RENEWAL },
		{ "", "nodes", "status", NODE("True", T0, "1"), NODE("False", T1, "1"), HEARTBEAT_NONE },
		{ "", "nodes", "status", NODE("True", T0, "1"), NODE("True", T1, "2"), HEARTBEAT_NONE },
		{ "", "nodes", "", NODE("True", T0, "1"), NODE("True", T1, "1"), HEARTBEAT_NONE }, /* no way to write a status */
		{ "", "events", "", NULL, "{}", HEARTBEAT_EVENT },
		{ "events.k8s.io", "events", "", "{}", "{'count':2}", HEARTBEAT_EVENT },
		{ "", "configmaps", "", "{}", "{}", HEARTBEAT_NONE },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct call *c = call_begin(b, rows[i].group, rows[i].plural, rows[i].sub, "d", "x");
		auto_bytes struct bytes *was = bytes_of(span_of(rows[i].old ? rows[i].old : "{}"));
		const struct store_item old = { .value = was };
		c->value = bytes_of(span_of(rows[i].new));
		enum heartbeat is = heartbeat_of(c, rows[i].old ? &old : NULL);
		if (is != rows[i].is)
			fail_msg("row %zu: %s -> %s is %d, not %d", i, rows[i].old, rows[i].new, is, rows[i].is);
		bytes_unref(c->value);
		call_end(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(riders), TEST(riders_hold_or_fall_with_the_write), TEST(plugins_note_and_refuse), TEST(quotas_are_charged),
		TEST(rights_are_not_grown), TEST(actions_agree), TEST(conditions_are_set), TEST(own_objects),
		TEST(parts_come_back), TEST(only_heartbeats_are_kept_in_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
