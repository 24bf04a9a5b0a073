/* Work that streams: a thread of its own pulls the request's body and pushes the answer, the loop moves both.
 *
 *     client ── http ──data──> in (<= 1 MB, then the request is paused) ──pull──> thread
 *     client <─ http <─flush── out (<= 256 KB, then the thread waits) <──push── thread
 *
 * Invariants
 * 1. The thread touches the stream under its mutex and nothing of http; the loop does all that.
 * 2. A stream holds its call; the loop frees both after it joined the thread.
 * 3. `cancelled` only rises. After it pull and push fail with CANCELLED, so the thread comes to its end. */
#include "engine/private.h"
#include "tar/tar.h"

#define IN_MAX (1u << 20)
#define OUT_MAX (256u << 10)
#define STREAMS_MAX 256 /* threads at once; a person pulls a few */

struct engine_stream {
	struct engine_call *c;
	struct list link;
	const char *type;
	int (*run)(struct engine_call *c, struct err *err);
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	/* under the mutex */
	struct buf in, out;
	bool in_end, in_paused, cancelled, flush_posted, resume_posted, out_blocked;
	/* the thread's */
	struct buf taken;
	struct tar_source source;
	struct tar_sink sink;
	int rc;
	/* the loop's */
	struct loop_msg flush_msg, resume_msg, end_msg;
	bool begun;
};

/* ---- the loop's side ---- */

static void flush(struct engine_stream *s, bool all)
{
	struct engine_call *c = s->c;
	pthread_mutex_lock(&s->mutex);
	if (s->out.len && c->req && (all || http_reply_queued(c->req) < OUT_MAX)) {
		if (!s->begun) {
			s->begun = true;
			if (engine_answer_head(c, 200)) {
				http_reply_header(c->req, "Content-Type", span_of(s->type));
				if (c->extra_name)
					http_reply_header(c->req, c->extra_name, c->extra_value);
				http_reply_begin(c->req);
			}
		}
		http_reply_add(c->req, http_bytes(buf_seal(&s->out)));
		pthread_cond_signal(&s->changed);
	}
	s->out_blocked = s->out.len != 0;
	pthread_mutex_unlock(&s->mutex);
}

static void on_flush(struct loop_msg *m)
{
	struct engine_stream *s = container_of(m, struct engine_stream, flush_msg);
	pthread_mutex_lock(&s->mutex);
	s->flush_posted = false;
	pthread_mutex_unlock(&s->mutex);
	flush(s, false);
}

static void on_resume(struct loop_msg *m)
{
	struct engine_stream *s = container_of(m, struct engine_stream, resume_msg);
	pthread_mutex_lock(&s->mutex);
	s->resume_posted = s->in_paused = false;
	pthread_mutex_unlock(&s->mutex);
	if (s->c->req)
		http_req_resume(s->c->req);
}

static void on_drain(struct http_req *r, void *arg)
{
	struct engine_call *c = arg;
	if (c->stream)
		flush(c->stream, false);
}

static void on_data(struct http_req *r, struct span data, void *arg)
{
	struct engine_call *c = arg;
	struct engine_stream *s = c->stream;
	if (!s)
		return;
	pthread_mutex_lock(&s->mutex);
	buf_span_add(&s->in, data);
	bool pause = s->in.len >= IN_MAX && !s->in_paused;
	s->in_paused |= pause;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->mutex);
	if (pause)
		http_req_pause(r);
}

static void on_end(struct http_req *r, void *arg)
{
	struct engine_call *c = arg;
	if (!c->stream)
		return;
	pthread_mutex_lock(&c->stream->mutex);
	c->stream->in_end = true;
	pthread_cond_signal(&c->stream->changed);
	pthread_mutex_unlock(&c->stream->mutex);
}

static void cancel(struct engine_stream *s)
{
	pthread_mutex_lock(&s->mutex);
	s->cancelled = true;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->mutex);
	if (s->c->stream_cancel)
		s->c->stream_cancel(s->c);
}

static void on_gone(struct engine_call *c)
{
	if (c->stream)
		cancel(c->stream);
}

void engine_streams_cancel(struct engine *e)
{
	LIST_EACH(&e->streams, s, struct engine_stream, link)
		cancel(s);
}

static void on_thread_end(struct loop_msg *m)
{
	struct engine_stream *s = container_of(m, struct engine_stream, end_msg);
	struct engine_call *c = s->c;
	(void)pthread_join(s->thread, NULL);
	if (c->stream_over)
		c->stream_over(c);
	flush(s, true);
	if (!s->begun) {
		if (s->rc < 0) {
			engine_fail(c);
		} else if (engine_answer_head(c, 200)) {
			if (*s->type)
				http_reply_header(c->req, "Content-Type", span_of(s->type));
			if (c->extra_name)
				http_reply_header(c->req, c->extra_name, c->extra_value);
			http_reply_end(c->req);
		}
	} else if (c->req) {
		if (s->rc < 0 && span_is(span_of(s->type), "application/json")) {
			auto_buf struct buf line = {};
			engine_progress_error(c, &c->err, &line);
			http_reply_add(c->req, http_copy(buf_span(&line)));
			http_reply_end(c->req);
		} else if (s->rc < 0) {
			log_warn("a stream broke off", kv_str("route", c->route->pattern), kv_err(&c->err));
			http_reply_abort(c->req); /* so that half an archive is not taken for a whole one */
		} else {
			http_reply_end(c->req);
		}
	}
	c->stream = NULL;
	list_remove(&s->link);
	c->e->n_streams--;
	loop_release(c->e->loop);
	buf_done(&s->in);
	buf_done(&s->out);
	buf_done(&s->taken);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->mutex);
	free(s);
	engine_call_unref(c);
}

