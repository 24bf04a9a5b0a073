/* A scope of systemd for a process that exists: systemd makes the control group, moves the process there, and from then on knows
 * that the group is somebody's (Delegate=yes), so that it takes no controllers away from it.
 *
 * Asked over systemd's own socket, which is root's; no message bus and no library is needed. Blocking, 10 s at most. */
#pragma once

#include <sys/types.h>

#include "base/base.h"

/* path: the group's folder, .../NAME.slice/UNIT.scope (or directly below the mount: -.slice). Returns when the process is in it.
 * UNAVAILABLE without such a socket; UPSTREAM with systemd's words. */
int sys_scope_start(const char *path, const char *mount, pid_t pid, const char *description, struct err *err);
