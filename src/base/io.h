/* Whole reads and writes, and files that are there completely or not at all. Descriptors are close-on-exec;
 * paths travel as (dirfd, relative name). Blocking: for start-up, workers and the static programs. */
#pragma once

#include <sys/types.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

/* All of it, through EINTR and short writes. 0 or -class. */
int io_write_all(int fd, const void *data, size_t len, struct err *err);
/* Exactly len bytes; fewer before the end is CORRUPT. */
int io_read_exact(int fd, void *out_data, size_t len, struct err *err);
/* Appends everything up to the end; more than limit_bytes is TOO_LARGE. */
int io_read_all(int fd, struct buf *out, size_t limit_bytes, struct err *err);
/* A whole file beneath dirfd (AT_FDCWD for a plain path), appended to out. */
int io_read_file(int dirfd, const char *name, struct buf *out, size_t limit_bytes, struct err *err);
/* Replaces name beneath dirfd atomically and durably: temporary file, sync, rename, sync of the folder. After a
 * crash either the old or the new contents are there. */
int io_write_file(int dirfd, const char *name, struct span data, mode_t mode, struct err *err);
/* The same for contents that may be lost or rebuilt: atomic, without the syncs. */
int io_write_file_lazy(int dirfd, const char *name, struct span data, mode_t mode, struct err *err);
/* Makes all missing folders of a path (mode 0755 less umask for parents, mode for the last). */
int io_mkdirs(int dirfd, const char *path, mode_t mode, struct err *err);
/* The soft limit of open files becomes the hard one: a connection is a descriptor, and nobody here calls select(2), for whose sake
 * the soft limit is low. What cannot be raised is logged and stays. Children inherit it. */
void io_descriptors_raise(void);
