/* Endpoints: the older form of what stands behind a Service, in one object of its name, the first family alone. */
#include "controllers/endpoints_plan.h"

#define OVER_NOTE "endpoints.kubernetes.io/over-capacity"
#define TRIGGER_NOTE "endpoints.kubernetes.io/last-change-trigger-time"
#define BY_LABEL "endpoints.kubernetes.io/managed-by"
#define BY_US "endpoint-controller"
#define HEADLESS_LABEL "service.kubernetes.io/headless"
#define CAPACITY 1000

static void event(struct controller *c, const struct change *ch)
{
	if (ch->kind == CM_PODS)
		endpoints_pod_event(c, ch);
	else
		cm_add(c, ch->e->item->key);
}

static bool on_made(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	/* Somebody was faster: the cache will tell. */
	if (why && why->class == ERR_EXISTS)
		p->again = true;
	return why && (why->class == ERR_EXISTS || why->class == ERR_NOT_FOUND ||
		       span_has(span_of(err_msg(why)), SPAN("because it is being terminated")));
}

/* At most CAPACITY addresses: ready ones first. True: some were left out. */
static bool cut(struct ep_groups *g)
{
	unsigned total = 0, ready = 0;
	for (unsigned i = 0; i < g->n; i++) {
		total += g->items[i].n;
		for (unsigned k = 0; k < g->items[i].n; k++)
			ready += g->items[i].ready[k];
	}
	if (total <= CAPACITY)
		return false;
	unsigned room[2] = { ready < CAPACITY ? CAPACITY - ready : 0, CAPACITY };
	for (unsigned i = 0; i < g->n; i++) {
		struct ep_group *group = &g->items[i];
		unsigned kept = 0;
		for (unsigned k = 0; k < group->n; k++) {
			if (!room[group->ready[k]])
				continue;
			room[group->ready[k]]--;
			group->items[kept] = group->items[k];
			group->ready[kept++] = group->ready[k];
		}
		group->n = kept;
	}
	return true;
}

static void write_endpoints(struct pass *p, const struct json *service, struct ep_groups *groups, const struct entry *e)
{
	struct arena *a = &p->arena;
	bool over = cut(groups);
	struct json labels = json_object(), notes = json_object(), subsets = ep_subsets(a, groups);
	JSON_EACH_MEMBER(tree_meta(service, "labels"), m)
		(void)json_set(a, &labels, json_key(m), m->value);
	if (span_is(tree_span(tree_get(service, "spec"), "clusterIP"), "None"))
		tree_set_cstr(a, &labels, HEADLESS_LABEL, "");
	else
		(void)json_remove(&labels, SPAN(HEADLESS_LABEL));
	tree_set_cstr(a, &labels, BY_LABEL, BY_US);
	if (over)
		tree_set_cstr(a, &notes, OVER_NOTE, "truncated");
	if (!e) {
		struct json object = json_object();
		struct json *meta = tree_at(a, &object, "metadata");
		tree_set(a, &notes, TRIGGER_NOTE, tree_time_of(a, p->now_s));
		tree_set_span(a, meta, "name", p->name);
		tree_set(a, meta, "labels", labels);
		tree_set(a, meta, "annotations", notes);
		tree_set_cstr(a, &object, "apiVersion", "v1");
		tree_set_cstr(a, &object, "kind", "Endpoints");
		tree_set(a, &object, "subsets", subsets);
		pass_create(p, CM_ENDPOINTS, p->ns, &object)->done = on_made;
		return;
	}
	struct json now = cm_tree(a, CM_ENDPOINTS, e), patch = json_object(), diff;
	const struct json *has = tree_get(&now, "subsets");
	bool same = json_equal(json_is(has, JSON_ARRAY) ? has : &(struct json){ .kind = JSON_ARRAY }, &subsets);
	bool relabel = tree_diff(a, tree_meta(&now, "labels"), &labels, &diff);
	if (same && !relabel && over == (tree_annotation(&now, OVER_NOTE).len > 0))
		return;
	struct json *meta = tree_at(a, &patch, "metadata");
	tree_set_span(a, meta, "resourceVersion", tree_meta_span(&now, "resourceVersion"));
	if (relabel)
		tree_set(a, meta, "labels", diff);
	tree_set(a, &notes, TRIGGER_NOTE, tree_time_of(a, p->now_s));
	if (!over && tree_annotation(&now, OVER_NOTE).len)
		tree_set(a, &notes, OVER_NOTE, JSON_NULL_VALUE);
	tree_set(a, meta, "annotations", notes);
	tree_set(a, &patch, "subsets", subsets);
	pass_merge(p, CM_ENDPOINTS, p->ns, p->name, NULL, &patch)->fine = ERR_NOT_FOUND;
}

static void reconcile(struct pass *p)
{
	struct entry *s = cm_get_key(p->cm, CM_SERVICES, p->key), *e = cm_get_key(p->cm, CM_ENDPOINTS, p->key);
	struct arena *a = &p->arena;
	struct ep_groups groups = {};
	if (!s) {
		/* Ours go with their Service; what somebody wrote by hand is theirs. */
		if (e && span_has(bytes_span(e->item->json), SPAN(BY_LABEL)))
			pass_delete(p, CM_ENDPOINTS, p->ns, p->name, arena_span(a, e->item->uid), NULL);
		return;
	}
	if (!s->row->selector.n || s->row->deleted_s)
		return;
	struct json service = cm_tree(a, CM_SERVICES, s);
	const struct json *spec = tree_get(&service, "spec"), *families = tree_get(spec, "ipFamilies");
	if (span_is(tree_span(spec, "type"), "ExternalName"))
		return;
	bool six = json_is(families, JSON_ARRAY) && families->n && span_is(json_span(families->items), "IPv6");
	bool all = tree_bool(spec, "publishNotReadyAddresses", false);
	LIST_EACH(cm_index(p->cm, CM_PODS, CM_BY_NS, p->ns), pod, struct entry, in[CM_BY_NS].link) {
		if (!ep_counts(pod->row) || !row_selects(s->row, pod->row) || (pod->row->deleted_s && !all))
			continue;
		struct json tree = cm_tree(a, CM_PODS, pod);
		struct json ports = ep_ports(a, &service, &tree);
		if (!ep_address(&tree, six).len || (!ports.n && tree_get(spec, "ports")))
			continue;
		ep_add(a, &groups, ports, ep_core_address(a, &tree, &service, six), pod->row->ready || all);
	}
	write_endpoints(p, &service, &groups, e);
}

const struct controller_row cm_endpoints = {
	.name = "endpoints-controller", .source = "endpoint-controller",
	.watches = BIT(CM_SERVICES) | BIT(CM_PODS) | BIT(CM_ENDPOINTS), .event = event,
	.reconcile = reconcile,
};
