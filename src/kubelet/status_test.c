/* Statuses by tables. A row is: the pod | what is there | phase, then the conditions that are True, then a word a container:
 * name=state(restarts) with r ready and s started; behind < how the one before ended. */
#include "kubelet/status.h"
#include "kubelet/world_test.h"

static struct json old_parse(struct arena *a, const char *text)
{
	auto_err struct err err = ERR_INIT;
	struct json v;
	if (json_parse(a, span_of(text), 0, NULL, &v, &err) < 0)
		fail_msg("%s: %s", text, err_msg(&err));
	return v;
}

static void containers(struct buf *out, const struct json *list)
{
	JSON_EACH_ITEM(list, c) {
		const struct json *state = json_getl(c, "state"), *last = json_path(c, "lastState", "terminated", NULL);
		buf_printf(out, " %.*s=", SPAN_ARG(json_span(json_getl(c, "name"))));
		if (json_getl(state, "running"))
			buf_str(out, "running");
		else if (json_getl(state, "terminated"))
			buf_printf(out, "%.*s", SPAN_ARG(json_span(json_path(state, "terminated", "reason", NULL))));
		else
			buf_printf(out, "%.*s", SPAN_ARG(json_span(json_path(state, "waiting", "reason", NULL))));
		int64_t restarts = json_i64(json_getl(c, "restartCount"), 0);
		if (restarts && restarts < 90) /* the words above count attempts down from 100 */
			buf_printf(out, "(%lld)", (long long)restarts);
		if (json_truth(json_getl(c, "ready"), false))
			buf_chr(out, 'r');
		if (json_truth(json_getl(c, "started"), false))
			buf_chr(out, 's');
		if (last)
			buf_printf(out, "<%.*s", SPAN_ARG(json_span(json_getl(last, "reason"))));
	}
}

static void summary(struct buf *out, const struct json *status)
{
	static const char *const types[][2] = { { "PodReadyToStartContainers", "net" }, { "Initialized", "init" }, { "ContainersReady", "cont" },
						{ "Ready", "ready" }, { "PodScheduled", "sched" } };
	const struct json *list = json_getl(status, "conditions");
	buf_printf(out, "%.*s", SPAN_ARG(json_span(json_getl(status, "phase"))));
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		JSON_EACH_ITEM(list, c)
			if (span_is(json_span(json_getl(c, "type")), types[i][0]) && span_is(json_span(json_getl(c, "status")), "True"))
				buf_printf(out, " %s", types[i][1]);
	containers(out, json_getl(status, "initContainerStatuses"));
	containers(out, json_getl(status, "containerStatuses"));
}

#define OLD(name, state, what) "{\"containerStatuses\":[{\"name\":\"" name "\",\"state\":{\"" state "\":" what "}}]}"
#define OLD_INIT(name, code)                                                                                             \
	"{\"initContainerStatuses\":[{\"name\":\"" name "\",\"state\":{\"terminated\":{\"reason\":\"Ended\",\"exitCode\":" code "}}}]}"

