/* What the files of the CRI face share. Private.
 *
 *     grpc_req ── cri_call ─┬─ answered at once on the loop
 *                           ├─ container_call: an operation of the container engine
 *                           └─ work: run on a worker, then on the loop */
#pragma once

#include <stdatomic.h>

#include "api/api.h"
#include "container/container.h"
#include "cri/cni.h"
#include "cri/cri.h"
#include "grpc/grpc.h"
#include "http/http.h"

#define CRI_IPS_MAX 16 /* of a sandbox */
#define CRI_PAUSE_IMAGE "registry.k8s.io/pause:3.10"

/* ---- what there is ---- */

struct cri_rate { /* stats.c: of processor time, by the loop's clock */
	uint64_t cpu_ns, nano_cores;
	int64_t at_ms;            /* 0 = no reading yet */
	bool known;
};

/* A sandbox: its pause container, and its network. */
struct cri_pod {
	struct cri *cri;
	char id[65];              /* of the pause container, too */
	struct list link;
	struct list containers;   /* struct cri_container.of_pod, oldest first */
	struct arena arena;
	struct api_cri_pod_sandbox_config config;
	struct span handler;      /* as asked for */
	int64_t created_ns;
	bool stopped;             /* StopPodSandbox began: its network is taken away */
	bool removing;
	struct list ops;          /* struct cri_call.of_pod: changes, one at a time */
	struct span *ips;         /* in net_arena */
	unsigned n_ips;
	struct arena net_arena;
	struct cri_rate cpu;      /* of its group */
};

struct cri_container {
	char id[65];
	struct list link, of_pod;
	struct cri_pod *pod;
	struct arena arena;
	struct api_cri_container_config config;
	struct span image_id;     /* "sha256:..." */
	struct span image_ref;    /* name@digest where it has one, else the id */
	struct span image;        /* its name when the container was made */
	int32_t stop_signal;      /* what a stop begins with: the configuration's, else the image's, else SIGTERM */
	struct api_cri_linux_container_user *user; /* of the start at user_ns; NULL = not looked at yet */
	int64_t user_ns;
	int64_t created_ns;
	bool starting;
	struct list updates;      /* containers.c: struct update.link; the first is under way */
	/* stats.c: the readings before */
	struct cri_rate cpu;
	uint64_t layer_bytes, layer_inodes;
	int64_t layer_ns;         /* since 1970; 0 = none yet */
	int64_t layer_at_ms;      /* of the loop's clock */
};

struct cri {
	struct cri_params p;
	struct arena texts;       /* the parameters' */
	struct container_engine *containers;
	struct volume_store *volumes;
	struct grpc_server *grpc;
	struct http_server *server;
	struct list pods, all;    /* cri_pod.link, cri_container.link: oldest first */
	struct map pods_by_id, all_by_id;
	struct list calls;        /* struct cri_call.link */
	struct cri_cni *cni;      /* owned: networks.c */
	struct cri_paths paths;   /* constant: workers read it */
	char *pod_cidr;           /* owned: of UpdateRuntimeConfig; NULL = none */
	struct list making, making_containers; /* names that are promised: pods.c, containers.c */
	struct list debts, net_jobs; /* struct net_job: debts.c */
	struct net_job *net_job;  /* under way */
	struct loop_timer plugins_timer; /* after a stop: then they are ended */
	struct list listeners;    /* events.c */
	struct http_server *streams; /* stream.c */
	unsigned stream_port, n_tickets;
	struct list tickets;      /* oldest first */
	struct list conns;        /* struct cri_conn (stream.h): taken over from the server */
	bool stopping, closing;
	void (*closed)(void *arg);
	void *closed_arg;
	struct loop_task close_task;
	unsigned threads;         /* cri_thread's that run */
	unsigned busy;            /* what must be over before the face is */
};

/* ---- calls (call.c) ---- */

struct cri_call;
struct cri_rpc {
	const char *name; /* "/runtime.v1.RuntimeService/Version" */
	enum api_typed request, response;
	void (*handle)(struct cri_call *k, const void *in);
};

/* One request. It lives until it was answered and its exchange is over, whatever the client does meanwhile: operations go on
 * when a client gives up, as their effects are asked for again by name. */
struct cri_call {
	struct cri *cri;
	const struct cri_rpc *rpc;
	struct grpc_req *req; /* NULL: nobody waits any more */
	struct list link;
	struct arena arena;
	struct err err;
	bool answered;
	void *state;                      /* the handler's */
	struct container_call container;
	void (*container_then)(struct cri_call *k); /* k->err says how it went */
	struct loop_work work;
	int (*work_run)(struct cri_call *k, struct err *err);
	void (*work_then)(struct cri_call *k);      /* likewise */
	struct loop_msg posted;
	void (*client_left)(struct cri_call *k);    /* may be NULL. An answer may be under way */
	atomic_bool left;                 /* nobody waits any more: what can be cut short should be; any thread reads it */
	/* pods.c: changes of a sandbox */
	struct list of_pod;
	struct cri_pod *pod;              /* NULL when it is gone */
	void (*pod_begin)(struct cri_call *k);
	void (*stopped_then)(struct cri_call *k);
	bool force;
	unsigned parts;
	void (*parts_then)(struct cri_call *k);
};

