/* What rtnetlink is told. A veth pair is made in one message, its far end directly inside the container's namespace and under
 * its final name (IFLA_NET_NS_FD in the peer's part), so that nothing has to be moved or renamed: moving costs a second
 * synchronisation of the kernel's network code. */
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <time.h>

#include "sys/link.h"

#define IN6_ADDR_GEN_MODE_NONE_VALUE 1 /* IN6_ADDR_GEN_MODE_NONE */
#define IF_OPER_UP_VALUE 6             /* IF_OPER_UP */

static void text_of(struct span s, char *out, size_t cap)
{
	size_t n = MIN(s.len, cap - 1);
	memcpy(out, s.ptr ? s.ptr : "", n);
	out[n] = 0;
}

static bool link_read(const struct nlmsghdr *m, struct sys_link *out)
{
	if (m->nlmsg_type != RTM_NEWLINK || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
		return false;
	const struct ifinfomsg *ifi = NLMSG_DATA(m);
	const struct nlattr *a[IFLA_STATS64 + 1], *info[IFLA_INFO_KIND + 1];
	sys_nl_attrs((const char *)ifi + NLMSG_ALIGN(sizeof(*ifi)), m->nlmsg_len - NLMSG_LENGTH(sizeof(*ifi)), a, ARRAY_LEN(a));
	*out = (struct sys_link){ .index = ifi->ifi_index, .flags = ifi->ifi_flags };
	out->master = (int)sys_nl_get_u32(a[IFLA_MASTER]);
	out->peer = (int)sys_nl_get_u32(a[IFLA_LINK]);
	out->mtu = sys_nl_get_u32(a[IFLA_MTU]);
	if (a[IFLA_OPERSTATE] && sys_nl_len(a[IFLA_OPERSTATE]) >= 1)
		memcpy(&out->operstate, sys_nl_data(a[IFLA_OPERSTATE]), 1);
	text_of(sys_nl_text(a[IFLA_IFNAME]), out->name, sizeof(out->name));
	text_of(sys_nl_text(a[IFLA_IFALIAS]), out->alias, sizeof(out->alias));
	if (a[IFLA_ADDRESS] && sys_nl_len(a[IFLA_ADDRESS]) == 6)
		memcpy(out->mac, sys_nl_data(a[IFLA_ADDRESS]), 6);
	if (a[IFLA_LINKINFO]) {
		sys_nl_attrs(sys_nl_data(a[IFLA_LINKINFO]), sys_nl_len(a[IFLA_LINKINFO]), info, ARRAY_LEN(info));
		text_of(sys_nl_text(info[IFLA_INFO_KIND]), out->kind, sizeof(out->kind));
	}
	if (a[IFLA_STATS64] && sys_nl_len(a[IFLA_STATS64]) >= sizeof(out->counters))
		memcpy(out->counters, sys_nl_data(a[IFLA_STATS64]), sizeof(out->counters));
	return true;
}

struct each {
	int (*link)(void *arg, const struct sys_link *l);
	int (*prefix)(void *arg, const struct sys_prefix *p, int index);
	void *arg;
	struct sys_link *one;
	bool found;
};

static int on_link(void *arg, const struct nlmsghdr *m)
{
	struct each *e = arg;
	struct sys_link l;
	if (!link_read(m, &l))
		return 0;
	e->found = true;
	if (e->one) {
		*e->one = l;
		return 0;
	}
	return e->link(e->arg, &l);
}

bool sys_link_name_ok(struct span name)
{
	if (!name.len || name.len >= IFNAMSIZ || span_is(name, ".") || span_is(name, ".."))
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (strchr("/:% \t\n\v\f\r\xa0", name.ptr[i])) /* 0 too: its end */
			return false;
	return true;
}

int sys_link_get(int sock, const char *name, int index, struct sys_link *out, struct err *err)
{
	auto_nl_batch struct sys_nl_batch b = { 0 };
	struct ifinfomsg ifi = { .ifi_index = index };
	size_t m = sys_nl_begin(&b, RTM_GETLINK, 0, &ifi, sizeof(ifi));
	if (name)
		sys_nl_str(&b, IFLA_IFNAME, name);
	sys_nl_end(&b, m);
	struct sys_link l;
	struct each e = { .one = &l };
	int rc = sys_nl_ask(sock, &b, on_link, &e, name ? name : "looking for an interface", err);
	if (rc < 0)
		return rc == -ERR_IO && (!err || err->errnum == ENODEV) ? err_set(err, ERR_NOT_FOUND, "no interface %s",
			name ? name : "") : rc;
	if (!e.found)
		return err_set(err, ERR_NOT_FOUND, "no interface %s", name ? name : "");
	*out = l;
	return 0;
}

int sys_link_each(int sock, int (*fn)(void *arg, const struct sys_link *l), void *arg, struct err *err)
{
	auto_nl_batch struct sys_nl_batch b = { 0 };
	struct ifinfomsg ifi = { 0 };
	sys_nl_end(&b, sys_nl_begin(&b, RTM_GETLINK, NLM_F_DUMP, &ifi, sizeof(ifi)));
	struct each e = { .link = fn, .arg = arg };
	return sys_nl_ask(sock, &b, on_link, &e, "listing interfaces", err);
}

static int on_route(void *arg, const struct nlmsghdr *m)
{
	struct each *e = arg;
	if (m->nlmsg_type != RTM_NEWROUTE || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct rtmsg)))
		return 0;
	const struct rtmsg *r = NLMSG_DATA(m);
	const struct nlattr *a[RTA_OIF + 1];
	sys_nl_attrs((const char *)r + NLMSG_ALIGN(sizeof(*r)), m->nlmsg_len - NLMSG_LENGTH(sizeof(*r)), a, ARRAY_LEN(a));
	struct sys_prefix p = { .addr.family = r->rtm_family, .bits = r->rtm_dst_len };
	if (r->rtm_table != RT_TABLE_MAIN || r->rtm_type != RTN_UNICAST || (r->rtm_family != AF_INET && r->rtm_family != AF_INET6))
		return 0;
	if (a[RTA_DST] && sys_nl_len(a[RTA_DST]) == sys_addr_len(&p.addr))
		memcpy(p.addr.b, sys_nl_data(a[RTA_DST]), sys_addr_len(&p.addr));
	return e->prefix(e->arg, &p, (int)sys_nl_get_u32(a[RTA_OIF]));
}

