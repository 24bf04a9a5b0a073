/* Tests of Node, LimitRange, ResourceQuota, Event, PersistentVolumeClaim, PersistentVolume and storage.k8s.io. */
#include "strategy/strategy_test.h"

#define Q(value, scale, text) "resource.Quantity{i:resource.int64Amount{value:" value ", scale:" scale \
	"}, d:resource.infDecAmount{Dec:(*inf.Dec)(nil)}, s:\"" text "\", Format:\"DecimalSI\"}"

static const struct row node_rows[] = {
	{ "v1 Node", "{'spec':{'podCIDR':'10.1.0.0/24'},'status':{'capacity':{'cpu':'1500u','pods':'110'}}}", NULL, NULL, NULL,
	  "{'spec':{'podCIDRs':['10.1.0.0/24']},'status':{'capacity':{'cpu':'2m','pods':'110'},'allocatable':{'cpu':'2m','pods':'110'}}}" },
	{ "v1 Node", "{'spec':{'podCIDRs':['10.1.0.0/24']}}", NULL, NULL, NULL, "{'spec':{'podCIDR':'10.1.0.0/24'}}" },
	{ "v1 Node", "{'spec':{'podCIDRs':['10.1.0.0/24','10.2.0.0/24']}}",
	  "spec.podCIDRs: Invalid value: []string{\"10.1.0.0/24\", \"10.2.0.0/24\"}: may specify no more than one CIDR for each IP family" },
	{ "v1 Node", "{'status':{'capacity':{'pods':'-1'}}}",
	  "[status.capacity.pods: Invalid value: \"-1\": must be greater than or equal to 0, status.allocatable.pods: Invalid value: \"-1\": "
	  "must be greater than or equal to 0]" },
	{ "v1 Node", "{'status':{'allocatable':{'a.b/c':'1500m'}}}",
	  "status.allocatable.a.b/c: Invalid value: " Q("1500", "-3", "1500m") ": must be an integer" },
	{ "v1 Node", "{'spec':{'taints':[{'key':'a','effect':'NoSchedule'},{'key':'a','effect':'NoSchedule','value':'-'},{'key':'b','effect':'X'},"
	  "{'key':'c','effect':''}]}}",
	  "[metadata.taints[1].value: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "
	  "or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
	  "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?'), metadata.taints[1]: Duplicate value: core.Taint{Key:\"a\", "
	  "Value:\"-\", Effect:\"NoSchedule\", TimeAdded:(*v1.Time)(nil)}: taints must be unique by key and effect pair, metadata.taints[2].effect: "
	  "Unsupported value: \"X\": "
	  "supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\", metadata.taints[3].effect: Required value]" },
	{ "v1 Node", "{'spec':{'podCIDR':'10.2.0.0/24','providerID':'b'}}",
	  "[spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid, spec.providerID: Forbidden: node updates "
	  "may not change providerID except from \"\" to valid]", "{'spec':{'podCIDR':'10.1.0.0/24','providerID':'a'}}" },
	{ "v1 Node", "{'spec':{'unschedulable':true},'status':{'nodeInfo':{'machineID':'a','systemUUID':'','bootID':'','kernelVersion':'',"
	  "'osImage':'','containerRuntimeVersion':'','kubeletVersion':'','kubeProxyVersion':'','operatingSystem':'','architecture':''}}}", NULL,
	  "{'spec':{},'status':{'phase':'Running'}}", NULL, "{'spec':{'unschedulable':true},'status':{'phase':'Running','nodeInfo':null}}" },
	{ "v1 Node", "{'spec':{'unschedulable':true},'status':{'phase':'Running','addresses':[{'type':'Hostname','address':'a'},"
	  "{'type':'Hostname','address':'a'}]}}", "status.addresses[1]: Duplicate value: core.NodeAddress{Type:\"Hostname\", Address:\"a\"}",
	  "{'spec':{}}", "status", "{'spec':{'unschedulable':null},'status':{'phase':'Running'}}" },
	{ "v1 Node", "{'spec':{'externalID':'a','configSource':{}}}", NULL, NULL, NULL, NULL,
	  "spec.configSource: the feature is removed | spec.externalID: this field is deprecated, and is unused by Kubernetes" },
};

