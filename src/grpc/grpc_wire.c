/* See grpc_wire.h. */
#include "grpc/grpc_wire.h"

static const char *const status_names[GRPC_STATUS_COUNT] = {
	"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
	"PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented",
	"Internal", "Unavailable", "DataLoss", "Unauthenticated",
};

const char *grpc_status_name(enum grpc_status s)
{
	return s < GRPC_STATUS_COUNT ? status_names[s] : "Unknown";
}

static const struct {
	enum grpc_status status;
	enum err_class class;
} classes[] = {
	/* The first row of a status is the class it becomes, the first row of a class the status. */
	{ GRPC_OK, ERR_NONE },
	{ GRPC_CANCELLED, ERR_CANCELLED },
	{ GRPC_UNKNOWN, ERR_UPSTREAM },
	{ GRPC_INVALID_ARGUMENT, ERR_INVALID },
	{ GRPC_INVALID_ARGUMENT, ERR_INVALID_REQUEST },
	{ GRPC_INVALID_ARGUMENT, ERR_USAGE },
	{ GRPC_DEADLINE_EXCEEDED, ERR_TIMEOUT },
	{ GRPC_NOT_FOUND, ERR_NOT_FOUND },
	{ GRPC_ALREADY_EXISTS, ERR_EXISTS },
	{ GRPC_PERMISSION_DENIED, ERR_FORBIDDEN },
	{ GRPC_RESOURCE_EXHAUSTED, ERR_TOO_MANY },
	{ GRPC_RESOURCE_EXHAUSTED, ERR_TOO_LARGE },
	{ GRPC_RESOURCE_EXHAUSTED, ERR_NO_SPACE },
	{ GRPC_FAILED_PRECONDITION, ERR_PRECONDITION },
	{ GRPC_FAILED_PRECONDITION, ERR_IN_USE },
	{ GRPC_ABORTED, ERR_STALE },
	{ GRPC_OUT_OF_RANGE, ERR_EXPIRED },
	{ GRPC_OUT_OF_RANGE, ERR_GONE },
	{ GRPC_UNIMPLEMENTED, ERR_UNSUPPORTED },
	{ GRPC_INTERNAL, ERR_INTERNAL },
	{ GRPC_UNAVAILABLE, ERR_UNAVAILABLE },
	{ GRPC_DATA_LOSS, ERR_CORRUPT },
	{ GRPC_UNAUTHENTICATED, ERR_UNAUTHORIZED },
};

enum grpc_status grpc_status_of(int class)
{
	class = class < 0 ? -class : class;
	for (size_t i = 0; i < ARRAY_LEN(classes); i++)
		if ((int)classes[i].class == class)
			return classes[i].status;
	return GRPC_UNKNOWN;
}

int grpc_status_class(enum grpc_status s)
{
	for (size_t i = 0; i < ARRAY_LEN(classes); i++)
		if (classes[i].status == s)
			return (int)classes[i].class;
	return ERR_UPSTREAM;
}

/* Errors of RFC 9113 section 7, by code, and what gRPC's "PROTOCOL-HTTP2" says of each. */
enum grpc_status grpc_status_of_reset(uint64_t code, const char **out_name)
{
	static const struct {
		const char *name;
		enum grpc_status status;
	} rows[] = {
		{ "NO_ERROR", GRPC_INTERNAL },
		{ "PROTOCOL_ERROR", GRPC_INTERNAL },
		{ "INTERNAL_ERROR", GRPC_INTERNAL },
		{ "FLOW_CONTROL_ERROR", GRPC_INTERNAL },
		{ "SETTINGS_TIMEOUT", GRPC_INTERNAL },
		{ "STREAM_CLOSED", GRPC_INTERNAL },
		{ "FRAME_SIZE_ERROR", GRPC_INTERNAL },
		{ "REFUSED_STREAM", GRPC_UNAVAILABLE },
		{ "CANCEL", GRPC_CANCELLED },
		{ "COMPRESSION_ERROR", GRPC_INTERNAL },
		{ "CONNECT_ERROR", GRPC_INTERNAL },
		{ "ENHANCE_YOUR_CALM", GRPC_RESOURCE_EXHAUSTED },
		{ "INADEQUATE_SECURITY", GRPC_PERMISSION_DENIED },
		{ "HTTP_1_1_REQUIRED", GRPC_INTERNAL },
	};
	*out_name = code < ARRAY_LEN(rows) ? rows[code].name : "unknown error code";
	return code < ARRAY_LEN(rows) ? rows[code].status : GRPC_UNKNOWN;
}

