/* Questions from containers and answers from servers: any bytes. What is parsed must be within its bounds and must be
 * answerable. */
#include "network/dnsmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span packet = span_make(data, size);
	struct network_dns_question q, again;
	struct sys_addr a = { .family = 0 };
	auto_buf struct buf out = { 0 };
	int rc = network_dns_parse(packet, &q);
	(void)network_dns_rcode(packet, q.id); /* must not read beyond; its value is anybody's */
	if (rc < 0)
		return 0;
	network_dns_answer_begin(&out, packet, &q, (unsigned)rc);
	if (rc > 0)
		return 0;
	assert(strlen(q.name) <= 253 && q.end <= size && q.answer_max >= 512 && q.answer_max <= NETWORK_DNS_QUERY_MAX);
	if (network_dns_reverse(q.name, &a) && !network_dns_answer_name(&out, "web.net", q.answer_max))
		assert(out.len + 21 > q.answer_max);
	a.family = AF_INET6;
	while (network_dns_answer_addr(&out, &a, q.answer_max))
		;
	assert(out.len <= MAX(q.answer_max, q.end));
	/* The answer carries the question as it came. */
	out.ptr[2] &= 0x7f;
	assert(network_dns_parse(buf_span(&out), &again) == 0 && strcmp(again.name, q.name) == 0 && again.type == q.type &&
		again.end == q.end);
	return 0;
}
