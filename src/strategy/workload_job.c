/* Jobs: modes, indexes, what counts as failure and success, the selector that the server makes. CronJobs that start them. */
#include "strategy/workload.h"

#define MANY INT64_C(100000) /* indexes that a status can hold */
#define SOME INT64_C(10000)  /* ... when each may fail by itself */

/* ---- defaults */
void default_failure_policy(struct arena *a, struct json *job_spec)
{
	JSON_EACH_ITEM(member(member(job_spec, "podFailurePolicy"), "rules"), rule)
		JSON_EACH_ITEM(member(rule, "onPodConditions"), pattern)
			default_string(a, pattern, "status", "True");
}

static void copy_labels(struct arena *a, struct json *job)
{
	const struct json *labels = json_path(job, "spec", "template", "metadata", "labels", NULL);
	struct json *meta = default_object(a, job, "metadata");
	if (json_count(labels) && !json_count(member(meta, "labels")))
		json_setl(a, meta, "labels", json_copy(a, labels));
}

static void default_job(struct arena *a, struct json *job)
{
	(void)default_object(a, job, "metadata"); /* first: adding a member moves its neighbours */
	struct json *spec = default_object(a, job, "spec");
	default_pod_template(a, default_object(a, spec, "template"));
	if (!member(spec, "completions") && !member(spec, "parallelism"))
		default_int(a, spec, "completions", 1);
	default_int(a, spec, "parallelism", 1);
	default_int(a, spec, "backoffLimit", member(spec, "backoffLimitPerIndex") ? INT32_MAX : 6);
	copy_labels(a, job);
	default_unset(a, spec, "completionMode", "NonIndexed");
	default_bool(a, spec, "suspend", false);
	default_unset(a, spec, "podReplacementPolicy", member(spec, "podFailurePolicy") ? "Failed" : "TerminatingOrFailed");
	default_bool(a, spec, "manualSelector", false);
	default_failure_policy(a, spec);
}

/* ---- prepare. The name and the uid are there already: the server gives them before its strategies run. */
static void label_template(struct strategy *s, struct json *labels, const char *key, struct span value)
{
	if (!json_get(labels, span_of(key)))
		json_set(s->arena, labels, span_of(key), json_str(value));
}

static void generate_selector(struct strategy *s)
{
	struct arena *a = s->arena;
	struct span uid = member_text(strategy_meta(s), "uid"), name = member_text(strategy_meta(s), "name");
	struct json *spec = default_object(a, s->object, "spec");
	if (member_true(spec, "manualSelector"))
		return;
	struct json *meta = default_object(a, default_object(a, spec, "template"), "metadata");
	struct json *labels = default_object(a, meta, "labels");
	label_template(s, labels, "job-name", name);
	label_template(s, labels, "batch.kubernetes.io/job-name", name);
	label_template(s, labels, "controller-uid", uid);
	label_template(s, labels, "batch.kubernetes.io/controller-uid", uid);
	struct json *selector = default_object(a, default_object(a, spec, "selector"), "matchLabels");
	label_template(s, selector, "batch.kubernetes.io/controller-uid", uid);
	/* Upstream's defaults do this when the stored object is read for the answer. */
	copy_labels(a, s->object);
}

static void prepare_job(struct strategy *s)
{
	if (strategy_creates(s))
		generate_selector(s);
	prepare_workload(s, "batch/v1.JobSpec");
}

/* ---- intervals of indexes: "1,3-5,7" */
static bool index_number(struct span s, int64_t *out)
{
	return s.len && span_to_i64(s, out);
}

