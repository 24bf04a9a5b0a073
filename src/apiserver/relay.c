/* Passing a request on.
 *
 *     client ──http_req──► [relay] ──http_call──► server        until one of them has ended
 *            ◄──────────           ◄───────────
 *     client ◄─duplex a──► [relay] ◄──duplex b──► server        after 101 from both
 *
 * Pending counts of the call: one for the http_call, one for each duplex. Whoever goes last lets the call be freed. */
#include "apiserver/relay.h"

#include "apiserver/hop.h"


#include "apiserver/audit.h"
#include "apiserver/sub.h"

#define QUEUE_BYTES (256 * 1024)
#define ERROR_BODY_MAX 10000 /* of a kubelet's refusal; upstream's maxReadLength */
#define HEADERS_MAX 200

struct relay_pool {
	struct http_client *client;
	struct list streams; /* struct relay.link: joined now */
	struct list calls;   /* struct relay.link: under way */
};

struct relay {
	struct call *c;
	struct list link;
	struct relay_target to;
	struct http_origin origin;
	struct http_call *call;	      /* NULL once over */
	struct http_pair pair;	      /* client's, server's */
	const char *upgrade;	      /* asked for by the client */
	bool answering;		      /* the other's answer is passed on */
	bool refused;		      /* RELAY_LOG: the body is an error's text */
	bool ended;
	struct buf refusal;
};

static struct relay_pool *pool_of(struct worker *w)
{
	if (w->relays)
		return w->relays;
	struct relay_pool *p = mem_new(struct relay_pool);
	const struct http_client_params params = { .loop = w->loop, .name = "apiserver relay" };
	list_init(&p->streams);
	list_init(&p->calls);
	auto_err struct err err = ERR_INIT;
	int rc = http_client_new(&params, &p->client, &err);
	assert(rc == 0); /* no parameter can be wrong */
	w->relays = p;
	return p;
}

struct http_client *relay_client(struct worker *w)
{
	return pool_of(w)->client;
}

/* ---- words */

static unsigned port_of(const struct relay *r)
{
	return r->to.port ? r->to.port : r->to.tls ? 443 : 80;
}

/* Upstream's answer when the other server cannot be reached: each kind has its own. */
static void unreachable(struct relay *r, const struct err *why)
{
	struct call *c = r->c;
	auto_buf struct buf text = {};
	bool v6 = span_chr(r->to.host, ':') >= 0;
	http_dial_words(&text, r->to.host, port_of(r), why);
	if (r->to.kind == RELAY_LOG) {
		err_set(&c->err, ERR_INTERNAL, "Get \"https://%s%.*s%s:%u%.*s\": %s", v6 ? "[" : "", SPAN_ARG(r->to.host),
			v6 ? "]" : "", port_of(r), SPAN_ARG(r->to.path), buf_cstr(&text));
		sub_fail_unknown(c);
	} else if (r->upgrade) {
		err_set(&c->err, ERR_INTERNAL, "error dialing backend: %s", buf_cstr(&text));
		sub_fail_unknown(c);
	} else {
		c->generic = true;
		err_set(&c->err, ERR_UNAVAILABLE, "error trying to reach service: %s", buf_cstr(&text));
		call_fail(c);
	}
}

