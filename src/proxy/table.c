/* The table, written once. V stands for 4 and 6.
 *
 *     table inet knarr_proxy_ID
 *     before       filter, prerouting -110   new: GUARD and not SOURCES: drop; CLOSED, CLOSED_PORTS: reject or drop
 *     before_out   filter, output -110       new: CLOSED, CLOSED_PORTS: reject or drop
 *     prerouting   nat -100                  not from PODS: in OUTER, OUTER_PORTS: there; in FRONT, PORTS: there
 *     output       nat -100                  in FRONT, PORTS: there
 *     frontV ...   one chain a map           sticky: its chain; then a rule a class:
 *                                            key -> class . list; class is mine; slot at random; SLOTS -> dnat
 *     frontV_s ... the same with affinity    an entry that names a dead endpoint: out; a rule a class: entry in, unless
 *                                            there is one; a rule a lifetime: entry -> renewed, dnat
 *     forward      filter 0                  new, to RANGE: reject (no such service, no such port)
 *     output_after filter, output 0          the same
 *     postrouting  nat 100                   hairpin; MASQ; cluster addresses asked from outside; node ports; pods to elsewhere
 *
 * No verdict, chain or rule depends on a service: what changes are data of maps, so a change costs what it changes and the
 * kernel validates nothing anew. Classes up to 16 are the exact number of endpoints (every one with the same chance, n
 * elements); the slot comes from numgen random. A rule behind those of the classes takes slot 0: a packet that read a list's
 * class before a transaction and its slots after it may find its slot gone, and slot 0 is there as long as the list is.
 *
 * Registers: w words are an address. What a front leads to is its class in register 0 and the list behind it (address, port,
 * kind: w + 2), then comes the slot, then what was found. With affinity the client takes the slot's place, w words. All fits
 * in 16. The list does not begin where the lookup wrote: nft(8) 1.0.6 takes the register that it saw written for the whole
 * key, finds that it has no length, and aborts; as it is, it lists these rules in part and says so. */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>

#include "proxy/table.h"

#define REG(n) SYS_NFT_REG(n)
enum { CLASS = 0, LIST = 1 }; /* registers of what a front leads to */
#define AFFINITY_MAX 262144 /* clients with affinity at once */

enum { A4 = SYS_NFT_IP4, A6 = SYS_NFT_IP6, PROTO = SYS_NFT_PROTO, PORT = SYS_NFT_PORT, MARK = SYS_NFT_MARK };

#define SETS(v, A)                                                                                      \
	{                                                                                               \
		[PROXY_FRONT] = { "front" v, { A, PROTO, PORT }, { MARK, A, PORT, MARK } },             \
		[PROXY_PORTS] = { "ports" v, { PROTO, PORT }, { MARK, A, PORT, MARK } },                \
		[PROXY_OUTER] = { "outer" v, { A, PROTO, PORT }, { MARK, A, PORT, MARK } },             \
		[PROXY_OUTER_PORTS] = { "outer_ports" v, { PROTO, PORT }, { MARK, A, PORT, MARK } },    \
		[PROXY_SLOTS] = { "slots" v, { A, PORT, MARK, MARK }, { A, PORT } },                    \
		[PROXY_CLOSED] = { "closed" v, { A, PROTO, PORT }, { MARK } },                          \
		[PROXY_CLOSED_PORTS] = { "closed_ports" v, { PROTO, PORT }, { MARK } },                 \
		[PROXY_MASQ] = { "masq" v, { A, PROTO, PORT }, { 0 } },                                 \
		[PROXY_MASQ_PORTS] = { "masq_ports" v, { PROTO, PORT }, { 0 } },                        \
		[PROXY_HAIRPIN] = { "hairpin" v, { A, A }, { 0 } },                                     \
		[PROXY_STICKY] = { "sticky" v, { A, PORT, MARK }, { MARK } },                           \
		[PROXY_LIVE] = { "live" v, { A, PORT, MARK, A, PORT }, { 0 } },                         \
		[PROXY_AFFINITY] = { "affinity" v, { A, PORT, MARK, A }, { A, PORT }, .timeout_s = 10,  \
				     .size = AFFINITY_MAX },                                            \
		[PROXY_GUARD] = { "guard" v, { A, PROTO, PORT }, { 0 } },                               \
		[PROXY_SOURCES] = { "sources" v, { A, PROTO, PORT, A }, { 0 }, .interval = true },      \
		[PROXY_PODS] = { "pods" v, { A }, { 0 }, .interval = true },                            \
		[PROXY_MINE] = { "mine" v, { A }, { 0 }, .interval = true },                            \
		[PROXY_RANGE] = { "range" v, { A }, { 0 }, .interval = true },                          \
	}