int sys_route_each(int sock, int family, int (*fn)(void *arg, const struct sys_prefix *to, int index), void *arg,
	struct err *err)
{
	auto_nl_batch struct sys_nl_batch b = { 0 };
	struct rtmsg r = { .rtm_family = (unsigned char)family };
	sys_nl_end(&b, sys_nl_begin(&b, RTM_GETROUTE, NLM_F_DUMP, &r, sizeof(r)));
	struct each e = { .prefix = fn, .arg = arg };
	return sys_nl_ask(sock, &b, on_route, &e, "listing routes", err);
}

static int on_address(void *arg, const struct nlmsghdr *m)
{
	struct each *e = arg;
	if (m->nlmsg_type != RTM_NEWADDR || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifaddrmsg)))
		return 0;
	const struct ifaddrmsg *i = NLMSG_DATA(m);
	const struct nlattr *a[IFA_LOCAL + 1];
	sys_nl_attrs((const char *)i + NLMSG_ALIGN(sizeof(*i)), m->nlmsg_len - NLMSG_LENGTH(sizeof(*i)), a, ARRAY_LEN(a));
	const struct nlattr *what = a[IFA_LOCAL] ? a[IFA_LOCAL] : a[IFA_ADDRESS];
	struct sys_prefix p = { .addr.family = i->ifa_family, .bits = i->ifa_prefixlen };
	if (!what || (i->ifa_family != AF_INET && i->ifa_family != AF_INET6) || sys_nl_len(what) != sys_addr_len(&p.addr))
		return 0;
	memcpy(p.addr.b, sys_nl_data(what), sys_nl_len(what));
	return e->prefix(e->arg, &p, (int)i->ifa_index);
}

int sys_address_each(int sock, int (*fn)(void *arg, const struct sys_prefix *p, int index), void *arg, struct err *err)
{
	auto_nl_batch struct sys_nl_batch b = { 0 };
	struct ifaddrmsg i = { 0 };
	sys_nl_end(&b, sys_nl_begin(&b, RTM_GETADDR, NLM_F_DUMP, &i, sizeof(i)));
	struct each e = { .prefix = fn, .arg = arg };
	return sys_nl_ask(sock, &b, on_address, &e, "listing addresses", err);
}

static size_t link_begin(struct sys_nl_batch *b, unsigned flags, const struct ifinfomsg *ifi)
{
	return sys_nl_begin(b, RTM_NEWLINK, flags, ifi, sizeof(*ifi));
}

