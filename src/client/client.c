/* Requests: one at a time or a long stream, with the client's rights, asked again when the server says so. */
#include "client/private.h"

#include <fcntl.h>

#define BODY_MAX (512u << 20)
#define ERROR_MAX (256 << 10)
#define TOKEN_MS 60000
#define TIMEOUT_MS 30000
#define RETRIES 10

/* ---- making a client */

int client_tls(const struct client_config *f, struct tls_ctx **out, struct err *err)
{
	const struct tls_pair pair = { .cert_pem = f->cert_pem, .key_pem = f->key_pem,
				       .cert_where = "client-certificate", .key_where = "client-key" };
	const struct tls_client_params p = { .ca_pem = f->ca_pem, .ca_where = "certificate-authority",
					     .pair = f->cert_pem.len ? &pair : NULL, .alpn = TLS_ALPN_HTTP,
					     .insecure = f->insecure };
	return tls_client_new(&p, out, err);
}

int client_new(const struct client_params *p, struct client **out_client, struct err *err)
{
	struct client *c = mem_new(struct client);
	const struct client_config *f = p->config;
	uint64_t seed;
	rng_secret(&seed, sizeof(seed));
	*c = (struct client){ .loop = p->loop, .config = f, .user_agent = p->user_agent, .retries = p->retries ? p->retries : RETRIES,
			      .warned = p->warned, .warned_arg = p->warned_arg };
	rng_init(&c->rng, seed);
	list_init(&c->calls);
	list_init(&c->streams);
	list_init(&c->upgrades);
	struct span url = f->server;
	if (span_find(url, SPAN("://")) < 0)
		url = arena_printf(&c->arena, "http://%.*s", SPAN_ARG(url)); /* as client-go takes a bare host */
	int rc = http_url_parse(url, &c->arena, &c->origin, &c->prefix, err);
	if (rc < 0) {
		err_note(err, "server of the kubeconfig");
		goto fail;
	}
	while (c->prefix.len && c->prefix.ptr[c->prefix.len - 1] == '/')
		c->prefix.len--;
	if (f->unix_path.len) {
		c->origin.unix_path = arena_cstr(&c->arena, f->unix_path);
		c->origin.tls = false;
		c->origin.http2 = true;
	}
	if (c->origin.tls) {
		rc = client_tls(f, &c->tls, err);
		if (rc < 0)
			goto fail;
		c->origin.tls_ctx = c->tls;
		if (f->tls_server_name.len)
			c->origin.server_name = arena_cstr(&c->arena, f->tls_server_name);
	}
	if (!c->origin.unix_path) {
		const char *https = getenv("HTTPS_PROXY"), *http = getenv("HTTP_PROXY"), *no = getenv("NO_PROXY");
		struct span proxy = f->proxy_url.len ? f->proxy_url
						     : http_proxy_for(&c->origin, span_of(http), span_of(https), span_of(no));
		if (proxy.len)
			c->origin.proxy = arena_cstr(&c->arena, proxy);
	}
	const struct http_client_params hp = { .loop = p->loop, .name = p->user_agent };
	rc = http_client_new(&hp, &c->http, err);
	if (rc < 0)
		goto fail;
	*out_client = c;
	return 0;
fail:
	tls_ctx_unref(c->tls);
	arena_done(&c->arena);
	free(c);
	return rc;
}

struct loop *client_loop(const struct client *c)
{
	return c->loop;
}

struct span client_namespace(const struct client *c)
{
	return c->config->ns.len ? c->config->ns : SPAN("default");
}

void client_path(struct buf *out, const struct client_kind *k, struct span ns, struct span name, const char *sub)
{
	if (k->group.len)
		buf_printf(out, "/apis/%.*s/%.*s", SPAN_ARG(k->group), SPAN_ARG(k->version));
	else
		buf_printf(out, "/api/%.*s", SPAN_ARG(k->version));
	if (k->namespaced && ns.len) {
		buf_str(out, "/namespaces/");
		percent_add(out, ns, NULL);
	}
	buf_printf(out, "/%.*s", SPAN_ARG(k->plural));
	if (name.len) {
		buf_chr(out, '/');
		percent_add(out, name, ":"); /* RBAC's names have colons */
	}
	if (sub && *sub)
		buf_printf(out, "/%s", sub);
}

