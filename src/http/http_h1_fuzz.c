/* HTTP/1.1 requests, and what looks like them. */
#include "http/http_server_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_server(data, size, SPAN_EMPTY);
}
