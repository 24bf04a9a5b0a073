/* Everything that is no resource: discovery, version, health. */
#include "apiserver/discovery.h"
#include "apiserver/server.h"

static void text(struct call *c, int code, const char *words)
{
	auto_buf struct buf b = {};
	buf_str(&b, words);
	call_answer(c, code, "text/plain; charset=utf-8", &b);
}

static void version(struct call *c)
{
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	json_out_begin(&o);
	json_out_kspan(&o, "major", SPAN("1"));
	json_out_kspan(&o, "minor", SPAN("33"));
	json_out_kspan(&o, "gitVersion", SPAN("v1.33.0+knarr." KNARR_VERSION));
	json_out_kspan(&o, "gitTreeState", SPAN("clean"));
	json_out_kspan(&o, "platform", SPAN("linux/amd64"));
	json_out_end(&o);
	call_answer(c, 200, "application/json", &b);
}

/* /livez, /readyz, /healthz: one check so far, the store's last commit; ?verbose lists the checks. */
static void health(struct call *c, const char *name)
{
	struct store_status st;
	store_status(c->server->store, &st);
	bool ok = st.last_error == 0;
	auto_buf struct buf verbose = {}, b = {};
	if (!ok || query_get(c->query, "verbose", &verbose)) {
		buf_printf(&b, "[+]ping ok\n%s\n%s check %s\n",
			   ok ? "[+]store ok" : "[-]store failed: the last write was refused", name,
			   ok ? "passed" : "failed");
		call_answer(c, ok ? 200 : 500, "text/plain; charset=utf-8", &b);
	} else {
		text(c, 200, "ok");
	}
}

static void openid(struct call *c, bool keys)
{
	auto_buf struct buf b = {}, uri = {};
	if (keys) {
		auth_openid_jwks(&c->server->issuer, &b);
		call_answer(c, 200, "application/jwk-set+json", &b);
		return;
	}
	buf_printf(&uri, "%.*s/openid/v1/jwks", SPAN_ARG(c->server->issuer.issuer));
	auth_openid_config(&c->server->issuer, buf_span(&uri), &b);
	call_answer(c, 200, "application/json", &b);
}

/* An ETag of the document: clients of aggregated discovery ask again with it. */
static void answer_tagged(struct call *c, const char *content_type, const struct buf *body)
{
	uint8_t sum[32];
	auto_buf struct buf tag = {};
	tls_sha256(buf_span(body), sum);
	buf_chr(&tag, '"');
	hex_add(&tag, sum, sizeof(sum));
	buf_chr(&tag, '"');
	http_reply_header(c->http, "vary", SPAN("Accept"));
	if (http_reply_not_modified(c->http, buf_span(&tag))) {
		c->answered = true;
		return;
	}
	call_answer(c, 200, content_type, body);
}

static void discover(struct call *c, const struct span *seg, size_t n)
{
	auto_buf struct buf b = {};
	struct accepted want;
	bool root = n == 1;
	if (accept_read(http_req_header_all(c->http, "accept"), root ? ACCEPT_DISCOVERY : 0, &want, &c->err) < 0) {
		call_fail(c);
		return;
	}
	bool core = span_is(seg[0], "api");
	if (root && want.shape != SHAPE_OBJECT) {
		bool v2 = want.shape == SHAPE_DISCOVERY_V2;
		discovery_aggregated(&b, c->registry, core, v2 ? SPAN("v2") : SPAN("v2beta1"));
		answer_tagged(c,
			      v2 ? "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
				 : "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
			      &b);
		return;
	}
	bool found = true;
	if (root && core) {
		auto_buf struct buf address = {};
		struct span host = c->server->opt->advertise_address;
		buf_printf(&address, "%.*s:%u", SPAN_ARG(host.len ? host : SPAN("127.0.0.1")), c->server->port);
		discovery_core_versions(&b, buf_span(&address));
	} else if (root) {
		discovery_groups(&b, c->registry);
	} else if (core) {
		found = discovery_resources(&b, c->registry, SPAN(""), seg[1]);
	} else if (n == 2) {
		found = discovery_group(&b, c->registry, seg[1]);
	} else {
		found = discovery_resources(&b, c->registry, seg[1], seg[2]);
	}
	if (found)
		call_answer(c, 200, "application/json", &b);
	else
		text(c, 404, "404 page not found\n");
}

void path_handle(struct call *c)
{
	const struct span *seg;
	size_t n;
	if (http_req_segments(c->http, &seg, &n, &c->err) < 0) {
		call_fail(c);
		return;
	}
	if (n && !seg[n - 1].len)
		n--;
	if (!http_req_is(c->http, "GET") && !http_req_is(c->http, "HEAD")) {
		text(c, 405, "405: Method Not Allowed\n");
		return;
	}
	if (n >= 1 && (span_is(seg[0], "api") || span_is(seg[0], "apis"))) {
		discover(c, seg, n);
		return;
	}
	struct span path = c->route.path;
	static const char *const checks[] = { "healthz", "livez", "readyz" };
	for (size_t i = 0; n == 1 && i < ARRAY_LEN(checks); i++) {
		if (span_is(seg[0], checks[i])) {
			health(c, checks[i]);
			return;
		}
	}
	if (span_is(path, "/version"))
		version(c);
	else if (span_is(path, "/.well-known/openid-configuration"))
		openid(c, false);
	else if (span_is(path, "/openid/v1/jwks"))
		openid(c, true);
	else
		text(c, 404, "404 page not found\n");
}
