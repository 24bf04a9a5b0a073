/* Messages byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dnsmsg/dnsmsg.h"

static struct dnsmsg_name name(const char *text)
{
	struct dnsmsg_name n;
	assert_true(dnsmsg_name_parse(span_of(text), &n));
	return n;
}

static void test_names(void **state)
{
	struct dnsmsg_name n = name("Web.Default."), zone = name("default"), address;
	char label[65];
	memset(label, 'a', sizeof(label));
	assert_int_equal(n.len, 13);
	assert_memory_equal(n.b, "\3web\7default", 13);
	assert_int_equal(dnsmsg_name_within(&n, &zone), 4);
	zone = name("efault");
	assert_int_equal(dnsmsg_name_within(&n, &zone), -1);
	zone = name("");
	assert_int_equal(dnsmsg_name_within(&n, &zone), 12);
	assert_false(dnsmsg_name_parse(SPAN("a..b"), &n));
	assert_false(dnsmsg_name_parse(SPAN(".a"), &n));
	assert_false(dnsmsg_name_parse(span_make(label, 64), &n));
	assert_true(dnsmsg_name_parse(span_make(label, 63), &n));
	for (unsigned i = 0; i < 2; i++)
		assert_true(dnsmsg_name_push(&n, span_make(label, 63)));
	assert_false(dnsmsg_name_push(&n, span_make(label, 63)));
	assert_true(dnsmsg_name_push(&n, span_make(label, 61)));
	assert_int_equal(n.len, 255);
	struct sys_addr a = { AF_INET, { 10, 96, 0, 7 } };
	dnsmsg_name_reverse(&a, &address);
	n = name("7.0.96.10.in-addr.arpa");
	assert_memory_equal(address.b, n.b, n.len);
	assert_true(sys_addr_parse(SPAN("fd00::7"), &a));
	dnsmsg_name_reverse(&a, &address);
	n = name("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa");
	assert_int_equal(address.len, n.len);
	assert_memory_equal(address.b, n.b, n.len);
}

static void test_names_as_text(void **state)
{
	static const char *const good[][2] = { { "4.3.2.1.in-addr.arpa", "1.2.3.4" }, { "0.0.0.0.in-addr.arpa", "0.0.0.0" },
		{ "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "2001:db8::567:89ab" } };
	static const char *const bad[] = { "in-addr.arpa", "3.2.1.in-addr.arpa", "5.4.3.2.1.in-addr.arpa", "256.3.2.1.in-addr.arpa",
		"x.ip6.arpa", "04.3.2.1.in-addr.arpa", "4.3.2.1.in-addr.arpb", "web", "",
		"g.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
		"b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip5.arpa" };
	struct sys_addr a;
	char text[SYS_ADDR_TEXT], out[DNSMSG_NAME_MAX], longest[254];
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct dnsmsg_name n = name(good[i][0]);
		assert_true(dnsmsg_name_address(&n, &a));
		assert_string_equal(sys_addr_text(&a, text), good[i][1]);
		assert_true(dnsmsg_name_text(&n, out));
		assert_string_equal(out, good[i][0]);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct dnsmsg_name n = name(bad[i]);
		if (dnsmsg_name_address(&n, &a))
			fail_msg("%s was taken for an address", bad[i]);
	}
	memset(longest, 'a', sizeof(longest));
	longest[63] = longest[127] = longest[191] = '.';
	longest[253] = 0;
	struct dnsmsg_name n = name(longest);
	assert_true(dnsmsg_name_text(&n, out));
	assert_string_equal(out, longest);
	n = name("");
	assert_true(dnsmsg_name_text(&n, out));
	assert_string_equal(out, "");
	n = name("abc");
	for (const char *c = ". \x7f\x01\x80"; *c; c++) {
		n.b[2] = (uint8_t)*c;
		assert_false(dnsmsg_name_text(&n, out));
	}
}

static void test_question(void **state)
{
	uint8_t packet[600], room[1500];
	struct dnsmsg_question q;
	struct dnsmsg_name n = name("web.ns");
	size_t len = dnsmsg_query(packet, 0x1234, &n, DNSMSG_A, true, true);
	packet[13] = 'W';
	assert_int_equal(dnsmsg_parse(span_make(packet, len), &q), 0);
	assert_int_equal(q.id, 0x1234);
	assert_int_equal(q.udp_max, 1232);
	assert_true(q.edns && q.dnssec && (q.flags & DNSMSG_CD));
	assert_memory_equal(q.name.b, n.b, n.len);
	struct dnsmsg_out o = { .ptr = room, .max = q.udp_max };
	dnsmsg_begin(&o, span_make(packet, len), &q, DNSMSG_NXDOMAIN, DNSMSG_AA);
	dnsmsg_end(&o, &q);
	assert_int_equal(room[13], 'W'); /* as it was asked */
	assert_int_equal(room[3] & 15, DNSMSG_NXDOMAIN);
	assert_int_equal(o.len, len);
	for (size_t cut = DNSMSG_HEAD; cut < len; cut++)
		assert_int_equal(dnsmsg_parse(span_make(packet, cut), &q), DNSMSG_FORMERR);
	packet[len - 5] = 1; /* EDNS version 1 */
	assert_int_equal(dnsmsg_parse(span_make(packet, len), &q), DNSMSG_BADVERS);
	o = (struct dnsmsg_out){ .ptr = room, .max = q.udp_max };
	dnsmsg_begin(&o, span_make(packet, len), &q, DNSMSG_BADVERS, 0);
	dnsmsg_end(&o, &q);
	assert_int_equal(room[o.len - 6], 1);
	assert_int_equal(room[3] & 15, 0);
	packet[2] |= 0x80;
	assert_int_equal(dnsmsg_parse(span_make(packet, len), &q), -1);
}