/* ---- messages */

void grpc_frames_done(struct grpc_frames *f)
{
	buf_done(&f->buf);
}

bool grpc_frames_between(const struct grpc_frames *f)
{
	return !f->in_message && f->n_head == 0;
}

void grpc_frame_head(uint8_t out[5], size_t len)
{
	out[0] = 0;
	out[1] = (uint8_t)(len >> 24);
	out[2] = (uint8_t)(len >> 16);
	out[3] = (uint8_t)(len >> 8);
	out[4] = (uint8_t)len;
}

static int head_end(struct grpc_frames *f, struct buf *out_why)
{
	f->length = (uint32_t)f->head[1] << 24 | (uint32_t)f->head[2] << 16 | (uint32_t)f->head[3] << 8 | f->head[4];
	f->n_head = 0;
	if (f->head[0] == 1) {
		buf_str(out_why, "grpc: compressed messages are not supported");
		return -GRPC_UNIMPLEMENTED;
	}
	if (f->head[0] != 0) {
		buf_printf(out_why, "grpc: received unexpected payload format %u", f->head[0]);
		return -GRPC_INTERNAL;
	}
	if (f->length > f->limit) {
		buf_printf(out_why, "grpc: received message larger than max (%u vs. %zu)", f->length, f->limit);
		return -GRPC_RESOURCE_EXHAUSTED;
	}
	f->in_message = true;
	buf_done(&f->buf); /* the message before */
	return 0;
}

int grpc_frames_next(struct grpc_frames *f, struct span *in, struct span *out_message, struct buf *out_why)
{
	while (!f->in_message) {
		if (!in->len)
			return 0;
		size_t n = MIN(sizeof(f->head) - f->n_head, in->len);
		memcpy(f->head + f->n_head, in->ptr, n);
		f->n_head = (uint8_t)(f->n_head + n);
		*in = span_from(*in, n);
		if (f->n_head < sizeof(f->head))
			return 0;
		int rc = head_end(f, out_why);
		if (rc < 0)
			return rc;
	}
	size_t missing = f->length - f->buf.len, n = MIN(missing, in->len);
	/* Whole in the input: no copy. */
	if (!f->buf.len && n == missing) {
		*out_message = span_make(in->ptr ? in->ptr : "", n);
	} else {
		buf_add(&f->buf, in->ptr, n);
		if (n < missing) {
			*in = span_from(*in, n);
			return 0;
		}
		*out_message = buf_span(&f->buf);
	}
	*in = span_from(*in, n);
	f->in_message = false;
	return 1;
}

/* ---- timeouts */

bool grpc_timeout_parse(struct span text, int64_t *out_ms)
{
	static const struct {
		char unit;
		int64_t ns;
	} units[] = { { 'H', 3600 * NS_PER_S }, { 'M', 60 * NS_PER_S }, { 'S', NS_PER_S },
		      { 'm', NS_PER_MS },	{ 'u', 1000 },		{ 'n', 1 } };
	uint64_t value;
	if (text.len < 2 || text.len > 9 || !span_to_u64(span_sub(text, 0, text.len - 1), &value))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (units[i].unit != text.ptr[text.len - 1])
			continue;
		/* 8 digits of hours are 3.6e20 ns: count in milliseconds where those are finer than the unit. */
		*out_ms = units[i].ns >= NS_PER_MS ? (int64_t)value * (units[i].ns / NS_PER_MS) :
						     ((int64_t)value * units[i].ns + NS_PER_MS - 1) / NS_PER_MS;
		return true;
	}
	return false;
}

