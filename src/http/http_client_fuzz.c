/* Answers to a client: the first byte cuts, the second chooses the version and the call. */
#include "http/http_fuzz.h"

static bool over;

static void on_done(struct http_call *c, const struct err *why, void *arg)
{
	over = true;
}

static void on_data(struct http_call *c, struct span data, void *arg)
{
	if (data.len % 5 == 2) {
		http_call_pause(c);
		http_call_resume(c);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct http_call_ops ops = { .data = on_data, .done = on_done };
	struct loop *l = fuzz_loop();
	if (size < 2)
		return 0;
	struct http_client *client;
	struct http_client_params cp = { .loop = l, .name = "fuzz" };
	if (http_client_new(&cp, &client, NULL) < 0)
		abort();
	struct http_origin o = { .host = "fuzz", .unix_path = "/nowhere", .http2 = data[1] & 1 };
	struct http_piece body = http_copy(SPAN("body"));
	struct http_call_params p = { .origin = &o, .method = data[1] & 2 ? "HEAD" : data[1] & 4 ? "POST" : "GET",
		.target = SPAN("/"), .ops = &ops, .expect_continue = data[1] & 8, .body = &body,
		.n_body = (data[1] & 4) ? 1 : 0, .upgrade = (data[1] & 17) == 16 ? "x" : NULL };
	struct http_call *call;
	over = false;
	if (http_call_begin(client, &p, &call, NULL) < 0)
		abort();
	/* A connection without a socket, put in the pool as if it had been made. */
	struct http_cconn *c = http_cconn_new(call->pool);
	http_connecting_stop(c);
	http_io_memory(&c->io, l, &http_cconn_ops);
	c->io.opening = false;
	c->has_io = true;
	http_cconn_ready(c, o.http2);
	loop_turn(l, false);
	struct span rest = { (const char *)data + 2, size - 2 }, piece;
	for (unsigned i = 0; i < 2000 && !over && fuzz_piece(&rest, data[0], &piece); i++) {
		char *copy = mem_dup(piece.ptr, piece.len);
		http_io_feed(&c->io, span_make(copy, piece.len));
		free(copy);
		loop_turn(l, false);
	}
	http_client_free(client);
	for (int i = 0; i < 4; i++)
		loop_turn(l, false);
	return 0;
}
