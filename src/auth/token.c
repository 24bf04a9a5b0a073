/* Service-account tokens: JWTs (RFC 7519) in compact JWS form (RFC 7515) with ES256 or RS256.
 *
 *     base64url({"alg":"ES256","kid":KEY ID}) . base64url(claims) . base64url(signature)
 *
 * Claims of a bound token, keys in byte order as upstream's library writes them:
 *     aud exp iat iss jti kubernetes.io{namespace node{} pod{} secret{} serviceaccount{} warnafter} nbf sub
 *
 * Checking goes: shape and size, issuer (not ours: somebody else's token), signature by one of our keys, times,
 * audience, then every object that the token is bound to. The key decides the algorithm; a header that says otherwise, or
 * `none`, is refused. Nothing but the issuer is looked at before the signature holds. */
#include "auth/memory.h"

#define TOKEN_MAX (64 * 1024)
#define WARN_ONLY_S 3607               /* what projected volumes ask for when they want an hour */
#define EXTENDED_S (365 * 24 * 3600LL) /* what they then get, while clients learn to re-read */
#define DELETED_LEEWAY_S 60            /* an object that is being deleted keeps its tokens this long */

#define LEGACY_ISSUER "kubernetes/serviceaccount"
#define LEGACY_PREFIX "kubernetes.io/serviceaccount/"

/* ---- issuing */

static bool among(const struct span *list, unsigned n, struct span s)
{
	for (unsigned i = 0; i < n; i++)
		if (span_eq(list[i], s))
			return true;
	return false;
}

static void own_audiences(const struct auth_issuer *i, const struct span **out, unsigned *out_n)
{
	*out = i->n_audiences ? i->audiences : &i->issuer;
	*out_n = i->n_audiences ? i->n_audiences : 1;
}

static int sign(const struct auth_issuer *i, struct span claims, struct buf *out, struct err *err)
{
	if (!i->sign)
		return err_set(err, ERR_UNSUPPORTED, "this server has no key to sign service account tokens with");
	auto_buf struct buf token = {}, header = {}, sig = {};
	buf_printf(&header, "{\"alg\":\"%s\",\"kid\":\"", tls_alg_name(tls_key_alg(i->sign)));
	tls_key_id(i->sign, &header);
	buf_str(&header, "\"}");
	base64_add(&token, BASE64_URL_RAW, header.ptr, header.len);
	buf_chr(&token, '.');
	base64_add(&token, BASE64_URL_RAW, claims.ptr, claims.len);
	int rc = tls_sign(i->sign, buf_span(&token), &sig, err);
	if (rc < 0)
		return err_note(err, "signing a service account token");
	buf_chr(&token, '.');
	base64_add(&token, BASE64_URL_RAW, sig.ptr, sig.len);
	buf_span_add(out, buf_span(&token));
	return 0;
}

static void reference(struct json_out *o, const char *key, struct span name, struct span uid)
{
	json_out_key(o, span_of(key));
	json_out_begin(o);
	json_out_kspan(o, "name", name);
	json_out_kspan(o, "uid", uid);
	json_out_end(o);
}

