/* From an origin to an open connection.
 *
 *     CONNECTING ─▶ [PROXY: CONNECT, its answer] ─▶ [TLS] ─▶ V1 or V2
 *
 * Addresses are tried in turn, the next one when the last has failed or after STAGGER_MS without an answer, all at the
 * same time from then on (RFC 8305, without its sorting: families alternate, IPv6 first). The first that answers wins. */
#include "http/http_client.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>

enum { ADDRESSES_MAX = 8, STAGGER_MS = 250 };

struct attempt {
	struct loop_fd fd;
	struct http_connecting *owner; /* NULL = nobody cares any more */
	int sock;
};

struct http_connecting {
	struct http_cconn *conn;
	struct arena arena;
	const char *host;
	char port[8];
	struct span basic;          /* Proxy-Authorization */
	struct loop_resolve resolve;
	struct loop_timer stagger;
	struct loop_task begin;
	struct sockaddr_storage addrs[ADDRESSES_MAX];
	socklen_t addr_lens[ADDRESSES_MAX];
	unsigned n_addrs, next, under_way;
	struct attempt *attempts[ADDRESSES_MAX];
	struct err why;             /* of the last attempt */
};

static void attempt_freed(struct loop_fd *f)
{
	free(container_of(f, struct attempt, fd));
}

static void attempt_end(struct attempt *a)
{
	a->owner = NULL;
	fd_close(&a->sock);
	loop_fd_close(&a->fd, attempt_freed);
}

void http_connecting_stop(struct http_cconn *c)
{
	struct http_connecting *k = c->connecting;
	if (!k)
		return;
	c->connecting = NULL;
	loop_task_cancel(&k->begin);
	loop_resolve_cancel(&k->resolve);
	loop_timer_stop(&k->stagger);
	for (unsigned i = 0; i < k->n_addrs; i++)
		if (k->attempts[i])
			attempt_end(k->attempts[i]);
	err_done(&k->why);
	arena_done(&k->arena);
	free(k);
}

static void give_up(struct http_connecting *k)
{
	struct err why = ERR_INIT;
	err_move(&why, &k->why);
	if (k->port[0])
		err_note(&why, "connecting to %s port %s", k->host, k->port);
	else
		err_note(&why, "connecting to unix socket %s", k->host);
	why.class = ERR_UNAVAILABLE;
	http_cconn_failed(k->conn, &why);
}

/* ---- connected: a proxy first, or TLS, or nothing more ---- */

static void begin_tls(struct http_cconn *c)
{
	struct err why = ERR_INIT;
	const struct http_origin *o = &c->pool->origin;
	c->state = HTTP_C_TLS;
	if (http_io_tls_client(&c->io, o->tls_ctx, o->server_name ? o->server_name : o->host, &why) < 0) {
		http_cconn_failed(c, &why);
		return;
	}
	if (c->pool->h1_only)
		tls_alpn_set(c->io.tls, TLS_ALPN_HTTP1);
}

static void ask_proxy(struct http_cconn *c)
{
	const struct http_origin *o = &c->pool->origin;
	struct http_connecting *k = c->connecting;
	bool v6 = strchr(o->host, ':');
	auto_buf struct buf b = {};
	c->state = HTTP_C_PROXY;
	c->guard = (struct http_guard){};
	for (int i = 0; i < 2; i++)
		buf_printf(&b, "%s%s%s%s:%u%s", i ? "Host: " : "CONNECT ", v6 ? "[" : "", o->host, v6 ? "]" : "", o->port,
			i ? "\r\n" : " HTTP/1.1\r\n");
	if (k->basic.len)
		buf_printf(&b, "Proxy-Authorization: Basic %.*s\r\n", SPAN_ARG(k->basic));
	buf_str(&b, "\r\n");
	http_out_span(&c->io.out, buf_span(&b));
	http_io_flush(&c->io);
}

/* extra: more bytes came behind the header; a tunnel's other end speaks second (RFC 9110 section 9.3.6). */
static void proxy_answered(struct http_cconn *c, bool extra)
{
	struct http_head head = {};
	struct http_start start;
	const char *text = NULL;
	struct err why = ERR_INIT;
	int rc = http_block_parse(false, buf_span(&c->held), 200, &head, &start, &text);
	http_head_done(&head);
	buf_done(&c->held);
	c->guard = (struct http_guard){};
	if (rc < 0 || start.status / 100 != 2 || extra) {
		if (rc < 0 || start.status / 100 == 2)
			err_set(&why, ERR_UPSTREAM, "proxy %s: its answer makes no sense: %s", c->connecting->host,
				text ? text : "too long, or bytes behind it");
		else
			err_set(&why, start.status == 407 ? ERR_UNAUTHORIZED : ERR_UNAVAILABLE,
				"proxy %s refused the connection to %s:%u: %d %s", c->connecting->host, c->pool->origin.host,
				c->pool->origin.port, start.status, http_status_text(start.status));
		http_cconn_failed(c, &why);
		return;
	}
	http_connecting_stop(c);
	if (c->pool->origin.tls)
		begin_tls(c);
	else
		http_cconn_ready(c, c->pool->origin.http2);
}

