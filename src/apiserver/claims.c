#include "apiserver/claims.h"

/* ---- what a Service claims */

bool claims_have_port(const struct claims *w, int port)
{
	for (unsigned i = 0; i < w->n_ports; i++)
		if (w->ports[i] == port)
			return true;
	return false;
}

bool claims_have_ip(const struct claims *w, struct span ip)
{
	for (unsigned i = 0; i < w->n_ips; i++)
		if (span_eq(w->ips[i], ip))
			return true;
	return false;
}

static void want_port(struct claims *w, int64_t port)
{
	if (port > 0 && port < 65536 && w->n_ports < CLAIMS_PORTS_MAX && !claims_have_port(w, (int)port))
		w->ports[w->n_ports++] = (int)port;
}

struct claims claims_of(const struct json *service)
{
	struct claims w = {};
	if (!service || type_is(service, "ExternalName"))
		return w;
	if (!is_headless(service))
		JSON_EACH_ITEM(json_getl(spec_of(service), "clusterIPs"), ip)
			if (w.n_ips < 2)
				w.ips[w.n_ips++] = json_span(ip);
	if (has_node_ports(service))
		JSON_EACH_ITEM(json_getl(spec_of(service), "ports"), p)
			want_port(&w, json_i64(json_getl(p, "nodePort"), 0));
	if (has_health_port(service))
		want_port(&w, json_i64(json_getl(spec_of(service), "healthCheckNodePort"), 0));
	return w;
}

/* ---- addresses */

struct span claims_family(struct span ip_or_cidr)
{
	return span_chr(ip_or_cidr, ':') >= 0 ? SPAN("IPv6") : SPAN("IPv4");
}

const char *claims_name(struct arena *a, struct span ip)
{
	struct api_ip parsed;
	char out[46];
	if (!api_ip_parse(ip, &parsed))
		return NULL;
	size_t n = api_ip_print(&parsed, out);
	return arena_span(a, span_make(out, n)).ptr;
}

struct json claims_address(struct arena *a, struct span name, struct span ns, struct span service)
{
	struct json tree = json_object(), meta = json_object(), labels = json_object(), spec = json_object(), parent = json_object();
	json_setl(a, &labels, "ipaddress.kubernetes.io/ip-family", json_str(claims_family(name)));
	json_setl(a, &labels, "ipaddress.kubernetes.io/managed-by", json_cstr("ipallocator.k8s.io"));
	json_setl(a, &meta, "name", json_str(name));
	json_setl(a, &meta, "labels", labels);
	json_setl(a, &parent, "resource", json_cstr("services"));
	json_setl(a, &parent, "namespace", json_str(ns));
	json_setl(a, &parent, "name", json_str(service));
	json_setl(a, &spec, "parentRef", parent);
	json_setl(a, &tree, "metadata", meta);
	json_setl(a, &tree, "spec", spec);
	return tree;
}

bool claims_address_fits(const struct json *address, struct span ns, struct span service)
{
	const struct json *ref = json_getl(spec_of(address), "parentRef");
	return span_is(text_of(ref, "resource"), "services") && !text_of(ref, "group").len && span_eq(text_of(ref, "namespace"), ns) &&
	       span_eq(text_of(ref, "name"), service);
}

static uint64_t low_bits(const struct api_ip *ip)
{
	uint64_t v = 0;
	for (unsigned i = ip->len == 4 ? 0 : 8; i < ip->len; i++)
		v = v << 8 | ip->bytes[i];
	return v;
}

struct api_ip claims_plus(struct api_ip base, uint64_t n)
{
	uint64_t v = low_bits(&base) + n;
	for (unsigned i = base.len, least = base.len == 4 ? 0 : 8; i-- > least; v >>= 8)
		base.bytes[i] = (uint8_t)v;
	return base;
}

uint64_t claims_hosts(const struct api_ip *base, unsigned bits)
{
	unsigned free_bits = base->len * 8u - bits;
	return (UINT64_C(1) << (free_bits > 62 ? 62 : free_bits)) - (base->len == 4 ? 2 : 1);
}

uint64_t claims_reserved(uint64_t size, uint64_t step, uint64_t most)
{
	uint64_t offset = size < 16 ? 0 : size / step;
	return offset && offset < 16 ? 16 : offset > most ? most : offset;
}

bool claims_in(struct span cidr, const struct api_ip *ip)
{
	struct api_ip base, masked = *ip;
	unsigned bits;
	if (!api_cidr_parse(cidr, &base, &bits) || base.len != ip->len)
		return false;
	(void)api_ip_mask(&masked, bits);
	(void)api_ip_mask(&base, bits);
	return memcmp(masked.bytes, base.bytes, base.len) == 0 &&
	       low_bits(ip) - low_bits(&base) - 1 < claims_hosts(&base, bits);
}

/* ---- ports */

void claims_port_key(struct buf *out, int port)
{
	buf_printf(out, "/registry/ranges/servicenodeports/%05d", port);
}

void claims_port_value(struct buf *out, struct span ns, struct span service)
{
	struct json_out o = { .buf = out };
	json_out_begin(&o);
	json_out_kspan(&o, "namespace", ns);
	json_out_kspan(&o, "name", service);
	json_out_end(&o);
}

bool claims_port_range(struct span range, int *out_low, int *out_high)
{
	struct span low, high;
	int64_t a, b;
	if (!span_split(range, '-', &low, &high) || !span_to_i64(low, &a) || !span_to_i64(high, &b) || a < 1 || b < a || b > 65535)
		return false;
	*out_low = (int)a;
	*out_high = (int)b;
	return true;
}
