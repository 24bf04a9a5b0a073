/* What others change of what is ours, in the kernel of this node. Private to src/proxy. */
#pragma once

#include "base/base.h"
#include "loop/loop.h"

struct proxy_watch;
struct proxy_watch_params {
	struct loop *loop;
	const char *id;
	uint32_t own_filter, own_route; /* ports of the sockets that the proxy itself changes things by (sys_nl_port) */
	/* From a timer, some 20 ms after the first of several changes. */
	void (*services)(void *arg); /* the proxy's table */
	void (*ports)(void *arg);    /* the CNI plugin's table, or something of it, was removed */
	void (*routes)(void *arg);   /* a route of ours was removed, or may have gone with an interface or an address */
	void *arg;
};
int proxy_watch_open(const struct proxy_watch_params *p, struct proxy_watch **out, struct err *err);
void proxy_watch_close(struct proxy_watch *w); /* accepts NULL */
