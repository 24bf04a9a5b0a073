#include "apiserver/route.h"

#include "api/api.h"

static const char *const verb_names[ROUTE_VERB_COUNT] = {
	[ROUTE_GET] = "get",	   [ROUTE_LIST] = "list",
	[ROUTE_WATCH] = "watch",   [ROUTE_CREATE] = "create",
	[ROUTE_UPDATE] = "update", [ROUTE_PATCH] = "patch",
	[ROUTE_DELETE] = "delete", [ROUTE_DELETECOLLECTION] = "deletecollection",
	[ROUTE_OTHER] = "",
};

static enum route_verb verb_of(struct span method)
{
	static const struct {
		const char *method;
		enum route_verb verb;
	} rows[] = {
		{ "GET", ROUTE_GET },	 { "HEAD", ROUTE_GET },	   { "POST", ROUTE_CREATE },
		{ "PUT", ROUTE_UPDATE }, { "PATCH", ROUTE_PATCH }, { "DELETE", ROUTE_DELETE },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (span_is(method, rows[i].method))
			return rows[i].verb;
	return ROUTE_OTHER;
}

static struct span lower(struct arena *a, struct span s)
{
	char *p = arena_cstr(a, s);
	for (size_t i = 0; i < s.len; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] |= 0x20;
	return span_make(p, s.len);
}

/* Go's strconv.ParseBool on the first value; a bare "watch" or "watch=" counts as true, as conversion of query values does. */
static bool asks_watch(struct span query)
{
	auto_buf struct buf v = {};
	if (!query_get(query, "watch", &v))
		return false;
	struct span s = buf_span(&v);
	return !span_is(s, "0") && !span_eq_nocase(s, SPAN("false")) && !span_eq_nocase(s, SPAN("f"));
}

/* metadata.name=x in the field selector names the one object that a list or watch is about. */
static void name_of_selector(struct arena *a, struct span query, struct route *r)
{
	auto_buf struct buf text = {};
	if (!query_get(query, "fieldSelector", &text) || !text.len)
		return;
	struct api_field_selector sel;
	struct span name;
	struct api_complaints bad;
	if (api_field_selector_parse(a, arena_span(a, buf_span(&text)), &sel, NULL) < 0 ||
	    !api_field_selector_exact(&sel, SPAN("metadata.name"), &name) || !name.len ||
	    api_name_path_segment(name, &bad))
		return;
	r->name = name;
	r->name_from_selector = true;
}

void route_read(struct arena *a, struct span method, struct span path, const struct span *seg, size_t n,
		struct span query, struct route *out)
{
	struct route r = { .path = path, .verb = ROUTE_OTHER };
	bool core = n > 0 && span_is(seg[0], "api"), grouped = n > 0 && span_is(seg[0], "apis");
	size_t head = core ? 2 : 3; /* api VERSION, apis GROUP VERSION */
	if ((!core && !grouped) || n <= head) {
		r.verb_name = lower(a, method);
		*out = r;
		return;
	}
	r.is_resource = true;
	r.group = core ? SPAN("") : seg[1];
	r.version = seg[head - 1];
	r.verb = verb_of(method);
	seg += head;
	n -= head;
	if (span_is(seg[0], "watch") && n > 1) {
		r.verb = ROUTE_WATCH;
		seg++, n--;
	}
	bool own_sub = n == 3 && (span_is(seg[2], "status") || span_is(seg[2], "finalize"));
	if (span_is(seg[0], "namespaces") && n > 1) {
		r.ns = seg[1];
		if (n > 2 && !own_sub) {
			seg += 2;
			n -= 2;
		}
	}
	r.resource = seg[0];
	if (n > 1)
		r.name = seg[1];
	if (n > 2)
		r.subresource = seg[2];
	if (n > 3) {
		r.rest = seg + 3;
		r.n_rest = (unsigned)(n - 3);
	}
	if (!r.name.len && r.verb == ROUTE_GET)
		r.verb = asks_watch(query) ? ROUTE_WATCH : ROUTE_LIST;
	else if (!r.name.len && r.verb == ROUTE_DELETE)
		r.verb = ROUTE_DELETECOLLECTION;
	if (!r.name.len && (r.verb == ROUTE_LIST || r.verb == ROUTE_WATCH || r.verb == ROUTE_DELETECOLLECTION))
		name_of_selector(a, query, &r);
	r.verb_name = r.verb == ROUTE_OTHER ? lower(a, method) : span_of(verb_names[r.verb]);
	*out = r;
}
