/* What the server serves: asked for when we begin to lead and again after each change of a CustomResourceDefinition or an
 * APIService. Private to src/controllers. */
#pragma once

#include "controllers/frame.h"

enum { SERVES_DELETE = 1, SERVES_LIST = 2, SERVES_WATCH = 4, SERVES_DELETECOLLECTION = 8 };
struct served {
	struct span key;          /* "group/plural" */
	struct client_kind kind;  /* in its preferred version */
	struct span name;         /* "ReplicaSet" */
	unsigned verbs;
};
struct served_list {
	struct arena arena;
	struct served *items;
	unsigned n;
	bool whole; /* false: a group could not be asked */
};

struct discovery;
struct discovery *discovery_new(struct cm *cm);
void discovery_free(struct discovery *d);      /* accepts NULL */
void discovery_soon(struct discovery *d);      /* something changed */
const struct served_list *discovery_list(const struct discovery *d); /* NULL: not known yet */
/* The preferred version of a kind; NULL when it is not served. */
const struct served *discovery_find(const struct discovery *d, struct span api_version, struct span kind);
/* Reads an APIGroupDiscoveryList (apidiscovery.k8s.io/v2) into a list. Pure. */
void discovery_read(struct served_list *out, const struct json *list);
