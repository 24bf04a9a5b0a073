/* Ports of the host that lead to pods (hostPort): elements of a table of the plugin's own, so that they work before and without
 * the service proxy, and come and go with the pod (decision 0741).
 *
 *     table inet knarr_cni_ID
 *     guard        filter, prerouting -150   from kID-* to 127.0.0.0/8: drop (our interfaces have route_localnet)
 *     prerouting   dstnat                    to an address of the host: portsN_at, then portsN -> dnat
 *     output       dstnat                    the same for what the host itself sends, 127.0.0.1 included
 *     postrouting  srcnat                    1 dnat'ed, (source . destination) in hairpinN: masquerade
 *                                            2 from 127.0.0.0/8 to kID-*: masquerade
 *
 * Chains and rules are written once, in one transaction with the table; whoever finds the table finds it whole. When it is gone, or
 * another version wrote it, it is written with the ports of all pods (kept.c): by the next ADD, and by the proxy, which watches. */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>

#include "cni/private.h"

#define REG(n) SYS_NFT_REG(n)
#define COMMENT "knarr-cni 1"

enum { PORTS, PORTS_AT, HAIRPIN, KINDS };

static const struct sys_nft_set sets[FAMILIES][KINDS] = {
	[V4] = { [PORTS] = { "ports4", { SYS_NFT_PROTO, SYS_NFT_PORT }, { SYS_NFT_IP4, SYS_NFT_PORT } },
		 [PORTS_AT] = { "ports4_at", { SYS_NFT_IP4, SYS_NFT_PROTO, SYS_NFT_PORT }, { SYS_NFT_IP4, SYS_NFT_PORT } },
		 [HAIRPIN] = { "hairpin4", { SYS_NFT_IP4, SYS_NFT_IP4 }, { 0 } } },
	[V6] = { [PORTS] = { "ports6", { SYS_NFT_PROTO, SYS_NFT_PORT }, { SYS_NFT_IP6, SYS_NFT_PORT } },
		 [PORTS_AT] = { "ports6_at", { SYS_NFT_IP6, SYS_NFT_PROTO, SYS_NFT_PORT }, { SYS_NFT_IP6, SYS_NFT_PORT } },
		 [HAIRPIN] = { "hairpin6", { SYS_NFT_IP6, SYS_NFT_IP6 }, { 0 } } },
};
static const struct {
	uint8_t family;
	uint32_t saddr, daddr, len, words;
} ip[FAMILIES] = { { NFPROTO_IPV4, 12, 16, 4, 1 }, { NFPROTO_IPV6, 8, 24, 16, 4 } };

static void family_is(struct sys_nl_batch *b, int v)
{
	sys_nft_meta(b, NFT_META_NFPROTO, REG(0));
	sys_nft_cmp(b, NFT_CMP_EQ, REG(0), &ip[v].family, 1);
}

static void loopback_net(struct sys_nl_batch *b, uint32_t offset)
{
	static const uint8_t mask[4] = { 255 }, net[4] = { 127 };
	sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, offset, 4, REG(0));
	sys_nft_bitwise(b, REG(0), REG(0), mask, 4);
	sys_nft_cmp(b, NFT_CMP_EQ, REG(0), net, 4);
}

/* A comparison of fewer bytes than the name has: what nft writes for "kID-*". */
static void ours(struct cni_call *c, struct sys_nl_batch *b, uint32_t key)
{
	sys_nft_meta(b, key, REG(0));
	sys_nft_cmp(b, NFT_CMP_EQ, REG(0), c->prefix, strlen(c->prefix));
}

static void rules_ports(struct sys_nft *n, const char *chain)
{
	struct sys_nl_batch *b = &n->batch;
	for (int v = V4; v < FAMILIES; v++)
		for (int kind = PORTS_AT; kind >= PORTS; kind--) {
			struct sys_nft_rule r = sys_nft_rule_begin(n, chain);
			unsigned at = kind == PORTS_AT ? ip[v].words : 0;
			family_is(b, v);
			sys_nft_fib_local(b);
			if (at)
				sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ip[v].daddr, ip[v].len, REG(0));
			sys_nft_meta(b, NFT_META_L4PROTO, REG(at));
			sys_nft_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, REG(at + 1));
			sys_nft_lookup(b, &sets[v][kind], REG(0), REG(0), false);
			sys_nft_dnat(b, ip[v].family, REG(0), REG(ip[v].words));
			sys_nft_rule_end(n, r);
		}
}

