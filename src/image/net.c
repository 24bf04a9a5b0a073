/* Exchanges with registries (distribution-spec; docs.docker.com/registry/spec/auth/token). */
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>

#include "image/net.h"

struct host_tls {
	struct host_tls *next;
	char *host;  /* "host:port" */
	bool insecure;
	struct tls_ctx *ctx;
};

struct token {
	struct token *next;
	char *scope;
	char *value;
};

struct net {
	struct loop *loop;
	struct http_client *http;
	const struct image_registry_params *p;
	const struct image_reporter *reporter;
	struct arena arena;
	struct host_tls *tls;
	struct token *tokens;
	bool basic;     /* the registry asked for user and password */
	bool anonymous; /* a mirror is spoken to: the credentials are docker.io's and none of its business */
	struct endpoint endpoints[9];
	size_t n_endpoints;
	struct loop_timer tick; /* so that a wait ends now and then and cancelling is noticed */
};

static const struct image_registry_params no_params;

unsigned image_net_retries(const struct net *n)
{
	return n->p->retries ? n->p->retries : 5;
}

unsigned image_net_parallel(const struct net *n, unsigned otherwise)
{
	return n->p->parallel ? n->p->parallel : otherwise;
}

struct loop *image_net_loop(struct net *n)
{
	return n->loop;
}

static void ticked(struct loop_timer *t)
{
	loop_timer_start(t, 200);
}

int image_net_turn(struct net *n, struct err *err)
{
	loop_turn(n->loop, true);
	if (n->reporter && n->reporter->cancelled && n->reporter->cancelled(n->reporter->arg))
		return err_set(err, ERR_CANCELLED, "context canceled");
	return 0;
}

/* ---- TLS of a host: /etc/docker/certs.d/HOST[:PORT]/{*.crt, NAME.cert, NAME.key} ---- */

static int certs_read(const char *folder, struct buf *ca, struct buf *cert, struct buf *key, struct err *err)
{
	auto_fd int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open %s", folder);
	DIR *d = fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 0));
	struct dirent *e;
	int rc = d ? 0 : err_sys(err, "read %s", folder);
	while (rc == 0 && (e = readdir(d))) {
		struct span name = span_of(e->d_name);
		if (span_ends(name, SPAN(".crt"))) {
			rc = io_read_file(fd, e->d_name, ca, 1 << 20, err);
			buf_chr(ca, '\n');
		} else if (span_ends(name, SPAN(".cert")) && !cert->len) {
			char other[300];
			snprintf(other, sizeof(other), "%.*s.key", (int)name.len - 5, name.ptr);
			rc = io_read_file(fd, e->d_name, cert, 1 << 20, err);
			if (rc == 0 && io_read_file(fd, other, key, 1 << 20, NULL) < 0)
				rc = err_set(err, ERR_INVALID_REQUEST,
					"missing key %s for client certificate %s. CA certificates must use the extension .crt",
					other, e->d_name);
		}
	}
	if (d)
		closedir(d);
	return rc;
}

