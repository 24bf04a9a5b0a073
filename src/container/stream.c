/* Attached clients: one connection to the monitor each, so that a slow one holds up itself alone, and its own standard input. */
#include <errno.h>
#include <fcntl.h>

#include "container/private.h"

#define INPUT_MAX 65536
#define PATIENCE_MS 60000

static void want(struct container_stream *s)
{
	if (s->sock_ >= 0)
		loop_fd_want(&s->fd_, (s->paused_ ? 0U : (unsigned)LOOP_READ) | (s->input_.len ||
			s->input_end_ ? (unsigned)LOOP_WRITE : 0U));
}

static void finish(struct container_stream *s, const struct err *err)
{
	if (s->finished_ || s->closing_)
		return;
	s->finished_ = true;
	list_remove(&s->link_);
	s->of_ = NULL;
	buf_done(&s->input_);
	if (s->sock_ >= 0)
		loop_fd_want(&s->fd_, 0);
	s->ended(s, err);
}

static void input_flush(struct container_stream *s)
{
	size_t was = s->input_.len;
	while (s->input_.len) {
		auto_err struct err err = ERR_INIT;
		struct span piece = span_sub(buf_span(&s->input_), 0, MONITOR_INPUT_MAX);
		if (monitor_send(s->sock_, MONITOR_STDIN, 0, 0, 0, piece, &err) < 0) {
			if (err.errnum != EAGAIN) /* the end comes as such */
				buf_trunc(&s->input_, 0);
			break;
		}
		buf_shift(&s->input_, piece.len);
	}
	if (!s->input_.len && s->input_end_ && s->stays_) {
		finish(s, NULL);
		return;
	}
	if (!s->input_.len && s->input_end_ && monitor_send(s->sock_, MONITOR_CLOSE_STDIN, 1, 0, 0, SPAN_EMPTY, NULL) == 0)
		s->input_end_ = false;
	want(s);
	if (was == INPUT_MAX && s->input_.len < INPUT_MAX && s->writable && !s->finished_)
		s->writable(s);
}

static void on_socket(struct loop_fd *f, unsigned events)
{
	struct container_stream *s = container_of(f, struct container_stream, fd_);
	if ((events & LOOP_WRITE) && !s->finished_ && (s->input_.len || s->input_end_))
		input_flush(s);
	for (int i = 0; i < 16 && (events & LOOP_READ) && !s->paused_ && !s->finished_ && !s->closing_; i++) {
		auto_err struct err err = ERR_INIT;
		char payload[MONITOR_LINE];
		struct monitor_head h;
		int rc = monitor_recv(s->sock_, &h, payload, sizeof(payload), NULL, 0, NULL, &err);
		if (rc < 0 && err.errnum == EAGAIN)
			return;
		if (rc < 0) {
			finish(s, rc == -ERR_GONE || err.errnum == ECONNRESET ? NULL : &err);
			return;
		}
		if (h.op == MONITOR_OUTPUT)
			s->output(s, h.a, span_make(payload, h.len));
	}
}

int container_stream_attach(struct container_stream *s, int sock, struct err *err)
{
	int rc = loop_fd_open(&s->fd_, s->engine_->o.loop, "container stream", sock, on_socket, err);
	if (rc < 0) {
		close(sock);
		finish(s, err);
		return rc;
	}
	s->sock_ = sock;
	s->started_ = true;
	want(s);
	return 0;
}

void container_stream_init(struct container_stream *s, struct container_engine *e, void *of, struct list *among)
{
	s->engine_ = e;
	s->of_ = of;
	s->sock_ = -1;
	s->paused_ = s->finished_ = s->started_ = s->input_end_ = s->closing_ = false;
	s->input_ = (struct buf){};
	s->stays_ = false;
	list_init(&s->link_);
	if (among)
		list_push(among, &s->link_);
}

void container_streams_fail(struct list *streams, const struct err *err)
{
	LIST_EACH (streams, s, struct container_stream, link_)
		if (!s->started_)
			finish(s, err);
}

