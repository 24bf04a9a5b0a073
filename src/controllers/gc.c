/* The garbage collector: what is owned goes when its owners are gone, in the order that the deletion asked for.
 *
 *     discovery ──> an informer (metadata alone) for each kind ──> graph: nodes by uid, edges to owners and from dependents
 *
 *     owner gone             each dependent is looked at: all owners gone: deleted; some: the dead references go
 *     foregroundDeletion     dependents that block are deleted first; then the finalizer goes
 *     orphan                 the owner is taken out of each dependent; then the finalizer goes
 *
 * An owner that is in the graph and not on its way out is believed; before anything is deleted the object itself, and each owner
 * that the graph does not have, is asked for at the server. An owner of a kind that is not served keeps its dependents alive, as
 * upstream. A uid that is only named by a reference stands in the graph as a node without a kind, so that its dependents are
 * found. */
#include "controllers/gc.h"

#include "controllers/discovery.h"

#define BEGIN_ANYWAY_MS 30000
#define AS_META "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

struct gc_node;
struct gc_ref { /* of a dependent to an owner */
	struct list link; /* of owner.dependents */
	struct gc_node *owner, *dependent;
	struct span api_version, kind, name; /* in the dependent's refs_text */
	bool blocks;
};
struct gc_kind {
	struct gc *gc;
	struct span key;
	struct client_kind resource;
	struct span name;
	struct client_informer *informer;
	struct arena arena;
	struct list link; /* of gc.kinds */
	bool synced, still_served;
};
struct gc_node {
	struct gc_kind *kind; /* NULL: only named by references */
	struct span uid, ns, name; /* in text */
	struct gc_ref *refs;       /* owned */
	unsigned n_refs;
	char *refs_text;           /* owned */
	struct list dependents;    /* gc_ref.link */
	bool deleting, foreground, orphan;
	char text[];
};
struct gc {
	struct controller *c;
	struct list kinds;
	struct map by_key, nodes;
	struct loop_timer begin;
	bool ready;
};

enum gc_verdict gc_verdict_of(const enum gc_owner *owners, unsigned n, bool has_dependents, bool circle)
{
	unsigned solid = 0, waiting = 0;
	for (unsigned i = 0; i < n; i++) {
		solid += owners[i] == GC_SOLID;
		waiting += owners[i] == GC_WAITING;
	}
	if (n == 0 || solid == n)
		return GC_KEEP;
	if (solid)
		return GC_DROP_REFS;
	if (waiting && has_dependents)
		return circle ? GC_UNBLOCK_FOREGROUND : GC_DELETE_FOREGROUND;
	return GC_DELETE;
}

/* ---- the graph */

static void look_at(struct gc *gc, const struct gc_node *n)
{
	if (gc->ready)
		cm_add(gc->c, n->uid);
}

static struct gc_node *node_get(struct gc *gc, struct span uid, struct span ns, struct span name)
{
	struct gc_node *n = map_get(&gc->nodes, uid);
	if (n)
		return n;
	n = mem_zalloc(sizeof(*n) + uid.len + ns.len + name.len + 1);
	char *place = n->text;
	const struct span parts[] = { uid, ns, name };
	struct span *to[] = { &n->uid, &n->ns, &n->name };
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (parts[i].len)
			memcpy(place, parts[i].ptr, parts[i].len);
		*to[i] = span_make(place, parts[i].len);
		place += parts[i].len;
	}
	list_init(&n->dependents);
	map_put(&gc->nodes, n->uid, n);
	return n;
}

static void refs_done(struct gc_node *n)
{
	for (unsigned i = 0; i < n->n_refs; i++)
		list_remove(&n->refs[i].link);
	free(n->refs);
	free(n->refs_text);
	n->refs = NULL;
	n->refs_text = NULL;
	n->n_refs = 0;
}

/* What is neither there nor named any more goes. */
static void node_settle(struct gc *gc, struct gc_node *n)
{
	if (n->kind || !list_empty(&n->dependents))
		return;
	map_remove(&gc->nodes, n->uid);
	refs_done(n);
	free(n);
}

