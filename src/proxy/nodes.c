/* Routes to the pods of other nodes, through those nodes' own addresses (host-gw: all nodes on one segment), and one to
 * ourselves: the first address of this node's pods, which the plugin gives to none of them, is the host's (decision 0780).
 * Ours carry the protocol number below, so that what is stale is found and nobody else's is touched. */
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <unistd.h>

#include "proxy/nodes.h"
#include "sys/link.h"

#define ROUTE_PROTOCOL PROXY_ROUTE_PROTOCOL
#define CONFLIST "10-knarr.conflist"
#define DEFAULT_MTU 1500
#define LOOPBACK 1 /* the index of lo, in every namespace */

struct node {
	char *name; /* owned */
	struct sys_prefix pods[FAMILIES];
	struct sys_addr address[FAMILIES];
};

struct proxy_nodes {
	struct proxy_nodes_params p;
	struct map by_name;
	int route;
	char zone[128];
	bool known, leaving; /* this node was seen; it is on its way out */
};

int proxy_nodes_new(const struct proxy_nodes_params *p, struct proxy_nodes **out, struct err *err)
{
	int sock = sys_nl_open(NETLINK_ROUTE, err);
	if (sock < 0)
		return sock;
	struct proxy_nodes *n = mem_new(struct proxy_nodes);
	n->p = *p;
	n->route = sock;
	*out = n;
	return 0;
}

static void node_free(struct node *x)
{
	free(x->name);
	free(x);
}

void proxy_nodes_free(struct proxy_nodes *n)
{
	if (!n)
		return;
	MAP_EACH(&n->by_name, e)
		node_free(e->value);
	map_done(&n->by_name);
	fd_close(&n->route);
	free(n);
}

static void own(struct proxy_nodes *n, const struct json *o)
{
	struct span zone = json_span(json_path(o, "metadata", "labels", "topology.kubernetes.io/zone", NULL));
	size_t len = MIN(zone.len, sizeof(n->zone) - 1);
	memcpy(n->zone, zone.ptr ? zone.ptr : "", len);
	n->zone[len] = 0;
	n->known = true;
	n->leaving = json_path(o, "metadata", "deletionTimestamp", NULL) != NULL;
	JSON_EACH_ITEM(json_path(o, "spec", "taints", NULL), t)
		n->leaving |= span_is(json_span(json_getl(t, "key")), "ToBeDeletedByClusterAutoscaler");
}

/* Another node's word about which addresses are its pods' is believed within the cluster's own range only: a route to everything,
 * or to this machine's own network, would cut it off, and whoever may make a Node could say so. */
static void range_take(const struct proxy_nodes *n, struct span name, struct span text, struct node *out)
{
	struct sys_prefix p;
	if (!sys_prefix_parse(text, &p))
		return;
	/* Its own makes no route. Without --cluster-cidr there is nothing to compare with. */
	bool fits = span_eq(name, n->p.name) || (!n->p.n_pods && p.bits);
	for (unsigned i = 0; i < n->p.n_pods; i++)
		fits |= sys_prefix_has(&n->p.pods[i], &p.addr) && p.bits >= n->p.pods[i].bits;
	if (fits)
		out->pods[p.addr.family == AF_INET ? V4 : V6] = sys_prefix_mask(p);
	else
		log_warn("a node's pod range is not within the cluster's; no route leads there", kv_span("node", name),
			 kv_span("range", text));
}

