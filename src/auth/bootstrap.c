/* Bootstrap tokens: "ID.SECRET", six and sixteen of [a-z0-9], kept in Secret kube-system/bootstrap-token-ID. */
#include "auth/auth.h"

static bool plain(struct span s, size_t len)
{
	if (s.len != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!((s.ptr[i] >= 'a' && s.ptr[i] <= 'z') || (s.ptr[i] >= '0' && s.ptr[i] <= '9')))
			return false;
	return true;
}

/* A value of the Secret's data; empty when absent or no base64. */
static struct span datum(struct arena *a, const struct json *secret, const char *key)
{
	auto_buf struct buf b = {};
	const struct json *data = json_getl(secret, "data");
	if (!base64_parse(&b, BASE64_STD, json_span(json_get(data, span_of(key)))))
		return SPAN_EMPTY;
	return arena_span(a, buf_span(&b));
}

/* \Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z */
static bool group_ok(struct span g)
{
	static const struct span prefix = SPAN_INIT("system:bootstrappers:");
	if (!span_starts(g, prefix))
		return false;
	g = span_from(g, prefix.len);
	if (!g.len || g.len > 256 || g.ptr[g.len - 1] == ':' || g.ptr[g.len - 1] == '-')
		return false;
	for (size_t i = 0; i < g.len; i++) {
		char c = g.ptr[i];
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == ':' || c == '-'))
			return false;
	}
	return true;
}

int auth_bootstrap_check(const struct auth_lookup *look, struct span token, int64_t now_s, struct arena *a,
			 struct auth_user *out_user, struct err *err)
{
	struct span id, given;
	if (!span_split(token, '.', &id, &given) || !plain(id, 6) || !plain(given, 16))
		return err_set(err, ERR_NOT_FOUND, "not a bootstrap token");
	struct json secret;
	struct span name = arena_printf(a, "bootstrap-token-%.*s", SPAN_ARG(id));
	if (!look->secret(look->arg, SPAN("kube-system"), name, a, &secret) ||
	    json_path(&secret, "metadata", "deletionTimestamp", (char *)NULL) ||
	    !span_is(json_span(json_getl(&secret, "type")), "bootstrap.kubernetes.io/token"))
		return err_set(err, ERR_NOT_FOUND, "unknown bootstrap token");
	/* A wrong secret part is answered like an unknown id. */
	if (!tls_equal(datum(a, &secret, "token-secret"), given) || !span_eq(datum(a, &secret, "token-id"), id))
		return err_set(err, ERR_NOT_FOUND, "unknown bootstrap token");
	struct span expiration = datum(a, &secret, "expiration");
	if (expiration.len) {
		int64_t at_s;
		int32_t ns;
		if (time_parse(expiration.ptr, expiration.len, &at_s, &ns) < 0)
			return err_set(err, ERR_UNAUTHORIZED, "bootstrap token %.*s: its expiration is no time", SPAN_ARG(id));
		if (now_s >= at_s)
			return err_set(err, ERR_UNAUTHORIZED, "bootstrap token %.*s has expired", SPAN_ARG(id));
	}
	if (!span_is(datum(a, &secret, "usage-bootstrap-authentication"), "true"))
		return err_set(err, ERR_UNAUTHORIZED, "bootstrap token %.*s is not for authentication", SPAN_ARG(id));
	struct span extra = datum(a, &secret, "auth-extra-groups"), rest = extra, group;
	unsigned n = 0, cap = 3;
	for (size_t i = 0; i < extra.len; i++)
		cap += extra.ptr[i] == ',';
	struct span *groups = arena_alloc_n(a, cap, sizeof(*groups));
	groups[n++] = SPAN("system:bootstrappers");
	while (span_cut(&rest, ',', &group)) {
		if (!group_ok(group))
			return err_set(err, ERR_UNAUTHORIZED, "bootstrap token %.*s: \"%.*s\" is no group it may give",
				       SPAN_ARG(id), SPAN_ARG(group));
		groups[n++] = group;
	}
	groups[n++] = SPAN(AUTH_GROUP_AUTHENTICATED);
	*out_user = (struct auth_user){
		.name = arena_printf(a, "system:bootstrap:%.*s", SPAN_ARG(id)), .groups = groups, .n_groups = n
	};
	return 0;
}