static bool tunnels(const struct http_pool *p)
{
	return p->origin.proxy && (p->origin.tls || p->h1_only || p->origin.http2);
}

static void io_opened(struct http_io *io)
{
	struct http_cconn *c = container_of(io, struct http_cconn, io);
	struct http_pool *p = c->pool;
	if (c->state == HTTP_C_TLS) {
		http_cconn_ready(c, span_is(tls_conn_alpn(io->tls), "h2"));
		return;
	}
	if (tunnels(p)) {
		ask_proxy(c);
		return;
	}
	http_connecting_stop(c);
	if (p->origin.tls)
		begin_tls(c);
	else
		http_cconn_ready(c, p->origin.http2);
}

static void io_data(struct http_io *io, struct span data)
{
	struct http_cconn *c = container_of(io, struct http_cconn, io);
	struct err why = ERR_INIT;
	if (c->state == HTTP_C_V1) {
		http_ch1_data(c, data);
	} else if (c->state == HTTP_C_V2) {
		http_ch2_data(c, data);
	} else if (c->state == HTTP_C_PROXY) {
		size_t used;
		const char *text = "too long";
		int rc = http_guard_feed(&c->guard, data, &used, &text);
		buf_add(&c->held, data.ptr, used);
		if (rc == HTTP_GUARD_DONE)
			proxy_answered(c, used < data.len);
		else if (rc != HTTP_GUARD_MORE || c->held.len > 65536) {
			err_set(&why, ERR_UPSTREAM, "proxy %s: its answer makes no sense: %s", c->connecting->host, text);
			http_cconn_failed(c, &why);
		}
	}
}

static void io_eof(struct http_io *io)
{
	struct http_cconn *c = container_of(io, struct http_cconn, io);
	if (c->state == HTTP_C_V1) {
		http_ch1_eof(c);
		return;
	}
	struct err why = ERR_INIT;
	err_set(&why, c->state == HTTP_C_V2 ? ERR_UPSTREAM : ERR_UNAVAILABLE, "%s ended the connection",
		c->pool->origin.host);
	http_cconn_failed(c, &why);
}

static void io_sent(struct http_io *io)
{
	struct http_cconn *c = container_of(io, struct http_cconn, io);
	if (c->state == HTTP_C_V1)
		http_ch1_sent(c);
	else if (c->state == HTTP_C_V2)
		http_ch2_sent(c);
}

static void io_failed(struct http_io *io, const struct err *why)
{
	struct http_cconn *c = container_of(io, struct http_cconn, io);
	struct err mine = ERR_INIT;
	err_set(&mine, why->class, "%s", err_msg(why));
	mine.errnum = why->errnum;
	http_cconn_failed(c, &mine);
}

const struct http_io_ops http_cconn_ops = { io_opened, io_data, io_eof, io_sent, io_failed };

/* ---- attempts ---- */

static void attempt_next(struct http_connecting *k);

static void attempt_ready(struct loop_fd *f, unsigned events)
{
	struct attempt *a = container_of(f, struct attempt, fd);
	struct http_connecting *k = a->owner;
	int errnum = 0;
	socklen_t len = sizeof(errnum);
	if (!k)
		return;
	if (getsockopt(a->sock, SOL_SOCKET, SO_ERROR, &errnum, &len) < 0)
		errnum = errno;
	for (unsigned i = 0; i < k->n_addrs; i++)
		if (k->attempts[i] == a)
			k->attempts[i] = NULL;
	k->under_way--;
	if (errnum) {
		err_sys_num(&k->why, errnum, "connect");
		attempt_end(a);
		attempt_next(k);
		return;
	}
	struct http_cconn *c = k->conn;
	struct err why = ERR_INIT;
	int sock = take_fd(&a->sock);
	attempt_end(a);
	for (unsigned i = 0; i < k->n_addrs; i++)
		if (k->attempts[i]) {
			attempt_end(k->attempts[i]);
			k->attempts[i] = NULL;
		}
	loop_timer_stop(&k->stagger);
	http_keep_alive(sock);
	if (http_io_open(&c->io, c->pool->client->loop, c->pool->client->p.name, sock, &http_cconn_ops, &why) < 0) {
		http_cconn_failed(c, &why);
		return;
	}
	c->has_io = true;
}

