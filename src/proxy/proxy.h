/* The node's network: services, masquerading, routes to other nodes, the CNI configuration. The seam of src/proxy.
 *
 * `knarr proxy` runs it in the foreground, with kube-proxy's flag names where it has them. It meets the rest only through the
 * Kubernetes API (Services, EndpointSlices, Nodes), the kernel and the CNI configuration folder.
 *
 * What it promises: the table knarr_proxy_ID is whole at every moment, whatever dies; a change of a service or endpoint is one
 * transaction of elements, acknowledged by the kernel before the next event is looked at; after a restart the kernel is compared
 * with what is wanted and differences alone are changed, so connections never notice. Nothing happens while nothing changes.
 *
 * Threads: everything on the caller's, in one loop. */
#pragma once

#include "base/base.h"

struct sys_prefix;

/* The applet: ends at SIGTERM or SIGINT and leaves the kernel as it is: services go on. Returns the exit status. */
int proxy_main(int argc, char **argv);
/* Takes back what proxies and CNI plugins of this data directory made in the calling thread's network namespace: their tables, the
 * interfaces of pods, routes to other nodes in these ranges (none given: all that carry our protocol number), and forwarding, which
 * becomes what DATA/proxy/sysctl says it was, unless somebody else's interface needs it (told on stdout). Nobody of them may run.
 * All of it is tried; the first failure is told. */
int proxy_cleanup(const char *data_dir, const char *id, const struct sys_prefix *pods, unsigned n_pods, struct err *err);
