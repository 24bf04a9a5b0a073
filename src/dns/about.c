/* Metrics have CoreDNS' names where they mean the same, so that what people have drawn for it shows us too. They are counted
 * as plain numbers where the work is done, and asked for when somebody reads. */
#include "dns/about.h"
#include "http/http.h"

struct dns_about {
	struct metrics *metrics;
	struct http_server *health, *metrics_server;
	const struct dns_serve *serve; /* NULL: not yet, or not any more */
	const struct dns_forward *forward;
	bool ready;
};

static void emit(struct metrics_writer *w, const char *name, const char *help, enum metrics_type type, double value)
{
	metrics_emit_family(w, name, help, type);
	metrics_emit(w, NULL, NULL, 0, value);
}

static void collect(struct metrics_writer *w, void *arg)
{
	static const char *const codes[16] = { "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED" };
	static const char *const proto[] = { "proto" }, *const rcode[] = { "rcode" };
	const struct dns_about *a = arg;
	if (!a->serve)
		return;
	const struct dns_serve_counts *c = dns_serve_counts(a->serve);
	const struct dns_forward_counts f = dns_forward_counts(a->forward);
	metrics_emit_family(w, "coredns_dns_requests_total", "Questions by transport.", METRICS_COUNTER);
	metrics_emit(w, proto, (struct span[]){ SPAN("udp") }, 1, (double)c->udp);
	metrics_emit(w, proto, (struct span[]){ SPAN("tcp") }, 1, (double)c->tcp);
	metrics_emit_family(w, "coredns_dns_responses_total", "Answers by response code.", METRICS_COUNTER);
	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (codes[i])
			metrics_emit(w, rcode, (struct span[]){ span_of(codes[i]) }, 1, (double)c->rcodes[i]);
	emit(w, "coredns_forward_requests_total", "Questions sent to other servers.", METRICS_COUNTER, (double)f.asked);
	emit(w, "coredns_cache_hits_total", "Answers of other servers that were still kept.", METRICS_COUNTER, (double)f.hits);
	emit(w, "coredns_cache_misses_total", "Questions to which no answer was kept.", METRICS_COUNTER, (double)f.misses);
	emit(w, "coredns_cache_entries", "Answers of other servers that are kept.", METRICS_GAUGE, (double)f.kept);
}

static void reply_metrics(struct http_req *r, const struct dns_about *a)
{
	auto_buf struct buf page = { 0 };
	metrics_write(a->metrics, &page);
	http_reply_text(r, 200, METRICS_CONTENT_TYPE, buf_span(&page));
}

static void not_found(struct http_req *r)
{
	http_reply_text(r, 404, "text/plain; charset=utf-8", SPAN("404 page not found\n"));
}

static void on_health(struct http_req *r, void *arg)
{
	const struct dns_about *a = arg;
	struct span path = http_req_path(r);
	if (span_is(path, "/healthz"))
		http_reply_text(r, 200, "text/plain; charset=utf-8", SPAN("ok"));
	else if (span_is(path, "/readyz"))
		http_reply_text(r, a->ready ? 200 : 503, "text/plain; charset=utf-8", a->ready ? SPAN("ok") : SPAN("not ready"));
	else if (span_is(path, "/metrics"))
		reply_metrics(r, a);
	else
		not_found(r);
}

/* Pods reach this one: nothing else is there. */
static void on_metrics(struct http_req *r, void *arg)
{
	if (span_is(http_req_path(r), "/metrics"))
		reply_metrics(r, arg);
	else
		not_found(r);
}

int dns_about_new(const struct dns_about_params *p, struct dns_about **out, struct err *err)
{
	struct dns_about *a = mem_new(struct dns_about);
	const struct http_server_params hp = { .loop = p->loop, .name = "health", .handle = on_health, .arg = a };
	const struct http_server_params mp = { .loop = p->loop, .name = "metrics", .handle = on_metrics, .arg = a };
	a->metrics = metrics_new();
	metrics_collector_add(a->metrics, collect, a);
	metrics_process_add(a->metrics);
	*out = a;
	int rc = http_server_new(&mp, &a->metrics_server, err);
	if (rc < 0 || !*p->health_address)
		return rc;
	rc = http_server_new(&hp, &a->health, err);
	return rc < 0 ? rc : http_server_listen(a->health, http_listen_tcp(p->health_address, p->health_port, 0, err), 0, err);
}

int dns_about_begin(struct dns_about *a, const struct dns_serve *serve, const struct dns_forward *forward,
		    const struct sys_addr *address, uint16_t port, struct err *err)
{
	a->serve = serve;
	a->forward = forward;
	return port ? http_server_listen(a->metrics_server, dns_socket(address, port, SOCK_STREAM, err), 0, err) : 0;
}

void dns_about_ready(struct dns_about *a)
{
	a->ready = true;
}

static void on_stopped(struct http_server *s, void *arg)
{
}

void dns_about_stop(struct dns_about *a)
{
	if (!a)
		return;
	a->serve = NULL;
	if (a->health)
		http_server_stop(a->health, 500, on_stopped, a);
	if (a->metrics_server)
		http_server_stop(a->metrics_server, 500, on_stopped, a);
}

void dns_about_free(struct dns_about *a)
{
	if (!a)
		return;
	http_server_free(a->health);
	http_server_free(a->metrics_server);
	metrics_free(a->metrics);
	free(a);
}
