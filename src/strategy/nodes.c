/* Node. Its status comes from the kubelet, on create too. */
#include "strategy/check.h"

static void default_node(struct arena *a, struct json *object)
{
	struct json *spec = default_object(a, object, "spec"), *status = member(object, "status");
	struct span cidr = member_text(spec, "podCIDR");
	struct json *cidrs = member(spec, "podCIDRs");
	if (cidr.len && (!json_count(cidrs) || !span_eq(json_span(&cidrs->items[0]), cidr))) {
		cidrs = json_setl(a, spec, "podCIDRs", json_array()); /* podCIDR wins */
		json_push(a, cidrs, json_str(cidr));
	} else if (!cidr.len && json_count(cidrs)) {
		json_setl(a, spec, "podCIDR", cidrs->items[0]);
	}
	if (!status)
		return;
	default_resource_list(a, member(status, "capacity"));
	default_resource_list(a, member(status, "allocatable"));
	if (!member(status, "allocatable") && member(status, "capacity"))
		json_setl(a, status, "allocatable", json_copy(a, member(status, "capacity")));
}

static void prepare_node(struct strategy *s)
{
	if (s->old)
		strategy_keep(s, "status");
}

static void check_taints(struct check *c, const struct path *at, const struct json *taints)
{
	JSON_EACH_INDEX(taints, taint, i) {
		const struct path item = PATH_INDEX(at, i);
		struct span value = member_text(taint, "value"), effect = member_text(taint, "effect"), key = member_text(taint,
			"key");
		struct api_complaints bad;
		check_name(c, &PATH(&item, "key"), key, api_name_qualified);
		if (api_name_label_value(value, &bad)) {
			auto_buf struct buf why = {};
			for (unsigned k = 0; k < bad.n; k++)
				buf_printf(&why, "%s%s", k ? ";" : "", bad.text[k]);
			bad_string(c, &PATH(&item, "value"), value, "%s", buf_cstr(&why));
		}
		if (!effect.len)
			bad_required(c, &PATH(&item, "effect"), "");
		else if (!check_one_of(effect, "NoSchedule PreferNoSchedule NoExecute"))
			bad_choice(c, &PATH(&item, "effect"), effect, "NoSchedule PreferNoSchedule NoExecute");
		for (uint32_t k = 0; k < i; k++) {
			const struct json *other = &taints->items[k];
			if (!span_eq(member_text(other, "key"), key) || !span_eq(member_text(other, "effect"), effect))
				continue;
			bad_duplicate_typed(c, &item, "core/v1.Taint", taint, "taints must be unique by key and effect pair");
			break;
		}
	}
}

static void check_node_resources(struct check *c, const struct json *node)
{
	static const char *const lists[] = { "capacity", "allocatable" };
	const struct path status = PATH(PATH_ROOT, "status");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		const struct path at = PATH_SPAN(&status, span_of(lists[i]));
		JSON_EACH_MEMBER(json_path(node, "status", lists[i], NULL), m)
			check_resource_value(c, &PATH_SPAN(&at, json_key(m)), json_key(m), &m->value);
	}
}

static void check_pod_cidrs(struct check *c, const struct json *cidrs, const struct json *old)
{
	const struct path at = PATH(&PATH(PATH_ROOT, "spec"), "podCIDRs");
	bool four = false, six = false;
	JSON_EACH_INDEX(cidrs, cidr, i) {
		struct span head, tail;
		if (!check_list_has(json_path(old, "spec", "podCIDRs", NULL), json_span(cidr)))
			check_cidr(c, &PATH_INDEX(&at, i), json_span(cidr), API_IP_LEGACY);
		span_split(json_span(cidr), '/', &head, &tail);
		*(check_is_ipv6(head) ? &six : &four) = true;
	}
	if (json_count(cidrs) <= 1)
		return;
	if (!four || !six || cidrs->n > 2)
		bad_typed(c, &at, "[]string", cidrs, "may specify no more than one CIDR for each IP family");
	JSON_EACH_INDEX(cidrs, cidr, i)
		for (uint32_t k = 0; k < i; k++)
			if (json_equal(&cidrs->items[k], cidr)) {
				bad_duplicate(c, &PATH_INDEX(&at, i), cidr);
				break;
			}
}

static void check_config_map_source(struct check *c, const struct path *at, const struct json *map, bool in_status)
{
	struct span uid = member_text(map, "uid"), rv = member_text(map, "resourceVersion");
	if (in_status && !uid.len)
		bad_required(c, &PATH(at, "uid"), "uid must be set in status");
	if (in_status && !rv.len)
		bad_required(c, &PATH(at, "resourceVersion"), "resourceVersion must be set in status");
	if (!in_status && uid.len)
		bad_forbidden(c, &PATH(at, "uid"), "uid must not be set in spec");
	if (!in_status && rv.len)
		bad_forbidden(c, &PATH(at, "resourceVersion"), "resourceVersion must not be set in spec");
	static const struct { const char *name; api_name_fn *rule; const char *missing; } parts[] = {
		{ "namespace", api_name_dns1123_label, "namespace must be set" },
		{ "name", api_name_dns1123_subdomain, "name must be set" },
		{ "kubeletConfigKey", api_name_config_key, "kubeletConfigKey must be set" },
	};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		const struct path part = PATH_SPAN(at, span_of(parts[i].name));
		struct span value = member_text(map, parts[i].name);
		if (!value.len)
			bad_required(c, &part, parts[i].missing);
		else
			check_name(c, &part, value, parts[i].rule);
	}
}

