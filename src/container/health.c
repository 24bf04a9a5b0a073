/* Health checks: a program run in the container now and then, as Docker does it.
 *
 *     started ─> starting ──success──> healthy <──> unhealthy <── so many failures in a row, not counting those of the start
 * period
 *     The next probe begins an interval after the last one ended; in the start period StartInterval, which is 5 seconds unless the
 *     interval is shorter (decision 0854). A container that stops is unhealthy. */
#include "container/exec.h"

#define OUTPUT_MAX HEALTH_OUTPUT_MAX
#define S NS_PER_S

struct probe {
	struct container *c; /* NULL: the result is nobody's any more */
	struct container_stream stream;
	struct buf output;
	int64_t start_ns;
	struct exec *exec;
	struct loop_timer timer;
	bool stream_open, exec_ended, timed_out, failed;
	int exit_code;
};

static int64_t setting(const struct container *c, const char *name, int64_t otherwise)
{
	int64_t v = container_num(json_getl(c->config, "Healthcheck"), name);
	return v > 0 ? v : otherwise;
}

static bool test_command(const struct container *c, struct arena *a, struct json *out)
{
	const struct json *test = json_path(c->config, "Healthcheck", "Test", NULL), *shell = json_getl(c->config, "Shell");
	*out = json_array();
	if (!json_is(test, JSON_ARRAY) || test->n < 2)
		return false;
	struct span kind = json_span(&test->items[0]);
	if (span_is(kind, "CMD-SHELL")) {
		if (json_is(shell, JSON_ARRAY) && shell->n) {
			JSON_EACH_ITEM (shell, item)
				json_push(a, out, *item);
		} else {
			json_push(a, out, json_cstr("/bin/sh"));
			json_push(a, out, json_cstr("-c"));
		}
	} else if (!span_is(kind, "CMD")) {
		return false;
	}
	for (uint32_t i = 1; i < test->n; i++)
		json_push(a, out, test->items[i]);
	return true;
}

static void probe_due(struct loop_timer *t);

static void next_plan(struct container *c)
{
	struct health *h = &c->health;
	bool early = h->status == HEALTH_STARTING &&
		     loop_wall_ns(c->e->o.loop) - c->started_ns < setting(c, "StartPeriod", 0);
	int64_t interval = setting(c, "Interval", 30 * S);
	int64_t wait_ns = early ? setting(c, "StartInterval", MIN(5 * S, interval)) : interval;
	loop_timer_start(&h->timer, MAX(wait_ns / NS_PER_MS, INT64_C(1)));
}

static void status_set(struct container *c, enum health_status status, bool tell)
{
	if (c->health.status == status)
		return;
	c->health.status = status;
	auto_buf struct buf b = {};
	buf_printf(&b, "health_status: %s", container_health_names[status]);
	if (tell)
		container_event_send(c, buf_cstr(&b), NULL);
}

static void log_add(struct health *h, const struct probe *p, int64_t end_ns)
{
	if (h->n_log == HEALTH_LOG) {
		free(h->log[0].output);
		memmove(h->log, h->log + 1, (HEALTH_LOG - 1) * sizeof(h->log[0]));
		h->n_log--;
	}
	auto_buf struct buf text = {};
	buf_span_add(&text, buf_span(&p->output));
	h->log[h->n_log++] = (struct health_result){ .start_ns = p->start_ns, .end_ns = end_ns, .exit_code = p->exit_code,
		.output = buf_take(&text, NULL) };
}

static void result(struct container *c, const struct probe *p)
{
	struct health *h = &c->health;
	enum health_status status = h->status;
	int streak = h->streak;
	log_add(h, p, loop_wall_ns(c->e->o.loop));
	if (p->exit_code == 0) {
		h->streak = 0;
		status_set(c, HEALTH_HEALTHY, true);
	} else if (h->status != HEALTH_STARTING || p->start_ns - c->started_ns >= setting(c, "StartPeriod", 0)) {
		h->streak++;
		if (h->streak >= setting(c, "Retries", 3))
			status_set(c, HEALTH_UNHEALTHY, true);
	}
	/* What an engine that returns goes on from. A container that stays well writes nothing. */
	if (h->status != status || h->streak != streak)
		(void)container_record_save(c, false, NULL); /* at worst the next engine counts from before */
	next_plan(c);
}

/* Both its end and the last of its output came. */
static void probe_over(struct probe *p)
{
	struct container *c = p->c;
	if (p->stream_open || !p->exec_ended)
		return;
	loop_timer_stop(&p->timer);
	if (c) {
		c->health.probe = NULL;
		if (c->health.on)
			result(c, p);
	}
	buf_done(&p->output);
	free(p);
}

