/* Pods that exist: updates, status, ephemeral containers, resizing, binding. */
#include "strategy/strategy_test.h"

#include "strategy/pod.h"

#define P "v1 Pod"
#define C0 "'name':'a','image':'x'"
#define POD(spec) "{'spec':{'containers':[{" C0 "}]" spec "}}"
#define OLD(spec) "{'metadata':{'generation':1},'spec':{'containers':[{" C0 "}]" spec "},'status':{'phase':'Running','qosClass':'BestEffort'}}"
#define FIELDS "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`," \
	"`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)," \
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"

static const struct row update_rows[] = {
	{ P, "{'spec':{'containers':[{'name':'a','image':'y','imagePullPolicy':'Always'}]},'status':{'phase':'Failed'}}", NULL, OLD(""), NULL,
	  "{'metadata':{'generation':2},'status':{'phase':'Running'}}" },
	{ P, POD(",'hostNetwork':false"), NULL, OLD(""), NULL, "{'metadata':{'generation':1}}" },
	{ P, POD(",'hostname':'h'"), FIELDS "+ hostname: \"h\"\n", OLD("") },
	{ P, "{'spec':{'containers':[{" C0 "},{'name':'b','image':'x'}]}}",
	  "spec.containers: Forbidden: pod updates may not add or remove containers", OLD("") },
	{ P, "{'spec':{'containers':[{'name':'a','image':'','imagePullPolicy':'Always'}]}}", "spec.containers[0].image: Required value",
	  OLD("") },
	{ P, POD(",'activeDeadlineSeconds':5"), NULL, OLD("") },
	{ P, POD(",'activeDeadlineSeconds':5"),
	  "spec.activeDeadlineSeconds: Invalid value: 5: must be less than or equal to previous value", OLD(",'activeDeadlineSeconds':4") },
	{ P, POD(""), "spec.activeDeadlineSeconds: Invalid value: \"null\": must not update from a positive integer to nil value",
	  OLD(",'activeDeadlineSeconds':4") },
	{ P, POD(",'tolerations':[{'key':'a','operator':'Exists','effect':'NoExecute','tolerationSeconds':9},{'key':'b','operator':'Exists'}]"),
	  NULL, OLD(",'tolerations':[{'key':'a','operator':'Exists','effect':'NoExecute','tolerationSeconds':1}]") },
	{ P, POD(""), "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
	  OLD(",'tolerations':[{'key':'a','operator':'Exists'}]") },
	{ P, POD(",'schedulingGates':[{'name':'a/b'},{'name':'c/d'}]"),
	  "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'c/d'",
	  OLD(",'schedulingGates':[{'name':'a/b'}]") },
	{ P, POD(",'nodeSelector':{'a':'b','c':'d'}"), NULL, OLD(",'schedulingGates':[{'name':'a/b'}],'nodeSelector':{'a':'b'}") },
	{ P, POD(",'nodeSelector':{'a':'c'}"),
	  "spec.nodeSelector: Invalid value: map[string]string{\"a\":\"c\"}: only additions to spec.nodeSelector are allowed (no mutations "
	  "or deletions)", OLD(",'schedulingGates':[{'name':'a/b'}],'nodeSelector':{'a':'b'}") },
	{ P, POD(",'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[{"
		 "'matchExpressions':[{'key':'a','operator':'Exists'}]}]}}}"), NULL, OLD(",'schedulingGates':[{'name':'a/b'}]") },
	{ P, POD(",'terminationGracePeriodSeconds':1"), NULL, OLD(",'terminationGracePeriodSeconds':-1") },
	{ P, "{'metadata':{'annotations':{'kubernetes.io/config.mirror':'m'}},'spec':{'nodeName':'n','containers':[{" C0 "}]}}",
	  "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation", OLD(",'nodeName':'n'") },
	/* status */
	{ P, "{'metadata':{'ownerReferences':[]},'spec':{},'status':{'phase':'Succeeded','podIP':'10.0.0.1'}}", NULL, OLD(""), "status",
	  "{'spec':{'restartPolicy':'Always'},'status':{'phase':'Succeeded','qosClass':'BestEffort','podIP':'10.0.0.1',"
	  "'podIPs':[{'ip':'10.0.0.1'}]}}" },
	{ P, "{'status':{'qosClass':'Guaranteed','podIPs':[{'ip':'1.1.1.1'},{'ip':'1.1.1.1'}],'hostIP':'2.2.2.2','hostIPs':[{'ip':'2.2.2.3'}]}}",
	  "[status.qosClass: Invalid value: \"Guaranteed\": field is immutable, status.podIPs: Invalid value: []core.PodIP{core.PodIP{IP:"
	  "\"1.1.1.1\"}, core.PodIP{IP:\"1.1.1.1\"}}: may specify no more than one IP for each IP family, status.podIPs[1]: Duplicate "
	  "value: core.PodIP{IP:\"1.1.1.1\"}, status.hostIPs[0].ip: Invalid value: \"2.2.2.3\": must be equal to `hostIP`]", OLD(""),
	  "status" },
	{ P, "{'status':{'containerStatuses':[{'name':'a','state':{'running':{}},'ready':true,'restartCount':0,'image':'','imageID':''}]}}",
	  "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state",
	  "{'spec':{'restartPolicy':'Never','containers':[{" C0 "}]},'status':{'containerStatuses':[{'name':'a','state':{'terminated':{"
	  "'exitCode':1}},'ready':false,'restartCount':0,'image':'','imageID':''}]}}", "status" },
	/* ephemeral containers */
	{ P, POD(",'hostname':'h','ephemeralContainers':[{'name':'e','image':'x'}]"), NULL, OLD(""), "ephemeralcontainers",
	  "{'metadata':{'generation':2},'spec':{'hostname':null,'ephemeralContainers':[{'name':'e','image':'x','terminationMessagePath':"
	  "'/dev/termination-log','terminationMessagePolicy':'File','imagePullPolicy':'Always'}]}}" },
	{ P, POD(",'ephemeralContainers':[{'name':'e','image':'x:1'}]"), NULL, OLD(""), "ephemeralcontainers",
	  "{'spec':{'ephemeralContainers':[{'name':'e','image':'x:1','terminationMessagePath':'/dev/termination-log',"
	  "'terminationMessagePolicy':'File','imagePullPolicy':'IfNotPresent'}]}}" },
	{ P, POD(",'ephemeralContainers':[{'name':'a','image':'x','targetContainerName':'z','ports':[{'containerPort':1}]}]"),
	  "[spec.ephemeralContainers[0].name: Duplicate value: \"a\", spec.ephemeralContainers[0].targetContainerName: Not found: \"z\", "
	  "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container]", OLD(""), "ephemeralcontainers" },
	{ P, POD(""), "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be removed\n",
	  OLD(",'ephemeralContainers':[{'name':'e','image':'x'}]"), "ephemeralcontainers" },
	/* resize */
#define R(cpu, memory) "{'spec':{'containers':[{" C0 ",'resources':{'requests':{'cpu':'" cpu "','memory':'" memory "'}}}]}}"
	{ P, R("2", "1Gi"), NULL, R("1", "1Gi"), "resize" },
	{ P, "{'spec':{'containers':[{" C0 ",'resources':{'requests':{'cpu':'1'}}}]}}",
	  "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed", R("1", "1Gi"), "resize" },
	{ P, "{'spec':{'containers':[{" C0 ",'resources':{'limits':{'memory':'1Gi'},'requests':{'memory':'1Mi'}}}]}}",
	  "spec.containers[0].resources.limits[memory]: Forbidden: memory limits cannot be decreased unless resizePolicy is "
	  "RestartContainer",
	  "{'spec':{'containers':[{" C0 ",'resources':{'limits':{'memory':'2Gi'},'requests':{'memory':'1Mi'}}}]}}", "resize" },
	{ P, R("1", "1Gi"), "spec: Invalid value: \"BestEffort\": Pod QOS Class may not change as a result of resizing", OLD(""), "resize" },
	/* binding */
	{ "v1 Binding", "{'target':{'kind':'Pod','name':''}}",
	  "[target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\", target.name: Required value]" },
	{ "v1 Binding", "{'target':{'kind':'Node','name':'n'}}" },
};