bool proxy_nodes_put(struct proxy_nodes *n, struct span name, const struct json *o)
{
	struct node now = { 0 }, *x = map_get(&n->by_name, name);
	struct sys_addr a;
	bool mine = span_eq(name, n->p.name);
	if (!o) {
		if (mine)
			n->known = false;
		if (!x)
			return false;
		(void)map_remove(&n->by_name, name);
		node_free(x);
		return true;
	}
	if (mine)
		own(n, o);
	const struct json *spec = json_getl(o, "spec"), *ranges = json_getl(spec, "podCIDRs");
	if (!json_is(ranges, JSON_ARRAY))
		range_take(n, name, json_span(json_getl(spec, "podCIDR")), &now); /* else it is the first of them */
	JSON_EACH_ITEM(ranges, r)
		range_take(n, name, json_span(r), &now);
	JSON_EACH_ITEM(json_path(o, "status", "addresses", NULL), item)
		if (span_is(json_span(json_getl(item, "type")), "InternalIP") &&
		    sys_addr_parse(json_span(json_getl(item, "address")), &a) && !now.address[a.family == AF_INET ? V4 : V6].family)
			now.address[a.family == AF_INET ? V4 : V6] = a;
	if (x && memcmp(x->pods, now.pods, sizeof(now.pods)) == 0 && memcmp(x->address, now.address, sizeof(now.address)) == 0)
		return false;
	if (!x) {
		x = mem_new(struct node);
		x->name = mem_dup(name.ptr, name.len);
		(void)map_put(&n->by_name, span_of(x->name), x); /* was absent */
	}
	memcpy(x->pods, now.pods, sizeof(now.pods));
	memcpy(x->address, now.address, sizeof(now.address));
	return true;
}

/* ---- routes */

struct routes {
	struct proxy_nodes *n;
	struct sys_route *have;
	size_t n_have, cap_have;

	int v;
};

static int on_route(void *arg, const struct sys_route *r)
{
	struct routes *x = arg;
	if (r->protocol != ROUTE_PROTOCOL)
		return 0;
	bool ours = false;
	for (unsigned i = 0; i < x->n->p.n_pods; i++)
		ours |= sys_prefix_has(&x->n->p.pods[i], &r->to.addr) && r->to.bits >= x->n->p.pods[i].bits;
	if (!ours)
		return 0; /* another cluster's on this machine */
	MEM_GROW(x->have, x->n_have, x->cap_have);
	x->have[x->n_have++] = *r;
	return 0;
}

/* A local route takes no interface's address, so nothing that looks at those (node addresses, certificates) sees it. */
static bool own_route(const struct proxy_nodes *n, int v, struct sys_route *out)
{
	const struct node *me = map_get(&n->by_name, n->p.name);
	if (!me || !me->pods[v].addr.family || sys_prefix_size(&me->pods[v]) < 4)
		return false;
	*out = (struct sys_route){ .to = { sys_prefix_at(&me->pods[v], 1), (uint8_t)(v == V4 ? 32 : 128) }, .index = LOOPBACK,
				   .protocol = ROUTE_PROTOCOL, .scope = RT_SCOPE_HOST, .local = true };
	return true;
}

static bool wanted(const struct proxy_nodes *n, const struct sys_route *r, int v)
{
	struct sys_route own;
	if (r->local)
		return own_route(n, v, &own) && r->to.bits == own.to.bits && sys_addr_eq(&r->to.addr, &own.to.addr);
	MAP_EACH(&n->by_name, e) {
		const struct node *x = e->value;
		if (!span_is(n->p.name, x->name) && x->pods[v].addr.family && x->pods[v].bits == r->to.bits &&
		    sys_addr_eq(&x->pods[v].addr, &r->to.addr) && sys_addr_eq(&x->address[v], &r->gateway))
			return true;
	}
	return false;
}

