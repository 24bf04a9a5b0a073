/* A call on the server: one http_req from its header to `done`.
 *
 *     header ─▶ checks ─▶ method ─▶ messages ─▶ end ─▶ [header? messages* trailers] ─▶ done
 *
 * An answer without messages and without metadata of its own goes out as "trailers only": one HEADERS frame. Whatever
 * ends first, the handler's grpc_reply_end, the deadline, a message that breaks a rule, or the client: `ended` is set once,
 * and all later answering is dropped. The memory goes with http's `done`. */
#include <assert.h>
#include "grpc/grpc_wire.h"

struct grpc_server {
	struct grpc_server_params p;
	struct map methods; /* name → struct grpc_method */
};

struct grpc_req {
	struct grpc_server *server;
	struct http_req *http;
	const struct grpc_method *method;
	const struct grpc_req_ops *ops;
	void *arg;
	struct grpc_frames frames;
	struct buf held;             /* input that came while paused; of a unary call, its message */
	struct loop_task resume;
	struct loop_timer deadline;
	int64_t deadline_ms;
	struct http_field *trailers; /* owned; texts in the arena */
	size_t n_trailers, cap_trailers;
	unsigned n_messages;
	bool begun, ended, cancelled, paused, in_end, end_told;
};

/* ---- answering */

static void answer_begin(struct grpc_req *r)
{
	if (r->begun)
		return;
	r->begun = true;
	http_reply_begin(r->http);
}

void grpc_reply_header(struct grpc_req *r, const char *key, struct span value)
{
	if (r->ended)
		return;
	assert(!r->begun);
	if (!grpc_key_is_bin(span_of(key)))
		return http_reply_header(r->http, key, value);
	auto_buf struct buf text = {};
	grpc_bin_encode(&text, value);
	http_reply_header(r->http, key, buf_span(&text));
}

void grpc_reply_begin(struct grpc_req *r)
{
	if (!r->ended)
		answer_begin(r);
}

static void head_send(struct grpc_req *r, size_t len)
{
	uint8_t head[5];
	answer_begin(r);
	grpc_frame_head(head, len);
	http_reply_add(r->http, http_copy(span_make(head, sizeof(head))));
}

void grpc_reply_send(struct grpc_req *r, struct span message)
{
	if (r->ended)
		return;
	assert(message.len <= UINT32_MAX);
	head_send(r, message.len);
	if (message.len)
		http_reply_add(r->http, http_copy(message));
}

void grpc_reply_send_bytes(struct grpc_req *r, struct bytes *message)
{
	if (r->ended) {
		bytes_unref(message);
		return;
	}
	assert(message->len <= UINT32_MAX);
	head_send(r, message->len);
	http_reply_add(r->http, http_bytes(message));
}

void grpc_reply_trailer(struct grpc_req *r, const char *key, struct span value)
{
	if (r->ended)
		return;
	auto_buf struct buf text = {};
	if (grpc_key_is_bin(span_of(key)))
		grpc_bin_encode(&text, value);
	else
		buf_span_add(&text, value);
	MEM_GROW(r->trailers, r->n_trailers, r->cap_trailers);
	r->trailers[r->n_trailers++] = (struct http_field){ arena_span(grpc_req_arena(r), span_of(key)),
							    arena_span(grpc_req_arena(r), buf_span(&text)) };
}

static void end_with(struct grpc_req *r, enum grpc_status status, struct span message)
{
	if (r->ended)
		return;
	r->ended = true;
	loop_timer_stop(&r->deadline);
	char number[12];
	auto_buf struct buf text = {};
	snprintf(number, sizeof(number), "%d", (int)status);
	grpc_message_encode(&text, message);
	/* Trailers stand in the header when there is nothing else to send. */
	void (*put)(struct http_req *, const char *, struct span) = r->begun ? http_reply_trailer : http_reply_header;
	put(r->http, "grpc-status", span_of(number));
	if (text.len)
		put(r->http, "grpc-message", buf_span(&text));
	for (size_t i = 0; i < r->n_trailers; i++)
		put(r->http, r->trailers[i].name.ptr, r->trailers[i].value);
	http_reply_end(r->http);
}

void grpc_reply_end(struct grpc_req *r, enum grpc_status status, const char *message)
{
	end_with(r, status, span_of(message));
}

void grpc_reply_error(struct grpc_req *r, const struct err *err)
{
	end_with(r, grpc_status_of((int)err->class), span_of(err_msg(err)));
}

size_t grpc_reply_queued(const struct grpc_req *r)
{
	return http_reply_queued(r->http);
}

bool grpc_reply_ended(const struct grpc_req *r)
{
	return r->ended;
}

/* ---- reading */

static void cancel(struct grpc_req *r)
{
	if (r->cancelled)
		return;
	r->cancelled = true;
	if (r->ops && r->ops->cancelled)
		r->ops->cancelled(r, r->arg);
}

