/* Endpoints and EndpointSlice. */
#include "strategy/check.h"

#define PORT_PROTOCOLS "SCTP TCP UDP"

/* ---- Endpoints */
static void default_endpoints(struct arena *a, struct json *object)
{
	JSON_EACH_ITEM(member(object, "subsets"), subset)
		JSON_EACH_ITEM(member(subset, "ports"), port)
			default_string(a, port, "protocol", "TCP");
}

static bool was_ip(const struct json *old, struct span ip)
{
	JSON_EACH_ITEM(member(old, "subsets"), subset) {
		JSON_EACH_ITEM(member(subset, "addresses"), address)
			if (span_eq(member_text(address, "ip"), ip))
				return true;
		JSON_EACH_ITEM(member(subset, "notReadyAddresses"), address)
			if (span_eq(member_text(address, "ip"), ip))
				return true;
	}
	return false;
}

static void check_addresses(struct check *c, const struct path *at, const struct json *list, const struct json *old)
{
	JSON_EACH_INDEX(list, address, i) {
		const struct path item = PATH_INDEX(at, i);
		struct span ip = member_text(address, "ip"), host = member_text(address, "hostname");
		if (!was_ip(old, ip))
			check_ip(c, &PATH(&item, "ip"), ip, API_IP_LEGACY);
		if (host.len)
			check_name(c, &PATH(&item, "hostname"), host, api_name_dns1123_label);
		if (member(address, "nodeName"))
			check_name(c, &PATH(&item, "nodeName"), member_text(address, "nodeName"), api_name_dns1123_subdomain);
		check_non_special_ip(c, &PATH(&item, "ip"), ip);
	}
}

static void check_endpoint_port(struct check *c, const struct path *at, const struct json *port, bool named)
{
	struct span name = member_text(port, "name"), protocol = member_text(port, "protocol");
	if (named && !name.len)
		bad_required(c, &PATH(at, "name"), "");
	else if (name.len)
		check_name(c, &PATH(at, "name"), name, api_name_dns1123_label);
	check_port(c, &PATH(at, "port"), member_int(port, "port"));
	if (!protocol.len)
		bad_required(c, &PATH(at, "protocol"), "");
	else if (!check_one_of(protocol, PORT_PROTOCOLS))
		bad_choice(c, &PATH(at, "protocol"), protocol, PORT_PROTOCOLS);
	if (member(port, "appProtocol"))
		check_name(c, &PATH(at, "appProtocol"), member_text(port, "appProtocol"), api_name_qualified);
}

static void check_endpoints(struct check *c, const struct json *object, const struct json *old)
{
	if (old)
		check_meta_update(c, object, old, META_CORE);
	check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
	const struct path list = PATH(PATH_ROOT, "subsets");
	JSON_EACH_INDEX(member(object, "subsets"), subset, i) {
		const struct path at = PATH_INDEX(&list, i);
		const struct json *ready = member(subset, "addresses"), *waiting = member(subset, "notReadyAddresses");
		const struct json *ports = member(subset, "ports");
		if (!json_count(ready) && !json_count(waiting))
			bad_required(c, &at, "must specify `addresses` or `notReadyAddresses`");
		check_addresses(c, &PATH(&at, "addresses"), ready, old);
		check_addresses(c, &PATH(&at, "notReadyAddresses"), waiting, old);
		JSON_EACH_INDEX(ports, port, k)
			check_endpoint_port(c, &PATH_INDEX(&PATH(&at, "ports"), k), port, ports->n > 1);
	}
}

static void warn_endpoints(struct check *c, const struct json *object, const struct json *old)
{
	static const char *const lists[] = { "addresses", "notReadyAddresses" };
	const struct path at = PATH(PATH_ROOT, "subsets");
	JSON_EACH_INDEX(member(object, "subsets"), subset, i)
		for (size_t l = 0; l < ARRAY_LEN(lists); l++)
			JSON_EACH_INDEX(json_get(subset, span_of(lists[l])), address, k)
				strategy_warn_ip(c->s, &PATH(&PATH_INDEX(&PATH_SPAN(&PATH_INDEX(&at, i), span_of(lists[l])), k),
					"ip"),
						 member_text(address, "ip"));
}

const struct strategy_kind strategy_kind_endpoints = {
	.group = "", .kind = "Endpoints", .flags = STRATEGY_CREATE_ON_UPDATE | STRATEGY_UNCONDITIONAL_UPDATE,
	.defaults = default_endpoints, .prepare = prepare_nothing, .check = check_endpoints, .warnings = warn_endpoints,
};

