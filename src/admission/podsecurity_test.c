/* PodSecurity: every check at both ends of its versions, modes, labels, exemptions, existing pods. */
#include "admission/admission_test.h"

#define GOOD "'securityContext':{'allowPrivilegeEscalation':false,'runAsNonRoot':true,'capabilities':{'drop':['ALL']}," \
	     "'seccompProfile':{'type':'RuntimeDefault'}}"

static void check_rows(const char *level, const char *version, const struct row *rows, size_t n)
{
	char cluster[512];
	snprintf(cluster, sizeof(cluster), "{'namespaces//ns':{'metadata':{'labels':{'pod-security.kubernetes.io/enforce':'%s',"
		 "'pod-security.kubernetes.io/enforce-version':'%s'}}}}", level, version);
	test_cluster = cluster;
	for (size_t i = 0; i < n; i++)
		run_row("PodSecurity", &rows[i]);
	test_cluster = "{}";
}
#define BASE "pods \"x\" is forbidden: violates PodSecurity \"baseline:latest\": "
#define REST "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": "

static void test_baseline(void **state)
{
	static const struct row rows[] = {
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a'}]}}", .audit = "pod-security.kubernetes.io/enforce-policy=baseline:latest" },
		{ "v1 Pod", "{'spec':{'hostNetwork':true,'hostPID':true,'hostIPC':true,'containers':[{'name':'a'}]}}",
		  BASE "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a','securityContext':{'privileged':true}}],"
			    "'initContainers':[{'name':'i','securityContext':{'privileged':true}}]}}",
		  BASE "privileged (containers \"i\", \"a\" must not set securityContext.privileged=true)" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a','securityContext':{'capabilities':{'add':['SYS_ADMIN','NET_RAW','CHOWN']}}}]}}",
		  BASE "non-default capabilities (container \"a\" must not include \"NET_RAW\", \"SYS_ADMIN\" in "
		  "securityContext.capabilities.add)" },
		{ "v1 Pod", "{'spec':{'volumes':[{'name':'h','hostPath':{'path':'/'}},{'name':'e','emptyDir':{}}]}}",
		  BASE "hostPath volumes (volume \"h\")" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a','ports':[{'hostPort':80},{'hostPort':443}]},{'name':'b','ports':[{'hostPort':80}]}]}}",
		  BASE "hostPort (containers \"a\", \"b\" use hostPorts 443, 80)" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a','ports':[{'hostPort':80}]}]}}", BASE "hostPort (container \"a\" uses hostPort 80)" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a','securityContext':{'procMount':'Unmasked'}}]}}",
		  BASE "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")" },
		{ "v1 Pod", "{'spec':{'securityContext':{'seLinuxOptions':{'type':'spc_t','user':'u'}},'containers':[{'name':'a',"
			    "'securityContext':{'seLinuxOptions':{'role':'r'}}}]}}",
		  BASE "seLinuxOptions (pod and container \"a\" set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be "
		  "set; role may not be set)" },
		{ "v1 Pod", "{'spec':{'securityContext':{'seLinuxOptions':{'type':'container_engine_t'}}}}" },
		{ "v1 Pod", "{'spec':{'securityContext':{'seccompProfile':{'type':'Unconfined'}},'containers':[{'name':'a'}]}}",
		  BASE "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")" },
		{ "v1 Pod", "{'spec':{'securityContext':{'sysctls':[{'name':'net.ipv4.tcp_rmem'},{'name':'kernel.msgmax'},{'name':'vm.x'}]}}}",
		  BASE "forbidden sysctls (kernel.msgmax, vm.x)" },
		{ "v1 Pod", "{'spec':{'securityContext':{'windowsOptions':{'hostProcess':true}},'containers':[{'name':'a'}]}}",
		  BASE "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)" },
		{ "v1 Pod", "{'metadata':{'annotations':{'container.apparmor.security.beta.kubernetes.io/a':'unconfined'}},'spec':{"
			    "'securityContext':{'appArmorProfile':{'type':'Unconfined'}},'containers':[{'name':'a'}]}}",
		  BASE "forbidden AppArmor profiles (pod and annotation must not set AppArmor profile type to \"Unconfined\", "
		  "\"container.apparmor.security.beta.kubernetes.io/a=\"unconfined\"\")" },
	};
	check_rows("baseline", "latest", rows, ARRAY_LEN(rows));
}