int workload_index_interval(struct span text, int64_t completions, int64_t *out_from, int64_t *out_to, struct buf *why)
{
	struct span low, high, more;
	auto_buf struct buf shown = {};
	bool range = span_split(text, '-', &low, &high);
	if (range && span_split(high, '-', &more, &more)) {
		api_go_quote(&shown, text);
		buf_printf(why,
			   "the fragment %s violates the requirement that an index interval can have at most two parts "
			   "separated by "
			   "'-'",
			   buf_cstr(&shown));
		return -1;
	}
	const struct span parts[] = { low, range ? high : low };
	int64_t *const outs[] = { out_from, out_to };
	for (int i = 0; i < (range ? 2 : 1); i++) {
		bool number = index_number(parts[i], outs[i]);
		if (number && *outs[i] < completions)
			continue;
		api_go_quote(&shown, parts[i]);
		buf_printf(why, number ? "too large index: %s" : "cannot convert string to integer for index: %s",
			   buf_cstr(&shown));
		return -1;
	}
	if (!range)
		*out_to = *out_from;
	if (range && *out_from >= *out_to) {
		buf_printf(why, "non-increasing order, previous: %lld, current: %lld", (long long)*out_from, (long long)*out_to);
		return -1;
	}
	return 0;
}

/* How many indexes; -1 and why. */
int64_t workload_count_indexes(struct span text, int64_t completions, struct buf *why)
{
	int64_t total = 0, last = -1;
	bool first = true;
	for (bool more = text.len > 0; more;) {
		struct span one, rest;
		int64_t from, to;
		more = span_split(text, ',', &one, &rest);
		text = rest;
		if (workload_index_interval(one, completions, &from, &to, why) < 0)
			return -1;
		if (!first && last >= from) {
			buf_printf(why, "non-increasing order, previous: %lld, current: %lld", (long long)last, (long long)from);
			return -1;
		}
		total += to - from + 1;
		last = to;
		first = false;
	}
	return total;
}

/* ---- failure policy */
static void check_exit_codes(struct check *c, const struct path *at, const struct json *on, const struct json *pod)
{
	const struct json *values = member(on, "values"), *name = member(on, "containerName");
	struct span op = member_text(on, "operator");
	const struct path values_at = PATH(at, "values");
	bool known = false, ordered = true;
	if (!op.len)
		bad_required(c, &PATH(at, "operator"), "valid values: [\"In\" \"NotIn\"]");
	else if (!check_one_of(op, "In NotIn"))
		bad_choice(c, &PATH(at, "operator"), op, "In NotIn");
	JSON_EACH_ITEM(member(pod, "containers"), ctr)
		known |= span_eq(member_text(ctr, "name"), json_span(name));
	JSON_EACH_ITEM(member(pod, "initContainers"), ctr)
		known |= span_eq(member_text(ctr, "name"), json_span(name));
	if (name && !known)
		bad_value(c, &PATH(at, "containerName"), name,
			  "must be one of the container or initContainer names in the pod template");
	auto_buf struct buf shown = {};
	buf_str(&shown, values ? "[]int32{" : "[]int32(nil)");
	JSON_EACH_INDEX(values, v, i)
		buf_printf(&shown, "%s%lld", i ? ", " : "", (long long)json_i64(v, 0));
	if (values)
		buf_chr(&shown, '}');
	if (!json_count(values))
		pod_bad(c, &values_at, API_FE_INVALID, buf_span(&shown), "at least one value is required");
	else if (values->n > 255)
		bad_too_many(c, &values_at, values->n, 255);
	JSON_EACH_INDEX(values, v, i) {
		int64_t code = json_i64(v, 0);
		bool twice = false;
		for (uint32_t k = 0; k < i; k++)
			twice |= json_i64(&values->items[k], 0) == code;
		if (span_is(op, "In") && !code)
			bad_int(c, &PATH_INDEX(&values_at, i), 0, "must not be 0 for the In operator");
		if (twice)
			bad_duplicate(c, &PATH_INDEX(&values_at, i), v);
		ordered &= !i || json_i64(&values->items[i - 1], 0) <= code;
	}
	if (!ordered)
		pod_bad(c, &values_at, API_FE_INVALID, buf_span(&shown), "must be ordered");
}

static void check_pod_conditions(struct check *c, const struct path *at, const struct json *patterns)
{
	if (json_count(patterns) > 20)
		bad_too_many(c, at, patterns->n, 20);
	JSON_EACH_INDEX(patterns, pattern, i) {
		const struct path item = PATH_INDEX(at, i);
		struct span status = member_text(pattern, "status");
		check_name(c, &PATH(&item, "type"), member_text(pattern, "type"), api_name_qualified);
		if (!status.len)
			bad_required(c, &PATH(&item, "status"), "valid values: [\"False\" \"True\" \"Unknown\"]");
		else if (!check_one_of(status, "False True Unknown"))
			bad_choice(c, &PATH(&item, "status"), status, "False True Unknown");
	}
}

