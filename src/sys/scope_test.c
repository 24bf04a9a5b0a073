/* The words that pass between us and systemd: what we say is read again field by field, what it may answer is played to us. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "sys/dbus.c"
#include "sys/scope.c"

static const char job[] = "/org/freedesktop/systemd1/job/51";

static void head_make(struct buf *out, uint8_t type, const char *member, const char *error, const char *signature,
		      struct span body)
{
	buf_chr(out, 'l');
	buf_chr(out, (char)type);
	buf_chr(out, 1);
	buf_chr(out, 1);
	sys_dbus_u32(out, (uint32_t)body.len);
	sys_dbus_u32(out, 7);
	size_t at = sys_dbus_array_begin(out, 8);
	if (type != SYS_DBUS_SIGNAL) {
		sys_dbus_align(out, 8);
		buf_add(out, "\5\1u\0\1\0\0\0", 8); /* the serial that is answered */
	}
	if (error)
		field(out, FIELD_ERROR, "s", error);
	if (type == SYS_DBUS_SIGNAL) {
		field(out, FIELD_PATH, "o", "/org/freedesktop/systemd1");
		field(out, FIELD_INTERFACE, "s", "org.freedesktop.systemd1.Manager");
		field(out, FIELD_MEMBER, "s", member);
	}
	field(out, FIELD_SIGNATURE, "g", signature);
	sys_dbus_array_end(out, at, 8);
	sys_dbus_align(out, 8);
	buf_span_add(out, body);
}

static void signal_make(struct buf *stream, const char *member, const char *of, const char *result)
{
	auto_buf struct buf body = {}, m = {};
	sys_dbus_u32(&body, 51);
	sys_dbus_text(&body, of);
	sys_dbus_text(&body, "t-x.scope");
	sys_dbus_text(&body, result);
	head_make(&m, SYS_DBUS_SIGNAL, member, NULL, "uoss", buf_span(&body));
	buf_span_add(stream, buf_span(&m));
}

static void return_make(struct buf *stream)
{
	auto_buf struct buf body = {}, m = {};
	sys_dbus_text(&body, job);
	head_make(&m, SYS_DBUS_RETURN, NULL, NULL, "o", buf_span(&body));
	buf_span_add(stream, buf_span(&m));
}

/* What is said to us, all at once, then the end. */
static int play(struct span stream, bool job_begun, struct err *err)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	auto_fd int ours = pair[0], theirs = pair[1];
	assert_int_equal(send(theirs, stream.ptr, stream.len, MSG_NOSIGNAL), (ssize_t)stream.len);
	fd_close(&theirs);
	int r = hello(ours, err);
	return r < 0 ? r : job_wait(ours, job_begun, err);
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
	if (play(buf_span(&s), true, &err) < 0)
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
			sys_dbus_text(&body, "Unit t.scope exists");
			head_make(&m, SYS_DBUS_ERROR, NULL, "x.UnitExists", "s", buf_span(&body));
			buf_span_add(&s, buf_span(&m));
		}
		assert_true(play(buf_span(&s), true, &err) < 0);
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
		(void)play(buf_span(&s), true, &err); /* any answer will do */
	}
}

/* A method without a job is over with its return, whatever else is told meanwhile. */
static void a_return_may_be_the_end(void **state)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf s = {}, m = {};
	buf_str(&s, "OK 1\r\n");
	signal_make(&s, "JobRemoved", job, "failed");
	head_make(&m, SYS_DBUS_RETURN, NULL, NULL, "", SPAN_EMPTY);
	buf_span_add(&s, buf_span(&m));
	if (play(buf_span(&s), false, &err) < 0)
		fail_msg("%s", err_msg(&err));
}

