/* LimitRanger: defaults, bounds, ratios, pods as a whole, claims. */
#include "admission/admission_test.h"

#define RANGE(limits) "{'limitranges/ns/l':{'spec':{'limits':[" limits "]}}}"
#define POD(resources) "{'spec':{'containers':[{'name':'c','resources':{" resources "}}]}}"
#define NO "pods \"x\" is forbidden: "

static void test_defaults(void **state)
{
	test_cluster = RANGE("{'type':'Container','default':{'memory':'1Gi','cpu':'1'},'defaultRequest':{'cpu':'100m'}}");
	static const struct row rows[] = {
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a'},{'name':'b','resources':{'limits':{'cpu':'2','memory':'1'},'requests':{'cpu':'1'}}}],"
			    "'initContainers':[{'name':'i','resources':{'requests':{'cpu':'1'}}}]}}",
		  .stored = "{'metadata':{'annotations':{'kubernetes.io/limit-ranger':'LimitRanger plugin set: cpu request for container a; "
			    "cpu, memory limit for container a; cpu, memory limit for init container i'}},'spec':{'containers':[{'name':'a',"
			    "'resources':{'limits':{'memory':'1Gi','cpu':'1'},'requests':{'cpu':'100m'}}},{'name':'b','resources':{'limits':{'cpu':'2',"
			    "'memory':'1'},'requests':{'cpu':'1'}}}],'initContainers':[{'name':'i','resources':{'requests':{'cpu':'1'},"
			    "'limits':{'memory':'1Gi','cpu':'1'}}}]}}" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a'}]}}", .old = "{}", .stored = "{'spec':{'containers':[{'name':'a'}]}}" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'a'}]}}", .ns = "other", .stored = "{'spec':{'containers':[{'name':'a'}]}}" },
	};
	RUN_ROWS("LimitRanger", rows);
}

static void test_container(void **state)
{
	test_cluster = RANGE("{'type':'Container','max':{'cpu':'1'},'min':{'cpu':'100m'}}");
	static const struct row rows[] = {
		{ "v1 Pod", POD("'limits':{'cpu':'1'},'requests':{'cpu':'100m'}") },
		{ "v1 Pod", POD("'limits':{'cpu':'2'},'requests':{'cpu':'100m'}"), NO "maximum cpu usage per Container is 1, but limit is 2" },
		{ "v1 Pod", POD("'limits':{'cpu':'1'},'requests':{'cpu':'1500m'}"),
		  NO "maximum cpu usage per Container is 1, but request is 1500m" },
		{ "v1 Pod", POD("'limits':{'cpu':'1'},'requests':{'cpu':'50m'}"), NO "minimum cpu usage per Container is 100m, but request is 50m" },
		{ "v1 Pod", POD("'limits':{'cpu':'50m'},'requests':{'cpu':'100m'}"), NO "minimum cpu usage per Container is 100m, but limit is 50m" },
		{ "v1 Pod", POD(""), NO "[minimum cpu usage per Container is 100m.  No request is specified, maximum cpu usage per Container is 1.  "
					"No limit is specified]" },
		/* the same complaint of two containers is told once */
		{ "v1 Pod", "{'spec':{'containers':[{'resources':{'limits':{'cpu':'2'},'requests':{'cpu':'1'}}}],'initContainers':[{'resources':{"
			    "'limits':{'cpu':'2'},'requests':{'cpu':'1'}}}]}}", NO "maximum cpu usage per Container is 1, but limit is 2" },
		{ "v1 Pod", POD("'limits':{'cpu':'2'},'requests':{'cpu':'1'}"), NO "maximum cpu usage per Container is 1, but limit is 2",
		  .old = "{}", .sub = "resize" },
		{ "v1 Pod", POD("'limits':{'cpu':'2'},'requests':{'cpu':'1'}"), .old = "{}" },
		{ "v1 Pod", "{}", .sub = "eviction" },
	};
	RUN_ROWS("LimitRanger", rows);
	test_cluster = RANGE("{'type':'Container','maxLimitRequestRatio':{'memory':'2'}}");
	static const struct row ratio[] = {
		{ "v1 Pod", POD("'limits':{'memory':'2Gi'},'requests':{'memory':'1Gi'}") },
		{ "v1 Pod", POD("'limits':{'memory':'5Gi'},'requests':{'memory':'2Gi'}"),
		  NO "memory max limit to request ratio per Container is 2, but provided ratio is 2.500000" },
		{ "v1 Pod", POD("'limits':{'memory':'5Gi'}"),
		  NO "memory max limit to request ratio per Container is 2, but no request is specified or request is 0" },
		{ "v1 Pod", POD("'requests':{'memory':'5Gi'}"),
		  NO "memory max limit to request ratio per Container is 2, but no limit is specified or limit is 0" },
	};
	RUN_ROWS("LimitRanger", ratio);
}