static const struct sys_nft_set sets[FAMILIES][PROXY_SET_COUNT] = { [V4] = SETS("4", A4), [V6] = SETS("6", A6) };

static const struct {
	uint8_t family;
	uint32_t saddr, daddr, len, words, ct_daddr;
} ip[FAMILIES] = { { NFPROTO_IPV4, 12, 16, 4, 1, NFT_CT_DST_IP }, { NFPROTO_IPV6, 8, 24, 16, 4, NFT_CT_DST_IP6 } };

static const uint16_t classes[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 64, 256, 1024, 4096 };
/* Lifetimes are rounded up to the next of these: a rule's timeout is a constant. */
static const uint32_t lifetimes[] = { 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400 };

uint32_t proxy_class(size_t n)
{
	for (size_t i = 0; i < ARRAY_LEN(classes); i++)
		if (classes[i] == n || (classes[i] > 16 && classes[i] >= 3 * n))
			return classes[i];
	return n ? PROXY_SLOTS_MAX : 0;
}

unsigned proxy_lifetime(unsigned seconds)
{
	unsigned i = 0;
	while (i + 1 < ARRAY_LEN(lifetimes) && lifetimes[i] < seconds)
		i++;
	return i;
}

const struct sys_nft_set *proxy_set_row(int family, enum proxy_set set)
{
	return &sets[family][set];
}

/* ---- pieces of rules */

static void family_is(struct sys_nl_batch *b, int v)
{
	sys_nft_meta(b, NFT_META_NFPROTO, REG(0));
	sys_nft_cmp(b, NFT_CMP_EQ, REG(0), &ip[v].family, 1);
}

static void source(struct sys_nl_batch *b, int v, unsigned reg)
{
	sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ip[v].saddr, ip[v].len, REG(reg));
}

static void in(struct sys_nl_batch *b, int v, enum proxy_set set, unsigned from, unsigned to)
{
	sys_nft_lookup(b, &sets[v][set], REG(from), REG(to), false);
}

static void not_in(struct sys_nl_batch *b, int v, enum proxy_set set, unsigned from)
{
	sys_nft_lookup(b, &sets[v][set], REG(from), REG(from), true);
}

static bool by_port(enum proxy_set set)
{
	return set == PROXY_PORTS || set == PROXY_OUTER_PORTS || set == PROXY_CLOSED_PORTS || set == PROXY_MASQ_PORTS;
}

/* (address .) protocol . port of the packet from register 0 on; returns how many. */
static unsigned key(struct sys_nl_batch *b, int v, enum proxy_set set)
{
	unsigned at = 0;
	if (!by_port(set)) {
		sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ip[v].daddr, ip[v].len, REG(0));
		at = ip[v].words;
	}
	sys_nft_meta(b, NFT_META_L4PROTO, REG(at));
	sys_nft_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, REG(at + 1));
	return at + 2;
}

/* The same of the connection as its client began it. */
static void original_key(struct sys_nl_batch *b, int v, enum proxy_set set)
{
	unsigned at = 0;
	if (!by_port(set)) {
		sys_nft_ct_original(b, ip[v].ct_daddr, REG(0));
		at = ip[v].words;
	}
	sys_nft_meta(b, NFT_META_L4PROTO, REG(at));
	sys_nft_ct_original(b, NFT_CT_PROTO_DST, REG(at + 1));
}

static void is(struct sys_nl_batch *b, unsigned reg, uint32_t value)
{
	sys_nft_cmp(b, NFT_CMP_EQ, REG(reg), &value, 4);
}

