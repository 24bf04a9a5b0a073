/* NodeRestriction: what kubelets may and may not. */
#include "admission/admission_test.h"

#define NODE(...) .user = "system:node:n1", .groups = "system:nodes system:authenticated", ##__VA_ARGS__
#define BAD_POD "pods \"x\" is forbidden: node \"n1\" "
#define OWNER(more) "'ownerReferences':[{'apiVersion':'v1','kind':'Node','name':'n1','uid':'u1'" more "}]"
#define CTRL ",'controller':true"
#define MIRROR(owner, spec) \
	"{'metadata':{'annotations':{'kubernetes.io/config.mirror':'h'}," owner "},'spec':{'nodeName':'n1'" spec "}}"

static void test_pods(void **state)
{
	test_cluster = "{'nodes//n1':{'metadata':{'name':'n1','uid':'u1'}},"
		       "'pods/ns/x':{'metadata':{'name':'x','uid':'p1'},'spec':{'nodeName':'n1','volumes':[{'projected':{'sources':["
		       "{'serviceAccountToken':{'audience':'vault'}}]}},{'csi':{'driver':'d'}}]}},"
		       "'pods/ns/other':{'metadata':{'name':'other','uid':'p2'},'spec':{'nodeName':'n2'}},"
		       "'csidrivers.storage.k8s.io//d':{'spec':{'tokenRequests':[{'audience':'drive'}]}}}";
	static const struct row rows[] = {
		{ "v1 Pod", "{}", .user = "jane" },
		{ "v1 Pod", "{}", .user = "system:node:n1" }, /* not in the group */
		{ "v1 Pod", "{}", "pods \"x\" is forbidden: pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only "
		  "create mirror pods", NODE() },
		{ "v1 Pod", MIRROR(OWNER(CTRL), ""), NODE() },
		{ "v1 Pod", MIRROR("'x':1", ""), BAD_POD "can only create pods with an owner reference set to itself", NODE() },
		{ "v1 Pod", MIRROR(OWNER(""), ""), BAD_POD "can only create pods with a controller owner reference set to itself", NODE() },
		{ "v1 Pod", MIRROR(OWNER(CTRL ",'blockOwnerDeletion':true"), ""), BAD_POD "must not set blockOwnerDeletion on an owner reference",
		  NODE() },
		{ "v1 Pod", MIRROR(OWNER(CTRL), ",'serviceAccountName':'a'"), BAD_POD "can not create pods that reference a service account",
		  NODE() },
		{ "v1 Pod", MIRROR(OWNER(CTRL), ",'volumes':[{'secret':{'secretName':'s'}}]"), BAD_POD "can not create pods that reference secrets",
		  NODE() },
		{ "v1 Pod", MIRROR(OWNER(CTRL), ",'containers':[{'envFrom':[{'configMapRef':{'name':'c'}}]}]"),
		  BAD_POD "can not create pods that reference configmaps", NODE() },
		{ "v1 Pod", MIRROR(OWNER(CTRL), ",'volumes':[{'persistentVolumeClaim':{'claimName':'c'}}]"),
		  BAD_POD "can not create pods that reference persistentvolumeclaims", NODE() },
		{ "v1 Pod", "{}", "pods \"x\" is forbidden: unexpected operation \"UPDATE\", node \"n1\" can only create and delete mirror pods",
		  .old = "{}", NODE() },
		{ "v1 Pod", .op = ADMISSION_DELETE, NODE() },
		{ "v1 Pod", .want = "pods \"other\" is forbidden: node \"n1\" can only delete pods with spec.nodeName set to itself",
		  .op = ADMISSION_DELETE, .name = "other", NODE() },
		{ "v1 Pod", .want = "pods \"gone\" not found", .op = ADMISSION_DELETE, .name = "gone", NODE() },
		{ "v1 Pod", "{}", .old = "{'spec':{'nodeName':'n1'}}", .sub = "status", NODE() },
		{ "v1 Pod", "{}", BAD_POD "can only update pod status for pods with spec.nodeName set to itself", .old = "{'spec':{'nodeName':'n2'}}",
		  .sub = "status", NODE() },
		{ "v1 Pod", "{'metadata':{'labels':{'a':'b'}}}", BAD_POD "cannot update labels through pod status",
		  .old = "{'spec':{'nodeName':'n1'}}", .sub = "status", NODE() },
		{ "v1 Pod", "{}", .sub = "eviction", NODE() },
		{ "v1 Pod", "{}", "pods \"other\" is forbidden: node n1 can only evict pods with spec.nodeName set to itself", .sub = "eviction",
		  .name = "other", NODE() },
		{ "v1 Pod", "{}", "pods \"x\" is forbidden: unexpected pod subresource \"binding\", only 'status' and 'eviction' are allowed",
		  .sub = "binding", NODE() },
	};
	RUN_ROWS("NodeRestriction", rows);
#define TOKEN(name, uid, auds) "{'spec':{'boundObjectRef':{'apiVersion':'v1','kind':'Pod','name':'" name "','uid':'" uid "'}," \
	"'audiences':[" auds "]}}"
#define BAD_TOKEN "serviceaccounts \"a\" is forbidden: "
	static const struct row tokens[] = {
		{ "v1 ServiceAccount", TOKEN("x", "p1", "'vault'"), .sub = "token", .name = "a", NODE() },
		{ "v1 ServiceAccount", TOKEN("x", "p1", "'drive'"), .sub = "token", .name = "a", NODE() },
		{ "v1 ServiceAccount", "{'spec':{}}", BAD_TOKEN "node requested token not bound to a pod", .sub = "token", .name = "a", NODE() },
		{ "v1 ServiceAccount", TOKEN("x", "", ""), BAD_TOKEN "node requested token with a pod binding without a uid", .sub = "token",
		  .name = "a", NODE() },
		{ "v1 ServiceAccount", TOKEN("other", "p2", "'vault'"), BAD_TOKEN "node requested token bound to a pod scheduled on a different node",
		  .sub = "token", .name = "a", NODE() },
		{ "v1 ServiceAccount", TOKEN("x", "p9", "'vault'"), BAD_TOKEN "the UID in the bound object reference (p9) does not match the UID in "
		  "record. The object might have been deleted and then recreated", .sub = "token", .name = "a", NODE() },
		{ "v1 ServiceAccount", TOKEN("x", "p1", "'a','b'"), BAD_TOKEN "node may only request 0 or 1 audiences", .sub = "token", .name = "a",
		  NODE() },
		{ "v1 ServiceAccount", TOKEN("x", "p1", "'moon'"), BAD_TOKEN "audience \"moon\" not found in pod spec volume, system:node:n1 is not "
		  "authorized to request tokens for this audience", .sub = "token", .name = "a", NODE() },
	};
	test_denied = "request-serviceaccounts-token-audience moon./ a";
	RUN_ROWS("NodeRestriction", tokens);
	test_denied = "";
}

