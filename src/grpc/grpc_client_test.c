/* Tests of the gRPC client: the same conversations with our own server, with Python's grpcio as server, and raw messages
 * with Debian's etcd. Peers that misbehave are made with the HTTP server below. */
#include "grpc/grpc_test.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

struct world {
	struct loop *loop;
	struct http_client *client;
	struct http_origin origin;
	/* of our own server */
	struct grpc_server *grpc;
	struct http_server *http;
	struct grpc_test_log log;
	char dir[32], path[64], target[80];
	unsigned stops; /* calls that ended, and steps that stopped the loop */
};

static void world_stop(struct world *w)
{
	w->stops++;
	loop_stop(w->loop);
}

static void stopped(struct http_server *s, void *arg)
{
	loop_stop(arg);
}

static void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	memcpy(w->dir, "/tmp/grpc-test-XXXXXX", 22);
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof(w->path), "%s/s", w->dir);
	snprintf(w->target, sizeof(w->target), "unix:%s", w->path);
	assert_int_equal(loop_new(NULL, &w->loop, NULL), 0);
	struct http_client_params cp = { .loop = w->loop, .name = "grpc test client" };
	assert_int_equal(http_client_new(&cp, &w->client, NULL), 0);
	w->origin = (struct http_origin){ .host = "localhost", .unix_path = w->path, .http2 = true };
	w->log.loop = w->loop;
}

static void world_serve(struct world *w, void (*handle)(struct http_req *r, void *arg), void *arg)
{
	auto_err struct err err = ERR_INIT;
	struct http_server_params hp = { .loop = w->loop, .name = "grpc test server", .handle = handle, .arg = arg };
	grpc_limits(&hp.limits);
	assert_int_equal(http_server_new(&hp, &w->http, NULL), 0);
	if (http_server_listen(w->http, http_listen_unix(w->path, 0600, &err), 0, &err) < 0)
		fail_msg("%s", err_msg(&err));
}

static void world_serve_grpc(struct world *w)
{
	struct grpc_server_params gp = { .loop = w->loop, .methods = grpc_test_methods, .n = grpc_test_n_methods,
					 .arg = &w->log };
	w->grpc = grpc_server_new(&gp);
	world_serve(w, grpc_server_handle, w->grpc);
}

static void world_done(struct world *w)
{
	http_client_free(w->client);
	if (w->http) {
		http_server_stop(w->http, 1000, stopped, w->loop);
		loop_run(w->loop);
		http_server_free(w->http);
	}
	grpc_server_free(w->grpc);
	while (loop_turn(w->loop, false))
		;
	loop_free(w->loop);
	buf_done(&w->log.text);
	unlink(w->path);
	rmdir(w->dir);
}

/* ---- a call that is waited for */

struct result {
	struct world *w;
	struct grpc_call *call;
	bool done;
	enum grpc_status status;
	struct buf message, log; /* log: each message of a stream as "[...]" or its length */
	struct buf x_key, trailer;
	unsigned n, headers, drains;
	void (*step)(struct result *r, struct span message); /* at each message */
};

static void result_done(struct result *r)
{
	buf_done(&r->message);
	buf_done(&r->log);
	buf_done(&r->x_key);
	buf_done(&r->trailer);
}

static void on_header(struct grpc_call *c, void *arg)
{
	struct result *r = arg;
	r->headers++;
	buf_span_add(&r->x_key, grpc_call_metadata(c, "x-data-bin"));
}

static void on_message(struct grpc_call *c, struct span message, void *arg)
{
	struct result *r = arg;
	r->n++;
	if (message.len < 50)
		buf_printf(&r->log, "[%.*s]", SPAN_ARG(message));
	else
		buf_printf(&r->log, "[%zu]", message.len);
	if (r->step)
		r->step(r, message);
}

static void on_drain(struct grpc_call *c, void *arg)
{
	((struct result *)arg)->drains++;
}