static void is_new(struct sys_nl_batch *b)
{
	sys_nft_ct_any(b, NFT_CT_STATE, 8); /* NF_CT_STATE_BIT(IP_CT_NEW) */
}

static void is_dnat(struct sys_nl_batch *b)
{
	sys_nft_ct_any(b, NFT_CT_STATUS, IPS_DST_NAT);
}

/* ---- chains that choose an endpoint */

static void chain_name(char out[32], int v, enum proxy_set set, bool sticky)
{
	snprintf(out, 32, "%s%s", sets[v][set].name, sticky ? "_s" : "");
}

static void choose(struct sys_nft *n, int v, enum proxy_set set)
{
	struct sys_nl_batch *b = &n->batch;
	unsigned w = ip[v].words, slot = LIST + w + 2, found = slot + 1;
	char name[32], sticky[32];
	const uint32_t bit = PROXY_STICKY_BIT, zero = 0;
	chain_name(name, v, set, false);
	chain_name(sticky, v, set, true);
	struct sys_nft_rule r = sys_nft_rule_begin(n, name);
	(void)key(b, v, set);
	in(b, v, set, 0, 0);
	sys_nft_bitwise(b, REG(CLASS), REG(found), &bit, 4);
	sys_nft_cmp(b, NFT_CMP_NEQ, REG(found), &zero, 4);
	sys_nft_verdict(b, NFT_JUMP, sticky);
	sys_nft_rule_end(n, r);
	for (size_t i = 0; i <= ARRAY_LEN(classes); i++) {
		r = sys_nft_rule_begin(n, name);
		(void)key(b, v, set);
		in(b, v, set, 0, 0);
		if (i < ARRAY_LEN(classes))
			is(b, CLASS, classes[i]);
		if (i < ARRAY_LEN(classes) && classes[i] > 1)
			sys_nft_random(b, classes[i], REG(slot));
		else
			sys_nft_immediate(b, REG(slot), &zero, 4);
		in(b, v, PROXY_SLOTS, LIST, found);
		sys_nft_dnat(b, ip[v].family, REG(found), REG(found + w));
		sys_nft_rule_end(n, r);
	}
}

static void choose_sticky(struct sys_nft *n, int v, enum proxy_set set)
{
	struct sys_nl_batch *b = &n->batch;
	const struct sys_nft_set *affinity = &sets[v][PROXY_AFFINITY];
	unsigned w = ip[v].words, client = LIST + w + 2, found = client + w;
	char name[32];
	const uint32_t zero = 0;
	chain_name(name, v, set, true);
	struct sys_nft_rule r = sys_nft_rule_begin(n, name);
	(void)key(b, v, set);
	in(b, v, set, 0, 0);
	source(b, v, client);
	in(b, v, PROXY_AFFINITY, LIST, client); /* list . address . port */
	not_in(b, v, PROXY_LIVE, LIST);
	source(b, v, client);
	sys_nft_dynset(b, affinity, SYS_NFT_DYNSET_DELETE, REG(LIST), REG(LIST), 0);
	sys_nft_rule_end(n, r);
	for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
		r = sys_nft_rule_begin(n, name);
		(void)key(b, v, set);
		in(b, v, set, 0, 0);
		is(b, CLASS, classes[i] | PROXY_STICKY_BIT);
		if (classes[i] > 1)
			sys_nft_random(b, classes[i], REG(client));
		else
			sys_nft_immediate(b, REG(client), &zero, 4);
		in(b, v, PROXY_SLOTS, LIST, found);
		source(b, v, client);
		sys_nft_dynset(b, affinity, SYS_NFT_DYNSET_ADD, REG(LIST), REG(found), 0);
		sys_nft_rule_end(n, r);
	}
	for (size_t i = 0; i < ARRAY_LEN(lifetimes); i++) {
		r = sys_nft_rule_begin(n, name);
		(void)key(b, v, set);
		in(b, v, set, 0, 0);
		in(b, v, PROXY_STICKY, LIST, client);
		is(b, client, (uint32_t)i);
		source(b, v, client);
		in(b, v, PROXY_AFFINITY, LIST, found);
		sys_nft_dynset(b, affinity, SYS_NFT_DYNSET_UPDATE, REG(LIST), REG(found), lifetimes[i]);
		sys_nft_dnat(b, ip[v].family, REG(found), REG(found + w));
		sys_nft_rule_end(n, r);
	}
}

