/* A server with handlers that note what they see, and a raw client on the same loop. Private to the tests. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <cmocka.h>
#include <zlib.h>
#include "http/http_impl.h"

static struct loop *l;
static struct http_server *server;
static struct bytes *block;
static struct buf events; /* what handlers saw */
static struct http_req *kept;
static struct http_duplex *raw;

static void event(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void event(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&events, fmt, ap);
	va_end(ap);
}

#define assert_events(expected)                                                                                        \
	do {                                                                                                           \
		assert_string_equal(buf_cstr(&events), expected);                                                      \
		buf_trunc(&events, 0);                                                                                 \
	} while (0)

/* ---- handlers ---- */

static void echo_data(struct http_req *r, struct span data, void *arg)
{
	http_reply_add(r, http_copy(data));
}

static void echo_end(struct http_req *r, void *arg)
{
	struct span t = http_fields_get(http_req_trailers(r), "x-sum");
	if (t.len)
		http_reply_trailer(r, "X-Sum", t);
	http_reply_end(r);
}

static void note_done(struct http_req *r, bool complete, void *arg)
{
	event("done:%d ", complete);
	if (kept == r)
		kept = NULL;
}

static void note_hangup(struct http_req *r, void *arg)
{
	event("hangup ");
}

static void note_drain(struct http_req *r, void *arg)
{
	event("drain ");
}

static void note_data(struct http_req *r, struct span data, void *arg)
{
	event("data:%zu ", data.len);
	http_req_pause(r);
}

static void note_end(struct http_req *r, void *arg)
{
	event("end ");
}

static void whole(struct http_req *r, int rc, struct span body, void *arg)
{
	event("whole:%s:%zu ", rc ? err_class_name(rc) : "0", body.len);
	http_reply_text(r, rc ? 413 : 200, "text/plain", body);
}

static const struct http_req_ops echo_ops = { .data = echo_data, .end = echo_end, .done = note_done };
static const struct http_req_ops keep_ops = { .hangup = note_hangup, .drain = note_drain, .done = note_done };
static const struct http_req_ops pause_ops = { .data = note_data, .end = note_end, .hangup = note_hangup, .done = note_done };

static void raw_data(struct http_duplex *d, struct span data, void *arg)
{
	event("raw:%.*s ", SPAN_ARG(data));
	http_duplex_write(d, http_copy(data));
}

static void raw_end(struct http_duplex *d, void *arg)
{
	event("rawend ");
	http_duplex_write(d, http_copy(SPAN("bye")));
	http_duplex_end(d);
}

static void raw_closed(struct http_duplex *d, const struct err *why, void *arg)
{
	event("rawclosed:%d ", why ? (int)why->class : 0);
	raw = NULL;
}

static const struct http_duplex_ops raw_ops = { .data = raw_data, .end = raw_end, .closed = raw_closed };

