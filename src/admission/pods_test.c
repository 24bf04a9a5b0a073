/* ServiceAccount, DefaultTolerationSeconds, Priority, RuntimeClass. */
#include "admission/admission_test.h"

#define MOUNT "{'name':'kube-api-access-zzzzz','readOnly':true,'mountPath':'/var/run/secrets/kubernetes.io/serviceaccount'}"
#define VOLUME "{'name':'kube-api-access-zzzzz','projected':{'defaultMode':420,'sources':[{'serviceAccountToken':{" \
	       "'expirationSeconds':3607,'path':'token'}},{'configMap':{'name':'kube-root-ca.crt','items':[{'key':'ca.crt'," \
	       "'path':'ca.crt'}]}},{'downwardAPI':{'items':[{'path':'namespace','fieldRef':{'apiVersion':'v1','fieldPath':" \
	       "'metadata.namespace'}}]}}]}}"
#define SA(name) "'serviceAccountName':'" name "','serviceAccount':'" name "'"
#define MIRROR "'metadata':{'annotations':{'kubernetes.io/config.mirror':'h'}}"

static void test_service_account(void **state)
{
	test_cluster = "{'serviceaccounts/ns/default':{'metadata':{'name':'default'}},"
		       "'serviceaccounts/ns/quiet':{'metadata':{'name':'quiet'},'automountServiceAccountToken':false,"
		       "'imagePullSecrets':[{'name':'reg'}]},"
		       "'serviceaccounts/ns/strict':{'metadata':{'name':'strict','annotations':{'kubernetes.io/enforce-mountable-secrets':'true'}},"
		       "'secrets':[{'name':'ok'}],'imagePullSecrets':[{'name':'pull'}],'automountServiceAccountToken':false}}";
	static const struct row rows[] = {
		{ "v1 Pod", "{'spec':{'initContainers':[{'name':'i'}],'containers':[{'name':'a'},{'name':'b','volumeMounts':[{'name':'own',"
			    "'mountPath':'/var/run/secrets/kubernetes.io/serviceaccount'}]}]}}",
		  .stored = "{'spec':{'initContainers':[{'name':'i','volumeMounts':[" MOUNT "]}],'containers':[{'name':'a','volumeMounts':[" MOUNT
			    "]},{'name':'b','volumeMounts':[{'name':'own','mountPath':'/var/run/secrets/kubernetes.io/serviceaccount'}]}],"
			    SA("default") ",'volumes':[" VOLUME "]}}" },
		/* all containers mount something there: no volume */
		{ "v1 Pod", "{'spec':{'containers':[{'name':'b','volumeMounts':[{'mountPath':'/var/run/secrets/kubernetes.io/serviceaccount'}]}]}}",
		  .stored = "{'spec':{'containers':[{'name':'b','volumeMounts':[{'mountPath':'/var/run/secrets/kubernetes.io/serviceaccount'}]}],"
			    SA("default") "}}" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a'}],'volumes':[{'name':'kube-api-access-mine'}]}}",
		  .stored = "{'spec':{'containers':[{'name':'a','volumeMounts':[{'name':'kube-api-access-mine','readOnly':true,'mountPath':"
			    "'/var/run/secrets/kubernetes.io/serviceaccount'}]}],'volumes':[{'name':'kube-api-access-mine'}]," SA("default") "}}" },
		{ "v1 Pod", "{'spec':{'serviceAccountName':'quiet','containers':[{'name':'a'}]}}",
		  .stored = "{'spec':{" SA("quiet") ",'containers':[{'name':'a'}],'imagePullSecrets':[{'name':'reg'}]}}" },
		{ "v1 Pod", "{'spec':{'automountServiceAccountToken':true,'serviceAccountName':'quiet','imagePullSecrets':[{'name':'o'}],"
			    "'containers':[{'name':'a'}]}}",
		  .stored = "{'spec':{'automountServiceAccountToken':true," SA("quiet") ",'imagePullSecrets':[{'name':'o'}],'containers':[{"
			    "'name':'a','volumeMounts':[" MOUNT "]}],'volumes':[" VOLUME "]}}" },
		{ "v1 Pod", "{'spec':{'serviceAccountName':'none'}}",
		  "pods \"x\" is forbidden: error looking up service account ns/none: serviceaccount \"none\" not found" },
		{ "v1 Pod", "{'spec':{'serviceAccountName':'strict','volumes':[{'name':'v','secret':{'secretName':'no'}}]}}",
		  "pods \"x\" is forbidden: volume with secret.secretName=\"no\" is not allowed because service account strict does not reference "
		  "that secret" },
		{ "v1 Pod", "{'spec':{'serviceAccountName':'strict','initContainers':[{'name':'i','env':[{'name':'E','valueFrom':{'secretKeyRef':{"
			    "'name':'no'}}}]}]}}",
		  "pods \"x\" is forbidden: init container i with envVar E referencing secret.secretName=\"no\" is not allowed because service "
		  "account strict does not reference that secret" },
		{ "v1 Pod", "{'spec':{'serviceAccountName':'strict','containers':[{'name':'c','env':[{'name':'E','valueFrom':{'secretKeyRef':{"
			    "'name':'no'}}},{'name':'F','valueFrom':{'secretKeyRef':{'name':'ok'}}}]}]}}",
		  "pods \"x\" is forbidden: container c with envVar E referencing secret.secretName=\"no\" is not allowed because service account "
		  "strict does not reference that secret" },
		{ "v1 Pod", "{'spec':{'serviceAccountName':'strict','imagePullSecrets':[{'name':'pull'},{'name':'p2'}]}}",
		  "pods \"x\" is forbidden: imagePullSecrets[1].name=\"p2\" is not allowed because service account strict does not reference that "
		  "imagePullSecret" },
		{ "v1 Pod", "{'spec':{'serviceAccountName':'strict','ephemeralContainers':[{'name':'e','env':[{'name':'E','valueFrom':{"
			    "'secretKeyRef':{'name':'no'}}}]}]}}",
		  "pods \"x\" is forbidden: ephemeral container e with envVar E referencing secret.secretName=\"no\" is not allowed because service "
		  "account strict does not reference that secret", .old = "{}", .sub = "ephemeralcontainers" },
		{ "v1 Pod", "{" MIRROR ",'spec':{'containers':[{'name':'a'}]}}", .stored = "{" MIRROR ",'spec':{'containers':[{'name':'a'}]}}" },
		{ "v1 Pod", "{" MIRROR ",'spec':{'serviceAccountName':'default'}}",
		  "pods \"x\" is forbidden: a mirror pod may not reference service accounts" },
		{ "v1 Pod", "{" MIRROR ",'spec':{'volumes':[{'secret':{'secretName':'s'}}]}}",
		  "pods \"x\" is forbidden: a mirror pod may not reference secrets" },
		{ "v1 Pod", "{" MIRROR ",'spec':{'containers':[{'envFrom':[{'secretRef':{'name':'s'}}]}]}}",
		  "pods \"x\" is forbidden: a mirror pod may not reference secrets" },
		{ "v1 Pod", "{" MIRROR ",'spec':{'volumes':[{'projected':{'sources':[{'serviceAccountToken':{}}]}}]}}",
		  "pods \"x\" is forbidden: a mirror pod may not use ServiceAccountToken volume projections" },
		{ "v1 Pod", "{'spec':{}}", .old = "{'spec':{}}", .stored = "{'spec':{}}" },
		{ "v1 Pod", "{}", .sub = "eviction", .stored = "{}" },
	};
	RUN_ROWS("ServiceAccount", rows);
}

