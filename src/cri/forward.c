/* Port forwarding: for each connection of the client a pair of SPDY streams, "error" and "data", with the port in their headers;
 * here a TCP connection to that port of the sandbox' own loopback.
 *
 *     client ══ data stream ══ forward ── socket in the sandbox' network namespace ── 127.0.0.1:port, else [::1]:port
 *
 * A client's connection is one for all its forwards: nothing is read from it while one of them has QUEUE_MAX or more to write. Its
 * end is seen all the same, and ends them all: what a client that has left sent last is for nobody. */
#include <netinet/in.h>
#include <sys/socket.h>

#include "cri/stream.h"

#define PIECE 32768
#define QUEUE_MAX (256u << 10)
#define STREAMS_MAX 1000

static const char *const protocols[] = { "portforward.k8s.io", NULL };

struct tunnel { /* a client's connection, with all its forwards */
	struct cri *cri;
	struct cri_conn conn;
	char pod[65];
	const char *netns;         /* owned; NULL: the host's */
	struct list all;           /* struct forward.link */
	unsigned refs;
	bool full;                 /* what waits for the client is much: nothing is read for it */
	unsigned n_behind;         /* forwards */
};

struct forward {
	struct list link;
	struct tunnel *t;
	struct http_spdy_stream *error, *data; /* NULL when closed */
	struct span request;       /* owned: requestID */
	unsigned port;
	struct loop_fd fd;
	int sock;                  /* -1 */
	bool v6, connected, closing;
	bool moving;               /* from 127.0.0.1 to [::1]: its source is being closed */
	bool behind;               /* with what the client sent */
	int errnum;                /* of 127.0.0.1 */
	bool read_end, write_end;  /* of the socket: nothing more comes; the client sends nothing more */
	struct buf out;            /* to the socket */
};

static void tunnel_unref(struct tunnel *t)
{
	struct cri *c = t->cri;
	if (--t->refs)
		return;
	free((char *)t->netns);
	free(t);
	cri_busy(c, -1);
}

static void forward_free(struct forward *f)
{
	struct tunnel *t = f->t;
	list_remove(&f->link);
	buf_done(&f->out);
	free((char *)f->request.ptr);
	free(f);
	tunnel_unref(t);
}

static void on_fd_closed(struct loop_fd *fd)
{
	forward_free(container_of(fd, struct forward, fd));
}

static void behind_set(struct forward *f)
{
	struct tunnel *t = f->t;
	bool behind = !f->closing && f->out.len >= QUEUE_MAX;
	if (behind == f->behind)
		return;
	f->behind = behind;
	t->n_behind += behind ? 1U : -1U;
	if (!t->conn.k)
		return;
	if (t->n_behind)
		http_link_pause(t->conn.k);
	else
		http_link_resume(t->conn.k);
}

/* Ends both sides; memory goes when the socket's source and both streams have let go. */
static void forward_end(struct forward *f)
{
	if (f->closing)
		return;
	f->closing = true;
	if (f->t->conn.k) {
		if (f->data)
			http_spdy_write(f->data, SPAN_EMPTY, true);
		if (f->error)
			http_spdy_write(f->error, SPAN_EMPTY, true);
		http_link_flush(f->t->conn.k);
	}
	if (f->data)
		http_spdy_stream_set(f->data, NULL);
	if (f->error)
		http_spdy_stream_set(f->error, NULL);
	f->data = f->error = NULL;
	behind_set(f);
	if (f->moving)
		return; /* on_first_closed frees it */
	if (loop_fd_is_open(&f->fd)) {
		loop_fd_close(&f->fd, on_fd_closed);
		fd_close(&f->sock);
	} else {
		fd_close(&f->sock);
		forward_free(f);
	}
}

static void forward_fail(struct forward *f, const char *why)
{
	auto_buf struct buf b = {};
	buf_printf(&b, "error forwarding port %u to pod %s: failed to connect to localhost:%u inside the pod: %s", f->port, f->t->pod,
		f->port, why);
	if (f->error && f->t->conn.k)
		http_spdy_write(f->error, buf_span(&b), false);
	forward_end(f);
}

static void want(struct forward *f)
{
	if (!loop_fd_is_open(&f->fd))
		return;
	unsigned events = !f->connected ? LOOP_WRITE : 0;
	if (f->connected && !f->read_end && !f->t->full)
		events |= LOOP_READ;
	if (f->connected && f->out.len)
		events |= LOOP_WRITE;
	loop_fd_want(&f->fd, events);
}