/* A kubelet that answers a request for a log with an error. */
static void refuse_log(struct relay *r, int status)
{
	struct call *c = r->c;
	struct span body = buf_span(&r->refusal);
	auto_err struct err text = ERR_INIT;
	static const struct {
		int status;
		enum err_class class;
		const char *words;
	} rows[] = {
		{ 401, ERR_UNAUTHORIZED, "the server has asked for the client to provide credentials" },
		{ 403, ERR_FORBIDDEN, NULL },
		{ 404, ERR_NOT_FOUND, "the server could not find the requested resource" },
		{ 429, ERR_TOO_MANY, "the server has received too many requests and has asked us to try again later" },
		{ 503, ERR_UNAVAILABLE, "the server is currently unable to handle the request" },
	};
	if (status == 500 || status == 400) {
		err_set(&c->err, status == 500 ? ERR_INTERNAL : ERR_INVALID_REQUEST, "%.*s", SPAN_ARG(body));
		if (status == 500)
			err_cause_add(&c->err, SPAN_EMPTY, "", body);
		c->generic = true;
		call_fail(c);
		return;
	}
	err_set(&c->err, ERR_INTERNAL, "an error on the server (\"%.*s\") has prevented the request from succeeding",
		SPAN_ARG(body));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].status == status)
			err_set(&c->err, rows[i].class, "%.*s",
				SPAN_ARG(rows[i].words ? span_of(rows[i].words) : body));
	err_move(&text, &c->err);
	err_set(&c->err, text.class, "%s ( pods/log %.*s)", err_msg(&text), SPAN_ARG(c->route.name));
	call_fail(c);
}

/* ---- headers */

static size_t request_headers(struct relay *r, struct http_field *out)
{
	struct call *c = r->c;
	const struct http_fields *in = http_req_headers(c->http);
	size_t n = 0;
	for (unsigned i = 0; i < in->n && n < HEADERS_MAX; i++) {
		struct http_field f = in->items[i];
		if (f.name.len && f.name.ptr[0] == ':')
			continue;
		if (hop_stays(f.name) || hop_named(in, f.name))
			continue;
		if (span_eq_nocase(f.name, SPAN("sec-websocket-protocol"))) {
			f.value = hop_protocols(&c->arena, f.value);
			if (!f.value.len)
				continue;
		}
		out[n++] = f;
	}
	/* The hops so far, then the one before us, without its port. */
	struct span from = http_peer_host(http_req_peer(c->http)), before = http_req_header_all(c->http, "x-forwarded-for");
	if (from.len)
		out[n++] = (struct http_field){ SPAN("X-Forwarded-For"),
						arena_printf(&c->arena, "%.*s%s%.*s", SPAN_ARG(before), before.len ? ", " : "",
							     SPAN_ARG(from)) };
	if (r->to.kind == RELAY_PROXY)
		out[n++] = (struct http_field){ SPAN("X-Forwarded-Uri"), http_req_path(c->http) };
	return n;
}

static void answer_headers(struct relay *r, bool upgraded)
{
	struct call *c = r->c;
	const struct http_fields *in = http_call_headers(r->call);
	for (unsigned i = 0; i < in->n; i++) {
		struct http_field f = in->items[i];
		bool is_upgrade = span_eq_nocase(f.name, SPAN("upgrade"));
		if ((!(upgraded && is_upgrade) && hop_stays(f.name)) || (!is_upgrade && hop_named(in, f.name)))
			continue;
		if (r->to.kind == RELAY_PROXY && span_eq_nocase(span_sub(f.name, 0, 21), SPAN("access-control-allow-")))
			continue; /* what a page of ours may do is not for the other server to say */
		if (r->to.kind == RELAY_PROXY && span_eq_nocase(f.name, SPAN("location")))
			f.value = hop_location(&c->arena, f.value, http_req_host(c->http), r->to.prefix);
		http_reply_header(c->http, arena_cstr(&c->arena, f.name), f.value);
	}
	struct span length = http_call_header(r->call, "content-length");
	if (!upgraded && length.len && http_req_is(c->http, "HEAD"))
		http_reply_header(c->http, "content-length", length);
}

/* ---- ends */

static void over(struct relay *r)
{
	struct call *c = r->c;
	if (!r->call && !r->pair.side[0] && !r->pair.side[1])
		list_remove(&r->link);
	c->pending--;
	call_release(c); /* r may be gone */
}

static void abort_answer(struct relay *r)
{
	if (r->c->http && !r->ended) {
		r->ended = true;
		http_reply_abort(r->c->http);
	}
}

/* ---- joined streams */

