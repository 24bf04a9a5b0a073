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

#define REG(n) (NFT_REG32_00 + (n)) /* registers of 4 bytes */
#define IFNAME 16
#define PRIORITY_DSTNAT (-100)
#define PRIORITY_FILTER 0
#define PRIORITY_SRCNAT 100

/* nft's numbers of types, for its listings. */
enum { T_NONE, T_IP4 = 7, T_IP6 = 8, T_PROTO = 12, T_PORT = 13, T_NAME = 41 };

static const struct set_row {
	const char *name;
	uint8_t key[4];    /* types, in order */
	uint8_t data[2];
	bool interval;
} sets[NETWORK_NFT_SET_COUNT] = {
	[NETWORK_NFT_BRIDGES] = { "bridges", { T_NAME }, { 0 }, false },
	[NETWORK_NFT_SAME] = { "same", { T_NAME, T_NAME }, { 0 }, false },
	[NETWORK_NFT_QUIET] = { "quiet", { T_NAME }, { 0 }, false },
	[NETWORK_NFT_INTERNAL] = { "internal", { T_NAME }, { 0 }, false },
	[NETWORK_NFT_MASQ4] = { "masq4", { T_IP4 }, { 0 }, true },
	[NETWORK_NFT_MASQ6] = { "masq6", { T_IP6 }, { 0 }, true },
	[NETWORK_NFT_LOCAL4] = { "local4", { T_NAME, T_IP4 }, { 0 }, true },
	[NETWORK_NFT_LOCAL6] = { "local6", { T_NAME, T_IP6 }, { 0 }, true },
	[NETWORK_NFT_PORTS4] = { "ports4", { T_PROTO, T_PORT }, { T_IP4, T_PORT }, false },
	[NETWORK_NFT_PORTS6] = { "ports6", { T_PROTO, T_PORT }, { T_IP6, T_PORT }, false },
	[NETWORK_NFT_PORTS4_AT] = { "ports4_at", { T_IP4, T_PROTO, T_PORT }, { T_IP4, T_PORT }, false },
	[NETWORK_NFT_PORTS6_AT] = { "ports6_at", { T_IP6, T_PROTO, T_PORT }, { T_IP6, T_PORT }, false },
	[NETWORK_NFT_ROUTED4] = { "routed4", { T_IP4, T_PROTO, T_PORT }, { 0 }, false },
	[NETWORK_NFT_ROUTED6] = { "routed6", { T_IP6, T_PROTO, T_PORT }, { 0 }, false },
};

static unsigned type_len(uint8_t type) /* padded, as in registers */
{
	return type == T_NONE ? 0 : type == T_IP6 || type == T_NAME ? 16 : 4;
}

static unsigned types_len(const uint8_t *types, unsigned n)
{
	unsigned len = 0;
	for (unsigned i = 0; i < n; i++)
		len += type_len(types[i]);
	return len;
}

static uint32_t types_id(const uint8_t *types, unsigned n)
{
	uint32_t id = 0;
	for (unsigned i = 0; i < n && types[i]; i++)
		id = id << 6 | types[i];
	return id;
}

/* ---- messages */

size_t network_nft_message(struct network_nl_batch *b, uint16_t type, unsigned flags, uint8_t family)
{
	struct nfgenmsg g = { .nfgen_family = family, .version = NFNETLINK_V0 };
	return network_nl_begin(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, &g, sizeof(g));
}

static void bracket(struct network_nl_batch *b, uint16_t type)
{
	struct nfgenmsg g = { .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES) };
	network_nl_end(b, network_nl_begin(b, type, NETWORK_NL_NO_ACK, &g, sizeof(g)));
}

void network_nft_batch_begin(struct network_nl_batch *b)
{
	bracket(b, NFNL_MSG_BATCH_BEGIN);
}

void network_nft_batch_end(struct network_nl_batch *b)
{
	bracket(b, NFNL_MSG_BATCH_END);
}

/* ---- expressions */

struct expr {
	size_t elem, data;
};

static struct expr expr_begin(struct network_nl_batch *b, const char *name)
{
	struct expr e = { .elem = network_nl_nest(b, NFTA_LIST_ELEM) };
	network_nl_str(b, NFTA_EXPR_NAME, name);
	e.data = network_nl_nest(b, NFTA_EXPR_DATA);
	return e;
}

