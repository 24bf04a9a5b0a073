/* An archive into a folder of a container. See files.h.
 *
 *     entry ── clean (lexical, beneath the folder) ── parent ── openat2(root, folder/parent, RESOLVE_IN_ROOT) ──┐
 *                                                 └── leaf ── made with O_EXCL / mkdirat / linkat beneath it ──┘
 *                                                             └─ attributes by descriptor of what was made
 *
 * The container may run, and whatever is in it may change names under us. Invariants:
 * 1. What is written to was made here with O_EXCL; what is changed is what a descriptor holds, a link never followed.
 * 2. A parent is resolved by the kernel inside the container's root each time it changes. */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "container/files_private.h"
#include "sys/sys.h"

struct late { /* a folder's times, set when all is there */
	int fd;
	struct timespec times[2];
};
enum { LATE_MAX = 64 }; /* folders still open; those above set their times at once, as good as any moment */

struct put {
	const struct container_files_put *how;
	int root;
	const char *base;      /* the folder, as the container sees it */
	struct buf parent_rel; /* of the open parent */
	int parent;
	struct late late[LATE_MAX];
	size_t n_late;
	const char *rel;       /* the current entry, for messages */
	struct arena arena;    /* of the current entry */
};

/* rel = the entry's path without "." and "..", "" for the folder itself. */
static int rel_of(struct span path, struct buf *out, struct err *err)
{
	struct span part;
	buf_trunc(out, 0);
	for (struct span rest = path; span_cut(&rest, '/', &part);) {
		if (!part.len || span_is(part, "."))
			continue;
		if (span_is(part, "..")) {
			if (!out->len)
				return err_set(err, ERR_INVALID_REQUEST, "\"%.*s\" is outside of the folder to extract to", SPAN_ARG(path));
			ptrdiff_t slash = span_rchr(buf_span(out), '/');
			buf_trunc(out, slash < 0 ? 0 : (size_t)slash);
			continue;
		}
		if (part.len > NAME_MAX)
			return err_set(err, ERR_INVALID_REQUEST, "\"%.*s\": a name of more than %d bytes", SPAN_ARG(path), NAME_MAX);
		if (out->len)
			buf_chr(out, '/');
		buf_span_add(out, part);
	}
	return 0;
}

static void split(struct span rel, struct span *out_parent, struct span *out_leaf)
{
	ptrdiff_t slash = span_rchr(rel, '/');
	*out_parent = slash < 0 ? SPAN_EMPTY : span_sub(rel, 0, (size_t)slash);
	*out_leaf = span_from(rel, (size_t)(slash + 1));
}

static int folder_open(struct put *u, struct span rel, bool make, struct err *err)
{
	const char *path = arena_printf(&u->arena, "%s/%.*s", u->base, SPAN_ARG(rel)).ptr;
	int fd = sys_path_open(u->root, path, O_PATH | O_DIRECTORY, 0);
	if (fd < 0 && make && errno == ENOENT)
		fd = sys_path_mkdirs(u->root, path, 0755);
	return fd < 0 ? err_sys(err, "%s", path) : fd;
}

static int parent_open(struct put *u, struct span rel, struct err *err)
{
	if (u->parent >= 0 && span_eq(buf_span(&u->parent_rel), rel))
		return 0;
	fd_close(&u->parent);
	u->parent = folder_open(u, rel, true, err);
	buf_trunc(&u->parent_rel, 0);
	buf_span_add(&u->parent_rel, rel);
	return MIN(u->parent, 0);
}

/* ---- attributes, of what fd holds ---- */

static void late_end(struct put *u)
{
	while (u->n_late) {
		struct late *l = &u->late[--u->n_late];
		char path[40];
		snprintf(path, sizeof(path), "/proc/self/fd/%d", l->fd);
		(void)utimensat(AT_FDCWD, path, l->times, 0); /* a folder that went meanwhile needs no times */
		fd_close(&l->fd);
	}
}

