/* Device nodes, the links beside them, and the terminal. See rootfs.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "runtime/plan.h"
#include "runtime/rootfs.h"

/* The folder that holds path; most are in /dev, which is opened once. */
static int parent_open(struct child *c, const char *path, const char **out_name, int *out_own, struct err *err)
{
	if (span_starts(span_of(path), SPAN("/dev/")) && path[5] && !strchr(path + 5, '/') &&
	    strcmp(path + 5, "..") != 0 && strcmp(path + 5, ".") != 0) {
		if (c->dev < 0)
			c->dev = sys_path_mkdirs(c->root, "/dev", 0755);
		*out_name = path + 5;
		return c->dev < 0 ? err_sys(err, "open /dev") : c->dev;
	}
	*out_own = sys_path_parent(c->root, path, out_name);
	return *out_own < 0 ? err_sys(err, "device %s: make its folder", path) : *out_own;
}

static int node_bind(struct child *c, const struct config_device *d, int dir, const char *name, int source,
		     struct err *err)
{
	auto_fd int made = openat(dir, name, O_CREAT | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
	auto_fd int target = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (target < 0)
		return err_sys(err, "device %s: make a file to bind to", d->path);
	if (c->plan->old_mounts)
		return runtime_rootfs_old_bind(c, source, target, d->path, 0, 0, 0, err);
	return sys_mount_attach(source, target) < 0 ? err_sys(err, "device %s: bind the host's node", d->path) : 0;
}

static int device_make(struct child *c, struct config_device *d, struct err *err)
{
	const char *name;
	auto_fd int own = -1;
	int dir = parent_open(c, d->path, &name, &own, err);
	if (dir < 0)
		return dir;
	if (d->tree >= 0) {
		int r = node_bind(c, d, dir, name, d->tree, err);
		fd_close(&d->tree);
		return r;
	}
	mode_t type = d->type == 'c' ? S_IFCHR : d->type == 'b' ? S_IFBLK : S_IFIFO;
	dev_t dev = d->type == 'p' ? 0 : makedev(d->major, d->minor);
	if (mknodat(dir, name, type | d->mode, dev) == 0) {
		if ((d->uid || d->gid) && fchownat(dir, name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(err, "device %s: chown", d->path);
		return 0;
	}
	if (errno == EEXIST) {
		struct stat st;
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(err, "device %s: stat", d->path);
		if ((st.st_mode & S_IFMT) == type && st.st_rdev == dev)
			return 0;
		/* The image's /dev holds something else of that name. What the configuration says counts. */
		if (unlinkat(dir, name, 0) < 0 || mknodat(dir, name, type | d->mode, dev) < 0)
			return err_sys(err, "device %s: replace what the image has there", d->path);
		return 0;
	}
	if (errno != EPERM || c->old_root < 0 || d->type == 'p')
		return err_sys(err, "device %s: mknod", d->path);
	/* Root without CAP_MKNOD (a container in a container): the host's node, if it is the same one. */
	struct stat st;
	if (fstatat(c->old_root, d->path + 1, &st, 0) < 0 || (st.st_mode & S_IFMT) != type || st.st_rdev != dev)
		return err_sys_num(err, EPERM, "device %s: mknod", d->path);
	auto_fd int source = c->plan->old_mounts ? openat(c->old_root, d->path + 1, O_PATH | O_CLOEXEC)
						 : sys_mount_tree_open(c->old_root, d->path + 1, false, false);
	if (source < 0)
		return err_sys(err, "device %s: open the host's node", d->path);
	return node_bind(c, d, dir, name, source, err);
}

int runtime_rootfs_devices(struct child *c, struct err *err)
{
	static const struct {
		const char *name, *to;
	} links[] = { { "fd", "/proc/self/fd" },
		      { "stdin", "/proc/self/fd/0" },
		      { "stdout", "/proc/self/fd/1" },
		      { "stderr", "/proc/self/fd/2" },
		      { "core", "/proc/kcore" } };
	struct config *config = c->plan->config;
	for (size_t i = 0; i < config->n_devices; i++) {
		int r = device_make(c, &config->devices[i], err);
		if (r < 0)
			return r;
	}
	if (c->dev < 0)
		c->dev = sys_path_mkdirs(c->root, "/dev", 0755);
	if (c->dev < 0)
		return err_sys(err, "open /dev");
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		if (symlinkat(links[i].to, c->dev, links[i].name) < 0 && errno != EEXIST)
			return err_sys(err, "link /dev/%s", links[i].name);
	/* The container's own terminals, never the host's. */
	if (symlinkat("pts/ptmx", c->dev, "ptmx") < 0) {
		if (errno != EEXIST || unlinkat(c->dev, "ptmx", 0) < 0 || symlinkat("pts/ptmx", c->dev, "ptmx") < 0)
			return err_sys(err, "link /dev/ptmx");
	}
	return 0;
}

int runtime_terminal_open(struct child *c, const struct config_process *p, const struct runtime_opts *opts,
			  bool bind_console, struct err *err)
{
	auto_fd int master = sys_path_open(c->root, "/dev/pts/ptmx", O_RDWR | O_NOCTTY, 0);
	if (master < 0)
		return err_sys(err, "open /dev/pts/ptmx in the container (is devpts mounted there?)");
	int unlock = 0;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return err_sys(err, "unlock the terminal");
	/* Not by name: what /dev/pts/N is may change under us (CVE-2025-52565). */
	auto_fd int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_sys(err, "open the terminal's other end");
	struct winsize size = { .ws_row = opts->rows ? opts->rows : (unsigned short)p->height,
				.ws_col = opts->cols ? opts->cols : (unsigned short)p->width };
	if (size.ws_row || size.ws_col) {
		if (ioctl(master, TIOCSWINSZ, &size) < 0)
			return err_sys(err, "set the terminal's size");
	}
	if (p->uid && fchown(slave, p->uid, (gid_t)-1) < 0)
		return err_sys(err, "give the terminal to user %u", p->uid);
	if (bind_console) {
		auto_fd int target = sys_path_target(c->root, "/dev/console", false, true);
		if (target < 0)
			return err_sys(err, "make /dev/console");
		if (c->plan->old_mounts) {
			int r = runtime_rootfs_old_bind(c, slave, target, "/dev/console", 0, 0, 0, err);
			if (r < 0)
				return r;
		} else {
			auto_fd int tree = sys_mount_tree_open(slave, "", false, false);
			if (tree < 0 || sys_mount_attach(tree, target) < 0)
				return err_sys(err, "bind the terminal to /dev/console");
		}
	}
	if (runtime_sync_send(c->sync, SYNC_TERMINAL, 0, 0, NULL, master) < 0)
		return err_sys(err, "hand over the terminal");
	if (dup2(slave, 0) < 0 || dup2(slave, 1) < 0 || dup2(slave, 2) < 0)
		return err_sys(err, "put the terminal in place");
	if (ioctl(0, TIOCSCTTY, 0) < 0)
		return err_sys(err, "take the terminal");
	return 0;
}

int runtime_rootfs_terminal(struct child *c, struct err *err)
{
	return runtime_terminal_open(c, c->plan->config->process, &c->plan->opts, c->plan->own_dev, err);
}
