/* Tests of the SPDY machine: both roles against each other through memory, any portions, windows, limits, what a peer
 * must not do, and the recorded bytes of the Go library behind kubectl. */
#include "http/http_spdy.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <zlib.h>

#include <cmocka.h>

/* ---- an endpoint that writes down what happens */

struct end {
	struct http_spdy *s;
	struct buf log;
	struct http_spdy_stream *last; /* opened by the peer most recently */
	bool quiet;      /* data is not written down, only counted */
	bool hoard;      /* data is not consumed */
	bool no_reply;
	size_t got;      /* data bytes */
	unsigned n_closed, drains;
	void (*on_data)(struct http_spdy_stream *st, struct span data);
};

static void log_fields(struct end *e, const char *what, struct http_spdy_stream *st, const struct http_spdy_field *f,
		       unsigned n)
{
	buf_printf(&e->log, "%s %u", what, http_spdy_stream_id(st));
	for (unsigned i = 0; i < n; i++)
		buf_printf(&e->log, " %.*s=%.*s", SPAN_ARG(f[i].name), SPAN_ARG(f[i].value));
	buf_chr(&e->log, '\n');
}

static void on_open(struct http_spdy_stream *st, const struct http_spdy_field *f, unsigned n, void *arg)
{
	struct end *e = arg;
	log_fields(e, "open", st, f, n);
	e->last = st;
	if (!e->no_reply)
		http_spdy_reply(st, NULL, 0, false);
}

static void on_reply(struct http_spdy_stream *st, const struct http_spdy_field *f, unsigned n, void *arg)
{
	log_fields(arg, "reply", st, f, n);
}

static void on_headers(struct http_spdy_stream *st, const struct http_spdy_field *f, unsigned n, void *arg)
{
	log_fields(arg, "headers", st, f, n);
}

static void on_data(struct http_spdy_stream *st, struct span data, void *arg)
{
	struct end *e = arg;
	e->got += data.len;
	if (!e->quiet)
		buf_span_add(&e->log, data); /* so that portions do not show */
	if (e->on_data)
		e->on_data(st, data);
	if (!e->hoard)
		http_spdy_consumed(st, data.len);
}

static void on_end(struct http_spdy_stream *st, void *arg)
{
	buf_printf(&((struct end *)arg)->log, "\nend %u\n", http_spdy_stream_id(st));
}

static void on_drain(struct http_spdy_stream *st, void *arg)
{
	((struct end *)arg)->drains++;
}

static void on_closed(struct http_spdy_stream *st, unsigned status, void *arg)
{
	struct end *e = arg;
	e->n_closed++;
	buf_printf(&e->log, "closed %u status %u\n", http_spdy_stream_id(st), status);
}

static void on_pong(struct http_spdy *s, uint32_t id, void *arg)
{
	buf_printf(&((struct end *)arg)->log, "pong %u\n", id);
}

static void on_goaway(struct http_spdy *s, uint32_t last, unsigned status, void *arg)
{
	buf_printf(&((struct end *)arg)->log, "goaway %u status %u\n", last, status);
}

static const struct http_spdy_ops ops = { .open = on_open, .reply = on_reply, .headers = on_headers, .data = on_data,
					  .end = on_end, .drain = on_drain, .closed = on_closed, .pong = on_pong,
					  .goaway = on_goaway };

static void end_init_with(struct end *e, struct http_spdy_params p)
{
	*e = (struct end){};
	p.ops = &ops;
	p.arg = e;
	e->s = http_spdy_new(&p);
}

static void end_init(struct end *e, bool client, bool flow)
{
	end_init_with(e, (struct http_spdy_params){ .client = client, .flow_control = flow });
}

static void end_done(struct end *e)
{
	http_spdy_free(e->s);
	buf_done(&e->log);
}

static void assert_log(struct end *e, const char *want)
{
	if (!span_is(buf_span(&e->log), want))
		fail_msg("got:\n%s\nwant:\n%s", buf_cstr(&e->log), want);
	buf_trunc(&e->log, 0);
}

/* Everything that waits goes over, both ways, until nothing waits. */
static void exchange(struct end *a, struct end *b)
{
	for (bool more = true; more;) {
		auto_bytes struct bytes *x = http_spdy_take(a->s), *y = http_spdy_take(b->s);
		auto_err struct err err = ERR_INIT;
		if (x && http_spdy_feed(b->s, bytes_span(x), &err) < 0)
			fail_msg("%s", err_msg(&err));
		if (y && http_spdy_feed(a->s, bytes_span(y), &err) < 0)
			fail_msg("%s", err_msg(&err));
		more = x || y;
	}
}

static struct http_spdy_stream *open_one(struct end *e, unsigned flags)
{
	const struct http_spdy_field f[] = { { SPAN("streamType"), SPAN("stdout") } };
	struct http_spdy_stream *st = NULL;
	assert_int_equal(http_spdy_open(e->s, f, 1, flags, &st, NULL), 0);
	return st;
}

