/* HTTP/2 on the server side, over nghttp2's session.
 *
 *     bytes ─▶ nghttp2_session_mem_recv ─▶ on_header, on_frame, on_data ─▶ http_req ─▶ handler
 *     handler ─▶ dirty list ─▶ pump: submit response / resume data ─▶ nghttp2_session_mem_send ─▶ queue
 *
 * The pump runs in the deferred phase, once for everything that a turn's handlers asked for, and fills the queue only up to
 * queue_bytes: what a slow connection has not taken stays with its streams, by reference. DATA payload goes
 * from the stream's pieces to the connection's queue without a copy (NGHTTP2_DATA_FLAG_NO_COPY).
 *
 * Slowness: a body that its handler wants must move, and on average move fast enough, stream by stream: the others do not
 * count for it. settle notes since when a stream is waited for; the watchdog asks http_h2_drop_slow.
 *
 * Windows: a stream may send window_bytes, a connection four times that; both are given back when the handler has taken
 * the bytes, so a handler that pauses holds at most a window.
 *
 * Abuse: nghttp2 bounds CONTINUATION, SETTINGS and acknowledgement floods; on top of it a connection has a budget of resets
 * and stream errors (stream_errors a second) and one of frames that move nothing (NOISE_MAX a second): beyond either it
 * gets GOAWAY with ENHANCE_YOUR_CALM (RFC 9113 section 10.5). */
#include "http/http_nv.h"

enum { NOISE_MAX = 2000, INFLATE_TABLE = 4096, DISCARD_MAX = 4 << 20 };

struct http_h2 {
	struct http_conn *conn;
	nghttp2_session *session;
	struct list reqs;      /* http_req.link: open, answered or not */
	struct list over;      /* closed streams whose `done` is to come */
	struct list dirty;     /* http_req.dirty */
	struct loop_task pump;
	unsigned reading;      /* requests whose body is not complete */
	unsigned pending;      /* requests whose output waits for a window */
	int64_t second;        /* of the budgets below */
	unsigned errors, noise;
	bool broken;           /* the session is of no use any more */
	bool going;            /* GOAWAY was sent: ends with its last stream */
	bool flooded;
};

static void h2_pump(struct loop_task *t);

static void wake(struct http_h2 *h)
{
	loop_defer(h->conn->server->loop, &h->pump);
}

void http_h2_wake(struct http_conn *c, struct http_req *r)
{
	if (list_empty(&r->dirty))
		list_push(&c->h2->dirty, &r->dirty);
	wake(c->h2);
}

static void pending_update(struct http_h2 *h, struct http_req *r)
{
	bool pending = r->stream_id && r->out.len + r->zip.len && (r->begun || r->ended);
	if (pending && !r->pending) {
		h->pending++;
		r->progress_ms = loop_now_ms(h->conn->server->loop);
	} else if (!pending && r->pending) {
		h->pending--;
	}
	r->pending = pending;
}

/* ---- abuse ---- */

static void flood(struct http_h2 *h)
{
	if (h->flooded)
		return;
	h->flooded = true;
	h->conn->server->stats.floods++;
	(void)nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
	wake(h);
}

static void new_second(struct http_h2 *h)
{
	int64_t second = loop_now_ms(h->conn->server->loop) / 1000;
	if (second != h->second) {
		h->second = second;
		h->errors = h->noise = 0;
	}
}

static void count_error(struct http_h2 *h)
{
	new_second(h);
	if (++h->errors > h->conn->server->p.limits.stream_errors)
		flood(h);
}

static void count_noise(struct http_h2 *h)
{
	new_second(h);
	if (++h->noise > NOISE_MAX)
		flood(h);
}

static void in_end(struct http_h2 *h, struct http_req *r)
{
	if (!r->in_ended)
		h->reading--;
	r->in_ended = true;
}

