/* Exec and attach over a connection that the kubelet hands on: SPDY/3.1 with one stream for each purpose, or WebSocket with the
 * channel in the first byte (k8s.io/apimachinery, remotecommand v1 to v5).
 *
 *     SPDY        streams with header streamtype: error, stdin, stdout, stderr, resize; the program starts when all are there
 *     WebSocket   0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize; v5: 255 and a channel's number closes that channel
 *
 * From v4 on the error stream ends with a Status that has the exit code; before, with words, and only when something went wrong. */
#include "cri/stream.h"

enum channel { CH_STDIN, CH_STDOUT, CH_STDERR, CH_ERROR, CH_RESIZE, CH_COUNT };
#define CH_CLOSE 255

#define STREAMS_MS 30000         /* the client has so long to open its streams */
#define INPUT_MAX (64u << 10)    /* waits before the program takes it; then nothing is read */
#define QUEUE_MAX (256u << 10)   /* waits for the client; then the program is not read */
#define RESIZE_MAX 4096
#define MESSAGE_MAX (1u << 20)

static const char *const names[CH_COUNT] = { "stdin", "stdout", "stderr", "error", "resize" };
static const char *const spdy_protocols[] = { "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io",
	NULL };
static const char *const ws_protocols[] = { "v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io", NULL };

struct session {
	struct cri *cri;
	struct cri_ticket *t;        /* owned */
	unsigned refs;               /* the connection, the container's stream, operations under way */
	struct cri_conn conn;
	bool ws;
	int version;
	struct http_spdy_stream *streams[CH_COUNT]; /* SPDY: NULL when it is closed or never came */
	bool wanted[CH_COUNT];
	struct loop_timer timer;     /* until all streams are there */
	bool begun;                  /* the program was asked for */
	bool live;                   /* its stream takes input */
	bool stream_open, waited, finished, input_end, paused;
	struct container_stream stream;
	struct container_call start, wait, size_call;
	struct arena arena;
	char exec[65];
	int code;
	struct err err;              /* why it did not run */
	struct buf input, sizes;
	unsigned rows, columns;
	bool size_new, size_busy;
};

static void unref(struct session *s)
{
	struct cri *c = s->cri;
	if (--s->refs)
		return;
	loop_timer_stop(&s->timer);
	cri_ticket_free(s->t);
	buf_done(&s->input);
	buf_done(&s->sizes);
	err_done(&s->err);
	arena_done(&s->arena);
	free(s);
	cri_busy(c, -1);
}

/* ---- to the client */

static void say(struct session *s, enum channel ch, struct span data)
{
	if (!s->conn.k)
		return;
	if (s->ws) {
		auto_buf struct buf b = {};
		buf_chr(&b, (char)ch);
		buf_span_add(&b, data);
		http_ws_send(http_link_ws(s->conn.k), HTTP_WS_BINARY, buf_span(&b), true);
	} else if (s->streams[ch]) {
		http_spdy_write(s->streams[ch], data, false);
	}
	http_link_flush(s->conn.k);
}

static void say_end(struct session *s, enum channel ch)
{
	if (s->conn.k && !s->ws && s->streams[ch])
		http_spdy_write(s->streams[ch], SPAN_EMPTY, true);
}

static struct span status_of(struct session *s, struct arena *a)
{
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	bool failed = s->err.class, bad = failed || s->code != 0;
	/* The words of the streaming server that other runtimes share: people search for them. */
	struct span why = !failed ? SPAN_EMPTY
				  : arena_printf(a, "error %s container: %s",
						 s->t->kind == CRI_STREAM_EXEC ? "executing command in" : "attaching to", err_msg(&s->err));
	struct span text = failed ? arena_printf(a, "Internal error occurred: %.*s", SPAN_ARG(why))
				  : arena_printf(a, "command terminated with non-zero exit code: exit status %d", s->code);
	if (s->version < 4)
		return bad ? text : SPAN_EMPTY;
	json_out_begin(&o);
	json_out_key(&o, SPAN("metadata"));
	json_out_begin(&o);
	json_out_end(&o);
	json_out_kspan(&o, "status", bad ? SPAN("Failure") : SPAN("Success"));
	if (bad) {
		json_out_kspan(&o, "message", text);
		json_out_kspan(&o, "reason", failed ? SPAN("InternalError") : SPAN("NonZeroExitCode"));
		json_out_key(&o, SPAN("details"));
		json_out_begin(&o);
		json_out_key(&o, SPAN("causes"));
		json_out_begin_array(&o);
		json_out_begin(&o);
		if (!failed)
			json_out_kspan(&o, "reason", SPAN("ExitCode"));
		json_out_kspan(&o, "message", failed ? why : arena_printf(a, "%d", s->code));
		json_out_end(&o);
		json_out_end(&o);
		json_out_end(&o);
		if (failed)
			json_out_ki64(&o, "code", 500);
	}
	json_out_end(&o);
	return arena_span(a, buf_span(&b));
}

