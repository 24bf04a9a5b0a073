/* Ownership, mounts, host paths and sub-paths of volumes. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <unistd.h>

#include "kubelet/files.h"
#include "snapshot/snapshot.h"
#include "sys/sys.h"

/* ---- ownership */

enum { DEPTH_MAX = 200 };

/* Lchown, and the mode unless it is a link: changeFilePermission of upstream. */
static int entry_own(int dirfd_, const char *name, const struct stat *st, int64_t gid, bool readonly, struct err *err)
{
	mode_t mask = readonly ? 0440 : 0660;
	if (fchownat(dirfd_, name, (uid_t)-1, (gid_t)gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
		return err_sys(err, "lchown of %s", name);
	if (S_ISLNK(st->st_mode))
		return 0;
	if (S_ISDIR(st->st_mode))
		mask |= 02110;
	/* The entry is no link: nobody writes here while the pod is set up; yet never through one. */
	char path[64];
	auto_fd int fd = *name ? openat(dirfd_, name, O_PATH | O_NOFOLLOW | O_CLOEXEC) : fcntl(dirfd_, F_DUPFD_CLOEXEC, 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd < 0 || chmod(path, (st->st_mode & 07777) | mask) < 0)
		return err_sys(err, "chmod of %s", name);
	return 0;
}

static int tree_own(int dir, dev_t dev, int64_t gid, bool readonly, unsigned depth, struct err *err)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int rc = err_sys(err, "list a folder");
		fd_close(&fd);
		return rc;
	}
	const struct dirent *e;
	int rc = 0;
	while (rc == 0 && (e = readdir(d))) {
		struct stat st;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			if (errno != ENOENT)
				rc = err_sys(err, "stat %s", e->d_name);
			continue;
		}
		if (st.st_dev != dev)
			continue;
		rc = entry_own(dirfd(d), e->d_name, &st, gid, readonly, err);
		if (rc == 0 && S_ISDIR(st.st_mode)) {
			auto_fd int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (sub < 0)
				rc = err_sys(err, "open %s", e->d_name);
			else if (!depth)
				rc = err_set(err, ERR_UNSUPPORTED, "folders more than %d levels deep", DEPTH_MAX);
			else
				rc = tree_own(sub, dev, gid, readonly, depth - 1, err);
		}
		if (rc < 0)
			(void)err_note(err, "%s", e->d_name);
	}
	(void)closedir(d);
	return rc;
}

int kl_tree_own(const char *path, int64_t gid, bool readonly, bool on_mismatch, struct err *err)
{
	struct stat st;
	auto_fd int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fstat(dir, &st) < 0)
		return err_sys(err, "open %s", path);
	mode_t want = 02110 | (readonly ? 0440 : 0660);
	if (on_mismatch && st.st_gid == (gid_t)gid && (st.st_mode & want) == want)
		return 0;
	int rc = tree_own(dir, st.st_dev, gid, readonly, DEPTH_MAX, err);
	/* The root last: with OnRootMismatch it says that all the rest is done. */
	if (rc == 0)
		rc = entry_own(dir, "", &st, gid, readonly, err);
	return rc < 0 ? err_note(err, "applyFSGroup failed for %s", path) : 0;
}

/* ---- mounts */

/* /proc/self/mountinfo escapes blanks, tabs, newlines and backslashes as octal. */
static void unescape(struct span in, struct buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		uint64_t c;
		if (in.ptr[i] == '\\' && i + 3 < in.len && span_to_u64_base(span_sub(in, i + 1, i + 4), 8, &c) && c < 256) {
			buf_chr(out, (char)c);
			i += 3;
		} else {
			buf_chr(out, in.ptr[i]);
		}
	}
}

/* path as mountinfo spells it: the way to its last part without links. -1: the way leads nowhere, so nothing is mounted there. */
static int real_path(const char *path, struct buf *out)
{
	struct span p = span_of(path);
	ptrdiff_t slash = span_rchr(p, '/');
	auto_buf struct buf parent = {};
	buf_span_add(&parent, slash > 0 ? span_sub(p, 0, (size_t)slash) : slash == 0 ? SPAN("/") : SPAN("."));
	auto_free char *real = realpath(buf_cstr(&parent), NULL);
	if (!real)
		return -1;
	buf_printf(out, "%s/%.*s", strcmp(real, "/") ? real : "", SPAN_ARG(span_from(p, (size_t)(slash + 1))));
	return 0;
}

