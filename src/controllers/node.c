/* Nodes: which are silent, what keeps pods away from them, which pods must leave, which addresses their pods have. */
#include "controllers/node_plan.h"

/* ---- lifecycle: a node is heard when its Lease or its status changes, by our own clock */

struct heard {
	struct buf lease, status; /* as seen last: renewTime, heartbeats */
	int64_t at_ms;
	bool registered; /* told once by each controller manager that sees it */
	char name[];
};

static struct heard *heard_get(struct controller *c, struct span name)
{
	struct map *all = c->state;
	struct heard *h = map_get(all, name);
	if (h)
		return h;
	h = mem_zalloc(sizeof(*h) + name.len + 1);
	memcpy(h->name, name.ptr, name.len);
	h->at_ms = loop_now_ms(c->cm->loop);
	map_put(all, span_make(h->name, name.len), h);
	return h;
}

static void heard_free(struct heard *h)
{
	if (!h)
		return;
	buf_done(&h->lease);
	buf_done(&h->status);
	free(h);
}

static void hear(struct controller *c, struct span name, struct buf *(*which)(struct heard *h), struct span now)
{
	struct heard *h = heard_get(c, name);
	struct buf *b = which(h);
	if (!now.len || span_eq(buf_span(b), now))
		return;
	buf_trunc(b, 0);
	buf_span_add(b, now);
	h->at_ms = loop_now_ms(c->cm->loop);
}

static struct buf *lease_of(struct heard *h)
{
	return &h->lease;
}

static struct buf *status_of(struct heard *h)
{
	return &h->status;
}

static void lifecycle_event(struct controller *c, const struct change *ch)
{
	if (ch->kind == CM_LEASES) {
		/* Says that the node lives, nothing else: nobody is woken. */
		if (ch->what != CHANGE_REMOVED)
			hear(c, ch->e->item->name, lease_of, tree_span(tree_get(ch->object, "spec"), "renewTime"));
		return;
	}
	if (ch->what == CHANGE_REMOVED) {
		heard_free(map_remove(c->state, ch->e->item->key));
		return;
	}
	const struct json *ready = tree_find(tree_get(tree_get(ch->object, "status"), "conditions"), "type", SPAN("Ready"));
	(void)heard_get(c, ch->e->item->key);
	if (!span_is(tree_span(ready, "status"), "Unknown"))
		hear(c, ch->e->item->key, status_of, tree_span(ready, "lastHeartbeatTime"));
	cm_add(c, ch->e->item->key);
}

/* [MarkPodsNotReady] Services must not send anything there. */
static void pods_not_ready(struct pass *p)
{
	struct arena *a = &p->arena;
	LIST_EACH(cm_index(p->cm, CM_PODS, CM_BY_NODE, p->name), e, struct entry, in[CM_BY_NODE].link) {
		struct json patch = json_object(), list = json_array(), c = json_object();
		if (!e->row->ready || e->row->deleted_s)
			continue;
		tree_set_cstr(a, &c, "type", "Ready");
		tree_set_cstr(a, &c, "status", "False");
		tree_set(a, &c, "lastTransitionTime", tree_time_of(a, p->now_s));
		(void)json_push(a, &list, c);
		tree_set_span(a, tree_at(a, &patch, "metadata"), "uid", e->item->uid);
		tree_set(a, tree_at(a, &patch, "status"), "conditions", list);
		pass_strategic(p, CM_PODS, e->item->ns, e->item->name, "status", &patch)->fine = ERR_NOT_FOUND;
	}
}

