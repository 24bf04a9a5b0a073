/* Services and their endpoints as they are known, and the changes they make. Private to src/proxy. */
#pragma once

#include "client/client.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "proxy/kernel.h"
#include "proxy/plan.h"

struct proxy_state;
struct proxy_state_params {
	struct loop *loop;
	struct proxy_kernel *kernel;        /* borrowed */
	const struct sys_prefix *ranges;    /* of cluster addresses; borrowed */
	unsigned n_ranges;
	void (*applied)(void *arg, int64_t took_ns, size_t services); /* after each transaction; may be NULL */
	void *arg;
};
struct proxy_state *proxy_state_new(const struct proxy_state_params *p);
void proxy_state_free(struct proxy_state *s); /* the kernel stays as it is */

/* Columns are taken over; NULL: not there (any more). The key is copied. */
void proxy_state_service(struct proxy_state *s, struct span key, struct proxy_service *columns);
/* One slice of a service, under a name of its own ("ns/slice"). */
void proxy_state_slice(struct proxy_state *s, struct span service_key, struct span slice_key, struct proxy_slice *columns);
/* From now on changes go to the kernel: the first time by comparing everything. 0 or -class: tried again by itself. */
int proxy_state_begin(struct proxy_state *s, struct err *err);
/* What waits goes to the kernel now rather than at the end of the turn. */
int proxy_state_apply(struct proxy_state *s, struct err *err);
/* Everything is compared with the kernel again at the end of this turn. */
void proxy_state_doubt(struct proxy_state *s);
bool proxy_state_right(const struct proxy_state *s); /* the kernel has what is known */
size_t proxy_state_elements(const struct proxy_state *s);
int64_t proxy_state_last_ms(const struct proxy_state *s); /* when the kernel last acknowledged, loop time; 0 = never */
/* Ready endpoints of this node of the service with that health check port; -1: there is none. */
int proxy_state_local(const struct proxy_state *s, uint16_t health_port, struct span *out_key);
void proxy_state_ports(const struct proxy_state *s, void (*fn)(void *arg, uint16_t health_port), void *arg);
