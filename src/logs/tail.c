/* Where the last N lines begin.
 *
 *      |---- window: 2 * LOGS_RECORD_MAX ----|
 *      ..\n record \n record \n record \n tor|
 *                            ^ at     ^ end of the last whole record
 *
 * Records are walked backwards. Each that ends a line is one; pieces before it belong to it. The walk ends at the record that would
 * be one too many: the lines begin behind it.
 *
 * A compressed file cannot be walked backwards: the lines in it are counted forwards, by the reader, in as many turns as it takes.
 * When there are more than are still to be found, those too many are its first ones, and the reader passes over them. */
#include <sys/stat.h>
#include <unistd.h>

#include "logs/private.h"

enum { WINDOW = 2 * LOGS_RECORD_MAX };

struct logs_tail {
	enum logs_format format;
	int64_t since_ns;
	size_t files;    /* that were not looked at */
	uint64_t left;   /* lines still to be found */
	bool open;       /* the newest record seen last has no line end: a line of its own */
	bool any;        /* a record was seen */
	char *window;    /* owned */
	uint64_t from;   /* file offset of window[0] */
	size_t have;
	struct buf scratch;
};

static int window_load(struct logs_tail *w, int fd, uint64_t end, struct err *err)
{
	w->from = end > WINDOW ? end - WINDOW : 0;
	w->have = 0;
	while (w->from + w->have < end) {
		ssize_t n = pread(fd, w->window + w->have, (size_t)(end - w->from) - w->have, (off_t)(w->from + w->have));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "read log");
		if (n == 0) /* emptied meanwhile: what is gone has no lines */
			return 0;
		w->have += (size_t)n;
	}
	return 0;
}

/* The last newline of the window before offset `end`; -1 = none in it. */
static int64_t newline_before(const struct logs_tail *w, uint64_t end)
{
	const char *nl = end > w->from ? memrchr(w->window, '\n', (size_t)(end - w->from)) : NULL;
	return nl ? (int64_t)(w->from + (uint64_t)(nl - w->window)) : -1;
}

/* True: the record is one too many. */
static bool too_many(struct logs_tail *w, struct span line)
{
	struct logs_record r;
	if (!logs_record_parse(w->format, line, &w->scratch, &r))
		return false; /* torn: no record */
	bool counts = !r.partial || !w->any;
	w->any = true;
	if (!counts)
		return false;
	if (w->left == 0)
		return true;
	w->left--;
	return false;
}

/* 1 and the offset behind the record that is one too many; 0 when the file has not so many. */
static int file_walk(struct logs_tail *w, int fd, uint64_t *out_offset, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat log");
	uint64_t end = (uint64_t)st.st_size; /* what is behind is done with */
	int rc = window_load(w, fd, end, err);
	bool whole = false; /* a newline closes what lies before end */
	while (rc == 0 && end > 0 && w->have > 0) {
		int64_t nl = newline_before(w, end - (whole ? 1 : 0));
		if (nl < 0 && w->from > 0 && end - w->from <= LOGS_RECORD_MAX && w->have == WINDOW) {
			rc = window_load(w, fd, end, err); /* the record begins further down */
			continue;
		}
		if (nl < 0 && w->from > 0) { /* too long to be a record: on to where it begins */
			end = w->from;
			whole = false;
			rc = window_load(w, fd, end, err);
			continue;
		}
		uint64_t begin = nl < 0 ? 0 : (uint64_t)nl + 1;
		if (whole && too_many(w, span_make(w->window + (begin - w->from), (size_t)(end - 1 - begin)))) {
			*out_offset = end;
			return 1;
		}
		end = begin;
		whole = true;
	}
	return rc;
}

struct logs_tail *logs_tail_new(enum logs_format format, int64_t lines, int64_t since_ns, size_t n_files)
{
	struct logs_tail *t = mem_new(struct logs_tail);
	*t = (struct logs_tail){ .format = format, .since_ns = since_ns, .files = n_files, .left = (uint64_t)lines,
		.window = mem_alloc(WINDOW) };
	return t;
}

void logs_tail_free(struct logs_tail *t)
{
	if (!t)
		return;
	free(t->window);
	buf_done(&t->scratch);
	free(t);
}

int logs_tail_step(struct logs_tail *t, const struct log_files *l, size_t *out_file, uint64_t *out_offset, struct err *err)
{
	*out_offset = 0;
	for (*out_file = t->files; t->files > 0; *out_file = t->files) {
		const struct log_file *f = &l->items[t->files - 1];
		if (t->files < l->n && logs_file_is_old(f, t->since_ns)) /* whatever lines it has, they would not be given */
			return 1;
		*out_file = --t->files;
		if (f->packed)
			return 0;
		int rc = file_walk(t, f->fd, out_offset, err);
		if (rc != 0)
			return rc;
	}
	return 1;
}

bool logs_tail_counted(struct logs_tail *t, uint64_t lines, bool open, bool any, uint64_t *out_skip)
{
	if (open && !t->any)
		lines++;
	t->any = t->any || any;
	*out_skip = lines > t->left ? lines - t->left : 0;
	t->left -= MIN(lines, t->left);
	return *out_skip > 0;
}