static void lifecycle_reconcile(struct pass *p)
{
	struct entry *e = cm_get_key(p->cm, CM_NODES, p->key);
	struct arena *a = &p->arena;
	struct json patch = json_object(), taints;
	if (!e || e->row->deleted_s)
		return;
	struct json node = cm_tree(a, CM_NODES, e);
	struct heard *h = heard_get(p->c, p->key);
	int64_t left_ms = h->at_ms + p->cm->options->node_grace_ms - loop_now_ms(p->cm->loop);
	const struct json *ready = tree_find(tree_get(tree_get(&node, "status"), "conditions"), "type", SPAN("Ready"));
	bool was_ready = span_is(tree_span(ready, "status"), "True");
	struct client_object_ref ref = cm_ref(CM_NODES, &node);
	ref.uid = tree_meta_span(&node, "name"); /* as upstream's and kubelets' events name nodes */
	if (!h->registered) {
		h->registered = true;
		pass_event(p, &ref, "Normal", "RegisteredNode", "Node %.*s event: Registered Node %.*s in Controller", SPAN_ARG(p->name),
			   SPAN_ARG(p->name));
	}
	if (left_ms > 0) {
		pass_after(p, MAX(left_ms, p->cm->options->node_monitor_ms));
	} else {
		const struct json *old = tree_get(tree_get(&node, "status"), "conditions");
		struct json list = json_is(old, JSON_ARRAY) ? json_copy(a, old) : json_array();
		if (node_silence(a, &list, e->row->created_s, p->now_s)) {
			struct json *meta = tree_at(a, &patch, "metadata");
			tree_set_span(a, meta, "resourceVersion", tree_meta_span(&node, "resourceVersion"));
			tree_set(a, tree_at(a, &patch, "status"), "conditions", list);
			pass_merge(p, CM_NODES, SPAN_EMPTY, p->name, "status", &patch)->fine = ERR_NOT_FOUND;
			if (was_ready) {
				pass_event(p, &ref, "Normal", "NodeNotReady", "Node %.*s status is now: NodeNotReady", SPAN_ARG(p->name));
				pods_not_ready(p);
			}
			return; /* its change brings us back for the taints */
		}
	}
	if (!node_taints(a, &node, p->now_s, &taints))
		return;
	patch = json_object();
	tree_set_span(a, tree_at(a, &patch, "metadata"), "resourceVersion", tree_meta_span(&node, "resourceVersion"));
	tree_set(a, tree_at(a, &patch, "spec"), "taints", taints.n ? taints : JSON_NULL_VALUE);
	pass_merge(p, CM_NODES, SPAN_EMPTY, p->name, NULL, &patch)->fine = ERR_NOT_FOUND;
}

static int lifecycle_start(struct controller *c, struct err *err)
{
	c->state = mem_new(struct map);
	return 0;
}

static void lifecycle_stop(struct controller *c)
{
	struct map *all = c->state;
	MAP_EACH(all, e)
		heard_free(e->value);
	map_done(all);
	free(all);
}

const struct controller_row cm_node_lifecycle = {
	.name = "node-lifecycle-controller", .source = "node-controller",
	.watches = BIT(CM_NODES) | BIT(CM_LEASES) | BIT(CM_PODS), .event = lifecycle_event,
	.reconcile = lifecycle_reconcile, .start = lifecycle_start, .stop = lifecycle_stop,
};

/* ---- pods that must leave */

static bool same_taints(const struct change *ch)
{
	auto_arena struct arena a = {};
	if (!ch->old)
		return false;
	struct json old = cm_text_tree(&a, ch->old);
	const struct json *x = tree_get(tree_get(&old, "spec"), "taints"), *y = tree_get(tree_get(ch->object, "spec"), "taints");
	return x && y ? json_equal(x, y) : x == y;
}

static void eviction_event(struct controller *c, const struct change *ch)
{
	if (ch->what == CHANGE_REMOVED)
		return;
	if (ch->kind == CM_PODS) {
		if (ch->e->row->node.len && (!ch->old_row || !span_eq(ch->old_row->node, ch->e->row->node)))
			cm_add(c, ch->e->item->key);
		return;
	}
	if (!same_taints(ch))
		LIST_EACH(cm_index(c->cm, CM_PODS, CM_BY_NODE, ch->e->item->key), e, struct entry, in[CM_BY_NODE].link)
			cm_add(c, e->item->key);
}

static void mark_disrupted(struct pass *p, const struct json *pod, const char *reason, const char *words, const char *phase)
{
	struct arena *a = &p->arena;
	struct json patch = json_object(), list = json_array();
	(void)tree_condition(a, &list, "DisruptionTarget", "True", reason, span_of(words), p->now_s, NULL);
	tree_set_span(a, tree_at(a, &patch, "metadata"), "uid", tree_meta_span(pod, "uid"));
	tree_set(a, tree_at(a, &patch, "status"), "conditions", list);
	if (phase)
		tree_set_cstr(a, tree_at(a, &patch, "status"), "phase", phase);
	pass_strategic(p, CM_PODS, p->ns, p->name, "status", &patch)->fine = ERR_NOT_FOUND;
}

