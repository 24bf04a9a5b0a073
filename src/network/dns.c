/* The name server of a container: 127.0.0.11, answered on the engine's loop.
 *
 * The sockets live in the container's namespace, on free ports; an nft table there sends 127.0.0.11:53 to them. (Bound to port
 * 53 itself they would keep the container from serving DNS on 0.0.0.0:53.) What is no name of a network that the container is
 * on is asked of the container's servers: from its own namespace, so that it reaches what the container could reach, or from
 * the host's for a server that is the host's own loopback. A container without gateway asks nobody.
 *
 * Memory goes with the last source (`open`); `box` is NULL once the container is gone. */
#include <fcntl.h>
#include <netinet/in.h>
#include <strings.h>

#include "dnsmsg/dnsmsg.h"
#include "network/private.h"

#define SERVERS_MAX 8
#define ASKING_MAX 1024		/* questions of one container that wait for servers */
#define ASK_TIMEOUT_MS 2500	/* a server's time; resolv.conf(5) has 5 s for all of us */
#define CONNS_MAX 64		/* TCP clients of one container */
#define CONN_IDLE_MS 10000
#define QUERIES 32		/* a turn */
#define QUERY_MAX 4096
#define TTL_S 600		/* as Docker's */
#define RECORDS_MAX 512		/* addresses of one name */

struct network_dns {
	struct network_sandbox *box; /* NULL = closing */
	struct loop *loop;
	int ns;			     /* owned */
	int socks[2];		     /* owned; udp, tcp */
	struct loop_fd fds[2];
	struct list asks, conns;
	unsigned n_asks, n_conns, open;
	struct rng rng;
};

struct conn { /* a TCP client */
	struct list link;
	struct network_dns *dns;
	struct loop_fd fd;
	struct loop_timer idle;
	int sock; /* owned */
	struct buf in, out;
	struct ask *ask; /* what is being asked for it; it is not read meanwhile */
	bool over;
};

struct ask { /* a question that others answer */
	struct list link;
	struct network_dns *dns;
	struct loop_fd fd;
	struct loop_timer timer;
	struct loop_task fail;
	int sock; /* owned; -1 between servers */
	struct buf query, in;
	size_t sent;
	struct dnsmsg_question q;
	uint16_t id; /* ours */
	struct network_resolver servers[SERVERS_MAX];
	unsigned n_servers, next;
	struct sockaddr_storage client;
	socklen_t client_len;
	struct conn *conn; /* NULL: over UDP */
	bool over, opened;
};

static void dns_put(struct network_dns *d)
{
	if (--d->open)
		return;
	assert(!d->box);
	free(d);
}

/* ---- answers */

static void conn_end(struct conn *c);
static void conn_answer(struct conn *c, struct span packet);
static void conn_work(struct conn *c);

static void answer(struct network_dns *d, struct conn *c, const struct sockaddr_storage *to, socklen_t len, struct span packet)
{
	if (c)
		conn_answer(c, packet);
	else
		(void)sendto(d->socks[0], packet.ptr, packet.len, MSG_DONTWAIT, (const struct sockaddr *)to, len); /* may be lost,
			as any */
}

struct found {
	struct sys_addr list[RECORDS_MAX];
	unsigned n;
	bool known; /* the name is one, perhaps without address of this family */
};

static bool same(struct span a, const char *name)
{
	return span_eq_nocase(a, span_of(name));
}

static bool called(const struct network_endpoint *ep, const char *name)
{
	if (same(span_of(ep->box->name), name) || same(span_make(ep->box->id, 12), name) ||
	    same(json_span(json_getl(&ep->box->config, "Hostname")), name))
		return true;
	JSON_EACH_ITEM(json_getl(&ep->wish, "Aliases"), item)
		if (same(json_span(item), name))
			return true;
	return false;
}

/* Does one of this endpoint's links ("container:alias") give that container this name? */
static bool linked(const struct network_endpoint *own, const struct network_endpoint *ep, const char *name)
{
	JSON_EACH_ITEM(json_getl(&own->wish, "Links"), item) {
		struct span who, alias;
		if (!span_split(json_span(item), ':', &who, &alias))
			alias = who;
		bool them = span_is(who, ep->box->name) || (who.len >= 12 && span_starts(span_of(ep->box->id), who));
		if (them && same(alias, name))
			return true;
	}
	return false;
}

