/* The server's HTTP/2 with hand-made frames: what a well-behaved library would not send. */
#include "http/http_test_server.h"

/* ---- frames ---- */

enum { F_DATA = 0, F_HEADERS = 1, F_PRIORITY = 2, F_RST = 3, F_SETTINGS = 4, F_PING = 6, F_GOAWAY = 7, F_WINDOW = 8,
	F_CONTINUATION = 9, END_STREAM = 1, END_HEADERS = 4 };

static void frame(struct buf *b, unsigned type, unsigned flags, uint32_t id, struct span payload)
{
	unsigned char h[9] = { (unsigned char)(payload.len >> 16), (unsigned char)(payload.len >> 8), (unsigned char)payload.len,
		(unsigned char)type, (unsigned char)flags, (unsigned char)(id >> 24), (unsigned char)(id >> 16),
		(unsigned char)(id >> 8), (unsigned char)id };
	buf_add(b, h, 9);
	buf_span_add(b, payload);
}

static void field(struct buf *b, const char *name, const char *value)
{
	buf_chr(b, 0);
	buf_chr(b, (char)strlen(name));
	buf_str(b, name);
	buf_chr(b, (char)strlen(value));
	buf_str(b, value);
}

static void request(struct buf *b, uint32_t id, const char *method, const char *path, unsigned flags)
{
	auto_buf struct buf h = {};
	field(&h, ":method", method);
	field(&h, ":scheme", "http");
	field(&h, ":path", path);
	field(&h, ":authority", "a");
	frame(b, F_HEADERS, END_HEADERS | flags, id, buf_span(&h));
}

static void preface(struct buf *b, struct span settings)
{
	buf_str(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	frame(b, F_SETTINGS, 0, 0, settings);
}

/* What came, as text: "H1 D1:5* R3:8 G:11 ..." (* = end of stream; settings, pings and windows only when asked for). */
static void read_frames(struct span in, struct buf *out, struct buf *data)
{
	while (in.len >= 9) {
		const unsigned char *p = (const unsigned char *)in.ptr;
		size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
		unsigned type = p[3], flags = p[4];
		uint32_t id = (uint32_t)p[5] << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8];
		if (in.len < 9 + len)
			fail_msg("a cut frame of type %u", type);
		struct span payload = span_sub(in, 9, 9 + len);
		uint32_t code = 0;
		if (type == F_RST && len == 4)
			code = (uint32_t)(unsigned char)payload.ptr[3];
		if (type == F_GOAWAY && len >= 8)
			code = (uint32_t)(unsigned char)payload.ptr[7];
		if (type == F_HEADERS)
			buf_printf(out, "H%u%s ", id, flags & END_STREAM ? "*" : "");
		else if (type == F_DATA) {
			buf_printf(out, "D%u:%zu%s ", id, len, flags & END_STREAM ? "*" : "");
			if (data)
				buf_span_add(data, payload);
		} else if (type == F_RST)
			buf_printf(out, "R%u:%u ", id, code);
		else if (type == F_GOAWAY)
			buf_printf(out, "G:%u ", code);
		else if (type == F_WINDOW)
			buf_printf(out, "W%u ", id);
		else if (type == F_PING)
			buf_printf(out, "P ");
		in = span_from(in, 9 + len);
	}
}

static bool exchange(int fd, struct buf *in, struct buf *out, struct buf *data)
{
	auto_buf struct buf raw_in = {};
	say(fd, buf_span(in));
	buf_trunc(in, 0);
	bool ended = hear(fd, &raw_in);
	read_frames(buf_span(&raw_in), out, data);
	return ended;
}

#define assert_frames(out, expected)                                                                                   \
	do {                                                                                                           \
		assert_string_equal(buf_cstr(out), expected);                                                          \
		buf_trunc(out, 0);                                                                                     \
	} while (0)

/* ---- tests ---- */

