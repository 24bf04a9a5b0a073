/* nftables as netlink messages (linux/netfilter/nf_tables.h), without libnftnl: what is needed are a dozen expressions and one
 * form of element, the library would be a dlopen of three objects for them (decision 0610).
 *
 *     table inet knarr_net_ID
 *     prerouting   dstnat     from QUIET: accept; to an address of the host: PORTSn_AT, then PORTSn → dnat
 *     output       dstnat     the same for what the host itself sends, loopback excepted (the relay's part)
 *     forward      filter     1 to BRIDGES, established or related: accept
 *                             2 in . out in SAME: accept
 *                             3 from or to INTERNAL: drop
 *                             4 to BRIDGES: dnat'ed, or in ROUTEDn: accept; else drop
 *     postrouting  srcnat     1 from a subnet in MASQn and not (out . source) in LOCALn: masquerade
 *                             2 (out . source) in LOCALn and dnat'ed: masquerade (hairpin: the answer must come back through
 * us)
 *
 * The hairpin is told by addresses and not by the incoming interface: with br_netfilter on, a frame that stays on its bridge
 * has no incoming interface in postrouting. Policy is accept everywhere: what is not to or from our bridges is no concern of
 * ours. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include "network/nft.h"

#define REG(n) SYS_NFT_REG(n)
#define IFNAME 16
#define PRIORITY_DSTNAT (-100)
#define PRIORITY_FILTER 0
#define PRIORITY_SRCNAT 100

static const struct sys_nft_set sets[NETWORK_NFT_SET_COUNT] = {
	[NETWORK_NFT_BRIDGES] = { "bridges", { SYS_NFT_NAME }, { 0 }, false },
	[NETWORK_NFT_SAME] = { "same", { SYS_NFT_NAME, SYS_NFT_NAME }, { 0 }, false },
	[NETWORK_NFT_QUIET] = { "quiet", { SYS_NFT_NAME }, { 0 }, false },
	[NETWORK_NFT_INTERNAL] = { "internal", { SYS_NFT_NAME }, { 0 }, false },
	[NETWORK_NFT_MASQ4] = { "masq4", { SYS_NFT_IP4 }, { 0 }, true },
	[NETWORK_NFT_MASQ6] = { "masq6", { SYS_NFT_IP6 }, { 0 }, true },
	[NETWORK_NFT_LOCAL4] = { "local4", { SYS_NFT_NAME, SYS_NFT_IP4 }, { 0 }, true },
	[NETWORK_NFT_LOCAL6] = { "local6", { SYS_NFT_NAME, SYS_NFT_IP6 }, { 0 }, true },
	[NETWORK_NFT_PORTS4] = { "ports4", { SYS_NFT_PROTO, SYS_NFT_PORT }, { SYS_NFT_IP4, SYS_NFT_PORT }, false },
	[NETWORK_NFT_PORTS6] = { "ports6", { SYS_NFT_PROTO, SYS_NFT_PORT }, { SYS_NFT_IP6, SYS_NFT_PORT }, false },
	[NETWORK_NFT_PORTS4_AT] = { "ports4_at", { SYS_NFT_IP4, SYS_NFT_PROTO, SYS_NFT_PORT }, { SYS_NFT_IP4, SYS_NFT_PORT }, false },
	[NETWORK_NFT_PORTS6_AT] = { "ports6_at", { SYS_NFT_IP6, SYS_NFT_PROTO, SYS_NFT_PORT }, { SYS_NFT_IP6, SYS_NFT_PORT }, false },
	[NETWORK_NFT_ROUTED4] = { "routed4", { SYS_NFT_IP4, SYS_NFT_PROTO, SYS_NFT_PORT }, { 0 }, false },
	[NETWORK_NFT_ROUTED6] = { "routed6", { SYS_NFT_IP6, SYS_NFT_PROTO, SYS_NFT_PORT }, { 0 }, false },
};

static void lookup(struct sys_nl_batch *b, enum network_nft_set set, uint32_t reg, bool invert)
{
	sys_nft_lookup(b, &sets[set], reg, reg, invert); /* a map's data go to the same registers */
}

