/* The talk with a running container's monitor: one connection, the control socket. Decision 0895.
 *
 *     connected ──it is closed──> unheard ──the monitor's process ends──> the end: as exit.json says; without one killed, 137
 *         ^                          │ ^
 *         └── it takes a connection ─┘ └── an engine opens, and it takes none
 *
 * Unheard: as many connections as it can have wait already (it is stopped, or slow), it turned ours away, or it gave up an
 * engine that did not read. It holds the container all the same, so only its end, or its word, is the container's. A pidfd tells
 * that end; and it is tried again after REACH_MS, doubled up to REACH_MAX_MS until it has answered something.
 *
 * Invariants
 * 1. A container that is watched (container_is_watched) is connected or unheard, never both.
 * 2. What it is asked while it is unheard waits in asks, within the times of ask.c. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "container/private.h"

#define SETTLE_MS 5000
#define REACH_MS 100
#define REACH_MAX_MS 5000

enum { TAG_STATUS = CONTAINER_TAGS + 1, TAG_SOCKETS };

bool container_is_watched(const struct container *c)
{
	return c->control_sock >= 0 || c->asks.unheard;
}

int container_ask(struct container *c, struct ask *a, enum monitor_op what, int x, int y,
	void (*answer)(struct ask *a, const struct err *err), struct err *err)
{
	return container_asks_send(&c->asks, c->control_sock, a, what, x, y, answer, err);
}

/* ---- the two sources */

static void source_closed(struct container *c)
{
	struct container_engine *e = c->e;
	if (--c->sources == 0 && c->gone)
		container_free(c);
	container_busy(e, -1);
}

static void control_closed(struct loop_fd *f)
{
	source_closed(container_of(f, struct container, control));
}

static void process_closed(struct loop_fd *f)
{
	source_closed(container_of(f, struct container, process));
}

static int source_open(struct container *c, struct loop_fd *f, const char *name, int fd,
	void (*fn)(struct loop_fd *f, unsigned events), struct err *err)
{
	int rc = loop_fd_open(f, c->e->o.loop, name, fd, fn, err);
	if (rc < 0)
		return rc;
	c->sources++;
	container_busy(c->e, 1);
	loop_fd_background(f, true);
	loop_fd_want(f, LOOP_READ);
	return 0;
}

static void control_let_go(struct container *c)
{
	if (c->control_sock < 0)
		return;
	loop_fd_close(&c->control, control_closed);
	fd_close(&c->control_sock);
}

static void process_let_go(struct container *c)
{
	loop_timer_stop(&c->reach_timer);
	c->asks.unheard = false;
	if (c->process_fd < 0)
		return;
	loop_fd_close(&c->process, process_closed);
	fd_close(&c->process_fd);
}

void container_control_close(struct container *c)
{
	control_let_go(c);
	process_let_go(c);
	c->reach_ms = 0;
	c->deaf = false;
	container_asks_fail(&c->asks);
}

/* ---- unheard */

