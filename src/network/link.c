/* What rtnetlink is told. A veth pair is made in one message, its far end directly inside the container's namespace and under
 * its final name (IFLA_NET_NS_FD in the peer's part), so that nothing has to be moved or renamed: moving costs a second
 * synchronisation of the kernel's network code. */
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include "network/link.h"

#define IN6_ADDR_GEN_MODE_NONE_VALUE 1 /* IN6_ADDR_GEN_MODE_NONE */

static void text_of(struct span s, char *out, size_t cap)
{
	size_t n = MIN(s.len, cap - 1);
	memcpy(out, s.ptr ? s.ptr : "", n);
	out[n] = 0;
}

static bool link_read(const struct nlmsghdr *m, struct network_link *out)
{
	if (m->nlmsg_type != RTM_NEWLINK || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
		return false;
	const struct ifinfomsg *ifi = NLMSG_DATA(m);
	const struct nlattr *a[IFLA_STATS64 + 1], *info[IFLA_INFO_KIND + 1];
	network_nl_attrs((const char *)ifi + NLMSG_ALIGN(sizeof(*ifi)), m->nlmsg_len - NLMSG_LENGTH(sizeof(*ifi)), a, ARRAY_LEN(a));
	*out = (struct network_link){ .index = ifi->ifi_index, .flags = ifi->ifi_flags };
	out->master = (int)network_nl_get_u32(a[IFLA_MASTER]);
	out->peer = (int)network_nl_get_u32(a[IFLA_LINK]);
	out->mtu = network_nl_get_u32(a[IFLA_MTU]);
	text_of(network_nl_text(a[IFLA_IFNAME]), out->name, sizeof(out->name));
	text_of(network_nl_text(a[IFLA_IFALIAS]), out->alias, sizeof(out->alias));
	if (a[IFLA_ADDRESS] && network_nl_len(a[IFLA_ADDRESS]) == 6)
		memcpy(out->mac, network_nl_data(a[IFLA_ADDRESS]), 6);
	if (a[IFLA_LINKINFO]) {
		network_nl_attrs(network_nl_data(a[IFLA_LINKINFO]), network_nl_len(a[IFLA_LINKINFO]), info, ARRAY_LEN(info));
		text_of(network_nl_text(info[IFLA_INFO_KIND]), out->kind, sizeof(out->kind));
	}
	if (a[IFLA_STATS64] && network_nl_len(a[IFLA_STATS64]) >= sizeof(out->counters))
		memcpy(out->counters, network_nl_data(a[IFLA_STATS64]), sizeof(out->counters));
	return true;
}

struct each {
	int (*link)(void *arg, const struct network_link *l);
	int (*prefix)(void *arg, const struct network_prefix *p, int index);
	void *arg;
	struct network_link *one;
	bool found;
};

static int on_link(void *arg, const struct nlmsghdr *m)
{
	struct each *e = arg;
	struct network_link l;
	if (!link_read(m, &l))
		return 0;
	e->found = true;
	if (e->one) {
		*e->one = l;
		return 0;
	}
	return e->link(e->arg, &l);
}

int network_link_get(int sock, const char *name, int index, struct network_link *out, struct err *err)
{
	auto_nl_batch struct network_nl_batch b = { 0 };
	struct ifinfomsg ifi = { .ifi_index = index };
	size_t m = network_nl_begin(&b, RTM_GETLINK, 0, &ifi, sizeof(ifi));
	if (name)
		network_nl_str(&b, IFLA_IFNAME, name);
	network_nl_end(&b, m);
	struct network_link l;
	struct each e = { .one = &l };
	int rc = network_nl_ask(sock, &b, on_link, &e, name ? name : "looking for an interface", err);
	if (rc < 0)
		return rc == -ERR_IO && (!err || err->errnum == ENODEV) ? err_set(err, ERR_NOT_FOUND, "no interface %s",
			name ? name : "") : rc;
	if (!e.found)
		return err_set(err, ERR_NOT_FOUND, "no interface %s", name ? name : "");
	*out = l;
	return 0;
}

int network_link_each(int sock, int (*fn)(void *arg, const struct network_link *l), void *arg, struct err *err)
{
	auto_nl_batch struct network_nl_batch b = { 0 };
	struct ifinfomsg ifi = { 0 };
	network_nl_end(&b, network_nl_begin(&b, RTM_GETLINK, NLM_F_DUMP, &ifi, sizeof(ifi)));
	struct each e = { .link = fn, .arg = arg };
	return network_nl_ask(sock, &b, on_link, &e, "listing interfaces", err);
}

static int on_route(void *arg, const struct nlmsghdr *m)
{
	struct each *e = arg;
	if (m->nlmsg_type != RTM_NEWROUTE || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct rtmsg)))
		return 0;
	const struct rtmsg *r = NLMSG_DATA(m);
	const struct nlattr *a[RTA_OIF + 1];
	network_nl_attrs((const char *)r + NLMSG_ALIGN(sizeof(*r)), m->nlmsg_len - NLMSG_LENGTH(sizeof(*r)), a, ARRAY_LEN(a));
	struct network_prefix p = { .addr.family = r->rtm_family, .bits = r->rtm_dst_len };
	if (r->rtm_table != RT_TABLE_MAIN || r->rtm_type != RTN_UNICAST || (r->rtm_family != AF_INET && r->rtm_family != AF_INET6))
		return 0;
	if (a[RTA_DST] && network_nl_len(a[RTA_DST]) == network_addr_len(&p.addr))
		memcpy(p.addr.b, network_nl_data(a[RTA_DST]), network_addr_len(&p.addr));
	return e->prefix(e->arg, &p, (int)network_nl_get_u32(a[RTA_OIF]));
}