static void family_is(struct sys_nl_batch *b, uint8_t family)
{
	sys_nft_meta(b, NFT_META_NFPROTO, REG(0));
	sys_nft_cmp(b, NFT_CMP_EQ, REG(0), &family, 1);
}

/* ---- the table */

static const struct family_row {
	uint8_t family;
	uint32_t saddr, daddr, len; /* offsets in the IP head */
	uint32_t words;             /* registers of an address */
	enum network_nft_set masq, local, ports, ports_at, routed;
} families[] = {
	{ NFPROTO_IPV4, 12, 16, 4, 1, NETWORK_NFT_MASQ4, NETWORK_NFT_LOCAL4, NETWORK_NFT_PORTS4, NETWORK_NFT_PORTS4_AT,
		NETWORK_NFT_ROUTED4 },
	{ NFPROTO_IPV6, 8, 24, 16, 4, NETWORK_NFT_MASQ6, NETWORK_NFT_LOCAL6, NETWORK_NFT_PORTS6, NETWORK_NFT_PORTS6_AT,
		NETWORK_NFT_ROUTED6 },
};

static void protocol_port(struct sys_nl_batch *b, unsigned reg)
{
	sys_nft_meta(b, NFT_META_L4PROTO, REG(reg));
	sys_nft_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, REG(reg + 1));
}

static void rules_ports(struct sys_nft *n, const char *chain_name, bool not_loopback)
{
	static const uint8_t mask[4] = { 255 }, net[4] = { 127 }, one[16] = { [15] = 1 };
	struct sys_nl_batch *b = &n->batch;
	for (unsigned i = 0; i < ARRAY_LEN(families); i++) {
		const struct family_row *f = &families[i];
		for (int at = 1; at >= 0; at--) {
			struct sys_nft_rule r = sys_nft_rule_begin(n, chain_name);
			family_is(b, f->family);
			if (not_loopback) {
				sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->daddr, f->len, REG(0));
				if (f->len == 4)
					sys_nft_bitwise(b, REG(0), REG(0), mask, 4);
				sys_nft_cmp(b, NFT_CMP_NEQ, REG(0), f->len == 4 ? net : one, f->len);
			}
			sys_nft_fib_local(b);
			if (at)
				sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->daddr, f->len, REG(0));
			protocol_port(b, at ? f->words : 0);
			lookup(b, at ? f->ports_at : f->ports, REG(0), false);
			sys_nft_dnat(b, f->family, REG(0), REG(f->words));
			sys_nft_rule_end(n, r);
		}
	}
}

static void rule_interface(struct sys_nft *n, const char *chain_name, uint32_t key, enum network_nft_set set, int code)
{
	struct sys_nft_rule r = sys_nft_rule_begin(n, chain_name);
	sys_nft_meta(&n->batch, key, REG(0));
	lookup(&n->batch, set, REG(0), false);
	sys_nft_verdict(&n->batch, code, NULL);
	sys_nft_rule_end(n, r);
}