static void reading_set(struct tunnel *t)
{
	bool full = t->conn.k && http_link_queued(t->conn.k) > QUEUE_MAX;
	if (full == t->full)
		return;
	t->full = full;
	LIST_EACH (&t->all, f, struct forward, link)
		want(f);
}

static void out_flush(struct forward *f)
{
	while (f->out.len) {
		ssize_t n = send(f->sock, f->out.ptr, f->out.len, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) { /* who does not take it any more may still have something to say */
			buf_trunc(&f->out, 0);
			break;
		}
		buf_shift(&f->out, (size_t)n);
	}
	if (!f->out.len && f->write_end) {
		(void)shutdown(f->sock, SHUT_WR); /* it may have been closed from there */
		f->write_end = false;
	}
	behind_set(f);
}

static void connect_begin(struct forward *f);

static void on_first_closed(struct loop_fd *fd)
{
	struct forward *f = container_of(fd, struct forward, fd);
	f->moving = false;
	if (f->closing)
		forward_free(f);
	else
		connect_begin(f);
}

static void connect_done(struct forward *f)
{
	int errnum = 0;
	socklen_t len = sizeof(errnum);
	(void)getsockopt(f->sock, SOL_SOCKET, SO_ERROR, &errnum, &len); /* it is a socket */
	if (!errnum) {
		f->connected = true;
		out_flush(f);
		want(f);
	} else if (!f->v6) {
		f->errnum = errnum;
		f->v6 = f->moving = true;
		loop_fd_close(&f->fd, on_first_closed);
		fd_close(&f->sock);
	} else {
		forward_fail(f, err_why(f->errnum ? f->errnum : errnum));
	}
}

static void on_socket(struct loop_fd *fd, unsigned events)
{
	struct forward *f = container_of(fd, struct forward, fd);
	char piece[PIECE];
	if (!f->connected) {
		connect_done(f);
		return;
	}
	if (events & LOOP_WRITE)
		out_flush(f);
	for (int i = 0; (events & LOOP_READ) && i < 8 && !f->t->full && !f->read_end; i++) {
		ssize_t n = recv(f->sock, piece, sizeof(piece), 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			f->read_end = true;
			forward_end(f);
			return;
		}
		if (f->data && f->t->conn.k) {
			http_spdy_write(f->data, span_make(piece, (size_t)n), false);
			http_link_flush(f->t->conn.k);
			reading_set(f->t);
		}
	}
	want(f);
}

/* localhost of the pod: 127.0.0.1, and where nobody listens there [::1]. Loopback mostly answers at once; if not, connect_done goes
 * on with the other. */
static void connect_begin(struct forward *f)
{
	auto_err struct err err = ERR_INIT;
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)f->port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)f->port), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int rc = -1;
	for (bool again = true; again && rc < 0;) {
		fd_close(&f->sock);
		f->sock = cri_netns_socket(f->t->netns, f->v6 ? AF_INET6 : AF_INET, &err);
		if (f->sock < 0) {
			forward_fail(f, f->errnum ? err_why(f->errnum) : err_msg(&err));
			return;
		}
		rc = f->v6 ? connect(f->sock, (struct sockaddr *)&v6, sizeof(v6)) : connect(f->sock, (struct sockaddr *)&v4, sizeof(v4));
		if (rc < 0 && errno == EINPROGRESS)
			rc = 0;
		else if (rc < 0 && !f->errnum)
			f->errnum = errno;
		again = !f->v6;
		f->v6 |= rc < 0;
	}
	if (rc < 0) {
		forward_fail(f, err_why(f->errnum));
	} else if (loop_fd_open(&f->fd, f->t->cri->p.loop, "cri port forward", f->sock, on_socket, &err) < 0) {
		forward_fail(f, err_msg(&err));
	} else {
		want(f);
	}
}

/* ---- streams */

static struct span field(const struct http_spdy_field *fields, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (span_is(fields[i].name, name))
			return fields[i].value;
	return SPAN_EMPTY;
}

static struct forward *forward_of(struct tunnel *t, struct span request, unsigned port)
{
	LIST_EACH (&t->all, f, struct forward, link)
		if (!f->closing && f->port == port && span_eq(f->request, request) && !(f->error && f->data))
			return f;
	struct forward *f = mem_new(struct forward);
	f->t = t;
	f->sock = -1;
	f->port = port;
	f->request = span_make(mem_dup(request.ptr, request.len), request.len);
	list_push(&t->all, &f->link);
	t->refs++;
	return f;
}

