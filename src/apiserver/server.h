/* Inside the API server: what threads share, what a loop thread owns, what a request is. Private to apiserver. */
#pragma once

#include "admission/admission.h"
#include "api/api.h"
#include "apiserver/accept.h"
#include "apiserver/apiserver.h"
#include "apiserver/audit.h"
#include "apiserver/chunk.h"
#include "apiserver/flow.h"
#include "apiserver/object.h"
#include "apiserver/pki.h"
#include "apiserver/podnode.h"
#include "apiserver/route.h"
#include "apiserver/status.h"
#include "auth/auth.h"
#include "http/http.h"
#include "loop/loop.h"
#include "store/store.h"
#include "strategy/strategy.h"
#include "yaml/yaml.h"

#define BODY_MAX (3 << 20) /* kube-apiserver's limit of a request body */
/* Output that waits for a client at each of two places (the stream's, then the connection's queue) before its writer stops: a list
 * in flight costs these and what TLS holds, 256 KB at most. */
#define CALL_QUEUE_BYTES (64 * 1024)
#define CHUNK_CACHE_BYTES (12 << 20)

struct apiserver {
	const struct apiserver_options *opt;
	struct clock *clock;
	struct store *store;
	struct api_registry_box *registry;
	struct tls_slot tls;
	struct auth_rbac *rbac;
	struct auth_node *nodes;
	_Atomic(struct auth_tokens *) tokens; /* NULL: none; replaced as a whole (reload.c) */
	_Atomic(struct issuing *) issuing; /* replaced as a whole (reload.c); read once for one purpose */
	struct auth_lookup lookup;
	_Atomic(struct kubelets *) kubelets; /* how they are reached (kubelet.h); owned; replaced as a whole (reload.c) */
	struct admission_set admission; /* the plugins that run */
	struct worker *workers;
	unsigned n_workers;
	struct chunk_cache *chunks; /* encoded runs of list items; all threads */
	unsigned port;
	struct bytes *authorities; /* whose client certificates are believed, as PEM; of worker 0 once threads run; owned */
	struct reload *reload; /* of worker 0; NULL when stopping */
	atomic_bool leaving;   /* announced: /readyz fails */
	struct flow flow;
	struct audit *audit; /* NULL: none */
	struct meter *meter;
	struct docs *docs;
	struct apiserver_custom *custom; /* of worker 0 */
};

static inline const struct auth_issuer *issuer_now(struct apiserver *s)
{
	return &atomic_load(&s->issuing)->issuer;
}

struct metrics_series;

/* One loop thread. Everything here is its own, but `woken`. */
struct worker {
	struct apiserver *server;
	unsigned index;
	pthread_t thread;
	bool started;
	struct loop *loop;
	struct http_server *https, *local;
	struct store_port *port;
	atomic_bool woken; /* a message to run the port is on its way */
	struct api_registry_cache registry;
	struct list watches;	      /* struct watch.link: open ones */
	struct list timed;	      /* struct call.timed, in the order of their deadlines */
	struct loop_timer expiry;     /* of the first of them */
	struct meter_worker *meter;
	struct map fans;	      /* fan.c: what they asked for → struct fan */
	struct hub *pods_hub;	      /* hub.c; NULL: nobody asks for the pods of one node */
	struct store_watch *feeds[8]; /* of worker 0 */
	struct relay_pool *relays;    /* NULL until something was passed on (relay.h) */
	struct look_cache *looks;     /* NULL until something was looked up (look.h) */
	struct store_watch *roles;    /* of worker 0: aggregate.c */
	struct repair *repair;	      /* of worker 0: repair.c */
	unsigned serving;	      /* http servers that have not ended yet */
};

struct deletion;
struct audit_call;

struct call_note { /* an annotation of the audit event */
	struct span key, value;
};

