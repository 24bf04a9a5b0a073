#include "dns/announce.h"

enum { RETRY_MS = 500, RETRY_MAX_MS = 30000 };

struct dns_announce {
	struct dns_announce_params p;
	struct buf name, key, body; /* of our slice; body: as it should be */
	struct buf uid;
	struct client_call *call;
	struct loop_timer again;
	unsigned failures;
	bool begun, right, told;
};

static struct client_kind kind(void)
{
	return CLIENT_KIND("discovery.k8s.io", "v1", "endpointslices", true);
}

static void port_write(struct json_out *o, const char *name, const char *protocol, unsigned port)
{
	json_out_begin(o);
	json_out_kspan(o, "name", span_of(name));
	json_out_kspan(o, "protocol", span_of(protocol));
	json_out_ki64(o, "port", port);
	json_out_end(o);
}

static void labels_write(struct json_out *o)
{
	json_out_key(o, SPAN("labels"));
	json_out_begin(o);
	json_out_kspan(o, "kubernetes.io/service-name", SPAN(DNS_SERVICE));
	json_out_kspan(o, "endpointslice.kubernetes.io/managed-by", SPAN("dns.knarr.io"));
	json_out_kspan(o, "k8s-app", SPAN(DNS_SERVICE));
	json_out_end(o);
}

static void owner_write(const struct dns_announce *a, struct json_out *o)
{
	json_out_key(o, SPAN("ownerReferences"));
	json_out_begin_array(o);
	json_out_begin(o);
	json_out_kspan(o, "apiVersion", SPAN("v1"));
	json_out_kspan(o, "kind", SPAN("Node"));
	json_out_kspan(o, "name", a->p.node);
	json_out_kspan(o, "uid", a->p.uid);
	json_out_end(o);
	json_out_end(o);
}

/* Names of ports are the Service's: by them they are found (a slice says nothing else about which is which). */
static void body_make(struct dns_announce *a)
{
	struct json_out o = { .buf = &a->body };
	char text[SYS_ADDR_TEXT];
	json_out_begin(&o);
	json_out_kspan(&o, "apiVersion", SPAN("discovery.k8s.io/v1"));
	json_out_kspan(&o, "kind", SPAN("EndpointSlice"));
	json_out_key(&o, SPAN("metadata"));
	json_out_begin(&o);
	json_out_kspan(&o, "name", buf_span(&a->name));
	json_out_kspan(&o, "namespace", SPAN(DNS_SERVICE_NS));
	labels_write(&o);
	owner_write(a, &o);
	json_out_end(&o);
	json_out_kspan(&o, "addressType", a->p.address.family == AF_INET ? SPAN("IPv4") : SPAN("IPv6"));
	json_out_key(&o, SPAN("endpoints"));
	json_out_begin_array(&o);
	json_out_begin(&o);
	json_out_key(&o, SPAN("addresses"));
	json_out_begin_array(&o);
	json_out_span(&o, span_of(sys_addr_text(&a->p.address, text)));
	json_out_end(&o);
	json_out_key(&o, SPAN("conditions"));
	json_out_begin(&o);
	json_out_kbool(&o, "ready", true);
	json_out_kbool(&o, "serving", true);
	json_out_kbool(&o, "terminating", false);
	json_out_end(&o);
	json_out_kspan(&o, "nodeName", a->p.node);
	json_out_end(&o);
	json_out_end(&o);
	json_out_key(&o, SPAN("ports"));
	json_out_begin_array(&o);
	port_write(&o, "dns", "UDP", a->p.port);
	port_write(&o, "dns-tcp", "TCP", a->p.port);
	if (a->p.metrics_port)
		port_write(&o, "metrics", "TCP", a->p.metrics_port);
	json_out_end(&o);
	json_out_end(&o);
}

/* ---- is it as it should be? */

static bool port_is(const struct json *ports, unsigned i, const char *name, const char *protocol, unsigned port)
{
	const struct json *p = &ports->items[i];
	return span_is(json_span(json_getl(p, "name")), name) && span_is(json_span(json_getl(p, "protocol")), protocol) &&
	       json_i64(json_getl(p, "port"), 0) == (int64_t)port;
}

