/* Deployments: a set for each template, sized by deployment_plan.c; revisions, undo, pause, progress.
 *
 *     claim sets ──> find or make the set of the present template ──> sizes ──> patches one by one ──> status
 *
 * One pass makes one move, as upstream's sync does; what the move leads to comes back as an event. */
#include "controllers/deployment_plan.h"

#define NOTE "deployment.kubernetes.io/"
#define REVISION NOTE "revision"
#define HISTORY NOTE "revision-history"
#define DESIRED NOTE "desired-replicas"
#define MAXIMUM NOTE "max-replicas"
#define ROLLBACK "deprecated.deployment.rollback.to"
#define HISTORY_MAX 2000

struct deployment_pass {
	struct json d, conditions; /* conditions: a copy that is changed */
	struct client_object_ref ref;
	struct claims claims;
	struct json *trees;        /* of the sets, by deployment_rs.at */
	struct deployment_plan plan;
	struct deployment_rs *fresh; /* the set of the present template; NULL: there is none */
	struct span name;          /* of a set that this pass makes */
	int64_t revision;          /* that the Deployment has after this pass; 0: as it is */
	int64_t generation, collisions;
	bool progress;             /* the status tells how a rollout goes */
	bool paused, has_deadline, collided;
	int64_t deadline_s;
	struct span failure;
};

/* ---- events of objects */

static void event(struct controller *c, const struct change *ch)
{
	if (ch->kind == CM_DEPLOYMENTS) {
		cm_add(c, ch->e->item->key);
		return;
	}
	if (ch->kind == CM_REPLICA_SETS) {
		cm_add_owner(c, CM_DEPLOYMENTS, ch);
		if (ch->e->row->owner_uid.len || ch->what == CHANGE_REMOVED)
			return;
		if (ch->what == CHANGE_CHANGED && !ch->old_row->owner_uid.len && row_same_labels(ch->old_row, ch->e->row))
			return;
		LIST_EACH(cm_index(c->cm, CM_DEPLOYMENTS, CM_BY_NS, ch->e->item->ns), o, struct entry, in[CM_BY_NS].link) {
			auto_arena struct arena a = {};
			struct json d = cm_tree(&a, CM_DEPLOYMENTS, o);
			struct api_label_selector sel;
			if (api_label_selector_of(&a, tree_get(tree_get(&d, "spec"), "selector"), &sel, NULL) == 0 && sel.n &&
			    api_label_selector_match_set(&sel, &ch->e->row->labels))
				cm_add(c, o->item->key);
		}
		return;
	}
	/* Recreate waits until the last pod of the old sets is gone or over. */
	if (ch->what == CHANGE_ADDED || (ch->what == CHANGE_CHANGED && ch->old_row->phase == ch->e->row->phase))
		return;
	struct entry *rs = cm_owner(c, CM_REPLICA_SETS, ch->e, ch->e->row);
	struct entry *d = rs ? cm_owner(c, CM_DEPLOYMENTS, rs, rs->row) : NULL;
	if (d && span_has(bytes_span(d->item->json), SPAN("\"Recreate\"")))
		cm_add(c, d->item->key);
}

/* ---- small things */

static int64_t note_int(const struct json *object, const char *key, int64_t otherwise)
{
	int64_t n;
	return span_to_i64(tree_annotation(object, key), &n) ? n : otherwise;
}

static const struct json *condition(const struct deployment_pass *s, const char *type)
{
	return tree_find(&s->conditions, "type", span_of(type));
}

static void drop_condition(struct deployment_pass *s, const char *type)
{
	for (uint32_t i = 0; i < s->conditions.n; i++)
		if (span_is(tree_span(&s->conditions.items[i], "type"), type))
			json_remove_at(&s->conditions, i--);
}

/* [SetDeploymentCondition] is left alone while status and reason stay. */
static void set_condition(struct pass *p, const char *type, const char *status, const char *reason, struct span message)
{
	struct deployment_pass *s = p->state;
	const struct json *was = condition(s, type);
	if (was && span_is(tree_span(was, "status"), status) && span_is(tree_span(was, "reason"), reason))
		return;
	(void)tree_condition(&p->arena, &s->conditions, type, status, reason, message, p->now_s, "lastUpdateTime");
}

