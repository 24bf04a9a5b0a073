#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

int io_write_all(int fd, const void *data, size_t len, struct err *err)
{
	const char *p = data;
	while (len) {
		ssize_t n = write(fd, p, len);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(err, "write");
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_read_exact(int fd, void *out_data, size_t len, struct err *err)
{
	char *p = out_data;
	while (len) {
		ssize_t n = read(fd, p, len);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(err, "read");
		}
		if (n == 0)
			return err_set(err, ERR_CORRUPT, "read: end of file with %zu bytes missing", len);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_read_all(int fd, struct buf *out, size_t limit_bytes, struct err *err)
{
	size_t before = out->len;
	for (;;) {
		char *to = buf_reserve(out, 16 * 1024);
		if (!to)
			return err_set(err, ERR_TOO_LARGE, "read: more than %zu bytes", out->limit);
		ssize_t n = read(fd, to, 16 * 1024);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(err, "read");
		}
		if (n == 0)
			return 0;
		buf_commit(out, (size_t)n);
		if (out->len - before > limit_bytes)
			return err_set(err, ERR_TOO_LARGE, "read: more than %zu bytes", limit_bytes);
	}
}

int io_read_file(int dirfd, const char *name, struct buf *out, size_t limit_bytes, struct err *err)
{
	auto_fd int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open %s", name);
	int rc = io_read_all(fd, out, limit_bytes, err);
	if (rc < 0 && err)
		err_note(err, "%s", name);
	return rc;
}

/* The folder of name, opened so that its entry can be made durable. */
static int open_parent(int dirfd, const char *name, struct err *err)
{
	ptrdiff_t slash = span_rchr(span_of(name), '/');
	auto_free char *parent = slash < 0 ? mem_dup(".", 1) : mem_dup(name, slash ? (size_t)slash : 1);
	int fd = openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open folder %s", parent);
	return fd;
}

static int write_file(int dirfd, const char *name, struct span data, mode_t mode, bool durable, struct err *err)
{
	auto_fd int dir = open_parent(dirfd, name, err);
	if (dir < 0)
		return dir;
	ptrdiff_t slash = span_rchr(span_of(name), '/');
	const char *leaf = name + slash + 1;

	uint64_t tag;
	rng_secret(&tag, sizeof(tag));
	auto_buf struct buf tmp = {};
	buf_printf(&tmp, ".%s.%016llx", leaf, (unsigned long long)tag);

	auto_fd int fd = openat(dir, buf_cstr(&tmp), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return err_sys(err, "create %s", name);
	int rc = 0;
	if (fchmod(fd, mode) < 0) /* the umask must not decide about keys */
		rc = err_sys(err, "chmod %s", name);
	if (rc == 0 && (rc = io_write_all(fd, data.ptr, data.len, err)) < 0 && err)
		err_note(err, "%s", name);
	if (rc == 0 && durable && fsync(fd) < 0)
		rc = err_sys(err, "sync %s", name);
	FAILPOINT("io.write_file.before_rename");
	if (rc == 0 && renameat(dir, buf_cstr(&tmp), dir, leaf) < 0)
		rc = err_sys(err, "rename to %s", name);
	if (rc < 0) {
		(void)unlinkat(dir, buf_cstr(&tmp), 0); /* the first error is the one to report */
		return rc;
	}
	if (durable && fsync(dir) < 0)
		return err_sys(err, "sync folder of %s", name);
	return 0;
}

int io_write_file(int dirfd, const char *name, struct span data, mode_t mode, struct err *err)
{
	return write_file(dirfd, name, data, mode, true, err);
}

int io_write_file_lazy(int dirfd, const char *name, struct span data, mode_t mode, struct err *err)
{
	return write_file(dirfd, name, data, mode, false, err);
}

int io_mkdirs(int dirfd, const char *path, mode_t mode, struct err *err)
{
	auto_free char *part = mem_dup(path, strlen(path));
	for (char *p = part + 1; *part; p++) {
		if (*p && *p != '/')
			continue;
		bool last = !*p;
		*p = 0;
		if (mkdirat(dirfd, part, last ? mode : 0755) < 0 && errno != EEXIST)
			return err_sys(err, "make folder %s", part);
		if (last)
			break;
		*p = '/';
	}
	return 0;
}

void io_descriptors_raise(void)
{
	struct rlimit most;
	if (getrlimit(RLIMIT_NOFILE, &most) < 0 || most.rlim_cur == most.rlim_max)
		return;
	most.rlim_cur = most.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &most) < 0)
		log_warn("descriptors", kv_i64("errno", errno));
}
