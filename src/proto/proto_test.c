#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "proto/proto.h"

static void varints_round_trip(void **state)
{
	static const uint64_t values[] = { 0, 1, 127, 128, 300, 16383, 16384, UINT32_MAX, UINT64_C(1) << 35,
					   INT64_MAX, UINT64_MAX };
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		auto_buf struct buf b = {};
		struct proto_out o;
		proto_out_begin(&o, &b, 1);
		proto_put_varint(&o, 3, values[i]);
		proto_out_end(&o);
		assert_int_equal(b.len, 1 + proto_varint_len(values[i]));
		struct proto_in in = proto_in_of(buf_span(&b));
		uint32_t num;
		unsigned wire;
		uint64_t v;
		assert_true(proto_tag(&in, &num, &wire));
		assert_int_equal(num, 3);
		assert_int_equal(wire, PROTO_VARINT);
		assert_true(proto_varint(&in, &v));
		assert_true(v == values[i]);
		assert_true(proto_end(&in));
	}
}

static void message_is_as_protoc_writes_it(void **state)
{
	/* { 1: "testing", 2: { 1: 150 }, 3: 1.0, 4: 7 fixed32 } */
	static const char want[] = "\x0a\x07" "testing" "\x12\x03\x08\x96\x01" "\x19\0\0\0\0\0\0\xf0\x3f" "\x25\x07\0\0\0";
	for (size_t guess = 0; guess < 64; guess++) {
		auto_buf struct buf b = {};
		buf_str(&b, "head");
		struct proto_out o;
		proto_out_begin(&o, &b, guess);
		proto_put_fixed32(&o, 4, 7);
		proto_put_fixed64(&o, 3, proto_double_bits(1.0));
		size_t since = proto_out_size(&o);
		proto_put_varint(&o, 1, 150);
		proto_put_head(&o, 2, since);
		proto_put_bytes(&o, 1, SPAN("testing"));
		proto_out_end(&o);
		assert_int_equal(b.len, 4 + sizeof(want) - 1);
		assert_memory_equal(b.ptr, "head", 4);
		assert_memory_equal(b.ptr + 4, want, sizeof(want) - 1);
	}
	struct proto_in in = proto_in_of(span_make(want, sizeof(want) - 1));
	uint32_t num = 0, v32 = 0;
	unsigned wire = 0;
	struct span s = SPAN_EMPTY;
	uint64_t v = 0;
	assert_true(proto_tag(&in, &num, &wire) && num == 1 && wire == PROTO_BYTES && proto_bytes(&in, &s));
	assert_true(span_is(s, "testing"));
	assert_true(proto_tag(&in, &num, &wire) && num == 2 && proto_bytes(&in, &s) && s.len == 3);
	assert_true(proto_tag(&in, &num, &wire) && num == 3 && wire == PROTO_FIXED64 && proto_fixed64(&in, &v));
	assert_true(proto_double(v) == 1.0);
	assert_true(proto_tag(&in, &num, &wire) && num == 4 && wire == PROTO_FIXED32 && proto_fixed32(&in, &v32));
	assert_int_equal(v32, 7);
	assert_false(proto_tag(&in, &num, &wire));
	assert_true(proto_end(&in));
}

static void damage_is_found(void **state)
{
	static const struct span damaged[] = {
		SPAN_INIT("\xff"),                                         /* cut tag */
		SPAN_INIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* eleven bytes */
		SPAN_INIT("\x00\x00"),                                     /* number 0 */
		SPAN_INIT("\x02\x00"),                                     /* number 0, bytes */
		SPAN_INIT("\xfa\xff\xff\xff\x7f\x00"),                     /* tag beyond 32 bits */
		SPAN_INIT("\x0a\x05" "abcd"),                              /* length past the end */
		SPAN_INIT("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* length that wraps */
		SPAN_INIT("\x09\0\0\0\0\0\0\0"),                           /* seven of eight bytes */
		SPAN_INIT("\x0d\0\0\0"),                                   /* three of four */
		SPAN_INIT("\x0e\0"), SPAN_INIT("\x0f\0"),                  /* wire types 6 and 7 */
		SPAN_INIT("\x0c"),                                         /* end of a group that never began */
		SPAN_INIT("\x0b\x10\x01"),                                 /* group that does not close */
		SPAN_INIT("\x0b\x13\x1c\x0c"),                             /* closed by another number */
	};
	for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
		struct proto_in in = proto_in_of(damaged[i]);
		uint32_t num;
		unsigned wire;
		while (proto_tag(&in, &num, &wire) && proto_skip(&in, wire))
			;
		if (proto_end(&in))
			fail_msg("row %zu was taken as whole", i);
		assert_false(proto_tag(&in, &num, &wire));
	}
	/* Groups are skipped, up to a depth. */
	for (int depth = 1; depth <= 2 * PROTO_GROUP_DEPTH; depth *= 2) {
		auto_buf struct buf b = {};
		for (int i = 0; i < depth; i++)
			buf_chr(&b, 0x13);
		buf_str(&b, "\x08\x01");
		for (int i = 0; i < depth; i++)
			buf_chr(&b, 0x14);
		struct proto_in in = proto_in_of(buf_span(&b));
		uint32_t num;
		unsigned wire;
		assert_true(proto_tag(&in, &num, &wire));
		assert_int_equal(proto_skip(&in, wire) && proto_end(&in), depth <= PROTO_GROUP_DEPTH);
	}
}

static void limit_of_the_buf_holds(void **state)
{
	for (size_t limit = 1; limit < 40; limit++) {
		auto_buf struct buf b = { .limit = limit };
		struct proto_out o;
		proto_out_begin(&o, &b, 1);
		for (int i = 0; i < 10; i++)
			proto_put_varint(&o, 1, 1);
		proto_out_end(&o);
		assert_true(b.len == (limit >= 20 ? 20 : 0));
		assert_int_equal(buf_overflowed(&b), limit < 20);
	}
}

static void zigzag_round_trips(void **state)
{
	static const int64_t values[] = { 0, -1, 1, -2, INT64_MAX, INT64_MIN };
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		assert_true(proto_unzigzag(proto_zigzag(values[i])) == values[i]);
	assert_int_equal(proto_zigzag(-1), 1);
	assert_int_equal(proto_zigzag(1), 2);
}

static void neighbours_are_counted(void **state)
{
	struct span s = SPAN("\x0a\x01x\x0a\0\x0a\x02yz\x12\0\x0a\0");
	struct proto_in in = proto_in_of(s);
	assert_int_equal(proto_count_bytes(&in, 1, 100), 3);
	assert_int_equal(proto_count_bytes(&in, 1, 2), 2);
	assert_int_equal(proto_count_bytes(&in, 2, 100), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(varints_round_trip),
		cmocka_unit_test(message_is_as_protoc_writes_it),
		cmocka_unit_test(damage_is_found),
		cmocka_unit_test(limit_of_the_buf_holds),
		cmocka_unit_test(zigzag_round_trips),
		cmocka_unit_test(neighbours_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