static void on_done(struct grpc_call *c, enum grpc_status status, struct span message, void *arg)
{
	struct result *r = arg;
	assert_false(r->done);
	r->done = true;
	r->status = status;
	buf_span_add(&r->message, message);
	buf_span_add(&r->trailer, grpc_call_trailer(c, status ? "why-bin" : "x-after"));
	world_stop(r->w);
}

static const struct grpc_call_ops ops = { .header = on_header, .message = on_message, .drain = on_drain, .done = on_done };

static void begin(struct result *r, struct world *w, const char *method, unsigned timeout_ms)
{
	static const struct http_field metadata[] = { { SPAN_INIT("x-key"), SPAN_INIT("value") },
						      { SPAN_INIT("x-data-bin"), SPAN_INIT("\0\xff\x10") } };
	*r = (struct result){ .w = w };
	struct grpc_call_params p = { .loop = w->loop, .client = w->client, .origin = &w->origin, .method = method,
				      .metadata = metadata, .n_metadata = 2, .timeout_ms = timeout_ms, .ops = &ops, .arg = r };
	auto_err struct err err = ERR_INIT;
	if (grpc_call_begin(&p, &r->call, &err) < 0)
		fail_msg("%s", err_msg(&err));
}

/* Until this call is done. Another call that ends stops the loop as well: a watch that is cancelled by the event of a
 * write may be over before the write is answered. A call that is open keeps the loop going by itself. */
static void wait_done(struct result *r)
{
	while (!r->done) {
		unsigned before = r->w->stops;
		loop_run(r->w->loop);
		assert_int_not_equal(r->w->stops, before);
	}
}

static void finish(struct result *r, enum grpc_status status, const char *message)
{
	wait_done(r);
	if (r->status != status || (message && !span_is(buf_span(&r->message), message)))
		fail_msg("got %s \"%s\", want %s \"%s\"", grpc_status_name(r->status), buf_cstr(&r->message),
			 grpc_status_name(status), message ? message : "(any)");
}

/* One message, one answer, by begin, send and end. */
static void ask(struct world *w, const char *method, struct span message, enum grpc_status status, const char *words,
		const char *log)
{
	struct result r;
	begin(&r, w, method, 20000);
	grpc_call_send(r.call, message);
	grpc_call_end(r.call);
	finish(&r, status, words);
	if (log && strcmp(buf_cstr(&r.log), log) != 0)
		fail_msg("%s: messages %s, want %s", method, buf_cstr(&r.log), log);
	result_done(&r);
}

static void unary_fn(enum grpc_status status, struct span message, struct span reply, void *arg)
{
	struct result *r = arg;
	r->done = true;
	r->status = status;
	buf_span_add(&r->message, message);
	buf_span_add(&r->log, reply);
	world_stop(r->w);
}

static void ask_unary(struct world *w, const char *method, struct span message, struct result *r)
{
	*r = (struct result){ .w = w };
	struct grpc_call_params p = { .loop = w->loop, .client = w->client, .origin = &w->origin, .method = method,
				      .timeout_ms = 20000 };
	assert_int_equal(grpc_unary(&p, message, unary_fn, r, NULL), 0);
	wait_done(r);
}

static void chat_step(struct result *r, struct span message)
{
	if (r->n == 3)
		grpc_call_end(r->call);
	else
		grpc_call_send(r->call, SPAN("next"));
}

static void cancel_step(struct result *r, struct span message)
{
	grpc_call_cancel(r->call);
	grpc_call_send(r->call, SPAN("dropped"));
	grpc_call_end(r->call);
}

static struct {
	struct loop_timer timer;
	struct grpc_call *call;
} pausing;

static void resume_later(struct loop_timer *t)
{
	grpc_call_resume(pausing.call);
}

static void pause_step(struct result *r, struct span message)
{
	grpc_call_pause(r->call);
	pausing.call = r->call;
	loop_timer_start(&pausing.timer, 1);
}

