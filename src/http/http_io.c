/* The transport.
 *
 *   in:   socket ─recv─▶ scratch of the thread (64 KB) ─▶ ops.data             plain
 *         socket ─recv─▶ OpenSSL ─▶ scratch ─▶ ops.data                         TLS
 *   out:  queue ─sendmsg(64 vectors)─▶ socket                                   plain: no copy
 *         queue ─▶ record of 16 KB ─▶ OpenSSL ─▶ batch of the thread ─send─▶    TLS: one send for up to 64 KB
 *
 * The scratch areas are one per thread: between two callbacks no connection holds any of them. What the kernel does not
 * take of a TLS batch (it is encrypted and cannot be taken back) is kept in `cipher`, at most BATCH bytes.
 *
 * Invariants
 * 1. A byte leaves `out` exactly when the kernel or OpenSSL took it.
 * 2. While cipher is not empty, nothing new is encrypted by a flush.
 * 3. No callback after `closed` was set. */
#include "http/http_io.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

enum { SCRATCH = 65536, RECORD = 16384, BATCH = 65536, BATCH_ROOM = BATCH + 20480 };
/* A turn reads at most so much from one connection and sends at most so much to it. */
enum { READ_TURN = 4 * SCRATCH, SEND_TURN = 1024 * 1024, VECTORS = 64 };

/* Made when a thread first needs it and freed with the thread: as thread-local arrays they would cost every program that
 * links this, and every thread of it, 164 KB that are cleared at start. */
struct areas {
	char scratch[SCRATCH];
	char record[RECORD];
	struct {
		struct http_io *user; /* whose flush is filling it */
		size_t len;
		char data[BATCH_ROOM];
	} batch;
};
static __thread struct areas *areas;
static pthread_key_t areas_key;
static pthread_once_t areas_once = PTHREAD_ONCE_INIT;

static void areas_key_make(void)
{
	int rc = pthread_key_create(&areas_key, free);
	assert(rc == 0);
}

static void areas_need(void)
{
	if (likely(areas))
		return;
	areas = mem_alloc(sizeof(*areas));
	areas->batch.user = NULL;
	areas->batch.len = 0;
	pthread_once(&areas_once, areas_key_make);
	pthread_setspecific(areas_key, areas); /* so that the thread's end frees it */
}

static void io_ready(struct loop_fd *f, unsigned events);
static void io_again(struct loop_task *t);
static void io_flush(struct loop_task *t);
static void linger_over(struct loop_timer *t);

static void want_update(struct http_io *io)
{
	if (io->closed || io->sock < 0)
		return;
	unsigned events = 0;
	if ((io->reading || io->handshaking) && !io->eof_seen)
		events |= LOOP_READ;
	else if (!io->hup_seen && !io->eof_seen)
		events |= LOOP_HUP;
	if (io->blocked)
		events |= LOOP_WRITE;
	loop_fd_want(&io->fd, io->broken ? 0 : events);
}

/* Reports a failure later in this turn. */
static void broke(struct http_io *io, struct err *why)
{
	if (!io->broken) {
		io->broken = true;
		err_move(&io->why, why);
		loop_defer(io->loop, &io->again);
		want_update(io);
	} else {
		err_done(why);
	}
}

static void broke_sys(struct http_io *io, int errnum, const char *doing)
{
	struct err why = ERR_INIT;
	err_set(&why, ERR_UPSTREAM, "%s: %s: %s", io->name, doing, strerrordesc_np(errnum));
	why.errnum = errnum;
	broke(io, &why);
}

/* ---- opening ---- */

static void io_init(struct http_io *io, struct loop *l, const char *name, const struct http_io_ops *ops)
{
	*io = (struct http_io){ .loop = l, .ops = ops, .name = name, .sock = -1, .why = ERR_INIT };
	loop_task_init(&io->flush, io_flush);
	loop_task_init(&io->again, io_again);
	loop_timer_init(&io->linger, l, name, linger_over);
	io->progress_ms = loop_now_ms(l);
}

