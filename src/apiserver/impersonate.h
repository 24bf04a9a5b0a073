/* Acting as somebody else. Private to apiserver. */
#pragma once

#include "apiserver/server.h"

/* Reads Impersonate-User, -Group, -Uid and -Extra-KEY. With any of them c->user, who must be allowed to impersonate each value, is
 * replaced and kept in c->actor. 0, FORBIDDEN in c->err, or -ERR_INTERNAL with the answer already given (headers without a
 * user: upstream's 500 is no Status). */
int impersonate_user(struct call *c);
