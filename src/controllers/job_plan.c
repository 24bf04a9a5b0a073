#include "controllers/job_plan.h"

#define AT_ONCE 500

struct job_indexes job_indexes_parse(struct arena *a, uint32_t size, struct span text)
{
	struct job_indexes s = { .in = arena_zalloc(a, (size_t)size + 1), .size = size };
	struct span part, from, to;
	while (span_cut(&text, ',', &part)) {
		uint64_t first, last;
		bool range = span_split(part, '-', &from, &to);
		if (!span_to_u64(from, &first))
			break;
		last = first;
		if (range && !span_to_u64(to, &last))
			break;
		for (uint64_t i = first; i <= last && i < size; i++)
			job_indexes_add(&s, (int64_t)i);
	}
	return s;
}

void job_indexes_add(struct job_indexes *s, int64_t index)
{
	if (index < 0 || index >= s->size || s->in[index])
		return;
	s->in[index] = 1;
	s->n++;
}

void job_indexes_print(const struct job_indexes *s, struct buf *out)
{
	const char *comma = "";
	for (uint32_t i = 0; i < s->size; i++) {
		uint32_t end = i;
		if (!s->in[i])
			continue;
		while (end + 1 < s->size && s->in[end + 1])
			end++;
		buf_printf(out, "%s%u", comma, i);
		if (end > i)
			buf_printf(out, "%c%u", end == i + 1 ? ',' : '-', end);
		comma = ",";
		i = end;
	}
}

/* ---- policies */

static bool code_matches(const struct json *rule, const struct json *pod, struct span *out_container, int64_t *out_code)
{
	static const char *const lists[] = { "containerStatuses", "initContainerStatuses" };
	struct span only = tree_span(rule, "containerName");
	bool in = span_is(tree_span(rule, "operator"), "In");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		JSON_EACH_ITEM(tree_get(tree_get(pod, "status"), lists[i]), c) {
			const struct json *end = tree_get(tree_get(c, "state"), "terminated");
			int64_t code = tree_int(end, "exitCode", 0);
			bool listed = false;
			if (code == 0 || (only.len && !span_eq(only, tree_span(c, "name"))))
				continue;
			JSON_EACH_ITEM(tree_get(rule, "values"), v)
				listed |= json_i64(v, -1) == code;
			if (listed != in)
				continue;
			*out_container = tree_span(c, "name");
			*out_code = code;
			return true;
		}
	}
	return false;
}

static bool condition_matches(const struct json *patterns, const struct json *pod, struct span *out_type)
{
	JSON_EACH_ITEM(patterns, want) {
		struct span status = tree_span(want, "status");
		const struct json *has = tree_find(tree_get(tree_get(pod, "status"), "conditions"), "type", tree_span(want, "type"));
		if (!has || !span_eq(tree_span(has, "status"), status.len ? status : SPAN("True")))
			continue;
		*out_type = tree_span(want, "type");
		return true;
	}
	return false;
}

enum job_action job_policy(struct arena *a, const struct json *policy, const struct json *pod, struct span *out_words)
{
	unsigned n = 0;
	*out_words = SPAN_EMPTY;
	JSON_EACH_ITEM(tree_get(policy, "rules"), rule) {
		struct span action = tree_span(rule, "action"), ns = tree_meta_span(pod, "namespace"), name = tree_meta_span(pod, "name");
		struct span what;
		int64_t code;
		const struct json *codes = tree_get(rule, "onExitCodes");
		n++;
		if (json_is(codes, JSON_OBJECT) && code_matches(codes, pod, &what, &code))
			*out_words = arena_printf(a, "Container %.*s for pod %.*s/%.*s failed with exit code %lld matching %.*s rule at "
						     "index %u", SPAN_ARG(what), SPAN_ARG(ns), SPAN_ARG(name), (long long)code,
						  SPAN_ARG(action), n - 1);
		else if (condition_matches(tree_get(rule, "onPodConditions"), pod, &what))
			*out_words = arena_printf(a, "Pod %.*s/%.*s has condition %.*s matching %.*s rule at index %u", SPAN_ARG(ns),
						  SPAN_ARG(name), SPAN_ARG(what), SPAN_ARG(action), n - 1);
		else
			continue;
		return span_is(action, "FailJob")     ? JOB_FAIL
		       : span_is(action, "FailIndex") ? JOB_FAIL_INDEX
		       : span_is(action, "Ignore")    ? JOB_IGNORE
						      : JOB_COUNT;
	}
	return JOB_COUNT;
}

int job_success(struct arena *a, const struct json *policy, const struct job_indexes *succeeded)
{
	int n = 0;
	JSON_EACH_ITEM(tree_get(policy, "rules"), rule) {
		struct span wanted = tree_span(rule, "succeededIndexes");
		int64_t count = tree_int(rule, "succeededCount", -1);
		uint32_t has = succeeded->n, of = 0;
		if (wanted.len) {
			struct job_indexes w = job_indexes_parse(a, succeeded->size, wanted);
			of = w.n;
			has = 0;
			for (uint32_t i = 0; i < w.size; i++)
				has += w.in[i] && succeeded->in[i];
		}
		if (count >= 0 ? has >= count : wanted.len && has == of)
			return n;
		n++;
	}
	return -1;
}

/* ---- numbers */

int64_t job_difference(const struct job_numbers *n)
{
	int64_t want, there = n->active + (n->only_replace_failed ? n->terminating : 0);
	if (n->suspended)
		return -n->active;
	if (n->completions < 0)
		want = n->succeeded > 0 ? n->active : n->parallelism;
	else
		want = MIN(n->completions - n->succeeded, n->parallelism);
	if (want < 0)
		want = 0;
	if (n->active > want)
		return want - n->active;
	return want > there ? MIN(want - there, AT_ONCE) : 0;
}

int64_t job_backoff_ms(unsigned failures)
{
	if (!failures)
		return 0;
	int64_t ms = failures > 7 ? 600000 : INT64_C(10000) << (failures - 1);
	return MIN(ms, 600000);
}
