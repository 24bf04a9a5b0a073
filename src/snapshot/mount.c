/* Trees out of layers: as a list of folders, and as a mount.
 *
 * mount(2) takes one page of options, so layers are named /proc/self/fd/N: 120 of them fit, whatever the data folder is
 * called, and no name is looked up twice. fsconfig's lowerdir+ would need Linux 6.5. The source of a mount is
 * "knarr-INODE/KEY" (the inode of our folder): by it a snapshot is found again among the mounts. */
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "snapshot/private.h"
#include "sys/sys.h"

enum { LAYERS_MAX = 127 }; /* as Docker: "max depth exceeded" */

bool snapshot_is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

bool snapshot_is_opaque(int dirfd, const char *rel)
{
	auto_buf struct buf path = {};
	char v = 0;
	buf_printf(&path, "/proc/self/fd/%d/%s", dirfd, rel);
	return lgetxattr(buf_cstr(&path), OPAQUE_XATTR, &v, 1) == 1 && v == 'y';
}

void snapshot_lowers_done(struct lowers *l)
{
	for (size_t i = 0; i < l->n; i++)
		fd_close(&l->fds[i]);
	free(l->fds);
	*l = (struct lowers){};
}

static int lowers_open(struct snapshot_store *s, int layers, const char *chain, struct lowers *out, struct err *err)
{
	char at[SNAPSHOT_CHAIN_LEN + 1];
	int rc = 0;
	snprintf(at, sizeof(at), "%s", chain);
	pthread_mutex_lock(&s->mutex);
	while (rc == 0 && *at) {
		const struct layer *l = map_get(&s->by_chain, span_of(at));
		if (!l) {
			rc = err_set(err, ERR_NOT_FOUND, "layer %.12s is not there", at);
			break;
		}
		if (out->n == LAYERS_MAX) {
			rc = err_set(err, ERR_TOO_LARGE, "max depth exceeded: more than %d layers", LAYERS_MAX);
			break;
		}
		char path[SNAPSHOT_CHAIN_LEN + 4];
		snprintf(path, sizeof(path), "%.64s/fs", at);
		int fd = openat(layers, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0) {
			rc = err_sys(err, "open layer %.12s", at);
			break;
		}
		MEM_GROW(out->fds, out->n, out->cap);
		out->fds[out->n++] = fd;
		if (l->opaque_root || s->backend == SNAPSHOT_COPY)
			break;
		memcpy(at, l->facts.parent, sizeof(at));
	}
	pthread_mutex_unlock(&s->mutex);
	if (rc < 0)
		snapshot_lowers_done(out);
	return rc;
}

int snapshot_lowers_open(struct snapshot_store *s, const char *chain, struct lowers *out, struct err *err)
{
	return lowers_open(s, s->layers, chain, out, err);
}

