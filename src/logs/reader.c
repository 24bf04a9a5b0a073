/* Records one after the other, over all files.
 *
 *     files:   [oldest] ... [at] ... [newest]        at: the one being read, at `offset`
 *     buffer:  |  given already  |start ===== end|   start..end is read and not given
 *
 * At the end of the newest file we ask whether it still bears the log's name. If not, the writer has gone on to another, but it
 * may have written to ours in between: it is read to its end once more (`last_look`) before the next one begins.
 *
 * While the last lines are looked for (`tail`), records of compressed files are counted and not given: within the same budget as
 * others, so that no turn of a loop takes long. */
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
	struct logs_gz *gz;     /* owned; of the current file, when it is compressed and was begun */
	struct logs_tail *tail; /* owned; NULL = it is known where to begin */
	bool counting;          /* lines of the current file, for tail */
	bool counted_open, counted_any;
	uint64_t counted;
	uint64_t skip;          /* lines of the current file that come before those wanted */
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
	logs_gz_free(r->gz);
	logs_tail_free(r->tail);
	logs_files_done(&r->files);
	fd_close(&r->dir);
	free(r->name);
	free(r->buffer);
	buf_done(&r->scratch);
	free(r);
}

/* ---- from file to file ---- */

static void file_begin(struct logs_reader *r, size_t at)
{
	logs_gz_free(take(&r->gz));
	r->at = at;
	r->offset = r->skip = 0;
	r->start = r->end = 0;
	r->skipping = r->last_look = false;
}

static void old_files_skip(struct logs_reader *r)
{
	while (!r->tail && r->at + 1 < r->files.n && !r->offset && !r->skip && logs_file_is_old(&r->files.items[r->at], r->since_ns))
		r->at++;
}

/* One step towards where the last lines begin: it is known, or a file's lines are counted. */
static int tail_step(struct logs_reader *r, struct err *err)
{
	size_t at;
	uint64_t offset;
	int rc = logs_tail_step(r->tail, &r->files, &at, &offset, err);
	if (rc < 0)
		return rc;
	file_begin(r, at);
	r->counting = rc == 0;
	r->counted = 0;
	r->counted_open = r->counted_any = false;
	r->offset = offset;
	if (rc > 0)
		logs_tail_free(take(&r->tail));
	return 0;
}

/* All lines of the file are counted. */
static int counted(struct logs_reader *r, struct err *err)
{
	uint64_t skip;
	r->torn = 0; /* it will be met again, or is not asked for */
	if (!logs_tail_counted(r->tail, r->counted, r->counted_open, r->counted_any, &skip))
		return tail_step(r, err);
	logs_tail_free(take(&r->tail));
	r->counting = false;
	file_begin(r, r->at);
	r->skip = skip;
	return 0;
}

int logs_open(const struct logs_params *p, struct logs_reader **out_reader, struct err *err)
{
	struct logs_reader *r = mem_new(struct logs_reader);
	*r = (struct logs_reader){ .dir = fcntl(p->dir, F_DUPFD_CLOEXEC, 0), .name = mem_dup(p->name, strlen(p->name)),
		.format = p->format, .streams = p->streams ? p->streams : LOGS_BOTH, .since_ns = p->since_ns, .until_ns = p->until_ns,
		.buffer = mem_alloc(LOGS_RECORD_MAX) };
	int rc = r->dir < 0 ? err_sys(err, "keep the log's folder") : logs_files_list(r->dir, r->name, NULL, &r->files, err);
	if (rc == 0 && p->tail >= 0) {
		r->tail = logs_tail_new(r->format, p->tail, r->since_ns, r->files.n);
		rc = tail_step(r, err);
	}
	if (rc < 0) {
		logs_close(r);
		return rc;
	}
	old_files_skip(r);
	*out_reader = r;
	return 0;
}

/* Nothing is left to be read of the current file. 1 = go on reading, 0 = nothing for now. */
static int at_end(struct logs_reader *r, struct err *err)
{
	struct stat st;
	if (r->counting) {
		int rc = counted(r, err);
		return rc < 0 ? rc : 1;
	}
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

/* As read(2) into what is free of the buffer, from the current file. */
static ssize_t piece(struct logs_reader *r, struct err *err)
{
	char *to = r->buffer + r->end;
	size_t room = LOGS_RECORD_MAX - r->end;
	if (r->at == r->files.n)
		return 0;
	const struct log_file *f = &r->files.items[r->at];
	if (!f->packed) {
		ssize_t n;
		do
			n = pread(f->fd, to, room, (off_t)r->offset);
		while (n < 0 && errno == EINTR);
		return n < 0 ? err_sys(err, "read log %s", r->name) : n;
	}
	ssize_t n = r->gz ? 0 : logs_gz_open(f->fd, &r->gz, err);
	n = n < 0 ? n : logs_gz_read(r->gz, to, room, err);
	if (n < 0 && err)
		(void)err_note(err, "log %s.%u.gz", r->name, f->number);
	return n;
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
		ssize_t n = piece(r, err);
		if (n < 0)
			return (int)n;
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
		if (r->counting) {
			r->counted += !rec.partial;
			r->counted_open = rec.partial;
			r->counted_any = true;
			continue;
		}
		if (r->skip) {
			r->skip -= !rec.partial;
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
