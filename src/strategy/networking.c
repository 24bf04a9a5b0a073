/* networking.k8s.io: Ingress, IngressClass, NetworkPolicy, IPAddress, ServiceCIDR. */
#include "strategy/check.h"

/* ---- Ingress */
struct ingress_rules {
	bool secrets_lax;  /* old names of secrets that are none */
	bool wildcard_lax; /* old rules behind a wildcard host */
};

static void check_ref(struct check *c, const struct path *at, const struct json *ref)
{
	if (member(ref, "apiGroup"))
		check_name(c, &PATH(at, "apiGroup"), member_text(ref, "apiGroup"), api_name_dns1123_subdomain);
	if (check_present(c, at, ref, "kind"))
		check_name(c, &PATH(at, "kind"), member_text(ref, "kind"), api_name_path_segment);
	if (check_present(c, at, ref, "name"))
		check_name(c, &PATH(at, "name"), member_text(ref, "name"), api_name_path_segment);
}

static void check_backend(struct check *c, const struct path *at, const struct json *backend)
{
	const struct json *resource = member(backend, "resource"), *service = member(backend, "service");
	const struct json *port = member(service, "port");
	const struct path service_at = PATH(at, "service"), port_at = PATH(&service_at, "port");
	struct span port_name = member_text(port, "name");
	int64_t number = member_int(port, "number");
	if (resource && service) {
		bad_string(c, at, SPAN_EMPTY, "cannot set both resource and service backends");
	} else if (resource) {
		check_ref(c, &PATH(at, "resource"), resource);
	} else if (!service) {
		bad_string(c, at, SPAN_EMPTY, "resource or service backend is required");
	} else {
		if (check_present(c, &service_at, service, "name"))
			check_name(c, &PATH(&service_at, "name"), member_text(service, "name"), api_name_dns1035_label);
		if (port_name.len && number)
			bad_string(c, at, SPAN_EMPTY, "cannot set both port name & port number");
		else if (port_name.len)
			check_name(c, &PATH(&port_at, "name"), port_name, api_name_port);
		else if (number)
			check_port(c, &PATH(&port_at, "number"), number);
		else
			bad_required(c, at, "port name or number is required");
	}
}

static void check_http_path(struct check *c, const struct path *at, const struct json *path)
{
	static const char *const sequences[] = { "//", "/./", "/../", "%2f", "%2F" }, *const suffixes[] = { "/..", "/." };
	const struct json *type = member(path, "pathType");
	struct span text = member_text(path, "path");
	const struct path text_at = PATH(at, "path");
	if (!type) {
		bad_required(c, &PATH(at, "pathType"), "pathType must be specified");
		return;
	}
	if (check_one_of(json_span(type), "Exact Prefix")) {
		if (!span_starts(text, SPAN("/")))
			bad_string(c, &text_at, text, "must be an absolute path");
		for (size_t i = 0; i < ARRAY_LEN(sequences); i++)
			if (span_has(text, span_of(sequences[i])))
				bad_string(c, &text_at, text, "must not contain '%s'", sequences[i]);
		for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
			if (span_ends(text, span_of(suffixes[i])))
				bad_string(c, &text_at, text, "cannot end with '%s'", suffixes[i]);
	} else if (span_is(json_span(type), "ImplementationSpecific")) {
		if (text.len && !span_starts(text, SPAN("/")))
			bad_string(c, &text_at, text, "must be an absolute path");
	} else {
		bad_choice(c, &PATH(at, "pathType"), json_span(type), "Exact ImplementationSpecific Prefix");
	}
	check_backend(c, &PATH(at, "backend"), member(path, "backend"));
}

static void check_rule_value(struct check *c, const struct path *at, const struct json *rule)
{
	const struct json *http = member(rule, "http"), *paths = member(http, "paths");
	const struct path paths_at = PATH(&PATH(at, "http"), "paths");
	if (http && !json_count(paths))
		bad_required(c, &paths_at, "");
	JSON_EACH_INDEX(paths, path, i)
		check_http_path(c, &PATH_INDEX(&paths_at, i), path);
}

static void check_host(struct check *c, const struct path *at, struct span host, bool address_too)
{
	if (address_too && check_is_ip(host))
		bad_string(c, at, host, "must be a DNS name, not an IP address");
	check_name(c, at, host, span_chr(host, '*') >= 0 ? api_name_wildcard_subdomain : api_name_dns1123_subdomain);
}

