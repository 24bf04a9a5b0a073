/* Published ports: reading the wish, choosing a number, holding the socket, mapping.
 *
 * The bound socket is the truth about who has a port: it finds conflicts with anybody on the host, and the monitor keeps it
 * when we are gone. Traffic from outside does not meet it (nft sends it on before); loopback does, and IPv6 for a container
 * without: the relay. */
#include <fcntl.h>
#include <netinet/in.h>

#include "network/private.h"

#define PORTS_MAX 4096 /* bindings of one container that are looked at; NETWORK_SOCKETS_MAX bounds what is bound */

static const struct {
	const char *name;
	uint8_t number;
} protocols[] = { { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "sctp", IPPROTO_SCTP } };

static const char *protocol_name(uint8_t number)
{
	for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
		if (protocols[i].number == number)
			return protocols[i].name;
	return "tcp";
}

/* "80/tcp", "80" */
static int read_key(struct span key, uint8_t *out_protocol, uint16_t *out_port, struct err *err)
{
	struct span number, name;
	uint64_t v;
	if (!span_split(key, '/', &number, &name))
		name = SPAN("tcp");
	*out_protocol = 0;
	for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
		if (span_eq_nocase(name, span_of(protocols[i].name)))
			*out_protocol = protocols[i].number;
	if (!*out_protocol)
		return err_set(err, ERR_INVALID_REQUEST, "invalid proto: %.*s", SPAN_ARG(span_sub(name, 0, 64)));
	if (!span_to_u64(number, &v) || v < 1 || v > 65535)
		return err_set(err, ERR_INVALID_REQUEST, "invalid port specification: \"%.*s\"", SPAN_ARG(span_sub(key, 0, 64)));
	*out_port = (uint16_t)v;
	return 0;
}

/* "", "0", "8080", "8000-8010" */
static int read_range(struct span text, uint16_t *out_first, uint16_t *out_last, struct err *err)
{
	struct span a, b;
	uint64_t first, last;
	if (text.len == 0) {
		*out_first = *out_last = 0;
		return 0;
	}
	if (!span_split(text, '-', &a, &b))
		b = a;
	if (!span_to_u64(a, &first) || !span_to_u64(b, &last) || first > 65535 || last > 65535 || last < first || (first == 0 &&
		last != 0))
		return err_set(err, ERR_INVALID_REQUEST, "invalid port specification: \"%.*s\"", SPAN_ARG(span_sub(text, 0, 64)));
	*out_first = (uint16_t)first;
	*out_last = (uint16_t)last;
	return 0;
}

struct reading {
	struct network_port *list;
	unsigned n, cap;
	struct sys_addr host; /* where a binding without address goes; family 0 = everywhere */
	unsigned looked_at;
};

static void add(struct reading *r, struct network_port p)
{
	MEM_GROW(r->list, r->n, r->cap);
	p.sock = -1;
	r->list[r->n++] = p;
}

static int read_binding(struct reading *r, uint8_t protocol, uint16_t inside, const struct json *b, struct err *err)
{
	struct span ip = json_span(json_getl(b, "HostIp"));
	struct network_port p = { .protocol = protocol, .inside = inside };
	int rc = read_range(json_span(json_getl(b, "HostPort")), &p.first, &p.last, err);
	if (rc < 0)
		return rc;
	if (++r->looked_at > PORTS_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "more than %d published ports", PORTS_MAX);
	if (ip.len > 2 && ip.ptr[0] == '[' && ip.ptr[ip.len - 1] == ']')
		ip = span_sub(ip, 1, ip.len - 1);
	if (ip.len && !sys_addr_parse(ip, &p.host))
		return err_set(err, ERR_INVALID_REQUEST, "invalid IP address: %.*s", SPAN_ARG(span_sub(ip, 0, 64)));
	if (!ip.len && r->host.family)
		p.host = r->host;
	if (p.host.family) {
		add(r, p);
		return 0;
	}
	p.host.family = AF_INET;
	add(r, p);
	p.host.family = AF_INET6;
	p.paired = true;
	add(r, p);
	return 0;
}

