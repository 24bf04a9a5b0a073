/* See http_nv.h. */
#include "http/http_nv.h"

nghttp2_nv http_nv(struct span name, struct span value)
{
	return (nghttp2_nv){ (uint8_t *)(uintptr_t)name.ptr, (uint8_t *)(uintptr_t)(value.ptr ? value.ptr : ""), name.len,
		value.len, NGHTTP2_NV_FLAG_NONE };
}

bool http_nv_trailers(nghttp2_session *session, int32_t stream_id, struct http_head *trailers, uint32_t *flags)
{
	if (!trailers->n)
		return true;
	*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
	http_head_fix(trailers);
	auto_free nghttp2_nv *nv = mem_alloc(trailers->n * sizeof(*nv));
	for (unsigned i = 0; i < trailers->n; i++)
		nv[i] = http_nv(trailers->items[i].name, trailers->items[i].value);
	return nghttp2_submit_trailer(session, stream_id, nv, trailers->n) == 0;
}

void http_nv_settings(nghttp2_session *session, const struct http_limits *l, nghttp2_settings_entry own)
{
	nghttp2_settings_entry settings[] = {
		own,
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, l->window_bytes },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, l->header_bytes },
	};
	int rc = nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
	int64_t whole = MIN((int64_t)l->window_bytes * 4, (int64_t)INT32_MAX);
	if (rc == 0)
		rc = nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, (int32_t)whole);
	assert(rc == 0);
}

bool http_nv_fill(nghttp2_session *session, struct http_out *out, size_t limit)
{
	while (out->len < limit) {
		const uint8_t *data;
		ssize_t n = nghttp2_session_mem_send(session, &data);
		if (n <= 0)
			return n == 0;
		http_out_copy(out, data, (size_t)n);
	}
	return true;
}

nghttp2_option *http_nv_option(void)
{
	nghttp2_option *opt;
	if (nghttp2_option_new(&opt) != 0)
		abort();
	nghttp2_option_set_no_auto_window_update(opt, 1);
	nghttp2_option_set_no_closed_streams(opt, 1); /* no memory for streams that are over */
	return opt;
}