static void check_ingress_spec(struct check *c, const struct json *spec, const struct ingress_rules *lax)
{
	const struct path at = PATH(PATH_ROOT, "spec"), rules_at = PATH(&at, "rules"), tls_at = PATH(&at, "tls");
	const struct json *rules = member(spec, "rules"), *backend = member(spec, "defaultBackend");
	if (!json_count(rules) && !backend)
		bad_typed(c, &at, "[]networking/v1.IngressRule", rules, "either `defaultBackend` or `rules` must be specified");
	if (backend)
		check_backend(c, &PATH(&at, "defaultBackend"), backend);
	JSON_EACH_INDEX(rules, rule, i) {
		const struct path item = PATH_INDEX(&rules_at, i);
		struct span host = member_text(rule, "host");
		if (host.len)
			check_host(c, &PATH(&item, "host"), host, true);
		if (span_chr(host, '*') < 0 || !lax->wildcard_lax)
			check_rule_value(c, &item, rule);
	}
	JSON_EACH_INDEX(member(spec, "tls"), tls, i) {
		const struct path item = PATH_INDEX(&tls_at, i);
		struct span secret = member_text(tls, "secretName");
		JSON_EACH_INDEX(member(tls, "hosts"), host, k)
			check_host(c, &PATH_INDEX(&PATH(&item, "hosts"), k), json_span(host), false);
		if (secret.len && !lax->secrets_lax)
			check_name(c, &PATH(&item, "secretName"), secret, api_name_dns1123_subdomain);
	}
	if (member(spec, "ingressClassName"))
		check_name(c, &PATH(&at, "ingressClassName"), member_text(spec, "ingressClassName"), api_name_dns1123_subdomain);
}

static void check_ingress(struct check *c, const struct json *ingress, const struct json *old)
{
	const struct json *spec = member(ingress, "spec"), *class = member(spec, "ingressClassName");
	struct ingress_rules lax = {};
	if (old) {
		struct check probe = { .s = c->s, .arena = c->arena, .err = ERR_INIT };
		JSON_EACH_ITEM(json_path(old, "spec", "tls", NULL), tls) {
			struct span secret = member_text(tls, "secretName");
			lax.secrets_lax |= secret.len && api_name_dns1123_subdomain(secret, NULL);
		}
		JSON_EACH_ITEM(json_path(old, "spec", "rules", NULL), rule)
			if (span_chr(member_text(rule, "host"), '*') >= 0)
				check_rule_value(&probe, PATH_ROOT, rule);
		lax.wildcard_lax = probe.n;
		err_done(&probe.err);
		check_meta_update(c, ingress, old, META_CORE);
	}
	check_meta(c, ingress, META_CORE, api_name_dns1123_subdomain);
	check_ingress_spec(c, spec, &lax);
	const struct json *note = json_get(json_path(ingress, "metadata", "annotations", NULL),
		SPAN("kubernetes.io/ingress.class"));
	if (!old && note && class && !json_equal(note, class))
		bad_value(c, &PATH(&PATH(PATH_ROOT, "annotations"), "kubernetes.io/ingress.class"), note,
			  "must match `ingressClassName` when both are specified");
}

static void check_ingress_status(struct check *c, const struct json *ingress, const struct json *old)
{
	const struct path at = PATH(&PATH(&PATH(PATH_ROOT, "status"), "loadBalancer"), "ingress");
	const struct json *was = json_path(old, "status", "loadBalancer", "ingress", NULL);
	check_meta_update(c, ingress, old, META_CORE);
	JSON_EACH_INDEX(json_path(ingress, "status", "loadBalancer", "ingress", NULL), entry, i) {
		const struct path item = PATH_INDEX(&at, i);
		struct span ip = member_text(entry, "ip"), host = member_text(entry, "hostname");
		bool known = false;
		JSON_EACH_ITEM(was, other)
			known |= span_eq(member_text(other, "ip"), ip);
		if (ip.len && !known)
			check_ip(c, &PATH(&item, "ip"), ip, API_IP_LEGACY);
		if (!host.len)
			continue;
		check_name(c, &PATH(&item, "hostname"), host, api_name_dns1123_subdomain);
		if (check_is_ip(host))
			bad_string(c, &PATH(&item, "hostname"), host, "must be a DNS name, not an IP address");
	}
}

static void warn_ingress(struct check *c, const struct json *ingress, const struct json *old)
{
	if (!old && json_get(json_path(ingress, "metadata", "annotations", NULL), SPAN("kubernetes.io/ingress.class")))
		strategy_warn(c->s, "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' "
			"instead");
}

const struct strategy_kind strategy_kind_ingress = {
	.group = "networking.k8s.io", .kind = "Ingress", .flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_HAS_GENERATION,
	.prepare = prepare_generation, .check = check_ingress, .warnings = warn_ingress,
	.subs = { { "status", prepare_status_only, check_ingress_status } },
};

