/* Workloads: Deployment, ReplicaSet, ReplicationController, PodTemplate, StatefulSet, DaemonSet, ControllerRevision. */
#include "strategy/strategy_test.h"

#include "strategy/workload.h"

#define D "apps/v1 Deployment"
#define RS "apps/v1 ReplicaSet"
#define RC "v1 ReplicationController"
#define SS "apps/v1 StatefulSet"
#define DS "apps/v1 DaemonSet"
#define POD "{'containers':[{'name':'a','image':'x'}]}"
#define TEMPLATE "'template':{'metadata':{'labels':{'a':'b'}},'spec':" POD "}"
#define SEL "'selector':{'matchLabels':{'a':'b'}}"
#define OF(more) "{'spec':{" SEL "," TEMPLATE more "}}"

static const struct row deployment_rows[] = {
	{ D, OF(""), NULL, NULL, NULL,
	  "{'metadata':{'generation':1},'status':null,'spec':{'replicas':1,'strategy':{'type':'RollingUpdate','rollingUpdate':{"
	  "'maxUnavailable':'25%','maxSurge':'25%'}},'revisionHistoryLimit':10,'progressDeadlineSeconds':600,'template':{'spec':{"
	  "'restartPolicy':'Always','enableServiceLinks':null}}}}" },
	{ D, "{'spec':{'strategy':{'type':'Recreate'}," SEL "," TEMPLATE "},'status':{'replicas':3}}", NULL, NULL, NULL,
	  "{'status':null,'spec':{'strategy':{'type':'Recreate'}}}" },
	{ D, "{'spec':{" TEMPLATE "}}", "[spec.selector: Required value, spec.template.metadata.labels: Invalid value: "
	  "map[string]string{\"a\":\"b\"}: `selector` does not match template `labels`]" },
	{ D, "{'spec':{'selector':{}," TEMPLATE "}}", "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string(nil), "
	  "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: empty selector is invalid for deployment" },
	{ D, "{'spec':{" SEL ",'template':{'metadata':{'labels':{'a':'c'}},'spec':{'restartPolicy':'Never','activeDeadlineSeconds':5,"
	     "'containers':[{'name':'a','image':''}]}}}}",
	  "[spec.template.metadata.labels: Invalid value: map[string]string{\"a\":\"c\"}: `selector` does not match template `labels`, "
	  "spec.template.spec.containers[0].image: Required value, spec.template.spec.restartPolicy: Unsupported value: \"Never\": "
	  "supported values: \"Always\", spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not "
	  "Supported]" },
	{ D, OF(",'replicas':-1,'minReadySeconds':700"), "[spec.replicas: Invalid value: -1: must be greater than or equal to 0, "
	  "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds]" },
	{ D, OF(",'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':0,'maxSurge':0}}"),
	  "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: intstr.IntOrString{Type:0, IntVal:0, StrVal:\"\"}: may not be 0 when "
	  "`maxSurge` is 0" },
	{ D, OF(",'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':'101%','maxSurge':'x'}}"),
	  "[spec.strategy.rollingUpdate.maxSurge: Invalid value: intstr.IntOrString{Type:1, IntVal:0, StrVal:\"x\"}: a valid percent string "
	  "must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%'), "
	  "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: intstr.IntOrString{Type:1, IntVal:0, StrVal:\"101%\"}: must not be "
	  "greater than 100%]" },
	{ D, OF(",'strategy':{'type':'Recreate','rollingUpdate':{}}"),
	  "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'" },
	{ D, OF(",'strategy':{'type':'BlueGreen'}"), "spec.strategy: Unsupported value: apps.DeploymentStrategy{Type:\"BlueGreen\", "
	  "RollingUpdate:(*apps.RollingUpdateDeployment)(nil)}: supported values: \"Recreate\", \"RollingUpdate\"" },
	/* updates */
	{ D, "{'spec':{'selector':{'matchLabels':{'c':'d'}},'template':{'metadata':{'labels':{'c':'d'}},'spec':" POD "}}}",
	  "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{\"c\":\"d\"}, "
	  "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable", "{'metadata':{'generation':1},'spec':{" SEL ","
	  TEMPLATE "}}" },
	{ D, "{'spec':{'paused':false," SEL "," TEMPLATE "},'status':{'replicas':1}}", NULL,
	  "{'metadata':{'generation':4},'spec':{" SEL "," TEMPLATE "},'status':{'replicas':2}}", NULL,
	  "{'metadata':{'generation':4},'status':{'replicas':2}}" },
	{ D, "{'spec':{'paused':true," SEL "," TEMPLATE "}}", NULL, "{'metadata':{'generation':4},'spec':{" SEL "," TEMPLATE "}}", NULL,
	  "{'metadata':{'generation':5}}" },
	{ D, "{'metadata':{'annotations':{'a':'b'}},'spec':{" SEL "," TEMPLATE "}}", NULL,
	  "{'metadata':{'generation':4},'spec':{" SEL "," TEMPLATE "}}", NULL, "{'metadata':{'generation':5}}" },
	{ D, "{'metadata':{'labels':{'x':'y'}},'spec':{},'status':{'replicas':1,'updatedReplicas':2,'collisionCount':0}}",
	  "[status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas, status.collisionCount: Invalid value: 0: "
	  "cannot be decremented]", "{'spec':{" SEL "," TEMPLATE "},'status':{'collisionCount':1}}", "status",
	  "{'metadata':{'labels':null},'spec':{'replicas':1}}" },
	{ D, "{'metadata':{'name':'a.b'},'spec':{" SEL ",'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'a',"
	     "'image':'x'}],'nodeSelector':{'beta.kubernetes.io/arch':'x'}}}}}", NULL, NULL, NULL, NULL,
	  "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: "
	  "[must not contain dots] | spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use "
	  "\"kubernetes.io/arch\" instead" },
};