/* ---- status */

static int64_t sum(const struct deployment_plan *d, size_t member)
{
	int64_t n = 0;
	for (unsigned i = 0; i < d->n; i++)
		n += *(const int32_t *)((const char *)&d->sets[i] + member);
	return n;
}
#define SUM(d, member) sum(d, offsetof(struct deployment_rs, member))

struct numbers {
	int64_t actual, updated, ready, available;
};

static bool complete(const struct deployment_pass *s, const struct numbers *n)
{
	return n->updated == s->plan.replicas && n->actual == s->plan.replicas && n->available == s->plan.replicas;
}

static struct span told(struct pass *p, const char *how)
{
	struct deployment_pass *s = p->state;
	if (s->fresh)
		return arena_printf(&p->arena, "ReplicaSet \"%.*s\" %s", SPAN_ARG(s->fresh->name), how);
	return arena_printf(&p->arena, "Deployment \"%.*s\" %s", SPAN_ARG(p->name), how);
}

/* [syncRolloutStatus], its conditions */
static void progress(struct pass *p, const struct numbers *now)
{
	struct deployment_pass *s = p->state;
	const struct json *old = tree_get(&s->d, "status");
	const struct json *c = condition(s, "Progressing");
	struct numbers was = { tree_int(old, "replicas", 0), tree_int(old, "updatedReplicas", 0), tree_int(old, "readyReplicas", 0),
			       tree_int(old, "availableReplicas", 0) };
	if (!s->has_deadline) {
		drop_condition(s, "Progressing");
		return;
	}
	struct span reason = tree_span(c, "reason");
	if (now->actual == now->updated && span_is(reason, "NewReplicaSetAvailable"))
		return;
	if (complete(s, now)) {
		set_condition(p, "Progressing", "True", "NewReplicaSetAvailable", told(p, "has successfully progressed."));
	} else if (now->updated > was.updated || now->actual - now->updated < was.actual - was.updated || now->ready > was.ready ||
		   now->available > was.available) {
		/* Written anew each time: the deadline counts from it. */
		struct json kept = JSON_NULL_VALUE;
		if (c && span_is(tree_span(c, "status"), "True") && tree_get(c, "lastTransitionTime"))
			kept = *tree_get(c, "lastTransitionTime");
		drop_condition(s, "Progressing");
		(void)tree_condition(&p->arena, &s->conditions, "Progressing", "True", "ReplicaSetUpdated", told(p, "is progressing."),
				     p->now_s, "lastUpdateTime");
		if (kept.kind == JSON_STRING)
			tree_set(&p->arena, tree_find(&s->conditions, "type", SPAN("Progressing")), "lastTransitionTime", kept);
	} else if (c && !span_is(reason, "NewReplicaSetAvailable") &&
		   (span_is(reason, "ProgressDeadlineExceeded") ||
		    tree_time(tree_get(c, "lastUpdateTime")) + s->deadline_s < p->now_s)) {
		set_condition(p, "Progressing", "False", "ProgressDeadlineExceeded", told(p, "has timed out progressing."));
	}
}

/* [getReplicaFailures] */
static void failures(struct pass *p)
{
	struct deployment_pass *s = p->state;
	const struct json *found = NULL;
	for (unsigned i = 0; i < s->plan.n; i++) {
		const struct deployment_rs *rs = &s->plan.sets[i];
		const struct json *c = tree_find(tree_get(tree_get(&s->trees[rs->at], "status"), "conditions"), "type",
						 SPAN("ReplicaFailure"));
		if (c && (!found || rs->is_new))
			found = c;
	}
	if (found)
		set_condition(p, "ReplicaFailure", arena_cstr(&p->arena, tree_span(found, "status")),
			      arena_cstr(&p->arena, tree_span(found, "reason")), tree_span(found, "message"));
	else
		drop_condition(s, "ReplicaFailure");
}

