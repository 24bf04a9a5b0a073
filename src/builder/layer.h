/* One layer as an archive, written entry by entry over what lies below it. Names are resolved as they would be in the container:
 * through the links of the layers below and of this one, never out of the root. A name that begins with ".wh." is refused: in a
 * layer it means that something is deleted (OCI image-spec layer.md "Whiteouts"). Private. */
#pragma once

#include "builder/tree.h"

struct layer {
	struct arena a;
	struct map made;       /* paths that this layer has → struct layer_made */
	struct map folders;    /* folder as named → resolved path (span); forgotten when a link is made */
	struct tar_writer w;
	int lower;             /* borrowed: root of the layers below; -1 = none */
	bool clamp;            /* SOURCE_DATE_EPOCH: no time is later */
	int64_t clamp_s;
	struct timespec now;   /* of folders that are made on the way */
	bool any_name;         /* ".wh.x" is an ordinary name (no layer comes of it), or means what it says (a layer is passed on) */
	struct builder_stop *stop; /* borrowed; set by who begins it. NULL = never */
	uint64_t entries;
	uint64_t bytes;        /* of files taken from archives, holes included */
};
void builder_layer_begin(struct layer *l, struct tar_sink *to, int lower, const int64_t *clamp_s, int64_t now_ns);
int builder_layer_end(struct layer *l, struct err *err); /* closes the archive */
void builder_layer_done(struct layer *l);

enum layer_is { LAYER_MISSING, LAYER_FOLDER, LAYER_LINK, LAYER_OTHER };
/* Where path leads, without outer slashes ("" = the root), into l->a; what is there. Missing components stay as written. */
int builder_layer_resolve(struct layer *l, struct span path, bool follow_last, struct span *out, enum layer_is *out_is,
	struct err *err);

struct layer_owner {
	bool set;      /* else as the source has it */
	uint32_t uid, gid;
	bool mode_set; /* --chmod, of files and folders alike */
	mode_t mode;
};
/* Makes what is missing of a resolved path and all above it: mode 0755, root's or the owner's. */
int builder_layer_folders(struct layer *l, struct span path, const struct layer_owner *own, struct err *err);
/* Copies n, with all in it, to the resolved path. A folder that is there already keeps its attributes if it is the top one. */
int builder_layer_copy(struct layer *l, struct tree *t, struct tree_node *n, struct span to, const struct builder_ignore *skip,
	const struct layer_owner *own, struct err *err);
/* Extracts an archive (plain tar) into the folder that path leads to. Owners, modes and times as the archive says; own changes
 * owners where set. */
int builder_layer_extract(struct layer *l, struct tar_source *from, struct span to, const struct layer_owner *own,
	struct err *err);
/* A whole layer's archive, passed on with its times clamped. */
int builder_layer_pass(struct layer *l, struct tar_source *from, struct err *err);
