/* One turn takes up to ROUNDS batches of questions: recvmmsg, answers written straight into the batch's rooms, sendmmsg.
 * What others must be asked about leaves its batch as a `pend`, the only allocation of this path, and is answered alone.
 *
 * Invariants
 * 1. A TCP client's answers go out in the order of its questions: it is not read while one of them waits (conn.pend).
 * 2. A conn's memory goes in conn_closed, whatever ended it. */
#include <netinet/in.h>

#include "dns/serve.h"

enum { BATCH = 32, ROUNDS = 8, QUERY_MAX = 4096, RECEIVE_BYTES = 4 << 20 };

struct conn {
	struct list link;
	struct dns_serve *serve;
	struct loop_fd fd;
	struct loop_timer idle;
	int sock; /* owned */
	struct buf in, out;
	struct pend *pend; /* what is being asked for it */
	bool ended;        /* its sending side: what it asked is answered, then all ends */
};

struct pend {
	struct list link;
	struct dns_serve *serve;
	struct dns_wait wait;
	struct conn *conn; /* NULL: over UDP */
	struct sockaddr_storage from;
	socklen_t from_len;
	struct dnsmsg_question q;
	struct buf packet;
};

struct dns_serve {
	struct dns_serve_params p;
	int socks[2]; /* owned; udp, tcp */
	struct loop_fd fds[2];
	struct list conns, pends; /* conns: who was silent longest first */
	unsigned n_conns, n_open;
	struct dns_serve_counts counts;
	uint64_t turn;
	bool stopping;
	struct mmsghdr in[BATCH], out[BATCH];
	struct iovec in_iov[BATCH], out_iov[BATCH];
	struct sockaddr_storage from[BATCH];
	char questions[BATCH][QUERY_MAX];
	uint8_t answers[BATCH][DNSMSG_UDP_MAX];
	uint8_t long_answer[DNSMSG_MAX]; /* over TCP */
};

/* ---- answers */

static size_t say(struct dnsmsg_out *o, struct span packet, const struct dnsmsg_question *q, unsigned rcode)
{
	dnsmsg_begin(o, packet, q, rcode, 0);
	dnsmsg_end(o, q);
	return o->len;
}

/* The answer with what others said, "" for nothing. */
static size_t finish(struct dns_serve *s, struct span packet, const struct dnsmsg_question *q, struct dnsmsg_out *o,
		     struct span said)
{
	struct dnsmsg_name target;
	/* The zone may have changed while others were asked. */
	switch (dns_zone_answer(s->p.zone, packet, q, s->turn++, o, &target)) {
	case DNS_ANSWERED: break;
	case DNS_CHASE:
		if (said.len)
			(void)dnsmsg_import(o, said);
		dnsmsg_rcode_set(o, said.len ? (uint8_t)said.ptr[3] & 15u : DNSMSG_SERVFAIL);
		break;
	case DNS_ELSEWHERE:
		if (!said.len)
			return say(o, packet, q, DNSMSG_SERVFAIL);
		dnsmsg_adopt(o, packet, q, said);
		return o->len;
	}
	dnsmsg_end(o, q);
	return o->len;
}

static void count(struct dns_serve *s, const uint8_t *answer)
{
	s->counts.rcodes[answer[3] & 15]++;
}

static void pend_done(struct dns_wait *w, struct span answer);

