/* The engine's side: blocking calls, and what a state folder says. See monitor.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "json/json.h"
#include "monitor/msg.h"
#include "monitor/record.h"
#include "sys/sys.h"

#define FIND_MS 5000

int monitor_send(int sock, enum monitor_op op, uint16_t tag, int32_t a, int32_t b, struct span payload, struct err *err)
{
	struct monitor_head h = { .version = MONITOR_VERSION,
				  .op = (uint8_t)op,
				  .tag = tag,
				  .a = a,
				  .b = b,
				  .len = (uint32_t)payload.len };
	if (payload.len > MONITOR_INPUT_MAX)
		return err_set(err, ERR_TOO_LARGE, "a packet of %zu bytes", payload.len);
	if (monitor_msg_send(sock, &h, payload, NULL, 0, 0) >= 0)
		return 0;
	return errno == EPIPE || errno == ECONNRESET ? err_set(err, ERR_GONE, "the monitor is gone")
						     : err_sys(err, "send to the monitor");
}

int monitor_recv(int sock, struct monitor_head *out, void *payload, size_t cap, int *fds, unsigned cap_fds,
		 unsigned *out_n_fds, struct err *err)
{
	char packet[sizeof(*out) + MONITOR_LINE];
	int got[MONITOR_SPAWN_FDS];
	unsigned n_fds;
	ssize_t n = sys_message_recv(sock, packet, sizeof(packet), got, ARRAY_LEN(got), &n_fds, 0);
	if (n == 0 || (n < 0 && errno == ECONNRESET)) /* reset: it had not read all that we sent */
		return err_set(err, ERR_GONE, "the monitor is gone");
	if (n < 0)
		return err_sys(err, "hear from the monitor");
	unsigned keep = fds && n_fds <= cap_fds ? n_fds : 0;
	for (unsigned i = keep; i < n_fds; i++)
		close(got[i]);
	struct monitor_head h;
	int r = monitor_msg_head(packet, (size_t)n, &h, err);
	if (r == 0 && (h.len > cap || (fds && n_fds > cap_fds)))
		r = err_set(err, ERR_TOO_LARGE, "%u bytes and %u descriptors came, there is room for %zu and %u", h.len,
			    n_fds, cap, cap_fds);
	if (r < 0) {
		for (unsigned i = 0; i < keep; i++)
			close(got[i]);
		return r;
	}
	if (h.len)
		memcpy(payload, packet + sizeof(h), h.len);
	for (unsigned i = 0; i < keep; i++)
		fds[i] = got[i];
	if (out_n_fds)
		*out_n_fds = keep;
	*out = h;
	return 0;
}

static int error_take(const struct monitor_head *h, const char *text, struct err *err)
{
	int class = h->a > 0 && h->a < ERR_COUNT ? h->a : ERR_INTERNAL;
	err_set(err, (enum err_class) class, "%.*s", (int)h->len, text);
	if (err)
		err->errnum = h->b;
	return -class;
}

static int spawner_deaf(struct err *err)
{
	int rc = err_set(err, ERR_UNAVAILABLE, "the spawner does not answer");
	if (err)
		err->errnum = EAGAIN;
	return rc;
}

