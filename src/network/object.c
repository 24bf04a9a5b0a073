/* Networks as objects: finding, showing, removing. */
#include "network/private.h"

const char *const network_driver_names[NETWORK_DRIVER_COUNT] = { "bridge", "host", "null" };

static const char *const mode_names[NETWORK_MODE_COUNT] = { "nat", "nat-unprotected", "routed", "isolated" };

bool network_name_builtin(struct span name)
{
	return span_is(name, "bridge") || span_is(name, "host") || span_is(name, "none") || span_is(name, "default");
}

struct network *network_by_id(struct network_engine *e, struct span id)
{
	LIST_EACH(&e->networks, n, struct network, link)
		if (span_is(id, n->id))
			return n;
	return NULL;
}

struct network *network_by_name(struct network_engine *e, struct span name, struct err *err)
{
	struct network *found = network_by_id(e, name);
	unsigned matches = 0;
	if (found)
		return found;
	if (span_is(name, "default"))
		name = SPAN("bridge");
	LIST_EACH(&e->networks, n, struct network, link)
		if (span_is(name, n->name))
			return n;
	LIST_EACH(&e->networks, n, struct network, link)
		if (name.len && span_starts(span_of(n->id), name)) {
			found = n;
			matches++;
		}
	if (matches == 1)
		return found;
	if (matches > 1)
		err_set(err, ERR_INVALID_REQUEST, "network %.*s is ambiguous (%u matches found based on ID prefix)", SPAN_ARG(name),
			matches);
	else
		err_set(err, ERR_NOT_FOUND, "network %.*s not found", SPAN_ARG(span_sub(name, 0, 512)));
	return NULL;
}

int network_find(struct network_engine *e, struct span name, struct network_ref *out, struct err *err)
{
	struct err why = ERR_INIT;
	const struct network *n = network_by_name(e, name, &why);
	if (!n)
		return err ? err_move(err, &why) : (err_done(&why), -ERR_NOT_FOUND);
	*out = (struct network_ref){ .builtin = n->builtin, .internal = n->internal,
				     .attachable = n->attachable, .ipv4 = n->pool[V4].subnet.addr.family,
				     .ipv6 = n->pool[V6].subnet.addr.family };
	snprintf(out->id, sizeof(out->id), "%s", n->id);
	snprintf(out->name, sizeof(out->name), "%s", n->name);
	snprintf(out->driver, sizeof(out->driver), "%s", network_driver_names[n->driver]);
	return 0;
}

/* ---- from the stored object */

static int read_mode(struct span text, enum network_mode *out)
{
	for (int i = 0; i < NETWORK_MODE_COUNT; i++)
		if (span_is(text, mode_names[i])) {
			*out = (enum network_mode)i;
			return 0;
		}
	return -1;
}

static int read_option(struct network *n, struct span key, struct span v, struct err *err)
{
	uint64_t number;
	bool ok = true;
	if (span_is(key, "com.docker.network.bridge.name")) {
		ok = sys_link_name_ok(v);
		if (!ok)
			return err_set(err, ERR_INVALID_REQUEST,
				"invalid bridge name %.*s: an interface's name has 1 to 15 bytes, no blank, slash, colon or percent sign",
				       SPAN_ARG(span_sub(v, 0, 64)));
		memset(n->bridge, 0, sizeof(n->bridge));
		memcpy(n->bridge, v.ptr, v.len);
	} else if (span_is(key, "com.docker.network.bridge.enable_icc")) {
		ok = span_to_bool(v, &n->icc);
	} else if (span_is(key, "com.docker.network.bridge.enable_ip_masquerade")) {
		ok = span_to_bool(v, &n->masquerade);
	} else if (span_is(key, "com.docker.network.bridge.host_binding_ipv4")) {
		ok = sys_addr_parse(v, &n->host_ip) && n->host_ip.family == AF_INET;
		if (ok && sys_addr_zero(&n->host_ip))
			n->host_ip.family = 0;
	} else if (span_is(key, "com.docker.network.driver.mtu")) {
		ok = span_to_u64(v, &number) && (number == 0 || (number >= 68 && number <= 65535));
		if (ok)
			n->mtu = (unsigned)number;
	} else if (span_is(key, "com.docker.network.container_iface_prefix")) {
		n->inside_prefix = arena_span(&n->arena, v); /* one that makes no name is refused when a container joins, as dockerd does */
	} else if (span_is(key, "com.docker.network.bridge.gateway_mode_ipv4")) {
		ok = read_mode(v, &n->mode[V4]) == 0;
	} else if (span_is(key, "com.docker.network.bridge.gateway_mode_ipv6")) {
		ok = read_mode(v, &n->mode[V6]) == 0;
	}
	if (ok && n->mode[V4] == NETWORK_ISOLATED && !n->internal)
		return err_set(err, ERR_INVALID_REQUEST, "gateway mode 'isolated' can only be used for an internal network");
	if (!ok)
		return err_set(err, ERR_INVALID_REQUEST, "failed to parse %.*s value: %.*s is not one that it takes", SPAN_ARG(key),
			       SPAN_ARG(span_sub(v, 0, 64)));
	return 0;
}

