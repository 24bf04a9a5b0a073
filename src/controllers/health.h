/* The port at which a component tells how it is. Private to src/controllers. */
#pragma once

#include "client/client.h"
#include "http/http.h"
#include "metrics/metrics.h"
#include <fcntl.h>

struct health;
struct health_params {
	struct loop *loop;
	struct client *client;       /* asks who may read metrics */
	struct metrics *metrics;
	struct span address;         /* ends in a 0 byte */
	unsigned port;
	struct span cert_file, key_file; /* empty: made for this run; else they outlive it, and are read again when they change */
};
int health_new(const struct health_params *p, struct health **out, struct err *err);
void health_stop(struct health *h); /* ends with the loop's next turns; then health_free */
void health_free(struct health *h);
