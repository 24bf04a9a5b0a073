/* JSON patch (RFC 6902) and JSON merge patch (RFC 7386). Part of the seam of api.
 *
 * Both change a tree in place. On failure the tree is half changed: patch a copy, or throw the tree away. New
 * values come from the arena; values of the patch are copied, so that doc never shares children with it.
 *
 * The behaviour is that of the library in the API server (json-patch v4): indices may be negative, "replace" and "copy" of a
 * member that is not there work with null, what stands before the first '/' of a path is ignored. */
#pragma once

#include "base/base.h"
#include "json/json.h"

struct api_json_patch_limits {
	unsigned ops;      /* most operations; 0 = 10,000 */
	size_t copy_bytes; /* most bytes that copy operations may add; 0 = 3 MB */
};

/* limits may be NULL. Class INVALID_REQUEST: the patch is no list of operations. TOO_LARGE: more than limits->ops of them.
 * INVALID: an operation does not apply, in upstream's words ("testing value /a failed: test failed"); the API
 * server answers that with 422 and the words "the server rejected our request due to an error in our request". */
int api_json_patch(struct arena *a, struct json *doc, const struct json *patch, const struct api_json_patch_limits *limits,
		   struct err *err);
/* Members of operations that are no part of the format: `json patch unknown field "[0].foo"`, into out (in the arena), at most
 * max; returns how many there are. For strict field validation. */
unsigned api_json_patch_unknown(struct arena *a, const struct json *patch, struct span *out, unsigned max);

/* Null removes, objects merge, everything else replaces. Class INVALID_REQUEST, "Invalid JSON Patch", when it is no object. */
int api_merge_patch(struct arena *a, struct json *doc, const struct json *patch, struct err *err);
/* The merge patch that makes to out of from. Both must be objects. Values are shared with `to`. Lists are replaced whole. A null
 * member in `to` cannot be expressed and is left as it is in from. */
struct json api_merge_patch_of(struct arena *a, const struct json *from, const struct json *to);
/* The merge patch of `kubectl apply` for types without a schema here (custom resources): what takes current to modified, where
 * only what original had may be deleted. original may be NULL. Documents are not changed; the patch shares values with modified.
 * STALE: the deletions and the changes contradict each other. */
int api_merge_patch_three(struct arena *a, const struct json *original, const struct json *modified, const struct json *current,
			  struct json *out_patch, struct err *err);
