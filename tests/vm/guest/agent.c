/* Runs one command for tests/vm/run and carries its bytes over a virtio serial port.
 *
 * A frame is a type byte, a length (4 bytes, big-endian, at most FRAME_MAX) and the payload.
 *   host to guest   'A' one argument   'E' one NAME=VALUE   'D' working folder   'T' rows and columns (2 bytes each,
 *                   big-endian): use a terminal   'G' go   'I' standard input, empty = its end   'W' as 'T', new size
 *                   'P' power the machine off
 *   guest to host   'H' hello, the machine is up   'O' output, both streams in the order they were written
 *                   'X' the exit status (1 byte; 128 + signal as a shell has it)   '!' the agent's own failure, text
 *
 * One thread, one poll loop. Input waits in the port while the command does not read it (at most one frame is held
 * here), output waits in the command's pipe while the host does not read: neither side buffers without bound.
 * Whatever the command left in its pipe when it ended is still sent; processes that it left behind keep the pipe but
 * do not hold up the answer. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRAME_MAX 65536
#define ARGS_MAX 1024
#define PORT_NAME "knarr.vm"

enum in_state {
	IN_TYPE_LENGTH, /* reading the 5 bytes before a payload */
	IN_PAYLOAD,	/* reading the payload */
	IN_HELD,	/* a whole input frame, being written to the command */
};

struct agent {
	int port, signals;
	char cgroup[512]; /* folder of our service's control group */
	int to, from; /* the command's input and output, -1 when closed; one descriptor each, also for a terminal */
	pid_t child;  /* 0 before it starts, -1 after its status is sent */
	int tty;
	struct winsize size;
	char *dir, *args[ARGS_MAX + 1], *env[ARGS_MAX + 1];
	size_t nargs, nenv;
	enum in_state in_state;
	unsigned char head[5], in[FRAME_MAX + 1]; /* one more for a string's end */
	size_t in_done, in_len;
};

/* The port is nonblocking for reading; writing waits for the host. */
static void port_write(int port, const void *data, size_t len)
{
	const char *p = data;
	while (len) {
		ssize_t n = write(port, p, len);
		if (n < 0 && errno == EAGAIN) {
			(void)poll(&(struct pollfd){.fd = port, .events = POLLOUT}, 1, -1);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			exit(1); /* nobody is left to tell */
		p += n;
		len -= (size_t)n;
	}
}

static void frame_send(int port, char type, const void *data, uint32_t len)
{
	unsigned char head[5] = {(unsigned char)type, len >> 24, len >> 16, len >> 8, len};
	port_write(port, head, sizeof(head));
	port_write(port, data, len);
}

__attribute__((format(printf, 2, 3))) static void die(int port, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "vm-agent: %s\n", text);
	if (port >= 0)
		frame_send(port, '!', text, (uint32_t)strlen(text));
	exit(1);
}

/* udev's links (/dev/virtio-ports) may not be there yet; sysfs is. */
static int port_open(void)
{
	for (int i = 0; i < 32; i++) {
		char path[80], name[64] = "";
		snprintf(path, sizeof(path), "/sys/class/virtio-ports/vport%dp1/name", i);
		FILE *f = fopen(path, "re");
		if (!f)
			continue;
		int found = fgets(name, sizeof(name), f) && !strcmp(strtok(name, "\n"), PORT_NAME);
		fclose(f);
		if (!found)
			continue;
		snprintf(path, sizeof(path), "/dev/vport%dp1", i);
		int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			die(-1, "%s: %s", path, strerror(errno));
		return fd;
	}
	die(-1, "no virtio port is named " PORT_NAME);
	return -1;
}

static int cgroup_enter(const char *dir)
{
	char path[600];
	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, "0", 1);
	close(fd);
	return n == 1 ? 0 : -1;
}

/* The agent lives in a group below its service's, so that the command, which starts in the service's own, can make
 * groups and enable controllers there once it has moved itself: cgroup v2 allows no processes beside enabled ones. */
