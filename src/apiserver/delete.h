/* Deletion. Private to apiserver. */
#pragma once

#include "apiserver/server.h"

void delete_begin(struct call *c);	      /* one object; c->body is the DeleteOptions, or empty */
void delete_collection_begin(struct call *c); /* all that match */