static int tls_of(struct net *n, const char *host, unsigned port, bool insecure, struct tls_ctx **out, struct err *err)
{
	char name[300];
	snprintf(name, sizeof(name), "%s:%u", host, port);
	for (struct host_tls *t = n->tls; t; t = t->next)
		if (!strcmp(t->host, name) && t->insecure == insecure) {
			*out = t->ctx;
			return 0;
		}
	auto_buf struct buf ca = {}, cert = {}, key = {}, folder = {};
	const char *dir = n->p->certs_dir ? n->p->certs_dir : "/etc/docker/certs.d";
	buf_printf(&folder, "%s/%s", dir, name);
	int rc = strchr(host, '/') ? 0 : certs_read(buf_cstr(&folder), &ca, &cert, &key, err);
	if (rc == 0 && port == 443 && !ca.len && !cert.len && !strchr(host, '/')) { /* without its port, as Docker writes it */
		buf_trunc(&folder, 0);
		buf_printf(&folder, "%s/%s", dir, host);
		rc = certs_read(buf_cstr(&folder), &ca, &cert, &key, err);
	}
	if (rc < 0)
		return rc;
	const struct tls_pair pair = { buf_span(&cert), buf_span(&key), "client certificate", "client key" };
	const struct tls_client_params p = { .ca_pem = buf_span(&ca), .ca_where = buf_cstr(&folder), .pair = cert.len ? &pair : NULL,
		.alpn = TLS_ALPN_HTTP, .insecure = insecure };
	struct tls_ctx *ctx;
	if ((rc = tls_client_new(&p, &ctx, err)) < 0)
		return rc;
	struct host_tls *t = arena_new(&n->arena, struct host_tls);
	*t = (struct host_tls){ n->tls, arena_cstr(&n->arena, span_of(name)), insecure, ctx };
	n->tls = t;
	*out = ctx;
	return 0;
}

/* Is the host one that may be spoken to without trust? Loopback always, else by the list of names and ranges. */
static bool is_insecure(const struct net *n, const char *host, unsigned port)
{
	struct in_addr addr;
	bool is_v4 = inet_pton(AF_INET, host, &addr) == 1;
	char name[300];
	snprintf(name, sizeof(name), "%s:%u", host, port);
	if (!strcmp(host, "localhost") || !strcmp(host, "::1") || (is_v4 && (ntohl(addr.s_addr) >> 24) == 127))
		return true;
	for (const char *const *i = n->p->insecure; i && *i; i++) {
		struct span net_part, bits;
		uint64_t width;
		if (!strcmp(*i, name) || !strcmp(*i, host))
			return true;
		struct in_addr base;
		char text[64];
		if (!is_v4 || !span_split(span_of(*i), '/', &net_part, &bits) || !span_to_u64(bits, &width) || width > 32 ||
			net_part.len >= sizeof(text))
			continue;
		snprintf(text, sizeof(text), "%.*s", SPAN_ARG(net_part));
		if (inet_pton(AF_INET, text, &base) == 1 && (width == 0 || (ntohl(base.s_addr ^ addr.s_addr) >> (32 - width)) == 0))
			return true;
	}
	return false;
}

static int origin_ready(struct net *n, struct http_origin *o, bool insecure, struct err *err)
{
	if (o->tls) {
		int rc = tls_of(n, o->host, o->port, insecure, &o->tls_ctx, err);
		if (rc < 0)
			return rc;
	}
	struct span proxy = http_proxy_for(o, n->p->http_proxy, n->p->https_proxy, n->p->no_proxy);
	o->proxy = proxy.len ? arena_cstr(&n->arena, proxy) : NULL;
	return 0;
}

/* ---- endpoints ---- */

static int endpoint_add(struct net *n, struct span url, bool mirror, struct err *err)
{
	struct endpoint *ep = &n->endpoints[n->n_endpoints];
	struct span target;
	if (n->n_endpoints == ARRAY_LEN(n->endpoints))
		return err_set(err, ERR_INVALID_REQUEST, "more than %zu registry mirrors", ARRAY_LEN(n->endpoints) - 1);
	int rc = http_url_parse(url, &n->arena, &ep->origin, &target, err);
	if (rc < 0)
		return rc;
	while (target.len && target.ptr[target.len - 1] == '/')
		target.len--;
	ep->prefix = target;
	ep->mirror = mirror;
	n->n_endpoints++;
	return 0;
}

size_t image_net_endpoints(struct net *n, struct endpoint **out)
{
	*out = n->endpoints;
	return n->n_endpoints;
}

