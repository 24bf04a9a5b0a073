/* rollout: status until a workload is as its template says; restart, pause and resume by small patches. What was before:
 * revisions.c.
 *
 *     rollout_status()  object -> words and whether it is over; pure (k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go) */
#include "front/rollout.h"

#include <time.h>


static int64_t number(const struct json *object, const char *part, const char *field, int64_t otherwise)
{
	return json_i64(json_path(object, part, field, NULL), otherwise);
}

#define STATUS(field) number(o, "status", field, 0)

static bool observed(const struct json *o)
{
	return number(o, "metadata", "generation", 0) <= STATUS("observedGeneration");
}

static int deployment_status(const struct json *o, struct span name, struct buf *words, bool *out_done, struct err *err)
{
	int64_t wanted = number(o, "spec", "replicas", 1), updated = STATUS("updatedReplicas");
	int64_t all = STATUS("replicas"), there = STATUS("availableReplicas");
	*out_done = false;
	if (!observed(o)) {
		buf_str(words, "Waiting for deployment spec update to be observed...\n");
		return 0;
	}
	JSON_EACH_ITEM(json_path(o, "status", "conditions", NULL), c)
		if (span_is(json_span(json_getl(c, "type")), "Progressing") &&
		    span_is(json_span(json_getl(c, "reason")), "ProgressDeadlineExceeded"))
			return err_set(err, ERR_TIMEOUT, "deployment \"%.*s\" exceeded its progress deadline", SPAN_ARG(name));
	if (updated < wanted)
		buf_printf(words, "Waiting for deployment \"%.*s\" rollout to finish: %lld out of %lld new replicas have been updated...\n",
			   SPAN_ARG(name), (long long)updated, (long long)wanted);
	else if (all > updated)
		buf_printf(words, "Waiting for deployment \"%.*s\" rollout to finish: %lld old replicas are pending termination...\n",
			   SPAN_ARG(name), (long long)(all - updated));
	else if (there < updated)
		buf_printf(words, "Waiting for deployment \"%.*s\" rollout to finish: %lld of %lld updated replicas are available...\n",
			   SPAN_ARG(name), (long long)there, (long long)updated);
	else {
		buf_printf(words, "deployment \"%.*s\" successfully rolled out\n", SPAN_ARG(name));
		*out_done = true;
	}
	return 0;
}

static int daemon_status(const struct json *o, struct span name, struct buf *words, bool *out_done, struct err *err)
{
	int64_t wanted = STATUS("desiredNumberScheduled"), updated = STATUS("updatedNumberScheduled"),
		there = STATUS("numberAvailable");
	*out_done = false;
	if (!span_is(json_span(json_path(o, "spec", "updateStrategy", "type", NULL)), "RollingUpdate"))
		return err_set(err, ERR_USAGE, "rollout status is only available for RollingUpdate strategy type");
	if (!observed(o))
		buf_str(words, "Waiting for daemon set spec update to be observed...\n");
	else if (updated < wanted)
		buf_printf(words, "Waiting for daemon set \"%.*s\" rollout to finish: %lld out of %lld new pods have been updated...\n",
			   SPAN_ARG(name), (long long)updated, (long long)wanted);
	else if (there < wanted)
		buf_printf(words, "Waiting for daemon set \"%.*s\" rollout to finish: %lld of %lld updated pods are available...\n",
			   SPAN_ARG(name), (long long)there, (long long)wanted);
	else {
		buf_printf(words, "daemon set \"%.*s\" successfully rolled out\n", SPAN_ARG(name));
		*out_done = true;
	}
	return 0;
}

