/* Typed walks of server-side apply over trees: what structured-merge-diff calls typed values. Private to api. */
#pragma once

#include "api/fieldset.h"
#include "api/schema.h"

/* Which rules hold at a node: a type's, or those of values without a schema. */
struct ssa_type {
	const struct api_type *type; /* NULL for the other two */
	enum { SSA_TYPED, SSA_DEDUCED, SSA_ATOMIC } mode;
};
static inline struct ssa_type ssa_typed(const struct api_type *t)
{
	return (struct ssa_type){ t, SSA_TYPED };
}

/* Does the tree fit its type: known fields, list keys there and different (unless duplicates_ok)? Class INTERNAL with upstream's
 * words: .spec.foo: field not declared in schema. */
int api_ssa_check(struct arena *a, struct ssa_type t, const struct json *v, bool duplicates_ok, struct err *err);
/* The fields that an applied configuration owns. */
const struct api_fieldset *api_ssa_fields(struct arena *a, struct ssa_type t, const struct json *v);
/* live with applied laid over it; lists by key keep live's order with applied's items in theirs. Shares children with both. */
struct json api_ssa_merge(struct arena *a, struct ssa_type t, const struct json *live, const struct json *applied);
/* v without the paths of the set; a list or object that loses all becomes null. Shares children with v. */
struct json api_ssa_remove(struct arena *a, struct ssa_type t, const struct json *v, const struct api_fieldset *set);
struct ssa_difference {
	const struct api_fieldset *removed, *modified, *added;
};
void api_ssa_compare(struct arena *a, struct ssa_type t, const struct json *from, const struct json *to,
		     struct ssa_difference *out);
/* The set with fields of structs on the way to its paths as members. */
const struct api_fieldset *api_ssa_name_fields(struct arena *a, struct ssa_type t, const struct api_fieldset *set);
/* The set as it must be when lists and objects below have become atomic since it was stored. */
const struct api_fieldset *api_ssa_reconcile(struct arena *a, struct ssa_type t, const struct api_fieldset *set);
/* fieldset.c: the entry of s with that element, made if there is none; s is its builder's own. Valid until the next is made. */
struct api_fieldset_entry *api_fieldset_entry(struct arena *a, struct api_fieldset *s, const struct api_pe *pe);