/* Everything is over: the client is told, and left. */
static void finish(struct session *s)
{
	if (s->finished || s->stream_open || (s->begun && !s->err.class && s->t->kind == CRI_STREAM_EXEC && !s->waited))
		return;
	s->finished = true;
	if (!s->conn.k)
		return;
	struct span status = status_of(s, &s->arena);
	say_end(s, CH_STDOUT);
	say_end(s, CH_STDERR);
	if (status.len)
		say(s, CH_ERROR, status);
	say_end(s, CH_ERROR);
	if (s->ws)
		http_ws_close(http_link_ws(s->conn.k), HTTP_WS_NORMAL, SPAN_EMPTY);
	http_link_flush(s->conn.k);
	http_link_close(s->conn.k);
}

/* ---- from the container */

static void on_closed(struct container_stream *st)
{
	struct session *s = container_of(st, struct session, stream);
	s->stream_open = s->live = false;
	finish(s);
	unref(s);
}

static void stream_end(struct session *s)
{
	if (s->stream_open)
		container_stream_close(&s->stream, on_closed);
}

static void on_ended(struct container_stream *st, const struct err *err)
{
	struct session *s = container_of(st, struct session, stream);
	if (err && !s->err.class && s->t->kind == CRI_STREAM_ATTACH)
		(void)err_set(&s->err, err->class, "%s", err_msg(err));
	stream_end(s);
}

static void on_output(struct container_stream *st, int stream, struct span data)
{
	struct session *s = container_of(st, struct session, stream);
	enum channel ch = stream == 2 ? CH_STDERR : CH_STDOUT;
	if (s->wanted[ch])
		say(s, ch, data);
	if (s->conn.k && http_link_queued(s->conn.k) > QUEUE_MAX && !s->paused) {
		s->paused = true;
		container_stream_pause(st);
	}
}

/* ---- to the container */

static void input_flush(struct session *s)
{
	if (!s->live)
		return;
	if (s->input.len) {
		size_t n = container_stream_write(&s->stream, buf_span(&s->input));
		buf_shift(&s->input, n);
	}
	if (!s->input.len && s->input_end) {
		s->input_end = false;
		container_stream_write_end(&s->stream);
	}
	if (s->conn.k && s->input.len < INPUT_MAX)
		http_link_resume(s->conn.k);
}

static void on_writable(struct container_stream *st)
{
	input_flush(container_of(st, struct session, stream));
}

static void input(struct session *s, struct span data)
{
	if (!s->wanted[CH_STDIN] || s->finished)
		return;
	buf_span_add(&s->input, data);
	input_flush(s);
	if (s->conn.k && s->input.len >= INPUT_MAX)
		http_link_pause(s->conn.k);
}

static void input_over(struct session *s)
{
	s->input_end = true;
	input_flush(s);
}

static void size_send(struct session *s);

static void on_sized(struct container_call *call, const struct err *err)
{
	struct session *s = container_of(call, struct session, size_call);
	s->size_busy = false; /* a program that has ended needs no size */
	size_send(s);
	unref(s);
}

static void size_send(struct session *s)
{
	if (!s->size_new || s->size_busy || !s->live)
		return;
	s->size_new = false;
	s->size_busy = true;
	s->refs++;
	s->size_call = (struct container_call){ .done = on_sized };
	if (s->t->kind == CRI_STREAM_EXEC)
		container_exec_resize(s->cri->containers, span_of(s->exec), s->rows, s->columns, &s->size_call);
	else
		container_resize(s->cri->containers, s->t->id, s->rows, s->columns, &s->size_call);
}

/* {"Width":80,"Height":24}, one after the other; a message may hold a part. */
static void sizes(struct session *s, struct span data)
{
	auto_arena struct arena a = {};
	if (s->sizes.len + data.len > RESIZE_MAX)
		buf_trunc(&s->sizes, 0);
	buf_span_add(&s->sizes, span_sub(data, 0, RESIZE_MAX));
	struct span rest = buf_span(&s->sizes);
	struct json v;
	while (json_parse_next(&a, &rest, JSON_DUPLICATES_LAST, NULL, &v, NULL) == 0) {
		int64_t columns = json_i64(json_getl(&v, "Width"), 0), rows = json_i64(json_getl(&v, "Height"), 0);
		if (columns <= 0 || rows <= 0 || columns > 65535 || rows > 65535)
			continue;
		s->columns = (unsigned)columns;
		s->rows = (unsigned)rows;
		s->size_new = true;
	}
	buf_shift(&s->sizes, s->sizes.len - rest.len);
	size_send(s);
}

