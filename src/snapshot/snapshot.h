/* Layers as folders, and writable snapshots over them.
 *
 *     DIR/format            "knarr snapshots 1 overlay" (or copy): which backend the folder was made with
 *     DIR/boot              the kernel's boot id when the folder was last opened
 *     DIR/tmp/              work in progress; emptied at every open
 *     DIR/layers/CHAIN/     64 hex digits of the chain id (OCI image-spec config.md "Layer ChainID")
 *         fs/               overlay: the layer alone, with overlayfs whiteouts; copy: the whole tree up to this layer
 *         layer.json        parent, diff id, counted entries and bytes
 *     DIR/live/KEY/         a snapshot: fs/ (overlay: the upper folder; copy: the whole tree), work/, snapshot.json
 *
 * Promises
 * - A layer or snapshot is there completely or not at all: it is made in tmp/, synced, and renamed into place. (A volatile
 *   snapshot is not synced: after a power cut it may be there, be gone, or have lost what was written into it.)
 * - After a crash of this process nothing is lost that was answered. After a crash of the machine (the boot id differs)
 *   every layer is counted again and compared with its record; one that does not match is removed together with
 *   those above it and reported through snapshot_healed, so that it is unpacked afresh.
 * - Nothing from an archive is written, linked or changed outside the layer's folder: every name is resolved by the kernel
 *   with RESOLVE_IN_ROOT, and what exists is replaced, not written through.
 *
 * Backends: overlay (overlayfs with trusted.* attributes; needs root) and copy (plain folders; works anywhere, costs a copy
 * per layer and snapshot). snapshot_open picks overlay when a mount of it works in DIR, else copy, and says which.
 *
 * Threads: every call may come from any thread; unpacking several layers at once is meant. All calls block: they are for
 * workers, not for loop threads. One process has DIR open at a time (flock; IN_USE for the second). */
#pragma once

#include <sys/types.h>
#include "base/base.h"
#include "tar/tar.h"

struct snapshot_store;

enum snapshot_backend { SNAPSHOT_AUTO, SNAPSHOT_OVERLAY, SNAPSHOT_COPY, SNAPSHOT_BACKEND_COUNT };
const char *snapshot_backend_name(enum snapshot_backend b); /* "auto", "overlay", "copy" */

struct snapshot_params {
	const char *dir;               /* made if missing, mode 0700 */
	enum snapshot_backend backend; /* AUTO: what the folder was made with, else what works here */
	struct tar_limits limits;      /* of each layer; 0 = tar.h's defaults */
	bool check_all;                /* count every layer now, whatever the boot id */
};
int snapshot_open(const struct snapshot_params *p, struct snapshot_store **out_store, struct err *err);
void snapshot_close(struct snapshot_store *s); /* accepts NULL; mounts stay */
AUTO_DEFINE(snapshot_store, struct snapshot_store *, snapshot_close)
enum snapshot_backend snapshot_backend(const struct snapshot_store *s);
/* How many layers the open removed because they were torn. */
unsigned snapshot_healed(const struct snapshot_store *s);

/* ---- layers ---- */

/* The chain id (64 hex digits and a 0 byte) is the caller's to compute; "" stands for "nothing below". */
#define SNAPSHOT_CHAIN_LEN 64

struct snapshot_layer {
	char chain[SNAPSHOT_CHAIN_LEN + 1], parent[SNAPSHOT_CHAIN_LEN + 1];
	uint64_t entries; /* of fs/, itself not counted */
	uint64_t bytes;   /* sizes of regular files, each inode once */
};
bool snapshot_layer_has(struct snapshot_store *s, const char *chain);
int snapshot_layer_get(struct snapshot_store *s, const char *chain, struct snapshot_layer *out, struct err *err);

