/* A client of the Kubernetes API: whom to talk to, requests, caches that follow the server (informers), work queues, events and
 * leadership. The seam of src/client; controllers, scheduler, kubelet, proxy, dns and the command line stand on it.
 *
 * Everything belongs to one loop thread. A callback never runs inside the call that began the operation. Objects are
 * JSON texts as the server sent them (counted bytes); who needs fields decodes into an arena of its own and lets go.
 *
 *     struct client_config cfg = {};
 *     client_config_load(&(struct client_source){ .kubeconfig = path }, &cfg, &err);
 *     client_new(&(struct client_params){ .loop = l, .config = &cfg, .user_agent = "scheduler" }, &client, &err);
 *
 *     struct client_informer_params p = { .client = client, .kind = CLIENT_KIND("", "v1", "pods", true),
 *                                         .added = on_pod, .changed = on_change, .removed = on_gone, .arg = me };
 *     pods = client_informer_new(&p);                    // lists, then watches, and goes on through restarts
 *
 *     static void on_pod(struct client_informer *inf, struct client_item *it, const struct json *object, void *arg)
 *     {
 *             client_queue_add(queue, it->key);          // "default/web"
 *     } */
#pragma once

#include "api/api.h"
#include "base/base.h"
#include "http/http.h"
#include "json/json.h"
#include "loop/loop.h"

/* ---- whom to talk to ---- */

/* Where a configuration comes from. Members are borrowed for the call; NULL or empty = not given. */
struct client_source {
	const char *kubeconfig; /* one file; NULL: $KUBECONFIG (several, by ':'), else ~/.kube/config, else in_cluster */
	const char *context, *cluster, *user, *server, *ns; /* what --context, --cluster, --user, --server, --namespace override */
	bool no_in_cluster;
};
/* All spans lie in the arena. */
struct client_config {
	struct arena arena;
	struct span server;          /* "https://10.96.0.1:443/prefix": scheme, host, port, path */
	struct span tls_server_name; /* "" = the host */
	struct span proxy_url;       /* "" = by the environment */
	struct span ca_pem, cert_pem, key_pem;
	struct span token, token_file; /* the file is read again each minute (bound tokens are renewed by the kubelet) */
	struct span user_name, password;
	struct span as_user, as_uid;
	const struct span *as_groups;
	unsigned n_as_groups;
	struct span ns;           /* of the context; "" = none given */
	struct span unix_path;    /* the API server's own socket: a short cut past TLS where the server is on this machine */
	struct span context, cluster, user; /* names in effect, for messages */
	const struct span *files;    /* what was read for it, kubeconfigs and what they name; for client_follow */
	unsigned n_files;
	bool insecure;
};
/* Merges the files as kubectl does (the first that sets a value wins; relative paths count from their file). Classes: NOT_FOUND
 * (no file, no such context), INVALID (a file that is no configuration), UNSUPPORTED (exec and auth-provider plugins, by name).
 * Words are client-go's: `context "x" does not exist`, `invalid configuration: no configuration has been provided, ...`. */
int client_config_load(const struct client_source *src, struct client_config *out, struct err *err);
/* From the text of one kubeconfig; dir = where its relative paths count from. */
int client_config_parse(struct span text, const char *dir, const struct client_source *src, struct client_config *out,
			struct err *err);
void client_config_done(struct client_config *c);

/* ---- the client ---- */

struct client;
struct client_params {
	struct loop *loop;
	const struct client_config *config; /* borrowed: must outlive the client */
	const char *user_agent;             /* "knarr-scheduler"; borrowed for ever */
	unsigned retries;                   /* answers 429 and 503 with Retry-After are asked again; 0 = 10 */
	/* What the server warns of in the answer to a request or stream (a Warning header of code 299: a version that is going away, an
	 * unknown field), unquoted; lives for the call. Optional. */
	void (*warned)(struct span text, void *arg);
	void *warned_arg;
};
int client_new(const struct client_params *p, struct client **out_client, struct err *err);
/* Calls that are still out are forgotten (nothing is told); informers, streams, elections and recorders must be gone. */
void client_free(struct client *c);
/* From now on the files that src leads to are watched (loop_files): a client certificate, key or authority that was replaced, in a
 * file of its own or within the kubeconfig, is used for every connection from then on. What is out goes on where it is and its
 * connection ends with it; what cannot be read leaves all as it was, and the log says so. Server, user and tokens stay as they
 * were (a token file has its own minute). Nothing happens for a client without TLS. src and its texts are borrowed until
 * client_free. */
