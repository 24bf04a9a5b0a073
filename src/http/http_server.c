/* Listeners, connections, the watchdog, stopping.
 *
 *     accept ─▶ OPENING ─(TLS done)─▶ DETECTING ─▶ V1 or V2 ─▶ CLOSING ─▶ freed
 *                                  └─(ALPN h2)───▶ V2
 *
 * OPENING: nothing was read but TLS. DETECTING: bytes are compared with HTTP/2's preface (RFC 9113 section 3.4); the
 * first that differs makes it HTTP/1. CLOSING: requests have ended; what is queued may still go out.
 *
 * Watchdog: each connection has one timer, set to the nearest of: what it waits for (http_conn_wait), the next look at
 * output that does not move, the next ping. Sharing: one loop accepts and deals sockets in turn to the others; with
 * few, long connections (HTTP/2) the kernel's SO_REUSEPORT hash leaves some threads idle. */
#include "http/http_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>

static const char PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum { PREFACE_LEN = sizeof(PREFACE) - 1, ACCEPT_TURN = 64, LINGER_MS = 2000, ACCEPT_REST_MS = 50 };
enum { TRIM_BURSTS = 100 };

struct http_limits http_limits_filled(struct http_limits l)
{
#define DEFAULT(field, value)                                                                                          \
	if (!l.field)                                                                                                  \
		l.field = (value);
	DEFAULT(header_bytes, 65536)
	DEFAULT(headers, 200)
	DEFAULT(target_bytes, 16384)
	DEFAULT(connections, 100000)
	DEFAULT(streams, 250)
	DEFAULT(stream_errors, 200)
	DEFAULT(window_bytes, 262144)
	DEFAULT(queue_bytes, 262144)
	DEFAULT(handshake_ms, 10000)
	DEFAULT(header_ms, 10000)
	DEFAULT(idle_ms, 180000)
	DEFAULT(body_stall_ms, 30000)
	DEFAULT(body_bytes_per_s, 128)
	DEFAULT(write_stall_ms, 60000)
#undef DEFAULT
	return l;
}

/* ---- the watchdog ---- */

static void conn_timeout(struct http_conn *c)
{
	c->server->stats.timeouts++;
	enum http_waiting what = c->waiting;
	c->waiting = HTTP_WAIT_NOTHING;
	switch (what) {
	case HTTP_WAIT_HEADER:
		if (c->phase == HTTP_V1) {
			http_h1_refuse(c, 408, "the request's header did not come in time");
			return;
		}
		break;
	case HTTP_WAIT_IDLE:
		c->server->stats.timeouts--; /* nothing was wrong */
		if (c->phase == HTTP_V2) {
			http_h2_stop(c);
			return;
		}
		http_conn_close_gently(c);
		return;
	case HTTP_WAIT_BODY:
	case HTTP_WAIT_HANDSHAKE:
	case HTTP_WAIT_NOTHING:
		break;
	}
	http_conn_close(c);
}

static bool output_waits(const struct http_conn *c)
{
	return http_io_queued(&c->io) || (c->phase == HTTP_V2 && http_h2_has_pending(c));
}

static void conn_timer(struct loop_timer *t)
{
	struct http_conn *c = container_of(t, struct http_conn, timer);
	const struct http_limits *l = &c->server->p.limits;
	int64_t now = loop_now_ms(c->server->loop);
	if (c->waiting && now >= c->waiting_until_ms) {
		if (c->waiting == HTTP_WAIT_BODY && c->phase == HTTP_V2)
			http_h2_drop_slow(c);
		else
			conn_timeout(c);
		return;
	}
	if (c->stall_check_ms && now >= c->stall_check_ms) {
		int64_t before = now - l->write_stall_ms;
		if (http_io_queued(&c->io) && MAX(c->io.progress_ms, c->stall_armed_ms) <= before) {
			c->server->stats.timeouts++;
			http_conn_close(c);
			return;
		}
		if (c->phase == HTTP_V2)
			http_h2_drop_stalled(c, before);
		c->stall_check_ms = now + l->write_stall_ms / 4 + 1;
	}
	if (l->ping_ms && c->phase == HTTP_V2 && c->n_reqs && now >= c->heard_ms + l->ping_ms) {
		if (c->pinged && now >= c->heard_ms + 2 * (int64_t)l->ping_ms) {
			c->server->stats.timeouts++;
			http_conn_close(c);
			return;
		}
		if (!c->pinged)
			http_h2_ping(c);
		c->pinged = true;
	}
	http_conn_timer_update(c);
}

