/* The CNI plugin of the pod network: `knarr-run cni`, or the program under the name knarr-cni.
 *
 * Spec 0.3.0 to 1.1.0: ADD, DEL, CHECK, VERSION, and from 1.1.0 on GC and STATUS. Configuration on stdin, parameters in CNI_*, the
 * answer on stdout; errors are the spec's JSON with exit status 1. The configuration's own members:
 *
 *     type          "knarr-cni"
 *     id            1 to 8 hex digits that stand in every name we give (default "0")
 *     subnets       ["10.244.0.0/24", "fd00:244::/64"], at most one of each family; or subnet: one of them
 *     mtu           0 or absent: the host's default
 *     stateDir      where addresses are kept (default /var/lib/knarr/cni/state); made if missing
 *     capabilities  portMappings
 *
 * What a pod gets: a veth pair, an address of each family as /32 and /128, the gateway 169.254.1.1 and fe80::1 on the host's end
 * as a permanent neighbour, a host route back. No bridge: every packet passes the host's IP hooks. The host forwards what comes
 * from the pod; forwarding elsewhere, masquerading and services are `knarr proxy`'s.
 * The first two addresses of a subnet are not given: the network's, and the node's own (and the last of an IPv4 subnet).
 *
 * Codes besides the spec's: 100 the interface is there already, 101 no address is free, 102 CHECK found a difference, 50 and 51 as
 * STATUS has them.
 *
 * What it promises: SIGKILL at any instruction leaves what a DEL with the same parameters, or a GC, takes away entirely; calls for
 * different pods may run at the same time, of this version and others. Nothing is remembered but what lies in stateDir.
 *
 * Threads: one, of a process that ends with the call. cni_restore: any; it borrows its arguments for the call. */
#pragma once

#include "base/base.h"

/* The table of ports and guards once more, with the ports of all pods in the state folder, when somebody removed it (`nft flush
 * ruleset`) or another version wrote it. Cheap when it is there. Blocks for milliseconds. For who watches the kernel's tables: the
 * proxy. */
int cni_restore(const char *state, const char *id, struct err *err);

int cni_main(int argc, char **argv);
