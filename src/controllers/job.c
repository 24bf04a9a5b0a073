/* Jobs: pods that run to their end, each counted exactly once.
 *
 *     claim ──> create or delete pods ──> note who ended (uncountedTerminatedPods) ──> take the finalizer off their pods
 *                                              ──> add them to the counters, and finish when nothing is left
 *
 * A pod keeps its finalizer until it stands in the status, so that none is lost and none counted twice, wherever we are killed:
 * what stands in uncountedTerminatedPods and has its finalizer off is only to be added. `let_go` holds the uids whose finalizer we
 * took off and that the cache still shows with it. */
#include "controllers/job_plan.h"
#include "controllers/replicaset_plan.h"

#define TRACKING "batch.kubernetes.io/job-tracking"
#define INDEX "batch.kubernetes.io/job-completion-index"
#define FAILURES "batch.kubernetes.io/job-index-failure-count"
#define UNCOUNTED_MAX 500

struct job_pod {
	struct span key, name, uid;
	struct json tree;
	const struct row *row; /* of the first step alone */
	int64_t index;         /* -1: none */
	bool over, good, deleting, tracked;
	bool ignored;          /* by the failure policy: not counted */
	int64_t ended_s;
};
struct job_pass {
	struct json job, conditions;
	struct client_object_ref ref;
	struct claims claims;
	struct job_pod *pods;
	unsigned n;
	int64_t generation, parallelism, completions, backoff_limit, per_index_limit, max_failed_indexes;
	bool indexed, suspended, only_replace_failed;
	struct job_indexes done, failed_indexes;
	int64_t succeeded, failed;       /* counted in the status */
	struct json good, bad;           /* uids of uncountedTerminatedPods */
	int64_t active, ready, terminating;
	int64_t start_s;
	const char *end_type, *end_reason; /* SuccessCriteriaMet or FailureTarget, and why */
	struct span end_words;
};

/* ---- events */

static void event(struct controller *c, const struct change *ch)
{
	struct map *let_go = c->state;
	if (ch->kind == CM_JOBS) {
		if (ch->what == CHANGE_REMOVED)
			expect_forget(c, ch->e->item->key);
		cm_add(c, ch->e->item->key);
		return;
	}
	const struct entry *owner = cm_owner(c, CM_JOBS, ch->e, ch->e->row);
	bool tracked = ch->what != CHANGE_REMOVED && tree_has_text(tree_meta(ch->object, "finalizers"), SPAN(TRACKING));
	if (!tracked)
		free(map_remove(let_go, ch->e->item->uid));
	if (owner) {
		if (ch->what == CHANGE_REMOVED || ch->e->row->deleted_s)
			expect_seen_deletion(c, owner->item->key, ch->e->item->uid);
		else if (ch->what == CHANGE_ADDED)
			expect_seen_creation(c, owner->item->key);
	} else if (tracked && (!ch->e->row->owner_uid.len || span_is(ch->e->row->owner_kind, "Job"))) {
		/* It has no Job, or one that is gone: nobody will count it. The key tells it from a Job's. */
		auto_arena struct arena a = {};
		cm_add(c, arena_printf(&a, "%.*s#", SPAN_ARG(ch->e->item->key)));
	}
	cm_add_owner(c, CM_JOBS, ch);
}

static void let_go_note(struct pass *p, struct span uid)
{
	struct map *let_go = p->c->state;
	if (map_get(let_go, uid))
		return;
	char *text = mem_dup(uid.ptr, uid.len);
	map_put(let_go, span_make(text, uid.len), text);
}

/* ---- reading */

static bool condition_true(const struct job_pass *s, const char *type)
{
	return span_is(tree_span(tree_find(&s->conditions, "type", span_of(type)), "status"), "True");
}

static bool finished(const struct job_pass *s)
{
	return condition_true(s, "Complete") || condition_true(s, "Failed");
}

