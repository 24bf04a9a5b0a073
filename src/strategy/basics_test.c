/* Tests of the common part: metadata, messages, how Go prints values; and of the small kinds. */
#include "strategy/strategy_test.h"

#include "strategy/check.h"

#define LABEL_RULE "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an " \
	"alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is " \
	"'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
#define SUBDOMAIN_RULE "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and " \
	"must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is " \
	"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
#define KEY_RULE "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or " \
	"'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"

static const struct row meta_rows[] = {
	{ "v1 ConfigMap", "{'metadata':{'labels':{'a':'b'}}}" },
	{ "v1 ConfigMap", "{'metadata':{'name':'A'}}", "metadata.name: Invalid value: \"A\": " SUBDOMAIN_RULE },
	{ "v1 ConfigMap", "{'metadata':{'name':''}}", "metadata.name: Required value: name or generateName is required" },
	{ "v1 ConfigMap", "{'metadata':{'generateName':'web-'}}" },
	{ "v1 ConfigMap", "{'metadata':{'namespace':''}}", "metadata.namespace: Required value" },
	{ "v1 Namespace", "{'metadata':{'namespace':'x'}}", "metadata.namespace: Forbidden: not allowed on this type" },
	{ "v1 ConfigMap", "{'metadata':{'generation':-1}}",
	  "metadata.generation: Invalid value: -1: must be greater than or equal to 0" },
	{ "v1 ConfigMap", "{'metadata':{'labels':{'-a':'b'}}}", "metadata.labels: Invalid value: \"-a\": " LABEL_RULE },
	{ "v1 ConfigMap", "{'metadata':{'ownerReferences':[{'apiVersion':'','kind':'','name':'','uid':''}]}}",
	  "[metadata.ownerReferences.apiVersion: Invalid value: \"\": version must not be empty, metadata.ownerReferences.kind: "
	  "Invalid value: \"\": kind must not be empty, metadata.ownerReferences.name: Invalid value: \"\": name must not be empty, "
	  "metadata.ownerReferences.uid: Invalid value: \"\": uid must not be empty]" },
	{ "v1 ConfigMap", "{'metadata':{'ownerReferences':[{'apiVersion':'v1','kind':'Event','name':'a','uid':'b'}]}}",
	  "metadata.ownerReferences: Invalid value: v1.OwnerReference{APIVersion:\"v1\", Kind:\"Event\", Name:\"a\", UID:\"b\", "
	  "Controller:(*bool)(nil), BlockOwnerDeletion:(*bool)(nil)}: /v1, Kind=Event is disallowed from being an owner" },
	{ "v1 ConfigMap", "{'metadata':{'finalizers':['orphan','foregroundDeletion']}}",
	  "metadata.finalizers: Invalid value: []string{\"orphan\", \"foregroundDeletion\"}: finalizer orphan and "
	  "foregroundDeletion cannot be both set" },
	{ "v1 ConfigMap", "{'metadata':{'finalizers':['mine']}}", "metadata.finalizers[0]: Invalid value: \"mine\": name is neither "
	  "a standard finalizer name nor is it fully qualified" },
	{ "v1 ConfigMap", "{'metadata':{'managedFields':[{'manager':'a','operation':'Patch','fieldsType':'X'}]}}",
	  "[metadata.managedFields[0].operation: Invalid value: \"Patch\": must be `Apply` or `Update`, "
	  "metadata.managedFields[0].fieldsType: Invalid value: \"X\": must be `FieldsV1`]" },
	{ "v1 ConfigMap", "{'metadata':{'managedFields':[{'manager':'a\\u0007','operation':'Apply'}]}}",
	  "metadata.managedFields[0].manager: Invalid value: \"a\\a\": invalid character U+0007 (at position 1)" },
	/* updates */
	{ "v1 ConfigMap", "{'metadata':{'name':'y','uid':'2','resourceVersion':''}}",
	  "[metadata.resourceVersion: Invalid value: \"\": must be specified for an update, metadata.name: Invalid value: \"y\": "
	  "field is immutable, metadata.uid: Invalid value: \"2\": field is immutable]",
	  "{'metadata':{'uid':'1'}}" },
	{ "v1 ConfigMap", "{'metadata':{'generation':7,'creationTimestamp':'2020-01-01T00:00:00Z'}}", NULL,
	  "{'metadata':{'uid':'1','generation':3,'creationTimestamp':'2021-01-01T00:00:00Z'}}", NULL,
	  "{'metadata':{'uid':'1','generation':3,'creationTimestamp':'2021-01-01T00:00:00Z'}}" },
	{ "v1 ConfigMap", "{'metadata':{'finalizers':['a.b/c','a.b/d']}}",
	  "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
	  "[]string{\"a.b/d\"}",
	  "{'metadata':{'finalizers':['a.b/c'],'deletionTimestamp':'2021-01-01T00:00:00Z'}}" },
	{ "v1 ConfigMap", "{'metadata':{'deletionTimestamp':'2021-01-01T00:00:00Z'}}",
	  "metadata.deletionTimestamp: Invalid value: 2021-01-01 00:00:00 +0000 UTC: field is immutable", "{}" },
};

