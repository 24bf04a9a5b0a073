/* Caches, their indexes, and which controller hears of what.
 *
 *     informer ──> entry (text + row) ──> indexes
 *                        └──> event() of each controller that watches the kind ──> queue ──> pass
 *
 * Invariants
 * 1. An entry is in each index at most once, under the key that its row gives.
 * 2. A controller hears nothing before all its kinds are in the cache; then it hears
 *    every object as added, and each change after. */
#include "controllers/frame.h"

#include <math.h>
#include "controllers/discovery.h"

const struct cm_kind_row cm_kinds[CM_KINDS] = {
#define X(id, version, kind_, plural_, scoped) [id] = { version, kind_, { .plural = SPAN_INIT(plural_), .namespaced = scoped } },
	CM_KIND_TABLE(X)
#undef X
};

enum { ADDS, RETRIES, DURATION, FAMILIES };
static const double work_bounds[] = { 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, INFINITY };
static const struct metrics_family families[FAMILIES] = {
	[ADDS] = { "workqueue_adds_total", "Keys that were added to a controller's queue.", METRICS_COUNTER, .labels = { "name" } },
	[RETRIES] = { "workqueue_retries_total", "Passes that come again after a failure.", METRICS_COUNTER, .labels = { "name" } },
	[DURATION] = { "workqueue_work_duration_seconds", "How long a pass over a key takes, answers of the server included.",
		       METRICS_HISTOGRAM, .labels = { "name" }, .bounds = work_bounds },
};

static void collect(struct metrics_writer *w, void *arg)
{
	static const char *const labels[] = { "name" };
	struct cm *cm = arg;
	metrics_emit_family(w, "workqueue_depth", "Keys that wait in a controller's queue.", METRICS_GAUGE);
	for (unsigned i = 0; i < cm->n_controllers; i++) {
		const struct controller *c = &cm->controllers[i];
		struct span name = span_of(c->row->name);
		if (c->queue)
			metrics_emit(w, labels, &name, 1, (double)client_queue_waiting(c->queue));
	}
}

/* The kind's group and version, cut out of its apiVersion. */
static struct client_kind resource_of(enum cm_kind kind)
{
	struct client_kind k = cm_kinds[kind].resource;
	if (!span_split(span_of(cm_kinds[kind].api_version), '/', &k.group, &k.version)) {
		k.version = k.group;
		k.group = SPAN_EMPTY;
	}
	return k;
}

struct client_kind cm_resource(enum cm_kind kind)
{
	return resource_of(kind);
}

/* ---- indexes */

static void index_put(struct cm_cache *k, enum cm_index i, struct entry *e, struct span key)
{
	struct cm_bucket *b = map_get(&k->index[i], key);
	if (!key.len || e->in[i].bucket)
		return;
	if (!b) {
		b = mem_zalloc(sizeof(*b) + key.len + 1);
		list_init(&b->entries);
		memcpy(b->key, key.ptr, key.len);
		map_put(&k->index[i], span_make(b->key, key.len), b);
	}
	b->n++;
	list_push(&b->entries, &e->in[i].link);
	e->in[i].bucket = b;
}

static void index_take(struct cm_cache *k, enum cm_index i, struct entry *e)
{
	struct cm_bucket *b = e->in[i].bucket;
	if (!b)
		return;
	list_remove(&e->in[i].link);
	e->in[i].bucket = NULL;
	if (--b->n == 0) {
		map_remove(&k->index[i], span_of(b->key));
		free(b);
	}
}

static struct span orphan_key(struct arena *a, struct span ns)
{
	return arena_printf(a, "~%.*s", SPAN_ARG(ns));
}

static void index_all(struct cm_cache *k, struct entry *e)
{
	auto_arena struct arena a = {};
	index_put(k, CM_BY_NS, e, e->item->ns);
	index_put(k, CM_BY_OWNER, e, e->row->owner_uid.len ? e->row->owner_uid : orphan_key(&a, e->item->ns));
	index_put(k, CM_BY_NODE, e, e->row->node);
}

static void index_none(struct cm_cache *k, struct entry *e)
{
	for (unsigned i = 0; i < CM_INDEXES; i++)
		index_take(k, i, e);
}

struct list *cm_index(const struct cm *cm, enum cm_kind kind, enum cm_index index, struct span key)
{
	static struct list nothing = { &nothing, &nothing };
	struct cm_bucket *b = map_get(&cm->caches[kind].index[index], key);
	return b ? &b->entries : &nothing;
}

struct list *cm_orphans(const struct cm *cm, enum cm_kind kind, struct span ns)
{
	auto_arena struct arena a = {};
	return cm_index(cm, kind, CM_BY_OWNER, orphan_key(&a, ns));
}

/* ---- what an informer tells */

#define DISCOVERY_KINDS (BIT(CM_CRDS) | BIT(CM_API_SERVICES))

static void tell(struct cm_cache *k, const struct change *ch)
{
	struct cm *cm = k->cm;
	if (cm->discovery && BIT(k->kind) & DISCOVERY_KINDS)
		discovery_soon(cm->discovery);
	for (unsigned i = 0; i < cm->n_controllers; i++) {
		struct controller *c = &cm->controllers[i];
		if (c->queue && c->row->watches & BIT(k->kind))
			c->row->event(c, ch);
	}
}

