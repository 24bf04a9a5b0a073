/* What server and client share of HTTP/2 over nghttp2. Private to http_h2.c and http_client_h2.c. */
#pragma once

#include "http/http_impl.h"

#include <nghttp2/nghttp2.h>

/* Borrowed: nghttp2 copies when it is submitted. */
nghttp2_nv http_nv(struct span name, struct span value);
/* In data_length's last call: the body ends without END_STREAM, trailers follow. Nothing when there are none. False: the
 * session is of no use any more. */
bool http_nv_trailers(nghttp2_session *session, int32_t stream_id, struct http_head *trailers, uint32_t *flags);
/* SETTINGS: header list size and stream window by the limits, and one of the caller's; the connection's window. */
void http_nv_settings(nghttp2_session *session, const struct http_limits *l, nghttp2_settings_entry own);
/* Frames of the session go to the queue until it holds limit bytes. False: the session is of no use any more. */
bool http_nv_fill(nghttp2_session *session, struct http_out *out, size_t limit);
/* Our options; to be freed by the caller. */
nghttp2_option *http_nv_option(void);
