/* exec, attach, port-forward: the runtime gives a URL, and the client's upgrade is passed to it byte for byte; run.
 *
 *     client ──http_req──▶ [pipe] ──http_call──▶ runtime's streaming server
 *     client ◀──duplex 0── [pipe] ◀──duplex 1──▶                    after 101 from it
 *
 * The pipe outlives the request, which ends when its connection is taken over. */
#include "kubelet/server_impl.h"

enum { QUEUE_BYTES = 256 << 10, HEADERS_MAX = 100, COMMAND_MAX = 10000 };

struct pipe_ {
	struct list link;
	struct kl_server *s;
	struct kl_request *q;      /* NULL once the request is over */
	struct http_call *call;    /* NULL once over */
	struct http_pair pair;     /* client's, runtime's */
	const char *upgrade;
	bool answering;            /* the runtime's answer, which is no upgrade, is passed on */
};

static void pipe_over(struct pipe_ *p)
{
	if (p->q || p->call || p->pair.side[0] || p->pair.side[1])
		return;
	list_remove(&p->link);
	free(p);
}

static void pair_closed(struct http_pair *pair)
{
	pipe_over(container_of(pair, struct pipe_, pair));
}

/* ---- headers: those of the connection are made anew (RFC 9110 section 7.6.1) */

static bool stays(struct span name)
{
	static const char *const names[] = { "connection", "upgrade", "keep-alive", "proxy-connection", "te", "trailer",
		"transfer-encoding",
					     "content-length", "host", "authorization", "date" };
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		if (span_eq_nocase(name, span_of(names[i])))
			return true;
	return name.len && name.ptr[0] == ':';
}

static void answer_headers(struct pipe_ *p)
{
	const struct http_fields *in = http_call_headers(p->call);
	for (unsigned i = 0; i < in->n; i++) {
		struct http_field f = in->items[i];
		if (!stays(f.name) || (p->upgrade && span_eq_nocase(f.name, SPAN("upgrade")) && http_call_status(p->call) == 101))
			http_reply_header(p->q->http, arena_cstr(p->q->a, f.name), f.value);
	}
}

/* ---- the call to the runtime */

static void call_head(struct http_call *call, void *arg)
{
	struct pipe_ *p = arg;
	auto_err struct err err = ERR_INIT;
	int status = http_call_status(call);
	if (!p->q)
		return;
	answer_headers(p);
	if (status != 101 || !p->upgrade) {
		p->answering = true;
		http_reply_status(p->q->http, status);
		return http_reply_begin(p->q->http);
	}
	struct http_duplex *near, *far;
	if (http_call_hijack(call, &far, &err) < 0)
		return kl_request_text(p->q, 500, "%s\n", err_msg(&err));
	http_pair_set(&p->pair, 1, far);
	if (http_req_hijack(p->q->http, 101, &near, &err) < 0) {
		log_error("a stream could not be taken over", kv_err(&err));
		http_reply_abort(p->q->http);
		return http_pair_abort(&p->pair);
	}
	http_pair_set(&p->pair, 0, near);
}

static void call_data(struct http_call *call, struct span data, void *arg)
{
	struct pipe_ *p = arg;
	if (!p->q || !p->answering)
		return;
	http_reply_add(p->q->http, http_copy(data));
	if (http_reply_queued(p->q->http) > QUEUE_BYTES)
		http_call_pause(call);
}

static void call_done(struct http_call *call, const struct err *why, void *arg)
{
	struct pipe_ *p = arg;
	p->call = NULL;
	if (p->q && p->q->http && !p->pair.side[0]) {
		if (why && !p->answering)
			kl_request_text(p->q, 500, "error dialing backend: %s\n", err_msg(why));
		else if (why)
			http_reply_abort(p->q->http);
		else if (p->answering)
			http_reply_end(p->q->http);
	}
	pipe_over(p);
}

static const struct http_call_ops call_ops = { .head = call_head, .data = call_data, .done = call_done };

static void on_gone(struct kl_request *q)
{
	struct pipe_ *p = q->state;
	p->q = NULL;
	/* Taken over: the call's connection has its own life. Otherwise the client went. */
	if (p->call && !p->pair.side[0])
		http_call_cancel(p->call);
	pipe_over(p);
}

static void on_drain(struct kl_request *q)
{
	struct pipe_ *p = q->state;
	if (p->call)
		http_call_resume(p->call);
}