/* Unpacking. The stream is plain tar (chain a tar_inflate before it). With overlay the layer is unpacked by itself, so several
 * of one image may be unpacked at once and in any order; with copy the parent must be there first
 * (snapshot_needs_parent). Nothing is visible until snapshot_unpack_commit.
 *
 * What an archive may say, and what becomes of it:
 * - ".wh.NAME" removes NAME of the layers below, ".wh..wh..opq" all of the folder's; other ".wh..wh." names are aufs'
 *   own and are skipped. They never remove what the same layer brings.
 * - Names are taken relative to the root whether they begin with '/', "./" or not; a name that climbs above the root
 *   is INVALID. Links on the way are followed inside the root only. A hard link must point at a file of the same layer.
 * - A later entry replaces an earlier one of the same name; a folder onto a folder only changes its attributes.
 * - Owner, the 12 mode bits, times with nanoseconds, devices and fifos as given. A character device 0:0 is INVALID: it
 *   would hide a name. Attributes "trusted.overlay.*" are INVALID likewise. "security.capability" must be set; other attributes
 *   that the file system refuses (EOPNOTSUPP, EPERM) are counted in dropped_xattrs.
 * - Folders that an archive implies without naming them get mode 0755, root, or what the layers below say of them.
 * Limits come from snapshot_params. On failure everything made is removed. */
struct snapshot_pending;
struct snapshot_unpacked {
	uint64_t entries, bytes, dropped_xattrs;
};
bool snapshot_needs_parent(const struct snapshot_store *s);
int snapshot_unpack(struct snapshot_store *s, const char *parent, struct tar_source *from, struct snapshot_pending **out_pending,
	struct snapshot_unpacked *out_facts, struct err *err);
/* Makes it layer `chain` upon its parent (which must be there), durably. Takes pending over, also on failure. When the layer is
 * there already, the new one is dropped: that is success. */
int snapshot_unpack_commit(struct snapshot_pending *pending, const char *chain, const char *parent, struct err *err);
void snapshot_unpack_drop(struct snapshot_pending *pending); /* accepts NULL */

/* IN_USE while another layer or a snapshot stands on it. */
int snapshot_layer_remove(struct snapshot_store *s, const char *chain, struct err *err);
/* Removes every layer that keep does not name and nothing stands on, from the top down; *out_removed and *out_bytes may be
 * NULL. keep answers for one chain id. */
int snapshot_layers_prune(struct snapshot_store *s, bool (*keep)(const char *chain, void *arg), void *arg,
	unsigned *out_removed, uint64_t *out_bytes, struct err *err);
/* Calls fn for every layer, in no order. fn must not call the store. */
void snapshot_layers_each(struct snapshot_store *s, void (*fn)(const struct snapshot_layer *l, void *arg), void *arg);

/* ---- snapshots ---- */

/* A key is 1 to 128 of [a-zA-Z0-9_.-], not beginning with '.'. EXISTS when it is taken. parent "" = an empty tree. */
int snapshot_prepare(struct snapshot_store *s, const char *key, const char *parent, struct err *err);
/* The same without a sync, now or ever: a power cut may take it, or what is in it; what is written through its mount is not synced
 * either, whoever asks (fsync in it, its unmounting). For what does not outlive the machine's boot anyway. */
int snapshot_prepare_volatile(struct snapshot_store *s, const char *key, const char *parent, struct err *err);
bool snapshot_has(struct snapshot_store *s, const char *key);
int snapshot_parent(struct snapshot_store *s, const char *key, char out_parent[SNAPSHOT_CHAIN_LEN + 1], struct err *err);
/* Where its folders are on the host, as overlay2's users know them; texts in the arena. NOT_FOUND; UNSUPPORTED on the copy
 * backend. */
struct snapshot_where {
	struct span lower, upper, work; /* lower: layers from the top joined by ':'; "" without a layer */
};
int snapshot_find_folders(struct snapshot_store *s, const char *key, struct arena *a, struct snapshot_where *out, struct err *err);
void snapshot_each(struct snapshot_store *s, void (*fn)(const char *key, const char *parent, void *arg), void *arg);
/* Mounts it on the folder target (made if missing); read-only if asked. Mounting it twice on one target is IN_USE. A thread
 * may have a mount namespace of its own in which DIR is still there: the mount is then that one's alone. */
int snapshot_mount(struct snapshot_store *s, const char *key, const char *target, bool read_only, struct err *err);
/* A layer with all below it, read-only. */
int snapshot_layer_mount(struct snapshot_store *s, const char *chain, const char *target, struct err *err);
int snapshot_unmount(const char *target, struct err *err); /* NOT_FOUND when nothing is mounted there */
/* NOT_FOUND if there is none; IN_USE while it is mounted in this mount namespace. After a power cut it may be back: whoever owns
 * the key removes what nobody accounts for. */
