/* Capabilities by name, and how a process gets exactly the sets that a configuration names. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

/* One bit a capability, bit 0 = CAP_CHOWN. */
struct sys_caps {
	uint64_t bounding, effective, permitted, inheritable, ambient;
};

/* "CAP_KILL", also "KILL" and lower case. -1 for a name that Linux does not know. */
int sys_caps_by_name(struct span name);
const char *sys_caps_name(int cap); /* "CAP_KILL"; NULL beyond the last known */
/* The highest capability that the running kernel knows. */
int sys_caps_last(void);
/* All five sets of the calling process. */
int sys_caps_read(struct sys_caps *out, struct err *err);

/* Setting runs in three steps around the change of the user id: bounding first (needs CAP_SETPCAP), then
 * setresuid with keep-caps, then the other four. Capabilities beyond the kernel's last are left out silently here;
 * the caller has warned. */
int sys_caps_bound(uint64_t keep, struct err *err);
int sys_caps_keep(bool on, struct err *err);
int sys_caps_apply(const struct sys_caps *caps, struct err *err);