static void test_update(void **state)
{
	RUN_ROWS(update_rows);
}

/* Zero values and absent ones are the same where Go has no pointer. */
static void test_same(void **state)
{
	static const struct { const char *a, *b; bool same; } rows[] = {
		{ "{\"hostNetwork\":false,\"nodeName\":\"\",\"volumes\":[]}", "{}", true },
		{ "{\"terminationGracePeriodSeconds\":0}", "{}", false },
		{ "{\"containers\":[{\"name\":\"a\",\"resources\":{}}]}", "{\"containers\":[{\"name\":\"a\"}]}", true },
		{ "{\"containers\":[{\"name\":\"a\",\"stdin\":true}]}", "{\"containers\":[{\"name\":\"a\"}]}", false },
		{ "{\"nodeSelector\":{\"a\":\"\"}}", "{\"nodeSelector\":{\"b\":\"\"}}", false },
		{ "{\"securityContext\":{}}", "{}", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct json x, y;
		assert_int_equal(json_parse(&a, span_of(rows[i].a), 0, NULL, &x, &err), 0);
		assert_int_equal(json_parse(&a, span_of(rows[i].b), 0, NULL, &y, &err), 0);
		if (pod_same_named("core/v1.PodSpec", &x, &y) != rows[i].same || pod_same_named("core/v1.PodSpec", &y, &x) != rows[i].same)
			fail_msg("%s and %s: want %d", rows[i].a, rows[i].b, rows[i].same);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_update), cmocka_unit_test(test_same) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
