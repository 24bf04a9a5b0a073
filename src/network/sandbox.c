/* The network side of a running container, from start to stop.
 *
 *     start: addresses → namespace (inside: pin, sysctls, sockets) → veth pairs → addresses, routes → ports → record
 *     stop:  ports → name server → veth pairs → namespace → record
 *
 * Nothing waits: the longest step is the kernel's making of a namespace. What a failure or a crash leaves behind has no record
 * and is removed, by undo here or by the sweep of the next open. */
#include <fcntl.h>
#include <netinet/in.h>

#include "network/private.h"

static const char words_sharing[] =
	"container sharing network namespace with another container or host cannot be connected to any other network";
static const char words_none[] =
	"container cannot be connected to multiple networks with one of the networks in private (none) mode";
static const char words_config_only[] = "cannot create endpoint on configuration-only network";
static const char words_host[] = "container cannot be disconnected from host network or connected to host network";

struct network_sandbox *network_sandbox_new(struct network_engine *e, const char *id, const char *name)
{
	struct network_sandbox *box = mem_new(struct network_sandbox);
	snprintf(box->id, sizeof(box->id), "%s", id);
	snprintf(box->name, sizeof(box->name), "%s", name);
	box->engine = e;
	box->config = box->host_config = json_object();
	list_init(&box->endpoints);
	return box;
}

void network_sandbox_free(struct network_sandbox *box)
{
	network_dns_close(box->dns);
	network_ports_close(box);
	LIST_EACH(&box->endpoints, ep, struct network_endpoint, of_sandbox)
		network_endpoint_free(ep);
	arena_done(&box->arena);
	free(box);
}

void network_sandbox_destroy(struct network_sandbox *box)
{
	struct network_engine *e = box->engine;
	auto_err struct err err = ERR_INIT;
	char file[80];
	network_ports_unmap(box);
	if (network_nft_apply(e, "taking published ports back", &err) < 0)
		network_note(e, "container %.12s: %s", box->id, err_msg(&err));
	FAILPOINT("network.stop.unmapped");
	network_links_leave(box);
	FAILPOINT("network.stop.unlinked");
	if (!box->host)
		network_ns_remove(e, box->id);
	FAILPOINT("network.stop.unpinned");
	snprintf(file, sizeof(file), "%s.json", box->id);
	(void)unlinkat(e->boxes, file, 0); /* absent when start failed */
	if (map_get(&e->sandboxes, span_of(box->id)) == box)
		map_remove(&e->sandboxes, span_of(box->id));
	/* Events last: their receiver may call us again, and what he sees must be whole. */
	struct list gone = { 0 };
	list_init(&gone);
	char id[65];
	memcpy(id, box->id, sizeof(id));
	struct network *nets[NETWORK_ENDPOINTS_MAX];
	unsigned n = 0;
	LIST_EACH(&box->endpoints, ep, struct network_endpoint, of_sandbox)
		if (n < ARRAY_LEN(nets))
			nets[n++] = ep->net;
	network_sandbox_free(box);
	for (unsigned i = 0; i < n; i++)
		network_event(e, NETWORK_DISCONNECTED, nets[i], id);
}

const char *network_sandbox_hostname(const struct network_sandbox *box, char out[256])
{
	struct span name = json_span(json_getl(&box->config, "Hostname"));
	if (name.len == 0)
		name = span_make(box->id, 12);
	snprintf(out, 256, "%.*s", SPAN_ARG(name));
	return out;
}

/* ---- what is wished for */

struct plan {
	struct {
		struct network *net;
		const struct json *settings;
	} joins[NETWORK_ENDPOINTS_MAX];
	unsigned n;
	struct span shared; /* id of the container whose namespace is used; empty = none */
	bool host;
};

static struct span mode_of(const struct network_wish *w)
{
	struct span mode = json_span(json_getl(w->host_config, "NetworkMode"));
	return mode.len == 0 || span_is(mode, "default") ? SPAN("bridge") : mode;
}

