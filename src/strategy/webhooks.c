/* admissionregistration.k8s.io: webhook configurations, validating admission policies and their bindings. Expressions are not
 * compiled here (CEL comes later); who serves these kinds decides whether it takes objects that need one. */
#include "strategy/check.h"

/* ---- defaults */
static void default_selectors(struct arena *a, struct json *object)
{
	default_object(a, object, "namespaceSelector");
	default_object(a, object, "objectSelector");
}

static void default_rules(struct arena *a, struct json *rules)
{
	JSON_EACH_ITEM(rules, rule)
		default_unset(a, rule, "scope", "*");
}

static void default_webhook_list(struct arena *a, struct json *object, bool mutating)
{
	JSON_EACH_ITEM(member(object, "webhooks"), hook) {
		struct json *service = json_path(hook, "clientConfig", "service", NULL);
		default_unset(a, hook, "failurePolicy", "Fail");
		default_unset(a, hook, "matchPolicy", "Equivalent");
		default_selectors(a, hook);
		default_int(a, hook, "timeoutSeconds", 10);
		if (mutating)
			default_unset(a, hook, "reinvocationPolicy", "Never");
		default_rules(a, member(hook, "rules"));
		default_int(a, service, "port", 443);
	}
}

static void default_mutating(struct arena *a, struct json *object)
{
	default_webhook_list(a, object, true);
}

static void default_validating(struct arena *a, struct json *object)
{
	default_webhook_list(a, object, false);
}

static void default_match_resources(struct arena *a, struct json *match)
{
	if (!match)
		return;
	default_unset(a, match, "matchPolicy", "Equivalent");
	default_selectors(a, match);
	default_rules(a, member(match, "resourceRules"));
	default_rules(a, member(match, "excludeResourceRules"));
}

static void default_policy(struct arena *a, struct json *object)
{
	struct json *spec = default_object(a, object, "spec");
	default_unset(a, spec, "failurePolicy", "Fail");
	default_match_resources(a, member(spec, "matchConstraints"));
}

static void default_policy_binding(struct arena *a, struct json *object)
{
	default_match_resources(a, json_path(object, "spec", "matchResources", NULL));
}

/* ---- prepare */
static void prepare_webhooks(struct strategy *s)
{
	strategy_generation(s, strategy_part_changed(s, "webhooks"));
}

static void prepare_policy_binding(struct strategy *s)
{
	strategy_generation(s, strategy_part_changed(s, "spec"));
}

/* ---- clients */
static void check_service_path(struct check *c, const struct path *at, struct span path)
{
	if (!path.len || span_is(path, "/"))
		return;
	if (span_is(path, "//")) {
		bad_string(c, at, path, "segment[0] may not be empty");
		return;
	}
	if (path.ptr[0] != '/')
		bad_string(c, at, path, "must start with a '/'");
	struct span rest = span_from(path, 1), step;
	if (rest.len && rest.ptr[rest.len - 1] == '/')
		rest.len--;
	bool more = true;
	for (unsigned i = 0; more; i++) {
		struct api_complaints bad;
		more = span_split(rest, '/', &step, &rest);
		if (!step.len) {
			bad_string(c, at, path, "segment[%u] may not be empty", i);
			continue;
		}
		if (api_name_dns1123_subdomain(step, &bad))
			for (unsigned k = 0; k < bad.n; k++)
				bad_string(c, at, path, "segment[%u]: %s", i, bad.text[k]);
	}
}

void check_webhook_service(struct check *c, const struct path *at, const struct json *service)
{
	struct api_complaints bad;
	int64_t port = json_i64(member(service, "port"), 443);
	/* upstream's callers give name and namespace in each other's place */
	if (!member_text(service, "namespace").len)
		bad_required(c, &PATH(at, "name"), "service name is required");
	if (!member_text(service, "name").len)
		bad_required(c, &PATH(at, "namespace"), "service namespace is required");
	if (api_port_check(port, &bad))
		bad_int(c, &PATH(at, "port"), port, "port is not valid: %s", bad.text[0]);
	if (member(service, "path"))
		check_service_path(c, &PATH(at, "path"), member_text(service, "path"));
}

