/* gzip while sending. Private. */
#pragma once

#include "http/http_out.h"

struct http_gzip;

struct http_gzip *http_gzip_new(int level);
void http_gzip_free(struct http_gzip *g); /* accepts NULL */
/* Takes input from `from` until about max bytes of output were added to `to` or the input is used up; finish = no more
 * input follows. True when everything (with finish: the trailer too) is in `to`. */
bool http_gzip_run(struct http_gzip *g, struct http_out *from, struct http_out *to, size_t max, bool finish);