/* Calls fn for each mount point at or beneath path, the latest first (a mount comes behind what it is mounted on). */
static int mounts_beneath(const char *path, int (*fn)(const char *point, void *arg), void *arg, struct err *err)
{
	auto_buf struct buf all = {}, points = {}, real = {};
	struct span rest, line, top;
	if (real_path(path, &real) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(err, "resolve %s", path);
	top = buf_span(&real);
	if (sys_file_read(AT_FDCWD, "/proc/self/mountinfo", &all, 64 << 20) < 0)
		return err_sys(err, "read /proc/self/mountinfo");
	rest = buf_span(&all);
	while (span_cut(&rest, '\n', &line)) {
		struct span field = SPAN_EMPTY;
		for (int i = 0; i < 5 && span_cut(&line, ' ', &field); i++)
			;
		size_t at = points.len;
		unescape(field, &points);
		struct span p = span_from(buf_span(&points), at);
		if (!span_starts(p, top) || (p.len > top.len && p.ptr[top.len] != '/'))
			buf_trunc(&points, at);
		else
			buf_chr(&points, 0);
	}
	for (size_t end = points.len; end > 0;) {
		size_t begin = end - 1;
		while (begin > 0 && points.ptr[begin - 1])
			begin--;
		int rc = fn(points.ptr + begin, arg);
		if (rc)
			return rc;
		end = begin;
	}
	return 0;
}

static int is_it(const char *point, void *arg)
{
	return span_eq(span_of(point), buf_span(arg));
}

bool kl_is_mounted(const char *path)
{
	auto_buf struct buf real = {};
	return real_path(path, &real) == 0 && mounts_beneath(path, is_it, &real, NULL) == 1;
}

static int unmount(const char *point, void *arg)
{
	if (umount2(point, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
		return 0;
	if (errno == EBUSY && umount2(point, UMOUNT_NOFOLLOW | MNT_DETACH) == 0)
		return 0;
	return err_sys(arg, "unmount %s", point);
}

int kl_tree_unmount(const char *path, struct err *err)
{
	return mounts_beneath(path, unmount, err, err);
}

static int refuse(const char *point, void *arg)
{
	return err_set(arg, ERR_IN_USE, "%s is still mounted", point);
}

int kl_tree_remove(const char *path, struct err *err)
{
	int rc = mounts_beneath(path, refuse, err, err);
	if (rc < 0)
		return rc;
	/* Deep folders are moved beside the root of the removal, which must be on its file system: the parent it is. */
	struct span p = span_of(path);
	ptrdiff_t slash = span_rchr(p, '/');
	auto_buf struct buf parent = {};
	buf_span_add(&parent, slash > 0 ? span_sub(p, 0, (size_t)slash) : slash == 0 ? SPAN("/") : SPAN("."));
	auto_fd int fd = open(buf_cstr(&parent), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open %s", buf_cstr(&parent));
	return snapshot_tree_remove(fd, path + slash + 1, err);
}

int kl_root_make(const char *path, struct arena *a, struct span *out, struct err *err)
{
	struct stat st;
	auto_buf struct buf pods = {};
	int rc = io_mkdirs(AT_FDCWD, path, 0750, err);
	if (rc < 0)
		return rc;
	auto_free char *real = realpath(path, NULL);
	if (!real)
		return err_sys(err, "resolve %s", path);
	buf_printf(&pods, "%s/pods", real);
	rc = io_mkdirs(AT_FDCWD, buf_cstr(&pods), 0750, err);
	if (rc < 0)
		return rc;
	if (stat(buf_cstr(&pods), &st) < 0)
		return err_sys(err, "stat %s", buf_cstr(&pods));
	if ((st.st_mode & 07777 & ~0750u) && chmod(buf_cstr(&pods), st.st_mode & 0750) < 0)
		return err_sys(err, "chmod %s", buf_cstr(&pods));
	*out = arena_span(a, span_of(real));
	return 0;
}

int kl_mount_tmpfs(const char *path, int64_t size, mode_t mode, int64_t gid, struct err *err)
{
	char data[96];
	int n = snprintf(data, sizeof(data), "mode=%o", (unsigned)mode);
	if (gid >= 0)
		n += snprintf(data + n, sizeof(data) - (size_t)n, ",gid=%lld", (long long)gid);
	if (size > 0)
		(void)snprintf(data + n, sizeof(data) - (size_t)n, ",size=%lld", (long long)size);
	return mount("tmpfs", path, "tmpfs", 0, data) < 0 ? err_sys(err, "mount a tmpfs on %s", path) : 0;
}

int kl_mount_bind(const char *from, const char *to, struct err *err)
{
	return mount(from, to, NULL, MS_BIND, NULL) < 0 ? err_sys(err, "bind %s to %s", from, to) : 0;
}

/* ---- hostPath */

int kl_host_path_check(const char *path, struct span type, struct err *err)
{
	static const struct {
		const char *type;
		bool make;
		mode_t format; /* 0: anything but a folder */
		const char *what;
	} rows[] = {
		{ "DirectoryOrCreate", true, S_IFDIR, "directory" }, { "Directory", false, S_IFDIR, "directory" },
		{ "FileOrCreate", true, 0, "file" },                 { "File", false, 0, "file" },
		{ "Socket", false, S_IFSOCK, "socket file" },        { "CharDevice", false, S_IFCHR, "character device" },
		{ "BlockDevice", false, S_IFBLK, "block device" },
	};
	struct stat st;
	if (!type.len)
		return 0;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		if (!span_is(type, rows[i].type))
			continue;
		bool there = stat(path, &st) == 0;
		if (!there && rows[i].make) {
			if (rows[i].format == S_IFDIR)
				return io_mkdirs(AT_FDCWD, path, 0755, err);
			auto_fd int fd = open(path, O_CREAT | O_RDONLY | O_CLOEXEC, 0644);
			return fd < 0 ? err_sys(err, "open %s", path) : 0;
		}
		if (there && (rows[i].format ? (st.st_mode & S_IFMT) == rows[i].format : !S_ISDIR(st.st_mode)))
			return 0;
		return err_set(err, ERR_INVALID, "hostPath type check failed: %s is not a %s", path, rows[i].what);
	}
	return err_set(err, ERR_INVALID, "%.*s is an invalid volume type", SPAN_ARG(type));
}

/* ---- subPath */

/* The file or folder that sub names beneath the volume: no link leads out of it. */
static int beneath_open(int volume, const char *sub)
{
	return sys_openat2(volume, sub, O_PATH | O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

static int sub_path_open(int volume, const char *sub_path, bool readonly, struct err *err)
{
	struct stat st;
	auto_fd int fd = beneath_open(volume, sub_path);
	if (fd < 0 && errno == ENOENT && !readonly && fstat(volume, &st) == 0) {
		int made = sys_path_mkdirs(volume, sub_path, st.st_mode & 0777);
		if (made < 0)
			return err_sys(err, "failed to create subPath directory for volumeMount \"%s\"", sub_path);
		fd_close(&made);
		fd = beneath_open(volume, sub_path);
	}
	if (fd >= 0)
		return take_fd(&fd);
	if (errno == EXDEV || errno == ELOOP)
		return err_set(err, ERR_INVALID, "subpath \"%s\" not within volume path", sub_path);
	return err_sys(err, "subPath \"%s\"", sub_path);
}

int kl_sub_path_bind(const char *volume, const char *sub_path, const char *target, bool readonly, struct err *err)
{
	struct stat want, have;
	char from[64];
	auto_fd int top = open(volume, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (top < 0)
		return err_sys(err, "open volume %s", volume);
	auto_fd int fd = sub_path_open(top, sub_path, readonly, err);
	if (fd < 0)
		return fd;
	if (fstat(fd, &want) < 0)
		return err_sys(err, "stat subPath %s", sub_path);
	if (kl_is_mounted(target)) {
		if (stat(target, &have) == 0 && have.st_dev == want.st_dev && have.st_ino == want.st_ino)
			return 0;
		int rc = kl_tree_unmount(target, err);
		if (rc < 0)
			return rc;
	}
	if (S_ISDIR(want.st_mode)) {
		int rc = io_mkdirs(AT_FDCWD, target, 0750, err);
		if (rc < 0)
			return rc;
	} else {
		auto_buf struct buf parent = {};
		buf_str(&parent, target);
		buf_trunc(&parent, (size_t)span_rchr(buf_span(&parent), '/'));
		int rc = io_mkdirs(AT_FDCWD, buf_cstr(&parent), 0750, err);
		if (rc < 0)
			return rc;
		auto_fd int file = open(target, O_CREAT | O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0640);
		if (file < 0)
			return err_sys(err, "create %s", target);
	}
	(void)snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	FAILPOINT("kubelet.subpath.made");
	return kl_mount_bind(from, target, err);
}