/* What both servers of the test service must do alike. */
static void conversations(struct world *w)
{
	struct result r;
	begin(&r, w, "/test.Echo/Unary", 20000);
	grpc_call_send(r.call, SPAN("hello"));
	grpc_call_end(r.call);
	finish(&r, GRPC_OK, "");
	assert_string_equal(buf_cstr(&r.log), "[hello]");
	assert_int_equal(r.headers, 1);
	assert_true(span_eq(buf_span(&r.x_key), SPAN("\0\xff\x10")));
	assert_string_equal(buf_cstr(&r.trailer), "done");
	result_done(&r);

	ask(w, "/test.Echo/Unary", SPAN(""), GRPC_OK, "", "[]");
	auto_free char *data = mem_zalloc(6 << 20);
	ask(w, "/test.Echo/Unary", span_make(data, 1000000), GRPC_OK, "", "[1000000]");
	begin(&r, w, "/test.Echo/Unary", 20000);
	grpc_call_send(r.call, SPAN("fail"));
	grpc_call_end(r.call);
	finish(&r, GRPC_NOT_FOUND, "no such thing: \"\xc3\xa9\" 100%");
	assert_true(span_eq(buf_span(&r.trailer), span_make("\0\xff", 2)));
	result_done(&r);
	ask(w, "/test.Echo/Nothing", SPAN(""), GRPC_UNIMPLEMENTED, NULL, "");
	ask(w, "/test.Echo/Large", SPAN(""), GRPC_RESOURCE_EXHAUSTED,
	    "grpc: received message larger than max (6291456 vs. 4194304)", "");

	ask_unary(w, "/test.Echo/Unary", SPAN("one"), &r);
	assert_int_equal(r.status, GRPC_OK);
	assert_string_equal(buf_cstr(&r.log), "one");
	result_done(&r);
	ask_unary(w, "/test.Echo/Count", SPAN("xx"), &r);
	assert_int_equal(r.status, GRPC_INTERNAL);
	assert_string_equal(buf_cstr(&r.message), "grpc: more than one message for a unary call");
	result_done(&r);
	ask_unary(w, "/test.Echo/Count", SPAN(""), &r);
	assert_int_equal(r.status, GRPC_INTERNAL);
	result_done(&r);

	ask(w, "/test.Echo/Count", SPAN("12345"), GRPC_OK, NULL, "[1000][1000][1000][1000][1000]");
	begin(&r, w, "/test.Echo/Count", 20000);
	loop_timer_init(&pausing.timer, w->loop, "resume", resume_later);
	r.step = pause_step;
	grpc_call_send(r.call, SPAN("123456789"));
	grpc_call_end(r.call);
	finish(&r, GRPC_OK, NULL);
	assert_int_equal(r.n, 9);
	loop_timer_stop(&pausing.timer);
	result_done(&r);

	begin(&r, w, "/test.Echo/Sum", 20000);
	for (int i = 0; i < 500; i++)
		grpc_call_send(r.call, span_make(data, (size_t)i));
	grpc_call_end(r.call);
	finish(&r, GRPC_OK, NULL);
	assert_string_equal(buf_cstr(&r.log), "[500 messages, 124750 bytes]");
	result_done(&r);

	begin(&r, w, "/test.Echo/Chat", 20000);
	r.step = chat_step;
	grpc_call_send(r.call, SPAN("first"));
	finish(&r, GRPC_OK, NULL);
	assert_string_equal(buf_cstr(&r.log), "[first][next][next]");
	result_done(&r);

	/* Cancelled inside a callback; by the deadline; before anything came. */
	begin(&r, w, "/test.Echo/Chat", 20000);
	r.step = cancel_step;
	grpc_call_send(r.call, SPAN("first"));
	finish(&r, GRPC_CANCELLED, "context canceled");
	assert_int_equal(r.n, 1);
	result_done(&r);
	begin(&r, w, "/test.Echo/Never", 150);
	grpc_call_send(r.call, SPAN(""));
	grpc_call_end(r.call);
	finish(&r, GRPC_DEADLINE_EXCEEDED, NULL);
	result_done(&r);
	begin(&r, w, "/test.Echo/Never", 0);
	grpc_call_cancel(r.call);
	finish(&r, GRPC_CANCELLED, "context canceled");
	result_done(&r);

	/* Many at once. */
	struct result many[100];
	for (int i = 0; i < 100; i++) {
		begin(&many[i], w, "/test.Echo/Unary", 20000);
		grpc_call_send(many[i].call, SPAN("x"));
		grpc_call_end(many[i].call);
	}
	for (int i = 0; i < 100; i++) {
		while (!many[i].done)
			loop_run(w->loop);
		assert_int_equal(many[i].status, GRPC_OK);
		assert_string_equal(buf_cstr(&many[i].log), "[x]");
		result_done(&many[i]);
	}
}

