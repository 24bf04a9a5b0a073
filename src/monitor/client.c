/* Connections to a monitor: requests, and what is sent to who attached.
 *
 * A connection is watched for reading unless it has taken STDIN while the container does not take its input, or an answer is
 * owed to it; and for writing while it is stuck. When neither holds it is not watched at all.
 *
 * Output and answers share a connection's queue. Who attached with patience may leave it full for that long and still close
 * its input: the answer waits like the output does. Who is not behind with output has room for answers, or does not read them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor/run.h"
#include "sys/sys.h"

#define TAKE_OUTPUT (MONITOR_TAKE_STDOUT | MONITOR_TAKE_STDERR)

bool monitor_client_is_stuck(const struct client *c)
{
	return c->stuck[0] || c->stuck[1] || c->owed.op;
}

void monitor_client_arm(struct run *m, struct client *c)
{
	bool held = (c->takes & MONITOR_TAKE_STDIN) && m->input_len;
	if (c->fd >= 0)
		monitor_run_arm(c->fd, (enum source)(SOURCE_CLIENT + (c - m->clients)), &c->armed,
				(held || c->owed.op ? 0 : EPOLLIN) | (monitor_client_is_stuck(c) ? EPOLLOUT : 0));
}

static void unstick(struct run *m, struct client *c, int i)
{
	struct stream *s = &m->streams[i];
	if (!c->stuck[i])
		return;
	c->stuck[i] = false;
	if (--s->stuck == 0 && s->fd >= 0)
		monitor_run_arm(s->fd, SOURCE_STREAM + i, &s->armed, EPOLLIN);
}

void monitor_client_drop(struct run *m, struct client *c)
{
	if (c->fd < 0)
		return;
	unstick(m, c, 0);
	unstick(m, c, 1);
	monitor_run_arm(c->fd, (enum source)(SOURCE_CLIENT + (c - m->clients)), &c->armed, 0);
	fd_close(&c->fd);
	if (c->is_control && m->later)
		monitor_run_unwanted(m);
	bool took = c->takes & MONITOR_TAKE_STDIN;
	*c = (struct client){ .fd = -1 };
	if (took && (m->spawn->flags & MONITOR_STDIN_ONCE) && !(m->spawn->flags & MONITOR_TERMINAL))
		monitor_input_close(m);
}

struct client *monitor_client_add(struct run *m, int fd)
{
	for (unsigned i = 0; i < MONITOR_CLIENTS_MAX; i++) {
		struct client *c = &m->clients[i];
		if (c->fd < 0) {
			*c = (struct client){ .fd = fd };
			monitor_client_arm(m, c);
			return c;
		}
	}
	return NULL;
}

static ssize_t send_packet(int fd, enum monitor_op op, uint16_t tag, int a, int b, struct span payload, const int *fds,
			   unsigned n_fds)
{
	struct monitor_head h = { .version = MONITOR_VERSION,
				  .op = (uint8_t)op,
				  .tag = tag,
				  .a = a,
				  .b = b,
				  .len = (uint32_t)payload.len };
	return monitor_msg_send(fd, &h, payload, fds, n_fds, MSG_DONTWAIT);
}

bool monitor_client_say(struct run *m, struct client *c, enum monitor_op op, uint16_t tag, int a, int b,
			struct span payload)
{
	if (send_packet(c->fd, op, tag, a, b, payload, NULL, 0) >= 0)
		return true;
	monitor_client_drop(m, c); /* gone, or it does not read its answers */
	return false;
}

static bool say_text(struct run *m, struct client *c, uint16_t tag, enum err_class class, int errnum, const char *text)
{
	return monitor_client_say(m, c, MONITOR_ERROR, tag, (int)class, errnum,
				  span_sub(span_of(text), 0, MONITOR_TEXT_MAX - 1));
}

