/* Who asks, and may they? Both answers are the API server's, and kept for a while.
 *
 *     certificate ─┐
 *     token ─▶ TokenReview ─▶ user ─▶ SubjectAccessReview of the first subresource ─▶ allowed: serve
 *     nothing ─▶ anonymous ┘             └─ refused ─▶ of the second, if there is one ─▶ refused: 403
 *
 * Times are upstream's: authentication.webhook.cacheTTL 2m, authorization.webhook.cacheAuthorizedTTL 5m and
 * cacheUnauthorizedTTL 30s. A review that failed (no API server) is not kept. */
#include "kubelet/server_impl.h"

enum { TOKEN_MS = 120000, ALLOWED_MS = 300000, REFUSED_MS = 30000, KEPT_MAX = 4096 };

struct kl_review {
	struct list link;
	struct map *in;
	char *key;            /* owned */
	int64_t until_ms;
	bool good;            /* the token is; or: allowed */
	struct arena arena;   /* the user, when it is a token */
	struct json user;
};

static void review_drop(struct kl_server *s, struct kl_review *v)
{
	(void)map_remove(v->in, span_of(v->key));
	list_remove(&v->link);
	s->n_kept--;
	arena_done(&v->arena);
	free(v->key);
	free(v);
}

void kl_auth_done(struct kl_server *s)
{
	LIST_EACH(&s->kept, v, struct kl_review, link)
		review_drop(s, v);
	map_done(&s->tokens);
	map_done(&s->answers);
}

static struct kl_review *kept(struct kl_server *s, struct map *in, struct span key)
{
	struct kl_review *v = map_get(in, key);
	if (v && v->until_ms <= loop_now_ms(s->k->loop)) {
		review_drop(s, v);
		v = NULL;
	}
	return v;
}

/* Takes the key. */
static struct kl_review *keep(struct kl_server *s, struct map *in, char *key, int64_t ms)
{
	struct kl_review *v = map_get(in, span_of(key));
	if (v)
		review_drop(s, v);
	if (s->n_kept == KEPT_MAX)
		review_drop(s, LIST_FIRST(&s->kept, struct kl_review, link));
	v = mem_new(struct kl_review);
	*v = (struct kl_review){ .in = in, .key = key, .until_ms = loop_now_ms(s->k->loop) + ms };
	list_push(&s->kept, &v->link);
	s->n_kept++;
	(void)map_put(in, span_of(key), v);
	return v;
}

/* ---- authorization */

static void authorize(struct kl_request *q);

static struct span verb_of(struct kl_request *q)
{
	struct span m = http_req_method(q->http);
	return span_is(m, "POST") ? SPAN("create") : span_is(m, "GET") || span_is(m, "HEAD") ? SPAN("get") : span_is(m, "PUT") ?
		SPAN("update") : span_is(m, "PATCH") ? SPAN("patch") : span_is(m, "DELETE") ? SPAN("delete") : SPAN_EMPTY;
}

static void forbid(struct kl_request *q)
{
	const char *const *sub = q->route->subresources;
	struct span verb = verb_of(q);
	log_info("request refused", kv_span("user", q->user), kv_span("verb", verb), kv_str("subresource", sub[0]));
	kl_request_text(q, 403, "Forbidden (user=%.*s, verb=%.*s, resource=nodes, subresource(s)=[%s%s%s])\n", SPAN_ARG(q->user),
			SPAN_ARG(verb), sub[0], sub[1] ? " " : "", sub[1] ? sub[1] : "");
}

static void serve(struct kl_request *q)
{
	bool get = http_req_is(q->http, "GET"), post = http_req_is(q->http, "POST");
	if (!q->route->serve)
		return kl_request_text(q, 404, "404 page not found\n");
	if (!get && !(post && q->route->post))
		return kl_request_text(q, 405, "405: Method Not Allowed");
	q->route->serve(q);
}