static void test_deployment(void **state)
{
	RUN_ROWS(deployment_rows);
}

static const struct row replica_rows[] = {
	{ RS, OF(""), NULL, NULL, NULL, "{'metadata':{'generation':1},'spec':{'replicas':1}}" },
	{ RS, "{'spec':{" SEL "}}", "[spec.template.metadata.labels: Invalid value: map[string]string(nil): `selector` does not match "
	  "template `labels`, spec.template.spec.terminationGracePeriodSeconds: Required value, spec.template.spec.containers: Required "
	  "value, spec.template.spec.restartPolicy: Required value, spec.template.spec.dnsPolicy: Required value, "
	  "spec.template.spec.restartPolicy: Unsupported value: \"\": supported values: \"Always\"]" },
	{ RS, "{'status':{'replicas':1,'readyReplicas':1,'availableReplicas':2}}",
	  "[status.availableReplicas: Invalid value: 2: cannot be greater than status.replicas, status.availableReplicas: Invalid value: 2: "
	  "cannot be greater than readyReplicas]", OF(""), "status" },
	{ RC, "{'spec':{" TEMPLATE "}}", NULL, NULL, NULL,
	  "{'metadata':{'generation':1,'labels':{'a':'b'}},'spec':{'selector':{'a':'b'},'replicas':1,'minReadySeconds':0}}" },
	{ RC, "{'spec':{}}", "[spec.selector: Required value, spec.template: Required value]" },
	{ RC, "{'spec':{'selector':{'c':'d'}," TEMPLATE "}}", "spec.template.metadata.labels: Invalid value: map[string]string{\"a\":"
	  "\"b\"}: `selector` does not match template `labels`" },
	{ RC, "{'spec':{'template':{'metadata':{'labels':{'a':'b'}},'spec':{'restartPolicy':'OnFailure','activeDeadlineSeconds':1,"
	      "'containers':[{'name':'a','image':'x'}]}}}}",
	  "[spec.template.spec.restartPolicy: Unsupported value: \"OnFailure\": supported values: \"Always\", "
	  "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicationController is not Supported]" },
	{ "v1 PodTemplate", "{'template':{'spec':" POD "}}", NULL, NULL, NULL,
	  "{'metadata':{'generation':1},'template':{'spec':{'dnsPolicy':'ClusterFirst'}}}" },
	{ "v1 PodTemplate", "{'template':{'spec':{}}}", "template.spec.containers: Required value" },
	{ "v1 PodTemplate", "{'template':{'spec':{'containers':[{'name':'a','image':'y'}]}}}", NULL,
	  "{'metadata':{'generation':1},'template':{'spec':" POD "}}", NULL, "{'metadata':{'generation':2}}" },
};

static void test_replicas(void **state)
{
	RUN_ROWS(replica_rows);
}

