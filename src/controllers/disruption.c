/* PodDisruptionBudgets: how many pods may be evicted now.
 *
 *     pods ──> owners: how many they want (caches; of other kinds their scale) ──> status
 *
 * An eviction takes one disruption off the status and notes the pod in disruptedPods; here it is counted as gone until its
 * deletion is seen, or two minutes have passed. The status is written under the version that it was reckoned from, so that no
 * eviction in between is lost. What cannot be reckoned lets nothing go, and says why.
 *
 * A second kind of key, "~ns/name", is a pod with condition DisruptionTarget: one that nobody deletes after all loses it. */
#include "controllers/disruption_plan.h"

#include "controllers/discovery.h"

#define OWNERS_MAX 10000 /* of the pods of one budget */

struct owner {
	struct span uid, api_version, kind, name;
	struct span top; /* uid of whose scale it is: of a ReplicaSet's Deployment, else its own */
	int64_t scale;
};
struct disruption_pass {
	struct json budget;
	struct disruption_pod *pods;
	struct owner *owners;
	unsigned n, n_owners, n_unmanaged;
	struct span failure; /* why it cannot be reckoned */
};

static struct span pod_key(struct buf *out, const struct entry *e)
{
	buf_printf(out, "~%.*s", SPAN_ARG(e->item->key));
	return buf_span(out);
}

/* Budgets of the namespace that select a pod with these labels. */
static void add_budgets(struct controller *c, const struct entry *pod, const struct api_label_set *labels)
{
	LIST_EACH(cm_index(c->cm, CM_PDBS, CM_BY_NS, pod->item->ns), b, struct entry, in[CM_BY_NS].link) {
		auto_arena struct arena a = {};
		struct json budget = cm_tree(&a, CM_PDBS, b);
		struct api_label_selector sel;
		if (api_label_selector_of(&a, tree_get(tree_get(&budget, "spec"), "selector"), &sel, NULL) == 0 &&
		    api_label_selector_match_set(&sel, labels))
			cm_add(c, b->item->key);
	}
}

static void event(struct controller *c, const struct change *ch)
{
	if (ch->kind == CM_PDBS)
		cm_add(c, ch->e->item->key);
	if (ch->kind != CM_PODS)
		return;
	add_budgets(c, ch->e, &ch->e->row->labels);
	if (ch->what == CHANGE_CHANGED && !row_same_labels(ch->old_row, ch->e->row))
		add_budgets(c, ch->e, &ch->old_row->labels);
	if (ch->what != CHANGE_REMOVED && !ch->e->row->deleted_s && span_has(bytes_span(ch->e->item->json), SPAN("DisruptionTarget"))) {
		auto_buf struct buf key = {};
		cm_add(c, pod_key(&key, ch->e));
	}
}

/* ---- how many pods there are to be ---- */

static void fail(struct pass *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct pass *p, const char *fmt, ...)
{
	struct disruption_pass *s = p->state;
	auto_buf struct buf words = {};
	va_list ap;
	if (s->failure.len)
		return;
	va_start(ap, fmt);
	buf_vprintf(&words, fmt, ap);
	va_end(ap);
	s->failure = arena_span(&p->arena, buf_span(&words));
}

static int64_t wanted(struct arena *a, enum cm_kind kind, const struct entry *e)
{
	struct json object = cm_tree(a, kind, e);
	return tree_int(tree_get(&object, "spec"), "replicas", 1);
}

/* The owner as the caches know it: 1: found, its scale set; 0: of another kind; negative: of a kind of ours, and not there. */
static int look_up(struct pass *p, struct owner *o)
{
	static const enum cm_kind kinds[] = { CM_REPLICA_SETS, CM_RCS, CM_STATEFUL_SETS };
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!span_is(o->kind, cm_kinds[kinds[i]].kind) || !span_is(o->api_version, cm_kinds[kinds[i]].api_version))
			continue;
		struct entry *e = cm_get(p->cm, kinds[i], p->ns, o->name), *above;
		if (!e || !span_eq(e->item->uid, o->uid))
			return -ERR_NOT_FOUND;
		if (kinds[i] == CM_REPLICA_SETS && span_is(e->row->owner_kind, "Deployment")) {
			above = cm_owner(p->c, CM_DEPLOYMENTS, e, e->row);
			if (!above)
				return -ERR_NOT_FOUND;
			o->top = arena_span(&p->arena, above->item->uid);
			o->scale = wanted(&p->arena, CM_DEPLOYMENTS, above);
			return 1;
		}
		o->scale = wanted(&p->arena, kinds[i], e);
		return 1;
	}
	return 0;
}

