/* The client against our own server on the same loop, and against raw sockets that misbehave. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "http/http.h"

static struct loop *l;
static struct http_server *server;
static struct http_client *client;
static struct tls_slot slot;
static struct tls_ctx *trusting, *http1_ctx;
static struct buf ca_pem, trace;
static struct tls_key *ca_key;
static unsigned plain_port, tls_port;
static char sock_path[64];
static struct http_req *held;

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&trace, fmt, ap);
	va_end(ap);
}

#define assert_trace(expected)                                                                                         \
	do {                                                                                                           \
		assert_string_equal(buf_cstr(&trace), expected);                                                       \
		buf_trunc(&trace, 0);                                                                                  \
	} while (0)

/* ---- the server's side ---- */

static void echo_data(struct http_req *r, struct span data, void *arg)
{
	http_reply_add(r, http_copy(data));
}

static void echo_end(struct http_req *r, void *arg)
{
	struct span sum = http_fields_get(http_req_trailers(r), "x-sum");
	if (sum.len)
		http_reply_trailer(r, "X-Sum", sum);
	http_reply_end(r);
}

static void held_done(struct http_req *r, bool complete, void *arg)
{
	note("[server done %d]", complete);
	held = NULL;
}

static void raw_data(struct http_duplex *d, struct span data, void *arg)
{
	http_duplex_write(d, http_copy(data));
}

static void raw_end(struct http_duplex *d, void *arg)
{
	http_duplex_write(d, http_copy(SPAN("bye")));
	http_duplex_end(d);
}

static const struct http_req_ops echo_ops = { .data = echo_data, .end = echo_end };
static void held_hangup(struct http_req *r, void *arg)
{
	http_reply_abort(r);
}

static const struct http_req_ops held_ops = { .hangup = held_hangup, .done = held_done };
static const struct http_duplex_ops raw_ops = { .data = raw_data, .end = raw_end };

static void handle(struct http_req *r, void *arg)
{
	struct span path = http_req_path(r);
	if (span_is(path, "/echo")) {
		http_req_ops_set(r, &echo_ops, NULL);
		http_reply_begin(r);
	} else if (span_is(path, "/held")) {
		held = r;
		http_req_ops_set(r, &held_ops, NULL);
		http_reply_begin(r);
	} else if (span_is(path, "/silent")) {
		held = r;
		http_req_ops_set(r, &held_ops, NULL);
	} else if (span_is(path, "/refuse")) {
		http_reply_text(r, 403, "text/plain", SPAN("no"));
	} else if (span_is(path, "/abort")) {
		http_reply_add(r, http_copy(SPAN("half")));
		http_reply_begin(r);
		http_reply_abort(r);
	} else if (span_is(path, "/hijack")) {
		auto_err struct err err = ERR_INIT;
		struct http_duplex *d;
		bool up = http_req_wants_upgrade(r, "tcp");
		if (up)
			http_reply_header(r, "Upgrade", SPAN("tcp"));
		if (http_req_hijack(r, up ? 101 : 200, &d, &err) < 0)
			fail_msg("hijack: %s", err_msg(&err));
		http_duplex_ops_set(d, &raw_ops, NULL);
	} else {
		auto_buf struct buf out = {};
		buf_printf(&out, "%.*s %.*s host=%.*s v=%d", SPAN_ARG(http_req_method(r)), SPAN_ARG(http_req_target(r)),
			SPAN_ARG(http_req_host(r)), http_req_version(r));
		if (http_req_peer(r)->cert)
			buf_printf(&out, " cn=%s", http_req_peer(r)->cert->cn);
		http_reply_text(r, 200, "text/plain", buf_span(&out));
	}
}

/* ---- the client's side ---- */

static bool over;
static struct http_duplex *raw;
static struct http_call *current;

static void on_head(struct http_call *c, void *arg)
{
	note("%d ", http_call_status(c));
}

static void on_data(struct http_call *c, struct span data, void *arg)
{
	buf_span_add(&trace, data);
}

static void on_end(struct http_call *c, void *arg)
{
	struct span sum = http_fields_get(http_call_trailers(c), "x-sum");
	if (sum.len)
		note(" sum=%.*s", SPAN_ARG(sum));
	note(" end");
}

static struct buf last_words; /* of the last call that failed */