static void write_status(struct pass *p)
{
	struct deployment_pass *s = p->state;
	struct arena *a = &p->arena;
	struct numbers n = { SUM(&s->plan, actual), s->fresh ? s->fresh->actual : 0, SUM(&s->plan, ready), SUM(&s->plan, available) };
	int64_t unavailable = SUM(&s->plan, to) - n.available;
	if (p->err.class != ERR_NONE && !s->failure.len && !s->collided)
		return;
	if (s->failure.len) {
		set_condition(p, "Progressing", "False", "FailedCreate", s->failure);
	} else if (!s->collided) {
		if (n.available >= (int64_t)s->plan.replicas - s->plan.unavailable)
			set_condition(p, "Available", "True", "MinimumReplicasAvailable",
				      SPAN("Deployment has minimum availability."));
		else
			set_condition(p, "Available", "False", "MinimumReplicasUnavailable",
				      SPAN("Deployment does not have minimum availability."));
		if (s->progress) {
			progress(p, &n);
			failures(p);
		}
	}
	struct json status = json_object(), diff, patch = json_object();
	tree_set_some(a, &status, "observedGeneration", s->generation);
	tree_set_some(a, &status, "replicas", n.actual);
	tree_set_some(a, &status, "updatedReplicas", n.updated);
	tree_set_some(a, &status, "readyReplicas", n.ready);
	tree_set_some(a, &status, "availableReplicas", n.available);
	tree_set_some(a, &status, "unavailableReplicas", unavailable > 0 ? unavailable : 0);
	if (s->conditions.n)
		tree_set(a, &status, "conditions", s->conditions);
	if (s->collisions || tree_get(tree_get(&s->d, "status"), "collisionCount"))
		tree_set_int(a, &status, "collisionCount", s->collisions);
	bool differs = tree_diff(a, tree_get(&s->d, "status"), &status, &diff);
	bool renumbered = s->revision && note_int(&s->d, REVISION, 0) != s->revision;
	if (differs || renumbered) {
		struct json *meta = tree_at(a, &patch, "metadata");
		tree_set_span(a, meta, "uid", s->claims.uid);
		tree_set_span(a, meta, "resourceVersion", tree_meta_span(&s->d, "resourceVersion"));
		if (renumbered)
			tree_set(a, tree_at(a, meta, "annotations"), REVISION,
				 json_str(arena_printf(a, "%lld", (long long)s->revision)));
		tree_set(a, &patch, "status", diff);
		pass_merge(p, CM_DEPLOYMENTS, p->ns, p->name, "status", &patch)->fine = ERR_NOT_FOUND;
	}
	/* [requeueStuckDeployment] nobody tells us that time has passed */
	const struct json *c = condition(s, "Progressing");
	if (!s->progress || !s->has_deadline || !c || complete(s, &n) || span_is(tree_span(c, "reason"), "ProgressDeadlineExceeded"))
		return;
	int64_t left = tree_time(tree_get(c, "lastUpdateTime")) + s->deadline_s - p->now_s;
	pass_after(p, (left > 0 ? left + 1 : 1) * 1000);
}

/* ---- sets */

static struct json notes_of_sizes(struct pass *p)
{
	struct deployment_pass *s = p->state;
	struct json notes = json_object();
	tree_set(&p->arena, &notes, DESIRED, json_str(arena_printf(&p->arena, "%d", s->plan.replicas)));
	tree_set(&p->arena, &notes, MAXIMUM,
		 json_str(arena_printf(&p->arena, "%lld", (long long)s->plan.replicas + s->plan.surge)));
	return notes;
}

/* The Deployment's own annotations that its set gets too. */
static void copy_notes(struct pass *p, const struct json *rs, struct json *notes)
{
	static const char *const ours[] = { "kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MAXIMUM,
					    ROLLBACK };
	struct deployment_pass *s = p->state;
	JSON_EACH_MEMBER(tree_meta(&s->d, "annotations"), m) {
		bool skip = false;
		for (size_t i = 0; i < ARRAY_LEN(ours); i++)
			skip |= span_is(json_key(m), ours[i]);
		const struct json *has = rs ? json_get(tree_meta(rs, "annotations"), json_key(m)) : NULL;
		if (!skip && (!has || !json_equal(has, &m->value)))
			(void)json_set(&p->arena, notes, json_key(m), m->value);
	}
}