static void expr_end(struct network_nl_batch *b, struct expr e)
{
	network_nl_nest_end(b, e.data);
	network_nl_nest_end(b, e.elem);
}

static void value(struct network_nl_batch *b, uint16_t type, const void *data, size_t len)
{
	size_t n = network_nl_nest(b, type);
	network_nl_put(b, NFTA_DATA_VALUE, data, len);
	network_nl_nest_end(b, n);
}

static void meta(struct network_nl_batch *b, uint32_t key, uint32_t reg)
{
	struct expr e = expr_begin(b, "meta");
	network_nl_be32(b, NFTA_META_DREG, reg);
	network_nl_be32(b, NFTA_META_KEY, key);
	expr_end(b, e);
}

static void cmp(struct network_nl_batch *b, uint32_t op, uint32_t reg, const void *data, size_t len)
{
	struct expr e = expr_begin(b, "cmp");
	network_nl_be32(b, NFTA_CMP_SREG, reg);
	network_nl_be32(b, NFTA_CMP_OP, op);
	value(b, NFTA_CMP_DATA, data, len);
	expr_end(b, e);
}

static void payload(struct network_nl_batch *b, uint32_t base, uint32_t offset, uint32_t len, uint32_t reg)
{
	struct expr e = expr_begin(b, "payload");
	network_nl_be32(b, NFTA_PAYLOAD_DREG, reg);
	network_nl_be32(b, NFTA_PAYLOAD_BASE, base);
	network_nl_be32(b, NFTA_PAYLOAD_OFFSET, offset);
	network_nl_be32(b, NFTA_PAYLOAD_LEN, len);
	expr_end(b, e);
}

static void bitwise(struct network_nl_batch *b, uint32_t reg, const void *mask, uint32_t len)
{
	static const uint8_t zero[16];
	struct expr e = expr_begin(b, "bitwise");
	network_nl_be32(b, NFTA_BITWISE_SREG, reg);
	network_nl_be32(b, NFTA_BITWISE_DREG, reg);
	network_nl_be32(b, NFTA_BITWISE_LEN, len);
	value(b, NFTA_BITWISE_MASK, mask, len);
	value(b, NFTA_BITWISE_XOR, zero, len);
	expr_end(b, e);
}

