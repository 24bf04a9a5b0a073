/* The container's log: bytes of two streams become records of a file that is rotated. Fixed memory, no allocation.
 * See monitor.h for what is promised. Offsets and sizes in bytes. */
#pragma once

#include "monitor/monitor.h"

/* A stream's line buffer: what was read and is not in the log yet. */
struct log_stream {
	const char *name; /* "stdout" */
	size_t n;
	char *line; /* MONITOR_LINE bytes; borrowed for ever */
};

struct log_file {
	enum monitor_log_format format;
	int dir, fd;	  /* fd -1: there is no log (NONE) or it could not be opened */
	uint64_t max_bytes;
	unsigned max_files;
	uint64_t size;	  /* of the file, without what is in out */
	uint64_t lost_records;
	int lost_errno;
	uint64_t whole;	  /* file offset behind the last complete record */
	unsigned waiting; /* complete records in out that are not written */
	bool broken;	  /* a write failed within the current batch */
	bool compress;	  /* MONITOR_COMPRESS */
	bool rotated;	  /* a new file was begun; whoever tells it takes that back */
	const char *attrs; /* borrowed for ever; NULL = none */
	size_t n;
	char name[256];
	char stamp[40];	  /* text of the current feed's time */
	size_t stamp_len;
	char out[4096]; /* empty between two feeds: records are then made in it (record.h) */
};

/* 0 or -class; on failure fd stays -1. Zero-initialised plus format, dir, name, limits is what it takes. */
int monitor_log_open(struct log_file *f, struct err *err);
void monitor_log_close(struct log_file *f);
/* Takes what is complete out of s->line[0..n) and leaves the rest at its start; with end also the rest. The bytes are
 * moved only by the call of monitor_log_compact, so that they can be sent on meanwhile: *taken counts them. */
void monitor_log_feed(struct log_file *f, struct log_stream *s, size_t *taken, bool end, int64_t now_ns);
static inline void monitor_log_compact(struct log_stream *s, size_t *taken)
{
	if (*taken)
		memmove(s->line, s->line + *taken, s->n - *taken);
	s->n -= *taken;
	*taken = 0;
}
/* UNAVAILABLE: with compress, somebody has the folder's lock just now. */
int monitor_log_rotate(struct log_file *f, struct err *err);
int monitor_log_reopen(struct log_file *f, struct err *err);

/* JSON string contents as Docker's: Go's rules with <, > and & escaped, control bytes but \n and \r as \u00XX, each byte that
 * is no UTF-8 as the escape of U+FFFD. Writes at most 6 bytes and advances *p; returns how many. */
size_t monitor_log_escape(const char **p, const char *end, char out[6]);
