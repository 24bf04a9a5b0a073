/* Names inside a root that somebody else controls.
 *
 * A container's root file system may hold any symbolic link, and another container that shares a volume may swap
 * names while we look. So nothing here joins strings: every name is resolved by the kernel with openat2 and
 * RESOLVE_IN_ROOT, as if rootfd were "/", and the answer is a descriptor that cannot be swapped any more.
 * Where the kernel refuses openat2 (before 5.6, or a filter denies it) the same is done by walking one
 * component at a time with O_NOFOLLOW, keeping a descriptor of every folder passed, so that ".." is never asked
 * of the file system. Magic links (/proc/PID/fd/N, /proc/PID/exe) are never followed: ELOOP.
 *
 * Answers: a descriptor (close-on-exec), or -1 and errno. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* flags and mode as of open(2). A last component that is a link is followed unless O_NOFOLLOW. */
int sys_path_open(int rootfd, const char *path, int flags, mode_t mode);
/* Makes the missing folders of path and returns an O_PATH descriptor of the last. ".." in the missing part: EINVAL. */
int sys_path_mkdirs(int rootfd, const char *path, mode_t mode);
/* A place to mount on: opens path, or makes it (and its parents) as a folder or an empty file. O_PATH. With
 * no_link a last component that is a symbolic link is ELOOP. */
int sys_path_target(int rootfd, const char *path, bool folder, bool no_link);
/* The parent folder of path (made with mode 0755 if missing) as O_PATH; *out_name then points at the last component inside
 * path. A path without last component ("/", "a/..") is EINVAL. */
int sys_path_parent(int rootfd, const char *path, const char **out_name);
/* The walk without openat2; a test compares both. */
int sys_path_walk(int rootfd, const char *path, int flags, mode_t mode);
