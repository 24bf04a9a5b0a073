/* Eviction: a deletion that asks the disruption budgets first.
 *
 *     pod → [budget: one disruption less, the pod among disruptedPods] → condition DisruptionTarget → deletion
 *
 * Each step is a compare-and-set on the state that the decision was made from; who loses a race starts again at the pod. A
 * crash between two steps leaves a budget that is one short until its controller drops the name from disruptedPods, as upstream. */
#include "apiserver/sub.h"

#include "apiserver/admit.h"
#include "apiserver/budget.h"
#include "apiserver/delete.h"
#include "apiserver/write.h"

#define TRIES_MAX 20	   /* EvictionsRetry's steps */

struct eviction {
	struct json options;  /* DeleteOptions */
	bool has_rv;	      /* the client named the version that it means */
	bool counted;	      /* the budget has this disruption already */
	bool guarded;	      /* a budget lets it go because it is not ready: only as it is now */
	struct span budget;
};

static void evict_try(struct call *c);

static const struct api_resource *pods_of(struct call *c)
{
	return api_registry_find(c->registry, SPAN(""), SPAN("v1"), SPAN("pods"));
}

/* ---- budgets */

/* The budgets whose selector is for this pod: the first, and how many. */
static unsigned budgets_of(struct call *c, const struct json *pod, const struct api_resource *res, struct json *out,
			   const struct store_item **out_item)
{
	auto_buf struct buf prefix = {};
	struct store_iter it;
	const struct store_item *item;
	const struct json *labels = json_path(pod, "metadata", "labels", (char *)NULL);
	unsigned n = 0;
	object_key(&prefix, res, c->route.ns, SPAN_EMPTY);
	if (store_iter_init(&it, c->snap, buf_span(&prefix), SPAN_EMPTY, 0, &c->err) < 0)
		return 0;
	while (n < 2 && (item = store_iter_next(&it))) {
		struct json budget;
		struct api_label_selector sel;
		if (object_read(&c->arena, res, bytes_span(item->value), item->rev, &budget, &c->err) < 0)
			break;
		const struct json *selector = json_path(&budget, "spec", "selector", (char *)NULL);
		if (api_label_selector_of(&c->arena, selector, &sel, NULL) < 0 ||
		    !api_label_selector_match(&sel, labels))
			continue;
		if (n++ == 0) {
			*out = budget;
			*out_item = item;
		}
	}
	store_iter_done(&it);
	return n;
}

/* ---- the steps */

static void put(struct call *c, const struct api_resource *res, struct json *object, struct span name, int64_t rev,
		void (*written)(struct call *c, int64_t rev))
{
	auto_buf struct buf key = {}, value = {};
	object_key(&key, res, c->route.ns, name);
	object_encode(&value, res, object, &c->arena);
	bytes_unref(c->value);
	c->value = buf_seal(&value);
	c->written = written;
	write_put(c, buf_span(&key), rev);
}

static void gone(struct call *c)
{
	sub_succeed(c);
}

/* The pod is no longer what a budget let go. */
static void overtaken(struct call *c)
{
	struct eviction *e = c->state;
	if (e->guarded && !e->has_rv) {
		err_done(&c->err);
		(void)budget_unseen(&c->arena, e->budget, &c->err);
	}
	call_fail(c);
}

static void evict_delete(struct call *c, int64_t rev)
{
	struct eviction *e = c->state;
	if (rev && (e->has_rv || e->guarded)) {
		/* The condition was our own change: the precondition follows it. */
		struct json *pre = json_getl(&e->options, "preconditions");
		if (!pre)
			pre = json_set(&c->arena, &e->options, SPAN("preconditions"), json_object());
		(void)json_setl(&c->arena, pre, "resourceVersion",
				json_str(arena_printf(&c->arena, "%lld", (long long)rev)));
	}
	store_snapshot_unref(c->snap);
	c->snap = NULL;
	c->res = pods_of(c);
	c->sub = NULL;
	delete_with(c, &e->options, gone, overtaken);
}

static void evict_counted(struct call *c, int64_t rev)
{
	struct eviction *e = c->state;
	e->counted = true;
	c->tries = 0;
	evict_try(c);
}

