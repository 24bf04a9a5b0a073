/* What the proxy tells about itself. Private to src/proxy. */
#pragma once

#include "http/http.h"
#include "metrics/metrics.h"
#include "proxy/nodes.h"
#include "proxy/state.h"

struct proxy_health;
struct proxy_health_params {
	struct loop *loop;
	const struct proxy_state *state;
	const struct proxy_nodes *nodes;
	struct metrics *metrics;
	const char *health_address, *metrics_address; /* "" = none */
	unsigned health_port, metrics_port;
};
/* GET /healthz: 200 while services are in the kernel and this node is not on its way out, else 503; /livez the same without the
 * node; both with kube-proxy's JSON. GET /metrics, /healthz on the other port. *out is set also on failure: it is to be stopped. */
int proxy_health_new(const struct proxy_health_params *p, struct proxy_health **out, struct err *err);
/* Listens on each healthCheckNodePort that a service has now, and on no other. */
void proxy_health_ports(struct proxy_health *h);
void proxy_health_stop(struct proxy_health *h); /* ends with the loop's next turns; then free */
void proxy_health_free(struct proxy_health *h);