static void own_server(void **state)
{
	struct world w;
	world_init(&w);
	world_serve_grpc(&w);
	conversations(&w);
	ask(&w, "/test.Echo/Unary", SPAN("error"), GRPC_ABORTED, "the object has been modified", "");
	ask(&w, "/test.Echo/Unary", SPAN("blank"), GRPC_NOT_FOUND, " between blanks ", "");
	ask(&w, "/other.Service/X", SPAN(""), GRPC_UNIMPLEMENTED, "unknown service other.Service", "");
	ask(&w, "/nothing", SPAN(""), GRPC_UNIMPLEMENTED, "malformed method name: \"/nothing\"", "");
	/* Unary methods want exactly one message. */
	struct result r;
	begin(&r, &w, "/test.Echo/Unary", 20000);
	grpc_call_end(r.call);
	finish(&r, GRPC_INTERNAL, "grpc: a unary call without a message");
	result_done(&r);
	begin(&r, &w, "/test.Echo/Unary", 20000);
	grpc_call_send(r.call, SPAN("a"));
	grpc_call_send(r.call, SPAN("b"));
	grpc_call_end(r.call);
	finish(&r, GRPC_INTERNAL, "grpc: more than one message for a unary call");
	result_done(&r);
	auto_free char *data = mem_zalloc((4 << 20) + 1);
	ask(&w, "/test.Echo/Unary", span_make(data, (4 << 20) + 1), GRPC_RESOURCE_EXHAUSTED,
	    "grpc: received message larger than max (4194305 vs. 4194304)", "");
	world_done(&w);
}

/* ---- TLS over TCP, and a server that goes */

static void tls_setup(struct tls_slot *slot, struct tls_ctx **out_client)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf ca = {}, cert = {}, key_pem = {};
	auto_cleanup(auto_tls_key_) struct tls_key *ca_key = NULL, *key = NULL;
	int64_t now = clock_wall_ns(clock_real()) / NS_PER_S;
	const char *const names[] = { "localhost", NULL };
	struct tls_cert_params of_ca = { .kind = TLS_CERT_CA, .cn = "ca", .not_before_s = now - 60, .not_after_s = now + 3600 };
	struct tls_cert_params of_server = { .kind = TLS_CERT_SERVER, .cn = "server", .dns_names = names,
					     .not_before_s = now - 60, .not_after_s = now + 3600 };
	assert_int_equal(tls_key_new(TLS_ES256, &ca_key, &err), 0);
	assert_int_equal(tls_key_new(TLS_ES256, &key, &err), 0);
	assert_int_equal(tls_cert_make(&of_ca, ca_key, SPAN_EMPTY, NULL, &ca, &err), 0);
	assert_int_equal(tls_cert_make(&of_server, key, buf_span(&ca), ca_key, &cert, &err), 0);
	assert_int_equal(tls_key_private_pem(key, &key_pem, &err), 0);
	struct tls_pair pair = { buf_span(&cert), buf_span(&key_pem), NULL, NULL };
	struct tls_server_params sp = { .pairs = &pair, .n_pairs = 1, .alpn = TLS_ALPN_HTTP };
	struct tls_client_params cp = { .ca_pem = buf_span(&ca), .alpn = TLS_ALPN_HTTP };
	struct tls_ctx *server;
	assert_int_equal(tls_server_new(&sp, &server, &err), 0);
	assert_int_equal(tls_client_new(&cp, out_client, &err), 0);
	tls_slot_init(slot);
	tls_slot_put(slot, server);
}

