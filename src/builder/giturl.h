/* URLs of git repositories as contexts: REMOTE[#[REF][:SUBDIR]]. Pure. Private. */
#pragma once

#include "builder/private.h"

#define BUILDER_GIT_URL_MAX 8192

struct git_url {
	struct span remote; /* for git: "https://..." , "git://...", "git@host:path" */
	struct span ref;    /* branch, tag, commit; empty = what the remote's HEAD says. Never begins with '-' */
	struct span subdir; /* of the repository; empty = all of it */
};
/* "git://", "git@", "github.com/", and http(s) whose path ends with ".git". */
bool builder_git_is(struct span url);
/* Spans point into url or the arena. INVALID_REQUEST. */
int builder_git_parse(struct span url, struct arena *a, struct git_url *out, struct err *err);
