/* HTTP, both sides, both versions: HTTP/1.1 (RFC 9112) and HTTP/2 (RFC 9113) behind one interface, over TCP, TLS and
 * unix sockets, with streaming bodies, back-pressure, upgrade and hijacking.
 *
 * Everything belongs to one loop thread: a server, a client and all that hangs from them are used from the thread of
 * the loop they were made with. Several threads serve one port through http_server_share or one listening
 * socket each (SO_REUSEPORT).
 *
 * Bodies are pieces: a piece refers to counted bytes (sent by reference, never copied on plain sockets when it is
 * larger than a few KB) or to a plain span (copied). Who writes sees how much is still queued and is told when it has
 * drained; who reads pauses and resumes. Memory per connection is bounded by the limits below whatever the peer does,
 * and an idle connection holds no buffers.
 *
 * WebSocket and SPDY/3.1: http_link.h over http_ws.h and http_spdy.h, included at the end.
 *
 * A callback never runs inside the call that began the operation. Text that accessors return lives as long as the
 * request (call) it belongs to.
 *
 *     static void handle(struct http_req *r, void *arg)
 *     {
 *             if (!span_is(http_req_path(r), "/hello"))
 *                     return http_reply_text(r, 404, "text/plain", SPAN("no such page\n"));
 *             http_reply_status(r, 200);
 *             http_reply_header(r, "content-type", SPAN("application/json"));
 *             http_reply_add(r, http_bytes(bytes_ref(list)));      // by reference
 *             http_reply_end(r);                                    // Content-Length is known: one write
 *     }
 *     struct http_server_params p = { .loop = l, .name = "api", .handle = handle, .tls = &slot };
 *     http_server_new(&p, &server, &err);
 *     http_server_listen(server, http_listen_tcp("127.0.0.1", 6443, 0, &err), HTTP_TLS, &err); */
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include "base/base.h"
#include "loop/loop.h"
#include "tls/tls.h"

struct http_server;
struct http_req;
struct http_client;
struct http_call;
struct http_duplex;

/* ---- pieces and fields ---- */

struct http_piece {
	struct span data;    /* lies inside bytes when that is set; else copied by the call that takes it */
	struct bytes *bytes; /* a reference that the taking call owns from then on, also on failure */
};
static inline struct http_piece http_bytes(struct bytes *b)
{
	return (struct http_piece){ bytes_span(b), b };
}
static inline struct http_piece http_part(struct bytes *b, struct span part)
{
	return (struct http_piece){ part, b };
}
static inline struct http_piece http_copy(struct span data)
{
	return (struct http_piece){ data, NULL };
}

struct http_field {
	struct span name;  /* as it came (HTTP/2: lower case) */
	struct span value; /* without blanks at both ends */
};
struct http_fields {
	const struct http_field *items;
	unsigned n;
};
/* The first value of a field, whatever the case of its name; empty (ptr NULL) when absent. */
struct span http_fields_get(const struct http_fields *f, const char *name);
bool http_fields_has(const struct http_fields *f, const char *name);
/* Does a comma-separated list (all fields of that name together) hold the token? Case and parameters are ignored. */
bool http_fields_token(const struct http_fields *f, const char *name, const char *token);
/* Standard words of a status code; "Unknown" for others. */
const char *http_status_text(int status);

/* ---- server ---- */