/* ---- both roles */

static void conversation(void **state)
{
	struct end c, s;
	end_init(&c, true, false);
	end_init(&s, false, false);
	const struct http_spdy_field f[] = { { SPAN("streamType"), SPAN("stdin") }, { SPAN("x"), SPAN("1") },
					     { SPAN("X"), SPAN("") }, { SPAN("x"), SPAN("3") } };
	struct http_spdy_stream *st;
	assert_int_equal(http_spdy_open(c.s, f, 4, 0, &st, NULL), 0);
	http_spdy_stream_set(st, &c);
	assert_ptr_equal(http_spdy_stream_get(st), &c);
	assert_ptr_equal(http_spdy_stream_session(st), c.s);
	exchange(&c, &s);
	assert_log(&s, "open 1 streamtype=stdin x=1 x= x=3\n");
	assert_log(&c, "reply 1\n");
	http_spdy_write(st, SPAN("hello "), false);
	http_spdy_write(st, SPAN("world"), true);
	http_spdy_write(st, SPAN("late"), false);
	exchange(&c, &s);
	assert_log(&s, "hello world\nend 1\n");
	const struct http_spdy_field more[] = { { SPAN("exit"), SPAN("0") } };
	http_spdy_headers(s.last, more, 1, false);
	http_spdy_write(s.last, SPAN("bye"), true);
	exchange(&c, &s);
	assert_log(&c, "headers 1 exit=0\nbye\nend 1\nclosed 1 status 0\n");
	assert_log(&s, "closed 1 status 0\n");
	assert_int_equal(http_spdy_n_streams(c.s) + http_spdy_n_streams(s.s), 0);

	/* The server's streams are even; one-way; finished at once; reset by either. */
	st = open_one(&s, HTTP_SPDY_UNIDIRECTIONAL);
	http_spdy_write(st, SPAN("one way"), true);
	exchange(&c, &s);
	assert_log(&c, "open 2 streamtype=stdout\none way\nend 2\nclosed 2 status 0\n");
	assert_log(&s, "closed 2 status 0\n");
	st = open_one(&c, HTTP_SPDY_FIN);
	exchange(&c, &s);
	assert_log(&s, "open 3 streamtype=stdout\n\nend 3\n");
	http_spdy_reset(s.last, HTTP_SPDY_CANCEL);
	http_spdy_write(s.last, SPAN("dropped"), true);
	http_spdy_reset(s.last, HTTP_SPDY_INTERNAL_ERROR);
	exchange(&c, &s);
	assert_log(&s, "closed 3 status 5\n");
	assert_log(&c, "reply 3\nclosed 3 status 5\n");

	assert_int_equal(http_spdy_ping(c.s), 1);
	assert_int_equal(http_spdy_ping(s.s), 2);
	assert_int_equal(http_spdy_ping(c.s), 3);
	exchange(&c, &s);
	assert_log(&c, "pong 1\npong 3\n");
	assert_log(&s, "pong 2\n");
	end_done(&c);
	end_done(&s);
}

static void goaway_and_end(void **state)
{
	struct end c, s;
	end_init(&c, true, false);
	end_init(&s, false, false);
	(void)open_one(&c, 0);
	exchange(&c, &s);
	buf_trunc(&c.log, 0);
	buf_trunc(&s.log, 0);
	http_spdy_goaway(s.s, 0);
	http_spdy_goaway(s.s, 0);
	(void)open_one(&c, 0); /* crosses it */
	exchange(&c, &s);
	assert_log(&c, "goaway 1 status 0\nclosed 3 status 3\n");
	assert_log(&s, "");
	struct http_spdy_stream *st;
	auto_err struct err err = ERR_INIT;
	assert_int_equal(http_spdy_open(c.s, NULL, 0, 0, &st, &err), -ERR_UNAVAILABLE);
	assert_string_equal(err_msg(&err), "spdy: the session takes no more streams");
	/* What is open goes on. */
	http_spdy_write(s.last, SPAN("still"), false);
	exchange(&c, &s);
	assert_log(&c, "still");
	http_spdy_end(c.s);
	http_spdy_end(c.s);
	assert_log(&c, "closed 1 status 65536\n");
	end_done(&c);
	end_done(&s); /* with a stream open: freed quietly */
}

/* ---- portions */

