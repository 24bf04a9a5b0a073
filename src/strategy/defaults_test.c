/* Every row of the schema's tables of defaults whose stage is this component's has a test here, by name: "package Type field". Rows
 * of types that nobody defaults here are in the list `others`, which shall shrink. */
#include "strategy/strategy_test.h"

#define MAX_NAMES 12
struct claim {
	const char *names[MAX_NAMES];
	struct row row;
};

#define REG "admissionregistration.k8s.io/v1 "
#define GEN1 "{'metadata':{'generation':1}}"
#define GEN1_NO_STATUS "{'metadata':{'generation':1},'status':null}"
#define HOOK_IN "'name':'a.b.c','admissionReviewVersions':['v1'],'sideEffects':'None'"
#define SERVICE_IN "'service':{'name':'s','namespace':'n'}"
#define SERVICE_OUT "'service':{'name':'s','namespace':'n','port':443}"
#define RULE_IN "'operations':['*'],'apiGroups':['*'],'apiVersions':['*'],'resources':['*']"
#define SELECTORS "'matchPolicy':'Equivalent','namespaceSelector':{},'objectSelector':{}"
#define REF_IN "'scaleTargetRef':{'kind':'D','name':'d'},'maxReplicas':2"
#define CSR_PEM "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUE9PQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K"
#define CRD_IN "'group':'b.c','scope':'Cluster','versions':[{'name':'v1','served':true,'storage':true,'schema':{'openAPIV3Schema':" \
	"{'type':'object'}}}]"
#define PV_IN "'capacity':{'storage':'1Gi'},'accessModes':['ReadWriteOnce']"
#define CLAIM_IN "'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}"
#define DRIVER "'csi':{'driver':'d','volumeHandle':'h'}"
#define BINDING "'roleRef':{'kind':'ClusterRole','name':'a'},'subjects':[{'kind':'User','name':'u'},{'kind':'ServiceAccount','name':'s'," \
	"'namespace':'n'}]"
#define BOUND "{'roleRef':{'apiGroup':'rbac.authorization.k8s.io'},'subjects':[{'kind':'User','name':'u','apiGroup':" \
	"'rbac.authorization.k8s.io'},{'kind':'ServiceAccount','name':'s','namespace':'n'}]}"