static int attributes(struct put *u, const struct tar_entry *e, int fd, struct err *err)
{
	const char *base = u->base;
	if (!u->how->chown && (e->uid >= UINT32_MAX || e->gid >= UINT32_MAX))
		return err_set(err, ERR_INVALID_REQUEST, "%s/%s: owner is out of range", base, u->rel);
	uid_t uid = u->how->chown ? u->how->uid : (uid_t)e->uid;
	gid_t gid = u->how->chown ? u->how->gid : (gid_t)e->gid;
	if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
		return err_sys(err, "chown %s/%s", base, u->rel);
	struct timespec times[2] = { e->atime.tv_nsec == UTIME_OMIT ? e->mtime : e->atime, e->mtime };
	if (e->kind == TAR_SYMLINK) /* has no mode and no attributes; its times are set by name where it was made */
		return 0;
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (chmod(path, e->mode) < 0)
		return err_sys(err, "chmod %s/%s", base, u->rel);
	for (size_t i = 0; i < e->n_xattrs; i++) {
		auto_free char *name = mem_dup(e->xattrs[i].name.ptr, e->xattrs[i].name.len);
		struct span v = e->xattrs[i].value;
		if (setxattr(path, name, v.ptr ? v.ptr : "", v.len, 0) < 0 &&
		    (!strcmp(name, "security.capability") || (errno != EOPNOTSUPP && errno != EPERM && errno != EINVAL)))
			return err_sys(err, "set attribute %s of %s/%s", name, base, u->rel);
	}
	if (e->kind == TAR_DIR && u->n_late < LATE_MAX) {
		int kept = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (kept >= 0) {
			u->late[u->n_late++] = (struct late){ kept, { times[0], times[1] } };
			return 0;
		}
	}
	return utimensat(AT_FDCWD, path, times, 0) < 0 ? err_sys(err, "set times of %s/%s", base, u->rel) : 0;
}

/* ---- entries ---- */

static int file_make(struct put *u, struct tar_reader *r, const struct tar_entry *e, const char *leaf, struct err *err)
{
	struct tar_piece piece;
	int rc;
	auto_fd int fd = openat(u->parent, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "create %s/%s", u->base, u->rel);
	while ((rc = tar_data(r, &piece, err)) > 0)
		for (size_t done = 0; done < piece.data.len;) {
			ssize_t n = pwrite(fd, piece.data.ptr + done, piece.data.len - done, (off_t)(piece.offset + done));
			if (n < 0 && errno != EINTR)
				return err_sys(err, "write %s/%s", u->base, u->rel);
			done += n > 0 ? (size_t)n : 0;
		}
	if (rc == 0 && e->sparse && ftruncate(fd, (off_t)e->size) < 0)
		rc = err_sys(err, "size of %s/%s", u->base, u->rel);
	return rc < 0 ? rc : attributes(u, e, fd, err);
}

static int hardlink_make(struct put *u, const struct tar_entry *e, const char *leaf, struct err *err)
{
	auto_buf struct buf target = {};
	struct span above, name;
	int rc = rel_of(e->link, &target, err);
	if (rc < 0)
		return rc;
	split(buf_span(&target), &above, &name);
	auto_fd int dir = folder_open(u, above, false, err);
	if (dir < 0)
		return dir;
	if (!name.len || linkat(dir, arena_cstr(&u->arena, name), u->parent, leaf, 0) < 0)
		return name.len ? err_sys(err, "link %s/%s", u->base, u->rel)
				: err_set(err, ERR_INVALID_REQUEST, "%.*s: hard link to a folder", SPAN_ARG(e->path));
	return 0;
}

static int node_make(struct put *u, const struct tar_entry *e, const char *leaf, struct err *err)
{
	int rc;
	if (e->kind == TAR_DIR)
		rc = mkdirat(u->parent, leaf, 0700);
	else if (e->kind == TAR_SYMLINK)
		rc = symlinkat(e->link.ptr, u->parent, leaf);
	else
		rc = mknodat(u->parent, leaf, (e->kind == TAR_FIFO ? S_IFIFO : e->kind == TAR_CHAR ? S_IFCHR : S_IFBLK) | 0600,
			e->kind == TAR_FIFO ? 0 : makedev(e->major, e->minor));
	if (rc < 0 && !(e->kind == TAR_DIR && errno == EEXIST))
		return err_sys(err, "make %s %s/%s", tar_kind_name(e->kind), u->base, u->rel);
	auto_fd int fd = openat(u->parent, leaf, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "open %s/%s", u->base, u->rel);
	/* Somebody put another thing there meanwhile: its owner and mode are not ours to change. */
	static const mode_t kinds[] = { [TAR_DIR] = S_IFDIR, [TAR_SYMLINK] = S_IFLNK, [TAR_FIFO] = S_IFIFO, [TAR_CHAR] = S_IFCHR,
		[TAR_BLOCK] = S_IFBLK };
	if ((st.st_mode & S_IFMT) != kinds[e->kind])
		return err_set(err, ERR_STALE, "%s/%s was changed while it was made", u->base, u->rel);
	if ((rc = attributes(u, e, fd, err)) < 0 || e->kind != TAR_SYMLINK)
		return rc;
	const struct timespec times[2] = { e->mtime, e->mtime };
	(void)utimensat(u->parent, leaf, times, AT_SYMLINK_NOFOLLOW); /* a link's times matter to nobody */
	return 0;
}

