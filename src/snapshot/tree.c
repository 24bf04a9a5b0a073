/* Whole trees: walking, counting, copying, removing. Nothing here recurses, and no more than a handful of descriptors is
 * open at a time, because a container may nest folders as deep as it likes. */
#include <sys/ioctl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "snapshot/private.h"
#include "sys/sys.h"

int snapshot_dir_open(int root, const char *rel, struct err *err)
{
	int fd = *rel ? sys_openat2(root, rel, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0,
				RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
		      : openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOSYS)
		fd = openat(root, rel, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "open folder /%s", rel) : fd;
}

/* ---- walking: a stack of folders still to be read, as paths ---- */

struct pending_dir {
	struct pending_dir *next;
	char rel[];
};

static void pending_push(struct pending_dir **stack, const char *rel)
{
	size_t len = strlen(rel) + 1;
	struct pending_dir *d = mem_alloc(sizeof(*d) + len);
	memcpy(d->rel, rel, len);
	d->next = *stack;
	*stack = d;
}

static void closedir_auto(DIR **d)
{
	if (*d)
		closedir(*d);
}

static int dir_each(int root, const char *rel, struct pending_dir **stack,
	int (*fn)(int dirfd, const char *rel, const char *name, const struct stat *st, void *arg, struct err *err), void *arg,
	struct err *err)
{
	auto_err struct err why = ERR_INIT;
	int fd = snapshot_dir_open(root, rel, &why);
	if (fd < 0 && *rel && (why.errnum == ENOENT || why.errnum == ENOTDIR || why.errnum == ELOOP))
		return 0; /* a running container removed it, or put something else there */
	if (fd < 0)
		return err_move(err, &why);
	auto_cleanup(closedir_auto) DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_sys(err, "read folder /%s", rel);
	}
	auto_buf struct buf path = {};
	for (;;) {
		errno = 0;
		struct dirent *e = readdir(d);
		if (!e)
			return errno ? err_sys(err, "read folder /%s", rel) : 0;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		struct stat st;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			if (errno == ENOENT) /* a running container may remove it meanwhile */
				continue;
			return err_sys(err, "stat /%s/%s", rel, e->d_name);
		}
		buf_trunc(&path, 0);
		if (*rel) {
			buf_str(&path, rel);
			buf_chr(&path, '/');
		}
		buf_str(&path, e->d_name);
		if (path.len > PATH_BYTES_MAX)
			return err_set(err, ERR_TOO_LARGE, "/%.64s...: a path of more than %d bytes", rel, PATH_BYTES_MAX);
		int rc = fn(fd, buf_cstr(&path), e->d_name, &st, arg, err);
		if (rc < 0)
			return rc;
		if (S_ISDIR(st.st_mode) && rc == 0)
			pending_push(stack, buf_cstr(&path));
	}
}

int snapshot_tree_each(int root, int (*fn)(int dirfd, const char *rel, const char *name, const struct stat *st, void *arg,
	struct err *err), void *arg, struct err *err)
{
	struct pending_dir *stack = NULL;
	int rc = 0;
	pending_push(&stack, "");
	while (stack) {
		struct pending_dir *d = stack;
		stack = d->next;
		if (rc == 0)
			rc = dir_each(root, d->rel, &stack, fn, arg, err);
		free(d);
	}
	return rc;
}

/* ---- walking in order: a stack of names still to be looked at, as paths; the last folder that was open stays so */

struct walk {
	int root;
	struct pending_dir *stack;
	int fd;            /* of the folder at; -1 = none */
	struct buf at;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Opens rel as the folder at hand. 1: a running container removed it, or put something else there. */
static int walk_enter(struct walk *w, struct span rel, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	if (w->fd >= 0 && span_eq(buf_span(&w->at), rel))
		return 0;
	fd_close(&w->fd);
	buf_trunc(&w->at, 0);
	buf_span_add(&w->at, rel);
	w->fd = snapshot_dir_open(w->root, buf_cstr(&w->at), &why);
	if (w->fd >= 0)
		return 0;
	w->fd = -1;
	if (rel.len && (why.errnum == ENOENT || why.errnum == ENOTDIR || why.errnum == ELOOP))
		return 1;
	return err_move(err, &why);
}

/* Puts the names of the folder at hand on the stack, the first one on top. */
static int walk_names(struct walk *w, struct err *err)
{
	auto_arena struct arena a = {};
	auto_free char **names = NULL;
	size_t n = 0, cap = 0;
	int fd = fcntl(w->fd, F_DUPFD_CLOEXEC, 0);
	auto_cleanup(closedir_auto) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return err_sys(err, "read folder /%s", buf_cstr(&w->at));
	}
	for (struct dirent *e; errno = 0, (e = readdir(d));) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (w->at.len + 1 + strlen(e->d_name) > PATH_BYTES_MAX)
			return err_set(err, ERR_TOO_LARGE, "/%.64s...: a path of more than %d bytes", buf_cstr(&w->at), PATH_BYTES_MAX);
		MEM_GROW(names, n, cap);
		names[n++] = arena_cstr(&a, span_of(e->d_name));
	}
	if (errno)
		return err_sys(err, "read folder /%s", buf_cstr(&w->at));
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	auto_buf struct buf path = {};
	while (n) {
		buf_trunc(&path, 0);
		buf_printf(&path, "%s%s%s", buf_cstr(&w->at), w->at.len ? "/" : "", names[--n]);
		pending_push(&w->stack, buf_cstr(&path));
	}
	return 0;
}

