/* rollout history and undo: what a workload was before (k8s.io/kubectl/pkg/polymorphichelpers history.go, rollback.go).
 *
 * A revision is a number and the template of its pods. Of a deployment: its replica sets, numbered by an annotation. Of
 * daemon sets and
 * stateful sets: ControllerRevisions, whose data is a patch that makes the workload be so again. */
#include "front/describe.h"
#include "front/rollout.h"

#define REVISION "deployment.kubernetes.io/revision"
#define CAUSE "kubernetes.io/change-cause"

struct revision {
	int64_t number;
	const struct json *object; /* ReplicaSet or ControllerRevision */
};
struct revisions {
	struct json owner, list; /* in the command's arena */
	struct revision *items;  /* by number */
	unsigned n;
	bool deployment;
};

static const struct json *note(const struct json *o, const char *name)
{
	return json_get(json_path(o, "metadata", "annotations", NULL), span_of(name));
}

static int revision_cmp(const void *pa, const void *pb)
{
	const struct revision *a = pa, *b = pb;
	return (a->number > b->number) - (a->number < b->number);
}

static bool owned(const struct json *child, const struct json *parent)
{
	struct span uid = json_span(json_path(parent, "metadata", "uid", NULL));
	JSON_EACH_ITEM(json_path(child, "metadata", "ownerReferences", NULL), r)
		if (json_truth(json_getl(r, "controller"), false) && span_eq(json_span(json_getl(r, "uid")), uid))
			return true;
	return false;
}

static int ask_revisions(struct rollout *r, const struct front_target *t, struct revisions *out, struct err *err)
{
	static const struct client_kind sets = { SPAN_INIT("apps"), SPAN_INIT("v1"), SPAN_INIT("replicasets"), true };
	static const struct client_kind controlled = { SPAN_INIT("apps"), SPAN_INIT("v1"), SPAN_INIT("controllerrevisions"), true };
	auto_buf struct buf path = {}, of = {}, selector = {};
	struct arena *a = &r->f->arena;
	struct api_label_selector sel;
	*out = (struct revisions){ .deployment = span_is(t->resource->plural, "deployments") };
	front_target_path(&path, t, NULL);
	int rc = front_ask(r->f, &(struct front_request){ .path = buf_span(&path) }, &out->owner, err);
	if (rc == 0)
		rc = api_label_selector_of(a, json_path(&out->owner, "spec", "selector", NULL), &sel, err);
	if (rc < 0)
		return rc;
	api_label_selector_print(&sel, &selector);
	client_path(&of, out->deployment ? &sets : &controlled, t->ns, SPAN_EMPTY, NULL);
	buf_str(&of, "?labelSelector=");
	percent_add(&of, buf_span(&selector), NULL);
	rc = front_ask(r->f, &(struct front_request){ .path = buf_span(&of) }, &out->list, err);
	if (rc < 0)
		return rc;
	const struct json *items = json_getl(&out->list, "items");
	out->items = arena_alloc_n(a, (json_is(items, JSON_ARRAY) ? items->n : 0) + 1, sizeof(*out->items));
	JSON_EACH_ITEM(items, o) {
		int64_t n = json_i64(json_getl(o, "revision"), 0);
		if (out->deployment && !span_to_i64(json_span(note(o, REVISION)), &n))
			continue; /* not yet numbered */
		if (owned(o, &out->owner))
			out->items[out->n++] = (struct revision){ n, o };
	}
	qsort(out->items, out->n, sizeof(*out->items), revision_cmp);
	return 0;
}

static const struct revision *find(const struct revisions *all, int64_t number)
{
	for (unsigned i = 0; i < all->n; i++)
		if (all->items[i].number == number)
			return &all->items[i];
	return NULL;
}

static bool has_history(const struct front_target *t)
{
	return span_is(t->resource->group, "apps") && (span_is(t->resource->plural, "deployments") ||
						       span_is(t->resource->plural, "daemonsets") ||
						       span_is(t->resource->plural, "statefulsets"));
}

