/* The nftables table of the engine: chains and rules are written once, all that changes are elements of sets and maps.
 *
 * Every call collects into one transaction, which network_nft_commit gives to the kernel: all of it or nothing. */
#pragma once

#include "network/addr.h"
#include "network/netlink.h"

enum network_nft_set {
	NETWORK_NFT_BRIDGES,   /* interface: ours, bridges that protect what is behind them */
	NETWORK_NFT_SAME,      /* interface . interface: passes freely (in and out are one bridge, and icc is on) */
	NETWORK_NFT_QUIET,     /* interface: icc is off, ports of the host are reached through the relay */
	NETWORK_NFT_INTERNAL,  /* interface: nothing passes but what is in SAME */
	NETWORK_NFT_MASQ4,     /* subnet whose traffic to elsewhere is masqueraded */
	NETWORK_NFT_MASQ6,
	NETWORK_NFT_LOCAL4,    /* interface . subnet: the subnet is behind that interface */
	NETWORK_NFT_LOCAL6,
	NETWORK_NFT_PORTS4,    /* protocol . port → address . port: published on every address of the host */
	NETWORK_NFT_PORTS6,
	NETWORK_NFT_PORTS4_AT, /* address . protocol . port → address . port: on one address */
	NETWORK_NFT_PORTS6_AT,
	NETWORK_NFT_ROUTED4,   /* address . protocol . port: containers' own addresses, gateway mode "routed" */
	NETWORK_NFT_ROUTED6,
	NETWORK_NFT_SET_COUNT
};

struct network_nft {
	int sock; /* borrowed: NETLINK_NETFILTER */
	char table[32];
	struct network_nl_batch batch;
	bool open; /* the batch has begun */
};
void network_nft_init(struct network_nft *n, int sock, const char *id);
void network_nft_done(struct network_nft *n);

/* Forgets the table if it is there and writes it anew, empty of elements. */
void network_nft_table_add(struct network_nft *n);
void network_nft_table_delete_add(struct network_nft *n);
/* add false = take out. A name of an interface is at most 15 bytes. */
void network_nft_interface(struct network_nft *n, enum network_nft_set set, bool add, const char *name);
void network_nft_pair(struct network_nft *n, bool add, const char *name); /* SAME: name . name */
void network_nft_subnet(struct network_nft *n, bool add, const struct network_prefix *p);              /* MASQ */
void network_nft_behind(struct network_nft *n, bool add, const char *name, const struct network_prefix *p); /* LOCAL */
/* at NULL = every address of the host. to's family says which map. */
void network_nft_port(struct network_nft *n, bool add, const struct network_addr *at, uint8_t protocol, uint16_t port,
		      const struct network_addr *to, uint16_t to_port);
void network_nft_routed(struct network_nft *n, bool add, const struct network_addr *to, uint8_t protocol, uint16_t port);
/* Nothing collected is no call. */
int network_nft_commit(struct network_nft *n, const char *what, struct err *err);
void network_nft_drop(struct network_nft *n); /* forgets what was collected */

/* In a container's namespace: what goes to 127.0.0.11:53 arrives at these ports of it. again: a table of before is replaced,
 * which costs the closing of the socket a wait for the kernel's readers. */
int network_nft_dns(int sock, bool again, uint16_t udp_port, uint16_t tcp_port, struct err *err);

/* ---- pieces of rules, for who looks after others' firewalls (firewall.c) */
size_t network_nft_message(struct network_nl_batch *b, uint16_t type, unsigned flags, uint8_t family);
void network_nft_batch_begin(struct network_nl_batch *b);
void network_nft_batch_end(struct network_nl_batch *b);
/* `iifname name accept` (out: oifname) at the top of a chain, with a comment (user data) that tells whose it is. */
void network_nft_accept_add(struct network_nl_batch *b, uint8_t family, const char *table, const char *chain, bool out,
	const char *name,
			    struct span comment);
