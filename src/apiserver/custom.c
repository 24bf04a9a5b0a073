/* The controllers of CustomResourceDefinitions (CRDs), which upstream runs inside of kube-apiserver too: naming, establishing, API
 * approval, finalizing, and the one that publishes rows. All of it happens on the first thread, driven by one watch.
 *
 *     event of a CRD → entry → rows → one new snapshot of the registry → step
 *
 *     step    not deleted:  names, Established, approval; what changed is written with a compare-and-set
 *             deleted:      Terminating/InstanceDeletionInProgress → delete what is stored → nothing left: the finalizer goes
 *
 * Invariants
 * 1. An entry has at most one write under way; whatever arrives meanwhile is looked at when that is done.
 * 2. A step computes from the newest stored state that the watch has told; a write that lost a race is followed by the event
 *    of what won it, so nothing is ever tried again in a hurry.
 * 3. No built-in resource is replaced: a CRD for one of their names gets no rows, and its deletion deletes nothing.
 * 4. The commit that removes a CRD removes what may have been stored under it meanwhile. */
#include "apiserver/custom.h"

#include "apiserver/repair.h"

#define BATCH 400     /* instances that one commit deletes */
#define RETRY_MS 1000 /* after a write that failed by itself (disk full) */

struct apiserver_custom {
	struct worker *w;
	struct api_registry *builtin; /* a reference: keeps res */
	const struct api_resource *res;
	struct store_watch *watch;
	struct map entries; /* name → struct entry */
	struct loop_timer retry;
	bool loading, stopped;
};

struct entry {
	struct apiserver_custom *all;
	struct store_item *item; /* a reference; the newest state */
	struct arena arena;	 /* name, prefix, brief, signature */
	struct span name, prefix, group;
	struct json brief; /* what others of the group need to know: spec.group, spec.names, status.acceptedNames */
	struct span signature; /* of what the rows are made from */
	struct api_resource **rows; /* heap; references */
	unsigned n_rows;
	struct store_watch *instances; /* while they are being deleted */
	bool marked;		       /* each of them carries its deletionTimestamp: others have to act */
	bool writing, again, failed, gone;
};

void apiserver_custom_key(struct buf *out, struct span plural, struct span group)
{
	buf_printf(out, "/registry/apiextensions.k8s.io/customresourcedefinitions/%.*s.%.*s", SPAN_ARG(plural), SPAN_ARG(group));
}

static void step(struct entry *e);

static struct span now_text(const struct apiserver_custom *all, char text[40])
{
	return span_make(text, time_format(text, clock_wall_ns(all->w->server->clock) / NS_PER_S, 0, 0));
}

static int entry_tree(const struct entry *e, struct arena *a, struct json *out)
{
	auto_err struct err err = ERR_INIT;
	int rc = object_read(a, e->all->res, bytes_span(e->item->value), e->item->rev, out, &err);
	if (rc < 0)
		log_error("a stored CustomResourceDefinition is damaged", kv_span("name", e->name), kv_err(&err));
	return rc;
}

/* ---- rows */

/* Is there a built-in resource of that group and name, in any version? */
static bool is_builtin(const struct apiserver_custom *all, struct span group, struct span plural)
{
	for (unsigned i = 0; i < api_registry_n(all->builtin); i++) {
		const struct api_resource *r = api_registry_at(all->builtin, i);
		if (span_eq(r->group, group) && span_eq(r->plural, plural))
			return true;
	}
	return false;
}

static struct span span_at(const struct json *crd, const char *a, const char *b)
{
	return json_span(json_path(crd, a, b, (char *)NULL));
}

/* What the rows depend on; when it is the same, so are they. */
static struct span signature_of(struct arena *a, const struct json *crd)
{
	auto_buf struct buf b = {};
	const struct json *names = json_path(crd, "status", "acceptedNames", (char *)NULL);
	struct span uid = span_at(crd, "metadata", "uid");
	buf_printf(&b, "%.*s %lld %d %d ", SPAN_ARG(uid),
		   (long long)json_i64(json_path(crd, "metadata", "generation", (char *)NULL), 0),
		   custom_condition_true(crd, "Established"), custom_condition_true(crd, "Terminating"));
	if (names)
		json_write(&b, names, 0);
	return arena_span(a, buf_span(&b));
}

