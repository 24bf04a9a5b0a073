/* Hooks: programs that the bundle names, with the container's state on their standard input. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/plan.h"

/* What a hook printed, for the error; memory files hold both directions, so no pipe can fill up. */
static void output_tail(int fd, struct buf *out)
{
	char text[400];
	off_t size = lseek(fd, 0, SEEK_END);
	if (size <= 0)
		return;
	off_t from = size > (off_t)sizeof(text) ? size - (off_t)sizeof(text) : 0;
	ssize_t n = pread(fd, text, sizeof(text), from);
	struct span s = n > 0 ? span_trim(span_make(text, (size_t)n)) : SPAN_EMPTY;
	if (s.len)
		buf_printf(out, ", output: %.*s", SPAN_ARG(s));
}

static int hook_wait(pid_t pid, int pidfd, int timeout_s, int *out_status)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	if (timeout_s > 0) {
		struct clock *clock = clock_real();
		int64_t end_ms = clock_mono_ms(clock) + (int64_t)timeout_s * 1000;
		for (;;) {
			int64_t left_ms = end_ms - clock_mono_ms(clock);
			/* Without pidfds (before Linux 5.3) we look every 20 ms. */
			if (pidfd < 0 && waitpid(pid, out_status, WNOHANG) == pid)
				return 0;
			int n = left_ms > 0 ? poll(&p, 1, (int)MIN(left_ms, pidfd < 0 ? (int64_t)20 : (int64_t)INT32_MAX)) : 0;
			if (n > 0)
				break;
			if (n < 0 || left_ms > 0)
				continue; /* a signal, or not yet */
			kill(-pid, SIGKILL); /* its own session: what it started goes too */
			kill(pid, SIGKILL);
			waitpid(pid, out_status, 0);
			return -1;
		}
	}
	while (waitpid(pid, out_status, 0) < 0 && errno == EINTR)
		;
	return 0;
}

static int hook_run(const struct config_hook *h, struct span state, struct err *err)
{
	auto_fd int in = memfd_create("state", MFD_CLOEXEC), out = memfd_create("output", MFD_CLOEXEC);
	if (in < 0 || out < 0)
		return err_sys(err, "memory file");
	int r = io_write_all(in, state.ptr, state.len, err);
	if (r < 0)
		return r;
	lseek(in, 0, SEEK_SET);
	auto_fd int failed_r = -1, failed_w = -1;
	int both[2];
	if (pipe2(both, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	failed_r = both[0];
	failed_w = both[1];
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(err, "fork");
	if (pid == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		setsid();
		dup2(in, 0);
		dup2(out, 1);
		dup2(out, 2);
		(void)syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC); /* ours are so anyway; what a caller left open, too */
		execve(h->path, h->args, h->env);
		int errnum = errno;
		(void)!write(failed_w, &errnum, sizeof(errnum));
		_exit(127);
	}
	fd_close(&failed_w);
	int errnum = 0, status = 0;
	if (read(failed_r, &errnum, sizeof(errnum)) == (ssize_t)sizeof(errnum)) {
		waitpid(pid, &status, 0);
		return err_sys_num(err, errnum, "execute");
	}
	auto_fd int pidfd = sys_pidfd_open(pid, 0);
	if (hook_wait(pid, pidfd, h->timeout_s, &status) < 0)
		return err_set(err, ERR_TIMEOUT, "hook ran past specified timeout of %d s", h->timeout_s);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	auto_buf struct buf tail = {};
	output_tail(out, &tail);
	if (WIFSIGNALED(status))
		return err_set(err, ERR_UPSTREAM, "killed by signal %d%s", WTERMSIG(status), buf_cstr(&tail));
	return err_set(err, ERR_UPSTREAM, "exit status %d%s", WEXITSTATUS(status), buf_cstr(&tail));
}

static int hook_at(const struct config *c, enum config_hook_point point, size_t i, struct span state, struct err *err)
{
	int errnum = 0, r;
	if (FAILPOINT_ERR("runtime.hook", &errnum))
		r = err_sys_num(err, errnum, "failpoint");
	else
		r = hook_run(&c->hooks[point][i], state, err);
	return r < 0 ? err_note(err, "error running %s hook #%zu (%s)", runtime_config_hook_names[point], i, c->hooks[point][i].path)
		     : 0;
}

int runtime_hook_run_all(const struct config *c, enum config_hook_point point, struct span state, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < c->n_hooks[point]; i++)
		r = hook_at(c, point, i, state, err);
	return r;
}

void runtime_hook_run_rest(const struct config *c, enum config_hook_point point, struct span state,
			   const struct runtime_opts *opts)
{
	for (size_t i = 0; i < c->n_hooks[point]; i++) {
		auto_err struct err why = ERR_INIT;
		if (hook_at(c, point, i, state, &why) < 0 && opts->warn)
			opts->warn(err_msg(&why));
	}
}
