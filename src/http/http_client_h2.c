/* HTTP/2 on the client side: any number of calls share a connection, as many at once as the server allows. */
#include "http/http_client.h"
#include "http/http_nv.h"

struct http_ch2 {
	struct http_cconn *conn;
	nghttp2_session *session;
	struct list calls;      /* http_call.link */
	unsigned n_calls;
	struct list over;       /* closed streams: told in the pump */
	bool broken, going;
};

static void wake(struct http_ch2 *h)
{
	loop_defer(h->conn->pool->client->loop, &h->conn->pump);
}

bool http_ch2_room(const struct http_cconn *c)
{
	const struct http_ch2 *h = c->h2;
	return !h->broken && !h->going && c->served < 1u << 30 &&
		h->n_calls < nghttp2_session_get_remote_settings(h->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

static struct http_call *call_of(nghttp2_session *session, int32_t stream_id)
{
	return stream_id > 0 ? nghttp2_session_get_stream_user_data(session, stream_id) : NULL;
}

/* ---- what comes ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
	const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct http_call *call = call_of(session, frame->hd.stream_id);
	if (!call || frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	call->answered = true;
	const struct http_limits *l = &call->client->p.limits;
	struct http_head *head = call->head_told ? &call->trailers : &call->head;
	if (head->len + name_len + value_len > l->header_bytes || head->n >= l->headers)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the stream is reset */
	http_head_add(head, span_make(name, name_len), span_trim(span_make(value, value_len)), false);
	return 0;
}

static void head_complete(struct http_call *call)
{
	http_head_fix(&call->head);
	uint64_t status = 0;
	struct http_field *first = call->head.items;
	if (call->head.n && span_is(first->name, ":status"))
		(void)span_to_u64(first->value, &status); /* nghttp2 has checked its form */
	call->status = (int)status;
	if (status / 100 == 1) {
		if (call->ops->interim)
			call->ops->interim(call, call->status, call->arg);
		http_head_done(&call->head);
		if (status == 100 && call->expect) {
			call->expect = false;
			http_call_phase(call, "no answer in time", call->first_byte_ms);
		}
		return;
	}
	call->expect = false;
	call->headers = (struct http_fields){ call->head.items + 1, call->head.n - 1 };
	call->head_told = true;
	http_call_phase(call, "nothing came for too long", call->idle_ms);
	if (call->ops->head)
		call->ops->head(call, call->arg);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct http_ch2 *h = arg;
	struct http_call *call = call_of(session, frame->hd.stream_id);
	if (frame->hd.type == NGHTTP2_GOAWAY) {
		h->going = true;
		http_pool_wake(h->conn->pool);
	}
	if (frame->hd.type == NGHTTP2_SETTINGS)
		http_pool_wake(h->conn->pool); /* there may be room now */
	if (!call)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS) {
		if (!call->head_told)
			head_complete(call);
		else
			http_head_fix(&call->trailers);
	}
	if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		call->in_ended = true;
	wake(h);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t len, void *arg)
{
	struct http_call *call = call_of(session, stream_id);
	if (!call) {
		(void)nghttp2_session_consume_connection(session, len);
		return 0;
	}
	struct span s = span_make(data, len);
	if (call->paused || call->in.len) {
		buf_span_add(&call->in, s);
		http_call_phase(call, "", 0);
		return 0;
	}
	http_call_phase(call, "nothing came for too long", call->idle_ms);
	if (call->ops->data)
		call->ops->data(call, s, call->arg);
	(void)nghttp2_session_consume(session, stream_id, len);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *arg)
{
	struct http_ch2 *h = arg;
	struct http_call *call = call_of(session, stream_id);
	if (!call)
		return 0;
	if (call->in.len)
		(void)nghttp2_session_consume_connection(session, call->in.len);
	call->stream_id = 0;
	call->reset_code = code;
	list_remove(&call->link);
	list_push(&h->over, &call->link);
	h->n_calls--;
	wake(h);
	http_pool_wake(h->conn->pool);
	return 0;
}

/* ---- what goes ---- */

static ssize_t data_length(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t len, uint32_t *flags,
	nghttp2_data_source *source, void *arg)
{
	struct http_ch2 *h = arg;
	struct http_call *call = call_of(session, stream_id);
	if (!call) /* given up; the reset is on its way */
		return NGHTTP2_ERR_DEFERRED;
	size_t have = call->out.len;
	if ((!have && !call->body_ended) || call->expect) {
		call->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (have > len) {
		have = len;
	} else if (call->body_ended) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		call->request_sent = true;
		if (!http_nv_trailers(session, stream_id, &call->reply_trailers, flags))
			h->broken = true;
	}
	return (ssize_t)have;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
	nghttp2_data_source *source, void *arg)
{
	struct http_ch2 *h = arg;
	struct http_call *call = call_of(session, frame->hd.stream_id);
	http_out_copy(&h->conn->io.out, head, 9); /* no padding is asked for */
	http_out_move(&h->conn->io.out, &call->out, len);
	return 0;
}

