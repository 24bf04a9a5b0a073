/* System calls that glibc 2.36 or musl 1.2 (which knarr-run is linked with) has no wrapper for. All answer as libc does: -1 and
 * errno, or what was asked for. */
#pragma once

#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sys_clone_args { /* struct clone_args of the kernel, version 2 (88 bytes) */
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
	uint64_t set_tid, set_tid_size, cgroup;
};
#define SYS_CLONE_INTO_CGROUP UINT64_C(0x200000000)
#define SYS_CLONE_NEWTIME 0x80

struct sys_sched_attr { /* struct sched_attr, version 1 */
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
	uint32_t util_min, util_max;
};

/* As fork: returns twice, 0 in the child. The child has a copy of the memory, not a share of it. */
pid_t sys_clone3(struct sys_clone_args *args);
int sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int sys_pidfd_open(pid_t pid, unsigned flags);
int sys_pidfd_send_signal(int pidfd, int sig);
int sys_pidfd_getfd(int pidfd, int their_fd);
int sys_open_tree(int dirfd, const char *path, unsigned flags);
int sys_move_mount(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags);
struct mount_attr; /* sys/mounts.h brings it */
int sys_mount_setattr(int dirfd, const char *path, unsigned flags, const struct mount_attr *attr);
int sys_exchange(int dirfd, const char *a, const char *b); /* renameat2 with RENAME_EXCHANGE: both names are always there */
int sys_pivot_root(const char *new_root, const char *put_old);
int sys_sched_setattr(pid_t pid, const struct sys_sched_attr *attr);
int sys_ioprio_set(int which, int who, int ioprio);
int sys_seccomp(unsigned operation, unsigned flags, void *args);
int sys_bpf(int cmd, void *attr, unsigned size);
int sys_keyctl_join_session(const char *name);