static void rows_drop(struct api_resource **rows, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		api_resource_unref(rows[i]);
	free(rows);
}

/* Fresh rows of an entry; none when it has no right to any. */
static struct api_resource **rows_make(const struct entry *e, const struct json *crd, unsigned *out_n)
{
	const struct json *versions = json_path(crd, "spec", "versions", (char *)NULL);
	auto_err struct err err = ERR_INIT;
	struct api_resource **rows = NULL;
	*out_n = 0;
	if (!json_is(versions, JSON_ARRAY) || is_builtin(e->all, e->group, span_at(&e->brief, "spec", "plural")))
		return NULL;
	rows = mem_realloc_n(NULL, (size_t)versions->n + 1, sizeof(struct api_resource *));
	if (custom_rows(crd, rows, out_n, &err) < 0)
		log_error("a CustomResourceDefinition is not served", kv_span("name", e->name), kv_err(&err));
	return rows;
}

static void publish(struct apiserver_custom *all, struct api_resource *const *add, unsigned n_add,
		    struct api_resource *const *remove, unsigned n_remove)
{
	struct worker *w = all->w;
	if (!n_add && !n_remove)
		return;
	struct api_registry *now = api_registry_get(w->server->registry, &w->registry);
	api_registry_put(w->server->registry, api_registry_with(now, add, n_add, (const struct api_resource *const *)remove,
								n_remove));
	repair_versions(w);
}

/* ---- entries */

static struct json brief_of(struct arena *a, const struct json *crd)
{
	struct json brief = json_object(), spec = json_object(), status = json_object();
	const struct json *names = json_path(crd, "spec", "names", (char *)NULL);
	const struct json *accepted = json_path(crd, "status", "acceptedNames", (char *)NULL);
	(void)json_setl(a, &spec, "group", json_str(arena_span(a, span_at(crd, "spec", "group"))));
	(void)json_setl(a, &spec, "plural", json_str(arena_span(a, json_span(json_getl(names, "plural")))));
	if (accepted)
		(void)json_setl(a, &status, "acceptedNames", json_copy(a, accepted));
	(void)json_setl(a, &brief, "spec", spec);
	(void)json_setl(a, &brief, "status", status);
	return brief;
}

static void entry_free(struct entry *e)
{
	rows_drop(e->rows, e->n_rows);
	store_item_unref(e->item);
	arena_done(&e->arena);
	free(e);
}

/* Takes in a state of the CRD. True when names were given up or the rows changed. */
static bool entry_take(struct entry *e, const struct store_item *item)
{
	auto_arena struct arena a = {};
	struct arena old_arena = e->arena;
	struct store_item *old_item = e->item;
	struct span old_signature = e->signature;
	struct json crd;
	e->item = store_item_ref(item);
	e->arena = (struct arena){};
	e->name = arena_span(&e->arena, span_from(store_item_key(item), (size_t)span_rchr(store_item_key(item), '/') + 1));
	e->brief = json_object();
	e->signature = SPAN_EMPTY;
	bool whole = entry_tree(e, &a, &crd) == 0;
	if (whole) {
		auto_buf struct buf prefix = {};
		e->brief = brief_of(&e->arena, &crd);
		e->group = span_at(&e->brief, "spec", "group");
		e->signature = signature_of(&e->arena, &crd);
		buf_printf(&prefix, "/registry/%.*s/%.*s/", SPAN_ARG(e->group), SPAN_ARG(span_at(&e->brief, "spec", "plural")));
		e->prefix = arena_span(&e->arena, buf_span(&prefix));
	}
	bool changed = !whole || !span_eq(old_signature, e->signature);
	store_item_unref(old_item);
	arena_done(&old_arena);
	if (!changed)
		return false;
	struct api_resource **old = e->rows;
	unsigned n_old = e->n_rows;
	e->rows = whole ? rows_make(e, &crd, &e->n_rows) : NULL;
	if (!whole)
		e->n_rows = 0;
	if (!e->all->loading)
		publish(e->all, e->rows, e->n_rows, old, n_old);
	rows_drop(old, n_old);
	return true;
}

