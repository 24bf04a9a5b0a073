/* What the authorizers know: at start everything that is stored, then every change, through watches of the first thread. And the
 * look-ups of authentication, which read the store's current state. */
#include "apiserver/seed.h"
#include "apiserver/server.h"
#include "apiserver/custom.h"
#include "apiserver/podnode.h"

enum feed { FEED_RBAC, FEED_NODE };
static const struct feed_row {
	const char *group, *version, *plural;
	enum feed feed;
	int kind; /* enum auth_rbac_kind or enum auth_node_kind */
} rows[] = {
	{ "rbac.authorization.k8s.io", "v1", "roles", FEED_RBAC, AUTH_ROLE },
	{ "rbac.authorization.k8s.io", "v1", "clusterroles", FEED_RBAC, AUTH_CLUSTER_ROLE },
	{ "rbac.authorization.k8s.io", "v1", "rolebindings", FEED_RBAC, AUTH_ROLE_BINDING },
	{ "rbac.authorization.k8s.io", "v1", "clusterrolebindings", FEED_RBAC, AUTH_CLUSTER_ROLE_BINDING },
	{ "", "v1", "pods", FEED_NODE, AUTH_NODE_POD },
	{ "", "v1", "persistentvolumes", FEED_NODE, AUTH_NODE_PV },
	{ "storage.k8s.io", "v1", "volumeattachments", FEED_NODE, AUTH_NODE_ATTACHMENT },
};

struct feeding {
	struct worker *w;
	const struct feed_row *row;
	const struct api_resource *res;
};
static const unsigned n_rows = ARRAY_LEN(rows);

static const struct api_resource *resource_of(struct worker *w, const char *group, const char *version,
					      const char *plural)
{
	struct api_registry *r = api_registry_get(w->server->registry, &w->registry);
	return api_registry_find(r, span_of(group), span_of(version), span_of(plural));
}

static void put(struct feeding *f, const struct store_item *it)
{
	auto_arena struct arena a = {};
	struct json tree;
	if (json_parse(&a, bytes_span(it->value), JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &tree, NULL) < 0) {
		log_error("stored object is damaged", kv_span("key", store_item_key(it)));
		return;
	}
	if (f->row->feed == FEED_RBAC)
		auth_rbac_put(f->w->server->rbac, (enum auth_rbac_kind)f->row->kind, &tree);
	else
		auth_node_put(f->w->server->nodes, (enum auth_node_kind)f->row->kind, &tree);
}

static size_t on_events(struct store_watch *cursor, const struct store_batch *b, void *arg)
{
	struct feeding *f = arg;
	for (size_t i = 0; i < b->n; i++) {
		const struct store_event *e = b->events[i];
		struct span ns, name;
		if (e->item)
			put(f, e->item);
		else if (!object_key_read(store_event_key(e), f->res, &ns, &name))
			continue;
		else if (f->row->feed == FEED_RBAC)
			auth_rbac_remove(f->w->server->rbac, (enum auth_rbac_kind)f->row->kind, ns, name);
		else
			auth_node_remove(f->w->server->nodes, (enum auth_node_kind)f->row->kind, ns, name);
	}
	return b->n;
}

static void on_expired(struct store_watch *cursor, void *arg)
{
	/* The feed takes every event at once: it cannot fall behind the ring by itself. */
	log_error("a feed of the authorizers fell behind");
	abort();
}

static bool has_mode(const struct apiserver_options *o, enum apiserver_authz mode)
{
	for (unsigned i = 0; i < o->n_modes; i++)
		if (o->modes[i] == mode)
			return true;
	return false;
}

int feed_start(struct worker *w, struct err *err)
{
	static const struct store_watch_fns fns = { .events = on_events, .expired = on_expired };
	static struct feeding feeds[ARRAY_LEN(rows)];
	struct store_snapshot *snap = store_snapshot(w->server->store);
	int rc = 0;
	for (unsigned i = 0; i < n_rows && rc == 0; i++) {
		/* Every pod that is written would be read again, for an authorizer that nobody asks. */
		if (rows[i].feed == FEED_NODE && !has_mode(w->server->opt, APISERVER_AUTHZ_NODE))
			continue;
		struct feeding *f = &feeds[i];
		auto_buf struct buf prefix = {};
		struct store_iter it;
		const struct store_item *item;
		*f = (struct feeding){ w, &rows[i], resource_of(w, rows[i].group, rows[i].version, rows[i].plural) };
		object_key(&prefix, f->res, SPAN_EMPTY, SPAN_EMPTY);
		rc = store_iter_init(&it, snap, buf_span(&prefix), SPAN_EMPTY, 0, err);
		if (rc < 0)
			break;
		while ((item = store_iter_next(&it)))
			put(f, item);
		store_iter_done(&it);
		rc = store_watch_open(w->port, buf_span(&prefix), false, store_snapshot_rev(snap) + 1, &fns, f,
				      &w->feeds[i], err);
	}
	store_snapshot_unref(snap);
	if (rc == 0)
		rc = apiserver_custom_start(w, err);
	return rc < 0 ? rc : aggregate_start(w, err);
}

