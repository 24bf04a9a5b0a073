/* What the server counts: kube-apiserver's metrics by their names, so that its dashboards and alerts fit. Private to
 * apiserver.
 *
 * Each loop thread counts in a registry of its own (metrics.h); /metrics adds them up. The labels of a request are looked up once
 * for each combination and thread, then found through a small table by pointers. */
#pragma once

#include "apiserver/server.h"

struct meter *meter_new(struct apiserver *s);
void meter_free(struct meter *m); /* accepts NULL; no thread counts any more */
void meter_worker_init(struct worker *w); /* before threads run */
void meter_worker_done(struct worker *w);

void meter_begin(struct call *c);   /* the route is known */
void meter_request(struct call *c); /* it is over: its code, time and size */
/* error: credentials that are no good; failure: none at all, where nobody may be anonymous. */
enum meter_authn { METER_AUTHN_SUCCESS, METER_AUTHN_FAILURE, METER_AUTHN_ERROR, METER_AUTHN_COUNT };
void meter_authenticated(struct worker *w, enum meter_authn result, struct span user, int64_t took_ns);
enum meter_authz { METER_AUTHZ_ALLOWED, METER_AUTHZ_DENIED, METER_AUTHZ_NO_OPINION, METER_AUTHZ_COUNT };
void meter_authorized(struct worker *w, enum meter_authz result, int64_t took_ns);
/* A request came with a bearer token. known: nothing had to be verified. */
void meter_token(struct worker *w, bool known, bool good, int64_t took_ns);
/* Events of a resource's watches; the series are looked up once for a fan. */
struct meter_events {
	struct metrics_series *sent, *sizes;
};
void meter_watch(struct worker *w, const struct api_resource *res, struct meter_events *out);
void meter_events(const struct meter_events *e, size_t bytes, unsigned watches); /* one event to so many of them */
void meter_dispatched(struct worker *w, bool writing, bool exempt);
void meter_dropped(struct worker *w, bool writing);
void meter_terminated(struct call *c, int code); /* in self-defence, with 429 or 504 */
void meter_deprecated(struct call *c);		 /* a deprecated version was asked for */
/* One pass of admission's plugins is over. */
void meter_admitted(struct call *c, enum admission_op op, bool validating, bool refused, int64_t began_ns);
/* One plugin of a pass is over. METER_QUOTA: ResourceQuota, which runs behind the table. */
#define METER_QUOTA UINT32_MAX
void meter_plugin(struct worker *w, unsigned plugin, enum admission_op op, bool validating, bool refused, int64_t took_ns);
/* A transaction of the call was answered: "create", "update" or "delete" as etcd's clients name it, since c->commit_ns. */
void meter_committed(struct call *c);
void meter_page(struct apiserver *s, struct buf *out);
