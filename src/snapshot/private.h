/* What the files of snapshot share. Private. */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "snapshot/snapshot.h"

#define OPAQUE_XATTR "trusted.overlay.opaque"
#define PATH_BYTES_MAX 4095

struct layer {
	struct snapshot_layer facts;
	bool opaque_root; /* it hides all below: overlayfs does not look at the attribute of a root, so we stop there */
	unsigned refs;    /* layers and snapshots that stand on it */
};

struct live {
	char *key; /* owned */
	char parent[SNAPSHOT_CHAIN_LEN + 1];
	bool unsynced; /* snapshot_prepare_volatile */
};

struct snapshot_store {
	char *dir;           /* owned; absolute */
	int dirfd, tmp, layers, live, lock;
	enum snapshot_backend backend;
	struct tar_limits limits;
	pthread_mutex_t mutex; /* of everything below */
	struct map by_chain, by_key;
	uint64_t next_tmp;
	unsigned healed;
};

struct snapshot_pending {
	struct snapshot_store *s; /* borrowed */
	char name[32];            /* in tmp/ */
	int dir, fs;
	struct snapshot_unpacked facts;
	bool opaque_root;
	struct arena arena;
	char **implied;           /* folders that the archive did not name */
	size_t n_implied, cap_implied;
};

/* snapshot.c: a new folder in tmp/ with an empty fs/ (mode 0755) */
int snapshot_tmp_make(struct snapshot_store *s, char name[32], int *out_dir, int *out_fs, struct err *err);
void snapshot_tmp_remove(struct snapshot_store *s, const char *name);
int snapshot_live_facts(struct snapshot_store *s, const char *key, char out_parent[SNAPSHOT_CHAIN_LEN + 1], bool *out_unsynced,
	struct err *err);

/* The folders that make the tree up to chain, top first; an opaque root ends them. Overlay: one each; copy: one. */
struct lowers {
	int *fds; /* owned, O_RDONLY */
	size_t n, cap;
};
int snapshot_lowers_open(struct snapshot_store *s, const char *chain, struct lowers *out, struct err *err);
void snapshot_lowers_done(struct lowers *l);
bool snapshot_is_whiteout(const struct stat *st);
bool snapshot_is_opaque(int dirfd, const char *rel);
/* Which lowers (indices, top first) make up folder rel, given those that make up its parent. */
size_t snapshot_lowers_dir(const struct lowers *l, const unsigned *in, size_t n_in, const char *rel, unsigned *out);
/* rel in the folder made by in: true and its facts, or false. */
bool snapshot_lowers_find(const struct lowers *l, const unsigned *in, size_t n_in, const char *rel, struct stat *out_st,
	unsigned *out_index);

/* mount.c: is it mounted in this mount namespace? */
bool snapshot_mounted(struct snapshot_store *s, const char *key);
int snapshot_live_fs(struct snapshot_store *s, const char *key, struct err *err);

/* tree.c */
/* Opens rel ("" = root itself) beneath root as a folder to read; no link on the way is followed. */
int snapshot_dir_open(int root, const char *rel, struct err *err);
/* Every entry beneath root, folders before what is in them; rel is its path. fn: 0, 1 = not into
 * this folder, or -class. */
int snapshot_tree_each(int root, int (*fn)(int dirfd, const char *rel, const char *name, const struct stat *st, void *arg,
	struct err *err), void *arg, struct err *err);
/* The same in the order of names, each folder followed by what is in it: the same tree gives the same archive on every disk. */
int snapshot_tree_each_sorted(int root, int (*fn)(int dirfd, const char *rel, const char *name, const struct stat *st, void *arg,
	struct err *err), void *arg, struct err *err);
/* All attributes of dirfd/name that a copy keeps: fn is called with each. */
int snapshot_xattrs_each(int dirfd, const char *name, int (*fn)(const char *attr, struct span value, void *arg, struct err *err),
	void *arg, struct err *err);
/* setxattr without following a last link; -1 and errno */
int snapshot_xattr_set(int dirfd, const char *name, const char *attr, struct span value);

/* Inode → text, for hard links. */
struct inodes {
	struct map map;
	struct arena arena;
};
const char *snapshot_inode_put(struct inodes *i, const struct stat *st, const char *rel); /* the earlier name, or NULL */
void snapshot_inodes_done(struct inodes *i);