void check_webhook_url(struct check *c, const struct path *at, struct span url)
{
	static const char form[] = "; desired format: https://host[/path]";
	struct span rest = url, scheme = SPAN_EMPTY, host = SPAN_EMPTY, fragment, query, user = SPAN_EMPTY;
	for (size_t i = 0; i < url.len; i++)
		if ((unsigned char)url.ptr[i] < 0x20 || url.ptr[i] == 0x7f) {
			auto_buf struct buf quoted = {}, why = {};
			api_go_quote(&quoted, url);
			buf_printf(&why, "url must be a valid URL: parse %s: net/url: invalid control character in URL%s",
				   buf_cstr(&quoted), form);
			bad_required(c, at, buf_cstr(&why));
			return;
		}
	span_split(rest, '#', &rest, &fragment);
	span_split(rest, '?', &rest, &query);
	ptrdiff_t colon = span_chr(rest, ':');
	if (colon > 0 && span_chr(span_sub(rest, 0, (size_t)colon), '/') < 0) {
		scheme = span_sub(rest, 0, (size_t)colon);
		rest = span_from(rest, (size_t)colon + 1);
	}
	if (span_starts(rest, SPAN("//"))) {
		ptrdiff_t slash = span_chr(span_from(rest, 2), '/');
		host = slash < 0 ? span_from(rest, 2) : span_sub(rest, 2, 2 + (size_t)slash);
		ptrdiff_t sign = span_rchr(host, '@');
		if (sign >= 0) {
			user = span_sub(host, 0, (size_t)sign);
			host = span_from(host, (size_t)sign + 1);
		}
	}
	if (!span_eq_nocase(scheme, SPAN("https")))
		bad_string(c, at, scheme, "'https' is the only allowed URL scheme%s", form);
	if (!host.len)
		bad_string(c, at, host, "host must be specified%s", form);
	if (user.ptr)
		bad_string(c, at, user, "user information is not permitted in the URL");
	if (fragment.len)
		bad_string(c, at, fragment, "fragments are not permitted in the URL");
	if (query.len)
		bad_string(c, at, query, "query parameters are not permitted in the URL");
}

static void check_client(struct check *c, const struct path *at, const struct json *client)
{
	const struct json *url = member(client, "url"), *service = member(client, "service");
	if (!url == !service)
		bad_required(c, at, "exactly one of url or service is required");
	else if (url)
		check_webhook_url(c, &PATH(at, "url"), json_span(url));
	else
		check_webhook_service(c, &PATH(at, "service"), service);
}

/* ---- rules */
/* Has an earlier entry the wildcard for this one's resource ("pods/" then "*"), or for its subresource? */
static bool earlier(const struct json *list, uint32_t i, struct span head, struct span tail)
{
	for (uint32_t k = 0; k < i; k++) {
		struct span res, sub;
		if (span_split(json_span(&list->items[k]), '/', &res, &sub) && span_eq(res, head) && span_eq(sub, tail))
			return true;
	}
	return false;
}

static void check_resources(struct check *c, const struct path *at, const struct json *list)
{
	bool all = false, one = false, plain = false;
	if (!json_count(list))
		bad_required(c, at, "");
	JSON_EACH_INDEX(list, item, i) {
		const struct path item_at = PATH_INDEX(at, i);
		struct span text = json_span(item), res, sub;
		if (!text.len) {
			bad_required(c, &item_at, "");
			continue;
		}
		all |= span_is(text, "*/*");
		one |= span_is(text, "*");
		if (!span_split(text, '/', &res, &sub)) {
			plain = !span_is(text, "*"); /* of the last one, as upstream has it */
			continue;
		}
		if (earlier(list, i, res, SPAN("*")))
			bad_string(c, &item_at, text, "if '%.*s/*' is present, must not specify %.*s", SPAN_ARG(res),
				SPAN_ARG(text));
		if (earlier(list, i, SPAN("*"), sub))
			bad_string(c, &item_at, text, "if '*/%.*s' is present, must not specify %.*s", SPAN_ARG(sub),
				SPAN_ARG(text));
	}
	if (json_count(list) > 1 && all)
		bad_typed(c, at, "[]string", list, "if '*/*' is present, must not specify other resources");
	if (one && plain)
		bad_typed(c, at, "[]string", list, "if '*' is present, must not specify other resources without subresources");
}

