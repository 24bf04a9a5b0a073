/* EndpointSlices of Services with a selector, and those that mirror Endpoints which somebody else wrote. */
#include "controllers/endpoints_plan.h"

#define NAME_LABEL "kubernetes.io/service-name"
#define BY_LABEL "endpointslice.kubernetes.io/managed-by"
#define HEADLESS_LABEL "service.kubernetes.io/headless"
#define ZONE_LABEL "topology.kubernetes.io/zone"
#define SKIP_LABEL "endpointslice.kubernetes.io/skip-mirror"
#define TRIGGER_NOTE "endpoints.kubernetes.io/last-change-trigger-time"
#define BY_US "endpointslice-controller.k8s.io"
#define BY_MIRROR "endpointslicemirroring-controller.k8s.io"
#define MIRROR_MAX 1000

static struct span label(const struct row *r, const char *key)
{
	for (unsigned i = 0; i < r->labels.n; i++)
		if (span_is(r->labels.items[i].key, key))
			return r->labels.items[i].value;
	return SPAN_EMPTY;
}

/* Each Service that selects these labels. */
static void add_services(struct controller *c, const struct entry *pod, const struct row *r)
{
	LIST_EACH(cm_index(c->cm, CM_SERVICES, CM_BY_NS, pod->item->ns), s, struct entry, in[CM_BY_NS].link)
		if (row_selects(s->row, r))
			cm_add(c, s->item->key);
}

void endpoints_pod_event(struct controller *c, const struct change *ch)
{
	const struct row *was = ch->old_row, *now = ch->e->row;
	if (was && was->ready == now->ready && was->phase == now->phase && !was->deleted_s == !now->deleted_s &&
	    span_eq(was->node, now->node) && span_eq(was->ip, now->ip) && row_same_labels(was, now))
		return;
	add_services(c, ch->e, now);
	if (was && !row_same_labels(was, now))
		add_services(c, ch->e, was);
}

/* A slice of that owner and manager came or went: note it, and look when it was not us. */
static void slice_event(struct controller *c, const struct change *ch, const char *manager)
{
	auto_arena struct arena a = {};
	struct span service = label(ch->e->row, NAME_LABEL);
	if (!service.len || !span_is(label(ch->e->row, BY_LABEL), manager))
		return;
	struct span key = arena_printf(&a, "%.*s/%.*s", SPAN_ARG(ch->e->item->ns), SPAN_ARG(service));
	if (ch->what == CHANGE_ADDED)
		expect_seen_creation(c, key);
	else if (ch->what == CHANGE_REMOVED)
		expect_seen_deletion(c, key, ch->e->item->uid);
	cm_add(c, key);
}

static void event(struct controller *c, const struct change *ch)
{
	switch (ch->kind) {
	case CM_SERVICES: cm_add(c, ch->e->item->key); break;
	case CM_PODS: endpoints_pod_event(c, ch); break;
	case CM_SLICES: slice_event(c, ch, BY_US); break;
	case CM_NODES:
		/* Another zone concerns every Service with a pod there. */
		if (ch->what == CHANGE_ADDED || (ch->old_row && !span_eq(label(ch->old_row, ZONE_LABEL), label(ch->e->row, ZONE_LABEL))))
			LIST_EACH(cm_index(c->cm, CM_PODS, CM_BY_NODE, ch->e->item->name), e, struct entry, in[CM_BY_NODE].link)
				add_services(c, e, e->row);
		break;
	default: break;
	}
}

/* ---- writing slices, for both */

struct slice_pass {
	enum cm_kind owner_kind;
	struct json owner;
	struct span service;  /* its name */
	const char *manager;
	struct json labels;   /* of every slice */
	unsigned max;
};

static bool on_created(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	if (why && why->class != ERR_TIMEOUT)
		expect_seen_creation(p->c, p->key);
	return why && (why->class == ERR_NOT_FOUND || span_has(span_of(err_msg(why)), SPAN("because it is being terminated")));
}

static bool on_deleted(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	if (why)
		expect_seen_deletion(p->c, p->key, *(struct span *)o->arg);
	return why && why->class == ERR_NOT_FOUND;
}

