/* Sub-resources that are not views of their object: each is an action (binding, eviction) or leads somewhere else (log, exec,
 * attach, portforward, proxy). Private to apiserver.
 *
 * Views (status, ephemeralcontainers, resize, approval, finalize) read and write the object itself: read.c and write.c serve
 * them, and the kind's strategy says which fields each may touch. */
#pragma once

#include "apiserver/server.h"

/* True when a row of sub.c takes the call over. */
bool sub_begin(struct call *c);
/* Goes on with a call that waited for its body. False when no row of sub.c asked for it. */
bool sub_body(struct call *c);

/* What the rows share.
 *
 * The answer of an action that has succeeded: Status, code 201. */
void sub_succeed(struct call *c);
/* Answers with c->err's message as upstream does for an error that has no reason: code 500, no more. */
void sub_fail_unknown(struct call *c);
/* name and namespace of an action's body must be those of the request. */
int sub_agree(struct call *c, const struct json *body, struct span group_version);
/* status.conditions of a pod: sets type to True. False when it was there as such already. */
bool sub_condition_set(struct call *c, struct json *pod, const char *type, const char *reason, const char *message);
/* An object of the call's namespace from c->snap; NULL when it is not there (or damaged: then c->err is set). */
const struct store_item *sub_object(struct call *c, struct span group, const char *plural, struct span ns,
				    struct span name, struct json *out);

/* bind.c, components.c, connect.c, evict.c, proxy.c */
void bind_create(struct call *c);
void evict_create(struct call *c);
void components_begin(struct call *c);
void connect_begin(struct call *c);
void proxy_begin(struct call *c);

/* connect.c: a pod of the call's namespace from c->snap; NULL with c->err set when it is not there. */
const struct store_item *connect_pod(struct call *c, struct span name, struct json *out);
/* Answers with c->err; what is INTERNAL there has no reason upstream. */
void connect_fail(struct call *c);
