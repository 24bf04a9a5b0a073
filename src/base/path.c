#include "base/path.h"
#include "base/base.h"

struct span path_clean(struct arena *a, struct span path)
{
	auto_buf struct buf b = {};
	struct span part;
	while (span_cut(&path, '/', &part)) {
		if (!part.len || span_is(part, "."))
			continue;
		if (span_is(part, "..")) {
			ptrdiff_t slash = span_rchr(buf_span(&b), '/');
			buf_trunc(&b, slash < 0 ? 0 : (size_t)slash);
			continue;
		}
		if (b.len)
			buf_chr(&b, '/');
		buf_span_add(&b, part);
	}
	return arena_span(a, buf_span(&b));
}
