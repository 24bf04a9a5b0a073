/* Protobuf's wire format (encoding.md of the protobuf documentation), without messages: what a message means is
 * the caller's business.
 *
 * Reading walks a span and copies nothing:
 *
 *     struct proto_in in = proto_in_of(data);
 *     uint32_t num; unsigned wire;
 *     while (proto_tag(&in, &num, &wire)) {
 *             if (num == 1 && wire == PROTO_BYTES) ok = proto_bytes(&in, &name);
 *             else                                 ok = proto_skip(&in, wire);
 *             if (!ok) break;
 *     }
 *     if (!proto_end(&in)) ... damaged
 *
 * A reader that meets damage (a varint of more than ten bytes, a length past the end, field number 0, a group that does not
 * close) turns bad: every later call returns false and proto_end is false. So one check at the end suffices.
 *
 * Writing goes backwards, from the last byte to the first: the length of an inner message is then known when its head
 * is written, and nothing is computed twice or moved (gogo's generated encoders do the same).
 *
 *     struct proto_out o;
 *     proto_out_begin(&o, &buf, 512);                 // 512: a guess of the size
 *     size_t end = proto_out_size(&o);                // a message in field 2 ...
 *     proto_put_bytes(&o, 1, name);                   // ... its last field first
 *     proto_put_head(&o, 2, end);                     // length since `end`, then the tag
 *     proto_out_end(&o);                              // appended to buf
 *
 * No function allocates, except that writing grows the buf. Single-threaded per reader and writer.
 */
#pragma once

#include "base/base.h"

enum proto_wire {
	PROTO_VARINT = 0,
	PROTO_FIXED64 = 1,
	PROTO_BYTES = 2,
	PROTO_GROUP = 3,
	PROTO_GROUP_END = 4,
	PROTO_FIXED32 = 5,
};
#define PROTO_NUM_MAX 536870911u /* largest field number */
#define PROTO_GROUP_DEPTH 64     /* nesting of groups that proto_skip follows */

struct proto_in {
	const uint8_t *pos, *end; /* borrowed */
	bool bad;
};

static inline struct proto_in proto_in_of(struct span s)
{
	const uint8_t *p = (const uint8_t *)s.ptr;
	return (struct proto_in){ .pos = p, .end = s.len ? p + s.len : p };
}
/* Everything read, nothing wrong. */
static inline bool proto_end(const struct proto_in *in)
{
	return !in->bad && in->pos == in->end;
}
bool proto_bad_(struct proto_in *in);
bool proto_varint_slow_(struct proto_in *in, uint64_t *out);
/* Bits beyond the 64th are dropped, as every implementation does. */
static inline bool proto_varint(struct proto_in *in, uint64_t *out)
{
	if (likely(in->pos < in->end && *in->pos < 0x80)) {
		*out = *in->pos++;
		return true;
	}
	return proto_varint_slow_(in, out);
}
bool proto_tag_slow_(struct proto_in *in, uint32_t *out_num, unsigned *out_wire);
/* False at the end, and when bad. */
static inline bool proto_tag(struct proto_in *in, uint32_t *out_num, unsigned *out_wire)
{
	if (likely(in->pos < in->end && *in->pos < 0x80 && *in->pos >= 8)) {
		*out_num = *in->pos >> 3;
		*out_wire = *in->pos++ & 7;
		return true;
	}
	return proto_tag_slow_(in, out_num, out_wire);
}
bool proto_bytes(struct proto_in *in, struct span *out);
bool proto_fixed64(struct proto_in *in, uint64_t *out);
bool proto_fixed32(struct proto_in *in, uint32_t *out);
/* The value of a field that nobody knows. */
bool proto_skip(struct proto_in *in, unsigned wire);
/* How many fields with this tag (of wire type BYTES) stand one after another from here on; reads nothing. At most max. */
uint32_t proto_count_bytes(const struct proto_in *in, uint32_t num, uint32_t max);

static inline int64_t proto_unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}
static inline uint64_t proto_zigzag(int64_t v)
{
	return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}
static inline double proto_double(uint64_t bits)
{
	double d;
	memcpy(&d, &bits, sizeof(d));
	return d;
}
static inline uint64_t proto_double_bits(double d)
{
	uint64_t bits;
	memcpy(&bits, &d, sizeof(bits));
	return bits;
}

/* ---- writing backwards */
struct proto_out {
	struct buf *buf; /* borrowed until proto_out_end */
	uint8_t *lo, *pos, *hi; /* the room; pos..hi is written */
	bool failed;    /* past the buf's limit: the rest is dropped, buf_overflowed() is set */
};
void proto_out_begin(struct proto_out *o, struct buf *buf, size_t guess);
void proto_out_end(struct proto_out *o);
bool proto_out_grow_(struct proto_out *o, size_t n);
static inline bool proto_out_room(struct proto_out *o, size_t n)
{
	return likely((size_t)(o->pos - o->lo) >= n) || proto_out_grow_(o, n);
}
/* Bytes written so far. */
static inline size_t proto_out_size(const struct proto_out *o)
{
	return (size_t)(o->hi - o->pos);
}
static inline void proto_out_bytes(struct proto_out *o, const void *data, size_t len)
{
	if (len && proto_out_room(o, len)) {
		o->pos -= len;
		memcpy(o->pos, data, len);
	}
}
static inline size_t proto_varint_len(uint64_t v)
{
	return (size_t)((9 * (64 - __builtin_clzll(v | 1)) + 64) / 64);
}
static inline void proto_out_varint(struct proto_out *o, uint64_t v)
{
	size_t n = proto_varint_len(v);
	if (!proto_out_room(o, n))
		return;
	uint8_t *p = o->pos -= n;
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p = (uint8_t)v;
}
static inline void proto_out_tag(struct proto_out *o, uint32_t num, enum proto_wire wire)
{
	proto_out_varint(o, (uint64_t)num << 3 | wire);
}
/* Whole fields. */
static inline void proto_put_varint(struct proto_out *o, uint32_t num, uint64_t v)
{
	proto_out_varint(o, v);
	proto_out_tag(o, num, PROTO_VARINT);
}
static inline void proto_put_bytes(struct proto_out *o, uint32_t num, struct span s)
{
	proto_out_bytes(o, s.ptr, s.len);
	proto_out_varint(o, s.len);
	proto_out_tag(o, num, PROTO_BYTES);
}
/* Length and tag of what was written since the size was `since`. */
static inline void proto_put_head(struct proto_out *o, uint32_t num, size_t since)
{
	proto_out_varint(o, proto_out_size(o) - since);
	proto_out_tag(o, num, PROTO_BYTES);
}
void proto_put_fixed64(struct proto_out *o, uint32_t num, uint64_t v);
void proto_put_fixed32(struct proto_out *o, uint32_t num, uint32_t v);
