/* What the files of the CRI face share. Private.
 *
 *     grpc_req ── cri_call ─┬─ answered at once on the loop
 *                           ├─ container_call: an operation of the container engine
 *                           └─ work: run on a worker, then on the loop */
#pragma once

#include "api/api.h"
#include "container/container.h"
#include "cri/cri.h"
#include "grpc/grpc.h"
#include "http/http.h"

#define CRI_PAUSE_IMAGE "registry.k8s.io/pause:3.10"

/* ---- what there is ---- */

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
	int64_t created_ns;
	bool starting, removing;
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
	bool stopping, server_stopped, closing;
	void (*closed)(void *arg);
	void *closed_arg;
	struct loop_task close_task;
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
/* The call to pass to one operation of the container engine; then `then` with k->err and k->container.result. */
struct container_call *cri_container_call(struct cri_call *k, void (*then)(struct cri_call *k));
void cri_busy(struct cri *c, int by);

/* ---- handlers: cri_NAME(struct cri_call *k, const void *in), in the table of rpcs.def ---- */
#define CRI(service, method, request, response, handler) void cri_##handler(struct cri_call *k, const void *in);
#include "cri/rpcs.def"
#undef CRI

/* ---- networks.c: which network pods get ---- */
struct cri_cni;
void cri_cni_new(struct cri *c);
void cri_cni_close(struct cri_cni *n); /* looks no more; memory is free when nothing is busy. Accepts NULL, as the next */
void cri_cni_free(struct cri_cni *n);
/* What pods get now: a conflist with its plugins, in the shape of a .conflist file; NULL and a reason when there is none. Borrowed
 * until the loop's next turn. */
const struct json *cri_cni_config(struct cri_cni *n, const char **out_why);

/* ---- store.c: sandboxes and containers in memory; their truth is the record that the container engine keeps ----
 *
 *     Extra.Cri of a sandbox's pause    {"Kind": "sandbox", "Config": PodSandboxConfig, "Handler", "CreatedNs"}
 *     Extra.Cri of a container          {"Kind": "container", "Config": ContainerConfig, "ImageId", "ImageRef", "CreatedNs"}
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