/* What is no question gets the code that it deserves, and no byte behind it is read. */
static void test_bad_questions(void **state)
{
	static const char head[DNSMSG_HEAD] = { 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0 };
	uint8_t packet[600];
	struct dnsmsg_question q;
	struct dnsmsg_name n = name("web.mynet");
	size_t len = dnsmsg_query(packet, 0x1234, &n, DNSMSG_A, false, false);
	for (size_t i = 0; i < len; i++) {
		auto_free char *exact = mem_dup(packet, i);
		assert_int_not_equal(dnsmsg_parse(span_make(exact, i), &q), 0);
	}
	packet[2] |= 0x28; /* another opcode */
	assert_int_equal(dnsmsg_parse(span_make(packet, len), &q), DNSMSG_NOTIMP);
	assert_int_equal(q.id, 0x1234);
	assert_int_equal(q.end, 0);
	/* Two OPT records, or one that somebody owns (RFC 6891 section 6.1.1). */
	len = dnsmsg_query(packet, 1, &n, DNSMSG_A, false, false);
	memcpy(packet + len, packet + len - DNSMSG_OPT_LEN, DNSMSG_OPT_LEN);
	packet[11] = 2;
	assert_int_equal(dnsmsg_parse(span_make(packet, len + DNSMSG_OPT_LEN), &q), DNSMSG_FORMERR);
	packet[11] = 1;
	memmove(packet + len - DNSMSG_OPT_LEN + 2, packet + len - DNSMSG_OPT_LEN + 1, DNSMSG_OPT_LEN - 1);
	memcpy(packet + len - DNSMSG_OPT_LEN, "\xc0\x0c", 2);
	assert_int_equal(dnsmsg_parse(span_make(packet, len + 1), &q), DNSMSG_FORMERR);
	/* 253 characters are the longest name, 254 are none; a pointer is none, for there is nothing before it; nor are labels without an
	 * end. */
	for (unsigned last = 61; last <= 62; last++) {
		static const char label[] = "\77aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
		auto_buf struct buf wire = { 0 };
		buf_add(&wire, head, sizeof(head));
		for (int i = 0; i < 3; i++)
			buf_add(&wire, label, 64);
		buf_chr(&wire, (char)last);
		buf_add(&wire, label + 1, last);
		buf_add(&wire, "\0\0\1\0\1", 5);
		assert_int_equal(dnsmsg_parse(buf_span(&wire), &q), last == 61 ? 0 : DNSMSG_FORMERR);
	}
	memcpy(packet, head, sizeof(head));
	memcpy(packet + DNSMSG_HEAD, "\xc0\x0c\0\1\0\1", 6);
	assert_int_equal(dnsmsg_parse(span_make(packet, DNSMSG_HEAD + 6), &q), DNSMSG_FORMERR);
	memset(packet + DNSMSG_HEAD, 1, 300);
	assert_int_equal(dnsmsg_parse(span_make(packet, DNSMSG_HEAD + 300), &q), DNSMSG_FORMERR);
}

/* An answer holds as many records as fit, and says that it lacks some. */
static void test_room(void **state)
{
	uint8_t packet[600], out[512];
	struct dnsmsg_question q;
	struct dnsmsg_name n = name("web");
	size_t len = dnsmsg_query(packet, 1, &n, DNSMSG_A, false, false) - DNSMSG_OPT_LEN;
	unsigned fit = 0;
	packet[11] = 0;
	assert_int_equal(dnsmsg_parse(span_make(packet, len), &q), 0);
	assert_int_equal(q.udp_max, 512);
	struct dnsmsg_out o = { .ptr = out, .max = q.udp_max };
	dnsmsg_begin(&o, span_make(packet, len), &q, 0, 0);
	while (dnsmsg_record(&o, DNSMSG_ANSWER, DNSMSG_HEAD, DNSMSG_A, 600, "\12\1\2\3", 4))
		fit++;
	dnsmsg_end(&o, &q);
	assert_int_equal(fit, (512 - 21) / 16);
	assert_int_equal(out[7], fit);
	assert_int_equal(out[2] & 2, 2);
	static const char first[] = "\xc0\x0c\0\1\0\1\0\0\2\x58\0\4\12\1\2\3";
	assert_memory_equal(out + q.end, first, sizeof(first) - 1);
	/* What is only additional is left out without a word. */
	o = (struct dnsmsg_out){ .ptr = out, .max = q.end + 15 };
	dnsmsg_begin(&o, span_make(packet, len), &q, 0, 0);
	assert_false(dnsmsg_record(&o, DNSMSG_ADDITIONAL, DNSMSG_HEAD, DNSMSG_A, 600, "\12\1\2\3", 4));
	assert_int_equal(out[2] & 2, 0);
}