static void check_alone(struct check *c, const struct path *at, const struct json *list, const char *type, const char *noun)
{
	if (!json_count(list))
		bad_required(c, at, "");
	else if (list->n > 1 && check_list_has(list, SPAN("*")))
		bad_typed(c, at, type, list, "if '*' is present, must not specify other %s", noun);
}

static void check_rule(struct check *c, const struct path *at, const struct json *rule)
{
	const struct path operations_at = PATH(at, "operations"), versions_at = PATH(at, "apiVersions");
	check_alone(c, &operations_at, member(rule, "operations"), "[]admissionregistration/v1.OperationType", "operations");
	JSON_EACH_INDEX(member(rule, "operations"), operation, i)
		check_choice(c, &PATH_INDEX(&operations_at, i), operation, "* CONNECT CREATE DELETE UPDATE");
	check_alone(c, &PATH(at, "apiGroups"), member(rule, "apiGroups"), "[]string", "API groups");
	check_alone(c, &versions_at, member(rule, "apiVersions"), "[]string", "API versions");
	JSON_EACH_INDEX(member(rule, "apiVersions"), version, i)
		if (!json_span(version).len)
			bad_required(c, &PATH_INDEX(&versions_at, i), "");
	check_resources(c, &PATH(at, "resources"), member(rule, "resources"));
	check_choice(c, &PATH(at, "scope"), member(rule, "scope"), "* Cluster Namespaced");
}

static void check_match_conditions(struct check *c, const struct path *at, const struct json *list)
{
	if (json_count(list) > 64)
		bad_too_many(c, at, list->n, 64);
	JSON_EACH_INDEX(list, cond, i) {
		const struct path item = PATH_INDEX(at, i);
		struct span name = member_text(cond, "name");
		if (!span_trim(member_text(cond, "expression")).len)
			bad_required(c, &PATH(&item, "expression"), "");
		if (check_present(c, &item, cond, "name"))
			check_name(c, &PATH(&item, "name"), name, api_name_qualified);
		for (uint32_t k = 0; k < i && name.len; k++)
			if (span_eq(member_text(&list->items[k], "name"), name)) {
				bad_duplicate_string(c, &PATH(&item, "name"), name);
				break;
			}
	}
}

/* ---- webhook configurations */
struct hook_rules { /* what stored objects are allowed */
	bool effects_lax, versions_lax, names_lax, selectors_lax;
};

static bool version_known(const struct json *versions)
{
	return check_list_has(versions, SPAN("v1")) || check_list_has(versions, SPAN("v1beta1"));
}

static struct hook_rules rules_of(const struct json *old)
{
	struct hook_rules lax = {};
	const struct json *hooks = member(old, "webhooks");
	JSON_EACH_INDEX(hooks, hook, i) {
		const struct json *versions = member(hook, "admissionReviewVersions");
		lax.effects_lax |= !check_one_of(member_text(hook, "sideEffects"), "None NoneOnDryRun");
		lax.versions_lax |= json_count(versions) && !version_known(versions);
		lax.selectors_lax |= check_selector_has_bad_value(member(hook, "namespaceSelector")) ||
				     check_selector_has_bad_value(member(hook, "objectSelector"));
		for (uint32_t k = 0; k < i; k++)
			lax.names_lax |= !member_changed(&hooks->items[k], hook, "name");
	}
	return lax;
}