void http_conn_timer_update(struct http_conn *c)
{
	if (c->phase == HTTP_CLOSING)
		return;
	const struct http_limits *l = &c->server->p.limits;
	int64_t now = loop_now_ms(c->server->loop), next = INT64_MAX;
	if (!output_waits(c)) {
		c->stall_check_ms = 0;
	} else if (!c->stall_check_ms) {
		c->stall_armed_ms = now;
		c->stall_check_ms = now + l->write_stall_ms;
	}
	if (c->waiting)
		next = c->waiting_until_ms;
	if (c->stall_check_ms)
		next = MIN(next, c->stall_check_ms);
	if (l->ping_ms && c->phase == HTTP_V2 && c->n_reqs)
		next = MIN(next, c->heard_ms + (int64_t)l->ping_ms * (c->pinged ? 2 : 1));
	if (next == INT64_MAX)
		loop_timer_stop(&c->timer);
	else
		loop_timer_start(&c->timer, MAX(next - now, (int64_t)0));
}

void http_conn_wait(struct http_conn *c, enum http_waiting what, int64_t ms)
{
	c->waiting = what;
	c->waiting_until_ms = loop_now_ms(c->server->loop) + ms;
	bool idle = what == HTTP_WAIT_IDLE;
	if (idle != c->idle_counted) {
		c->idle_counted = idle;
		c->server->stats.idle += idle ? 1 : -1u;
	}
	http_conn_timer_update(c);
}

/* ---- a connection ---- */

static void stopped_check(struct http_server *s);

static void conn_freed(struct http_io *io)
{
	struct http_conn *c = container_of(io, struct http_conn, io);
	struct http_server *s = c->server;
	assert(!c->n_reqs);
	s->n_conns--;
	s->stats.connections--;
	free(c);
	stopped_check(s);
}

/* Requests end, then nothing but the queue is left. */
static void conn_empty(struct http_conn *c)
{
	if (c->phase == HTTP_CLOSING)
		return;
	enum http_phase phase = c->phase;
	http_conn_wait(c, HTTP_WAIT_NOTHING, 0);
	c->phase = HTTP_CLOSING;
	loop_timer_stop(&c->timer);
	if (phase == HTTP_V1)
		http_h1_end(c);
	else if (phase == HTTP_V2)
		http_h2_end(c);
	tls_peer_unref(c->peer.cert);
	c->peer.cert = NULL;
	buf_done(&c->held);
	list_remove(&c->link);
}

void http_conn_close(struct http_conn *c)
{
	conn_empty(c);
	http_io_close(&c->io, conn_freed);
}

void http_conn_close_gently(struct http_conn *c)
{
	conn_empty(c);
	http_io_close_gently(&c->io, LINGER_MS, conn_freed);
}

/* Also of a connection that is idle already: a request can have come, been answered and gone within the turn, and its time begins
 * anew. The timer stays as it was; where it fires too early, conn_timer sets it again. */
void http_conn_idle(struct http_conn *c)
{
	if (http_conn_ending(c))
		http_conn_close_gently(c);
	else if (c->waiting == HTTP_WAIT_IDLE)
		c->waiting_until_ms = loop_now_ms(c->server->loop) + c->server->p.limits.idle_ms;
	else
		http_conn_wait(c, HTTP_WAIT_IDLE, c->server->p.limits.idle_ms);
}

static void version_known(struct http_conn *c, bool two)
{
	struct http_server *s = c->server;
	if (two ? s->p.no_http2 : s->p.no_http1) {
		http_conn_close_gently(c);
		return;
	}
	if (two) {
		c->phase = HTTP_V2;
		http_h2_begin(c);
	} else {
		c->phase = HTTP_V1;
		http_h1_begin(c);
		http_conn_idle(c);
	}
}

