/* What the files of logs share. Private. */
#pragma once

#include <sys/types.h>

#include "logs/logs.h"

struct log_file {
	int fd; /* owned */
	dev_t dev;
	ino_t ino;
	unsigned number; /* 0 = the current one, else of name.N, when it was listed */
};

/* files.c: the files of a log, oldest first */
struct log_files {
	struct log_file *items; /* owned */
	size_t n, cap;
};
void logs_files_done(struct log_files *l);
/* Appends those that are newer than `after` (NULL = all). A log that is not there adds none. */
int logs_files_list(int dir, const char *name, const struct log_file *after, struct log_files *out, struct err *err);

/* tail.c: where the last `lines` lines begin: *out_file (index) and *out_offset. */
int logs_tail_find(const struct log_files *l, enum logs_format format, int64_t lines, size_t *out_file, uint64_t *out_offset,
	struct err *err);

/* reader.c: as logs_next, but 2 when *budget bytes were read without a record to show for it. */
int logs_next_within(struct logs_reader *r, size_t *budget, struct logs_record *out, struct err *err);
