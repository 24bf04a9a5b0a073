/* The machine of one pod: carries plans out. Private to src/kubelet.
 *
 *     refused <── NEW ──> LIVE ──> ENDING ──> ENDED ──> gone
 *                 admit    plan    kl_plan_end   │
 *                                                └─ the API's object is deleted; `removed` of its informer ends it all
 *
 * A step runs at most once a turn of the loop, after anything that may have changed what is to be done: a new object, a record of
 * the runtime, the end of an operation, a timer. Operations are structs of their own that hold a reference to the object that
 * they were begun for; each marks its item busy until it is over.
 *
 * LIVE     the plan is carried out
 * ENDING   deleted, gone from its source, refused, over its deadline, or over: nothing is started any more, everything is stopped
 * ENDED    no container runs, no sandbox is ready, volumes are taken down; the last status is written */
#pragma once

#include "kubelet/cri.h"
#include "kubelet/plan.h"

enum kl_stage { KL_NEW, KL_LIVE, KL_ENDING, KL_ENDED };

struct kl_worker {
	struct kl_pod *pod;
	enum kl_stage stage;
	struct loop_task step;
	struct loop_timer timer, report_timer;
	struct list starts, stops;        /* operations: kl_start.link, kl_stop.link */
	struct kubelet_cri_call *sandbox_call; /* one thing at a time is done to sandboxes */
	bool making;                      /* that call makes one */
	struct client_call *class_call;   /* asks for the RuntimeClass of the one that is to be made */
	char *handler;                    /* owned; what it said; NULL: not asked yet */
	struct span sandbox_id;           /* of that call; owned */
	int64_t sandbox_retry_ns;
	unsigned removals;                /* of dead containers and sandboxes, that are out */
	bool initialized, over;
	bool refused;                     /* it was never let in */
	bool gone;                        /* no source has it any more */
	bool sandbox_changed;             /* its event was told */
	char *reason;                     /* owned; phase Failed by the kubelet: "Evicted", "OutOfcpu"; NULL: no */
	char *message;                    /* owned */
	int64_t start_s;
	int64_t grace_s;                  /* in force while ending */
	struct span cgroup;               /* owned; "" = none made */
	bool cgroup_out, cgroup_made;     /* systemd is being asked for it; it was, and no sandbox was made in it since */
	struct list probes;               /* probe.c */
	bool volumes_closing, volumes_closed, purging, purged;
	/* report.c */
	struct client_call *report_call, *delete_call;
	struct bytes *reported;           /* status as the server has it; NULL: not known */
	int64_t reported_rv;
	int64_t report_retry_ms;          /* one failed: not again before (of the loop's clock, as the timer that goes on then) */
	uint64_t last_patch;              /* its hash, when it was sent */
	int64_t last_patch_ns;
	unsigned report_failures;
	bool first_waited;                /* the first status has had its moment */
	bool deleted;                     /* the API was told to delete it for good */
};

void kl_worker_new(struct kl_pod *p);
void kl_worker_wake(struct kl_worker *w);
/* Everything that is out is forgotten; for the end of the process. */
void kl_worker_free(struct kl_worker *w);
/* No source has the pod any more. */
void kl_worker_gone(struct kl_worker *w);
/* The kubelet ends it: phase Failed. */
void kl_worker_fail(struct kl_worker *w, const char *reason, struct span message);
/* Seconds that what is stopped now has. */
int64_t kl_worker_grace(const struct kl_worker *w);

/* ---- operations ---- */

/* Starts container `index`: image, then (sandbox and volumes there) environment, create, start, postStart. */
void kl_start_begin(struct kl_worker *w, unsigned index);
void kl_starts_go(struct kl_worker *w);     /* those that wait for the sandbox or for volumes look again */
void kl_starts_cancel(struct kl_worker *w, bool all); /* those that have made nothing yet, or all of them */

/* How long a status had better wait, because a container is just coming up and will be worth another one: ms, 0 = not at all. */
int64_t kl_starts_hold_ms(const struct kl_worker *w);

/* Stops a container: preStop, then the signal. Nothing happens if that is under way and not slower. */
void kl_stop_begin(struct kl_worker *w, const struct kl_kill *kill, int64_t grace_s);
void kl_stops_free(struct kl_worker *w);

void kl_sandbox_make(struct kl_worker *w, uint32_t attempt);
static inline bool kl_sandbox_busy(const struct kl_worker *w)
{
	return w->sandbox_call || w->class_call;
}
void kl_sandbox_stop(struct kl_worker *w, const struct kl_sandbox *s);
/* Dead containers and sandboxes that need not be kept. all: every one (the pod is gone). */
void kl_sweep(struct kl_worker *w, bool all);
/* cgroups.c: the pod's cgroup. false: not yet, or an event was told; the worker is woken when there is more to say. */
bool kl_cgroup_make(struct kl_worker *w);
void kl_cgroup_failed(struct kl_worker *w, const char *path, const struct err *why);
void kl_cgroup_remove(struct kl_worker *w);

/* The state of a container is asked for, and its record made of the answer. */
void kl_look(struct kl_pod *p, struct span container_id);

/* Compares what the status is with what the server has, and writes what differs. */
void kl_report(struct kl_worker *w);
void kl_report_seen(struct kl_worker *w); /* there is a new object */
void kl_report_end(struct kl_worker *w);  /* deletes the object for good, once its last status is written */
void kl_report_free(struct kl_worker *w);

/* message.c: reads the termination message of a container that exited into its record. */
void kl_message_read(const struct kl_pod *p, struct kl_container *c);
/* ROOT/pods/UID/containers/NAME/ATTEMPT */
void kl_message_path(struct buf *out, const struct kl_pod *p, struct span container, uint32_t attempt);

/* admit.c: false: the reason and the message of a refusal, in the arena. */
bool kl_admit(struct arena *a, const struct kl_pod *p, const char **out_reason, struct span *out_message);