static void test_requests(void **state)
{
	int fd = dial();
	auto_buf struct buf in = {}, out = {}, data = {};
	preface(&in, SPAN_EMPTY);
	request(&in, 1, "GET", "/hello", END_STREAM);
	request(&in, 3, "HEAD", "/hello", END_STREAM);
	request(&in, 5, "GET", "/empty", END_STREAM);
	request(&in, 7, "POST", "/echo", 0);
	frame(&in, F_DATA, 0, 7, SPAN("he"));
	assert_false(exchange(fd, &in, &out, &data));
	assert_frames(&out, "W0 H1 H3* H5* H7 D1:5* D7:2 ");
	assert_string_equal(buf_cstr(&data), "hellohe");
	auto_buf struct buf trailer = {};
	field(&trailer, "x-sum", "5");
	frame(&in, F_DATA, 0, 7, SPAN("llo"));
	frame(&in, F_HEADERS, END_HEADERS | END_STREAM, 7, buf_span(&trailer));
	assert_false(exchange(fd, &in, &out, NULL));
	assert_frames(&out, "D7:3 H7* "); /* the trailer comes back */
	struct http_server_stats s = http_server_stats(server);
	assert_int_equal(s.requests, 4);
	assert_int_equal(s.streams, 0);
	close(fd);
}

static void test_byte_at_a_time(void **state)
{
	int fd = dial();
	auto_buf struct buf in = {}, out = {}, raw_in = {};
	preface(&in, SPAN_EMPTY);
	request(&in, 1, "GET", "/hello", END_STREAM);
	for (size_t i = 0; i < in.len; i++) {
		say(fd, span_sub(buf_span(&in), i, i + 1));
		loop_turn(l, false);
	}
	(void)hear(fd, &raw_in);
	read_frames(buf_span(&raw_in), &out, NULL);
	assert_frames(&out, "W0 H1 D1:5* ");
	close(fd);
}

static void test_bad_requests(void **state)
{
	int fd = dial();
	auto_buf struct buf in = {}, out = {}, h = {}, data = {};
	preface(&in, SPAN_EMPTY);
	field(&h, ":method", "GET");
	field(&h, ":scheme", "http");
	field(&h, ":path", "/hello");
	field(&h, ":authority", "a");
	field(&h, "host", "b");
	frame(&in, F_HEADERS, END_HEADERS | END_STREAM, 1, buf_span(&h));
	assert_false(exchange(fd, &in, &out, &data));
	assert_frames(&out, "W0 H1 D1:26* ");
	assert_string_equal(buf_cstr(&data), ":authority and Host differ");
	/* Malformed for nghttp2: the stream is reset, the connection goes on. */
	request(&in, 3, "GET", "hello", END_STREAM);
	buf_trunc(&h, 0);
	field(&h, ":method", "GET");
	field(&h, ":scheme", "http");
	field(&h, ":path", "/hello");
	field(&h, "Upper", "x");
	frame(&in, F_HEADERS, END_HEADERS | END_STREAM, 5, buf_span(&h));
	request(&in, 7, "GET", "/hello", END_STREAM);
	assert_false(exchange(fd, &in, &out, NULL));
	assert_frames(&out, "R3:1 R5:1 H7 D7:5* ");
	close(fd);
}

static void test_header_limits(void **state)
{
	int fd = dial();
	auto_buf struct buf in = {}, out = {}, h = {};
	preface(&in, SPAN_EMPTY);
	field(&h, ":method", "GET");
	field(&h, ":scheme", "http");
	field(&h, ":path", "/hello");
	field(&h, ":authority", "a");
	for (int i = 0; i < 300; i++)
		field(&h, "x-a", "some value");
	frame(&in, F_HEADERS, END_HEADERS | END_STREAM, 1, buf_span(&h));
	request(&in, 3, "GET", "/hello", END_STREAM);
	assert_false(exchange(fd, &in, &out, NULL));
	assert_true(span_has(buf_span(&out), SPAN("H1 ")));  /* 431 */
	assert_true(span_has(buf_span(&out), SPAN("D3:5* "))); /* the connection goes on */
	assert_int_equal(http_server_stats(server).bad_requests, 1);
	assert_int_equal(http_server_stats(server).requests, 1);
	close(fd);
}

