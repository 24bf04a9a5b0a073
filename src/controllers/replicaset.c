/* ReplicaSets, and ReplicationControllers, which differ in the form of their selector.
 *
 *     claim ──> manage (create slowly or delete the best candidates, unless something asked for is not seen yet) ──> status
 *
 * Events and conditions in upstream's words. */
#include "controllers/replicaset_plan.h"

struct rs_pass {
	enum cm_kind kind;
	struct json rs;
	struct claims claims;
	int64_t wanted;
	int32_t min_ready_s;
	struct api_label_selector template_labels;
	struct span failure, failure_reason; /* of the step that managed */
};

static void event(struct controller *c, enum cm_kind kind, const struct change *ch)
{
	if (ch->kind != kind && ch->kind != CM_PODS)
		return;
	if (ch->kind == kind) {
		if (ch->what == CHANGE_REMOVED)
			expect_forget(c, ch->e->item->key);
		cm_add(c, ch->e->item->key);
		return;
	}
	const struct entry *owner = cm_owner(c, kind, ch->e, ch->e->row);
	if (owner) {
		/* A pod that is on its way out counts as gone. */
		if (ch->what == CHANGE_REMOVED || ch->e->row->deleted_s)
			expect_seen_deletion(c, owner->item->key, ch->e->item->uid);
		else if (ch->what == CHANGE_ADDED)
			expect_seen_creation(c, owner->item->key);
	}
	cm_add_owner(c, kind, ch);
	/* Ready is not available yet: look again when it is. */
	if (owner && ch->what == CHANGE_CHANGED && ch->e->row->ready && !ch->old_row->ready) {
		auto_arena struct arena a = {};
		struct json rs = cm_tree(&a, kind, owner);
		int64_t s = tree_int(tree_get(&rs, "spec"), "minReadySeconds", 0);
		if (s > 0)
			cm_add_after(c, owner->item->key, (s + 1) * 1000);
	}
	if (ch->e->row->owner_uid.len || ch->what == CHANGE_REMOVED)
		return;
	/* Nobody's: whoever may adopt it looks. */
	if (ch->what == CHANGE_ADDED || ch->old_row->owner_uid.len || !row_same_labels(ch->old_row, ch->e->row)) {
		LIST_EACH(cm_index(c->cm, kind, CM_BY_NS, ch->e->item->ns), o, struct entry, in[CM_BY_NS].link) {
			auto_arena struct arena a = {};
			struct json rs = cm_tree(&a, kind, o);
			struct api_label_selector sel = { .nothing = true };
			const struct json *s = tree_get(tree_get(&rs, "spec"), "selector");
			if (kind == CM_RCS)
				api_label_selector_of_map(&a, s, &sel);
			else if (api_label_selector_of(&a, s, &sel, NULL) < 0)
				continue;
			if (sel.n && api_label_selector_match_set(&sel, &ch->e->row->labels))
				cm_add(c, o->item->key);
		}
	}
}

static void rs_event(struct controller *c, const struct change *ch)
{
	event(c, CM_REPLICA_SETS, ch);
}

static void rc_event(struct controller *c, const struct change *ch)
{
	event(c, CM_RCS, ch);
}

/* ---- status */

static void set_failure(struct arena *a, struct json *conditions, const struct rs_pass *s, int64_t now_s)
{
	if (s->failure.len && !tree_find(conditions, "type", SPAN("ReplicaFailure")))
		(void)tree_condition(a, conditions, "ReplicaFailure", "True", arena_cstr(a, s->failure_reason), s->failure, now_s, NULL);
	for (uint32_t i = 0; !s->failure.len && i < conditions->n; i++)
		if (span_is(tree_span(&conditions->items[i], "type"), "ReplicaFailure"))
			json_remove_at(conditions, i--);
}

