/* The cluster as a command sees it: found by kubectl's rules, asked one question at a time, and complained about in its words. */
#include "front/private.h"

#include <fcntl.h>
#include <unistd.h>

#define TABLE_CALL_MS (3600u * 1000) /* kubectl waits for ever; an hour without a byte is no answer */
#define DISCOVERY "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

static const char *text_or_null(struct front *f, struct span s)
{
	return s.len ? arena_cstr(&f->arena, s) : NULL;
}

/* Deprecated versions and the like: told once, between the answers. */
static void on_warning(struct span text, void *arg)
{
	struct front *f = arg;
	auto_buf struct buf line = {};
	for (unsigned i = 0; i < f->warned.n; i++)
		if (span_eq(f->warned.items[i], text))
			return;
	front_words_add(&f->arena, &f->warned, arena_span(&f->arena, text));
	buf_str(&line, "Warning: ");
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '\033')
			buf_str(&line, "^[");
		else
			buf_chr(&line, text.ptr[i]);
	}
	buf_chr(&line, '\n');
	(void)io_write_all(STDERR_FILENO, line.ptr, line.len, NULL); /* a failure has nowhere to be told */
}

int front_connect(struct front *f, struct err *err)
{
	const struct front_globals *g = &f->globals;
	int64_t seconds, ns;
	if (f->client)
		return 0;
	if (span_to_i64(g->request_timeout, &seconds) && seconds >= 0 && seconds < TABLE_CALL_MS / 1000)
		f->timeout_ms = seconds * 1000;
	else if (g->request_timeout.len && api_duration_parse(g->request_timeout, &ns, NULL) < 0)
		return err_set(err, ERR_USAGE,
			"Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a "
			       "corresponding time unit (e.g. 1s | 2m | 3h)");
	else if (g->request_timeout.len)
		f->timeout_ms = ns / 1000000;
	const struct client_source src = { .kubeconfig = text_or_null(f, g->kubeconfig), .context = text_or_null(f, g->context),
					   .cluster = text_or_null(f, g->cluster), .user = text_or_null(f, g->user),
					   .server = text_or_null(f, g->server), .ns = text_or_null(f, g->ns) };
	int rc = client_config_load(&src, &f->config, err);
	if (rc == -ERR_NOT_FOUND && g->context.len && span_starts(span_of(err_msg(err)), SPAN("context "))) {
		f->said.misconfigured = true;
		return err_set(err, ERR_NOT_FOUND, "context was not found for specified context: %.*s", SPAN_ARG(g->context));
	}
	if (rc < 0)
		return rc;
	if (g->token.len) {
		f->config.token = g->token;
		f->config.token_file = SPAN_EMPTY;
	}
	const struct { struct span path; struct span *out; const char *what; } files[] = {
		{ g->authority, &f->config.ca_pem, "certificate-authority" }, { g->certificate, &f->config.cert_pem, "client-cert" },
		{ g->key, &f->config.key_pem, "client-key" },
	};
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		auto_buf struct buf text = {};
		if (!files[i].path.len)
			continue;
		rc = io_read_file(AT_FDCWD, arena_cstr(&f->arena, files[i].path), &text, 1 << 20, err);
		if (rc < 0)
			return err_note(err, "unable to read %s %.*s", files[i].what, SPAN_ARG(files[i].path));
		*files[i].out = arena_span(&f->arena, buf_span(&text));
	}
	if (g->tls_name.len)
		f->config.tls_server_name = g->tls_name;
	if (g->insecure)
		f->config.insecure = true;
	if (g->as.len) {
		f->config.as_user = g->as;
		f->config.as_groups = g->as_groups.items;
		f->config.n_as_groups = g->as_groups.n;
	}
	rc = loop_new(NULL, &f->loop, err);
	if (rc < 0)
		return rc;
	rc = client_new(&(struct client_params){ .loop = f->loop, .config = &f->config, .user_agent = "kubectl/v1.33.0 (knarr)",
						 .warned = on_warning, .warned_arg = f }, &f->client, err);
	if (rc < 0)
		return rc;
	f->ns = g->ns.len ? g->ns : client_namespace(f->client);
	return 0;
}

int front_discover(struct front *f, struct err *err)
{
	static const char *const paths[] = { "/api", "/apis" };
	int rc = front_connect(f, err);
	if (rc < 0 || f->discovered)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct json list;
		rc = front_ask(f, &(struct front_request){ .path = span_of(paths[i]), .accept = DISCOVERY }, &list, err);
		if (rc == 0)
			rc = front_discovery_add(&f->discovery, &f->arena, &list, err);
		if (rc < 0)
			return rc;
	}
	f->discovered = true;
	return 0;
}

