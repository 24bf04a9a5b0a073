/* Who asks, and may they? Authentication and authorization as the Kubernetes API server has them, without I/O: what the
 * decisions rest on (roles, bindings, pods, keys, token files) is fed in, what must be looked up goes through a callback.
 *
 * Authentication, in the order of kube-apiserver: client certificate, static token file, service-account token,
 * bootstrap token, anonymous. Authorization: the privileged group, then the configured modes in order (Node, RBAC,
 * AlwaysAllow, AlwaysDeny); the first that allows or denies decides.
 *
 * Threads: a `struct auth_rbac` and a `struct auth_node` may be asked by many threads while one at a time feeds them (a
 * read-write lock inside). A `struct auth_tokens` is immutable once made; replace it as a whole.
 *
 *     struct auth_rbac *rbac = auth_rbac_new();
 *     auth_rbac_put(rbac, AUTH_CLUSTER_ROLE, &tree);            // and so on, from a watch
 *     struct auth_ask ask = { .user = &user, .verb = SPAN("list"), .resource = SPAN("pods"), .ns = SPAN("default"),
 *                             .is_resource = true };
 *     if (auth_rbac_allows(rbac, &ask, &arena, &reason) != AUTH_ALLOW)
 *             return auth_forbidden(&ask, reason, err);   // `pods is forbidden: User "jane" cannot list resource "pods" ...`
 */
#pragma once

#include "base/base.h"
#include "json/json.h"
#include "tls/tls.h"

/* ---- users */

struct auth_extra {
	struct span key;
	const struct span *values;
	unsigned n_values;
};
/* Everything is borrowed: usually from the request's arena. */
struct auth_user {
	struct span name, uid;
	const struct span *groups;
	unsigned n_groups;
	const struct auth_extra *extra;
	unsigned n_extra;
};
bool auth_user_in(const struct auth_user *u, struct span group);

#define AUTH_GROUP_MASTERS "system:masters"
#define AUTH_GROUP_AUTHENTICATED "system:authenticated"
#define AUTH_GROUP_UNAUTHENTICATED "system:unauthenticated"
#define AUTH_GROUP_NODES "system:nodes"
#define AUTH_GROUP_SERVICEACCOUNTS "system:serviceaccounts"
#define AUTH_USER_ANONYMOUS "system:anonymous"

/* "system:serviceaccount:NS:NAME" into its parts; false when the name is not of that form. */
bool auth_sa_split(struct span user_name, struct span *out_ns, struct span *out_name);

/* ---- questions */

/* One access question. Spans are borrowed for the call. */
struct auth_ask {
	const struct auth_user *user;
	struct span verb;  /* "get", "list", ..., or the lower-case HTTP method of a non-resource path */
	struct span group, version, resource, subresource, ns, name;
	struct span path;  /* of a non-resource request */
	bool is_resource;
	struct span field_name; /* metadata.name that the field selector asks for, empty = none: nodes may watch themselves */
	struct span node_name;  /* spec.nodeName that the field selector asks for (pods), empty = none */
};
enum auth_decision { AUTH_NO_OPINION, AUTH_ALLOW, AUTH_DENY };

/* Kubernetes' sentence for a refused question, class FORBIDDEN; reason may be empty. The message begins with
 * `pods "web" is forbidden: ` as a Status message does; for a path: `forbidden: User "x" cannot get path "/y"`. */
int auth_forbidden(const struct auth_ask *ask, struct span reason, struct err *err);
/* The part behind "forbidden: ", appended: `User "x" cannot list resource "pods" in API group "" in the namespace "d"`. */
void auth_forbidden_text(const struct auth_ask *ask, struct buf *out);

/* ---- RBAC */

enum auth_rbac_kind { AUTH_ROLE, AUTH_CLUSTER_ROLE, AUTH_ROLE_BINDING, AUTH_CLUSTER_ROLE_BINDING, AUTH_RBAC_KIND_COUNT };

