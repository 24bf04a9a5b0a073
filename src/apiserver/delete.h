/* Deletion. Private to apiserver. */
#pragma once

#include "apiserver/server.h"

void delete_begin(struct call *c);	      /* one object; c->body is the DeleteOptions, or empty */
/* One object with options that are there already (c->dry_run counts too). done answers once it is deleted, or marked as such;
 * stale, when a precondition does not hold: c->err says which. */
void delete_with(struct call *c, const struct json *options, void (*done)(struct call *c),
		 void (*stale)(struct call *c));
void delete_collection_begin(struct call *c); /* all that match */