void sys_link_bridge_add(struct sys_nl_batch *b, const char *name, const uint8_t mac[6], unsigned mtu)
{
	struct ifinfomsg ifi = { 0 };
	size_t m = link_begin(b, NLM_F_CREATE | NLM_F_EXCL, &ifi);
	sys_nl_str(b, IFLA_IFNAME, name);
	sys_nl_put(b, IFLA_ADDRESS, mac, 6);
	if (mtu)
		sys_nl_u32(b, IFLA_MTU, mtu);
	size_t info = sys_nl_nest(b, IFLA_LINKINFO);
	sys_nl_str(b, IFLA_INFO_KIND, "bridge");
	sys_nl_nest_end(b, info);
	sys_nl_end(b, m);
}

void sys_link_alias_add(struct sys_nl_batch *b, const char *name, const char *alias)
{
	struct ifinfomsg ifi = { 0 };
	size_t m = link_begin(b, 0, &ifi);
	sys_nl_str(b, IFLA_IFNAME, name);
	sys_nl_put(b, IFLA_IFALIAS, alias, strlen(alias));
	sys_nl_end(b, m);
}

void sys_link_veth_add(struct sys_nl_batch *b, const struct sys_veth *v)
{
	struct ifinfomsg ifi = { 0 };
	size_t m = link_begin(b, NLM_F_CREATE | NLM_F_EXCL, &ifi);
	static const uint8_t none[6];
	sys_nl_str(b, IFLA_IFNAME, v->name);
	if (memcmp(v->mac, none, 6) != 0)
		sys_nl_put(b, IFLA_ADDRESS, v->mac, 6);
	if (v->mtu)
		sys_nl_u32(b, IFLA_MTU, v->mtu);
	if (v->master)
		sys_nl_u32(b, IFLA_MASTER, (uint32_t)v->master);
	size_t info = sys_nl_nest(b, IFLA_LINKINFO);
	sys_nl_str(b, IFLA_INFO_KIND, "veth");
	size_t data = sys_nl_nest(b, IFLA_INFO_DATA);
	size_t peer = sys_nl_nest(b, VETH_INFO_PEER);
	buf_add(&b->out, &ifi, sizeof(ifi)); /* the far end's own fixed head */
	sys_nl_str(b, IFLA_IFNAME, v->peer);
	sys_nl_put(b, IFLA_ADDRESS, v->peer_mac, 6);
	if (v->mtu)
		sys_nl_u32(b, IFLA_MTU, v->mtu);
	sys_nl_u32(b, IFLA_NET_NS_FD, (uint32_t)v->netns_fd);
	sys_nl_nest_end(b, peer);
	sys_nl_nest_end(b, data);
	sys_nl_nest_end(b, info);
	sys_nl_end(b, m);
}

void sys_link_port_up_add(struct sys_nl_batch *b, const char *name, unsigned how)
{
	struct ifinfomsg ifi = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	size_t m = link_begin(b, 0, &ifi);
	sys_nl_str(b, IFLA_IFNAME, name);
	if (how) {
		size_t info = sys_nl_nest(b, IFLA_LINKINFO);
		sys_nl_str(b, IFLA_INFO_SLAVE_KIND, "bridge");
		size_t data = sys_nl_nest(b, IFLA_INFO_SLAVE_DATA);
		sys_nl_u8(b, IFLA_BRPORT_ISOLATED, !!(how & SYS_PORT_ISOLATED));
		sys_nl_u8(b, IFLA_BRPORT_MODE, !!(how & SYS_PORT_HAIRPIN));
		sys_nl_nest_end(b, data);
		sys_nl_nest_end(b, info);
	}
	size_t spec = sys_nl_nest(b, IFLA_AF_SPEC), inet6 = sys_nl_nest(b, AF_INET6);
	sys_nl_u8(b, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE_VALUE);
	sys_nl_nest_end(b, inet6);
	sys_nl_nest_end(b, spec);
	sys_nl_end(b, m);
}

void sys_link_port_stop_add(struct sys_nl_batch *b, int index)
{
	/* Through the bridge's own family: as part of a link's change it is followed by an event that starts the port again. */
	struct ifinfomsg ifi = { .ifi_family = AF_BRIDGE, .ifi_index = index };
	size_t m = sys_nl_begin(b, RTM_SETLINK, 0, &ifi, sizeof(ifi)), port = sys_nl_nest(b, IFLA_PROTINFO);
	sys_nl_u8(b, IFLA_BRPORT_STATE, BR_STATE_DISABLED);
	sys_nl_nest_end(b, port);
	sys_nl_end(b, m);
}

