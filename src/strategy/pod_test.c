/* Pods: defaults, what is cleared, each check's exact words, warnings. */
#include "strategy/strategy_test.h"

#include "strategy/pod.h"

#define C0 "'name':'a','image':'x'"
#define POD(spec) "{'spec':{'containers':[{" C0 "}]," spec "}}"
#define CTR(more) "{'spec':{'containers':[{" C0 "," more "}]}}"
#define VOL(source) "{'spec':{'containers':[{" C0 "}],'volumes':[{'name':'v'," source "}]}}"
#define MOUNT(volumes, more) "{'spec':{'volumes':[" volumes "],'containers':[{" C0 "," more "}]}}"
#define P "v1 Pod"
#define LABEL_RULE "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an " \
	"alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
#define SUBDOMAIN_RULE "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and " \
	"must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is " \
	"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"

/* ---- defaults: in, out */
static const struct row default_rows[] = {
	{ P, POD("'nodeName':'n'"), NULL, NULL, NULL,
	  "{'metadata':{'generation':1},'spec':{'restartPolicy':'Always','dnsPolicy':'ClusterFirst','terminationGracePeriodSeconds':30,"
	  "'securityContext':{},'schedulerName':'default-scheduler','enableServiceLinks':true},"
	  "'status':{'phase':'Pending','qosClass':'BestEffort'}}" },
	{ P, "{'spec':{'containers':[{'name':'a','image':'busybox'},{'name':'b','image':'busybox:1'},"
	     "{'name':'c','image':'a.b/c@sha256:0123456789012345678901234567890123456789012345678901234567890123'},"
	     "{'name':'d','image':'h:5000/x/y:latest'},{'name':'e','image':'Upper'},{'name':'f','image':'localhost/A'},"
	     "{'name':'g','image':'HOST/x'},{'name':'h','image':'a__b.c-d/x'},{'name':'i','image':'a___b'}]}}", NULL, NULL, NULL,
	  "{'spec':{'containers':["
#define D(n, i, p) "{'name':'" n "','image':'" i "','terminationMessagePath':'/dev/termination-log','terminationMessagePolicy':'File'," \
	"'imagePullPolicy':'" p "'}"
	  D("a", "busybox", "Always") "," D("b", "busybox:1", "IfNotPresent") ","
	  D("c", "a.b/c@sha256:0123456789012345678901234567890123456789012345678901234567890123", "IfNotPresent") ","
	  D("d", "h:5000/x/y:latest", "Always") "," D("e", "Upper", "IfNotPresent") "," D("f", "localhost/A", "IfNotPresent") ","
	  D("g", "HOST/x", "Always") "," D("h", "a__b.c-d/x", "Always") "," D("i", "a___b", "IfNotPresent") "]}}" },
	{ P, CTR("'ports':[{'containerPort':80}],'env':[{'name':'A','valueFrom':{'fieldRef':{'fieldPath':'metadata.name'}}}],"
		 "'livenessProbe':{'httpGet':{'port':80}},'readinessProbe':{'grpc':{'port':1}},"
		 "'lifecycle':{'preStop':{'httpGet':{'port':1}}},'resources':{'limits':{'cpu':'0.0001','memory':'1.5'}}"),
	  NULL, NULL, NULL,
	  "{'spec':{'containers':[{'name':'a','image':'x','ports':[{'containerPort':80,'protocol':'TCP'}],"
	  "'env':[{'name':'A','valueFrom':{'fieldRef':{'apiVersion':'v1','fieldPath':'metadata.name'}}}],"
	  "'resources':{'limits':{'cpu':'1m','memory':'1500m'},'requests':{'cpu':'1m','memory':'1500m'}},"
	  "'livenessProbe':{'httpGet':{'path':'/','port':80,'scheme':'HTTP'},'timeoutSeconds':1,'periodSeconds':10,"
	  "'successThreshold':1,'failureThreshold':3},'readinessProbe':{'grpc':{'port':1,'service':''},'timeoutSeconds':1,"
	  "'periodSeconds':10,'successThreshold':1,'failureThreshold':3},"
	  "'lifecycle':{'preStop':{'httpGet':{'path':'/','port':1,'scheme':'HTTP'}}},'terminationMessagePath':'/dev/termination-log',"
	  "'terminationMessagePolicy':'File','imagePullPolicy':'Always'}]},'status':{'qosClass':'Guaranteed'}}" },
	{ P, POD("'hostNetwork':true,'initContainers':[{'name':'i','image':'x:1','ports':[{'containerPort':81}],"
		 "'resources':{'limits':{'cpu':'2'},'requests':{'cpu':'1'}}}]"), NULL, NULL, NULL,
	  "{'spec':{'initContainers':[{'name':'i','image':'x:1','ports':[{'containerPort':81,'protocol':'TCP','hostPort':81}],"
	  "'resources':{'limits':{'cpu':'2'},'requests':{'cpu':'1'}},'terminationMessagePath':'/dev/termination-log',"
	  "'terminationMessagePolicy':'File','imagePullPolicy':'IfNotPresent'}]},'status':{'qosClass':'Burstable'}}" },
	{ P, "{'spec':{'serviceAccount':'x','containers':[{" C0 "}],'volumes':[{'name':'a'},{'name':'b','hostPath':{'path':'/'}},"
	     "{'name':'c','secret':{'secretName':'s'}},{'name':'d','configMap':{'name':'m'}},{'name':'e','downwardAPI':{'items':["
	     "{'path':'p','fieldRef':{'fieldPath':'metadata.name'}}]}},{'name':'f','projected':{'sources':["
	     "{'serviceAccountToken':{'path':'t'}}]}},{'name':'g','iscsi':{'targetPortal':'1.2.3.4','iqn':'iqn.2001-01.a:b','lun':1}},"
	     "{'name':'h','rbd':{'monitors':['a'],'image':'i'}},{'name':'i','azureDisk':{'diskName':'d','diskURI':'https://u'}},"
	     "{'name':'j','scaleIO':{'gateway':'g','system':'s','volumeName':'v','secretRef':{'name':'s'}}},"
	     "{'name':'k','ephemeral':{'volumeClaimTemplate':{'spec':{'accessModes':['ReadWriteOnce'],"
	     "'resources':{'requests':{'storage':'1Gi'}}}}}}]}}", NULL, NULL, NULL,
	  "{'spec':{'serviceAccountName':'x','volumes':[{'name':'a','emptyDir':{}},{'name':'b','hostPath':{'path':'/','type':''}},"
	  "{'name':'c','secret':{'secretName':'s','defaultMode':420}},{'name':'d','configMap':{'name':'m','defaultMode':420}},"
	  "{'name':'e','downwardAPI':{'items':[{'path':'p','fieldRef':{'apiVersion':'v1','fieldPath':'metadata.name'}}],"
	  "'defaultMode':420}},{'name':'f','projected':{'sources':[{'serviceAccountToken':{'expirationSeconds':3600,'path':'t'}}],"
	  "'defaultMode':420}},{'name':'g','iscsi':{'targetPortal':'1.2.3.4','iqn':'iqn.2001-01.a:b','lun':1,"
	  "'iscsiInterface':'default'}},{'name':'h','rbd':{'monitors':['a'],'image':'i','pool':'rbd','user':'admin',"
	  "'keyring':'/etc/ceph/keyring'}},{'name':'i','azureDisk':{'diskName':'d','diskURI':'https://u','cachingMode':'ReadWrite',"
	  "'fsType':'ext4','readOnly':false,'kind':'Shared'}},{'name':'j','scaleIO':{'gateway':'g','system':'s','volumeName':'v',"
	  "'secretRef':{'name':'s'},'storageMode':'ThinProvisioned','fsType':'xfs'}},{'name':'k','ephemeral':{'volumeClaimTemplate':"
	  "{'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}},'volumeMode':'Filesystem'}}}}]}}" },
	{ P, "{'metadata':{'annotations':{'pod.beta.kubernetes.io/init-containers':'x','a':'b'}},'spec':{'containers':[{" C0 "}],"
	     "'schedulingGates':[{'name':'a.b/c'}],'resources':{'limits':{'cpu':'1'}},'resourceClaims':[{'name':'g'}]},"
	     "'status':{'phase':'Running'}}", NULL, NULL, NULL,
	  "{'metadata':{'annotations':{'a':'b','pod.beta.kubernetes.io/init-containers':null}},'spec':{'resources':null,"
	  "'resourceClaims':null},'status':{'phase':'Pending','conditions':[{'type':'PodScheduled','status':'False',"
	  "'lastTransitionTime':'2026-01-02T03:04:05Z','reason':'SchedulingGated',"
	  "'message':'Scheduling is blocked due to non-empty scheduling gates'}]}}" },
	{ P, "{'spec':{'containers':[{" C0 "}],'initContainers':[{'name':'i','image':'x','lifecycle':{'stopSignal':'SIGTERM'}}],"
	     "'volumes':[{'name':'i','image':{'reference':'r'}}]}}", NULL, NULL, NULL, "{'spec':{'volumes':[]}}" },
	{ P, "{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{" C0 "}],'affinity':{'podAffinity':{"
	     "'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey':'z','labelSelector':{},'matchLabelKeys':['a','c']}]}}}}",
	  NULL, NULL, NULL, "{'spec':{'affinity':{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey':'z',"
	  "'labelSelector':{'matchExpressions':[{'key':'a','operator':'In','values':['b']}]},'matchLabelKeys':['a','c']}]}}}}" },
	{ P, "{'metadata':{'annotations':{'container.apparmor.security.beta.kubernetes.io/a':'localhost/p'}},'spec':{'containers':[{" C0
	     ",'imagePullPolicy':'Never'}]}}", NULL, NULL, NULL,
	  "{'spec':{'containers':[{'name':'a','image':'x','imagePullPolicy':'Never','terminationMessagePath':'/dev/termination-log',"
	  "'terminationMessagePolicy':'File','securityContext':{'appArmorProfile':{'type':'Localhost','localhostProfile':'p'}}}]}}",
	  "metadata.annotations[container.apparmor.security.beta.kubernetes.io/a]: deprecated since v1.30; use the \"appArmorProfile\" "
	  "field instead" },
};

