/* Three kinds of ports: health (10256, for load balancers that choose nodes), metrics (10249, loopback), and one for each
 * service of type LoadBalancer with externalTrafficPolicy Local, which says how many endpoints are on this node. */
#include "proxy/health.h"

#define LOCAL_PORTS_MAX 1024
#define TAKEN_MS 10000

struct local_port {
	struct http_server *server;
	struct proxy_health *health;
	uint16_t port;
	bool wanted, stopping;
	bool told; /* that it is taken */
	struct local_port *next;
};

struct proxy_health {
	struct proxy_health_params p;
	struct http_server *health, *metrics;
	struct local_port *locals;
	unsigned n_locals;
	struct loop_task reap; /* a server may not go inside its own callback */
	struct loop_timer again; /* runs while a port that is wanted is taken */
};

static void time_text(struct loop *l, int64_t at_ms, char out[40])
{
	int64_t ago_ms = loop_now_ms(l) - at_ms, ns = loop_wall_ns(l) - ago_ms * NS_PER_MS;
	(void)time_format(out, ns / NS_PER_S, (int32_t)(ns % NS_PER_S), -1);
}

static void tell(struct http_req *r, const struct proxy_health *h, bool with_node)
{
	auto_buf struct buf b = { 0 };
	char updated[40], now[40];
	bool eligible = proxy_nodes_eligible(h->p.nodes), right = proxy_state_right(h->p.state);
	int64_t last = proxy_state_last_ms(h->p.state);
	time_text(h->p.loop, loop_now_ms(h->p.loop), now);
	/* Nothing waits to be written: what the kernel has is as new as now. */
	time_text(h->p.loop, right ? loop_now_ms(h->p.loop) : last, updated);
	buf_printf(&b, "{\"lastUpdated\": \"%s\",\"currentTime\": \"%s\", \"nodeEligible\": %s}", updated, now,
		   eligible ? "true" : "false");
	http_reply_text(r, right && (eligible || !with_node) ? 200 : 503, "application/json", buf_span(&b));
}

static void on_health(struct http_req *r, void *arg)
{
	struct span path = http_req_path(r);
	if (span_is(path, "/healthz"))
		tell(r, arg, true);
	else if (span_is(path, "/livez"))
		tell(r, arg, false);
	else
		http_reply_text(r, 404, "text/plain; charset=utf-8", SPAN("404 page not found\n"));
}

static void on_metrics(struct http_req *r, void *arg)
{
	struct proxy_health *h = arg;
	struct span path = http_req_path(r);
	if (span_is(path, "/metrics")) {
		auto_buf struct buf page = { 0 };
		metrics_write(h->p.metrics, &page);
		http_reply_text(r, 200, METRICS_CONTENT_TYPE, buf_span(&page));
	} else if (span_is(path, "/healthz")) {
		tell(r, h, false);
	} else if (span_is(path, "/proxyMode")) {
		http_reply_text(r, 200, "text/plain; charset=utf-8", SPAN("nftables"));
	} else {
		http_reply_text(r, 404, "text/plain; charset=utf-8", SPAN("404 page not found\n"));
	}
}

static int listen_on(struct proxy_health *h, const char *name, const char *address, unsigned port,
		     void (*handle)(struct http_req *r, void *arg), void *arg, struct http_server **out, struct err *err)
{
	const struct http_server_params p = { .loop = h->p.loop, .name = name, .handle = handle, .arg = arg };
	auto_fd int fd = http_listen_tcp(address, port, 0, err);
	if (fd < 0)
		return fd;
	int rc = http_server_new(&p, out, err);
	return rc < 0 ? rc : http_server_listen(*out, take_fd(&fd), 0, err);
}

static void on_reap(struct loop_task *t);
static void on_again(struct loop_timer *t);

int proxy_health_new(const struct proxy_health_params *p, struct proxy_health **out, struct err *err)
{
	struct proxy_health *h = mem_new(struct proxy_health);
	h->p = *p;
	loop_task_init(&h->reap, on_reap);
	loop_timer_init(&h->again, p->loop, "health check ports", on_again);
	*out = h;
	int rc = 0;
	if (p->health_port)
		rc = listen_on(h, "health", p->health_address, p->health_port, on_health, h, &h->health, err);
	if (rc == 0 && p->metrics_port)
		rc = listen_on(h, "metrics", p->metrics_address, p->metrics_port, on_metrics, h, &h->metrics, err);
	return rc;
}

/* ---- healthCheckNodePort */

