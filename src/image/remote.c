/* What registries are asked besides pulling and pushing: who somebody is, what a name stands for, which tags there are, what
 * can be found. */
#include "image/net.h"

#define TAGS_BYTES (4u << 20)
#define TAGS_MAX 10000
#define SEARCH_BYTES (1u << 20)

static const char accept_all[] = "application/vnd.docker.distribution.manifest.v2+json, "
	"application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, "
	"application/vnd.oci.image.index.v1+json";

/* The registry of a name, without its mirrors, found and spoken to. */
static int registry_open(const struct image_registry_params *p, const struct image_ref *ref, struct net **out_net,
	struct endpoint **out_ep, struct err *err)
{
	struct net *n;
	int rc = image_net_open(p, NULL, ref, &n, err);
	if (rc < 0)
		return rc;
	size_t count = image_net_endpoints(n, out_ep);
	*out_ep += count - 1;
	rc = image_net_ping(n, *out_ep, err);
	if (rc < 0)
		image_net_close(n);
	else
		*out_net = n;
	return rc;
}

int image_login(const struct image_registry_params *p, struct span server, struct err *err)
{
	struct image_ref ref = { .domain = server };
	struct net *n;
	struct endpoint *ep;
	int rc = registry_open(p, &ref, &n, &ep, err);
	if (rc < 0)
		return rc;
	struct exchange x;
	image_exchange_init(&x, n, ep, "GET");
	x.target = SPAN("/v2/");
	x.scope = ""; /* a token for nothing in particular: only who asks is checked */
	x.limit = MANIFEST_BYTES;
	auto_err struct err why = ERR_INIT;
	rc = image_exchange_run(&x, &why);
	bool basic = span_eq_nocase(span_sub(x.challenge, 0, 5), SPAN("basic"));
	if (((rc == 0 && x.status == 401) || (rc == -ERR_UNAUTHORIZED && basic)) && p->username.len)
		rc = err_set(&why, ERR_UNAUTHORIZED, "login attempt to %s/v2/ failed with status: 401 Unauthorized", ep->shown);
	else if (rc == 0 && x.status != 200)
		rc = image_net_answer_error(&x, SPAN_EMPTY, &why);
	else if (rc == -ERR_UNAUTHORIZED || rc == -ERR_FORBIDDEN)
		rc = err_set(&why, ERR_UNAUTHORIZED, "Get \"%s/v2/\": unauthorized: incorrect username or password", ep->shown);
	image_exchange_done(&x);
	image_net_close(n);
	return rc < 0 && err ? err_move(err, &why) : rc;
}

int image_resolve(const struct image_registry_params *p, const struct image_ref *ref, struct arena *a, struct image_resolved *out,
	struct err *err)
{
	struct net *n;
	struct endpoint *ep;
	char scope[300];
	struct span what = ref->digest.len ? ref->digest : ref->tag;
	assert(what.len);
	int rc = registry_open(p, ref, &n, &ep, err);
	if (rc < 0)
		return rc;
	struct exchange x;
	image_exchange_init(&x, n, ep, "GET");
	(void)snprintf(scope, sizeof(scope), "repository:%.*s:pull", SPAN_ARG(ref->path));
	x.target = arena_printf(a, "/v2/%.*s/manifests/%.*s", SPAN_ARG(ref->path), SPAN_ARG(what));
	x.accept = accept_all;
	x.scope = scope;
	x.limit = MANIFEST_BYTES;
	rc = image_exchange_run(&x, err);
	if (rc == 0 && x.status != 200)
		rc = image_net_answer_error(&x, image_ref_familiar(ref, a), err);
	if (rc == 0) {
		struct span type, rest;
		out->digest = image_digest_of(buf_span(&x.answer));
		out->text = arena_span(a, buf_span(&x.answer));
		(void)span_split(x.type, ';', &type, &rest);
		rc = image_manifest_parse(out->text, type, a, &out->manifest, err);
	}
	if (rc == 0 && ref->digest.len && !span_eq(ref->digest, image_digest_span(&out->digest)))
		rc = err_set(err, ERR_CORRUPT, "manifest verification failed for digest %.*s", SPAN_ARG(ref->digest));
	/* An image says in its configuration what it runs on; a list says it itself. */
	if (rc == 0 && out->manifest.kind == IMAGE_MANIFEST) {
		struct image_config config;
		struct span digest = image_digest_span(&out->manifest.config.digest);
		struct exchange y;
		image_exchange_init(&y, n, ep, "GET");
		y.target = arena_printf(a, "/v2/%.*s/blobs/%.*s", SPAN_ARG(ref->path), SPAN_ARG(digest));
		y.scope = scope;
		y.limit = CONFIG_BYTES;
		rc = image_exchange_run(&y, err);
		if (rc == 0 && y.status != 200)
			rc = image_net_answer_error(&y, image_ref_familiar(ref, a), err);
		struct image_digest is = image_digest_of(buf_span(&y.answer));
		if (rc == 0 && !image_digest_eq(&is, &out->manifest.config.digest))
			rc = err_set(err, ERR_CORRUPT, "image config verification failed for digest %.*s", SPAN_ARG(digest));
		if (rc == 0)
			rc = image_config_parse(arena_span(a, buf_span(&y.answer)), a, &config, err);
		if (rc == 0)
			out->platform = config.platform;
		image_exchange_done(&y);
	}
	image_exchange_done(&x);
	image_net_close(n);
	return rc;
}

