/* Files of a container as archives: what `docker cp` needs, for running and stopped containers.
 *
 * Everything goes through one descriptor of the container's root. Names are resolved by the kernel with openat2 and
 * RESOLVE_IN_ROOT (sys/path.h), by descriptors from there on; no program or library of the container is used and no chroot
 * is entered (CVE-2019-14271), and a link that somebody swaps meanwhile leads elsewhere inside the container at worst
 * (CVE-2018-15664). What is extracted is made with O_EXCL beneath an open folder and its attributes are set by descriptor.
 *
 * Paths are Docker's: absolute or relative to "/"; "/dir" of a link is the link itself, "/dir/" and "/dir/." what it leads to.
 *
 * Threads: any; all calls block (workers). Errors carry Docker's words; `who` is the container as the request named it. */
#pragma once

#include <sys/types.h>

#include "base/base.h"
#include "snapshot/snapshot.h"
#include "tar/tar.h"

/* ---- the root. Each answers a descriptor that the caller closes, or -class ---- */

/* A running container's, all its mounts included: of the first process, which pidfd holds (its number is pid). GONE when it
 * has ended. */
int container_files_running(pid_t pid, int pidfd, struct err *err);
/* A stopped one's: the snapshot with the mounts beneath, in a mount tree that nobody else sees and that ends when the descriptor is
 * closed. scratch: an existing empty folder, the same for all. cwd: the working folder, made if missing as a start does, so that
 * `docker cp` can fill it before; NULL = none. The caller must not start the container meanwhile. */
struct container_files_mount {
	const char *source; /* what is bound; absolute */
	const char *target; /* in the container; made if missing, as a start does */
	bool read_only;
};
int container_files_stopped(struct snapshot_store *s, const char *key, const char *scratch, const char *cwd,
	const struct container_files_mount *mounts, size_t n, struct err *err);

/* ---- stat: the header X-Docker-Container-Path-Stat ---- */

struct container_files_stat {
	struct span name;   /* last component as asked for; "/" for the root */
	uint64_t size;
	uint32_t mode;      /* Go's os.FileMode: permissions, and bits for the kind */
	struct timespec mtime;
	struct span link;   /* where a link ends up in the container, absolute; empty for others */
};
/* Strings live in the arena. NOT_FOUND "Could not find the file /x in container web". */
int container_files_stat(int root, const char *who, struct span path, struct arena *a, struct container_files_stat *out,
	struct err *err);
/* {"name":...,"size":...,"mode":...,"mtime":"...","linkTarget":""}, not yet base64. */
void container_files_stat_write(const struct container_files_stat *st, struct buf *out);

/* ---- get and put ---- */

/* The archive of `docker cp CONTAINER:path -`: entries begin with the path's last component; "/dir/." gives "./...". ready (may
 * be NULL) is called with the facts before the first byte, for the header of the answer. Sockets are left out. */
int container_files_get(int root, const char *who, struct span path, struct tar_sink *to,
	int (*ready)(void *arg, const struct container_files_stat *st, struct err *err), void *arg, struct err *err);
struct container_files_put {
	bool no_overwrite_dir_non_dir; /* a folder is not replaced by a file, nor a file by a folder: an error instead */
	bool chown;                    /* copyUIDGID of a container with a user: everything becomes uid:gid */
	uid_t uid;
	gid_t gid;
	bool root_read_only;           /* HostConfig.ReadonlyRootfs: FORBIDDEN "container rootfs is marked read-only" */
	struct tar_limits limits;      /* 0 = tar.h's */
};
/* Extracts into the folder path: plain, gzip or zstd. FORBIDDEN "mounted volume is marked read-only", INVALID_REQUEST "extraction
 * point is not a directory". What was extracted before a failure stays, as with Docker. */
int container_files_put(int root, const char *who, struct span path, struct tar_source *from, const struct container_files_put *p,
	struct err *err);
/* `docker export`: the whole root as entries "bin/", "bin/sh", ..., without what is mounted in it. */
int container_files_export(int root, struct tar_sink *to, struct err *err);
