/* flowcontrol.apiserver.k8s.io: FlowSchema and PriorityLevelConfiguration. */
#include "strategy/check.h"

#include <math.h>

#define VERBS "create delete deletecollection get list patch proxy update watch"

/* ---- defaults */
static void default_schema(struct arena *a, struct json *object)
{
	default_int_nonzero(a, default_object(a, object, "spec"), "matchingPrecedence", 1000);
}

static void default_level(struct arena *a, struct json *object)
{
	struct json *spec = default_object(a, object, "spec"), *exempt = member(spec, "exempt"), *limited = member(spec, "limited");
	struct json *queuing = json_path(limited, "limitResponse", "queuing", NULL);
	default_int(a, exempt, "nominalConcurrencyShares", 0);
	default_int(a, exempt, "lendablePercent", 0);
	default_int(a, limited, "nominalConcurrencyShares", 30);
	default_int(a, limited, "lendablePercent", 0);
	default_int_nonzero(a, queuing, "handSize", 8);
	default_int_nonzero(a, queuing, "queues", 64);
	default_int_nonzero(a, queuing, "queueLengthLimit", 50);
}

/* ---- validation */
/* Verbs, groups, resources, namespaces: "*" stands alone. */
static bool check_wildcard(struct check *c, const struct path *at, const struct json *list, const char *noun)
{
	if (!check_list_has(list, SPAN("*")))
		return false;
	if (list->n > 1)
		bad_typed(c, at, "[]string", list, "if '*' is present, must not specify other %s", noun);
	return true;
}

static void check_verbs(struct check *c, const struct path *at, const struct json *verbs)
{
	bool known = true;
	if (!json_count(verbs)) {
		bad_required(c, at, "verbs must contain at least one value");
		return;
	}
	if (check_wildcard(c, at, verbs, "verbs"))
		return;
	JSON_EACH_ITEM(verbs, verb)
		known &= check_one_of(json_span(verb), VERBS);
	if (known)
		return;
	auto_buf struct buf field = {}, shown = {}, detail = {};
	struct span rest = SPAN(VERBS), one;
	path_text(at, &field);
	strategy_go_syntax(&shown, "[]string", verbs);
	while (span_cut(&rest, ' ', &one))
		buf_printf(&detail, "%s\"%.*s\"", detail.len ? ", " : "supported values: ", SPAN_ARG(one));
	api_fe_add(&c->err, buf_span(&field), API_FE_NOT_SUPPORTED, buf_span(&shown), buf_span(&detail));
	c->n++;
}

static void check_resource_rule(struct check *c, const struct path *at, const struct json *rule)
{
	const struct json *groups = member(rule, "apiGroups"), *resources = member(rule, "resources");
	const struct json *spaces = member(rule, "namespaces");
	check_verbs(c, &PATH(at, "verbs"), member(rule, "verbs"));
	if (!json_count(groups))
		bad_required(c, &PATH(at, "apiGroups"), "resource rules must supply at least one api group");
	else
		check_wildcard(c, &PATH(at, "apiGroups"), groups, "api groups");
	if (!json_count(resources))
		bad_required(c, &PATH(at, "resources"), "resource rules must supply at least one resource");
	else
		check_wildcard(c, &PATH(at, "resources"), resources, "resources");
	const struct path spaces_at = PATH(at, "namespaces");
	if (!json_count(spaces) && !member_true(rule, "clusterScope")) {
		bad_required(c, &spaces_at, "resource rules that are not cluster scoped must supply at least one namespace");
	} else if (!check_wildcard(c, &spaces_at, spaces, "namespaces")) {
		JSON_EACH_INDEX(spaces, ns, i) {
			struct api_complaints bad;
			if (!api_name_dns1123_label(json_span(ns), &bad))
				continue;
			for (unsigned k = 0; k < bad.n; k++)
				bad_value(c, &PATH_INDEX(&spaces_at, i), ns,
					  "each member of this list must be '*' or a DNS-1123 label; %s", bad.text[k]);
		}
	}
}

static const char *url_complaint(struct span url)
{
	if (!url.len)
		return "must not be empty";
	if (span_is(url, "/"))
		return NULL;
	if (url.ptr[0] != '/')
		return "must start with slash";
	if (span_chr(url, ' ') >= 0)
		return "must not contain white-space";
	if (span_has(url, SPAN("//")))
		return "must not contain double slash";
	ptrdiff_t star = span_chr(url, '*');
	if (star >= 0 && (star != span_rchr(url, '*') || !span_ends(url, SPAN("/*"))))
		return "wildcard can only do suffix matching";
	return NULL;
}

