/* Two netlink sockets that are told of changes. `nft flush ruleset`, which a restart of Debian's nftables.service begins
 * with, takes our tables along, and nobody but the kernel tells us; systemd-networkd takes foreign routes when it restarts.
 *
 * Only what concerns us wakes more than this file: a name of a table of ours in it, and not our own doing. Elements that come
 * and go by the plugin's own calls are no news. What was missed (ENOBUFS) counts as everything. */
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include "proxy/nodes.h"
#include "proxy/watch.h"
#include "sys/netlink.h"

#define SETTLE_MS 20

struct proxy_watch {
	struct proxy_watch_params p;
	char services[32], ports[32]; /* names of tables */
	int filter, route;
	struct loop_fd on_filter, on_route;
	struct loop_timer timer;
	bool services_news, ports_news, routes_news;
	unsigned closing;
};

static void on_timer(struct loop_timer *t)
{
	struct proxy_watch *w = container_of(t, struct proxy_watch, timer);
	struct proxy_watch was = *w;
	w->services_news = w->ports_news = w->routes_news = false;
	if (was.services_news)
		w->p.services(w->p.arg);
	if (was.ports_news)
		w->p.ports(w->p.arg);
	if (was.routes_news)
		w->p.routes(w->p.arg);
}

/* Everything that is there to be read goes to fn; NULL: something was missed. */
static void each(struct proxy_watch *w, int sock, void (*fn)(struct proxy_watch *w, const struct nlmsghdr *m))
{
	_Alignas(struct nlmsghdr) char data[16384];
	for (;;) {
		ssize_t n = recv(sock, data, sizeof(data), MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			fn(w, NULL);
			continue;
		}
		if (n <= 0)
			break;
		for (struct nlmsghdr *m = (struct nlmsghdr *)(void *)data; NLMSG_OK(m, (size_t)n); m = NLMSG_NEXT(m, n))
			fn(w, m);
	}
	if ((w->services_news || w->ports_news || w->routes_news) && !loop_timer_running(&w->timer))
		loop_timer_start(&w->timer, SETTLE_MS);
}

static void filter_news(struct proxy_watch *w, const struct nlmsghdr *m)
{
	const struct nlattr *a[2];
	const size_t head = NLMSG_LENGTH(sizeof(struct nfgenmsg));
	if (!m) {
		w->services_news = w->ports_news = true;
		return;
	}
	unsigned type = m->nlmsg_type & 0xff;
	if (m->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || type == NFT_MSG_NEWGEN || m->nlmsg_len < head ||
	    m->nlmsg_pid == w->p.own_filter)
		return;
	/* The first attribute of every object is its table. */
	_Static_assert(NFTA_TABLE_NAME == 1 && NFTA_CHAIN_TABLE == 1 && NFTA_RULE_TABLE == 1 && NFTA_SET_TABLE == 1 &&
		       NFTA_SET_ELEM_LIST_TABLE == 1, "nf_tables.h");
	sys_nl_attrs((const char *)NLMSG_DATA(m) + NLMSG_ALIGN(sizeof(struct nfgenmsg)), m->nlmsg_len - head, a, ARRAY_LEN(a));
	struct span table = sys_nl_text(a[1]);
	w->services_news |= span_is(table, w->services);
	w->ports_news |= span_is(table, w->ports) && (type == NFT_MSG_DELTABLE || type == NFT_MSG_DELCHAIN || type == NFT_MSG_DELSET);
}

static void route_news(struct proxy_watch *w, const struct nlmsghdr *m)
{
	if (!m) {
		w->routes_news = true;
		return;
	}
	if (m->nlmsg_pid == w->p.own_route)
		return;
	if (m->nlmsg_type == RTM_DELROUTE && m->nlmsg_len >= NLMSG_LENGTH(sizeof(struct rtmsg))) {
		const struct rtmsg *r = NLMSG_DATA(m);
		w->routes_news |= r->rtm_protocol == PROXY_ROUTE_PROTOCOL;
	} else if (m->nlmsg_type == RTM_NEWLINK && m->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg))) {
		/* An interface that goes down takes its routes along without a word. */
		const struct ifinfomsg *i = NLMSG_DATA(m);
		w->routes_news |= i->ifi_change & IFF_UP && i->ifi_flags & IFF_UP;
	} else {
		w->routes_news |= m->nlmsg_type == RTM_NEWADDR;
	}
}

static void on_filter(struct loop_fd *f, unsigned events)
{
	struct proxy_watch *w = container_of(f, struct proxy_watch, on_filter);
	each(w, w->filter, filter_news);
}

static void on_route(struct loop_fd *f, unsigned events)
{
	struct proxy_watch *w = container_of(f, struct proxy_watch, on_route);
	each(w, w->route, route_news);
}

int proxy_watch_open(const struct proxy_watch_params *p, struct proxy_watch **out, struct err *err)
{
	static const int tables[] = { NFNLGRP_NFTABLES, 0 };
	static const int routes[] = { RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
				      RTNLGRP_IPV6_ROUTE, 0 };
	auto_fd int filter = sys_nl_listen(NETLINK_NETFILTER, tables, err);
	auto_fd int route = filter < 0 ? -1 : sys_nl_listen(NETLINK_ROUTE, routes, err);
	if (filter < 0 || route < 0)
		return -(int)(err ? err->class : ERR_IO);
	struct proxy_watch *w = mem_new(struct proxy_watch);
	w->p = *p;
	snprintf(w->services, sizeof(w->services), "knarr_proxy_%.8s", p->id);
	snprintf(w->ports, sizeof(w->ports), "knarr_cni_%.8s", p->id);
	loop_timer_init(&w->timer, p->loop, "changes by others", on_timer);
	int rc = loop_fd_open(&w->on_filter, p->loop, "changes of nftables", filter, on_filter, err);
	if (rc == 0 && (rc = loop_fd_open(&w->on_route, p->loop, "changes of routes", route, on_route, err)) < 0)
		loop_fd_close(&w->on_filter, NULL); /* the process ends with it */
	if (rc < 0)
		return rc;
	w->filter = take_fd(&filter);
	w->route = take_fd(&route);
	loop_fd_want(&w->on_filter, LOOP_READ);
	loop_fd_want(&w->on_route, LOOP_READ);
	*out = w;
	return 0;
}

static void closed(struct proxy_watch *w)
{
	if (--w->closing == 0)
		free(w);
}

static void filter_closed(struct loop_fd *f)
{
	closed(container_of(f, struct proxy_watch, on_filter));
}

static void route_closed(struct loop_fd *f)
{
	closed(container_of(f, struct proxy_watch, on_route));
}

void proxy_watch_close(struct proxy_watch *w)
{
	if (!w)
		return;
	w->closing = 2;
	loop_timer_stop(&w->timer);
	loop_fd_close(&w->on_filter, filter_closed);
	loop_fd_close(&w->on_route, route_closed);
	fd_close(&w->filter);
	fd_close(&w->route);
}