/* Goes on when the register's key is in the set; a map's data go to the same registers. */
static void lookup(struct network_nl_batch *b, enum network_nft_set set, uint32_t reg, bool invert)
{
	struct expr e = expr_begin(b, "lookup");
	network_nl_str(b, NFTA_LOOKUP_SET, sets[set].name);
	network_nl_be32(b, NFTA_LOOKUP_SREG, reg);
	if (sets[set].data[0])
		network_nl_be32(b, NFTA_LOOKUP_DREG, reg);
	if (invert)
		network_nl_be32(b, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
	expr_end(b, e);
}

static void verdict(struct network_nl_batch *b, int code)
{
	struct expr e = expr_begin(b, "immediate");
	network_nl_be32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	size_t data = network_nl_nest(b, NFTA_IMMEDIATE_DATA), v = network_nl_nest(b, NFTA_DATA_VERDICT);
	network_nl_be32(b, NFTA_VERDICT_CODE, (uint32_t)code);
	network_nl_nest_end(b, v);
	network_nl_nest_end(b, data);
	expr_end(b, e);
}

static void immediate(struct network_nl_batch *b, uint32_t reg, const void *data, size_t len)
{
	struct expr e = expr_begin(b, "immediate");
	network_nl_be32(b, NFTA_IMMEDIATE_DREG, reg);
	value(b, NFTA_IMMEDIATE_DATA, data, len);
	expr_end(b, e);
}

static void dnat(struct network_nl_batch *b, uint32_t family, uint32_t addr_reg, uint32_t port_reg)
{
	struct expr e = expr_begin(b, "nat");
	network_nl_be32(b, NFTA_NAT_TYPE, NFT_NAT_DNAT);
	network_nl_be32(b, NFTA_NAT_FAMILY, family);
	network_nl_be32(b, NFTA_NAT_REG_ADDR_MIN, addr_reg);
	network_nl_be32(b, NFTA_NAT_REG_PROTO_MIN, port_reg);
	network_nl_be32(b, NFTA_NAT_FLAGS, NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED);
	expr_end(b, e);
}

/* Bits of the connection's state or status: goes on when one of them is set. Host byte order, as the kernel keeps both. */
static void ct_any(struct network_nl_batch *b, uint32_t key, uint32_t bits)
{
	static const uint32_t zero;
	struct expr e = expr_begin(b, "ct");
	network_nl_be32(b, NFTA_CT_DREG, REG(0));
	network_nl_be32(b, NFTA_CT_KEY, key);
	expr_end(b, e);
	bitwise(b, REG(0), &bits, 4);
	cmp(b, NFT_CMP_NEQ, REG(0), &zero, 4);
}

static void fib_local(struct network_nl_batch *b)
{
	uint32_t local = RTN_LOCAL;
	struct expr e = expr_begin(b, "fib");
	network_nl_be32(b, NFTA_FIB_DREG, REG(0));
	network_nl_be32(b, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	network_nl_be32(b, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
	expr_end(b, e);
	cmp(b, NFT_CMP_EQ, REG(0), &local, 4);
}

static void family_is(struct network_nl_batch *b, uint8_t family)
{
	meta(b, NFT_META_NFPROTO, REG(0));
	cmp(b, NFT_CMP_EQ, REG(0), &family, 1);
}

/* ---- the table */

static void object_begin(struct network_nft *n, uint16_t type, unsigned flags, uint16_t table_attr, size_t *out)
{
	*out = network_nft_message(&n->batch, type, flags, NFPROTO_INET);
	network_nl_str(&n->batch, table_attr, n->table);
}

static void begin(struct network_nft *n)
{
	if (!n->open)
		network_nft_batch_begin(&n->batch);
	n->open = true;
}

static void chain(struct network_nft *n, const char *name, const char *type, uint32_t hook, int priority)
{
	struct network_nl_batch *b = &n->batch;
	size_t m;
	object_begin(n, NFT_MSG_NEWCHAIN, NLM_F_CREATE, NFTA_CHAIN_TABLE, &m);
	network_nl_str(b, NFTA_CHAIN_NAME, name);
	size_t h = network_nl_nest(b, NFTA_CHAIN_HOOK);
	network_nl_be32(b, NFTA_HOOK_HOOKNUM, hook);
	network_nl_be32(b, NFTA_HOOK_PRIORITY, (uint32_t)priority);
	network_nl_nest_end(b, h);
	network_nl_be32(b, NFTA_CHAIN_POLICY, NF_ACCEPT);
	network_nl_str(b, NFTA_CHAIN_TYPE, type);
	network_nl_end(b, m);
}

static void set_make(struct network_nft *n, unsigned i)
{
	struct network_nl_batch *b = &n->batch;
	const struct set_row *s = &sets[i];
	bool concat = s->key[1] != T_NONE;
	uint32_t flags = (s->interval ? NFT_SET_INTERVAL : 0) | (s->data[0] ? NFT_SET_MAP : 0);
	if (s->interval && concat)
		flags |= NFT_SET_CONCAT;
	size_t m;
	object_begin(n, NFT_MSG_NEWSET, NLM_F_CREATE, NFTA_SET_TABLE, &m);
	network_nl_str(b, NFTA_SET_NAME, s->name);
	network_nl_be32(b, NFTA_SET_FLAGS, flags);
	network_nl_be32(b, NFTA_SET_KEY_TYPE, types_id(s->key, ARRAY_LEN(s->key)));
	network_nl_be32(b, NFTA_SET_KEY_LEN, types_len(s->key, ARRAY_LEN(s->key)));
	if (s->data[0]) {
		network_nl_be32(b, NFTA_SET_DATA_TYPE, types_id(s->data, ARRAY_LEN(s->data)));
		network_nl_be32(b, NFTA_SET_DATA_LEN, types_len(s->data, ARRAY_LEN(s->data)));
	}
	network_nl_be32(b, NFTA_SET_ID, i + 1);
	if (s->key[0] == T_NAME && !concat) {
		/* libnftnl's note on the byte order of keys (NFTNL_UDATA_SET_KEYBYTEORDER = host): without it nft lists names as "". */
		static const uint8_t host_order[6] = { 0, 4, 1, 0, 0, 0 };
		network_nl_put(b, NFTA_SET_USERDATA, host_order, sizeof(host_order));
	}
	if (s->interval && concat) {
		size_t desc = network_nl_nest(b, NFTA_SET_DESC), list = network_nl_nest(b, NFTA_SET_DESC_CONCAT);
		for (unsigned k = 0; k < ARRAY_LEN(s->key) && s->key[k]; k++) {
			size_t field = network_nl_nest(b, NFTA_LIST_ELEM);
			network_nl_be32(b, NFTA_SET_FIELD_LEN, type_len(s->key[k]));
			network_nl_nest_end(b, field);
		}
		network_nl_nest_end(b, list);
		network_nl_nest_end(b, desc);
	}
	network_nl_end(b, m);
}

struct rule {
	size_t message, list;
};

static struct rule rule_begin(struct network_nft *n, const char *chain_name)
{
	struct rule r;
	object_begin(n, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, NFTA_RULE_TABLE, &r.message);
	network_nl_str(&n->batch, NFTA_RULE_CHAIN, chain_name);
	r.list = network_nl_nest(&n->batch, NFTA_RULE_EXPRESSIONS);
	return r;
}

static void rule_end(struct network_nft *n, struct rule r)
{
	network_nl_nest_end(&n->batch, r.list);
	network_nl_end(&n->batch, r.message);
}

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

static void protocol_port(struct network_nl_batch *b, unsigned reg)
{
	meta(b, NFT_META_L4PROTO, REG(reg));
	payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, REG(reg + 1));
}

static void rules_ports(struct network_nft *n, const char *chain_name, bool not_loopback)
{
	static const uint8_t mask[4] = { 255 }, net[4] = { 127 }, one[16] = { [15] = 1 };
	struct network_nl_batch *b = &n->batch;
	for (unsigned i = 0; i < ARRAY_LEN(families); i++) {
		const struct family_row *f = &families[i];
		for (int at = 1; at >= 0; at--) {
			struct rule r = rule_begin(n, chain_name);
			family_is(b, f->family);
			if (not_loopback) {
				payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->daddr, f->len, REG(0));
				if (f->len == 4)
					bitwise(b, REG(0), mask, 4);
				cmp(b, NFT_CMP_NEQ, REG(0), f->len == 4 ? net : one, f->len);
			}
			fib_local(b);
			if (at)
				payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->daddr, f->len, REG(0));
			protocol_port(b, at ? f->words : 0);
			lookup(b, at ? f->ports_at : f->ports, REG(0), false);
			dnat(b, f->family, REG(0), REG(f->words));
			rule_end(n, r);
		}
	}
}