int auth_token_issue(const struct auth_issuer *i, struct span ns, struct span sa_name, struct span sa_uid,
		     const struct auth_bound *bound, const struct span *audiences, unsigned n_audiences, int64_t expiration_s,
		     int64_t now_s, const uint8_t jti[16], struct buf *out, int64_t *out_expires_s, struct err *err)
{
	const struct span *own;
	unsigned n_own;
	own_audiences(i, &own, &n_own);
	if (!n_audiences) {
		audiences = own;
		n_audiences = n_own;
	}
	if (i->max_expiration_s && expiration_s > i->max_expiration_s)
		expiration_s = i->max_expiration_s;
	int64_t lives_s = expiration_s, warn_after = 0;
	bool for_us = true;
	for (unsigned k = 0; k < n_audiences; k++)
		for_us = for_us && among(own, n_own, audiences[k]);
	if (i->extend && expiration_s == WARN_ONLY_S && for_us) {
		warn_after = now_s + expiration_s;
		lives_s = EXTENDED_S;
	}
	char id[37];
	text_uuid(jti, id);
	auto_buf struct buf claims = {};
	auto_buf struct buf sub = {};
	buf_printf(&sub, "system:serviceaccount:%.*s:%.*s", SPAN_ARG(ns), SPAN_ARG(sa_name));
	struct json_out o = { .buf = &claims };
	json_out_begin(&o);
	json_out_key(&o, SPAN("aud"));
	json_out_begin_array(&o);
	for (unsigned k = 0; k < n_audiences; k++)
		json_out_span(&o, audiences[k]);
	json_out_end(&o);
	json_out_key(&o, SPAN("exp"));
	json_out_i64(&o, now_s + lives_s);
	json_out_key(&o, SPAN("iat"));
	json_out_i64(&o, now_s);
	json_out_kspan(&o, "iss", i->issuer);
	json_out_kspan(&o, "jti", span_of(id));
	json_out_key(&o, SPAN("kubernetes.io"));
	json_out_begin(&o);
	json_out_kspan(&o, "namespace", ns);
	if (bound && span_is(bound->kind, "Node"))
		reference(&o, "node", bound->name, bound->uid);
	if (bound && span_is(bound->kind, "Pod")) {
		if (bound->node_name.len)
			reference(&o, "node", bound->node_name, bound->node_uid);
		reference(&o, "pod", bound->name, bound->uid);
	}
	if (bound && span_is(bound->kind, "Secret"))
		reference(&o, "secret", bound->name, bound->uid);
	reference(&o, "serviceaccount", sa_name, sa_uid);
	if (warn_after) {
		json_out_key(&o, SPAN("warnafter"));
		json_out_i64(&o, warn_after);
	}
	json_out_end(&o);
	json_out_key(&o, SPAN("nbf"));
	json_out_i64(&o, now_s);
	json_out_kspan(&o, "sub", buf_span(&sub));
	json_out_end(&o);
	int rc = sign(i, buf_span(&claims), out, err);
	if (rc == 0)
		*out_expires_s = now_s + lives_s;
	return rc;
}

int auth_token_issue_legacy(const struct auth_issuer *i, struct span ns, struct span sa_name, struct span sa_uid,
			    struct span secret_name, struct buf *out, struct err *err)
{
	auto_buf struct buf claims = {}, sub = {};
	buf_printf(&sub, "system:serviceaccount:%.*s:%.*s", SPAN_ARG(ns), SPAN_ARG(sa_name));
	struct json_out o = { .buf = &claims };
	json_out_begin(&o);
	json_out_kspan(&o, "iss", SPAN(LEGACY_ISSUER));
	json_out_kspan(&o, LEGACY_PREFIX "namespace", ns);
	json_out_kspan(&o, LEGACY_PREFIX "secret.name", secret_name);
	json_out_kspan(&o, LEGACY_PREFIX "service-account.name", sa_name);
	json_out_kspan(&o, LEGACY_PREFIX "service-account.uid", sa_uid);
	json_out_kspan(&o, "sub", buf_span(&sub));
	json_out_end(&o);
	return sign(i, buf_span(&claims), out, err);
}

/* ---- checking */

struct checking {
	const struct auth_issuer *i;
	const struct auth_lookup *look;
	struct arena *a;
	struct span token;
	int64_t now_s;
	struct json claims;
	struct err *err;
};

#define refused(c, ...) err_set((c)->err, ERR_UNAUTHORIZED, __VA_ARGS__)

static bool part_parse(struct arena *a, struct span part, struct json *out)
{
	auto_buf struct buf b = {};
	if (!base64_parse(&b, BASE64_URL_RAW, part))
		return false;
	const struct json_limits limits = { .bytes = TOKEN_MAX, .depth = 16, .nodes = 4096 };
	return json_parse(a, arena_span(a, buf_span(&b)), JSON_BORROW, &limits, out, NULL) == 0 && out->kind == JSON_OBJECT;
}

static struct span claim(const struct json *object, const char *key)
{
	return json_span(json_get(object, span_of(key)));
}

static int signature_check(struct checking *c, struct span signed_part, struct span header_part, struct span sig_part)
{
	struct json header;
	if (!part_parse(c->a, header_part, &header))
		return refused(c, "invalid bearer token: its header is no JSON object");
	struct span alg = claim(&header, "alg"), kid = claim(&header, "kid");
	if (json_getl(&header, "crit"))
		return refused(c, "invalid bearer token: it has critical header extensions");
	auto_buf struct buf sig = {};
	if (!base64_parse(&sig, BASE64_URL_RAW, sig_part))
		return refused(c, "invalid bearer token: its signature is no base64url");
	bool known_alg = false;
	for (unsigned k = 0; k < c->i->n_verify; k++) {
		struct tls_key *key = c->i->verify[k];
		if (!span_is(alg, tls_alg_name(tls_key_alg(key))))
			continue;
		known_alg = true;
		auto_buf struct buf id = {};
		tls_key_id(key, &id);
		/* A key id that names another of our keys saves the work; one that we do not know proves nothing. */
		if (kid.len == id.len && !span_eq(kid, buf_span(&id)))
			continue;
		if (tls_verify(key, signed_part, buf_span(&sig)))
			return 0;
	}
	if (!known_alg)
		return refused(c, "invalid bearer token: no key of this server signs with algorithm \"%.*s\"", SPAN_ARG(alg));
	return refused(c, "invalid bearer token: its signature is not by any key of this server");
}

