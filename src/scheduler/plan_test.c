/* Filters, scores and words, by tables. */
#include "scheduler/plan.h"
#include "json/parse_test.h"

#define NODE "{'metadata':{'name':'n1','labels':{'zone':'east','cores':'8'}},'spec':{%s},'status':{'allocatable':{'cpu':'4','memory':'8Gi','pods':'2'," \
	     "'ex.io/gpu':'1'}}}"
#define REQ(r) "{'spec':{'containers':[{'resources':{'requests':{" r "}}}]}}"

static void filters(void **state)
{
	static const struct {
		const char *node, *pod;
		enum sched_verdict want;
		const char *reasons;
	} rows[] = {
		{ "", REQ(""), SCHED_FITS, "" },
		{ "", REQ("'cpu':'4','memory':'8Gi','ex.io/gpu':'1'"), SCHED_FITS, "" },
		{ "", REQ("'cpu':'4001m'"), SCHED_NEVER, "Insufficient cpu" },
		{ "", REQ("'cpu':'5','memory':'9Gi'"), SCHED_NEVER, "Insufficient cpu|Insufficient memory" },
		{ "", REQ("'ex.io/gpu':'2'"), SCHED_NEVER, "Insufficient ex.io/gpu" },
		{ "'unschedulable':true", REQ(""), SCHED_NEVER, "node(s) were unschedulable" },
		{ "'unschedulable':true", "{'spec':{'tolerations':[{'operator':'Exists'}]}}", SCHED_FITS, "" },
		{ "'taints':[{'key':'a','value':'b','effect':'NoSchedule'}]", REQ(""), SCHED_NEVER, "node(s) had untolerated taint {a: b}" },
		{ "'taints':[{'key':'a','value':'b','effect':'PreferNoSchedule'}]", REQ(""), SCHED_FITS, "" },
		{ "'taints':[{'key':'a','value':'b','effect':'NoExecute'}]", "{'spec':{'tolerations':[{'key':'a','value':'b'}]}}", SCHED_FITS, "" },
		{ "", "{'spec':{'nodeSelector':{'zone':'west'}}}", SCHED_NEVER, "node(s) didn't match Pod's node affinity/selector" },
		{ "", "{'spec':{'nodeSelector':{'zone':'east'}}}", SCHED_FITS, "" },
#define TERMS(t) "{'spec':{'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[" t "]}}}}}"
		{ "", TERMS("{'matchExpressions':[{'key':'zone','operator':'In','values':['x','east']},{'key':'cores',"
			    "'operator':'Gt','values':['4']}]}"), SCHED_FITS, "" },
		{ "", TERMS("{'matchExpressions':[{'key':'cores','operator':'Lt','values':['8']}]}"), SCHED_NEVER,
		  "node(s) didn't match Pod's node affinity/selector" },
		{ "", TERMS("{'matchExpressions':[{'key':'no','operator':'Exists'}]},{'matchFields':[{'key':'metadata.name',"
			    "'operator':'In','values':['n1']}]}"), SCHED_FITS, "" },
		{ "", TERMS("{}"), SCHED_NEVER, "node(s) didn't match Pod's node affinity/selector" },
		{ "", "{'spec':{'initContainers':[{'resources':{'requests':{'cpu':'3'}}},{'restartPolicy':'Always','resources':{'requests':{'cpu':'2'}}},"
		      "{'resources':{'requests':{'cpu':'2'}}}],'containers':[{'resources':{'requests':{'cpu':'1'}}}],'overhead':{'cpu':'1m'}}}", SCHED_NEVER,
		  "Insufficient cpu" }, /* 2 beside a sidecar's 2, and the overhead */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf got = {};
		struct json node = parse(&a, arena_printf(&a, NODE, rows[i].node).ptr), pod = parse(&a, rows[i].pod);
		struct sched_node n;
		struct sched_pod p;
		struct span reasons[SCHED_REASONS_MAX];
		unsigned n_reasons;
		assert_true(sched_node_read(&a, &node, &n));
		assert_true(sched_pod_read(&a, &pod, &p));
		enum sched_verdict v = sched_filter(&a, &p, &n, reasons, &n_reasons);
		for (unsigned k = 0; k < n_reasons; k++)
			buf_printf(&got, "%s%.*s", k ? "|" : "", SPAN_ARG(reasons[k]));
		if (v != rows[i].want || !span_is(buf_span(&got), rows[i].reasons))
			fail_msg("row %zu: got %d %s", i, v, buf_cstr(&got));
	}
}