static void rules_forward(struct sys_nft *n)
{
	struct sys_nl_batch *b = &n->batch;
	/* State bits as nft_ct.c gives them: NF_CT_STATE_BIT(IP_CT_ESTABLISHED) = 2, RELATED = 4. */
	for (int pass = 0; pass < 2; pass++) {
		struct sys_nft_rule r = sys_nft_rule_begin(n, "forward");
		if (pass == 0) {
			sys_nft_meta(b, NFT_META_OIFNAME, REG(0));
			lookup(b, NETWORK_NFT_BRIDGES, REG(0), false);
			sys_nft_ct_any(b, NFT_CT_STATE, 2 | 4);
		} else {
			sys_nft_meta(b, NFT_META_IIFNAME, REG(0));
			sys_nft_meta(b, NFT_META_OIFNAME, REG(4));
			lookup(b, NETWORK_NFT_SAME, REG(0), false);
		}
		sys_nft_verdict(b, NF_ACCEPT, NULL);
		sys_nft_rule_end(n, r);
	}
	rule_interface(n, "forward", NFT_META_IIFNAME, NETWORK_NFT_INTERNAL, NF_DROP);
	rule_interface(n, "forward", NFT_META_OIFNAME, NETWORK_NFT_INTERNAL, NF_DROP);
	struct sys_nft_rule r = sys_nft_rule_begin(n, "forward");
	sys_nft_meta(b, NFT_META_OIFNAME, REG(0));
	lookup(b, NETWORK_NFT_BRIDGES, REG(0), false);
	sys_nft_ct_any(b, NFT_CT_STATUS, IPS_DST_NAT);
	sys_nft_verdict(b, NF_ACCEPT, NULL);
	sys_nft_rule_end(n, r);
	for (unsigned i = 0; i < ARRAY_LEN(families); i++) {
		const struct family_row *f = &families[i];
		r = sys_nft_rule_begin(n, "forward");
		family_is(b, f->family);
		sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->daddr, f->len, REG(0));
		protocol_port(b, f->words);
		lookup(b, f->routed, REG(0), false);
		sys_nft_verdict(b, NF_ACCEPT, NULL);
		sys_nft_rule_end(n, r);
	}
	rule_interface(n, "forward", NFT_META_OIFNAME, NETWORK_NFT_BRIDGES, NF_DROP);
}

static void rules_postrouting(struct sys_nft *n)
{
	struct sys_nl_batch *b = &n->batch;
	for (unsigned i = 0; i < ARRAY_LEN(families); i++) {
		const struct family_row *f = &families[i];
		for (int hairpin = 0; hairpin < 2; hairpin++) {
			struct sys_nft_rule r = sys_nft_rule_begin(n, "postrouting");
			family_is(b, f->family);
			if (hairpin) {
				sys_nft_ct_any(b, NFT_CT_STATUS, IPS_DST_NAT);
			} else {
				sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->saddr, f->len, REG(0));
				lookup(b, f->masq, REG(0), false);
			}
			sys_nft_meta(b, NFT_META_OIFNAME, REG(0));
			sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->saddr, f->len, REG(4));
			lookup(b, f->local, REG(0), !hairpin);
			sys_nft_masquerade(b);
			sys_nft_rule_end(n, r);
		}
	}
}

void network_nft_init(struct sys_nft *n, int sock, const char *id)
{
	char table[32];
	snprintf(table, sizeof(table), "knarr_net_%.8s", id);
	sys_nft_init(n, sock, NFPROTO_INET, table);
}

void network_nft_table_add(struct sys_nft *n)
{
	sys_nft_table_delete_add(n);
	sys_nft_table_add(n);
	sys_nft_chain_add(n, "prerouting", "nat", NF_INET_PRE_ROUTING, PRIORITY_DSTNAT);
	sys_nft_chain_add(n, "output", "nat", NF_INET_LOCAL_OUT, PRIORITY_DSTNAT);
	sys_nft_chain_add(n, "forward", "filter", NF_INET_FORWARD, PRIORITY_FILTER);
	sys_nft_chain_add(n, "postrouting", "nat", NF_INET_POST_ROUTING, PRIORITY_SRCNAT);
	for (unsigned i = 0; i < NETWORK_NFT_SET_COUNT; i++)
		sys_nft_set_add(n, &sets[i], i + 1);
	rule_interface(n, "prerouting", NFT_META_IIFNAME, NETWORK_NFT_QUIET, NF_ACCEPT);
	rules_ports(n, "prerouting", false);
	rules_ports(n, "output", true);
	rules_forward(n);
	rules_postrouting(n);
}

/* ---- elements */

static void element(struct sys_nft *n, enum network_nft_set set, bool add, const void *key, const void *key_end, const void *data,
		    bool interval_end)
{
	sys_nft_element(n, &sets[set], add, key, key_end, data, interval_end);
}

static void name_into(uint8_t out[IFNAME], const char *name)
{
	memset(out, 0, IFNAME);
	memcpy(out, name, strnlen(name, IFNAME - 1));
}

