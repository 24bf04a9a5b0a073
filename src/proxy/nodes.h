/* Nodes: routes to the others' pods, and what this one needs: forwarding, the CNI configuration. Private to src/proxy. */
#pragma once

#include "client/client.h"
#include "proxy/kernel.h"

#define PROXY_ROUTE_PROTOCOL 75 /* of our routes; not in /etc/iproute2/rt_protos */

struct proxy_nodes;
struct proxy_nodes_params {
	struct span name;                /* of this node; borrowed for ever, like the rest */
	const char *data_dir, *id;
	const char *cni_conf_dir;        /* NULL: no configuration is written */
	const struct sys_prefix *pods;   /* of the whole cluster */
	unsigned n_pods;
	struct proxy_kernel *kernel;     /* its MINE follows this node's ranges */
};
int proxy_nodes_new(const struct proxy_nodes_params *p, struct proxy_nodes **out, struct err *err);
void proxy_nodes_free(struct proxy_nodes *n); /* leaves routes and files */
/* A node as it is now; NULL: gone. Cheap when nothing that matters here changed (true: something did). */
bool proxy_nodes_put(struct proxy_nodes *n, struct span name, const struct json *node);
/* Routes, the CNI configuration and ranges as they shall be. */
int proxy_nodes_apply(struct proxy_nodes *n, struct err *err);
bool proxy_nodes_others(const struct proxy_nodes *n); /* there are nodes that routes lead to */
uint32_t proxy_nodes_port(const struct proxy_nodes *n); /* of the socket that routes are changed by */
struct span proxy_nodes_zone(const struct proxy_nodes *n); /* this node's; lives until the next put */
bool proxy_nodes_eligible(const struct proxy_nodes *n);    /* not on its way out: load balancers may send to it */
/* Forwarding on; what was there before stands in DATA/proxy/sysctl, one "net/ipv4/name=value" a line, for who puts it back. */
int proxy_forwarding_on(const char *data_dir, bool ipv6, struct err *err);
