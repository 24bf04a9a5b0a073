/* A connection that HTTP has left. Both sides of HTTP make one from their transport. */
#include "http/http_impl.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { CLOSE_MS = 5000, HOLD_STEP_MS = 1 };

struct http_duplex {
	struct http_io io;
	const struct http_duplex_ops *ops;
	void *arg;
	struct buf held;       /* bytes that came before ops were set, or while paused */
	size_t queue_bytes;
	struct buf late;       /* written while `holding` */
	struct loop_timer hold;
	int64_t hold_until_ms;
	struct loop_task step; /* deferred: what the owner asked for */
	struct err why;
	bool paused, above, eof, end_told, closing, gently, failed, holding;
};

static void gone(struct http_io *io)
{
	struct http_duplex *d = container_of(io, struct http_duplex, io);
	loop_task_cancel(&d->step);
	loop_timer_stop(&d->hold);
	if (d->ops && d->ops->closed)
		d->ops->closed(d, d->failed ? &d->why : NULL, d->arg);
	err_done(&d->why);
	buf_done(&d->held);
	buf_done(&d->late);
	free(d);
}

static void step(struct loop_task *t)
{
	struct http_duplex *d = container_of(t, struct http_duplex, step);
	if (d->closing) {
		if (d->gently && d->late.len && !d->io.broken && !d->io.closed)
			return; /* release() comes back */
		if (d->gently)
			http_io_close_gently(&d->io, CLOSE_MS, gone);
		else
			http_io_close(&d->io, gone);
		return;
	}
	if (!d->ops)
		return;
	if (d->held.len && !d->paused) {
		struct buf held = d->held;
		d->held = (struct buf){};
		d->ops->data(d, buf_span(&held), d->arg);
		buf_done(&held);
		if (d->closing)
			return; /* deferred again */
	}
	if (d->paused || d->held.len)
		return;
	if (d->eof && !d->end_told) {
		d->end_told = true;
		if (d->ops->end)
			d->ops->end(d, d->arg);
	}
	if (!d->eof && !d->closing)
		http_io_read_start(&d->io);
}

static void later(struct http_duplex *d)
{
	loop_defer(d->io.loop, &d->step);
}

static void dup_opened(struct http_io *io)
{
	(void)io; /* it was open before it came here */
}

static void dup_data(struct http_io *io, struct span data)
{
	struct http_duplex *d = container_of(io, struct http_duplex, io);
	if (d->closing)
		return;
	if (d->paused || d->held.len || !d->ops) {
		buf_span_add(&d->held, data);
		http_io_read_stop(io);
		return;
	}
	d->ops->data(d, data, d->arg);
	if (d->paused)
		http_io_read_stop(io);
}

static void both_ended(struct http_duplex *d)
{
	if (d->end_told && d->io.ended && !http_duplex_queued(d) && !d->closing) {
		d->closing = true;
		later(d);
	}
}

static void dup_eof(struct http_io *io)
{
	struct http_duplex *d = container_of(io, struct http_duplex, io);
	d->eof = io->eof_seen; /* a hang-up while paused is found again by reading */
	if (!d->eof && d->paused && d->ops && d->ops->hangup && !d->closing)
		d->ops->hangup(d, d->arg);
	if (d->eof && !d->held.len && !d->paused && d->ops && !d->end_told) {
		d->end_told = true;
		if (d->ops->end)
			d->ops->end(d, d->arg);
	}
	both_ended(d);
}

static void dup_sent(struct http_io *io)
{
	struct http_duplex *d = container_of(io, struct http_duplex, io);
	size_t queued = http_duplex_queued(d);
	if (d->above && queued <= d->queue_bytes / 2) {
		d->above = false;
		if (d->ops && d->ops->drain && !d->closing)
			d->ops->drain(d, d->arg);
	}
	both_ended(d);
}

static void dup_failed(struct http_io *io, const struct err *why)
{
	struct http_duplex *d = container_of(io, struct http_duplex, io);
	if (!d->failed) {
		d->failed = true;
		err_set(&d->why, why->class, "%s", err_msg(why));
		d->why.errnum = why->errnum;
	}
	http_io_close(io, gone);
}

