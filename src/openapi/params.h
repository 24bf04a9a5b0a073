/* The query and path parameters of the API: one row each. Private to paths.c.
 *
 * Rows are bits of a mask, so that what all operations of a path share is one AND. A parameter that needs another sentence in
 * another operation is another row with another `ref`. */
#pragma once

#include "base/base.h"

enum param {
	P_ALLOW_BOOKMARKS, P_CONTINUE, P_DRY_RUN, P_FIELD_MANAGER, P_FIELD_MANAGER_APPLY, P_FIELD_SELECTOR, P_FIELD_VALIDATION,
	P_FORCE, P_GRACE, P_IGNORE_READ_ERROR, P_LABEL_SELECTOR, P_LIMIT, P_NAME, P_NAMESPACE, P_ORPHAN, P_PATH, P_PRETTY,
	P_PROPAGATION, P_RESOURCE_VERSION, P_VERSION_MATCH, P_SEND_INITIAL, P_TIMEOUT, P_WATCH,
	P_COUNT
};
#define BIT(p) (1u << (p))
#define P_LIST_OPTIONS                                                                                                 \
	(BIT(P_CONTINUE) | BIT(P_FIELD_SELECTOR) | BIT(P_LABEL_SELECTOR) | BIT(P_LIMIT) | BIT(P_RESOURCE_VERSION) |    \
	 BIT(P_VERSION_MATCH) | BIT(P_SEND_INITIAL) | BIT(P_TIMEOUT))
#define P_WATCH_OPTIONS (P_LIST_OPTIONS | BIT(P_ALLOW_BOOKMARKS) | BIT(P_WATCH))
#define P_DELETE_OPTIONS (BIT(P_DRY_RUN) | BIT(P_GRACE) | BIT(P_IGNORE_READ_ERROR) | BIT(P_ORPHAN) | BIT(P_PROPAGATION))
#define P_WRITE_OPTIONS (BIT(P_DRY_RUN) | BIT(P_FIELD_MANAGER) | BIT(P_FIELD_VALIDATION))
#define P_PATCH_OPTIONS (BIT(P_DRY_RUN) | BIT(P_FIELD_MANAGER_APPLY) | BIT(P_FIELD_VALIDATION) | BIT(P_FORCE))
/* Clients of v2 look for these two in the operation itself. The path parameter `name` names its kind. */
#define P_INLINE (BIT(P_DRY_RUN) | BIT(P_FIELD_VALIDATION) | BIT(P_NAME))
#define P_IN_OPERATION (BIT(P_DRY_RUN) | BIT(P_FIELD_VALIDATION))

static const struct param_row {
	const char *name, *ref; /* ref: its name among the shared parameters of v2 */
	const char *type;
	bool in_path;
	const char *says;
} params[P_COUNT] = {
	[P_ALLOW_BOOKMARKS] = { "allowWatchBookmarks", "allowWatchBookmarks", "boolean", false,
		"Lets a watch send BOOKMARK events, which carry nothing but a newer resourceVersion to go on from." },
	[P_CONTINUE] = { "continue", "continue", "string", false,
		"The token of the page before, to get the next page of the same list. An expired token is answered with 410." },
	[P_DRY_RUN] = { "dryRun", "dryRun", "string", false,
		"All: go through every check and answer as if it were done, but store nothing." },
	[P_FIELD_MANAGER] = { "fieldManager", "fieldManager", "string", false,
		"Who makes this change, as it will stand in managedFields; at most 128 printable characters." },
	[P_FIELD_MANAGER_APPLY] = { "fieldManager", "fieldManager-patch", "string", false,
		"Who makes this change, as it will stand in managedFields; at most 128 printable characters. Apply requires it." },
	[P_FIELD_SELECTOR] = { "fieldSelector", "fieldSelector", "string", false,
		"Only objects whose fields match, such as metadata.name=web or status.phase!=Running." },
	[P_FIELD_VALIDATION] = { "fieldValidation", "fieldValidation", "string", false,
		"What to do with unknown or repeated fields: Strict refuses them, Warn answers with warnings, Ignore drops "
		"them silently." },
	[P_FORCE] = { "force", "force", "boolean", false,
		"Apply only: take over fields that another manager owns instead of answering with a conflict." },
	[P_GRACE] = { "gracePeriodSeconds", "gracePeriodSeconds", "integer", false,
		"Seconds that the object may take to end; 0 means at once, absent means the default of its kind." },
	[P_IGNORE_READ_ERROR] = { "ignoreStoreReadErrorWithClusterBreakingPotential",
		"ignoreStoreReadErrorWithClusterBreakingPotential", "boolean", false,
		"Deletes an object that cannot be read from the store any more, without finalizers or checks. Can break the cluster." },
	[P_LABEL_SELECTOR] = { "labelSelector", "labelSelector", "string", false,
		"Only objects whose labels match, such as app=web,tier in (front,back)." },
	[P_LIMIT] = { "limit", "limit", "integer", false,
		"The most objects to answer with; when there are more, metadata.continue has the token of the next page." },
	[P_NAME] = { "name", "name", "string", true, NULL },
	[P_NAMESPACE] = { "namespace", "namespace", "string", true, "Name of the namespace." },
	[P_ORPHAN] = { "orphanDependents", "orphanDependents", "boolean", false,
		"Old form of propagationPolicy: true is Orphan, false is Background. Not together with propagationPolicy." },
	[P_PATH] = { "path", "path", "string", true, "The rest of the path, passed on." },
	[P_PRETTY] = { "pretty", "pretty", "string", false,
		"true: indent the JSON. When absent it is indented for browsers, curl and wget." },
	[P_PROPAGATION] = { "propagationPolicy", "propagationPolicy", "string", false,
		"What becomes of the objects that this one owns: Orphan leaves them, Background deletes them afterwards, "
		"Foreground before." },
	[P_RESOURCE_VERSION] = { "resourceVersion", "resourceVersion", "string", false,
		"How new the answer must be: absent is the newest, 0 is whatever is at hand, another value is at least that version; "
		"a watch starts behind it." },
	[P_VERSION_MATCH] = { "resourceVersionMatch", "resourceVersionMatch", "string", false,
		"How resourceVersion applies to a list: Exact, or NotOlderThan." },
	[P_SEND_INITIAL] = { "sendInitialEvents", "sendInitialEvents", "boolean", false,
		"A watch first sends everything that exists as ADDED events and closes that part with a bookmark." },
	[P_TIMEOUT] = { "timeoutSeconds", "timeoutSeconds", "integer", false,
		"Seconds after which the call ends, whatever happens." },
	[P_WATCH] = { "watch", "watch", "boolean", false,
		"Send changes as they happen instead of a list. Name resourceVersion to say from where." },
};