static bool on_scaled(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct deployment_pass *s = p->state;
	const struct deployment_rs *rs = o->arg;
	if (!why && rs->to != rs->replicas)
		pass_event(p, &s->ref, "Normal", "ScalingReplicaSet", "Scaled %s replica set %.*s from %d to %d",
			   rs->to > rs->replicas ? "up" : "down", SPAN_ARG(rs->name), rs->replicas, rs->to);
	return false;
}

/* A set's size, the notes that go with it, and what else the present set is to have. */
static void patch_set(struct pass *p, const struct deployment_rs *rs, bool sized, struct json notes, const struct json *min_ready)
{
	struct deployment_pass *s = p->state;
	struct arena *a = &p->arena;
	const struct json *tree = &s->trees[rs->at];
	struct json patch = json_object();
	struct json *meta = tree_at(a, &patch, "metadata");
	if (sized && (rs->noted_desired != s->plan.replicas || rs->noted_max != (int64_t)s->plan.replicas + s->plan.surge)) {
		struct json sizes = notes_of_sizes(p);
		JSON_EACH_MEMBER(&sizes, m)
			(void)json_set(a, &notes, json_key(m), m->value);
	}
	if (!notes.n && !min_ready && rs->to == rs->replicas)
		return;
	tree_set_span(a, meta, "uid", tree_meta_span(tree, "uid"));
	tree_set_span(a, meta, "resourceVersion", tree_meta_span(tree, "resourceVersion"));
	if (notes.n)
		tree_set(a, meta, "annotations", notes);
	if (rs->to != rs->replicas)
		tree_set_int(a, tree_at(a, &patch, "spec"), "replicas", rs->to);
	if (min_ready)
		tree_set(a, tree_at(a, &patch, "spec"), "minReadySeconds", *min_ready);
	struct op *o = pass_merge(p, CM_REPLICA_SETS, p->ns, rs->name, NULL, &patch);
	o->done = on_scaled;
	o->arg = (void *)rs;
}

/* [SetNewReplicaSetAnnotations] of a set that is there already: its number is the newest. */
static struct json renumber(struct pass *p, const struct deployment_rs *rs, int64_t newest)
{
	struct deployment_pass *s = p->state;
	struct arena *a = &p->arena;
	const struct json *tree = &s->trees[rs->at];
	struct json notes = json_object();
	copy_notes(p, tree, &notes);
	if (rs->revision >= newest)
		return notes;
	tree_set(a, &notes, REVISION, json_str(arena_printf(a, "%lld", (long long)newest)));
	if (rs->revision) {
		struct span history = tree_annotation(tree, HISTORY), number = tree_annotation(tree, REVISION), first;
		while (history.len + number.len + 1 > HISTORY_MAX && span_cut(&history, ',', &first))
			;
		tree_set(a, &notes, HISTORY,
			 json_str(history.len ? arena_printf(a, "%.*s,%.*s", SPAN_ARG(history), SPAN_ARG(number)) : number));
	}
	return notes;
}

static bool on_name_taken(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct deployment_pass *s = p->state;
	if (why)
		return false;
	bool ours = false;
	JSON_EACH_ITEM(tree_meta(answer, "ownerReferences"), r)
		ours |= tree_bool(r, "controller", false) && span_eq(tree_span(r, "uid"), s->claims.uid);
	/* Ours of this template: the cache is behind. Anybody else's: another name, by counting the collision. */
	if (!ours || !deployment_same_template(&p->arena, tree_get(tree_get(answer, "spec"), "template"),
					       tree_get(tree_get(&s->d, "spec"), "template"))) {
		s->collisions++;
		s->collided = true;
	}
	p->again = true;
	return true;
}

static void look_at_name(struct pass *p)
{
	struct deployment_pass *s = p->state;
	pass_get(p, CM_REPLICA_SETS, p->ns, s->name)->done = on_name_taken;
	p->then = write_status;
}