static void eviction_reconcile(struct pass *p)
{
	struct entry *e = cm_get_key(p->cm, CM_PODS, p->key), *n = e ? cm_get_key(p->cm, CM_NODES, e->row->node) : NULL;
	if (!e || !n || e->row->deleted_s)
		return;
	struct json pod = cm_tree(&p->arena, CM_PODS, e), node = cm_tree(&p->arena, CM_NODES, n);
	int64_t leave_s = node_leave_s(tree_get(tree_get(&node, "spec"), "taints"), tree_get(tree_get(&pod, "spec"), "tolerations"));
	if (leave_s < 0)
		return;
	if (leave_s > p->now_s) {
		pass_after(p, (leave_s - p->now_s) * 1000 + 100);
		return;
	}
	struct client_object_ref ref = cm_ref(CM_PODS, &pod);
	pass_event(p, &ref, "Normal", "TaintManagerEviction", "Marking for deletion Pod %.*s", SPAN_ARG(p->key));
	p->mode = PASS_SERIAL;
	mark_disrupted(p, &pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", NULL);
	pass_delete(p, CM_PODS, p->ns, p->name, tree_meta_span(&pod, "uid"), NULL);
}

const struct controller_row cm_taint_eviction = {
	.name = "taint-eviction-controller", .watches = BIT(CM_NODES) | BIT(CM_PODS), .event = eviction_event,
	.reconcile = eviction_reconcile, .workers = 8,
};

/* ---- pods that nobody looks after: their node is gone, or they were deleted before they had one; and terminated ones beyond a
 * number */

#define TERMINATED "#"
#define NODE_GONE_MS 40000

static void podgc_event(struct controller *c, const struct change *ch)
{
	if (ch->kind == CM_NODES) {
		if (ch->what == CHANGE_REMOVED)
			LIST_EACH(cm_index(c->cm, CM_PODS, CM_BY_NODE, ch->e->item->key), e, struct entry, in[CM_BY_NODE].link)
				cm_add_after(c, e->item->key, NODE_GONE_MS);
		return;
	}
	const struct row *r = ch->e->row;
	if (ch->what == CHANGE_REMOVED)
		return;
	if ((r->phase == POD_SUCCEEDED || r->phase == POD_FAILED) && c->cm->options->terminated_pods)
		cm_add_after(c, SPAN(TERMINATED), 1000);
	if (!r->node.len && r->deleted_s)
		cm_add(c, ch->e->item->key);
	else if (r->node.len && !cm_get_key(c->cm, CM_NODES, r->node))
		cm_add_after(c, ch->e->item->key, NODE_GONE_MS);
}

static void delete_now(struct pass *p, struct span ns, struct span name, struct span uid)
{
	struct json options = json_object();
	auto_buf struct buf path = {};
	struct client_kind k = cm_resource(CM_PODS);
	tree_set_int(&p->arena, &options, "gracePeriodSeconds", 0);
	tree_set_span(&p->arena, tree_at(&p->arena, &options, "preconditions"), "uid", uid);
	client_path(&path, &k, ns, name, NULL);
	pass_send(p, "DELETE", buf_span(&path), &options, NULL)->fine = ERR_NOT_FOUND;
}

static int by_creation(const void *px, const void *py)
{
	const struct entry *x = *(struct entry *const *)px, *y = *(struct entry *const *)py;
	return x->row->created_s != y->row->created_s ? (x->row->created_s < y->row->created_s ? -1 : 1)
						      : span_cmp(x->item->key, y->item->key);
}

static void cut_terminated(struct pass *p)
{
	struct entry *e, **all = NULL;
	size_t pos = 0, n = 0, cap = 0;
	int64_t most = p->cm->options->terminated_pods;
	while ((e = cm_next(p->cm, CM_PODS, &pos))) {
		if ((e->row->phase != POD_SUCCEEDED && e->row->phase != POD_FAILED) || e->row->deleted_s)
			continue;
		MEM_GROW(all, n, cap);
		all[n++] = e;
	}
	if (n)
		qsort(all, n, sizeof(struct entry *), by_creation);
	for (size_t i = 0; (int64_t)(n - i) > most && i < n; i++)
		delete_now(p, all[i]->item->ns, all[i]->item->name, all[i]->item->uid);
	free(all);
}

static bool on_node(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct entry *e = cm_get_key(p->cm, CM_PODS, p->key);
	if (!why || why->class != ERR_NOT_FOUND)
		return false;
	if (!e)
		return true;
	struct json pod = cm_tree(&p->arena, CM_PODS, e);
	p->mode = PASS_SERIAL;
	if (e->row->phase != POD_SUCCEEDED && e->row->phase != POD_FAILED)
		mark_disrupted(p, &pod, "DeletionByPodGC", "PodGC: node no longer exists", "Failed");
	delete_now(p, p->ns, p->name, tree_meta_span(&pod, "uid"));
	return true;
}

static void podgc_reconcile(struct pass *p)
{
	struct entry *e;
	if (span_is(p->key, TERMINATED)) {
		cut_terminated(p);
		return;
	}
	e = cm_get_key(p->cm, CM_PODS, p->key);
	if (!e)
		return;
	if (!e->row->node.len && e->row->deleted_s)
		delete_now(p, p->ns, p->name, arena_span(&p->arena, e->item->uid));
	else if (e->row->node.len && !cm_get_key(p->cm, CM_NODES, e->row->node))
		pass_get(p, CM_NODES, SPAN_EMPTY, e->row->node)->done = on_node;
}

const struct controller_row cm_pod_gc = {
	.name = "pod-garbage-collector-controller", .watches = BIT(CM_NODES) | BIT(CM_PODS), .event = podgc_event,
	.reconcile = podgc_reconcile,
};

/* ---- addresses for pods: each node gets a block of each range, for as long as it exists */

struct ipam {
	struct node_range ranges[2];
	unsigned n;
};

static void ipam_mark(struct ipam *m, const struct json *node, uint8_t used)
{
	JSON_EACH_ITEM(tree_get(tree_get(node, "spec"), "podCIDRs"), cidr)
		for (unsigned i = 0; i < m->n; i++) {
			int64_t block = node_range_find(&m->ranges[i], json_span(cidr));
			if (block >= 0)
				m->ranges[i].used[block] = used;
		}
}

static void ipam_event(struct controller *c, const struct change *ch)
{
	auto_arena struct arena a = {};
	if (ch->what == CHANGE_REMOVED) {
		struct json node = cm_tree(&a, CM_NODES, ch->e);
		ipam_mark(c->state, &node, 0);
		return;
	}
	ipam_mark(c->state, ch->object, 1);
	if (!tree_get(tree_get(ch->object, "spec"), "podCIDR"))
		cm_add(c, ch->e->item->key);
}

static bool on_assigned(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	if (why) /* the blocks are free again; an answer that never came leaves them taken until its node is seen */
		ipam_mark(p->c->state, o->arg, why->class == ERR_TIMEOUT);
	return false;
}

static void ipam_reconcile(struct pass *p)
{
	struct entry *e = cm_get_key(p->cm, CM_NODES, p->key);
	struct ipam *m = p->c->state;
	struct arena *a = &p->arena;
	struct json *patch = arena_new(a, struct json), list = json_array();
	if (!e || e->row->deleted_s)
		return;
	struct json node = cm_tree(a, CM_NODES, e);
	if (tree_get(tree_get(&node, "spec"), "podCIDR"))
		return;
	*patch = json_object();
	for (unsigned i = 0; i < m->n; i++) {
		struct span block = node_range_take(a, &m->ranges[i]);
		if (!block.len) {
			struct client_object_ref ref = cm_ref(CM_NODES, &node);
			tree_set(a, tree_at(a, patch, "spec"), "podCIDRs", list);
			ipam_mark(m, patch, 0);
			pass_event(p, &ref, "Normal", "CIDRNotAvailable", "Node %.*s status is now: CIDRNotAvailable", SPAN_ARG(p->name));
			p->again = true;
			return;
		}
		(void)json_push(a, &list, json_str(block));
	}
	struct json *spec = tree_at(a, patch, "spec");
	tree_set_span(a, tree_at(a, patch, "metadata"), "uid", tree_meta_span(&node, "uid"));
	tree_set(a, spec, "podCIDR", list.items[0]);
	tree_set(a, spec, "podCIDRs", list);
	struct op *o = pass_strategic(p, CM_NODES, SPAN_EMPTY, p->name, NULL, patch);
	o->done = on_assigned;
	o->arg = patch;
}

static void ipam_stop(struct controller *c)
{
	struct ipam *m = c->state;
	for (unsigned i = 0; i < m->n; i++)
		node_range_done(&m->ranges[i]);
	free(m);
}

static int ipam_start(struct controller *c, struct err *err)
{
	const struct controllers_options *o = c->cm->options;
	struct ipam *m = mem_new(struct ipam);
	struct span rest = o->cluster_cidr, one;
	int rc = 0;
	c->state = m;
	while (rc == 0 && span_cut(&rest, ',', &one)) {
		if (m->n == ARRAY_LEN(m->ranges)) {
			rc = err_set(err, ERR_USAGE, "--cluster-cidr: more than two ranges");
			break;
		}
		rc = node_range_init(&m->ranges[m->n], one, (unsigned)(span_chr(one, ':') >= 0 ? o->node_mask6 : o->node_mask4), err);
		m->n += rc == 0;
	}
	if (rc < 0)
		ipam_stop(c);
	return rc;
}

static bool ipam_possible(const struct controllers_options *o)
{
	return o->allocate_node_cidrs;
}

const struct controller_row cm_node_ipam = {
	.name = "node-ipam-controller", .source = "cidrAllocator",
	.watches = BIT(CM_NODES), .event = ipam_event, .reconcile = ipam_reconcile, .workers = 1,
	.start = ipam_start, .stop = ipam_stop, .possible = ipam_possible,
};