static const struct claim claims[] = {
	{ { "admissionregistration_v1 ValidatingWebhook failurePolicy", "admissionregistration_v1 ValidatingWebhook matchPolicy",
	    "admissionregistration_v1 ValidatingWebhook namespaceSelector", "admissionregistration_v1 ValidatingWebhook objectSelector",
	    "admissionregistration_v1 ValidatingWebhook timeoutSeconds", "admissionregistration_v1 Rule scope",
	    "admissionregistration_v1 ServiceReference port", "admissionregistration_v1 ValidatingWebhookConfiguration metadata.generation" },
	  { REG "ValidatingWebhookConfiguration", "{'webhooks':[{" HOOK_IN ",'clientConfig':{" SERVICE_IN "},'rules':[{" RULE_IN "}]}]}", NULL,
	    NULL, NULL, "{'metadata':{'generation':1},'webhooks':[{" HOOK_IN ",'clientConfig':{" SERVICE_OUT "},'rules':[{" RULE_IN
	    ",'scope':'*'}],'failurePolicy':'Fail'," SELECTORS ",'timeoutSeconds':10}]}" } },
	{ { "admissionregistration_v1 MutatingWebhook failurePolicy", "admissionregistration_v1 MutatingWebhook matchPolicy",
	    "admissionregistration_v1 MutatingWebhook namespaceSelector", "admissionregistration_v1 MutatingWebhook objectSelector",
	    "admissionregistration_v1 MutatingWebhook timeoutSeconds", "admissionregistration_v1 MutatingWebhook reinvocationPolicy",
	    "admissionregistration_v1 MutatingWebhookConfiguration metadata.generation" },
	  { REG "MutatingWebhookConfiguration", "{'webhooks':[{" HOOK_IN ",'clientConfig':{'url':'https://h'}}]}", NULL, NULL, NULL,
	    "{'metadata':{'generation':1},'webhooks':[{" HOOK_IN ",'clientConfig':{'url':'https://h'},'failurePolicy':'Fail'," SELECTORS
	    ",'timeoutSeconds':10,'reinvocationPolicy':'Never'}]}" } },
	{ { "admissionregistration_v1 ValidatingAdmissionPolicySpec failurePolicy", "admissionregistration_v1 MatchResources matchPolicy",
	    "admissionregistration_v1 MatchResources namespaceSelector", "admissionregistration_v1 MatchResources objectSelector",
	    "admissionregistration_v1 ValidatingAdmissionPolicy metadata.generation",
	    "admissionregistration_v1 ValidatingAdmissionPolicy status" },
	  { REG "ValidatingAdmissionPolicy", "{'spec':{'matchConstraints':{'resourceRules':[{" RULE_IN "}]},'validations':[{'expression':'true'"
	    "}]},'status':{'observedGeneration':7}}", NULL, NULL, NULL, "{'metadata':{'generation':1},'spec':{'failurePolicy':'Fail',"
	    "'matchConstraints':{" SELECTORS "}},'status':null}" } },
	{ { "admissionregistration_v1 ValidatingAdmissionPolicyBinding metadata.generation" },
	  { REG "ValidatingAdmissionPolicyBinding", "{'spec':{'policyName':'p','validationActions':['Deny']}}", NULL, NULL, NULL, GEN1 } },
	{ { "apiextensions_v1 CustomResourceDefinition spec.names.singular", "apiextensions_v1 CustomResourceDefinition spec.names.listKind",
	    "apiextensions_v1 CustomResourceDefinition status.storedVersions",
	    "apiextensions_v1 CustomResourceDefinition metadata.generation", "apiextensions_v1 CustomResourceDefinition status",
	    "apiextensions_v1 ServiceReference port" },
	  { "apiextensions.k8s.io/v1 CustomResourceDefinition", "{'metadata':{'name':'as.b.c'},'spec':{" CRD_IN ",'names':{'plural':'as','kind':"
	    "'Ab'},'conversion':{'strategy':'Webhook','webhook':{'conversionReviewVersions':['v1'],'clientConfig':{" SERVICE_IN "}}}},'status':"
	    "{'acceptedNames':{'plural':'x','kind':'X'},'conditions':[{'type':'Established','status':'True'}]}}", NULL, NULL, NULL,
	    "{'metadata':{'generation':1},'spec':{'names':{'singular':'ab','listKind':'AbList'},'conversion':{'webhook':{'clientConfig':{"
	    SERVICE_OUT "}}}},'status':{'storedVersions':['v1'],'conditions':null}}" } },
	{ { "apiextensions_v1 CustomResourceDefinition spec.conversion" },
	  { "apiextensions.k8s.io/v1 CustomResourceDefinition", "{'metadata':{'name':'as.b.c'},'spec':{" CRD_IN ",'names':{'plural':'as','kind':"
	    "'Ab'}}}", NULL, NULL, NULL, "{'spec':{'conversion':{'strategy':'None'}}}" } },
	{ { "apiregistration_v1 ServiceReference port", "apiregistration_v1 APIService status" },
	  { "apiregistration.k8s.io/v1 APIService", "{'metadata':{'name':'v1.b.c'},'spec':{'group':'b.c','version':'v1','groupPriorityMinimum':1,"
	    "'versionPriority':1,'insecureSkipTLSVerify':true," SERVICE_IN "},'status':{'conditions':[{'type':'Available','status':'True'}]}}",
	    NULL, NULL, NULL, "{'spec':{'service':{'port':443}},'status':null}" } },
	{ { "apiregistration_v1 APIService status.conditions[]" },
	  { "apiregistration.k8s.io/v1 APIService", "{'metadata':{'name':'v1.b.c'},'spec':{'group':'b.c','version':'v1','groupPriorityMinimum':1,"
	    "'versionPriority':1}}", NULL, NULL, NULL, "{'status':{'conditions':[{'type':'Available','status':'True','lastTransitionTime':"
	    "'2026-01-02T03:04:05Z','reason':'Local','message':'Local APIServices are always available'}]}}" } },
	{ { "autoscaling_v1 HorizontalPodAutoscaler spec.minReplicas",
	    "autoscaling_v1 HorizontalPodAutoscaler spec.targetCPUUtilizationPercentage", "autoscaling_v1 HorizontalPodAutoscaler status" },
	  { "autoscaling/v1 HorizontalPodAutoscaler", "{'spec':{" REF_IN "},'status':{'currentReplicas':1,'desiredReplicas':1}}", NULL, NULL,
	    NULL, "{'spec':{'minReplicas':1,'targetCPUUtilizationPercentage':80},'status':null}" } },
	{ { "autoscaling_v2 HorizontalPodAutoscaler spec.minReplicas", "autoscaling_v2 HorizontalPodAutoscaler spec.metrics",
	    "autoscaling_v2 HorizontalPodAutoscaler spec.behavior.scaleUp.stabilizationWindowSeconds",
	    "autoscaling_v2 HorizontalPodAutoscaler spec.behavior.scaleUp.selectPolicy",
	    "autoscaling_v2 HorizontalPodAutoscaler spec.behavior.scaleUp.policies",
	    "autoscaling_v2 HorizontalPodAutoscaler spec.behavior.scaleDown.selectPolicy",
	    "autoscaling_v2 HorizontalPodAutoscaler spec.behavior.scaleDown.policies",
	    "autoscaling_v2 HorizontalPodAutoscaler spec.behavior.scaleDown.stabilizationWindowSeconds",
	    "autoscaling_v2 HorizontalPodAutoscaler status" },
	  { "autoscaling/v2 HorizontalPodAutoscaler", "{'spec':{" REF_IN ",'behavior':{}},'status':{'currentReplicas':1,'desiredReplicas':1}}",
	    NULL, NULL, NULL, "{'spec':{'minReplicas':1,'metrics':[{'type':'Resource','resource':{'name':'cpu','target':{'type':"
	    "'Utilization','averageUtilization':80}}}],'behavior':{'scaleUp':{'stabilizationWindowSeconds':0,'selectPolicy':'Max','policies':["
	    "{'type':'Pods','value':4,'periodSeconds':15},{'type':'Percent','value':100,'periodSeconds':15}]},'scaleDown':{'selectPolicy':"
	    "'Max','policies':[{'type':'Percent','value':100,'periodSeconds':15}],'stabilizationWindowSeconds':null}}},'status':null}" } },
	{ { "certificates_v1 CertificateSigningRequest status", "certificates_v1 CertificateSigningRequest spec.username" },
	  { "certificates.k8s.io/v1 CertificateSigningRequest", "{'spec':{'request':'" CSR_PEM "','signerName':'a.b/c','usages':['signing'],"
	    "'username':'x','extra':{'a':['b']}},'status':{'certificate':'YQ=='}}", NULL, NULL, NULL,
	    "{'spec':{'username':'jane','uid':'u-1','groups':['dev','system:authenticated'],'extra':null},'status':null}" } },
	{ { "core_v1 ServicePort protocol", "core_v1 Service spec.sessionAffinity", "core_v1 Service spec.sessionAffinityConfig",
	    "core_v1 Service spec.type", "core_v1 Service spec.ports[].targetPort", "core_v1 Service spec.internalTrafficPolicy",
	    "core_v1 Service status" },
	  { "v1 Service", "{'spec':{'ports':[{'port':80}],'clusterIP':'None','sessionAffinityConfig':{'clientIP':{'timeoutSeconds':5}}},'status':"
	    "{'loadBalancer':{'ingress':[{'ip':'1.2.3.4'}]}}}", NULL, NULL, NULL, "{'spec':{'ports':[{'port':80,'protocol':'TCP','targetPort':80"
	    "}],'sessionAffinity':'None','sessionAffinityConfig':null,'type':'ClusterIP','internalTrafficPolicy':'Cluster'},'status':null}" } },
	{ { "core_v1 Service spec.sessionAffinityConfig.clientIP.timeoutSeconds", "core_v1 Service spec.externalTrafficPolicy",
	    "core_v1 Service spec.allocateLoadBalancerNodePorts" },
	  { "v1 Service", "{'spec':{'type':'LoadBalancer','sessionAffinity':'ClientIP','ports':[{'port':80}],'clusterIP':'10.0.0.1','clusterIPs':["
	    "'10.0.0.1'],'ipFamilies':['IPv4'],'ipFamilyPolicy':'SingleStack'}}", NULL, NULL, NULL,
	    "{'spec':{'sessionAffinityConfig':{'clientIP':{'timeoutSeconds':10800}},'externalTrafficPolicy':'Cluster',"
	    "'allocateLoadBalancerNodePorts':true}}" } },
	{ { "core_v1 Service status.loadBalancer.ingress[].ipMode" },
	  { "v1 Service", "{'spec':{'type':'LoadBalancer','ports':[{'port':80}],'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1']},'status':"
	    "{'loadBalancer':{'ingress':[{'ip':'1.2.3.4'}]}}}", NULL,
	    "{'spec':{'type':'LoadBalancer','ports':[{'port':80}],'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1']}}", "status",
	    "{'status':{'loadBalancer':{'ingress':[{'ip':'1.2.3.4','ipMode':'VIP'}]}}}" } },
	{ { "core_v1 EndpointPort protocol" },
	  { "v1 Endpoints", "{'subsets':[{'addresses':[{'ip':'1.2.3.4'}],'ports':[{'port':1}]}]}", NULL, NULL, NULL,
	    "{'subsets':[{'addresses':[{'ip':'1.2.3.4'}],'ports':[{'port':1,'protocol':'TCP'}]}]}" } },
	{ { "core_v1 ISCSIPersistentVolumeSource iscsiInterface" },
	  { "v1 PersistentVolume", "{'spec':{" PV_IN ",'iscsi':{'targetPortal':'a','iqn':'iqn.2016-01.a:b','lun':1}}}", NULL, NULL, NULL,
	    "{'spec':{'iscsi':{'iscsiInterface':'default'}}}" } },
	{ { "core_v1 RBDPersistentVolumeSource pool", "core_v1 RBDPersistentVolumeSource user", "core_v1 RBDPersistentVolumeSource keyring" },
	  { "v1 PersistentVolume", "{'spec':{" PV_IN ",'rbd':{'monitors':['a'],'image':'b'}}}", NULL, NULL, NULL,
	    "{'spec':{'rbd':{'pool':'rbd','user':'admin','keyring':'/etc/ceph/keyring'}}}" } },
	{ { "core_v1 AzureDiskVolumeSource cachingMode", "core_v1 AzureDiskVolumeSource kind", "core_v1 AzureDiskVolumeSource fsType",
	    "core_v1 AzureDiskVolumeSource readOnly" },
	  { "v1 PersistentVolume", "{'spec':{" PV_IN ",'azureDisk':{'diskName':'a','diskURI':'https://b'}}}", NULL, NULL, NULL,
	    "{'spec':{'azureDisk':{'cachingMode':'ReadWrite','kind':'Shared','fsType':'ext4','readOnly':false}}}" } },
	{ { "core_v1 ScaleIOPersistentVolumeSource storageMode", "core_v1 ScaleIOPersistentVolumeSource fsType" },
	  { "v1 PersistentVolume", "{'spec':{" PV_IN ",'scaleIO':{'gateway':'a','system':'b','volumeName':'c','secretRef':{'name':'s',"
	    "'namespace':'n'}}}}", NULL, NULL, NULL, "{'spec':{'scaleIO':{'storageMode':'ThinProvisioned','fsType':'xfs'}}}" } },
	{ { "core_v1 HostPathVolumeSource type" },
	  { "v1 PersistentVolume", "{'spec':{" PV_IN ",'hostPath':{'path':'/a'}}}", NULL, NULL, NULL, "{'spec':{'hostPath':{'type':''}}}" } },
	{ { "core_v1 PersistentVolume status.phase", "core_v1 PersistentVolume spec.persistentVolumeReclaimPolicy",
	    "core_v1 PersistentVolume spec.volumeMode", "core_v1 PersistentVolume status.lastPhaseTransitionTime", "core_v1 ResourceList {}" },
	  { "v1 PersistentVolume", "{'spec':{'capacity':{'storage':'1000u'},'accessModes':['ReadWriteOnce']," DRIVER "}}", NULL, NULL, NULL,
	    "{'spec':{'capacity':{'storage':'1m'},'persistentVolumeReclaimPolicy':'Retain','volumeMode':'Filesystem'},'status':{'phase':"
	    "'Pending','lastPhaseTransitionTime':'2026-01-02T03:04:05Z'}}" } },
	{ { "core_v1 PersistentVolumeClaim status.phase", "core_v1 PersistentVolumeClaimSpec volumeMode",
	    "core_v1 PersistentVolumeClaimSpec dataSourceRef" },
	  { "v1 PersistentVolumeClaim", "{'spec':{" CLAIM_IN ",'dataSource':{'kind':'PersistentVolumeClaim','name':'a'}}}", NULL, NULL, NULL,
	    "{'spec':{'volumeMode':'Filesystem','dataSourceRef':{'kind':'PersistentVolumeClaim','name':'a'}},'status':{'phase':'Pending'}}" } },
	{ { "core_v1 Secret type", "core_v1 Secret data{}" },
	  { "v1 Secret", "{'data':{'a':'YQ==','b':'Yg=='},'stringData':{'b':'x'}}", NULL, NULL, NULL,
	    "{'type':'Opaque','data':{'a':'YQ==','b':'eA=='},'stringData':null}" } },
	{ { "core_v1 ConfigMap data" }, { "v1 ConfigMap", "{}", NULL, NULL, NULL, "{'data':null}" } },
	{ { "core_v1 Namespace metadata.labels{}", "core_v1 NamespaceStatus phase", "core_v1 Namespace status.phase",
	    "core_v1 Namespace spec.finalizers" },
	  { "v1 Namespace", "{}", NULL, NULL, NULL, "{'metadata':{'labels':{'kubernetes.io/metadata.name':'x'}},'spec':{'finalizers':["
	    "'kubernetes']},'status':{'phase':'Active'}}" } },
	{ { "core_v1 NodeStatus allocatable", "core_v1 NodeSpec podCIDRs" },
	  { "v1 Node", "{'spec':{'podCIDR':'10.0.0.0/24'},'status':{'capacity':{'cpu':'1'}}}", NULL, NULL, NULL,
	    "{'spec':{'podCIDRs':['10.0.0.0/24']},'status':{'allocatable':{'cpu':'1'}}}" } },
	{ { "core_v1 LimitRangeItem default{}", "core_v1 LimitRangeItem defaultRequest{}" },
	  { "v1 LimitRange", "{'spec':{'limits':[{'type':'Container','max':{'cpu':'2'},'min':{'memory':'1'}}]}}", NULL, NULL, NULL,
	    "{'spec':{'limits':[{'type':'Container','max':{'cpu':'2'},'min':{'memory':'1'},'default':{'cpu':'2'},'defaultRequest':{'cpu':'2',"
	    "'memory':'1'}}]}}" } },
	{ { "core_v1 LocalObjectReference name" },
	  { "v1 ServiceAccount", "{'imagePullSecrets':[{}]}", NULL, NULL, NULL, "{'imagePullSecrets':[{}]}" } },
	{ { "core_v1 ResourceQuota status" },
	  { "v1 ResourceQuota", "{'spec':{'hard':{'pods':'1'}},'status':{'hard':{'pods':'1'}}}", NULL, NULL, NULL, "{'status':null}" } },
	{ { "discovery_v1 EndpointPort name", "discovery_v1 EndpointPort protocol", "discovery_v1 EndpointSlice metadata.generation" },
	  { "discovery.k8s.io/v1 EndpointSlice", "{'addressType':'IPv4','endpoints':[],'ports':[{'port':1}]}", NULL, NULL, NULL,
	    "{'metadata':{'generation':1},'ports':[{'port':1,'name':'','protocol':'TCP'}]}" } },
	{ { "flowcontrol_v1 FlowSchemaSpec matchingPrecedence", "flowcontrol_v1 FlowSchema metadata.generation",
	    "flowcontrol_v1 FlowSchema status" },
	  { "flowcontrol.apiserver.k8s.io/v1 FlowSchema", "{'spec':{'priorityLevelConfiguration':{'name':'a'}},'status':{'conditions':[{'type':"
	    "'Dangling'}]}}", NULL, NULL, NULL, "{'metadata':{'generation':1},'spec':{'matchingPrecedence':1000},'status':null}" } },
	{ { "flowcontrol_v1 ExemptPriorityLevelConfiguration nominalConcurrencyShares",
	    "flowcontrol_v1 ExemptPriorityLevelConfiguration lendablePercent", "flowcontrol_v1 PriorityLevelConfiguration status" },
	  { "flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration", "{'metadata':{'name':'exempt'},'spec':{'type':'Exempt','exempt':{}},"
	    "'status':{'conditions':[{'type':'x'}]}}", NULL, NULL, NULL, "{'spec':{'exempt':{'nominalConcurrencyShares':0,'lendablePercent':0}}"
	    ",'status':null}" } },
	{ { "flowcontrol_v1 LimitedPriorityLevelConfiguration nominalConcurrencyShares",
	    "flowcontrol_v1 LimitedPriorityLevelConfiguration lendablePercent", "flowcontrol_v1 QueuingConfiguration handSize",
	    "flowcontrol_v1 QueuingConfiguration queues", "flowcontrol_v1 QueuingConfiguration queueLengthLimit",
	    "flowcontrol_v1 PriorityLevelConfiguration metadata.generation" },
	  { "flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration", "{'spec':{'type':'Limited','limited':{'limitResponse':{'type':'Queue',"
	    "'queuing':{}}}}}", NULL, NULL, NULL, "{'metadata':{'generation':1},'spec':{'limited':{'nominalConcurrencyShares':30,"
	    "'lendablePercent':0,'limitResponse':{'queuing':{'handSize':8,'queues':64,'queueLengthLimit':50}}}}}" } },
	{ { "networking_v1 NetworkPolicyPort protocol", "networking_v1 NetworkPolicy spec.policyTypes",
	    "networking_v1 NetworkPolicy metadata.generation" },
	  { "networking.k8s.io/v1 NetworkPolicy", "{'spec':{'podSelector':{},'ingress':[{'ports':[{'port':1}]}],'egress':[{}]}}", NULL, NULL,
	    NULL, "{'metadata':{'generation':1},'spec':{'policyTypes':['Ingress','Egress'],'ingress':[{'ports':[{'port':1,'protocol':'TCP'}]}]"
	    "}}" } },
	{ { "networking_v1 NetworkPolicy spec.policyTypes" },
	  { "networking.k8s.io/v1 NetworkPolicy", "{'spec':{'podSelector':{}}}", NULL, NULL, NULL, "{'spec':{'policyTypes':['Ingress']}}" } },
	{ { "networking_v1 IngressClass spec.parameters.scope", "networking_v1 IngressClass metadata.generation" },
	  { "networking.k8s.io/v1 IngressClass", "{'spec':{'controller':'a.b/c','parameters':{'kind':'k','name':'n'}}}", NULL, NULL, NULL,
	    "{'metadata':{'generation':1},'spec':{'parameters':{'scope':'Cluster'}}}" } },
	{ { "networking_v1 Ingress metadata.generation", "networking_v1 Ingress status" },
	  { "networking.k8s.io/v1 Ingress", "{'spec':{'defaultBackend':{'service':{'name':'a','port':{'number':1}}}},'status':{'loadBalancer':"
	    "{'ingress':[{'ip':'1.2.3.4'}]}}}", NULL, NULL, NULL, GEN1_NO_STATUS } },
	{ { "networking_v1 ServiceCIDR status" },
	  { "networking.k8s.io/v1 ServiceCIDR", "{'spec':{'cidrs':['10.0.0.0/24']},'status':{'conditions':[{'type':'Ready','status':'True',"
	    "'reason':'r','message':'','lastTransitionTime':'2026-01-01T00:00:00Z'}]}}", NULL, NULL, NULL, "{'status':null}" } },
	{ { "policy_v1 PodDisruptionBudget metadata.generation", "policy_v1 PodDisruptionBudget status" },
	  { "policy/v1 PodDisruptionBudget", "{'spec':{'minAvailable':1},'status':{'expectedPods':3}}", NULL, NULL, NULL, GEN1_NO_STATUS } },
	{ { "rbac_v1 ClusterRoleBinding roleRef.apiGroup", "rbac_v1 Subject apiGroup" },
	  { "rbac.authorization.k8s.io/v1 ClusterRoleBinding", "{" BINDING "}", NULL, NULL, NULL, BOUND } },
	{ { "rbac_v1 RoleBinding roleRef.apiGroup" },
	  { "rbac.authorization.k8s.io/v1 RoleBinding", "{" BINDING "}", NULL, NULL, NULL, BOUND } },
	{ { "scheduling_v1 PriorityClass preemptionPolicy", "scheduling_v1 PriorityClass metadata.generation" },
	  { "scheduling.k8s.io/v1 PriorityClass", "{'value':1}", NULL, NULL, NULL, "{'metadata':{'generation':1},'preemptionPolicy':"
	    "'PreemptLowerPriority'}" } },
	{ { "storage_v1 StorageClass reclaimPolicy", "storage_v1 StorageClass volumeBindingMode" },
	  { "storage.k8s.io/v1 StorageClass", "{'provisioner':'a'}", NULL, NULL, NULL, "{'reclaimPolicy':'Delete','volumeBindingMode':'Immediate'"
	    "}" } },
	{ { "storage_v1 CSIDriver spec.attachRequired", "storage_v1 CSIDriver spec.podInfoOnMount", "storage_v1 CSIDriver spec.storageCapacity",
	    "storage_v1 CSIDriver spec.fsGroupPolicy", "storage_v1 CSIDriver spec.volumeLifecycleModes",
	    "storage_v1 CSIDriver spec.requiresRepublish", "storage_v1 CSIDriver spec.seLinuxMount" },
	  { "storage.k8s.io/v1 CSIDriver", "{'spec':{}}", NULL, NULL, NULL, "{'spec':{'attachRequired':true,'podInfoOnMount':false,"
	    "'storageCapacity':false,'fsGroupPolicy':'ReadWriteOnceWithFSType','volumeLifecycleModes':['Persistent'],'requiresRepublish':false,"
	    "'seLinuxMount':false}}" } },
	{ { "storage_v1 VolumeAttachment status" },
	  { "storage.k8s.io/v1 VolumeAttachment", "{'spec':{'attacher':'a','nodeName':'n','source':{'persistentVolumeName':'p'}},'status':"
	    "{'attached':true}}", NULL, NULL, NULL, "{'status':null}" } },
	/* pods and workloads */
	{ { "apps_v1 Deployment spec.replicas",
	    "apps_v1 Deployment spec.strategy.type",
	    "apps_v1 Deployment spec.strategy.rollingUpdate",
	    "apps_v1 Deployment spec.strategy.rollingUpdate.maxUnavailable",
	    "apps_v1 Deployment spec.strategy.rollingUpdate.maxSurge",
	    "apps_v1 Deployment spec.revisionHistoryLimit",
	    "apps_v1 Deployment spec.progressDeadlineSeconds",
	    "apps_v1 Deployment metadata.generation",
	    "apps_v1 Deployment status" },
	  { "apps/v1 Deployment",
	    "{'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers'"
	    ":[{'name':'a','image':'x'}]}}},'status':{'replicas':1}}", NULL, NULL, NULL,
	    "{'metadata':{'generation':1},'status':null,'spec':{'replicas':1,'strategy':{'type':'RollingUpdate','rollingUpd"
	    "ate':{'maxUnavailable':'25%','maxSurge':'25%'}},'revisionHistoryLimit':10,'progressDeadlineSeconds':600}}" } },
	{ { "apps_v1 ReplicaSet spec.replicas",
	    "apps_v1 ReplicaSet metadata.generation",
	    "apps_v1 ReplicaSet status" },
	  { "apps/v1 ReplicaSet",
	    "{'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers'"
	    ":[{'name':'a','image':'x'}]}}},'status':{'replicas':1}}", NULL, NULL, NULL,
	    "{'metadata':{'generation':1},'status':null,'spec':{'replicas':1}}" } },
	{ { "apps_v1 DaemonSet spec.updateStrategy.type",
	    "apps_v1 DaemonSet spec.updateStrategy.rollingUpdate",
	    "apps_v1 DaemonSet spec.updateStrategy.rollingUpdate.maxUnavailable",
	    "apps_v1 DaemonSet spec.updateStrategy.rollingUpdate.maxSurge",
	    "apps_v1 DaemonSet spec.revisionHistoryLimit",
	    "apps_v1 DaemonSet metadata.annotations{}",
	    "apps_v1 DaemonSet metadata.generation",
	    "apps_v1 DaemonSet status" },
	  { "apps/v1 DaemonSet",
	    "{'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers'"
	    ":[{'name':'a','image':'x'}]}}},'status':{'numberReady':1}}", NULL, NULL, NULL,
	    "{'metadata':{'generation':1,'annotations':{'deprecated.daemonset.template.generation':'1'}},'status':null,'spe"
	    "c':{'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':1,'maxSurge':0}},'revisionHisto"
	    "ryLimit':10}}" } },
	{ { "apps_v1 StatefulSet spec.podManagementPolicy",
	    "apps_v1 StatefulSet spec.updateStrategy.type",
	    "apps_v1 StatefulSet spec.updateStrategy.rollingUpdate",
	    "apps_v1 StatefulSet spec.updateStrategy.rollingUpdate.partition",
	    "apps_v1 StatefulSet spec.persistentVolumeClaimRetentionPolicy",
	    "apps_v1 StatefulSet spec.persistentVolumeClaimRetentionPolicy.whenDeleted",
	    "apps_v1 StatefulSet spec.persistentVolumeClaimRetentionPolicy.whenScaled",
	    "apps_v1 StatefulSet spec.replicas",
	    "apps_v1 StatefulSet spec.revisionHistoryLimit",
	    "apps_v1 StatefulSet spec.serviceName",
	    "apps_v1 StatefulSet metadata.generation",
	    "apps_v1 StatefulSet status" },
	  { "apps/v1 StatefulSet",
	    "{'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers'"
	    ":[{'name':'a','image':'x'}]}}},'status':{'replicas':1}}", NULL, NULL, NULL,
	    "{'metadata':{'generation':1},'status':null,'spec':{'podManagementPolicy':'OrderedReady','serviceName':null,'up"
	    "dateStrategy':{'type':'RollingUpdate','rollingUpdate':{'partition':0}},'persistentVolumeClaimRetentionPolicy':"
	    "{'whenDeleted':'Retain','whenScaled':'Retain'},'replicas':1,'revisionHistoryLimit':10}}" } },
	{ { "apps_v1 StatefulSet spec.volumeClaimTemplates[].kind",
	    "apps_v1 StatefulSet spec.volumeClaimTemplates[].apiVersion" },
	  { "apps/v1 StatefulSet",
	    "{'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers'"
	    ":[{'name':'a','image':'x'}]}},'volumeClaimTemplates':[{'metadata':{'name':'v'},'spec':{'accessModes':['ReadWri"
	    "teOnce']}}]},'status':{'replicas':1}}", NULL, NULL, NULL,
	    "{'spec':{'volumeClaimTemplates':[{'metadata':{'name':'v'},'spec':{'accessModes':['ReadWriteOnce'],'volumeMode'"
	    ":'Filesystem'},'kind':'PersistentVolumeClaim','apiVersion':'v1','status':{'phase':'Pending'}}]}}" } },
	{ { "batch_v1 Job spec.completions",
	    "batch_v1 Job spec.parallelism",
	    "batch_v1 Job spec.backoffLimit",
	    "batch_v1 Job metadata.labels",
	    "batch_v1 Job spec.completionMode",
	    "batch_v1 Job spec.suspend",
	    "batch_v1 Job spec.podReplacementPolicy",
	    "batch_v1 Job spec.manualSelector",
	    "batch_v1 Job metadata.generation",
	    "batch_v1 Job status",
	    "batch_v1 Job spec.selector",
	    "batch_v1 Job spec.template.metadata.labels{}" },
	  { "batch/v1 Job",
	    "{'metadata':{'uid':'u'},'spec':{'template':{'spec':{'restartPolicy':'Never','containers':[{'name':'a','image':"
	    "'x'}]}}},'status':{'active':1}}", NULL, NULL, NULL,
	    "{'metadata':{'generation':1,'labels':{'batch.kubernetes.io/controller-uid':'u','batch.kubernetes.io/job-name':"
	    "'x','controller-uid':'u','job-name':'x'}},'status':null,'spec':{'completions':1,'parallelism':1,'backoffLimit'"
	    ":6,'completionMode':'NonIndexed','suspend':false,'podReplacementPolicy':'TerminatingOrFailed','manualSelector'"
	    ":false,'selector':{'matchLabels':{'batch.kubernetes.io/controller-uid':'u'}},'template':{'metadata':{'labels':"
	    "{'batch.kubernetes.io/controller-uid':'u','batch.kubernetes.io/job-name':'x','controller-uid':'u','job-name':'"
	    "x'}}}}}" } },
	{ { "batch_v1 PodFailurePolicyOnPodConditionsPattern status" },
	  { "batch/v1 Job",
	    "{'metadata':{'uid':'u'},'spec':{'podFailurePolicy':{'rules':[{'action':'Ignore','onPodConditions':[{'type':'D'"
	    "}]}]},'template':{'spec':{'restartPolicy':'Never','containers':[{'name':'a','image':'x'}]}}}}", NULL, NULL, NULL,
	    "{'spec':{'podReplacementPolicy':'Failed','podFailurePolicy':{'rules':[{'action':'Ignore','onPodConditions':[{'"
	    "type':'D','status':'True'}]}]}}}" } },
	{ { "batch_v1 CronJob spec.concurrencyPolicy",
	    "batch_v1 CronJob spec.suspend",
	    "batch_v1 CronJob spec.successfulJobsHistoryLimit",
	    "batch_v1 CronJob spec.failedJobsHistoryLimit",
	    "batch_v1 CronJob metadata.generation",
	    "batch_v1 CronJob status" },
	  { "batch/v1 CronJob",
	    "{'spec':{'schedule':'@daily','jobTemplate':{'spec':{'template':{'spec':{'restartPolicy':'Never','containers':["
	    "{'name':'a','image':'x'}]}}}}},'status':{'lastScheduleTime':'2020-01-01T00:00:00Z'}}", NULL, NULL, NULL,
	    "{'metadata':{'generation':1},'status':null,'spec':{'concurrencyPolicy':'Allow','suspend':false,'successfulJobs"
	    "HistoryLimit':3,'failedJobsHistoryLimit':1}}" } },
	{ { "core_v1 ReplicationController spec.selector",
	    "core_v1 ReplicationController metadata.labels",
	    "core_v1 ReplicationControllerSpec replicas",
	    "core_v1 ReplicationControllerSpec minReadySeconds",
	    "core_v1 ReplicationController metadata.generation",
	    "core_v1 ReplicationController status" },
	  { "v1 ReplicationController",
	    "{'spec':{'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'a','image':'x'}]}}},'statu"
	    "s':{'replicas':1}}", NULL, NULL, NULL,
	    "{'metadata':{'generation':1,'labels':{'a':'b'}},'status':null,'spec':{'selector':{'a':'b'},'replicas':1,'minRe"
	    "adySeconds':0}}" } },
	{ { "core_v1 PodTemplate metadata.generation" },
	  { "v1 PodTemplate",
	    "{'template':{'spec':{'containers':[{'name':'a','image':'x'}]}}}", NULL, NULL, NULL,
	    "{'metadata':{'generation':1}}" } },
	{ { "core_v1 PodSpec dnsPolicy",
	    "core_v1 PodSpec restartPolicy",
	    "core_v1 PodSpec securityContext",
	    "core_v1 PodSpec terminationGracePeriodSeconds",
	    "core_v1 PodSpec schedulerName",
	    "core_v1 PodSpec serviceAccount",
	    "core_v1 Pod spec.enableServiceLinks",
	    "core_v1 Pod metadata.generation",
	    "core_v1 Pod status",
	    "core_v1 Pod spec.resources.requests{}",
	    "core_v1 Pod spec.containers[].resizePolicy[]",
	    "core_v1 Pod metadata.annotations{}" },
	  { "v1 Pod",
	    "{'metadata':{'annotations':{'pod.alpha.kubernetes.io/init-containers':'x'}},'spec':{'serviceAccountName':'s','"
	    "resources':{'limits':{'cpu':'1'}},'containers':[{'name':'a','image':'x'}]},'status':{'phase':'Running'}}", NULL, NULL, NULL,
	    "{'metadata':{'generation':1,'annotations':{'pod.alpha.kubernetes.io/init-containers':null}},'spec':{'serviceAc"
	    "count':'s','restartPolicy':'Always','dnsPolicy':'ClusterFirst','terminationGracePeriodSeconds':30,'securityCon"
	    "text':{},'schedulerName':'default-scheduler','enableServiceLinks':true,'resources':null,'containers':[{'name':"
	    "'a','image':'x','terminationMessagePath':'/dev/termination-log','terminationMessagePolicy':'File','imagePullPo"
	    "licy':'Always'}]},'status':{'phase':'Pending','qosClass':'BestEffort'}}" } },
	{ { "core_v1 Container imagePullPolicy",
	    "core_v1 Container terminationMessagePath",
	    "core_v1 Container terminationMessagePolicy",
	    "core_v1 ContainerPort protocol",
	    "core_v1 ObjectFieldSelector apiVersion",
	    "core_v1 Pod spec.containers[].resources.requests{}",
	    "core_v1 Pod spec.containers[].ports[].hostPort",
	    "core_v1 Pod spec.initContainers[].resources.requests{}",
	    "core_v1 Pod spec.initContainers[].ports[].hostPort",
	    "core_v1 PodSpec containers[].ports[].hostPort",
	    "core_v1 Pod status.conditions[]" },
	  { "v1 Pod",
	    "{'spec':{'hostNetwork':true,'schedulingGates':[{'name':'g/h'}],'initContainers':[{'name':'i','image':'x','port"
	    "s':[{'containerPort':2}],'resources':{'limits':{'cpu':'1'}}}],'containers':[{'name':'a','image':'x:1','ports':"
	    "[{'containerPort':1}],'env':[{'name':'E','valueFrom':{'fieldRef':{'fieldPath':'metadata.name'}}}],'resources':"
	    "{'limits':{'cpu':'1'}}}]}}", NULL, NULL, NULL,
	    "{'spec':{'initContainers':[{'name':'i','image':'x','ports':[{'containerPort':2,'hostPort':2,'protocol':'TCP'}]"
	    ",'resources':{'limits':{'cpu':'1'},'requests':{'cpu':'1'}},'terminationMessagePath':'/dev/termination-log','te"
	    "rminationMessagePolicy':'File','imagePullPolicy':'Always'}],'containers':[{'name':'a','image':'x:1','ports':[{"
	    "'containerPort':1,'hostPort':1,'protocol':'TCP'}],'env':[{'name':'E','valueFrom':{'fieldRef':{'apiVersion':'v1"
	    "','fieldPath':'metadata.name'}}}],'resources':{'limits':{'cpu':'1'},'requests':{'cpu':'1'}},'terminationMessag"
	    "ePath':'/dev/termination-log','terminationMessagePolicy':'File','imagePullPolicy':'IfNotPresent'}]},'status':{"
	    "'conditions':[{'type':'PodScheduled','status':'False','lastTransitionTime':'2026-01-02T03:04:05Z','reason':'Sc"
	    "hedulingGated','message':'Scheduling is blocked due to non-empty scheduling gates'}]}}" } },
	{ { "core_v1 Probe timeoutSeconds",
	    "core_v1 Probe periodSeconds",
	    "core_v1 Probe successThreshold",
	    "core_v1 Probe failureThreshold",
	    "core_v1 HTTPGetAction path",
	    "core_v1 HTTPGetAction scheme",
	    "core_v1 GRPCAction service" },
	  { "v1 Pod",
	    "{'spec':{'containers':[{'name':'a','image':'x','livenessProbe':{'httpGet':{'port':1}},'readinessProbe':{'grpc'"
	    ":{'port':1}}}]}}", NULL, NULL, NULL,
	    "{'spec':{'containers':[{'name':'a','image':'x','livenessProbe':{'httpGet':{'path':'/','port':1,'scheme':'HTTP'"
	    "},'timeoutSeconds':1,'periodSeconds':10,'successThreshold':1,'failureThreshold':3},'readinessProbe':{'grpc':{'"
	    "port':1,'service':''},'timeoutSeconds':1,'periodSeconds':10,'successThreshold':1,'failureThreshold':3},'termin"
	    "ationMessagePath':'/dev/termination-log','terminationMessagePolicy':'File','imagePullPolicy':'Always'}]}}" } },
	{ { "core_v1 Volume emptyDir",
	    "core_v1 SecretVolumeSource defaultMode",
	    "core_v1 ConfigMapVolumeSource defaultMode",
	    "core_v1 DownwardAPIVolumeSource defaultMode",
	    "core_v1 ProjectedVolumeSource defaultMode",
	    "core_v1 ServiceAccountTokenProjection expirationSeconds",
	    "core_v1 ISCSIVolumeSource iscsiInterface",
	    "core_v1 RBDVolumeSource pool",
	    "core_v1 RBDVolumeSource user",
	    "core_v1 RBDVolumeSource keyring",
	    "core_v1 ScaleIOVolumeSource storageMode",
	    "core_v1 ScaleIOVolumeSource fsType" },
	  { "v1 Pod",
	    "{'spec':{'serviceAccountName':'s','containers':[{'name':'a','image':'x'}],'volumes':[{'name':'a'},{'name':'c',"
	    "'secret':{'secretName':'s'}},{'name':'d','configMap':{'name':'m'}},{'name':'e','downwardAPI':{}},{'name':'f','"
	    "projected':{'sources':[{'serviceAccountToken':{'path':'t'}}]}},{'name':'g','iscsi':{'targetPortal':'1.2.3.4','"
	    "iqn':'iqn.2001-01.a:b','lun':1}},{'name':'h','rbd':{'monitors':['a'],'image':'i'}},{'name':'j','scaleIO':{'gat"
	    "eway':'g','system':'s','volumeName':'v','secretRef':{'name':'s'}}}]}}", NULL, NULL, NULL,
	    "{'spec':{'volumes':[{'name':'a','emptyDir':{}},{'name':'c','secret':{'secretName':'s','defaultMode':420}},{'na"
	    "me':'d','configMap':{'name':'m','defaultMode':420}},{'name':'e','downwardAPI':{'defaultMode':420}},{'name':'f'"
	    ",'projected':{'sources':[{'serviceAccountToken':{'expirationSeconds':3600,'path':'t'}}],'defaultMode':420}},{'"
	    "name':'g','iscsi':{'targetPortal':'1.2.3.4','iqn':'iqn.2001-01.a:b','lun':1,'iscsiInterface':'default'}},{'nam"
	    "e':'h','rbd':{'monitors':['a'],'image':'i','pool':'rbd','user':'admin','keyring':'/etc/ceph/keyring'}},{'name'"
	    ":'j','scaleIO':{'gateway':'g','system':'s','volumeName':'v','secretRef':{'name':'s'},'storageMode':'ThinProvis"
	    "ioned','fsType':'xfs'}}]}}" } },
	{ { "core_v1 EphemeralContainerCommon imagePullPolicy", "core_v1 EphemeralContainerCommon terminationMessagePath",
	    "core_v1 EphemeralContainerCommon terminationMessagePolicy" },
	  { "v1 Pod", "{'spec':{'ephemeralContainers':[{'name':'e','image':'x'}]}}",
	    NULL, "{'spec':{'containers':[{'name':'a','image':'x'}]},'status':{'qosClass':'BestEffort'}}", "ephemeralcontainers",
	    "{'spec':{'ephemeralContainers':[{'name':'e','image':'x','terminationMessagePath':'/dev/termination-log','termi"
	    "nationMessagePolicy':'File','imagePullPolicy':'Always'}]}}" } },
	{ { "core_v1 PodStatus podIPs" },
	  { "v1 Pod", "{'status':{'podIP':'10.0.0.1'}}",
	    NULL, "{'spec':{'containers':[{'name':'a','image':'x'}]},'status':{'qosClass':'BestEffort'}}", "status",
	    "{'status':{'podIP':'10.0.0.1','podIPs':[{'ip':'10.0.0.1'}]}}" } },
};

