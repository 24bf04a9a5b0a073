/* Admission of a request: the plugins of src/admission over the state that the current try sees, and what must be committed
 * together with the object: counters of quotas, addresses, ports. Private to apiserver.
 *
 *     struct admission *req = admit_begin(c, ADMISSION_CREATE, &object, NULL);
 *     if (admit_mutate(c, req) < 0) ...          // c->err; warnings are on the call
 *     ...prepare, validate...
 *     if (admit_validate(c, req) < 0) ...        // then the quotas: their new counters ride with the next commit
 */
#pragma once

#include "admission/admission.h"
#include "apiserver/server.h"

/* A request of the call's user about its resource and sub-resource; object and old as admission.h says. Takes a snapshot
 * when the call has none. In the call's arena; c->admitted keeps it for the audit. */
struct admission *admit_begin(struct call *c, enum admission_op op, struct json *object, const struct json *old);
int admit_mutate(struct call *c, struct admission *req);
int admit_validate(struct call *c, struct admission *req);
/* The second pass without the quotas: for actions that store nothing of their own (Binding, Eviction, TokenRequest). */
int admit_check(struct call *c, struct admission *req);
/* Both passes and no quota: deletions, evictions. */
int admit_both(struct call *c, enum admission_op op, struct json *object, const struct json *old);
/* Is a plugin on? */
bool admit_has(const struct apiserver *s, const char *plugin);

/* ---- what is committed with the object or not at all */
/* Each names what is expected of the key: its revision as the try saw it, 0 for absent. What differs by then makes the
 * transaction fail and the try start over. A key at most once a try. Keys are copied; put takes the reference. */
void also_reset(struct call *c);
void also_put(struct call *c, struct span key, int64_t seen_rev, struct bytes *value);
void also_delete(struct call *c, struct span key, int64_t seen_rev);
bool also_has(const struct call *c, struct span key);
/* Adds them to the transaction. */
void also_add(const struct call *c, struct store_txn *t);
