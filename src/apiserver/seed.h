/* What every cluster has: made at start, and put right when somebody changed it. Private to apiserver. */
#pragma once

#include "apiserver/server.h"

/* Before the loop threads run; blocks. Namespaces, system priority classes, the bootstrap policy of RBAC, aggregated roles,
 * kube-system's extension-apiserver-authentication, APIServices of built-in versions. What is there already stays, RBAC as
 * auth_policy_reconcile says. */
int seed_start(struct apiserver *s, struct err *err);

/* Once the port is known: Service `kubernetes` in default with the first address of the range, its Endpoints and EndpointSlice. */
int seed_kubernetes(struct apiserver *s, struct err *err);

/* At run time, on worker 0's thread: makes anew what of it somebody deleted or changed. Nobody waits for the writes; one that
 * loses a race lost it to a change that brings the next look (repair.c). */
enum seed_part { SEED_NAMESPACES, SEED_AUTHENTICATION, SEED_KUBERNETES, SEED_APISERVICES, SEED_PART_COUNT };
void seed_again(struct worker *w, enum seed_part part);

/* ---- aggregate.c: ClusterRoles that are made of others follow them */
/* Plans one round over a snapshot: calls submit with a transaction for each role whose rules differ from what its
 * selectors give. Roles may be made of aggregated ones: rounds until one submits nothing. */
int aggregate_plan(struct apiserver *s, struct store_snapshot *snap, void (*submit)(void *arg, struct store_txn *t), void *arg,
		   struct err *err);
/* At run time: a round after every change of a ClusterRole, on worker 0's thread. */
int aggregate_start(struct worker *w, struct err *err);
void aggregate_stop(struct worker *w);

/* ---- apiservices.c: what tells of the versions that are served
 * Plans one round over a snapshot. starting: built-in versions; else those of CRDs. */
int apiservices_plan(struct apiserver *s, struct store_snapshot *snap, bool starting,
		     void (*submit)(void *arg, struct store_txn *t), void *arg, struct err *err);

/* An object of the server's own: uid, times, defaults, strategy, managers. Sealed for the store. old NULL: new. */
int seed_object(struct apiserver *s, const struct api_resource *res, struct arena *a, struct json *tree, const struct json *old,
		struct span manager, struct bytes **out, struct err *err);
