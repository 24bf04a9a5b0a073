/* Attached clients: attach, attach/ws and exec/start. HTTP is left, bytes go both ways until one side ends.
 *
 *     client <── duplex or WebSocket ── session ── container_stream ──> monitor
 *              output: framed (8 bytes) or raw; while the client lags the container's pipe is not read
 *              input: detach keys are looked for with a terminal; while the container lags the client is not read
 *
 * Replaying logs first (logs=1): the stream is attached and paused, the log is given up to that moment, then the stream goes on.
 *
 * A session is on its own once HTTP is left. It ends when both halves are closed: each says so, the last one frees it. */
#include "engine/private.h"
#include "logs/logs.h"

#define CLIENT_LAG (256u << 10)
#define INPUT_HELD (1u << 20)
#define KEYS_MAX 16
#define HEAD_MS 50 /* that a client gets to read the answer's head (decision 0855) */

struct session {
	struct engine *e;
	struct list link;       /* engine.sessions */
	struct http_duplex *d;  /* or */
	struct http_link *ws;
	struct container_stream stream;
	bool stream_open, stream_closing, framed, terminal, wants_input, paused, reading_log, log_open, ended;
	struct buf input;       /* what the container does not take yet */
	bool input_end;
	unsigned char keys[KEYS_MAX];
	unsigned n_keys, met;   /* the detach sequence, and how much of it was typed */
	struct logs_follow log;
	struct container_call exec;
	struct arena arena;     /* of exec's result */
	bool exec_waiting;
	char of[65];            /* the container */
};

void engine_frame(char out[8], int stream, size_t len)
{
	out[0] = (char)stream;
	out[1] = out[2] = out[3] = 0;
	for (int i = 0; i < 4; i++)
		out[4 + i] = (char)(len >> (24 - 8 * i));
}

struct span engine_stream_type(const struct engine_call *c, bool terminal)
{
	return terminal || c->api < 42 ? SPAN("application/vnd.docker.raw-stream")
				       : SPAN("application/vnd.docker.multiplexed-stream");
}

/* ---- the end ---- */

static void session_free_maybe(struct session *s)
{
	if (s->d || s->ws || s->stream_open || s->log_open)
		return;
	container_call_forget(&s->exec);
	list_remove(&s->link);
	buf_done(&s->input);
	arena_done(&s->arena);
	loop_release(s->e->loop);
	free(s);
}

static void stream_closed(struct container_stream *stream)
{
	struct session *s = container_of(stream, struct session, stream);
	s->stream_open = false;
	session_free_maybe(s);
}

static void log_closed(struct logs_follow *f)
{
	struct session *s = container_of(f, struct session, log);
	s->log_open = false;
	session_free_maybe(s);
}

/* Nothing more from the container, or nobody to tell it to. */
static void stream_close(struct session *s)
{
	if (s->reading_log) {
		s->reading_log = false;
		logs_follow_close(&s->log, log_closed);
	}
	if (s->exec_waiting) {
		s->exec_waiting = false;
		container_call_forget(&s->exec);
	}
	if (s->stream_open && !s->stream_closing) {
		s->stream_closing = true;
		container_stream_close(&s->stream, stream_closed);
	}
}

static void client_close(struct session *s)
{
	if (s->d)
		http_duplex_close(s->d);
	if (s->ws) {
		http_ws_close(http_link_ws(s->ws), HTTP_WS_NORMAL, SPAN_EMPTY);
		http_link_flush(s->ws);
		http_link_close(s->ws);
	}
}

static void session_end(struct session *s)
{
	if (s->ended)
		return;
	s->ended = true;
	stream_close(s);
	client_close(s);
}

void engine_sessions_end(struct engine *e)
{
	LIST_EACH(&e->sessions, s, struct session, link) {
		s->ended = true;
		stream_close(s);
		if (s->d)
			http_duplex_abort(s->d);
		if (s->ws)
			http_link_abort(s->ws);
	}
}

/* ---- output ---- */