/* ---- what comes ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct http_h2 *h = arg;
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	struct http_req *r = http_req_new(h->conn, 20);
	r->stream_id = frame->hd.stream_id;
	list_push(&h->reqs, &r->link);
	h->reading++;
	(void)nghttp2_session_set_stream_user_data(session, r->stream_id, r);
	return 0;
}

/* Answers by this layer: the stream goes on to be answered, the handler never sees it. */
static void refuse(struct http_h2 *h, struct http_req *r, int status, const char *why)
{
	if (r->counted || r->ended)
		return;
	h->conn->server->stats.bad_requests++;
	r->discard = true;
	http_reply_text(r, status, "text/plain; charset=utf-8", span_of(why));
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
	const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct http_h2 *h = arg;
	struct http_req *r = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (frame->hd.type != NGHTTP2_HEADERS || !r)
		return 0;
	const struct http_limits *l = &h->conn->server->p.limits;
	bool trailer = frame->headers.cat != NGHTTP2_HCAT_REQUEST;
	struct http_head *head = trailer ? &r->trailers : &r->head;
	if (r->ended)
		return 0; /* refused already: only the compression state has to follow */
	if (head->len + name_len + value_len > l->header_bytes + l->target_bytes || head->n >= l->headers + 8) {
		/* Once is an accident; the whole block still has to be decoded. */
		refuse(h, r, 431, "the header is too large\n");
		return 0;
	}
	http_head_add(head, span_make(name, name_len), span_trim(span_make(value, value_len)), false);
	return 0;
}

/* Pseudo fields (RFC 9113 section 8.3.1) out of the list; nghttp2 has checked their order and number. */
static const char *request_read(struct http_req *r)
{
	http_head_fix(&r->head);
	struct http_head *h = &r->head;
	struct span scheme = SPAN_EMPTY, authority = SPAN_EMPTY;
	unsigned n = 0;
	for (unsigned i = 0; i < h->n; i++) {
		struct http_field f = h->items[i];
		if (span_is(f.name, ":method"))
			r->method = f.value;
		else if (span_is(f.name, ":path"))
			r->target = f.value;
		else if (span_is(f.name, ":scheme"))
			scheme = f.value;
		else if (span_is(f.name, ":authority"))
			authority = f.value;
		else if (f.name.len && f.name.ptr[0] != ':')
			h->items[n++] = f;
	}
	h->n = n;
	struct http_fields fields = http_head_fields(h);
	struct span host = http_fields_get(&fields, "host");
	r->host = authority.len ? authority : host;
	if (authority.len && host.len && !span_eq_nocase(authority, host))
		return ":authority and Host differ";
	if (!http_is_token(r->method))
		return "the method makes no sense";
	if (span_is(r->method, "CONNECT"))
		return "CONNECT is not served here";
	if (!scheme.len || !r->target.len || (r->target.ptr[0] != '/' && !span_is(r->target, "*")))
		return ":path makes no sense";
	struct span length = http_fields_get(&fields, "content-length");
	if (length.ptr && !span_to_i64(length, &r->length))
		return "Content-Length is not a number";
	return http_req_target_split(r);
}

