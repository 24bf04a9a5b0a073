/* Calls and the pools they wait in.
 *
 *     begin ─▶ waiting ─▶ on a connection ─▶ done
 *                ▲              │ the connection ends before any answer, and the call can be repeated
 *                └──────────────┘ (once)
 *
 * A pool opens a connection for each call that waits, up to the limit; while it is not known whether the origin speaks
 * HTTP/2, or known that it does, one at a time, because one will do for all.
 *
 * Invariants
 * 1. A call is on its pool's waiting list exactly while conn is NULL and it is not finishing.
 * 2. done is called once, from the loop, never inside a call of the owner (http_client_free excepted). */
#include "http/http_client.h"

/* ---- time ---- */

static void timer_update(struct http_call *call)
{
	int64_t next = INT64_MAX;
	if (call->phase_until_ms)
		next = call->phase_until_ms;
	if (call->total_until_ms)
		next = MIN(next, call->total_until_ms);
	if (next == INT64_MAX)
		loop_timer_stop(&call->timer);
	else
		loop_timer_start(&call->timer, MAX(next - loop_now_ms(call->client->loop), (int64_t)0));
}

void http_call_phase(struct http_call *call, const char *phase, unsigned ms)
{
	call->phase = phase;
	call->phase_until_ms = ms ? loop_now_ms(call->client->loop) + ms : 0;
	timer_update(call);
}

static void wake(struct http_call *call)
{
	loop_defer(call->client->loop, &call->task);
}

/* Takes the call from its connection: HTTP/1.1 cannot go on with it, HTTP/2 resets a stream. */
static void call_leave(struct http_call *call)
{
	struct http_cconn *c = call->conn;
	if (!c) {
		list_remove(&call->link);
		return;
	}
	call->conn = NULL;
	if (c->state == HTTP_C_V2) {
		http_ch2_drop(c, call);
	} else {
		c->call = NULL;
		http_cconn_close(c);
	}
}

static void call_timeout(struct loop_timer *t)
{
	struct http_call *call = container_of(t, struct http_call, timer);
	struct err why = ERR_INIT;
	bool total = call->total_until_ms && loop_now_ms(call->client->loop) >= call->total_until_ms;
	if (call->expect && call->head_sent && !total) { /* no 100 came: the body goes all the same */
		call->expect = false;
		http_call_phase(call, "no answer in time", call->first_byte_ms);
		wake(call);
		return;
	}
	err_set(&why, ERR_TIMEOUT, "%.*s %s: %s", SPAN_ARG(call->method), call->pool->origin.host,
		total ? "the whole call took too long" : call->phase);
	call_leave(call);
	http_call_finish(call, &why);
}

/* ---- ends ---- */

void http_call_finish(struct http_call *call, struct err *why)
{
	assert(!call->finishing);
	call->finishing = true;
	list_remove(&call->link);
	loop_task_cancel(&call->task);
	loop_timer_stop(&call->timer);
	if (call->ops && call->ops->done)
		call->ops->done(call, why, call->arg);
	if (why)
		err_done(why);
	for (size_t i = 0; i < call->n_body; i++)
		bytes_unref(call->body[i].bytes);
	http_out_done(&call->out);
	http_head_done(&call->reply_trailers);
	buf_done(&call->in);
	http_head_done(&call->head);
	http_head_done(&call->trailers);
	arena_done(&call->arena);
	free(call);
}

void http_call_lost(struct http_call *call, struct err *why)
{
	struct http_cconn *c = call->conn;
	bool fresh = !c || c->served <= 1;
	call->conn = NULL;
	/* A kept connection that the peer had ended already: nothing of this call was seen by anybody (RFC 9110 section
	 * 9.2.2 for the rest). A streamed body is gone once it was given. */
	if (!fresh && !call->answered && !call->retried && call->repeatable && (!call->stream_body || !call->head_sent)) {
		call->retried = true;
		call->reset_told = false;
		call->head_sent = call->request_sent = call->deferred = false;
		call->stream_id = 0;
		http_out_done(&call->out);
		list_push_front(&call->pool->waiting, &call->link);
		err_done(why);
		http_pool_wake(call->pool);
		return;
	}
	http_call_finish(call, why);
}

/* ---- pools ---- */

bool http_origin_offers_h2(const struct http_pool *p)
{
	return !p->h1_only && (p->origin.http2 || p->origin.tls);
}