static struct span copy_text(char **place, struct span s)
{
	struct span kept = { *place, s.len };
	if (s.len)
		memcpy(*place, s.ptr, s.len);
	*place += s.len;
	return kept;
}

static void refs_set(struct gc *gc, struct gc_node *n, const struct json *refs)
{
	struct gc_ref *old = n->refs;
	char *old_text = n->refs_text;
	unsigned n_old = n->n_refs;
	size_t size = 1;
	static const struct json none = { .kind = JSON_ARRAY };
	refs = json_is(refs, JSON_ARRAY) ? refs : &none;
	n->n_refs = refs->n;
	n->refs = n->n_refs ? mem_zalloc(n->n_refs * sizeof(*n->refs)) : NULL;
	JSON_EACH_ITEM(refs, r)
		size += tree_span(r, "apiVersion").len + tree_span(r, "kind").len + tree_span(r, "name").len;
	char *place = n->refs_text = n->n_refs ? mem_alloc(size) : NULL;
	for (unsigned i = 0; i < n->n_refs; i++) {
		const struct json *r = &refs->items[i];
		struct gc_ref *ref = &n->refs[i];
		ref->dependent = n;
		ref->owner = node_get(gc, tree_span(r, "uid"), SPAN_EMPTY, SPAN_EMPTY);
		ref->api_version = copy_text(&place, tree_span(r, "apiVersion"));
		ref->kind = copy_text(&place, tree_span(r, "kind"));
		ref->name = copy_text(&place, tree_span(r, "name"));
		ref->blocks = tree_bool(r, "blockOwnerDeletion", false);
		list_push(&ref->owner->dependents, &ref->link);
	}
	for (unsigned i = 0; i < n_old; i++) {
		struct gc_node *owner = old[i].owner;
		list_remove(&old[i].link);
		if (owner->foreground)
			look_at(gc, owner); /* one less to wait for, perhaps */
		if (owner != n)
			node_settle(gc, owner);
	}
	free(old);
	free(old_text);
}

/* Is there a reason to look at it although nothing was removed? */
static void node_check(struct gc *gc, struct gc_node *n)
{
	if (n->deleting && (n->foreground || n->orphan)) {
		look_at(gc, n);
		LIST_EACH(&n->dependents, r, struct gc_ref, link)
			if (n->foreground)
				look_at(gc, r->dependent);
	}
	for (unsigned i = 0; i < n->n_refs; i++)
		if (!n->refs[i].owner->kind || n->refs[i].owner->foreground) {
			look_at(gc, n);
			break;
		}
}

static void seen(struct gc_kind *k, struct client_item *it, const struct json *object)
{
	struct gc *gc = k->gc;
	const struct json *finalizers = tree_meta(object, "finalizers");
	struct gc_node *n = map_get(&gc->nodes, it->uid);
	if (n && !n->kind) { /* known by name of references alone: now with a body of its own */
		struct gc_node *real;
		map_remove(&gc->nodes, n->uid);
		real = node_get(gc, it->uid, it->ns, it->name);
		LIST_EACH(&n->dependents, r, struct gc_ref, link) {
			list_remove(&r->link);
			r->owner = real;
			list_push(&real->dependents, &r->link);
		}
		free(n);
		n = real;
	} else {
		n = node_get(gc, it->uid, it->ns, it->name);
	}
	n->kind = k;
	it->user = n;
	n->deleting = tree_meta_span(object, "deletionTimestamp").len > 0;
	n->foreground = n->deleting && tree_has_text(finalizers, SPAN("foregroundDeletion"));
	n->orphan = tree_has_text(finalizers, SPAN("orphan"));
	refs_set(gc, n, tree_meta(object, "ownerReferences"));
	node_check(gc, n);
}

