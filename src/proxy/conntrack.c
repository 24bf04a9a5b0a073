/* UDP has no end of a connection: the kernel goes on translating a flow to an endpoint that is gone, for as long as its client
 * keeps sending. Such flows are forgotten, as kube-proxy forgets them; so are flows that began while a service had no
 * endpoint. Messages of ctnetlink (linux/netfilter/nfnetlink_conntrack.h). */
#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include "proxy/kernel.h"

/* Deletions at once: some 50 KB of them, and their acknowledgements fit into a socket that was given no more room. */
#define BATCH_MAX 500

static const int gone[] = { ENOENT, 0 };

struct flow {
	struct sys_addr src, dst;
	uint16_t dport, sport;
	uint8_t protocol;
};

static bool tuple_read(const struct nlattr *t, struct flow *out)
{
	const struct nlattr *a[CTA_TUPLE_PROTO + 1], *ip[CTA_IP_V6_DST + 1], *p[CTA_PROTO_DST_PORT + 1];
	if (!t)
		return false;
	sys_nl_attrs(sys_nl_data(t), sys_nl_len(t), a, ARRAY_LEN(a));
	if (!a[CTA_TUPLE_IP] || !a[CTA_TUPLE_PROTO])
		return false;
	sys_nl_attrs(sys_nl_data(a[CTA_TUPLE_IP]), sys_nl_len(a[CTA_TUPLE_IP]), ip, ARRAY_LEN(ip));
	sys_nl_attrs(sys_nl_data(a[CTA_TUPLE_PROTO]), sys_nl_len(a[CTA_TUPLE_PROTO]), p, ARRAY_LEN(p));
	const struct nlattr *src = ip[CTA_IP_V4_SRC] ? ip[CTA_IP_V4_SRC] : ip[CTA_IP_V6_SRC];
	const struct nlattr *dst = ip[CTA_IP_V4_DST] ? ip[CTA_IP_V4_DST] : ip[CTA_IP_V6_DST];
	size_t len = ip[CTA_IP_V4_SRC] ? 4 : 16;
	if (!src || !dst || sys_nl_len(src) != len || sys_nl_len(dst) != len || !p[CTA_PROTO_NUM] || !p[CTA_PROTO_SRC_PORT] ||
	    !p[CTA_PROTO_DST_PORT] || sys_nl_len(p[CTA_PROTO_SRC_PORT]) < 2 || sys_nl_len(p[CTA_PROTO_DST_PORT]) < 2)
		return false;
	*out = (struct flow){ .src.family = len == 4 ? AF_INET : AF_INET6, .dst.family = len == 4 ? AF_INET : AF_INET6 };
	memcpy(out->src.b, sys_nl_data(src), len);
	memcpy(out->dst.b, sys_nl_data(dst), len);
	memcpy(&out->protocol, sys_nl_data(p[CTA_PROTO_NUM]), 1);
	memcpy(&out->sport, sys_nl_data(p[CTA_PROTO_SRC_PORT]), 2);
	memcpy(&out->dport, sys_nl_data(p[CTA_PROTO_DST_PORT]), 2);
	out->sport = ntohs(out->sport);
	out->dport = ntohs(out->dport);
	return true;
}

struct flush {
	const struct proxy_stale *stale;
	size_t n;
	int sock; /* for deletions: the list is still being read from the other one */
	struct sys_nl_batch batch;
	unsigned found;
	int rc; /* the first failure, which err tells */
	struct err *err;
};

static void forget(struct flush *f)
{
	if (f->batch.n && f->rc == 0)
		f->rc = sys_nl_commit(f->sock, &f->batch, gone, "forgetting UDP flows", f->err);
}

static int on_flow(void *arg, const struct nlmsghdr *m)
{
	struct flush *f = arg;
	const struct nlattr *a[CTA_ID + 1];
	struct flow asked, answered;
	if (m->nlmsg_type != (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW) || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct nfgenmsg)))
		return 0;
	const struct nfgenmsg *g = NLMSG_DATA(m);
	const char *body = (const char *)g + NLMSG_ALIGN(sizeof(*g));
	sys_nl_attrs(body, m->nlmsg_len - NLMSG_LENGTH(sizeof(*g)), a, ARRAY_LEN(a));
	if (!tuple_read(a[CTA_TUPLE_ORIG], &asked) || !tuple_read(a[CTA_TUPLE_REPLY], &answered) || asked.protocol != IPPROTO_UDP)
		return 0;
	bool translated = a[CTA_STATUS] && (sys_nl_get_be32(a[CTA_STATUS]) & IPS_DST_NAT);
	for (size_t i = 0; i < f->n; i++) {
		const struct proxy_stale *s = &f->stale[i];
		const struct sys_addr *addr = s->front ? &asked.dst : &answered.src;
		uint16_t port = s->front ? asked.dport : answered.sport;
		if (translated == s->front || port != s->port || (s->addr.family && !sys_addr_eq(addr, &s->addr)))
			continue;
		struct nfgenmsg head = { .nfgen_family = g->nfgen_family, .version = NFNETLINK_V0 };
		size_t msg = sys_nl_begin(&f->batch, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, 0, &head, sizeof(head));
		sys_nl_put(&f->batch, CTA_TUPLE_ORIG | NLA_F_NESTED, sys_nl_data(a[CTA_TUPLE_ORIG]), sys_nl_len(a[CTA_TUPLE_ORIG]));
		if (a[CTA_ID])
			sys_nl_put(&f->batch, CTA_ID, sys_nl_data(a[CTA_ID]), sys_nl_len(a[CTA_ID]));
		sys_nl_end(&f->batch, msg);
		f->found++;
		if (f->batch.n >= BATCH_MAX)
			forget(f);
		break;
	}
	return f->rc; /* after a failure no further flow is asked for */
}

int proxy_conntrack_flush(const struct proxy_stale *stale, size_t n, unsigned *out_flows, struct err *err)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	auto_fd int sock = sys_nl_open(NETLINK_NETFILTER, err);
	auto_fd int out = sock < 0 ? sock : sys_nl_open(NETLINK_NETFILTER, err);
	struct flush f = { .stale = stale, .n = n, .sock = out, .err = err };
	int rc = out < 0 ? out : 0;
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(families); i++) {
		/* May be long, and a flow that it lacks is a flow of somebody who goes on asking: the next change finds it. */
		auto_nl_batch struct sys_nl_batch b = { .torn_ok = true };
		struct nfgenmsg g = { .nfgen_family = families[i], .version = NFNETLINK_V0 };
		sys_nl_end(&b, sys_nl_begin(&b, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, NLM_F_DUMP, &g, sizeof(g)));
		rc = sys_nl_ask(sock, &b, on_flow, &f, "listing connections", err);
		if (rc == 0) {
			forget(&f);
			rc = f.rc;
		}
	}
	sys_nl_batch_done(&f.batch);
	if (rc == 0 && out_flows)
		*out_flows = f.found;
	return rc;
}
