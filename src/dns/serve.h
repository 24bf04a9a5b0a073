/* Sockets: questions over UDP, many with one system call, and over TCP (RFC 7766). Private to src/dns.
 *
 * Bounds: DNS_CONNS_MAX TCP clients, each with one question at a time being asked of others and at most DNS_OUT_MAX bytes of
 * answers unread; who is silent for DNS_IDLE_MS is closed. */
#pragma once

#include "dns/forward.h"
#include "dns/zone.h"

enum { DNS_CONNS_MAX = 256, DNS_IDLE_MS = 10000, DNS_OUT_MAX = 128 << 10 };

struct dns_serve_counts {
	uint64_t udp, tcp;   /* questions */
	uint64_t rcodes[16]; /* answers */
};
struct dns_serve;
struct dns_serve_params {
	struct loop *loop;
	const struct dns_zone *zone; /* borrowed */
	struct dns_forward *forward; /* borrowed */
	struct sys_addr address;     /* need not be there yet */
	uint16_t port;
};
/* Answers from the return on. */
int dns_serve_new(const struct dns_serve_params *p, struct dns_serve **out_serve, struct err *err);
/* Closes are under way in the loop, which must turn before dns_serve_free; before dns_forward_stop. */
void dns_serve_stop(struct dns_serve *s);
void dns_serve_free(struct dns_serve *s); /* accepts NULL */
const struct dns_serve_counts *dns_serve_counts(const struct dns_serve *s); /* live */
/* A socket that listens; the address may come later. */
int dns_socket(const struct sys_addr *address, uint16_t port, int type, struct err *err);