static void answered(struct kl_request *q, bool allowed)
{
	if (allowed)
		return serve(q);
	if (q->subresource == 0 && q->route->subresources[1]) {
		q->subresource++;
		return authorize(q);
	}
	forbid(q);
}

static void on_access(struct client_call *call, const struct err *why, int status, struct span body, void *arg)
{
	struct kl_request *q = arg;
	auto_arena struct arena a = {};
	struct api_authorization_subject_access_review r;
	auto_err struct err err = ERR_INIT;
	char *key = take(&q->cache_key);
	q->review = NULL;
	if (why || api_authorization_subject_access_review_decode(&a, API_FORM_JSON, body, &r, &err) < 0) {
		free(key);
		log_warn("access cannot be reviewed", kv_err(why ? why : &err));
		return kl_request_text(q, 500, "Authorization error (user=%.*s, verb=%.*s, resource=nodes, subresource=%s)\n",
				       SPAN_ARG(q->user), SPAN_ARG(verb_of(q)), q->route->subresources[q->subresource]);
	}
	bool allowed = r.status.allowed && !r.status.denied;
	keep(q->s, &q->s->answers, key, allowed ? ALLOWED_MS : REFUSED_MS)->good = allowed;
	answered(q, allowed);
}

static void spans_write(struct json_out *o, const char *key, const struct span *items, unsigned n)
{
	json_out_key(o, span_of(key));
	json_out_begin_array(o);
	for (unsigned i = 0; i < n; i++)
		json_out_span(o, items[i]);
	json_out_end(o);
}

static void authorize(struct kl_request *q)
{
	auto_buf struct buf body = {}, key = {};
	struct kl_server *s = q->s;
	struct span verb = verb_of(q);
	const char *sub = q->route->subresources[q->subresource];
	struct json_out o = { .buf = &body };
	json_out_begin(&o);
	json_out_kspan(&o, "apiVersion", SPAN("authorization.k8s.io/v1"));
	json_out_kspan(&o, "kind", SPAN("SubjectAccessReview"));
	json_out_key(&o, SPAN("spec"));
	size_t from = body.len;
	json_out_begin(&o);
	json_out_key(&o, SPAN("resourceAttributes"));
	json_out_begin(&o);
	json_out_kspan(&o, "verb", verb);
	json_out_kspan(&o, "version", SPAN("v1"));
	json_out_kspan(&o, "resource", SPAN("nodes"));
	json_out_kspan(&o, "subresource", span_of(sub));
	json_out_kspan(&o, "name", s->k->node_name);
	json_out_end(&o);
	json_out_kspan(&o, "user", q->user);
	json_out_kspan(&o, "uid", q->uid);
	spans_write(&o, "groups", q->groups, q->n_groups);
	if (json_is(&q->extra, JSON_OBJECT)) {
		json_out_key(&o, SPAN("extra"));
		json_out_value(&o, &q->extra);
	}
	json_out_end(&o);
	buf_span_add(&key, span_from(buf_span(&body), from)); /* the question is its own key */
	json_out_end(&o);
	const struct kl_review *v = kept(s, &s->answers, buf_span(&key));
	if (v)
		return answered(q, v->good);
	q->cache_key = mem_dup(key.ptr, key.len);
	const struct client_request r = { .method = "POST", .path = SPAN("/apis/authorization.k8s.io/v1/subjectaccessreviews"),
					  .body = buf_span(&body), .done = on_access, .arg = q };
	q->review = client_send(s->k->client, &r);
}

/* ---- authentication */

static void unauthorized(struct kl_request *q)
{
	kl_request_text(q, 401, "Unauthorized");
}

/* user: {username, uid, groups, extra}; it lives as long as the request. */
static void user_take(struct kl_request *q, const struct json *user)
{
	const struct json *groups = json_getl(user, "groups");
	struct json copy = json_copy(q->a, user);
	q->user = json_span(json_getl(&copy, "username"));
	q->uid = json_span(json_getl(&copy, "uid"));
	unsigned n = 0;
	struct span *all = arena_alloc_n(q->a, json_is(groups, JSON_ARRAY) ? groups->n + 1 : 1, sizeof(*all));
	JSON_EACH_ITEM(json_getl(&copy, "groups"), g)
		all[n++] = json_span(g);
	q->groups = all;
	q->n_groups = n;
	const struct json *extra = json_getl(&copy, "extra");
	if (extra)
		q->extra = *extra;
}