/* A number of seconds; absent = otherwise. JWT allows fractions, which nobody sends. */
static bool seconds(const struct json *claims, struct span key, int64_t otherwise, int64_t *out)
{
	const struct json *v = json_get(claims, key);
	if (!v) {
		*out = otherwise;
		return true;
	}
	if (v->kind == JSON_DOUBLE && v->d > -1e15 && v->d < 1e15)
		*out = (int64_t)v->d;
	else if (v->kind == JSON_INT)
		*out = v->i;
	else
		return false;
	return true;
}

static int times_check(struct checking *c)
{
	int64_t exp, nbf, iat;
	if (!seconds(&c->claims, SPAN("exp"), INT64_MAX, &exp) || !seconds(&c->claims, SPAN("nbf"), INT64_MIN, &nbf) ||
	    !seconds(&c->claims, SPAN("iat"), INT64_MIN, &iat))
		return refused(c, "service account token claims could not be validated: a time is no number");
	if (c->now_s > exp)
		return refused(c, "service account token has expired");
	if (c->now_s < nbf)
		return refused(c, "service account token is not valid yet");
	if (c->now_s < iat)
		return refused(c, "service account token is issued in the future");
	return 0;
}

/* Lists are separated by blanks and quoted, as Go prints a []string with %q. */
static void quoted(struct buf *out, const struct span *list, unsigned n)
{
	buf_chr(out, '[');
	for (unsigned i = 0; i < n; i++) {
		if (i)
			buf_chr(out, ' ');
		json_write_string(out, list[i], 0);
	}
	buf_chr(out, ']');
}

static int audience_check(struct checking *c, const struct span *want, unsigned n_want, bool legacy,
			  const struct span **out_list, unsigned *out_n)
{
	const struct span *own;
	unsigned n_own;
	own_audiences(c->i, &own, &n_own);
	if (!n_want) {
		want = own;
		n_want = n_own;
	}
	const struct json *aud = json_getl(&c->claims, "aud");
	struct span *has = NULL;
	unsigned n_has = 0;
	if (json_is(aud, JSON_ARRAY)) {
		has = arena_alloc_n(c->a, aud->n, sizeof(*has));
		JSON_EACH_ITEM(aud, item)
			has[n_has++] = json_span(item);
	} else if (json_is(aud, JSON_STRING)) {
		has = arena_new(c->a, struct span);
		has[n_has++] = json_span(aud);
	}
	const struct span *audiences = has;
	if (!n_has && legacy) { /* legacy tokens are for the server that made them */
		audiences = own;
		n_has = n_own;
	}
	struct span *both = arena_alloc_n(c->a, n_has, sizeof(*both));
	unsigned n = 0;
	for (unsigned k = 0; k < n_has; k++)
		if (among(want, n_want, audiences[k]))
			both[n++] = audiences[k];
	if (!n) {
		auto_buf struct buf a = { .limit = 4096 }, b = { .limit = 4096 };
		quoted(&a, audiences, n_has);
		quoted(&b, want, n_want);
		return refused(c, "token audiences %s is invalid for the target audiences %s", buf_cstr(&a), buf_cstr(&b));
	}
	*out_list = both;
	*out_n = n;
	return 0;
}

/* The object that a token names must be there, the very same one (uid), and not long in deletion. */
static int object_check(struct checking *c, const char *kind, struct span ns, struct span name, struct span uid)
{
	struct span found;
	int64_t deletion_s = 0;
	if (!c->look->uid_of(c->look->arg, span_of(kind), ns, name, c->a, &found, &deletion_s))
		return refused(c, "service account token has been invalidated: %s \"%.*s\" not found", kind, SPAN_ARG(name));
	if (deletion_s && deletion_s < c->now_s - DELETED_LEEWAY_S)
		return refused(c, "service account token has been invalidated: %s \"%.*s\" has been deleted", kind, SPAN_ARG(name));
	if (!span_eq(found, uid))
		return refused(c,
			       "service account token has been invalidated: UID (%.*s) of %s \"%.*s\" does not match claim (%.*s)",
			       SPAN_ARG(found), kind, SPAN_ARG(name), SPAN_ARG(uid));
	return 0;
}