static void look_up(const struct network_sandbox *box, const char *name, int v, struct found *out)
{
	LIST_EACH(&box->endpoints, own, struct network_endpoint, of_sandbox) {
		char bare[256];
		size_t n = strlen(own->net->name), len = strlen(name);
		if (!network_user_defined(own->net))
			continue;
		/* "web.mynet" is web on mynet. */
		snprintf(bare, sizeof(bare), "%s", name);
		if (len > n + 1 && name[len - n - 1] == '.' && strcasecmp(name + len - n, own->net->name) == 0)
			bare[len - n - 1] = 0;
		LIST_EACH(&own->net->endpoints, ep, struct network_endpoint, of_network) {
			if (!called(ep, name) && !called(ep, bare) && !linked(own, ep, name))
				continue;
			out->known = true;
			if (ep->addr[v].addr.family && out->n < RECORDS_MAX)
				out->list[out->n++] = ep->addr[v].addr;
		}
	}
}

static bool look_up_reverse(const struct network_sandbox *box, const struct sys_addr *a, char out[520])
{
	LIST_EACH(&box->endpoints, own, struct network_endpoint, of_sandbox) {
		if (!network_user_defined(own->net))
			continue;
		LIST_EACH(&own->net->endpoints, ep, struct network_endpoint, of_network)
			for (int v = V4; v <= V6; v++)
				if (sys_addr_eq(&ep->addr[v].addr, a)) {
					snprintf(out, 520, "%s.%s", ep->box->name, own->net->name);
					return true;
				}
	}
	return false;
}

/* A message with a response code and nothing else. */
static struct span bare(struct dnsmsg_out *o, struct span packet, const struct dnsmsg_question *q, unsigned rcode)
{
	dnsmsg_begin(o, packet, q, rcode, 0);
	dnsmsg_end(o, q);
	return span_make(o->ptr, o->len);
}

/* The answer from what we know; false: others must be asked. name: the question's as text. */
static bool answer_here(struct network_dns *d, struct span packet, const struct dnsmsg_question *q, const char *name,
			struct dnsmsg_out *o)
{
	struct sys_addr a;
	struct dnsmsg_name target;
	char text[520];
	if (q->class != 1)
		return false;
	if (q->type == DNSMSG_PTR) {
		if (!dnsmsg_name_address(&q->name, &a) || !look_up_reverse(d->box, &a, text))
			return false;
		dnsmsg_begin(o, packet, q, DNSMSG_OK, 0);
		if (dnsmsg_name_parse(span_of(text), &target)) /* else a container's name that no DNS name can be */
			(void)dnsmsg_record(o, DNSMSG_ANSWER, DNSMSG_HEAD, DNSMSG_PTR, TTL_S, target.b, target.len);
		dnsmsg_end(o, q);
		return true;
	}
	struct found f;
	f.n = 0;
	f.known = false;
	look_up(d->box, name, q->type == DNSMSG_AAAA, &f);
	if (!f.known)
		return false;
	dnsmsg_begin(o, packet, q, DNSMSG_OK, 0);
	/* Of another type: the name is ours, others know nothing of it. */
	for (unsigned i = q->type == DNSMSG_A || q->type == DNSMSG_AAAA ? f.n : 0; i > 0; i--) {
		/* Every order equally often: clients take the first. */
		unsigned k = (unsigned)rng_below(&d->rng, i);
		a = f.list[k];
		f.list[k] = f.list[i - 1];
		if (!dnsmsg_record(o, DNSMSG_ANSWER, DNSMSG_HEAD, q->type, TTL_S, a.b, sys_addr_len(&a)))
			break;
	}
	dnsmsg_end(o, q);
	return true;
}

/* ---- asking others */

static void ask_closed(struct loop_fd *f)
{
	struct ask *q = container_of(f, struct ask, fd);
	struct network_dns *d = q->dns;
	if (q->over) {
		buf_done(&q->query);
		buf_done(&q->in);
		free(q);
		dns_put(d);
		return;
	}
	/* The next server's turn. */
	q->opened = false;
	loop_defer(d->loop, &q->fail);
}