static int routes_apply(struct proxy_nodes *n, int v, struct err *err)
{
	static const int gone[] = { ESRCH, ENOENT, 0 };
	struct routes x = { .n = n, .v = v };
	int rc = sys_route_list(n->route, v == V4 ? AF_INET : AF_INET6, on_route, &x, err);
	auto_nl_batch struct sys_nl_batch b = { 0 };
	struct sys_route mine;
	bool have_mine = false;
	for (size_t i = 0; rc == 0 && i < x.n_have; i++)
		if (!wanted(n, &x.have[i], v)) {
			sys_route_delete_add(&b, &x.have[i]);
			rc = sys_nl_commit(n->route, &b, gone, "removing the route to a node that is gone", err);
		} else {
			have_mine |= x.have[i].local;
		}
	if (rc == 0 && !have_mine && own_route(n, v, &mine)) {
		sys_route_put(&b, &mine);
		rc = sys_nl_commit(n->route, &b, NULL, "taking the node's own address among its pods", err);
	}
	MAP_EACH(&n->by_name, e) {
		const struct node *node = e->value;
		bool there = false;
		if (rc < 0 || span_is(n->p.name, node->name) || !node->pods[v].addr.family || !node->address[v].family)
			continue;
		for (size_t i = 0; i < x.n_have && !there; i++)
			there = x.have[i].to.bits == node->pods[v].bits && sys_addr_eq(&x.have[i].to.addr, &node->pods[v].addr) &&
				sys_addr_eq(&x.have[i].gateway, &node->address[v]);
		if (there)
			continue;
		sys_route_put(&b, &(struct sys_route){ .to = node->pods[v], .gateway = node->address[v], .protocol = ROUTE_PROTOCOL,
						       .scope = RT_SCOPE_UNIVERSE });
		auto_err struct err why = ERR_INIT;
		if (sys_nl_commit(n->route, &b, NULL, "adding the route to a node's pods", &why) < 0) {
			/* One node out of reach must not keep the others from theirs. */
			log_warn("no route to a node's pods: its address must be on a segment of this node", kv_str("node", node->name),
				 kv_err(&why));
		}
	}
	free(x.have);
	return rc;
}

/* ---- the CNI configuration */

static int on_default(void *arg, const struct sys_route *r)
{
	int *index = arg;
	if (r->to.bits == 0 && !r->local && !*index)
		*index = r->index;
	return 0;
}

/* Pods send what the node's own way out can carry. */
static unsigned mtu_of(struct proxy_nodes *n)
{
	int index = 0;
	struct sys_link l;
	if (sys_route_list(n->route, AF_INET, on_default, &index, NULL) < 0 || !index ||
	    sys_link_get(n->route, NULL, index, &l, NULL) < 0 || l.mtu < 1280)
		return DEFAULT_MTU;
	return MIN(l.mtu, 65535u);
}

static int conflist_write(struct proxy_nodes *n, const struct node *x, struct err *err)
{
	auto_buf struct buf b = { 0 }, old = { 0 }, path = { 0 }, state = { 0 };
	struct json_out o = { .buf = &b };
	char text[SYS_ADDR_TEXT];
	json_out_begin(&o);
	json_out_kspan(&o, "cniVersion", SPAN("1.0.0"));
	json_out_kspan(&o, "name", SPAN("knarr"));
	json_out_key(&o, SPAN("plugins"));
	json_out_begin_array(&o);
	json_out_begin(&o);
	json_out_kspan(&o, "type", SPAN("knarr-cni"));
	json_out_kspan(&o, "id", span_of(n->p.id));
	json_out_key(&o, SPAN("subnets"));
	json_out_begin_array(&o);
	for (int v = V4; v < FAMILIES; v++)
		if (x->pods[v].addr.family)
			json_out_span(&o, span_of(sys_prefix_text(&x->pods[v], text)));
	json_out_end(&o);
	json_out_ki64(&o, "mtu", mtu_of(n));
	buf_printf(&state, "%s/cni/state", n->p.data_dir);
	json_out_kspan(&o, "stateDir", buf_span(&state));
	json_out_key(&o, SPAN("capabilities"));
	json_out_begin(&o);
	json_out_kbool(&o, "portMappings", true);
	json_out_end(&o);
	json_out_end(&o);
	json_out_end(&o);
	json_out_end(&o);
	buf_chr(&b, '\n');
	buf_printf(&path, "%s/" CONFLIST, n->p.cni_conf_dir);
	if (io_read_file(AT_FDCWD, buf_cstr(&path), &old, 1 << 20, NULL) == 0 && span_eq(buf_span(&old), buf_span(&b)))
		return 0; /* whoever watches the folder is not woken for nothing */
	int rc = io_mkdirs(AT_FDCWD, n->p.cni_conf_dir, 0755, err);
	if (rc == 0)
		rc = io_write_file(AT_FDCWD, buf_cstr(&path), buf_span(&b), 0644, err);
	if (rc == 0)
		log_info("wrote the CNI configuration", kv_span("file", buf_span(&path)));
	return rc;
}