static void check_failure_policy(struct check *c, const struct path *at, const struct json *spec)
{
	static const char actions[] = "Count FailIndex FailJob Ignore";
	const struct json *rules = member(member(spec, "podFailurePolicy"), "rules"),
			  *pod = json_path(spec, "template", "spec", NULL);
	const struct path rules_at = PATH(at, "rules");
	if (json_count(rules) > 20)
		bad_too_many(c, &rules_at, rules->n, 20);
	JSON_EACH_INDEX(rules, rule, i) {
		const struct path item = PATH_INDEX(&rules_at, i), action_at = PATH(&item, "action");
		const struct json *codes = member(rule, "onExitCodes"), *conditions = member(rule, "onPodConditions");
		struct span action = member_text(rule, "action");
		if (!action.len)
			bad_required(c, &action_at, "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
		else if (span_is(action, "FailIndex") && !member(spec, "backoffLimitPerIndex"))
			bad_string(c, &action_at, action, "requires the backoffLimitPerIndex to be set");
		else if (!check_one_of(action, actions))
			bad_choice(c, &action_at, action, actions);
		if (codes)
			check_exit_codes(c, &PATH(&item, "onExitCodes"), codes, pod);
		check_pod_conditions(c, &PATH(&item, "onPodConditions"), conditions);
		if (codes && json_count(conditions))
			pod_bad(c, &item, API_FE_INVALID, SPAN_EMPTY,
				"specifying both OnExitCodes and OnPodConditions is not supported");
		if (!codes && !json_count(conditions))
			pod_bad(c, &item, API_FE_INVALID, SPAN_EMPTY,
				"specifying one of OnExitCodes and OnPodConditions is required");
	}
}

/* ---- success policy */
static void check_success_rule(struct check *c, const struct path *at, const struct json *rule, int64_t completions)
{
	const struct json *indexes = member(rule, "succeededIndexes"), *count = member(rule, "succeededCount");
	const struct path count_at = PATH(at, "succeededCount"), indexes_at = PATH(at, "succeededIndexes");
	int64_t total = 0;
	if (!count && !indexes)
		bad_required(c, at, "at least one of succeededCount or succeededIndexes must be specified");
	if (indexes) {
		auto_buf struct buf why = {};
		if (json_span(indexes).len > 64 << 10)
			bad_too_long(c, &indexes_at, 64 << 10);
		total = workload_count_indexes(json_span(indexes), completions, &why);
		if (total < 0) {
			bad_value(c, &indexes_at, indexes, "error parsing succeededIndexes: %s", buf_cstr(&why));
			total = 0;
		}
	}
	check_non_negative(c, &count_at, count);
	if (count && json_i64(count, 0) > completions)
		bad_value(c, &count_at, count, "must be less than or equal to %lld (the number of specified completions)",
			  (long long)completions);
	if (count && indexes && json_i64(count, 0) > total)
		bad_value(c, &count_at, count,
			  "must be less than or equal to %lld (the number of indexes in the specified succeededIndexes "
			  "field)",
			  (long long)total);
}

static void check_success_policy(struct check *c, const struct path *at, const struct json *spec)
{
	const struct json *policy = member(spec, "successPolicy"), *rules = member(policy, "rules");
	const struct path rules_at = PATH(at, "rules");
	if (!span_is(member_text(spec, "completionMode"), "Indexed")) {
		bad_typed(c, at, "batch/v1.SuccessPolicy", policy, "requires indexed completion mode");
		return;
	}
	if (!json_count(rules))
		bad_required(c, &rules_at, "at least one rules must be specified when the successPolicy is specified");
	else if (rules->n > 20)
		bad_too_many(c, &rules_at, rules->n, 20);
	/* Without completions, refused already, there is nothing to compare with. */
	if (member(spec, "completions"))
		JSON_EACH_INDEX(rules, rule, i)
			check_success_rule(c, &PATH_INDEX(&rules_at, i), rule, member_int(spec, "completions"));
}

/* ---- the spec */
static void check_managed_by(struct check *c, const struct path *at, const struct json *by)
{
	struct span text = json_span(by), host, path;
	if (!by)
		return;
	bool split = span_split(text, '/', &host, &path);
	if (!text.len) {
		bad_required(c, at, "");
	} else if (!split || !host.len || !path.len) {
		bad_string(c, at, text, "must be a domain-prefixed path (such as \"acme.io/foo\")");
	} else {
		check_name(c, at, host, api_name_dns1123_subdomain);
		for (size_t i = 0; i < path.len; i++) {
			char ch = path.ptr[i];
			if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
			    (ch && strchr("/-._~%!$&'()*+,;=:", ch)))
				continue;
			bad_string(c, at, path, "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%%!$&'()*+,;=:]+')");
			break;
		}
	}
	if (text.len > 63)
		bad_too_long(c, at, 63);
}