void feed_stop(struct worker *w)
{
	aggregate_stop(w);
	apiserver_custom_stop(w);
	for (unsigned i = 0; i < n_rows; i++)
		if (w->feeds[i])
			store_watch_close(w->feeds[i]);
}

/* ---- ahead of the feed */

/* A kubelet hears of a pod on its own thread and asks for the pod's token, secrets and maps at once, often before the first thread
 * has fed that pod to the authorizer: then "no" means "not yet", and the pod would wait for the kubelet's back-off. What is stored
 * is newer than what the kubelet has heard. A graph of the node's own pods, for this question alone: the real one keeps its
 * order. */
enum auth_decision feed_node_ask(struct apiserver *s, const struct auth_ask *ask, struct arena *a, struct span *out_reason)
{
	struct span node = auth_node_of(ask->user), why = SPAN_EMPTY;
	struct store_snapshot *snap = store_snapshot(s->store);
	struct auth_node *graph = auth_node_new();
	struct store_iter it;
	const struct store_item *item;
	if (store_iter_init(&it, snap, SPAN("/registry/core/pods/"), SPAN_EMPTY, 0, NULL) == 0) {
		while ((item = store_iter_next(&it))) {
			auto_arena struct arena of_pod = {};
			struct json tree;
			if (span_eq(podnode_of(s->store, item), node) &&
			    json_parse(&of_pod, bytes_span(item->value), JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &tree, NULL) == 0)
				auth_node_put(graph, AUTH_NODE_POD, &tree);
		}
		store_iter_done(&it);
	}
	enum auth_decision d = auth_node_allows(graph, ask, a, &why);
	if (d == AUTH_ALLOW)
		*out_reason = why;
	auth_node_free(graph);
	store_snapshot_unref(snap);
	return d;
}

/* ---- look-ups */

static bool read_tree(struct apiserver *s, const char *plural, struct span ns, struct span name, struct arena *a,
		      struct json *out)
{
	auto_buf struct buf key = {};
	buf_printf(&key, "/registry/core/%s/", plural);
	if (ns.len)
		buf_printf(&key, "%.*s/", SPAN_ARG(ns));
	buf_span_add(&key, name);
	struct store_snapshot *snap = store_snapshot(s->store);
	const struct store_item *it =
		name.len && span_chr(name, '/') < 0 && span_chr(ns, '/') < 0 ? store_get(snap, buf_span(&key)) : NULL;
	/* Strings are copied: the item goes with the snapshot. */
	bool ok = it && json_parse(a, bytes_span(it->value), JSON_DUPLICATES_LAST, NULL, out, NULL) == 0;
	store_snapshot_unref(snap);
	return ok;
}

bool lookup_uid(void *arg, struct span kind, struct span ns, struct span name, struct arena *a, struct span *out_uid,
		int64_t *out_deletion_s)
{
	static const char *const kinds[] = { "serviceaccounts", "pods", "secrets", "nodes" };
	struct json tree;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!span_is(kind, kinds[i]))
			continue;
		if (!read_tree(arg, kinds[i], ns, name, a, &tree))
			return false;
		const struct json *meta = json_getl(&tree, "metadata");
		struct span gone = json_span(json_getl(meta, "deletionTimestamp"));
		int32_t fraction;
		*out_uid = json_span(json_getl(meta, "uid"));
		*out_deletion_s = 0;
		if (gone.len && time_parse(gone.ptr, gone.len, out_deletion_s, &fraction) < 0)
			*out_deletion_s = 1; /* unreadable: long ago */
		return true;
	}
	return false;
}

bool lookup_secret(void *arg, struct span ns, struct span name, struct arena *a, struct json *out)
{
	return read_tree(arg, "secrets", ns, name, a, out);
}
