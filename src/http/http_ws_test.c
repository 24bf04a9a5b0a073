/* Tests of the WebSocket machine: the vectors of RFC 6455, every portion of input, both roles against each other,
 * what a peer must not do, and Python's websockets as client and as server. */
#include "http/http_ws.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

/* ---- an endpoint that writes down what happens */

struct end {
	struct http_ws *ws;
	struct buf log;
	bool echo;
};

static void log_data(struct buf *log, struct span data)
{
	if (data.len > 40) {
		buf_printf(log, "%zu bytes, hash %08x", data.len, ({
			uint32_t h = 0;
			for (size_t i = 0; i < data.len; i++)
				h = h * 31 + (uint8_t)data.ptr[i];
			h; }));
		return;
	}
	buf_chr(log, '"');
	buf_span_add(log, data);
	buf_chr(log, '"');
}

static void on_message(struct http_ws *ws, enum http_ws_kind kind, struct span data, void *arg)
{
	struct end *e = arg;
	buf_printf(&e->log, "%s ", kind == HTTP_WS_TEXT ? "text" : "binary");
	log_data(&e->log, data);
	buf_chr(&e->log, '\n');
	if (e->echo)
		http_ws_send(ws, kind, data, true);
}

static void on_pong(struct http_ws *ws, struct span payload, void *arg)
{
	struct end *e = arg;
	buf_str(&e->log, "pong ");
	log_data(&e->log, payload);
	buf_chr(&e->log, '\n');
}

static void on_closed(struct http_ws *ws, unsigned code, struct span reason, void *arg)
{
	struct end *e = arg;
	buf_printf(&e->log, "closed %u ", code);
	log_data(&e->log, reason);
	buf_chr(&e->log, '\n');
}

static const struct http_ws_ops ops = { .message = on_message, .pong = on_pong, .closed = on_closed };

static uint32_t fixed_mask(void *arg)
{
	uint32_t m;
	memcpy(&m, "\x37\xfa\x21\x3d", 4);
	return m;
}

static void end_init(struct end *e, bool client, size_t limit)
{
	*e = (struct end){};
	struct http_ws_params p = { .client = client, .message_limit = limit, .ops = &ops, .arg = e, .mask = fixed_mask };
	e->ws = http_ws_new(&p);
}

static void end_done(struct end *e)
{
	http_ws_free(e->ws);
	buf_done(&e->log);
}

static void assert_sent(struct http_ws *ws, struct span want)
{
	auto_bytes struct bytes *b = http_ws_take(ws);
	auto_buf struct buf x = {}, y = {};
	hex_add(&x, bytes_span(b).ptr, bytes_span(b).len);
	hex_add(&y, want.ptr, want.len);
	assert_string_equal(buf_cstr(&x), buf_cstr(&y));
}

static void assert_log(struct end *e, const char *want)
{
	if (!span_is(buf_span(&e->log), want))
		fail_msg("got:\n%s\nwant:\n%s", buf_cstr(&e->log), want);
	buf_trunc(&e->log, 0);
}

/* ---- RFC 6455 */