static void test_defaults(void **state)
{
	RUN_ROWS(default_rows);
}

/* ---- containers */
static const struct row container_rows[] = {
	{ P, "{'spec':{}}", "spec.containers: Required value" },
	{ P, "{'spec':{'containers':[{}]}}", "[spec.containers[0].name: Required value, spec.containers[0].image: Required value]" },
	{ P, "{'spec':{'containers':[{'name':'A','image':' x'}]}}", "[spec.containers[0].name: Invalid value: \"A\": " LABEL_RULE
	  ", spec.containers[0].image: Invalid value: \" x\": must not have leading or trailing whitespace]" },
	{ P, "{'spec':{'containers':[{" C0 "},{" C0 "}]}}", "spec.containers[1].name: Duplicate value: \"a\"" },
	{ P, CTR("'imagePullPolicy':'Often','terminationMessagePolicy':'No'"),
	  "[spec.containers[0].terminationMessagePolicy: Unsupported value: \"No\": supported values: \"File\", \"FallbackToLogsOnError\", "
	  "spec.containers[0].imagePullPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"IfNotPresent\", \"Never\"]" },
	{ P, CTR("'restartPolicy':'Always'"),
	  "spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers" },
	{ P, CTR("'ports':[{'containerPort':0},{'containerPort':70000,'hostPort':-1,'protocol':'X'},{'name':'A','containerPort':1},"
		 "{'name':'p','containerPort':2},{'name':'p','containerPort':3}]"),
	  "[spec.containers[0].ports[0].containerPort: Required value, spec.containers[0].ports[1].containerPort: Invalid value: 70000: "
	  "must be between 1 and 65535, inclusive, spec.containers[0].ports[1].hostPort: Invalid value: -1: must be between 1 and "
	  "65535, inclusive, spec.containers[0].ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", "
	  "\"UDP\", spec.containers[0].ports[2].name: Invalid value: \"A\": must contain only alpha-numeric characters (a-z, 0-9), and "
	  "hyphens (-), spec.containers[0].ports[2].name: Invalid value: \"A\": must contain at least one letter (a-z), "
	  "spec.containers[0].ports[4].name: Duplicate value: \"p\"]" },
	{ P, CTR("'ports':[{'containerPort':1,'hostPort':8},{'containerPort':2,'hostPort':8}]"),
	  "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//8\"" },
	{ P, "{'spec':{'hostNetwork':true,'containers':[{" C0 ",'ports':[{'containerPort':1,'hostPort':8}]}]}}",
	  "spec.containers[0].ports[0].hostPort: Invalid value: 8: must match `containerPort` when `hostNetwork` is true" },
	{ P, POD("'initContainers':[{'name':'a','image':'x','restartPolicy':'Never','livenessProbe':{'exec':{'command':['x']}}}]"),
	  "[spec.initContainers[0].restartPolicy: Unsupported value: \"Never\": supported values: \"Always\", "
	  "spec.initContainers[0].name: Duplicate value: \"a\", spec.initContainers[0].livenessProbe: Forbidden: may not be set for init "
	  "containers without restartPolicy=Always]" },
	{ P, POD("'initContainers':[{'name':'i','image':'x','restartPolicy':'Always','startupProbe':{'tcpSocket':{'port':1}}}]") },
	{ P, POD("'ephemeralContainers':[{'name':'e','image':'x'}]"), "spec.ephemeralContainers: Forbidden: cannot be set on create" },
	{ P, CTR("'resizePolicy':[{'resourceName':'disk','restartPolicy':'NotRequired'}]"),
	  "spec.containers[0].resizePolicy: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\"" },
	/* environment */
	{ P, CTR("'env':[{'name':''},{'name':'a=b'}]"), "[spec.containers[0].env[0].name: Required value, "
	  "spec.containers[0].env[1].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable "
	  "ASCII characters other than '=']" },
	{ P, CTR("'env':[{'name':'A','value':'b','valueFrom':{'fieldRef':{'fieldPath':'spec.x'}}},{'name':'B','valueFrom':{}},"
		 "{'name':'C','valueFrom':{'fieldRef':{'fieldPath':'metadata.labels'}}},"
		 "{'name':'D','valueFrom':{'fieldRef':{'fieldPath':'spec.nodeName'},'secretKeyRef':{'name':'s','key':'a b'}}}]"),
	  "[spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label "
	  "not supported: spec.x, spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not "
	  "empty, spec.containers[0].env[1].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, "
	  "`configMapKeyRef` or `secretKeyRef`, spec.containers[0].env[2].valueFrom.fieldRef.fieldPath: Unsupported value: "
	  "\"metadata.labels\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", "
	  "\"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\", "
	  "spec.containers[0].env[3].valueFrom.secretKeyRef.key: Invalid value: \"a b\": a valid config key must consist of alphanumeric "
	  "characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
	  "'[-._a-zA-Z0-9]+'), spec.containers[0].env[3].valueFrom: Invalid value: \"\": may not have more than one field specified at "
	  "a time]" },
	{ P, CTR("'env':[{'name':'A','valueFrom':{'resourceFieldRef':{'resource':'limits.gpu'}}},"
		 "{'name':'B','valueFrom':{'resourceFieldRef':{'resource':'limits.cpu','divisor':'1Ki'}}}]"),
	  "[spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.gpu\": supported values: "
	  "\"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", "
	  "\"requests.memory\", spec.containers[0].env[1].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only "
	  "divisor's values 1m and 1 are supported with the cpu resource]" },
	{ P, CTR("'envFrom':[{},{'configMapRef':{'name':'a'},'secretRef':{'name':''}}]"),
	  "[spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`, "
	  "spec.containers[0].envFrom[1].secretRef.name: Required value, spec.containers[0].envFrom: Invalid value: \"\": may not have "
	  "more than one field specified at a time]" },
	/* probes */
	{ P, CTR("'livenessProbe':{'successThreshold':2},'readinessProbe':{'exec':{},'tcpSocket':{'port':'B?'},'periodSeconds':-1,"
		 "'terminationGracePeriodSeconds':5}"),
	  "[spec.containers[0].livenessProbe: Required value: must specify a handler type, spec.containers[0].livenessProbe."
	  "successThreshold: Invalid value: 2: must be 1, spec.containers[0].readinessProbe.exec.command: Required value, "
	  "spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type, "
	  "spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0, "
	  "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes]" },
	{ P, CTR("'lifecycle':{'preStop':{'sleep':{'seconds':31}}},'startupProbe':{'httpGet':{'port':0,'scheme':'FTP'}}"),
	  "[spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than "
	  "terminationGracePeriodSeconds (30), spec.containers[0].startupProbe.httpGet.port: Invalid value: 0: must be between 1 and "
	  "65535, inclusive, spec.containers[0].startupProbe.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", "
	  "\"HTTPS\"]" },
	/* resources */
	{ P, CTR("'resources':{'limits':{'cpu':'1'},'requests':{'cpu':'2','memory':'-1'}}"),
	  "[spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1, "
	  "spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0]" },
	{ P, CTR("'resources':{'limits':{'disk':'1','hugepages-2Mi':'3Mi'}}"),
	  "[spec.containers[0].resources.limits[disk]: Invalid value: \"disk\": must be a standard resource type or fully qualified, "
	  "spec.containers[0].resources.limits[disk]: Invalid value: \"disk\": must be a standard resource for containers, "
	  "spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of "
	  "hugepages-2Mi, spec.containers[0].resources.requests[disk]: Invalid value: \"disk\": must be a standard resource type or fully "
	  "qualified, spec.containers[0].resources.requests[disk]: Invalid value: \"disk\": must be a standard resource for containers, "
	  "spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of "
	  "hugepages-2Mi, spec.containers[0].resources: Forbidden: HugePages require cpu or memory]" },
	{ P, CTR("'resources':{'requests':{'a.b/gpu':'1'}}"),
	  "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources" },
};