static void conn_opened(struct http_io *io)
{
	struct http_conn *c = container_of(io, struct http_conn, io);
	if (io->tls) {
		c->peer.cert = tls_conn_peer(io->tls);
		c->server->bursts++;
		loop_timer_start(&c->server->trim, HTTP_TRIM_MS);
		struct span alpn = tls_conn_alpn(io->tls);
		if (alpn.len) {
			version_known(c, span_is(alpn, "h2"));
			return;
		}
	}
	c->phase = HTTP_DETECTING;
	if (c->server->p.no_http1 || c->server->p.no_http2)
		version_known(c, c->server->p.no_http1);
	else /* a connection without a request is idle at once; the first byte makes it wait for a header */
		http_conn_idle(c);
}

static void conn_data(struct http_io *io, struct span data)
{
	struct http_conn *c = container_of(io, struct http_conn, io);
	c->heard_ms = loop_now_ms(io->loop);
	c->pinged = false;
	if (c->phase == HTTP_DETECTING) {
		if (!c->held.len)
			http_conn_wait(c, HTTP_WAIT_HANDSHAKE, c->server->p.limits.handshake_ms);
		size_t have = c->held.len, n = MIN(data.len, PREFACE_LEN - have);
		bool same = !memcmp(data.ptr, PREFACE + have, n);
		if (same && have + n < PREFACE_LEN) {
			buf_span_add(&c->held, data);
			return;
		}
		version_known(c, same);
		if (have && c->phase != HTTP_CLOSING) { /* what looked like a preface */
			struct buf first = c->held;
			c->held = (struct buf){};
			if (c->phase == HTTP_V1)
				http_h1_data(c, buf_span(&first));
			else
				http_h2_data(c, buf_span(&first));
			buf_done(&first);
		}
	}
	if (c->phase == HTTP_V1)
		http_h1_data(c, data);
	else if (c->phase == HTTP_V2)
		http_h2_data(c, data);
}

static void conn_eof(struct http_io *io)
{
	struct http_conn *c = container_of(io, struct http_conn, io);
	if (c->phase == HTTP_V1)
		http_h1_eof(c);
	else if (c->phase == HTTP_V2)
		http_h2_eof(c);
	else
		http_conn_close(c);
}

static void conn_sent(struct http_io *io)
{
	struct http_conn *c = container_of(io, struct http_conn, io);
	if (c->phase == HTTP_V1)
		http_h1_sent(c);
	else if (c->phase == HTTP_V2)
		http_h2_sent(c);
	http_conn_timer_update(c);
}

static void conn_failed(struct http_io *io, const struct err *why)
{
	(void)why; /* a peer that went away; whoever waits for it learns by `done` */
	http_conn_close(container_of(io, struct http_conn, io));
}

static const struct http_io_ops conn_ops = { conn_opened, conn_data, conn_eof, conn_sent, conn_failed };

static struct http_conn *conn_new(struct http_server *s)
{
	struct http_conn *c = mem_new(struct http_conn);
	c->server = s;
	c->heard_ms = loop_now_ms(s->loop);
	loop_timer_init(&c->timer, s->loop, s->p.name, conn_timer);
	list_push(&s->conns, &c->link);
	s->n_conns++;
	s->stats.accepted++;
	s->stats.connections++;
	return c;
}