static void create_slice(struct pass *p, const struct slice_pass *s, enum ep_family family, const struct json *ports,
			 struct json endpoints)
{
	struct arena *a = &p->arena;
	struct json slice = json_object(), owners = json_array(), meta = json_object(), notes = json_object();
	tree_set_cstr(a, &slice, "apiVersion", "discovery.k8s.io/v1");
	tree_set_cstr(a, &slice, "kind", "EndpointSlice");
	tree_set(a, &meta, "generateName", json_str(arena_printf(a, "%.*s-", SPAN_ARG(s->service))));
	tree_set(a, &meta, "labels", s->labels);
	(void)json_push(a, &owners, tree_owner(a, s->owner_kind, &s->owner, true));
	tree_set(a, &meta, "ownerReferences", owners);
	tree_set(a, &notes, TRIGGER_NOTE, tree_time_of(a, p->now_s));
	tree_set(a, &meta, "annotations", notes);
	tree_set(a, &slice, "metadata", meta);
	tree_set_cstr(a, &slice, "addressType", family == EP_IPV6 ? "IPv6" : "IPv4");
	tree_set(a, &slice, "endpoints", endpoints);
	tree_set(a, &slice, "ports", *ports);
	expect_creations(p->c, p->key, 1);
	pass_create(p, CM_SLICES, p->ns, &slice)->done = on_created;
}

static void delete_slice(struct pass *p, const struct json *slice)
{
	struct span *uid = arena_new(&p->arena, struct span);
	*uid = tree_meta_span(slice, "uid");
	expect_deletion(p->c, p->key, *uid);
	struct op *o = pass_delete(p, CM_SLICES, p->ns, tree_meta_span(slice, "name"), *uid, NULL);
	o->done = on_deleted;
	o->arg = uid;
}

static void patch_slice(struct pass *p, const struct slice_pass *s, const struct json *slice, const struct ep_slice *wanted)
{
	struct arena *a = &p->arena;
	struct json diff, patch = json_object();
	bool relabel = tree_diff(a, tree_meta(slice, "labels"), &s->labels, &diff);
	if (!wanted->changed && !relabel)
		return;
	struct json *meta = tree_at(a, &patch, "metadata");
	tree_set_span(a, meta, "resourceVersion", tree_meta_span(slice, "resourceVersion"));
	if (relabel)
		tree_set(a, meta, "labels", diff);
	if (wanted->changed) {
		tree_set(a, tree_at(a, meta, "annotations"), TRIGGER_NOTE, tree_time_of(a, p->now_s));
		tree_set(a, &patch, "endpoints", wanted->endpoints);
	}
	pass_merge(p, CM_SLICES, p->ns, tree_meta_span(slice, "name"), NULL, &patch)->fine = ERR_NOT_FOUND;
}

/* Makes the slices of one family what groups say; families that are not wanted have no groups. */
static void write_family(struct pass *p, const struct slice_pass *s, enum ep_family family, struct ep_groups *groups, bool wanted)
{
	struct arena *a = &p->arena;
	const char *type = family == EP_IPV6 ? "IPv6" : "IPv4";
	struct span uid = tree_meta_span(&s->owner, "uid");
	struct json *slices;
	unsigned n = 0, left = 0;
	size_t room = 1;
	LIST_EACH(cm_index(p->cm, CM_SLICES, CM_BY_OWNER, uid), e, struct entry, in[CM_BY_OWNER].link)
		room++;
	slices = arena_alloc_n(a, room, sizeof(*slices));
	bool *used = arena_zalloc(a, room);
	LIST_EACH(cm_index(p->cm, CM_SLICES, CM_BY_OWNER, uid), e, struct entry, in[CM_BY_OWNER].link) {
		if (!span_is(label(e->row, BY_LABEL), s->manager) || e->row->deleted_s)
			continue;
		slices[n] = cm_tree(a, CM_SLICES, e);
		if (span_is(tree_span(&slices[n], "addressType"), type))
			n++;
	}
	for (unsigned g = 0; g < groups->n; g++) {
		struct ep_group *group = &groups->items[g];
		struct ep_slice *mine = arena_alloc_n(a, n + 1, sizeof(*mine));
		struct json *more;
		unsigned n_mine = 0, n_more;
		for (unsigned i = 0; i < n; i++) {
			const struct json *ports = tree_get(&slices[i], "ports"), *endpoints = tree_get(&slices[i], "endpoints");
			static const struct json none = { .kind = JSON_ARRAY };
			if (used[i] || !json_equal(json_is(ports, JSON_ARRAY) ? ports : &none, &group->ports))
				continue;
			used[i] = true;
			mine[n_mine++] = (struct ep_slice){ .endpoints = json_is(endpoints, JSON_ARRAY) ? *endpoints : none, .at = i };
		}
		ep_pack(a, group->items, group->n, mine, n_mine, s->max, &more, &n_more);
		for (unsigned i = 0; i < n_mine; i++) {
			if (mine[i].doomed) {
				delete_slice(p, &slices[mine[i].at]);
				continue;
			}
			left++;
			patch_slice(p, s, &slices[mine[i].at], &mine[i]);
		}
		for (unsigned i = 0; i < n_more; i++, left++)
			create_slice(p, s, family, &group->ports, more[i]);
	}
	/* With nobody behind it a Service keeps one empty slice, so that readers know it is looked after. */
	bool place_held = false;
	for (unsigned i = 0; i < n; i++) {
		if (used[i])
			continue;
		const struct json *endpoints = tree_get(&slices[i], "endpoints"), *ports = tree_get(&slices[i], "ports");
		bool empty = (!json_is(endpoints, JSON_ARRAY) || !endpoints->n) && (!json_is(ports, JSON_ARRAY) || !ports->n);
		if (wanted && !left && empty && !place_held) {
			place_held = true;
			patch_slice(p, s, &slices[i], &(struct ep_slice){});
			continue;
		}
		delete_slice(p, &slices[i]);
	}
	if (wanted && !left && !place_held)
		create_slice(p, s, family, &(struct json){ .kind = JSON_ARRAY }, json_array());
}

