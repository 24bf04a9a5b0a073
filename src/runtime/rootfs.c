/* The root file system: attach, change to it, mask, close. See plan.h for the order.
 *
 * Sources of bind mounts lie on the host and are opened as unattached mounts before the clone, by the parent, with the
 * host's rights and the host's names. Targets lie in the container and are resolved by sys_path_* alone, with c->root as the
 * root that nothing leads out of; what is then mounted is mounted on the descriptor that came out.
 *
 *     ROOT_ATTACH    root_tree is attached over the host's "/": nothing is stacked on root_tree itself
 *     MOUNT ...      everything in the container, beneath c->root
 *     PIVOT, DETACH  the root changes, the host's tree goes in the same breath
 *
 * Changing the root first and mounting afterwards looks safer and is not: until the host's tree is detached it is stacked
 * on the container's "/", and ".." at "/" climbs into what is stacked there, also under RESOLVE_IN_ROOT (the
 * race test found it: a link to "../../x" in an image made a folder on the host).
 *
 * With the old mount interface the sources are O_PATH descriptors instead and mount(2) is given their names in
 * /proc/self/fd, opened before the change of root. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "runtime/plan.h"
#include "runtime/rootfs.h"

static bool old_interface(int errnum)
{
	return errnum == ENOSYS || errnum == EPERM;
}

/* ---- sources */

/* The propagation that a bind mount gets when it names none: what it would inherit from a host tree that was made as
 * linux.rootfsPropagation says. */
static unsigned long bind_propagation(const struct runtime_plan *plan, const struct config_mount *m)
{
	if (m->opts.propagation)
		return m->opts.propagation;
	if (plan->config->root_propagation & MS_SHARED)
		return 0;
	if (plan->config->root_propagation & (MS_PRIVATE | MS_UNBINDABLE))
		return MS_PRIVATE | MS_REC;
	return MS_SLAVE | MS_REC;
}

static int idmap_fd(struct runtime_plan *plan, const struct config_mount *m, int *shared, int *out, struct err *err)
{
	const struct config *c = plan->config;
	if (m->n_uids)
		return sys_ns_maps_make(m->uids, m->n_uids, m->gids, m->n_gids, out, err);
	if (*shared < 0) {
		int r = sys_ns_maps_make(c->uids, c->n_uids, c->gids, c->n_gids, shared, err);
		if (r < 0)
			return r;
	}
	*out = fcntl(*shared, F_DUPFD_CLOEXEC, 0);
	return *out < 0 ? err_sys(err, "duplicate a descriptor") : 0;
}

/* Attributes and propagation of an unattached bind mount, in as few calls as they need. */
static int tree_prepare(struct runtime_plan *plan, struct config_mount *m, bool in_child, int *shared_idmap,
			struct err *err)
{
	uint64_t clear, atime;
	uint64_t set = sys_mount_attr_of(m->opts.set, &clear);
	clear |= sys_mount_attr_of(m->opts.clear, &atime) | atime;
	unsigned long propagation = bind_propagation(plan, m);
	auto_fd int userns = -1;
	if (m->opts.idmap || m->n_uids) {
		if (in_child)
			return err_set(err, ERR_UNSUPPORTED, "an id-mapped mount needs the rights of root on the host");
		int r = idmap_fd(plan, m, shared_idmap, &userns, err);
		if (r < 0)
			return r;
	}
	bool map_rec = m->opts.idmap_rec || (userns >= 0 && !m->opts.idmap && (m->opts.set & MS_REC));
	bool rec = m->opts.set & MS_REC;
	if (!rec && !m->opts.rec_set && !m->opts.rec_clear) { /* one mount, one call */
		if (sys_mount_attr_set(m->tree, false, set, clear, propagation, userns) < 0)
			return err_sys(
				err,
				userns >= 0 ? "set attributes and id map (does the file system allow id-mapped mounts?)"
					    : "set attributes");
		return 0;
	}
	if (sys_mount_attr_set(m->tree, true, m->opts.rec_set, m->opts.rec_clear, propagation, map_rec ? userns : -1) <
	    0)
		return err_sys(err, "set recursive attributes");
	if (sys_mount_attr_set(m->tree, false, set, clear, 0, map_rec ? -1 : userns) < 0)
		return err_sys(err, "set attributes");
	return 0;
}

