/* WebSocket and SPDY over a hijacked connection: the machine of http_ws.h or http_spdy.h, fed and flushed by a duplex. Part
 * of the seam of http.
 *
 *     server:  if (http_req_wants_upgrade(r, "websocket"))
 *                      http_ws_serve(r, protocols, &ws_params, &link_ops, session, &link, &err);
 *     client:  http_ws_key(key);  fields: Sec-WebSocket-Key: key, Sec-WebSocket-Version: 13;  params.upgrade = "websocket"
 *              in head: http_ws_join(call, key, &ws_params, &link_ops, session, &link, &err);
 *     both:    http_ws_send(http_link_ws(link), HTTP_WS_BINARY, span, true);  http_link_flush(link);
 *
 * The link owns machine and duplex, and sends at the end of the turn what was queued before http_link_flush. While more than
 * 256 KB wait for the peer nothing is read from it (pings cannot pile up), and `drain` says when to go on. The end, whoever
 * began it: the machine's own `closed`, then `gone`, and the memory is the link's no more. One thread: the loop's. */
#pragma once

#include "http/http.h"
#include "http/http_spdy.h"
#include "http/http_ws.h"

struct http_link;

struct http_link_ops {
	void (*drain)(struct http_link *k, void *arg); /* queued output fell below 128 KB after it was above 256 KB */
	/* The peer has ended the connection while nothing is read from it: http_duplex_ops.hangup. May be NULL: then it is told by
	 * `gone` when reading has come to its end. */
	void (*hangup)(struct http_link *k, void *arg);
	/* The last callback. why = a broken transport or a violation; NULL = ended in order. */
	void (*gone)(struct http_link *k, const struct err *why, void *arg);
};

/* Answers the upgrade (RFC 6455 section 4.2) and begins. protocols: ours, closed by NULL, or NULL for none; the
 * first that the client offers is confirmed. -ERR_INVALID_REQUEST with nothing answered when the handshake makes no
 * sense, or when protocols were offered and none is ours. */
int http_ws_serve(struct http_req *r, const char *const *protocols, const struct http_ws_params *p,
	const struct http_link_ops *ops, void *arg, struct http_link **out_link, struct err *err);
/* Checks the answer to an upgrade that was asked for with this key, and begins. In `head`, status 101. */
int http_ws_join(struct http_call *c, const char *key, const struct http_ws_params *p, const struct http_link_ops *ops,
	void *arg, struct http_link **out_link, struct err *err);
/* The same for SPDY/3.1; headers like X-Stream-Protocol-Version are the caller's. */
int http_spdy_serve(struct http_req *r, const struct http_spdy_params *p, const struct http_link_ops *ops, void *arg,
	struct http_link **out_link, struct err *err);
int http_spdy_join(struct http_call *c, const struct http_spdy_params *p, const struct http_link_ops *ops, void *arg,
	struct http_link **out_link, struct err *err);

struct http_ws *http_link_ws(struct http_link *k);
struct http_spdy *http_link_spdy(struct http_link *k);
void http_link_flush(struct http_link *k);
size_t http_link_queued(const struct http_link *k); /* bytes not yet taken by the kernel */
void http_link_pause(struct http_link *k);          /* stops reading */
void http_link_resume(struct http_link *k);
void http_link_close(struct http_link *k); /* behind what is queued; the machine's Close or GOAWAY is the caller's */
void http_link_abort(struct http_link *k);