static void check_indexed(struct check *c, const struct path *at, const struct json *spec)
{
	const struct json *completions = member(spec, "completions"), *parallelism = member(spec, "parallelism");
	const struct json *most = member(spec, "maxFailedIndexes");
	const struct path most_at = PATH(at, "maxFailedIndexes"), parallelism_at = PATH(at, "parallelism");
	static const char high[] =
		"must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per "
		"index";
	if (!completions)
		bad_required(c, &PATH(at, "completions"), "when completion mode is Indexed");
	if (json_i64(parallelism, 0) > MANY)
		bad_value(c, &parallelism_at, parallelism, "must be less than or equal to 100000 when completion mode is Indexed");
	if (completions && most && json_i64(most, 0) > json_i64(completions, 0))
		bad_value(c, &most_at, most, "must be less than or equal to completions");
	if (json_i64(most, 0) > MANY)
		bad_value(c, &most_at, most, "must be less than or equal to 100000");
	if (json_i64(completions, 0) <= MANY || !member(spec, "backoffLimitPerIndex"))
		return;
	if (!most)
		bad_required(c, &most_at, "must be specified when completions is above 100000");
	if (json_i64(parallelism, 0) > SOME)
		bad_value(c, &parallelism_at, parallelism, "%s", high);
	if (json_i64(most, 0) > SOME)
		bad_value(c, &most_at, most, "%s", high);
}

void check_job_spec(struct check *c, const struct path *at, const struct json *spec, const struct pod_opts *opts)
{
	const struct json *mode = member(spec, "completionMode"), *per_index = member(spec, "backoffLimitPerIndex");
	const struct json *most = member(spec, "maxFailedIndexes"), *replacement = member(spec, "podReplacementPolicy");
	const struct json *failure = member(spec, "podFailurePolicy"), *template = member(spec, "template");
	const struct path template_at = PATH(at, "template"), policy_at = PATH(&PATH(&template_at, "spec"), "restartPolicy");
	struct span policy = member_text(member(template, "spec"), "restartPolicy");
	check_counts(c, at, spec, "parallelism completions activeDeadlineSeconds backoffLimit ttlSecondsAfterFinished "
				  "backoffLimitPerIndex maxFailedIndexes");
	if (most && !per_index)
		bad_required(c, &PATH(at, "backoffLimitPerIndex"), "when maxFailedIndexes is specified");
	check_managed_by(c, &PATH(at, "managedBy"), member(spec, "managedBy"));
	check_choice(c, &PATH(at, "completionMode"), mode, "NonIndexed Indexed");
	if (span_is(json_span(mode), "Indexed"))
		check_indexed(c, at, spec);
	if (!mode || span_is(json_span(mode), "NonIndexed")) {
		if (per_index)
			bad_value(c, &PATH(at, "backoffLimitPerIndex"), per_index, "requires indexed completion mode");
		if (most)
			bad_value(c, &PATH(at, "maxFailedIndexes"), most, "requires indexed completion mode");
	}
	if (failure)
		check_failure_policy(c, &PATH(at, "podFailurePolicy"), spec);
	if (member(spec, "successPolicy"))
		check_success_policy(c, &PATH(at, "successPolicy"), spec);
	check_choice(c, &PATH(at, "podReplacementPolicy"), replacement, failure ? "Failed" : "Failed TerminatingOrFailed");
	check_pod_template(c, &template_at, template, opts);
	if (!policy.len || span_is(policy, "Always"))
		bad_required(c, &policy_at, "valid values: \"OnFailure\", \"Never\"");
	else if (!check_one_of(policy, "OnFailure Never"))
		bad_choice(c, &policy_at, policy, "OnFailure Never");
	else if (failure && !span_is(policy, "Never"))
		bad_string(c, &policy_at, policy, "only \"Never\" is supported when podFailurePolicy is specified");
}

