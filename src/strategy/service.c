/* Service: defaults, what an update keeps, validation. Addresses and node ports are given by the server between prepare and
 * validate; what is here depends on the two objects alone. */
#include "strategy/check.h"

#define PORT_PROTOCOLS "SCTP TCP UDP"

static const struct json *spec_of(const struct json *service)
{
	return member(service, "spec");
}

static bool type_is(const struct json *service, const char *types)
{
	return check_one_of(member_text(spec_of(service), "type"), types);
}

/* Upstream's needsClusterIP: every type but one, known or not. What a change to a type that does not exist did to addresses would
 * else be complained about beside the type itself. */
static bool needs_ip(const struct json *service)
{
	return !type_is(service, "ExternalName");
}

static bool is_headless(const struct json *service)
{
	const struct json *ips = member(spec_of(service), "clusterIPs");
	return json_count(ips) == 1 && span_is(json_span(&ips->items[0]), "None");
}

static bool needs_node_port(const struct json *service)
{
	return type_is(service, "NodePort") ||
	       (type_is(service, "LoadBalancer") && json_truth(member(spec_of(service), "allocateLoadBalancerNodePorts"), true));
}

static bool needs_health_port(const struct json *service)
{
	return type_is(service, "LoadBalancer") && span_is(member_text(spec_of(service), "externalTrafficPolicy"), "Local");
}

/* Reached from outside: node ports, load balancers, external addresses. */
static bool is_external(const struct json *service)
{
	return type_is(service, "LoadBalancer NodePort") ||
	       (type_is(service, "ClusterIP") && json_count(member(spec_of(service), "externalIPs")));
}

/* ---- defaults */
static void default_affinity(struct arena *a, struct json *spec)
{
	default_string(a, spec, "sessionAffinity", "None");
	if (span_is(member_text(spec, "sessionAffinity"), "None"))
		json_remove(spec, SPAN("sessionAffinityConfig"));
	if (!span_is(member_text(spec, "sessionAffinity"), "ClientIP"))
		return;
	struct json *config = default_object(a, spec, "sessionAffinityConfig");
	default_int(a, default_object(a, config, "clientIP"), "timeoutSeconds", 10800);
}

static void default_service(struct arena *a, struct json *object)
{
	struct json *spec = default_object(a, object, "spec");
	default_affinity(a, spec);
	default_string(a, spec, "type", "ClusterIP");
	JSON_EACH_ITEM(member(spec, "ports"), port) {
		default_string(a, port, "protocol", "TCP");
		const struct json *target = member(port, "targetPort");
		bool unset = !target || (json_is(target, JSON_INT) && !target->i) || (json_is(target, JSON_STRING) && !target->n);
		if (unset)
			json_setl(a, port, "targetPort", json_int(member_int(port, "port")));
	}
	if (is_external(object))
		default_string(a, spec, "externalTrafficPolicy", "Cluster");
	if (type_is(object, "NodePort LoadBalancer ClusterIP"))
		default_unset(a, spec, "internalTrafficPolicy", "Cluster");
	if (!type_is(object, "LoadBalancer"))
		return;
	default_bool(a, spec, "allocateLoadBalancerNodePorts", true);
	JSON_EACH_ITEM(json_path(object, "status", "loadBalancer", "ingress", NULL), ingress)
		if (member_text(ingress, "ip").len)
			default_unset(a, ingress, "ipMode", "VIP");
}

/* ---- prepare */
static bool same(struct strategy *s, const char *name)
{
	return !member_changed(spec_of(s->object), spec_of(s->old), name);
}

static bool port_in(const struct json *ports, int64_t node_port)
{
	JSON_EACH_ITEM(ports, p)
		if (member_int(p, "nodePort") == node_port)
			return true;
	return false;
}

