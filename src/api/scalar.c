/* Text forms with a meaning, in Go's words.
 *
 * What arrives is nearly always canonical, because it was written by a Go program or by us; so each function first
 * looks whether it is, and only then does the work. */
#include "api/scalar.h"
#include "api/quantity.h"
#include "api/times.h"

/* ---- times and durations */

/* The words of an error, without the error. */
static int say(struct buf *why, const struct err *err)
{
	buf_str(why, err_msg(err));
	return -1;
}

int api_time_canon(struct arena *a, struct span in, bool micro, struct span *out, struct buf *why)
{
	const size_t width = micro ? 27 : 20;
	int64_t s;
	int32_t ns;
	/* The usual case: the right width, UTC, and a date that there is. */
	if (in.len != width || in.ptr[width - 1] != 'Z' || (micro && in.ptr[19] != '.') ||
	    time_parse(in.ptr, in.len, &s, &ns) < 0) {
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf text = {};
		enum api_time_kind kind = micro ? API_TIME_MICRO : API_TIME_SECONDS;
		if (api_time_parse(in, kind, &s, &ns, &err) < 0)
			return say(why, &err);
		api_time_print(&text, kind, s, ns);
		if (!text.len) {
			buf_printf(why, "parsing time \"%.*s\": year out of range", SPAN_ARG(in));
			return -1;
		}
		in = arena_span(a, buf_span(&text));
	}
	*out = s == API_TIME_ZERO_S && (!micro || ns < 1000) ? SPAN_EMPTY : in;
	return 0;
}

int api_duration_canon(struct arena *a, struct span in, struct span *out, struct buf *why)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf text = {};
	int64_t ns;
	if (api_duration_parse(in, &ns, &err) < 0)
		return say(why, &err);
	api_duration_print(&text, ns);
	*out = span_eq(buf_span(&text), in) ? in : arena_span(a, buf_span(&text));
	return 0;
}

/* ---- base64 */

/* Offset of the first byte that Go's decoder refuses, or -1. Line ends are skipped anywhere; padding ends the text. */
static ptrdiff_t base64_bad_at(struct span in)
{
	unsigned n = 0; /* characters of the current four */
	size_t i = 0;
	for (; i < in.len; i++) {
		unsigned char c = (unsigned char)in.ptr[i];
		if (c == '\r' || c == '\n')
			continue;
		if (c != '=') {
			if (base64_digit((char)c, false) < 0)
				return (ptrdiff_t)i;
			n = (n + 1) & 3;
			continue;
		}
		if (n < 2)
			return (ptrdiff_t)i;
		size_t at = i;
		if (n == 2) {
			for (i++; i < in.len && (in.ptr[i] == '\r' || in.ptr[i] == '\n'); i++)
				;
			if (i == in.len)
				return (ptrdiff_t)in.len;
			if (in.ptr[i] != '=')
				return (ptrdiff_t)at;
		}
		for (i++; i < in.len; i++)
			if (in.ptr[i] != '\r' && in.ptr[i] != '\n')
				return (ptrdiff_t)i;
		return -1;
	}
	return n ? (ptrdiff_t)(in.len - n) : -1; /* Go points at the unfinished four */
}

int api_base64_canon(struct arena *a, struct span in, struct span *out, struct buf *why)
{
	auto_buf struct buf raw = {}, text = {};
	ptrdiff_t bad = base64_bad_at(in);
	if (bad >= 0) {
		buf_printf(why, "illegal base64 data at input byte %td", bad);
		return -1;
	}
	*out = in;
	bool plain = in.len % 4 == 0;
	if (plain && in.len) {
		const char *tail = in.ptr + in.len - 4;
		int v = tail[3] != '=' ? 0 : tail[2] == '=' ? base64_digit(tail[1], false) & 15
							      : base64_digit(tail[2], false) & 3;
		plain = v == 0 && !memchr(in.ptr, '\n', in.len) && !memchr(in.ptr, '\r', in.len);
	}
	if (plain)
		return 0;
	/* Line ends, or bits in the padding that no bytes stand for: decode and write anew. */
	uint32_t bits = 0;
	unsigned n = 0;
	for (size_t i = 0; i < in.len; i++) {
		int v = base64_digit(in.ptr[i], false);
		if (v < 0)
			continue;
		bits = bits << 6 | (uint32_t)v;
		if (++n % 4) {
			if (n % 4 > 1)
				buf_chr(&raw, (char)(bits >> (n % 4 == 2 ? 4 : 2)));
		} else {
			buf_chr(&raw, (char)bits);
		}
	}
	base64_add(&text, BASE64_STD, raw.ptr, raw.len);
	*out = arena_span(a, buf_span(&text));
	return 0;
}

/* ---- quantities */

/* Texts that are surely canonical: a whole number without leading zeros, short enough for every suffix to stay in range,
 * that no larger suffix could carry. This is what nearly every quantity looks like ("500m", "256Mi", "2"). */
static bool quantity_is_plain(struct span in)
{
	unsigned v = 0;
	size_t n = 0;
	while (n < in.len && n < 6 && in.ptr[n] >= '0' && in.ptr[n] <= '9')
		v = v * 10 + (unsigned)(in.ptr[n++] - '0');
	if (!n || in.ptr[0] == '0')
		return in.len == 1 && n == 1; /* "0" */
	const char *s = in.ptr + n;
	switch (in.len - n) {
	case 0:
		return v % 1000;
	case 1:
		return v % 1000 && (*s == 'm' || *s == 'k' || *s == 'M' || *s == 'G');
	case 2:
		return v % 1024 && s[1] == 'i' && (*s == 'K' || *s == 'M' || *s == 'G');
	default:
		return false;
	}
}

int api_quantity_text(struct arena *a, struct span in, struct span *out, struct buf *why)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf text = {};
	if (quantity_is_plain(in)) {
		*out = in;
		return 0;
	}
	if (api_quantity_canon(in, &text, &err) < 0)
		return say(why, &err);
	*out = span_eq(buf_span(&text), in) ? in : arena_span(a, buf_span(&text));
	return 0;
}
