/* SPDY/3.1 framing, both roles, as a machine without sockets: what kubectl exec, attach, cp and port-forward speak to the
 * API server and kubelet behind "Upgrade: SPDY/3.1". Part of the seam of http; the upgrade itself is
 * http_req_hijack's or http_call_hijack's.
 *
 *     struct http_spdy_params p = { .ops = &ops, .arg = session };
 *     struct http_spdy *s = http_spdy_new(&p);
 *     ... bytes arrived:    rc = http_spdy_feed(s, data, &err);  flush(s);  if (rc < 0) end the transport
 *     ... something to say: http_spdy_write(stream, span, false);  flush(s);
 *     flush:                struct bytes *b = http_spdy_take(s);  if (b) http_duplex_write(d, http_bytes(b));
 *
 * Flow control. The Go library that kubectl, the API server and kubelet use (moby/spdystream) neither sends nor heeds
 * WINDOW_UPDATE. Against it a sender that honours the 64 KB windows of the specification would stop for ever, so
 * windows are off unless params.flow_control is set; back-pressure is then the transport's: stop reading while
 * http_spdy_unconsumed is high, stop writing while what waits for the transport is high.
 *
 * The same library drops data that arrives before its side has replied: a client should wait for `reply`.
 *
 * Memory: a control frame (control_bytes), the header block of one (header_bytes), two zlib streams (about 60 KB),
 * about 200 bytes a stream, with flow control what a window keeps back of http_spdy_write. Pings and broken frames are
 * answered with about as many bytes as they had: do not feed while what waits for the transport is high.
 *
 * One thread at a time. Callbacks come from http_spdy_feed and http_spdy_take only (never inside the call that caused
 * them); they may call everything but feed, take and free. */
#pragma once

#include "base/base.h"

struct http_spdy;
struct http_spdy_stream;

struct http_spdy_field {
	struct span name; /* lower case */
	struct span value;
};

enum http_spdy_status { /* of RST_STREAM, section 2.6.3 */
	HTTP_SPDY_OK = 0,       /* told by `closed`: both sides have finished */
	HTTP_SPDY_PROTOCOL_ERROR = 1,
	HTTP_SPDY_INVALID_STREAM = 2,
	HTTP_SPDY_REFUSED = 3,
	HTTP_SPDY_UNSUPPORTED_VERSION = 4,
	HTTP_SPDY_CANCEL = 5,
	HTTP_SPDY_INTERNAL_ERROR = 6,
	HTTP_SPDY_FLOW_CONTROL_ERROR = 7,
	HTTP_SPDY_IN_USE = 8,
	HTTP_SPDY_ALREADY_CLOSED = 9,
	HTTP_SPDY_FRAME_TOO_LARGE = 11,
	HTTP_SPDY_SESSION_ENDED = 0x10000, /* told by `closed`: the session ended under the stream; never sent */
};

struct http_spdy_ops {
	/* The peer opened a stream; fields are valid during the call. Answer with http_spdy_reply or http_spdy_reset. */
	void (*open)(struct http_spdy_stream *st, const struct http_spdy_field *fields, unsigned n, void *arg);
	/* The peer accepted our stream. */
	void (*reply)(struct http_spdy_stream *st, const struct http_spdy_field *fields, unsigned n, void *arg);
	void (*headers)(struct http_spdy_stream *st, const struct http_spdy_field *fields, unsigned n, void *arg);
	/* Every byte given here is owed to http_spdy_consumed. */
	void (*data)(struct http_spdy_stream *st, struct span data, void *arg);
	void (*end)(struct http_spdy_stream *st, void *arg);   /* the peer has finished sending */
	void (*drain)(struct http_spdy_stream *st, void *arg); /* what a window had kept back is on its way */
	/* The last of a stream, exactly once for each: it is gone afterwards. */
	void (*closed)(struct http_spdy_stream *st, unsigned status, void *arg);
	void (*pong)(struct http_spdy *s, uint32_t id, void *arg);
	/* The peer opens no more; our streams above last_id were closed as HTTP_SPDY_REFUSED. */
	void (*goaway)(struct http_spdy *s, uint32_t last_id, unsigned status, void *arg);
};

