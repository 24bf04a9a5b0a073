/* Trees as archives: what a snapshot changed as a layer, and any folder as `tar` would write it. */
#include <sys/sysmacros.h>
#include <unistd.h>

#include "snapshot/private.h"
#include "sys/sys.h"

struct gather {
	struct tar_xattr *items;
	size_t n, cap;
	struct arena arena;
};

static int xattr_gather(const char *attr, struct span value, void *arg, struct err *err)
{
	struct gather *g = arg;
	MEM_GROW(g->items, g->n, g->cap);
	g->items[g->n++] = (struct tar_xattr){ arena_span(&g->arena, span_of(attr)), arena_span(&g->arena, value) };
	return 0;
}

static int contents_write(struct tar_writer *w, int fd, uint64_t size, const char *rel, struct err *err)
{
	static char zeros[4096]; /* never written: no constant, which would be 4 KB of the program file */
	auto_free char *buf = mem_alloc(TAR_PIECE_BYTES);
	while (size) {
		ssize_t n = read(fd, buf, (size_t)MIN(size, (uint64_t)TAR_PIECE_BYTES));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "read /%s", rel);
		/* It became shorter since its header was written: the archive's form needs the bytes all the same. */
		struct span piece = n ? span_make(buf, (size_t)n) : span_make(zeros, (size_t)MIN(size, (uint64_t)sizeof(zeros)));
		int rc = tar_write_data(w, piece, err);
		if (rc < 0)
			return rc;
		size -= piece.len;
	}
	return 0;
}

static int deletion_write(struct tar_writer *w, const char *rel, struct err *err)
{
	auto_buf struct buf path = {};
	ptrdiff_t slash = span_rchr(span_of(rel), '/');
	buf_printf(&path, "%.*s.wh.%s", (int)(slash + 1), rel, rel + slash + 1);
	const struct tar_entry e = { .kind = TAR_FILE, .mode = 0600, .path = buf_span(&path), .atime.tv_nsec = UTIME_OMIT,
		.ctime.tv_nsec = UTIME_OMIT };
	return tar_write(w, &e, err);
}

/* Opens a regular file, and nothing else: opening a device that took the name's place meanwhile would already act on it. */
static int regular_open(int dir, const char *name, struct stat *out_st)
{
	char path[40];
	auto_fd int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, out_st) < 0)
		return -1;
	if (!S_ISREG(out_st->st_mode)) {
		errno = ESTALE;
		return -1;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* rel: what the entry is called. covered: something is mounted on it, which is not looked at. */
static int entry_write(struct tar_writer *w, struct inodes *inodes, int dir, const char *name, const char *rel, bool covered,
	struct err *err)
{
	struct stat st;
	char target[PATH_BYTES_MAX + 1];
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "stat /%s", rel);
	if (covered) {
		st.st_mode = (S_ISDIR(st.st_mode) ? S_IFDIR : S_IFREG) | 0755;
		const struct tar_entry e = { .kind = S_ISDIR(st.st_mode) ? TAR_DIR : TAR_FILE, .mode = 0755, .path = span_of(rel),
			.mtime = st.st_mtim, .atime.tv_nsec = UTIME_OMIT, .ctime.tv_nsec = UTIME_OMIT };
		return tar_write(w, &e, err);
	}
	struct tar_entry e = { .mode = st.st_mode & 07777, .path = span_of(rel), .uid = st.st_uid, .gid = st.st_gid,
		.mtime = st.st_mtim,
		.atime.tv_nsec = UTIME_OMIT, .ctime.tv_nsec = UTIME_OMIT };
	auto_fd int fd = -1;
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		e.kind = TAR_FILE;
		break;
	case S_IFDIR:
		e.kind = TAR_DIR;
		break;
	case S_IFLNK: {
		ssize_t n = readlinkat(dir, name, target, sizeof(target));
		if (n < 0)
			return err_sys(err, "read link /%s", rel);
		e.kind = TAR_SYMLINK;
		e.link = span_make(target, (size_t)n);
		break;
	}
	case S_IFCHR:
	case S_IFBLK:
		e.kind = S_ISCHR(st.st_mode) ? TAR_CHAR : TAR_BLOCK;
		e.major = major(st.st_rdev);
		e.minor = minor(st.st_rdev);
		break;
	case S_IFIFO:
		e.kind = TAR_FIFO;
		break;
	default: /* a socket means nothing without the process that listens */
		return 0;
	}
	if (e.kind != TAR_DIR && st.st_nlink > 1) {
		const char *earlier = snapshot_inode_put(inodes, &st, rel);
		if (earlier) {
			e.kind = TAR_HARDLINK;
			e.link = span_of(earlier);
			return tar_write(w, &e, err);
		}
	}
	if (e.kind == TAR_FILE) {
		fd = regular_open(dir, name, &st);
		if (fd < 0)
			return errno == ENOENT ? 0 : err_sys(err, "open /%s", rel);
		e.size = (uint64_t)st.st_size;
	}
	struct gather g = {};
	int rc = snapshot_xattrs_each(dir, name, xattr_gather, &g, err);
	e.xattrs = g.items;
	e.n_xattrs = g.n;
	if (rc == 0)
		rc = tar_write(w, &e, err);
	free(g.items);
	arena_done(&g.arena);
	if (rc == 0 && e.kind == TAR_FILE)
		rc = contents_write(w, fd, e.size, rel, err);
	return rc;
}

