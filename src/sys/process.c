/* See process.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "sys/call.h"
#include "sys/process.h"

int sys_file_read(int dirfd, const char *name, struct buf *out, size_t limit_bytes)
{
	auto_fd int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	size_t start = out->len;
	for (;;) {
		size_t room = 4096;
		char *to = buf_reserve(out, room);
		if (!to) {
			errno = EFBIG;
			return -1;
		}
		ssize_t n = read(fd, to, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			return 0;
		buf_commit(out, (size_t)n);
		if (out->len - start > limit_bytes) {
			errno = EFBIG;
			return -1;
		}
	}
}

int sys_file_write(int dirfd, const char *name, const char *text, size_t len)
{
	auto_fd int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n;
	do
		n = write(fd, text, len);
	while (n < 0 && errno == EINTR);
	if (n >= 0 && (size_t)n != len) {
		errno = EIO;
		return -1;
	}
	return n < 0 ? -1 : 0;
}

int sys_process_read(pid_t pid, struct sys_process *out, struct err *err)
{
	char path[32], text[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "no process %d", pid)
				       : err_sys(err, "open %s", path);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return n == 0 || errno == ESRCH ? err_set(err, ERR_NOT_FOUND, "no process %d", pid)
						: err_sys(err, "read %s", path);
	/* The name in parentheses may hold anything: look for the last one. State follows; field 22 is 19 behind it. */
	struct span s = span_make(text, (size_t)n);
	ptrdiff_t at = span_rchr(s, ')');
	if (at < 0)
		return err_set(err, ERR_CORRUPT, "%s: no name in it", path);
	struct span rest = span_from(s, (size_t)at + 2), part;
	struct sys_process p = { .pid = pid };
	for (int field = 3; span_cut(&rest, ' ', &part); field++) {
		if (field == 3 && part.len)
			p.state = part.ptr[0];
		if (field == 22) {
			if (!span_to_u64(part, &p.start_ticks))
				break;
		}
		if (field == 52) { /* the last one since Linux 3.5 */
			int64_t status;
			if (!span_to_i64(span_trim(part), &status))
				break;
			p.wait_status = (int)status;
			*out = p;
			return 0;
		}
	}
	return err_set(err, ERR_CORRUPT, "%s: no start time or exit status in it", path);
}

bool sys_process_alive(pid_t pid, uint64_t start_ticks)
{
	struct sys_process p;
	return pid > 0 && sys_process_read(pid, &p, NULL) == 0 && p.start_ticks == start_ticks && p.state != 'Z' &&
	       p.state != 'X';
}

bool sys_numbers_parse(struct span list, uint8_t *out_bits, size_t bytes)
{
	struct span one, from_text, to_text;
	uint64_t from, to;
	memset(out_bits, 0, bytes);
	while (span_cut(&list, ',', &one)) {
		one = span_trim(one);
		if (!span_split(one, '-', &from_text, &to_text))
			from_text = to_text = one;
		if (!span_to_u64(from_text, &from) || !span_to_u64(to_text, &to) || from > to || to >= bytes * 8)
			return false;
		for (uint64_t i = from; i <= to; i++)
			out_bits[i / 8] |= (uint8_t)(1U << i % 8);
	}
	return true;
}

int sys_process_open(pid_t pid, uint64_t start_ticks)
{
	auto_fd int fd = pid > 0 ? sys_pidfd_open(pid, 0) : -1;
	if (fd < 0) {
		if (pid <= 0)
			errno = ESRCH;
		return -1;
	}
	if (!sys_process_alive(pid, start_ticks)) {
		errno = ESRCH;
		return -1;
	}
	return take_fd(&fd);
}
