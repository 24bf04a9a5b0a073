/* What the server's files share. Private.
 *
 *     http_server    listeners, connections, watchdog
 *       http_conn    one socket; detects the version, then hands bytes to
 *         http_h1    or
 *         http_h2    which make
 *           http_req one exchange: what came, what goes, who is told
 *
 * Every change that a handler asks for only marks the request and wakes its connection (http_conn_wake); the protocol looks
 * at it in the deferred phase (pump). So no callback runs inside a handler's call. */
#pragma once

#include "http/http_gzip.h"
#include "http/http_io.h"
#include "http/http_wire.h"

struct http_h1;
struct http_h2_mem;
struct http_h2;

enum http_phase { HTTP_OPENING, HTTP_DETECTING, HTTP_V1, HTTP_V2, HTTP_CLOSING };
enum http_waiting { HTTP_WAIT_NOTHING, HTTP_WAIT_HANDSHAKE, HTTP_WAIT_HEADER, HTTP_WAIT_IDLE, HTTP_WAIT_BODY };

#define HTTP_TRIM_MS 1000

struct http_listener {
	struct list link;
	struct http_server *server;
	struct loop_fd fd;
	int sock;
	bool tls;
};

struct http_server {
	struct loop *loop;
	struct http_server_params p; /* limits with defaults filled in */
	struct list listeners;       /* http_listener.link */
	struct list conns;           /* http_conn.link */
	unsigned n_conns;            /* not yet freed */
	struct http_server **shared; /* owned; the servers that accepted sockets are dealt to, this one included */
	size_t n_shared, next_shared;
	bool stopping;
	void (*stopped)(struct http_server *s, void *arg);
	void *stopped_arg;
	struct loop_timer deadline, accept_again, trim;
	unsigned bursts;             /* handshakes and shed requests since the last trim */
	struct loop_task stopped_task;
	unsigned listeners_closing;
	_Atomic unsigned dealt;      /* sockets on their way to this loop from others */
	struct http_server_stats stats;
	struct http_h2_mem *h2_mem;  /* owned; made with the first HTTP/2 connection */
};

struct http_conn {
	struct http_io io;
	struct http_server *server;
	struct list link;
	enum http_phase phase;
	bool tls;
	struct http_h1 *h1;       /* owned, by phase */
	struct http_h2 *h2;
	struct http_peer peer;
	struct buf held;          /* bytes that came and could not be used yet */
	struct loop_timer timer;  /* the nearest of the deadlines below */
	enum http_waiting waiting;
	int64_t waiting_until_ms;
	int64_t body_since_ms;    /* HTTP_WAIT_BODY: for the average */
	uint64_t body_bytes;
	unsigned n_reqs;          /* not yet done */
	int64_t stall_check_ms;   /* when to look whether output moves; 0 = nothing waits */
	int64_t stall_armed_ms;
	int64_t heard_ms;         /* last bytes from the peer */
	bool pinged;
	bool idle_counted;
	bool last; /* takes no further request, as if the server were stopping */
};

/* http_server.c */
/* For tests (fuzzing) alone: a connection without a socket, so that bytes go to the parser and nowhere else. */
struct http_conn *http_conn_memory(struct http_server *s);
void http_conn_wait(struct http_conn *c, enum http_waiting what, int64_t ms);
void http_conn_timer_update(struct http_conn *c); /* after output was queued or sent */
void http_conn_close(struct http_conn *c);        /* at once; running requests end */
void http_conn_close_gently(struct http_conn *c); /* behind the queue */
static inline bool http_conn_ending(const struct http_conn *c)
{
	return c->last || c->server->stopping;
}
void http_conn_idle(struct http_conn *c);         /* no request: waits for the next, or closes when stopping */
struct http_limits http_limits_filled(struct http_limits l);
void http_peer_of_socket(struct http_peer *p, int sock);
/* The kernel finds a peer that is dead, without a timer of ours: after 15 s of silence, 9 probes. Nothing, of a unix socket. */
void http_keep_alive(int sock);

/* http_h1.c, http_h2.c: the same steps for both */
void http_h1_begin(struct http_conn *c);
void http_h1_data(struct http_conn *c, struct span data);
void http_h1_eof(struct http_conn *c);
void http_h1_sent(struct http_conn *c);
void http_h1_wake(struct http_conn *c);
void http_h1_stop(struct http_conn *c);     /* the server stops: the running request is the last */
void http_h1_end(struct http_conn *c);      /* the connection closes: requests end, memory is given back */
/* A status that this layer answers by itself, then closes. */
void http_h1_refuse(struct http_conn *c, int status, const char *why);

/* http_h2_mem.c */
void *http_h2_mem(struct http_server *s); /* a nghttp2_mem */
void http_h2_mem_free(struct http_server *s);