uint64_t client_doubled_ms(unsigned failures, unsigned base_ms, unsigned max_ms)
{
	uint64_t ms = failures > 31 ? max_ms : (uint64_t)base_ms << (failures ? failures - 1 : 0);
	return ms < max_ms ? ms : max_ms;
}

unsigned client_backoff(struct client *c, unsigned failures, unsigned base_ms, unsigned max_ms)
{
	uint64_t ms = client_doubled_ms(failures, base_ms, max_ms);
	return (unsigned)(ms + rng_below(&c->rng, ms / 2 + 1));
}

/* ---- headers */

static void read_token(struct client *c)
{
	int64_t now = loop_now_ms(c->loop);
	auto_buf struct buf b = {};
	auto_err struct err err = ERR_INIT;
	auto_free char *path = NULL;
	if (c->token_read_ms && now - c->token_read_ms < TOKEN_MS)
		return;
	c->token_read_ms = now ? now : 1;
	path = mem_dup(c->config->token_file.ptr, c->config->token_file.len);
	if (io_read_file(AT_FDCWD, path, &b, 1 << 20, &err) < 0) {
		log_warn("the token file cannot be read, the last token is used", kv_str("file", path), kv_err(&err));
		return;
	}
	struct span token = span_trim(buf_span(&b));
	if (!token.len || !http_value_ok(token)) {
		log_warn("the token file holds no token, the last one is used", kv_str("file", path));
		return;
	}
	buf_trunc(&c->auth, 0);
	buf_printf(&c->auth, "Bearer %.*s", SPAN_ARG(token));
}

static void authorize(struct client *c)
{
	const struct client_config *f = c->config;
	if (f->token_file.len) {
		read_token(c);
	} else if (!c->auth.len && f->token.len) {
		buf_printf(&c->auth, "Bearer %.*s", SPAN_ARG(f->token));
	} else if (!c->auth.len && f->user_name.len) {
		auto_buf struct buf pair = {};
		buf_printf(&pair, "%.*s:%.*s", SPAN_ARG(f->user_name), SPAN_ARG(f->password));
		buf_str(&c->auth, "Basic ");
		base64_add(&c->auth, BASE64_STD, pair.ptr, pair.len);
	}
}

#define HEADERS_MAX 16
#define GROUPS_MAX 8

unsigned client_headers(struct client *c, struct arena *a, const char *accept, const char *content_type,
			struct http_field out[static HEADERS_MAX])
{
	const struct client_config *f = c->config;
	unsigned n = 0;
	authorize(c);
	out[n++] = (struct http_field){ SPAN("accept"), span_of(accept ? accept : "application/json") };
	out[n++] = (struct http_field){ SPAN("user-agent"), span_of(c->user_agent) };
	if (content_type)
		out[n++] = (struct http_field){ SPAN("content-type"), span_of(content_type) };
	if (c->auth.len)
		out[n++] = (struct http_field){ SPAN("authorization"), arena_span(a, buf_span(&c->auth)) };
	if (f->as_user.len)
		out[n++] = (struct http_field){ SPAN("impersonate-user"), f->as_user };
	if (f->as_uid.len)
		out[n++] = (struct http_field){ SPAN("impersonate-uid"), f->as_uid };
	for (unsigned i = 0; i < f->n_as_groups && i < GROUPS_MAX; i++)
		out[n++] = (struct http_field){ SPAN("impersonate-group"), f->as_groups[i] };
	return n;
}

struct span client_full_path(struct client *c, struct arena *a, struct span path)
{
	return arena_printf(a, "%.*s%.*s", SPAN_ARG(c->prefix), SPAN_ARG(path));
}

/* ---- Status */

static enum err_class class_of(int code, struct span reason)
{
	for (int k = 1; reason.len && k < ERR_COUNT; k++)
		if (err_kube_code(k) == code && span_is(reason, err_kube_reason(k)))
			return (enum err_class)k;
	for (int k = 1; k < ERR_COUNT; k++)
		if (err_kube_code(k) == code)
			return (enum err_class)k;
	return code >= 500 ? ERR_INTERNAL : ERR_INVALID_REQUEST;
}