struct auth_rbac;
struct auth_rbac *auth_rbac_new(void);
void auth_rbac_free(struct auth_rbac *r); /* accepts NULL */
/* Adds or replaces one object (a decoded rbac.authorization.k8s.io/v1 tree); all that is needed is copied. */
void auth_rbac_put(struct auth_rbac *r, enum auth_rbac_kind kind, const struct json *object);
void auth_rbac_remove(struct auth_rbac *r, enum auth_rbac_kind kind, struct span ns, struct span name);
/* ALLOW or NO_OPINION (RBAC never denies). out_reason: on ALLOW `RBAC: allowed by ClusterRoleBinding "b" of ClusterRole
 * "r" to Group "g"`; otherwise empty, or which roles that bindings name do not exist. In the arena. Cost: a few hash
 * lookups per group of the user, then the rules of what is bound to the user; independent of the number of bindings. */
enum auth_decision auth_rbac_allows(struct auth_rbac *r, const struct auth_ask *ask, struct arena *a,
				    struct span *out_reason);

/* One rule. Lists are borrowed. */
struct auth_rule {
	const struct span *verbs, *groups, *resources, *names, *urls;
	unsigned n_verbs, n_groups, n_resources, n_names, n_urls;
};
/* Reads a PolicyRule list (JSON array, or NULL for none); spans borrow from the tree, arrays are in the arena. */
void auth_rules_read(struct arena *a, const struct json *rules, const struct auth_rule **out_rules, unsigned *out_n);
bool auth_rule_matches(const struct auth_rule *rule, const struct auth_ask *ask);
/* Every rule that the user has in a namespace (cluster-wide ones included; empty ns: those alone), copied into the arena,
 * for SelfSubjectRulesReview and the escalation check. out_missing: roles named by bindings that do not exist, as the
 * text `clusterrole.rbac.authorization.k8s.io "x" not found`, ", " between; empty = none. */
void auth_rbac_rules_of(struct auth_rbac *r, const struct auth_user *user, struct span ns, struct arena *a,
			const struct auth_rule **out_rules, unsigned *out_n, struct span *out_missing);
/* The rules of a role by reference (ns empty: a ClusterRole), copied into the arena. False when it does not exist. */
bool auth_rbac_role_rules(struct auth_rbac *r, struct span ns, struct span name, struct arena *a,
			  const struct auth_rule **out_rules, unsigned *out_n);
/* Does what the owner has cover what is asked for? Otherwise false and the uncovered rest, broken down and
 * compacted as upstream prints it. */
bool auth_rules_cover(const struct auth_rule *have, unsigned n_have, const struct auth_rule *want, unsigned n_want,
		      struct arena *a, const struct auth_rule **out_missing, unsigned *out_n_missing);
/* {APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}, appended. */
void auth_rule_text(const struct auth_rule *rule, struct buf *out);
/* 0, or FORBIDDEN with upstream's words when the user may not grant these rules in the namespace because they do not
 * hold them: `user "jane" (groups=["a"]) is attempting to grant RBAC permissions not currently held: ...`. */
int auth_rbac_check_grant(struct auth_rbac *r, const struct auth_user *user, struct span ns, const struct auth_rule *want,
			  unsigned n_want, struct err *err);

/* ---- bootstrap policy: the roles and bindings of kube-apiserver 1.33 (default feature gates) */

unsigned auth_policy_count(enum auth_rbac_kind kind);
/* The i-th wanted object of a kind as a tree of rbac.authorization.k8s.io/v1 in the arena, labelled
 * kubernetes.io/bootstrapping=rbac-defaults and annotated for automatic update; no uid or times. Cluster roles that are
 * made of others have "rules": null until auth_policy_aggregate. Strings of the tree live as long as the program. */
struct json auth_policy_object(enum auth_rbac_kind kind, unsigned i, struct arena *a);

