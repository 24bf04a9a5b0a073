/* Small objects as trees, kept while they do not change. Private to apiserver; one cache per loop thread.
 *
 * Admission looks at the same few objects for every pod: its namespace, its service account, every priority class. Reading each
 * anew was a tenth of a create. An item of the store never changes (a write makes a new one), so the item itself is the key. */
#pragma once

#include "apiserver/server.h"

#define LOOK_SLOTS 64		 /* per thread; by the item's address, the later of two takes the place */
#define LOOK_VALUE_MAX (8 << 10) /* bytes of the longest value that is kept */

struct look_cache;

/* The tree of an item of a resource, as object_read gives it. It and every string in it live at least as long as the
 * arena; whoever wants to change it copies it (json_copy). NULL: err says why. */
const struct json *look_tree(struct worker *w, struct arena *a, const struct api_resource *r, const struct store_item *it,
			     struct err *err);
void look_free(struct worker *w);