static void table_write(struct cni_call *c, struct sys_nft *n)
{
	struct sys_nl_batch *b = &n->batch;
	struct sys_nft_rule r;
	sys_nft_table_new(n, COMMENT);
	sys_nft_chain_add(n, "guard", "filter", NF_INET_PRE_ROUTING, -150);
	sys_nft_chain_add(n, "prerouting", "nat", NF_INET_PRE_ROUTING, -100);
	sys_nft_chain_add(n, "output", "nat", NF_INET_LOCAL_OUT, -100);
	sys_nft_chain_add(n, "postrouting", "nat", NF_INET_POST_ROUTING, 100);
	for (unsigned v = 0; v < FAMILIES; v++)
		for (unsigned kind = 0; kind < KINDS; kind++)
			sys_nft_set_add(n, &sets[v][kind], v * KINDS + kind + 1);
	r = sys_nft_rule_begin(n, "guard");
	ours(c, b, NFT_META_IIFNAME);
	family_is(b, V4);
	loopback_net(b, ip[V4].daddr);
	sys_nft_verdict(b, NF_DROP, NULL);
	sys_nft_rule_end(n, r);
	rules_ports(n, "prerouting");
	rules_ports(n, "output");
	for (int v = V4; v < FAMILIES; v++) {
		r = sys_nft_rule_begin(n, "postrouting");
		family_is(b, v);
		sys_nft_ct_any(b, NFT_CT_STATUS, IPS_DST_NAT);
		sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ip[v].saddr, ip[v].len, REG(0));
		sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ip[v].daddr, ip[v].len, REG(ip[v].words));
		sys_nft_lookup(b, &sets[v][HAIRPIN], REG(0), REG(0), false);
		sys_nft_masquerade(b);
		sys_nft_rule_end(n, r);
	}
	r = sys_nft_rule_begin(n, "postrouting");
	ours(c, b, NFT_META_OIFNAME);
	family_is(b, V4);
	loopback_net(b, ip[V4].saddr);
	sys_nft_masquerade(b);
	sys_nft_rule_end(n, r);
}

static unsigned port_key(int v, const struct cni_port *p, uint8_t out[24])
{
	unsigned at = p->at.family ? ip[v].len : 0;
	memset(out, 0, 24);
	memcpy(out, p->at.b, at);
	out[at] = p->protocol;
	out[at + 4] = (uint8_t)(p->host >> 8);
	out[at + 5] = (uint8_t)p->host;
	return at + 8;
}

static void port_data(int v, const struct cni_lease *l, const struct cni_port *p, uint8_t out[20])
{
	memset(out, 0, 20);
	memcpy(out, l->addr[v].b, ip[v].len);
	out[ip[v].len] = (uint8_t)(p->pod >> 8);
	out[ip[v].len + 1] = (uint8_t)p->pod;
}

static bool applies(const struct cni_lease *l, const struct cni_port *p, int v)
{
	return l->addr[v].family && (!p->at.family || p->at.family == l->addr[v].family);
}

struct writing {
	struct sys_nft *n;
};

static void ports_put(void *arg, const struct cni_lease *l, const struct cni_port *ports, unsigned n)
{
	struct writing *w = arg;
	for (int v = V4; v < FAMILIES; v++) {
		uint8_t key[24], data[20], pair[32];
		bool any = false;
		for (unsigned i = 0; i < n; i++) {
			if (!applies(l, &ports[i], v))
				continue;
			(void)port_key(v, &ports[i], key);
			port_data(v, l, &ports[i], data);
			sys_nft_element(w->n, &sets[v][ports[i].at.family ? PORTS_AT : PORTS], true, key, NULL, data, false);
			any = true;
		}
		if (!any)
			continue;
		memcpy(pair, l->addr[v].b, ip[v].len);
		memcpy(pair + ip[v].len, l->addr[v].b, ip[v].len);
		sys_nft_element(w->n, &sets[v][HAIRPIN], true, pair, NULL, NULL, false);
	}
}

static bool table_is_ours(struct cni_call *c)
{
	char comment[64];
	auto_err struct err err = ERR_INIT;
	return sys_nft_table_comment(c->nf, NFPROTO_INET, c->table, comment, &err) == 0 && strcmp(comment, COMMENT) == 0;
}

int cni_table_ready(struct cni_call *c)
{
	struct cni_kept kept;
	struct sys_nft n;
	int rc = 0;
	if (table_is_ours(c))
		return 0;
	cni_kept_lock(c, &kept);
	for (int with_ports = 1; with_ports >= 0 && !table_is_ours(c); with_ports--) { /* somebody was faster: just as good */
		struct writing w = { .n = &n };
		sys_nft_init(&n, c->nf, NFPROTO_INET, c->table);
		sys_nft_table_delete_add(&n);
		table_write(c, &n);
		rc = with_ports ? cni_kept_each(c, &kept, ports_put, &w) : 0;
		if (rc == 0)
			rc = sys_nft_commit(&n, "writing the plugin's nftables table", &c->err);
		sys_nft_done(&n);
		if (rc == 0 || !with_ports)
			break;
		/* What is kept contradicts itself: the guard is worth more than ports. */
		err_done(&c->err);
		c->code = CNI_OK;
	}
	cni_kept_done(&kept);
	return rc < 0 ? cni_fail_with(c, CNI_IO) : 0;
}

