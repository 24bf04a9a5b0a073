/* One record of text, in the two formats. */
#include "logs/private.h"

static int stream_of(struct span s)
{
	return span_is(s, "stdout") ? 1 : span_is(s, "stderr") ? 2 : 0;
}

static bool time_of(struct span s, int64_t *out_ns)
{
	int64_t sec;
	int32_t ns;
	if (time_parse(s.ptr, s.len, &sec, &ns) < 0 || sec < -9000000000 || sec > 9000000000)
		return false;
	*out_ns = sec * NS_PER_S + ns;
	return true;
}

/* The JSON string at s (behind its quote) up to its end; *out_rest begins behind the closing quote. False when it has what only the
 * full parser knows: halves of surrogate pairs, a bad escape, no end. */
static bool unescape(struct span s, struct buf *out, struct span *out_rest)
{
	static const char plain[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	const char *p = s.ptr, *end = s.ptr + s.len;
	for (;;) {
		const char *q = p;
		while (q < end && *q != '"' && *q != '\\')
			q++;
		buf_add(out, p, (size_t)(q - p));
		if (q == end)
			return false;
		if (*q == '"') {
			*out_rest = span_make(q + 1, (size_t)(end - q - 1));
			return true;
		}
		if (end - q < 2)
			return false;
		const char *e = memchr(plain, q[1], sizeof(plain) - 1);
		uint8_t raw[2];
		if (e) {
			buf_chr(out, means[e - plain]);
			p = q + 2;
		} else if (q[1] == 'u' && end - q >= 6 && hex_parse(span_make(q + 2, 4), raw) && (raw[0] & 0xf8) != 0xd8) {
			utf8_add(out, (uint32_t)raw[0] << 8 | raw[1]);
			p = q + 6;
		} else {
			return false;
		}
	}
}

static bool word(struct span *rest, const char *literal)
{
	if (!span_starts(*rest, span_of(literal)))
		return false;
	*rest = span_from(*rest, strlen(literal));
	return true;
}

static bool quoted(struct span *rest, struct span *out)
{
	return span_split(*rest, '"', out, rest);
}

/* As our monitor and dockerd write it, without attributes. */
static bool docker_plain(struct span line, struct buf *scratch, struct logs_record *out)
{
	struct span stream, time;
	return word(&line, "{\"log\":\"") && unescape(line, scratch, &line) && word(&line, ",\"stream\":\"") &&
	       quoted(&line, &stream) && word(&line, ",\"time\":\"") && quoted(&line, &time) && span_is(line, "}") &&
	       (out->stream = stream_of(stream)) && time_of(time, &out->time_ns);
}

/* In any order and with more in it: "attrs" for labels, environment and tag. */
static bool docker_any(struct span line, struct buf *scratch, struct logs_record *out, size_t *out_text_len)
{
	auto_arena struct arena a = {};
	struct json doc;
	if (json_parse(&a, line, JSON_BORROW | JSON_REPLACE_BAD_UTF8 | JSON_DUPLICATES_LAST, NULL, &doc, NULL) < 0)
		return false;
	const struct json *text = json_getl(&doc, "log");
	out->stream = stream_of(json_span(json_getl(&doc, "stream")));
	if (!json_is(text, JSON_STRING) || !out->stream || !time_of(json_span(json_getl(&doc, "time")), &out->time_ns))
		return false;
	buf_trunc(scratch, 0);
	buf_span_add(scratch, json_span(text));
	*out_text_len = scratch->len;
	const struct json *attrs = json_getl(&doc, "attrs");
	if (json_is(attrs, JSON_OBJECT) && attrs->n)
		json_write(scratch, attrs, JSON_SORTED);
	return true;
}

/* "2026-11-21T09:30:00.123456789Z stdout F text"; tags may follow the first letter behind colons. */
static bool cri(struct span line, struct buf *scratch, struct logs_record *out)
{
	struct span time, stream, tag;
	if (!span_split(line, ' ', &time, &line) || !span_split(line, ' ', &stream, &line) || !time_of(time, &out->time_ns) ||
	    !(out->stream = stream_of(stream)))
		return false;
	if (!span_split(line, ' ', &tag, &line)) /* an empty text may lack the blank before it */
		line = SPAN_EMPTY;
	struct span first = tag, more;
	(void)span_split(tag, ':', &first, &more); /* what follows are further tags, none of which is ours to know */
	if (!span_is(first, "F") && !span_is(first, "P"))
		return false;
	buf_span_add(scratch, line);
	if (span_is(first, "F"))
		buf_chr(scratch, '\n');
	return true;
}

bool logs_record_parse(enum logs_format format, struct span line, struct buf *scratch, struct logs_record *out)
{
	struct logs_record r = {};
	size_t n = SIZE_MAX; /* of the text in scratch; attributes stand behind it */
	buf_trunc(scratch, 0);
	if (line.len >= LOGS_RECORD_MAX ||
	    !(format == LOGS_CRI ? cri(line, scratch, &r) : docker_plain(line, scratch, &r) || docker_any(line, scratch, &r, &n)))
		return false;
	r.text = span_sub(buf_span(scratch), 0, MIN(n, scratch->len));
	r.attrs = span_from(buf_span(scratch), r.text.len);
	r.partial = !span_ends(r.text, SPAN("\n"));
	*out = r;
	return true;
}

size_t logs_stamp(char out[40], int64_t time_ns)
{
	int64_t sec = time_ns / NS_PER_S, ns = time_ns % NS_PER_S;
	if (ns < 0) {
		sec--;
		ns += NS_PER_S;
	}
	size_t n = time_format(out, sec, (int32_t)ns, 9);
	out[n++] = ' ';
	out[n] = 0;
	return n;
}

int logs_time_parse(struct span text, int64_t *out_ns, struct err *err)
{
	struct span sec = text, part = SPAN_EMPTY;
	int64_t s = 0;
	uint64_t ns = 0;
	if (!text.len) {
		*out_ns = 0;
		return 0;
	}
	bool has_part = span_split(text, '.', &sec, &part);
	if (!span_to_i64(sec, &s) || s < -9000000000 || s > 9000000000)
		return err_set(err, ERR_INVALID_REQUEST, "strconv.ParseInt: parsing \"%.*s\": invalid syntax", SPAN_ARG(sec));
	if (has_part && (part.len > 9 || !span_to_u64(part, &ns)))
		return err_set(err, ERR_INVALID_REQUEST, "strconv.ParseInt: parsing \"%.*s\": invalid syntax", SPAN_ARG(part));
	for (size_t i = part.len; has_part && i < 9; i++)
		ns *= 10;
	*out_ns = s * NS_PER_S + (int64_t)ns;
	return 0;
}
