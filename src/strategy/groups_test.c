/* Tests of RBAC, PDB, HPA, CSR, flow control, admission registration, APIService, CRD and RuntimeClass. */
#include "strategy/strategy_test.h"

#define RBAC "rbac.authorization.k8s.io/v1 "
static const struct row access_rows[] = {
	{ RBAC "Role", "{'rules':[{'verbs':['get'],'apiGroups':[''],'resources':['pods']}]}" },
	{ RBAC "Role", "{'metadata':{'name':'system:a'},'rules':[{'verbs':[],'resources':['a','b'],'resourceNames':['c']}]}",
	  "[rules[0].verbs: Required value: verbs must contain at least one value, rules[0].apiGroups: Required value: resource rules must "
	  "supply at least one api group, rules[0].resourceNames: Required value: resource names cannot apply to multiple resources]" },
	{ RBAC "Role", "{'rules':[{'verbs':['get'],'nonResourceURLs':['/a']}]}",
	  "rules[0].nonResourceURLs: Invalid value: []string{\"/a\"}: namespaced rules cannot apply to non-resource URLs" },
	{ RBAC "ClusterRole", "{'rules':[{'verbs':['get'],'nonResourceURLs':['/a'],'resources':['b']}],'aggregationRule':{}}",
	  "[rules[0].nonResourceURLs: Invalid value: []string{\"/a\"}: rules cannot apply to both regular resources and non-resource URLs, "
	  "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil]" },
	{ RBAC "RoleBinding", "{'roleRef':{'kind':'Role','name':'a'},'subjects':[{'kind':'User','name':'u'},{'kind':'Group','name':'g'},"
	  "{'kind':'ServiceAccount','name':'s'}]}", NULL, NULL, NULL, "{'roleRef':{'apiGroup':'rbac.authorization.k8s.io'},'subjects':["
	  "{'kind':'User','name':'u','apiGroup':'rbac.authorization.k8s.io'},{'kind':'Group','name':'g','apiGroup':"
	  "'rbac.authorization.k8s.io'},{'kind':'ServiceAccount','name':'s'}]}" },
	{ RBAC "ClusterRoleBinding", "{'roleRef':{'kind':'Role','name':''},'subjects':[{'kind':'ServiceAccount','name':'s','apiGroup':'x'},"
	  "{'kind':'User','name':'','apiGroup':'y'},{'kind':'Z','name':'z'}]}",
	  "[roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\", roleRef.name: Required value, "
	  "subjects[0].apiGroup: Unsupported value: \"x\": supported values: \"\", subjects[0].namespace: Required value, "
	  "subjects[1].name: Required value, subjects[1].name: Invalid value: \"\": user name cannot be empty, subjects[1].apiGroup: "
	  "Unsupported value: \"y\": supported values: \"rbac.authorization.k8s.io\", subjects[2].kind: Unsupported value: \"Z\": supported "
	  "values: \"ServiceAccount\", \"User\", \"Group\"]" },
	{ RBAC "RoleBinding", "{'roleRef':{'kind':'Role','name':'b'}}", "roleRef: Invalid value: rbac.RoleRef{APIGroup:\""
	  "rbac.authorization.k8s.io\", Kind:\"Role\", Name:\"b\"}: cannot change roleRef", "{'roleRef':{'kind':'Role','name':'a'}}" },
};

