/* What a PodDisruptionBudget's status is to say. Pure functions; private to src/controllers. */
#pragma once

#include "controllers/frame.h"

#define DISRUPTION_GONE_S 120 /* upstream's DeletionTimeout: an eviction that has not become a deletion by then is forgotten */

struct disruption_pod {
	struct span name;
	bool ready, deleted; /* deleted: being deleted */
	bool late;           /* out: was let go DISRUPTION_GONE_S ago, and is still there */
};

/* Must the owners of the pods be asked for how many there are to be? An integer minAvailable counts the pods instead. */
bool disruption_asks_scale(const struct json *budget);
/* The pods that count as wanted, and how many must stay healthy. scale: what all owners want; not read where nobody was asked. */
int disruption_expect(const struct json *budget, int64_t n_pods, int64_t scale, int64_t *out_expected, int64_t *out_desired,
		      struct err *err);
/* The whole status, in the arena. out_again_s: when a pod that was let go counts again; 0: none does. */
struct json disruption_status(struct arena *a, const struct json *budget, struct disruption_pod *pods, unsigned n, int64_t expected,
			      int64_t desired, int64_t now_s, int64_t *out_again_s);
/* The status of a budget that cannot be reckoned: nothing is let go, and the condition says why. */
struct json disruption_failed(struct arena *a, const struct json *budget, struct span why, int64_t now_s);
/* A selector as Go prints it, which is in upstream's event. Appended. */
void disruption_selector(struct buf *out, const struct json *selector);
/* The seconds until condition DisruptionTarget of a pod that nobody deletes is taken back; 0: now; -1: it has none. */
int64_t disruption_stale_in(const struct json *pod, int64_t now_s);
