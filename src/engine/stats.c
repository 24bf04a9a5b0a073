/* GET /containers/x/stats: one reading, or one a second. Each tells the reading before it, so that clients can divide. */
#include "engine/private.h"

#define PERIOD_MS 1000
#define CLIENT_LAG (64u << 10)

struct stats {
	struct container_call call;
	struct engine_call *c;
	struct loop_timer timer;
	struct arena arena, last_arena;
	struct json last; /* cpu_stats and read of the reading before; null = none */
	struct span id;
	bool stream, first, running;
};

static void end(struct stats *s)
{
	s->c->gone = NULL;
	loop_timer_stop(&s->timer);
	if (s->running)
		container_call_forget(&s->call);
	arena_done(&s->arena);
	arena_done(&s->last_arena);
	engine_call_unref(s->c);
}

static void on_gone(struct engine_call *c)
{
	end(c->state);
}

/* The reading becomes the one before. */
static void keep(struct stats *s, const struct json *v)
{
	struct json keep = json_object();
	arena_reset(&s->last_arena);
	const struct json *cpu = json_getl(v, "cpu_stats"), *read = json_getl(v, "read");
	if (cpu)
		(void)json_setl(&s->last_arena, &keep, "cpu", json_copy(&s->last_arena, cpu));
	if (read)
		(void)json_setl(&s->last_arena, &keep, "read", json_copy(&s->last_arena, read));
	s->last = keep;
}

/* Before the first reading there was one of zeros, at the zero time. */
static void fill_empty(struct stats *s, struct json *v)
{
	static const char *const usage[] = { "total_usage", "usage_in_kernelmode", "usage_in_usermode" };
	static const char *const throttling[] = { "periods", "throttled_periods", "throttled_time" };
	struct json pre = json_object(), cpu = json_object(), held = json_object();
	for (size_t i = 0; i < ARRAY_LEN(usage); i++)
		(void)json_add(&s->arena, &cpu, span_of(usage[i]), json_int(0));
	for (size_t i = 0; i < ARRAY_LEN(throttling); i++)
		(void)json_add(&s->arena, &held, span_of(throttling[i]), json_int(0));
	(void)json_setl(&s->arena, &pre, "cpu_usage", cpu);
	(void)json_setl(&s->arena, &pre, "throttling_data", held);
	(void)json_setl(&s->arena, v, "precpu_stats", pre);
	(void)json_setl(&s->arena, v, "preread", json_cstr("0001-01-01T00:00:00Z"));
}

static void reading(struct container_call *call, const struct err *err)
{
	struct stats *s = container_of(call, struct stats, call);
	struct engine_call *c = s->c;
	s->running = false;
	if (err) {
		if (!c->answered) {
			(void)err_set(&c->err, err->class, "%s", err_msg(err));
			engine_fail(c);
		} else if (c->req) {
			http_reply_end(c->req); /* it was removed */
		}
		end(s);
		return;
	}
	struct json *v = &call->result;
	fill_empty(s, v);
	if (s->last.kind == JSON_OBJECT) {
		const struct json *cpu = json_getl(&s->last, "cpu"), *read = json_getl(&s->last, "read");
		if (cpu)
			(void)json_setl(&s->arena, v, "precpu_stats", *cpu);
		if (read)
			(void)json_setl(&s->arena, v, "preread", *read);
	}
	bool one_shot = engine_truth(c, "one-shot", false);
	bool waits = !s->stream && s->first && !one_shot; /* a single answer has a reading before it too, unless told not to */
	s->first = false;
	if (!waits && !s->stream) {
		engine_answer_json(c, 200, v);
		end(s);
		return;
	}
	if (!waits && c->req) {
		auto_buf struct buf b = {};
		if (!c->answered && engine_answer_head(c, 200)) {
			http_reply_header(c->req, "Content-Type", SPAN("application/json"));
			http_reply_begin(c->req);
		}
		json_write(&b, v, 0);
		buf_chr(&b, '\n');
		/* Who takes nothing gets the next one when it does. */
		if (http_reply_queued(c->req) < CLIENT_LAG)
			http_reply_add(c->req, http_bytes(buf_seal(&b)));
	}
	keep(s, v);
	loop_timer_start(&s->timer, PERIOD_MS);
}

static void read_now(struct stats *s)
{
	arena_reset(&s->arena);
	s->call = (struct container_call){ .done = reading, .arena = &s->arena };
	s->running = true;
	container_stats(s->c->e->containers, s->id, &s->call);
}

static void on_timer(struct loop_timer *t)
{
	read_now(container_of(t, struct stats, timer));
}

void engine_container_stats(struct engine_call *c)
{
	char id[65];
	struct stats *s = arena_new(&c->arena, struct stats);
	if (container_find(c->e->containers, c->name, id, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	bool stream = engine_truth(c, "stream", true);
	if (stream && engine_truth(c, "one-shot", false)) {
		engine_fail_with(c, ERR_INVALID_REQUEST, "cannot have stream=true and one-shot=true");
		return;
	}
	s->c = engine_call_ref(c);
	s->id = arena_span(&c->arena, span_of(id));
	s->stream = stream;
	s->first = true;
	s->last = JSON_NULL_VALUE;
	loop_timer_init(&s->timer, c->e->loop, "stats", on_timer);
	c->state = s;
	c->gone = on_gone;
	read_now(s);
}