static const struct http_io_ops duplex_ops = { dup_opened, dup_data, dup_eof, dup_sent, dup_failed };

/* ---- holding */

/* Of what was written the other side has not read everything: our queue, then the kernel's. */
static bool is_unread(const struct http_duplex *d)
{
	int n = 0;
	return http_io_queued(&d->io) || (ioctl(d->io.sock, SIOCOUTQ, &n) == 0 && n > 0);
}

static void release(struct http_duplex *d)
{
	d->holding = false;
	loop_timer_stop(&d->hold);
	if (d->late.len && !d->io.broken && !d->io.closed) {
		http_out_add(&d->io.out, http_copy(buf_span(&d->late)));
		http_io_flush(&d->io);
	}
	buf_done(&d->late);
	if (d->closing)
		later(d);
}

static void hold_due(struct loop_timer *t)
{
	struct http_duplex *d = container_of(t, struct http_duplex, hold);
	if (!d->io.broken && !d->io.closed && loop_now_ms(d->io.loop) < d->hold_until_ms && is_unread(d))
		loop_timer_start(&d->hold, HOLD_STEP_MS);
	else
		release(d);
}

void http_duplex_hold(struct http_duplex *d, unsigned ms)
{
	int domain = 0;
	socklen_t len = sizeof(domain);
	if (d->io.closed || d->io.tls || getsockopt(d->io.sock, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 || domain != AF_UNIX)
		return;
	d->holding = true;
	d->hold_until_ms = loop_now_ms(d->io.loop) + ms;
}

int http_duplex_new(struct http_io *from, size_t queue_bytes, struct http_duplex **out, struct err *err)
{
	struct http_duplex *d = mem_new(struct http_duplex);
	d->queue_bytes = queue_bytes;
	loop_task_init(&d->step, step);
	loop_timer_init(&d->hold, from->loop, "hijacked connection, held", hold_due);
	int rc = http_io_move(&d->io, from, "hijacked connection", &duplex_ops, err);
	/* Even a transport that could not be watched anew is the duplex's now: it ends at once. */
	if (rc < 0) {
		d->closing = true;
		later(d);
	}
	*out = d;
	return 0;
}

void http_duplex_held_add(struct http_duplex *d, struct span data)
{
	buf_span_add(&d->held, data);
	if (data.len)
		later(d);
}

void http_duplex_ops_set(struct http_duplex *d, const struct http_duplex_ops *ops, void *arg)
{
	d->ops = ops;
	d->arg = arg;
	later(d);
}

void http_duplex_write(struct http_duplex *d, struct http_piece piece)
{
	assert(!d->io.ending);
	if (d->closing || d->io.broken || d->io.closed) {
		bytes_unref(piece.bytes);
		return;
	}
	if (d->holding && !d->late.len && !is_unread(d))
		d->holding = false; /* as a rule: it is read before there is anything to follow */
	if (d->holding) {
		buf_span_add(&d->late, piece.data);
		bytes_unref(piece.bytes);
		if (!loop_timer_running(&d->hold))
			loop_timer_start(&d->hold, HOLD_STEP_MS);
	} else {
		http_out_add(&d->io.out, piece);
		http_io_flush(&d->io);
	}
	if (http_duplex_queued(d) > d->queue_bytes)
		d->above = true;
}

size_t http_duplex_queued(const struct http_duplex *d)
{
	return http_io_queued(&d->io) + d->late.len;
}

void http_duplex_pause(struct http_duplex *d)
{
	d->paused = true;
	if (!d->io.closed)
		http_io_read_stop(&d->io);
}

void http_duplex_resume(struct http_duplex *d)
{
	d->paused = false;
	later(d);
}

void http_duplex_end(struct http_duplex *d)
{
	if (d->holding)
		release(d);
	if (!d->io.closed)
		http_io_end(&d->io);
}

void http_duplex_close(struct http_duplex *d)
{
	if (d->closing)
		return;
	d->closing = d->gently = true;
	later(d);
}

void http_duplex_abort(struct http_duplex *d)
{
	d->closing = true;
	d->gently = false;
	later(d);
}

struct loop *http_duplex_loop(const struct http_duplex *d)
{
	return d->io.loop;
}
