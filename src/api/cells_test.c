#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/cells.h"
#include "api/codec.h"

#define NOW INT64_C(1700000000) /* 2023-11-14T22:13:20Z */

static struct api_registry *registry;

static int setup(void **state)
{
	(void)state;
	registry = api_registry_builtin(true);
	return 0;
}
static int teardown(void **state)
{
	(void)state;
	api_registry_unref(registry);
	return 0;
}

/* One recipe a column for every kind that has columns of its own, and none for the others. */
static void complete(void **state)
{
	(void)state;
	unsigned own = 0;
	for (unsigned i = 0; i < api_registry_n(registry); i++) {
		const struct api_resource *r = api_registry_at(registry, i);
		unsigned recipes = api_table_recipes(r->group, r->kind);
		bool plain = r->n_columns == 2 && span_is(r->columns[1].name, "Created At");
		bool more = span_is(r->kind, "IPAddress"); /* the one row with a cell that has no column */
		if (plain ? recipes != 0 : recipes != r->n_columns + more)
			fail_msg("%.*s/%.*s: %u columns, %u recipes", SPAN_ARG(r->group), SPAN_ARG(r->kind), r->n_columns, recipes);
		own += !plain;
	}
	assert_true(own >= 50);
}

static bool fits(struct span allowed, const struct json *cell)
{
	const char *kind = cell->kind == JSON_STRING ? "string" : cell->kind == JSON_INT ? "integer" :
			   cell->kind == JSON_BOOL ? "boolean" : "null";
	struct span part;
	while (span_cut(&allowed, '|', &part))
		if (span_is(part, kind))
			return true;
	return false;
}

/* Every fixture and an empty object of every kind: each cell has the JSON type that the table of columns says. */
static void types(void **state)
{
	(void)state;
	unsigned fixtures = 0;
	for (unsigned i = 0; i < api_registry_n(registry); i++) {
		const struct api_resource *r = api_registry_at(registry, i);
		auto_arena struct arena a = {};
		struct json objects[2] = { json_object() }, *cells = arena_alloc_n(&a, r->n_columns + API_TABLE_MORE, sizeof(*cells));
		unsigned n = 1;
		char path[256];
		snprintf(path, sizeof(path), "tests/fixtures/roundtrip/%.*s.%.*s.%.*s.json",
			 SPAN_ARG(r->group.len ? r->group : SPAN("core")), SPAN_ARG(r->version), SPAN_ARG(r->kind));
		auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
		auto_buf struct buf text = {};
		if (fd >= 0) {
			for (ssize_t got = 1; got > 0;) {
				got = read(fd, buf_reserve(&text, 65536), 65536);
				if (got > 0)
					buf_commit(&text, (size_t)got);
			}
			assert_int_equal(api_decode_json(&a, r->type, buf_span(&text), NULL, &objects[1], NULL), 0);
			n = 2;
			fixtures++;
		}
		for (unsigned k = 0; k < n; k++) {
			api_table_cells(&a, r, &objects[k], NOW, cells);
			for (unsigned c = 0; c < r->n_columns; c++)
				if (!fits(r->columns[c].cell_json, &cells[c]))
					fail_msg("%.*s column %.*s: a cell of kind %d, want %.*s", SPAN_ARG(r->kind),
						 SPAN_ARG(r->columns[c].name), cells[c].kind, SPAN_ARG(r->columns[c].cell_json));
		}
	}
	assert_true(fixtures >= 60);
}