static void check_url_rule(struct check *c, const struct path *at, const struct json *rule)
{
	const struct path urls_at = PATH(at, "nonResourceURLs");
	const struct json *urls = member(rule, "nonResourceURLs");
	check_verbs(c, &PATH(at, "verbs"), member(rule, "verbs"));
	if (!json_count(urls)) {
		bad_required(c, &urls_at, "nonResourceURLs must contain at least one value");
	} else if (!check_wildcard(c, &urls_at, urls, "non-resource URLs")) {
		JSON_EACH_INDEX(urls, url, i) {
			const char *why = url_complaint(json_span(url));
			if (why)
				bad_value(c, &PATH_INDEX(&urls_at, i), url, "%s", why);
		}
	}
}

static void check_flow_subject(struct check *c, const struct path *at, const struct json *subject)
{
	static const struct { const char *kind, *field; } kinds[] = {
		{ "ServiceAccount", "serviceAccount" }, { "User", "user" }, { "Group", "group" },
	};
	struct span kind = member_text(subject, "kind");
	if (!check_one_of(kind, "ServiceAccount User Group")) {
		bad_choice(c, &PATH(at, "kind"), kind, "Group ServiceAccount User");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct json *v = json_get(subject, span_of(kinds[i].field));
		const struct path part = PATH_SPAN(at, span_of(kinds[i].field));
		if (!span_is(kind, kinds[i].kind))
			continue;
		if (!v) {
			auto_buf struct buf why = {};
			buf_printf(&why, "%s is required when subject kind is '%s'", kinds[i].field, kinds[i].kind);
			bad_required(c, &part, buf_cstr(&why));
			continue;
		}
		struct span name = member_text(v, "name");
		check_present(c, &part, v, "name");
		if (i)
			continue;
		if (name.len && !span_is(name, "*"))
			check_name(c, &PATH(&part, "name"), name, api_name_dns1123_subdomain);
		if (member_text(v, "namespace").len)
			check_name(c, &PATH(&part, "namespace"), member_text(v, "namespace"), api_name_dns1123_label);
		else
			bad_required(c, &PATH(&part, "namespace"), "must specify namespace for service account");
	}
	/* what belongs to another kind: upstream's order is account, user, group after the kind's own part */
	static const int order[3][2] = { { 1, 2 }, { 0, 2 }, { 0, 1 } };
	size_t mine = span_is(kind, "ServiceAccount") ? 0 : span_is(kind, "User") ? 1 : 2;
	for (int k = 0; k < 2; k++) {
		int i = order[mine][k];
		if (json_get(subject, span_of(kinds[i].field)))
			bad_forbidden(c, &PATH_SPAN(at, span_of(kinds[i].field)), "%s is forbidden when subject kind is not '%s'",
				      kinds[i].field, kinds[i].kind);
	}
}

static void check_flow_conditions(struct check *c, const struct json *object)
{
	const struct path at = PATH(&PATH(PATH_ROOT, "status"), "conditions");
	const struct json *list = json_path(object, "status", "conditions", NULL);
	JSON_EACH_INDEX(list, cond, i) {
		const struct path type_at = PATH(&PATH_INDEX(&at, i), "type");
		for (uint32_t k = 0; k < i; k++)
			if (!member_changed(&list->items[k], cond, "type")) {
				bad_duplicate_string(c, &type_at, member_text(cond, "type"));
				break;
			}
		if (!member_text(cond, "type").len)
			bad_required(c, &type_at, "must not be empty");
	}
}

/* Objects that the server needs as they are. */
#define ALL_RULES "\"resourceRules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"clusterScope\":true," \
	"\"namespaces\":[\"*\"]}],\"nonResourceRules\":[{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]"
static const struct { const char *name, *schema, *level; } fixed[] = {
	{ "exempt",
	  "{\"priorityLevelConfiguration\":{\"name\":\"exempt\"},\"matchingPrecedence\":1,"
	  "\"rules\":[{\"subjects\":[{\"kind\":\"Group\","
	  "\"group\":{\"name\":\"system:masters\"}}]," ALL_RULES "}]}", "{\"type\":\"Exempt\"}" },
	{ "catch-all",
	  "{\"priorityLevelConfiguration\":{\"name\":\"catch-all\"},\"matchingPrecedence\":10000,\"distinguisherMethod\":{\"type\":"
	  "\"ByUser\"},\"rules\":[{\"subjects\":[{\"kind\":\"Group\",\"group\":{\"name\":\"system:unauthenticated\"}},"
	  "{\"kind\":\"Group\","
	  "\"group\":{\"name\":\"system:authenticated\"}}]," ALL_RULES "}]}",
	  "{\"type\":\"Limited\",\"limited\":{\"nominalConcurrencyShares\":5,\"lendablePercent\":0,"
	  "\"limitResponse\":{\"type\":\"Reject\"}}}" },
};