/* Full: a plain client is told, then closed; a TLS handshake would cost more than the refusal is worth. */
static void refuse_connection(struct http_server *s, int sock, bool tls)
{
	static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n"
				     "Connection: close\r\n\r\n";
	s->stats.refused++;
	if (!tls)
		(void)send(sock, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(sock);
}

static int conn_begin(struct http_server *s, int sock, bool tls, struct err *err)
{
	if (s->n_conns >= s->p.limits.connections || s->stopping) {
		refuse_connection(s, sock, tls);
		return err_set(err, ERR_TOO_MANY, "%s: too many connections", s->p.name);
	}
	struct http_conn *c = conn_new(s);
	c->tls = c->peer.is_tls = tls;
	int rc = http_io_open(&c->io, s->loop, s->p.name, sock, &conn_ops, err);
	if (rc < 0) {
		list_remove(&c->link);
		s->n_conns--;
		s->stats.connections--;
		free(c);
		return rc;
	}
	http_peer_of_socket(&c->peer, sock);
	http_keep_alive(sock);
	if (tls) {
		auto_cleanup(auto_tls_ctx_) struct tls_ctx *ctx = tls_slot_get(s->p.tls);
		if (!ctx) {
			http_conn_close(c);
			return err_set(err, ERR_UNAVAILABLE, "%s: no certificate yet", s->p.name);
		}
		rc = http_io_tls_server(&c->io, ctx, err);
		if (rc < 0) {
			http_conn_close(c);
			return rc;
		}
	}
	http_conn_wait(c, HTTP_WAIT_HANDSHAKE, s->p.limits.handshake_ms);
	return 0;
}

struct http_conn *http_conn_memory(struct http_server *s)
{
	struct http_conn *c = conn_new(s);
	http_io_memory(&c->io, s->loop, &conn_ops);
	http_conn_wait(c, HTTP_WAIT_HANDSHAKE, s->p.limits.handshake_ms);
	return c;
}

/* ---- accepting ---- */

struct dealt {
	struct http_server *to;
	int sock;
	bool tls;
};

static void dealt_arrived(void *arg)
{
	struct dealt d = *(struct dealt *)arg;
	free(arg);
	(void)conn_begin(d.to, d.sock, d.tls, NULL); /* a refusal was answered and counted */
	atomic_fetch_sub(&d.to->dealt, 1);
	stopped_check(d.to);
}

static void deal(struct http_server *s, int sock, bool tls)
{
	struct http_server *to = s;
	if (s->n_shared) {
		to = s->shared[s->next_shared];
		s->next_shared = (s->next_shared + 1) % s->n_shared;
	}
	if (to == s) {
		(void)conn_begin(s, sock, tls, NULL);
		return;
	}
	struct dealt *d = mem_alloc(sizeof(*d));
	*d = (struct dealt){ to, sock, tls };
	atomic_fetch_add(&to->dealt, 1);
	loop_post_call(to->loop, dealt_arrived, d);
}

static void listener_ready(struct loop_fd *f, unsigned events)
{
	struct http_listener *l = container_of(f, struct http_listener, fd);
	struct http_server *s = l->server;
	for (int i = 0; i < ACCEPT_TURN; i++) {
		int sock = accept4(l->sock, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (sock >= 0) {
			deal(s, sock, l->tls);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* No descriptor left. The oldest idle connection makes room; the listener rests a moment, because it
			 * stays readable and would turn the loop in circles. */
			s->stats.refused++;
			LIST_EACH(&s->conns, c, struct http_conn, link) {
				if (c->waiting == HTTP_WAIT_IDLE) {
					http_conn_close(c);
					break;
				}
			}
			loop_fd_want(&l->fd, 0);
			loop_timer_start(&s->accept_again, ACCEPT_REST_MS);
		}
		return;
	}
}

/* A burst of handshakes (a restart that every client notices) leaves a heap full of holes: 48 KB a connection instead of
 * 26 measured with 1,000 at once. The holes go back to the kernel a second after the last handshake (or stream that
 * shed its header), once. */
static void trim(struct loop_timer *t)
{
	struct http_server *s = container_of(t, struct http_server, trim);
	if (s->bursts >= TRIM_BURSTS)
		(void)malloc_trim(0);
	s->bursts = 0;
}

static void accept_again(struct loop_timer *t)
{
	struct http_server *s = container_of(t, struct http_server, accept_again);
	LIST_EACH(&s->listeners, l, struct http_listener, link)
		loop_fd_want(&l->fd, LOOP_READ);
}

int http_server_listen(struct http_server *s, int fd, unsigned flags, struct err *err)
{
	if (fd < 0) /* the helper that should have opened it has set err */
		return fd;
	assert(!(flags & HTTP_TLS) || s->p.tls);
	struct http_listener *l = mem_new(struct http_listener);
	l->server = s;
	l->sock = fd;
	l->tls = flags & HTTP_TLS;
	int rc = loop_fd_open(&l->fd, s->loop, s->p.name, fd, listener_ready, err);
	if (rc < 0) {
		close(fd);
		free(l);
		return rc;
	}
	list_push(&s->listeners, &l->link);
	loop_fd_want(&l->fd, LOOP_READ);
	return 0;
}

int http_server_take(struct http_server *s, int fd, unsigned flags, struct err *err)
{
	return conn_begin(s, fd, flags & HTTP_TLS, err);
}

void http_server_share(struct http_server *s, struct http_server *const *others, size_t n)
{
	free(s->shared);
	s->n_shared = n + 1;
	s->shared = mem_alloc(s->n_shared * sizeof(*s->shared));
	s->shared[0] = s;
	for (size_t i = 0; i < n; i++)
		s->shared[i + 1] = others[i];
	s->next_shared = 0;
}

/* ---- life ---- */

static void stop_deadline(struct loop_timer *t)
{
	struct http_server *s = container_of(t, struct http_server, deadline);
	LIST_EACH(&s->conns, c, struct http_conn, link)
		http_conn_close(c);
}

static void stopped_task(struct loop_task *t)
{
	struct http_server *s = container_of(t, struct http_server, stopped_task);
	void (*stopped)(struct http_server *s, void *arg) = s->stopped;
	s->stopped = NULL;
	loop_timer_stop(&s->deadline);
	if (stopped)
		stopped(s, s->stopped_arg);
}

static void stopped_check(struct http_server *s)
{
	if (s->stopping && s->stopped && !s->n_conns && !s->listeners_closing && !atomic_load(&s->dealt))
		loop_defer(s->loop, &s->stopped_task);
}

int http_server_new(const struct http_server_params *p, struct http_server **out_server, struct err *err)
{
	struct http_server *s = mem_new(struct http_server);
	s->loop = p->loop;
	s->p = *p;
	s->p.limits = http_limits_filled(p->limits);
	list_init(&s->listeners);
	list_init(&s->conns);
	loop_timer_init(&s->deadline, s->loop, p->name, stop_deadline);
	loop_timer_init(&s->accept_again, s->loop, p->name, accept_again);
	loop_timer_init(&s->trim, s->loop, p->name, trim);
	s->trim.background = true;
	loop_task_init(&s->stopped_task, stopped_task);
	*out_server = s;
	return 0;
}

static void listener_closed(struct loop_fd *f)
{
	struct http_listener *l = container_of(f, struct http_listener, fd);
	struct http_server *s = l->server;
	s->listeners_closing--;
	free(l);
	stopped_check(s);
}

static void conns_end(struct http_server *s)
{
	LIST_EACH(&s->conns, c, struct http_conn, link) {
		if (c->phase == HTTP_V1)
			http_h1_stop(c);
		else if (c->phase == HTTP_V2)
			http_h2_stop(c);
		else if (c->waiting == HTTP_WAIT_IDLE)
			http_conn_close_gently(c);
	}
}

void http_server_renew(struct http_server *s)
{
	LIST_EACH(&s->conns, c, struct http_conn, link)
		c->last = true;
	conns_end(s);
}

void http_server_stop(struct http_server *s, unsigned deadline_ms, void (*done)(struct http_server *s, void *arg),
	void *arg)
{
	assert(!s->stopping);
	s->stopping = true;
	s->stopped = done;
	s->stopped_arg = arg;
	loop_timer_stop(&s->accept_again);
	LIST_EACH(&s->listeners, l, struct http_listener, link) {
		list_remove(&l->link);
		s->listeners_closing++;
		loop_fd_close(&l->fd, listener_closed);
		close(l->sock);
	}
	conns_end(s);
	loop_timer_start(&s->deadline, deadline_ms);
	stopped_check(s);
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	assert(s->stopping && !s->n_conns && !s->listeners_closing);
	loop_timer_stop(&s->deadline);
	loop_timer_stop(&s->trim);
	loop_task_cancel(&s->stopped_task);
	free(s->shared);
	http_h2_mem_free(s);
	free(s);
}

struct http_server_stats http_server_stats(const struct http_server *s)
{
	return s->stats;
}