int snapshot_diff(struct snapshot_store *s, const char *key, const struct snapshot_places *besides, struct tar_sink *to,
	struct err *err)
{
	struct snapshot_changes changes;
	int rc = snapshot_changes(s, key, besides, &changes, err);
	if (rc < 0)
		return rc;
	auto_fd int upper = snapshot_live_fs(s, key, err);
	rc = MIN(upper, 0);
	struct tar_writer w;
	tar_writer_init(&w, to);
	struct inodes inodes = {};
	for (size_t i = 0; i < changes.n && rc == 0; i++) {
		const char *rel = changes.items[i].path + 1, *name;
		if (changes.items[i].kind == SNAPSHOT_DELETED) {
			rc = deletion_write(&w, rel, err);
			continue;
		}
		ptrdiff_t slash = span_rchr(span_of(rel), '/');
		auto_free char *above = mem_dup(rel, (size_t)(slash < 0 ? 0 : slash));
		name = rel + slash + 1;
		auto_fd int dir = snapshot_dir_open(upper, above, err);
		if (dir >= 0)
			rc = entry_write(&w, &inodes, dir, name, rel, false, err);
		else if (dir != -ERR_NOT_FOUND) /* removed meanwhile: nothing to say */
			rc = dir;
	}
	if (rc == 0)
		rc = tar_write_end(&w, err);
	snapshot_inodes_done(&inodes);
	tar_writer_done(&w);
	snapshot_changes_done(&changes);
	return rc;
}

/* ---- any folder ---- */

struct tree {
	struct tar_writer *w;
	struct inodes inodes;
	const char *as;
	bool one_mount;
	struct buf path;
};

static bool is_mount(int dir, const char *name)
{
	struct statx x;
	return statx(dir, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &x) == 0 &&
	       (x.stx_attributes_mask & x.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static int tree_one(int dirfd, const char *rel, const char *name, const struct stat *st, void *arg, struct err *err)
{
	struct tree *t = arg;
	bool covered = t->one_mount && is_mount(dirfd, name);
	buf_trunc(&t->path, 0);
	buf_printf(&t->path, "%s%s%s", t->as, *t->as && !span_ends(span_of(t->as), SPAN("/")) ? "/" : "", rel);
	int rc = entry_write(t->w, &t->inodes, dirfd, name, buf_cstr(&t->path), covered, err);
	return rc < 0 ? rc : covered; /* 1: not looked into */
}

int snapshot_tree_archive(int dirfd, const char *name, const char *as, bool one_mount, struct tar_writer *w, struct err *err)
{
	struct tree t = { .w = w, .as = as, .one_mount = one_mount };
	struct stat st;
	int rc = 0;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat %s", name);
	if (*as)
		rc = entry_write(w, &t.inodes, dirfd, name, as, false, err);
	if (rc == 0 && S_ISDIR(st.st_mode)) {
		auto_fd int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		rc = fd < 0 ? err_sys(err, "open %s", name) : snapshot_tree_each_sorted(fd, tree_one, &t, err);
	}
	snapshot_inodes_done(&t.inodes);
	buf_done(&t.path);
	return rc;
}