static void on_done(struct http_call *c, const struct err *why, void *arg)
{
	note(" done:%s", why ? err_class_name(why->class) : "ok");
	buf_trunc(&last_words, 0);
	if (why)
		buf_str(&last_words, err_msg(why));
	over = true;
	current = NULL;
}

static const struct http_call_ops ops = { .head = on_head, .data = on_data, .end = on_end, .done = on_done };

static void turn_until(bool *flag)
{
	int64_t from = clock_mono_ms(clock_real());
	while (!*flag && clock_mono_ms(clock_real()) - from < 60000) {
		loop_turn(l, false);
		if (!*flag)
			poll(NULL, 0, 1);
	}
	if (!*flag)
		fail_msg("nothing happened in a minute; so far: %s", buf_cstr(&trace));
	*flag = false;
}

static void turns(int n)
{
	for (int i = 0; i < n; i++)
		loop_turn(l, false);
}

static struct http_call *begin(struct http_call_params p)
{
	auto_err struct err err = ERR_INIT;
	struct http_call *call = NULL;
	if (!p.method)
		p.method = "GET";
	if (!p.ops)
		p.ops = &ops;
	over = false;
	if (http_call_begin(client, &p, &call, &err) < 0)
		fail_msg("begin: %s", err_msg(&err));
	current = call;
	return call;
}

static struct http_origin plain(void)
{
	return (struct http_origin){ .host = "127.0.0.1", .port = plain_port };
}

static struct http_origin tls(void)
{
	return (struct http_origin){ .host = "localhost", .port = tls_port, .tls = true, .tls_ctx = trusting };
}

/* ---- set-up ---- */

static void make(enum tls_cert_kind kind, const char *cn, struct buf *cert, struct buf *key_pem)
{
	auto_err struct err err = ERR_INIT;
	struct tls_key *key;
	int64_t now = clock_wall_ns(clock_real()) / NS_PER_S;
	const char *dns[] = { "localhost", NULL };
	struct tls_cert_params p = { kind, cn, NULL, kind == TLS_CERT_SERVER ? dns : NULL, NULL, NULL, now - 60, now + 3600 };
	assert_int_equal(tls_key_new(TLS_ES256, &key, &err), 0);
	assert_int_equal(tls_cert_make(&p, key, buf_span(&ca_pem), ca_key, cert, &err), 0);
	assert_int_equal(tls_key_private_pem(key, key_pem, &err), 0);
	if (kind == TLS_CERT_CA)
		ca_key = key;
	else
		tls_key_unref(key);
}

static struct tls_ctx *server_ctx(void)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf cert = {}, key = {};
	make(TLS_CERT_SERVER, "server", &cert, &key);
	struct tls_pair pair = { buf_span(&cert), buf_span(&key), NULL, NULL };
	struct tls_server_params p = { .pairs = &pair, .n_pairs = 1, .client_ca_pem = buf_span(&ca_pem),
		.client_auth = TLS_CLIENT_ASK, .alpn = TLS_ALPN_HTTP };
	struct tls_ctx *ctx;
	assert_int_equal(tls_server_new(&p, &ctx, &err), 0);
	return ctx;
}

static int group_setup(void **state)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf none = {}, cert = {}, key = {};
	make(TLS_CERT_CA, "ca", &ca_pem, &none);
	make(TLS_CERT_CLIENT, "me", &cert, &key);
	struct tls_pair pair = { buf_span(&cert), buf_span(&key), NULL, NULL };
	struct tls_client_params p = { .ca_pem = buf_span(&ca_pem), .pair = &pair, .alpn = TLS_ALPN_HTTP };
	assert_int_equal(tls_client_new(&p, &trusting, &err), 0);
	p.alpn = TLS_ALPN_HTTP1;
	assert_int_equal(tls_client_new(&p, &http1_ctx, &err), 0);
	tls_slot_init(&slot);
	tls_slot_put(&slot, server_ctx());
	return 0;
}

static int group_done(void **state)
{
	tls_slot_done(&slot);
	tls_ctx_unref(trusting);
	tls_ctx_unref(http1_ctx);
	tls_key_unref(ca_key);
	buf_done(&ca_pem);
	buf_done(&trace);
	buf_done(&last_words);
	return 0;
}

