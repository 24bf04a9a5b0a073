/* The table in the kernel, and who changes it. Private to src/proxy. */
#pragma once

#include "proxy/table.h"

struct proxy_kernel {
	int sock;
	struct sys_nft nft;
	struct map hairpins; /* address -> struct hairpin: how many services want the pair */
	struct proxy_elements ranges; /* PODS, MINE, RANGE as they shall be; sorted */
	bool written; /* the table was there or was made by us */
};
/* id: of the data directory; the table is knarr_proxy_ID. */
int proxy_kernel_open(struct proxy_kernel *k, const char *id, struct err *err);
void proxy_kernel_done(struct proxy_kernel *k); /* leaves the table */

/* from -> to for several services in one transaction; from and to may be NULL. An error leaves the kernel as it was: call
 * proxy_kernel_put_right then. */
struct proxy_step {
	const struct proxy_elements *from, *to;
};
int proxy_kernel_change(struct proxy_kernel *k, const struct proxy_step *steps, size_t n, struct err *err);
/* Makes the kernel have all of these and nothing else, whatever it has: the table is written if it is missing or of another
 * version, else compared, and differences alone are changed. all: each service's elements. out_changed may be NULL. */
int proxy_kernel_put_right(struct proxy_kernel *k, const struct proxy_elements *const *all, size_t n, size_t *out_changed,
			   struct err *err);
/* Ranges are few: emptied and filled in one transaction. */
int proxy_kernel_ranges(struct proxy_kernel *k, struct err *err);
/* What forwards nothing by policy although we accept: a line for each such chain of others, appended. */
int proxy_kernel_obstacles(struct proxy_kernel *k, struct buf *out, struct err *err);

/* ---- conntrack.c: connections without a connection */
struct proxy_stale {
	struct sys_addr addr; /* of an endpoint that is gone, or (front) of a service that was closed; family 0: any */
	uint16_t port;        /* host order */
	bool front;
};
/* Forgets UDP flows to endpoints that are gone, and those that began while there was none and lead nowhere. */
int proxy_conntrack_flush(const struct proxy_stale *stale, size_t n, unsigned *out_flows, struct err *err);
