/* Between the files of the server. */
#pragma once

#include "kubelet/cri.h"
#include "kubelet/server.h"

struct kl_server {
	struct kl_server_params p;
	struct kl *k;
	struct http_server *http;
	struct http_client *streams; /* to the runtime's streaming server */
	struct tls_slot tls;
	unsigned port;
	struct list requests;        /* struct kl_request: running */
	struct list pipes;           /* joined streams */
	struct map tokens, answers;  /* reviews that are kept: struct kl_review */
	struct list kept;            /* of both, oldest first */
	unsigned n_kept;
	struct buf stats_last;       /* see server_stats.c */
	void (*freed)(void *arg);
	void *freed_arg;
	bool stopped;
};

struct kl_route;

/* One request from its header to its end. */
struct kl_request {
	struct list link;
	struct kl_server *s;
	struct http_req *http;       /* NULL when it is over, or the connection was taken over */
	const struct kl_route *route;
	const struct span *segments;
	size_t n_segments;
	struct arena *a;             /* http's */
	/* who */
	struct span user, uid;
	const struct span *groups;
	unsigned n_groups;
	struct json extra;
	/* what is out for it: forgotten when it ends */
	struct client_call *review;
	struct kubelet_cri_call *cri;
	unsigned subresource;        /* the one that is being asked for */
	char *cache_key;             /* owned; of the review that is out */
	/* Set by a handler that goes on later: the request is over (also when it was taken over). */
	void (*gone)(struct kl_request *q);
	void (*drain)(struct kl_request *q);
	void *state;                 /* of the handler */
};

struct kl_route {
	const char *path;            /* first segments; a "/" at the end: and what is beneath */
	const char *subresources[2]; /* of nodes: one of them must be allowed */
	void (*serve)(struct kl_request *q);
	bool post;
};

void kl_request_text(struct kl_request *q, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void kl_request_json(struct kl_request *q, struct span body);
/* A parameter of the query, in the arena; false: absent. */
bool kl_request_query(struct kl_request *q, const char *name, struct span *out);
bool kl_request_flag(struct kl_request *q, const char *name); /* "1", "true" */
/* NS/POD[/UID] at segments 1..; answers 404 and returns NULL when there is none. container: behind it, or empty. */
struct kl_pod *kl_request_pod(struct kl_request *q, bool with_container, struct span *out_container);

/* server_auth.c: who and whether; then q->route->serve. */
void kl_auth_begin(struct kl_request *q);
void kl_auth_done(struct kl_server *s);

void kl_serve_logs(struct kl_request *q);       /* server_logs.c */
void kl_serve_log_files(struct kl_request *q);
void kl_serve_exec(struct kl_request *q);       /* server_stream.c */
void kl_serve_attach(struct kl_request *q);
void kl_serve_port_forward(struct kl_request *q);
void kl_serve_run(struct kl_request *q);
void kl_streams_cut(struct kl_server *s);
void kl_serve_summary(struct kl_request *q);    /* server_stats.c */
void kl_serve_metrics_resource(struct kl_request *q);
void kl_serve_metrics_cadvisor(struct kl_request *q);
