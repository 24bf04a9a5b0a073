/* Lease and PriorityClass. */
#include "strategy/check.h"

/* The feature CoordinatedLeaderElection is off in 1.33: its fields stay only where they were stored. */
static void prepare_lease(struct strategy *s)
{
	static const char *const gated[] = { "strategy", "preferredHolder" };
	for (size_t i = 0; i < ARRAY_LEN(gated); i++)
		if (!json_get(member(s->old, "spec"), span_of(gated[i])))
			strategy_drop_in(s, "spec", gated[i]);
}

static void check_lease(struct check *c, const struct json *object, const struct json *old)
{
	if (old)
		check_meta_update(c, object, old, META_PLAIN);
	else
		check_meta(c, object, META_PLAIN, api_name_dns1123_subdomain);
	const struct path at = PATH(PATH_ROOT, "spec");
	const struct json *spec = member(object, "spec"), *v;
	if ((v = member(spec, "leaseDurationSeconds")) && v->i <= 0)
		bad_value(c, &PATH(&at, "leaseDurationSeconds"), v, "must be greater than 0");
	if ((v = member(spec, "leaseTransitions")) && v->i < 0)
		bad_value(c, &PATH(&at, "leaseTransitions"), v, "must be greater than or equal to 0");
	struct span strategy = member_text(spec, "strategy"), holder = member_text(spec, "preferredHolder");
	struct span domain, name;
	if (member(spec, "strategy") && span_split(strategy, '/', &domain, &name))
		check_name(c, &PATH(&at, "strategy"), strategy, api_name_qualified);
	else if (strategy.len && !span_is(strategy, "OldestEmulationVersion"))
		bad_choice(c, &PATH(&at, "strategy"), strategy, "OldestEmulationVersion");
	if (holder.len && !strategy.len)
		bad_string(c, &PATH(&at, "preferredHolder"), holder, "may only be specified if `strategy` is defined");
}

const struct strategy_kind strategy_kind_lease = {
	.group = "coordination.k8s.io", .kind = "Lease", .flags = STRATEGY_CREATE_ON_UPDATE,
	.prepare = prepare_lease, .check = check_lease,
};

/* ---- PriorityClass */
static void default_priority_class(struct arena *a, struct json *object)
{
	default_unset(a, object, "preemptionPolicy", "PreemptLowerPriority");
}

static void prepare_priority_class(struct strategy *s)
{
	strategy_generation(s, false);
}

static void check_system_class(struct check *c, const struct json *object, struct span name)
{
	static const struct { const char *name; int64_t value; } known[] = {
		{ "system-node-critical", 2000001000 }, { "system-cluster-critical", 2000000000 },
	};
	const struct path at = PATH(&PATH(PATH_ROOT, "metadata"), "name");
	static const char reserved[] = "priority class names with 'system-' prefix are reserved for system use only. error: ";
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (!span_is(name, known[i].name))
			continue;
		if (member_int(object, "value") != known[i].value)
			bad_forbidden(c, &at, "%svalue of %s PriorityClass must be %lld", reserved, known[i].name,
				      (long long)known[i].value);
		else if (member_true(object, "globalDefault"))
			bad_forbidden(c, &at, "%sglobalDefault of %s PriorityClass must be false", reserved, known[i].name);
		return;
	}
	bad_forbidden(c, &at, "%s%.*s is not a known system priority class", reserved, SPAN_ARG(name));
}

static void check_priority_class(struct check *c, const struct json *object, const struct json *old)
{
	const struct json *policy = member(object, "preemptionPolicy");
	if (old) {
		check_meta_update(c, object, old, META_CORE);
		if (member_int(object, "value") != member_int(old, "value"))
			bad_forbidden(c, &PATH(PATH_ROOT, "value"), "may not be changed in an update.");
		check_immutable(c, &PATH(PATH_ROOT, "preemptionPolicy"), "", policy, member(old, "preemptionPolicy"));
		return;
	}
	check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
	struct span name = json_span(json_path(object, "metadata", "name", NULL));
	if (span_starts(name, SPAN("system-")))
		check_system_class(c, object, name);
	else if (member_int(object, "value") > 1000000000)
		bad_forbidden(c, &PATH(PATH_ROOT, "value"), "maximum allowed value of a user defined priority is 1000000000");
	if (policy && !json_span(policy).len)
		bad_required(c, &PATH(PATH_ROOT, "preemptionPolicy"), "");
	else
		check_choice(c, &PATH(PATH_ROOT, "preemptionPolicy"), policy, "PreemptLowerPriority Never");
}

const struct strategy_kind strategy_kind_priority_class = {
	.group = "scheduling.k8s.io", .kind = "PriorityClass", .flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_HAS_GENERATION,
	.defaults = default_priority_class, .prepare = prepare_priority_class, .check = check_priority_class,
};