#define PDB "policy/v1 PodDisruptionBudget"
static const struct row budget_rows[] = {
	{ PDB, "{'spec':{'minAvailable':1,'selector':{'matchLabels':{'a':'b'}}},'status':{'expectedPods':3}}", NULL, NULL, NULL,
	  "{'metadata':{'generation':1},'status':null}" },
	{ PDB, "{'spec':{'maxUnavailable':'101%'}}",
	  "spec.maxUnavailable: Invalid value: intstr.IntOrString{Type:1, IntVal:0, StrVal:\"101%\"}: must not be greater than 100%" },
	{ PDB, "{'spec':{'maxUnavailable':-1,'unhealthyPodEvictionPolicy':'X'}}",
	  "[spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0, spec.unhealthyPodEvictionPolicy: Unsupported value: "
	  "\"X\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"]" },
	{ PDB, "{'spec':{'minAvailable':'x'}}", "spec.minAvailable: Invalid value: intstr.IntOrString{Type:1, IntVal:0, StrVal:\"x\"}: a valid "
	  "percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is "
	  "'[0-9]+%')" },
	{ PDB, "{'spec':{'minAvailable':2}}", NULL, "{'metadata':{'generation':4},'spec':{'minAvailable':1}}", NULL,
	  "{'metadata':{'generation':5}}" },
	{ PDB, "{'spec':{'minAvailable':2},'status':{'disruptionsAllowed':-1,'currentHealthy':0,'desiredHealthy':0,'expectedPods':0}}",
	  "status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0", "{'spec':{'minAvailable':1}}", "status",
	  "{'spec':{'minAvailable':1}}" },
};

#define HPA "autoscaling/v2 HorizontalPodAutoscaler"
#define REF "'scaleTargetRef':{'kind':'Deployment','name':'d'}"
static const struct row autoscaler_rows[] = {
	{ HPA, "{'spec':{" REF ",'maxReplicas':3,'behavior':{'scaleUp':{'tolerance':'1'}}}}", NULL, NULL, NULL,
	  "{'spec':{'minReplicas':1,'metrics':[{'type':'Resource','resource':{'name':'cpu','target':{'type':'Utilization',"
	  "'averageUtilization':80}}}],'behavior':{'scaleUp':{'stabilizationWindowSeconds':0,'selectPolicy':'Max','policies':[{'type':'Pods',"
	  "'value':4,'periodSeconds':15},{'type':'Percent','value':100,'periodSeconds':15}],'tolerance':null},'scaleDown':{'selectPolicy':"
	  "'Max','policies':[{'type':'Percent','value':100,'periodSeconds':15}],'stabilizationWindowSeconds':null}}}}" },
	{ HPA, "{'spec':{'minReplicas':0,'maxReplicas':0,'scaleTargetRef':{'kind':'','name':'a/b'}}}",
	  "[spec.minReplicas: Invalid value: 0: must be greater than or equal to 1, spec.maxReplicas: Invalid value: 0: must be greater than 0, "
	  "spec.scaleTargetRef.kind: Required value, spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/', spec.metrics: "
	  "Forbidden: must specify at least one Object or External metric to support scaling to zero replicas]" },
	{ HPA, "{'spec':{" REF ",'minReplicas':4,'maxReplicas':3,'metrics':[{'type':'Pods','pods':{'metric':{'name':'m'},'target':{'type':"
	  "'AverageValue'}}},{'type':'Resource','resource':{'name':'cpu','target':{'type':'Utilization','averageUtilization':0}}},"
	  "{'type':'Object'}]}}",
	  "[spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`, spec.metrics[0].pods.target.averageValue: "
	  "Required value: must specify a positive target averageValue, spec.metrics[1].resource.target.averageUtilization: Invalid value: 0: "
	  "must be greater than 0, spec.metrics[2].object: Required value: must populate information for the given metric source]" },
	{ HPA, "{'spec':{" REF ",'maxReplicas':3,'behavior':{'scaleDown':{'stabilizationWindowSeconds':3601,'selectPolicy':'X','policies':["
	  "{'type':'Y','value':0,'periodSeconds':1801}]}}}}",
	  "[spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600, "
	  "spec.behavior.scaleDown.selectPolicy: Unsupported value: \"X\": supported values: \"Disabled\", \"Max\", \"Min\", "
	  "spec.behavior.scaleDown.policies[0].type: Unsupported value: \"Y\": supported values: \"Percent\", \"Pods\", "
	  "spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero, "
	  "spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800]" },
	{ "autoscaling/v1 HorizontalPodAutoscaler", "{'spec':{" REF ",'maxReplicas':3}}", NULL, NULL, NULL,
	  "{'spec':{'minReplicas':1,'targetCPUUtilizationPercentage':80}}" },
	{ "autoscaling/v1 HorizontalPodAutoscaler", "{'spec':{" REF ",'maxReplicas':3,'targetCPUUtilizationPercentage':0}}",
	  "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0" },
};

