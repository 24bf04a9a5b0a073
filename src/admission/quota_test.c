/* ResourceQuota: usage of each kind, scopes, refusals, the new status.used. */
#include "admission/admission_test.h"

struct quota_row {
	const char *kind, *object;
	const char *quota; /* members of the ResourceQuota, name q */
	const char *want;  /* refusal; NULL: admitted */
	const char *used;  /* the new status.used; NULL: unchanged */
	const char *old, *sub;
};

static void run_quota(const struct quota_row *row)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json *quota = tree_of(&a, row->quota);
	json_setl(&a, quota, "metadata", *tree_of(&a, "{'name':'q'}"));
	struct admission_quota q = { .object = quota };
	const struct api_resource *r = resource_of(row->kind);
	struct admission req = { .arena = &a, .resource = r, .op = row->old ? ADMISSION_UPDATE : ADMISSION_CREATE,
				 .ns = span_of(r->namespaced ? "ns" : ""), .name = SPAN("x"), .object = tree_of(&a, row->object),
				 .old = row->old ? tree_of(&a, row->old) : NULL, .subresource = span_of(row->sub) };
	int rc = admission_quota_check(&req, &q, 1, 1767323045, &err);
	expect("message", row->object, row->want ? row->want : "", rc < 0 ? err_msg(&err) : "");
	if (rc < 0)
		return;
	auto_buf struct buf have = {}, want = {};
	if (q.changed)
		json_write(&have, &q.used, JSON_SORTED);
	if (row->used)
		json_write(&want, tree_of(&a, row->used), JSON_SORTED);
	expect("used", row->object, buf_cstr(&want), buf_cstr(&have));
}

#define RUN(rows) \
	do { \
		for (size_t i_ = 0; i_ < ARRAY_LEN(rows); i_++) \
			run_quota(&(rows)[i_]); \
	} while (0)
#define Q(hard, used) "{'status':{'hard':{" hard "},'used':{" used "}}}"
#define NO "pods \"x\" is forbidden: "
#define RES(requests, limits) "'resources':{'requests':{" requests "},'limits':{" limits "}}"

static void test_pods(void **state)
{
	static const struct quota_row rows[] = {
		{ "v1 Pod", "{}", Q("'pods':'3'", "'pods':'2'"), NULL, "{'pods':'3'}" },
		{ "v1 Pod", "{}", Q("'pods':'2'", "'pods':'2'"), NO "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2" },
		{ "v1 Pod", "{}", Q("'count/pods':'1','pods':'5'", "'count/pods':'1','pods':'0'"),
		  NO "exceeded quota: q, requested: count/pods=1, used: count/pods=1, limited: count/pods=1" },
		{ "v1 Pod", "{}", Q("'secrets':'0'", "'secrets':'0'") },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'b'},{'name':'a'},{'name':'c'," RES("'cpu':'1'", "'memory':'1'") "}]}}",
		  Q("'limits.memory':'2','requests.cpu':'1'", ""),
		  NO "failed quota: q: must specify limits.memory for: a,b; requests.cpu for: a,b" },
		{ "v1 Pod", "{'spec':{}}", Q("'pods':'2'", ""), NO "status unknown for quota: q, resources: pods" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a'," RES("'cpu':'500m','memory':'1Gi','ex.com/gpu':'2'", "'cpu':'1'") "}],"
			    "'initContainers':[{'name':'i'," RES("'cpu':'2'", "'cpu':'2'") "},{'name':'s','restartPolicy':'Always',"
			    RES("'cpu':'250m'", "'cpu':'1'") "}],'overhead':{'cpu':'100m'}}}",
		  Q("'cpu':'10','requests.cpu':'10','limits.cpu':'10','requests.ex.com/gpu':'4','requests.storage':'1'",
		    "'cpu':'1','requests.cpu':'0','limits.cpu':'0','requests.ex.com/gpu':'1'"), NULL,
		  "{'cpu':'3100m','requests.cpu':'2100m','limits.cpu':'2100m','requests.ex.com/gpu':'3'}" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a'," RES("'memory':'2Gi'", "'memory':'2Gi'") "}]}}",
		  Q("'memory':'3Gi','pods':'9'", "'memory':'2Gi','pods':'1'"),
		  NO "exceeded quota: q, requested: memory=2Gi, used: memory=2Gi, limited: memory=3Gi" },
		/* finished, and gone past its grace period */
		{ "v1 Pod", "{'status':{'phase':'Failed'}}", Q("'pods':'0','count/pods':'5'", "'pods':'0','count/pods':'0'"), NULL,
		  "{'pods':'0','count/pods':'1'}" },
		{ "v1 Pod", "{'metadata':{'deletionTimestamp':'2026-01-01T00:00:00Z','deletionGracePeriodSeconds':30}}",
		  Q("'pods':'0'", "'pods':'0'") },
		{ "v1 Pod", "{}", Q("'pods':'0'", "'pods':'0'"), .old = "{}" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a'," RES("'cpu':'3'", "") "}]}}", Q("'cpu':'10'", "'cpu':'1'"), NULL, "{'cpu':'3'}",
		  "{'metadata':{'resourceVersion':'1'},'spec':{'containers':[{'name':'a'," RES("'cpu':'1'", "") "}]}}", "resize" },
		{ "v1 Pod", "{}", Q("'pods':'0'", "'pods':'0'"), .sub = "eviction" },
	};
	RUN(rows);
}