static void test_node(void **state)
{
	RUN_ROWS(node_rows);
}

static const struct row limit_rows[] = {
	{ "v1 LimitRange", "{'spec':{'limits':[{'type':'Container','max':{'cpu':'2','memory':'1Gi'},'min':{'cpu':'1'}}]}}", NULL, NULL, NULL,
	  "{'spec':{'limits':[{'type':'Container','max':{'cpu':'2','memory':'1Gi'},'min':{'cpu':'1'},'default':{'cpu':'2','memory':'1Gi'},"
	  "'defaultRequest':{'cpu':'2','memory':'1Gi'}}]}}" },
	{ "v1 LimitRange", "{'spec':{'limits':[{'type':'Container','min':{'cpu':'1'}}]}}", NULL, NULL, NULL,
	  "{'spec':{'limits':[{'type':'Container','min':{'cpu':'1'},'default':{},'defaultRequest':{'cpu':'1'}}]}}" },
	{ "v1 LimitRange", "{'spec':{'limits':[{'type':'Pod','max':{'cpu':'1'},'min':{'cpu':'2'}},{'type':'Pod','default':{'cpu':'1'}}]}}",
	  "[spec.limits[0].min[cpu]: Invalid value: " Q("2", "0", "2") ": min value 2 is greater than max value 1, spec.limits[1].type: "
	  "Duplicate value: \"Pod\", spec.limits[1].default: Forbidden: may not be specified when `type` is 'Pod']" },
	{ "v1 LimitRange", "{'spec':{'limits':[{'type':'X'},{'type':'PersistentVolumeClaim'}]}}",
	  "[spec.limits[0].type: Invalid value: \"X\": must be a standard limit type or fully qualified, spec.limits[1].limits: Required value: "
	  "either minimum or maximum storage value is required, but neither was provided]" },
	{ "v1 LimitRange", "{'spec':{'limits':[{'type':'Pod','max':{'pods':'1'}}]}}",
	  "spec.limits[0].max[pods]: Invalid value: \"pods\": must be a standard resource for containers" },
	{ "v1 LimitRange", "{'spec':{'limits':[{'type':'Pod','max':{'cpu':'4'},'min':{'cpu':'2'},'maxLimitRequestRatio':{'cpu':'3'}}]}}",
	  "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: " Q("3", "0", "3") ": ratio 3 is greater than max/min = 2.000000" },
	{ "v1 LimitRange", "{'spec':{'limits':[{'type':'Container','default':{'a.b/c':'2'},'defaultRequest':{'a.b/c':'1'}}]}}",
	  "spec.limits[0].defaultRequest[a.b/c]: Invalid value: " Q("1", "0", "1") ": default value 2 must equal to defaultRequest value 1 in "
	  "a.b/c" },
	{ "v1 ResourceQuota", "{'spec':{'hard':{'pods':'10','requests.cpu':'1500u'}},'status':{'hard':{'pods':'1'}}}", NULL, NULL, NULL,
	  "{'spec':{'hard':{'pods':'10','requests.cpu':'2m'}},'status':null}" },
	{ "v1 ResourceQuota", "{'spec':{'hard':{'storage':'1','x':'1','pods':'1500m'}}}",
	  "[spec.hard[storage]: Invalid value: \"storage\": must be a standard resource for quota, spec.hard[x]: Invalid value: \"x\": must be a "
	  "standard resource type or fully qualified, spec.hard[x]: Invalid value: \"x\": must be a standard resource for quota, "
	  "spec.hard[pods]: Invalid value: " Q("1500", "-3", "1500m") ": must be an integer]" },
	{ "v1 ResourceQuota", "{'spec':{'hard':{'services':'1'},'scopes':['BestEffort','NotBestEffort']}}",
	  "[spec.scopes: Invalid value: []core.ResourceQuotaScope{\"BestEffort\", \"NotBestEffort\"}: unsupported scope applied to resource, "
	  "spec.scopes: Invalid value: []core.ResourceQuotaScope{\"BestEffort\", \"NotBestEffort\"}: conflicting scopes]" },
	{ "v1 ResourceQuota", "{'spec':{'scopeSelector':{'matchExpressions':[{'scopeName':'PriorityClass','operator':'In'},{'scopeName':"
	  "'Terminating','operator':'In','values':['a']},{'scopeName':'X','operator':'Y'}]}}}",
	  "[spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope "
	  "selector, spec.scopeSelector.matchExpressions.operator: Invalid value: \"In\": must be 'Exists' when scope is any of "
	  "ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
	  "ResourceQuotaScopeCrossNamespacePodAffinity, spec.scopeSelector.matchExpressions.scopeName: Invalid value: \"X\": unsupported scope, "
	  "spec.scopeSelector.matchExpressions.operator: Invalid value: \"Y\": not a valid selector operator]" },
	{ "v1 ResourceQuota", "{'spec':{'scopes':['BestEffort']}}",
	  "spec.scopes: Invalid value: []core.ResourceQuotaScope{\"BestEffort\"}: field is immutable", "{'spec':{}}" },
	{ "v1 ResourceQuota", "{'spec':{'hard':{'pods':'1'}},'status':{'used':{'pods':'-1'}}}",
	  "status.used[pods]: Invalid value: \"-1\": must be greater than or equal to 0", "{'spec':{'hard':{'pods':'2'}}}", "status",
	  "{'spec':{'hard':{'pods':'2'}}}" },
};