#define CSR "certificates.k8s.io/v1 CertificateSigningRequest"
/* -----BEGIN CERTIFICATE REQUEST-----\nMA==\n-----END CERTIFICATE REQUEST-----\n */
#define PEM "'request':'LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUE9PQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K'"
#define SPEC "'spec':{" PEM ",'signerName':'a.b/c','usages':['client auth']}"
static const struct row signing_rows[] = {
	{ CSR, "{'spec':{" PEM ",'signerName':'a.b/c','usages':['client auth'],'username':'eve','groups':['x']},'status':{'conditions':[]}}",
	  NULL, NULL, NULL, "{'spec':{'username':'jane','uid':'u-1','groups':['dev','system:authenticated']},'status':null}" },
	{ CSR, "{'spec':{" PEM ",'signerName':'a/c','usages':[],'expirationSeconds':599}}",
	  "[spec.usages: Required value, spec.signerName: Invalid value: \"a\": should be a domain with at least two segments separated by "
	  "dots, spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)]" },
	{ CSR, "{'spec':{" PEM ",'signerName':'kubernetes.io/legacy-unknown','usages':['signing','signing']}}",
	  "[spec.usages[1]: Duplicate value: \"signing\", spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy "
	  "signerName is not allowed via this API version]" },
	{ CSR, "{'spec':{'request':'YQ==','signerName':'a','usages':['signing']}}",
	  "[spec.request: Invalid value: []byte{0x61}: PEM block type must be CERTIFICATE REQUEST, spec.signerName: Invalid value: \"a\": must be "
	  "a fully qualified domain and path of the form 'example.com/signer-name']" },
	{ CSR, "{" SPEC ",'status':{'conditions':[{'type':'Approved','status':'True'}]}}", NULL, "{" SPEC "}", "approval",
	  "{'status':{'conditions':[{'type':'Approved','status':'True','lastUpdateTime':'2026-01-02T03:04:05Z','lastTransitionTime':"
	  "'2026-01-02T03:04:05Z'}]}}" },
	{ CSR, "{" SPEC ",'status':{'conditions':[{'type':'Approved','status':'False'},{'type':'Denied','status':'True'}]}}",
	  "[status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\", status.conditions[1].type: Invalid value: "
	  "\"Denied\": Approved and Denied conditions are mutually exclusive]", "{" SPEC "}", "approval" },
	{ CSR, "{" SPEC "}", "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\"",
	  "{" SPEC ",'status':{'conditions':[{'type':'Approved','status':'True'}]}}", "approval" },
	{ CSR, "{" SPEC ",'status':{'certificate':'YQ=='}}",
	  "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block", "{" SPEC "}", "status" },
	{ CSR, "{" SPEC ",'status':{'conditions':[{'type':'Approved','status':'True'}]}}", NULL, "{" SPEC "}", "status",
	  "{'status':{'conditions':null}}" },
};