void client_follow(struct client *c, const struct client_source *src);
struct loop *client_loop(const struct client *c);
struct span client_namespace(const struct client *c); /* of the configuration, "default" if none */

/* A resource. Spans are literals or outlive their users. */
struct client_kind {
	struct span group, version, plural;
	bool namespaced;
};
#define CLIENT_KIND(g, v, p, n) ((struct client_kind){ SPAN(g), SPAN(v), SPAN(p), n })
/* "/apis/apps/v1/namespaces/default/deployments/web/scale"; empty ns, name, sub: left out. Appended. */
void client_path(struct buf *out, const struct client_kind *k, struct span ns, struct span name, const char *sub);

/* ---- requests ---- */

struct client_call;
struct client_request {
	const char *method;       /* "GET", "POST", "PUT", "PATCH", "DELETE" */
	struct span path;         /* with its query; copied */
	struct span body;         /* copied; empty = none */
	const char *content_type; /* NULL = application/json; for a PATCH one of the CLIENT_* below */
	const char *accept;       /* NULL = application/json */
	unsigned timeout_ms;      /* the whole call, retries included; 0 = 30000 */
	/* The last word. why NULL: status is 2xx and body the answer. Otherwise class, message, causes and retry_ms are the server's
	 * Status, or say that no server answered (UNAVAILABLE, TIMEOUT, UPSTREAM). Body and why live for the call. */
	void (*done)(struct client_call *c, const struct err *why, int status, struct span body, void *arg);
	void *arg;
};
#define CLIENT_MERGE_PATCH "application/merge-patch+json"
#define CLIENT_JSON_PATCH "application/json-patch+json"
#define CLIENT_STRATEGIC_PATCH "application/strategic-merge-patch+json"
#define CLIENT_APPLY_PATCH "application/apply-patch+yaml"
struct client_call *client_send(struct client *c, const struct client_request *r);
void client_cancel(struct client_call *c); /* nothing is told any more; it may have happened nevertheless */
/* A Status (or whatever came with a code of 400 and more) as an error; returns -class. */
int client_status_error(int status, struct span body, struct err *err);

/* A long answer, piece by piece: logs, raw watches. begin tells the status (2xx only; others go to done). The stream stops while
 * paused; done is the last word (why NULL: the server ended it properly). */
struct client_stream_params {
	struct span path;
	const char *accept;
	void (*begin)(struct http_call *c, void *arg);
	void (*data)(struct http_call *c, struct span data, void *arg);
	void (*done)(const struct err *why, void *arg);
	void *arg;
};
struct client_stream;
struct client_stream *client_stream_open(struct client *c, const struct client_stream_params *p);
void client_stream_close(struct client_stream *s); /* nothing is told any more; not after done */

/* ---- upgrades ---- */

/* Asks the server to speak another protocol: "websocket" or "SPDY/3.1", with the client's rights and the fields that the protocol
 * wants besides. switched: the server agreed (101); join here (http_ws_join, http_spdy_join), the connection is the
 * owner's from then
 * on; a negative answer, with err set, ends it. done is the last word, once: why NULL = switched was called and joined; else the
 * server's Status, or that no server answered; what a kubelet refuses in plain words begins with CLIENT_UPGRADE_REFUSED, as with
 * client-go. Never again after a failure: a command is not run twice. */
