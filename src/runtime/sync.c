/* Messages between the parent and the process that it builds. See plan.h.
 *
 * SOCK_SEQPACKET keeps borders, tells the end (the peer is gone), and is no folder, so that a working directory of
 * /proc/self/fd/N cannot lead anywhere (CVE-2024-21626). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/plan.h"

int runtime_sync_send(int sock, enum sync_kind kind, int a, int b, const char *text, int fd)
{
	struct sync_msg m = { .kind = kind, .a = a, .b = b };
	size_t n = text ? strlen(text) : 0;
	if (n >= sizeof(m.text))
		n = sizeof(m.text) - 1;
	if (n)
		memcpy(m.text, text, n);
	struct iovec iov = { &m, offsetof(struct sync_msg, text) + n + 1 };
	return sys_message_send(sock, &iov, 1, &fd, fd >= 0, 0) < 0 ? -1 : 0;
}

int runtime_sync_recv(int sock, struct sync_msg *out, int *out_fd)
{
	int fd = -1;
	unsigned n_fds;
	ssize_t n = sys_message_recv(sock, out, sizeof(*out), &fd, 1, &n_fds, 0);
	if (n < 0)
		return -1;
	if (n == 0)
		return 0;
	if (out_fd)
		*out_fd = fd;
	else
		fd_close(&fd);
	if ((size_t)n <= offsetof(struct sync_msg, text)) {
		errno = EPROTO;
		return -1;
	}
	((char *)out)[n - 1] = 0;
	return 1;
}

int runtime_sync_send_err(int sock, const struct err *err)
{
	return runtime_sync_send(sock, SYNC_ERROR, (int)err->class, err->errnum, err_msg(err), -1);
}

int runtime_sync_err(const struct sync_msg *m, struct err *err)
{
	int class = m->a > 0 && m->a < ERR_COUNT ? m->a : ERR_INTERNAL;
	err_set(err, (enum err_class) class, "%s", m->text);
	if (err)
		err->errnum = m->b;
	return -class;
}
