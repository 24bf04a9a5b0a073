/* The atomic writer. */
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "kubelet/files.h"
#include "snapshot/snapshot.h"
#include "sys/sys.h"

#define DATA "..data"
enum { FILE_BYTES = 4 << 20, NAMES_MAX = 4096 };

/* Relative, without "..", not beginning with ".." (that is ours): validatePath of upstream, and its words. */
static int path_check(struct span path, struct err *err)
{
	struct span rest = path, part;
	if (!path.len)
		return err_set(err, ERR_INVALID, "invalid path: must not be empty: \"\"");
	if (path.ptr[0] == '/')
		return err_set(err, ERR_INVALID, "invalid path: must be relative path: %.*s", SPAN_ARG(path));
	if (path.len > 4095 || memchr(path.ptr, 0, path.len))
		return err_set(err, ERR_INVALID, "invalid path: must be less than or equal to 4096 characters");
	while (span_cut(&rest, '/', &part)) {
		if (span_is(part, ".."))
			return err_set(err, ERR_INVALID, "invalid path: must not contain '..': %.*s", SPAN_ARG(path));
		if (part.len > 255)
			return err_set(err, ERR_INVALID, "invalid path: filenames must be less than or equal to 255 characters");
	}
	if (span_starts(path, SPAN("..")))
		return err_set(err, ERR_INVALID, "invalid path: must not start with '..': %.*s", SPAN_ARG(path));
	return 0;
}

static mode_t mode_of(const struct kl_file *f, int64_t gid)
{
	return (f->mode & 07777) | (gid >= 0 ? 0440 : 0);
}

static bool same_file(int dir, const struct kl_file *f, int64_t gid)
{
	auto_arena struct arena a = {};
	auto_buf struct buf now = {};
	struct stat st;
	const char *name = arena_cstr(&a, f->path);
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size == f->data.len &&
	       (st.st_mode & 07777) == mode_of(f, gid) && (f->uid < 0 || st.st_uid == (uid_t)f->uid) &&
	       (gid < 0 || st.st_gid == (gid_t)gid) && io_read_file(dir, name, &now, FILE_BYTES, NULL) == 0 && span_eq(buf_span(&now),
		f->data);
}

/* How many files a generation holds; it is ours and flat but for the folders of items. */
static unsigned count(int dir, unsigned depth)
{
	unsigned n = 0;
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return 0;
	}
	const struct dirent *e;
	while ((e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (e->d_type != DT_DIR) {
			n++;
			continue;
		}
		auto_fd int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0 && depth)
			n += count(sub, depth - 1);
	}
	(void)closedir(d);
	return n;
}

static bool same_all(int top, const char *generation, const struct kl_file *files, unsigned n, int64_t gid)
{
	auto_fd int dir = openat(top, generation, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || count(dir, 64) != n)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (!same_file(dir, &files[i], gid))
			return false;
	return true;
}

static int folder_own(int fd, int64_t gid)
{
	return gid < 0 ? 0 : fchown(fd, (uid_t)-1, (gid_t)gid) < 0 || fchmod(fd, 02775) < 0 ? -1 : 0;
}