static int read_all(struct reading *r, const struct json *config, const struct json *host_config, struct err *err)
{
	const struct json *bindings = json_getl(host_config, "PortBindings");
	bool all = json_truth(json_getl(host_config, "PublishAllPorts"), false);
	struct json any = json_object();
	uint8_t protocol;
	uint16_t inside;
	int rc;
	JSON_EACH_MEMBER(bindings, m) {
		if ((rc = read_key(json_key(m), &protocol, &inside, err)) < 0)
			return rc;
		JSON_EACH_ITEM(&m->value, b)
			if ((rc = read_binding(r, protocol, inside, b, err)) < 0)
				return rc;
		/* An empty list asks for any port, as `-p 80` of older clients. */
		if (json_is(&m->value, JSON_ARRAY) && m->value.n == 0 && (rc = read_binding(r, protocol, inside, &any, err)) < 0)
			return rc;
	}
	JSON_EACH_MEMBER(json_getl(config, "ExposedPorts"), m) {
		if ((rc = read_key(json_key(m), &protocol, &inside, err)) < 0)
			return rc;
		bool bound = false;
		for (unsigned i = 0; i < r->n; i++)
			bound = bound || (r->list[i].protocol == protocol && r->list[i].inside == inside);
		if (all && !bound && (rc = read_binding(r, protocol, inside, &any, err)) < 0)
			return rc;
	}
	return 0;
}

int network_ports_check(const struct json *config, const struct json *host_config, struct err *err)
{
	struct reading r = { 0 };
	int rc = read_all(&r, config, host_config, err);
	free(r.list);
	return rc;
}

static struct network_endpoint *first_bridge(const struct network_sandbox *box)
{
	struct network_endpoint *ep = network_gateway_endpoint(box, V4);
	if (!ep)
		ep = network_gateway_endpoint(box, V6);
	if (!ep)
		LIST_EACH(&box->endpoints, other, struct network_endpoint, of_sandbox)
			if (!ep && other->net->driver == NETWORK_BRIDGE)
				ep = other;
	return ep;
}

int network_ports_read(struct network_sandbox *box, struct err *err)
{
	const struct network_endpoint *ep = first_bridge(box);
	struct reading r = { 0 };
	if (!ep) /* network none: nothing can be published, as Docker passes it over */
		return 0;
	r.host = ep->net->host_ip;
	int rc = read_all(&r, &box->config, &box->host_config, err);
	if (rc < 0) {
		free(r.list);
		return rc;
	}
	box->ports = r.list;
	box->n_ports = r.n;
	return 0;
}

/* ---- choosing and binding */

static bool clash(const struct network_port *p, const struct sys_addr *host, uint8_t protocol, uint16_t number)
{
	return p->outside == number && p->protocol == protocol && p->host.family == host->family &&
	       (sys_addr_zero(&p->host) || sys_addr_zero(host) || sys_addr_eq(&p->host, host));
}

static bool ours(const struct network_sandbox *box, const struct sys_addr *host, uint8_t protocol, uint16_t number)
{
	MAP_EACH(&box->engine->sandboxes, slot) {
		const struct network_sandbox *other = slot->value;
		for (unsigned i = 0; i < other->n_ports; i++)
			if (clash(&other->ports[i], host, protocol, number))
				return true;
	}
	for (unsigned i = 0; i < box->n_ports; i++)
		if (box->ports[i].sock >= 0 && clash(&box->ports[i], host, protocol, number))
			return true;
	return false;
}