/* systemd, as far as it reads: a greeting of at most 256 bytes, of which nothing may be left, then a call. */
static void *other_side(void *arg)
{
	int sock = *(int *)arg;
	char first[256], call[256];
	auto_buf struct buf back = {};
	ssize_t n = recv(sock, first, sizeof(first), 0);
	bool alone = n > 7 && memcmp(first + n - 7, "BEGIN\r\n", 7) == 0;
	(void)send(sock, "OK 1\r\n", 6, MSG_NOSIGNAL);
	if (!alone || recv(sock, call, sizeof(call), 0) <= 0) {
		shutdown(sock, SHUT_RDWR);
		return NULL;
	}
	return_make(&back);
	signal_make(&back, "JobRemoved", job, "done");
	(void)send(sock, back.ptr, back.len, MSG_NOSIGNAL);
	return NULL;
}

static void a_short_call_is_heard(void **state)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf body = {}, call = {};
	pthread_t thread;
	int pair[2];
	sys_dbus_text(&body, "a.slice");
	sys_dbus_text(&body, "replace");
	call_make(&call, "StopUnit", "ss", buf_span(&body));
	assert_in_range(call.len, 1, 220);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pthread_create(&thread, NULL, other_side, &pair[1]), 0);
	int r = converse(pair[0], buf_span(&call), true, &err);
	pthread_join(thread, NULL);
	close(pair[0]);
	close(pair[1]);
	if (r < 0)
		fail_msg("%s", err_msg(&err));
}

/* The body of a call whose head says what it should. */
static struct span body_of(const struct buf *call, const char *method, size_t len)
{
	struct sys_dbus_message m = {};
	struct span head = buf_span(call);
	size_t fields = u32_at(head, 12), start = 16 + (fields + 7) / 8 * 8;
	assert_int_equal(u32_at(head, 4), len);
	assert_int_equal(call->len, start + len);
	assert_true(fields_read(span_sub(head, 16, 16 + fields), &m));
	assert_true(span_is(m.member, method));
	return span_from(head, start);
}

/* Where the array of properties at `at` ends; the next value is aligned to what it is. */
static size_t properties_end(struct span b, size_t at, size_t *out_first)
{
	at = (at + 3) / 4 * 4;
	uint32_t len = u32_at(b, at);
	*out_first = (at + 4 + 7) / 8 * 8;
	return *out_first + len;
}

static void the_call_is_as_the_standard_says(void **state)
{
	auto_buf struct buf body = {}, call = {};
	scope_body(&body, "t-x.scope", "knarr-x.slice", 4711, "container x");
	call_make(&call, "StartTransientUnit", START_SIGNATURE, buf_span(&body));
	size_t at = 0, first;
	struct span b = body_of(&call, "StartTransientUnit", body.len);
	assert_true(span_is(sys_dbus_text_at(b, &at), "t-x.scope"));
	assert_true(span_is(sys_dbus_text_at(b, &at), "fail"));
	size_t end = properties_end(b, at, &first);
	/* behind the properties: an empty array of structs, which is aligned like one that is not empty */
	assert_int_equal((end + 3) / 4 * 4 + 4 <= b.len, 1);
	assert_int_equal(u32_at(b, (end + 3) / 4 * 4), 0);
	assert_int_equal(b.len % 8, 0);
	assert_true(span_has(b, SPAN("Delegate\0\1b\0")));
}

/* "Key=value " of the properties of types s, b and t, in order. */
static void properties_print(struct buf *out, struct span b, size_t at, size_t end)
{
	while (at < end) {
		at = (at + 7) / 8 * 8;
		struct span key = sys_dbus_text_at(b, &at);
		assert_true(key.len && (uint8_t)b.ptr[at] == 1);
		char type = b.ptr[at + 1];
		at += 3;
		buf_printf(out, "%.*s=", SPAN_ARG(key));
		if (type == 's') {
			struct span v = sys_dbus_text_at(b, &at);
			buf_printf(out, "%.*s ", SPAN_ARG(v));
		} else if (type == 'b') {
			at = (at + 3) / 4 * 4;
			buf_printf(out, "%u ", u32_at(b, at));
			at += 4;
		} else {
			uint64_t v;
			assert_int_equal(type, 't');
			at = (at + 7) / 8 * 8;
			memcpy(&v, b.ptr + at, sizeof(v));
			buf_printf(out, "%llu ", (unsigned long long)v);
			at += 8;
		}
	}
	assert_int_equal(at, end);
}