static void request_complete(struct http_h2 *h, struct http_req *r, bool end)
{
	const struct http_limits *l = &h->conn->server->p.limits;
	if (end) {
		in_end(h, r);
		r->length = 0;
	}
	if (r->ended)
		return; /* refused */
	const char *why = request_read(r);
	if (end)
		r->length = 0;
	if (why) {
		refuse(h, r, 400, why);
		return;
	}
	if (r->target.len > l->target_bytes) {
		refuse(h, r, 414, "the path is too long\n");
		return;
	}
	struct http_fields fields = http_head_fields(&r->head);
	struct span expect = http_fields_get(&fields, "expect");
	if (expect.len && !span_eq_nocase(expect, SPAN("100-continue"))) {
		refuse(h, r, 417, "only 100-continue can be expected here\n");
		return;
	}
	r->want_continue = expect.len && !end;
	http_req_start(r);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct http_h2 *h = arg;
	struct http_req *r = frame->hd.stream_id ? nghttp2_session_get_stream_user_data(session, frame->hd.stream_id) : NULL;
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		if (!r)
			break;
		if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
			request_complete(h, r, end);
		} else if (end) {
			http_head_fix(&r->trailers);
			in_end(h, r);
			http_h2_wake(h->conn, r);
		}
		break;
	case NGHTTP2_DATA:
		if (!frame->hd.length && !end)
			count_noise(h);
		if (r && end) {
			in_end(h, r);
			http_h2_wake(h->conn, r);
		}
		break;
	case NGHTTP2_RST_STREAM:
		if (r) {
			r->reset_by_peer = true;
			http_req_hang_up(r);
		}
		count_error(h);
		break;
	case NGHTTP2_PING:
	case NGHTTP2_SETTINGS:
	case NGHTTP2_PRIORITY:
	case NGHTTP2_WINDOW_UPDATE:
		count_noise(h);
		break;
	}
	return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int code, void *arg)
{
	struct http_h2 *h = arg;
	h->conn->server->stats.bad_requests++;
	count_error(h);
	return 0;
}

static void taken(struct http_h2 *h, struct http_req *r, size_t n)
{
	if (n)
		(void)nghttp2_session_consume(h->session, r->stream_id, n);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t len, void *arg)
{
	struct http_h2 *h = arg;
	struct http_req *r = nghttp2_session_get_stream_user_data(session, stream_id);
	if (!r) {
		(void)nghttp2_session_consume_connection(session, len);
		return 0;
	}
	struct span s = span_make(data, len);
	r->in_moved_ms = loop_now_ms(h->conn->server->loop);
	if (r->in.len || !http_req_wants_body(r)) {
		buf_span_add(&r->in, s);
		if (r->ended || r->whole_told)
			http_h2_wake(h->conn, r); /* the pump throws it away */
		return 0;
	}
	http_req_body_data(r, s);
	taken(h, r, len);
	if (r->discard && r->framed)
		http_h2_wake(h->conn, r); /* how much is thrown away is bounded there */
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *arg)
{
	struct http_h2 *h = arg;
	struct http_req *r = nghttp2_session_get_stream_user_data(session, stream_id);
	if (!r)
		return 0;
	if (r->in.len)
		(void)nghttp2_session_consume_connection(session, r->in.len);
	if (code != NGHTTP2_NO_ERROR && !r->reset_by_peer && !r->aborted && !r->framed)
		count_error(h); /* the peer made us reset it */
	http_req_hang_up(r);
	if (!r->in_ended)
		h->reading--;
	r->stream_id = 0;
	pending_update(h, r);
	list_remove(&r->dirty);
	list_remove(&r->link);
	list_push(&h->over, &r->link);
	wake(h);
	return 0;
}

/* ---- what goes ---- */

static ssize_t data_length(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t len, uint32_t *flags,
	nghttp2_data_source *source, void *arg)
{
	struct http_h2 *h = arg;
	struct http_req *r = source->ptr;
	bool last = r->ended;
	if (r->gzip && r->zip.len <= len)
		last = http_gzip_run(r->gzip, &r->out, &r->zip, len, r->ended) && r->ended;
	else if (r->gzip)
		last = false;
	size_t have = r->gzip ? r->zip.len : r->out.len;
	if (!have && !last) {
		r->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (have > len)
		have = len;
	else if (last) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (!http_nv_trailers(session, stream_id, &r->reply_trailers, flags))
			h->broken = true;
		r->framed = true;
		if (!r->in_ended)
			http_h2_wake(h->conn, r);
	}
	return (ssize_t)have;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
	nghttp2_data_source *source, void *arg)
{
	struct http_h2 *h = arg;
	struct http_req *r = source->ptr;
	struct http_out *out = &h->conn->io.out;
	http_out_copy(out, head, 9); /* no padding is asked for */
	http_out_move(out, r->gzip ? &r->zip : &r->out, len);
	r->progress_ms = loop_now_ms(h->conn->server->loop);
	pending_update(h, r);
	if (r->above && r->out.len <= h->conn->server->p.limits.queue_bytes / 2)
		http_h2_wake(h->conn, r); /* its writer can go on: told in the next round, not in here */
	new_second(h);
	h->noise -= MIN(h->noise, 2u); /* answers to what we send are no noise */
	return 0;
}

