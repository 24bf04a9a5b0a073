/* ClusterRoles with an aggregationRule. Upstream's controller manager does this; here it is the API server's, because a
 * cluster whose admin role is empty until another process runs cannot be used by anybody but system:masters.
 *
 * Level-triggered: any change of any ClusterRole looks at all of them (some 70, a millisecond). A write that loses its race
 * needs no retry: what it lost to is a change, and brings the next look. */
#include "apiserver/seed.h"

#define MANAGER "clusterrole-aggregation-controller"

static const struct api_resource *roles_of(struct api_registry *reg)
{
	return api_registry_find(reg, SPAN("rbac.authorization.k8s.io"), SPAN("v1"), SPAN("clusterroles"));
}

static int plan(struct apiserver *s, const struct api_resource *res, struct store_snapshot *snap, struct arena *a,
		void (*submit)(void *arg, struct store_txn *t), void *arg, struct err *err)
{
	auto_buf struct buf prefix = {};
	struct store_iter it;
	const struct store_item *item;
	object_key(&prefix, res, SPAN_EMPTY, SPAN_EMPTY);
	unsigned n = 0;
	uint64_t most = store_count(snap, buf_span(&prefix));
	const struct json **roles = arena_alloc_n(a, most + 1, sizeof(*roles));
	const struct store_item **items = arena_alloc_n(a, most + 1, sizeof(*items));
	int rc = store_iter_init(&it, snap, buf_span(&prefix), SPAN_EMPTY, 0, err);
	if (rc < 0)
		return rc;
	while (rc == 0 && (item = store_iter_next(&it))) {
		struct json *tree = arena_new(a, struct json);
		rc = object_read(a, res, bytes_span(item->value), item->rev, tree, err);
		items[n] = item;
		roles[n++] = tree;
	}
	store_iter_done(&it);
	for (unsigned i = 0; i < n && rc == 0; i++) {
		struct json rules;
		auto_err struct err why = ERR_INIT;
		int differs = auth_policy_aggregate(roles[i], roles, n, a, &rules, &why);
		if (differs < 0) /* validation refuses such selectors: an old object's; the others go on */
			log_warn("cluster role cannot be aggregated", kv_span("key", store_item_key(items[i])), kv_err(&why));
		if (differs <= 0)
			continue;
		struct json tree = json_copy(a, roles[i]);
		auto_bytes struct bytes *value = NULL;
		json_setl(a, &tree, "rules", json_copy(a, &rules));
		rc = seed_object(s, res, a, &tree, roles[i], SPAN(MANAGER), &value, err);
		if (rc < 0)
			break;
		struct store_txn *t = store_txn_new();
		store_txn_if(t, store_item_key(items[i]), STORE_REV, STORE_EQUAL, items[i]->rev);
		store_txn_put(t, STORE_THEN, store_item_key(items[i]), value, 0);
		submit(arg, t);
	}
	return rc;
}

int aggregate_plan(struct apiserver *s, struct store_snapshot *snap, void (*submit)(void *arg, struct store_txn *t), void *arg,
		   struct err *err)
{
	auto_arena struct arena a = {};
	struct api_registry_cache cache = {};
	int rc = plan(s, roles_of(api_registry_get(s->registry, &cache)), snap, &a, submit, arg, err);
	api_registry_cache_done(&cache);
	return rc;
}

/* ---- at run time */

static void on_written(struct store_call *sc, void *arg)
{
	if (sc->err.class != ERR_NONE)
		log_error("aggregating cluster roles", kv_err(&sc->err));
}

static void write_one(void *arg, struct store_txn *t)
{
	struct worker *w = arg;
	store_commit(w->server->store, t, w->port, on_written, w);
}

static size_t on_roles(struct store_watch *watch, const struct store_batch *b, void *arg)
{
	struct worker *w = arg;
	auto_err struct err err = ERR_INIT;
	struct store_snapshot *snap = store_snapshot(w->server->store);
	if (aggregate_plan(w->server, snap, write_one, w, &err) < 0)
		log_error("aggregating cluster roles", kv_err(&err));
	store_snapshot_unref(snap);
	return b->n;
}

static void on_expired(struct store_watch *watch, void *arg)
{
	/* It takes every event at once: it cannot fall behind the ring by itself. */
	log_error("the watch of cluster roles fell behind");
	abort();
}

int aggregate_start(struct worker *w, struct err *err)
{
	static const struct store_watch_fns fns = { .events = on_roles, .expired = on_expired };
	auto_buf struct buf prefix = {};
	object_key(&prefix, roles_of(api_registry_get(w->server->registry, &w->registry)), SPAN_EMPTY, SPAN_EMPTY);
	return store_watch_open(w->port, buf_span(&prefix), false, 0, &fns, w, &w->roles, err);
}

void aggregate_stop(struct worker *w)
{
	if (w->roles)
		store_watch_close(w->roles);
	w->roles = NULL;
}
