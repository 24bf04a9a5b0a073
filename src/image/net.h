/* Talking to a registry: one exchange at a time or several side by side, on a loop of the operation's own. Private.
 *
 * image_exchange_run is for what is answered at once (manifests, tokens): it follows redirects and answers challenges. Blobs are
 * begun with image_exchange_begin and move on while the owner turns the loop. */
#pragma once

#include "http/http.h"
#include "image/private.h"

struct net;

struct endpoint {
	struct http_origin origin;
	struct span prefix;   /* path before /v2/, without '/' at its end */
	bool mirror;
	char shown[300];      /* "https://host:port" */
};

struct exchange {
	struct net *n;
	/* what to send */
	const struct endpoint *ep;
	const char *method;
	struct span target;         /* path and query on ep, or */
	struct span url;            /* an absolute URL (redirects, upload locations) */
	const char *accept;         /* NULL = none */
	const char *content_type;
	struct span body;           /* whole, or */
	int body_fd;                /* -1, or a file of body_size bytes */
	uint64_t body_size;
	uint64_t body_from;         /* of the file, what the other side has already */
	uint64_t range_from;        /* 0 = all */
	const char *scope;          /* "repository:x:pull"; NULL = none */
	bool no_auth;               /* never send credentials (another host) */
	bool basic;                 /* token requests: user and password directly */
	size_t limit;               /* of the answer's body kept in `answer` */
	/* where a 200 or 206 body goes; NULL = into `answer` */
	int (*data)(struct exchange *x, struct span data, struct err *err);
	int (*begun)(struct exchange *x, struct err *err); /* status 200 or 206, before data */
	void *arg;
	uint64_t *sent;             /* where in the file the sending stands; may be NULL */
	/* what came */
	bool running;
	int status;
	struct buf answer;
	struct span type, digest, location, challenge, retry_after, reset, range; /* in arena */
	struct err why;             /* class NONE = a complete answer */
	/* inside */
	struct http_call *call;
	struct arena arena;
	char *chunk;
	uint64_t read_at;
};

int image_net_open(const struct image_registry_params *p, const struct image_reporter *r, const struct image_ref *ref,
	struct net **out,
	struct err *err);
void image_net_close(struct net *n);
struct loop *image_net_loop(struct net *n);
/* The endpoints of the name's registry, mirrors first. */
size_t image_net_endpoints(struct net *n, struct endpoint **out);
/* Finds out how the endpoint answers (https, or http where that is allowed), and what it wants of us. */
int image_net_ping(struct net *n, struct endpoint *ep, struct err *err);
/* The same for an endpoint that is not asked first: https, with its certificates. */
int image_net_prepare(struct net *n, struct endpoint *ep, struct err *err);
/* Turns the loop once; CANCELLED when the reporter says so. */
int image_net_turn(struct net *n, struct err *err);
void image_exchange_init(struct exchange *x, struct net *n, const struct endpoint *ep, const char *method);
void image_exchange_done(struct exchange *x); /* cancels what runs */
/* Sends. Failures arrive in x->why. */
void image_exchange_begin(struct exchange *x);
/* Sends, waits, follows redirects (GET and HEAD), gets a token when asked for one. 0: there is an answer of whatever status. */
int image_exchange_run(struct exchange *x, struct err *err);
/* Gets a token for scope after a 401 with this challenge. FORBIDDEN when the registry gives none. */
int image_net_authorize(struct net *n, const char *scope, struct span challenge, struct err *err);
/* An error of the answer: the registry's own words where it has some. shown: the name as a person wrote it. */
int image_net_answer_error(const struct exchange *x, struct span shown, struct err *err);
unsigned image_net_retries(const struct net *n);
unsigned image_net_parallel(const struct net *n, unsigned otherwise);
