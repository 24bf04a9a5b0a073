/* What an image may ask of those that are built upon it. */
#include <ctype.h>

#include "image/image.h"

int image_trigger_check(struct span trigger, struct err *err)
{
	static const char *const never[] = { "FROM", "MAINTAINER" };
	struct span word = span_trim(trigger);
	size_t n = 0;
	while (n < word.len && !isspace((unsigned char)word.ptr[n]))
		n++;
	word = span_sub(word, 0, n);
	if (!word.len)
		return err_set(err, ERR_INVALID_REQUEST, "ONBUILD requires at least one argument");
	if (span_eq_nocase(word, SPAN("ONBUILD")))
		return err_set(err, ERR_INVALID_REQUEST, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		if (span_eq_nocase(word, span_of(never[i])))
			return err_set(err, ERR_INVALID_REQUEST, "%s isn't allowed as an ONBUILD trigger", never[i]);
	return 0;
}
