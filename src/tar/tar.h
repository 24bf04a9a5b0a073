/* Archives of files as POSIX (ustar and pax, IEEE 1003.1-2017 "pax", sections ustar and pax) and GNU tar write them, and
 * the compressed streams around them. Streaming in both directions, without threads and without touching a file system.
 *
 * Everything is pulled: a source hands out its next piece, a filter is a source that pulls another one, and the reader of
 * entries pulls the last. Nobody copies what can be lent: a piece belongs to its source and lives until the next pull.
 *
 *     struct tar_fd_source file;       tar_fd_source_init(&file, fd);
 *     struct tar_inflate *plain;       tar_inflate_new(&file.source, 0, &plain);
 *     struct tar_reader *r;            tar_reader_new(tar_inflate_source(plain), NULL, &r);
 *     const struct tar_entry *e;
 *     while ((rc = tar_next(r, &e, err)) > 0)
 *             while ((rc = tar_data(r, &piece, err)) > 0)
 *                     pwrite(fd, piece.data.ptr, piece.data.len, piece.offset);
 *
 * Input is bounded: names, extension records, entries and bytes each have a limit (struct tar_limits) and going beyond it is
 * TOO_LARGE. What is malformed is CORRUPT, what ends too early too. Nothing recurses.
 *
 * An object here belongs to one thread at a time; different objects share nothing. */
#pragma once

#include <sys/types.h>
#include <time.h>
#include "base/base.h"

/* ---- sources: where bytes come from ---- */

struct tar_source {
	/* 1 and a piece that is not empty, borrowed until the next pull; 0 at the end (then for ever); or -class. */
	int (*pull)(struct tar_source *s, struct span *out_piece, struct err *err);
};

struct tar_memory_source {
	struct tar_source source;
	struct span left;   /* borrowed */
	size_t piece_bytes; /* the most that a pull hands out; 0 = all. Tests cut input into small pieces with it. */
};
void tar_memory_source_init(struct tar_memory_source *s, struct span all);

#define TAR_PIECE_BYTES (256 * 1024)
struct tar_fd_source {
	struct tar_source source;
	int fd;    /* borrowed; read from where it stands */
	char *buf; /* owned; TAR_PIECE_BYTES, made at the first pull */
};
void tar_fd_source_init(struct tar_fd_source *s, int fd);
void tar_fd_source_done(struct tar_fd_source *s);

/* ---- compression ---- */

enum tar_format { TAR_PLAIN, TAR_GZIP, TAR_ZSTD, TAR_BZIP2, TAR_XZ, TAR_FORMAT_COUNT };
const char *tar_format_name(enum tar_format f); /* "plain", "gzip", ... */
/* By the first bytes (6 are enough): gzip RFC 1952 section 2.3.1, zstd RFC 8878 section 3.1, bzip2, xz
 * (its file format 1.1.0 section 2.1.1.1), else plain. */
enum tar_format tar_format_of(struct span head);

/* A source of plain bytes over one that may be compressed; the format is seen from the first bytes. Several gzip members
 * or zstd frames in a row are one stream; zeros behind the last gzip member are padding (as gzip(1) has it), anything
 * else there is CORRUPT. A stream that ends inside a member is CORRUPT; its checksums are compared. zstd windows are
 * bounded to 128 MB (RFC 8878 section 3.1.1.1.2 lets a decoder refuse more), xz to as much memory. bzip2 and xz are
 * UNSUPPORTED where libbz2.so.1.0 or liblzma.so.5 cannot be opened. limit_bytes
 * bounds the plain bytes (0 = none): a bomb ends as TOO_LARGE when the limit is passed, not when the disk is full.
 *
 * gzip is inflated by ISA-L when libisal.so.2 can be opened (three times as fast), else by zlib; both give
 * the same bytes and refuse the same streams. */
struct tar_inflate;
void tar_inflate_new(struct tar_source *from, uint64_t limit_bytes, struct tar_inflate **out_inflate); /* borrows from */
struct tar_source *tar_inflate_source(struct tar_inflate *i);
/* As a pull of the source, but the piece is made in the caller's memory of TAR_PIECE_BYTES and stays there: for whoever holds
 * several at once. Bytes that need no decompressing are copied. */
int tar_inflate_into(struct tar_inflate *i, char *to, struct span *out_piece, struct err *err);
void tar_inflate_free(struct tar_inflate *i); /* accepts NULL */
AUTO_DEFINE(tar_inflate, struct tar_inflate *, tar_inflate_free)
/* Whether gzip goes through ISA-L; off = zlib although ISA-L is there (tests, measurements). Set before threads start. */
bool tar_isal_usable(void);
void tar_isal_set(bool on);

/* ---- entries ---- */

enum tar_kind { TAR_FILE, TAR_HARDLINK, TAR_SYMLINK, TAR_CHAR, TAR_BLOCK, TAR_DIR, TAR_FIFO, TAR_KIND_COUNT };
const char *tar_kind_name(enum tar_kind k); /* "file", "hard link", ... */

struct tar_xattr {
	struct span name, value; /* value: any bytes */
};

