/* See log.h and monitor.h.
 *
 * Records are gathered in `out` and written together at the end of a feed, or when it is full:
 *
 *     file:  |====== whole records ======|.. the part of a record that a full buffer forced out ..
 *                                        ^ whole
 * When a write fails, the file is cut back to `whole`, so that a reader never meets half a record; what was in the
 * buffer is counted as lost and the next feed tries again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/log.h"

/* ---- the file */

static int file_open(struct log_file *f, int flags, struct err *err)
{
	struct stat st;
	int errnum = 0;
	if (FAILPOINT_ERR("monitor.log.open", &errnum))
		return err_sys_num(err, errnum, "open log %.100s", f->name);
	auto_fd int fd = openat(f->dir, f->name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | flags,
				0640);
	if (fd < 0)
		return err_sys(err, "open log %.100s", f->name);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat log %.100s", f->name);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID, "log %.100s is no regular file", f->name);
	f->size = (uint64_t)st.st_size;
	/* A monitor that was killed in the middle of a record left half of it: its line ends here. */
	char last;
	if (f->size && pread(fd, &last, 1, st.st_size - 1) == 1 && last != '\n') {
		if (write(fd, "\n", 1) != 1)
			return err_sys(err, "close the torn record of log %.100s", f->name);
		f->size++;
	}
	f->whole = f->size;
	fd_close(&f->fd);
	f->fd = take_fd(&fd);
	return 0;
}

int monitor_log_open(struct log_file *f, struct err *err)
{
	f->fd = -1;
	return f->format == MONITOR_LOG_NONE ? 0 : file_open(f, 0, err);
}

void monitor_log_close(struct log_file *f)
{
	fd_close(&f->fd);
}

static void lose(struct log_file *f, bool in_record, int errnum)
{
	f->lost_records += f->waiting + (in_record ? 1 : 0);
	f->lost_errno = errnum;
	f->waiting = 0;
	f->n = 0;
	f->broken = true;
	if (f->size > f->whole && ftruncate(f->fd, (off_t)f->whole) == 0)
		f->size = f->whole;
}

/* in_record: the buffer's end is inside of a record. */
static void flush(struct log_file *f, bool in_record)
{
	size_t done = 0;
	while (done < f->n && !f->broken) {
		int errnum = 0;
		ssize_t w = FAILPOINT_ERR("monitor.log.write", &errnum) ? -1 : write(f->fd, f->out + done, f->n - done);
		if (w < 0 && !errnum)
			errnum = errno;
		if (w < 0 && errnum == EINTR)
			continue;
		if (w <= 0) {
			lose(f, in_record, w < 0 ? errnum : EIO);
			return;
		}
		done += (size_t)w;
		f->size += (uint64_t)w;
	}
	f->n = 0;
	if (!in_record && !f->broken) {
		f->whole = f->size;
		f->waiting = 0;
	}
}

static void put(struct log_file *f, const char *data, size_t len)
{
	while (len && !f->broken) {
		size_t room = sizeof(f->out) - f->n, k = len < room ? len : room;
		memcpy(f->out + f->n, data, k);
		f->n += k;
		data += k;
		len -= k;
		if (f->n == sizeof(f->out))
			flush(f, true);
	}
}

int monitor_log_reopen(struct log_file *f, struct err *err)
{
	if (f->format == MONITOR_LOG_NONE)
		return err_set(err, ERR_INVALID, "this container has no log");
	return file_open(f, 0, err);
}