static void a_status_says_what_is_there(void **state)
{
	static const struct {
		const char *pod, *there;
		bool over, initialized;
		const char *old, *want;
	} rows[] = {
		{ "Always;;x", "", false, true, "{}", "Pending init sched x=ContainerCreating" },
		{ "Always;i;x", "S0r i:R", false, false, "{}", "Pending sched i=running x=PodInitializing" },
		{ "Always;i;x", "S0r i:x0", false, true, "{}", "Pending init sched i=Completedr x=ContainerCreating" },
		{ "Always;;x", "S0r x:R x.started x.ready", false, true, "{}", "Running init cont ready sched x=runningrs" },
		{ "Always;;x", "S0r x:R x.started", false, true, "{}", "Running init sched x=runnings" },
		{ "Always;;x y", "S0r x:R x.started x.ready y:C", false, true, "{}", "Pending init sched x=runningrs y=ContainerCreating" },
		{ "Always;;x", "S0r x:x1", false, true, "{}", "Running init sched x=Error" },
		{ "Always;;x", "S0r x:x1 x.loop", false, true, "{}", "Running init sched x=CrashLoopBackOff<Error" },
		{ "Always;;x", "S0r x:R x:x1 x.started x.ready", false, true, "{}", "Running init cont ready sched x=runningrs<Error" },
		/* Its postStart runs: nothing says that it does. */
		{ "Always;;x", "S0r x:R x.hook", false, true, "{}", "Pending init sched x=ContainerCreating" },
		{ "Always;i;x", "S0r i:x0 x:R x.hook", false, true, "{}", "Pending init sched i=Completedr x=ContainerCreating" },
		{ "Always;;x y", "S0r x:R x:x1 x.hook y:R y.started y.ready", false, true, "{}",
		  "Running init sched x=ContainerCreating<Error y=runningrs" },
		{ "Always;;x", "S0n x:x0", true, true, "{}", "Succeeded init sched x=Completed" },
		{ "Never;;x", "S0n x:x0", true, true, "{}", "Succeeded init sched x=Completed" },
		{ "Never;;x y", "S0n x:x0 y:x2", true, true, "{}", "Failed init sched x=Completed y=Error" },
		{ "Never;;x y", "S0r x:x1 y:R y.started y.ready", false, true, "{}", "Running init sched x=Error y=runningrs" },
		{ "Never;i;x", "S0n i:x3", true, false, "{}", "Failed sched i=Error x=PodInitializing" },
		{ "Never;;x", "", true, true, "{\"containerStatuses\":[{\"name\":\"x\",\"restartCount\":2,\"state\":{\"running\":{}}}]}",
		  "Failed init sched x=ContainerStatusUnknown(2)" },
		/* The runtime has forgotten what the API was told. */
		{ "Never;;x", "x=x3", true, true, OLD("x", "terminated", "{\"reason\":\"Error\",\"exitCode\":3}"), "Failed init sched x=Error" },
		{ "OnFailure;;x y", "x=x0 y=R", false, true,
		  "{\"containerStatuses\":[{\"name\":\"x\",\"state\":{\"terminated\":{\"reason\":\"Completed\",\"exitCode\":0}}},"
		  "{\"name\":\"y\",\"state\":{\"running\":{}}}]}", "Running init sched x=Completed y=ContainerCreating<ContainerStatusUnknown" },
		{ "Never;;x y", "S0r x=R y:R y.started y.ready", false, true, OLD("x", "running", "{}"),
		  "Running init sched x=ContainerStatusUnknown y=runningrs" },
		{ "Always;;x", "x=R", false, true, OLD("x", "running", "{}"), "Running init sched x=ContainerCreating<ContainerStatusUnknown" },
		/* An init container runs again in a new sandbox: the API takes no step back from an end that was for good. */
		{ "OnFailure;i;x", "S1r i:R", false, false, OLD_INIT("i", "0"), "Pending init sched i=Endedr x=PodInitializing" },
		{ "OnFailure;i;x", "S1r", false, false, OLD_INIT("i", "0"), "Pending init sched i=Endedr x=PodInitializing" },
		{ "OnFailure;i;x", "S1r i:R", false, false, OLD_INIT("i", "1"), "Pending sched i=running x=PodInitializing" },
		{ "Never;i;x", "S1r i:R", false, false, OLD_INIT("i", "0"), "Pending init sched i=Endedr x=PodInitializing" },
		{ "Never;i;x", "S1r i:x2", false, false, OLD_INIT("i", "0"), "Pending sched i=Error x=PodInitializing" },
		{ "Always;i;x", "S1r i:R", false, false, OLD_INIT("i", "0"), "Pending sched i=running x=PodInitializing" },
		/* Its sandbox went away before anything of it had failed. */
		{ "Never;i;x", "S0n i:x0", true, false, "{}", "Failed init sched i=Completedr x=PodInitializing" },
		{ "Never;;x", "S0r x:R", false, true, "{\"phase\":\"Failed\"}", "Failed init sched x=running" },
		{ "Always;s*;x", "S0r s:R s.started s.ready x:R x.started x.ready", false, true, "{}",
		  "Running init cont ready sched s=runningrs x=runningrs" },
		{ "Always;s*;x", "S0r s:R s.started x:R x.started x.ready", false, true, "{}",
		  "Running init sched s=runnings x=runningrs" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf got = {};
		struct world w;
		struct json status, old = old_parse(&a, rows[i].old);
		world_begin(&w, rows[i].pod, rows[i].there);
		const struct kl_status_in in = { .pod = w.pod, .old = &old, .now_s = NOW_NS / NS_PER_S, .start_s = NOW_NS / NS_PER_S,
						 .over = rows[i].over, .initialized = rows[i].initialized, .runtime = SPAN("rt") };
		kl_status_make(&a, &in, &status);
		summary(&got, &status);
		if (!span_is(buf_span(&got), rows[i].want))
			fail_msg("%s | %s\n got: %s\nwant: %s", rows[i].pod, rows[i].there, buf_cstr(&got), rows[i].want);
		world_end(&w);
	}
}

static void a_refusal_is_a_failure_with_its_words(void **state)
{
	auto_arena struct arena a = {};
	struct world w;
	struct json status;
	world_begin(&w, "Always;;x", "");
	const struct kl_status_in in = { .pod = w.pod, .now_s = 1, .start_s = 1, .reason = "OutOfcpu", .message = "Pod was rejected: no",
					 .refused = true, .runtime = SPAN("rt") };
	kl_status_make(&a, &in, &status);
	assert_true(span_is(json_span(json_getl(&status, "phase")), "Failed"));
	assert_true(span_is(json_span(json_getl(&status, "reason")), "OutOfcpu"));
	assert_true(span_is(json_span(json_getl(&status, "message")), "Pod was rejected: no"));
	/* kubectl would say ContainerCreating of containers that never will be. */
	assert_null(json_getl(&status, "containerStatuses"));
	assert_null(json_getl(&status, "conditions"));
	/* The next kubelet finds it over. */
	struct json again, diff;
	kl_status_make(&a, &(struct kl_status_in){ .pod = w.pod, .old = &status, .now_s = 5, .start_s = 5, .over = true, .refused = true,
						   .runtime = SPAN("rt") }, &again);
	assert_false(kl_status_diff(&a, &status, &again, &diff));
	assert_true(span_is(json_span(json_getl(&again, "phase")), "Failed"));
	assert_true(span_is(json_span(json_getl(&again, "startTime")), "1970-01-01T00:00:01Z"));
	world_end(&w);
}

static void a_pod_that_is_ended_fails_when_it_has_ended(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf got = {};
	struct world w;
	struct json status, old = old_parse(&a, "{\"phase\":\"Running\"}");
	world_begin(&w, "Always;;x", "S0r x:R x.started x.ready");
	struct kl_status_in in = { .pod = w.pod, .old = &old, .now_s = 9, .start_s = 1, .reason = "DeadlineExceeded", .message = "too long",
				   .initialized = true, .runtime = SPAN("rt") };
	kl_status_make(&a, &in, &status);
	summary(&got, &status);
	assert_string_equal(buf_cstr(&got), "Running init sched x=runningrs");
	assert_null(json_getl(&status, "reason"));
	world_end(&w);
	world_begin(&w, "Always;;x", "S0n x:x137");
	in.pod = w.pod;
	in.over = true;
	buf_trunc(&got, 0);
	kl_status_make(&a, &in, &status);
	summary(&got, &status);
	assert_string_equal(buf_cstr(&got), "Failed init sched x=Error");
	assert_true(span_is(json_span(json_getl(&status, "reason")), "DeadlineExceeded"));
	world_end(&w);
}

static void what_did_not_change_is_not_written(void **state)
{
	auto_arena struct arena a = {};
	struct world w;
	struct json first, second, diff;
	world_begin(&w, "Always;;x", "S0r x:R x.started x.ready");
	struct kl_status_in in = { .pod = w.pod, .now_s = 1000, .start_s = 1000, .initialized = true, .runtime = SPAN("rt") };
	kl_status_make(&a, &in, &first);
	in.old = &first;
	in.now_s = 2000;
	kl_status_make(&a, &in, &second);
	assert_false(kl_status_diff(&a, &first, &second, &diff));
	/* One condition changes: it is sent alone, and what it says no more is taken back. */
	w.pod->items[0].ready = false;
	kl_status_make(&a, &in, &second);
	assert_true(kl_status_diff(&a, &first, &second, &diff));
	const struct json *list = json_getl(&diff, "conditions");
	assert_int_equal(list->n, 2);
	in.old = &second;
	w.pod->items[0].ready = true;
	kl_status_make(&a, &in, &first);
	assert_true(kl_status_diff(&a, &second, &first, &diff));
	list = json_getl(&diff, "conditions");
	assert_int_equal(list->n, 2);
	assert_true(json_is(json_getl(&list->items[0], "message"), JSON_NULL));
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_status_says_what_is_there),
		cmocka_unit_test(a_refusal_is_a_failure_with_its_words),
		cmocka_unit_test(a_pod_that_is_ended_fails_when_it_has_ended),
		cmocka_unit_test(what_did_not_change_is_not_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