#define FLOW "flowcontrol.apiserver.k8s.io/v1 FlowSchema"
#define LEVEL "flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration"
static const struct row flow_rows[] = {
	{ FLOW, "{'spec':{'priorityLevelConfiguration':{'name':'a'},'rules':[{'subjects':[{'kind':'User','user':{'name':'u'}}],"
	  "'nonResourceRules':[{'verbs':['get'],'nonResourceURLs':['/a/*']}]}]}}", NULL, NULL, NULL,
	  "{'metadata':{'generation':1},'spec':{'matchingPrecedence':1000}}" },
	{ FLOW, "{'spec':{'matchingPrecedence':1,'priorityLevelConfiguration':{'name':''},'rules':[{'subjects':[{'kind':'ServiceAccount',"
	  "'user':{'name':'u'},'serviceAccount':{'name':'s','namespace':''}}],'resourceRules':[{'verbs':['*','get'],'apiGroups':[],"
	  "'resources':['*'],'namespaces':['A']}],'nonResourceRules':[{'verbs':['x'],'nonResourceURLs':['a','/*/b']}]},{'subjects':[]}]}}",
	  "[spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1, "
	  "spec.priorityLevelConfiguration.name: Required value: must reference a priority level, "
	  "spec.rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account, "
	  "spec.rules[0].subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User', "
	  "spec.rules[0].resourceRules[0].verbs: Invalid value: []string{\"*\", \"get\"}: if '*' is present, must not specify other verbs, "
	  "spec.rules[0].resourceRules[0].apiGroups: Required value: resource rules must supply at least one api group, "
	  "spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: \"A\": each member of this list must be '*' or a DNS-1123 label; a "
	  "lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric "
	  "character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?'), "
	  "spec.rules[0].nonResourceRules[0].verbs: Unsupported value: []string{\"x\"}: supported values: \"create\", \"delete\", "
	  "\"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \"watch\", "
	  "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"a\": must start with slash, "
	  "spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: \"/*/b\": wildcard can only do suffix matching, "
	  "spec.rules[1].subjects: Required value: subjects must contain at least one value, spec.rules[1]: Required value: at least one of "
	  "resourceRules and nonResourceRules has to be non-empty]" },
	{ LEVEL, "{'spec':{'type':'Limited','limited':{'limitResponse':{'type':'Queue','queuing':{}}}}}", NULL, NULL, NULL,
	  "{'spec':{'limited':{'nominalConcurrencyShares':30,'lendablePercent':0,'limitResponse':{'queuing':{'queues':64,'handSize':8,"
	  "'queueLengthLimit':50}}}}}" },
	{ LEVEL, "{'spec':{'type':'Limited','limited':{'lendablePercent':101,'limitResponse':{'type':'Queue','queuing':{'queues':4,"
	  "'handSize':5}}}}}", "[spec.limited.limitResponse.queuing.handSize: Invalid value: 5: should not be greater than queues (4), "
	  "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive]" },
	{ LEVEL, "{'metadata':{'name':'exempt'},'spec':{'type':'Exempt','exempt':{}}}", NULL, NULL, NULL,
	  "{'spec':{'exempt':{'nominalConcurrencyShares':0,'lendablePercent':0}}}" },
};