static int64_t ended_at(const struct json *pod)
{
	int64_t last = 0;
	JSON_EACH_ITEM(tree_get(tree_get(pod, "status"), "containerStatuses"), c) {
		int64_t at = tree_time(tree_get(tree_get(tree_get(c, "state"), "terminated"), "finishedAt"));
		last = MAX(last, at);
	}
	if (last)
		return last;
	const struct json *ready = tree_find(tree_get(tree_get(pod, "status"), "conditions"), "type", SPAN("Ready"));
	last = tree_time(tree_get(ready, "lastTransitionTime"));
	int64_t deleted = tree_time(tree_meta(pod, "deletionTimestamp"));
	return last ? last : deleted ? deleted : tree_time(tree_meta(pod, "creationTimestamp"));
}

static void read_pods(struct pass *p)
{
	struct job_pass *s = p->state;
	struct arena *a = &p->arena;
	struct map *let_go = p->c->state;
	s->pods = arena_alloc_n(a, s->claims.n + 1, sizeof(*s->pods));
	for (unsigned i = 0; i < s->claims.n; i++) {
		struct entry *e = cm_get_key(p->cm, CM_PODS, s->claims.keys[i]);
		if (!e)
			continue;
		struct job_pod *pod = &s->pods[s->n++];
		struct span index;
		*pod = (struct job_pod){ .key = s->claims.keys[i], .uid = arena_span(a, e->item->uid), .row = e->row, .index = -1 };
		pod->tree = cm_tree(a, CM_PODS, e);
		pod->name = tree_meta_span(&pod->tree, "name");
		index = tree_annotation(&pod->tree, INDEX);
		if (s->indexed && !span_to_i64(index, &pod->index))
			pod->index = -1;
		pod->deleting = e->row->deleted_s != 0;
		pod->good = e->row->phase == POD_SUCCEEDED;
		/* One that is being deleted has failed, unless we are to wait for its end. */
		pod->over = pod->good || e->row->phase == POD_FAILED || (pod->deleting && !s->only_replace_failed);
		pod->tracked = tree_has_text(tree_meta(&pod->tree, "finalizers"), SPAN(TRACKING)) && !map_get(let_go, pod->uid);
		pod->ended_s = pod->over ? ended_at(&pod->tree) : 0;
		s->active += row_active(e->row);
		s->ready += row_active(e->row) && e->row->ready;
		s->terminating += pod->deleting && e->row->phase != POD_SUCCEEDED && e->row->phase != POD_FAILED;
	}
}

static void end_with(struct pass *p, const char *type, const char *reason, struct span words)
{
	struct job_pass *s = p->state;
	if (s->end_type)
		return;
	s->end_type = type;
	s->end_reason = reason;
	s->end_words = words;
}

static void read_end(struct pass *p)
{
	static const char *const types[] = { "FailureTarget", "SuccessCriteriaMet" };
	struct job_pass *s = p->state;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		const struct json *c = tree_find(&s->conditions, "type", span_of(types[i]));
		if (condition_true(s, types[i]))
			end_with(p, types[i], arena_cstr(&p->arena, tree_span(c, "reason")), tree_span(c, "message"));
	}
}

/* ---- who ended */