/* Labels that an object gives to its slices: its own, less what we say ourselves. */
static struct json labels_of(struct arena *a, const struct json *object, struct span service, const char *manager, bool headless)
{
	static const char *const ours[] = { NAME_LABEL, BY_LABEL, HEADLESS_LABEL, SKIP_LABEL };
	struct json labels = json_object();
	JSON_EACH_MEMBER(tree_meta(object, "labels"), m) {
		bool skip = false;
		for (size_t i = 0; i < ARRAY_LEN(ours); i++)
			skip |= span_is(json_key(m), ours[i]);
		if (!skip)
			(void)json_set(a, &labels, json_key(m), m->value);
	}
	tree_set(a, &labels, NAME_LABEL, json_str(service));
	tree_set_cstr(a, &labels, BY_LABEL, manager);
	if (headless)
		tree_set_cstr(a, &labels, HEADLESS_LABEL, "");
	return labels;
}

static void reconcile(struct pass *p)
{
	struct entry *e = cm_get_key(p->cm, CM_SERVICES, p->key);
	struct arena *a = &p->arena;
	if (!e) {
		expect_forget(p->c, p->key); /* its slices go with it: they are its dependents */
		return;
	}
	if (!e->row->selector.n || e->row->deleted_s || !expect_fulfilled(p->c, p->key))
		return;
	struct json service = cm_tree(a, CM_SERVICES, e);
	const struct json *spec = tree_get(&service, "spec"), *families = tree_get(spec, "ipFamilies");
	if (span_is(tree_span(spec, "type"), "ExternalName"))
		return;
	struct span distribution = tree_span(spec, "trafficDistribution");
	bool close = span_is(distribution, "PreferClose") || span_is(distribution, "PreferSameZone");
	struct slice_pass s = { .owner_kind = CM_SERVICES, .owner = service, .service = p->name, .manager = BY_US,
				.max = (unsigned)p->cm->options->max_endpoints };
	s.labels = labels_of(a, &service, p->name, BY_US, span_is(tree_span(spec, "clusterIP"), "None"));
	for (unsigned f = 0; f < EP_FAMILIES; f++) {
		struct ep_groups groups = {};
		bool told = json_is(families, JSON_ARRAY) && families->n;
		bool wanted = told ? tree_has_text(families, f == EP_IPV6 ? SPAN("IPv6") : SPAN("IPv4")) : f == EP_IPV4;
		LIST_EACH(cm_index(p->cm, CM_PODS, CM_BY_NS, p->ns), pod, struct entry, in[CM_BY_NS].link) {
			if (!wanted || !ep_counts(pod->row) || !row_selects(e->row, pod->row))
				continue;
			struct json tree = cm_tree(a, CM_PODS, pod);
			struct entry *node = pod->row->node.len ? cm_get_key(p->cm, CM_NODES, pod->row->node) : NULL;
			struct span zone = node ? arena_span(a, label(node->row, ZONE_LABEL)) : SPAN_EMPTY;
			if (ep_address(&tree, f).len)
				ep_add(a, &groups, ep_ports(a, &service, &tree), ep_endpoint(a, &tree, &service, f, zone, close), true);
		}
		write_family(p, &s, f, &groups, wanted);
	}
}

