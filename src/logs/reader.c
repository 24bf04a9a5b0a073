/* Records one after the other, over all files.
 *
 *     files:   [oldest] ... [at] ... [newest]        at: the one being read, at `offset`
 *     buffer:  |  given already  |start ===== end|   start..end is read and not given
 *
 * At the end of the newest file we ask whether it still bears the log's name. If not, the writer has gone on to another, but it
 * may have written to ours in between: it is read to its end once more (`last_look`) before the next one begins. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "logs/private.h"

struct logs_reader {
	int dir; /* owned */
	char *name; /* owned */
	enum logs_format format;
	unsigned streams;
	int64_t since_ns, until_ns;
	struct log_files files;
	size_t at;
	uint64_t offset;
	char *buffer; /* owned; LOGS_RECORD_MAX */
	size_t start, end;
	bool skipping;  /* inside a line that is too long */
	bool last_look, past;
	uint64_t torn;
	struct buf scratch;
};

bool logs_is_past(const struct logs_reader *r)
{
	return r->past;
}

uint64_t logs_torn(const struct logs_reader *r)
{
	return r->torn;
}

void logs_close(struct logs_reader *r)
{
	if (!r)
		return;
	logs_files_done(&r->files);
	fd_close(&r->dir);
	free(r->name);
	free(r->buffer);
	buf_done(&r->scratch);
	free(r);
}

/* What was written last before `since` has nothing for us. */
static void old_files_skip(struct logs_reader *r)
{
	struct stat st;
	while (r->since_ns && r->at + 1 < r->files.n && r->offset == 0 && fstat(r->files.items[r->at].fd, &st) == 0 &&
	       st.st_mtim.tv_sec < r->since_ns / NS_PER_S - 1)
		r->at++;
}

int logs_open(const struct logs_params *p, struct logs_reader **out_reader, struct err *err)
{
	struct logs_reader *r = mem_new(struct logs_reader);
	*r = (struct logs_reader){ .dir = fcntl(p->dir, F_DUPFD_CLOEXEC, 0), .name = mem_dup(p->name, strlen(p->name)),
		.format = p->format, .streams = p->streams ? p->streams : LOGS_BOTH, .since_ns = p->since_ns, .until_ns = p->until_ns,
		.buffer = mem_alloc(LOGS_RECORD_MAX) };
	int rc = r->dir < 0 ? err_sys(err, "keep the log's folder") : logs_files_list(r->dir, r->name, NULL, &r->files, err);
	if (rc == 0 && p->tail >= 0)
		rc = logs_tail_find(&r->files, r->format, p->tail, &r->at, &r->offset, err);
	if (rc < 0) {
		logs_close(r);
		return rc;
	}
	old_files_skip(r);
	*out_reader = r;
	return 0;
}

/* ---- from file to file ---- */

static void file_begin(struct logs_reader *r, size_t at)
{
	r->at = at;
	r->offset = 0;
	r->start = r->end = 0;
	r->skipping = r->last_look = false;
}

/* Nothing is left to be read of the current file. 1 = go on reading, 0 = nothing for now. */
static int at_end(struct logs_reader *r, struct err *err)
{
	struct stat st;
	if (r->at + 1 < r->files.n) {
		if (r->end > r->start || r->skipping)
			r->torn++; /* half a record, and the writer went on */
		fd_close(&r->files.items[r->at].fd);
		file_begin(r, r->at + 1);
		return 1;
	}
	if (r->at == r->files.n) /* no file yet */
		return logs_files_list(r->dir, r->name, NULL, &r->files, err) < 0 ? -ERR_IO : r->files.n > r->at;
	const struct log_file *f = &r->files.items[r->at];
	bool there = fstatat(r->dir, r->name, &st, AT_SYMLINK_NOFOLLOW) == 0; /* not so between two renames */
	if (!there && errno != ENOENT)
		return err_sys(err, "stat log %s", r->name);
	if (there && st.st_ino == f->ino && st.st_dev == f->dev) {
		if ((uint64_t)st.st_size >= r->offset)
			return 0;
		file_begin(r, r->at); /* emptied (max_files 1). One that has grown past our place since cannot be told from it. */
		return 1;
	}
	if (!r->last_look) {
		r->last_look = true;
		return 1;
	}
	/* Forget the closed ones before the list grows: a follower may live for years. */
	struct log_file here = *f;
	struct log_files newer = {};
	MEM_GROW(newer.items, newer.n, newer.cap);
	newer.items[newer.n++] = here;
	int rc = logs_files_list(r->dir, r->name, &here, &newer, err);
	if (rc < 0) {
		newer.n = 0; /* `here` is still the other list's */
		logs_files_done(&newer);
		return rc;
	}
	r->files.n = r->at; /* those before are closed, this one moved over */
	logs_files_done(&r->files);
	r->files = newer;
	r->at = 0;
	return newer.n > 1;
}

/* 1 = there is more in the buffer, 0 = nothing for now. */
static int fill(struct logs_reader *r, size_t *budget, struct err *err)
{
	if (r->start) {
		memmove(r->buffer, r->buffer + r->start, r->end - r->start);
		r->end -= r->start;
		r->start = 0;
	}
	if (r->end == LOGS_RECORD_MAX) { /* no newline in all of it */
		r->skipping = true;
		r->end = 0;
	}
	for (;;) {
		int rc;
		int fd = r->at < r->files.n ? r->files.items[r->at].fd : -1;
		ssize_t n = fd < 0 ? 0 : pread(fd, r->buffer + r->end, LOGS_RECORD_MAX - r->end, (off_t)r->offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "read log %s", r->name);
		if (n > 0) {
			r->end += (size_t)n;
			r->offset += (uint64_t)n;
			*budget -= MIN(*budget, (size_t)n);
			return 1;
		}
		if ((rc = at_end(r, err)) <= 0)
			return rc;
	}
}

int logs_next_within(struct logs_reader *r, size_t *budget, struct logs_record *out, struct err *err)
{
	while (!r->past) {
		const char *p = r->buffer + r->start, *nl = memchr(p, '\n', r->end - r->start);
		if (!nl) {
			if (!*budget)
				return 2;
			int rc = fill(r, budget, err);
			if (rc <= 0)
				return rc;
			continue;
		}
		struct span line = span_make(p, (size_t)(nl - p));
		r->start += line.len + 1;
		struct logs_record rec;
		if (r->skipping || !logs_record_parse(r->format, line, &r->scratch, &rec)) {
			r->skipping = false;
			r->torn += line.len > 0;
			continue;
		}
		if (r->until_ns && rec.time_ns > r->until_ns)
			r->past = true;
		else if (rec.time_ns >= r->since_ns && (r->streams & (unsigned)rec.stream)) {
			*out = rec;
			return 1;
		}
	}
	return 0;
}

int logs_next(struct logs_reader *r, struct logs_record *out, struct err *err)
{
	size_t budget = SIZE_MAX;
	return logs_next_within(r, &budget, out, err);
}