static void random_session(struct end *c, struct end *s, struct rng *rng, struct buf *to_server, struct buf *to_client)
{
	struct http_spdy_stream *mine[8] = {};
	char data[40000];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)('a' + i % 26);
	for (int i = 0; i < 120; i++) {
		unsigned k = (unsigned)rng_below(rng, 8);
		uint64_t what = rng_below(rng, 10);
		if (!mine[k]) {
			mine[k] = open_one(c, 0);
		} else if (what < 6) {
			http_spdy_write(mine[k], span_make(data, rng_below(rng, 3) ? rng_below(rng, 50) : rng_below(rng, sizeof(data))), false);
		} else if (what == 6) {
			http_spdy_ping(c->s);
		} else if (what == 7) {
			http_spdy_reset(mine[k], HTTP_SPDY_CANCEL);
			mine[k] = NULL;
		} else {
			http_spdy_write(mine[k], SPAN("last"), true);
			mine[k] = NULL;
		}
		auto_bytes struct bytes *x = http_spdy_take(c->s);
		if (x)
			buf_span_add(to_server, bytes_span(x));
		if (x)
			assert_int_equal(http_spdy_feed(s->s, bytes_span(x), NULL), 0);
		auto_bytes struct bytes *y = http_spdy_take(s->s);
		if (y)
			buf_span_add(to_client, bytes_span(y));
		if (y)
			assert_int_equal(http_spdy_feed(c->s, bytes_span(y), NULL), 0);
	}
}

static void portions(void **state)
{
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct end c, s, bytewise, random;
		struct rng rng;
		auto_buf struct buf to_server = {}, to_client = {};
		rng_init(&rng, seed);
		end_init(&c, true, false);
		end_init(&s, false, false);
		end_init(&bytewise, false, false);
		end_init(&random, false, false);
		random_session(&c, &s, &rng, &to_server, &to_client);
		for (size_t i = 0; i < to_server.len; i++)
			assert_int_equal(http_spdy_feed(bytewise.s, span_make(to_server.ptr + i, 1), NULL), 0);
		for (size_t i = 0; i < to_server.len;) {
			size_t n = MIN((size_t)1 + rng_below(&rng, 3000), to_server.len - i);
			assert_int_equal(http_spdy_feed(random.s, span_make(to_server.ptr + i, n), NULL), 0);
			i += n;
		}
		assert_true(s.log.len > 1000);
		assert_string_equal(buf_cstr(&s.log), buf_cstr(&bytewise.log));
		assert_string_equal(buf_cstr(&s.log), buf_cstr(&random.log));
		auto_bytes struct bytes *a = http_spdy_take(bytewise.s), *b = http_spdy_take(random.s);
		assert_int_equal(a->len, b->len);
		assert_memory_equal(a->data, b->data, a->len);
		assert_int_equal(a->len, to_client.len);
		assert_memory_equal(a->data, to_client.ptr, a->len);
		end_done(&c);
		end_done(&s);
		end_done(&bytewise);
		end_done(&random);
	}
}

/* ---- windows */

static void no_windows(void **state)
{
	/* Against the Go library nothing may wait for a WINDOW_UPDATE that never comes. */
	struct end c, s;
	end_init(&c, true, false);
	end_init(&s, false, false);
	struct http_spdy_stream *st = open_one(&c, 0);
	auto_free char *data = mem_zalloc(1 << 20);
	s.quiet = s.hoard = true;
	http_spdy_write(st, span_make(data, 1 << 20), false);
	assert_int_equal(http_spdy_queued(st), 0);
	assert_in_range(http_spdy_pending(c.s), 1 << 20, (1 << 20) + 64 * 8 + 200);
	exchange(&c, &s);
	assert_int_equal(s.got, 1 << 20);
	assert_int_equal(http_spdy_unconsumed(s.s), 1 << 20);
	http_spdy_consumed(s.last, 1000000);
	assert_int_equal(http_spdy_unconsumed(s.s), (1 << 20) - 1000000);
	assert_null(http_spdy_take(s.s)); /* and no updates are sent */
	http_spdy_reset(st, HTTP_SPDY_CANCEL);
	exchange(&c, &s);
	assert_int_equal(http_spdy_unconsumed(s.s), 0);
	end_done(&c);
	end_done(&s);
}

static void windows(void **state)
{
	struct end c, s;
	end_init(&c, true, true);
	end_init(&s, false, true);
	struct http_spdy_stream *a = open_one(&c, 0), *b = open_one(&c, 0);
	exchange(&c, &s);
	auto_free char *data = mem_zalloc(300000);
	s.quiet = s.hoard = true;
	http_spdy_write(a, span_make(data, 300000), true);
	http_spdy_write(b, span_make(data, 1000), false);
	exchange(&c, &s);
	/* The session's window is as large as a stream's: the second waits too. */
	assert_int_equal(s.got, 65536);
	assert_int_equal(http_spdy_queued(a), 300000 - 65536);
	assert_int_equal(http_spdy_queued(b), 1000);
	assert_int_equal(c.drains, 0);
	/* Less than half a window is not worth an update. */
	s.last = NULL;
	s.hoard = false;
	http_spdy_write(a, SPAN("dropped: its end is queued"), false);
	assert_int_equal(http_spdy_queued(a), 300000 - 65536);
	assert_int_equal(http_spdy_unconsumed(s.s), 65536);
	end_done(&c);
	end_done(&s);

	/* Consumed as it comes, everything arrives, in both directions at once. */
	end_init(&c, true, true);
	end_init(&s, false, true);
	c.quiet = s.quiet = true;
	a = open_one(&c, 0);
	exchange(&c, &s);
	http_spdy_write(a, span_make(data, 300000), true);
	http_spdy_write(s.last, span_make(data, 200000), true);
	exchange(&c, &s);
	assert_int_equal(s.got, 300000);
	assert_int_equal(c.got, 200000);
	assert_int_equal(c.n_closed, 1);
	assert_int_equal(s.n_closed, 1);
	assert_true(c.drains <= 1);
	/* What a reset stream had of the session's window is given back: many of them do not use it up. */
	s.hoard = true;
	for (int i = 0; i < 20; i++) {
		a = open_one(&c, 0);
		http_spdy_write(a, span_make(data, 50000), false);
		exchange(&c, &s);
		http_spdy_reset(s.last, HTTP_SPDY_CANCEL);
		exchange(&c, &s);
	}
	assert_int_equal(s.got, 300000 + 20 * 50000);
	end_done(&c);
	end_done(&s);
}

