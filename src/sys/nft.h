/* nftables as netlink messages (linux/netfilter/nf_tables.h): tables whose chains and rules are written once and whose sets and
 * maps change. Without libnftnl: what is needed are a dozen expressions and one form of element (decision 0610).
 *
 *     struct sys_nft n;
 *     sys_nft_init(&n, sock, NFPROTO_INET, "knarr_0");
 *     sys_nft_element(&n, &ports, true, key, NULL, data, false);
 *     if (sys_nft_commit(&n, "publishing a port", &err) < 0) ...          // all of it or nothing
 *
 * Everything between the first call and commit is one transaction. Nothing waits: the kernel works through a transaction before
 * the write returns. Keys and data are in the form of registers: fields of 4 bytes (a protocol and a port are padded behind),
 * IPv6 addresses and names of interfaces of 16. */
#pragma once

#include "sys/netlink.h"

#define SYS_NFT_REG(n) (8u + (n)) /* registers of 4 bytes: NFT_REG32_00 + n, n in 0..15 */

/* nft's numbers of types, for its listings. */
enum sys_nft_type {
	SYS_NFT_NONE,
	SYS_NFT_IP4 = 7,
	SYS_NFT_IP6 = 8,
	SYS_NFT_PROTO = 12,
	SYS_NFT_PORT = 13,
	SYS_NFT_MARK = 19,
	SYS_NFT_NAME = 41,
};
unsigned sys_nft_types_len(const uint8_t *types, unsigned n); /* in registers: bytes */

struct sys_nft_set {
	const char *name;
	uint8_t key[5], data[5]; /* types in order, 0-ended; no data: a set */
	bool interval;
	unsigned timeout_s, size; /* one that rules fill: how long an element lives, how many there may be; 0 = not such a one */
};
static inline unsigned sys_nft_key_len(const struct sys_nft_set *s)
{
	return sys_nft_types_len(s->key, sizeof(s->key));
}
static inline unsigned sys_nft_data_len(const struct sys_nft_set *s)
{
	return sys_nft_types_len(s->data, sizeof(s->data));
}

struct sys_nft {
	int sock; /* borrowed: NETLINK_NETFILTER */
	uint8_t family;
	char table[32];
	struct sys_nl_batch batch;
	bool open;                      /* the batch has begun */
	const struct sys_nft_set *set;  /* elements are being added to (taken out of) this one, in a message not ended yet */
	bool adding;
	size_t message, list;
};
void sys_nft_init(struct sys_nft *n, int sock, uint8_t family, const char *table);
void sys_nft_done(struct sys_nft *n);
void sys_nft_drop(struct sys_nft *n); /* forgets what was collected */
/* 0 also when nothing was collected. */
int sys_nft_commit(struct sys_nft *n, const char *what, struct err *err);

void sys_nft_table_add(struct sys_nft *n);        /* no change when it is there */
void sys_nft_table_delete_add(struct sys_nft *n); /* may be absent */
/* type "nat" or "filter"; hook and priority as of linux/netfilter.h; policy accept. type NULL: no base chain. */
void sys_nft_chain_add(struct sys_nft *n, const char *name, const char *type, uint32_t hook, int priority);
/* id: any number that no other set of the transaction has, not 0. The row must live until commit. */
void sys_nft_set_add(struct sys_nft *n, const struct sys_nft_set *s, uint32_t id);
/* One element in or out; data NULL when taken out. Neighbours of one set share a message. */
void sys_nft_element(struct sys_nft *n, const struct sys_nft_set *s, bool add, const void *key, const void *key_end,
		     const void *data, bool interval_end);
void sys_nft_flush(struct sys_nft *n, const struct sys_nft_set *s); /* all elements out */
/* Every element of a set as it is in the kernel. fn returns 0 to go on; NOT_FOUND: no such table or set. */
int sys_nft_each(int sock, uint8_t family, const char *table, const char *set,
		 int (*fn)(void *arg, struct span key, struct span data, uint32_t flags), void *arg, struct err *err);
