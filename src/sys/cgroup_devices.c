/* Which devices a container may open or make.
 *
 * v1: the group inherits "everything" and is told "a" (deny all), then each rule in order.
 * v2: an eBPF program of type CGROUP_DEVICE decides at each open and mknod. It is generated here, rule by rule from the last to
 * the first (the last match wins), and loaded through bpf(2). Context (struct bpf_cgroup_dev_ctx): access_type =
 * access << 16 | type, major, minor.
 *
 *     r2 = type, r3 = access, r4 = major, r5 = minor
 *     per rule:   if type differs    goto next          (not for 'a')
 *                 if access & ~rule  goto next          (a rule for fewer accesses than asked does not decide)
 *                 if major differs   goto next          (not for *)
 *                 if minor differs   goto next
 *                 r0 = allow; exit
 *     end:        r0 = 0; exit
 *
 * A deny rule decides when it covers any of the accesses asked, an allow rule only when it covers all: "allow r" must not
 * open for writing, "deny w" must refuse read and write together. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "sys/call.h"
#include "sys/cgroup.h"
#include "sys/process.h"

#define RULES_MAX 512

static void insn(struct buf *b, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	struct bpf_insn i = { .code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm };
	buf_add(b, &i, sizeof(i));
}

static void rule_compile(struct buf *out, const struct sys_cgroup_device *d)
{
	auto_buf struct buf body = {}; /* the tests; every jump goes behind "r0 = allow; exit" */
	int32_t access = (d->read ? BPF_DEVCG_ACC_READ : 0) | (d->write ? BPF_DEVCG_ACC_WRITE : 0) |
			 (d->mknod ? BPF_DEVCG_ACC_MKNOD : 0);
	int32_t all = BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE | BPF_DEVCG_ACC_MKNOD;
	if (d->type != 'a')
		insn(&body, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, 0,
		     d->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	if (access != all && d->allow) { /* asked & ~rule == 0 */
		insn(&body, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
		insn(&body, BPF_ALU | BPF_AND | BPF_K, BPF_REG_1, 0, 0, all & ~access);
		insn(&body, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_1, 0, 0, 0);
	} else if (access != all) { /* asked & rule != 0 */
		insn(&body, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
		insn(&body, BPF_ALU | BPF_AND | BPF_K, BPF_REG_1, 0, 0, access);
		insn(&body, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_1, 0, 0, 0);
	}
	if (d->major >= 0)
		insn(&body, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, 0, (int32_t)d->major);
	if (d->minor >= 0)
		insn(&body, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, 0, (int32_t)d->minor);
	size_t n = body.len / sizeof(struct bpf_insn);
	for (size_t i = 0; i < n; i++) {
		struct bpf_insn one;
		memcpy(&one, body.ptr + i * sizeof(one), sizeof(one));
		if (BPF_CLASS(one.code) == BPF_JMP)
			one.off = (int16_t)(n - i - 1 + 2);
		buf_add(out, &one, sizeof(one));
	}
	insn(out, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, d->allow);
	insn(out, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

int sys_cgroup_devices_compile(const struct sys_cgroup_device *rules, size_t n, struct buf *out, struct err *err)
{
	if (n > RULES_MAX)
		return err_set(err, ERR_TOO_LARGE, "linux.resources.devices: %zu rules, at most %d", n, RULES_MAX);
	insn(out, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, 0, 0);
	insn(out, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
	insn(out, BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
	insn(out, BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
	insn(out, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_4, BPF_REG_1, 4, 0);
	insn(out, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_5, BPF_REG_1, 8, 0);
	for (size_t i = n; i-- > 0;) {
		const struct sys_cgroup_device *d = &rules[i];
		if (!d->read && !d->write && !d->mknod)
			continue;
		rule_compile(out, d);
		/* What stands before a rule for all devices and accesses cannot decide any more, and the verifier refuses
		 * instructions that are never reached. */
		if (d->type == 'a' && d->major < 0 && d->minor < 0 && d->read && d->write && d->mknod)
			return 0;
	}
	insn(out, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
	insn(out, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return 0;
}

static int v2_set(const struct sys_cgroup_dir *dir, const struct sys_cgroup_device *rules, size_t n, struct err *err)
{
	auto_buf struct buf code = {};
	int r = sys_cgroup_devices_compile(rules, n, &code, err);
	if (r < 0)
		return r;
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insn_cnt = (uint32_t)(code.len / sizeof(struct bpf_insn)),
		.insns = (uintptr_t)code.ptr,
		.license = (uintptr_t) "GPL",
	};
	auto_fd int prog = sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	if (prog < 0)
		return err_sys(err, "load the device program (%zu rules)", n);
	/* The programs that are there (an update): ours is attached beside, then they go. */
	uint32_t ids[64] = {};
	attr = (union bpf_attr){ .query = { .target_fd = (uint32_t)dir->fd,
					    .attach_type = BPF_CGROUP_DEVICE,
					    .prog_ids = (uintptr_t)ids,
					    .prog_cnt = ARRAY_LEN(ids) } };
	uint32_t had = sys_bpf(BPF_PROG_QUERY, &attr, sizeof(attr)) == 0 ? attr.query.prog_cnt : 0;
	attr = (union bpf_attr){ .target_fd = (uint32_t)dir->fd,
				 .attach_bpf_fd = (uint32_t)prog,
				 .attach_type = BPF_CGROUP_DEVICE,
				 .attach_flags = BPF_F_ALLOW_MULTI };
	if (sys_bpf(BPF_PROG_ATTACH, &attr, sizeof(attr)) < 0)
		return err_sys(err, "attach the device program to %s", dir->path);
	for (uint32_t i = 0; i < had && i < ARRAY_LEN(ids); i++) {
		attr = (union bpf_attr){ .prog_id = ids[i] };
		auto_fd int old = sys_bpf(BPF_PROG_GET_FD_BY_ID, &attr, sizeof(attr));
		if (old < 0)
			continue;
		attr = (union bpf_attr){ .target_fd = (uint32_t)dir->fd,
					 .attach_bpf_fd = (uint32_t)old,
					 .attach_type = BPF_CGROUP_DEVICE };
		if (sys_bpf(BPF_PROG_DETACH, &attr, sizeof(attr)) < 0)
			return err_sys(err, "detach the old device program of %s", dir->path);
	}
	return 0;
}

static int v1_rule(int fd, const struct sys_cgroup_device *d)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%c ", d->type);
	n += d->major < 0 ? snprintf(text + n, sizeof(text) - (size_t)n, "*:")
			  : snprintf(text + n, sizeof(text) - (size_t)n, "%lld:", (long long)d->major);
	n += d->minor < 0 ? snprintf(text + n, sizeof(text) - (size_t)n, "* ")
			  : snprintf(text + n, sizeof(text) - (size_t)n, "%lld ", (long long)d->minor);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%s%s", d->read ? "r" : "", d->write ? "w" : "",
		      d->mknod ? "m" : "");
	return write(fd, text, (size_t)n) == n ? 0 : -1;
}

static int v1_set(const struct sys_cgroup_dir *dir, const struct sys_cgroup_device *rules, size_t n, struct err *err)
{
	auto_fd int allow = openat(dir->fd, "devices.allow", O_WRONLY | O_CLOEXEC);
	auto_fd int deny = openat(dir->fd, "devices.deny", O_WRONLY | O_CLOEXEC);
	if (allow < 0 || deny < 0)
		return err_sys(err, "open devices.allow and devices.deny of %s", dir->path);
	/* What the last rule for everything says is the state the rest builds on. */
	size_t from = 0;
	bool all = false;
	for (size_t i = 0; i < n; i++) {
		const struct sys_cgroup_device *d = &rules[i];
		if (d->type == 'a' && d->major < 0 && d->minor < 0 && d->read && d->write && d->mknod) {
			from = i + 1;
			all = d->allow;
		}
	}
	if (write(all ? allow : deny, "a", 1) != 1)
		return err_sys(err, "write \"a\" to %s/devices.%s", dir->path, all ? "allow" : "deny");
	for (size_t i = from; i < n; i++) {
		const struct sys_cgroup_device *d = &rules[i];
		struct sys_cgroup_device half = *d;
		int r;
		if (!d->read && !d->write && !d->mknod)
			continue;
		if (d->type != 'a') {
			r = v1_rule(d->allow ? allow : deny, d);
		} else { /* v1 takes "a" for everything only; the rest is said twice */
			half.type = 'b';
			r = v1_rule(d->allow ? allow : deny, &half);
			half.type = 'c';
			r = r < 0 ? r : v1_rule(d->allow ? allow : deny, &half);
		}
		if (r < 0)
			return err_sys(err, "linux.resources.devices[%zu]: write to %s/devices.%s", i, dir->path,
				       d->allow ? "allow" : "deny");
	}
	return 0;
}

int sys_cgroup_devices_set(const struct sys_cgroup *cg, const struct sys_cgroup_device *rules, size_t n,
			   struct err *err)
{
	const struct sys_cgroup_dir *d = sys_cgroup_find(cg, SYS_CG_DEVICES);
	int errnum = 0;
	if (!d)
		return err_set(err, ERR_UNSUPPORTED,
			       "linux.resources.devices: no cgroup of the container can restrict devices");
	if (FAILPOINT_ERR("sys.cgroup.devices", &errnum))
		return err_sys_num(err, errnum, "linux.resources.devices: %s", d->path);
	return d->v2 ? v2_set(d, rules, n, err) : v1_set(d, rules, n, err);
}
