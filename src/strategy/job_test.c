/* Jobs and CronJobs: defaults, the generated selector, modes and policies, schedules, status. */
#include "strategy/strategy_test.h"

#include "strategy/workload.h"

#define J "batch/v1 Job"
#define CJ "batch/v1 CronJob"
#define POD "{'restartPolicy':'Never','containers':[{'name':'a','image':'x'}]}"
#define T "'template':{'spec':" POD "}"
#define META "'metadata':{'uid':'u'}"
#define OF(more) "{" META ",'spec':{" T more "}}"
#define LABELS "'batch.kubernetes.io/controller-uid':'u','batch.kubernetes.io/job-name':'x','controller-uid':'u','job-name':'x'"
#define STORED(more) "{'metadata':{'uid':'u','generation':1,'labels':{" LABELS "}},'spec':{'selector':{'matchLabels':{" \
	"'batch.kubernetes.io/controller-uid':'u'}},'template':{'metadata':{'labels':{" LABELS "}},'spec':" POD "}" more "}}"

static const struct row job_rows[] = {
	{ J, OF(""), NULL, NULL, NULL,
	  "{'metadata':{'generation':1,'labels':{" LABELS "}},'spec':{'completions':1,'parallelism':1,'backoffLimit':6,"
	  "'completionMode':'NonIndexed','suspend':false,'podReplacementPolicy':'TerminatingOrFailed','manualSelector':false,"
	  "'selector':{'matchLabels':{'batch.kubernetes.io/controller-uid':'u'}},'template':{'metadata':{'labels':{" LABELS "}}}}}" },
	{ J, OF(",'completionMode':'Indexed','completions':3,'backoffLimitPerIndex':1"), NULL, NULL, NULL,
	  "{'spec':{'backoffLimit':2147483647,'parallelism':1}}" },
	{ J, OF(",'parallelism':2"), NULL, NULL, NULL, "{'spec':{'completions':null,'parallelism':2}}" },
	{ J, "{'metadata':{'uid':'u'},'spec':{'template':{'metadata':{'labels':{'a':'b'}},'spec':" POD "},'podFailurePolicy':{'rules':["
	     "{'action':'Ignore','onPodConditions':[{'type':'DisruptionTarget'}]}]}},'status':{'active':1}}", NULL, NULL, NULL,
	  "{'metadata':{'labels':{'a':'b'}},'status':null,'spec':{'podReplacementPolicy':'Failed','podFailurePolicy':{'rules':["
	  "{'action':'Ignore','onPodConditions':[{'type':'DisruptionTarget','status':'True'}]}]}}}" },
	{ J, "{" META ",'spec':{'manualSelector':true,'template':{'spec':" POD "}}}",
	  "[spec.selector: Required value, spec.template.metadata.labels: Invalid value: map[string]string(nil): `selector` does not match "
	  "template `labels`]" },
	{ J, "{" META ",'spec':{'template':{'spec':{'containers':[{'name':'a','image':'x'}]}}}}",
	  "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"" },
	{ J, "{" META ",'spec':{'template':{'spec':{'restartPolicy':'OnFailure','containers':[{'name':'a','image':'x'}]}},"
	     "'podFailurePolicy':{'rules':[]}}}",
	  "spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified" },
	{ J, "{" META ",'spec':{'template':{'metadata':{'labels':{'job-name':'y'}},'spec':" POD "}}}",
	  "spec.template.metadata.labels[job-name]: Invalid value: map[string]string{\"batch.kubernetes.io/controller-uid\":\"u\", "
	  "\"batch.kubernetes.io/job-name\":\"x\", \"controller-uid\":\"u\", \"job-name\":\"y\"}: must be 'x'" },
	{ J, OF(",'parallelism':-1,'completions':-1,'backoffLimit':-1,'maxFailedIndexes':1,'managedBy':'me','completionMode':'Random'"),
	  "[spec.parallelism: Invalid value: -1: must be greater than or equal to 0, spec.completions: Invalid value: -1: must be greater "
	  "than or equal to 0, spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0, spec.backoffLimitPerIndex: "
	  "Required value: when maxFailedIndexes is specified, spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such "
	  "as \"acme.io/foo\"), spec.completionMode: Unsupported value: \"Random\": supported values: \"NonIndexed\", \"Indexed\"]" },
	{ J, OF(",'completionMode':'Indexed'"), NULL },
	{ J, OF(",'completionMode':'Indexed','parallelism':200000"),
	  "[spec.completions: Required value: when completion mode is Indexed, spec.parallelism: Invalid value: 200000: must be less than "
	  "or equal to 100000 when completion mode is Indexed]" },
	{ J, OF(",'backoffLimitPerIndex':1"), "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode" },
	{ J, OF(",'podFailurePolicy':{'rules':[{'action':''},{'action':'FailIndex','onExitCodes':{'operator':'In','containerName':'z',"
		 "'values':[3,0,3]}},{'action':'X','onExitCodes':{'operator':'Is','values':[]},'onPodConditions':[{'type':'a b',"
		 "'status':'Maybe'}]}]}"),
	  "[spec.podFailurePolicy.rules[0].action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"], "
	  "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required, "
	  "spec.podFailurePolicy.rules[1].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set, "
	  "spec.podFailurePolicy.rules[1].onExitCodes.containerName: Invalid value: \"z\": must be one of the container or initContainer "
	  "names in the pod template, spec.podFailurePolicy.rules[1].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In "
	  "operator, spec.podFailurePolicy.rules[1].onExitCodes.values[2]: Duplicate value: 3, "
	  "spec.podFailurePolicy.rules[1].onExitCodes.values: Invalid value: []int32{3, 0, 3}: must be ordered, "
	  "spec.podFailurePolicy.rules[2].action: Unsupported value: \"X\": supported values: \"Count\", \"FailIndex\", \"FailJob\", "
	  "\"Ignore\", spec.podFailurePolicy.rules[2].onExitCodes.operator: Unsupported value: \"Is\": supported values: \"In\", "
	  "\"NotIn\", spec.podFailurePolicy.rules[2].onExitCodes.values: Invalid value: []int32{}: at least one value is required, "
	  "spec.podFailurePolicy.rules[2].onPodConditions[0].type: Invalid value: \"a b\": name part must consist of alphanumeric "
	  "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
	  "regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'), spec.podFailurePolicy.rules[2].onPodConditions[0]."
	  "status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\", spec.podFailurePolicy.rules[2]: "
	  "Invalid value: specifying both OnExitCodes and OnPodConditions is not supported]" },
	{ J, OF(",'successPolicy':{'rules':[{'succeededCount':1}]}"),
	  "spec.successPolicy: Invalid value: {\"rules\":[{\"succeededCount\":1}]}: requires indexed completion mode" },
	{ J, OF(",'completionMode':'Indexed','completions':4,'successPolicy':{'rules':[{},{'succeededIndexes':'1,0'},"
		 "{'succeededIndexes':'0-2','succeededCount':4},{'succeededCount':5},{'succeededIndexes':'3-9'},{'succeededIndexes':'x'}]}"),
	  "[spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified, "
	  "spec.successPolicy.rules[1].succeededIndexes: Invalid value: \"1,0\": error parsing succeededIndexes: non-increasing order, "
	  "previous: 1, current: 0, spec.successPolicy.rules[2].succeededCount: Invalid value: 4: must be less than or equal to 3 (the "
	  "number of indexes in the specified succeededIndexes field), spec.successPolicy.rules[3].succeededCount: Invalid value: 5: must "
	  "be less than or equal to 4 (the number of specified completions), spec.successPolicy.rules[4].succeededIndexes: Invalid value: "
	  "\"3-9\": error parsing succeededIndexes: too large index: \"9\", spec.successPolicy.rules[5].succeededIndexes: Invalid value: "
	  "\"x\": error parsing succeededIndexes: cannot convert string to integer for index: \"x\"]" },
	/* updates */
	{ J, STORED(",'completions':3"), "spec.completions: Invalid value: 3: field is immutable", STORED(",'completions':2") },
	{ J, STORED(",'parallelism':3"), NULL, STORED(",'parallelism':2"), NULL, "{'metadata':{'generation':2}}" },
	{ J, STORED(",'completionMode':'Indexed','completions':3,'parallelism':2"),
	  "spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism",
	  STORED(",'completionMode':'Indexed','completions':2,'parallelism':2") },
	{ J, STORED(",'suspend':true"), NULL, STORED(",'suspend':false") },
	/* status */
	{ J, "{'metadata':{'uid':'u'},'status':{'active':-1,'ready':1,'completedIndexes':'0','conditions':[{'type':'Complete','status':'True'}]}}",
	  "[status.active: Invalid value: -1: must be greater than or equal to 0, status.completionTime: Required value: completionTime is "
	  "required for Complete jobs, status.conditions: Invalid value: cannot set Complete=True condition without the "
	  "SuccessCriteriaMet=true condition, status.startTime: Required value: startTime is required for finished job, "
	  "status.completedIndexes: Invalid value: \"0\": cannot set non-empty completedIndexes when non-indexed completion mode, "
	  "status.ready: Invalid value: 1: cannot set more ready pods than active]", STORED(""), "status" },
	{ J, "{'metadata':{'uid':'u'},'status':{'startTime':'2020-01-02T00:00:00Z','completionTime':'2020-01-01T00:00:00Z','conditions':["
	     "{'type':'Complete','status':'True'},{'type':'SuccessCriteriaMet','status':'True'}]}}",
	  "status.completionTime: Invalid value: 2020-01-01 00:00:00 +0000 UTC: must be equal to or after `startTime`", STORED(""), "status" },
	{ J, "{'metadata':{'uid':'u'},'status':{'failed':1}}", "status.failed: Invalid value: 1: cannot decrease the failed counter",
	  "{'metadata':{'uid':'u'},'spec':{" T "},'status':{'failed':2}}", "status" },
};