static int stateful_status(const struct json *o, struct span name, struct buf *words, bool *out_done, struct err *err)
{
	int64_t wanted = number(o, "spec", "replicas", 1), ready = STATUS("readyReplicas"), updated = STATUS("updatedReplicas");
	int64_t partition = json_i64(json_path(o, "spec", "updateStrategy", "rollingUpdate", "partition", NULL), 0);
	struct span now = json_span(json_path(o, "status", "currentRevision", NULL));
	struct span next = json_span(json_path(o, "status", "updateRevision", NULL));
	*out_done = false;
	if (!span_is(json_span(json_path(o, "spec", "updateStrategy", "type", NULL)), "RollingUpdate"))
		return err_set(err, ERR_USAGE, "rollout status is only available for RollingUpdate strategy type");
	if (STATUS("observedGeneration") == 0 || !observed(o)) {
		buf_str(words, "Waiting for statefulset spec update to be observed...\n");
	} else if (ready < wanted) {
		buf_printf(words, "Waiting for %lld pods to be ready...\n", (long long)(wanted - ready));
	} else if (partition > 0 && updated < wanted - partition) {
		buf_printf(words, "Waiting for partitioned roll out to finish: %lld out of %lld new pods have been updated...\n",
			   (long long)updated, (long long)(wanted - partition));
	} else if (partition > 0) {
		buf_printf(words, "partitioned roll out complete: %lld new pods have been updated...\n", (long long)updated);
		*out_done = true;
	} else if (!span_eq(now, next)) {
		buf_printf(words, "waiting for statefulset rolling update to complete %lld pods at revision %.*s...\n", (long long)updated,
			   SPAN_ARG(next));
	} else {
		buf_printf(words, "statefulset rolling update complete %lld pods at revision %.*s...\n",
			(long long)STATUS("currentReplicas"),
			   SPAN_ARG(now));
		*out_done = true;
	}
	return 0;
}

static int rollout_status(const struct front_resource *r, const struct json *o, struct span name, struct buf *words, bool *out_done,
			  struct err *err)
{
	if (span_is(r->group, "apps") && span_is(r->plural, "deployments"))
		return deployment_status(o, name, words, out_done, err);
	if (span_is(r->group, "apps") && span_is(r->plural, "daemonsets"))
		return daemon_status(o, name, words, out_done, err);
	if (span_is(r->group, "apps") && span_is(r->plural, "statefulsets"))
		return stateful_status(o, name, words, out_done, err);
	return err_set(err, ERR_USAGE, "no status viewer has been implemented for %.*s", SPAN_ARG(r->kind));
}

/* ---- status, as it goes on */

struct following {
	struct rollout *r;
	const struct front_target *target;
	struct buf line, said; /* said: what was printed last; the same is not printed twice */
	struct err *err;
	int rc;
	bool done, again;
};

static int follow_object(struct following *w, const struct json *object)
{
	struct front *f = w->r->f;
	auto_buf struct buf words = {};
	int rc = rollout_status(w->target->resource, object, w->target->name, &words, &w->done, w->err);
	if (rc < 0)
		return rc;
	if (!span_eq(buf_span(&words), buf_span(&w->said)))
		buf_span_add(&f->out, buf_span(&words));
	buf_trunc(&w->said, 0);
	buf_span_add(&w->said, buf_span(&words));
	return front_flush(f, w->err);
}

static bool on_change(struct front *f, struct span data, void *arg)
{
	struct following *w = arg;
	ptrdiff_t at;
	buf_span_add(&w->line, data);
	while (w->rc == 0 && !w->done && !w->again && (at = span_chr(buf_span(&w->line), '\n')) >= 0) {
		auto_arena struct arena a = {};
		struct json event;
		w->rc = json_parse(&a, span_sub(buf_span(&w->line), 0, (size_t)at), JSON_DUPLICATES_LAST, NULL, &event, w->err);
		struct span type = w->rc < 0 ? SPAN_EMPTY : json_span(json_getl(&event, "type"));
		if (span_is(type, "DELETED"))
			w->rc = err_set(w->err, ERR_GONE, "object has been deleted");
		else if (span_is(type, "ERROR"))
			w->again = true; /* history is gone */
		else if (w->rc == 0 && !span_is(type, "BOOKMARK"))
			w->rc = follow_object(w, json_getl(&event, "object"));
		buf_shift(&w->line, (size_t)at + 1);
	}
	return w->rc == 0 && !w->done && !w->again && !buf_overflowed(&w->line);
}

