/* What must be done next for a pod: pure functions of what is wanted, what is there, and the time. Private to src/kubelet.
 *
 * The rules are upstream's computePodActions; what the API was told counts where the runtime has forgotten (decision 0900). A plan
 * names only steps that are due now; whoever carries them out marks their items busy, and asks for a new plan at each change and at
 * wake_ns. */
#pragma once

#include "kubelet/pod.h"

#define KL_BACKOFF_FIRST_MS 10000 /* then doubled up to kl_plan_in.max_backoff_ms; upstream's 10 s and 5 min */

struct kl_kill {
	const struct kl_container *container;
	int index;           /* of the spec; -1: it is in no spec */
	struct span message; /* of event Killing behind "Stopping container NAME": "Container web failed liveness probe, will be ..." */
	int64_t grace_s;     /* -1: the pod's */
};
struct kl_plan_in {
	const struct kl_pod *pod;
	int64_t now_ns;      /* wall clock */
	int64_t max_backoff_ms;
};
struct kl_plan {
	bool kill_pod;       /* nothing of it may run: kl_plan_end says in which order */
	bool over;           /* and nothing will be started again */
	bool make_sandbox;   /* none is usable; with kill_pod: after the old one is stopped */
	uint32_t attempt;    /* of the sandbox to be made */
	bool initialized;    /* the init containers are through */
	unsigned *start;     /* indexes of the spec, each not busy */
	unsigned n_start;
	unsigned *waiting;   /* indexes whose restart waits for its back-off */
	unsigned n_waiting;
	struct kl_kill *kill;
	unsigned n_kill;
	int64_t wake_ns;     /* look again then; 0: nothing depends on time alone */
};
/* Arrays lie in the arena. */
void kl_plan_make(struct arena *a, const struct kl_plan_in *in, struct kl_plan *out);

/* A pod that ends: what is to be stopped now. Sidecars go after everything else, the last first. done: no container runs and no
 * sandbox is ready. sandbox: the one to be stopped next, once no container runs. */
struct kl_end {
	struct kl_kill *kill;
	unsigned n_kill;
	const struct kl_sandbox *sandbox;
	bool running; /* a container still runs */
	bool done;
};
void kl_plan_end(struct arena *a, const struct kl_pod *pod, struct kl_end *out);

/* A pod without a sandbox to live in: is nothing of it to be begun any more? */
bool kl_plan_finished(const struct kl_pod *pod);

/* Would this container be started (again), its newest state being c (NULL: the runtime knows nothing of it)? Back-off is not
 * looked at. */
bool kl_should_restart(const struct kl_pod *pod, unsigned index, const struct kl_container *c);
/* Nanoseconds of the wall clock until which a restart waits; 0: it need not wait. */
int64_t kl_backoff_until(const struct kl_item *item, const struct kl_container *last, int64_t now_ns, int64_t max_ms);
/* A restart is made now. */
void kl_backoff_next(struct kl_item *item, const struct kl_container *last, int64_t now_ns, int64_t max_ms);

/* Dead containers that need not be kept: all but the newest of each name of the spec, and the one before it while the newest
 * lives. Names that are not in the spec: all. Returns how many were put into out. */
unsigned kl_plan_garbage(const struct kl_pod *pod, bool pod_over, const struct kl_container **out, unsigned max);
