/* `knarr-run spawn --fd N`: the process that alone clones. See monitor.h.
 *
 * One thread, no heap, blocking reads: a request is read, checked, answered; nothing is kept between two of them but the children's
 * zombies, which the kernel reaps for us (SIGCHLD ignored). What a request brought is closed here when its monitor
 * has it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/msg.h"
#include "monitor/record.h"
#include "monitor/run.h"
#include "runtime/runtime.h"
#include "sys/sys.h"

static char packet[MONITOR_SPAWN_MAX];

static void answer_err(int engine, uint16_t tag, const struct err *err)
{
	struct span text = span_sub(span_of(err_msg(err)), 0, MONITOR_TEXT_MAX - 1);
	struct monitor_head h = { .version = MONITOR_VERSION,
				  .op = MONITOR_ERROR,
				  .tag = tag,
				  .a = (int)err->class,
				  .b = err->errnum,
				  .len = (uint32_t)text.len };
	(void)monitor_msg_send(engine, &h, text, NULL, 0, 0); /* gone: the next read says so */
}

/* In the monitor: descriptors 0 to 2 of whoever started the spawner are not ours to keep. */
static void become_monitor(const struct monitor_spawn *s, int engine, int control, int lock) __attribute__((noreturn));
static void become_monitor(const struct monitor_spawn *s, int engine, int control, int lock)
{
	close(engine);
	auto_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 3; i++)
		if (dup2(null, i) < 0)
			_exit(1); /* the engine reads the end of the control socket */
	fd_close(&null);
	signal(SIGCHLD, SIG_DFL);
	monitor_run(s, control, lock);
}

static bool is_gone(int engine)
{
	struct pollfd p = { .fd = engine };
	return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

static int serve(int engine, const struct monitor_spawn *s, uint16_t tag, struct err *err)
{
	struct stat st;
	int pair[2], pidfd = -1;
	if (fstat(s->state_dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID, "state_dir: no folder");
	if (fstat(s->bundle, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID, "bundle: no folder");
	if (s->log_dir >= 0 && (fstat(s->log_dir, &st) < 0 || !S_ISDIR(st.st_mode)))
		return err_set(err, ERR_INVALID, "log_dir: no folder");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socket pair");
	auto_fd int theirs = pair[0], ours = pair[1];
	(void)fcntl(ours, F_SETFL, O_NONBLOCK); /* cannot fail on a socket */
	/* The folder's lock tells the next engine that a monitor is there, or about to be, whatever stands in the folder: so it is
	 * taken here, before the clone. And an engine that is gone wants nothing any more: what it still asked for would come into
	 * being behind the back of the next, which has looked. In this order one of the two sees the other. */
	auto_fd int lock = monitor_run_lock(s->state_dir); /* -1: the monitor finds out why, and tells */
	FAILPOINT("monitor.spawn.locked");
	if (is_gone(engine))
		return 0;
	int errnum = 0;
	struct sys_clone_args args = { .flags = CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd, .exit_signal = SIGCHLD };
	pid_t pid = FAILPOINT_ERR("monitor.spawn.clone", &errnum) ? -1 : sys_clone3(&args);
	if (pid == 0) {
		close(theirs);
		become_monitor(s, engine, ours, lock);
	}
	if (pid < 0)
		return errnum ? err_sys_num(err, errnum, "clone a monitor") : err_sys(err, "clone a monitor");
	FAILPOINT("monitor.spawn.cloned");
	struct monitor_head h = { .version = MONITOR_VERSION, .op = MONITOR_SPAWNED, .tag = tag, .a = pid };
	int fds[2] = { pidfd, theirs };
	/* An engine that is gone meanwhile finds the monitor by its state folder. */
	(void)monitor_msg_send(engine, &h, SPAN_EMPTY, fds, 2, 0);
	close(pidfd);
	return 0;
}

static bool serve_one(int engine)
{
	auto_err struct err err = ERR_INIT;
	struct monitor_spawn s;
	struct monitor_head h = {};
	int fds[MONITOR_SPAWN_FDS];
	unsigned n_fds;
	ssize_t n = sys_message_recv(engine, packet, sizeof(packet), fds, ARRAY_LEN(fds), &n_fds, 0);
	if (n == 0 || (n < 0 && errno != EMSGSIZE))
		return false;
	if (n < 0)
		err_set(&err, ERR_TOO_LARGE, "a request of more than %zu bytes or %zu descriptors", sizeof(packet),
			ARRAY_LEN(fds));
	else if (monitor_msg_head(packet, (size_t)n, &h, &err) == 0 &&
		 monitor_msg_spawn(packet, (size_t)n, fds, n_fds, &s, &err) == 0)
		(void)serve(engine, &s, h.tag, &err); /* told below */
	for (unsigned i = 0; i < n_fds; i++)
		close(fds[i]);
	if (err.class)
		answer_err(engine, h.tag, &err);
	return true;
}

int monitor_spawn_main(int argc, char **argv)
{
	int64_t fd = -1;
	auto_err struct err err = ERR_INIT;
	if (argc == 2 && !strcmp(argv[1], "--help")) {
		puts("usage: knarr-run spawn --fd N\n\nmakes a monitor for each request that comes over the socket N");
		return 0;
	}
	int type;
	socklen_t len = sizeof(type);
	if (argc != 3 || strcmp(argv[1], "--fd") != 0 || !span_to_i64(span_of(argv[2]), &fd) || fd < 0 || fd > 1 << 20 ||
	    getsockopt((int)fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_SEQPACKET) {
		fputs("knarr-run spawn: --fd must name one end of a SOCK_SEQPACKET pair\n", stderr);
		return 125;
	}
	/* Paid once here; every monitor and container is a clone of the protected program. */
	char fd_text[16];
	snprintf(fd_text, sizeof(fd_text), "%d", (int)fd);
	char *again[] = { (char[]){ "knarr-run" }, (char[]){ "spawn" }, (char[]){ "--fd" }, fd_text, NULL };
	(void)fcntl((int)fd, F_SETFD, 0); /* it must pass through this exec */
	if (runtime_self_protect(again, &err) < 0) {
		fprintf(stderr, "knarr-run spawn: %s\n", err_msg(&err));
		return 1;
	}
	(void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	monitor_record_boot_learn();
	while (serve_one((int)fd))
		;
	return 0;
}
