/* One request passed on to another HTTP server: a kubelet, or a pod, service or node behind .../proxy. Private to apiserver.
 *
 * What comes in goes out as it comes, in both directions, with back-pressure: bodies are never collected. An upgrade (SPDY/3.1 of
 * exec, attach and port-forward; WebSocket; anything else behind a proxy) is made with the other server first; when that
 * agrees, both connections leave HTTP and are joined byte for byte, each half closed when the other's sender has ended.
 *
 * A relay lives in its call, which stays until the last of its two connections is gone. All on the call's loop thread. */
#pragma once

#include "apiserver/server.h"

struct relay_pool; /* of a worker: its HTTP client and the streams that are joined now */

enum relay_kind {
	RELAY_LOG,    /* GET; answers text/plain, other statuses than 200-206 as a Status about pods/log */
	RELAY_STREAM, /* an upgrade or nothing */
	RELAY_PROXY,  /* whatever the client sends and the server answers */
};

struct relay_target {
	enum relay_kind kind;
	bool tls;
	struct span host; /* address or name */
	unsigned port;	  /* 0: 80 or 443 */
	struct tls_ctx *tls_ctx; /* borrowed while the server runs */
	struct span path; /* of the request there, escaped, with its query */
	struct span prefix; /* RELAY_PROXY: our path before what is the other server's: redirects lead back there */
};

/* Takes the call over; texts are copied into its arena. */
void relay_begin(struct call *c, const struct relay_target *t);
/* The thread's HTTP client, for small questions to neighbours. */
struct http_client *relay_client(struct worker *w);
/* Ends every stream of the thread: their peers see their connections end. */
void relay_end_all(struct worker *w);
/* After the last request: the client and its connections. */
void relay_free(struct worker *w);
