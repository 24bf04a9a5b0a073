/* ConfigMaps and Secrets that pods of this node name: each followed by one watch (field selector metadata.name, which is what the
 * Node authorizer lets a node ask for), shared by all who use it, and kept for a minute after the last, because the next pod of
 * the namespace wants kube-root-ca.crt again. Private to src/kubelet.
 *
 *     struct kl_ref *r = kl_ref_new(objects, KL_CONFIG_MAP, ns, name, on_change, me);
 *     switch (kl_ref_look(r, &json)) ...
 *     kl_ref_drop(r);
 *
 * One loop thread. `changed` is never called inside the call that began the use, nor after the drop; it may drop. */
#pragma once

#include "base/base.h"
#include "client/client.h"

enum kl_object_kind { KL_CONFIG_MAP, KL_SECRET, KL_OBJECT_KINDS };
enum kl_seen {
	KL_SEEN_NOT, /* the server has not answered yet, or refuses: kl_ref_why */
	KL_SEEN_ABSENT,
	KL_SEEN_THERE,
};

struct kl_objects;
struct kl_ref;

struct kl_objects *kl_objects_new(struct client *c);
void kl_objects_free(struct kl_objects *o); /* every use is dropped; accepts NULL */

struct kl_ref *kl_ref_new(struct kl_objects *o, enum kl_object_kind kind, struct span ns, struct span name,
			  void (*changed)(struct kl_ref *r, void *arg), void *arg);
void kl_ref_drop(struct kl_ref *r); /* accepts NULL */
/* json is borrowed until the next `changed`. */
enum kl_seen kl_ref_look(const struct kl_ref *r, struct bytes **out_json);
bool kl_ref_is(const struct kl_ref *r, enum kl_object_kind kind, struct span name);
void kl_ref_name(const struct kl_ref *r, struct buf *out); /* `configmap "x"`; appended */
/* The server's words when it refuses; empty = none. */
struct span kl_ref_why(const struct kl_ref *r);
/* What is known of an object that somebody uses. Without an API server nothing is there. */
enum kl_seen kl_objects_look(const struct kl_objects *o, enum kl_object_kind kind, struct span ns, struct span name,
			     struct bytes **out_json);
