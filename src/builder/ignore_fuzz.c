/* The first line is a path, the rest an ignore file; and each pattern against the path. */
#include "builder/builder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	struct builder_ignore ig;
	struct span text = span_make(data, size), path, line;
	bool out;
	if (!span_split(text, '\n', &path, &text))
		return 0;
	if (builder_ignore_parse(text, &a, &ig, NULL) == 0 && builder_ignore_has(&ig, path))
		assert(ig.n);
	while (span_cut(&text, '\n', &line))
		if (builder_glob(line, path, &out, NULL) == 0 && out && !builder_glob_is(line))
			assert(span_eq(line, path));
	return 0;
}