/* ---- IngressClass */
static void default_ingress_class(struct arena *a, struct json *object)
{
	struct json *params = json_path(object, "spec", "parameters", NULL);
	if (params)
		default_unset(a, params, "scope", "Cluster");
}

static void prepare_spec_generation(struct strategy *s)
{
	strategy_generation(s, strategy_part_changed(s, "spec"));
}

/* domain/path, as a controller names itself: IsDomainPrefixedPath. */
void check_domain_path(struct check *c, const struct path *at, struct span value)
{
	struct span domain, path;
	if (!value.len) {
		bad_required(c, at, "");
		return;
	}
	if (!span_split(value, '/', &domain, &path) || !domain.len || !path.len) {
		bad_string(c, at, value, "must be a domain-prefixed path (such as \"acme.io/foo\")");
		return;
	}
	struct api_complaints bad;
	if (api_name_dns1123_subdomain(domain, &bad))
		bad_complaints(c, at, domain, &bad);
	for (size_t i = 0; i < path.len; i++)
		if (!path.ptr[i] || !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/%:!$&'()*+,;=._~-",
			path.ptr[i])) {
			bad_string(c, at, path, "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%%!$&'()*+,;=:]+')");
			return;
		}
}

static void check_class_parameters(struct check *c, const struct path *at, const struct json *params)
{
	const struct json *scope = member(params, "scope"), *ns = member(params, "namespace");
	check_ref(c, at, params);
	if (!scope) {
		bad_required(c, &PATH(at, "scope"), "");
	} else if (span_is(json_span(scope), "Namespace")) {
		if (ns)
			check_name(c, &PATH(at, "namespace"), json_span(ns), api_name_dns1123_label);
		else
			bad_required(c, &PATH(at, "namespace"), "`parameters.scope` is set to 'Namespace'");
	} else if (!span_is(json_span(scope), "Cluster")) {
		bad_choice(c, &PATH(at, "scope"), json_span(scope), "Cluster Namespace");
	} else if (ns) {
		bad_forbidden(c, &PATH(at, "namespace"), "`parameters.scope` is set to 'Cluster'");
	}
}

static void check_ingress_class(struct check *c, const struct json *class, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec"), controller_at = PATH(&at, "controller");
	const struct json *spec = member(class, "spec"), *params = member(spec, "parameters");
	struct span controller = member_text(spec, "controller");
	if (old) {
		check_meta_update(c, class, old, META_CORE);
		check_immutable(c, &controller_at, "", member(spec, "controller"), json_path(old, "spec", "controller", NULL));
	}
	check_meta(c, class, META_CORE, api_name_dns1123_subdomain);
	if (controller.len > 250)
		bad_too_long(c, &controller_at, 250);
	check_domain_path(c, &controller_at, controller);
	if (params)
		check_class_parameters(c, &PATH(&at, "parameters"), params);
}

const struct strategy_kind strategy_kind_ingress_class = {
	.group = "networking.k8s.io", .kind = "IngressClass", .flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_HAS_GENERATION,
	.defaults = default_ingress_class, .prepare = prepare_spec_generation, .check = check_ingress_class,
};

/* ---- NetworkPolicy */
static void default_network_policy(struct arena *a, struct json *object)
{
	static const char *const directions[] = { "ingress", "egress" };
	struct json *spec = default_object(a, object, "spec");
	for (size_t i = 0; i < ARRAY_LEN(directions); i++)
		JSON_EACH_ITEM(json_get(spec, span_of(directions[i])), rule)
			JSON_EACH_ITEM(member(rule, "ports"), port)
				default_unset(a, port, "protocol", "TCP");
	if (json_count(member(spec, "policyTypes")))
		return;
	struct json *types = json_setl(a, spec, "policyTypes", json_array());
	json_push(a, types, json_str(SPAN("Ingress")));
	if (json_count(member(spec, "egress")))
		json_push(a, types, json_str(SPAN("Egress")));
}

static bool had_cidr(const struct json *old, struct span cidr)
{
	static const char *const names[][2] = { { "ingress", "from" }, { "egress", "to" } };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		JSON_EACH_ITEM(json_path(old, "spec", names[i][0], NULL), rule)
			JSON_EACH_ITEM(json_get(rule, span_of(names[i][1])), peer)
				if (span_eq(json_span(json_path(peer, "ipBlock", "cidr", NULL)), cidr) ||
				    check_list_has(json_path(peer, "ipBlock", "except", NULL), cidr))
					return true;
	return false;
}

