/* What the controllers stand on: shared caches with columns and indexes, queues, and passes. Private to src/controllers.
 *
 * A controller is one row: which kinds it watches, how a change becomes keys, and what is done for a key.
 *
 *     static void event(struct controller *c, const struct change *ch)      // runs at once, only adds keys
 *     {
 *             if (ch->kind == CM_PODS) cm_add_owner(c, CM_REPLICA_SETS, ch->e);
 *     }
 *     static void reconcile(struct pass *p)                                  // one key, never twice at once
 *     {
 *             struct plan plan = plan_of(...);         // pure: from cached texts, decoded into p->arena
 *             pass_create(p, CM_PODS, p->ns, &pod);    // operations that may be repeated
 *             p->then = write_status;                  // when they have been answered
 *     }
 *     const struct controller_row cm_replica_set = { .name = "replicaset-controller", .event = event, .reconcile = reconcile,
 *                                                    .watches = BIT(CM_REPLICA_SETS) | BIT(CM_PODS) };
 *
 * Everything runs on one loop thread. A controller begins when every kind that it watches is in the cache; it is then told all
 * objects as added. Caches hold the texts as received and, of each object, a row of columns; trees and structs that are made
 * of texts live in a pass's arena and end with it. Entries and rows may change or go between two steps of a pass: a step that
 * needs them later copies what it needs.
 *
 * Errors: an operation that fails, and whose failure nobody took, makes the pass come again with back-off; a lost race (STALE) and
 * what the server says about itself (UNAVAILABLE, TIMEOUT) do so without a line in the log. */
#pragma once

#include "api/api.h"
#include "client/client.h"
#include "controllers/controllers.h"
#include "metrics/metrics.h"

/* ---- kinds ---- */

/*        id               apiVersion                     kind                        plural                namespaced */
#define CM_KIND_TABLE(X)                                                                                               \
	X(CM_PODS,            "v1",                           "Pod",                      "pods",                true)  \
	X(CM_REPLICA_SETS,    "apps/v1",                      "ReplicaSet",               "replicasets",         true)  \
	X(CM_RCS,             "v1",                           "ReplicationController",    "replicationcontrollers", true) \
	X(CM_DEPLOYMENTS,     "apps/v1",                      "Deployment",               "deployments",         true)  \
	X(CM_STATEFUL_SETS,   "apps/v1",                      "StatefulSet",              "statefulsets",        true)  \
	X(CM_DAEMON_SETS,     "apps/v1",                      "DaemonSet",                "daemonsets",          true)  \
	X(CM_REVISIONS,       "apps/v1",                      "ControllerRevision",       "controllerrevisions", true)  \
	X(CM_JOBS,            "batch/v1",                     "Job",                      "jobs",                true)  \
	X(CM_CRON_JOBS,       "batch/v1",                     "CronJob",                  "cronjobs",            true)  \
	X(CM_SERVICES,        "v1",                           "Service",                  "services",            true)  \
	X(CM_ENDPOINTS,       "v1",                           "Endpoints",                "endpoints",           true)  \
	X(CM_SLICES,          "discovery.k8s.io/v1",          "EndpointSlice",            "endpointslices",      true)  \
	X(CM_NODES,           "v1",                           "Node",                     "nodes",               false) \
	X(CM_LEASES,          "coordination.k8s.io/v1",       "Lease",                    "leases",              true)  \
	X(CM_NAMESPACES,      "v1",                           "Namespace",                "namespaces",          false) \
	X(CM_ACCOUNTS,        "v1",                           "ServiceAccount",           "serviceaccounts",     true)  \
	X(CM_SECRETS,         "v1",                           "Secret",                   "secrets",             true)  \
	X(CM_CONFIG_MAPS,     "v1",                           "ConfigMap",                "configmaps",          true)  \
	X(CM_CSRS,            "certificates.k8s.io/v1",       "CertificateSigningRequest", "certificatesigningrequests", false) \
	X(CM_PDBS,            "policy/v1",                    "PodDisruptionBudget",      "poddisruptionbudgets", true) \
	X(CM_CLAIMS,          "v1",                           "PersistentVolumeClaim",    "persistentvolumeclaims", true) \
	X(CM_QUOTAS,          "v1",                           "ResourceQuota",            "resourcequotas",      true)  \
	X(CM_CRDS,            "apiextensions.k8s.io/v1",      "CustomResourceDefinition", "customresourcedefinitions", false) \
	X(CM_API_SERVICES,    "apiregistration.k8s.io/v1",    "APIService",               "apiservices",         false)

