/* See message.h. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "sys/message.h"

/* Room for as many as the kernel passes at once: whatever comes can then be closed. */
union control {
	struct cmsghdr head;
	char room[CMSG_SPACE(sizeof(int) * SYS_MESSAGE_FDS)];
};

ssize_t sys_message_send(int sock, const struct iovec *iov, unsigned n_iov, const int *fds, unsigned n_fds, int flags)
{
	union control control; /* what the kernel reads of it is set below */
	struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n_iov };
	assert(n_fds <= SYS_MESSAGE_FDS);
	if (n_fds) {
		memset(&control, 0, CMSG_SPACE(sizeof(int) * n_fds));
		control.head.cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&control.head), fds, sizeof(int) * n_fds);
		msg.msg_control = control.room;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
	}
	ssize_t n;
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL | flags);
	while (n < 0 && errno == EINTR);
	return n;
}

ssize_t sys_message_recv(int sock, void *data, size_t cap, int *fds, unsigned cap_fds, unsigned *out_n_fds, int flags)
{
	struct iovec iov = { data, cap };
	union control control;
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)
	};
	ssize_t n;
	*out_n_fds = 0;
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | flags);
	/* A peer that ended with a message of ours unread resets the line, and that is told once, before what it has sent:
	 * the next call has its last word. */
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return -1;
	bool too_many = (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
	unsigned got = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < k; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (got < cap_fds) {
				fds[got++] = fd;
			} else {
				too_many = true;
				close(fd);
			}
		}
	}
	if (too_many) {
		for (unsigned i = 0; i < got; i++)
			close(fds[i]);
		errno = EMSGSIZE;
		return -1;
	}
	*out_n_fds = got;
	return n;
}
