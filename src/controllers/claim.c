/* Owning by selector: what matches and has no owner is adopted, what is owned and matches no more is released. */
#include "controllers/frame.h"

enum claim claim_of(const struct row *r, struct span owner_uid, bool owner_deleting, bool object_deleting, bool matches)
{
	if (r->owner_uid.len) {
		if (!span_eq(r->owner_uid, owner_uid))
			return CLAIM_NOT;
		if (matches)
			return CLAIM_MINE;
		return owner_deleting ? CLAIM_NOT : CLAIM_RELEASE;
	}
	return matches && !owner_deleting && !object_deleting ? CLAIM_ADOPT : CLAIM_NOT;
}

struct claiming {
	struct claims *c;
	struct json owner;
	struct span *adopt;
	unsigned n_adopt, cap_adopt;
	void (*then)(struct pass *p);
};

static void keep(struct arena *a, struct span **keys, unsigned *n, unsigned *cap, struct span key)
{
	if (*n == *cap) {
		struct span *more = arena_alloc_n(a, *cap ? *cap * 2 : 16, sizeof(*more));
		if (*n)
			memcpy(more, *keys, *n * sizeof(*more));
		*keys = more;
		*cap = *cap ? *cap * 2 : 16;
	}
	(*keys)[(*n)++] = arena_span(a, key);
}

static bool on_adopted(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct claims *c = o->arg;
	if (!why)
		keep(&p->arena, &c->keys, &c->n, &c->cap, o->name);
	/* Gone, or another object by now: nothing to adopt any more. */
	return why && (why->class == ERR_NOT_FOUND || why->class == ERR_INVALID);
}

static bool on_released(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	return why && (why->class == ERR_NOT_FOUND || why->class == ERR_INVALID);
}

static void adopt(struct pass *p)
{
	struct claiming *k = p->claiming;
	struct claims *c = k->c;
	struct arena *a = &p->arena;
	p->then = k->then;
	for (unsigned i = 0; i < k->n_adopt; i++) {
		struct span ns, name;
		struct entry *e = cm_get_key(p->cm, c->kind, k->adopt[i]);
		struct json patch = json_object(), owners = json_array();
		if (!e || e->row->owner_uid.len)
			continue;
		client_key_split(k->adopt[i], &ns, &name);
		struct json *meta = tree_at(a, &patch, "metadata");
		tree_set(a, meta, "uid", json_str(arena_span(a, e->item->uid)));
		(void)json_push(a, &owners, tree_owner(a, c->of, &k->owner, true));
		tree_set(a, meta, "ownerReferences", owners);
		if (c->finalizer.len) {
			struct json finalizers = json_array();
			(void)json_push(a, &finalizers, json_str(c->finalizer));
			tree_set(a, meta, "finalizers", finalizers);
		}
		struct op *o = pass_strategic(p, c->kind, ns, name, NULL, &patch);
		o->done = on_adopted;
		o->arg = c;
		o->name = k->adopt[i];
	}
}

/* Only an owner that the server itself says is there and stays may adopt (upstream's canAdoptFunc). */
static bool on_looked(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct claiming *k = o->arg;
	struct claims *c = k->c;
	bool same = !why && span_eq(tree_meta_span(answer, "uid"), c->uid);
	if (why && why->class != ERR_NOT_FOUND)
		return false;
	if (same && !tree_meta_span(answer, "deletionTimestamp").len)
		p->then = adopt;
	return true;
}

void claim_all(struct pass *p, struct claims *c, const struct json *owner, void (*then)(struct pass *p))
{
	struct arena *a = &p->arena;
	struct claiming *k = arena_new(a, struct claiming);
	*k = (struct claiming){ .c = c, .owner = *owner, .then = then };
	p->claiming = k;
	p->then = then;
	p->mode = PASS_PARALLEL;
	struct list *lists[] = { cm_index(p->cm, c->kind, CM_BY_OWNER, c->uid), cm_orphans(p->cm, c->kind, c->ns) };
	for (unsigned i = 0; i < ARRAY_LEN(lists); i++) {
		LIST_EACH(lists[i], e, struct entry, in[CM_BY_OWNER].link) {
			if (c->active_only && !row_active(e->row))
				continue;
			bool matches = api_label_selector_match_set(&c->selector, &e->row->labels);
			switch (claim_of(e->row, c->uid, c->deleting, e->row->deleted_s != 0, matches)) {
			case CLAIM_MINE: keep(a, &c->keys, &c->n, &c->cap, e->item->key); break;
			case CLAIM_ADOPT: keep(a, &k->adopt, &k->n_adopt, &k->cap_adopt, e->item->key); break;
			case CLAIM_RELEASE: {
				struct json patch = json_object(), owners = json_array(), ref = json_object();
				struct json *meta = tree_at(a, &patch, "metadata");
				tree_set(a, meta, "uid", json_str(arena_span(a, e->item->uid)));
				tree_set_cstr(a, &ref, "$patch", "delete");
				tree_set(a, &ref, "uid", json_str(c->uid));
				(void)json_push(a, &owners, ref);
				tree_set(a, meta, "ownerReferences", owners);
				pass_strategic(p, c->kind, e->item->ns, e->item->name, NULL, &patch)->done = on_released;
				break;
			}
			case CLAIM_NOT: break;
			}
		}
	}
	if (k->n_adopt) {
		struct op *o = pass_get(p, c->of, c->ns, c->name);
		o->done = on_looked;
		o->arg = k;
	}
}
