/* JSON patch and merge patch: the input is two JSON values behind each other, a document and a patch. */
#include <assert.h>
#include "api/jsonpatch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	static const struct json_limits limits = { .bytes = 1 << 16, .depth = 64 };
	static const struct api_json_patch_limits patch_limits = { .ops = 100, .copy_bytes = 1 << 16 };
	struct span rest = span_make(data, size);
	struct json doc, patch;
	if (json_parse_next(&a, &rest, 0, &limits, &doc, NULL) < 0 || json_parse_next(&a, &rest, 0, &limits, &patch, NULL) < 0)
		return 0;
	struct json patched = json_copy(&a, &doc);
	(void)api_json_patch(&a, &patched, &patch, &patch_limits, NULL);
	struct json merged = json_copy(&a, &doc), again;
	if (doc.kind == JSON_OBJECT && api_merge_patch(&a, &merged, &patch, NULL) == 0 && patch.kind == JSON_OBJECT) {
		again = json_copy(&a, &merged);
		assert(api_merge_patch(&a, &again, &patch, NULL) == 0);
		assert(json_equal(&again, &merged));
	}
	return 0;
}
