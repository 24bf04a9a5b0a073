/* HTTP/1.1 on the server side.
 *
 *     HEAD ──block complete──▶ handler ──▶ BODY_LENGTH / BODY_CHUNKED ──body complete──▶ WAIT ──answer framed──▶ HEAD
 *                                    └─(no body)──────────────────────────────────────▶ WAIT
 *
 * HEAD: bytes collect in conn.held until the guard says that the block is complete. BODY: bytes go to whoever wants them;
 * while nobody does, reading stops and what came is held. WAIT: pipelined bytes are held, reading stops as soon as there
 * are any, so a client cannot make us queue its requests; the end of the connection is still noticed. At most one request
 * is being read or answered; answered ones wait in `sent` until their last byte left the queue.
 *
 * Framing of an answer: known length (http_reply_end without begin), chunked (begin), chunked (gzip), or until close
 * (HTTP/1.0 and begin). Each pump makes one chunk of all pieces that are there.
 *
 * Invariants
 * 1. `req` is the only request whose answer may reach the queue.
 * 2. A connection after a refused request is never used again: bytes behind it mean nothing certain. */
#include "http/http_impl.h"

enum h1_state { H1_HEAD, H1_BODY_LENGTH, H1_BODY_CHUNKED, H1_WAIT, H1_OVER };
enum { DISCARD_MAX = 262144 };

struct http_h1 {
	struct http_conn *conn;
	enum h1_state state;
	struct http_guard guard;
	struct http_req *req;
	struct list sent;         /* answered: http_req.link, oldest first */
	uint64_t body_left;
	uint64_t discarded;
	struct http_chunked chunked;
	struct loop_task pump;
	bool keep_alive;
	bool eof;
	struct http_duplex *duplex; /* who took the connection over */
};

static void h1_pump(struct loop_task *t);
static void h1_process(struct http_conn *c, struct span data);

static void guard_begin(struct http_h1 *h)
{
	h->guard = (struct http_guard){ .bare_lf = h->conn->server->p.unix_bare_lf && h->conn->peer.is_unix };
}

void http_h1_begin(struct http_conn *c)
{
	struct http_h1 *h = mem_new(struct http_h1);
	h->conn = c;
	guard_begin(h);
	list_init(&h->sent);
	loop_task_init(&h->pump, h1_pump);
	c->h1 = h;
}

void http_h1_end(struct http_conn *c)
{
	struct http_h1 *h = c->h1;
	struct http_req *r;
	loop_task_cancel(&h->pump);
	while ((r = LIST_POP(&h->sent, struct http_req, link)))
		http_req_finish(r, r->mark <= c->io.out.taken);
	if ((r = h->req)) {
		h->req = NULL;
		if (!r->hijacked && !r->framed)
			http_req_hang_up(r);
		http_req_finish(r, r->hijacked);
	}
	http_chunked_done(&h->chunked);
	free(h);
	c->h1 = NULL;
}

void http_h1_wake(struct http_conn *c)
{
	loop_defer(c->server->loop, &c->h1->pump);
}

/* ---- what this layer answers by itself ---- */

void http_h1_refuse(struct http_conn *c, int status, const char *why)
{
	struct http_h1 *h = c->h1;
	auto_buf struct buf answer = {};
	c->server->stats.bad_requests++;
	if (!h->req || !h->req->head_sent) {
		buf_printf(&answer, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
			"Content-Length: %zu\r\n\r\n%d %s: %s", status, http_status_text(status),
			strlen(http_status_text(status)) + strlen(why) + 6, status, http_status_text(status), why);
		http_out_span(&c->io.out, buf_span(&answer));
	}
	h->state = H1_OVER;
	http_conn_close_gently(c);
}

/* ---- answers ---- */