static struct entry *entry_put(struct apiserver_custom *all, const struct store_item *item, bool *out_changed)
{
	struct span key = store_item_key(item), name = span_from(key, (size_t)span_rchr(key, '/') + 1);
	struct entry *e = map_get(&all->entries, name);
	if (!e) {
		e = mem_new(struct entry);
		e->all = all;
	} else {
		(void)map_remove(&all->entries, name); /* its key moves to the new arena */
	}
	*out_changed = entry_take(e, item);
	map_put(&all->entries, e->name, e);
	return e;
}

/* Names of this group may be free now: those that wait for one look again. */
static void step_group(struct apiserver_custom *all, struct span group, const struct entry *but)
{
	auto_free struct entry **list = mem_realloc_n(NULL, all->entries.n + 1, sizeof(*list));
	size_t n = 0;
	MAP_EACH(&all->entries, m) {
		struct entry *e = m->value;
		if (e != but && span_eq(e->group, group))
			list[n++] = e;
	}
	for (size_t i = 0; i < n; i++)
		step(list[i]);
}

static void instances_close(struct entry *e)
{
	if (e->instances)
		store_watch_close(e->instances);
	e->instances = NULL;
}

static void entry_remove(struct apiserver_custom *all, struct span name)
{
	struct entry *e = map_remove(&all->entries, name);
	auto_arena struct arena a = {};
	if (!e)
		return;
	struct span group = arena_span(&a, e->group);
	instances_close(e);
	publish(all, NULL, 0, e->rows, e->n_rows);
	e->gone = true;
	if (!e->writing)
		entry_free(e);
	step_group(all, group, NULL);
}

/* ---- writes */

static void on_written(struct store_call *sc, void *arg)
{
	struct entry *e = arg;
	struct apiserver_custom *all = e->all;
	bool again = e->again, failed = sc->err.class != ERR_NONE;
	e->writing = e->again = false;
	if (failed && !all->stopped) {
		log_error("a CustomResourceDefinition's status cannot be written", kv_span("name", e->name), kv_err(&sc->err));
		e->failed = true;
		loop_timer_start(&all->retry, RETRY_MS);
	}
	if (e->gone)
		entry_free(e);
	else if (!all->stopped && !failed && again)
		step(e);
	loop_release(all->w->loop);
}

static void commit(struct entry *e, struct store_txn *t)
{
	struct worker *w = e->all->w;
	e->writing = true;
	loop_hold(w->loop); /* until the answer */
	store_commit(w->server->store, t, w->port, on_written, e);
}

/* The CRD with its new status, as the controllers of upstream record it: manager kube-apiserver, sub-resource status. */
static void write_crd(struct entry *e, struct arena *a, struct json *crd)
{
	struct apiserver_custom *all = e->all;
	struct json old;
	auto_buf struct buf value = {};
	if (entry_tree(e, a, &old) < 0)
		return;
	const struct api_ssa ssa = { .type = all->res->type,
				     .api_version = SPAN("apiextensions.k8s.io/v1"),
				     .kind = SPAN("CustomResourceDefinition"),
				     .subresource = SPAN("status"),
				     .now_unix_s = clock_wall_ns(all->w->server->clock) / NS_PER_S };
	api_ssa_update(a, &ssa, &old, crd, SPAN("kube-apiserver"));
	object_encode(&value, all->res, crd, a);
	struct store_txn *t = store_txn_new();
	auto_bytes struct bytes *bytes = buf_seal(&value);
	store_txn_if(t, store_item_key(e->item), STORE_REV, STORE_EQUAL, e->item->rev);
	store_txn_put(t, STORE_THEN, store_item_key(e->item), bytes, 0);
	commit(e, t);
}