static bool on_created(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct deployment_pass *s = p->state;
	if (!why) {
		if (s->fresh->to > 0)
			pass_event(p, &s->ref, "Normal", "ScalingReplicaSet", "Scaled up replica set %.*s from 0 to %d",
				   SPAN_ARG(s->name), s->fresh->to);
		if (s->has_deadline)
			set_condition(p, "Progressing", "True", "NewReplicaSetCreated",
				      arena_printf(&p->arena, "Created new replica set \"%.*s\"", SPAN_ARG(s->name)));
		return true;
	}
	if (why->class == ERR_EXISTS) {
		p->then = look_at_name;
		return true;
	}
	if (why->class == ERR_FORBIDDEN && span_has(span_of(err_msg(why)), SPAN("because it is being terminated")))
		return true;
	if (s->has_deadline)
		s->failure = arena_printf(&p->arena, "Failed to create new replica set \"%.*s\": %s", SPAN_ARG(s->name),
					  err_msg(why));
	pass_event(p, &s->ref, "Warning", "ReplicaSetCreateError", "Failed to create new replica set \"%.*s\": %s", SPAN_ARG(s->name),
		   err_msg(why));
	return false;
}

/* A set of the present template, with as many pods as may be now. */
static void create_set(struct pass *p, int64_t revision)
{
	struct deployment_pass *s = p->state;
	struct arena *a = &p->arena;
	const struct json *spec = tree_get(&s->d, "spec");
	struct span hash = deployment_hash(a, tree_get(spec, "template"), s->collisions);
	struct json rs = json_object(), owners = json_array(), inner = json_object();
	struct json selector = json_copy(a, tree_get(spec, "selector"));
	struct json template = json_copy(a, tree_get(spec, "template"));
	int32_t size = deployment_new_size(&s->plan);
	struct json *labels = tree_at(a, tree_at(a, &template, "metadata"), "labels");
	tree_set(a, labels, "pod-template-hash", json_str(hash));
	tree_set(a, tree_at(a, &selector, "matchLabels"), "pod-template-hash", json_str(hash));
	s->name = arena_printf(a, "%.*s-%.*s", SPAN_ARG(p->name), SPAN_ARG(hash));
	struct json meta = json_object(), notes = notes_of_sizes(p);
	copy_notes(p, NULL, &notes);
	tree_set(a, &notes, REVISION, json_str(arena_printf(a, "%lld", (long long)revision)));
	tree_set(a, &meta, "name", json_str(s->name));
	tree_set(a, &meta, "labels", *labels);
	tree_set(a, &meta, "annotations", notes);
	(void)json_push(a, &owners, tree_owner(a, CM_DEPLOYMENTS, &s->d, true));
	tree_set(a, &meta, "ownerReferences", owners);
	tree_set(a, &rs, "metadata", meta);
	tree_set_int(a, &inner, "replicas", size);
	tree_set_some(a, &inner, "minReadySeconds", tree_int(spec, "minReadySeconds", 0));
	tree_set(a, &inner, "selector", selector);
	tree_set(a, &inner, "template", template);
	tree_set(a, &rs, "spec", inner);
	pass_create(p, CM_REPLICA_SETS, p->ns, &rs)->done = on_created;
	struct deployment_plan *d = &s->plan; /* has room for one more */
	s->fresh = &d->sets[d->n++];
	s->trees[d->n - 1] = rs;
	*s->fresh = (struct deployment_rs){ .name = s->name, .created_s = p->now_s, .replicas = size, .to = size, .is_new = true,
					    .observed = true, .at = d->n - 1, .noted_desired = d->replicas,
					    .noted_max = (int64_t)d->replicas + d->surge };
}