/* ---- Job */
static void check_label(struct check *c, const struct path *meta_at, const struct json *labels, const char *key, struct span want)
{
	const struct json *have = json_get(labels, span_of(key));
	const struct path labels_at = PATH(meta_at, "labels"), at = PATH_KEY(&labels_at, span_of(key));
	if (!have)
		bad_required(c, &at, arena_printf(c->arena, "must be '%.*s'", SPAN_ARG(want)).ptr);
	else if (!span_eq(json_span(have), want))
		bad_typed(c, &at, "map[string]string", labels, "must be '%.*s'", SPAN_ARG(want));
}

/* The labels that the server put in must be there, and the selector must find them. */
static void check_generated_selector(struct check *c, const struct json *job, bool prefixed)
{
	const struct json *spec = member(job, "spec"), *meta = member(job, "metadata"), *selector = member(spec, "selector");
	const struct json *labels = json_path(spec, "template", "metadata", "labels", NULL);
	const struct path spec_at = PATH(PATH_ROOT, "spec"), template_at = PATH(&spec_at, "template"),
			  at = PATH(&template_at, "metadata");
	struct span uid = member_text(meta, "uid"), name = member_text(meta, "name");
	static const char *const keys[] = {
		"controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name",
	};
	struct json expected = json_object(), holder = json_object(), holder_meta = json_object();
	if (member_true(spec, "manualSelector") || !selector)
		return;
	if (!uid.len)
		bad_required(c, &PATH(&PATH(PATH_ROOT, "metadata"), "uid"), "");
	for (size_t i = 0; i < (prefixed ? 4u : 2u); i++) {
		check_label(c, &at, labels, keys[i], i % 2 ? name : uid);
		json_set(c->arena, &expected, span_of(keys[i]), json_str(i % 2 ? name : uid));
	}
	json_setl(c->arena, &holder_meta, "labels", expected);
	json_setl(c->arena, &holder, "metadata", holder_meta);
	if (workload_match(c->arena, selector, &holder) == WORKLOAD_DIFFERS)
		bad_typed(c, &PATH(&spec_at, "selector"), "meta/v1.LabelSelector", selector, "`selector` not auto-generated");
}

static void check_whole_spec(struct check *c, const struct json *spec, const struct pod_opts *opts)
{
	const struct path at = PATH(PATH_ROOT, "spec");
	const struct json *selector = member(spec, "selector");
	check_job_spec(c, &at, spec, opts);
	if (!selector)
		bad_required(c, &PATH(&at, "selector"), "");
	check_label_selector(c, &PATH(&at, "selector"), selector, opts->lax_selector_values);
	if (workload_match(c->arena, selector, member(spec, "template")) == WORKLOAD_DIFFERS)
		check_template_labels(c, &PATH(&at, "template"), member(spec, "template"));
}