static void gone(struct gc *gc, struct gc_node *n)
{
	n->kind = NULL;
	n->deleting = n->foreground = n->orphan = false;
	LIST_EACH(&n->dependents, r, struct gc_ref, link)
		look_at(gc, r->dependent);
	refs_set(gc, n, NULL);
	node_settle(gc, n);
}

/* ---- following kinds */

static void on_added(struct client_informer *inf, struct client_item *it, const struct json *object, void *arg)
{
	seen(arg, it, object);
}

static void on_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *object, void *arg)
{
	seen(arg, it, object);
}

static void on_removed(struct client_informer *inf, struct client_item *it, void *arg)
{
	struct gc_kind *k = arg;
	gone(k->gc, it->user);
}

static void begin(struct gc *gc)
{
	if (gc->ready || !gc->c->queue)
		return;
	loop_timer_stop(&gc->begin);
	gc->ready = true;
	MAP_EACH(&gc->nodes, e)
		node_check(gc, e->value);
}

static void begin_when_whole(struct gc *gc)
{
	LIST_EACH(&gc->kinds, k, struct gc_kind, link)
		if (!k->synced)
			return;
	if (!list_empty(&gc->kinds))
		begin(gc);
}

static void on_synced(struct client_informer *inf, void *arg)
{
	struct gc_kind *k = arg;
	k->synced = true;
	begin_when_whole(k->gc);
}

/* A kind that cannot be listed (its server is away) does not hold up all others. */
static void on_begin(struct loop_timer *t)
{
	struct gc *gc = container_of(t, struct gc, begin);
	if (gc->c->queue)
		begin(gc);
	else
		loop_timer_start(t, BEGIN_ANYWAY_MS);
}

static void kind_free(struct gc_kind *k)
{
	struct client_item *it;
	size_t pos = 0;
	while ((it = client_informer_next(k->informer, &pos)))
		gone(k->gc, it->user);
	client_informer_free(k->informer);
	list_remove(&k->link);
	map_remove(&k->gc->by_key, k->key);
	arena_done(&k->arena);
	free(k);
}

static void kind_new(struct gc *gc, const struct served *s)
{
	struct gc_kind *k = mem_new(struct gc_kind);
	*k = (struct gc_kind){ .gc = gc, .still_served = true };
	arena_small(&k->arena);
	k->key = arena_span(&k->arena, s->key);
	k->name = arena_span(&k->arena, s->name);
	k->resource = (struct client_kind){ arena_span(&k->arena, s->kind.group), arena_span(&k->arena, s->kind.version),
					    arena_span(&k->arena, s->kind.plural), s->kind.namespaced };
	list_push(&gc->kinds, &k->link);
	map_put(&gc->by_key, k->key, k);
	const struct client_informer_params p = { .client = gc->c->cm->client, .kind = k->resource, .metadata_only = true,
						  .no_bytes = true, .added = on_added, .changed = on_changed,
						  .removed = on_removed, .synced = on_synced, .arg = k };
	k->informer = client_informer_new(&p);
}

static void discovered(struct controller *c)
{
	struct gc *gc = c->state;
	const struct served_list *list = discovery_list(c->cm->discovery);
	LIST_EACH(&gc->kinds, k, struct gc_kind, link)
		k->still_served = !list->whole;
	for (unsigned i = 0; i < list->n; i++) {
		const struct served *s = &list->items[i];
		struct gc_kind *k = map_get(&gc->by_key, s->key);
		if ((s->verbs & (SERVES_DELETE | SERVES_LIST | SERVES_WATCH)) != (SERVES_DELETE | SERVES_LIST | SERVES_WATCH) ||
		    span_is(s->kind.plural, "events"))
			continue;
		if (k && span_eq(k->resource.version, s->kind.version)) {
			k->still_served = true;
			continue;
		}
		if (k)
			kind_free(k);
		kind_new(gc, s);
	}
	LIST_EACH(&gc->kinds, k, struct gc_kind, link)
		if (!k->still_served)
			kind_free(k);
	begin_when_whole(gc);
}

/* ---- what is done for a node */

