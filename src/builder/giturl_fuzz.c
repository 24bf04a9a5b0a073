/* The remote parameter of a build: what is taken for a repository never gives git an option, a blank or a control character. */
#include "builder/giturl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	struct span url = arena_span(&a, span_make((const char *)data, size));
	struct git_url u;
	if (!builder_git_is(url) || builder_git_parse(url, &a, &u, NULL) < 0)
		return 0;
	assert(u.remote.len && u.remote.ptr[0] != '-' && !span_starts(u.ref, SPAN("-")));
	assert(u.remote.len + u.ref.len + u.subdir.len <= BUILDER_GIT_URL_MAX + 8);
	for (size_t i = 0; i < u.remote.len + u.ref.len; i++)
		assert((unsigned char)(i < u.remote.len ? u.remote.ptr[i] : u.ref.ptr[i - u.remote.len]) > ' ');
	assert(span_chr(u.remote, '#') < 0);
	return 0;
}