static void head_add(struct http_h1 *h, struct http_req *r, struct buf *out)
{
	char date[32];
	bool bodyless = http_reply_bodyless(r);
	bool whole = r->ended && !r->begun;
	size_t length = r->out.len;
	http_reply_settle(r);
	/* A length or chunks; HTTP/1.0 knows no chunks. */
	bool chunked = !bodyless && (!whole || r->gzip) && r->version >= 11;
	if (!bodyless && !chunked && !whole)
		h->keep_alive = false;
	buf_str(out, "HTTP/1.1 ");
	buf_u64(out, (uint64_t)r->status);
	buf_chr(out, ' ');
	buf_str(out, http_status_text(r->status));
	buf_str(out, "\r\n");
	http_head_fix(&r->reply);
	for (unsigned i = 0; i < r->reply.n; i++) {
		buf_span_add(out, r->reply.items[i].name);
		buf_str(out, ": ");
		buf_span_add(out, r->reply.items[i].value);
		buf_str(out, "\r\n");
	}
	http_date_add(r, date);
	buf_str(out, "Date: ");
	buf_str(out, date);
	if (chunked) {
		buf_str(out, "\r\nTransfer-Encoding: chunked");
	} else if (whole && !r->has_length && r->status >= 200 && r->status != 204 && r->status != 304 && !r->gzip) {
		buf_str(out, "\r\nContent-Length: ");
		buf_u64(out, length);
	}
	if (!h->keep_alive)
		buf_str(out, "\r\nConnection: close");
	else if (r->version < 11)
		buf_str(out, "\r\nConnection: keep-alive");
	buf_str(out, "\r\n\r\n");
}

static bool is_chunked(const struct http_req *r)
{
	return (r->begun || r->gzip) && r->version >= 11;
}

static void trailers_add(struct http_req *r, struct buf *out)
{
	buf_str(out, "0\r\n");
	http_head_fix(&r->reply_trailers);
	for (unsigned i = 0; i < r->reply_trailers.n; i++) {
		buf_span_add(out, r->reply_trailers.items[i].name);
		buf_str(out, ": ");
		buf_span_add(out, r->reply_trailers.items[i].value);
		buf_str(out, "\r\n");
	}
	buf_str(out, "\r\n");
}

/* Frames what there is of the answer. True when it is framed to the end. */
static bool answer(struct http_h1 *h, struct http_req *r)
{
	struct http_out *out = &h->conn->io.out;
	auto_buf struct buf line = {};
	if (!r->head_sent) {
		(void)buf_reserve(&line, 500);
		/* Whoever did not read the announced body must not take its bytes for a request. */
		if (r->want_continue && !r->in_ended)
			h->keep_alive = false;
		if (http_conn_ending(h->conn) || h->eof)
			h->keep_alive = false;
		head_add(h, r, &line);
		r->head_sent = true;
		http_out_span(out, buf_span(&line));
	}
	if (http_reply_bodyless(r)) {
		http_out_done(&r->out);
		return r->ended;
	}
	bool all;
	if (is_chunked(r)) {
		struct http_out part = {};
		size_t limit = h->conn->server->p.limits.queue_bytes, room = out->len < limit ? limit - out->len : 0;
		all = http_req_body_pull(r, &part, r->gzip ? room : SIZE_MAX);
		if (part.len) {
			buf_trunc(&line, 0);
			buf_printf(&line, "%zx\r\n", part.len);
			http_out_span(out, buf_span(&line));
			http_out_move(out, &part, part.len);
			http_out_copy(out, "\r\n", 2);
		}
		http_out_done(&part);
		if (all && r->ended) {
			buf_trunc(&line, 0);
			trailers_add(r, &line);
			http_out_span(out, buf_span(&line));
		}
	} else {
		all = http_req_body_pull(r, out, SIZE_MAX);
	}
	return all && r->ended;
}

static void continue_add(struct http_h1 *h, struct http_req *r)
{
	if (r->want_continue && !r->head_sent && !r->ended && (r->whole.fn || (r->ops && r->ops->data))) {
		r->want_continue = false;
		static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
		http_out_copy(&h->conn->io.out, go_on, sizeof(go_on) - 1);
		http_io_flush(&h->conn->io);
	}
}

/* The answer is framed and the request read: on to the next, or to the end of the connection. */
static void exchange_over(struct http_h1 *h)
{
	struct http_conn *c = h->conn;
	struct http_req *r = h->req;
	h->req = NULL;
	list_push(&h->sent, &r->link);
	if (!h->keep_alive || http_conn_ending(c)) {
		h->state = H1_OVER;
		return;
	}
	h->state = H1_HEAD;
	guard_begin(h);
	http_chunked_done(&h->chunked);
	h->chunked = (struct http_chunked){};
	http_io_read_start(&c->io);
}

