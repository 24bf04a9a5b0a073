/* The words that pass between us and systemd: what we say is read again field by field, what it may answer is played to us. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sys/scope.c"

static const char job[] = "/org/freedesktop/systemd1/job/51";

static void head_make(struct buf *out, uint8_t type, const char *member, const char *error, const char *signature,
		      struct span body)
{
	buf_chr(out, 'l');
	buf_chr(out, (char)type);
	buf_chr(out, 1);
	buf_chr(out, 1);
	put_u32(out, (uint32_t)body.len);
	put_u32(out, 7);
	size_t at = array_begin(out, 8);
	if (type != TYPE_SIGNAL) {
		align(out, 8);
		buf_add(out, "\5\1u\0\1\0\0\0", 8); /* the serial that is answered */
	}
	if (error)
		field(out, FIELD_ERROR, "s", error);
	if (type == TYPE_SIGNAL) {
		field(out, FIELD_PATH, "o", "/org/freedesktop/systemd1");
		field(out, FIELD_INTERFACE, "s", "org.freedesktop.systemd1.Manager");
		field(out, FIELD_MEMBER, "s", member);
	}
	field(out, FIELD_SIGNATURE, "g", signature);
	array_end(out, at, 8);
	align(out, 8);
	buf_span_add(out, body);
}

static void signal_make(struct buf *stream, const char *member, const char *of, const char *result)
{
	auto_buf struct buf body = {}, m = {};
	put_u32(&body, 51);
	put_text(&body, of);
	put_text(&body, "t-x.scope");
	put_text(&body, result);
	head_make(&m, TYPE_SIGNAL, member, NULL, "uoss", buf_span(&body));
	buf_span_add(stream, buf_span(&m));
}

static void return_make(struct buf *stream)
{
	auto_buf struct buf body = {}, m = {};
	put_text(&body, job);
	head_make(&m, TYPE_RETURN, NULL, NULL, "o", buf_span(&body));
	buf_span_add(stream, buf_span(&m));
}

/* What is said to us, all at once, then the end. */
static int play(struct span stream, struct err *err)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	auto_fd int ours = pair[0], theirs = pair[1];
	assert_int_equal(send(theirs, stream.ptr, stream.len, MSG_NOSIGNAL), (ssize_t)stream.len);
	fd_close(&theirs);
	int r = hello(ours, err);
	return r < 0 ? r : job_wait(ours, err);
}

static void the_job_s_end_is_waited_for(void **state)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf s = {};
	buf_str(&s, "OK 0123456789abcdef\r\n");
	signal_make(&s, "JobNew", job, "");
	return_make(&s);
	signal_make(&s, "JobRemoved", "/org/freedesktop/systemd1/job/50", "failed");
	signal_make(&s, "UnitNew", job, "failed");
	signal_make(&s, "JobRemoved", job, "done");
	if (play(buf_span(&s), &err) < 0)
		fail_msg("%s", err_msg(&err));
}

static void failures_say_why(void **state)
{
	static const char *const wants[] = { "refused: REJECTED", "closed", "ended as \"failed\"", "Unit t.scope exists (x.UnitExists)" };
	for (size_t i = 0; i < ARRAY_LEN(wants); i++) {
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf s = {}, body = {}, m = {};
		buf_str(&s, i == 0 ? "REJECTED\r\n" : "OK 1\r\n");
		if (i < 3)
			return_make(&s);
		if (i == 2)
			signal_make(&s, "JobRemoved", job, "failed");
		if (i == 3) {
			put_text(&body, "Unit t.scope exists");
			head_make(&m, TYPE_ERROR, NULL, "x.UnitExists", "s", buf_span(&body));
			buf_span_add(&s, buf_span(&m));
		}
		assert_true(play(buf_span(&s), &err) < 0);
		if (!strstr(err_msg(&err), wants[i]))
			fail_msg("\"%s\" expected, \"%s\" came", wants[i], err_msg(&err));
	}
}

/* No length that the other side claims leads outside of what it sent. */
static void nonsense_is_survived(void **state)
{
	auto_buf struct buf good = {};
	buf_str(&good, "OK 1\r\n");
	return_make(&good);
	signal_make(&good, "JobRemoved", job, "done");
	struct rng rng;
	rng_init(&rng, 3);
	for (size_t i = 0; i < 4000; i++) {
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf s = {};
		buf_span_add(&s, span_sub(buf_span(&good), 0, i < good.len ? i : good.len));
		for (size_t k = 0; i >= good.len && k < 3; k++)
			s.ptr[rng_below(&rng, s.len)] = (char)rng_u64(&rng);
		(void)play(buf_span(&s), &err); /* any answer will do */
	}
}

static void the_call_is_as_the_standard_says(void **state)
{
	auto_buf struct buf body = {}, call = {};
	body_make(&body, "t-x.scope", "knarr-x.slice", 4711, "container x");
	call_make(&call, buf_span(&body));
	struct message m = {};
	struct span head = buf_span(&call);
	size_t fields = u32_at(head, 12), start = 16 + (fields + 7) / 8 * 8, at = 0;
	assert_int_equal(u32_at(head, 4), body.len);
	assert_int_equal(call.len, start + body.len);
	assert_true(fields_read(span_sub(head, 16, 16 + fields), &m));
	assert_true(span_is(m.member, "StartTransientUnit"));
	struct span b = span_from(head, start);
	assert_true(span_is(text_at(b, &at), "t-x.scope"));
	assert_true(span_is(text_at(b, &at), "fail"));
	at = (at + 3) / 4 * 4;
	uint32_t len = u32_at(b, at);
	at = (at + 4 + 7) / 8 * 8;
	/* behind the properties: an empty array of structs, which is aligned like one that is not empty */
	assert_int_equal((at + len + 3) / 4 * 4 + 4 <= b.len, 1);
	assert_int_equal(u32_at(b, (at + len + 3) / 4 * 4), 0);
	assert_int_equal(b.len % 8, 0);
	assert_true(span_has(b, SPAN("Delegate\0\1b\0")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_job_s_end_is_waited_for), cmocka_unit_test(failures_say_why),
		cmocka_unit_test(nonsense_is_survived), cmocka_unit_test(the_call_is_as_the_standard_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
