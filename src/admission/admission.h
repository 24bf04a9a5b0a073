/* Admission: what kube-apiserver's built-in plugins add to an object, and what they refuse. The seam of src/admission.
 *
 * A plugin is a row of a table: its real name, its place in the recommended order of kube-apiserver 1.33, on or off by
 * default, which operations and resources it handles, and two functions. A row is there only when the plugin is complete;
 * a name without a row is unknown to --enable-admission-plugins.
 *
 *     struct admission_set set;
 *     if (admission_set_parse(SPAN("NodeRestriction"), SPAN(""), &set, err) < 0)      // the two flags
 *             return err;
 *     struct admission req = { .arena = &arena, .lookup = &lookup, .op = ADMISSION_CREATE, .resource = resource,
 *                              .ns = ns, .name = name, .object = &object, .user_name = user };
 *     if (admission_mutate(&set, &req, err) < 0)        // before defaults of what it adds, strategy_prepare and validation
 *             return err;                               // FORBIDDEN: pods "x" is forbidden: ...
 *     if (admission_validate(&set, &req, err) < 0)      // on what is to be stored, after strategy_validate
 *             return err;
 *     for (i < req.n_warnings) ... req.warnings[i]      // Warning headers
 *
 * Each pass walks the enabled plugins in order and stops at the first refusal, as upstream does.
 *
 * Pure functions without I/O and without state: any thread, many at once. What must be looked up goes through
 * `struct admission_lookup`, which the API server fills with its snapshot of the store: a request sees one state of it. Trees
 * are changed in place (the object alone, and only by admission_mutate); new nodes come from the arena, strings of the object
 * may then point into looked-up trees, so these must live as long as the arena.
 *
 * Objects are trees as the strategy sees them: decoded against their type in the served version, defaults set.
 *
 * Errors: FORBIDDEN for what a plugin refuses, `pods "web" is forbidden: WHY`, where the name is the request's, else the
 * object's, else its generateName, else "Unknown"; INVALID with causes for labels of namespaces that cannot be read; INTERNAL for a
 * cluster that contradicts itself. Sentences are upstream's, letter by letter.
 */
#pragma once

#include "api/api.h"
#include "base/base.h"
#include "json/json.h"

enum admission_op {
	ADMISSION_CREATE = 1 << 0,
	ADMISSION_UPDATE = 1 << 1, /* also PATCH and server-side apply of what exists */
	ADMISSION_DELETE = 1 << 2,
	ADMISSION_CONNECT = 1 << 3,
};

/* May somebody do this? The authorizer's question of the request's own user. */
struct admission_ask {
	struct span verb, group, version, resource, subresource, ns, name;
};

/* What plugins look up. All functions may be called several times a request, in the request's thread. A failure other than absence
 * (a damaged object) is the server's to remember and to answer with once the pass returns. */
struct admission_lookup {
	void *arg;
	/* The object, or NULL when there is none; ns empty for what has no namespace. The tree is read only and lives as long as
	 * the arena. Groups are API groups ("" core), in any served version of them that has the fields of 1.33's v1. */
	const struct json *(*get)(void *arg, struct arena *a, struct span group, struct span resource, struct span ns,
				  struct span name);
	/* A JSON array of the objects of a namespace (ns empty: of the cluster), in the order of their names; NULL when none. */
	const struct json *(*list)(void *arg, struct arena *a, struct span group, struct span resource, struct span ns);
	/* Does the authorizer allow it? *out_reason may stay empty. NULL: everybody may do everything. */
	bool (*allows)(void *arg, struct arena *a, const struct admission_ask *ask, struct span *out_reason);
	/* The resource of a kind, NULL when none is served: what a RESTMapper knows. NULL function: nothing is served. */
	const struct api_resource *(*kind)(void *arg, struct span group, struct span version, struct span kind);
	/* len letters of names' random alphabet (bcdfghjklmnpqrstvwxz2456789). */
	void (*random_suffix)(void *arg, char *out, size_t len);
};

/* A level of the pod security standards at a version; minor 0 with latest set. */
enum admission_level { ADMISSION_PRIVILEGED, ADMISSION_BASELINE, ADMISSION_RESTRICTED, ADMISSION_LEVEL_COUNT };
struct admission_policy {
	enum admission_level level;
	bool latest;
	uint32_t minor; /* of 1.minor, when not latest */
};

/* What --admission-control-config-file and flags of single plugins set. Lists are borrowed. Zero is not the default: start from
 * admission_config_default. */
