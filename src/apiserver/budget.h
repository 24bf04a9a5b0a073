/* What disruption budgets say of an eviction: pure, over trees. Private to apiserver. */
#pragma once

#include "json/json.h"

/* Pods that no budget counts: those that ended, have not begun, or go already. */
bool budget_is_free(const struct json *pod);
/* May a pod that is not ready go although the budget has nothing left? (unhealthyPodEvictionPolicy; a healthy budget) */
bool budget_lets_go_unready(const struct json *budget, const struct json *pod);
/* Takes one disruption: changes status of the budget, or says why there is none: TOO_MANY with cause DisruptionBudget and
 * retry_ms, or FORBIDDEN. now: RFC 3339. What stays in the tree is in the arena or borrowed from pod_name and now. */
int budget_take(struct arena *a, struct json *budget, struct span pod_name, struct span now, struct err *err);
/* The refusal of a budget whose controller has not seen its latest state. */
int budget_unseen(struct arena *a, struct span name, struct err *err);