int http_io_open(struct http_io *io, struct loop *l, const char *name, int sock, const struct http_io_ops *ops,
	struct err *err)
{
	areas_need();
	io_init(io, l, name, ops);
	int rc = loop_fd_open(&io->fd, l, name, sock, io_ready, err);
	if (rc < 0) {
		close(sock);
		return rc;
	}
	io->sock = sock;
	int one = 1;
	(void)setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* a unix socket has none */
	io->opening = true;
	io->reading = true;
	loop_defer(l, &io->again);
	want_update(io);
	return 0;
}

void http_io_memory(struct http_io *io, struct loop *l, const struct http_io_ops *ops)
{
	areas_need();
	io_init(io, l, "memory", ops);
	io->opening = true;
	io->reading = true;
	loop_defer(l, &io->again);
}

void http_io_feed(struct http_io *io, struct span data)
{
	if (!io->closed && !io->eof_seen)
		io->ops->data(io, data);
}

/* ---- OpenSSL's way to the socket ---- */

static ptrdiff_t tls_recv(void *arg, void *out, size_t cap)
{
	struct http_io *io = arg;
	if (io->dry)
		return -EAGAIN; /* the last read emptied the socket; readiness will tell */
	ssize_t n = recv(io->sock, out, cap, 0);
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (n > 0 && (size_t)n < cap)
		io->dry = true;
	return n;
}

static ptrdiff_t tls_send(void *arg, const void *data, size_t len)
{
	struct http_io *io = arg;
	if (areas->batch.user == io && !io->cipher_len && len <= BATCH_ROOM - areas->batch.len) {
		memcpy(areas->batch.data + areas->batch.len, data, len);
		areas->batch.len += len;
		return (ptrdiff_t)len;
	}
	/* Answers that OpenSSL makes while reading (tickets, key updates, alerts). */
	io->cipher = mem_realloc(io->cipher, io->cipher_len + len);
	memcpy(io->cipher + io->cipher_len, data, len);
	io->cipher_len += len;
	http_io_flush(io);
	return (ptrdiff_t)len;
}

int http_io_tls_server(struct http_io *io, struct tls_ctx *ctx, struct err *err)
{
	struct tls_io t = { tls_recv, tls_send, io };
	io->handshaking = true;
	return tls_accept_new(ctx, &t, &io->tls, err);
}

int http_io_tls_client(struct http_io *io, struct tls_ctx *ctx, const char *server_name, struct err *err)
{
	struct tls_io t = { tls_recv, tls_send, io };
	io->handshaking = true;
	io->opening = true;
	int rc = tls_connect_new(ctx, &t, server_name, &io->tls, err);
	if (rc == 0)
		loop_defer(io->loop, &io->again);
	return rc;
}

static void handshake(struct http_io *io)
{
	struct err why = ERR_INIT;
	int rc = tls_handshake(io->tls, &why);
	if (io->cipher_len)
		http_io_flush(io);
	if (rc == 0) {
		io->handshaking = false;
		io->dry = false;
		loop_defer(io->loop, &io->again); /* reports `opened`, then reads what came with it */
	} else if (rc != TLS_WANT_READ && rc != TLS_WANT_WRITE) {
		if (io->cipher_len) /* the alert says why */
			(void)send(io->sock, io->cipher, io->cipher_len, MSG_NOSIGNAL | MSG_DONTWAIT);
		broke(io, &why);
	}
	want_update(io);
}

/* ---- in ---- */

static void saw_eof(struct http_io *io)
{
	if (io->eof_seen)
		return;
	io->eof_seen = true;
	want_update(io);
	if (io->discarding) {
		http_io_close(io, io->on_closed);
		return;
	}
	io->ops->eof(io);
}

static void deliver(struct http_io *io, size_t n)
{
	if (!io->discarding)
		io->ops->data(io, span_make(areas->scratch, n));
}

static void read_plain(struct http_io *io)
{
	for (size_t total = 0; total < READ_TURN && io->reading && !io->closed && !io->broken;) {
		ssize_t n = recv(io->sock, areas->scratch, SCRATCH, 0);
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				broke_sys(io, errno, "reading");
			return;
		}
		if (n == 0) {
			saw_eof(io);
			return;
		}
		total += (size_t)n;
		deliver(io, (size_t)n);
		if ((size_t)n < SCRATCH)
			return;
	}
}