static void write_status(struct pass *p)
{
	struct rs_pass *s = p->state;
	struct arena *a = &p->arena;
	int64_t n = 0, labeled = 0, ready = 0, available = 0;
	for (unsigned i = 0; i < s->claims.n; i++) {
		struct entry *e = cm_get_key(p->cm, CM_PODS, s->claims.keys[i]);
		if (!e || !row_active(e->row))
			continue;
		n++;
		labeled += api_label_selector_match_set(&s->template_labels, &e->row->labels);
		ready += e->row->ready;
		available += row_available(e->row, s->min_ready_s, p->now_s);
	}
	const struct json *old = tree_get(&s->rs, "status");
	struct json status = json_object(), conditions = json_array();
	if (json_is(tree_get(old, "conditions"), JSON_ARRAY))
		conditions = json_copy(a, tree_get(old, "conditions"));
	set_failure(a, &conditions, s, p->now_s);
	tree_set_int(a, &status, "replicas", n);
	tree_set_some(a, &status, "fullyLabeledReplicas", labeled);
	tree_set_some(a, &status, "readyReplicas", ready);
	tree_set_some(a, &status, "availableReplicas", available);
	tree_set_some(a, &status, "observedGeneration", json_i64(tree_meta(&s->rs, "generation"), 0));
	if (conditions.n)
		tree_set(a, &status, "conditions", conditions);
	(void)pass_status(p, s->kind, &s->rs, &status);
	if (s->min_ready_s > 0 && ready == s->wanted && available != s->wanted)
		pass_after(p, (int64_t)s->min_ready_s * 1000);
}

/* ---- managing */

static bool on_created(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct rs_pass *s = p->state;
	struct client_object_ref ref = cm_ref(s->kind, &s->rs);
	if (!why) {
		pass_event(p, &ref, "Normal", "SuccessfulCreate", "Created pod: %.*s", SPAN_ARG(tree_meta_span(answer, "name")));
		return true;
	}
	/* An answer that never came may yet be a pod: the expectation stays until it is seen or has expired. */
	if (why->class != ERR_TIMEOUT)
		expect_seen_creation(p->c, p->key);
	if (why->class == ERR_CANCELLED)
		return true;
	if (!s->failure.len) {
		s->failure = arena_span(&p->arena, span_of(err_msg(why)));
		s->failure_reason = SPAN("FailedCreate");
	}
	pass_event(p, &ref, "Warning", "FailedCreate", "Error creating: %s", err_msg(why));
	return false;
}

static bool on_deleted(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct rs_pass *s = p->state;
	struct client_object_ref ref = cm_ref(s->kind, &s->rs);
	if (!why) {
		pass_event(p, &ref, "Normal", "SuccessfulDelete", "Deleted pod: %.*s", SPAN_ARG(o->name));
		return true;
	}
	expect_seen_deletion(p->c, p->key, *(struct span *)o->arg);
	if (why->class == ERR_NOT_FOUND)
		return true;
	if (!s->failure.len) {
		s->failure = arena_span(&p->arena, span_of(err_msg(why)));
		s->failure_reason = SPAN("FailedDelete");
	}
	pass_event(p, &ref, "Warning", "FailedDelete", "Error deleting: %s", err_msg(why));
	return false;
}

static void create_pods(struct pass *p, unsigned n)
{
	struct rs_pass *s = p->state;
	struct arena *a = &p->arena;
	struct json pod = tree_pod(a, tree_get(tree_get(&s->rs, "spec"), "template"), s->kind, &s->rs);
	tree_set(a, tree_at(a, &pod, "metadata"), "generateName", json_str(arena_printf(a, "%.*s-", SPAN_ARG(p->name))));
	expect_creations(p->c, p->key, n);
	p->mode = PASS_SLOW_START;
	for (unsigned i = 0; i < n; i++)
		pass_create(p, CM_PODS, p->ns, &pod)->done = on_created;
}

/* How many pods of the sets that the same owner controls (a Deployment's) run on that node. */
static unsigned related_on_node(struct pass *p, const struct entry *rs, struct span node)
{
	unsigned n = 0;
	if (!node.len)
		return 0;
	LIST_EACH(cm_index(p->cm, CM_PODS, CM_BY_NODE, node), e, struct entry, in[CM_BY_NODE].link) {
		if (!row_active(e->row) || !e->row->owner_uid.len)
			continue;
		if (span_eq(e->row->owner_uid, rs->item->uid)) {
			n++;
			continue;
		}
		struct entry *other = cm_owner(p->c, CM_REPLICA_SETS, e, e->row);
		n += other && rs->row->owner_uid.len && span_eq(other->row->owner_uid, rs->row->owner_uid);
	}
	return n;
}