int client_status_error(int status, struct span body, struct err *err)
{
	auto_arena struct arena a = {};
	struct json st;
	if (json_parse(&a, body, JSON_BORROW, NULL, &st, NULL) < 0 || !span_is(json_span(json_getl(&st, "kind")), "Status")) {
		struct span text = span_sub(span_trim(body), 0, 200);
		return err_set(err, class_of(status, SPAN_EMPTY), "the server answered %d %s%s%.*s", status,
			       http_status_text(status), text.len ? ": " : "", SPAN_ARG(text));
	}
	struct span message = json_span(json_getl(&st, "message")), reason = json_span(json_getl(&st, "reason"));
	const struct json *details = json_getl(&st, "details");
	enum err_class class = class_of((int)json_i64(json_getl(&st, "code"), status), reason);
	err_set(err, class, "%.*s", SPAN_ARG(message));
	if (err) {
		err->retry_ms = (int)json_i64(json_getl(details, "retryAfterSeconds"), 0) * 1000;
		JSON_EACH_ITEM(json_getl(details, "causes"), cause)
			err_cause_add(err, json_span(json_getl(cause, "field")),
				      arena_cstr(&a, json_span(json_getl(cause, "reason"))),
				      json_span(json_getl(cause, "message")));
	}
	return -(int)class;
}

/* Retry-After of an answer in ms; -1 = none. Seconds only: no API server sends dates. */
static int64_t retry_after_ms(struct http_call *h)
{
	uint64_t s;
	return span_to_u64(http_call_header(h, "retry-after"), &s) && s < 3600 ? (int64_t)s * 1000 : -1;
}

/* Warning: 299 - "text" (RFC 7234 section 5.5), as client-go's net.ParseWarningHeaders takes it: a code, an agent, a
 * quoted text, and
 * several of them by commas. */
static void tell_warnings(struct client *c, struct http_call *h)
{
	const struct http_fields *f = http_call_headers(h);
	for (unsigned i = 0; c->warned && f && i < f->n; i++) {
		struct span rest = f->items[i].value, code, agent;
		if (!span_eq_nocase(f->items[i].name, SPAN("warning")))
			continue;
		while (span_split(rest, ' ', &code, &rest) && span_split(rest, ' ', &agent, &rest) && rest.len && rest.ptr[0] == '"') {
			auto_buf struct buf text = {};
			size_t k = 1;
			for (; k < rest.len && rest.ptr[k] != '"'; k++) {
				if (rest.ptr[k] == '\\' && k + 1 < rest.len)
					k++;
				buf_chr(&text, rest.ptr[k]);
			}
			if (k == rest.len)
				break; /* no end */
			if (span_is(code, "299"))
				c->warned(buf_span(&text), c->warned_arg);
			rest = span_trim(span_from(rest, k + 1));
			if (!rest.len || rest.ptr[0] != ',')
				break;
			rest = span_trim(span_from(rest, 1));
		}
	}
}

/* ---- one answer */

struct client_call {
	struct client *client;
	struct list link;
	struct client_request r; /* strings in the arena */
	struct arena arena;
	struct http_call *http;  /* NULL between tries */
	struct loop_timer timer; /* the next try, or the end of the time */
	struct loop_task failed; /* a try that could not even begin */
	struct buf body;
	struct err err;
	int64_t until_ms;
	unsigned tries;
	bool gave_new_token, forgotten;
};

static void call_free(struct client_call *c)
{
	list_remove(&c->link);
	loop_timer_stop(&c->timer);
	loop_task_cancel(&c->failed);
	buf_done(&c->body);
	err_done(&c->err);
	arena_done(&c->arena);
	free(c);
}

static void call_tell(struct client_call *c, int status)
{
	bool good = c->err.class == ERR_NONE;
	list_remove(&c->link); /* the owner may free the client in done */
	c->r.done(c, good ? NULL : &c->err, status, good ? buf_span(&c->body) : SPAN_EMPTY, c->r.arg);
	call_free(c);
}

