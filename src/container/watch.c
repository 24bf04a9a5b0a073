/* The talk with a running container's monitor. */
#include <poll.h>

#include "container/private.h"

#define SETTLE_MS 5000

int container_ask(struct container *c, struct ask *a, enum monitor_op what, int x, int y,
	void (*answer)(struct ask *a, const struct err *err), struct err *err)
{
	return container_asks_send(&c->asks, c->control_sock, a, what, x, y, answer, err);
}

static void control_closed(struct loop_fd *f)
{
	struct container *c = container_of(f, struct container, control);
	struct container_engine *e = c->e;
	c->control_live = false;
	if (c->gone)
		container_free(c);
	container_busy(e, -1);
}

void container_control_close(struct container *c)
{
	if (c->control_sock < 0)
		return;
	loop_fd_close(&c->control, control_closed);
	fd_close(&c->control_sock);
	container_asks_fail(&c->asks);
}

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
		int rc = monitor_recv(c->control_sock, &h, payload, sizeof(payload), NULL, 0, NULL, &err);
		if (rc < 0 && err.errnum == EAGAIN)
			return;
		if (rc < 0) { /* killed: nobody knows how the program ends */
			container_ended(c, &(struct monitor_exit){ .exit_code = 128 + 9, .signal = 9, .started_ns = c->started_ns,
				.finished_ns = clock_wall_ns(clock_real()), .class = ERR_GONE });
			return;
		}
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
	int rc = loop_fd_open(&c->control, c->e->o.loop, "container control", sock, on_control, err);
	if (rc < 0) {
		close(sock);
		return rc;
	}
	c->control_sock = sock;
	c->control_live = true;
	container_busy(c->e, 1);
	loop_fd_background(&c->control, true);
	loop_fd_want(&c->control, LOOP_READ);
	return 0;
}

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
	int rc = monitor_send(sock, MONITOR_WAIT, 0, 0, 0, SPAN_EMPTY, err);
	if (rc < 0) {
		close(sock);
		return rc;
	}
	rc = container_control_open(c, sock, err);
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
