/* A call of the client: one http_call.
 *
 *     begin ──▶ send* ──▶ end        header? ──▶ message* ──▶ done(status)
 *
 * Where the status comes from: the trailers' grpc-status; else that of the header (an answer of trailers only); else what the
 * HTTP status means (a proxy answered); else what http says went wrong. A rule that the server breaks ends the call
 * from our side: `fate` then holds what is told, and http's own end only carries it. */
#include "grpc/grpc_wire.h"

struct grpc_call {
	struct http_call *http;
	const struct grpc_call_ops *ops;
	void *arg;
	struct loop_task resume;
	struct loop *loop;
	struct grpc_frames frames;
	struct buf held;             /* input that came while paused */
	bool paused, sent_end, foreign; /* foreign: the answer is no gRPC */
	bool fated;
	enum grpc_status fate;       /* with fated: decided before http's end */
	struct buf fate_why;
};

static void fate_set(struct grpc_call *c, enum grpc_status status, struct span why)
{
	if (c->fated)
		return;
	c->fated = true;
	c->fate = status;
	buf_span_add(&c->fate_why, why);
	http_call_cancel(c->http);
}

/* ---- reading */

static void on_head(struct http_call *http, void *arg)
{
	struct grpc_call *c = arg;
	if (http_call_status(http) != 200 || !grpc_content_type(http_call_header(http, "content-type"))) {
		c->foreign = true;
		return;
	}
	struct span encoding = http_call_header(http, "grpc-encoding");
	if (encoding.len && !span_is(encoding, "identity")) {
		auto_buf struct buf why = {};
		buf_printf(&why, "grpc: Decompressor is not installed for grpc-encoding \"%.*s\"", SPAN_ARG(encoding));
		return fate_set(c, GRPC_UNIMPLEMENTED, buf_span(&why));
	}
	if (c->ops->header && !http_call_header(http, "grpc-status").ptr)
		c->ops->header(c, c->arg);
}

static void bytes_in(struct grpc_call *c, struct span in)
{
	auto_buf struct buf why = {};
	struct span message;
	int rc;
	while (!c->paused && !c->fated && (rc = grpc_frames_next(&c->frames, &in, &message, &why)) != 0) {
		if (rc < 0)
			return fate_set(c, (enum grpc_status)-rc, buf_span(&why));
		if (c->ops->message)
			c->ops->message(c, message, c->arg);
	}
	if (c->paused && in.len)
		buf_span_add(&c->held, in);
}

static void on_data(struct http_call *http, struct span data, void *arg)
{
	struct grpc_call *c = arg;
	if (!c->foreign)
		bytes_in(c, data);
}

static void on_drain(struct http_call *http, void *arg)
{
	struct grpc_call *c = arg;
	if (!c->fated && c->ops->drain)
		c->ops->drain(c, c->arg);
}

/* What the end of a complete answer says. */
static enum grpc_status status_read(struct grpc_call *c, struct buf *why)
{
	const struct http_fields *fields = http_call_trailers(c->http);
	enum grpc_status status;
	if (!http_fields_has(fields, "grpc-status"))
		fields = http_call_headers(c->http);
	if (http_fields_has(fields, "grpc-status")) {
		struct span text = http_fields_get(fields, "grpc-status");
		if (!grpc_status_parse(text, &status)) {
			buf_printf(why, "grpc: malformed grpc-status \"%.*s\"", SPAN_ARG(text));
			return GRPC_INTERNAL;
		}
		grpc_message_decode(why, http_fields_get(fields, "grpc-message"));
		return status;
	}
	int code = http_call_status(c->http);
	if (code != 200) {
		buf_printf(why, "unexpected HTTP status code received from server: %d (%s)", code, http_status_text(code));
		return grpc_status_of_http(code);
	}
	if (c->foreign) {
		struct span type = http_call_header(c->http, "content-type");
		buf_printf(why, "transport: received unexpected content-type \"%.*s\"", SPAN_ARG(type));
		return GRPC_UNKNOWN;
	}
	buf_str(why, "server closed the stream without sending trailers");
	return GRPC_INTERNAL;
}

static void on_done(struct http_call *http, const struct err *failed, void *arg)
{
	struct grpc_call *c = arg;
	enum grpc_status status;
	auto_buf struct buf why = {};
	loop_task_cancel(&c->resume);
	if (c->fated) {
		status = c->fate;
		buf_span_add(&why, buf_span(&c->fate_why));
	} else if (!failed) {
		status = status_read(c, &why);
		if (status == GRPC_OK && !grpc_frames_between(&c->frames)) {
			buf_str(&why, "grpc: the answer ends inside a message");
			status = GRPC_INTERNAL;
		}
	} else {
		/* The deadline runs in http (total_ms); a connection that ended under a call may be tried again. */
		int64_t reset = http_call_reset_code(http);
		if (reset >= 0) {
			const char *name;
			status = grpc_status_of_reset((uint64_t)reset, &name);
			buf_printf(&why, "stream terminated by RST_STREAM with error code: %s", name);
		} else {
			status = failed->class == ERR_UPSTREAM ? GRPC_UNAVAILABLE : grpc_status_of((int)failed->class);
			buf_str(&why, status == GRPC_DEADLINE_EXCEEDED ? "context deadline exceeded" : err_msg(failed));
		}
	}
	if (c->ops->done)
		c->ops->done(c, status, buf_span(&why), c->arg);
	grpc_frames_done(&c->frames);
	buf_done(&c->held);
	buf_done(&c->fate_why);
	free(c);
}