void http_pool_wake(struct http_pool *p)
{
	loop_defer(p->client->loop, &p->dispatch);
}

static void assign(struct http_call *call, struct http_cconn *c)
{
	list_remove(&call->link);
	call->conn = c;
	if (c->is_idle) {
		c->is_idle = false;
		c->pool->n_idle--;
		loop_timer_stop(&c->idle);
	}
	c->served++;
	http_call_phase(call, "no answer in time", call->first_byte_ms);
	if (c->state == HTTP_C_V2) {
		call->version = 20;
		http_ch2_begin(c, call);
	} else {
		call->version = 11;
		http_ch1_begin(c, call);
	}
}

static struct http_cconn *find_ready(struct http_pool *p)
{
	/* The most recently used first: the others grow old and go. */
	for (struct list *e = p->conns.prev; e != &p->conns; e = e->prev) {
		struct http_cconn *c = LIST_ENTRY(e, struct http_cconn, link);
		if (c->state == HTTP_C_V2 ? http_ch2_room(c) : c->state == HTTP_C_V1 && c->is_idle)
			return c;
	}
	return NULL;
}

static void dispatch(struct loop_task *t)
{
	struct http_pool *p = container_of(t, struct http_pool, dispatch);
	unsigned waiting = 0;
	LIST_EACH(&p->waiting, call, struct http_call, link) {
		struct http_cconn *c = find_ready(p);
		if (c)
			assign(call, c);
		else
			waiting++;
	}
	bool one_will_do = p->speaks == HTTP_POOL_V2 || (p->speaks == HTTP_POOL_UNKNOWN && http_origin_offers_h2(p));
	unsigned wanted = one_will_do ? MIN(waiting, 1u) : waiting;
	while (p->n_connecting < wanted && p->n_conns < p->client->p.connections_per_origin)
		(void)http_cconn_new(p);
}

/* ---- connections ---- */

static void cconn_freed(struct http_io *io)
{
	free(container_of(io, struct http_cconn, io));
}

static void cconn_freed_later(struct loop_task *t)
{
	free(container_of(t, struct http_cconn, pump));
}

static void cconn_pump(struct loop_task *t)
{
	struct http_cconn *c = container_of(t, struct http_cconn, pump);
	if (c->state == HTTP_C_V1)
		http_ch1_pump(c);
	else if (c->state == HTTP_C_V2)
		http_ch2_pump(c);
}

static void cconn_detach(struct http_cconn *c)
{
	struct http_pool *p = c->pool;
	struct loop *l = p->client->loop;
	if (c->state == HTTP_C_CONNECTING || c->state == HTTP_C_PROXY || c->state == HTTP_C_TLS)
		p->n_connecting--;
	if (c->is_idle)
		p->n_idle--;
	c->is_idle = false;
	http_connecting_stop(c);
	list_remove(&c->link);
	p->n_conns--;
	http_pool_wake(p);
	c->state = HTTP_C_CLOSED;
	c->pool = NULL;
	if (c->idle.loop)
		loop_timer_stop(&c->idle);
	if (c->pump.fn)
		loop_task_cancel(&c->pump);
	buf_done(&c->held);
	http_chunked_done(&c->chunked);
	if (c->has_io) {
		http_io_close(&c->io, cconn_freed);
	} else {
		loop_task_init(&c->pump, cconn_freed_later);
		loop_at_commit(l, &c->pump);
	}
}

void http_cconn_close(struct http_cconn *c)
{
	if (c->state == HTTP_C_CLOSED)
		return;
	assert(!c->call);
	if (c->h2)
		http_ch2_free(c, NULL);
	cconn_detach(c);
}

void http_cconn_failed(struct http_cconn *c, struct err *why)
{
	struct http_pool *p = c->pool;
	struct http_call *call = c->call;
	enum http_cstate was = c->state;
	if (was == HTTP_C_CLOSED) {
		err_done(why);
		return;
	}
	c->call = NULL;
	if (c->h2)
		http_ch2_free(c, why);
	if (call) {
		http_call_lost(call, why); /* looks at c->served: c is still there */
	} else if (was < HTTP_C_V1) {
		/* No connection: whoever waits for one is told, as many as would have shared it. */
		bool all = http_origin_offers_h2(p) && p->speaks != HTTP_POOL_V1;
		struct list told;
		list_init(&told);
		if (all)
			list_append(&told, &p->waiting);
		else if (!list_empty(&p->waiting))
			list_push(&told, list_pop(&p->waiting));
		struct http_call *w;
		while ((w = LIST_POP(&told, struct http_call, link))) {
			struct err copy = ERR_INIT;
			err_set(&copy, why->class, "%s", err_msg(why));
			copy.errnum = why->errnum;
			http_call_finish(w, &copy);
		}
		err_done(why);
	} else {
		err_done(why);
	}
	cconn_detach(c);
}

