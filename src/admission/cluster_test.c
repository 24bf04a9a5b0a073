/* Nodes, storage, ingresses, certificate requests, owners. */
#include "admission/admission_test.h"

static void test_node_taint(void **state)
{
	static const struct row rows[] = {
		{ "v1 Node", "{}", .stored = "{'spec':{'taints':[{'key':'node.kubernetes.io/not-ready','effect':'NoSchedule'}]}}" },
		{ "v1 Node", "{'spec':{'taints':[{'key':'node.kubernetes.io/not-ready','effect':'NoExecute'}]}}",
		  .stored = "{'spec':{'taints':[{'key':'node.kubernetes.io/not-ready','effect':'NoExecute'},{'key':'node.kubernetes.io/not-ready',"
			    "'effect':'NoSchedule'}]}}" },
		{ "v1 Node", "{'spec':{'taints':[{'key':'node.kubernetes.io/not-ready','effect':'NoSchedule'}]}}",
		  .stored = "{'spec':{'taints':[{'key':'node.kubernetes.io/not-ready','effect':'NoSchedule'}]}}" },
		{ "v1 Node", "{}", .old = "{}", .stored = "{}" },
		{ "v1 Pod", "{}", .stored = "{}" },
	};
	RUN_ROWS("TaintNodesByCondition", rows);
}

#define CLASS(name, time, annotation) "'metadata':{'name':'" name "','creationTimestamp':'" time "','annotations':{'" annotation "':'true'}}"
static void test_storage(void **state)
{
#define DEFAULT_SC "storageclass.kubernetes.io/is-default-class"
	test_cluster = "{'storageclasses.storage.k8s.io//a':{" CLASS("a", "2026-01-01T00:00:00Z", DEFAULT_SC) "},"
		       "'storageclasses.storage.k8s.io//b':{" CLASS("b", "2026-01-02T00:00:00Z", "storageclass.beta.kubernetes.io/is-default-class") "},"
		       "'storageclasses.storage.k8s.io//c':{" CLASS("c", "2026-01-02T00:00:00Z", DEFAULT_SC) "},"
		       "'storageclasses.storage.k8s.io//d':{" CLASS("d", "2026-01-03T00:00:00Z", "other") ",'allowVolumeExpansion':true}}";
	static const struct row defaults[] = {
		{ "v1 PersistentVolumeClaim", "{}", .stored = "{'spec':{'storageClassName':'b'}}" },
		{ "v1 PersistentVolumeClaim", "{'spec':{'storageClassName':''}}", .stored = "{'spec':{'storageClassName':''}}" },
		{ "v1 PersistentVolumeClaim", "{'metadata':{'annotations':{'volume.beta.kubernetes.io/storage-class':'z'}}}",
		  .stored = "{'metadata':{'annotations':{'volume.beta.kubernetes.io/storage-class':'z'}}}" },
		{ "v1 PersistentVolumeClaim", "{}", .old = "{}", .stored = "{}" },
	};
	RUN_ROWS("DefaultStorageClass", defaults);
	static const struct row finalizers[] = {
		{ "v1 PersistentVolumeClaim", "{}", .stored = "{'metadata':{'finalizers':['kubernetes.io/pvc-protection']}}" },
		{ "v1 PersistentVolume", "{'metadata':{'finalizers':['x']}}",
		  .stored = "{'metadata':{'finalizers':['x','kubernetes.io/pv-protection']}}" },
		{ "v1 PersistentVolume", "{'metadata':{'finalizers':['kubernetes.io/pv-protection']}}",
		  .stored = "{'metadata':{'finalizers':['kubernetes.io/pv-protection']}}" },
		{ "v1 Pod", "{}", .stored = "{}" },
	};
	RUN_ROWS("StorageObjectInUseProtection", finalizers);
#define SIZED(class, size, phase) \
	"{'spec':{'storageClassName':'" class "','resources':{'requests':{'storage':'" size "'}}},'status':{'phase':'" phase "'}}"
#define BAD_RESIZE "persistentvolumeclaims \"x\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that " \
		   "provisions the pvc must support resize"
	static const struct row resize[] = {
		{ "v1 PersistentVolumeClaim", SIZED("d", "2Gi", "Bound"), .old = SIZED("d", "1Gi", "Bound") },
		{ "v1 PersistentVolumeClaim", SIZED("a", "1024Mi", "Bound"), .old = SIZED("a", "1Gi", "Bound") },
		{ "v1 PersistentVolumeClaim", SIZED("a", "2Gi", "Bound"), BAD_RESIZE, .old = SIZED("a", "1Gi", "Bound") },
		{ "v1 PersistentVolumeClaim", SIZED("d", "2Gi", "Bound"), BAD_RESIZE, .old = SIZED("", "1Gi", "Bound") },
		{ "v1 PersistentVolumeClaim", SIZED("none", "2Gi", "Bound"), BAD_RESIZE, .old = SIZED("none", "1Gi", "Bound") },
		{ "v1 PersistentVolumeClaim", SIZED("d", "2Gi", "Bound"),
		  "persistentvolumeclaims \"x\" is forbidden: Only bound persistent volume claims can be expanded", .old = SIZED("d", "1Gi", "Pending") },
		{ "v1 PersistentVolumeClaim", SIZED("a", "2Gi", "Bound"), .old = SIZED("a", "1Gi", "Bound"), .sub = "status" },
	};
	RUN_ROWS("PersistentVolumeClaimResize", resize);
}