static void test_meta(void **state)
{
	RUN_ROWS(meta_rows);
}

static const struct row config_rows[] = {
	{ "v1 ConfigMap", "{'data':{'a/b':'x'}}", "data[a/b]: Invalid value: \"a/b\": " KEY_RULE },
	{ "v1 ConfigMap", "{'data':{'a':'x'},'binaryData':{'a':'eA=='}}",
	  "data[a]: Invalid value: \"a\": duplicate of key present in binaryData" },
	{ "v1 ConfigMap", "{'immutable':true,'data':{'a':'2'}}", "data: Forbidden: field is immutable when `immutable` is set",
	  "{'immutable':true,'data':{'a':'1'}}" },
	{ "v1 ConfigMap", "{'data':{'a':'1'}}", "immutable: Forbidden: field is immutable when `immutable` is set",
	  "{'immutable':true,'data':{'a':'1'}}" },
	{ "v1 Secret", "{'stringData':{'a':'x'},'data':{'a':'eQ==','b':'eg=='}}", NULL, NULL, NULL,
	  "{'type':'Opaque','stringData':null,'data':{'a':'eA==','b':'eg=='}}" },
	{ "v1 Secret", "{'type':'kubernetes.io/tls'}", "[data[tls.crt]: Required value, data[tls.key]: Required value]" },
	{ "v1 Secret", "{'type':'kubernetes.io/tls','stringData':{'tls.crt':'x','tls.key':'y'}}", NULL, NULL, NULL, NULL,
	  "tls: failed to find any PEM data in certificate input" },
	{ "v1 Secret", "{'type':'kubernetes.io/tls','stringData':{'tls.crt':'-----BEGIN PRIVATE KEY-----\\n-----END PRIVATE KEY-----',"
	  "'tls.key':''}}", NULL, NULL, NULL, NULL, "tls: failed to find certificate PEM data in certificate input, but did find a "
	  "private key; PEM inputs may have been switched" },
	{ "v1 Secret", "{'type':'kubernetes.io/tls','stringData':{'tls.crt':'-----BEGIN CERTIFICATE-----\\n-----END CERTIFICATE-----',"
	  "'tls.key':''}}", NULL, NULL, NULL, NULL, "tls: failed to find any PEM data in key input" },
	{ "v1 Secret", "{'type':'kubernetes.io/basic-auth'}", "[data[username]: Required value, data[password]: Required value]" },
	{ "v1 Secret", "{'type':'kubernetes.io/basic-auth','stringData':{'username':''}}" },
	{ "v1 Secret", "{'type':'kubernetes.io/ssh-auth'}", "data[ssh-privatekey]: Required value" },
	{ "v1 Secret", "{'type':'kubernetes.io/service-account-token'}",
	  "metadata.annotations[kubernetes.io/service-account.name]: Required value" },
	{ "v1 Secret", "{'type':'kubernetes.io/dockerconfigjson'}", "data[.dockerconfigjson]: Required value" },
	{ "v1 Secret", "{'type':'kubernetes.io/dockerconfigjson','stringData':{'.dockerconfigjson':'[1]'}}",
	  "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": json: cannot unmarshal array into Go value of type "
	  "map[string]interface {}" },
	{ "v1 Secret", "{'type':'kubernetes.io/dockercfg','stringData':{'.dockercfg':'auths'}}",
	  "data[.dockercfg]: Invalid value: \"<secret contents redacted>\": invalid character 'a' looking for beginning of value" },
	{ "v1 Secret", "{'type':'a'}", "type: Invalid value: \"a\": field is immutable", "{}" },
	{ "v1 Secret", "{'immutable':true,'stringData':{'a':'2'}}", "data: Forbidden: field is immutable when `immutable` is set",
	  "{'immutable':true,'stringData':{'a':'1'}}" },
};

