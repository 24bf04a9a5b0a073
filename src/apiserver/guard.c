/* The policy-based storages of rbac.authorization.k8s.io upstream, their questions in their order:
 *
 *     roles      what grows (rules, aggregation) must be held already, or verb "escalate" on the role is allowed
 *     bindings   what the role allows must be held already, or verb "bind" on the role is allowed
 *
 * An update that changes nothing of it passes, so that owners and finalizers of powerful roles can be cleaned up. */
#include "apiserver/guard.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

static bool may(struct call *c, const char *verb, struct span resource, struct span ns, struct span name)
{
	struct span reason;
	const struct auth_ask ask = { .user = &c->user, .verb = span_of(verb), .group = SPAN(RBAC_GROUP), .version = SPAN("*"),
				      .resource = resource, .ns = ns, .name = name, .is_resource = true };
	return call_decide(c, &ask, &reason) == AUTH_ALLOW;
}

static int forbid(struct call *c, const struct json *object, struct span why)
{
	struct span name = json_span(json_path(object, "metadata", "name", NULL));
	return err_set(&c->err, ERR_FORBIDDEN, "%.*s." RBAC_GROUP " \"%.*s\" is forbidden: %.*s", SPAN_ARG(c->res->plural),
		       SPAN_ARG(name), SPAN_ARG(why));
}

static int held(struct call *c, const struct json *object, const struct auth_rule *rules, unsigned n)
{
	auto_err struct err why = ERR_INIT;
	if (auth_rbac_check_grant(c->server->rbac, &c->user, c->route.ns, rules, n, &why) == 0)
		return 0;
	return forbid(c, object, span_of(err_msg(&why)));
}

static bool aggregates(const struct json *role)
{
	const struct json *selectors = json_path(role, "aggregationRule", "clusterRoleSelectors", NULL);
	return json_is(selectors, JSON_ARRAY) && selectors->n;
}

static int guard_role(struct call *c, const struct json *object, const struct json *old)
{
	static const struct span all[] = { SPAN_INIT("*") };
	static const struct auth_rule everything[] = {
		{ .verbs = all, .groups = all, .resources = all, .n_verbs = 1, .n_groups = 1, .n_resources = 1 },
		{ .verbs = all, .urls = all, .n_verbs = 1, .n_urls = 1 },
	};
	const struct auth_rule *rules;
	unsigned n;
	if (old && strategy_same(json_getl(object, "rules"), json_getl(old, "rules")) &&
	    strategy_same(json_getl(object, "aggregationRule"), json_getl(old, "aggregationRule")))
		return 0;
	if (may(c, "escalate", c->res->plural, c->route.ns, c->route.name))
		return 0;
	auth_rules_read(&c->arena, json_getl(object, "rules"), &rules, &n);
	int rc = held(c, object, rules, n);
	if (rc < 0 || (!aggregates(object) && !aggregates(old)))
		return rc;
	auto_err struct err why = ERR_INIT;
	if (auth_rbac_check_grant(c->server->rbac, &c->user, SPAN(""), everything, ARRAY_LEN(everything), &why) == 0)
		return 0;
	return forbid(c, object, SPAN("must have cluster-admin privileges to use the aggregationRule"));
}

static int guard_binding(struct call *c, const struct json *object, const struct json *old)
{
	const struct json *ref = json_getl(object, "roleRef");
	struct span name = json_span(json_getl(ref, "name"));
	bool cluster = span_is(json_span(json_getl(ref, "kind")), "ClusterRole");
	struct span resource = cluster ? SPAN("clusterroles") : SPAN("roles");
	const struct auth_rule *rules;
	unsigned n;
	if (old && strategy_same(ref, json_getl(old, "roleRef")) &&
	    strategy_same(json_getl(object, "subjects"), json_getl(old, "subjects")))
		return 0;
	if (may(c, "bind", resource, c->route.ns, name))
		return 0;
	if (!auth_rbac_role_rules(c->server->rbac, cluster ? SPAN("") : c->route.ns, name, &c->arena, &rules, &n))
		return err_set(&c->err, ERR_NOT_FOUND, "%.*s." RBAC_GROUP " \"%.*s\" not found", SPAN_ARG(resource), SPAN_ARG(name));
	return held(c, object, rules, n);
}

int guard_rbac(struct call *c, const struct json *object, const struct json *old)
{
	if (!span_is(c->res->group, RBAC_GROUP) || c->sub)
		return 0;
	if (span_is(c->res->plural, "roles") || span_is(c->res->plural, "clusterroles"))
		return guard_role(c, object, old);
	return guard_binding(c, object, old);
}
