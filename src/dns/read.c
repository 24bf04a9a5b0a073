/* Columns of Services and EndpointSlices. What does not read as it should is left out: the API server has checked these objects. */
#include "dns/zone.h"

static bool text_set(char *out, size_t size, struct span s)
{
	if (s.len >= size)
		return false;
	for (size_t i = 0; i < s.len; i++)
		out[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] + ('a' - 'A')) : s.ptr[i];
	out[s.len] = 0;
	return true;
}

static unsigned count(const struct json *list, unsigned max)
{
	return json_is(list, JSON_ARRAY) ? MIN((unsigned)list->n, max) : 0;
}

/* Of named ports alone: others have no record. */
static unsigned ports_read(const struct json *list, struct dns_port *out, unsigned max)
{
	unsigned n = 0;
	JSON_EACH_ITEM(list, p) {
		struct span protocol = json_span(json_getl(p, "protocol"));
		int64_t port = json_i64(json_getl(p, "port"), 0);
		if (n == max)
			break;
		if (port > 0 && port < 65536 && text_set(out[n].name, sizeof(out[n].name), json_span(json_getl(p, "name"))) &&
		    out[n].name[0] && text_set(out[n].protocol, sizeof(out[n].protocol), protocol.len ? protocol : SPAN("tcp")))
			out[n++].port = (uint16_t)port;
	}
	return n;
}

struct dns_service *dns_service_read(const struct json *o)
{
	const struct json *spec = json_getl(o, "spec"), *ports = json_getl(spec, "ports"), *ips = json_getl(spec, "clusterIPs");
	struct span ip = json_span(json_getl(spec, "clusterIP"));
	unsigned max = count(ports, DNS_PORTS_MAX);
	auto_free struct dns_service *s = mem_zalloc(sizeof(*s) + max * sizeof(*s->ports));
	struct sys_addr a;
	if (span_is(json_span(json_getl(spec, "type")), "ExternalName")) {
		s->kind = DNS_EXTERNAL;
		return dnsmsg_name_parse(json_span(json_getl(spec, "externalName")), &s->external) && s->external.len > 1 ? take(&s) :
															      NULL;
	}
	s->n_ports = ports_read(ports, s->ports, max);
	s->publish = json_truth(json_getl(spec, "publishNotReadyAddresses"), false);
	if (span_is(ip, "None")) {
		s->kind = DNS_HEADLESS;
		return take(&s);
	}
	JSON_EACH_ITEM(ips, each)
		if (s->n_addrs < ARRAY_LEN(s->addrs) && sys_addr_parse(json_span(each), &a))
			s->addrs[s->n_addrs++] = a;
	if (!s->n_addrs && sys_addr_parse(ip, &a))
		s->addrs[s->n_addrs++] = a;
	return s->n_addrs ? take(&s) : NULL;
}

struct dns_slice *dns_slice_read(const struct json *o)
{
	const struct json *ports = json_getl(o, "ports"), *endpoints = json_getl(o, "endpoints");
	struct span type = json_span(json_getl(o, "addressType"));
	unsigned max_ports = count(ports, DNS_PORTS_MAX), max = count(endpoints, DNS_ENDPOINTS_MAX);
	uint8_t family = span_is(type, "IPv4") ? AF_INET : span_is(type, "IPv6") ? AF_INET6 : 0;
	if (!family || !max)
		return NULL;
	struct dns_slice *s = mem_zalloc(sizeof(*s) + max_ports * sizeof(*s->ports) + max * sizeof(*s->endpoints));
	s->ports = (struct dns_port *)(s + 1);
	s->endpoints = (struct dns_endpoint *)(s->ports + max_ports);
	s->n_ports = ports_read(ports, s->ports, max_ports);
	for (unsigned i = 0; i < max; i++) {
		const struct json *e = &endpoints->items[i], *list = json_getl(e, "addresses");
		struct dns_endpoint *x = &s->endpoints[s->n];
		/* The first address alone counts: the others are of no defined meaning. */
		if (!json_is(list, JSON_ARRAY) || !list->n || !sys_addr_parse(json_span(&list->items[0]), &x->addr) ||
		    x->addr.family != family)
			continue;
		if (!text_set(x->hostname, sizeof(x->hostname), json_span(json_getl(e, "hostname"))))
			x->hostname[0] = 0;
		x->ready = json_truth(json_path(e, "conditions", "ready", NULL), true); /* absent means yes */
		s->n++;
	}
	return s;
}
