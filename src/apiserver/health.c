/* The checks have kube-apiserver's names where they check the same. What happens before a listener is open (feeds filled, what
 * every cluster has written) cannot be unfinished while anybody asks: those checks say that it has happened. */
#include "apiserver/health.h"

enum { LIVEZ = 1, READYZ = 2, HEALTHZ = 4, EVERYWHERE = 7 };

/* What is wrong, in words for whoever asks for this check alone; NULL when all is well. */
typedef const char *check_fn(struct call *c);

/* That somebody answers says it. */
static const char *done(struct call *c)
{
	return NULL;
}

static const char *store_writes(struct call *c)
{
	struct store_status st;
	store_status(c->server->store, &st);
	return st.last_error ? arena_printf(&c->arena, "the store refused the last write: %s", err_class_name(st.last_error)).ptr
			     : NULL;
}

static const char *store_ready(struct call *c)
{
	struct store_status st;
	store_status(c->server->store, &st);
	if (st.disk_used_bytes > st.quota_bytes)
		return arena_printf(&c->arena, "the store has used %llu of %llu bytes", (unsigned long long)st.disk_used_bytes,
				    (unsigned long long)st.quota_bytes).ptr;
	return store_writes(c);
}

static const char *staying(struct call *c)
{
	return atomic_load(&c->server->leaving) ? "process is shutting down" : NULL;
}

/* In upstream's order. Its further hooks are of what is not here: API priority and fairness, aggregated servers, CEL, the identity
 * leases of several servers, tracking of legacy tokens. */
static const struct check {
	const char *name;
	unsigned where;
	check_fn *wrong;
} checks[] = {
	{ "ping", EVERYWHERE, done },
	{ "log", EVERYWHERE, done }, /* a line is written before its request goes on: there is no buffer that could stop moving */
	{ "etcd", EVERYWHERE, store_writes },
	{ "etcd-readiness", READYZ, store_ready },
	{ "informer-sync", READYZ, done },
	{ "poststarthook/generic-apiserver-start-informers", EVERYWHERE, done },
	{ "poststarthook/start-apiextensions-informers", EVERYWHERE, done },
	{ "poststarthook/start-apiextensions-controllers", EVERYWHERE, done },
	{ "poststarthook/crd-informer-synced", EVERYWHERE, done },
	{ "poststarthook/start-system-namespaces-controller", EVERYWHERE, done },
	{ "poststarthook/start-cluster-authentication-info-controller", EVERYWHERE, done },
	{ "poststarthook/start-service-ip-repair-controllers", EVERYWHERE, done },
	{ "poststarthook/rbac/bootstrap-roles", EVERYWHERE, done },
	{ "poststarthook/scheduling/bootstrap-system-priority-classes", EVERYWHERE, done },
	{ "poststarthook/bootstrap-controller", EVERYWHERE, done },
	{ "poststarthook/start-kubernetes-service-cidr-controller", EVERYWHERE, done },
	{ "poststarthook/apiservice-status-local-available-controller", EVERYWHERE, done },
	{ "poststarthook/kube-apiserver-autoregistration", EVERYWHERE, done },
	{ "autoregister-completion", EVERYWHERE, done },
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
		} else if (!checks[i].wrong(c)) {
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
			const char *wrong = checks[k].wrong(c);
			if (wrong) {
				buf_printf(&b, "internal server error: %s\n", wrong);
				http_reply_header(c->http, "x-content-type-options", SPAN("nosniff"));
			} else {
				buf_str(&b, "ok");
			}
			call_answer(c, wrong ? 500 : 200, "text/plain; charset=utf-8", &b);
			return true;
		}
	}
	return false;
}