static void test_reply(void **state)
{
	static const char reply[] = "\0\x09\x81\x80\0\1\0\2\0\0\0\1" "\1a\1b\0\0\1\0\1"
		"\xc0\x0c\0\5\0\1\0\0\0\x1e\0\4\1c\xc0\x0e" "\xc0\x21\0\1\0\1\0\0\0\x0a\0\4\1\2\3\4" "\0\0\x29\x10\0\0\0\0\0\0\0";
	uint8_t copy[200], query[600], room[600];
	struct dnsmsg_reply r;
	struct dnsmsg_question q;
	struct dnsmsg_name n = name("a.b"), x = name("ns.zone");
	struct span p = span_make(reply, sizeof(reply) - 1);
	assert_true(dnsmsg_reply_parse(p, 9, &n, DNSMSG_A, &r));
	assert_int_equal(r.ttl_s, 10);
	assert_false(r.negative);
	assert_int_equal(r.len, p.len - DNSMSG_OPT_LEN);
	assert_int_equal(r.n_additional, 0);
	assert_int_equal(dnsmsg_rcode(p, 9), DNSMSG_OK);
	assert_int_equal(dnsmsg_rcode(p, 8), -1);
	assert_false(dnsmsg_reply_parse(p, 8, &n, DNSMSG_A, &r));
	assert_false(dnsmsg_reply_parse(p, 9, &n, DNSMSG_AAAA, &r));
	assert_false(dnsmsg_reply_parse(p, 9, &x, DNSMSG_A, &r));
	for (size_t cut = 0; cut < p.len; cut++)
		assert_false(dnsmsg_reply_parse(span_sub(p, 0, cut), 9, &n, DNSMSG_A, &r));
	assert_true(dnsmsg_reply_parse(p, 9, &n, DNSMSG_A, &r));
	memcpy(copy, reply, r.len);
	copy[11] = 0;
	dnsmsg_age(copy, r.len, 12);
	assert_int_equal(copy[DNSMSG_HEAD + 9 + 9], 18);
	assert_int_equal(copy[r.len - 7], 0);
	/* Behind another question the names are written out. */
	size_t len = dnsmsg_query(query, 7, &x, DNSMSG_A, false, false);
	assert_int_equal(dnsmsg_parse(span_make(query, len), &q), 0);
	struct dnsmsg_out o = { .ptr = room, .max = sizeof(room) };
	dnsmsg_begin(&o, span_make(query, len), &q, 0, 0);
	assert_true(dnsmsg_import(&o, span_make(copy, r.len)));
	static const char records[] = "\1a\1b\0\0\5\0\1\0\0\0\x12\0\5\1c\1b\0" "\1c\1b\0\0\1\0\1\0\0\0\0\0\4\1\2\3\4";
	assert_int_equal(o.len - q.end, sizeof(records) - 1);
	assert_memory_equal(room + q.end, records, sizeof(records) - 1);
}

/* Pointers that lead forward or in circles are no names. */
static void test_pointers(void **state)
{
	static const char circle[] = "\0\x09\x81\x80\0\1\0\1\0\0\0\0" "\1a\1b\0\0\1\0\1" "\xc0\x15\0\5\0\1\0\0\0\x1e\0\2\xc0\x15";
	uint8_t query[600], room[600];
	struct dnsmsg_question q;
	struct dnsmsg_name n = name("a.b");
	size_t len = dnsmsg_query(query, 9, &n, DNSMSG_A, false, false);
	assert_int_equal(dnsmsg_parse(span_make(query, len), &q), 0);
	struct dnsmsg_out o = { .ptr = room, .max = sizeof(room) };
	dnsmsg_begin(&o, span_make(query, len), &q, 0, 0);
	assert_true(dnsmsg_import(&o, span_make(circle, sizeof(circle) - 1)));
	assert_int_equal(o.len, q.end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names), cmocka_unit_test(test_names_as_text), cmocka_unit_test(test_question),
		cmocka_unit_test(test_bad_questions), cmocka_unit_test(test_room), cmocka_unit_test(test_reply),
		cmocka_unit_test(test_pointers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