/* 0 = the default in brackets. */
struct http_limits {
	unsigned header_bytes;      /* of all fields of a request [65536]; more: 431 */
	unsigned headers;           /* [200]; more: 431 */
	unsigned target_bytes;      /* [16384]; more: 414 */
	unsigned connections;       /* [100000]; more: HTTP/1 503 and close, TLS close */
	unsigned streams;           /* HTTP/2 streams open at once on a connection [250] */
	unsigned stream_errors;     /* resets and errors a connection may cause per second [200]; more: GOAWAY */
	unsigned window_bytes;      /* HTTP/2 receive window of a stream [262144; clients 4 MB]; of a connection four times
	                             * that. Fixed: docs/decisions/0303 */
	unsigned queue_bytes;       /* queued output that makes a writer wait for `drain` [262144] */
	unsigned handshake_ms;      /* [10000] TLS handshake, HTTP/2 preface */
	unsigned header_ms;         /* [10000] first byte of a request to the end of its header */
	unsigned idle_ms;           /* [180000] between requests */
	unsigned body_stall_ms;     /* [30000] a body that the handler wants must move on within this time ... */
	unsigned body_bytes_per_s;  /* [128] ... and on average this fast. HTTP/1: the connection ends; HTTP/2: the stream is
	                             * reset, each stream by itself */
	unsigned write_stall_ms;    /* [60000] a peer that takes nothing of what waits for it is dropped */
	unsigned ping_ms;           /* HTTP/2: a connection with streams that was quiet for so long is pinged, and ended after
	                             * as much silence again. 0 = never: TCP keepalive (on for every TCP socket here) finds
	                             * dead peers without waking this process */
};

struct http_server_params {
	struct loop *loop;
	const char *name;           /* of sources and errors; borrowed for ever */
	/* A request's header is complete. The handler answers now or later; until then the request is its. */
	void (*handle)(struct http_req *r, void *arg);
	void *arg;
	struct tls_slot *tls;       /* borrowed; needed for HTTP_TLS listeners. Read at each accept. */
	struct http_limits limits;
	bool no_http2, no_http1;
	/* What people type into `nc -U` ends lines with LF alone. Taken from unix sockets, in request lines and fields: there is no
	 * proxy before one that could see the borders of requests elsewhere. Bodies are framed as strictly as ever. */
	bool unix_bare_lf;
};
int http_server_new(const struct http_server_params *p, struct http_server **out_server, struct err *err);

enum { HTTP_TLS = 1 };
/* Listening sockets are opened by the caller (or passed by the supervisor) and taken over, also on failure. Negative
 * fds fail with what the errno says, so that a helper can stand in the argument. */
int http_server_listen(struct http_server *s, int fd, unsigned flags, struct err *err);
/* A connection that somebody else accepted; taken over. */
int http_server_take(struct http_server *s, int fd, unsigned flags, struct err *err);
/* Accepting on one loop for several: what s accepts is dealt in turn to s and the n others, each on its own thread.
 * The others must be stopped after s. */
void http_server_share(struct http_server *s, struct http_server *const *others, size_t n);
/* Stops accepting, ends idle connections, lets running requests finish (HTTP/2: GOAWAY), cuts what is left after
 * deadline_ms, then calls done. Hijacked streams are not the server's any more. */
void http_server_stop(struct http_server *s, unsigned deadline_ms, void (*done)(struct http_server *s, void *arg),
	void *arg);
/* What connections know of their peers is out of date (other authorities of client certificates): each takes no further request,
 * those without one end now, clients come back on new ones. Requests that run are not disturbed. */
void http_server_renew(struct http_server *s);
void http_server_free(struct http_server *s); /* stopped; accepts NULL */

struct http_server_stats {
	uint64_t accepted, refused;      /* connections */
	uint64_t requests, bad_requests; /* bad: answered 4xx by this layer, or a protocol error */
	uint64_t timeouts, floods;       /* connections ended for slowness; for abuse */
	unsigned connections, streams, idle; /* now: connections, running requests, connections without a request */
};
struct http_server_stats http_server_stats(const struct http_server *s);

/* Sockets. backlog 4096; fd or -1. host NULL or "" = every address, IPv6 with IPv4 mapped. */
enum { HTTP_REUSEPORT = 1 };
int http_listen_tcp(const char *host, unsigned port, unsigned flags, struct err *err);
/* Replaces a socket file on which nobody listens any more; IN_USE when somebody does. */
int http_listen_unix(const char *path, mode_t mode, struct err *err);
unsigned http_fd_port(int fd); /* of a bound TCP socket; 0 if it is none */

