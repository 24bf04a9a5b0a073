/* Health for anybody, metrics for who may read them: the token is reviewed and the right asked for at the API server, as
 * kube-controller-manager delegates both (authentication.k8s.io TokenReview, authorization.k8s.io SubjectAccessReview).
 *
 *     GET /metrics ──> TokenReview ──> SubjectAccessReview ──> the page */
#include "controllers/health.h"

#include "json/json.h"

struct health {
	struct http_server *server;
	struct tls_slot slot;
	struct client *client;
	struct metrics *metrics;
	struct loop_files *files; /* cert_file and key_file; NULL: made for this run */
	struct health_params p;
};

/* One request for the metrics. It outlives the HTTP request when the client goes away first. */
struct asking {
	struct health *h;
	struct http_req *req; /* NULL: its client is gone */
};

static void on_req_done(struct http_req *r, bool complete, void *arg)
{
	struct asking *x = arg;
	x->req = NULL;
}

static const struct http_req_ops req_ops = { .done = on_req_done };
static const struct http_req_ops no_ops = {};

static void refuse(struct asking *x, int status, struct span text)
{
	if (x->req) {
		http_req_ops_set(x->req, &no_ops, NULL);
		http_reply_text(x->req, status, "text/plain; charset=utf-8", text);
	}
	free(x);
}

static void on_access(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct asking *x = arg;
	auto_arena struct arena a = {};
	auto_buf struct buf page = {};
	struct json review;
	if (why || json_parse(&a, body, JSON_BORROW, NULL, &review, NULL) < 0) {
		refuse(x, 500, SPAN("the API server could not say whether you may\n"));
		return;
	}
	if (!json_truth(json_path(&review, "status", "allowed", (char *)NULL), false)) {
		refuse(x, 403, SPAN("Forbidden\n"));
		return;
	}
	metrics_write(x->h->metrics, &page);
	if (x->req) {
		http_req_ops_set(x->req, &no_ops, NULL);
		http_reply_text(x->req, 200, METRICS_CONTENT_TYPE, buf_span(&page));
	}
	free(x);
}

static void post(struct asking *x, const char *path, const struct json *body,
		 void (*done)(struct client_call *c, const struct err *why, int status, struct span body, void *arg))
{
	auto_buf struct buf text = {};
	json_write(&text, body, 0);
	const struct client_request r = { .method = "POST", .path = span_of(path), .body = buf_span(&text), .done = done, .arg = x };
	client_send(x->h->client, &r);
}

static void on_token(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct asking *x = arg;
	auto_arena struct arena a = {};
	struct json review, sar = json_object(), spec = json_object(), what = json_object();
	if (why || json_parse(&a, body, JSON_BORROW, NULL, &review, NULL) < 0) {
		refuse(x, 500, SPAN("the API server could not say who you are\n"));
		return;
	}
	const struct json *user = json_path(&review, "status", "user", (char *)NULL);
	if (!json_truth(json_path(&review, "status", "authenticated", (char *)NULL), false)) {
		refuse(x, 401, SPAN("Unauthorized\n"));
		return;
	}
	(void)json_setl(&a, &sar, "apiVersion", json_cstr("authorization.k8s.io/v1"));
	(void)json_setl(&a, &sar, "kind", json_cstr("SubjectAccessReview"));
	(void)json_setl(&a, &what, "path", json_cstr("/metrics"));
	(void)json_setl(&a, &what, "verb", json_cstr("get"));
	(void)json_setl(&a, &spec, "nonResourceAttributes", what);
	(void)json_setl(&a, &spec, "user", json_str(json_span(json_getl(user, "username"))));
	const struct json *groups = json_getl(user, "groups");
	if (groups)
		(void)json_setl(&a, &spec, "groups", *groups);
	(void)json_setl(&a, &sar, "spec", spec);
	post(x, "/apis/authorization.k8s.io/v1/subjectaccessreviews", &sar, on_access);
}

static void metrics_page(struct health *h, struct http_req *r)
{
	auto_arena struct arena a = {};
	struct span auth = http_req_header(r, "authorization");
	if (!span_starts(auth, SPAN("Bearer "))) {
		http_reply_text(r, 401, "text/plain; charset=utf-8", SPAN("Unauthorized\n"));
		return;
	}
	struct asking *x = mem_new(struct asking);
	*x = (struct asking){ .h = h, .req = r };
	http_req_ops_set(r, &req_ops, x);
	struct json review = json_object(), spec = json_object();
	(void)json_setl(&a, &review, "apiVersion", json_cstr("authentication.k8s.io/v1"));
	(void)json_setl(&a, &review, "kind", json_cstr("TokenReview"));
	(void)json_setl(&a, &spec, "token", json_str(span_from(auth, 7)));
	(void)json_setl(&a, &review, "spec", spec);
	post(x, "/apis/authentication.k8s.io/v1/tokenreviews", &review, on_token);
}