static void test_containers(void **state)
{
	RUN_ROWS(container_rows);
}

/* ---- volumes and mounts */
static const struct row volume_rows[] = {
	{ P, VOL("'emptyDir':{'sizeLimit':'-1'}"),
	  "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity" },
	{ P, VOL("'emptyDir':{},'hostPath':{'path':'/a'}"), "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type" },
	{ P, VOL("'hostPath':{'path':'/a/../b','type':'Fifo'}"),
	  "[spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..', spec.volumes[0].hostPath.type: Unsupported "
	  "value: \"Fifo\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", "
	  "\"FileOrCreate\", \"Socket\"]" },
	{ P, "{'spec':{'containers':[{" C0 "}],'volumes':[{'emptyDir':{}},{'name':'v','emptyDir':{}},{'name':'v','emptyDir':{}}]}}",
	  "[spec.volumes[0].name: Required value, spec.volumes[2].name: Duplicate value: \"v\"]" },
	{ P, VOL("'secret':{'defaultMode':512,'items':[{'key':'','path':'../x'},{'key':'k','path':'..x','mode':-1}]}"),
	  "[spec.volumes[0].secret.secretName: Required value, spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number "
	  "between 0 and 0777 (octal), both inclusive, spec.volumes[0].secret.items[0].key: Required value, "
	  "spec.volumes[0].secret.items[0].path: Invalid value: \"../x\": must not contain '..', spec.volumes[0].secret.items[1].path: "
	  "Invalid value: \"..x\": must not start with '..', spec.volumes[0].secret.items[1].mode: Invalid value: -1: must be a number "
	  "between 0 and 0777 (octal), both inclusive]" },
	{ P, VOL("'configMap':{}"), "spec.volumes[0].configMap.name: Required value" },
	{ P, VOL("'persistentVolumeClaim':{'claimName':''}"), "spec.volumes[0].persistentVolumeClaim.claimName: Required value" },
	{ P, VOL("'nfs':{'server':'s','path':'p'}"), "spec.volumes[0].nfs.path: Invalid value: \"p\": must be an absolute path" },
	{ P, VOL("'gitRepo':{'repository':'','directory':'/x'}"), "[spec.volumes[0].gitRepo.repository: Required value, "
	  "spec.volumes[0].gitRepo.directory: Invalid value: \"/x\": must be a relative path]" },
	{ P, VOL("'csi':{'driver':''}"), "[spec.volumes[0].csi.driver: Required value, spec.volumes[0].csi.driver: Invalid value: \"\": "
	  SUBDOMAIN_RULE "]" },
	{ P, VOL("'downwardAPI':{'items':[{'path':'/p'},{'path':'q','resourceFieldRef':{'resource':'limits.cpu'}}]}"),
	  "[spec.volumes[0].downwardAPI.path: Invalid value: \"/p\": must be a relative path, spec.volumes[0].downwardAPI: Required value: "
	  "one of fieldRef and resourceFieldRef is required, spec.volumes[0].downwardAPI.resourceFieldRef.containerName: Required value]" },
	{ P, "{'spec':{'serviceAccountName':'s','containers':[{" C0 "}],'volumes':[{'name':'v','projected':{'sources':["
	     "{'serviceAccountToken':{'path':'','expirationSeconds':5}},{'secret':{'name':'s','items':[{'key':'k','path':'p'}]}},"
	     "{'configMap':{'name':'m','items':[{'key':'k','path':'p'}]},'downwardAPI':{}}]}}]}}",
	  "[spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less "
	  "than 10 minutes, spec.volumes[0].projected.path: Required value, spec.volumes[0].projected: Invalid value: \"m\": conflicting "
	  "duplicate paths, spec.volumes[0].projected.sources[2]: Forbidden: may not specify more than 1 volume type per source]" },
	{ P, VOL("'projected':{'sources':[{'serviceAccountToken':{'path':'t'}}]}"),
	  "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set" },
	{ P, VOL("'ephemeral':{}"), "spec.volumes[0].ephemeral.volumeClaimTemplate: Required value" },
	{ P, "{'metadata':{'name':'p'},'spec':{'containers':[{" C0 "}],'volumes':[{'name':'e','ephemeral':{'volumeClaimTemplate':{"
	     "'metadata':{'name':'n'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1'}}}}}},"
	     "{'name':'c','persistentVolumeClaim':{'claimName':'p-e'}}]}}",
	  "[spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set, spec.volumes[1].persistentVolumeClaim."
	  "claimName: Invalid value: \"p-e\": must not reference a PVC that gets created for an ephemeral volume]" },
	{ P, MOUNT("{'name':'v','emptyDir':{}}", "'volumeMounts':[{'name':'x','mountPath':'/a'},{'name':'v','mountPath':'/a'},"
		   "{'name':'v','mountPath':'/b','subPath':'../x','subPathExpr':'y','mountPropagation':'Bidirectional'},"
		   "{'name':'v','mountPath':'/c','recursiveReadOnly':'Enabled'}]"),
	  "[spec.containers[0].volumeMounts[0].name: Not found: \"x\", spec.containers[0].volumeMounts[1].mountPath: Invalid value: "
	  "\"/a\": must be unique, spec.containers[0].volumeMounts.subPath: Invalid value: \"../x\": must not contain '..', "
	  "spec.containers[0].volumeMounts[2].subPathExpr: Invalid value: \"y\": subPathExpr and subPath are mutually exclusive, "
	  "spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged "
	  "containers, spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true]" },
	{ P, MOUNT("{'name':'v','emptyDir':{}},{'name':'c','persistentVolumeClaim':{'claimName':'c'}}",
		   "'volumeDevices':[{'name':'v','devicePath':'/d'},{'name':'c','devicePath':'/m'}],"
		   "'volumeMounts':[{'name':'c','mountPath':'/m'}]"),
	  "[spec.containers[0].volumeMounts[0].name: Invalid value: \"c\": must not already exist in volumeDevices, "
	  "spec.containers[0].volumeMounts[0].mountPath: Invalid value: \"/m\": must not already exist as a path in volumeDevices, "
	  "spec.containers[0].volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of PersistentVolumeClaim or "
	  "Ephemeral for block mode, spec.containers[0].volumeDevices[1].name: Invalid value: \"c\": must not already exist in "
	  "volumeMounts, spec.containers[0].volumeDevices[1].devicePath: Invalid value: \"/m\": must not already exist as a path in "
	  "volumeMounts]" },
};

