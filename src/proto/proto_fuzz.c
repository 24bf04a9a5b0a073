/* Walks arbitrary bytes as nested messages; then writes the fields that it understood, backwards, and reads them again. */
#include <assert.h>
#include "proto/proto.h"

static void walk(struct span data, int depth, struct proto_out *o)
{
	struct proto_in in = proto_in_of(data);
	uint32_t num;
	unsigned wire;
	while (proto_tag(&in, &num, &wire)) {
		assert(num >= 1 && num <= PROTO_NUM_MAX && wire <= 7);
		uint64_t v;
		uint32_t v32;
		struct span s;
		if (wire == PROTO_VARINT && proto_varint(&in, &v)) {
			proto_put_varint(o, num, v);
			assert(proto_zigzag(proto_unzigzag(v)) == v);
		} else if (wire == PROTO_BYTES && proto_bytes(&in, &s)) {
			assert(s.len <= data.len);
			if (depth < 8)
				walk(s, depth + 1, o);
			proto_put_bytes(o, num, s);
		} else if (wire == PROTO_FIXED64 && proto_fixed64(&in, &v)) {
			proto_put_fixed64(o, num, v);
		} else if (wire == PROTO_FIXED32 && proto_fixed32(&in, &v32)) {
			proto_put_fixed32(o, num, v32);
		} else if (!in.bad && !proto_skip(&in, wire)) {
			break;
		}
	}
	assert(in.bad || in.pos == in.end);
	assert(proto_end(&in) == !in.bad);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_buf struct buf b = { .limit = 1 << 20 };
	struct proto_out o;
	proto_out_begin(&o, &b, 16);
	walk(span_make(data, size), 0, &o);
	proto_out_end(&o);
	struct proto_in in = proto_in_of(buf_span(&b));
	uint32_t num;
	unsigned wire;
	while (proto_tag(&in, &num, &wire))
		assert(proto_skip(&in, wire)); /* what we wrote is whole */
	assert(proto_end(&in));
	return 0;
}
