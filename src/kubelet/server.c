/* Routes, and the answers that need nobody else. */
#include "kubelet/server_impl.h"

/* ---- answers */

void kl_request_text(struct kl_request *q, int status, const char *fmt, ...)
{
	auto_buf struct buf b = {};
	va_list ap;
	if (!q->http)
		return;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	http_reply_text(q->http, status, "text/plain; charset=utf-8", buf_span(&b));
}

void kl_request_json(struct kl_request *q, struct span body)
{
	if (q->http)
		http_reply_text(q->http, 200, "application/json", body);
}

bool kl_request_query(struct kl_request *q, const char *name, struct span *out)
{
	auto_buf struct buf b = {};
	if (!query_get(http_req_query(q->http), name, &b))
		return false;
	*out = arena_span(q->a, buf_span(&b));
	return true;
}

bool kl_request_flag(struct kl_request *q, const char *name)
{
	struct span v;
	return kl_request_query(q, name, &v) && (span_is(v, "1") || span_is(v, "true"));
}

struct kl_pod *kl_request_pod(struct kl_request *q, bool with_container, struct span *out_container)
{
	size_t need = with_container ? 4 : 3;
	*out_container = SPAN_EMPTY;
	if (q->n_segments != need && q->n_segments != need + 1) {
		kl_request_text(q, 404, "404 page not found\n");
		return NULL;
	}
	struct kl_pod *p = kl_pod_get(q->s->k, q->segments[1], q->segments[2]);
	bool with_uid = q->n_segments == need + 1;
	if (p && with_uid && !span_eq(q->segments[3], p->uid) && !span_eq(q->segments[3], p->mirror_uid))
		p = NULL;
	if (!p || !p->object) {
		kl_request_text(q, 404, "pod does not exist");
		return NULL;
	}
	if (with_container)
		*out_container = q->segments[q->n_segments - 1];
	return p;
}

/* ---- small answers */

static void serve_healthz(struct kl_request *q)
{
	kl_request_text(q, 200, "ok");
}

