/* See scope.h. One method call of D-Bus (specification, "Message Protocol"), of org.freedesktop.systemd1.Manager, and where it
 * begins a job the wait for the signal that this is done.
 *
 *     "\0AUTH EXTERNAL 30\r\n"  "BEGIN\r\n"  call  ->  "OK ...\r\n"  return (the job's name)  signals ... JobRemoved (job, result)
 *
 * A message: 'l', type, flags, 1, u32 length of the body, u32 serial, array of header fields, padding to 8, body. Each value is
 * aligned to its own size from the message's start, structs to 8. */
#include "sys/scope.h"
#include "sys/cgroup.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET "/run/systemd/private"
#define MESSAGE_MAX 65536
#define WAIT_S 10
#define START_SIGNATURE "ssa(sv)a(sa(sv))"

enum { TYPE_CALL = 1, TYPE_RETURN = 2, TYPE_ERROR = 3, TYPE_SIGNAL = 4 };
enum { FIELD_PATH = 1, FIELD_INTERFACE = 2, FIELD_MEMBER = 3, FIELD_ERROR = 4, FIELD_DESTINATION = 6, FIELD_SIGNATURE = 8 };

/* ---- writing; the buffer begins at a multiple of 8 of the message */

static void align(struct buf *b, size_t to)
{
	while (b->len % to)
		buf_chr(b, 0);
}

static void put_u32(struct buf *b, uint32_t v)
{
	align(b, 4);
	buf_add(b, &v, sizeof(v)); /* 'l' or 'B' in the head says whose order */
}

static void put_text(struct buf *b, const char *s)
{
	put_u32(b, (uint32_t)strlen(s));
	buf_add(b, s, strlen(s) + 1);
}

static void put_signature(struct buf *b, const char *s)
{
	buf_chr(b, (char)strlen(s));
	buf_add(b, s, strlen(s) + 1);
}

static size_t array_begin(struct buf *b, size_t element)
{
	put_u32(b, 0);
	size_t at = b->len;
	align(b, element);
	return at;
}

/* The length counts from the first element, without the padding before it. */
static void array_end(struct buf *b, size_t at, size_t element)
{
	size_t first = (at + element - 1) / element * element;
	uint32_t len = (uint32_t)(b->len - first);
	memcpy(b->ptr + at - sizeof(len), &len, sizeof(len));
}

static void property(struct buf *b, const char *key, const char *type)
{
	align(b, 8);
	put_text(b, key);
	put_signature(b, type);
}

static void field(struct buf *b, uint8_t code, const char *type, const char *value)
{
	align(b, 8);
	buf_chr(b, (char)code);
	put_signature(b, type);
	if (*type == 'g')
		put_signature(b, value);
	else
		put_text(b, value);
}

static void property_text(struct buf *b, const char *key, const char *value)
{
	property(b, key, "s");
	put_text(b, value);
}

static void property_bool(struct buf *b, const char *key, bool value)
{
	property(b, key, "b");
	put_u32(b, value);
}

static void property_u64(struct buf *b, const char *key, uint64_t value)
{
	property(b, key, "t");
	align(b, 8);
	buf_add(b, &value, sizeof(value));
}

static void scope_body(struct buf *b, const char *unit, const char *slice, pid_t pid, const char *description)
{
	put_text(b, unit);
	put_text(b, "fail");
	size_t at = array_begin(b, 8);
	property_text(b, "Description", description);
	property_text(b, "Slice", slice);
	property_bool(b, "Delegate", true);
	property_bool(b, "DefaultDependencies", false);
	property_text(b, "CollectMode", "inactive-or-failed"); /* forgotten also when it ended badly: the name may be wanted again */
	property(b, "PIDs", "au");
	size_t pids = array_begin(b, 4);
	put_u32(b, (uint32_t)pid);
	array_end(b, pids, 4);
	array_end(b, at, 8);
	array_end(b, array_begin(b, 8), 8); /* no further units */
}

