/* /status of Jobs: transitions that no controller may make, ours or another's. Most rules speak only when their fields change. */
#include "strategy/workload.h"

static bool is_true(const struct json *status, const char *type)
{
	JSON_EACH_ITEM(member(status, "conditions"), condition)
		if (span_is(member_text(condition, "type"), type) && span_is(member_text(condition, "status"), "True"))
			return true;
	return false;
}

static void bad_conditions(struct check *c, const char *why)
{
	pod_bad(c, &PATH(&PATH(PATH_ROOT, "status"), "conditions"), API_FE_INVALID, SPAN_EMPTY, "%s", why);
}

static void bad_time(struct check *c, const struct path *at, const struct json *time, const char *why)
{
	auto_buf struct buf shown = {};
	if (strategy_go_time(&shown, json_span(time)))
		pod_bad(c, at, API_FE_INVALID, buf_span(&shown), "%s", why);
}

static void check_uncounted(struct check *c, const struct path *at, const struct json *uncounted)
{
	static const char *const lists[] = { "succeeded", "failed" };
	auto_map struct map seen = {};
	for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
		const struct path list = PATH_SPAN(at, span_of(lists[k]));
		JSON_EACH_INDEX(json_get(uncounted, span_of(lists[k])), uid, i) {
			if (!json_span(uid).len) {
				bad_value(c, &PATH_INDEX(&list, i), uid, "must not be empty");
			} else if (map_get(&seen, json_span(uid))) {
				bad_duplicate(c, &PATH_INDEX(&list, i), uid);
			} else {
				map_put(&seen, json_span(uid), &seen);
			}
		}
	}
}

/* The first index that two lists of intervals share; -1: none. Intervals that cannot be read are passed over. */
static int64_t overlap(struct span done, struct span failed, int64_t completions)
{
	auto_buf struct buf why = {};
	int64_t a_from = 0, a_to = 0, b_from = 0, b_to = 0;
	bool a = false, b = false, more_a = done.len, more_b = failed.len;
	for (;;) {
		struct span one, rest;
		while (!a && more_a) {
			more_a = span_split(done, ',', &one, &rest);
			done = rest;
			a = workload_index_interval(one, completions, &a_from, &a_to, &why) == 0;
		}
		while (!b && more_b) {
			more_b = span_split(failed, ',', &one, &rest);
			failed = rest;
			b = workload_index_interval(one, completions, &b_from, &b_to, &why) == 0;
		}
		if (!a || !b)
			return -1;
		if (a_from <= b_to && b_from <= a_to)
			return a_from > b_from ? a_from : b_from;
		if (a_from <= b_from)
			a = false;
		else
			b = false;
	}
}

struct job {
	const struct json *spec, *now, *was;
	bool complete, failed, target, met, finished; /* as they are to be */
	bool complete_changed, failed_changed, target_changed, met_changed, finished_changed;
};

static bool changed(const struct job *j, const char *name)
{
	return member_changed(j->now, j->was, name);
}

static void check_times(struct check *c, const struct path *at, const struct job *j)
{
	const struct json *start = member(j->now, "startTime"), *end = member(j->now, "completionTime");
	const struct path end_at = PATH(at, "completionTime");
	bool end_matters = j->complete_changed || changed(j, "completionTime");
	if (j->complete && j->failed && (j->complete_changed || j->failed_changed))
		bad_conditions(c, "cannot set Complete=True and Failed=true conditions");
	if (j->complete && j->target && (j->complete_changed || j->target_changed))
		bad_conditions(c, "cannot set Complete=True and FailureTarget=true conditions");
	if (end_matters && end && !j->complete)
		bad_time(c, &end_at, end, "cannot set completionTime when there is no Complete=True condition");
	if (end_matters && !end && j->complete)
		bad_required(c, &end_at, "completionTime is required for Complete jobs");
	if ((changed(j, "startTime") || changed(j, "completionTime")) && start && end &&
	    span_cmp(json_span(end), json_span(start)) < 0)
		bad_time(c, &end_at, end, "must be equal to or after `startTime`");
}