enum auth_policy_step {
	AUTH_POLICY_NONE,
	AUTH_POLICY_CREATE,
	AUTH_POLICY_UPDATE,
	AUTH_POLICY_RECREATE, /* delete (with stored's uid), then create: a roleRef cannot be changed */
	AUTH_POLICY_PROTECTED, /* differs, but its owner annotated it rbac.authorization.kubernetes.io/autoupdate=false */
};
/* What must be done so that `stored` (NULL: there is none) gives what `wanted` gives, and the object to write (in the
 * arena; with UPDATE it is `stored` and what that lacked, so its resourceVersion guards the write). Rights, subjects,
 * labels, annotations and selectors that only `stored` has stay; its aggregationRule goes when `wanted` has none. Writing
 * the object and asking again gives NONE. Upstream's order: cluster roles, cluster role bindings, roles, role bindings,
 * the last two after their namespace exists. */
enum auth_policy_step auth_policy_reconcile(enum auth_rbac_kind kind, const struct json *stored,
					    const struct json *wanted, struct arena *a, struct json *out_object);
/* The rules of a cluster role with an aggregationRule, as the clusterrole-aggregation controller makes them: for each
 * selector in order the rules of the roles it selects, by name, without itself and without repetition. *out_rules shares
 * its items with the roles' trees. 1 when they differ from those the role has, 0 when not or when it is no aggregated
 * role (*out_rules is then untouched), INVALID_REQUEST when a selector has an operator that does not exist. */
int auth_policy_aggregate(const struct json *role, const struct json *const *roles, unsigned n_roles, struct arena *a,
			  struct json *out_rules, struct err *err);

/* ---- Node authorizer */

struct auth_node;
struct auth_node *auth_node_new(void);
void auth_node_free(struct auth_node *n); /* accepts NULL */
enum auth_node_kind { AUTH_NODE_POD, AUTH_NODE_PV, AUTH_NODE_ATTACHMENT, AUTH_NODE_RESOURCE_SLICE, AUTH_NODE_KIND_COUNT };
void auth_node_put(struct auth_node *n, enum auth_node_kind kind, const struct json *object);
void auth_node_remove(struct auth_node *n, enum auth_node_kind kind, struct span ns, struct span name);
/* The node a user speaks for ("system:node:NAME" in group system:nodes); empty when none. */
struct span auth_node_of(const struct auth_user *user);
enum auth_decision auth_node_allows(struct auth_node *n, const struct auth_ask *ask, struct arena *a, struct span *out_reason);

/* ---- authentication */

/* What authentication must look up. Each returns false when there is no such object. uid: compared by the caller of the
 * callback with the token's; empty strings are possible. */
struct auth_lookup {
	void *arg;
	/* kinds: "serviceaccounts", "pods", "secrets" (ns set), "nodes" (ns empty). deleted_before_s: Unix time of its
	 * deletionTimestamp, 0 = none. */
	bool (*uid_of)(void *arg, struct span kind, struct span ns, struct span name, struct arena *a, struct span *out_uid,
		       int64_t *out_deletion_s);
	/* A Secret's tree (kube-system, bootstrap tokens; legacy tokens). */
	bool (*secret)(void *arg, struct span ns, struct span name, struct arena *a, struct json *out);
};

/* kube-apiserver's --token-auth-file: CSV lines token,user,uid[,"group1,group2"]. where names the file in errors. */
struct auth_tokens;
int auth_tokens_parse(struct span csv, const char *where, struct auth_tokens **out_tokens, struct err *err);
void auth_tokens_free(struct auth_tokens *t); /* accepts NULL */
/* NULL = unknown token. The comparison takes a time that does not tell how much of a token was right. */
bool auth_tokens_find(const struct auth_tokens *t, struct span token, struct arena *a, struct auth_user *out_user);

/* Certificate: CN, O and the credential id; false when it was not verified, has no CN, or has expired since. */
bool auth_cert_user(const struct tls_peer *peer, int64_t now_s, struct arena *a, struct auth_user *out_user);
void auth_anonymous(struct auth_user *out_user);