/* Floods: each is answered with the end of the connection, and soon. */
static void flood_with(const char *name, void (*add)(struct buf *b, int i), const char *goaway)
{
	int fd = dial();
	auto_buf struct buf in = {}, out = {}, raw_in = {};
	preface(&in, SPAN_EMPTY);
	bool ended = false;
	for (int i = 0; i < 100000 && !ended; i++) {
		add(&in, i);
		if (in.len > 4000) {
			say(fd, buf_span(&in));
			buf_trunc(&in, 0);
			for (int k = 0; k < 4 && !ended; k++) {
				loop_turn(l, false);
				char piece[65536];
				ssize_t n = recv(fd, piece, sizeof(piece), 0);
				if (n > 0)
					buf_add(&raw_in, piece, (size_t)n);
				ended = n == 0 || (n < 0 && errno == ECONNRESET);
			}
		}
	}
	if (!ended)
		fail_msg("%s: 100,000 frames were taken", name);
	read_frames(buf_span(&raw_in), &out, NULL);
	if (!span_has(buf_span(&out), span_of(goaway)))
		fail_msg("%s: no %s", name, goaway);
	close(fd);
	for (int i = 0; i < 5; i++)
		loop_turn(l, false);
	assert_int_equal(http_server_stats(server).streams, 0);
}

static void add_reset(struct buf *b, int i)
{
	request(b, (uint32_t)i * 2 + 1, "GET", "/wait", END_STREAM);
	frame(b, F_RST, 0, (uint32_t)i * 2 + 1, SPAN("\0\0\0\x08"));
}

static void add_made_reset(struct buf *b, int i) /* the server is made to reset: a window that overflows */
{
	request(b, (uint32_t)i * 2 + 1, "GET", "/wait", END_STREAM);
	frame(b, F_WINDOW, 0, (uint32_t)i * 2 + 1, SPAN("\0\0\0\0"));
}

static void add_ping(struct buf *b, int i)
{
	frame(b, F_PING, 0, 0, SPAN("12345678"));
}

static void add_settings(struct buf *b, int i)
{
	frame(b, F_SETTINGS, 0, 0, SPAN_EMPTY);
}

static void add_priority(struct buf *b, int i)
{
	frame(b, F_PRIORITY, 0, (uint32_t)i * 2 + 1, SPAN("\0\0\0\0\x10"));
}

static void add_empty_data(struct buf *b, int i)
{
	if (i == 0)
		request(b, 1, "POST", "/echo", 0);
	frame(b, F_DATA, 0, 1, SPAN_EMPTY);
}

static void add_window(struct buf *b, int i)
{
	frame(b, F_WINDOW, 0, 0, SPAN("\0\0\0\1"));
}

static void add_continuation(struct buf *b, int i)
{
	if (i == 0)
		frame(b, F_HEADERS, END_STREAM, 1, SPAN("\x82\x86"));
	frame(b, F_CONTINUATION, 0, 1, SPAN("\0\1a\1b"));
}

static void test_floods(void **state)
{
	flood_with("rapid reset", add_reset, "G:11 ");
	flood_with("made to reset", add_made_reset, "G:");
	flood_with("pings", add_ping, "G:11 ");
	flood_with("settings", add_settings, "G:11 ");
	flood_with("priorities", add_priority, "G:11 ");
	flood_with("empty data", add_empty_data, "G:11 ");
	flood_with("windows", add_window, "G:11 ");
	flood_with("continuation", add_continuation, "");
	assert_in_range(http_server_stats(server).floods, 6, 8);
	buf_trunc(&events, 0);
}

