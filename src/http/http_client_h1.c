/* HTTP/1.1 on the client side: one call at a time on a connection. */
#include "http/http_client.h"

/* ---- the request ---- */

static void head_add(struct http_cconn *c, struct http_call *call, struct buf *b)
{
	const struct http_origin *o = &c->pool->origin;
	struct http_fields given = { call->fields, call->n_fields };
	bool v6 = strchr(o->host, ':'), usual = o->port == (o->tls ? 443 : 80);
	buf_span_add(b, call->method);
	buf_chr(b, ' ');
	if (o->proxy && !o->tls && !call->upgrade) { /* absolute form (RFC 9112 section 3.2.2) */
		buf_printf(b, "http://%s%s%s", v6 ? "[" : "", o->host, v6 ? "]" : "");
		if (!usual)
			buf_printf(b, ":%u", o->port);
	}
	buf_span_add(b, call->target);
	buf_str(b, " HTTP/1.1\r\n");
	if (!http_fields_has(&given, "host")) {
		buf_printf(b, "Host: %s%s%s", v6 ? "[" : "", o->host, v6 ? "]" : "");
		if (!usual && !o->unix_path)
			buf_printf(b, ":%u", o->port);
		buf_str(b, "\r\n");
	}
	if (o->proxy && !o->tls && !call->upgrade) {
		auto_arena struct arena a = {};
		const char *host;
		unsigned port;
		struct span basic;
		if (http_proxy_parse(o->proxy, &a, &host, &port, &basic, NULL) == 0 && basic.len)
			buf_printf(b, "Proxy-Authorization: Basic %.*s\r\n", SPAN_ARG(basic));
	}
	for (unsigned i = 0; i < given.n; i++) {
		buf_span_add(b, given.items[i].name);
		buf_str(b, ": ");
		buf_span_add(b, given.items[i].value);
		buf_str(b, "\r\n");
	}
	bool no_body_usual = span_is(call->method, "GET") || span_is(call->method, "HEAD");
	if (call->body_length < 0)
		buf_str(b, "Transfer-Encoding: chunked\r\n");
	else if ((call->body_length || !no_body_usual) && !http_fields_has(&given, "content-length"))
		buf_printf(b, "Content-Length: %lld\r\n", (long long)call->body_length);
	if (call->expect)
		buf_str(b, "Expect: 100-continue\r\n");
	if (call->upgrade)
		buf_printf(b, "Connection: Upgrade\r\nUpgrade: %s\r\n", call->upgrade);
	buf_str(b, "\r\n");
}

static void request_send(struct http_cconn *c, struct http_call *call)
{
	struct http_out *out = &c->io.out;
	if (!call->head_sent) {
		auto_buf struct buf b = {};
		(void)buf_reserve(&b, 500);
		head_add(c, call, &b);
		http_out_span(out, buf_span(&b));
		call->head_sent = true;
		if (call->expect) /* not for ever: an old server never answers (RFC 9110 section 10.1.1) */
			http_call_phase(call, "continue", 1000);
	}
	if (!call->expect && !call->request_sent) {
		if (call->body_length < 0 && call->out.len) {
			auto_buf struct buf b = {};
			buf_printf(&b, "%zx\r\n", call->out.len);
			http_out_span(out, buf_span(&b));
			http_out_move(out, &call->out, call->out.len);
			http_out_copy(out, "\r\n", 2);
		} else {
			http_out_move(out, &call->out, call->out.len);
		}
		if (call->body_ended) {
			call->request_sent = true;
			if (call->body_length < 0) {
				auto_buf struct buf b = {};
				buf_str(&b, "0\r\n");
				http_head_fix(&call->reply_trailers);
				for (unsigned i = 0; i < call->reply_trailers.n; i++)
					buf_printf(&b, "%.*s: %.*s\r\n", SPAN_ARG(call->reply_trailers.items[i].name),
						SPAN_ARG(call->reply_trailers.items[i].value));
				buf_str(&b, "\r\n");
				http_out_span(out, buf_span(&b));
			}
		}
	}
	http_io_flush(&c->io);
}

void http_ch1_begin(struct http_cconn *c, struct http_call *call)
{
	c->call = call;
	c->body = HTTP_B_HEAD;
	c->guard = (struct http_guard){};
	http_chunked_done(&c->chunked);
	c->chunked = (struct http_chunked){};
	http_call_start(call, c);
	http_io_read_start(&c->io);
	request_send(c, call);
}

/* ---- the answer ---- */

