/* Interfaces, addresses and routes: messages of rtnetlink(7). The _add functions put a message into a batch; the others ask. */
#pragma once

#include "network/addr.h"
#include "network/netlink.h"

struct network_link {
	int index, master, peer; /* 0 = none */
	unsigned flags;          /* IFF_* */
	uint32_t mtu;
	uint8_t mac[6];
	char name[16], kind[16], alias[128];
	uint64_t counters[8]; /* rx packets, tx packets, rx bytes, tx bytes, rx errors, tx errors, rx dropped, tx dropped */
};

/* One interface by name or, with name NULL, by index. NOT_FOUND. */
int network_link_get(int sock, const char *name, int index, struct network_link *out, struct err *err);
int network_link_each(int sock, int (*fn)(void *arg, const struct network_link *l), void *arg, struct err *err);
/* Destinations of the main table of one family: fn returns 0 to go on. */
int network_route_each(int sock, int family, int (*fn)(void *arg, const struct network_prefix *to, int index), void *arg,
	struct err *err);
/* Addresses of an interface; index 0 = of all. */
int network_address_each(int sock, int (*fn)(void *arg, const struct network_prefix *p, int index), void *arg, struct err *err);

void network_link_bridge_add(struct network_nl_batch *b, const char *name, const uint8_t mac[6], unsigned mtu);
void network_link_alias_add(struct network_nl_batch *b, const char *name, const char *alias);
/* A pair: `name` here, below the bridge `master`; `peer` in the namespace netns_fd. Both down. */
struct network_veth {
	const char *name, *peer;
	int master, netns_fd;
	unsigned mtu;
	uint8_t peer_mac[6];
};
void network_link_veth_add(struct network_nl_batch *b, const struct network_veth *v);
/* Up, without an IPv6 address of its own: a port of a bridge needs none. ISOLATED: not to other isolated ports; HAIRPIN:
 * frames may leave where they came in. Without either also for a bridge itself. */
enum { NETWORK_PORT_ISOLATED = 1, NETWORK_PORT_HAIRPIN = 2 };
void network_link_port_up_add(struct network_nl_batch *b, const char *name, unsigned how);
/* A port passes nothing any more, at once: taking it down or away makes the caller wait for the kernel's readers (10 ms and
 * more). */
void network_link_port_stop_add(struct network_nl_batch *b, int index);
void network_link_up_add(struct network_nl_batch *b, int index, bool up);
/* A link that just got its carrier is put to use by a worker of the kernel's, later: until then it drops what is sent. Being
 * asked about, it is put to use at once (Linux 6.8: linkwatch_sync_dev; before, the question is in vain). */
void network_link_sync_add(struct network_nl_batch *b, int index, const char *name);
void network_link_delete_add(struct network_nl_batch *b, const char *name);
void network_address_add(struct network_nl_batch *b, int index, const struct network_prefix *p);
void network_address_delete_add(struct network_nl_batch *b, int index, const struct network_prefix *p);
/* to NULL = default; gateway NULL = the interface itself. Replaces one that is there. */
void network_route_add(struct network_nl_batch *b, int family, const struct network_prefix *to,
	const struct network_addr *gateway,
		       int index);