static void rule_interface(struct network_nft *n, const char *chain_name, uint32_t key, enum network_nft_set set, int code)
{
	struct rule r = rule_begin(n, chain_name);
	meta(&n->batch, key, REG(0));
	lookup(&n->batch, set, REG(0), false);
	verdict(&n->batch, code);
	rule_end(n, r);
}

static void rules_forward(struct network_nft *n)
{
	struct network_nl_batch *b = &n->batch;
	/* State bits as nft_ct.c gives them: NF_CT_STATE_BIT(IP_CT_ESTABLISHED) = 2, RELATED = 4. */
	for (int pass = 0; pass < 2; pass++) {
		struct rule r = rule_begin(n, "forward");
		if (pass == 0) {
			meta(b, NFT_META_OIFNAME, REG(0));
			lookup(b, NETWORK_NFT_BRIDGES, REG(0), false);
			ct_any(b, NFT_CT_STATE, 2 | 4);
		} else {
			meta(b, NFT_META_IIFNAME, REG(0));
			meta(b, NFT_META_OIFNAME, REG(4));
			lookup(b, NETWORK_NFT_SAME, REG(0), false);
		}
		verdict(b, NF_ACCEPT);
		rule_end(n, r);
	}
	rule_interface(n, "forward", NFT_META_IIFNAME, NETWORK_NFT_INTERNAL, NF_DROP);
	rule_interface(n, "forward", NFT_META_OIFNAME, NETWORK_NFT_INTERNAL, NF_DROP);
	struct rule r = rule_begin(n, "forward");
	meta(b, NFT_META_OIFNAME, REG(0));
	lookup(b, NETWORK_NFT_BRIDGES, REG(0), false);
	ct_any(b, NFT_CT_STATUS, IPS_DST_NAT);
	verdict(b, NF_ACCEPT);
	rule_end(n, r);
	for (unsigned i = 0; i < ARRAY_LEN(families); i++) {
		const struct family_row *f = &families[i];
		r = rule_begin(n, "forward");
		family_is(b, f->family);
		payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->daddr, f->len, REG(0));
		protocol_port(b, f->words);
		lookup(b, f->routed, REG(0), false);
		verdict(b, NF_ACCEPT);
		rule_end(n, r);
	}
	rule_interface(n, "forward", NFT_META_OIFNAME, NETWORK_NFT_BRIDGES, NF_DROP);
}

