/* See build.h. These processes are clones of the monitor that live for a moment: they may allocate, and end with _exit.
 * The container's first process is made with CLONE_PARENT, so the monitor reaps it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor/build.h"
#include "monitor/record.h"
#include "runtime/runtime.h"
#include "sys/sys.h"

static int report_to = -1; /* runtime_opts.warn has no argument */

static void report(enum build_kind kind, int a, int b, uint64_t ticks, const char *text, int fd)
{
	struct build_msg m = { .kind = kind, .a = a, .b = b, .ticks = ticks };
	size_t n = MIN(strlen(text), sizeof(m.text) - 1);
	memcpy(m.text, text, n);
	struct iovec iov = { &m, offsetof(struct build_msg, text) + n + 1 };
	(void)sys_message_send(report_to, &iov, 1, &fd, fd >= 0, 0); /* a monitor that is gone needs no report */
}

static void warn(const char *text)
{
	report(BUILD_WARNING, 0, 0, 0, text, -1);
}

static void fail(const struct err *err) __attribute__((noreturn));
static void fail(const struct err *err)
{
	report(BUILD_ERROR, (int)err->class, err->errnum, 0, err_msg(err), -1);
	_exit(1);
}

/* What the monitor blocked or ignored must not reach hooks and programs. */
static void signals_reset(void)
{
	sigset_t none;
	sys_signals_default();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int stdio_set(const int stdio[3], struct err *err)
{
	for (int i = 0; i < 3; i++) {
		auto_fd int null = -1;
		int from = stdio[i];
		if (from < 0)
			from = null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (from < 0 || dup2(from, i) < 0)
			return err_sys(err, "set descriptor %d of the container", i);
	}
	return 0;
}

static void opts_fill(const struct monitor_spawn *s, struct runtime_opts *out)
{
	*out = (struct runtime_opts){ .root = s->root,
				      .id = s->id,
				      .config = s->config,
				      .cache_dir = s->cache,
				      .systemd_cgroup = s->flags & MONITOR_SYSTEMD_CGROUP,
				      .no_pivot = s->flags & MONITOR_NO_PIVOT,
				      .no_new_keyring = s->flags & MONITOR_NO_KEYRING,
				      .start = !(s->flags & MONITOR_HOLD),
				      .clone_parent = true,
				      .warn = warn };
}

/* Where the kernel counts what it killed for lack of memory in this container: memory.events on v2, memory.oom_control on
 * v1, where an eventfd is told (memcg-v1: "Memory Threshold", OOM control). Where memory is not controlled there is nothing to
 * report. */
static void memory_watch(struct arena *a, const struct monitor_spawn *s)
{
	auto_sys_cgroup struct sys_cgroup cg = {};
	const struct sys_cgroup_dir *d = runtime_cgroup_open(a, s->root, s->id, &cg, NULL) < 0
						 ? NULL /* it ended and was deleted at once */
						 : sys_cgroup_find(&cg, SYS_CG_MEMORY);
	auto_fd int counter = !d ? -1 : openat(d->fd, d->v2 ? "memory.events" : "memory.oom_control", O_RDONLY | O_CLOEXEC);
	if (counter < 0)
		return;
	report(BUILD_MEMORY, 0, 0, 0, "", counter);
	if (d->v2)
		return;
	auto_fd int event = sys_cgroup_oom_event(d, counter);
	if (event >= 0)
		report(BUILD_MEMORY_EVENT, 0, 0, 0, "", event);
}

static int exec_run(struct arena *a, const struct monitor_spawn *s, const struct runtime_opts *o,
		    struct runtime_container *out, struct err *err)
{
	auto_buf struct buf text = {};
	int r = io_read_file(s->bundle, s->config ? s->config : "process.json", &text, 8 << 20, err);
	return r < 0 ? err_note(err, "process file") : runtime_exec(o, arena_span(a, buf_span(&text)), out, err);
}

void monitor_build_run(const struct monitor_spawn *s, const int stdio[3], uint16_t rows, uint16_t cols, int channel)
{
	auto_err struct err err = ERR_INIT;
	auto_arena struct arena a = {};
	struct runtime_opts o;
	struct runtime_plan *plan;
	struct runtime_container c;
	char link[40], bundle[PATH_MAX];
	report_to = channel;
	signals_reset();
	opts_fill(s, &o);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", s->bundle);
	ssize_t n = readlink(link, bundle, sizeof(bundle) - 1);
	if (n < 0) {
		err_sys(&err, "bundle");
		fail(&err);
	}
	bundle[n] = 0;
	o.bundle = bundle;
	o.rows = rows;
	o.cols = cols;
	bool exec = s->flags & MONITOR_EXEC;
	if (stdio_set(stdio, &err) < 0)
		fail(&err);
	char go;
	if ((s->flags & MONITOR_LATER) && recv(channel, &go, sizeof(go), 0) != sizeof(go))
		_exit(1); /* nobody wants it any more */
	if (exec ? exec_run(&a, s, &o, &c, &err) < 0
		 : runtime_plan_load(&a, &o, &plan, &err) < 0 || runtime_create(plan, &c, &err) < 0)
		fail(&err);
	report(BUILD_MADE, c.pid, c.terminal >= 0, monitor_record_ticks(c.pid), "", c.terminal);
	FAILPOINT("monitor.build.made"); /* sleeps in a test: START comes while we are still here */
	if (!exec)
		memory_watch(&a, s);
	_exit(0);
}

void monitor_build_start(const struct monitor_spawn *s, int channel)
{
	auto_err struct err err = ERR_INIT;
	struct runtime_opts o;
	report_to = channel;
	signals_reset();
	opts_fill(s, &o);
	if (runtime_start(s->root, s->id, &o, &err) < 0)
		fail(&err);
	report(BUILD_STARTED, 0, 0, 0, "", -1);
	_exit(0);
}