static void pair_closed(struct http_pair *pair)
{
	over(container_of(pair, struct relay, pair));
}

/* What the audit log and the metrics hear of an answer that others write. */
static void begun(struct call *c, int code)
{
	c->code = code;
	audit_started(c, code);
}

static void join(struct relay *r)
{
	struct call *c = r->c;
	struct http_duplex *near = NULL, *far = NULL;
	if (!c->http)
		return; /* the client went meanwhile: its hangup cancels the call */
	answer_headers(r, true);
	if (http_call_hijack(r->call, &far, &c->err) < 0) {
		sub_fail_unknown(c);
		return;
	}
	c->pending++;
	http_pair_set(&r->pair, 1, far);
	/* The client's side: its request ends with this, and done forgets it. */
	c->answered = r->ended = true;
	begun(c, 101);
	if (http_req_hijack(c->http, 101, &near, &c->err) < 0) {
		log_error("a request could not be taken over", kv_err(&c->err));
		http_reply_abort(c->http);
		http_pair_abort(&r->pair);
		return;
	}
	c->pending++;
	list_remove(&r->link);
	list_push(&c->w->relays->streams, &r->link);
	http_pair_set(&r->pair, 0, near);
}

/* ---- the call */

static void call_head(struct http_call *call, void *arg)
{
	struct relay *r = arg;
	struct call *c = r->c;
	int status = http_call_status(call);
	if (!c->http)
		return;
	if (r->upgrade && status == 101) {
		join(r);
		return;
	}
	if (r->upgrade && status < 400) {
		err_set(&c->err, ERR_INTERNAL, "invalid upgrade response: status code %d", status);
		r->ended = true;
		sub_fail_unknown(c);
		http_call_cancel(call);
		return;
	}
	if (r->to.kind == RELAY_LOG && (status < 200 || status > 206)) {
		r->refused = true;
		return;
	}
	c->answered = r->answering = true;
	begun(c, r->to.kind == RELAY_LOG ? 200 : status);
	http_reply_status(c->http, r->to.kind == RELAY_LOG ? 200 : status);
	if (r->to.kind == RELAY_LOG) {
		http_reply_header(c->http, "cache-control", SPAN("no-cache, private"));
		http_reply_header(c->http, "content-type", SPAN("text/plain"));
	} else {
		answer_headers(r, false);
	}
	http_reply_begin(c->http);
}

static void call_data(struct http_call *call, struct span data, void *arg)
{
	struct relay *r = arg;
	if (r->refused) {
		buf_span_add(&r->refusal, span_sub(data, 0, ERROR_BODY_MAX - r->refusal.len));
		return;
	}
	if (!r->c->http || !r->answering)
		return;
	http_reply_add(r->c->http, http_copy(data));
	if (http_reply_queued(r->c->http) > QUEUE_BYTES)
		http_call_pause(call);
}

static void call_drain(struct http_call *call, void *arg)
{
	struct relay *r = arg;
	if (r->c->http)
		http_req_resume(r->c->http);
}

static void call_done(struct http_call *call, const struct err *why, void *arg)
{
	struct relay *r = arg;
	struct call *c = r->c;
	int status = http_call_status(call);
	r->call = NULL;
	if (!c->http || r->ended) {
		/* nobody waits for more */
	} else if (why && !r->answering) {
		r->ended = true;
		unreachable(r, why);
	} else if (why) {
		log_info("relayed answer cut", kv_err(why));
		abort_answer(r);
	} else if (r->refused) {
		r->ended = true;
		refuse_log(r, status);
	} else {
		r->ended = true;
		http_reply_end(c->http);
	}
	over(r);
}

static const struct http_call_ops call_ops = {
	.head = call_head, .data = call_data, .drain = call_drain, .done = call_done
};

/* ---- the request */

static void req_data(struct http_req *req, struct span data, void *arg)
{
	struct relay *r = arg;
	if (!r->call || r->answering)
		return; /* an answer before the end of the body: the rest is not wanted */
	http_call_add(r->call, http_copy(data));
	if (http_call_queued(r->call) > QUEUE_BYTES)
		http_req_pause(req);
}

