/* Field errors: "spec.x: Invalid value: "y": why", as k8s.io/apimachinery/pkg/util/validation/field prints them.
 * Part of the seam of api: who validates adds them. */
#pragma once

#include "base/base.h"

enum api_field_error {
	API_FE_NOT_FOUND,
	API_FE_REQUIRED,
	API_FE_DUPLICATE,
	API_FE_INVALID,
	API_FE_NOT_SUPPORTED,
	API_FE_FORBIDDEN,
	API_FE_TOO_LONG,
	API_FE_TOO_MANY,
	API_FE_INTERNAL,
	API_FE_TYPE_INVALID,
};
/* The reason of a Status cause: "FieldValueInvalid". */
const char *api_fe_reason(enum api_field_error type);
/* The body: `Invalid value: "y": why`. value is Go's text of the bad value (quote it first where Go would); empty for
 * the types that show none. Appended. */
void api_fe_body(struct buf *out, enum api_field_error type, struct span value, struct span detail);
/* The same as a cause of err. */
void api_fe_add(struct err *err, struct span field, enum api_field_error type, struct span value, struct span detail);
