/* What a Service claims, and the ranges that it comes from: pure, for who gives (service.c), who puts right (repair.c) and tests.
 * Private to apiserver. */
#pragma once

#include "api/api.h"
#include "json/json.h"

#define CLAIMS_PORTS_MAX 512

/* Addresses as they stand in the Service (borrowed from its tree), ports each once. */
struct claims {
	struct span ips[2];
	unsigned n_ips, n_ports;
	int ports[CLAIMS_PORTS_MAX];
};
/* Nothing for NULL and ExternalName; no address for a headless one. */
struct claims claims_of(const struct json *service);
bool claims_have_port(const struct claims *c, int port);
bool claims_have_ip(const struct claims *c, struct span ip);

/* "IPv4" or "IPv6" of an address or a range. */
struct span claims_family(struct span ip_or_cidr);
/* An address in its one canonical text, the name of its IPAddress; NULL when it is none. */
const char *claims_name(struct arena *a, struct span ip);
/* The IPAddress of an address that a Service has, without what every new object gets. */
struct json claims_address(struct arena *a, struct span name, struct span ns, struct span service);
/* Is this IPAddress that Service's? */
bool claims_address_fits(const struct json *address, struct span ns, struct span service);

/* How many may be given: behind the network's own address, IPv4 before the broadcast. Wide IPv6 ranges count up to 2^62. */
uint64_t claims_hosts(const struct api_ip *base, unsigned bits);
/* How many at the start of a range of that size are for those who name theirs: a step-th, 16 at least and `most` at most. */
uint64_t claims_reserved(uint64_t size, uint64_t step, uint64_t most);
struct api_ip claims_plus(struct api_ip base, uint64_t n); /* the n-th address behind it; below 2^64 */
/* Is it one that may be given of that range? */
bool claims_in(struct span cidr, const struct api_ip *ip);
/* A node port's place in the store, and what stands there: whose it is. Appended. */
void claims_port_key(struct buf *out, int port);
void claims_port_value(struct buf *out, struct span ns, struct span service);
/* "30000-32767" */
bool claims_port_range(struct span range, int *out_low, int *out_high);

/* ---- reading Services and what belongs to them */
static inline const struct json *spec_of(const struct json *service)
{
	return json_getl(service, "spec");
}
static inline struct span text_of(const struct json *object, const char *key)
{
	return json_span(json_get(object, span_of(key)));
}
static inline bool type_is(const struct json *service, const char *type)
{
	return span_is(text_of(spec_of(service), "type"), type);
}
static inline unsigned count_of(const struct json *list)
{
	return json_is(list, JSON_ARRAY) ? list->n : 0;
}
static inline bool is_headless(const struct json *service)
{
	const struct json *ips = json_getl(spec_of(service), "clusterIPs");
	return count_of(ips) && span_is(json_span(&ips->items[0]), "None");
}
static inline bool has_node_ports(const struct json *service)
{
	return type_is(service, "NodePort") || type_is(service, "LoadBalancer");
}
static inline bool has_health_port(const struct json *service)
{
	return type_is(service, "LoadBalancer") && span_is(text_of(spec_of(service), "externalTrafficPolicy"), "Local");
}