static void test_streams_are_bounded(void **state)
{
	server_end();
	server_make((struct http_limits){ .streams = 5 });
	int fd = dial();
	auto_buf struct buf in = {}, out = {};
	preface(&in, SPAN_EMPTY);
	assert_false(exchange(fd, &in, &out, NULL));
	frame(&in, F_SETTINGS, 1, 0, SPAN_EMPTY); /* ours is acknowledged: the limit holds */
	for (uint32_t i = 0; i < 7; i++)
		request(&in, 2 * i + 1, "GET", "/wait", END_STREAM);
	buf_trunc(&out, 0);
	(void)exchange(fd, &in, &out, NULL);
	assert_true(http_server_stats(server).streams <= 5);
	assert_true(span_has(buf_span(&out), SPAN("R11:")) || span_has(buf_span(&out), SPAN("G:")));
	close(fd);
	for (int i = 0; i < 5; i++)
		loop_turn(l, false);
	assert_int_equal(http_server_stats(server).streams, 0);
	buf_trunc(&events, 0);
}

static void test_closed_window(void **state)
{
	server_end();
	server_make((struct http_limits){ .write_stall_ms = 80 });
	int fd = dial();
	auto_buf struct buf in = {}, out = {};
	preface(&in, SPAN("\0\4\0\0\0\0")); /* SETTINGS_INITIAL_WINDOW_SIZE 0 */
	request(&in, 1, "GET", "/big", END_STREAM);
	assert_false(exchange(fd, &in, &out, NULL));
	assert_frames(&out, "W0 H1 ");
	frame(&in, F_WINDOW, 0, 1, SPAN("\0\0\0\x0a"));
	assert_false(exchange(fd, &in, &out, NULL));
	assert_frames(&out, "D1:10 ");
	assert_int_equal(http_server_stats(server).streams, 1);
	turn_for(200); /* the reader never takes the rest: the stream is dropped, the connection goes on */
	request(&in, 3, "GET", "/empty", END_STREAM);
	assert_false(exchange(fd, &in, &out, NULL));
	assert_frames(&out, "R1:2 H3* ");
	assert_events("done:0 "); /* the answer was complete for its handler: no hangup */
	assert_int_equal(atomic_load(&block->refs), 1);
	close(fd);
}

/* A writer that stopped above the limit is told when its stream has drained, though nothing else happens on it. */
static void test_drain_is_told(void **state)
{
	int fd = dial();
	auto_buf struct buf in = {}, out = {}, data = {};
	preface(&in, SPAN("\0\4\x7f\xff\xff\xff"));
	frame(&in, F_WINDOW, 0, 0, SPAN("\x0f\0\0\0"));
	request(&in, 1, "GET", "/keep", END_STREAM);
	assert_false(exchange(fd, &in, &out, NULL));
	assert_non_null(kept);
	size_t added = 0, rounds = 0;
	for (; rounds < 4; rounds++) {
		while (http_reply_queued(kept) <= 262144) {
			http_reply_add(kept, http_bytes(bytes_ref(block)));
			added += block->len;
		}
		(void)exchange(fd, &in, &out, &data);
		assert_events("drain ");
		assert_int_equal(http_reply_queued(kept), 0);
	}
	assert_int_equal(data.len, added);
	http_reply_end(kept);
	(void)exchange(fd, &in, &out, NULL);
	assert_events("done:1 ");
	close(fd);
}

