/* Resources: what the API serves, built in and added at run time. Part of the seam of api.
 *
 * A registry is an immutable, counted snapshot. A change makes a new snapshot (api_registry_with), which whoever owns the
 * current one publishes; readers keep the one they began with. So lookups take no lock, and a request sees one state:
 *
 *     struct api_registry *r = api_registry_get(box, &cache);     // once per request or turn; borrowed until the next get
 *     const struct api_resource *res = api_registry_find(r, SPAN("apps"), SPAN("v1"), SPAN("deployments"));
 *
 * Rows are immutable and live as long as a snapshot that holds them, or a reference of their own.
 */
#pragma once

#include <stdatomic.h>
#include "api/schema.h"

enum api_verbs {
	API_VERB_CREATE = 1 << 0,
	API_VERB_DELETE = 1 << 1,
	API_VERB_DELETECOLLECTION = 1 << 2,
	API_VERB_GET = 1 << 3,
	API_VERB_LIST = 1 << 4,
	API_VERB_PATCH = 1 << 5,
	API_VERB_UPDATE = 1 << 6,
	API_VERB_WATCH = 1 << 7,
};
#define API_VERB_COUNT 8
const char *api_verb_name(unsigned i); /* by bit number, in the order that discovery lists them */

enum api_served { API_SERVED, API_SERVED_OFF, API_SERVED_AGGREGATED }; /* on; beta, off by default; by an extension server */

struct api_subresource {
	struct span name;          /* "status", "scale", "log" ... */
	struct span kind, group_version; /* what is sent and answered: "Scale", "autoscaling/v1" */
	unsigned verbs;
	const struct api_type *type;
};
struct api_column {
	struct span name, type, format;
	int priority;
	struct span cell_json; /* JSON type of the cell: "string", "integer", "boolean", "integer|string" */
	struct span shows;     /* of a custom resource: its JSONPath; empty of others, whose cells cells.c makes */
	struct span description;
};
struct api_selector {
	struct span label;    /* "spec.nodeName" */
	struct span compares; /* the field; for people where the text says more than a path */
	char style;           /* words for an unknown label. 'A': field label not supported: <label>
			       * 'B': "<label>" is not a known field selector: only "metadata.name", "metadata.namespace" */
};
/* Every span and list is owned by the row. */
struct api_resource {
	_Atomic uint32_t refs;
	uint32_t id; /* of a built-in row: its position, dense from 0; of an added one: API_RESOURCE_CUSTOM */
	struct span group;       /* "" for core */
	struct span version, kind, list_kind, plural, singular;
	const struct span *short_names, *categories;
	unsigned n_short_names, n_categories;
	bool namespaced;
	enum api_served served;
	unsigned verbs;
	struct span storage_group, storage_version, storage_kind; /* empty kind: not stored */
	struct span storage_hash; /* for discovery */
	const struct api_type *type;      /* the object */
	const struct api_type *list_type; /* NULL of a custom resource, whose lists are metadata and items of type */
	const struct api_subresource *subresources;
	const struct api_column *columns;
	const struct api_selector *selectors;
	unsigned n_subresources, n_columns, n_selectors;
	void *owner; /* of whoever added it: borrowed, not looked at */
	struct api_types *types; /* shared; of a custom resource */
	struct arena arena;      /* where all of it lives, for an added row */
};
#define API_RESOURCE_CUSTOM UINT32_MAX

/* A new row to fill: one reference, everything of it comes from &row->arena. */
struct api_resource *api_resource_new(void);
struct api_resource *api_resource_ref(struct api_resource *r);
void api_resource_unref(struct api_resource *r); /* accepts NULL; any thread */
const struct api_subresource *api_resource_sub(const struct api_resource *r, struct span name); /* NULL when unknown */
const struct api_selector *api_resource_selector(const struct api_resource *r, struct span label);
/* Kubernetes' order of versions, the best first: v2 v1 v1beta1 v1alpha2, then other names; negative when a comes before b. */
int api_version_compare(struct span a, struct span b);
/* "v1", "apps/v1": group and version as apiVersion has them. Appended. */
void api_resource_gv(const struct api_resource *r, struct buf *out);

struct api_group_version {
	struct span group, version;
	int group_priority, version_priority; /* of its APIService; 0 = none known */
	unsigned first, n; /* its resources: api_registry_at(r, first) ... */
};

struct api_registry;
/* Every built-in row that is served, plus those that are off by default when off_too. One reference. Aggregated rows
 * (metrics.k8s.io) are in it too: their `served` tells. */
struct api_registry *api_registry_builtin(bool off_too);
/* The rows that are served by default, and those of these group versions ("resource.k8s.io/v1beta1"), API_SERVED in it. */
struct api_registry *api_registry_serving(const struct span *on, unsigned n_on);
/* A snapshot with add in and those of remove (same group, version, plural) out; add replaces a row of the same
 * name. References to the added rows are taken. The old one stays as it is. */
struct api_registry *api_registry_with(const struct api_registry *old, struct api_resource *const *add, unsigned n_add,
				       const struct api_resource *const *remove, unsigned n_remove);
struct api_registry *api_registry_ref(struct api_registry *r);
void api_registry_unref(struct api_registry *r); /* accepts NULL; any thread */
uint64_t api_registry_generation(const struct api_registry *r); /* each snapshot has its own, growing */

const struct api_resource *api_registry_find(const struct api_registry *r, struct span group, struct span version,
					     struct span plural);
const struct api_resource *api_registry_find_kind(const struct api_registry *r, struct span group, struct span version,
						  struct span kind);
/* Enumeration: rows ordered by group version (in the order of discovery), then plural. */
unsigned api_registry_n(const struct api_registry *r);
const struct api_resource *api_registry_at(const struct api_registry *r, unsigned i);
unsigned api_registry_n_versions(const struct api_registry *r);
const struct api_group_version *api_registry_version(const struct api_registry *r, unsigned i);
const struct api_group_version *api_registry_find_version(const struct api_registry *r, struct span group, struct span version);

/* ---- the current snapshot, shared by threads. A box is one atomic number and a lock that is taken only when the snapshot
 * has changed since this cache last looked. */
struct api_registry_box;
struct api_registry_cache { /* one per thread, zero-initialised; api_registry_cache_done at its end */
	struct api_registry *held;
	uint64_t generation;
};
struct api_registry_box *api_registry_box_new(struct api_registry *first); /* takes the reference */
void api_registry_box_free(struct api_registry_box *box);
void api_registry_put(struct api_registry_box *box, struct api_registry *next); /* takes the reference; any thread */
struct api_registry *api_registry_get(struct api_registry_box *box, struct api_registry_cache *cache);
void api_registry_cache_done(struct api_registry_cache *cache);

/* ---- columns of kinds that are no resource of their own: "autoscaling/v1.Scale", "meta/v1.Status".
 * Column i of a built-in kind, those with a resource included; false past the last. */
bool api_kind_column(struct span kind, unsigned i, struct api_column *out);

/* ---- constants of the API packages ("core/v1", "NamespaceDefault"): empty when unknown. */
struct span api_constant(struct span package, struct span name);