void network_nft_interface(struct sys_nft *n, enum network_nft_set set, bool add, const char *name)
{
	uint8_t key[IFNAME];
	name_into(key, name);
	element(n, set, add, key, NULL, NULL, false);
}

void network_nft_pair(struct sys_nft *n, bool add, const char *name)
{
	uint8_t key[2 * IFNAME];
	name_into(key, name);
	name_into(key + IFNAME, name);
	element(n, NETWORK_NFT_SAME, add, key, NULL, NULL, false);
}

/* The first and the last address; *out_next is the one behind, false when there is none. */
static bool bounds(const struct sys_prefix *p, uint8_t first[16], uint8_t last[16], uint8_t next[16])
{
	unsigned len = sys_addr_len(&p->addr);
	memcpy(first, sys_prefix_mask(*p).addr.b, 16);
	memcpy(last, first, 16);
	for (unsigned bit = p->bits; bit < len * 8; bit++)
		last[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	memcpy(next, last, 16);
	for (unsigned i = len; i-- > 0;)
		if (++next[i] != 0)
			return true;
	return false;
}

void network_nft_subnet(struct sys_nft *n, bool add, const struct sys_prefix *p)
{
	enum network_nft_set set = p->addr.family == AF_INET ? NETWORK_NFT_MASQ4 : NETWORK_NFT_MASQ6;
	uint8_t first[16], last[16], next[16];
	bool more = bounds(p, first, last, next);
	element(n, set, add, first, NULL, NULL, false);
	if (more)
		element(n, set, add, next, NULL, NULL, true);
}

void network_nft_behind(struct sys_nft *n, bool add, const char *name, const struct sys_prefix *p)
{
	uint8_t from[IFNAME + 16], to[IFNAME + 16], next[16];
	name_into(from, name);
	name_into(to, name);
	(void)bounds(p, from + IFNAME, to + IFNAME, next);
	element(n, p->addr.family == AF_INET ? NETWORK_NFT_LOCAL4 : NETWORK_NFT_LOCAL6, add, from, to, NULL, false);
}

static void put_port(uint8_t out[8], uint8_t protocol, uint16_t port)
{
	memset(out, 0, 8);
	out[0] = protocol;
	out[4] = (uint8_t)(port >> 8);
	out[5] = (uint8_t)port;
}

void network_nft_port(struct sys_nft *n, bool add, const struct sys_addr *at, uint8_t protocol, uint16_t port,
		      const struct sys_addr *to, uint16_t to_port)
{
	const struct family_row *f = &families[to->family == AF_INET6];
	uint8_t key[24], data[20] = { 0 };
	if (at)
		memcpy(key, at->b, f->len);
	put_port(key + (at ? f->len : 0), protocol, port);
	memcpy(data, to->b, f->len);
	data[f->len] = (uint8_t)(to_port >> 8);
	data[f->len + 1] = (uint8_t)to_port;
	element(n, at ? f->ports_at : f->ports, add, key, NULL, data, false);
}

void network_nft_routed(struct sys_nft *n, bool add, const struct sys_addr *to, uint8_t protocol, uint16_t port)
{
	const struct family_row *f = &families[to->family == AF_INET6];
	uint8_t key[24];
	memcpy(key, to->b, f->len);
	put_port(key + f->len, protocol, port);
	element(n, f->routed, add, key, NULL, NULL, false);
}

/* ---- inside a container */

static const char dns_table[] = "knarr_dns";

static void dns_rule(struct sys_nl_batch *b, uint8_t protocol, uint16_t port)
{
	static const uint8_t server[4] = { 127, 0, 0, 11 };
	uint16_t from = htons(53), to = htons(port);
	size_t m = sys_nft_message(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, NFPROTO_IPV4);
	sys_nl_str(b, NFTA_RULE_TABLE, dns_table);
	sys_nl_str(b, NFTA_RULE_CHAIN, "output");
	size_t list = sys_nl_nest(b, NFTA_RULE_EXPRESSIONS);
	sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, 16, 4, REG(0));
	sys_nft_cmp(b, NFT_CMP_EQ, REG(0), server, 4);
	sys_nft_meta(b, NFT_META_L4PROTO, REG(0));
	sys_nft_cmp(b, NFT_CMP_EQ, REG(0), &protocol, 1);
	sys_nft_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, REG(0));
	sys_nft_cmp(b, NFT_CMP_EQ, REG(0), &from, 2);
	sys_nft_immediate(b, REG(0), server, 4);
	sys_nft_immediate(b, REG(1), &to, 2);
	sys_nft_dnat(b, NFPROTO_IPV4, REG(0), REG(1));
	sys_nl_nest_end(b, list);
	sys_nl_end(b, m);
}