static const struct row set_rows[] = {
	{ SS, OF(",'volumeClaimTemplates':[{'metadata':{'name':'v'},'spec':{'accessModes':['ReadWriteOnce']}}]"), NULL, NULL, NULL,
	  "{'metadata':{'generation':1},'spec':{'podManagementPolicy':'OrderedReady','updateStrategy':{'type':'RollingUpdate',"
	  "'rollingUpdate':{'partition':0}},'persistentVolumeClaimRetentionPolicy':{'whenDeleted':'Retain','whenScaled':'Retain'},"
	  "'replicas':1,'revisionHistoryLimit':10,'serviceName':null,'volumeClaimTemplates':[{'metadata':{'name':'v'},'spec':{"
	  "'accessModes':['ReadWriteOnce'],'volumeMode':'Filesystem'},'kind':'PersistentVolumeClaim','apiVersion':'v1',"
	  "'status':{'phase':'Pending'}}]}}" },
	{ SS, OF(",'updateStrategy':{'type':'OnDelete'}"), NULL, NULL, NULL, "{'spec':{'updateStrategy':{'type':'OnDelete'}}}" },
	{ SS, OF(",'updateStrategy':{'type':'OnDelete','rollingUpdate':{}}"),
	  "spec.updateStrategy.rollingUpdate: Invalid value: apps.RollingUpdateStatefulSetStrategy{Partition:(*int32)(nil), "
	  "MaxUnavailable:(*intstr.IntOrString)(nil)}: only allowed for updateStrategy 'RollingUpdate'" },
	{ SS, OF(",'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'partition':-1,'maxUnavailable':0}}"),
	  "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0" },
	{ SS, OF(",'podManagementPolicy':'Any','serviceName':'A','ordinals':{'start':-1},'persistentVolumeClaimRetentionPolicy':{"
		 "'whenDeleted':'Keep'}"),
	  "[spec.podManagementPolicy: Invalid value: \"Any\": must be 'OrderedReady' or 'Parallel', "
	  "spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: \"Keep\": supported values: \"Retain\", \"Delete\", "
	  "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0, spec.serviceName: Invalid value: \"A\": a lowercase "
	  "RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character "
	  "(e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')]" },
	{ SS, "{'spec':{'selector':{}," TEMPLATE "}}", "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string(nil), "
	  "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: empty selector is invalid for statefulset" },
	{ SS, "{'spec':{" SEL ",'template':{'metadata':{'labels':{'a':'b'}},'spec':{'restartPolicy':'Never'}}}}",
	  "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"" },
	{ SS, OF(",'serviceName':'b','replicas':5,'revisionHistoryLimit':3"), "spec: Forbidden: updates to statefulset spec for fields other "
	  "than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
	  "'minReadySeconds' are forbidden", OF(",'serviceName':'a'") },
	{ SS, OF(",'serviceName':'a','replicas':5,'revisionHistoryLimit':3"), NULL,
	  "{'metadata':{'generation':1},'spec':{" SEL "," TEMPLATE ",'serviceName':'a'}}", NULL, "{'metadata':{'generation':2}}" },
	{ SS, "{'status':{'replicas':1,'currentReplicas':2}}",
	  "status.currentReplicas: Invalid value: 2: cannot be greater than status.replicas", OF(""), "status" },
	{ DS, OF(""), NULL, NULL, NULL,
	  "{'metadata':{'generation':1,'annotations':{'deprecated.daemonset.template.generation':'1'}},'spec':{'updateStrategy':{"
	  "'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':1,'maxSurge':0}},'revisionHistoryLimit':10}}" },
	{ DS, OF(",'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':1,'maxSurge':1}}"),
	  "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: intstr.IntOrString{Type:0, IntVal:1, StrVal:\"\"}: may not be set when "
	  "maxUnavailable is non-zero" },
	{ DS, OF(",'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':0}}"),
	  "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0" },
	{ DS, OF(",'updateStrategy':{'type':'X'}"), "spec.updateStrategy: Unsupported value: apps.DaemonSetUpdateStrategy{Type:\"X\", "
	  "RollingUpdate:(*apps.RollingUpdateDaemonSet)(nil)}: supported values: \"RollingUpdate\", \"OnDelete\"" },
	{ DS, "{'spec':{" SEL ",'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'a','image':'y'}]}}}}", NULL,
	  "{'metadata':{'generation':1,'annotations':{'deprecated.daemonset.template.generation':'3'}},'spec':{" SEL "," TEMPLATE "}}", NULL,
	  "{'metadata':{'generation':2,'annotations':{'deprecated.daemonset.template.generation':'4'}}}" },
	{ DS, "{'status':{'numberReady':-1,'collisionCount':1}}", "status.numberReady: Invalid value: -1: must be greater than or equal to 0",
	  OF(""), "status" },
	{ "apps/v1 ControllerRevision", "{'revision':-1}",
	  "[data: Required value: data is mandatory, revision: Invalid value: -1: must be greater than or equal to 0]" },
	{ "apps/v1 ControllerRevision", "{'revision':2,'data':{'a':2}}", "data: Invalid value: {\"a\":2}: field is immutable",
	  "{'revision':1,'data':{'a':1}}" },
};

static void test_sets(void **state)
{
	RUN_ROWS(set_rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deployment), cmocka_unit_test(test_replicas), cmocka_unit_test(test_sets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