#define NOT_READY(s) "{'key':'node.kubernetes.io/not-ready','operator':'Exists','effect':'NoExecute','tolerationSeconds':" s "}"
#define UNREACHABLE(s) "{'key':'node.kubernetes.io/unreachable','operator':'Exists','effect':'NoExecute','tolerationSeconds':" s "}"
static void test_tolerations(void **state)
{
	static const struct row rows[] = {
		{ "v1 Pod", "{'spec':{}}", .stored = "{'spec':{'tolerations':[" NOT_READY("300") "," UNREACHABLE("300") "]}}" },
		{ "v1 Pod", "{'spec':{'tolerations':[" NOT_READY("5") "]}}",
		  .stored = "{'spec':{'tolerations':[" NOT_READY("5") "," UNREACHABLE("300") "]}}" },
		{ "v1 Pod", "{'spec':{'tolerations':[{'operator':'Exists'}]}}", .stored = "{'spec':{'tolerations':[{'operator':'Exists'}]}}" },
		{ "v1 Pod", "{'spec':{'tolerations':[{'key':'node.kubernetes.io/unreachable','effect':'NoSchedule'}]}}", .old = "{}",
		  .stored = "{'spec':{'tolerations':[{'key':'node.kubernetes.io/unreachable','effect':'NoSchedule'}," NOT_READY("300") ","
			    UNREACHABLE("300") "]}}" },
		{ "v1 Pod", "{}", .old = "{}", .sub = "status", .stored = "{}" },
	};
	RUN_ROWS("DefaultTolerationSeconds", rows);
	struct admission_config config = admission_config_default;
	config.not_ready_toleration_s = 7;
	config.unreachable_toleration_s = 0;
	test_config = &config;
	static const struct row other[] = {
		{ "v1 Pod", "{'spec':{}}", .stored = "{'spec':{'tolerations':[" NOT_READY("7") "," UNREACHABLE("0") "]}}" },
	};
	RUN_ROWS("DefaultTolerationSeconds", other);
	test_config = NULL;
}

