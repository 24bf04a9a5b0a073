/* Addresses and ports of Services: given with the object that gets them, taken back with the one that loses them. Private to
 * apiserver. */
#pragma once

#include "apiserver/server.h"

/* Between strategy_prepare and strategy_validate of a Service: families, cluster IPs, node ports; what is claimed and released
 * rides with the commit. old NULL: create. 0 for other kinds, INVALID or INTERNAL in upstream's words. */
int service_allocate(struct call *c, struct json *object, const struct json *old);
/* A Service goes: so does all it has. */
void service_release(struct call *c, const struct json *old);
/* The ranges of the options, checked: class USAGE. */
int service_options(const struct apiserver_options *o, struct err *err);
