/* Server-side apply and the bookkeeping of field managers. Part of the seam of api.
 *
 *     struct api_ssa s = { .type = t, .api_version = SPAN("apps/v1"), .kind = SPAN("Deployment"), .now = now };
 *     // PATCH with application/apply-patch+yaml
 *     api_ssa_apply(&arena, &s, live, &patch, SPAN("kubectl"), force, &result, err);
 *     // every other write: create (live NULL), update, other patches
 *     api_ssa_update(&arena, &s, live, &object, SPAN("kubectl-create"), err);
 *
 * Behaviour and words are those of k8s.io/apimachinery/pkg/util/managedfields over structured-merge-diff v4: merging by the
 * schema's list and map types, conflicts, force, removal of what a manager no longer applies, entries per (manager, operation,
 * apiVersion, subresource), at most 10 of operation Update (older ones become ancient-changes), before-first-apply,
 * and kubectl's last-applied annotation (conflicts over what it says are taken over; it is kept up to date).
 *
 * Trees are in the version of s; entries of other versions are read as if their fields had the same names, unless s has a
 * `convert`: then what such a manager owns, loses or keeps is found in its own version. Results share children with their inputs.
 * After an apply the caller drops nulls and fills defaults (api_decode_tree). */
#pragma once

#include "api/fieldset.h"
#include "api/resource.h"
#include "json/json.h"

struct api_ssa {
	const struct api_type *type;
	struct span api_version, kind;
	struct span subresource;       /* "" for the object itself */
	const struct span *reset;      /* fields that this endpoint does not take from the request: "status", "spec.x" */
	unsigned n_reset;
	int64_t now_unix_s;
	/* *out: object, which is in apiVersion `from`, as one in `to`; the type of that. NULL: field names are the same there, or there
	 * is no such version. May be NULL itself. */
	const struct api_type *(*convert)(struct arena *a, const struct api_resource *resource, struct span from, struct span to,
					  const struct json *object, struct json *out);
	const struct api_resource *resource; /* what convert is asked about */
};

/* live: NULL or an object without uid when it does not exist yet. *out: the new object with its managedFields, as a whole.
 * Classes: INVALID_REQUEST (wrong apiVersion or kind, managedFields in the patch), STALE with causes
 * FieldManagerConflict (Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas), INTERNAL (the patch
 * does not fit the schema: failed to create typed patch object (...): .spec.foo: field not declared in schema). */
int api_ssa_apply(struct arena *a, const struct api_ssa *s, const struct json *live, const struct json *patch,
		  struct span manager, bool force, struct json *out, struct err *err);
/* Sets object's managedFields for a write by manager. It never fails: where the bookkeeping cannot be done the entries go. */
void api_ssa_update(struct arena *a, const struct api_ssa *s, const struct json *live, struct json *object,
		    struct span manager);
/* Moves the fields that a client-side manager owns by Update (kubectl-client-side-apply) to the Apply entry of
 * ssa_manager, which is made if there is none, and drops its entries: what kubectl does at the first --server-side
 * (csaupgrade). Entries of the sub-resource of s only. True when the object changed; an object whose managedFields
 * cannot be read stays as it is. */
bool api_ssa_upgrade(struct arena *a, const struct api_ssa *s, struct json *object, struct span csa_manager,
		     struct span ssa_manager);
/* Field errors of metadata.managedFields as causes of err; their number. */
unsigned api_ssa_validate(const struct json *managed_fields, struct err *err);