/* [getAllReplicaSetsAndSyncRevision] */
static void sync_revision(struct pass *p, bool create)
{
	struct deployment_pass *s = p->state;
	int64_t newest = 0;
	for (unsigned i = 0; i < s->plan.n; i++)
		if (!s->plan.sets[i].is_new)
			newest = MAX(newest, s->plan.sets[i].revision);
	newest++;
	if (!s->fresh && create) {
		create_set(p, newest);
		s->revision = newest;
	} else if (s->fresh) {
		const struct json *tree = &s->trees[s->fresh->at];
		int64_t wanted = tree_int(tree_get(&s->d, "spec"), "minReadySeconds", 0);
		struct json *min_ready = NULL;
		if (wanted != tree_int(tree_get(tree, "spec"), "minReadySeconds", 0)) {
			min_ready = arena_new(&p->arena, struct json);
			*min_ready = json_int(wanted);
		}
		struct json notes = renumber(p, s->fresh, newest);
		s->revision = MAX(newest, s->fresh->revision);
		if (s->has_deadline && !condition(s, "Progressing"))
			set_condition(p, "Progressing", "True", "FoundNewReplicaSet",
				      arena_printf(&p->arena, "Found new replica set \"%.*s\"", SPAN_ARG(s->fresh->name)));
		if (notes.n || min_ready)
			patch_set(p, s->fresh, false, notes, min_ready);
	}
}

static void apply_sizes(struct pass *p)
{
	struct deployment_pass *s = p->state;
	for (unsigned i = 0; i < s->plan.n; i++)
		if (s->plan.sets[i].to != s->plan.sets[i].replicas)
			patch_set(p, &s->plan.sets[i], true, json_object(), NULL);
}

static void clean(struct pass *p)
{
	struct deployment_pass *s = p->state;
	deployment_clean(&s->plan);
	for (unsigned i = 0; i < s->plan.n; i++)
		if (s->plan.sets[i].doomed)
			pass_delete(p, CM_REPLICA_SETS, p->ns, s->plan.sets[i].name,
				    tree_meta_span(&s->trees[s->plan.sets[i].at], "uid"), NULL);
}

/* ---- undo by annotation */

static bool rollback(struct pass *p)
{
	struct deployment_pass *s = p->state;
	struct arena *a = &p->arena;
	struct span asked = tree_annotation(&s->d, ROLLBACK);
	const struct deployment_rs *to = NULL, *last = NULL, *before = NULL;
	int64_t number;
	struct json patch = json_object();
	if (!asked.len || !span_to_i64(asked, &number))
		return false;
	for (unsigned i = 0; i < s->plan.n; i++) {
		const struct deployment_rs *rs = &s->plan.sets[i];
		if (rs->revision == number && number)
			to = rs;
		if (!last || rs->revision > last->revision) {
			before = last;
			last = rs;
		} else if (!before || rs->revision > before->revision) {
			before = rs;
		}
	}
	if (number == 0)
		to = before;
	struct json *meta = tree_at(a, &patch, "metadata");
	tree_set_span(a, meta, "uid", s->claims.uid);
	tree_set_span(a, meta, "resourceVersion", tree_meta_span(&s->d, "resourceVersion"));
	tree_set(a, tree_at(a, meta, "annotations"), ROLLBACK, JSON_NULL_VALUE);
	if (!to) {
		pass_event(p, &s->ref, "Warning", "DeploymentRollbackRevisionNotFound", "Unable to find %s",
			   number ? "the revision to rollback to." : "last revision.");
	} else {
		const struct json *template = tree_get(tree_get(&s->trees[to->at], "spec"), "template");
		const struct json *present = tree_get(tree_get(&s->d, "spec"), "template");
		if (deployment_same_template(a, template, present)) {
			pass_event(p, &s->ref, "Warning", "DeploymentRollbackTemplateUnchanged",
				   "The rollback revision contains the same template as current deployment \"%.*s\"", SPAN_ARG(p->name));
		} else {
			struct json wanted = json_copy(a, template), diff;
			(void)json_remove(tree_at(a, tree_at(a, &wanted, "metadata"), "labels"), SPAN("pod-template-hash"));
			(void)tree_diff(a, present, &wanted, &diff);
			tree_set(a, tree_at(a, &patch, "spec"), "template", diff);
			pass_event(p, &s->ref, "Normal", "DeploymentRollback", "Rolled back deployment \"%.*s\" to revision %lld",
				   SPAN_ARG(p->name), (long long)to->revision);
		}
	}
	pass_merge(p, CM_DEPLOYMENTS, p->ns, p->name, NULL, &patch);
	return true;
}

