/* Strategic merge patch: merging by the schema's strategies and merge keys. Part of the seam of api.
 *
 *     api_smp_apply(&arena, type, &object, &patch, err)
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
