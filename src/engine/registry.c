/* How registries are reached: settings by dockerd's names, the environment's proxies, credentials of requests. */
#include "engine/private.h"

struct engine_registry {
	struct arena arena;
	const char **mirrors, **insecure; /* NULL-ended */
	size_t n_mirrors, n_insecure;
	struct span http_proxy, https_proxy, no_proxy;
	char *agent;
	unsigned parallel, retries;
	char *certs_dir; /* NULL = /etc/docker/certs.d */
};

static int list_read(const struct json *settings, const char *key, struct arena *a, const char ***out, size_t *out_n,
	struct err *err)
{
	const struct json *v = json_get(settings, span_of(key));
	size_t n = 0;
	if (v && v->kind != JSON_ARRAY)
		return err_set(err, ERR_INVALID, "%s: a list is expected", key);
	*out = arena_alloc_n(a, (v ? v->n : 0) + 1, sizeof(**out));
	JSON_EACH_ITEM(v, i) {
		if (i->kind != JSON_STRING || !i->n)
			return err_set(err, ERR_INVALID, "%s: a list of strings is expected", key);
		(*out)[n++] = arena_cstr(a, json_span(i));
	}
	(*out)[n] = NULL;
	*out_n = n;
	return 0;
}

static int mirrors_check(const struct engine_registry *r, struct err *err)
{
	auto_arena struct arena a = {};
	struct http_origin origin;
	struct span target;
	for (size_t i = 0; i < r->n_mirrors; i++) {
		struct span m = span_of(r->mirrors[i]);
		if (!span_starts(m, SPAN("http://")) && !span_starts(m, SPAN("https://")))
			return err_set(err, ERR_INVALID,
				"invalid mirror: no scheme specified for \"%s\": must use either 'https://' or 'http://'",
				r->mirrors[i]);
		if (http_url_parse(m, &a, &origin, &target, NULL) < 0 || !origin.host[0])
			return err_set(err, ERR_INVALID, "invalid mirror: \"%s\" is not a valid URI", r->mirrors[i]);
		if (span_chr(target, '?') >= 0 || span_chr(target, '#') >= 0)
			return err_set(err, ERR_INVALID, "invalid mirror: query or fragment at end of the URI \"%s\"", r->mirrors[i]);
	}
	return 0;
}

/* daemon.json's "proxies" win over the environment, whose names come in both cases. */
static struct span proxy_of(const struct json *settings, struct arena *a, const char *key, const char *upper, const char *lower)
{
	const struct json *v = json_get(json_getl(settings, "proxies"), span_of(key));
	if (v && v->kind == JSON_STRING && v->n)
		return arena_span(a, json_span(v));
	const char *env = getenv(upper);
	if (!env || !*env)
		env = getenv(lower);
	return arena_span(a, span_of(env));
}

int engine_registry_new(const struct engine_options *o, struct engine_registry **out, struct err *err)
{
	struct engine_registry *r = mem_new(struct engine_registry);
	const struct json *s = &o->settings;
	int rc = list_read(s, "registry-mirrors", &r->arena, &r->mirrors, &r->n_mirrors, err);
	if (rc == 0)
		rc = list_read(s, "insecure-registries", &r->arena, &r->insecure, &r->n_insecure, err);
	if (rc == 0)
		rc = mirrors_check(r, err);
	if (rc < 0) {
		engine_registry_free(r);
		return rc;
	}
	r->http_proxy = proxy_of(s, &r->arena, "http-proxy", "HTTP_PROXY", "http_proxy");
	r->https_proxy = proxy_of(s, &r->arena, "https-proxy", "HTTPS_PROXY", "https_proxy");
	r->no_proxy = proxy_of(s, &r->arena, "no-proxy", "NO_PROXY", "no_proxy");
	int64_t parallel = json_i64(json_getl(s, "max-concurrent-downloads"), 3);
	int64_t retries = json_i64(json_getl(s, "max-download-attempts"), 5);
	r->parallel = parallel > 0 && parallel < 100 ? (unsigned)parallel : 3;
	r->retries = retries > 0 && retries < 100 ? (unsigned)retries : 5;
	struct span certs = json_span(json_getl(s, "knarr-certs-dir"));
	r->certs_dir = certs.len ? arena_cstr(&r->arena, certs) : NULL;
	*out = r;
	return 0;
}

