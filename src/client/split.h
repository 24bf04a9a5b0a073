/* Cuts the text of a JSON object into its members while it arrives: what reads a list of 100,000 pods without ever holding
 * it. Private to client. */
#pragma once

#include "base/base.h"

/* Whole values of the object's own members, in order; of the member "items", when it is an array, each item by itself. Texts are
 * borrowed for the call and are not checked beyond what finds their ends: the parser does that. In a stream of several objects (a
 * watch) `end` marks the end of each. Nonzero from a callback stops and is returned. */
struct client_split_ops {
	int (*member)(struct span key, struct span value, void *arg);
	int (*item)(struct span value, void *arg);
	int (*end)(void *arg);
};

struct client_split {
	const struct client_split_ops *ops;
	void *arg;
	struct buf held;      /* what was begun and goes on in the next piece */
	char key[32];         /* longer keys are cut: none that matters is */
	unsigned key_len;
	unsigned depth;       /* open braces and brackets */
	bool in_string, escaped, in_key, after_colon, in_items;
	bool taking;          /* the value goes to held */
	size_t limit;         /* of one value */
};
void client_split_init(struct client_split *s, const struct client_split_ops *ops, void *arg, size_t value_limit);
void client_split_done(struct client_split *s);
/* Takes the next piece. 0, what a callback returned, -ERR_UPSTREAM (no JSON object), or -ERR_TOO_LARGE. */
int client_split_feed(struct client_split *s, struct span data);
/* At the end of the stream: is nothing open? */
bool client_split_whole(const struct client_split *s);
