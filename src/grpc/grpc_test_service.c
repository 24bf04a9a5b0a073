/* /test.Echo: Unary, Count (server streaming), Sum (client streaming), Chat (both), Never (no answer), Large. */
#include "grpc/grpc_test.h"

#include <unistd.h>

static void unary(struct grpc_req *r, struct span message, void *arg)
{
	struct grpc_test_log *log = arg;
	buf_printf(&log->text, "unary %zu\n", message.len);
	if (span_is(message, "fail")) {
		grpc_reply_trailer(r, "why-bin", span_make("\0\xff", 2));
		grpc_reply_end(r, GRPC_NOT_FOUND, "no such thing: \"\xc3\xa9\" 100%");
		return;
	}
	if (span_is(message, "blank")) {
		grpc_reply_end(r, GRPC_NOT_FOUND, " between blanks ");
		return;
	}
	if (span_is(message, "error")) {
		auto_err struct err err = ERR_INIT;
		(void)err_set(&err, ERR_STALE, "the object has been modified");
		grpc_reply_error(r, &err);
		return;
	}
	struct span key = grpc_req_metadata(r, "x-key"), bin = grpc_req_metadata(r, "x-data-bin");
	if (key.ptr)
		grpc_reply_header(r, "x-key", key);
	if (bin.ptr)
		grpc_reply_header(r, "x-data-bin", bin);
	grpc_reply_send(r, message);
	grpc_reply_trailer(r, "x-after", SPAN("done"));
	grpc_reply_end(r, GRPC_OK, NULL);
	grpc_reply_end(r, GRPC_INTERNAL, "ignored");
}

/* As many messages as the request has bytes, of 1000 bytes each. */
static void count(struct grpc_req *r, struct span message, void *arg)
{
	auto_bytes struct bytes *piece = bytes_alloc(1000);
	memset(piece->data, 'x', 1000);
	for (size_t i = 0; i < message.len; i++)
		grpc_reply_send_bytes(r, bytes_ref(piece));
	grpc_reply_end(r, GRPC_OK, "all");
}

static void large(struct grpc_req *r, struct span message, void *arg)
{
	auto_free char *data = mem_zalloc(6 << 20);
	grpc_reply_send(r, span_make(data, 6 << 20));
	grpc_reply_end(r, GRPC_OK, NULL);
}

struct sum {
	struct loop_timer timer;
	struct grpc_req *r;
	size_t bytes, messages;
};

static void sum_message(struct grpc_req *r, struct span message, void *arg)
{
	struct sum *s = arg;
	s->bytes += message.len;
	s->messages++;
	/* Every tenth message makes the client wait a little. */
	if (s->messages % 10 == 0) {
		grpc_req_pause(r);
		loop_timer_start(&s->timer, 1);
	}
}

static void sum_resume(struct loop_timer *t)
{
	grpc_req_resume(container_of(t, struct sum, timer)->r);
}

static void sum_end(struct grpc_req *r, void *arg)
{
	struct sum *s = arg;
	grpc_reply_send(r, arena_printf(grpc_req_arena(r), "%zu messages, %zu bytes", s->messages, s->bytes));
	grpc_reply_end(r, GRPC_OK, NULL);
}

static void sum_done(struct grpc_req *r, void *arg)
{
	struct sum *s = arg;
	loop_timer_stop(&s->timer);
	free(s);
}

static void sum(struct grpc_req *r, void *arg)
{
	static const struct grpc_req_ops ops = { .message = sum_message, .end = sum_end, .done = sum_done };
	struct grpc_test_log *log = arg;
	struct sum *s = mem_new(struct sum);
	s->r = r;
	loop_timer_init(&s->timer, log->loop, "sum", sum_resume);
	grpc_req_ops_set(r, &ops, s);
}

static void chat_message(struct grpc_req *r, struct span message, void *arg)
{
	grpc_reply_send(r, message);
}

static void chat_end(struct grpc_req *r, void *arg)
{
	grpc_reply_end(r, GRPC_OK, NULL);
}

static void log_cancelled(struct grpc_req *r, void *arg)
{
	struct grpc_test_log *log = arg;
	buf_printf(&log->text, "cancelled %.*s\n", SPAN_ARG(grpc_req_method(r)));
}

static void log_done(struct grpc_req *r, void *arg)
{
	struct grpc_test_log *log = arg;
	buf_printf(&log->text, "done %.*s\n", SPAN_ARG(grpc_req_method(r)));
}

static void chat(struct grpc_req *r, void *arg)
{
	static const struct grpc_req_ops ops = { .message = chat_message, .end = chat_end, .cancelled = log_cancelled,
						 .done = log_done };
	grpc_reply_header(r, "x-chat", SPAN("open"));
	grpc_req_ops_set(r, &ops, arg);
}

static void never(struct grpc_req *r, struct span message, void *arg)
{
	static const struct grpc_req_ops ops = { .cancelled = log_cancelled, .done = log_done };
	grpc_req_ops_set(r, &ops, arg);
}

const struct grpc_method grpc_test_methods[] = {
	{ "/test.Echo/Unary", .unary = unary }, { "/test.Echo/Count", .unary = count },
	{ "/test.Echo/Large", .unary = large }, { "/test.Echo/Never", .unary = never },
	{ "/test.Echo/Sum", .open = sum },	{ "/test.Echo/Chat", .open = chat },
};
const size_t grpc_test_n_methods = ARRAY_LEN(grpc_test_methods);

pid_t grpc_test_python(const char *mode, const char *target)
{
	pid_t pid = fork();
	if (pid == 0) {
		execl("/usr/bin/python3", "python3", "src/grpc/grpc_test_peer.py", mode, target, (char *)NULL);
		_exit(77);
	}
	return pid;
}