static void idle_over(struct loop_timer *t)
{
	http_cconn_close(container_of(t, struct http_cconn, idle));
}

void http_cconn_idle(struct http_cconn *c)
{
	struct http_pool *p = c->pool;
	if (!c->is_idle) {
		c->is_idle = true;
		p->n_idle++;
	}
	if (list_empty(&p->waiting) && p->n_idle > p->client->p.idle_per_origin) {
		http_cconn_close(c);
		return;
	}
	list_remove(&c->link);
	list_push(&p->conns, &c->link);
	c->idle.background = true;
	http_io_background(&c->io, true); /* a kept connection keeps no process alive */
	loop_timer_start(&c->idle, p->client->p.idle_ms);
	http_pool_wake(p);
}

void http_cconn_ready(struct http_cconn *c, bool two)
{
	struct http_pool *p = c->pool;
	p->n_connecting--;
	p->speaks = two ? HTTP_POOL_V2 : HTTP_POOL_V1;
	loop_timer_init(&c->idle, p->client->loop, p->client->p.name, idle_over);
	loop_task_init(&c->pump, cconn_pump);
	c->state = two ? HTTP_C_V2 : HTTP_C_V1;
	if (two)
		http_ch2_open(c);
	http_cconn_idle(c);
}

/* ---- beginning ---- */

static char *pool_key(const struct http_origin *o, bool h1_only)
{
	struct buf b = {};
	buf_printf(&b, "%d%d%d|%s|%u|%s|%p|%s|%s", o->tls, o->http2, h1_only, o->host, o->port, o->unix_path ? o->unix_path : "",
		(void *)o->tls_ctx, o->server_name ? o->server_name : "", o->proxy ? o->proxy : "");
	return buf_take(&b, NULL);
}

static char *copy_or_null(const char *s)
{
	return s ? mem_dup(s, strlen(s)) : NULL;
}

static struct http_pool *pool_get(struct http_client *client, const struct http_origin *origin, bool h1_only)
{
	struct http_origin o = *origin;
	if (!o.port)
		o.port = o.tls ? 443 : 80;
	if (h1_only)
		o.http2 = false;
	auto_free char *key = pool_key(&o, h1_only);
	struct http_pool *p = map_get(&client->pools, span_of(key));
	if (p)
		return p;
	p = mem_new(struct http_pool);
	p->client = client;
	p->key = take(&key);
	p->origin = o;
	p->h1_only = h1_only;
	p->origin.host = copy_or_null(o.host);
	p->origin.unix_path = copy_or_null(o.unix_path);
	p->origin.server_name = copy_or_null(o.server_name);
	p->origin.proxy = copy_or_null(o.proxy);
	if (o.tls_ctx)
		tls_ctx_ref(o.tls_ctx);
	list_init(&p->waiting);
	list_init(&p->conns);
	loop_task_init(&p->dispatch, dispatch);
	map_put(&client->pools, span_of(p->key), p);
	return p;
}

static void pool_free(struct http_pool *p)
{
	loop_task_cancel(&p->dispatch);
	free((void *)(uintptr_t)p->origin.host);
	free((void *)(uintptr_t)p->origin.unix_path);
	free((void *)(uintptr_t)p->origin.server_name);
	free((void *)(uintptr_t)p->origin.proxy);
	tls_ctx_unref(p->origin.tls_ctx);
	free(p->key);
	free(p);
}