/* The peer broke a rule: the call ends here, for the handler as if the client had gone. */
static void refuse(struct grpc_req *r, enum grpc_status status, struct span why)
{
	bool was_open = !r->ended;
	end_with(r, status, why);
	if (was_open)
		cancel(r);
}

static void message_in(struct grpc_req *r, struct span message)
{
	r->n_messages++;
	if (r->method->unary) {
		if (r->n_messages > 1)
			return refuse(r, GRPC_INTERNAL, SPAN("grpc: more than one message for a unary call"));
		/* Kept until the client has ended: a second message would be a mistake. */
		buf_span_add(&r->held, message);
		return;
	}
	if (r->ops && r->ops->message)
		r->ops->message(r, message, r->arg);
}

static void end_check(struct grpc_req *r)
{
	if (!r->in_end || r->end_told || r->paused || r->ended)
		return;
	r->end_told = true;
	if (!grpc_frames_between(&r->frames))
		return refuse(r, GRPC_INTERNAL, SPAN("grpc: the request ends inside a message"));
	if (r->method->unary) {
		if (r->n_messages == 0)
			return refuse(r, GRPC_INTERNAL, SPAN("grpc: a unary call without a message"));
		struct buf message = r->held;
		r->held = (struct buf){};
		r->method->unary(r, message.ptr ? buf_span(&message) : SPAN(""), r->server->p.arg);
		buf_done(&message);
		return;
	}
	if (r->ops && r->ops->end)
		r->ops->end(r, r->arg);
}

static void bytes_in(struct grpc_req *r, struct span in)
{
	auto_buf struct buf why = {};
	struct span message;
	int rc;
	while (!r->paused && !r->ended && (rc = grpc_frames_next(&r->frames, &in, &message, &why)) != 0) {
		if (rc < 0)
			return refuse(r, (enum grpc_status)-rc, buf_span(&why));
		message_in(r, message);
	}
	/* Paused in the middle of what came at once. */
	if (r->paused && in.len)
		buf_span_add(&r->held, in);
}

static void on_data(struct http_req *http, struct span data, void *arg)
{
	bytes_in(arg, data);
}

static void on_end(struct http_req *http, void *arg)
{
	struct grpc_req *r = arg;
	r->in_end = true;
	end_check(r);
}

static void on_drain(struct http_req *http, void *arg)
{
	struct grpc_req *r = arg;
	if (!r->ended && r->ops && r->ops->drain)
		r->ops->drain(r, r->arg);
}

static void on_hangup(struct http_req *http, void *arg)
{
	struct grpc_req *r = arg;
	if (r->ended)
		return;
	cancel(r);
	end_with(r, GRPC_CANCELLED, SPAN("context canceled"));
}

static void on_done(struct http_req *http, bool complete, void *arg)
{
	struct grpc_req *r = arg;
	loop_timer_stop(&r->deadline);
	loop_task_cancel(&r->resume);
	if (!r->ended) {
		r->ended = true;
		cancel(r);
	}
	if (r->ops && r->ops->done)
		r->ops->done(r, r->arg);
	grpc_frames_done(&r->frames);
	buf_done(&r->held);
	free(r->trailers);
	free(r);
}

static const struct http_req_ops http_ops = { .data = on_data, .end = on_end, .drain = on_drain, .hangup = on_hangup,
					      .done = on_done };

void grpc_req_pause(struct grpc_req *r)
{
	assert(!r->method->unary);
	loop_task_cancel(&r->resume);
	r->paused = true;
	http_req_pause(r->http);
}

void grpc_req_resume(struct grpc_req *r)
{
	if (r->paused)
		loop_defer(r->server->p.loop, &r->resume);
}

/* First what was held back, then what http still has. */
static void on_resume(struct loop_task *t)
{
	struct grpc_req *r = container_of(t, struct grpc_req, resume);
	struct buf held = r->held;
	r->held = (struct buf){};
	r->paused = false;
	bytes_in(r, buf_span(&held));
	buf_done(&held);
	if (!r->paused)
		http_req_resume(r->http);
	end_check(r);
}

static void on_deadline(struct loop_timer *t)
{
	struct grpc_req *r = container_of(t, struct grpc_req, deadline);
	if (r->ended)
		return;
	cancel(r);
	end_with(r, GRPC_DEADLINE_EXCEEDED, SPAN("context deadline exceeded"));
}

/* ---- the beginning of a call */

static const struct grpc_method no_method = {};