static void test_configs(void **state)
{
	RUN_ROWS(config_rows);
}

static const struct row namespace_rows[] = {
	{ "v1 Namespace", "{'spec':{'finalizers':['a/b']},'status':{'phase':'Terminating'}}", NULL, NULL, NULL,
	  "{'metadata':{'labels':{'kubernetes.io/metadata.name':'x'}},'spec':{'finalizers':['a/b','kubernetes']},"
	  "'status':{'phase':'Active'}}" },
	{ "v1 Namespace", "{'spec':{'finalizers':['a']}}", "spec.finalizers: Invalid value: \"a\": name is neither a standard "
	  "finalizer name nor is it fully qualified" },
	{ "v1 Namespace", "{'metadata':{'name':'a_b'}}", "metadata.name: Invalid value: \"a_b\": a lowercase RFC 1123 label must "
	  "consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. "
	  "'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')" },
	{ "v1 Namespace", "{'metadata':{'labels':{'kubernetes.io/metadata.name':'other'}},'spec':{},'status':{'phase':'Terminating'}}",
	  NULL, "{'spec':{'finalizers':['kubernetes']},'status':{'phase':'Active'}}", NULL,
	  "{'metadata':{'labels':{'kubernetes.io/metadata.name':'x'}},'spec':{'finalizers':['kubernetes']},'status':{'phase':'Active'}}" },
	{ "v1 Namespace", "{'status':{'phase':'Terminating'}}",
	  "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty",
	  "{'spec':{'finalizers':['kubernetes']}}", "status", "{'spec':{'finalizers':['kubernetes']}}" },
	{ "v1 Namespace", "{'metadata':{'deletionTimestamp':'2021-01-01T00:00:00Z'},'status':{'phase':'Terminating'}}", NULL,
	  "{'metadata':{'deletionTimestamp':'2021-01-01T00:00:00Z'}}", "status" },
	{ "v1 Namespace", "{'spec':{},'status':{'phase':'Terminating'}}", NULL, "{'spec':{'finalizers':['kubernetes']}}", "finalize",
	  "{'spec':{'finalizers':null},'status':{'phase':'Active'}}" },
	{ "v1 ServiceAccount", "{'secrets':[{'name':'a','kind':'Secret','uid':'u'}]}", NULL, NULL, NULL, "{'secrets':[{'name':'a'}]}", "" },
	{ "v1 ServiceAccount", "{'metadata':{'annotations':{'kubernetes.io/enforce-mountable-secrets':'true'}}}", NULL, NULL, NULL, NULL,
	  "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate "
	  "access to mounted secrets" },
};

static void test_namespaces(void **state)
{
	RUN_ROWS(namespace_rows);
}