static void test_limits(void **state)
{
	RUN_ROWS(limit_rows);
}

#define NEW "events.k8s.io/v1 Event"
#define TIME "'eventTime':'2026-01-01T00:00:00.000000Z'"
#define GOOD TIME ",'reportingController':'a.b/c','reportingInstance':'i','action':'do','reason':'why','type':'Normal','regarding':" \
	"{'namespace':'ns'}"
static const struct row event_rows[] = {
	{ "v1 Event", "{'involvedObject':{'namespace':'ns'},'metadata':{}}" },
	{ "v1 Event", "{'involvedObject':{},'metadata':{}}", "involvedObject.namespace: Invalid value: \"\": does not match event.namespace" },
	{ "v1 Event", "{'involvedObject':{'namespace':'other'},'metadata':{}}",
	  "involvedObject.namespace: Invalid value: \"other\": does not match event.namespace" },
	{ "v1 Event", "{'involvedObject':{'namespace':'ns'},'metadata':{}," TIME "}",
	  "[reportingController: Required value, reportingController: Invalid value: \"\": name part must be non-empty, reportingController: "
	  "Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
	  "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'), "
	  "reportingInstance: Required value, action: Required value, reason: Required value]" },
	{ NEW, "{" GOOD "}" },
	{ NEW, "{" GOOD ",'deprecatedCount':1,'deprecatedSource':{'host':'h'},'series':{'count':1,'lastObservedTime':"
	  "'2026-01-01T00:00:00.000000Z'}}", "[series.count: Invalid value: \"\": should be at least 2, count: Invalid value: \"\": needs to be "
	  "unset, source: Invalid value: \"\": needs to be unset]" },
	{ NEW, "{'regarding':{'namespace':'ns'},'type':'X'}",
	  "[eventTime: Required value, type: Invalid value: \"\": has invalid value: X]" },
	{ NEW, "{" GOOD ",'note':'b'}", "message: Invalid value: \"b\": field is immutable", "{" GOOD ",'note':'a'}" },
};

static void test_events(void **state)
{
	RUN_ROWS(event_rows);
}

