/* A container on a network: what was wished, which addresses it got, what it is called there. */
#include "network/private.h"

#define NAMES_MAX 64 /* aliases and links of one endpoint */

struct sys_addr network_endpoint_gateway(const struct network_endpoint *ep, int v)
{
	const struct network *n = ep->net;
	static const struct sys_addr none;
	if (!ep->addr[v].addr.family || n->internal || n->mode[v] == NETWORK_ISOLATED)
		return none;
	return n->gateway_inside[v].family ? n->gateway_inside[v] : n->pool[v].gateway;
}

struct network_endpoint *network_gateway_endpoint(const struct network_sandbox *box, int v)
{
	/* Docker's order: the priority asked for, then the network's name. */
	struct network_endpoint *best = NULL;
	LIST_EACH(&box->endpoints, ep, struct network_endpoint, of_sandbox) {
		if (!network_endpoint_gateway(ep, v).family)
			continue;
		if (!best || ep->priority > best->priority ||
		    (ep->priority == best->priority && strcmp(ep->net->name, best->net->name) < 0))
			best = ep;
	}
	return best;
}

/* ---- checks */

static void complain(struct buf *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void complain(struct buf *out, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	if (out->len)
		buf_chr(out, '\n');
	buf_vprintf(out, fmt, ap);
	va_end(ap);
}

static void check_address(struct buf *out, const struct network *n, int v, struct span text)
{
	struct sys_addr a;
	if (text.len == 0)
		return;
	text = span_sub(text, 0, 100);
	if (!sys_addr_parse(text, &a) || a.family != network_family(v)) {
		complain(out, "invalid %s address: %.*s", v == V4 ? "IPv4" : "IPv6", SPAN_ARG(text));
		return;
	}
	if (!network_user_defined(n))
		return; /* said once for both */
	if (!n->chosen[v])
		complain(out, "user specified IP address is supported only when connecting to networks with user configured subnets");
	else if (!sys_prefix_has(&n->pool[v].subnet, &a))
		complain(out, "no configured subnet or ip-range contain the IP address %.*s", SPAN_ARG(text));
}

static bool texts_only(const struct json *list)
{
	JSON_EACH_ITEM(list, item)
		if (item->kind != JSON_STRING || item->n > NETWORK_NAMES_MAX || memchr(item->str, 0, item->n))
			return false;
	return !list || list->kind == JSON_NULL || (list->kind == JSON_ARRAY && list->n <= NAMES_MAX);
}

static void check_options(struct buf *out, const struct json *wish)
{
	JSON_EACH_MEMBER(json_getl(wish, "DriverOpts"), m) {
		struct span v = json_span(&m->value);
		if (span_is(json_key(m), "com.docker.network.endpoint.ifname") &&
		    (!sys_link_name_ok(v) || span_is(v, "lo")))
			complain(out, "invalid interface name \"%.*s\"", SPAN_ARG(span_sub(v, 0, 64)));
		if (span_is(json_key(m), "com.docker.network.endpoint.sysctls")) {
			struct span rest = v, one, key, value;
			while (span_cut(&rest, ',', &one))
				if (!span_split(one, '=', &key, &value) || !span_starts(key, SPAN("net.")) || !span_has(key,
					SPAN(".IFNAME.")) ||
				    span_has(key, SPAN("/")) || span_has(key, SPAN("..")) || one.len > 120)
					complain(out, "invalid endpoint sysctl '%.*s': net.X.Y.IFNAME.Z=VALUE is wanted", SPAN_ARG(span_sub(one, 0,
						64)));
		}
	}
}

int network_endpoint_check(const struct network *n, const struct json *wish, struct err *err)
{
	auto_buf struct buf out = { .limit = 4096 };
	const struct json *ipam = json_getl(wish, "IPAMConfig"), *aliases = json_getl(wish, "Aliases"), *links = json_getl(wish,
		"Links");
	struct span v4 = json_span(json_getl(ipam, "IPv4Address")), v6 = json_span(json_getl(ipam, "IPv6Address"));
	struct span mac = json_span(json_getl(wish, "MacAddress"));
	uint8_t bytes[6];
	if (!texts_only(aliases) || !texts_only(links))
		return err_set(err, ERR_INVALID_REQUEST, "Aliases and Links are lists of at most %d texts", NAMES_MAX);
	check_address(&out, n, V4, v4);
	check_address(&out, n, V6, v6);
	if ((v4.len || v6.len) && !network_user_defined(n))
		complain(&out, "user specified IP address is supported on user defined networks only");
	if (json_is(aliases, JSON_ARRAY) && aliases->n && !network_user_defined(n))
		complain(&out, "network-scoped aliases are only supported for user-defined networks");
	if (json_is(links, JSON_ARRAY) && links->n && !network_user_defined(n))
		complain(&out, "network-scoped links are only supported for user-defined networks");
	if (mac.len && (!sys_mac_parse(mac, bytes) || (bytes[0] & 1)))
		complain(&out, "invalid MAC address: %.*s", SPAN_ARG(span_sub(mac, 0, 64)));
	JSON_EACH_ITEM(json_getl(ipam, "LinkLocalIPs"), item) {
		struct sys_addr a;
		if (!sys_addr_parse(json_span(item), &a))
			complain(&out, "invalid link-local IP address: %.*s", SPAN_ARG(span_sub(json_span(item), 0, 64)));
	}
	check_options(&out, wish);
	if (out.len)
		return err_set(err, ERR_INVALID_REQUEST, "invalid endpoint settings:\n%s", buf_cstr(&out));
	return 0;
}

/* ---- making */

static int take_address(struct network_endpoint *ep, int v, struct err *err)
{
	struct network *n = ep->net;
	struct network_pool *p = &n->pool[v];
	struct sys_addr wanted, got;
	struct span text = json_span(json_path(&ep->wish, "IPAMConfig", v == V4 ? "IPv4Address" : "IPv6Address", NULL));
	if (!p->subnet.addr.family)
		return 0;
	bool named = text.len && sys_addr_parse(text, &wanted);
	switch (network_pool_take(p, named ? &wanted : NULL, &got)) {
	case NETWORK_TAKEN:
		ep->addr[v] = (struct sys_prefix){ got, p->subnet.bits };
		return 0;
	case NETWORK_TAKE_BUSY:
		return err_set(err, ERR_FORBIDDEN, "Address already in use");
	case NETWORK_TAKE_OUTSIDE:
		return err_set(err, ERR_INVALID_REQUEST, "no configured subnet or ip-range contain the IP address %.*s",
			SPAN_ARG(text));
	case NETWORK_TAKE_NONE_LEFT:
		break;
	}
	return err_set(err, ERR_FORBIDDEN, "no available %s addresses on this network's address pools: %s (%s)",
		v == V4 ? "IPv4" : "IPv6", n->name,
		       n->id);
}

/* 02:42 and the IPv4 address: a container that takes a freed address brings the hardware address that its neighbours still
 * remember, so nothing has to be announced (decision 0611). */
static void choose_mac(struct network_endpoint *ep)
{
	struct span text = json_span(json_getl(&ep->wish, "MacAddress"));
	if (text.len && sys_mac_parse(text, ep->mac))
		return;
	ep->mac[0] = 0x02;
	ep->mac[1] = 0x42;
	if (ep->addr[V4].addr.family)
		memcpy(ep->mac + 2, ep->addr[V4].addr.b, 4);
	else
		rng_secret(ep->mac + 2, 4);
}

static bool inside_is_used(const struct network_endpoint *ep)
{
	LIST_EACH(&ep->box->endpoints, other, struct network_endpoint, of_sandbox)
		if (other != ep && strcmp(other->inside, ep->inside) == 0)
			return true;
	return false;
}

/* The network's prefix is anybody's: what the kernel says of a name that it makes, in Docker's words. */
static int choose_inside(struct network_endpoint *ep, struct err *err)
{
	struct span wish = json_span(json_path(&ep->wish, "DriverOpts", "com.docker.network.endpoint.ifname", NULL));
	struct span prefix = ep->net->inside_prefix.len ? ep->net->inside_prefix : SPAN("eth");
	for (unsigned i = 0;; i++) {
		struct span name = wish.len ? wish : arena_printf(&ep->arena, "%.*s%u", SPAN_ARG(prefix), i);
		if (!sys_link_name_ok(name))
			return err_set(err, ERR_INTERNAL,
				"failed to add interface %s to sandbox: error renaming interface \"%s\" to \"%.*s\": %s", ep->outside,
				ep->outside, SPAN_ARG(span_sub(name, 0, 256)),
				name.len >= sizeof(ep->inside) ? "numerical result out of range" : "invalid argument");
		snprintf(ep->inside, sizeof(ep->inside), "%.*s", SPAN_ARG(name));
		if (wish.len || !inside_is_used(ep))
			return 0;
	}
}

void network_endpoint_free(struct network_endpoint *ep)
{
	for (int v = V4; v <= V6; v++)
		if (ep->addr[v].addr.family)
			network_pool_give(&ep->net->pool[v], &ep->addr[v].addr);
	list_remove(&ep->of_network);
	list_remove(&ep->of_sandbox);
	arena_done(&ep->arena);
	free(ep);
}

int network_endpoint_new(struct network_sandbox *box, struct network *n, const struct json *wish, struct network_endpoint **out,
			 struct err *err)
{
	struct network_endpoint *ep = mem_new(struct network_endpoint);
	auto_buf struct buf hex = { 0 };
	uint8_t secret[32];
	ep->net = n;
	ep->box = box;
	list_init(&ep->of_network);
	list_init(&ep->of_sandbox);
	ep->wish = json_is(wish, JSON_OBJECT) ? json_copy(&ep->arena, wish) : json_object();
	ep->priority = json_i64(json_getl(wish, "GwPriority"), 0);
	rng_secret(secret, sizeof(secret));
	hex_add(&hex, secret, sizeof(secret));
	memcpy(ep->id, hex.ptr, 64);
	int rc = 0;
	if (n->driver == NETWORK_BRIDGE) {
		snprintf(ep->outside, sizeof(ep->outside), "v%s-%.*s", box->engine->id,
			 (int)(sizeof(ep->outside) - 3 - strlen(box->engine->id)), ep->id);
		rc = choose_inside(ep, err);
		for (int v = V4; v <= V6 && rc == 0; v++)
			rc = take_address(ep, v, err);
		choose_mac(ep);
	}
	if (rc < 0) {
		network_endpoint_free(ep);
		return rc;
	}
	list_push(&n->endpoints, &ep->of_network);
	list_push(&box->endpoints, &ep->of_sandbox);
	*out = ep;
	return 0;
}

/* ---- showing */

static void push_name(struct arena *a, struct json *list, struct span name)
{
	JSON_EACH_ITEM(list, item)
		if (span_eq(json_span(item), name))
			return;
	if (name.len)
		json_push(a, list, json_str(arena_span(a, name)));
}

struct json network_endpoint_names(const struct network_endpoint *ep, struct arena *a)
{
	if (!network_user_defined(ep->net))
		return JSON_NULL_VALUE;
	struct json list = json_array();
	push_name(a, &list, span_of(ep->box->name));
	JSON_EACH_ITEM(json_getl(&ep->wish, "Aliases"), item)
		push_name(a, &list, json_span(item));
	push_name(a, &list, span_make(ep->box->id, 12));
	push_name(a, &list, json_span(json_getl(&ep->box->config, "Hostname")));
	return list;
}

static struct json wished(const struct network_endpoint *ep, const char *key, struct arena *a)
{
	const struct json *v = json_get(&ep->wish, span_of(key));
	return v ? json_copy(a, v) : JSON_NULL_VALUE;
}

static struct json text(struct arena *a, const char *s)
{
	return json_str(arena_span(a, span_of(s)));
}

struct json network_endpoint_show(const struct network_endpoint *ep, bool names, struct arena *a)
{
	char s[SYS_ADDR_TEXT], mac[18] = "";
	struct json o = json_object();
	bool bridge = ep->net->driver == NETWORK_BRIDGE;
	if (bridge)
		sys_mac_text(ep->mac, mac);
	json_add(a, &o, SPAN("IPAMConfig"), wished(ep, "IPAMConfig", a));
	json_add(a, &o, SPAN("Links"), wished(ep, "Links", a));
	json_add(a, &o, SPAN("Aliases"), wished(ep, "Aliases", a));
	json_add(a, &o, SPAN("MacAddress"), text(a, mac));
	json_add(a, &o, SPAN("DriverOpts"), wished(ep, "DriverOpts", a));
	json_add(a, &o, SPAN("GwPriority"), json_int(ep->priority));
	json_add(a, &o, SPAN("NetworkID"), text(a, ep->net->id));
	json_add(a, &o, SPAN("EndpointID"), text(a, ep->id));
	/* The network's gateway, whether or not the container's default route goes there; of an internal network none. */
	for (int v = V4; v <= V6; v++) {
		struct sys_addr gw = bridge ? network_endpoint_gateway(ep, v) : (struct sys_addr){ 0 };
		const struct sys_prefix *p = &ep->addr[v];
		json_add(a, &o, v == V4 ? SPAN("Gateway") : SPAN("IPv6Gateway"), text(a, sys_addr_text(&gw, s)));
		json_add(a, &o, v == V4 ? SPAN("IPAddress") : SPAN("GlobalIPv6Address"), text(a, sys_addr_text(&p->addr, s)));
		json_add(a, &o, v == V4 ? SPAN("IPPrefixLen") : SPAN("GlobalIPv6PrefixLen"), json_int(p->addr.family ? p->bits : 0));
	}
	json_add(a, &o, SPAN("DNSNames"), names ? network_endpoint_names(ep, a) : JSON_NULL_VALUE);
	return o;
}