/* ---- a request ---- */

struct http_peer {
	struct sockaddr_storage addr;
	socklen_t addr_len;
	char text[64];            /* "127.0.0.1:4711", "[::1]:80", "unix" */
	bool is_unix, is_tls;
	struct ucred cred;        /* unix sockets: pid, uid, gid at connect time */
	struct tls_peer *cert;    /* the client's certificate, owned by the connection; NULL = none */
};

struct span http_req_method(const struct http_req *r);
bool http_req_is(const struct http_req *r, const char *method);
/* The request target as sent: origin form, or absolute form (then authority comes from it, RFC 9112 section 3.2.2). */
struct span http_req_target(const struct http_req *r);
struct span http_req_path(const struct http_req *r);  /* raw path, escapes and double slashes as sent; starts with '/',
                                                        * or is "*" */
struct span http_req_query(const struct http_req *r); /* raw, without '?'; empty for none */
struct span http_req_host(const struct http_req *r);  /* Host or :authority, with port if given */
/* The path in its strict form: every segment decoded. Refused (INVALID_REQUEST) when it could mean two things: a
 * broken escape, an empty segment other than the last, "." or ".." (also as %2e), an escaped '/' or '\', NUL, control
 * characters, invalid UTF-8. Segments live as long as the request. */
int http_req_segments(struct http_req *r, const struct span **out_segments, size_t *out_n, struct err *err);
const struct http_fields *http_req_headers(const struct http_req *r);
struct span http_req_header(const struct http_req *r, const char *name); /* first value */
/* All values of a field joined with ", " (cookies with "; "). */
struct span http_req_header_all(struct http_req *r, const char *name);
const struct http_fields *http_req_trailers(const struct http_req *r); /* complete when `end` was called */
int http_req_version(const struct http_req *r); /* 10, 11 or 20 */
/* -1 = unknown (chunked or HTTP/2 without it); 0 = no body. */
int64_t http_req_length(const struct http_req *r);
const struct http_peer *http_req_peer(const struct http_req *r);
struct span http_peer_host(const struct http_peer *p); /* "127.0.0.1", "::1"; empty for a unix socket; lives as long as p */
struct arena *http_req_arena(struct http_req *r); /* ends after `done` */
struct loop *http_req_loop(const struct http_req *r);
/* The request's header, path and arena are not needed any more: their memory (some 5 KB) is given back now and not when the
 * answer ends, which for a stream may be never. The accessors above answer empty spans from then on; method and peer stay. */
void http_req_shed(struct http_req *r);

/* What may happen to a request; unset members are ignored. `done` is always the last and comes exactly once. */
struct http_req_ops {
	/* Body bytes, in order. Not called while paused; called with what is there already after a resume. */
	void (*data)(struct http_req *r, struct span data, void *arg);
	void (*end)(struct http_req *r, void *arg);     /* body complete, trailers there */
	void (*drain)(struct http_req *r, void *arg);   /* queued output fell below half of queue_bytes after it was above */
	/* The peer ended its sending side (or reset the stream) while the answer is not complete: what is still
	 * written may reach nobody. A long answer, and a request that waits for something, should end or abort now: without
	 * this an HTTP/1 request whose client is gone waits until it is answered (half-closed clients are served). */
	void (*hangup)(struct http_req *r, void *arg);
	/* The exchange is over: complete = the whole answer went to the kernel. The request is gone afterwards. */
	void (*done)(struct http_req *r, bool complete, void *arg);
};
/* Set in the handler (or later, before anything was missed: a body waits until `data` is there). Without `data` a body
 * is read and thrown away once the answer is complete, within 256 KB (HTTP/2: 4 MB, because curl 7 takes an early reset
 * for a failure); beyond that the connection (stream) is ended. */