/* What stands there gives way, but a folder to a folder. */
static int make_room(struct put *u, const struct tar_entry *e, const char *leaf, struct err *err)
{
	struct stat st;
	if (fstatat(u->parent, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "%s/%s", u->base, u->rel);
	bool is_dir = S_ISDIR(st.st_mode), to_dir = e->kind == TAR_DIR;
	if (is_dir && to_dir)
		return 0;
	if (u->how->no_overwrite_dir_non_dir && is_dir != to_dir)
		return err_set(err, ERR_INVALID_REQUEST, "cannot overwrite %s \"%s/%s\" with %s \"%s\"",
			is_dir ? "directory" : "non-directory", u->base, u->rel, to_dir ? "directory" : "non-directory", u->base);
	if (e->kind == TAR_HARDLINK) { /* it may be that very file */
		auto_buf struct buf target = {};
		struct span above, name;
		struct stat other;
		if (rel_of(e->link, &target, NULL) == 0) {
			split(buf_span(&target), &above, &name);
			auto_fd int dir = folder_open(u, above, false, NULL);
			if (dir >= 0 && fstatat(dir, arena_cstr(&u->arena, name), &other, AT_SYMLINK_NOFOLLOW) == 0 &&
			    other.st_ino == st.st_ino && other.st_dev == st.st_dev)
				return 1;
		}
	}
	return snapshot_tree_remove(u->parent, leaf, err);
}

static int entry_make(struct put *u, struct tar_reader *r, const struct tar_entry *e, struct err *err)
{
	auto_buf struct buf rel = {};
	struct span above, name;
	int rc = rel_of(e->path, &rel, err);
	if (rc < 0 || !rel.len) /* the folder itself stays as it is */
		return rc;
	u->rel = buf_cstr(&rel);
	split(buf_span(&rel), &above, &name);
	if ((rc = parent_open(u, above, err)) < 0)
		return rc;
	const char *leaf = arena_cstr(&u->arena, name);
	if ((rc = make_room(u, e, leaf, err)) != 0)
		return MIN(rc, 0);
	if (e->kind == TAR_FILE)
		return file_make(u, r, e, leaf, err);
	return e->kind == TAR_HARDLINK ? hardlink_make(u, e, leaf, err) : node_make(u, e, leaf, err);
}

/* ---- the call ---- */

static uint64_t mount_of(int fd)
{
	struct statx x;
	return statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &x) == 0 ? x.stx_mnt_id : 0;
}

static int may_write(int root, int folder, const struct container_files_put *how, struct err *err)
{
	struct statvfs v;
	bool in_root = mount_of(root) == mount_of(folder);
	if (fstatvfs(folder, &v) < 0)
		return err_sys(err, "look at the folder to extract to");
	if (in_root && (how->root_read_only || (v.f_flag & ST_RDONLY)))
		return err_set(err, ERR_FORBIDDEN, "container rootfs is marked read-only");
	if (!in_root && (v.f_flag & ST_RDONLY))
		return err_set(err, ERR_FORBIDDEN, "mounted volume is marked read-only");
	return 0;
}

static int extract(struct put *u, struct tar_source *from, struct err *err)
{
	struct tar_inflate *plain = NULL;
	struct tar_reader *r = NULL;
	const struct tar_entry *e;
	int rc;
	tar_inflate_new(from, 0, &plain);
	tar_reader_new(tar_inflate_source(plain), &u->how->limits, &r);
	while ((rc = tar_next(r, &e, err)) > 0) {
		rc = entry_make(u, r, e, err);
		arena_reset(&u->arena);
		if (rc < 0)
			break;
	}
	if (rc == 0)
		rc = tar_drain(r, err);
	late_end(u);
	fd_close(&u->parent);
	buf_done(&u->parent_rel);
	arena_done(&u->arena);
	tar_reader_free(r);
	tar_inflate_free(plain);
	return rc;
}

int container_files_put(int root, const char *who, struct span path, struct tar_source *from, const struct container_files_put *p,
	struct err *err)
{
	auto_arena struct arena a = {};
	struct files_path where;
	int rc = container_files_path(path, &a, &where, err);
	if (rc < 0)
		return rc;
	auto_fd int folder = sys_path_open(root, where.path, O_PATH | O_DIRECTORY, 0);
	if (folder < 0)
		return errno == ENOENT	  ? container_files_missing(path, who, err)
		       : errno == ENOTDIR ? err_set(err, ERR_INVALID_REQUEST, "extraction point is not a directory")
					  : err_sys(err, "%.*s", SPAN_ARG(path));
	if ((rc = may_write(root, folder, p, err)) < 0)
		return rc;
	struct put u = { .how = p, .root = root, .parent = -1, .base = container_files_real(root, folder, &a, err) };
	if (!u.base)
		return -ERR_IO;
	if (!strcmp(u.base, "/"))
		u.base = "";
	return extract(&u, from, err);
}
