/* Strategic merge patch: merging by the schema's strategies and merge keys. Part of the seam of api.
 *
 *     api_smp_apply(&arena, type, &object, &patch, err)
 *     api_smp_diff(&arena, type, &original, &modified, &patch, err)
 *     api_smp_diff_three(&arena, type, last_applied, &modified, &current, true, &patch, err)       kubectl apply
 *
 * Directives: $patch: replace | delete | merge in objects and list items, $retainKeys, $setElementOrder/<field>,
 * $deleteFromPrimitiveList/<field>. Results, the order of lists included, and error texts are those of
 * k8s.io/apimachinery/pkg/util/strategicpatch. Merge keys are the schema's patchMergeKey (service ports: port alone).
 *
 * The object is changed in place; on failure it is half changed: patch a copy, or throw it away. It never shares
 * children with the patch, which stays as it was. */
#pragma once

#include "api/schema.h"
#include "json/json.h"

/* t: the object's built-in type (custom resources have no strategic merge patch). Class INVALID_REQUEST. */
int api_smp_apply(struct arena *a, const struct api_type *t, struct json *object, const struct json *patch, struct err *err);

/* Making patches. Documents are not changed; the patch lives in the arena, shares nothing with them and has its members in
 * order. An empty object: nothing to do. Class INVALID_REQUEST with upstream's words: a list to be merged whose items lack the
 * merge key, or an object or list that differs in a field that the type does not have. original may be NULL: empty.
 *
 * Items of one merge key (ports 53 of UDP and TCP) are paired by their place among each other, as upstream does it for lists
 * of up to 12 items; applied, such a patch gives what upstream's gives. */
int api_smp_diff(struct arena *a, const struct api_type *t, const struct json *original, const struct json *modified,
		 struct json *out_patch, struct err *err);
/* What takes `current` to `modified`, where only what `original` had may be deleted. overwrite false: STALE when modified and
 * current both changed something of original, differently. */
int api_smp_diff_three(struct arena *a, const struct api_type *t, const struct json *original, const struct json *modified,
		       const struct json *current, bool overwrite, struct json *out_patch, struct err *err);
