/* Strategic merge patch: two JSON values behind each other, a Pod and a patch. */
#include "api/smp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	static const struct json_limits limits = { .bytes = 1 << 15, .depth = 64 };
	struct span rest = span_make(data, size);
	struct json object, patch;
	if (json_parse_next(&a, &rest, 0, &limits, &object, NULL) < 0 || object.kind != JSON_OBJECT ||
	    json_parse_next(&a, &rest, 0, &limits, &patch, NULL) < 0)
		return 0;
	auto_buf struct buf out = {};
	if (api_smp_apply(&a, api_type_find(SPAN("core/v1.Pod")), &object, &patch, NULL) == 0)
		json_write(&out, &object, 0);
	return 0;
}