static void check_review_versions(struct check *c, const struct path *at, const struct json *versions, bool lax)
{
	if (!json_count(versions)) {
		bad_required(c, at, "must specify one of v1, v1beta1");
		return;
	}
	JSON_EACH_INDEX(versions, version, i) {
		bool twice = false;
		for (uint32_t k = 0; k < i; k++)
			twice |= json_equal(&versions->items[k], version);
		if (twice)
			bad_value(c, &PATH_INDEX(at, i), version, "duplicate version");
		else
			check_name(c, &PATH_INDEX(at, i), json_span(version), api_name_dns1035_label);
	}
	if (!lax && !version_known(versions))
		bad_typed(c, at, "[]string", versions, "must include at least one of v1, v1beta1");
}

static void check_hook(struct check *c, const struct path *at, const struct json *hook, const struct hook_rules *lax)
{
	const char *effects = lax->effects_lax ? "None NoneOnDryRun Some Unknown" : "None NoneOnDryRun";
	const struct json *side = member(hook, "sideEffects"), *timeout = member(hook, "timeoutSeconds");
	check_name(c, &PATH(at, "name"), member_text(hook, "name"), api_name_fully_qualified);
	JSON_EACH_INDEX(member(hook, "rules"), rule, i)
		check_rule(c, &PATH_INDEX(&PATH(at, "rules"), i), rule);
	check_choice(c, &PATH(at, "failurePolicy"), member(hook, "failurePolicy"), "Fail Ignore");
	check_choice(c, &PATH(at, "matchPolicy"), member(hook, "matchPolicy"), "Equivalent Exact");
	if (!side)
		bad_required(c, &PATH(at, "sideEffects"), lax->effects_lax ? "must specify one of None, NoneOnDryRun, Some, Unknown"
									     : "must specify one of None, NoneOnDryRun");
	check_choice(c, &PATH(at, "sideEffects"), side, effects);
	if (timeout && (timeout->i > 30 || timeout->i < 1))
		bad_value(c, &PATH(at, "timeoutSeconds"), timeout, "the timeout value must be between 1 and 30 seconds");
	check_label_selector(c, &PATH(at, "namespaceSelector"), member(hook, "namespaceSelector"), lax->selectors_lax);
	check_label_selector(c, &PATH(at, "objectSelector"), member(hook, "objectSelector"), lax->selectors_lax);
	check_choice(c, &PATH(at, "reinvocationPolicy"), member(hook, "reinvocationPolicy"), "IfNeeded Never");
	check_client(c, &PATH(at, "clientConfig"), member(hook, "clientConfig"));
	check_match_conditions(c, &PATH(at, "matchConditions"), member(hook, "matchConditions"));
}

static void check_webhooks(struct check *c, const struct json *object, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "webhooks");
	const struct json *hooks = member(object, "webhooks");
	const struct hook_rules lax = rules_of(old);
	check_meta(c, object, META_PLAIN, api_name_dns1123_subdomain);
	JSON_EACH_INDEX(hooks, hook, i) {
		const struct path item = PATH_INDEX(&at, i);
		struct span name = member_text(hook, "name");
		check_hook(c, &item, hook, &lax);
		check_review_versions(c, &PATH(&item, "admissionReviewVersions"), member(hook, "admissionReviewVersions"),
			lax.versions_lax);
		for (uint32_t k = 0; k < i && name.len && !lax.names_lax; k++)
			if (span_eq(member_text(&hooks->items[k], "name"), name)) {
				bad_duplicate_string(c, &PATH(&item, "name"), name);
				break;
			}
	}
}

#define GROUP "admissionregistration.k8s.io"
const struct strategy_kind strategy_kind_mutating_webhooks = {
	.group = GROUP, .kind = "MutatingWebhookConfiguration", .flags = STRATEGY_HAS_GENERATION, .defaults = default_mutating,
	.prepare = prepare_webhooks, .check = check_webhooks,
};
const struct strategy_kind strategy_kind_validating_webhooks = {
	.group = GROUP, .kind = "ValidatingWebhookConfiguration", .flags = STRATEGY_HAS_GENERATION, .defaults = default_validating,
	.prepare = prepare_webhooks, .check = check_webhooks,
};

/* ---- policies */
static void bad_joined(struct check *c, const struct path *at, struct span value, const char *before,
	const struct api_complaints *bad)
{
	auto_buf struct buf why = {};
	for (unsigned i = 0; i < bad->n; i++)
		buf_printf(&why, "%s%s", i ? "," : "", bad->text[i]);
	bad_string(c, at, value, "%s%s", before, buf_cstr(&why));
}

