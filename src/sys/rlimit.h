/* Names of resource limits and signals. */
#pragma once

#include <signal.h>

#include "base/base.h"

/* RLIMIT_* number of "RLIMIT_NOFILE"; -1 for another name. */
int sys_rlimit_by_name(struct span name);
const char *sys_rlimit_name(int resource); /* NULL beyond the last */
/* "TERM", "SIGTERM", "sigterm", "15", "RTMIN+3", "SIGRTMAX-1"; -1 for another word. 0 is accepted as a number. */
int sys_signal_by_name(struct span name);
/* All 64, as the kernel and containers count them. C libraries keep two or three for themselves (32, 33; musl 34, too, which
 * `docker kill -s RTMIN` sends): their sigfillset leaves those out, and their signal() does not touch them. */
void sys_signals_all(sigset_t *out);
void sys_signals_default(void); /* ... each gets its default again, for a process that is about to execute another program */