static void check_ip_block(struct check *c, const struct path *at, const struct json *block, const struct json *old)
{
	struct span cidr = member_text(block, "cidr");
	struct api_ip net, inner;
	unsigned bits, inner_bits;
	if (!check_present(c, at, block, "cidr"))
		return;
	if (!had_cidr(old, cidr))
		check_cidr(c, &PATH(at, "cidr"), cidr, API_IP_LEGACY);
	if (!api_cidr_parse(cidr, &net, &bits))
		return;
	(void)api_ip_mask(&net, bits);
	JSON_EACH_INDEX(member(block, "except"), except, i) {
		const struct path item = PATH_INDEX(&PATH(at, "except"), i);
		if (!had_cidr(old, json_span(except)))
			check_cidr(c, &item, json_span(except), API_IP_LEGACY);
		if (!api_cidr_parse(json_span(except), &inner, &inner_bits))
			continue;
		(void)api_ip_mask(&inner, bits);
		if (inner.len != net.len || memcmp(inner.bytes, net.bytes, net.len) != 0 || bits >= inner_bits)
			bad_value(c, &item, except, "must be a strict subset of `cidr`");
	}
}

static void check_policy_port(struct check *c, const struct path *at, const struct json *port)
{
	const struct json *number = member(port, "port"), *end = member(port, "endPort");
	const struct path end_at = PATH(at, "endPort");
	check_choice(c, &PATH(at, "protocol"), member(port, "protocol"), "TCP UDP SCTP");
	if (!number) {
		if (end)
			bad_value(c, &end_at, end, "may not be specified when `port` is not specified");
	} else if (json_is(number, JSON_STRING)) {
		if (end)
			bad_value(c, &end_at, end, "may not be specified when `port` is non-numeric");
		check_name(c, &PATH(at, "port"), json_span(number), api_name_port);
	} else {
		check_port(c, &PATH(at, "port"), json_i64(number, 0));
		if (end && json_i64(end, 0) < json_i64(number, 0))
			bad_value(c, &end_at, end, "must be greater than or equal to `port`");
		if (end)
			check_port(c, &end_at, json_i64(end, 0));
	}
}

static void check_peer(struct check *c, const struct path *at, const struct json *peer, bool lax, const struct json *old)
{
	const struct json *pods = member(peer, "podSelector"), *spaces = member(peer, "namespaceSelector");
	const struct json *block = member(peer, "ipBlock");
	check_label_selector(c, &PATH(at, "podSelector"), pods, lax);
	check_label_selector(c, &PATH(at, "namespaceSelector"), spaces, lax);
	if (block)
		check_ip_block(c, &PATH(at, "ipBlock"), block, old);
	if (!pods && !spaces && !block)
		bad_required(c, at, "must specify a peer");
	else if (block && (pods || spaces))
		bad_forbidden(c, at, "may not specify both ipBlock and another peer");
}

static void check_network_policy(struct check *c, const struct json *policy, const struct json *old)
{
	static const char *const names[][2] = { { "ingress", "from" }, { "egress", "to" } };
	const struct path at = PATH(PATH_ROOT, "spec"), types_at = PATH(&at, "policyTypes");
	const struct json *spec = member(policy, "spec"), *types = member(spec, "policyTypes");
	bool lax = check_selector_has_bad_value(json_path(old, "spec", "podSelector", NULL));
	if (old)
		check_meta_update(c, policy, old, META_CORE);
	else
		check_meta(c, policy, META_CORE, api_name_dns1123_subdomain);
	check_label_selector(c, &PATH(&at, "podSelector"), member(spec, "podSelector"), lax);
	for (size_t d = 0; d < ARRAY_LEN(names); d++)
		JSON_EACH_INDEX(json_get(spec, span_of(names[d][0])), rule, i) {
			const struct path item = PATH_INDEX(&PATH_SPAN(&at, span_of(names[d][0])), i);
			JSON_EACH_INDEX(member(rule, "ports"), port, k)
				check_policy_port(c, &PATH_INDEX(&PATH(&item, "ports"), k), port);
			JSON_EACH_INDEX(json_get(rule, span_of(names[d][1])), peer, k)
				check_peer(c, &PATH_INDEX(&PATH_SPAN(&item, span_of(names[d][1])), k), peer, lax, old);
		}
	if (json_count(types) > 2) {
		bad_typed(c, &types_at, "[]networking/v1.PolicyType", types, "may not specify more than two policyTypes");
		return;
	}
	JSON_EACH_INDEX(types, type, i)
		check_choice(c, &PATH_INDEX(&types_at, i), type, "Ingress Egress");
}

