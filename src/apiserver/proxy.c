/* .../proxy: what runs in a pod, behind a service, or on a node, reached through us. Which address and port; relay.c does the
 * rest.
 *
 *     /api/v1/namespaces/NS/pods/[SCHEME:]NAME[:PORT]/proxy/REST    →    SCHEME://ADDRESS:PORT/REST */
#include "apiserver/sub.h"

#include <netdb.h>
#include <netinet/in.h>

#include "apiserver/kubelet.h"
#include "apiserver/relay.h"

/* "web", "web:80", "https:web:443" */
static int split_id(struct call *c, const char *what, struct span *out_scheme, struct span *out_name, struct span *out_port)
{
	struct span id = c->route.name, parts[4] = { SPAN_EMPTY, SPAN_EMPTY, SPAN_EMPTY, SPAN_EMPTY };
	unsigned n = 0;
	struct span rest = id;
	for (bool more = true; more && n < 4;)
		more = span_split(rest, ':', &parts[n++], &rest);
	*out_scheme = n == 3 ? parts[0] : SPAN("");
	*out_name = n == 3 ? parts[1] : parts[0];
	*out_port = n == 3 ? parts[2] : parts[1];
	bool scheme_ok = !out_scheme->len || span_is(*out_scheme, "http") || span_is(*out_scheme, "https");
	if (n > 3 || !out_name->len || !scheme_ok)
		return err_set(&c->err, ERR_INVALID_REQUEST, "invalid %s request \"%.*s\"", what, SPAN_ARG(id));
	return 0;
}

/* Go's IsGlobalUnicast: our own machine and its links are nothing to lead outsiders to. */
static bool is_global_bytes(const uint8_t *b, unsigned len)
{
	static const uint8_t none[16], loopback[16] = { [15] = 1 };
	if (memcmp(b, none, len) == 0)
		return false;
	if (len == 4)
		return b[0] != 127 && (b[0] & 0xf0) != 224 && !(b[0] == 169 && b[1] == 254) &&
		       memcmp(b, "\xff\xff\xff\xff", 4) != 0;
	return b[0] != 0xff && !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80) && memcmp(b, loopback, 16) != 0;
}

static bool is_global(struct span address)
{
	struct api_ip ip;
	return api_ip_parse(address, &ip) && is_global_bytes(ip.bytes, ip.len);
}

/* The raw path behind our own n segments, and those. */
static struct span rest_of_path(struct call *c, unsigned n, struct span *out_prefix)
{
	struct span path = c->route.path;
	size_t at = 0;
	while (n && at < path.len) {
		at++; /* the slash */
		while (at < path.len && path.ptr[at] != '/')
			at++;
		n--;
	}
	*out_prefix = span_sub(path, 0, at);
	return span_from(path, at);
}

static void proxy_to(struct call *c, bool tls, struct span host, unsigned port, enum kubelet_trust trust)
{
	struct span prefix, rest = rest_of_path(c, c->res->namespaced ? 7 : 5, &prefix);
	struct span method = http_req_method(c->http);
	bool reads = span_is(method, "GET") || span_is(method, "HEAD");
	if (!rest.len && reads && !http_req_header(c->http, "upgrade").len) {
		/* so that the relative links of a page work */
		auto_buf struct buf nothing = {};
		http_reply_header(c->http, "location",
				  arena_printf(&c->arena, "%.*s/%s%.*s", SPAN_ARG(c->route.path), c->query.len ? "?" : "",
					       SPAN_ARG(c->query)));
		call_answer(c, 301, "text/plain", &nothing);
		return;
	}
	const struct relay_target t = {
		.kind = RELAY_PROXY,
		.tls = tls,
		.host = arena_span(&c->arena, host),
		.port = port,
		.tls_ctx = kubelet_tls(atomic_load(&c->server->kubelets), trust),
		.path = arena_printf(&c->arena, "%.*s%s%.*s", SPAN_ARG(rest.len ? rest : SPAN("/")), c->query.len ? "?" : "",
				     SPAN_ARG(c->query)),
		.prefix = prefix,
	};
	relay_begin(c, &t);
}

