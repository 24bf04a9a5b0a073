/* Events about what the server itself finds and puts right, as upstream's controllers inside of kube-apiserver record them
 * through events.k8s.io. Private to apiserver; of one thread.
 *
 * What is found again within six minutes is one Event whose series counts, as client-go's recorder has it; a series is written at
 * each look. Nobody waits for the writes, and a lost one is only a lost Event. */
#pragma once

#include "apiserver/server.h"

#define TELL_KEPT 64

struct told {
	struct buf key; /* what the Event says of what; empty: free */
	struct buf at;	/* the Event's key in the store */
	unsigned count;
	int64_t last_ms;
};
struct tell { /* zero-initialised; tell_done at its end */
	struct told told[TELL_KEPT];
	unsigned serial;
};
void tell_done(struct tell *t);

struct tell_note {
	const char *controller, *action, *reason;
	const struct api_resource *about; /* of what is spoken of; its stored tree, as object_read gives it */
	const struct json *object;
	struct span note;
};
void tell_warning(struct tell *t, struct worker *w, const struct tell_note *n);
