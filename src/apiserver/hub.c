/* Watches of one node's pods: every kubelet has one, and a change of a pod concerns one of them.
 *
 *     pods' cursor ─▶ hub ─ old and new node of each changed pod ─▶ that node's watches
 *
 * A watch begins, and goes on after its queue was full, with a cursor of its own (apart), like any other. When it stands where the
 * hub's stands it goes over to its node's list. So an event costs two look-ups, whatever the number of nodes, and a watch that
 * is behind bothers nobody.
 *
 * Invariant: a watch hears either its node (node set, no cursor) or its own cursor (node NULL), and goes over only between two
 * runs of the port, when both have been told everything up to the same revision. */
#include "apiserver/watch.h"

struct hub_node {
	char *name; /* owned */
	size_t len;
	struct list watches; /* hub_link */
};

struct hub {
	struct worker *w;
	const char *prefix;
	struct store_watch *cursor;
	struct map nodes;  /* name → hub_node */
	struct list apart; /* hub_link: may go over when they have caught up */
	unsigned n;	   /* watches that know it */
	bool sweep;	   /* there may be nodes without watches */
	struct loop_task absorb;
};

struct span hub_node_of(const struct call *c, const struct filter *f)
{
	struct span node;
	/* The ordinary pods of all namespaces: what kubelets ask for. */
	if (c->route.ns.len || c->route.name.len || !span_is(c->res->plural, "pods") || c->res->group.len ||
	    !api_field_selector_exact(&f->fields, SPAN("spec.nodeName"), &node))
		return SPAN_EMPTY;
	return node;
}

/* ---- events */

static void tell(struct hub *h, struct span name, const struct store_event *e)
{
	struct hub_node *node = name.len ? map_get(&h->nodes, name) : NULL;
	if (!node)
		return;
	auto_buf struct buf out = {};
	auto_err struct err err = ERR_INIT;
	const struct fan *made_for = NULL;
	int rc = 0;
	LIST_EACH(&node->watches, w, struct watch, hub_link) {
		if (!watch_roomy(w)) {
			/* It stays behind; its own cursor begins here when the queue has drained. What else this revision
			 * changed may be told twice, which a watch is allowed to do. */
			list_remove(&w->hub_link);
			w->node = NULL;
			w->from_rev = e->rev;
			h->sweep = true;
			continue;
		}
		if (w->fan != made_for) {
			buf_trunc(&out, 0);
			rc = fan_event(w->fan, e, &out, &err);
			made_for = w->fan;
		}
		w->sent_rev = e->rev;
		if (rc < 0)
			watch_fail(w, &err);
		else if (out.len)
			watch_send_event(w, buf_span(&out));
	}
}

static size_t on_events(struct store_watch *cursor, const struct store_batch *b, void *arg)
{
	struct hub *h = arg;
	for (size_t i = 0; i < b->n; i++) {
		const struct store_event *e = b->events[i];
		struct store *st = h->w->server->store;
		struct span now = e->item ? podnode_of(st, e->item) : SPAN_EMPTY;
		struct span before = e->prev ? podnode_of(st, e->prev) : SPAN_EMPTY;
		tell(h, now, e);
		if (!span_eq(now, before))
			tell(h, before, e);
	}
	loop_defer(h->w->loop, &h->absorb);
	return b->n;
}

static void on_expired(struct store_watch *cursor, void *arg)
{
	/* The hub takes every event at once. Its port can still fall behind the ring when its thread did not run: then nobody knows
	 * what was missed, and each list begins anew. */
	struct hub *h = arg;
	auto_err struct err err = ERR_INIT;
	err_set(&err, ERR_EXPIRED, "too old resource version");
	MAP_EACH(&h->nodes, m) {
		struct hub_node *node = m->value;
		LIST_EACH(&node->watches, w, struct watch, hub_link)
			watch_fail(w, &err);
	}
}

static const struct store_watch_fns hub_fns = { .events = on_events, .expired = on_expired };

/* ---- going over */

static void node_drop(struct hub *h, struct hub_node *node)
{
	map_remove(&h->nodes, span_make(node->name, node->len));
	free(node->name);
	free(node);
}

static struct hub_node *node_get(struct hub *h, struct span name)
{
	struct hub_node *node = map_get(&h->nodes, name);
	if (node)
		return node;
	node = mem_new(struct hub_node);
	node->name = mem_dup(name.ptr, name.len);
	node->len = name.len;
	list_init(&node->watches);
	map_put(&h->nodes, span_make(node->name, node->len), node);
	return node;
}

static void hub_free(struct hub *h)
{
	store_watch_close(h->cursor);
	map_done(&h->nodes);
	h->w->pods_hub = NULL;
	free(h);
}

/* After the callbacks of a turn: lists may be changed and what is left of nodes and hub may go. */
static void on_absorb(struct loop_task *t)
{
	struct hub *h = container_of(t, struct hub, absorb);
	if (h->sweep) {
		h->sweep = false;
		MAP_EACH(&h->nodes, m) {
			struct hub_node *node = m->value;
			if (list_empty(&node->watches))
				node_drop(h, node);
		}
	}
	if (!h->n) {
		hub_free(h);
		return;
	}
	LIST_EACH(&h->apart, w, struct watch, hub_link) {
		struct span name = SPAN_EMPTY;
		if (!w->cursor || store_watch_rev(w->cursor) != store_watch_rev(h->cursor))
			continue;
		bool exact = api_field_selector_exact(&w->fan->filter.fields, SPAN("spec.nodeName"), &name);
		assert(exact);
		w->node = node_get(h, name);
		store_watch_close(w->cursor);
		w->cursor = NULL;
		list_remove(&w->hub_link);
		list_push(&w->node->watches, &w->hub_link);
	}
}

void hub_join(struct watch *w, struct span node)
{
	struct worker *worker = w->w;
	struct hub *h = worker->pods_hub;
	auto_err struct err err = ERR_INIT;
	if (!h) {
		h = mem_new(struct hub);
		h->w = worker;
		list_init(&h->apart);
		loop_task_init(&h->absorb, on_absorb);
		if (store_watch_open(worker->port, SPAN("/registry/core/pods/"), false, 0, &hub_fns, h, &h->cursor, &err) < 0) {
			free(h); /* each goes on with its own cursor */
			return;
		}
		worker->pods_hub = h;
	}
	h->n++;
	w->hub = h;
	hub_apart(w);
}

void hub_apart(struct watch *w)
{
	list_remove(&w->hub_link);
	list_push(&w->hub->apart, &w->hub_link);
	loop_defer(w->w->loop, &w->hub->absorb);
}

void hub_leave(struct watch *w)
{
	struct hub *h = w->hub;
	if (!h)
		return;
	list_remove(&w->hub_link);
	h->sweep = true;
	w->node = NULL;
	w->hub = NULL;
	h->n--;
	loop_defer(h->w->loop, &h->absorb);
}

int64_t hub_rev(const struct watch *w)
{
	return store_watch_rev(w->hub->cursor);
}
