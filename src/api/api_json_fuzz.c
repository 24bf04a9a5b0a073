/* JSON from outside as some built-in type, chosen by the first byte: whatever decodes must encode, decode again without
 * anything found, and encode to the same bytes; protobuf must bring back what JSON says. */
#include <assert.h>
#include "api/api.h"
#include "api/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	auto_buf struct buf first = {}, second = {}, pb = {};
	auto_err struct err err = ERR_INIT;
	struct json v, again;
	if (size < 2)
		return 0;
	const struct api_type *t = &api_t_types[api_t_by_name[(data[0] << 8 | data[1]) % api_t_n_named]];
	struct api_decode d = {};
	if (api_type_kind(t) != API_OBJECT || api_type_flags(t) & API_TYPE_PROTO3)
		return 0;
	if (api_decode_json(&a, t, span_make(data + 2, size - 2), &d, &v, &err) < 0)
		return 0;
	api_encode_json(&first, t, &v, 0);
	d = (struct api_decode){ .strict = true };
	if (api_decode_json(&a, t, buf_span(&first), &d, &again, &err) < 0) {
		(void)fprintf(stderr, "%s\n%s\n", err_msg(&err), buf_cstr(&first));
		abort();
	}
	api_encode_json(&second, t, &again, 0);
	assert(span_eq(buf_span(&first), buf_span(&second)));
	if (api_encode_message(&pb, t, &v, &err) < 0)
		return 0; /* nested deeper than protobuf allows */
	assert(api_decode_message(&a, t, buf_span(&pb), &again, &err) == 0);
	return 0;
}
