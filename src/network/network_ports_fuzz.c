/* Published ports and addresses as a request brings them: {"Config":{"ExposedPorts":..},"HostConfig":{"PortBindings":..}}, or an
 * address by itself. */
#include "network/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	struct span text = span_make(data, size);
	struct sys_addr addr, again;
	struct json doc;
	const struct json_limits limits = { .bytes = 1 << 16, .depth = 16 };
	if (sys_addr_parse(text, &addr)) {
		char shown[SYS_ADDR_TEXT];
		sys_addr_text(&addr, shown);
		assert(sys_addr_parse(span_of(shown), &again) && sys_addr_eq(&addr, &again));
	}
	if (json_parse(&a, text, 0, &limits, &doc, NULL) == 0 && doc.kind == JSON_OBJECT)
		(void)network_ports_check(json_getl(&doc, "Config"), json_getl(&doc, "HostConfig"), NULL); /* must not crash */
	return 0;
}