#define PVC "v1 PersistentVolumeClaim"
#define CLAIM(more) "{'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}" more "}}"
static const struct row claim_rows[] = {
	{ PVC, CLAIM(",'volumeAttributesClassName':'a'"), NULL, NULL, NULL,
	  "{'spec':{'volumeMode':'Filesystem','volumeAttributesClassName':null},'status':{'phase':'Pending'}}", "" },
	{ PVC, "{'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'0.1m'}}}}", NULL, NULL, NULL,
	  "{'spec':{'resources':{'requests':{'storage':'1m'}}}}",
	  "spec.resources.requests[storage]: fractional byte value \"1m\" is invalid, must be an integer" },
	{ PVC, "{'spec':{}}", "[spec.accessModes: Required value: at least 1 access mode is required, spec.resources[storage]: Required value]" },
	{ PVC, "{'spec':{'accessModes':['X','ReadWriteOncePod','ReadWriteOnce'],'resources':{'requests':{'storage':'0'}},'volumeMode':'Y'}}",
	  "[spec.accessModes: Unsupported value: \"X\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", "
	  "\"ReadWriteOncePod\", spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes, spec.resources[storage]: "
	  "Invalid value: \"0\": must be greater than zero, spec.volumeMode: Unsupported value: \"Y\": supported values: \"Block\", "
	  "\"Filesystem\"]" },
	{ PVC, CLAIM(",'dataSource':{'kind':'PersistentVolumeClaim','name':'a'}"), NULL, NULL, NULL,
	  "{'spec':{'dataSourceRef':{'kind':'PersistentVolumeClaim','name':'a'}}}" },
	{ PVC, CLAIM(",'dataSourceRef':{'apiGroup':'a.b','kind':'C','name':'a'}"), NULL, NULL, NULL,
	  "{'spec':{'dataSource':{'apiGroup':'a.b','kind':'C','name':'a'}}}" },
	{ PVC, CLAIM(",'dataSource':{'kind':'Pod','name':'a'}"), NULL, NULL, NULL, "{'spec':{'dataSource':null}}" },
	{ PVC, CLAIM(",'dataSourceRef':{'kind':'Pod','name':''}"),
	  "[spec.dataSource.name: Required value, spec.dataSource: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when referencing the "
	  "default apiGroup, spec.dataSourceRef.name: Required value, spec.dataSourceRef: Invalid value: \"Pod\": must be "
	  "'PersistentVolumeClaim' when referencing the default apiGroup]" },
	{ PVC, CLAIM(",'storageClassName':'b'"), "spec: Forbidden: spec is immutable after creation except resources.requests and "
	  "volumeAttributesClassName for bound claims\n- storageClassName: \"a\"\n+ storageClassName: \"b\"\n", CLAIM(",'storageClassName':'a'") },
	{ PVC, CLAIM(",'volumeName':'v','storageClassName':'a'"), NULL, CLAIM("") },
	{ PVC, "{'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'2Gi'}}}}", NULL,
	  "{'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}},'status':{'phase':'Bound'}}" },
	{ PVC, "{'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}",
	  "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity",
	  "{'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'2Gi'}}},'status':{'phase':'Bound','capacity':{'storage':"
	  "'1Gi'}}}" },
	{ PVC, "{'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'2Gi'}}}}",
	  "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"
	  "- resources.requests.storage: \"1Gi\"\n+ resources.requests.storage: \"2Gi\"\n", CLAIM("") },
	{ PVC, "{'spec':{'accessModes':['ReadWriteMany']},'status':{'phase':'Bound','capacity':{'storage':'-1'},'allocatedResources':{'cpu':'1'},"
	  "'allocatedResourceStatuses':{'storage':'X'}}}",
	  "[status.capacity[storage]: Invalid value: -1: must be a valid resource quantity, status.allocatedResourceStatus: Unsupported value: "
	  "\"storage\": supported values: \"ControllerResizeInProgress\", \"ControllerResizeInfeasible\", \"NodeResizeInProgress\", "
	  "\"NodeResizeInfeasible\", \"NodeResizePending\", status.allocatedResources: Unsupported value: \"cpu\": supported values: "
	  "\"storage\"]", CLAIM(""), "status", "{'spec':{'accessModes':['ReadWriteOnce']},'status':{'phase':'Bound'}}" },
	{ PVC, "{'metadata':{'annotations':{'volume.beta.kubernetes.io/storage-class':'a'}},'spec':{'accessModes':['ReadWriteOnce'],'resources':"
	  "{'requests':{'storage':'1'}}}}", NULL, NULL, NULL, NULL, "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated "
	  "since v1.8; use \"storageClassName\" attribute instead" },
};