static void handle(struct http_req *r, void *arg)
{
	struct health *h = arg;
	struct span path = http_req_path(r);
	if (span_is(path, "/healthz") || span_is(path, "/livez") || span_is(path, "/readyz"))
		http_reply_text(r, 200, "text/plain; charset=utf-8", SPAN("ok"));
	else if (span_is(path, "/metrics"))
		metrics_page(h, r);
	else
		http_reply_text(r, 404, "text/plain; charset=utf-8", SPAN("404 page not found\n"));
}

/* Given files, or a certificate for this run alone, as upstream makes one. */
static int tls_of(const struct health_params *p, struct tls_ctx **out, struct err *err)
{
	auto_buf struct buf cert = {}, key = {};
	auto_cleanup(auto_tls_key_) struct tls_key *made = NULL;
	int rc;
	if (p->cert_file.len) {
		rc = io_read_file(AT_FDCWD, p->cert_file.ptr, &cert, 1 << 20, err);
		if (rc == 0)
			rc = io_read_file(AT_FDCWD, p->key_file.ptr, &key, 1 << 20, err);
	} else {
		static const char *const names[] = { "localhost", NULL }, *const ips[] = { "127.0.0.1", "::1", NULL };
		int64_t now_s = loop_wall_ns(p->loop) / NS_PER_S;
		const struct tls_cert_params cp = { .kind = TLS_CERT_SERVER, .cn = "localhost", .dns_names = names, .ips = ips,
						    .not_before_s = now_s - 3600, .not_after_s = now_s + 365LL * 86400 };
		rc = tls_key_new(TLS_ES256, &made, err);
		if (rc == 0)
			rc = tls_cert_make(&cp, made, SPAN_EMPTY, NULL, &cert, err);
		if (rc == 0)
			rc = tls_key_private_pem(made, &key, err);
	}
	if (rc < 0)
		return rc;
	const struct tls_pair pair = { .cert_pem = buf_span(&cert), .key_pem = buf_span(&key),
				       .cert_where = p->cert_file.ptr, .key_where = p->key_file.ptr };
	return tls_server_new(&(struct tls_server_params){ .pairs = &pair, .n_pairs = 1, .alpn = TLS_ALPN_HTTP }, out, err);
}

static void on_files(void *arg)
{
	struct health *h = arg;
	struct tls_ctx *ctx = NULL;
	auto_err struct err err = ERR_INIT;
	if (tls_of(&h->p, &ctx, &err) < 0) {
		log_warn("serving certificate: kept what there was", kv_err(&err));
		return;
	}
	tls_slot_put(&h->slot, ctx);
	log_info("serving certificate read again");
}

static void files_follow(struct health *h)
{
	auto_err struct err err = ERR_INIT;
	if (!h->p.cert_file.len)
		return;
	h->files = loop_files_new(h->p.loop, "serving certificate", on_files, h);
	if (loop_files_add(h->files, h->p.cert_file, &err) < 0 || loop_files_add(h->files, h->p.key_file, &err) < 0)
		log_warn("changes of the serving certificate will be seen late", kv_err(&err));
}

int health_new(const struct health_params *p, struct health **out, struct err *err)
{
	struct health *h = mem_new(struct health);
	struct tls_ctx *ctx = NULL;
	*h = (struct health){ .client = p->client, .metrics = p->metrics, .p = *p };
	tls_slot_init(&h->slot);
	const struct http_server_params sp = { .loop = p->loop, .name = "health", .handle = handle, .arg = h, .tls = &h->slot };
	files_follow(h); /* before they are read: a change in between would be told by nobody */
	int rc = tls_of(p, &ctx, err);
	if (rc == 0) {
		tls_slot_put(&h->slot, ctx);
		rc = http_server_new(&sp, &h->server, err);
	}
	if (rc < 0) {
		loop_files_free(h->files);
		tls_slot_done(&h->slot);
		free(h);
		return rc;
	}
	int fd = http_listen_tcp(p->address.ptr, p->port, 0, err);
	unsigned port = fd >= 0 ? http_fd_port(fd) : 0;
	rc = http_server_listen(h->server, fd, HTTP_TLS, err);
	*out = h; /* with its server, which is to be stopped also after a failure */
	if (rc == 0)
		log_info("serving health and metrics", kv_u64("port", port));
	return rc;
}

static void on_stopped(struct http_server *s, void *arg)
{
}

void health_stop(struct health *h)
{
	if (h)
		loop_files_free(take(&h->files));
	if (h && h->server)
		http_server_stop(h->server, 1000, on_stopped, h);
}

void health_free(struct health *h)
{
	if (!h)
		return;
	loop_files_free(h->files);
	http_server_free(h->server);
	tls_slot_done(&h->slot);
	free(h);
}
