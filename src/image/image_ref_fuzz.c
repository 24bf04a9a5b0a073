/* Any name: what is taken prints a form that reads back as the same. */
#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	struct image_ref r, again;
	if (image_ref_parse(span_make(data, size), &a, &r, NULL) < 0)
		return 0;
	struct span full = image_ref_text(&r, &a), familiar = image_ref_familiar(&r, &a);
	assert(image_ref_parse(full, &a, &again, NULL) == 0 && span_eq(full, image_ref_text(&again, &a)));
	assert(image_ref_parse(familiar, &a, &again, NULL) == 0 && span_eq(full, image_ref_text(&again, &a)));
	return 0;
}