static void handle(struct http_req *r, void *arg)
{
	struct span path = http_req_path(r);
	if (span_is(path, "/hello")) {
		http_reply_text(r, 200, "text/plain", SPAN("hello"));
	} else if (span_is(path, "/echo")) {
		http_req_ops_set(r, &echo_ops, NULL);
		http_reply_begin(r);
	} else if (span_is(path, "/whole")) {
		http_req_body_whole(r, 1000, whole, NULL);
	} else if (span_is(path, "/keep")) {
		http_req_ops_set(r, &keep_ops, NULL);
		http_reply_begin(r);
		kept = r;
	} else if (span_is(path, "/wait")) {
		http_req_ops_set(r, &keep_ops, NULL);
		kept = r;
	} else if (span_is(path, "/pause")) {
		http_req_ops_set(r, &pause_ops, NULL);
		kept = r;
	} else if (span_is(path, "/ignore")) {
		http_reply_text(r, 200, "text/plain", SPAN("done"));
	} else if (span_is(path, "/abort")) {
		http_reply_add(r, http_copy(SPAN("half")));
		http_reply_begin(r);
		http_reply_abort(r);
	} else if (span_is(path, "/big")) {
		for (int i = 0; i < 2000; i++)
			http_reply_add(r, http_bytes(bytes_ref(block)));
		http_req_ops_set(r, &keep_ops, NULL);
		http_reply_end(r);
	} else if (span_is(path, "/gzip")) {
		http_reply_gzip(r, 0);
		for (int i = 0; i < 2000; i++)
			http_reply_add(r, http_bytes(bytes_ref(block)));
		http_reply_end(r);
	} else if (span_is(path, "/etag")) {
		if (!http_reply_not_modified(r, SPAN("\"v1\"")))
			http_reply_text(r, 200, "text/plain", SPAN("body"));
	} else if (span_is(path, "/empty")) {
		http_reply_status(r, 204);
		http_reply_end(r);
	} else if (span_is(path, "/hijack")) {
		auto_err struct err err = ERR_INIT;
		bool up = http_req_wants_upgrade(r, "tcp");
		if (up)
			http_reply_header(r, "Upgrade", SPAN("tcp"));
		if (http_req_hijack(r, up ? 101 : 200, &raw, &err) < 0)
			fail_msg("hijack: %s", err_msg(&err));
		http_duplex_ops_set(raw, &raw_ops, NULL);
	} else if (span_is(path, "/facts")) {
		auto_buf struct buf out = {};
		buf_printf(&out, "%.*s|%.*s|%.*s|%.*s|%d", SPAN_ARG(http_req_method(r)), SPAN_ARG(path), SPAN_ARG(http_req_query(r)),
			SPAN_ARG(http_req_host(r)), http_req_version(r));
		buf_printf(&out, "|%.*s|%.*s", SPAN_ARG(http_req_header_all(r, "x-a")), SPAN_ARG(http_req_header_all(r, "cookie")));
		http_reply_text(r, 200, "text/plain", buf_span(&out));
	} else {
		http_reply_text(r, 404, "text/plain", SPAN("nothing"));
	}
}

static void stopped(struct http_server *s, void *arg)
{
	*(bool *)arg = true;
}

static bool bare_lf; /* of the next server */

static void server_make(struct http_limits limits)
{
	auto_err struct err err = ERR_INIT;
	struct http_server_params p = { .loop = l, .name = "test", .handle = handle, .limits = limits, .unix_bare_lf = bare_lf };
	assert_int_equal(http_server_new(&p, &server, &err), 0);
}

static void server_end(void)
{
	bool over = false;
	http_server_stop(server, 0, stopped, &over);
	for (int i = 0; i < 3000 && !over; i++) {
		loop_turn(l, false);
		poll(NULL, 0, i > 20); /* most end within a few turns */
	}
	assert_true(over);
	http_server_free(server);
	server = NULL;
}

static int setup(void **state)
{
	auto_err struct err err = ERR_INIT;
	assert_int_equal(loop_new(NULL, &l, &err), 0);
	block = bytes_alloc(2048);
	for (size_t i = 0; i < block->len; i++)
		block->data[i] = (char)('a' + i % 23);
	server_make((struct http_limits){});
	return 0;
}

static int teardown(void **state)
{
	server_end();
	for (int i = 0; i < 5; i++)
		loop_turn(l, false);
	loop_free(l);
	bytes_unref(block);
	buf_done(&events);
	events = (struct buf){};
	kept = NULL;
	return 0;
}

/* ---- the raw client ---- */

static int dial(void)
{
	auto_err struct err err = ERR_INIT;
	int s[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s), 0);
	if (http_server_take(server, s[1], 0, &err) < 0)
		fail_msg("take: %s", err_msg(&err));
	return s[0];
}

static void say(int fd, struct span data)
{
	for (int tries = 0; data.len && tries < 10000; tries++) {
		ssize_t n = send(fd, data.ptr, data.len, MSG_NOSIGNAL);
		if (n > 0)
			data = span_from(data, (size_t)n);
		else if (errno == EPIPE || errno == ECONNRESET)
			return;
		loop_turn(l, false);
	}
}

/* Turns until nothing moves; true when the connection has ended. */
static bool hear(int fd, struct buf *out)
{
	for (int quiet = 0; quiet < 8; quiet++) {
		loop_turn(l, false);
		char in[65536];
		ssize_t n = recv(fd, in, sizeof(in), 0);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return true;
		if (n > 0) {
			buf_add(out, in, (size_t)n);
			quiet = 0;
		}
	}
	return false;
}

static void turn_for(int ms)
{
	int64_t from = clock_mono_ms(clock_real());
	while (clock_mono_ms(clock_real()) - from < ms) {
		loop_turn(l, false);
		poll(NULL, 0, 1);
	}
}

