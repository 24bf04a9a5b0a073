/* Watches over WebSocket, as browsers and some client libraries open them: each event is one message, a text frame for JSON and a
 * binary one for protobuf. The subprotocol base64.binary.k8s.io carries either as base64 in text frames. A client that offers one
 * subprotocol of its own gets it confirmed, as upstream does; what the client sends is ignored. */
#include "apiserver/watch.h"
#include "http/http_link.h"

#define LINK_BYTES (256 * 1024) /* what http_link.h calls full: above it `drain` is told */

struct watch_ws {
	struct watch *watch; /* NULL: it has ended, the connection is about to */
	struct http_link *link;
	bool base64, proto, closing;
};

static void on_closed(struct http_ws *ws, unsigned code, struct span reason, void *arg)
{
	struct watch_ws *s = arg;
	if (s->watch)
		watch_close(s->watch);
}

static void on_drain(struct http_link *k, void *arg)
{
	struct watch_ws *s = arg;
	if (s->watch)
		watch_drained(s->watch);
}

static void on_gone(struct http_link *k, const struct err *why, void *arg)
{
	struct watch_ws *s = arg;
	struct watch *w = s->watch;
	free(s);
	watch_free(w);
}

/* Of the protocols that are offered: base64 if it is among them, else the first that is no bearer token. */
static struct span protocol_choose(struct http_req *r)
{
	struct span rest = http_req_header_all(r, "sec-websocket-protocol"), part, first = SPAN_EMPTY;
	while (span_cut(&rest, ',', &part)) {
		part = span_trim(part);
		if (span_is(part, "base64.binary.k8s.io"))
			return part;
		if (!first.len && !span_starts(part, SPAN("base64url.bearer.authorization.k8s.io.")))
			first = part;
	}
	return first;
}

int watch_ws_serve(struct watch *w, struct http_req *r, struct err *err)
{
	static const struct http_ws_ops ws_ops = { .closed = on_closed };
	static const struct http_link_ops link_ops = { .drain = on_drain, .gone = on_gone };
	struct watch_ws *s = mem_new(struct watch_ws);
	struct span chosen = protocol_choose(r);
	auto_free char *name = chosen.len ? mem_dup(chosen.ptr, chosen.len) : NULL;
	const char *const protocols[] = { name, NULL };
	const struct http_ws_params p = { .message_limit = 64 * 1024, .ops = &ws_ops, .arg = s };
	s->watch = w;
	s->base64 = span_is(chosen, "base64.binary.k8s.io");
	s->proto = w->fan->want.form == FORM_PROTO;
	int rc = http_ws_serve(r, name ? protocols : NULL, &p, &link_ops, s, &s->link, err);
	if (rc < 0) {
		free(s);
		return rc;
	}
	w->ws = s;
	return 0;
}

bool watch_ws_roomy(const struct watch_ws *s)
{
	return !s->closing && http_link_queued(s->link) <= LINK_BYTES;
}

static void message(struct watch_ws *s, struct span event)
{
	struct http_ws *ws = http_link_ws(s->link);
	if (s->base64) {
		auto_buf struct buf text = {};
		base64_add(&text, BASE64_STD, event.ptr, event.len);
		http_ws_send(ws, HTTP_WS_TEXT, buf_span(&text), true);
	} else {
		http_ws_send(ws, s->proto ? HTTP_WS_BINARY : HTTP_WS_TEXT, event, true);
	}
}

void watch_ws_send(struct watch_ws *s, struct span events)
{
	if (s->closing)
		return;
	if (s->proto) { /* the length that a stream needs before each event is the message's own here */
		while (events.len >= 4) {
			const unsigned char *p = (const unsigned char *)events.ptr;
			size_t len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
			assert(len <= events.len - 4);
			message(s, span_sub(events, 4, 4 + len));
			events = span_from(events, 4 + len);
		}
	} else { /* one line each: JSON escapes line ends */
		struct span line;
		while (events.len && span_cut(&events, '\n', &line))
			if (line.len)
				message(s, span_make(line.ptr, line.len + 1));
	}
	http_link_flush(s->link);
}

void watch_ws_close(struct watch_ws *s)
{
	if (s->closing)
		return;
	s->closing = true;
	http_ws_close(http_link_ws(s->link), HTTP_WS_NORMAL, SPAN_EMPTY);
	http_link_flush(s->link);
	http_link_close(s->link);
}