static void read_tls(struct http_io *io)
{
	size_t total = 0;
	while (io->reading && !io->closed && !io->broken) {
		if (total >= READ_TURN) {
			loop_defer(io->loop, &io->again); /* OpenSSL may hold more than the socket tells */
			return;
		}
		/* A record at a time fills the scratch, so that a body of many records is few callbacks. */
		size_t have = 0;
		ptrdiff_t n = 0;
		struct err why = ERR_INIT;
		while (SCRATCH - have >= RECORD) {
			n = tls_read(io->tls, areas->scratch + have, SCRATCH - have, &why);
			if (n <= 0)
				break;
			have += (size_t)n;
		}
		total += have;
		if (have)
			deliver(io, have);
		if (n > 0)
			continue;
		if (n == TLS_WANT_READ || n == TLS_WANT_WRITE)
			return;
		if (io->closed) {
			err_done(&why);
			return;
		}
		if (n == 0)
			saw_eof(io);
		else
			broke(io, &why);
		return;
	}
}

static void io_read(struct http_io *io)
{
	if (io->tls)
		read_tls(io);
	else
		read_plain(io);
}

static void io_ready(struct loop_fd *f, unsigned events)
{
	areas_need();
	struct http_io *io = container_of(f, struct http_io, fd);
	if (events & LOOP_WRITE) {
		io->blocked = false;
		http_io_flush(io);
	}
	if (events & (LOOP_READ | LOOP_HUP))
		io->dry = false;
	if (io->handshaking) {
		if (io->tls && events & (LOOP_READ | LOOP_HUP))
			handshake(io);
		else
			want_update(io);
		return;
	}
	if (events & LOOP_READ && io->reading && !io->opening)
		io_read(io);
	if (io->closed)
		return;
	if (events & LOOP_HUP && !io->reading) {
		/* Not reading, but the peer went: whoever waits for it should know. What it sent before stays readable. */
		io->hup_seen = true;
		char one;
		if (recv(io->sock, &one, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != EINTR)
			broke_sys(io, errno, "connection");
		else if (!io->eof_seen && !io->discarding)
			io->ops->eof(io);
		if (io->closed)
			return;
	}
	want_update(io);
}

static void io_again(struct loop_task *t)
{
	areas_need();
	struct http_io *io = container_of(t, struct http_io, again);
	if (io->closed)
		return;
	if (io->broken) {
		if (io->discarding) {
			http_io_close(io, io->on_closed);
			return;
		}
		struct err why = ERR_INIT;
		err_move(&why, &io->why);
		io->ops->failed(io, &why);
		err_done(&why);
		return;
	}
	if (io->handshaking) {
		handshake(io);
		return;
	}
	if (io->opening) {
		io->opening = false;
		io->ops->opened(io);
		if (io->closed)
			return;
	}
	if (io->reading && !io->eof_seen && io->sock >= 0)
		io_read(io);
	want_update(io);
}

void http_io_read_start(struct http_io *io)
{
	if (io->reading)
		return;
	io->reading = true;
	if (io->tls && !io->handshaking)
		loop_defer(io->loop, &io->again); /* what OpenSSL holds makes no socket readable */
	want_update(io);
}

void http_io_background(struct http_io *io, bool background)
{
	if (!io->closed && io->sock >= 0)
		loop_fd_background(&io->fd, background);
}

void http_io_read_stop(struct http_io *io)
{
	io->reading = false;
	want_update(io);
}

/* ---- out ---- */

void http_io_flush(struct http_io *io)
{
	if (!io->closed && !io->broken)
		loop_at_commit(io->loop, &io->flush);
}

/* Sends; returns what the kernel took, or -1 after a failure. */
static ptrdiff_t kernel_send(struct http_io *io, const struct msghdr *msg)
{
	ssize_t n = sendmsg(io->sock, msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR) {
			io->blocked = true;
			return 0;
		}
		broke_sys(io, errno, "writing");
		return -1;
	}
	if (n > 0)
		io->progress_ms = loop_now_ms(io->loop);
	return n;
}

static ptrdiff_t kernel_send_span(struct http_io *io, const char *data, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)data, len };
	return kernel_send(io, &(struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 });
}

