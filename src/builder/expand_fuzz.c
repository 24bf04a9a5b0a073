/* Words joined are the whole without its white space, as far as nothing was quoted. */
#include "builder/builder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool get(void *arg, struct span name, struct span *out)
{
	*out = name; /* the name is its own value */
	return name.len != 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	auto_arena struct arena a = {};
	const struct builder_scope scope = { .escape = data[0] & 1 ? '`' : '\\', .get = get, .keep_unset = data[0] & 2,
					     .raw_quotes = data[0] & 4, .raw_escapes = data[0] & 8 };
	struct span text = span_make(data + 1, size - 1), whole, *words;
	size_t n;
	int rc = builder_expand(text, &scope, &a, &whole, NULL);
	assert(rc == builder_expand_words(text, &scope, &a, &words, &n, NULL));
	if (rc < 0)
		return 0;
	size_t total = 0;
	for (size_t i = 0; i < n; i++) {
		assert(words[i].len);
		total += words[i].len;
	}
	assert(total <= whole.len && whole.len <= BUILDER_EXPANDED_MAX);
	return 0;
}
