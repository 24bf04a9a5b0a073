/* dockerd's settings that concern networks, by their names in daemon.json. */
#include <net/if.h>

#include "network/private.h"

#define SUPPLIES_MAX 64

static int bad(struct err *err, const char *key, const char *why)
{
	return err_set(err, ERR_INVALID, "setting \"%s\": %s", key, why);
}

static int read_bool(const struct json *tree, const char *key, bool *out, struct err *err)
{
	const struct json *v = json_get(tree, span_of(key));
	if (!v || v->kind == JSON_NULL)
		return 0;
	if (v->kind != JSON_BOOL)
		return bad(err, key, "not true or false");
	*out = v->b;
	return 0;
}

static int read_prefix(const struct json *tree, const char *key, int family, struct sys_prefix *out, struct err *err)
{
	const struct json *v = json_get(tree, span_of(key));
	if (!v || json_span(v).len == 0)
		return 0;
	if (!sys_prefix_parse(json_span(v), out) || out->addr.family != family)
		return bad(err, key, family == AF_INET ? "not an IPv4 CIDR block" : "not an IPv6 CIDR block");
	return 0;
}

static int read_addr(const struct json *tree, const char *key, int family, struct sys_addr *out, struct err *err)
{
	const struct json *v = json_get(tree, span_of(key));
	if (!v || json_span(v).len == 0)
		return 0;
	if (!sys_addr_parse(json_span(v), out) || (family && out->family != family))
		return bad(err, key, "not an IP address of the right family");
	return 0;
}

static int read_supplies(struct network_settings *s, const struct json *list, struct err *err)
{
	static const char key[] = "default-address-pools";
	if (!list || list->kind == JSON_NULL)
		return 0;
	if (list->kind != JSON_ARRAY || list->n > SUPPLIES_MAX)
		return bad(err, key, "not a list of at most 64 pools");
	s->supplies = arena_alloc_n(&s->arena, list->n + 1, sizeof(*s->supplies));
	s->n_supplies = 0;
	JSON_EACH_ITEM(list, item) {
		struct network_supply p = { 0 };
		int64_t size = json_i64(json_getl(item, "size"), -1);
		if (!sys_prefix_parse(json_span(json_getl(item, "base")), &p.base))
			return bad(err, key, "\"base\" is no CIDR block");
		if (size < p.base.bits || size > (int64_t)sys_addr_len(&p.base.addr) * 8)
			return bad(err, key, "\"size\" is less than the base's own, or more than an address has");
		p.base = sys_prefix_mask(p.base);
		p.size = (uint8_t)size;
		s->supplies[s->n_supplies++] = p;
	}
	return 0;
}

static int read_list(struct network_settings *s, const struct json *tree, const char *key, struct json *out, struct err *err)
{
	const struct json *v = json_get(tree, span_of(key));
	*out = json_array();
	if (!v || v->kind == JSON_NULL)
		return 0;
	if (v->kind != JSON_ARRAY)
		return bad(err, key, "not a list");
	JSON_EACH_ITEM(v, item)
		if (item->kind != JSON_STRING)
			return bad(err, key, "not a list of texts");
	*out = json_copy(&s->arena, v);
	return 0;
}

int network_settings_read(struct network_settings *s, const struct json *tree, struct err *err)
{
	*s = (struct network_settings){ .icc = true, .ip_forward = true, .masquerade = true, .userland_proxy = true, .mtu = 1500 };
	s->supplies = (struct network_supply *)(uintptr_t)network_supply_default;
	s->n_supplies = network_supply_default_n;
	s->bridge_options = json_object();
	int rc;
	if ((rc = read_bool(tree, "icc", &s->icc, err)) < 0 || (rc = read_bool(tree, "ip-forward", &s->ip_forward, err)) < 0 ||
	    (rc = read_bool(tree, "ip-masq", &s->masquerade, err)) < 0 || (rc = read_bool(tree, "ipv6", &s->ipv6, err)) < 0 ||
	    (rc = read_bool(tree, "userland-proxy", &s->userland_proxy, err)) < 0 ||
	    (rc = read_prefix(tree, "bip", AF_INET, &s->bip[V4], err)) < 0 ||
	    (rc = read_prefix(tree, "bip6", AF_INET6, &s->bip[V6], err)) < 0 ||
	    (rc = read_prefix(tree, "fixed-cidr", AF_INET, &s->fixed[V4], err)) < 0 ||
	    (rc = read_prefix(tree, "fixed-cidr-v6", AF_INET6, &s->fixed[V6], err)) < 0 ||
	    (rc = read_addr(tree, "default-gateway", AF_INET, &s->gateway[V4], err)) < 0 ||
	    (rc = read_addr(tree, "default-gateway-v6", AF_INET6, &s->gateway[V6], err)) < 0 ||
	    (rc = read_addr(tree, "ip", 0, &s->host_ip, err)) < 0 ||
	    (rc = read_supplies(s, json_get(tree, SPAN("default-address-pools")), err)) < 0 ||
	    (rc = read_list(s, tree, "dns", &s->dns, err)) < 0 || (rc = read_list(s, tree, "dns-opts", &s->dns_opts, err)) < 0 ||
	    (rc = read_list(s, tree, "dns-search", &s->dns_search, err)) < 0)
		return rc;
	JSON_EACH_ITEM(&s->dns, item) {
		struct sys_addr a;
		if (!sys_addr_parse(json_span(item), &a))
			return bad(err, "dns", "not a list of IP addresses");
	}
	int64_t mtu = json_i64(json_getl(tree, "mtu"), 1500);
	if (mtu != 0 && (mtu < 68 || mtu > 65535))
		return bad(err, "mtu", "not within 68 to 65535");
	s->mtu = mtu ? (unsigned)mtu : 1500;
	struct span bridge = json_span(json_getl(tree, "bridge"));
	s->bridge_none = span_is(bridge, "none");
	if (bridge.len >= IFNAMSIZ)
		return bad(err, "bridge", "longer than an interface's name may be");
	if (!s->bridge_none && bridge.len)
		memcpy(s->bridge, bridge.ptr, bridge.len);
	const struct json *options = json_path(tree, "default-network-opts", "bridge", NULL);
	if (json_is(options, JSON_OBJECT))
		s->bridge_options = json_copy(&s->arena, options);
	return 0;
}