/* The words are grpc-go's: clients and tests know them. */
static void unknown_method(struct grpc_req *r, struct span path)
{
	auto_buf struct buf why = {};
	struct span service = path, method;
	ptrdiff_t slash = span_rchr(path, '/');
	if (slash <= 0) {
		buf_printf(&why, "malformed method name: \"%.*s\"", SPAN_ARG(path));
		return refuse(r, GRPC_UNIMPLEMENTED, buf_span(&why));
	}
	service = span_sub(path, 1, (size_t)slash);
	method = span_from(path, (size_t)slash + 1);
	MAP_EACH(&r->server->methods, e) {
		ptrdiff_t at = span_rchr(e->key, '/');
		if (at > 0 && span_eq(span_sub(e->key, 1, (size_t)at), service)) {
			buf_printf(&why, "unknown method %.*s for service %.*s", SPAN_ARG(method), SPAN_ARG(service));
			return refuse(r, GRPC_UNIMPLEMENTED, buf_span(&why));
		}
	}
	buf_printf(&why, "unknown service %.*s", SPAN_ARG(service));
	refuse(r, GRPC_UNIMPLEMENTED, buf_span(&why));
}

/* Reads the header. False: the call was refused. */
static bool header_check(struct grpc_req *r)
{
	struct span encoding = http_req_header(r->http, "grpc-encoding"), timeout = http_req_header(r->http, "grpc-timeout");
	auto_buf struct buf why = {};
	if (encoding.len && !span_is(encoding, "identity")) {
		http_reply_header(r->http, "grpc-accept-encoding", SPAN("identity"));
		buf_printf(&why, "grpc: Decompressor is not installed for grpc-encoding \"%.*s\"", SPAN_ARG(encoding));
		refuse(r, GRPC_UNIMPLEMENTED, buf_span(&why));
		return false;
	}
	int64_t ms;
	if (!timeout.ptr)
		return true;
	if (!grpc_timeout_parse(timeout, &ms)) {
		buf_printf(&why, "malformed grpc-timeout: \"%.*s\"", SPAN_ARG(timeout));
		refuse(r, GRPC_INTERNAL, buf_span(&why));
		return false;
	}
	r->deadline_ms = loop_now_ms(r->server->p.loop) + ms;
	loop_timer_start(&r->deadline, ms);
	return true;
}

void grpc_server_handle(struct http_req *http, void *arg)
{
	struct grpc_server *s = arg;
	if (!grpc_content_type(http_req_header(http, "content-type"))) {
		if (s->p.other)
			return s->p.other(http, s->p.arg);
		return http_reply_text(http, 415, "text/plain; charset=utf-8", SPAN("this server speaks gRPC only\n"));
	}
	if (!http_req_is(http, "POST") || http_req_version(http) != 20)
		return http_reply_text(http, http_req_is(http, "POST") ? 505 : 405, "text/plain; charset=utf-8",
				       SPAN("gRPC needs POST over HTTP/2\n"));
	struct grpc_req *r = mem_new(struct grpc_req);
	r->server = s;
	r->http = http;
	r->frames.limit = s->p.recv_bytes;
	loop_timer_init(&r->deadline, s->p.loop, "grpc deadline", on_deadline);
	r->deadline.background = true;
	loop_task_init(&r->resume, on_resume);
	http_req_ops_set(http, &http_ops, r);
	http_reply_header(http, "content-type", SPAN("application/grpc"));
	struct span path = http_req_path(http);
	r->method = map_get(&s->methods, path);
	if (!r->method) {
		r->method = &no_method;
		return unknown_method(r, path);
	}
	if (header_check(r) && r->method->open)
		r->method->open(r, s->p.arg);
}

void grpc_req_ops_set(struct grpc_req *r, const struct grpc_req_ops *ops, void *arg)
{
	r->ops = ops;
	r->arg = arg;
}

struct span grpc_req_method(const struct grpc_req *r)
{
	return http_req_path(r->http);
}

struct http_req *grpc_req_http(const struct grpc_req *r)
{
	return r->http;
}

struct arena *grpc_req_arena(struct grpc_req *r)
{
	return http_req_arena(r->http);
}

struct span grpc_req_metadata(struct grpc_req *r, const char *key)
{
	return grpc_metadata_get(http_req_headers(r->http), key, grpc_req_arena(r));
}

int64_t grpc_req_deadline_ms(const struct grpc_req *r)
{
	return r->deadline_ms;
}

void grpc_limits(struct http_limits *limits)
{
	limits->body_stall_ms = UINT32_MAX;
	limits->body_bytes_per_s = 1;
}

struct grpc_server *grpc_server_new(const struct grpc_server_params *p)
{
	struct grpc_server *s = mem_new(struct grpc_server);
	s->p = *p;
	if (!s->p.recv_bytes)
		s->p.recv_bytes = GRPC_RECV_BYTES;
	for (size_t i = 0; i < p->n; i++) {
		assert(p->methods[i].name[0] == '/' && !p->methods[i].unary != !p->methods[i].open);
		void *before = map_put(&s->methods, span_of(p->methods[i].name), (void *)&p->methods[i]);
		assert(!before);
	}
	return s;
}

void grpc_server_free(struct grpc_server *s)
{
	if (!s)
		return;
	map_done(&s->methods);
	free(s);
}