struct extras {
	struct auth_extra list[5];
	struct span values[5];
	unsigned n;
};

static void extra_add(struct extras *e, const char *key, struct span value)
{
	if (!value.len)
		return;
	assert(e->n < ARRAY_LEN(e->list));
	e->values[e->n] = value;
	e->list[e->n] = (struct auth_extra){ .key = span_of(key), .values = &e->values[e->n], .n_values = 1 };
	e->n++;
}

static int bound_check(struct checking *c, struct extras *extra, struct span *out_ns, struct span *out_name, struct span *out_uid,
		       bool *out_stale)
{
	const struct json *k = json_getl(&c->claims, "kubernetes.io");
	const struct json *sa = json_getl(k, "serviceaccount"), *pod = json_getl(k, "pod"), *secret = json_getl(k, "secret");
	const struct json *node = json_getl(k, "node");
	struct span ns = claim(k, "namespace"), name = claim(sa, "name"), uid = claim(sa, "uid");
	if (!ns.len || !name.len)
		return refused(c, "service account token claims are incomplete: no namespace or service account");
	int rc = object_check(c, "serviceaccounts", ns, name, uid);
	if (rc == 0 && secret)
		rc = object_check(c, "secrets", ns, claim(secret, "name"), claim(secret, "uid"));
	if (rc == 0 && pod)
		rc = object_check(c, "pods", ns, claim(pod, "name"), claim(pod, "uid"));
	/* A pod's token tells where the pod runs without being bound to that node. */
	if (rc == 0 && node && !pod)
		rc = object_check(c, "nodes", SPAN(""), claim(node, "name"), claim(node, "uid"));
	if (rc < 0)
		return rc;
	int64_t warn_after;
	if (!seconds(k, SPAN("warnafter"), 0, &warn_after))
		return refused(c, "service account token claims could not be validated: a time is no number");
	*out_stale = warn_after && c->now_s > warn_after;
	if (claim(&c->claims, "jti").len)
		extra_add(extra, "authentication.kubernetes.io/credential-id",
			  arena_printf(c->a, "JTI=%.*s", SPAN_ARG(claim(&c->claims, "jti"))));
	extra_add(extra, "authentication.kubernetes.io/node-name", claim(node, "name"));
	extra_add(extra, "authentication.kubernetes.io/node-uid", claim(node, "uid"));
	extra_add(extra, "authentication.kubernetes.io/pod-name", claim(pod, "name"));
	extra_add(extra, "authentication.kubernetes.io/pod-uid", claim(pod, "uid"));
	*out_ns = ns;
	*out_name = name;
	*out_uid = uid;
	return 0;
}

/* A legacy token lives exactly as long as its Secret holds it. */
static int legacy_check(struct checking *c, struct span *out_ns, struct span *out_name, struct span *out_uid)
{
	struct span ns = claim(&c->claims, LEGACY_PREFIX "namespace"), secret_name = claim(&c->claims, LEGACY_PREFIX "secret.name");
	struct span name = claim(&c->claims, LEGACY_PREFIX "service-account.name");
	struct span uid = claim(&c->claims, LEGACY_PREFIX "service-account.uid");
	if (!ns.len || !secret_name.len || !name.len)
		return refused(c, "service account token claims are incomplete");
	struct json secret;
	if (!c->look->secret(c->look->arg, ns, secret_name, c->a, &secret))
		return refused(c, "token has been invalidated: Secret \"%.*s\" not found", SPAN_ARG(secret_name));
	if (json_path(&secret, "metadata", "deletionTimestamp", (char *)NULL))
		return refused(c, "token has been invalidated: Secret \"%.*s\" has been deleted", SPAN_ARG(secret_name));
	auto_buf struct buf held = {};
	if (!base64_parse(&held, BASE64_STD, json_span(json_path(&secret, "data", "token", (char *)NULL))) ||
	    !tls_equal(buf_span(&held), c->token))
		return refused(c, "token does not match server's copy");
	*out_ns = ns;
	*out_name = name;
	*out_uid = uid;
	return object_check(c, "serviceaccounts", ns, name, uid);
}

