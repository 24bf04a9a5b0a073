/* The files of a log.
 *
 * The monitor may rotate while we look. Everything is opened from the newest to the oldest: a file that is renamed meanwhile then
 * turns up a second time under the next number, and is known by its inode. When the current file is another one after the
 * listing than before it, we look again. */
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

/* 1 opened, 0 not there (or no regular file). */
static int file_open(int dir, const char *name, unsigned number, struct log_file *out, struct err *err)
{
	struct stat st;
	auto_fd int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open log %s", name);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat log %s", name);
	if (!S_ISREG(st.st_mode))
		return 0;
	*out = (struct log_file){ take_fd(&fd), st.st_dev, st.st_ino, number };
	return 1;
}

static int number_order(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
	return x < y ? -1 : x > y;
}

/* The N of all name.N, rising. */
static int numbers_list(int dir, const char *name, unsigned **out, size_t *out_n, struct err *err)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return err_sys(err, "read the log's folder");
	}
	unsigned *list = NULL;
	size_t n = 0, cap = 0;
	struct dirent *e;
	while ((e = readdir(d))) {
		struct span s = span_of(e->d_name), base = span_of(name);
		uint64_t number;
		if (!span_starts(s, base) || s.len < base.len + 2 || s.ptr[base.len] != '.' ||
		    !span_to_u64(span_from(s, base.len + 1), &number) || number < 1 || number > NUMBER_MAX)
			continue;
		MEM_GROW(list, n, cap);
		list[n++] = (unsigned)number;
	}
	closedir(d);
	if (n)
		qsort(list, n, sizeof(*list), number_order);
	*out = list;
	*out_n = n;
	return 0;
}

/* Newest first into l; ends at `after`. */
static int gather(int dir, const char *name, const struct log_file *after, struct log_files *l, struct err *err)
{
	auto_free unsigned *numbers = NULL;
	size_t n = 0;
	struct log_file f;
	int rc = file_open(dir, name, 0, &f, err);
	for (size_t i = 0; rc >= 0; i++) {
		if (rc == 1) {
			bool known = after && same(&f, after), ours = known;
			for (size_t k = 0; k < l->n && !known; k++)
				known = same(&f, &l->items[k]);
			if (known)
				fd_close(&f.fd);
			if (ours)
				return 0;
			if (!known) {
				MEM_GROW(l->items, l->n, l->cap);
				l->items[l->n++] = f;
			}
		}
		if (i == 0 && (rc = numbers_list(dir, name, &numbers, &n, err)) < 0)
			break;
		if (i == n)
			return 0;
		char numbered[300];
		snprintf(numbered, sizeof(numbered), "%s.%u", name, numbers[i]);
		rc = file_open(dir, numbered, numbers[i], &f, err);
	}
	return rc;
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
		struct stat st;
		bool there = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
		bool had = l.n && l.items[0].number == 0;
		if (!there || !had || tries == TRIES || (l.items[0].ino == st.st_ino && l.items[0].dev == st.st_dev))
			break;
		logs_files_done(&l); /* rotated meanwhile */
	}
	for (size_t i = l.n; i > 0; i--) {
		MEM_GROW(out->items, out->n, out->cap);
		out->items[out->n++] = l.items[i - 1];
	}
	free(l.items);
	return 0;
}
