/* The arithmetic of a rollout: which ReplicaSet gets which size. Pure functions over numbers; private to src/controllers.
 * Names in brackets are upstream's. */
#pragma once

#include "controllers/frame.h"

struct deployment_rs {
	struct span name;
	int64_t created_s;
	int32_t replicas;                 /* spec */
	int32_t actual, ready, available; /* status */
	int64_t revision;                 /* of its annotation; 0: none */
	int64_t noted_max;                /* annotation max-replicas; 0: none */
	int64_t noted_desired;            /* annotation desired-replicas; -1: none */
	bool observed;                    /* its status is of its spec */
	bool deleting, is_new;
	int32_t to;                       /* out: the size it gets */
	bool doomed;                      /* out: it goes, being older than the history that is kept */
	uint32_t at;                      /* the caller's */
};
struct deployment_plan {
	int32_t replicas, surge, unavailable; /* resolved: deployment_fenceposts */
	bool rolling;                         /* else Recreate */
	int64_t history;                      /* revisionHistoryLimit; < 0: all are kept */
	int32_t status_replicas;              /* of its status, for sets without notes */
	struct deployment_rs *sets;           /* those of `to` untouched are at their size; at most one is_new */
	unsigned n;
};
/* [ResolveFenceposts] surge up, unavailable down; both 0 becomes 1 unavailable. Nonsense counts as 0. */
void deployment_fenceposts(const struct json *max_surge, const struct json *max_unavailable, int32_t replicas, int32_t *out_surge,
			   int32_t *out_unavailable);
/* Orders sets by creation, the oldest first, then by name; sets `to` to the present size. */
void deployment_prepare(struct deployment_plan *d);
/* [NewRSNewReplicas] the size that the new set may have now. */
int32_t deployment_new_size(const struct deployment_plan *d);
/* Was the Deployment itself scaled since the sets were sized? [isScalingEvent] */
bool deployment_was_scaled(const struct deployment_plan *d);
/* [scale] shares a change of size among the sets, in proportion while a rollout is under way. */
void deployment_scale(struct deployment_plan *d);
/* [rolloutRolling] one step of a rolling update: the new set up, or the old ones down. True: something moves. */
bool deployment_roll(struct deployment_plan *d);
/* All old sets to 0. True: something moves. */
bool deployment_scale_down_old(struct deployment_plan *d);
/* [cleanupDeployment] marks old sets that are doomed. */
void deployment_clean(struct deployment_plan *d);
/* [ComputeHash] in our own way: 10 characters of the safe alphabet, from the template's text and the collisions so far. */
struct span deployment_hash(struct arena *a, const struct json *template, int64_t collisions);
/* Equal but for the label pod-template-hash. */
bool deployment_same_template(struct arena *a, const struct json *x, const struct json *y);
