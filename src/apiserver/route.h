/* From a request line to what is asked for. Private to apiserver.
 *
 * The rules are those of k8s.io/apiserver's RequestInfo: /api/VERSION/... and /apis/GROUP/VERSION/... are resource requests, all
 * else is a path. "namespaces/NS/..." scopes what follows, except NS's own sub-resources `status` and `finalize`. The old
 * prefix .../watch/... makes a list a watch. Authorization, routing and audit all see this one reading. */
#pragma once

#include "base/base.h"

enum route_verb {
	ROUTE_GET,
	ROUTE_LIST,
	ROUTE_WATCH,
	ROUTE_CREATE,
	ROUTE_UPDATE,
	ROUTE_PATCH,
	ROUTE_DELETE,
	ROUTE_DELETECOLLECTION,
	ROUTE_OTHER, /* a path: the verb is the method in lower case */
	ROUTE_VERB_COUNT
};

struct route {
	bool is_resource;
	enum route_verb verb;
	struct span verb_name; /* "list"; for paths "get", "post", ... */
	struct span group, version;
	struct span resource, subresource;
	struct span ns, name; /* name also from fieldSelector=metadata.name=x of a list or watch */
	bool name_from_selector;
	const struct span *rest; /* segments behind the sub-resource (proxy) */
	unsigned n_rest;
	struct span path; /* as sent */
};

/* segments: decoded, none empty (the strict form of http_req_segments, a closing empty one left out). query: raw.
 * Everything borrows from the arguments and the arena. An unknown method on a resource is ROUTE_OTHER there too. */
void route_read(struct arena *a, struct span method, struct span path, const struct span *segments, size_t n,
		struct span query, struct route *out);