static void on_added(struct client_informer *inf, struct client_item *it, const struct json *object, void *arg)
{
	struct cm_cache *k = arg;
	struct entry *e = mem_new(struct entry);
	e->item = it;
	e->row = row_new(k->kind, object);
	it->user = e;
	index_all(k, e);
	tell(k, &(struct change){ .what = CHANGE_ADDED, .kind = k->kind, .e = e, .object = object });
}

static void on_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *object, void *arg)
{
	struct cm_cache *k = arg;
	struct entry *e = it->user;
	struct row *was = e->row;
	index_none(k, e);
	e->row = row_new(k->kind, object);
	index_all(k, e);
	tell(k, &(struct change){ .what = CHANGE_CHANGED, .kind = k->kind, .e = e, .old_row = was, .old = old, .object = object });
	free(was);
}

static void entry_free(struct cm_cache *k, struct entry *e)
{
	index_none(k, e);
	free(e->row);
	free(e);
}

static void on_removed(struct client_informer *inf, struct client_item *it, void *arg)
{
	struct cm_cache *k = arg;
	struct entry *e = it->user;
	index_none(k, e); /* whoever counts now does not count it */
	tell(k, &(struct change){ .what = CHANGE_REMOVED, .kind = k->kind, .e = e });
	entry_free(k, e);
}

static void controller_begin(struct controller *c)
{
	struct cm *cm = c->cm;
	const struct client_queue_params p = { .loop = cm->loop, .name = c->row->name,
					       .workers = c->row->workers ? c->row->workers : 5, .run = pass_begin, .arg = c };
	c->queue = client_queue_new(&p);
	log_info("controller begins", kv_str("controller", c->row->name));
	for (unsigned kind = 0; kind < CM_KINDS; kind++) {
		struct entry *e;
		size_t pos = 0;
		if (!(c->row->watches & BIT(kind)))
			continue;
		while ((e = cm_next(cm, kind, &pos))) {
			auto_arena struct arena a = {};
			struct json object = cm_tree(&a, kind, e);
			c->row->event(c, &(struct change){ .what = CHANGE_ADDED, .kind = kind, .e = e, .object = &object });
		}
	}
	if (c->row->begun)
		c->row->begun(c);
}

static void on_synced(struct client_informer *inf, void *arg)
{
	struct cm_cache *k = arg;
	struct cm *cm = k->cm;
	for (unsigned i = 0; i < cm->n_controllers; i++) {
		struct controller *c = &cm->controllers[i];
		if (!(c->missing & BIT(k->kind)))
			continue;
		c->missing &= ~BIT(k->kind);
		if (!c->missing)
			controller_begin(c);
	}
}

static void on_broken(struct client_informer *inf, const struct err *why, void *arg)
{
	struct cm_cache *k = arg;
	log_debug("the server cannot be followed", kv_str("kind", cm_kinds[k->kind].kind), kv_err(why));
}

static void cache_open(struct cm *cm, enum cm_kind kind)
{
	struct cm_cache *k = &cm->caches[kind];
	const struct client_informer_params p = {
		.client = cm->client,
		.kind = resource_of(kind),
		.ns = kind == CM_LEASES ? SPAN("kube-node-lease") : SPAN_EMPTY,
		.field_selector = kind == CM_CONFIG_MAPS ? SPAN("metadata.name=kube-root-ca.crt")
				  : kind == CM_SECRETS	 ? SPAN("type=kubernetes.io/service-account-token")
							 : SPAN_EMPTY,
		.added = on_added, .changed = on_changed, .removed = on_removed, .synced = on_synced, .broken = on_broken, .arg = k,
	};
	k->informer = client_informer_new(&p);
}

/* ---- reading */

int64_t cm_now_s(const struct cm *cm)
{
	return loop_wall_ns(cm->loop) / NS_PER_S;
}

struct entry *cm_get_key(const struct cm *cm, enum cm_kind kind, struct span key)
{
	struct client_item *it = cm->caches[kind].informer ? client_informer_get(cm->caches[kind].informer, key) : NULL;
	return it ? it->user : NULL;
}

struct entry *cm_get(const struct cm *cm, enum cm_kind kind, struct span ns, struct span name)
{
	auto_arena struct arena a = {};
	return cm_get_key(cm, kind, ns.len ? arena_printf(&a, "%.*s/%.*s", SPAN_ARG(ns), SPAN_ARG(name)) : name);
}

struct entry *cm_next(const struct cm *cm, enum cm_kind kind, size_t *pos)
{
	struct client_item *it = cm->caches[kind].informer ? client_informer_next(cm->caches[kind].informer, pos) : NULL;
	return it ? it->user : NULL;
}

struct json cm_text_tree(struct arena *a, struct bytes *text)
{
	struct json v = JSON_NULL_VALUE;
	/* The informer has read this text before it told us. */
	int rc = json_parse(a, arena_span(a, bytes_span(text)), JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &v, NULL);
	assert(rc == 0);
	return v;
}