static bool idempotent(const char *method)
{
	static const char *const names[] = { "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(method, names[i]))
			return true;
	return false;
}

static void call_task(struct loop_task *t)
{
	struct http_call *call = container_of(t, struct http_call, task);
	if (call->cancelled) {
		struct err why = ERR_INIT;
		err_set(&why, ERR_CANCELLED, "the call was cancelled");
		call_leave(call);
		http_call_finish(call, &why);
		return;
	}
	if (call->conn)
		loop_defer(call->client->loop, &call->conn->pump);
}

static int params_check(const struct http_call_params *p, struct err *err)
{
	const struct http_origin *o = p->origin;
	if (!o->host || !*o->host || (o->tls && !o->tls_ctx))
		return err_set(err, ERR_INVALID_REQUEST, "an origin needs a host, and https a TLS context");
	for (const char *h = o->host; *h; h++)
		if ((unsigned char)*h <= ' ' || *h == 0x7f || strchr("/?#@", *h))
			return err_set(err, ERR_INVALID_REQUEST, "host \"%s\" makes no sense", o->host);
	if (!http_is_token(span_of(p->method)))
		return err_set(err, ERR_INVALID_REQUEST, "method \"%s\" makes no sense", p->method);
	if (!p->target.len || (p->target.ptr[0] != '/' && !span_is(p->target, "*")))
		return err_set(err, ERR_INVALID_REQUEST, "request target \"%.*s\" must begin with a slash", SPAN_ARG(p->target));
	for (size_t i = 0; i < p->target.len; i++)
		if ((unsigned char)p->target.ptr[i] <= ' ' || p->target.ptr[i] == 0x7f)
			return err_set(err, ERR_INVALID_REQUEST, "request target holds a character that is not allowed");
	for (size_t i = 0; i < p->n_headers; i++)
		if (!http_is_token(p->headers[i].name) || !http_value_ok(p->headers[i].value))
			return err_set(err, ERR_INVALID_REQUEST, "header \"%.*s\" is not allowed", SPAN_ARG(p->headers[i].name));
	return 0;
}

static void body_take(struct http_call *call, const struct http_call_params *p)
{
	call->n_body = p->n_body;
	call->body = arena_alloc_n(&call->arena, p->n_body + 1, sizeof(*call->body));
	int64_t length = 0;
	for (size_t i = 0; i < p->n_body; i++) {
		call->body[i] = p->body[i];
		if (!p->body[i].bytes)
			call->body[i].data = arena_span(&call->arena, p->body[i].data);
		length += (int64_t)p->body[i].data.len;
	}
	if (p->stream_body)
		call->body_length = p->body_length > 0 ? p->body_length : -1;
	else
		call->body_length = length;
}

int http_call_begin(struct http_client *client, const struct http_call_params *p, struct http_call **out_call,
	struct err *err)
{
	int rc = params_check(p, err);
	if (rc < 0) {
		for (size_t i = 0; i < p->n_body; i++)
			bytes_unref(p->body[i].bytes);
		return rc;
	}
	struct http_call *call = mem_new(struct http_call);
	call->client = client;
	call->pool = pool_get(client, p->origin, p->upgrade != NULL);
	call->ops = p->ops;
	call->arg = p->arg;
	list_init(&call->link);
	loop_task_init(&call->task, call_task);
	loop_timer_init(&call->timer, client->loop, client->p.name, call_timeout);
	arena_small(&call->arena); /* a watch keeps it for hours */
	call->method = arena_span(&call->arena, span_of(p->method));
	call->target = arena_span(&call->arena, p->target);
	call->fields = arena_alloc_n(&call->arena, p->n_headers + 1, sizeof(*call->fields));
	call->n_fields = (unsigned)p->n_headers;
	for (size_t i = 0; i < p->n_headers; i++)
		call->fields[i] = (struct http_field){ arena_span(&call->arena, p->headers[i].name),
			arena_span(&call->arena, p->headers[i].value) };
	if (p->upgrade)
		call->upgrade = arena_cstr(&call->arena, span_of(p->upgrade));
	body_take(call, p);
	call->stream_body = p->stream_body;
	call->body_ended = !p->stream_body;
	call->expect = p->expect_continue && call->body_length;
	call->repeatable = p->repeatable || idempotent(p->method);
	call->no_body_answer = !strcmp(p->method, "HEAD");
	call->first_byte_ms = p->first_byte_ms;
	call->idle_ms = p->idle_ms;
	if (p->total_ms)
		call->total_until_ms = loop_now_ms(client->loop) + p->total_ms;
	list_push(&call->pool->waiting, &call->link);
	http_call_phase(call, "no connection in time", p->connect_ms ? p->connect_ms : 30000);
	http_pool_wake(call->pool);
	*out_call = call;
	return 0;
}

void http_call_start(struct http_call *call, struct http_cconn *c)
{
	struct http_out streamed = call->out; /* what the owner added while the call waited */
	call->out = (struct http_out){};
	for (size_t i = 0; i < call->n_body; i++) {
		struct http_piece piece = call->body[i];
		bytes_ref(piece.bytes);
		http_out_add(&call->out, piece);
	}
	http_out_move(&call->out, &streamed, streamed.len);
	http_out_done(&streamed);
	http_io_background(&c->io, false);
}

/* ---- the owner's side ---- */

void http_call_add(struct http_call *call, struct http_piece piece)
{
	assert(call->stream_body && !call->body_ended);
	if (call->finishing || call->cancelled) {
		bytes_unref(piece.bytes);
		return;
	}
	http_out_add(&call->out, piece);
	wake(call);
}

void http_call_trailer(struct http_call *call, const char *name, struct span value)
{
	assert(call->stream_body && !call->body_ended && http_is_token(span_of(name)) && http_value_ok(value));
	http_head_add(&call->reply_trailers, span_of(name), value, true);
}

void http_call_end(struct http_call *call)
{
	assert(call->stream_body && !call->body_ended);
	call->body_ended = true;
	wake(call);
}

size_t http_call_queued(const struct http_call *call)
{
	return call->out.len + (call->conn && call->conn->state == HTTP_C_V1 ? http_io_queued(&call->conn->io) : 0);
}

void http_call_drain_check(struct http_call *call, size_t queued)
{
	size_t limit = call->client->p.limits.queue_bytes;
	if (queued > limit) {
		call->above = true;
	} else if (call->above && queued <= limit / 2) {
		call->above = false;
		if (!call->body_ended && call->ops->drain)
			call->ops->drain(call, call->arg);
	}
}

void http_call_pause(struct http_call *call)
{
	call->paused = true;
}

void http_call_resume(struct http_call *call)
{
	call->paused = false;
	wake(call);
}

void http_call_cancel(struct http_call *call)
{
	call->cancelled = true;
	wake(call);
}

int http_call_status(const struct http_call *call)
{
	return call->status;
}

const struct http_fields *http_call_headers(const struct http_call *call)
{
	return &call->headers;
}

struct span http_call_header(const struct http_call *call, const char *name)
{
	return http_fields_get(&call->headers, name);
}

const struct http_fields *http_call_trailers(const struct http_call *call)
{
	return &call->trailer_fields;
}

int64_t http_call_reset_code(const struct http_call *call)
{
	return call->reset_told ? (int64_t)call->reset_code : -1;
}

struct arena *http_call_arena(struct http_call *call)
{
	return &call->arena;
}

/* ---- the client ---- */

int http_client_new(const struct http_client_params *p, struct http_client **out_client, struct err *err)
{
	struct http_client *c = mem_new(struct http_client);
	c->loop = p->loop;
	c->p = *p;
	if (!c->p.connections_per_origin)
		c->p.connections_per_origin = 64;
	if (!c->p.idle_per_origin)
		c->p.idle_per_origin = 8;
	if (!c->p.idle_ms)
		c->p.idle_ms = 90000;
	if (!c->p.limits.window_bytes)
		c->p.limits.window_bytes = 4 << 20; /* answers are larger than requests, wanted, and may come from afar */
	c->p.limits = http_limits_filled(c->p.limits);
	*out_client = c;
	return 0;
}

void http_client_close_idle(struct http_client *client)
{
	MAP_EACH(&client->pools, e) {
		struct http_pool *p = e->value;
		LIST_EACH(&p->conns, c, struct http_cconn, link)
			if (c->is_idle)
				http_cconn_close(c);
	}
}

void http_client_free(struct http_client *client)
{
	if (!client)
		return;
	MAP_EACH(&client->pools, e) {
		struct http_pool *p = e->value;
		struct err why = ERR_INIT;
		LIST_EACH(&p->conns, c, struct http_cconn, link) {
			if (c->call)
				c->call->retried = true; /* not again */
			else if (c->state < HTTP_C_V1) {
				http_cconn_close(c);
				continue;
			}
			err_set(&why, ERR_CANCELLED, "the client was closed");
			http_cconn_failed(c, &why);
		}
		struct http_call *call;
		while ((call = LIST_POP(&p->waiting, struct http_call, link))) {
			err_set(&why, ERR_CANCELLED, "the client was closed");
			http_call_finish(call, &why);
		}
		pool_free(p);
	}
	map_done(&client->pools);
	free(client);
}