int snapshot_remove(struct snapshot_store *s, const char *key, struct err *err);
/* The same in two calls, for who has somebody to answer in between. After the first the key is free and the layer below is not held
 * any more; what is left of it has a name that nobody else is given, and goes at the next open if the second never comes. */
#define SNAPSHOT_REST_LEN 176
int snapshot_retire(struct snapshot_store *s, const char *key, char out_rest[SNAPSHOT_REST_LEN], struct err *err);
int snapshot_rest_remove(struct snapshot_store *s, const char *rest, struct err *err);
/* The snapshot, not mounted, becomes layer `chain` on its parent; its key is free afterwards. */
int snapshot_commit(struct snapshot_store *s, const char *key, const char *chain, struct err *err);

/* ---- what a snapshot changed ---- */

enum snapshot_change_kind { SNAPSHOT_MODIFIED, SNAPSHOT_ADDED, SNAPSHOT_DELETED }; /* numbers as Docker's API gives them */
struct snapshot_change {
	enum snapshot_change_kind kind;
	const char *path; /* absolute in the snapshot */
};
struct snapshot_changes {
	struct snapshot_change *items; /* sorted by path */
	size_t n, cap;
	struct arena arena;
};
void snapshot_changes_done(struct snapshot_changes *c);
/* Names that a snapshot's owner made without meaning a change: where something is mounted later. Docker has them in a layer of
 * their own (its "init layer") below what a container changed. */
struct snapshot_places {
	const struct snapshot_place {
		const char *path; /* absolute, as in snapshot_change */
		mode_t type;      /* S_IFDIR or S_IFREG */
	} *items;
	size_t n;
};
/* As `docker diff`: a folder counts as modified when something in it changed, or when its mode or owner did; a file when
 * mode, owner, device, size, modification time or capabilities differ from the layers below. May run while the snapshot is
 * mounted and written; it then sees what it happens to see. At most 10 million changes (TOO_LARGE).
 * besides (NULL = none): an added folder or an added empty file of such a name is no change; any other thing there counts
 * as modified, as does such a folder when something in it changed. */
int snapshot_changes(struct snapshot_store *s, const char *key, const struct snapshot_places *besides, struct snapshot_changes *out,
	struct err *err);
/* The same as a layer archive (plain tar): additions and modifications with all attributes, deletions as ".wh." files, hard
 * links among them as links. Sockets are left out, as an archive cannot hold them. */
int snapshot_diff(struct snapshot_store *s, const char *key, const struct snapshot_places *besides, struct tar_sink *to,
	struct err *err);
/* What it occupies: inodes and bytes of its own files (not the layers'). */
int snapshot_usage(struct snapshot_store *s, const char *key, uint64_t *out_entries, uint64_t *out_bytes, struct err *err);

/* ---- trees, also those that are no snapshot's: volumes, a container's files. Nothing recurses; a folder that vanishes meanwhile
 * is passed over ---- */

/* Removes name (one part, no path) in dirfd with all in it, however deep: very deep folders are moved to dirfd first, as
 * .deep-PID-N; who dies meanwhile leaves them there. 0 also when it is not there. */
int snapshot_tree_remove(int dirfd, const char *name, struct err *err);
/* What is in it: entries, and the sizes of regular files, each inode once. */
int snapshot_tree_count(int root, uint64_t *out_entries, uint64_t *out_bytes, struct err *err);
/* Copies all of from into the empty folder to: contents, owners, modes, times, attributes, hard links; those of the folder
 * itself too. Sockets are left out. */
int snapshot_tree_copy(int from, int to, struct err *err);
/* The same for as long as check says 0, which is asked at every entry and every 64 MB of a file; else it is the result. */
int snapshot_tree_copy_while(int from, int to, int (*check)(void *arg, struct err *err), void *arg, struct err *err);
/* name beneath dirfd, a single component or ".", and all in it as entries that are called `as`, `as`/x, ...; as "" gives x. No
 * link is followed. one_mount: what is mounted in it is left out (the folder that is covered stays). */
int snapshot_tree_archive(int dirfd, const char *name, const char *as, bool one_mount, struct tar_writer *w, struct err *err);