struct gc_pass {
	struct json object; /* as the server has it */
	bool there;
	enum gc_owner *owners;
	bool hopeless;      /* an owner that makes no sense: nothing will change by itself */
};

static struct span path_of(struct pass *p, const struct client_kind *k, struct span ns, struct span name)
{
	auto_buf struct buf path = {};
	client_path(&path, k, ns, name, NULL);
	return arena_span(&p->arena, buf_span(&path));
}

static struct op *get_meta(struct pass *p, const struct client_kind *k, struct span ns, struct span name)
{
	struct op *o = pass_send(p, "GET", path_of(p, k, ns, name), NULL, NULL);
	o->accept = AS_META;
	o->fine = ERR_NOT_FOUND;
	return o;
}

/* {metadata: {uid, resourceVersion, MEMBER: value}} */
static struct op *patch_meta(struct pass *p, const struct client_kind *k, const struct json *object, const char *member,
			     struct json value)
{
	struct json patch = json_object();
	struct json *meta = tree_at(&p->arena, &patch, "metadata");
	tree_set_span(&p->arena, meta, "uid", tree_meta_span(object, "uid"));
	tree_set_span(&p->arena, meta, "resourceVersion", tree_meta_span(object, "resourceVersion"));
	tree_set(&p->arena, meta, member, value);
	struct op *o = pass_send(p, "PATCH", path_of(p, k, tree_meta_span(object, "namespace"), tree_meta_span(object, "name")), &patch,
				 CLIENT_MERGE_PATCH);
	o->accept = AS_META;
	o->fine = ERR_NOT_FOUND;
	return o;
}

static struct json without_text(struct arena *a, const struct json *list, struct span s)
{
	struct json out = json_array();
	JSON_EACH_ITEM(list, item)
		if (!span_eq(json_span(item), s))
			(void)json_push(a, &out, *item);
	return out;
}

static struct json without_ref(struct arena *a, const struct json *refs, struct span uid)
{
	struct json out = json_array();
	JSON_EACH_ITEM(refs, r)
		if (!span_eq(tree_span(r, "uid"), uid))
			(void)json_push(a, &out, *r);
	return out;
}

static void drop_finalizer(struct pass *p, const struct gc_node *n, const struct json *object, struct span finalizer)
{
	if (tree_has_text(tree_meta(object, "finalizers"), finalizer))
		patch_meta(p, &n->kind->resource, object, "finalizers",
			   without_text(&p->arena, tree_meta(object, "finalizers"), finalizer));
}

/* The node of this pass, if it is still what it was. */
static struct gc_node *node_of(struct pass *p)
{
	struct gc *gc = p->c->state;
	struct gc_node *n = map_get(&gc->nodes, p->key);
	return n && n->kind ? n : NULL;
}

static void unblock(struct pass *p, const struct gc_node *n, const struct json *object)
{
	struct json refs = json_copy(&p->arena, tree_meta(object, "ownerReferences"));
	JSON_EACH_ITEM(&refs, r)
		tree_set(&p->arena, r, "blockOwnerDeletion", json_bool(false));
	patch_meta(p, &n->kind->resource, object, "ownerReferences", refs);
}

static void delete_node(struct pass *p, const struct gc_node *n, const struct json *object, const char *policy)
{
	struct json options = json_object();
	struct json *pre;
	tree_set_cstr(&p->arena, &options, "apiVersion", "v1");
	tree_set_cstr(&p->arena, &options, "kind", "DeleteOptions");
	pre = tree_at(&p->arena, &options, "preconditions");
	tree_set_span(&p->arena, pre, "uid", n->uid);
	tree_set_span(&p->arena, pre, "resourceVersion", tree_meta_span(object, "resourceVersion"));
	tree_set_cstr(&p->arena, &options, "propagationPolicy", policy);
	struct op *o = pass_send(p, "DELETE", path_of(p, &n->kind->resource, n->ns, n->name), &options, NULL);
	o->fine = ERR_NOT_FOUND;
}

