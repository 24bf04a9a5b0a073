/* Shared by rootfs*.c alone. */
#pragma once

#include "runtime/plan.h"

/* Opens the host's /proc/self/fd before the change of root, for the old mount interface. */
int runtime_rootfs_proc_fds(struct child *c, struct err *err);
/* Binds source onto target (both descriptors; dest is target's name) with mount(2). */
int runtime_rootfs_old_bind(struct child *c, int source, int target, const char *dest, unsigned long set,
			    unsigned long clear, unsigned long propagation, struct err *err);
/* MS_* flags of the mount that fd is on, which a remount in a user namespace must keep. */
unsigned long runtime_rootfs_locked_flags(int fd);
/* data with linux.mountLabel as context="..." where the kernel has SELinux; NULL stays NULL without. */
const char *runtime_rootfs_label_data(struct child *c, const char *data);
