/* JSONPath: the input is a template, a newline, and a JSON value to run it on. */
#include "api/jsonpath.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	auto_buf struct buf out = { .limit = 1 << 20 }, plain = {};
	static const struct json_limits limits = { .bytes = 1 << 14, .depth = 32 };
	struct span template, text;
	struct api_jsonpath *path;
	struct json value;
	(void)span_split(span_make(data, size), '\n', &template, &text);
	(void)api_jsonpath_relaxed(template, &plain, NULL);
	if (template.len > 200 || api_jsonpath_parse(&a, template, &path, NULL) < 0)
		return 0;
	if (json_parse(&a, text, JSON_DUPLICATES_LAST, &limits, &value, NULL) < 0)
		return 0;
	(void)api_jsonpath_print(path, &value, 0, &out, NULL);
	(void)api_jsonpath_print(path, &value, API_JSONPATH_MISSING | API_JSONPATH_AS_JSON, &out, NULL);
	return 0;
}