void front_done(struct front *f)
{
	client_free(f->client);
	if (f->loop)
		loop_run(f->loop); /* closings */
	loop_free(f->loop);
	client_config_done(&f->config);
	front_discovery_done(&f->discovery);
	buf_done(&f->out);
	arena_done(&f->arena);
}

int front_flush(struct front *f, struct err *err)
{
	int rc = io_write_all(STDOUT_FILENO, f->out.ptr, f->out.len, err);
	buf_trunc(&f->out, 0);
	return rc < 0 ? err_note(err, "standard output") : 0;
}

/* ---- one answer */

struct asking {
	struct front *f;
	const char *what;
	struct json *out;
	struct buf *text;
	struct err *err;
	int rc;
	bool over;
};

static void on_answer(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct asking *q = arg;
	q->over = true;
	if (why) {
		/* A path that the server does not have is answered with a text: client-go's words for it. */
		if (status == 404 && span_starts(span_of(err_msg(why)), SPAN("the server answered 404")))
			q->rc = err_set(q->err, why->class, "the server could not find the requested resource%s%s%s", q->what ? " (" : "",
					q->what ? q->what : "", q->what ? ")" : "");
		else
			q->rc = err_set(q->err, why->class, "%s", err_msg(why));
		for (unsigned i = 0; q->err && i < why->n_causes; i++)
			err_cause_add(q->err, span_of(why->causes[i].field), why->causes[i].reason, span_of(why->causes[i].message));
		q->f->said.answered = status >= 300;
		q->f->said.reason = span_of(err_kube_reason((int)why->class));
		return;
	}
	q->f->said.answered = false;
	if (q->text)
		buf_span_add(q->text, body);
	if (!q->out)
		return;
	*q->out = JSON_NULL_VALUE;
	if (body.len)
		q->rc = json_parse(&q->f->arena, body, JSON_DUPLICATES_LAST, &(struct json_limits){ .bytes = 512u << 20 }, q->out, q->err);
}

static int ask(struct front *f, const struct front_request *r, struct json *out, struct buf *text, struct err *err)
{
	struct asking q = { .f = f, .what = r->what, .out = out, .text = text, .err = err };
	int64_t ms = f->timeout_ms;
	const struct client_request p = { .method = r->method ? r->method : "GET", .path = r->path, .body = r->body,
					  .content_type = r->content_type, .accept = r->accept,
					  .timeout_ms = ms > 0 && ms < TABLE_CALL_MS ? (unsigned)ms : TABLE_CALL_MS,
					  .done = on_answer, .arg = &q };
	(void)client_send(f->client, &p); /* its end is told in on_answer */
	while (!q.over)
		(void)loop_turn(f->loop, true);
	return q.rc;
}

int front_ask(struct front *f, const struct front_request *r, struct json *out, struct err *err)
{
	return ask(f, r, out, NULL, err);
}

int front_ask_text(struct front *f, const struct front_request *r, struct buf *out, struct err *err)
{
	return ask(f, r, NULL, out, err);
}

/* ---- a long answer */

struct listening {
	struct front *f;
	struct client_stream *stream; /* NULL: it ended by itself */
	bool (*data)(struct front *f, struct span data, void *arg);
	void *arg;
	struct err *err;
	int rc;
	bool begun, enough, late;
	struct loop_timer timer;
};

static void on_begin(struct http_call *c, void *arg)
{
	((struct listening *)arg)->begun = true;
}

static void on_piece(struct http_call *c, struct span data, void *arg)
{
	struct listening *l = arg;
	if (!l->enough && !l->data(l->f, data, l->arg))
		l->enough = true;
}

static void on_end(const struct err *why, void *arg)
{
	struct listening *l = arg;
	l->stream = NULL;
	if (!why || l->enough)
		return;
	l->rc = err_set(l->err, why->class, "%s", err_msg(why));
	/* Before its first byte what is no failure of the transport is the server's answer. */
	l->f->said.answered = !l->begun && why->class != ERR_UNAVAILABLE && why->class != ERR_TIMEOUT && why->class != ERR_UPSTREAM;
	l->f->said.reason = span_of(err_kube_reason((int)why->class));
}

static void on_late(struct loop_timer *t)
{
	container_of(t, struct listening, timer)->late = true;
}

