/* Writes that say nothing but that somebody still lives, and Events: they are answered from memory and reach the disk with the
 * store's next flush, Events that are over before the one after it not at all (store.h, DURABILITY). A crash takes them back to
 * the last durable state of the object; none of them decides anything that their writers would not say again within
 * seconds. Private to apiserver. */
#pragma once

#include "apiserver/server.h"

enum heartbeat { HEARTBEAT_NONE, HEARTBEAT_RENEWAL, HEARTBEAT_EVENT };

/* Is c->value of c->res such a write, and which? old: the item that it replaces, NULL for a creation.
 *   - any Event (those of both groups are one resource): fleeting, it goes with --event-ttl;
 *   - a Lease that differs in spec.renewTime alone: the holder, the count of changes and all else are what they were;
 *   - a node's status that differs in the lastHeartbeatTime of conditions alone.
 * Times of managedFields may differ as well: they follow from the write. Allocates in the call's arena. */
enum heartbeat heartbeat_of(struct call *c, const struct store_item *old);