static void check_fixed(struct check *c, const struct json *object, bool level)
{
	struct span name = json_span(json_path(object, "metadata", "name", NULL));
	const struct path at = PATH(PATH_ROOT, "spec");
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		struct json want, spec = json_copy(c->arena, member(object, "spec"));
		if (!span_is(name, fixed[i].name))
			continue;
		int rc = json_parse(c->arena, span_of(level ? fixed[i].level : fixed[i].schema), 0, NULL, &want, NULL);
		assert(rc == 0);
		bool exempt = level && i == 0;
		if (exempt)
			json_remove(&spec, SPAN("exempt"));
		if (!strategy_same(&spec, &want))
			bad_typed(c, &at, level ? "flowcontrol/v1.PriorityLevelConfigurationSpec" : "flowcontrol/v1.FlowSchemaSpec",
				  member(object, "spec"), "spec of '%s'%s must equal the fixed value", fixed[i].name,
				  exempt ? " except the 'spec.exempt' field" : "");
	}
}

static void check_schema(struct check *c, const struct json *object, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec"), rank_at = PATH(&at, "matchingPrecedence"), rules_at = PATH(&at, "rules");
	const struct path level_at = PATH(&PATH(&at, "priorityLevelConfiguration"), "name");
	const struct json *spec = member(object, "spec"), *method = member(spec, "distinguisherMethod");
	struct span level = json_span(json_path(spec, "priorityLevelConfiguration", "name", NULL));
	int64_t rank = member_int(spec, "matchingPrecedence");
	check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
	if (rank <= 0)
		bad_int(c, &rank_at, rank, "must be a positive value");
	if (rank > 10000)
		bad_int(c, &rank_at, rank, "must not be greater than 10000");
	if (rank == 1 && !span_is(json_span(json_path(object, "metadata", "name", NULL)), "exempt"))
		bad_int(c, &rank_at, rank, "only the schema named 'exempt' may have matchingPrecedence 1");
	if (method && !check_one_of(member_text(method, "type"), "ByNamespace ByUser")) {
		auto_buf struct buf field = {}, shown = {};
		path_text(&PATH(&PATH(&at, "distinguisherMethod"), "type"), &field);
		strategy_go_syntax(&shown, "flowcontrol/v1.FlowDistinguisherMethod", method);
		api_fe_add(&c->err, buf_span(&field), API_FE_NOT_SUPPORTED, buf_span(&shown),
			   SPAN("supported values: \"ByNamespace\", \"ByUser\""));
		c->n++;
	}
	if (level.len)
		check_name(c, &level_at, level, api_name_dns1123_subdomain);
	else
		bad_required(c, &level_at, "must reference a priority level");
	JSON_EACH_INDEX(member(spec, "rules"), rule, i) {
		const struct path item = PATH_INDEX(&rules_at, i);
		const struct json *resources = member(rule, "resourceRules"), *urls = member(rule, "nonResourceRules");
		if (!json_count(member(rule, "subjects")))
			bad_required(c, &PATH(&item, "subjects"), "subjects must contain at least one value");
		JSON_EACH_INDEX(member(rule, "subjects"), subject, k)
			check_flow_subject(c, &PATH_INDEX(&PATH(&item, "subjects"), k), subject);
		if (!json_count(resources) && !json_count(urls))
			bad_required(c, &item, "at least one of resourceRules and nonResourceRules has to be non-empty");
		JSON_EACH_INDEX(resources, r, k)
			check_resource_rule(c, &PATH_INDEX(&PATH(&item, "resourceRules"), k), r);
		JSON_EACH_INDEX(urls, r, k)
			check_url_rule(c, &PATH_INDEX(&PATH(&item, "nonResourceRules"), k), r);
	}
	check_fixed(c, object, false);
	check_flow_conditions(c, object);
}

static void check_flow_status(struct check *c, const struct json *object, const struct json *old)
{
	check_flow_conditions(c, object);
}

/* Bits that shuffle sharding draws from its hash: the sum of log2 of the sizes of the shrinking deck, rounded up. */
static int entropy_bits(int64_t deck, int64_t hand)
{
	double bits = 0;
	for (int64_t i = 0; i < hand && bits <= 60; i++)
		bits += log2((double)(deck - i));
	return (int)ceil(bits);
}

