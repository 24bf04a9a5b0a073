/* The files of a log.
 *
 * The monitor may rotate while we look, and a rotated file may be compressed. Everything is opened from the newest to the oldest:
 *
 *     a file that is renamed meanwhile    turns up a second time under the next number, and is known by its inode
 *     one that is compressed meanwhile    was there as one or the other at every moment (name.N.gz comes before name.N goes); if
 *                                         it was opened before, its inode has no name at the end
 *
 * When an inode has no name, or the newest file is another one after the listing than before it (between two renames there is no
 * current one), we look again. Of name.N and name.N.gz the first counts: the other was not finished, or says the same.
 *
 * A reader that has come to the end of a file looks for those that are newer. Its file may have been compressed behind its back:
 * the header of name.N.gz says of which inode it was made. That number is no newer file's, because the reader holds the inode. It
 * may have been an older file's: so the newest that bears it is the right one. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "logs/private.h"

enum { NUMBER_MAX = 100000, TRIES = 16 };

void logs_files_done(struct log_files *l)
{
	for (size_t i = 0; i < l->n; i++)
		fd_close(&l->items[i].fd);
	free(l->items);
	*l = (struct log_files){};
}

static bool same(const struct log_file *a, const struct log_file *b)
{
	return a->ino == b->ino && a->dev == b->dev;
}

bool logs_file_is_old(const struct log_file *f, int64_t since_ns)
{
	struct stat st;
	return since_ns && fstat(f->fd, &st) == 0 && st.st_mtim.tv_sec < since_ns / NS_PER_S - 1;
}

static void full_name(const char *name, unsigned number, bool packed, char out[300])
{
	if (number)
		snprintf(out, 300, packed ? "%s.%u.gz" : "%s.%u", name, number);
	else
		snprintf(out, 300, "%s", name);
}

/* 1 opened, 0 not there (or no regular file). */
static int file_open(int dir, const char *name, unsigned number, bool packed, struct log_file *out, struct err *err)
{
	struct stat st;
	char full[300];
	full_name(name, number, packed, full);
	auto_fd int fd = openat(dir, full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open log %s", full);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat log %s", full);
	if (!S_ISREG(st.st_mode))
		return 0;
	*out = (struct log_file){ take_fd(&fd), st.st_dev, st.st_ino, number, packed };
	return 1;
}

static int number_order(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
	return x < y ? -1 : x > y;
}

int logs_numbers_list(int dir, const char *name, unsigned **out, size_t *out_n, struct err *err)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return err_sys(err, "read the log's folder");
	}
	unsigned *list = NULL;
	size_t n = 0, cap = 0, once = 0;
	struct dirent *e;
	while ((e = readdir(d))) {
		struct span s = span_of(e->d_name), base = span_of(name);
		uint64_t number;
		if (!span_starts(s, base) || s.len < base.len + 2 || s.ptr[base.len] != '.')
			continue;
		s = span_from(s, base.len + 1);
		if (span_ends(s, SPAN(".gz")))
			s = span_sub(s, 0, s.len - 3);
		if (!span_to_u64(s, &number) || number < 1 || number > NUMBER_MAX)
			continue;
		MEM_GROW(list, n, cap);
		list[n++] = (unsigned)number;
	}
	closedir(d);
	if (n)
		qsort(list, n, sizeof(*list), number_order);
	for (size_t i = 0; i < n; i++)
		if (!once || list[once - 1] != list[i])
			list[once++] = list[i];
	*out = list;
	*out_n = once;
	return 0;
}

/* What is there under that number goes into l, if it is not there yet. 1 = something was there, 2 = it is `after`. */
static int take_in(int dir, const char *name, unsigned number, const struct log_file *after, struct log_files *l, struct err *err)
{
	struct log_file f;
	int rc = file_open(dir, name, number, false, &f, err);
	if (rc == 0 && number)
		rc = file_open(dir, name, number, true, &f, err);
	if (rc <= 0)
		return rc;
	bool ours = after && (same(&f, after) || (f.packed && !after->packed && logs_gz_is_of(f.fd, after->ino)));
	bool known = ours;
	for (size_t k = 0; k < l->n && !known; k++)
		known = same(&f, &l->items[k]);
	if (known) {
		fd_close(&f.fd);
		return ours ? 2 : 1;
	}
	MEM_GROW(l->items, l->n, l->cap);
	l->items[l->n++] = f;
	return 1;
}

/* Newest first into l; ends at `after`. As long as the newest file stays that, others move up by one number at most: what is missed
 * under one is under the next. Behind two that are not there it goes on with the next that the folder names (behind a gap). */
static int gather(int dir, const char *name, const struct log_file *after, struct log_files *l, struct err *err)
{
	auto_free unsigned *numbers = NULL;
	size_t n = 0, i = 0;
	int rc = take_in(dir, name, 0, after, l, err);
	if (rc < 0 || rc == 2)
		return rc;
	rc = logs_numbers_list(dir, name, &numbers, &n, err);
	if (rc < 0)
		return rc;
	for (unsigned number = 1, missed = 0;; number++) {
		rc = take_in(dir, name, number, after, l, err);
		if (rc < 0 || rc == 2)
			return rc;
		missed = rc ? 0 : missed + 1;
		if (missed < 2)
			continue;
		while (i < n && numbers[i] <= number)
			i++;
		if (i == n)
			return 0;
		number = numbers[i] - 1;
	}
}

static bool is_still(int dir, const char *full, const struct log_file *f)
{
	struct stat st;
	return fstatat(dir, full, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == f->ino && st.st_dev == f->dev;
}

/* Nothing was rotated or compressed while l was made. */
static bool is_true_yet(int dir, const char *name, const struct log_file *after, const struct log_files *l)
{
	struct stat st;
	char full[300];
	bool there = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (!l->n)
		return !there || (after && is_still(dir, name, after));
	full_name(name, l->items[0].number, l->items[0].packed, full);
	if (!is_still(dir, full, &l->items[0]) || (there && l->items[0].number))
		return false;
	for (size_t i = 0; i < l->n; i++)
		if (fstat(l->items[i].fd, &st) == 0 && st.st_nlink == 0)
			return false;
	return true;
}

int logs_files_list(int dir, const char *name, const struct log_file *after, struct log_files *out, struct err *err)
{
	struct log_files l = {};
	for (int tries = 0;; tries++) {
		int rc = gather(dir, name, after, &l, err);
		if (rc < 0) {
			logs_files_done(&l);
			return rc;
		}
		if (tries == TRIES || is_true_yet(dir, name, after, &l))
			break;
		logs_files_done(&l);
	}
	for (size_t i = l.n; i > 0; i--) {
		MEM_GROW(out->items, out->n, out->cap);
		out->items[out->n++] = l.items[i - 1];
	}
	free(l.items);
	return 0;
}