static int status(struct rollout *r, const struct front_target *t, struct err *err)
{
	struct loop *l = r->f->loop;
	int64_t until = r->timeout_ns > 0 ? loop_now_ms(l) + r->timeout_ns / 1000000 : 0;
	struct following w = { .r = r, .target = t, .line = { .limit = 64u << 20 }, .err = err };
	int rc = 0;
	while (rc == 0 && !w.done) {
		auto_buf struct buf path = {}, watch = {};
		struct front_target whole = *t;
		struct json object;
		front_target_path(&path, t, NULL);
		rc = front_ask(r->f, &(struct front_request){ .path = buf_span(&path) }, &object, err);
		if (rc == 0)
			rc = follow_object(&w, &object);
		if (rc < 0 || w.done || !r->watch)
			break;
		int64_t left = until ? until - loop_now_ms(l) : 0;
		if (until && left <= 0) {
			rc = err_set(err, ERR_TIMEOUT, "timed out waiting for the condition");
			break;
		}
		whole.name = SPAN_EMPTY;
		front_target_path(&watch, &whole, NULL);
		buf_str(&watch, "?watch=true&fieldSelector=metadata.name%3D");
		percent_add(&watch, t->name, NULL);
		buf_str(&watch, "&resourceVersion=");
		percent_add(&watch, json_span(json_path(&object, "metadata", "resourceVersion", NULL)), NULL);
		w.again = false;
		buf_trunc(&w.line, 0);
		rc = front_stream(r->f, buf_span(&watch), NULL, on_change, &w, left, err);
		if (w.rc < 0)
			rc = w.rc;
	}
	buf_done(&w.line);
	buf_done(&w.said);
	return rc;
}

/* ---- small patches */

static int patch(struct rollout *r, const struct front_target *t, struct span body, const char *said, struct err *err)
{
	auto_buf struct buf path = {};
	front_target_path(&path, t, NULL);
	buf_str(&path, "?fieldManager=kubectl-rollout");
	int rc = front_ask(r->f, &(struct front_request){ .method = "PATCH", .path = buf_span(&path), .body = body,
			.content_type = CLIENT_STRATEGIC_PATCH }, NULL, err);
	return rc < 0 ? rc : rollout_say(r, t, said, err);
}

int rollout_say(struct rollout *r, const struct front_target *t, const char *said, struct err *err)
{
	front_resource_word(&r->f->out, t->resource);
	buf_printf(&r->f->out, "/%.*s %s\n", SPAN_ARG(t->name), said);
	return front_flush(r->f, err);
}

/* "deployments.apps "web" can't ...": how kubectl names what it could not do something to. */
static int refuse(const struct front_target *t, const char *why, struct err *err)
{
	const struct front_resource *r = t->resource;
	return err_set(err, ERR_USAGE, "%.*s%s%.*s \"%.*s\" %s", SPAN_ARG(r->plural), r->group.len ? "." : "", SPAN_ARG(r->group),
		       SPAN_ARG(t->name), why);
}

static int ask_paused(struct rollout *r, const struct front_target *t, bool *out, struct err *err)
{
	auto_buf struct buf path = {};
	struct json object;
	front_target_path(&path, t, NULL);
	int rc = front_ask(r->f, &(struct front_request){ .path = buf_span(&path) }, &object, err);
	if (rc == 0)
		*out = json_truth(json_path(&object, "spec", "paused", NULL), false);
	return rc;
}

static bool is_apps(const struct front_target *t, const char *plural)
{
	return span_is(t->resource->group, "apps") && span_is(t->resource->plural, plural);
}

static int restart(struct rollout *r, const struct front_target *t, struct err *err)
{
	auto_buf struct buf body = {}, when = {};
	bool paused = false;
	if (!is_apps(t, "deployments") && !is_apps(t, "daemonsets") && !is_apps(t, "statefulsets"))
		return refuse(t, "restarting is not supported", err);
	int rc = ask_paused(r, t, &paused, err);
	if (rc < 0)
		return rc;
	if (paused)
		return refuse(t, "can't restart paused deployment (run rollout resume first)", err);
	api_time_print(&when, API_TIME_SECONDS, time(NULL), 0);
	buf_printf(&body, "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"kubectl.kubernetes.io/restartedAt\":\"%s\"}}}}}",
		   buf_cstr(&when));
	return patch(r, t, buf_span(&body), "restarted", err);
}

static int pause_or_resume(struct rollout *r, const struct front_target *t, bool stop, struct err *err)
{
	bool paused;
	if (!is_apps(t, "deployments"))
		return refuse(t, stop ? "pausing is not supported" : "resuming is not supported", err);
	int rc = ask_paused(r, t, &paused, err);
	if (rc < 0)
		return rc;
	if (paused == stop)
		return refuse(t, stop ? "is already paused" : "is not paused", err);
	return patch(r, t, stop ? SPAN("{\"spec\":{\"paused\":true}}") : SPAN("{\"spec\":{\"paused\":null}}"), stop ? "paused"
		: "resumed", err);
}