static void check_param_kind(struct check *c, const struct path *at, const struct json *kind)
{
	struct span text = member_text(kind, "apiVersion"), name = member_text(kind, "kind"), group = SPAN_EMPTY, version = text;
	const struct path version_at = PATH(at, "apiVersion");
	struct api_complaints bad;
	if (check_present(c, at, kind, "apiVersion")) {
		struct span head, tail;
		if (span_split(text, '/', &head, &tail)) {
			group = head;
			version = tail;
		}
		if (span_chr(version, '/') >= 0) {
			bad_string(c, &version_at, text, "unexpected GroupVersion string: %.*s", SPAN_ARG(text));
		} else {
			if (group.len && api_name_dns1123_subdomain(group, &bad))
				bad_joined(c, &version_at, group, "", &bad);
			if (!version.len)
				bad_string(c, &version_at, text, "version must be specified");
			else if (api_name_dns1035_label(version, &bad))
				bad_joined(c, &version_at, version, "", &bad);
		}
	}
	if (!check_present(c, at, kind, "kind"))
		return;
	char *lower = arena_cstr(c->arena, name);
	for (size_t i = 0; i < name.len; i++)
		lower[i] = (char)(lower[i] >= 'A' && lower[i] <= 'Z' ? lower[i] + 32 : lower[i]);
	if (api_name_dns1035_label(span_make(lower, name.len), &bad))
		bad_joined(c, &PATH(at, "kind"), name, "may have mixed case, but should otherwise match: ", &bad);
}

static void check_named_rules(struct check *c, const struct path *at, const struct json *rules)
{
	JSON_EACH_INDEX(rules, rule, i) {
		const struct path item = PATH_INDEX(at, i);
		const struct json *names = member(rule, "resourceNames");
		JSON_EACH_INDEX(names, name, k) {
			check_name(c, &PATH_INDEX(&PATH(&item, "resourceNames"), k), json_span(name), api_name_path_segment);
			for (uint32_t m = 0; m < k; m++)
				if (json_equal(&names->items[m], name)) {
					bad_duplicate(c, &PATH_INDEX(&PATH(&item, "resourceNames"), k), name);
					break;
				}
		}
		check_rule(c, &item, rule);
	}
}

static void check_match_resources(struct check *c, const struct path *at, const struct json *match)
{
	const struct json *policy = member(match, "matchPolicy"), *spaces = member(match, "namespaceSelector");
	const struct json *objects = member(match, "objectSelector");
	if (!policy)
		bad_required(c, &PATH(at, "matchPolicy"), "");
	check_choice(c, &PATH(at, "matchPolicy"), policy, "Equivalent Exact");
	if (!spaces)
		bad_required(c, &PATH(at, "namespaceSelector"), "");
	check_label_selector(c, &PATH(at, "namespaceSelector"), spaces, false);
	if (!objects)
		bad_required(c, &PATH(at, "objectSelector"), "");
	check_label_selector(c, &PATH(at, "objectSelector"), objects, false);
	check_named_rules(c, &PATH(at, "resourceRules"), member(match, "resourceRules"));
	check_named_rules(c, &PATH(at, "excludeResourceRules"), member(match, "excludeResourceRules"));
}

static bool is_cel_name(struct span name)
{
	for (size_t i = 0; i < name.len; i++) {
		char ch = name.ptr[i];
		bool letter = ch == '_' || ((ch | 32) >= 'a' && (ch | 32) <= 'z');
		if (!letter && !(i && ch >= '0' && ch <= '9'))
			return false;
	}
	return !check_one_of(name, "true false null in as break const continue else for function if import let loop package "
		"namespace return var void while");
}

static bool has_newline(struct span s)
{
	return span_chr(s, '\n') >= 0 || span_chr(s, '\r') >= 0;
}

