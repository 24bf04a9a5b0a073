/* Custom resources in the API server: rows in the registry at run time, and what the verbs do differently for them. Private to
 * apiserver. What a CRD means is src/custom's business. */
#pragma once

#include "apiserver/server.h"
#include "custom/custom.h"

/* ---- custom.c: the controllers, on worker 0's thread */
/* Loads the stored CRDs, puts the rows of the established ones into the registry, and follows changes from then on: names are
 * accepted, conditions set, rows added and removed, the instances of a deleted CRD deleted. Before the loop runs. */
int apiserver_custom_start(struct worker *w, struct err *err);
/* Ends the watches; what is under way ends by itself. */
void apiserver_custom_stop(struct worker *w);
void apiserver_custom_free(struct apiserver *s); /* after the thread has ended */
/* The key that a CRD is stored under. Appended. */
void apiserver_custom_key(struct buf *out, struct span plural, struct span group);

/* ---- custom_calls.c: hooks of the verbs. For built-in rows they do nothing unless they say so. */
/* A verb that the row does not list: 0 when it is served all the same (patch and update while the CRD terminates), else the
 * error for it. For every row. */
int apiserver_custom_allows(struct call *c);
/* Warnings that every request to the row gets. */
void apiserver_custom_warn(struct call *c);
/* A stored object as the row's version shows it: apiVersion, kind, defaults. */
void apiserver_custom_read(struct arena *a, const struct api_resource *res, struct json *object);
/* Defaults, where an object of the row's type was decoded: they belong to the manager who wrote it. */
void apiserver_custom_default(struct call *c, struct json *object);
/* For struct strategy: a CRD's schemas; what the owner of custom resources does, with the call as custom_arg. */
extern const struct strategy_crd apiserver_custom_crd;
extern const struct strategy_custom apiserver_custom_fns;
/* A CRD that is deleted waits for its instances. */
void apiserver_custom_deleting(struct call *c, struct json *object);
/* Replicas and selector of an object, by the paths of its CRD. False for other rows. */
struct custom_view {
	int64_t replicas, status_replicas;
	bool has_replicas;
	struct span selector;
};
bool apiserver_custom_view(const struct call *c, const struct json *object, struct custom_view *out);
/* Sets the wanted replicas. False for other rows. */
bool apiserver_custom_replicas(struct call *c, struct json *object, int64_t replicas);