/* Moves the answer on. True when the state changed so that held bytes can be looked at again. */
static bool advance(struct http_h1 *h)
{
	struct http_conn *c = h->conn;
	struct http_req *r = h->req;
	if (!r || r->framed)
		return false;
	if (r->aborted) {
		h->state = H1_OVER;
		return false;
	}
	http_req_told_end_check(r);
	continue_add(h, r);
	if (!r->begun && !r->ended)
		return false;
	r->framed = answer(h, r);
	http_io_flush(&c->io);
	if (!r->framed)
		return false;
	r->mark = c->io.out.taken + c->io.out.len;
	if (h->state == H1_WAIT) {
		exchange_over(h);
		return true;
	}
	/* Answered before the body was read: the rest is thrown away, within bounds. */
	if (!h->keep_alive || (h->state == H1_BODY_LENGTH && h->body_left > DISCARD_MAX)) {
		h->keep_alive = false;
		exchange_over(h);
		return true;
	}
	r->discard = true;
	http_io_read_start(&c->io);
	return true;
}

/* What remains to be done once callbacks have returned: closing, timers. */
static void settle(struct http_conn *c)
{
	struct http_h1 *h = c->h1;
	if (h->req && h->req->aborted) {
		http_conn_close(c);
		return;
	}
	if (h->req && h->req->hijacked) {
		http_conn_close(c); /* its transport has moved; only the rest of the shell goes */
		return;
	}
	if (h->state == H1_OVER) {
		http_io_flush(&c->io);
		if (list_empty(&h->sent)) {
			http_conn_close_gently(c);
			return;
		}
		/* Closed as soon as all is sent (http_h1_sent): `done` should know. */
		if (c->waiting)
			http_conn_wait(c, HTTP_WAIT_NOTHING, 0);
		http_conn_timer_update(c);
		return;
	}
	if (h->req) {
		http_req_drain_check(h->req, http_reply_queued(h->req));
		if (c->phase == HTTP_CLOSING)
			return;
	}
	bool in_body = h->state == H1_BODY_LENGTH || h->state == H1_BODY_CHUNKED;
	if (in_body && http_req_wants_body(h->req)) {
		if (c->waiting != HTTP_WAIT_BODY) {
			c->body_since_ms = loop_now_ms(c->server->loop);
			c->body_bytes = 0;
			http_conn_wait(c, HTTP_WAIT_BODY, c->server->p.limits.body_stall_ms);
		}
		http_io_read_start(&c->io);
	} else if (h->state == H1_HEAD && h->guard.seen) {
		if (c->waiting != HTTP_WAIT_HEADER)
			http_conn_wait(c, HTTP_WAIT_HEADER, c->server->p.limits.header_ms);
	} else if (h->state == H1_HEAD) {
		http_conn_idle(c);
	} else {
		if (c->waiting)
			http_conn_wait(c, HTTP_WAIT_NOTHING, 0);
		if (in_body || c->held.len)
			http_io_read_stop(&c->io);
	}
	if (c->phase != HTTP_CLOSING)
		http_conn_timer_update(c);
}

static void h1_pump(struct loop_task *t)
{
	struct http_h1 *h = container_of(t, struct http_h1, pump);
	struct http_conn *c = h->conn;
	h1_process(c, SPAN_EMPTY);
}

void http_h1_sent(struct http_conn *c)
{
	struct http_h1 *h = c->h1;
	LIST_EACH(&h->sent, r, struct http_req, link) {
		if (r->mark > c->io.out.taken)
			break;
		http_req_finish(r, true);
	}
	if (h->state == H1_OVER && list_empty(&h->sent)) {
		http_conn_close_gently(c);
		return;
	}
	if (h->req && h->req->gzip && !h->req->framed)
		http_h1_wake(c); /* room for more */
	if (h->req)
		http_req_drain_check(h->req, http_reply_queued(h->req));
}

void http_h1_stop(struct http_conn *c)
{
	struct http_h1 *h = c->h1;
	if (!h->req && list_empty(&h->sent) && !h->guard.seen)
		http_conn_close_gently(c);
	/* Else the running request is the last: its header says close, or exchange_over finds that the connection is ending. */
}

void http_h1_eof(struct http_conn *c)
{
	struct http_h1 *h = c->h1;
	h->eof = true;
	h->keep_alive = false;
	if (h->state == H1_OVER)
		return;
	if (!h->req) {
		h->state = H1_OVER; /* a partial header is no request */
		settle(c);
		return;
	}
	http_req_hang_up(h->req);
	if (h->state == H1_BODY_LENGTH || h->state == H1_BODY_CHUNKED) {
		if (!c->held.len) {
			http_conn_close(c); /* the body cannot be completed */
			return;
		}
	}
	settle(c);
}

/* ---- requests ---- */