static bool on_scale(struct pass *p, struct op *op, const struct err *why, const struct json *answer)
{
	struct owner *o = op->arg;
	if (!why) {
		o->scale = tree_int(tree_get(answer, "spec"), "replicas", 0);
		return true;
	}
	if (why->class != ERR_NOT_FOUND)
		fail(p, "%s", err_msg(why));
	else
		fail(p, "%.*s does not implement the scale subresource", SPAN_ARG(op->name));
	return true;
}

/* An owner of a kind that no cache has: its scale is asked for. */
static void ask(struct pass *p, struct owner *o)
{
	const struct served *k = discovery_find(p->cm->discovery, o->api_version, o->kind);
	auto_buf struct buf path = {};
	if (!k) {
		fail(p, "no matches for kind \"%.*s\" in version \"%.*s\"", SPAN_ARG(o->kind), SPAN_ARG(o->api_version));
		return;
	}
	client_path(&path, &k->kind, p->ns, o->name, "scale");
	struct op *op = pass_send(p, "GET", buf_span(&path), NULL, NULL);
	op->name = arena_printf(&p->arena, "%.*s%s%.*s", SPAN_ARG(k->kind.plural), k->kind.group.len ? "." : "",
				SPAN_ARG(k->kind.group));
	op->done = on_scale;
	op->arg = o;
}

/* Of the first n. */
static bool owner_known(const struct disruption_pass *s, unsigned n, struct span uid, struct span top)
{
	for (unsigned i = 0; i < n; i++)
		if (uid.len ? span_eq(s->owners[i].uid, uid) : span_eq(s->owners[i].top, top))
			return true;
	return false;
}

/* ---- the status ---- */

static void write_status(struct pass *p)
{
	struct disruption_pass *s = p->state;
	struct client_object_ref ref = cm_ref(CM_PDBS, &s->budget);
	auto_err struct err err = ERR_INIT;
	int64_t scale = 0, expected, desired, again_s;
	struct json status;
	for (unsigned i = 0; i < s->n_owners; i++)
		if (!owner_known(s, i, SPAN_EMPTY, s->owners[i].top)) /* sets of one Deployment count once */
			scale += s->owners[i].scale;
	if (!s->failure.len && disruption_expect(&s->budget, s->n, scale, &expected, &desired, &err) < 0)
		fail(p, "%s", err_msg(&err));
	if (s->failure.len) {
		pass_event(p, &ref, "Warning", "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %.*s",
			   SPAN_ARG(s->failure));
		status = disruption_failed(&p->arena, &s->budget, s->failure, p->now_s);
		(void)pass_status(p, CM_PDBS, &s->budget, &status);
		return;
	}
	if (s->n_unmanaged) {
		auto_buf struct buf selector = {};
		disruption_selector(&selector, tree_get(tree_get(&s->budget, "spec"), "selector"));
		pass_event(p, &ref, "Warning", "UnmanagedPods",
			   "Pods selected by this PodDisruptionBudget (selector: %s) were found to be unmanaged. As a result, the status "
			   "of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods "
			   "please set \".spec.minAvailable\" field of the PDB to an integer value.",
			   buf_cstr(&selector));
	}
	status = disruption_status(&p->arena, &s->budget, s->pods, s->n, expected, desired, p->now_s, &again_s);
	for (unsigned i = 0; i < s->n; i++) {
		struct entry *e = s->pods[i].late ? cm_get(p->cm, CM_PODS, p->ns, s->pods[i].name) : NULL;
		if (!e)
			continue;
		struct json pod = cm_tree(&p->arena, CM_PODS, e);
		struct client_object_ref of = cm_ref(CM_PODS, &pod);
		pass_event(p, &of, "Warning", "NotDeleted", "Pod was expected by PDB %.*s/%.*s to be deleted but it wasn't",
			   SPAN_ARG(p->ns), SPAN_ARG(p->name));
	}
	(void)pass_status(p, CM_PDBS, &s->budget, &status);
	if (again_s)
		pass_after(p, MAX(again_s + 1 - p->now_s, (int64_t)1) * 1000);
}

