/* Control groups: version 1, version 2, and both on one machine.
 *
 * A container has one folder in each hierarchy that is mounted; a controller is looked for where it is, hierarchy by
 * hierarchy, so that "hybrid" is no case of its own: memory may be limited through v1 files and huge pages
 * through v2 files of the same container.
 *
 * Order of use:  sys_cgroup_locate   where the folders will be (reads /proc only)
 *                sys_cgroup_make     makes them
 *                sys_cgroup_limits_set, sys_cgroup_devices_set
 *                sys_cgroup_enter    in the child: itself
 *                sys_cgroup_remove
 *
 * Nothing is remembered between processes but the paths (a container's state keeps them; sys_cgroup_add rebuilds). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/base.h"

enum sys_cgroup_controller {
	SYS_CG_CPU,
	SYS_CG_CPUACCT,
	SYS_CG_CPUSET,
	SYS_CG_MEMORY,
	SYS_CG_PIDS,
	SYS_CG_BLKIO, /* "io" on v2 */
	SYS_CG_HUGETLB,
	SYS_CG_RDMA,
	SYS_CG_NET_CLS, /* v1 only, as the next */
	SYS_CG_NET_PRIO,
	SYS_CG_DEVICES, /* on v2 a program, not a file */
	SYS_CG_FREEZER, /* on v2 part of every group */
	SYS_CG_PERF_EVENT,
	SYS_CG_MISC,
	SYS_CG_NAMED, /* name=systemd and other hierarchies without controller */
	SYS_CG_COUNT
};

struct sys_cgroup_dir {
	const char
		*name; /* as /proc/self/cgroup has it: "memory", "cpu,cpuacct", "name=systemd"; "" for v2. Borrowed. */
	const char *mount;    /* "/sys/fs/cgroup/memory". Borrowed. */
	const char *path;     /* absolute; starts with mount. Borrowed. */
	uint32_t controllers; /* bit = enum sys_cgroup_controller */
	bool v2;
	bool made;    /* by us, now: removed again when something later fails */
	int fd;	      /* the folder; -1 while closed */
	int tasks_fd; /* v1: where the child writes itself */
};
#define SYS_CGROUP_DIRS 20
struct sys_cgroup {
	unsigned n;
	bool by_name; /* set before sys_cgroup_make: processes enter by the folders' names, and only folders that limits, the
			 device rules and the listing of processes need are held open */
	struct sys_cgroup_dir dirs[SYS_CGROUP_DIRS];
};

/* Zero-initialised plus done is valid. Closes descriptors; paths live in the arena they were made in. */
void sys_cgroup_done(struct sys_cgroup *cg);
#define auto_sys_cgroup auto_cleanup(sys_cgroup_done)

/* Where the container's folders are. path is config.json's cgroupsPath: absolute = from the root of each hierarchy,
 * relative = below the group that this process is in (v2: beside it, because a group with processes can have no controllers
 * below it), empty = the id there. With systemd it
 * is "slice:prefix:name" and means /<slice expanded>/prefix-name.scope, the path that systemd would use (scope.h asks it
 * to make it; sys_cgroup_make writes the folder all the same). Names with ".." are INVALID. */
int sys_cgroup_locate(struct arena *a, const char *path, bool systemd, const char *id, struct sys_cgroup *out,
		      struct err *err);
/* One more known folder (from a container's state). */
int sys_cgroup_add(struct arena *a, struct sys_cgroup *cg, const char *name, const char *mount, const char *path,
		   struct err *err);
/* Makes the folders, enables on v2 what `wanted` (bits) names, fills cpuset on v1. may_lack: a hierarchy where we may not
 * write (rootless) is dropped from *cg instead of being an error. A group that holds processes is IN_USE unless
 * share. On failure cg holds just what was made, for sys_cgroup_remove. What sys_cgroup_make_v2 made is left as it is. */
int sys_cgroup_make(struct sys_cgroup *cg, uint32_t wanted, bool may_lack, bool share, struct err *err);
/* Only the v2 folder, for clone3; sys_cgroup_make makes the others later. */
int sys_cgroup_make_v2(struct sys_cgroup *cg, uint32_t wanted, bool share, struct err *err);
/* Opens the folders of a running container. A missing one is skipped (n shrinks). */
int sys_cgroup_open(struct sys_cgroup *cg, struct err *err);
/* For clone3: the v2 folder, or -1. */
int sys_cgroup_v2_fd(const struct sys_cgroup *cg);
/* Moves the calling process, which has one thread, into every v1 folder, and the v2 one when v2_too. Writing "0" to
 * `tasks` spares the kernel's global lock that `cgroup.procs` takes. Folders that are not open are found by their names. */
int sys_cgroup_enter(const struct sys_cgroup *cg, bool v2_too, struct err *err);
/* Removes the folders and all below them. Processes in them: IN_USE after waiting up to wait_ms. */
int sys_cgroup_remove(struct sys_cgroup *cg, int wait_ms, struct err *err);
/* The folder that has the controller, or NULL. FREEZER and DEVICES: also the v2 folder. */
const struct sys_cgroup_dir *sys_cgroup_find(const struct sys_cgroup *cg, enum sys_cgroup_controller c);
/* True when this machine has v2 only. */
bool sys_cgroup_pure_v2(void);
int sys_cgroup_by_name(struct span name); /* controller number, -1 for an unknown one */