/* Takes pods that ended and stand nowhere yet into uncounted; what stands there and has no finalizer any more into the counters. */
static void count(struct pass *p)
{
	struct job_pass *s = p->state;
	struct arena *a = &p->arena;
	struct json *lists[2] = { &s->good, &s->bad };
	int64_t *counters[2] = { &s->succeeded, &s->failed };
	auto_map struct map held = {};
	for (unsigned i = 0; i < s->n; i++)
		if (s->pods[i].tracked)
			map_put(&held, s->pods[i].uid, &s->pods[i]);
	for (unsigned k = 0; k < 2; k++) {
		struct json kept = json_array();
		JSON_EACH_ITEM(lists[k], uid) {
			if (map_get(&held, json_span(uid)))
				(void)json_push(a, &kept, *uid);
			else if (!(s->indexed && k == 0)) /* indexes count themselves */
				++*counters[k];
		}
		*lists[k] = kept;
	}
	for (unsigned i = 0; i < s->n; i++) {
		struct job_pod *pod = &s->pods[i];
		struct span words;
		if (!pod->over || !pod->tracked)
			continue;
		if (pod->good && s->indexed)
			job_indexes_add(&s->done, pod->index);
		if (tree_has_text(&s->good, pod->uid) || tree_has_text(&s->bad, pod->uid) || (pod->good && s->indexed))
			continue;
		enum job_action action = pod->good ? JOB_COUNT
						   : job_policy(a, tree_get(tree_get(&s->job, "spec"), "podFailurePolicy"), &pod->tree, &words);
		if (!pod->good && action == JOB_FAIL)
			end_with(p, "FailureTarget", "PodFailurePolicy", words);
		if (!pod->good && action == JOB_FAIL_INDEX)
			job_indexes_add(&s->failed_indexes, pod->index);
		pod->ignored = !pod->good && action == JOB_IGNORE;
		if (!pod->good && s->per_index_limit >= 0 && !pod->ignored) {
			int64_t before = 0;
			(void)span_to_i64(tree_annotation(&pod->tree, FAILURES), &before);
			if (before >= s->per_index_limit)
				job_indexes_add(&s->failed_indexes, pod->index);
		}
		if (!pod->ignored && s->good.n + s->bad.n < UNCOUNTED_MAX)
			(void)json_push(a, lists[!pod->good], json_str(pod->uid));
	}
	for (uint32_t i = 0; i < s->failed_indexes.size && s->failed_indexes.n; i++)
		if (s->failed_indexes.in[i] && s->done.in[i]) {
			s->failed_indexes.in[i] = 0;
			s->failed_indexes.n--;
		}
	if (s->indexed)
		s->succeeded = s->done.n;
}

static int64_t succeeded_of(const struct job_pass *s)
{
	return s->indexed ? s->done.n : s->succeeded + s->good.n;
}

/* Restarts count as failures where the kubelet restarts containers. */
static bool restarted_too_often(const struct job_pass *s)
{
	const struct json *template = tree_get(tree_get(&s->job, "spec"), "template");
	int64_t n = 0;
	if (!span_is(tree_span(tree_get(template, "spec"), "restartPolicy"), "OnFailure"))
		return false;
	for (unsigned i = 0; i < s->n; i++) {
		static const char *const lists[] = { "containerStatuses", "initContainerStatuses" };
		for (size_t k = 0; k < ARRAY_LEN(lists) && !s->pods[i].over; k++)
			JSON_EACH_ITEM(tree_get(tree_get(&s->pods[i].tree, "status"), lists[k]), c)
				n += tree_int(c, "restartCount", 0);
	}
	return s->backoff_limit == 0 ? n > 0 : n >= s->backoff_limit;
}

static void judge(struct pass *p)
{
	struct job_pass *s = p->state;
	const struct json *spec = tree_get(&s->job, "spec");
	int64_t deadline = tree_int(spec, "activeDeadlineSeconds", -1), ok = succeeded_of(s);
	int rule;
	if (s->end_type)
		return;
	if (s->failed + s->bad.n > s->backoff_limit || restarted_too_often(s)) {
		end_with(p, "FailureTarget", "BackoffLimitExceeded", SPAN("Job has reached the specified backoff limit"));
	} else if (deadline >= 0 && s->start_s && !s->suspended && p->now_s - s->start_s >= deadline) {
		end_with(p, "FailureTarget", "DeadlineExceeded", SPAN("Job was active longer than specified deadline"));
	} else if (s->per_index_limit >= 0 && s->max_failed_indexes >= 0 && s->failed_indexes.n > s->max_failed_indexes) {
		end_with(p, "FailureTarget", "MaxFailedIndexesExceeded",
			 SPAN("Job has exceeded the specified maximal number of failed indexes"));
	} else if (s->per_index_limit >= 0 && s->failed_indexes.n && (int64_t)s->done.n + s->failed_indexes.n >= s->completions) {
		end_with(p, "FailureTarget", "FailedIndexes", SPAN("Job has failed indexes"));
	} else if (s->indexed && tree_get(spec, "successPolicy") &&
		   (rule = job_success(&p->arena, tree_get(spec, "successPolicy"), &s->done)) >= 0) {
		end_with(p, "SuccessCriteriaMet", "SuccessPolicy", arena_printf(&p->arena, "Matched rules at index %d", rule));
	} else if (s->completions >= 0 ? ok >= s->completions : ok > 0 && s->active == 0) {
		end_with(p, "SuccessCriteriaMet", "CompletionsReached", SPAN("Reached expected number of succeeded pods"));
	}
}

