/* A layer's archive into a folder.
 *
 *     name ── clean (lexical) ── parent ── openat2(fs/, parent, RESOLVE_IN_ROOT) ──┐ kept open while entries stay in one folder
 *                                  └──── leaf ── created with O_EXCL / mkdirat / linkat beneath that descriptor
 *
 * Invariants
 * 1. Nothing is opened for writing that was not created by this unpacking with O_EXCL: a link, device or file that
 *    stands in the way is removed first.
 * 2. Every name that reaches the kernel is either a parent path resolved inside fs/, or one component without '/'.
 * 3. Set-id bits and capabilities come after the owner, times come last (folders: when all is there). */
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "snapshot/private.h"
#include "sys/sys.h"

enum { SEND_BYTES = 1 << 20 };

struct late { /* a folder's times */
	char *rel;
	struct timespec times[2];
};

struct unpack {
	struct snapshot_pending *p;
	bool overlay;
	int root;
	int parent;          /* kept open; -1 = none */
	struct buf parent_rel;
	struct map seen;     /* copy: what this archive made, and folders on the way to it; keys in p->arena */
	struct map implied;  /* rel → itself */
	struct late *late;   /* owned */
	size_t n_late, cap_late;
	struct snapshot_unpacked *facts;
};

/* ---- names ---- */

/* The path without ".", "..", double and outer slashes; "" is the root. */
static int clean(struct span path, struct buf *out, struct err *err)
{
	struct span part;
	buf_trunc(out, 0);
	(void)buf_reserve(out, 1);
	for (struct span rest = path; span_cut(&rest, '/', &part);) {
		if (!part.len || span_is(part, "."))
			continue;
		if (span_is(part, "..")) {
			if (!out->len)
				return err_set(err, ERR_INVALID, "archive: \"%.*s\" is outside of the root", SPAN_ARG(path));
			ptrdiff_t slash = span_rchr(buf_span(out), '/');
			out->len = slash < 0 ? 0 : (size_t)slash;
			continue;
		}
		if (part.len > NAME_MAX)
			return err_set(err, ERR_INVALID, "archive: \"%.*s\": a name of more than %d bytes", SPAN_ARG(path), NAME_MAX);
		if (out->len)
			buf_chr(out, '/');
		buf_span_add(out, part);
	}
	buf_add(out, "", 1);
	out->len--;
	return 0;
}

static void split(struct span rel, struct span *out_parent, struct span *out_leaf)
{
	ptrdiff_t slash = span_rchr(rel, '/');
	*out_parent = slash < 0 ? SPAN_EMPTY : span_sub(rel, 0, (size_t)slash);
	*out_leaf = span_from(rel, (size_t)(slash + 1));
}

static void parent_forget(struct unpack *u)
{
	fd_close(&u->parent);
}

static void seen_add(struct unpack *u, struct span rel)
{
	/* With all folders above, so that an opaque mark does not take them away. */
	while (!u->overlay && rel.len && !map_get(&u->seen, rel)) {
		struct span key = arena_span(&u->p->arena, rel);
		map_put(&u->seen, key, (void *)(uintptr_t)key.ptr);
		struct span leaf;
		split(rel, &rel, &leaf);
	}
}

static void implied_add(struct unpack *u, struct span rel)
{
	struct span key = arena_span(&u->p->arena, rel);
	map_put(&u->implied, key, (void *)(uintptr_t)key.ptr);
}

static bool is_whiteout_at(int dirfd, const char *name)
{
	struct stat st;
	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && snapshot_is_whiteout(&st);
}

static int opaque_set(int dirfd, const char *name, struct err *err)
{
	if (snapshot_xattr_set(dirfd, name, OPAQUE_XATTR, SPAN("y")) < 0)
		return err_sys(err, "mark folder %s opaque", name);
	return 0;
}

