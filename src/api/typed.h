/* C structs of the types that controllers, scheduler, kubelet, engine and store name field by field. Part of the seam of api.
 *
 * They are generated at build (typed_types.h) from the schema files for the types in schema/typed.list and all that these
 * hold. core/v1.PodSpec is `struct api_core_pod_spec`; versions other than v1 stay in the name (api_autoscaling_v2_...);
 * members are JSON names in snake case (`default_` where C has the word). A typed object lives in an arena for one pass:
 *
 *     struct api_core_pod pod;
 *     if (api_core_pod_decode(&arena, API_FORM_JSON, bytes, &pod, err) < 0) ...
 *     for (uint32_t i = 0; i < pod.spec.containers.n; i++)
 *             use(pod.spec.containers.ptr[i].image);
 *     pod.metadata.labels.ptr[0].key ...                      // maps: pairs in order of their keys, api_pair_get
 *     if (pod.spec.security_context) ...                       // a Go pointer to a struct: NULL when absent
 *     if (pod.spec.has_termination_grace_period_seconds) ...   // a Go pointer to a number (or int-or-string)
 *     api_core_pod_encode(&out, API_FORM_PROTO, &pod, err);
 *
 *     string, quantity       struct span; absent: ptr NULL; quantities as canonical text
 *     bytes                  struct span of the raw bytes (not base64)
 *     int32 ... double       the number; duration: int64_t nanoseconds
 *     time                   struct api_time; !set: Go's zero time, absent
 *     list, map              { ptr, n }; absent: ptr NULL; empty but there: ptr not NULL
 *     object                 embedded; pointer to it where Go has a pointer
 *     raw, any, union        struct json; absent: JSON_NULL
 *
 * Inlined structs are flattened as in JSON. A zeroed struct is a valid empty object. Spans borrow from the data that was decoded
 * where they can, so that data and the arena must outlive the struct. Pure functions; any thread.
 */
#pragma once

#include "api/codec.h"

enum api_form {
	API_FORM_JSON,
	API_FORM_PROTO,   /* Kubernetes' envelope */
	API_FORM_MESSAGE, /* the bare message: CRI, etcd */
};

struct api_time {
	int64_t unix_s;
	int32_t ns;
	bool set;
};
struct api_int_or_string {
	bool is_string;
	int32_t i;
	struct span s;
};
struct api_pair {
	struct span key, value;
};

#include "api/typed_types.h" /* the structs; enum api_typed: API_TYPED_CORE_POD ... */

/* The value of a key in a map of strings; ptr NULL when absent. */
struct span api_pair_get(const struct api_pair *pairs, uint32_t n, struct span key);

/* out and v point at the struct of that id; out is written whole on success. Unknown fields are dropped. Classes as
 * api_decode_json; encoding fails with INVALID where a value has no such form. */
int api_typed_decode(struct arena *a, enum api_typed id, enum api_form form, struct span data, void *out, struct err *err);
int api_typed_encode(struct buf *out, enum api_typed id, enum api_form form, const void *v, struct err *err);
/* Between structs and trees; strings are borrowed both ways. */
int api_typed_of_tree(struct arena *a, enum api_typed id, const struct json *tree, void *out, struct err *err);
struct json api_typed_to_tree(struct arena *a, enum api_typed id, const void *v);
const struct api_type *api_typed_type(enum api_typed id);
/* The enum api_typed of a type's name; -1 when it has no struct. */
int api_typed_find(struct span name);
size_t api_typed_size(enum api_typed id);

#include "api/typed_calls.h" /* api_core_pod_decode, api_core_pod_encode ... for the types of the list */