/* Jobs that wait and never ran may still be told where to run. */
static struct json template_kept(struct arena *a, const struct json *template, const struct json *was)
{
	static const char *const of_spec[] = { "nodeSelector", "tolerations", "schedulingGates" }, *const of_meta[] = {
		"annotations", "labels"
	};
	struct json kept = was ? json_copy(a, was) : json_object();
	struct json *meta = default_object(a, &kept, "metadata"), *spec = default_object(a, &kept, "spec");
	const struct json *affinity = json_path(template, "spec", "affinity", NULL), *node = member(affinity, "nodeAffinity");
	meta = member(&kept, "metadata"); /* adding a member moves its neighbours */
	struct json *old = member(spec, "affinity");
	if (old && node)
		json_setl(a, old, "nodeAffinity", *node);
	else if (old)
		json_remove(old, SPAN("nodeAffinity"));
	if (old && !affinity && !old->n)
		json_remove(spec, SPAN("affinity"));
	if (!old && affinity) {
		struct json one = json_object();
		if (node)
			json_setl(a, &one, "nodeAffinity", *node);
		json_setl(a, spec, "affinity", one);
	}
	for (size_t i = 0; i < ARRAY_LEN(of_spec) + ARRAY_LEN(of_meta); i++) {
		bool in_spec = i < ARRAY_LEN(of_spec);
		struct span name = span_of(in_spec ? of_spec[i] : of_meta[i - ARRAY_LEN(of_spec)]);
		const struct json *now = json_get(in_spec ? member(template, "spec") : member(template, "metadata"), name);
		if (now)
			json_set(a, in_spec ? spec : meta, name, *now);
		else
			json_remove(in_spec ? spec : meta, name);
	}
	return kept;
}

static void check_job_update(struct check *c, const struct json *job, const struct json *old)
{
	const struct json *spec = member(job, "spec"), *was = member(old, "spec"), *completions = member(spec, "completions");
	const struct path at = PATH(PATH_ROOT, "spec"), completions_at = PATH(&at, "completions");
	bool indexed = span_is(member_text(spec, "completionMode"), "Indexed");
	if (!indexed)
		check_immutable_pointer(c, &completions_at, "", completions, member(was, "completions"));
	else if (completions && !strategy_same(completions, member(was, "completions")) &&
		 json_i64(completions, 0) != member_int(spec, "parallelism"))
		bad_value(c, &completions_at, completions, "can only be modified in tandem with spec.parallelism");
	check_immutable_pointer(c, &PATH(&at, "selector"), "meta/v1.LabelSelector", member(spec, "selector"),
				member(was, "selector"));
	const struct json *template = member(spec, "template"), *old_template = member(was, "template");
	struct json kept;
	if (member_true(was, "suspend") && !member(member(old, "status"), "startTime")) {
		kept = template_kept(c->arena, template, old_template);
		old_template = &kept;
	}
	if (!pod_same_named("core/v1.PodTemplateSpec", template, old_template))
		bad_typed(c, &PATH(&at, "template"), "core/v1.PodTemplateSpec", template, "field is immutable");
	static const struct { const char *name, *type; } frozen[] = {
		{ "completionMode", "" }, { "podFailurePolicy", "batch/v1.PodFailurePolicy" }, { "backoffLimitPerIndex", "" },
		{ "managedBy", "" }, { "successPolicy", "batch/v1.SuccessPolicy" },
	};
	for (size_t i = 0; i < ARRAY_LEN(frozen); i++) {
		struct span name = span_of(frozen[i].name);
		check_immutable_pointer(c, &PATH_SPAN(&at, name), frozen[i].type, json_get(spec, name), json_get(was, name));
	}
}

static void check_job(struct check *c, const struct json *job, const struct json *old)
{
	const struct json *spec = member(job, "spec"), *old_labels = json_path(old, "spec", "template", "metadata", "labels", NULL);
	struct pod_opts opts = pod_opts_of_template(c->arena, json_path(old, "spec", "template", NULL));
	struct span name = member_text(member(job, "metadata"), "name");
	int64_t completions = member_int(spec, "completions");
	bool prefixed = !old || (json_getl(old_labels, "batch.kubernetes.io/job-name") &&
				 json_getl(old_labels, "batch.kubernetes.io/controller-uid"));
	opts.lax_selector_values |= check_selector_has_bad_value(json_path(old, "spec", "selector", NULL));
	check_meta(c, job, META_CORE, api_name_dns1123_subdomain);
	check_generated_selector(c, job, prefixed);
	check_whole_spec(c, spec, &opts);
	if (span_is(member_text(spec, "completionMode"), "Indexed") && completions > 0) {
		struct span host = arena_printf(c->arena, "%.*s-%lld", SPAN_ARG(name), (long long)completions - 1);
		if (api_name_dns1123_label(host, NULL))
			bad_string(c, &PATH(&PATH(PATH_ROOT, "metadata"), "name"), name,
				   "will not able to create pod with invalid DNS label: %.*s", SPAN_ARG(host));
	}
	if (!old)
		return;
	check_meta_update(c, job, old, META_CORE);
	check_job_update(c, job, old);
}

