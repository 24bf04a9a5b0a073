/* Who writes roles and bindings gives rights away: only such as they hold, unless they may escalate or bind. Private to
 * apiserver. */
#pragma once

#include "apiserver/server.h"

/* 0 for other kinds. FORBIDDEN in upstream's words; NOT_FOUND for a binding's role that is not there. old NULL: create. */
int guard_rbac(struct call *c, const struct json *object, const struct json *old);
