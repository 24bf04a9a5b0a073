/* RUN/sandboxes/ID.json: what a running container has, so that the next engine finds it again.
 *
 *     { "version":1, "name", "host":bool, "config":{...}, "hostConfig":{...}, "dns":[udp,tcp],
 *       "endpoints":[{ "network":ID, "id", "outside", "inside", "index", "outsideIndex", "mac", "addresses":["a/n", "" ],
 * "wish":{...} }],
 *       "ports":[{ "protocol":6, "inside":80, "host":"0.0.0.0", "outside":8080, "to":"172.17.0.2" }] } */
#include <fcntl.h>
#include <netinet/in.h>

#include "network/private.h"

static struct json text(struct arena *a, const char *s)
{
	return json_str(arena_span(a, span_of(s)));
}

int network_sandbox_save(struct network_sandbox *box, struct err *err)
{
	auto_arena struct arena arena = { 0 };
	struct arena *a = &arena;
	auto_buf struct buf out = { 0 };
	char s[SYS_ADDR_TEXT], mac[18], file[80];
	struct json o = json_object(), list = json_array(), ports = json_array(), dns = json_array();
	LIST_EACH(&box->endpoints, ep, struct network_endpoint, of_sandbox) {
		struct json j = json_object(), addresses = json_array();
		for (int v = V4; v <= V6; v++)
			json_push(a, &addresses, text(a, ep->addr[v].addr.family ? sys_prefix_text(&ep->addr[v], s) : ""));
		json_add(a, &j, SPAN("network"), text(a, ep->net->id));
		json_add(a, &j, SPAN("id"), text(a, ep->id));
		json_add(a, &j, SPAN("outside"), text(a, ep->outside));
		json_add(a, &j, SPAN("inside"), text(a, ep->inside));
		json_add(a, &j, SPAN("index"), json_int(ep->inside_index));
		json_add(a, &j, SPAN("outsideIndex"), json_int(ep->outside_index));
		json_add(a, &j, SPAN("mac"), text(a, sys_mac_text(ep->mac, mac)));
		json_add(a, &j, SPAN("addresses"), addresses);
		json_add(a, &j, SPAN("wish"), ep->wish);
		json_push(a, &list, j);
	}
	for (unsigned i = 0; i < box->n_ports; i++) {
		const struct network_port *p = &box->ports[i];
		struct json j = json_object();
		json_add(a, &j, SPAN("protocol"), json_int(p->protocol));
		json_add(a, &j, SPAN("inside"), json_int(p->inside));
		json_add(a, &j, SPAN("host"), text(a, sys_addr_text(&p->host, s)));
		json_add(a, &j, SPAN("outside"), json_int(p->outside));
		json_add(a, &j, SPAN("mapped"), json_bool(p->mapped));
		json_add(a, &j, SPAN("routed"), json_bool(p->routed));
		json_add(a, &j, SPAN("to"), text(a, sys_addr_text(&p->to, s)));
		json_push(a, &ports, j);
	}
	for (int i = 0; i < 2; i++)
		json_push(a, &dns, json_int(box->dns_ports[i]));
	json_add(a, &o, SPAN("version"), json_int(1));
	json_add(a, &o, SPAN("name"), text(a, box->name));
	json_add(a, &o, SPAN("host"), json_bool(box->host));
	json_add(a, &o, SPAN("config"), box->config);
	json_add(a, &o, SPAN("hostConfig"), box->host_config);
	json_add(a, &o, SPAN("dns"), dns);
	json_add(a, &o, SPAN("endpoints"), list);
	json_add(a, &o, SPAN("ports"), ports);
	json_write(&out, &o, 0);
	if (out.len > NETWORK_RECORD_MAX)
		return err_set(err, ERR_TOO_LARGE, "the network settings of container %.12s are larger than 1 MB", box->id);
	snprintf(file, sizeof(file), "%s.json", box->id);
	return io_write_file_lazy(box->engine->boxes, file, buf_span(&out), 0600, err);
}

static void copy_text(const struct json *v, char *out, size_t cap)
{
	snprintf(out, cap, "%.*s", SPAN_ARG(json_span(v)));
}

static int bad(const struct network_sandbox *box, const char *what, struct err *err)
{
	return err_set(err, ERR_CORRUPT, "record of sandbox %.12s: %s", box->id, what);
}

static int load_endpoint(struct network_sandbox *box, const struct json *j, struct err *err)
{
	struct network *n = network_by_id(box->engine, json_span(json_getl(j, "network")));
	struct span id = json_span(json_getl(j, "id"));
	if (!n)
		return bad(box, "its network does not exist any more", err);
	if (id.len != 64)
		return bad(box, "an endpoint's id is not one", err);
	struct network_endpoint *ep = mem_new(struct network_endpoint);
	ep->net = n;
	ep->box = box;
	list_init(&ep->of_network);
	list_init(&ep->of_sandbox);
	list_push(&n->endpoints, &ep->of_network);
	list_push(&box->endpoints, &ep->of_sandbox); /* from here on freed with the sandbox */
	const struct json *wish = json_getl(j, "wish"), *addresses = json_getl(j, "addresses");
	ep->wish = json_is(wish, JSON_OBJECT) ? json_copy(&ep->arena, wish) : json_object();
	ep->priority = json_i64(json_getl(wish, "GwPriority"), 0);
	ep->inside_index = (int)json_i64(json_getl(j, "index"), 0);
	ep->outside_index = (int)json_i64(json_getl(j, "outsideIndex"), 0);
	memcpy(ep->id, id.ptr, 64);
	copy_text(json_getl(j, "outside"), ep->outside, sizeof(ep->outside));
	copy_text(json_getl(j, "inside"), ep->inside, sizeof(ep->inside));
	if (!sys_mac_parse(json_span(json_getl(j, "mac")), ep->mac))
		return bad(box, "a hardware address is none", err);
	for (uint32_t v = V4; v <= V6 && json_is(addresses, JSON_ARRAY) && v < addresses->n; v++) {
		struct sys_prefix p;
		struct sys_addr got;
		if (!sys_prefix_parse(json_span(&addresses->items[v]), &p))
			continue; /* "" = none */
		if (p.addr.family != network_family((int)v) || network_pool_take(&n->pool[v], &p.addr, &got) != NETWORK_TAKEN)
			return bad(box, "an address is not its own", err);
		ep->addr[v] = p;
	}
	return 0;
}

