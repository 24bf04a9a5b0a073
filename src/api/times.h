/* Times and durations as Kubernetes' JSON has them. Part of the seam of api. Pure functions. */
#pragma once

#include "base/base.h"

enum api_time_kind {
	API_TIME_SECONDS, /* metav1.Time: RFC 3339; a fraction is read and dropped when printed */
	API_TIME_MICRO,   /* metav1.MicroTime: RFC 3339 with exactly six digits of fraction */
};
/* Go's time.Parse with its layouts and its error texts: parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x"
 * as "2006". Class INVALID_REQUEST. */
int api_time_parse(struct span in, enum api_time_kind kind, int64_t *out_unix_s, int32_t *out_ns, struct err *err);
/* UTC. Appended; nothing for years outside 0 to 9999. */
void api_time_print(struct buf *out, enum api_time_kind kind, int64_t unix_s, int32_t ns);
/* Unix seconds of Go's zero time (year 1), which prints as null. */
#define API_TIME_ZERO_S INT64_C(-62135596800)

/* Go's time.ParseDuration: "1h30m", "-1.5h", "100ms", "0". Errors in its words: time: invalid duration "x", time: missing
 * unit in duration "1", time: unknown unit "y" in duration "1y". Class INVALID_REQUEST. */
int api_duration_parse(struct span in, int64_t *out_ns, struct err *err);
/* Go's Duration.String: "1h30m0s", "1.5s", "2ms", "0s". Appended. */
void api_duration_print(struct buf *out, int64_t ns);
/* Age as kubectl shows it (duration.HumanDuration): 0s 119s 2m 3m30s 10m 179m 3h 7h59m 8h 47h 2d3h 8d 729d 2y10d 8y.
 * Below -1 s "<invalid>". Appended. */
void api_age_print(struct buf *out, int64_t elapsed_ns);