void engine_registry_free(struct engine_registry *r)
{
	if (!r)
		return;
	arena_done(&r->arena);
	free(r);
}

void engine_registry_params(const struct engine_registry *r, struct image_registry_params *out)
{
	*out = (struct image_registry_params){ .mirrors = r->mirrors, .insecure = r->insecure, .http_proxy = r->http_proxy,
		.https_proxy = r->https_proxy, .no_proxy = r->no_proxy, .parallel = r->parallel, .retries = r->retries,
		.certs_dir = r->certs_dir, .user_agent = "docker/28 knarr/" KNARR_VERSION };
}

int engine_registry_auth(struct span header, struct arena *a, struct image_registry_params *p, struct err *err)
{
	auto_buf struct buf text = {};
	struct json v;
	if (!header.len)
		return 0;
	/* Clients pad or not, and some use the other alphabet (docker-py did). */
	if (!base64_parse(&text, BASE64_URL, header) && !base64_parse(&text, BASE64_URL_RAW, header) &&
	    !base64_parse(&text, BASE64_STD, header))
		return err_set(err, ERR_INVALID_REQUEST, "invalid X-Registry-Auth header: illegal base64 data");
	if (!span_trim(buf_span(&text)).len)
		return 0;
	if (json_parse(a, arena_span(a, buf_span(&text)), JSON_DUPLICATES_LAST, NULL, &v, NULL) < 0 || v.kind != JSON_OBJECT)
		return err_set(err, ERR_INVALID_REQUEST, "invalid X-Registry-Auth header: invalid JSON");
	p->username = json_span(json_getl(&v, "username"));
	p->password = json_span(json_getl(&v, "password"));
	p->identity_token = json_span(json_getl(&v, "identitytoken"));
	p->registry_token = json_span(json_getl(&v, "registrytoken"));
	/* "auth" holds both, as config.json does. */
	struct span auth = json_span(json_getl(&v, "auth")), user, password;
	auto_buf struct buf both = {};
	if (!p->username.len && auth.len && base64_parse(&both, BASE64_STD, auth) &&
	    span_split(arena_span(a, buf_span(&both)), ':', &user, &password)) {
		p->username = user;
		p->password = password;
	}
	return 0;
}

struct json engine_registry_info(const struct engine_registry *r, struct arena *a)
{
	struct json v = json_object(), cidrs = json_array(), configs = json_object(), mirrors = json_array(), hub = json_object();
	(void)json_push(a, &cidrs, json_cstr("::1/128"));
	(void)json_push(a, &cidrs, json_cstr("127.0.0.0/8"));
	for (size_t i = 0; i < r->n_insecure; i++) {
		struct json one = json_object();
		if (strchr(r->insecure[i], '/')) {
			(void)json_push(a, &cidrs, json_cstr(r->insecure[i]));
			continue;
		}
		(void)json_setl(a, &one, "Name", json_cstr(r->insecure[i]));
		(void)json_setl(a, &one, "Mirrors", json_array());
		(void)json_setl(a, &one, "Secure", json_bool(false));
		(void)json_setl(a, &one, "Official", json_bool(false));
		(void)json_set(a, &configs, span_of(r->insecure[i]), one);
	}
	for (size_t i = 0; i < r->n_mirrors; i++)
		(void)json_push(a, &mirrors, json_cstr(r->mirrors[i]));
	(void)json_setl(a, &hub, "Name", json_cstr("docker.io"));
	(void)json_setl(a, &hub, "Mirrors", json_copy(a, &mirrors));
	(void)json_setl(a, &hub, "Secure", json_bool(true));
	(void)json_setl(a, &hub, "Official", json_bool(true));
	(void)json_setl(a, &configs, "docker.io", hub);
	(void)json_setl(a, &v, "AllowNondistributableArtifactsCIDRs", JSON_NULL_VALUE);
	(void)json_setl(a, &v, "AllowNondistributableArtifactsHostnames", JSON_NULL_VALUE);
	(void)json_setl(a, &v, "InsecureRegistryCIDRs", cidrs);
	(void)json_setl(a, &v, "IndexConfigs", configs);
	(void)json_setl(a, &v, "Mirrors", mirrors.n ? mirrors : JSON_NULL_VALUE);
	return v;
}