/* systemd.resource-control(5). Of a second of time, in whole hundredths of a processor: systemd takes no finer part. */
static uint64_t quota_per_second(const struct sys_cgroup_limits *l)
{
	uint64_t period = l->period.set && l->period.v > 0 ? (uint64_t)l->period.v : 100000;
	uint64_t us = (uint64_t)MIN(l->quota.v, INT64_MAX / 1000000) * 1000000 / period;
	return (us + 9999) / 10000 * 10000;
}

static void limits_put(struct buf *b, const struct sys_cgroup_limits *l, bool v2)
{
	if (l->shares.set && l->shares.v > 0) {
		uint64_t shares = (uint64_t)MIN(MAX(l->shares.v, 2), 262144);
		if (v2)
			property_u64(b, "CPUWeight", 1 + (shares - 2) * 9999 / 262142);
		else
			property_u64(b, "CPUShares", shares);
	}
	if (l->quota.set && l->quota.v > 0) {
		if (l->period.set && l->period.v > 0)
			property_u64(b, "CPUQuotaPeriodUSec", (uint64_t)l->period.v);
		property_u64(b, "CPUQuotaPerSecUSec", quota_per_second(l));
	}
	if (l->memory.set && l->memory.v > 0)
		property_u64(b, v2 ? "MemoryMax" : "MemoryLimit", (uint64_t)l->memory.v);
	if (l->pids.set && l->pids.v > 0)
		property_u64(b, "TasksMax", (uint64_t)l->pids.v);
}

/* Accounting is what makes systemd enable a controller in the group. */
static void slice_body(struct buf *b, const char *unit, const char *description, const struct sys_cgroup_limits *l, bool v2)
{
	put_text(b, unit);
	put_text(b, "replace");
	size_t at = array_begin(b, 8);
	property_text(b, "Description", description);
	property_bool(b, "DefaultDependencies", false);
	property_bool(b, "CPUAccounting", true);
	property_bool(b, "MemoryAccounting", true);
	property_bool(b, "IOAccounting", true);
	property_bool(b, "TasksAccounting", true);
	limits_put(b, l, v2);
	array_end(b, at, 8);
	array_end(b, array_begin(b, 8), 8);
}

/* true: until systemd runs anew, as with what was said when the unit was made. */
static void change_body(struct buf *b, const char *unit, const struct sys_cgroup_limits *l, bool v2)
{
	put_text(b, unit);
	put_u32(b, true);
	size_t at = array_begin(b, 8);
	limits_put(b, l, v2);
	array_end(b, at, 8);
}

static void call_make(struct buf *out, const char *method, const char *signature, struct span body)
{
	const uint16_t one = 1;
	char first;
	memcpy(&first, &one, 1);
	buf_chr(out, first ? 'l' : 'B');
	buf_chr(out, TYPE_CALL);
	buf_chr(out, 0);
	buf_chr(out, 1);
	put_u32(out, (uint32_t)body.len);
	put_u32(out, 1); /* serial */
	size_t at = array_begin(out, 8);
	field(out, FIELD_PATH, "o", "/org/freedesktop/systemd1");
	field(out, FIELD_INTERFACE, "s", "org.freedesktop.systemd1.Manager");
	field(out, FIELD_MEMBER, "s", method);
	field(out, FIELD_DESTINATION, "s", "org.freedesktop.systemd1");
	field(out, FIELD_SIGNATURE, "g", signature);
	array_end(out, at, 8);
	align(out, 8);
	buf_span_add(out, body);
}

/* ---- reading */