int image_remote_tags(const struct image_registry_params *p, const struct image_ref *ref, struct arena *a, struct span **out,
	size_t *out_n, struct err *err)
{
	struct net *n;
	struct endpoint *ep;
	char scope[300];
	int rc = registry_open(p, ref, &n, &ep, err);
	if (rc < 0)
		return rc;
	struct exchange x;
	struct json v = JSON_NULL_VALUE;
	image_exchange_init(&x, n, ep, "GET");
	(void)snprintf(scope, sizeof(scope), "repository:%.*s:pull", SPAN_ARG(ref->path));
	x.target = arena_printf(a, "/v2/%.*s/tags/list", SPAN_ARG(ref->path));
	x.scope = scope;
	x.limit = TAGS_BYTES;
	rc = image_exchange_run(&x, err);
	if (rc == 0 && x.status != 200)
		rc = image_net_answer_error(&x, image_ref_familiar_name(ref, a), err);
	if (rc == 0 && json_parse(a, arena_span(a, buf_span(&x.answer)), JSON_DUPLICATES_LAST, NULL, &v, NULL) < 0)
		rc = err_set(err, ERR_UPSTREAM, "%s: the list of tags is not JSON", ep->shown);
	const struct json *tags = json_getl(&v, "tags");
	size_t count = 0;
	*out = arena_alloc_n(a, json_is(tags, JSON_ARRAY) ? tags->n + 1 : 1, sizeof(**out));
	JSON_EACH_ITEM(tags, t)
		if (rc == 0 && t->kind == JSON_STRING && count < TAGS_MAX)
			(*out)[count++] = json_span(t);
	*out_n = count;
	image_exchange_done(&x);
	image_net_close(n);
	return rc;
}

int image_search(const struct image_registry_params *p, struct span term, unsigned limit, struct arena *a, struct json *out,
	struct err *err)
{
	/* "host:5000/x" is looked for at that registry, anything else at Docker Hub's index. */
	struct span host = SPAN("index.docker.io"), first, rest;
	if (span_split(term, '/', &first, &rest) && (span_chr(first, '.') >= 0 || span_chr(first, ':') >= 0 ||
		span_is(first, "localhost"))) {
		if (!span_is(first, "docker.io") && !span_is(first, "index.docker.io"))
			host = first;
		term = rest;
	}
	struct image_ref ref = { .domain = host };
	struct net *n;
	int rc = image_net_open(p, NULL, &ref, &n, err);
	if (rc < 0)
		return rc;
	auto_buf struct buf target = {};
	struct endpoint *ep;
	size_t count = image_net_endpoints(n, &ep);
	ep += count - 1;
	struct exchange x;
	image_exchange_init(&x, n, ep, "GET");
	buf_str(&target, "/v1/search?q=");
	percent_add(&target, term, NULL);
	buf_printf(&target, "&n=%u", limit);
	/* The first word decides between https and http, as for the other protocol; an index need not serve that one. */
	if (!span_is(host, "index.docker.io"))
		rc = image_net_ping(n, ep, err);
	else
		rc = image_net_prepare(n, ep, err);
	x.target = buf_span(&target);
	x.basic = p->username.len != 0;
	x.limit = SEARCH_BYTES;
	if (rc == 0)
		rc = image_exchange_run(&x, err);
	if (rc == 0 && x.status != 200)
		rc = err_set(err, x.status == 401 ? ERR_UNAUTHORIZED : ERR_UPSTREAM, "unexpected status code %d", x.status);
	if (rc == 0 && (json_parse(a, arena_span(a, buf_span(&x.answer)), JSON_DUPLICATES_LAST, NULL, out, NULL) < 0 ||
		out->kind != JSON_OBJECT))
		rc = err_set(err, ERR_UPSTREAM, "%s: the answer to a search is not JSON", ep->shown);
	image_exchange_done(&x);
	image_net_close(n);
	return rc;
}
