/* Kinds whose JSON form is text with a meaning: times, durations, base64, quantities. Private to api.
 *
 * The _canon functions take what a client sent and give the form that Go would send back. *out is the input itself where
 * it is canonical already, else new text in the arena. They return 0, or -1 with Go's words for the error in `why`. */
#pragma once

#include "base/base.h"

/* RFC 3339 to UTC with whole seconds (micro: six digits). An empty *out means Go's zero time, which JSON shows as null. */
int api_time_canon(struct arena *a, struct span in, bool micro, struct span *out, struct buf *why);
int api_duration_canon(struct arena *a, struct span in, struct span *out, struct buf *why);
int api_base64_canon(struct arena *a, struct span in, struct span *out, struct buf *why);
int api_quantity_text(struct arena *a, struct span in, struct span *out, struct buf *why);