static size_t client_queued(const struct session *s)
{
	return s->d ? http_duplex_queued(s->d) : s->ws ? http_link_queued(s->ws) + http_ws_pending(http_link_ws(s->ws)) : 0;
}

static void client_write(struct session *s, int stream, struct span data)
{
	char head[8];
	if (s->d) {
		if (s->framed) {
			engine_frame(head, stream, data.len);
			http_duplex_write(s->d, http_copy(span_make(head, 8)));
		}
		http_duplex_write(s->d, http_copy(data));
	} else if (s->ws) {
		http_ws_send(http_link_ws(s->ws), HTTP_WS_BINARY, data, true);
		http_link_flush(s->ws);
	}
}

static void output(struct container_stream *stream, int number, struct span data)
{
	struct session *s = container_of(stream, struct session, stream);
	client_write(s, number, data);
	if (client_queued(s) > CLIENT_LAG && !s->paused) {
		s->paused = true;
		container_stream_pause(&s->stream);
	}
}

static void client_drained(struct session *s)
{
	if (!s->paused)
		return;
	s->paused = false;
	if (s->reading_log)
		logs_follow_resume(&s->log);
	else if (s->stream_open && !s->stream_closing)
		container_stream_resume(&s->stream);
}

static void stream_ended(struct container_stream *stream, const struct err *err)
{
	session_end(container_of(stream, struct session, stream));
}

/* ---- input ---- */

static void input_flush(struct session *s)
{
	if (s->stream_closing || !s->stream_open)
		return;
	if (s->input.len) {
		size_t taken = container_stream_write(&s->stream, buf_span(&s->input));
		buf_shift(&s->input, taken);
	}
	if (!s->input.len && s->input_end) {
		s->input_end = false;
		container_stream_write_end(&s->stream);
	}
}

static void writable(struct container_stream *stream)
{
	struct session *s = container_of(stream, struct session, stream);
	bool held = s->input.len != 0;
	input_flush(s);
	if (held && !s->input.len) {
		if (s->d)
			http_duplex_resume(s->d);
		if (s->ws)
			http_link_resume(s->ws);
	}
}

static void detached(struct session *s)
{
	engine_event_container(s->e, "detach", span_of(s->of));
	session_end(s);
}

/* Keys of the detach sequence are held back until it is clear that they are not one. True: it is complete. */
static bool keys_scan(struct session *s, struct span data, struct buf *out)
{
	for (size_t i = 0; i < data.len; i++) {
		if ((unsigned char)data.ptr[i] == s->keys[s->met]) {
			if (++s->met == s->n_keys)
				return true;
			continue;
		}
		buf_add(out, s->keys, s->met);
		s->met = 0;
		if ((unsigned char)data.ptr[i] == s->keys[0] && s->n_keys > 1)
			s->met = 1;
		else
			buf_chr(out, data.ptr[i]);
	}
	return false;
}

static void client_data(struct session *s, struct span data)
{
	if (!s->wants_input || !s->stream_open || s->stream_closing)
		return;
	if (s->terminal && s->n_keys) {
		if (keys_scan(s, data, &s->input)) {
			detached(s);
			return;
		}
	} else {
		buf_span_add(&s->input, data);
	}
	input_flush(s);
	if (s->input.len && s->d)
		http_duplex_pause(s->d);
	if (s->input.len && s->ws)
		http_link_pause(s->ws);
}

static void client_end(struct session *s)
{
	if (!s->wants_input)
		return;
	s->input_end = true;
	input_flush(s);
}

/* ---- the client's side: a duplex ---- */

static void on_data(struct http_duplex *d, struct span data, void *arg)
{
	client_data(arg, data);
}

static void on_end(struct http_duplex *d, void *arg)
{
	client_end(arg);
}

static void on_drain(struct http_duplex *d, void *arg)
{
	client_drained(arg);
}

static void on_closed(struct http_duplex *d, const struct err *why, void *arg)
{
	struct session *s = arg;
	s->d = NULL;
	s->ended = true;
	stream_close(s);
	session_free_maybe(s);
}