static void test_restricted(void **state)
{
	static const struct row rows[] = {
		{ "v1 Pod", "{'spec':{'containers':[{'name':'x'}]}}",
		  REST "allowPrivilegeEscalation != false (container \"x\" must set securityContext.allowPrivilegeEscalation=false), "
		  "unrestricted capabilities (container \"x\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true "
		  "(pod or container \"x\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"x\" must set "
		  "securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
		  .audit = "pod-security.kubernetes.io/enforce-policy=restricted:latest" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'x'," GOOD "}]}}" },
		{ "v1 Pod", "{'spec':{'hostNetwork':true,'volumes':[{'name':'h','hostPath':{}},{'name':'n','nfs':{}}],'containers':[{'name':'x'," GOOD "}]}}",
		  REST "host namespaces (hostNetwork=true), restricted volume types (volumes \"h\", \"n\" use restricted volume types "
		  "\"hostPath\", \"nfs\")" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'x','securityContext':{'allowPrivilegeEscalation':false,'runAsNonRoot':true,"
			    "'runAsUser':0,'capabilities':{'drop':['ALL'],'add':['CHOWN','NET_BIND_SERVICE']},"
			    "'seccompProfile':{'type':'Localhost'}}}]}}",
		  REST "unrestricted capabilities (container \"x\" must not include \"CHOWN\" in securityContext.capabilities.add), "
		  "runAsUser=0 (container \"x\" must not set runAsUser=0)" },
		{ "v1 Pod", "{'spec':{'securityContext':{'runAsNonRoot':false,'runAsUser':0},'containers':[{'name':'x'," GOOD "}]}}",
		  REST "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false), runAsUser=0 (pod must not set runAsUser=0)" },
		{ "v1 Pod", "{'spec':{'os':{'name':'windows'},'securityContext':{'runAsNonRoot':true},'containers':[{'name':'x'}]}}" },
		/* updates that change no image are let be */
		{ "v1 Pod", "{'spec':{'containers':[{'name':'x','image':'i'}]}}", .old = "{'spec':{'containers':[{'name':'x','image':'i'}]}}" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'x'," GOOD "}],'ephemeralContainers':[{'name':'e','image':'i','securityContext':{'privileged':true,"
			    "'capabilities':{'drop':['ALL']},'runAsNonRoot':true,'seccompProfile':{'type':'Localhost'}}}]}}",
		  REST "privileged (container \"e\" must not set securityContext.privileged=true), allowPrivilegeEscalation != false (container \"e\" "
		  "must set securityContext.allowPrivilegeEscalation=false)",
		  .old = "{'spec':{'containers':[{'name':'x'," GOOD "}]}}", .sub = "ephemeralcontainers" },
		{ "v1 Pod", "{}", .sub = "binding" },
	};
	check_rows("restricted", "latest", rows, ARRAY_LEN(rows));
	static const struct row old[] = { /* before allowPrivilegeEscalation, capabilities and the seccomp field */
		{ "v1 Pod", "{'spec':{'securityContext':{'runAsNonRoot':true,'runAsUser':0},'containers':[{'name':'x'}]}}" },
		{ "v1 Pod", "{'metadata':{'annotations':{'seccomp.security.alpha.kubernetes.io/pod':'unconfined'}},'spec':{'securityContext':{"
			    "'runAsNonRoot':true},'containers':[{'name':'x'}]}}",
		  "pods \"x\" is forbidden: violates PodSecurity \"restricted:v1.7\": seccompProfile (forbidden annotation "
		  "seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")" },
		{ "v1 Pod", "{'spec':{'securityContext':{'runAsNonRoot':true,'sysctls':[{'name':'net.ipv4.tcp_rmem'}]},'containers':[{'name':'x'}]}}",
		  "pods \"x\" is forbidden: violates PodSecurity \"restricted:v1.7\": forbidden sysctls (net.ipv4.tcp_rmem)" },
	};
	check_rows("restricted", "v1.7", old, ARRAY_LEN(old));
}

