#include "app/applet.h"

#include "base/base.h"

#include <fcntl.h>

void size_report(void)
{
	const char *wanted = getenv("KNARR_SIZE");
	if (!wanted || !span_is(span_of(wanted), "1"))
		return;
	auto_buf struct buf maps = {}, rollup = {};
	if (io_read_file(AT_FDCWD, "/proc/self/maps", &maps, 1 << 20, NULL) < 0 ||
	    io_read_file(AT_FDCWD, "/proc/self/smaps_rollup", &rollup, 1 << 16, NULL) < 0)
		return;
	/* Executable mappings of files: one for each loaded object. */
	int objects = 0;
	struct span rest = buf_span(&maps), line;
	while (span_cut(&rest, '\n', &line))
		objects += span_has(line, SPAN("r-xp")) && span_chr(line, '/') >= 0;
	/* Anonymous pages: those of the program file are the page cache, shared by all that run it. */
	int64_t private_kb = 0, kb;
	rest = buf_span(&rollup);
	while (span_cut(&rest, '\n', &line)) {
		struct span value;
		if (!span_starts(line, SPAN("Anonymous:")) || !span_split(line, ':', &line, &value))
			continue;
		value = span_trim(value);
		ptrdiff_t blank = span_chr(value, ' ');
		if (blank > 0 && span_to_i64(span_sub(value, 0, (size_t)blank), &kb))
			private_kb += kb;
	}
	(void)dprintf(2, "knarr-size objects=%d private_kb=%lld\n", objects, (long long)private_kb);
}
