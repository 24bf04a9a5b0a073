/* WebSocket and SPDY from our client to our server over real sockets. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "http/http_link.h"

static struct loop *l;
static struct http_server *server;
static struct http_client *client;
static struct buf trace;
static struct http_origin origin;
static struct http_link *server_link, *client_link;
static char key[25];
static unsigned gone;
static bool flood;

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&trace, fmt, ap);
	va_end(ap);
}

static void on_gone(struct http_link *k, const struct err *why, void *arg)
{
	note("[%s gone%s%s]", (const char *)arg, why ? ": " : "", why ? err_msg(why) : "");
	if (k == server_link)
		server_link = NULL;
	else
		client_link = NULL;
	gone++;
}

static const struct http_link_ops link_ops = { .gone = on_gone };

/* ---- WebSocket ---- */

static void ws_server_message(struct http_ws *ws, enum http_ws_kind kind, struct span data, void *arg)
{
	if (span_is(data, "close")) {
		http_ws_close(ws, HTTP_WS_NORMAL, SPAN("asked to"));
	} else {
		http_ws_send(ws, kind, data, true);
	}
	http_link_flush(server_link);
}

static void ws_client_message(struct http_ws *ws, enum http_ws_kind kind, struct span data, void *arg)
{
	if (data.len < 100)
		note("<%.*s>", SPAN_ARG(data));
	else
		note("<%zu bytes>", data.len);
	http_ws_send(ws, HTTP_WS_TEXT, SPAN("close"), true);
	http_link_flush(client_link);
}

static void ws_closed(struct http_ws *ws, unsigned code, struct span reason, void *arg)
{
	note("[%s closed %u %.*s]", (const char *)arg, code, SPAN_ARG(reason));
}

static const struct http_ws_ops ws_server_ops = { .message = ws_server_message, .closed = ws_closed };
static const struct http_ws_ops ws_client_ops = { .message = ws_client_message, .closed = ws_closed };

/* ---- SPDY ---- */

static void spdy_open(struct http_spdy_stream *st, const struct http_spdy_field *fields, unsigned n, void *arg)
{
	for (unsigned i = 0; i < n; i++)
		note("{%.*s=%.*s}", SPAN_ARG(fields[i].name), SPAN_ARG(fields[i].value));
	http_spdy_reply(st, NULL, 0, false);
	http_link_flush(server_link);
}

static void spdy_server_data(struct http_spdy_stream *st, struct span data, void *arg)
{
	http_spdy_write(st, data, false);
	http_spdy_consumed(st, data.len);
	http_link_flush(server_link);
}

static void spdy_server_end(struct http_spdy_stream *st, void *arg)
{
	http_spdy_write(st, SPAN("bye"), true);
	http_link_flush(server_link);
}

static void spdy_reply(struct http_spdy_stream *st, const struct http_spdy_field *fields, unsigned n, void *arg)
{
	note("(reply)");
	http_spdy_write(st, SPAN("stdin"), true);
	http_link_flush(client_link);
}

static void spdy_client_data(struct http_spdy_stream *st, struct span data, void *arg)
{
	note("<%.*s>", SPAN_ARG(data));
	http_spdy_consumed(st, data.len);
}

static void spdy_client_end(struct http_spdy_stream *st, void *arg)
{
	note("(end)");
	http_link_close(client_link);
}

static const struct http_spdy_ops spdy_server_ops = { .open = spdy_open, .data = spdy_server_data, .end = spdy_server_end };
static const struct http_spdy_ops spdy_client_ops = { .reply = spdy_reply, .data = spdy_client_data, .end = spdy_client_end };

/* ---- both ends ---- */

static void handle(struct http_req *r, void *arg)
{
	static const char *const protocols[] = { "v5.channel.k8s.io", "v4.channel.k8s.io", NULL };
	auto_err struct err err = ERR_INIT;
	int rc;
	if (span_is(http_req_path(r), "/ws")) {
		struct http_ws_params p = { .ops = &ws_server_ops, .arg = (void *)"server" };
		rc = http_ws_serve(r, protocols, &p, &link_ops, (void *)"server", &server_link, &err);
	} else {
		struct http_spdy_params p = { .ops = &spdy_server_ops };
		http_reply_header(r, "X-Stream-Protocol-Version", SPAN("v4.channel.k8s.io"));
		rc = http_spdy_serve(r, &p, &link_ops, (void *)"server", &server_link, &err);
	}
	if (rc < 0)
		http_reply_text(r, 400, "text/plain", span_of(err_msg(&err)));
}

static void ws_head(struct http_call *c, void *arg)
{
	auto_err struct err err = ERR_INIT;
	struct http_ws_params p = { .ops = &ws_client_ops, .arg = (void *)"client" };
	note("%d ", http_call_status(c));
	if (http_ws_join(c, key, &p, &link_ops, (void *)"client", &client_link, &err) < 0) {
		note("%s ", err_class_name(err.class));
		return;
	}
	note("%.*s ", SPAN_ARG(http_call_header(c, "sec-websocket-protocol")));
	struct bytes *big = bytes_alloc(flood ? 3000000 : 5);
	memcpy(big->data, "hello", 5);
	http_ws_send(http_link_ws(client_link), HTTP_WS_BINARY, bytes_span(big), true);
	http_link_flush(client_link);
	bytes_unref(big);
}

