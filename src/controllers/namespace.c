/* Namespaces that are being deleted: pods first, then everything else, then the finalizer.
 *
 *     pods? ──> deleted, wait ──> each kind: list ──> what is there is deleted ──> list again ──> nothing: finalized
 *                                                                               └> something: conditions, look again later
 *
 * Kinds come from discovery; pods go first so that no policy or configuration goes away under a running one (upstream's
 * OrderedNamespaceDeletion). */
#include "controllers/discovery.h"

#define LOOK_AGAIN_MS 2000
#define AS_LIST "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

struct remains {
	const struct served *kind; /* of this pass's copy */
	unsigned n;                /* found by the last list */
	bool asked;                /* its deletion was asked for */
};
struct finalizer_count {
	struct span name;
	unsigned n;
};
struct namespace_pass {
	struct json ns;
	struct served *kinds;
	struct remains *all;
	unsigned n;
	bool pods_only, whole;
	struct finalizer_count finalizers[32];
	unsigned n_finalizers;
	struct span failure;
	struct json conditions;
};

static void event(struct controller *c, const struct change *ch)
{
	if (ch->kind == CM_NAMESPACES) {
		if (ch->what != CHANGE_REMOVED && ch->e->row->deleted_s)
			cm_add(c, ch->e->item->key);
		return;
	}
	/* A pod is gone: perhaps the last one. */
	struct entry *ns = cm_get_key(c->cm, CM_NAMESPACES, ch->e->item->ns);
	if (ch->what == CHANGE_REMOVED && ns && ns->row->deleted_s &&
	    list_empty(cm_index(c->cm, CM_PODS, CM_BY_NS, ch->e->item->ns)))
		cm_add(c, ch->e->item->ns);
}

static void count_finalizers(struct namespace_pass *s, const struct json *item)
{
	JSON_EACH_ITEM(tree_meta(item, "finalizers"), f) {
		unsigned i = 0;
		while (i < s->n_finalizers && !span_eq(s->finalizers[i].name, json_span(f)))
			i++;
		if (i == ARRAY_LEN(s->finalizers))
			return;
		if (i == s->n_finalizers)
			s->finalizers[s->n_finalizers++] = (struct finalizer_count){ .name = json_span(f) };
		s->finalizers[i].n++;
	}
}

static bool on_list(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct namespace_pass *s = p->state;
	struct remains *r = o->arg;
	r->n = 0;
	if (why && (why->class == ERR_NOT_FOUND || why->class == ERR_METHOD_NOT_ALLOWED))
		return true; /* its kind is gone, or it cannot be listed after all */
	if (why) {
		if (!s->failure.len)
			s->failure = arena_span(&p->arena, span_of(err_msg(why)));
		r->n = 1;
		return true;
	}
	JSON_EACH_ITEM(tree_get(answer, "items"), item) {
		r->n++;
		count_finalizers(s, item);
	}
	r->n += (unsigned)tree_int(tree_get(answer, "metadata"), "remainingItemCount", 0);
	return true;
}

static bool on_deleted(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct namespace_pass *s = p->state;
	if (why && why->class != ERR_NOT_FOUND && why->class != ERR_METHOD_NOT_ALLOWED && !s->failure.len)
		s->failure = arena_span(&p->arena, span_of(err_msg(why)));
	return true;
}

static bool is_pods(const struct served *k)
{
	return !k->kind.group.len && span_is(k->kind.plural, "pods");
}

static struct span path_of(struct pass *p, const struct served *k)
{
	auto_buf struct buf path = {};
	client_path(&path, &k->kind, p->name, SPAN_EMPTY, NULL);
	return arena_span(&p->arena, buf_span(&path));
}

static void list_all(struct pass *p, bool again)
{
	struct namespace_pass *s = p->state;
	s->n_finalizers = 0;
	for (unsigned i = 0; i < s->n; i++) {
		struct remains *r = &s->all[i];
		if ((s->pods_only && !is_pods(r->kind)) || (again && !r->asked))
			continue;
		struct op *o = pass_send(p, "GET", arena_printf(&p->arena, "%.*s?limit=500", SPAN_ARG(path_of(p, r->kind))), NULL, NULL);
		o->accept = AS_LIST;
		o->done = on_list;
		o->arg = r;
	}
}

