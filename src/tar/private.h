/* What the files of tar share. Private. */
#pragma once

#include "tar/tar.h"

#define TAR_BLOCK_BYTES 512

/* A header block (POSIX ustar; GNU's differences where they matter). All fields are text at fixed offsets. */
struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100];
	char magic[8]; /* "ustar\0" "00" (POSIX) or "ustar  \0" (GNU) */
	char uname[32], gname[32], major[8], minor[8];
	char prefix[155]; /* POSIX: path = prefix / name. GNU: atime, ctime, sparse parts: see struct tar_gnu_tail */
	char rest[12];
};
struct tar_gnu_tail { /* in the place of prefix and rest */
	char atime[12], ctime[12], offset[12], longnames[4], unused, sparse[4][24], is_extended, real_size[12], pad[17];
};
_Static_assert(sizeof(struct tar_header) == TAR_BLOCK_BYTES, "a header is one block");
_Static_assert(sizeof(struct tar_gnu_tail) == 167, "the tail of a GNU header");

/* A number field: octal text with blanks or zeros around it, or base 256 (first bit set; GNU). False: malformed, or beyond
 * int64. */
bool tar_number_read(const char *field, size_t len, int64_t *out);
/* Octal with a closing 0 byte; false when it does not fit. */
bool tar_number_write(char *field, size_t len, uint64_t v);
/* The sum over the block with blanks in the place of the sum field. */
unsigned tar_sum(const struct tar_header *h, bool with_sign);

/* One pax record "LEN KEY=VALUE\n" at the start of *rest. 1, 0 at the end, -1 malformed. */
int tar_pax_next(struct span *rest, struct span *out_key, struct span *out_value);
void tar_pax_add(struct buf *out, const char *key, const char *key_rest, struct span value);
/* "[-]SECONDS[.FRACTION]"; more than nine digits are cut, toward minus infinity for times before 1970. */
bool tar_pax_time_read(struct span s, struct timespec *out);
void tar_pax_time_add(struct buf *out, const char *key, struct timespec t);

/* tar_other.c: bzip2 or xz. UNSUPPORTED without its library. A step takes from *in, gives what it made (at most TAR_PIECE_BYTES)
 * and says whether it is within a stream; last: *in is all that comes. */
struct tar_other;
int tar_other_new(enum tar_format f, struct tar_other **out, struct err *err);
int tar_other_step(struct tar_other *o, struct span *in, bool last, char *out, size_t *out_n, bool *within, struct err *err);
void tar_other_free(struct tar_other *o); /* accepts NULL */