static int exactly(int sock, char *to, size_t n, struct err *err)
{
	while (n) {
		ssize_t got = recv(sock, to, n, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? err_set(err, ERR_TIMEOUT, "systemd did not answer within %d s", WAIT_S)
					       : err_sys(err, "hear from systemd");
		if (got == 0)
			return err_set(err, ERR_UNAVAILABLE, "systemd closed the connection");
		to += got;
		n -= (size_t)got;
	}
	return 0;
}

static uint32_t u32_at(struct span s, size_t at)
{
	uint32_t v = 0;
	if (at + sizeof(v) <= s.len)
		memcpy(&v, s.ptr + at, sizeof(v));
	return v;
}

/* A string at the next multiple of 4; empty when the message is too short. */
static struct span text_at(struct span s, size_t *at)
{
	size_t from = (*at + 3) / 4 * 4, len = u32_at(s, from);
	if (from + 4 > s.len || len >= s.len - from - 4)
		return SPAN_EMPTY;
	*at = from + 4 + len + 1;
	return span_sub(s, from + 4, from + 4 + len);
}

struct message {
	uint8_t type;
	struct span member, error, body;
};

/* Fields of type s, o and g, and u (which need nothing here); others are not in systemd's messages. */
static bool fields_read(struct span fields, struct message *out)
{
	for (size_t at = 0; at + 4 < fields.len;) {
		at = (at + 7) / 8 * 8;
		if (at + 4 >= fields.len)
			break;
		uint8_t code = (uint8_t)fields.ptr[at];
		char type = fields.ptr[at + 2];
		if (fields.ptr[at + 1] != 1)
			return false;
		at += 4;
		if (type == 'g') {
			at += (size_t)(uint8_t)fields.ptr[at] + 2;
		} else if (type == 'u') {
			at = (at + 3) / 4 * 4 + 4;
		} else if (type == 's' || type == 'o') {
			struct span text = text_at(fields, &at);
			if (!text.ptr)
				return false;
			if (code == FIELD_MEMBER)
				out->member = text;
			if (code == FIELD_ERROR)
				out->error = text;
		} else {
			return false;
		}
	}
	return true;
}

static int message_read(int sock, char *room, struct message *out, struct err *err)
{
	int r = exactly(sock, room, 16, err);
	if (r < 0)
		return r;
	struct span head = span_make(room, 16);
	size_t body = u32_at(head, 4), fields = u32_at(head, 12), padded = (fields + 7) / 8 * 8;
	if (body > MESSAGE_MAX / 4 || fields > MESSAGE_MAX / 4 || room[3] != 1)
		return err_set(err, ERR_UPSTREAM, "systemd sent no message of D-Bus 1");
	r = exactly(sock, room + 16, padded + body, err);
	if (r < 0)
		return r;
	*out = (struct message){ .type = (uint8_t)room[1], .body = span_make(room + 16 + padded, body) };
	return fields_read(span_make(room + 16, fields), out)
		       ? 0
		       : err_set(err, ERR_UPSTREAM, "a header field of systemd's message is not understood");
}

static int hello(int sock, struct err *err)
{
	char line[256];
	size_t n = 0;
	do {
		int r = n < sizeof(line) ? exactly(sock, line + n, 1, err)
					 : err_set(err, ERR_UPSTREAM, "systemd's greeting is too long");
		if (r < 0)
			return r;
	} while (line[n++] != '\n');
	if (span_starts(span_make(line, n), SPAN("OK ")))
		return 0;
	return err_set(err, ERR_FORBIDDEN, "systemd refused: %.*s", (int)n - 1, line);
}

/* The return names the job, the signal JobRemoved tells its end. Without a job the return is the end. */
static int job_wait(int sock, bool job_begun, struct err *err)
{
	auto_buf struct buf space = {};
	char job[256] = "", *room = buf_reserve(&space, MESSAGE_MAX);
	for (;;) {
		struct message m = {};
		int r = message_read(sock, room, &m, err);
		size_t at = 0;
		if (r < 0)
			return r;
		if (m.type == TYPE_ERROR) {
			struct span text = text_at(m.body, &at);
			return err_set(err, ERR_UPSTREAM, "systemd: %.*s (%.*s)", SPAN_ARG(text), SPAN_ARG(m.error));
		}
		if (m.type == TYPE_RETURN && !job_begun)
			return 0;
		if (m.type == TYPE_RETURN && !*job) {
			struct span name = text_at(m.body, &at);
			snprintf(job, sizeof(job), "%.*s", SPAN_ARG(name));
		} else if (m.type == TYPE_SIGNAL && span_is(m.member, "JobRemoved")) {
			at = 4;
			struct span name = text_at(m.body, &at);
			(void)text_at(m.body, &at); /* the unit's name */
			struct span result = text_at(m.body, &at);
			if (!*job || !span_is(name, job))
				continue;
			return span_is(result, "done") ? 0
						       : err_set(err, ERR_UPSTREAM, "systemd: the job ended as \"%.*s\"",
								 SPAN_ARG(result));
		}
	}
}

static int say(int sock, struct span what, struct err *err)
{
	while (what.len) {
		ssize_t n = send(sock, what.ptr, what.len, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return err_sys(err, "ask systemd");
		what = span_from(what, n > 0 ? (size_t)n : 0);
	}
	return 0;
}

/* The call waits for the answer to the greeting: of one that comes with it systemd reads what is in its first 256 bytes, and a
 * short call that ends there is looked at when more comes, which is never. */
static int converse(int sock, struct span call, bool job_begun, struct err *err)
{
	/* "0" in hex: the kernel vouches that we are root */
	int r = say(sock, SPAN("\0AUTH EXTERNAL 30\r\nBEGIN\r\n"), err);
	r = r < 0 ? r : hello(sock, err);
	r = r < 0 ? r : say(sock, call, err);
	return r < 0 ? r : job_wait(sock, job_begun, err);
}

static int ask(struct span call, bool job_begun, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	struct timeval wait = { .tv_sec = WAIT_S };
	auto_fd int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_set(err, ERR_UNAVAILABLE, "reach systemd at %s: %s", SOCKET, strerror(errno));
	(void)setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)); /* cannot fail with a valid time */
	return converse(sock, call, job_begun, err);
}