/* ---- processes */
/* Every process in the group and below it; *out in the arena. */
int sys_cgroup_pids(struct arena *a, const struct sys_cgroup *cg, pid_t **out, size_t *out_n, struct err *err);
int sys_cgroup_signal(const struct sys_cgroup *cg, int sig, struct err *err);
/* Returns when the kernel says that all are frozen (or thawed); TIMEOUT after two seconds, thawed again. */
int sys_cgroup_freeze(const struct sys_cgroup *cg, bool freeze, struct err *err);
int sys_cgroup_frozen(const struct sys_cgroup *cg, bool *out_frozen, struct err *err);

/* ---- limits */
struct sys_cgroup_num {
	bool set;
	int64_t v;
};
struct sys_cgroup_dev_rate { /* blkio */
	int64_t major, minor;
	uint64_t rate;
};
struct sys_cgroup_dev_weight {
	int64_t major, minor;
	struct sys_cgroup_num weight, leaf_weight;
};
struct sys_cgroup_key {
	const char *key;
	struct sys_cgroup_num a, b; /* huge pages: a = bytes; net_prio: a = priority; rdma: a = handles, b = objects */
	const char *text;	    /* unified: the value */
};
struct sys_cgroup_device {
	bool allow;
	char type;	      /* 'a', 'b', 'c' */
	int64_t major, minor; /* -1 = all */
	bool read, write, mknod;
};
enum { SYS_CG_READ_BPS, SYS_CG_WRITE_BPS, SYS_CG_READ_IOPS, SYS_CG_WRITE_IOPS, SYS_CG_RATES };
struct sys_cgroup_limits {
	struct sys_cgroup_num memory, reservation, swap, kernel, kernel_tcp, swappiness, oom_off, use_hierarchy;
	bool check_before_update;
	struct sys_cgroup_num shares, quota, burst, period, rt_runtime, rt_period, idle;
	const char *cpus, *mems;
	struct sys_cgroup_num pids;
	struct sys_cgroup_num blkio_weight, blkio_leaf_weight;
	struct sys_cgroup_dev_weight *dev_weights;
	size_t n_dev_weights;
	struct sys_cgroup_dev_rate *rates[SYS_CG_RATES];
	size_t n_rates[SYS_CG_RATES];
	struct sys_cgroup_key *hugetlb, *net_prio, *rdma, *unified;
	size_t n_hugetlb, n_net_prio, n_rdma, n_unified;
	struct sys_cgroup_num net_class;
};
/* The controllers that any of the limits needs. */
uint32_t sys_cgroup_limits_need(const struct sys_cgroup_limits *l);

struct sys_cgroup_write {
	enum sys_cgroup_controller controller;
	const char *file, *value;
	const char *other_file; /* tried when file is not there ("blkio.bfq.weight") */
	const char *field;	/* config.json's name, for messages: "memory.limit" */
	bool may_lack;		/* no such file: nothing to do, the value is the kernel's own */
};
/* What to write where, in order. Pure: which controllers are on v2 is given as bits. */
int sys_cgroup_limits_plan(struct arena *a, const struct sys_cgroup_limits *l, uint32_t on_v2,
			   struct sys_cgroup_write **out, size_t *out_n, struct err *err);
int sys_cgroup_limits_set(const struct sys_cgroup *cg, const struct sys_cgroup_limits *l, struct err *err);

/* Exactly these rules, from "nothing allowed" on, later ones over earlier ones. v1: devices.deny and devices.allow; v2: a program
 * that replaces the one before. */
int sys_cgroup_devices_set(const struct sys_cgroup *cg, const struct sys_cgroup_device *rules, size_t n,
			   struct err *err);
/* The v2 program's instructions (struct bpf_insn, 8 bytes each) into out. A test runs them. */
int sys_cgroup_devices_compile(const struct sys_cgroup_device *rules, size_t n, struct buf *out, struct err *err);

/* ---- statistics, both versions; what the machine does not tell stays 0 */
struct sys_cgroup_stats {
	uint64_t cpu_total_ns, cpu_user_ns, cpu_kernel_ns, cpu_periods, cpu_throttled, cpu_throttled_ns;
	uint64_t memory_usage, memory_max_usage, memory_limit, memory_failcnt, memory_cache;
	uint64_t swap_usage, swap_max_usage, swap_limit, swap_failcnt;
	uint64_t kernel_usage, kernel_tcp_usage;
	uint64_t pids, pids_limit;
	uint64_t oom_kills;
	struct {
		char key[40];
		uint64_t value;
	} memory_stat[64];
	unsigned n_memory_stat;
	struct {
		uint64_t major, minor, read_bytes, write_bytes, read_ops, write_ops;
	} io[32];
	unsigned n_io;
	struct {
		char size[16];
		uint64_t usage, max_usage, failcnt;
	} hugetlb[8];
	unsigned n_hugetlb;
};
int sys_cgroup_stats_read(const struct sys_cgroup *cg, struct sys_cgroup_stats *out, struct err *err);
/* v1: an eventfd that the kernel raises when the group is out of memory. counter is its memory.oom_control, open, and must stay
 * so. -1 and errno. (v2 needs none: memory.events itself can be polled for POLLPRI, and watched by inotify.) */
int sys_cgroup_oom_event(const struct sys_cgroup_dir *d, int counter);