int monitor_spawn(int spawner, const struct monitor_spawn *s, struct monitor_spawned *out, struct err *err)
{
	static _Thread_local uint16_t tag;
	char packet[MONITOR_SPAWN_MAX], text[MONITOR_TEXT_MAX];
	int fds[MONITOR_SPAWN_FDS];
	unsigned n_fds;
	ssize_t n = monitor_spawn_encode(s, ++tag, packet, fds, &n_fds, err);
	if (n < 0)
		return (int)n;
	struct monitor_head h;
	memcpy(&h, packet, sizeof(h));
	if (monitor_msg_send(spawner, &h, span_make(packet + sizeof(h), (size_t)n - sizeof(h)), fds, n_fds, 0) < 0)
		return errno == EPIPE	 ? err_set(err, ERR_UNAVAILABLE, "the spawner is gone")
		       : errno == EAGAIN ? spawner_deaf(err)
					 : err_sys(err, "send to the spawner");
	int got[2];
	auto_err struct err why = ERR_INIT;
	int r = monitor_recv(spawner, &h, text, sizeof(text), got, 2, &n_fds, &why);
	if (r == -ERR_GONE)
		return err_set(err, ERR_UNAVAILABLE, "the spawner is gone");
	if (r < 0)
		return why.errnum == EAGAIN ? spawner_deaf(err) : err_move(err, &why);
	if (h.op == MONITOR_SPAWNED && n_fds == 2) {
		*out = (struct monitor_spawned){ .tag = h.tag, .pid = h.a, .pidfd = got[0], .control = got[1] };
		return 0;
	}
	for (unsigned i = 0; i < n_fds; i++)
		close(got[i]);
	return h.op == MONITOR_ERROR ? error_take(&h, text, err)
				     : err_set(err, ERR_UPSTREAM, "the spawner answered with packet %u", h.op);
}

int monitor_call(int sock, enum monitor_op op, int32_t a, int32_t b, struct monitor_state *out_state, struct err *err)
{
	static _Thread_local uint16_t last;
	uint16_t tag = last = (uint16_t)(last % 65535 + 1); /* 0 is the control socket's own */
	int r = monitor_send(sock, op, tag, a, b, SPAN_EMPTY, err);
	while (r == 0) {
		char payload[MONITOR_LINE];
		struct monitor_head h;
		auto_err struct err why = ERR_INIT;
		r = monitor_recv(sock, &h, payload, sizeof(payload), NULL, 0, NULL, &why);
		if (r < 0 && why.errnum == EAGAIN)
			return err_set(err, ERR_UNAVAILABLE, "the monitor does not answer");
		if (r < 0)
			return err_move(err, &why);
		if (h.tag != tag || h.op == MONITOR_OUTPUT)
			continue;
		if (h.op == MONITOR_ERROR)
			return error_take(&h, payload, err);
		if (h.op == MONITOR_STATE && h.len != sizeof(*out_state))
			return err_set(err, ERR_UPSTREAM, "a state of %u bytes", h.len);
		if (h.op == MONITOR_STATE && out_state)
			memcpy(out_state, payload, sizeof(*out_state));
		return 0;
	}
	return r;
}

int monitor_connect(int state_dir, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	auto_fd int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return err_sys(err, "socket");
	/* Through the folder's descriptor: the path may be longer than an address. */
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/monitor.sock", state_dir);
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if (errno == EAGAIN)
			return err_set(err, ERR_TOO_MANY, "the monitor takes no more connections: it does not answer");
		return errno == ENOENT || errno == ECONNREFUSED
			       ? err_set(err, ERR_UNAVAILABLE, "no monitor answers for this container")
			       : err_sys(err, "connect to the monitor");
	}
	(void)fcntl(sock, F_SETFL, 0); /* cannot fail on a socket */
	return take_fd(&sock);
}

void monitor_patience(int sock, int wait_ms)
{
	struct timeval limit = { .tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000 };
	(void)setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)); /* cannot fail on a socket */
	(void)setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

/* ---- what a state folder holds */

/* What a power cut has torn (it was not synced: it is empty then, or cut) is not there: of its processes there is none either. */
static int torn(const char *name, struct err *err)
{
	if (err)
		err_done(err);
	return err_set(err, ERR_NOT_FOUND, "%s is torn", name);
}

static int file_read(struct arena *a, int dir, const char *name, struct json *out, struct err *err)
{
	auto_buf struct buf text = {};
	int r = io_read_file(dir, name, &text, 64 << 10, err);
	if (r < 0)
		return r == -ERR_NOT_FOUND ? r : err_note(err, "%s", name);
	return json_parse(a, arena_span(a, buf_span(&text)), JSON_BORROW, NULL, out, err) < 0 ? torn(name, err) : 0;
}

