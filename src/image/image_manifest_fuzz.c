/* Manifests, indexes and configurations from outside. */
#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	struct image_manifest m;
	struct image_config c;
	const struct image_descriptor *d;
	const struct image_platform here = image_platform_here();
	if (image_manifest_parse(span_make(data, size), SPAN_EMPTY, &a, &m, NULL) == 0) {
		assert(m.n <= 1000);
		if (m.kind == IMAGE_INDEX && image_index_choose(&m, &here, &d, NULL) == 0)
			assert(d >= m.items && d < m.items + m.n);
	}
	if (image_config_parse(span_make(data, size), &a, &c, NULL) == 0)
		assert(c.n_diffs <= 127);
	return 0;
}