static void flush_plain(struct http_io *io)
{
	size_t total = 0;
	while (io->out.len && !io->blocked) {
		struct iovec iov[VECTORS];
		unsigned n = http_out_peek(&io->out, iov, VECTORS);
		size_t asked = 0;
		for (unsigned i = 0; i < n; i++)
			asked += iov[i].iov_len;
		ptrdiff_t sent = kernel_send(io, &(struct msghdr){ .msg_iov = iov, .msg_iovlen = n });
		if (sent < 0)
			return;
		http_out_drop(&io->out, (size_t)sent);
		if ((size_t)sent < asked)
			io->blocked = true;
		total += (size_t)sent;
		if (total >= SEND_TURN && io->out.len) {
			http_io_flush(io); /* others have their turn first */
			return;
		}
	}
}

/* Sends the kept ciphertext; true when none is left. */
static bool flush_cipher(struct http_io *io)
{
	while (io->cipher_sent < io->cipher_len && !io->blocked) {
		ptrdiff_t n = kernel_send_span(io, io->cipher + io->cipher_sent, io->cipher_len - io->cipher_sent);
		if (n < 0)
			return false;
		io->cipher_sent += (size_t)n;
	}
	if (io->cipher_sent < io->cipher_len)
		return false;
	free(io->cipher);
	io->cipher = NULL;
	io->cipher_len = io->cipher_sent = 0;
	return true;
}

/* Sends the batch; what the kernel leaves goes to cipher (which is empty: invariant 2). */
static bool flush_batch(struct http_io *io)
{
	size_t sent = 0;
	while (sent < areas->batch.len && !io->blocked && !io->broken) {
		ptrdiff_t n = kernel_send_span(io, areas->batch.data + sent, areas->batch.len - sent);
		if (n < 0)
			break;
		sent += (size_t)n;
		if (sent < areas->batch.len && n)
			io->blocked = true;
	}
	size_t left = areas->batch.len - sent;
	areas->batch.len = 0;
	if (!left || io->broken)
		return !io->broken;
	char *both = mem_alloc(left + io->cipher_len);
	memcpy(both, areas->batch.data + sent, left);
	if (io->cipher_len)
		memcpy(both + left, io->cipher, io->cipher_len);
	free(io->cipher);
	io->cipher = both;
	io->cipher_len += left;
	return false;
}

static void flush_tls(struct http_io *io)
{
	if (!flush_cipher(io) || io->handshaking)
		return;
	size_t total = 0;
	areas->batch.user = io;
	areas->batch.len = 0;
	struct err why = ERR_INIT;
	bool more = true;
	while (more && !io->broken) {
		while (io->out.len && areas->batch.len < BATCH && !io->cipher_len) {
			const struct http_seg *first = &io->out.segs[io->out.head];
			const char *data = first->ptr;
			size_t len = MIN(first->len, (size_t)RECORD);
			if (len < RECORD && io->out.n > 1) {
				len = http_out_gather(&io->out, areas->record, RECORD);
				data = areas->record;
			}
			ptrdiff_t n = tls_write(io->tls, data, len, &why);
			if (n <= 0)
				goto failed;
			http_out_drop(&io->out, (size_t)n);
			total += (size_t)n;
		}
		more = false;
		if (!io->out.len && io->ending && !io->ended) {
			io->ended = true;
			if (tls_end(io->tls, &why) < 0)
				goto failed;
		}
		if (areas->batch.len && !flush_batch(io))
			break;
		if (io->out.len) {
			if (total >= SEND_TURN)
				http_io_flush(io);
			else
				more = !io->blocked;
		}
	}
	areas->batch.user = NULL;
	return;
failed:
	areas->batch.user = NULL;
	(void)flush_batch(io);
	broke(io, &why);
}

static void io_flush(struct loop_task *t)
{
	areas_need();
	struct http_io *io = container_of(t, struct http_io, flush);
	if (io->closed || io->broken)
		return;
	if (io->sock < 0) { /* memory: it is as if the peer took all */
		http_out_drop(&io->out, io->out.len);
		io->ops->sent(io);
		return;
	}
	uint64_t before = io->out.taken;
	size_t cipher_before = io->cipher_len;
	bool ended_before = io->ended;
	if (!io->blocked) {
		if (io->tls)
			flush_tls(io);
		else
			flush_plain(io);
	}
	if (!io->broken && io->ending && !http_io_queued(io) && (!io->tls || io->ended)) {
		if (!io->ended || io->tls) {
			io->ended = true;
			(void)shutdown(io->sock, SHUT_WR); /* fails only when the peer is gone: reading tells */
		}
		if (io->discarding && io->eof_seen) {
			http_io_close(io, io->on_closed);
			return;
		}
	}
	want_update(io);
	if (!io->discarding && !io->broken &&
		(io->out.taken != before || (cipher_before && !io->cipher_len) || io->ended != ended_before))
		io->ops->sent(io);
}