static void test_ingress(void **state)
{
#define DEFAULT_IC "ingressclass.kubernetes.io/is-default-class"
	test_cluster = "{'ingressclasses.networking.k8s.io//old':{" CLASS("old", "2026-01-01T00:00:00Z", DEFAULT_IC) "},"
		       "'ingressclasses.networking.k8s.io//new':{" CLASS("new", "2026-01-02T00:00:00Z", DEFAULT_IC) "}}";
	static const struct row rows[] = {
		{ "networking.k8s.io/v1 Ingress", "{'spec':{}}", .stored = "{'spec':{'ingressClassName':'new'}}" },
		{ "networking.k8s.io/v1 Ingress", "{'spec':{'ingressClassName':'x'}}", .stored = "{'spec':{'ingressClassName':'x'}}" },
		{ "networking.k8s.io/v1 Ingress", "{'metadata':{'annotations':{'kubernetes.io/ingress.class':'x'}}}",
		  .stored = "{'metadata':{'annotations':{'kubernetes.io/ingress.class':'x'}}}" },
		{ "networking.k8s.io/v1 Ingress", "{}", .old = "{}", .stored = "{}" },
	};
	RUN_ROWS("DefaultIngressClass", rows);
}

static void test_certificates(void **state)
{
#define CSR "certificates.k8s.io/v1 CertificateSigningRequest"
#define SIGNER(status) "{'spec':{'signerName':'ex.com/a'},'status':{" status "}}"
	static const struct row approve[] = {
		{ CSR, SIGNER(""), "certificatesigningrequests.certificates.k8s.io \"x\" is forbidden: user not permitted to approve requests with "
				   "signerName \"ex.com/a\"", .old = SIGNER(""), .sub = "approval" },
		{ CSR, "{'spec':{'signerName':'ex.com/a'}}", .old = "{'spec':{'signerName':'ex.com/b'}}", .sub = "approval" },
		{ CSR, SIGNER(""), .old = SIGNER(""), .sub = "status" },
		{ CSR, SIGNER(""), .old = SIGNER("") },
	};
	test_denied = "approve signers.certificates.k8s.io/ ex.com/a; approve signers.certificates.k8s.io/ ex.com/*; x";
	/* b is not listed by name: allowed */
	RUN_ROWS("CertificateApproval", approve);
	static const struct row wide[] = { { CSR, SIGNER(""), .old = SIGNER(""), .sub = "approval" } };
	test_denied = "approve signers.certificates.k8s.io/ ex.com/a";
	RUN_ROWS("CertificateApproval", wide);
	static const struct row sign[] = {
		{ CSR, SIGNER("'certificate':'YQ=='"), "certificatesigningrequests.certificates.k8s.io \"x\" is forbidden: user not permitted to sign "
						       "requests with signerName \"ex.com/a\"", .old = SIGNER(""), .sub = "status" },
		{ CSR, SIGNER("'conditions':[{'type':'Failed'}]"), "certificatesigningrequests.certificates.k8s.io \"x\" is forbidden: user not "
		  "permitted to sign requests with signerName \"ex.com/a\"", .old = SIGNER(""), .sub = "status" },
		{ CSR, SIGNER("'certificate':'YQ=='"), .old = SIGNER("'certificate':'YQ==','conditions':[]"), .sub = "status" },
		{ CSR, SIGNER("'certificate':'YQ=='"), .old = SIGNER(""), .sub = "approval" },
	};
	test_denied = "sign signers.certificates.k8s.io/ ex.com/a; sign signers.certificates.k8s.io/ ex.com/*";
	RUN_ROWS("CertificateSigning", sign);
	test_denied = "";
}