extern const struct grpc_method cri_methods[];
extern const size_t cri_n_methods;
const struct cri_rpc *cri_rpc_at(size_t i); /* NULL behind the last */

/* Exactly one of these ends a call. out: the response's struct. */
void cri_answer(struct cri_call *k, const void *out);
void cri_answer_empty(struct cri_call *k); /* a response without fields */
void cri_fail(struct cri_call *k);         /* with k->err */
void cri_fail_with(struct cri_call *k, enum err_class class, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Runs `run` on a worker, which may use k's arena, state and copies alone; then `then` on the loop with k->err. */
void cri_work(struct cri_call *k, int (*run)(struct cri_call *k, struct err *err), void (*then)(struct cri_call *k));
/* The same on a thread of its own, for what may take minutes. */
void cri_thread(struct cri_call *k, int (*run)(struct cri_call *k, struct err *err), void (*then)(struct cri_call *k));
void cri_threads_cancel(struct cri *c);
/* The call to pass to one operation of the container engine; then `then` with k->err and k->container.result. */
struct container_call *cri_container_call(struct cri_call *k, void (*then)(struct cri_call *k));
void cri_busy(struct cri *c, int by);

/* ---- handlers: cri_NAME(struct cri_call *k, const void *in), in the table of rpcs.def ---- */
#define CRI(service, method, request, response, handler) void cri_##handler(struct cri_call *k, const void *in);
#include "cri/rpcs.def"
#undef CRI

/* ---- pods.c, containers.c ---- */
/* Changes of one sandbox, one at a time: begin is called when k is at the head, with k->pod NULL when the sandbox went away
 * meanwhile. */
void cri_pod_lock(struct cri_pod *pod, struct cri_call *k, void (*begin)(struct cri_call *k));
void cri_pod_unlock(struct cri_call *k);
void cri_pod_take_up(struct cri_pod *pod, const struct json *net); /* its addresses, from its network's result */
void cri_container_gone(struct cri_container *one); /* removed: tells of it, frees it */
void cri_updates_fail(struct cri_container *one); /* those that wait: it is about to go */
bool cri_handler_known(struct span name);
/* A seccomp profile's text; path empty: empty. On a worker. */
int cri_profile_read(struct span path, struct arena *a, struct span *out, struct err *err);
/* images.c; on a worker: an image by any of its names, as ImageStatus shows it. NOT_FOUND. */
/* stop_signal: the configuration's word, in the call's arena. */
int cri_image_show(struct cri_call *k, struct span name, struct api_cri_image *out, struct span *out_stop_signal, struct err *err);

/* execsync.c: an exec of a container that runs. */
int cri_exec_config(struct cri *c, struct span id, const struct span *cmd, uint32_t n, bool in, bool tty, struct arena *a,
	char out_exec[65], struct err *err);
void cri_exec_syncs_end(struct cri *c); /* nobody will hear how they end */
/* stream.c */
int cri_streams_open(struct cri *c, struct err *err);
void cri_streams_cut(struct cri *c);  /* every client is left */
void cri_streams_free(struct cri *c); /* stopped */

/* stats.c. Interfaces of a process' network namespace but lo; in the arena. Blocks a little: on a worker. */
uint32_t cri_interfaces_read(pid_t pid, struct arena *a, struct api_cri_network_interface_usage **out);
uint32_t cri_interfaces_parse(struct span text, struct arena *a, struct api_cri_network_interface_usage **out); /* pure */

/* ---- events.c ---- */
enum cri_event { CRI_EVENT_CREATED, CRI_EVENT_STARTED, CRI_EVENT_STOPPED, CRI_EVENT_DELETED }; /* ContainerEventType */
void cri_event(struct cri_pod *pod, const char *id, enum cri_event event); /* id: of the pod or of one of its containers */
void cri_listen_events(struct grpc_req *r, struct span message, void *arg);
void cri_events_end(struct cri *c);
void cri_on_container_event(void *cri, const struct container_event *ev);

/* ---- debts.c: what plugins are still to be asked ---- */
void cri_check_add(struct cri *c, const char *id);
void cri_check_cancel(struct cri *c); /* one that is under way ends soon */
/* Is a CHECK of this sandbox under way? Then it is cancelled, and then(k) comes when it is over. */
bool cri_check_end(struct cri *c, const char *id, struct cri_call *k, void (*then)(struct cri_call *k));
void cri_debt_add(struct cri *c, const char *id); /* a DEL of a sandbox that is no more; harmless when it is known */
void cri_debts_settle(struct cri *c);             /* tries all of them (again) */
void cri_debts_free(struct cri *c);               /* nothing is under way */

/* ---- networks.c: which network pods get ---- */
struct cri_cni;
void cri_cni_new(struct cri *c);
void cri_cni_close(struct cri_cni *n); /* looks no more; memory is free when nothing is busy. Accepts NULL, as the next */
void cri_cni_free(struct cri_cni *n);
/* What pods get now: a conflist with its plugins, in the shape of a .conflist file; NULL and a reason when there is none. Borrowed
 * until the loop's next turn. */
const struct json *cri_cni_config(struct cri_cni *n, const char **out_why);

/* ---- spec.c: configurations as documents of the container engine ---- */
struct cri_documents {
	struct json config, host, extra;
};
/* netns: path of the sandbox's network namespace, empty with the host's. seccomp: text of the profile that cri_spec_seccomp_path
 * names, if it names one. What *out points at lives in the arena, or is the configuration's. */
int cri_spec_pod(const struct api_cri_pod_sandbox_config *p, const char *runner, struct span netns, struct span seccomp,
	bool systemd, struct arena *a, struct cri_documents *out, struct err *err);
int cri_spec_container(const struct cri_pod *pod, const struct api_cri_container_config *c, struct span image,
	struct span seccomp, bool systemd, struct arena *a, struct cri_documents *out, struct err *err);
void cri_spec_resources(const struct api_cri_linux_container_resources *r, struct arena *a, struct json *host, struct json *extra);
/* Signal of the CRI by a name or number as images have it; 0 for none that there is. */
int32_t cri_spec_signal(struct span name);
/* UNSUPPORTED: labels are asked for, and the machine has SELinux (else they say nothing, as with containerd). */
int cri_spec_selinux(const struct api_cri_se_linux_option *o, bool machine_has, struct err *err);
bool cri_selinux_there(void);
struct span cri_spec_seccomp_path(const struct api_cri_security_profile *p, struct span old);
const struct api_cri_namespace_option *cri_spec_pod_spaces(const struct api_cri_pod_sandbox_config *p); /* NULL = defaults */
bool cri_spec_host_network(const struct api_cri_pod_sandbox_config *p);
/* Where the container logs; empty = nowhere. */
struct span cri_log_path(const struct cri_pod *pod, const struct api_cri_container_config *c, struct arena *a);

/* ---- store.c: sandboxes and containers in memory; their truth is the record that the container engine keeps ----
 *
 *     Extra.Cri of a sandbox's pause    {"Kind": "sandbox", "Config": PodSandboxConfig, "Handler", "CreatedNs"}
 *     Extra.Cri of a container          {"Kind": "container", "Config": ContainerConfig, "ImageId", "ImageRef", "CreatedNs",
 *                                        "StopSignal": number of the CRI's enum}
 *     Extra.Sandbox                     the container's sandbox */
int cri_take_up(struct cri *c, struct err *err);
/* extra is copied. INVALID (CORRUPT) when it is no sandbox's, or its sandbox is not there. */
int cri_pod_add(struct cri *c, const char *id, const struct json *extra, struct cri_pod **out_pod, struct err *err);
int cri_container_add(struct cri *c, const char *id, const struct json *extra, struct cri_container **out_container,
	struct err *err);
void cri_pod_free(struct cri_pod *pod); /* with its containers */
void cri_container_free(struct cri_container *k);
/* By id or the beginning of one that only one has. NOT_FOUND. */
struct cri_pod *cri_pod_find(struct cri *c, struct span id, struct err *err);
struct cri_container *cri_container_find(struct cri *c, struct span id, struct err *err);
bool cri_pod_ready(const struct cri_pod *pod);

/* ---- show.c ---- */
enum { CRI_CREATED, CRI_RUNNING, CRI_EXITED, CRI_UNKNOWN }; /* ContainerState */
enum { CRI_READY, CRI_NOT_READY };                          /* PodSandboxState */
int cri_container_now(const struct cri_container *k, struct container_state *out);
/* Whole statuses; what they point at lives in the arena or with the object. */
void cri_show_pod(struct cri_pod *pod, struct arena *a, struct api_cri_pod_sandbox_status *out);
void cri_show_container(struct cri_container *k, struct arena *a, struct api_cri_container_status *out);
/* Are all of want among have? */
bool cri_labels_match(const struct api_pair *want, uint32_t n_want, const struct api_pair *have, uint32_t n_have);
#define CRI_LABELS(want, have) cri_labels_match((want).ptr, (want).n, (have).ptr, (have).n)
/* Lists of one anonymous type are another's. */
#define CRI_LIST(to, from) ((to).ptr = (from).ptr, (to).n = (from).n)
