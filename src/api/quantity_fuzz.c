/* Quantities and durations: whatever is accepted has a canonical form that is accepted, equal and canonical. */
#include <assert.h>
#include "api/quantity.h"
#include "api/times.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_make(data, size);
	auto_buf struct buf once = {}, twice = {}, text = {};
	struct api_quantity q, again;
	int64_t ns, ns_again;
	if (api_quantity_canon(in, &once, NULL) == 0) {
		assert(api_quantity_canon(buf_span(&once), &twice, NULL) == 0);
		assert(span_eq(buf_span(&once), buf_span(&twice)));
	}
	if (api_quantity_parse(in, &q, NULL) == 0) {
		api_quantity_print(&q, &text);
		assert(api_quantity_parse(buf_span(&text), &again, NULL) == 0);
		assert(api_quantity_cmp(&q, &again) == 0);
		assert(api_quantity_value(&q) == api_quantity_value(&again));
	}
	if (api_duration_parse(in, &ns, NULL) == 0) {
		buf_trunc(&text, 0);
		api_duration_print(&text, ns);
		assert(api_duration_parse(buf_span(&text), &ns_again, NULL) == 0);
		assert(ns == ns_again);
	}
	return 0;
}