/* One request. It outlives its http_req while the store works for it: http is NULL once the client has gone. */
struct call {
	struct worker *w;
	struct apiserver *server;
	struct http_req *http;
	struct arena arena;
	struct route route;
	struct auth_user user;	/* who counts */
	struct auth_user actor; /* if acting: who was authenticated, and impersonates user */
	bool acting;
	struct api_registry *registry; /* a reference */
	const struct api_resource *res;
	const struct api_subresource *sub; /* NULL: the resource itself */
	struct accepted want;
	struct span query;
	struct err err;
	unsigned pending; /* store calls under way */
	bool answered;
	int code;	    /* of the answer; 0: none yet */
	size_t answer_bytes; /* of its body */
	/* from the first byte to the last */
	struct span audit_id;
	struct audit_call *audit; /* NULL: not audited */
	struct call_note *notes;
	unsigned n_notes, cap_notes;
	struct flow_ticket ticket;
	bool long_running; /* a watch or a stream: neither counted nor timed */
	int64_t begun_ns;  /* monotonic */
	int64_t known_ns;  /* when it was clear whose it is */
	enum { TOKEN_NONE, TOKEN_KNOWN, TOKEN_GOOD, TOKEN_BAD } token; /* known: nothing was verified */
	int64_t commit_ns; /* when the last transaction was handed over */
	struct list timed; /* in worker->timed */
	int64_t deadline_ms;
	struct loop_timer *own_timeout; /* ?timeout= when shorter than --request-timeout */
	struct metrics_series *gauge;	/* that counts it while it runs; NULL: none */
	bool applied;			/* a patch of server-side apply */
	const char *cache_control;	/* NULL: "no-cache, private" */
	struct status_details *about;	/* what an error is about, if not the resource of the path */
	bool is_virtual; /* virtual.c answers the body */
	bool generic; /* the error is about the request, not about an object: no details */
	bool bare;    /* an internal error that upstream gives no reason: the message alone */
	/* writes */
	struct span body;
	struct json object;	     /* to be stored */
	struct deletion *deletion;   /* of DELETE */
	void *state;		     /* of the action under way (sub.h); in the arena */
	struct bytes *value;	     /* encoded; owned */
	struct store_snapshot *snap; /* what the current try looked at; owned */
	unsigned tries;
	struct also *also;	     /* admit.c: what is committed with the object */
	struct admission *admitted;  /* admit.c: the last request to the plugins, its audit annotations; NULL: none */
	int success_code;
	bool dry_run;
	struct span *warnings;
	unsigned n_warnings, cap_warnings;
	void (*written)(struct call *c, int64_t rev); /* after a successful commit */
	void (*again)(struct call *c);		      /* after a lost race */
};

/* ---- options.c */
/* Go's durations ("1m30s", "1.5h", "300ms", "0") in whole milliseconds, rounded down. False for anything else. */
bool apiserver_duration_ms(struct span text, int64_t *out_ms);

/* ---- handle.c: the way of a request */
void handle_request(struct http_req *r, void *arg);
void handle_init(struct worker *w); /* what requests of this thread share */
/* Answers with c->err. Details name the resource of the call. */
void call_fail(struct call *c);
/* Status and the headers that every answer has, warnings too. */
void call_headers(struct call *c, int code, const char *content_type);
/* It may last: from now on it is neither counted among the requests in flight nor ended by --request-timeout. */
void call_uncount(struct call *c);
/* An answer of ready JSON (or other) bytes; the buf is copied. */
void call_answer(struct call *c, int code, const char *content_type, const struct buf *body);
void call_answered(struct call *c, int code); /* without a body, by other means than these */
void call_answer_piece(struct call *c, int code, const char *content_type, struct http_piece piece);
/* One object as the client wants it: JSON, YAML, protobuf, Table, metadata only. Borrowed value of a store item. */
void call_answer_object(struct call *c, int code, struct span value, int64_t rev);
void call_warn(struct call *c, struct span text);
/* A version that upstream has marked as such, with any verb: a warning, an annotation, a metric. */
void call_deprecated(struct call *c, struct span warning);
/* An annotation of the audit event; the first value of a key stays. Copied. */
void call_annotate(struct call *c, struct span key, struct span value);
/* The access question that this request is. */
struct auth_ask call_ask(struct call *c);
/* A query parameter, decoded; empty when absent. */
struct span call_param(struct call *c, const char *name);
bool call_param_true(struct call *c, const char *name);
/* Who a bearer token speaks for: static, service account, bootstrap. want: audiences of a TokenReview. */
int call_token_user(struct call *c, struct span token, const struct span *want, unsigned n_want,
		    struct auth_user *out_user, const struct span **out_audiences, unsigned *out_n, struct err *err);