static void test_priority(void **state)
{
	static const struct row none[] = {
		{ "v1 Pod", "{'spec':{}}", .stored = "{'spec':{'priority':0,'preemptionPolicy':'PreemptLowerPriority'}}" },
		{ "v1 Pod", "{'spec':{'priority':5}}",
		  "pods \"x\" is forbidden: the integer value of priority (5) must not be provided in pod spec; priority admission controller "
		  "computed 0 from the given PriorityClass name" },
		{ "v1 Pod", "{'spec':{'priorityClassName':'no'}}", "pods \"x\" is forbidden: no PriorityClass with name no was found" },
		{ "v1 Pod", "{'spec':{}}", .old = "{'spec':{'priority':3,'preemptionPolicy':'Never'}}",
		  .stored = "{'spec':{'priority':3,'preemptionPolicy':'Never'}}" },
		{ "scheduling.k8s.io/v1 PriorityClass", "{'metadata':{'name':'x'},'globalDefault':true,'value':1}" },
	};
	test_cluster = "{}";
	RUN_ROWS("Priority", none);
	test_cluster = "{'priorityclasses.scheduling.k8s.io//high':{'metadata':{'name':'high'},'value':9,'globalDefault':true,"
		       "'preemptionPolicy':'PreemptLowerPriority'},"
		       "'priorityclasses.scheduling.k8s.io//low':{'metadata':{'name':'low'},'value':2,'globalDefault':true,'preemptionPolicy':'Never'},"
		       "'priorityclasses.scheduling.k8s.io//system-node-critical':{'metadata':{'name':'system-node-critical'},'value':2000001000,"
		       "'preemptionPolicy':'PreemptLowerPriority'}}";
	static const struct row rows[] = {
		{ "v1 Pod", "{'spec':{}}", .stored = "{'spec':{'priorityClassName':'low','priority':2,'preemptionPolicy':'Never'}}" },
		{ "v1 Pod", "{'spec':{'priorityClassName':'system-node-critical','priority':2000001000}}",
		  .stored = "{'spec':{'priorityClassName':'system-node-critical','priority':2000001000,'preemptionPolicy':'PreemptLowerPriority'}}" },
		{ "v1 Pod", "{'spec':{'priorityClassName':'high','preemptionPolicy':'Never'}}",
		  "pods \"x\" is forbidden: the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission "
		  "controller computed PreemptLowerPriority from the given PriorityClass name" },
		{ "scheduling.k8s.io/v1 PriorityClass", "{'metadata':{'name':'x'},'globalDefault':true,'value':1}",
		  "priorityclasses.scheduling.k8s.io \"x\" is forbidden: PriorityClass low is already marked as default. Only one default can exist" },
		{ "scheduling.k8s.io/v1 PriorityClass", "{'metadata':{'name':'low'},'globalDefault':true}", .old = "{}", .name = "low" },
		{ "scheduling.k8s.io/v1 PriorityClass", NULL, .op = ADMISSION_DELETE },
	};
	RUN_ROWS("Priority", rows);
}