static void fail(struct http_cconn *c, const char *what)
{
	struct err why = ERR_INIT;
	err_set(&why, ERR_UPSTREAM, "%s: %s", c->pool->origin.host, what);
	if (c->call)
		c->call->answered = true; /* nonsense came: asking again would not help */
	http_cconn_failed(c, &why);
}

/* The call has all of its answer. */
static void answer_over(struct http_cconn *c)
{
	struct http_call *call = c->call;
	bool keep = c->keep_alive && call->request_sent && !c->held.len && !c->io.eof_seen;
	c->call = NULL;
	call->conn = NULL;
	c->body = HTTP_B_OVER;
	if (keep)
		http_cconn_idle(c);
	else
		http_cconn_close(c);
	http_call_finish(call, NULL);
}

static void end_tell(struct http_cconn *c)
{
	struct http_call *call = c->call;
	if (call->paused)
		return;
	call->trailer_fields = http_head_fields(&call->trailers);
	if (call->ops->end && !call->end_told) {
		call->end_told = true;
		call->ops->end(call, call->arg);
	}
	answer_over(c);
}

/* One block of header: interim, or the final one. False when the connection is over. */
static bool head_read(struct http_cconn *c, struct span block)
{
	struct http_call *call = c->call;
	struct http_start start;
	const char *why = "too many header fields";
	if (http_block_parse(false, block, call->client->p.limits.headers, &call->head, &start, &why) < 0) {
		fail(c, why);
		return false;
	}
	c->guard = (struct http_guard){};
	call->status = start.status;
	call->version = start.version;
	call->headers = http_head_fields(&call->head);
	if (start.status / 100 == 1 && start.status != 101) {
		if (call->ops->interim)
			call->ops->interim(call, start.status, call->arg);
		http_head_done(&call->head);
		call->headers = (struct http_fields){};
		if (start.status == 100 && call->expect) {
			call->expect = false;
			http_call_phase(call, "no answer in time", call->first_byte_ms);
			request_send(c, call);
		}
		return true;
	}
	call->expect = false;
	if (!call->request_sent && !call->stream_body)
		c->keep_alive = false; /* an answer instead of 100: the body is not sent any more */
	else
		c->keep_alive = start.keep_alive;
	if (start.status == 101 && !call->upgrade) {
		fail(c, "switches protocols without being asked");
		return false;
	}
	if (call->no_body_answer || start.status == 204 || start.status == 304) {
		c->body = HTTP_B_OVER;
	} else if (start.chunked) {
		c->body = HTTP_B_CHUNKED;
	} else if (start.has_length) {
		c->body = start.length ? HTTP_B_LENGTH : HTTP_B_OVER;
		c->body_left = start.length;
	} else {
		c->body = HTTP_B_CLOSE;
		c->keep_alive = false;
	}
	call->head_told = true;
	http_call_phase(call, "nothing came for too long", call->idle_ms);
	if (call->ops->head)
		call->ops->head(call, call->arg);
	if (start.status == 101 && !call->hijacked) {
		fail(c, "switched protocols, but nobody took the connection over");
		return false;
	}
	return true;
}

static size_t step(struct http_cconn *c, struct span data)
{
	struct http_call *call = c->call;
	const char *why = NULL;
	switch (c->body) {
	case HTTP_B_HEAD: {
		size_t used, before = c->guard.seen;
		int rc = http_guard_feed(&c->guard, span_from(data, before), &used, &why);
		if (rc == HTTP_GUARD_BAD) {
			fail(c, why);
			return 0;
		}
		if (c->guard.seen > call->client->p.limits.header_bytes) {
			fail(c, "the header is too long");
			return 0;
		}
		if (rc == HTTP_GUARD_MORE)
			return 0;
		size_t len = c->guard.seen;
		return head_read(c, span_sub(data, 0, len)) ? len : 0;
	}
	case HTTP_B_LENGTH: {
		if (call->paused)
			return 0;
		size_t n = (size_t)MIN((uint64_t)data.len, c->body_left);
		c->body_left -= n;
		if (!c->body_left)
			c->body = HTTP_B_OVER;
		if (call->ops->data)
			call->ops->data(call, span_sub(data, 0, n), call->arg);
		return n;
	}
	case HTTP_B_CHUNKED: {
		if (call->paused)
			return 0;
		struct span in = data, part;
		int rc = http_chunked_next(&c->chunked, &in, &part, &why);
		if (rc == HTTP_CHUNK_BAD || (rc == HTTP_CHUNK_END && http_trailers_parse(buf_span(&c->chunked.trailers),
			call->client->p.limits.headers, &call->trailers) < 0)) {
			fail(c, why ? why : "too many trailers");
			return 0;
		}
		if (rc == HTTP_CHUNK_END)
			c->body = HTTP_B_OVER;
		if (rc == HTTP_CHUNK_DATA && call->ops->data)
			call->ops->data(call, part, call->arg);
		return data.len - in.len;
	}
	case HTTP_B_CLOSE:
		if (call->paused)
			return 0;
		if (call->ops->data)
			call->ops->data(call, data, call->arg);
		return data.len;
	case HTTP_B_OVER:
		return 0;
	}
	return 0;
}

