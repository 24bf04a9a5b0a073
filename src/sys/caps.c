/* See caps.h. */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "sys/caps.h"

static const char *const names[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",
	"CAP_NET_ADMIN",
	"CAP_NET_RAW",
	"CAP_IPC_LOCK",
	"CAP_IPC_OWNER",
	"CAP_SYS_MODULE",
	"CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE",
	"CAP_SYS_PACCT",
	"CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",
	"CAP_SYS_NICE",
	"CAP_SYS_RESOURCE",
	"CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",
	"CAP_MKNOD",
	"CAP_LEASE",
	"CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL",
	"CAP_SETFCAP",
	"CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN",
	"CAP_SYSLOG",
	"CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ",
	"CAP_PERFMON",
	"CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
};

int sys_caps_by_name(struct span name)
{
	if (name.len > 4 && span_eq_nocase(span_sub(name, 0, 4), SPAN("CAP_")))
		name = span_from(name, 4);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (span_eq_nocase(name, span_of(names[i] + 4)))
			return (int)i;
	return -1;
}

const char *sys_caps_name(int cap)
{
	return cap >= 0 && (size_t)cap < ARRAY_LEN(names) ? names[cap] : NULL;
}

int sys_caps_last(void)
{
	int cap = 63; /* PR_CAPBSET_READ answers EINVAL beyond the last */
	while (cap > 0 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) < 0)
		cap--;
	return cap;
}

static int cap_get(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	return (int)syscall(SYS_capget, &head, data);
}

int sys_caps_read(struct sys_caps *out, struct err *err)
{
	struct __user_cap_data_struct data[2];
	if (cap_get(data) < 0)
		return err_sys(err, "capget");
	struct sys_caps c = {
		.effective = data[0].effective | (uint64_t)data[1].effective << 32,
		.permitted = data[0].permitted | (uint64_t)data[1].permitted << 32,
		.inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32,
	};
	for (int i = 0; i < 64; i++) {
		int r = prctl(PR_CAPBSET_READ, i, 0, 0, 0);
		if (r < 0)
			break;
		c.bounding |= (uint64_t)r << i;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0) == 1)
			c.ambient |= UINT64_C(1) << i;
	}
	*out = c;
	return 0;
}

int sys_caps_bound(uint64_t keep, struct err *err)
{
	for (int i = 0; i < 64; i++) {
		if (keep >> i & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) {
			if (errno == EINVAL) /* beyond the kernel's last */
				break;
			return err_sys(err, "drop %s from the bounding set",
				       sys_caps_name(i) ? sys_caps_name(i) : "a capability");
		}
	}
	return 0;
}

int sys_caps_keep(bool on, struct err *err)
{
	if (prctl(PR_SET_KEEPCAPS, on, 0, 0, 0) < 0)
		return err_sys(err, "keep capabilities across setuid");
	return 0;
}

int sys_caps_apply(const struct sys_caps *caps, struct err *err)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	uint64_t e = caps->effective, p = caps->permitted, i = caps->inheritable;
	data[0] = (struct __user_cap_data_struct){ (uint32_t)e, (uint32_t)p, (uint32_t)i };
	data[1] = (struct __user_cap_data_struct){ (uint32_t)(e >> 32), (uint32_t)(p >> 32), (uint32_t)(i >> 32) };
	if (syscall(SYS_capset, &head, data) < 0)
		return err_sys(err, "set capabilities (permitted %016lx, inheritable %016lx)", (unsigned long)p,
			       (unsigned long)i);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return err_sys(err, "clear ambient capabilities");
	for (int cap = 0; caps->ambient >> cap; cap++) {
		/* An ambient capability must be permitted and inheritable; runc warns about others and goes on. */
		if (!(caps->ambient >> cap & 1) || !(p >> cap & 1) || !(i >> cap & 1))
			continue;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0 && errno != EINVAL)
			return err_sys(err, "raise ambient %s", sys_caps_name(cap) ? sys_caps_name(cap) : "capability");
	}
	return 0;
}