static void req_end(struct http_req *req, void *arg)
{
	struct relay *r = arg;
	if (r->call)
		http_call_end(r->call);
}

static void req_drain(struct http_req *req, void *arg)
{
	struct relay *r = arg;
	if (r->call)
		http_call_resume(r->call);
}

static void req_hangup(struct http_req *req, void *arg)
{
	struct relay *r = arg;
	if (r->call)
		http_call_cancel(r->call);
	abort_answer(r);
}

static void req_done(struct http_req *req, bool complete, void *arg)
{
	struct relay *r = arg;
	struct call *c = r->c;
	c->http = NULL;
	if (r->call && !complete)
		http_call_cancel(r->call);
	call_release(c);
}

static const struct http_req_ops with_body = {
	.data = req_data, .end = req_end, .drain = req_drain, .hangup = req_hangup, .done = req_done
};
static const struct http_req_ops without_body = { .drain = req_drain, .hangup = req_hangup, .done = req_done };

static void refusal_free(void *arg)
{
	struct relay *r = arg;
	buf_done(&r->refusal);
}

/* The protocol that the client asks to go over to; NULL for none. */
static const char *upgrade_of(struct call *c)
{
	struct span name = span_trim(http_req_header(c->http, "upgrade"));
	if (!name.len)
		return NULL;
	const char *text = arena_cstr(&c->arena, name);
	return http_req_wants_upgrade(c->http, text) ? text : NULL;
}

void relay_begin(struct call *c, const struct relay_target *t)
{
	struct relay *r = arena_new(&c->arena, struct relay);
	struct relay_pool *pool = pool_of(c->w);
	struct http_field headers[HEADERS_MAX + 2];
	r->c = c;
	r->pair.closed = pair_closed;
	r->to = *t;
	r->upgrade = t->kind == RELAY_LOG ? NULL : upgrade_of(c);
	if (t->kind == RELAY_STREAM && !r->upgrade) {
		err_set(&c->err, ERR_INVALID_REQUEST, "Upgrade request required");
		call_fail(c);
		return;
	}
	arena_defer(&c->arena, refusal_free, r);
	r->origin = (struct http_origin){
		.tls = t->tls, .host = arena_cstr(&c->arena, t->host), .port = t->port, .tls_ctx = t->tls_ctx
	};
	int64_t length = http_req_length(c->http);
	bool body = t->kind == RELAY_PROXY && !r->upgrade && length != 0;
	struct http_call_params p = {
		.origin = &r->origin,
		.method = t->kind == RELAY_LOG ? "GET" : arena_cstr(&c->arena, http_req_method(c->http)),
		.target = arena_span(&c->arena, t->path),
		.headers = headers,
		.n_headers = t->kind == RELAY_LOG ? 0 : request_headers(r, headers),
		.stream_body = body,
		.body_length = length,
		.upgrade = r->upgrade,
		.ops = &call_ops,
		.arg = r,
	};
	if (!body)
		p.body_length = 0;
	if (http_call_begin(pool->client, &p, &r->call, &c->err) < 0) {
		call_fail(c);
		return;
	}
	c->pending++;
	list_push(&pool->calls, &r->link);
	http_req_ops_set(c->http, body ? &with_body : &without_body, r);
}

void relay_end_all(struct worker *w)
{
	struct relay_pool *p = w->relays;
	if (!p)
		return;
	LIST_EACH(&p->calls, r, struct relay, link) {
		if (r->call)
			http_call_cancel(r->call);
		abort_answer(r);
	}
	LIST_EACH(&p->streams, r, struct relay, link)
		http_pair_abort(&r->pair);
}

void relay_free(struct worker *w)
{
	if (!w->relays)
		return;
	http_client_free(w->relays->client);
	free(w->relays);
	w->relays = NULL;
}