int image_net_open(const struct image_registry_params *p, const struct image_reporter *r, const struct image_ref *ref,
	struct net **out,
	struct err *err)
{
	struct net *n = mem_new(struct net);
	n->p = p ? p : &no_params;
	n->reporter = r;
	int rc = loop_new(NULL, &n->loop, err);
	if (rc < 0) {
		free(n);
		return rc;
	}
	const struct http_client_params hp = { .loop = n->loop, .name = "registry" };
	rc = http_client_new(&hp, &n->http, err);
	loop_timer_init(&n->tick, n->loop, "registry tick", ticked);
	loop_timer_start(&n->tick, 200);
	bool hub = span_is(ref->domain, "docker.io");
	for (const char *const *m = hub ? n->p->mirrors : NULL; rc == 0 && m && *m; m++)
		rc = endpoint_add(n, span_of(*m), true, err);
	if (rc == 0)
		rc = endpoint_add(n, arena_printf(&n->arena, "https://%.*s/", SPAN_ARG(hub ? SPAN("registry-1.docker.io")
			: ref->domain)), false, err);
	if (rc < 0) {
		image_net_close(n);
		return rc;
	}
	*out = n;
	return 0;
}

void image_net_close(struct net *n)
{
	if (!n)
		return;
	loop_timer_stop(&n->tick);
	http_client_free(n->http);
	while (loop_stats(n->loop).sources) /* sockets that are closing */
		loop_turn(n->loop, true);
	loop_turn(n->loop, false);
	loop_free(n->loop);
	for (struct host_tls *t = n->tls; t; t = t->next)
		tls_ctx_unref(t->ctx);
	arena_done(&n->arena);
	free(n);
}

/* ---- one exchange ---- */

void image_exchange_init(struct exchange *x, struct net *n, const struct endpoint *ep, const char *method)
{
	*x = (struct exchange){ .n = n, .ep = ep, .method = method, .body_fd = -1, .limit = 1 << 20 };
}

void image_exchange_done(struct exchange *x)
{
	if (x->running) {
		http_call_cancel(x->call);
		while (x->running)
			loop_turn(x->n->loop, true);
	}
	buf_done(&x->answer);
	arena_done(&x->arena);
	err_done(&x->why);
	free(x->chunk);
	x->chunk = NULL;
}

static void take_header(struct exchange *x, const char *name, struct span *out)
{
	*out = arena_span(&x->arena, http_call_header(x->call, name));
}

static void on_head(struct http_call *c, void *arg)
{
	struct exchange *x = arg;
	x->status = http_call_status(c);
	take_header(x, "content-type", &x->type);
	take_header(x, "docker-content-digest", &x->digest);
	take_header(x, "location", &x->location);
	take_header(x, "www-authenticate", &x->challenge);
	take_header(x, "retry-after", &x->retry_after);
	take_header(x, "ratelimit-reset", &x->reset);
	take_header(x, "range", &x->range);
	if (!x->range.len)
		take_header(x, "content-range", &x->range);
	if (x->begun && (x->status == 200 || x->status == 206) && x->begun(x, &x->why) < 0)
		http_call_cancel(c);
}

static void on_data(struct http_call *c, struct span data, void *arg)
{
	struct exchange *x = arg;
	if (x->why.class)
		return;
	if (x->data && (x->status == 200 || x->status == 206)) {
		if (x->data(x, data, &x->why) < 0)
			http_call_cancel(c);
	} else if (x->answer.len + data.len > x->limit) {
		(void)err_set(&x->why, ERR_TOO_LARGE, "an answer of more than %zu bytes", x->limit);
		http_call_cancel(c);
	} else {
		buf_span_add(&x->answer, data);
	}
}

static void send_more(struct exchange *x)
{
	enum { CHUNK = 256 * 1024 };
	if (!x->chunk)
		x->chunk = mem_alloc(CHUNK);
	/* Beyond the client's queue_bytes (256 KB), or it would never say that it has drained. */
	while (http_call_queued(x->call) < 2 * CHUNK) {
		ssize_t got = pread(x->body_fd, x->chunk, MIN((uint64_t)CHUNK, x->body_size - x->read_at), (off_t)x->read_at);
		if (got <= 0 && x->read_at < x->body_size) {
			(void)err_set(&x->why, ERR_IO, "reading the content to send");
			http_call_cancel(x->call);
			return;
		}
		if (got > 0)
			http_call_add(x->call, http_copy(span_make(x->chunk, (size_t)got)));
		x->read_at += (uint64_t)got;
		if (x->sent)
			*x->sent = x->read_at;
		if (x->read_at == x->body_size) {
			http_call_end(x->call);
			return;
		}
	}
}

