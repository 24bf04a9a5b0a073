/* See mount.h. One row per option; the parser, `features` and the tests read the same table. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "sys/call.h"
#include "sys/mounts.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

static const struct option {
	const char *name;
	unsigned long set, clear, propagation;
	uint64_t rec_set, rec_clear;
	enum {
		EXTRA_NONE,
		EXTRA_COPY_UP,
		EXTRA_IDMAP,
		EXTRA_RIDMAP,
		EXTRA_SRC_NOFOLLOW,
		EXTRA_DEST_NOFOLLOW,
		EXTRA_RRELATIME
	} extra;
} options[] = {
	{ .name = "acl" }, /* accepted without effect, as runc and mount(8) do */
	{ .name = "async", .clear = MS_SYNCHRONOUS },
	{ .name = "atime", .clear = MS_NOATIME },
	{ .name = "bind", .set = MS_BIND },
	{ .name = "copy-symlink", .extra = EXTRA_SRC_NOFOLLOW },
	{ .name = "defaults" },
	{ .name = "dest-nofollow", .extra = EXTRA_DEST_NOFOLLOW },
	{ .name = "dev", .clear = MS_NODEV },
	{ .name = "diratime", .clear = MS_NODIRATIME },
	{ .name = "dirsync", .set = MS_DIRSYNC },
	{ .name = "exec", .clear = MS_NOEXEC },
	{ .name = "idmap", .extra = EXTRA_IDMAP },
	{ .name = "iversion", .set = MS_I_VERSION },
	{ .name = "lazytime", .set = MS_LAZYTIME },
	{ .name = "loud", .clear = MS_SILENT },
	{ .name = "mand", .set = MS_MANDLOCK },
	{ .name = "noatime", .set = MS_NOATIME },
	{ .name = "nodev", .set = MS_NODEV },
	{ .name = "nodiratime", .set = MS_NODIRATIME },
	{ .name = "noexec", .set = MS_NOEXEC },
	{ .name = "noiversion", .clear = MS_I_VERSION },
	{ .name = "nolazytime", .clear = MS_LAZYTIME },
	{ .name = "nomand", .clear = MS_MANDLOCK },
	{ .name = "norelatime", .clear = MS_RELATIME },
	{ .name = "nostrictatime", .clear = MS_STRICTATIME },
	{ .name = "nosuid", .set = MS_NOSUID },
	{ .name = "nosymfollow", .set = MS_NOSYMFOLLOW },
	{ .name = "private", .propagation = MS_PRIVATE },
	{ .name = "ratime", .rec_clear = MOUNT_ATTR_NOATIME },
	{ .name = "rbind", .set = MS_BIND | MS_REC },
	{ .name = "rdev", .rec_clear = MOUNT_ATTR_NODEV },
	{ .name = "rdiratime", .rec_clear = MOUNT_ATTR_NODIRATIME },
	{ .name = "relatime", .set = MS_RELATIME },
	{ .name = "remount", .set = MS_REMOUNT },
	{ .name = "rexec", .rec_clear = MOUNT_ATTR_NOEXEC },
	{ .name = "ridmap", .extra = EXTRA_RIDMAP },
	{ .name = "rnoatime", .rec_set = MOUNT_ATTR_NOATIME },
	{ .name = "rnodev", .rec_set = MOUNT_ATTR_NODEV },
	{ .name = "rnodiratime", .rec_set = MOUNT_ATTR_NODIRATIME },
	{ .name = "rnoexec", .rec_set = MOUNT_ATTR_NOEXEC },
	{ .name = "rnorelatime", .rec_clear = MOUNT_ATTR__ATIME },
	{ .name = "rnostrictatime", .rec_clear = MOUNT_ATTR_STRICTATIME },
	{ .name = "rnosuid", .rec_set = MOUNT_ATTR_NOSUID },
	{ .name = "rnosymfollow", .rec_set = MOUNT_ATTR_NOSYMFOLLOW },
	{ .name = "ro", .set = MS_RDONLY },
	{ .name = "rprivate", .propagation = MS_PRIVATE | MS_REC },
	{ .name = "rrelatime", .extra = EXTRA_RRELATIME }, /* the attribute's value is 0 */
	{ .name = "rro", .rec_set = MOUNT_ATTR_RDONLY },
	{ .name = "rrw", .rec_clear = MOUNT_ATTR_RDONLY },
	{ .name = "rshared", .propagation = MS_SHARED | MS_REC },
	{ .name = "rslave", .propagation = MS_SLAVE | MS_REC },
	{ .name = "rstrictatime", .rec_set = MOUNT_ATTR_STRICTATIME },
	{ .name = "rsuid", .rec_clear = MOUNT_ATTR_NOSUID },
	{ .name = "rsymfollow", .rec_clear = MOUNT_ATTR_NOSYMFOLLOW },
	{ .name = "runbindable", .propagation = MS_UNBINDABLE | MS_REC },
	{ .name = "rw", .clear = MS_RDONLY },
	{ .name = "shared", .propagation = MS_SHARED },
	{ .name = "silent", .set = MS_SILENT },
	{ .name = "slave", .propagation = MS_SLAVE },
	{ .name = "src-nofollow", .extra = EXTRA_SRC_NOFOLLOW },
	{ .name = "strictatime", .set = MS_STRICTATIME },
	{ .name = "suid", .clear = MS_NOSUID },
	{ .name = "symfollow", .clear = MS_NOSYMFOLLOW },
	{ .name = "sync", .set = MS_SYNCHRONOUS },
	{ .name = "tmpcopyup", .extra = EXTRA_COPY_UP },
	{ .name = "unbindable", .propagation = MS_UNBINDABLE },
};

