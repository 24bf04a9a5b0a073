/* Request targets: into path, query and host; and the strict form of a path. */
#include "http/http_impl.h"

const char *http_req_target_split(struct http_req *r)
{
	struct span t = r->target;
	if (span_is(r->method, "CONNECT")) {
		r->path = SPAN("");
		r->host = t;
		return NULL;
	}
	if (span_is(t, "*")) {
		r->path = t;
		return NULL;
	}
	if (t.len && t.ptr[0] != '/') {
		/* Absolute form: its authority counts, whatever Host says (RFC 9112 section 3.2.2). */
		struct span scheme, rest;
		ptrdiff_t at = span_find(t, SPAN("://"));
		if (at <= 0)
			return "the request target is neither a path nor a URL";
		scheme = span_sub(t, 0, (size_t)at);
		if (!span_eq_nocase(scheme, SPAN("http")) && !span_eq_nocase(scheme, SPAN("https")))
			return "the request target has a foreign scheme";
		rest = span_from(t, (size_t)at + 3);
		size_t end = 0;
		while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
			end++;
		r->host = span_sub(rest, 0, end);
		if (!r->host.len || span_chr(r->host, '@') >= 0)
			return "the request target's authority makes no sense";
		t = span_from(rest, end);
		if (!t.len || t.ptr[0] == '?') {
			r->path = SPAN("/");
			r->query = t.len ? span_from(t, 1) : SPAN_EMPTY;
			return NULL;
		}
	}
	if (!t.len)
		return "empty request target";
	for (size_t i = 0; i < t.len; i++)
		if ((unsigned char)t.ptr[i] <= ' ' || t.ptr[i] == 0x7f || t.ptr[i] == '#')
			return "character not allowed in a request target";
	span_split(t, '?', &r->path, &r->query);
	return NULL;
}

static int refuse(struct err *err, struct span path, const char *why)
{
	return err_set(err, ERR_INVALID_REQUEST, "path \"%.*s\" is refused: %s", (int)MIN(path.len, (size_t)120), path.ptr,
		why);
}

int http_path_segments(struct arena *a, struct span path, const struct span **out, size_t *out_n, struct err *err)
{
	if (!path.len || path.ptr[0] != '/')
		return refuse(err, path, "it does not begin with a slash");
	size_t n = 0;
	for (size_t i = 0; i < path.len; i++)
		n += path.ptr[i] == '/';
	struct span *segments = arena_alloc_n(a, n + 1, sizeof(*segments));
	size_t used = 0;
	auto_buf struct buf plain = {};
	for (size_t from = 1; from <= path.len;) {
		size_t to = from;
		while (to < path.len && path.ptr[to] != '/')
			to++;
		struct span part = span_sub(path, from, to);
		from = to + 1;
		if (!part.len) {
			if (to < path.len)
				return refuse(err, path, "empty segment");
			segments[used++] = SPAN(""); /* a slash at the end */
			break;
		}
		buf_trunc(&plain, 0);
		if (!percent_parse(&plain, part, false))
			return refuse(err, path, "broken percent escape");
		struct span s = buf_span(&plain);
		if (span_is(s, ".") || span_is(s, ".."))
			return refuse(err, path, "dot segment");
		for (size_t i = 0; i < s.len; i++) {
			unsigned char c = (unsigned char)s.ptr[i];
			if (c < 0x20 || c == 0x7f)
				return refuse(err, path, "control character");
			if (c == '/' || c == '\\')
				return refuse(err, path, "slash inside a segment");
		}
		if (!utf8_valid(s))
			return refuse(err, path, "not UTF-8");
		segments[used++] = arena_span(a, s);
	}
	*out = segments;
	*out_n = used;
	return 0;
}