static void on_drain(struct http_call *c, void *arg)
{
	struct exchange *x = arg;
	if (x->body_fd >= 0 && x->read_at < x->body_size)
		send_more(x);
}

static void on_done(struct http_call *c, const struct err *why, void *arg)
{
	struct exchange *x = arg;
	x->running = false;
	x->call = NULL;
	if (why && !x->why.class) {
		(void)err_set(&x->why, why->class, "%s", err_msg(why));
		x->why.errnum = why->errnum;
	}
}

static const struct http_call_ops exchange_ops = { .head = on_head, .data = on_data, .drain = on_drain, .done = on_done };

static struct token *token_find(const struct net *n, const char *scope)
{
	for (struct token *t = n->tokens; t; t = t->next)
		if (!strcmp(t->scope, scope))
			return t;
	return NULL;
}

static bool same_host(const struct http_origin *a, const struct http_origin *b)
{
	return a->port == b->port && a->tls == b->tls && !strcmp(a->host, b->host);
}

void image_exchange_begin(struct exchange *x)
{
	struct net *n = x->n;
	struct http_field fields[8];
	size_t n_fields = 0;
	struct http_origin origin = {};
	struct span target = x->target;
	auto_buf struct buf auth = {}, range = {};
	err_done(&x->why);
	buf_trunc(&x->answer, 0);
	x->status = 0;
	x->read_at = x->body_from;
	int rc = 0;
	bool foreign = x->no_auth;
	if (x->url.len) {
		rc = http_url_parse(x->url, &x->arena, &origin, &target, &x->why);
		bool ours = rc == 0 && x->ep && same_host(&origin, &x->ep->origin);
		foreign |= !ours;
		if (rc == 0 && ours)
			origin = x->ep->origin;
		else if (rc == 0)
			rc = origin_ready(n, &origin, is_insecure(n, origin.host, origin.port), &x->why);
	} else {
		origin = x->ep->origin;
		target = arena_printf(&x->arena, "%.*s%.*s", SPAN_ARG(x->ep->prefix), SPAN_ARG(x->target));
	}
	if (rc < 0)
		return;
	fields[n_fields++] = (struct http_field){ SPAN("User-Agent"), span_of(n->p->user_agent ? n->p->user_agent : "knarr") };
	if (x->accept)
		fields[n_fields++] = (struct http_field){ SPAN("Accept"), span_of(x->accept) };
	if (x->content_type)
		fields[n_fields++] = (struct http_field){ SPAN("Content-Type"), span_of(x->content_type) };
	/* Credentials go to the registry alone, never where it redirects to. */
	const struct token *t = !foreign && x->scope ? token_find(n, x->scope) : NULL;
	if (t)
		buf_printf(&auth, "Bearer %s", t->value);
	else if (!foreign && !n->anonymous && x->scope && n->p->registry_token.len)
		buf_printf(&auth, "Bearer %.*s", SPAN_ARG(n->p->registry_token));
	else if (!n->anonymous && n->p->username.len && (x->basic || (!foreign && n->basic))) {
		auto_buf struct buf pair = {};
		buf_printf(&pair, "%.*s:%.*s", SPAN_ARG(n->p->username), SPAN_ARG(n->p->password));
		buf_str(&auth, "Basic ");
		base64_add(&auth, BASE64_STD, pair.ptr, pair.len);
	}
	if (auth.len && http_value_ok(buf_span(&auth)))
		fields[n_fields++] = (struct http_field){ SPAN("Authorization"), buf_span(&auth) };
	if (x->range_from) {
		buf_printf(&range, "bytes=%llu-", (unsigned long long)x->range_from);
		fields[n_fields++] = (struct http_field){ SPAN("Range"), buf_span(&range) };
	}
	if (x->body_from && x->body_fd >= 0) { /* distribution-spec, "Pushing a blob in chunks": no unit, the last byte included */
		buf_printf(&range, "%llu-%llu", (unsigned long long)x->body_from, (unsigned long long)x->body_size - 1);
		fields[n_fields++] = (struct http_field){ SPAN("Content-Range"), buf_span(&range) };
	}
	const struct http_piece whole = http_copy(x->body);
	struct http_call_params p = { .origin = &origin, .method = x->method, .target = target, .headers = fields,
		.n_headers = n_fields,
		.body = x->body.len ? &whole : NULL, .n_body = x->body.len ? 1 : 0,
		.stream_body = x->body_fd >= 0 && x->body_size > x->body_from,
		.body_length = (int64_t)(x->body_size - x->body_from), .first_byte_ms = n->p->stall_ms ? n->p->stall_ms : 60000,
		.idle_ms = n->p->stall_ms ? n->p->stall_ms : 60000, .ops = &exchange_ops, .arg = x };
	if (n->p->stall_ms && n->p->stall_ms < 30000) /* the client's own bound on connecting */
		p.connect_ms = n->p->stall_ms;
	if (http_call_begin(n->http, &p, &x->call, &x->why) < 0)
		return;
	x->running = true;
	if (p.stream_body)
		send_more(x);
}

