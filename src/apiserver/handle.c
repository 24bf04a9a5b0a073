/* The way of a request: count → authenticate → authorize → find the resource → its verb. */
#include "apiserver/server.h"
#include "apiserver/virtual.h"

/* ---- calls */

static void call_free(struct call *c)
{
	if (c->counted)
		atomic_fetch_sub(c->mutating ? &c->server->mutating : &c->server->inflight, 1);
	store_snapshot_unref(c->snap);
	bytes_unref(c->value);
	api_registry_unref(c->registry);
	err_done(&c->err);
	struct arena a = c->arena; /* the call lies in it */
	arena_done(&a);
}

void call_release(struct call *c)
{
	if (!c->http && !c->pending)
		call_free(c);
}

static void on_done(struct http_req *r, bool complete, void *arg)
{
	struct call *c = arg;
	c->http = NULL;
	call_release(c);
}

static const struct http_req_ops plain_ops = { .done = on_done };

struct span call_param(struct call *c, const char *name)
{
	auto_buf struct buf b = {};
	return query_get(c->query, name, &b) ? arena_span(&c->arena, buf_span(&b)) : SPAN_EMPTY;
}

bool call_param_true(struct call *c, const char *name)
{
	struct span v = call_param(c, name);
	return span_is(v, "1") || span_eq_nocase(v, SPAN("true")) || span_eq_nocase(v, SPAN("t"));
}

void call_warn(struct call *c, struct span text)
{
	for (unsigned i = 0; i < c->n_warnings; i++)
		if (span_eq(c->warnings[i], text))
			return;
	if (c->n_warnings == c->cap_warnings) {
		unsigned cap = c->cap_warnings ? c->cap_warnings * 2 : 4;
		struct span *more = arena_alloc_n(&c->arena, cap, sizeof(*more));
		if (c->n_warnings)
			memcpy(more, c->warnings, c->n_warnings * sizeof(*more));
		c->warnings = more;
		c->cap_warnings = cap;
	}
	c->warnings[c->n_warnings++] = arena_span(&c->arena, text);
}

struct span call_group_version(struct call *c, const struct api_resource *res)
{
	auto_buf struct buf gv = {};
	api_resource_gv(res, &gv);
	return arena_span(&c->arena, buf_span(&gv));
}

/* ---- answers */

static void common_headers(struct call *c, int code, const char *content_type)
{
	http_reply_status(c->http, code);
	http_reply_header(c->http, "cache-control", SPAN("no-cache, private"));
	http_reply_header(c->http, "content-type", span_of(content_type));
	for (unsigned i = 0; i < c->n_warnings; i++) {
		/* RFC 9111's predecessor, section 5.5: code, agent, quoted text */
		auto_buf struct buf w = {};
		buf_str(&w, "299 - ");
		json_write_string(&w, c->warnings[i], 0);
		if (http_value_ok(buf_span(&w)))
			http_reply_header(c->http, "warning", buf_span(&w));
	}
}

void call_answer_piece(struct call *c, int code, const char *content_type, struct http_piece piece)
{
	c->answered = true;
	if (!c->http) {
		bytes_unref(piece.bytes);
		return;
	}
	common_headers(c, code, content_type);
	http_reply_add(c->http, piece);
	http_reply_gzip(c->http, 0);
	http_reply_end(c->http);
}

void call_answer(struct call *c, int code, const char *content_type, const struct buf *body)
{
	call_answer_piece(c, code, content_type, http_copy(buf_span(body)));
}