#define NUM(n) { true, n }

/* What systemd.resource-control(5) calls our limits, of both versions of control groups, in a slice that is made and in one that is
 * changed. */
static void limits_are_properties(void **state)
{
	static const struct {
		struct sys_cgroup_limits l;
		const char *v2, *v1;
	} rows[] = {
		{ {}, "", "" },
		{ { .shares = NUM(2) }, "CPUWeight=1 ", "CPUShares=2 " },
		{ { .shares = NUM(1024), .pids = NUM(100) }, "CPUWeight=39 TasksMax=100 ", "CPUShares=1024 TasksMax=100 " },
		{ { .shares = NUM(1) }, "CPUWeight=1 ", "CPUShares=2 " },
		{ { .shares = NUM(1 << 20) }, "CPUWeight=10000 ", "CPUShares=262144 " },
		{ { .quota = NUM(50000), .period = NUM(100000), .memory = NUM(64 << 20) },
		  "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=500000 MemoryMax=67108864 ",
		  "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=500000 MemoryLimit=67108864 " },
		/* 10.1 ms a second: the next hundredth */
		{ { .quota = NUM(1010), .period = NUM(100000) }, "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=20000 ",
		  "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=20000 " },
		{ { .quota = NUM(-1), .memory = NUM(-1), .pids = NUM(0) }, "", "" }, /* no bound is what it has anyway */
	};
	for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
		bool v2 = i % 2;
		const char *want = v2 ? rows[i / 2].v2 : rows[i / 2].v1;
		auto_buf struct buf make = {}, change = {}, call = {}, got = {};
		size_t at = 0, first, end;
		slice_body(&make, "a-b.slice", "pods", &rows[i / 2].l, v2);
		call_make(&call, "StartTransientUnit", START_SIGNATURE, buf_span(&make));
		struct span b = body_of(&call, "StartTransientUnit", make.len);
		assert_true(span_is(sys_dbus_text_at(b, &at), "a-b.slice"));
		assert_true(span_is(sys_dbus_text_at(b, &at), "replace"));
		end = properties_end(b, at, &first);
		properties_print(&got, b, first, end);
		struct span head = SPAN("Description=pods DefaultDependencies=0 CPUAccounting=1 MemoryAccounting=1 IOAccounting=1 TasksAccounting=1 ");
		if (!span_starts(buf_span(&got), head) || !span_is(span_from(buf_span(&got), head.len), want))
			fail_msg("row %zu: \"%s\" expected, \"%s\" came", i / 2, want, buf_cstr(&got));

		buf_trunc(&got, 0);
		buf_trunc(&call, 0);
		change_body(&change, "a-b.slice", &rows[i / 2].l, v2);
		call_make(&call, "SetUnitProperties", "sba(sv)", buf_span(&change));
		b = body_of(&call, "SetUnitProperties", change.len);
		at = 0;
		assert_true(span_is(sys_dbus_text_at(b, &at), "a-b.slice"));
		at = (at + 3) / 4 * 4;
		assert_int_equal(u32_at(b, at), 1);
		end = properties_end(b, at + 4, &first);
		properties_print(&got, b, first, end);
		if (!span_is(buf_span(&got), want) || end != b.len)
			fail_msg("change, row %zu: \"%s\" expected, \"%s\" came", i / 2, want, buf_cstr(&got));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_job_s_end_is_waited_for), cmocka_unit_test(failures_say_why),
		cmocka_unit_test(nonsense_is_survived), cmocka_unit_test(the_call_is_as_the_standard_says),
		cmocka_unit_test(a_return_may_be_the_end), cmocka_unit_test(a_short_call_is_heard), cmocka_unit_test(limits_are_properties),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