void http_io_end(struct http_io *io)
{
	io->ending = true;
	http_io_flush(io);
}

/* ---- closing ---- */

static void fd_closed(struct loop_fd *f)
{
	struct http_io *io = container_of(f, struct http_io, fd);
	if (io->on_closed)
		io->on_closed(io);
}

static void memory_closed(struct loop_task *t)
{
	struct http_io *io = container_of(t, struct http_io, again);
	if (io->on_closed)
		io->on_closed(io);
}

void http_io_close(struct http_io *io, void (*closed)(struct http_io *io))
{
	if (io->closed) {
		io->on_closed = closed;
		if (io->moved) { /* nothing is left to close */
			io->moved = false;
			loop_task_init(&io->again, memory_closed);
			loop_at_commit(io->loop, &io->again);
		}
		return;
	}
	io->closed = true;
	io->on_closed = closed;
	loop_task_cancel(&io->flush);
	loop_task_cancel(&io->again);
	loop_timer_stop(&io->linger);
	tls_conn_free(io->tls);
	io->tls = NULL;
	http_out_done(&io->out);
	free(io->cipher);
	io->cipher = NULL;
	io->cipher_len = io->cipher_sent = 0;
	err_done(&io->why);
	if (io->sock < 0) {
		loop_task_init(&io->again, memory_closed);
		loop_at_commit(io->loop, &io->again);
		return;
	}
	loop_fd_close(&io->fd, fd_closed);
	fd_close(&io->sock);
}

static void linger_over(struct loop_timer *t)
{
	struct http_io *io = container_of(t, struct http_io, linger);
	http_io_close(io, io->on_closed);
}

void http_io_close_gently(struct http_io *io, unsigned ms, void (*closed)(struct http_io *io))
{
	if (io->closed || io->broken || io->sock < 0 || io->handshaking) {
		http_io_close(io, closed);
		return;
	}
	io->on_closed = closed;
	io->discarding = true;
	io->ending = true;
	io->linger.background = true;
	loop_timer_start(&io->linger, ms);
	http_io_flush(io);
	http_io_read_start(io);
}

int http_io_move(struct http_io *to, struct http_io *from, const char *name, const struct http_io_ops *ops,
	struct err *err)
{
	assert(!from->closed && !from->handshaking && from->sock >= 0);
	io_init(to, from->loop, name, ops);
	int sock = from->sock;
	/* The old watch ends before the new one begins: one descriptor, one watch. */
	loop_fd_close(&from->fd, NULL);
	loop_task_cancel(&from->flush);
	loop_task_cancel(&from->again);
	loop_timer_stop(&from->linger);
	from->sock = -1;
	from->closed = from->moved = true;
	int rc = loop_fd_open(&to->fd, to->loop, name, sock, io_ready, err);
	to->sock = sock;
	to->tls = from->tls;
	from->tls = NULL;
	if (to->tls) {
		struct tls_io t = { tls_recv, tls_send, to };
		tls_io_set(to->tls, &t);
	}
	to->out = from->out;
	from->out = (struct http_out){ .taken = to->out.taken };
	to->cipher = from->cipher;
	to->cipher_len = from->cipher_len;
	to->cipher_sent = from->cipher_sent;
	from->cipher = NULL;
	from->cipher_len = from->cipher_sent = 0;
	to->eof_seen = from->eof_seen;
	to->broken = from->broken;
	to->why = from->why;
	from->why = (struct err)ERR_INIT;
	if (rc < 0)
		return rc;
	if (http_io_queued(to))
		http_io_flush(to);
	if (to->broken)
		loop_defer(to->loop, &to->again);
	want_update(to);
	return 0;
}