static void on_retry(struct loop_timer *timer)
{
	struct apiserver_custom *all = container_of(timer, struct apiserver_custom, retry);
	auto_free struct entry **list = mem_realloc_n(NULL, all->entries.n + 1, sizeof(*list));
	size_t n = 0;
	MAP_EACH(&all->entries, m) {
		struct entry *e = m->value;
		if (e->failed)
			list[n++] = e;
		e->failed = false;
	}
	for (size_t i = 0; i < n; i++)
		step(list[i]);
}

/* ---- the end of a CRD */

/* True when no finalizer is left. */
static bool finalizer_drop(struct json *crd)
{
	struct json *meta = json_getl(crd, "metadata"), *list = json_getl(meta, "finalizers");
	for (uint32_t i = 0; json_is(list, JSON_ARRAY) && i < list->n; i++)
		if (span_is(json_span(&list->items[i]), CUSTOM_FINALIZER))
			json_remove_at(list, i--);
	bool none = !list || !list->n;
	if (none)
		(void)json_remove(meta, SPAN("finalizers"));
	return none;
}

static bool has_finalizer(const struct json *crd)
{
	JSON_EACH_ITEM(json_path(crd, "metadata", "finalizers", (char *)NULL), f)
		if (span_is(json_span(f), CUSTOM_FINALIZER))
			return true;
	return false;
}

/* The finalizer goes; with the last one the CRD, and what may have been stored while nobody looked. */
static void finish(struct entry *e, struct arena *a, struct json *crd, const char *reason, const char *message, bool own)
{
	char now[40];
	instances_close(e);
	(void)custom_condition_set(a, crd, "Terminating", "False", reason, span_of(message), now_text(e->all, now));
	if (!finalizer_drop(crd)) {
		write_crd(e, a, crd);
		return;
	}
	struct store_txn *t = store_txn_new();
	store_txn_if(t, store_item_key(e->item), STORE_REV, STORE_EQUAL, e->item->rev);
	if (own)
		store_txn_delete_prefix(t, STORE_THEN, e->prefix);
	store_txn_delete(t, STORE_THEN, store_item_key(e->item));
	commit(e, t);
}

/* One instance: gone, or marked for those whose finalizers it holds; false when it is marked already. */
static bool instance_delete(struct entry *e, struct store_txn *t, const struct store_item *it)
{
	auto_arena struct arena a = {};
	auto_buf struct buf value = {};
	struct json object;
	char now[40];
	bool parsed = json_parse(&a, bytes_span(it->value), JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &object, NULL) == 0;
	struct json *meta = parsed ? json_getl(&object, "metadata") : NULL;
	const struct json *finalizers = json_getl(meta, "finalizers");
	bool held = json_is(finalizers, JSON_ARRAY) && finalizers->n;
	if (held && json_getl(meta, "deletionTimestamp"))
		return false;
	store_txn_if(t, store_item_key(it), STORE_REV, STORE_EQUAL, it->rev);
	if (!held) {
		store_txn_delete(t, STORE_THEN, store_item_key(it));
		return true;
	}
	(void)json_setl(&a, meta, "deletionTimestamp", json_str(now_text(e->all, now)));
	(void)json_setl(&a, meta, "deletionGracePeriodSeconds", json_int(0));
	(void)json_setl(&a, meta, "generation", json_int(json_i64(json_getl(meta, "generation"), 0) + 1));
	json_write(&value, &object, JSON_HTML); /* members stay where they were: the form of object.h is kept */
	auto_bytes struct bytes *bytes = buf_seal(&value);
	store_txn_put(t, STORE_THEN, store_item_key(it), bytes, 0);
	return true;
}