static bool there(const struct log_file *f, const char *name)
{
	return faccessat(f->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int move(const struct log_file *f, const char *from, const char *to, struct err *err)
{
	return renameat(f->dir, from, f->dir, to) < 0 && errno != ENOENT ? err_sys(err, "rename log %.90s to %.90s", from, to) : 0;
}

/* name.from (0: name) becomes name.(from + 1), compressed or not. At most one of the two forms may be there under a number, unless
 * both hold the same: so what is in the way goes first, and of two alike the compressed one, which may not be whole. */
static int shift(const struct log_file *f, unsigned from, struct err *err)
{
	char plain[280], packed[280], to[280], to_packed[280];
	snprintf(plain, sizeof(plain), from ? "%s.%u" : "%s", f->name, from);
	snprintf(to, sizeof(to), "%s.%u", f->name, from + 1);
	if (!f->compress)
		return move(f, plain, to, err);
	snprintf(packed, sizeof(packed), "%s.%u.gz", f->name, from);
	snprintf(to_packed, sizeof(to_packed), "%s.%u.gz", f->name, from + 1);
	bool is_plain = there(f, plain);
	if (!is_plain && (!from || !there(f, packed)))
		return 0;
	if (is_plain && from && unlinkat(f->dir, packed, 0) < 0 && errno != ENOENT)
		return err_sys(err, "remove log %.90s", packed);
	if (unlinkat(f->dir, is_plain ? to_packed : to, 0) < 0 && errno != ENOENT)
		return err_sys(err, "remove log %.90s", is_plain ? to_packed : to);
	return is_plain ? move(f, plain, to, err) : move(f, packed, to_packed, err);
}

/* name.(n-1) goes, name.i becomes name.(i+1), name becomes name.1. Renames alone: a crash between two of them leaves
 * a gap in the numbers and loses nothing. Where name is missing that has been done already, and the new file could not be
 * made: it is tried again, the others stay where they are. */
int monitor_log_rotate(struct log_file *f, struct err *err)
{
	if (f->format == MONITOR_LOG_NONE)
		return err_set(err, ERR_INVALID, "this container has no log");
	if (f->max_files <= 1) {
		if (f->fd < 0)
			return file_open(f, O_TRUNC, err);
		if (ftruncate(f->fd, 0) < 0)
			return err_sys(err, "empty log %.100s", f->name);
		f->size = f->whole = 0;
		return 0;
	}
	auto_fd int lock = -1;
	if (f->compress) {
		lock = openat(f->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (lock < 0)
			return err_sys(err, "open the folder of log %.100s", f->name);
		if (flock(lock, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK ? err_set(err, ERR_UNAVAILABLE, "log %.100s is being compressed", f->name)
						    : err_sys(err, "lock the folder of log %.100s", f->name);
	}
	int r = 0;
	for (unsigned i = there(f, f->name) ? f->max_files : 0; i > 1 && r == 0; i--)
		r = shift(f, i - 2, err);
	r = r < 0 ? r : file_open(f, 0, err);
	f->rotated = f->rotated || r == 0;
	return r;
}

/* ---- records */

size_t monitor_log_escape(const char **p, const char *end, char out[6])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char c = (unsigned char)**p;
	if (c >= 0x80) {
		uint32_t code = 0;
		size_t k = utf8_next(span_make(*p, (size_t)(end - *p)), &code);
		if (k == 0) {
			memcpy(out, "\\ufffd", 6);
			(*p)++;
			return 6;
		}
		if (code == 0x2028 || code == 0x2029) {
			memcpy(out, "\\u202", 5);
			out[5] = hex[code & 0xf];
			*p += k;
			return 6;
		}
		memcpy(out, *p, k);
		*p += k;
		return k;
	}
	(*p)++;
	if (c == '"' || c == '\\' || c == '\n' || c == '\r') {
		out[0] = '\\';
		out[1] = c == '\n' ? 'n' : c == '\r' ? 'r' : (char)c;
		return 2;
	}
	if (c < 0x20 || c == '<' || c == '>' || c == '&') {
		memcpy(out, "\\u00", 4);
		out[4] = hex[c >> 4];
		out[5] = hex[c & 0xf];
		return 6;
	}
	out[0] = (char)c;
	return 1;
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

static void put_escaped(struct log_file *f, const char *p, const char *end)
{
	while (p < end) {
		const char *q = p;
		while (q < end && is_plain((unsigned char)*q))
			q++;
		put(f, p, (size_t)(q - p));
		p = q;
		if (p < end) {
			char text[6];
			size_t k = monitor_log_escape(&p, end, text);
			put(f, text, k);
		}
	}
}

#define PUT(f, literal) put((f), literal, sizeof(literal) - 1)

/* whole: the line ends here. newline: with a line end of its own (Docker keeps it, CRI always writes one). */
static void record_add(struct log_file *f, const struct log_stream *s, const char *data, size_t len, bool whole,
		       bool newline)
{
	if (!f->broken && f->max_bytes && f->size + f->n >= f->max_bytes) {
		auto_err struct err err = ERR_INIT;
		flush(f, false);
		/* It goes on in the old file. STATUS tells, unless it is another's turn, which ends at once. */
		if (!f->broken && monitor_log_rotate(f, &err) < 0 && err.class != ERR_UNAVAILABLE)
			f->lost_errno = err.errnum;
	}
	if (f->broken) {
		f->lost_records++;
		return;
	}
	if (f->format == MONITOR_LOG_DOCKER) {
		PUT(f, "{\"log\":\"");
		put_escaped(f, data, data + len);
		if (newline)
			PUT(f, "\\n");
		PUT(f, "\",\"stream\":\"");
		put(f, s->name, strlen(s->name));
		if (f->attrs) {
			PUT(f, "\",\"attrs\":");
			put(f, f->attrs, strlen(f->attrs));
			PUT(f, ",\"time\":\"");
		} else {
			PUT(f, "\",\"time\":\"");
		}
		put(f, f->stamp, f->stamp_len);
		PUT(f, "\"}\n");
	} else {
		put(f, f->stamp, f->stamp_len);
		PUT(f, " ");
		put(f, s->name, strlen(s->name));
		put(f, whole ? " F " : " P ", 3);
		put(f, data, len);
		PUT(f, "\n");
	}
	if (f->broken) /* counted where it broke */
		return;
	f->waiting++;
	/* `whole` moves when nothing of the next record can be in the file yet. */
	if (f->n == 0) {
		f->whole = f->size;
		f->waiting = 0;
	}
}

void monitor_log_feed(struct log_file *f, struct log_stream *s, size_t *taken, bool end, int64_t now_ns)
{
	if (f->fd < 0) {
		*taken = s->n; /* nothing keeps it */
		return;
	}
	f->broken = f->size > f->whole && ftruncate(f->fd, (off_t)f->whole) < 0; /* what a failure before left */
	if (!f->broken)
		f->size = f->whole;
	f->stamp_len = time_format(f->stamp, now_ns / NS_PER_S, (int32_t)(now_ns % NS_PER_S),
				   f->format == MONITOR_LOG_DOCKER ? -1 : 9);
	const char *p = s->line + *taken, *stop = s->line + s->n;
	for (;;) {
		const char *nl = memchr(p, '\n', (size_t)(stop - p));
		if (!nl)
			break;
		record_add(f, s, p, (size_t)(nl - p), true, true);
		p = nl + 1;
	}
	if (p < stop && (end || (p == s->line && s->n == MONITOR_LINE))) {
		record_add(f, s, p, (size_t)(stop - p), end, false);
		p = stop;
	}
	flush(f, false);
	*taken = (size_t)(p - s->line);
}