static int read_config(struct network *n, const struct json *config, struct err *err)
{
	struct sys_prefix subnet;
	struct span range = json_span(json_getl(config, "IPRange")), gateway = json_span(json_getl(config, "Gateway"));
	if (!sys_prefix_parse(json_span(json_getl(config, "Subnet")), &subnet))
		return err_set(err, ERR_CORRUPT, "network %s: its subnet is no CIDR block", n->name);
	struct network_pool *p = &n->pool[subnet.addr.family == AF_INET6];
	if (p->subnet.addr.family)
		return err_set(err, ERR_INVALID_REQUEST, "bridge driver doesn't support multiple subnets");
	network_pool_init(p, &subnet);
	struct sys_addr a;
	if (range.len && !sys_prefix_parse(range, &p->range))
		return err_set(err, ERR_CORRUPT, "network %s: its range is no CIDR block", n->name);
	if (gateway.len && (!sys_addr_parse(gateway, &p->gateway) || network_pool_take(p, &p->gateway, &a) != NETWORK_TAKEN))
		return err_set(err, ERR_INVALID_REQUEST, "failed to allocate gateway (%.*s): Address already in use",
			SPAN_ARG(gateway));
	JSON_EACH_MEMBER(json_getl(config, "AuxiliaryAddresses"), m) {
		struct sys_addr aux;
		if (!sys_addr_parse(json_span(&m->value), &aux))
			return err_set(err, ERR_CORRUPT, "network %s: an auxiliary address is none", n->name);
		if (span_starts(json_key(m), SPAN("DefaultGatewayIPv")))
			n->gateway_inside[subnet.addr.family == AF_INET6] = aux;
		if (network_pool_take(p, &aux, &a) != NETWORK_TAKEN)
			return err_set(err, ERR_FORBIDDEN, "failed to allocate secondary ip address (%.*s:%.*s): Address already in use",
				       SPAN_ARG(json_key(m)), SPAN_ARG(json_span(&m->value)));
	}
	return 0;
}

void network_free(struct network *n)
{
	if (!n)
		return;
	list_remove(&n->link);
	network_pool_done(&n->pool[V4]);
	network_pool_done(&n->pool[V6]);
	arena_done(&n->arena);
	free(n);
}

int network_load(struct network_engine *e, const struct json *tree, bool chosen4, bool chosen6, struct network **out,
	struct err *err)
{
	struct network *n = mem_new(struct network);
	list_init(&n->link);
	list_init(&n->endpoints);
	n->tree = json_copy(&n->arena, tree);
	n->icc = n->masquerade = true;
	n->chosen[V4] = chosen4;
	n->chosen[V6] = chosen6;
	struct span name = json_span(json_getl(tree, "Name")), id = json_span(json_getl(tree, "Id"));
	struct span driver = json_span(json_getl(tree, "Driver"));
	int rc = 0, kind = -1;
	for (int i = 0; i < NETWORK_DRIVER_COUNT; i++)
		if (span_is(driver, network_driver_names[i]))
			kind = i;
	if (name.len == 0 || name.len > NETWORK_NAMES_MAX || id.len != 64 || kind < 0) {
		rc = err_set(err, ERR_CORRUPT, "a stored network has no name, id or driver that makes sense");
		goto undo;
	}
	memcpy(n->name, name.ptr, name.len);
	memcpy(n->id, id.ptr, id.len);
	n->driver = (enum network_driver)kind;
	n->builtin = network_name_builtin(name);
	n->internal = json_truth(json_getl(tree, "Internal"), false);
	n->attachable = json_truth(json_getl(tree, "Attachable"), false);
	n->config_only = json_truth(json_getl(tree, "ConfigOnly"), false);
	/* brID-HEX: as much of the network's id as 15 bytes leave room for. */
	snprintf(n->bridge, sizeof(n->bridge), "br%s-%.*s", e->id, (int)(sizeof(n->bridge) - 4 - strlen(e->id)), n->id);
	JSON_EACH_MEMBER(json_getl(tree, "Options"), m)
		if (rc == 0 && !n->config_only)
			rc = read_option(n, json_key(m), json_span(&m->value), err);
	JSON_EACH_ITEM(json_path(tree, "IPAM", "Config", NULL), config)
		if (rc == 0 && n->driver == NETWORK_BRIDGE)
			rc = read_config(n, config, err);
	if (rc < 0)
		goto undo;
	*out = n;
	return 0;
undo:
	network_free(n);
	return rc;
}