static void test_volumes(void **state)
{
	RUN_ROWS(volume_rows);
}

/* ---- the rest of the spec */
static const struct row spec_rows[] = {
	{ P, POD("'restartPolicy':'Once','dnsPolicy':'Mine'"), "[spec.restartPolicy: Unsupported value: \"Once\": supported values: "
	  "\"Always\", \"OnFailure\", \"Never\", spec.dnsPolicy: Unsupported value: \"Mine\": supported values: "
	  "\"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"]" },
	{ P, POD("'dnsPolicy':'None'"), "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None" },
	{ P, POD("'dnsPolicy':'None','dnsConfig':{}"),
	  "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None" },
	{ P, POD("'dnsConfig':{'nameservers':['1.1.1.1','1.1.1.2','1.1.1.3','x'],'searches':['.','a_b.','A'],'options':[{}]}"),
	  "[spec.dnsConfig.nameservers: Invalid value: []string{\"1.1.1.1\", \"1.1.1.2\", \"1.1.1.3\", \"x\"}: must not have more than 3 "
	  "nameservers, spec.dnsConfig.nameservers[3]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or "
	  "2001:db8::ffff), spec.dnsConfig.searches[2]: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case "
	  "alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
	  "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'), spec.dnsConfig.options[0]: Required "
	  "value: must not be empty]" },
	{ P, POD("'activeDeadlineSeconds':0,'hostname':'A','serviceAccountName':'S'"),
	  "[spec.serviceAccountName: Invalid value: \"S\": " SUBDOMAIN_RULE ", spec.activeDeadlineSeconds: Invalid value: 0: must be "
	  "between 1 and 2147483647, inclusive, spec.hostname: Invalid value: \"A\": " LABEL_RULE "]" },
	{ P, POD("'nodeName':'n','schedulingGates':[{'name':'a/b'},{'name':'a/b'}]"),
	  "[spec.schedulingGates[1]: Duplicate value: \"a/b\", spec.nodeName: Forbidden: cannot be set until all schedulingGates have been "
	  "cleared]" },
	{ P, POD("'hostUsers':false,'hostPID':true"), "spec.HostPID: Forbidden: when `pod.Spec.HostUsers` is false" },
	{ P, POD("'hostAliases':[{'ip':'1','hostnames':['A']}],'preemptionPolicy':'Sometimes','overhead':{'x':'1'}"),
	  "[spec.hostAliases[0].ip: Invalid value: \"1\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff), "
	  "spec.hostAliases[0].hostnames[0]: Invalid value: \"A\": " SUBDOMAIN_RULE ", spec.preemptionPolicy: Unsupported value: "
	  "\"Sometimes\": supported values: \"PreemptLowerPriority\", \"Never\", spec.overhead.limits[x]: Invalid value: \"x\": must be a "
	  "standard resource type or fully qualified, spec.overhead.limits[x]: Invalid value: \"x\": must be a standard resource for "
	  "containers]" },
	/* security */
	{ P, POD("'shareProcessNamespace':true,'hostPID':true,'securityContext':{'runAsUser':-1,'supplementalGroups':[-2],"
		 "'fsGroupChangePolicy':'No','seccompProfile':{'type':'Localhost'},'seLinuxChangePolicy':'MountOption',"
		 "'sysctls':[{'name':'a..b','value':''},{'name':'net.x','value':''}]},'hostNetwork':true"),
	  "[spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive, "
	  "spec.securityContext.supplementalGroups[0]: Invalid value: -2: must be between 0 and 2147483647, inclusive, "
	  "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled, "
	  "spec.securityContext.sysctls[0].name: Invalid value: \"a..b\": must have at most 253 characters and match regex "
	  "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$, spec.securityContext.sysctls[1].name: Invalid value: "
	  "\"net.x\": may not be specified when 'hostNetwork' is true, spec.securityContext.fsGroupChangePolicy: Unsupported value: "
	  "\"No\": supported values: \"Always\", \"OnRootMismatch\", spec.securityContext.seccompProfile.localhostProfile: Required value: "
	  "must be set when seccomp type is Localhost, spec.securityContext.seLinuxChangePolicy: Unsupported value: \"MountOption\": "
	  "supported values: \"Recursive\"]" },
	{ P, CTR("'securityContext':{'procMount':'Unmasked','appArmorProfile':{'type':'Localhost','localhostProfile':' '},"
		 "'windowsOptions':{'runAsUserName':'a/b'}}"),
	  "[spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`, "
	  "spec.containers[0].securityContext.windowsOptions.runAsUserName: Invalid value: \"a/b\": runAsUserName's User cannot contain "
	  "the following characters: \"/\\:;|=,+*?<>@[], spec.containers[0].securityContext.appArmorProfile.localhostProfile: Invalid "
	  "value: \" \": must not be padded with whitespace]" },
	{ P, CTR("'securityContext':{'privileged':true,'allowPrivilegeEscalation':false}"),
	  "spec.containers[0].securityContext: Invalid value: {\"privileged\":true,\"allowPrivilegeEscalation\":false}: cannot set "
	  "`allowPrivilegeEscalation` to false and `privileged` to true" },
	{ P, "{'spec':{'os':{'name':'windows'},'hostIPC':true,'securityContext':{'fsGroup':1},'containers':[{" C0
	     ",'securityContext':{'runAsUser':1}}]}}",
	  "[spec.hostIPC: Forbidden: cannot be set for a windows pod, spec.securityContext.fsGroup: Forbidden: cannot be set for a windows "
	  "pod, spec.containers[0].securityContext.runAsUser: Forbidden: cannot be set for a windows pod]" },
	{ P, POD("'os':{'name':'plan9'}"), "spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\"" },
	{ P, CTR("'securityContext':{'windowsOptions':{'hostProcess':true}}"),
	  "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers" },
	{ P, "{'metadata':{'annotations':{'seccomp.security.alpha.kubernetes.io/pod':'x','controller.kubernetes.io/pod-deletion-cost':'07',"
	     "'kubernetes.io/config.mirror':'m','container.apparmor.security.beta.kubernetes.io/z':'y'}},'spec':{'containers':[{" C0 "}]}}",
	  "[metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"m\": must set spec.nodeName if mirror pod annotation is "
	  "set, metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"07\": must be a 32bit integer, "
	  "metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: \"x\": must be a valid seccomp profile, "
	  "metadata.annotations[container.apparmor.security.beta.kubernetes.io/z]: Invalid value: \"z\": container not found, "
	  "metadata.annotations[container.apparmor.security.beta.kubernetes.io/z]: Invalid value: \"y\": invalid AppArmor profile name: "
	  "\"y\"]" },
	/* affinity */
	{ P, POD("'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[]},"
		 "'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':0,'preference':{'matchExpressions':[{'key':'a',"
		 "'operator':'Is'}]}}]}}"),
	  "[spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at "
	  "least one node selector term, spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid "
	  "value: 0: must be in the range 1-100, spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference."
	  "matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator]" },
	{ P, POD("'affinity':{'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey':'z',"
		 "'namespaces':['N'],'matchLabelKeys':['a']}]}}"),
	  "[spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].namespace: Invalid value: \"N\": " LABEL_RULE
	  ", spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys: Forbidden: must not be "
	  "specified when labelSelector is not set]" },
	{ P, POD("'tolerations':[{'operator':'Equal','effect':'X','tolerationSeconds':1},{'key':'a','operator':'Exists','value':'b'}]"),
	  "[spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all "
	  "values and all keys\", spec.tolerations[0].effect: Invalid value: \"X\": effect must be 'NoExecute' when `tolerationSeconds` is "
	  "set, spec.tolerations[0].effect: Unsupported value: \"X\": supported values: \"NoSchedule\", \"PreferNoSchedule\", "
	  "\"NoExecute\", spec.tolerations[1].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists']" },
	{ P, POD("'topologySpreadConstraints':[{'maxSkew':0,'topologyKey':'','whenUnsatisfiable':'X','minDomains':0},"
		 "{'maxSkew':1,'topologyKey':'z','whenUnsatisfiable':'DoNotSchedule','matchLabelKeys':['a'],'labelSelector':{"
		 "'matchLabels':{'a':'b'}}},{'maxSkew':1,'topologyKey':'z','whenUnsatisfiable':'DoNotSchedule','labelSelector':{}}]"),
	  "[spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero, spec.topologySpreadConstraints[0]."
	  "topologyKey: Required value: can not be empty, spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"X\": "
	  "supported values: \"DoNotSchedule\", \"ScheduleAnyway\", spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must "
	  "be greater than zero, spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: can only use minDomains if "
	  "whenUnsatisfiable=DoNotSchedule, not X, spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}: Duplicate value: "
	  "\"{z, DoNotSchedule}\", spec.topologySpreadConstraints[1].matchLabelKeys[0]: Invalid value: \"a\": exists in both "
	  "matchLabelKeys and labelSelector]" },
};