/* Node ports that the client left out, by the names of the ports, unless it gives the number to another one. */
static void patch_node_ports(struct strategy *s)
{
	const struct json *old_ports = member(spec_of(s->old), "ports");
	struct json *ports = member(spec_of(s->object), "ports");
	auto_arena struct arena a = {};
	struct json before = ports ? json_copy(&a, ports) : json_array();
	JSON_EACH_ITEM(ports, p) {
		if (member_int(p, "nodePort"))
			continue;
		int64_t was = 0;
		JSON_EACH_ITEM(old_ports, q)
			if (span_eq(member_text(p, "name"), member_text(q, "name")))
				was = member_int(q, "nodePort");
		if (was && !port_in(&before, was))
			json_setl(s->arena, p, "nodePort", json_int(was));
	}
}

/* What a client that does not know the values of the server leaves out stays as it was. */
static void patch_allocated(struct strategy *s)
{
	if (needs_ip(s->old) && needs_ip(s->object)) {
		if (!member_text(spec_of(s->object), "clusterIP").len)
			strategy_keep_in(s, "spec", "clusterIP");
		if (!json_count(member(spec_of(s->object), "clusterIPs")) && same(s, "clusterIP"))
			strategy_keep_in(s, "spec", "clusterIPs");
	}
	if (needs_node_port(s->old) && needs_node_port(s->object))
		patch_node_ports(s);
	if (needs_health_port(s->old) && needs_health_port(s->object) && !member_int(spec_of(s->object), "healthCheckNodePort"))
		strategy_keep_in(s, "spec", "healthCheckNodePort");
}

static void ips_from_ip(struct strategy *s)
{
	struct json *spec = member(s->object, "spec");
	struct json *list = json_setl(s->arena, spec, "clusterIPs", json_array());
	json_push(s->arena, list, json_str(member_text(spec, "clusterIP")));
}

/* clusterIP and clusterIPs say the same, whichever of them the client knows. */
static void sync_cluster_ips(struct strategy *s)
{
	const struct json *spec = spec_of(s->object);
	struct span ip = member_text(spec, "clusterIP");
	if (!s->old) {
		if (ip.len && !json_count(member(spec, "clusterIPs")))
			ips_from_ip(s);
		return;
	}
	struct span was = member_text(spec_of(s->old), "clusterIP");
	if (json_count(member(spec_of(s->old), "clusterIPs")) && !json_count(member(spec, "clusterIPs")) && span_eq(ip, was))
		strategy_keep_in(s, "spec", "clusterIPs");
	if (span_eq(ip, was) || !same(s, "clusterIPs"))
		return;
	if (was.len && !ip.len)
		strategy_drop_in(s, "spec", "clusterIPs");
	else
		ips_from_ip(s);
}

static bool same_node_ports(struct strategy *s)
{
	const struct json *now = member(spec_of(s->object), "ports"), *was = member(spec_of(s->old), "ports");
	JSON_EACH_ITEM(now, p)
		if (member_int(p, "nodePort") && !port_in(was, member_int(p, "nodePort")))
			return false;
	JSON_EACH_ITEM(was, p)
		if (member_int(p, "nodePort") && !port_in(now, member_int(p, "nodePort")))
			return false;
	return true;
}

static void drop_if_same(struct strategy *s, const char *name)
{
	if (same(s, name))
		strategy_drop_in(s, "spec", name);
}

/* A change of type takes along what only the old type needed, unless the client changed it too. */
static void drop_by_type(struct strategy *s)
{
	if (needs_ip(s->old) && !needs_ip(s->object)) {
		if (same(s, "clusterIPs")) {
			strategy_drop_in(s, "spec", "clusterIP");
			strategy_drop_in(s, "spec", "clusterIPs");
		}
		drop_if_same(s, "ipFamilies");
		drop_if_same(s, "ipFamilyPolicy");
	}
	if (needs_node_port(s->old) && !needs_node_port(s->object) && same_node_ports(s))
		JSON_EACH_ITEM(member(spec_of(s->object), "ports"), p)
			json_remove(p, SPAN("nodePort"));
	if (needs_health_port(s->old) && !needs_health_port(s->object))
		drop_if_same(s, "healthCheckNodePort");
	if (type_is(s->old, "LoadBalancer") && !type_is(s->object, "LoadBalancer")) {
		drop_if_same(s, "allocateLoadBalancerNodePorts");
		drop_if_same(s, "loadBalancerClass");
	}
	if (is_external(s->old) && !is_external(s->object))
		drop_if_same(s, "externalTrafficPolicy");
	/* Taking a load balancer down takes its time; nobody has to see that of a Service that is none any more. */
	if (!type_is(s->object, "LoadBalancer") && member(s->object, "status"))
		json_setl(s->arena, json_getl(s->object, "status"), "loadBalancer", json_object());
}