static size_t on_instances(struct store_watch *cursor, const struct store_batch *b, void *arg)
{
	struct entry *e = arg;
	size_t n = b->n; /* the batch may go with the watch */
	step(e);
	return n;
}

static void on_instances_expired(struct store_watch *cursor, void *arg)
{
	struct entry *e = arg;
	instances_close(e);
	step(e);
}

/* True when nothing is stored under the CRD any more. Else something is under way, or held by finalizers. */
static bool instances_gone(struct entry *e)
{
	static const struct store_watch_fns fns = { .events = on_instances, .expired = on_instances_expired };
	struct worker *w = e->all->w;
	struct store_snapshot *snap = store_snapshot(w->server->store);
	auto_err struct err err = ERR_INIT;
	struct store_txn *t = store_txn_new();
	struct store_iter it;
	const struct store_item *item;
	unsigned n = 0;
	bool empty = store_count(snap, e->prefix) == 0, look = !empty && !(e->marked && e->instances);
	int rc = look ? store_iter_init(&it, snap, e->prefix, SPAN_EMPTY, 0, &err) : 0;
	if (look && rc == 0) {
		while (n < BATCH && (item = store_iter_next(&it)))
			n += instance_delete(e, t, item);
		store_iter_done(&it);
		e->marked = !n;
		/* What finalizers hold tells us when it goes. */
		if (!e->instances)
			rc = store_watch_open(w->port, e->prefix, false, store_snapshot_rev(snap) + 1, &fns, e, &e->instances, &err);
	}
	store_snapshot_unref(snap);
	if (rc < 0) {
		log_error("the instances of a CustomResourceDefinition cannot be read", kv_span("name", e->name), kv_err(&err));
		e->failed = true;
		loop_timer_start(&e->all->retry, RETRY_MS);
	}
	if (n) {
		commit(e, t);
		e->again = true; /* look again when it is done, whoever won */
	} else {
		store_txn_free(t);
	}
	return empty && rc == 0;
}

static void terminate(struct entry *e, struct arena *a, struct json *crd)
{
	char now[40];
	if (!has_finalizer(crd))
		return;
	if (is_builtin(e->all, e->group, span_at(&e->brief, "spec", "plural"))) {
		finish(e, a, crd, "OverlappingBuiltInResource", "instances overlap with built-in resources in storage", false);
	} else if (!custom_condition_true(crd, "Established")) {
		finish(e, a, crd, "NeverEstablished", "resource was never established", false);
	} else if (custom_condition_set(a, crd, "Terminating", "True", "InstanceDeletionInProgress",
					SPAN("CustomResource deletion is in progress"), now_text(e->all, now))) {
		write_crd(e, a, crd); /* its event goes on here */
	} else if (instances_gone(e)) {
		finish(e, a, crd, "InstanceDeletionCompleted", "removed all instances", true);
	}
}

/* ---- one step of one CRD */

static bool names_of_others(struct entry *e, struct arena *a, struct json *crd, struct span now)
{
	struct apiserver_custom *all = e->all;
	const struct json **others = arena_alloc_n(a, all->entries.n + 1, sizeof(*others));
	unsigned n = 0;
	MAP_EACH(&all->entries, m) {
		const struct entry *other = m->value;
		if (span_eq(other->group, e->group))
			others[n++] = &other->brief;
	}
	return custom_names_accept(a, crd, others, n, now);
}

static void step(struct entry *e)
{
	auto_arena struct arena a = {};
	struct json crd;
	char text[40];
	if (e->writing) {
		e->again = true;
		return;
	}
	if (e->all->stopped || entry_tree(e, &a, &crd) < 0)
		return;
	if (json_path(&crd, "metadata", "deletionTimestamp", (char *)NULL)) {
		terminate(e, &a, &crd);
		return;
	}
	struct span now = now_text(e->all, text);
	bool changed = names_of_others(e, &a, &crd, now);
	changed |= custom_establish(&a, &crd, now);
	changed |= custom_approval_set(&a, &crd, now);
	if (changed)
		write_crd(e, &a, &crd);
}