static int source_open(struct runtime_plan *plan, struct config_mount *m, bool in_child, int *shared_idmap,
		       struct err *err)
{
	int errnum = 0;
	if (FAILPOINT_ERR("runtime.source.open", &errnum))
		return err_sys_num(err, errnum, "open %s", m->source);
	bool nofollow = m->opts.src_nofollow;
	if (plan->old_mounts)
		m->tree = open(m->source, O_PATH | O_CLOEXEC | (nofollow ? O_NOFOLLOW : 0));
	else
		m->tree = sys_mount_tree_open(AT_FDCWD, m->source, m->opts.set & MS_REC, nofollow);
	struct stat st;
	if (m->tree < 0 || fstat(m->tree, &st) < 0)
		return err_sys(err, "open %s", m->source);
	m->tree_folder = S_ISDIR(st.st_mode);
	if (plan->old_mounts)
		return m->opts.idmap || m->n_uids || m->opts.rec_set || m->opts.rec_clear
			       ? err_set(err, ERR_UNSUPPORTED,
					 "recursive attributes and id maps need mount_setattr (Linux 5.12)")
			       : 0;
	return tree_prepare(plan, m, in_child, shared_idmap, err);
}

/* Nodes of the host stand in where mknod is not allowed. */
static int device_open(struct runtime_plan *plan, struct config_device *d, struct err *err)
{
	if (d->type == 'p')
		return 0;
	d->tree = plan->old_mounts ? open(d->path, O_PATH | O_CLOEXEC)
				   : sys_mount_tree_open(AT_FDCWD, d->path, false, false);
	struct stat st;
	if (d->tree < 0 || fstat(d->tree, &st) < 0)
		return err_sys(err, "device %s: open the host's node (mknod is not possible in a user namespace)",
			       d->path);
	if (!(d->type == 'c' ? S_ISCHR(st.st_mode) : S_ISBLK(st.st_mode)) || st.st_rdev != makedev(d->major, d->minor))
		return err_set(
			err, ERR_INVALID,
			"device %s: the host's node is not %c %u:%u, and mknod is not possible in a user namespace",
			d->path, d->type, d->major, d->minor);
	return 0;
}

