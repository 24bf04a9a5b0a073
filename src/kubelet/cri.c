/* One connection (two, when images have an endpoint of their own), one struct a call.
 *
 *     send ──▶ grpc call ──▶ message? ──▶ done ──▶ decode into an arena, tell, free
 *       └───▶ could not begin: a task tells, so that `done` never runs inside the call
 *
 * A cancelled call stays until gRPC has said its last word; its `done` is empty by then. */
#include "kubelet/cri.h"

enum { REPLY_BYTES = 16 << 20 };

static const struct method {
	const char *name, *path;
	enum api_typed request, reply;
	unsigned timeout_ms;
	bool image;
} methods[] = {
#define CRI(NAME, name, service, method, timeout_s)                                                                      \
	[KUBELET_CRI_##NAME] = { method, "/runtime.v1." service "/" method, API_TYPED_CRI_##NAME##_REQUEST,              \
				 API_TYPED_CRI_##NAME##_RESPONSE, timeout_s * 1000, service[0] == 'I' },
#include "kubelet/cri.def"
#undef CRI
};

struct kubelet_cri {
	struct loop *loop;
	struct http_client *http;
	char path[2][sizeof(((struct sockaddr_un *)NULL)->sun_path)]; /* runtime, images */
	struct list calls;
};

struct kubelet_cri_call {
	struct list link;
	struct kubelet_cri *cri;
	const struct method *method;
	struct grpc_call *grpc; /* NULL = could not begin */
	struct loop_task failed;
	struct buf reply;
	unsigned n_replies;
	struct err why;
	kubelet_cri_fn *done; /* NULL = cancelled */
	void *arg;
};

static int path_of(struct span endpoint, char out[static 108], struct err *err)
{
	struct span path = endpoint;
	if (span_starts(path, SPAN("unix://")))
		path = span_from(path, strlen("unix://"));
	if (!path.len || path.ptr[0] != '/' || memchr(path.ptr, 0, path.len))
		return err_set(err, ERR_USAGE, "container runtime endpoint \"%.*s\": only unix:///path is understood",
			       SPAN_ARG(endpoint));
	if (path.len >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return err_set(err, ERR_USAGE, "container runtime endpoint \"%.*s\": longer than the 107 bytes of a socket's path",
			       SPAN_ARG(endpoint));
	memcpy(out, path.ptr, path.len);
	out[path.len] = 0;
	return 0;
}

int kubelet_cri_new(const struct kubelet_cri_params *p, struct kubelet_cri **out_cri, struct err *err)
{
	struct kubelet_cri *c = mem_new(struct kubelet_cri);
	struct http_client_params hp = { .loop = p->loop, .name = "cri" };
	/* An event stream may say nothing for days. */
	grpc_limits(&hp.limits);
	int rc = path_of(p->endpoint, c->path[0], err);
	if (rc == 0)
		rc = path_of(p->image_endpoint.len ? p->image_endpoint : p->endpoint, c->path[1], err);
	if (rc == 0)
		rc = http_client_new(&hp, &c->http, err);
	if (rc < 0) {
		free(c);
		return rc;
	}
	c->loop = p->loop;
	list_init(&c->calls);
	*out_cri = c;
	return 0;
}

void kubelet_cri_free(struct kubelet_cri *c)
{
	if (!c)
		return;
	LIST_EACH(&c->calls, call, struct kubelet_cri_call, link)
		call->done = NULL;
	http_client_free(c->http); /* every gRPC call says its last word inside */
	/* What is left could not begin. */
	LIST_EACH(&c->calls, call, struct kubelet_cri_call, link) {
		loop_task_cancel(&call->failed);
		err_done(&call->why);
		free(call);
	}
	free(c);
}

/* ---- a call ---- */

static void tell(struct kubelet_cri_call *call)
{
	auto_arena struct arena a = {};
	void *reply = NULL;
	list_remove(&call->link);
	if (call->done && !call->why.class) {
		reply = arena_zalloc(&a, api_typed_size(call->method->reply));
		if (api_typed_decode(&a, call->method->reply, API_FORM_MESSAGE, buf_span(&call->reply), reply, &call->why) < 0) {
			(void)err_note(&call->why, "rpc error: code = Internal desc = answer of %s", call->method->name);
			reply = NULL;
		}
	}
	if (call->done)
		call->done(call->why.class ? &call->why : NULL, reply, call->arg);
	buf_done(&call->reply);
	err_done(&call->why);
	free(call);
}

const char *kubelet_cri_words(const struct err *why)
{
	const char *text = err_msg(why), *desc = strncmp(text, "rpc error: code = ", 18) == 0 ? strstr(text, " desc = ") : NULL;
	return desc ? desc + 8 : text;
}

static void on_failed(struct loop_task *t)
{
	tell(container_of(t, struct kubelet_cri_call, failed));
}

static void on_message(struct grpc_call *g, struct span message, void *arg)
{
	struct kubelet_cri_call *call = arg;
	if (call->n_replies++)
		return grpc_call_cancel(g);
	buf_span_add(&call->reply, message);
}

static void on_done(struct grpc_call *g, enum grpc_status status, struct span message, void *arg)
{
	struct kubelet_cri_call *call = arg;
	(void)g;
	if (status == GRPC_OK && call->n_replies != 1) {
		status = GRPC_INTERNAL;
		message = SPAN("no answer, or several");
	}
	if (status != GRPC_OK)
		(void)err_set(&call->why, (enum err_class)grpc_status_class(status), "rpc error: code = %s desc = %.*s",
			      grpc_status_name(status), SPAN_ARG(message));
	tell(call);
}

static const struct grpc_call_ops call_ops = { .message = on_message, .done = on_done };

/* What the runtime waits for itself is no sign of its death. */
static unsigned timeout_of(enum kubelet_cri_method m, const void *request)
{
	int64_t own_s = 0;
	if (m == KUBELET_CRI_STOP_CONTAINER) {
		own_s = ((const struct api_cri_stop_container_request *)request)->timeout;
	} else if (m == KUBELET_CRI_EXEC_SYNC) {
		own_s = ((const struct api_cri_exec_sync_request *)request)->timeout;
		if (own_s <= 0)
			return 0;
	}
	own_s = MIN(MAX(own_s, (int64_t)0), (int64_t)(1 << 20));
	return methods[m].timeout_ms ? methods[m].timeout_ms + (unsigned)own_s * 1000 : 0;
}

struct kubelet_cri_call *kubelet_cri_send(struct kubelet_cri *c, enum kubelet_cri_method m, const void *request,
					  unsigned timeout_ms, kubelet_cri_fn *done, void *arg)
{
	auto_buf struct buf text = {};
	struct kubelet_cri_call *call = mem_new(struct kubelet_cri_call);
	*call = (struct kubelet_cri_call){ .cri = c, .method = &methods[m], .done = done, .arg = arg };
	loop_task_init(&call->failed, on_failed);
	list_push(&c->calls, &call->link);
	const struct http_origin origin = { .host = "localhost", .unix_path = c->path[methods[m].image], .http2 = true };
	const struct grpc_call_params p = { .loop = c->loop, .client = c->http, .origin = &origin, .method = methods[m].path,
					    .timeout_ms = timeout_ms ? timeout_ms : timeout_of(m, request),
					    .recv_bytes = REPLY_BYTES, .ops = &call_ops, .arg = call };
	int rc = api_typed_encode(&text, methods[m].request, API_FORM_MESSAGE, request, &call->why);
	if (rc == 0)
		rc = grpc_call_begin(&p, &call->grpc, &call->why);
	if (rc < 0) {
		(void)err_note(&call->why, "rpc error: code = %s desc = %s", grpc_status_name(grpc_status_of(-rc)), methods[m].name);
		loop_defer(c->loop, &call->failed);
		return call;
	}
	grpc_call_send(call->grpc, buf_span(&text));
	grpc_call_end(call->grpc);
	return call;
}

void kubelet_cri_cancel(struct kubelet_cri_call *call)
{
	call->done = NULL;
	if (call->grpc)
		grpc_call_cancel(call->grpc);
}

/* ---- events ---- */

enum { CRI_CREATED, CRI_RUNNING, CRI_EXITED }; /* of ContainerState */
enum { BACKOFF_MS = 20, BACKOFF_MAX_MS = 1000, SETTLE_MS = 1000, POLL_MS = 1000 };

/* A container or sandbox as the last comparison found it. */
struct seen {
	char *id, *sandbox, *uid; /* owned; id is the key */
	int state;                /* of a sandbox: as a container's, running or exited */
	bool again;               /* in the lists that are being compared */
};

struct kubelet_cri_events {
	struct kubelet_cri_events_params p;
	struct grpc_call *stream;         /* NULL = not open */
	struct kubelet_cri_call *probe;   /* is the stream heard? or one of the two lists */
	struct loop_timer timer;          /* opens again; settles; compares */
	unsigned failures;
	bool told, polls, freed, in_call; /* freed: closed by its owner while gRPC has still to say something */
	struct map seen;
};

static void poll_begin(struct kubelet_cri_events *e);

static void seen_free(struct seen *s)
{
	free(s->id);
	free(s->sandbox);
	free(s->uid);
	free(s);
}

static void seen_clear(struct kubelet_cri_events *e)
{
	MAP_EACH(&e->seen, m)
		seen_free(m->value);
	map_clear(&e->seen);
}

static void events_end(struct kubelet_cri_events *e)
{
	seen_clear(e);
	map_done(&e->seen);
	free(e);
}

/* Runs a callback of the owner, who may close: false when it did. */
#define TELL(e, ...)                                                                                                     \
	({                                                                                                               \
		(e)->in_call = true;                                                                                     \
		__VA_ARGS__;                                                                                             \
		(e)->in_call = false;                                                                                    \
		!(e)->freed;                                                                                             \
	})

/* After the last use of e in a callback of ours: its memory goes when the owner closed it meanwhile and nobody calls any more. */
static void settle_free(struct kubelet_cri_events *e)
{
	if (e->freed && !e->stream && !e->in_call)
		events_end(e);
}

static void opened(struct kubelet_cri_events *e)
{
	e->told = true;
	e->failures = 0;
	(void)TELL(e, e->p.opened(e->p.arg));
}

static void lost(struct kubelet_cri_events *e, const struct err *why)
{
	unsigned wait = BACKOFF_MS << MIN(e->failures, 6u);
	e->failures++;
	e->told = e->polls = false; /* what answers next may be another runtime */
	seen_clear(e);
	loop_timer_start(&e->timer, MIN(wait, (unsigned)BACKOFF_MAX_MS));
	if (e->p.closed)
		(void)TELL(e, e->p.closed(why, e->p.arg));
}

static void on_stream_header(struct grpc_call *g, void *arg)
{
	struct kubelet_cri_events *e = arg;
	(void)g;
	if (e->freed || e->told)
		return;
	loop_timer_stop(&e->timer);
	opened(e);
}

static void on_stream_message(struct grpc_call *g, struct span message, void *arg)
{
	struct kubelet_cri_events *e = arg;
	auto_arena struct arena a = {};
	struct api_cri_container_event_response r;
	(void)g;
	if (e->freed)
		return;
	if (api_cri_container_event_response_decode(&a, API_FORM_MESSAGE, message, &r, NULL) < 0 ||
	    r.container_event_type < KUBELET_CRI_CREATED || r.container_event_type > KUBELET_CRI_DELETED)
		return grpc_call_cancel(e->stream); /* nonsense: begin again, and list */
	const struct api_cri_pod_sandbox_status *s = r.pod_sandbox_status;
	const struct kubelet_cri_event ev = {
		.type = (enum kubelet_cri_event_type)r.container_event_type, .container_id = r.container_id,
		.sandbox_id = s ? s->id : SPAN_EMPTY, .pod_uid = s && s->metadata ? s->metadata->uid : SPAN_EMPTY,
		.full = s || r.containers_statuses.n ? &r : NULL,
	};
	(void)TELL(e, e->p.event(&ev, e->p.arg));
}

static void on_stream_done(struct grpc_call *g, enum grpc_status status, struct span message, void *arg)
{
	struct kubelet_cri_events *e = arg;
	auto_err struct err why = ERR_INIT;
	(void)g;
	e->stream = NULL;
	if (e->freed)
		return settle_free(e);
	if (e->probe) {
		kubelet_cri_cancel(e->probe);
		e->probe = NULL;
	}
	loop_timer_stop(&e->timer);
	if (status == GRPC_UNIMPLEMENTED) {
		e->polls = true;
		poll_begin(e);
		return;
	}
	if (status == GRPC_OK)
		(void)err_set(&why, ERR_UNAVAILABLE, "the runtime ended the event stream");
	else
		(void)err_set(&why, (enum err_class)grpc_status_class(status), "rpc error: code = %s desc = %.*s",
			      grpc_status_name(status), SPAN_ARG(message));
	lost(e, &why);
	settle_free(e);
}

static const struct grpc_call_ops stream_ops = { .header = on_stream_header, .message = on_stream_message, .done = on_stream_done };

/* A call that was made after the stream's is answered: the runtime has the stream, or will have it in a moment. */
static void on_probe(const struct err *why, const void *reply, void *arg)
{
	struct kubelet_cri_events *e = arg;
	(void)reply;
	e->probe = NULL;
	if (why && e->stream)
		grpc_call_cancel(e->stream); /* its end begins anew */
	if (why || e->told)
		return;
	loop_timer_start(&e->timer, SETTLE_MS);
	opened(e);
	settle_free(e);
}

static void stream_open(struct kubelet_cri_events *e)
{
	struct kubelet_cri *c = e->p.cri;
	auto_err struct err why = ERR_INIT;
	const struct http_origin origin = { .host = "localhost", .unix_path = c->path[0], .http2 = true };
	const struct grpc_call_params p = { .loop = c->loop, .client = c->http, .origin = &origin, .recv_bytes = REPLY_BYTES,
					    .method = "/runtime.v1.RuntimeService/GetContainerEvents", .ops = &stream_ops, .arg = e };
	static const struct api_cri_version_request version;
	if (grpc_call_begin(&p, &e->stream, &why) < 0) {
		e->stream = NULL;
		return lost(e, &why);
	}
	grpc_call_send(e->stream, SPAN_EMPTY); /* GetEventsRequest has no fields */
	grpc_call_end(e->stream);
	e->probe = kubelet_cri_version(c, &version, on_probe, e);
}

static void on_timer(struct loop_timer *t)
{
	struct kubelet_cri_events *e = container_of(t, struct kubelet_cri_events, timer);
	if (e->polls)
		poll_begin(e);
	else if (!e->stream)
		stream_open(e);
	else
		opened(e); /* the second telling, after SETTLE_MS */
	settle_free(e);
}

/* ---- events of a runtime that tells none */

/* false: the owner closed. */
static bool change(struct kubelet_cri_events *e, const struct seen *s, enum kubelet_cri_event_type type)
{
	const struct kubelet_cri_event ev = { .type = type, .container_id = span_of(s->id), .sandbox_id = span_of(s->sandbox),
					      .pod_uid = span_of(s->uid) };
	return TELL(e, e->p.event(&ev, e->p.arg));
}

static bool meet(struct kubelet_cri_events *e, struct span id, struct span sandbox, struct span uid, int state)
{
	struct seen *s = map_get(&e->seen, id);
	bool first = !s;
	if (first) {
		s = mem_new(struct seen);
		*s = (struct seen){ .id = mem_dup(id.ptr, id.len), .sandbox = mem_dup(sandbox.ptr, sandbox.len),
				    .uid = mem_dup(uid.ptr, uid.len), .state = -1 };
		(void)map_put(&e->seen, span_make(s->id, id.len), s);
	}
	int before = s->state;
	s->again = true;
	s->state = state;
	if (before == state || !e->told)
		return true;
	return change(e, s, state == CRI_RUNNING ? KUBELET_CRI_STARTED :
		      state == CRI_CREATED	 ? KUBELET_CRI_CREATED : KUBELET_CRI_STOPPED);
}

static struct span label(const struct api_cri_container *c, struct span key)
{
	return api_pair_get(c->labels.ptr, c->labels.n, key);
}

static void poll_end(struct kubelet_cri_events *e)
{
	if (e->freed)
		return;
	MAP_EACH(&e->seen, m) {
		struct seen *s = m->value;
		if (s->again)
			continue;
		(void)map_remove(&e->seen, span_of(s->id));
		bool go_on = !e->told || change(e, s, KUBELET_CRI_DELETED);
		seen_free(s);
		if (!go_on)
			return;
	}
	loop_timer_start(&e->timer, e->p.poll_ms ? e->p.poll_ms : POLL_MS);
	if (!e->told)
		opened(e);
}

static void on_containers(const struct err *why, const void *reply, void *arg)
{
	struct kubelet_cri_events *e = arg;
	const struct api_cri_list_containers_response *r = reply;
	e->probe = NULL;
	if (why) {
		lost(e, why);
		return settle_free(e);
	}
	for (uint32_t i = 0; i < r->containers.n && !e->freed; i++) {
		const struct api_cri_container *c = &r->containers.ptr[i];
		(void)meet(e, c->id, c->pod_sandbox_id, label(c, SPAN("io.kubernetes.pod.uid")), c->state);
	}
	poll_end(e);
	settle_free(e);
}

static void on_sandboxes(const struct err *why, const void *reply, void *arg)
{
	struct kubelet_cri_events *e = arg;
	const struct api_cri_list_pod_sandbox_response *r = reply;
	static const struct api_cri_list_containers_request all;
	e->probe = NULL;
	if (why) {
		lost(e, why);
		return settle_free(e);
	}
	MAP_EACH(&e->seen, m)
		((struct seen *)m->value)->again = false;
	for (uint32_t i = 0; i < r->items.n && !e->freed; i++) {
		const struct api_cri_pod_sandbox *s = &r->items.ptr[i];
		(void)meet(e, s->id, s->id, s->metadata ? s->metadata->uid : SPAN_EMPTY, s->state == 0 ? CRI_RUNNING : CRI_EXITED);
	}
	if (e->freed)
		return settle_free(e);
	e->probe = kubelet_cri_list_containers(e->p.cri, &all, on_containers, e);
}

static void poll_begin(struct kubelet_cri_events *e)
{
	static const struct api_cri_list_pod_sandbox_request all;
	e->probe = kubelet_cri_list_pod_sandbox(e->p.cri, &all, on_sandboxes, e);
}

/* ---- life */

struct kubelet_cri_events *kubelet_cri_events_open(const struct kubelet_cri_events_params *p)
{
	struct kubelet_cri_events *e = mem_new(struct kubelet_cri_events);
	e->p = *p;
	loop_timer_init(&e->timer, p->cri->loop, "cri events", on_timer);
	loop_timer_start(&e->timer, 0); /* not inside this call */
	return e;
}

void kubelet_cri_events_close(struct kubelet_cri_events *e)
{
	if (!e)
		return;
	e->freed = true;
	loop_timer_stop(&e->timer);
	if (e->probe)
		kubelet_cri_cancel(e->probe);
	e->probe = NULL;
	if (e->stream)
		grpc_call_cancel(e->stream);
	else if (!e->in_call)
		events_end(e);
}

bool kubelet_cri_events_polls(const struct kubelet_cri_events *e)
{
	return e->polls;
}
