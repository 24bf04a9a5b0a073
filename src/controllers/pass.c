/* A pass over one key: steps that add operations, and the answers to them.
 *
 *     reconcile ──> operations ──> answers ──> then ──> operations ──> ... ──> end: done, or again with back-off
 *
 * A step runs when every operation of the one before has its answer. */
#include "controllers/frame.h"

#define AT_ONCE 16

static void pump(struct pass *p);

/* ---- operations */

struct op *pass_send(struct pass *p, const char *method, struct span path, const struct json *body, const char *content_type)
{
	struct op *o = arena_new(&p->arena, struct op);
	*o = (struct op){ .pass = p, .method = method, .content_type = content_type };
	o->path = arena_span(&p->arena, path);
	if (body) {
		auto_buf struct buf text = {};
		json_write(&text, body, 0);
		o->body = arena_span(&p->arena, buf_span(&text));
	}
	list_push(&p->ops, &o->link);
	return o;
}

static struct op *send_to(struct pass *p, const char *method, enum cm_kind kind, struct span ns, struct span name, const char *sub,
			  const struct json *body, const char *content_type)
{
	auto_buf struct buf path = {};
	struct client_kind k = cm_resource(kind);
	client_path(&path, &k, ns, name, sub);
	return pass_send(p, method, buf_span(&path), body, content_type);
}

struct op *pass_create(struct pass *p, enum cm_kind kind, struct span ns, const struct json *object)
{
	return send_to(p, "POST", kind, ns, SPAN_EMPTY, NULL, object, NULL);
}

struct op *pass_get(struct pass *p, enum cm_kind kind, struct span ns, struct span name)
{
	return send_to(p, "GET", kind, ns, name, NULL, NULL, NULL);
}

struct op *pass_merge(struct pass *p, enum cm_kind kind, struct span ns, struct span name, const char *sub,
		      const struct json *patch)
{
	return send_to(p, "PATCH", kind, ns, name, sub, patch, CLIENT_MERGE_PATCH);
}

struct op *pass_strategic(struct pass *p, enum cm_kind kind, struct span ns, struct span name, const char *sub,
			  const struct json *patch)
{
	return send_to(p, "PATCH", kind, ns, name, sub, patch, CLIENT_STRATEGIC_PATCH);
}

struct op *pass_delete(struct pass *p, enum cm_kind kind, struct span ns, struct span name, struct span uid, const char *policy)
{
	struct json options = json_object();
	tree_set_cstr(&p->arena, &options, "apiVersion", "v1");
	tree_set_cstr(&p->arena, &options, "kind", "DeleteOptions");
	if (uid.len)
		tree_set_span(&p->arena, tree_at(&p->arena, &options, "preconditions"), "uid", uid);
	tree_set_cstr(&p->arena, &options, "propagationPolicy", policy ? policy : "Background");
	struct op *o = send_to(p, "DELETE", kind, ns, name, NULL, &options, NULL);
	o->fine = ERR_NOT_FOUND;
	return o;
}

struct op *pass_status(struct pass *p, enum cm_kind kind, const struct json *object, const struct json *status)
{
	struct arena *a = &p->arena;
	struct json diff, patch = json_object();
	if (!tree_diff(a, tree_get(object, "status"), status, &diff))
		return NULL;
	struct json *meta = tree_at(a, &patch, "metadata");
	tree_set_span(a, meta, "uid", tree_meta_span(object, "uid"));
	tree_set_span(a, meta, "resourceVersion", tree_meta_span(object, "resourceVersion"));
	tree_set(a, &patch, "status", diff);
	struct op *o = pass_merge(p, kind, tree_meta_span(object, "namespace"), tree_meta_span(object, "name"), "status", &patch);
	o->fine = ERR_NOT_FOUND;
	return o;
}

void pass_fail(struct pass *p, enum err_class class, const char *fmt, ...)
{
	va_list ap;
	if (p->err.class != ERR_NONE)
		return;
	va_start(ap, fmt);
	(void)err_vset(&p->err, class, fmt, ap);
	va_end(ap);
}

void pass_after(struct pass *p, int64_t delay_ms)
{
	cm_add_after(p->c, p->key, delay_ms);
}

void pass_event(struct pass *p, const struct client_object_ref *ref, const char *type, const char *reason, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct span message = arena_vprintf(&p->arena, fmt, ap);
	va_end(ap);
	client_event(p->c->events, ref, type, reason, message);
}

/* ---- the run */

static void op_end(struct op *o, const struct err *why, struct span body)
{
	struct pass *p = o->pass;
	struct json answer = JSON_NULL_VALUE;
	if (!why && o->done)
		(void)json_parse(&p->arena, arena_span(&p->arena, body), JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &answer, NULL);
	bool handled = o->done && o->done(p, o, why, &answer);
	if (!why || why->class == ERR_CANCELLED)
		return;
	p->n_failed++;
	if (handled || why->class == o->fine)
		return;
	pass_fail(p, why->class, "%s %.*s: %s", o->method, SPAN_ARG(o->path), err_msg(why));
}

