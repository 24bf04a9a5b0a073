/* APIService objects of what this server serves itself: one for each group version, as upstream's autoregister and
 * crdregistration controllers keep them. The label says who keeps it:
 *
 *     kube-aggregator.kubernetes.io/automanaged   onstart   a built-in version: made and put right when the server starts, then
 *                                                           left to whoever changes it
 *                                                 true      a version of CRDs: kept as long as one of them serves it
 *                                                 (absent)  somebody's own: never touched
 *
 * They tell what is there; requests are routed by the registry alone, so taking one away takes no API away. The strategy gives
 * each its condition Available, reason Local. */
#include "apiserver/seed.h"

#define LABEL "kube-aggregator.kubernetes.io/automanaged"
/* Behind everything that is built in, as upstream's. */
#define CUSTOM_GROUP_PRIORITY 1000
#define CUSTOM_VERSION_PRIORITY 100

struct plan {
	struct apiserver *s;
	const struct api_registry *reg;
	const struct api_resource *res;
	struct store_snapshot *snap;
	struct arena *arena;
	void (*submit)(void *arg, struct store_txn *t);
	void *arg;
};

static bool is_custom(const struct plan *p, const struct api_group_version *gv)
{
	return gv->n && api_registry_at(p->reg, gv->first)->id == API_RESOURCE_CUSTOM;
}

/* Versions without a known place (the aggregator's own, and what it passes on) have no object here. */
static bool is_wanted(const struct plan *p, const struct api_group_version *gv, bool starting)
{
	return is_custom(p, gv) ? !starting : starting && gv->group_priority;
}

static struct json spec_make(const struct plan *p, const struct api_group_version *gv)
{
	bool custom = is_custom(p, gv);
	struct json spec = json_object();
	if (gv->group.len)
		json_setl(p->arena, &spec, "group", json_str(gv->group));
	json_setl(p->arena, &spec, "version", json_str(gv->version));
	json_setl(p->arena, &spec, "groupPriorityMinimum", json_int(custom ? CUSTOM_GROUP_PRIORITY : gv->group_priority));
	json_setl(p->arena, &spec, "versionPriority", json_int(custom ? CUSTOM_VERSION_PRIORITY : gv->version_priority));
	return spec;
}

static int put(const struct plan *p, struct span name, struct json *tree, const struct json *old, int64_t seen_rev, struct err *err)
{
	auto_buf struct buf key = {};
	auto_bytes struct bytes *value = NULL;
	int rc = seed_object(p->s, p->res, p->arena, tree, old, SPAN("kube-apiserver"), &value, err);
	if (rc < 0)
		return err_note(err, "APIService %.*s", SPAN_ARG(name));
	struct store_txn *t = store_txn_new();
	object_key(&key, p->res, SPAN_EMPTY, name);
	store_txn_if(t, buf_span(&key), STORE_REV, STORE_EQUAL, seen_rev);
	store_txn_put(t, STORE_THEN, buf_span(&key), value, 0);
	p->submit(p->arg, t);
	return 0;
}

static int make(const struct plan *p, struct span name, struct json spec, bool custom, struct err *err)
{
	struct json tree = json_object(), meta = json_object(), labels = json_object();
	json_setl(p->arena, &labels, LABEL, json_cstr(custom ? "true" : "onstart"));
	json_setl(p->arena, &meta, "name", json_str(name));
	json_setl(p->arena, &meta, "labels", labels);
	json_setl(p->arena, &tree, "metadata", meta);
	json_setl(p->arena, &tree, "spec", spec);
	return put(p, name, &tree, NULL, 0, err);
}

static struct span keeper(const struct json *object)
{
	return json_span(json_get(json_path(object, "metadata", "labels", NULL), SPAN(LABEL)));
}

static int keep(const struct plan *p, const struct api_group_version *gv, struct err *err)
{
	struct span name = arena_printf(p->arena, "%.*s.%.*s", SPAN_ARG(gv->version), SPAN_ARG(gv->group));
	struct json spec = spec_make(p, gv), was;
	auto_buf struct buf key = {};
	object_key(&key, p->res, SPAN_EMPTY, name);
	const struct store_item *it = store_get(p->snap, buf_span(&key));
	if (!it)
		return make(p, name, spec, is_custom(p, gv), err);
	int rc = object_read(p->arena, p->res, bytes_span(it->value), it->rev, &was, err);
	if (rc < 0 || !keeper(&was).len || strategy_same(&spec, json_getl(&was, "spec")))
		return rc;
	struct json tree = json_copy(p->arena, &was);
	json_setl(p->arena, &tree, "spec", spec);
	return put(p, name, &tree, &was, it->rev, err);
}

/* What nobody serves any more. At the start the versions of CRDs are not known yet, afterwards built-in ones are let be. */
static int drop(const struct plan *p, bool starting, struct err *err)
{
	auto_buf struct buf prefix = {};
	const struct store_item *item;
	struct store_iter it;
	object_key(&prefix, p->res, SPAN_EMPTY, SPAN_EMPTY);
	int rc = store_iter_init(&it, p->snap, buf_span(&prefix), SPAN_EMPTY, 0, err);
	if (rc < 0)
		return rc;
	while (rc == 0 && (item = store_iter_next(&it))) {
		struct json object;
		rc = object_read(p->arena, p->res, bytes_span(item->value), item->rev, &object, err);
		if (rc < 0 || !span_is(keeper(&object), starting ? "onstart" : "true"))
			continue;
		const struct json *spec = json_getl(&object, "spec");
		const struct api_group_version *gv = api_registry_find_version(p->reg, json_span(json_getl(spec, "group")),
									       json_span(json_getl(spec, "version")));
		if (gv && is_wanted(p, gv, starting))
			continue;
		struct store_txn *t = store_txn_new();
		store_txn_if(t, store_item_key(item), STORE_REV, STORE_EQUAL, item->rev);
		store_txn_delete(t, STORE_THEN, store_item_key(item));
		p->submit(p->arg, t);
	}
	store_iter_done(&it);
	return rc;
}

int apiservices_plan(struct apiserver *s, struct store_snapshot *snap, bool starting,
		     void (*submit)(void *arg, struct store_txn *t), void *arg, struct err *err)
{
	auto_arena struct arena a = {};
	struct api_registry_cache cache = {};
	const struct api_registry *reg = api_registry_get(s->registry, &cache);
	struct plan p = { .s = s, .reg = reg, .snap = snap, .arena = &a, .submit = submit, .arg = arg };
	int rc = 0;
	p.res = api_registry_find(reg, SPAN("apiregistration.k8s.io"), SPAN("v1"), SPAN("apiservices"));
	for (unsigned i = 0; i < api_registry_n_versions(reg) && rc == 0; i++) {
		const struct api_group_version *gv = api_registry_version(reg, i);
		if (is_wanted(&p, gv, starting))
			rc = keep(&p, gv, err);
	}
	if (rc == 0)
		rc = drop(&p, starting, err);
	api_registry_cache_done(&cache);
	return rc;
}