static void test_job(void **state)
{
	RUN_ROWS(job_rows);
}

#define CRON(more) "{'spec':{'schedule':'* * * * *','jobTemplate':{'spec':{" T "}}" more "}}"
#define AT(schedule) "{'spec':{'schedule':'" schedule "','jobTemplate':{'spec':{" T "}}}}"
static const struct row cron_rows[] = {
	{ CJ, CRON(""), NULL, NULL, NULL, "{'metadata':{'generation':1},'spec':{'concurrencyPolicy':'Allow','suspend':false,"
	  "'successfulJobsHistoryLimit':3,'failedJobsHistoryLimit':1,'jobTemplate':{'spec':{'completions':null,'template':{'spec':{"
	  "'dnsPolicy':'ClusterFirst'}}}}}}" },
	{ CJ, "{'spec':{'jobTemplate':{'spec':{" T "}}}}", "spec.schedule: Required value" },
	{ CJ, AT("*/15 0-23/2,5 1 jan-DEC ?") },
	{ CJ, AT("@daily") },
	{ CJ, AT("@every 1h30m") },
	{ CJ, AT("@fortnightly"), "spec.schedule: Invalid value: \"@fortnightly\": unrecognized descriptor: @fortnightly" },
	{ CJ, AT("@every x"), "spec.schedule: Invalid value: \"@every x\": failed to parse duration @every x: time: invalid duration \"x\"" },
	{ CJ, AT("* * * *"), "spec.schedule: Invalid value: \"* * * *\": expected exactly 5 fields, found 4: [* * * *]" },
	{ CJ, AT("60 * * * *"), "spec.schedule: Invalid value: \"60 * * * *\": end of range (60) above maximum (59): 60" },
	{ CJ, AT("* * 0 * *"), "spec.schedule: Invalid value: \"* * 0 * *\": beginning of range (0) below minimum (1): 0" },
	{ CJ, AT("5-3 * * * *"), "spec.schedule: Invalid value: \"5-3 * * * *\": beginning of range (5) beyond end of range (3): 5-3" },
	{ CJ, AT("1-2-3 * * * *"), "spec.schedule: Invalid value: \"1-2-3 * * * *\": too many hyphens: 1-2-3" },
	{ CJ, AT("1/2/3 * * * *"), "spec.schedule: Invalid value: \"1/2/3 * * * *\": too many slashes: 1/2/3" },
	{ CJ, AT("*/0 * * * *"), "spec.schedule: Invalid value: \"*/0 * * * *\": step of range should be a positive number: */0" },
	{ CJ, AT("x * * * *"), "spec.schedule: Invalid value: \"x * * * *\": failed to parse int from x: strconv.Atoi: parsing \"x\": "
	  "invalid syntax" },
	{ CJ, AT("TZ=UTC * * * * *"), "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone "
	  "field instead" },
	{ CJ, CRON(",'timeZone':'Europe/Berlin'") },
	{ CJ, CRON(",'timeZone':'Europe/Atlantis'"),
	  "spec.timeZone: Invalid value: \"Europe/Atlantis\": unknown time zone Europe/Atlantis" },
	{ CJ, CRON(",'timeZone':''"), "spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string" },
	{ CJ, CRON(",'timeZone':'../UTC'"), "spec.timeZone: Invalid value: \"../UTC\": unknown time zone ../UTC" },
	{ CJ, CRON(",'timeZone':'Local'"), "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in "
	  "https://www.iana.org/time-zones" },
	{ CJ, CRON(",'concurrencyPolicy':'Maybe','startingDeadlineSeconds':-1,'failedJobsHistoryLimit':-1"),
	  "[spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0, spec.concurrencyPolicy: Unsupported value: "
	  "\"Maybe\": supported values: \"Allow\", \"Forbid\", \"Replace\", spec.failedJobsHistoryLimit: Invalid value: -1: must be greater "
	  "than or equal to 0]" },
	{ CJ, "{'spec':{'schedule':'* * * * *','jobTemplate':{'spec':{'manualSelector':true,'selector':{},'template':{'spec':{'containers':["
	      "{'name':'a','image':'x'}]}}}}}}",
	  "[spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\", "
	  "spec.jobTemplate.spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string(nil), "
	  "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: `selector` will be auto-generated, spec.jobTemplate.spec.manualSelector: "
	  "Unsupported value: true: supported values: \"nil\", \"false\"]" },
	{ CJ, "{'metadata':{'name':'a1234567890123456789012345678901234567890123456789012'},'spec':{'schedule':'* * * * *','jobTemplate':{"
	      "'spec':{" T "}}}}",
	  "metadata.name: Invalid value: \"a1234567890123456789012345678901234567890123456789012\": must be no more than 52 characters" },
	{ CJ, CRON(",'suspend':true"), NULL, "{'metadata':{'generation':1},'spec':{'schedule':'* * * * *','jobTemplate':{'spec':{" T "}}}}",
	  NULL, "{'metadata':{'generation':2}}" },
};

static void test_cron_job(void **state)
{
	RUN_ROWS(cron_rows);
}

static void test_zones(void **state)
{
	static const char *const good[] = { "UTC", "Etc/GMT+1", "Africa/Abidjan", "Zulu", "America/Argentina/Buenos_Aires", "EST5EDT" };
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (!cron_zone_exists(span_of(good[i])))
			fail_msg("%s is missing from zones.def, or the list is not sorted", good[i]);
	assert_false(cron_zone_exists(SPAN("utc")));
	assert_false(cron_zone_exists(SPAN("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_job), cmocka_unit_test(test_cron_job), cmocka_unit_test(test_zones),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