/* [conditionUpdater] What is left, in upstream's words. */
static void write_conditions(struct pass *p)
{
	struct namespace_pass *s = p->state;
	struct arena *a = &p->arena;
	auto_buf struct buf remain = {}, finalizers = {};
	unsigned left = 0;
	for (unsigned i = 0; i < s->n; i++) {
		const struct remains *r = &s->all[i];
		if (!r->n)
			continue;
		left++;
		buf_printf(&remain, "%s%.*s.%.*s has %u resource instances", remain.len ? ", " : "", SPAN_ARG(r->kind->kind.plural),
			   SPAN_ARG(r->kind->kind.group), r->n);
	}
	for (unsigned i = 0; i < s->n_finalizers; i++)
		buf_printf(&finalizers, "%s%.*s in %u resource instances", finalizers.len ? ", " : "",
			   SPAN_ARG(s->finalizers[i].name), s->finalizers[i].n);
	const struct json *status = tree_get(&s->ns, "status");
	struct json next = json_copy(a, status && status->kind == JSON_OBJECT ? status : &(struct json){ .kind = JSON_OBJECT });
	struct json list = json_is(tree_get(&next, "conditions"), JSON_ARRAY) ? *tree_get(&next, "conditions") : json_array();
	const struct {
		const char *type;
		bool bad;
		const char *bad_reason, *good_reason;
		struct span bad_words, good_words;
	} rows[] = {
		{ "NamespaceDeletionDiscoveryFailure", !s->whole, "DiscoveryFailed", "ResourcesDiscovered",
		  SPAN("Discovery failed for some groups: the server of an APIService does not answer"),
		  SPAN("All resources successfully discovered") },
		{ "NamespaceDeletionGroupVersionParsingFailure", false, "GroupVersionParsingFailed", "ParsedGroupVersions",
		  SPAN(""), SPAN("All legacy kube types successfully parsed") },
		{ "NamespaceDeletionContentFailure", s->failure.len > 0, "ContentDeletionFailed", "ContentDeleted",
		  arena_printf(a, "Failed to delete all resource types, %u remaining: %.*s", left, SPAN_ARG(s->failure)),
		  SPAN("All content successfully deleted, may be waiting on finalization") },
		{ "NamespaceContentRemaining", left > 0, "SomeResourcesRemain", "ContentRemoved",
		  arena_printf(a, "Some resources are remaining: %.*s", SPAN_ARG(buf_span(&remain))),
		  SPAN("All content successfully removed") },
		{ "NamespaceFinalizersRemaining", s->n_finalizers > 0, "SomeFinalizersRemain", "ContentHasNoFinalizers",
		  arena_printf(a, "Some content in the namespace has finalizers remaining: %.*s", SPAN_ARG(buf_span(&finalizers))),
		  SPAN("All content-preserving finalizers finished") },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		(void)tree_condition(a, &list, rows[i].type, rows[i].bad ? "True" : "False",
				     rows[i].bad ? rows[i].bad_reason : rows[i].good_reason,
				     rows[i].bad ? rows[i].bad_words : rows[i].good_words, p->now_s, NULL);
	tree_set(a, &next, "conditions", list);
	(void)pass_status(p, CM_NAMESPACES, &s->ns, &next);
}

static void finalize(struct pass *p)
{
	struct namespace_pass *s = p->state;
	struct json ns = json_copy(&p->arena, &s->ns), kept = json_array();
	JSON_EACH_ITEM(tree_get(tree_get(&ns, "spec"), "finalizers"), f)
		if (!span_is(json_span(f), "kubernetes"))
			(void)json_push(&p->arena, &kept, *f);
	tree_set_cstr(&p->arena, &ns, "apiVersion", "v1");
	tree_set_cstr(&p->arena, &ns, "kind", "Namespace");
	tree_set(&p->arena, tree_at(&p->arena, &ns, "spec"), "finalizers", kept);
	auto_buf struct buf path = {};
	struct client_kind k = cm_resource(CM_NAMESPACES);
	client_path(&path, &k, SPAN_EMPTY, p->name, "finalize");
	pass_send(p, "PUT", buf_span(&path), &ns, NULL)->fine = ERR_NOT_FOUND;
}

static void look_at_rest(struct pass *p);

static void judge(struct pass *p)
{
	struct namespace_pass *s = p->state;
	unsigned left = 0;
	for (unsigned i = 0; i < s->n; i++)
		left += s->all[i].n;
	if (!left && !s->failure.len && s->pods_only) {
		s->pods_only = false;
		look_at_rest(p);
		return;
	}
	if (!left && !s->failure.len && s->whole) {
		finalize(p);
		return;
	}
	write_conditions(p);
	pass_after(p, LOOK_AGAIN_MS);
}

static void list_again(struct pass *p)
{
	struct namespace_pass *s = p->state;
	bool any = false;
	for (unsigned i = 0; i < s->n; i++)
		any |= s->all[i].asked;
	if (!any) {
		judge(p);
		return;
	}
	list_all(p, true);
	p->then = judge;
}

static void delete_found(struct pass *p)
{
	struct namespace_pass *s = p->state;
	struct json options = json_object();
	tree_set_cstr(&p->arena, &options, "apiVersion", "v1");
	tree_set_cstr(&p->arena, &options, "kind", "DeleteOptions");
	tree_set_cstr(&p->arena, &options, "propagationPolicy", "Background");
	for (unsigned i = 0; i < s->n; i++) {
		struct remains *r = &s->all[i];
		r->asked = r->n > 0;
		if (!r->asked)
			continue;
		if (!(r->kind->verbs & SERVES_DELETECOLLECTION)) {
			s->failure = arena_printf(&p->arena, "%.*s cannot be deleted as a collection", SPAN_ARG(r->kind->key));
			continue;
		}
		pass_send(p, "DELETE", path_of(p, r->kind), &options, NULL)->done = on_deleted;
	}
	p->then = list_again;
}

static void look_at_rest(struct pass *p)
{
	list_all(p, false);
	p->then = delete_found;
}

static void reconcile(struct pass *p)
{
	struct entry *e = cm_get_key(p->cm, CM_NAMESPACES, p->key);
	const struct served_list *list = discovery_list(p->cm->discovery);
	struct arena *a = &p->arena;
	if (!e || !e->row->deleted_s)
		return;
	if (!list) {
		pass_after(p, 500);
		return;
	}
	struct namespace_pass *s = arena_new(a, struct namespace_pass);
	p->state = s;
	s->ns = cm_tree(a, CM_NAMESPACES, e);
	s->whole = list->whole;
	s->pods_only = true;
	if (!tree_has_text(tree_get(tree_get(&s->ns, "spec"), "finalizers"), SPAN("kubernetes")))
		return;
	/* Discovery may change between two steps: what we go by is our own. */
	s->kinds = arena_alloc_n(a, list->n + 1, sizeof(*s->kinds));
	s->all = arena_alloc_n(a, list->n + 1, sizeof(*s->all));
	for (unsigned i = 0; i < list->n; i++) {
		const struct served *k = &list->items[i];
		if (!k->kind.namespaced || (k->verbs & (SERVES_DELETE | SERVES_LIST)) != (SERVES_DELETE | SERVES_LIST))
			continue;
		s->kinds[s->n] = (struct served){ .key = arena_span(a, k->key), .verbs = k->verbs,
						  .kind = { arena_span(a, k->kind.group), arena_span(a, k->kind.version),
							    arena_span(a, k->kind.plural), true } };
		s->all[s->n] = (struct remains){ .kind = &s->kinds[s->n] };
		s->n++;
	}
	look_at_rest(p);
}

static void discovered(struct controller *c)
{
}

const struct controller_row cm_namespace = {
	.name = "namespace-controller", .watches = BIT(CM_NAMESPACES) | BIT(CM_PODS), .event = event, .reconcile = reconcile,
	.workers = 10, .discovered = discovered,
};