enum cm_kind {
#define X(id, version, kind, plural, namespaced) id,
	CM_KIND_TABLE(X)
#undef X
	CM_KINDS
};
#define BIT(kind) (UINT64_C(1) << (kind))

struct cm_kind_row {
	const char *api_version, *kind;
	struct client_kind resource; /* plural and scope alone: cm_resource has the rest */
};
extern const struct cm_kind_row cm_kinds[CM_KINDS];
struct client_kind cm_resource(enum cm_kind kind); /* with group and version */

/* ---- the cache ---- */

enum pod_phase { POD_PENDING, POD_UNKNOWN, POD_RUNNING, POD_SUCCEEDED, POD_FAILED };

/* Columns of an object. One block of memory; everything in it is owned by it. */
struct row {
	struct span owner_uid, owner_kind, owner_name; /* the owner that controls it; empty: none */
	struct api_label_set labels;
	int64_t created_s, deleted_s; /* 0: not known, not being deleted */
	/* of pods */
	struct span node;
	enum pod_phase phase;
	bool ready;
	int64_t ready_s;       /* since when; 0: not known */
	int32_t restarts;      /* of the container with the most */
	int32_t sidecar_restarts;
	int32_t deletion_cost; /* annotation controller.kubernetes.io/pod-deletion-cost */
	struct span ip;        /* the first */
	/* of Services */
	struct api_label_set selector;
};
struct row *row_new(enum cm_kind kind, const struct json *object); /* free() ends it */
bool row_same_labels(const struct row *a, const struct row *b);
bool row_selects(const struct row *service, const struct row *pod); /* never without a selector */
bool row_active(const struct row *r);                               /* a pod that is not over and not being deleted */
/* Ready for min_ready_s, as of now. */
bool row_available(const struct row *r, int32_t min_ready_s, int64_t now_s);

enum cm_index {
	CM_BY_NS,
	CM_BY_OWNER, /* uid of the controlling owner, else "~" and the namespace */
	CM_BY_NODE,  /* pods alone */
	CM_INDEXES
};
struct cm_bucket {
	struct list entries; /* entry.in[index].link */
	size_t n;
	char key[];
};
/* client_item.user */
struct entry {
	struct client_item *item;
	struct row *row; /* owned */
	struct {
		struct list link;
		struct cm_bucket *bucket; /* NULL: in none */
	} in[CM_INDEXES];
};

enum change_what { CHANGE_ADDED, CHANGE_CHANGED, CHANGE_REMOVED };
struct change {
	enum change_what what;
	enum cm_kind kind;
	struct entry *e;           /* removed: as it was last known */
	const struct row *old_row; /* changed only; what was before */
	struct bytes *old;
	const struct json *object; /* NULL when removed */
};

/* ---- controllers ---- */

struct controller;
struct pass;
struct controller_row {
	const char *name;     /* as --controllers has it */
	const char *source;   /* of its events; NULL: its name */
	uint64_t watches;     /* bits of kinds */
	void (*event)(struct controller *c, const struct change *ch);
	void (*reconcile)(struct pass *p);
	unsigned workers;     /* passes at once; 0 = 5 */
	bool (*possible)(const struct controllers_options *o); /* optional: false: the options leave it nothing to do */
	int (*start)(struct controller *c, struct err *err); /* optional: makes c->state; refuses options that do not go together */
	void (*begun)(struct controller *c);                 /* optional: the caches are full, the queue runs */
	void (*stop)(struct controller *c);                  /* optional: ends what start made */
	void (*discovered)(struct controller *c);            /* optional: what the server serves is known, or has changed */
	bool off;             /* not part of --controllers=* */
};

/* What was asked for and not seen yet, for each key: so that a cache that lags behind makes nothing twice. */
struct expectations {
	struct map by_key;
};

struct cm;
struct controller {
	const struct controller_row *row;
	struct cm *cm;
	struct client_queue *queue; /* NULL until it has begun */
	struct client_recorder *events;
	struct expectations expect;
	struct metrics_series *adds, *retries, *duration;
	uint64_t missing; /* kinds whose cache is not full yet */
	void *state;
};
extern const struct controller_row *const cm_controllers[];
extern const unsigned cm_n_controllers;

struct cm_cache {
	struct cm *cm;
	enum cm_kind kind;
	struct client_informer *informer; /* NULL: nobody watches this kind */
	struct map index[CM_INDEXES];
};