static void test_paused_body_keeps_the_window_shut(void **state)
{
	int fd = dial();
	auto_buf struct buf in = {}, out = {}, piece = {};
	for (int i = 0; i < 16384; i++)
		buf_chr(&piece, 'x');
	preface(&in, SPAN_EMPTY);
	assert_false(exchange(fd, &in, &out, NULL));
	assert_frames(&out, "W0 ");
	frame(&in, F_SETTINGS, 1, 0, SPAN_EMPTY); /* the server's larger window holds from here on */
	request(&in, 1, "POST", "/pause", 0);
	for (int i = 0; i < 15; i++) /* 245,760 of 262,144 bytes */
		frame(&in, F_DATA, 0, 1, buf_span(&piece));
	assert_false(exchange(fd, &in, &out, NULL));
	assert_frames(&out, ""); /* nothing is given back but the first piece, which is too small to tell */
	assert_events("data:16384 ");
	http_req_resume(kept);
	assert_false(exchange(fd, &in, &out, NULL));
	assert_true(span_has(buf_span(&out), SPAN("W1 ")));
	assert_events("data:229376 ");
	frame(&in, F_RST, 0, 1, SPAN("\0\0\0\x08"));
	(void)exchange(fd, &in, &out, NULL);
	assert_events("hangup done:0 ");
	close(fd);
}

static void test_slow_bodies_go_alone(void **state)
{
	server_end();
	server_make((struct http_limits){ .body_stall_ms = 1500, .body_bytes_per_s = 1000 });
	int fd = dial();
	auto_buf struct buf in = {}, out = {}, lively = {};
	for (int i = 0; i < 40; i++)
		buf_chr(&lively, 'x');
	preface(&in, SPAN_EMPTY);
	request(&in, 1, "POST", "/echo", 0); /* stalls */
	request(&in, 3, "POST", "/echo", 0); /* trickles: 50 bytes a second at most */
	request(&in, 5, "POST", "/echo", 0); /* moves: 40 bytes for each of those */
	request(&in, 7, "POST", "/pause", 0); /* its handler waits: not the peer's fault */
	frame(&in, F_DATA, 0, 7, SPAN("x"));
	(void)exchange(fd, &in, &out, NULL);
	buf_trunc(&out, 0);
	int64_t from = clock_mono_ms(clock_real());
	while (clock_mono_ms(clock_real()) - from < 4000) { /* a busy machine may have us wait for a second */
		/* enough for the time that passed, however busy the machine is */
		int64_t ms = clock_mono_ms(clock_real());
		if (!span_has(buf_span(&out), SPAN("R3:2")))
			frame(&in, F_DATA, 0, 3, SPAN("x"));
		(void)exchange(fd, &in, &out, NULL);
		turn_for(15);
		for (ms = clock_mono_ms(clock_real()) - ms; ms > 0; ms -= 20)
			frame(&in, F_DATA, 0, 5, buf_span(&lively));
	}
	frame(&in, F_DATA, END_STREAM, 5, SPAN_EMPTY);
	(void)exchange(fd, &in, &out, NULL);
	assert_true(span_has(buf_span(&out), SPAN("R1:2 ")));
	assert_true(span_has(buf_span(&out), SPAN("R3:2 ")));
	assert_false(span_has(buf_span(&out), SPAN("R5:")));
	assert_false(span_has(buf_span(&out), SPAN("R7:")));
	assert_true(span_has(buf_span(&out), SPAN("* ")));
	assert_int_equal(http_server_stats(server).timeouts, 2);
	assert_int_equal(http_server_stats(server).streams, 1);
	close(fd);
	turn_for(10);
	buf_trunc(&events, 0);
	server_end();
	server_make((struct http_limits){});
}