/* Answers into o and returns the length; 0: none is due, or (*out_pend) it comes later. */
static size_t answer(struct dns_serve *s, struct span packet, struct dnsmsg_out *o, bool tcp, struct pend **out_pend)
{
	struct dnsmsg_question q;
	struct dnsmsg_name target;
	struct span said;
	int rcode = dnsmsg_parse(packet, &q);
	size_t max = o->max;
	*out_pend = NULL;
	if (rcode < 0)
		return 0;
	if (!tcp)
		o->max = max = MIN(max, q.udp_max);
	if (rcode)
		return say(o, packet, &q, (unsigned)rcode);
	if (q.class != 1 || q.type == DNSMSG_AXFR || q.type == DNSMSG_IXFR || q.type == DNSMSG_OPT)
		return say(o, packet, &q, DNSMSG_REFUSED);
	enum dns_verdict verdict = dns_zone_answer(s->p.zone, packet, &q, s->turn++, o, &target);
	if (verdict == DNS_ANSWERED) {
		dnsmsg_end(o, &q);
		return o->len;
	}
	o->max = max;
	if (verdict == DNS_ELSEWHERE) {
		if (!(q.flags & DNSMSG_RD))
			return say(o, packet, &q, DNSMSG_REFUSED);
		if (dns_forward_loops(s->p.forward, &q.name))
			return say(o, packet, &q, DNSMSG_NXDOMAIN);
		target = q.name;
	}
	struct pend *p = mem_new(struct pend);
	p->wait.done = pend_done;
	int asked = dns_forward_ask(s->p.forward, &target, q.type, q.dnssec, q.flags & DNSMSG_CD, &p->wait, &said);
	if (asked) {
		free(p);
		return finish(s, packet, &q, o, asked > 0 ? said : SPAN_EMPTY);
	}
	p->serve = s;
	p->q = q;
	buf_add(&p->packet, packet.ptr, packet.len);
	list_push(&s->pends, &p->link);
	*out_pend = p;
	return 0;
}

static void pend_free(struct pend *p)
{
	dns_forward_cancel(&p->wait);
	list_remove(&p->link);
	buf_done(&p->packet);
	free(p);
}

/* ---- UDP */

/* What the socket does not take is lost, as any datagram may be: who asked asks again. */
static void send_batch(struct dns_serve *s, unsigned n)
{
	for (unsigned done = 0; done < n;) {
		int sent = sendmmsg(s->socks[0], s->out + done, n - done, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			return;
		done += sent > 0 ? (unsigned)sent : 1; /* the first cannot go where it should: the others can */
	}
}

static void on_udp(struct loop_fd *f, unsigned events)
{
	struct dns_serve *s = container_of(f, struct dns_serve, fds[0]);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < BATCH; i++)
			s->in[i].msg_hdr.msg_namelen = sizeof(s->from[i]);
		int n = recvmmsg(s->socks[0], s->in, BATCH, MSG_DONTWAIT, NULL);
		unsigned due = 0;
		for (int i = 0; i < n; i++) {
			struct dnsmsg_out o = { .ptr = s->answers[due], .max = DNSMSG_UDP_MAX };
			struct pend *p;
			if (s->in[i].msg_hdr.msg_flags & MSG_TRUNC)
				continue;
			size_t len = answer(s, span_make(s->questions[i], s->in[i].msg_len), &o, false, &p);
			if (p) {
				p->from = s->from[i];
				p->from_len = s->in[i].msg_hdr.msg_namelen;
			}
			s->counts.udp++;
			if (!len)
				continue;
			count(s, s->answers[due]);
			s->out_iov[due] = (struct iovec){ s->answers[due], len };
			s->out[due].msg_hdr = (struct msghdr){ .msg_name = &s->from[i], .msg_namelen = s->in[i].msg_hdr.msg_namelen,
							       .msg_iov = &s->out_iov[due], .msg_iovlen = 1 };
			due++;
		}
		send_batch(s, due);
		if (n < BATCH)
			return;
	}
}

/* ---- TCP */

static void conn_closed(struct loop_fd *f)
{
	struct conn *c = container_of(f, struct conn, fd);
	c->serve->n_open--;
	buf_done(&c->in);
	buf_done(&c->out);
	free(c);
}

static void conn_end(struct conn *c)
{
	if (!loop_fd_is_open(&c->fd))
		return;
	if (c->pend)
		pend_free(c->pend);
	c->pend = NULL;
	loop_timer_stop(&c->idle);
	list_remove(&c->link);
	c->serve->n_conns--;
	loop_fd_close(&c->fd, conn_closed);
	fd_close(&c->sock);
}