static const struct http_call_ops http_ops = { .head = on_head, .data = on_data, .drain = on_drain, .done = on_done };

/* First what was held back, then what http still has. */
static void on_resume(struct loop_task *t)
{
	struct grpc_call *c = container_of(t, struct grpc_call, resume);
	struct buf held = c->held;
	c->held = (struct buf){};
	c->paused = false;
	bytes_in(c, buf_span(&held));
	buf_done(&held);
	if (!c->paused)
		http_call_resume(c->http);
}

void grpc_call_pause(struct grpc_call *c)
{
	loop_task_cancel(&c->resume);
	c->paused = true;
	http_call_pause(c->http);
}

void grpc_call_resume(struct grpc_call *c)
{
	if (c->paused)
		loop_defer(c->loop, &c->resume);
}

/* ---- sending */

int grpc_call_begin(const struct grpc_call_params *p, struct grpc_call **out_call, struct err *err)
{
	auto_free struct http_field *fields = mem_alloc((p->n_metadata + 4) * sizeof(*fields));
	auto_arena struct arena a = {};
	char timeout[16];
	size_t n = 0;
	fields[n++] = (struct http_field){ SPAN("te"), SPAN("trailers") };
	fields[n++] = (struct http_field){ SPAN("content-type"), SPAN("application/grpc") };
	if (p->timeout_ms) {
		grpc_timeout_format(p->timeout_ms, timeout);
		fields[n++] = (struct http_field){ SPAN("grpc-timeout"), span_of(timeout) };
	}
	for (size_t i = 0; i < p->n_metadata; i++) {
		struct http_field f = p->metadata[i];
		if (grpc_key_is_bin(f.name)) {
			auto_buf struct buf text = {};
			grpc_bin_encode(&text, f.value);
			f.value = arena_span(&a, buf_span(&text));
		}
		fields[n++] = f;
	}
	struct grpc_call *c = mem_new(struct grpc_call);
	c->ops = p->ops;
	c->arg = p->arg;
	c->loop = p->loop;
	c->frames.limit = p->recv_bytes ? p->recv_bytes : GRPC_RECV_BYTES;
	loop_task_init(&c->resume, on_resume);
	struct http_call_params hp = { .origin = p->origin, .method = "POST", .target = span_of(p->method),
				       .headers = fields, .n_headers = n, .stream_body = true,
				       .total_ms = p->timeout_ms, .ops = &http_ops, .arg = c };
	int rc = http_call_begin(p->client, &hp, &c->http, err);
	if (rc < 0) {
		free(c);
		return err_note(err, "grpc call %s", p->method);
	}
	*out_call = c;
	return 0;
}

void grpc_call_send(struct grpc_call *c, struct span message)
{
	uint8_t head[5];
	if (c->sent_end || c->fated)
		return;
	grpc_frame_head(head, message.len);
	http_call_add(c->http, http_copy(span_make(head, sizeof(head))));
	if (message.len)
		http_call_add(c->http, http_copy(message));
}

void grpc_call_end(struct grpc_call *c)
{
	if (c->sent_end || c->fated)
		return;
	c->sent_end = true;
	http_call_end(c->http);
}

void grpc_call_cancel(struct grpc_call *c)
{
	fate_set(c, GRPC_CANCELLED, SPAN("context canceled"));
}

struct span grpc_call_metadata(struct grpc_call *c, const char *key)
{
	return grpc_metadata_get(http_call_headers(c->http), key, grpc_call_arena(c));
}

struct span grpc_call_trailer(struct grpc_call *c, const char *key)
{
	/* Of trailers only, the header is the trailers. */
	struct span value = grpc_metadata_get(http_call_trailers(c->http), key, grpc_call_arena(c));
	if (value.ptr || !http_fields_has(http_call_headers(c->http), "grpc-status"))
		return value;
	return grpc_call_metadata(c, key);
}

struct arena *grpc_call_arena(struct grpc_call *c)
{
	return http_call_arena(c->http);
}

/* ---- one message each way */

struct unary {
	void (*fn)(enum grpc_status status, struct span message, struct span reply, void *arg);
	void *arg;
	struct buf reply;
	unsigned n;
};

static void unary_message(struct grpc_call *c, struct span message, void *arg)
{
	struct unary *u = arg;
	if (++u->n > 1)
		return fate_set(c, GRPC_INTERNAL, SPAN("grpc: more than one message for a unary call"));
	buf_span_add(&u->reply, message);
}

static void unary_done(struct grpc_call *c, enum grpc_status status, struct span message, void *arg)
{
	struct unary *u = arg;
	if (status == GRPC_OK && u->n == 0) {
		status = GRPC_INTERNAL;
		message = SPAN("grpc: OK without a message");
	}
	u->fn(status, message, status == GRPC_OK ? buf_span(&u->reply) : SPAN_EMPTY, u->arg);
	buf_done(&u->reply);
	free(u);
}

int grpc_unary(const struct grpc_call_params *p, struct span message,
	void (*fn)(enum grpc_status status, struct span message, struct span reply, void *arg), void *arg, struct err *err)
{
	static const struct grpc_call_ops ops = { .message = unary_message, .done = unary_done };
	struct grpc_call_params params = *p;
	struct unary *u = mem_new(struct unary);
	struct grpc_call *c;
	u->fn = fn;
	u->arg = arg;
	params.ops = &ops;
	params.arg = u;
	int rc = grpc_call_begin(&params, &c, err);
	if (rc < 0) {
		free(u);
		return rc;
	}
	grpc_call_send(c, message);
	grpc_call_end(c);
	return 0;
}