void http_req_ops_set(struct http_req *r, const struct http_req_ops *ops, void *arg);
void http_req_pause(struct http_req *r);
void http_req_resume(struct http_req *r);
/* Collects the body. One call of fn: rc 0 and the body (contiguous, lives as long as the request), or
 * -ERR_TOO_LARGE beyond limit_bytes (the rest is not read). fn is not called when the request ends before; ops'
 * data and end are not used. */
void http_req_body_whole(struct http_req *r, size_t limit_bytes,
	void (*fn)(struct http_req *r, int rc, struct span body, void *arg), void *arg);

/* ---- its answer ---- */

void http_reply_status(struct http_req *r, int status); /* 200 unless set */
/* Name in any case (HTTP/2 sends it in lower case); copied. A name or value that HTTP does not allow is our mistake
 * and aborts: check outside strings with http_value_ok. Content-Length, Transfer-Encoding, Connection and Date are set
 * here: giving them is a mistake too, except Content-Length for the answer to HEAD. */
void http_reply_header(struct http_req *r, const char *name, struct span value);
bool http_value_ok(struct span value);
/* Appends to the body. Before http_reply_begin or http_reply_end it is only collected. After the peer is gone it is
 * dropped. */
void http_reply_add(struct http_req *r, struct http_piece piece);
/* Sends the header: the body follows in pieces, its length unknown (chunked; HTTP/1.0: until close). Nothing is held
 * back afterwards: each turn's pieces go out at the end of the turn. */
void http_reply_begin(struct http_req *r);
/* Trailers of a streamed answer; before http_reply_end. */
void http_reply_trailer(struct http_req *r, const char *name, struct span value);
/* The body is complete. Without http_reply_begin the answer has a Content-Length. */
void http_reply_end(struct http_req *r);
/* Gives up: HTTP/2 resets the stream, HTTP/1 ends the connection; so the peer cannot take it for complete. */
void http_reply_abort(struct http_req *r);
/* Bytes accepted by http_reply_add and not yet on their way (HTTP/2: not yet framed; HTTP/1: not yet sent).
 * A streaming writer stops above
 * limits.queue_bytes and goes on at `drain`; this layer keeps whatever it is given. */
size_t http_reply_queued(const struct http_req *r);
bool http_reply_begun(const struct http_req *r);
/* Compress the body with gzip (level 1) if the peer accepts it, the answer is not streamed, has at least min_bytes
 * (0 = 131072, kube-apiserver's threshold), and no Content-Encoding was set. It is compressed piece by piece while
 * it is sent: an answer costs one deflate state, not its size. Adds Vary and Content-Encoding. Before http_reply_end. */
void http_reply_gzip(struct http_req *r, size_t min_bytes);
bool http_req_accepts_gzip(const struct http_req *r); /* Accept-Encoding with q > 0 */
/* The whole of pieces as one gzip member, for answers that are sent more than once. Any thread. */
struct bytes *http_gzip(const struct http_piece *pieces, size_t n, int level);
/* Status, type and body (copied) in one call. */
void http_reply_text(struct http_req *r, int status, const char *content_type, struct span body);
/* Sets ETag; when If-None-Match has it, answers 304 and returns true. etag with its quotes; GET and HEAD only. */
bool http_reply_not_modified(struct http_req *r, struct span etag);
/* 100 is sent by itself when a body is first read that was announced with Expect: 100-continue. */

/* ---- hijacked byte streams ---- */

/* Both directions of a connection after HTTP has left it: an upgrade (101), Docker's attach (200 without Upgrade), or
 * CONNECT. Bytes as they come, back-pressure in both directions, half close. */