/* It waits when the queue is full of output; an ERROR's text is then cut. */
static void answer(struct run *m, struct client *c, enum monitor_op op, uint16_t tag, int class, int errnum, const char *text)
{
	struct monitor_state state;
	struct span payload = span_sub(span_of(text), 0, MONITOR_TEXT_MAX - 1);
	if (op == MONITOR_STATE) {
		monitor_run_state_fill(m, &state);
		payload = span_make(&state, sizeof(state));
	}
	if (send_packet(c->fd, op, tag, class, errnum, payload, NULL, 0) >= 0)
		return;
	if ((errno != EAGAIN && errno != ENOBUFS) || !c->patience_ms) {
		monitor_client_drop(m, c); /* gone, or it does not read its answers */
		return;
	}
	if (!monitor_client_is_stuck(c))
		c->stuck_until_ms = monitor_run_ms() + c->patience_ms;
	c->owed = (struct owed){ .op = (uint8_t)op, .tag = tag, .class = class, .errnum = errnum };
	snprintf(c->owed.text, sizeof(c->owed.text), "%s", text);
	monitor_client_arm(m, c);
}

static void answer_err(struct run *m, struct client *c, uint16_t tag, const struct err *err)
{
	answer(m, c, MONITOR_ERROR, tag, (int)err->class, err->errnum, err_msg(err));
}

static void answer_again(struct run *m, struct client *c)
{
	struct owed o = c->owed;
	int64_t until_ms = c->stuck_until_ms;
	if (!o.op)
		return;
	c->owed.op = 0;
	answer(m, c, (enum monitor_op)o.op, o.tag, o.class, o.errnum, o.text);
	if (c->owed.op)
		c->stuck_until_ms = until_ms;
}

