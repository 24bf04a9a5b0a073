#include "http/http_link.h"

enum { QUEUE_MAX = 262144 };

struct http_link {
	struct http_duplex *d;    /* NULL once closed */
	struct http_ws *ws;       /* owned; one of the two */
	struct http_spdy *spdy;
	const struct http_link_ops *ops;
	void *arg;
	struct loop_task flush;
	struct err why;
	bool paused, full, over, failed;
};

static void reading_update(struct http_link *k)
{
	if (!k->d)
		return;
	if (k->paused || k->full)
		http_duplex_pause(k->d);
	else
		http_duplex_resume(k->d);
}

static void send_pending(struct http_link *k)
{
	struct bytes *b;
	while (k->d && !k->over && (b = k->ws ? http_ws_take(k->ws) : http_spdy_take(k->spdy)))
		http_duplex_write(k->d, http_bytes(b));
	if (k->d && !k->full && http_duplex_queued(k->d) > QUEUE_MAX) {
		k->full = true;
		reading_update(k);
	}
}

static void flush(struct loop_task *t)
{
	struct http_link *k = container_of(t, struct http_link, flush);
	send_pending(k);
	/* Our Close met the peer's: RFC 6455 section 7.1.1. */
	if (k->ws && k->d && !k->over && http_ws_over(k->ws))
		http_link_close(k);
}

static void link_data(struct http_duplex *d, struct span data, void *arg)
{
	struct http_link *k = arg;
	struct err why = ERR_INIT;
	if (k->over)
		return;
	int rc = k->ws ? http_ws_feed(k->ws, data, &why) : http_spdy_feed(k->spdy, data, &why);
	send_pending(k);
	if (rc < 0 && !k->failed) {
		k->failed = true;
		err_move(&k->why, &why);
	}
	err_done(&why);
	if (rc < 0 || (k->ws && http_ws_over(k->ws)))
		http_link_close(k);
}

static void link_end(struct http_duplex *d, void *arg)
{
	http_link_close(arg); /* neither protocol knows half-closed connections */
}

static void link_drain(struct http_duplex *d, void *arg)
{
	struct http_link *k = arg;
	if (!k->full)
		return;
	k->full = false;
	reading_update(k);
	if (k->ops && k->ops->drain && !k->over)
		k->ops->drain(k, k->arg);
}

static void link_hangup(struct http_duplex *d, void *arg)
{
	struct http_link *k = arg;
	if (k->ops && k->ops->hangup && !k->over)
		k->ops->hangup(k, k->arg);
}

static void link_closed(struct http_duplex *d, const struct err *why, void *arg)
{
	struct http_link *k = arg;
	k->d = NULL;
	k->over = true;
	loop_task_cancel(&k->flush);
	if (k->ws)
		http_ws_end(k->ws);
	else
		http_spdy_end(k->spdy);
	loop_task_cancel(&k->flush); /* `closed` may have asked for it */
	if (k->ops && k->ops->gone)
		k->ops->gone(k, k->failed ? &k->why : why, k->arg);
	http_ws_free(k->ws);
	http_spdy_free(k->spdy);
	err_done(&k->why);
	free(k);
}

static const struct http_duplex_ops duplex_ops = { .data = link_data, .end = link_end, .drain = link_drain,
	.hangup = link_hangup, .closed = link_closed };

static struct http_link *link_new(struct http_duplex *d, const struct http_link_ops *ops, void *arg)
{
	struct http_link *k = mem_new(struct http_link);
	k->d = d;
	k->ops = ops;
	k->arg = arg;
	loop_task_init(&k->flush, flush);
	http_duplex_ops_set(d, &duplex_ops, k);
	return k;
}

/* ---- beginning ---- */