static int port_number(struct call *c, struct span text, unsigned *out)
{
	int64_t n = 0;
	*out = 0;
	if (text.len && (!span_to_i64(text, &n) || n < 1 || n > 65535))
		return err_set(&c->err, ERR_UNAVAILABLE, "error trying to reach service: dial tcp: lookup tcp/%.*s: unknown port",
			       SPAN_ARG(text));
	*out = (unsigned)n;
	return 0;
}

/* A node whose address is a name: all that the name stands for must be allowed before anything is sent there. */
struct naming {
	struct loop_resolve resolve;
	struct call *c;
	struct kubelet_place at;
	bool tls;
	enum kubelet_trust trust;
};

static bool is_global_sockaddr(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return is_global_bytes((const uint8_t *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
	return sa->sa_family == AF_INET6 &&
	       is_global_bytes(((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr.s6_addr, 16);
}

static void node_named(struct loop_resolve *r, int rc, const struct addrinfo *list)
{
	struct naming *n = container_of(r, struct naming, resolve);
	struct call *c = n->c;
	c->pending--;
	if (!c->http) {
		call_release(c);
		return;
	}
	if (rc)
		err_set(&c->err, ERR_INVALID_REQUEST, "lookup %.*s: %s", SPAN_ARG(n->at.host), gai_strerror(rc));
	for (const struct addrinfo *a = list; a && !rc; a = a->ai_next)
		if (c->err.class == ERR_NONE && !is_global_sockaddr(a->ai_addr))
			err_set(&c->err, ERR_INVALID_REQUEST, "address not allowed");
	if (c->err.class != ERR_NONE)
		call_fail(c);
	else
		proxy_to(c, n->tls, n->at.host, n->at.port, n->trust);
}

static void proxy_node(struct call *c)
{
	struct span scheme, name, port_text;
	struct api_ip ip;
	unsigned port;
	struct naming *n = arena_new(&c->arena, struct naming);
	if (split_id(c, "node", &scheme, &name, &port_text) < 0 || kubelet_find(c, name, &n->at) < 0 ||
	    port_number(c, port_text, &port) < 0) {
		connect_fail(c);
		return;
	}
	bool kubelet = !port || port == n->at.port;
	n->c = c;
	n->tls = kubelet || span_is(scheme, "https");
	n->trust = kubelet ? KUBELET_VERIFIED : KUBELET_PLAIN;
	n->at.port = kubelet ? n->at.port : port;
	if (!api_ip_parse(n->at.host, &ip)) {
		if (loop_resolve_start(&n->resolve, c->w->loop, arena_cstr(&c->arena, n->at.host), NULL, node_named, &c->err) < 0)
			call_fail(c);
		else
			c->pending++;
	} else if (!is_global(n->at.host)) {
		err_set(&c->err, ERR_INVALID_REQUEST, "address not allowed");
		call_fail(c);
	} else {
		proxy_to(c, n->tls, n->at.host, n->at.port, n->trust);
	}
}

static int64_t first_port(const struct json *pod)
{
	JSON_EACH_ITEM(json_path(pod, "spec", "containers", (char *)NULL), item) {
		const struct json *ports = json_getl(item, "ports");
		if (ports && ports->n)
			return json_i64(json_getl(&ports->items[0], "containerPort"), 0);
	}
	return 0;
}

static struct span address_of(const struct json *pod)
{
	const struct json *list = json_path(pod, "status", "podIPs", (char *)NULL);
	if (list && list->n)
		return json_span(json_getl(&list->items[0], "ip"));
	return json_span(json_path(pod, "status", "podIP", (char *)NULL));
}

static void proxy_pod(struct call *c)
{
	struct span scheme, name, port_text;
	struct json pod;
	unsigned port;
	if (split_id(c, "pod", &scheme, &name, &port_text) < 0 || !connect_pod(c, name, &pod) ||
	    port_number(c, port_text, &port) < 0) {
		call_fail(c);
		return;
	}
	if (!is_global(address_of(&pod))) {
		err_set(&c->err, ERR_INVALID_REQUEST, "address not allowed");
		call_fail(c);
		return;
	}
	proxy_to(c, span_is(scheme, "https"), address_of(&pod), port ? port : (unsigned)first_port(&pod), KUBELET_PLAIN);
}

/* Only addresses that are those of the pods that they name. */
static bool is_pods_own(struct call *c, const struct json *address)
{
	const struct json *ref = json_getl(address, "targetRef");
	struct span ip = json_span(json_getl(address, "ip"));
	struct json pod;
	if (!ref || !span_eq(json_span(json_getl(ref, "namespace")), c->route.ns) ||
	    !sub_object(c, SPAN(""), "pods", c->route.ns, json_span(json_getl(ref, "name")), &pod))
		return false;
	JSON_EACH_ITEM(json_path(&pod, "status", "podIPs", (char *)NULL), item)
		if (span_eq(json_span(json_getl(item, "ip")), ip))
			return true;
	return false;
}

/* One ready address with a port of that name, any of them. */
static bool pick_endpoint(struct call *c, const struct json *endpoints, struct span port_name, struct span *out_ip,
			  unsigned *out_port)
{
	const struct json *subsets = json_getl(endpoints, "subsets");
	uint32_t draw;
	rng_secret(&draw, sizeof(draw));
	for (uint32_t s = 0; subsets && s < subsets->n; s++) {
		const struct json *subset = &subsets->items[(draw + s) % subsets->n];
		const struct json *addresses = json_getl(subset, "addresses");
		JSON_EACH_ITEM(json_getl(subset, "ports"), port) {
			if (!span_eq(json_span(json_getl(port, "name")), port_name))
				continue;
			for (uint32_t i = 0; addresses && i < addresses->n; i++) {
				const struct json *address = &addresses->items[(draw + i) % addresses->n];
				if (!is_pods_own(c, address))
					continue;
				*out_ip = json_span(json_getl(address, "ip"));
				*out_port = (unsigned)json_i64(json_getl(port, "port"), 0);
				return true;
			}
		}
	}
	return false;
}

/* A service port given by number is looked up by its name. */
static int service_port(struct call *c, struct span name, struct span *port)
{
	struct json service;
	int64_t wanted;
	if (!span_to_i64(*port, &wanted))
		return 0;
	const struct store_item *it = sub_object(c, SPAN(""), "services", c->route.ns, name, &service);
	if (c->err.class != ERR_NONE)
		return -c->err.class;
	if (!it)
		return err_set(&c->err, ERR_NOT_FOUND, "services \"%.*s\" not found", SPAN_ARG(name));
	JSON_EACH_ITEM(json_path(&service, "spec", "ports", (char *)NULL), item) {
		if (json_i64(json_getl(item, "port"), 0) != wanted)
			continue;
		*port = json_span(json_getl(item, "name"));
		return 0;
	}
	c->generic = true;
	return err_set(&c->err, ERR_UNAVAILABLE, "no service port %lld found for service \"%.*s\"", (long long)wanted,
		       SPAN_ARG(name));
}

static void proxy_service(struct call *c)
{
	struct span scheme, name, port_text, ip;
	struct json endpoints;
	unsigned port;
	if (split_id(c, "service", &scheme, &name, &port_text) < 0 || service_port(c, name, &port_text) < 0) {
		call_fail(c);
		return;
	}
	if (!sub_object(c, SPAN(""), "endpoints", c->route.ns, name, &endpoints)) {
		if (c->err.class == ERR_NONE)
			err_set(&c->err, ERR_NOT_FOUND, "endpoints \"%.*s\" not found", SPAN_ARG(name));
		call_fail(c);
		return;
	}
	const struct json *subsets = json_getl(&endpoints, "subsets");
	if (!pick_endpoint(c, &endpoints, port_text, &ip, &port)) {
		c->generic = true;
		err_set(&c->err, ERR_UNAVAILABLE, "no endpoints available for service \"%.*s\"",
			SPAN_ARG(subsets && subsets->n ? c->route.name : name));
		call_fail(c);
		return;
	}
	proxy_to(c, span_is(scheme, "https"), ip, port, KUBELET_PLAIN);
}

void proxy_begin(struct call *c)
{
	c->snap = store_snapshot(c->server->store);
	if (span_is(c->res->plural, "nodes"))
		proxy_node(c);
	else if (span_is(c->res->plural, "pods"))
		proxy_pod(c);
	else
		proxy_service(c);
}