/* Opens the folder rel, making what is missing. */
static int folder_open(struct unpack *u, struct span rel, struct err *err)
{
	auto_free char *path = mem_dup(rel.ptr ? rel.ptr : "", rel.len);
	int fd = sys_path_open(u->root, rel.len ? path : "/", O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0 || (errno != ENOENT && errno != ENOTDIR))
		return fd < 0 ? err_sys(err, "archive: folder %s", path) : fd;
	auto_fd int at = sys_path_open(u->root, "/", O_RDONLY | O_DIRECTORY, 0);
	for (size_t end = 0; end <= rel.len; end++) {
		if (end < rel.len && rel.ptr[end] != '/')
			continue;
		struct span here = span_sub(rel, 0, end), above, leaf;
		split(here, &above, &leaf);
		auto_free char *name = mem_dup(leaf.ptr, leaf.len), *prefix = mem_dup(here.ptr, here.len);
		int next = sys_path_open(u->root, prefix, O_RDONLY | O_DIRECTORY, 0);
		if (next < 0 && (errno == ENOENT || errno == ENOTDIR)) {
			bool hides = u->overlay && is_whiteout_at(at, name); /* the old one stays hidden behind the new */
			if (hides && unlinkat(at, name, 0) < 0)
				return err_sys(err, "archive: remove whiteout of %s", prefix);
			if (mkdirat(at, name, 0755) < 0)
				return errno == EEXIST ? err_set(err, ERR_INVALID, "archive: %s: what stands there is no folder, or a link "
										   "that leads nowhere", prefix)
						       : err_sys(err, "archive: make folder %s", prefix);
			if (fchmodat(at, name, 0755, 0) < 0)
				return err_sys(err, "archive: chmod %s", prefix);
			if (hides && opaque_set(at, name, err) < 0)
				return -ERR_IO;
			implied_add(u, here);
			next = sys_path_open(u->root, prefix, O_RDONLY | O_DIRECTORY, 0);
		}
		if (next < 0)
			return err_sys(err, "archive: folder %s", prefix);
		fd_close(&at);
		at = next;
	}
	return take_fd(&at);
}

/* The descriptor of the folder that holds rel; kept open for the entries that follow. */
static int parent_open(struct unpack *u, struct span parent, struct err *err)
{
	if (u->parent >= 0 && span_eq(buf_span(&u->parent_rel), parent))
		return 0;
	parent_forget(u);
	int fd = folder_open(u, parent, err);
	if (fd < 0)
		return fd;
	u->parent = fd;
	buf_trunc(&u->parent_rel, 0);
	buf_span_add(&u->parent_rel, parent);
	return 0;
}

/* Takes away what stands at leaf; true in *out_hid when it was a whiteout. The open parent stays right: all that is changed
 * is changed in it, and whatever changes elsewhere opens another first. */
static int make_room(struct unpack *u, const char *leaf, bool *out_hid, struct err *err)
{
	struct stat st;
	if (fstatat(u->parent, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "archive: stat %s", leaf);
	*out_hid = u->overlay && snapshot_is_whiteout(&st);
	return snapshot_tree_remove(u->parent, leaf, err);
}

/* ---- whiteouts ---- */

static int opaque_in_copy(struct unpack *u, struct err *err)
{
	auto_buf struct buf prefix = {};
	buf_span_add(&prefix, buf_span(&u->parent_rel));
	if (prefix.len)
		buf_chr(&prefix, '/');
	size_t base = prefix.len;
	int fd = openat(u->parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return err_sys(err, "archive: read folder %s", buf_cstr(&prefix));
	}
	int rc = 0;
	struct dirent *e;
	/* Names are gathered first: removing while reading may skip some. */
	auto_arena struct arena names = {};
	struct name {
		struct name *next;
		char *text;
	} *list = NULL;
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
			struct name *n = arena_new(&names, struct name);
			*n = (struct name){ list, arena_cstr(&names, span_of(e->d_name)) };
			list = n;
		}
	closedir(d);
	for (; list && rc == 0; list = list->next) {
		buf_trunc(&prefix, base);
		buf_str(&prefix, list->text);
		if (!map_get(&u->seen, buf_span(&prefix)))
			rc = snapshot_tree_remove(u->parent, list->text, err);
	}
	return rc;
}