void call_fail(struct call *c)
{
	assert(c->err.class != ERR_NONE);
	auto_buf struct buf body = {};
	struct status_details d = {};
	bool invalid = c->err.class == ERR_INVALID;
	if (c->res) {
		d.name = c->route.name;
		d.group = c->res->group;
		d.kind = invalid ? c->res->kind : c->res->plural;
	} else if (c->route.is_resource) {
		d.name = c->route.name;
		d.group = c->route.group;
		d.kind = c->route.resource;
	}
	bool nameless = c->generic || c->err.class == ERR_UNAUTHORIZED || c->err.class == ERR_INVALID_REQUEST ||
			c->err.class == ERR_TOO_LARGE || c->err.class == ERR_TOO_MANY ||
			c->err.class == ERR_NOT_ACCEPTABLE || c->err.class == ERR_UNSUPPORTED_MEDIA;
	status_write(&body, &c->err, nameless ? NULL : &d);
	if (c->http && c->err.retry_ms) {
		auto_buf struct buf seconds = {};
		buf_i64(&seconds, (c->err.retry_ms + 999) / 1000);
		http_reply_header(c->http, "retry-after", buf_span(&seconds));
	}
	call_answer(c, status_code(&c->err), "application/json", &body);
}

int not_found(struct call *c)
{
	return err_set(&c->err, ERR_NOT_FOUND, "%.*s%s%.*s \"%.*s\" not found", SPAN_ARG(c->route.resource),
		       c->route.group.len ? "." : "", SPAN_ARG(c->route.group), SPAN_ARG(c->route.name));
}

void call_answer_object(struct call *c, int code, struct span value, int64_t rev)
{
	auto_buf struct buf body = {};
	const struct api_resource *res = c->res;
	struct span include = call_param(c, "includeObject");
	int64_t now_s = clock_wall_ns(c->server->clock) / NS_PER_S;
	if (object_answer(&c->arena, res, call_group_version(c, res), &c->want, value, rev, false, now_s,
			  include.len ? arena_cstr(&c->arena, include) : NULL, &body, &c->err) < 0) {
		call_fail(c);
		return;
	}
	call_answer(c, code, accept_content_type(c->want.form, false), &body);
}

/* ---- who */

static bool bearer(struct http_req *r, struct span *out)
{
	struct span h = span_trim(http_req_header(r, "authorization")), scheme, token;
	if (!span_split(h, ' ', &scheme, &token) || !span_eq_nocase(scheme, SPAN("bearer")))
		return false;
	*out = span_trim(token);
	return out->len > 0;
}

int call_token_user(struct call *c, struct span token, const struct span *want, unsigned n_want,
		    struct auth_user *out_user, const struct span **out_audiences, unsigned *out_n, struct err *err)
{
	struct apiserver *s = c->server;
	bool stale = false;
	*out_audiences = NULL;
	*out_n = 0;
	if (auth_tokens_find(atomic_load(&s->tokens), token, &c->arena, out_user))
		return 0;
	int64_t now_s = clock_wall_ns(s->clock) / NS_PER_S;
	int rc = auth_token_check(&s->issuer, &s->lookup, token, now_s, want, n_want, &c->arena, out_user,
				  out_audiences, out_n, &stale, err);
	if (rc == -ERR_NOT_FOUND)
		rc = auth_bootstrap_check(&s->lookup, token, now_s, &c->arena, out_user, err);
	return rc;
}

static int authenticate(struct call *c)
{
	const struct http_peer *peer = http_req_peer(c->http);
	struct span token;
	const struct span *audiences;
	unsigned n_audiences;
	if (peer->is_unix && (peer->cred.uid == 0 || peer->cred.uid == geteuid())) {
		/* Who may open the socket as root owns the store's files anyway. */
		static const struct span groups[] = { SPAN_INIT(AUTH_GROUP_MASTERS),
						      SPAN_INIT(AUTH_GROUP_AUTHENTICATED) };
		c->user = (struct auth_user){ .name = SPAN("system:admin"), .groups = groups, .n_groups = 2 };
		return 0;
	}
	if (auth_cert_user(peer->cert, &c->arena, &c->user))
		return 0;
	/* A certificate that was shown and is no good is an error, unless another credential speaks for the client. */
	bool bad_cert = peer->cert && !peer->cert->verified;
	if (bad_cert)
		log_info("certificate refused", kv_str("why", peer->cert->why_not), kv_str("subject", peer->cert->subject),
			 kv_str("from", peer->text));
	if (bearer(c->http, &token)) {
		if (call_token_user(c, token, NULL, 0, &c->user, &audiences, &n_audiences, &c->err) == 0)
			return 0;
		/* Why a token is refused is for the log; whoever tries tokens learns nothing. */
		log_info("token refused", kv_err(&c->err), kv_str("from", peer->text));
		return err_set(&c->err, ERR_UNAUTHORIZED, "Unauthorized");
	}
	if (bad_cert || !c->server->opt->anonymous_auth)
		return err_set(&c->err, ERR_UNAUTHORIZED, "Unauthorized");
	auth_anonymous(&c->user);
	return 0;
}