/* ---- status */

static void set_condition(struct pass *p, const char *type, const char *status, const char *reason, struct span words)
{
	struct job_pass *s = p->state;
	struct json *list = &s->conditions;
	if (!tree_condition(&p->arena, list, type, status, reason, words, p->now_s, "lastProbeTime"))
		return;
}

static bool on_status(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct job_pass *s = p->state;
	if (!why)
		s->job = *answer; /* the next step's base */
	return false;
}

static void write_status(struct pass *p)
{
	struct job_pass *s = p->state;
	struct arena *a = &p->arena;
	const struct json *old = tree_get(&s->job, "status");
	struct json status = json_object(), uncounted = json_object();
	if (s->conditions.n)
		tree_set(a, &status, "conditions", s->conditions);
	if (s->start_s)
		tree_set(a, &status, "startTime", tree_time_of(a, s->start_s));
	if (tree_get(old, "completionTime"))
		tree_set(a, &status, "completionTime", *tree_get(old, "completionTime"));
	else if (condition_true(s, "Complete"))
		tree_set(a, &status, "completionTime", tree_time_of(a, p->now_s));
	tree_set_some(a, &status, "active", s->active);
	tree_set_some(a, &status, "succeeded", s->succeeded);
	tree_set_some(a, &status, "failed", s->failed);
	tree_set_int(a, &status, "terminating", s->terminating);
	tree_set_int(a, &status, "ready", s->ready);
	if (s->indexed) {
		auto_buf struct buf done = {}, failed = {};
		job_indexes_print(&s->done, &done);
		job_indexes_print(&s->failed_indexes, &failed);
		tree_set_span(a, &status, "completedIndexes", arena_span(a, buf_span(&done)));
		if (s->per_index_limit >= 0)
			tree_set(a, &status, "failedIndexes", json_str(arena_span(a, buf_span(&failed))));
	}
	if (s->good.n)
		tree_set(a, &uncounted, "succeeded", json_copy(a, &s->good));
	if (s->bad.n)
		tree_set(a, &uncounted, "failed", json_copy(a, &s->bad));
	tree_set(a, &status, "uncountedTerminatedPods", uncounted);
	struct op *o = pass_status(p, CM_JOBS, &s->job, &status);
	if (o)
		o->done = on_status;
}

static void finish(struct pass *p)
{
	struct job_pass *s = p->state;
	bool good = span_is(span_of(s->end_type), "SuccessCriteriaMet");
	set_condition(p, good ? "Complete" : "Failed", "True", s->end_reason, s->end_words);
	s->ready = s->terminating = 0;
	if (good)
		pass_event(p, &s->ref, "Normal", "Completed", "Job completed");
	else
		pass_event(p, &s->ref, "Warning", s->end_reason, "%.*s", SPAN_ARG(s->end_words));
}

static void add_up(struct pass *p)
{
	struct job_pass *s = p->state;
	bool more = false;
	if (p->err.class != ERR_NONE)
		return;
	count(p);
	for (unsigned i = 0; i < s->n; i++)
		more |= s->pods[i].over && s->pods[i].tracked;
	if (s->end_type && !more && !s->active && !s->terminating && !finished(s))
		finish(p);
	p->again = more;
	write_status(p);
}

static bool on_let_go(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct job_pod *pod = o->arg;
	bool gone = why && (why->class == ERR_NOT_FOUND || why->class == ERR_INVALID);
	if (why && !gone)
		return false;
	pod->tracked = false;
	if (!gone)
		let_go_note(p, pod->uid);
	return true;
}

static void release_pod(struct pass *p, struct span ns, struct job_pod *pod)
{
	struct arena *a = &p->arena;
	struct json patch = json_object(), gone = json_array();
	struct json *meta = tree_at(a, &patch, "metadata");
	tree_set_span(a, meta, "uid", pod->uid);
	(void)json_push(a, &gone, json_str(SPAN(TRACKING)));
	tree_set(a, meta, "$deleteFromPrimitiveList/finalizers", gone);
	struct op *o = pass_strategic(p, CM_PODS, ns, pod->name, NULL, &patch);
	o->done = on_let_go;
	o->arg = pod;
}