/* ---- challenges and tokens ---- */

/* A parameter of a WWW-Authenticate value (RFC 9110 section 11.2). */
static bool challenge_param(struct span c, const char *name, struct arena *a, struct span *out)
{
	size_t len = strlen(name);
	for (size_t i = 0; i + len + 1 < c.len; i++) {
		if ((i && !strchr(" ,", c.ptr[i - 1])) || !span_eq_nocase(span_sub(c, i, i + len), span_of(name)) || c.ptr[i + len] != '=')
			continue;
		struct span v = span_from(c, i + len + 1);
		if (v.len && v.ptr[0] == '"') {
			auto_buf struct buf text = {};
			for (size_t k = 1; k < v.len && v.ptr[k] != '"'; k++) {
				if (v.ptr[k] == '\\' && k + 1 < v.len)
					k++;
				buf_chr(&text, v.ptr[k]);
			}
			*out = arena_span(a, buf_span(&text));
		} else {
			size_t end = 0;
			while (end < v.len && !strchr(", ", v.ptr[end]))
				end++;
			*out = arena_span(a, span_sub(v, 0, end));
		}
		return true;
	}
	return false;
}

static int token_request(struct net *n, const char *scope, struct span challenge, struct exchange *x, struct err *err)
{
	struct span realm = SPAN_EMPTY, service = SPAN_EMPTY;
	if (!challenge_param(challenge, "realm", &x->arena, &realm) || !realm.len)
		return err_set(err, ERR_UPSTREAM, "the registry asks for a token and does not say where (no realm)");
	(void)challenge_param(challenge, "service", &x->arena, &service);
	auto_buf struct buf query = {};
	if (n->p->identity_token.len && !n->anonymous) { /* OAuth2: docs.docker.com/registry/spec/auth/oauth */
		buf_str(&query, "grant_type=refresh_token&client_id=knarr&service=");
		percent_add(&query, service, NULL);
		buf_str(&query, "&scope=");
		percent_add(&query, span_of(scope), NULL);
		buf_str(&query, "&refresh_token=");
		percent_add(&query, n->p->identity_token, NULL);
		x->method = "POST";
		x->content_type = "application/x-www-form-urlencoded";
		x->body = arena_span(&x->arena, buf_span(&query));
		x->url = realm;
	} else {
		buf_span_add(&query, realm);
		buf_chr(&query, span_chr(realm, '?') < 0 ? '?' : '&');
		buf_str(&query, "service=");
		percent_add(&query, service, NULL);
		struct span rest = span_of(scope), one;
		while (span_cut(&rest, ' ', &one)) {
			buf_str(&query, "&scope=");
			percent_add(&query, one, NULL);
		}
		if (n->p->username.len && !n->anonymous) {
			buf_str(&query, "&account=");
			percent_add(&query, n->p->username, NULL);
		}
		x->url = arena_span(&x->arena, buf_span(&query));
		x->basic = true;
	}
	image_exchange_begin(x);
	int rc = 0;
	while (x->running && rc == 0)
		rc = image_net_turn(n, err);
	return rc;
}

