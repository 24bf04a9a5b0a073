/* What the protobuf codecs of trees and of typed structs share. Private to api. */
#pragma once

#include "api/codec.h"
#include "api/rows.h"
#include "proto/proto.h"

#define API_WIRE_DEPTH_MAX 100 /* as protobuf's own decoders */
#define API_WIRE_BYTES_MAX (64 << 20)
#define API_WIRE_NODES_MAX 4000000

static inline bool api_is_number(const struct api_type *t)
{
	return t->kind >= API_INT32 && t->kind <= API_DOUBLE;
}
/* Wire type of one value of the kind. */
static inline unsigned api_wire_of(const struct api_type *t)
{
	return t->kind == API_DOUBLE ? PROTO_FIXED64 : api_is_number(t) ? PROTO_VARINT : PROTO_BYTES;
}

/* ---- reading */
struct api_wire_dec {
	struct arena *a;
	struct err *err;
	unsigned depth;
	uint32_t nodes;
};
/* The row of a field number in t; guess is the row of the field before. NULL when unknown. */
const struct api_wire *api_wire_row(const struct api_type *t, const struct api_wire *guess, uint32_t num);
/* One value that is no repeated field of its own; its tag is read. */
int api_wire_get(struct api_wire_dec *d, struct proto_in *in, unsigned wire, const struct api_type *t, struct json *out);
/* A string, with U+FFFD where its bytes are no UTF-8. */
struct json api_wire_text(struct api_wire_dec *d, struct span s);
int api_wire_damaged(struct api_wire_dec *d, const struct api_type *t);
/* n more values; TOO_LARGE past the bound. */
int api_wire_count(struct api_wire_dec *d, uint32_t n);

/* The zero value of a map's element, for an entry without one; null where Go has nil. */
struct json api_wire_zero(const struct api_type *elem);

/* ---- writing, backwards */
struct api_wire_enc {
	struct proto_out o;
	struct err *err;
	int rc; /* the first failure */
	unsigned depth;
	struct buf scratch;
};
/* One field; v is NULL for the zero value. In proto3 the caller leaves zero values out. */
void api_wire_put(struct api_wire_enc *e, uint32_t num, const struct api_type *t, const struct json *v, bool proto3);
void api_wire_refuse(struct api_wire_enc *e, const struct api_type *t, const char *what);
