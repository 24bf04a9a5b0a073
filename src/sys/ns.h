/* Namespaces by their OCI names, and id maps of user namespaces. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/base.h"

enum sys_ns {
	SYS_NS_USER, /* first: joining it gives the right to join the others */
	SYS_NS_MOUNT,
	SYS_NS_PID,
	SYS_NS_NETWORK,
	SYS_NS_IPC,
	SYS_NS_UTS,
	SYS_NS_CGROUP,
	SYS_NS_TIME,
	SYS_NS_COUNT
};

extern const struct sys_ns_row {
	const char *name; /* as config.json writes it */
	const char *proc; /* the file in /proc/PID/ns */
	uint64_t flag;	  /* CLONE_NEW* */
} sys_ns_rows[SYS_NS_COUNT];

/* -1 when there is no such namespace. */
int sys_ns_by_name(struct span name);

struct sys_id_map {
	uint32_t inside, outside, count;
};
#define SYS_ID_MAPS_MAX 340 /* the kernel's own bound */

/* Writes both maps of a process that was born in a new user namespace. Without the right to write them all
 * (not root in the namespace above) a map of one's own id alone is written directly and a longer one by newuidmap and
 * newgidmap, which consult /etc/subuid. setgroups is denied when the group map is written without right, as the kernel
 * wants (user_namespaces(7)). */
int sys_ns_maps_write(pid_t pid, const struct sys_id_map *uids, size_t n_uids, const struct sys_id_map *gids,
		      size_t n_gids, struct err *err);
/* A user namespace that only carries maps (for id-mapped mounts), as a descriptor. */
int sys_ns_maps_make(const struct sys_id_map *uids, size_t n_uids, const struct sys_id_map *gids, size_t n_gids,
		     int *out_fd, struct err *err);
/* inside → outside; false when the id is not mapped. */
bool sys_ns_map_id(const struct sys_id_map *maps, size_t n, uint32_t inside, uint32_t *out_outside);
