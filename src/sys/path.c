/* See path.h. The walk keeps `stack[depth]`, the chain of folders from the root to where it stands:
 *
 *     root -> stack[1] -> stack[2] -> ... -> stack[depth]      ".." pops, a name pushes, "/" in a link empties it
 *
 * Invariants: (1) stack[0] is the caller's root and never closed here; (2) each pushed descriptor was opened with
 * O_PATH|O_NOFOLLOW beneath the one below it, so a rename elsewhere cannot move us outside; (3) at most LINKS_MAX
 * links are followed. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/base.h"
#include "sys/call.h"
#include "sys/path.h"

#define LINKS_MAX 40
#define DEPTH_MAX 128

struct walk {
	int stack[DEPTH_MAX];
	unsigned depth;
	unsigned links;
	char rest[2 * PATH_MAX]; /* what is still to be walked */
};

static void walk_pop_to(struct walk *w, unsigned depth)
{
	while (w->depth > depth)
		fd_close(&w->stack[w->depth--]);
}

/* Takes the next component from w->rest into name; false when none is left. *out_last: nothing but slashes behind. */
static bool walk_next(struct walk *w, char name[NAME_MAX + 1], bool *out_last)
{
	char *s = w->rest;
	while (*s == '/')
		s++;
	size_t n = strcspn(s, "/");
	if (n == 0)
		return false;
	if (n > NAME_MAX) {
		name[0] = 0;
		*out_last = true;
		return true;
	}
	memcpy(name, s, n);
	name[n] = 0;
	s += n;
	*out_last = s[strspn(s, "/")] == 0;
	memmove(w->rest, s, strlen(s) + 1);
	return true;
}