int sys_scope_start(const char *path, const char *mount, pid_t pid, const char *description, struct err *err)
{
	const char *unit = strrchr(path, '/') + 1;
	char slice[256] = "-.slice";
	struct span above = span_make(path, (size_t)(unit - path) - 1);
	if (above.len > strlen(mount)) {
		struct span name = span_from(above, (size_t)span_rchr(above, '/') + 1);
		snprintf(slice, sizeof(slice), "%.*s", SPAN_ARG(name));
	}
	auto_buf struct buf body = {}, call = {};
	scope_body(&body, unit, slice, pid, description);
	call_make(&call, "StartTransientUnit", START_SIGNATURE, buf_span(&body));
	for (int waited_ms = 0;; waited_ms += 20) {
		auto_err struct err why = ERR_INIT;
		int r = ask(buf_span(&call), true, &why);
		if (r == 0)
			return 0;
		/* A container of that name has just ended, and systemd has not forgotten its scope yet. */
		if (!strstr(err_msg(&why), "UnitExists") || waited_ms >= 1000) {
			r = err_move(err, &why);
			return err_note(err, "scope %s in %s", unit, slice);
		}
		poll(NULL, 0, 20);
	}
}

bool sys_slice_possible(void)
{
	return access("/run/systemd/system", F_OK) == 0 && access(SOCKET, F_OK) == 0;
}

int sys_slice_set(const char *unit, const char *description, const struct sys_cgroup_limits *l, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	auto_buf struct buf body = {}, call = {};
	bool v2 = sys_cgroup_pure_v2();
	slice_body(&body, unit, description, l, v2);
	call_make(&call, "StartTransientUnit", START_SIGNATURE, buf_span(&body));
	int r = ask(buf_span(&call), true, &why);
	if (r < 0 && strstr(err_msg(&why), "UnitExists")) {
		err_done(&why);
		buf_trunc(&body, 0);
		buf_trunc(&call, 0);
		change_body(&body, unit, l, v2);
		call_make(&call, "SetUnitProperties", "sba(sv)", buf_span(&body));
		r = ask(buf_span(&call), false, &why);
	}
	if (r == 0)
		return 0;
	(void)err_move(err, &why);
	return err_note(err, "slice %s", unit);
}

int sys_slice_stop(const char *unit, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	auto_buf struct buf body = {}, call = {};
	put_text(&body, unit);
	put_text(&body, "replace");
	call_make(&call, "StopUnit", "ss", buf_span(&body));
	int r = ask(buf_span(&call), true, &why);
	if (r == 0 || strstr(err_msg(&why), "NoSuchUnit"))
		return 0;
	(void)err_move(err, &why);
	return err_note(err, "stopping slice %s", unit);
}