static void prepare_service(struct strategy *s)
{
	prepare_status(s);
	if (s->old)
		patch_allocated(s);
	sync_cluster_ips(s);
	if (s->old)
		drop_by_type(s);
}

/* ---- validation */
static void check_service_port(struct check *c, const struct path *at, const struct json *ports, uint32_t i)
{
	const struct json *port = &ports->items[i];
	struct span name = member_text(port, "name"), protocol = member_text(port, "protocol");
	if (!name.len && ports->n > 1)
		bad_required(c, &PATH(at, "name"), "");
	if (name.len) {
		check_name(c, &PATH(at, "name"), name, api_name_dns1123_label);
		for (uint32_t k = 0; k < i; k++)
			if (span_eq(member_text(&ports->items[k], "name"), name)) {
				bad_duplicate_string(c, &PATH(at, "name"), name);
				break;
			}
	}
	check_port(c, &PATH(at, "port"), member_int(port, "port"));
	if (!protocol.len)
		bad_required(c, &PATH(at, "protocol"), "");
	else if (!check_one_of(protocol, PORT_PROTOCOLS))
		bad_choice(c, &PATH(at, "protocol"), protocol, PORT_PROTOCOLS);
	check_port_number_or_name(c, &PATH(at, "targetPort"), member(port, "targetPort"));
	if (member(port, "appProtocol"))
		check_name(c, &PATH(at, "appProtocol"), member_text(port, "appProtocol"), api_name_qualified);
}

static void check_affinity(struct check *c, const struct path *at, const struct json *spec)
{
	struct span affinity = member_text(spec, "sessionAffinity");
	const struct json *config = member(spec, "sessionAffinityConfig");
	const struct path config_at = PATH(at, "sessionAffinityConfig");
	if (!affinity.len)
		bad_required(c, &PATH(at, "sessionAffinity"), "");
	else if (!check_one_of(affinity, "ClientIP None"))
		bad_choice(c, &PATH(at, "sessionAffinity"), affinity, "ClientIP None");
	if (span_is(affinity, "None") && config)
		bad_forbidden(c, &config_at, "must not be set when session affinity is None");
	if (!span_is(affinity, "ClientIP"))
		return;
	const struct json *client = member(config, "clientIP"), *seconds = member(client, "timeoutSeconds");
	if (!config) {
		bad_required(c, &config_at, "when session affinity type is ClientIP");
	} else if (!client) {
		bad_required(c, &PATH(&config_at, "clientIP"), "when session affinity type is ClientIP");
	} else if (!seconds) {
		bad_required(c, &PATH(&PATH(&config_at, "clientIP"), "timeoutSeconds"), "when session affinity type is ClientIP");
	} else if (json_i64(seconds, 0) <= 0 || json_i64(seconds, 0) > 86400) {
		bad_value(c, &PATH(&PATH(&config_at, "clientIP"), "timeoutSeconds"), seconds,
			  "must be greater than 0 and less than 86400");
	}
}

static void bad_ips(struct check *c, const struct path *at, const struct json *ips, const char *why)
{
	bad_typed(c, at, "[]string", ips, "%s", why);
}