static void check_validations(struct check *c, const struct path *at, const struct json *list)
{
	JSON_EACH_INDEX(list, v, i) {
		const struct path item = PATH_INDEX(at, i);
		struct span message = member_text(v, "message"), expression = member_text(v, "messageExpression");
		if (!span_trim(member_text(v, "expression")).len)
			bad_required(c, &PATH(&item, "expression"), "expression is not specified");
		if (expression.len && !span_trim(expression).len)
			bad_string(c, &PATH(&item, "messageExpression"), expression, "must be non-empty if specified");
		if (message.len && !span_trim(message).len)
			bad_string(c, &PATH(&item, "message"), message, "must be non-empty if specified");
		else if (has_newline(span_trim(message)))
			bad_string(c, &PATH(&item, "message"), message, "must not contain line breaks");
		check_choice(c, &PATH(&item, "reason"), member(v, "reason"), "Forbidden Invalid RequestEntityTooLarge");
	}
}

static void check_audit(struct check *c, const struct path *at, const struct json *list, struct span name)
{
	if (json_count(list) > 20)
		bad_typed(c, at, "[]admissionregistration/v1.AuditAnnotation", list, "must not have more than 20 auditAnnotations");
	JSON_EACH_INDEX(list, note, i) {
		const struct path item = PATH_INDEX(at, i);
		struct span key = member_text(note, "key"), value = span_trim(member_text(note, "valueExpression"));
		if (name.len)
			check_name(c, &PATH(&item, "key"), arena_printf(c->arena, "%.*s/%.*s", SPAN_ARG(name), SPAN_ARG(key)),
				   api_name_qualified);
		else
			bad_string(c, &PATH(&item, "key"), key, "requires metadata.name be non-empty");
		if (!value.len)
			bad_required(c, &PATH(&item, "valueExpression"), "valueExpression is not specified");
		else if (value.len > 5 << 10)
			bad_required(c, &PATH(&item, "valueExpression"), "must not exceed 5120 bytes in length");
		for (uint32_t k = 0; k < i; k++)
			if (span_eq(member_text(&list->items[k], "key"), key)) {
				bad_duplicate_string(c, &PATH(&item, "key"), key);
				break;
			}
	}
}

static void check_policy(struct check *c, const struct json *policy, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec"), match_at = PATH(&at, "matchConstraints");
	const struct json *spec = member(policy, "spec"), *failure = member(spec, "failurePolicy"), *match = member(spec,
		"matchConstraints");
	const struct json *validations = member(spec, "validations"), *notes = member(spec, "auditAnnotations");
	check_meta(c, policy, META_PLAIN, api_name_dns1123_subdomain);
	if (!failure)
		bad_required(c, &PATH(&at, "failurePolicy"), "");
	check_choice(c, &PATH(&at, "failurePolicy"), failure, "Fail Ignore");
	if (member(spec, "paramKind"))
		check_param_kind(c, &PATH(&at, "paramKind"), member(spec, "paramKind"));
	if (!match) {
		bad_required(c, &match_at, "");
	} else {
		check_match_resources(c, &match_at, match);
		if (!json_count(member(match, "resourceRules")))
			bad_required(c, &PATH(&match_at, "resourceRules"), "");
	}
	check_match_conditions(c, &PATH(&at, "matchConditions"), member(spec, "matchConditions"));
	JSON_EACH_INDEX(member(spec, "variables"), v, i) {
		const struct path item = PATH_INDEX(&PATH(&at, "variables"), i);
		struct span name = member_text(v, "name");
		if (!span_trim(name).len)
			bad_required(c, &PATH(&item, "name"), "name is not specified");
		else if (!is_cel_name(name))
			bad_string(c, &PATH(&item, "name"), name, "must be a valid CEL identifier");
		if (!span_trim(member_text(v, "expression")).len)
			bad_required(c, &PATH(&item, "expression"), "expression is not specified");
	}
	if (!json_count(validations) && !json_count(notes)) {
		static const char why[] = "validations or auditAnnotations must contain at least one item";
		bad_required(c, &PATH(&at, "validations"), why);
		bad_required(c, &PATH(&at, "auditAnnotations"), why);
		return;
	}
	check_validations(c, &PATH(&at, "validations"), validations);
	check_audit(c, &PATH(&at, "auditAnnotations"), notes, json_span(json_path(policy, "metadata", "name", NULL)));
}