/* ---- showing */

void network_describe(struct network_engine *e, const struct network *n, struct arena *a, struct json *out)
{
	struct json o = json_copy(a, &n->tree), containers = json_object();
	LIST_EACH(&n->endpoints, ep, struct network_endpoint, of_network) {
		struct json c = json_object();
		char text[SYS_ADDR_TEXT], mac[18] = "";
		if (n->driver == NETWORK_BRIDGE)
			sys_mac_text(ep->mac, mac);
		json_add(a, &c, SPAN("Name"), json_str(arena_span(a, span_of(ep->box->name))));
		json_add(a, &c, SPAN("EndpointID"), json_str(arena_span(a, span_of(ep->id))));
		json_add(a, &c, SPAN("MacAddress"), json_str(arena_span(a, span_of(mac))));
		for (int v = V4; v <= V6; v++) {
			struct span s = ep->addr[v].addr.family ? span_of(sys_prefix_text(&ep->addr[v], text)) : SPAN("");
			json_add(a, &c, v == V4 ? SPAN("IPv4Address") : SPAN("IPv6Address"), json_str(arena_span(a, s)));
		}
		json_add(a, &containers, arena_span(a, span_of(ep->box->id)), c);
	}
	/* Docker's order: Containers stand before Options and Labels. */
	struct json shown = json_object();
	JSON_EACH_MEMBER(&o, m) {
		if (span_is(json_key(m), "Options"))
			json_add(a, &shown, SPAN("Containers"), containers);
		json_add(a, &shown, json_key(m), m->value);
	}
	*out = shown;
}

int network_inspect(struct network_engine *e, struct span name, struct arena *a, struct json *out, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	const struct network *n = network_by_name(e, name, &why);
	if (!n) {
		int rc = -(int)why.class;
		if (err)
			err_move(err, &why);
		return rc;
	}
	network_describe(e, n, a, out);
	return 0;
}

void network_list(struct network_engine *e, struct arena *a, struct json *out)
{
	*out = json_array();
	LIST_EACH(&e->networks, n, struct network, link) {
		struct json one;
		network_describe(e, n, a, &one);
		json_push(a, out, one);
	}
}

/* ---- removing */

static int remove_it(struct network_engine *e, struct network *n, struct err *err)
{
	/* Out of the record first: should we die now, the sweep at the next start removes the bridge. */
	struct list *before = n->link.prev;
	list_remove(&n->link);
	e->n_networks--;
	int rc = network_state_save(e, err);
	if (rc < 0) {
		list_insert_after_(before, &n->link);
		e->n_networks++;
		return rc;
	}
	FAILPOINT("network.remove.saved");
	auto_err struct err late = ERR_INIT;
	if (network_kernel_remove(e, n, &late) < 0)
		network_note(e, "network %s: %s", n->name, err_msg(&late));
	network_firewall_settle(e);
	network_event(e, NETWORK_DESTROYED, n, NULL);
	network_free(n);
	return 0;
}

int network_remove(struct network_engine *e, struct span name, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	struct network *n = network_by_name(e, name, &why);
	if (!n) {
		int rc = -(int)why.class;
		if (err)
			err_move(err, &why);
		return rc;
	}
	if (n->builtin)
		return err_set(err, ERR_FORBIDDEN, "%s is a pre-defined network and cannot be removed", n->name);
	LIST_EACH(&e->networks, other, struct network, link)
		if (n->config_only && span_is(json_span(json_path(&other->tree, "ConfigFrom", "Network", NULL)), n->name))
			return err_set(err, ERR_FORBIDDEN, "error while removing network: configuration network \"%s\" is in use", n->name);
	const struct network_endpoint *ep = LIST_FIRST(&n->endpoints, struct network_endpoint, of_network);
	if (ep)
		return err_set(err, ERR_FORBIDDEN,
			"error while removing network: network %s has active endpoints (name:\"%s\" id:\"%.12s\")",
			       n->name, ep->box->name, ep->id);
	return remove_it(e, n, err);
}

void network_prune(struct network_engine *e, bool (*want)(void *arg, const struct json *network), void *arg, struct arena *a,
		   struct json *out_names)
{
	*out_names = json_array();
	LIST_EACH(&e->networks, n, struct network, link) {
		if (n->builtin || n->config_only || !list_empty(&n->endpoints) || (want && !want(arg, &n->tree)))
			continue;
		struct span name = arena_span(a, span_of(n->name));
		auto_err struct err err = ERR_INIT;
		if (remove_it(e, n, &err) < 0)
			network_note(e, "network %.*s: %s", SPAN_ARG(name), err_msg(&err));
		else
			json_push(a, out_names, json_str(name));
	}
}
