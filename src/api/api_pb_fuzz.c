/* Protobuf from outside as some type, chosen by the first two bytes: whatever decodes must encode, and the encoding must decode to
 * the same encoding. Kubernetes', CRI's and etcd's messages alike. */
#include <assert.h>
#include "api/api.h"
#include "api/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	auto_buf struct buf first = {}, second = {}, json = {};
	auto_err struct err err = ERR_INIT;
	struct json v, again;
	if (size < 2)
		return 0;
	const struct api_type *t = &api_t_types[api_t_by_name[(data[0] << 8 | data[1]) % api_t_n_named]];
	struct span in = span_make(data + 2, size - 2);
	if (api_type_kind(t) != API_OBJECT)
		return 0;
	bool envelope = span_starts(in, API_PROTO_MAGIC);
	int rc = envelope ? api_decode_proto(&a, t, in, &v, &err) : api_decode_message(&a, t, in, &v, &err);
	if (rc < 0)
		return 0;
	assert(api_encode_message(&first, t, &v, &err) == 0);
	if (api_decode_message(&a, t, buf_span(&first), &again, &err) < 0) {
		(void)fprintf(stderr, "%s\n", err_msg(&err));
		abort();
	}
	assert(api_encode_message(&second, t, &again, &err) == 0);
	assert(span_eq(buf_span(&first), buf_span(&second)));
	int id = api_typed_find(api_type_name(t));
	if (id >= 0 && !envelope) { /* the struct says the same as the tree */
		void *typed = arena_alloc(&a, api_typed_size(id));
		if (api_typed_decode(&a, id, API_FORM_MESSAGE, in, typed, &err) < 0) {
			(void)fprintf(stderr, "typed: %s\n", err_msg(&err));
			abort();
		}
		buf_trunc(&second, 0);
		assert(api_typed_encode(&second, id, API_FORM_MESSAGE, typed, &err) == 0);
		assert(span_eq(buf_span(&first), buf_span(&second)));
	}
	if (!(api_type_flags(t) & API_TYPE_PROTO3)) {
		struct api_decode d = { .strict = true };
		api_encode_json(&json, t, &v, 0);
		if (api_decode_json(&a, t, buf_span(&json), &d, &again, &err) < 0) {
			(void)fprintf(stderr, "%s\n%s\n", err_msg(&err), buf_cstr(&json));
			abort();
		}
	}
	return 0;
}