/* leaf begins with ".wh.". */
static int whiteout(struct unpack *u, struct span rel, const char *leaf, struct err *err)
{
	if (!strcmp(leaf, ".wh..wh..opq")) {
		if (!u->overlay)
			return opaque_in_copy(u, err);
		if (!u->parent_rel.len)
			u->p->opaque_root = true;
		return opaque_set(u->parent, ".", err);
	}
	if (span_starts(span_of(leaf), SPAN(".wh..wh.")))
		return 0;
	const char *name = leaf + 4;
	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return err_set(err, ERR_INVALID, "archive: \"%.*s\" removes no name", SPAN_ARG(rel));
	if (!u->overlay) {
		auto_buf struct buf target = {};
		buf_span_add(&target, buf_span(&u->parent_rel));
		if (target.len)
			buf_chr(&target, '/');
		buf_str(&target, name);
		if (map_get(&u->seen, buf_span(&target)))
			return 0;
		return snapshot_tree_remove(u->parent, name, err);
	}
	struct stat st;
	if (fstatat(u->parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0) /* this layer brought it: hide only what is below */
		return S_ISDIR(st.st_mode) ? opaque_set(u->parent, name, err) : 0;
	if (mknodat(u->parent, name, S_IFCHR, makedev(0, 0)) < 0)
		return err_sys(err, "archive: whiteout of %s", name);
	return 0;
}

/* ---- attributes ---- */

static int xattrs_set(struct unpack *u, const struct tar_entry *e, const char *leaf, struct err *err)
{
	for (size_t i = 0; i < e->n_xattrs; i++) {
		const struct tar_xattr *x = &e->xattrs[i];
		if (span_starts(x->name, SPAN("trusted.overlay.")))
			return err_set(err, ERR_INVALID, "archive: %.*s: attribute %.*s belongs to overlayfs", SPAN_ARG(e->path),
				SPAN_ARG(x->name));
		auto_free char *name = mem_dup(x->name.ptr, x->name.len);
		if (snapshot_xattr_set(u->parent, leaf, name, x->value) == 0)
			continue;
		if (strcmp(name, "security.capability") != 0 && (errno == EOPNOTSUPP || errno == EPERM || errno == EINVAL)) {
			u->facts->dropped_xattrs++;
			continue;
		}
		return err_sys(err, "archive: %.*s: set attribute %s", SPAN_ARG(e->path), name);
	}
	return 0;
}

/* fd >= 0: the file just written; else leaf in the parent. */
static int attributes(struct unpack *u, const struct tar_entry *e, struct span rel, const char *leaf, int fd, struct err *err)
{
	if (e->uid >= UINT32_MAX || e->gid >= UINT32_MAX)
		return err_set(err, ERR_INVALID, "archive: %.*s: owner %llu:%llu is out of range", SPAN_ARG(e->path),
			(unsigned long long)e->uid, (unsigned long long)e->gid);
	uid_t uid = (uid_t)e->uid;
	gid_t gid = (gid_t)e->gid;
	if ((fd >= 0 ? fchown(fd, uid, gid) : fchownat(u->parent, leaf, uid, gid, AT_SYMLINK_NOFOLLOW)) < 0)
		return err_sys(err, "archive: %.*s: chown", SPAN_ARG(e->path));
	if (e->kind != TAR_SYMLINK && (fd >= 0 ? fchmod(fd, e->mode) : fchmodat(u->parent, leaf, e->mode, 0)) < 0)
		return err_sys(err, "archive: %.*s: chmod", SPAN_ARG(e->path));
	int rc = e->n_xattrs ? xattrs_set(u, e, leaf, err) : 0;
	if (rc < 0)
		return rc;
	struct timespec times[2] = { e->atime.tv_nsec == UTIME_OMIT ? e->mtime : e->atime, e->mtime };
	if (e->kind == TAR_DIR) {
		MEM_GROW(u->late, u->n_late, u->cap_late);
		u->late[u->n_late++] = (struct late){ arena_cstr(&u->p->arena, rel), { times[0], times[1] } };
		return 0;
	}
	if ((fd >= 0 ? futimens(fd, times) : utimensat(u->parent, leaf, times, AT_SYMLINK_NOFOLLOW)) < 0)
		return err_sys(err, "archive: %.*s: set times", SPAN_ARG(e->path));
	return 0;
}

/* ---- entries ---- */

static int file_make(struct unpack *u, struct tar_reader *r, const struct tar_entry *e, struct span rel, const char *leaf,
	struct err *err)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	auto_fd int fd = openat(u->parent, leaf, flags, 0600);
	if (fd < 0 && errno == EEXIST) {
		bool hid = false;
		int rc = make_room(u, leaf, &hid, err);
		if (rc < 0)
			return rc;
		fd = openat(u->parent, leaf, flags, 0600);
	}
	if (fd < 0)
		return err_sys(err, "archive: create %.*s", SPAN_ARG(e->path));
	struct tar_piece piece;
	uint64_t unsent = 0;
	int rc;
	while ((rc = tar_data(r, &piece, err)) > 0) {
		struct span left = piece.data;
		unsent += left.len;
		off_t at = (off_t)piece.offset;
		while (left.len) {
			ssize_t n = pwrite(fd, left.ptr, left.len, at);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return err_sys(err, "archive: write %.*s", SPAN_ARG(e->path));
			left = span_from(left, (size_t)n);
			at += n;
		}
		/* The disk begins now, while the next piece is decompressed: the sync before the commit, whose word counts, then
		 * waits for little. Small files are left to it. */
		if (unsent >= SEND_BYTES) {
			(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
			unsent = 0;
		}
	}
	if (rc < 0)
		return rc;
	if (e->sparse && ftruncate(fd, (off_t)e->size) < 0)
		return err_sys(err, "archive: size of %.*s", SPAN_ARG(e->path));
	u->facts->bytes += e->size;
	return attributes(u, e, rel, leaf, fd, err);
}

static int dir_make(struct unpack *u, const struct tar_entry *e, struct span rel, const char *leaf, struct err *err)
{
	if (mkdirat(u->parent, leaf, 0700) < 0) {
		if (errno != EEXIST)
			return err_sys(err, "archive: make folder %.*s", SPAN_ARG(e->path));
		struct stat st;
		if (fstatat(u->parent, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(err, "archive: stat %.*s", SPAN_ARG(e->path));
		if (!S_ISDIR(st.st_mode)) {
			bool hid = false;
			int rc = make_room(u, leaf, &hid, err);
			if (rc < 0)
				return rc;
			if (mkdirat(u->parent, leaf, 0700) < 0)
				return err_sys(err, "archive: make folder %.*s", SPAN_ARG(e->path));
			if (hid && (rc = opaque_set(u->parent, leaf, err)) < 0)
				return rc;
		}
	}
	(void)map_remove(&u->implied, rel); /* it is named after all */
	return attributes(u, e, rel, leaf, -1, err);
}

static int hardlink_make(struct unpack *u, const struct tar_entry *e, const char *leaf, struct err *err)
{
	auto_buf struct buf target = {};
	int rc = clean(e->link, &target, err);
	if (rc < 0)
		return rc;
	struct span above, name;
	split(buf_span(&target), &above, &name);
	auto_free char *path = mem_dup(above.ptr ? above.ptr : "", above.len), *file = mem_dup(name.ptr, name.len);
	auto_fd int dir = sys_path_open(u->root, above.len ? path : "/", O_PATH | O_DIRECTORY, 0);
	struct stat st, here;
	if (dir < 0 || !name.len || fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(err, ERR_INVALID, "archive: %.*s: hard link to %.*s, which the layer does not have", SPAN_ARG(e->path),
			SPAN_ARG(e->link));
	if (S_ISDIR(st.st_mode) || (u->overlay && snapshot_is_whiteout(&st)))
		return err_set(err, ERR_INVALID, "archive: %.*s: hard link to %.*s, which is no file", SPAN_ARG(e->path),
			SPAN_ARG(e->link));
	if (fstatat(u->parent, leaf, &here, AT_SYMLINK_NOFOLLOW) == 0) {
		if (here.st_ino == st.st_ino && here.st_dev == st.st_dev)
			return 0; /* it is that file already; removing it first could lose it */
		bool hid = false;
		if ((rc = make_room(u, leaf, &hid, err)) < 0)
			return rc;
	}
	if (linkat(dir, file, u->parent, leaf, 0) < 0)
		return err_sys(err, "archive: link %.*s to %.*s", SPAN_ARG(e->path), SPAN_ARG(e->link));
	return 0;
}

static int other_make(struct unpack *u, const struct tar_entry *e, struct span rel, const char *leaf, struct err *err)
{
	if (e->kind == TAR_CHAR && !e->major && !e->minor)
		return err_set(err, ERR_INVALID, "archive: %.*s: character device 0:0 stands for a removed name", SPAN_ARG(e->path));
	bool hid = false;
	for (int again = 0;; again++) {
		int rc;
		switch (e->kind) {
		case TAR_SYMLINK:
			rc = symlinkat(e->link.ptr, u->parent, leaf);
			break;
		case TAR_FIFO:
			rc = mknodat(u->parent, leaf, S_IFIFO | 0600, 0);
			break;
		default:
			rc = mknodat(u->parent, leaf, (e->kind == TAR_CHAR ? S_IFCHR : S_IFBLK) | 0600, makedev(e->major, e->minor));
		}
		if (rc == 0)
			return attributes(u, e, rel, leaf, -1, err);
		if (errno != EEXIST || again)
			return err_sys(err, "archive: make %s %.*s", tar_kind_name(e->kind), SPAN_ARG(e->path));
		if ((rc = make_room(u, leaf, &hid, err)) < 0)
			return rc;
	}
}

static int entry_make(struct unpack *u, struct tar_reader *r, const struct tar_entry *e, struct buf *rel, struct err *err)
{
	int rc = clean(e->path, rel, err);
	if (rc < 0)
		return rc;
	struct span parent, leaf;
	split(buf_span(rel), &parent, &leaf);
	if (!leaf.len) { /* the root itself */
		if (e->kind != TAR_DIR)
			return err_set(err, ERR_INVALID, "archive: \"%.*s\" would replace the root", SPAN_ARG(e->path));
		rc = parent_open(u, SPAN_EMPTY, err);
		(void)map_remove(&u->implied, SPAN(""));
		return rc < 0 ? rc : attributes(u, e, SPAN("."), ".", -1, err);
	}
	if ((rc = parent_open(u, parent, err)) < 0)
		return rc;
	const char *name = leaf.ptr; /* 0-ended: it is the end of rel */
	if (span_starts(leaf, SPAN(".wh.")))
		return whiteout(u, buf_span(rel), name, err);
	switch (e->kind) {
	case TAR_FILE:
		rc = file_make(u, r, e, buf_span(rel), name, err);
		break;
	case TAR_DIR:
		rc = dir_make(u, e, buf_span(rel), name, err);
		break;
	case TAR_HARDLINK:
		rc = hardlink_make(u, e, name, err);
		break;
	default:
		rc = other_make(u, e, buf_span(rel), name, err);
	}
	seen_add(u, buf_span(rel));
	return rc;
}

static int late_set(struct unpack *u, struct err *err)
{
	for (size_t i = u->n_late; i-- > 0;) {
		struct late *l = &u->late[i];
		const char *name;
		if (!strcmp(l->rel, ".")) {
			if (futimens(u->root, l->times) < 0)
				return err_sys(err, "archive: set times of the root");
			continue;
		}
		auto_fd int dir = sys_path_parent(u->root, l->rel, &name);
		/* Something else may stand there by now: then the times were that one's to set. */
		if (dir >= 0 && utimensat(dir, name, l->times, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
			return err_sys(err, "archive: set times of %s", l->rel);
	}
	return 0;
}

static void unpack_done(struct unpack *u)
{
	parent_forget(u);
	buf_done(&u->parent_rel);
	map_done(&u->seen);
	map_done(&u->implied);
	free(u->late);
}

bool snapshot_needs_parent(const struct snapshot_store *s)
{
	return s->backend == SNAPSHOT_COPY;
}

void snapshot_unpack_drop(struct snapshot_pending *p)
{
	if (!p)
		return;
	fd_close(&p->fs);
	fd_close(&p->dir);
	if (p->name[0])
		snapshot_tmp_remove(p->s, p->name);
	arena_done(&p->arena);
	free(p->implied);
	free(p);
}

static int copy_parent(struct snapshot_store *s, const char *parent, int fs, struct err *err)
{
	struct lowers below = {};
	int rc = snapshot_lowers_open(s, parent, &below, err);
	if (rc == 0 && below.n)
		rc = snapshot_tree_copy(below.fds[0], fs, err);
	snapshot_lowers_done(&below);
	return rc;
}

int snapshot_unpack(struct snapshot_store *s, const char *parent, struct tar_source *from, struct snapshot_pending **out_pending,
	struct snapshot_unpacked *out_facts, struct err *err)
{
	struct snapshot_pending *p = mem_new(struct snapshot_pending);
	p->s = s;
	p->dir = p->fs = -1;
	int rc = snapshot_tmp_make(s, p->name, &p->dir, &p->fs, err);
	if (rc == 0 && s->backend == SNAPSHOT_COPY)
		rc = copy_parent(s, parent, p->fs, err);
	FAILPOINT("snapshot.unpack.begun");
	struct unpack u = { .p = p, .overlay = s->backend == SNAPSHOT_OVERLAY, .root = p->fs, .parent = -1, .facts = &p->facts };
	struct tar_reader *r = NULL;
	auto_buf struct buf rel = {};
	if (rc == 0) {
		const struct tar_entry *e;
		implied_add(&u, SPAN_EMPTY); /* the root too, until an entry names it */
		tar_reader_new(from, &s->limits, &r);
		while ((rc = tar_next(r, &e, err)) > 0) {
			if ((rc = entry_make(&u, r, e, &rel, err)) < 0)
				break;
			FAILPOINT("snapshot.unpack.entry");
		}
	}
	if (rc == 0)
		rc = tar_drain(r, err); /* whoever hashes the stream sees all of it */
	if (rc == 0)
		rc = late_set(&u, err);
	if (rc == 0) {
		p->facts.entries = tar_entries_read(r);
		MAP_EACH(&u.implied, e) {
			MEM_GROW(p->implied, p->n_implied, p->cap_implied);
			p->implied[p->n_implied++] = e->value;
		}
	}
	tar_reader_free(r);
	unpack_done(&u);
	FAILPOINT("snapshot.unpack.unpacked");
	if (rc < 0) {
		snapshot_unpack_drop(p);
		return rc;
	}
	if (out_facts)
		*out_facts = p->facts;
	*out_pending = p;
	return 0;
}