static void let_go(struct pass *p)
{
	struct job_pass *s = p->state;
	if (p->err.class != ERR_NONE)
		return;
	/* Pods that ended and stand in the status, or need not: with an index that does, or ignored. */
	for (unsigned i = 0; i < s->n; i++) {
		struct job_pod *pod = &s->pods[i];
		if (pod->tracked && pod->over &&
		    (pod->ignored || (pod->good && s->indexed) || tree_has_text(&s->good, pod->uid) || tree_has_text(&s->bad, pod->uid)))
			release_pod(p, p->ns, pod);
	}
	p->then = add_up;
}

static void note_ended(struct pass *p)
{
	struct job_pass *s = p->state;
	if (s->end_type)
		set_condition(p, s->end_type, "True", s->end_reason, s->end_words);
	write_status(p);
	p->then = let_go;
}

/* ---- pods */

static bool on_created(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct job_pass *s = p->state;
	if (!why) {
		s->active++;
		pass_event(p, &s->ref, "Normal", "SuccessfulCreate", "Created pod: %.*s", SPAN_ARG(tree_meta_span(answer, "name")));
		return true;
	}
	if (why->class != ERR_TIMEOUT)
		expect_seen_creation(p->c, p->key);
	if (why->class == ERR_CANCELLED)
		return true;
	pass_event(p, &s->ref, "Warning", "FailedCreate", "Error creating: %s", err_msg(why));
	p->again = true; /* the status is written all the same */
	return true;
}

static bool on_deleted(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct job_pass *s = p->state;
	if (!why) {
		s->active--;
		s->terminating++;
		pass_event(p, &s->ref, "Normal", "SuccessfulDelete", "Deleted pod: %.*s", SPAN_ARG(o->name));
		return true;
	}
	expect_seen_deletion(p->c, p->key, *(struct span *)o->arg);
	return why->class == ERR_NOT_FOUND;
}

static void delete_pod(struct pass *p, const struct job_pod *pod)
{
	expect_deletion(p->c, p->key, pod->uid);
	struct op *o = pass_delete(p, CM_PODS, p->ns, pod->name, pod->uid, NULL);
	o->done = on_deleted;
	o->arg = (void *)&pod->uid;
	o->name = pod->name;
}

static void delete_active(struct pass *p, unsigned n)
{
	struct job_pass *s = p->state;
	struct rs_pod *ranked = arena_alloc_n(&p->arena, s->n + 1, sizeof(*ranked));
	unsigned n_ranked = 0;
	for (unsigned i = 0; i < s->n; i++)
		if (row_active(s->pods[i].row))
			ranked[n_ranked++] = (struct rs_pod){ .key = s->pods[i].key, .uid = s->pods[i].uid, .row = s->pods[i].row };
	rs_rank_deletions(ranked, n_ranked, p->now_s);
	for (unsigned i = 0; i < n && i < n_ranked; i++)
		for (unsigned k = 0; k < s->n; k++)
			if (span_eq(s->pods[k].uid, ranked[i].uid))
				delete_pod(p, &s->pods[k]);
}

static void index_pod(struct pass *p, struct json *pod, int64_t index, int64_t failures)
{
	static const char *const lists[] = { "containers", "initContainers" };
	struct job_pass *s = p->state;
	struct arena *a = &p->arena;
	struct json *meta = tree_at(a, pod, "metadata"), *spec = tree_at(a, pod, "spec");
	struct json text = json_str(arena_printf(a, "%lld", (long long)index));
	tree_set(a, tree_at(a, meta, "annotations"), INDEX, text);
	tree_set(a, tree_at(a, meta, "labels"), INDEX, text);
	if (s->per_index_limit >= 0)
		tree_set(a, tree_at(a, meta, "annotations"), FAILURES, json_str(arena_printf(a, "%lld", (long long)failures)));
	tree_set(a, spec, "hostname", json_str(arena_printf(a, "%.*s-%lld", SPAN_ARG(p->name), (long long)index)));
	tree_set(a, meta, "generateName", json_str(arena_printf(a, "%.*s-%lld-", SPAN_ARG(p->name), (long long)index)));
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		JSON_EACH_ITEM(tree_get(spec, lists[i]), c) {
			struct json env = json_object(), from = json_object(), field = json_object();
			struct json *list = json_get(c, SPAN("env"));
			if (tree_find(list, "name", SPAN("JOB_COMPLETION_INDEX")))
				continue;
			if (!json_is(list, JSON_ARRAY))
				list = json_setl(a, c, "env", json_array());
			tree_set_cstr(a, &field, "fieldPath", "metadata.labels['" INDEX "']");
			tree_set(a, &from, "fieldRef", field);
			tree_set_cstr(a, &env, "name", "JOB_COMPLETION_INDEX");
			tree_set(a, &env, "valueFrom", from);
			(void)json_push(a, list, env);
		}
	}
}

