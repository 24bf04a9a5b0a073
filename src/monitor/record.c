/* See record.h. A text of 1 KB that is escaped sixfold is the longest part of a record. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "monitor/log.h"
#include "monitor/record.h"
#include "sys/sys.h"

struct record {
	char *text;
	size_t len;
};

static void add(struct record *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct record *r, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(r->text + r->len, MONITOR_RECORD_MAX - r->len, fmt, ap);
	va_end(ap);
	r->len += n > 0 ? MIN((size_t)n, MONITOR_RECORD_MAX - 1 - r->len) : 0;
}

/* Leaves `room` bytes for what follows. */
static void add_quoted(struct record *r, const char *s, size_t room)
{
	const char *end = s + strlen(s);
	add(r, "\"");
	while (s < end && r->len + 8 + room < MONITOR_RECORD_MAX)
		r->len += monitor_log_escape(&s, end, r->text + r->len);
	add(r, "\"");
}

static void add_time(struct record *r, const char *key, int64_t ns)
{
	char stamp[40] = "";
	if (ns)
		time_format(stamp, ns / NS_PER_S, (int32_t)(ns % NS_PER_S), 9);
	add(r, ",\"%s\":\"%s\"", key, stamp);
}

static int record_write(int dir, const char *name, const char *data, size_t len, bool durable)
{
	char temporary[64];
	int errnum = 0;
	snprintf(temporary, sizeof(temporary), ".%s.new", name);
	if (FAILPOINT_ERR("monitor.record", &errnum)) {
		errno = errnum;
		return -1;
	}
	auto_fd int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, data, len);
	/* A rename upon an older file makes ext4 write the new one out (auto_da_alloc), as if somebody had asked for that; an
	 * exchange of the two does not. Without an older file it is a rename. */
	if (!durable && n == (ssize_t)len && sys_exchange(dir, temporary, name) == 0)
		return unlinkat(dir, temporary, 0);
	if (n != (ssize_t)len || (durable && fsync(fd) < 0) || renameat(dir, temporary, dir, name) < 0) {
		int saved = n >= 0 && n != (ssize_t)len ? ENOSPC : errno;
		(void)unlinkat(dir, temporary, 0); /* the first error is the one to report */
		errno = saved;
		return -1;
	}
	return durable ? fsync(dir) : 0;
}

void monitor_record_boot(char out[MONITOR_BOOT_MAX])
{
	auto_fd int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, MONITOR_BOOT_MAX - 1);
	out[n < 0 ? 0 : n] = 0;
	out[strcspn(out, "\n")] = 0;
}

static char boot[MONITOR_BOOT_MAX];

void monitor_record_boot_learn(void)
{
	monitor_record_boot(boot);
}

uint64_t monitor_record_ticks(pid_t pid)
{
	struct sys_process p;
	return sys_process_read(pid, &p, NULL) == 0 ? p.start_ticks : 0;
}

int monitor_record_self(char *scratch, int dir, const char *id, pid_t container, uint64_t container_ticks,
			int64_t started_ns)
{
	struct record r = { .text = scratch };
	add(&r, "{\"version\":%d,\"id\":", MONITOR_VERSION);
	add_quoted(&r, id, 2048);
	add(&r, ",\"pid\":%d,\"startTicks\":%" PRIu64 ",\"containerPid\":%d,\"containerStartTicks\":%" PRIu64, getpid(),
	    monitor_record_ticks(getpid()), container, container_ticks);
	if (boot[0])
		add(&r, ",\"boot\":\"%s\"", boot);
	add_time(&r, "startedAt", started_ns);
	add(&r, "}\n");
	return record_write(dir, "monitor.json", r.text, r.len, false);
}

int monitor_record_exit(char *scratch, int dir, const char *id, const struct monitor_exit *e, bool oom_known, bool durable)
{
	struct record r = { .text = scratch };
	add(&r, "{\"version\":%d,\"id\":", MONITOR_VERSION);
	add_quoted(&r, id, 2048);
	add(&r, ",\"pid\":%d,\"exitCode\":%d,\"signal\":%d", e->pid, e->exit_code, e->signal);
	if (oom_known)
		add(&r, ",\"oomKilled\":%s,\"oomKills\":%" PRIu64, e->oom_kills ? "true" : "false", e->oom_kills);
	add_time(&r, "startedAt", e->started_ns);
	add_time(&r, "finishedAt", e->finished_ns);
	if (e->class) {
		add(&r, ",\"errorClass\":\"%s\",\"error\":", err_class_name(e->class));
		add_quoted(&r, e->error, 8);
	}
	add(&r, "}\n");
	return record_write(dir, "exit.json", r.text, r.len, durable);
}