static void decide(struct pass *p)
{
	struct gc_pass *s = p->state;
	struct gc_node *n = node_of(p);
	const struct json *refs = tree_meta(&s->object, "ownerReferences"), *finalizers = tree_meta(&s->object, "finalizers");
	unsigned n_refs = json_is(refs, JSON_ARRAY) ? refs->n : 0;
	bool circle = false;
	if (!n || s->hopeless || p->err.class != ERR_NONE)
		return;
	LIST_EACH(&n->dependents, r, struct gc_ref, link)
		circle |= r->dependent->foreground;
	const char *own = tree_has_text(finalizers, SPAN("orphan"))		? "Orphan"
			  : tree_has_text(finalizers, SPAN("foregroundDeletion")) ? "Foreground"
										  : "Background";
	switch (gc_verdict_of(s->owners, n_refs, !list_empty(&n->dependents), circle)) {
	case GC_KEEP: break;
	case GC_DROP_REFS: {
		struct json kept = json_array();
		for (unsigned i = 0; i < n_refs; i++)
			if (s->owners[i] == GC_SOLID)
				(void)json_push(&p->arena, &kept, refs->items[i]);
		patch_meta(p, &n->kind->resource, &s->object, "ownerReferences", kept);
		break;
	}
	case GC_DELETE: delete_node(p, n, &s->object, own); break;
	case GC_UNBLOCK_FOREGROUND:
		unblock(p, n, &s->object);
		p->again = true; /* its version is another now */
		break;
	case GC_DELETE_FOREGROUND: delete_node(p, n, &s->object, "Foreground"); break;
	}
}

static bool on_owner(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct gc_pass *s = p->state;
	const struct json *ref = o->arg;
	const struct json *refs = tree_meta(&s->object, "ownerReferences");
	enum gc_owner *place = &s->owners[ref - refs->items];
	if (why && why->class != ERR_NOT_FOUND)
		return false;
	if (why || !span_eq(tree_meta_span(answer, "uid"), tree_span(ref, "uid")))
		*place = GC_DANGLING;
	else if (tree_meta_span(answer, "deletionTimestamp").len &&
		 tree_has_text(tree_meta(answer, "finalizers"), SPAN("foregroundDeletion")))
		*place = GC_WAITING;
	else
		*place = GC_SOLID;
	return true;
}

static void ask_owners(struct pass *p)
{
	struct gc *gc = p->c->state;
	struct gc_pass *s = p->state;
	struct gc_node *n = node_of(p);
	if (!n || !s->there)
		return;
	const struct json *refs = tree_meta(&s->object, "ownerReferences");
	unsigned n_refs = json_is(refs, JSON_ARRAY) ? refs->n : 0;
	s->owners = arena_alloc_n(&p->arena, n_refs + 1, sizeof(*s->owners));
	for (unsigned i = 0; i < n_refs; i++) {
		const struct json *ref = &refs->items[i];
		struct gc_node *owner = map_get(&gc->nodes, tree_span(ref, "uid"));
		s->owners[i] = GC_SOLID;
		if (owner && owner->kind) {
			s->owners[i] = owner->foreground ? GC_WAITING : GC_SOLID;
			continue;
		}
		const struct served *k = discovery_find(p->cm->discovery, tree_span(ref, "apiVersion"), tree_span(ref, "kind"));
		if (!k) {
			pass_fail(p, ERR_UNAVAILABLE, "no matches for kind \"%.*s\" in version \"%.*s\"",
				  SPAN_ARG(tree_span(ref, "kind")), SPAN_ARG(tree_span(ref, "apiVersion")));
			return;
		}
		if (k->kind.namespaced && !n->ns.len) {
			s->hopeless = true; /* an object of no namespace cannot be owned from within one */
			return;
		}
		struct op *o = get_meta(p, &k->kind, k->kind.namespaced ? n->ns : SPAN_EMPTY, tree_span(ref, "name"));
		o->arg = (void *)ref;
		o->done = on_owner;
	}
	p->then = decide;
}