struct http_duplex_ops {
	void (*data)(struct http_duplex *d, struct span data, void *arg); /* not while paused */
	void (*end)(struct http_duplex *d, void *arg);   /* the peer ended its sending side; writing goes on */
	void (*drain)(struct http_duplex *d, void *arg); /* queued output fell below half of queue_bytes */
	/* The peer ended its sending side while paused; once. What it sent before is still to be read, then `end` comes. It cannot be
	 * seen while the peer has sent more than the kernel takes for a reader that pauses. May be NULL. */
	void (*hangup)(struct http_duplex *d, void *arg);
	/* Over, by our close or by an error (why: class and words; NULL after both sides ended or our own close). The
	 * last callback; the duplex is gone afterwards. */
	void (*closed)(struct http_duplex *d, const struct err *why, void *arg);
};
void http_duplex_ops_set(struct http_duplex *d, const struct http_duplex_ops *ops, void *arg);
void http_duplex_write(struct http_duplex *d, struct http_piece piece);
size_t http_duplex_queued(const struct http_duplex *d);
/* What is written from now on waits until the other side has read what was written before, at most so long: for clients who read a
 * head through a buffer and what follows it below that buffer. On a unix socket in the clear; elsewhere nobody can tell. */
void http_duplex_hold(struct http_duplex *d, unsigned ms);
void http_duplex_pause(struct http_duplex *d);
void http_duplex_resume(struct http_duplex *d);
void http_duplex_end(struct http_duplex *d);   /* ends our sending side once the queue is out */
void http_duplex_close(struct http_duplex *d); /* both, once the queue is out (5 s at most); `closed` follows */
void http_duplex_abort(struct http_duplex *d); /* both, now; `closed` follows */
struct loop *http_duplex_loop(const struct http_duplex *d);

/* Does the client ask to upgrade to this protocol (Connection: upgrade and Upgrade: name)? HTTP/1.1 only. */
bool http_req_wants_upgrade(const struct http_req *r, const char *protocol);
/* Sends the header set so far with this status (101: Connection: Upgrade is added; others: no length, no framing) and
 * takes the connection over. The request's body must be complete. The request ends: `done` (complete) follows. Reading
 * begins when ops are set. HTTP/2: -ERR_UNSUPPORTED. */
int http_req_hijack(struct http_req *r, int status, struct http_duplex **out_duplex, struct err *err);

/* Two of them joined: each gets what comes from the other, with its pauses and its half close, and goes when the other
 * goes. Lies in its owner's memory, zero but for `closed`. Both are set in one turn, then nothing is lost. */
struct http_pair {
	struct http_duplex *side[2];            /* NULL: not set yet, or over */
	void (*closed)(struct http_pair *p);    /* a side is over, and the other one was told to close; once for each side */
};
void http_pair_set(struct http_pair *p, int side, struct http_duplex *d);
void http_pair_abort(struct http_pair *p); /* both sides, now; `closed` follows for each */

/* ---- client ---- */

struct http_client_params {
	struct loop *loop;
	const char *name;
	unsigned connections_per_origin; /* HTTP/1.1, others wait; 0 = 64 */
	unsigned idle_per_origin;        /* kept open; 0 = 8 */
	unsigned idle_ms;                /* kept for; 0 = 90000 */
	struct http_limits limits;       /* of answers; the server-only members are ignored */
};
int http_client_new(const struct http_client_params *p, struct http_client **out_client, struct err *err);
/* Ends every call (their done is called with CANCELLED) and connection; then the memory is free. */
void http_client_free(struct http_client *c);
void http_client_close_idle(struct http_client *c);

/* Where a call goes. Strings are copied. Calls share connections when everything here is equal. */
struct http_origin {
	bool tls;                 /* https */
	const char *host;         /* name or address, without brackets; for unix sockets what Host should say */
	unsigned port;            /* 0 = 80 or 443 */
	const char *unix_path;    /* connect here instead */
	struct tls_ctx *tls_ctx;  /* needed with tls; its ALPN decides whether HTTP/2 may be spoken */
	const char *server_name;  /* NULL = host */
	const char *proxy;        /* "http://[user:password@]host:port" or NULL. https and upgrades go through CONNECT, plain
	                           * http by absolute-form */
	bool http2;               /* prior knowledge on a connection without TLS */
};
/* scheme://host[:port]/target into parts; host and target point into the arena. */
int http_url_parse(struct span url, struct arena *a, struct http_origin *out_origin, struct span *out_target,
	struct err *err);