static void test_spec(void **state)
{
	RUN_ROWS(spec_rows);
}

static const struct row warning_rows[] = {
	{ P, "{'metadata':{'name':'a.b'},'spec':{'containers':[{" C0 "}]}}", NULL, NULL, NULL, NULL,
	  "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must "
	  "not contain dots]" },
	{ P, POD("'nodeSelector':{'beta.kubernetes.io/os':'linux'},'terminationGracePeriodSeconds':-1,'imagePullSecrets':[{},{}],"
		 "'hostAliases':[{'ip':'1.1.1.1'},{'ip':'1.1.1.1'}]"), NULL, NULL, NULL, NULL,
	  "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead | spec.hostAliases[1].ip: "
	  "duplicate ip \"1.1.1.1\" | spec.imagePullSecrets[1].name: duplicate name \"\" | spec.imagePullSecrets[0].name: invalid empty "
	  "name \"\" | spec.imagePullSecrets[1].name: invalid empty name \"\" | spec.terminationGracePeriodSeconds: must be >= 0; negative "
	  "values are invalid and will be treated as 1" },
	{ P, CTR("'env':[{'name':'A','value':'1'},{'name':'A','value':'2'},{'name':'A','value':'$(A)3'}],'ports':[{'containerPort':1},"
		 "{'containerPort':1},{'containerPort':2,'hostIP':'1.1.1.1'}],'resources':{'requests':{'memory':'1500m'}}"),
	  NULL, NULL, NULL, NULL,
	  "spec.containers[0].resources.requests[memory]: fractional byte value \"1500m\" is invalid, must be an integer | "
	  "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply | "
	  "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0] | spec.containers[0].ports[2]: hostIP "
	  "set without hostPort: {Name: HostPort:0 ContainerPort:2 Protocol:TCP HostIP:1.1.1.1}" },
	{ P, VOL("'gitRepo':{'repository':'r'}"), NULL, NULL, NULL, NULL,
	  "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+" },
	{ P, VOL("'configMap':{'name':'m','items':[{'key':'a','path':'p'},{'key':'b','path':'p/q'}]}"), NULL, NULL, NULL, NULL,
	  "volume \"v\" (ConfigMap \"m\"): overlapping paths: \"p/q\" with \"p\"" },
};