static void create_pod(struct pass *p, int64_t index, int64_t failures)
{
	struct job_pass *s = p->state;
	struct arena *a = &p->arena;
	struct json pod = tree_pod(a, tree_get(tree_get(&s->job, "spec"), "template"), CM_JOBS, &s->job), finalizers = json_array();
	struct json *meta = tree_at(a, &pod, "metadata");
	if (json_is(tree_get(meta, "finalizers"), JSON_ARRAY))
		finalizers = *tree_get(meta, "finalizers");
	if (!tree_has_text(&finalizers, SPAN(TRACKING)))
		(void)json_push(a, &finalizers, json_str(SPAN(TRACKING)));
	tree_set(a, meta, "finalizers", finalizers);
	if (index >= 0)
		index_pod(p, &pod, index, failures);
	else
		tree_set(a, meta, "generateName", json_str(arena_printf(a, "%.*s-", SPAN_ARG(p->name))));
	pass_create(p, CM_PODS, p->ns, &pod)->done = on_created;
}

/* Failures since the last success (of one index, or of all with index -1), and when the last was. */
static unsigned failures_of(const struct job_pass *s, int64_t index, int64_t *out_last_s)
{
	int64_t good_s = 0;
	unsigned n = 0;
	*out_last_s = 0;
	for (unsigned i = 0; i < s->n; i++)
		if (s->pods[i].good && (index < 0 || s->pods[i].index == index))
			good_s = MAX(good_s, s->pods[i].ended_s);
	for (unsigned i = 0; i < s->n; i++) {
		const struct job_pod *pod = &s->pods[i];
		if (!pod->over || pod->good || (index >= 0 && pod->index != index) || pod->ended_s < good_s || pod->ignored)
			continue;
		n++;
		*out_last_s = MAX(*out_last_s, pod->ended_s);
	}
	return n;
}

/* True: not yet; the key comes again then. */
static bool must_wait(struct pass *p, int64_t index)
{
	int64_t last_s;
	unsigned n = failures_of(p->state, index, &last_s);
	int64_t left_ms = last_s * 1000 + job_backoff_ms(n) - p->now_s * 1000;
	if (!n || left_ms <= 0)
		return false;
	pass_after(p, left_ms);
	return true;
}

static int64_t failures_of_index(const struct job_pass *s, int64_t index)
{
	int64_t most = 0, n;
	for (unsigned i = 0; i < s->n; i++)
		if (s->pods[i].index == index && s->pods[i].over && !s->pods[i].good && !s->pods[i].ignored &&
		    span_to_i64(tree_annotation(&s->pods[i].tree, FAILURES), &n))
			most = MAX(most, n + 1);
	return most;
}

static unsigned create_indexed(struct pass *p, int64_t want)
{
	struct job_pass *s = p->state;
	uint8_t *taken = arena_zalloc(&p->arena, (size_t)s->completions + 1);
	unsigned n = 0;
	for (unsigned i = 0; i < s->n; i++)
		if (s->pods[i].index >= 0 && s->pods[i].index < s->completions &&
		    (row_active(s->pods[i].row) || (s->only_replace_failed && !s->pods[i].over)))
			taken[s->pods[i].index] = 1;
	for (int64_t i = 0; i < s->completions && n < want; i++) {
		if (taken[i] || s->done.in[i] || s->failed_indexes.in[i] || (s->per_index_limit >= 0 && must_wait(p, i)))
			continue;
		create_pod(p, i, failures_of_index(s, i));
		n++;
	}
	return n;
}