static int setup(void **state)
{
	auto_err struct err err = ERR_INIT;
	assert_int_equal(loop_new(NULL, &l, &err), 0);
	struct http_server_params p = { .loop = l, .name = "server", .handle = handle, .tls = &slot };
	assert_int_equal(http_server_new(&p, &server, &err), 0);
	int fd = http_listen_tcp("127.0.0.1", 0, 0, &err), tls_fd = http_listen_tcp("127.0.0.1", 0, 0, &err);
	plain_port = http_fd_port(fd);
	tls_port = http_fd_port(tls_fd);
	snprintf(sock_path, sizeof(sock_path), "/tmp/http-client-test-%d", (int)getpid());
	int unix_fd = http_listen_unix(sock_path, 0600, &err);
	assert_int_equal(http_server_listen(server, fd, 0, &err), 0);
	assert_int_equal(http_server_listen(server, tls_fd, HTTP_TLS, &err), 0);
	assert_int_equal(http_server_listen(server, unix_fd, 0, &err), 0);
	struct http_client_params cp = { .loop = l, .name = "client" };
	assert_int_equal(http_client_new(&cp, &client, &err), 0);
	buf_trunc(&trace, 0);
	return 0;
}

static void stopped(struct http_server *s, void *arg)
{
	*(bool *)arg = true;
}

static int teardown(void **state)
{
	http_client_free(client);
	bool end = false;
	http_server_stop(server, 0, stopped, &end);
	turn_until(&end);
	http_server_free(server);
	turns(5);
	loop_free(l);
	unlink(sock_path);
	return 0;
}

/* ---- tests ---- */

static void get(struct http_origin o, const char *path, const char *expected)
{
	begin((struct http_call_params){ .origin = &o, .target = span_of(path) });
	turn_until(&over);
	assert_trace(expected);
}

static void test_every_transport(void **state)
{
	char expected[128];
	struct http_origin o = plain();
	snprintf(expected, sizeof(expected), "200 GET /a?b host=127.0.0.1:%u v=11 end done:ok", plain_port);
	get(o, "/a?b", expected);
	o.http2 = true;
	snprintf(expected, sizeof(expected), "200 GET /a?b host=127.0.0.1:%u v=20 end done:ok", plain_port);
	get(o, "/a?b", expected);
	o = (struct http_origin){ .host = "docker", .unix_path = sock_path };
	get(o, "/u", "200 GET /u host=docker v=11 end done:ok");
	o = tls();
	snprintf(expected, sizeof(expected), "200 GET /t host=localhost:%u v=20 cn=me end done:ok", tls_port);
	get(o, "/t", expected);
	o.tls_ctx = http1_ctx;
	snprintf(expected, sizeof(expected), "200 GET /t host=localhost:%u v=11 cn=me end done:ok", tls_port);
	get(o, "/t", expected);
	get(plain(), "/refuse", "403 no end done:ok");
}

/* Both ends of what is connected over TCP here: the kernel finds a peer that is dead. */
static void test_dead_peers_are_looked_for(void **state)
{
	unsigned connected = 0;
	get(plain(), "/refuse", "403 no end done:ok");
	for (int fd = 3; fd < 1024; fd++) {
		struct sockaddr_in peer;
		socklen_t len = sizeof(peer);
		int alive = 0, idle_s = 0;
		if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0 || peer.sin_family != AF_INET)
			continue;
		connected++;
		len = sizeof(alive);
		assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &alive, &len), 0);
		len = sizeof(idle_s);
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, &len), 0);
		assert_int_equal(alive, 1);
		assert_int_equal(idle_s, 15);
	}
	assert_true(connected >= 2);
}