static void pass_on(struct kl_request *q, struct span url)
{
	auto_err struct err err = ERR_INIT;
	struct http_origin origin;
	struct span target;
	struct http_field fields[HEADERS_MAX];
	const struct http_fields *in = http_req_headers(q->http);
	size_t n = 0;
	if (http_url_parse(url, q->a, &origin, &target, &err) < 0)
		return kl_request_text(q, 500, "streaming URL of the runtime: %s\n", err_msg(&err));
	for (unsigned i = 0; i < in->n && n < HEADERS_MAX; i++)
		if (!stays(in->items[i].name))
			fields[n++] = in->items[i];
	struct pipe_ *p = mem_new(struct pipe_);
	*p = (struct pipe_){ .s = q->s, .q = q, .pair = { .closed = pair_closed } };
	if (http_req_wants_upgrade(q->http, "websocket"))
		p->upgrade = "websocket";
	else if (http_req_wants_upgrade(q->http, "SPDY/3.1"))
		p->upgrade = "SPDY/3.1";
	list_push(&q->s->pipes, &p->link);
	q->state = p;
	q->gone = on_gone;
	q->drain = on_drain;
	const struct http_call_params cp = { .origin = &origin, .method = arena_cstr(q->a, http_req_method(q->http)), .target = target,
					     .headers = fields, .n_headers = n, .upgrade = p->upgrade, .connect_ms = 10000,
					     .ops = &call_ops, .arg = p };
	if (http_call_begin(q->s->streams, &cp, &p->call, &err) < 0)
		kl_request_text(q, 500, "error dialing backend: %s\n", err_msg(&err));
}

void kl_streams_cut(struct kl_server *s)
{
	LIST_EACH(&s->pipes, p, struct pipe_, link)
		http_pair_abort(&p->pair);
}

/* ---- what is asked of the runtime */

static void refused(struct kl_request *q, const struct err *why)
{
	kl_request_text(q, 500, "%s", err_msg(why));
}

static void on_exec(const struct err *why, const void *reply, void *arg)
{
	struct kl_request *q = arg;
	q->cri = NULL;
	why ? refused(q, why) : pass_on(q, arena_span(q->a, ((const struct api_cri_exec_response *)reply)->url));
}

static void on_attach(const struct err *why, const void *reply, void *arg)
{
	struct kl_request *q = arg;
	q->cri = NULL;
	why ? refused(q, why) : pass_on(q, arena_span(q->a, ((const struct api_cri_attach_response *)reply)->url));
}

static void on_port_forward(const struct err *why, const void *reply, void *arg)
{
	struct kl_request *q = arg;
	q->cri = NULL;
	why ? refused(q, why) : pass_on(q, arena_span(q->a, ((const struct api_cri_port_forward_response *)reply)->url));
}

/* All values of `command` in their order. */
static unsigned commands(struct kl_request *q, const char *key, struct span **out)
{
	struct span rest = http_req_query(q->http), part, name, value, *all = NULL;
	size_t n = 0, cap = 0;
	while (span_cut(&rest, '&', &part) && n < COMMAND_MAX) {
		auto_buf struct buf b = {};
		if (!span_split(part, '=', &name, &value) || !span_is(name, key) || !percent_parse(&b, value, true))
			continue;
		MEM_GROW(all, n, cap);
		all[n++] = arena_span(q->a, buf_span(&b));
	}
	*out = arena_alloc_n(q->a, n + 1, sizeof(*all));
	if (n)
		memcpy(*out, all, n * sizeof(*all));
	free(all);
	return (unsigned)n;
}

/* A running container; NULL: answered. wants: what it is for, which upstream refuses in words of its own. */
static const struct kl_container *running(struct kl_request *q, const char *wants)
{
	struct span name;
	const struct kl_pod *p = kl_request_pod(q, true, &name);
	if (!p)
		return NULL;
	const struct kl_container *c = kl_pod_container(p, name, false);
	if (c && c->state == KL_RUNNING)
		return c;
	if (strcmp(wants, "attach") == 0)
		kl_request_text(q, 500, "container %.*s not found in pod %.*s_%.*s", SPAN_ARG(name), SPAN_ARG(p->name), SPAN_ARG(p->ns));
	else
		kl_request_text(q, 500, "container not found (\"%.*s\")", SPAN_ARG(name));
	return NULL;
}