/* ---- the watch */

static size_t on_events(struct store_watch *cursor, const struct store_batch *b, void *arg)
{
	struct apiserver_custom *all = arg;
	for (size_t i = 0; i < b->n; i++) {
		const struct store_event *ev = b->events[i];
		struct span key = store_event_key(ev);
		bool changed;
		if (!ev->item) {
			entry_remove(all, span_from(key, (size_t)span_rchr(key, '/') + 1));
			continue;
		}
		struct entry *e = entry_put(all, ev->item, &changed);
		step(e);
		if (changed)
			step_group(all, e->group, e);
	}
	return b->n;
}

static void on_expired(struct store_watch *cursor, void *arg)
{
	/* Every event is taken at once: this watch cannot fall behind the ring by itself. */
	log_error("the watch of CustomResourceDefinitions fell behind");
	abort();
}

static int load(struct apiserver_custom *all, struct store_snapshot *snap, struct span prefix, struct err *err)
{
	auto_free struct api_resource **rows = NULL;
	unsigned n = 0, cap = 0;
	const struct store_item *item;
	struct store_iter it;
	bool changed;
	int rc = store_iter_init(&it, snap, prefix, SPAN_EMPTY, 0, err);
	if (rc < 0)
		return rc;
	all->loading = true;
	while ((item = store_iter_next(&it))) {
		struct entry *e = entry_put(all, item, &changed);
		for (unsigned i = 0; i < e->n_rows; i++) {
			MEM_GROW(rows, n, cap);
			rows[n++] = e->rows[i];
		}
	}
	all->loading = false;
	store_iter_done(&it);
	publish(all, rows, n, NULL, 0);
	return 0;
}

int apiserver_custom_start(struct worker *w, struct err *err)
{
	static const struct store_watch_fns fns = { .events = on_events, .expired = on_expired };
	struct apiserver_custom *all = mem_new(struct apiserver_custom);
	auto_buf struct buf prefix = {};
	w->server->custom = all;
	all->w = w;
	all->builtin = api_registry_ref(api_registry_get(w->server->registry, &w->registry));
	all->res = api_registry_find(all->builtin, SPAN("apiextensions.k8s.io"), SPAN("v1"), SPAN("customresourcedefinitions"));
	if (!all->res)
		return 0; /* switched off: there are no custom resources */
	loop_timer_init(&all->retry, w->loop, "custom retry", on_retry);
	object_key(&prefix, all->res, SPAN_EMPTY, SPAN_EMPTY);
	struct store_snapshot *snap = store_snapshot(w->server->store);
	int rc = load(all, snap, buf_span(&prefix), err);
	if (rc == 0)
		rc = store_watch_open(w->port, buf_span(&prefix), false, store_snapshot_rev(snap) + 1, &fns, all, &all->watch, err);
	store_snapshot_unref(snap);
	/* What a stop left unfinished goes on. */
	auto_free struct entry **list = mem_realloc_n(NULL, all->entries.n + 1, sizeof(*list));
	size_t n = 0;
	MAP_EACH(&all->entries, m)
		list[n++] = m->value;
	for (size_t i = 0; rc == 0 && i < n; i++)
		step(list[i]);
	return rc;
}

void apiserver_custom_stop(struct worker *w)
{
	struct apiserver_custom *all = w->server->custom;
	if (!all)
		return;
	all->stopped = true;
	if (all->watch)
		store_watch_close(all->watch);
	all->watch = NULL;
	if (all->res)
		loop_timer_stop(&all->retry);
	MAP_EACH(&all->entries, m)
		instances_close(m->value);
}

void apiserver_custom_free(struct apiserver *s)
{
	struct apiserver_custom *all = s->custom;
	if (!all)
		return;
	MAP_EACH(&all->entries, m)
		entry_free(m->value);
	map_done(&all->entries);
	api_registry_unref(all->builtin);
	free(all);
	s->custom = NULL;
}