static void rules_postrouting(struct network_nft *n)
{
	struct network_nl_batch *b = &n->batch;
	for (unsigned i = 0; i < ARRAY_LEN(families); i++) {
		const struct family_row *f = &families[i];
		for (int hairpin = 0; hairpin < 2; hairpin++) {
			struct rule r = rule_begin(n, "postrouting");
			family_is(b, f->family);
			if (hairpin) {
				ct_any(b, NFT_CT_STATUS, IPS_DST_NAT);
			} else {
				payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->saddr, f->len, REG(0));
				lookup(b, f->masq, REG(0), false);
			}
			meta(b, NFT_META_OIFNAME, REG(0));
			payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->saddr, f->len, REG(4));
			lookup(b, f->local, REG(0), !hairpin);
			expr_end(b, expr_begin(b, "masq"));
			rule_end(n, r);
		}
	}
}

void network_nft_init(struct network_nft *n, int sock, const char *id)
{
	*n = (struct network_nft){ .sock = sock };
	snprintf(n->table, sizeof(n->table), "knarr_net_%.8s", id);
}

void network_nft_done(struct network_nft *n)
{
	network_nl_batch_done(&n->batch);
	n->open = false;
}

void network_nft_drop(struct network_nft *n)
{
	buf_trunc(&n->batch.out, 0);
	n->batch.n = 0;
	n->open = false;
}

/* "add, delete" is how a table that may be absent is deleted within a transaction. */
void network_nft_table_delete_add(struct network_nft *n)
{
	size_t m;
	begin(n);
	object_begin(n, NFT_MSG_NEWTABLE, NLM_F_CREATE, NFTA_TABLE_NAME, &m);
	network_nl_end(&n->batch, m);
	object_begin(n, NFT_MSG_DELTABLE, 0, NFTA_TABLE_NAME, &m);
	network_nl_end(&n->batch, m);
}

void network_nft_table_add(struct network_nft *n)
{
	size_t m;
	network_nft_table_delete_add(n);
	object_begin(n, NFT_MSG_NEWTABLE, NLM_F_CREATE, NFTA_TABLE_NAME, &m);
	network_nl_end(&n->batch, m);
	chain(n, "prerouting", "nat", NF_INET_PRE_ROUTING, PRIORITY_DSTNAT);
	chain(n, "output", "nat", NF_INET_LOCAL_OUT, PRIORITY_DSTNAT);
	chain(n, "forward", "filter", NF_INET_FORWARD, PRIORITY_FILTER);
	chain(n, "postrouting", "nat", NF_INET_POST_ROUTING, PRIORITY_SRCNAT);
	for (unsigned i = 0; i < NETWORK_NFT_SET_COUNT; i++)
		set_make(n, i);
	rule_interface(n, "prerouting", NFT_META_IIFNAME, NETWORK_NFT_QUIET, NF_ACCEPT);
	rules_ports(n, "prerouting", false);
	rules_ports(n, "output", true);
	rules_forward(n);
	rules_postrouting(n);
}