static void spdy_head(struct http_call *c, void *arg)
{
	auto_err struct err err = ERR_INIT;
	struct http_spdy_params p = { .ops = &spdy_client_ops };
	struct http_spdy_stream *st;
	note("%d %.*s ", http_call_status(c), SPAN_ARG(http_call_header(c, "x-stream-protocol-version")));
	if (http_spdy_join(c, &p, &link_ops, (void *)"client", &client_link, &err) < 0)
		fail_msg("%s", err_msg(&err));
	struct http_spdy_field f = { SPAN("streamtype"), SPAN("stdin") };
	if (http_spdy_open(http_link_spdy(client_link), &f, 1, 0, &st, &err) < 0)
		fail_msg("%s", err_msg(&err));
	http_link_flush(client_link);
}

static void on_data(struct http_call *c, struct span data, void *arg)
{
	note("%.*s", SPAN_ARG(data));
}

static void on_done(struct http_call *c, const struct err *why, void *arg)
{
	if (why || http_call_status(c) != 101)
		gone = 2;
	if (why)
		note("%s", err_msg(why));
}

static void stopped(struct http_server *s, void *arg)
{
	*(bool *)arg = true;
}

static int setup(void **state)
{
	auto_err struct err err = ERR_INIT;
	assert_int_equal(loop_new(NULL, &l, &err), 0);
	struct http_server_params p = { .loop = l, .name = "server", .handle = handle };
	assert_int_equal(http_server_new(&p, &server, &err), 0);
	int fd = http_listen_tcp("127.0.0.1", 0, 0, &err);
	origin = (struct http_origin){ .host = "127.0.0.1", .port = http_fd_port(fd) };
	assert_int_equal(http_server_listen(server, fd, 0, &err), 0);
	struct http_client_params cp = { .loop = l, .name = "client" };
	assert_int_equal(http_client_new(&cp, &client, &err), 0);
	gone = 0;
	flood = false;
	return 0;
}

static int teardown(void **state)
{
	bool end = false;
	http_client_free(client);
	http_server_stop(server, 0, stopped, &end);
	for (int i = 0; i < 1000 && !end; i++)
		loop_turn(l, false);
	http_server_free(server);
	for (int i = 0; i < 5; i++)
		loop_turn(l, false);
	loop_free(l);
	buf_done(&trace);
	return 0;
}

static void upgrade(const char *path, const char *protocol, const struct http_field *fields, size_t n,
	void (*head)(struct http_call *c, void *arg), const char *expected)
{
	auto_err struct err err = ERR_INIT;
	struct http_call_ops ops = { .head = head, .data = on_data, .done = on_done };
	struct http_call *call;
	struct http_call_params p = { .origin = &origin, .method = "GET", .target = span_of(path), .headers = fields,
		.n_headers = n, .upgrade = protocol, .ops = &ops };
	assert_int_equal(http_call_begin(client, &p, &call, &err), 0);
	int64_t from = clock_mono_ms(clock_real());
	while (gone < 2 && clock_mono_ms(clock_real()) - from < 60000) {
		loop_turn(l, false);
		poll(NULL, 0, 1);
	}
	assert_string_equal(buf_cstr(&trace), expected);
}

static void test_websocket(void **state)
{
	http_ws_key(key);
	struct http_field f[] = { { SPAN("Sec-WebSocket-Key"), span_of(key) }, { SPAN("Sec-WebSocket-Version"), SPAN("13") },
		{ SPAN("Sec-WebSocket-Protocol"), SPAN("v4.channel.k8s.io, v5.channel.k8s.io") } };
	upgrade("/ws", "websocket", f, 3, ws_head, "101 v4.channel.k8s.io <hello>[client closed 1000 asked to]"
		"[server closed 1000 ][server gone][client gone]");
}

static void test_large_message(void **state)
{
	flood = true;
	http_ws_key(key);
	struct http_field f[] = { { SPAN("Sec-WebSocket-Key"), span_of(key) }, { SPAN("Sec-WebSocket-Version"), SPAN("13") } };
	upgrade("/ws", "websocket", f, 2, ws_head, "101  <3000000 bytes>[client closed 1000 asked to]"
		"[server closed 1000 ][server gone][client gone]");
}

static void test_bad_handshakes(void **state)
{
	http_ws_key(key);
	struct http_field f[] = { { SPAN("Sec-WebSocket-Key"), span_of(key) }, { SPAN("Sec-WebSocket-Version"), SPAN("8") } };
	upgrade("/ws", "websocket", f, 2, ws_head, "400 UPSTREAM WebSocket version \"8\": only 13 is spoken here");
	buf_trunc(&trace, 0);
	gone = 0;
	struct http_field f2[] = { { SPAN("Sec-WebSocket-Key"), SPAN("short") }, { SPAN("Sec-WebSocket-Version"), SPAN("13") } };
	upgrade("/ws", "websocket", f2, 2, ws_head, "400 UPSTREAM Sec-WebSocket-Key makes no sense");
	buf_trunc(&trace, 0);
	gone = 0;
	struct http_field f3[] = { { SPAN("Sec-WebSocket-Key"), span_of(key) }, { SPAN("Sec-WebSocket-Version"), SPAN("13") },
		{ SPAN("Sec-WebSocket-Protocol"), SPAN("chat") } };
	upgrade("/ws", "websocket", f3, 3, ws_head, "400 UPSTREAM none of the WebSocket protocols \"chat\" is spoken here");
}

static void test_spdy(void **state)
{
	upgrade("/spdy", "SPDY/3.1", NULL, 0, spdy_head, "101 v4.channel.k8s.io {streamtype=stdin}(reply)<stdin><bye>(end)"
		"[server gone][client gone]");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_websocket),
		TEST(test_large_message),
		TEST(test_bad_handshakes),
		TEST(test_spdy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
