/* Volumes: Docker's "local" driver, and what a container's -v strings, Mounts documents and image volumes mean.
 *
 *     DIR/NAME/volume.json    how it was made; a folder with _data and without it was put there by hand: a volume without options
 *     DIR/NAME/_data/         the contents; this is the Mountpoint
 *     DIR/NAME/users/ID       an empty file for each container that refers to the volume
 *     DIR/NAME/mounts/ID      likewise for each that has it mounted (volumes with options type, device, o)
 *     DIR/NAME/sub/ID.N       where a part of it (Subpath) is mounted for a container
 *
 * Promises
 * - What was answered is on disk. A volume is there whole or not at all; what a crash leaves begins with '.' and goes at the
 *   next open.
 * - A volume that a container refers to is never removed, whatever the engine's process lived through.
 * - A volume with options is mounted once, however many containers use it, and unmounted after the last. After a
 *   reboot (nothing is mounted on _data any more) the marks in mounts/ are forgotten.
 * - Nothing outside of DIR is changed, but for bind sources that volume_bind_make is asked to make.
 *
 * Parsing is pure: no file is touched. Errors carry Docker's words.
 *
 * Threads: every call may come from any thread, and those on a store block (workers, not the loop). One process has DIR
 * open (flock; IN_USE). Strings of results live in the arena given, else they are borrowed from the arguments. */
#pragma once

#include "base/base.h"
#include "json/json.h"

/* ---- what is to be mounted: pure ---- */

enum volume_kind { VOLUME_BIND, VOLUME_NAMED, VOLUME_TMPFS, VOLUME_IMAGE, VOLUME_KIND_COUNT };
const char *volume_kind_name(enum volume_kind k); /* "bind", "volume", "tmpfs", "image": Docker's Type */

/* One mount of a container. All spans are empty when not said. */
struct volume_mount {
	enum volume_kind kind;
	struct span target;      /* clean and absolute: Destination */
	struct span name;        /* VOLUME_NAMED: the volume; empty = anonymous, the name is chosen by volume_use */
	struct span source;      /* VOLUME_BIND: clean, absolute path on the host; VOLUME_IMAGE: the image's name */
	struct span driver;      /* VOLUME_NAMED; empty = local */
	struct span mode;        /* of a -v string, as written after the second colon: "ro,z" */
	struct span propagation; /* rprivate, private, rshared, shared, rslave, slave; a bind's is filled: "rprivate" */
	bool propagation_said;   /* by the request, not filled */
	struct span subpath;     /* VOLUME_NAMED and VOLUME_IMAGE: clean, relative */
	bool read_only;
	bool from_mounts;        /* of HostConfig.Mounts: a bind source must be there; else it is made */
	bool create_source;      /* BindOptions.CreateMountpoint */
	bool non_recursive, read_only_non_recursive, read_only_force_recursive;
	bool no_copy;            /* image contents are not copied into an empty volume */
	char label;              /* 'z', 'Z' or 0: SELinux relabelling, which has no meaning without SELinux */
	const struct json *labels, *driver_options; /* VolumeOptions; borrowed; NULL = none */
	int64_t tmpfs_bytes;     /* 0 = the kernel's default */
	uint32_t tmpfs_mode;     /* 0 = 01777 */
	struct span tmpfs_options; /* all its options, comma separated: "noexec,nosuid,nodev,size=1048576" */
	const struct json *spec; /* the Mounts document; borrowed; NULL for other origins */
};

/* "[SOURCE:]TARGET[:MODE]" as in HostConfig.Binds. driver: HostConfig.VolumeDriver, may be empty. INVALID_REQUEST: `invalid
 * volume specification: 'x'`, `invalid mode: x`, "... includes invalid characters for a local volume name, ...". */
int volume_mount_parse(struct span text, struct span driver, struct arena *a, struct volume_mount *out, struct err *err);
/* One item of HostConfig.Mounts. INVALID_REQUEST: `invalid mount config for type "bind": field Source must not be empty`. */
int volume_mount_read(const struct json *doc, struct arena *a, struct volume_mount *out, struct err *err);
/* HostConfig.Tmpfs: "/run" → "rw,noexec,size=64m,mode=700". */
int volume_tmpfs_parse(struct span target, struct span options, struct arena *a, struct volume_mount *out, struct err *err);
/* "CONTAINER[:MODE]" of HostConfig.VolumesFrom. mode: "" (as there), "ro" or "rw" (others are INVALID_REQUEST). */
int volume_from_parse(struct span text, struct span *out_container, struct span *out_mode, struct err *err);

struct volume_plan {
	const struct volume_mount *inherited; /* of VolumesFrom, mode applied already; these yield to the others */
	size_t n_inherited;
	const struct json *host_config;       /* Binds, Mounts, Tmpfs, VolumeDriver are read; NULL = none */
	const struct json *volumes;           /* Config.Volumes, the image's merged into it: {"/data": {}}; these yield to all */
};
/* All mounts of a container in the order in which Docker makes them: parents before what is beneath. INVALID_REQUEST "Duplicate
 * mount point: /x". At most 10,000 mounts. */
int volume_mounts_plan(const struct volume_plan *p, struct arena *a, struct volume_mount **out, size_t *out_n, struct err *err);
/* The item of a container's Mounts as `docker inspect` shows it (which leaves out HostConfig.Tmpfs:
 * VOLUME_TMPFS without spec). path: what volume_use answered, or the bind's source. */