/* The socket, or -1 and errno. */
static int bind_one(const struct network_port *p, uint16_t number, bool serve)
{
	int type = p->protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM, on = 1;
	auto_fd int s = socket(p->host.family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, p->protocol);
	struct sockaddr_storage at;
	socklen_t len = sys_addr_sock(&p->host, number, &at);
	if (s < 0)
		return -1;
	if (p->host.family == AF_INET6 && setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -1;
	/* Connections of a server that ended linger; who listens is found nevertheless. */
	if (type == SOCK_STREAM && setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -1;
	if (bind(s, (struct sockaddr *)&at, len) < 0 || (serve && p->protocol == IPPROTO_TCP && listen(s, SOMAXCONN) < 0))
		return -1;
	return take_fd(&s);
}

/* No IPv6 on this host, no SCTP in this kernel: nothing that a socket could hold. */
static bool absent(int errnum)
{
	return errnum == EAFNOSUPPORT || errnum == EPROTONOSUPPORT || errnum == ESOCKTNOSUPPORT;
}

enum tried { TRIED_BOUND, TRIED_OURS, TRIED_FOREIGN, TRIED_ERROR };

/* One number for all of a group (IPv4 and IPv6 of one binding): every one of it, or none. */
static enum tried try_number(struct network_sandbox *box, unsigned at, unsigned n, uint16_t number, int *out_errnum)
{
	for (unsigned i = at; i < at + n; i++) {
		struct network_port *p = &box->ports[i];
		enum tried rc = ours(box, &p->host, p->protocol, number) ? TRIED_OURS : TRIED_BOUND;
		if (rc == TRIED_BOUND) {
			p->sock = bind_one(p, number, box->engine->set.userland_proxy);
			*out_errnum = errno;
			if (p->sock < 0 && !absent(errno) && !(p->paired && errno == EADDRNOTAVAIL))
				rc = errno == EADDRINUSE ? TRIED_FOREIGN : TRIED_ERROR;
		}
		if (rc != TRIED_BOUND) {
			for (unsigned k = at; k <= i; k++) {
				fd_close(&box->ports[k].sock);
				box->ports[k].outside = 0;
			}
			return rc;
		}
		p->outside = p->sock >= 0 || p->protocol == IPPROTO_SCTP ? number : 0;
	}
	return TRIED_BOUND;
}

static void ephemeral(uint16_t *out_first, uint16_t *out_last)
{
	auto_buf struct buf text = { 0 };
	*out_first = 32768;
	*out_last = 60999;
	if (io_read_file(AT_FDCWD, "/proc/sys/net/ipv4/ip_local_port_range", &text, 64, NULL) < 0)
		return;
	struct span a, b;
	uint64_t first, last;
	if (span_split(span_trim(buf_span(&text)), '\t', &a, &b) && span_to_u64(span_trim(a), &first) && span_to_u64(span_trim(b),
		&last) &&
	    first > 0 && first <= last && last <= 65535) {
		*out_first = (uint16_t)first;
		*out_last = (uint16_t)last;
	}
}

static int refuse(const struct network_sandbox *box, const struct network_port *p, uint16_t number, enum tried why, int errnum,
	bool any,
		  struct err *err)
{
	const struct network_endpoint *ep = first_bridge(box);
	char host[SYS_ADDR_TEXT], to[SYS_ADDR_TEXT], full[sizeof(host) + 2];
	sys_addr_text(&p->host, host);
	sys_addr_text(&ep->addr[ep->addr[V4].addr.family ? V4 : V6].addr, to);
	snprintf(full, sizeof(full), p->host.family == AF_INET6 ? "[%s]" : "%s", host);
	static const char head[] = "driver failed programming external connectivity on endpoint";
	if (any && why != TRIED_ERROR)
		return err_set(err, ERR_INTERNAL, "%s %s (%s): all ports are allocated", head, box->name, ep->id);
	if (why == TRIED_OURS)
		return err_set(err, ERR_INTERNAL, "%s %s (%s): Bind for %s:%u failed: port is already allocated", head, box->name,
			ep->id, full,
			       number);
	return err_set(err, ERR_INTERNAL, "%s %s (%s): failed to bind host port %s:%u:%s:%u/%s: %s", head, box->name, ep->id, full,
		number, to,
		       p->inside, protocol_name(p->protocol), errnum == EADDRINUSE ? "address already in use" : err_why(errnum));
}

static int open_group(struct network_sandbox *box, unsigned at, unsigned n, struct err *err)
{
	struct network_engine *e = box->engine;
	struct network_port *p = &box->ports[at];
	uint16_t first = p->first, last = p->last, low, high;
	enum tried rc = TRIED_OURS;
	int errnum = 0;
	bool any = first == 0;
	if (any) {
		ephemeral(&low, &high);
		first = e->next_port >= low && e->next_port <= high ? e->next_port : low;
	} else {
		low = first;
		high = last;
	}
	/* Once round, from where the last search ended: a port just given back is not given away at once. */
	uint32_t count = (uint32_t)(high - low) + 1;
	for (uint32_t i = 0; i < count; i++) {
		uint16_t number = (uint16_t)(low + (first - low + i) % count);
		rc = try_number(box, at, n, number, &errnum);
		if (rc == TRIED_BOUND) {
			if (any)
				e->next_port = (uint16_t)(number + 1);
			return 0;
		}
		last = number;
		if (rc == TRIED_ERROR)
			break;
	}
	return refuse(box, p, last, rc, errnum, any, err);
}

int network_ports_open(struct network_sandbox *box, struct err *err)
{
	for (unsigned i = 0; i < box->n_ports;) {
		unsigned n = i + 1 < box->n_ports && box->ports[i + 1].paired ? 2 : 1;
		const struct network_endpoint *ep = network_gateway_endpoint(box, box->ports[i].host.family == AF_INET6);
		int rc = 0;
		if (!ep || ep->net->mode[box->ports[i].host.family == AF_INET6] != NETWORK_ROUTED)
			rc = open_group(box, i, n, err);
		if (rc < 0)
			return rc;
		i += n;
	}
	return 0;
}

/* ---- mapping */

void network_ports_elements(const struct network_sandbox *box)
{
	struct sys_nft *n = &box->engine->nft;
	for (unsigned i = 0; i < box->n_ports; i++) {
		const struct network_port *p = &box->ports[i];
		if (p->mapped)
			network_nft_port(n, true, sys_addr_zero(&p->host) ? NULL : &p->host, p->protocol, p->outside, &p->to,
				p->inside);
		if (p->routed)
			network_nft_routed(n, true, &p->to, p->protocol, p->inside);
	}
}

static bool routed_already(const struct network_sandbox *box, const struct network_port *p)
{
	for (const struct network_port *q = box->ports; q < p; q++)
		if (q->routed && q->protocol == p->protocol && q->inside == p->inside && q->to.family == p->to.family)
			return true;
	return false;
}

int network_ports_map(struct network_sandbox *box, struct err *err)
{
	struct network_engine *e = box->engine;
	for (unsigned i = 0; i < box->n_ports; i++) {
		struct network_port *p = &box->ports[i];
		int v = p->host.family == AF_INET6;
		const struct network_endpoint *ep = network_gateway_endpoint(box, v), *other = network_gateway_endpoint(box, !v);
		bool routed = ep && ep->net->mode[v] == NETWORK_ROUTED;
		p->mapped = p->routed = false;
		p->to = ep ? ep->addr[v].addr : v == V6 && other ? other->addr[V4].addr : (struct sys_addr){ 0 };
		/* The socket listens, so somebody must take what comes: without a gateway the relay turns it away. */
		if (p->relay) {
			network_relay_retarget(p->relay, &p->to);
		} else if (p->sock >= 0 && e->set.userland_proxy && p->protocol != IPPROTO_SCTP) {
			int rc = network_relay_open(e, p, &p->to, err);
			if (rc < 0)
				return rc;
		}
		if (!p->to.family)
			continue;
		if (routed) {
			p->routed = !routed_already(box, p);
			if (p->routed)
				network_nft_routed(&e->nft, true, &p->to, p->protocol, p->inside);
			continue;
		}
		/* The loopback's own addresses never meet prerouting. */
		p->mapped = ep && p->outside && !sys_addr_loopback(&p->host);
		if (p->mapped)
			network_nft_port(&e->nft, true, sys_addr_zero(&p->host) ? NULL : &p->host, p->protocol, p->outside, &p->to,
					 p->inside);
	}
	return network_nft_apply(e, "publishing ports", err);
}

void network_ports_unmap(struct network_sandbox *box)
{
	struct sys_nft *n = &box->engine->nft;
	for (unsigned i = 0; i < box->n_ports; i++) {
		struct network_port *p = &box->ports[i];
		if (p->mapped)
			network_nft_port(n, false, sys_addr_zero(&p->host) ? NULL : &p->host, p->protocol, p->outside, &p->to,
				p->inside);
		if (p->routed)
			network_nft_routed(n, false, &p->to, p->protocol, p->inside);
		p->mapped = p->routed = false;
	}
}

void network_ports_close(struct network_sandbox *box)
{
	for (unsigned i = 0; i < box->n_ports; i++) {
		network_relay_close(take(&box->ports[i].relay));
		fd_close(&box->ports[i].sock);
	}
	free(take(&box->ports));
	box->n_ports = 0;
}

static bool absent_protocol(const struct network_port *p)
{
	return p->protocol == IPPROTO_SCTP; /* may have no socket in this kernel; its mapping is what counts */
}

int network_ports_adopt(struct network_sandbox *box, const int *socks, unsigned n, struct err *err)
{
	int rc = 0;
	for (unsigned i = 0; i < n; i++) {
		auto_fd int s = socks[i];
		struct sockaddr_storage at;
		struct sys_addr a;
		uint16_t number;
		int protocol = 0;
		socklen_t len = sizeof(at), plen = sizeof(protocol);
		if (getsockname(s, (struct sockaddr *)&at, &len) < 0 || getsockopt(s, SOL_SOCKET, SO_PROTOCOL, &protocol, &plen) < 0)
			continue;
		sys_addr_from_sock(&at, &a, &number);
		for (unsigned k = 0; k < box->n_ports; k++) {
			struct network_port *p = &box->ports[k];
			if (p->sock < 0 && p->outside == number && p->protocol == protocol && sys_addr_eq(&p->host, &a)) {
				p->sock = take_fd(&s);
				break;
			}
		}
	}
	for (unsigned i = 0; i < box->n_ports && rc == 0; i++) {
		struct network_port *p = &box->ports[i];
		char host[SYS_ADDR_TEXT];
		if (p->sock < 0 && p->outside && !absent_protocol(p)) {
			/* One more than the monitor could hold. Whoever took it meanwhile has loopback; traffic from outside is ours
			 * still. */
			p->sock = bind_one(p, p->outside, box->engine->set.userland_proxy);
			if (p->sock < 0)
				network_note(box->engine, "container %s: port %s:%u is held by somebody else now: %s", box->name,
					     sys_addr_text(&p->host, host), p->outside, err_why(errno));
		}
		if (p->sock >= 0 && !p->relay && box->engine->set.userland_proxy && p->protocol != IPPROTO_SCTP)
			rc = network_relay_open(box->engine, p, &p->to, err);
	}
	return rc;
}

/* ---- showing */

struct json network_ports_show(const struct network_sandbox *box, struct arena *a)
{
	struct json o = json_object();
	char s[SYS_ADDR_TEXT];
	/* On internal networks alone nobody gets through them. They stay ours: a network that leads out may come. */
	if (!network_gateway_endpoint(box, V4) && !network_gateway_endpoint(box, V6))
		return o;
	JSON_EACH_MEMBER(json_getl(&box->config, "ExposedPorts"), m) {
		uint8_t protocol;
		uint16_t inside;
		if (read_key(json_key(m), &protocol, &inside, NULL) == 0)
			json_set(a, &o, arena_printf(a, "%u/%s", inside, protocol_name(protocol)), JSON_NULL_VALUE);
	}
	for (unsigned i = 0; i < box->n_ports; i++) {
		const struct network_port *p = &box->ports[i];
		struct span key = arena_printf(a, "%u/%s", p->inside, protocol_name(p->protocol));
		struct json *list = json_get(&o, key), b = json_object();
		if (!list)
			list = json_set(a, &o, key, JSON_NULL_VALUE);
		if (!p->outside)
			continue;
		if (list->kind != JSON_ARRAY)
			*list = json_array();
		json_add(a, &b, SPAN("HostIp"), json_str(arena_span(a, span_of(sys_addr_text(&p->host, s)))));
		json_add(a, &b, SPAN("HostPort"), json_str(arena_printf(a, "%u", p->outside)));
		json_push(a, list, b);
	}
	return o;
}