/* ---- the move */

static bool old_pods_live(struct pass *p)
{
	struct deployment_pass *s = p->state;
	for (unsigned i = 0; i < s->plan.n; i++) {
		const struct deployment_rs *rs = &s->plan.sets[i];
		if (rs->is_new)
			continue;
		if (rs->actual > 0)
			return true;
		LIST_EACH(cm_index(p->cm, CM_PODS, CM_BY_OWNER, tree_meta_span(&s->trees[rs->at], "uid")), e, struct entry,
			  in[CM_BY_OWNER].link)
			if (e->row->phase != POD_SUCCEEDED && e->row->phase != POD_FAILED)
				return true;
	}
	return false;
}

static void recreate(struct pass *p)
{
	struct deployment_pass *s = p->state;
	sync_revision(p, false);
	if (deployment_scale_down_old(&s->plan) || old_pods_live(p)) {
		apply_sizes(p);
		return;
	}
	if (!s->fresh)
		sync_revision(p, true);
	s->fresh->to = s->plan.replicas;
	apply_sizes(p);
}

static bool is_complete(const struct deployment_pass *s)
{
	const struct json *st = tree_get(&s->d, "status");
	const struct numbers n = { tree_int(st, "replicas", 0), tree_int(st, "updatedReplicas", 0), 0,
				   tree_int(st, "availableReplicas", 0) };
	return complete(s, &n) && tree_int(st, "observedGeneration", 0) >= s->generation;
}

static void pause_conditions(struct pass *p)
{
	struct deployment_pass *s = p->state;
	struct span reason = tree_span(condition(s, "Progressing"), "reason");
	if (!s->has_deadline || span_is(reason, "ProgressDeadlineExceeded"))
		return;
	if (s->paused && !span_is(reason, "DeploymentPaused"))
		set_condition(p, "Progressing", "Unknown", "DeploymentPaused", SPAN("Deployment is paused"));
	else if (!s->paused && span_is(reason, "DeploymentPaused"))
		set_condition(p, "Progressing", "Unknown", "DeploymentResumed", SPAN("Deployment is resumed"));
}

static void read_sets(struct pass *p)
{
	struct deployment_pass *s = p->state;
	struct arena *a = &p->arena;
	struct deployment_plan *d = &s->plan;
	s->trees = arena_alloc_n(a, s->claims.n + 1, sizeof(*s->trees));
	d->sets = arena_alloc_n(a, s->claims.n + 1, sizeof(*d->sets));
	for (unsigned i = 0; i < s->claims.n; i++) {
		struct entry *e = cm_get_key(p->cm, CM_REPLICA_SETS, s->claims.keys[i]);
		if (!e)
			continue;
		struct json *t = &s->trees[d->n];
		*t = cm_tree(a, CM_REPLICA_SETS, e);
		const struct json *st = tree_get(t, "status");
		d->sets[d->n] = (struct deployment_rs){
			.name = tree_meta_span(t, "name"), .created_s = e->row->created_s,
			.replicas = (int32_t)tree_int(tree_get(t, "spec"), "replicas", 1),
			.actual = (int32_t)tree_int(st, "replicas", 0), .ready = (int32_t)tree_int(st, "readyReplicas", 0),
			.available = (int32_t)tree_int(st, "availableReplicas", 0), .revision = note_int(t, REVISION, 0),
			.noted_max = note_int(t, MAXIMUM, 0), .noted_desired = note_int(t, DESIRED, -1),
			.observed = tree_int(st, "observedGeneration", 0) >= json_i64(tree_meta(t, "generation"), 0),
			.deleting = e->row->deleted_s != 0, .at = d->n,
		};
		d->n++;
	}
	deployment_prepare(d);
	for (unsigned i = 0; i < d->n && !s->fresh; i++)
		if (deployment_same_template(a, tree_get(tree_get(&s->trees[d->sets[i].at], "spec"), "template"),
					     tree_get(tree_get(&s->d, "spec"), "template")))
			s->fresh = &d->sets[i];
	if (s->fresh)
		s->fresh->is_new = true;
}