static const struct http_duplex_ops duplex_ops = { .data = on_data, .end = on_end, .drain = on_drain, .closed = on_closed };

/* ---- or a WebSocket ---- */

static void on_part(struct http_ws *ws, enum http_ws_kind kind, struct span data, bool last, void *arg)
{
	client_data(arg, data);
}

static void on_ws_closed(struct http_ws *ws, unsigned code, struct span reason, void *arg)
{
	struct session *s = arg;
	client_end(s);
	if (!s->ended) {
		s->ended = true;
		stream_close(s);
	}
}

static void on_ws_drain(struct http_link *k, void *arg)
{
	client_drained(arg);
}

static void on_ws_gone(struct http_link *k, const struct err *why, void *arg)
{
	struct session *s = arg;
	s->ws = NULL;
	s->ended = true;
	stream_close(s);
	session_free_maybe(s);
}

static const struct http_ws_ops ws_ops = { .part = on_part, .closed = on_ws_closed };
static const struct http_link_ops link_ops = { .drain = on_ws_drain, .gone = on_ws_gone };

/* ---- beginning ---- */

/* "ctrl-p,ctrl-q", "ctrl-a,x", "DEL": moby/term's ToBytes. Empty = Docker's default. */
static int keys_parse(struct span text, struct session *s, struct err *err)
{
	struct span rest = text.len ? text : SPAN("ctrl-p,ctrl-q"), one;
	while (span_cut(&rest, ',', &one)) {
		unsigned char key;
		if (one.len == 1)
			key = (unsigned char)one.ptr[0];
		else if (span_is(one, "DEL"))
			key = 127;
		else if (one.len == 6 && span_starts(one, SPAN("ctrl-"))) {
			static const char others[] = "@[\\]^_";
			char c = one.ptr[5];
			const char *at = strchr(others, c);
			if (c >= 'a' && c <= 'z')
				key = (unsigned char)(c - 'a' + 1);
			else if (c && at)
				key = c == '@' ? 0 : (unsigned char)(27 + (at - others) - 1);
			else
				return err_set(err, ERR_INVALID_REQUEST, "Invalid escape keys (%.*s) provided", SPAN_ARG(text));
		} else {
			return err_set(err, ERR_INVALID_REQUEST, "Invalid escape keys (%.*s) provided", SPAN_ARG(text));
		}
		if (s->n_keys == KEYS_MAX)
			return err_set(err, ERR_INVALID_REQUEST, "Invalid escape keys (%.*s) provided", SPAN_ARG(text));
		s->keys[s->n_keys++] = key;
	}
	return 0;
}

int engine_detach_keys_check(struct span text, struct err *err)
{
	struct session s = {};
	return keys_parse(text, &s, err);
}

static struct session *session_new(struct engine_call *c)
{
	struct session *s = mem_new(struct session);
	*s = (struct session){ .e = c->e };
	s->stream.output = output;
	s->stream.writable = writable;
	s->stream.ended = stream_ended;
	list_push(&c->e->sessions, &s->link);
	loop_hold(c->e->loop);
	return s;
}

/* Leaves HTTP: 101 to who asked for an upgrade, else 200 and bytes. */
static int session_hijack(struct session *s, struct engine_call *c)
{
	bool upgrade = http_req_wants_upgrade(c->req, "tcp") || http_req_wants_upgrade(c->req, "h2c");
	struct http_req *req = c->req;
	if (!engine_answer_head(c, upgrade ? 101 : 200))
		return err_set(&c->err, ERR_CANCELLED, "the client is gone");
	http_reply_header(req, "Content-Type", engine_stream_type(c, s->terminal));
	if (upgrade)
		http_reply_header(req, "Upgrade", SPAN("tcp"));
	int rc = http_req_hijack(req, upgrade ? 101 : 200, &s->d, &c->err);
	if (rc == 0) {
		http_duplex_hold(s->d, HEAD_MS);
		http_duplex_ops_set(s->d, &duplex_ops, s);
	} else {
		log_warn("a connection cannot be taken over", kv_err(&c->err));
		http_reply_abort(req);
	}
	return rc;
}