/* ---- EndpointSlice */
static void default_endpoint_slice(struct arena *a, struct json *object)
{
	JSON_EACH_ITEM(member(object, "ports"), port) {
		default_unset(a, port, "name", "");
		default_unset(a, port, "protocol", "TCP");
	}
}

static bool was_node(const struct json *old, struct span node)
{
	JSON_EACH_ITEM(member(old, "endpoints"), endpoint)
		if (span_eq(json_span(json_path(endpoint, "deprecatedTopology", "kubernetes.io/hostname", NULL)), node))
			return true;
	return false;
}

static void prepare_endpoint_slice(struct strategy *s)
{
	bool changed = false;
	static const char *const parts[] = { "addressType", "endpoints", "ports" };
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		changed |= strategy_part_changed(s, parts[i]);
	changed |= s->old && member_changed(member(s->object, "metadata"), member(s->old, "metadata"), "labels");
	strategy_generation(s, changed);
	/* hints for nodes belong to a feature that is off in 1.33: they stay where they were stored */
	bool had_hints = false;
	JSON_EACH_ITEM(member(s->old, "endpoints"), endpoint)
		had_hints |= json_path(endpoint, "hints", "forNodes", NULL) != NULL;
	JSON_EACH_ITEM(member(s->object, "endpoints"), endpoint)
		if (!had_hints && json_path(endpoint, "hints", "forNodes", NULL))
			json_remove(member(endpoint, "hints"), SPAN("forNodes"));
	/* deprecatedTopology is not written through v1: a node's name in it moves to nodeName where it was stored so. */
	if (s->old && !member_changed(s->object, s->old, "endpoints"))
		return;
	JSON_EACH_ITEM(member(s->object, "endpoints"), endpoint) {
		struct span node = json_span(json_path(endpoint, "deprecatedTopology", "kubernetes.io/hostname", NULL));
		if (node.len && !member(endpoint, "nodeName") && was_node(s->old, node) && !api_name_dns1123_subdomain(node, NULL))
			json_setl(s->arena, endpoint, "nodeName", json_str(node));
		json_remove(endpoint, SPAN("deprecatedTopology"));
	}
}

static bool was_address(const struct json *old, struct span ip)
{
	JSON_EACH_ITEM(member(old, "endpoints"), endpoint)
		if (check_list_has(member(endpoint, "addresses"), ip))
			return true;
	return false;
}

static void check_slice_address(struct check *c, const struct path *at, struct span address, struct span type,
	const struct json *old)
{
	bool known = was_address(old, address);
	if (span_is(type, "FQDN")) {
		check_name(c, at, address, api_name_fqdn);
		return;
	}
	unsigned before = c->n;
	if (!known)
		check_ip(c, at, address, API_IP_LEGACY);
	if (span_is(type, "IP"))
		return;
	if (c->n != before)
		return;
	if (span_is(type, "IPv4") && check_is_ipv6(address))
		bad_string(c, at, address, "must be an IPv4 address");
	else if (span_is(type, "IPv6") && !check_is_ipv6(address))
		bad_string(c, at, address, "must be an IPv6 address");
	check_non_special_ip(c, at, address);
}

static void check_zone_hints(struct check *c, const struct path *at, const struct json *hints, const char *list, uint32_t most)
{
	const struct path list_at = PATH_SPAN(at, span_of(list));
	const struct json *items = json_get(hints, span_of(list));
	bool nodes = strcmp(list, "forNodes") == 0;
	if (json_count(items) > most) {
		bad_too_many(c, &list_at, items->n, most);
		return;
	}
	JSON_EACH_INDEX(items, hint, i) {
		const struct path name_at = PATH(&PATH_INDEX(&list_at, i), "name");
		struct span name = member_text(hint, "name");
		for (uint32_t k = 0; k < i; k++)
			if (span_eq(member_text(&items->items[k], "name"), name)) {
				bad_duplicate_string(c, &name_at, name);
				break;
			}
		check_name(c, &name_at, name, nodes ? api_name_dns1123_subdomain : api_name_label_value);
	}
}