static void delete_pods(struct pass *p, struct rs_pod *pods, unsigned n, unsigned doomed)
{
	struct rs_pass *s = p->state;
	struct entry *rs = cm_get_key(p->cm, s->kind, p->key);
	for (unsigned i = 0; rs && doomed < n && i < n; i++)
		pods[i].rank = related_on_node(p, rs, pods[i].row->node);
	rs_rank_deletions(pods, n, p->now_s);
	p->mode = PASS_PARALLEL;
	for (unsigned i = 0; i < doomed; i++) {
		struct span ns, name, *uid = arena_new(&p->arena, struct span);
		client_key_split(arena_span(&p->arena, pods[i].key), &ns, &name);
		*uid = arena_span(&p->arena, pods[i].uid);
		expect_deletion(p->c, p->key, *uid);
		struct op *o = pass_delete(p, CM_PODS, ns, name, *uid, NULL);
		o->done = on_deleted;
		o->arg = uid;
		o->name = name;
	}
}

static void manage(struct pass *p)
{
	struct rs_pass *s = p->state;
	unsigned n = 0;
	p->then = write_status;
	if (s->claims.deleting || !expect_fulfilled(p->c, p->key))
		return;
	struct rs_pod *pods = arena_alloc_n(&p->arena, s->claims.n + 1, sizeof(*pods));
	for (unsigned i = 0; i < s->claims.n; i++) {
		struct entry *e = cm_get_key(p->cm, CM_PODS, s->claims.keys[i]);
		if (e && row_active(e->row))
			pods[n++] = (struct rs_pod){ .key = e->item->key, .uid = e->item->uid, .row = e->row };
	}
	int d = rs_difference(s->wanted, n);
	if (d > 0)
		create_pods(p, (unsigned)d);
	else if (d < 0)
		delete_pods(p, pods, n, (unsigned)-d);
}

static void reconcile(struct pass *p, enum cm_kind kind)
{
	struct entry *e = cm_get_key(p->cm, kind, p->key);
	struct rs_pass *s = arena_new(&p->arena, struct rs_pass);
	if (!e) {
		expect_forget(p->c, p->key);
		return;
	}
	struct arena *a = &p->arena;
	s->kind = kind;
	s->rs = cm_tree(a, kind, e);
	const struct json *spec = tree_get(&s->rs, "spec"), *selector = tree_get(spec, "selector");
	s->wanted = tree_int(spec, "replicas", 1);
	s->min_ready_s = (int32_t)tree_int(spec, "minReadySeconds", 0);
	api_label_selector_of_map(a, tree_meta(tree_get(spec, "template"), "labels"), &s->template_labels);
	s->claims = (struct claims){ .of = kind, .kind = CM_PODS, .uid = tree_meta_span(&s->rs, "uid"), .name = p->name, .ns = p->ns,
				     .deleting = e->row->deleted_s != 0, .active_only = true };
	if (kind == CM_RCS) {
		api_label_selector_of_map(a, selector, &s->claims.selector);
	} else if (api_label_selector_of(a, selector, &s->claims.selector, NULL) < 0) {
		log_warn("a selector that makes no sense", kv_span("replicaset", p->key));
		return;
	}
	p->state = s;
	claim_all(p, &s->claims, &s->rs, manage);
}

static void rs_reconcile(struct pass *p)
{
	reconcile(p, CM_REPLICA_SETS);
}

static void rc_reconcile(struct pass *p)
{
	reconcile(p, CM_RCS);
}

const struct controller_row cm_replica_set = {
	.name = "replicaset-controller", .watches = BIT(CM_REPLICA_SETS) | BIT(CM_PODS), .event = rs_event, .reconcile = rs_reconcile,
};
const struct controller_row cm_replication_controller = {
	.name = "replicationcontroller-controller", .source = "replication-controller",
	.watches = BIT(CM_RCS) | BIT(CM_REPLICA_SETS) | BIT(CM_PODS), .event = rc_event,
	.reconcile = rc_reconcile,
};