int image_net_authorize(struct net *n, const char *scope, struct span challenge, struct err *err)
{
	if (span_eq_nocase(span_sub(challenge, 0, 5), SPAN("basic"))) {
		if (!n->p->username.len || n->basic || n->anonymous)
			return err_set(err, ERR_UNAUTHORIZED, "no basic auth credentials");
		n->basic = true;
		return 0;
	}
	if (!span_eq_nocase(span_sub(challenge, 0, 6), SPAN("bearer")))
		return err_set(err, ERR_UNAUTHORIZED, "the registry asks for a kind of authentication that is not supported: %.*s",
			(int)MIN(challenge.len, (size_t)40), challenge.ptr ? challenge.ptr : "");
	struct exchange x;
	image_exchange_init(&x, n, NULL, "GET");
	auto_arena struct arena a = {};
	int rc = token_request(n, scope, challenge, &x, err);
	struct json v;
	if (rc == 0 && x.why.class)
		rc = err_set(err, x.why.class, "%s: %s", "getting a token", err_msg(&x.why));
	else if (rc == 0 && x.status != 200)
		rc = image_net_answer_error(&x, SPAN_EMPTY, err);
	else if (rc == 0 && json_parse(&a, buf_span(&x.answer), 0, NULL, &v, err) < 0)
		rc = err_set(err, ERR_UPSTREAM, "the token server's answer is not JSON");
	if (rc == 0) {
		struct span token = json_span(json_getl(&v, "token"));
		if (!token.len)
			token = json_span(json_getl(&v, "access_token"));
		if (!token.len || !http_value_ok(token))
			rc = err_set(err, ERR_UPSTREAM, "authorization server did not include a token in the response");
		else {
			struct token *t = token_find(n, scope);
			if (!t) {
				t = arena_new(&n->arena, struct token);
				t->scope = arena_cstr(&n->arena, span_of(scope));
				t->next = n->tokens;
				n->tokens = t;
			}
			t->value = arena_cstr(&n->arena, token);
		}
	}
	image_exchange_done(&x);
	return rc;
}

/* ---- whole exchanges ---- */

/* Puts what was asked before the reason, as Go's net/http does, which is what people and programs look for:
 * Get "https://host/v2/": dial tcp ...: connection refused */
static int asked(const struct exchange *x, enum err_class class, struct err *err)
{
	char method[16];
	size_t n = strnlen(x->method, sizeof(method) - 1);
	for (size_t i = 0; i < n; i++)
		method[i] = (char)(i ? tolower((unsigned char)x->method[i]) : x->method[i]);
	(void)err_note(err, "%.*s \"%s%.*s\"", (int)n, method, x->ep ? x->ep->shown : "", SPAN_ARG(x->url.len ? x->url : x->target));
	return -(int)class;
}

static int unreached(struct exchange *x, struct err *err)
{
	auto_buf struct buf words = {};
	unsigned port = !x->ep ? 0 : x->ep->origin.port ? x->ep->origin.port : x->ep->origin.tls ? 443 : 80;
	if (x->ep && !x->ep->origin.proxy && span_starts(span_of(err_msg(&x->why)), SPAN("connecting to ")))
		http_dial_words(&words, span_of(x->ep->origin.host), port, &x->why);
	else
		buf_str(&words, err_msg(&x->why));
	(void)err_set(err, x->why.class, "%s", buf_cstr(&words));
	return asked(x, x->why.class, err);
}

