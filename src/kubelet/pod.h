/* Pods as the kubelet holds them: what is wanted (an object), what is there (sandboxes and containers), what is known besides.
 * Private to src/kubelet.
 *
 *     struct kl_pod *pod = kl_pod_get(k, ns, name);                // one that is there or still ends
 *     const struct api_core_pod_spec *spec = &pod->object->pod.spec;
 *     const struct kl_container *c = kl_pod_container(pod, SPAN("web"), false);
 *
 * A pod is keyed by its uid: another pod of the same name may come while the old one still ends. For a static pod the uid is the
 * hash of its file (annotation kubernetes.io/config.hash), not that of its mirror in the API. */
#pragma once

#include "api/api.h"
#include "kubelet/frame.h"

/* One state of a Pod object, decoded. Immutable and counted: who works with it over a turn of the loop takes a reference. */
struct kl_object {
	unsigned refs;
	struct arena arena;
	struct bytes *json;       /* as received; the spans below borrow from it */
	struct api_core_pod pod;
};
struct kl_object *kl_object_new(struct bytes *json, struct err *err); /* takes a reference of its own; NULL: no pod */
struct kl_object *kl_object_ref(struct kl_object *o);
void kl_object_unref(struct kl_object *o); /* accepts NULL */

enum kl_container_kind { KL_CONTAINER, KL_INIT, KL_EPHEMERAL };
/* Container i of a pod: init containers first, then containers, then ephemeral ones. An ephemeral container is a container with
 * one field more behind. */
unsigned kl_spec_n(const struct api_core_pod_spec *s);
const struct api_core_container *kl_spec_container(const struct api_core_pod_spec *s, unsigned i, enum kl_container_kind *out_kind);
/* Index of a name; -1: none. */
int kl_spec_find(const struct api_core_pod_spec *s, struct span name);
bool kl_is_sidecar(const struct api_core_container *c, enum kl_container_kind kind); /* an init container that stays */

enum kl_state { KL_CREATED, KL_RUNNING, KL_EXITED, KL_UNKNOWN }; /* CRI's ContainerState */

/* A container that the runtime knows. One block of memory, replaced as a whole when its state changed. */
struct kl_container {
	struct list link;         /* kl_pod.containers, newest attempt of a name first */
	struct span id, name, sandbox;
	struct span image;        /* as the runtime names what was asked for */
	struct span image_ref, image_id;
	struct span reason, message; /* the runtime's: "OOMKilled", "Completed", "Error" */
	struct span log_path;
	struct span hash;         /* of the spec that it was made from (annotation io.kubernetes.container.hash) */
	struct span message_path, message_policy;
	uint32_t attempt;         /* restarts before it */
	enum kl_state state;
	int64_t created_ns, started_ns, finished_ns;
	int32_t exit_code;
	int64_t uid, gid;
	char *said;               /* owned; its termination message, once it exited; NULL: none */
	bool tried;               /* this kubelet found it created and asked for its start: not again */
};
struct kl_sandbox {
	struct list link;         /* kl_pod.sandboxes, newest attempt first */
	struct span id;
	uint32_t attempt;
	bool ready;
	int64_t created_ns;
	struct span ips[4];       /* "" = none (host network, or not known yet) */
	unsigned n_ips;
};

/* What the kubelet knows of a container of the spec beside its states in the runtime. */
struct kl_item {
	bool busy;            /* being started or stopped: no other step for it meanwhile */
	bool started, ready;  /* by its probes; without such a probe true while it runs */
	bool startup_failed, liveness_failed;
	bool hooked;          /* its postStart runs or has failed: it is told as one that waits, whatever the runtime says */
	int64_t backoff_ms, backoff_at_ns; /* of restarts: length of the last one, when it was set (wall clock); 0: none yet */
	int64_t retry_ns;     /* a start failed: not again before (wall clock); 0: at once */
	const char *waiting;  /* reason of state.waiting: "ImagePullBackOff"; NULL: ContainerCreating or PodInitializing */
	char *message;        /* owned; state.waiting.message; NULL: none */
};

struct kl_volumes_pod;
struct kl_pod {
	struct kl *k;
	struct kl_object *object; /* wanted; owned reference. NULL for a moment only: found in the runtime and in no source */
	struct span uid, ns, name; /* owned by the pod */
	struct span mirror_uid;   /* of a static pod's mirror in the API; "" = none yet */
	bool is_static;
	bool orphan;              /* its containers were found, nobody wants it */
	struct list containers, sandboxes;
	struct kl_worker *worker; /* worker.c */
	struct kl_volumes_pod *volumes; /* NULL: none are set up */
	void *logs;               /* of the rotation of logs */
	struct kl_item *items;    /* one for each container of the spec, by kl_spec_container's index */
	unsigned n_items;
};

