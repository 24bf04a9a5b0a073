/* The mounts of config.json, from inside the new root. See rootfs.c. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "runtime/plan.h"
#include "runtime/rootfs.h"

#define COPY_DEPTH_MAX 64

static bool selinux_on(void)
{
	struct statfs fs;
	return statfs("/sys/fs/selinux", &fs) == 0 && (unsigned long)fs.f_type == SELINUX_MAGIC;
}

const char *runtime_rootfs_label_data(struct child *c, const char *data)
{
	const char *label = c->plan->config->mount_label;
	if (!label || !*label || !selinux_on())
		return data;
	return arena_printf(c->plan->arena, "%s%scontext=\"%s\"", data ? data : "", data && *data ? "," : "", label)
		.ptr;
}

/* ---- tmpcopyup */

static int entry_copy(int from, int to, const char *name, unsigned depth, struct err *err);

static int folder_copy(int from, int to, unsigned depth, struct err *err)
{
	if (depth >= COPY_DEPTH_MAX)
		return err_set(err, ERR_TOO_LARGE, "tmpcopyup: folders nest deeper than %d", COPY_DEPTH_MAX);
	int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);
	if (!list) {
		int r = err_sys(err, "tmpcopyup: list a folder");
		fd_close(&copy);
		return r;
	}
	int r = 0;
	struct dirent *e;
	while (r == 0 && (e = readdir(list)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = entry_copy(from, to, e->d_name, depth, err);
	closedir(list);
	return r;
}

static int file_copy(int from, int to, const char *name, const struct stat *st, struct err *err)
{
	auto_fd int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	auto_fd int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	char block[16384];
	ssize_t n;
	if (in < 0 || out < 0)
		return err_sys(err, "tmpcopyup: open %s", name);
	while ((n = read(in, block, sizeof(block))) > 0)
		if (io_write_all(out, block, (size_t)n, err) < 0)
			return err_note(err, "tmpcopyup: %s", name);
	if (n < 0 || fchown(out, st->st_uid, st->st_gid) < 0 || fchmod(out, st->st_mode & 07777) < 0)
		return err_sys(err, "tmpcopyup: %s", name);
	return 0;
}

static int entry_copy(int from, int to, const char *name, unsigned depth, struct err *err)
{
	struct stat st;
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "tmpcopyup: stat %s", name);
	if (S_ISREG(st.st_mode))
		return file_copy(from, to, name, &st, err);
	if (S_ISDIR(st.st_mode)) {
		auto_fd int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (in < 0 || mkdirat(to, name, 0700) < 0)
			return err_sys(err, "tmpcopyup: make folder %s", name);
		auto_fd int out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (out < 0)
			return err_sys(err, "tmpcopyup: open folder %s", name);
		int r = folder_copy(in, out, depth + 1, err);
		if (r == 0 && (fchown(out, st.st_uid, st.st_gid) < 0 || fchmod(out, st.st_mode & 07777) < 0))
			r = err_sys(err, "tmpcopyup: %s", name);
		return r;
	}
	if (S_ISLNK(st.st_mode)) {
		char text[4096];
		ssize_t n = readlinkat(from, name, text, sizeof(text) - 1);
		if (n < 0)
			return err_sys(err, "tmpcopyup: read link %s", name);
		text[n] = 0;
		if (symlinkat(text, to, name) < 0 || fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(err, "tmpcopyup: make link %s", name);
		return 0;
	}
	if (mknodat(to, name, st.st_mode, st.st_rdev) < 0 ||
	    fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "tmpcopyup: make node %s", name);
	return 0;
}

/* ---- where a mount may go */

/* A container's /proc and /sys must be what their names say: security labels are written to files below /proc, and masks
 * are put there by name (CVE-2019-16884, CVE-2019-19921). What may lie on top of procfs is a list. */
static int target_check(const struct config_mount *m, int target, struct err *err)
{
	static const char *const allowed[] = { "/proc/cpuinfo",
					       "/proc/diskstats",
					       "/proc/meminfo",
					       "/proc/stat",
					       "/proc/swaps",
					       "/proc/uptime",
					       "/proc/loadavg",
					       "/proc/slabinfo",
					       "/proc/net/dev",
					       "/proc/sys/kernel/ns_last_pid",
					       "/proc/sys/crypto/fips_enabled",
					       "/proc/sys/fs/binfmt_misc" };
	struct statfs fs;
	struct span dest = span_of(m->destination);
	while (dest.len > 1 && dest.ptr[dest.len - 1] == '/')
		dest.len--;
	if (fstatfs(target, &fs) < 0)
		return err_sys(err, "look at the mount point");
	bool is_proc = m->type && !strcmp(m->type, "proc");
	if (span_is(dest, "/proc") && !is_proc) {
		struct statfs source;
		if (m->kind != MOUNT_BIND || m->tree < 0 || fstatfs(m->tree, &source) < 0 ||
		    source.f_type != PROC_SUPER_MAGIC)
			return err_set(err, ERR_INVALID, "\"/proc\" cannot be mounted over: it must be type proc");
	}
	if (fs.f_type != PROC_SUPER_MAGIC || span_is(dest, "/proc"))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
		if (span_is(dest, allowed[i]))
			return 0;
	return err_set(err, ERR_INVALID, "\"%s\" cannot be mounted because it is inside /proc", m->destination);
}

static int target_open(struct child *c, const struct config_mount *m, bool folder, bool *out_existed, int *out,
		       struct err *err)
{
	bool system = m->type && (!strcmp(m->type, "proc") || !strcmp(m->type, "sysfs"));
	bool no_link = system || m->opts.dest_nofollow;
	auto_fd int target = sys_path_open(c->root, m->destination, O_PATH | (no_link ? O_NOFOLLOW : 0), 0);
	*out_existed = target >= 0;
	if (target < 0 && errno == ENOENT)
		target = sys_path_target(c->root, m->destination, folder, no_link);
	if (target < 0)
		return err_sys(err, "make the mount point");
	if (no_link) {
		struct stat st;
		if (fstat(target, &st) == 0 && S_ISLNK(st.st_mode))
			return err_set(err, ERR_INVALID, "the mount point is a symbolic link, which %s must not be",
				       m->destination);
	}
	if (!system) {
		int r = target_check(m, target, err);
		if (r < 0)
			return r;
	}
	*out = take_fd(&target);
	return 0;
}

/* Attributes that mount(2) could not give: recursive ones and propagation. */
static int mount_finish(struct child *c, const struct config_mount *m, struct err *err)
{
	if (!m->opts.propagation && !m->opts.rec_set && !m->opts.rec_clear)
		return 0;
	auto_fd int top = sys_path_open(c->root, m->destination, O_PATH, 0);
	if (top < 0)
		return err_sys(err, "look at the new mount");
	if (m->opts.propagation && (fchdir(top) < 0 || mount(NULL, ".", NULL, m->opts.propagation, NULL) < 0))
		return err_sys(err, "set propagation");
	if (sys_mount_attr_set(top, true, m->opts.rec_set, m->opts.rec_clear, 0, -1) < 0)
		return err_sys(err, "set recursive attributes");
	return 0;
}

static int bind_mount(struct child *c, struct config_mount *m, struct err *err)
{
	bool existed;
	auto_fd int target = -1;
	int r = target_open(c, m, m->tree_folder, &existed, &target, err);
	if (r < 0)
		return r;
	if (m->opts.set & MS_REMOUNT) {
		if (fchdir(target) < 0 ||
		    mount(NULL, ".", NULL, (m->opts.set & ~(unsigned long)MS_REC) | runtime_rootfs_locked_flags(target),
			  NULL) < 0)
			return err_sys(err, "remount");
		return mount_finish(c, m, err);
	}
	if (c->plan->old_mounts)
		return runtime_rootfs_old_bind(c, m->tree, target, m->destination, m->opts.set, m->opts.clear,
					       m->opts.propagation, err);
	if (sys_mount_attach(m->tree, target) < 0) {
		int errnum = errno;
		struct stat st;
		bool mixed = fstat(target, &st) == 0 && S_ISDIR(st.st_mode) != m->tree_folder;
		return err_sys_num(err, errnum, mixed ? "attach (one is a folder, the other a file)" : "attach");
	}
	fd_close(&m->tree);
	return 0;
}

/* sysfs belongs to the network namespace's owner: a container with its own user namespace and the host's network cannot mount
 * one, and gets the host's, bound. */
static int sysfs_bind(struct child *c, const struct config_mount *m, int target, struct err *err)
{
	if (c->old_root < 0)
		return err_sys_num(err, EPERM, "mount sysfs");
	if (c->plan->old_mounts) {
		auto_fd int source = openat(c->old_root, "sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
		return source < 0 ? err_sys(err, "open the host's /sys")
				  : runtime_rootfs_old_bind(c, source, target, m->destination, MS_REC | m->opts.set, 0,
							    0, err);
	}
	uint64_t clear, set = sys_mount_attr_of(m->opts.set, &clear);
	auto_fd int tree = sys_mount_tree_open(c->old_root, "sys", true, false);
	if (tree < 0 || sys_mount_attr_set(tree, true, set & ~(uint64_t)MOUNT_ATTR__ATIME, 0, 0, -1) < 0 ||
	    sys_mount_attach(tree, target) < 0)
		return err_sys(err, "bind the host's /sys");
	return 0;
}

static int tmpfs_copy_up(struct child *c, const struct config_mount *m, int lower, struct err *err)
{
	auto_fd int upper = sys_path_open(c->root, m->destination, O_RDONLY | O_DIRECTORY, 0);
	if (upper < 0)
		return err_sys(err, "open the new tmpfs");
	int r = folder_copy(lower, upper, 0, err);
	if (r == 0 && (m->opts.set & MS_RDONLY) &&
	    (fchdir(upper) < 0 ||
	     mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | (m->opts.set & ~(unsigned long)MS_REC), NULL) < 0))
		r = err_sys(err, "remount read-only");
	return r;
}

/* Of this mount alone. */
static int read_only_here(struct child *c, const struct config_mount *m, struct err *err)
{
	auto_fd int top = sys_path_open(c->root, m->destination, O_RDONLY | O_DIRECTORY, 0);
	unsigned long flags = MS_REMOUNT | MS_BIND | (m->opts.set & ~(unsigned long)MS_REC);
	return top < 0 || fchdir(top) < 0 || mount(NULL, ".", NULL, flags, NULL) < 0 ? err_sys(err, "remount read-only") : 0;
}

static int fs_mount(struct child *c, struct config_mount *m, struct err *err)
{
	bool existed;
	auto_fd int target = -1, lower = -1;
	int r = target_open(c, m, true, &existed, &target, err);
	if (r < 0)
		return r;
	const char *data = m->data;
	bool tmpfs = !strcmp(m->type, "tmpfs");
	unsigned long flags = m->opts.set & ~(unsigned long)MS_REC;
	/* All sysfs mounts of a network namespace are one super block: read-only in the first container of a pod it would be so in a
	 * privileged one, too. */
	bool shared = !strcmp(m->type, "sysfs") && (flags & MS_RDONLY) && !(flags & MS_REMOUNT);
	if (shared)
		flags &= ~(unsigned long)MS_RDONLY;
	if (tmpfs && existed && !(flags & MS_REMOUNT)) {
		/* As runc: the folder that is covered gives its mode, options behind override it. */
		struct stat st;
		if (fstat(target, &st) < 0)
			return err_sys(err, "stat the mount point");
		if (!data || !strstr(data, "mode="))
			data = arena_printf(c->plan->arena, "mode=%o%s%s", st.st_mode & 07777, data ? "," : "",
					    data ? data : "")
				       .ptr;
	}
	if (m->opts.copy_up) {
		lower = openat(target, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (lower < 0)
			return err_sys(err, "open what the tmpfs covers");
		flags &= ~(unsigned long)MS_RDONLY;
	}
	if (strcmp(m->type, "proc") != 0 && strcmp(m->type, "sysfs") != 0)
		data = runtime_rootfs_label_data(c, data);
	if (fchdir(target) < 0)
		return err_sys(err, "enter the mount point");
	if (mount(m->source ? m->source : m->type, ".", m->type, flags, data) < 0) {
		if (errno == EPERM && !strcmp(m->type, "sysfs"))
			return sysfs_bind(c, m, target, err);
		if (errno == ENODEV)
			return err_sys(err, "the kernel knows no file system \"%s\"", m->type);
		if (errno == EINVAL && data)
			return err_sys(err, "mount with options \"%s\"%s", data,
				       !strcmp(m->type, "devpts") && c->plan->config->ns[SYS_NS_USER].wanted &&
						       strstr(data, "gid=")
					       ? " (is the group mapped in the user namespace?)"
					       : "");
		return err_sys(err, "mount");
	}
	r = lower >= 0 ? tmpfs_copy_up(c, m, lower, err) : shared ? read_only_here(c, m, err) : 0;
	return r < 0 ? r : mount_finish(c, m, err);
}

/* ---- control groups inside */

static int cgroup_sub_mount(struct child *c, const struct config_mount *m, const struct sys_cgroup_dir *d, int parent,
			    struct err *err)
{
	unsigned long flags = (m->opts.set & ~(unsigned long)(MS_REC | MS_BIND)) | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	struct span mount_name = span_of(d->mount);
	mount_name = span_from(mount_name, (size_t)span_rchr(mount_name, '/') + 1);
	const char *name = d->v2 ? "unified" : arena_cstr(c->plan->arena, mount_name);
	if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
		return err_sys(err, "make folder %s", name);
	auto_fd int dir = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || fchdir(dir) < 0)
		return err_sys(err, "enter folder %s", name);
	const char *data = span_starts(span_of(d->name), SPAN("name="))
				   ? arena_printf(c->plan->arena, "none,%s", d->name).ptr
				   : d->name;
	if (mount("cgroup", ".", d->v2 ? "cgroup2" : "cgroup", flags, d->v2 ? NULL : data) < 0)
		return err_sys(err, "mount hierarchy %s", d->v2 ? "v2" : d->name);
	/* cpu,cpuacct is also found as cpu and as cpuacct */
	struct span rest = span_of(d->name), one;
	while (strchr(d->name, ',') && span_cut(&rest, ',', &one))
		if (symlinkat(name, parent, arena_cstr(c->plan->arena, one)) < 0 && errno != EEXIST)
			return err_sys(err, "link %.*s", SPAN_ARG(one));
	return 0;
}

/* Without a cgroup namespace the container sees its own group of the host's tree. */
static int cgroup_sub_bind(struct child *c, const struct config_mount *m, const struct sys_cgroup_dir *d, int target,
			   const char *dest, struct err *err)
{
	auto_fd int source = openat(c->old_root, d->path + 1, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (source < 0)
		return err_sys(err, "open %s", d->path);
	unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | (m->opts.set & MS_RDONLY);
	if (c->plan->old_mounts)
		return runtime_rootfs_old_bind(c, source, target, dest, flags, 0, 0, err);
	uint64_t clear, set = sys_mount_attr_of(flags, &clear);
	auto_fd int tree = sys_mount_tree_open(source, "", false, false);
	if (tree < 0 || sys_mount_attr_set(tree, false, set, 0, MS_SLAVE, -1) < 0 || sys_mount_attach(tree, target) < 0)
		return err_sys(err, "bind %s", d->path);
	return 0;
}

static int cgroup_v1_mount(struct child *c, struct config_mount *m, int target, struct err *err)
{
	const struct sys_cgroup *cg = &c->plan->cgroup;
	bool own_ns = c->plan->config->ns[SYS_NS_CGROUP].wanted;
	unsigned long flags =
		(m->opts.set & ~(unsigned long)(MS_REC | MS_BIND | MS_RDONLY)) | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	if (fchdir(target) < 0 || mount("tmpfs", ".", "tmpfs", flags, runtime_rootfs_label_data(c, "mode=755")) < 0)
		return err_sys(err, "mount a tmpfs for the hierarchies");
	auto_fd int parent = sys_path_open(c->root, m->destination, O_RDONLY | O_DIRECTORY, 0);
	if (parent < 0)
		return err_sys(err, "open the new tmpfs");
	for (unsigned i = 0; i < cg->n; i++) {
		const struct sys_cgroup_dir *d = &cg->dirs[i];
		int r;
		if (own_ns) {
			r = cgroup_sub_mount(c, m, d, parent, err);
		} else {
			struct span base = span_from(span_of(d->mount), (size_t)span_rchr(span_of(d->mount), '/') + 1);
			const char *name = arena_cstr(c->plan->arena, base);
			const char *dest = arena_printf(c->plan->arena, "%s/%s", m->destination, name).ptr;
			auto_fd int sub = -1;
			if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
				return err_sys(err, "make folder %s", name);
			sub = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (sub < 0)
				return err_sys(err, "open folder %s", name);
			r = cgroup_sub_bind(c, m, d, sub, dest, err);
		}
		if (r < 0)
			return r;
	}
	if (m->opts.set & MS_RDONLY)
		if (fchdir(parent) < 0 || mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL) < 0)
			return err_sys(err, "remount read-only");
	return mount_finish(c, m, err);
}

static int cgroup_mount(struct child *c, struct config_mount *m, struct err *err)
{
	const struct sys_cgroup *cg = &c->plan->cgroup;
	bool existed;
	auto_fd int target = -1;
	int r = target_open(c, m, true, &existed, &target, err);
	if (r < 0)
		return r;
	if (!cg->n) {
		/* Rootless without any group: the host's view, bound as it is. */
		auto_fd int tree = sys_mount_tree_open(c->old_root, "sys/fs/cgroup", true, false);
		if (tree < 0 ||
		    sys_mount_attr_set(tree, true, m->opts.set & MS_RDONLY ? MOUNT_ATTR_RDONLY : 0, 0, 0, -1) < 0 ||
		    sys_mount_attach(tree, target) < 0)
			return err_sys(err, "bind the host's /sys/fs/cgroup");
		return 0;
	}
	bool pure = cg->n == 1 && cg->dirs[0].v2 && !strcmp(cg->dirs[0].mount, "/sys/fs/cgroup");
	if (!pure)
		return cgroup_v1_mount(c, m, target, err);
	unsigned long flags = m->opts.set & ~(unsigned long)(MS_REC | MS_BIND);
	if (c->plan->config->ns[SYS_NS_CGROUP].wanted) {
		if (fchdir(target) == 0 && mount("cgroup", ".", "cgroup2", flags, m->data) == 0)
			return mount_finish(c, m, err);
		if (errno != EPERM && errno != EBUSY)
			return err_sys(err, "mount cgroup2");
	}
	return cgroup_sub_bind(c, m, &cg->dirs[0], target, m->destination, err);
}

int runtime_rootfs_mount(struct child *c, struct config_mount *m, struct err *err)
{
	switch (m->kind) {
	case MOUNT_BIND: return bind_mount(c, m, err);
	case MOUNT_CGROUP: return cgroup_mount(c, m, err);
	case MOUNT_FS: break;
	}
	return fs_mount(c, m, err);
}