int auth_token_check(const struct auth_issuer *i, const struct auth_lookup *look, struct span token, int64_t now_s,
		     const struct span *want_audiences, unsigned n_want, struct arena *a, struct auth_user *out_user,
		     const struct span **out_audiences, unsigned *out_n_audiences, struct auth_token_facts *out_facts, struct err *err)
{
	struct checking c = { .i = i, .look = look, .a = a, .token = token, .now_s = now_s, .err = err };
	struct span header, rest, payload, sig;
	if (token.len > TOKEN_MAX || !span_split(token, '.', &header, &rest) || !span_split(rest, '.', &payload, &sig) ||
	    span_chr(sig, '.') >= 0 || !part_parse(a, payload, &c.claims))
		return err_set(err, ERR_NOT_FOUND, "not a service account token");
	struct span iss = claim(&c.claims, "iss");
	bool legacy = span_is(iss, LEGACY_ISSUER);
	if (!legacy && !span_eq(iss, i->issuer) && !among(i->accepted, i->n_accepted, iss))
		return err_set(err, ERR_NOT_FOUND, "not a service account token of this issuer");

	struct span ns = SPAN_EMPTY, name = SPAN_EMPTY, uid = SPAN_EMPTY;
	struct extras *extra = arena_new(a, struct extras);
	bool stale = false;
	uint8_t hash[32];
	if (i->memory)
		tls_sha256(token, hash);
	out_facts->remembered = i->memory && auth_memory_has(i->memory, hash);
	int rc = out_facts->remembered ? 0 : signature_check(&c, span_sub(token, 0, header.len + 1 + payload.len), header, sig);
	if (rc == 0 && i->memory)
		auth_memory_add(i->memory, hash);
	if (rc == 0)
		rc = times_check(&c);
	if (rc == 0)
		rc = audience_check(&c, want_audiences, n_want, legacy, out_audiences, out_n_audiences);
	if (rc == 0)
		rc = legacy ? legacy_check(&c, &ns, &name, &uid) : bound_check(&c, extra, &ns, &name, &uid, &stale);
	if (rc < 0)
		return rc;
	struct span sub = arena_printf(a, "system:serviceaccount:%.*s:%.*s", SPAN_ARG(ns), SPAN_ARG(name));
	if (!span_eq(claim(&c.claims, "sub"), sub))
		return refused(&c, "sub claim is wrong");
	struct span *groups = arena_alloc_n(a, 3, sizeof(*groups));
	groups[0] = SPAN(AUTH_GROUP_SERVICEACCOUNTS);
	groups[1] = arena_printf(a, AUTH_GROUP_SERVICEACCOUNTS ":%.*s", SPAN_ARG(ns));
	groups[2] = SPAN(AUTH_GROUP_AUTHENTICATED);
	*out_user = (struct auth_user){
		.name = sub, .uid = uid, .groups = groups, .n_groups = 3, .extra = extra->list, .n_extra = extra->n
	};
	out_facts->stale = stale;
	return 0;
}

/* ---- OpenID discovery (OpenID Connect Discovery 1.0 section 3, as far as token verifiers need it) */

void auth_openid_config(const struct auth_issuer *i, struct span jwks_uri, struct buf *out)
{
	struct json_out o = { .buf = out };
	json_out_begin(&o);
	json_out_kspan(&o, "issuer", i->issuer);
	json_out_kspan(&o, "jwks_uri", jwks_uri);
	json_out_key(&o, SPAN("response_types_supported"));
	json_out_begin_array(&o);
	json_out_span(&o, SPAN("id_token"));
	json_out_end(&o);
	json_out_key(&o, SPAN("subject_types_supported"));
	json_out_begin_array(&o);
	json_out_span(&o, SPAN("public"));
	json_out_end(&o);
	json_out_key(&o, SPAN("id_token_signing_alg_values_supported"));
	json_out_begin_array(&o);
	bool seen[TLS_ALG_COUNT] = {};
	for (unsigned k = 0; k < i->n_verify; k++) {
		enum tls_alg alg = tls_key_alg(i->verify[k]);
		if (!seen[alg])
			json_out_span(&o, span_of(tls_alg_name(alg)));
		seen[alg] = true;
	}
	json_out_end(&o);
	json_out_end(&o);
}

void auth_openid_jwks(const struct auth_issuer *i, struct buf *out)
{
	buf_str(out, "{\"keys\":[");
	for (unsigned k = 0; k < i->n_verify; k++) {
		buf_printf(out, "%s{\"use\":\"sig\",\"alg\":\"%s\",\"kid\":\"", k ? "," : "",
			   tls_alg_name(tls_key_alg(i->verify[k])));
		tls_key_id(i->verify[k], out);
		buf_str(out, "\",");
		tls_key_jwk(i->verify[k], out);
		buf_chr(out, '}');
	}
	buf_str(out, "]}");
}