static void manage(struct pass *p)
{
	struct job_pass *s = p->state;
	const struct job_numbers n = { .parallelism = s->parallelism, .completions = s->completions, .succeeded = succeeded_of(s),
				       .active = s->active, .terminating = s->terminating, .suspended = s->suspended,
				       .only_replace_failed = s->only_replace_failed };
	if (s->end_type) { /* what still runs is not wanted any more */
		delete_active(p, (unsigned)s->active);
		return;
	}
	int64_t d = job_difference(&n);
	if (d < 0) {
		delete_active(p, (unsigned)-d);
	} else if (d > 0 && (s->per_index_limit >= 0 || !must_wait(p, -1))) {
		p->mode = PASS_SLOW_START;
		unsigned made = s->indexed ? create_indexed(p, d) : (unsigned)d;
		for (int64_t i = 0; i < d && !s->indexed; i++)
			create_pod(p, -1, 0);
		if (made)
			expect_creations(p->c, p->key, made);
	}
}

static void suspend(struct pass *p)
{
	struct job_pass *s = p->state;
	const struct json *was = tree_find(&s->conditions, "type", SPAN("Suspended"));
	if (s->suspended && !condition_true(s, "Suspended")) {
		set_condition(p, "Suspended", "True", "JobSuspended", SPAN("Job suspended"));
		pass_event(p, &s->ref, "Normal", "Suspended", "Job suspended");
	} else if (!s->suspended && was && condition_true(s, "Suspended")) {
		set_condition(p, "Suspended", "False", "JobResumed", SPAN("Job resumed"));
		pass_event(p, &s->ref, "Normal", "Resumed", "Job resumed");
		s->start_s = p->now_s;
	}
	if (s->suspended)
		s->start_s = 0;
	else if (!s->start_s)
		s->start_s = p->now_s;
}

static void work(struct pass *p)
{
	struct job_pass *s = p->state;
	int64_t deadline = tree_int(tree_get(&s->job, "spec"), "activeDeadlineSeconds", -1);
	read_pods(p);
	read_end(p);
	count(p);
	if (!s->end_type)
		suspend(p);
	judge(p);
	if (deadline >= 0 && s->start_s && !s->end_type)
		pass_after(p, (s->start_s + deadline - p->now_s) * 1000 + 100);
	p->then = note_ended;
	if (!s->claims.deleting && expect_fulfilled(p->c, p->key))
		manage(p);
}

/* A pod whose Job is gone: the finalizer has nobody to wait for. */
static void orphan(struct pass *p)
{
	struct entry *e = cm_get(p->cm, CM_PODS, p->ns, span_sub(p->name, 0, p->name.len - 1));
	struct job_pod *pod = arena_new(&p->arena, struct job_pod);
	if (!e || cm_owner(p->c, CM_JOBS, e, e->row))
		return;
	*pod = (struct job_pod){ .name = arena_span(&p->arena, e->item->name), .uid = arena_span(&p->arena, e->item->uid) };
	release_pod(p, p->ns, pod);
}

