/* Units of systemd that are control groups: scopes and slices.
 *
 * A scope is made for a process that exists: systemd makes the control group, moves the process there, and from then on knows that
 * the group is somebody's (Delegate=yes), so that it takes no controllers away from it. A slice holds scopes and slices; what its
 * name says is where it is ("a-b.slice" lies in "a.slice"), and those above come into being with it.
 *
 * Asked over systemd's own socket, which is root's; no message bus and no library is needed. Blocking, 10 s at most. Any thread. */
#pragma once

#include <sys/types.h>

#include "base/base.h"

struct sys_cgroup_limits;

/* path: the group's folder, .../NAME.slice/UNIT.scope (or directly below the mount: -.slice). Returns when the process is in it.
 * UNAVAILABLE without such a socket; UPSTREAM with systemd's words. */
int sys_scope_start(const char *path, const char *mount, pid_t pid, const char *description, struct err *err);

/* Does systemd run here, and can it be asked? */
bool sys_slice_possible(void);
/* Makes the slice `unit` ("a-b.slice"), or changes the one that is there; returns when its group exists. Of the limits shares,
 * quota, period, memory and pids count, each where it is set and above 0: systemd keeps them as the unit's properties, so that they
 * are the same after it reloads. An unset one of a slice that is there stays as it is. Errors as above. */
int sys_slice_set(const char *unit, const char *description, const struct sys_cgroup_limits *l, struct err *err);
/* Ends the slice with all that is in it and waits for that. 0 also when there is none. */
int sys_slice_stop(const char *unit, struct err *err);
