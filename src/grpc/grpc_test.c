/* Tests of gRPC: the bytes, and our server against Python's grpcio. The client's are in grpc_client_test.c. */
#include "grpc/grpc_test.h"
#include "grpc/grpc_wire.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

/* ---- bytes */

static void timeouts(void **state)
{
	static const struct {
		const char *text;
		int64_t ms; /* -1: refused */
	} rows[] = {
		{ "1S", 1000 }, { "100m", 100 }, { "1u", 1 }, { "1001u", 2 }, { "999999n", 1 }, { "1000001n", 2 }, { "0m", 0 },
		{ "2M", 120000 }, { "1H", 3600000 }, { "99999999H", INT64_C(359999996400000) }, { "99999999m", 99999999 },
		{ "", -1 }, { "m", -1 }, { "1", -1 }, { "1x", -1 }, { "-1m", -1 }, { "100000000m", -1 }, { "1.5S", -1 },
		{ " 1S", -1 }, { "+1S", -1 }, { "1s", -1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t ms = -1;
		bool good = grpc_timeout_parse(span_of(rows[i].text), &ms);
		if (good != (rows[i].ms >= 0) || ms != rows[i].ms)
			fail_msg("\"%s\": %d %jd, want %jd", rows[i].text, good, (intmax_t)ms, (intmax_t)rows[i].ms);
	}
	static const struct {
		int64_t ms;
		const char *text;
	} made[] = { { 0, "0m" }, { 1, "1m" }, { 99999999, "99999999m" }, { 100000000, "100000S" }, { 100000001, "100001S" },
		     { INT64_C(99999999000), "99999999S" }, { INT64_C(99999999001), "1666667M" },
		     { INT64_C(999999999999999999), "99999999H" } };
	for (size_t i = 0; i < ARRAY_LEN(made); i++) {
		char text[16];
		grpc_timeout_format(made[i].ms, text);
		assert_string_equal(text, made[i].text);
	}
}

static void words(void **state)
{
	static const struct {
		struct span plain;
		const char *sent;
	} rows[] = {
		{ SPAN_INIT("plain ~"), "plain ~" }, { SPAN_INIT("100%"), "100%25" }, { SPAN_INIT("\xc3\xa9\n\0"), "%C3%A9%0A%00" },
		{ SPAN_INIT(""), "" }, { SPAN_INIT(" a b "), "%20a b%20" }, { SPAN_INIT(" "), "%20" }, { SPAN_INIT("a  "), "a %20" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf out = {}, back = {};
		grpc_message_encode(&out, rows[i].plain);
		assert_string_equal(buf_cstr(&out), rows[i].sent);
		grpc_message_decode(&back, buf_span(&out));
		assert_true(span_eq(buf_span(&back), rows[i].plain));
	}
	auto_buf struct buf odd = {};
	grpc_message_decode(&odd, SPAN("a%zz%4%41%"));
	assert_string_equal(buf_cstr(&odd), "a%zz%4A%");

	enum grpc_status s;
	assert_true(grpc_status_parse(SPAN("16"), &s) && s == GRPC_UNAUTHENTICATED);
	assert_true(grpc_status_parse(SPAN("17"), &s) && s == GRPC_UNKNOWN);
	assert_false(grpc_status_parse(SPAN("x"), &s));
	assert_false(grpc_status_parse(SPAN(""), &s));
	assert_string_equal(grpc_status_name(GRPC_DEADLINE_EXCEEDED), "DeadlineExceeded");
	/* Every status names a class that leads back to it. */
	for (int i = 0; i < GRPC_STATUS_COUNT; i++)
		assert_int_equal(grpc_status_of(grpc_status_class((enum grpc_status)i)), i);
	for (int class = 1; class < ERR_COUNT; class++)
		assert_int_not_equal(grpc_status_of(-class), GRPC_OK);
	const char *name;
	assert_int_equal(grpc_status_of_reset(7, &name), GRPC_UNAVAILABLE);
	assert_string_equal(name, "REFUSED_STREAM");
	assert_int_equal(grpc_status_of_reset(8, &name), GRPC_CANCELLED);
	assert_int_equal(grpc_status_of_reset(11, &name), GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(grpc_status_of_reset(12, &name), GRPC_PERMISSION_DENIED);
	assert_int_equal(grpc_status_of_reset(99, &name), GRPC_UNKNOWN);
	assert_int_equal(grpc_status_of(-ERR_STALE), GRPC_ABORTED);

	assert_true(grpc_content_type(SPAN("application/grpc")) && grpc_content_type(SPAN("Application/gRPC+proto")) &&
		    grpc_content_type(SPAN("application/grpc;charset=utf-8")));
	assert_false(grpc_content_type(SPAN("application/grpc-web")) || grpc_content_type(SPAN("application/json")) ||
		     grpc_content_type(SPAN("")));

	auto_buf struct buf bin = {};
	assert_true(grpc_bin_decode(&bin, SPAN("AP8Q")) && span_eq(buf_span(&bin), SPAN("\0\xff\x10")));
	buf_trunc(&bin, 0);
	assert_true(grpc_bin_decode(&bin, SPAN("AP8=, QQ")) && span_eq(buf_span(&bin), SPAN("\0\xff")));
	buf_trunc(&bin, 0);
	assert_true(grpc_bin_decode(&bin, SPAN("AP8")) && span_eq(buf_span(&bin), SPAN("\0\xff")));
	assert_false(grpc_bin_decode(&bin, SPAN("A!")));
}

static void frames(void **state)
{
	static const char stream[] = "\0\0\0\0\5hello" "\0\0\0\0\0" "\0\0\0\0\3abc";
	for (size_t portion = 1; portion < sizeof(stream); portion++) {
		struct grpc_frames f = { .limit = 5 };
		auto_buf struct buf log = {}, why = {};
		for (size_t i = 0; i < sizeof(stream) - 1; i += portion) {
			struct span in = span_make(stream + i, MIN(portion, sizeof(stream) - 1 - i)), message;
			while (grpc_frames_next(&f, &in, &message, &why) > 0)
				buf_printf(&log, "[%.*s]", SPAN_ARG(message));
			assert_int_equal(in.len, 0);
		}
		assert_string_equal(buf_cstr(&log), "[hello][][abc]");
		assert_true(grpc_frames_between(&f));
		grpc_frames_done(&f);
	}
	static const struct {
		struct span in;
		int rc;
		const char *why;
	} bad[] = {
		{ SPAN_INIT("\1\0\0\0\1x"), -GRPC_UNIMPLEMENTED, "grpc: compressed messages are not supported" },
		{ SPAN_INIT("\2\0\0\0\1x"), -GRPC_INTERNAL, "grpc: received unexpected payload format 2" },
		{ SPAN_INIT("\0\0\0\0\6"), -GRPC_RESOURCE_EXHAUSTED, "grpc: received message larger than max (6 vs. 5)" },
		{ SPAN_INIT("\0\xff\xff\xff\xff"), -GRPC_RESOURCE_EXHAUSTED,
		  "grpc: received message larger than max (4294967295 vs. 5)" },
		{ SPAN_INIT("\0\0\0\0\5abc"), 0, "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct grpc_frames f = { .limit = 5 };
		auto_buf struct buf why = {};
		struct span in = bad[i].in, message;
		assert_int_equal(grpc_frames_next(&f, &in, &message, &why), bad[i].rc);
		assert_string_equal(buf_cstr(&why), bad[i].why);
		if (bad[i].rc == 0)
			assert_false(grpc_frames_between(&f));
		grpc_frames_done(&f);
	}
}

/* ---- our server, Python's client */

struct child {
	struct loop_timer poll;
	pid_t pid;
	int status;
};

static void child_poll(struct loop_timer *t)
{
	struct child *c = container_of(t, struct child, poll);
	if (waitpid(c->pid, &c->status, WNOHANG) == c->pid)
		loop_stop(t->loop);
	else
		loop_timer_start(t, 20);
}

static bool grpcio_there(void)
{
	int status;
	pid_t pid = grpc_test_python("check", "");
	assert_true(pid >= 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void stopped(struct http_server *s, void *arg)
{
	loop_stop(arg);
}

static void python_client(bool tcp)
{
	if (!grpcio_there()) {
		print_message("skipped: no python3-grpcio\n");
		skip();
	}
	auto_err struct err err = ERR_INIT;
	struct loop *l;
	assert_int_equal(loop_new(NULL, &l, NULL), 0);
	struct grpc_test_log log = { .loop = l };
	struct grpc_server_params gp = { .loop = l, .methods = grpc_test_methods, .n = grpc_test_n_methods, .arg = &log };
	struct grpc_server *grpc = grpc_server_new(&gp);
	struct http_server_params hp = { .loop = l, .name = "grpc test", .handle = grpc_server_handle, .arg = grpc };
	grpc_limits(&hp.limits);
	struct http_server *http;
	assert_int_equal(http_server_new(&hp, &http, NULL), 0);
	char dir[] = "/tmp/grpc-test-XXXXXX", path[64], target[80];
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	int fd = tcp ? http_listen_tcp("127.0.0.1", 0, 0, &err) : http_listen_unix(path, 0600, &err);
	if (fd < 0)
		fail_msg("%s", err_msg(&err));
	if (tcp)
		snprintf(target, sizeof(target), "127.0.0.1:%u", http_fd_port(fd));
	else
		snprintf(target, sizeof(target), "unix:%s", path);
	assert_int_equal(http_server_listen(http, fd, 0, &err), 0);

	struct child c = { .pid = grpc_test_python("client", target) };
	loop_timer_init(&c.poll, l, "child", child_poll);
	loop_timer_start(&c.poll, 20);
	loop_run(l);
	http_server_stop(http, 1000, stopped, l);
	loop_run(l);
	http_server_free(http);
	grpc_server_free(grpc);
	loop_free(l);
	unlink(path);
	rmdir(dir);
	if (!WIFEXITED(c.status) || WEXITSTATUS(c.status) != 0)
		fail_msg("the client ended with status %x; on the server:\n%s", c.status, buf_cstr(&log.text));
	/* Deadline and cancelled unary call (on a busy machine they may end before they reach the server): each that came was
	 * told once and ended once. The stream was cancelled after its first message. */
	size_t cancelled = 0, done = 0;
	struct span rest = buf_span(&log.text), line;
	while (span_cut(&rest, '\n', &line)) {
		cancelled += span_is(line, "cancelled /test.Echo/Never");
		done += span_is(line, "done /test.Echo/Never");
	}
	assert_in_range(cancelled, 0, 2);
	assert_int_equal(done, cancelled);
	assert_true(span_has(buf_span(&log.text), SPAN("cancelled /test.Echo/Chat\n")));
	buf_done(&log.text);
}

static void python_client_unix(void **state)
{
	python_client(false);
}

static void python_client_tcp(void **state)
{
	python_client(true);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timeouts), cmocka_unit_test(words), cmocka_unit_test(frames),
		cmocka_unit_test(python_client_unix), cmocka_unit_test(python_client_tcp),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
