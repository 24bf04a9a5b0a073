#include "apiserver/hop.h"

bool hop_stays(struct span name)
{
	static const char *const names[] = {
		"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
		"transfer-encoding", "upgrade", "content-length", "expect", "date", "authorization", "x-forwarded-for",
	};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (span_eq_nocase(name, span_of(names[i])))
			return true;
	return span_eq_nocase(span_sub(name, 0, 12), SPAN("impersonate-")) ||
	       span_eq_nocase(span_sub(name, 0, 9), SPAN("x-remote-"));
}

bool hop_named(const struct http_fields *all, struct span name)
{
	for (unsigned i = 0; i < all->n; i++) {
		struct span rest = all->items[i].value, one;
		if (!span_eq_nocase(all->items[i].name, SPAN("connection")))
			continue;
		while (span_cut(&rest, ',', &one))
			if (span_eq_nocase(span_trim(one), name))
				return true;
	}
	return false;
}

struct span hop_protocols(struct arena *a, struct span protocols)
{
	auto_buf struct buf out = {};
	struct span rest = protocols, one;
	while (span_cut(&rest, ',', &one)) {
		one = span_trim(one);
		if (span_starts(one, SPAN("base64url.bearer.authorization.k8s.io.")))
			continue;
		buf_printf(&out, "%s%.*s", out.len ? ", " : "", SPAN_ARG(one));
	}
	return arena_span(a, buf_span(&out));
}

struct span hop_location(struct arena *a, struct span value, struct span own_host, struct span prefix)
{
	struct span path = value, host;
	static const struct span schemes[] = { SPAN_INIT("http://"), SPAN_INIT("https://") };
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		if (!span_starts(value, schemes[i]))
			continue;
		host = span_from(value, schemes[i].len);
		ptrdiff_t slash = span_chr(host, '/');
		path = slash < 0 ? SPAN("/") : span_from(host, (size_t)slash);
		host = slash < 0 ? host : span_sub(host, 0, (size_t)slash);
		if (!span_eq(host, own_host))
			return value;
	}
	if (!path.len || path.ptr[0] != '/' || span_starts(path, prefix))
		return value;
	return arena_printf(a, "%.*s%.*s", SPAN_ARG(prefix), SPAN_ARG(path));
}
