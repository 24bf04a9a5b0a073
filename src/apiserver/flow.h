/* How many requests at once, and whose. Private to apiserver; shared by all threads, without a lock.
 *
 * Two classes, reading and writing, each with a limit for all users together. What is still free decides how much of it one
 * user may hold: a request is let in while its user holds less than four times what is free. So one user that floods takes at
 * most four fifths, n of them together leave 1/(4n + 1) to the others, and who holds nothing is let in as long as
 * anything is free. (Choudhury and Hahne's dynamic thresholds for shared buffers; no queue, no shares to configure.)
 *
 * Users are told apart by a keyed hash into FLOW_SLOTS slots: two users may share a slot, and nobody can choose whose. */
#pragma once

#include "base/base.h"

#include <stdatomic.h>

enum flow_kind { FLOW_READING, FLOW_WRITING, FLOW_KIND_COUNT };
#define FLOW_SLOTS 1024

struct flow_class {
	int64_t limit;          /* 0: none */
	_Atomic int64_t total;  /* of those that are limited */
	_Atomic int64_t exempt; /* beside the limit: administrators, health checks */
	_Atomic uint32_t held[FLOW_SLOTS];
};
struct flow {
	struct flow_class classes[FLOW_KIND_COUNT];
};

/* What a request holds; zero-initialised: nothing. */
struct flow_ticket {
	bool held, exempt;
	uint8_t kind;
	uint16_t slot;
};

/* False: no room; the ticket holds nothing. An exempt one is always let in. */
bool flow_enter(struct flow *f, enum flow_kind kind, struct span user, bool exempt, struct flow_ticket *out);
void flow_leave(struct flow *f, struct flow_ticket *t); /* harmless without a hold */
int64_t flow_now(const struct flow *f, enum flow_kind kind); /* requests in flight, exempt ones too */
int64_t flow_exempt(const struct flow *f, enum flow_kind kind);
