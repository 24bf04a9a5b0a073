/* What stands in for a kubelet in tests of the API server: the streaming half of its HTTPS API, with answers that a test can
 * foresee. It runs nothing.
 *
 *     kubelet ADDRESS PORT CERT KEY [CLIENT-CA]     prints "port N" once it listens; PORT 0: any
 *
 *     /containerLogs/NS/POD/C    "NS/POD/C" and the query, a line; with follow=true then "line 1", "line 2" ... every 20 ms.
 *                                C bad, missing, broken: 400, 404, 500 with a text
 *     /exec, /attach             SPDY/3.1 or WebSocket v5, v4: "ran WORD WORD" on stdout, then stdin back; the word `fail` ends
 *                                with exit code 7
 *     /portForward               SPDY/3.1: "port N: " and what comes in
 *     everything else            method, target, peer and headers as lines, then the body; /redirect leads to /elsewhere */
#include "http/http_link.h"

#include <fcntl.h>
#include <signal.h>

static struct tls_slot slot;

/* ---- answers */

struct following {
	struct http_req *req;
	struct loop_timer timer;
	unsigned n;
};

static void follow_tick(struct loop_timer *t)
{
	struct following *f = container_of(t, struct following, timer);
	auto_buf struct buf line = {};
	buf_printf(&line, "line %u\n", ++f->n);
	http_reply_add(f->req, http_copy(buf_span(&line)));
	loop_timer_start(t, 20);
}

static void follow_done(struct http_req *r, bool complete, void *arg)
{
	struct following *f = arg;
	loop_timer_stop(&f->timer);
	free(f);
}

static void follow_hangup(struct http_req *r, void *arg)
{
	http_reply_abort(r);
}

