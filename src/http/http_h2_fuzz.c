/* HTTP/2 frames behind the preface. */
#include "http/http_server_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_server(data, size, SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
}
