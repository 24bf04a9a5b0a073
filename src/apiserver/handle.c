/* The way of a request: authenticate → act as → count → authorize → find the resource → its verb. */
#include "apiserver/impersonate.h"
#include "apiserver/meter.h"
#include "apiserver/server.h"
#include "apiserver/custom.h"
#include "apiserver/virtual.h"

/* ---- calls */

void call_uncount(struct call *c)
{
	struct worker *w = c->w;
	flow_leave(&c->server->flow, &c->ticket);
	list_remove(&c->timed);
	if (c->own_timeout)
		loop_timer_stop(c->own_timeout);
	if (list_empty(&w->timed))
		loop_timer_stop(&w->expiry);
}

static void call_free(struct call *c)
{
	/* A stream has no other end than this one. */
	audit_complete(c, c->code ? c->code : 200, "", SPAN_EMPTY);
	meter_request(c);
	call_uncount(c);
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

/* Nobody waits for the answer any more. What was handed to the store goes on; the call ends when that is done. Before
 * an answer is begun there is nothing that a half-closed client could still read but this one answer, which it
 * gets within the moment that a commit takes: so only what has waited for long is given up. */
#define PATIENCE_NS (1 * NS_PER_S)
static void on_hangup(struct http_req *r, void *arg)
{
	struct call *c = arg;
	if (!c->answered && clock_mono_ns(c->server->clock) - c->begun_ns > PATIENCE_NS)
		http_reply_abort(r);
}

static const struct http_req_ops plain_ops = { .done = on_done, .hangup = on_hangup };

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

void call_deprecated(struct call *c, struct span warning)
{
	call_warn(c, warning);
	call_annotate(c, SPAN("k8s.io/deprecated"), SPAN("true"));
	meter_deprecated(c);
}

void call_annotate(struct call *c, struct span key, struct span value)
{
	for (unsigned i = 0; i < c->n_notes; i++)
		if (span_eq(c->notes[i].key, key))
			return;
	if (!c->audit)
		return;
	if (c->n_notes == c->cap_notes) {
		unsigned cap = c->cap_notes ? c->cap_notes * 2 : 4;
		struct call_note *more = arena_alloc_n(&c->arena, cap, sizeof(*more));
		if (c->n_notes)
			memcpy(more, c->notes, c->n_notes * sizeof(*more));
		c->notes = more;
		c->cap_notes = cap;
	}
	c->notes[c->n_notes++] = (struct call_note){ arena_span(&c->arena, key), arena_span(&c->arena, value) };
}

struct span call_group_version(struct call *c, const struct api_resource *res)
{
	auto_buf struct buf gv = {};
	api_resource_gv(res, &gv);
	return arena_span(&c->arena, buf_span(&gv));
}

/* ---- answers */

void call_headers(struct call *c, int code, const char *content_type)
{
	http_reply_status(c->http, code);
	http_reply_header(c->http, "cache-control",
			  c->cache_control ? span_of(c->cache_control) : SPAN("no-cache, private"));
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

void call_answered(struct call *c, int code)
{
	c->answered = true;
	c->code = code;
	audit_complete(c, code, "", SPAN_EMPTY);
}

void call_answer_piece(struct call *c, int code, const char *content_type, struct http_piece piece)
{
	/* A second answer comes from a commit that took longer than the request was given. */
	if (c->answered || !c->http) {
		c->answered = true;
		bytes_unref(piece.bytes);
		return;
	}
	c->answered = true;
	c->code = code;
	c->answer_bytes = piece.data.len;
	call_headers(c, code, content_type);
	audit_complete(c, code, content_type, piece.data);
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
	if (c->answered)
		return;
	auto_buf struct buf body = {};
	struct status_details d = {};
	bool invalid = c->err.class == ERR_INVALID;
	if (c->about) {
		d = *c->about;
	} else if (c->res) {
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
	if (c->bare && c->err.class == ERR_INTERNAL)
		status_write_unknown(&body, &c->err);
	else
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
	struct auth_token_facts facts = {};
	*out_audiences = NULL;
	*out_n = 0;
	bool known = auth_tokens_find(atomic_load(&s->tokens), token, &c->arena, out_user);
	int rc = 0;
	if (!known) {
		int64_t now_s = clock_wall_ns(s->clock) / NS_PER_S;
		auto_err struct err why = ERR_INIT;
		rc = auth_token_check(issuer_now(s), &s->lookup, token, now_s, want, n_want, &c->arena, out_user,
				      out_audiences, out_n, &facts, &why);
		/* That it is none of ours is no failure of the request when it is a bootstrap token. */
		if (rc == -ERR_NOT_FOUND)
			rc = auth_bootstrap_check(&s->lookup, token, now_s, &c->arena, out_user, err);
		else if (rc < 0)
			(void)err_move(err, &why);
	}
	c->token = known || facts.remembered ? TOKEN_KNOWN : rc == 0 ? TOKEN_GOOD : TOKEN_BAD;
	return rc;
}

static int find_user(struct call *c)
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
	/* The chain was verified when the connection began, and a connection may live for longer than its certificate. */
	int64_t now_s = clock_wall_ns(c->server->clock) / NS_PER_S;
	if (auth_cert_user(peer->cert, now_s, &c->arena, &c->user))
		return 0;
	/* A certificate that was shown and is no good is an error, unless another credential speaks for the client. */
	bool expired = peer->cert && peer->cert->verified && peer->cert->not_after_s < now_s;
	bool bad_cert = peer->cert && (!peer->cert->verified || expired);
	if (bad_cert)
		log_info("certificate refused", kv_str("why", expired ? "certificate has expired" : peer->cert->why_not),
			 kv_str("subject", peer->cert->subject), kv_str("from", peer->text));
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

static int authenticate(struct call *c)
{
	int rc = find_user(c);
	bool shown = rc < 0 && (http_req_header(c->http, "authorization").len || http_req_peer(c->http)->cert);
	c->known_ns = clock_mono_ns(c->server->clock);
	int64_t took_ns = c->known_ns - c->begun_ns;
	if (c->token)
		meter_token(c->w, c->token == TOKEN_KNOWN, c->token == TOKEN_GOOD, took_ns);
	meter_authenticated(c->w, rc == 0 ? METER_AUTHN_SUCCESS : shown ? METER_AUTHN_ERROR : METER_AUTHN_FAILURE, c->user.name,
			    took_ns);
	return rc;
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
		case APISERVER_AUTHZ_NODE:
			d = auth_node_allows(s->nodes, ask, &c->arena, &why);
			if (d == AUTH_NO_OPINION && span_starts(why, SPAN("no relationship found")))
				d = feed_node_ask(s, ask, &c->arena, &why);
			break;
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

struct auth_ask call_ask(struct call *c)
{
	return (struct auth_ask){
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
}

static int authorize(struct call *c)
{
	struct auth_ask ask = call_ask(c);
	if (c->route.verb == ROUTE_LIST || c->route.verb == ROUTE_WATCH) {
		ask.field_name = selector_field(c, "metadata.name");
		ask.node_name = selector_field(c, "spec.nodeName");
	}
	struct span reason;
	enum auth_decision decision = call_decide(c, &ask, &reason);
	bool allowed = decision == AUTH_ALLOW;
	meter_authorized(c->w, allowed ? METER_AUTHZ_ALLOWED : decision == AUTH_DENY ? METER_AUTHZ_DENIED : METER_AUTHZ_NO_OPINION,
			 clock_mono_ns(c->server->clock) - c->known_ns);
	call_annotate(c, SPAN("authorization.k8s.io/decision"), allowed ? SPAN("allow") : SPAN("forbid"));
	call_annotate(c, SPAN("authorization.k8s.io/reason"), reason);
	return allowed ? 0 : auth_forbidden(&ask, reason, &c->err);
}

/* ---- how many, how long */

/* Upstream's long-running requests: watches, and streams that last as long as somebody looks at them. */
static bool is_long_running(const struct route *r)
{
	static const char *const subs[] = { "attach", "exec", "portforward", "proxy", "log" };
	if (!r->is_resource || r->verb == ROUTE_WATCH)
		return r->is_resource;
	for (size_t i = 0; i < ARRAY_LEN(subs); i++)
		if (span_is(r->subresource, subs[i]))
			return true;
	return false;
}

static bool is_health(const struct route *r)
{
	struct span first = span_from(r->path, 1), head, tail;
	(void)span_split(first, '/', &head, &tail);
	return !r->is_resource && (span_is(head, "healthz") || span_is(head, "livez") || span_is(head, "readyz"));
}

static int enter(struct call *c)
{
	bool writing = c->route.verb > ROUTE_WATCH && !span_is(c->route.verb_name, "get") &&
		       !span_is(c->route.verb_name, "head");
	bool exempt = is_health(&c->route) || auth_user_in(&c->user, SPAN(AUTH_GROUP_MASTERS));
	if (c->long_running)
		return 0;
	if (flow_enter(&c->server->flow, writing ? FLOW_WRITING : FLOW_READING, c->user.name, exempt, &c->ticket)) {
		meter_dispatched(c->w, writing, exempt);
		return 0;
	}
	meter_dropped(c->w, writing);
	meter_terminated(c, 429);
	int rc = err_set(&c->err, ERR_TOO_MANY, "Too many requests, please try again later.");
	c->err.retry_ms = 1000;
	return rc;
}

static void expire(struct call *c)
{
	list_remove(&c->timed);
	if (!c->http || c->answered)
		return; /* a client that does not take its answer is the connection's business */
	if (http_reply_begun(c->http)) {
		/* Too late for a Status: it is cut, so that nobody takes it for whole. */
		http_reply_abort(c->http);
		return;
	}
	c->generic = true;
	meter_terminated(c, 504);
	err_set(&c->err, ERR_TIMEOUT, "Timeout: request did not complete within the allotted timeout");
	call_fail(c);
}

static void on_expiry(struct loop_timer *t)
{
	struct worker *w = container_of(t, struct worker, expiry);
	int64_t now = loop_now_ms(w->loop);
	LIST_EACH(&w->timed, c, struct call, timed) {
		if (c->deadline_ms > now) {
			loop_timer_start(t, c->deadline_ms - now);
			return;
		}
		expire(c);
	}
}

struct own_timeout {
	struct loop_timer timer;
	struct call *c;
};

static void on_own_timeout(struct loop_timer *t)
{
	expire(container_of(t, struct own_timeout, timer)->c);
}

/* All have the same time, so the list is in order, and one timer watches its head. */
static int time_limit(struct call *c)
{
	struct worker *w = c->w;
	int64_t most = c->server->opt->request_timeout_ms, own;
	if (c->long_running)
		return 0;
	c->deadline_ms = loop_now_ms(w->loop) + most;
	if (list_empty(&w->timed))
		loop_timer_start(&w->expiry, most);
	list_push(&w->timed, &c->timed);
	struct span text = call_param(c, "timeout");
	if (!text.len)
		return 0;
	if (!apiserver_duration_ms(text, &own)) {
		c->generic = true;
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "invalid timeout specified in the request URL - time: invalid duration \"%.*s\"", SPAN_ARG(text));
	}
	if (own > 0 && own < most) {
		struct own_timeout *t = arena_new(&c->arena, struct own_timeout);
		t->c = c;
		loop_timer_init(&t->timer, w->loop, "request's own timeout", on_own_timeout);
		loop_timer_start(&t->timer, own);
		c->own_timeout = &t->timer;
	}
	return 0;
}

void handle_init(struct worker *w)
{
	list_init(&w->timed);
	loop_timer_init(&w->expiry, w->loop, "request timeout", on_expiry);
	w->expiry.background = true;
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
	/* PUT of a collection and POST of a name are no paths of upstream's router either. */
	bool misplaced = (r->verb == ROUTE_UPDATE || r->verb == ROUTE_PATCH) ? !r->name.len
			 : r->verb == ROUTE_CREATE			     ? r->name.len && !r->subresource.len
									     : false;
	if (misplaced)
		err_set(&c->err, ERR_METHOD_NOT_ALLOWED,
			"the server does not allow this method on the requested resource");
	if (misplaced || (!(verbs & verb_bit(r->verb)) && apiserver_custom_allows(c) < 0)) {
		call_fail(c);
		return;
	}
	apiserver_custom_warn(c);
	if (!r->group.len && span_is(r->resource, "endpoints"))
		call_deprecated(c, SPAN("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"));
	struct span accept = http_req_header_all(c->http, "accept");
	unsigned can =
		ACCEPT_YAML | ACCEPT_SHAPES | (api_type_flags(c->res->type) & API_TYPE_CUSTOM ? 0 : ACCEPT_PROTO);
	if (accept_read(accept, can, &c->want, &c->err) < 0) {
		call_fail(c);
		return;
	}
	if (virtual_begin(c))
		return;
	switch (r->verb) {
	case ROUTE_GET: read_get(c); break;
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

	list_init(&c->timed);
	c->begun_ns = clock_mono_ns(w->server->clock);
	audit_id(c);
	http_reply_header(r, "Audit-Id", c->audit_id);

	const struct span *segments;
	size_t n;
	if (http_req_segments(r, &segments, &n, &c->err) < 0) {
		c->route.path = http_req_path(r);
		call_fail(c);
		return;
	}
	if (n && !segments[n - 1].len)
		n--;
	/* The call may outlive its request: what it reads of it is its own. */
	struct span *own = arena_alloc_n(&c->arena, n + 1, sizeof(*own));
	for (size_t i = 0; i < n; i++)
		own[i] = arena_span(&c->arena, segments[i]);
	c->query = arena_span(&c->arena, c->query);
	route_read(&c->arena, http_req_method(r), arena_span(&c->arena, http_req_path(r)), own, n, c->query, &c->route);
	c->long_running = is_long_running(&c->route);
	meter_begin(c);
	if (authenticate(c) < 0) {
		audit_unauthenticated(c);
		call_fail(c);
		return;
	}
	audit_begin(c);
	if (time_limit(c) < 0 || impersonate_user(c) < 0 || enter(c) < 0 || authorize(c) < 0) {
		if (!c->answered)
			call_fail(c);
		return;
	}
	bool is_watch = c->route.is_resource && c->route.verb == ROUTE_WATCH; /* it tells by itself, and may have no call any more */
	if (c->route.is_resource)
		dispatch(c);
	else
		path_handle(c);
	if (!is_watch && c->long_running && !c->answered && c->http && http_reply_begun(c->http)) {
		c->code = 200;
		audit_started(c, 200);
	}
}
