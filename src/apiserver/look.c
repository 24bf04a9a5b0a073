#include "apiserver/look.h"

#include "apiserver/object.h"

struct look {
	unsigned refs; /* the slot's, and one of each arena that was told of it; all of one thread */
	struct store_item *item;
	const struct api_resource *res; /* a built-in row: those never go away */
	struct arena arena;
	struct json tree;
};

struct look_cache {
	struct look *slots[LOOK_SLOTS];
};

static void unref(void *arg)
{
	struct look *l = arg;
	if (!l || --l->refs)
		return;
	arena_done(&l->arena);
	store_item_unref(l->item);
	free(l);
}

static struct look **slot_of(struct worker *w, const struct store_item *it)
{
	if (!w->looks)
		w->looks = mem_new(struct look_cache);
	return &w->looks->slots[((uintptr_t)it >> 5) % LOOK_SLOTS];
}

const struct json *look_tree(struct worker *w, struct arena *a, const struct api_resource *r, const struct store_item *it,
			     struct err *err)
{
	bool keep = r->id != API_RESOURCE_CUSTOM && bytes_span(it->value).len <= LOOK_VALUE_MAX;
	struct look **slot = slot_of(w, it), *l = *slot;
	if (!keep || !l || l->item != it || l->res != r) {
		l = mem_new(struct look);
		*l = (struct look){ .refs = 1, .item = store_item_ref(it), .res = r };
		if (object_read(&l->arena, r, bytes_span(it->value), it->rev, &l->tree, err) < 0) {
			unref(l);
			return NULL;
		}
		if (keep) {
			unref(*slot);
			*slot = l;
			l->refs++;
		}
	} else {
		l->refs++;
	}
	arena_defer(a, unref, l);
	return &l->tree;
}

void look_free(struct worker *w)
{
	for (unsigned i = 0; w->looks && i < LOOK_SLOTS; i++)
		unref(w->looks->slots[i]);
	free(w->looks);
	w->looks = NULL;
}
