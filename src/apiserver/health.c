/* The checks have kube-apiserver's names where they check the same. What happens before a listener is open (feeds filled, what
 * every cluster has written) cannot be unfinished while anybody asks: those checks say that it has happened. */
#include "apiserver/health.h"

enum { LIVEZ = 1, READYZ = 2, HEALTHZ = 4, EVERYWHERE = 7 };

static bool ping(struct apiserver *s)
{
	return true;
}

static bool store_writes(struct apiserver *s)
{
	struct store_status st;
	store_status(s->store, &st);
	return st.last_error == 0;
}

static bool store_ready(struct apiserver *s)
{
	struct store_status st;
	store_status(s->store, &st);
	return st.last_error == 0 && st.disk_used_bytes <= st.quota_bytes;
}

static bool staying(struct apiserver *s)
{
	return !atomic_load(&s->leaving);
}

static const struct check {
	const char *name;
	unsigned where;
	bool (*good)(struct apiserver *s);
} checks[] = {
	{ "ping", EVERYWHERE, ping },
	{ "etcd", EVERYWHERE, store_writes },
	{ "etcd-readiness", READYZ, store_ready },
	{ "informer-sync", READYZ, ping },
	{ "poststarthook/start-system-namespaces-controller", EVERYWHERE, ping },
	{ "shutdown", READYZ, staying },
};

/* The i-th value of exclude in the query, decoded; false behind the last. */
static bool excluded_at(struct call *c, unsigned i, struct buf *out)
{
	struct span rest = c->query, part, key, value;
	while (span_cut(&rest, '&', &part)) {
		(void)span_split(part, '=', &key, &value);
		if (!span_is(key, "exclude") || i--)
			continue;
		buf_trunc(out, 0);
		return percent_parse(out, value, true);
	}
	return false;
}

static bool excluded(struct call *c, const char *name)
{
	auto_buf struct buf v = {};
	for (unsigned i = 0; excluded_at(c, i, &v); i++)
		if (span_is(buf_span(&v), name))
			return true;
	return false;
}

static void unmatched(struct call *c, unsigned where, struct buf *out)
{
	auto_buf struct buf v = {};
	bool first = true;
	for (unsigned i = 0; excluded_at(c, i, &v); i++) {
		bool known = false;
		for (size_t k = 0; k < ARRAY_LEN(checks); k++)
			known = known || ((checks[k].where & where) && span_is(buf_span(&v), checks[k].name));
		if (known)
			continue;
		buf_str(out, first ? "warn: some health checks cannot be excluded: no matches for " : ", ");
		json_write_string(out, buf_span(&v), 0);
		first = false;
	}
	if (!first)
		buf_chr(out, '\n');
}

static void all(struct call *c, const char *name, unsigned where)
{
	auto_buf struct buf b = {}, verbose = {}, ok = {};
	bool good = true;
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		if (!(checks[i].where & where))
			continue;
		if (excluded(c, checks[i].name)) {
			buf_printf(&b, "[+]%s excluded: ok\n", checks[i].name);
		} else if (checks[i].good(c->server)) {
			buf_printf(&b, "[+]%s ok\n", checks[i].name);
		} else {
			buf_printf(&b, "[-]%s failed: reason withheld\n", checks[i].name);
			good = false;
		}
	}
	unmatched(c, where, &b);
	buf_printf(&b, "%s check %s\n", name, good ? "passed" : "failed");
	buf_str(&ok, "ok");
	http_reply_header(c->http, "x-content-type-options", SPAN("nosniff"));
	bool told = !good || query_get(c->query, "verbose", &verbose);
	call_answer(c, good ? 200 : 500, "text/plain; charset=utf-8", told ? &b : &ok);
}

bool health_handle(struct call *c, const struct span *seg, size_t n)
{
	static const struct {
		const char *name;
		unsigned where;
	} roots[] = { { "healthz", HEALTHZ }, { "livez", LIVEZ }, { "readyz", READYZ } };
	auto_buf struct buf name = {}, b = {};
	for (size_t i = 1; i < n; i++)
		buf_printf(&name, "%s%.*s", i > 1 ? "/" : "", SPAN_ARG(seg[i]));
	for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
		if (!span_is(seg[0], roots[i].name))
			continue;
		if (n == 1) {
			all(c, roots[i].name, roots[i].where);
			return true;
		}
		for (size_t k = 0; k < ARRAY_LEN(checks); k++) {
			if (!(checks[k].where & roots[i].where) || !span_is(buf_span(&name), checks[k].name))
				continue;
			bool good = checks[k].good(c->server);
			buf_str(&b, good ? "ok" : "internal server error: reason withheld\n");
			call_answer(c, good ? 200 : 500, "text/plain; charset=utf-8", &b);
			return true;
		}
	}
	return false;
}
