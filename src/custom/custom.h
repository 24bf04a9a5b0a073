/* Custom resources: what apiextensions-apiserver 1.33 makes of a CustomResourceDefinition (CRD). The seam of src/custom.
 *
 * A CRD is a tree that was decoded as apiextensions/v1 (api/codec.h). Three things are made of it:
 *
 *   its schemas are checked        custom_schema_check, before it is stored
 *   its names are accepted         custom_names_accept, custom_condition_set: what the controllers write into its status
 *   its versions become rows       custom_rows: api_resource rows for the registry, each with a compiled schema
 *
 * and with such a row its objects are handled as those of built-in kinds are by src/strategy:
 *
 *     api_decode_json(&arena, row->type, body, &d, &object, err)      // prunes, finds unknown fields
 *     custom_default(&arena, row, &object);                           // also for stored objects that are read
 *     custom_prepare(&c);                                             // generation, status
 *     if (custom_validate(&c, err) < 0) ...                           // INVALID with causes, in upstream's words
 *
 * Pure functions: nothing is looked up, no clock is read. Any thread; a row never changes once it is made. Trees are changed
 * in place; new nodes come from the arena given.
 *
 * What is refused, so that no CRD is half obeyed: x-kubernetes-validations (CEL), conversion by webhook, a node without type
 * that says what properties and what items hold, schemas nested deeper than CUSTOM_DEPTH_MAX. Everything else
 * of a structural schema is obeyed.
 *
 * Bounds: work on an object is (size of the object) x (alternatives that the schema names for a place); no recursion is deeper
 * than CUSTOM_DEPTH_MAX schema levels; an object gets CUSTOM_CAUSES_MAX complaints at most. */
#pragma once

#include "api/api.h"
#include "base/base.h"
#include "json/json.h"

enum {
	CUSTOM_DEPTH_MAX = 90,	  /* levels of a schema: properties, items, additionalProperties, allOf, ... */
	CUSTOM_CAUSES_MAX = 1000, /* complaints about one object, or one schema */
};

/* ---- a CRD before it is stored */

/* Adds what is wrong with one schema (an openAPIV3Schema, or NULL) as causes of err; their number. at is its field path
 * ("spec.validation.openAPIV3Schema", "spec.versions[1].schema.openAPIV3Schema"); has_status: the version has the status
 * sub-resource, for which the root may say less. */
unsigned custom_schema_check(struct arena *a, struct span at, const struct json *schema, bool has_status, struct err *err);
/* The same for a version's selectableFields (NULL: none) against its schema; at is the path of the list. */
unsigned custom_selectable_check(struct arena *a, struct span at, const struct json *fields, const struct json *schema,
				 struct err *err);

/* ---- a CRD's status. Each changes the tree and says whether it did. */

/* One condition of status.conditions: replaced when status, reason or message differ (lastTransitionTime moves only with
 * the status), appended when absent. now is RFC 3339. */
bool custom_condition_set(struct arena *a, struct json *crd, const char *type, const char *status, const char *reason,
			  struct span message, struct span now);
bool custom_condition_true(const struct json *crd, const char *type);
/* What the naming controller does: status.acceptedNames takes every name of spec.names that nobody else of the group has
 * accepted, NamesAccepted and Established say how it went. others: the CRDs there are (their own entry among them or not; of any
 * group). */
bool custom_names_accept(struct arena *a, struct json *crd, const struct json *const *others, unsigned n_others, struct span now);

/* What the establishing controller does: Established becomes true once NamesAccepted is. */
bool custom_establish(struct arena *a, struct json *crd, struct span now);
/* KubernetesAPIApprovalPolicyConformant, for groups below k8s.io and kubernetes.io. */
bool custom_approval_set(struct arena *a, struct json *crd, struct span now);

#define CUSTOM_FINALIZER "customresourcecleanup.apiextensions.k8s.io"

/* ---- rows */

/* One row for each served version, in the order of spec.versions, when Established is true; none otherwise. Names are those
 * of status.acceptedNames. While Terminating is true the row has no create, patch and update. out: room for as many as
 * spec.versions has; a reference each. Errors: INVALID when a schema cannot be compiled (it was stored by somebody else); then
 * there is no row. */
int custom_rows(const struct json *crd, struct api_resource **out, unsigned *out_n, struct err *err);
/* Is it a row of custom_rows? Built-in rows are not; all functions below want one. */
bool custom_is(const struct api_resource *row);
/* What the API server says on every request to a deprecated version; empty = nothing. */
struct span custom_warning(const struct api_resource *row);
/* For openapi_opts.custom: description, format, enum, bounds, pattern, and in v3 allOf, anyOf, oneOf and not of a node. */
void custom_openapi(void *arg, const struct api_resource *row, const struct api_type *node, bool v3, struct arena *arena,
		    struct json *schema);

/* ---- objects */

/* Nulls that the schema does not allow go, defaults fill in, what stands below additionalProperties: true is pruned. A
 * second run changes nothing. */
void custom_default(struct arena *a, const struct api_resource *row, struct json *object);

struct custom_change {
	struct arena *arena;
	const struct api_resource *row;
	bool status;            /* the status sub-resource writes */
	struct json *object;    /* what is to be stored */
	const struct json *old; /* what is stored, in the row's version; NULL on create */
	/* Metadata of embedded resources is checked by whom knows how: adds causes with paths below at. May be NULL. */
	void (*meta)(struct arena *a, struct span at, const struct json *meta, struct err *err);
};
/* On create: generation 1, and no status if that is a sub-resource. On update: status stays old's (or everything else does,
 * for the sub-resource), generation grows with any change outside metadata. */
void custom_prepare(const struct custom_change *c);
/* Everything but metadata: the schema, replicas and selector of scale, embedded resources, uniqueness in list sets and maps.
 * Adds causes to err; their number. On update values that did not change are not complained about where old and new can be told
 * to be the same place (ratcheting). */
unsigned custom_validate(const struct custom_change *c, struct err *err);

/* ---- scale. Paths of the row's version; false without scale sub-resource. */
struct custom_scale {
	struct span spec_replicas, status_replicas, selector; /* ".spec.replicas"; selector may be empty */
};
bool custom_scale_of(const struct api_resource *row, struct custom_scale *out);
/* The value at a simple path ".a.b"; NULL when absent or when something on the way is no object. */
const struct json *custom_path_get(const struct json *object, struct span path);
/* Sets it, making objects on the way; false when something on the way is no object. */
bool custom_path_set(struct arena *a, struct json *object, struct span path, struct json value);
