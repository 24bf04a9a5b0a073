/* Everything that is no resource: discovery, version, health, OpenAPI, metrics. */
#include "apiserver/discovery.h"
#include "apiserver/docs.h"
#include "apiserver/health.h"
#include "apiserver/meter.h"
#include "apiserver/server.h"
#include "metrics/metrics.h"

static void text(struct call *c, int code, const char *words)
{
	auto_buf struct buf b = {};
	buf_str(&b, words);
	call_answer(c, code, "text/plain; charset=utf-8", &b);
}

/* Members that Go's struct always has are there for clients that insist on them; what we have no answer to is empty. */
static void version(struct call *c)
{
	static const char *const rows[][2] = {
		{ "major", "1" },
		{ "minor", "33" },
		{ "emulationMajor", "1" },
		{ "emulationMinor", "33" },
		{ "minCompatibilityMajor", "1" },
		{ "minCompatibilityMinor", "32" },
		{ "gitVersion", "v1.33.0+knarr." KNARR_VERSION },
		{ "gitCommit", "" },
		{ "gitTreeState", "clean" },
		{ "buildDate", "1970-01-01T00:00:00Z" }, /* builds are reproducible */
		{ "goVersion", "" },
		{ "compiler", "gcc" },
#ifdef __aarch64__
		{ "platform", "linux/arm64" },
#else
		{ "platform", "linux/amd64" },
#endif
	};
	auto_buf struct buf b = {};
	struct json v = json_object();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		(void)json_add(&c->arena, &v, span_of(rows[i][0]), json_cstr(rows[i][1]));
	json_write(&b, &v, JSON_PRETTY);
	call_answer(c, 200, "application/json", &b);
}

static void metrics(struct call *c)
{
	auto_buf struct buf b = {};
	meter_page(c->server, &b);
	call_answer(c, 200, METRICS_CONTENT_TYPE, &b);
}

static void openid(struct call *c, bool keys)
{
	auto_buf struct buf b = {}, uri = {};
	if (keys) {
		auth_openid_jwks(issuer_now(c->server), &b);
		call_answer(c, 200, "application/jwk-set+json", &b);
		return;
	}
	buf_printf(&uri, "%.*s/openid/v1/jwks", SPAN_ARG(issuer_now(c->server)->issuer));
	auth_openid_config(issuer_now(c->server), buf_span(&uri), &b);
	call_answer(c, 200, "application/json", &b);
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
		char etag[DOCS_DISCOVERY_ETAG];
		struct bytes *doc = docs_discovery(c, core, v2, etag);
		http_reply_header(c->http, "vary", SPAN("Accept"));
		if (http_reply_not_modified(c->http, span_of(etag))) {
			bytes_unref(doc);
			call_answered(c, 304);
			return;
		}
		call_answer_piece(c, 200,
				  v2 ? "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
				     : "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
				  http_bytes(doc));
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

/* GET /: what there is, for people and for scripts that look for "/apis". */
static void roots(struct call *c)
{
	static const char *const rest[] = { "/.well-known/openid-configuration", "/healthz", "/livez", "/metrics", "/openapi/v2",
					    "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version" };
	struct json doc = json_object(), paths = json_array();
	const struct api_registry *r = c->registry;
	auto_buf struct buf b = {};
	(void)json_push(&c->arena, &paths, json_cstr("/api"));
	(void)json_push(&c->arena, &paths, json_cstr("/api/v1"));
	(void)json_push(&c->arena, &paths, json_cstr("/apis"));
	struct span last = SPAN("");
	for (unsigned i = 0; i < api_registry_n_versions(r); i++) {
		const struct api_group_version *gv = api_registry_version(r, i);
		if (!gv->group.len)
			continue;
		if (!span_eq(gv->group, last))
			(void)json_push(&c->arena, &paths,
					json_str(arena_printf(&c->arena, "/apis/%.*s", SPAN_ARG(gv->group))));
		last = gv->group;
		(void)json_push(&c->arena, &paths,
				json_str(arena_printf(&c->arena, "/apis/%.*s/%.*s", SPAN_ARG(gv->group), SPAN_ARG(gv->version))));
	}
	for (size_t i = 0; i < ARRAY_LEN(rest); i++)
		(void)json_push(&c->arena, &paths, json_cstr(rest[i]));
	(void)json_add(&c->arena, &doc, SPAN("paths"), paths);
	json_write(&b, &doc, JSON_PRETTY);
	call_answer(c, 200, "application/json", &b);
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
	if (n >= 1 && health_handle(c, seg, n))
		return;
	if (n >= 1 && span_is(seg[0], "openapi") && !(n > 1 && span_is(seg[1], "v1"))) {
		docs_openapi(c, seg, n);
		return;
	}
	struct span path = c->route.path;
	if (span_is(path, "/version") || span_is(path, "/version/"))
		version(c);
	else if (span_is(path, "/metrics"))
		metrics(c);
	else if (n == 0)
		roots(c);
	else if (span_is(path, "/.well-known/openid-configuration"))
		openid(c, false);
	else if (span_is(path, "/openid/v1/jwks"))
		openid(c, true);
	else
		text(c, 404, "404 page not found\n");
}