struct kl_pod *kl_pod_get(const struct kl *k, struct span ns, struct span name); /* of several the newest; NULL: none */
struct kl_pod *kl_pod_by_uid(const struct kl *k, struct span uid);               /* a mirror's uid finds its static pod */
/* Every pod in no order. Start with pos 0; NULL at the end. None may come or go meanwhile. */
struct kl_pod *kl_pod_next(const struct kl *k, size_t *pos);

/* The newest container of that name (previous: the one before it); NULL: none. */
const struct kl_container *kl_pod_container(const struct kl_pod *p, struct span name, bool previous);
const struct kl_container *kl_pod_container_id(const struct kl_pod *p, struct span id);
/* Whether the API says that container i of the spec has ended; asked of one that the runtime knows nothing of. One that it says
 * runs has ended, too, with 137: nobody knows how. False: it says nothing of the kind. A static pod's status is its mirror's, and
 * not asked. */
bool kl_pod_told_end(const struct kl_pod *p, unsigned i, int32_t *out_exit_code);
/* The newest sandbox if it is ready; NULL: none. */
const struct kl_sandbox *kl_pod_sandbox(const struct kl_pod *p);
bool kl_pod_host_network(const struct kl_pod *p);
/* Addresses as status.podIPs has them (the node's for a pod on the host's network). */
unsigned kl_pod_ips(const struct kl_pod *p, struct span out[static 4]);

/* ---- records of what the runtime has; for relist.c and worker.c ---- */

#define KL_LABEL_POD_NAME "io.kubernetes.pod.name"
#define KL_LABEL_POD_NS "io.kubernetes.pod.namespace"
#define KL_LABEL_POD_UID "io.kubernetes.pod.uid"
#define KL_LABEL_CONTAINER "io.kubernetes.container.name"
#define KL_NOTE_HASH "io.kubernetes.container.hash"
#define KL_NOTE_RESTARTS "io.kubernetes.container.restartCount"
#define KL_NOTE_MESSAGE_PATH "io.kubernetes.container.terminationMessagePath"
#define KL_NOTE_MESSAGE_POLICY "io.kubernetes.container.terminationMessagePolicy"
#define KL_NOTE_GRACE "io.kubernetes.pod.terminationGracePeriod"

/* Makes or replaces a record. True: something in it changed. sandbox: its id where the status does not tell it. */
bool kl_container_put(struct kl_pod *p, const struct api_cri_container_status *s, struct span sandbox);
bool kl_sandbox_put(struct kl_pod *p, const struct api_cri_pod_sandbox_status *s);
void kl_container_drop(struct kl_container *c); /* unlinks and frees */
void kl_sandbox_drop(struct kl_sandbox *s);

/* Makes a pod and puts it into the tables of k. */
struct kl_pod *kl_pod_new(struct kl *k, struct span uid, struct span ns, struct span name);
/* Takes it out of the tables and frees it; its worker and volumes must be gone. */
void kl_pod_free(struct kl_pod *p);
/* Takes over the reference; items of containers that are known stay. */
void kl_pod_object_set(struct kl_pod *p, struct kl_object *o);
void kl_item_waiting(struct kl_item *it, const char *reason, struct span message); /* reason NULL: none */

/* ROOT/pods/UID and what is beneath; appended. */
void kl_pod_dir(struct buf *out, const struct kl_pod *p);
/* ROOT/pods/UID/containers/NAME */
void kl_container_dir(struct buf *out, const struct kl_pod *p, struct span container);
/* LOGS/NS_NAME_UID; a container's file is NAME/ATTEMPT.log beneath. */
void kl_pod_log_dir(struct buf *out, const struct kl_pod *p);

/* orphans.c: once sources and runtime are both known, what belongs to no pod is removed. */
void kl_orphans_sweep(struct kl *k);

/* The pod as the API should show it: the object with the status as it is now. Appended as JSON. */
void kl_pod_write(struct buf *out, const struct kl_pod *p);
/* An event about the pod or (container not empty) about spec.containers{NAME} of it. */
void kl_pod_event(const struct kl_pod *p, struct span container, const char *type, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* Something that the pod waits for has changed (volumes, environment, image, probe): looked at again in this turn. */
void kl_pod_wake(struct kl_pod *p);