struct json volume_mount_point(const struct volume_mount *m, struct span name, struct span path, struct arena *a);
/* 0, or INVALID_REQUEST "... includes invalid characters for a local volume name, only ... are allowed. ...". */
int volume_name_check(struct span name, struct err *err);

/* ---- bind sources on this host; blocking ---- */

/* That what a Mounts document names is there: "invalid mount config for type \"bind\": bind source path does not exist: /x". A -v
 * string's source may be missing. */
int volume_bind_check(const struct volume_mount *m, struct err *err);
/* Makes the missing source of a -v string (or with CreateMountpoint) as a folder of mode 0755, root's. */
int volume_bind_make(const struct volume_mount *m, struct err *err);

/* ---- the store ---- */

struct volume_store;
int volume_store_open(const char *dir, struct volume_store **out_store, struct err *err);
void volume_store_close(struct volume_store *s); /* accepts NULL; mounts stay */
AUTO_DEFINE(volume_store, struct volume_store *, volume_store_close)

#define VOLUME_NAME_MAX 255
struct volume_info {
	struct span name, driver;     /* driver: "local" */
	struct span mountpoint;       /* DIR/NAME/_data */
	struct span created;          /* RFC 3339 */
	const struct json *labels;    /* object or null */
	const struct json *options;   /* object or null */
	bool anonymous;
	struct span *users;           /* container ids, sorted */
	size_t n_users;
};
/* The Volume document, Scope and null members included. usage_bytes < 0 leaves UsageData out. */
struct json volume_document(const struct volume_info *v, int64_t usage_bytes, struct arena *a);

struct volume_params {
	struct span name;             /* empty = anonymous: 64 hex digits and label com.docker.volume.anonymous */
	struct span driver;           /* empty = local; another: NOT_FOUND in Docker's words */
	const struct json *options;   /* object of strings or NULL. type, device, o; "size" is not available without quota: an error */
	const struct json *labels;    /* object of strings or NULL */
};
/* Makes it or finds it: one that is there is answered as it is, whatever options and labels the call names (as dockerd does).
 * Errors begin "create NAME: ". *out_made may be NULL. */
int volume_create(struct volume_store *s, const struct volume_params *p, struct arena *a, struct volume_info *out, bool *out_made,
	struct err *err);
/* NOT_FOUND "get x: no such volume". */
int volume_get(struct volume_store *s, struct span name, struct arena *a, struct volume_info *out, struct err *err);
/* filters: {"name": [..], "label": ["k", "k=v"], "label!": [..], "driver": [..], "dangling": ["true"], "scope": [..]} or NULL.
 * INVALID_REQUEST "invalid filter 'x'". Sorted by name. */
int volume_list(struct volume_store *s, const struct json *filters, struct arena *a, struct volume_info **out, size_t *out_n,
	struct err *err);
/* IN_USE "remove x: volume is in use - [id, id]". force: one that is not there is success. */
int volume_remove(struct volume_store *s, struct span name, bool force, struct err *err);
/* Removes what nobody refers to: anonymous ones, with all_names (API before 1.42) or filter all=1 named ones too. Filters:
 * label, label!, all. Names in the arena. */
int volume_prune(struct volume_store *s, const struct json *filters, bool all_names, struct arena *a, struct span **out,
	size_t *out_n, uint64_t *out_bytes, struct err *err);
/* What its files occupy: sizes of regular files, each inode once. 0 for one with a device. */
int volume_usage(struct volume_store *s, struct span name, uint64_t *out_bytes, struct err *err);

/* ---- use by containers. id: 1 to 128 of [a-zA-Z0-9_.-] ---- */

/* Creates the volume that m names if it is missing (an anonymous one always), and notes durably that container id refers to it.
 * out->name is what the container's record keeps. Repeating it is harmless. */
int volume_use(struct volume_store *s, const struct volume_mount *m, struct span id, struct arena *a, struct volume_info *out,
	struct err *err);
/* The container is gone, or never came to be. remove_anonymous (`rm -v`, AutoRemove): an anonymous volume that nobody else
 * refers to goes too, and *out_gone (may be NULL) says so. Harmless when it did not refer to it. */
int volume_release(struct volume_store *s, struct span name, struct span id, bool remove_anonymous, bool *out_gone,
	struct err *err);
/* Forgets every reference whose id `alive` does not confirm: for the start of an engine. */
int volume_release_dead(struct volume_store *s, bool (*alive)(void *arg, struct span id), void *arg, struct err *err);
/* Copy-up: when the volume is empty, takes over what the image has at the mount's target: contents, owner and mode of the folder.
 * from: descriptor of that folder in the container's root (see sys/path.h; the caller skips it when there is none). A volume with
 * files in it, or with a device, is left alone; so is the call with m->no_copy. */
int volume_copy_up(struct volume_store *s, struct span name, const struct volume_mount *m, int from, struct err *err);
/* Before a container starts: the path to bind (0-ended, in the arena). Mounts the device of a volume with options when
 * it is the first one; resolves m->subpath inside the volume and binds it to a place of its own, so that no link swapped later
 * leads elsewhere ("cannot access path ...: no such file or directory" in Docker's words). */
int volume_mount(struct volume_store *s, struct span name, const struct volume_mount *m, struct span id, struct arena *a,
	struct span *out_path, struct err *err);
/* After it ended: all that volume_mount did for id. Harmless when nothing is. */
int volume_unmount(struct volume_store *s, struct span name, struct span id, struct err *err);
