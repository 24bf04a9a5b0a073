/* Columns of Services and EndpointSlices. What does not read as it should is left out, as kube-proxy leaves it out: the API server
 * has checked these objects. */
#include <netinet/in.h>

#include "proxy/plan.h"

static uint8_t protocol_of(struct span s)
{
	return span_is(s, "UDP") ? IPPROTO_UDP : span_is(s, "SCTP") ? IPPROTO_SCTP : IPPROTO_TCP;
}

static unsigned count(const struct json *list, unsigned max)
{
	return json_is(list, JSON_ARRAY) ? MIN((unsigned)list->n, max) : 0;
}

static unsigned addresses(const struct json *list, const char *member, struct sys_addr *out, unsigned max)
{
	unsigned n = 0;
	JSON_EACH_ITEM(list, item) {
		struct span mode = member ? json_span(json_getl(item, "ipMode")) : SPAN_EMPTY;
		struct span text = json_span(member ? json_get(item, span_of(member)) : item);
		if (n < max && !span_is(mode, "Proxy") && sys_addr_parse(text, &out[n]))
			n++;
	}
	return n;
}

struct proxy_service *proxy_service_read(const struct json *o)
{
	const struct json *spec = json_getl(o, "spec"), *ports = json_getl(spec, "ports"), *ips = json_getl(spec, "clusterIPs");
	const struct json *external = json_getl(spec, "externalIPs"), *sources = json_getl(spec, "loadBalancerSourceRanges");
	const struct json *balancer = json_path(o, "status", "loadBalancer", "ingress", NULL);
	struct span type = json_span(json_getl(spec, "type")), one = json_span(json_getl(spec, "clusterIP"));
	struct sys_addr a;
	if (span_is(type, "ExternalName") || !sys_addr_parse(one, &a))
		return NULL;
	unsigned n_ports = count(ports, PROXY_PORTS_MAX), n_external = count(external, PROXY_ADDRESSES_MAX);
	unsigned n_balancer = count(balancer, PROXY_ADDRESSES_MAX), n_sources = count(sources, PROXY_RANGES_MAX);
	size_t names = 0;
	for (unsigned i = 0; i < n_ports; i++)
		names += json_span(json_getl(&ports->items[i], "name")).len;
	size_t size = sizeof(struct proxy_service) + n_ports * sizeof(struct proxy_port) +
		      ((size_t)n_external + n_balancer) * sizeof(struct sys_addr) + n_sources * sizeof(struct sys_prefix) + names;
	struct proxy_service *s = mem_zalloc(size);
	s->ports = (struct proxy_port *)(s + 1);
	s->external = (struct sys_addr *)(s->ports + n_ports);
	s->balancer = s->external + n_external;
	s->sources = (struct sys_prefix *)(s->balancer + n_balancer);
	char *text = (char *)(s->sources + n_sources);
	s->cluster[a.family == AF_INET ? V4 : V6] = a;
	JSON_EACH_ITEM(ips, ip)
		if (sys_addr_parse(json_span(ip), &a))
			s->cluster[a.family == AF_INET ? V4 : V6] = a;
	bool outside = span_is(type, "NodePort") || span_is(type, "LoadBalancer");
	for (unsigned i = 0; i < n_ports; i++) {
		const struct json *p = &ports->items[i];
		int64_t port = json_i64(json_getl(p, "port"), 0), node = json_i64(json_getl(p, "nodePort"), 0);
		struct span name = json_span(json_getl(p, "name"));
		if (port < 1 || port > 65535)
			continue;
		memcpy(text, name.ptr ? name.ptr : "", name.len);
		s->ports[s->n_ports++] = (struct proxy_port){ .name = span_make(text, name.len),
							      .protocol = protocol_of(json_span(json_getl(p, "protocol"))),
							      .port = (uint16_t)port,
							      .node_port = outside && node > 0 && node < 65536 ? (uint16_t)node : 0 };
		text += name.len;
	}
	s->n_external = addresses(external, NULL, s->external, n_external);
	if (span_is(type, "LoadBalancer"))
		s->n_balancer = addresses(balancer, "ip", s->balancer, n_balancer);
	JSON_EACH_ITEM(sources, r)
		if (s->n_sources < n_sources && sys_prefix_parse(span_trim(json_span(r)), &s->sources[s->n_sources]))
			s->n_sources++;
	if (span_is(json_getl(spec, "sessionAffinity") ? json_span(json_getl(spec, "sessionAffinity")) : SPAN_EMPTY, "ClientIP")) {
		int64_t t = json_i64(json_path(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds", NULL), 10800);
		s->sticky_s = t > 0 && t <= 86400 ? (unsigned)t : 10800;
	}
	s->internal_local = span_is(json_span(json_getl(spec, "internalTrafficPolicy")), "Local");
	s->external_local = span_is(json_span(json_getl(spec, "externalTrafficPolicy")), "Local");
	struct span mode = json_span(json_path(o, "metadata", "annotations", "service.kubernetes.io/topology-mode", NULL));
	s->hints = span_is(mode, "Auto") || span_is(mode, "auto") || json_getl(spec, "trafficDistribution") != NULL;
	int64_t health = json_i64(json_getl(spec, "healthCheckNodePort"), 0);
	s->health_port = s->external_local && span_is(type, "LoadBalancer") && health > 0 && health < 65536 ? (uint16_t)health : 0;
	return s;
}

static uint8_t flags_of(const struct json *e, struct span here, struct span zone)
{
	const struct json *c = json_getl(e, "conditions"), *zones = json_path(e, "hints", "forZones", NULL);
	bool ready = json_truth(json_getl(c, "ready"), true); /* absent means yes */
	uint8_t flags = ready ? PROXY_READY : 0;
	if (json_truth(json_getl(c, "serving"), ready))
		flags |= PROXY_SERVING;
	if (json_truth(json_getl(c, "terminating"), false))
		flags |= PROXY_TERMINATING;
	if (here.len && span_eq(json_span(json_getl(e, "nodeName")), here))
		flags |= PROXY_HERE;
	JSON_EACH_ITEM(zones, z) {
		flags |= PROXY_HINTED;
		if (zone.len && span_eq(json_span(json_getl(z, "name")), zone))
			flags |= PROXY_ZONE;
	}
	return flags;
}

struct proxy_slice *proxy_slice_read(const struct json *o, struct span here, struct span zone)
{
	const struct json *ports = json_getl(o, "ports"), *endpoints = json_getl(o, "endpoints");
	struct span type = json_span(json_getl(o, "addressType"));
	unsigned n_ports = count(ports, PROXY_PORTS_MAX), n = count(endpoints, PROXY_ENDPOINTS_MAX), names = 0;
	if ((!span_is(type, "IPv4") && !span_is(type, "IPv6")) || !n_ports || !n)
		return NULL;
	size_t text = 0;
	for (unsigned i = 0; i < n_ports; i++)
		text += json_span(json_getl(&ports->items[i], "name")).len;
	struct proxy_slice *s = mem_zalloc(sizeof(*s) + n_ports * sizeof(*s->ports) + n * sizeof(*s->endpoints) + text);
	s->family = span_is(type, "IPv4") ? V4 : V6;
	s->ports = (struct proxy_slice_port *)(s + 1);
	s->endpoints = (struct proxy_slice_endpoint *)(s->ports + n_ports);
	s->names = (char *)(s->endpoints + n);
	for (unsigned i = 0; i < n_ports; i++) {
		const struct json *p = &ports->items[i];
		struct span name = json_span(json_getl(p, "name"));
		int64_t port = json_i64(json_getl(p, "port"), 0);
		if (port < 1 || port > 65535 || name.len > UINT8_MAX)
			continue; /* without a port it means every port: nothing that can be translated */
		memcpy(s->names + names, name.ptr ? name.ptr : "", name.len);
		s->ports[s->n_ports++] = (struct proxy_slice_port){ .name_at = names, .name_len = (uint8_t)name.len,
								    .protocol = protocol_of(json_span(json_getl(p, "protocol"))),
								    .port = (uint16_t)port };
		names += (unsigned)name.len;
	}
	for (unsigned i = 0; i < n; i++) {
		const struct json *e = &endpoints->items[i], *list = json_getl(e, "addresses");
		struct sys_addr a;
		/* The first address alone counts: the others are of no defined meaning. */
		if (!json_is(list, JSON_ARRAY) || !list->n || !sys_addr_parse(json_span(&list->items[0]), &a) ||
		    a.family != (s->family == V4 ? AF_INET : AF_INET6))
			continue;
		struct proxy_slice_endpoint *x = &s->endpoints[s->n++];
		memcpy(x->addr, a.b, 16);
		x->flags = flags_of(e, here, zone);
	}
	if (s->n && s->n_ports)
		return s;
	free(s);
	return NULL;
}
