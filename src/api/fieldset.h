/* Sets of field paths, as server-side apply keeps them (FieldsV1). Part of the seam of api.
 *
 * A path is a list of elements: a field (f:), an item of a list by its keys (k:), by its value (v:) or by its index (i:). A set
 * is a tree, its entries sorted in the order in which they are printed. Sets are immutable once made, live in an arena, and
 * share parts with the sets they were made from. */
#pragma once

#include "base/base.h"
#include "json/json.h"

enum api_pe_kind { API_PE_FIELD, API_PE_KEY, API_PE_VALUE, API_PE_INDEX };
struct api_pe {
	enum api_pe_kind kind;
	struct span field;  /* FIELD */
	struct json value;  /* KEY: an object, members sorted by name; VALUE: a scalar; INDEX: an integer */
};

struct api_fieldset;
struct api_fieldset_entry {
	struct api_pe pe;
	bool member;                      /* the path that ends here is in the set */
	const struct api_fieldset *below; /* longer paths; NULL when none */
};
struct api_fieldset {
	unsigned n, cap;
	struct api_fieldset_entry *entries;
};
extern const struct api_fieldset api_fieldset_empty;

static inline bool api_fieldset_is_empty(const struct api_fieldset *s) /* accepts NULL */
{
	return !s || s->n == 0;
}

/* From a FieldsV1 object. Unknown kinds of elements are skipped, as upstream. Class INVALID. */
int api_fieldset_parse(struct arena *a, const struct json *fields_v1, const struct api_fieldset **out, struct err *err);
/* As a FieldsV1 object; keys in the arena. */
struct json api_fieldset_json(struct arena *a, const struct api_fieldset *s);

const struct api_fieldset *api_fieldset_union(struct arena *a, const struct api_fieldset *x, const struct api_fieldset *y);
const struct api_fieldset *api_fieldset_intersection(struct arena *a, const struct api_fieldset *x,
						     const struct api_fieldset *y);
/* Without the paths of y. recursive: also without everything below a path of y. */
const struct api_fieldset *api_fieldset_difference(struct arena *a, const struct api_fieldset *x, const struct api_fieldset *y,
						   bool recursive);
bool api_fieldset_equal(const struct api_fieldset *x, const struct api_fieldset *y);
const struct api_fieldset_entry *api_fieldset_find(const struct api_fieldset *s, const struct api_pe *pe);
unsigned api_fieldset_size(const struct api_fieldset *s); /* number of paths */

/* Paths as text: .spec.containers[name="a"].image, each given to fn; elements before the last are in prefix. */
void api_fieldset_each(const struct api_fieldset *s, void (*fn)(void *arg, struct span path), void *arg);
void api_pe_print(const struct api_pe *pe, struct buf *out);
/* Upstream's order: fields, keys, values, indices; numbers before strings before booleans. */
int api_pe_cmp(const struct api_pe *x, const struct api_pe *y);

/* ---- building: a set that only its builder has seen may be changed. */
struct api_path { /* a path from its end upwards */
	const struct api_path *up;
	struct api_pe pe;
};
struct api_fieldset *api_fieldset_new(struct arena *a);
/* Inserts the path (NULL: the root, which is no member). All sets on the way must be the builder's own. */
void api_fieldset_insert(struct arena *a, struct api_fieldset *s, const struct api_path *path);
