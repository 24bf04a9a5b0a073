/* The parts of the wire format that are not worth inlining. */
#include <assert.h>
#include "proto/proto.h"

bool proto_bad_(struct proto_in *in)
{
	in->bad = true;
	in->end = in->pos; /* nothing can be read any more */
	return false;
}

bool proto_varint_slow_(struct proto_in *in, uint64_t *out)
{
	uint64_t v = 0;
	const uint8_t *p = in->pos;
	for (unsigned shift = 0; shift < 70 && p < in->end; shift += 7) {
		uint8_t c = *p++;
		if (shift < 64)
			v |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80) {
			in->pos = p;
			*out = v;
			return true;
		}
	}
	return proto_bad_(in);
}

bool proto_tag_slow_(struct proto_in *in, uint32_t *out_num, unsigned *out_wire)
{
	uint64_t v;
	if (in->pos == in->end || !proto_varint(in, &v))
		return false;
	/* Tags are uint32: a larger one is damage, not a number to be cut. */
	if (v > UINT32_MAX || v >> 3 == 0)
		return proto_bad_(in);
	*out_num = (uint32_t)(v >> 3);
	*out_wire = v & 7;
	return true;
}

bool proto_bytes(struct proto_in *in, struct span *out)
{
	uint64_t len;
	if (!proto_varint(in, &len))
		return false;
	if (len > (uint64_t)(in->end - in->pos))
		return proto_bad_(in);
	*out = span_make(in->pos, (size_t)len);
	in->pos += len;
	return true;
}

bool proto_fixed64(struct proto_in *in, uint64_t *out)
{
	if (in->end - in->pos < 8)
		return proto_bad_(in);
	memcpy(out, in->pos, 8); /* little endian, as the wire */
	in->pos += 8;
	return true;
}

bool proto_fixed32(struct proto_in *in, uint32_t *out)
{
	if (in->end - in->pos < 4)
		return proto_bad_(in);
	memcpy(out, in->pos, 4);
	in->pos += 4;
	return true;
}

bool proto_skip(struct proto_in *in, unsigned wire)
{
	uint32_t open[PROTO_GROUP_DEPTH]; /* numbers of the groups that we are in */
	unsigned depth = 0;
	uint32_t num = 0; /* the group's own number is with the caller, so its end is taken as it comes */
	uint64_t v;
	uint32_t v32;
	struct span s;
	for (;;) {
		bool ok;
		switch (wire) {
		case PROTO_VARINT:
			ok = proto_varint(in, &v);
			break;
		case PROTO_FIXED64:
			ok = proto_fixed64(in, &v);
			break;
		case PROTO_BYTES:
			ok = proto_bytes(in, &s);
			break;
		case PROTO_FIXED32:
			ok = proto_fixed32(in, &v32);
			break;
		case PROTO_GROUP:
			ok = depth < PROTO_GROUP_DEPTH;
			if (ok)
				open[depth++] = num;
			break;
		case PROTO_GROUP_END:
			ok = depth > 0 && (open[depth - 1] == 0 || open[depth - 1] == num);
			if (ok)
				depth--;
			break;
		default:
			ok = false;
		}
		if (!ok)
			return proto_bad_(in);
		if (depth == 0)
			return true;
		if (!proto_tag(in, &num, &wire))
			return proto_bad_(in);
	}
}

uint32_t proto_count_bytes(const struct proto_in *in, uint32_t num, uint32_t max)
{
	struct proto_in at = *in;
	struct span s;
	uint32_t n = 0, got;
	unsigned wire;
	while (n < max && proto_tag(&at, &got, &wire) && got == num && wire == PROTO_BYTES && proto_bytes(&at, &s))
		n++;
	return n;
}

static size_t left_of(const struct buf *b)
{
	return b->len < b->limit ? b->limit - b->len : 0;
}

void proto_out_begin(struct proto_out *o, struct buf *buf, size_t guess)
{
	if (buf->limit)
		guess = MIN(guess, left_of(buf));
	o->buf = buf;
	o->lo = (uint8_t *)buf_reserve(buf, guess);
	o->failed = !o->lo;
	o->pos = o->hi = o->lo ? o->lo + guess : NULL;
}

bool proto_out_grow_(struct proto_out *o, size_t n)
{
	if (o->failed)
		return false;
	size_t have = proto_out_size(o);
	size_t room = MAX(2 * (size_t)(o->hi - o->lo), have + n);
	if (o->buf->limit) { /* doubling may pass the limit where what is needed does not */
		room = MIN(room, left_of(o->buf));
		room = MAX(room, have + n);
	}
	/* buf_reserve keeps only what was committed, so what we have steps aside. */
	uint8_t *aside = mem_alloc(have ? have : 1);
	if (have)
		memcpy(aside, o->pos, have);
	uint8_t *lo = (uint8_t *)buf_reserve(o->buf, room);
	if (lo) {
		o->lo = lo;
		o->hi = lo + room;
		o->pos = o->hi - have;
		if (have)
			memcpy(o->pos, aside, have);
	} else {
		o->failed = true;
		o->lo = o->pos;
	}
	free(aside);
	return lo != NULL;
}

void proto_out_end(struct proto_out *o)
{
	size_t have = proto_out_size(o);
	if (o->failed || !have)
		return;
	memmove(o->lo, o->pos, have);
	buf_commit(o->buf, have);
}

void proto_put_fixed64(struct proto_out *o, uint32_t num, uint64_t v)
{
	proto_out_bytes(o, &v, sizeof(v));
	proto_out_tag(o, num, PROTO_FIXED64);
}

void proto_put_fixed32(struct proto_out *o, uint32_t num, uint32_t v)
{
	proto_out_bytes(o, &v, sizeof(v));
	proto_out_tag(o, num, PROTO_FIXED32);
}