/* A peer that sends more than it may. Frames are made by hand: a sender of ours would not. */
static void frame(struct buf *out, uint32_t first, unsigned flags, struct span body)
{
	uint8_t head[8] = { (uint8_t)(first >> 24), (uint8_t)(first >> 16), (uint8_t)(first >> 8), (uint8_t)first,
			    (uint8_t)flags, (uint8_t)(body.len >> 16), (uint8_t)(body.len >> 8), (uint8_t)body.len };
	buf_add(out, head, 8);
	buf_span_add(out, body);
}

enum { SYN_STREAM = 0x80030001, SYN_REPLY, RST_STREAM, SETTINGS, PING = 0x80030006, GOAWAY, HEADERS, WINDOW_UPDATE };

static void assert_sent(struct end *e, struct span want)
{
	auto_bytes struct bytes *b = http_spdy_take(e->s);
	auto_buf struct buf x = {}, y = {};
	hex_add(&x, bytes_span(b).ptr, bytes_span(b).len);
	hex_add(&y, want.ptr, want.len);
	assert_string_equal(buf_cstr(&x), buf_cstr(&y));
}

static void overflowing(void **state)
{
	struct end c, s;
	end_init(&c, true, true);
	end_init(&s, false, true);
	s.quiet = s.hoard = true;
	(void)open_one(&c, 0);
	(void)open_one(&c, 0);
	exchange(&c, &s);
	auto_free char *data = mem_zalloc(65537);
	auto_buf struct buf in = {};
	frame(&in, 1, 0, span_make(data, 65000));
	assert_int_equal(http_spdy_feed(s.s, buf_span(&in), NULL), 0);
	buf_trunc(&in, 0);
	auto_err struct err err = ERR_INIT;
	frame(&in, 3, 0, span_make(data, 537));
	assert_int_equal(http_spdy_feed(s.s, buf_span(&in), &err), -ERR_UPSTREAM);
	assert_string_equal(err_msg(&err), "spdy: more data than the session window");
	assert_sent(&s, SPAN("\x80\x03\x00\x07\x00\x00\x00\x08\x00\x00\x00\x03\x00\x00\x00\x01"));
	assert_int_equal(s.n_closed, 2);
	end_done(&s);
	end_done(&c);

	/* Updates: of nothing, beyond 2^31 - 1, for the session. */
	static const struct {
		uint32_t id, delta;
		int rc;
		struct span sent;
	} rows[] = {
		{ 1, 0, 0, SPAN_INIT("\x80\x03\x00\x03\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x07") },
		{ 1, 0x7fffffff, 0, SPAN_INIT("\x80\x03\x00\x03\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x07") },
		{ 1, 0x7fff0000, 0, SPAN_INIT("\x80\x03\x00\x03\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x07") },
		{ 1, 0x7ffeffff, 0, SPAN_INIT("") },
		{ 99, 5, 0, SPAN_INIT("") },
		{ 0, 0x7fffffff, -ERR_UPSTREAM, SPAN_INIT("\x80\x03\x00\x07\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x01") },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t body[8] = { (uint8_t)(rows[i].id >> 24), (uint8_t)(rows[i].id >> 16), (uint8_t)(rows[i].id >> 8),
				    (uint8_t)rows[i].id, (uint8_t)(rows[i].delta >> 24), (uint8_t)(rows[i].delta >> 16),
				    (uint8_t)(rows[i].delta >> 8), (uint8_t)rows[i].delta };
		end_init(&c, true, true);
		(void)open_one(&c, 0);
		bytes_unref(http_spdy_take(c.s));
		buf_trunc(&in, 0);
		frame(&in, WINDOW_UPDATE, 0, span_make(body, 8));
		assert_int_equal(http_spdy_feed(c.s, buf_span(&in), NULL), rows[i].rc);
		assert_sent(&c, rows[i].sent);
		end_done(&c);
	}
}

