/* Tests of resource.k8s.io. */
#include "strategy/strategy_test.h"

#define V "resource.k8s.io/v1beta1 "
#define CLASS V "DeviceClass"
#define CLAIM V "ResourceClaim"
#define TEMPLATE V "ResourceClaimTemplate"
#define SLICE V "ResourceSlice"
#define REQUESTS(text) "{'spec':{'devices':{'requests':[" text "]}}}"
#define GPU "{'name':'gpu','deviceClassName':'gpu.example.com'}"
#define CEL_WORDS "Forbidden: CEL expressions cannot be evaluated by this server yet"

static void classes(void **state)
{
	static const struct row rows[] = {
		{ CLASS, "{'spec':{}}", .stored = "{'metadata':{'generation':1}}" },
		{ CLASS, "{'metadata':{'name':'UP'},'spec':{}}",
		  "metadata.name: Invalid value: \"UP\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
		  "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
		  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')" },
		{ CLASS, "{'spec':{'selectors':[{'cel':{'expression':'device.driver == \\\"x\\\"'}}]}}", "spec.selectors[0].cel.expression: " CEL_WORDS },
		{ CLASS, "{'spec':{'selectors':[{},{'cel':{'expression':''}}]}}",
		  "[spec.selectors[0].cel: Required value, spec.selectors[1].cel.expression: Required value]" },
		/* what is stored stays valid */
		{ CLASS, "{'spec':{'selectors':[{'cel':{'expression':'true'}}],'config':[]}}", NULL, "{'spec':{'selectors':[{'cel':{'expression':'true'}}]}}" },
		{ CLASS, "{'spec':{'config':[{'opaque':{'driver':'d.example.com','parameters':{'a':1}}}]}}" },
		{ CLASS, "{'spec':{'config':[{},{'opaque':{'driver':'','parameters':{}}},{'opaque':{'driver':'d','parameters':[1]}}]}}",
		  "[spec.config[0].opaque: Required value, spec.config[1].opaque.driver: Required value, spec.config[1].opaque.driver: Invalid value: "
		  "\"\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
		  "alphanumeric character (e.g. 'example.com', regex used for validation is "
		  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'), spec.config[2].opaque.parameters: Invalid value: "
		  "\"<value omitted>\": must be a valid JSON object]" },
	};
	RUN_ROWS(rows);
}

static void claims(void **state)
{
	static const struct row rows[] = {
		{ CLAIM, REQUESTS(GPU), .stored = "{'spec':{'devices':{'requests':[{'name':'gpu','deviceClassName':'gpu.example.com','allocationMode':"
						  "'ExactCount','count':1}]}}}" },
		{ CLAIM, REQUESTS("{'name':'a','deviceClassName':'c','allocationMode':'All'}") },
		{ CLAIM, REQUESTS("{'name':'a','deviceClassName':'c','allocationMode':'All','count':2}"),
		  "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'" },
		{ CLAIM, REQUESTS("{'name':'a','deviceClassName':'c','count':-1}"),
		  "spec.devices.requests[0].exactly.count: Invalid value: -1: must be greater than zero" },
		{ CLAIM, REQUESTS("{'name':'a','deviceClassName':'c','allocationMode':'Some'}"),
		  "spec.devices.requests[0].exactly.allocationMode: Unsupported value: \"Some\": supported values: \"All\", \"ExactCount\"" },
		{ CLAIM, REQUESTS("{'name':'a'}"), "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required" },
		{ CLAIM, REQUESTS("{'name':'a','allocationMode':'All'}"), "spec.devices.requests[0].exactly.deviceClassName: Required value" },
		{ CLAIM, REQUESTS(GPU "," GPU), "spec.devices.requests[1].name: Duplicate value: \"gpu\"" },
		{ CLAIM, REQUESTS("{'name':'a','deviceClassName':'c','selectors':[{'cel':{'expression':'true'}}]}"),
		  "spec.devices.requests[0].exactly.selectors[0].cel.expression: " CEL_WORDS },
		/* gates that are off */
		{ CLAIM, REQUESTS("{'name':'a','deviceClassName':'c','adminAccess':true,'tolerations':[{'operator':'Exists'}]}"),
		  .stored = "{'spec':{'devices':{'requests':[{'name':'a','deviceClassName':'c','allocationMode':'ExactCount','count':1}]}}}" },
		{ CLAIM, REQUESTS("{'name':'a','firstAvailable':[{'name':'b','deviceClassName':'c'}]}"),
		  "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required" },
		{ CLAIM, "{'spec':{'devices':{'requests':[" GPU "],'constraints':[{'requests':['gpu','gpu','x','a/b/c'],'matchAttribute':'a'},{}]}}}",
		  "[spec.devices.constraints[0].requests[1]: Duplicate value: \"gpu\", spec.devices.constraints[0].requests[2]: Invalid value: \"x\": must "
		  "be the name of a request in the claim or the name of a request and a subrequest separated by '/', "
		  "spec.devices.constraints[0].requests[3]: Invalid value: \"a/b/c\": must be the name of a request in the claim or the name of a request "
		  "and a subrequest separated by '/', spec.devices.constraints[0].matchAttribute: Invalid value: \"a\": must include a domain, "
		  "spec.devices.constraints[1].matchAttribute: Required value]" },
		{ CLAIM, "{'spec':{'devices':{'requests':[" GPU "],'constraints':[{'matchAttribute':'x.example.com/model'}]}}}" },
		{ CLAIM, "{'status':{'allocation':{}},'spec':{}}", .stored = "{'status':null}" },
		{ CLAIM, REQUESTS(GPU), NULL, REQUESTS(GPU) },
		{ TEMPLATE, "{'spec':{'spec':{'devices':{'requests':[{'name':'a','deviceClassName':''}]}}}}",
		  "spec.spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required" },
		{ TEMPLATE, "{'spec':{'spec':{'devices':{'requests':[" GPU "]}}}}",
		  .stored = "{'spec':{'spec':{'devices':{'requests':[{'name':'gpu','deviceClassName':'gpu.example.com','allocationMode':'ExactCount',"
			    "'count':1}]}}}}" },
	};
	RUN_ROWS(rows);
	struct row changed = { CLAIM, REQUESTS("{'name':'b','deviceClassName':'c'}"), NULL, REQUESTS(GPU) };
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	const struct api_resource *r = resource_of(changed.kind);
	struct json object = object_of(&a, r, changed.object, true), old = object_of(&a, r, changed.old, true);
	struct strategy s = { .arena = &a, .resource = r, .subresource = SPAN(""), .object = &object, .old = &old };
	assert_int_equal(strategy_validate(&s, &err), -ERR_INVALID);
	assert_int_equal(err.n_causes, 1);
	assert_string_equal(err.causes[0].field, "spec");
	assert_non_null(strstr(err_msg(&err), ": field is immutable"));
}

#define STATUS(text) "{'spec':{'devices':{'requests':[" GPU "]}},'status':{" text "}}"
#define RESULT "'allocation':{'devices':{'results':[{'request':'gpu','driver':'d.example.com','pool':'p/q','device':'g0'}]}}"
#define USER(uid) "{'resource':'pods','name':'p','uid':'" uid "'}"

static void statuses(void **state)
{
	static const struct row rows[] = {
		{ CLAIM, STATUS(RESULT ",'reservedFor':[" USER("1") "]"), NULL, STATUS(""), "status" },
		{ CLAIM, STATUS("'reservedFor':[" USER("1") "]"), "status.reservedFor: Forbidden: may not be specified when `allocated` is not set", STATUS(""),
		  "status" },
		{ CLAIM, STATUS(RESULT ",'reservedFor':[" USER("1") "," USER("1") ",{}]"),
		  "[status.reservedFor[1].uid: Duplicate value: \"1\", status.reservedFor[2].resource: Required value, status.reservedFor[2].name: "
		  "Required value, status.reservedFor[2].uid: Required value]", STATUS(RESULT), "status" },
		{ CLAIM, STATUS("'allocation':{'devices':{'results':[{'request':'no','driver':'d.example.com','pool':'','device':'g0'}]}}"),
		  "[status.allocation.devices.results[0].request: Invalid value: \"no\": must be the name of a request in the claim or the name of a "
		  "request and a subrequest separated by '/', status.allocation.devices.results[0].pool: Required value]", STATUS(""), "status" },
		{ CLAIM, STATUS(RESULT ",'devices':[{'driver':'d.example.com','pool':'p/q','device':'g0','data':{'a':1}}]"), NULL, STATUS(RESULT), "status" },
		{ CLAIM, STATUS(RESULT ",'devices':[{'driver':'d.example.com','pool':'p/q','device':'g1'}]"),
		  "status.devices[0]: Invalid value: \"g1\": must be an allocated device in the claim", STATUS(RESULT), "status" },
	};
	RUN_ROWS(rows);
}

#define POOL "'pool':{'name':'n1','generation':1,'resourceSliceCount':1},'driver':'d.example.com'"
#define DEVICE(text) "{'spec':{'nodeName':'n1'," POOL ",'devices':[{'name':'g0','basic':{" text "}}]}}"
#define WHERE "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"

static void slices(void **state)
{
	static const struct row rows[] = {
		{ SLICE, "{'spec':{'nodeName':'n1'," POOL "}}", .stored = "{'metadata':{'generation':1}}" },
		{ SLICE, "{'spec':{" POOL "}}", "spec: Required value: " WHERE },
		{ SLICE, "{'spec':{'nodeName':'n1','allNodes':true," POOL "}}",
		  "spec: Invalid value: \"{`nodeName`, `allNodes`}\": " WHERE ", but multiple fields are set" },
		{ SLICE, "{'spec':{'allNodes':true,'driver':'d.example.com','pool':{'name':'a/B','generation':-1,'resourceSliceCount':0}}}",
		  "[spec.pool.name: Invalid value: \"B\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
		  "must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
		  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'), spec.pool.resourceSliceCount: Invalid value: 0: must be greater "
		  "than zero, spec.pool.generation: Invalid value: -1: must be greater than or equal to zero]" },
		{ SLICE, DEVICE("'attributes':{'model':{'string':'x'},'d.example.com/v':{'version':'1.2.3-rc.1+b.01'},'n':{'int':1},'b':{'bool':false}},"
				"'capacity':{'memory':{'value':'1Gi'}}") },
		{ SLICE, DEVICE("'attributes':{'a':{},'b':{'version':'1.02.3'},'1x':{'int':1},'/x':{'int':1}}"),
		  "[spec.devices[0].attributes[a]: Required value: exactly one value must be specified, spec.devices[0].attributes[b].version: Invalid "
		  "value: \"1.02.3\": must be a string compatible with semver.org spec 2.0.0, spec.devices[0].attributes[1x]: Invalid value: \"1x\": a valid "
		  "C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or "
		  "'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*'), spec.devices[0].attributes[/x]: Required value: the domain "
		  "must not be empty]" },
		{ SLICE, "{'spec':{'nodeName':'n1'," POOL ",'devices':[{'name':'g0','basic':{}},{'name':'g0','basic':{}},{'name':'x'}]}}",
		  "[spec.devices[1].name: Duplicate value: \"g0\", spec.devices[2].basic: Required value]" },
		/* gates that are off */
		{ SLICE, DEVICE("'taints':[{'key':'x','effect':'Nope'}],'allNodes':true"), .stored = "{'spec':{'devices':[{'name':'g0','basic':{}}]}}" },
		{ SLICE, "{'spec':{'nodeName':'n2'," POOL "}}", "spec.nodeName: Invalid value: \"n2\": field is immutable", "{'spec':{'nodeName':'n1'," POOL "}}" },
	};
	RUN_ROWS(rows);
}

/* The other versions: their own defaults and gates, checked as what is stored. */
static void versions(void **state)
{
#define TWO "resource.k8s.io/v1beta2 "
#define EXACTLY(text) REQUESTS("{'name':'gpu','exactly':{'deviceClassName':'c'" text "}}")
	static const struct row rows[] = {
		{ TWO "ResourceClaim", EXACTLY(""), .stored = "{'spec':{'devices':{'requests':[{'name':'gpu','exactly':{'deviceClassName':'c',"
							     "'allocationMode':'ExactCount','count':1}}]}}}" },
		{ TWO "ResourceClaim", EXACTLY(",'adminAccess':true,'tolerations':[{'operator':'Exists'}],'allocationMode':'All'"),
		  .stored = "{'spec':{'devices':{'requests':[{'name':'gpu','exactly':{'deviceClassName':'c','allocationMode':'All'}}]}}}" },
		{ TWO "ResourceClaim", EXACTLY(",'count':-1"), "spec.devices.requests[0].exactly.count: Invalid value: -1: must be greater than zero" },
		{ TWO "ResourceClaim", REQUESTS("{'name':'gpu'}"),
		  "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required" },
		{ TWO "ResourceClaim", EXACTLY(",'allocationMode':''"), NULL, EXACTLY("") },
		{ TWO "ResourceClaimTemplate", "{'spec':{'spec':{'devices':{'requests':[{'name':'gpu','exactly':{'deviceClassName':''}}]}}}}",
		  "spec.spec.devices.requests[0].exactly.deviceClassName: Required value" },
		{ TWO "ResourceSlice", "{'spec':{'nodeName':'n1'," POOL ",'devices':[{'name':'g0','taints':[{'key':'x','effect':'Nope'}],"
				       "'attributes':{'m':{'string':'x'}}}]}}",
		  .stored = "{'spec':{'devices':[{'name':'g0','attributes':{'m':{'string':'x'}}}]}}" },
		{ TWO "ResourceSlice", "{'spec':{'nodeName':'n1'," POOL ",'devices':[{'name':'g0','attributes':{'a':{}}}]}}",
		  "spec.devices[0].attributes[a]: Required value: exactly one value must be specified" },
		{ TWO "ResourceSlice", "{'spec':{'nodeName':'n2'," POOL "}}", "spec.nodeName: Invalid value: \"n2\": field is immutable",
		  "{'spec':{'nodeName':'n1'," POOL "}}" },
		{ "resource.k8s.io/v1alpha3 ResourceSlice",
		  "{'spec':{'nodeName':'n1'," POOL ",'devices':[{'name':'g0','basic':{'capacity':{'1x':'1Gi'}}}]}}",
		  "spec.devices[0].capacity[1x]: Invalid value: \"1x\": a valid C identifier must start with alphabetic character or '_', followed "
		  "by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is "
		  "'[A-Za-z_][A-Za-z0-9_]*')" },
		{ "resource.k8s.io/v1alpha3 ResourceClaim", REQUESTS(GPU),
		  .stored = "{'spec':{'devices':{'requests':[{'name':'gpu','deviceClassName':'gpu.example.com','allocationMode':'ExactCount','count':1}]}}}" },
	};
	RUN_ROWS(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classes),
		cmocka_unit_test(claims),
		cmocka_unit_test(statuses),
		cmocka_unit_test(slices),
		cmocka_unit_test(versions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