static void test_claims(void **state)
{
	RUN_ROWS(claim_rows);
}

#define PV "v1 PersistentVolume"
#define VOL(source) "{'spec':{'capacity':{'storage':'1Gi'},'accessModes':['ReadWriteOnce']," source "}}"
static const struct row volume_rows[] = {
	{ PV, VOL("'hostPath':{'path':'/a'}"), NULL, NULL, NULL,
	  "{'spec':{'persistentVolumeReclaimPolicy':'Retain','volumeMode':'Filesystem','hostPath':{'path':'/a','type':''}},"
	  "'status':{'phase':'Pending','lastPhaseTransitionTime':'2026-01-02T03:04:05Z'}}", "" },
	{ PV, "{'spec':{}}", "[spec.accessModes: Required value, spec.capacity: Required value, spec.capacity: Unsupported value: "
	  "core.ResourceList(nil): supported values: \"storage\", spec: Required value: must specify a volume type]" },
	{ PV, VOL("'hostPath':{'path':'/../a','type':'X'},'nfs':{'server':'a','path':'/'}"),
	  "[spec.hostPath.path: Invalid value: \"/../a\": must not contain '..', spec.hostPath.type: Unsupported value: \"X\": supported values: "
	  "\"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\", spec.nfs: "
	  "Forbidden: may not specify more than 1 volume type]" },
	{ PV, VOL("'nfs':{'server':'','path':'a'}"),
	  "[spec.nfs.server: Required value, spec.nfs.path: Invalid value: \"a\": must be an absolute path]" },
	{ PV, VOL("'local':{'path':'/a'}"), "spec.nodeAffinity: Required value: Local volume requires node affinity" },
	{ PV, VOL("'local':{'path':'/a'},'nodeAffinity':{'required':{'nodeSelectorTerms':[{'matchExpressions':[{'key':'a','operator':'In'},{'key':"
	  "'b','operator':'Gt','values':['1','2']}],'matchFields':[{'key':'x','operator':'Exists'}]}]}}"),
	  "[spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is "
	  "'In' or 'NotIn', spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[1].values: Required value: must be specified single "
	  "value when `operator` is 'Lt' or 'Gt', spec.nodeAffinity.required.nodeSelectorTerms[0].matchFields[0].operator: Invalid value: "
	  "\"Exists\": not a valid selector operator, spec.nodeAffinity.required.nodeSelectorTerms[0].matchFields[0].key: Invalid value: \"x\": "
	  "not a valid field selector key]" },
	{ PV, VOL("'csi':{'driver':'A.b','volumeHandle':'','nodePublishSecretRef':{'name':'a'}}"),
	  "[spec.csi.volumeHandle: Required value, spec.csi.nodePublishSecretRef.namespace: Required value]" },
	{ PV, VOL("'iscsi':{'targetPortal':'1.2.3.4','iqn':'iqn.2020-01.example:a','lun':300}"),
	  "spec.iscsi.lun: Invalid value: 300: must be between 0 and 255, inclusive", NULL, NULL, "{'spec':{'iscsi':{'iscsiInterface':'default'}}}" },
	{ PV, VOL("'iscsi':{'targetPortal':'1.2.3.4','iqn':'iqn.x','lun':0,'initiatorName':'x'}"),
	  "[spec.iscsi.iqn: Invalid value: \"iqn.x\": must be valid format, spec.iscsi.initiatorname: Invalid value: \"x\": must be valid "
	  "format]" },
	{ PV, VOL("'rbd':{'monitors':[],'image':''}"), "[spec.rbd.monitors: Required value, spec.rbd.image: Required value]", NULL, NULL,
	  "{'spec':{'rbd':{'pool':'rbd','user':'admin','keyring':'/etc/ceph/keyring'}}}" },
	{ PV, VOL("'azureDisk':{'diskName':'a','diskURI':'b'}"), "spec.azureDisk.diskURI: Unsupported value: \"b\": supported values: "
	  "\"https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd\"", NULL, NULL,
	  "{'spec':{'azureDisk':{'cachingMode':'ReadWrite','kind':'Shared','fsType':'ext4','readOnly':false}}}" },
	{ PV, VOL("'scaleIO':{'gateway':'a','system':'b','secretRef':{},'volumeName':'c'}"), NULL, NULL, NULL,
	  "{'spec':{'scaleIO':{'storageMode':'ThinProvisioned','fsType':'xfs'}}}", "spec.scaleIO: deprecated in v1.16, non-functional in v1.22+" },
	{ PV, VOL("'hostPath':{'path':'/a/..'},'persistentVolumeReclaimPolicy':'Recycle'"),
	  "[spec.hostPath.path: Invalid value: \"/a/..\": must not contain '..', spec.persistentVolumeReclaimPolicy: Forbidden: may not be "
	  "'recycle' for a hostPath mount of '/']" },
	{ PV, VOL("'hostPath':{'path':'/b'}"), "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n"
	  "- hostPath.path: \"/a\"\n+ hostPath.path: \"/b\"\n", VOL("'hostPath':{'path':'/a'}") },
	{ PV, VOL("'hostPath':{'path':'/a'},'volumeMode':'Block'"), "volumeMode: Invalid value: \"Block\": field is immutable",
	  VOL("'hostPath':{'path':'/a'}") },
	{ PV, "{'spec':{'capacity':{'storage':'1Gi'},'accessModes':['ReadWriteOnce'],'hostPath':{'path':'/a'}},'status':{'phase':'Bound'}}", NULL,
	  "{'spec':{'capacity':{'storage':'1Gi'},'accessModes':['ReadWriteOnce'],'hostPath':{'path':'/a'}},'status':{'phase':'Available',"
	  "'lastPhaseTransitionTime':'2020-01-01T00:00:00Z'}}", "status", "{'status':{'phase':'Bound','lastPhaseTransitionTime':"
	  "'2026-01-02T03:04:05Z'}}" },
	{ PV, VOL("'hostPath':{'path':'/a'},'persistentVolumeReclaimPolicy':'Recycle'"), NULL, NULL, NULL, NULL,
	  "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic "
	  "provisioning." },
};

