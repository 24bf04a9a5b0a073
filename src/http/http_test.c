/* The server with real sockets, in one process on one loop: a raw client sends bytes and looks at what comes back. */
#include "http/http_test_server.h"

/* Sends, hears, gives the answer without its Date line. */
static bool ask(struct span request, struct buf *out)
{
	int fd = dial();
	say(fd, request);
	bool ended = hear(fd, out);
	close(fd);
	for (int i = 0; i < 3; i++)
		loop_turn(l, false);
	return ended;
}

static void undate(struct buf *b)
{
	ptrdiff_t at;
	while ((at = span_find(buf_span(b), SPAN("\r\nDate: "))) >= 0) {
		struct span tail = span_from(buf_span(b), (size_t)at + 2);
		ptrdiff_t end = span_find(tail, SPAN("\r\n"));
		memmove(b->ptr + at, tail.ptr + end, tail.len - (size_t)end + 1);
		b->len -= 2 + (size_t)end;
	}
}

static void assert_answer(struct span request, const char *expected)
{
	auto_buf struct buf out = {};
	(void)ask(request, &out);
	undate(&out);
	assert_string_equal(buf_cstr(&out), expected);
}

#define OK_HELLO "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n\r\nhello"

/* ---- plain exchanges ---- */

static void test_simple_answers(void **state)
{
	assert_answer(SPAN("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), OK_HELLO);
	assert_answer(SPAN("\r\n\r\nGET /hello HTTP/1.1\r\nhOsT: a\r\n\r\n"), OK_HELLO);
	assert_answer(SPAN("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n"),
		"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n\r\n");
	assert_answer(SPAN("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 204 No Content\r\n\r\n");
	assert_answer(SPAN("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
		"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
	assert_answer(SPAN("GET /hello HTTP/1.0\r\n\r\n"),
		"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
	assert_answer(SPAN("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
		"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello");
	assert_answer(SPAN("GET http://other:81/facts?q=1?2 HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2\r\nCookie: b=1\r\nCookie: c=2\r\n\r\n"),
		"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 42\r\n\r\n"
		"GET|/facts|q=1?2|other:81|11|1, 2|b=1; c=2");
}

static void test_etag(void **state)
{
	assert_answer(SPAN("GET /etag HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"v0\", W/\"v1\"\r\n\r\n"),
		"HTTP/1.1 304 Not Modified\r\netag: \"v1\"\r\n\r\n");
	assert_answer(SPAN("GET /etag HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"v0\"\r\n\r\n"),
		"HTTP/1.1 200 OK\r\netag: \"v1\"\r\ncontent-type: text/plain\r\nContent-Length: 4\r\n\r\nbody");
}

static void test_byte_at_a_time(void **state)
{
	struct span request = SPAN("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
				   "5;ext=\"1\"\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 6\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
	int fd = dial();
	auto_buf struct buf out = {};
	for (size_t i = 0; i < request.len; i++) {
		say(fd, span_sub(request, i, i + 1));
		loop_turn(l, false);
		char in[4096];
		ssize_t n = recv(fd, in, sizeof(in), 0);
		if (n > 0)
			buf_add(&out, in, (size_t)n);
	}
	(void)hear(fd, &out);
	undate(&out);
	assert_string_equal(buf_cstr(&out),
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n1\r\n!\r\n"
		"0\r\nX-Sum: 6\r\n\r\n" OK_HELLO);
	close(fd);
}

static void test_pipelining(void **state)
{
	auto_buf struct buf in = {}, expected = {}, out = {};
	for (int i = 0; i < 100; i++) {
		buf_str(&in, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
		buf_str(&expected, OK_HELLO);
	}
	(void)ask(buf_span(&in), &out);
	undate(&out);
	assert_string_equal(buf_cstr(&out), buf_cstr(&expected));
	assert_int_equal(http_server_stats(server).requests, 100);
}

static void test_pipeline_waits_for_a_slow_answer(void **state)
{
	int fd = dial();
	auto_buf struct buf out = {};
	say(fd, SPAN("GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
	assert_false(hear(fd, &out));
	assert_int_equal(out.len, 0);
	http_reply_text(kept, 200, "text/plain", SPAN("slow"));
	(void)hear(fd, &out);
	undate(&out);
	assert_string_equal(buf_cstr(&out), "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 4\r\n\r\nslow" OK_HELLO);
	assert_events("done:1 ");
	close(fd);
}

/* ---- smuggling and nonsense: 400 (or the named status), then the end ---- */

static void test_refusals(void **state)
{
#define H "GET /hello HTTP/1.1\r\nHost: a\r\n"
	static const struct { const char *name; struct span request; const char *status; } rows[] = {
#define ROW(name, text, status) { name, SPAN_INIT(text), status }
		ROW("bare CR in a value", H "X: a\rb\r\n\r\n", "400"),
		ROW("bare CR before a name", H "\rX: a\r\n\r\n", "400"),
		ROW("bare LF", "GET /hello HTTP/1.1\nHost: a\n\n", "400"),
		ROW("bare LF between fields", H "X: a\nY: b\r\n\r\n", "400"),
		ROW("NUL in a value", H "X: a\0b\r\n\r\n", "400"),
		ROW("NUL in a name", H "X\0: a\r\n\r\n", "400"),
		ROW("folded line", H "X: a\r\n b\r\n\r\n", "400"),
		ROW("folded line, tab", H "X: a\r\n\tb\r\n\r\n", "400"),
		ROW("blank before the colon", H "X : a\r\n\r\n", "400"),
		ROW("tab before the colon", H "Content-Length\t: 5\r\n\r\nhello", "400"),
		ROW("empty name", H ": a\r\n\r\n", "400"),
		ROW("field without colon", H "Xa\r\n\r\n", "400"),
		ROW("blank before the first field", "GET /hello HTTP/1.1\r\n Host: a\r\n\r\n", "400"),
		ROW("lengths that differ", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "400"),
		ROW("lengths that agree", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "400"),
		ROW("length list", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", "400"),
		ROW("length with sign", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", "400"),
		ROW("negative length", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", "400"),
		ROW("hexadecimal length", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", "400"),
		ROW("empty length", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", "400"),
		ROW("huge length", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", "400"),
		ROW("length beyond 63 bits", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", "400"),
		ROW("length and chunked", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
		ROW("chunked and length", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "400"),
		ROW("chunked twice", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "4005"),
		ROW("two codings fields", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "4005"),
		ROW("unknown coding", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "4005"),
		ROW("coding hidden by a vertical tab", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0b" "chunked\r\n\r\n0\r\n\r\n", "400"),
		ROW("chunked in HTTP/1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
		ROW("two hosts", H "Host: b\r\n\r\n", "400"),
		ROW("no host", "GET /hello HTTP/1.1\r\n\r\n", "400"),
		ROW("host with a path", "GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"),
		ROW("host with a blank", "GET /hello HTTP/1.1\r\nHost: a b\r\n\r\n", "400"),
		ROW("foreign scheme", "GET ftp://a/hello HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
		ROW("authority with user", "GET http://u@a/hello HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
		ROW("relative target", "GET hello HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
		ROW("fragment", "GET /hello#x HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
		ROW("two blanks", "GET /hello  HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
		ROW("version 0.9", "GET /hello\r\n\r\n", "400"),
		ROW("version 1.2", "GET /hello HTTP/1.2\r\nHost: a\r\n\r\n", "4005"),
		ROW("version 2.0", "GET /hello HTTP/2.0\r\nHost: a\r\n\r\n", "4005"),
		ROW("unknown method", "BREW /hello HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
		ROW("TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"),
		ROW("unknown expectation", H "Expect: much\r\n\r\n", "417"),
#undef ROW
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf out = {};
		bool ended = ask(rows[i].request, &out);
		struct span code = span_sub(buf_span(&out), 9, 12);
		bool good = span_starts(buf_span(&out), SPAN("HTTP/1.1 ")) &&
			(span_is(code, rows[i].status) || (!strcmp(rows[i].status, "4005") && (span_is(code, "400") ||
			 span_is(code, "501") || span_is(code, "505"))));
		if (!good || !ended || !span_has(buf_span(&out), SPAN("Connection: close")))
			fail_msg("%s: wanted %s and the end, got (ended %d) %s", rows[i].name, rows[i].status, ended, buf_cstr(&out));
		/* Exactly one answer: nothing behind the refused request was taken for another. */
		assert_int_equal(span_find(span_from(buf_span(&out), 9), SPAN("HTTP/1.1 4")), -1);
		assert_int_equal(span_find(span_from(buf_span(&out), 9), SPAN("HTTP/1.1 2")), -1);
	}
	assert_int_equal(http_server_stats(server).bad_requests, ARRAY_LEN(rows));
	assert_int_equal(http_server_stats(server).requests, 0);
}

static void test_bad_chunks(void **state)
{
#define P "POST /whole HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	static const struct { const char *name; struct span request; } rows[] = {
		{ "LF alone behind the size", SPAN_INIT(P "5\nhello\r\n0\r\n\r\n") },
		{ "bare CR in the extension", SPAN_INIT(P "5;a\rb\r\nhello\r\n0\r\n\r\n") },
		{ "LF in the extension", SPAN_INIT(P "5;a\nb\r\nhello\r\n0\r\n\r\n") },
		{ "no line end behind a chunk", SPAN_INIT(P "5\r\nhelloX\r\n0\r\n\r\n") },
		{ "LF alone behind a chunk", SPAN_INIT(P "5\r\nhello\n0\r\n\r\n") },
		{ "no size", SPAN_INIT(P "\r\nhello\r\n0\r\n\r\n") },
		{ "0x size", SPAN_INIT(P "0x5\r\nhello\r\n0\r\n\r\n") },
		{ "blank before the size", SPAN_INIT(P " 5\r\nhello\r\n0\r\n\r\n") },
		{ "blank behind the size", SPAN_INIT(P "5 \r\nhello\r\n0\r\n\r\n") },
		{ "sign", SPAN_INIT(P "+5\r\nhello\r\n0\r\n\r\n") },
		{ "17 digits", SPAN_INIT(P "00000000000000005\r\nhello\r\n0\r\n\r\n") },
		{ "overflow", SPAN_INIT(P "fffffffffffffffff\r\nhello\r\n0\r\n\r\n") },
		{ "folded trailer", SPAN_INIT(P "0\r\nA: b\r\n c\r\n\r\n") },
		{ "bare LF trailer", SPAN_INIT(P "0\r\nA: b\n\r\n") },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf out = {};
		bool ended = ask(rows[i].request, &out);
		if (!ended || !span_starts(buf_span(&out), SPAN("HTTP/1.1 400")))
			fail_msg("%s: got (ended %d) %s", rows[i].name, ended, buf_cstr(&out));
	}
	/* An endless extension, and framing without data. */
	auto_buf struct buf in = {}, out = {};
	buf_str(&in, P "5;");
	for (int i = 0; i < 3000; i++)
		buf_chr(&in, 'x');
	assert_true(ask(buf_span(&in), &out));
	assert_true(span_starts(buf_span(&out), SPAN("HTTP/1.1 400")));
#undef P
}

static void test_limits(void **state)
{
	auto_buf struct buf in = {}, out = {};
	buf_str(&in, H);
	for (int i = 0; i < 7000; i++)
		buf_str(&in, "X: 12345\r\n");
	assert_true(ask(buf_span(&in), &out)); /* many fields */
	assert_true(span_starts(buf_span(&out), SPAN("HTTP/1.1 431")));
	buf_trunc(&in, 0);
	buf_trunc(&out, 0);
	buf_str(&in, H "X: ");
	for (int i = 0; i < 70000; i++)
		buf_chr(&in, 'x');
	assert_true(ask(buf_span(&in), &out)); /* one long field */
	assert_true(span_starts(buf_span(&out), SPAN("HTTP/1.1 431")));
	buf_trunc(&in, 0);
	buf_trunc(&out, 0);
	buf_str(&in, "GET /");
	for (int i = 0; i < 20000; i++)
		buf_chr(&in, 'x');
	assert_true(ask(buf_span(&in), &out));
	assert_true(span_starts(buf_span(&out), SPAN("HTTP/1.1 414")));
#undef H
}

static void test_connection_limit(void **state)
{
	server_end();
	server_make((struct http_limits){ .connections = 2 });
	int a = dial(), b = dial();
	auto_err struct err err = ERR_INIT;
	int s[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	assert_int_equal(http_server_take(server, s[1], 0, &err), -ERR_TOO_MANY);
	char in[200] = "";
	assert_true(recv(s[0], in, sizeof(in) - 1, 0) > 0);
	assert_true(span_starts(span_of(in), SPAN("HTTP/1.1 503 ")));
	close(s[0]);
	close(a);
	close(b);
}

/* ---- bodies ---- */

static void test_whole_body(void **state)
{
	auto_buf struct buf out = {};
	(void)ask(SPAN("POST /whole HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"), &out);
	assert_true(span_ends(buf_span(&out), SPAN("\r\n\r\nhello")));
	assert_events("whole:0:5 ");
	buf_trunc(&out, 0);
	(void)ask(SPAN("GET /whole HTTP/1.1\r\nHost: a\r\n\r\n"), &out);
	assert_events("whole:0:0 ");
	/* Too large by its length: refused before the body came, and before 100 Continue. */
	buf_trunc(&out, 0);
	int fd = dial();
	say(fd, SPAN("POST /whole HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n"));
	assert_true(hear(fd, &out));
	assert_true(span_starts(buf_span(&out), SPAN("HTTP/1.1 413 ")));
	close(fd);
	assert_events("whole:TOO_LARGE:0 ");
	/* Too large as it comes; the rest is thrown away and the connection goes on. */
	buf_trunc(&out, 0);
	auto_buf struct buf in = {};
	buf_str(&in, "POST /whole HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 300; i++)
		buf_str(&in, "a\r\n0123456789\r\n");
	buf_str(&in, "0\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)ask(buf_span(&in), &out);
	assert_true(span_starts(buf_span(&out), SPAN("HTTP/1.1 413 ")));
	assert_true(span_ends(buf_span(&out), SPAN("hello")));
	assert_events("whole:TOO_LARGE:0 ");
}

static void test_expect_continue(void **state)
{
	int fd = dial();
	auto_buf struct buf out = {};
	say(fd, SPAN("POST /whole HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"));
	assert_false(hear(fd, &out));
	assert_string_equal(buf_cstr(&out), "HTTP/1.1 100 Continue\r\n\r\n");
	say(fd, SPAN("hello"));
	(void)hear(fd, &out);
	assert_true(span_ends(buf_span(&out), SPAN("hello")));
	close(fd);
}

static void test_unread_body(void **state)
{
	auto_buf struct buf out = {};
	(void)ask(SPAN("POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), &out);
	undate(&out);
	assert_string_equal(buf_cstr(&out), "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 4\r\n\r\ndone" OK_HELLO);
	/* Too much to throw away: the answer, then the end. */
	buf_trunc(&out, 0);
	assert_true(ask(SPAN("POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nhello"), &out));
	assert_true(span_ends(buf_span(&out), SPAN("done")));
}

static void test_paused_body_stops_the_sender(void **state)
{
	int fd = dial();
	say(fd, SPAN("POST /pause HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n"));
	size_t sent = 0;
	for (int stuck = 0; stuck < 50;) {
		loop_turn(l, false);
		ssize_t n = send(fd, block->data, block->len, MSG_NOSIGNAL);
		if (n > 0) {
			sent += (size_t)n;
			stuck = 0;
		} else {
			stuck++;
		}
	}
	assert_true(sent < 2 * 1000 * 1000); /* what sockets and one buffer hold */
	size_t before = sent;
	http_req_resume(kept); /* one more piece */
	for (int i = 0; i < 20; i++)
		loop_turn(l, false);
	while (send(fd, block->data, block->len, MSG_NOSIGNAL) > 0)
		sent += block->len;
	assert_true(sent > before);
	close(fd);
	buf_trunc(&events, 0);
	for (int i = 0; i < 20; i++)
		loop_turn(l, false);
	assert_true(span_ends(buf_span(&events), SPAN("done:0 ")));
	assert_true(span_has(buf_span(&events), SPAN("hangup ")));
}

/* ---- answers ---- */

/* A connection whose request is kept, to be answered by hand. */
static int dial_keep(void)
{
	int fd = dial();
	say(fd, SPAN("GET /keep HTTP/1.1\r\nHost: a\r\n\r\n"));
	for (int i = 0; i < 5; i++)
		loop_turn(l, false);
	assert_non_null(kept);
	return fd;
}

static void test_slow_reader_costs_bounded_memory(void **state)
{
	int fd = dial_keep();
	/* A well-behaved writer stops above the limit. */
	int added = 0;
	while (http_reply_queued(kept) <= 262144 && added < 10000) {
		http_reply_add(kept, http_bytes(bytes_ref(block)));
		added++;
		loop_turn(l, false);
	}
	assert_in_range(added, 128, 2000);
	auto_buf struct buf out = {};
	(void)hear(fd, &out);
	assert_true(span_has(buf_span(&events), SPAN("drain ")));
	assert_int_equal(http_reply_queued(kept), 0);
	http_reply_end(kept);
	(void)hear(fd, &out);
	assert_null(kept);
	assert_true(span_ends(buf_span(&events), SPAN("done:1 ")));
	close(fd);
}

static void test_reader_that_stops_is_dropped(void **state)
{
	server_end();
	server_make((struct http_limits){ .write_stall_ms = 60 });
	int fd = dial_keep();
	for (int i = 0; i < 1000; i++)
		http_reply_add(kept, http_bytes(bytes_ref(block)));
	int64_t from = clock_mono_ms(clock_real());
	while (kept && clock_mono_ms(clock_real()) - from < 60000)
		loop_turn(l, true);
	assert_null(kept);
	assert_true(span_ends(buf_span(&events), SPAN("hangup done:0 ")));
	assert_int_equal(http_server_stats(server).timeouts, 1);
	/* All references came back with the connection. */
	for (int i = 0; i < 5; i++)
		loop_turn(l, false);
	assert_int_equal(atomic_load(&block->refs), 1);
	close(fd);
}

static void test_big_answer_by_reference(void **state)
{
	auto_buf struct buf out = {};
	(void)ask(SPAN("GET /big HTTP/1.1\r\nHost: a\r\n\r\n"), &out);
	ptrdiff_t at = span_find(buf_span(&out), SPAN("\r\n\r\n"));
	assert_int_equal(out.len - (size_t)at - 4, 2000 * block->len);
	for (int i = 0; i < 2000; i++)
		assert_memory_equal(out.ptr + at + 4 + (size_t)i * block->len, block->data, block->len);
	assert_events("done:1 ");
	assert_int_equal(atomic_load(&block->refs), 1);
}

static void test_gzip(void **state)
{
	auto_buf struct buf out = {}, body = {};
	(void)ask(SPAN("GET /gzip HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br, gzip;q=0.5\r\n\r\n"), &out);
	assert_true(span_has(buf_span(&out), SPAN("content-encoding: gzip\r\n")));
	assert_true(span_has(buf_span(&out), SPAN("Transfer-Encoding: chunked\r\n")));
	/* Undo the chunks, then the compression. */
	struct http_chunked c = {};
	struct span in = span_from(buf_span(&out), (size_t)span_find(buf_span(&out), SPAN("\r\n\r\n")) + 4), part;
	const char *why;
	int rc;
	while ((rc = http_chunked_next(&c, &in, &part, &why)) == HTTP_CHUNK_DATA)
		buf_span_add(&body, part);
	assert_int_equal(rc, HTTP_CHUNK_END);
	http_chunked_done(&c);
	char *plain = mem_alloc(2000 * block->len + 1);
	z_stream z = { .next_in = (void *)body.ptr, .avail_in = (unsigned)body.len, .next_out = (void *)plain,
		.avail_out = (unsigned)(2000 * block->len + 1) };
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(z.total_out, 2000 * block->len);
	inflateEnd(&z);
	assert_memory_equal(plain, block->data, block->len);
	free(plain);
	/* Not asked for, or refused. */
	buf_trunc(&out, 0);
	(void)ask(SPAN("GET /gzip HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip;q=0.0\r\n\r\n"), &out);
	assert_false(span_has(buf_span(&out), SPAN("content-encoding")));
	assert_true(span_has(buf_span(&out), SPAN("vary: Accept-Encoding\r\n")));
}

static void test_abort_cannot_pass_for_the_end(void **state)
{
	auto_buf struct buf out = {};
	assert_true(ask(SPAN("GET /abort HTTP/1.1\r\nHost: a\r\n\r\n"), &out));
	assert_false(span_has(buf_span(&out), SPAN("0\r\n\r\n")));
}

static void test_peer_goes_away(void **state)
{
	int fd = dial();
	say(fd, SPAN("GET /keep HTTP/1.1\r\nHost: a\r\n\r\n"));
	auto_buf struct buf out = {};
	(void)hear(fd, &out);
	close(fd);
	for (int i = 0; i < 10; i++)
		loop_turn(l, false);
	assert_true(span_starts(buf_span(&events), SPAN("hangup ")));
	if (kept) /* a half close does not end the answer: the handler decides */
		http_reply_end(kept);
	for (int i = 0; i < 10; i++)
		loop_turn(l, false);
	assert_null(kept);
	assert_int_equal(http_server_stats(server).connections, 0);
}

/* ---- time ---- */

static void test_slow_loris(void **state)
{
	server_end();
	server_make((struct http_limits){ .header_ms = 50, .idle_ms = 100, .body_stall_ms = 50, .handshake_ms = 50 });
	auto_buf struct buf out = {};
	int fd = dial();
	for (int i = 0; i < 20; i++) { /* a byte now and then does not help */
		say(fd, span_sub(SPAN("GET /hello HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaa"), (size_t)i, (size_t)i + 1));
		turn_for(4);
	}
	assert_true(hear(fd, &out));
	assert_true(span_starts(buf_span(&out), SPAN("HTTP/1.1 408 ")));
	close(fd);

	buf_trunc(&out, 0);
	fd = dial(); /* a body that stops */
	say(fd, SPAN("POST /whole HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"));
	turn_for(80);
	assert_true(hear(fd, &out));
	close(fd);

	fd = dial(); /* nothing at all: the idle time */
	turn_for(60);
	buf_trunc(&out, 0);
	assert_false(hear(fd, &out));
	turn_for(60);
	assert_true(hear(fd, &out));
	assert_int_equal(out.len, 0);
	close(fd);
	fd = dial(); /* half an HTTP/2 preface */
	say(fd, SPAN("PRI * HT"));
	turn_for(80);
	assert_true(hear(fd, &out));
	close(fd);
	assert_int_equal(http_server_stats(server).timeouts, 3);
}

/* What is answered within the turn in which it came is no idleness either. */
static void test_busy_is_not_idle(void **state)
{
	server_end();
	server_make((struct http_limits){ .idle_ms = 200 });
	int fd = dial();
	for (int i = 0; i < 10; i++) {
		auto_buf struct buf out = {};
		say(fd, SPAN("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
		turn_for(50);
		assert_false(hear(fd, &out));
		assert_true(span_starts(buf_span(&out), SPAN("HTTP/1.1 200 ")));
	}
	turn_for(400);
	auto_buf struct buf none = {};
	assert_true(hear(fd, &none));
	assert_int_equal(none.len, 0);
	close(fd);
}

static void test_graceful_stop(void **state)
{
	int busy = dial(), idle = dial();
	auto_buf struct buf out = {}, none = {};
	say(busy, SPAN("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"));
	(void)hear(busy, &out);
	bool over = false;
	http_server_stop(server, 5000, stopped, &over);
	assert_true(hear(idle, &none));
	assert_false(over);
	http_reply_text(kept, 200, "text/plain", SPAN("last"));
	assert_true(hear(busy, &out));
	assert_true(span_has(buf_span(&out), SPAN("Connection: close\r\n")));
	assert_true(span_ends(buf_span(&out), SPAN("last")));
	close(busy);
	close(idle);
	for (int i = 0; i < 20 && !over; i++)
		loop_turn(l, false);
	assert_true(over);
	http_server_free(server);
	server_make((struct http_limits){});
}

/* ---- hijacking ---- */

static void test_hijack(void **state)
{
	static const struct { struct span request; const char *head; } rows[] = {
		{ SPAN_INIT("POST /hijack HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly"),
		  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n" },
		{ SPAN_INIT("POST /hijack HTTP/1.1\r\nHost: a\r\n\r\nearly"), "HTTP/1.1 200 OK\r\n\r\n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf out = {}, expected = {};
		int fd = dial();
		say(fd, rows[i].request);
		assert_false(hear(fd, &out));
		say(fd, SPAN("more"));
		assert_false(hear(fd, &out));
		shutdown(fd, SHUT_WR); /* our end; the other still answers */
		assert_true(hear(fd, &out));
		buf_str(&expected, rows[i].head);
		buf_str(&expected, "earlymorebye");
		assert_string_equal(buf_cstr(&out), buf_cstr(&expected));
		close(fd);
		for (int k = 0; k < 10; k++)
			loop_turn(l, false);
		assert_events("raw:early raw:more rawend rawclosed:0 ");
		assert_null(raw);
		assert_int_equal(http_server_stats(server).connections, 0);
	}
}

/* What is read by one recv while the server has all the turns it wants. */
static struct span hear_once(int fd, char *text, size_t room)
{
	struct pollfd p = { fd, POLLIN, 0 };
	for (int i = 0; i < 2000 && poll(&p, 1, 1) == 0; i++)
		loop_turn(l, false);
	for (int i = 0; i < 20; i++) { /* ... and what would come behind it, too */
		loop_turn(l, false);
		(void)poll(NULL, 0, 1);
	}
	ssize_t n = recv(fd, text, room, MSG_DONTWAIT);
	return span_make(text, n > 0 ? (size_t)n : 0);
}

/* A client that has left HTTP (`raw` is the server's side), and has not read the head of the answer. */
static int dial_held(unsigned ms)
{
	int fd = dial();
	say(fd, SPAN("POST /hijack HTTP/1.1\r\nHost: a\r\n\r\n"));
	for (int i = 0; i < 1000 && !raw; i++)
		loop_turn(l, false);
	http_duplex_hold(raw, ms);
	return fd;
}

/* The client takes its time: the head comes alone, and then all that was written behind it, and the end. */
static void test_hijack_held(void **state)
{
	char text[500];
	for (int close_it = 0; close_it < 2; close_it++) {
		int fd = dial_held(20000);
		http_duplex_write(raw, http_copy(SPAN("first ")));
		http_duplex_write(raw, http_copy(SPAN("second")));
		assert_true(http_duplex_queued(raw) >= 12);
		if (close_it)
			http_duplex_close(raw);
		assert_true(span_is(hear_once(fd, text, sizeof(text)), "HTTP/1.1 200 OK\r\n\r\n"));
		assert_true(span_is(hear_once(fd, text, sizeof(text)), "first second"));
		if (!close_it) { /* nothing is held any more */
			assert_int_equal(http_duplex_queued(raw), 0);
			http_duplex_write(raw, http_copy(SPAN("third")));
			assert_true(span_is(hear_once(fd, text, sizeof(text)), "third"));
			http_duplex_close(raw);
		}
		auto_buf struct buf rest = {};
		assert_true(hear(fd, &rest));
		assert_int_equal(rest.len, 0);
		close(fd);
		for (int k = 0; k < 10; k++)
			loop_turn(l, false);
		assert_events("rawclosed:0 ");
		raw = NULL;
	}
	/* A client that reads nothing at all gets it all the same, after its time. */
	int fd = dial_held(5);
	http_duplex_write(raw, http_copy(SPAN("late")));
	assert_true(span_is(hear_once(fd, text, sizeof(text)), "HTTP/1.1 200 OK\r\n\r\nlate"));
	/* Aborted while something is held. */
	http_duplex_write(raw, http_copy(SPAN("x")));
	loop_turn(l, false);
	http_duplex_hold(raw, 20000);
	http_duplex_write(raw, http_copy(SPAN("y")));
	assert_int_equal(http_duplex_queued(raw), 1);
	http_duplex_abort(raw);
	for (int k = 0; k < 10; k++)
		loop_turn(l, false);
	assert_events("rawclosed:0 ");
	close(fd);
	assert_int_equal(http_server_stats(server).connections, 0);
}

/* ---- paths ---- */

static void test_segments(void **state)
{
	static const struct { struct span path; const char *expected; } rows[] = {
		{ SPAN_INIT("/"), "[]" },
		{ SPAN_INIT("/api/v1/pods"), "[api][v1][pods]" },
		{ SPAN_INIT("/api/v1/"), "[api][v1][]" },
		{ SPAN_INIT("/a%20b/%C3%A4"), "[a b][\xc3\xa4]" },
		{ SPAN_INIT("/a:b@c;d"), "[a:b@c;d]" },
		{ SPAN_INIT("/a//b"), NULL },
		{ SPAN_INIT("//a"), NULL },
		{ SPAN_INIT("/a//"), NULL },
		{ SPAN_INIT("/a/../b"), NULL },
		{ SPAN_INIT("/a/%2e%2E/b"), NULL },
		{ SPAN_INIT("/./b"), NULL },
		{ SPAN_INIT("/a%2Fb"), NULL },
		{ SPAN_INIT("/a%5cb"), NULL },
		{ SPAN_INIT("/a\\b"), NULL },
		{ SPAN_INIT("/a%00"), NULL },
		{ SPAN_INIT("/a%0a"), NULL },
		{ SPAN_INIT("/a%zz"), NULL },
		{ SPAN_INIT("/a%4"), NULL },
		{ SPAN_INIT("/%ff"), NULL },
		{ SPAN_INIT("*"), NULL },
		{ SPAN_INIT(""), NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		const struct span *segments;
		size_t n;
		int rc = http_path_segments(&a, rows[i].path, &segments, &n, &err);
		if (!rows[i].expected) {
			if (rc != -ERR_INVALID_REQUEST)
				fail_msg("%s was taken", rows[i].path.ptr);
			continue;
		}
		if (rc < 0)
			fail_msg("%s: %s", rows[i].path.ptr, err_msg(&err));
		auto_buf struct buf all = {};
		for (size_t k = 0; k < n; k++)
			buf_printf(&all, "[%.*s]", SPAN_ARG(segments[k]));
		assert_string_equal(buf_cstr(&all), rows[i].expected);
	}
}

/* ---- many ---- */

static void test_ten_thousand_idle(void **state)
{
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	int n = (int)MIN((rlim_t)10000, (files.rlim_max - 200) / 2);
	int *fds = mem_alloc((size_t)n * sizeof(*fds));
	auto_buf struct buf out = {};
	size_t before = mallinfo2().uordblks;
	for (int i = 0; i < n; i++) {
		fds[i] = dial();
		say(fds[i], SPAN("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
		buf_trunc(&out, 0);
		loop_turn(l, false);
		char in[512];
		for (int k = 0; k < 20 && recv(fds[i], in, sizeof(in), 0) <= 0; k++)
			loop_turn(l, false);
	}
	struct http_server_stats s = http_server_stats(server);
	assert_int_equal(s.connections, n);
	assert_int_equal(s.idle, n);
	assert_int_equal(s.requests, n);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	size_t each = (mallinfo2().uordblks - before) / (size_t)n;
	print_message("%d idle plain connections, %zu bytes each\n", n, each);
	assert_in_range(each, 100, 3000);
#endif
	(void)before;
	for (int i = 0; i < n; i++)
		close(fds[i]);
	for (int i = 0; i < 100 && http_server_stats(server).connections; i++)
		loop_turn(l, false);
	assert_int_equal(http_server_stats(server).connections, 0);
	free(fds);
}

/* What people type into nc: lines that end with LF alone, from unix sockets where the server takes them, and from nowhere else. */
static void test_bare_lf(void **state)
{
	static const struct { struct span request; int answers; } rows[] = {
		{ SPAN_INIT("GET /hello HTTP/1.0\r\n\n"), 1 },
		{ SPAN_INIT("GET /hello HTTP/1.0\n\n"), 1 },
		{ SPAN_INIT("\n\nGET /hello HTTP/1.1\nHost: a\n\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), 2 },
		{ SPAN_INIT("POST /echo HTTP/1.1\nHost: a\nContent-Length: 2\n\n\n\nGET /hello HTTP/1.1\nHost: a\n\n"), 2 },
		{ SPAN_INIT("GET /hello HTTP/1.1\nHost: a\n b\n\n"), 0 },
		{ SPAN_INIT("GET /hello HTTP/1.1\rHost: a\n\n"), 0 },
	};
	for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
		bool taken = i % 2;
		int pair[2];
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		server_end();
		bare_lf = taken;
		server_make((struct http_limits){});
		bare_lf = false;
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
		assert_int_equal(http_server_take(server, pair[0], 0, &err), 0);
		say(pair[1], rows[i / 2].request);
		(void)hear(pair[1], &out);
		int n = 0;
		for (const char *at = buf_cstr(&out); (at = strstr(at, "HTTP/1.1 200 ")); at++)
			n++;
		assert_int_equal(n, taken ? rows[i / 2].answers : 0);
		if (!n)
			assert_non_null(strstr(buf_cstr(&out), "HTTP/1.1 400 "));
		close(pair[1]);
	}
}

static void test_unix_listener(void **state)
{
	auto_err struct err err = ERR_INIT;
	char path[] = "/tmp/http-test-XXXXXX";
	int tmp = mkstemp(path);
	close(tmp);
	unlink(path);
	int fd = http_listen_unix(path, 0600, &err);
	assert_true(fd >= 0);
	assert_int_equal(http_listen_unix(path, 0600, &err), -ERR_IN_USE);
	assert_int_equal(http_server_listen(server, fd, 0, &err), 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	memcpy(addr.sun_path, path, strlen(path) + 1);
	int c = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(c, (struct sockaddr *)&addr, sizeof(addr)), 0);
	fcntl(c, F_SETFL, O_NONBLOCK);
	say(c, SPAN("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"));
	for (int i = 0; i < 10 && !kept; i++)
		loop_turn(l, false);
	assert_true(http_req_peer(kept)->is_unix);
	assert_int_equal(http_req_peer(kept)->cred.uid, getuid());
	assert_int_equal(http_req_peer(kept)->cred.pid, getpid());
	http_reply_end(kept);
	auto_buf struct buf out = {};
	(void)hear(c, &out);
	close(c);
	server_end();
	/* The file of a listener that is gone is replaced. */
	fd = http_listen_unix(path, 0600, &err);
	if (fd < 0)
		fail_msg("%s", err_msg(&err));
	close(fd);
	unlink(path);
	server_make((struct http_limits){});
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_simple_answers),
		TEST(test_etag),
		TEST(test_byte_at_a_time),
		TEST(test_pipelining),
		TEST(test_pipeline_waits_for_a_slow_answer),
		TEST(test_refusals),
		TEST(test_bad_chunks),
		TEST(test_limits),
		TEST(test_connection_limit),
		TEST(test_whole_body),
		TEST(test_expect_continue),
		TEST(test_unread_body),
		TEST(test_paused_body_stops_the_sender),
		TEST(test_slow_reader_costs_bounded_memory),
		TEST(test_reader_that_stops_is_dropped),
		TEST(test_big_answer_by_reference),
		TEST(test_gzip),
		TEST(test_abort_cannot_pass_for_the_end),
		TEST(test_peer_goes_away),
		TEST(test_slow_loris),
		TEST(test_busy_is_not_idle),
		TEST(test_graceful_stop),
		TEST(test_hijack),
		TEST(test_hijack_held),
		TEST(test_segments),
		TEST(test_ten_thousand_idle),
		TEST(test_bare_lf),
		TEST(test_unix_listener),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
