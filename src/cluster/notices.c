/* A datagram socket at RUN/notify.sock where parts say that they serve (sd_notify(3)). Who says it is known from the kernel
 * (SCM_CREDENTIALS), not from what is said.
 *
 * `knarr up` asks there whether anybody is at home: a socket comes with the question (SCM_RIGHTS), and a byte goes back on it. A
 * process that was killed is in every list of the kernel's until it is gone, but answers nothing any more (decision 0796). */
#include "cluster/server.h"

#include <sys/socket.h>
#include <sys/un.h>

#define NOTICES_A_TURN 64

/* What came beside the text. Descriptors are ours from here on: out_fd is the first, others are closed. */
static void beside(struct msghdr *m, struct ucred *out_who, int *out_fd)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len == CMSG_LEN(sizeof(*out_who)))
			memcpy(out_who, CMSG_DATA(c), sizeof(*out_who));
		for (size_t at = 0; c->cmsg_type == SCM_RIGHTS && CMSG_LEN(at + sizeof(int)) <= c->cmsg_len; at += sizeof(int)) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
			if (*out_fd < 0)
				*out_fd = fd;
			else
				close(fd);
		}
	}
}

static void on_notice(struct loop_fd *f, unsigned events)
{
	struct notices *n = container_of(f, struct notices, fd);
	for (int i = 0; i < NOTICES_A_TURN; i++) {
		char text[256];
		union {
			char room[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} control;
		struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room) };
		ssize_t len = recvmsg(n->sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return;
		struct span rest = span_make(text, (size_t)len), line;
		struct ucred who = {};
		auto_fd int back = -1;
		beside(&m, &who, &back);
		while (who.pid && span_cut(&rest, '\n', &line)) {
			if (span_is(line, "READY=1"))
				server_notice(n->server, who.pid);
			else if (span_is(line, NOTICE_ASK) && back >= 0)
				(void)send(back, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL); /* who does not wait any more does not mind */
		}
	}
}

int notices_open(struct notices *n, struct server *s, struct err *err)
{
	auto_buf struct buf path = {};
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int one = 1;
	*n = (struct notices){ .server = s };
	buf_printf(&path, "%s/notify.sock", s->l.run.ptr);
	memcpy(at.sun_path, path.ptr, path.len + 1); /* RUN is short enough for sockets: layout.c */
	(void)unlink(buf_cstr(&path));
	auto_fd int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0 || bind(sock, (struct sockaddr *)&at,
		sizeof(at)) < 0)
		return err_sys(err, "%s", buf_cstr(&path));
	int rc = loop_fd_open(&n->fd, s->loop, "notices", sock, on_notice, err);
	if (rc < 0)
		return rc;
	n->sock = take_fd(&sock);
	loop_fd_want(&n->fd, LOOP_READ);
	/* For every part; what systemd told us to use was ours. */
	return setenv("NOTIFY_SOCKET", buf_cstr(&path), 1) < 0 ? err_sys(err, "environment") : 0;
}

void notices_close(struct notices *n)
{
	auto_buf struct buf path = {};
	loop_fd_close(&n->fd, NULL);
	fd_close(&n->sock);
	buf_printf(&path, "%s/notify.sock", n->server->l.run.ptr);
	(void)unlink(buf_cstr(&path));
}
