/* Shared within src/builder. */
#pragma once

#include "builder/builder.h"

/* Go's unicode.IsSpace for ASCII. */
static inline bool builder_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* "x (did you mean y?)" behind the message, when one of the names is at most two letters away. */
int builder_suggest(struct err *err, struct span given, const char *const *names, bool case_matters);

/* check.c: what an instruction may have and must have. words_of has split the line already. */
int builder_check(struct builder_instruction *in, struct arena *a, struct err *err);