static void serve_pods(struct kl_request *q)
{
	auto_buf struct buf b = {};
	const struct kl_pod *p;
	size_t pos = 0;
	bool first = true;
	buf_str(&b, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
	while ((p = kl_pod_next(q->s->k, &pos))) {
		if (!p->object || !q->s->p.pod_write)
			continue;
		if (!first)
			buf_chr(&b, ',');
		first = false;
		q->s->p.pod_write(&b, p);
	}
	buf_str(&b, "]}\n");
	kl_request_json(q, buf_span(&b));
}

/* What runs, whether anybody wants it or not: names and images alone, as upstream. */
static void serve_running(struct kl_request *q)
{
	auto_buf struct buf b = {};
	const struct kl_pod *p;
	size_t pos = 0;
	struct json_out o = { .buf = &b };
	json_out_begin(&o);
	json_out_kspan(&o, "kind", SPAN("PodList"));
	json_out_kspan(&o, "apiVersion", SPAN("v1"));
	json_out_key(&o, SPAN("metadata"));
	json_out_raw(&o, SPAN("{}"));
	json_out_key(&o, SPAN("items"));
	json_out_begin_array(&o);
	while ((p = kl_pod_next(q->s->k, &pos))) {
		bool runs = false;
		LIST_EACH(&p->containers, c, const struct kl_container, link)
			runs |= c->state == KL_RUNNING;
		if (!runs)
			continue;
		json_out_begin(&o);
		json_out_key(&o, SPAN("metadata"));
		json_out_begin(&o);
		json_out_kspan(&o, "name", p->name);
		json_out_kspan(&o, "namespace", p->ns);
		json_out_kspan(&o, "uid", p->uid);
		json_out_end(&o);
		json_out_key(&o, SPAN("spec"));
		json_out_begin(&o);
		json_out_key(&o, SPAN("containers"));
		json_out_begin_array(&o);
		LIST_EACH(&p->containers, c, const struct kl_container, link) {
			if (c->state != KL_RUNNING)
				continue;
			json_out_begin(&o);
			json_out_kspan(&o, "name", c->name);
			json_out_kspan(&o, "image", c->image);
			json_out_key(&o, SPAN("resources"));
			json_out_raw(&o, SPAN("{}"));
			json_out_end(&o);
		}
		json_out_end(&o);
		json_out_end(&o);
		json_out_key(&o, SPAN("status"));
		json_out_raw(&o, SPAN("{}"));
		json_out_end(&o);
	}
	json_out_end(&o);
	json_out_end(&o);
	kl_request_json(q, buf_span(&b));
}

static void serve_configz(struct kl_request *q)
{
	auto_buf struct buf b = {};
	buf_str(&b, "{\"kubeletconfig\":");
	if (q->s->p.config_write)
		q->s->p.config_write(q->s->k, &b);
	else
		buf_str(&b, "{}");
	buf_chr(&b, '}');
	kl_request_json(q, buf_span(&b));
}

static void page(struct kl_request *q, struct metrics *m)
{
	auto_buf struct buf b = {};
	if (m)
		metrics_write(m, &b);
	http_reply_text(q->http, 200, METRICS_CONTENT_TYPE, buf_span(&b));
}

static void serve_metrics(struct kl_request *q)
{
	page(q, q->s->k->metrics);
}

static void serve_probes(struct kl_request *q)
{
	page(q, q->s->p.probes);
}

/* ---- routes; the first that fits */

static const struct kl_route routes[] = {
	{ "healthz", { "healthz", "proxy" }, serve_healthz },
	{ "pods", { "pods", "proxy" }, serve_pods },
	{ "runningpods/", { "pods", "proxy" }, serve_running },
	{ "configz", { "configz", "proxy" }, serve_configz },
	{ "metrics", { "metrics" }, serve_metrics },
	{ "metrics/resource", { "metrics" }, kl_serve_metrics_resource },
	{ "metrics/cadvisor", { "metrics" }, kl_serve_metrics_cadvisor },
	{ "metrics/probes", { "metrics" }, serve_probes },
	{ "stats/summary", { "stats" }, kl_serve_summary },
	{ "stats/", { "stats" }, NULL },
	{ "logs/", { "log" }, kl_serve_log_files },
	{ "containerLogs/", { "proxy" }, kl_serve_logs },
	{ "exec/", { "proxy" }, kl_serve_exec, true },
	{ "attach/", { "proxy" }, kl_serve_attach, true },
	{ "portForward/", { "proxy" }, kl_serve_port_forward, true },
	{ "run/", { "proxy" }, kl_serve_run, true },
	{ "", { "proxy" }, NULL }, /* who may not ask is told so before they are told that there is nothing */
};

static bool fits(const struct kl_route *r, struct span path)
{
	struct span want = span_of(r->path);
	path = span_from(path, 1);
	if (!want.len)
		return true;
	if (want.ptr[want.len - 1] != '/')
		return span_eq(path, want);
	return span_starts(path, want) || span_eq(path, span_sub(want, 0, want.len - 1));
}

/* ---- a request's life */

static void on_done(struct http_req *r, bool complete, void *arg)
{
	struct kl_request *q = arg;
	q->http = NULL;
	list_remove(&q->link);
	if (q->review)
		client_cancel(q->review);
	if (q->cri)
		kubelet_cri_cancel(q->cri);
	if (q->gone)
		q->gone(q);
	free(q->cache_key);
	free(q);
}

static void on_hangup(struct http_req *r, void *arg)
{
	http_reply_abort(r);
}

static void on_drain(struct http_req *r, void *arg)
{
	struct kl_request *q = arg;
	if (q->drain)
		q->drain(q);
}

static const struct http_req_ops req_ops = { .drain = on_drain, .hangup = on_hangup, .done = on_done };

static void handle(struct http_req *r, void *arg)
{
	struct kl_server *s = arg;
	auto_err struct err err = ERR_INIT;
	struct kl_request *q = mem_new(struct kl_request);
	*q = (struct kl_request){ .s = s, .http = r, .a = http_req_arena(r) };
	list_push(&s->requests, &q->link);
	http_req_ops_set(r, &req_ops, q);
	if (http_req_segments(r, &q->segments, &q->n_segments, &err) < 0)
		return kl_request_text(q, 400, "%s\n", err_msg(&err));
	for (unsigned i = 0; i < ARRAY_LEN(routes) && !q->route; i++)
		if (fits(&routes[i], http_req_path(r)))
			q->route = &routes[i];
	/* "a/" has an empty last segment. */
	if (q->n_segments && !q->segments[q->n_segments - 1].len)
		q->n_segments--;
	kl_auth_begin(q);
}

/* ---- the server */

int kl_server_tls(struct kl_server *s, struct span cert_pem, struct span key_pem, struct span client_ca_pem, struct err *err)
{
	const struct tls_pair pair = { cert_pem, key_pem, "the kubelet's serving certificate", "its key" };
	const struct tls_server_params p = { .pairs = &pair, .n_pairs = 1, .alpn = TLS_ALPN_HTTP, .client_ca_pem = client_ca_pem,
					     .client_ca_where = "--client-ca-file",
					     .client_auth = client_ca_pem.len ? TLS_CLIENT_ASK : TLS_CLIENT_NONE };
	struct tls_ctx *ctx;
	int rc = tls_server_new(&p, &ctx, err);
	if (rc < 0)
		return rc;
	tls_slot_put(&s->tls, ctx);
	if (s->http)
		http_server_renew(s->http);
	return 0;
}

static int listen_on(struct kl_server *s, struct err *err)
{
	auto_arena struct arena a = {};
	int fd = s->p.fd;
	if (fd < 0)
		fd = http_listen_tcp(arena_cstr(&a, s->p.address), s->p.port, 0, err);
	if (fd < 0)
		return -ERR_IN_USE;
	s->port = http_fd_port(fd);
	return http_server_listen(s->http, fd, HTTP_TLS, err);
}

int kl_server_new(const struct kl_server_params *p, struct kl_server **out, struct err *err)
{
	struct kl_server *s = mem_new(struct kl_server);
	s->p = *p;
	s->k = p->k;
	list_init(&s->requests);
	list_init(&s->pipes);
	list_init(&s->kept);
	tls_slot_init(&s->tls);
	const struct http_server_params hp = { .loop = p->k->loop, .name = "kubelet", .handle = handle, .arg = s, .tls = &s->tls };
	const struct http_client_params cp = { .loop = p->k->loop, .name = "kubelet streams" };
	int rc = kl_server_tls(s, p->cert_pem, p->key_pem, p->client_ca_pem, err);
	if (rc == 0)
		rc = http_server_new(&hp, &s->http, err);
	if (rc == 0)
		rc = http_client_new(&cp, &s->streams, err);
	if (rc == 0)
		rc = listen_on(s, err);
	if (rc < 0) {
		if (!s->port)
			fd_close(&s->p.fd); /* nobody took it yet */
		http_client_free(s->streams);
		http_server_free(s->http);
		tls_slot_done(&s->tls);
		free(s);
		return rc;
	}
	*out = s;
	return 0;
}

unsigned kl_server_port(const struct kl_server *s)
{
	return s->port;
}

static void on_stopped(struct http_server *h, void *arg)
{
	struct kl_server *s = arg;
	void (*freed)(void *) = s->freed;
	void *freed_arg = s->freed_arg;
	http_server_free(s->http);
	http_client_free(s->streams);
	kl_auth_done(s);
	tls_slot_done(&s->tls);
	buf_done(&s->stats_last);
	free(s);
	if (freed)
		freed(freed_arg);
}

void kl_server_free(struct kl_server *s, void (*freed)(void *arg), void *arg)
{
	s->freed = freed;
	s->freed_arg = arg;
	s->stopped = true;
	LIST_EACH(&s->requests, q, struct kl_request, link)
		if (q->http)
			http_reply_abort(q->http);
	kl_streams_cut(s);
	http_server_stop(s->http, 1000, on_stopped, s);
}