#define HOOKS "admissionregistration.k8s.io/v1 MutatingWebhookConfiguration"
#define POLICY "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy"
#define HOOK "'name':'a.b.c','admissionReviewVersions':['v1'],'sideEffects':'None'"
#define ANY "{'operations':['*'],'apiGroups':['*'],'apiVersions':['*'],'resources':['*']}"
static const struct row webhook_rows[] = {
	{ HOOKS, "{'webhooks':[{" HOOK ",'clientConfig':{'service':{'name':'s','namespace':'n'}},'rules':[" ANY "]}]}", NULL, NULL, NULL,
	  "{'metadata':{'generation':1},'webhooks':[{" HOOK ",'clientConfig':{'service':{'name':'s','namespace':'n','port':443}},'rules':["
	  "{'operations':['*'],'apiGroups':['*'],'apiVersions':['*'],'resources':['*'],'scope':'*'}],'failurePolicy':'Fail','matchPolicy':"
	  "'Equivalent','namespaceSelector':{},'objectSelector':{},'timeoutSeconds':10,'reinvocationPolicy':'Never'}]}" },
	{ HOOKS, "{'webhooks':[{'name':'a','admissionReviewVersions':['v2'],'sideEffects':'Some','timeoutSeconds':31,'clientConfig':{'url':"
	  "'http://u@h/?q'},'rules':[{'operations':['*','CREATE'],'apiGroups':[],'apiVersions':['v1'],'resources':['a/*','a/b','*']}]}]}",
	  "[webhooks[0].name: Invalid value: \"a\": should be a domain with at least three segments separated by dots, "
	  "webhooks[0].rules[0].operations: Invalid value: []admissionregistration.OperationType{\"*\", \"CREATE\"}: if '*' is present, must "
	  "not specify other operations, webhooks[0].rules[0].apiGroups: Required value, webhooks[0].rules[0].resources[1]: Invalid value: "
	  "\"a/b\": if 'a/*' is present, must not specify a/b, webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: "
	  "\"None\", \"NoneOnDryRun\", webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds, "
	  "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: "
	  "https://host[/path], webhooks[0].clientConfig.url: Invalid value: \"u\": user information is not permitted in the URL, "
	  "webhooks[0].clientConfig.url: Invalid value: \"q\": query parameters are not permitted in the URL, "
	  "webhooks[0].admissionReviewVersions: Invalid value: []string{\"v2\"}: must include at least one of v1, v1beta1]" },
	{ POLICY, "{'spec':{'matchConstraints':{'resourceRules':[" ANY "]},'validations':[{'expression':'true'}]}}", NULL, NULL, NULL,
	  "{'spec':{'failurePolicy':'Fail','matchConstraints':{'matchPolicy':'Equivalent','namespaceSelector':{},'objectSelector':{}}}}" },
	{ POLICY, "{'spec':{'variables':[{'name':'in','expression':''}],'paramKind':{'apiVersion':'','kind':'a_b'}}}",
	  "[spec.paramKind.apiVersion: Required value, spec.paramKind.kind: Invalid value: \"a_b\": may have mixed case, but should otherwise "
	  "match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end "
	  "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?'), "
	  "spec.matchConstraints: Required value, spec.variables[0].name: Invalid value: \"in\": must be a valid CEL identifier, "
	  "spec.variables[0].expression: Required value: expression is not specified, spec.validations: Required value: validations or "
	  "auditAnnotations must contain at least one item, spec.auditAnnotations: Required value: validations or auditAnnotations must "
	  "contain at least one item]" },
	{ POLICY "Binding", "{'spec':{'policyName':'','paramRef':{'name':'a','selector':{}},'matchResources':{},'validationActions':['Deny',"
	  "'Warn','Warn']}}",
	  "[spec.policyName: Required value, spec.paramRef.name: Forbidden: name and selector are mutually exclusive, spec.paramRef.selector: "
	  "Forbidden: name and selector are mutually exclusive, spec.paramRef.parameterNotFoundAction: Required value, "
	  "spec.validationActions[2]: Duplicate value: \"Warn\", spec.validationActions: Invalid value: "
	  "[]admissionregistration.ValidationAction{\"Deny\", \"Warn\", \"Warn\"}: must not contain both Deny and Warn (repeating the same "
	  "validation failure information in the API response and headers serves no purpose)]", NULL, NULL,
	  "{'spec':{'matchResources':{'matchPolicy':'Equivalent'}}}" },
};