/* Header fields as nghttp2 wants them: pointers, borrowed until the call returns. */
static void response_submit(struct http_h2 *h, struct http_req *r)
{
	char status[12], length[24], date[32];
	bool bodyless = http_reply_bodyless(r);
	bool whole = r->ended && !r->begun;
	if (r->gzip_wanted && whole) {
		http_reply_settle(r);
		if (r->gzip) {
			/* The length is not known before the end; data_length compresses piece by piece. */
			r->begun = true;
			whole = false;
		}
	}
	http_head_fix(&r->reply);
	size_t n = 0;
	nghttp2_nv *nv = mem_alloc((r->reply.n + 3) * sizeof(*nv));
	snprintf(status, sizeof(status), "%d", r->status);
	nv[n++] = http_nv(SPAN(":status"), span_of(status));
	for (unsigned i = 0; i < r->reply.n; i++)
		nv[n++] = http_nv(r->reply.items[i].name, r->reply.items[i].value);
	http_date_add(r, date);
	nv[n++] = http_nv(SPAN("date"), span_of(date));
	if (whole && !r->has_length && r->status >= 200 && r->status != 204 && r->status != 304) {
		snprintf(length, sizeof(length), "%zu", r->out.len);
		nv[n++] = http_nv(SPAN("content-length"), span_of(length));
	}
	if (bodyless)
		http_out_done(&r->out);
	bool empty = bodyless || (whole && !r->out.len);
	nghttp2_data_provider body = { .source.ptr = r, .read_callback = data_length };
	int rc = nghttp2_submit_response(h->session, r->stream_id, nv, n, empty ? NULL : &body);
	free(nv);
	r->submitted = r->head_sent = true;
	if (empty) {
		r->framed = r->ended = true;
		http_out_done(&r->out);
	}
	if (rc != 0)
		r->stream_error = true;
	/* The text is nghttp2's now; a long watch need not keep it. */
	http_head_done(&r->reply);
}

static void continue_submit(struct http_h2 *h, struct http_req *r)
{
	if (!r->want_continue || r->submitted || r->ended || (!r->whole.fn && !(r->ops && r->ops->data)))
		return;
	r->want_continue = false;
	nghttp2_nv nv = http_nv(SPAN(":status"), SPAN("100"));
	(void)nghttp2_submit_headers(h->session, NGHTTP2_FLAG_NONE, r->stream_id, NULL, &nv, 1, NULL);
}

/* Gives held body bytes to whoever wants them now. */
static void body_move(struct http_h2 *h, struct http_req *r)
{
	if (r->in.len && (http_req_wants_body(r) || r->framed)) {
		struct buf in = r->in;
		r->in = (struct buf){};
		if (!r->framed)
			http_req_body_data(r, buf_span(&in));
		taken(h, r, in.len);
		buf_done(&in);
	}
	if (r->in_ended && !r->in.len) {
		r->trailer_fields = http_head_fields(&r->trailers);
		http_req_told_end_check(r);
	} else if (r->whole.fn) {
		http_req_told_end_check(r);
	}
}

