/* Int-or-string values and percentages. Part of the seam of api.
 *
 * In a tree an int-or-string is JSON_INT (int32) or JSON_STRING. Pure functions; nothing is kept. */
#pragma once

#include "base/base.h"
#include "json/json.h"

/* "25%" of total, rounded up or down; an integer is taken as it is. A string that is no percentage is an error in the
 * real words: invalid value for IntOrString: invalid type: string is not a percentage. v == NULL: nil value for
 * IntOrString. Class INVALID. */
int api_intstr_scaled(const struct json *v, int64_t total, bool round_up, int64_t *out, struct err *err);
/* The number of an integer, of a string that is one ("80"), else 0: IntOrString.IntValue. */
int64_t api_intstr_int(const struct json *v);
/* What a command line means by a text: JSON_INT when it is an int32, else JSON_STRING (borrowed). */
struct json api_intstr_of(struct span text);