static void test_modes(void **state)
{
	test_cluster = "{'namespaces//ns':{'metadata':{'labels':{'pod-security.kubernetes.io/warn':'baseline',"
		       "'pod-security.kubernetes.io/warn-version':'v1.30','pod-security.kubernetes.io/audit':'baseline'}}},"
		       "'namespaces//plain':{},'namespaces//bad':{'metadata':{'labels':{'pod-security.kubernetes.io/audit':'x'}}}}";
	static const struct row rows[] = {
		{ "v1 Pod", "{'spec':{'hostPID':true}}", .warnings = "would violate PodSecurity \"baseline:v1.30\": host namespaces (hostPID=true)",
		  .audit = "pod-security.kubernetes.io/enforce-policy=privileged:latest | pod-security.kubernetes.io/audit-violations="
			   "would violate PodSecurity \"baseline:latest\": host namespaces (hostPID=true)" },
		{ "apps/v1 Deployment", "{'spec':{'template':{'spec':{'hostPID':true}}}}",
		  .warnings = "would violate PodSecurity \"baseline:v1.30\": host namespaces (hostPID=true)" },
		{ "batch/v1 CronJob", "{'spec':{'jobTemplate':{'spec':{'template':{'spec':{'hostPID':true}}}}}}",
		  .warnings = "would violate PodSecurity \"baseline:v1.30\": host namespaces (hostPID=true)" },
		{ "v1 PodTemplate", "{'template':{'spec':{'hostPID':true}}}",
		  .warnings = "would violate PodSecurity \"baseline:v1.30\": host namespaces (hostPID=true)" },
		{ "v1 ReplicationController", "{'spec':{}}" },
		{ "apps/v1 Deployment", "{'spec':{'template':{'spec':{'hostPID':true}}}}", .sub = "scale" },
		{ "v1 Pod", "{'spec':{'hostPID':true}}", .ns = "plain", .audit = "pod-security.kubernetes.io/enforce-policy=privileged:latest" },
		{ "v1 Pod", "{}", .ns = "bad", .audit = "pod-security.kubernetes.io/error=Failed to parse policy: metadata.labels["
			    "pod-security.kubernetes.io/audit]: Invalid value: \"x\": must be one of privileged, baseline, restricted | "
			    "pod-security.kubernetes.io/enforce-policy=privileged:latest" },
		{ "v1 Pod", "{}", "Internal error occurred: failed to lookup namespace \"none\"", .ns = "none" },
		{ "v1 ConfigMap", "{}", .ns = "none" },
	};
	RUN_ROWS("PodSecurity", rows);
	static const struct span users[] = { SPAN_INIT("root") }, spaces[] = { SPAN_INIT("free") }, classes[] = { SPAN_INIT("vm") };
	struct admission_config config = admission_config_default;
	config.enforce = (struct admission_policy){ ADMISSION_BASELINE, true, 0 };
	config.exempt_users = users;
	config.exempt_namespaces = spaces;
	config.exempt_runtime_classes = classes;
	config.n_exempt_users = config.n_exempt_namespaces = config.n_exempt_runtime_classes = 1;
	test_config = &config;
	static const struct row exempt[] = {
		{ "v1 Pod", "{'spec':{'hostPID':true}}", "pods \"x\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces "
		  "(hostPID=true)", .ns = "plain" },
		{ "v1 Pod", "{'spec':{'hostPID':true}}", .ns = "plain", .user = "root", .audit = "pod-security.kubernetes.io/exempt=user" },
		{ "v1 Pod", "{'spec':{'hostPID':true}}", .ns = "free", .audit = "pod-security.kubernetes.io/exempt=namespace" },
		{ "v1 Pod", "{'spec':{'hostPID':true,'runtimeClassName':'vm'}}", .ns = "plain",
		  .audit = "pod-security.kubernetes.io/exempt=runtimeClass" },
		{ "v1 Namespace", "{'metadata':{'name':'free','labels':{'pod-security.kubernetes.io/enforce':'restricted'}}}", .name = "free",
		  .old = "{}", .warnings = "namespace \"free\" is exempt from Pod Security, and the policy (enforce=restricted:latest) will be ignored" },
	};
	RUN_ROWS("PodSecurity", exempt);
	test_config = NULL;
}

static void test_namespaces(void **state)
{
	test_cluster = "{'pods/x/a':{'metadata':{'name':'a','ownerReferences':[{'controller':true,'uid':'1'}]},'spec':{'hostPID':true}},"
		       "'pods/x/b':{'metadata':{'name':'b','ownerReferences':[{'controller':true,'uid':'1'}]},'spec':{'hostPID':true}},"
		       "'pods/x/c':{'metadata':{'name':'c'},'spec':{'volumes':[{'name':'v','hostPath':{}}]}},'pods/x/d':{'metadata':{'name':'d'}}}";
	static const struct row rows[] = {
		{ "v1 Namespace", "{'metadata':{'name':'x','labels':{'pod-security.kubernetes.io/enforce':'strict',"
		  "'pod-security.kubernetes.io/warn-version':'v1.01'}}}",
		  "Namespace \"x\" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of "
		  "privileged, baseline, restricted, metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"v1.01\": must be "
		  "\"latest\" or \"v1.x\"]" },
		{ "v1 Namespace", "{'metadata':{'name':'x','labels':{'pod-security.kubernetes.io/enforce':'strict'}}}",
		  .old = "{'metadata':{'labels':{'pod-security.kubernetes.io/enforce':'strict'}}}" },
		{ "v1 Namespace", "{'metadata':{'name':'x','labels':{'pod-security.kubernetes.io/enforce':'baseline'}}}", .old = "{}",
		  .warnings = "existing pods in namespace \"x\" violate the new PodSecurity enforce level \"baseline:latest\" | "
			      "a (and 1 other pod): host namespaces | c: hostPath volumes" },
		{ "v1 Namespace", "{'metadata':{'name':'x','labels':{'pod-security.kubernetes.io/enforce':'baseline'}}}",
		  .old = "{'metadata':{'labels':{'pod-security.kubernetes.io/enforce':'restricted'}}}" },
		{ "v1 Namespace", "{'metadata':{'name':'x'}}", .old = "{'metadata':{'labels':{'pod-security.kubernetes.io/enforce':'restricted'}}}" },
	};
	RUN_ROWS("PodSecurity", rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_baseline),
		cmocka_unit_test(test_restricted),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_namespaces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