static void on_open(struct http_spdy_stream *st, const struct http_spdy_field *fields, unsigned n, void *arg)
{
	struct tunnel *t = arg;
	struct span type = field(fields, n, "streamtype"), request = field(fields, n, "requestid");
	uint64_t port;
	bool error = span_is(type, "error");
	if ((!error && !span_is(type, "data")) || !span_to_u64(field(fields, n, "port"), &port) || !port || port > 65535) {
		http_spdy_reset(st, HTTP_SPDY_REFUSED);
		return;
	}
	struct forward *f = forward_of(t, request, (unsigned)port);
	if (error ? f->error != NULL : f->data != NULL) {
		http_spdy_reset(st, HTTP_SPDY_REFUSED);
		return;
	}
	*(error ? &f->error : &f->data) = st;
	http_spdy_stream_set(st, f);
	http_spdy_reply(st, NULL, 0, false);
	if (f->error && f->data)
		connect_begin(f);
}

static void on_data(struct http_spdy_stream *st, struct span data, void *arg)
{
	struct forward *f = http_spdy_stream_get(st);
	http_spdy_consumed(st, data.len);
	if (!f || st != f->data)
		return;
	buf_span_add(&f->out, data);
	if (f->connected)
		out_flush(f);
	behind_set(f);
	want(f);
}

static void on_end(struct http_spdy_stream *st, void *arg)
{
	struct forward *f = http_spdy_stream_get(st);
	if (!f || st != f->data)
		return;
	f->write_end = true;
	if (f->connected)
		out_flush(f);
}

static void on_stream_closed(struct http_spdy_stream *st, unsigned status, void *arg)
{
	struct forward *f = http_spdy_stream_get(st);
	if (!f)
		return;
	if (f->data == st)
		f->data = NULL;
	if (f->error == st)
		f->error = NULL;
	if (status != HTTP_SPDY_OK || !f->data)
		forward_end(f);
}

static void on_drain(struct http_link *k, void *arg)
{
	reading_set(arg);
}

static void on_hangup(struct http_link *k, void *arg)
{
	http_link_abort(k);
}

static void on_gone(struct http_link *k, const struct err *why, void *arg)
{
	struct tunnel *t = arg;
	t->conn.k = NULL;
	list_remove(&t->conn.link);
	LIST_EACH (&t->all, f, struct forward, link)
		forward_end(f);
	tunnel_unref(t);
}

static const struct http_spdy_ops spdy_ops = { .open = on_open, .data = on_data, .end = on_end, .closed = on_stream_closed };
static const struct http_link_ops link_ops = { .drain = on_drain, .hangup = on_hangup, .gone = on_gone };

void cri_forward_begin(struct cri *c, struct http_req *r, struct cri_ticket *ticket)
{
	auto_err struct err err = ERR_INIT;
	struct cri_pod *pod = cri_pod_find(c, ticket->id, &err);
	cri_ticket_free(ticket);
	if (!pod || !cri_pod_ready(pod)) {
		http_reply_text(r, 404, "text/plain; charset=utf-8", SPAN("the sandbox does not run any more\n"));
		return;
	}
	if (!http_req_wants_upgrade(r, "SPDY/3.1") || !cri_stream_protocol(r, protocols)) {
		cri_stream_refuse(r, protocols);
		return;
	}
	struct tunnel *t = mem_new(struct tunnel);
	t->cri = c;
	t->refs = 1;
	memcpy(t->pod, pod->id, sizeof(t->pod));
	list_init(&t->all);
	if (!cri_spec_host_network(&pod->config)) {
		auto_buf struct buf b = {};
		buf_printf(&b, "%s/%s", c->paths.netns, pod->id);
		t->netns = buf_take(&b, NULL);
	}
	cri_busy(c, 1);
	const struct http_spdy_params p = { .ops = &spdy_ops, .arg = t, .max_streams = STREAMS_MAX };
	http_reply_header(r, "X-Stream-Protocol-Version", span_of(protocols[0]));
	if (http_spdy_serve(r, &p, &link_ops, t, &t->conn.k, &err) < 0) {
		http_reply_text(r, 400, "text/plain; charset=utf-8", span_of(err_msg(&err)));
		tunnel_unref(t);
		return;
	}
	list_push(&c->conns, &t->conn.link);
}
