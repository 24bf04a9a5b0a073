/* What nft cannot send on: connections to 127.0.0.1 and ::1, and IPv6 for a container that has IPv4 alone. They are taken from
 * the published socket and carried on the loop.
 *
 * TCP: splice(2) through a pipe each way, so bytes never enter this process. A side's end is passed on as a half close; when
 * both sides have ended the connection is over.
 *
 *     side 0 (client)  ── pipe 0 ──►  side 1 (container)
 *                      ◄── pipe 1 ──
 *
 * UDP: a connected socket per client, forgotten after 90 s of silence (as docker-proxy). Answers leave from the address that
 * was asked (IP_PKTINFO).
 *
 * Invariants
 * 1. A side is read only while its pipe is empty, so a pipe that will not take more is always the reader's side at fault.
 * 2. A relay's memory goes with its last source (`open` counts them); it names no engine, which may be gone by then. */
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "network/private.h"

#define CONNECTIONS_MAX 8192 /* of one published port; more wait in the kernel's queue */
#define CLIENTS_MAX 1024     /* UDP clients of one published port; the one silent longest goes */
#define UDP_IDLE_MS 90000
#define ACCEPTS 16	     /* a turn */
#define ROUNDS 16	     /* splices of one connection a turn */
#define CHUNK 65536
#define NO_FDS_WAIT_MS 100

struct network_relay {
	struct loop *loop;
	struct sys_addr to;
	uint16_t port;
	bool udp, closing;
	struct loop_fd listen;
	struct loop_timer again, sweep;
	struct list conns; /* relay_conn.link; UDP: the silent longest first */
	unsigned n, open;
};

struct side {
	struct loop_fd fd;
	unsigned which; /* its index in relay_conn.side */
	int sock, pipe[2]; /* owned; the pipe holds what came from this side */
	size_t held;
	bool ended; /* nothing more comes */
	bool shut;  /* nothing more may be sent to it */
};

struct relay_conn {
	struct list link;
	struct network_relay *relay;
	struct side side[2];
	bool connected, over;
	unsigned open;
	/* UDP */
	struct sockaddr_storage client;
	socklen_t client_len;
	struct {
		size_t len;
		_Alignas(struct cmsghdr) char data[64];
	} from; /* control message that says which of our addresses was asked */
	int64_t last_ms;
};

static void relay_put(struct network_relay *r)
{
	if (--r->open == 0) {
		assert(r->closing && r->n == 0);
		free(r);
	}
}

static struct relay_conn *conn_of(struct side *s)
{
	return container_of(s - s->which, struct relay_conn, side[0]);
}

static void conn_closed(struct loop_fd *f)
{
	struct relay_conn *c = conn_of(container_of(f, struct side, fd));
	if (--c->open)
		return;
	struct network_relay *r = c->relay;
	r->n--;
	free(c);
	if (!r->closing && !r->udp)
		loop_fd_want(&r->listen, LOOP_READ);
	relay_put(r);
}

static void conn_end(struct relay_conn *c)
{
	if (c->over)
		return;
	c->over = true;
	list_remove(&c->link);
	unsigned open = c->open;
	if (open == 0) { /* nothing was opened yet */
		struct network_relay *r = c->relay;
		for (int i = 0; i < 2; i++)
			fd_close(&c->side[i].sock);
		r->n--;
		free(c);
		relay_put(r);
		return;
	}
	for (int i = 0; i < 2; i++) {
		struct side *s = &c->side[i];
		if (loop_fd_is_open(&s->fd))
			loop_fd_close(&s->fd, conn_closed);
		fd_close(&s->sock);
		fd_close(&s->pipe[0]);
		fd_close(&s->pipe[1]);
	}
}

/* ---- TCP */