int image_exchange_run(struct exchange *x, struct err *err)
{
	unsigned redirects = 0, tokens = 0, tries = 0;
	for (;;) {
		image_exchange_begin(x);
		int rc = 0;
		while (x->running && rc == 0)
			rc = image_net_turn(x->n, err);
		if (rc < 0)
			return rc;
		if (x->why.class) {
			/* Who did not answer in all the time there was is not asked again: a person waits. */
			if (err_may_retry(x->why.class) && x->why.class != ERR_TIMEOUT && tries++ < 2 && !strcmp(x->method, "GET") && !x->data)
				continue;
			return unreached(x, err);
		}
		if (x->status == 401 && x->scope && x->challenge.len && tokens++ < 1) {
			bool basic = span_eq_nocase(span_sub(x->challenge, 0, 5), SPAN("basic"));
			if (basic && x->n->basic)
				return image_net_answer_error(x, SPAN_EMPTY, err); /* they were wrong */
			if ((rc = image_net_authorize(x->n, x->scope, x->challenge, err)) < 0)
				return basic ? asked(x, (enum err_class)-rc, err) : rc;
			continue;
		}
		bool redirect = x->status == 301 || x->status == 302 || x->status == 303 || x->status == 307 || x->status == 308;
		if (redirect && x->location.len && redirects++ < 5 && (!strcmp(x->method, "GET") || !strcmp(x->method, "HEAD"))) {
			if (x->location.ptr[0] == '/')
				x->target = x->location;
			else
				x->url = x->location;
			continue;
		}
		return 0;
	}
}

int image_net_ping(struct net *n, struct endpoint *ep, struct err *err)
{
	bool insecure = is_insecure(n, ep->origin.host, ep->origin.port) ||
			(!ep->mirror && ep->origin.port == 443 && is_insecure(n, ep->origin.host, 80));
	unsigned port = ep->origin.port;
	bool written_http = !ep->origin.tls; /* a mirror may be given as http:// */
	n->anonymous = ep->mirror;
	n->basic = false;
	n->tokens = NULL; /* another endpoint's; in the arena */
	for (int plain = written_http;; plain = 1) {
		ep->origin.tls = !plain;
		ep->origin.port = plain && !written_http && port == 443 ? 80 : port;
		bool v6 = strchr(ep->origin.host, ':');
		snprintf(ep->shown, sizeof(ep->shown), "%s://%s%.255s%s", plain ? "http" : "https", v6 ? "[" : "",
			ep->origin.host, v6 ? "]" : "");
		size_t len = strlen(ep->shown);
		if (ep->origin.port != (plain ? 80 : 443))
			snprintf(ep->shown + len, sizeof(ep->shown) - len, ":%u", ep->origin.port);
		int rc = origin_ready(n, &ep->origin, insecure, err);
		if (rc < 0)
			return rc;
		struct exchange x;
		image_exchange_init(&x, n, ep, "GET");
		x.target = SPAN("/v2/");
		rc = image_exchange_run(&x, err);
		if (rc == 0 && x.status != 200 && x.status != 401 && x.status != 403 && x.status != 429)
			rc = err_set(err, ERR_UPSTREAM, "%s/v2/: answered %d: not a registry", ep->shown, x.status);
		if (rc == 0 && x.status == 401 && span_eq_nocase(span_sub(x.challenge, 0, 5), SPAN("basic")))
			n->basic = n->p->username.len > 0 && !n->anonymous;
		image_exchange_done(&x);
		if (rc == 0 || plain || !insecure || rc == -ERR_CANCELLED)
			return rc;
		if (err) /* an insecure registry may speak plain http: what counts is that try */
			err_done(err);
	}
}