/* What others own: whole packages, or types. A row of a type that is not listed needs a claim. */
static const char *const others[] = {
	"resource_v1alpha3 ", "resource_v1beta1 ", "resource_v1beta2 ", "authentication_v1 ", "authorization_v1 ",
	"core_v1 ImageVolumeSource ", "core_v1 PodLogOptions ", /* features that 1.33 has switched off */
	"core_v1 LimitRange metadata.name", /* the server's: random */
};

static void test_claims(void **state)
{
	failed_rows = 0;
	for (size_t i = 0; i < ARRAY_LEN(claims); i++)
		run_row(&claims[i].row);
	if (failed_rows)
		fail_msg("%u of %zu rows failed", failed_rows, ARRAY_LEN(claims));
}

static bool claimed[ARRAY_LEN(claims)][MAX_NAMES];

static bool is_claimed(struct span name)
{
	bool found = false;
	for (size_t i = 0; i < ARRAY_LEN(claims); i++)
		for (size_t k = 0; k < MAX_NAMES && claims[i].names[k]; k++)
			if (span_is(name, claims[i].names[k]))
				found = claimed[i][k] = true;
	return found;
}

static bool is_of_others(struct span name)
{
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (span_starts(name, span_of(others[i])))
			return true;
	return false;
}

/* One file's tables: "defaults TYPE", then indented rows "field | condition | value | stage | ..." */
static unsigned read_tables(struct span package, struct span text)
{
	static const char stages[] = "|defaults|declared|conversion|strategy|";
	struct span line, type = SPAN_EMPTY, part[4];
	unsigned orphans = 0;
	while (span_cut(&text, '\n', &line)) {
		if (!line.len || line.ptr[0] != '\t') {
			type = span_starts(line, SPAN("defaults ")) ? span_from(line, 9) : SPAN_EMPTY;
			continue;
		}
		unsigned n = 0;
		while (type.len && n < 4 && span_cut(&line, '|', &part[n]))
			n++;
		if (n < 4)
			continue;
		auto_buf struct buf name = {}, stage = {};
		buf_printf(&stage, "|%.*s|", SPAN_ARG(span_trim(part[3])));
		if (!span_has(span_of(stages), buf_span(&stage)))
			continue;
		buf_printf(&name, "%.*s %.*s %.*s", SPAN_ARG(package), SPAN_ARG(type), SPAN_ARG(span_trim(part[0])));
		if (is_claimed(buf_span(&name)) || is_of_others(buf_span(&name)))
			continue;
		print_error("no test of: %s |%.*s\n", buf_cstr(&name), SPAN_ARG(part[1]));
		orphans++;
	}
	return orphans;
}

#define SCHEMA "src/api/schema"
static void test_coverage(void **state)
{
	unsigned files = 0, orphans = 0;
	DIR *dir = opendir(SCHEMA);
	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir));) {
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf path = {}, text = {};
		struct span name = span_of(e->d_name);
		if (!span_ends(name, SPAN(".api")))
			continue;
		buf_printf(&path, "%s/%s", SCHEMA, e->d_name);
		if (io_read_file(AT_FDCWD, buf_cstr(&path), &text, 1 << 20, &err) < 0)
			fail_msg("%s", err_msg(&err));
		orphans += read_tables(span_sub(name, 0, name.len - 4), buf_span(&text));
		files++;
	}
	closedir(dir);
	for (size_t i = 0; i < ARRAY_LEN(claims); i++)
		for (size_t k = 0; k < MAX_NAMES && claims[i].names[k]; k++)
			if (!claimed[i][k]) {
				print_error("no such row: %s\n", claims[i].names[k]);
				orphans++;
			}
	assert_true(files > 20);
	assert_int_equal(orphans, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_claims), cmocka_unit_test(test_coverage) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