/* The template as it was, for people: a deployment's with the cause of the change among its annotations. */
static void put_template(struct rollout *r, const struct revisions *all, const struct revision *it)
{
	struct describe d = { .f = r->f };
	const char *from = all->deployment ? "spec" : "data";
	struct json t = json_copy(&r->f->arena, all->deployment ? json_path(it->object, "spec", "template", NULL)
				  : json_path(it->object, from, "spec", "template", NULL) ?: &JSON_NULL_VALUE);
	const struct json *cause = note(it->object, CAUSE);
	struct json *meta = json_getl(&t, "metadata");
	if (all->deployment && cause && json_is(meta, JSON_OBJECT)) {
		struct json *notes = json_getl(meta, "annotations");
		if (!json_is(notes, JSON_OBJECT))
			notes = json_setl(&r->f->arena, meta, "annotations", json_object());
		json_setl(&r->f->arena, notes, CAUSE, *cause);
	}
	describe_pod_template(&d, &t);
	buf_span_add(&r->f->out, buf_span(&d.text)); /* kubectl forgets to lay it out: tabs stay */
	buf_done(&d.text);
}

int rollout_history(struct rollout *r, const struct front_target *t, struct err *err)
{
	struct buf *out = &r->f->out;
	struct revisions all;
	if (!has_history(t))
		return err_set(err, ERR_USAGE, "no history viewer has been implemented for \"%.*s\"", SPAN_ARG(t->resource->kind));
	int rc = ask_revisions(r, t, &all, err);
	if (rc < 0)
		return rc;
	const struct revision *it = r->revision ? find(&all, r->revision) : NULL;
	if (r->revision && !it)
		return err_set(err, ERR_NOT_FOUND, "unable to find the specified revision");
	front_resource_word(out, t->resource);
	buf_printf(out, "/%.*s ", SPAN_ARG(t->name));
	if (it) {
		buf_printf(out, "with revision #%lld\n", (long long)r->revision);
		put_template(r, &all, it);
		buf_chr(out, '\n');
		return front_flush(r->f, err);
	}
	if (!all.n) {
		buf_str(out, "\nNo rollout history found.\n");
		return front_flush(r->f, err);
	}
	buf_str(out, "\n");
	auto_buf struct buf rows = {};
	buf_str(&rows, "REVISION\tCHANGE-CAUSE\n");
	for (unsigned i = 0; i < all.n; i++) {
		const struct json *cause = note(all.items[i].object, CAUSE);
		buf_printf(&rows, "%lld\t%.*s\n", (long long)all.items[i].number, SPAN_ARG(json_span(cause).len
			? json_span(cause) : SPAN("<none>")));
	}
	describe_layout(out, buf_span(&rows));
	buf_str(out, "\n");
	return front_flush(r->f, err);
}

/* ---- back */

static bool same_template(struct arena *a, const struct json *x, const struct json *y)
{
	struct json one = json_copy(a, x ?: &JSON_NULL_VALUE), two = json_copy(a, y ?: &JSON_NULL_VALUE);
	struct json *both[] = { &one, &two };
	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		struct json *labels = json_path(both[i], "metadata", "labels", NULL);
		if (json_is(labels, JSON_OBJECT))
			(void)json_remove(labels, SPAN("pod-template-hash"));
	}
	return json_equal(&one, &two);
}

