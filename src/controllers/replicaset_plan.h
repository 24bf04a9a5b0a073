/* What a ReplicaSet or a ReplicationController is to do now. Pure functions; private to src/controllers. */
#pragma once

#include "controllers/frame.h"

/* A pod as the ranking of deletions sees it. */
struct rs_pod {
	struct span key, uid;
	const struct row *row;
	unsigned rank; /* how many pods of related sets run on its node */
};
/* Orders by who goes first, as upstream's ActivePodsWithRanks does: not assigned, pending, not ready, cheap, doubled up on
 * a node, ready for a shorter time, restarted more, younger. Times count in powers of two (LogarithmicScaleDown); equals by uid. */
void rs_rank_deletions(struct rs_pod *pods, unsigned n, int64_t now_s);

#define RS_BURST 500
/* > 0: create so many; < 0: delete so many. */
int rs_difference(int64_t wanted, unsigned active);