/* ---- the program */

static void on_waited(struct container_call *call, const struct err *err)
{
	struct session *s = container_of(call, struct session, wait);
	s->waited = true;
	if (err)
		(void)err_set(&s->err, err->class, "%s", err_msg(err));
	else
		s->code = (int)json_i64(json_getl(&call->result, "ExitCode"), 0);
	finish(s);
	unref(s);
}

static void live(struct session *s)
{
	s->live = true;
	size_send(s);
	input_flush(s);
}

static void on_started(struct container_call *call, const struct err *err)
{
	struct session *s = container_of(call, struct session, start);
	if (err) { /* its stream was never begun */
		(void)err_set(&s->err, err->class, "failed to exec in container: failed to start exec \"%s\": %s", s->exec, err_msg(err));
		s->stream_open = false;
		s->refs--; /* the stream's */
		finish(s);
	} else {
		s->refs++;
		s->wait = (struct container_call){ .done = on_waited, .arena = &s->arena };
		container_exec_wait(s->cri->containers, span_of(s->exec), &s->wait);
		live(s);
		if (!s->conn.k)
			container_exec_stop(s->cri->containers, span_of(s->exec));
	}
	unref(s);
}

static void begin_exec(struct session *s)
{
	struct cri_ticket *t = s->t;
	if (cri_exec_config(s->cri, t->id, t->cmd, t->n_cmd, t->in, t->tty, &s->arena, s->exec, &s->err) < 0) {
		finish(s);
		return;
	}
	s->stream_open = true;
	s->refs += 2; /* the stream, the start */
	s->start = (struct container_call){ .done = on_started, .arena = &s->arena };
	s->size_new = false; /* it is born with it */
	container_exec_start(s->cri->containers, span_of(s->exec), &s->stream, s->rows, s->columns, &s->start);
}

static void begin_attach(struct session *s)
{
	struct container_state now;
	struct cri_container *one = cri_container_find(s->cri, s->t->id, &s->err);
	if (one && cri_container_now(one, &now) != CRI_RUNNING)
		(void)err_set(&s->err, ERR_IN_USE, "container %s is not running", one->id);
	if (!s->err.class && container_attach(s->cri->containers, s->t->id, &s->stream, &s->err) == 0) {
		s->stream_open = true;
		s->refs++;
		live(s);
	} else {
		finish(s);
	}
}

static void begin(struct session *s)
{
	s->begun = true;
	loop_timer_stop(&s->timer);
	s->stream = (struct container_stream){ .stdin_ = s->t->in, .stdout_ = true, .stderr_ = !s->t->tty, .output = on_output,
		.writable = on_writable, .ended = on_ended };
	if (s->t->kind == CRI_STREAM_EXEC)
		begin_exec(s);
	else
		begin_attach(s);
}

/* ---- the connection */

static void on_drain(struct http_link *k, void *arg)
{
	struct session *s = arg;
	if (s->paused && s->stream_open) {
		s->paused = false;
		container_stream_resume(&s->stream);
	}
}

static void on_gone(struct http_link *k, const struct err *why, void *arg)
{
	struct session *s = arg;
	s->conn.k = NULL;
	list_remove(&s->conn.link);
	loop_timer_stop(&s->timer);
	for (int i = 0; i < CH_COUNT; i++)
		s->streams[i] = NULL;
	/* As containerd: a program whose client has left is ended; an attached container goes on. */
	if (s->begun && s->t->kind == CRI_STREAM_EXEC && !s->waited && s->exec[0])
		container_exec_stop(s->cri->containers, span_of(s->exec));
	if (s->t->kind == CRI_STREAM_ATTACH || s->live)
		stream_end(s);
	unref(s);
}

static const struct http_link_ops link_ops = { .drain = on_drain, .gone = on_gone };

static void on_late(struct loop_timer *t)
{
	struct session *s = container_of(t, struct session, timer);
	if (s->conn.k)
		http_link_abort(s->conn.k);
}

/* ---- SPDY */

static bool complete(const struct session *s)
{
	for (int i = 0; i < CH_COUNT; i++)
		if (s->wanted[i] && !s->streams[i])
			return false;
	return true;
}

static void spdy_open(struct http_spdy_stream *st, const struct http_spdy_field *fields, unsigned n, void *arg)
{
	struct session *s = arg;
	struct span type = SPAN_EMPTY;
	for (unsigned i = 0; i < n; i++)
		if (span_is(fields[i].name, "streamtype"))
			type = fields[i].value;
	for (int i = 0; i < CH_COUNT; i++) {
		if (!span_is(type, names[i]) || s->streams[i] || (!s->wanted[i] && i != CH_RESIZE))
			continue;
		s->streams[i] = st;
		http_spdy_reply(st, NULL, 0, false);
		if (!s->begun && complete(s))
			begin(s);
		return;
	}
	http_spdy_reset(st, HTTP_SPDY_REFUSED);
}