int network_nft_commit(struct network_nft *n, const char *what, struct err *err)
{
	if (!n->open)
		return 0;
	network_nft_batch_end(&n->batch);
	n->open = false;
	return network_nl_commit(n->sock, &n->batch, NULL, what, err);
}

/* ---- elements */

static void element(struct network_nft *n, enum network_nft_set set, bool add, const void *key, const void *key_end,
	const void *data,
		    bool interval_end)
{
	struct network_nl_batch *b = &n->batch;
	unsigned key_len = types_len(sets[set].key, ARRAY_LEN(sets[set].key));
	size_t m;
	begin(n);
	object_begin(n, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, add ? NLM_F_CREATE : 0, NFTA_SET_ELEM_LIST_TABLE, &m);
	network_nl_str(b, NFTA_SET_ELEM_LIST_SET, sets[set].name);
	size_t list = network_nl_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS), e = network_nl_nest(b, NFTA_LIST_ELEM);
	if (interval_end)
		network_nl_be32(b, NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
	value(b, NFTA_SET_ELEM_KEY, key, key_len);
	if (key_end)
		value(b, NFTA_SET_ELEM_KEY_END, key_end, key_len);
	if (data && add)
		value(b, NFTA_SET_ELEM_DATA, data, types_len(sets[set].data, ARRAY_LEN(sets[set].data)));
	network_nl_nest_end(b, e);
	network_nl_nest_end(b, list);
	network_nl_end(b, m);
}

static void name_into(uint8_t out[IFNAME], const char *name)
{
	memset(out, 0, IFNAME);
	memcpy(out, name, strnlen(name, IFNAME - 1));
}

void network_nft_interface(struct network_nft *n, enum network_nft_set set, bool add, const char *name)
{
	uint8_t key[IFNAME];
	name_into(key, name);
	element(n, set, add, key, NULL, NULL, false);
}

void network_nft_pair(struct network_nft *n, bool add, const char *name)
{
	uint8_t key[2 * IFNAME];
	name_into(key, name);
	name_into(key + IFNAME, name);
	element(n, NETWORK_NFT_SAME, add, key, NULL, NULL, false);
}

/* The first and the last address; *out_next is the one behind, false when there is none. */
static bool bounds(const struct network_prefix *p, uint8_t first[16], uint8_t last[16], uint8_t next[16])
{
	unsigned len = network_addr_len(&p->addr);
	memcpy(first, network_prefix_mask(*p).addr.b, 16);
	memcpy(last, first, 16);
	for (unsigned bit = p->bits; bit < len * 8; bit++)
		last[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	memcpy(next, last, 16);
	for (unsigned i = len; i-- > 0;)
		if (++next[i] != 0)
			return true;
	return false;
}

void network_nft_subnet(struct network_nft *n, bool add, const struct network_prefix *p)
{
	enum network_nft_set set = p->addr.family == AF_INET ? NETWORK_NFT_MASQ4 : NETWORK_NFT_MASQ6;
	uint8_t first[16], last[16], next[16];
	bool more = bounds(p, first, last, next);
	element(n, set, add, first, NULL, NULL, false);
	if (more)
		element(n, set, add, next, NULL, NULL, true);
}

void network_nft_behind(struct network_nft *n, bool add, const char *name, const struct network_prefix *p)
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

void network_nft_port(struct network_nft *n, bool add, const struct network_addr *at, uint8_t protocol, uint16_t port,
		      const struct network_addr *to, uint16_t to_port)
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

void network_nft_routed(struct network_nft *n, bool add, const struct network_addr *to, uint8_t protocol, uint16_t port)
{
	const struct family_row *f = &families[to->family == AF_INET6];
	uint8_t key[24];
	memcpy(key, to->b, f->len);
	put_port(key + f->len, protocol, port);
	element(n, f->routed, add, key, NULL, NULL, false);
}

/* ---- inside a container */

static const char dns_table[] = "knarr_dns";

static void dns_rule(struct network_nl_batch *b, uint8_t protocol, uint16_t port)
{
	static const uint8_t server[4] = { 127, 0, 0, 11 };
	uint16_t from = htons(53), to = htons(port);
	size_t m = network_nft_message(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, NFPROTO_IPV4);
	network_nl_str(b, NFTA_RULE_TABLE, dns_table);
	network_nl_str(b, NFTA_RULE_CHAIN, "output");
	size_t list = network_nl_nest(b, NFTA_RULE_EXPRESSIONS);
	payload(b, NFT_PAYLOAD_NETWORK_HEADER, 16, 4, REG(0));
	cmp(b, NFT_CMP_EQ, REG(0), server, 4);
	meta(b, NFT_META_L4PROTO, REG(0));
	cmp(b, NFT_CMP_EQ, REG(0), &protocol, 1);
	payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, REG(0));
	cmp(b, NFT_CMP_EQ, REG(0), &from, 2);
	immediate(b, REG(0), server, 4);
	immediate(b, REG(1), &to, 2);
	dnat(b, NFPROTO_IPV4, REG(0), REG(1));
	network_nl_nest_end(b, list);
	network_nl_end(b, m);
}