/* ---- errors ---- */

int image_net_prepare(struct net *n, struct endpoint *ep, struct err *err)
{
	(void)snprintf(ep->shown, sizeof(ep->shown), "https://%.255s", ep->origin.host);
	return origin_ready(n, &ep->origin, is_insecure(n, ep->origin.host, ep->origin.port), err);
}

static int retry_ms_of(const struct exchange *x)
{
	uint64_t s;
	if (span_to_u64(x->retry_after, &s))
		return (int)MIN(s * 1000, (uint64_t)86400000);
	struct span first = x->reset, ignored; /* "1700000000" or "60;w=21600" */
	(void)span_split(x->reset, ';', &first, &ignored);
	if (!span_to_u64(first, &s))
		return 0;
	int64_t now = clock_wall_ns(clock_real()) / NS_PER_S;
	if ((int64_t)s > now) /* a moment; small numbers are a wait */
		s = (uint64_t)((int64_t)s - now);
	return (int)MIN(s * 1000, (uint64_t)86400000);
}

int image_net_answer_error(const struct exchange *x, struct span shown, struct err *err)
{
	auto_arena struct arena a = {};
	auto_buf struct buf words = {};
	struct json v;
	bool unknown_manifest = false;
	if (json_parse(&a, buf_span(&x->answer), JSON_DUPLICATES_LAST, NULL, &v, NULL) == 0)
		JSON_EACH_ITEM(json_getl(&v, "errors"), e) {
			struct span code = json_span(json_getl(e, "code")), message = json_span(json_getl(e, "message"));
			unknown_manifest |= span_is(code, "MANIFEST_UNKNOWN") || span_is(code, "NAME_UNKNOWN") || span_is(code, "NOT_FOUND");
			if (words.len || words.len + code.len + message.len > 2000)
				continue;
			for (size_t i = 0; i < code.len; i++) /* as Go's errcode prints it: "manifest unknown" */
				buf_chr(&words, code.ptr[i] == '_' ? ' ' : (char)tolower((unsigned char)code.ptr[i]));
			buf_printf(&words, ": %.*s", SPAN_ARG(message));
		}
	switch (x->status) {
	case 401:
	case 403:
		if (!shown.len)
			return err_set(err, ERR_UNAUTHORIZED, "%s", words.len ? buf_cstr(&words) : "unauthorized");
		return err_set(err, ERR_NOT_FOUND,
			"pull access denied for %.*s, repository does not exist or may require 'docker login': %s",
			SPAN_ARG(shown), words.len ? buf_cstr(&words) : "denied: requested access to the resource is denied");
	case 404:
		return err_set(err, ERR_NOT_FOUND, "manifest for %.*s not found: %s", SPAN_ARG(shown),
			words.len ? buf_cstr(&words) : "manifest unknown: manifest unknown");
	case 429: {
		int ms = retry_ms_of(x);
		int rc = ms ? err_set(err, ERR_TOO_MANY, "%s (try again in %d s)", words.len ? buf_cstr(&words)
			: "toomanyrequests: too many requests",
				      (ms + 999) / 1000)
			    : err_set(err, ERR_TOO_MANY, "%s", words.len ? buf_cstr(&words) : "toomanyrequests: too many requests");
		if (err)
			err->retry_ms = ms;
		return rc;
	}
	default:
		if (words.len && unknown_manifest)
			return err_set(err, ERR_NOT_FOUND, "%s", buf_cstr(&words));
		/* 4xx: the same request gets the same answer. */
		return err_set(err, x->status >= 500 || x->status == 408 ? ERR_UNAVAILABLE :
			x->status >= 400 ? ERR_INVALID_REQUEST : ERR_UPSTREAM,
			"received unexpected HTTP status: %d %s%s%s", x->status,
			http_status_text(x->status), words.len ? ": " : "", words.len ? buf_cstr(&words) : "");
	}
}