#define APISERVICE "apiregistration.k8s.io/v1 APIService"
#define CRD "apiextensions.k8s.io/v1 CustomResourceDefinition"
#define NAMES "'group':'b.c','scope':'Cluster','names':{'plural':'as','kind':'A'}"
#define VERSION "{'name':'v1','served':true,'storage':true,'schema':{'openAPIV3Schema':{'type':'object'}}}"
static const struct row extension_rows[] = {
	{ APISERVICE, "{'metadata':{'name':'v1.b.c'},'spec':{'group':'b.c','version':'v1','groupPriorityMinimum':1,'versionPriority':1,"
	  "'insecureSkipTLSVerify':true,'service':{'name':'s','namespace':'n'}}}", NULL, NULL, NULL, "{'spec':{'service':{'port':443}}}" },
	{ APISERVICE, "{'metadata':{'name':'a'},'spec':{'group':'b.c','version':'v1','groupPriorityMinimum':0,'versionPriority':1001,"
	  "'insecureSkipTLSVerify':true}}",
	  "[metadata.name: Invalid value: \"a\": must be `spec.version+\".\"+spec.group`: \"v1.b.c\", spec.groupPriorityMinimum: Invalid value: "
	  "0: must be positive and less than 20000, spec.versionPriority: Invalid value: 1001: must be positive and less than 1000, "
	  "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify]" },
	{ CRD, "{'metadata':{'name':'as.b.c'},'spec':{" NAMES ",'versions':[" VERSION "]}}", NULL, NULL, NULL,
	  "{'metadata':{'generation':1},'spec':{'names':{'singular':'a','listKind':'AList'},'conversion':{'strategy':'None'}},"
	  "'status':{'storedVersions':['v1'],'conditions':null}}" },
	{ CRD, "{'metadata':{'name':'x'},'spec':{'group':'b','scope':'S','names':{'plural':'as','kind':'A'},'versions':[" VERSION ",{'name':"
	  "'v2','served':true,'storage':false}]}}",
	  "[metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group, spec.group: Invalid value: \"b\": should be a domain "
	  "with at least one dot, spec.scope: Unsupported value: \"S\": supported values: \"Cluster\", \"Namespaced\", "
	  "spec.versions[1].schema.openAPIV3Schema: Required value: schemas are required]" },
	/* what all versions have alike is complained about at the top */
	{ CRD, "{'metadata':{'name':'as.b.c'},'spec':{" NAMES ",'versions':[{'name':'v1','served':true,'storage':true,'schema':{"
	  "'openAPIV3Schema':{'type':'object'}},'subresources':{'scale':{'specReplicasPath':'.x','statusReplicasPath':''}},"
	  "'additionalPrinterColumns':[{'name':'N','type':'text','jsonPath':'x'}]}]}}",
	  "[spec.subresources.scale.specReplicasPath: Invalid value: \".x\": should be a json path under .spec, "
	  "spec.subresources.scale.statusReplicasPath: Required value, spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be "
	  "one of boolean,date,integer,number,string, spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"x\": must be a simple json "
	  "path starting with .]" },
	{ CRD, "{'metadata':{'name':'as.b.c'},'spec':{" NAMES ",'versions':[" VERSION ",{'name':'v2','served':true,'storage':false,'schema':{"
	  "'openAPIV3Schema':{'type':'object'}},'additionalPrinterColumns':[{'name':'N','type':'text','jsonPath':'.x'}]}]}}",
	  "spec.versions[1].additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string" },
	{ "node.k8s.io/v1 RuntimeClass", "{'handler':'A','overhead':{'podFixed':{'cpu':'1500u'}},'scheduling':{'tolerations':[{'key':'a',"
	  "'operator':'Exists','value':'b'}]}}",
	  "[handler: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
	  "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
	  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?'), scheduling.tolerations[0].operator: Invalid value: core.Toleration{Key:\"a\", "
	  "Operator:\"Exists\", Value:\"b\", Effect:\"\", TolerationSeconds:(*int64)(nil)}: value must be empty when `operator` is 'Exists']",
	  NULL, NULL, "{'overhead':{'podFixed':{'cpu':'2m'}}}" },
	{ "node.k8s.io/v1 RuntimeClass", "{'handler':'a'}", "handler: Invalid value: \"a\": field is immutable", "{'handler':'b'}" },
};

#define TEST(name)                           \
	static void test_##name(void **state) \
	{                                    \
		RUN_ROWS(name##_rows);       \
	}
TEST(access)
TEST(budget)
TEST(autoscaler)
TEST(signing)
TEST(flow)
TEST(webhook)
TEST(extension)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_access),  cmocka_unit_test(test_budget),  cmocka_unit_test(test_autoscaler),
		cmocka_unit_test(test_signing), cmocka_unit_test(test_flow),    cmocka_unit_test(test_webhook),
		cmocka_unit_test(test_extension),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
