/* What the server serves, told to clients: /api, /apis and below, plain and aggregated. Private to apiserver.
 *
 * Documents are pure functions of a registry snapshot; the server keeps them per snapshot and shares the bytes. All
 * end with a newline, as Go's encoder leaves one. */
#pragma once

#include "api/api.h"

/* /api; server_address "10.0.0.1:6443" */
void discovery_core_versions(struct buf *out, struct span server_address);
/* /apis */
void discovery_groups(struct buf *out, const struct api_registry *r);
/* /apis/GROUP; false when there is no such group */
bool discovery_group(struct buf *out, const struct api_registry *r, struct span group);
/* /api/v1 and /apis/GROUP/VERSION: APIResourceList; false when not served */
bool discovery_resources(struct buf *out, const struct api_registry *r, struct span group, struct span version);
/* APIGroupDiscoveryList of /api (core) or /apis; version "v2" or "v2beta1" */
void discovery_aggregated(struct buf *out, const struct api_registry *r, bool core, struct span version);