static void conn_out(struct conn *c, const uint8_t *answer, size_t len)
{
	const uint8_t head[2] = { (uint8_t)(len >> 8), (uint8_t)len };
	count(c->serve, answer);
	buf_add(&c->out, head, 2);
	buf_add(&c->out, answer, len);
}

/* Answers what is there until enough is out. False: that was the client's end. */
static bool conn_answer(struct conn *c)
{
	struct dns_serve *s = c->serve;
	while (!c->pend && c->out.len < DNS_OUT_MAX && c->in.len >= 2) {
		size_t want = (size_t)((uint8_t)c->in.ptr[0] << 8 | (uint8_t)c->in.ptr[1]);
		struct dnsmsg_out o = { .ptr = s->long_answer, .max = DNSMSG_MAX };
		if (want < DNSMSG_HEAD || want > QUERY_MAX) {
			conn_end(c);
			return false;
		}
		if (c->in.len < want + 2)
			break;
		size_t len = answer(s, span_make(c->in.ptr + 2, want), &o, true, &c->pend);
		if (c->pend)
			c->pend->conn = c;
		s->counts.tcp++;
		if (len)
			conn_out(c, s->long_answer, len);
		buf_shift(&c->in, want + 2);
	}
	return true;
}

/* Answers what is there, sends what can be sent. What stays unanswered because much is out has its turn once that is gone: no
 * event will tell of it, as it is read already. */
static void conn_work(struct conn *c)
{
	bool more;
	do {
		if (!conn_answer(c))
			return;
		more = c->out.len >= DNS_OUT_MAX;
		while (c->out.len) {
			ssize_t n = send(c->sock, c->out.ptr, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n < 0 && errno == EAGAIN)
				break;
			if (n < 0) {
				conn_end(c);
				return;
			}
			buf_shift(&c->out, (size_t)n);
		}
	} while (more && !c->out.len);
	if (c->ended && !c->pend && !c->out.len) {
		conn_end(c);
		return;
	}
	loop_fd_want(&c->fd, (c->out.len ? LOOP_WRITE : 0) | (!c->pend && c->out.len < DNS_OUT_MAX && !c->ended ? LOOP_READ : 0));
}

static void on_idle(struct loop_timer *t)
{
	conn_end(container_of(t, struct conn, idle));
}

static void on_conn(struct loop_fd *f, unsigned events)
{
	struct conn *c = container_of(f, struct conn, fd);
	/* One whole question more than is being looked at, at most. */
	if ((events & LOOP_READ) && !c->ended && c->in.len < QUERY_MAX + 2) {
		char *room = buf_reserve(&c->in, QUERY_MAX + 2);
		ssize_t n = recv(c->sock, room, QUERY_MAX + 2, MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			conn_end(c);
			return;
		}
		c->ended = n == 0;
		if (n > 0) {
			buf_commit(&c->in, (size_t)n);
			loop_timer_start(&c->idle, DNS_IDLE_MS);
			list_remove(&c->link); /* who was silent longest is the first */
			list_push(&c->serve->conns, &c->link);
		}
	}
	conn_work(c);
}

