/* Files of volumes: written so that a reader sees all old or all new, owned as fsGroup wants, mounted, removed. Private to
 * src/kubelet. All of it blocks for as long as the disk does; no state, any thread. Errors name the path. */
#pragma once

#include <sys/stat.h>

#include "base/base.h"

/* ---- the atomic writer: layout and names as upstream's, which programs in containers rely on
 *
 *     name      ──▶ ..data/name                         made once
 *     ..data    ──▶ ..2026_11_21_09_30_00.123456789     changed by one rename
 *     ..2026_11_21_09_30_00.123456789/name              never changed
 */
struct kl_file {
	struct span path; /* relative, perhaps with folders; checked */
	struct span data;
	mode_t mode;
	int64_t uid;      /* owner; -1 = as it is (root) */
};
/* Makes dir hold exactly these files. gid -1 = none, else they belong to that group, which may read them. 1 when something was
 * changed, 0 when everything was so already, or -class. */
int kl_files_write(const char *dir, const struct kl_file *files, unsigned n, int64_t gid, struct err *err);

/* ---- ownership (volume.SetVolumeOwnership): the group of everything in the tree, which may then read, and write unless readonly;
 * folders hand the group on. on_mismatch: nothing is done when the root is so already. Links are not followed, other mounts not
 * entered, at most 200 levels. */
int kl_tree_own(const char *path, int64_t gid, bool readonly, bool on_mismatch, struct err *err);

/* ---- mounts */

bool kl_is_mounted(const char *path); /* is path itself a mount point? */
/* Unmounts everything at and beneath path, the deepest first; what is busy is detached. */
int kl_tree_unmount(const char *path, struct err *err);
/* Removes the tree; refuses (IN_USE) while something is mounted in it. What is not there is success. */
int kl_tree_remove(const char *path, struct err *err);
/* Makes ROOT, and in it `pods`, which nobody but root enters, however wide ROOT is: files of Secrets beneath have wide modes. *out:
 * ROOT as the kernel spells it, in the arena. */
int kl_root_make(const char *path, struct arena *a, struct span *out, struct err *err);
/* size 0 = the kernel's default, half of the memory. gid -1 = root's. */
int kl_mount_tmpfs(const char *path, int64_t size, mode_t mode, int64_t gid, struct err *err);
int kl_mount_bind(const char *from, const char *to, struct err *err);

/* ---- hostPath and subPath */

/* Directory, DirectoryOrCreate, File ... of HostPathVolumeSource; "" checks nothing. */
int kl_host_path_check(const char *path, struct span type, struct err *err);
/* Binds what sub_path names inside the volume to target (made as a folder or a file), however the volume's contents try to lead it
 * elsewhere: resolved beneath the volume by the kernel. What is not there is made as a folder with the volume's mode, unless
 * readonly. A target that shows the same already stays. */
int kl_sub_path_bind(const char *volume, const char *sub_path, const char *target, bool readonly, struct err *err);