static void spdy_data(struct http_spdy_stream *st, struct span data, void *arg)
{
	struct session *s = arg;
	if (st == s->streams[CH_STDIN])
		input(s, data);
	else if (st == s->streams[CH_RESIZE])
		sizes(s, data);
	http_spdy_consumed(st, data.len);
}

static void spdy_end(struct http_spdy_stream *st, void *arg)
{
	struct session *s = arg;
	if (st == s->streams[CH_STDIN])
		input_over(s);
}

static void spdy_closed(struct http_spdy_stream *st, unsigned status, void *arg)
{
	struct session *s = arg;
	if (st == s->streams[CH_STDIN] && status != HTTP_SPDY_SESSION_ENDED)
		input_over(s);
	for (int i = 0; i < CH_COUNT; i++)
		if (s->streams[i] == st)
			s->streams[i] = NULL;
}

static const struct http_spdy_ops spdy_ops = { .open = spdy_open, .data = spdy_data, .end = spdy_end, .closed = spdy_closed };

/* ---- WebSocket */

static void ws_message(struct http_ws *ws, enum http_ws_kind kind, struct span data, void *arg)
{
	struct session *s = arg;
	if (!data.len)
		return;
	unsigned ch = (unsigned char)data.ptr[0];
	struct span rest = span_from(data, 1);
	if (ch == CH_STDIN)
		input(s, rest);
	else if (ch == CH_RESIZE)
		sizes(s, rest);
	else if (ch == CH_CLOSE && s->version >= 5 && rest.len && rest.ptr[0] == CH_STDIN)
		input_over(s);
}

static const struct http_ws_ops ws_ops = { .message = ws_message };

/* ---- */

static int serve(struct session *s, struct http_req *r, struct err *err)
{
	if (http_req_wants_upgrade(r, "websocket")) {
		const struct http_ws_params p = { .ops = &ws_ops, .arg = s, .message_limit = MESSAGE_MAX };
		struct span offered = http_req_header_all(r, "Sec-WebSocket-Protocol");
		const char *chosen = http_ws_protocol(offered, ws_protocols);
		s->ws = true;
		s->version = chosen && chosen[0] == 'v' ? chosen[1] - '0' : 1;
		return http_ws_serve(r, offered.len ? ws_protocols : NULL, &p, &link_ops, s, &s->conn.k, err);
	}
	const struct http_spdy_params p = { .ops = &spdy_ops, .arg = s, .max_streams = 16 };
	const char *chosen = cri_stream_protocol(r, spdy_protocols);
	if (chosen)
		http_reply_header(r, "X-Stream-Protocol-Version", span_of(chosen));
	s->version = chosen && chosen[0] == 'v' ? chosen[1] - '0' : 1;
	return http_spdy_serve(r, &p, &link_ops, s, &s->conn.k, err);
}

void cri_session_begin(struct cri *c, struct http_req *r, struct cri_ticket *t)
{
	auto_err struct err err = ERR_INIT;
	bool spdy = http_req_wants_upgrade(r, "SPDY/3.1");
	if (spdy && http_req_header(r, "X-Stream-Protocol-Version").len && !cri_stream_protocol(r, spdy_protocols)) {
		cri_ticket_free(t);
		cri_stream_refuse(r, spdy_protocols);
		return;
	}
	struct session *s = mem_new(struct session);
	s->cri = c;
	s->t = t;
	s->refs = 1;
	loop_timer_init(&s->timer, c->p.loop, "cri streams", on_late);
	cri_busy(c, 1);
	if (serve(s, r, &err) < 0) {
		http_reply_text(r, 400, "text/plain; charset=utf-8", span_of(err_msg(&err)));
		unref(s);
		return;
	}
	list_push(&c->conns, &s->conn.link);
	s->wanted[CH_STDIN] = t->in;
	s->wanted[CH_STDOUT] = t->out;
	s->wanted[CH_STDERR] = t->error && !t->tty;
	s->wanted[CH_ERROR] = true;
	s->wanted[CH_RESIZE] = !s->ws && t->tty && s->version >= 3;
	if (!s->ws) {
		loop_timer_start(&s->timer, STREAMS_MS);
		return;
	}
	/* So that the client knows that the channels are there. */
	say(s, t->out ? CH_STDOUT : t->error ? CH_STDERR : CH_ERROR, SPAN_EMPTY);
	begin(s);
}