static void check_policy_status(struct check *c, const struct json *policy, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "status"), list_at = PATH(&PATH(&at, "typeChecking"), "expressionWarnings");
	JSON_EACH_INDEX(json_path(policy, "status", "typeChecking", "expressionWarnings", NULL), w, i) {
		const struct path item = PATH_INDEX(&list_at, i);
		check_present(c, &item, w, "warning");
		if (!span_trim(member_text(w, "fieldRef")).len)
			bad_required(c, &PATH(&item, "fieldRef"), "");
	}
	check_conditions(c, &PATH(&at, "conditions"), json_path(policy, "status", "conditions", NULL));
}

static void check_param_ref(struct check *c, const struct path *at, const struct json *ref)
{
	struct span name = member_text(ref, "name"), action = member_text(ref, "parameterNotFoundAction");
	const struct json *selector = member(ref, "selector");
	static const char both[] = "name and selector are mutually exclusive";
	if (name.len) {
		check_name(c, &PATH(at, "name"), name, api_name_path_segment);
		if (selector)
			bad_forbidden(c, &PATH(at, "name"), both);
	}
	check_label_selector(c, &PATH(at, "selector"), selector, false);
	if (selector && name.len)
		bad_forbidden(c, &PATH(at, "selector"), both);
	if (!name.len && !selector)
		bad_required(c, at, "one of name or selector must be specified");
	if (!action.len)
		bad_required(c, &PATH(at, "parameterNotFoundAction"), "");
	else if (!check_one_of(action, "Deny Allow"))
		bad_choice(c, &PATH(at, "parameterNotFoundAction"), action, "Deny Allow");
}

static void check_policy_binding(struct check *c, const struct json *binding, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec"), actions_at = PATH(&at, "validationActions");
	const struct json *spec = member(binding, "spec"), *actions = member(spec, "validationActions");
	check_meta(c, binding, META_PLAIN, api_name_dns1123_subdomain);
	if (check_present(c, &at, spec, "policyName"))
		check_name(c, &PATH(&at, "policyName"), member_text(spec, "policyName"), api_name_dns1123_subdomain);
	if (member(spec, "paramRef"))
		check_param_ref(c, &PATH(&at, "paramRef"), member(spec, "paramRef"));
	if (member(spec, "matchResources"))
		check_match_resources(c, &PATH(&at, "matchResources"), member(spec, "matchResources"));
	JSON_EACH_INDEX(actions, action, i) {
		check_choice(c, &PATH_INDEX(&actions_at, i), action, "Audit Deny Warn");
		for (uint32_t k = 0; k < i; k++)
			if (json_equal(&actions->items[k], action)) {
				bad_duplicate(c, &PATH_INDEX(&actions_at, i), action);
				break;
			}
	}
	if (check_list_has(actions, SPAN("Deny")) && check_list_has(actions, SPAN("Warn")))
		bad_typed(c, &actions_at, "[]admissionregistration/v1.ValidationAction", actions,
			  "must not contain both Deny and Warn (repeating the same validation failure information in the API "
			  "response and headers serves no purpose)");
	if (!json_count(actions))
		bad_required(c, &actions_at, "at least one validation action is required");
}

const struct strategy_kind strategy_kind_admission_policy = {
	.group = GROUP, .kind = "ValidatingAdmissionPolicy", .flags = STRATEGY_HAS_GENERATION, .defaults = default_policy,
	.prepare = prepare_generation, .check = check_policy, .subs = { { "status", prepare_status_only, check_policy_status } },
};
const struct strategy_kind strategy_kind_admission_policy_binding = {
	.group = GROUP, .kind = "ValidatingAdmissionPolicyBinding", .flags = STRATEGY_HAS_GENERATION,
		.defaults = default_policy_binding,
	.prepare = prepare_policy_binding, .check = check_policy_binding,
};