int network_route_each(int sock, int family, int (*fn)(void *arg, const struct network_prefix *to, int index), void *arg,
	struct err *err)
{
	auto_nl_batch struct network_nl_batch b = { 0 };
	struct rtmsg r = { .rtm_family = (unsigned char)family };
	network_nl_end(&b, network_nl_begin(&b, RTM_GETROUTE, NLM_F_DUMP, &r, sizeof(r)));
	struct each e = { .prefix = fn, .arg = arg };
	return network_nl_ask(sock, &b, on_route, &e, "listing routes", err);
}

static int on_address(void *arg, const struct nlmsghdr *m)
{
	struct each *e = arg;
	if (m->nlmsg_type != RTM_NEWADDR || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifaddrmsg)))
		return 0;
	const struct ifaddrmsg *i = NLMSG_DATA(m);
	const struct nlattr *a[IFA_LOCAL + 1];
	network_nl_attrs((const char *)i + NLMSG_ALIGN(sizeof(*i)), m->nlmsg_len - NLMSG_LENGTH(sizeof(*i)), a, ARRAY_LEN(a));
	const struct nlattr *what = a[IFA_LOCAL] ? a[IFA_LOCAL] : a[IFA_ADDRESS];
	struct network_prefix p = { .addr.family = i->ifa_family, .bits = i->ifa_prefixlen };
	if (!what || (i->ifa_family != AF_INET && i->ifa_family != AF_INET6) || network_nl_len(what) != network_addr_len(&p.addr))
		return 0;
	memcpy(p.addr.b, network_nl_data(what), network_nl_len(what));
	return e->prefix(e->arg, &p, (int)i->ifa_index);
}

int network_address_each(int sock, int (*fn)(void *arg, const struct network_prefix *p, int index), void *arg, struct err *err)
{
	auto_nl_batch struct network_nl_batch b = { 0 };
	struct ifaddrmsg i = { 0 };
	network_nl_end(&b, network_nl_begin(&b, RTM_GETADDR, NLM_F_DUMP, &i, sizeof(i)));
	struct each e = { .prefix = fn, .arg = arg };
	return network_nl_ask(sock, &b, on_address, &e, "listing addresses", err);
}