static void test_hosts_of_peers(void **state)
{
	static const struct {
		struct http_peer peer;
		const char *host;
	} rows[] = {
		{ { .text = "127.0.0.1:4711" }, "127.0.0.1" }, { { .text = "[::1]:80" }, "::1" }, { { .text = "unix", .is_unix = true }, "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_true(span_is(http_peer_host(&rows[i].peer), rows[i].host));
}

static void test_connections_are_kept(void **state)
{
	struct http_origin origins[] = { plain(), tls() };
	for (size_t k = 0; k < ARRAY_LEN(origins); k++) {
		uint64_t before = http_server_stats(server).accepted;
		for (int i = 0; i < 5; i++) {
			begin((struct http_call_params){ .origin = &origins[k], .target = SPAN("/refuse") });
			turn_until(&over);
			assert_trace("403 no end done:ok");
		}
		assert_int_equal(http_server_stats(server).accepted - before, 1);
	}
	/* Kept connections are in the background: nothing of the client keeps the loop going. */
	http_client_close_idle(client);
	turns(5);
	assert_int_equal(http_server_stats(server).connections, 0);
}

static unsigned n_over;
static void count_done(struct http_call *c, const struct err *why, void *arg)
{
	assert_null(why);
	n_over++;
	if (n_over == 50)
		over = true;
}

static void test_many_at_once(void **state)
{
	static const struct http_call_ops count_ops = { .done = count_done };
	struct http_origin origins[] = { plain(), tls() };
	for (size_t k = 0; k < ARRAY_LEN(origins); k++) {
		uint64_t before = http_server_stats(server).accepted;
		n_over = 0;
		for (int i = 0; i < 50; i++)
			begin((struct http_call_params){ .origin = &origins[k], .target = SPAN("/x"), .ops = &count_ops });
		turn_until(&over);
		/* HTTP/1.1: one each; HTTP/2: one for all. */
		assert_int_equal(http_server_stats(server).accepted - before, k ? 1 : 50);
		assert_int_equal(http_server_stats(server).requests, 50 * (k + 1));
	}
}

static void test_bodies_up_and_down(void **state)
{
	struct http_origin origins[] = { plain(), tls(), plain() };
	origins[2].http2 = true;
	for (size_t k = 0; k < ARRAY_LEN(origins); k++) {
		struct bytes *big = bytes_alloc(300000);
		memset(big->data, 'x', big->len);
		struct http_piece pieces[] = { http_copy(SPAN("first,")), http_bytes(bytes_ref(big)), http_copy(SPAN(",last")) };
		begin((struct http_call_params){ .origin = &origins[k], .method = "POST", .target = SPAN("/echo"), .body = pieces,
			.n_body = 3 });
		turn_until(&over);
		assert_int_equal(trace.len, 4 + 6 + 300000 + 5 + 4 + 8);
		assert_true(span_starts(buf_span(&trace), SPAN("200 first,xxx")));
		assert_true(span_ends(buf_span(&trace), SPAN("xxx,last end done:ok")));
		buf_trunc(&trace, 0);
		assert_int_equal(atomic_load(&big->refs), 1);
		bytes_unref(big);

		/* Streamed, with a trailer; the answer begins while the request goes on. */
		struct http_call *call = begin((struct http_call_params){ .origin = &origins[k], .method = "POST",
			.target = SPAN("/echo"), .stream_body = true });
		http_call_add(call, http_copy(SPAN("one ")));
		for (int i = 0; i < 300 && !span_has(buf_span(&trace), SPAN("one ")); i++) {
			loop_turn(l, false);
			poll(NULL, 0, 1);
		}
		assert_trace("200 one ");
		http_call_add(call, http_copy(SPAN("two")));
		http_call_trailer(call, "X-Sum", SPAN("7"));
		http_call_end(call);
		turn_until(&over);
		assert_trace("two sum=7 end done:ok");
	}
}

static void test_pause_holds_the_answer_back(void **state)
{
	struct http_origin origins[] = { plain(), tls() };
	for (size_t k = 0; k < ARRAY_LEN(origins); k++) {
		struct http_call *call = begin((struct http_call_params){ .origin = &origins[k], .target = SPAN("/held") });
		for (int i = 0; i < 300 && !held; i++) {
			loop_turn(l, false);
			poll(NULL, 0, 1);
		}
		http_call_pause(call);
		struct bytes *b = bytes_alloc(65536);
		memset(b->data, 'y', b->len);
		size_t added = 0;
		for (int i = 0; i < 3000 && http_reply_queued(held) <= 262144; i++) {
			http_reply_add(held, http_bytes(bytes_ref(b)));
			added += b->len;
			turns(2);
		}
		assert_true(http_reply_queued(held) > 262144); /* the sender was held up */
		assert_in_range(trace.len, 0, 4 + 65536 * 5);
		http_reply_end(held);
		http_call_resume(call);
		turn_until(&over);
		assert_true(span_ends(buf_span(&trace), SPAN(" end done:ok")));
		assert_true(trace.len > added);
		turns(3);
		buf_trunc(&trace, 0);
		bytes_unref(b);
	}
}

static void test_broken_answers(void **state)
{
	static const struct { const char *name; struct span answer; const char *expected; } rows[] = {
#define ROW(name, text, expected) { name, SPAN_INIT(text), expected }
		ROW("good, until close", "HTTP/1.1 200 OK\r\n\r\nabc", "200 abc end done:ok"),
		ROW("good, length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcIGNORED", "200 abc end done:ok"),
		ROW("good, HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", "200 abc end done:ok"),
		ROW("interim first", "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "204  end done:ok"),
		ROW("nothing", "", " done:UPSTREAM"),
		ROW("half a header", "HTTP/1.1 200 OK\r\nConte", " done:UPSTREAM"),
		ROW("no HTTP", "SSH-2.0-OpenSSH\r\n\r\n", " done:UPSTREAM"),
		ROW("cut off by length", "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nabc", "200 abc done:UPSTREAM"),
		ROW("cut off in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "200 abc done:UPSTREAM"),
		ROW("bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n", "200  done:UPSTREAM"),
		ROW("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", " done:UPSTREAM"),
		ROW("length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", " done:UPSTREAM"),
		ROW("bare CR", "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", " done:UPSTREAM"),
		ROW("switch unasked", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", " done:UPSTREAM"),
#undef ROW
	};
	auto_err struct err err = ERR_INIT;
	int fd = http_listen_tcp("127.0.0.1", 0, 0, &err);
	struct http_origin o = { .host = "127.0.0.1", .port = http_fd_port(fd) };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin((struct http_call_params){ .origin = &o, .target = SPAN("/") });
		int c = -1;
		for (int k = 0; k < 2000 && c < 0; k++) {
			loop_turn(l, false);
			c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
			if (c < 0)
				poll(NULL, 0, 1);
		}
		assert_true(c >= 0);
		char in[2000];
		for (int k = 0; k < 100 && recv(c, in, sizeof(in), MSG_DONTWAIT) <= 0; k++)
			loop_turn(l, false);
		assert_int_equal(send(c, rows[i].answer.ptr, rows[i].answer.len, MSG_NOSIGNAL), rows[i].answer.len);
		shutdown(c, SHUT_WR);
		turn_until(&over);
		if (strcmp(buf_cstr(&trace), rows[i].expected))
			fail_msg("%s: wanted \"%s\", got \"%s\"", rows[i].name, rows[i].expected, buf_cstr(&trace));
		buf_trunc(&trace, 0);
		close(c);
		turns(3);
	}
	close(fd);
}

static void test_kept_connection_that_died_is_replaced(void **state)
{
	/* The server closes after each answer without saying so; the client finds out as it asks again. */
	auto_err struct err err = ERR_INIT;
	int fd = http_listen_tcp("127.0.0.1", 0, 0, &err);
	struct http_origin o = { .host = "127.0.0.1", .port = http_fd_port(fd) };
	int conns[3] = { -1, -1, -1 };
	int n = 0;
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	for (int round = 0; round < 2; round++) {
		begin((struct http_call_params){ .origin = &o, .target = SPAN("/") });
		for (int k = 0; k < 3000 && !over; k++) {
			loop_turn(l, false);
			int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
			if (c >= 0)
				conns[n++] = c;
			for (int i = 0; i < n; i++) {
				char in[500];
				if (conns[i] >= 0 && recv(conns[i], in, sizeof(in), MSG_DONTWAIT) > 0) {
					if (round == 1 && i == 0) {
						close(conns[i]); /* the second request arrives, and the connection dies unanswered */
						conns[i] = -1;
					} else {
						(void)!send(conns[i], answer, sizeof(answer) - 1, MSG_NOSIGNAL);
					}
				}
			}
		}
		assert_trace("200 ok end done:ok");
	}
	assert_int_equal(n, 2);
	for (int i = 0; i < n; i++)
		if (conns[i] >= 0)
			close(conns[i]);
	close(fd);
}

static void test_timeouts_and_cancel(void **state)
{
	struct http_origin origins[] = { plain(), tls() };
	for (size_t k = 0; k < ARRAY_LEN(origins); k++) {
		begin((struct http_call_params){ .origin = &origins[k], .target = SPAN("/silent"), .first_byte_ms = 60 });
		turn_until(&over);
		bool gone = false;
		for (int i = 0; i < 500 && held; i++) {
			loop_turn(l, false);
			poll(NULL, 0, 1);
		}
		gone = held == NULL;
		assert_true(gone); /* the server heard of it too */
		assert_trace(" done:TIMEOUT[server done 0]");
		begin((struct http_call_params){ .origin = &origins[k], .target = SPAN("/held"), .idle_ms = 60 });
		turn_until(&over);
		for (int i = 0; i < 500 && held; i++)
			turns(1);
		assert_trace("200  done:TIMEOUT[server done 0]");
		begin((struct http_call_params){ .origin = &origins[k], .target = SPAN("/silent"), .total_ms = 60 });
		turn_until(&over);
		for (int i = 0; i < 500 && held; i++)
			turns(1);
		assert_trace(" done:TIMEOUT[server done 0]");
		struct http_call *call = begin((struct http_call_params){ .origin = &origins[k], .target = SPAN("/held") });
		for (int i = 0; i < 300 && !held; i++) {
			loop_turn(l, false);
			poll(NULL, 0, 1);
		}
		http_call_cancel(call);
		assert_false(over); /* not inside the call */
		turn_until(&over);
		for (int i = 0; i < 500 && held; i++)
			turns(1);
		assert_true(span_ends(buf_span(&trace), SPAN(" done:CANCELLED[server done 0]")));
		buf_trunc(&trace, 0);
		begin((struct http_call_params){ .origin = &origins[k], .target = SPAN("/abort") });
		turn_until(&over);
		assert_true(span_ends(buf_span(&trace), SPAN(" done:UPSTREAM")));
		buf_trunc(&trace, 0);
	}
}

static void test_no_connection(void **state)
{
	auto_err struct err err = ERR_INIT;
	int fd = http_listen_tcp("127.0.0.1", 0, 0, &err);
	struct http_origin o = { .host = "127.0.0.1", .port = http_fd_port(fd) };
	close(fd);
	get(o, "/", " done:UNAVAILABLE");
	auto_buf struct buf want = {};
	buf_printf(&want, "connecting to 127.0.0.1 port %u: connect: Connection refused", o.port);
	assert_string_equal(buf_cstr(&last_words), buf_cstr(&want));
	o = (struct http_origin){ .host = "x", .unix_path = "/tmp/there-is-no-such-socket" };
	get(o, "/", " done:UNAVAILABLE");
	assert_string_equal(buf_cstr(&last_words),
			    "connecting to unix socket /tmp/there-is-no-such-socket: connect: No such file or directory");
	o = (struct http_origin){ .host = "no-such-name.invalid" };
	get(o, "/", " done:UNAVAILABLE");
	/* A name that the certificate does not have. */
	o = tls();
	o.server_name = "other";
	get(o, "/", " done:UPSTREAM");
	struct http_call *call;
	struct http_origin good = plain();
	struct http_call_params bad = { .origin = &good, .method = "GET", .target = SPAN("/a b"), .ops = &ops };
	assert_int_equal(http_call_begin(client, &bad, &call, &err), -ERR_INVALID_REQUEST);
	bad.target = SPAN("/");
	struct http_field evil = { SPAN("X"), SPAN("a\r\nY: b") };
	bad.headers = &evil;
	bad.n_headers = 1;
	assert_int_equal(http_call_begin(client, &bad, &call, &err), -ERR_INVALID_REQUEST);
}

/* ---- upgrade ---- */

static void dup_data(struct http_duplex *d, struct span data, void *arg)
{
	buf_span_add(&trace, data);
	if (span_ends(buf_span(&trace), SPAN("hello")))
		http_duplex_end(d);
}

static void dup_end(struct http_duplex *d, void *arg)
{
	note(" end");
}

static void dup_closed(struct http_duplex *d, const struct err *why, void *arg)
{
	note(" closed:%s", why ? err_msg(why) : "ok");
	over = true;
}

static const struct http_duplex_ops dup_ops = { .data = dup_data, .end = dup_end, .closed = dup_closed };

static void hijack_head(struct http_call *c, void *arg)
{
	auto_err struct err err = ERR_INIT;
	note("%d ", http_call_status(c));
	if (http_call_hijack(c, &raw, &err) < 0)
		fail_msg("%s", err_msg(&err));
	http_duplex_ops_set(raw, &dup_ops, NULL);
	http_duplex_write(raw, http_copy(SPAN("hello")));
}

static void hijack_done(struct http_call *c, const struct err *why, void *arg)
{
	note("done:%s ", why ? err_msg(why) : "ok");
}

static void test_upgrade(void **state)
{
	static const struct http_call_ops up_ops = { .head = hijack_head, .done = hijack_done };
	struct http_origin origins[] = { plain(), tls(), { .host = "x", .unix_path = sock_path } };
	for (size_t k = 0; k < ARRAY_LEN(origins); k++)
		for (int up = 0; up < 2; up++) {
			if (!up && origins[k].tls)
				continue; /* HTTP/2 there */
			begin((struct http_call_params){ .origin = &origins[k], .method = "POST", .target = SPAN("/hijack"),
				.upgrade = up ? "tcp" : NULL, .ops = &up_ops });
			turn_until(&over);
			assert_trace(up ? "101 done:ok hellobye end closed:ok" : "200 done:ok hellobye end closed:ok");
		}
}

/* ---- a proxy in a thread: knows CONNECT and answers absolute-form requests itself ---- */

struct proxy {
	int fd;
	char seen[4][400];
	int n;
};

static void *proxy_run(void *arg)
{
	struct proxy *p = arg;
	for (;;) {
		int c = accept(p->fd, NULL, NULL);
		if (c < 0)
			return NULL;
		char *in = p->seen[p->n++];
		size_t len = 0;
		while (len < 399 && !strstr(in, "\r\n\r\n")) {
			ssize_t n = recv(c, in + len, 399 - len, 0);
			if (n <= 0)
				break;
			len += (size_t)n;
		}
		if (strncmp(in, "CONNECT ", 8)) {
			(void)!write(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy", 43);
			close(c);
			continue;
		}
		if (!strstr(in, "Proxy-Authorization: Basic dTpwOnc=\r\n")) {
			(void)!write(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno", 67);
			close(c);
			continue;
		}
		struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)tls_port),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(s, (struct sockaddr *)&to, sizeof(to)) < 0)
			abort();
		(void)!write(c, "HTTP/1.1 200 Connection established\r\n\r\n", 39);
		struct pollfd f[2] = { { c, POLLIN, 0 }, { s, POLLIN, 0 } };
		for (bool on = true; on;) {
			poll(f, 2, 5000);
			for (int i = 0; i < 2; i++) {
				char data[4096];
				ssize_t n = f[i].revents ? read(f[i].fd, data, sizeof(data)) : -2;
				if (n > 0)
					(void)!write(f[1 - i].fd, data, (size_t)n);
				else if (n > -2)
					on = false;
			}
		}
		close(c);
		close(s);
	}
}

static void test_proxy(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct proxy p = { .fd = http_listen_tcp("127.0.0.1", 0, 0, &err) };
	fcntl(p.fd, F_SETFL, 0);
	char url[64], expected[128], bad[64];
	snprintf(url, sizeof(url), "http://u:p%%3Aw@127.0.0.1:%u", http_fd_port(p.fd));
	snprintf(bad, sizeof(bad), "127.0.0.1:%u", http_fd_port(p.fd));
	pthread_t t;
	pthread_create(&t, NULL, proxy_run, &p);
	struct http_origin o = tls();
	o.proxy = url;
	snprintf(expected, sizeof(expected), "200 GET /p host=localhost:%u v=20 cn=me end done:ok", tls_port);
	get(o, "/p", expected);
	snprintf(expected, sizeof(expected), "CONNECT localhost:%u HTTP/1.1\r\nHost: localhost:%u\r\n", tls_port, tls_port);
	assert_int_equal(strncmp(p.seen[0], expected, strlen(expected)), 0);
	http_client_close_idle(client);
	turns(3);
	o.proxy = bad; /* without a password */
	get(o, "/p", " done:UNAUTHORIZED");
	o = (struct http_origin){ .host = "example.test", .proxy = url };
	get(o, "/plain", "200 proxy end done:ok");
	assert_int_equal(strncmp(p.seen[2], "GET http://example.test/plain HTTP/1.1\r\nHost: example.test\r\n"
		"Proxy-Authorization: Basic dTpwOnc=\r\n", 60), 0);
	shutdown(p.fd, SHUT_RDWR);
	pthread_join(t, NULL);
	close(p.fd);
}

static void test_proxy_rules(void **state)
{
	static const struct { const char *host; unsigned port; bool tls; const char *no; bool proxied; } rows[] = {
		{ "example.org", 0, true, "", true },
		{ "example.org", 0, false, "", true },
		{ "localhost", 0, true, "", false },
		{ "127.8.9.10", 0, true, "", false },
		{ "::1", 0, true, "", false },
		{ "example.org", 0, true, "*", false },
		{ "example.org", 0, true, "example.org", false },
		{ "www.example.org", 0, true, "example.org", false },
		{ "notexample.org", 0, true, "example.org", true },
		{ "www.example.org", 0, true, ".example.org", false },
		{ "example.org", 0, true, ".example.org", true },
		{ "www.EXAMPLE.org", 0, true, "a, *.example.ORG ,b", false },
		{ "example.org", 8443, true, "example.org:443", true },
		{ "example.org", 0, true, "example.org:443", false },
		{ "10.1.2.3", 0, true, "10.0.0.0/8", false },
		{ "11.1.2.3", 0, true, "10.0.0.0/8", true },
		{ "10.1.2.3", 0, true, "10.1.2.0/25", false },
		{ "10.1.2.200", 0, true, "10.1.2.0/25", true },
		{ "10.1.2.3", 0, true, "10.1.2.3", false },
		{ "fd00::7", 0, true, "fd00::/8", false },
		{ "fd00::7", 0, true, "fd00::7", false },
		{ "fe00::7", 0, true, "fd00::/8,junk/99,[", true },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct http_origin o = { .host = rows[i].host, .port = rows[i].port, .tls = rows[i].tls };
		struct span p = http_proxy_for(&o, SPAN("http://h:1"), SPAN("http://s:2"), span_of(rows[i].no));
		if ((p.len != 0) != rows[i].proxied)
			fail_msg("%s with NO_PROXY=%s: wanted %d, got \"%.*s\"", rows[i].host, rows[i].no, rows[i].proxied, SPAN_ARG(p));
		if (p.len)
			assert_int_equal(p.ptr[p.len - 1], rows[i].tls ? '2' : '1');
	}
}

static void test_urls(void **state)
{
	static const struct { const char *url; const char *expected; } rows[] = {
		{ "http://a", "0 a 80 /" },
		{ "https://a/", "1 a 443 /" },
		{ "HTTPS://Reg.io:5000/v2/?n=1#frag", "1 Reg.io 5000 /v2/?n=1" },
		{ "http://[::1]:8080/x", "0 ::1 8080 /x" },
		{ "http://a?x", "0 a 80 /?x" },
		{ "ftp://a", NULL }, { "a", NULL }, { "http://", NULL }, { "http://a:0", NULL }, { "http://a:99999", NULL },
		{ "http://a:b", NULL }, { "http://u:p@a", NULL }, { "http://a/b c", NULL }, { "http://[::1", NULL }, { "http://a b/", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct http_origin o;
		struct span target;
		int rc = http_url_parse(span_of(rows[i].url), &a, &o, &target, &err);
		if (!rows[i].expected) {
			if (rc >= 0)
				fail_msg("%s was taken", rows[i].url);
			continue;
		}
		struct span got = arena_printf(&a, "%d %s %u %.*s", o.tls, o.host, o.port, SPAN_ARG(target));
		assert_string_equal(got.ptr, rows[i].expected);
	}
}

static void test_certificates_swapped_under_load(void **state)
{
	static const struct http_call_ops count_ops = { .done = count_done };
	struct http_origin o = tls(), o1 = tls();
	o1.tls_ctx = http1_ctx;
	n_over = 0;
	for (int i = 0; i < 50; i++) {
		begin((struct http_call_params){ .origin = i % 2 ? &o : &o1, .target = SPAN("/x"), .ops = &count_ops });
		if (i % 5 == 0)
			tls_slot_put(&slot, server_ctx());
		turns(1);
	}
	turn_until(&over); /* every call ended well: count_done asserts it */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_every_transport),
		TEST(test_dead_peers_are_looked_for), cmocka_unit_test(test_hosts_of_peers), TEST(test_connections_are_kept),
		TEST(test_many_at_once),
		TEST(test_bodies_up_and_down),
		TEST(test_pause_holds_the_answer_back),
		TEST(test_broken_answers),
		TEST(test_kept_connection_that_died_is_replaced),
		TEST(test_timeouts_and_cancel),
		TEST(test_no_connection),
		TEST(test_upgrade),
		TEST(test_proxy),
		TEST(test_proxy_rules),
		TEST(test_urls),
		TEST(test_certificates_swapped_under_load),
	};
	return cmocka_run_group_tests(tests, group_setup, group_done);
}