/* The first of each family, at most; clusterIPs against ipFamilies. */
static void check_ip_families(struct check *c, const struct path *ips_at, const struct json *service)
{
	const struct json *ips = member(spec_of(service), "clusterIPs"), *families = member(spec_of(service), "ipFamilies");
	if (json_count(ips) > 1) {
		bool four = false, six = false;
		JSON_EACH_ITEM(ips, ip)
			*(check_is_ipv6(json_span(ip)) ? &six : &four) = true;
		if (!four || !six)
			bad_ips(c, ips_at, ips, "may specify no more than one IP for each IP family");
	}
	if (is_headless(service))
		return;
	JSON_EACH_INDEX(ips, ip, i) {
		if (i >= json_count(families))
			break;
		struct span family = json_span(&families->items[i]);
		bool six = check_is_ipv6(json_span(ip));
		if ((span_is(family, "IPv4") && six) || (span_is(family, "IPv6") && !six))
			bad_string(c, &PATH_INDEX(ips_at, i), json_span(ip),
				   "expected an IPv%d value as indicated by `ipFamilies[%u]`", six ? 4 : 6, i);
	}
}

static void check_cluster_ips(struct check *c, const struct path *at, const struct json *service, const struct json *old)
{
	const struct json *spec = spec_of(service), *ips = member(spec, "clusterIPs"), *families = member(spec, "ipFamilies");
	const struct path ips_at = PATH(at, "clusterIPs"), families_at = PATH(at, "ipFamilies");
	struct span ip = member_text(spec, "clusterIP");
	bool bad_ip = false;
	if (type_is(service, "ExternalName"))
		return;
	if (ip.len && !json_count(ips))
		bad_required(c, &ips_at, "");
	else if (ip.len && !span_eq(json_span(&ips->items[0]), ip))
		bad_ips(c, &ips_at, ips, "first value must match `clusterIP`");
	else if (!ip.len && json_count(ips))
		bad_ips(c, &ips_at, ips, "must be empty when `clusterIP` is not specified");
	JSON_EACH_INDEX(families, family, i) {
		struct span name = json_span(family);
		if (!check_one_of(name, "IPv4 IPv6"))
			bad_choice(c, &PATH_INDEX(&families_at, i), name, "IPv4 IPv6");
		for (uint32_t k = 0; k < i; k++)
			if (span_eq(json_span(&families->items[k]), name)) {
				bad_duplicate_string(c, &PATH_INDEX(&families_at, i), name);
				break;
			}
	}
	check_choice(c, &PATH(at, "ipFamilyPolicy"), member(spec, "ipFamilyPolicy"),
		"PreferDualStack RequireDualStack SingleStack");
	JSON_EACH_INDEX(ips, item, i) {
		if (i == 0 && span_is(json_span(item), "None")) {
			if (ips->n > 1) {
				bad_ip = true;
				bad_ips(c, &ips_at, ips, "'None' must be the first and only value");
			}
			continue;
		}
		if (check_list_has(member(spec_of(old), "clusterIPs"), json_span(item)))
			continue;
		unsigned before = c->n;
		check_ip(c, &PATH_INDEX(&ips_at, i), json_span(item), API_IP_LEGACY);
		bad_ip |= c->n != before;
	}
	if (json_count(ips) > 2)
		bad_ips(c, &ips_at, ips, "may only hold up to 2 values");
	if (!bad_ip)
		check_ip_families(c, &ips_at, service);
}

/* Duplicates among the (protocol, port) pairs, and among the (protocol, nodePort) pairs. */
static void check_port_pairs(struct check *c, const struct path *ports_at, const struct json *ports)
{
	JSON_EACH_INDEX(ports, p, i)
		for (uint32_t k = 0; k < i && member_int(p, "nodePort"); k++)
			if (member_int(&ports->items[k], "nodePort") == member_int(p, "nodePort") &&
			    span_eq(member_text(&ports->items[k], "protocol"), member_text(p, "protocol"))) {
				bad_duplicate(c, &PATH(&PATH_INDEX(ports_at, i), "nodePort"), member(p, "nodePort"));
				break;
			}
	JSON_EACH_INDEX(ports, p, i)
		for (uint32_t k = 0; k < i; k++) {
			if (member_int(&ports->items[k], "port") != member_int(p, "port") ||
			    !span_eq(member_text(&ports->items[k], "protocol"), member_text(p, "protocol")))
				continue;
			auto_buf struct buf key = {}, protocol = {};
			api_go_quote(&protocol, member_text(p, "protocol"));
			buf_printf(&key, "core.ServicePort{Name:\"\", Protocol:%s, AppProtocol:(*string)(nil), Port:%d, "
					 "TargetPort:intstr.IntOrString{Type:0, IntVal:0, StrVal:\"\"}, NodePort:0}",
				   buf_cstr(&protocol), (int)member_int(p, "port"));
			struct json raw = { .kind = JSON_RAW, .n = (uint32_t)key.len, .str = buf_cstr(&key) };
			bad_duplicate(c, &PATH_INDEX(ports_at, i), &raw);
			break;
		}
}