struct admission_config {
	struct admission_policy enforce, audit, warn; /* where a namespace has no label: privileged:latest */
	const struct span *exempt_users, *exempt_namespaces, *exempt_runtime_classes;
	unsigned n_exempt_users, n_exempt_namespaces, n_exempt_runtime_classes;
	int64_t not_ready_toleration_s, unreachable_toleration_s; /* 300 each */
};
extern const struct admission_config admission_config_default;

struct admission_annotation {
	struct span key, value;
};

/* One request. All is borrowed. */
struct admission {
	struct arena *arena;
	const struct admission_lookup *lookup;
	const struct admission_config *config; /* NULL: admission_config_default */
	enum admission_op op;
	const struct api_resource *resource;
	struct span subresource; /* "" or "status", "scale", "eviction" ... */
	struct span ns, name;    /* of the request; name may be empty on create */
	struct json *object;     /* what came (Eviction, Binding, Scale for such subresources); NULL on DELETE */
	const struct json *old;  /* what is stored; NULL on CREATE, CONNECT and deletion of a collection as a whole */
	struct span user_name;
	const struct span *groups;
	unsigned n_groups;
	bool dry_run;
	/* Told after each plugin of a pass: which (admission_plugin_at), and its verdict. NULL: nobody asks. */
	void (*ran)(void *arg, unsigned plugin, bool validating, bool refused);
	void *ran_arg;
	/* out */
	struct span *warnings;   /* in the arena, in order */
	unsigned n_warnings, cap_warnings;
	struct admission_annotation *audit; /* whole keys: "pod-security.kubernetes.io/audit-violations" */
	unsigned n_audit, cap_audit;
	/* Of a NOT_FOUND that is about another object than the request's (its namespace, the pod of a kubelet's token): what the
	 * details of the Status name. Of the core group; empty for none. */
	struct span missing_resource, missing_name;
};

/* ---- which plugins run */
typedef int admission_fn(struct admission *req, struct err *err);
struct admission_plugin {
	const char *name;
	bool on;                /* by default */
	unsigned ops;           /* enum admission_op: its handler's operations */
	const char *resources;  /* "pods, deployments.apps", what it looks at; NULL: everything. For people and the early way out */
	admission_fn *mutate;   /* NULL: nothing to do in that pass */
	admission_fn *validate;
};
unsigned admission_plugin_n(void);
const struct admission_plugin *admission_plugin_at(unsigned i); /* in the order in which they run */

struct admission_set {
	uint64_t on; /* bit i: admission_plugin_at(i) runs */
};
/* The values of --enable-admission-plugins and --disable-admission-plugins: comma lists, "" for a flag that is absent. Class
 * USAGE with all that is wrong, `enable-admission-plugins plugin "X" is unknown`, joined as upstream prints a list of errors:
 * `[a, b]`, one alone bare. What is enabled by name wins over default off. */
int admission_set_parse(struct span enable, struct span disable, struct admission_set *out, struct err *err);
bool admission_set_has(const struct admission_set *set, struct span name);

/* ---- the two passes */
int admission_mutate(const struct admission_set *set, struct admission *req, struct err *err);
int admission_validate(const struct admission_set *set, struct admission *req, struct err *err);

/* ---- ResourceQuota
 * Has no passes: its verdict and the new status.used must be committed together with the object. It runs last, after
 * every other plugin's validating pass, when its bit is on in the set:
 *
 *     if (admission_quota_check(&req, quotas, n, now_s, err) < 0)     // quotas of req.ns, in the order of their names
 *             return err;          // FORBIDDEN: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2
 *     for (i < n) if (quotas[i].changed && !req.dry_run) ...
 *             // write quotas[i].used as status.used in the same transaction; start over when a quota is not what it was */
struct admission_quota {
	const struct json *object; /* the ResourceQuota, borrowed */
	struct json used;          /* out: status.used as it is to be; null when unchanged */
	bool changed;              /* out */
};
/* now_s: Unix time; pods past their grace period count no more. The limited resources of an admission configuration
 * (quota that must be there) are not part of it. On failure what it has put into quotas means nothing. */
int admission_quota_check(struct admission *req, struct admission_quota *quotas, unsigned n, int64_t now_s, struct err *err);
/* The parts, for a controller that counts anew: what an object counts for, as a JSON object of quantities, and whether a quota
 * (by its status.hard, scopes and scope selector) counts it. */
struct json admission_quota_usage(struct arena *a, const struct api_resource *r, const struct json *object, int64_t now_s);
bool admission_quota_matches(struct arena *a, const struct api_resource *r, const struct json *quota, const struct json *object);