static size_t link_begin(struct network_nl_batch *b, unsigned flags, const struct ifinfomsg *ifi)
{
	return network_nl_begin(b, RTM_NEWLINK, flags, ifi, sizeof(*ifi));
}

void network_link_bridge_add(struct network_nl_batch *b, const char *name, const uint8_t mac[6], unsigned mtu)
{
	struct ifinfomsg ifi = { 0 };
	size_t m = link_begin(b, NLM_F_CREATE | NLM_F_EXCL, &ifi);
	network_nl_str(b, IFLA_IFNAME, name);
	network_nl_put(b, IFLA_ADDRESS, mac, 6);
	if (mtu)
		network_nl_u32(b, IFLA_MTU, mtu);
	size_t info = network_nl_nest(b, IFLA_LINKINFO);
	network_nl_str(b, IFLA_INFO_KIND, "bridge");
	network_nl_nest_end(b, info);
	network_nl_end(b, m);
}

void network_link_alias_add(struct network_nl_batch *b, const char *name, const char *alias)
{
	struct ifinfomsg ifi = { 0 };
	size_t m = link_begin(b, 0, &ifi);
	network_nl_str(b, IFLA_IFNAME, name);
	network_nl_put(b, IFLA_IFALIAS, alias, strlen(alias));
	network_nl_end(b, m);
}

void network_link_veth_add(struct network_nl_batch *b, const struct network_veth *v)
{
	struct ifinfomsg ifi = { 0 };
	size_t m = link_begin(b, NLM_F_CREATE | NLM_F_EXCL, &ifi);
	network_nl_str(b, IFLA_IFNAME, v->name);
	if (v->mtu)
		network_nl_u32(b, IFLA_MTU, v->mtu);
	if (v->master)
		network_nl_u32(b, IFLA_MASTER, (uint32_t)v->master);
	size_t info = network_nl_nest(b, IFLA_LINKINFO);
	network_nl_str(b, IFLA_INFO_KIND, "veth");
	size_t data = network_nl_nest(b, IFLA_INFO_DATA);
	size_t peer = network_nl_nest(b, VETH_INFO_PEER);
	buf_add(&b->out, &ifi, sizeof(ifi)); /* the far end's own fixed head */
	network_nl_str(b, IFLA_IFNAME, v->peer);
	network_nl_put(b, IFLA_ADDRESS, v->peer_mac, 6);
	if (v->mtu)
		network_nl_u32(b, IFLA_MTU, v->mtu);
	network_nl_u32(b, IFLA_NET_NS_FD, (uint32_t)v->netns_fd);
	network_nl_nest_end(b, peer);
	network_nl_nest_end(b, data);
	network_nl_nest_end(b, info);
	network_nl_end(b, m);
}

void network_link_port_up_add(struct network_nl_batch *b, const char *name, unsigned how)
{
	struct ifinfomsg ifi = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	size_t m = link_begin(b, 0, &ifi);
	network_nl_str(b, IFLA_IFNAME, name);
	if (how) {
		size_t info = network_nl_nest(b, IFLA_LINKINFO);
		network_nl_str(b, IFLA_INFO_SLAVE_KIND, "bridge");
		size_t data = network_nl_nest(b, IFLA_INFO_SLAVE_DATA);
		network_nl_u8(b, IFLA_BRPORT_ISOLATED, !!(how & NETWORK_PORT_ISOLATED));
		network_nl_u8(b, IFLA_BRPORT_MODE, !!(how & NETWORK_PORT_HAIRPIN));
		network_nl_nest_end(b, data);
		network_nl_nest_end(b, info);
	}
	size_t spec = network_nl_nest(b, IFLA_AF_SPEC), inet6 = network_nl_nest(b, AF_INET6);
	network_nl_u8(b, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE_VALUE);
	network_nl_nest_end(b, inet6);
	network_nl_nest_end(b, spec);
	network_nl_end(b, m);
}