/* What is in the map goes to its chain and not further. */
static void to_chain(struct sys_nft *n, const char *chain, int v, enum proxy_set set)
{
	struct sys_nl_batch *b = &n->batch;
	char name[32];
	chain_name(name, v, set, false);
	struct sys_nft_rule r = sys_nft_rule_begin(n, chain);
	family_is(b, v);
	if (set == PROXY_OUTER || set == PROXY_OUTER_PORTS) {
		source(b, v, 0);
		not_in(b, v, PROXY_PODS, 0);
	}
	if (by_port(set))
		sys_nft_fib_local(b);
	(void)key(b, v, set);
	in(b, v, set, 0, 0);
	sys_nft_verdict(b, NFT_GOTO, name);
	sys_nft_rule_end(n, r);
}

/* ---- what is closed */

static void closed(struct sys_nft *n, const char *chain, int v, enum proxy_set set, enum proxy_closed how)
{
	struct sys_nl_batch *b = &n->batch;
	struct sys_nft_rule r = sys_nft_rule_begin(n, chain);
	family_is(b, v);
	is_new(b);
	if (how == PROXY_DROP_OUTER) {
		source(b, v, 0);
		not_in(b, v, PROXY_PODS, 0);
	}
	if (by_port(set))
		sys_nft_fib_local(b);
	(void)key(b, v, set);
	in(b, v, set, 0, 0);
	is(b, 0, how);
	if (how == PROXY_REJECT)
		sys_nft_reject(b);
	else
		sys_nft_verdict(b, NF_DROP, NULL);
	sys_nft_rule_end(n, r);
}

static void guard(struct sys_nft *n, int v)
{
	struct sys_nl_batch *b = &n->batch;
	struct sys_nft_rule r = sys_nft_rule_begin(n, "before");
	family_is(b, v);
	is_new(b);
	unsigned at = key(b, v, PROXY_GUARD);
	in(b, v, PROXY_GUARD, 0, 0);
	source(b, v, at);
	not_in(b, v, PROXY_SOURCES, 0);
	sys_nft_verdict(b, NF_DROP, NULL);
	sys_nft_rule_end(n, r);
}

static void unknown(struct sys_nft *n, const char *chain, int v)
{
	struct sys_nl_batch *b = &n->batch;
	struct sys_nft_rule r = sys_nft_rule_begin(n, chain);
	family_is(b, v);
	is_new(b);
	sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ip[v].daddr, ip[v].len, REG(0));
	in(b, v, PROXY_RANGE, 0, 0);
	sys_nft_reject(b);
	sys_nft_rule_end(n, r);
}

/* ---- postrouting */

enum outcome { MASQUERADE, LEAVE };

static void after(struct sys_nft *n, int v, enum proxy_set set, bool outside_only, enum outcome what)
{
	struct sys_nl_batch *b = &n->batch;
	struct sys_nft_rule r = sys_nft_rule_begin(n, "postrouting");
	family_is(b, v);
	is_dnat(b);
	if (outside_only) {
		source(b, v, 0);
		not_in(b, v, PROXY_PODS, 0);
	}
	original_key(b, v, set);
	in(b, v, set, 0, 0);
	if (what == MASQUERADE)
		sys_nft_masquerade(b);
	else
		sys_nft_verdict(b, NF_ACCEPT, NULL);
	sys_nft_rule_end(n, r);
}