/* ---- foreground */

static void wait_for_dependents(struct pass *p)
{
	struct gc *gc = p->c->state;
	struct gc_pass *s = p->state;
	struct gc_node *n = node_of(p);
	unsigned blocking = 0;
	if (!n || !s->there)
		return;
	LIST_EACH(&n->dependents, r, struct gc_ref, link) {
		if (!r->blocks)
			continue;
		blocking++;
		if (!r->dependent->foreground)
			look_at(gc, r->dependent);
	}
	if (!blocking)
		drop_finalizer(p, n, &s->object, SPAN("foregroundDeletion"));
}

/* ---- orphans */

static bool on_dependent(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct gc *gc = p->c->state;
	const struct gc_node *d = why ? NULL : map_get(&gc->nodes, tree_meta_span(answer, "uid"));
	if (!d || !d->kind)
		return false;
	const struct json *refs = tree_meta(answer, "ownerReferences");
	struct json kept = without_ref(&p->arena, refs, p->key);
	if (json_is(refs, JSON_ARRAY) && kept.n != refs->n)
		patch_meta(p, &d->kind->resource, answer, "ownerReferences", kept);
	return true;
}

static void orphaned(struct pass *p)
{
	struct gc_pass *s = p->state;
	struct gc_node *n = node_of(p);
	if (n && s->there && p->err.class == ERR_NONE)
		drop_finalizer(p, n, &s->object, SPAN("orphan"));
}

static void orphan(struct pass *p)
{
	struct gc_pass *s = p->state;
	struct gc_node *n = node_of(p);
	if (!n || !s->there)
		return;
	LIST_EACH(&n->dependents, r, struct gc_ref, link)
		if (r->dependent->kind)
			get_meta(p, &r->dependent->kind->resource, r->dependent->ns, r->dependent->name)->done = on_dependent;
	p->then = orphaned;
}

static bool on_object(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct gc_pass *s = p->state;
	if (why)
		return false;
	s->there = span_eq(tree_meta_span(answer, "uid"), p->key);
	s->object = *answer;
	return true;
}

static void reconcile(struct pass *p)
{
	struct gc_node *n = node_of(p);
	if (!n)
		return;
	p->state = arena_new(&p->arena, struct gc_pass);
	if (n->deleting && n->orphan)
		p->then = orphan;
	else if (n->foreground)
		p->then = wait_for_dependents;
	else if (n->deleting || !n->n_refs)
		return;
	else
		p->then = ask_owners;
	get_meta(p, &n->kind->resource, n->ns, n->name)->done = on_object;
}

/* ---- the row */

static int start(struct controller *c, struct err *err)
{
	struct gc *gc = mem_new(struct gc);
	*gc = (struct gc){ .c = c };
	list_init(&gc->kinds);
	loop_timer_init(&gc->begin, c->cm->loop, "garbage collector", on_begin);
	c->state = gc;
	return 0;
}

static void begun(struct controller *c)
{
	struct gc *gc = c->state;
	loop_timer_start(&gc->begin, BEGIN_ANYWAY_MS);
	begin_when_whole(gc);
}

static void stop(struct controller *c)
{
	struct gc *gc = c->state;
	loop_timer_stop(&gc->begin);
	gc->ready = false;
	LIST_EACH(&gc->kinds, k, struct gc_kind, link)
		kind_free(k);
	map_done(&gc->by_key);
	map_done(&gc->nodes);
	free(gc);
}

static void event(struct controller *c, const struct change *ch)
{
	/* The kinds that are watched here tell of what is served; the manager has heard. */
}

const struct controller_row cm_garbage_collector = {
	.name = "garbage-collector-controller", .watches = BIT(CM_CRDS) | BIT(CM_API_SERVICES), .event = event, .reconcile = reconcile,
	.workers = 20, .start = start, .begun = begun, .stop = stop, .discovered = discovered,
};
