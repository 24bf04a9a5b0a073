/* See filter.h. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "base/base.h"
#include "sys/call.h"
#include "sys/filter.h"

int sys_filter_install(struct span program, unsigned flags, int *out_listener, struct err *err)
{
	if (program.len == 0 || program.len % sizeof(struct sock_filter) || program.len > SYS_FILTER_MAX)
		return err_set(err, ERR_CORRUPT, "seccomp filter of %zu bytes", program.len);
	struct sock_fprog prog = {
		.len = (unsigned short)(program.len / sizeof(struct sock_filter)),
		.filter = (struct sock_filter *)program.ptr,
	};
	int r = sys_seccomp(SECCOMP_SET_MODE_FILTER, flags, &prog);
	if (r < 0)
		return err_sys(err, "load seccomp filter of %u instructions, flags %#x", prog.len, flags);
	if (r > 0 && out_listener)
		*out_listener = r;
	return 0;
}