/* Fields that belong to a connection have no place in HTTP/2 (RFC 9113 section 8.2.2). */
static bool connection_field(struct span name)
{
	static const char *const names[] = { "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade",
		"host" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (span_eq_nocase(name, span_of(names[i])))
			return true;
	return false;
}

void http_ch2_begin(struct http_cconn *c, struct http_call *call)
{
	struct http_ch2 *h = c->h2;
	const struct http_origin *o = &c->pool->origin;
	struct http_fields given = { call->fields, call->n_fields };
	auto_arena struct arena a = {};
	struct span host = http_fields_get(&given, "host");
	bool v6 = strchr(o->host, ':');
	if (!host.len && (o->port == (o->tls ? 443 : 80) || o->unix_path))
		host = arena_printf(&a, "%s%s%s", v6 ? "[" : "", o->host, v6 ? "]" : "");
	else if (!host.len)
		host = arena_printf(&a, "%s%s%s:%u", v6 ? "[" : "", o->host, v6 ? "]" : "", o->port);
	nghttp2_nv *nv = arena_alloc_n(&a, given.n + 6, sizeof(*nv));
	size_t n = 0;
	nv[n++] = http_nv(SPAN(":method"), call->method);
	nv[n++] = http_nv(SPAN(":scheme"), o->tls ? SPAN("https") : SPAN("http"));
	nv[n++] = http_nv(SPAN(":authority"), host);
	nv[n++] = http_nv(SPAN(":path"), call->target);
	for (unsigned i = 0; i < given.n; i++) {
		if (connection_field(given.items[i].name))
			continue;
		char *lower = arena_cstr(&a, given.items[i].name);
		for (char *p = lower; *p; p++)
			if (*p >= 'A' && *p <= 'Z')
				*p = (char)(*p + 32);
		nv[n++] = http_nv(span_make(lower, given.items[i].name.len), given.items[i].value);
	}
	if (call->body_length > 0 && !http_fields_has(&given, "content-length"))
		nv[n++] = http_nv(SPAN("content-length"), arena_printf(&a, "%lld", (long long)call->body_length));
	if (call->expect)
		nv[n++] = http_nv(SPAN("expect"), SPAN("100-continue"));
	http_call_start(call, c);
	nghttp2_data_provider body = { .source.ptr = call, .read_callback = data_length };
	bool empty = !call->body_length && call->body_ended;
	call->request_sent = empty;
	call->head_sent = true;
	list_push(&h->calls, &call->link);
	h->n_calls++;
	int32_t id = nghttp2_submit_request(h->session, NULL, nv, n, empty ? NULL : &body, call);
	if (id < 0) {
		list_remove(&call->link);
		list_push(&h->over, &call->link);
		h->n_calls--;
		h->going = true; /* stream numbers used up, or GOAWAY: another connection will do */
		call->reset_code = NGHTTP2_REFUSED_STREAM;
	} else {
		call->stream_id = id;
	}
	if (call->expect)
		http_call_phase(call, "continue", 1000);
	wake(h);
}

void http_ch2_drop(struct http_cconn *c, struct http_call *call)
{
	struct http_ch2 *h = c->h2;
	if (call->stream_id) {
		(void)nghttp2_session_set_stream_user_data(h->session, call->stream_id, NULL);
		(void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, call->stream_id, NGHTTP2_CANCEL);
		if (call->in.len)
			(void)nghttp2_session_consume_connection(h->session, call->in.len);
		h->n_calls--;
	}
	call->stream_id = 0;
	list_remove(&call->link);
	wake(h);
	http_pool_wake(c->pool);
}

/* ---- the pump ---- */

static void call_move(struct http_ch2 *h, struct http_call *call)
{
	if (call->in.len && !call->paused) {
		struct buf in = call->in;
		call->in = (struct buf){};
		if (call->ops->data)
			call->ops->data(call, buf_span(&in), call->arg);
		if (call->stream_id)
			(void)nghttp2_session_consume(h->session, call->stream_id, in.len);
		buf_done(&in);
		http_call_phase(call, "nothing came for too long", call->idle_ms);
	}
	if (call->in_ended && !call->in.len && !call->paused && !call->end_told) {
		call->end_told = true;
		call->trailer_fields = http_head_fields(&call->trailers);
		if (call->ops->end)
			call->ops->end(call, call->arg);
	}
	if (call->deferred && call->stream_id && !call->expect && (call->out.len || call->body_ended)) {
		call->deferred = false;
		(void)nghttp2_session_resume_data(h->session, call->stream_id);
	}
	http_call_drain_check(call, call->out.len);
}

static void over_tell(struct http_ch2 *h)
{
	LIST_EACH(&h->over, call, struct http_call, link) {
		call_move(h, call);
		bool complete = call->head_told && call->in_ended && (call->reset_code == NGHTTP2_NO_ERROR);
		if (complete && !call->end_told)
			continue; /* paused: the owner has not seen all of it */
		struct err why = ERR_INIT;
		list_remove(&call->link);
		if (complete) {
			call->conn = NULL;
			http_call_finish(call, NULL);
			continue;
		}
		call->reset_told = true;
		err_set(&why, ERR_UPSTREAM, "%s reset the stream: %s", h->conn->pool->origin.host,
			nghttp2_http2_strerror(call->reset_code));
		if (call->reset_code == NGHTTP2_REFUSED_STREAM && !call->answered) {
			/* Not looked at by the server (RFC 9113 section 8.7): any request may be sent again. */
			call->repeatable = true;
			h->conn->served = MAX(h->conn->served, 2u);
		} else {
			call->answered = true;
		}
		http_call_lost(call, &why);
	}
}

void http_ch2_pump(struct http_cconn *c)
{
	struct http_ch2 *h = c->h2;
	LIST_EACH(&h->calls, call, struct http_call, link)
		call_move(h, call);
	over_tell(h);
	struct http_out *out = &c->io.out;
	if (!h->broken && !http_nv_fill(h->session, out, c->pool->client->p.limits.queue_bytes))
		h->broken = true;
	http_io_flush(&c->io);
	if (h->broken || (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session) && !out->len)) {
		struct err why = ERR_INIT;
		err_set(&why, ERR_UPSTREAM, "%s: the HTTP/2 connection is over", c->pool->origin.host);
		http_cconn_failed(c, &why);
		return;
	}
	if (!h->n_calls && list_empty(&h->over)) {
		if (h->going)
			http_cconn_close(c);
		else if (!c->is_idle)
			http_cconn_idle(c);
	}
}

