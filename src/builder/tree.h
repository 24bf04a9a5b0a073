/* Where COPY and ADD take from: a context that came as an archive, or the folders of a stage or image, both as one tree of names.
 *
 * A context is never unpacked: its bytes lie in one file without a name, the tree says where. So no name, link or device in it can
 * lead anywhere, and a process that dies leaves nothing. A folder's tree is read as far as it is looked at.
 *
 * One thread at a time. Memory: the tree's own arena, about 250 bytes a name. Private. */
#pragma once

#include "builder/private.h"
#include "tar/tar.h"

#define BUILDER_ENTRIES_MAX 1000000 /* names of a context */
#define BUILDER_LINKS_MAX 40        /* symbolic links on the way to one file */
#define BUILDER_BYTES_MAX (UINT64_C(1) << 40) /* sizes of an archive's files together, holes too: they are hashed and written */

struct tree_node {
	struct span path;  /* from the root, no slash at either end; "" = the root */
	struct span name;  /* the last component of it */
	struct tree_node *parent, *first, *next; /* children in byte order of their names once builder_tree_children was asked */
	enum tar_kind kind; /* never TAR_HARDLINK: same says so */
	mode_t mode;       /* the 12 bits */
	uint32_t uid, gid;
	uint64_t size;
	struct timespec mtime;
	struct span link;  /* of a symbolic one */
	unsigned major, minor;
	const struct tar_xattr *xattrs;
	size_t n_xattrs;
	struct tree_node *same; /* another name of that file */
	uint64_t offset;   /* of a context's file in the spool */
	bool loaded, sorted, hashed, gone;
	uint8_t sha[32];   /* of the contents */
	struct span put;   /* layer.c: the name that it got last, in whichever layer */
};

struct tree {
	struct arena a;
	struct map by_path;
	struct map inodes; /* folder: "dev:ino" of files with several names */
	struct tree_node *root;
	int fd;            /* owned: the spool, or the folder */
	bool folder;
	struct builder_stop *stop; /* borrowed: whatever reads contents or walks ends with CANCELLED; NULL = never */
	size_t n;
};
/* Reads an archive, plain or compressed. spool_dir: folder of the file without a name. CORRUPT, INVALID "... outside of the
 * build context", TOO_LARGE. */
int builder_tree_read(struct tree *t, struct tar_source *from, const char *spool_dir, struct builder_stop *stop, struct err *err);
/* One file as a context of that name (a Dockerfile alone, what a URL gave). fd is taken over. */
int builder_tree_single(struct tree *t, int fd, struct span name, mode_t mode, struct timespec mtime, struct builder_stop *stop,
	struct err *err);
/* root is taken over, also on failure */
int builder_tree_folder(struct tree *t, int root, struct builder_stop *stop, struct err *err);
void builder_tree_done(struct tree *t); /* a zeroed one too */

/* Takes out what rules leave out; a folder stays when something in it does. */
void builder_tree_ignore(struct tree *t, const struct builder_ignore *rules);
void builder_tree_remove(struct tree *t, struct tree_node *n);

/* path is taken from the root, wherever ".." leads; links on the way are followed inside. NOT_FOUND "file does not exist". */
int builder_tree_find(struct tree *t, struct span path, bool follow_last, struct tree_node **out, struct err *err);
/* Every name that the pattern means (filepath.Match, component by component), in order; links before the first wildcard are
 * followed. Into the arena. */
int builder_tree_glob(struct tree *t, struct span pattern, struct arena *a, struct tree_node ***out, size_t *out_n,
	struct err *err);
/* Its children are there and in order. */
int builder_tree_children(struct tree *t, struct tree_node *n, struct err *err);
/* A file's contents in pieces. */
int builder_tree_contents(struct tree *t, struct tree_node *n, int (*fn)(void *arg, struct span piece, struct err *err),
	void *arg,
	struct err *err);
/* A source over a file's contents; builder_tree_source_done afterwards. */
struct tree_source {
	struct tar_source source;
	int fd; /* borrowed for a context, owned for a folder */
	bool owned;
	struct builder_stop *stop; /* of the tree */
	uint64_t at, end;
	char *buf;
};
int builder_tree_source(struct tree *t, struct tree_node *n, struct tree_source *out, struct err *err);
void builder_tree_source_done(struct tree_source *s);
int builder_tree_file(struct tree *t, struct tree_node *n, struct buf *out, size_t limit_bytes, struct err *err);

/* What of a name and all beneath it matters: names, kinds, modes, owners, contents, links, attributes; not times. skip may be NULL:
 * names (relative to n) that are left out. */
int builder_tree_digest(struct tree *t, struct tree_node *n, const struct builder_ignore *skip, uint8_t out[32], struct err *err);