static int attempt_begin(struct http_connecting *k, unsigned i)
{
	struct loop *l = k->conn->pool->client->loop;
	int sock = socket(k->addrs[i].ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return err_sys(&k->why, "socket");
	if (connect(sock, (struct sockaddr *)&k->addrs[i], k->addr_lens[i]) < 0 && errno != EINPROGRESS) {
		int rc = err_sys(&k->why, "connect");
		close(sock);
		return rc;
	}
	struct attempt *a = mem_new(struct attempt);
	a->owner = k;
	a->sock = sock;
	int rc = loop_fd_open(&a->fd, l, k->conn->pool->client->p.name, sock, attempt_ready, &k->why);
	if (rc < 0) {
		close(sock);
		free(a);
		return rc;
	}
	loop_fd_want(&a->fd, LOOP_WRITE);
	k->attempts[i] = a;
	k->under_way++;
	return 0;
}

static void attempt_next(struct http_connecting *k)
{
	while (k->next < k->n_addrs) {
		if (attempt_begin(k, k->next++) == 0) {
			if (k->next < k->n_addrs)
				loop_timer_start(&k->stagger, STAGGER_MS);
			return;
		}
	}
	if (!k->under_way)
		give_up(k);
}

static void stagger(struct loop_timer *t)
{
	attempt_next(container_of(t, struct http_connecting, stagger));
}

/* ---- addresses ---- */

static void address_add(struct http_connecting *k, const void *addr, socklen_t len)
{
	if (k->n_addrs < ADDRESSES_MAX) {
		memcpy(&k->addrs[k->n_addrs], addr, len);
		k->addr_lens[k->n_addrs++] = len;
	}
}

static void resolved(struct loop_resolve *r, int rc, const struct addrinfo *list)
{
	struct http_connecting *k = container_of(r, struct http_connecting, resolve);
	if (rc) {
		err_set(&k->why, ERR_UNAVAILABLE, "%s", gai_strerror(rc));
		give_up(k);
		return;
	}
	const struct addrinfo *at[2] = { list, list };
	static const int families[2] = { AF_INET6, AF_INET };
	for (bool more = true; more;) {
		more = false;
		for (int f = 0; f < 2; f++) {
			while (at[f] && at[f]->ai_family != families[f])
				at[f] = at[f]->ai_next;
			if (at[f]) {
				address_add(k, at[f]->ai_addr, at[f]->ai_addrlen);
				at[f] = at[f]->ai_next;
				more = true;
			}
		}
	}
	attempt_next(k);
}

static void begin(struct loop_task *t)
{
	struct http_connecting *k = container_of(t, struct http_connecting, begin);
	struct http_pool *p = k->conn->pool;
	const struct http_origin *o = &p->origin;
	if (o->unix_path) {
		struct sockaddr_un addr = { .sun_family = AF_UNIX };
		k->host = o->unix_path;
		if (strlen(o->unix_path) >= sizeof(addr.sun_path)) {
			err_set(&k->why, ERR_INVALID, "the path is longer than %zu bytes", sizeof(addr.sun_path) - 1);
			give_up(k);
			return;
		}
		memcpy(addr.sun_path, o->unix_path, strlen(o->unix_path) + 1);
		address_add(k, &addr, sizeof(addr));
		attempt_next(k);
		return;
	}
	unsigned port = o->port;
	k->host = o->host;
	if (o->proxy && http_proxy_parse(o->proxy, &k->arena, &k->host, &port, &k->basic, &k->why) < 0) {
		give_up(k);
		return;
	}
	snprintf(k->port, sizeof(k->port), "%u", port & 0xffff);
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	if (inet_pton(AF_INET, k->host, &v4.sin_addr) == 1)
		address_add(k, &v4, sizeof(v4));
	else if (inet_pton(AF_INET6, k->host, &v6.sin6_addr) == 1)
		address_add(k, &v6, sizeof(v6));
	if (k->n_addrs)
		attempt_next(k);
	else if (loop_resolve_start(&k->resolve, p->client->loop, k->host, k->port, resolved, &k->why) < 0)
		give_up(k);
}

struct http_cconn *http_cconn_new(struct http_pool *p)
{
	struct loop *l = p->client->loop;
	struct http_cconn *c = mem_new(struct http_cconn);
	struct http_connecting *k = mem_new(struct http_connecting);
	c->pool = p;
	c->state = HTTP_C_CONNECTING;
	c->connecting = k;
	k->conn = c;
	loop_timer_init(&k->stagger, l, "next address", stagger);
	loop_task_init(&k->begin, begin);
	loop_defer(l, &k->begin);
	list_push(&p->conns, &c->link);
	p->n_conns++;
	p->n_connecting++;
	return c;
}

void http_dial_words(struct buf *out, struct span host, unsigned port, const struct err *why)
{
	bool v6 = span_chr(host, ':') >= 0;
	const char *text = why->errnum ? strerrordesc_np(why->errnum) : NULL;
	bool refused = why->class == ERR_UNAVAILABLE && text;
	if (!refused && why->class != ERR_TIMEOUT) {
		buf_str(out, err_msg(why));
		return;
	}
	buf_printf(out, "dial tcp %s%.*s%s:%u: ", v6 ? "[" : "", SPAN_ARG(host), v6 ? "]" : "", port);
	if (refused)
		buf_printf(out, "connect: %c%s", tolower((unsigned char)text[0]), text + 1);
	else
		buf_str(out, "i/o timeout");
}