void http_ch2_data(struct http_cconn *c, struct span data)
{
	struct http_ch2 *h = c->h2;
	if (h->broken)
		return;
	ssize_t n = nghttp2_session_mem_recv(h->session, (const uint8_t *)data.ptr, data.len);
	if (n < 0)
		h->broken = true;
	wake(h);
}

void http_ch2_sent(struct http_cconn *c)
{
	if (nghttp2_session_want_write(c->h2->session))
		wake(c->h2);
}

void http_ch2_open(struct http_cconn *c)
{
	struct http_ch2 *h = mem_new(struct http_ch2);
	const struct http_limits *l = &c->pool->client->p.limits;
	nghttp2_session_callbacks *cb;
	nghttp2_option *opt = http_nv_option();
	h->conn = c;
	list_init(&h->calls);
	list_init(&h->over);
	c->h2 = h;
	if (nghttp2_session_callbacks_new(&cb) != 0)
		abort();
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_send_data_callback(cb, send_data);
	nghttp2_option_set_peer_max_concurrent_streams(opt, 100); /* until its settings come */
	/* RFC 9113 section 8.2.1 forbids blanks at the ends of a value, but gRPC's own libraries send messages as they are, and
	 * an answer lost for a blank helps nobody: on_header cuts them off, as HTTP/1 has it. */
	nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(opt, 1);
	if (nghttp2_session_client_new2(&h->session, cb, h, opt) != 0)
		abort();
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(opt);
	http_nv_settings(h->session, l, (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 });
	wake(h);
}

void http_ch2_free(struct http_cconn *c, struct err *why)
{
	struct http_ch2 *h = c->h2;
	c->h2 = NULL;
	list_append(&h->calls, &h->over);
	struct http_call *call;
	nghttp2_session_del(h->session);
	while ((call = LIST_POP(&h->calls, struct http_call, link))) {
		struct err copy = ERR_INIT;
		assert(why);
		err_set(&copy, why->class, "%s", err_msg(why));
		copy.errnum = why->errnum;
		call->stream_id = 0;
		http_call_lost(call, &copy);
	}
	free(h);
}