/* ---- may they */

/* One exact value of the field selector, for the Node authorizer. */
static struct span selector_field(struct call *c, const char *field)
{
	struct api_field_selector sel;
	struct span value, text = call_param(c, "fieldSelector");
	if (!text.len || api_field_selector_parse(&c->arena, text, &sel, NULL) < 0 ||
	    !api_field_selector_exact(&sel, span_of(field), &value))
		return SPAN_EMPTY;
	return value;
}

enum auth_decision call_decide(struct call *c, const struct auth_ask *ask, struct span *out_reason)
{
	struct apiserver *s = c->server;
	struct span reasons = SPAN("");
	enum auth_decision d = AUTH_NO_OPINION;
	*out_reason = SPAN("");
	if (auth_user_in(ask->user, SPAN(AUTH_GROUP_MASTERS)))
		return AUTH_ALLOW;
	for (unsigned i = 0; i < s->opt->n_modes && d == AUTH_NO_OPINION; i++) {
		struct span why = SPAN("");
		switch (s->opt->modes[i]) {
		case APISERVER_AUTHZ_ALWAYS_ALLOW: d = AUTH_ALLOW; break;
		case APISERVER_AUTHZ_ALWAYS_DENY: why = SPAN("Everything is forbidden."); break;
		case APISERVER_AUTHZ_RBAC: d = auth_rbac_allows(s->rbac, ask, &c->arena, &why); break;
		case APISERVER_AUTHZ_NODE: d = auth_node_allows(s->nodes, ask, &c->arena, &why); break;
		}
		if (d == AUTH_ALLOW)
			reasons = why;
		else if (why.len)
			reasons = reasons.len ? arena_printf(&c->arena, "%.*s\n%.*s", SPAN_ARG(reasons), SPAN_ARG(why))
					      : why;
	}
	*out_reason = reasons;
	return d;
}

static int authorize(struct call *c)
{
	struct auth_ask ask = {
		.user = &c->user,
		.verb = c->route.verb_name,
		.group = c->route.group,
		.version = c->route.version,
		.resource = c->route.resource,
		.subresource = c->route.subresource,
		.ns = c->route.ns,
		.name = c->route.name,
		.path = c->route.path,
		.is_resource = c->route.is_resource,
	};
	if (c->route.verb == ROUTE_LIST || c->route.verb == ROUTE_WATCH) {
		ask.field_name = selector_field(c, "metadata.name");
		ask.node_name = selector_field(c, "spec.nodeName");
	}
	struct span reason;
	return call_decide(c, &ask, &reason) == AUTH_ALLOW ? 0 : auth_forbidden(&ask, reason, &c->err);
}

/* ---- how many */

static int admit_count(struct call *c)
{
	struct apiserver *s = c->server;
	/* Watches are long and cheap: they are not counted, as upstream does not. */
	if (c->route.verb == ROUTE_WATCH || !c->route.is_resource)
		return 0;
	c->mutating = c->route.verb >= ROUTE_CREATE && c->route.verb <= ROUTE_DELETECOLLECTION;
	int64_t limit = c->mutating ? s->opt->max_mutating : s->opt->max_inflight;
	int64_t now = atomic_fetch_add(c->mutating ? &s->mutating : &s->inflight, 1);
	c->counted = true;
	if (limit && now >= limit) {
		c->err.retry_ms = 1000;
		int rc = err_set(&c->err, ERR_TOO_MANY, "Too many requests, please try again later.");
		c->err.retry_ms = 1000;
		return rc;
	}
	return 0;
}

/* ---- what */