/* Which streams; false: answered. Upstream's remotecommand.NewOptions. */
static bool streams_read(struct kl_request *q, bool *in, bool *out, bool *err, bool *tty)
{
	*in = kl_request_flag(q, "input") || kl_request_flag(q, "stdin");
	*out = kl_request_flag(q, "output") || kl_request_flag(q, "stdout");
	*err = kl_request_flag(q, "error") || kl_request_flag(q, "stderr");
	*tty = kl_request_flag(q, "tty");
	if (*tty)
		*err = false; /* one terminal, one stream */
	if (*in || *out || *err)
		return true;
	kl_request_text(q, 400, "you must specify at least 1 of stdin, stdout, stderr");
	return false;
}

void kl_serve_exec(struct kl_request *q)
{
	struct span *cmd;
	const struct kl_container *c = running(q, "exec");
	struct api_cri_exec_request r = {};
	if (!c || !streams_read(q, &r.stdin, &r.stdout, &r.stderr, &r.tty))
		return;
	r.container_id = c->id;
	r.cmd.n = commands(q, "command", &cmd);
	r.cmd.ptr = cmd;
	q->cri = kubelet_cri_exec(q->s->k->cri, &r, on_exec, q);
}

void kl_serve_attach(struct kl_request *q)
{
	const struct kl_container *c = running(q, "attach");
	struct api_cri_attach_request r = {};
	if (!c || !streams_read(q, &r.stdin, &r.stdout, &r.stderr, &r.tty))
		return;
	r.container_id = c->id;
	/* A terminal or none was decided when the container was made. */
	const struct kl_pod *p = kl_pod_get(q->s->k, q->segments[1], q->segments[2]);
	int i = p ? kl_spec_find(&p->object->pod.spec, c->name) : -1;
	enum kl_container_kind kind;
	if (i >= 0)
		r.tty = kl_spec_container(&p->object->pod.spec, (unsigned)i, &kind)->tty;
	r.stderr = r.stderr && !r.tty;
	q->cri = kubelet_cri_attach(q->s->k->cri, &r, on_attach, q);
}

void kl_serve_port_forward(struct kl_request *q)
{
	struct span none, *ports;
	const struct kl_pod *p = kl_request_pod(q, false, &none);
	const struct kl_sandbox *sb = p ? kl_pod_sandbox(p) : NULL;
	struct api_cri_port_forward_request r = {};
	if (!p)
		return;
	if (!sb)
		return kl_request_text(q, 500, "unable to do port forwarding: sandbox of pod \"%.*s\" is not running", SPAN_ARG(p->name));
	/* WebSocket clients name the ports here; SPDY clients with each stream. */
	unsigned n = commands(q, "port", &ports), used = 0;
	int32_t *all = arena_alloc_n(q->a, n + 1, sizeof(*all));
	for (unsigned i = 0; i < n; i++) {
		struct span rest = ports[i], one;
		int64_t v;
		while (span_cut(&rest, ',', &one) && used < n) {
			if (!span_to_i64(one, &v) || v < 1 || v > 65535)
				return kl_request_text(q, 400, "invalid port \"%.*s\"", SPAN_ARG(one));
			all[used++] = (int32_t)v;
		}
	}
	r.pod_sandbox_id = sb->id;
	r.port.ptr = all;
	r.port.n = used;
	q->cri = kubelet_cri_port_forward(q->s->k->cri, &r, on_port_forward, q);
}

/* ---- run: a command's output as one answer */

static void on_run(const struct err *why, const void *reply, void *arg)
{
	struct kl_request *q = arg;
	const struct api_cri_exec_sync_response *r = reply;
	auto_buf struct buf b = {};
	q->cri = NULL;
	if (why)
		return refused(q, why);
	buf_span_add(&b, r->stdout);
	buf_span_add(&b, r->stderr);
	if (r->exit_code)
		buf_printf(&b, "command terminated with exit code %d", r->exit_code);
	http_reply_text(q->http, r->exit_code ? 500 : 200, "text/plain; charset=utf-8", buf_span(&b));
}

void kl_serve_run(struct kl_request *q)
{
	struct span cmd, word, *words;
	const struct kl_container *c = running(q, "run");
	struct api_cri_exec_sync_request r = {};
	if (!c)
		return;
	if (!kl_request_query(q, "cmd", &cmd))
		return kl_request_text(q, 400, "cmd is missing");
	words = arena_alloc_n(q->a, cmd.len + 1, sizeof(*words));
	while (span_cut(&cmd, ' ', &word))
		if (word.len)
			words[r.cmd.n++] = word;
	r.cmd.ptr = words;
	r.container_id = c->id;
	q->cri = kubelet_cri_exec_sync(q->s->k->cri, &r, on_run, q);
}