static void peer_settings(void **state)
{
	struct end c;
	end_init(&c, true, true);
	struct http_spdy_stream *st = open_one(&c, 0), *more;
	auto_free char *data = mem_zalloc(100000);
	http_spdy_write(st, span_make(data, 20000), false);
	bytes_unref(http_spdy_take(c.s));
	auto_buf struct buf in = {};
	/* A window of 10,000: 10,000 too much were sent already. At most one stream. An unknown setting. */
	frame(&in, SETTINGS, 0, SPAN("\0\0\0\3" "\1\0\0\7\0\0\x27\x10" "\0\0\0\4\0\0\0\1" "\0\0\1\xff\0\0\0\0"));
	assert_int_equal(http_spdy_feed(c.s, buf_span(&in), NULL), 0);
	http_spdy_write(st, SPAN("waits"), false);
	assert_int_equal(http_spdy_queued(st), 5);
	auto_err struct err err = ERR_INIT;
	assert_int_equal(http_spdy_open(c.s, NULL, 0, 0, &more, &err), -ERR_TOO_MANY);
	assert_string_equal(err_msg(&err), "spdy: the peer allows 1 streams");
	buf_trunc(&in, 0);
	frame(&in, WINDOW_UPDATE, 0, SPAN("\0\0\0\1\0\0\x27\x10"));
	assert_int_equal(http_spdy_feed(c.s, buf_span(&in), NULL), 0);
	assert_int_equal(http_spdy_queued(st), 5); /* exactly 0 now */
	buf_trunc(&in, 0);
	frame(&in, WINDOW_UPDATE, 0, SPAN("\0\0\0\1\0\0\0\3"));
	assert_int_equal(http_spdy_feed(c.s, buf_span(&in), NULL), 0);
	assert_sent(&c, SPAN("\0\0\0\1\0\0\0\3wai"));
	assert_int_equal(c.drains, 0);
	buf_trunc(&in, 0);
	frame(&in, SETTINGS, 0, SPAN("\0\0\0\1" "\0\0\0\7\0\0\x27\x20"));
	assert_int_equal(http_spdy_feed(c.s, buf_span(&in), NULL), 0);
	assert_sent(&c, SPAN("\0\0\0\1\0\0\0\2ts"));
	assert_int_equal(c.drains, 1);
	end_done(&c);
}

/* ---- what a peer must not do */

/* A header block as a peer would compress it. */
static void block(struct buf *out, struct span plain, bool with_dictionary)
{
	/* The dictionary comes from a block of ours: what a fresh session sends begins with its checksum. */
	z_stream z = {};
	assert_int_equal(deflateInit(&z, 9), Z_OK);
	if (with_dictionary) {
		auto_buf struct buf file = {};
		assert_int_equal(io_read_file(AT_FDCWD, "tests/vectors/spdy3-dictionary.bin", &file, 4096, NULL), 0);
		assert_int_equal(deflateSetDictionary(&z, (Bytef *)file.ptr, (uInt)file.len), Z_OK);
	}
	char room[70000];
	z.next_in = (Bytef *)plain.ptr;
	z.avail_in = (uInt)plain.len;
	z.next_out = (Bytef *)room;
	z.avail_out = sizeof(room);
	assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
	buf_add(out, room, sizeof(room) - z.avail_out);
	(void)deflateEnd(&z);
}

static void dictionary(void **state)
{
	/* Published with the protocol; zlib names it by its checksum. */
	auto_buf struct buf file = {}, in = {}, body = {};
	assert_int_equal(io_read_file(AT_FDCWD, "tests/vectors/spdy3-dictionary.bin", &file, 4096, NULL), 0);
	assert_int_equal(file.len, 1423);
	assert_int_equal(adler32(1, (const Bytef *)file.ptr, (uInt)file.len), 0xe3c6a7c2);
	/* What others compress with it we read, and the other way round. */
	struct end s;
	end_init(&s, false, false);
	buf_add(&body, "\0\0\0\1\0\0\0\0\0\0", 10);
	block(&body, SPAN("\0\0\0\2\0\0\0\6method\0\0\0\3get\0\0\0\3url\0\0\0\1/"), true);
	frame(&in, SYN_STREAM, 0, buf_span(&body));
	assert_int_equal(http_spdy_feed(s.s, buf_span(&in), NULL), 0);
	assert_log(&s, "open 1 method=get url=/\n");
	end_done(&s);

	struct end c;
	end_init(&c, true, false);
	const struct http_spdy_field f[] = { { SPAN("Method"), SPAN("get") } };
	struct http_spdy_stream *st;
	assert_int_equal(http_spdy_open(c.s, f, 1, 0, &st, NULL), 0);
	auto_bytes struct bytes *b = http_spdy_take(c.s);
	z_stream z = { .next_in = (Bytef *)b->data + 18, .avail_in = (uInt)b->len - 18 };
	char plain[100];
	z.next_out = (Bytef *)plain;
	z.avail_out = sizeof(plain);
	assert_int_equal(inflateInit(&z), Z_OK);
	assert_int_equal(inflate(&z, Z_SYNC_FLUSH), Z_NEED_DICT);
	assert_int_equal(inflateSetDictionary(&z, (Bytef *)file.ptr, (uInt)file.len), Z_OK);
	assert_int_equal(inflate(&z, Z_SYNC_FLUSH), Z_OK);
	assert_int_equal(sizeof(plain) - z.avail_out, 21);
	assert_memory_equal(plain, "\0\0\0\1\0\0\0\6method\0\0\0\3get", 21);
	(void)inflateEnd(&z);
	end_done(&c);
}