static int join(struct plan *p, struct network *net, const struct json *settings, struct err *err)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->joins[i].net == net) {
			if (settings)
				p->joins[i].settings = settings;
			return 0;
		}
	if (p->n >= NETWORK_ENDPOINTS_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "a container can be on %d networks at most", NETWORK_ENDPOINTS_MAX);
	p->joins[p->n].net = net;
	p->joins[p->n++].settings = settings;
	return 0;
}

/* Networks that do not exist are passed over unless strict. */
static int plan_make(struct network_engine *e, const struct network_wish *w, bool strict, struct plan *p, struct err *err)
{
	struct span mode = mode_of(w);
	*p = (struct plan){ .n = 0 };
	if (span_starts(mode, SPAN("container:"))) {
		p->shared = span_from(mode, 10);
		if (json_is(w->networks, JSON_OBJECT) && w->networks->n)
			return err_set(err, ERR_INVALID_REQUEST, "%s", words_sharing);
		return 0;
	}
	p->host = span_is(mode, "host");
	int rc = 0;
	for (int pass = 0; pass < 2; pass++) {
		JSON_EACH_MEMBER(w->networks, m) {
			auto_err struct err why = ERR_INIT;
			struct network *net = network_by_name(e, json_key(m), &why);
			if (!net) {
				if (strict)
					return err ? err_move(err, &why) : -(int)why.class;
				continue;
			}
			bool first = span_is(mode, net->name) || span_is(mode, net->id) || span_eq(json_key(m), mode);
			if (first == (pass == 0) && (rc = join(p, net, m->value.kind == JSON_OBJECT ? &m->value : NULL, err)) < 0)
				return rc;
		}
		if (pass == 0 && !w->nowhere && !(json_is(w->networks, JSON_OBJECT) && w->networks->n)) {
			auto_err struct err why = ERR_INIT;
			struct network *net = network_by_name(e, mode, &why);
			if (!net && strict)
				return err ? err_move(err, &why) : -(int)why.class;
			if (net && (rc = join(p, net, NULL, err)) < 0)
				return rc;
		}
	}
	for (unsigned i = 0; i < p->n && p->n > 1; i++) {
		if (p->joins[i].net->driver == NETWORK_HOST)
			return err_set(err, ERR_INVALID_REQUEST, "%s", words_host);
		if (p->joins[i].net->driver == NETWORK_NONE && !p->joins[i].net->config_only)
			return err_set(err, ERR_INVALID_REQUEST, "%s", words_none);
	}
	for (unsigned i = 0; i < p->n; i++) {
		if (p->joins[i].net->config_only && strict)
			return err_set(err, ERR_FORBIDDEN, "%s", words_config_only);
		if (p->joins[i].net->config_only)
			continue;
		rc = network_endpoint_check(p->joins[i].net, p->joins[i].settings, err);
		if (rc < 0)
			return err_note(err, "invalid config for network %s", p->joins[i].net->name);
	}
	return 0;
}

int network_wish_check(struct network_engine *e, const struct network_wish *w, bool strict, struct err *err)
{
	struct plan p;
	int rc = plan_make(e, w, strict, &p, err);
	return rc < 0 ? rc : network_ports_check(w->config, w->host_config, err);
}

/* What of the documents is needed later, copied. */
static void remember(struct network_sandbox *box, const struct network_wish *w)
{
	static const char *const config[] = { "Hostname", "Domainname", "ExposedPorts" };
	static const char *const host[] = { "PortBindings", "PublishAllPorts", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts",
		"Links", "Sysctls" };
	for (size_t i = 0; i < ARRAY_LEN(config); i++) {
		const struct json *v = json_get(w->config, span_of(config[i]));
		if (v)
			json_set(&box->arena, &box->config, span_of(config[i]), json_copy(&box->arena, v));
	}
	for (size_t i = 0; i < ARRAY_LEN(host); i++) {
		const struct json *v = json_get(w->host_config, span_of(host[i]));
		if (v)
			json_set(&box->arena, &box->host_config, span_of(host[i]), json_copy(&box->arena, v));
	}
}