/* The configured authorizers on one question; out_reason in the call's arena. */
enum auth_decision call_decide(struct call *c, const struct auth_ask *ask, struct span *out_reason);
/* Frees the call when nothing waits for it any more. */
void call_release(struct call *c);
/* "v1", "apps/v1" of the served resource. */
struct span call_group_version(struct call *c, const struct api_resource *res);
int not_found(struct call *c); /* pods "web" not found */

/* ---- answer.c */
/* One object in the wanted shape and form, appended; for items of lists `item` leaves kind and apiVersion out where upstream
 * does. */
int object_answer(struct arena *a, const struct api_resource *res, struct span gv, const struct accepted *want,
		  struct span value, int64_t rev, bool item, int64_t now_s, const char *include_object, struct buf *out,
		  struct err *err);
/* The columns of a Table as JSON text: "columnDefinitions":[...]. */
void table_columns(struct buf *out, const struct api_resource *res);

/* ---- listopts.c: what lists and watches may ask for */
struct list_options {
	int64_t rev;	  /* resourceVersion; 0: none, or "0" */
	bool exact;	  /* of that revision and no other */
	int64_t limit;	  /* 0: none */
	int64_t timeout_s; /* 0: none given */
	struct span token; /* continue */
	bool has_initial, initial; /* sendInitialEvents is there; is true */
	const char *include; /* includeObject of tables, or NULL */
};
int list_options_read(struct call *c, struct list_options *out);
int list_revision_ahead(struct call *c, int64_t wanted, int64_t current);
void continue_write(struct buf *out, int64_t rev, struct span start);
int continue_read(struct call *c, struct span token, int64_t *out_rev, struct span *out_start);

/* ---- read.c, watch.c, write.c, paths.c */
void read_get(struct call *c);
void read_list(struct call *c);
void watch_begin(struct call *c);
void watch_end_all(struct worker *w);
void write_begin(struct call *c); /* create, update, patch, delete: reads the body first */
void path_handle(struct call *c); /* everything that is no resource */

/* Selectors of a list, watch or deletecollection. */
struct filter {
	struct api_label_selector labels;
	struct api_field_selector fields;
	bool any; /* there is something to match */
	struct span node; /* pods: spec.nodeName must be this (podnode.h); empty: no such rule */
	bool node_alone;  /* and that is all */
	struct store *store;
};
int filter_read(struct call *c, struct filter *out);
/* After the selectors are there: what follows from them. */
void filter_set(struct filter *f, struct store *s, const struct api_resource *res);
/* Of a stored object. The other form is for values that are not in the store (any more). */
bool filter_match_item(const struct filter *f, const struct api_resource *res, const struct store_item *it);
bool filter_match(const struct filter *f, const struct api_resource *res, struct arena *a, struct span value);

/* ---- feed.c: what the authorizers know, from watches on one thread's port */
int feed_start(struct worker *w, struct err *err);
void feed_stop(struct worker *w);
/* The node authorizer's answer as of what is stored now, when that of the feed was no. Any thread. */
enum auth_decision feed_node_ask(struct apiserver *s, const struct auth_ask *ask, struct arena *a, struct span *out_reason);
bool lookup_uid(void *arg, struct span kind, struct span ns, struct span name, struct arena *a, struct span *out_uid,
		int64_t *out_deletion_s);
bool lookup_secret(void *arg, struct span ns, struct span name, struct arena *a, struct json *out);