static void violations(void **state)
{
	static const struct {
		uint32_t first;
		unsigned flags;
		struct span body, plain; /* plain: a block behind the body */
		const char *why;         /* NULL: the session goes on */
		unsigned reset;          /* RST_STREAM sent, its status */
		uint32_t id;
	} rows[] = {
		{ 0x80020001, 0, SPAN_INIT(""), SPAN_INIT(""), "frame of another version", 0, 0 },
		{ SYN_STREAM, 0, SPAN_INIT("\0\0\0\1\0\0\0"), SPAN_INIT(""), "SYN_STREAM is too short", 0, 0 },
		{ SYN_STREAM, 0, SPAN_INIT("\0\0\0\2\0\0\0\0\0\0"), SPAN_INIT("\0\0\0\0"), "stream id out of order", 0, 0 },
		{ SYN_STREAM, 0, SPAN_INIT("\0\0\0\0\0\0\0\0\0\0"), SPAN_INIT("\0\0\0\0"), "stream id out of order", 0, 0 },
		{ SYN_STREAM, 0, SPAN_INIT("\0\0\0\1\0\0\0\0\0\0garbage"), SPAN_INIT(""),
		  "header block is damaged or too large", 0, 0 },
		{ SYN_STREAM, 0, SPAN_INIT("\0\0\0\1\0\0\0\0\0\0"), SPAN_INIT("\0\0\0\1\0\0\0\1A\0\0\0\0"), NULL, 1, 1 },
		{ SYN_STREAM, 0, SPAN_INIT("\0\0\0\1\0\0\0\0\0\0"), SPAN_INIT("\0\0\0\1\0\0\0\0\0\0\0\0"), NULL, 1, 1 },
		{ SYN_STREAM, 0, SPAN_INIT("\0\0\0\1\0\0\0\0\0\0"),
		  SPAN_INIT("\0\0\0\2\0\0\0\1a\0\0\0\0\0\0\0\1a\0\0\0\0"), NULL, 1, 1 },
		{ SYN_STREAM, 0, SPAN_INIT("\0\0\0\1\0\0\0\0\0\0"), SPAN_INIT("\xff\xff\xff\xff"), NULL, 1, 1 },
		{ SYN_STREAM, 0, SPAN_INIT("\0\0\0\1\0\0\0\0\0\0"), SPAN_INIT("\0\0\0\1\0\0\0\1a\xff\xff\xff\xff"), NULL, 1, 1 },
		{ SYN_STREAM, 0, SPAN_INIT("\0\0\0\1\0\0\0\0\0\0"), SPAN_INIT("\0\0\0\0x"), NULL, 1, 1 },
		{ SYN_STREAM, 0, SPAN_INIT("\0\0\0\1\0\0\0\0\0\0"), SPAN_INIT(""), NULL, 1, 1 },
		{ SYN_REPLY, 0, SPAN_INIT("\0\0\0\2"), SPAN_INIT("\0\0\0\0"), NULL, 2, 2 },
		{ HEADERS, 0, SPAN_INIT("\0\0\0"), SPAN_INIT(""), "SYN_REPLY or HEADERS is too short", 0, 0 },
		{ HEADERS, 0, SPAN_INIT("\0\0\0\7"), SPAN_INIT("\0\0\0\0"), NULL, 2, 7 },
		{ 5, 0, SPAN_INIT("data"), SPAN_INIT(""), NULL, 2, 5 },
		{ 0, 0, SPAN_INIT("data"), SPAN_INIT(""), NULL, 2, 0 },
		{ SETTINGS, 0, SPAN_INIT("\0\0\0\1"), SPAN_INIT(""), "SETTINGS of a wrong length", 0, 0 },
		{ SETTINGS, 0, SPAN_INIT(""), SPAN_INIT(""), "SETTINGS of a wrong length", 0, 0 },
		{ SETTINGS, 0, SPAN_INIT("\x20\0\0\0"), SPAN_INIT(""), "SETTINGS of a wrong length", 0, 0 },
		{ SETTINGS, 0, SPAN_INIT("\0\0\0\1\0\0\0\7\x80\0\0\0"), SPAN_INIT(""), "initial window is too large", 0, 0 },
		{ PING, 0, SPAN_INIT("\0\0\0"), SPAN_INIT(""), "control frame of a wrong length", 0, 0 },
		{ RST_STREAM, 0, SPAN_INIT("\0\0\0\1"), SPAN_INIT(""), "control frame of a wrong length", 0, 0 },
		{ RST_STREAM, 0, SPAN_INIT("\0\0\0\1\0\0\0\1"), SPAN_INIT(""), NULL, 0, 0 },
		{ 0x8003000b, 3, SPAN_INIT("unknown frame"), SPAN_INIT(""), NULL, 0, 0 },
		{ 0x80030005, 0, SPAN_INIT(""), SPAN_INIT(""), NULL, 0, 0 }, /* NOOP of SPDY/2 */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf in = {}, body = {};
		auto_err struct err err = ERR_INIT;
		struct end s;
		end_init(&s, false, false);
		buf_span_add(&body, rows[i].body);
		bool has_block = rows[i].plain.len || (rows[i].first == SYN_STREAM && rows[i].body.len == 10);
		if (has_block)
			block(&body, rows[i].plain, true);
		frame(&in, rows[i].first, rows[i].flags, buf_span(&body));
		int rc = http_spdy_feed(s.s, buf_span(&in), &err);
		auto_bytes struct bytes *sent = http_spdy_take(s.s);
		if (rows[i].why) {
			if (rc != -ERR_UPSTREAM || !span_ends(span_of(err_msg(&err)), span_of(rows[i].why)))
				fail_msg("row %zu: %d \"%s\", want \"%s\"", i, rc, err_msg(&err), rows[i].why);
			assert_memory_equal(sent->data, "\x80\x03\x00\x07", 4);
			assert_int_equal(http_spdy_feed(s.s, buf_span(&in), NULL), 0); /* hears no more */
		} else {
			if (rc != 0)
				fail_msg("row %zu: %d \"%s\"", i, rc, err_msg(&err));
			uint8_t want[16] = { 0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, (uint8_t)rows[i].id, 0, 0, 0, (uint8_t)rows[i].reset };
			assert_int_equal(bytes_span(sent).len, rows[i].reset ? 16 : 0);
			if (rows[i].reset && memcmp(sent->data, want, 16) != 0)
				fail_msg("row %zu: another reset than %u for %u", i, rows[i].reset, rows[i].id);
		}
		assert_int_equal(s.log.len, 0);
		end_done(&s);
	}
}

