/* Where a pod may run: affinities, tolerations, topology spread. */
#include "strategy/pod.h"

static const char required_name[] = "requiredDuringSchedulingIgnoredDuringExecution";
static const char preferred_name[] = "preferredDuringSchedulingIgnoredDuringExecution";

static void check_weight(struct check *c, const struct path *at, const struct json *term)
{
	int64_t weight = member_int(term, "weight");
	if (weight <= 0 || weight > 100)
		bad_int(c, &PATH(at, "weight"), weight, "must be in the range 1-100");
}

static void check_node_affinity(struct pod_view *v, const struct path *at, const struct json *affinity)
{
	const struct json *required = json_get(affinity, span_of(required_name));
	const struct path preferred_at = PATH_SPAN(at, span_of(preferred_name));
	if (required)
		check_node_selector(v->c, &PATH_SPAN(at, span_of(required_name)), required, v->opts->lax_node_affinity_values);
	JSON_EACH_INDEX(json_get(affinity, span_of(preferred_name)), term, i) {
		const struct path item = PATH_INDEX(&preferred_at, i);
		check_weight(v->c, &item, term);
		/* Wrong label values are let through here: nothing but a preference is lost. */
		check_node_term(v->c, &PATH(&item, "preference"), member(term, "preference"), true);
	}
}

/* ---- other pods */
static void check_label_keys(struct check *c, const struct path *at, const struct json *keys, const struct json *selector)
{
	if (!json_count(keys))
		return;
	if (!selector) {
		bad_forbidden(c, at, "must not be specified when labelSelector is not set");
		return;
	}
	JSON_EACH_INDEX(keys, key, i)
		check_name(c, &PATH_INDEX(at, i), json_span(key), api_name_qualified);
}

/* Keys whose values are put into the selector must not be there already: the server adds one expression for each. */
static void check_keys_once(struct check *c, const struct path *at, const struct json *keys, const struct json *selector)
{
	const struct json *expressions = member(selector, "matchExpressions");
	JSON_EACH_INDEX(expressions, e, i) {
		struct span key = member_text(e, "key");
		bool before = json_get(member(selector, "matchLabels"), key);
		for (uint32_t k = 0; k < i; k++)
			before |= span_eq(member_text(&expressions->items[k], "key"), key);
		if (!before)
			continue;
		for (uint32_t k = json_count(keys); k-- > 0;)
			if (span_eq(json_span(&keys->items[k]), key)) {
				bad_string(c, &PATH_INDEX(at, k), key, "exists in both matchLabelKeys and labelSelector");
				break;
			}
	}
}

static void check_pod_term(struct pod_view *v, const struct path *at, const struct json *term)
{
	struct check *c = v->c;
	const struct json *selector = member(term, "labelSelector");
	const struct json *keys = member(term, "matchLabelKeys"), *other_keys = member(term, "mismatchLabelKeys");
	const struct path keys_at = PATH(at, "matchLabelKeys"), topology_at = PATH(at, "topologyKey");
	struct span topology = member_text(term, "topologyKey");
	check_label_selector(c, &PATH(at, "labelSelector"), selector, v->opts->lax_selector_values);
	check_label_selector(c, &PATH(at, "namespaceSelector"), member(term, "namespaceSelector"), v->opts->lax_selector_values);
	JSON_EACH_ITEM(member(term, "namespaces"), name)
		check_name(c, &PATH(at, "namespace"), json_span(name), api_name_dns1123_label);
	check_label_keys(c, &keys_at, keys, selector);
	check_label_keys(c, &PATH(at, "mismatchLabelKeys"), other_keys, selector);
	check_keys_once(c, at, keys, selector);
	JSON_EACH_INDEX(keys, key, i)
		if (check_list_has(other_keys, json_span(key)))
			bad_string(c, &PATH_INDEX(&keys_at, i), json_span(key),
				   "exists in both matchLabelKeys and mismatchLabelKeys");
	if (!topology.len)
		bad_required(c, &topology_at, "can not be empty");
	check_name(c, &topology_at, topology, api_name_qualified);
}

static void check_pod_terms(struct pod_view *v, const struct path *at, const struct json *affinity)
{
	const struct path required_at = PATH_SPAN(at, span_of(required_name)),
			  preferred_at = PATH_SPAN(at, span_of(preferred_name));
	JSON_EACH_INDEX(json_get(affinity, span_of(required_name)), term, i)
		check_pod_term(v, &PATH_INDEX(&required_at, i), term);
	JSON_EACH_INDEX(json_get(affinity, span_of(preferred_name)), term, i) {
		const struct path item = PATH_INDEX(&preferred_at, i);
		check_weight(v->c, &item, term);
		check_pod_term(v, &PATH(&item, "podAffinityTerm"), member(term, "podAffinityTerm"));
	}
}