int snapshot_tree_each_sorted(int root, int (*fn)(int dirfd, const char *rel, const char *name, const struct stat *st, void *arg,
	struct err *err), void *arg, struct err *err)
{
	struct walk w = { .root = root, .fd = -1 };
	int rc = walk_enter(&w, SPAN_EMPTY, err);
	rc = rc < 0 ? rc : walk_names(&w, err);
	for (struct pending_dir *d; (d = w.stack); free(d)) {
		w.stack = d->next;
		if (rc < 0)
			continue;
		struct span rel = span_of(d->rel);
		ptrdiff_t slash = span_rchr(rel, '/');
		const char *name = d->rel + slash + 1;
		struct stat st;
		rc = walk_enter(&w, span_sub(rel, 0, (size_t)MAX(slash, (ptrdiff_t)0)), err);
		if (rc != 0)
			rc = MIN(rc, 0);
		else if (fstatat(w.fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			rc = errno == ENOENT ? 0 : err_sys(err, "stat /%s", d->rel);
		else if ((rc = fn(w.fd, d->rel, name, &st, arg, err)) == 0 && S_ISDIR(st.st_mode) && (rc = walk_enter(&w, rel, err)) == 0)
			rc = walk_names(&w, err);
	}
	fd_close(&w.fd);
	buf_done(&w.at);
	return MIN(rc, 0);
}

/* ---- removing ----
 *
 * Folders deeper than DEPTH are moved up beside the root of the removal first (a rename), and so become roots of their own. */

enum { DEPTH = 32 };

struct removal {
	int base;         /* where the root and the moved folders stand */
	struct pending_dir *todo; /* names in base */
};

/* Under a name that nothing there has: not of another removal in this folder, not of one that died. */
static int move_up(struct removal *r, int at, const char *name, char moved[static 64])
{
	static _Atomic unsigned last;
	for (unsigned tries = 0; tries < 100000; tries++) {
		(void)snprintf(moved, 64, ".deep-%d-%u", (int)getpid(), ++last);
		if (renameat2(at, name, r->base, moved, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -1;
	}
	return -1;
}

static int remove_in(struct removal *r, int top, const char *name, struct err *err)
{
	/* frames[i] is open while what is in it is removed */
	struct {
		DIR *dir;
		char name[NAME_MAX + 1];
	} frames[DEPTH];
	int depth = 0, rc = 0;
	const char *enter = name;
	for (;;) {
		if (enter) {
			int at = depth ? dirfd(frames[depth - 1].dir) : top;
			if (unlinkat(at, enter, 0) == 0 || errno == ENOENT) {
				enter = NULL;
			} else if (errno != EISDIR && errno != EPERM) {
				rc = err_sys(err, "remove %s", enter);
				break;
			} else if (unlinkat(at, enter, AT_REMOVEDIR) == 0) {
				enter = NULL;
			} else if (errno != ENOTEMPTY && errno != EEXIST) {
				rc = err_sys(err, "remove %s", enter);
				break;
			} else if (depth == DEPTH) {
				char moved[64];
				if (move_up(r, at, enter, moved) < 0) {
					rc = err_sys(err, "move %s", enter);
					break;
				}
				pending_push(&r->todo, moved);
				enter = NULL;
			} else {
				int fd = openat(at, enter, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
				DIR *d = fd < 0 ? NULL : fdopendir(fd);
				if (!d) {
					rc = err_sys(err, "open %s", enter);
					fd_close(&fd);
					break;
				}
				frames[depth].dir = d;
				snprintf(frames[depth].name, sizeof(frames[depth].name), "%s", enter);
				depth++;
				enter = NULL;
			}
			if (!depth)
				return 0;
		}
		assert(depth > 0); /* at 0 we returned */
		errno = 0;
		struct dirent *e = readdir(frames[depth - 1].dir);
		if (e) {
			if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
				enter = e->d_name;
			continue;
		}
		if (errno) {
			rc = err_sys(err, "read %s", frames[depth - 1].name);
			break;
		}
		depth--;
		closedir(frames[depth].dir);
		int at = depth ? dirfd(frames[depth - 1].dir) : top;
		if (unlinkat(at, frames[depth].name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
			rc = err_sys(err, "remove %s", frames[depth].name);
			break;
		}
		if (!depth)
			return 0;
	}
	while (depth)
		closedir(frames[--depth].dir);
	return rc;
}

int snapshot_tree_remove(int dirfd, const char *name, struct err *err)
{
	struct removal r = { .base = dirfd };
	int rc = remove_in(&r, dirfd, name, err);
	while (r.todo) {
		struct pending_dir *d = r.todo;
		r.todo = d->next;
		if (rc == 0)
			rc = remove_in(&r, dirfd, d->rel, err);
		free(d);
	}
	return rc;
}

/* ---- hard links ---- */

const char *snapshot_inode_put(struct inodes *i, const struct stat *st, const char *rel)
{
	uint64_t id[2] = { st->st_dev, st->st_ino };
	struct span key = span_make(id, sizeof(id));
	const char *earlier = map_get(&i->map, key);
	if (!earlier)
		map_put(&i->map, arena_span(&i->arena, key), arena_cstr(&i->arena, span_of(rel)));
	return earlier;
}

void snapshot_inodes_done(struct inodes *i)
{
	map_done(&i->map);
	arena_done(&i->arena);
}

/* ---- counting ---- */

struct count {
	struct inodes inodes;
	uint64_t entries, bytes;
};

static int count_one(int dirfd, const char *rel, const char *name, const struct stat *st, void *arg, struct err *err)
{
	struct count *c = arg;
	c->entries++;
	if (S_ISREG(st->st_mode) && (st->st_nlink == 1 || !snapshot_inode_put(&c->inodes, st, "-")))
		c->bytes += (uint64_t)st->st_size;
	return 0;
}

int snapshot_tree_count(int root, uint64_t *out_entries, uint64_t *out_bytes, struct err *err)
{
	struct count c = {};
	int rc = snapshot_tree_each(root, count_one, &c, err);
	snapshot_inodes_done(&c.inodes);
	if (rc == 0) {
		*out_entries = c.entries;
		*out_bytes = c.bytes;
	}
	return rc;
}

/* ---- attributes ---- */

/* The path by which the kernel finds dirfd/name without following name: attribute calls take no directory descriptor. */
static void proc_path(struct buf *out, int dirfd, const char *name)
{
	buf_printf(out, "/proc/self/fd/%d/%s", dirfd, name);
}

int snapshot_xattr_set(int dirfd, const char *name, const char *attr, struct span value)
{
	auto_buf struct buf path = {};
	proc_path(&path, dirfd, name);
	return lsetxattr(buf_cstr(&path), attr, value.ptr ? value.ptr : "", value.len, 0);
}

int snapshot_xattrs_each(int dirfd, const char *name, int (*fn)(const char *attr, struct span value, void *arg, struct err *err),
	void *arg, struct err *err)
{
	auto_buf struct buf path = {};
	proc_path(&path, dirfd, name);
	char small[1024];
	ssize_t n = llistxattr(buf_cstr(&path), small, sizeof(small));
	auto_free char *big = NULL;
	const char *names = small;
	if (n < 0 && errno == ERANGE) { /* the kernel bounds the list to 64 KB */
		big = mem_alloc(65536);
		n = llistxattr(buf_cstr(&path), big, 65536);
		names = big;
	}
	if (n < 0)
		return errno == EOPNOTSUPP || errno == ENOENT ? 0 : err_sys(err, "list attributes of %s", name);
	for (const char *p = names; p < names + n; p += strlen(p) + 1) {
		/* What belongs to the place and not to the file: overlay's own marks, labels. */
		if (!span_starts(span_of(p), SPAN("user.")) && strcmp(p, "security.capability") != 0 &&
		    !span_starts(span_of(p), SPAN("system.posix_acl_")))
			continue;
		auto_free char *value = mem_alloc(65536);
		ssize_t len = lgetxattr(buf_cstr(&path), p, value, 65536);
		if (len < 0) {
			if (errno == ENODATA)
				continue;
			return err_sys(err, "read attribute %s of %s", p, name);
		}
		int rc = fn(p, span_make(value, (size_t)len), arg, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- copying ---- */

#define COPY_PIECE (UINT64_C(64) << 20) /* between two looks at the wish to end */

struct copy {
	int to;
	int (*check)(void *arg, struct err *err); /* NULL = it always goes on */
	void *arg;
	struct inodes inodes;
	struct dir_times {
		char *rel; /* in inodes.arena */
		struct timespec times[2];
	} *dirs; /* owned: a folder's times are set when nothing changes in it any more */
	size_t n_dirs, cap_dirs;
};

struct place {
	int dirfd;
	const char *name;
};

static int copy_attr(const char *attr, struct span value, void *arg, struct err *err)
{
	const struct place *p = arg;
	if (snapshot_xattr_set(p->dirfd, p->name, attr, value) < 0)
		return err_sys(err, "set attribute %s of %s", attr, p->name);
	return 0;
}

static int copy_contents(const struct copy *c, int from, int to, uint64_t size, const char *rel, struct err *err)
{
	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	while (size) {
		FAILPOINT("snapshot.copy.piece"); /* sleeps in a test: somebody wants it to end */
		int rc = c->check ? c->check(c->arg, err) : 0;
		if (rc < 0)
			return rc;
		ssize_t n = copy_file_range(from, NULL, to, NULL, MIN(size, COPY_PIECE), 0);
		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS))
			n = sendfile(to, from, NULL, MIN(size, COPY_PIECE));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "copy /%s", rel);
		if (n == 0)
			return err_set(err, ERR_STALE, "copy /%s: it became shorter meanwhile", rel);
		size -= (uint64_t)n;
	}
	return 0;
}

static int copy_attrs(int fromdir, const char *name, const struct stat *st, int todir, const char *rel, struct err *err)
{
	if (fchownat(todir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "chown /%s", rel);
	struct place p = { todir, name };
	int rc = snapshot_xattrs_each(fromdir, name, copy_attr, &p, err);
	if (rc < 0)
		return rc;
	if (!S_ISLNK(st->st_mode) && fchmodat(todir, name, st->st_mode & 07777, 0) < 0)
		return err_sys(err, "chmod /%s", rel);
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	if (utimensat(todir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "set times of /%s", rel);
	return 0;
}

static int copy_one(int dirfd, const char *rel, const char *name, const struct stat *st, void *arg, struct err *err)
{
	struct copy *c = arg;
	char parent[PATH_BYTES_MAX + 1];
	int rc = c->check ? c->check(c->arg, err) : 0;
	if (rc < 0)
		return rc;
	snprintf(parent, sizeof(parent), "%.*s", (int)MAX((ptrdiff_t)0, span_rchr(span_of(rel), '/')), rel);
	auto_fd int to = snapshot_dir_open(c->to, parent, err);
	if (to < 0)
		return to;
	if (!S_ISDIR(st->st_mode) && st->st_nlink > 1) {
		const char *earlier = snapshot_inode_put(&c->inodes, st, rel);
		if (earlier)
			return linkat(c->to, earlier, to, name, 0) < 0 ? err_sys(err, "link /%s", rel) : 0;
	}
	if (S_ISREG(st->st_mode)) {
		auto_fd int in = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (in < 0)
			return err_sys(err, "open /%s", rel);
		auto_fd int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (out < 0)
			return err_sys(err, "create /%s", rel);
		rc = copy_contents(c, in, out, (uint64_t)st->st_size, rel, err);
	} else if (S_ISDIR(st->st_mode)) {
		if (mkdirat(to, name, 0700) < 0)
			rc = err_sys(err, "make folder /%s", rel);
		MEM_GROW(c->dirs, c->n_dirs, c->cap_dirs);
		c->dirs[c->n_dirs++] = (struct dir_times){ arena_cstr(&c->inodes.arena, span_of(rel)), { st->st_atim, st->st_mtim } };
	} else if (S_ISLNK(st->st_mode)) {
		char target[PATH_BYTES_MAX + 1];
		ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);
		if (n < 0)
			return err_sys(err, "read link /%s", rel);
		target[n] = 0;
		if (symlinkat(target, to, name) < 0)
			rc = err_sys(err, "link /%s", rel);
	} else if (S_ISSOCK(st->st_mode)) {
		return 0;
	} else if (mknodat(to, name, st->st_mode & (S_IFMT | 0600), st->st_rdev) < 0) {
		rc = err_sys(err, "make device /%s", rel);
	}
	return rc < 0 ? rc : copy_attrs(dirfd, name, st, to, rel, err);
}

int snapshot_tree_copy(int from, int to, struct err *err)
{
	return snapshot_tree_copy_while(from, to, NULL, NULL, err);
}

int snapshot_tree_copy_while(int from, int to, int (*check)(void *arg, struct err *err), void *arg, struct err *err)
{
	struct copy c = { .to = to, .check = check, .arg = arg };
	struct stat st;
	if (fstat(from, &st) < 0)
		return err_sys(err, "stat the folder to copy");
	int rc = snapshot_tree_each(from, copy_one, &c, err);
	for (size_t i = c.n_dirs; rc == 0 && i-- > 0;)
		if (utimensat(to, c.dirs[i].rel, c.dirs[i].times, AT_SYMLINK_NOFOLLOW) < 0)
			rc = err_sys(err, "set times of /%s", c.dirs[i].rel);
	if (rc == 0)
		rc = copy_attrs(from, ".", &st, to, "", err);
	free(c.dirs);
	snapshot_inodes_done(&c.inodes);
	return rc;
}