static void cgroup_prepare(struct agent *a)
{
	char line[400] = "", below[600];
	FILE *f = fopen("/proc/self/cgroup", "re");
	if (!f || !fgets(line, sizeof(line), f))
		die(a->port, "/proc/self/cgroup cannot be read");
	fclose(f);
	if (strncmp(line, "0::/", 4) != 0) /* booted with v1: a group may hold processes and groups there */
		return;
	snprintf(a->cgroup, sizeof(a->cgroup), "/sys/fs/cgroup%s", strtok(line + 3, "\n"));
	snprintf(below, sizeof(below), "%s/vm-agent", a->cgroup);
	if ((mkdir(below, 0755) < 0 && errno != EEXIST) || cgroup_enter(below) < 0)
		die(a->port, "%s: %s", below, strerror(errno));
}

static void command_exec(struct agent *a)
{
	if (*a->cgroup && cgroup_enter(a->cgroup) < 0) {
		fprintf(stderr, "vm: %s: %s\n", a->cgroup, strerror(errno));
		_exit(126);
	}
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (a->dir && chdir(a->dir) < 0) {
		fprintf(stderr, "vm: %s: %s\n", a->dir, strerror(errno));
		_exit(126);
	}
	for (size_t i = 0; i < a->nenv; i++)
		putenv(a->env[i]);
	execvp(a->args[0], a->args);
	fprintf(stderr, "vm: %s: %s\n", a->args[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static void command_start(struct agent *a)
{
	if (!a->nargs || a->child)
		die(a->port, "the request names no command, or a second one");
	if (a->tty) {
		int master;
		a->child = forkpty(&master, NULL, NULL, &a->size);
		if (a->child == 0)
			command_exec(a);
		if (a->child < 0)
			die(a->port, "forkpty: %s", strerror(errno));
		a->from = master;
		a->to = fcntl(master, F_DUPFD_CLOEXEC, 0);
		fcntl(master, F_SETFD, FD_CLOEXEC);
	} else {
		int in[2], out[2];
		if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
			die(a->port, "pipe: %s", strerror(errno));
		a->child = fork();
		if (a->child == 0) {
			setsid();
			dup2(in[0], 0);
			dup2(out[1], 1);
			dup2(out[1], 2);
			command_exec(a);
		}
		if (a->child < 0)
			die(a->port, "fork: %s", strerror(errno));
		close(in[0]);
		close(out[1]);
		a->to = in[1];
		a->from = out[0];
	}
	fcntl(a->to, F_SETFL, O_NONBLOCK);
	fcntl(a->from, F_SETFL, O_NONBLOCK);
}

static void input_close(struct agent *a)
{
	if (a->to >= 0 && a->tty)
		(void)!write(a->to, "\4", 1); /* a terminal's end of input is a character */
	if (a->to >= 0)
		close(a->to);
	a->to = -1;
}

static void size_take(struct agent *a)
{
	if (a->in_len != 4)
		die(a->port, "a terminal size of %zu bytes", a->in_len);
	a->size.ws_row = (unsigned short)(a->in[0] << 8 | a->in[1]);
	a->size.ws_col = (unsigned short)(a->in[2] << 8 | a->in[3]);
	if (a->tty && a->from >= 0)
		ioctl(a->from, TIOCSWINSZ, &a->size);
}

static void frame_take(struct agent *a)
{
	a->in[a->in_len] = 0;
	char *text = (char *)a->in;
	switch (a->head[0]) {
	case 'A':
	case 'E':
		if (a->nargs == ARGS_MAX || a->nenv == ARGS_MAX)
			die(a->port, "more than %d arguments or variables", ARGS_MAX);
		if (a->head[0] == 'A')
			a->args[a->nargs++] = strdup(text);
		else
			a->env[a->nenv++] = strdup(text);
		break;
	case 'D':
		a->dir = strdup(text);
		break;
	case 'T':
		a->tty = 1;
		size_take(a);
		break;
	case 'W':
		size_take(a);
		break;
	case 'G':
		command_start(a);
		break;
	case 'I':
		if (!a->in_len)
			input_close(a);
		else if (a->to >= 0) {
			a->in_state = IN_HELD;
			a->in_done = 0;
			return;
		}
		break;
	case 'P':
		execl("/bin/systemctl", "systemctl", "--no-block", "poweroff", NULL);
		die(a->port, "systemctl: %s", strerror(errno));
		break;
	default:
		die(a->port, "a frame of unknown type %d", a->head[0]);
	}
	a->in_state = IN_TYPE_LENGTH;
	a->in_done = 0;
}

static void port_readable(struct agent *a)
{
	for (;;) {
		int in_head = a->in_state == IN_TYPE_LENGTH;
		unsigned char *to = in_head ? a->head : a->in;
		size_t want = in_head ? sizeof(a->head) : a->in_len;
		if (a->in_done < want) {
			ssize_t n = read(a->port, to + a->in_done, want - a->in_done);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0 && errno == EAGAIN)
				return;
			if (n <= 0)
				die(-1, "the host is gone"); /* 0: its end of the port is closed */
			a->in_done += (size_t)n;
			continue;
		}
		if (!in_head) {
			frame_take(a);
			if (a->in_state == IN_HELD)
				return;
			continue;
		}
		a->in_len = (size_t)a->head[1] << 24 | (size_t)a->head[2] << 16 | (size_t)a->head[3] << 8 | a->head[4];
		if (a->in_len > FRAME_MAX)
			die(a->port, "a frame of %zu bytes", a->in_len);
		a->in_state = IN_PAYLOAD;
		a->in_done = 0;
	}
}

static void input_writable(struct agent *a)
{
	ssize_t n = write(a->to, a->in + a->in_done, a->in_len - a->in_done);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) { /* the command closed its input: what follows is dropped, as a shell's pipe would */
		close(a->to);
		a->to = -1;
		n = (ssize_t)(a->in_len - a->in_done);
	}
	a->in_done += (size_t)n;
	if (a->in_done == a->in_len) {
		a->in_state = IN_TYPE_LENGTH;
		a->in_done = 0;
		port_readable(a);
	}
}

/* Sends one buffer of output; returns 0 when there is nothing more at the moment. */
static int output_move(struct agent *a)
{
	static char buf[FRAME_MAX];
	ssize_t n = read(a->from, buf, sizeof(buf));
	if (n > 0) {
		frame_send(a->port, 'O', buf, (uint32_t)n);
		return 1;
	}
	if (n < 0 && errno == EINTR)
		return 1;
	if (n == 0 || errno != EAGAIN) { /* a terminal whose last user is gone answers EIO */
		close(a->from);
		a->from = -1;
	}
	return 0;
}

static void child_ended(struct agent *a)
{
	struct signalfd_siginfo si;
	(void)!read(a->signals, &si, sizeof(si));
	int status;
	if (a->child <= 0 || waitpid(a->child, &status, WNOHANG) != a->child)
		return;
	while (a->from >= 0 && output_move(a))
		;
	unsigned char code = WIFEXITED(status) ? (unsigned char)WEXITSTATUS(status)
					       : (unsigned char)(128 + WTERMSIG(status));
	frame_send(a->port, 'X', &code, 1);
	a->child = -1;
	if (a->to >= 0)
		close(a->to);
	a->to = -1;
	if (a->in_state == IN_HELD) {
		a->in_state = IN_TYPE_LENGTH;
		a->in_done = 0;
	}
}

int main(void)
{
	static struct agent a = {.to = -1, .from = -1};
	a.port = port_open();
	sigset_t chld;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	signal(SIGPIPE, SIG_IGN);
	a.signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	if (a.signals < 0)
		die(a.port, "signalfd: %s", strerror(errno));
	cgroup_prepare(&a);
	frame_send(a.port, 'H', "", 0);

	for (;;) {
		int held = a.in_state == IN_HELD;
		struct pollfd fds[] = {
			{.fd = held ? -1 : a.port, .events = POLLIN},
			{.fd = a.signals, .events = POLLIN},
			{.fd = a.from, .events = POLLIN},
			{.fd = held ? a.to : -1, .events = POLLOUT},
		};
		if (poll(fds, 4, -1) < 0 && errno != EINTR)
			die(a.port, "poll: %s", strerror(errno));
		if (fds[2].revents)
			(void)output_move(&a);
		if (fds[1].revents)
			child_ended(&a);
		if (fds[3].revents)
			input_writable(&a);
		if (fds[0].revents)
			port_readable(&a);
	}
}
