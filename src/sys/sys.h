/* The seam of sys: what Linux offers to make containers, one small header a subject.
 *
 * call.h     system calls that glibc or musl has no wrapper for
 * message.h  messages with descriptors over unix sockets
 * path.h     names inside a root that somebody else controls
 * mounts.h   mount options and the two mount interfaces of the kernel
 * ns.h       namespaces, id maps
 * caps.h     capabilities
 * rlimit.h   names of limits, signals
 * cgroup.h   control groups, v1, v2 and both at once
 * filter.h   seccomp filters as bytes
 * dbus.h     messages of D-Bus
 * scope.h    scopes and slices of systemd
 * process.h  processes by descriptor, facts of /proc about them
 *
 * Included by who needs them (the first four bring the sockets' headers with them):
 * addr.h     IP addresses and prefixes as values
 * netlink.h  messages to the kernel in batches
 * link.h     interfaces, addresses, routes, neighbours
 * nft.h      nftables: transactions, expressions, elements
 * program.h  programs started by a process that has threads (nothing of the static program)
 *
 * All of it works in the static program: libc alone, no thread, nothing remembered between calls unless said. */
#pragma once

#include "base/base.h"
#include "sys/call.h"
#include "sys/message.h"
#include "sys/path.h"
#include "sys/mounts.h"
#include "sys/ns.h"
#include "sys/caps.h"
#include "sys/rlimit.h"
#include "sys/cgroup.h"
#include "sys/filter.h"
#include "sys/process.h"
#include "sys/dbus.h"
#include "sys/scope.h"