static void test_volumes(void **state)
{
	RUN_ROWS(volume_rows);
}

#define ST "storage.k8s.io/v1 "
static const struct row storage_rows[] = {
	{ ST "StorageClass", "{'provisioner':'a.b/C'}", NULL, NULL, NULL, "{'reclaimPolicy':'Delete','volumeBindingMode':'Immediate'}" },
	{ ST "StorageClass", "{'provisioner':'','reclaimPolicy':'Recycle','volumeBindingMode':'X','parameters':{'':'a'}}",
	  "[provisioner: Required value, parameters: Invalid value: \"\": field can not be empty., reclaimPolicy: Unsupported value: "
	  "\"Recycle\": supported values: \"Delete\", \"Retain\", volumeBindingMode: Unsupported value: \"X\": supported values: \"Immediate\", "
	  "\"WaitForFirstConsumer\"]" },
	{ ST "StorageClass", "{'provisioner':'a','allowedTopologies':[{'matchLabelExpressions':[{'key':'a','values':['1','1']}]}]}",
	  "allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"1\"" },
	{ ST "StorageClass", "{'provisioner':'b','reclaimPolicy':'Retain','volumeBindingMode':'WaitForFirstConsumer','parameters':{'a':'b'}}",
	  "[parameters: Forbidden: updates to parameters are forbidden., provisioner: Forbidden: updates to provisioner are forbidden., "
	  "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden., volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field "
	  "is immutable]", "{'provisioner':'a'}" },
	{ ST "CSIDriver", "{'spec':{}}", NULL, NULL, NULL,
	  "{'spec':{'attachRequired':true,'podInfoOnMount':false,'storageCapacity':false,'fsGroupPolicy':'ReadWriteOnceWithFSType',"
	  "'requiresRepublish':false,'seLinuxMount':false,'volumeLifecycleModes':['Persistent']}}" },
	{ ST "CSIDriver", "{'spec':{'fsGroupPolicy':'X','volumeLifecycleModes':['Y'],'tokenRequests':[{'audience':'a'},{'audience':'a'},{'audience':"
	  "'b','expirationSeconds':1}]}}", "[spec.fsGroupPolicy: Unsupported value: \"X\": supported values: \"File\", \"None\", "
	  "\"ReadWriteOnceWithFSType\", spec.tokenRequests[1].audience: Duplicate value: \"a\", spec.tokenRequests[2].expirationSeconds: Invalid "
	  "value: 1: may not specify a duration less than 10 minutes, spec.volumeLifecycleModes: Unsupported value: \"Y\": supported values: "
	  "\"Persistent\", \"Ephemeral\"]" },
	{ ST "CSIDriver", "{'spec':{'attachRequired':false}}", "spec.attachedRequired: Invalid value: false: field is immutable", "{'spec':{}}" },
	{ ST "CSINode", "{'spec':{'drivers':[{'name':'a','nodeID':''},{'name':'a','nodeID':'b','topologyKeys':['c','c']}]}}",
	  "[spec.drivers[0].nodeID: Required value, spec.drivers[1].name: Duplicate value: \"a\", spec.drivers[1]: Duplicate value: \"c\"]" },
	{ ST "CSINode", "{'spec':{'drivers':[{'name':'a','nodeID':'c','topologyKeys':[]}]}}",
	  "CSINodeDriver: Invalid value: storage.CSINodeDriver{Name:\"a\", NodeID:\"c\", TopologyKeys:[]string{}, Allocatable:"
	  "(*storage.VolumeNodeResources)(nil)}: field is immutable", "{'spec':{'drivers':[{'name':'a','nodeID':'b','topologyKeys':[]}]}}" },
	{ ST "CSIStorageCapacity", "{'storageClassName':'A','capacity':'-1'}", "[storageClassName: Invalid value: \"A\": a lowercase RFC 1123 "
	  "subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
	  "(e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'), capacity: "
	  "Invalid value: \"-1\": must be greater than or equal to 0]" },
	{ ST "CSIStorageCapacity", "{'storageClassName':'b'}", "storageClassName: Invalid value: \"b\": field is immutable",
	  "{'storageClassName':'a'}" },
	{ ST "VolumeAttachment", "{'spec':{'attacher':'a','nodeName':'n','source':{'persistentVolumeName':'p'}},'status':{'attached':true}}", NULL, NULL,
	  NULL, "{'status':null}" },
	{ ST "VolumeAttachment", "{'spec':{'attacher':'','nodeName':'n','source':{}}}",
	  "[spec.attacher: Required value, spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName, "
	  "spec.attacher: Invalid value: \"\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
	  "must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
	  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')]" },
};

static void test_storage(void **state)
{
	RUN_ROWS(storage_rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_node),   cmocka_unit_test(test_limits),  cmocka_unit_test(test_events),
		cmocka_unit_test(test_claims), cmocka_unit_test(test_volumes), cmocka_unit_test(test_storage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