size_t snapshot_lowers_dir(const struct lowers *l, const unsigned *in, size_t n_in, const char *rel, unsigned *out)
{
	size_t n = 0;
	for (size_t i = 0; i < n_in; i++) {
		struct stat st;
		if (fstatat(l->fds[in[i]], rel, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (!S_ISDIR(st.st_mode)) /* a file or a whiteout hides what is below */
			break;
		out[n++] = in[i];
		if (snapshot_is_opaque(l->fds[in[i]], rel))
			break;
	}
	return n;
}

bool snapshot_lowers_find(const struct lowers *l, const unsigned *in, size_t n_in, const char *rel, struct stat *out_st,
	unsigned *out_index)
{
	for (size_t i = 0; i < n_in; i++)
		if (fstatat(l->fds[in[i]], rel, out_st, AT_SYMLINK_NOFOLLOW) == 0) {
			if (out_index)
				*out_index = in[i];
			return !snapshot_is_whiteout(out_st);
		}
	return false;
}

static int live_fs(struct snapshot_store *s, int live, const char *key, struct err *err)
{
	char path[160];
	if (!snapshot_has(s, key))
		return err_set(err, ERR_NOT_FOUND, "snapshot %s is not there", key);
	snprintf(path, sizeof(path), "%.128s/fs", key);
	int fd = openat(live, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "open snapshot %s", key) : fd;
}

int snapshot_live_fs(struct snapshot_store *s, const char *key, struct err *err)
{
	return live_fs(s, s->live, key, err);
}

/* The store's folders as this thread's mount namespace has them: overlayfs takes no folder of another namespace's mounts
 * (EINVAL), and our descriptors are of the one in which the store was opened. */
struct here {
	int dir, layers, live;
};

static void here_done(struct here *h)
{
	fd_close(&h->dir);
	fd_close(&h->layers);
	fd_close(&h->live);
}

static int here_open(const struct snapshot_store *s, struct here *out, struct err *err)
{
	struct stat ours, st;
	*out = (struct here){ open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), -1, -1 };
	if (out->dir < 0 || fstat(out->dir, &st) < 0 || fstat(s->dirfd, &ours) < 0)
		return err_sys(err, "open %s", s->dir);
	if (st.st_ino != ours.st_ino || st.st_dev != ours.st_dev)
		return err_set(err, ERR_UNAVAILABLE, "%s is another folder in this mount namespace", s->dir);
	out->layers = openat(out->dir, "layers", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	out->live = openat(out->dir, "live", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return out->layers < 0 || out->live < 0 ? err_sys(err, "open the folders of %s", s->dir) : 0;
}

/* ---- what is mounted ---- */

static void source_name(const struct snapshot_store *s, const char *key, struct buf *out)
{
	struct stat st;
	buf_printf(out, "knarr-%llx/%s", fstat(s->dirfd, &st) == 0 ? (unsigned long long)st.st_ino : 0ULL, key);
}

bool snapshot_mounted(struct snapshot_store *s, const char *key)
{
	/* mountinfo: ID PARENT MAJ:MIN ROOT TARGET OPTIONS [..] - TYPE SOURCE ... (proc(5)). A bind mount shows our folder's
	 * path within its file system as ROOT; whether it is ours and not another store's, the inode says. */
	auto_buf struct buf text = {}, source = {}, root = {};
	if (io_read_file(AT_FDCWD, "/proc/self/mountinfo", &text, 64 << 20, NULL) < 0)
		return true; /* not known: better not to remove */
	source_name(s, key, &source);
	buf_printf(&root, "live/%s/fs", key);
	struct stat ours, st;
	bool known = fstatat(s->dirfd, buf_cstr(&root), &ours, AT_SYMLINK_NOFOLLOW) == 0;
	struct span rest = buf_span(&text), line;
	while (span_cut(&rest, '\n', &line)) {
		struct span word = SPAN_EMPTY, target = SPAN_EMPTY;
		ptrdiff_t dash = span_find(line, SPAN(" - overlay "));
		struct span tail = dash < 0 ? SPAN_EMPTY : span_from(line, (size_t)dash + 11);
		if (tail.len && span_cut(&tail, ' ', &word) && span_eq(word, buf_span(&source)))
			return true;
		for (int i = 0; i < 4 && span_cut(&line, ' ', &word); i++)
			;
		if (!known || !span_ends(word, buf_span(&root)) || !span_cut(&line, ' ', &target))
			continue;
		auto_free char *path = mem_dup(target.ptr, target.len);
		if (stat(path, &st) == 0 && st.st_dev == ours.st_dev && st.st_ino == ours.st_ino)
			return true;
	}
	return false;
}

static bool is_mount_point(const char *target)
{
	struct statx sx;
	if (statx(AT_FDCWD, target, AT_SYMLINK_NOFOLLOW, 0, &sx) == 0 && (sx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT))
		return sx.stx_attributes & STATX_ATTR_MOUNT_ROOT; /* since 5.8; else the kernel's list is read */
	auto_free char *real = realpath(target, NULL);
	auto_buf struct buf text = {};
	if (!real || io_read_file(AT_FDCWD, "/proc/self/mountinfo", &text, 64 << 20, NULL) < 0)
		return false;
	struct span rest = buf_span(&text), line, word;
	while (span_cut(&rest, '\n', &line)) {
		for (int i = 0; i < 5 && span_cut(&line, ' ', &word); i++)
			;
		if (span_is(word, real)) /* targets with blanks are written with escapes and are not compared: none of ours has one */
			return true;
	}
	return false;
}

/* ---- mounting ---- */

static int target_ready(const char *target, struct err *err)
{
	if (mkdir(target, 0755) == 0) /* just made: nothing is mounted there */
		return 0;
	int rc = io_mkdirs(AT_FDCWD, target, 0755, err);
	if (rc == 0 && is_mount_point(target))
		return err_set(err, ERR_IN_USE, "%s: something is mounted there already", target);
	return rc;
}

static int bind(int fs, const char *target, bool read_only, struct err *err)
{
	char from[40];
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fs);
	if (mount(from, target, NULL, MS_BIND, NULL) < 0)
		return err_sys(err, "mount %s", target);
	if (read_only && mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0) {
		int num = errno;
		(void)umount2(target, MNT_DETACH); /* the first error counts */
		return err_sys_num(err, num, "mount %s read-only", target);
	}
	return 0;
}

/* upper and work -1 = none. */
static int overlay(const char *source, const struct lowers *lowers, int upper, int work, bool unsynced, const char *target,
	bool read_only, struct err *err)
{
	auto_buf struct buf data = {};
	buf_str(&data, "lowerdir=");
	for (size_t i = 0; i < lowers->n; i++)
		buf_printf(&data, "%s/proc/self/fd/%d", i ? ":" : "", lowers->fds[i]);
	if (upper >= 0)
		buf_printf(&data, ",upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d", upper, work);
	size_t plain = data.len;
	/* A layer must mean the same on another machine: no redirects, no files without their data. */
	buf_str(&data, ",index=off,redirect_dir=off,metacopy=off");
	unsigned long flags = read_only ? MS_RDONLY : 0;
	/* Without this option every unmount syncs the whole file system that the upper folder is on, and waits for it
	 * (overlayfs.rst, "Volatile mount"). A mark that it leaves forbids the next mount, for the kernel cannot know whether
	 * there was a power cut; we do: then there is no such snapshot any more. */
	if (unsynced) {
		/* Of the mount before; there is none the first time. */
		(void)unlinkat(work, "work/incompat/volatile/dirty", 0);
		(void)unlinkat(work, "work/incompat/volatile", AT_REMOVEDIR);
		(void)unlinkat(work, "work/incompat", AT_REMOVEDIR);
	}
	if (unsynced && !read_only) {
		size_t synced = data.len;
		buf_str(&data, ",volatile");
		if (mount(source, target, "overlay", flags, buf_cstr(&data)) == 0)
			return 0;
		if (errno != EINVAL) /* before 5.10 */
			return err_sys(err, "mount overlay on %s", target);
		buf_trunc(&data, synced);
	}
	if (mount(source, target, "overlay", flags, buf_cstr(&data)) == 0)
		return 0;
	if (errno == EINVAL) { /* before 4.19 there is no metacopy, and nothing to switch off */
		buf_trunc(&data, plain);
		if (mount(source, target, "overlay", flags, buf_cstr(&data)) == 0)
			return 0;
	}
	return err_sys(err, "mount overlay on %s", target);
}

int snapshot_mount(struct snapshot_store *s, const char *key, const char *target, bool read_only, struct err *err)
{
	char parent[SNAPSHOT_CHAIN_LEN + 1];
	bool unsynced;
	int rc = snapshot_live_facts(s, key, parent, &unsynced, err);
	if (rc == 0)
		rc = target_ready(target, err);
	if (rc < 0)
		return rc;
	auto_cleanup(here_done) struct here here = { -1, -1, -1 };
	if ((rc = here_open(s, &here, err)) < 0)
		return rc;
	auto_fd int fs = live_fs(s, here.live, key, err);
	if (fs < 0)
		return fs;
	if (s->backend == SNAPSHOT_COPY || !*parent) /* nothing below: the folder itself */
		return bind(fs, target, read_only, err);
	char path[160];
	snprintf(path, sizeof(path), "%.128s/work", key);
	if (mkdirat(here.live, path, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make the work folder of %s", key);
	auto_fd int work = openat(here.live, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (work < 0)
		return err_sys(err, "open the work folder of %s", key);
	struct lowers below = {};
	auto_buf struct buf source = {};
	source_name(s, key, &source);
	if ((rc = lowers_open(s, here.layers, parent, &below, err)) == 0)
		rc = overlay(buf_cstr(&source), &below, fs, work, unsynced, target, read_only, err);
	snapshot_lowers_done(&below);
	return rc;
}

int snapshot_layer_mount(struct snapshot_store *s, const char *chain, const char *target, struct err *err)
{
	int rc = target_ready(target, err);
	if (rc < 0)
		return rc;
	struct lowers below = {};
	auto_cleanup(here_done) struct here here = { -1, -1, -1 };
	if ((rc = here_open(s, &here, err)) < 0 || (rc = lowers_open(s, here.layers, chain, &below, err)) < 0)
		return rc;
	if (s->backend == SNAPSHOT_COPY) {
		rc = bind(below.fds[0], target, true, err);
	} else {
		/* overlayfs wants two folders at least; an empty one at the bottom changes nothing. */
		if (mkdirat(here.dir, "empty", 0755) < 0 && errno != EEXIST)
			rc = err_sys(err, "make the empty folder");
		MEM_GROW(below.fds, below.n, below.cap);
		below.fds[below.n] = openat(here.dir, "empty", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (rc == 0 && below.fds[below.n] < 0)
			rc = err_sys(err, "open the empty folder");
		below.n++;
		auto_buf struct buf source = {};
		source_name(s, chain, &source);
		if (rc == 0)
			rc = overlay(buf_cstr(&source), &below, -1, -1, false, target, true, err);
	}
	snapshot_lowers_done(&below);
	return rc;
}

int snapshot_unmount(const char *target, struct err *err)
{
	if (umount2(target, UMOUNT_NOFOLLOW) == 0)
		return 0;
	return errno == EINVAL ? err_set(err, ERR_NOT_FOUND, "%s: nothing is mounted there", target)
			       : err_sys(err, "unmount %s", target);
}
