/* /healthz, /livez, /readyz and their single checks. Private to apiserver. */
#pragma once

#include "apiserver/server.h"

/* seg: "readyz", or "readyz", "poststarthook", "rbac", "bootstrap-roles". False: no such path. */
bool health_handle(struct call *c, const struct span *seg, size_t n);
