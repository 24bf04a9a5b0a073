/* Probes' and hooks' doings. */
#include "kubelet/action.h"
#include "kubelet/cri.h"
#include "kubelet/probe.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>

#include "tls/tls.h"

#define OUTPUT_BYTES 10240 /* upstream's bound of what a probe may say */

struct kl_action {
	struct kl *k;
	void (*done)(enum kl_result result, struct span message, void *arg);
	void *arg;
	bool probe;
	struct buf words;       /* what goes with a result that is told later */
	enum kl_result result;
	struct loop_timer timer;
	bool sleeping, told;    /* told: the timer tells the result */
	struct kubelet_cri_call *cri;
	struct http_call *http;
	bool grpc;              /* a call is out that cannot be taken back */
	struct loop_fd fd;
	int sock;
	unsigned timeout_ms;
	int status;
	struct buf body;
	struct arena arena;
	struct span command;    /* its words joined */
	int64_t command_s;      /* what it may take */
	/* of an HTTP request and of those that it leads to */
	struct http_origin origin;
	struct span target, location;
	const struct http_field *fields;
	size_t n_fields;
	int64_t deadline_ms;
	unsigned hops;          /* requests that were sent */
};

static void on_closed(struct loop_fd *f)
{
	free(container_of(f, struct kl_action, fd));
}

static void action_free(struct kl_action *a)
{
	loop_timer_stop(&a->timer);
	buf_done(&a->words);
	buf_done(&a->body);
	arena_done(&a->arena);
	if (loop_fd_is_open(&a->fd)) {
		loop_fd_close(&a->fd, on_closed);
		fd_close(&a->sock);
		return;
	}
	fd_close(&a->sock);
	free(a);
}

static void finish(struct kl_action *a, enum kl_result result, struct span message)
{
	a->done(result, message, a->arg);
	action_free(a);
}

/* A result that is known already is told by the next turn. */
static void later(struct kl_action *a, enum kl_result result)
{
	a->result = result;
	a->told = true;
	loop_timer_start(&a->timer, 0);
}

static void on_timer(struct loop_timer *t)
{
	struct kl_action *a = container_of(t, struct kl_action, timer);
	if (a->told) {
		finish(a, a->result, buf_span(&a->words));
	} else if (a->sleeping) {
		finish(a, KL_SUCCESS, SPAN_EMPTY);
	} else { /* a connection that takes too long */
		buf_str(&a->words, ": i/o timeout");
		finish(a, KL_FAILURE, buf_span(&a->words));
	}
}

/* ---- a command */

static struct span joined(struct arena *a, const struct api_core_exec_action *exec)
{
	auto_buf struct buf b = {};
	for (uint32_t i = 0; i < exec->command.n; i++)
		buf_printf(&b, "%s%.*s", i ? " " : "", SPAN_ARG(exec->command.ptr[i]));
	return arena_span(a, buf_span(&b));
}

static void on_exec(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_exec_sync_response *r = reply;
	struct kl_action *a = arg;
	a->cri = NULL;
	if (why) {
		bool late = why->class == ERR_TIMEOUT || span_has(span_of(err_msg(why)), SPAN("DeadlineExceeded")) ||
			    span_has(span_of(err_msg(why)), SPAN("timed out"));
		if (late) {
			buf_printf(&a->words, "command timed out: \"%.*s\" timed out after %llds", SPAN_ARG(a->command),
				   (long long)a->command_s);
			finish(a, KL_FAILURE, buf_span(&a->words));
		} else {
			buf_str(&a->words, err_msg(why));
			finish(a, KL_UNKNOWN_RESULT, buf_span(&a->words));
		}
		return;
	}
	auto_buf struct buf all = {};
	buf_span_add(&all, span_sub(r->stdout, 0, OUTPUT_BYTES));
	buf_span_add(&all, span_sub(r->stderr, 0, OUTPUT_BYTES - all.len));
	if (a->probe || !r->exit_code) {
		buf_span_add(&a->words, buf_span(&all));
	} else { /* a hook that failed */
		const struct json said = json_str(buf_span(&all));
		buf_printf(&a->words, "command '%.*s' exited with %d: %.*s, message: ", SPAN_ARG(a->command), r->exit_code,
			   SPAN_ARG(span_sub(r->stderr, 0, OUTPUT_BYTES)));
		json_write(&a->words, &said, 0);
	}
	finish(a, r->exit_code ? KL_FAILURE : KL_SUCCESS, buf_span(&a->words));
}

/* ---- HTTP */

#define HOPS_MAX 10

static void http_send(struct kl_action *a);

static void on_head(struct http_call *c, void *arg)
{
	struct kl_action *a = arg;
	a->status = http_call_status(c);
	a->location = arena_span(&a->arena, http_call_header(c, "location"));
}

