/* Requests: decoded, handed to their handlers, answered.
 *
 * A client that gives up does not stop an operation: the kubelet asks again by name or finds the result in a list. */
#include "cri/private.h"

#include <pthread.h>
#include <stdarg.h>

#define THREADS_MAX 256 /* two runs of each pod of a big node; stacks are touched little */

static const struct cri_rpc rpcs[] = {
#define CRI(service, method, request, response, handler)                                                                   \
	{ "/runtime.v1." #service "Service/" #method, API_TYPED_CRI_##request, API_TYPED_CRI_##response, cri_##handler },
#include "cri/rpcs.def"
#undef CRI
};

const struct cri_rpc *cri_rpc_at(size_t i)
{
	return i < ARRAY_LEN(rpcs) ? &rpcs[i] : NULL;
}

void cri_busy(struct cri *c, int by)
{
	c->busy += (unsigned)by;
	if (c->closing && !c->busy)
		loop_defer(c->p.loop, &c->close_task);
}

/* ---- the life of a call ---- */

static void call_free(struct cri_call *k)
{
	struct cri *c = k->cri;
	list_remove(&k->link);
	err_done(&k->err);
	arena_done(&k->arena);
	free(k);
	cri_busy(c, -1);
}

static void on_done(struct grpc_req *r, void *arg)
{
	struct cri_call *k = arg;
	k->req = NULL;
	atomic_store(&k->left, true);
	if (k->answered)
		call_free(k);
	else if (k->client_left)
		k->client_left(k);
}

static void call_end(struct cri_call *k)
{
	assert(!k->answered);
	k->answered = true;
	if (!k->req)
		call_free(k);
}

static void unary(struct grpc_req *r, struct span message, void *arg)
{
	static const struct grpc_req_ops ops = { .done = on_done };
	struct cri *c = arg;
	struct cri_call *k = mem_new(struct cri_call);
	k->cri = c;
	k->req = r;
	list_init(&k->of_pod);
	list_push(&c->calls, &k->link);
	cri_busy(c, 1);
	grpc_req_ops_set(r, &ops, k);
	for (size_t i = 0; !k->rpc && i < ARRAY_LEN(rpcs); i++)
		if (span_is(grpc_req_method(r), rpcs[i].name))
			k->rpc = &rpcs[i];
	void *in = arena_zalloc(&k->arena, api_typed_size(k->rpc->request));
	/* What the structs borrow must outlive the message. */
	if (api_typed_decode(&k->arena, k->rpc->request, API_FORM_MESSAGE, arena_span(&k->arena, message), in, &k->err) < 0) {
		k->err.class = ERR_INVALID_REQUEST;
		cri_fail(k);
	} else if (c->stopping) {
		cri_fail_with(k, ERR_UNAVAILABLE, "the engine is stopping");
	} else {
		k->rpc->handle(k, in);
	}
}

const struct grpc_method cri_methods[] = {
#define CRI(service, method, request, response, handler) { "/runtime.v1." #service "Service/" #method, .unary = unary },
#include "cri/rpcs.def"
#undef CRI
	{ "/runtime.v1.RuntimeService/GetContainerEvents", .unary = cri_listen_events },
};
const size_t cri_n_methods = ARRAY_LEN(cri_methods);

/* ---- answers ---- */

void cri_answer(struct cri_call *k, const void *out)
{
	auto_buf struct buf b = {};
	auto_err struct err err = ERR_INIT;
	if (k->req && api_typed_encode(&b, k->rpc->response, API_FORM_MESSAGE, out, &err) < 0) {
		grpc_reply_error(k->req, &err);
	} else if (k->req) {
		grpc_reply_send(k->req, buf_span(&b));
		grpc_reply_end(k->req, GRPC_OK, NULL);
	}
	call_end(k);
}

void cri_answer_empty(struct cri_call *k)
{
	if (k->req) {
		grpc_reply_send(k->req, SPAN_EMPTY);
		grpc_reply_end(k->req, GRPC_OK, NULL);
	}
	call_end(k);
}

/* The classes that gRPC's own table maps otherwise than the kubelet expects of a runtime. */
static enum grpc_status status_of(const struct err *err)
{
	switch (err->class) {
	case ERR_IN_USE: return GRPC_FAILED_PRECONDITION;
	case ERR_TIMEOUT: return GRPC_DEADLINE_EXCEEDED;
	case ERR_INVALID:
	case ERR_INVALID_REQUEST: return GRPC_INVALID_ARGUMENT;
	default: return grpc_status_of(err->class);
	}
}

void cri_fail(struct cri_call *k)
{
	if (k->req)
		grpc_reply_end(k->req, status_of(&k->err), err_msg(&k->err));
	call_end(k);
}

void cri_fail_with(struct cri_call *k, enum err_class class, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	(void)err_vset(&k->err, class, fmt, ap);
	va_end(ap);
	cri_fail(k);
}

/* ---- work, and operations of containers ---- */

static void on_work(struct loop_work *w)
{
	struct cri_call *k = container_of(w, struct cri_call, work);
	(void)k->work_run(k, &k->err); /* k->err tells */
}

static void work_done(struct loop_work *w)
{
	struct cri_call *k = container_of(w, struct cri_call, work);
	k->work_then(k);
}

void cri_work(struct cri_call *k, int (*run)(struct cri_call *k, struct err *err), void (*then)(struct cri_call *k))
{
	struct cri *c = k->cri;
	k->work_run = run;
	k->work_then = then;
	if (loop_work_submit(c->p.pool, c->p.loop, &k->work, k->rpc->name, on_work, work_done) < 0) {
		(void)err_set(&k->err, ERR_TOO_MANY, "too many operations are under way");
		loop_post_call(c->p.loop, (void (*)(void *))work_done, &k->work);
	}
}

/* ---- threads: for what may take minutes, as workers are few */

static void *thread_run(void *arg)
{
	struct cri_call *k = arg;
	(void)k->work_run(k, &k->err); /* k->err tells */
	loop_post(k->cri->p.loop, &k->posted);
	return NULL;
}

static void thread_done(struct loop_msg *m)
{
	struct cri_call *k = container_of(m, struct cri_call, posted);
	k->cri->threads--;
	k->work_then(k);
}

void cri_thread(struct cri_call *k, int (*run)(struct cri_call *k, struct err *err), void (*then)(struct cri_call *k))
{
	pthread_t thread;
	pthread_attr_t attr;
	k->posted.fn = thread_done;
	k->work_run = run;
	k->work_then = then;
	k->cri->threads++;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int errnum = k->cri->threads > THREADS_MAX ? EAGAIN : pthread_create(&thread, &attr, thread_run, k);
	pthread_attr_destroy(&attr);
	if (!errnum)
		return;
	(void)err_set(&k->err, ERR_TOO_MANY, "too many operations are under way");
	loop_post(k->cri->p.loop, &k->posted);
}

void cri_threads_cancel(struct cri *c)
{
	LIST_EACH (&c->calls, k, struct cri_call, link)
		atomic_store(&k->left, true);
}

static void on_container(struct container_call *call, const struct err *err)
{
	struct cri_call *k = container_of(call, struct cri_call, container);
	if (err)
		(void)err_set(&k->err, err->class, "%s", err_msg(err));
	k->container_then(k);
}

struct container_call *cri_container_call(struct cri_call *k, void (*then)(struct cri_call *k))
{
	k->container = (struct container_call){ .done = on_container, .arena = &k->arena };
	k->container_then = then;
	return &k->container;
}