/* Puts a link's text before what is left. */
static int walk_follow(struct walk *w, int link)
{
	struct statfs fs;
	if (++w->links > LINKS_MAX) {
		errno = ELOOP;
		return -1;
	}
	/* A link of procfs may be magic: its text is no path. openat2 refuses it too (RESOLVE_NO_MAGICLINKS); plain
	 * links of procfs (self, mounts) cannot be told apart by this walk and are followed as text, which stays
	 * inside the root in any case. */
	if (fstatfs(link, &fs) < 0)
		return -1;
	char text[PATH_MAX];
	ssize_t n = readlinkat(link, "", text, sizeof(text) - 1);
	if (n < 0)
		return -1;
	text[n] = 0;
	struct stat st;
	if (fs.f_type == PROC_SUPER_MAGIC && fstat(link, &st) == 0 && text[0] == '/') {
		errno = ELOOP;
		return -1;
	}
	size_t rest = strlen(w->rest);
	if ((size_t)n + 1 + rest >= sizeof(w->rest)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memmove(w->rest + n + 1, w->rest, rest + 1);
	w->rest[n] = '/';
	memcpy(w->rest, text, (size_t)n);
	if (rest == 0)
		w->rest[n] = 0;
	if (text[0] == '/')
		walk_pop_to(w, 0);
	return 0;
}

int sys_path_walk(int rootfd, const char *path, int flags, mode_t mode)
{
	struct walk w = { .stack = { rootfd } };
	size_t len = strlen(path);
	if (len >= PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(w.rest, path, len + 1);
	bool trailing = len && path[len - 1] == '/';
	int got = -1;
	char name[NAME_MAX + 1];
	bool last;
	while (walk_next(&w, name, &last)) {
		int here = w.stack[w.depth];
		if (!name[0]) {
			errno = ENAMETOOLONG;
			goto out;
		}
		if (!strcmp(name, "."))
			continue;
		if (!strcmp(name, "..")) {
			if (w.depth)
				walk_pop_to(&w, w.depth - 1);
			continue;
		}
		auto_fd int next = openat(here, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0) {
			if (errno == ENOENT && last && (flags & O_CREAT) && !trailing)
				got = openat(here, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
			goto out;
		}
		struct stat st;
		if (fstat(next, &st) < 0)
			goto out;
		if (S_ISLNK(st.st_mode) && !(last && (flags & O_NOFOLLOW) && !trailing)) {
			if (walk_follow(&w, next) < 0)
				goto out;
			continue;
		}
		if (last && !S_ISDIR(st.st_mode)) {
			if ((flags & O_PATH) && !(flags & O_DIRECTORY) && !trailing) {
				got = take_fd(&next);
			} else {
				/* The name may have been swapped since: O_NOFOLLOW keeps it harmless. */
				got = openat(here, name, flags | O_NOFOLLOW | O_CLOEXEC | (trailing ? O_DIRECTORY : 0),
					     mode);
			}
			goto out;
		}
		if (!last && !S_ISDIR(st.st_mode)) {
			errno = ENOTDIR;
			goto out;
		}
		if (w.depth + 1 >= DEPTH_MAX) {
			errno = ENAMETOOLONG;
			goto out;
		}
		w.stack[++w.depth] = take_fd(&next);
	}
	/* Ended on a folder: the root itself, one reached by ".." or the last name. */
	got = openat(w.stack[w.depth], ".", (flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL)) | O_CLOEXEC, mode);
out:;
	int saved = errno;
	walk_pop_to(&w, 0);
	errno = saved;
	return got;
}

int sys_path_open(int rootfd, const char *path, int flags, mode_t mode)
{
	if (!(flags & (O_CREAT | O_TMPFILE)))
		mode = 0; /* openat2 refuses a mode that has no meaning */
	for (int tries = 0; tries < 64; tries++) {
		int fd = sys_openat2(rootfd, path, (unsigned)flags | O_CLOEXEC, mode,
				     RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
		if (fd >= 0)
			return fd;
		if (errno == ENOSYS || errno == EPERM)
			return sys_path_walk(rootfd, path, flags, mode);
		if (errno != EAGAIN) /* a rename somewhere raced with ".." */
			return -1;
	}
	return -1;
}

int sys_path_mkdirs(int rootfd, const char *path, mode_t mode)
{
	int fd = sys_path_open(rootfd, path, O_PATH | O_DIRECTORY, 0);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	size_t len = strlen(path);
	if (len >= PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	/* Shorten until something is there, then make what was cut off, one name at a time. */
	char head[PATH_MAX];
	memcpy(head, path, len + 1);
	size_t at = len;
	auto_fd int here = -1;
	while (here < 0) {
		while (at && head[at - 1] == '/')
			at--;
		while (at && head[at - 1] != '/')
			at--;
		head[at] = 0;
		here = sys_path_open(rootfd, at ? head : "/", O_PATH | O_DIRECTORY, 0);
		if (here < 0 && (errno != ENOENT || at == 0))
			return -1;
	}
	struct span rest = span_make(path + at, len - at), part, check = rest;
	while (span_cut(&check, '/', &part)) {
		if (span_is(part, "..") || part.len > NAME_MAX) {
			errno = span_is(part, "..") ? EINVAL : ENAMETOOLONG;
			return -1;
		}
	}
	while (span_cut(&rest, '/', &part)) {
		char name[NAME_MAX + 1];
		if (!part.len || span_is(part, "."))
			continue;
		memcpy(name, part.ptr, part.len);
		name[part.len] = 0;
		if (mkdirat(here, name, mode) < 0 && errno != EEXIST)
			return -1;
		int next = openat(here, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return -1;
		fd_close(&here);
		here = next;
	}
	return take_fd(&here);
}

int sys_path_parent(int rootfd, const char *path, const char **out_name)
{
	size_t len = strlen(path), end = len;
	while (end && path[end - 1] == '/')
		end--;
	size_t start = end;
	while (start && path[start - 1] != '/')
		start--;
	struct span name = span_make(path + start, end - start);
	if (!name.len || end != len || span_is(name, ".") || span_is(name, "..") || len >= PATH_MAX) {
		errno = EINVAL;
		return -1;
	}
	char head[PATH_MAX];
	memcpy(head, path, start);
	head[start] = 0;
	int fd = sys_path_mkdirs(rootfd, start ? head : "/", 0755);
	if (fd >= 0)
		*out_name = path + start;
	return fd;
}

int sys_path_target(int rootfd, const char *path, bool folder, bool no_link)
{
	int fd = sys_path_open(rootfd, path, O_PATH | (no_link ? O_NOFOLLOW : 0), 0);
	if (fd >= 0) {
		struct stat st;
		if (no_link && fstat(fd, &st) == 0 && S_ISLNK(st.st_mode)) {
			fd_close(&fd);
			errno = ELOOP;
		}
		return fd;
	}
	if (errno != ENOENT)
		return -1;
	if (folder)
		return sys_path_mkdirs(rootfd, path, 0755);
	const char *name;
	auto_fd int parent = sys_path_parent(rootfd, path, &name);
	if (parent < 0)
		return -1;
	int made = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_RDONLY, 0644);
	if (made < 0)
		return -1;
	fd_close(&made);
	return openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}