static void test_warnings(void **state)
{
	RUN_ROWS(warning_rows);
}

/* ---- properties */
static void expect_idempotent(const char *type, const struct api_resource *r, const char *file)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf text = {}, once = {}, twice = {};
	struct json v;
	if (io_read_file(AT_FDCWD, file, &text, 16 << 20, &err) < 0)
		fail_msg("%s: %s", file, err_msg(&err));
	if (api_decode_json(&a, r->type, buf_span(&text), NULL, &v, &err) < 0)
		fail_msg("%s: %s", file, err_msg(&err));
	strategy_default(&a, r, &v);
	json_write(&once, &v, JSON_SORTED);
	strategy_default(&a, r, &v);
	json_write(&twice, &v, JSON_SORTED);
	if (!span_eq(buf_span(&once), buf_span(&twice)))
		fail_msg("%s: a second defaulting changes it\n%s\n%s", type, buf_cstr(&once), buf_cstr(&twice));
}

static void test_idempotent(void **state)
{
	expect_idempotent("Pod", resource_of(P), "tests/fixtures/roundtrip/core.v1.Pod.json");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_containers), cmocka_unit_test(test_volumes),
		cmocka_unit_test(test_spec), cmocka_unit_test(test_warnings), cmocka_unit_test(test_idempotent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