struct tar_entry {
	enum tar_kind kind;
	mode_t mode;       /* the 12 permission bits; the kind is not in it */
	struct span path;  /* as written, not empty, no 0 byte, 0-ended behind its length; may be absolute or hold ".." */
	struct span link;  /* hard link and symbolic link: the target, likewise */
	struct span uname, gname;
	uint64_t uid, gid;
	uint64_t size;     /* of a file's contents, holes included */
	unsigned major, minor; /* char and block devices */
	struct timespec mtime, atime, ctime; /* tv_nsec UTIME_OMIT = not given (atime and ctime only) */
	const struct tar_xattr *xattrs;
	size_t n_xattrs;
	bool sparse;       /* has holes: its pieces leave them out */
};

struct tar_limits { /* 0 = the default in brackets */
	size_t path_bytes;  /* [4095] of a path or link target: what Linux opens */
	size_t pax_bytes;   /* [1 MB] of one extension header (pax records; GNU long name) */
	size_t sparse_parts; /* [65536] of one file */
	uint64_t entries;   /* [10 million] */
	uint64_t bytes;     /* [1 TB] sizes of all files together, as they would be written (holes left out) */
};

struct tar_reader;
void tar_reader_new(struct tar_source *from, const struct tar_limits *limits, struct tar_reader **out_reader);
void tar_reader_free(struct tar_reader *r); /* accepts NULL */
AUTO_DEFINE(tar_reader, struct tar_reader *, tar_reader_free)
/* 1 and the next entry (valid until the next tar_next; what was not read of the last one's data is skipped), 0 at the end
 * of the archive, or -class. The end is two blocks of zeros, or the end of the stream between two entries (as GNU tar and
 * Go accept it). Kinds: '0' NUL '7' file, '1' to '6'; 'x' 'g' pax, 'L' 'K' GNU long names, 'S' GNU sparse, are taken in;
 * GNU.sparse.* of pax 0.0, 0.1 and 1.0 too. Volume labels and multi-volume parts ('V', 'M') are UNSUPPORTED, every
 * other type is read as a file, as the standard asks. Repeated pax keys: the last counts; an empty value removes
 * what a global header said. */
int tar_next(struct tar_reader *r, const struct tar_entry **out_entry, struct err *err);
struct tar_piece {
	uint64_t offset;  /* in the file */
	struct span data; /* not empty; borrowed until the next call on the reader */
};
/* 1 and the next piece of the entry's contents in rising order, 0 behind the last, or -class. */
int tar_data(struct tar_reader *r, struct tar_piece *out_piece, struct err *err);
/* Reads the stream to its very end, for whoever hashes it: bytes behind the end of the archive are passed over. */
int tar_drain(struct tar_reader *r, struct err *err);
uint64_t tar_entries_read(const struct tar_reader *r);

/* ---- writing ---- */

struct tar_sink {
	/* Takes all of it, or -class. The sink may be called with pieces of any size. */
	int (*push)(struct tar_sink *s, struct span data, struct err *err);
};
struct tar_buf_sink {
	struct tar_sink sink;
	struct buf *buf; /* borrowed; its limit bounds the output (TOO_LARGE) */
};
void tar_buf_sink_init(struct tar_buf_sink *s, struct buf *b);
struct tar_fd_sink {
	struct tar_sink sink;
	int fd; /* borrowed */
};
void tar_fd_sink_init(struct tar_fd_sink *s, int fd);

/* Writes ustar headers and, for what they cannot hold (long or non-ASCII names, large numbers, fractions of a second,
 * extended attributes), a pax header before them. The same entries give the same bytes. */
struct tar_writer {
	struct tar_sink *to; /* borrowed */
	uint64_t left;       /* of the current file's data */
	unsigned pad;        /* zeros that follow them */
	struct buf pax;      /* owned */
};
void tar_writer_init(struct tar_writer *w, struct tar_sink *to);
void tar_writer_done(struct tar_writer *w);
/* The entry's header. A path of a folder gets its closing '/'. The last entry's data must be complete (our mistake
 * otherwise: assert). INVALID for an entry that the format cannot say (a 0 byte in a name). sparse is ignored: holes are
 * written out as zeros by the caller. */
int tar_write(struct tar_writer *w, const struct tar_entry *e, struct err *err);
int tar_write_data(struct tar_writer *w, struct span data, struct err *err); /* at most what is left of e->size */
int tar_write_end(struct tar_writer *w, struct err *err);                    /* two blocks of zeros */

/* A sink that compresses into another. level: of the library; 0 = its default (gzip 6, zstd 3). tar_deflate_end writes the
 * rest; only then the output is complete. TAR_PLAIN passes through. gzip's header has no time and no name, so the
 * same bytes give the same blob. */
struct tar_deflate;
int tar_deflate_new(struct tar_sink *to, enum tar_format format, int level, struct tar_deflate **out_deflate, struct err *err);
struct tar_sink *tar_deflate_sink(struct tar_deflate *d);
int tar_deflate_end(struct tar_deflate *d, struct err *err);
void tar_deflate_free(struct tar_deflate *d); /* accepts NULL */
AUTO_DEFINE(tar_deflate, struct tar_deflate *, tar_deflate_free)