static void check_config_source(struct check *c, const struct path *at, const struct json *source, bool in_status)
{
	const struct json *map = member(source, "configMap");
	if (!source)
		return;
	if (map)
		check_config_map_source(c, &PATH(at, "configMap"), map, in_status);
	else
		bad_typed(c, at, "core/v1.NodeConfigSource", source, "exactly one reference subfield must be non-nil");
}

static void check_node_whole(struct check *c, const struct json *node, const struct json *old)
{
	check_meta(c, node, META_CORE, api_name_dns1123_subdomain);
	check_taints(c, &PATH(&PATH(PATH_ROOT, "metadata"), "taints"), json_path(node, "spec", "taints",
		NULL)); /* upstream's path */
	check_node_resources(c, node);
	check_pod_cidrs(c, json_path(node, "spec", "podCIDRs", NULL), old);
}

static void check_node_update(struct check *c, const struct json *node, const struct json *old)
{
	const struct path spec_at = PATH(PATH_ROOT, "spec"), status_at = PATH(PATH_ROOT, "status");
	const struct json *spec = member(node, "spec"), *was = member(old, "spec");
	const struct json *addresses = json_path(node, "status", "addresses", NULL);
	const struct json *cidrs = member(spec, "podCIDRs"), *old_cidrs = member(was, "podCIDRs");
	check_meta_update(c, node, old, META_CORE);
	check_node_resources(c, node);
	JSON_EACH_INDEX(addresses, address, i)
		for (uint32_t k = 0; k < i; k++)
			if (json_equal(&addresses->items[k], address)) {
				bad_duplicate_typed(c, &PATH_INDEX(&PATH(&status_at, "addresses"), i), "core/v1.NodeAddress",
					address, "");
				break;
			}
	static const char cidr_why[] = "node updates may not change podCIDR except from \"\" to valid";
	if (json_count(old_cidrs) && json_count(old_cidrs) != json_count(cidrs))
		bad_forbidden(c, &PATH(&spec_at, "podCIDRs"), cidr_why);
	else
		JSON_EACH_INDEX(old_cidrs, cidr, i)
			if (!json_equal(cidr, &cidrs->items[i]))
				bad_forbidden(c, &PATH(&spec_at, "podCIDRs"), cidr_why);
	if (member_text(was, "providerID").len && !span_eq(member_text(was, "providerID"), member_text(spec, "providerID")))
		bad_forbidden(c, &PATH(&spec_at, "providerID"), "node updates may not change providerID except from \"\" to valid");
	check_config_source(c, &PATH(&spec_at, "configSource"), member(spec, "configSource"), false);
	const struct json *config = json_path(node, "status", "config", NULL);
	const struct path config_at = PATH(&status_at, "config");
	check_config_source(c, &PATH(&config_at, "assigned"), member(config, "assigned"), true);
	check_config_source(c, &PATH(&config_at, "active"), member(config, "active"), true);
	check_config_source(c, &PATH(&config_at, "lastKnownGood"), member(config, "lastKnownGood"), true);
	check_taints(c, &PATH(&PATH(PATH_ROOT, "metadata"), "taints"), member(spec, "taints"));
	if (!span_eq(member_text(spec, "externalID"), member_text(was, "externalID")))
		bad_forbidden(c, &PATH(&spec_at, "externalID"), "may not be updated");
}

static void check_node(struct check *c, const struct json *node, const struct json *old)
{
	check_node_whole(c, node, old);
	if (old)
		check_node_update(c, node, old);
}

static void prepare_node_status(struct strategy *s)
{
	strategy_keep(s, "spec");
	if (!json_path(s->old, "status", "config", NULL))
		strategy_drop_in(s, "status", "config");
}

static void warn_node(struct check *c, const struct json *node, const struct json *old)
{
	const struct json *spec = member(node, "spec");
	if (member(spec, "configSource"))
		strategy_warn(c->s, "spec.configSource: the feature is removed");
	if (member_text(spec, "externalID").len)
		strategy_warn(c->s, "spec.externalID: this field is deprecated, and is unused by Kubernetes");
}

const struct strategy_kind strategy_kind_node = {
	.group = "", .kind = "Node", .flags = STRATEGY_UNCONDITIONAL_UPDATE, .defaults = default_node, .prepare = prepare_node,
	.check = check_node, .warnings = warn_node, .subs = { { "status", prepare_node_status, check_node_update } },
};