static void handshake(void **state)
{
	char out[29];
	assert_true(http_ws_accept(SPAN("dGhlIHNhbXBsZSBub25jZQ=="), out)); /* section 1.3 */
	assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	static const char *const bad[] = { "", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ===", "YWJj",
					   "dGhlIHNhbXBsZSBub25jZWVlZQ==", "dGhlIHNhbXBsZSBub25jZ!==" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (http_ws_accept(span_of(bad[i]), out))
			fail_msg("key \"%s\" accepted", bad[i]);
	char a[25], b[25];
	http_ws_key(a);
	http_ws_key(b);
	assert_true(http_ws_accept(span_of(a), out));
	assert_string_not_equal(a, b);

	static const char *const ours[] = { "v4.channel.k8s.io", "v5.channel.k8s.io", NULL };
	assert_string_equal(http_ws_protocol(SPAN("v5.channel.k8s.io, v4.channel.k8s.io"), ours), "v5.channel.k8s.io");
	assert_string_equal(http_ws_protocol(SPAN("x,\tv4.channel.k8s.io"), ours), "v4.channel.k8s.io");
	assert_null(http_ws_protocol(SPAN("V4.channel.k8s.io"), ours));
	assert_null(http_ws_protocol(SPAN(""), ours));
}

static void vectors(void **state) /* section 5.7 */
{
	struct end c, s;
	end_init(&c, true, 0);
	end_init(&s, false, 0);
	assert_int_equal(http_ws_feed(c.ws, SPAN("\x81\x05Hello"), NULL), 0);
	assert_log(&c, "text \"Hello\"\n");
	assert_int_equal(http_ws_feed(s.ws, SPAN("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), NULL), 0);
	assert_log(&s, "text \"Hello\"\n");
	assert_int_equal(http_ws_feed(c.ws, SPAN("\x01\x03Hel\x89\x01p\x80\x02lo"), NULL), 0);
	assert_log(&c, "text \"Hello\"\n");
	assert_sent(c.ws, SPAN("\x8a\x81\x37\xfa\x21\x3d\x47"));
	assert_int_equal(http_ws_feed(s.ws, SPAN("\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), NULL), 0);
	assert_sent(s.ws, SPAN("\x8a\x05Hello"));

	http_ws_send(s.ws, HTTP_WS_TEXT, SPAN("Hello"), true);
	assert_sent(s.ws, SPAN("\x81\x05Hello"));
	http_ws_send(c.ws, HTTP_WS_TEXT, SPAN("Hello"), true);
	assert_sent(c.ws, SPAN("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"));
	http_ws_send(s.ws, HTTP_WS_TEXT, SPAN("Hel"), false);
	http_ws_ping(s.ws, SPAN("p"));
	http_ws_send(s.ws, HTTP_WS_TEXT, SPAN("lo"), true);
	assert_sent(s.ws, SPAN("\x01\x03Hel\x89\x01p\x80\x02lo"));

	/* The three forms of a length, at their edges. */
	static const struct {
		size_t len;
		struct span head;
	} edges[] = { { 0, SPAN_INIT("\x82\x00") },	       { 125, SPAN_INIT("\x82\x7d") },
		      { 126, SPAN_INIT("\x82\x7e\x00\x7e") },  { 65535, SPAN_INIT("\x82\x7e\xff\xff") },
		      { 65536, SPAN_INIT("\x82\x7f\0\0\0\0\0\1\0\0") } };
	for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
		auto_free char *data = mem_zalloc(edges[i].len + 1);
		http_ws_send(s.ws, HTTP_WS_BINARY, span_make(data, edges[i].len), true);
		auto_bytes struct bytes *b = http_ws_take(s.ws);
		assert_int_equal(b->len, edges[i].head.len + edges[i].len);
		assert_memory_equal(b->data, edges[i].head.ptr, edges[i].head.len);
		assert_int_equal(http_ws_feed(c.ws, bytes_span(b), NULL), 0);
		assert_true(span_starts(buf_span(&c.log), SPAN("binary ")));
		buf_trunc(&c.log, 0);
	}
	end_done(&c);
	end_done(&s);
}

/* ---- closing */

static void closing(void **state)
{
	struct end c, s;
	end_init(&c, true, 0);
	end_init(&s, false, 0);
	http_ws_close(c.ws, HTTP_WS_GOING_AWAY, SPAN("bye"));
	http_ws_close(c.ws, HTTP_WS_NORMAL, SPAN("again"));
	http_ws_send(c.ws, HTTP_WS_TEXT, SPAN("late"), true);
	auto_bytes struct bytes *b = http_ws_take(c.ws);
	assert_int_equal(b->len, 2 + 4 + 5);
	assert_false(http_ws_over(c.ws));
	assert_int_equal(http_ws_feed(s.ws, bytes_span(b), NULL), 0);
	assert_log(&s, "closed 1001 \"bye\"\n");
	assert_true(http_ws_over(s.ws));
	/* Messages between our Close and the answer are dropped, pings unanswered. */
	assert_int_equal(http_ws_feed(c.ws, SPAN("\x81\x02hi\x89\x00"), NULL), 0);
	auto_bytes struct bytes *answer = http_ws_take(s.ws);
	assert_int_equal(answer->len, 4);
	assert_memory_equal(answer->data, "\x88\x02\x03\xe9", 4);
	assert_int_equal(http_ws_feed(c.ws, bytes_span(answer), NULL), 0);
	assert_log(&c, "closed 1001 \"\"\n");
	assert_int_equal(http_ws_pending(c.ws), 0);
	/* Nothing behind it counts, and the end of the transport is no second event. */
	assert_int_equal(http_ws_feed(c.ws, SPAN("\xff\xff\xff"), NULL), 0);
	http_ws_end(c.ws);
	assert_log(&c, "");
	end_done(&c);
	end_done(&s);

	end_init(&s, false, 0);
	assert_int_equal(http_ws_feed(s.ws, SPAN("\x88\x80\0\0\0\0"), NULL), 0);
	assert_log(&s, "closed 1005 \"\"\n");
	assert_sent(s.ws, SPAN("\x88\x00"));
	end_done(&s);

	end_init(&s, false, 0);
	assert_int_equal(http_ws_feed(s.ws, SPAN("\x01"), NULL), 0);
	http_ws_end(s.ws);
	assert_log(&s, "closed 1006 \"connection ended without a close frame\"\n");
	end_done(&s);
}

static void close_reasons(void **state)
{
	struct end s;
	end_init(&s, false, 0);
	/* 121 + a character of three bytes: it would end at 124, so it goes. */
	char reason[130];
	memset(reason, 'r', sizeof(reason));
	memcpy(reason + 121, "\xe2\x82\xac", 3);
	http_ws_close(s.ws, 1000, span_make(reason, sizeof(reason)));
	auto_bytes struct bytes *b = http_ws_take(s.ws);
	assert_int_equal((uint8_t)b->data[1], 123);
	end_done(&s);
}

/* ---- what a peer must not do */

static void violations(void **state)
{
	static const struct {
		bool client;
		struct span in;
		unsigned code;
		const char *why;
	} rows[] = {
		{ true, SPAN_INIT("\xc1\x00"), 1002, "reserved bits are set" },
		{ true, SPAN_INIT("\x91\x00"), 1002, "reserved bits are set" },
		{ true, SPAN_INIT("\x83\x00"), 1002, "unknown opcode" },
		{ true, SPAN_INIT("\x8b\x00"), 1002, "unknown opcode" },
		{ true, SPAN_INIT("\x81\x80"), 1002, "server sent a masked frame" },
		{ false, SPAN_INIT("\x81\x00"), 1002, "client sent an unmasked frame" },
		{ true, SPAN_INIT("\x09\x00"), 1002, "control frame is fragmented or too long" },
		{ true, SPAN_INIT("\x89\x7e"), 1002, "control frame is fragmented or too long" },
		{ true, SPAN_INIT("\x80\x00"), 1002, "continuation without a message" },
		{ true, SPAN_INIT("\x01\x00\x81\x00"), 1002, "new message inside a message" },
		{ true, SPAN_INIT("\x82\x7e\x00\x7d"), 1002, "bad length" },
		{ true, SPAN_INIT("\x82\x7f\0\0\0\0\0\0\xff\xff"), 1002, "bad length" },
		{ true, SPAN_INIT("\x82\x7f\x80\0\0\0\0\1\0\0"), 1002, "bad length" },
		{ true, SPAN_INIT("\x82\x7f\0\0\0\0\xff\0\0\0"), 1009, "message is too large" },
		{ true, SPAN_INIT("\x02\x7e\x03\xe8"), 1009, "message is too large" },
		{ true, SPAN_INIT("\x81\x01\xff"), 1007, "text message is not UTF-8" },
		{ true, SPAN_INIT("\x81\x02\xe2\x82"), 1007, "text message is not UTF-8" },
		{ true, SPAN_INIT("\x01\x01\xe2\x80\x01""a"), 1007, "text message is not UTF-8" },
		{ true, SPAN_INIT("\x81\x03\xed\xa0\x80"), 1007, "text message is not UTF-8" },
		{ true, SPAN_INIT("\x81\x02\xc0\xaf"), 1007, "text message is not UTF-8" },
		{ true, SPAN_INIT("\x81\x04\xf4\x90\x80\x80"), 1007, "text message is not UTF-8" },
		{ true, SPAN_INIT("\x88\x01\x03"), 1002, "close frame of one byte" },
		{ true, SPAN_INIT("\x88\x02\x03\xed"), 1002, "close code that must not be sent" },
		{ true, SPAN_INIT("\x88\x02\x03\xee"), 1002, "close code that must not be sent" },
		{ true, SPAN_INIT("\x88\x02\x03\xe7"), 1002, "close code that must not be sent" },
		{ true, SPAN_INIT("\x88\x02\x0b\xb7"), 1002, "close code that must not be sent" },
		{ true, SPAN_INIT("\x88\x02\x13\x88"), 1002, "close code that must not be sent" },
		{ true, SPAN_INIT("\x88\x03\x03\xe8\xff"), 1007, "close reason is not UTF-8" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct end e;
		auto_err struct err err = ERR_INIT;
		end_init(&e, rows[i].client, 999);
		int rc = http_ws_feed(e.ws, rows[i].in, &err);
		auto_buf struct buf log = {}, msg = {};
		buf_printf(&log, "closed %u \"%s\"\n", rows[i].code, rows[i].why);
		buf_printf(&msg, "websocket: %s", rows[i].why);
		if (rc != -ERR_UPSTREAM)
			fail_msg("row %zu (%s): rc %d, %s", i, rows[i].why, rc, buf_cstr(&e.log));
		assert_string_equal(err_msg(&err), buf_cstr(&msg));
		assert_log(&e, buf_cstr(&log));
		assert_true(http_ws_over(e.ws));
		auto_bytes struct bytes *b = http_ws_take(e.ws);
		assert_non_null(b);
		assert_int_equal((uint8_t)b->data[0], 0x88);
		/* It hears no more. */
		assert_int_equal(http_ws_feed(e.ws, SPAN("\x81\x05Hello"), NULL), 0);
		assert_log(&e, "");
		end_done(&e);
	}
	/* The limit counts the whole message. */
	struct end e;
	end_init(&e, true, 10);
	assert_int_equal(http_ws_feed(e.ws, SPAN("\x02\x05""12345\x00\x05""67890\x80\x00"), NULL), 0);
	assert_log(&e, "binary \"1234567890\"\n");
	assert_int_equal(http_ws_feed(e.ws, SPAN("\x02\x05""12345\x00\x05""67890\x80\x01"), NULL), -ERR_UPSTREAM);
	end_done(&e);
	/* Good texts and codes. */
	end_init(&e, true, 0);
	assert_int_equal(http_ws_feed(e.ws, SPAN("\x01\x01\xe2\x00\x01\x82\x80\x01\xac\x81\x04\xf0\x9f\x98\x80"
						 "\x88\x02\x0f\xa0"), NULL), 0);
	assert_log(&e, "text \"\xe2\x82\xac\"\ntext \"\xf0\x9f\x98\x80\"\nclosed 4000 \"\"\n");
	end_done(&e);
}

/* ---- any portions, both roles */

/* What a random conversation looks like on the wire, in both directions. */
static void random_talk(struct http_ws *ws, struct rng *rng, int n)
{
	char data[70000];
	enum http_ws_kind kind = HTTP_WS_BINARY;
	bool inside = false;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)('a' + i % 26);
	for (int i = 0; i < n; i++) {
		if (rng_below(rng, 5) == 0) {
			http_ws_ping(ws, span_make(data, rng_below(rng, 126)));
			continue;
		}
		if (!inside)
			kind = rng_below(rng, 2) ? HTTP_WS_TEXT : HTTP_WS_BINARY;
		bool last = rng_below(rng, 3) > 0;
		size_t len = rng_below(rng, 4) ? rng_below(rng, 200) : rng_below(rng, sizeof(data));
		http_ws_send(ws, kind, span_make(data + rng_below(rng, 26), len > 26 ? len - 26 : len), last);
		inside = !last;
	}
	if (inside)
		http_ws_send(ws, kind, SPAN("end"), true);
	http_ws_close(ws, 1000, SPAN("done"));
}

static void portions(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++)
		for (int client = 0; client < 2; client++) {
			struct end from, whole, bytewise, random;
			struct rng rng;
			rng_init(&rng, seed);
			end_init(&from, client, 0);
			end_init(&whole, !client, 0);
			end_init(&bytewise, !client, 0);
			end_init(&random, !client, 0);
			random_talk(from.ws, &rng, 30);
			auto_bytes struct bytes *wire = http_ws_take(from.ws);
			assert_int_equal(http_ws_feed(whole.ws, bytes_span(wire), NULL), 0);
			for (size_t i = 0; i < wire->len; i++)
				assert_int_equal(http_ws_feed(bytewise.ws, span_make(wire->data + i, 1), NULL), 0);
			for (size_t i = 0; i < wire->len;) {
				size_t n = MIN((size_t)1 + rng_below(&rng, 5000), wire->len - i);
				assert_int_equal(http_ws_feed(random.ws, span_make(wire->data + i, n), NULL), 0);
				i += n;
			}
			assert_true(span_ends(buf_span(&whole.log), SPAN("closed 1000 \"done\"\n")));
			assert_string_equal(buf_cstr(&whole.log), buf_cstr(&bytewise.log));
			assert_string_equal(buf_cstr(&whole.log), buf_cstr(&random.log));
			/* Fed at once, one pong answers all pings; fed by bytes, each has its own. Both are read well. */
			auto_bytes struct bytes *one = http_ws_take(whole.ws), *each = http_ws_take(bytewise.ws);
			assert_true(one->len <= each->len);
			assert_int_equal(http_ws_feed(from.ws, bytes_span(each), NULL), 0);
			assert_true(http_ws_over(from.ws));
			end_done(&from);
			end_done(&whole);
			end_done(&bytewise);
			end_done(&random);
		}
}

/* Pieces of a message as they come. */
static void on_part(struct http_ws *ws, enum http_ws_kind kind, struct span data, bool last, void *arg)
{
	struct end *e = arg;
	buf_printf(&e->log, "%d:%.*s%s\n", kind, SPAN_ARG(data), last ? "." : "");
}

static void parts(void **state)
{
	static const struct http_ws_ops part_ops = { .part = on_part, .closed = on_closed };
	struct end e = {};
	struct http_ws_params p = { .client = true, .ops = &part_ops, .arg = &e };
	e.ws = http_ws_new(&p);
	assert_int_equal(http_ws_feed(e.ws, SPAN("\x02\x04""ab"), NULL), 0);
	assert_log(&e, "2:ab\n");
	assert_int_equal(http_ws_feed(e.ws, SPAN("cd\x00\x00\x8a\x00\x80\x01x\x81\x00"), NULL), 0);
	assert_log(&e, "2:cd\n2:x.\n1:.\n");
	end_done(&e);
}

/* ---- Python's websockets */

static int unix_socket(const char *path, bool listening)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	memcpy(a.sun_path, path, strlen(path));
	if (listening) {
		assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
		assert_int_equal(listen(fd, 1), 0);
		return fd;
	}
	for (int i = 0; i < 1200; i++) {
		if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
			return fd;
		usleep(50000);
	}
	close(fd);
	return -1;
}

static pid_t python(const char *mode, const char *path)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		execl("/usr/bin/python3", "python3", "src/http/http_ws_test_peer.py", mode, path, (char *)NULL);
		_exit(127);
	}
	return pid;
}

/* Reads an HTTP/1.1 header, up to and with its empty line. */
static void header_read(int fd, struct buf *out)
{
	char c;
	while (!span_ends(buf_span(out), SPAN("\r\n\r\n"))) {
		assert_int_equal(read(fd, &c, 1), 1);
		buf_chr(out, c);
		assert_true(out->len < 4096);
	}
}

static struct span header_get(struct span header, const char *name)
{
	struct span line, key, value;
	while (span_cut(&header, '\n', &line))
		if (span_split(line, ':', &key, &value) && span_eq_nocase(key, span_of(name)))
			return span_trim(value);
	return SPAN_EMPTY;
}

/* Passes bytes between the socket and the machine until it is over. */
static void pump(int fd, struct end *e)
{
	char in[20000];
	for (;;) {
		auto_bytes struct bytes *b = http_ws_take(e->ws);
		auto_err struct err err = ERR_INIT;
		if (b)
			assert_int_equal(io_write_all(fd, b->data, b->len, NULL), 0);
		if (http_ws_over(e->ws))
			return;
		ssize_t n = read(fd, in, sizeof(in));
		if (n <= 0) {
			http_ws_end(e->ws);
			return;
		}
		if (http_ws_feed(e->ws, span_make(in, (size_t)n), &err) < 0)
			fail_msg("%s", err_msg(&err));
	}
}

/* 77 from the script: no websockets module. */
static bool peer_ok(pid_t pid)
{
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127)
		return false;
	assert_int_equal(WEXITSTATUS(status), 0);
	return true;
}

static bool peer_there(void)
{
	pid_t pid = python("check", "");
	return peer_ok(pid);
}

static void python_client(void **state)
{
	if (!peer_there()) {
		print_message("skipped: no python3-websockets\n");
		skip();
	}
	char dir[] = "/tmp/ws-test-XXXXXX", path[64];
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	auto_fd int listener = unix_socket(path, true);
	pid_t pid = python("client", path);
	auto_fd int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	auto_buf struct buf header = {}, answer = {};
	header_read(fd, &header);
	char accept[29];
	assert_true(http_ws_accept(header_get(buf_span(&header), "sec-websocket-key"), accept));
	buf_printf(&answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			    "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
	assert_int_equal(io_write_all(fd, answer.ptr, answer.len, NULL), 0);
	struct end e;
	end_init(&e, false, 0);
	e.echo = true;
	pump(fd, &e);
	assert_true(span_ends(buf_span(&e.log), SPAN("closed 1000 \"that was all\"\n")));
	end_done(&e);
	assert_true(peer_ok(pid));
	unlink(path);
	rmdir(dir);
}

static void python_server(void **state)
{
	if (!peer_there()) {
		print_message("skipped: no python3-websockets\n");
		skip();
	}
	char dir[] = "/tmp/ws-test-XXXXXX", path[64], key[25], accept[29];
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	pid_t pid = python("server", path);
	auto_fd int fd = unix_socket(path, false);
	assert_true(fd >= 0);
	auto_buf struct buf request = {}, header = {};
	http_ws_key(key);
	buf_printf(&request, "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", key);
	assert_int_equal(io_write_all(fd, request.ptr, request.len, NULL), 0);
	header_read(fd, &header);
	assert_true(span_starts(buf_span(&header), SPAN("HTTP/1.1 101 ")));
	assert_true(http_ws_accept(span_of(key), accept));
	assert_true(span_is(header_get(buf_span(&header), "sec-websocket-accept"), accept));

	struct end e = {};
	struct http_ws_params p = { .client = true, .ops = &ops, .arg = &e }; /* masks from the kernel */
	e.ws = http_ws_new(&p);
	http_ws_send(e.ws, HTTP_WS_TEXT, SPAN("gr\xc3\xbc\xc3\x9f"), false);
	http_ws_ping(e.ws, SPAN("here?"));
	http_ws_send(e.ws, HTTP_WS_TEXT, SPAN(" dich"), true);
	auto_free char *large = mem_zalloc(300000);
	http_ws_send(e.ws, HTTP_WS_BINARY, span_make(large, 300000), true);
	http_ws_send(e.ws, HTTP_WS_BINARY, SPAN(""), true);
	http_ws_send(e.ws, HTTP_WS_TEXT, SPAN("close"), true); /* the server then closes with 4001 */
	pump(fd, &e);
	assert_true(span_find(buf_span(&e.log), SPAN("text \"gr\xc3\xbc\xc3\x9f dich\"\n")) >= 0);
	assert_true(span_find(buf_span(&e.log), SPAN("pong \"here?\"\n")) >= 0);
	assert_true(span_find(buf_span(&e.log), SPAN("binary 300000 bytes, hash 00000000\nbinary \"\"\n")) >= 0);
	assert_true(span_ends(buf_span(&e.log), SPAN("closed 4001 \"as you wish\"\n")));
	end_done(&e);
	fd_close(&fd);
	assert_true(peer_ok(pid));
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handshake),  cmocka_unit_test(vectors),  cmocka_unit_test(closing),
		cmocka_unit_test(close_reasons), cmocka_unit_test(violations), cmocka_unit_test(portions),
		cmocka_unit_test(parts),      cmocka_unit_test(python_client), cmocka_unit_test(python_server),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
