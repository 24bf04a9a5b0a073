/* What the files of logs share. Private. */
#pragma once

#include <sys/types.h>

#include "logs/logs.h"

struct log_file {
	int fd; /* owned */
	dev_t dev;
	ino_t ino;
	unsigned number; /* 0 = the current one, else of name.N, when it was listed */
	bool packed;     /* name.N.gz */
};

/* files.c: the files of a log, oldest first */
struct log_files {
	struct log_file *items; /* owned */
	size_t n, cap;
};
void logs_files_done(struct log_files *l);
/* Appends those that are newer than `after` (NULL = all). A log that is not there adds none. */
int logs_files_list(int dir, const char *name, const struct log_file *after, struct log_files *out, struct err *err);

/* What was written last before `since` has nothing for who asks since then. 0 = there is no bound. */
bool logs_file_is_old(const struct log_file *f, int64_t since_ns);
/* The N of all name.N and name.N.gz, rising, each once. *out is owned by the caller. */
int logs_numbers_list(int dir, const char *name, unsigned **out, size_t *out_n, struct err *err);

/* gz.c: what is in a compressed file */
struct logs_gz;
/* fd: borrowed, read from the beginning of the file to what is its end now. */
int logs_gz_open(int fd, struct logs_gz **out_gz, struct err *err);
void logs_gz_free(struct logs_gz *g); /* accepts NULL */
/* As read(2): bytes, 0 at the end. CORRUPT for what is no gzip or is cut short. */
ssize_t logs_gz_read(struct logs_gz *g, char *to, size_t cap, struct err *err);
/* Made by logs_compress, its header says of which inode. */
#define LOGS_GZ_EXTRA 12 /* bytes: one subfield (RFC 1952 section 2.3.1.1), "kn", of 8 bytes */
void logs_gz_extra(ino_t of, uint8_t out[LOGS_GZ_EXTRA]);
bool logs_gz_is_of(int fd, ino_t of);

/* tail.c: where the last lines begin. It walks from the newest file to the older ones; lines of a compressed file are counted by
 * who reads it. */
struct logs_tail;
/* lines: not negative. since_ns: files of before it are not looked at; 0 = all are. */
struct logs_tail *logs_tail_new(enum logs_format format, int64_t lines, int64_t since_ns, size_t n_files);
void logs_tail_free(struct logs_tail *t); /* accepts NULL */
/* 1: they begin in *out_file (index) at *out_offset; 0: *out_file's lines have to be counted, and told before the next step. */
int logs_tail_step(struct logs_tail *t, const struct log_files *l, size_t *out_file, uint64_t *out_offset, struct err *err);
/* Its lines that ended; its last record did not end one; it had any record. True: they begin in this file, behind *out_skip lines
 * that ended (more than there are: behind all of it). */
bool logs_tail_counted(struct logs_tail *t, uint64_t lines, bool open, bool any, uint64_t *out_skip);

/* reader.c: as logs_next, but 2 when *budget bytes were read without a record to show for it. */
int logs_next_within(struct logs_reader *r, size_t *budget, struct logs_record *out, struct err *err);