static void test_quiet_connections_are_pinged(void **state)
{
	server_end();
	server_make((struct http_limits){ .ping_ms = 100 });
	int fd = dial();
	auto_buf struct buf in = {}, out = {};
	preface(&in, SPAN_EMPTY);
	(void)exchange(fd, &in, &out, NULL);
	turn_for(150);
	(void)exchange(fd, &in, &out, NULL);
	assert_frames(&out, "W0 "); /* without a stream it may be as quiet as it likes */
	request(&in, 1, "GET", "/wait", END_STREAM);
	(void)exchange(fd, &in, &out, NULL);
	int64_t limit = clock_mono_ms(clock_real()) + 60000;
	while (!out.len && clock_mono_ms(clock_real()) < limit) {
		turn_for(5);
		(void)exchange(fd, &in, &out, NULL);
	}
	assert_frames(&out, "P ");
	frame(&in, F_PING, 1, 0, SPAN("\0\0\0\0\0\0\0\0")); /* alive */
	(void)exchange(fd, &in, &out, NULL);
	turn_for(50);
	assert_int_equal(http_server_stats(server).connections, 1);
	assert_int_equal(http_server_stats(server).timeouts, 0);
	bool ended = false; /* silence: pinged again, then ended */
	while (!ended && clock_mono_ms(clock_real()) < limit) {
		turn_for(5);
		ended = exchange(fd, &in, &out, NULL);
	}
	assert_true(ended);
	assert_frames(&out, "P ");
	assert_int_equal(http_server_stats(server).timeouts, 1);
	assert_int_equal(http_server_stats(server).connections, 0);
	assert_events("hangup done:0 ");
	close(fd);
	server_end();
	server_make((struct http_limits){});
}

static void test_graceful_stop(void **state)
{
	int fd = dial();
	auto_buf struct buf in = {}, out = {};
	preface(&in, SPAN_EMPTY);
	request(&in, 1, "GET", "/wait", END_STREAM);
	assert_false(exchange(fd, &in, &out, NULL));
	buf_trunc(&out, 0);
	bool over = false;
	http_server_stop(server, 5000, stopped, &over);
	assert_false(exchange(fd, &in, &out, NULL));
	assert_frames(&out, "G:0 ");
	http_reply_text(kept, 200, "text/plain", SPAN("last"));
	assert_true(exchange(fd, &in, &out, NULL));
	assert_frames(&out, "H1 D1:4* ");
	close(fd);
	for (int i = 0; i < 20 && !over; i++)
		loop_turn(l, false);
	assert_true(over);
	http_server_free(server);
	server_make((struct http_limits){});
	buf_trunc(&events, 0);
}

static void test_idle_streams(void **state)
{
	enum { CONNS = 8, STREAMS = 250 };
	int fds[CONNS];
	auto_buf struct buf in = {}, out = {};
	size_t before = 0;
	for (int c = 0; c < CONNS; c++) {
		fds[c] = dial();
		preface(&in, SPAN_EMPTY);
		assert_false(exchange(fds[c], &in, &out, NULL));
	}
	before = mallinfo2().uordblks;
	for (int c = 0; c < CONNS; c++)
		for (uint32_t i = 0; i < STREAMS; i += 25) {
			for (uint32_t k = i; k < i + 25; k++)
				request(&in, 2 * k + 1, "GET", "/keep", END_STREAM);
			assert_false(exchange(fds[c], &in, &out, NULL));
			buf_trunc(&out, 0);
		}
	assert_int_equal(http_server_stats(server).streams, CONNS * STREAMS);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	size_t each = (mallinfo2().uordblks - before) / (CONNS * STREAMS);
	print_message("an idle stream: %zu bytes\n", each);
	assert_in_range(each, 200, 4096);
#endif
	(void)before;
	for (int c = 0; c < CONNS; c++)
		close(fds[c]);
	for (int i = 0; i < 20; i++)
		loop_turn(l, false);
	assert_int_equal(http_server_stats(server).streams, 0);
	buf_trunc(&events, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_requests),
		TEST(test_byte_at_a_time),
		TEST(test_bad_requests),
		TEST(test_header_limits),
		TEST(test_floods),
		TEST(test_streams_are_bounded),
		TEST(test_closed_window),
		TEST(test_drain_is_told),
		TEST(test_paused_body_keeps_the_window_shut),
		TEST(test_slow_bodies_go_alone),
		TEST(test_quiet_connections_are_pinged),
		TEST(test_graceful_stop),
		TEST(test_idle_streams),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