void check_pod_affinity(struct pod_view *v, const struct path *at, const struct json *affinity)
{
	check_node_affinity(v, &PATH(at, "nodeAffinity"), member(affinity, "nodeAffinity"));
	check_pod_terms(v, &PATH(at, "podAffinity"), member(affinity, "podAffinity"));
	check_pod_terms(v, &PATH(at, "podAntiAffinity"), member(affinity, "podAntiAffinity"));
}

/* ---- tolerations */
void check_pod_tolerations(struct check *c, const struct path *at, const struct json *tolerations)
{
	JSON_EACH_INDEX(tolerations, t, i) {
		const struct path item = PATH_INDEX(at, i), op_at = PATH(&item, "operator");
		struct span key = member_text(t, "key"), op = member_text(t, "operator");
		struct span value = member_text(t, "value"), effect = member_text(t, "effect");
		struct api_complaints bad;
		if (key.len)
			check_name(c, &PATH(&item, "key"), key, api_name_qualified);
		else if (!span_is(op, "Exists"))
			bad_string(c, &op_at, op, "operator must be Exists when `key` is empty, which means \"match all values and "
				   "all keys\"");
		if (member(t, "tolerationSeconds") && !span_is(effect, "NoExecute"))
			bad_string(c, &PATH(&item, "effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
		if (!op.len || span_is(op, "Equal")) {
			if (api_name_label_value(value, &bad)) {
				auto_buf struct buf all = {};
				for (unsigned k = 0; k < bad.n; k++)
					buf_printf(&all, "%s%s", k ? ";" : "", bad.text[k]);
				bad_string(c, &op_at, value, "%s", buf_cstr(&all));
			}
		} else if (span_is(op, "Exists")) {
			if (value.len)
				bad_string(c, &op_at, value, "value must be empty when `operator` is 'Exists'");
		} else {
			bad_choice(c, &op_at, op, "Equal Exists");
		}
		if (effect.len && !check_one_of(effect, "NoSchedule PreferNoSchedule NoExecute"))
			bad_choice(c, &PATH(&item, "effect"), effect, "NoSchedule PreferNoSchedule NoExecute");
	}
}

/* ---- topology spread */
static void check_spread_keys(struct check *c, const struct path *at, const struct json *keys, const struct json *selector)
{
	if (!json_count(keys))
		return;
	if (!selector)
		bad_forbidden(c, at, "must not be specified when labelSelector is not set");
	JSON_EACH_INDEX(keys, key, i) {
		struct span k = json_span(key);
		bool there = json_get(member(selector, "matchLabels"), k);
		JSON_EACH_ITEM(member(selector, "matchExpressions"), e)
			there |= span_eq(member_text(e, "key"), k);
		check_name(c, &PATH_INDEX(at, i), k, api_name_qualified);
		if (there)
			bad_string(c, &PATH_INDEX(at, i), k, "exists in both matchLabelKeys and labelSelector");
	}
}

void check_pod_spread(struct pod_view *v, const struct path *at, const struct json *constraints)
{
	struct check *c = v->c;
	JSON_EACH_INDEX(constraints, one, i) {
		const struct path item = PATH_INDEX(at, i);
		struct span key = member_text(one, "topologyKey"), action = member_text(one, "whenUnsatisfiable");
		const struct json *domains = member(one, "minDomains");
		if (member_int(one, "maxSkew") <= 0)
			bad_int(c, &PATH(&item, "maxSkew"), member_int(one, "maxSkew"), "must be greater than zero");
		if (!key.len)
			bad_required(c, &PATH(&item, "topologyKey"), "can not be empty");
		if (!check_one_of(action, "DoNotSchedule ScheduleAnyway"))
			bad_choice(c, &PATH(&item, "whenUnsatisfiable"), action, "DoNotSchedule ScheduleAnyway");
		for (uint32_t k = i + 1; k < constraints->n; k++) {
			const struct json *other = &constraints->items[k];
			if (!span_eq(member_text(other, "topologyKey"), key) ||
			    !span_eq(member_text(other, "whenUnsatisfiable"), action))
				continue;
			bad_duplicate_string(c, &PATH(&item, "{topologyKey, whenUnsatisfiable}"),
					     arena_printf(c->arena, "{%.*s, %.*s}", SPAN_ARG(key), SPAN_ARG(action)));
			break;
		}
		check_positive(c, &PATH(&item, "minDomains"), domains);
		if (domains && !span_is(action, "DoNotSchedule"))
			bad_value(c, &PATH(&item, "minDomains"), domains,
				  "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not %.*s", SPAN_ARG(action));
		check_choice(c, &PATH(&item, "nodeAffinityPolicy"), member(one, "nodeAffinityPolicy"), "Honor Ignore");
		check_choice(c, &PATH(&item, "nodeTaintsPolicy"), member(one, "nodeTaintsPolicy"), "Honor Ignore");
		check_spread_keys(c, &PATH(&item, "matchLabelKeys"), member(one, "matchLabelKeys"), member(one, "labelSelector"));
		if (!v->opts->lax_spread_selector)
			check_label_selector(c, &PATH(&item, "labelSelector"), member(one, "labelSelector"), false);
	}
}