int front_stream(struct front *f, struct span path, const char *accept, bool (*data)(struct front *f, struct span data, void *arg),
		 void *arg, int64_t until_ms, struct err *err)
{
	struct listening l = { .f = f, .data = data, .arg = arg, .err = err };
	f->said.answered = false;
	loop_timer_init(&l.timer, f->loop, "kubectl timeout", on_late);
	if (until_ms > 0)
		loop_timer_start(&l.timer, until_ms);
	l.stream = client_stream_open(f->client, &(struct client_stream_params){ .path = path, .accept = accept, .begin = on_begin,
			.data = on_piece, .done = on_end, .arg = &l });
	while (l.stream && !l.enough && !l.late)
		(void)loop_turn(f->loop, true);
	if (l.stream)
		client_stream_close(l.stream);
	loop_timer_stop(&l.timer);
	if (l.late && l.rc == 0 && !l.enough)
		return err_set(err, ERR_TIMEOUT, "timed out waiting for the condition");
	return l.rc;
}

/* ---- complaints */

/* kubectl's checkErr for Invalid: 'The Pod "x" is invalid: spec.a: Required value', several causes as a list. The server's
 * message begins 'Pod "x" is invalid' or 'Deployment.apps "x" is invalid', which is where kind and name are taken from. */
static void complain_invalid(struct buf *out, const struct err *err)
{
	struct span msg = span_of(err_msg(err)), kind, name, rest;
	ptrdiff_t at = span_find(msg, SPAN("\" is invalid"));
	bool known = at > 0 && span_split(span_sub(msg, 0, (size_t)at), '"', &kind, &name);
	if (known) {
		kind = span_trim(kind);
		(void)span_split(kind, '.', &kind, &rest);
		buf_printf(out, "The %.*s \"%.*s\" is invalid", SPAN_ARG(kind), SPAN_ARG(name));
	} else {
		buf_str(out, "The request is invalid");
		if (!err->n_causes)
			buf_printf(out, ": %s", err_msg(err));
	}
	if (err->n_causes)
		buf_str(out, ": ");
	for (unsigned i = 0; i < err->n_causes; i++) {
		const struct err_cause *c = &err->causes[i];
		const char *field = c->field ? c->field : "", *message = c->message ? c->message : "";
		buf_printf(out, "%s%s%s%s", err->n_causes > 1 ? "\n* " : "", field, *field ? ": " : "", message);
	}
	buf_chr(out, '\n');
}

static void complain_unreachable(struct front *f, struct buf *out, const struct err *err)
{
	struct span server = f->config.server, rest;
	if (!span_has(span_of(err_msg(err)), SPAN("refused"))) {
		buf_printf(out, "Unable to connect to the server: %s\n", err_msg(err));
		return;
	}
	ptrdiff_t at = span_find(server, SPAN("://"));
	if (at >= 0)
		server = span_from(server, (size_t)at + 3);
	(void)span_split(server, '/', &server, &rest);
	buf_printf(out, "The connection to the server %.*s was refused - did you specify the right host or port?\n", SPAN_ARG(server));
}

int front_complain(struct front *f, struct err *err, const char *note)
{
	auto_buf struct buf out = {};
	int class = (int)err->class;
	const char *gap = note ? ": " : "";
	if (!note)
		note = "";
	if (!f->said.answered && (class == ERR_UNAVAILABLE || class == ERR_UPSTREAM) && f->client)
		complain_unreachable(f, &out, err);
	else if (f->said.misconfigured)
		buf_printf(&out, "Error in configuration: %s\n", err_msg(err));
	else if (!f->said.answered)
		buf_printf(&out, "%s%s%s%s\n", f->said.bare ? "" : "error: ", note, gap, err_msg(err));
	else if (class == ERR_INVALID) /* whatever was done: kubectl forgets its note here */
		complain_invalid(&out, err);
	else if (class == ERR_UNAUTHORIZED)
		buf_printf(&out, "error: You must be logged in to the server (%s%s%s)\n", note, gap, err_msg(err));
	else if (f->said.reason.len)
		buf_printf(&out, "Error from server (%.*s): %s%s%s\n", SPAN_ARG(f->said.reason), note, gap, err_msg(err));
	else
		buf_printf(&out, "Error from server: %s%s%s\n", note, gap, err_msg(err));
	f->said.answered = f->said.bare = false;
	f->complaints++;
	/* Answers come out before the complaint that followed them. A failure to write either has nowhere to be told. */
	(void)front_flush(f, NULL);
	(void)io_write_all(STDERR_FILENO, out.ptr, out.len, NULL);
	err_done(err);
	return -class;
}