static void check_queuing(struct check *c, const struct path *at, const struct json *queuing)
{
	int64_t length = member_int(queuing, "queueLengthLimit"), queues = member_int(queuing, "queues");
	int64_t hand = member_int(queuing, "handSize");
	const struct path queues_at = PATH(at, "queues"), hand_at = PATH(at, "handSize");
	if (length <= 0)
		bad_int(c, &PATH(at, "queueLengthLimit"), length, "must be positive");
	if (queues <= 0)
		bad_int(c, &queues_at, queues, "must be positive");
	else if (queues > 10000000)
		bad_int(c, &queues_at, queues, "must not be greater than 10000000");
	if (hand <= 0)
		bad_int(c, &hand_at, hand, "must be positive");
	else if (hand > queues)
		bad_int(c, &hand_at, hand, "should not be greater than queues (%lld)", (long long)queues);
	else if (entropy_bits(queues, hand) > 60)
		bad_int(c, &hand_at, hand, "required entropy bits of deckSize %lld and handSize %lld should not be greater than 60",
			(long long)queues, (long long)hand);
}

static void check_shares(struct check *c, const struct path *at, const struct json *part, bool limited)
{
	const struct json *shares = member(part, "nominalConcurrencyShares"), *lend = member(part, "lendablePercent");
	const struct json *borrow = member(part, "borrowingLimitPercent");
	if (json_i64(shares, 0) < 0)
		bad_value(c, &PATH(at, "nominalConcurrencyShares"), shares, "must be a non-negative integer");
	if (!limited && (json_i64(lend, 0) < 0 || json_i64(lend, 0) > 100))
		bad_value(c, &PATH(at, "lendablePercent"), lend, "must be between 0 and 100, inclusive");
	if (!limited)
		return;
	const struct path response_at = PATH(at, "limitResponse");
	const struct json *response = member(part, "limitResponse"), *queuing = member(response, "queuing");
	struct span type = member_text(response, "type");
	if (span_is(type, "Reject")) {
		if (queuing)
			bad_forbidden(c, &PATH(&response_at, "queuing"),
				"must be nil if limited.limitResponse.type is not Limited");
	} else if (!span_is(type, "Queue")) {
		bad_choice(c, &PATH(&response_at, "type"), type, "Queue Reject");
	} else if (!queuing) {
		bad_required(c, &PATH(&response_at, "queuing"), "must not be empty if limited.limitResponse.type is Limited");
	} else {
		check_queuing(c, &PATH(&response_at, "queuing"), queuing);
	}
	if (json_i64(lend, 0) < 0 || json_i64(lend, 0) > 100)
		bad_value(c, &PATH(at, "lendablePercent"), lend, "must be between 0 and 100, inclusive");
	if (json_i64(borrow, 0) < 0)
		bad_value(c, &PATH(at, "borrowingLimitPercent"), borrow, "if specified, must be a non-negative integer");
}

static void check_level(struct check *c, const struct json *object, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec"), limited_at = PATH(&at, "limited"), exempt_at = PATH(&at, "exempt");
	const struct json *spec = member(object, "spec"), *limited = member(spec, "limited"), *exempt = member(spec, "exempt");
	struct span type = member_text(spec, "type"), name = json_span(json_path(object, "metadata", "name", NULL));
	check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
	if (span_is(name, "exempt") != span_is(type, "Exempt"))
		bad_string(c, &PATH(&at, "type"), type, "type must be 'Exempt' if and only if name is 'exempt'");
	if (span_is(type, "Exempt")) {
		if (limited)
			bad_forbidden(c, &limited_at, "must be nil if the type is not Limited");
		if (exempt)
			check_shares(c, &exempt_at, exempt, false);
	} else if (span_is(type, "Limited")) {
		if (exempt)
			bad_forbidden(c, &exempt_at, "must be nil if the type is Limited");
		if (limited)
			check_shares(c, &limited_at, limited, true);
		else
			bad_required(c, &limited_at, "must not be empty when type is Limited");
	} else {
		bad_choice(c, &PATH(&at, "type"), type, "Exempt Limited");
	}
	check_fixed(c, object, true);
	check_flow_conditions(c, object);
}

#define FLOW "flowcontrol.apiserver.k8s.io"
const struct strategy_kind strategy_kind_flow_schema = {
	.group = FLOW, .kind = "FlowSchema", .flags = STRATEGY_HAS_GENERATION, .defaults = default_schema,
		.prepare = prepare_generation,
	.check = check_schema, .subs = { { "status", prepare_status_only, check_flow_status } },
};
const struct strategy_kind strategy_kind_priority_level = {
	.group = FLOW, .kind = "PriorityLevelConfiguration", .flags = STRATEGY_HAS_GENERATION, .defaults = default_level,
	.prepare = prepare_generation, .check = check_level, .subs = { { "status", prepare_status_only, check_flow_status } },
};