/* ---- inside the namespace */

static bool wants_dns(const struct network_sandbox *box)
{
	LIST_EACH(&box->endpoints, ep, struct network_endpoint, of_sandbox)
		if (network_user_defined(ep->net))
			return true;
	return false;
}

static bool wants_v6(const struct network_sandbox *box)
{
	LIST_EACH(&box->endpoints, ep, struct network_endpoint, of_sandbox)
		if (ep->addr[V6].addr.family)
			return true;
	return false;
}

static int sysctls(struct network_sandbox *box, struct err *err)
{
	const struct network_sysctl_row *rows = network_ns_sysctls;
	const struct json *own = json_getl(&box->host_config, "Sysctls");
	for (size_t i = 0; i < ARRAY_LEN(network_ns_sysctls); i++) {
		const struct json *v = json_get(own, span_of(rows[i].key));
		int rc = v ? 0 : network_sysctl(rows[i].file, rows[i].value, err);
		if (rc < 0)
			return rc;
	}
	/* Nobody else has addresses that we gave out: nothing is asked of the neighbours before they work (RFC 4862 section 5.4).
	 * */
	if (wants_v6(box))
		return network_sysctl("net/ipv6/conf/default/accept_dad", "0", err);
	return network_ns_no_v6(err);
}

/* Is the spare namespace (spare.c) as this container's would be? */
static bool spare_fits(const struct network_sandbox *box)
{
	const struct json *own = json_getl(&box->host_config, "Sysctls");
	return !wants_v6(box) && !(own && own->n);
}

/* What was made is the caller's, or, when something failed (rc), gone again. */
static int inside_hand_over(struct network_sandbox *box, int rc, int *ns, int *route, int *out_ns, int *out_route)
{
	if (rc < 0) {
		network_ns_remove(box->engine, box->id);
		return rc;
	}
	*out_ns = take_fd(ns);
	*out_route = take_fd(route);
	return 0;
}

/* The spare one, pinned under our id. */
static int inside_take(struct network_sandbox *box, int ns, int route, int *out_ns, int *out_route, struct err *err)
{
	struct network_engine *e = box->engine;
	auto_fd int our_ns = ns, our_route = route;
	int rc = network_ns_pin(e, box->id, ns, err);
	if (rc < 0)
		return rc;
	if (wants_dns(box)) {
		rc = network_ns_enter(ns, err);
		if (rc == 0) {
			rc = network_dns_open(box, err);
			network_ns_leave(e);
		}
	}
	return inside_hand_over(box, rc, &our_ns, &our_route, out_ns, out_route);
}

/* The namespace, and while we are in it all that can only be done there. *out_ns and *out_route are the caller's. */
static int inside_make(struct network_sandbox *box, int *out_ns, int *out_route, struct err *err)
{
	struct network_engine *e = box->engine;
	auto_fd int ns = -1, route = -1;
	if (spare_fits(box) && network_spare_take(e, &ns, &route))
		return inside_take(box, take_fd(&ns), take_fd(&route), out_ns, out_route, err);
	int rc = network_ns_make(e, box->id, err);
	if (rc < 0)
		return rc;
	ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (ns < 0)
		rc = err_sys(err, "opening the new network namespace");
	if (rc == 0)
		rc = sysctls(box, err);
	if (rc == 0)
		rc = network_ns_first(&route, err);
	if (rc == 0 && wants_dns(box))
		rc = network_dns_open(box, err);
	network_ns_leave(e);
	return inside_hand_over(box, rc, &ns, &route, out_ns, out_route);
}

