/* What the name server tells about itself. Private to src/dns. */
#pragma once

#include "dns/serve.h"
#include "metrics/metrics.h"

struct dns_about;
struct dns_about_params {
	struct loop *loop;
	const char *health_address; /* "": none */
	uint16_t health_port;
};
/* On the health port: GET /healthz 200 while the loop turns, /readyz 200 once dns_about_ready was called, /metrics. *out is
 * set also on failure: it is to be stopped. */
int dns_about_new(const struct dns_about_params *p, struct dns_about **out, struct err *err);
/* Questions are answered from here on: what is counted, and /metrics at the address of the answers, where Prometheus looks
 * for it; port 0: not there. Both are borrowed until dns_about_stop. */
int dns_about_begin(struct dns_about *a, const struct dns_serve *serve, const struct dns_forward *forward,
		    const struct sys_addr *address, uint16_t port, struct err *err);
void dns_about_ready(struct dns_about *a);
void dns_about_stop(struct dns_about *a); /* ends with the loop's next turns; then free */
void dns_about_free(struct dns_about *a);
