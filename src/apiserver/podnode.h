/* On which node a stored pod is: found once for each version of a pod and hung on the store's item (store_item_attach). Private to
 * apiserver.
 *
 * Every kubelet lists and watches the pods of its node. Parsing each pod for each of them would cost 2 µs times pods times nodes;
 * this costs a pointer, shared by all pods of a node, and a comparison. Any thread. */
#pragma once

#include "base/base.h"
#include "store/store.h"

/* spec.nodeName; empty when it has none (or is damaged: reading it by name says so). Lives as long as the item. */
struct span podnode_of(struct store *s, const struct store_item *it);
/* The store's `detach` (store_options): nothing else is hung on items. */
void podnode_detach(void *attached);
unsigned podnode_names(void); /* different names alive; for tests */
