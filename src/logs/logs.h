/* Reading the logs that a monitor writes (monitor.h "Log"): Docker's json-file lines and CRI lines, over all rotated files.
 *
 *     name.2   name.1   name        oldest to newest; a crash in a rotation may leave a gap in the numbers
 *     name.2.gz                     what was rotated, compressed (logs_compress). Of name.2 and name.2.gz the first counts
 *
 * Promises
 * - Records come in the order of writing, each once, across rotation: files are held by descriptor, so that one that is
 *   renamed or removed while it is read is still read to its end.
 *   The same when it is compressed meanwhile.
 * - The last N lines are found from the end, reading no more than they take; compressed files, which have to be read from their
 *   beginning, as a whole. A line of several pieces is one line.
 * - Memory is bounded, whatever the log holds: a read buffer of LOGS_RECORD_MAX, a record unescaped, twice as much while the
 *   last lines are looked for, 75 KB while a compressed file is read.
 * - A compressed file that is no gzip or is cut short is an error that names it (CORRUPT), when its turn comes; its records up to
 *   there were given.
 * - A torn or foreign line (what a crash or a full disk left, a line that is too long) is passed over and counted.
 *   Half a record at the end of the newest file is not there yet; at the end of an older one it is torn.
 *
 * Text is given as the container wrote it: with "\n" where its line ended. A line longer than MONITOR_LINE comes in pieces, all
 * but the last `partial`; written one after the other they are the line again, as Docker and kubelet do it. With timestamps Docker
 * puts one before each record; logs_stamp helps.
 *
 *     struct logs_params p = { .dir = fd, .name = "abc-json.log", .format = LOGS_DOCKER, .tail = 100 };
 *     logs_open(&p, &r, &err);
 *     while ((rc = logs_next(r, &rec, &err)) > 0) ...
 *
 * logs_reader: one thread at a time, any thread; reads regular files only, so it blocks as long as the disk does.
 * logs_follow: the loop's thread. */
#pragma once

#include <stdatomic.h>

#include "base/base.h"
#include "json/json.h"
#include "loop/loop.h"

#define LOGS_RECORD_MAX (128 * 1024) /* MONITOR_LINE bytes, each escaped as \u00XX, and what stands around them */

enum logs_format { LOGS_DOCKER, LOGS_CRI };
enum { LOGS_STDOUT = 1, LOGS_STDERR = 2, LOGS_BOTH = 3 };

struct logs_record {
	int64_t time_ns;  /* since 1970 */
	int stream;       /* 1 standard output, 2 standard error */
	bool partial;     /* no line end: the line goes on in the stream's next record, or the container ended in it */
	struct span text; /* borrowed until the next call */
	struct span attrs; /* Docker's "attrs", a JSON object as text, members sorted; empty = none. Borrowed likewise */
};

struct logs_params {
	int dir;                    /* folder of the log; borrowed for the call */
	const char *name;           /* file name without a number; borrowed for the call */
	enum logs_format format;
	unsigned streams;           /* LOGS_*; 0 = both */
	int64_t since_ns, until_ns; /* records of this time or later, of this time or earlier; 0 = no bound */
	int64_t tail;               /* lines, of both streams together and before since and until apply, as Docker counts; -1 = all */
};

/* ---- what is there now ---- */

struct logs_reader;
/* A log that is not there (nothing was written yet) has no records: that is success. */
int logs_open(const struct logs_params *p, struct logs_reader **out_reader, struct err *err);
void logs_close(struct logs_reader *r); /* accepts NULL */
AUTO_DEFINE(logs_reader, struct logs_reader *, logs_close)
/* 1 and the next record; 0 when there is none for now (or ever: behind until): a later call goes on where this stopped, in
 * files that came meanwhile too; -class when a file cannot be read. */
int logs_next(struct logs_reader *r, struct logs_record *out, struct err *err);
/* A record later than until was met: nothing more will come. */
bool logs_is_past(const struct logs_reader *r);
uint64_t logs_torn(const struct logs_reader *r); /* lines passed over so far */

/* ---- what comes, on a loop ---- */

/* Embedded in the owner's struct; fields are private. */
struct logs_follow {
	struct logs_reader *reader; /* owned */
	/* A record, borrowed for the call. The callback may pause, end or close. */
	void (*record)(struct logs_follow *f, const struct logs_record *r);
	/* Once, after the last record: after logs_follow_end, behind until, or with the error that ended it (else NULL). */
	void (*done)(struct logs_follow *f, const struct err *err);
	void (*closed)(struct logs_follow *f);
	struct loop *loop;
	struct loop_watch watch;
	struct loop_task task;
	bool paused, ending, finished, closing;
};
/* Gives what is there and then what comes; p is copied. The first record comes from the loop, not from this call. Each turn of
 * the loop takes a bounded number of records. After a failure there is nothing to close. */
int logs_follow_open(struct logs_follow *f, struct loop *l, const struct logs_params *p,
	void (*record)(struct logs_follow *f, const struct logs_record *r),
	void (*done)(struct logs_follow *f, const struct err *err), struct err *err);
/* Backpressure: between pause and resume no record comes; nothing is lost and nothing is buffered but the record in hand. */
void logs_follow_pause(struct logs_follow *f);
void logs_follow_resume(struct logs_follow *f);
/* The writer is gone (the container ended): what is there is still given, then done. */
void logs_follow_end(struct logs_follow *f);
/* No callback but closed from here on; the memory is the owner's again from closed on (closed may be NULL, see loop.h). */
void logs_follow_close(struct logs_follow *f, void (*closed)(struct logs_follow *f));

/* ---- compression ---- */

/* Makes name.N.gz of the newest rotated file that is plain yet (RFC 1952; mode and time are the file's: when its last record came).
 * 1 = it did, and there may be more; 0 = there is nothing to do for now. CANCELLED when *stop was set meanwhile; -class when it
 * cannot be read or written: the plain file stays. After a crash at any instruction each record is there once; a temporary
 * name.gz.tmp goes with the next call.
 *
 * The writer may append and rotate meanwhile, if it takes the folder's flock for its renames, moves name.N.gz too, and never
 * writes to a file behind the next one's birth (monitor.h, COMPRESS). One caller at a time for a log. Any thread; blocks, syncs. */
int logs_compress(int dir, const char *name, const atomic_bool *stop, struct err *err);

/* ---- pieces ---- */

/* One line of a file without its "\n". text of a Docker record is unescaped into scratch (which is emptied first). False: torn. */
bool logs_record_parse(enum logs_format format, struct span line, struct buf *scratch, struct logs_record *out);
/* "2026-11-21T09:30:00.123456789Z ": what `docker logs -t` and `kubectl logs --timestamps` put before a record (nine digits).
 * Returns the length. */
size_t logs_stamp(char out[40], int64_t time_ns);
/* The since and until of Docker's API: "1700000000", "1700000000.000000001". INVALID_REQUEST otherwise. "" and "0" are 0. */
int logs_time_parse(struct span text, int64_t *out_ns, struct err *err);
