/* Which pods stand behind a Service, at which ports, and how they are shared among slices. Pure functions; private. */
#pragma once

#include "controllers/frame.h"

void endpoints_pod_event(struct controller *c, const struct change *ch); /* adds the Services that a pod's change concerns */

enum ep_family { EP_IPV4, EP_IPV6, EP_FAMILIES };
enum ep_family ep_family_of(struct span address);
/* The address of that family, of status.podIPs or podIP; empty: none. */
struct span ep_address(const struct json *pod, enum ep_family family);
/* Ports of a Service as this pod has them: [{name, port, protocol, appProtocol}] in the Service's order; a port by name that
 * the pod does not have is left out. */
struct json ep_ports(struct arena *a, const struct json *service, const struct json *pod);

/* Endpoints with the same ports. */
struct ep_group {
	struct span key;    /* the ports' text */
	struct json ports;
	struct json *items; /* endpoints of discovery.k8s.io, or addresses of core */
	bool *ready;        /* of core: to which list it belongs */
	unsigned n, cap, cap_ready;
};
struct ep_groups {
	struct ep_group *items;
	unsigned n, cap;
};
void ep_add(struct arena *a, struct ep_groups *g, struct json ports, struct json item, bool ready);
/* Is a pod behind a Service at all? Not when it is over or has no address. */
bool ep_counts(const struct row *pod);
/* Endpoint of a slice. service_name: for the hostname; zone may be empty; close: hints to its own zone. */
struct json ep_endpoint(struct arena *a, const struct json *pod, const struct json *service, enum ep_family family,
			struct span zone, bool close);
/* Address of an Endpoints object. */
struct json ep_core_address(struct arena *a, const struct json *pod, const struct json *service, enum ep_family family);
/* The subsets of an Endpoints object: addresses by text, ports by name and number. */
struct json ep_subsets(struct arena *a, struct ep_groups *g);

/* A slice of one family and one set of ports. */
struct ep_slice {
	struct json endpoints; /* now; then as it is to be */
	bool changed, doomed;
	uint32_t at;           /* the caller's */
};
/* Shares wanted endpoints among slices: each stays where it is; what is new fills slices that change anyway, then others, then
 * new ones (out_more: arrays of endpoints, in the arena). Nothing is left in a slice: it is doomed. */
void ep_pack(struct arena *a, struct json *wanted, unsigned n, struct ep_slice *slices, unsigned n_slices, unsigned max,
	     struct json **out_more, unsigned *out_n_more);
