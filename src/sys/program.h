/* A program started by a process that has threads, handlers and descriptors of its own. */
#pragma once

#include <sys/types.h>

#include "base/base.h"

/* Starts path in a process group of its own (what ends us by the terminal does not end it, and it can be ended with what it
 * starts), every signal at its default and none blocked. fds[0..n) become its descriptors first, first + 1, ...; of ours it has
 * besides what is not close-on-exec. All is borrowed for the call. 0 and *out_pid, which is the caller's to reap; -class "starting
 * PATH: ..." when there is no process, also when path cannot be executed. Any thread. */
int sys_program_start(const char *path, const char *const *argv, char *const *env, const int *fds, int first, unsigned n,
		      pid_t *out_pid, struct err *err);