static void over_tls(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct tls_slot slot;
	struct tls_ctx *trusting;
	struct world w;
	tls_setup(&slot, &trusting);
	world_init(&w);
	struct grpc_server_params gp = { .loop = w.loop, .methods = grpc_test_methods, .n = grpc_test_n_methods, .arg = &w.log };
	w.grpc = grpc_server_new(&gp);
	struct http_server_params hp = { .loop = w.loop, .name = "grpc tls server", .handle = grpc_server_handle, .arg = w.grpc,
					 .tls = &slot };
	grpc_limits(&hp.limits);
	assert_int_equal(http_server_new(&hp, &w.http, NULL), 0);
	int fd = http_listen_tcp("127.0.0.1", 0, 0, &err);
	unsigned port = http_fd_port(fd);
	if (http_server_listen(w.http, fd, HTTP_TLS, &err) < 0)
		fail_msg("%s", err_msg(&err));
	w.origin = (struct http_origin){ .host = "localhost", .port = port, .tls = true, .tls_ctx = trusting };
	conversations(&w);
	world_done(&w);
	tls_slot_done(&slot);
	tls_ctx_unref(trusting);
}

/* GOAWAY: what runs may finish, until the deadline of the stop cuts it. */
static void server_stops(void **state)
{
	struct world w;
	world_init(&w);
	world_serve_grpc(&w);
	struct result never, chat;
	begin(&never, &w, "/test.Echo/Never", 0);
	grpc_call_send(never.call, SPAN(""));
	grpc_call_end(never.call);
	begin(&chat, &w, "/test.Echo/Chat", 0);
	grpc_call_send(chat.call, SPAN("one"));
	while (chat.n == 0)
		loop_turn(w.loop, true);
	http_server_stop(w.http, 500, stopped, w.loop);
	loop_turn(w.loop, false);
	grpc_call_send(chat.call, SPAN("two"));
	grpc_call_end(chat.call);
	while (!chat.done)
		loop_turn(w.loop, true);
	assert_int_equal(chat.status, GRPC_OK);
	assert_string_equal(buf_cstr(&chat.log), "[one][two]");
	assert_false(never.done);
	while (!never.done)
		loop_turn(w.loop, true);
	assert_int_equal(never.status, GRPC_UNAVAILABLE);
	assert_true(span_has(buf_span(&w.log.text), SPAN("cancelled /test.Echo/Never\ndone /test.Echo/Never\n")));
	loop_run(w.loop); /* until `stopped`; the calls ended their waits before */
	http_server_free(w.http);
	w.http = NULL;
	result_done(&never);
	result_done(&chat);
	world_done(&w);
}

/* ---- servers that are none */

static void odd_handle(struct http_req *r, void *arg)
{
	struct span path = http_req_path(r);
	if (span_is(path, "/a.B/Text"))
		return http_reply_text(r, 200, "text/html", SPAN("<html>"));
	if (span_is(path, "/a.B/Reset"))
		return http_reply_abort(r);
	if (span_is(path, "/a.B/Busy"))
		return http_reply_text(r, 503, "text/plain", SPAN("busy"));
	http_reply_header(r, "content-type", SPAN("application/grpc"));
	if (span_is(path, "/a.B/Zip"))
		http_reply_header(r, "grpc-encoding", SPAN("gzip"));
	http_reply_begin(r);
	if (span_is(path, "/a.B/Cut"))
		http_reply_add(r, http_copy(SPAN("\0\0\0\0\5abc")));
	if (span_is(path, "/a.B/Flag"))
		http_reply_add(r, http_copy(SPAN("\1\0\0\0\3abc")));
	if (span_is(path, "/a.B/Number"))
		http_reply_trailer(r, "grpc-status", SPAN("many"));
	else if (!span_is(path, "/a.B/Silent"))
		http_reply_trailer(r, "grpc-status", SPAN("0"));
	http_reply_end(r);
}