#define LEASE "coordination.k8s.io/v1 Lease"
#define PCLASS "scheduling.k8s.io/v1 PriorityClass"
static const struct row lease_rows[] = {
	{ LEASE, "{'spec':{'leaseDurationSeconds':0,'leaseTransitions':-1}}",
	  "[spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0, spec.leaseTransitions: Invalid value: -1: must be "
	  "greater than or equal to 0]" },
	{ LEASE, "{'spec':{'strategy':'OldestEmulationVersion','holderIdentity':'a'}}", NULL, NULL, NULL, "{'spec':{'strategy':null,'holderIdentity':'a'}}" },
	{ PCLASS, "{'value':1000000001}", "value: Forbidden: maximum allowed value of a user defined priority is 1000000000" },
	{ PCLASS, "{'metadata':{'name':'system-a'},'value':1}", "metadata.name: Forbidden: priority class names with 'system-' prefix "
	  "are reserved for system use only. error: system-a is not a known system priority class" },
	{ PCLASS, "{'metadata':{'name':'system-node-critical'},'value':1}", "metadata.name: Forbidden: priority class names with "
	  "'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000" },
	{ PCLASS, "{'metadata':{'name':'system-node-critical'},'value':2000001000}", NULL, NULL, NULL,
	  "{'preemptionPolicy':'PreemptLowerPriority','metadata':{'generation':1}}" },
	{ PCLASS, "{'value':1,'preemptionPolicy':'x'}",
	  "preemptionPolicy: Unsupported value: \"x\": supported values: \"PreemptLowerPriority\", \"Never\"" },
	{ PCLASS, "{'value':2}", "value: Forbidden: may not be changed in an update.", "{'value':1}" },
	{ PCLASS, "{'value':1,'preemptionPolicy':'Never'}", "preemptionPolicy: Invalid value: \"Never\": field is immutable", "{'value':1}" },
};

static void test_leases(void **state)
{
	RUN_ROWS(lease_rows);
}

/* All causes stay in order; the message has each text once. */
static void test_causes(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	const struct api_resource *r = resource_of("v1 ConfigMap");
	struct json object = object_of(&a, r, "{'metadata':{'labels':{'a':'-'}}}", true), old = object_of(&a, r, "{}", true);
	struct strategy s = { .arena = &a, .resource = r, .object = &object, .old = &old };
	strategy_prepare(&s);
	assert_int_equal(strategy_validate(&s, &err), -ERR_INVALID);
	assert_int_equal(err.n_causes, 4); /* twice by the common rules of updates, twice by those of the kind */
	assert_string_equal(err.causes[3].field, "metadata.labels");
	assert_string_equal(err.causes[3].reason, "FieldValueInvalid");
	const char *start = "ConfigMap \"x\" is invalid: metadata.labels: Invalid value: \"-\": a valid label must be";
	if (strncmp(err_msg(&err), start, strlen(start)) != 0)
		fail_msg("want %s...\nhave %s", start, err_msg(&err));
	r = resource_of(LEASE);
	object = object_of(&a, r, "{'spec':{'leaseDurationSeconds':0}}", false);
	s = (struct strategy){ .arena = &a, .resource = r, .object = &object };
	assert_int_equal(strategy_validate(&s, &err), -ERR_INVALID);
	assert_string_equal(err_msg(&err), "Lease.coordination.k8s.io \"x\" is invalid: spec.leaseDurationSeconds: Invalid value: 0: "
			    "must be greater than 0");
}

static void go(const char *type, const char *value, const char *want)
{
	auto_arena struct arena a = {};
	auto_buf struct buf out = {};
	struct json v = JSON_NULL_VALUE;
	if (value)
		assert_int_equal(json_parse(&a, unquote(&a, value), JSON_BORROW, NULL, &v, NULL), 0);
	strategy_go_syntax(&out, type, value ? &v : NULL);
	assert_string_equal(buf_cstr(&out), want);
}