/* ---- the thread's side ---- */

static int pull(struct tar_source *source, struct span *out_piece, struct err *err)
{
	struct engine_stream *s = container_of(source, struct engine_stream, source);
	int rc = 0;
	bool resume = false;
	pthread_mutex_lock(&s->mutex);
	while (!s->in.len && !s->in_end && !s->cancelled)
		pthread_cond_wait(&s->changed, &s->mutex);
	if (s->cancelled) {
		rc = err_set(err, ERR_CANCELLED, "unexpected EOF");
	} else if (s->in.len) {
		struct buf swap = s->taken;
		s->taken = s->in;
		s->in = swap;
		buf_trunc(&s->in, 0);
		resume = s->in_paused && !s->resume_posted;
		s->resume_posted |= resume;
		*out_piece = buf_span(&s->taken);
		rc = 1;
	}
	pthread_mutex_unlock(&s->mutex);
	if (resume)
		loop_post(s->c->e->loop, &s->resume_msg);
	return rc;
}

static int push(struct tar_sink *sink, struct span data, struct err *err)
{
	struct engine_stream *s = container_of(sink, struct engine_stream, sink);
	int rc = 0;
	while (rc == 0 && data.len) {
		bool post;
		pthread_mutex_lock(&s->mutex);
		while (s->out.len >= OUT_MAX && !s->cancelled)
			pthread_cond_wait(&s->changed, &s->mutex);
		if (s->cancelled) {
			rc = err_set(err, ERR_CANCELLED, "the client is gone");
		} else {
			struct span part = span_sub(data, 0, OUT_MAX);
			buf_span_add(&s->out, part);
			data = span_from(data, part.len);
		}
		/* While the peer takes nothing, its drain flushes. */
		post = rc == 0 && !s->flush_posted && !s->out_blocked;
		s->flush_posted |= post;
		pthread_mutex_unlock(&s->mutex);
		if (post)
			loop_post(s->c->e->loop, &s->flush_msg);
	}
	return rc;
}

struct tar_source *engine_in(struct engine_call *c)
{
	return &c->stream->source;
}

struct tar_sink *engine_out(struct engine_call *c)
{
	return &c->stream->sink;
}

bool engine_cancelled(struct engine_call *c)
{
	struct engine_stream *s = c->stream;
	pthread_mutex_lock(&s->mutex);
	bool cancelled = s->cancelled;
	pthread_mutex_unlock(&s->mutex);
	return cancelled;
}

static void *thread_main(void *arg)
{
	struct engine_stream *s = arg;
	s->rc = s->run(s->c, &s->c->err);
	loop_post(s->c->e->loop, &s->end_msg);
	return NULL;
}

void engine_stream_begin(struct engine_call *c, unsigned flags, const char *content_type,
	int (*run)(struct engine_call *c, struct err *err))
{
	struct engine *e = c->e;
	if (e->n_streams >= STREAMS_MAX || e->stopping) {
		engine_fail_with(c, ERR_UNAVAILABLE, e->stopping ? "the engine is stopping" : "too many transfers at once");
		return;
	}
	struct engine_stream *s = mem_new(struct engine_stream);
	*s = (struct engine_stream){ .c = c, .type = content_type, .run = run, .source = { pull }, .sink = { push },
		.flush_msg = { .fn = on_flush }, .resume_msg = { .fn = on_resume }, .end_msg = { .fn = on_thread_end } };
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->changed, NULL);
	list_push(&e->streams, &s->link);
	c->stream = s;
	s->in_end = !(flags & ENGINE_IN);
	int num = pthread_create(&s->thread, NULL, thread_main, s);
	if (num) {
		(void)err_sys_num(&c->err, num, "start a thread");
		list_remove(&s->link);
		c->stream = NULL;
		pthread_cond_destroy(&s->changed);
		pthread_mutex_destroy(&s->mutex);
		free(s);
		engine_fail(c);
		return;
	}
	e->n_streams++;
	loop_hold(e->loop);
	(void)engine_call_ref(c);
	c->gone = on_gone;
	c->ops.drain = on_drain;
	if (flags & ENGINE_IN) {
		c->ops.data = on_data;
		c->ops.end = on_end;
	}
	http_req_ops_set(c->req, &c->ops, c);
}
