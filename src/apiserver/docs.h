/* Documents about the API, made from the registry once for each of its generations and shared by all threads: aggregated
 * discovery and OpenAPI. Private to apiserver.
 *
 * OpenAPI takes tens of milliseconds to make, so a thread of its own makes it, when somebody asks first; only the compressed
 * form is kept. Who asks without gzip has it made anew. Old documents go when the registry changes and their last answer has
 * been sent. */
#pragma once

#include "apiserver/server.h"

struct docs;
int docs_new(struct docs **out_docs, struct err *err);
/* Every call is over, every loop has ended. Accepts NULL. */
void docs_free(struct docs *d);
/* Ends the thread; loops must still turn for what it was doing. Accepts NULL. */
void docs_stop(struct docs *d);

/* APIGroupDiscoveryList of /api (core) or /apis. out_etag: quoted, 67 characters and a 0 byte. A reference. */
#define DOCS_DISCOVERY_ETAG 68
struct bytes *docs_discovery(struct call *c, bool core, bool v2, char out_etag[DOCS_DISCOVERY_ETAG]);
/* /openapi/...: answers now or later. seg: the whole path. */
void docs_openapi(struct call *c, const struct span *seg, size_t n);