/* As table_add with a comment (at most 60 bytes) that tells what wrote it; EXISTS, and nothing else happens, when it is there. */
void sys_nft_table_new(struct sys_nft *n, const char *comment);
/* NOT_FOUND: no such table. */
int sys_nft_table_comment(int sock, uint8_t family, const char *table, char out[64], struct err *err);

/* ---- rules */
struct sys_nft_rule {
	size_t message, list;
};
struct sys_nft_rule sys_nft_rule_begin(struct sys_nft *n, const char *chain);
void sys_nft_rule_end(struct sys_nft *n, struct sys_nft_rule r);

/* ---- expressions, appended to the rule that is open. Registers by SYS_NFT_REG. */
struct sys_nft_expr {
	size_t elem, data;
};
struct sys_nft_expr sys_nft_expr_begin(struct sys_nl_batch *b, const char *name);
void sys_nft_expr_end(struct sys_nl_batch *b, struct sys_nft_expr e);
void sys_nft_value(struct sys_nl_batch *b, uint16_t type, const void *data, size_t len);
void sys_nft_meta(struct sys_nl_batch *b, uint32_t key, uint32_t reg);
void sys_nft_cmp(struct sys_nl_batch *b, uint32_t op, uint32_t reg, const void *data, size_t len);
void sys_nft_payload(struct sys_nl_batch *b, uint32_t base, uint32_t offset, uint32_t len, uint32_t reg);
void sys_nft_bitwise(struct sys_nl_batch *b, uint32_t from, uint32_t to, const void *mask, uint32_t len);
/* Goes on when the register's key is in the set; a map's data go to the register `to`. */
void sys_nft_lookup(struct sys_nl_batch *b, const struct sys_nft_set *s, uint32_t reg, uint32_t to, bool invert);
void sys_nft_verdict(struct sys_nl_batch *b, int code, const char *chain); /* chain for NFT_JUMP and NFT_GOTO, else NULL */
void sys_nft_immediate(struct sys_nl_batch *b, uint32_t reg, const void *data, size_t len);
void sys_nft_dnat(struct sys_nl_batch *b, uint32_t family, uint32_t addr_reg, uint32_t port_reg);
/* Bits of the connection's state or status (NFT_CT_STATE, NFT_CT_STATUS): goes on when one of them is set. Uses register 0. */
void sys_nft_ct_any(struct sys_nl_batch *b, uint32_t key, uint32_t bits);
/* A fact of the connection's original direction: NFT_CT_DST_IP, NFT_CT_PROTO_DST, ... */
void sys_nft_ct_original(struct sys_nl_batch *b, uint32_t key, uint32_t reg);
void sys_nft_fib_local(struct sys_nl_batch *b); /* goes on when the destination is an address of this host; uses register 0 */
void sys_nft_random(struct sys_nl_batch *b, uint32_t modulus, uint32_t reg);
void sys_nft_masquerade(struct sys_nl_batch *b);
void sys_nft_reject(struct sys_nl_batch *b); /* ICMP port unreachable of the packet's family */
enum sys_nft_dynset { SYS_NFT_DYNSET_ADD, SYS_NFT_DYNSET_UPDATE, SYS_NFT_DYNSET_DELETE };
/* From a rule into a set with timeout: add keeps an element that is there, update renews its life. timeout_s 0 = the set's.
 * data_reg is not looked at for DELETE. */
void sys_nft_dynset(struct sys_nl_batch *b, const struct sys_nft_set *s, enum sys_nft_dynset op, uint32_t key_reg,
		    uint32_t data_reg, unsigned timeout_s);

/* ---- pieces, for who looks after others' tables */
size_t sys_nft_message(struct sys_nl_batch *b, uint16_t type, unsigned flags, uint8_t family);
void sys_nft_batch_begin(struct sys_nl_batch *b);
void sys_nft_batch_end(struct sys_nl_batch *b);
