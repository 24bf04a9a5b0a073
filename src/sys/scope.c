/* See scope.h. One method call of D-Bus (specification, "Message Protocol"), of org.freedesktop.systemd1.Manager, and where it
 * begins a job the wait for the signal that this is done.
 *
 *     "\0AUTH EXTERNAL 30\r\n"  "BEGIN\r\n"  call  ->  "OK ...\r\n"  return (the job)  signals ... JobRemoved (job, result)
 */
#include "sys/scope.h"
#include "sys/cgroup.h"
#include "sys/dbus.h"

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

static void property(struct buf *b, const char *key, const char *type)
{
	sys_dbus_align(b, 8);
	sys_dbus_text(b, key);
	sys_dbus_signature(b, type);
}

static void property_text(struct buf *b, const char *key, const char *value)
{
	property(b, key, "s");
	sys_dbus_text(b, value);
}

static void property_bool(struct buf *b, const char *key, bool value)
{
	property(b, key, "b");
	sys_dbus_u32(b, value);
}

static void property_u64(struct buf *b, const char *key, uint64_t value)
{
	property(b, key, "t");
	sys_dbus_align(b, 8);
	buf_add(b, &value, sizeof(value));
}

static void scope_body(struct buf *b, const char *unit, const char *slice, pid_t pid, const char *description)
{
	sys_dbus_text(b, unit);
	sys_dbus_text(b, "fail");
	size_t at = sys_dbus_array_begin(b, 8);
	property_text(b, "Description", description);
	property_text(b, "Slice", slice);
	property_bool(b, "Delegate", true);
	property_bool(b, "DefaultDependencies", false);
	property_text(b, "CollectMode", "inactive-or-failed"); /* forgotten also when it ended badly: the name may be wanted again */
	property(b, "PIDs", "au");
	size_t pids = sys_dbus_array_begin(b, 4);
	sys_dbus_u32(b, (uint32_t)pid);
	sys_dbus_array_end(b, pids, 4);
	sys_dbus_array_end(b, at, 8);
	sys_dbus_array_end(b, sys_dbus_array_begin(b, 8), 8); /* no further units */
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
	sys_dbus_text(b, unit);
	sys_dbus_text(b, "replace");
	size_t at = sys_dbus_array_begin(b, 8);
	property_text(b, "Description", description);
	property_bool(b, "DefaultDependencies", false);
	property_bool(b, "CPUAccounting", true);
	property_bool(b, "MemoryAccounting", true);
	property_bool(b, "IOAccounting", true);
	property_bool(b, "TasksAccounting", true);
	limits_put(b, l, v2);
	sys_dbus_array_end(b, at, 8);
	sys_dbus_array_end(b, sys_dbus_array_begin(b, 8), 8);
}

/* true: until systemd runs anew, as with what was said when the unit was made. */
static void change_body(struct buf *b, const char *unit, const struct sys_cgroup_limits *l, bool v2)
{
	sys_dbus_text(b, unit);
	sys_dbus_u32(b, true);
	size_t at = sys_dbus_array_begin(b, 8);
	limits_put(b, l, v2);
	sys_dbus_array_end(b, at, 8);
}

static void call_make(struct buf *out, const char *method, const char *signature, struct span body)
{
	sys_dbus_call(out, 1, &(struct sys_dbus_call){ .path = "/org/freedesktop/systemd1",
		.interface = "org.freedesktop.systemd1.Manager", .member = method, .destination = "org.freedesktop.systemd1",
		.signature = signature }, body);
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

static int message_read(int sock, char *room, struct sys_dbus_message *out, struct err *err)
{
	size_t size;
	int r = exactly(sock, room, SYS_DBUS_HEAD, err);
	if (r < 0)
		return r;
	if (!sys_dbus_size(span_make(room, SYS_DBUS_HEAD), &size) || size > MESSAGE_MAX)
		return err_set(err, ERR_UPSTREAM, "systemd sent no message of D-Bus 1");
	r = exactly(sock, room + SYS_DBUS_HEAD, size - SYS_DBUS_HEAD, err);
	if (r < 0)
		return r;
	return sys_dbus_read(span_make(room, size), out)
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
		struct sys_dbus_message m = {};
		int r = message_read(sock, room, &m, err);
		size_t at = 0;
		if (r < 0)
			return r;
		if (m.type == SYS_DBUS_ERROR) {
			struct span text = sys_dbus_text_at(m.body, &at);
			return err_set(err, ERR_UPSTREAM, "systemd: %.*s (%.*s)", SPAN_ARG(text), SPAN_ARG(m.error));
		}
		if (m.type == SYS_DBUS_RETURN && !job_begun)
			return 0;
		if (m.type == SYS_DBUS_RETURN && !*job) {
			struct span name = sys_dbus_text_at(m.body, &at);
			snprintf(job, sizeof(job), "%.*s", SPAN_ARG(name));
		} else if (m.type == SYS_DBUS_SIGNAL && span_is(m.member, "JobRemoved")) {
			at = 4;
			struct span name = sys_dbus_text_at(m.body, &at);
			(void)sys_dbus_text_at(m.body, &at); /* the unit's name */
			struct span result = sys_dbus_text_at(m.body, &at);
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
		return err_set(err, ERR_UNAVAILABLE, "reach systemd at %s: %s", SOCKET, err_why(errno));
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
	sys_dbus_text(&body, unit);
	sys_dbus_text(&body, "replace");
	call_make(&call, "StopUnit", "ss", buf_span(&body));
	int r = ask(buf_span(&call), true, &why);
	if (r == 0 || strstr(err_msg(&why), "NoSuchUnit"))
		return 0;
	(void)err_move(err, &why);
	return err_note(err, "stopping slice %s", unit);
}