static void take_owner(struct pass *p, const struct entry *e)
{
	struct disruption_pass *s = p->state;
	if (!e->row->owner_uid.len) {
		s->n_unmanaged++;
		return;
	}
	struct json pod = cm_tree(&p->arena, CM_PODS, e);
	struct owner o = { .scale = 0 };
	JSON_EACH_ITEM(tree_meta(&pod, "ownerReferences"), ref)
		if (tree_bool(ref, "controller", false))
			o = (struct owner){ .uid = tree_span(ref, "uid"), .api_version = tree_span(ref, "apiVersion"),
					    .kind = tree_span(ref, "kind"), .name = tree_span(ref, "name") };
	if (owner_known(s, s->n_owners, o.uid, SPAN_EMPTY))
		return;
	if (s->n_owners == OWNERS_MAX) {
		fail(p, "more than %d owners of pods", OWNERS_MAX);
		return;
	}
	struct owner *kept = &s->owners[s->n_owners++];
	o.top = o.uid;
	*kept = o;
	int rc = look_up(p, kept);
	if (rc < 0)
		fail(p, "found no controllers for pod \"%.*s\"", SPAN_ARG(e->item->name));
	else if (rc == 0)
		ask(p, kept);
}

static void reconcile_stale(struct pass *p)
{
	struct entry *e = cm_get(p->cm, CM_PODS, span_from(p->ns, 1), p->name);
	if (!e)
		return;
	struct arena *a = &p->arena;
	struct json pod = cm_tree(a, CM_PODS, e), status;
	int64_t in_s = disruption_stale_in(&pod, p->now_s);
	if (in_s > 0)
		pass_after(p, in_s * 1000);
	if (in_s)
		return;
	status = json_copy(a, tree_get(&pod, "status"));
	(void)tree_condition(a, json_getl(&status, "conditions"), "DisruptionTarget", "False", "", SPAN_EMPTY, p->now_s, NULL);
	(void)pass_status(p, CM_PODS, &pod, &status);
}

static void reconcile(struct pass *p)
{
	if (span_starts(p->ns, SPAN("~"))) {
		reconcile_stale(p);
		return;
	}
	struct entry *budget = cm_get_key(p->cm, CM_PDBS, p->key);
	struct arena *a = &p->arena;
	struct disruption_pass *s = arena_new(a, struct disruption_pass);
	struct api_label_selector sel;
	unsigned cap = 0;
	if (!budget)
		return;
	p->state = s;
	s->budget = cm_tree(a, CM_PDBS, budget);
	bool asks = disruption_asks_scale(&s->budget);
	if (asks && !discovery_list(p->cm->discovery)) {
		pass_after(p, 100);
		return;
	}
	auto_err struct err err = ERR_INIT;
	if (api_label_selector_of(a, tree_get(tree_get(&s->budget, "spec"), "selector"), &sel, &err) < 0) {
		fail(p, "%s", err_msg(&err));
		write_status(p);
		return;
	}
	struct list *pods = cm_index(p->cm, CM_PODS, CM_BY_NS, p->ns);
	LIST_EACH(pods, e, struct entry, in[CM_BY_NS].link)
		cap++;
	s->pods = arena_alloc_n(a, cap + 1, sizeof(*s->pods));
	s->owners = arena_alloc_n(a, MIN(cap, (unsigned)OWNERS_MAX) + 1, sizeof(*s->owners));
	LIST_EACH(pods, e, struct entry, in[CM_BY_NS].link) {
		if (!api_label_selector_match_set(&sel, &e->row->labels))
			continue;
		s->pods[s->n++] = (struct disruption_pod){ .name = arena_span(a, e->item->name), .ready = e->row->ready,
							   .deleted = e->row->deleted_s != 0 };
		if (asks)
			take_owner(p, e);
	}
	if (!s->n) {
		struct client_object_ref ref = cm_ref(CM_PDBS, &s->budget);
		pass_event(p, &ref, "Normal", "NoPods", "No matching pods found");
	}
	p->then = write_status;
}

/* Kinds may have come, or lost their scale. */
static void discovered(struct controller *c)
{
	size_t pos = 0;
	struct entry *e;
	while ((e = cm_next(c->cm, CM_PDBS, &pos)))
		cm_add(c, e->item->key);
}

const struct controller_row cm_disruption = {
	.name = "disruption-controller", .source = "controllermanager",
	.watches = BIT(CM_PDBS) | BIT(CM_PODS) | BIT(CM_REPLICA_SETS) | BIT(CM_RCS) | BIT(CM_STATEFUL_SETS) | BIT(CM_DEPLOYMENTS),
	.event = event, .reconcile = reconcile, .discovered = discovered,
};
