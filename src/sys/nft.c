/* Messages of nfnetlink's nf_tables subsystem. Attributes are in network order unless they are keys and data of elements, which
 * are what the registers hold. */
#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>

#include "sys/nft.h"

#define LIST_MAX 60000 /* a nest holds 65,535 bytes; the largest element is some 200 */

_Static_assert(SYS_NFT_REG(0) == NFT_REG32_00, "registers");

static unsigned type_len(uint8_t type) /* padded, as in registers */
{
	return type == SYS_NFT_NONE ? 0 : type == SYS_NFT_IP6 || type == SYS_NFT_NAME ? 16 : 4;
}

unsigned sys_nft_types_len(const uint8_t *types, unsigned n)
{
	unsigned len = 0;
	for (unsigned i = 0; i < n && types[i]; i++)
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

size_t sys_nft_message(struct sys_nl_batch *b, uint16_t type, unsigned flags, uint8_t family)
{
	struct nfgenmsg g = { .nfgen_family = family, .version = NFNETLINK_V0 };
	return sys_nl_begin(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, &g, sizeof(g));
}

static void bracket(struct sys_nl_batch *b, uint16_t type)
{
	struct nfgenmsg g = { .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES) };
	sys_nl_end(b, sys_nl_begin(b, type, SYS_NL_NO_ACK, &g, sizeof(g)));
}

void sys_nft_batch_begin(struct sys_nl_batch *b)
{
	bracket(b, NFNL_MSG_BATCH_BEGIN);
}

void sys_nft_batch_end(struct sys_nl_batch *b)
{
	bracket(b, NFNL_MSG_BATCH_END);
}

/* ---- expressions */

struct sys_nft_expr sys_nft_expr_begin(struct sys_nl_batch *b, const char *name)
{
	struct sys_nft_expr e = { .elem = sys_nl_nest(b, NFTA_LIST_ELEM) };
	sys_nl_str(b, NFTA_EXPR_NAME, name);
	e.data = sys_nl_nest(b, NFTA_EXPR_DATA);
	return e;
}

void sys_nft_expr_end(struct sys_nl_batch *b, struct sys_nft_expr e)
{
	sys_nl_nest_end(b, e.data);
	sys_nl_nest_end(b, e.elem);
}

void sys_nft_value(struct sys_nl_batch *b, uint16_t type, const void *data, size_t len)
{
	size_t n = sys_nl_nest(b, type);
	sys_nl_put(b, NFTA_DATA_VALUE, data, len);
	sys_nl_nest_end(b, n);
}

void sys_nft_meta(struct sys_nl_batch *b, uint32_t key, uint32_t reg)
{
	struct sys_nft_expr e = sys_nft_expr_begin(b, "meta");
	sys_nl_be32(b, NFTA_META_DREG, reg);
	sys_nl_be32(b, NFTA_META_KEY, key);
	sys_nft_expr_end(b, e);
}

void sys_nft_cmp(struct sys_nl_batch *b, uint32_t op, uint32_t reg, const void *data, size_t len)
{
	struct sys_nft_expr e = sys_nft_expr_begin(b, "cmp");
	sys_nl_be32(b, NFTA_CMP_SREG, reg);
	sys_nl_be32(b, NFTA_CMP_OP, op);
	sys_nft_value(b, NFTA_CMP_DATA, data, len);
	sys_nft_expr_end(b, e);
}

void sys_nft_payload(struct sys_nl_batch *b, uint32_t base, uint32_t offset, uint32_t len, uint32_t reg)
{
	struct sys_nft_expr e = sys_nft_expr_begin(b, "payload");
	sys_nl_be32(b, NFTA_PAYLOAD_DREG, reg);
	sys_nl_be32(b, NFTA_PAYLOAD_BASE, base);
	sys_nl_be32(b, NFTA_PAYLOAD_OFFSET, offset);
	sys_nl_be32(b, NFTA_PAYLOAD_LEN, len);
	sys_nft_expr_end(b, e);
}

