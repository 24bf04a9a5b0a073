/* Questions to a zone with services of each kind: any bytes. An answer keeps within its room and reads as an answer to its
 * question; with less room it is the same or cut. */
#include "dns/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dns_zone *zone_make(void)
{
	static const char *const services[][2] = {
		{ "d/web", "{\"spec\":{\"clusterIPs\":[\"10.96.0.7\",\"fd00::7\"],\"ports\":[{\"name\":\"http\",\"port\":80}]}}" },
		{ "d/db", "{\"spec\":{\"clusterIP\":\"None\",\"ports\":[{\"name\":\"sql\",\"port\":5432}]}}" },
		{ "d/out", "{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"www.example.com\"}}" },
		{ "d/in", "{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"db.d.svc.z\"}}" },
		{ "d/round", "{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"round.d.svc.z\"}}" },
	};
	static const char slice[] = "{\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"sql\",\"protocol\":\"TCP\",\"port\":5432}],"
		"\"endpoints\":[{\"addresses\":[\"10.1.0.1\"],\"hostname\":\"a\"},"
		"{\"addresses\":[\"10.1.0.2\"]},{\"addresses\":[\"10.1.0.3\"]}]}";
	const struct sys_addr own = { AF_INET, { 10, 1, 0, 1 } };
	auto_arena struct arena a = { 0 };
	struct dns_zone *z = NULL;
	struct json o;
	if (dns_zone_new(SPAN("z"), &own, &z, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(services); i++)
		if (json_parse(&a, span_of(services[i][1]), 0, NULL, &o, NULL) == 0)
			dns_zone_service(z, span_of(services[i][0]), dns_service_read(&o));
	if (json_parse(&a, span_of(slice), 0, NULL, &o, NULL) == 0)
		dns_zone_slice(z, SPAN("d/db"), SPAN("d/db-1"), dns_slice_read(&o));
	return z;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dns_zone *z; /* for all inputs; the process ends with it */
	static uint8_t small[512], large[DNSMSG_MAX];
	struct span packet = span_make(data, size);
	struct dnsmsg_question q;
	struct dnsmsg_name target[2];
	struct dnsmsg_reply r;
	struct dnsmsg_out o[2] = { { .ptr = small, .max = sizeof(small) }, { .ptr = large, .max = sizeof(large) } };
	enum dns_verdict v[2];
	if (!z)
		z = zone_make();
	if (dnsmsg_parse(packet, &q) != 0 || q.class != 1)
		return 0;
	for (unsigned i = 0; i < 2; i++) {
		v[i] = dns_zone_answer(z, packet, &q, q.id, &o[i], &target[i]);
		if (v[i] == DNS_ELSEWHERE) {
			assert(o[i].len == 0);
			continue;
		}
		dnsmsg_end(&o[i], &q);
		assert(o[i].len <= (i ? sizeof(large) : sizeof(small)));
		assert(dnsmsg_reply_parse(span_make(o[i].ptr, o[i].len), q.id, &q.name, q.type, &r));
	}
	assert(v[0] == v[1] || (small[2] & 2));
	if (v[0] != DNS_ELSEWHERE && !(small[2] & 2))
		assert(o[0].len == o[1].len && memcmp(small, large, o[0].len) == 0);
	return 0;
}