static void stream_output(struct container_stream *s, int stream, struct span data)
{
	struct probe *p = container_of(s, struct probe, stream);
	size_t room = p->output.len < OUTPUT_MAX ? OUTPUT_MAX - p->output.len : 0;
	buf_add(&p->output, data.ptr, MIN(data.len, room));
}

static void stream_closed(struct container_stream *s)
{
	struct probe *p = container_of(s, struct probe, stream);
	p->stream_open = false;
	probe_over(p);
}

static void stream_ended(struct container_stream *s, const struct err *err)
{
	container_stream_close(s, stream_closed);
}

static void exec_started(struct exec *x, const struct err *err)
{
	struct probe *p = x->arg;
	if (!err)
		return;
	p->failed = true;
	p->stream_open = false; /* it was never begun; the end comes next */
	p->exit_code = -1;
	buf_str(&p->output, err_msg(err));
}

static void exec_ended(struct exec *x)
{
	struct probe *p = x->arg;
	p->exec_ended = true;
	if (!p->timed_out && !p->failed)
		p->exit_code = x->exit_code;
	x->ended = NULL;
	p->exec = NULL;
	container_exec_drop(x);
	probe_over(p);
}

static void timeout(struct loop_timer *t)
{
	struct probe *p = container_of(t, struct probe, timer);
	p->timed_out = true;
	p->exit_code = -1;
	buf_trunc(&p->output, 0);
	int64_t ns = p->c ? setting(p->c, "Timeout", 30 * S) : 0;
	if (ns % S == 0)
		buf_printf(&p->output, "Health check exceeded timeout (%llds)", (long long)(ns / S));
	else
		buf_printf(&p->output, "Health check exceeded timeout (%lldms)", (long long)(ns / NS_PER_MS));
	if (p->exec)
		container_exec_kill(p->exec);
}

static void probe_due(struct loop_timer *t)
{
	struct container *c = container_of(t, struct container, health.timer);
	auto_arena struct arena a = {};
	struct json command, config = json_object();
	if (!c->health.on || c->ending || c->status != STATUS_RUNNING || !test_command(c, &a, &command))
		return;
	struct probe *p = mem_new(struct probe);
	p->c = c;
	p->start_ns = loop_wall_ns(c->e->o.loop);
	c->health.probe = p;
	json_setl(&a, &config, "Cmd", command);
	json_setl(&a, &config, "AttachStdout", json_bool(true));
	json_setl(&a, &config, "AttachStderr", json_bool(true));
	p->exec = container_exec_new(c, &config);
	p->exec->hidden = true;
	p->exec->arg = p;
	p->exec->started = exec_started;
	p->exec->ended = exec_ended;
	p->stream.stdout_ = p->stream.stderr_ = true;
	p->stream.output = stream_output;
	p->stream.ended = stream_ended;
	p->stream_open = true;
	loop_timer_init(&p->timer, c->e->o.loop, "health check timeout", timeout);
	p->timer.background = true;
	loop_timer_start(&p->timer, MAX(setting(c, "Timeout", 30 * S) / NS_PER_MS, INT64_C(1)));
	container_exec_run(p->exec, &p->stream, 0, 0);
}

/* True when there is something to probe. */
static bool probes_begin(struct container *c)
{
	auto_arena struct arena a = {};
	struct json command;
	if (!test_command(c, &a, &command)) {
		c->health.status = HEALTH_NONE;
		return false;
	}
	loop_timer_init(&c->health.timer, c->e->o.loop, "health check", probe_due);
	c->health.timer.background = true;
	c->health.on = true;
	return true;
}

void container_health_started(struct container *c)
{
	if (!probes_begin(c))
		return;
	c->health.status = HEALTH_STARTING;
	c->health.streak = 0;
	if (!c->health.probe)
		next_plan(c);
}

/* Found running by an engine that returned: what was known of it still holds. */
void container_health_resumed(struct container *c)
{
	if (!probes_begin(c))
		return;
	if (c->health.status == HEALTH_NONE)
		c->health.status = HEALTH_STARTING;
	next_plan(c);
}

void container_health_stopped(struct container *c)
{
	struct health *h = &c->health;
	if (!h->on)
		return;
	h->on = false;
	loop_timer_stop(&h->timer);
	if (h->status != HEALTH_NONE)
		status_set(c, HEALTH_UNHEALTHY, false);
	if (h->probe) {
		h->probe->c = NULL;
		if (h->probe->exec)
			container_exec_kill(h->probe->exec);
		h->probe = NULL;
	}
}

void container_health_done(struct container *c)
{
	container_health_stopped(c);
	for (unsigned i = 0; i < c->health.n_log; i++)
		free(c->health.log[i].output);
	c->health.n_log = 0;
}