static void test_pod(void **state)
{
	test_cluster = RANGE("{'type':'Pod','max':{'cpu':'2'}}");
	static const struct row rows[] = {
		{ "v1 Pod", "{'spec':{'containers':[{'resources':{'limits':{'cpu':'1500m'}}},{'resources':{'limits':{'cpu':'1'}}}]}}",
		  NO "maximum cpu usage per Pod is 2, but limit is 2500m" },
		/* an init container counts beside the others only when it asks for more */
		{ "v1 Pod", "{'spec':{'containers':[{'resources':{'limits':{'cpu':'1'}}}],'initContainers':[{'resources':{'limits':{'cpu':'2'}}}]}}" },
		{ "v1 Pod", "{'spec':{'containers':[{'resources':{'limits':{'cpu':'1'}}}],'initContainers':[{'resources':{'limits':{'cpu':'3'}}}]}}",
		  NO "maximum cpu usage per Pod is 2, but limit is 3" },
		/* sidecars count all the time, and beside the init containers behind them */
		{ "v1 Pod", "{'spec':{'containers':[{'resources':{'limits':{'cpu':'1'}}}],'initContainers':[{'restartPolicy':'Always','resources':{"
			    "'limits':{'cpu':'1'}}},{'resources':{'limits':{'cpu':'1500m'}}}]}}", NO "maximum cpu usage per Pod is 2, but limit is 2500m" },
		{ "v1 Pod", "{'spec':{'containers':[{'name':'c'}]}}", NO "maximum cpu usage per Pod is 2.  No limit is specified" },
	};
	RUN_ROWS("LimitRanger", rows);
}

static void test_claim(void **state)
{
	test_cluster = RANGE("{'type':'PersistentVolumeClaim','min':{'storage':'1Gi'},'max':{'storage':'2Gi'}}");
#define CLAIM(size) "{'spec':{'resources':{'requests':{'storage':'" size "'}}}}"
#define NOT "persistentvolumeclaims \"x\" is forbidden: "
	static const struct row rows[] = {
		{ "v1 PersistentVolumeClaim", CLAIM("2Gi") },
		{ "v1 PersistentVolumeClaim", CLAIM("1Mi"), NOT "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi" },
		{ "v1 PersistentVolumeClaim", CLAIM("3Gi"), NOT "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi",
		  .old = CLAIM("1Gi") },
		{ "v1 PersistentVolumeClaim", "{'spec':{}}",
		  NOT "[minimum storage usage per PersistentVolumeClaim is 1Gi.  No request is specified, maximum storage usage per "
		  "PersistentVolumeClaim is 2Gi.  No request is specified]" },
		{ "v1 PersistentVolumeClaim", CLAIM("3Gi"), .old = CLAIM("1Gi"), .sub = "status" },
	};
	RUN_ROWS("LimitRanger", rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_container),
		cmocka_unit_test(test_pod),
		cmocka_unit_test(test_claim),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
