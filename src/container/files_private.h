/* What files.c, files_root.c and files_put.c share. Private. */
#pragma once

#include "container/files.h"

/* A path as dockerd takes it. Strings live in the arena. */
struct files_path {
	const char *path;   /* absolute, without "." and ".."; what is asked for */
	const char *parent; /* of the last component; with `inside` the path itself */
	const char *leaf;   /* the last component; "" with `inside` */
	struct span name;   /* what an archive calls it: the last component, "." or "/" */
	bool inside;        /* "/dir/", "/dir/.", "/": what the path leads to, a folder */
};
int container_files_path(struct span path, struct arena *a, struct files_path *out, struct err *err);
int container_files_missing(struct span path, const char *who, struct err *err);
/* The path of what fd is, as the container sees it; in the arena. NULL and *err when it has none (removed). */
const char *container_files_real(int root, int fd, struct arena *a, struct err *err);