/* What HTTP_PROXY, HTTPS_PROXY and NO_PROXY (as Go reads them: names, .suffixes, addresses, CIDR, ports, *) say for
 * this origin: a proxy URL or an empty span. The texts may be empty. Loopback and localhost are never proxied. */
struct span http_proxy_for(const struct http_origin *origin, struct span http_proxy, struct span https_proxy,
	struct span no_proxy);

struct http_call_ops {
	void (*head)(struct http_call *c, void *arg);   /* final status and headers are there */
	void (*interim)(struct http_call *c, int status, void *arg); /* 100, 103 */
	void (*data)(struct http_call *c, struct span data, void *arg);
	void (*end)(struct http_call *c, void *arg);    /* body complete, trailers there */
	void (*drain)(struct http_call *c, void *arg);
	/* The last callback: why NULL = complete. The call is gone afterwards. Classes: TIMEOUT, UNAVAILABLE (no
	 * connection; err_may_retry), UPSTREAM (nonsense or cut off), CANCELLED, TOO_LARGE (header). */
	void (*done)(struct http_call *c, const struct err *why, void *arg);
};

struct http_call_params {
	const struct http_origin *origin;
	const char *method;
	struct span target;              /* origin form, "/..." */
	const struct http_field *headers; /* copied; Host, Content-Length and Connection are set here unless given */
	size_t n_headers;
	const struct http_piece *body;   /* the references are taken, also on failure */
	size_t n_body;
	bool stream_body;                /* more follows by http_call_add and http_call_end */
	int64_t body_length;             /* of a streamed body; <= 0 = unknown (chunked) */
	bool expect_continue;            /* hold the body back until 100 or 1 s */
	const char *upgrade;             /* ask for this protocol; HTTP/1.1 on a connection of its own */
	bool repeatable;                 /* may be sent again although the method is not idempotent */
	unsigned connect_ms, first_byte_ms, idle_ms, total_ms; /* 0 = 30000, none, none, none */
	const struct http_call_ops *ops;
	void *arg;
};
/* Everything that can go wrong later arrives at `done`. A call on a kept connection that ended before any byte of an
 * answer is sent once more on a fresh one when the method is idempotent (or repeatable) and the body can be repeated. */
int http_call_begin(struct http_client *client, const struct http_call_params *p, struct http_call **out_call,
	struct err *err);
void http_call_add(struct http_call *c, struct http_piece piece);
void http_call_trailer(struct http_call *c, const char *name, struct span value);
void http_call_end(struct http_call *c);
size_t http_call_queued(const struct http_call *c);
void http_call_pause(struct http_call *c);
void http_call_resume(struct http_call *c);
void http_call_cancel(struct http_call *c); /* `done` follows with CANCELLED */
/* Why a call ended, in the words that Go's net.Dial has where no connection came about, which is what people search for:
 * "dial tcp 10.0.0.1:10250: connect: connection refused", "dial tcp ...: i/o timeout"; any other error as it is. */
void http_dial_words(struct buf *out, struct span host, unsigned port, const struct err *why);
int http_call_status(const struct http_call *c);
const struct http_fields *http_call_headers(const struct http_call *c);
struct span http_call_header(const struct http_call *c, const char *name);
const struct http_fields *http_call_trailers(const struct http_call *c);
/* In `done` with UPSTREAM: the HTTP/2 error code (RFC 9113 section 7) that the stream was reset with; -1 = it was not. */
int64_t http_call_reset_code(const struct http_call *c);
struct arena *http_call_arena(struct http_call *c);
/* In `head`, HTTP/1.1: takes the connection over (after 101, CONNECT or Docker's 200). `done` follows with NULL. */
int http_call_hijack(struct http_call *c, struct http_duplex **out_duplex, struct err *err);

/* WebSocket and SPDY/3.1: the rest of the seam. */
#include "http/http_link.h"
