/* Private to json: what its files share. */
#pragma once

#include "json/json.h"

enum {
	JSON_DEPTH_MOST = 10000, /* the deepest tree that parser, writer, copy, equality and sort accept */
};

/* The bytes of s in the arena, without the 0 byte that arena_copy would add: eight names of eight bytes then take 64
 * bytes, not 128. */
static inline const char *json_arena_text(struct arena *a, struct span s)
{
	if (s.len == 0)
		return "";
	char *copy = arena_alloc(a, s.len);
	memcpy(copy, s.ptr, s.len);
	return copy;
}

/* Members in byte order of their names, those of one name in the order they have: an array of n pointers, in room
 * when n is at most room_n, else in memory that the caller frees. */
struct json_member **json_order(const struct json *object, struct json_member **room, uint32_t room_n);
/* Whether the members already stand in that order. */
bool json_in_order(const struct json *object);
