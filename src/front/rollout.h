/* What rollout.c and revisions.c share. Private to front. */
#pragma once

#include "front/private.h"

struct rollout {
	struct front *f;
	struct front_words files;
	struct span selector, dry_text;
	bool watch;
	int64_t timeout_ns, revision, to_revision; /* 0 = none given */
};
/* "deployment.apps/web SAID" */
int rollout_say(struct rollout *r, const struct front_target *t, const char *said, struct err *err);
/* The revisions of a deployment are its replica sets, by their annotation; those of daemon sets and stateful sets are
 * ControllerRevisions. */
int rollout_history(struct rollout *r, const struct front_target *t, struct err *err);
int rollout_undo(struct rollout *r, const struct front_target *t, struct err *err);