struct cm {
	struct loop *loop;
	struct client *client;
	const struct controllers_options *options;
	struct metrics *metrics;
	struct span root_ca;         /* what verifies the API server; PEM */
	struct metrics_table *table;
	struct cm_cache caches[CM_KINDS];
	struct controller *controllers; /* owned */
	unsigned n_controllers;
	struct list passes;
	struct discovery *discovery; /* discovery.h; NULL: nobody asks */
	bool stopping;
};
/* root_ca is borrowed. */
int cm_new(struct loop *l, struct client *client, const struct controllers_options *o, struct span root_ca, struct metrics *m,
	   struct cm **out, struct err *err);
void cm_start(struct cm *cm); /* we lead: caches are filled, controllers begin */
void cm_free(struct cm *cm);  /* what runs is forgotten; accepts NULL */

int64_t cm_now_s(const struct cm *cm);
struct entry *cm_get(const struct cm *cm, enum cm_kind kind, struct span ns, struct span name); /* NULL: not there */
struct entry *cm_get_key(const struct cm *cm, enum cm_kind kind, struct span key);
/* Entries of one index key; walk with LIST_EACH(list, e, struct entry, in[index].link). Never NULL. */
struct list *cm_index(const struct cm *cm, enum cm_kind kind, enum cm_index index, struct span key);
/* Those of a namespace that nobody controls. */
struct list *cm_orphans(const struct cm *cm, enum cm_kind kind, struct span ns);
/* Decodes an entry's text; lives as long as the arena, and shares nothing with the cache. */
struct json cm_tree(struct arena *a, enum cm_kind kind, const struct entry *e);
struct json cm_text_tree(struct arena *a, struct bytes *text);
/* Every entry of a kind in no order. Start with pos 0. */
struct entry *cm_next(const struct cm *cm, enum cm_kind kind, size_t *pos);

/* Adds a key to the controller's queue; harmless before it has begun. */
void cm_add(struct controller *c, struct span key);
void cm_add_after(struct controller *c, struct span key, int64_t delay_ms);
/* The key of the object of `kind` that controls e, if it is there with that uid. */
struct entry *cm_owner(const struct controller *c, enum cm_kind kind, const struct entry *e, const struct row *row);
void cm_add_owner(struct controller *c, enum cm_kind kind, const struct change *ch); /* of the row, and of the one before */

/* ---- expectations ---- */

void expect_creations(struct controller *c, struct span key, unsigned n);
void expect_deletion(struct controller *c, struct span key, struct span uid);
void expect_seen_creation(struct controller *c, struct span key);
void expect_seen_deletion(struct controller *c, struct span key, struct span uid);
void expect_forget(struct controller *c, struct span key);
/* All was seen, or five minutes have passed. */
bool expect_fulfilled(struct controller *c, struct span key);
void expect_done(struct expectations *x);

/* ---- passes ---- */

enum pass_mode {
	PASS_PARALLEL,   /* up to 16 at once; each is tried */
	PASS_SERIAL,     /* one by one; what follows a failure is dropped */
	PASS_SLOW_START, /* 1, then 2, 4, 8 ... at once; what follows a batch with a failure is dropped */
};

struct op {
	struct list link;
	struct pass *pass;
	struct client_call *call;
	const char *method, *content_type, *accept;
	struct span path, body;
	enum err_class fine; /* a failure of this class is none */
	unsigned timeout_ms;
	/* Runs once. why NULL: answer is the object (JSON_NULL where it is no JSON). Dropped: class CANCELLED. True: a failure is
	 * dealt with. */
	bool (*done)(struct pass *p, struct op *o, const struct err *why, const struct json *answer);
	void *arg;
	struct span name; /* of the object, for done */
};
struct pass {
	struct controller *c;
	struct cm *cm;
	struct client_job *job;
	struct list link;
	struct arena arena;
	struct span key, ns, name;
	int64_t now_s, began_ms;
	enum pass_mode mode;           /* of the operations of this step */
	void (*then)(struct pass *p);  /* the next step; NULL: the pass ends */
	void *state;                   /* the controller's, in the arena */
	void *claiming;                /* claim.c's */
	struct err err;                /* the first failure that counts */
	unsigned n_failed, n_dropped;  /* of the last step */
	struct list ops, out;
	unsigned n_out, batch, batch_left;
	bool again;                    /* come again with back-off although nothing failed */
};
struct op *pass_send(struct pass *p, const char *method, struct span path, const struct json *body, const char *content_type);
struct op *pass_create(struct pass *p, enum cm_kind kind, struct span ns, const struct json *object);
struct op *pass_get(struct pass *p, enum cm_kind kind, struct span ns, struct span name);
/* sub: "status", "scale" or NULL. */
struct op *pass_merge(struct pass *p, enum cm_kind kind, struct span ns, struct span name, const char *sub,
		      const struct json *patch);