/* ---- logs first ---- */

static void log_record(struct logs_follow *f, const struct logs_record *r)
{
	struct session *s = container_of(f, struct session, log);
	if (r->stream == 2 ? s->stream.stderr_ : s->stream.stdout_)
		client_write(s, r->stream, r->text);
	if (client_queued(s) > CLIENT_LAG && !s->paused) {
		s->paused = true;
		logs_follow_pause(f);
	}
}

static void log_done(struct logs_follow *f, const struct err *err)
{
	struct session *s = container_of(f, struct session, log);
	s->reading_log = s->paused = false;
	logs_follow_close(f, log_closed);
	if (s->stream_open)
		container_stream_resume(&s->stream);
	else
		session_end(s);
}

static int log_replay(struct session *s, struct engine_call *c, int64_t until_ns)
{
	struct container_log log;
	int rc = container_log_open(c->e->containers, span_of(s->of), &log, &c->err);
	if (rc < 0)
		return rc;
	const struct logs_params p = { .dir = log.dir, .name = log.name, .format = LOGS_DOCKER, .tail = -1, .until_ns = until_ns };
	rc = logs_follow_open(&s->log, c->e->loop, &p, log_record, log_done, &c->err);
	fd_close(&log.dir);
	if (rc < 0)
		return rc;
	s->reading_log = s->log_open = true;
	logs_follow_end(&s->log);
	return 0;
}

/* ---- POST /containers/x/attach, GET /containers/x/attach/ws ---- */

static void session_drop(struct session *s)
{
	s->ended = true;
	stream_close(s);
	session_free_maybe(s);
}

/* What attach asks for, looked up and opened; the client's side comes last because nothing can be refused after it. */
static struct session *attach_open(struct engine_call *c)
{
	struct engine *e = c->e;
	struct session *s = session_new(c);
	struct json v;
	bool stream = engine_truth(c, "stream", false), logs = engine_truth(c, "logs", false);
	int rc = keys_parse(engine_param(c, "detachKeys"), s, &c->err);
	if (rc == 0)
		rc = container_find(e->containers, c->name, s->of, &c->err);
	if (rc == 0)
		rc = container_inspect(e->containers, span_of(s->of), &c->arena, &v, &c->err);
	if (rc == 0) {
		const struct json *config = json_getl(&v, "Config");
		s->terminal = json_truth(json_getl(config, "Tty"), false);
		s->framed = !s->terminal;
		s->stream.stdin_ = s->wants_input = engine_truth(c, "stdin", false) && json_truth(json_getl(config, "OpenStdin"), false);
		s->stream.stdout_ = engine_truth(c, "stdout", false);
		s->stream.stderr_ = engine_truth(c, "stderr", false);
	}
	if (rc == 0 && stream) {
		rc = container_attach(e->containers, span_of(s->of), &s->stream, &c->err);
		s->stream_open = rc == 0;
	}
	if (rc == 0)
		engine_event_container(e, "attach", span_of(s->of));
	if (rc == 0 && logs) {
		if (s->stream_open)
			container_stream_pause(&s->stream);
		rc = log_replay(s, c, loop_wall_ns(e->loop));
	}
	if (rc == 0)
		return s;
	session_drop(s);
	engine_fail(c);
	return NULL;
}

void engine_container_attach(struct engine_call *c)
{
	struct session *s = attach_open(c);
	if (!s)
		return;
	if (session_hijack(s, c) < 0)
		session_drop(s);
	else if (!s->stream_open && !s->reading_log)
		session_end(s);
}

void engine_container_attach_ws(struct engine_call *c)
{
	if (!http_req_wants_upgrade(c->req, "websocket")) {
		engine_fail_with(c, ERR_INVALID_REQUEST, "bad request: not a websocket handshake");
		return;
	}
	struct session *s = attach_open(c);
	if (!s)
		return;
	s->framed = false;
	const struct http_ws_params p = { .ops = &ws_ops, .arg = s };
	if (http_ws_serve(c->req, NULL, &p, &link_ops, s, &s->ws, &c->err) < 0) {
		s->ws = NULL;
		session_drop(s);
		engine_fail(c);
	} else if (!s->stream_open && !s->reading_log) {
		session_end(s);
	}
}

