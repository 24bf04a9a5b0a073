/* What a node's state means: conditions, taints, who may stay. Pure functions; private to src/controllers. */
#pragma once

#include "controllers/frame.h"

/* Conditions of a node that was silent for too long: those that a kubelet posts become Unknown. True: something changed. */
bool node_silence(struct arena *a, struct json *conditions, int64_t created_s, int64_t now_s);
/* The taints that the node is to have: those that are not ours as they are, ours by conditions and spec.unschedulable. A taint
 * that stays keeps its time. True: they differ from what is there. */
bool node_taints(struct arena *a, const struct json *node, int64_t now_s, struct json *out_taints);
/* When a pod must leave because of NoExecute taints: Unix time; 0 at once; -1 never. */
int64_t node_leave_s(const struct json *taints, const struct json *tolerations);
/* Does a toleration tolerate a taint? */
bool node_tolerates(const struct json *toleration, const struct json *taint);

/* Blocks of a pod range, one bit each. */
struct node_range {
	struct api_ip base;
	unsigned bits, mask;  /* of the range, of a block */
	uint32_t n;           /* blocks */
	uint8_t *used;        /* owned */
};
#define NODE_BLOCKS_MAX 65536 /* upstream's bound */
int node_range_init(struct node_range *r, struct span cidr, unsigned mask, struct err *err);
void node_range_done(struct node_range *r);
/* The block's index; -1: it is none of this range. */
int64_t node_range_find(const struct node_range *r, struct span cidr);
/* The first free one as text, taken; empty: none left. */
struct span node_range_take(struct arena *a, struct node_range *r);
