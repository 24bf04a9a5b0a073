/* seccomp filters as bytes: struct sock_filter entries, as seccomp(2) takes them. Compiling is the runtime's. */
#pragma once

#include <stddef.h>

#include "base/base.h"

#define SYS_FILTER_MAX (4096 * 8) /* BPF_MAXINSNS entries of 8 bytes */

/* Installs the filter for this process. flags: SECCOMP_FILTER_FLAG_*. With NEW_LISTENER *out_listener (may be NULL
 * otherwise) is the notification descriptor. */
int sys_filter_install(struct span program, unsigned flags, int *out_listener, struct err *err);
