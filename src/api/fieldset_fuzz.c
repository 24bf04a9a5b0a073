/* Field sets: what is accepted prints to a set that is equal; the algebra keeps its laws; a Pod can be applied with it. */
#include <assert.h>
#include "api/ssa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	static const struct json_limits limits = { .bytes = 1 << 14, .depth = 40 };
	struct span rest = span_make(data, size);
	struct json one, two;
	const struct api_fieldset *x, *y, *again;
	if (json_parse_next(&a, &rest, JSON_DUPLICATES_LAST, &limits, &one, NULL) < 0 || api_fieldset_parse(&a, &one, &x, NULL) < 0)
		return 0;
	struct json printed = api_fieldset_json(&a, x);
	assert(api_fieldset_parse(&a, &printed, &again, NULL) == 0 && api_fieldset_equal(x, again));
	if (json_parse_next(&a, &rest, JSON_DUPLICATES_LAST, &limits, &two, NULL) < 0 || api_fieldset_parse(&a, &two, &y, NULL) < 0)
		return 0;
	const struct api_fieldset *both = api_fieldset_union(&a, x, y), *common = api_fieldset_intersection(&a, x, y);
	assert(api_fieldset_size(both) + api_fieldset_size(common) == api_fieldset_size(x) + api_fieldset_size(y));
	const struct api_fieldset *only = api_fieldset_difference(&a, x, y, false);
	assert(api_fieldset_equal(api_fieldset_union(&a, only, common), x));
	assert(api_fieldset_size(api_fieldset_difference(&a, x, y, true)) <= api_fieldset_size(only));
	struct api_ssa s = { .type = api_type_find(SPAN("core/v1.Pod")), .api_version = SPAN("v1"), .kind = SPAN("Pod") };
	struct json result;
	if (one.kind == JSON_OBJECT && two.kind == JSON_OBJECT)
		(void)api_ssa_apply(&a, &s, &one, &two, SPAN("kubectl"), false, &result, NULL);
	return 0;
}
