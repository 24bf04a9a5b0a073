/* The tree that parsing what api_encode_json writes would give, with map keys in v's order: the typed object, what Go always writes
 * included. Private to api. Containers are new, in the arena; strings are borrowed from v. */
#pragma once

#include "api/schema.h"
#include "json/json.h"

struct json api_view(struct arena *a, const struct api_type *t, const struct json *v);