static int inside_open(struct network_sandbox *box, int *out_ns, int *out_route, struct err *err)
{
	auto_fd int ns = network_ns_open(box->engine, box->id, err);
	if (ns < 0)
		return -(int)(err ? err->class : ERR_NOT_FOUND);
	int rc = network_ns_enter(ns, err);
	if (rc < 0)
		return rc;
	int route = sys_nl_open(NETLINK_ROUTE, err);
	network_ns_leave(box->engine);
	if (route < 0)
		return -(int)(err ? err->class : ERR_IO);
	*out_route = route;
	*out_ns = take_fd(&ns);
	return 0;
}

/* Sysctls of one interface, once it is there: IPv6 on or off where it differs from the default, then what DriverOpts name. */
static int interface_sysctls(struct network_endpoint *ep, int ns, bool default_v6, struct err *err)
{
	bool v6 = ep->addr[V6].addr.family;
	struct span extra = json_span(json_path(&ep->wish, "DriverOpts", "com.docker.network.endpoint.sysctls", NULL));
	if (v6 == default_v6 && extra.len == 0)
		return 0;
	int rc = network_ns_enter(ns, err);
	if (rc < 0)
		return rc;
	char name[160], value[128];
	snprintf(name, sizeof(name), "net/ipv6/conf/%s/disable_ipv6", ep->inside);
	if (v6 != default_v6)
		rc = network_sysctl(name, v6 ? "0" : "1", err);
	snprintf(name, sizeof(name), "net/ipv6/conf/%s/accept_dad", ep->inside);
	if (rc == 0 && v6 && !default_v6)
		rc = network_sysctl(name, "0", err);
	struct span one, key, v;
	while (rc == 0 && span_cut(&extra, ',', &one) && span_split(one, '=', &key, &v)) {
		ptrdiff_t at = span_find(key, SPAN(".IFNAME."));
		struct span head = span_sub(key, 0, (size_t)at), tail = span_from(key, (size_t)at + 8);
		snprintf(name, sizeof(name), "%.*s/%s/%.*s", SPAN_ARG(head), ep->inside, SPAN_ARG(tail));
		for (char *c = name; *c && c < name + head.len; c++)
			*c = *c == '.' ? '/' : *c;
		snprintf(value, sizeof(value), "%.*s", SPAN_ARG(v));
		rc = network_sysctl(name, value, err);
	}
	network_ns_leave(ep->box->engine);
	return rc;
}

static int routes_settle(struct network_sandbox *box, int route, struct err *err)
{
	auto_nl_batch struct sys_nl_batch b = { 0 };
	for (int v = V4; v <= V6; v++) {
		struct network_endpoint *ep = network_gateway_endpoint(box, v);
		if (!ep)
			continue;
		struct sys_addr gw = network_endpoint_gateway(ep, v);
		sys_route_add(&b, network_family(v), NULL, &gw, ep->inside_index);
	}
	return b.n ? sys_nl_commit(route, &b, NULL, "setting the default route", err) : 0;
}

/* The pair, made at its places; then addresses inside. */
static int attach(struct network_endpoint *ep, int ns, int route, bool default_v6, struct err *err)
{
	struct network_engine *e = ep->box->engine;
	const struct network *n = ep->net;
	auto_nl_batch struct sys_nl_batch b = { 0 };
	if (n->driver != NETWORK_BRIDGE)
		return 0;
	struct sys_veth v = { .name = ep->outside, .peer = ep->inside, .master = n->ifindex, .netns_fd = ns, .mtu = n->mtu };
	memcpy(v.peer_mac, ep->mac, 6);
	sys_link_veth_add(&b, &v);
	sys_link_port_up_add(&b, ep->outside,
				 (n->icc ? 0 : SYS_PORT_ISOLATED) | (ep->box->n_ports ? SYS_PORT_HAIRPIN : 0));
	int rc = sys_nl_commit(e->route, &b, NULL, "making an interface", err);
	if (rc < 0)
		return rc;
	FAILPOINT("network.start.linked");
	struct sys_link l;
	if ((rc = interface_sysctls(ep, ns, default_v6, err)) < 0 || (rc = sys_link_get(route, ep->inside, 0, &l, err)) < 0)
		return rc;
	ep->inside_index = l.index;
	ep->outside_index = l.peer;
	for (int f = V4; f <= V6; f++)
		if (ep->addr[f].addr.family)
			sys_address_add(&b, l.index, &ep->addr[f]);
	JSON_EACH_ITEM(json_path(&ep->wish, "IPAMConfig", "LinkLocalIPs", NULL), item) {
		struct sys_prefix p;
		if (sys_addr_parse(json_span(item), &p.addr)) {
			p.bits = p.addr.family == AF_INET ? 16 : 64;
			sys_address_add(&b, l.index, &p);
		}
	}
	sys_link_up_add(&b, l.index, true);
	sys_link_sync_add(&b, l.index, NULL);
	if ((rc = sys_nl_commit(route, &b, NULL, "giving an interface its addresses", err)) < 0)
		return rc;
	sys_link_sync_add(&b, 0, ep->outside);
	sys_link_sync_add(&b, n->ifindex, NULL);
	return sys_nl_commit(e->route, &b, NULL, "putting an interface to use", err);
}