void sys_nft_bitwise(struct sys_nl_batch *b, uint32_t from, uint32_t to, const void *mask, uint32_t len)
{
	static const uint8_t zero[16];
	struct sys_nft_expr e = sys_nft_expr_begin(b, "bitwise");
	sys_nl_be32(b, NFTA_BITWISE_SREG, from);
	sys_nl_be32(b, NFTA_BITWISE_DREG, to);
	sys_nl_be32(b, NFTA_BITWISE_LEN, len);
	sys_nft_value(b, NFTA_BITWISE_MASK, mask, len);
	sys_nft_value(b, NFTA_BITWISE_XOR, zero, len);
	sys_nft_expr_end(b, e);
}

void sys_nft_lookup(struct sys_nl_batch *b, const struct sys_nft_set *s, uint32_t reg, uint32_t to, bool invert)
{
	struct sys_nft_expr e = sys_nft_expr_begin(b, "lookup");
	sys_nl_str(b, NFTA_LOOKUP_SET, s->name);
	sys_nl_be32(b, NFTA_LOOKUP_SREG, reg);
	if (s->data[0])
		sys_nl_be32(b, NFTA_LOOKUP_DREG, to);
	if (invert)
		sys_nl_be32(b, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
	sys_nft_expr_end(b, e);
}

void sys_nft_verdict(struct sys_nl_batch *b, int code, const char *chain)
{
	struct sys_nft_expr e = sys_nft_expr_begin(b, "immediate");
	sys_nl_be32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	size_t data = sys_nl_nest(b, NFTA_IMMEDIATE_DATA), v = sys_nl_nest(b, NFTA_DATA_VERDICT);
	sys_nl_be32(b, NFTA_VERDICT_CODE, (uint32_t)code);
	if (chain)
		sys_nl_str(b, NFTA_VERDICT_CHAIN, chain);
	sys_nl_nest_end(b, v);
	sys_nl_nest_end(b, data);
	sys_nft_expr_end(b, e);
}

void sys_nft_immediate(struct sys_nl_batch *b, uint32_t reg, const void *data, size_t len)
{
	struct sys_nft_expr e = sys_nft_expr_begin(b, "immediate");
	sys_nl_be32(b, NFTA_IMMEDIATE_DREG, reg);
	sys_nft_value(b, NFTA_IMMEDIATE_DATA, data, len);
	sys_nft_expr_end(b, e);
}

void sys_nft_dnat(struct sys_nl_batch *b, uint32_t family, uint32_t addr_reg, uint32_t port_reg)
{
	struct sys_nft_expr e = sys_nft_expr_begin(b, "nat");
	sys_nl_be32(b, NFTA_NAT_TYPE, NFT_NAT_DNAT);
	sys_nl_be32(b, NFTA_NAT_FAMILY, family);
	sys_nl_be32(b, NFTA_NAT_REG_ADDR_MIN, addr_reg);
	sys_nl_be32(b, NFTA_NAT_REG_PROTO_MIN, port_reg);
	sys_nl_be32(b, NFTA_NAT_FLAGS, NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED);
	sys_nft_expr_end(b, e);
}

/* State and status are in host byte order, as the kernel keeps both. */
void sys_nft_ct_any(struct sys_nl_batch *b, uint32_t key, uint32_t bits)
{
	static const uint32_t zero;
	struct sys_nft_expr e = sys_nft_expr_begin(b, "ct");
	sys_nl_be32(b, NFTA_CT_DREG, SYS_NFT_REG(0));
	sys_nl_be32(b, NFTA_CT_KEY, key);
	sys_nft_expr_end(b, e);
	sys_nft_bitwise(b, SYS_NFT_REG(0), SYS_NFT_REG(0), &bits, 4);
	sys_nft_cmp(b, NFT_CMP_NEQ, SYS_NFT_REG(0), &zero, 4);
}

void sys_nft_ct_original(struct sys_nl_batch *b, uint32_t key, uint32_t reg)
{
	struct sys_nft_expr e = sys_nft_expr_begin(b, "ct");
	sys_nl_be32(b, NFTA_CT_DREG, reg);
	sys_nl_be32(b, NFTA_CT_KEY, key);
	sys_nl_u8(b, NFTA_CT_DIRECTION, 0); /* IP_CT_DIR_ORIGINAL */
	sys_nft_expr_end(b, e);
}

void sys_nft_fib_local(struct sys_nl_batch *b)
{
	uint32_t local = RTN_LOCAL;
	struct sys_nft_expr e = sys_nft_expr_begin(b, "fib");
	sys_nl_be32(b, NFTA_FIB_DREG, SYS_NFT_REG(0));
	sys_nl_be32(b, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	sys_nl_be32(b, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
	sys_nft_expr_end(b, e);
	sys_nft_cmp(b, NFT_CMP_EQ, SYS_NFT_REG(0), &local, 4);
}

void sys_nft_random(struct sys_nl_batch *b, uint32_t modulus, uint32_t reg)
{
	struct sys_nft_expr e = sys_nft_expr_begin(b, "numgen");
	sys_nl_be32(b, NFTA_NG_DREG, reg);
	sys_nl_be32(b, NFTA_NG_MODULUS, modulus);
	sys_nl_be32(b, NFTA_NG_TYPE, NFT_NG_RANDOM);
	sys_nl_be32(b, NFTA_NG_OFFSET, 0);
	sys_nft_expr_end(b, e);
}

void sys_nft_masquerade(struct sys_nl_batch *b)
{
	sys_nft_expr_end(b, sys_nft_expr_begin(b, "masq"));
}

void sys_nft_reject(struct sys_nl_batch *b)
{
	struct sys_nft_expr e = sys_nft_expr_begin(b, "reject");
	sys_nl_be32(b, NFTA_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
	sys_nl_u8(b, NFTA_REJECT_ICMP_CODE, NFT_REJECT_ICMPX_PORT_UNREACH);
	sys_nft_expr_end(b, e);
}

static void put_be64(struct sys_nl_batch *b, uint16_t type, uint64_t v)
{
	v = htobe64(v);
	sys_nl_put(b, type, &v, 8);
}

void sys_nft_dynset(struct sys_nl_batch *b, const struct sys_nft_set *s, enum sys_nft_dynset op, uint32_t key_reg,
		    uint32_t data_reg, unsigned timeout_s)
{
	static const uint32_t ops[] = { NFT_DYNSET_OP_ADD, NFT_DYNSET_OP_UPDATE, NFT_DYNSET_OP_DELETE };
	struct sys_nft_expr e = sys_nft_expr_begin(b, "dynset");
	sys_nl_str(b, NFTA_DYNSET_SET_NAME, s->name);
	sys_nl_be32(b, NFTA_DYNSET_OP, ops[op]);
	sys_nl_be32(b, NFTA_DYNSET_SREG_KEY, key_reg);
	if (s->data[0]) /* the kernel wants it for DELETE too */
		sys_nl_be32(b, NFTA_DYNSET_SREG_DATA, data_reg);
	if (timeout_s && op != SYS_NFT_DYNSET_DELETE)
		put_be64(b, NFTA_DYNSET_TIMEOUT, timeout_s * UINT64_C(1000));
	sys_nft_expr_end(b, e);
}

/* ---- a transaction */

void sys_nft_init(struct sys_nft *n, int sock, uint8_t family, const char *table)
{
	*n = (struct sys_nft){ .sock = sock, .family = family };
	snprintf(n->table, sizeof(n->table), "%s", table);
}

void sys_nft_done(struct sys_nft *n)
{
	sys_nl_batch_done(&n->batch);
	n->open = false;
	n->set = NULL;
}

void sys_nft_drop(struct sys_nft *n)
{
	buf_trunc(&n->batch.out, 0);
	n->batch.n = 0;
	n->open = false;
	n->set = NULL;
}

static void elements_end(struct sys_nft *n)
{
	if (!n->set)
		return;
	sys_nl_nest_end(&n->batch, n->list);
	sys_nl_end(&n->batch, n->message);
	n->set = NULL;
}

int sys_nft_commit(struct sys_nft *n, const char *what, struct err *err)
{
	if (!n->open)
		return 0;
	elements_end(n);
	sys_nft_batch_end(&n->batch);
	n->open = false;
	return sys_nl_commit(n->sock, &n->batch, NULL, what, err);
}

static size_t object_begin(struct sys_nft *n, uint16_t type, unsigned flags, uint16_t table_attr)
{
	elements_end(n);
	if (!n->open)
		sys_nft_batch_begin(&n->batch);
	n->open = true;
	size_t m = sys_nft_message(&n->batch, type, flags, n->family);
	sys_nl_str(&n->batch, table_attr, n->table);
	return m;
}

void sys_nft_table_add(struct sys_nft *n)
{
	sys_nl_end(&n->batch, object_begin(n, NFT_MSG_NEWTABLE, NLM_F_CREATE, NFTA_TABLE_NAME));
}

/* User data as libnftnl keeps it: type 0 = comment, length with the 0 byte, text. */
void sys_nft_table_new(struct sys_nft *n, const char *comment)
{
	char data[64];
	size_t len = strnlen(comment, sizeof(data) - 3);
	size_t m = object_begin(n, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, NFTA_TABLE_NAME);
	data[0] = 0;
	data[1] = (char)(len + 1);
	memcpy(data + 2, comment, len);
	data[2 + len] = 0;
	sys_nl_put(&n->batch, NFTA_TABLE_USERDATA, data, len + 3);
	sys_nl_end(&n->batch, m);
}

/* "add, delete" is how a table that may be absent is deleted within a transaction. */
void sys_nft_table_delete_add(struct sys_nft *n)
{
	sys_nft_table_add(n);
	sys_nl_end(&n->batch, object_begin(n, NFT_MSG_DELTABLE, 0, NFTA_TABLE_NAME));
}

void sys_nft_chain_add(struct sys_nft *n, const char *name, const char *type, uint32_t hook, int priority)
{
	struct sys_nl_batch *b = &n->batch;
	size_t m = object_begin(n, NFT_MSG_NEWCHAIN, NLM_F_CREATE, NFTA_CHAIN_TABLE);
	sys_nl_str(b, NFTA_CHAIN_NAME, name);
	if (type) {
		size_t h = sys_nl_nest(b, NFTA_CHAIN_HOOK);
		sys_nl_be32(b, NFTA_HOOK_HOOKNUM, hook);
		sys_nl_be32(b, NFTA_HOOK_PRIORITY, (uint32_t)priority);
		sys_nl_nest_end(b, h);
		sys_nl_be32(b, NFTA_CHAIN_POLICY, NF_ACCEPT);
		sys_nl_str(b, NFTA_CHAIN_TYPE, type);
	}
	sys_nl_end(b, m);
}

void sys_nft_set_add(struct sys_nft *n, const struct sys_nft_set *s, uint32_t id)
{
	struct sys_nl_batch *b = &n->batch;
	bool concat = s->key[1] != SYS_NFT_NONE;
	uint32_t flags = (s->interval ? NFT_SET_INTERVAL : 0) | (s->data[0] ? NFT_SET_MAP : 0) |
			 (s->timeout_s ? NFT_SET_TIMEOUT | NFT_SET_EVAL : 0);
	if (s->interval && concat)
		flags |= NFT_SET_CONCAT;
	size_t m = object_begin(n, NFT_MSG_NEWSET, NLM_F_CREATE, NFTA_SET_TABLE);
	sys_nl_str(b, NFTA_SET_NAME, s->name);
	sys_nl_be32(b, NFTA_SET_FLAGS, flags);
	sys_nl_be32(b, NFTA_SET_KEY_TYPE, types_id(s->key, ARRAY_LEN(s->key)));
	sys_nl_be32(b, NFTA_SET_KEY_LEN, sys_nft_key_len(s));
	if (s->data[0]) {
		sys_nl_be32(b, NFTA_SET_DATA_TYPE, types_id(s->data, ARRAY_LEN(s->data)));
		sys_nl_be32(b, NFTA_SET_DATA_LEN, sys_nft_data_len(s));
	}
	sys_nl_be32(b, NFTA_SET_ID, id);
	if (s->timeout_s)
		put_be64(b, NFTA_SET_TIMEOUT, s->timeout_s * UINT64_C(1000));
	if (s->key[0] == SYS_NFT_NAME && !concat) {
		/* libnftnl's note on the byte order of keys (NFTNL_UDATA_SET_KEYBYTEORDER = host): without it nft lists names as "". */
		static const uint8_t host_order[6] = { 0, 4, 1, 0, 0, 0 };
		sys_nl_put(b, NFTA_SET_USERDATA, host_order, sizeof(host_order));
	}
	if (s->size || (s->interval && concat)) {
		size_t desc = sys_nl_nest(b, NFTA_SET_DESC);
		if (s->size)
			sys_nl_be32(b, NFTA_SET_DESC_SIZE, s->size);
		if (s->interval && concat) {
			size_t list = sys_nl_nest(b, NFTA_SET_DESC_CONCAT);
			for (unsigned k = 0; k < ARRAY_LEN(s->key) && s->key[k]; k++) {
				size_t field = sys_nl_nest(b, NFTA_LIST_ELEM);
				sys_nl_be32(b, NFTA_SET_FIELD_LEN, type_len(s->key[k]));
				sys_nl_nest_end(b, field);
			}
			sys_nl_nest_end(b, list);
		}
		sys_nl_nest_end(b, desc);
	}
	sys_nl_end(b, m);
}

struct sys_nft_rule sys_nft_rule_begin(struct sys_nft *n, const char *chain)
{
	struct sys_nft_rule r;
	r.message = object_begin(n, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, NFTA_RULE_TABLE);
	sys_nl_str(&n->batch, NFTA_RULE_CHAIN, chain);
	r.list = sys_nl_nest(&n->batch, NFTA_RULE_EXPRESSIONS);
	return r;
}

void sys_nft_rule_end(struct sys_nft *n, struct sys_nft_rule r)
{
	sys_nl_nest_end(&n->batch, r.list);
	sys_nl_end(&n->batch, r.message);
}

/* ---- elements */

void sys_nft_element(struct sys_nft *n, const struct sys_nft_set *s, bool add, const void *key, const void *key_end,
		     const void *data, bool interval_end)
{
	struct sys_nl_batch *b = &n->batch;
	if (n->set != s || n->adding != add || b->out.len - n->list > LIST_MAX) {
		n->message = object_begin(n, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, add ? NLM_F_CREATE : 0,
					  NFTA_SET_ELEM_LIST_TABLE);
		sys_nl_str(b, NFTA_SET_ELEM_LIST_SET, s->name);
		n->list = sys_nl_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS);
		n->set = s;
		n->adding = add;
	}
	size_t e = sys_nl_nest(b, NFTA_LIST_ELEM);
	if (interval_end)
		sys_nl_be32(b, NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
	sys_nft_value(b, NFTA_SET_ELEM_KEY, key, sys_nft_key_len(s));
	if (key_end)
		sys_nft_value(b, NFTA_SET_ELEM_KEY_END, key_end, sys_nft_key_len(s));
	if (data && add)
		sys_nft_value(b, NFTA_SET_ELEM_DATA, data, sys_nft_data_len(s));
	sys_nl_nest_end(b, e);
}

void sys_nft_flush(struct sys_nft *n, const struct sys_nft_set *s)
{
	size_t m = object_begin(n, NFT_MSG_DELSETELEM, 0, NFTA_SET_ELEM_LIST_TABLE);
	sys_nl_str(&n->batch, NFTA_SET_ELEM_LIST_SET, s->name);
	sys_nl_end(&n->batch, m);
}

struct each {
	int (*fn)(void *arg, struct span key, struct span data, uint32_t flags);
	void *arg;
	int rc;
};

static struct span value_of(const struct nlattr *a)
{
	const struct nlattr *v[NFTA_DATA_VALUE + 1];
	if (!a)
		return SPAN_EMPTY;
	sys_nl_attrs(sys_nl_data(a), sys_nl_len(a), v, ARRAY_LEN(v));
	return v[NFTA_DATA_VALUE] ? span_make(sys_nl_data(v[NFTA_DATA_VALUE]), sys_nl_len(v[NFTA_DATA_VALUE])) : SPAN_EMPTY;
}

static int on_elements(void *arg, const struct nlmsghdr *m)
{
	struct each *e = arg;
	const struct nlattr *a[NFTA_SET_ELEM_LIST_ELEMENTS + 1], *x[NFTA_SET_ELEM_DATA + 1 > NFTA_SET_ELEM_FLAGS + 1 ?
		NFTA_SET_ELEM_DATA + 1 : NFTA_SET_ELEM_FLAGS + 1];
	if (m->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM) || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct nfgenmsg)))
		return 0;
	const char *body = (const char *)NLMSG_DATA(m) + NLMSG_ALIGN(sizeof(struct nfgenmsg));
	sys_nl_attrs(body, m->nlmsg_len - NLMSG_LENGTH(sizeof(struct nfgenmsg)), a, ARRAY_LEN(a));
	const struct nlattr *list = a[NFTA_SET_ELEM_LIST_ELEMENTS];
	if (!list)
		return 0;
	const char *p = sys_nl_data(list);
	for (size_t left = sys_nl_len(list); left >= NLA_HDRLEN && e->rc == 0;) {
		const struct nlattr *one = (const struct nlattr *)(const void *)p;
		if (one->nla_len < NLA_HDRLEN || one->nla_len > left)
			break;
		sys_nl_attrs(sys_nl_data(one), sys_nl_len(one), x, ARRAY_LEN(x));
		e->rc = e->fn(e->arg, value_of(x[NFTA_SET_ELEM_KEY]), value_of(x[NFTA_SET_ELEM_DATA]),
			      sys_nl_get_be32(x[NFTA_SET_ELEM_FLAGS]));
		size_t step = MIN((size_t)NLA_ALIGN(one->nla_len), left);
		p += step;
		left -= step;
	}
	return e->rc;
}

static int not_found(int rc, struct err *err, const char *what)
{
	if (rc < 0 && err && err->errnum == ENOENT)
		return err_set(err, ERR_NOT_FOUND, "nftables has no %s", what);
	return rc;
}

int sys_nft_each(int sock, uint8_t family, const char *table, const char *set,
		 int (*fn)(void *arg, struct span key, struct span data, uint32_t flags), void *arg, struct err *err)
{
	auto_nl_batch struct sys_nl_batch b = { 0 };
	auto_err struct err why = ERR_INIT;
	struct each e = { .fn = fn, .arg = arg };
	size_t m = sys_nft_message(&b, NFT_MSG_GETSETELEM, NLM_F_DUMP, family);
	sys_nl_str(&b, NFTA_SET_ELEM_LIST_TABLE, table);
	sys_nl_str(&b, NFTA_SET_ELEM_LIST_SET, set);
	sys_nl_end(&b, m);
	int rc = not_found(sys_nl_ask(sock, &b, on_elements, &e, "listing a set's elements", &why), &why, set);
	return rc < 0 && err ? err_move(err, &why) : rc;
}

static int on_table(void *arg, const struct nlmsghdr *m)
{
	char *out = arg;
	const struct nlattr *a[NFTA_TABLE_USERDATA + 1];
	if (m->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE) || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct nfgenmsg)))
		return 0;
	const char *body = (const char *)NLMSG_DATA(m) + NLMSG_ALIGN(sizeof(struct nfgenmsg));
	sys_nl_attrs(body, m->nlmsg_len - NLMSG_LENGTH(sizeof(struct nfgenmsg)), a, ARRAY_LEN(a));
	const struct nlattr *u = a[NFTA_TABLE_USERDATA];
	const char *text = u ? sys_nl_data(u) : NULL;
	out[0] = 0;
	if (u && sys_nl_len(u) > 3 && text[0] == 0) {
		size_t len = MIN(sys_nl_len(u) - 2, (size_t)63);
		memcpy(out, text + 2, len);
		out[len] = 0;
	}
	return 0;
}

int sys_nft_table_comment(int sock, uint8_t family, const char *table, char out[64], struct err *err)
{
	auto_nl_batch struct sys_nl_batch b = { 0 };
	auto_err struct err why = ERR_INIT;
	size_t m = sys_nft_message(&b, NFT_MSG_GETTABLE, 0, family);
	sys_nl_str(&b, NFTA_TABLE_NAME, table);
	sys_nl_end(&b, m);
	int rc = not_found(sys_nl_ask(sock, &b, on_table, out, "looking for a table", &why), &why, table);
	return rc < 0 && err ? err_move(err, &why) : rc;
}
