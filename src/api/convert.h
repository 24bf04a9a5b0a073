/* Resources that are served in several versions from one storage. Part of the seam of api.
 *
 * One version's fields are what is stored; the others are converted when they are read and written:
 *
 *     events      core/v1 (stored)          events.k8s.io/v1: some fields have other names
 *     autoscaling v2 (stored)               v1: the CPU target is a number, all else that v1 lacks lies in annotations
 *                                           autoscaling.alpha.kubernetes.io/{metrics,current-metrics,behavior,conditions}
 *     devices     v1beta1 (stored)          v1beta2: a request's class lies in `exactly`, a device has no `basic`;
 *                                           v1alpha3: capacities are plain quantities. Other kinds of the group have one shape
 *
 * Trees are decoded ones (api/codec.h); new nodes come from the arena. apiVersion and kind are the caller's. What was converted
 * there and back is what it was, but for annotations of that kind that a client had written by hand. Pure functions; any thread. */
#pragma once

#include "api/resource.h"
#include "json/json.h"

/* Are stored objects to be converted before they are shown as res? False: their bytes, but for apiVersion and kind, are res'. */
bool api_converts(const struct api_resource *res);
/* The type of what is stored for res: res->type unless it converts. */
const struct api_type *api_storage_type(const struct api_resource *res);
/* False when object is stored as it is; else *out is what is stored, a deep copy. */
bool api_to_storage(struct arena *a, const struct api_resource *res, const struct json *object, struct json *out);
/* Between served versions, for managed fields (api_ssa.convert): *out is object, which is in apiVersion `from`, as one in `to`; its
 * type. NULL when one of them is none of res' versions that differ, or both are the same. */
const struct api_type *api_convert_versions(struct arena *a, const struct api_resource *res, struct span from, struct span to,
					    const struct json *object, struct json *out);
/* In place. */
void api_from_storage(struct arena *a, const struct api_resource *res, struct json *object);
