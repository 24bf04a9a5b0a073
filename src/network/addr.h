/* IP addresses and prefixes of both families, as values. */
#pragma once

#include <sys/socket.h>
#include "base/base.h"

struct network_addr {
	uint8_t family; /* 0 = none, AF_INET, AF_INET6 */
	uint8_t b[16];  /* network order; 4 bytes used by AF_INET */
};
struct network_prefix {
	struct network_addr addr; /* may have host bits where said */
	uint8_t bits;
};

static inline unsigned network_addr_len(const struct network_addr *a)
{
	return a->family == AF_INET ? 4 : 16;
}
/* Strict forms only: "10.0.0.1" without leading zeros, RFC 4291 text without zone. */
bool network_addr_parse(struct span text, struct network_addr *out);
bool network_prefix_parse(struct span text, struct network_prefix *out); /* host bits are kept */
/* Into at least NETWORK_ADDR_TEXT bytes; RFC 5952 form. Returns the text. */
#define NETWORK_ADDR_TEXT 64
char *network_addr_text(const struct network_addr *a, char out[NETWORK_ADDR_TEXT]);
char *network_prefix_text(const struct network_prefix *p, char out[NETWORK_ADDR_TEXT]);

bool network_addr_eq(const struct network_addr *a, const struct network_addr *b);
bool network_addr_zero(const struct network_addr *a); /* the unspecified address, or none */
bool network_addr_loopback(const struct network_addr *a);
struct network_prefix network_prefix_mask(struct network_prefix p); /* host bits cleared */
bool network_prefix_has(const struct network_prefix *p, const struct network_addr *a);
bool network_prefix_overlaps(const struct network_prefix *a, const struct network_prefix *b);

/* Addresses of a prefix are counted from 0 by their host part; at most 64 bits of it count. */
uint64_t network_prefix_size(const struct network_prefix *p); /* UINT64_MAX for 64 bits and more */
struct network_addr network_prefix_at(const struct network_prefix *p, uint64_t offset);
uint64_t network_prefix_offset(const struct network_prefix *p, const struct network_addr *a);

/* For bind and connect; returns the length. */
socklen_t network_addr_sock(const struct network_addr *a, uint16_t port, struct sockaddr_storage *out);
void network_addr_from_sock(const struct sockaddr_storage *s, struct network_addr *out, uint16_t *out_port);

/* "aa:bb:cc:dd:ee:ff" (also with '-'), as Go's net.ParseMAC takes the 6-byte forms. */
bool network_mac_parse(struct span text, uint8_t out[6]);
char *network_mac_text(const uint8_t mac[6], char out[18]);