static void call_try(struct client_call *c);

static void on_retry(struct loop_timer *t)
{
	call_try(container_of(t, struct client_call, timer));
}

static void on_data(struct http_call *h, struct span data, void *arg)
{
	struct client_call *c = arg;
	buf_span_add(&c->body, data);
	if (buf_overflowed(&c->body))
		http_call_cancel(h);
}

static void on_done(struct http_call *h, const struct err *why, void *arg)
{
	struct client_call *c = arg;
	struct client *cl = c->client;
	int status = http_call_status(h);
	int64_t wait_ms = -1;
	c->http = NULL;
	if (c->forgotten) {
		call_free(c);
		return;
	}
	if (!why)
		tell_warnings(cl, h);
	if (buf_overflowed(&c->body)) {
		err_set(&c->err, ERR_TOO_LARGE, "the answer to %s %.*s is larger than %u bytes", c->r.method,
			SPAN_ARG(c->r.path), BODY_MAX);
	} else if (why) {
		err_set(&c->err, why->class, "%s %.*s: %s", c->r.method, SPAN_ARG(c->r.path), err_msg(why));
	} else if (status >= 300) {
		client_status_error(status, buf_span(&c->body), &c->err);
		wait_ms = retry_after_ms(h);
		if (status == 401 && cl->config->token_file.len && !c->gave_new_token) {
			c->gave_new_token = true; /* the kubelet may have renewed it since */
			cl->token_read_ms = 0;
			wait_ms = 0;
		}
	}
	if (wait_ms >= 0 && c->tries <= cl->retries && loop_now_ms(cl->loop) + wait_ms < c->until_ms) {
		err_done(&c->err);
		buf_trunc(&c->body, 0);
		loop_timer_start(&c->timer, wait_ms);
		return;
	}
	call_tell(c, status);
}

static const struct http_call_ops call_ops = { .data = on_data, .done = on_done };

static void on_failed(struct loop_task *t)
{
	call_tell(container_of(t, struct client_call, failed), 0);
}

static void call_try(struct client_call *c)
{
	struct client *cl = c->client;
	struct http_field headers[HEADERS_MAX];
	const char *type = c->r.body.len ? c->r.content_type ? c->r.content_type : "application/json" : NULL;
	int64_t left = c->until_ms - loop_now_ms(cl->loop);
	const struct http_piece body = http_copy(c->r.body);
	c->tries++;
	const struct http_call_params p = { .origin = &cl->origin,
					    .method = c->r.method,
					    .target = client_full_path(cl, &c->arena, c->r.path),
					    .headers = headers,
					    .n_headers = client_headers(cl, &c->arena, c->r.accept, type, headers),
					    .body = &body,
					    .n_body = c->r.body.len ? 1 : 0,
					    .total_ms = left > 0 ? (unsigned)left : 1,
					    .ops = &call_ops,
					    .arg = c };
	if (http_call_begin(cl->http, &p, &c->http, &c->err) < 0) {
		c->http = NULL;
		loop_defer(cl->loop, &c->failed);
	}
}

struct client_call *client_send(struct client *cl, const struct client_request *r)
{
	struct client_call *c = mem_new(struct client_call);
	*c = (struct client_call){ .client = cl, .r = *r, .body = { .limit = BODY_MAX }, .err = ERR_INIT };
	arena_small(&c->arena);
	c->r.path = arena_span(&c->arena, r->path);
	c->r.body = arena_span(&c->arena, r->body);
	c->until_ms = loop_now_ms(cl->loop) + (r->timeout_ms ? r->timeout_ms : TIMEOUT_MS);
	loop_timer_init(&c->timer, cl->loop, "client retry", on_retry);
	loop_task_init(&c->failed, on_failed);
	list_push(&cl->calls, &c->link);
	call_try(c);
	return c;
}

void client_cancel(struct client_call *c)
{
	if (!c->http) {
		call_free(c);
		return;
	}
	c->forgotten = true; /* on_done frees it */
	list_remove(&c->link);
	http_call_cancel(c->http);
}