static int build(struct network_sandbox *box, struct err *err)
{
	auto_fd int ns = -1, route = -1;
	int rc = inside_make(box, &ns, &route, err);
	if (rc < 0)
		return rc;
	bool v6 = wants_v6(box);
	LIST_EACH(&box->endpoints, ep, struct network_endpoint, of_sandbox)
		if (rc == 0)
			rc = attach(ep, ns, route, v6, err);
	return rc < 0 ? rc : routes_settle(box, route, err);
}

/* ---- the calls */

static void texts_fill(const struct network_sandbox *box, struct arena *a, struct network_got *g)
{
	if (!box->host)
		g->netns = arena_printf(a, "%s/netns/%s", box->engine->opts.run_dir, box->id);
	g->hosts = network_text_hosts(box, a);
	g->resolv_conf = network_text_resolv(box, a);
	g->hostname = network_text_hostname(box, a);
}

static void got_fill(const struct network_sandbox *box, struct arena *a, struct network_got *out)
{
	struct network_got g = { .sandbox_id = arena_span(a, span_of(box->id)), .networks = json_object() };
	LIST_EACH(&box->endpoints, ep, struct network_endpoint, of_sandbox)
		json_add(a, &g.networks, arena_span(a, span_of(ep->net->name)), network_endpoint_show(ep, true, a));
	g.ports = network_ports_show(box, a);
	texts_fill(box, a, &g);
	*out = g;
}

void network_got_done(struct network_got *got)
{
	for (unsigned i = 0; i < got->n_sockets; i++)
		fd_close(&got->sockets[i]);
	got->n_sockets = 0;
}

static int id_ok(const struct network_wish *w, struct err *err)
{
	bool ok = strlen(w->id) == 64 && strspn(w->id, "0123456789abcdef") == 64 && strlen(w->name) <= NETWORK_NAMES_MAX;
	return ok ? 0 : err_set(err, ERR_INVALID_REQUEST, "a container's id is 64 hex digits, its name at most %d bytes",
		NETWORK_NAMES_MAX);
}

static int start_shared(struct network_engine *e, struct span owner, struct arena *a, struct network_got *out, struct err *err)
{
	const struct network_sandbox *box = map_get(&e->sandboxes, owner);
	if (!box)
		return err_set(err, ERR_IN_USE, "cannot join network of a non running container: %.*s", SPAN_ARG(span_sub(owner, 0,
			64)));
	*out = (struct network_got){ .networks = json_object(), .ports = json_object() };
	if (!box->host)
		out->netns = arena_printf(a, "%s/netns/%s", e->opts.run_dir, box->id);
	out->sandbox_id = arena_span(a, owner);
	return 0;
}