struct claim {
	int v;
	const struct cni_lease *l;
	const uint8_t *key;
	unsigned key_len;
	bool others, mine;
	struct sys_nft *n; /* taking out */
	const struct sys_nft_set *set;
};

static int on_element(void *arg, struct span key, struct span data, uint32_t flags)
{
	struct claim *k = arg;
	bool mine = data.len >= ip[k->v].len && memcmp(data.ptr, k->l->addr[k->v].b, ip[k->v].len) == 0;
	if (k->n) {
		if (mine && key.len == sys_nft_key_len(k->set))
			sys_nft_element(k->n, k->set, false, key.ptr, NULL, NULL, false);
	} else if (key.len == k->key_len && memcmp(key.ptr, k->key, key.len) == 0) {
		k->others |= !mine;
		k->mine |= mine;
	}
	return 0;
}

/* A port that leads elsewhere already is refused in words; the kernel alone would say EEXIST of the whole transaction. */
int cni_ports_add(struct cni_call *c, const struct cni_lease *l)
{
	struct sys_nft n;
	sys_nft_init(&n, c->nf, NFPROTO_INET, c->table);
	for (int v = V4; v < FAMILIES; v++) {
		bool any = false;
		for (unsigned i = 0; i < c->n_ports; i++) {
			const struct cni_port *p = &c->ports[i];
			uint8_t key[24], data[20];
			if (!applies(l, p, v))
				continue;
			const struct sys_nft_set *set = &sets[v][p->at.family ? PORTS_AT : PORTS];
			struct claim k = { .v = v, .l = l, .key = key, .key_len = port_key(v, p, key) };
			if (sys_nft_each(c->nf, NFPROTO_INET, c->table, set->name, on_element, &k, &c->err) < 0) {
				sys_nft_done(&n);
				return cni_fail_with(c, CNI_IO);
			}
			if (k.others) {
				sys_nft_done(&n);
				return cni_fail(c, CNI_CONFIG, "port %u of the host leads to another pod already", p->host);
			}
			any = true;
			if (k.mine)
				continue;
			port_data(v, l, p, data);
			sys_nft_element(&n, set, true, key, NULL, data, false);
		}
		if (any) {
			uint8_t pair[32];
			memcpy(pair, l->addr[v].b, ip[v].len);
			memcpy(pair + ip[v].len, l->addr[v].b, ip[v].len);
			sys_nft_element(&n, &sets[v][HAIRPIN], true, pair, NULL, NULL, false);
		}
	}
	int rc = sys_nft_commit(&n, "publishing the pod's ports", &c->err);
	sys_nft_done(&n);
	return rc < 0 ? cni_fail_with(c, CNI_IO) : 0;
}

static int on_pair(void *arg, struct span key, struct span data, uint32_t flags)
{
	return on_element(arg, key, key, flags); /* both halves are the pod's address */
}

int cni_ports_drop(struct cni_call *c, const struct cni_lease *l)
{
	struct sys_nft n;
	auto_err struct err err = ERR_INIT;
	sys_nft_init(&n, c->nf, NFPROTO_INET, c->table);
	int rc = 0;
	for (int v = V4; v < FAMILIES && rc == 0; v++) {
		for (int kind = 0; l->addr[v].family && kind < KINDS && rc == 0; kind++) {
			struct claim k = { .v = v, .l = l, .n = &n, .set = &sets[v][kind] };
			rc = sys_nft_each(c->nf, NFPROTO_INET, c->table, sets[v][kind].name, kind == HAIRPIN ? on_pair : on_element, &k,
					  &err);
		}
	}
	if (rc == -ERR_NOT_FOUND) {
		rc = 0; /* no table, no ports */
		sys_nft_drop(&n);
	}
	if (rc == 0)
		rc = sys_nft_commit(&n, "taking back the pod's ports", &err);
	sys_nft_done(&n);
	if (rc < 0 && c->code == CNI_OK) {
		err_move(&c->err, &err);
		return cni_fail_with(c, CNI_IO);
	}
	return 0;
}

int cni_ports_check(struct cni_call *c, const struct cni_lease *l)
{
	for (int v = V4; v < FAMILIES; v++)
		for (unsigned i = 0; i < c->n_ports; i++) {
			const struct cni_port *p = &c->ports[i];
			uint8_t key[24];
			if (!applies(l, p, v))
				continue;
			struct claim k = { .v = v, .l = l, .key = key, .key_len = port_key(v, p, key) };
			if (sys_nft_each(c->nf, NFPROTO_INET, c->table, sets[v][p->at.family ? PORTS_AT : PORTS].name, on_element, &k,
					 &c->err) < 0)
				return cni_fail_with(c, CNI_IO);
			if (!k.mine)
				return cni_fail(c, CNI_DIFFERENT, "port %u of the host does not lead to the pod", p->host);
		}
	return 0;
}
