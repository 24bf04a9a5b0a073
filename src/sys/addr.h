/* IP addresses and prefixes of both families, as values. */
#pragma once

#include <sys/socket.h>
#include "base/base.h"

struct sys_addr {
	uint8_t family; /* 0 = none, AF_INET, AF_INET6 */
	uint8_t b[16];  /* network order; 4 bytes used by AF_INET */
};
struct sys_prefix {
	struct sys_addr addr; /* may have host bits where said */
	uint8_t bits;
};

static inline unsigned sys_addr_len(const struct sys_addr *a)
{
	return a->family == AF_INET ? 4 : 16;
}
/* Strict forms only: "10.0.0.1" without leading zeros, RFC 4291 text without zone. */
bool sys_addr_parse(struct span text, struct sys_addr *out);
bool sys_prefix_parse(struct span text, struct sys_prefix *out); /* host bits are kept */
/* "10.0.0.1:80", "[::1]:80"; an address alone leaves the port as it is. A colon belongs to an IPv6 address that has no brackets. */
bool sys_addr_port_parse(struct span text, struct sys_addr *out, uint16_t *out_port);
/* Into at least SYS_ADDR_TEXT bytes; RFC 5952 form. Returns the text. */
#define SYS_ADDR_TEXT 64
char *sys_addr_text(const struct sys_addr *a, char out[SYS_ADDR_TEXT]);
char *sys_prefix_text(const struct sys_prefix *p, char out[SYS_ADDR_TEXT]);

bool sys_addr_eq(const struct sys_addr *a, const struct sys_addr *b);
bool sys_addr_zero(const struct sys_addr *a); /* the unspecified address, or none */
bool sys_addr_loopback(const struct sys_addr *a);
struct sys_prefix sys_prefix_mask(struct sys_prefix p); /* host bits cleared */
bool sys_prefix_has(const struct sys_prefix *p, const struct sys_addr *a);
bool sys_prefix_overlaps(const struct sys_prefix *a, const struct sys_prefix *b);

/* Addresses of a prefix are counted from 0 by their host part; at most 64 bits of it count. */
uint64_t sys_prefix_size(const struct sys_prefix *p); /* UINT64_MAX for 64 bits and more */
struct sys_addr sys_prefix_at(const struct sys_prefix *p, uint64_t offset);
uint64_t sys_prefix_offset(const struct sys_prefix *p, const struct sys_addr *a);

/* For bind and connect; returns the length. */
socklen_t sys_addr_sock(const struct sys_addr *a, uint16_t port, struct sockaddr_storage *out);
void sys_addr_from_sock(const struct sockaddr_storage *s, struct sys_addr *out, uint16_t *out_port);

/* "aa:bb:cc:dd:ee:ff" (also with '-'), as Go's net.ParseMAC takes the 6-byte forms. */
bool sys_mac_parse(struct span text, uint8_t out[6]);
char *sys_mac_text(const uint8_t mac[6], char out[18]);
