/* A client of CRI v1 (the Container Runtime Interface) over a unix socket. Private to src/kubelet.
 *
 *     struct kubelet_cri_params p = { .loop = l, .endpoint = SPAN("unix:///run/containerd/containerd.sock") };
 *     kubelet_cri_new(&p, &cri, &err);
 *     struct api_cri_container_status_request q = { .container_id = id };
 *     kubelet_cri_container_status(cri, &q, on_status, me);
 *
 *     static void on_status(const struct err *why, const void *reply, void *arg)
 *     {
 *             const struct api_cri_container_status_response *r = reply;   // NULL exactly when why is set
 *             ...
 *     }
 *
 * Requests are encoded inside the call: what they borrow may go afterwards. `done` comes exactly once, never inside the call
 * that began it, and not at all after kubelet_cri_cancel; reply and why live for the call of `done`. Each call dials again
 * when the connection is gone, so a runtime that was restarted is found by itself; while it is away calls fail at once with
 * UNAVAILABLE, and nothing is sent twice: who called knows whether it may be repeated.
 *
 * Errors have the class that the status code means (NotFound is ERR_NOT_FOUND, ...) and upstream's words, which end up in
 * events: `rpc error: code = NotFound desc = an error occurred when try to find container "x": not found`.
 *
 * One loop thread. A reply is bounded by 16 MB, as upstream's. */
#pragma once

#include "api/api.h"
#include "base/base.h"
#include "grpc/grpc.h"
#include "loop/loop.h"

struct kubelet_cri;
struct kubelet_cri_call;

enum kubelet_cri_method {
#define CRI(NAME, name, service, method, timeout_s) KUBELET_CRI_##NAME,
#include "kubelet/cri.def"
#undef CRI
	KUBELET_CRI_COUNT
};

/* What the runtime itself said, without "rpc error: code = X desc = " before it: upstream's words about create and start. */
const char *kubelet_cri_words(const struct err *why);

struct kubelet_cri_params {
	struct loop *loop;
	struct span endpoint;       /* "unix:///run/x.sock" or "/run/x.sock" */
	struct span image_endpoint; /* of the ImageService; empty = the same */
};
/* Connects to nobody yet. USAGE when an endpoint is none or its path is too long for a socket. */
int kubelet_cri_new(const struct kubelet_cri_params *p, struct kubelet_cri **out_cri, struct err *err);
/* Calls that are out are forgotten (nothing is told); event streams must be closed. Accepts NULL. */
void kubelet_cri_free(struct kubelet_cri *c);

typedef void kubelet_cri_fn(const struct err *why, const void *reply, void *arg);
/* request: the struct of that method. timeout_ms 0 = the method's own. Never NULL; the handle is good until `done`. */
struct kubelet_cri_call *kubelet_cri_send(struct kubelet_cri *c, enum kubelet_cri_method m, const void *request,
					  unsigned timeout_ms, kubelet_cri_fn *done, void *arg);
/* Nothing is told any more; it may have happened nevertheless. */
void kubelet_cri_cancel(struct kubelet_cri_call *call);

/* The same, one a method, with the type of its request: kubelet_cri_run_pod_sandbox(c, &request, done, arg). */
#define CRI(NAME, name, service, method, timeout_s)                                                                      \
	static inline struct kubelet_cri_call *kubelet_cri_##name(                                                       \
		struct kubelet_cri *c, const struct api_cri_##name##_request *request, kubelet_cri_fn *done, void *arg)  \
	{                                                                                                                \
		return kubelet_cri_send(c, KUBELET_CRI_##NAME, request, 0, done, arg);                                   \
	}
#include "kubelet/cri.def"
#undef CRI

/* ---- what happens to containers and sandboxes ---- */

enum kubelet_cri_event_type { /* the numbers of ContainerEventType */
	KUBELET_CRI_CREATED,
	KUBELET_CRI_STARTED,
	KUBELET_CRI_STOPPED,
	KUBELET_CRI_DELETED,
};
struct kubelet_cri_event {
	enum kubelet_cri_event_type type;
	struct span container_id; /* of a sandbox's own events: its id */
	struct span sandbox_id;   /* empty when the runtime does not say (a deleted container) */
	struct span pod_uid;      /* likewise */
	/* The states of the sandbox and all its containers as they were then; NULL when the event was found by comparing lists
	 * (see below) or the runtime sent none: ask. */
	const struct api_cri_container_event_response *full;
};

/* GetContainerEvents, opened again whenever it ends (after 20 ms, doubled up to 1 s).
 *
 * `opened` says: from here on events are told, what happened before is not: list everything. A runtime that answers
 * the stream's header at once (ours) is known to listen by that; one that sends it with the first event (containerd) is taken
 * to listen when a call made after it was answered, and `opened` is told once more a second later, so that an event that fell
 * between is not lost. It may be told several times for one stream.
 *
 * A runtime without GetContainerEvents (containerd before 1.7, CRI-O unless asked) answers Unimplemented: then both lists are
 * compared every poll_ms, as kubelet's generic PLEG does, and the differences told. `closed` tells each loss (why),
 * so that the owner can say that the runtime is down. All callbacks may close. */
struct kubelet_cri_events;
struct kubelet_cri_events_params {
	struct kubelet_cri *cri;
	unsigned poll_ms; /* 0 = 1000 */
	void (*opened)(void *arg);
	void (*event)(const struct kubelet_cri_event *e, void *arg);
	void (*closed)(const struct err *why, void *arg); /* may be NULL */
	void *arg;
};
struct kubelet_cri_events *kubelet_cri_events_open(const struct kubelet_cri_events_params *p);
void kubelet_cri_events_close(struct kubelet_cri_events *e); /* accepts NULL */
bool kubelet_cri_events_polls(const struct kubelet_cri_events *e); /* by comparing lists */