/* The owner took the connection: what is left of data is the stream's. */
static void hand_over(struct http_cconn *c, struct span rest)
{
	struct http_call *call = c->call;
	struct http_duplex *d = c->duplex;
	http_duplex_held_add(d, rest);
	c->call = NULL;
	call->conn = NULL;
	http_cconn_close(c);
	http_call_finish(call, NULL);
}

static void process(struct http_cconn *c, struct span data)
{
	bool from_held = c->held.len > 0;
	if (from_held)
		buf_span_add(&c->held, data);
	struct buf held = c->held;
	struct span all = from_held ? buf_span(&held) : data;
	size_t done = 0;
	while (done < all.len && c->call) {
		size_t n = step(c, span_from(all, done));
		if (c->state != HTTP_C_V1)
			return;
		if (!n)
			break;
		done += n;
		if (c->call->hijacked) {
			struct buf rest = {};
			buf_span_add(&rest, span_from(all, done));
			hand_over(c, buf_span(&rest));
			buf_done(&rest);
			return;
		}
	}
	if (from_held) {
		buf_shift(&c->held, done);
		if (!c->held.len)
			buf_done(&c->held);
	} else if (done < all.len) {
		buf_span_add(&c->held, span_from(all, done));
	}
	struct http_call *call = c->call;
	if (!call)
		return;
	if (c->body == HTTP_B_OVER && call->head_told) {
		end_tell(c);
		return;
	}
	if (call->paused)
		http_io_read_stop(&c->io);
	else
		http_io_read_start(&c->io);
	if (call->head_told && !call->paused)
		http_call_phase(call, "nothing came for too long", call->idle_ms);
	else if (call->paused)
		http_call_phase(call, "", 0);
}

void http_ch1_data(struct http_cconn *c, struct span data)
{
	if (!c->call) { /* bytes nobody asked for: whatever they are, no answer to the next call */
		http_cconn_close(c);
		return;
	}
	c->call->answered = true;
	process(c, data);
}

void http_ch1_eof(struct http_cconn *c)
{
	struct http_call *call = c->call;
	if (!call) {
		http_cconn_close(c);
		return;
	}
	if (!c->io.eof_seen)
		return; /* a hang-up while paused: what was sent before it is still to be read */
	if (c->held.len && call->paused)
		return; /* looked at again when the owner goes on */
	if (call->head_told && c->body == HTTP_B_CLOSE) {
		c->body = HTTP_B_OVER;
		end_tell(c);
		return;
	}
	struct err why = ERR_INIT;
	err_set(&why, ERR_UPSTREAM, "%s ended the connection %s", c->pool->origin.host,
		call->head_told ? "in the middle of its answer" : "before it answered");
	http_cconn_failed(c, &why);
}

void http_ch1_sent(struct http_cconn *c)
{
	if (c->call)
		http_call_drain_check(c->call, http_call_queued(c->call));
}

void http_ch1_pump(struct http_cconn *c)
{
	struct http_call *call = c->call;
	if (!call)
		return;
	if (!call->head_told || !call->request_sent) {
		request_send(c, call);
		http_call_drain_check(call, http_call_queued(call));
		if (c->call != call)
			return;
	}
	process(c, SPAN_EMPTY);
	if (c->state == HTTP_C_V1 && c->call == call && c->io.eof_seen)
		http_ch1_eof(c);
}

int http_call_hijack(struct http_call *call, struct http_duplex **out_duplex, struct err *err)
{
	struct http_cconn *c = call->conn;
	if (call->version == 20)
		return err_set(err, ERR_UNSUPPORTED, "an HTTP/2 stream cannot be taken over");
	if (!c || c->state != HTTP_C_V1 || !call->head_told || call->hijacked || call->end_told)
		return err_set(err, ERR_IN_USE, "the call is not in a state in which its connection can be taken over");
	call->hijacked = true;
	int rc = http_duplex_new(&c->io, call->client->p.limits.queue_bytes, &c->duplex, err);
	*out_duplex = c->duplex;
	return rc;
}