static void check_slice_endpoints(struct check *c, const struct json *object, struct span type, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "endpoints");
	const struct json *list = member(object, "endpoints");
	if (json_count(list) > 1000) {
		bad_too_many(c, &at, list->n, 1000);
		return;
	}
	JSON_EACH_INDEX(list, endpoint, i) {
		const struct path item = PATH_INDEX(&at, i), addresses_at = PATH(&item, "addresses");
		const struct json *addresses = member(endpoint, "addresses"), *topology = member(endpoint, "deprecatedTopology");
		if (!json_count(addresses))
			bad_required(c, &addresses_at, "must contain at least 1 address");
		else if (addresses->n > 100)
			bad_too_many(c, &addresses_at, addresses->n, 100);
		if (check_one_of(type, "IP IPv4 IPv6 FQDN"))
			JSON_EACH_INDEX(addresses, address, k)
				check_slice_address(c, &PATH_INDEX(&addresses_at, k), json_span(address), type, old);
		if (member(endpoint, "nodeName"))
			check_name(c, &PATH(&item, "nodeName"), member_text(endpoint, "nodeName"), api_name_dns1123_subdomain);
		if (json_count(topology) > 16)
			bad_too_many(c, &PATH(&item, "deprecatedTopology"), topology->n, 16);
		check_labels(c, &PATH(&item, "deprecatedTopology"), topology);
		if (member(endpoint, "hostname"))
			check_name(c, &PATH(&item, "hostname"), member_text(endpoint, "hostname"), api_name_dns1123_label);
		if (member(endpoint, "hints")) {
			check_zone_hints(c, &PATH(&item, "hints"), member(endpoint, "hints"), "forZones", 8);
			check_zone_hints(c, &PATH(&item, "hints"), member(endpoint, "hints"), "forNodes", 8);
		}
	}
}

static void check_slice_ports(struct check *c, const struct json *ports)
{
	const struct path at = PATH(PATH_ROOT, "ports");
	if (json_count(ports) > 20000) {
		bad_too_many(c, &at, ports->n, 20000);
		return;
	}
	auto_map struct map seen = {};
	JSON_EACH_INDEX(ports, port, i) {
		const struct path item = PATH_INDEX(&at, i);
		struct span name = member_text(port, "name");
		if (name.len)
			check_name(c, &PATH(&item, "name"), name, api_name_dns1123_label);
		if (map_put(&seen, name, port))
			bad_duplicate_string(c, &PATH(&item, "name"), name);
		if (!member(port, "protocol"))
			bad_required(c, &PATH(&item, "protocol"), "");
		check_choice(c, &PATH(&item, "protocol"), member(port, "protocol"), PORT_PROTOCOLS);
		if (member(port, "appProtocol"))
			check_name(c, &PATH(&item, "appProtocol"), member_text(port, "appProtocol"), api_name_qualified);
	}
}

static void check_endpoint_slice(struct check *c, const struct json *object, const struct json *old)
{
	struct span type = member_text(object, "addressType");
	const char *types = old ? "FQDN IP IPv4 IPv6" : "FQDN IPv4 IPv6";
	check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
	if (!type.len)
		bad_required(c, &PATH(PATH_ROOT, "addressType"), "");
	else if (!check_one_of(type, types))
		bad_choice(c, &PATH(PATH_ROOT, "addressType"), type, types);
	check_slice_endpoints(c, object, type, old);
	check_slice_ports(c, member(object, "ports"));
	if (old)
		check_immutable(c, &PATH(PATH_ROOT, "addressType"), "", member(object, "addressType"), member(old, "addressType"));
}

static void warn_endpoint_slice(struct check *c, const struct json *object, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "endpoints");
	struct span type = member_text(object, "addressType");
	if (span_is(type, "FQDN") && !old)
		strategy_warn(c->s, "spec.addressType: FQDN endpoints are deprecated");
	if (!check_one_of(type, "IPv4 IPv6"))
		return;
	JSON_EACH_INDEX(member(object, "endpoints"), endpoint, i)
		JSON_EACH_INDEX(member(endpoint, "addresses"), address, k)
			strategy_warn_ip(c->s, &PATH_INDEX(&PATH(&PATH_INDEX(&at, i), "addresses"), k), json_span(address));
}

const struct strategy_kind strategy_kind_endpoint_slice = {
	.group = "discovery.k8s.io", .kind = "EndpointSlice", .flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_HAS_GENERATION,
	.defaults = default_endpoint_slice, .prepare = prepare_endpoint_slice, .check = check_endpoint_slice,
	.warnings = warn_endpoint_slice,
};
