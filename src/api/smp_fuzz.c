/* Strategic merge patch: two JSON values behind each other, a Pod and a patch. */
#include "api/jsonpatch.h"
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
	struct json made;
	/* The same two as states: the patch between them can be made, or the lists are not fit for one; and the third way. */
	if (patch.kind == JSON_OBJECT) {
		const struct api_type *t = api_type_find(SPAN("core/v1.Pod"));
		struct json copy = json_copy(&a, &object);
		if (api_smp_diff(&a, t, &object, &patch, &made, NULL) == 0)
			(void)api_smp_apply(&a, t, &copy, &made, NULL); /* keys that stand twice in a list may not apply */
		(void)api_smp_diff_three(&a, t, &patch, &object, &patch, false, &made, NULL);
		(void)api_merge_patch_three(&a, &patch, &object, &patch, &made, NULL);
	}
	if (api_smp_apply(&a, api_type_find(SPAN("core/v1.Pod")), &object, &patch, NULL) == 0)
		json_write(&out, &object, 0);
	return 0;
}