static void on_token(struct client_call *call, const struct err *why, int status, struct span body, void *arg)
{
	struct kl_request *q = arg;
	auto_arena struct arena a = {};
	struct json tree;
	auto_err struct err err = ERR_INIT;
	char *key = take(&q->cache_key);
	q->review = NULL;
	if (why || json_parse(&a, body, 0, NULL, &tree, &err) < 0) {
		free(key);
		log_warn("a token cannot be reviewed", kv_err(why ? why : &err));
		return unauthorized(q);
	}
	const struct json *user = json_path(&tree, "status", "user", NULL);
	bool good = json_truth(json_path(&tree, "status", "authenticated", NULL), false) && user;
	struct kl_review *v = keep(q->s, &q->s->tokens, key, TOKEN_MS);
	v->good = good;
	if (!good)
		return unauthorized(q);
	v->user = json_copy(&v->arena, user);
	user_take(q, &v->user);
	authorize(q);
}

static void token_review(struct kl_request *q, struct span token)
{
	auto_buf struct buf body = {}, key = {};
	uint8_t hash[32];
	tls_sha256(token, hash);
	hex_add(&key, hash, sizeof(hash)); /* the token itself is not kept */
	const struct kl_review *v = kept(q->s, &q->s->tokens, buf_span(&key));
	if (v && !v->good)
		return unauthorized(q);
	if (v) {
		user_take(q, &v->user);
		return authorize(q);
	}
	q->cache_key = mem_dup(key.ptr, key.len);
	buf_str(&body, "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\",\"spec\":{\"token\":");
	json_write_string(&body, token, 0);
	buf_str(&body, "}}");
	const struct client_request r = { .method = "POST", .path = SPAN("/apis/authentication.k8s.io/v1/tokenreviews"),
					  .body = buf_span(&body), .done = on_token, .arg = q };
	q->review = client_send(q->s->k->client, &r);
	explicit_bzero(body.ptr, body.len);
}

static bool bearer(struct kl_request *q, struct span *out)
{
	struct span scheme, rest, h = span_trim(http_req_header(q->http, "authorization"));
	if (!span_split(h, ' ', &scheme, &rest) || !span_eq_nocase(scheme, SPAN("bearer")))
		return false;
	*out = span_trim(rest);
	return out->len && out->len < 65536 && utf8_valid(*out);
}

void kl_auth_begin(struct kl_request *q)
{
	const struct tls_peer *cert = http_req_peer(q->http)->cert;
	struct span token;
	/* It was verified when the connection began, which may live longer than the certificate. */
	if (cert && cert->verified && cert->cn[0] && cert->not_after_s >= loop_wall_ns(q->s->k->loop) / NS_PER_S) {
		struct span *groups = arena_alloc_n(q->a, cert->n_orgs + 1, sizeof(*groups));
		q->user = arena_span(q->a, span_of(cert->cn));
		for (unsigned i = 0; i < cert->n_orgs; i++)
			groups[i] = arena_span(q->a, span_of(cert->orgs[i]));
		groups[cert->n_orgs] = SPAN("system:authenticated");
		q->groups = groups;
		q->n_groups = cert->n_orgs + 1;
		return authorize(q);
	}
	if (bearer(q, &token))
		return token_review(q, token);
	if (!q->s->p.anonymous || http_req_header(q->http, "authorization").len)
		return unauthorized(q);
	static const struct span none[] = { SPAN_INIT("system:unauthenticated") };
	q->user = SPAN("system:anonymous");
	q->groups = none;
	q->n_groups = 1;
	authorize(q);
}
