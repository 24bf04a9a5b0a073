/* Paths as text: nothing here asks a file system. Not part of base.h: few read it. */
#pragma once

#include "base/arena.h"

/* A path below some top in its one form: no ".", no double or outer slash; ".." takes away what stands before it, and stays at
 * the top where nothing does. "/a//./b/../c/" and "a/c" are "a/c"; "" is the top itself. In the arena, 0-ended behind its
 * length. Only for trees without links, or whose links are followed elsewhere (sys/path.h): with a link a ".." means more. */
struct span path_clean(struct arena *a, struct span path);