/* Starts the exchange of a complete block. */
static void request_begin(struct http_conn *c, struct span block)
{
	struct http_h1 *h = c->h1;
	struct http_start start;
	const char *why = NULL;
	auto_buf struct buf lines = {};
	struct http_req *r = http_req_new(c, 11);
	h->req = r;
	h->state = H1_WAIT;
	if (h->guard.bare_lf) {
		http_lines_end(block, &lines);
		block = buf_span(&lines);
	}
	int rc = http_block_parse(true, block, c->server->p.limits.headers, &r->head, &start, &why);
	if (rc == -2) {
		http_h1_refuse(c, 431, "too many header fields");
		return;
	}
	if (rc < 0) {
		http_h1_refuse(c, 400, why);
		return;
	}
	r->method = start.method;
	r->target = start.target;
	r->version = start.version;
	if (start.version != 10 && start.version != 11) {
		http_h1_refuse(c, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
		return;
	}
	if (start.other_coding) {
		http_h1_refuse(c, 501, "unknown transfer coding");
		return;
	}
	struct http_fields fields = http_head_fields(&r->head);
	r->host = http_fields_get(&fields, "host");
	why = http_req_target_split(r);
	if (why) {
		http_h1_refuse(c, 400, why);
		return;
	}
	r->length = start.chunked ? -1 : start.has_length ? (int64_t)start.length : 0;
	h->keep_alive = start.keep_alive;
	struct span expect = http_fields_get(&fields, "expect");
	if (expect.len) {
		if (!span_eq_nocase(expect, SPAN("100-continue"))) {
			http_h1_refuse(c, 417, "only 100-continue can be expected here");
			return;
		}
		r->want_continue = start.version >= 11 && r->length != 0;
	}
	h->discarded = 0;
	if (start.chunked) {
		h->state = H1_BODY_CHUNKED;
	} else if (start.length) {
		h->state = H1_BODY_LENGTH;
		h->body_left = start.length;
	} else {
		r->in_ended = true;
	}
	http_req_start(r);
}

static void body_over(struct http_h1 *h)
{
	h->state = H1_WAIT;
	struct http_req *r = h->req;
	if (r->framed) {
		exchange_over(h);
		return;
	}
	http_req_body_end(r);
}

static bool body_slow(struct http_conn *c, size_t came)
{
	const struct http_limits *l = &c->server->p.limits;
	int64_t now = loop_now_ms(c->server->loop), took = now - c->body_since_ms;
	c->body_bytes += came;
	if (c->waiting != HTTP_WAIT_BODY)
		return false;
	http_conn_wait(c, HTTP_WAIT_BODY, l->body_stall_ms);
	return took > l->body_stall_ms && c->body_bytes < (uint64_t)took * l->body_bytes_per_s / 1000;
}

/* False when too much would have to be thrown away: the connection is over. */
static bool give(struct http_h1 *h, struct span data)
{
	if (h->req->discard) {
		h->discarded += data.len;
		if (h->discarded > DISCARD_MAX) {
			h->keep_alive = false;
			exchange_over(h);
			return false;
		}
	}
	http_req_body_data(h->req, data);
	return true;
}

/* One step over data; returns what was used. 0 = nothing can be done with it now. */
static size_t step(struct http_conn *c, struct span data)
{
	struct http_h1 *h = c->h1;
	const struct http_limits *l = &c->server->p.limits;
	switch (h->state) {
	case H1_HEAD: {
		size_t used;
		const char *why;
		size_t before = h->guard.seen;
		int rc = http_guard_feed(&h->guard, span_from(data, before), &used, &why);
		if (rc == HTTP_GUARD_BAD) {
			http_h1_refuse(c, 400, why);
			return 0;
		}
		if (h->guard.start_line ? h->guard.start_line > l->target_bytes + 64 : h->guard.seen > l->target_bytes + 64) {
			http_h1_refuse(c, 414, "the request line is too long");
			return 0;
		}
		if (h->guard.seen - MIN(h->guard.start_line, h->guard.seen) > l->header_bytes && h->guard.start_line) {
			http_h1_refuse(c, 431, "the header is too long");
			return 0;
		}
		if (h->guard.lines > l->headers) {
			http_h1_refuse(c, 431, "too many header fields");
			return 0;
		}
		if (rc == HTTP_GUARD_MORE)
			return 0;
		size_t len = h->guard.seen;
		request_begin(c, span_sub(data, 0, len));
		return len;
	}
	case H1_BODY_LENGTH: {
		if (!http_req_wants_body(h->req))
			return 0;
		size_t n = (size_t)MIN((uint64_t)data.len, h->body_left);
		if (body_slow(c, n)) {
			c->server->stats.timeouts++;
			http_h1_refuse(c, 408, "the body comes too slowly");
			return 0;
		}
		h->body_left -= n;
		if (give(h, span_sub(data, 0, n)) && !h->body_left)
			body_over(h);
		return n;
	}
	case H1_BODY_CHUNKED: {
		if (!http_req_wants_body(h->req))
			return 0;
		struct span in = data, part;
		const char *why;
		int rc = http_chunked_next(&h->chunked, &in, &part, &why);
		if (body_slow(c, data.len - in.len) && rc != HTTP_CHUNK_END) {
			c->server->stats.timeouts++;
			http_h1_refuse(c, 408, "the body comes too slowly");
			return 0;
		}
		if (rc == HTTP_CHUNK_BAD) {
			http_req_hang_up(h->req);
			http_h1_refuse(c, 400, why);
			return 0;
		}
		if (rc == HTTP_CHUNK_DATA)
			(void)give(h, part);
		if (rc == HTTP_CHUNK_END) {
			if (http_trailers_parse(buf_span(&h->chunked.trailers), l->headers, &h->req->trailers) < 0) {
				http_h1_refuse(c, 431, "too many trailers");
				return 0;
			}
			body_over(h);
		}
		return data.len - in.len;
	}
	case H1_WAIT:
	case H1_OVER:
		return 0;
	}
	return 0;
}

static void h1_process(struct http_conn *c, struct span data)
{
	struct http_h1 *h = c->h1;
	if (h->state == H1_OVER) {
		buf_done(&c->held);
		settle(c);
		return;
	}
	/* Held bytes come first; new ones are put behind them. */
	bool from_held = c->held.len > 0;
	if (from_held && data.len)
		buf_span_add(&c->held, data);
	struct span all = from_held ? buf_span(&c->held) : data;
	size_t done = 0;
	bool moved = true;
	while (moved && c->phase == HTTP_V1) {
		moved = false;
		struct span rest = span_from(all, done);
		if (rest.len) {
			/* A new block begins where the last one ended; the guard counts from there. */
			size_t n = step(c, rest);
			if (c->phase != HTTP_V1)
				return;
			done += n;
			moved = n > 0;
		}
		if (h->req && h->req->hijacked)
			break;
		moved = advance(h) || moved;
	}
	if (c->phase != HTTP_V1)
		return;
	if (h->req && h->req->hijacked) {
		http_duplex_held_add(h->duplex, span_from(all, done));
		buf_done(&c->held);
	} else if (from_held) {
		buf_shift(&c->held, done);
		if (!c->held.len)
			buf_done(&c->held);
	} else if (done < all.len) {
		buf_span_add(&c->held, span_from(all, done));
	}
	settle(c);
}

void http_h1_data(struct http_conn *c, struct span data)
{
	h1_process(c, data);
}

/* ---- leaving HTTP ---- */

bool http_req_wants_upgrade(const struct http_req *r, const char *protocol)
{
	return r->version == 11 && http_fields_token(&r->headers, "connection", "upgrade") &&
		http_fields_token(&r->headers, "upgrade", protocol);
}

int http_req_hijack(struct http_req *r, int status, struct http_duplex **out_duplex, struct err *err)
{
	struct http_conn *c = r->conn;
	if (r->version == 20)
		return err_set(err, ERR_UNSUPPORTED, "an HTTP/2 stream cannot be taken over");
	if (c->phase != HTTP_V1 || c->h1->req != r || !r->in_ended || r->head_sent || r->ended || r->aborted)
		return err_set(err, ERR_IN_USE, "the request is not in a state in which it can be taken over");
	r->status = status;
	auto_buf struct buf head = {};
	buf_printf(&head, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
	http_head_fix(&r->reply);
	for (unsigned i = 0; i < r->reply.n; i++)
		buf_printf(&head, "%.*s: %.*s\r\n", SPAN_ARG(r->reply.items[i].name), SPAN_ARG(r->reply.items[i].value));
	if (status == 101)
		buf_str(&head, "Connection: Upgrade\r\n");
	buf_str(&head, "\r\n");
	http_out_span(&c->io.out, buf_span(&head));
	r->head_sent = true;
	r->framed = r->ended = true;
	r->hijacked = true;
	http_h1_wake(c); /* the shell goes once the handler has returned */
	int rc = http_duplex_new(&c->io, c->server->p.limits.queue_bytes, &c->h1->duplex, err);
	*out_duplex = c->h1->duplex;
	return rc;
}