static void odd_servers(void **state)
{
	static const struct {
		const char *method;
		enum grpc_status status;
		const char *words;
	} rows[] = {
		{ "/a.B/Text", GRPC_UNKNOWN, "transport: received unexpected content-type \"text/html\"" },
		{ "/a.B/Busy", GRPC_UNAVAILABLE, "unexpected HTTP status code received from server: 503 (Service Unavailable)" },
		{ "/a.B/Reset", GRPC_INTERNAL, "stream terminated by RST_STREAM with error code: INTERNAL_ERROR" },
		{ "/a.B/Zip", GRPC_UNIMPLEMENTED, "grpc: Decompressor is not installed for grpc-encoding \"gzip\"" },
		{ "/a.B/Cut", GRPC_INTERNAL, "grpc: the answer ends inside a message" },
		{ "/a.B/Flag", GRPC_UNIMPLEMENTED, "grpc: compressed messages are not supported" },
		{ "/a.B/Number", GRPC_INTERNAL, "grpc: malformed grpc-status \"many\"" },
		{ "/a.B/Silent", GRPC_INTERNAL, "server closed the stream without sending trailers" },
		{ "/a.B/Good", GRPC_OK, "" },
	};
	struct world w;
	world_init(&w);
	world_serve(&w, odd_handle, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		ask(&w, rows[i].method, SPAN("x"), rows[i].status, rows[i].words, NULL);
	world_done(&w);

	/* Nobody there. */
	world_init(&w);
	ask(&w, "/a.B/C", SPAN(""), GRPC_UNAVAILABLE, NULL, "");
	world_done(&w);
}

/* ---- other people's servers */

static void python_server(void **state)
{
	int status;
	pid_t pid = grpc_test_python("check", "");
	assert_true(pid >= 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		print_message("skipped: no python3-grpcio\n");
		skip();
	}
	struct world w;
	world_init(&w);
	pid = grpc_test_python("server", w.target);
	assert_true(pid >= 0);
	/* Until it listens, calls end as UNAVAILABLE. */
	for (int i = 0; i < 2400; i++) {
		struct result r;
		ask_unary(&w, "/test.Echo/Unary", SPAN("there?"), &r);
		status = (int)r.status;
		result_done(&r);
		if (status != GRPC_UNAVAILABLE)
			break;
		usleep(25000);
	}
	conversations(&w);
	/* gRPC's core sends blanks at the ends as they are; HTTP has them outside the value, and the status must come. */
	ask(&w, "/test.Echo/Unary", SPAN("blank"), GRPC_NOT_FOUND, "between blanks", "");
	ask(&w, "/test.Echo/Unary", SPAN("stop"), GRPC_OK, "", "[stop]");
	world_done(&w);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void etcd_step(struct result *r, struct span message)
{
	/* WatchResponse: created (3) first, then events (11) with the value of the put (KeyValue.value 5). */
	if (r->n == 1) {
		assert_true(span_has(message, SPAN("\x18\x01")));
		buf_trunc(&r->log, 0);
		world_stop(r->w);
		return;
	}
	assert_true(span_has(message, SPAN("\x2a\x02v2")));
	grpc_call_cancel(r->call);
}

static const char *etcd_program(void)
{
	static const char *const places[] = { "/usr/bin/etcd", "build/aside/usr/bin/etcd" };
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	return NULL;
}

static void etcd(void **state)
{
	const char *program = etcd_program();
	if (!program) {
		print_message("skipped: no etcd (tools/aside etcd-server)\n");
		skip();
	}
	struct world w;
	world_init(&w);
	/* Two ports that are free now. */
	int fds[2] = { http_listen_tcp("127.0.0.1", 0, 0, NULL), http_listen_tcp("127.0.0.1", 0, 0, NULL) };
	unsigned ports[2] = { http_fd_port(fds[0]), http_fd_port(fds[1]) };
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	char data[80], client_url[64], peer_url[64], cluster[80];
	snprintf(data, sizeof(data), "%s/data", w.dir);
	snprintf(client_url, sizeof(client_url), "http://127.0.0.1:%u", ports[0]);
	snprintf(peer_url, sizeof(peer_url), "http://127.0.0.1:%u", ports[1]);
	snprintf(cluster, sizeof(cluster), "default=%s", peer_url);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, 1);
		dup2(null, 2);
		execl(program, "etcd", "--data-dir", data, "--listen-client-urls", client_url, "--advertise-client-urls",
		      client_url, "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
		      "--initial-cluster", cluster, "--unsafe-no-fsync", (char *)NULL);
		_exit(127);
	}
	w.origin = (struct http_origin){ .host = "127.0.0.1", .port = ports[0], .http2 = true };
	struct result r;
	/* PutRequest: key (1) "k", value (2) "v1". Until it listens, calls end as UNAVAILABLE. */
	for (int i = 0; i < 1200; i++) {
		ask_unary(&w, "/etcdserverpb.KV/Put", SPAN("\x0a\x01k\x12\x02v1"), &r);
		if (r.status != GRPC_UNAVAILABLE)
			break;
		result_done(&r);
		usleep(50000);
	}
	if (r.status != GRPC_OK)
		fail_msg("put: %s \"%s\"", grpc_status_name(r.status), buf_cstr(&r.message));
	result_done(&r);

	/* WatchRequest: create_request (1) with key (1) "k". */
	struct result watch;
	begin(&watch, &w, "/etcdserverpb.Watch/Watch", 0);
	watch.step = etcd_step;
	grpc_call_send(watch.call, SPAN("\x0a\x03\x0a\x01k"));
	loop_run(w.loop);
	assert_int_equal(watch.n, 1);

	ask_unary(&w, "/etcdserverpb.KV/Range", SPAN("\x0a\x01k"), &r);
	assert_int_equal(r.status, GRPC_OK);
	assert_true(span_has(buf_span(&r.log), SPAN("\x2a\x02v1")));
	result_done(&r);
	ask_unary(&w, "/etcdserverpb.KV/Put", SPAN("\x0a\x01k\x12\x02v2"), &r);
	assert_int_equal(r.status, GRPC_OK);
	result_done(&r);
	finish(&watch, GRPC_CANCELLED, NULL);
	assert_int_equal(watch.n, 2);
	result_done(&watch);

	/* What etcd refuses: an empty key; a message that is none. */
	ask_unary(&w, "/etcdserverpb.KV/Put", SPAN(""), &r);
	assert_int_equal(r.status, GRPC_INVALID_ARGUMENT);
	assert_string_equal(buf_cstr(&r.message), "etcdserver: key is not provided");
	result_done(&r);
	ask_unary(&w, "/etcdserverpb.KV/Put", SPAN("\x0a\xff"), &r);
	assert_int_equal(r.status, GRPC_INTERNAL);
	result_done(&r);
	/* It is killed under an open watch. */
	begin(&watch, &w, "/etcdserverpb.Watch/Watch", 0);
	grpc_call_send(watch.call, SPAN("\x0a\x03\x0a\x01k"));
	while (watch.n == 0)
		loop_turn(w.loop, true);
	assert_int_equal(kill(pid, SIGKILL), 0);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	finish(&watch, GRPC_UNAVAILABLE, NULL);
	result_done(&watch);

	pid = fork();
	if (pid == 0) {
		execlp("rm", "rm", "-rf", data, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	world_done(&w);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_server), cmocka_unit_test(over_tls), cmocka_unit_test(server_stops),
		cmocka_unit_test(odd_servers), cmocka_unit_test(python_server),
		cmocka_unit_test(etcd),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
