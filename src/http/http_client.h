/* What the client's files share. Private.
 *
 *     http_client ── pools, one per origin ── waiting calls
 *                                          └─ connections (http_cconn): connecting, HTTP/1.1 with one call or idle,
 *                                                                       HTTP/2 with any number
 *
 * A connection outlives its pool only to close its socket. */
#pragma once

#include "http/http_impl.h"

struct http_connecting;
struct http_ch2;
struct http_pool;

struct http_client {
	struct loop *loop;
	struct http_client_params p;
	struct map pools;        /* key → http_pool */
};

struct http_pool {
	struct http_client *client;
	char *key;               /* owned */
	struct http_origin origin; /* strings owned; tls_ctx a reference */
	bool h1_only;            /* upgrades */
	enum { HTTP_POOL_UNKNOWN, HTTP_POOL_V1, HTTP_POOL_V2 } speaks;
	struct list waiting;     /* http_call.link */
	struct list conns;       /* http_cconn.link, the most recently used last */
	unsigned n_conns, n_connecting, n_idle;
	struct loop_task dispatch;
};

enum http_cstate { HTTP_C_CONNECTING, HTTP_C_PROXY, HTTP_C_TLS, HTTP_C_V1, HTTP_C_V2, HTTP_C_CLOSED };

struct http_cconn {
	struct http_io io;
	struct http_pool *pool;  /* NULL once closed */
	struct list link;
	enum http_cstate state;
	struct http_connecting *connecting; /* owned */
	bool has_io;
	bool is_idle;
	bool keep_alive;
	unsigned served;         /* calls begun on it */
	struct loop_timer idle;
	/* HTTP/1.1 and the proxy's answer */
	struct http_call *call;
	struct http_guard guard;
	struct buf held;
	struct http_chunked chunked;
	uint64_t body_left;
	enum { HTTP_B_HEAD, HTTP_B_LENGTH, HTTP_B_CHUNKED, HTTP_B_CLOSE, HTTP_B_OVER } body;
	struct loop_task pump;
	struct http_ch2 *h2;     /* owned */
	struct http_duplex *duplex; /* who took the connection over */
};

struct http_call {
	struct http_client *client;
	struct http_pool *pool;
	struct http_cconn *conn; /* NULL while waiting */
	struct list link;        /* of the pool while waiting, of the HTTP/2 connection later */
	struct loop_task task;   /* what the owner asked for */
	struct loop_timer timer;
	const struct http_call_ops *ops;
	void *arg;
	struct arena arena;      /* method, target, headers, pieces, and the owner's */
	struct span method, target;
	struct http_field *fields;
	unsigned n_fields;
	struct http_piece *body; /* references held until the call is over: it may be sent twice */
	size_t n_body;
	int64_t body_length;     /* -1 = unknown */
	const char *upgrade;
	unsigned first_byte_ms, idle_ms;
	int64_t phase_until_ms, total_until_ms; /* 0 = none */
	const char *phase;       /* what took too long */

	struct http_out out;     /* body not yet framed */
	struct http_head reply_trailers; /* of the request, outgoing */
	int32_t stream_id;
	uint32_t reset_code;     /* HTTP/2: how the stream ended */
	bool reset_told;         /* it was the end of the call */
	struct buf in;           /* HTTP/2: not wanted yet */

	struct http_head head, trailers;
	struct http_fields headers, trailer_fields;
	int status, version;

	unsigned stream_body : 1;
	unsigned body_ended : 1;  /* the owner has given all of it */
	unsigned expect : 1;      /* the body waits for 100 */
	unsigned head_sent : 1;
	unsigned request_sent : 1; /* framed to the end */
	unsigned repeatable : 1;
	unsigned retried : 1;
	unsigned answered : 1;    /* a byte of an answer came */
	unsigned head_told : 1;
	unsigned paused : 1;
	unsigned cancelled : 1;
	unsigned above : 1;
	unsigned in_ended : 1;
	unsigned end_told : 1;
	unsigned deferred : 1;
	unsigned no_body_answer : 1;
	unsigned hijacked : 1;
	unsigned finishing : 1;
};

/* http_client.c */
/* Ends the call: done, then the memory goes. why NULL = complete; emptied. */
void http_call_finish(struct http_call *call, struct err *why);
/* The connection under the call is gone: once more on another, or its end. */
void http_call_lost(struct http_call *call, struct err *why);
void http_call_phase(struct http_call *call, const char *phase, unsigned ms); /* 0 = no limit */
void http_call_start(struct http_call *call, struct http_cconn *c); /* fills `out` */
void http_call_drain_check(struct http_call *call, size_t queued);
void http_pool_wake(struct http_pool *p);
void http_cconn_close(struct http_cconn *c); /* at once, without telling calls */
void http_cconn_failed(struct http_cconn *c, struct err *why); /* its calls are told or sent again */
void http_cconn_ready(struct http_cconn *c, bool two); /* connected and, if wanted, encrypted */
void http_cconn_idle(struct http_cconn *c);
bool http_origin_offers_h2(const struct http_pool *p);

/* http_connect.c */
struct http_cconn *http_cconn_new(struct http_pool *p);
void http_connecting_stop(struct http_cconn *c);
extern const struct http_io_ops http_cconn_ops;

/* http_proxy.c */
int http_proxy_parse(const char *url, struct arena *a, const char **out_host, unsigned *out_port, struct span *out_basic,
	struct err *err);

/* http_client_h1.c, http_client_h2.c */
void http_ch1_begin(struct http_cconn *c, struct http_call *call);
void http_ch1_data(struct http_cconn *c, struct span data);
void http_ch1_eof(struct http_cconn *c);
void http_ch1_sent(struct http_cconn *c);
void http_ch1_pump(struct http_cconn *c);
void http_ch2_open(struct http_cconn *c);
void http_ch2_begin(struct http_cconn *c, struct http_call *call);
void http_ch2_data(struct http_cconn *c, struct span data);
void http_ch2_sent(struct http_cconn *c);
void http_ch2_pump(struct http_cconn *c);
void http_ch2_drop(struct http_cconn *c, struct http_call *call); /* the call ends before its answer did */
bool http_ch2_room(const struct http_cconn *c); /* for one more call */
void http_ch2_free(struct http_cconn *c, struct err *why); /* calls are lost */