static void ask_end(struct ask *q)
{
	if (q->over)
		return;
	q->over = true;
	list_remove(&q->link);
	q->dns->n_asks--;
	loop_timer_stop(&q->timer);
	loop_task_cancel(&q->fail);
	if (q->conn)
		q->conn->ask = NULL;
	if (q->opened) {
		if (loop_fd_is_open(&q->fd))
			loop_fd_close(&q->fd, ask_closed);
		fd_close(&q->sock);
	} else {
		fd_close(&q->sock);
		ask_closed(&q->fd);
	}
}

static void ask_answer(struct ask *q, struct span packet)
{
	struct conn *c = q->conn;
	answer(q->dns, c, &q->client, q->client_len, packet);
	ask_end(q);
	if (c)
		conn_work(c);
}

static void ask_give_up(struct ask *q)
{
	uint8_t bytes[DNSMSG_UDP_MAX];
	struct dnsmsg_out o = { .ptr = bytes, .max = sizeof(bytes) };
	ask_answer(q, bare(&o, buf_span(&q->query), &q->q, DNSMSG_SERVFAIL));
}

/* This server did not help. */
static void ask_next(struct ask *q)
{
	loop_timer_stop(&q->timer);
	if (q->opened && loop_fd_is_open(&q->fd)) {
		loop_fd_close(&q->fd, ask_closed);
		fd_close(&q->sock);
	} else if (!q->opened) {
		fd_close(&q->sock);
		loop_defer(q->dns->loop, &q->fail);
	}
}

static void ask_received(struct ask *q, struct span packet)
{
	int rcode = dnsmsg_rcode(packet, q->id);
	if (rcode < 0)
		return; /* not of this question: whoever sent it, the right one may come yet */
	if ((rcode == DNSMSG_SERVFAIL || rcode == DNSMSG_REFUSED || rcode == DNSMSG_NOTIMP) && q->next < q->n_servers) {
		ask_next(q);
		return;
	}
	auto_buf struct buf out = { 0 };
	buf_span_add(&out, packet);
	out.ptr[0] = (char)(q->q.id >> 8);
	out.ptr[1] = (char)q->q.id;
	ask_answer(q, buf_span(&out));
}

static void ask_tcp(struct ask *q)
{
	while (q->sent < q->query.len + 2) {
		uint8_t head[2] = { (uint8_t)(q->query.len >> 8), (uint8_t)q->query.len };
		const char *from = q->sent < 2 ? (const char *)head + q->sent : q->query.ptr + q->sent - 2;
		size_t len = q->sent < 2 ? 2 - q->sent : q->query.len + 2 - q->sent;
		ssize_t n = send(q->sock, from, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINPROGRESS || errno == ENOTCONN))
			return;
		if (n < 0) {
			ask_next(q);
			return;
		}
		q->sent += (size_t)n;
	}
	loop_fd_want(&q->fd, LOOP_READ);
	while (true) {
		char data[4096];
		ssize_t n = recv(q->sock, data, sizeof(data), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
			return;
		if (n <= 0) {
			ask_next(q);
			return;
		}
		buf_add(&q->in, data, (size_t)n);
		size_t want = q->in.len < 2 ? 0 : (size_t)((uint8_t)q->in.ptr[0] << 8 | (uint8_t)q->in.ptr[1]) + 2;
		if (want && q->in.len >= want) {
			auto_buf struct buf whole = { 0 };
			buf_add(&whole, q->in.ptr + 2, want - 2);
			if (dnsmsg_rcode(buf_span(&whole), q->id) < 0)
				ask_next(q);
			else
				ask_received(q, buf_span(&whole));
			return;
		}
	}
}

