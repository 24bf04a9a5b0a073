/* From a service and its endpoints to the elements that the kernel shall have. Pure. Private to src/proxy. */
#pragma once

#include "json/json.h"
#include "proxy/table.h"

#define PROXY_PORTS_MAX 256       /* ports of one service */
#define PROXY_ADDRESSES_MAX 64    /* external and load-balancer addresses of one service */
#define PROXY_RANGES_MAX 256      /* loadBalancerSourceRanges of one service */
#define PROXY_ENDPOINTS_MAX 1000  /* of one slice, the API's bound */

struct proxy_port {
	struct span name; /* "" for the only one */
	uint8_t protocol;
	uint16_t port, node_port; /* node_port 0: none */
};
/* Columns of a Service. Everything lies in one allocation. */
struct proxy_service {
	struct sys_addr cluster[FAMILIES]; /* family 0: none */
	struct proxy_port *ports;
	struct sys_addr *external;  /* externalIPs */
	struct sys_addr *balancer;  /* status.loadBalancer.ingress[].ip, ipMode VIP */
	struct sys_prefix *sources; /* loadBalancerSourceRanges */
	unsigned n_ports, n_external, n_balancer, n_sources;
	unsigned sticky_s;          /* session affinity: lifetime; 0 = none */
	bool internal_local, external_local;
	bool hints;                 /* topology-aware: obey zone hints */
	uint16_t health_port;       /* healthCheckNodePort, 0 = none */
};
/* NULL: nothing for a proxy to do (headless, ExternalName, no cluster address). To be freed. */
struct proxy_service *proxy_service_read(const struct json *service);

enum { PROXY_READY = 1, PROXY_SERVING = 2, PROXY_TERMINATING = 4, PROXY_HERE = 8, PROXY_ZONE = 16, PROXY_HINTED = 32 };
struct proxy_slice_port {
	uint32_t name_at; /* in the slice's names */
	uint8_t name_len, protocol;
	uint16_t port;
};
struct proxy_slice {
	uint8_t family; /* V4, V6 */
	unsigned n_ports, n;
	struct proxy_slice_port *ports;
	struct proxy_slice_endpoint {
		uint8_t addr[16], flags;
	} *endpoints;
	char *names;
};
/* NULL: of a type that cannot be proxied (FQDN), or empty. here: this node's name; zone may be empty. To be freed. */
struct proxy_slice *proxy_slice_read(const struct json *slice, struct span here, struct span zone);

/* An address and port in a slot. */
struct proxy_endpoint {
	uint8_t addr[16];
	uint16_t port;
};
/* A list's slots as they are, so that the next plan changes as few as possible. */
struct proxy_list {
	uint8_t family, protocol, local;
	uint16_t port;
	uint32_t n; /* slots */
	struct proxy_endpoint *slots; /* owned */
};
struct proxy_plan {
	struct proxy_elements elements; /* sorted */
	struct proxy_list *lists;       /* owned */
	size_t n_lists, cap_lists;
	unsigned n_local;               /* ready endpoints on this node (health check of node ports) */
	bool cut;                       /* more than PROXY_SLOTS_MAX endpoints: the rest has none */
};
void proxy_plan_done(struct proxy_plan *p);

struct proxy_view {
	const struct sys_prefix *ranges; /* of cluster addresses: external addresses in them are not honoured (CVE-2020-8554) */
	unsigned n_ranges;
	/* May this service have that external address and port? Others may have it already. NULL: always. */
	bool (*claim)(void *arg, const struct sys_addr *a, uint8_t protocol, uint16_t port);
	void *arg;
};
/* slices: n of them, any order. last: the plan before, or NULL. out must be zero. */
void proxy_plan_make(const struct proxy_service *s, const struct proxy_slice *const *slices, size_t n,
		     const struct proxy_view *view, const struct proxy_plan *last, struct proxy_plan *out);
