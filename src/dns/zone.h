/* The cluster zone: Services and EndpointSlices on one side, answers on the other. Private to src/dns.
 *
 * Pure: no socket, no clock. A change of one object makes the rows of one service anew; an answer copies rows that are ready
 * to be sent, and allocates nothing. One thread. */
#pragma once

#include "dnsmsg/dnsmsg.h"
#include "json/json.h"

enum { DNS_PORTS_MAX = 100, DNS_ENDPOINTS_MAX = 1000, DNS_TTL_S = 5 /* of all that is said about the zone, as CoreDNS has it */ };

struct dns_port {
	char name[64], protocol[8]; /* "http", "tcp"; a port without name has no SRV record */
	uint16_t port;
};
enum dns_kind { DNS_CLUSTER, DNS_HEADLESS, DNS_EXTERNAL };
/* Columns of a Service and of an EndpointSlice: one allocation each, to be freed with free(). */
struct dns_service {
	enum dns_kind kind;
	bool publish; /* publishNotReadyAddresses */
	struct sys_addr addrs[2];
	struct dnsmsg_name external;
	unsigned n_addrs, n_ports;
	struct dns_port ports[];
};
struct dns_endpoint {
	struct sys_addr addr;
	bool ready;
	char hostname[64]; /* "" = none: its address with dashes is its name */
};
struct dns_slice {
	unsigned n_ports, n;
	struct dns_port *ports; /* both lie behind the struct */
	struct dns_endpoint *endpoints;
};
/* NULL for what gives no names. */
struct dns_service *dns_service_read(const struct json *object);
struct dns_slice *dns_slice_read(const struct json *object);

struct dns_zone;
/* address: of the server itself, the zone's only name server; family 0 when it is not known. */
int dns_zone_new(struct span name, const struct sys_addr *address, struct dns_zone **out_zone, struct err *err);
void dns_zone_free(struct dns_zone *z); /* accepts NULL */
/* key "ns/name". What is given is taken; NULL: it is gone. */
void dns_zone_service(struct dns_zone *z, struct span key, struct dns_service *s);
void dns_zone_slice(struct dns_zone *z, struct span service_key, struct span slice_key, struct dns_slice *s);

enum dns_verdict {
	DNS_ANSWERED,
	DNS_ELSEWHERE, /* no name of ours: nothing was written */
	DNS_CHASE,     /* an ExternalName: its CNAME was written, and the records of *out_target belong behind it */
};
/* The question of a parsed query; o is begun and written, but not ended. turn picks which of a name's addresses comes first. */
enum dns_verdict dns_zone_answer(const struct dns_zone *z, struct span packet, const struct dnsmsg_question *q, uint64_t turn,
				 struct dnsmsg_out *o, struct dnsmsg_name *out_target);