void network_link_port_stop_add(struct network_nl_batch *b, int index)
{
	/* Through the bridge's own family: as part of a link's change it is followed by an event that starts the port again. */
	struct ifinfomsg ifi = { .ifi_family = AF_BRIDGE, .ifi_index = index };
	size_t m = network_nl_begin(b, RTM_SETLINK, 0, &ifi, sizeof(ifi)), port = network_nl_nest(b, IFLA_PROTINFO);
	network_nl_u8(b, IFLA_BRPORT_STATE, BR_STATE_DISABLED);
	network_nl_nest_end(b, port);
	network_nl_end(b, m);
}

void network_link_up_add(struct network_nl_batch *b, int index, bool up)
{
	struct ifinfomsg ifi = { .ifi_index = index, .ifi_flags = up ? IFF_UP : 0, .ifi_change = IFF_UP };
	network_nl_end(b, link_begin(b, 0, &ifi));
}

void network_link_sync_add(struct network_nl_batch *b, int index, const char *name)
{
	struct ifinfomsg ifi = { .ifi_index = index };
	size_t m = network_nl_begin(b, RTM_GETLINK, 0, &ifi, sizeof(ifi));
	if (name)
		network_nl_str(b, IFLA_IFNAME, name);
	network_nl_end(b, m);
}

void network_link_delete_add(struct network_nl_batch *b, const char *name)
{
	struct ifinfomsg ifi = { 0 };
	size_t m = network_nl_begin(b, RTM_DELLINK, 0, &ifi, sizeof(ifi));
	network_nl_str(b, IFLA_IFNAME, name);
	network_nl_end(b, m);
}

static void address(struct network_nl_batch *b, uint16_t type, unsigned flags, int index, const struct network_prefix *p)
{
	struct ifaddrmsg i = { .ifa_family = p->addr.family, .ifa_prefixlen = p->bits, .ifa_index = (uint32_t)index };
	bool local = p->addr.family == AF_INET6 && p->addr.b[0] == 0xfe && (p->addr.b[1] & 0xc0) == 0x80;
	i.ifa_scope = local ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	unsigned len = network_addr_len(&p->addr);
	size_t m = network_nl_begin(b, type, flags, &i, sizeof(i));
	network_nl_put(b, IFA_LOCAL, p->addr.b, len);
	if (p->addr.family == AF_INET) {
		struct network_addr brd = network_prefix_mask(*p).addr;
		for (unsigned bit = p->bits; bit < 32; bit++)
			brd.b[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		if (p->bits < 31)
			network_nl_put(b, IFA_BROADCAST, brd.b, 4);
	} else {
		/* The address was given out by us, so nobody is asked whether he has it (RFC 4862 section 5.4): it works at once. */
		network_nl_u32(b, IFA_FLAGS, IFA_F_NODAD);
	}
	network_nl_end(b, m);
}

void network_address_add(struct network_nl_batch *b, int index, const struct network_prefix *p)
{
	address(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, p);
}

void network_address_delete_add(struct network_nl_batch *b, int index, const struct network_prefix *p)
{
	address(b, RTM_DELADDR, 0, index, p);
}

void network_route_add(struct network_nl_batch *b, int family, const struct network_prefix *to,
	const struct network_addr *gateway,
		       int index)
{
	struct rtmsg r = { .rtm_family = (unsigned char)family, .rtm_dst_len = to ? to->bits : 0, .rtm_table = RT_TABLE_MAIN,
			   .rtm_protocol = RTPROT_BOOT, .rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK, .rtm_type = RTN_UNICAST };
	size_t m = network_nl_begin(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &r, sizeof(r));
	if (to)
		network_nl_put(b, RTA_DST, network_prefix_mask(*to).addr.b, network_addr_len(&to->addr));
	if (gateway)
		network_nl_put(b, RTA_GATEWAY, gateway->b, network_addr_len(gateway));
	network_nl_u32(b, RTA_OIF, (uint32_t)index);
	network_nl_end(b, m);
}