/* One request's turn in the pump. */
static void req_move(struct http_h2 *h, struct http_req *r)
{
	if (!r->stream_id)
		return;
	if (r->aborted || r->stream_error) {
		uint32_t code = r->stream_error ? NGHTTP2_INTERNAL_ERROR : r->reset_by_peer ? NGHTTP2_CANCEL :
			NGHTTP2_INTERNAL_ERROR;
		(void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, r->stream_id, code);
		return;
	}
	if (r->counted)
		body_move(h, r);
	continue_submit(h, r);
	if (!r->submitted && (r->begun || r->ended))
		response_submit(h, r);
	if (r->submitted && r->deferred && (r->out.len || r->ended)) {
		r->deferred = false;
		(void)nghttp2_session_resume_data(h->session, r->stream_id);
	}
	pending_update(h, r);
	http_req_drain_check(r, r->out.len);
	/* An answer that ends before the request does: the rest is not wanted (RFC 9113 section 8.1). */
	if (r->framed && !r->in_ended) {
		if (!r->discard) {
			r->discard = true; /* a little more is read, because some clients take the reset for a failure */
			r->discard_from = r->in_bytes;
			body_move(h, r);
		}
		if (r->length - (int64_t)r->in_bytes > DISCARD_MAX || r->in_bytes - r->discard_from > DISCARD_MAX)
			(void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_NO_ERROR);
	}
}

static void fill(struct http_h2 *h)
{
	if (!h->broken && !http_nv_fill(h->session, &h->conn->io.out, h->conn->server->p.limits.queue_bytes))
		h->broken = true;
}

static void over_finish(struct http_h2 *h)
{
	struct http_req *r;
	while ((r = LIST_POP(&h->over, struct http_req, link)))
		http_req_finish(r, r->framed && !r->reset_by_peer && !r->aborted && !r->stream_error);
}

/* After everything: what the connection waits for now, and whether it is over. */
static void settle(struct http_h2 *h)
{
	struct http_conn *c = h->conn;
	over_finish(h);
	if (h->broken || (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session))) {
		http_conn_close_gently(c);
		return;
	}
	http_io_flush(&c->io);
	if (list_empty(&h->reqs)) {
		if (h->going && !nghttp2_session_want_write(h->session)) {
			http_conn_close_gently(c);
			return;
		}
		if (c->waiting != HTTP_WAIT_IDLE)
			http_conn_wait(c, HTTP_WAIT_IDLE, c->server->p.limits.idle_ms);
		return;
	}
	bool body = false;
	if (h->reading) { /* hardly ever: most requests have no body or all of it at once */
		int64_t now = loop_now_ms(c->server->loop);
		LIST_EACH(&h->reqs, r, struct http_req, link) {
			bool wanted = !r->in_ended && (!r->counted || http_req_wants_body(r));
			if (wanted && !r->in_waited) {
				r->in_moved_ms = r->in_since_ms = now;
				r->in_since_bytes = r->in_bytes;
			}
			r->in_waited = wanted;
			body = body || wanted;
		}
	}
	if (!body && c->waiting)
		http_conn_wait(c, HTTP_WAIT_NOTHING, 0);
	else if (body && c->waiting != HTTP_WAIT_BODY)
		http_conn_wait(c, HTTP_WAIT_BODY, c->server->p.limits.body_stall_ms); /* of the first; the others come later */
	http_conn_timer_update(c);
}

static void h2_pump(struct loop_task *t)
{
	struct http_h2 *h = container_of(t, struct http_h2, pump);
	struct http_req *r;
	/* A request that wakes itself in its callbacks has its turn in the next round, not in an endless one. */
	struct list now;
	list_init(&now);
	list_append(&now, &h->dirty);
	while ((r = LIST_POP(&now, struct http_req, dirty)))
		req_move(h, r);
	fill(h);
	settle(h);
}

/* ---- connection ---- */

static void session_new(struct http_h2 *h)
{
	const struct http_limits *l = &h->conn->server->p.limits;
	nghttp2_session_callbacks *cb;
	nghttp2_option *opt = http_nv_option();
	if (nghttp2_session_callbacks_new(&cb) != 0)
		abort();
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_send_data_callback(cb, send_data);
	nghttp2_option_set_max_deflate_dynamic_table_size(opt, INFLATE_TABLE);
	if (nghttp2_session_server_new3(&h->session, cb, h, opt, http_h2_mem(h->conn->server)) != 0)
		abort();
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(opt);
	http_nv_settings(h->session, l, (nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, l->streams });
}

