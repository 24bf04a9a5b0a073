/* A server whose handler uses every way of reading and answering. Private to the fuzz targets. */
#pragma once

#include "http/http_fuzz.h"

static void fuzz_data(struct http_req *r, struct span data, void *arg)
{
	http_reply_add(r, http_copy(data));
	if (data.len % 7 == 3) {
		http_req_pause(r);
		http_req_resume(r);
	}
}

static void fuzz_end(struct http_req *r, void *arg)
{
	http_reply_trailer(r, "x-n", SPAN("1"));
	http_reply_end(r);
}

static void fuzz_whole(struct http_req *r, int rc, struct span body, void *arg)
{
	http_reply_text(r, rc ? 413 : 200, "text/plain", body);
}

static void fuzz_handle(struct http_req *r, void *arg)
{
	static const struct http_req_ops ops = { .data = fuzz_data, .end = fuzz_end };
	const struct span *segments;
	size_t n;
	(void)http_req_segments(r, &segments, &n, NULL);
	(void)http_req_header_all(r, "accept");
	(void)http_req_accepts_gzip(r);
	(void)http_req_wants_upgrade(r, "tcp");
	switch (http_req_path(r).len % 6) {
	case 0:
		http_req_ops_set(r, &ops, NULL);
		http_reply_begin(r);
		break;
	case 1:
		http_req_body_whole(r, 100, fuzz_whole, NULL);
		break;
	case 2:
		http_reply_abort(r);
		break;
	case 3:
		if (!http_reply_not_modified(r, SPAN("\"1\"")))
			http_reply_text(r, 200, "text/plain", SPAN("body"));
		break;
	case 4:
		http_reply_gzip(r, 1);
		http_reply_add(r, http_copy(SPAN("some text to be compressed")));
		http_reply_end(r);
		break;
	default:
		http_reply_text(r, 404, "text/plain", SPAN("no"));
	}
}

static int fuzz_server(const uint8_t *data, size_t size, struct span prefix)
{
	static struct http_server *server;
	struct loop *l = fuzz_loop();
	if (!server) {
		struct http_server_params p = { .loop = l, .name = "fuzz", .handle = fuzz_handle };
		if (http_server_new(&p, &server, NULL) < 0)
			abort();
	}
	if (!size)
		return 0;
	uint8_t cut = data[0];
	struct span rest = { (const char *)data + 1, size - 1 }, piece;
	struct http_conn *c = http_conn_memory(server);
	loop_turn(l, false);
	if (prefix.len)
		http_io_feed(&c->io, prefix);
	for (unsigned i = 0; i < 2000 && http_server_stats(server).connections && fuzz_piece(&rest, cut, &piece); i++) {
		/* An exact copy: a read past the piece is seen. */
		char *copy = mem_dup(piece.ptr, piece.len);
		http_io_feed(&c->io, span_make(copy, piece.len));
		free(copy);
		loop_turn(l, false);
	}
	if (http_server_stats(server).connections)
		http_conn_close(c);
	for (unsigned i = 0; i < 20 && http_server_stats(server).connections; i++)
		loop_turn(l, false);
	if (http_server_stats(server).connections || http_server_stats(server).streams)
		abort(); /* something was left behind */
	return 0;
}