/* ---- POST /exec/x/start ---- */

static void exec_done(struct container_call *call, const struct err *err)
{
	struct session *s = container_of(call, struct session, exec);
	s->exec_waiting = false;
	if (!err)
		return;
	/* HTTP is left behind: the words are output, the code is in the exec's inspection. */
	auto_buf struct buf words = {};
	buf_printf(&words, "%s\r\n", err_msg(err));
	client_write(s, 1, buf_span(&words));
	s->stream_open = false; /* it never began */
	session_end(s);
}

static int console_size(const struct json *body, unsigned *out_rows, unsigned *out_columns, struct err *err)
{
	const struct json *size = json_getl(body, "ConsoleSize");
	*out_rows = *out_columns = 0;
	if (!size || size->kind == JSON_NULL)
		return 0;
	if (!json_is(size, JSON_ARRAY) || size->n != 2)
		return err_set(err, ERR_INVALID_REQUEST, "ConsoleSize: two numbers are expected");
	int64_t rows = json_i64(&size->items[0], -1), columns = json_i64(&size->items[1], -1);
	if (rows < 0 || rows > 65535 || columns < 0 || columns > 65535)
		return err_set(err, ERR_INVALID_REQUEST, "ConsoleSize: numbers from 0 to 65535 are expected");
	*out_rows = (unsigned)rows;
	*out_columns = (unsigned)columns;
	return 0;
}

void engine_exec_start(struct engine_call *c)
{
	struct engine *e = c->e;
	unsigned rows = 0, columns = 0;
	struct json v;
	if ((c->api >= 42 && console_size(&c->body, &rows, &columns, &c->err) < 0) ||
	    container_exec_inspect(e->containers, c->name, &c->arena, &v, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	if (json_truth(json_getl(&c->body, "Detach"), false)) {
		container_exec_start(e->containers, c->name, NULL, rows, columns, engine_container_call(c, engine_then_ok));
		return;
	}
	/* What would be refused must be told while there is HTTP. */
	if (json_truth(json_getl(&v, "Running"), false)) {
		engine_fail_with(c, ERR_IN_USE, "exec command %.*s is already running", SPAN_ARG(c->name));
		return;
	}
	if (json_is_number(json_getl(&v, "ExitCode"))) {
		engine_fail_with(c, ERR_IN_USE, "exec command %.*s has already run", SPAN_ARG(c->name));
		return;
	}
	struct session *s = session_new(c);
	struct span of = json_span(json_getl(&v, "ContainerID"));
	(void)snprintf(s->of, sizeof(s->of), "%.*s", SPAN_ARG(of));
	s->terminal = json_truth(json_path(&v, "ProcessConfig", "tty", NULL), false);
	s->framed = !s->terminal;
	s->stream.stdin_ = s->wants_input = json_truth(json_getl(&v, "OpenStdin"), false);
	s->stream.stdout_ = json_truth(json_getl(&v, "OpenStdout"), false);
	s->stream.stderr_ = json_truth(json_getl(&v, "OpenStderr"), false);
	if (keys_parse(json_span(json_getl(&v, "DetachKeys")), s, &c->err) < 0) {
		session_drop(s);
		engine_fail(c);
		return;
	}
	auto_free char *id = mem_dup(c->name.ptr, c->name.len);
	if (session_hijack(s, c) < 0) {
		session_drop(s);
		return;
	}
	/* The request, its arena included, may be gone from here on. */
	s->exec = (struct container_call){ .done = exec_done, .arena = &s->arena };
	s->exec_waiting = s->stream_open = true;
	container_exec_start(e->containers, span_of(id), &s->stream, rows, columns, &s->exec);
}
