/* The packets that the spawner and a monitor read from a peer. What is accepted as SPAWN must encode to the same bytes. */
#include <assert.h>
#include <string.h>

#include "monitor/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct monitor_head h;
	struct monitor_spawn s;
	int fds[MONITOR_SPAWN_FDS];
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = (int)i;
	if (monitor_msg_request(data, size, &h, NULL) == 0) {
		assert(h.op > MONITOR_SPAWN && h.op < MONITOR_REQUEST_COUNT);
		assert(h.len == size - sizeof(h) && h.len <= MONITOR_INPUT_MAX);
	}
	/* Every number of descriptors could be the right one. */
	for (unsigned n = 0; n <= ARRAY_LEN(fds) && size <= MONITOR_SPAWN_MAX; n++) {
		char again[MONITOR_SPAWN_MAX];
		int out_fds[MONITOR_SPAWN_FDS];
		unsigned n_fds;
		if (monitor_msg_spawn(data, size, fds, n, &s, NULL) < 0)
			continue;
		memcpy(&h, data, sizeof(h));
		ssize_t len = monitor_spawn_encode(&s, h.tag, again, out_fds, &n_fds, NULL);
		assert(len == (ssize_t)size && n_fds == n);
		h.a = h.b = 0; /* mean nothing in a SPAWN */
		assert(!memcmp(again, &h, sizeof(h)) && !memcmp(again + sizeof(h), data + sizeof(h), size - sizeof(h)));
		assert(!memcmp(out_fds, fds, n * sizeof(int)));
	}
	return 0;
}