/* ---- together */

static void range_put(struct proxy_elements *e, enum proxy_set set, const struct sys_prefix *p)
{
	struct sys_prefix first = sys_prefix_mask(*p);
	struct sys_addr last = first.addr;
	for (unsigned bit = p->bits; bit < sys_addr_len(&last) * 8; bit++)
		last.b[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	proxy_elements_put(e, p->addr.family == AF_INET ? V4 : V6, set, first.addr.b, last.b, NULL);
}

int proxy_nodes_apply(struct proxy_nodes *n, struct err *err)
{
	int rc = 0;
	const struct node *me = map_get(&n->by_name, n->p.name);
	for (int v = V4; rc == 0 && v < FAMILIES; v++)
		rc = routes_apply(n, v, err);
	if (rc < 0 || !me || (!me->pods[V4].addr.family && !me->pods[V6].addr.family))
		return rc;
	struct proxy_elements *r = &n->p.kernel->ranges, now = { 0 };
	for (size_t i = 0; i < r->n; i++) {
		struct proxy_element e = proxy_elements_at(r, i);
		if (e.set != PROXY_MINE)
			proxy_elements_put(&now, e.family, e.set, e.key, e.key_end, NULL);
	}
	for (int v = V4; v < FAMILIES; v++)
		if (me->pods[v].addr.family)
			range_put(&now, PROXY_MINE, &me->pods[v]);
	proxy_elements_sort(&now);
	bool same = span_eq(buf_span(&now.packed), buf_span(&r->packed));
	proxy_elements_done(r);
	*r = now;
	if (!same)
		rc = proxy_kernel_ranges(n->p.kernel, err);
	if (rc == 0 && n->p.cni_conf_dir)
		rc = conflist_write(n, me, err);
	return rc;
}

bool proxy_nodes_others(const struct proxy_nodes *n)
{
	return n->by_name.n > (map_get(&n->by_name, n->p.name) ? 1u : 0u);
}

uint32_t proxy_nodes_port(const struct proxy_nodes *n)
{
	return sys_nl_port(n->route);
}

struct span proxy_nodes_zone(const struct proxy_nodes *n)
{
	return span_of(n->zone);
}

bool proxy_nodes_eligible(const struct proxy_nodes *n)
{
	return n->known && !n->leaving;
}

/* ---- forwarding */

static int sysctl_on(const char *dir, const char *name, struct err *err)
{
	char path[128];
	auto_buf struct buf was = { 0 }, record = { 0 }, line = { 0 };
	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	int rc = io_read_file(AT_FDCWD, path, &was, 64, err);
	if (rc < 0)
		return rc;
	struct span value = span_trim(buf_span(&was));
	if (span_is(value, "1"))
		return 0;
	auto_buf struct buf file = { 0 };
	buf_printf(&file, "%s/sysctl", dir);
	buf_printf(&line, "%s=", name);
	(void)io_read_file(AT_FDCWD, buf_cstr(&file), &record, 65536, NULL); /* none yet */
	if (!span_has(buf_span(&record), buf_span(&line))) { /* what we found first is what was there before us */
		buf_printf(&record, "%s=%.*s\n", name, SPAN_ARG(value));
		rc = io_mkdirs(AT_FDCWD, dir, 0755, err);
		if (rc == 0)
			rc = io_write_file(AT_FDCWD, buf_cstr(&file), buf_span(&record), 0644, err);
		if (rc < 0)
			return rc;
	}
	auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) != 1)
		return err_sys(err, "turning on %s", name);
	return 0;
}

int proxy_forwarding_on(const char *data_dir, bool ipv6, struct err *err)
{
	auto_buf struct buf dir = { 0 };
	buf_printf(&dir, "%s/proxy", data_dir);
	int rc = sysctl_on(buf_cstr(&dir), "net/ipv4/ip_forward", err);
	if (rc == 0 && ipv6)
		rc = sysctl_on(buf_cstr(&dir), "net/ipv6/conf/all/forwarding", err);
	return rc;
}
