/* Mount options by name, and both mount interfaces of the kernel.
 *
 * (Not "mount.h": that name would hide libc's <sys/mount.h>, which this includes.)
 *
 * The new one (5.2: open_tree, move_mount; 5.12: mount_setattr) makes a mount that nobody sees, sets its attributes
 * and then puts it on a descriptor: no name is resolved twice. Where it is missing the callers use mount(2) on
 * names below /proc/self/fd, which are descriptors too. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/mount.h>
#ifndef __GLIBC__ /* whose sys/mount.h has what is newer itself, and cannot stand beside the kernel's */
#include <linux/mount.h>
#endif

#include "base/base.h"
#include "sys/ns.h"

/* Options of one mount, as names parsed so far. Zero-initialised is "none given". */
struct sys_mount_opts {
	unsigned long set, clear; /* MS_* that were named, and that were named in their negative form ("rw", "exec") */
	unsigned long
		propagation; /* one of MS_SHARED, MS_PRIVATE, MS_SLAVE, MS_UNBINDABLE, perhaps with MS_REC; 0 = none */
	uint64_t rec_set, rec_clear; /* MOUNT_ATTR_* for the mount and all below it ("rro", "rnoexec") */
	bool copy_up;		     /* tmpcopyup: a tmpfs starts with what it covers */
	bool idmap, idmap_rec;	     /* idmap, ridmap: through the id maps of the mount or of the container */
	bool src_nofollow;
	bool dest_nofollow;
};

/* True when the name is an option of the table, which was then taken into *o; false: the option belongs to the
 * file system (data string). */
bool sys_mount_option(struct sys_mount_opts *o, struct span name);
/* Every name of the table in its order, for `features`; NULL behind the last. */
const char *sys_mount_option_name(unsigned i);
/* The MOUNT_ATTR_* for MS_* flags that have one. An access time flag in ms_set sets *out_clear for the whole field. */
uint64_t sys_mount_attr_of(unsigned long ms_set, uint64_t *out_clear);
/* MS_SHARED and so on for "shared", "rshared", "slave", ...; 0 for another word. */
unsigned long sys_mount_propagation(struct span name);

/* A copy of the mount at path that is attached nowhere; -1 and errno. */
int sys_mount_tree_open(int dirfd, const char *path, bool recursive, bool nofollow);
/* mount_setattr on a descriptor; userns_fd -1 = no id map. Nothing to do is no system call. */
int sys_mount_attr_set(int fd, bool recursive, uint64_t set, uint64_t clear, unsigned long propagation, int userns_fd);
/* Attaches tree to what target is (both descriptors). */
int sys_mount_attach(int tree, int target);
