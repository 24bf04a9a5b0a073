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
void meter_authenticated(struct worker *w, bool ok);
void meter_authorized(struct worker *w, bool allowed);
void meter_dispatched(struct worker *w, bool writing, bool exempt);
void meter_dropped(struct worker *w, bool writing);
void meter_terminated(struct call *c, int code); /* in self-defence, with 429 or 504 */
void meter_deprecated(struct call *c);		 /* a deprecated version was asked for */
/* One pass of admission's plugins is over. */
void meter_admitted(struct call *c, enum admission_op op, bool validating, bool refused, int64_t began_ns);
/* A transaction of the call was answered: "create", "update" or "delete" as etcd's clients name it, since c->commit_ns. */
void meter_committed(struct call *c);
void meter_page(struct apiserver *s, struct buf *out);
