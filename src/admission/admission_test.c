/* The flags, the order of the table, and NamespaceLifecycle. */
#include "admission/admission_test.h"

static void parse(const char *enable, const char *disable, const char *want, const char *has, const char *lacks)
{
	auto_err struct err err = ERR_INIT;
	struct admission_set set = { 0 };
	int rc = admission_set_parse(span_of(enable), span_of(disable), &set, &err);
	expect("flags", enable, want, rc < 0 ? err_msg(&err) : "");
	if (has)
		assert_true(admission_set_has(&set, span_of(has)));
	if (lacks)
		assert_false(admission_set_has(&set, span_of(lacks)));
}

static void test_flags(void **state)
{
	parse("", "", "", "NamespaceLifecycle", "NoSuch");
	parse("", "PodSecurity", "", "NamespaceLifecycle", "PodSecurity");
	parse("PodSecurity", "", "", "PodSecurity", NULL);
	parse("NoSuch", "", "enable-admission-plugins plugin \"NoSuch\" is unknown", NULL, NULL);
	parse("", "NoSuch", "disable-admission-plugins plugin \"NoSuch\" is unknown", NULL, NULL);
	parse("PodSecurity,NamespaceLifecycle,X", "NamespaceLifecycle,PodSecurity",
	      "[enable-admission-plugins plugin \"X\" is unknown, [NamespaceLifecycle PodSecurity] in enable-admission-plugins and "
	      "disable-admission-plugins overlapped]", NULL, NULL);
}

/* pkg/kubeapiserver/options/plugins.go of 1.33, the parts that may have a row here. */
static void test_order(void **state)
{
	static const struct {
		const char *name;
		bool on;
	} upstream[] = {
		{ "NamespaceLifecycle", true }, { "LimitRanger", true }, { "ServiceAccount", true }, { "NodeRestriction", false },
		{ "TaintNodesByCondition", true }, { "PodSecurity", true }, { "Priority", true },
		{ "DefaultTolerationSeconds", true }, { "DefaultStorageClass", true }, { "StorageObjectInUseProtection", true },
		{ "OwnerReferencesPermissionEnforcement", false }, { "PersistentVolumeClaimResize", true },
		{ "RuntimeClass", true }, { "CertificateApproval", true }, { "CertificateSigning", true },
		{ "CertificateSubjectRestriction", true }, { "DefaultIngressClass", true }, { "ResourceQuota", true },
	};
	size_t at = 0;
	for (unsigned i = 0; i < admission_plugin_n(); i++) {
		const struct admission_plugin *p = admission_plugin_at(i);
		while (at < ARRAY_LEN(upstream) && strcmp(upstream[at].name, p->name) != 0)
			at++;
		if (at == ARRAY_LEN(upstream))
			fail_msg("%s is unknown or out of order", p->name);
		assert_int_equal(p->on, upstream[at].on);
		assert_true(p->mutate || p->validate || strcmp(p->name, "ResourceQuota") == 0);
		assert_true(p->ops);
	}
}

static void test_lifecycle(void **state)
{
	test_cluster = "{'namespaces//ns':{'status':{'phase':'Active'}},'namespaces//old':{'status':{'phase':'Terminating'}}}";
	static const struct row rows[] = {
		{ "v1 ConfigMap", "{}" },
		{ "v1 ConfigMap", "{}", "namespaces \"gone\" not found", .ns = "gone" },
		{ "v1 ConfigMap", "{'metadata':{'generateName':'c-'}}",
		  "configmaps \"c-\" is forbidden: unable to create new content in namespace old because it is being terminated",
		  .ns = "old", .name = "" },
		{ "apps/v1 Deployment", "{}",
		  "deployments.apps \"x\" is forbidden: unable to create new content in namespace old because it is being terminated",
		  .ns = "old" },
		{ "v1 ConfigMap", "{}", .old = "{}", .ns = "old" },
		{ "v1 ConfigMap", NULL, .op = ADMISSION_DELETE, .ns = "old" },
		{ "authorization.k8s.io/v1 LocalSubjectAccessReview", "{}", .ns = "gone" },
		{ "v1 Namespace", NULL, "namespaces \"kube-system\" is forbidden: this namespace may not be deleted",
		  .op = ADMISSION_DELETE, .name = "kube-system" },
		{ "v1 Namespace", NULL, "namespaces \"default\" is forbidden: this namespace may not be deleted",
		  .op = ADMISSION_DELETE, .name = "default" },
		{ "v1 Namespace", NULL, "namespaces \"kube-public\" is forbidden: this namespace may not be deleted",
		  .op = ADMISSION_DELETE, .name = "kube-public" },
		{ "v1 Namespace", NULL, .op = ADMISSION_DELETE, .name = "kube-node-lease" },
		{ "v1 Namespace", "{}", .name = "default" },
		{ "v1 Node", "{}" },
	};
	RUN_ROWS("NamespaceLifecycle", rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_lifecycle),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