/* Service-account keys: which keys verify, which one signs, who issues. Borrowed for the life of the struct. */
struct auth_issuer {
	struct span issuer;              /* --service-account-issuer; what new tokens carry */
	const struct span *accepted;     /* further issuers that are believed */
	unsigned n_accepted;
	const struct span *audiences;    /* --api-audiences; none = the issuer */
	unsigned n_audiences;
	struct tls_key *const *verify;   /* public (or private) keys */
	unsigned n_verify;
	struct tls_key *sign;            /* NULL = cannot issue */
	int64_t max_expiration_s;        /* --service-account-max-token-expiration; 0 = none */
	bool extend;                     /* tokens of an hour and 7 seconds live a year, with a warning (projected ones) */
	struct auth_memory *memory;      /* whose signatures held, by these keys; NULL: each is verified every time */
};
/* Tokens come again and again, and an ECDSA signature costs 60 us. What is remembered is the SHA-256 of a whole token, in a
 * table of fixed size that threads share without a lock; everything else that makes a token good is checked each time. It must
 * not outlive the keys: one memory for one set of them. */
struct auth_memory *auth_memory_new(void);
void auth_memory_free(struct auth_memory *m); /* accepts NULL */
/* What a bound token is bound to; empty kind = nothing. */
struct auth_bound {
	struct span kind; /* "Pod", "Secret", "Node" */
	struct span name, uid;
	struct span node_name, node_uid; /* of a pod: where it runs */
};
/* Signs a token for a service account; appends it. expiration_s is what was asked for (at least 600), now_s Unix time;
 * jti: 16 random bytes. out_expires_s: what the token says. */
int auth_token_issue(const struct auth_issuer *i, struct span ns, struct span sa_name, struct span sa_uid,
		     const struct auth_bound *bound, const struct span *audiences, unsigned n_audiences, int64_t expiration_s,
		     int64_t now_s, const uint8_t jti[16], struct buf *out, int64_t *out_expires_s, struct err *err);
/* A legacy token for a Secret of type kubernetes.io/service-account-token (no expiry). */
int auth_token_issue_legacy(const struct auth_issuer *i, struct span ns, struct span sa_name, struct span sa_uid,
			    struct span secret_name, struct buf *out, struct err *err);
/* 0 and the user; NOT_FOUND when it is no service-account token of ours (another authenticator may know it);
 * UNAUTHORIZED with the reason when it is one and is refused: expired, wrong audience, revoked with its object, bad signature.
 * want_audiences: those of a TokenReview (none: the server's own); out_audiences: which of them the token is for.
 * out_facts: of a token that is good; `remembered` also of one that is refused for something else than its signature. */
struct auth_token_facts {
	bool stale;	 /* it lives longer than it should only because of `extend` (log it, count it) */
	bool remembered; /* its signature was verified before */
};
int auth_token_check(const struct auth_issuer *i, const struct auth_lookup *look, struct span token, int64_t now_s,
		     const struct span *want_audiences, unsigned n_want, struct arena *a, struct auth_user *out_user,
		     const struct span **out_audiences, unsigned *out_n_audiences, struct auth_token_facts *out_facts, struct err *err);
/* Bootstrap token "abcdef.0123456789abcdef" against Secret kube-system/bootstrap-token-abcdef. 0, NOT_FOUND when it is not of
 * that form or unknown, UNAUTHORIZED when expired or not for authentication. */
int auth_bootstrap_check(const struct auth_lookup *look, struct span token, int64_t now_s, struct arena *a,
			 struct auth_user *out_user, struct err *err);
/* /.well-known/openid-configuration and /openid/v1/jwks, appended. */
void auth_openid_config(const struct auth_issuer *i, struct span jwks_uri, struct buf *out);
void auth_openid_jwks(const struct auth_issuer *i, struct buf *out);