void grpc_timeout_format(int64_t ms, char out[16])
{
	static const struct {
		char unit;
		int64_t ms;
	} units[] = { { 'm', 1 }, { 'S', 1000 }, { 'M', 60000 }, { 'H', 3600000 } };
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		int64_t value = (ms + units[i].ms - 1) / units[i].ms;
		if (value > 99999999 && i + 1 < ARRAY_LEN(units))
			continue;
		snprintf(out, 16, "%u%c", (unsigned)MIN(value, INT64_C(99999999)), units[i].unit);
		return;
	}
}

/* ---- grpc-message, grpc-status */

void grpc_message_encode(struct buf *out, struct span message)
{
	for (size_t i = 0; i < message.len; i++) {
		uint8_t c = (uint8_t)message.ptr[i];
		bool at_end = i == 0 || i + 1 == message.len;
		if (c >= (at_end ? '!' : ' ') && c <= '~' && c != '%')
			buf_chr(out, (char)c);
		else
			buf_printf(out, "%%%02X", c);
	}
}

void grpc_message_decode(struct buf *out, struct span text)
{
	while (text.len) {
		uint64_t byte;
		if (*text.ptr == '%' && text.len >= 3 && span_to_u64_base(span_sub(text, 1, 3), 16, &byte)) {
			buf_chr(out, (char)byte);
			text = span_from(text, 3);
			continue;
		}
		buf_chr(out, *text.ptr);
		text = span_from(text, 1);
	}
}

bool grpc_status_parse(struct span text, enum grpc_status *out)
{
	uint64_t value;
	if (!span_to_u64(text, &value))
		return false;
	*out = value < GRPC_STATUS_COUNT ? (enum grpc_status)value : GRPC_UNKNOWN;
	return true;
}

/* The protocol's table for answers that a proxy made ("HTTP to gRPC Status Code Mapping"). */
enum grpc_status grpc_status_of_http(int code)
{
	switch (code) {
	case 400: return GRPC_INTERNAL;
	case 401: return GRPC_UNAUTHENTICATED;
	case 403: return GRPC_PERMISSION_DENIED;
	case 404: return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504: return GRPC_UNAVAILABLE;
	}
	return GRPC_UNKNOWN;
}

/* ---- metadata */

bool grpc_key_is_bin(struct span key)
{
	return span_ends(key, SPAN("-bin"));
}

void grpc_bin_encode(struct buf *out, struct span value)
{
	base64_add(out, BASE64_STD_RAW, value.ptr, value.len);
}

bool grpc_bin_decode(struct buf *out, struct span text)
{
	struct span first, rest;
	(void)span_split(text, ',', &first, &rest);
	first = span_trim(first);
	return base64_parse(out, span_ends(first, SPAN("=")) ? BASE64_STD : BASE64_STD_RAW, first) ||
	       base64_parse(out, BASE64_STD, first);
}

struct span grpc_metadata_get(const struct http_fields *fields, const char *key, struct arena *a)
{
	struct span value = http_fields_get(fields, key);
	if (!value.ptr || !grpc_key_is_bin(span_of(key)))
		return value;
	auto_buf struct buf raw = {};
	return grpc_bin_decode(&raw, value) ? arena_span(a, buf_span(&raw)) : SPAN_EMPTY;
}

bool grpc_content_type(struct span value)
{
	struct span name = SPAN("application/grpc");
	if (!span_eq_nocase(span_sub(value, 0, name.len), name))
		return false;
	return value.len == name.len || value.ptr[name.len] == '+' || value.ptr[name.len] == ';';
}