int network_nft_dns(int sock, bool again, uint16_t udp_port, uint16_t tcp_port, struct err *err)
{
	auto_nl_batch struct network_nl_batch b = { 0 };
	static const struct {
		uint16_t type;
		unsigned flags;
	} steps[] = { { NFT_MSG_NEWTABLE, NLM_F_CREATE }, { NFT_MSG_DELTABLE, 0 }, { NFT_MSG_NEWTABLE, NLM_F_CREATE } };
	network_nft_batch_begin(&b);
	for (unsigned i = again ? 0 : 2; i < ARRAY_LEN(steps); i++) {
		size_t m = network_nft_message(&b, steps[i].type, steps[i].flags, NFPROTO_IPV4);
		network_nl_str(&b, NFTA_TABLE_NAME, dns_table);
		network_nl_end(&b, m);
	}
	size_t m = network_nft_message(&b, NFT_MSG_NEWCHAIN, NLM_F_CREATE, NFPROTO_IPV4);
	network_nl_str(&b, NFTA_CHAIN_TABLE, dns_table);
	network_nl_str(&b, NFTA_CHAIN_NAME, "output");
	size_t h = network_nl_nest(&b, NFTA_CHAIN_HOOK);
	network_nl_be32(&b, NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_OUT);
	network_nl_be32(&b, NFTA_HOOK_PRIORITY, (uint32_t)PRIORITY_DSTNAT);
	network_nl_nest_end(&b, h);
	network_nl_str(&b, NFTA_CHAIN_TYPE, "nat");
	network_nl_end(&b, m);
	dns_rule(&b, IPPROTO_UDP, udp_port);
	dns_rule(&b, IPPROTO_TCP, tcp_port);
	network_nft_batch_end(&b);
	return network_nl_commit(sock, &b, NULL, "redirecting 127.0.0.11:53 inside the container", err);
}

/* ---- in chains of others */

/* User data of a rule as libnftnl keeps it: type 0 = comment, length with the 0 byte, text. */
void network_nft_accept_add(struct network_nl_batch *b, uint8_t family, const char *table, const char *chain_name, bool out,
			    const char *name, struct span comment)
{
	char data[128];
	size_t len = MIN(comment.len, sizeof(data) - 3);
	uint8_t key[IFNAME];
	size_t m = network_nft_message(b, NFT_MSG_NEWRULE, NLM_F_CREATE, family);
	network_nl_str(b, NFTA_RULE_TABLE, table);
	network_nl_str(b, NFTA_RULE_CHAIN, chain_name);
	size_t list = network_nl_nest(b, NFTA_RULE_EXPRESSIONS);
	name_into(key, name);
	meta(b, out ? NFT_META_OIFNAME : NFT_META_IIFNAME, NFT_REG_1);
	cmp(b, NFT_CMP_EQ, NFT_REG_1, key, strlen(name) + 1); /* with its 0 byte: what iptables makes of `-i name` */
	verdict(b, NF_ACCEPT);
	network_nl_nest_end(b, list);
	data[0] = 0;
	data[1] = (char)(len + 1);
	memcpy(data + 2, comment.ptr, len);
	data[2 + len] = 0;
	network_nl_put(b, NFTA_RULE_USERDATA, data, len + 3);
	network_nl_end(b, m);
}