#define CLIENT_UPGRADE_REFUSED "unable to upgrade connection: "
struct client_upgrade;
struct client_upgrade_params {
	const char *method, *protocol;
	struct span path;
	const struct http_field *fields; /* at most 8 */
	unsigned n_fields;
	int (*switched)(struct http_call *c, void *arg, struct err *err);
	void (*done)(const struct err *why, void *arg);
	void *arg;
};
struct client_upgrade *client_upgrade_open(struct client *c, const struct client_upgrade_params *p);

/* ---- informers ---- */

struct client_informer;
/* One object of the cache. Public to read; user is the owner's. */
struct client_item {
	struct span key;       /* "ns/name", or "name" for what has no namespace; lives as long as the item */
	struct span ns, name;  /* parts of key */
	struct span uid, rv;   /* owned */
	struct bytes *json;    /* as received; NULL with no_bytes */
	void *user;            /* columns, pointers ... of the owner; freed by it in `removed` */
	uint32_t generation;   /* of the list that saw it last; private */
};
struct client_informer_params {
	struct client *client;
	struct client_kind kind;
	struct span ns;                 /* "" = all; copied, like the selectors */
	struct span label_selector, field_selector;
	bool metadata_only;             /* PartialObjectMetadata: what garbage collection needs */
	bool no_bytes;                  /* the owner takes columns in added and changed; the text is let go */
	/* object: the decoded text, in memory that ends with the call (items of lists have no apiVersion and kind: the server leaves
	 * them out). All may free the informer. changed runs for each new resourceVersion; the item has its new
	 * json, old holds the text before (NULL with no_bytes). removed: the item as it was last known; its memory ends with the call.
	 * synced: once, after the first whole list was told. broken (optional): each time that the server could not be followed. */
	void (*added)(struct client_informer *inf, struct client_item *it, const struct json *object, void *arg);
	void (*changed)(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *object, void *arg);
	void (*removed)(struct client_informer *inf, struct client_item *it, void *arg);
	void (*synced)(struct client_informer *inf, void *arg);
	void (*broken)(struct client_informer *inf, const struct err *why, void *arg);
	void *arg;
};
/* What it promises: each object is added before it is changed or removed; every state told was a state of the object, states
 * come in their order, and the last one is told however often the server restarts, the connection breaks or history is gone (then
 * everything is listed anew and the difference told). Between failures it waits 50 ms, doubled up to 30 s, with up to half
 * of that added by chance. A watch ends after 5 to 10 minutes and goes on where it was. */
struct client_informer *client_informer_new(const struct client_informer_params *p);
/* Nothing is told any more; removed runs for no item: walk them before if user needs freeing. */
void client_informer_free(struct client_informer *inf);
bool client_informer_synced(const struct client_informer *inf);
struct client_item *client_informer_get(const struct client_informer *inf, struct span key); /* NULL: not there */
size_t client_informer_n(const struct client_informer *inf);
/* Items in no order; none may come or go meanwhile (that is: inside one callback). Start with pos 0; NULL at the end. */
struct client_item *client_informer_next(const struct client_informer *inf, size_t *pos);
/* Decodes an item's text; lives as long as the arena and the item's json. */
int client_item_tree(struct arena *a, const struct client_item *it, struct json *out, struct err *err);
/* "ns/name" into its parts; without '/' ns is empty. */
void client_key_split(struct span key, struct span *out_ns, struct span *out_name);

/* ---- work queues ---- */

/* Keys to be worked on: each at most once at a time, whatever is added while it is worked on comes again afterwards. */
struct client_queue;
struct client_job {
	struct client_queue *queue;
	struct span key;
	unsigned failures; /* in a row so far */
};
struct client_queue_params {
	struct loop *loop;
	const char *name;     /* of timers and metrics; borrowed for ever */
	unsigned workers;     /* jobs at once; 0 = 1 */
	unsigned base_ms, max_ms; /* after the nth failure in a row wait base * 2^(n-1), at most max; 0 = 5 and 1000000 (client-go's) */
	void (*run)(struct client_job *job, void *arg); /* ends with client_job_done, now or later */
	void *arg;
};
struct client_queue *client_queue_new(const struct client_queue_params *p);
void client_queue_free(struct client_queue *q); /* no job may be running */
void client_queue_add(struct client_queue *q, struct span key);
/* At that time, as if by add then; of several such wishes for a key the earliest holds. An add in between does not take it back. */
void client_queue_add_after(struct client_queue *q, struct span key, int64_t delay_ms);
enum client_result { CLIENT_DONE, CLIENT_RETRY };
void client_job_done(struct client_job *job, enum client_result result);
size_t client_queue_waiting(const struct client_queue *q); /* ready to run, without those that wait for a time */
size_t client_queue_running(const struct client_queue *q);