void workload_job_warnings(struct check *c, const struct path *at, const struct json *spec)
{
	const struct json *template = member(spec, "template");
	auto_buf struct buf path = {};
	path_text(at, &path);
	if (span_is(member_text(spec, "completionMode"), "Indexed") && member_int(spec, "completions") > MANY &&
	    member_int(spec, "parallelism") > SOME)
		strategy_warn(
			c->s,
			"%s: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, "
			"Kubernetes might not be able to track completedIndexes when a big number of indexes fail",
			buf_cstr(&path));
	pod_warnings(c, &PATH(at, "template"), member(template, "spec"), member(template, "metadata"));
}

static bool generation_stays(const struct json *object, const struct json *old)
{
	return old && member_int(member(object, "metadata"), "generation") == member_int(member(old, "metadata"), "generation");
}

static void warn_job(struct check *c, const struct json *job, const struct json *old)
{
	if (!old)
		check_warn_name(c, job, "Pod names and hostnames");
	if (!generation_stays(job, old))
		workload_job_warnings(c, &PATH(PATH_ROOT, "spec"), member(job, "spec"));
}

/* ---- CronJob */
static void default_cron_job(struct arena *a, struct json *cron)
{
	struct json *spec = default_object(a, cron, "spec");
	struct json *job = default_object(a, default_object(a, spec, "jobTemplate"), "spec");
	default_pod_template(a, default_object(a, job, "template"));
	default_failure_policy(a, job);
	default_string(a, spec, "concurrencyPolicy", "Allow");
	default_bool(a, spec, "suspend", false);
	default_int(a, spec, "successfulJobsHistoryLimit", 3);
	default_int(a, spec, "failedJobsHistoryLimit", 1);
}

static void prepare_cron_job(struct strategy *s)
{
	pod_drop_disabled_template(s->arena, json_path(s->object, "spec", "jobTemplate", "spec", "template", NULL),
				   json_path(s->old, "spec", "jobTemplate", "spec", "template", NULL));
	prepare_workload(s, "batch/v1.CronJobSpec");
}

static bool is_zone_part(struct span part)
{
	if (!part.len || part.len > 14 || part.ptr[0] == '-' || check_one_of(part, ". .."))
		return false;
	for (size_t i = 0; i < part.len; i++) {
		char ch = part.ptr[i];
		if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
		      (ch && strchr(".-_+", ch))))
			return false;
	}
	return true;
}

