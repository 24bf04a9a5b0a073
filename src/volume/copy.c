/* Copy-up: an empty volume takes over what the image has at its place.
 *
 *     image ── copy ──> NAME/.copy-new/ ── sync, rename ──> NAME/copy/ ── each entry renamed ──> NAME/_data/
 *
 * _data stays the same folder, because another container may have it mounted. A crash before the rename to copy/ leaves the
 * volume empty; after it, the moves go on at the next open (volume_copy_finish): the volume has all of the image's files or
 * none. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/snapshot.h"
#include "volume/private.h"

#define NEW ".copy-new"
#define WHOLE "copy"

static int folder_open(int at, const char *name, struct err *err)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? err_sys(err, "open folder %s", name) : fd;
}

/* The next entry's name in the arena; NULL: none. */
static const char *first_entry(int fd, struct arena *a)
{
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = again < 0 ? NULL : fdopendir(again);
	const char *name = NULL;
	struct dirent *e;
	if (!d) {
		fd_close(&again);
		return "?"; /* not known: counts as not empty */
	}
	while (!name && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			name = arena_cstr(a, span_of(e->d_name));
	closedir(d);
	return name;
}

/* Owner, mode and times of the image's folder become the volume's. */
static int folder_attributes(const struct stat *st, int data, struct err *err)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	if (fchown(data, st->st_uid, st->st_gid) < 0 || fchmod(data, st->st_mode & 07777) < 0 || futimens(data, times) < 0)
		return err_sys(err, "set owner and mode of the volume");
	return 0;
}

static int entries_move(int from, int to, struct err *err)
{
	int again = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = again < 0 ? NULL : fdopendir(again);
	if (!d) {
		fd_close(&again);
		return err_sys(err, "read what was copied");
	}
	int rc = 0;
	struct dirent *e;
	while (rc == 0 && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && renameat(from, e->d_name, to, e->d_name) < 0)
			rc = err_sys(err, "move %s into the volume", e->d_name);
	closedir(d);
	return rc;
}

int volume_copy_finish(int folder, struct err *err)
{
	int rc = snapshot_tree_remove(folder, NEW, err);
	if (rc < 0 || faccessat(folder, WHOLE, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return rc;
	auto_fd int whole = folder_open(folder, WHOLE, err);
	auto_fd int data = whole < 0 ? -1 : folder_open(folder, "_data", err);
	auto_arena struct arena a = {};
	struct stat st;
	if (data < 0)
		return -ERR_IO;
	if (fstat(whole, &st) < 0)
		return err_sys(err, "stat what was copied");
	/* Reading a folder while its entries go may pass some over: until it is empty. */
	while (rc == 0 && first_entry(whole, &a))
		rc = entries_move(whole, data, err);
	FAILPOINT("volume.copy.moved");
	if (rc == 0)
		rc = folder_attributes(&st, data, err);
	return rc < 0 ? rc : snapshot_tree_remove(folder, WHOLE, err);
}

static int copy(int folder, int from, struct err *err)
{
	int rc = snapshot_tree_remove(folder, NEW, err);
	if (rc == 0 && mkdirat(folder, NEW, 0700) < 0)
		rc = err_sys(err, "make the folder to copy to");
	auto_fd int to = rc < 0 ? -1 : folder_open(folder, NEW, err);
	if (rc == 0 && to < 0)
		rc = -ERR_IO;
	if (rc == 0)
		rc = snapshot_tree_copy(from, to, err);
	FAILPOINT("volume.copy.copied");
	if (rc == 0 && syncfs(to) < 0)
		rc = err_sys(err, "sync what was copied");
	if (rc == 0 && renameat(folder, NEW, folder, WHOLE) < 0)
		rc = err_sys(err, "rename what was copied");
	if (rc < 0) {
		(void)snapshot_tree_remove(folder, NEW, NULL); /* else at the next open; the first error counts */
		return rc;
	}
	FAILPOINT("volume.copy.whole");
	return volume_copy_finish(folder, err);
}

int volume_copy_up(struct volume_store *s, struct span name, const struct volume_mount *m, int from, struct err *err)
{
	auto_arena struct arena a = {};
	if (m->no_copy || m->subpath.len)
		return 0;
	struct volume *v = volume_pin(s, name, err);
	if (!v)
		return -ERR_NOT_FOUND;
	int rc = 0;
	pthread_mutex_lock(&v->work);
	if (!volume_has_device(v)) {
		auto_fd int folder = folder_open(s->dirfd, v->name, err);
		auto_fd int data = folder < 0 ? -1 : folder_open(folder, "_data", err);
		if (data < 0)
			rc = -ERR_IO;
		else if (!first_entry(data, &a))
			rc = copy(folder, from, err);
	}
	pthread_mutex_unlock(&v->work);
	volume_unpin(s, v);
	return rc < 0 ? err_note(err, "copy the image's files into volume %.*s", SPAN_ARG(name)) : 0;
}