/* Moves what there is one way; false when the connection is broken. */
static bool move(struct side *from, struct side *to)
{
	for (int i = 0; i < ROUNDS; i++) {
		if (from->held == 0 && !from->ended) {
			ssize_t n = splice(from->sock, NULL, from->pipe[1], NULL, CHUNK, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
			if (n < 0 && (errno == EAGAIN || errno == EINTR))
				return true;
			if (n < 0)
				return false;
			from->held = (size_t)n;
			from->ended = n == 0;
		}
		if (from->held) {
			ssize_t n = splice(from->pipe[0], NULL, to->sock, NULL, from->held, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
			if (n < 0 && (errno == EAGAIN || errno == EINTR))
				return true;
			if (n <= 0)
				return false;
			from->held -= (size_t)n;
		}
		if (from->ended && from->held == 0) {
			if (!to->shut)
				(void)shutdown(to->sock, SHUT_WR); /* a peer that is gone already is met at the next read */
			to->shut = true;
			return true;
		}
	}
	return true;
}

static void conn_wants(struct relay_conn *c)
{
	for (int i = 0; i < 2; i++) {
		const struct side *s = &c->side[i], *other = &c->side[!i];
		unsigned want = (!s->ended && s->held == 0 ? LOOP_READ : 0) | (other->held ? LOOP_WRITE : 0);
		loop_fd_want(&c->side[i].fd, want);
	}
}

static void on_conn(struct loop_fd *f, unsigned events)
{
	struct side *s = container_of(f, struct side, fd);
	struct relay_conn *c = conn_of(s);
	if (!c->connected) {
		int error = 0;
		socklen_t len = sizeof(error);
		if (f != &c->side[1].fd)
			return;
		if (getsockopt(s->sock, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
			conn_end(c);
			return;
		}
		c->connected = true;
	}
	if (!move(&c->side[0], &c->side[1]) || !move(&c->side[1], &c->side[0]) || (c->side[0].shut && c->side[1].shut)) {
		conn_end(c);
		return;
	}
	conn_wants(c);
}

static struct relay_conn *conn_new(struct network_relay *r, int sock)
{
	struct relay_conn *c = mem_new(struct relay_conn);
	c->relay = r;
	c->side[0].sock = sock;
	c->side[1].sock = -1;
	c->side[1].which = 1;
	for (int i = 0; i < 2; i++)
		c->side[i].pipe[0] = c->side[i].pipe[1] = -1;
	list_push(&r->conns, &c->link);
	r->n++;
	r->open++;
	return c;
}

/* A connection to the container, begun; -1 and errno. */
static int dial(struct network_relay *r)
{
	struct sockaddr_storage to;
	if (!r->to.family) /* the container has no gateway network now */
		return -1;
	socklen_t len = sys_addr_sock(&r->to, r->port, &to);
	auto_fd int s = socket(r->to.family, (r->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0 || (connect(s, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS))
		return -1;
	return take_fd(&s);
}

static void tcp_begin(struct network_relay *r, int sock)
{
	struct relay_conn *c = conn_new(r, sock);
	c->side[1].sock = dial(r);
	bool ok = c->side[1].sock >= 0 && pipe2(c->side[0].pipe, O_CLOEXEC | O_NONBLOCK) == 0 &&
		  pipe2(c->side[1].pipe, O_CLOEXEC | O_NONBLOCK) == 0;
	static const char *const names[] = { "client of a published port", "published port to its container" };
	for (int i = 0; i < 2 && ok; i++) {
		ok = loop_fd_open(&c->side[i].fd, r->loop, names[i], c->side[i].sock, on_conn, NULL) == 0;
		c->open += ok;
		if (ok)
			loop_fd_background(&c->side[i].fd, true);
	}
	if (!ok) { /* the client hears it as a reset or an end */
		for (int i = 0; i < 2; i++) {
			fd_close(&c->side[i].pipe[0]);
			fd_close(&c->side[i].pipe[1]);
		}
		conn_end(c);
		return;
	}
	loop_fd_want(&c->side[1].fd, LOOP_WRITE);
}

static void tcp_accept(struct network_relay *r)
{
	for (int i = 0; i < ACCEPTS; i++) {
		if (r->n >= CONNECTIONS_MAX) {
			loop_fd_want(&r->listen, 0); /* until one ends */
			return;
		}
		int s = accept4(r->listen.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (s >= 0) {
			tcp_begin(r, s);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* No descriptor is left: the connection waits in the kernel until one is. */
			loop_fd_want(&r->listen, 0);
			loop_timer_start(&r->again, NO_FDS_WAIT_MS);
		}
		return;
	}
}

static void on_again(struct loop_timer *t)
{
	struct network_relay *r = container_of(t, struct network_relay, again);
	loop_fd_want(&r->listen, LOOP_READ);
}

/* ---- UDP */

static void on_sweep(struct loop_timer *t)
{
	struct network_relay *r = container_of(t, struct network_relay, sweep);
	int64_t now = loop_now_ms(r->loop);
	LIST_EACH(&r->conns, c, struct relay_conn, link) {
		int64_t left = c->last_ms + UDP_IDLE_MS - now;
		if (left > 0) {
			loop_timer_start(t, left);
			return;
		}
		conn_end(c);
	}
}

static void udp_back(struct loop_fd *f, unsigned events)
{
	struct side *s = container_of(f, struct side, fd);
	struct relay_conn *c = conn_of(s);
	char data[65536];
	for (int i = 0; i < ROUNDS; i++) {
		ssize_t n = recv(s->sock, data, sizeof(data), MSG_DONTWAIT);
		if (n < 0)
			return; /* nothing more, or nobody listens in there: the client's matter, as without us */
		struct iovec iov = { data, (size_t)n };
		struct msghdr m = { .msg_name = &c->client, .msg_namelen = c->client_len, .msg_iov = &iov, .msg_iovlen = 1 };
		if (c->from.len) {
			m.msg_control = c->from.data;
			m.msg_controllen = c->from.len;
		}
		(void)sendmsg(c->relay->listen.fd, &m, MSG_DONTWAIT); /* a datagram may be lost */
		c->last_ms = loop_now_ms(c->relay->loop);
		list_remove(&c->link);
		list_push(&c->relay->conns, &c->link);
	}
}

static struct relay_conn *udp_client(struct network_relay *r, const struct sockaddr_storage *from, socklen_t len)
{
	LIST_EACH(&r->conns, c, struct relay_conn, link)
		if (c->client_len == len && memcmp(&c->client, from, len) == 0)
			return c;
	if (r->n >= CLIENTS_MAX)
		conn_end(LIST_FIRST(&r->conns, struct relay_conn, link));
	struct relay_conn *c = conn_new(r, -1);
	memcpy(&c->client, from, len);
	c->client_len = len;
	c->connected = true;
	c->side[1].sock = dial(r);
	if (c->side[1].sock < 0 || loop_fd_open(&c->side[1].fd, r->loop, "published port to its container", c->side[1].sock,
		udp_back, NULL) < 0) {
		conn_end(c);
		return NULL;
	}
	c->open = 1;
	loop_fd_background(&c->side[1].fd, true);
	loop_fd_want(&c->side[1].fd, LOOP_READ);
	return c;
}

/* Keeps of a packet's information what an answer needs: the address, not the interface. */
static void remember_from(struct relay_conn *c, struct msghdr *m)
{
	c->from.len = 0;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		struct cmsghdr *out = (struct cmsghdr *)(void *)c->from.data;
		if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo i;
			memcpy(&i, CMSG_DATA(h), sizeof(i));
			i.ipi_spec_dst = i.ipi_addr;
			i.ipi_ifindex = 0;
			*out = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(i)), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO };
			memcpy(CMSG_DATA(out), &i, sizeof(i));
			c->from.len = CMSG_SPACE(sizeof(i));
		} else if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo i;
			memcpy(&i, CMSG_DATA(h), sizeof(i));
			if (!IN6_IS_ADDR_LINKLOCAL(&i.ipi6_addr))
				i.ipi6_ifindex = 0;
			*out = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(i)), .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO };
			memcpy(CMSG_DATA(out), &i, sizeof(i));
			c->from.len = CMSG_SPACE(sizeof(i));
		}
	}
}