static void on_ask(struct loop_fd *f, unsigned events)
{
	struct ask *q = container_of(f, struct ask, fd);
	if (q->conn) {
		ask_tcp(q);
		return;
	}
	char data[DNSMSG_MAX];
	ssize_t n = recv(q->sock, data, sizeof(data), MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		ask_next(q); /* nobody listens there */
	else if (n >= 0)
		ask_received(q, span_make(data, (size_t)n));
}

static void on_ask_timeout(struct loop_timer *t)
{
	ask_next(container_of(t, struct ask, timer));
}

static int server_socket(struct network_dns *d, const struct network_resolver *r, int type)
{
	if (r->host)
		return socket(r->addr.family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (network_ns_enter(d->ns, NULL) < 0)
		return -1;
	int s = socket(r->addr.family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), keep = errno;
	network_ns_leave(d->box->engine);
	errno = keep;
	return s;
}

/* Asks the next server, from a socket of its own: a fresh port makes answers hard to forge (RFC 5452). */
static void on_ask_turn(struct loop_task *t)
{
	struct ask *q = container_of(t, struct ask, fail);
	struct network_dns *d = q->dns;
	while (q->next < q->n_servers) {
		const struct network_resolver *r = &q->servers[q->next++];
		struct sockaddr_storage to;
		socklen_t len = sys_addr_sock(&r->addr, 53, &to);
		buf_trunc(&q->in, 0);
		q->sent = 0;
		q->id = (uint16_t)rng_u64(&d->rng);
		q->query.ptr[0] = (char)(q->id >> 8);
		q->query.ptr[1] = (char)q->id;
		q->sock = server_socket(d, r, q->conn ? SOCK_STREAM : SOCK_DGRAM);
		if (q->sock >= 0 && (connect(q->sock, (struct sockaddr *)&to, len) == 0 || errno == EINPROGRESS) &&
		    (q->conn || send(q->sock, q->query.ptr, q->query.len, MSG_DONTWAIT) >= 0) &&
		    loop_fd_open(&q->fd, d->loop, "name server's question", q->sock, on_ask, NULL) == 0) {
			q->opened = true;
			loop_fd_background(&q->fd, true);
			loop_fd_want(&q->fd, q->conn ? LOOP_READ | LOOP_WRITE : LOOP_READ);
			loop_timer_start(&q->timer, ASK_TIMEOUT_MS);
			return;
		}
		fd_close(&q->sock);
	}
	ask_give_up(q);
}

static bool has_gateway(const struct network_sandbox *box)
{
	return network_gateway_endpoint(box, V4) || network_gateway_endpoint(box, V6);
}

static void ask_begin(struct network_dns *d, struct conn *c, const struct sockaddr_storage *from, socklen_t len,
	struct span packet, const struct dnsmsg_question *q)
{
	uint8_t bytes[DNSMSG_UDP_MAX];
	struct dnsmsg_out o = { .ptr = bytes, .max = sizeof(bytes) };
	struct network_resolver servers[SERVERS_MAX];
	int ndots;
	unsigned n = network_text_resolvers(d->box, servers, SERVERS_MAX, &ndots);
	bool address = q->type == DNSMSG_A || q->type == DNSMSG_AAAA;
	bool one_word = q->name.len <= 1 || q->name.b[0] + 2 == q->name.len;
	/* As Docker: with ndots set, a name of one word is the search list's matter, not the root's. */
	if (address && ndots > 0 && one_word) {
		answer(d, c, from, len, bare(&o, packet, q, DNSMSG_OK));
		return;
	}
	if (!has_gateway(d->box) || n == 0 || d->n_asks >= ASKING_MAX) {
		answer(d, c, from, len, bare(&o, packet, q, DNSMSG_SERVFAIL));
		return;
	}
	struct ask *a = mem_new(struct ask);
	a->dns = d;
	a->sock = -1;
	a->q = *q;
	a->n_servers = n;
	memcpy(a->servers, servers, sizeof(servers));
	a->conn = c;
	if (from) {
		memcpy(&a->client, from, len);
		a->client_len = len;
	} else {
		c->ask = a;
	}
	buf_span_add(&a->query, packet);
	loop_timer_init(&a->timer, d->loop, "name server's question", on_ask_timeout);
	a->timer.background = true;
	loop_task_init(&a->fail, on_ask_turn);
	list_push(&d->asks, &a->link);
	d->n_asks++;
	d->open++;
	/* Later in this turn: a TCP client's next question would otherwise be reached from inside this one. */
	loop_defer(d->loop, &a->fail);
}

static void serve(struct network_dns *d, struct conn *c, const struct sockaddr_storage *from, socklen_t len, struct span packet)
{
	struct dnsmsg_question q;
	char name[DNSMSG_NAME_MAX];
	int rc = dnsmsg_parse(packet, &q);
	uint8_t bytes[DNSMSG_MAX];
	struct dnsmsg_out o = { .ptr = bytes, .max = c ? sizeof(bytes) : q.udp_max };
	if (rc < 0)
		return;
	if (rc > 0)
		answer(d, c, from, len, bare(&o, packet, &q, (unsigned)rc));
	else if (dnsmsg_name_text(&q.name, name) && answer_here(d, packet, &q, name, &o))
		answer(d, c, from, len, span_make(o.ptr, o.len));
	else
		ask_begin(d, c, from, len, packet, &q);
}

/* ---- clients */

static void on_udp(struct loop_fd *f, unsigned events)
{
	struct network_dns *d = container_of(f, struct network_dns, fds[0]);
	char data[QUERY_MAX + 1];
	for (int i = 0; i < QUERIES && d->box; i++) {
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(d->socks[0], data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&from, &len);
		if (n < 0)
			return;
		serve(d, NULL, &from, len, span_make(data, (size_t)n));
	}
}

static void conn_closed(struct loop_fd *f)
{
	struct conn *c = container_of(f, struct conn, fd);
	struct network_dns *d = c->dns;
	buf_done(&c->in);
	buf_done(&c->out);
	free(c);
	dns_put(d);
}

static void conn_end(struct conn *c)
{
	if (c->over)
		return;
	c->over = true;
	list_remove(&c->link);
	c->dns->n_conns--;
	if (c->ask) {
		struct ask *q = c->ask;
		c->ask = NULL;
		ask_end(q);
	}
	loop_timer_stop(&c->idle);
	loop_fd_close(&c->fd, conn_closed);
	fd_close(&c->sock);
}

static void conn_flush(struct conn *c)
{
	while (c->out.len) {
		ssize_t n = send(c->sock, c->out.ptr, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0) {
			if (errno != EAGAIN)
				conn_end(c);
			break;
		}
		buf_shift(&c->out, (size_t)n);
	}
	if (!c->over)
		loop_fd_want(&c->fd, c->out.len ? LOOP_WRITE : c->ask ? 0 : LOOP_READ);
}

static void conn_answer(struct conn *c, struct span packet)
{
	buf_chr(&c->out, (char)(packet.len >> 8));
	buf_chr(&c->out, (char)packet.len);
	buf_span_add(&c->out, packet);
}

/* Whole questions that are there, one after the other. */
static void conn_work(struct conn *c)
{
	while (!c->over && !c->ask && c->in.len >= 2) {
		size_t want = (size_t)((uint8_t)c->in.ptr[0] << 8 | (uint8_t)c->in.ptr[1]);
		if (want > QUERY_MAX) {
			conn_end(c);
			return;
		}
		if (c->in.len < want + 2)
			break;
		auto_buf struct buf packet = { 0 };
		buf_add(&packet, c->in.ptr + 2, want);
		buf_shift(&c->in, want + 2);
		serve(c->dns, c, NULL, 0, buf_span(&packet));
	}
	if (!c->over)
		conn_flush(c);
}

static void on_conn(struct loop_fd *f, unsigned events)
{
	struct conn *c = container_of(f, struct conn, fd);
	loop_timer_start(&c->idle, CONN_IDLE_MS);
	if (c->out.len) {
		conn_flush(c);
		if (c->over || c->out.len)
			return;
	}
	char data[4096];
	ssize_t n = c->ask ? -1 : recv(c->sock, data, sizeof(data), MSG_DONTWAIT);
	if (c->ask || (n < 0 && errno == EAGAIN)) {
		conn_work(c);
		return;
	}
	if (n <= 0) {
		conn_end(c);
		return;
	}
	buf_add(&c->in, data, (size_t)n);
	conn_work(c);
}

static void on_idle(struct loop_timer *t)
{
	conn_end(container_of(t, struct conn, idle));
}

static void on_tcp(struct loop_fd *f, unsigned events)
{
	struct network_dns *d = container_of(f, struct network_dns, fds[1]);
	int s = accept4(d->socks[1], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (s < 0)
		return;
	if (d->n_conns >= CONNS_MAX) /* whoever was silent longest is the first */
		conn_end(LIST_FIRST(&d->conns, struct conn, link));
	struct conn *c = mem_new(struct conn);
	c->dns = d;
	c->sock = s;
	if (loop_fd_open(&c->fd, d->loop, "name server's client", s, on_conn, NULL) < 0) {
		close(s);
		free(c);
		return;
	}
	loop_fd_background(&c->fd, true);
	loop_timer_init(&c->idle, d->loop, "name server's client", on_idle);
	c->idle.background = true;
	loop_timer_start(&c->idle, CONN_IDLE_MS);
	list_push(&d->conns, &c->link);
	d->n_conns++;
	d->open++;
	loop_fd_want(&c->fd, LOOP_READ);
}

/* ---- open and close */

static int listen_at(int type, uint16_t *port, struct err *err)
{
	static const struct sys_addr self = { AF_INET, { 127, 0, 0, 11 } };
	auto_fd int s = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_storage at;
	socklen_t len = sys_addr_sock(&self, *port, &at);
	int on = 1;
	if (s < 0 || (type == SOCK_STREAM && setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0))
		return err_sys(err, "making the name server's socket");
	if (bind(s, (struct sockaddr *)&at, len) < 0) {
		/* The port of before belongs to somebody in the container now. */
		len = sys_addr_sock(&self, 0, &at);
		if (bind(s, (struct sockaddr *)&at, len) < 0)
			return err_sys(err, "binding the name server to 127.0.0.11");
	}
	len = sizeof(at);
	struct sys_addr a;
	if ((type == SOCK_STREAM && listen(s, 64) < 0) || getsockname(s, (struct sockaddr *)&at, &len) < 0)
		return err_sys(err, "listening as the name server");
	sys_addr_from_sock(&at, &a, port);
	return take_fd(&s);
}

int network_dns_open(struct network_sandbox *box, struct err *err)
{
	uint16_t ports[2] = { box->dns_ports[0], box->dns_ports[1] };
	auto_fd int udp = -1, tcp = -1, ns = -1, filter = -1;
	uint64_t seed;
	if ((udp = listen_at(SOCK_DGRAM, &ports[0], err)) < 0 || (tcp = listen_at(SOCK_STREAM, &ports[1], err)) < 0 ||
	    (filter = sys_nl_open(NETLINK_NETFILTER, err)) < 0)
		return -(int)(err ? err->class : ERR_IO);
	int rc = network_nft_dns(filter, box->dns_ports[0] != 0, ports[0], ports[1], err);
	if (rc < 0)
		return rc;
	ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (ns < 0)
		return err_sys(err, "opening the container's network namespace");
	struct network_dns *d = mem_new(struct network_dns);
	d->loop = box->engine->opts.loop;
	list_init(&d->asks);
	list_init(&d->conns);
	rng_secret(&seed, sizeof(seed));
	rng_init(&d->rng, seed);
	if ((rc = loop_fd_open(&d->fds[0], d->loop, "name server", udp, on_udp, err)) < 0) {
		free(d);
		return rc;
	}
	d->box = box;
	d->open = 1;
	d->ns = take_fd(&ns);
	d->socks[0] = take_fd(&udp);
	d->socks[1] = -1;
	if ((rc = loop_fd_open(&d->fds[1], d->loop, "name server", tcp, on_tcp, err)) < 0) {
		network_dns_close(d);
		return rc;
	}
	d->open = 2;
	d->socks[1] = take_fd(&tcp);
	for (int i = 0; i < 2; i++) {
		loop_fd_background(&d->fds[i], true);
		loop_fd_want(&d->fds[i], LOOP_READ);
		box->dns_ports[i] = ports[i];
	}
	box->dns = d;
	return 0;
}

static void udp_closed(struct loop_fd *f)
{
	dns_put(container_of(f, struct network_dns, fds[0]));
}

static void tcp_closed(struct loop_fd *f)
{
	dns_put(container_of(f, struct network_dns, fds[1]));
}

void network_dns_close(struct network_dns *d)
{
	if (!d)
		return;
	LIST_EACH(&d->conns, c, struct conn, link)
		conn_end(c);
	LIST_EACH(&d->asks, q, struct ask, link)
		ask_end(q);
	d->box = NULL;
	fd_close(&d->ns);
	bool tcp = loop_fd_is_open(&d->fds[1]);
	loop_fd_close(&d->fds[0], udp_closed);
	if (tcp)
		loop_fd_close(&d->fds[1], tcp_closed);
	fd_close(&d->socks[0]);
	fd_close(&d->socks[1]);
}