struct http_spdy_params {
	bool client;           /* odd stream ids are ours */
	bool flow_control;     /* windows of 64 KB, both ways, as the specification has them */
	unsigned max_streams;  /* that the peer may have open at once; 0 = 1000. More are refused */
	size_t control_bytes;  /* length of a control frame; 0 = 65536. More ends the session */
	size_t header_bytes;   /* of a header block, uncompressed; 0 = 65536. More ends the session */
	const struct http_spdy_ops *ops; /* unset members are ignored; borrowed */
	void *arg;
};

struct http_spdy *http_spdy_new(const struct http_spdy_params *p);
void http_spdy_free(struct http_spdy *s); /* accepts NULL. Streams go without `closed`: http_spdy_end first */

/* Received bytes, in any portions. 0, or -UPSTREAM when the session is over by a violation: what is pending (a GOAWAY) may
 * still be sent. Every stream got its `closed` by then. */
int http_spdy_feed(struct http_spdy *s, struct span data, struct err *err);
/* The transport ended: `closed` (SESSION_ENDED) for every stream, from here. */
void http_spdy_end(struct http_spdy *s);
/* What is to be sent: a reference for the caller, or NULL. Reports closings that calls since the last feed caused. */
struct bytes *http_spdy_take(struct http_spdy *s);
size_t http_spdy_pending(const struct http_spdy *s);    /* bytes that http_spdy_take would give */
size_t http_spdy_unconsumed(const struct http_spdy *s); /* bytes given to `data` and not consumed, all streams */

enum { HTTP_SPDY_FIN = 1, HTTP_SPDY_UNIDIRECTIONAL = 2 };
/* Opens a stream. flags: FIN = we send nothing more, UNIDIRECTIONAL = the peer does not. Fields with equal names are sent as
 * one with several values; names are sent in lower case. -UNAVAILABLE after a GOAWAY or the end of the session,
 * -TOO_MANY beyond what the peer allows. */
int http_spdy_open(struct http_spdy *s, const struct http_spdy_field *fields, unsigned n, unsigned flags,
		   struct http_spdy_stream **out_stream, struct err *err);
/* Once for each stream of the peer, before any data. */
void http_spdy_reply(struct http_spdy_stream *st, const struct http_spdy_field *fields, unsigned n, bool fin);
void http_spdy_headers(struct http_spdy_stream *st, const struct http_spdy_field *fields, unsigned n, bool fin);
/* Queues data; last: our side ends with it. After our side has ended it is dropped. */
void http_spdy_write(struct http_spdy_stream *st, struct span data, bool last);
size_t http_spdy_queued(const struct http_spdy_stream *st); /* kept back by a window */
/* n more bytes of what `data` gave were used. */
void http_spdy_consumed(struct http_spdy_stream *st, size_t n);
/* Gives the stream up, both ways; `closed` follows with the same status. */
void http_spdy_reset(struct http_spdy_stream *st, enum http_spdy_status status);
uint32_t http_spdy_ping(struct http_spdy *s); /* its id comes back in `pong` */
/* We take no more streams. status 0 = OK, 1 = PROTOCOL_ERROR, 2 = INTERNAL_ERROR. */
void http_spdy_goaway(struct http_spdy *s, unsigned status);

uint32_t http_spdy_stream_id(const struct http_spdy_stream *st);
struct http_spdy *http_spdy_stream_session(const struct http_spdy_stream *st);
void http_spdy_stream_set(struct http_spdy_stream *st, void *data); /* a place for the caller */
void *http_spdy_stream_get(const struct http_spdy_stream *st);
unsigned http_spdy_n_streams(const struct http_spdy *s);
