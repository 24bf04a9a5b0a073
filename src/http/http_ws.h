/* WebSocket (RFC 6455), both roles, as a machine without sockets: received bytes go in, events come out, bytes to send
 * are taken away. Part of the seam of http; the upgrade itself is http_req_hijack's or http_call_hijack's.
 *
 *     struct http_ws_params p = { .ops = &ops, .arg = session };
 *     struct http_ws *ws = http_ws_new(&p);
 *     ... bytes arrived:    rc = http_ws_feed(ws, data, &err);  flush(ws);  if (rc < 0 || http_ws_over(ws)) close
 *     ... something to say: http_ws_send(ws, HTTP_WS_BINARY, span, true);  flush(ws);
 *     flush:                struct bytes *b = http_ws_take(ws);  if (b) http_duplex_write(d, http_bytes(b));
 *
 * Pings are answered, one pong for each feed (RFC 6455 section 5.5.3 allows to answer only the latest). A Close
 * is answered with its own code. What the peer must not do ends the connection with 1002, 1007 or 1009: http_ws_feed
 * then fails, and what can be taken ends with our Close.
 *
 * Memory: nothing is kept of the input but up to 14 bytes of a frame's head and 125 of a control frame, and with
 * `message` the message so far, bounded by message_limit. Output is the caller's to watch: http_ws_pending.
 * One thread at a time. Callbacks come from http_ws_feed and http_ws_end only; they may send, not free. */
#pragma once

#include "base/base.h"

enum http_ws_kind { HTTP_WS_TEXT = 1, HTTP_WS_BINARY = 2 };

enum http_ws_code { /* RFC 6455 section 7.4.1 */
	HTTP_WS_NORMAL = 1000,
	HTTP_WS_GOING_AWAY = 1001,
	HTTP_WS_PROTOCOL_ERROR = 1002,
	HTTP_WS_UNSUPPORTED_DATA = 1003,
	HTTP_WS_NO_CODE = 1005,    /* told by `closed`, never sent: the Close had none */
	HTTP_WS_ABNORMAL = 1006,   /* told by `closed`, never sent: the transport ended without a Close */
	HTTP_WS_BAD_DATA = 1007,   /* text that is not UTF-8 */
	HTTP_WS_POLICY = 1008,
	HTTP_WS_TOO_LARGE = 1009,
	HTTP_WS_INTERNAL = 1011,
};

struct http_ws;

struct http_ws_ops {
	/* A whole message. Without it, `part` gets messages in pieces as they arrive. */
	void (*message)(struct http_ws *ws, enum http_ws_kind kind, struct span data, void *arg);
	/* A piece of a message, perhaps empty; last: the message ends with it. */
	void (*part)(struct http_ws *ws, enum http_ws_kind kind, struct span data, bool last, void *arg);
	void (*pong)(struct http_ws *ws, struct span payload, void *arg);
	/* The connection is over: the peer's Close (code and reason as it sent them), our own error, or the end of the
	 * transport. Exactly once, and no event after it. */
	void (*closed)(struct http_ws *ws, unsigned code, struct span reason, void *arg);
};

struct http_ws_params {
	bool client;             /* masks what it sends and refuses masked frames; a server the other way round */
	size_t message_limit;    /* bytes of a message; 0 = 16 MB. More: 1009 */
	const struct http_ws_ops *ops; /* unset members are ignored; borrowed */
	void *arg;
	uint32_t (*mask)(void *arg); /* of each frame of a client; NULL = the kernel's random numbers */
};

struct http_ws *http_ws_new(const struct http_ws_params *p);
void http_ws_free(struct http_ws *ws); /* accepts NULL */

/* Received bytes, in any portions. 0, or -UPSTREAM after a violation (closed was called; send what is pending, then
 * end the transport). Bytes behind a Close are ignored. */
int http_ws_feed(struct http_ws *ws, struct span data, struct err *err);
/* The transport ended. closed(1006) follows from here unless a Close was there. */
void http_ws_end(struct http_ws *ws);
/* A Close went both ways (or an error ended it): the server should end the transport now, a client may wait a moment for
 * the server to do it. */
bool http_ws_over(const struct http_ws *ws);

/* One frame; last = false: the message goes on with the next call, of the same kind. Nothing may be sent after
 * http_ws_close; it is dropped. Text must be UTF-8 (ours: not checked). */
void http_ws_send(struct http_ws *ws, enum http_ws_kind kind, struct span data, bool last);
void http_ws_ping(struct http_ws *ws, struct span payload); /* at most 125 bytes */
/* Sends Close, once. code 0 = without one; reason is cut at 123 bytes. Messages that still arrive are dropped. */
void http_ws_close(struct http_ws *ws, unsigned code, struct span reason);
/* What is to be sent: a reference for the caller, or NULL when there is nothing. */
struct bytes *http_ws_take(struct http_ws *ws);
size_t http_ws_pending(const struct http_ws *ws);

/* The handshake (RFC 6455 section 4). Sec-WebSocket-Accept for a Sec-WebSocket-Key; false when the key is not the base64
 * of 16 bytes. */
bool http_ws_accept(struct span key, char out[29]);
void http_ws_key(char out[25]); /* a fresh key for a client */
/* The first of the client's Sec-WebSocket-Protocol list that is among ours (closed by NULL); NULL = none. */
const char *http_ws_protocol(struct span offered, const char *const *ours);