static void shows(void **state)
{
	(void)state;
	static const struct {
		const char *group, *version, *plural, *object, *cells; /* cells joined with | */
	} rows[] = {
		{ "", "v1", "pods",
		  "{'metadata':{'name':'web','creationTimestamp':'2023-11-14T21:13:20Z'},'spec':{'nodeName':'n1','containers':[{'name':'a'},"
		  "{'name':'b'}]},'status':{'phase':'Running','podIPs':[{'ip':'10.0.0.1'}],'containerStatuses':[{'name':'a','ready':true,"
		  "'restartCount':2,'state':{'running':{}},'lastState':{'terminated':{'finishedAt':'2023-11-14T22:12:20Z'}}},{'name':'b',"
		  "'restartCount':1,'state':{'waiting':{'reason':'CrashLoopBackOff'}}}]}}",
		  "web|1/2|CrashLoopBackOff|3 (60s ago)|60m|10.0.0.1|n1|<none>|<none>" },
		{ "", "v1", "pods",
		  "{'metadata':{'name':'i'},'spec':{'initContainers':[{'name':'x'},{'name':'y'}],'containers':[{'name':'a'}],'readinessGates':["
		  "{'conditionType':'g'}]},'status':{'phase':'Pending','conditions':[{'type':'g','status':'True'}],'initContainerStatuses':["
		  "{'name':'x','state':{'terminated':{'exitCode':0}}},{'name':'y','state':{'running':{}}}]}}",
		  "i|0/1|Init:1/2|0|<unknown>|<none>|<none>|<none>|1/1" },
		{ "", "v1", "pods",
		  "{'metadata':{'name':'e'},'spec':{'containers':[{'name':'a'}]},'status':{'phase':'Failed','containerStatuses':[{'name':'a',"
		  "'state':{'terminated':{'exitCode':3}}}]}}",
		  "e|0/1|ExitCode:3|0|<unknown>|<none>|<none>|<none>|<none>" },
		{ "", "v1", "pods",
		  "{'metadata':{'name':'t','deletionTimestamp':'2023-11-14T22:13:20Z'},'spec':{'containers':[{'name':'a'}]},'status':{"
		  "'phase':'Running'}}",
		  "t|0/1|Terminating|0|<unknown>|<none>|<none>|<none>|<none>" },
		{ "", "v1", "pods",
		  "{'metadata':{'name':'s'},'spec':{'initContainers':[{'name':'x','restartPolicy':'Always'}],'containers':[{'name':'a'}]},"
		  "'status':{'phase':'Running','conditions':[{'type':'Ready','status':'True'}],'initContainerStatuses':[{'name':'x',"
		  "'started':true,'ready':true,'restartCount':1,'state':{'running':{}}}],'containerStatuses':[{'name':'a','ready':true,"
		  "'state':{'running':{}}}]}}",
		  "s|2/2|Running|1|<unknown>|<none>|<none>|<none>|<none>" },
		{ "apps", "v1", "deployments",
		  "{'metadata':{'name':'d'},'spec':{'replicas':3,'selector':{'matchLabels':{'b':'1','a':'2'}},'template':{'spec':{'containers':"
		  "[{'name':'x','image':'i:1'},{'name':'y','image':'j'}]}}},'status':{'readyReplicas':2,'updatedReplicas':3}}",
		  "d|2/3|3|0|<unknown>|x,y|i:1,j|a=2,b=1" },
		{ "apps", "v1", "daemonsets", "{'metadata':{'name':'d'},'status':{'numberReady':1}}",
		  "d|0|0|1|0|0|<none>|<unknown>||| <none>" },
		{ "", "v1", "services",
		  "{'metadata':{'name':'s'},'spec':{'type':'LoadBalancer','clusterIPs':['10.96.0.1'],'selector':{'a':'b'},'ports':[{'port':80,"
		  "'nodePort':30000,'protocol':'TCP'},{'port':53,'protocol':'UDP'}],'externalIPs':['9.9.9.9']},'status':{'loadBalancer':{"
		  "'ingress':[{'ip':'2.2.2.2'},{'hostname':'h'},{'ip':'1.1.1.1'}]}}}",
		  "s|LoadBalancer|10.96.0.1|1.1.1.1,2.2.2.2,h,9.9.9.9|80:30000/TCP,53/UDP|<unknown>|a=b" },
		{ "", "v1", "services", "{'metadata':{'name':'s'},'spec':{'type':'LoadBalancer'}}",
		  "s|LoadBalancer|<none>|<pending>|<none>|<unknown>|<none>" },
		{ "", "v1", "services", "{'metadata':{'name':'s'},'spec':{'type':'ExternalName','externalName':'x.y'}}",
		  "s|ExternalName|<none>|x.y|<none>|<unknown>|<none>" },
		{ "", "v1", "nodes",
		  "{'metadata':{'name':'n','labels':{'node-role.kubernetes.io/control-plane':'','kubernetes.io/role':'a'}},'spec':{"
		  "'unschedulable':true},'status':{'conditions':[{'type':'Ready','status':'True'}],'nodeInfo':{'kubeletVersion':'v1'},"
		  "'addresses':[{'type':'InternalIP','address':'1.2.3.4'}]}}",
		  "n|Ready,SchedulingDisabled|a,control-plane|<unknown>|v1|1.2.3.4|<none>|<unknown>|<unknown>|<unknown>" },
		{ "batch", "v1", "jobs",
		  "{'metadata':{'name':'j'},'spec':{'completions':3,'parallelism':2},'status':{'succeeded':1,'startTime':'2023-11-14T22:00:00Z',"
		  "'completionTime':'2023-11-14T22:01:05Z','conditions':[{'type':'Complete','status':'True'}]}}",
		  "j|Complete|1/3|65s|<unknown>|||<none>" },
		{ "batch", "v1", "jobs", "{'metadata':{'name':'j'},'spec':{'parallelism':2}}", "j|Running|0/1 of 2||<unknown>|||<none>" },
		{ "batch", "v1", "cronjobs", "{'metadata':{'name':'c'},'spec':{'schedule':'* * * * *','suspend':false}}",
		  "c|* * * * *|<none>|False|0|<none>|<unknown>|||<none>" },
		{ "networking.k8s.io", "v1", "ingresses",
		  "{'metadata':{'name':'i'},'spec':{'tls':[{}],'rules':[{'host':'a'},{'host':'b'},{'host':'c'},{'host':'d'}]}}",
		  "i|<none>|a,b,c + 1 more...||80, 443|<unknown>" },
		{ "", "v1", "endpoints",
		  "{'metadata':{'name':'e'},'subsets':[{'addresses':[{'ip':'1.1.1.1'},{'ip':'fd00::1'}],'ports':[{'port':80},{'port':81}]}]}",
		  "e|1.1.1.1:80,[fd00::1]:80,1.1.1.1:81 + 1 more...|<unknown>" },
		{ "", "v1", "persistentvolumeclaims",
		  "{'metadata':{'name':'p'},'spec':{'volumeName':'v','storageClassName':'s'},'status':{'phase':'Bound','accessModes':["
		  "'ReadOnlyMany','ReadWriteOnce'],'capacity':{'storage':'1Gi'}}}",
		  "p|Bound|v|1Gi|RWO,ROX|s|<unset>|<unknown>|<unset>" },
		{ "", "v1", "events",
		  "{'metadata':{'name':'e'},'type':'Warning','reason':'R','message':' m\\n','involvedObject':{'kind':'Pod','name':'p'},"
		  "'source':{'component':'k','host':'h'},'firstTimestamp':'2023-11-14T22:03:20Z','lastTimestamp':'2023-11-14T22:13:10Z',"
		  "'count':4}",
		  "10s|Warning|R|pod/p||k, h|m|10m|4|e" },
		{ "autoscaling", "v2", "horizontalpodautoscalers",
		  "{'metadata':{'name':'h'},'spec':{'scaleTargetRef':{'kind':'Deployment','name':'d'},'minReplicas':1,'maxReplicas':5,'metrics':["
		  "{'type':'Resource','resource':{'name':'cpu','target':{'averageUtilization':80}}},{'type':'External','external':{'target':{"
		  "'averageValue':'10'}}},{'type':'Pods'}]},'status':{'currentReplicas':2,'currentMetrics':[{'type':'Resource','resource':{"
		  "'current':{'averageUtilization':50}}}]}}",
		  "h|Deployment/d|cpu: 50%/80%, <unknown>/10 (avg) + 1 more...|1|5|2|<unknown>" },
		{ "", "v1", "resourcequotas",
		  "{'metadata':{'name':'q'},'status':{'hard':{'pods':'10','limits.cpu':'2','cpu':'1'},'used':{'pods':'3'}}}",
		  "q|cpu: 0/1, pods: 3/10|limits.cpu: 0/2|<unknown>" },
		{ "rbac.authorization.k8s.io", "v1", "rolebindings",
		  "{'metadata':{'name':'r'},'roleRef':{'kind':'Role','name':'x'},'subjects':[{'kind':'User','name':'u'},{'kind':'ServiceAccount',"
		  "'namespace':'n','name':'s'},{'kind':'User','name':'w'}]}",
		  "r|Role/x|<unknown>|u, w||n/s" },
		{ "certificates.k8s.io", "v1", "certificatesigningrequests",
		  "{'metadata':{'name':'c'},'spec':{'signerName':'s','username':'u','expirationSeconds':3600},'status':{'certificate':'eA==',"
		  "'conditions':[{'type':'Approved'}]}}",
		  "c|<unknown>|s|u|60m|Approved,Issued" },
		{ "storage.k8s.io", "v1", "storageclasses",
		  "{'metadata':{'name':'s','annotations':{'storageclass.kubernetes.io/is-default-class':'true'}},'provisioner':'p'}",
		  "s (default)|p|Delete|Immediate|false|<unknown>" },
		{ "apps", "v1", "controllerrevisions",
		  "{'metadata':{'name':'c','ownerReferences':[{'controller':true,'apiVersion':'apps/v1','kind':'StatefulSet','name':'w'}]},"
		  "'revision':3}",
		  "c|statefulset.apps/w|3|<unknown>" },
		{ "discovery.k8s.io", "v1", "endpointslices",
		  "{'metadata':{'name':'e'},'addressType':'IPv4','ports':[{'name':'x'},{'port':80}],'endpoints':[{'addresses':['1.1.1.1']},"
		  "{'addresses':['1.1.1.2']}]}",
		  "e|IPv4|x,80|1.1.1.1,1.1.1.2|<unknown>" },
		{ "apiregistration.k8s.io", "v1", "apiservices",
		  "{'metadata':{'name':'a'},'spec':{'service':{'namespace':'n','name':'s'}},'status':{'conditions':[{'type':'Available',"
		  "'status':'False','reason':'Missing'}]}}",
		  "a|n/s|False (Missing)|<unknown>" },
		{ "networking.k8s.io", "v1", "ipaddresses",
		  "{'metadata':{'name':'10.0.0.1','creationTimestamp':'2023-11-14T22:13:10Z'},'spec':{'parentRef':{'resource':'services',"
		  "'namespace':'n','name':'s'}}}",
		  "10.0.0.1|services/n/s|10s" },
		{ "", "v1", "limitranges", "{'metadata':{'name':'l','creationTimestamp':'2023-11-14T22:03:20Z'}}", "l|2023-11-14T22:03:20Z" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf got = {}, want = {};
		char *text = arena_cstr(&a, span_of(rows[i].object));
		for (char *c = text; *c; c++)
			*c = *c == '\'' ? '"' : *c;
		for (const char *c = rows[i].cells; *c; c++) /* a blank behind a bar only keeps the bars apart */
			if (*c != ' ' || c == rows[i].cells || c[-1] != '|')
				buf_chr(&want, *c);
		struct json object;
		const struct api_resource *r = api_registry_find(registry, span_of(rows[i].group), span_of(rows[i].version),
								 span_of(rows[i].plural));
		assert_non_null(r);
		if (json_parse(&a, span_of(text), 0, NULL, &object, &err) < 0)
			fail_msg("%s: %s", text, err_msg(&err));
		struct json *cells = arena_alloc_n(&a, r->n_columns + API_TABLE_MORE, sizeof(*cells));
		unsigned n = api_table_cells(&a, r, &object, NOW, cells);
		for (unsigned c = 0; c < n; c++) {
			if (c)
				buf_chr(&got, '|');
			if (cells[c].kind == JSON_STRING)
				buf_span_add(&got, json_span(&cells[c]));
			else
				json_write(&got, &cells[c], 0);
		}
		if (strcmp(buf_cstr(&got), buf_cstr(&want)))
			fail_msg("%s:\n got  %s\n want %s", rows[i].object, buf_cstr(&got), buf_cstr(&want));
	}
}

static void custom(void **state)
{
	(void)state;
	static const struct api_column columns[] = {
		{ .name = SPAN_INIT("Name"), .type = SPAN_INIT("string"), .shows = SPAN_INIT(".metadata.name") },
		{ .name = SPAN_INIT("Size"), .type = SPAN_INIT("integer"), .shows = SPAN_INIT(".spec.size") },
		{ .name = SPAN_INIT("Ratio"), .type = SPAN_INIT("number"), .shows = SPAN_INIT(".spec.ratio") },
		{ .name = SPAN_INIT("On"), .type = SPAN_INIT("boolean"), .shows = SPAN_INIT(".spec.on") },
		{ .name = SPAN_INIT("Tags"), .type = SPAN_INIT("string"), .shows = SPAN_INIT(".spec.tags") },
		{ .name = SPAN_INIT("Ready"), .type = SPAN_INIT("string"),
		  .shows = SPAN_INIT(".status.conditions[?(@.type==\"Ready\")].status") },
		{ .name = SPAN_INIT("Age"), .type = SPAN_INIT("date"), .shows = SPAN_INIT(".metadata.creationTimestamp") },
		{ .name = SPAN_INIT("Bad"), .type = SPAN_INIT("date"), .shows = SPAN_INIT(".spec.when") },
		{ .name = SPAN_INIT("Gone"), .type = SPAN_INIT("string"), .shows = SPAN_INIT(".spec.nothing") },
		{ .name = SPAN_INIT("Kind"), .type = SPAN_INIT("integer"), .shows = SPAN_INIT(".metadata.name") },
	};
	struct api_resource r = { .id = API_RESOURCE_CUSTOM, .columns = columns, .n_columns = ARRAY_LEN(columns) };
	auto_arena struct arena a = {};
	auto_buf struct buf out = {};
	struct json object, cells[ARRAY_LEN(columns) + API_TABLE_MORE], list = json_array();
	assert_int_equal(json_parse(&a,
				    SPAN("{\"metadata\":{\"name\":\"x\",\"creationTimestamp\":\"2023-11-14T22:13:10Z\"},\"spec\":{\"size\":3.0,"
					 "\"ratio\":1.5,\"on\":true,\"tags\":[\"a\",1],\"when\":\"soon\"},\"status\":{\"conditions\":[{\"type\":"
					 "\"Ready\",\"status\":\"True\"}]}}"),
				    0, NULL, &object, NULL),
			 0);
	assert_int_equal(api_table_cells(&a, &r, &object, NOW, cells), ARRAY_LEN(columns));
	for (size_t i = 0; i < ARRAY_LEN(columns); i++)
		json_push(&a, &list, cells[i]);
	json_write(&out, &list, 0);
	assert_string_equal(buf_cstr(&out), "[\"x\",3,1.5,true,\"[\\\"a\\\",1]\",\"True\",\"10s\",\"<invalid>\",null,null]");
	struct api_resource pod = { .kind = SPAN("Pod") };
	struct span reason;
	assert_false(api_table_completed(&pod, &object, &reason));
	assert_int_equal(json_parse(&a, SPAN("{\"status\":{\"phase\":\"Succeeded\"}}"), 0, NULL, &object, NULL), 0);
	assert_true(api_table_completed(&pod, &object, &reason));
	assert_true(span_is(reason, "Succeeded"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(complete), cmocka_unit_test(types), cmocka_unit_test(shows), cmocka_unit_test(custom),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