static void move(struct pass *p)
{
	struct deployment_pass *s = p->state;
	p->mode = PASS_SERIAL;
	read_sets(p);
	p->then = write_status;
	if (s->claims.deleting)
		return;
	pause_conditions(p);
	if (s->paused || (!tree_annotation(&s->d, ROLLBACK).len && deployment_was_scaled(&s->plan))) {
		sync_revision(p, false);
		deployment_scale(&s->plan);
		for (unsigned i = 0; i < s->plan.n; i++) /* also those whose size stays note what is wanted now */
			if (s->plan.sets[i].to != s->plan.sets[i].replicas || s->plan.sets[i].replicas > 0)
				patch_set(p, &s->plan.sets[i], true, json_object(), NULL);
		if (s->paused && !tree_annotation(&s->d, ROLLBACK).len)
			clean(p);
		return;
	}
	if (rollback(p)) {
		p->then = NULL;
		return;
	}
	s->progress = true;
	if (s->plan.rolling) {
		sync_revision(p, true);
		if (deployment_roll(&s->plan)) {
			apply_sizes(p);
			return;
		}
	} else {
		recreate(p);
	}
	if (is_complete(s))
		clean(p);
}

static void reconcile(struct pass *p)
{
	struct entry *e = cm_get_key(p->cm, CM_DEPLOYMENTS, p->key);
	if (!e)
		return;
	struct arena *a = &p->arena;
	struct deployment_pass *s = arena_new(a, struct deployment_pass);
	p->state = s;
	s->d = cm_tree(a, CM_DEPLOYMENTS, e);
	s->ref = cm_ref(CM_DEPLOYMENTS, &s->d);
	const struct json *spec = tree_get(&s->d, "spec"), *status = tree_get(&s->d, "status"), *strategy = tree_get(spec, "strategy");
	const struct json *rolling = tree_get(strategy, "rollingUpdate"), *limit = tree_get(spec, "revisionHistoryLimit");
	const struct json *conditions = tree_get(status, "conditions");
	s->conditions = json_is(conditions, JSON_ARRAY) ? json_copy(a, conditions) : json_array();
	s->paused = tree_bool(spec, "paused", false);
	s->deadline_s = tree_int(spec, "progressDeadlineSeconds", INT32_MAX);
	s->has_deadline = s->deadline_s != INT32_MAX;
	s->generation = json_i64(tree_meta(&s->d, "generation"), 0);
	s->collisions = tree_int(status, "collisionCount", 0);
	s->plan = (struct deployment_plan){ .replicas = (int32_t)tree_int(spec, "replicas", 1),
					    .rolling = !span_is(tree_span(strategy, "type"), "Recreate"),
					    .history = json_i64(limit, -1) == INT32_MAX ? -1 : json_i64(limit, -1),
					    .status_replicas = (int32_t)tree_int(status, "replicas", 0) };
	if (s->plan.rolling)
		deployment_fenceposts(tree_get(rolling, "maxSurge"), tree_get(rolling, "maxUnavailable"), s->plan.replicas,
				      &s->plan.surge, &s->plan.unavailable);
	s->claims = (struct claims){ .of = CM_DEPLOYMENTS, .kind = CM_REPLICA_SETS, .uid = tree_meta_span(&s->d, "uid"),
				     .name = p->name, .ns = p->ns, .deleting = e->row->deleted_s != 0 };
	int rc = api_label_selector_of(a, tree_get(spec, "selector"), &s->claims.selector, NULL);
	if (rc < 0 || (!s->claims.selector.n && !s->claims.selector.nothing)) {
		pass_event(p, &s->ref, "Warning", "SelectingAll",
			   "This deployment is selecting all pods. A non-empty selector is required.");
		return;
	}
	claim_all(p, &s->claims, &s->d, move);
}

const struct controller_row cm_deployment = {
	.name = "deployment-controller", .watches = BIT(CM_DEPLOYMENTS) | BIT(CM_REPLICA_SETS) | BIT(CM_PODS), .event = event,
	.reconcile = reconcile,
};