static void wrong_states(void **state)
{
	struct end c, s;
	end_init(&c, true, false);
	end_init(&s, false, false);
	struct http_spdy_stream *st = open_one(&c, HTTP_SPDY_FIN);
	exchange(&c, &s);
	buf_trunc(&s.log, 0);
	/* Data and fields behind the end. */
	auto_buf struct buf in = {};
	frame(&in, 1, 0, SPAN("more"));
	assert_int_equal(http_spdy_feed(s.s, buf_span(&in), NULL), 0);
	assert_sent(&s, SPAN("\x80\x03\x00\x03\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x09"));
	assert_log(&s, "closed 1 status 9\n");
	/* The stream is gone: what is still under way for it is nothing special. */
	assert_int_equal(http_spdy_feed(s.s, buf_span(&in), NULL), 0);
	assert_null(http_spdy_take(s.s));
	/* A second reply. */
	buf_trunc(&in, 0);
	auto_buf struct buf body = {};
	buf_add(&body, "\0\0\0\3", 4);
	block(&body, SPAN("\0\0\0\0"), true);
	struct end fresh;
	end_init(&fresh, true, false);
	(void)open_one(&fresh, 0);
	(void)open_one(&fresh, 0);
	bytes_unref(http_spdy_take(fresh.s));
	frame(&in, SYN_REPLY, 0, buf_span(&body));
	assert_int_equal(http_spdy_feed(fresh.s, buf_span(&in), NULL), 0);
	assert_log(&fresh, "reply 3\n");
	buf_trunc(&in, 0);
	frame(&in, RST_STREAM, 0, SPAN("\0\0\0\3\0\0\0\0"));
	assert_int_equal(http_spdy_feed(fresh.s, buf_span(&in), NULL), 0);
	assert_log(&fresh, "closed 3 status 1\n");
	/* Too many broken frames end the session. */
	int rc = 0, n = 0;
	buf_trunc(&in, 0);
	frame(&in, 77, 0, SPAN("?"));
	for (; rc == 0 && n < 5000; n++)
		rc = http_spdy_feed(fresh.s, buf_span(&in), NULL);
	assert_int_equal(rc, -ERR_UPSTREAM);
	assert_int_equal(n, 1001);
	end_done(&fresh);
	(void)st;
	end_done(&c);
	end_done(&s);
}

