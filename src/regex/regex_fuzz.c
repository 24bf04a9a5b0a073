/* Fuzz target: a byte of flags, a pattern, a 0 byte, a text. Besides not crashing: all matchers agree, and the work
 * stays below its bound. */
#include "regex/regex_prog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 4096)
		return 0;
	struct span in = span_make(data + 1, size - 1), pattern, text;
	(void)span_split(in, 0, &pattern, &text);
	struct err err = ERR_INIT;
	struct regex *re = regex_new(pattern, data[0] & 31, &err);
	if (!re != (err.class == ERR_INVALID))
		abort();
	err_done(&err);
	/* (x{1000}){..} of a long pattern on a long text is slow by right. */
	if (!re || (uint64_t)regex_size(re) * text.len > 50000000) {
		regex_free(re);
		return 0;
	}
	struct regex_scratch scratch = {};
	bool yes = regex_matches(re, &scratch, text);
	if (re->n_classes && regex_dfa_matches(re, &scratch, text) != yes)
		abort();
	struct regex_range groups[8];
	scratch.steps = 0;
	if (regex_find(re, &scratch, text, 0, groups, 8, NULL) != yes)
		abort();
	if (scratch.steps > 4 * (uint64_t)(re->n_insts + 1) * (text.len + 2))
		abort();
	if (yes && (groups[0].from < 0 || groups[0].to < groups[0].from || (size_t)groups[0].to > text.len))
		abort();
	struct regex_walk walk = {};
	int found = 0;
	while (regex_find_next(re, &scratch, text, &walk, groups, 1, NULL) > 0)
		if (++found > (int)text.len + 1)
			abort();
	if ((found > 0) != yes)
		abort();
	regex_scratch_done(&scratch);
	regex_free(re);
	return 0;
}