const struct controller_row cm_endpoint_slice = {
	.name = "endpointslice-controller", .source = "endpoint-slice-controller",
	.watches = BIT(CM_SERVICES) | BIT(CM_PODS) | BIT(CM_NODES) | BIT(CM_SLICES),
	.event = event, .reconcile = reconcile,
};

/* ---- mirroring: Endpoints of a Service without selector */

static void mirror_event(struct controller *c, const struct change *ch)
{
	if (ch->kind == CM_SLICES)
		slice_event(c, ch, BY_MIRROR);
	else
		cm_add(c, ch->e->item->key);
}

static bool mirrored(struct pass *p, const struct json *endpoints)
{
	struct entry *service = cm_get_key(p->cm, CM_SERVICES, p->key);
	return service && !service->row->selector.n && !span_is(tree_span(tree_meta(endpoints, "labels"), SKIP_LABEL), "true") &&
	       !tree_annotation(endpoints, "control-plane.alpha.kubernetes.io/leader").len;
}

static struct json mirror_endpoint(struct arena *a, const struct json *address, bool ready)
{
	struct json e = json_object(), addresses = json_array(), conditions = json_object();
	(void)json_push(a, &addresses, json_str(tree_span(address, "ip")));
	tree_set(a, &conditions, "ready", json_bool(ready));
	tree_set(a, &e, "addresses", addresses);
	tree_set(a, &e, "conditions", conditions);
	tree_set_span(a, &e, "hostname", tree_span(address, "hostname"));
	if (tree_get(address, "targetRef"))
		tree_set(a, &e, "targetRef", *tree_get(address, "targetRef"));
	tree_set_span(a, &e, "nodeName", tree_span(address, "nodeName"));
	return e;
}

/* The addresses of one family of a subset, with its ports. */
static void mirror_subset(struct arena *a, struct ep_groups *groups, const struct json *subset, unsigned family)
{
	struct json ports = json_array();
	JSON_EACH_ITEM(tree_get(subset, "ports"), port) {
		struct json copy = json_copy(a, port);
		if (!tree_get(&copy, "name"))
			tree_set_cstr(a, &copy, "name", "");
		(void)json_push(a, &ports, copy);
	}
	for (unsigned k = 0; k < 2; k++)
		JSON_EACH_ITEM(tree_get(subset, k ? "notReadyAddresses" : "addresses"), address)
			if (ep_family_of(tree_span(address, "ip")) == family)
				ep_add(a, groups, ports, mirror_endpoint(a, address, k == 0), true);
}

static void mirror_reconcile(struct pass *p)
{
	struct entry *e = cm_get_key(p->cm, CM_ENDPOINTS, p->key);
	struct arena *a = &p->arena;
	if (!e) {
		expect_forget(p->c, p->key);
		return;
	}
	if (e->row->deleted_s || !expect_fulfilled(p->c, p->key))
		return;
	struct json endpoints = cm_tree(a, CM_ENDPOINTS, e);
	bool on = mirrored(p, &endpoints);
	struct slice_pass s = { .owner_kind = CM_ENDPOINTS, .owner = endpoints, .service = p->name, .manager = BY_MIRROR,
				.max = MIRROR_MAX, .labels = labels_of(a, &endpoints, p->name, BY_MIRROR, false) };
	for (unsigned f = 0; f < EP_FAMILIES; f++) {
		struct ep_groups groups = {};
		JSON_EACH_ITEM(on ? tree_get(&endpoints, "subsets") : NULL, subset)
			mirror_subset(a, &groups, subset, f);
		write_family(p, &s, f, &groups, false);
	}
}

const struct controller_row cm_endpoint_slice_mirroring = {
	.name = "endpointslice-mirroring-controller", .watches = BIT(CM_SERVICES) | BIT(CM_ENDPOINTS) | BIT(CM_SLICES),
	.event = mirror_event, .reconcile = mirror_reconcile,
};