/* As many as a monitor can hold; the rest is ours alone and bound again by the next engine. */
static int sockets_copy(const struct network_sandbox *box, struct network_got *out, struct err *err)
{
	for (unsigned i = 0; i < box->n_ports && out->n_sockets < NETWORK_SOCKETS_MAX; i++) {
		if (box->ports[i].sock < 0)
			continue;
		int fd = fcntl(box->ports[i].sock, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return err_sys(err, "duplicating a published socket");
		out->sockets[out->n_sockets++] = fd;
	}
	return 0;
}

int network_sandbox_start(struct network_engine *e, const struct network_wish *w, struct arena *a, struct network_got *out,
			  struct err *err)
{
	struct plan p;
	int rc;
	if ((rc = id_ok(w, err)) < 0 || (rc = plan_make(e, w, true, &p, err)) < 0)
		return rc;
	if (p.shared.len)
		return start_shared(e, p.shared, a, out, err);
	network_sandbox_stop(e, w->id);
	struct network_sandbox *box = network_sandbox_new(e, w->id, w->name);
	struct network_got got = { .n_sockets = 0 };
	box->adopted = true;
	box->host = p.host;
	remember(box, w);
	for (unsigned i = 0; i < p.n && rc == 0; i++) {
		struct network_endpoint *ep;
		struct json settings = p.joins[i].settings ? *p.joins[i].settings : json_object();
		/* The container's own MacAddress of older clients is its first network's. */
		const struct json *mac = json_getl(w->config, "MacAddress");
		if (i == 0 && json_span(mac).len && json_span(json_getl(&settings, "MacAddress")).len == 0) {
			settings = json_copy(&box->arena, &settings);
			json_set(&box->arena, &settings, SPAN("MacAddress"), json_copy(&box->arena, mac));
			if ((rc = network_endpoint_check(p.joins[i].net, &settings, err)) < 0)
				break;
		}
		rc = network_endpoint_new(box, p.joins[i].net, &settings, &ep, err);
	}
	if (rc == 0 && !p.host)
		rc = network_ports_read(box, err);
	if (rc == 0 && !p.host && w->known && !wants_dns(box)) {
		struct network_got texts = { .n_sockets = 0 };
		texts_fill(box, a, &texts);
		w->known(w->known_arg, &texts);
	}
	if (rc == 0 && !p.host)
		rc = build(box, err);
	FAILPOINT("network.start.built");
	if (rc == 0 && (rc = network_ports_open(box, err)) == 0 && (rc = network_ports_map(box, err)) == 0)
		rc = sockets_copy(box, &got, err);
	FAILPOINT("network.start.published");
	if (rc == 0)
		rc = network_sandbox_save(box, err);
	if (rc < 0) {
		network_got_done(&got);
		struct list *first;
		/* Nobody heard of this one, so nobody hears of its end: the endpoints go before the events. */
		network_links_leave(box);
		while ((first = list_pop(&box->endpoints)))
			network_endpoint_free(LIST_ENTRY(first, struct network_endpoint, of_sandbox));
		network_sandbox_destroy(box);
		return rc;
	}
	map_put(&e->sandboxes, span_of(box->id), box);
	struct network_got shown;
	got_fill(box, a, &shown);
	memcpy(shown.sockets, got.sockets, sizeof(got.sockets));
	shown.n_sockets = got.n_sockets;
	*out = shown;
	LIST_EACH(&box->endpoints, ep, struct network_endpoint, of_sandbox)
		network_event(e, NETWORK_CONNECTED, ep->net, box->id);
	return 0;
}

void network_sandbox_stop(struct network_engine *e, const char *id)
{
	struct network_sandbox *box = map_get(&e->sandboxes, span_of(id));
	if (box)
		network_sandbox_destroy(box);
}

static struct network_sandbox *find(struct network_engine *e, const char *id, struct err *err)
{
	struct network_sandbox *box = map_get(&e->sandboxes, span_of(id));
	if (!box)
		err_set(err, ERR_NOT_FOUND, "container %.12s has no network sandbox", id);
	return box;
}

int network_sandbox_show(struct network_engine *e, const char *id, struct arena *a, struct network_got *out, struct err *err)
{
	const struct network_sandbox *box = find(e, id, err);
	if (!box)
		return -ERR_NOT_FOUND;
	got_fill(box, a, out);
	return 0;
}

int network_sandbox_rename(struct network_engine *e, const char *id, const char *name, struct err *err)
{
	struct network_sandbox *box = find(e, id, err);
	char old[sizeof(box->name)];
	if (!box)
		return -ERR_NOT_FOUND;
	if (strlen(name) > NETWORK_NAMES_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "a container's name has at most %d bytes", NETWORK_NAMES_MAX);
	memcpy(old, box->name, sizeof(old));
	snprintf(box->name, sizeof(box->name), "%s", name);
	int rc = network_sandbox_save(box, err);
	if (rc < 0)
		memcpy(box->name, old, sizeof(old));
	return rc;
}

static int movable(const struct network_wish *w, const struct network *net, struct err *err)
{
	struct span mode = mode_of(w);
	if (span_starts(mode, SPAN("container:")))
		return err_set(err, ERR_INVALID_REQUEST, "%s", words_sharing);
	if (span_is(mode, "host") || net->driver == NETWORK_HOST)
		return err_set(err, ERR_INVALID_REQUEST, "%s", words_host);
	return 0;
}

/* Ports follow the gateway: out of the maps, in again with the new address. */
static int ports_follow(struct network_sandbox *box, struct err *err)
{
	if (box->n_ports == 0)
		return 0;
	network_ports_unmap(box);
	return network_ports_map(box, err);
}

static int join_running(struct network_sandbox *box, struct network *net, const struct json *settings, struct err *err)
{
	struct network_engine *e = box->engine;
	auto_fd int ns = -1, route = -1;
	struct network_endpoint *ep;
	bool v6 = wants_v6(box);
	int rc = network_endpoint_new(box, net, settings, &ep, err);
	if (rc < 0)
		return rc;
	if ((rc = inside_open(box, &ns, &route, err)) < 0)
		goto undo;
	if (!box->dns && wants_dns(box)) {
		if ((rc = network_ns_enter(ns, err)) < 0)
			goto undo;
		rc = network_dns_open(box, err);
		network_ns_leave(e);
	}
	if (rc < 0 || (rc = attach(ep, ns, route, v6, err)) < 0 || (rc = routes_settle(box, route, err)) < 0 ||
	    (rc = ports_follow(box, err)) < 0 || (rc = network_sandbox_save(box, err)) < 0)
		goto undo;
	return 0;
undo:;
	static const int gone[] = { ENODEV, 0 };
	auto_nl_batch struct sys_nl_batch b = { 0 };
	if (ep->outside[0]) {
		sys_link_delete_add(&b, ep->outside);
		(void)sys_nl_commit(e->route, &b, gone, "removing an interface", NULL); /* the first failure is the one to tell */
	}
	network_endpoint_free(ep);
	if (route >= 0)
		(void)routes_settle(box, route, NULL);
	(void)ports_follow(box, NULL);
	return rc;
}

int network_connect(struct network_engine *e, const struct network_wish *w, struct span network, const struct json *settings,
		    struct arena *a, struct network_got *out, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	struct network *net = network_by_name(e, network, &why);
	if (!net) {
		int code = -(int)why.class;
		return err ? err_move(err, &why) : code;
	}
	int rc = movable(w, net, err);
	if (rc < 0)
		return rc;
	if (net->config_only)
		return err_set(err, ERR_FORBIDDEN, "%s", words_config_only);
	struct network_sandbox *box = find(e, w->id, err);
	if (!box)
		return -ERR_NOT_FOUND;
	unsigned n = 0;
	LIST_EACH(&box->endpoints, ep, struct network_endpoint, of_sandbox) {
		n++;
		if (ep->net == net)
			return err_set(err, ERR_FORBIDDEN, "endpoint with name %s already exists in network %s", box->name, net->name);
		if (ep->net->driver == NETWORK_NONE || net->driver == NETWORK_NONE)
			return err_set(err, ERR_INVALID_REQUEST, "%s", words_none);
	}
	if (n >= NETWORK_ENDPOINTS_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "a container can be on %d networks at most", NETWORK_ENDPOINTS_MAX);
	if ((rc = network_endpoint_check(net, settings, err)) < 0)
		return err_note(err, "invalid config for network %s", net->name);
	if ((rc = join_running(box, net, settings, err)) < 0)
		return rc;
	got_fill(box, a, out);
	network_event(e, NETWORK_CONNECTED, net, w->id);
	return 0;
}

void network_left(struct network_engine *e, struct span network, const char *id)
{
	const struct network *net = network_by_name(e, network, NULL);
	if (net)
		network_event(e, NETWORK_DISCONNECTED, net, id);
}

int network_disconnect(struct network_engine *e, const struct network_wish *w, struct span network, struct arena *a,
		       struct network_got *out, struct err *err)
{
	static const int gone[] = { ENODEV, 0 };
	auto_err struct err why = ERR_INIT;
	auto_fd int ns = -1, route = -1;
	struct network *net = network_by_name(e, network, &why);
	if (!net) {
		int code = -(int)why.class;
		return err ? err_move(err, &why) : code;
	}
	int rc = movable(w, net, err);
	if (rc < 0)
		return rc;
	struct network_sandbox *box = find(e, w->id, err);
	if (!box)
		return -ERR_NOT_FOUND;
	struct network_endpoint *found = NULL;
	LIST_EACH(&box->endpoints, ep, struct network_endpoint, of_sandbox)
		if (ep->net == net)
			found = ep;
	if (!found)
		return err_set(err, ERR_INTERNAL, "container %s is not connected to network %s", box->id, net->name);
	if ((rc = inside_open(box, &ns, &route, err)) < 0)
		return rc;
	network_ports_unmap(box);
	auto_nl_batch struct sys_nl_batch b = { 0 };
	if (found->outside[0]) {
		sys_link_delete_add(&b, found->outside);
		if ((rc = sys_nl_commit(e->route, &b, gone, "removing an interface", err)) < 0)
			return rc;
	}
	network_endpoint_free(found);
	/* From here on it is done; what fails now is said, and the record tells the truth. */
	int routes = routes_settle(box, route, err);
	int ports = network_ports_map(box, routes < 0 ? NULL : err);
	int saved = network_sandbox_save(box, routes < 0 || ports < 0 ? NULL : err);
	rc = routes < 0 ? routes : ports < 0 ? ports : saved;
	got_fill(box, a, out);
	network_event(e, NETWORK_DISCONNECTED, net, w->id);
	return rc;
}

/* ---- counters */

struct counting {
	struct network_stats *out;
	unsigned cap, n;
};

static int on_link(void *arg, const struct sys_link *l)
{
	struct counting *c = arg;
	if (strcmp(l->name, "lo") == 0 || c->n == c->cap)
		return 0;
	struct network_stats *s = &c->out[c->n++];
	*s = (struct network_stats){ .rx_packets = l->counters[0], .tx_packets = l->counters[1], .rx_bytes = l->counters[2],
				     .tx_bytes = l->counters[3], .rx_errors = l->counters[4], .tx_errors = l->counters[5],
				     .rx_dropped = l->counters[6], .tx_dropped = l->counters[7] };
	snprintf(s->interface, sizeof(s->interface), "%s", l->name);
	return 0;
}

int network_stats(struct network_engine *e, const char *id, struct network_stats *out, unsigned cap, unsigned *out_n,
	struct err *err)
{
	struct network_sandbox *box = find(e, id, err);
	auto_fd int ns = -1, route = -1;
	struct counting c = { .out = out, .cap = cap };
	if (!box)
		return -ERR_NOT_FOUND;
	int rc = box->host ? 0 : inside_open(box, &ns, &route, err);
	if (rc == 0 && !box->host)
		rc = sys_link_each(route, on_link, &c, err);
	if (rc == 0)
		*out_n = c.n;
	return rc;
}