void sys_link_up_add(struct sys_nl_batch *b, int index, bool up)
{
	struct ifinfomsg ifi = { .ifi_index = index, .ifi_flags = up ? IFF_UP : 0, .ifi_change = IFF_UP };
	sys_nl_end(b, link_begin(b, 0, &ifi));
}

void sys_link_sync_add(struct sys_nl_batch *b, int index, const char *name)
{
	struct ifinfomsg ifi = { .ifi_index = index };
	size_t m = sys_nl_begin(b, RTM_GETLINK, 0, &ifi, sizeof(ifi));
	if (name)
		sys_nl_str(b, IFLA_IFNAME, name);
	sys_nl_end(b, m);
}

void sys_link_delete_add(struct sys_nl_batch *b, const char *name)
{
	struct ifinfomsg ifi = { 0 };
	size_t m = sys_nl_begin(b, RTM_DELLINK, 0, &ifi, sizeof(ifi));
	sys_nl_str(b, IFLA_IFNAME, name);
	sys_nl_end(b, m);
}

static void address(struct sys_nl_batch *b, uint16_t type, unsigned flags, int index, const struct sys_prefix *p, bool link_scope)
{
	struct ifaddrmsg i = { .ifa_family = p->addr.family, .ifa_prefixlen = p->bits, .ifa_index = (uint32_t)index };
	bool local = p->addr.family == AF_INET6 && p->addr.b[0] == 0xfe && (p->addr.b[1] & 0xc0) == 0x80;
	i.ifa_scope = local || link_scope ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	unsigned len = sys_addr_len(&p->addr);
	size_t m = sys_nl_begin(b, type, flags, &i, sizeof(i));
	sys_nl_put(b, IFA_LOCAL, p->addr.b, len);
	if (p->addr.family == AF_INET) {
		struct sys_addr brd = sys_prefix_mask(*p).addr;
		for (unsigned bit = p->bits; bit < 32; bit++)
			brd.b[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		if (p->bits < 31)
			sys_nl_put(b, IFA_BROADCAST, brd.b, 4);
	} else {
		/* The address was given out by us, so nobody is asked whether he has it (RFC 4862 section 5.4): it works at once. */
		sys_nl_u32(b, IFA_FLAGS, IFA_F_NODAD);
	}
	sys_nl_end(b, m);
}

void sys_address_add(struct sys_nl_batch *b, int index, const struct sys_prefix *p)
{
	address(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, p, false);
}

void sys_address_link_add(struct sys_nl_batch *b, int index, const struct sys_prefix *p)
{
	address(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, p, true);
}

void sys_route_add(struct sys_nl_batch *b, int family, const struct sys_prefix *to,
	const struct sys_addr *gateway,
		       int index)
{
	struct rtmsg r = { .rtm_family = (unsigned char)family, .rtm_dst_len = to ? to->bits : 0, .rtm_table = RT_TABLE_MAIN,
			   .rtm_protocol = RTPROT_BOOT, .rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK, .rtm_type = RTN_UNICAST };
	size_t m = sys_nl_begin(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &r, sizeof(r));
	if (to)
		sys_nl_put(b, RTA_DST, sys_prefix_mask(*to).addr.b, sys_addr_len(&to->addr));
	if (gateway)
		sys_nl_put(b, RTA_GATEWAY, gateway->b, sys_addr_len(gateway));
	sys_nl_u32(b, RTA_OIF, (uint32_t)index);
	sys_nl_end(b, m);
}

void sys_neighbour_add(struct sys_nl_batch *b, int index, const struct sys_addr *a, const uint8_t mac[6])
{
	struct ndmsg nd = { .ndm_family = a->family, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT };
	size_t m = sys_nl_begin(b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &nd, sizeof(nd));
	sys_nl_put(b, NDA_DST, a->b, sys_addr_len(a));
	sys_nl_put(b, NDA_LLADDR, mac, 6);
	sys_nl_end(b, m);
}

static void route(struct sys_nl_batch *b, uint16_t type, unsigned flags, const struct sys_route *r)
{
	uint8_t family = r->to.addr.family ? r->to.addr.family : r->gateway.family;
	struct rtmsg h = { .rtm_family = family, .rtm_dst_len = r->to.bits, .rtm_table = r->local ? RT_TABLE_LOCAL : RT_TABLE_MAIN,
			   .rtm_protocol = r->protocol, .rtm_scope = r->scope, .rtm_type = r->local ? RTN_LOCAL : RTN_UNICAST,
			   .rtm_flags = r->onlink ? RTNH_F_ONLINK : 0 };
	size_t m = sys_nl_begin(b, type, flags, &h, sizeof(h));
	if (r->to.addr.family)
		sys_nl_put(b, RTA_DST, sys_prefix_mask(r->to).addr.b, sys_addr_len(&r->to.addr));
	if (r->gateway.family)
		sys_nl_put(b, RTA_GATEWAY, r->gateway.b, sys_addr_len(&r->gateway));
	if (r->source.family)
		sys_nl_put(b, RTA_PREFSRC, r->source.b, sys_addr_len(&r->source));
	if (r->index)
		sys_nl_u32(b, RTA_OIF, (uint32_t)r->index);
	sys_nl_end(b, m);
}

void sys_route_put(struct sys_nl_batch *b, const struct sys_route *r)
{
	route(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, r);
}

void sys_route_delete_add(struct sys_nl_batch *b, const struct sys_route *r)
{
	route(b, RTM_DELROUTE, 0, r);
}

struct route_list {
	int (*fn)(void *arg, const struct sys_route *r);
	void *arg;
};

static void address_of(const struct nlattr *a, uint8_t family, struct sys_addr *out)
{
	if (!a || sys_nl_len(a) != (family == AF_INET ? 4u : 16u))
		return;
	out->family = family;
	memcpy(out->b, sys_nl_data(a), sys_nl_len(a));
}

static int on_whole_route(void *arg, const struct nlmsghdr *m)
{
	struct route_list *l = arg;
	if (m->nlmsg_type != RTM_NEWROUTE || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct rtmsg)))
		return 0;
	const struct rtmsg *h = NLMSG_DATA(m);
	const struct nlattr *a[RTA_PREFSRC + 1];
	bool local = h->rtm_table == RT_TABLE_LOCAL && h->rtm_type == RTN_LOCAL && h->rtm_protocol != RTPROT_KERNEL;
	if (!local && (h->rtm_table != RT_TABLE_MAIN || h->rtm_type != RTN_UNICAST))
		return 0;
	if (h->rtm_family != AF_INET && h->rtm_family != AF_INET6)
		return 0;
	sys_nl_attrs((const char *)h + NLMSG_ALIGN(sizeof(*h)), m->nlmsg_len - NLMSG_LENGTH(sizeof(*h)), a, ARRAY_LEN(a));
	struct sys_route r = { .index = (int)sys_nl_get_u32(a[RTA_OIF]), .protocol = h->rtm_protocol, .scope = h->rtm_scope,
			       .onlink = (h->rtm_flags & RTNH_F_ONLINK) != 0, .local = local };
	r.to.addr.family = h->rtm_family;
	r.to.bits = h->rtm_dst_len;
	address_of(a[RTA_DST], h->rtm_family, &r.to.addr);
	address_of(a[RTA_GATEWAY], h->rtm_family, &r.gateway);
	address_of(a[RTA_PREFSRC], h->rtm_family, &r.source);
	return l->fn(l->arg, &r);
}