void http_h2_begin(struct http_conn *c)
{
	struct http_h2 *h = mem_new(struct http_h2);
	h->conn = c;
	list_init(&h->reqs);
	list_init(&h->over);
	list_init(&h->dirty);
	loop_task_init(&h->pump, h2_pump);
	c->h2 = h;
	session_new(h);
	wake(h);
	if (c->server->stopping)
		http_h2_stop(c);
}

void http_h2_data(struct http_conn *c, struct span data)
{
	struct http_h2 *h = c->h2;
	if (h->broken)
		return;
	ssize_t n = nghttp2_session_mem_recv(h->session, (const uint8_t *)data.ptr, data.len);
	if (n < 0) {
		c->server->stats.bad_requests++;
		if (n == NGHTTP2_ERR_FLOODED)
			c->server->stats.floods++;
		h->broken = true; /* what nghttp2 can answer with GOAWAY is no error here */
	}
	wake(h);
}

void http_h2_eof(struct http_conn *c)
{
	http_conn_close(c); /* HTTP/2 has no half-closed connections */
}

void http_h2_sent(struct http_conn *c)
{
	if (c->io.out.len < c->server->p.limits.queue_bytes / 2 && nghttp2_session_want_write(c->h2->session))
		wake(c->h2);
}

void http_h2_stop(struct http_conn *c)
{
	struct http_h2 *h = c->h2;
	if (h->going)
		return;
	h->going = true;
	/* Streams that are on their way are not served: a client may repeat them (RFC 9113 section 6.8). */
	(void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->session),
		NGHTTP2_NO_ERROR, NULL, 0);
	wake(h);
}

void http_h2_end(struct http_conn *c)
{
	struct http_h2 *h = c->h2;
	struct http_req *r;
	loop_task_cancel(&h->pump);
	over_finish(h);
	while ((r = LIST_POP(&h->reqs, struct http_req, link))) {
		http_req_hang_up(r);
		http_req_finish(r, false);
	}
	nghttp2_session_del(h->session);
	free(h);
	c->h2 = NULL;
}

bool http_h2_has_pending(const struct http_conn *c)
{
	return c->h2->pending > 0;
}

void http_h2_drop_stalled(struct http_conn *c, int64_t before_ms)
{
	LIST_EACH(&c->h2->reqs, r, struct http_req, link) {
		if (!r->pending || r->progress_ms > before_ms)
			continue;
		c->server->stats.timeouts++;
		r->stream_error = true;
		http_h2_wake(c, r);
	}
}

void http_h2_drop_slow(struct http_conn *c)
{
	const struct http_limits *l = &c->server->p.limits;
	int64_t now = loop_now_ms(c->server->loop), next = INT64_MAX;
	LIST_EACH(&c->h2->reqs, r, struct http_req, link) {
		if (!r->in_waited || r->stream_error)
			continue;
		int64_t took = now - r->in_since_ms, until = r->in_moved_ms + l->body_stall_ms;
		bool slow = took > l->body_stall_ms &&
			r->in_bytes - r->in_since_bytes < (uint64_t)took * l->body_bytes_per_s / 1000;
		if (now < until && !slow) {
			next = MIN(next, until);
			continue;
		}
		c->server->stats.timeouts++;
		if (!r->counted && !r->ended) { /* in the middle of its header: no other frame can come */
			http_conn_close(c);
			return;
		}
		r->stream_error = true;
		http_h2_wake(c, r);
	}
	if (next == INT64_MAX)
		http_conn_wait(c, HTTP_WAIT_NOTHING, 0);
	else
		http_conn_wait(c, HTTP_WAIT_BODY, next - now);
}

void http_h2_ping(struct http_conn *c)
{
	(void)nghttp2_submit_ping(c->h2->session, NGHTTP2_FLAG_NONE, NULL);
	wake(c->h2);
}
