/* Private to src/http: SPDY/3's header blocks (section 2.6.10), compressed with zlib over the whole session. */
#pragma once

#include "http/http_spdy.h"

struct http_spdy_block {
	struct http_spdy_deflate *deflate; /* owned; made at the first block */
	struct http_spdy_inflate *inflate;
};

void http_spdy_block_done(struct http_spdy_block *b);
/* Appends the compressed block. */
void http_spdy_block_write(struct http_spdy_block *b, const struct http_spdy_field *fields, unsigned n, struct buf *out);
/* Uncompresses into plain (emptied first), limit bytes at most. False: damaged or too large; the compression state is
 * lost then, and with it the session. */
bool http_spdy_block_inflate(struct http_spdy_block *b, struct span data, size_t limit, struct buf *plain);
/* The fields of an uncompressed block, pointing into it: one for each value. 0, or -1 when the block is not
 * what SPDY allows (names empty, twice or with capitals; lengths that do not fit). *out_fields is the caller's to free. */
int http_spdy_block_parse(struct span plain, struct http_spdy_field **out_fields, unsigned *out_n);