static void reconcile(struct pass *p)
{
	struct entry *e = cm_get_key(p->cm, CM_JOBS, p->key);
	struct arena *a = &p->arena;
	if (span_ends(p->name, SPAN("#"))) {
		orphan(p);
		return;
	}
	if (!e) {
		expect_forget(p->c, p->key);
		return;
	}
	struct job_pass *s = arena_new(a, struct job_pass);
	p->state = s;
	s->job = cm_tree(a, CM_JOBS, e);
	s->ref = cm_ref(CM_JOBS, &s->job);
	const struct json *spec = tree_get(&s->job, "spec"), *status = tree_get(&s->job, "status");
	const struct json *conditions = tree_get(status, "conditions"), *uncounted = tree_get(status, "uncountedTerminatedPods");
	struct span manager = tree_span(spec, "managedBy");
	s->conditions = json_is(conditions, JSON_ARRAY) ? json_copy(a, conditions) : json_array();
	if (finished(s) || (manager.len && !span_is(manager, "kubernetes.io/job-controller")))
		return;
	s->parallelism = tree_int(spec, "parallelism", 1);
	s->completions = tree_int(spec, "completions", -1);
	s->backoff_limit = tree_int(spec, "backoffLimit", 6);
	s->per_index_limit = tree_int(spec, "backoffLimitPerIndex", -1);
	s->max_failed_indexes = tree_int(spec, "maxFailedIndexes", -1);
	s->indexed = span_is(tree_span(spec, "completionMode"), "Indexed");
	s->suspended = tree_bool(spec, "suspend", false);
	s->only_replace_failed = span_is(tree_span(spec, "podReplacementPolicy"), "Failed") || tree_get(spec, "podFailurePolicy");
	if (s->indexed && (s->completions < 0 || s->completions > JOB_INDEXES_MAX)) {
		pass_event(p, &s->ref, "Warning", "TooManyIndexes", "Skipped Job sync because it has more than %d indexes",
			   JOB_INDEXES_MAX);
		return;
	}
	s->done = job_indexes_parse(a, s->indexed ? (uint32_t)s->completions : 0, tree_span(status, "completedIndexes"));
	s->failed_indexes = job_indexes_parse(a, s->done.size, tree_span(status, "failedIndexes"));
	s->succeeded = tree_int(status, "succeeded", 0);
	s->failed = tree_int(status, "failed", 0);
	s->start_s = tree_time(tree_get(status, "startTime"));
	s->good = json_is(tree_get(uncounted, "succeeded"), JSON_ARRAY) ? *tree_get(uncounted, "succeeded") : json_array();
	s->bad = json_is(tree_get(uncounted, "failed"), JSON_ARRAY) ? *tree_get(uncounted, "failed") : json_array();
	s->claims = (struct claims){ .of = CM_JOBS, .kind = CM_PODS, .uid = tree_meta_span(&s->job, "uid"), .name = p->name,
				     .ns = p->ns, .deleting = e->row->deleted_s != 0, .finalizer = SPAN(TRACKING) };
	if (api_label_selector_of(a, tree_get(spec, "selector"), &s->claims.selector, NULL) < 0)
		return;
	claim_all(p, &s->claims, &s->job, work);
}

static int start(struct controller *c, struct err *err)
{
	c->state = mem_new(struct map);
	return 0;
}

static void stop(struct controller *c)
{
	struct map *let_go_uids = c->state;
	MAP_EACH(let_go_uids, e)
		free(e->value);
	map_done(let_go_uids);
	free(let_go_uids);
}

const struct controller_row cm_job = {
	.name = "job-controller", .watches = BIT(CM_JOBS) | BIT(CM_PODS), .event = event, .reconcile = reconcile, .start = start,
	.stop = stop,
};

/* ---- Jobs that finished a while ago */

static void ttl_event(struct controller *c, const struct change *ch)
{
	if (ch->what != CHANGE_REMOVED && tree_get(tree_get(ch->object, "spec"), "ttlSecondsAfterFinished"))
		cm_add(c, ch->e->item->key);
}

static void ttl_reconcile(struct pass *p)
{
	struct entry *e = cm_get_key(p->cm, CM_JOBS, p->key);
	struct arena *a = &p->arena;
	int64_t ended_s = 0;
	if (!e || e->row->deleted_s)
		return;
	struct json job = cm_tree(a, CM_JOBS, e);
	int64_t ttl = tree_int(tree_get(&job, "spec"), "ttlSecondsAfterFinished", -1);
	JSON_EACH_ITEM(tree_get(tree_get(&job, "status"), "conditions"), c)
		if ((span_is(tree_span(c, "type"), "Complete") || span_is(tree_span(c, "type"), "Failed")) &&
		    span_is(tree_span(c, "status"), "True"))
			ended_s = tree_time(tree_get(c, "lastTransitionTime"));
	if (ttl < 0 || !ended_s)
		return;
	if (p->now_s < ended_s + ttl) {
		pass_after(p, (ended_s + ttl - p->now_s) * 1000);
		return;
	}
	pass_delete(p, CM_JOBS, p->ns, p->name, tree_meta_span(&job, "uid"), "Foreground");
}

const struct controller_row cm_ttl_after_finished = {
	.name = "ttl-after-finished-controller", .watches = BIT(CM_JOBS), .event = ttl_event, .reconcile = ttl_reconcile,
};