static void udp_read(struct network_relay *r)
{
	char data[65536];
	for (int i = 0; i < ROUNDS; i++) {
		struct sockaddr_storage from;
		_Alignas(struct cmsghdr) char control[128];
		memset(&from, 0, sizeof(from));
		struct iovec iov = { data, sizeof(data) };
		struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = control,
				    .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(r->listen.fd, &m, MSG_DONTWAIT);
		if (n < 0)
			return;
		struct relay_conn *c = udp_client(r, &from, m.msg_namelen);
		if (!c)
			continue;
		remember_from(c, &m);
		(void)send(c->side[1].sock, data, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL); /* a datagram may be lost */
		c->last_ms = loop_now_ms(r->loop);
		list_remove(&c->link);
		list_push(&r->conns, &c->link);
		if (!loop_timer_running(&r->sweep))
			loop_timer_start(&r->sweep, UDP_IDLE_MS);
	}
}

/* ---- */

static void on_listen(struct loop_fd *f, unsigned events)
{
	struct network_relay *r = container_of(f, struct network_relay, listen);
	if (r->udp)
		udp_read(r);
	else
		tcp_accept(r);
}

int network_relay_open(struct network_engine *e, struct network_port *p, const struct sys_addr *to, struct err *err)
{
	struct network_relay *r = mem_new(struct network_relay);
	int on = 1;
	r->loop = e->opts.loop;
	r->to = *to;
	r->port = p->inside;
	r->udp = p->protocol == IPPROTO_UDP;
	list_init(&r->conns);
	loop_timer_init(&r->again, r->loop, "published port waits for descriptors", on_again);
	loop_timer_init(&r->sweep, r->loop, "silent clients of a published port", on_sweep);
	r->again.background = r->sweep.background = true;
	if (r->udp) /* without it answers leave from the first address of the interface: less exact, not wrong on most hosts */
		(void)setsockopt(p->sock, p->host.family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
				 p->host.family == AF_INET ? IP_PKTINFO : IPV6_RECVPKTINFO, &on, sizeof(on));
	int rc = loop_fd_open(&r->listen, r->loop, "published port", p->sock, on_listen, err);
	if (rc < 0) {
		free(r);
		return rc;
	}
	r->open = 1;
	loop_fd_background(&r->listen, true);
	loop_fd_want(&r->listen, LOOP_READ);
	p->relay = r;
	return 0;
}

void network_relay_retarget(struct network_relay *r, const struct sys_addr *to)
{
	r->to = *to; /* connections that exist lose their way with the address that went */
}

static void listen_closed(struct loop_fd *f)
{
	relay_put(container_of(f, struct network_relay, listen));
}

void network_relay_close(struct network_relay *r)
{
	if (!r)
		return;
	r->closing = true;
	loop_timer_stop(&r->again);
	loop_timer_stop(&r->sweep);
	LIST_EACH(&r->conns, c, struct relay_conn, link)
		conn_end(c);
	loop_fd_close(&r->listen, listen_closed);
}