static void on_accept(struct loop_fd *f, unsigned events)
{
	struct dns_serve *s = container_of(f, struct dns_serve, fds[1]);
	auto_err struct err err = ERR_INIT;
	for (unsigned i = 0; i < BATCH; i++) {
		auto_fd int sock = accept4(s->socks[1], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (sock < 0)
			return;
		/* The one that was silent longest makes room. */
		if (s->n_conns >= DNS_CONNS_MAX)
			conn_end(LIST_FIRST(&s->conns, struct conn, link));
		struct conn *c = mem_new(struct conn);
		c->serve = s;
		c->sock = take_fd(&sock);
		loop_timer_init(&c->idle, s->p.loop, "dns client's silence", on_idle);
		if (loop_fd_open(&c->fd, s->p.loop, "dns client", c->sock, on_conn, &err) < 0) {
			fd_close(&c->sock);
			free(c);
			return;
		}
		list_push(&s->conns, &c->link);
		s->n_conns++;
		s->n_open++;
		loop_fd_want(&c->fd, LOOP_READ);
		loop_timer_start(&c->idle, DNS_IDLE_MS);
	}
}

static void pend_done(struct dns_wait *w, struct span said)
{
	struct pend *p = container_of(w, struct pend, wait);
	struct dns_serve *s = p->serve;
	struct conn *c = p->conn;
	struct dnsmsg_out o = { .ptr = s->long_answer, .max = c ? (size_t)DNSMSG_MAX : p->q.udp_max };
	size_t len = finish(s, buf_span(&p->packet), &p->q, &o, said);
	if (c) {
		conn_out(c, s->long_answer, len);
		c->pend = NULL;
	} else {
		count(s, s->long_answer);
		(void)sendto(s->socks[0], s->long_answer, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&p->from,
			     p->from_len); /* may be lost, as any */
	}
	pend_free(p);
	if (c)
		conn_work(c);
}

/* ---- begin and end */

int dns_socket(const struct sys_addr *address, uint16_t port, int type, struct err *err)
{
	static const int on = 1, bytes = RECEIVE_BYTES;
	char text[SYS_ADDR_TEXT];
	struct sockaddr_storage at;
	socklen_t len = sys_addr_sock(address, port, &at);
	bool six = address->family == AF_INET6;
	auto_fd int sock = socket(at.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return err_sys(err, "a socket for DNS");
	if (type == SOCK_STREAM)
		(void)setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* bind says so if it matters */
	else
		(void)setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)); /* for bursts; as much as may be */
	/* The address comes with the node's range of pods, perhaps after us. */
	if (setsockopt(sock, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_FREEBIND : IP_FREEBIND, &on, sizeof(on)) < 0)
		return err_sys(err, "binding to an address before it is there");
	if (bind(sock, (struct sockaddr *)&at, len) < 0 || (type == SOCK_STREAM && listen(sock, 128) < 0))
		return err_sys(err, "listening on %s port %u", sys_addr_text(address, text), port);
	return take_fd(&sock);
}

int dns_serve_new(const struct dns_serve_params *p, struct dns_serve **out, struct err *err)
{
	struct dns_serve *s = mem_new(struct dns_serve);
	s->p = *p;
	s->socks[0] = s->socks[1] = -1;
	list_init(&s->conns);
	list_init(&s->pends);
	rng_secret(&s->turn, sizeof(s->turn));
	for (unsigned i = 0; i < BATCH; i++) {
		s->in_iov[i] = (struct iovec){ s->questions[i], QUERY_MAX };
		s->in[i].msg_hdr = (struct msghdr){ .msg_name = &s->from[i], .msg_iov = &s->in_iov[i], .msg_iovlen = 1 };
	}
	*out = s;
	for (unsigned i = 0; i < 2; i++) {
		int rc = s->socks[i] = dns_socket(&p->address, p->port, i ? SOCK_STREAM : SOCK_DGRAM, err);
		if (rc >= 0)
			rc = loop_fd_open(&s->fds[i], p->loop, i ? "dns tcp" : "dns udp", s->socks[i], i ? on_accept : on_udp, err);
		if (rc < 0)
			return rc;
		loop_fd_want(&s->fds[i], LOOP_READ);
	}
	return 0;
}

const struct dns_serve_counts *dns_serve_counts(const struct dns_serve *s)
{
	return &s->counts;
}

void dns_serve_stop(struct dns_serve *s)
{
	if (!s || s->stopping)
		return;
	s->stopping = true;
	LIST_EACH(&s->conns, c, struct conn, link)
		conn_end(c);
	LIST_EACH(&s->pends, p, struct pend, link)
		pend_free(p);
	for (unsigned i = 0; i < 2; i++) {
		if (loop_fd_is_open(&s->fds[i]))
			loop_fd_close(&s->fds[i], NULL);
		fd_close(&s->socks[i]);
	}
}

void dns_serve_free(struct dns_serve *s)
{
	if (!s)
		return;
	assert(!s->n_open);
	free(s);
}