static const struct option *option_find(struct span name)
{
	size_t lo = 0, hi = ARRAY_LEN(options);
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = span_cmp(name, span_of(options[mid].name));
		if (c == 0)
			return &options[mid];
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const char *sys_mount_option_name(unsigned i)
{
	return i < ARRAY_LEN(options) ? options[i].name : NULL;
}

unsigned long sys_mount_propagation(struct span name)
{
	const struct option *row = option_find(name);
	return row ? row->propagation : 0;
}

/* The access time attributes are one field, not bits: naming one replaces another. */
static void rec_set(struct sys_mount_opts *o, uint64_t attr)
{
	if (attr & MOUNT_ATTR__ATIME || attr == MOUNT_ATTR_RELATIME) {
		o->rec_set &= ~(uint64_t)MOUNT_ATTR__ATIME;
		o->rec_clear |= MOUNT_ATTR__ATIME;
	} else {
		o->rec_clear &= ~attr;
	}
	o->rec_set |= attr;
}

bool sys_mount_option(struct sys_mount_opts *o, struct span name)
{
	const struct option *row = option_find(name);
	if (!row)
		return false;
	o->set = (o->set & ~row->clear) | row->set;
	o->clear = (o->clear & ~row->set) | row->clear;
	if (row->propagation)
		o->propagation = row->propagation;
	if (row->rec_set)
		rec_set(o, row->rec_set);
	if (row->rec_clear) {
		if (row->rec_clear & MOUNT_ATTR__ATIME) {
			o->rec_set &= ~(uint64_t)MOUNT_ATTR__ATIME;
			o->rec_clear |= MOUNT_ATTR__ATIME;
		} else {
			o->rec_set &= ~row->rec_clear;
			o->rec_clear |= row->rec_clear;
		}
	}
	switch (row->extra) {
	case EXTRA_COPY_UP: o->copy_up = true; break;
	case EXTRA_IDMAP: o->idmap = true; break;
	case EXTRA_RIDMAP: o->idmap = o->idmap_rec = true; break;
	case EXTRA_SRC_NOFOLLOW: o->src_nofollow = true; break;
	case EXTRA_DEST_NOFOLLOW: o->dest_nofollow = true; break;
	case EXTRA_RRELATIME: rec_set(o, MOUNT_ATTR_RELATIME); break;
	case EXTRA_NONE: break;
	}
	return true;
}

uint64_t sys_mount_attr_of(unsigned long ms, uint64_t *out_clear)
{
	uint64_t a = 0;
	*out_clear = 0;
	if (ms & MS_RDONLY)
		a |= MOUNT_ATTR_RDONLY;
	if (ms & MS_NOSUID)
		a |= MOUNT_ATTR_NOSUID;
	if (ms & MS_NODEV)
		a |= MOUNT_ATTR_NODEV;
	if (ms & MS_NOEXEC)
		a |= MOUNT_ATTR_NOEXEC;
	if (ms & MS_NODIRATIME)
		a |= MOUNT_ATTR_NODIRATIME;
	if (ms & MS_NOSYMFOLLOW)
		a |= MOUNT_ATTR_NOSYMFOLLOW;
	if (ms & (MS_NOATIME | MS_STRICTATIME | MS_RELATIME)) {
		*out_clear = MOUNT_ATTR__ATIME;
		a |= ms & MS_NOATIME	   ? MOUNT_ATTR_NOATIME
		     : ms & MS_STRICTATIME ? MOUNT_ATTR_STRICTATIME
					   : MOUNT_ATTR_RELATIME;
	}
	return a;
}

int sys_mount_tree_open(int dirfd, const char *path, bool recursive, bool nofollow)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
	if (recursive)
		flags |= AT_RECURSIVE;
	if (nofollow)
		flags |= AT_SYMLINK_NOFOLLOW;
	if (!*path)
		flags |= AT_EMPTY_PATH;
	return sys_open_tree(dirfd, path, flags);
}

int sys_mount_attr_set(int fd, bool recursive, uint64_t set, uint64_t clear, unsigned long propagation, int userns_fd)
{
	if (!set && !clear && !propagation && userns_fd < 0)
		return 0;
	struct mount_attr attr = { .attr_set = set, .attr_clr = clear };
	attr.propagation = propagation & ~(unsigned long)MS_REC;
	if (userns_fd >= 0) {
		attr.attr_set |= MOUNT_ATTR_IDMAP;
		attr.userns_fd = (unsigned)userns_fd;
	}
	return sys_mount_setattr(fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr);
}

int sys_mount_attach(int tree, int target)
{
	return sys_move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}