static int state_open(const struct container *c, struct err *err)
{
	auto_arena struct arena a = {};
	int dir = open(container_path(&a, c, "state"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? err_sys(err, "the monitor's folder") : dir;
}

/* Its process is no more, and what it did not tell us stands in its folder; or nowhere. */
static void process_ended(struct container *c)
{
	struct monitor_exit end;
	auto_fd int dir = state_open(c, NULL);
	if (dir < 0 || monitor_exit_recorded(dir, &end, NULL) < 0) /* killed: nobody knows how the program ends */
		end = (struct monitor_exit){ .exit_code = 128 + 9, .signal = 9, .started_ns = c->started_ns,
			.finished_ns = clock_wall_ns(clock_real()), .class = ERR_GONE };
	container_ended(c, &end);
}

static void on_process(struct loop_fd *f, unsigned events)
{
	process_ended(container_of(f, struct container, process));
}

static void reach_later(struct container *c)
{
	c->reach_ms = MIN(MAX(c->reach_ms * 2, (int64_t)REACH_MS), (int64_t)REACH_MAX_MS);
	loop_timer_start(&c->reach_timer, c->reach_ms);
}

static int process_watch(struct container *c, struct err *err)
{
	auto_fd int dir = state_open(c, err);
	auto_fd int fd = dir < 0 ? -1 : monitor_process(dir, err);
	int rc = dir < 0 ? dir : fd < 0 ? fd : source_open(c, &c->process, "container monitor", fd, on_process, err);
	if (rc == 0)
		c->process_fd = take_fd(&fd);
	return rc;
}

static int unheard_begin(struct container *c, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	int rc = process_watch(c, &why);
	if (rc == -ERR_NOT_FOUND)
		return err_set(err, ERR_GONE, "the monitor has ended");
	if (rc < 0) /* this process has no descriptor left, say: the next try looks again */
		container_warn(c->e, "a monitor that is not connected is not watched", c->id, &why);
	c->asks.unheard = true;
	reach_later(c);
	return 0;
}

static int connected(struct container *c, int sock, struct err *err);

static void reach(struct loop_timer *t)
{
	struct container *c = container_of(t, struct container, reach_timer);
	auto_fd int dir = state_open(c, NULL);
	if (c->process_fd < 0 && process_watch(c, NULL) == -ERR_NOT_FOUND) {
		process_ended(c);
		return;
	}
	int sock = dir < 0 ? -1 : monitor_connect(dir, NULL);
	if (sock < 0 || connected(c, sock, NULL) < 0) {
		reach_later(c);
		return;
	}
	process_let_go(c);
	container_asks_resend(&c->asks, c->control_sock);
	container_pack_due(c); /* its log is no longer watched for us */
}

/* ---- connected */

static void state_end(const struct monitor_state *s, struct monitor_exit *out)
{
	*out = (struct monitor_exit){ .pid = s->pid, .exit_code = s->exit_code, .signal = s->signal, .oom_kills = s->oom_kills,
		.started_ns = s->started_ns, .finished_ns = s->finished_ns,
		.class = s->class > 0 && s->class < ERR_COUNT ? (enum err_class)s->class : ERR_NONE };
	memcpy(out->error, s->error, sizeof(out->error));
	out->error[sizeof(out->error) - 1] = 0;
}

static void on_control(struct loop_fd *f, unsigned events)
{
	struct container *c = container_of(f, struct container, control);
	for (int i = 0; i < 64 && c->control_sock >= 0; i++) {
		auto_err struct err err = ERR_INIT;
		char payload[MONITOR_LINE];
		struct monitor_head h;
		struct monitor_state state;
		struct monitor_exit end;
		int sockets[MONITOR_SOCKETS_MAX];
		unsigned n = 0;
		int rc = monitor_recv(c->control_sock, &h, payload, sizeof(payload), sockets, ARRAY_LEN(sockets), &n, &err);
		if (rc < 0 && err.errnum == EAGAIN)
			return;
		if (rc < 0) { /* killed, or it has no room for us: its process knows */
			control_let_go(c);
			if (unheard_begin(c, NULL) < 0)
				process_ended(c);
			return;
		}
		if (h.tag == TAG_SOCKETS && h.op == MONITOR_OK) {
			container_net_sockets(c, sockets, n);
			continue;
		}
		for (unsigned k = 0; k < n; k++)
			close(sockets[k]); /* nobody asked for them */
		if (h.op == MONITOR_STATE && h.tag == TAG_STATUS)
			c->reach_ms = 0;
		if (h.op == MONITOR_STATE && h.tag == 0 && h.len == sizeof(state)) {
			memcpy(&state, payload, sizeof(state));
			if (state.phase != MONITOR_ENDED)
				continue;
			state_end(&state, &end);
			container_ended(c, &end);
			return;
		}
		if (h.op == MONITOR_OOM) {
			if (!c->oom)
				container_event_send(c, "oom", NULL);
			c->oom = true;
		} else if (h.op == MONITOR_ROTATED) {
			container_pack_due(c);
		} else if (h.tag && (h.op == MONITOR_OK || h.op == MONITOR_ERROR)) {
			container_asks_answer(&c->asks, &h, payload);
		}
	}
}

int container_control_open(struct container *c, int sock, struct err *err)
{
	auto_fd int control = sock;
	int rc = source_open(c, &c->control, "container control", control, on_control, err);
	if (rc == 0)
		c->control_sock = take_fd(&control);
	return rc;
}

/* A connection of ours to one that has not heard of us: whether it answers is not known yet, nor, of a deaf one, what it holds. */
static int connected(struct container *c, int sock, struct err *err)
{
	auto_fd int control = sock;
	int rc = monitor_send(control, MONITOR_WAIT, 0, 0, 0, SPAN_EMPTY, err);
	rc = rc < 0 ? rc : monitor_send(control, MONITOR_STATUS, TAG_STATUS, 0, 0, SPAN_EMPTY, err);
	rc = rc < 0 || !c->deaf ? rc : monitor_send(control, MONITOR_SOCKETS, TAG_SOCKETS, 0, 0, SPAN_EMPTY, err);
	return rc < 0 ? rc : container_control_open(c, take_fd(&control), err);
}

void container_sockets_later(struct container *c)
{
	c->deaf = true;
	if (c->control_sock >= 0) /* else when it is connected again; gone: its end is looked at next */
		(void)monitor_send(c->control_sock, MONITOR_SOCKETS, TAG_SOCKETS, 0, 0, SPAN_EMPTY, NULL);
}

/* ---- an engine opens */

int container_monitor_state(int sock, struct monitor_state *out, struct err *err)
{
	return monitor_call(sock, MONITOR_STATUS, 0, 0, out, err);
}

int container_monitor_settled(int sock, struct monitor_state *out, struct err *err)
{
	for (int ms = 0; ms < SETTLE_MS; ms += 2) {
		int rc = container_monitor_state(sock, out, err);
		if (rc < 0 || out->phase != MONITOR_BUILDING)
			return rc;
		struct pollfd pause = { .fd = -1 };
		(void)poll(&pause, 0, 2); /* only its control socket, which is gone, would be told */
	}
	return err_set(err, ERR_TIMEOUT, "its monitor still builds it");
}

int container_adopt(struct container *c, int sock, const struct monitor_state *state, struct err *err)
{
	int rc = sock < 0 ? unheard_begin(c, err) : connected(c, sock, err);
	if (rc < 0)
		return rc;
	if (c->status != STATUS_PAUSED)
		c->status = STATUS_RUNNING;
	c->pid = state->pid;
	/* As was told when it was started. */
	if (c->started_ns < state->started_ns)
		c->started_ns = state->started_ns;
	c->ever_started = true;
	c->exit_code = 0;
	c->oom_killed = false;
	free(c->error);
	c->error = NULL;
	return 0;
}

void container_watch_init(struct container *c)
{
	c->control_sock = c->process_fd = -1;
	container_asks_init(&c->asks, c->e, c->id, false);
	loop_timer_init(&c->reach_timer, c->e->o.loop, "container monitor", reach);
	c->reach_timer.background = true;
}