static bool is_right(const struct dns_announce *a, const struct json *o)
{
	const struct json *endpoints = json_getl(o, "endpoints"), *ports = json_getl(o, "ports");
	const struct json *owners = json_path(o, "metadata", "ownerReferences", NULL);
	struct sys_addr address;
	if (!span_is(json_span(json_path(o, "metadata", "labels", "kubernetes.io/service-name", NULL)), DNS_SERVICE) ||
	    !json_is(owners, JSON_ARRAY) || owners->n != 1 || !span_eq(json_span(json_getl(&owners->items[0], "uid")), a->p.uid))
		return false;
	if (!json_is(endpoints, JSON_ARRAY) || endpoints->n != 1 || !json_is(ports, JSON_ARRAY) ||
	    ports->n != (a->p.metrics_port ? 3u : 2u))
		return false;
	const struct json *e = &endpoints->items[0], *addresses = json_getl(e, "addresses");
	return json_is(addresses, JSON_ARRAY) && addresses->n == 1 && sys_addr_parse(json_span(&addresses->items[0]), &address) &&
	       sys_addr_eq(&address, &a->p.address) && json_truth(json_path(e, "conditions", "ready", NULL), false) &&
	       span_eq(json_span(json_getl(e, "nodeName")), a->p.node) && port_is(ports, 0, "dns", "UDP", a->p.port) &&
	       port_is(ports, 1, "dns-tcp", "TCP", a->p.port) &&
	       (!a->p.metrics_port || port_is(ports, 2, "metrics", "TCP", a->p.metrics_port));
}

/* ---- putting it right */

static void on_answer(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct dns_announce *a = arg;
	a->call = NULL;
	if (!why) {
		a->failures = 0; /* that it is right is told by who follows the slices */
		return;
	}
	unsigned doublings = MIN(a->failures, 6u);
	a->failures++;
	log_warn("the EndpointSlice of the name server could not be written; trying again", kv_span("slice", buf_span(&a->key)),
		 kv_err(why));
	loop_timer_start(&a->again, MIN(RETRY_MS << doublings, RETRY_MAX_MS));
}

/* Server-side apply makes it or puts it right, whoever has written to it before. */
static void send_it(struct dns_announce *a)
{
	auto_buf struct buf path = { 0 };
	struct client_kind k = kind();
	if (a->call || a->right || !a->begun)
		return;
	client_path(&path, &k, SPAN(DNS_SERVICE_NS), buf_span(&a->name), NULL);
	buf_str(&path, "?fieldManager=knarr-dns&force=true");
	a->call = client_send(a->p.client, &(struct client_request){ .method = "PATCH", .path = buf_span(&path),
								     .body = buf_span(&a->body), .content_type = CLIENT_APPLY_PATCH,
								     .done = on_answer, .arg = a });
}

static void on_again(struct loop_timer *t)
{
	send_it(container_of(t, struct dns_announce, again));
}

void dns_announce_seen(struct dns_announce *a, struct span key, const struct json *slice)
{
	if (!a || !span_eq(key, buf_span(&a->key)))
		return;
	a->right = slice && is_right(a, slice);
	if (a->right && !a->told) {
		a->told = true;
		a->p.right(a->p.arg);
	}
	/* Behind an answer that is still out: if that has not put it right, the next look does. */
	if (!a->right && a->begun && !loop_timer_running(&a->again))
		loop_timer_start(&a->again, a->call ? RETRY_MS : 0);
}

void dns_announce_begin(struct dns_announce *a)
{
	if (a->begun)
		return;
	a->begun = true;
	send_it(a);
}

struct dns_announce *dns_announce_new(const struct dns_announce_params *p)
{
	struct dns_announce *a = mem_new(struct dns_announce);
	a->p = *p;
	buf_printf(&a->name, DNS_SERVICE "-%.*s", SPAN_ARG(p->node));
	buf_printf(&a->key, DNS_SERVICE_NS "/%.*s", SPAN_ARG(buf_span(&a->name)));
	a->p.node = span_from(buf_span(&a->name), sizeof(DNS_SERVICE "-") - 1);
	buf_span_add(&a->uid, p->uid);
	a->p.uid = buf_span(&a->uid);
	loop_timer_init(&a->again, client_loop(p->client), "dns slice", on_again);
	body_make(a);
	return a;
}

void dns_announce_free(struct dns_announce *a)
{
	if (!a)
		return;
	if (a->call)
		client_cancel(a->call);
	loop_timer_stop(&a->again);
	buf_done(&a->name);
	buf_done(&a->key);
	buf_done(&a->body);
	buf_done(&a->uid);
	free(a);
}