/* ---- a stream */

struct client_stream {
	struct client *client;
	struct list link;
	struct client_stream_params p;
	struct http_call *http;
	struct loop_task failed;
	struct buf error_body;
	struct err err;
	bool good; /* 2xx */
	bool closed;
};

static void stream_free(struct client_stream *s)
{
	list_remove(&s->link);
	loop_task_cancel(&s->failed);
	buf_done(&s->error_body);
	err_done(&s->err);
	free(s);
}

static void stream_tell(struct client_stream *s)
{
	void (*done)(const struct err *why, void *arg) = s->p.done;
	void *arg = s->p.arg;
	auto_err struct err why = ERR_INIT;
	if (s->err.class != ERR_NONE)
		(void)err_move(&why, &s->err);
	stream_free(s);
	done(why.class != ERR_NONE ? &why : NULL, arg);
}

static void on_stream_head(struct http_call *h, void *arg)
{
	struct client_stream *s = arg;
	s->good = http_call_status(h) < 300;
	if (!s->closed)
		tell_warnings(s->client, h);
	if (s->good && s->p.begin && !s->closed)
		s->p.begin(h, s->p.arg);
}

static void on_stream_data(struct http_call *h, struct span data, void *arg)
{
	struct client_stream *s = arg;
	if (s->closed)
		return;
	if (s->good)
		s->p.data(h, data, s->p.arg);
	else
		buf_span_add(&s->error_body, data); /* what is beyond the limit is not needed */
}

static void on_stream_done(struct http_call *h, const struct err *why, void *arg)
{
	struct client_stream *s = arg;
	s->http = NULL;
	if (s->closed) {
		stream_free(s);
		return;
	}
	if (why) {
		err_set(&s->err, why->class, "%s", err_msg(why));
	} else if (!s->good) {
		client_status_error(http_call_status(h), buf_span(&s->error_body), &s->err);
		int64_t ms = retry_after_ms(h);
		if (ms >= 0 && !s->err.retry_ms)
			s->err.retry_ms = (int)ms;
		if (http_call_status(h) == 401)
			s->client->token_read_ms = 0;
	}
	stream_tell(s);
}

static const struct http_call_ops stream_ops = { .head = on_stream_head, .data = on_stream_data, .done = on_stream_done };

static void on_stream_failed(struct loop_task *t)
{
	stream_tell(container_of(t, struct client_stream, failed));
}

struct client_stream *client_stream_open(struct client *cl, const struct client_stream_params *p)
{
	struct client_stream *s = mem_new(struct client_stream);
	auto_arena struct arena a = {};
	struct http_field headers[HEADERS_MAX];
	*s = (struct client_stream){ .client = cl, .p = *p, .error_body = { .limit = ERROR_MAX }, .err = ERR_INIT };
	loop_task_init(&s->failed, on_stream_failed);
	list_push(&cl->streams, &s->link);
	const struct http_call_params hp = { .origin = &cl->origin,
					     .method = "GET",
					     .target = client_full_path(cl, &a, p->path),
					     .headers = headers,
					     .n_headers = client_headers(cl, &a, p->accept, NULL, headers),
					     .first_byte_ms = TIMEOUT_MS,
					     .ops = &stream_ops,
					     .arg = s };
	if (http_call_begin(cl->http, &hp, &s->http, &s->err) < 0) {
		s->http = NULL;
		loop_defer(cl->loop, &s->failed);
	}
	return s;
}

void client_stream_close(struct client_stream *s)
{
	if (!s->http) {
		stream_free(s);
		return;
	}
	s->closed = true; /* on_stream_done frees it */
	list_remove(&s->link);
	http_call_cancel(s->http);
}

void client_free(struct client *c)
{
	if (!c)
		return;
	assert(list_empty(&c->streams) && list_empty(&c->upgrades));
	LIST_EACH(&c->calls, call, struct client_call, link)
		client_cancel(call);
	client_follow_end(c);
	http_client_free(c->http);
	tls_ctx_unref(c->tls);
	buf_done(&c->auth);
	arena_done(&c->arena);
	free(c);
}