/* A JSON patch: the template, and the annotations that were copied to the replica set; those that are the deployment's stay. */
static void patch_deployment(struct arena *a, const struct revisions *all, const struct revision *it, struct buf *body)
{
	static const char *const own[] = { "kubectl.kubernetes.io/last-applied-configuration", REVISION,
		"deployment.kubernetes.io/revision-history", "deployment.kubernetes.io/desired-replicas",
		"deployment.kubernetes.io/max-replicas", "deprecated.deployment.rollback.to" };
	struct json notes = json_object(), template = json_copy(a, json_path(it->object, "spec", "template", NULL));
	struct json *labels = json_path(&template, "metadata", "labels", NULL);
	if (json_is(labels, JSON_OBJECT))
		(void)json_remove(labels, SPAN("pod-template-hash"));
	for (size_t i = 0; i < ARRAY_LEN(own); i++) {
		const struct json *v = note(&all->owner, own[i]);
		if (v)
			json_set(a, &notes, span_of(own[i]), *v);
	}
	JSON_EACH_MEMBER(json_path(it->object, "metadata", "annotations", NULL), m) {
		bool mine = false;
		for (size_t i = 0; i < ARRAY_LEN(own) && !mine; i++)
			mine = span_is(json_key(m), own[i]);
		if (!mine)
			json_set(a, &notes, json_key(m), m->value);
	}
	buf_str(body, "[{\"op\":\"replace\",\"path\":\"/spec/template\",\"value\":");
	json_write(body, &template, 0);
	buf_str(body, "},{\"op\":\"replace\",\"path\":\"/metadata/annotations\",\"value\":");
	json_write(body, &notes, 0);
	buf_str(body, "}]");
}

int rollout_undo(struct rollout *r, const struct front_target *t, struct err *err)
{
	struct arena *a = &r->f->arena;
	struct revisions all;
	bool server = span_is(r->dry_text, "server"), client = span_is(r->dry_text, "client") || span_is(r->dry_text, "unchanged");
	const char *behind = server ? " (server dry run)" : "";
	if (!has_history(t))
		return err_set(err, ERR_USAGE, "error retrieving rollbacker for \"%.*s\", no visitor method exists for {%.*s %.*s}",
			       SPAN_ARG(t->resource->kind), SPAN_ARG(t->resource->group), SPAN_ARG(t->resource->kind));
	int rc = ask_revisions(r, t, &all, err);
	if (rc < 0)
		return rc;
	if (!r->to_revision && all.n < 2)
		return err_set(err, ERR_NOT_FOUND, "no rollout history found for %s \"%.*s\"", all.deployment ? "deployment" :
			       span_is(t->resource->plural, "daemonsets") ? "daemonset" : "statefulset", SPAN_ARG(t->name));
	const struct revision *it = r->to_revision ? find(&all, r->to_revision) : &all.items[all.n - 2];
	if (!it)
		return err_set(err, ERR_NOT_FOUND, "unable to find specified revision %lld in history", (long long)r->to_revision);
	if (client) {
		front_resource_word(&r->f->out, t->resource);
		buf_printf(&r->f->out, "/%.*s Pod Template:\n", SPAN_ARG(t->name));
		put_template(r, &all, it);
		return front_flush(r->f, err);
	}
	if (all.deployment && json_truth(json_path(&all.owner, "spec", "paused", NULL), false))
		return err_set(err, ERR_USAGE,
			"you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again");
	if (same_template(a, json_path(&all.owner, "spec", "template", NULL), all.deployment ? json_path(it->object, "spec", "template",
		NULL)
			  : json_path(it->object, "data", "spec", "template", NULL)))
		return rollout_say(r, t, arena_printf(a, "skipped rollback (current template already matches revision %lld)",
						      (long long)it->number).ptr, err);
	auto_buf struct buf path = {}, body = {};
	front_target_path(&path, t, NULL);
	buf_printf(&path, "?fieldManager=kubectl-rollout%s", server ? "&dryRun=All" : "");
	if (all.deployment)
		patch_deployment(a, &all, it, &body);
	else
		json_write(&body, json_getl(it->object, "data"), 0);
	rc = front_ask(r->f, &(struct front_request){ .method = "PATCH", .path = buf_span(&path), .body = buf_span(&body),
			.content_type = all.deployment ? CLIENT_JSON_PATCH : CLIENT_STRATEGIC_PATCH }, NULL, err);
	return rc < 0 ? rc : rollout_say(r, t, arena_printf(a, "rolled back%s", behind).ptr, err);
}