static void on_local(struct http_req *r, void *arg)
{
	struct local_port *l = arg;
	auto_buf struct buf b = { 0 };
	struct span key = SPAN_EMPTY, ns, name;
	int n = proxy_state_local(l->health->p.state, l->port, &key);
	client_key_split(key, &ns, &name);
	if (n < 0) {
		http_reply_text(r, 404, "text/plain; charset=utf-8", SPAN("no service has this port\n"));
		return;
	}
	buf_printf(&b, "{\n\t\"service\": {\n\t\t\"namespace\": \"%.*s\",\n\t\t\"name\": \"%.*s\"\n\t},\n\t\"localEndpoints\": %d,\n"
		       "\t\"serviceProxyHealthy\": %s\n}",
		   SPAN_ARG(ns), SPAN_ARG(name), n, proxy_state_right(l->health->p.state) ? "true" : "false");
	http_reply_text(r, n > 0 && proxy_state_right(l->health->p.state) ? 200 : 503, "application/json", buf_span(&b));
}

/* Somebody may have the port now and give it back later: tried again. */
static void local_open(struct local_port *l)
{
	auto_err struct err err = ERR_INIT;
	if (listen_on(l->health, "service health", "", l->port, on_local, l, &l->server, &err) < 0) {
		if (!l->told)
			log_warn("a service's health check port cannot be served yet", kv_u64("port", l->port), kv_err(&err));
		l->told = true;
		loop_timer_start(&l->health->again, TAKEN_MS);
	} else if (l->told) {
		log_info("a service's health check port is served", kv_u64("port", l->port));
	}
}

static void on_again(struct loop_timer *t)
{
	struct proxy_health *h = container_of(t, struct proxy_health, again);
	for (struct local_port *l = h->locals; l; l = l->next)
		if (!l->server && !l->stopping)
			local_open(l);
}

static void on_want(void *arg, uint16_t port)
{
	struct proxy_health *h = arg;
	for (struct local_port *l = h->locals; l; l = l->next)
		if (l->port == port && !l->stopping) {
			l->wanted = true;
			if (!l->server)
				local_open(l);
			return;
		}
	if (h->n_locals >= LOCAL_PORTS_MAX)
		return;
	struct local_port *l = mem_new(struct local_port);
	*l = (struct local_port){ .health = h, .port = port, .wanted = true };
	local_open(l);
	l->next = h->locals;
	h->locals = l;
	h->n_locals++;
}

static void on_local_stopped(struct http_server *s, void *arg)
{
	struct local_port *l = arg;
	l->wanted = false;
	l->stopping = true;
	http_server_free(s);
	l->server = NULL;
	if (!loop_task_waiting(&l->health->reap))
		loop_defer(l->health->p.loop, &l->health->reap);
}

static void on_reap(struct loop_task *t)
{
	struct proxy_health *h = container_of(t, struct proxy_health, reap);
	for (struct local_port **at = &h->locals; *at;) {
		struct local_port *l = *at;
		if (l->server || !l->stopping) {
			at = &l->next;
			continue;
		}
		*at = l->next;
		h->n_locals--;
		free(l);
	}
}

static void local_stop(struct local_port *l)
{
	if (l->stopping)
		return;
	l->stopping = true;
	if (l->server)
		http_server_stop(l->server, 100, on_local_stopped, l);
	else if (!loop_task_waiting(&l->health->reap))
		loop_defer(l->health->p.loop, &l->health->reap);
}

void proxy_health_ports(struct proxy_health *h)
{
	for (struct local_port *l = h->locals; l; l = l->next)
		l->wanted = false;
	proxy_state_ports(h->p.state, on_want, h);
	for (struct local_port *l = h->locals; l; l = l->next)
		if (!l->wanted)
			local_stop(l);
}

static void on_stopped(struct http_server *s, void *arg)
{
}

void proxy_health_stop(struct proxy_health *h)
{
	if (!h)
		return;
	if (h->health)
		http_server_stop(h->health, 500, on_stopped, h);
	if (h->metrics)
		http_server_stop(h->metrics, 500, on_stopped, h);
	loop_timer_stop(&h->again);
	for (struct local_port *l = h->locals; l; l = l->next)
		local_stop(l);
}

void proxy_health_free(struct proxy_health *h)
{
	if (!h)
		return;
	loop_task_cancel(&h->reap);
	loop_timer_stop(&h->again);
	for (struct local_port *l; (l = h->locals);) {
		h->locals = l->next;
		http_server_free(l->server);
		free(l);
	}
	http_server_free(h->health);
	http_server_free(h->metrics);
	free(h);
}
