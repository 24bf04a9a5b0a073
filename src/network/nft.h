/* The nftables table of the engine: chains and rules are written once, all that changes are elements of sets and maps.
 *
 * Every call collects into one transaction, which sys_nft_commit gives to the kernel: all of it or nothing. */
#pragma once

#include "sys/addr.h"
#include "sys/nft.h"

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

void network_nft_init(struct sys_nft *n, int sock, const char *id);

/* Forgets the table if it is there and writes it anew, empty of elements. */
void network_nft_table_add(struct sys_nft *n);
/* add false = take out. A name of an interface is at most 15 bytes. */
void network_nft_interface(struct sys_nft *n, enum network_nft_set set, bool add, const char *name);
void network_nft_pair(struct sys_nft *n, bool add, const char *name); /* SAME: name . name */
void network_nft_subnet(struct sys_nft *n, bool add, const struct sys_prefix *p);              /* MASQ */
void network_nft_behind(struct sys_nft *n, bool add, const char *name, const struct sys_prefix *p); /* LOCAL */
/* at NULL = every address of the host. to's family says which map. */
void network_nft_port(struct sys_nft *n, bool add, const struct sys_addr *at, uint8_t protocol, uint16_t port,
		      const struct sys_addr *to, uint16_t to_port);
void network_nft_routed(struct sys_nft *n, bool add, const struct sys_addr *to, uint8_t protocol, uint16_t port);
/* In a container's namespace: what goes to 127.0.0.11:53 arrives at these ports of it. again: a table of before is replaced,
 * which costs the closing of the socket a wait for the kernel's readers. */
int network_nft_dns(int sock, bool again, uint16_t udp_port, uint16_t tcp_port, struct err *err);

/* ---- pieces of rules, for who looks after others' firewalls (firewall.c) */
/* `iifname name accept` (out: oifname; prefix: every name that begins so) at the top of a chain, with a comment (user data) that
 * tells whose it is. */
void network_nft_accept_add(struct sys_nl_batch *b, uint8_t family, const char *table, const char *chain, bool out,
			    const char *name, bool prefix, struct span comment);