/* ---- leadership ---- */

/* A Lease that one of several holds, as client-go's leader election does it: times of others count from when they were seen, so
 * clocks need not agree. */
struct client_election;
struct client_election_params {
	struct client *client;
	struct span ns, name, identity; /* copied; identity "" = HOSTNAME_uuid */
	unsigned lease_ms, renew_deadline_ms, retry_ms; /* 0 = 15000, 10000, 2000 */
	void (*started)(struct client_election *e, void *arg); /* we lead */
	void (*stopped)(struct client_election *e, const struct err *why, void *arg); /* we lead no more: stop acting at once */
	void *arg;
};
struct client_election *client_election_new(const struct client_election_params *p);
/* Gives the lease back when it is held, then done. */
void client_election_end(struct client_election *e, void (*done)(void *arg), void *arg);
bool client_election_leads(const struct client_election *e);
struct span client_election_holder(const struct client_election *e); /* whom we last saw */

/* ---- a process that works with the API ---- */

/* One loop with a client, until SIGTERM, SIGINT, a lease that is lost, or client_process_stop; embedded by its owner. */
struct client_process;
struct client_process_ops {
	/* The client and the loop are there, the loop does not run yet. Class of whatever failed: leave and done follow. */
	int (*start)(struct client_process *p, struct err *err);
	/* From now on it may act: at once, or when it leads. NULL: nothing is to be waited for. */
	void (*act)(struct client_process *p);
	/* It acts no more, and nothing is under way when this returns: before the lease is given back. NULL: nothing of the kind. */
	void (*rest)(struct client_process *p);
	/* Frees all that uses the client or keeps the loop alive; what `start` did not reach is empty. Never inside a callback. */
	void (*leave)(struct client_process *p);
	/* The loop is empty: frees the rest. */
	void (*done)(struct client_process *p);
};
struct client_process {
	/* the owner's, before client_process_run */
	const struct client_process_ops *ops;
	struct client_source source;
	const char *user_agent;
	struct client_election_params lease; /* name "": none is asked for; client and callbacks are the frame's */
	/* public to read */
	struct loop *loop;
	struct client *client;
	struct client_config config;
	bool stopping;
	/* its own */
	struct client_election *election;
	struct loop_ending ending;
	struct loop_task leaving;
	int status;
};
/* Runs it to its end and returns the exit status; a start that failed is told on standard error ("Error: ..."), status 1. */
int client_process_run(struct client_process *p);
/* Begins the end, with this status; the first word counts. Allowed anywhere after `start` on its thread. */
void client_process_stop(struct client_process *p, int status);

/* ---- events ---- */

/* What happened to an object, for people. Equal ones within ten minutes become one with a count, floods of one source about one
 * object are cut (25, then one in 5 minutes), ten that differ only in their message become one "(combined from similar events)". */
struct client_recorder;
struct client_object_ref {
	struct span api_version, kind, ns, name, uid, resource_version, field_path;
};
struct client_recorder *client_recorder_new(struct client *c, struct span component, struct span host);
void client_recorder_free(struct client_recorder *r);
/* type: "Normal" or "Warning". Returns at once; sent in the background, again while the server is away (at most 1,000 wait). */
void client_event(struct client_recorder *r, const struct client_object_ref *ref, const char *type, const char *reason,
		  struct span message);
/* The reference of an object by its tree. */
struct client_object_ref client_ref(const struct json *object);