static void limits(void **state)
{
	struct end c, s;
	end_init(&c, true, false);
	end_init_with(&s, (struct http_spdy_params){ .max_streams = 2, .header_bytes = 100, .control_bytes = 200 });
	(void)open_one(&c, 0);
	(void)open_one(&c, 0);
	(void)open_one(&c, 0);
	exchange(&c, &s);
	assert_true(span_ends(buf_span(&c.log), SPAN("closed 5 status 3\n")));
	assert_int_equal(http_spdy_n_streams(s.s), 2);
	/* Compresses well, but only a bounded part is uncompressed. */
	auto_free char *many = mem_alloc(50000);
	memset(many, 'x', 50000);
	const struct http_spdy_field f[] = { { SPAN("bomb"), span_make(many, 50000) } };
	struct http_spdy_stream *st;
	auto_err struct err err = ERR_INIT;
	assert_int_equal(http_spdy_open(c.s, f, 1, 0, &st, NULL), 0);
	auto_bytes struct bytes *b = http_spdy_take(c.s);
	assert_int_equal(http_spdy_feed(s.s, bytes_span(b), &err), -ERR_UPSTREAM);
	assert_int_equal(s.n_closed, 2);
	end_done(&s);
	/* A frame that says it is long is refused before it comes. */
	end_init_with(&s, (struct http_spdy_params){ .control_bytes = 200 });
	assert_int_equal(http_spdy_feed(s.s, SPAN("\x80\x03\x00\x01\x00\x00\x00\xc9"), &err), -ERR_UPSTREAM);
	assert_string_equal(err_msg(&err), "spdy: control frame is too long");
	end_done(&s);
	end_done(&c);
}

/* ---- the Go library */

static void go_client(void **state)
{
	auto_buf struct buf file = {};
	assert_int_equal(io_read_file(AT_FDCWD, "tests/vectors/spdy-go-client.bin", &file, 1 << 20, NULL), 0);
	for (size_t portion = 1; portion < 10000; portion *= 7) {
		struct end s;
		end_init(&s, false, false);
		for (size_t i = 0; i < file.len; i += portion)
			assert_int_equal(http_spdy_feed(s.s, span_make(file.ptr + i, MIN(portion, file.len - i)), NULL), 0);
		char x300[301];
		memset(x300, 'x', 300);
		x300[300] = 0;
		auto_buf struct buf want = {};
		buf_printf(&want, "open 1 streamtype=error x-multi=a x-multi=b\nxxxxx\nend 1\n"
				  "open 3 x-multi=a x-multi=b streamtype=stdin\n\nend 3\n"
				  "open 5 streamtype=stdout x-multi=a x-multi=b\n%s\nend 5\n"
				  "open 7 x-multi=a x-multi=b streamtype=resize\nxxxxxxxxxxxxxxxxxxxx\nend 7\n"
				  "open 9 streamtype=reset\nclosed 9 status 5\n"
				  "goaway 0 status 0\n", x300);
		assert_log(&s, buf_cstr(&want));
		auto_bytes struct bytes *sent = http_spdy_take(s.s);
		assert_memory_equal(sent->data, "\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01", 12); /* its ping */
		end_done(&s);
	}
}

/* Callbacks may do anything but feed, take and free. */
static void reset_inside(struct http_spdy_stream *st, struct span data)
{
	http_spdy_reset(st, HTTP_SPDY_CANCEL);
}

static void reset_in_data(void **state)
{
	struct end c, s;
	end_init(&c, true, true);
	end_init(&s, false, true);
	s.on_data = reset_inside;
	s.quiet = true;
	struct http_spdy_stream *st = open_one(&c, 0);
	auto_free char *data = mem_zalloc(60000);
	http_spdy_write(st, span_make(data, 60000), true);
	auto_bytes struct bytes *b = http_spdy_take(c.s);
	for (size_t i = 0; i < b->len; i += 100)
		assert_int_equal(http_spdy_feed(s.s, span_make(b->data + i, MIN((size_t)100, b->len - i)), NULL), 0);
	assert_int_equal(s.n_closed, 1);
	assert_in_range(s.got, 1, 100);
	assert_int_equal(http_spdy_unconsumed(s.s), 0);
	exchange(&c, &s);
	assert_int_equal(c.n_closed, 1);
	/* The session's window is whole again: another 60,000 bytes pass. */
	s.on_data = NULL;
	s.got = 0;
	st = open_one(&c, 0);
	http_spdy_write(st, span_make(data, 60000), true);
	exchange(&c, &s);
	assert_int_equal(s.got, 60000);
	end_done(&c);
	end_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conversation), cmocka_unit_test(goaway_and_end), cmocka_unit_test(portions),
		cmocka_unit_test(no_windows),   cmocka_unit_test(windows),	  cmocka_unit_test(overflowing),
		cmocka_unit_test(peer_settings), cmocka_unit_test(dictionary),    cmocka_unit_test(violations),
		cmocka_unit_test(wrong_states), cmocka_unit_test(limits),	  cmocka_unit_test(reset_in_data), cmocka_unit_test(go_client),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
