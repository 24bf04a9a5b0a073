/* ExecSync: a program run in a container, its output collected. Probes and lifecycle hooks are this. */
#include "cri/private.h"

#define OUTPUT_MAX (16u << 20) /* of each stream; more is read and dropped, as containerd does */

struct sync {
	struct cri_call *k;
	struct container_stream stream;
	struct container_call wait;
	struct loop_timer timer;
	struct buf out, error;
	char exec[65];
	int64_t timeout_s;
	bool stream_open, closing, ended, timed_out, told;
	int code;
};

static void over(struct sync *s)
{
	struct cri_call *k = s->k;
	if (s->stream_open || !s->ended)
		return;
	loop_timer_stop(&s->timer);
	s->told = true;
	const struct api_cri_exec_sync_response out = { .stdout = buf_span(&s->out), .stderr = buf_span(&s->error),
		.exit_code = s->code };
	if (s->timed_out)
		(void)err_set(&k->err, ERR_TIMEOUT, "failed to exec in container: timeout %llds exceeded: context deadline exceeded",
			(long long)s->timeout_s);
	struct buf one = s->out, other = s->error; /* s ends with the call */
	if (k->err.class)
		cri_fail(k);
	else
		cri_answer(k, &out);
	buf_done(&one);
	buf_done(&other);
}

static void on_closed(struct container_stream *st)
{
	struct sync *s = container_of(st, struct sync, stream);
	s->stream_open = false;
	over(s);
}

static void stream_close(struct sync *s)
{
	if (!s->stream_open || s->closing)
		return;
	s->closing = true;
	container_stream_close(&s->stream, on_closed);
}

static void on_ended(struct container_stream *st, const struct err *err)
{
	stream_close(container_of(st, struct sync, stream));
}

static void on_output(struct container_stream *st, int stream, struct span data)
{
	struct sync *s = container_of(st, struct sync, stream);
	struct buf *to = stream == 2 ? &s->error : &s->out;
	buf_span_add(to, span_sub(data, 0, OUTPUT_MAX - to->len));
}

static void on_waited(struct container_call *call, const struct err *err)
{
	struct sync *s = container_of(call, struct sync, wait);
	s->ended = true;
	if (err)
		(void)err_set(&s->k->err, err->class, "failed to exec in container: %s", err_msg(err));
	if (err) /* the engine is closing: nothing more comes */
		stream_close(s);
	if (!err)
		s->code = (int)json_i64(json_getl(&call->result, "ExitCode"), -1);
	over(s);
}

/* What the program left behind may hold its pipes for ever: nobody waits for that. */
static void on_timeout(struct loop_timer *t)
{
	struct sync *s = container_of(t, struct sync, timer);
	s->timed_out = true;
	container_exec_stop(s->k->cri->containers, span_of(s->exec));
	stream_close(s);
}

/* As with containerd, whose exec ends with its request: a hook without a timeout would run on for nobody. */
static void on_left(struct cri_call *k)
{
	struct sync *s = k->state;
	if (s->told)
		return;
	container_exec_stop(k->cri->containers, span_of(s->exec));
	stream_close(s);
}

static void on_started(struct cri_call *k)
{
	struct sync *s = k->state;
	if (k->err.class) {
		(void)err_note(&k->err, "failed to exec in container: failed to start exec \"%s\"", s->exec);
		k->err.class = ERR_INTERNAL; /* it says nothing about the request, as with containerd */
		s->ended = true;
		s->stream_open = s->stream_open && s->closing; /* never begun; but a timeout may be closing it, or have closed it */
		over(s);
		return;
	}
	s->wait = (struct container_call){ .done = on_waited, .arena = &k->arena };
	container_exec_wait(k->cri->containers, span_of(s->exec), &s->wait);
}

int cri_exec_config(struct cri *c, struct span id, const struct span *cmd, uint32_t n, bool in, bool tty, struct arena *a,
	char out_exec[65], struct err *err)
{
	struct json config = json_object(), words = json_array();
	struct container_state now;
	struct cri_container *one = cri_container_find(c, id, err);
	if (!one)
		return -ERR_NOT_FOUND;
	if (!n)
		return err_set(err, ERR_INVALID_REQUEST, "exec cmd must not be empty");
	if (cri_container_now(one, &now) != CRI_RUNNING)
		return err_set(err, ERR_IN_USE, "container %s is not running", one->id);
	for (uint32_t i = 0; i < n; i++)
		(void)json_push(a, &words, json_str(cmd[i]));
	(void)json_setl(a, &config, "Cmd", words);
	(void)json_setl(a, &config, "AttachStdin", json_bool(in));
	(void)json_setl(a, &config, "AttachStdout", json_bool(true));
	(void)json_setl(a, &config, "AttachStderr", json_bool(!tty));
	(void)json_setl(a, &config, "Tty", json_bool(tty));
	return container_exec_create(c->containers, span_of(one->id), &config, out_exec, err);
}

void cri_exec_sync(struct cri_call *k, const void *in)
{
	const struct api_cri_exec_sync_request *q = in;
	struct sync *s = arena_new(&k->arena, struct sync);
	s->k = k;
	s->timeout_s = q->timeout;
	s->stream = (struct container_stream){ .stdout_ = true, .stderr_ = true, .output = on_output, .ended = on_ended };
	k->state = s;
	loop_timer_init(&s->timer, k->cri->p.loop, "cri exec timeout", on_timeout);
	if (cri_exec_config(k->cri, q->container_id, q->cmd.ptr, q->cmd.n, false, false, &k->arena, s->exec, &k->err) < 0) {
		cri_fail(k);
		return;
	}
	s->stream_open = true;
	k->client_left = on_left;
	if (q->timeout > 0)
		loop_timer_start(&s->timer, MIN(q->timeout, INT64_C(86400)) * 1000);
	container_exec_start(k->cri->containers, span_of(s->exec), &s->stream, 0, 0, cri_container_call(k, on_started));
}

void cri_exec_syncs_end(struct cri *c)
{
	LIST_EACH (&c->calls, k, struct cri_call, link)
		if (k->rpc->handle == cri_exec_sync && k->state && !k->answered)
			container_exec_stop(c->containers, span_of(((struct sync *)k->state)->exec));
}