int sys_route_list(int sock, int family, int (*fn)(void *arg, const struct sys_route *r), void *arg, struct err *err)
{
	auto_nl_batch struct sys_nl_batch b = { 0 };
	struct rtmsg h = { .rtm_family = (unsigned char)family };
	sys_nl_end(&b, sys_nl_begin(&b, RTM_GETROUTE, NLM_F_DUMP, &h, sizeof(h)));
	struct route_list l = { .fn = fn, .arg = arg };
	return sys_nl_ask(sock, &b, on_whole_route, &l, "listing routes", err);
}

/* A link that just got its carrier drops what is sent until a worker of the kernel's has put it to use. From Linux 6.8 on the
 * question itself does that (linkwatch_sync_dev); before, the worker is waited for: it is on its way already. */
int sys_link_ready(int sock, int index, unsigned wait_ms, struct err *err)
{
	struct timespec step = { .tv_nsec = 200000 };
	struct clock *clock = clock_real();
	int64_t until = clock_mono_ms(clock) + wait_ms;
	while (true) {
		struct sys_link l;
		int rc = sys_link_get(sock, NULL, index, &l, err);
		if (rc < 0)
			return rc;
		if (l.operstate == IF_OPER_UP_VALUE)
			return 0;
		if (clock_mono_ms(clock) >= until)
			return err_set(err, ERR_TIMEOUT, "interface %s did not come up in %u ms", l.name, wait_ms);
		(void)nanosleep(&step, NULL); /* cut short by a signal: asked again sooner */
	}
}