struct op *pass_strategic(struct pass *p, enum cm_kind kind, struct span ns, struct span name, const char *sub,
			  const struct json *patch);
/* The object of that uid and no other; that it is gone already is fine. policy NULL = Background. */
struct op *pass_delete(struct pass *p, enum cm_kind kind, struct span ns, struct span name, struct span uid, const char *policy);
void pass_fail(struct pass *p, enum err_class class, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void pass_after(struct pass *p, int64_t delay_ms); /* the same key again then */
void pass_event(struct pass *p, const struct client_object_ref *ref, const char *type, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
void pass_cancel_all(struct cm *cm);
void pass_begin(struct client_job *job, void *controller);
struct client_object_ref cm_ref(enum cm_kind kind, const struct json *object); /* apiVersion and kind from the table */

/* A status that changed is written as a merge patch that holds what differs, under the version it was computed from; what is
 * equal is not written. NULL: nothing to write. */
struct op *pass_status(struct pass *p, enum cm_kind kind, const struct json *object, const struct json *status);

/* ---- trees ---- */

/* Merge patch (RFC 7396) that makes `to` of `from`; false: they are equal. Lists are replaced whole. */
bool tree_diff(struct arena *a, const struct json *from, const struct json *to, struct json *out);
struct json *tree_at(struct arena *a, struct json *object, const char *key); /* the member, made an object where it is none */
void tree_set(struct arena *a, struct json *object, const char *key, struct json value);
void tree_set_span(struct arena *a, struct json *object, const char *key, struct span s); /* left out when empty */
void tree_set_cstr(struct arena *a, struct json *object, const char *key, const char *s);
void tree_set_int(struct arena *a, struct json *object, const char *key, int64_t n);
void tree_set_some(struct arena *a, struct json *object, const char *key, int64_t n); /* left out when 0 */
struct span tree_span(const struct json *object, const char *key); /* of a string member */
int64_t tree_int(const struct json *object, const char *key, int64_t otherwise);
bool tree_bool(const struct json *object, const char *key, bool otherwise);
const struct json *tree_get(const struct json *object, const char *key);
const struct json *tree_meta(const struct json *object, const char *key); /* metadata.KEY */
struct span tree_meta_span(const struct json *object, const char *key);
struct span tree_annotation(const struct json *object, const char *key);
int64_t tree_time(const struct json *text); /* Unix seconds; 0: none */
struct json tree_time_of(struct arena *a, int64_t unix_s);
bool tree_has_text(const struct json *list, struct span s); /* a list of strings holds it */
/* The item of a list whose member has that text. */
struct json *tree_find(const struct json *list, const char *member, struct span s);
/* {apiVersion, kind, name, uid, controller: true, blockOwnerDeletion: true} */
struct json tree_owner(struct arena *a, enum cm_kind kind, const struct json *owner, bool controls);
/* A pod of a template: labels, annotations and finalizers of the template, its spec, the owner. The name is the caller's. */
struct json tree_pod(struct arena *a, const struct json *template, enum cm_kind kind, const struct json *owner);
/* Sets the condition of that type in a list; lastTransitionTime stays while the status does. update_time: the member that tells
 * when it was written last, or NULL. True: something changed. */
bool tree_condition(struct arena *a, struct json *list, const char *type, const char *status, const char *reason,
		    struct span message, int64_t now_s, const char *update_time);

/* ---- owning by selector (adoption and release) ---- */

/* What of the objects that an owner controls, or could control, is its own. Pure: looks at rows alone. */
enum claim { CLAIM_NOT, CLAIM_MINE, CLAIM_ADOPT, CLAIM_RELEASE };
enum claim claim_of(const struct row *r, struct span owner_uid, bool owner_deleting, bool object_deleting, bool matches);

struct claims {
	enum cm_kind of, kind;    /* owner's and objects' */
	struct span uid, name, ns; /* of the owner */
	bool deleting;
	struct api_label_selector selector;
	struct span finalizer;     /* also put on what is adopted (jobs); empty: none */
	bool active_only;          /* of pods: only those that are not over are adopted or released */
	/* Out, in the arena: keys ("ns/name") of what is the owner's now. Look them up again: they may have gone. */
	struct span *keys;
	unsigned n, cap;
};
/* Patches what is to be adopted or released, after looking at the owner once more before an adoption; then goes on with `then`. */
void claim_all(struct pass *p, struct claims *c, const struct json *owner, void (*then)(struct pass *p));