/* ---- the verb */

static int pause_it(struct rollout *r, const struct front_target *t, struct err *err)
{
	return pause_or_resume(r, t, true, err);
}

static int resume_it(struct rollout *r, const struct front_target *t, struct err *err)
{
	return pause_or_resume(r, t, false, err);
}

static const struct {
	const char *name;
	int (*act)(struct rollout *r, const struct front_target *t, struct err *err);
} actions[] = {
	{ "history", rollout_history }, { "pause", pause_it }, { "restart", restart }, { "resume", resume_it }, { "status", status },
	{ "undo", rollout_undo },
};

static int act_on(struct rollout *r, const struct front_args *args, struct front_targets *targets, struct err *err)
{
	int (*act)(struct rollout *r, const struct front_target *t, struct err *err) = NULL;
	for (size_t i = 0; args->words.n && i < ARRAY_LEN(actions); i++)
		if (span_is(args->words.items[0], actions[i].name))
			act = actions[i].act;
	if (!act)
		return err_set(err, ERR_USAGE,
			"unknown command for \"kubectl rollout\": one of history, pause, restart, resume, status, undo must "
			       "follow");
	if (r->to_revision < 0)
		return err_set(err, ERR_USAGE, "revision must be a positive integer: %lld", (long long)r->to_revision);
	if (r->dry_text.len && !span_is(r->dry_text, "none") && !span_is(r->dry_text, "server") && !span_is(r->dry_text, "client"))
		return err_set(err, ERR_USAGE, "Invalid dry-run value (%.*s). Must be \"none\", \"server\", or \"client\".",
			       SPAN_ARG(r->dry_text));
	const struct front_words words = { args->words.items + 1, args->words.n - 1 };
	int rc = front_discover(r->f, err);
	if (rc == 0)
		rc = front_targets_files(r->f, &r->files, false, false, targets, err);
	if (rc == 0)
		rc = front_targets_words(r->f, &words, targets, err);
	if (rc == 0 && !targets->n)
		return err_set(err, ERR_USAGE, "required resource not specified");
	if (rc == 0)
		rc = front_targets_expand(r->f, targets, r->selector, SPAN_EMPTY, err);
	if (rc == 0 && !targets->n)
		(void)fprintf(stderr, "No resources found in %.*s namespace.\n", SPAN_ARG(r->f->ns));
	for (unsigned i = 0; rc == 0 && i < targets->n; i++)
		if (act(r, &targets->items[i], err) < 0)
			(void)front_complain(r->f, err, NULL);
	return rc;
}

int front_rollout_main(struct front *f, int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct rollout r = { .f = f, .watch = true };
	struct front_targets targets = {};
	struct front_args args;
	const struct front_flag flags[] = {
		{ "filename", 'f', FRONT_FLAG_LIST, &r.files, NULL, "the objects of this file" },
		{ "selector", 'l', FRONT_FLAG_TEXT, &r.selector, NULL, "objects with these labels" },
		{ "watch", 'w', FRONT_FLAG_BOOL, &r.watch, NULL, "status: until it is done (default true)" },
		{ "timeout", 0, FRONT_FLAG_DURATION, &r.timeout_ns, NULL, "status: longest wait; 0: any" },
		{ "revision", 0, FRONT_FLAG_NUMBER, &r.revision, NULL, "history: the template of this revision" },
		{ "to-revision", 0, FRONT_FLAG_NUMBER, &r.to_revision, NULL, "undo: back to this revision; 0: the one before" },
		{ "dry-run", 0, FRONT_FLAG_TEXT, &r.dry_text, "unchanged", "undo: none, client (send nothing) or server (keep nothing)" },
		{},
	};
	int rc = front_verb_args(f, "rollout", "(history | pause | restart | resume | status | undo) (TYPE NAME | TYPE/NAME) [flags]",
				 "Watches and steers the rollout of a workload.", flags, argc, argv, &args);
	if (rc)
		return rc < 0;
	if (act_on(&r, &args, &targets, &err) < 0)
		(void)front_complain(f, &err, NULL);
	front_targets_done(&targets);
	return f->complaints > 0;
}