/* Answered in plain words, as a kubelet does? By the container's name, which the path ends with. */
static bool refused(struct http_req *r, struct span where)
{
	static const struct {
		const char *container;
		int status;
	} rows[] = { { "/bad", 400 }, { "/missing", 404 }, { "/broken", 500 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (span_ends(where, span_of(rows[i].container))) {
			http_reply_text(r, rows[i].status, "text/plain", SPAN("what the kubelet says"));
			return true;
		}
	}
	return false;
}

static void serve_log(struct http_req *r, struct span where, struct span query)
{
	static const struct http_req_ops ops = { .hangup = follow_hangup, .done = follow_done };
	if (refused(r, where))
		return;
	auto_buf struct buf text = {};
	buf_printf(&text, "%.*s?%.*s\n", SPAN_ARG(where), SPAN_ARG(query));
	if (!span_has(query, SPAN("follow=true"))) {
		http_reply_text(r, 200, "text/plain", buf_span(&text));
		return;
	}
	struct following *f = mem_new(struct following);
	f->req = r;
	loop_timer_init(&f->timer, http_req_loop(r), "follow", follow_tick);
	http_req_ops_set(r, &ops, f);
	http_reply_header(r, "content-type", SPAN("text/plain"));
	http_reply_begin(r);
	http_reply_add(r, http_copy(buf_span(&text)));
	loop_timer_start(&f->timer, 20);
}

static void echo_body(struct http_req *r, int rc, struct span body, void *arg)
{
	const struct http_peer *peer = http_req_peer(r);
	const struct http_fields *h = http_req_headers(r);
	auto_buf struct buf text = {};
	buf_printf(&text, "%.*s %.*s\n", SPAN_ARG(http_req_method(r)), SPAN_ARG(http_req_target(r)));
	buf_printf(&text, "certificate: %s\n", peer->cert && peer->cert->verified ? "good" : "none");
	for (unsigned i = 0; i < h->n; i++)
		buf_printf(&text, "%.*s: %.*s\n", SPAN_ARG(h->items[i].name), SPAN_ARG(h->items[i].value));
	buf_printf(&text, "\n%.*s", SPAN_ARG(body));
	if (span_starts(http_req_path(r), SPAN("/redirect"))) {
		http_reply_header(r, "location", SPAN("/elsewhere"));
		http_reply_header(r, "access-control-allow-origin", SPAN("*"));
		http_reply_text(r, 302, "text/plain", buf_span(&text));
		return;
	}
	http_reply_text(r, 200, "text/plain", buf_span(&text));
}

/* ---- exec and attach */

struct session {
	struct http_link *link;
	bool ws, started, failing;
	unsigned wanted, opened;			/* streams */
	struct http_spdy_stream *error, *out, *in, *err; /* NULL: not there */
	struct buf banner;
	/* WebSocket: status and Close come one after the other, each in a packet of its own as a kubelet's do; python3-websocket
	 * waits for the socket although frames lie in its TLS layer. */
	struct loop_timer ending;
	unsigned step;
};

static void emit(struct session *s, unsigned channel, struct span data)
{
	if (s->ws) {
		auto_buf struct buf frame = {};
		buf_chr(&frame, (char)channel);
		buf_span_add(&frame, data);
		http_ws_send(http_link_ws(s->link), HTTP_WS_BINARY, buf_span(&frame), true);
		return;
	}
	struct http_spdy_stream *st = channel == 1 ? s->out : s->error;
	if (st)
		http_spdy_write(st, data, false);
}

static void ending_tick(struct loop_timer *t);

static void finish(struct session *s)
{
	if (s->ws && !s->step) {
		s->step = 1;
		loop_timer_start(&s->ending, 30);
		return;
	}
	static const struct span good = SPAN_INIT("{\"metadata\":{},\"status\":\"Success\"}");
	static const struct span bad =
		SPAN_INIT("{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code\","
			  "\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"7\"}]}}");
	if (s->step < 2)
		emit(s, 3, s->failing ? bad : good);
	if (s->ws && s->step == 1) {
		s->step = 2;
		loop_timer_start(&s->ending, 30);
	} else if (s->ws) {
		http_ws_close(http_link_ws(s->link), HTTP_WS_NORMAL, SPAN(""));
	} else {
		struct http_spdy_stream *all[] = { s->out, s->err, s->error };
		for (size_t i = 0; i < ARRAY_LEN(all); i++)
			if (all[i])
				http_spdy_write(all[i], SPAN(""), true);
	}
	http_link_flush(s->link);
}

static void ending_tick(struct loop_timer *t)
{
	finish(container_of(t, struct session, ending));
}

static void start(struct session *s)
{
	s->started = true;
	emit(s, 1, buf_span(&s->banner));
	if (!s->in && !s->ws)
		finish(s);
	http_link_flush(s->link);
}

static void session_gone(struct http_link *k, const struct err *why, void *arg)
{
	struct session *s = arg;
	loop_timer_stop(&s->ending);
	buf_done(&s->banner);
	free(s);
}

static void spdy_open(struct http_spdy_stream *st, const struct http_spdy_field *fields, unsigned n, void *arg)
{
	struct session *s = arg;
	struct span type = SPAN_EMPTY;
	for (unsigned i = 0; i < n; i++)
		if (span_is(fields[i].name, "streamtype"))
			type = fields[i].value;
	if (span_is(type, "error"))
		s->error = st;
	else if (span_is(type, "stdout"))
		s->out = st;
	else if (span_is(type, "stderr"))
		s->err = st;
	else if (span_is(type, "stdin"))
		s->in = st;
	http_spdy_reply(st, NULL, 0, false);
	if (++s->opened == s->wanted)
		start(s);
}

static void spdy_data(struct http_spdy_stream *st, struct span data, void *arg)
{
	struct session *s = arg;
	http_spdy_consumed(st, data.len);
	if (st == s->in)
		emit(s, 1, data);
	http_link_flush(s->link);
}

static void spdy_end(struct http_spdy_stream *st, void *arg)
{
	struct session *s = arg;
	if (st == s->in)
		finish(s);
}

static void spdy_closed(struct http_spdy_stream *st, unsigned status, void *arg)
{
	struct session *s = arg;
	struct http_spdy_stream **all[] = { &s->out, &s->err, &s->error, &s->in };
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (*all[i] == st)
			*all[i] = NULL;
}

static void ws_message(struct http_ws *ws, enum http_ws_kind kind, struct span data, void *arg)
{
	struct session *s = arg;
	if (!data.len)
		return;
	if (data.ptr[0] == 0)
		emit(s, 1, span_from(data, 1));
	else if ((uint8_t)data.ptr[0] == 255) /* v5: a channel is closed */
		finish(s);
	http_link_flush(s->link);
}

static bool asks(struct span query, const char *name)
{
	auto_buf struct buf v = {};
	return query_get(query, name, &v);
}

static void serve_exec(struct http_req *r, struct span query)
{
	static const struct http_spdy_ops spdy_ops = {
		.open = spdy_open, .data = spdy_data, .end = spdy_end, .closed = spdy_closed
	};
	static const struct http_ws_ops ws_ops = { .message = ws_message };
	static const struct http_link_ops link_ops = { .gone = session_gone };
	static const char *const protocols[] = { "v5.channel.k8s.io", "v4.channel.k8s.io", NULL };
	auto_err struct err err = ERR_INIT;
	struct session *s = mem_new(struct session);
	loop_timer_init(&s->ending, http_req_loop(r), "ending", ending_tick);
	struct span rest = query, one, key, value;
	bool has_in = asks(query, "input");
	buf_str(&s->banner, "ran");
	while (span_cut(&rest, '&', &one)) {
		span_split(one, '=', &key, &value);
		if (!span_is(key, "command"))
			continue;
		buf_chr(&s->banner, ' ');
		(void)percent_parse(&s->banner, value, true); /* shown as far as it can be read */
		s->failing = s->failing || span_is(value, "fail");
	}
	buf_chr(&s->banner, '\n');
	s->wanted = 1u + has_in + asks(query, "output") + asks(query, "error") + asks(query, "tty");
	s->ws = http_req_wants_upgrade(r, "websocket");
	int rc;
	if (s->ws) {
		const struct http_ws_params p = { .ops = &ws_ops, .arg = s };
		rc = http_ws_serve(r, protocols, &p, &link_ops, s, &s->link, &err);
	} else {
		const struct http_spdy_params p = { .ops = &spdy_ops, .arg = s };
		http_reply_header(r, "x-stream-protocol-version", SPAN("v4.channel.k8s.io"));
		rc = http_spdy_serve(r, &p, &link_ops, s, &s->link, &err);
	}
	if (rc < 0) {
		session_gone(NULL, NULL, s);
		http_reply_text(r, 400, "text/plain", span_of(err_msg(&err)));
		return;
	}
	if (s->ws) {
		start(s);
		if (!has_in)
			finish(s);
	}
}

/* ---- port forwarding: a pair of streams a connection, error and data */

static void forward_open(struct http_spdy_stream *st, const struct http_spdy_field *fields, unsigned n, void *arg)
{
	struct http_link **link = arg;
	struct span type = SPAN_EMPTY, port = SPAN_EMPTY;
	for (unsigned i = 0; i < n; i++) {
		if (span_is(fields[i].name, "streamtype"))
			type = fields[i].value;
		if (span_is(fields[i].name, "port"))
			port = fields[i].value;
	}
	http_spdy_reply(st, NULL, 0, false);
	http_spdy_stream_set(st, span_is(type, "data") ? st : NULL);
	if (span_is(type, "data")) {
		auto_buf struct buf text = {};
		buf_printf(&text, "port %.*s: ", SPAN_ARG(port));
		http_spdy_write(st, buf_span(&text), false);
	}
	http_link_flush(*link);
}

static void forward_data(struct http_spdy_stream *st, struct span data, void *arg)
{
	struct http_link **link = arg;
	http_spdy_consumed(st, data.len);
	http_spdy_write(st, data, false);
	http_link_flush(*link);
}

static void forward_end(struct http_spdy_stream *st, void *arg)
{
	struct http_link **link = arg;
	http_spdy_write(st, SPAN(""), true);
	http_link_flush(*link);
}

static void forward_gone(struct http_link *k, const struct err *why, void *arg)
{
	free(arg);
}

static void serve_forward(struct http_req *r)
{
	static const struct http_spdy_ops ops = { .open = forward_open, .data = forward_data, .end = forward_end };
	static const struct http_link_ops link_ops = { .gone = forward_gone };
	struct http_link **link = mem_new(struct http_link *);
	const struct http_spdy_params p = { .ops = &ops, .arg = link };
	auto_err struct err err = ERR_INIT;
	if (http_req_wants_upgrade(r, "SPDY/3.1"))
		http_reply_header(r, "x-stream-protocol-version", SPAN("portforward.k8s.io"));
	if (http_spdy_serve(r, &p, &link_ops, link, link, &err) < 0) {
		free(link);
		http_reply_text(r, 400, "text/plain", span_of(err_msg(&err)));
	}
}

/* ---- */

static void handle(struct http_req *r, void *arg)
{
	struct span path = http_req_path(r), query = http_req_query(r);
	bool session = span_starts(path, SPAN("/exec/")) || span_starts(path, SPAN("/attach/"));
	if (session && refused(r, path))
		return;
	if (span_starts(path, SPAN("/containerLogs/")))
		serve_log(r, span_from(path, 15), query);
	else if (session)
		serve_exec(r, query);
	else if (span_starts(path, SPAN("/portForward/")))
		serve_forward(r);
	else
		http_req_body_whole(r, 8 << 20, echo_body, NULL);
}

int main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf cert = {}, key = {}, ca = {};
	struct loop *loop;
	struct http_server *server;
	struct tls_ctx *ctx;
	if (argc < 5) {
		(void)fprintf(stderr, "usage: kubelet ADDRESS PORT CERT KEY [CLIENT-CA]\n");
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	int rc = io_read_file(AT_FDCWD, argv[3], &cert, 1 << 20, &err);
	if (rc == 0)
		rc = io_read_file(AT_FDCWD, argv[4], &key, 1 << 20, &err);
	if (rc == 0 && argc > 5)
		rc = io_read_file(AT_FDCWD, argv[5], &ca, 1 << 20, &err);
	const struct tls_pair pair = { .cert_pem = buf_span(&cert), .key_pem = buf_span(&key) };
	const struct tls_server_params tp = { .pairs = &pair,
					      .n_pairs = 1,
					      .client_ca_pem = buf_span(&ca),
					      .client_auth = ca.len ? TLS_CLIENT_ASK : TLS_CLIENT_NONE,
					      .alpn = TLS_ALPN_HTTP };
	if (rc == 0)
		rc = tls_server_new(&tp, &ctx, &err);
	if (rc == 0)
		rc = loop_new(NULL, &loop, &err);
	if (rc == 0) {
		tls_slot_init(&slot);
		tls_slot_put(&slot, ctx);
		const struct http_server_params p = { .loop = loop, .name = "kubelet", .handle = handle, .tls = &slot };
		rc = http_server_new(&p, &server, &err);
	}
	int64_t port = 0;
	int fd = -1;
	if (rc == 0 && span_to_i64(span_of(argv[2]), &port))
		fd = http_listen_tcp(argv[1], (unsigned)port, 0, &err);
	port = fd < 0 ? 0 : http_fd_port(fd);
	if (rc == 0)
		rc = http_server_listen(server, fd, HTTP_TLS, &err);
	if (rc < 0) {
		(void)fprintf(stderr, "kubelet: %s\n", err_msg(&err));
		return 1;
	}
	printf("port %lld\n", (long long)port);
	(void)fflush(stdout);
	loop_run(loop); /* until somebody ends the process */
	return 0;
}