int network_nft_dns(int sock, bool again, uint16_t udp_port, uint16_t tcp_port, struct err *err)
{
	auto_nl_batch struct sys_nl_batch b = { 0 };
	static const struct {
		uint16_t type;
		unsigned flags;
	} steps[] = { { NFT_MSG_NEWTABLE, NLM_F_CREATE }, { NFT_MSG_DELTABLE, 0 }, { NFT_MSG_NEWTABLE, NLM_F_CREATE } };
	sys_nft_batch_begin(&b);
	for (unsigned i = again ? 0 : 2; i < ARRAY_LEN(steps); i++) {
		size_t m = sys_nft_message(&b, steps[i].type, steps[i].flags, NFPROTO_IPV4);
		sys_nl_str(&b, NFTA_TABLE_NAME, dns_table);
		sys_nl_end(&b, m);
	}
	size_t m = sys_nft_message(&b, NFT_MSG_NEWCHAIN, NLM_F_CREATE, NFPROTO_IPV4);
	sys_nl_str(&b, NFTA_CHAIN_TABLE, dns_table);
	sys_nl_str(&b, NFTA_CHAIN_NAME, "output");
	size_t h = sys_nl_nest(&b, NFTA_CHAIN_HOOK);
	sys_nl_be32(&b, NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_OUT);
	sys_nl_be32(&b, NFTA_HOOK_PRIORITY, (uint32_t)PRIORITY_DSTNAT);
	sys_nl_nest_end(&b, h);
	sys_nl_str(&b, NFTA_CHAIN_TYPE, "nat");
	sys_nl_end(&b, m);
	dns_rule(&b, IPPROTO_UDP, udp_port);
	dns_rule(&b, IPPROTO_TCP, tcp_port);
	sys_nft_batch_end(&b);
	return sys_nl_commit(sock, &b, NULL, "redirecting 127.0.0.11:53 inside the container", err);
}

/* ---- in chains of others */

/* User data of a rule as libnftnl keeps it: type 0 = comment, length with the 0 byte, text. */
void network_nft_accept_add(struct sys_nl_batch *b, uint8_t family, const char *table, const char *chain_name, bool out,
			    const char *name, bool prefix, struct span comment)
{
	char data[128];
	size_t len = MIN(comment.len, sizeof(data) - 3);
	uint8_t key[IFNAME];
	size_t m = sys_nft_message(b, NFT_MSG_NEWRULE, NLM_F_CREATE, family);
	sys_nl_str(b, NFTA_RULE_TABLE, table);
	sys_nl_str(b, NFTA_RULE_CHAIN, chain_name);
	size_t list = sys_nl_nest(b, NFTA_RULE_EXPRESSIONS);
	name_into(key, name);
	sys_nft_meta(b, out ? NFT_META_OIFNAME : NFT_META_IIFNAME, NFT_REG_1);
	/* With its 0 byte: what iptables makes of `-i name`; without it, of `-i name+`. */
	sys_nft_cmp(b, NFT_CMP_EQ, NFT_REG_1, key, strlen(name) + !prefix);
	sys_nft_verdict(b, NF_ACCEPT, NULL);
	sys_nl_nest_end(b, list);
	data[0] = 0;
	data[1] = (char)(len + 1);
	memcpy(data + 2, comment.ptr, len);
	data[2 + len] = 0;
	sys_nl_put(b, NFTA_RULE_USERDATA, data, len + 3);
	sys_nl_end(b, m);
}
