/* What the files of watching share. Private to apiserver.
 *
 *     watch.c      a watch from its request to its end
 *     fan.c        what an event looks like: encoded once for all watches that asked alike
 *     hub.c        pods of one node: an event goes to that node's watches only
 *     watch_ws.c   watches over WebSocket
 *
 * All of it belongs to one loop thread. */
#pragma once

#include "apiserver/meter.h"
#include "apiserver/server.h"

/* ---- fan.c: watches of one loop thread that asked for the same thing in the same form */

struct fan_piece {
	struct bytes *data; /* shared; NULL: none of these events concerns the watch */
	size_t end;	    /* number of the first event behind it */
	unsigned first_size, n_sizes; /* of its events: fan->sizes[first_size] ... */
	unsigned sent;	    /* to how many watches; counted when it is dropped */
};

struct fan {
	char *key; /* owned; its name in worker->fans */
	size_t key_len;
	unsigned n; /* watches */
	struct worker *w;
	struct arena arena; /* of what follows */
	struct api_registry *registry; /* a reference: res lies in it */
	const struct api_resource *res;
	struct accepted want;
	struct filter filter;
	struct span gv, ns, name;
	const char *include;
	/* The batch that was offered last, as far as somebody wanted it. Dropped at the end of the turn. */
	uint64_t serial;
	const struct store_event *const *events; /* borrowed for the batch */
	const struct store_event *first;
	size_t n_events, done;
	struct fan_piece *pieces;
	unsigned n_pieces, cap_pieces;
	uint32_t *sizes; /* of each event in pieces, in bytes; owned */
	unsigned n_sizes, cap_sizes;
	struct meter_events meter;
	struct loop_task drop;
};

/* The fan of a call's watch; a reference. */
struct fan *fan_get(struct call *c, const struct filter *filter, const char *include);
void fan_release(struct fan *f);
/* Sets the batch. All watches that get the same one share its pieces. */
void fan_batch(struct fan *f, const struct store_batch *b);
/* The i-th piece of the batch, encoded when somebody first asks, and counted as sent to one more watch. NULL: an object cannot be
 * encoded, err says why. */
const struct fan_piece *fan_piece(struct fan *f, unsigned i, struct err *err);
/* One event for this fan, framed, appended; nothing when it does not concern it. */
int fan_event(struct fan *f, const struct store_event *e, struct buf *out, struct err *err);
int fan_object(struct fan *f, const char *type, struct span value, int64_t rev, struct buf *out, struct err *err);
/* Appends the frame of an event whose object is encoded already. */
void fan_frame(const struct fan *f, struct buf *out, const char *type, struct span object);
void fan_bookmark(struct fan *f, int64_t rev, bool initial_end, struct buf *out);
void fan_error(struct fan *f, const struct err *err, struct buf *out);

/* ---- watch.c */

struct watch_initial {
	struct store_snapshot *snap; /* owned */
	struct store_iter it;
};

struct watch {
	struct list link; /* in worker->watches */
	struct worker *w;
	struct fan *fan;
	struct http_req *http; /* or */
	struct watch_ws *ws;   /* owned */
	struct store_watch *cursor;    /* NULL: none now */
	struct watch_initial *initial; /* owned; while what there is is sent */
	struct hub *hub;	       /* NULL: not of the kind */
	struct list hub_link;	       /* in a node's list, in hub->apart, or in none */
	struct hub_node *node;	       /* where it hears its events; NULL: from its own cursor */
	int64_t sent_rev;
	int64_t from_rev; /* where its cursor begins next */
	struct call *call;  /* while it is audited: it tells of the end; else NULL */
	struct metrics_series *gauge; /* that counts it; NULL: none, or the call's */
	bool bookmarks, end_mark, ended;
	struct loop_timer timeout, bookmark;
};

/* May more be written now? When not, `watch_drained` will be called. */
bool watch_roomy(const struct watch *w);
void watch_send(struct watch *w, struct span events); /* framed; copied */
void watch_send_event(struct watch *w, struct span event); /* one, which is counted */
void watch_fail(struct watch *w, const struct err *err); /* an ERROR event, then the end */
void watch_close(struct watch *w);
void watch_drained(struct watch *w);
/* Nobody is at the other end any more: frees. */
void watch_free(struct watch *w);
/* Opens its own cursor at from_rev. */
void watch_follow(struct watch *w);

/* ---- hub.c */

/* The node whose pods the watch wants, when it is of that kind; else an empty span. */
struct span hub_node_of(const struct call *c, const struct filter *f);
/* The watch has a cursor of its own (watch_follow); it goes over to its node's list when it has caught up. */
void hub_join(struct watch *w, struct span node);
void hub_apart(struct watch *w);  /* it hears its own cursor (again) */
void hub_leave(struct watch *w);  /* for good */
/* Up to where a watch that hears its node has been told everything. */
int64_t hub_rev(const struct watch *w);

/* ---- watch_ws.c */

struct watch_ws;
/* Answers the handshake. The request is gone then. */
int watch_ws_serve(struct watch *w, struct http_req *r, struct err *err);
bool watch_ws_roomy(const struct watch_ws *s);
/* Events one after the other, each a message. */
void watch_ws_send(struct watch_ws *s, struct span events);
void watch_ws_close(struct watch_ws *s);
