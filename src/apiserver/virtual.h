/* What is asked for and answered but never stored: the review kinds, tokens, and Scale as a view of its object. Private to
 * apiserver. */
#pragma once

#include "apiserver/server.h"

/* True when the resource (or sub-resource) of the call is one of these; the call is then taken over. */
bool virtual_begin(struct call *c);
/* POST after the body has come. */
void virtual_create(struct call *c);
/* GET, PUT, PATCH of .../scale. */
void scale_get(struct call *c);
void scale_write(struct call *c);