static void test_owners(void **state)
{
#define OWNED(kind, block) "{'metadata':{'ownerReferences':[{'apiVersion':'apps/v1','kind':'" kind "','name':'o','uid':'u'," \
			   "'blockOwnerDeletion':" block "}]}}"
	static const struct row rows[] = {
		{ "v1 Pod", OWNED("ReplicaSet", "false"), "pods \"x\" is forbidden: cannot set an ownerRef on a resource you can't delete: , <nil>",
		  .old = "{}" },
		{ "v1 Pod", OWNED("ReplicaSet", "false") },
		{ "v1 Pod", OWNED("ReplicaSet", "false"), .old = OWNED("ReplicaSet", "false") },
		{ "v1 Pod", OWNED("ReplicaSet", "false"), .old = "{}", .sub = "status" },
		{ "v1 Pod", OWNED("ReplicaSet", "true"),
		  "pods \"x\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , "
		  "<nil>" },
		{ "v1 Pod", OWNED("Deployment", "true") },
		{ "v1 Pod", OWNED("Foo", "true"),
		  "pods \"x\" is forbidden: cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion apps/v1 Kind "
		  "Foo: no matches for kind \"Foo\" in version \"apps/v1\"" },
		{ "v1 ConfigMap", OWNED("ReplicaSet", "true"), .old = "{'metadata':{'ownerReferences':[{'uid':'u','blockOwnerDeletion':true}]}}" },
	};
	test_denied = "delete pods./ x; update replicasets.apps/finalizers o";
	RUN_ROWS("OwnerReferencesPermissionEnforcement", rows);
	test_denied = "";
}

/* O = system:masters and O = devs, both CN = x. */
#define CSR_MASTERS \
	"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIZ01JR0hBZ0VBTUNVeEZ6QVZCZ05WQkFvTURuTjVjM1JsYlRwdFlYTjBaWE" \
	"p6TVFvd0NBWURWUVFEREFGNApNRmt3RXdZSEtvWkl6ajBDQVFZSUtvWkl6ajBEQVFjRFFnQUVPYTVUUUNFMjl3SG5DRGxIY3JUNEg2OWQzckE5" \
	"CldKZVZ6VEpVL3lFM1NaT3B2TEV3QW40LzBGMlBET2lYOWRJKzV3U3ZkYm5haGZWZjF5M0xBRmhGdktBQU1Bb0cKQ0NxR1NNNDlCQU1DQTBnQU" \
	"1FVUNJRnpkL0cwZEJsODJMZ1p2UmZNT3pSNGNGTzVBWXhxc1dlaUpQSmp6Y3gzUApBaUVBbVgybFMxdVNhSVlkYkVobnJhVm9ZTTlmdGlsRjky" \
	"REVIYTNIcVl5MC84RT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg=="
#define CSR_DEVS \
	"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIV01IMENBUUF3R3pFTk1Bc0dBMVVFQ2d3RVpHVjJjekVLTUFnR0ExVUVBd3" \
	"dCZURCWk1CTUdCeXFHU000OQpBZ0VHQ0NxR1NNNDlBd0VIQTBJQUJEbXVVMEFoTnZjQjV3ZzVSM0swK0IrdlhkNndQVmlYbGMweVZQOGhOMG1U" \
	"CnFieXhNQUorUDlCZGp3em9sL1hTUHVjRXIzVzUyb1gxWDljdHl3QllSYnlnQURBS0JnZ3Foa2pPUFFRREFnTkoKQURCR0FpRUF4NU9ySFAyUG" \
	"l4dm9SMXdVRGQ3WStubVBiRGx1TGtWL242QysyQnhNcTl3Q0lRRHVVRGgwcWRtZApKbVU1b3cwQmFxdk43ZEIxK3N5MkM2emlmRlRRK09IWlFB" \
	"PT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg=="
#define CLIENT_SIGNER "kubernetes.io/kube-apiserver-client"
static void test_subject(void **state)
{
#define ASKS(signer, csr) "{'spec':{'signerName':'" signer "','request':'" csr "'}}"
	static const struct row rows[] = {
		{ "certificates.k8s.io/v1 CertificateSigningRequest", ASKS(CLIENT_SIGNER, CSR_DEVS) },
		{ "certificates.k8s.io/v1 CertificateSigningRequest", ASKS("example.com/x", CSR_MASTERS) },
		{ "certificates.k8s.io/v1 CertificateSigningRequest", ASKS(CLIENT_SIGNER, CSR_MASTERS),
		  "certificatesigningrequests.certificates.k8s.io \"x\" is forbidden: use of kubernetes.io/kube-apiserver-client signer with "
		  "system:masters group is not allowed" },
		{ "certificates.k8s.io/v1 CertificateSigningRequest", ASKS(CLIENT_SIGNER, "eHl6"),
		  "certificatesigningrequests.certificates.k8s.io \"x\" is forbidden: failed to parse CSR: PEM block type must be CERTIFICATE "
		  "REQUEST" },
		{ "certificates.k8s.io/v1 CertificateSigningRequest", ASKS(CLIENT_SIGNER, CSR_MASTERS), .old = ASKS(CLIENT_SIGNER, CSR_DEVS) },
		{ "certificates.k8s.io/v1 CertificateSigningRequest", ASKS(CLIENT_SIGNER, CSR_MASTERS), .sub = "status" },
	};
	RUN_ROWS("CertificateSubjectRestriction", rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_node_taint), cmocka_unit_test(test_storage),	cmocka_unit_test(test_ingress),
		cmocka_unit_test(test_certificates), cmocka_unit_test(test_subject), cmocka_unit_test(test_owners),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