void monitor_client_accept(struct run *m)
{
	for (;;) {
		auto_fd int fd = accept4(m->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		if (monitor_client_add(m, fd)) {
			(void)take_fd(&fd);
		} else {
			(void)send_packet(fd, MONITOR_ERROR, 0, ERR_TOO_MANY, 0,
					  SPAN("too many connections to this monitor"), NULL,
					  0); /* it is closed either way */
		}
	}
}

/* ---- output */

/* True when the piece is with the client or will never be. */
static bool output_send(struct run *m, struct client *c, int i)
{
	const struct stream *s = &m->streams[i];
	if (send_packet(c->fd, MONITOR_OUTPUT, 0, i + 1, 0, span_make(s->log.line + s->piece, s->piece_len), NULL,
			0) >= 0)
		return true;
	if (errno == EAGAIN || errno == ENOBUFS)
		return false;
	/* It left. What it sent before (input) may still be read; the end is found there. */
	c->takes &= ~(unsigned)TAKE_OUTPUT;
	return true;
}

void monitor_client_output(struct run *m, int i)
{
	for (unsigned k = 0; k < MONITOR_CLIENTS_MAX; k++) {
		struct client *c = &m->clients[k];
		if (c->fd < 0 || !(c->takes & (unsigned)(MONITOR_TAKE_STDOUT << i)) || output_send(m, c, i))
			continue;
		if (!c->patience_ms) {
			monitor_client_drop(m, c);
			continue;
		}
		if (!monitor_client_is_stuck(c))
			c->stuck_until_ms = monitor_run_ms() + c->patience_ms;
		c->stuck[i] = true;
		m->streams[i].stuck++;
		monitor_client_arm(m, c);
	}
}

static void output_again(struct run *m, struct client *c)
{
	for (int i = 0; i < 2; i++)
		if (c->stuck[i] && output_send(m, c, i))
			unstick(m, c, i);
	answer_again(m, c);
	monitor_client_arm(m, c);
}

void monitor_client_patience(struct run *m, int64_t now_ms)
{
	for (unsigned k = 0; k < MONITOR_CLIENTS_MAX; k++)
		if (m->clients[k].fd >= 0 && monitor_client_is_stuck(&m->clients[k]) && m->clients[k].stuck_until_ms <= now_ms)
			monitor_client_drop(m, &m->clients[k]);
}

/* ---- words about the container */

void monitor_client_waits_answer(struct run *m)
{
	for (unsigned k = 0; k < MONITOR_CLIENTS_MAX; k++) {
		struct client *c = &m->clients[k];
		if (c->fd < 0 || !c->waits || monitor_client_is_stuck(c) ||
		    ((c->takes & TAKE_OUTPUT) && !monitor_run_streams_done(m)))
			continue;
		c->waits = false;
		answer(m, c, MONITOR_STATE, c->wait_tag, 0, 0, "");
	}
}

void monitor_client_started(struct run *m)
{
	for (unsigned k = 0; k < MONITOR_CLIENTS_MAX; k++) {
		struct client *c = &m->clients[k];
		if (c->fd >= 0 && c->is_control &&
		    !monitor_client_say(m, c, MONITOR_STARTED, 0, m->pid, m->phase == MONITOR_CREATED,
			    span_make((const char *)&m->end.started_ns, sizeof(m->end.started_ns))))
			continue;
		if (c->fd >= 0 && c->starts && m->phase == MONITOR_RUNNING) {
			c->starts = false;
			answer(m, c, MONITOR_STATE, c->start_tag, 0, 0, "");
		}
	}
}

void monitor_client_oom(struct run *m, uint64_t kills)
{
	for (unsigned k = 0; k < MONITOR_CLIENTS_MAX; k++) {
		struct client *c = &m->clients[k];
		if (c->fd >= 0 && (c->is_control || c->waits))
			(void)monitor_client_say(m, c, MONITOR_OOM, 0, (int)MIN(kills, (uint64_t)INT32_MAX), 0,
						 SPAN_EMPTY); /* or it is gone */
	}
}

void monitor_client_rotated(struct run *m)
{
	bool told = false;
	for (unsigned k = 0; k < MONITOR_CLIENTS_MAX && m->log.rotated; k++) {
		struct client *c = &m->clients[k];
		if (c->fd < 0 || !c->watches_log || monitor_client_is_stuck(c))
			continue;
		c->watches_log = false;
		told = monitor_client_say(m, c, MONITOR_ROTATED, c->log_tag, 0, 0, SPAN_EMPTY) || told; /* or it is gone */
	}
	if (told)
		m->log.rotated = false;
}

void monitor_client_failed(struct run *m, enum err_class class, int errnum, const char *text)
{
	for (unsigned k = 0; k < MONITOR_CLIENTS_MAX; k++) {
		struct client *c = &m->clients[k];
		bool starts = c->starts;
		c->starts = false;
		if (c->fd >= 0 && starts && !say_text(m, c, c->start_tag, class, errnum, text))
			continue;
		if (c->fd >= 0 && c->is_control)
			(void)say_text(m, c, 0, class, errnum, text); /* or it is gone */
	}
}

/* ---- requests */

static int kill_it(struct run *m, int sig, struct err *err)
{
	if (m->phase != MONITOR_CREATED && m->phase != MONITOR_RUNNING)
		return err_set(err, ERR_NOT_FOUND, "container not running");
	if (!m->pid) { /* a held exec */
		monitor_run_failed(m, ERR_CANCELLED, 0, "ended before it was started");
		return 0;
	}
	/* Only we reap it, so the number is its own. */
	return kill(m->pid, sig) < 0 ? err_sys(err, "signal %d", sig) : 0;
}

static int resize(struct run *m, int rows, int cols, struct err *err)
{
	if (!(m->spawn->flags & MONITOR_TERMINAL))
		return err_set(err, ERR_INVALID, "the container has no terminal");
	m->rows = (uint16_t)rows;
	m->cols = (uint16_t)cols;
	struct winsize size = { .ws_row = m->rows, .ws_col = m->cols };
	if (m->terminal >= 0 && ioctl(m->terminal, TIOCSWINSZ, &size) < 0)
		return err_sys(err, "resize the terminal");
	return 0; /* before the terminal exists: it will be made like this */
}

static int attach(struct run *m, struct client *c, unsigned takes, int patience_ms, struct err *err)
{
	if (m->spawn->flags & MONITOR_STDIO)
		return err_set(err, ERR_INVALID, "the container's streams are not held by its monitor");
	if ((takes & MONITOR_TAKE_STDIN) && !(m->spawn->flags & (MONITOR_OPEN_STDIN | MONITOR_TERMINAL)))
		return err_set(err, ERR_INVALID, "the container's standard input is not open");
	c->takes = takes;
	c->patience_ms = patience_ms;
	return 0;
}

static int input_end(struct run *m, struct err *err)
{
	if (m->spawn->flags & MONITOR_TERMINAL)
		return err_set(err, ERR_INVALID, "a terminal is not closed: send its end-of-file character");
	if (m->input < 0)
		return err_set(err, ERR_GONE, "the container's standard input is closed");
	monitor_input_close(m);
	return 0;
}

static int quit(struct run *m, struct err *err)
{
	if (m->phase != MONITOR_ENDED)
		return err_set(err, ERR_IN_USE, "the container has not ended");
	m->quit = true;
	return 0;
}

static void request(struct run *m, struct client *c, const struct monitor_head *h)
{
	auto_err struct err err = ERR_INIT;
	int r = 0;
	switch ((enum monitor_op)h->op) {
	case MONITOR_STATUS: answer(m, c, MONITOR_STATE, h->tag, 0, 0, ""); return;
	case MONITOR_WAIT:
		c->waits = true;
		c->wait_tag = h->tag;
		return; /* answered at the end of this turn, if it has ended */
	case MONITOR_START:
		r = monitor_run_start(m, &err);
		if (r == 0) {
			c->starts = true;
			c->start_tag = h->tag;
			return;
		}
		break;
	case MONITOR_KILL: r = kill_it(m, h->a, &err); break;
	case MONITOR_RESIZE: r = resize(m, h->a, h->b, &err); break;
	case MONITOR_ATTACH: r = attach(m, c, (unsigned)h->a, h->b, &err); break;
	case MONITOR_DETACH:
		c->takes = 0; /* not what leaving means: standard input stays open */
		unstick(m, c, 0);
		unstick(m, c, 1);
		break;
	case MONITOR_STDIN:
		if (!(c->takes & MONITOR_TAKE_STDIN))
			r = err_set(&err, ERR_INVALID, "STDIN before ATTACH to it");
		else if (h->len && !monitor_input_take(m, h->len))
			r = err_set(&err, ERR_GONE, "the container's standard input is closed");
		if (r == 0)
			return;
		break;
	case MONITOR_CLOSE_STDIN: r = input_end(m, &err); break;
	case MONITOR_ROTATE: r = monitor_log_rotate(&m->log, &err); break;
	case MONITOR_REOPEN: r = monitor_log_reopen(&m->log, &err); break;
	case MONITOR_SOCKETS:
		if (send_packet(c->fd, MONITOR_OK, h->tag, (int)m->spawn->n_sockets, 0, SPAN_EMPTY, m->spawn->sockets,
				m->spawn->n_sockets) < 0)
			monitor_client_drop(m, c);
		return;
	case MONITOR_QUIT: r = quit(m, &err); break;
	case MONITOR_BUILD:
		r = monitor_run_build(m, &err);
		if (r == 0)
			return; /* STARTED or ERROR tells */
		break;
	case MONITOR_WATCH_LOG:
		c->watches_log = true;
		c->log_tag = h->tag;
		return; /* answered at the end of the turn in which it has */
	default: r = err_set(&err, ERR_INVALID_REQUEST, "unknown request %u", h->op); break;
	}
	if (r < 0)
		answer_err(m, c, h->tag, &err);
	else
		answer(m, c, MONITOR_OK, h->tag, 0, 0, "");
}

void monitor_client_event(struct run *m, struct client *c, uint32_t events)
{
	if (c->fd < 0)
		return;
	if (monitor_client_is_stuck(c) && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)))
		output_again(m, c);
	bool held = ((c->takes & MONITOR_TAKE_STDIN) && m->input_len) || c->owed.op;
	if (held || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
		monitor_client_arm(m, c);
		return;
	}
	struct monitor_head h;
	unsigned n_fds;
	auto_err struct err err = ERR_INIT;
	char *packet = m->input_len ? m->small : m->packet;
	size_t room = m->input_len ? sizeof(m->small) : sizeof(m->packet);
	ssize_t n = sys_message_recv(c->fd, packet, room, NULL, 0, &n_fds, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0 && errno == EMSGSIZE)
		err_set(&err, ERR_TOO_LARGE, "a packet of more than %zu bytes, or with descriptors", room);
	if (n == 0 || (n < 0 && !err.class)) {
		monitor_client_drop(m, c);
		return;
	}
	if (err.class || monitor_msg_request(packet, (size_t)n, &h, &err) < 0) {
		bool form = err.class != ERR_INVALID; /* a value that is not allowed does not break the connection */
		uint16_t tag = 0;
		if (n >= (ssize_t)sizeof(h))
			memcpy(&tag, packet + offsetof(struct monitor_head, tag), sizeof(tag));
		answer_err(m, c, tag, &err);
		if (form)
			monitor_client_drop(m, c);
		return;
	}
	request(m, c, &h);
	monitor_client_arm(m, c);
}