static int64_t time_of(const struct json *v)
{
	struct span s = json_span(v);
	int64_t seconds;
	int32_t ns;
	return s.len && time_parse(s.ptr, s.len, &seconds, &ns) == 0 ? seconds * NS_PER_S + ns : 0;
}

/* Of this boot, or of one that did not write its name. */
static bool is_of_this_boot(const struct json *self)
{
	char now[MONITOR_BOOT_MAX];
	struct span then = json_span(json_getl(self, "boot"));
	monitor_record_boot(now);
	return !then.len || !now[0] || span_eq(then, span_of(now));
}

static int exit_read(struct arena *a, int dir, struct monitor_exit *out, struct err *err)
{
	struct json v;
	int r = file_read(a, dir, "exit.json", &v, err);
	if (r < 0)
		return r;
	*out = (struct monitor_exit){ .pid = (pid_t)json_i64(json_getl(&v, "pid"), 0),
				      .exit_code = (int)json_i64(json_getl(&v, "exitCode"), -1),
				      .signal = (int)json_i64(json_getl(&v, "signal"), 0),
				      .oom_kills = (uint64_t)json_i64(json_getl(&v, "oomKills"), 0),
				      .started_ns = time_of(json_getl(&v, "startedAt")),
				      .finished_ns = time_of(json_getl(&v, "finishedAt")) };
	if (out->exit_code < 0 || !out->finished_ns)
		return torn("exit.json", err);
	struct span class = json_span(json_getl(&v, "errorClass")), text = json_span(json_getl(&v, "error"));
	for (int i = 1; class.len && i < ERR_COUNT; i++)
		if (span_is(class, err_class_name(i)))
			out->class = (enum err_class)i;
	text = span_sub(text, 0, sizeof(out->error) - 1);
	if (text.len)
		memcpy(out->error, text.ptr, text.len);
	return 0;
}

int monitor_exit_recorded(int state_dir, struct monitor_exit *out, struct err *err)
{
	auto_arena struct arena a = {};
	return exit_read(&a, state_dir, out, err);
}

static int process_open(int state_dir, bool itself, struct err *err)
{
	auto_arena struct arena a = {};
	struct json v;
	int r = file_read(&a, state_dir, "monitor.json", &v, err);
	if (r < 0)
		return r;
	const struct json *pid = itself ? json_getl(&v, "pid") : json_getl(&v, "containerPid");
	const struct json *ticks = itself ? json_getl(&v, "startTicks") : json_getl(&v, "containerStartTicks");
	int fd = sys_process_open((pid_t)json_i64(pid, 0), (uint64_t)json_i64(ticks, 0));
	if (fd >= 0)
		return fd;
	return errno == ESRCH ? err_set(err, ERR_NOT_FOUND, "that process has ended") : err_sys(err, "open a process");
}

int monitor_process(int state_dir, struct err *err)
{
	return process_open(state_dir, true, err);
}

int monitor_signal(int state_dir, bool itself, int sig, struct err *err)
{
	auto_fd int fd = process_open(state_dir, itself, err);
	if (fd < 0)
		return fd;
	if (sys_pidfd_send_signal(fd, sig) == 0)
		return 0;
	return errno == ESRCH ? err_set(err, ERR_NOT_FOUND, "that process has ended") : err_sys(err, "signal %d", sig);
}

int monitor_recorded(int state_dir, struct monitor_state *out, struct err *err)
{
	auto_arena struct arena a = {};
	struct json v;
	int r = file_read(&a, state_dir, "monitor.json", &v, err);
	if (r < 0)
		return r;
	pid_t pid = (pid_t)json_i64(json_getl(&v, "containerPid"), 0);
	int64_t started_ns = time_of(json_getl(&v, "startedAt"));
	*out = (struct monitor_state){ .phase = started_ns ? MONITOR_RUNNING : pid ? MONITOR_CREATED : MONITOR_BUILDING,
				       .pid = pid, .exit_code = -1, .started_ns = started_ns };
	return 0;
}

