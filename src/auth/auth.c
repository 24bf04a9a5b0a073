/* Users, the sentence of a refusal, certificates. */
#include "auth/auth.h"

bool auth_user_in(const struct auth_user *u, struct span group)
{
	for (unsigned i = 0; i < u->n_groups; i++)
		if (span_eq(u->groups[i], group))
			return true;
	return false;
}

bool auth_sa_split(struct span user_name, struct span *out_ns, struct span *out_name)
{
	static const struct span prefix = SPAN_INIT("system:serviceaccount:");
	struct span ns, name;
	if (!span_starts(user_name, prefix) || !span_split(span_from(user_name, prefix.len), ':', &ns, &name))
		return false;
	if (!ns.len || !name.len || span_chr(name, ':') >= 0)
		return false;
	*out_ns = ns;
	*out_name = name;
	return true;
}

void auth_forbidden_text(const struct auth_ask *ask, struct buf *out)
{
	/* Names from outside are quoted as Go's %q quotes them, so that they cannot forge the sentence. */
	buf_str(out, "User ");
	json_write_string(out, ask->user->name, 0);
	if (!ask->is_resource) {
		buf_printf(out, " cannot %.*s path ", SPAN_ARG(ask->verb));
		json_write_string(out, ask->path, 0);
		return;
	}
	buf_printf(out, " cannot %.*s resource \"%.*s%s%.*s\" in API group \"%.*s\"", SPAN_ARG(ask->verb), SPAN_ARG(ask->resource),
		   ask->subresource.len ? "/" : "", SPAN_ARG(ask->subresource), SPAN_ARG(ask->group));
	if (ask->ns.len) {
		buf_str(out, " in the namespace ");
		json_write_string(out, ask->ns, 0);
	} else {
		buf_str(out, " at the cluster scope");
	}
}

int auth_forbidden(const struct auth_ask *ask, struct span reason, struct err *err)
{
	auto_buf struct buf msg = { .limit = 64 * 1024 };
	if (!ask->is_resource) {
		buf_str(&msg, "forbidden: ");
	} else {
		/* "deployments.apps \"web\" is forbidden: ", the group only when there is one */
		buf_printf(&msg, "%.*s%s%.*s ", SPAN_ARG(ask->resource), ask->group.len ? "." : "", SPAN_ARG(ask->group));
		if (ask->name.len) {
			json_write_string(&msg, ask->name, 0);
			buf_chr(&msg, ' ');
		}
		buf_str(&msg, "is forbidden: ");
	}
	auth_forbidden_text(ask, &msg);
	if (reason.len) {
		buf_str(&msg, ": ");
		buf_span_add(&msg, reason);
	}
	return err_set(err, ERR_FORBIDDEN, "%s", buf_cstr(&msg));
}

void auth_anonymous(struct auth_user *out_user)
{
	static const struct span groups[] = { SPAN_INIT(AUTH_GROUP_UNAUTHENTICATED) };
	*out_user = (struct auth_user){ .name = SPAN(AUTH_USER_ANONYMOUS), .groups = groups, .n_groups = 1 };
}

bool auth_cert_user(const struct tls_peer *peer, int64_t now_s, struct arena *a, struct auth_user *out_user)
{
	if (!peer || !peer->verified || !peer->cn[0] || peer->not_after_s < now_s)
		return false;
	struct span *groups = arena_alloc_n(a, peer->n_orgs + 1, sizeof(*groups));
	unsigned n = 0;
	bool authenticated = false;
	for (unsigned i = 0; i < peer->n_orgs; i++) {
		groups[n++] = arena_span(a, span_of(peer->orgs[i]));
		authenticated = authenticated || span_is(groups[n - 1], AUTH_GROUP_AUTHENTICATED);
	}
	if (!authenticated)
		groups[n++] = SPAN(AUTH_GROUP_AUTHENTICATED);
	auto_buf struct buf id = {};
	buf_str(&id, "X509SHA256=");
	hex_add(&id, peer->sha256, sizeof(peer->sha256));
	struct span *value = arena_new(a, struct span);
	*value = arena_span(a, buf_span(&id));
	struct auth_extra *extra = arena_new(a, struct auth_extra);
	*extra = (struct auth_extra){ .key = SPAN("authentication.kubernetes.io/credential-id"), .values = value, .n_values = 1 };
	*out_user = (struct auth_user){
		.name = arena_span(a, span_of(peer->cn)), .groups = groups, .n_groups = n, .extra = extra, .n_extra = 1
	};
	return true;
}