void container_streams_part(struct list *streams)
{
	LIST_EACH (streams, s, struct container_stream, link_) {
		list_remove(&s->link_);
		s->of_ = NULL;
	}
}

void container_streams_abandon(struct list *streams)
{
	LIST_EACH (streams, s, struct container_stream, link_) {
		list_remove(&s->link_);
		buf_done(&s->input_);
	}
}

unsigned container_stream_takes(const struct container_stream *s)
{
	return (s->stdin_ ? MONITOR_TAKE_STDIN : 0U) | (s->stdout_ ? MONITOR_TAKE_STDOUT : 0U) |
	       (s->stderr_ ? MONITOR_TAKE_STDERR : 0U);
}

int container_attach(struct container_engine *e, struct span name, struct container_stream *s, struct err *err)
{
	struct container *c = container_get(e, name, err);
	if (!c)
		return err && err->class ? -(int)err->class : -ERR_NOT_FOUND;
	if (c->status == STATUS_PAUSED)
		return err_set(err, ERR_IN_USE, "container %s is paused, unpause the container before attach", c->id);
	if (c->status == STATUS_RESTARTING)
		return err_set(err, ERR_IN_USE, "container %s is restarting, wait until the container is running", c->id);
	if (c->status != STATUS_RUNNING || c->ending) {
		container_stream_init(s, e, c, &c->streams);
		s->stays_ = !container_truth(c->config, "StdinOnce");
		return 0;
	}
	auto_arena struct arena a = {};
	auto_fd int dir = open(container_path(&a, c, "state"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "the monitor's folder");
	auto_fd int sock = monitor_connect(dir, err);
	if (sock < 0)
		return sock;
	int rc = monitor_send(sock, MONITOR_ATTACH, 1, (int)container_stream_takes(s), PATIENCE_MS, SPAN_EMPTY, err);
	if (rc < 0)
		return rc;
	container_stream_init(s, e, c, &c->streams);
	s->stays_ = !container_truth(c->config, "StdinOnce");
	rc = loop_fd_open(&s->fd_, e->o.loop, "container stream", sock, on_socket, err);
	if (rc < 0) {
		list_remove(&s->link_);
		return rc;
	}
	s->sock_ = take_fd(&sock);
	s->started_ = true;
	want(s);
	return 0;
}

size_t container_stream_write(struct container_stream *s, struct span data)
{
	if (s->finished_ || s->closing_)
		return data.len; /* nobody reads it any more */
	size_t n = MIN(data.len, INPUT_MAX - s->input_.len);
	buf_add(&s->input_, data.ptr, n);
	want(s);
	return n;
}

void container_stream_write_end(struct container_stream *s)
{
	if (s->finished_ || s->closing_)
		return;
	s->input_end_ = true;
	want(s);
}

void container_stream_pause(struct container_stream *s)
{
	s->paused_ = true;
	want(s);
}

void container_stream_resume(struct container_stream *s)
{
	s->paused_ = false;
	if (!s->finished_)
		want(s);
}

static void gone(struct container_stream *s)
{
	if (s->closed)
		s->closed(s);
}

static void fd_gone(struct loop_fd *f)
{
	struct container_stream *s = container_of(f, struct container_stream, fd_);
	struct container_engine *e = s->engine_;
	gone(s);
	container_busy(e, -1);
}

static void task_gone(struct loop_task *t)
{
	struct container_stream *s = container_of(t, struct container_stream, task_);
	struct container_engine *e = s->engine_;
	gone(s);
	container_busy(e, -1);
}

void container_stream_close(struct container_stream *s, void (*closed)(struct container_stream *s))
{
	if (s->closing_)
		return;
	s->closing_ = true;
	s->closed = closed;
	if (s->of_ && !s->started_)
		container_start_forget(s->of_, s);
	list_remove(&s->link_);
	buf_done(&s->input_);
	container_busy(s->engine_, 1);
	if (s->sock_ >= 0) {
		loop_fd_close(&s->fd_, fd_gone);
		fd_close(&s->sock_);
		return;
	}
	loop_task_init(&s->task_, task_gone);
	loop_defer(s->engine_->o.loop, &s->task_);
}
