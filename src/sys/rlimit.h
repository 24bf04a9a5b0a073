/* Names of resource limits and signals. */
#pragma once

#include "base/base.h"

/* RLIMIT_* number of "RLIMIT_NOFILE"; -1 for another name. */
int sys_rlimit_by_name(struct span name);
const char *sys_rlimit_name(int resource); /* NULL beyond the last */
/* "TERM", "SIGTERM", "sigterm", "15", "RTMIN+3", "SIGRTMAX-1"; -1 for another word. 0 is accepted as a number. */
int sys_signal_by_name(struct span name);