const struct strategy_kind strategy_kind_network_policy = {
	.group = "networking.k8s.io", .kind = "NetworkPolicy", .flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_HAS_GENERATION,
	.defaults = default_network_policy, .prepare = prepare_spec_generation, .check = check_network_policy,
};

/* ---- IPAddress, ServiceCIDR */
static unsigned address_name(struct span name, struct api_complaints *out)
{
	/* The complaint that quotes lives as long as the caller's next one: names are checked one at a time. */
	static _Thread_local struct arena kept;
	arena_reset(&kept);
	return api_ip_check(&kept, name, API_IP_CANONICAL, out);
}

static void check_ip_address(struct check *c, const struct json *object, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec"), ref_at = PATH(&at, "parentRef");
	const struct json *ref = json_path(object, "spec", "parentRef", NULL);
	if (old) {
		check_meta_update(c, object, old, META_CORE);
		check_immutable(c, &ref_at, "*networking/v1.ParentReference", ref, json_path(old, "spec", "parentRef", NULL));
		return;
	}
	check_meta(c, object, META_CORE, address_name);
	if (!ref) {
		bad_required(c, &ref_at, "");
		return;
	}
	if (member_text(ref, "group").len)
		check_name(c, &PATH(&ref_at, "group"), member_text(ref, "group"), api_name_dns1123_subdomain);
	if (check_present(c, &ref_at, ref, "resource"))
		check_name(c, &PATH(&ref_at, "resource"), member_text(ref, "resource"), api_name_path_segment);
	if (check_present(c, &ref_at, ref, "name"))
		check_name(c, &PATH(&ref_at, "name"), member_text(ref, "name"), api_name_path_segment);
	if (member_text(ref, "namespace").len)
		check_name(c, &PATH(&ref_at, "namespace"), member_text(ref, "namespace"), api_name_path_segment);
}

const struct strategy_kind strategy_kind_ip_address = {
	.group = "networking.k8s.io", .kind = "IPAddress", .flags = STRATEGY_UNCONDITIONAL_UPDATE, .prepare = prepare_nothing,
	.check = check_ip_address,
};

static void check_cidrs(struct check *c, const struct path *at, const struct json *spec)
{
	const struct json *cidrs = member(spec, "cidrs");
	struct api_ip first, second;
	unsigned bits;
	if (!json_count(cidrs)) {
		bad_required(c, at, "at least one CIDR required");
		return;
	}
	if (cidrs->n > 2) {
		bad_typed(c, at, "networking/v1.ServiceCIDRSpec", spec, "may only hold up to 2 values");
		return;
	}
	JSON_EACH_INDEX(cidrs, cidr, i)
		check_cidr(c, &PATH_INDEX(at, i), json_span(cidr), API_IP_CANONICAL);
	if (cidrs->n == 2 && api_cidr_parse(json_span(&cidrs->items[0]), &first, &bits) &&
	    api_cidr_parse(json_span(&cidrs->items[1]), &second, &bits) && first.len == second.len)
		bad_typed(c, at, "[]string", cidrs,
			  "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
}

static void check_service_cidr(struct check *c, const struct json *object, const struct json *old)
{
	const struct path at = PATH(&PATH(PATH_ROOT, "spec"), "cidrs");
	const struct json *spec = member(object, "spec"), *cidrs = member(spec, "cidrs"), *was = json_path(old, "spec", "cidrs",
		NULL);
	if (!old) {
		check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
		check_cidrs(c, &at, spec);
		return;
	}
	check_meta_update(c, object, old, META_CORE);
	if (json_count(was) == json_count(cidrs)) {
		JSON_EACH_INDEX(was, cidr, i)
			if (!json_equal(cidr, &cidrs->items[i]))
				bad_value(c, &PATH_INDEX(&at, i), &cidrs->items[i], "field is immutable");
	} else if (json_count(was) == 1 && json_count(cidrs) == 2) {
		if (!json_equal(&was->items[0], &cidrs->items[0]))
			bad_value(c, &PATH_INDEX(&at, 0), &cidrs->items[0], "field is immutable");
		check_cidrs(c, &at, spec);
	} else {
		bad_typed(c, &at, "[]string", cidrs, "field is immutable");
	}
}

static void check_meta_update_alone(struct check *c, const struct json *object, const struct json *old)
{
	check_meta_update(c, object, old, META_CORE);
}

const struct strategy_kind strategy_kind_service_cidr = {
	.group = "networking.k8s.io", .kind = "ServiceCIDR", .flags = STRATEGY_UNCONDITIONAL_UPDATE, .check = check_service_cidr,
	.subs = { { "status", prepare_status_only, check_meta_update_alone } },
};
