/* Field errors. */
#include "api/fielderr.h"

static const struct {
	const char *reason, *text;
	bool shows_value;
} types[] = {
	[API_FE_NOT_FOUND] = { "FieldValueNotFound", "Not found", true },
	[API_FE_REQUIRED] = { "FieldValueRequired", "Required value", false },
	[API_FE_DUPLICATE] = { "FieldValueDuplicate", "Duplicate value", true },
	[API_FE_INVALID] = { "FieldValueInvalid", "Invalid value", true },
	[API_FE_NOT_SUPPORTED] = { "FieldValueNotSupported", "Unsupported value", true },
	[API_FE_FORBIDDEN] = { "FieldValueForbidden", "Forbidden", false },
	[API_FE_TOO_LONG] = { "FieldValueTooLong", "Too long", false },
	[API_FE_TOO_MANY] = { "FieldValueTooMany", "Too many", true },
	[API_FE_INTERNAL] = { "InternalError", "Internal error", false },
	[API_FE_TYPE_INVALID] = { "FieldValueTypeInvalid", "Invalid value", true },
};

const char *api_fe_reason(enum api_field_error type)
{
	return types[type].reason;
}

void api_fe_body(struct buf *out, enum api_field_error type, struct span value, struct span detail)
{
	buf_str(out, types[type].text);
	if (types[type].shows_value) {
		buf_str(out, ": ");
		buf_span_add(out, value);
	}
	if (detail.len) {
		buf_str(out, ": ");
		buf_span_add(out, detail);
	}
}

void api_fe_add(struct err *err, struct span field, enum api_field_error type, struct span value, struct span detail)
{
	auto_buf struct buf body = {};
	api_fe_body(&body, type, value, detail);
	err_cause_add(err, field, types[type].reason, buf_span(&body));
}