static void test_nodes(void **state)
{
#define LABELS(...) "{'metadata':{'name':'n1','labels':{" __VA_ARGS__ "}}}"
	static const struct row rows[] = {
		{ "v1 Node", LABELS("'kubernetes.io/os':'linux','a':'b','kubelet.kubernetes.io/x':'y'"), .name = "", NODE() },
		{ "v1 Node", "{'metadata':{'name':'n2'}}", "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\"", .name = "",
		  NODE() },
		{ "v1 Node", LABELS("'x.node-restriction.kubernetes.io/y':'','foo.k8s.io/z':''"),
		  "nodes \"n1\" is forbidden: node \"n1\" is not allowed to set the following labels: foo.k8s.io/z, "
		  "x.node-restriction.kubernetes.io/y", .name = "", NODE() },
		{ "v1 Node", LABELS("'kubernetes.io/os':'bsd'"), .old = LABELS("'kubernetes.io/os':'linux'"), .name = "n1", NODE() },
		{ "v1 Node", LABELS(), "nodes \"n1\" is forbidden: is not allowed to modify labels: foo.kubernetes.io/z",
		  .old = LABELS("'foo.kubernetes.io/z':''"), .name = "n1", NODE() },
		{ "v1 Node", "{'spec':{}}", "nodes \"n1\" is forbidden: node \"n1\" is not allowed to modify taints",
		  .old = "{'spec':{'taints':[{'key':'a','effect':'NoSchedule'}]}}", .name = "n1", NODE() },
		{ "v1 Node", "{}", "nodes \"n1\" is forbidden: node \"n1\" is not allowed to modify ownerReferences",
		  .old = "{'metadata':{'ownerReferences':[{'uid':'u'}]}}", .name = "n1", NODE() },
		{ "v1 Node", .op = ADMISSION_DELETE, .name = "n1", NODE() },
	};
	RUN_ROWS("NodeRestriction", rows);
#define ONLY_NAME "can only access node lease with the same name as the requesting node"
	static const struct row others[] = {
		{ "coordination.k8s.io/v1 Lease", "{'metadata':{'name':'n1'}}", .ns = "kube-node-lease", .name = "", NODE() },
		{ "coordination.k8s.io/v1 Lease", "{'metadata':{'name':'n2'}}", "leases.coordination.k8s.io \"n2\" is forbidden: " ONLY_NAME,
		  .ns = "kube-node-lease", .name = "", NODE() },
		{ "coordination.k8s.io/v1 Lease", "{}", "leases.coordination.k8s.io \"n1\" is forbidden: can only access leases in the "
		  "\"kube-node-lease\" system namespace", .old = "{}", .name = "n1", NODE() },
		{ "storage.k8s.io/v1 CSINode", "{}", "csinodes.storage.k8s.io \"n2\" is forbidden: can only access CSINode with the same name as the "
		  "requesting node", .old = "{}", .name = "n2", NODE() },
		{ "v1 PersistentVolumeClaim", "{}", "persistentvolumeclaims \"x\" is forbidden: may only update PVC status", .old = "{}", NODE() },
		{ "v1 PersistentVolumeClaim", "{'status':{'capacity':{'storage':'2Gi'}}}", .old = "{'status':{'capacity':{'storage':'1Gi'}}}",
		  .sub = "status", NODE() },
		{ "v1 PersistentVolumeClaim", "{'metadata':{'labels':{'a':'b'}}}", "persistentvolumeclaims \"x\" is forbidden: node \"n1\" is not "
		  "allowed to update fields other than status.capacity and status.conditions", .old = "{}", .sub = "status", NODE() },
	};
	RUN_ROWS("NodeRestriction", others);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_pods), cmocka_unit_test(test_nodes) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