void http_h2_begin(struct http_conn *c);
void http_h2_data(struct http_conn *c, struct span data);
void http_h2_eof(struct http_conn *c);
void http_h2_sent(struct http_conn *c);
void http_h2_wake(struct http_conn *c, struct http_req *r);
void http_h2_stop(struct http_conn *c);
void http_h2_end(struct http_conn *c);
bool http_h2_has_pending(const struct http_conn *c); /* output that the peer's windows hold back */
/* Resets the streams whose output has not moved since before_ms. */
void http_h2_drop_stalled(struct http_conn *c, int64_t before_ms);
/* HTTP_WAIT_BODY is over: resets the streams whose bodies stall or trickle, and waits for the others'. */
void http_h2_drop_slow(struct http_conn *c);
void http_h2_ping(struct http_conn *c);

struct http_req {
	struct http_conn *conn;
	struct list link;          /* of its protocol */
	struct list dirty;         /* http_h2 */
	int32_t stream_id;         /* http_h2; 0 = closed */
	int version;
	struct http_head head, trailers;
	struct http_fields headers, trailer_fields; /* views of the two */
	struct span method, target, path, query, host;
	int64_t length;
	struct arena arena;

	const struct http_req_ops *ops;
	void *arg;
	struct buf in;             /* http_h2: body bytes that were not wanted yet */
	uint64_t in_bytes, discard_from;
	struct {
		void (*fn)(struct http_req *r, int rc, struct span body, void *arg);
		void *arg;
		size_t limit;
		struct buf body;
	} whole;

	int status;
	struct http_head reply, reply_trailers;
	struct http_out out;       /* body not yet framed */
	struct http_gzip *gzip;
	struct http_out zip;       /* http_h2: compressed, not yet framed */
	size_t gzip_min;
	uint64_t mark;             /* http_h1: io.out.taken when the whole answer is gone */
	int64_t progress_ms;       /* http_h2: of its output */
	int64_t in_moved_ms, in_since_ms; /* http_h2, while in_waited: last body bytes; since when it is waited for */
	uint64_t in_since_bytes;

	unsigned paused : 1;
	unsigned in_ended : 1;     /* the body is complete */
	unsigned in_waited : 1;    /* http_h2: its handler wants it */
	unsigned end_told : 1;
	unsigned whole_told : 1;
	unsigned discard : 1;      /* nobody wants the rest of the body */
	unsigned want_continue : 1; /* Expect: 100-continue, not yet answered */
	unsigned no_body_answer : 1; /* HEAD */
	unsigned begun : 1;        /* http_reply_begin */
	unsigned ended : 1;        /* http_reply_end */
	unsigned aborted : 1;
	unsigned head_sent : 1;    /* framed */
	unsigned framed : 1;       /* to the end */
	unsigned above : 1;        /* the writer was told to wait */
	unsigned gzip_wanted : 1;
	unsigned has_length : 1;   /* the handler set Content-Length (HEAD) */
	unsigned hung_up : 1;
	unsigned hijacked : 1;
	unsigned reset_by_peer : 1;
	unsigned submitted : 1;    /* http_h2: the response is nghttp2's */
	unsigned deferred : 1;     /* http_h2: its data source waits for more */
	unsigned counted : 1;      /* in server stats */
	unsigned pending : 1;      /* http_h2: counted as one whose output waits */
	unsigned stream_error : 1; /* http_h2: reset it, with this layer's reason */
};

/* http_req.c */
struct http_req *http_req_new(struct http_conn *c, int version);
/* Splits the target into path, query and host. NULL, or why it is refused. */
const char *http_req_target_split(struct http_req *r);
void http_req_start(struct http_req *r); /* calls the handler */
/* Does somebody take body bytes now? */
bool http_req_wants_body(const struct http_req *r);
void http_req_body_data(struct http_req *r, struct span data);
void http_req_body_end(struct http_req *r); /* tells `end` now or when it can be told */
void http_req_told_end_check(struct http_req *r);
void http_req_hang_up(struct http_req *r);
void http_req_drain_check(struct http_req *r, size_t queued);
void http_req_finish(struct http_req *r, bool complete); /* done, then frees */
/* Body bytes towards `to`, at most max of them (gzip: about). True when all of the body so far is there. */
bool http_req_body_pull(struct http_req *r, struct http_out *to, size_t max);
/* The answer may have no body whatever the handler added (RFC 9110 section 6.4.1). */
bool http_reply_bodyless(const struct http_req *r);
/* Settles gzip before the header is made. */
void http_reply_settle(struct http_req *r);
void http_date_add(struct http_req *r, char out[32]);

static inline void http_conn_wake(struct http_conn *c, struct http_req *r)
{
	if (c->phase == HTTP_V1)
		http_h1_wake(c);
	else if (c->phase == HTTP_V2)
		http_h2_wake(c, r);
}

/* http_path.c */
int http_path_segments(struct arena *a, struct span path, const struct span **out, size_t *out_n, struct err *err);

/* http_duplex.c: takes the transport over (with queued output); bytes that were read already are added before its first
 * callback. */
int http_duplex_new(struct http_io *from, size_t queue_bytes, struct http_duplex **out, struct err *err);
void http_duplex_held_add(struct http_duplex *d, struct span data);