static void postrouting(struct sys_nft *n, int v)
{
	struct sys_nl_batch *b = &n->batch;
	static const uint8_t mask4[4] = { 0xf0 }, net4[4] = { 0xe0 }, mask6[16] = { 0xff }, net6[16] = { 0xff };
	struct sys_nft_rule r = sys_nft_rule_begin(n, "postrouting");
	family_is(b, v);
	is_dnat(b);
	source(b, v, 0);
	sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ip[v].daddr, ip[v].len, REG(ip[v].words));
	in(b, v, PROXY_HAIRPIN, 0, 0);
	sys_nft_masquerade(b);
	sys_nft_rule_end(n, r);
	after(n, v, PROXY_MASQ, false, MASQUERADE);
	after(n, v, PROXY_OUTER, true, LEAVE);
	after(n, v, PROXY_FRONT, true, MASQUERADE);
	after(n, v, PROXY_FRONT, false, LEAVE);
	after(n, v, PROXY_MASQ_PORTS, false, MASQUERADE);
	/* Pods of this node to whatever is not a pod; several hears everybody. */
	r = sys_nft_rule_begin(n, "postrouting");
	family_is(b, v);
	source(b, v, 0);
	in(b, v, PROXY_MINE, 0, 0);
	sys_nft_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ip[v].daddr, ip[v].len, REG(0));
	not_in(b, v, PROXY_PODS, 0);
	sys_nft_bitwise(b, REG(0), REG(0), v == V4 ? mask4 : mask6, ip[v].len);
	sys_nft_cmp(b, NFT_CMP_NEQ, REG(0), v == V4 ? net4 : net6, ip[v].len);
	sys_nft_masquerade(b);
	sys_nft_rule_end(n, r);
}

void proxy_table_write(struct sys_nft *n)
{
	static const enum proxy_set fronts[] = { PROXY_OUTER, PROXY_OUTER_PORTS, PROXY_FRONT, PROXY_PORTS };
	char name[32];
	sys_nft_table_new(n, PROXY_TABLE_VERSION);
	for (unsigned v = 0; v < FAMILIES; v++)
		for (unsigned s = 0; s < PROXY_SET_COUNT; s++)
			sys_nft_set_add(n, &sets[v][s], v * PROXY_SET_COUNT + s + 1);
	/* Chains that nothing hooks come first: rules name them. */
	for (int v = V4; v < FAMILIES; v++)
		for (size_t i = 0; i < ARRAY_LEN(fronts); i++)
			for (int sticky = 1; sticky >= 0; sticky--) {
				chain_name(name, v, fronts[i], sticky);
				sys_nft_chain_add(n, name, NULL, 0, 0);
			}
	for (int v = V4; v < FAMILIES; v++)
		for (size_t i = 0; i < ARRAY_LEN(fronts); i++) {
			choose_sticky(n, v, fronts[i]);
			choose(n, v, fronts[i]);
		}
	sys_nft_chain_add(n, "before", "filter", NF_INET_PRE_ROUTING, -110);
	sys_nft_chain_add(n, "before_out", "filter", NF_INET_LOCAL_OUT, -110);
	sys_nft_chain_add(n, "prerouting", "nat", NF_INET_PRE_ROUTING, -100);
	sys_nft_chain_add(n, "output", "nat", NF_INET_LOCAL_OUT, -100);
	sys_nft_chain_add(n, "forward", "filter", NF_INET_FORWARD, 0);
	sys_nft_chain_add(n, "output_after", "filter", NF_INET_LOCAL_OUT, 0);
	sys_nft_chain_add(n, "postrouting", "nat", NF_INET_POST_ROUTING, 100);
	for (int v = V4; v < FAMILIES; v++) {
		guard(n, v);
		for (int how = PROXY_REJECT; how <= PROXY_DROP_OUTER; how++) {
			closed(n, "before", v, PROXY_CLOSED, how);
			closed(n, "before", v, PROXY_CLOSED_PORTS, how);
			if (how == PROXY_DROP_OUTER)
				continue; /* what this host sends comes from inside */
			closed(n, "before_out", v, PROXY_CLOSED, how);
			closed(n, "before_out", v, PROXY_CLOSED_PORTS, how);
		}
		for (size_t i = 0; i < ARRAY_LEN(fronts); i++)
			to_chain(n, "prerouting", v, fronts[i]);
		to_chain(n, "output", v, PROXY_FRONT);
		to_chain(n, "output", v, PROXY_PORTS);
		unknown(n, "forward", v);
		unknown(n, "output_after", v);
		postrouting(n, v);
	}
}