#define LB_ONLY "may only be used when `type` is 'LoadBalancer'"

static void check_source_ranges(struct check *c, const struct path *at, const struct json *service, const struct json *old)
{
	static const char key[] = "service.beta.kubernetes.io/load-balancer-source-ranges";
	const struct json *ranges = member(spec_of(service), "loadBalancerSourceRanges");
	const struct json *note = json_get(json_path(service, "metadata", "annotations", NULL), span_of(key));
	if (json_count(ranges)) {
		const struct path list = PATH(at, "LoadBalancerSourceRanges"); /* upstream's spelling */
		if (!type_is(service, "LoadBalancer"))
			bad_forbidden(c, &list, LB_ONLY);
		JSON_EACH_INDEX(ranges, r, i)
			if (!check_list_has(member(spec_of(old), "loadBalancerSourceRanges"), json_span(r)))
				check_cidr(c, &PATH_INDEX(&list, i), span_trim(json_span(r)), API_IP_LEGACY);
		return;
	}
	if (!note)
		return;
	const struct path note_at = PATH_KEY(&PATH(&PATH(PATH_ROOT, "metadata"), "annotations"), span_of(key));
	if (!type_is(service, "LoadBalancer"))
		bad_forbidden(c, &note_at, LB_ONLY);
	struct span rest = span_trim(json_span(note)), one;
	bool trailing = rest.len && rest.ptr[rest.len - 1] == ',';
	while (span_cut(&rest, ',', &one))
		check_cidr(c, &note_at, span_trim(one), API_IP_LEGACY);
	if (trailing)
		check_cidr(c, &note_at, SPAN_EMPTY, API_IP_LEGACY);
}

static void check_lb_class(struct check *c, const struct json *service, const struct json *old)
{
	const struct path at = PATH(&PATH(PATH_ROOT, "spec"), "loadBalancerClass");
	const struct json *class = member(spec_of(service), "loadBalancerClass"), *was = member(spec_of(old), "loadBalancerClass");
	bool lb = type_is(service, "LoadBalancer");
	if (old && lb && type_is(old, "LoadBalancer") && !(class && was ? json_equal(class, was) : class == was))
		bad_value(c, &at, class, "may not change once set");
	if (class && lb)
		check_name(c, &at, json_span(class), api_name_qualified);
	else if (class)
		bad_forbidden(c, &at, LB_ONLY);
}

