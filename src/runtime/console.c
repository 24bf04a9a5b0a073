/* Terminals: to the caller's socket, or relayed to the caller's own terminal. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "runtime/plan.h"

int runtime_console_socket_connect(const char *path, int *out_fd, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	auto_fd int dir = -1;
	auto_fd int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return err_sys(err, "socket");
	if (strlen(path) < sizeof(addr.sun_path)) {
		memcpy(addr.sun_path, path, strlen(path) + 1);
	} else { /* longer than an address can be: through its descriptor */
		dir = open(path, O_PATH | O_CLOEXEC);
		if (dir < 0)
			return err_sys(err, "console socket %s", path);
		snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d", dir);
	}
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(err, "console socket %s: connect", path);
	*out_fd = take_fd(&sock);
	return 0;
}

int runtime_console_fd_send(int sock, int master, struct err *err)
{
	/* The data is the terminal's name in the container, as runc's. */
	char name[] = "/dev/ptmx";
	struct iovec iov = { name, sizeof(name) - 1 };
	return sys_message_send(sock, &iov, 1, &master, 1, 0) < 0 ? err_sys(err, "send the terminal to the console socket") : 0;
}

static void size_copy(int master)
{
	struct winsize size;
	if (ioctl(0, TIOCGWINSZ, &size) == 0)
		(void)ioctl(master, TIOCSWINSZ, &size);
}

static bool copy_some(int from, int to)
{
	char block[8192];
	ssize_t n = read(from, block, sizeof(block));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) /* EIO: the last holder of the other end is gone */
		return false;
	return io_write_all(to, block, (size_t)n, NULL) == 0;
}

int runtime_console_relay(int master, int pidfd, pid_t pid)
{
	struct termios saved;
	bool raw = tcgetattr(0, &saved) == 0;
	if (raw) {
		struct termios t = saved;
		cfmakeraw(&t);
		tcsetattr(0, TCSANOW, &t);
	}
	sigset_t set;
	sys_signals_all(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	auto_fd int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	size_copy(master);
	struct pollfd p[4] = { { .fd = 0, .events = POLLIN },
			       { .fd = master, .events = POLLIN },
			       { .fd = signals, .events = POLLIN },
			       { .fd = pidfd, .events = POLLIN } };
	int status = 0;
	bool ended = false;
	while (!ended || p[1].fd >= 0) {
		/* After the end only what is still in the terminal's buffer is wanted. */
		int n = poll(p, 4, ended ? 50 : -1);
		if (n < 0 && errno != EINTR)
			break;
		if (ended && n == 0)
			break;
		if (p[0].revents && !copy_some(0, master))
			p[0].fd = -1;
		if (p[1].revents && !copy_some(master, 1))
			p[1].fd = -1;
		if (p[2].revents) {
			struct signalfd_siginfo info;
			if (read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
				if (info.ssi_signo == SIGWINCH)
					size_copy(master);
				else if (info.ssi_signo != SIGCHLD)
					(void)sys_pidfd_send_signal(pidfd, (int)info.ssi_signo);
			}
		}
		if (p[3].revents && !ended && waitpid(pid, &status, WNOHANG) == pid) {
			ended = true;
			p[3].fd = p[0].fd = -1;
		}
	}
	if (raw)
		tcsetattr(0, TCSANOW, &saved);
	return status;
}