int runtime_rootfs_sources_open(struct runtime_plan *plan, bool in_child, struct err *err)
{
	struct config *c = plan->config;
	auto_fd int shared_idmap = -1;
	if (plan->root_tree < 0 && !plan->old_mounts && plan->mountns_new) {
		plan->root_tree = sys_mount_tree_open(AT_FDCWD, plan->rootfs, true, false);
		if (plan->root_tree < 0 && old_interface(errno)) {
			if (!in_child)
				return 0; /* not our right (rootless) or not the kernel's: the first process tries again */
			plan->old_mounts = true;
		} else if (plan->root_tree < 0) {
			return err_sys(err, "open root file system %s", plan->rootfs);
		} else if (sys_mount_attr_set(plan->root_tree, true, 0, 0, MS_SLAVE, -1) < 0) {
			if (!old_interface(errno))
				return err_sys(err, "root file system %s: set propagation", plan->rootfs);
			/* open_tree without mount_setattr (5.2 to 5.11): one old way for both */
			fd_close(&plan->root_tree);
			plan->old_mounts = true;
			if (!in_child)
				return 0;
		}
	}
	for (size_t i = 0; i < c->n_mounts; i++) {
		struct config_mount *m = &c->mounts[i];
		if (m->kind != MOUNT_BIND || m->tree >= 0 || (m->opts.set & MS_REMOUNT))
			continue;
		int r = source_open(plan, m, in_child, &shared_idmap, err);
		if (r < 0)
			return err_note(err, "mount %s to %s in container", m->source, m->destination);
	}
	for (size_t i = 0; c->ns[SYS_NS_USER].wanted && plan->own_dev && i < c->n_devices; i++) {
		int r = c->devices[i].tree < 0 ? device_open(plan, &c->devices[i], err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- attach and change */

int runtime_rootfs_attach(struct child *c, struct err *err)
{
	struct runtime_plan *plan = c->plan;
	c->old_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->old_root < 0)
		return err_sys(err, "open the host's root");
	if (!plan->mountns_new) { /* joined: what is there stays, only this process gets another root */
		c->root = open(plan->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
		return c->root < 0 ? err_sys(err, "open root file system %s", plan->rootfs) : 0;
	}
	if (!plan->old_mounts) {
		if (sys_move_mount(plan->root_tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
			return err_sys(err, "attach %s", plan->rootfs);
		c->root = take_fd(&plan->root_tree);
		return 0;
	}
	if (mount(plan->rootfs, plan->rootfs, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_sys(err, "bind %s", plan->rootfs);
	c->root = open(plan->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return c->root < 0 ? err_sys(err, "open root file system %s", plan->rootfs) : 0;
}

int runtime_rootfs_pivot(struct child *c, struct err *err)
{
	if (!c->plan->mountns_new)
		return 0; /* chroot at DETACH, when everything is mounted */
	if (fchdir(c->root) < 0)
		return err_sys(err, "enter %s", c->plan->rootfs);
	if (c->plan->opts.no_pivot) {
		if (c->plan->old_mounts && mount(".", "/", NULL, MS_MOVE, NULL) < 0)
			return err_sys(err, "move %s to /", c->plan->rootfs);
		return chroot(".") < 0 ? err_sys(err, "chroot to %s", c->plan->rootfs) : 0;
	}
	/* Both names are the new root: the old one ends up stacked on it, without a folder for it in the image. */
	if (sys_pivot_root(".", ".") < 0)
		return err_sys(err, "pivot_root to %s", c->plan->rootfs);
	return 0;
}

int runtime_rootfs_detach(struct child *c, struct err *err)
{
	fd_close(&c->null);
	fd_close(&c->dev);
	fd_close(&c->proc_fds);
	if (!c->plan->mountns_new || c->plan->opts.no_pivot) {
		fd_close(&c->old_root);
		if (fchdir(c->root) < 0 || chroot(".") < 0)
			return err_sys(err, "chroot to %s", c->plan->rootfs);
		return 0;
	}
	if (fchdir(c->old_root) < 0 || umount2(".", MNT_DETACH) < 0)
		return err_sys(err, "unmount the host's root");
	fd_close(&c->old_root);
	return chdir("/") < 0 ? err_sys(err, "enter /") : 0;
}

/* ---- both interfaces */

int runtime_rootfs_proc_fds(struct child *c, struct err *err)
{
	if (c->proc_fds >= 0)
		return 0;
	c->proc_fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return c->proc_fds < 0 ? err_sys(err, "open /proc/self/fd") : 0;
}

/* mount(2) on descriptors: the working directory is /proc/self/fd of the host, names are numbers. */
static int old_mount(struct child *c, int source, int target, const char *type, unsigned long flags)
{
	char from[16], to[16];
	snprintf(from, sizeof(from), "%d", source);
	snprintf(to, sizeof(to), "%d", target);
	if (fchdir(c->proc_fds) < 0)
		return -1;
	return mount(source >= 0 ? from : NULL, to, type, flags, NULL);
}

unsigned long runtime_rootfs_locked_flags(int fd)
{
	struct statvfs fs;
	unsigned long flags = 0;
	if (fstatvfs(fd, &fs) < 0)
		return 0;
	flags |= fs.f_flag & ST_NODEV ? MS_NODEV : 0;
	flags |= fs.f_flag & ST_NOEXEC ? MS_NOEXEC : 0;
	flags |= fs.f_flag & ST_NOSUID ? MS_NOSUID : 0;
	flags |= fs.f_flag & ST_RDONLY ? MS_RDONLY : 0;
	flags |= fs.f_flag & ST_NOATIME ? MS_NOATIME : 0;
	flags |= fs.f_flag & ST_NODIRATIME ? MS_NODIRATIME : 0;
	flags |= fs.f_flag & ST_RELATIME ? MS_RELATIME : 0;
	return flags;
}

int runtime_rootfs_old_bind(struct child *c, int source, int target, const char *dest, unsigned long set,
			    unsigned long clear, unsigned long propagation, struct err *err)
{
	if (old_mount(c, source, target, NULL, MS_BIND | (set & MS_REC)) < 0)
		return err_sys(err, "bind");
	set &= ~(unsigned long)(MS_BIND | MS_REC);
	/* The mount is on top now: only a new look at the name finds it. */
	auto_fd int top = sys_path_open(c->root, dest, O_PATH, 0);
	if (top < 0)
		return err_sys(err, "look at the new mount");
	if ((set || clear) &&
	    old_mount(c, -1, top, NULL, MS_REMOUNT | MS_BIND | ((runtime_rootfs_locked_flags(top) | set) & ~clear)) < 0)
		return err_sys(err, "set attributes");
	if (propagation && old_mount(c, -1, top, NULL, propagation) < 0)
		return err_sys(err, "set propagation");
	return 0;
}

/* ---- hide and protect */

static int null_open(struct child *c, struct err *err)
{
	if (c->null >= 0)
		return 0;
	/* The host's, not the container's: /dev/null inside may be a link that an image brought (CVE-2025-31133). */
	c->null = openat(c->old_root, "dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (c->null < 0 || fstat(c->null, &st) < 0)
		return err_sys(err, "open the host's /dev/null");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return err_set(err, ERR_CORRUPT, "the host's /dev/null is not the null device");
	return 0;
}

int runtime_rootfs_mask(struct child *c, const char *path, struct err *err)
{
	auto_fd int target = sys_path_open(c->root, path, O_PATH, 0);
	struct stat st;
	if (target < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(err, "open");
	if (fstat(target, &st) < 0)
		return err_sys(err, "stat");
	if (S_ISDIR(st.st_mode)) {
		if (fchdir(target) < 0 ||
		    mount("tmpfs", ".", "tmpfs", MS_RDONLY, runtime_rootfs_label_data(c, "mode=755,size=0")) < 0)
			return err_sys(err, "mount an empty tmpfs");
		return 0;
	}
	int r = null_open(c, err);
	if (r < 0)
		return r;
	if (c->plan->old_mounts)
		return runtime_rootfs_old_bind(c, c->null, target, path, 0, 0, 0, err);
	auto_fd int tree = sys_mount_tree_open(c->null, "", false, false);
	if (tree < 0 || sys_mount_attach(tree, target) < 0)
		return err_sys(err, "bind /dev/null");
	return 0;
}

int runtime_rootfs_readonly(struct child *c, const char *path, struct err *err)
{
	auto_fd int target = sys_path_open(c->root, path, O_PATH, 0);
	if (target < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(err, "open");
	if (c->plan->old_mounts)
		return runtime_rootfs_old_bind(c, target, target, path, MS_REC | MS_RDONLY, 0, 0, err);
	auto_fd int tree = sys_mount_tree_open(target, "", true, false);
	if (tree < 0)
		return err_sys(err, "copy the mount");
	if (sys_mount_attr_set(tree, false, MOUNT_ATTR_RDONLY, 0, 0, -1) < 0)
		return err_sys(err, "set attributes");
	return sys_mount_attach(tree, target) < 0 ? err_sys(err, "attach") : 0;
}

int runtime_rootfs_root_readonly(struct child *c, struct err *err)
{
	if (!c->plan->old_mounts && sys_mount_attr_set(c->root, false, MOUNT_ATTR_RDONLY, 0, 0, -1) == 0)
		return 0;
	if (fchdir(c->root) < 0 ||
	    mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | runtime_rootfs_locked_flags(c->root), NULL) < 0)
		return err_sys(err, "remount /");
	return 0;
}

int runtime_rootfs_cwd(struct child *c, struct err *err)
{
	const char *cwd = c->plan->config->process->cwd;
	auto_fd int fd = sys_path_open(c->root, cwd, O_PATH | O_DIRECTORY, 0);
	if (fd >= 0)
		return 0;
	/* Magic links (/proc/self/fd/7) are refused here: CVE-2024-21626. */
	if (errno != ENOENT)
		return err_sys(err, "process.cwd: %s", cwd);
	fd = sys_path_mkdirs(c->root, cwd, 0755);
	return fd < 0 ? err_sys(err, "process.cwd: make %s", cwd) : 0;
}
