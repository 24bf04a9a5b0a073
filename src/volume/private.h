/* What the files of volume share. Private. */
#pragma once

#include "volume/volume.h"

#define VOLUME_PATH_MAX 4095
#define VOLUME_ANONYMOUS_LABEL "com.docker.volume.anonymous"

/* Go's path.Clean: no ".", no "..", no double slash; "" is ".". */
struct span volume_path_clean(struct span path, struct arena *a);
/* `invalid mount config for type "bind": ` before words about a mount. Returns -INVALID_REQUEST. */
int volume_config_error(struct span type, struct err *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A key of Config.Volumes: nothing but a target. */
int volume_anonymous_parse(struct span target, struct arena *a, struct volume_mount *out, struct err *err);
/* "noexec,nosuid,nodev" with the given words merged into it; a word that is no option of a tmpfs is INVALID_REQUEST. */
int volume_tmpfs_options(struct span given, struct arena *a, struct span *out, struct err *err);

struct volume {
	char name[VOLUME_NAME_MAX + 1];
	struct arena arena;          /* of the three below */
	struct json labels, options; /* object or null */
	struct span created;
	bool anonymous, broken;      /* broken: its volume.json says nothing */
	struct map users;            /* id → id; owned */
	unsigned pins;               /* operations under way: not removed meanwhile */
	pthread_mutex_t work;        /* what changes the folder; never taken while the store's is held */
};

struct volume_store {
	char *dir; /* owned; absolute */
	int dirfd, lock;
	pthread_mutex_t mutex; /* of what follows, and of every struct volume's facts */
	struct map volumes;
};

/* store.c: all, sorted by name */
void volume_all(struct volume_store *s, struct arena *a, struct volume_info **out, size_t *out_n);
/* The volume, pinned; volume_unpin gives it back */
struct volume *volume_pin(struct volume_store *s, struct span name, struct err *err);
void volume_unpin(struct volume_store *s, struct volume *v);
static inline bool volume_has_device(const struct volume *v)
{
	return json_is(&v->options, JSON_OBJECT) && v->options.n;
}
bool volume_filter_label(const struct json *labels, struct span want);
/* copy.c: a copy-up that was interrupted goes on, or is forgotten */
int volume_copy_finish(int folder, struct err *err);
/* use.c */
bool volume_is_mounted(int folder);
int volume_marks_clear(int folder, const char *dir, struct err *err);
void volume_subs_clear(int folder, struct span id); /* id empty = those of nobody that are not mounted */
bool volume_id_ok(struct span id);
