/* Any configuration: read or refused with one of the spec's codes, never half. */
#include <unistd.h>

#include "cni/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const verbs[] = { "ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION" };
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		struct cni_call c = { .version = "1.0.0", .dir = -1, .route = -1, .nf = -1 };
		c.command = span_of(verbs[i]);
		c.container = SPAN("c1");
		c.ifname = SPAN("eth0");
		c.netns = SPAN("/proc/1/ns/net");
		int rc = cni_conf_read(&c, span_make(data, size));
		assert((rc == 0) == (c.code == CNI_OK));
		assert(rc < 0 || c.n_ports <= CNI_PORTS_MAX);
		assert(rc < 0 || i != 0 || c.subnet[V4].addr.family || c.subnet[V6].addr.family);
		err_done(&c.err);
		arena_done(&c.arena);
	}
	return 0;
}