struct json cm_tree(struct arena *a, enum cm_kind kind, const struct entry *e)
{
	return cm_text_tree(a, e->item->json);
}

struct client_object_ref cm_ref(enum cm_kind kind, const struct json *object)
{
	struct client_object_ref r = client_ref(object);
	r.api_version = span_of(cm_kinds[kind].api_version);
	r.kind = span_of(cm_kinds[kind].kind);
	return r;
}

/* ---- keys */

void cm_add(struct controller *c, struct span key)
{
	if (!c->queue)
		return;
	metrics_inc(c->adds);
	client_queue_add(c->queue, key);
}

void cm_add_after(struct controller *c, struct span key, int64_t delay_ms)
{
	if (!c->queue)
		return;
	metrics_inc(c->adds);
	client_queue_add_after(c->queue, key, delay_ms);
}

struct entry *cm_owner(const struct controller *c, enum cm_kind kind, const struct entry *e, const struct row *row)
{
	if (!row->owner_uid.len || !span_is(row->owner_kind, cm_kinds[kind].kind))
		return NULL;
	struct entry *o = cm_get(c->cm, kind, e->item->ns, row->owner_name);
	return o && span_eq(o->item->uid, row->owner_uid) ? o : NULL;
}

void cm_add_owner(struct controller *c, enum cm_kind kind, const struct change *ch)
{
	const struct entry *now = cm_owner(c, kind, ch->e, ch->e->row);
	const struct entry *was = ch->old_row ? cm_owner(c, kind, ch->e, ch->old_row) : NULL;
	if (now)
		cm_add(c, now->item->key);
	if (was && was != now)
		cm_add(c, was->item->key);
}

/* ---- the manager */

int cm_new(struct loop *l, struct client *client, const struct controllers_options *o, struct span root_ca, struct metrics *m,
	   struct cm **out, struct err *err)
{
	struct cm *cm = mem_new(struct cm);
	*cm = (struct cm){ .loop = l, .client = client, .options = o, .metrics = m, .root_ca = root_ca };
	list_init(&cm->passes);
	cm->table = metrics_register(m, families, FAMILIES);
	metrics_collector_add(m, collect, cm);
	cm->controllers = mem_zalloc(sizeof(*cm->controllers) * cm_n_controllers);
	for (unsigned i = 0; i < CM_KINDS; i++) {
		cm->caches[i].cm = cm;
		cm->caches[i].kind = (enum cm_kind)i;
	}
	for (unsigned i = 0; i < cm_n_controllers; i++) {
		const struct controller_row *row = cm_controllers[i];
		if (!controllers_wanted(o, row->name, row->off) || (row->possible && !row->possible(o)))
			continue;
		struct controller *c = &cm->controllers[cm->n_controllers];
		struct span name = span_of(row->name);
		*c = (struct controller){ .row = row, .cm = cm, .missing = row->watches };
		c->adds = METRICS_SERIES(cm->table, ADDS, name);
		c->retries = METRICS_SERIES(cm->table, RETRIES, name);
		c->duration = METRICS_SERIES(cm->table, DURATION, name);
		int rc = row->start ? row->start(c, err) : 0;
		if (rc < 0) {
			cm_free(cm);
			return err_note(err, "%s", row->name);
		}
		cm->n_controllers++;
		c->events = client_recorder_new(client, row->source ? span_of(row->source) : name, SPAN_EMPTY);
	}
	*out = cm;
	return 0;
}

void cm_start(struct cm *cm)
{
	uint64_t wanted = 0;
	for (unsigned i = 0; i < cm->n_controllers; i++) {
		wanted |= cm->controllers[i].row->watches;
		if (cm->controllers[i].row->discovered)
			wanted |= DISCOVERY_KINDS;
		if (!cm->controllers[i].missing)
			controller_begin(&cm->controllers[i]);
	}
	if (wanted & BIT(CM_CRDS))
		cm->discovery = discovery_new(cm);
	for (unsigned kind = 0; kind < CM_KINDS; kind++)
		if (wanted & BIT(kind))
			cache_open(cm, (enum cm_kind)kind);
}

static void cache_free(struct cm_cache *k)
{
	struct client_item *it;
	size_t pos = 0;
	if (!k->informer)
		return;
	while ((it = client_informer_next(k->informer, &pos)))
		entry_free(k, it->user);
	client_informer_free(k->informer);
	for (unsigned i = 0; i < CM_INDEXES; i++)
		map_done(&k->index[i]);
}

void cm_free(struct cm *cm)
{
	if (!cm)
		return;
	cm->stopping = true;
	pass_cancel_all(cm);
	for (unsigned i = 0; i < cm->n_controllers; i++) {
		struct controller *c = &cm->controllers[i];
		if (c->row->stop)
			c->row->stop(c);
		client_queue_free(c->queue);
		client_recorder_free(c->events);
		expect_done(&c->expect);
	}
	discovery_free(cm->discovery);
	for (unsigned i = 0; i < CM_KINDS; i++)
		cache_free(&cm->caches[i]);
	free(cm->controllers);
	free(cm);
}