static void test_scopes(void **state)
{
#define SCOPED(spec) "{'spec':{" spec "},'status':{'hard':{'pods':'0'},'used':{'pods':'0'}}}"
#define FULL NO "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"
	static const struct quota_row rows[] = {
		{ "v1 Pod", "{'spec':{'activeDeadlineSeconds':5}}", SCOPED("'scopes':['Terminating']"), FULL },
		{ "v1 Pod", "{'spec':{}}", SCOPED("'scopes':['Terminating']") },
		{ "v1 Pod", "{'spec':{}}", SCOPED("'scopes':['NotTerminating']"), FULL },
		{ "v1 Pod", "{'spec':{}}", SCOPED("'scopes':['BestEffort']"), FULL },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a'," RES("'cpu':'1'", "") "}]}}", SCOPED("'scopes':['BestEffort']") },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a'," RES("'cpu':'1'", "") "}]}}", SCOPED("'scopes':['NotBestEffort','NotTerminating']"), FULL },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a'," RES("'ephemeral-storage':'1'", "") "}]}}", SCOPED("'scopes':['BestEffort']"), FULL },
		{ "v1 Pod", "{'spec':{'affinity':{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{'namespaces':['o']}]}}}}",
		  SCOPED("'scopes':['CrossNamespacePodAffinity']"), FULL },
		{ "v1 Pod", "{'spec':{'priorityClassName':'p'}}", SCOPED("'scopes':['PriorityClass']"), FULL },
		{ "v1 Pod", "{'spec':{'priorityClassName':'p'}}",
		  SCOPED("'scopeSelector':{'matchExpressions':[{'scopeName':'PriorityClass','operator':'In','values':['p','r']}]}"), FULL },
		{ "v1 Pod", "{'spec':{'priorityClassName':'p'}}",
		  SCOPED("'scopeSelector':{'matchExpressions':[{'scopeName':'PriorityClass','operator':'NotIn','values':['p','r']}]}") },
		{ "v1 Pod", "{'spec':{}}", SCOPED("'scopeSelector':{'matchExpressions':[{'scopeName':'PriorityClass','operator':'DoesNotExist'}]}"), FULL },
	};
	RUN(rows);
}

static void test_others(void **state)
{
	static const struct quota_row rows[] = {
		{ "v1 Service", "{'spec':{'type':'NodePort','ports':[{},{}]}}", Q("'services':'5','services.nodeports':'5','services.loadbalancers':'0'",
		  "'services':'1','services.nodeports':'0','services.loadbalancers':'0'"), NULL,
		  "{'services':'2','services.nodeports':'2','services.loadbalancers':'0'}" },
		{ "v1 Service", "{'spec':{'type':'LoadBalancer','allocateLoadBalancerNodePorts':false,'ports':[{'nodePort':30000},{}]}}",
		  Q("'services.nodeports':'9','services.loadbalancers':'9'", "'services.nodeports':'0','services.loadbalancers':'0'"), NULL,
		  "{'services.nodeports':'1','services.loadbalancers':'1'}" },
		{ "v1 Service", "{'spec':{'type':'LoadBalancer','ports':[{}]}}", Q("'services.loadbalancers':'0'", "'services.loadbalancers':'0'"),
		  "services \"x\" is forbidden: exceeded quota: q, requested: services.loadbalancers=1, used: services.loadbalancers=0, limited: "
		  "services.loadbalancers=0", NULL, "{'metadata':{'resourceVersion':'1'},'spec':{'type':'ClusterIP'}}" },
		{ "v1 PersistentVolumeClaim", "{'spec':{'storageClassName':'gold','resources':{'requests':{'storage':'2Gi'}}}}",
		  Q("'requests.storage':'10Gi','persistentvolumeclaims':'5','gold.storageclass.storage.k8s.io/requests.storage':'3Gi'",
		    "'requests.storage':'1Gi','persistentvolumeclaims':'0','gold.storageclass.storage.k8s.io/requests.storage':'0'"), NULL,
		  "{'requests.storage':'3Gi','persistentvolumeclaims':'1','gold.storageclass.storage.k8s.io/requests.storage':'2Gi'}" },
		{ "v1 PersistentVolumeClaim", "{'spec':{'resources':{'requests':{'storage':'3Gi'}}}}", Q("'requests.storage':'4Gi'", "'requests.storage':'2Gi'"),
		  NULL, "{'requests.storage':'4Gi'}", "{'metadata':{'resourceVersion':'1'},'spec':{'resources':{'requests':{'storage':'1Gi'}}}}" },
		{ "v1 ConfigMap", "{}", Q("'configmaps':'1','count/configmaps':'1'", "'configmaps':'0','count/configmaps':'0'"), NULL,
		  "{'configmaps':'1','count/configmaps':'1'}" },
		{ "apps/v1 Deployment", "{}", Q("'count/deployments.apps':'1'", "'count/deployments.apps':'1'"),
		  "deployments.apps \"x\" is forbidden: exceeded quota: q, requested: count/deployments.apps=1, used: count/deployments.apps=1, "
		  "limited: count/deployments.apps=1" },
		{ "v1 Event", "{}", Q("'count/events':'0'", "'count/events':'0'") },
		{ "v1 Node", "{}", Q("'count/nodes':'0'", "'count/nodes':'0'") },
	};
	RUN(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pods),
		cmocka_unit_test(test_scopes),
		cmocka_unit_test(test_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