static void check_finished(struct check *c, const struct path *at, const struct job *j)
{
	const struct json *uncounted = member(j->now, "uncountedTerminatedPods");
	if (j->failed && !j->target && (j->failed_changed || j->target_changed))
		bad_conditions(c, "cannot set Failed=True condition without the FailureTarget=true condition");
	if (j->complete && !j->met && (j->complete_changed || j->met_changed))
		bad_conditions(c, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
	if (!j->finished)
		return;
	if ((j->finished_changed || changed(j, "active")) && member_int(j->now, "active") > 0)
		bad_int(c, &PATH(at, "active"), member_int(j->now, "active"), "active>0 is invalid for finished job");
	if ((j->finished_changed || changed(j, "startTime")) && !member(j->now, "startTime"))
		bad_required(c, &PATH(at, "startTime"), "startTime is required for finished job");
	if ((j->finished_changed || changed(j, "uncountedTerminatedPods")) &&
	    (json_count(member(uncounted, "failed")) || json_count(member(uncounted, "succeeded"))))
		bad_typed(c, &PATH(at, "uncountedTerminatedPods"), "batch/v1.UncountedTerminatedPods", uncounted,
			  "must be empty for finished job");
}

static void check_indexes(struct check *c, const struct path *at, const struct job *j)
{
	const struct json *completions = member(j->spec, "completions"), *failed = member(j->now, "failedIndexes");
	const struct path done_at = PATH(at, "completedIndexes"), failed_at = PATH(at, "failedIndexes");
	struct span done = member_text(j->now, "completedIndexes");
	bool done_changed = changed(j, "completedIndexes"), failed_changed = changed(j, "failedIndexes");
	bool per_index = member(j->spec, "backoffLimitPerIndex");
	int64_t n = json_i64(completions, 0);
	auto_buf struct buf why = {}, why_failed = {};
	if (done_changed && completions && workload_count_indexes(done, n, &why) < 0)
		bad_string(c, &done_at, done, "error parsing completedIndexes: %s", buf_cstr(&why));
	if (failed_changed && completions && per_index && failed && workload_count_indexes(json_span(failed), n, &why_failed) < 0)
		bad_value(c, &failed_at, failed, "error parsing failedIndexes: %s", buf_cstr(&why_failed));
	if (done_changed && done.len && !span_is(member_text(j->spec, "completionMode"), "Indexed"))
		bad_string(c, &done_at, done, "cannot set non-empty completedIndexes when non-indexed completion mode");
	if (failed_changed && !per_index && failed)
		bad_value(c, &failed_at, failed, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
	if ((done_changed || failed_changed) && completions && failed) {
		int64_t both = overlap(done, json_span(failed), n);
		if (both >= 0)
			bad_value(c, &failed_at, failed, "failedIndexes and completedIndexes overlap at index: %lld",
				  (long long)both);
	}
}

static void check_met(struct check *c, const struct job *j)
{
	if (j->met && j->failed)
		bad_conditions(c, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
	if (j->met && j->target)
		bad_conditions(c, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
	if (member(j->spec, "successPolicy") && !j->met && j->complete)
		bad_conditions(c, "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
}

static void check_steps(struct check *c, const struct path *at, const struct job *j)
{
	static const char *const terminal[] = { "Failed", "Complete", "FailureTarget" };
	const struct json *start = member(j->was, "startTime"), *end = member(j->now, "completionTime");
	for (size_t i = 0; i < ARRAY_LEN(terminal); i++)
		if (is_true(j->was, terminal[i]) && !is_true(j->now, terminal[i]))
			bad_conditions(c, arena_printf(c->arena, "cannot disable the terminal %s=True condition", terminal[i]).ptr);
	if (member_int(j->now, "failed") < member_int(j->was, "failed"))
		bad_int(c, &PATH(at, "failed"), member_int(j->now, "failed"), "cannot decrease the failed counter");
	/* Elastic indexed jobs shrink. */
	if (!strategy_same(member(j->spec, "completions"), member(j->spec, "parallelism")) &&
	    member_int(j->now, "succeeded") < member_int(j->was, "succeeded"))
		bad_int(c, &PATH(at, "succeeded"), member_int(j->now, "succeeded"), "cannot decrease the succeeded counter");
	if (end && member(j->was, "completionTime") && changed(j, "completionTime"))
		bad_time(c, &PATH(at, "completionTime"), end, "field is immutable");
	if (start && changed(j, "startTime") && !member_true(j->spec, "suspend"))
		bad_required(c, &PATH(at, "startTime"), "startTime cannot be removed for unsuspended job");
	bool was_met = is_true(j->was, "SuccessCriteriaMet");
	if (was_met && !j->met)
		bad_conditions(c, "cannot disable the SuccessCriteriaMet=True condition");
	if (is_true(j->was, "Complete") && !was_met && j->met)
		bad_conditions(c, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
}

void check_job_status(struct check *c, const struct json *job, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "status");
	struct job j = { .spec = member(job, "spec"), .now = member(job, "status"), .was = member(old, "status") };
	j.complete = is_true(j.now, "Complete");
	j.failed = is_true(j.now, "Failed");
	j.target = is_true(j.now, "FailureTarget");
	j.met = is_true(j.now, "SuccessCriteriaMet");
	j.finished = j.complete || j.failed;
	j.complete_changed = j.complete != is_true(j.was, "Complete");
	j.failed_changed = j.failed != is_true(j.was, "Failed");
	j.target_changed = j.target != is_true(j.was, "FailureTarget");
	j.met_changed = j.met != is_true(j.was, "SuccessCriteriaMet");
	j.finished_changed = j.finished != (is_true(j.was, "Complete") || is_true(j.was, "Failed"));
	check_meta_update(c, job, old, META_CORE);
	check_counts(c, &at, j.now, "active succeeded failed ready terminating");
	check_uncounted(c, &PATH(&at, "uncountedTerminatedPods"), member(j.now, "uncountedTerminatedPods"));
	check_times(c, &at, &j);
	check_finished(c, &at, &j);
	check_indexes(c, &at, &j);
	if (j.finished && (j.finished_changed || changed(&j, "terminating")) && member_int(j.now, "terminating") > 0)
		bad_int(c, &PATH(&at, "terminating"), member_int(j.now, "terminating"),
			"terminating>0 is invalid for finished job");
	if ((changed(&j, "ready") || changed(&j, "active")) && member_int(j.now, "ready") > member_int(j.now, "active"))
		bad_int(c, &PATH(&at, "ready"), member_int(j.now, "ready"), "cannot set more ready pods than active");
	check_met(c, &j);
	check_steps(c, &at, &j);
}