/* A monitor has the lock from before its clone to its end. */
static bool is_locked(int state_dir)
{
	if (flock(state_dir, LOCK_SH | LOCK_NB) < 0)
		return errno == EWOULDBLOCK;
	(void)flock(state_dir, LOCK_UN); /* ours a moment ago */
	return false;
}

/* Does the monitor that monitor.json (of this boot) names live? */
static bool is_there(const struct json *self)
{
	return sys_process_alive((pid_t)json_i64(json_getl(self, "pid"), 0), (uint64_t)json_i64(json_getl(self, "startTicks"), 0));
}

/* The exit is there and its monitor too: it still listens to who holds the streams. The files say so when the monitor that lives
 * names the same run; one that has just begun has named none, and the exit is of the run before. */
static bool is_exit_of_living(int state_dir, const struct monitor_exit *end)
{
	auto_arena struct arena a = {};
	struct json v;
	return file_read(&a, state_dir, "monitor.json", &v, NULL) == 0 && is_of_this_boot(&v) && end->pid > 0 &&
	       json_i64(json_getl(&v, "containerPid"), 0) == end->pid && time_of(json_getl(&v, "startedAt")) == end->started_ns &&
	       is_there(&v);
}

/* Where they do not (nothing ever ran, the disk was full), it is asked. */
static bool is_ended(int state_dir)
{
	struct monitor_state state;
	auto_fd int sock = monitor_connect(state_dir, NULL);
	if (sock < 0)
		return false;
	monitor_patience(sock, 1000); /* a stopped one must not hold us */
	return monitor_call(sock, MONITOR_STATUS, 0, 0, &state, NULL) == 0 && state.phase == MONITOR_ENDED;
}

/* What the files say now. */
static int look(int state_dir, enum monitor_found *out, int *out_sock, struct monitor_exit *out_exit, struct err *err)
{
	auto_arena struct arena a = {};
	auto_err struct err why = ERR_INIT;
	struct json self;
	int r = exit_read(&a, state_dir, out_exit, &why);
	*out = MONITOR_FOUND_EXIT;
	if (r != -ERR_NOT_FOUND)
		return r < 0 ? err_move(err, &why) : 0;
	r = file_read(&a, state_dir, "monitor.json", &self, &why);
	*out = MONITOR_FOUND_NOTHING;
	if (r < 0)
		return r == -ERR_NOT_FOUND ? 0 : err_move(err, &why);
	if (!is_of_this_boot(&self))
		return 0;
	*out = MONITOR_FOUND_LOST;
	if (!is_there(&self))
		return 0;
	int sock = monitor_connect(state_dir, &why);
	if (sock >= 0 || sock == -ERR_TOO_MANY) {
		*out_sock = sock >= 0 ? sock : -1;
		*out = MONITOR_FOUND_ALIVE;
	} else if (sock != -ERR_UNAVAILABLE) {
		return err_move(err, &why);
	}
	return 0;
}

int monitor_find(int state_dir, enum monitor_found *out, int *out_sock, struct monitor_exit *out_exit, struct err *err)
{
	const int64_t until = clock_mono_ms(clock_real()) + FIND_MS;
	do {
		/* Asked first: when nobody has it, the files that are read behind it are the last word. */
		bool lives = is_locked(state_dir);
		int r = look(state_dir, out, out_sock, out_exit, err);
		if (r < 0 || !lives || *out == MONITOR_FOUND_ALIVE)
			return r;
		if (*out == MONITOR_FOUND_EXIT && (is_exit_of_living(state_dir, out_exit) || is_ended(state_dir)))
			return 0;
		struct pollfd pause = { .fd = -1 };
		(void)poll(&pause, 0, 2); /* it is between its clone and its socket, or just about to end */
	} while (clock_mono_ms(clock_real()) < until);
	return err_set(err, ERR_TIMEOUT, "its monitor neither answers nor ends");
}
