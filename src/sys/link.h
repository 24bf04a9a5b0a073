/* Interfaces, addresses and routes: messages of rtnetlink(7). The _add functions put a message into a batch; the others ask. */
#pragma once

#include "sys/addr.h"
#include "sys/netlink.h"

struct sys_link {
	int index, master, peer; /* 0 = none */
	unsigned flags;          /* IFF_* */
	uint32_t mtu;
	uint8_t mac[6], operstate; /* operstate: IF_OPER_* */
	char name[16], kind[16], alias[128];
	uint64_t counters[8]; /* rx packets, tx packets, rx bytes, tx bytes, rx errors, tx errors, rx dropped, tx dropped */
};

/* A name that the kernel takes: 1 to 15 bytes, not "." nor "..", no slash, colon nor white space (byte A0 is some to it), and no %
 * of a pattern that it would fill in. */
bool sys_link_name_ok(struct span name);
/* One interface by name or, with name NULL, by index. NOT_FOUND. */
int sys_link_get(int sock, const char *name, int index, struct sys_link *out, struct err *err);
int sys_link_each(int sock, int (*fn)(void *arg, const struct sys_link *l), void *arg, struct err *err);
/* Destinations of the main table of one family: fn returns 0 to go on. */
int sys_route_each(int sock, int family, int (*fn)(void *arg, const struct sys_prefix *to, int index), void *arg,
	struct err *err);
/* Addresses of an interface; index 0 = of all. */
int sys_address_each(int sock, int (*fn)(void *arg, const struct sys_prefix *p, int index), void *arg, struct err *err);

void sys_link_bridge_add(struct sys_nl_batch *b, const char *name, const uint8_t mac[6], unsigned mtu);
void sys_link_alias_add(struct sys_nl_batch *b, const char *name, const char *alias);
/* A pair: `name` here, below the bridge `master` (0: none); `peer` in the namespace netns_fd. Both down. */
struct sys_veth {
	const char *name, *peer;
	int master, netns_fd;
	unsigned mtu;
	uint8_t mac[6], peer_mac[6]; /* mac zero: by chance */
};
void sys_link_veth_add(struct sys_nl_batch *b, const struct sys_veth *v);
/* Up, without an IPv6 address of its own: a port of a bridge needs none. ISOLATED: not to other isolated ports; HAIRPIN:
 * frames may leave where they came in. Without either also for a bridge itself. */
enum { SYS_PORT_ISOLATED = 1, SYS_PORT_HAIRPIN = 2 };
void sys_link_port_up_add(struct sys_nl_batch *b, const char *name, unsigned how);
/* A port passes nothing any more, at once: taking it down or away makes the caller wait for the kernel's readers (10 ms and
 * more). */
void sys_link_port_stop_add(struct sys_nl_batch *b, int index);
void sys_link_up_add(struct sys_nl_batch *b, int index, bool up);
/* A link that just got its carrier is put to use by a worker of the kernel's, later: until then it drops what is sent. Being
 * asked about, it is put to use at once (Linux 6.8: linkwatch_sync_dev; before, the question is in vain). */
void sys_link_sync_add(struct sys_nl_batch *b, int index, const char *name);
void sys_link_delete_add(struct sys_nl_batch *b, const char *name);
void sys_address_add(struct sys_nl_batch *b, int index, const struct sys_prefix *p);
/* Scope link: good for this interface alone, never chosen as the source of what leaves by another. */
void sys_address_link_add(struct sys_nl_batch *b, int index, const struct sys_prefix *p);
/* Who has an address on the interface, for ever and without being asked (ip neighbour ... nud permanent). */
void sys_neighbour_add(struct sys_nl_batch *b, int index, const struct sys_addr *a, const uint8_t mac[6]);
struct sys_route {
	struct sys_prefix to;      /* family 0: a default route of the gateway's family */
	struct sys_addr gateway;   /* family 0: the interface itself */
	struct sys_addr source;    /* of what this host sends; family 0: the kernel chooses */
	int index;
	uint8_t protocol, scope;   /* RTPROT_*, RT_SCOPE_* */
	bool onlink;               /* the gateway is a neighbour whatever the addresses say */
	bool local;                /* to this host itself, whatever addresses its interfaces have (table local, ip route add local) */
};
/* Makes it, or replaces the one to the same destination. */
void sys_route_put(struct sys_nl_batch *b, const struct sys_route *r);
void sys_route_delete_add(struct sys_nl_batch *b, const struct sys_route *r);
/* Whole routes of one family: unicast ones of the main table, and local ones that the kernel did not make by itself. */
int sys_route_list(int sock, int family, int (*fn)(void *arg, const struct sys_route *r), void *arg, struct err *err);
/* Waits until the interface sends what it is given (operational state up), at most wait_ms. TIMEOUT. */
int sys_link_ready(int sock, int index, unsigned wait_ms, struct err *err);
/* to NULL = default; gateway NULL = the interface itself. Replaces one that is there. */
void sys_route_add(struct sys_nl_batch *b, int family, const struct sys_prefix *to,
	const struct sys_addr *gateway,
		       int index);