static void check_traffic(struct check *c, const struct path *at, const struct json *service)
{
	const struct json *spec = spec_of(service), *health = member(spec, "healthCheckNodePort");
	struct span policy = member_text(spec, "externalTrafficPolicy");
	const struct path policy_at = PATH(at, "externalTrafficPolicy"), health_at = PATH(at, "healthCheckNodePort");
	if (!is_external(service)) {
		if (policy.len)
			bad_string(c, &policy_at, policy, "may only be set for externally-accessible services");
	} else if (!policy.len) {
		bad_required(c, &policy_at, "");
	} else if (!check_one_of(policy, "Cluster Local")) {
		bad_choice(c, &policy_at, policy, "Cluster Local");
	}
	if (!needs_health_port(service)) {
		if (json_i64(health, 0))
			bad_value(c, &health_at, health,
				  "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
	} else if (!json_i64(health, 0)) {
		bad_required(c, &health_at, "");
	} else {
		check_port(c, &health_at, json_i64(health, 0));
	}
	const struct json *internal = member(spec, "internalTrafficPolicy");
	if (!internal && type_is(service, "NodePort LoadBalancer ClusterIP"))
		bad_required(c, &PATH(at, "internalTrafficPolicy"), "");
	check_choice(c, &PATH(at, "internalTrafficPolicy"), internal, "Cluster Local");
	check_choice(c, &PATH(at, "trafficDistribution"), member(spec, "trafficDistribution"), "PreferClose");
}

static void check_by_type(struct check *c, const struct path *at, const struct json *service)
{
	const struct json *spec = spec_of(service);
	struct span type = member_text(spec, "type");
	if (check_one_of(type, "LoadBalancer NodePort") && is_headless(service))
		bad_string(c, &PATH_INDEX(&PATH(at, "clusterIPs"), 0), SPAN("None"), "may not be set to 'None' for %.*s services",
			   SPAN_ARG(type));
	if (!span_is(type, "ExternalName"))
		return;
	static const char why[] = "may not be set for ExternalName services";
	if (json_count(member(spec, "clusterIPs")))
		bad_forbidden(c, &PATH(at, "clusterIPs"), why);
	if (json_count(member(spec, "ipFamilies")))
		bad_forbidden(c, &PATH(at, "ipFamilies"), why);
	if (member(spec, "ipFamilyPolicy"))
		bad_forbidden(c, &PATH(at, "ipFamilyPolicy"), why);
	struct span name = member_text(spec, "externalName");
	if (name.len && name.ptr[name.len - 1] == '.')
		name.len--;
	if (name.len)
		check_name(c, &PATH(at, "externalName"), name, api_name_dns1123_subdomain);
	else
		bad_required(c, &PATH(at, "externalName"), "");
}

static void check_service_whole(struct check *c, const struct json *service, const struct json *old)
{
	const struct json *spec = spec_of(service), *ports = member(spec, "ports");
	const struct json *notes = json_path(service, "metadata", "annotations", NULL);
	const struct path at = PATH(PATH_ROOT, "spec"), ports_at = PATH(&at, "ports");
	struct span type = member_text(spec, "type");
	check_meta(c, service, META_CORE, api_name_dns1035_label);
	const struct json *hints = member(notes, "service.kubernetes.io/topology-aware-hints");
	const struct json *mode = member(notes, "service.kubernetes.io/topology-mode");
	if (hints && mode && !json_equal(hints, mode))
		bad_value(c, &PATH_KEY(&PATH(&PATH(PATH_ROOT, "metadata"), "annotations"),
			SPAN("service.kubernetes.io/topology-mode")),
			  mode, "must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified");
	if (!json_count(ports) && !is_headless(service) && !span_is(type, "ExternalName"))
		bad_required(c, &ports_at, "");
	check_by_type(c, &at, service);
	JSON_EACH_INDEX(ports, p, i)
		check_service_port(c, &PATH_INDEX(&ports_at, i), ports, i);
	check_labels(c, &PATH(&at, "selector"), member(spec, "selector"));
	check_affinity(c, &at, spec);
	JSON_EACH_INDEX(member(spec, "externalIPs"), ip, i) {
		const struct path item = PATH_INDEX(&PATH(&at, "externalIPs"), i);
		unsigned before = c->n;
		if (!check_list_has(member(spec_of(old), "externalIPs"), json_span(ip)))
			check_ip(c, &item, json_span(ip), API_IP_LEGACY);
		if (c->n == before)
			check_non_special_ip(c, &item, json_span(ip));
	}
	if (!type.len)
		bad_required(c, &PATH(&at, "type"), "");
	else if (!check_one_of(type, "ClusterIP ExternalName LoadBalancer NodePort"))
		bad_choice(c, &PATH(&at, "type"), type, "ClusterIP ExternalName LoadBalancer NodePort");
	if (span_is(type, "ClusterIP"))
		JSON_EACH_INDEX(ports, p, i)
			if (member_int(p, "nodePort"))
				bad_forbidden(c, &PATH(&PATH_INDEX(&ports_at, i), "nodePort"),
					      "may not be used when `type` is 'ClusterIP'");
	check_port_pairs(c, &ports_at, ports);
	check_source_ranges(c, &at, service, old);
	if (member(spec, "allocateLoadBalancerNodePorts") && !span_is(type, "LoadBalancer"))
		bad_forbidden(c, &PATH(&at, "allocateLoadBalancerNodePorts"), LB_ONLY);
	if (span_is(type, "LoadBalancer") && !member(spec, "allocateLoadBalancerNodePorts"))
		bad_required(c, &PATH(PATH_ROOT, "allocateLoadBalancerNodePorts"), "");
	check_lb_class(c, service, NULL);
	check_traffic(c, &at, service);
}

/* A list that may grow by a second entry and lose it again, but whose first stays. noun: "clusterIP", "ipFamily". */
static void check_primary(struct check *c, const struct json *service, const struct json *old, const char *list, const char *noun)
{
	bool families = strcmp(noun, "ipFamily") == 0;
	const struct json *now = json_get(spec_of(service), span_of(list)), *was = json_get(spec_of(old), span_of(list));
	const struct json *ips = member(spec_of(service), "clusterIPs"), *policy = member(spec_of(service), "ipFamilyPolicy");
	const struct path spec_at = PATH(PATH_ROOT, "spec"), at = PATH_SPAN(&spec_at, span_of(list));
	const char *go = families ? "[]core/v1.IPFamily" : "[]string";
	uint32_t n = json_count(now), m = json_count(was);
	bool moved = n && m && !json_equal(&now->items[0], &was->items[0]);
	if (n == m) {
		JSON_EACH_INDEX(was, item, i)
			if (!json_equal(item, &now->items[i]))
				bad_typed(c, &PATH_INDEX(&at, families ? 0 : i), go, now, "may not change once set");
		return;
	}
	if (m > n && !json_count(ips))
		bad_typed(c, &PATH_INDEX(&at, 0), go, now, "primary %s can not be unset", noun);
	if (moved)
		bad_typed(c, &PATH_INDEX(&at, 0), "[]string", ips, "may not change once set");
	if (m > n && n == 1 && !span_is(json_span(policy), "SingleStack"))
		bad_value(c, &PATH(&spec_at, "ipFamilyPolicy"), policy,
			  "must be set to 'SingleStack' when releasing the secondary %s", noun);
}

static void check_service(struct check *c, const struct json *service, const struct json *old)
{
	/* Upstream gives addresses before it validates, and looks at what it needs for that: what is wrong there is all that is
	 * told. */
	check_cluster_ips(c, &PATH(PATH_ROOT, "spec"), service, old);
	if (c->n)
		return;
	if (old) {
		bool external = type_is(service, "ExternalName") || type_is(old, "ExternalName");
		bool headless = is_headless(service), was_headless = is_headless(old);
		check_meta_update(c, service, old, META_CORE);
		if (!external && !(headless && was_headless))
			check_primary(c, service, old, "clusterIPs", "clusterIP");
		if (!external && !headless && !was_headless)
			check_primary(c, service, old, "ipFamilies", "ipFamily");
		check_lb_class(c, service, old);
		if (needs_health_port(old) && needs_health_port(service) &&
		    member_changed(spec_of(service), spec_of(old), "healthCheckNodePort"))
			bad_forbidden(c, &PATH(&PATH(PATH_ROOT, "spec"), "healthCheckNodePort"), "field is immutable");
	}
	check_service_whole(c, service, old);
}

static void check_service_status(struct check *c, const struct json *service, const struct json *old)
{
	check_meta_update(c, service, old, META_CORE);
	const struct path at = PATH(&PATH(&PATH(PATH_ROOT, "status"), "loadBalancer"), "ingress");
	const struct json *list = json_path(service, "status", "loadBalancer", "ingress", NULL);
	const struct json *was = json_path(old, "status", "loadBalancer", "ingress", NULL);
	if (!type_is(service, "LoadBalancer")) {
		if (json_count(list))
			bad_forbidden(c, &at, "may only be used when `spec.type` is 'LoadBalancer'");
		return;
	}
	JSON_EACH_INDEX(list, ingress, i) {
		const struct path item = PATH_INDEX(&at, i);
		struct span ip = member_text(ingress, "ip"), host = member_text(ingress, "hostname");
		const struct json *mode = member(ingress, "ipMode");
		bool known = false;
		JSON_EACH_ITEM(was, old_ingress)
			known |= span_eq(member_text(old_ingress, "ip"), ip);
		if (ip.len && !known)
			check_ip(c, &PATH(&item, "ip"), ip, API_IP_LEGACY);
		if (!mode && ip.len)
			bad_required(c, &PATH(&item, "ipMode"), "must be specified when `ip` is set");
		else if (mode && !ip.len)
			bad_forbidden(c, &PATH(&item, "ipMode"), "may not be specified when `ip` is not set");
		else
			check_choice(c, &PATH(&item, "ipMode"), mode, "Proxy VIP");
		if (!host.len)
			continue;
		check_name(c, &PATH(&item, "hostname"), host, api_name_dns1123_subdomain);
		if (check_is_ip(host))
			bad_string(c, &PATH(&item, "hostname"), host, "must be a DNS name, not an IP address");
	}
}

/* ---- warnings */
static void warn_ips(struct strategy *s, const struct path *at, const struct json *ips)
{
	JSON_EACH_INDEX(ips, ip, i)
		strategy_warn_ip(s, &PATH_INDEX(at, i), json_span(ip));
}

static void warn_service(struct check *c, const struct json *service, const struct json *old)
{
	struct strategy *s = c->s;
	const struct json *spec = spec_of(service);
	const struct path at = PATH(PATH_ROOT, "spec");
	struct span ip = member_text(spec, "clusterIP"), lb_ip = member_text(spec, "loadBalancerIP");
	bool headless = type_is(service, "ClusterIP") && span_is(ip, "None"), external = type_is(service, "ExternalName");
	bool more = json_count(member(spec, "externalIPs"));
	if (json_get(json_path(service, "metadata", "annotations", NULL), SPAN("service.kubernetes.io/topology-aware-hints")))
		strategy_warn(s, "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
				 "service.kubernetes.io/topology-mode instead");
	if (ip.len && !span_is(ip, "None"))
		warn_ips(s, &PATH(&at, "clusterIPs"), member(spec, "clusterIPs"));
	if (headless && lb_ip.len)
		strategy_warn(s, "spec.loadBalancerIP is ignored for headless services");
	if (headless && more)
		strategy_warn(s, "spec.externalIPs is ignored for headless services");
	if (headless && !span_is(member_text(spec, "sessionAffinity"), "None"))
		strategy_warn(s, "spec.SessionAffinity is ignored for headless services");
	warn_ips(s, &PATH(&at, "externalIPs"), member(spec, "externalIPs"));
	if (lb_ip.len)
		strategy_warn_ip(s, &PATH(&at, "loadBalancerIP"), lb_ip);
	JSON_EACH_INDEX(member(spec, "loadBalancerSourceRanges"), r, i)
		strategy_warn_cidr(s, &PATH_INDEX(&PATH(&at, "loadBalancerSourceRanges"), i), json_span(r));
	if (external && more)
		strategy_warn(s, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
	if (!external && member_text(spec, "externalName").len)
		strategy_warn(s, "spec.externalName is ignored when spec.type is not \"ExternalName\"");
}

const struct strategy_kind strategy_kind_service = {
	.group = "", .kind = "Service", .flags = STRATEGY_CREATE_ON_UPDATE | STRATEGY_UNCONDITIONAL_UPDATE,
	.defaults = default_service, .prepare = prepare_service, .check = check_service, .warnings = warn_service,
	.subs = { { "status", prepare_status_only, check_service_status } },
};
