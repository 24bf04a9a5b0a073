/* Selectors: what is accepted prints to a text that is accepted and prints the same; both matchers agree. */
#include <assert.h>
#include "api/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	auto_buf struct buf once = {}, twice = {};
	struct span in = span_make(data, size);
	struct api_label_selector sel, again;
	struct api_field_selector fields, fields_again;
	if (api_label_selector_parse(&a, in, &sel, NULL) == 0) {
		api_label_selector_print(&sel, &once);
		assert(api_label_selector_parse(&a, buf_span(&once), &again, NULL) == 0);
		api_label_selector_print(&again, &twice);
		assert(span_eq(buf_span(&once), buf_span(&twice)));
		struct json labels = json_object();
		for (unsigned i = 0; i < sel.n && i < 4; i++)
			json_set(&a, &labels, sel.reqs[i].key, json_str(sel.reqs[i].n_values ? sel.reqs[i].values[0] : SPAN("1")));
		struct api_label_set set = api_label_set_of(&a, &labels);
		assert(api_label_selector_match(&sel, &labels) == api_label_selector_match_set(&sel, &set));
	}
	if (api_field_selector_parse(&a, in, &fields, NULL) == 0) {
		buf_trunc(&once, 0);
		buf_trunc(&twice, 0);
		api_field_selector_print(&fields, &once);
		assert(api_field_selector_parse(&a, buf_span(&once), &fields_again, NULL) == 0);
		api_field_selector_print(&fields_again, &twice);
		assert(fields.n == fields_again.n);
	}
	return 0;
}