static void test_runtime_class(void **state)
{
	test_cluster = "{'runtimeclasses.node.k8s.io//vm':{'metadata':{'name':'vm'},'handler':'vm','overhead':{'podFixed':{'cpu':'100m'}},"
		       "'scheduling':{'nodeSelector':{'kind':'vm'},'tolerations':[{'key':'vm','operator':'Exists'}]}},"
		       "'runtimeclasses.node.k8s.io//plain':{'metadata':{'name':'plain'}}}";
	static const struct row rows[] = {
		{ "v1 Pod", "{'spec':{'runtimeClassName':'vm','nodeSelector':{'a':'b'},'tolerations':[{'key':'vm','operator':'Equal','value':'x'}]}}",
		  .stored = "{'spec':{'runtimeClassName':'vm','nodeSelector':{'a':'b','kind':'vm'},'overhead':{'cpu':'100m'},"
			    "'tolerations':[{'key':'vm','operator':'Exists'}]}}" },
		{ "v1 Pod", "{'spec':{'runtimeClassName':'vm','tolerations':[{'key':'o','operator':'Exists'},{'key':'vm','operator':'Exists'}]}}",
		  .stored = "{'spec':{'runtimeClassName':'vm','nodeSelector':{'kind':'vm'},'overhead':{'cpu':'100m'},"
			    "'tolerations':[{'key':'o','operator':'Exists'},{'key':'vm','operator':'Exists'}]}}" },
		{ "v1 Pod", "{'spec':{'runtimeClassName':'no'}}", "pods \"x\" is forbidden: pod rejected: RuntimeClass \"no\" not found" },
		{ "v1 Pod", "{'spec':{'runtimeClassName':'vm','overhead':{'cpu':'1'}}}",
		  "pods \"x\" is forbidden: pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead" },
		{ "v1 Pod", "{'spec':{'runtimeClassName':'vm','nodeSelector':{'kind':'x'}}}",
		  "pods \"x\" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[kind] = vm; pod.spec.nodeSelector[kind] = x" },
		{ "v1 Pod", "{'spec':{'runtimeClassName':'plain','overhead':{'cpu':'1'}}}",
		  "pods \"x\" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead" },
		{ "v1 Pod", "{'spec':{'overhead':{'cpu':'1'}}}",
		  "pods \"x\" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead" },
		{ "v1 Pod", "{'spec':{'runtimeClassName':'plain'}}", .stored = "{'spec':{'runtimeClassName':'plain'}}" },
		{ "v1 Pod", "{'spec':{'runtimeClassName':'no'}}", .old = "{}" },
	};
	RUN_ROWS("RuntimeClass", rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_service_account),
		cmocka_unit_test(test_tolerations),
		cmocka_unit_test(test_priority),
		cmocka_unit_test(test_runtime_class),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