static void test_go_syntax(void **state)
{
	go("map[string]string", "{'b':'2','a':'1'}", "map[string]string{\"a\":\"1\", \"b\":\"2\"}");
	go("map[string]string", NULL, "map[string]string(nil)");
	go("[]string", "['a\\n']", "[]string{\"a\\n\"}");
	go("intstr.IntOrString", "5", "intstr.IntOrString{Type:0, IntVal:5, StrVal:\"\"}");
	go("intstr.IntOrString", "'5%'", "intstr.IntOrString{Type:1, IntVal:0, StrVal:\"5%\"}");
	go("*meta/v1.LabelSelector", NULL, "null");
	go("*meta/v1.LabelSelector", "{'matchLabels':{'a':'b'}}",
	   "v1.LabelSelector{MatchLabels:map[string]string{\"a\":\"b\"}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}");
	go("meta/v1.LabelSelector", "{'matchExpressions':[{'key':'a','operator':'In','values':['b']}]}",
	   "v1.LabelSelector{MatchLabels:map[string]string(nil), MatchExpressions:[]v1.LabelSelectorRequirement{"
	   "v1.LabelSelectorRequirement{Key:\"a\", Operator:\"In\", Values:[]string{\"b\"}}}}");
	go("[]core/v1.ServicePort", "[{'name':'a','port':80,'targetPort':80,'protocol':'TCP'}]",
	   "[]core.ServicePort{core.ServicePort{Name:\"a\", Protocol:\"TCP\", AppProtocol:(*string)(nil), Port:80, "
	   "TargetPort:intstr.IntOrString{Type:0, IntVal:80, StrVal:\"\"}, NodePort:0}}");
	/* a pointer that is set: JSON */
	go("core/v1.ServicePort", "{'port':80,'appProtocol':'h2'}", "{\"port\":80,\"appProtocol\":\"h2\"}");
}

static void json_says(const char *text, const char *want)
{
	auto_buf struct buf out = {};
	bool good = strategy_json_is_object(span_of(text), &out);
	assert_string_equal(good ? "good" : buf_cstr(&out), want);
}

/* Texts of Go 1.24's encoding/json. */
static void test_go_json(void **state)
{
	json_says(" {\"a\" : [1, -2.5e+3, true, null, {}], \"b\":\"\\u00e4\\n\"} ", "good");
	json_says("null", "good");
	json_says("", "unexpected end of JSON input");
	json_says("{", "unexpected end of JSON input");
	json_says("{\"a\":1", "unexpected end of JSON input");
	json_says("[1]", "json: cannot unmarshal array into Go value of type map[string]interface {}");
	json_says("\"a\"", "json: cannot unmarshal string into Go value of type map[string]interface {}");
	json_says("1", "json: cannot unmarshal number into Go value of type map[string]interface {}");
	json_says("true", "json: cannot unmarshal bool into Go value of type map[string]interface {}");
	json_says("{a}", "invalid character 'a' looking for beginning of object key string");
	json_says("{'a'}", "invalid character '\\'' looking for beginning of object key string");
	json_says("{\"a\" 1}", "invalid character '1' after object key");
	json_says("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair");
	json_says("{\"a\":[1 2]}", "invalid character '2' after array element");
	json_says("{} x", "invalid character 'x' after top-level value");
	json_says("{\"a\":tru}", "invalid character '}' in literal true (expecting 'e')");
	json_says("{\"a\":-}", "invalid character '}' in numeric literal");
	json_says("{\"a\":1.}", "invalid character '}' after decimal point in numeric literal");
	json_says("{\"a\":1e}", "invalid character '}' in exponent of numeric literal");
	json_says("{\"a\":\"\n\"}", "invalid character '\\n' in string literal");
	json_says("{\"a\":\"\\x\"}", "invalid character 'x' in string escape code");
	json_says("{\"a\":\"\\u00g\"}", "invalid character 'g' in \\u hexadecimal character escape");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_meta),   cmocka_unit_test(test_configs),   cmocka_unit_test(test_namespaces),
		cmocka_unit_test(test_leases), cmocka_unit_test(test_causes),    cmocka_unit_test(test_go_syntax),
		cmocka_unit_test(test_go_json),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