static int preconditions(struct call *c, const struct json *pod)
{
	struct eviction *e = c->state;
	const struct json *pre = json_getl(&e->options, "preconditions"), *meta = json_getl(pod, "metadata");
	static const char *const names[][2] = { { "uid", "UID" }, { "resourceVersion", "ResourceVersion" } };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct span want = json_span(json_get(pre, span_of(names[i][0])));
		struct span is = json_span(json_get(meta, span_of(names[i][0])));
		if (want.len && !span_eq(want, is))
			return err_set(&c->err, ERR_STALE,
				       "Operation cannot be fulfilled on Pod \"%.*s\": the %s in the precondition (%.*s) "
				       "does not match the %s in record (%.*s). The object might have been %s",
				       SPAN_ARG(c->route.name), names[i][1], SPAN_ARG(want), names[i][1], SPAN_ARG(is),
				       i ? "modified" : "deleted and then recreated");
	}
	return 0;
}

/* What the budgets say. 0: go on; 1: a budget is being written; negative: c->err. */
static int ask_budgets(struct call *c, const struct json *pod)
{
	struct eviction *e = c->state;
	struct json budget;
	const struct store_item *item = NULL;
	const struct api_resource *res =
		api_registry_find(c->registry, SPAN("policy"), SPAN("v1"), SPAN("poddisruptionbudgets"));
	unsigned n = budgets_of(c, pod, res, &budget, &item);
	if (c->err.class != ERR_NONE)
		return -c->err.class;
	if (n > 1) {
		c->generic = true;
		return err_set(&c->err, ERR_INTERNAL,
			       "This pod has more than one PodDisruptionBudget, which the eviction subresource does not "
			       "support.");
	}
	if (!n)
		return 0;
	e->budget = json_span(json_path(&budget, "metadata", "name", (char *)NULL));
	e->guarded = budget_lets_go_unready(&budget, pod);
	if (e->guarded)
		return 0;
	int rc = budget_take(&c->arena, &budget, c->route.name, write_now(c), &c->err);
	if (rc < 0 || c->dry_run)
		return rc;
	put(c, res, &budget, e->budget, item->rev, evict_counted);
	return 1;
}

static void evict_try(struct call *c)
{
	struct eviction *e = c->state;
	struct json pod;
	store_snapshot_unref(c->snap);
	c->snap = store_snapshot(c->server->store);
	const struct store_item *it = sub_object(c, SPAN(""), "pods", c->route.ns, c->route.name, &pod);
	if (c->err.class == ERR_NONE && !it)
		err_set(&c->err, ERR_NOT_FOUND, "pods \"%.*s\" not found", SPAN_ARG(c->route.name));
	if (c->err.class != ERR_NONE || preconditions(c, &pod) < 0) {
		call_fail(c);
		return;
	}
	if (!e->counted && !budget_is_free(&pod)) {
		int rc = ask_budgets(c, &pod);
		if (rc < 0 && c->err.class == ERR_INTERNAL && c->generic)
			sub_fail_unknown(c);
		else if (rc < 0)
			call_fail(c);
		if (rc)
			return;
	}
	if (!c->dry_run &&
	    sub_condition_set(c, &pod, "DisruptionTarget", "EvictionByEvictionAPI", "Eviction API: evicting"))
		put(c, pods_of(c), &pod, c->route.name, it->rev, evict_delete);
	else
		evict_delete(c, it->rev);
}

static void evict_again(struct call *c)
{
	struct eviction *e = c->state;
	if (++c->tries < TRIES_MAX) {
		evict_try(c);
		return;
	}
	if (e->budget.len && !e->counted) {
		err_set(&c->err, ERR_TIMEOUT, "couldn't update PodDisruptionBudget \"%.*s\" due to conflicts",
			SPAN_ARG(e->budget));
		c->err.retry_ms = 10000;
	} else {
		c->res = pods_of(c);
		(void)write_conflict(c);
	}
	call_fail(c);
}

void evict_create(struct call *c)
{
	struct eviction *e = arena_new(&c->arena, struct eviction);
	if (write_decode(c, c->sub->type, c->sub->kind, &c->object) < 0 ||
	    sub_agree(c, &c->object, c->sub->group_version) < 0) {
		call_fail(c);
		return;
	}
	const struct json *options = json_getl(&c->object, "deleteOptions"), *dry = json_getl(options, "dryRun");
	e->options = options ? *options : json_object();
	e->has_rv = json_path(options, "preconditions", "resourceVersion", (char *)NULL);
	c->dry_run = c->dry_run || (dry && dry->n);
	if (admit_both(c, ADMISSION_CREATE, &c->object, NULL) < 0) {
		call_fail(c);
		return;
	}
	c->state = e;
	c->again = evict_again;
	evict_try(c);
}