static void on_data(struct http_call *c, struct span data, void *arg)
{
	struct kl_action *a = arg;
	if (a->body.len < OUTPUT_BYTES)
		buf_span_add(&a->body, span_sub(data, 0, OUTPUT_BYTES - a->body.len));
}

/* Where the answer sends us, as far as that is the same host: upstream's RedirectChecker. */
static bool redirected(struct kl_action *a)
{
	auto_err struct err err = ERR_INIT;
	bool moved = a->status == 301 || a->status == 302 || a->status == 303 || a->status == 307 || a->status == 308;
	struct span to = a->location, fragment, target;
	struct http_origin origin;
	if (!moved || !to.len)
		return false;
	(void)span_split(to, '#', &to, &fragment);
	if (span_starts(to, SPAN("//")))
		to = arena_printf(&a->arena, "%s:%.*s", a->origin.tls ? "https" : "http", SPAN_ARG(to));
	if (span_starts(to, SPAN("http://")) || span_starts(to, SPAN("https://"))) {
		if (http_url_parse(to, &a->arena, &origin, &target, &err) < 0 || strcasecmp(origin.host, a->origin.host) != 0)
			return false;
		if (origin.tls && !(origin.tls_ctx = kl_probe_tls(a->k, &err)))
			return false;
		a->origin = origin;
		a->target = target;
	} else if (to.len && to.ptr[0] == '/') {
		a->target = to;
	} else { /* beside what was asked for */
		struct span path, query;
		(void)span_split(a->target, '?', &path, &query);
		ptrdiff_t slash = span_rchr(path, '/');
		a->target = arena_printf(&a->arena, "%.*s%.*s", (int)(slash + 1), path.ptr, SPAN_ARG(to));
	}
	return true;
}

