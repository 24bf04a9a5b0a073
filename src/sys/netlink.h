/* Netlink messages: built into one buffer, sent at once, every answer read back.
 *
 *     struct sys_nl_batch b = { 0 };
 *     size_t m = sys_nl_begin(&b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifi, sizeof(ifi));
 *     sys_nl_str(&b, IFLA_IFNAME, "br0-1");
 *     sys_nl_end(&b, m);
 *     if (sys_nl_commit(sock, &b, "making the bridge", &err) < 0) ...
 *
 * The kernel works through a netlink write before the write returns, so all answers are there afterwards: nothing here waits.
 * A batch of rtnetlink goes on after a message that failed; one of nftables (network_nft_*) is a transaction. */
#pragma once

#include <linux/netlink.h>
#include "base/base.h"

struct sys_nl_batch {
	struct buf out;
	unsigned n; /* messages that want an acknowledgement */
	bool plain; /* this message wants none */
	bool torn_ok; /* sys_nl_ask: a list that changed while it was read will do; see there */
	uint32_t seq;
};
void sys_nl_batch_done(struct sys_nl_batch *b);
#define auto_nl_batch auto_cleanup(sys_nl_batch_done)

/* A socket of NETLINK_ROUTE or NETLINK_NETFILTER in the calling thread's namespace; -1 and errno in err. */
int sys_nl_open(int protocol, struct err *err);

/* The same for what the kernel tells everybody: groups, 0-ended. ENOBUFS of recv(2) says that something was missed. */
int sys_nl_listen(int protocol, const int *groups, struct err *err);
uint32_t sys_nl_port(int sock); /* nlmsg_pid of what this socket caused */

/* Begins a message with its fixed head; flags are besides NLM_F_REQUEST | NLM_F_ACK (0x10000: no acknowledgement). */
#define SYS_NL_NO_ACK 0x10000
size_t sys_nl_begin(struct sys_nl_batch *b, uint16_t type, unsigned flags, const void *head, size_t len);
void sys_nl_end(struct sys_nl_batch *b, size_t message);
void sys_nl_put(struct sys_nl_batch *b, uint16_t type, const void *data, size_t len);
static inline void sys_nl_u32(struct sys_nl_batch *b, uint16_t type, uint32_t v)
{
	sys_nl_put(b, type, &v, 4);
}
static inline void sys_nl_u8(struct sys_nl_batch *b, uint16_t type, uint8_t v)
{
	sys_nl_put(b, type, &v, 1);
}
static inline void sys_nl_str(struct sys_nl_batch *b, uint16_t type, const char *s)
{
	sys_nl_put(b, type, s, strlen(s) + 1);
}
void sys_nl_be32(struct sys_nl_batch *b, uint16_t type, uint32_t v);
size_t sys_nl_nest(struct sys_nl_batch *b, uint16_t type);
void sys_nl_nest_end(struct sys_nl_batch *b, size_t nest);

/* Sends and empties the batch. 0, or the first failure: its errno in err->errnum, the kernel's own words if it has some.
 * `what` says what was tried. Failures whose errno is in `ignore` (0-ended, may be NULL) count as success. */
int sys_nl_commit(int sock, struct sys_nl_batch *b, const int *ignore, const char *what, struct err *err);
/* Sends one message that is answered with data; each answer goes to fn until the end. fn returns 0 to go on. A message with
 * NLM_F_DUMP ends with NLMSG_DONE, another with its acknowledgement.
 * The kernel marks a dump that others changed between two of its pieces (NLM_F_DUMP_INTR): it may lack what did not change, too.
 * Such a dump is asked for again, and fn sees one that is whole or none; ERR_STALE after 21 torn ones in a row. It is therefore
 * kept in memory (at most 256 MB) until its end, unless torn_ok says that fn may have it piece by piece, as it comes. */
int sys_nl_ask(int sock, struct sys_nl_batch *b, int (*fn)(void *arg, const struct nlmsghdr *m), void *arg,
	const char *what,
		   struct err *err);

/* Attributes of an answer, bounded by its length: out[type] or NULL. */
void sys_nl_attrs(const void *data, size_t len, const struct nlattr **out, unsigned n_out);
static inline const void *sys_nl_data(const struct nlattr *a)
{
	return (const char *)a + NLA_HDRLEN;
}
static inline size_t sys_nl_len(const struct nlattr *a)
{
	return a->nla_len - NLA_HDRLEN;
}
struct span sys_nl_text(const struct nlattr *a); /* without the 0 byte; empty for NULL */
uint32_t sys_nl_get_u32(const struct nlattr *a); /* 0 for NULL and for one that is too short */
uint32_t sys_nl_get_be32(const struct nlattr *a);
