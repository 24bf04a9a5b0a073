/* A datagram socket at RUN/notify.sock where parts say that they serve (sd_notify(3)). Who says it is known from the kernel
 * (SCM_CREDENTIALS), not from what is said. */
#include "cluster/server.h"

#include <sys/socket.h>
#include <sys/un.h>

#define NOTICES_A_TURN 64

static void on_notice(struct loop_fd *f, unsigned events)
{
	struct notices *n = container_of(f, struct notices, fd);
	for (int i = 0; i < NOTICES_A_TURN; i++) {
		char text[256];
		union {
			char room[CMSG_SPACE(sizeof(struct ucred))];
			struct cmsghdr align;
		} control;
		struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room) };
		ssize_t len = recvmsg(n->sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return;
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		struct span rest = span_make(text, (size_t)len), line;
		struct ucred who = {};
		if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len == CMSG_LEN(sizeof(who)))
			memcpy(&who, CMSG_DATA(c), sizeof(who));
		while (who.pid && span_cut(&rest, '\n', &line))
			if (span_is(line, "READY=1"))
				server_notice(n->server, who.pid);
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