static void on_http(struct http_call *c, const struct err *why, void *arg)
{
	struct kl_action *a = arg;
	a->http = NULL;
	if (!a->done) {
		action_free(a);
		return;
	}
	if (why) {
		buf_str(&a->words, ": ");
		if (why->class == ERR_TIMEOUT)
			buf_str(&a->words, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
		else
			http_dial_words(&a->words, span_of(a->origin.host), a->origin.port, why);
		finish(a, KL_FAILURE, buf_span(&a->words));
		return;
	}
	if (redirected(a)) {
		if (a->hops < HOPS_MAX)
			return http_send(a);
		buf_str(&a->words, ": stopped after 10 redirects");
		finish(a, KL_FAILURE, buf_span(&a->words));
		return;
	}
	buf_trunc(&a->words, 0);
	if (!a->probe || (a->status >= 200 && a->status < 400)) { /* a hook has done its work with any answer */
		finish(a, KL_SUCCESS, buf_span(&a->body));
		return;
	}
	buf_printf(&a->words, "HTTP probe failed with statuscode: %d", a->status);
	finish(a, KL_FAILURE, buf_span(&a->words));
}

static void http_send(struct kl_action *a)
{
	static const struct http_call_ops ops = { .head = on_head, .data = on_data, .done = on_http };
	auto_err struct err err = ERR_INIT;
	int64_t left_ms = MAX(a->deadline_ms - loop_now_ms(a->k->loop), 1);
	struct http_call_params cp = { .origin = &a->origin, .method = "GET", .target = a->target, .headers = a->fields,
				       .n_headers = a->n_fields, .total_ms = (unsigned)left_ms, .ops = &ops, .arg = a };
	a->hops++;
	buf_trunc(&a->body, 0);
	if (http_call_begin(a->k->http, &cp, &a->http, &err) < 0) {
		buf_printf(&a->words, ": %s", err_msg(&err));
		later(a, KL_FAILURE);
	}
}

static int port_of(const struct api_int_or_string *port, const struct api_core_container *c)
{
	int64_t n;
	if (!port->is_string)
		return port->i;
	for (uint32_t i = 0; i < c->ports.n; i++)
		if (span_eq(c->ports.ptr[i].name, port->s))
			return c->ports.ptr[i].container_port;
	return span_to_i64(port->s, &n) && n > 0 && n < 65536 ? (int)n : -1;
}

static struct span host_of(const struct kl_action_params *p, struct span host)
{
	struct span ips[4];
	return host.len ? host : kl_pod_ips(p->pod, ips) ? ips[0] : SPAN_EMPTY;
}

static void http_begin(struct kl_action *a, const struct kl_action_params *p)
{
	const struct api_core_http_get_action *get = p->http_get;
	struct arena *ar = &a->arena;
	auto_err struct err err = ERR_INIT;
	struct span host = host_of(p, get->host), path = get->path.len ? get->path : SPAN("/");
	int port = port_of(&get->port, p->container);
	bool https = span_is(get->scheme, "HTTPS");
	if (port <= 0 || !host.len) {
		buf_str(&a->words, port <= 0 ? "port not found" : "the pod has no address");
		later(a, KL_UNKNOWN_RESULT);
		return;
	}
	a->origin = (struct http_origin){ .tls = https, .host = arena_cstr(ar, host), .port = (unsigned)port };
	if (https && !(a->origin.tls_ctx = kl_probe_tls(a->k, &err))) {
		buf_str(&a->words, err_msg(&err));
		later(a, KL_UNKNOWN_RESULT);
		return;
	}
	struct http_field *fields = arena_alloc_n(ar, get->http_headers.n + 2, sizeof(*fields));
	size_t n = 0;
	bool agent = false, accept = false;
	for (uint32_t i = 0; i < get->http_headers.n; i++) {
		struct span name = get->http_headers.ptr[i].name, value = get->http_headers.ptr[i].value;
		agent |= span_eq_nocase(name, SPAN("User-Agent"));
		accept |= span_eq_nocase(name, SPAN("Accept"));
		if (http_value_ok(value) && !span_eq_nocase(name, SPAN("Content-Length")) && !span_eq_nocase(name, SPAN("Connection")))
			fields[n++] = (struct http_field){ arena_span(ar, name), arena_span(ar, value) };
	}
	if (!agent)
		fields[n++] = (struct http_field){ SPAN("User-Agent"), a->probe ? SPAN("kube-probe/1.33") : SPAN("kube-lifecycle/1.33") };
	if (!accept)
		fields[n++] = (struct http_field){ SPAN("Accept"), SPAN("*/*") };
	bool v6 = span_chr(host, ':') >= 0;
	buf_printf(&a->words, "Get \"%s://%s%.*s%s:%d%s%.*s\"", https ? "https" : "http", v6 ? "[" : "", SPAN_ARG(host), v6 ? "]"
		   : "", port,
		   span_starts(path, SPAN("/")) ? "" : "/", SPAN_ARG(path));
	a->target = span_starts(path, SPAN("/")) ? arena_span(ar, path) : arena_printf(ar, "/%.*s", SPAN_ARG(path));
	a->fields = fields;
	a->n_fields = n;
	a->deadline_ms = loop_now_ms(a->k->loop) + a->timeout_ms;
	http_send(a);
}

/* ---- a connection */

static void on_connected(struct loop_fd *f, unsigned events)
{
	struct kl_action *a = container_of(f, struct kl_action, fd);
	int code = 0;
	socklen_t len = sizeof(code);
	(void)events;
	if (getsockopt(a->sock, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		code = errno;
	if (code)
		buf_printf(&a->words, ": connect: %s", code == ECONNREFUSED ? "connection refused" : err_why(code));
	finish(a, code ? KL_FAILURE : KL_SUCCESS, code ? buf_span(&a->words) : SPAN_EMPTY);
}

static void tcp_begin(struct kl_action *a, const struct kl_action_params *p)
{
	auto_arena struct arena ar = {};
	auto_err struct err err = ERR_INIT;
	struct span host = host_of(p, p->tcp_socket->host);
	int port = port_of(&p->tcp_socket->port, p->container);
	struct addrinfo *list = NULL, hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	if (port <= 0 || !host.len) {
		buf_str(&a->words, port <= 0 ? "port not found" : "the pod has no address");
		later(a, KL_UNKNOWN_RESULT);
		return;
	}
	bool v6 = span_chr(host, ':') >= 0;
	buf_printf(&a->words, "dial tcp %s%.*s%s:%d", v6 ? "[" : "", SPAN_ARG(host), v6 ? "]" : "", port);
	/* Addresses alone: a name would block the loop, and a probe that depends on DNS tells about DNS. */
	if (getaddrinfo(arena_cstr(&ar, host), arena_printf(&ar, "%d", port).ptr, &hints, &list) != 0 || !list) {
		buf_str(&a->words, ": not an address");
		later(a, KL_UNKNOWN_RESULT);
		return;
	}
	a->sock = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc = a->sock < 0 ? -1 : connect(a->sock, list->ai_addr, list->ai_addrlen);
	int code = errno;
	freeaddrinfo(list);
	if (rc == 0) {
		later(a, KL_SUCCESS);
		buf_trunc(&a->words, 0);
	} else if (code != EINPROGRESS || loop_fd_open(&a->fd, a->k->loop, "probe", a->sock, on_connected, &err) < 0) {
		buf_printf(&a->words, ": connect: %s", code == ECONNREFUSED ? "connection refused" : err_why(code));
		later(a, KL_FAILURE);
	} else {
		loop_fd_want(&a->fd, LOOP_WRITE);
		loop_timer_start(&a->timer, a->timeout_ms);
	}
}

/* ---- gRPC health checking protocol v1 */

static void on_grpc(enum grpc_status status, struct span message, struct span reply, void *arg)
{
	enum { SERVING = 1 };
	struct kl_action *a = arg;
	a->grpc = false;
	if (!a->done) {
		action_free(a);
		return;
	}
	/* HealthCheckResponse: field 1, a varint */
	int serving = reply.len >= 2 && reply.ptr[0] == 0x08 ? reply.ptr[1] : 0;
	buf_trunc(&a->words, 0);
	if (status == GRPC_OK && serving == SERVING) {
		buf_str(&a->words, "service healthy");
	} else if (status == GRPC_OK) {
		static const char *const names[] = { "UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN" };
		buf_printf(&a->words, "service unhealthy (responded with \"%s\")", names[serving >= 0 && serving < 4 ? serving : 0]);
	} else if (status == GRPC_UNIMPLEMENTED) {
		buf_printf(&a->words, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %.*s",
			   SPAN_ARG(message));
	} else if (status == GRPC_DEADLINE_EXCEEDED) {
		buf_printf(&a->words, "timeout: health rpc did not complete within %ums", a->timeout_ms);
	} else {
		buf_printf(&a->words, "error: health rpc probe failed: %.*s", SPAN_ARG(message));
	}
	finish(a, status == GRPC_OK && serving == SERVING ? KL_SUCCESS : KL_FAILURE, buf_span(&a->words));
}

static void grpc_begin(struct kl_action *a, const struct kl_action_params *p)
{
	auto_arena struct arena ar = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf message = {};
	struct span host = host_of(p, SPAN_EMPTY), service = p->grpc->service;
	struct http_origin origin = { .host = arena_cstr(&ar, host), .port = (unsigned)p->grpc->port, .http2 = true };
	const struct http_field agent = { SPAN("user-agent"), SPAN("kube-probe/1.33") };
	struct grpc_call_params gp = { .loop = a->k->loop, .client = a->k->http, .origin = &origin, .metadata = &agent, .n_metadata = 1,
				       .method = "/grpc.health.v1.Health/Check", .timeout_ms = a->timeout_ms, .recv_bytes = 4096 };
	if (service.len) { /* HealthCheckRequest: field 1, the service; its length as a varint */
		buf_chr(&message, 0x0a);
		size_t left = service.len;
		for (; left >= 0x80; left >>= 7)
			buf_chr(&message, (char)(0x80 | (left & 0x7f)));
		buf_chr(&message, (char)left);
		buf_span_add(&message, service);
	}
	if (!host.len || grpc_unary(&gp, buf_span(&message), on_grpc, a, &err) < 0) {
		buf_str(&a->words, host.len ? err_msg(&err) : "the pod has no address");
		later(a, host.len ? KL_FAILURE : KL_UNKNOWN_RESULT);
		return;
	}
	a->grpc = true;
}

/* ---- the seam */

struct kl_action *kl_action_begin(const struct kl_action_params *p)
{
	struct kl_action *a = mem_new(struct kl_action);
	*a = (struct kl_action){ .k = p->pod->k, .done = p->done, .arg = p->arg, .probe = p->probe, .sock = -1,
				 .timeout_ms = p->timeout_ms ? p->timeout_ms : 120000 };
	loop_timer_init(&a->timer, a->k->loop, "probe or hook", on_timer);
	if (p->exec) {
		struct api_cri_exec_sync_request q = { .container_id = p->id, .timeout = (a->timeout_ms + 999) / 1000 };
		q.cmd.ptr = p->exec->command.ptr;
		q.cmd.n = p->exec->command.n;
		a->command = joined(&a->arena, p->exec);
		a->command_s = q.timeout;
		a->cri = kubelet_cri_exec_sync(a->k->cri, &q, on_exec, a);
	} else if (p->http_get) {
		http_begin(a, p);
	} else if (p->tcp_socket) {
		tcp_begin(a, p);
	} else if (p->grpc) {
		grpc_begin(a, p);
	} else if (p->sleep) {
		a->sleeping = true;
		loop_timer_start(&a->timer, MIN(MAX(p->sleep->seconds, 0), KL_SECONDS_MAX) * 1000);
	} else {
		buf_str(&a->words, "invalid handler: nothing to do");
		later(a, KL_UNKNOWN_RESULT);
	}
	return a;
}

void kl_action_cancel(struct kl_action *a)
{
	a->done = NULL;
	if (a->cri)
		kubelet_cri_cancel(a->cri);
	loop_timer_stop(&a->timer);
	if (a->http)
		http_call_cancel(a->http); /* its last callback frees */
	else if (!a->grpc)
		action_free(a);
}