static void drop_rest(struct pass *p)
{
	struct op *o;
	auto_err struct err why = ERR_INIT;
	err_set(&why, ERR_CANCELLED, "not tried");
	while ((o = LIST_POP(&p->ops, struct op, link))) {
		p->n_dropped++;
		op_end(o, &why, SPAN_EMPTY);
	}
}

static void on_answer(struct client_call *call, const struct err *why, int status, struct span body, void *arg)
{
	struct op *o = arg;
	struct pass *p = o->pass;
	list_remove(&o->link);
	o->call = NULL;
	p->n_out--;
	op_end(o, why, body);
	pump(p);
}

static void pass_free(struct pass *p)
{
	list_remove(&p->link);
	err_done(&p->err);
	arena_done(&p->arena);
	free(p);
}

static void pass_end(struct pass *p)
{
	struct controller *c = p->c;
	bool bad = p->err.class != ERR_NONE;
	bool quiet = p->err.class == ERR_STALE || p->err.class == ERR_UNAVAILABLE || p->err.class == ERR_TIMEOUT ||
		     p->err.class == ERR_TOO_MANY;
	if (bad && !quiet)
		log_warn("a pass failed", kv_str("controller", c->row->name), kv_span("key", p->key), kv_err(&p->err));
	else if (bad)
		log_debug("a pass comes again", kv_str("controller", c->row->name), kv_span("key", p->key), kv_err(&p->err));
	metrics_observe(c->duration, (double)(loop_now_ms(p->cm->loop) - p->began_ms) / 1000);
	if (bad || p->again)
		metrics_inc(c->retries);
	struct client_job *job = p->job;
	enum client_result result = bad || p->again ? CLIENT_RETRY : CLIENT_DONE;
	pass_free(p);
	client_job_done(job, result);
}

static unsigned room(struct pass *p)
{
	switch (p->mode) {
	case PASS_SERIAL: return p->n_out ? 0 : 1;
	case PASS_SLOW_START:
		if (p->n_out == 0 && p->batch_left == 0) {
			p->batch = p->batch ? p->batch * 2 : 1;
			p->batch_left = p->batch;
		}
		return p->batch_left && p->n_out < 64 ? 1 : 0;
	case PASS_PARALLEL: break;
	}
	return p->n_out < AT_ONCE ? 1 : 0;
}

static void send_first(struct pass *p)
{
	struct op *o = LIST_POP(&p->ops, struct op, link);
	const struct client_request r = { .method = o->method, .path = o->path, .body = o->body, .content_type = o->content_type,
					  .accept = o->accept, .timeout_ms = o->timeout_ms, .done = on_answer, .arg = o };
	list_push(&p->out, &o->link);
	p->n_out++;
	if (p->batch_left)
		p->batch_left--;
	o->call = client_send(p->cm->client, &r);
}

/* Sends what may be sent; with nothing left, goes on to the next step. */
static void pump(struct pass *p)
{
	for (;;) {
		if (p->n_failed && p->mode != PASS_PARALLEL && (p->mode == PASS_SERIAL || p->n_out == 0))
			drop_rest(p);
		while (!list_empty(&p->ops) && room(p))
			send_first(p);
		if (p->n_out)
			return;
		void (*then)(struct pass *p) = p->then;
		if (!then)
			break;
		p->then = NULL;
		p->mode = PASS_PARALLEL;
		p->batch = p->batch_left = 0;
		p->now_s = cm_now_s(p->cm);
		then(p);
		/* The step has looked at how the last one went. */
		p->n_failed = p->n_dropped = 0;
	}
	pass_end(p);
}

void pass_begin(struct client_job *job, void *controller)
{
	struct controller *c = controller;
	struct pass *p = mem_new(struct pass);
	*p = (struct pass){ .c = c, .cm = c->cm, .job = job, .key = job->key, .err = ERR_INIT };
	list_init(&p->ops);
	list_init(&p->out);
	list_push(&c->cm->passes, &p->link);
	p->key = arena_span(&p->arena, job->key);
	client_key_split(p->key, &p->ns, &p->name);
	p->began_ms = loop_now_ms(c->cm->loop);
	p->then = c->row->reconcile;
	pump(p);
}

void pass_cancel_all(struct cm *cm)
{
	LIST_EACH(&cm->passes, p, struct pass, link) {
		struct client_job *job = p->job;
		LIST_EACH(&p->out, o, struct op, link)
			client_cancel(o->call);
		pass_free(p);
		client_job_done(job, CLIENT_DONE);
	}
}