static unsigned verb_bit(enum route_verb v)
{
	static const unsigned bits[ROUTE_VERB_COUNT] = {
		[ROUTE_GET] = API_VERB_GET,	  [ROUTE_LIST] = API_VERB_LIST,
		[ROUTE_WATCH] = API_VERB_WATCH,	  [ROUTE_CREATE] = API_VERB_CREATE,
		[ROUTE_UPDATE] = API_VERB_UPDATE, [ROUTE_PATCH] = API_VERB_PATCH,
		[ROUTE_DELETE] = API_VERB_DELETE, [ROUTE_DELETECOLLECTION] = API_VERB_DELETECOLLECTION,
	};
	return bits[v];
}

static void plain_404(struct call *c)
{
	auto_buf struct buf b = {};
	buf_str(&b, "404 page not found\n");
	call_answer(c, 404, "text/plain; charset=utf-8", &b);
}

static void dispatch(struct call *c)
{
	const struct route *r = &c->route;
	c->res = api_registry_find(c->registry, r->group, r->version, r->resource);
	if (c->res && c->res->served != API_SERVED)
		c->res = NULL;
	/* A namespaced resource under another scope is no path of ours. */
	if (c->res && c->res->namespaced && r->name.len && !r->name_from_selector && !r->ns.len)
		c->res = NULL;
	if (c->res && !c->res->namespaced && r->ns.len && !span_is(r->resource, "namespaces"))
		c->res = NULL;
	if (c->res && r->subresource.len)
		c->sub = api_resource_sub(c->res, r->subresource);
	if (!c->res || (r->subresource.len && !c->sub)) {
		plain_404(c);
		return;
	}
	unsigned verbs = c->sub ? c->sub->verbs : c->res->verbs;
	if (!(verbs & verb_bit(r->verb))) {
		err_set(&c->err, ERR_METHOD_NOT_ALLOWED,
			"the server does not allow this method on the requested resource");
		call_fail(c);
		return;
	}
	struct span accept = http_req_header_all(c->http, "accept");
	unsigned can =
		ACCEPT_YAML | ACCEPT_SHAPES | (api_type_flags(c->res->type) & API_TYPE_CUSTOM ? 0 : ACCEPT_PROTO);
	if (accept_read(accept, can, &c->want, &c->err) < 0) {
		call_fail(c);
		return;
	}
	if (virtual_begin(c))
		return;
	if (!c->res->storage_kind.len && !c->sub) {
		err_set(&c->err, ERR_UNSUPPORTED, "this server does not serve %.*s yet", SPAN_ARG(c->res->plural));
		call_fail(c);
		return;
	}
	switch (r->verb) {
	case ROUTE_GET:
		if (c->sub && !span_is(c->sub->name, "status")) {
			err_set(&c->err, ERR_UNSUPPORTED, "this server does not serve %.*s/%.*s yet",
				SPAN_ARG(c->res->plural), SPAN_ARG(c->sub->name));
			call_fail(c);
			break;
		}
		read_get(c);
		break;
	case ROUTE_LIST: read_list(c); break;
	case ROUTE_WATCH: watch_begin(c); break;
	default: write_begin(c); break;
	}
}

void handle_request(struct http_req *r, void *arg)
{
	struct worker *w = arg;
	struct arena a = {};
	struct call *c = arena_new(&a, struct call);
	c->arena = a;
	c->w = w;
	c->server = w->server;
	c->http = r;
	c->query = http_req_query(r);
	c->registry = api_registry_ref(api_registry_get(w->server->registry, &w->registry));
	http_req_ops_set(r, &plain_ops, c);

	const struct span *segments;
	size_t n;
	if (http_req_segments(r, &segments, &n, &c->err) < 0) {
		call_fail(c);
		return;
	}
	if (n && !segments[n - 1].len)
		n--;
	route_read(&c->arena, http_req_method(r), http_req_path(r), segments, n, c->query, &c->route);
	if (admit_count(c) < 0 || authenticate(c) < 0 || authorize(c) < 0) {
		call_fail(c);
		return;
	}
	if (c->route.is_resource)
		dispatch(c);
	else
		path_handle(c);
}