static void check_zone(struct check *c, const struct path *at, const struct json *zone)
{
	struct span name = json_span(zone), rest = name;
	if (!zone)
		return;
	if (!name.len) {
		bad_value(c, at, zone, "timeZone must be nil or non-empty string");
		return;
	}
	for (bool more = true; more;) {
		struct span part, tail;
		more = span_split(rest, '/', &part, &tail);
		rest = tail;
		if (!is_zone_part(part)) {
			bad_value(c, at, zone, "unknown time zone %.*s", SPAN_ARG(name));
			return;
		}
	}
	if (span_eq_nocase(name, SPAN("Local")))
		bad_value(c, at, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
	if (!span_is(name, "Local") && !cron_zone_exists(name))
		bad_value(c, at, zone, "unknown time zone %.*s", SPAN_ARG(name));
}

static void check_schedule(struct check *c, const struct path *spec_at, const struct json *spec, const struct json *old)
{
	const struct path at = PATH(spec_at, "schedule");
	struct span schedule = member_text(spec, "schedule");
	bool zoned = span_has(schedule, SPAN("TZ")), allowed = span_has(member_text(old, "schedule"), SPAN("TZ"));
	auto_buf struct buf why = {};
	if (!schedule.len) {
		bad_required(c, &at, "");
		return;
	}
	if (cron_check(schedule, &why) < 0)
		bad_string(c, &at, schedule, "%s", buf_cstr(&why));
	if (zoned && allowed && member(spec, "timeZone"))
		bad_string(c, &at, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
	else if (zoned && !allowed)
		bad_string(c, &at, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
}

static void check_cron_job(struct check *c, const struct json *cron, const struct json *old)
{
	const struct json *spec = member(cron, "spec"), *was = member(old, "spec"),
			  *job = json_path(spec, "jobTemplate", "spec", NULL);
	const struct path at = PATH(PATH_ROOT, "spec"), job_at = PATH(&PATH(&at, "jobTemplate"), "spec");
	struct span policy = member_text(spec, "concurrencyPolicy"), name = member_text(member(cron, "metadata"), "name");
	struct pod_opts opts = pod_opts_of_template(c->arena, json_path(was, "jobTemplate", "spec", "template", NULL));
	if (old)
		check_meta_update(c, cron, old, META_CORE);
	else
		check_meta(c, cron, META_CORE, api_name_dns1123_subdomain);
	check_schedule(c, &at, spec, was);
	check_non_negative(c, &PATH(&at, "startingDeadlineSeconds"), member(spec, "startingDeadlineSeconds"));
	if (!old || !strategy_same(member(spec, "timeZone"), member(was, "timeZone")))
		check_zone(c, &PATH(&at, "timeZone"), member(spec, "timeZone"));
	if (!policy.len)
		bad_required(c, &PATH(&at, "concurrencyPolicy"), "");
	else if (!check_one_of(policy, "Allow Forbid Replace"))
		bad_choice(c, &PATH(&at, "concurrencyPolicy"), policy, "Allow Forbid Replace");
	check_job_spec(c, &job_at, job, &opts);
	if (member(job, "selector"))
		bad_typed(c, &PATH(&job_at, "selector"), "meta/v1.LabelSelector", member(job, "selector"),
			  "`selector` will be auto-generated");
	if (member_true(job, "manualSelector"))
		pod_bad(c, &PATH(&job_at, "manualSelector"), API_FE_NOT_SUPPORTED, SPAN("true"),
			"supported values: \"nil\", \"false\"");
	check_counts(c, &at, spec, "successfulJobsHistoryLimit failedJobsHistoryLimit");
	if (!old && name.len > 52)
		bad_string(c, &PATH(&PATH(PATH_ROOT, "metadata"), "name"), name, "must be no more than 52 characters");
}

static void warn_cron_job(struct check *c, const struct json *cron, const struct json *old)
{
	const struct path spec_at = PATH(PATH_ROOT, "spec"), template_at = PATH(&spec_at, "jobTemplate");
	if (!old)
		check_warn_name(c, cron, "Pod names and hostnames");
	if (!generation_stays(cron, old))
		workload_job_warnings(c, &PATH(&template_at, "spec"), json_path(cron, "spec", "jobTemplate", "spec", NULL));
	if (old && span_has(json_span(json_path(cron, "spec", "schedule", NULL)), SPAN("TZ")))
		strategy_warn(
			c->s,
			"cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/"
			"concepts/workloads/controllers/cron-jobs/ for more details");
}

const struct strategy_kind strategy_kind_cron_job = {
	.group = "batch", .kind = "CronJob", .flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_HAS_GENERATION,
	.defaults = default_cron_job, .prepare = prepare_cron_job, .check = check_cron_job, .warnings = warn_cron_job,
	.subs = { { "status", prepare_status_only, NULL } },
};

const struct strategy_kind strategy_kind_job = {
	.group = "batch", .kind = "Job", .flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_HAS_GENERATION,
	.defaults = default_job, .prepare = prepare_job, .check = check_job, .warnings = warn_job,
	.subs = { { "status", prepare_status_only, check_job_status } },
};
