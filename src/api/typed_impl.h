/* What typed.c and typed_proto.c share. Private to api. */
#pragma once

#include "api/typed_rows.h"

/* The layout of every list and map, whatever it holds. */
struct api_any_list {
	void *ptr;
	uint32_t n;
};

const struct api_typed_row *api_typed_row_of(const struct api_type *t);
size_t api_typed_size_of(const struct api_type *t);      /* of a value; of the struct for objects */
size_t api_typed_pair_size(const struct api_type *elem); /* of a map's { struct span key; V value } */
int api_typed_pair_cmp(const void *x, const void *y);
/* Is the member absent by being all zero? */
bool api_typed_is_absent(const struct api_type *t, const void *in);
/* One value from and to a tree. The value's place must be zeroed. */
int api_typed_set(struct arena *a, const struct api_type *t, const struct json *v, void *out, struct err *err);
struct json api_typed_get(struct arena *a, const struct api_type *t, const void *in);

/* typed_proto.c */
int api_typed_of_message(struct arena *a, const struct api_type *t, struct span data, void *zeroed, struct err *err);
/* api_version and kind make it an envelope; NULL: the bare message. */
int api_typed_to_message(struct buf *out, const struct api_type *t, const void *in, const struct span *api_version,
			 const struct span *kind, struct err *err);