static void what_is_there_counts(void **state)
{
	auto_arena struct arena a = {};
	struct json node = parse(&a, arena_printf(&a, NODE, "").ptr);
	struct json pod = parse(&a, "{'spec':{'containers':[{'ports':[{'hostPort':80}],'resources':{'requests':{'cpu':'3'}}}]}}");
	struct sched_node n;
	struct sched_pod p;
	struct span reasons[SCHED_REASONS_MAX];
	unsigned n_reasons;
	assert_true(sched_node_read(&a, &node, &n) && sched_pod_read(&a, &pod, &p));
	int64_t empty = sched_score(&p, &n);
	sched_node_count(&n, &p);
	assert_int_equal(n.n_pods, 1);
	assert_int_equal(sched_filter(&a, &p, &n, reasons, &n_reasons), SCHED_NO_ROOM);
	assert_true(n_reasons == 1 && span_is(reasons[0], "Insufficient cpu"));
	assert_true(sched_score(&p, &n) < empty);
	struct sched_pod small = {};
	int64_t before = sched_score(&small, &n);
	sched_node_count(&n, &small); /* names nothing, and counts all the same */
	assert_true(sched_score(&small, &n) < before);
	n.n_pods = 1;
	n.ports = p.ports;
	n.n_ports = 1;
	assert_int_equal(sched_filter(&a, &p, &n, reasons, &n_reasons), SCHED_NO_ROOM);
	assert_true(span_is(reasons[0], "node(s) didn't have free ports for the requested pod ports"));
	n.n_ports = 0;
	sched_request_add(&n.used, &p.request, -1);
	n.n_pods = 2;
	assert_int_equal(sched_filter(&a, &p, &n, reasons, &n_reasons), SCHED_NO_ROOM);
	assert_true(n_reasons == 1 && span_is(reasons[0], "Too many pods"));
}

static void words(void **state)
{
	auto_arena struct arena a = {};
	struct sched_tally t = {};
	struct span cpu[] = { SPAN_INIT("Insufficient cpu") }, off[] = { SPAN_INIT("node(s) were unschedulable") };
	assert_true(span_is(sched_tally_words(&a, &t, 0), "no nodes available to schedule pods"));
	sched_tally_add(&t, SCHED_NO_ROOM, cpu, 1);
	assert_string_equal(sched_tally_words(&a, &t, 1).ptr, "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No "
							      "preemption victims found for incoming pod.");
	sched_tally_add(&t, SCHED_NEVER, off, 1);
	sched_tally_add(&t, SCHED_NO_ROOM, cpu, 1);
	assert_string_equal(sched_tally_words(&a, &t, 3).ptr, "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. preemption: 0/3 "
							      "nodes are available: 2 No preemption victims found for incoming pod, 1 Preemption is not "
							      "helpful for scheduling.");
}

static void what_nobody_decides_is_named(void **state)
{
	static const struct {
		const char *spec, *want;
	} rows[] = {
		{ "{}", NULL },
		{ "{'affinity':{'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{}]}}}", "required pod anti-affinity" },
		{ "{'affinity':{'podAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{}]}}}", NULL },
		{ "{'topologySpreadConstraints':[{'whenUnsatisfiable':'ScheduleAnyway'}]}", NULL },
		{ "{'topologySpreadConstraints':[{'whenUnsatisfiable':'DoNotSchedule'}]}", "a topology spread constraint with DoNotSchedule" },
		{ "{'volumes':[{'persistentVolumeClaim':{'claimName':'x'}}]}", "a volume by a claim" },
		{ "{'resourceClaims':[{}]}", "a claim for devices" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json pod = parse(&a, arena_printf(&a, "{'spec':%s}", rows[i].spec).ptr);
		struct sched_pod p;
		assert_true(sched_pod_read(&a, &pod, &p));
		if (rows[i].want ? !p.unknown || strcmp(p.unknown, rows[i].want) != 0 : p.unknown != NULL)
			fail_msg("row %zu: got %s", i, p.unknown ? p.unknown : "nothing");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filters), cmocka_unit_test(what_is_there_counts), cmocka_unit_test(words),
		cmocka_unit_test(what_nobody_decides_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
