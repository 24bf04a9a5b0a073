/* name.N becomes name.N.gz.
 *
 *     name.N ──read──> name.gz.tmp ──sync──┐   the writer rotates as it likes: N may grow, or the file go
 *                                          │
 *     under the folder's lock:  find name.N by its inode ── rename to name.N.gz ── remove name.N
 *
 * The lock is held for two system calls, so the writer, who does not wait for it, hardly ever meets it. A crash leaves a temporary
 * file, which the next call replaces, or both files, of which the plain one counts until the next call makes the other anew.
 *
 * A file is the writer's until the next one has the log's name: while that is missing (a full disk, a crash between two renames)
 * nothing is compressed. */
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "logs/private.h"

enum { PIECE = 64 * 1024, LOCK_TRIES = 100, LOCK_PAUSE_MS = 10, LEVEL = 3 };

struct job {
	int dir, plain, packed;
	const char *name;
	char temporary[300];
	struct stat was; /* of plain */
	z_stream z;
	uint8_t *in, *out; /* PIECE bytes each */
};

/* The newest name.N that is plain. 1 = it is open, 0 = there is none. */
static int plain_open(struct job *j, struct err *err)
{
	auto_free unsigned *numbers = NULL;
	size_t n = 0;
	int rc = logs_numbers_list(j->dir, j->name, &numbers, &n, err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		char plain[300];
		snprintf(plain, sizeof(plain), "%s.%u", j->name, numbers[i]);
		auto_fd int fd = openat(j->dir, plain, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0 || fstat(fd, &j->was) < 0)
			return err_sys(err, "open log %s", plain);
		if (!S_ISREG(j->was.st_mode))
			continue;
		j->plain = take_fd(&fd);
		return 1;
	}
	return rc;
}

static int deflate_all(struct job *j, const atomic_bool *stop, struct err *err)
{
	uint64_t at = 0;
	int z = Z_OK;
	while (z != Z_STREAM_END) {
		if (atomic_load(stop))
			return err_set(err, ERR_CANCELLED, "compressing was given up");
		if (!j->z.avail_in && at < (uint64_t)j->was.st_size) {
			ssize_t n = pread(j->plain, j->in, MIN((uint64_t)j->was.st_size - at, (uint64_t)PIECE), (off_t)at);
			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return n < 0 ? err_sys(err, "read") : err_set(err, ERR_IO, "the file became shorter");
			j->z.next_in = j->in;
			j->z.avail_in = (unsigned)n;
			at += (uint64_t)n;
		}
		j->z.next_out = j->out;
		j->z.avail_out = PIECE;
		z = deflate(&j->z, at == (uint64_t)j->was.st_size ? Z_FINISH : Z_NO_FLUSH);
		assert(z != Z_STREAM_ERROR);
		int rc = io_write_all(j->packed, j->out, PIECE - j->z.avail_out, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int pack(struct job *j, const atomic_bool *stop, struct err *err)
{
	uint8_t extra[LOGS_GZ_EXTRA];
	logs_gz_extra(j->was.st_ino, extra);
	gz_header head = { .time = (uLong)j->was.st_mtim.tv_sec, .os = 3, .extra = extra, .extra_len = sizeof(extra) };
	if (deflateInit2(&j->z, LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return err_set(err, ERR_INTERNAL, "zlib cannot begin");
	(void)deflateSetHeader(&j->z, &head); /* cannot fail behind an init for gzip */
	int rc = deflate_all(j, stop, err);
	(void)deflateEnd(&j->z);
	if (rc < 0)
		return rc;
	FAILPOINT("logs.compress.written");
	/* Its time is when the last record came: readers go by it (since). */
	const struct timespec times[2] = { j->was.st_mtim, j->was.st_mtim };
	if (fchmod(j->packed, j->was.st_mode & 0777) < 0 || futimens(j->packed, times) < 0 || fsync(j->packed) < 0)
		return err_sys(err, "write");
	FAILPOINT("logs.compress.synced");
	return 0;
}

static int folder_lock(int dir, int *out_lock, struct err *err)
{
	auto_fd int lock = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; lock >= 0; i++) {
		if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
			*out_lock = take_fd(&lock);
			return 0;
		}
		if (errno != EWOULDBLOCK || i == LOCK_TRIES)
			break;
		struct pollfd pause = { .fd = -1 };
		(void)poll(&pause, 0, LOCK_PAUSE_MS); /* the writer holds it for a few renames */
	}
	return err_sys(err, "lock the folder");
}

/* Under the lock. 1 = done, 0 = the file is gone or may still be written to. */
static int put(struct job *j, struct err *err)
{
	auto_free unsigned *numbers = NULL;
	size_t n = 0;
	struct stat st;
	if (fstatat(j->dir, j->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "stat");
	if (fstat(j->plain, &st) < 0 || st.st_size != j->was.st_size)
		return 0;
	int rc = logs_numbers_list(j->dir, j->name, &numbers, &n, err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		char plain[300], packed[304];
		snprintf(plain, sizeof(plain), "%s.%u", j->name, numbers[i]);
		snprintf(packed, sizeof(packed), "%s.gz", plain);
		if (fstatat(j->dir, plain, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != j->was.st_ino || st.st_dev != j->was.st_dev)
			continue;
		if (renameat(j->dir, j->temporary, j->dir, packed) < 0)
			return err_sys(err, "rename");
		FAILPOINT("logs.compress.renamed");
		if (unlinkat(j->dir, plain, 0) < 0)
			return err_sys(err, "remove %s", plain);
		FAILPOINT("logs.compress.removed");
		return 1;
	}
	return rc;
}

static int compress_one(struct job *j, const atomic_bool *stop, struct err *err)
{
	auto_fd int lock = -1;
	FAILPOINT("logs.compress.begin");
	if (unlinkat(j->dir, j->temporary, 0) < 0 && errno != ENOENT) /* of a crash */
		return err_sys(err, "remove %s", j->temporary);
	int rc = plain_open(j, err);
	if (rc <= 0)
		return rc;
	j->packed = openat(j->dir, j->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (j->packed < 0)
		return err_sys(err, "make %s", j->temporary);
	j->in = mem_alloc(PIECE);
	j->out = mem_alloc(PIECE);
	rc = pack(j, stop, err);
	rc = rc < 0 ? rc : folder_lock(j->dir, &lock, err);
	rc = rc < 0 ? rc : put(j, err);
	if (rc <= 0)
		(void)unlinkat(j->dir, j->temporary, 0); /* else the next call does it */
	return rc;
}

int logs_compress(int dir, const char *name, const atomic_bool *stop, struct err *err)
{
	struct job j = { .dir = dir, .plain = -1, .packed = -1, .name = name };
	auto_err struct err why = ERR_INIT;
	snprintf(j.temporary, sizeof(j.temporary), "%s.gz.tmp", name);
	int rc = compress_one(&j, stop, &why);
	fd_close(&j.packed);
	fd_close(&j.plain); /* the last of the file when it was compressed: its blocks are freed without the lock */
	free(j.in);
	free(j.out);
	if (rc >= 0)
		return rc;
	(void)err_note(&why, "compressing log %s", name);
	return err_move(err, &why);
}