static int load_port(struct network_sandbox *box, const struct json *j, struct err *err)
{
	struct network_port p = { .sock = -1 };
	int64_t protocol = json_i64(json_getl(j, "protocol"), 0), inside = json_i64(json_getl(j, "inside"), 0);
	int64_t outside = json_i64(json_getl(j, "outside"), 0);
	struct span to = json_span(json_getl(j, "to"));
	if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_SCTP) || inside < 1 || inside > 65535 ||
		outside < 1 ||
	    outside > 65535 || !sys_addr_parse(json_span(json_getl(j, "host")), &p.host) || (to.len && !sys_addr_parse(to,
	    &p.to)))
		return bad(box, "a published port is none", err);
	p.protocol = (uint8_t)protocol;
	p.inside = (uint16_t)inside;
	p.outside = (uint16_t)outside;
	p.mapped = json_truth(json_getl(j, "mapped"), false) && p.to.family;
	p.routed = json_truth(json_getl(j, "routed"), false) && p.to.family;
	box->ports[box->n_ports++] = p;
	return 0;
}

int network_sandbox_load(struct network_engine *e, const char *id, struct network_sandbox **out, struct err *err)
{
	auto_arena struct arena a = { 0 };
	auto_buf struct buf in = { 0 };
	char file[80];
	struct json o;
	snprintf(file, sizeof(file), "%s.json", id);
	int rc = io_read_file(e->boxes, file, &in, NETWORK_RECORD_MAX + 1024, err);
	if (rc < 0 || (rc = json_parse(&a, buf_span(&in), JSON_BORROW, NULL, &o, err)) < 0)
		return rc;
	if (json_i64(json_getl(&o, "version"), 0) != 1)
		return err_set(err, ERR_CORRUPT, "record of sandbox %.12s: its version is not 1", id);
	bool host = json_truth(json_getl(&o, "host"), false);
	if (!host) {
		int ns = network_ns_open(e, id, err);
		if (ns < 0)
			return -ERR_NOT_FOUND;
		fd_close(&ns);
	}
	char name[NETWORK_NAMES_MAX + 1];
	copy_text(json_getl(&o, "name"), name, sizeof(name));
	struct network_sandbox *box = network_sandbox_new(e, id, name);
	const struct json *config = json_getl(&o, "config"), *host_config = json_getl(&o, "hostConfig"), *ports = json_getl(&o,
		"ports");
	const struct json *dns = json_getl(&o, "dns");
	box->host = host;
	box->config = json_is(config, JSON_OBJECT) ? json_copy(&box->arena, config) : json_object();
	box->host_config = json_is(host_config, JSON_OBJECT) ? json_copy(&box->arena, host_config) : json_object();
	for (uint32_t i = 0; i < 2 && json_is(dns, JSON_ARRAY) && i < dns->n; i++)
		box->dns_ports[i] = (uint16_t)json_i64(&dns->items[i], 0);
	JSON_EACH_ITEM(json_getl(&o, "endpoints"), item)
		if (rc == 0)
			rc = load_endpoint(box, item, err);
	if (rc == 0 && json_is(ports, JSON_ARRAY)) {
		box->ports = mem_realloc_n(NULL, ports->n + 1, sizeof(*box->ports));
		JSON_EACH_ITEM(ports, item)
			if (rc == 0)
				rc = load_port(box, item, err);
	}
	if (rc < 0) {
		network_sandbox_free(box);
		return rc;
	}
	map_put(&e->sandboxes, span_of(box->id), box);
	*out = box;
	return 0;
}

int network_sandbox_adopt(struct network_engine *e, const char *id, const int *sockets, unsigned n_sockets, struct arena *a,
			  struct network_got *out, struct err *err)
{
	struct network_sandbox *box = map_get(&e->sandboxes, span_of(id));
	if (!box) {
		for (unsigned i = 0; i < n_sockets; i++)
			close(sockets[i]);
		return err_set(err, ERR_NOT_FOUND, "nothing is known of the network of container %.12s", id);
	}
	int rc = network_ports_adopt(box, sockets, n_sockets, err);
	if (rc == 0 && !box->host && !box->dns && box->dns_ports[0]) {
		/* The name server's sockets died with the last engine; the redirect inside still names their ports. */
		auto_fd int ns = network_ns_open(e, id, err);
		rc = ns < 0 ? -ERR_NOT_FOUND : network_ns_enter(ns, err);
		if (rc == 0) {
			rc = network_dns_open(box, err);
			network_ns_leave(e);
		}
	}
	if (rc < 0)
		return rc;
	box->adopted = true;
	return out ? network_sandbox_show(e, id, a, out, err) : 0;
}