int http_ws_serve(struct http_req *r, const char *const *protocols, const struct http_ws_params *p,
	const struct http_link_ops *ops, void *arg, struct http_link **out_link, struct err *err)
{
	char accept[29];
	if (!http_req_is(r, "GET") || !http_req_wants_upgrade(r, "websocket"))
		return err_set(err, ERR_INVALID_REQUEST, "not a WebSocket handshake");
	if (!span_is(http_req_header(r, "sec-websocket-version"), "13"))
		return err_set(err, ERR_INVALID_REQUEST, "WebSocket version \"%.*s\": only 13 is spoken here",
			SPAN_ARG(http_req_header(r, "sec-websocket-version")));
	if (!http_ws_accept(http_req_header(r, "sec-websocket-key"), accept))
		return err_set(err, ERR_INVALID_REQUEST, "Sec-WebSocket-Key makes no sense");
	struct span offered = http_req_header_all(r, "sec-websocket-protocol");
	const char *chosen = offered.len && protocols ? http_ws_protocol(offered, protocols) : NULL;
	if (offered.len && protocols && !chosen)
		return err_set(err, ERR_INVALID_REQUEST, "none of the WebSocket protocols \"%.*s\" is spoken here",
			SPAN_ARG(offered));
	http_reply_header(r, "Upgrade", SPAN("websocket"));
	http_reply_header(r, "Sec-WebSocket-Accept", span_of(accept));
	if (chosen)
		http_reply_header(r, "Sec-WebSocket-Protocol", span_of(chosen));
	struct http_duplex *d;
	int rc = http_req_hijack(r, 101, &d, err);
	if (rc < 0)
		return rc;
	struct http_ws_params mine = *p;
	mine.client = false;
	*out_link = link_new(d, ops, arg);
	(*out_link)->ws = http_ws_new(&mine);
	return 0;
}

int http_ws_join(struct http_call *c, const char *key, const struct http_ws_params *p, const struct http_link_ops *ops,
	void *arg, struct http_link **out_link, struct err *err)
{
	char accept[29];
	bool good = http_call_status(c) == 101 && http_fields_token(http_call_headers(c), "upgrade", "websocket") &&
		http_ws_accept(span_of(key), accept) && span_is(http_call_header(c, "sec-websocket-accept"), accept);
	if (!good)
		return err_set(err, ERR_UPSTREAM, "the answer (%d) is not that of a WebSocket handshake", http_call_status(c));
	struct http_duplex *d;
	int rc = http_call_hijack(c, &d, err);
	if (rc < 0)
		return rc;
	struct http_ws_params mine = *p;
	mine.client = true;
	*out_link = link_new(d, ops, arg);
	(*out_link)->ws = http_ws_new(&mine);
	return 0;
}

int http_spdy_serve(struct http_req *r, const struct http_spdy_params *p, const struct http_link_ops *ops, void *arg,
	struct http_link **out_link, struct err *err)
{
	if (!http_req_wants_upgrade(r, "SPDY/3.1"))
		return err_set(err, ERR_INVALID_REQUEST, "no upgrade to SPDY/3.1 is asked for");
	http_reply_header(r, "Upgrade", SPAN("SPDY/3.1"));
	struct http_duplex *d;
	int rc = http_req_hijack(r, 101, &d, err);
	if (rc < 0)
		return rc;
	struct http_spdy_params mine = *p;
	mine.client = false;
	*out_link = link_new(d, ops, arg);
	(*out_link)->spdy = http_spdy_new(&mine);
	return 0;
}

int http_spdy_join(struct http_call *c, const struct http_spdy_params *p, const struct http_link_ops *ops, void *arg,
	struct http_link **out_link, struct err *err)
{
	if (http_call_status(c) != 101 || !http_fields_token(http_call_headers(c), "upgrade", "SPDY/3.1"))
		return err_set(err, ERR_UPSTREAM, "the answer (%d) does not switch to SPDY/3.1", http_call_status(c));
	struct http_duplex *d;
	int rc = http_call_hijack(c, &d, err);
	if (rc < 0)
		return rc;
	struct http_spdy_params mine = *p;
	mine.client = true;
	*out_link = link_new(d, ops, arg);
	(*out_link)->spdy = http_spdy_new(&mine);
	return 0;
}

/* ---- use ---- */

struct http_ws *http_link_ws(struct http_link *k)
{
	return k->ws;
}

struct http_spdy *http_link_spdy(struct http_link *k)
{
	return k->spdy;
}

void http_link_flush(struct http_link *k)
{
	if (k->d)
		loop_defer(http_duplex_loop(k->d), &k->flush);
}

size_t http_link_queued(const struct http_link *k)
{
	size_t pending = k->ws ? http_ws_pending(k->ws) : http_spdy_pending(k->spdy);
	return pending + (k->d ? http_duplex_queued(k->d) : 0);
}

void http_link_pause(struct http_link *k)
{
	k->paused = true;
	reading_update(k);
}

void http_link_resume(struct http_link *k)
{
	k->paused = false;
	reading_update(k);
}

void http_link_close(struct http_link *k)
{
	if (k->over || !k->d)
		return;
	send_pending(k);
	k->over = true;
	http_duplex_close(k->d);
}

void http_link_abort(struct http_link *k)
{
	k->over = true;
	if (k->d)
		http_duplex_abort(k->d);
}