/* Folders of the path, each made and owned; the descriptor of the last. */
static int folders(int dir, struct span *path, int64_t gid)
{
	auto_fd int here = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	ptrdiff_t slash;
	while (here >= 0 && (slash = span_chr(*path, '/')) >= 0) {
		char name[256];
		struct span part = span_sub(*path, 0, (size_t)slash);
		*path = span_from(*path, (size_t)slash + 1);
		if (!part.len || span_is(part, "."))
			continue;
		memcpy(name, part.ptr, part.len);
		name[part.len] = 0;
		bool made = mkdirat(here, name, 0755) == 0;
		if (!made && errno != EEXIST)
			return -1;
		int next = openat(here, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		fd_close(&here);
		here = next;
		if (here >= 0 && made && (fchmod(here, 0755) < 0 || folder_own(here, gid) < 0))
			return -1;
	}
	return take_fd(&here);
}

static int file_write(int dir, const struct kl_file *f, int64_t gid, struct err *err)
{
	auto_arena struct arena a = {};
	struct span last = f->path;
	auto_fd int parent = folders(dir, &last, gid);
	auto_fd int fd = parent < 0 ? -1 : openat(parent, arena_cstr(&a, last), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		0600);
	if (fd < 0)
		return err_sys(err, "create %.*s", SPAN_ARG(f->path));
	int rc = io_write_all(fd, f->data.ptr, f->data.len, err);
	if (rc < 0)
		return rc;
	if (((f->uid >= 0 || gid >= 0) && fchown(fd, f->uid >= 0 ? (uid_t)f->uid : (uid_t)-1, gid >= 0 ? (gid_t)gid : (gid_t)-1) < 0) ||
	    fchmod(fd, mode_of(f, gid)) < 0)
		return err_sys(err, "owner and mode of %.*s", SPAN_ARG(f->path));
	return 0;
}

/* A new generation beneath top; its name goes into out. */
static int generation_make(int top, char out[64], const struct kl_file *files, unsigned n, int64_t gid, struct err *err)
{
	for (unsigned tries = 0;; tries++) {
		struct timespec now;
		struct tm tm;
		char when[32];
		(void)clock_gettime(CLOCK_REALTIME, &now);
		(void)gmtime_r(&now.tv_sec, &tm);
		(void)strftime(when, sizeof(when), "%Y_%m_%d_%H_%M_%S", &tm);
		(void)snprintf(out, 64, "..%s.%09ld", when, now.tv_nsec);
		if (mkdirat(top, out, 0755) == 0)
			break;
		if (errno != EEXIST || tries == 16)
			return err_sys(err, "create %s", out);
	}
	auto_fd int dir = openat(top, out, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int rc = dir < 0 || fchmod(dir, 0755) < 0 || folder_own(dir, gid) < 0 ? err_sys(err, "open %s", out) : 0;
	for (unsigned i = 0; rc == 0 && i < n; i++)
		rc = file_write(dir, &files[i], gid, err);
	if (rc < 0)
		(void)snapshot_tree_remove(top, out, NULL);
	return rc;
}

static struct span first_part(struct span path)
{
	struct span head, tail;
	return span_split(path, '/', &head, &tail) ? head : path;
}

/* The names that people see: one link each; what is not wanted any more goes. */
static int links_make(int top, const struct kl_file *files, unsigned n, struct err *err)
{
	for (unsigned i = 0; i < n; i++) {
		char to[300], name[256];
		struct span first = first_part(files[i].path);
		(void)snprintf(name, sizeof(name), "%.*s", SPAN_ARG(first));
		(void)snprintf(to, sizeof(to), DATA "/%.*s", SPAN_ARG(first));
		if (symlinkat(to, top, name) < 0 && errno != EEXIST)
			return err_sys(err, "link %s", name);
	}
	return 0;
}

static void links_sweep(int top, const char *generation, const struct kl_file *files, unsigned n)
{
	int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return;
	}
	const struct dirent *e;
	unsigned seen = 0;
	while ((e = readdir(d)) && seen++ < NAMES_MAX) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strcmp(e->d_name, DATA) == 0 ||
		    strcmp(e->d_name, generation) == 0)
			continue;
		bool wanted = false;
		for (unsigned i = 0; i < n && !wanted; i++)
			wanted = span_is(first_part(files[i].path), e->d_name);
		if (!wanted)
			(void)snapshot_tree_remove(top, e->d_name, NULL); /* a leftover harms nobody: the next change tries again */
	}
	(void)closedir(d);
}

int kl_files_write(const char *path, const struct kl_file *files, unsigned n, int64_t gid, struct err *err)
{
	char old[64] = "", made[64];
	for (unsigned i = 0; i < n; i++) {
		int rc = path_check(files[i].path, err);
		if (rc < 0)
			return rc;
	}
	auto_fd int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top < 0)
		return err_sys(err, "open %s", path);
	ssize_t len = readlinkat(top, DATA, old, sizeof(old) - 1);
	old[len > 0 ? len : 0] = 0;
	if (old[0] && !strchr(old, '/') && same_all(top, old, files, n, gid)) {
		int rc = links_make(top, files, n, err); /* died behind the rename */
		links_sweep(top, old, files, n);
		return rc;
	}
	int rc = generation_make(top, made, files, n, gid, err);
	if (rc < 0)
		return rc;
	FAILPOINT("kubelet.files.written");
	(void)unlinkat(top, DATA "_tmp", 0);
	if (symlinkat(made, top, DATA "_tmp") < 0 || renameat(top, DATA "_tmp", top, DATA) < 0) {
		rc = err_sys(err, "put %s in place", made);
		(void)snapshot_tree_remove(top, made, NULL);
		return rc;
	}
	FAILPOINT("kubelet.files.renamed");
	rc = links_make(top, files, n, err);
	FAILPOINT("kubelet.files.linked");
	links_sweep(top, made, files, n);
	return rc < 0 ? rc : 1;
}
