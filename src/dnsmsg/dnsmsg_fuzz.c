/* A packet as a query, and as the answer to its own question: nothing is read or written past its end, and what was written
 * reads. */
#include "dnsmsg/dnsmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span packet = span_make(data, size);
	struct dnsmsg_question q, again;
	struct dnsmsg_reply r;
	static uint8_t room[DNSMSG_MAX];
	int rcode = dnsmsg_parse(packet, &q);
	(void)dnsmsg_rcode(packet, 0);
	if (rcode >= 0 && q.end) {
		/* As text and as an address the name is the same. */
		struct dnsmsg_name same;
		struct sys_addr a;
		char text[DNSMSG_NAME_MAX];
		if (dnsmsg_name_text(&q.name, text))
			assert(dnsmsg_name_parse(span_of(text), &same) && span_eq(dnsmsg_name_span(&same), dnsmsg_name_span(&q.name)));
		if (dnsmsg_name_address(&q.name, &a)) {
			dnsmsg_name_reverse(&a, &same);
			assert(span_eq(dnsmsg_name_span(&same), dnsmsg_name_span(&q.name)));
		}
	}
	if (rcode >= 0) {
		struct dnsmsg_out o = { .ptr = room, .max = q.udp_max };
		dnsmsg_begin(&o, packet, &q, (unsigned)rcode, DNSMSG_AA);
		if (q.end)
			while (dnsmsg_record(&o, DNSMSG_ANSWER, DNSMSG_HEAD, DNSMSG_A, 5, "\x0a\0\0\1", 4))
				;
		dnsmsg_end(&o, &q);
		assert(o.len <= q.udp_max);
		/* As a question, what we wrote is the question that came. */
		room[2] &= 0x7f;
		if (q.end)
			assert(dnsmsg_parse(span_make(room, o.len), &again) == 0 && again.type == q.type && again.end == q.end &&
			       span_eq(dnsmsg_name_span(&again.name), dnsmsg_name_span(&q.name)));
	}
	if (size < DNSMSG_HEAD || size > DNSMSG_MAX)
		return 0;
	/* The same as somebody's answer: the question is taken from it. */
	auto_free uint8_t *copy = (uint8_t *)mem_dup(data, size);
	copy[2] = (uint8_t)(copy[2] & 0x07);
	rcode = dnsmsg_parse(span_make(copy, size), &q);
	copy[2] |= 0x80;
	if (rcode < 0 || !q.end || !dnsmsg_reply_parse(span_make(copy, size), q.id, &q.name, q.type, &r) || r.truncated)
		return 0;
	assert(r.len <= size && r.question_end == q.end);
	copy[10] = (uint8_t)(r.n_additional >> 8);
	copy[11] = (uint8_t)r.n_additional;
	dnsmsg_age(copy, r.len, 3);
	uint8_t query[DNSMSG_HEAD + DNSMSG_NAME_MAX + 4 + DNSMSG_OPT_LEN];
	size_t len = dnsmsg_query(query, 9, &q.name, q.type, false, false);
	assert(dnsmsg_parse(span_make(query, len), &again) == 0 && again.edns);
	struct dnsmsg_out o = { .ptr = room, .max = again.udp_max };
	dnsmsg_adopt(&o, span_make(query, len), &again, span_make(copy, r.len));
	assert(o.len <= DNSMSG_UDP_MAX && o.len >= again.end);
	o = (struct dnsmsg_out){ .ptr = room, .max = DNSMSG_MAX };
	dnsmsg_begin(&o, span_make(query, len), &again, 0, 0);
	(void)dnsmsg_import(&o, span_make(copy, r.len));
	dnsmsg_end(&o, &again);
	return 0;
}
