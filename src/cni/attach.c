/* The veth pair.
 *
 *     pod                                            host
 *     eth0  10.244.0.5/32                            kID-...  169.254.1.1/32 (scope link), fe80::1/64
 *     169.254.1.1 dev eth0, permanent neighbour      10.244.0.5 permanent neighbour
 *     default via 169.254.1.1                        10.244.0.5 dev kID-...
 *
 * Both ends know each other's hardware address for ever, so nobody is asked and proxy_arp stays off. The host's route has scope
 * universe: what the host itself sends to a pod then carries the node's address, not the link's.
 *
 * The host's end is opened first. The end that is opened second finds its peer up and is put to use by that call; the first
 * needs a worker of the kernel's (before Linux 6.8 without a way to hurry it), so it is waited for: a pod's first packet
 * must not be lost.
 *
 * Sockets of the host are open before the pod's namespace is entered, and the process never comes back: it ends. */
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cni/private.h"

#define READY_MS 1000

static const struct sys_prefix gateways[FAMILIES] = {
	[V4] = { { AF_INET, { 169, 254, 1, 1 } }, 32 },
	[V6] = { { AF_INET6, { 0xfe, 0x80, [15] = 1 } }, 64 },
};
static const uint8_t host_mac[6] = { 0xee, 0xee, 0xee, 0xee, 0xee, 0xee };

static int sysctl(struct cni_call *c, const char *family, const char *name, const char *key, const char *value)
{
	char path[128];
	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, name, key);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, value, strlen(value));
	if (n < 0)
		err_sys(&c->err, "writing %s to %s", value, path);
	if (fd >= 0)
		close(fd);
	return n < 0 ? cni_fail_with(c, CNI_IO) : 0;
}

/* The pod's namespace; the host's own is refused: what would happen there is nothing that DEL could take back. */
static int netns_open(struct cni_call *c)
{
	char *path = arena_cstr(&c->arena, c->netns);
	struct stat theirs, ours;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err_sys(&c->err, "opening network namespace %s", path);
		return cni_fail_with(c, errno == ENOENT ? CNI_UNKNOWN_CONTAINER : CNI_IO);
	}
	if (fstat(fd, &theirs) == 0 && stat("/proc/self/ns/net", &ours) == 0 && theirs.st_ino == ours.st_ino &&
	    theirs.st_dev == ours.st_dev) {
		close(fd);
		return cni_fail(c, CNI_ENVIRONMENT, "CNI_NETNS %s is the network namespace of the host itself", path);
	}
	return fd;
}

static int enter(struct cni_call *c, int ns, int *out_sock)
{
	if (setns(ns, CLONE_NEWNET) < 0) {
		err_sys(&c->err, "entering network namespace %.*s", SPAN_ARG(c->netns));
		return cni_fail_with(c, CNI_IO);
	}
	*out_sock = sys_nl_open(NETLINK_ROUTE, &c->err);
	return *out_sock < 0 ? cni_fail_with(c, CNI_IO) : 0;
}

static int host_side(struct cni_call *c, const struct cni_lease *l, const uint8_t pod_mac[6], int index)
{
	auto_nl_batch struct sys_nl_batch b = { 0 };
	/* What comes from the pod is forwarded whatever the host does elsewhere. 127.0.0.1 as a host port's address needs
	 * route_localnet on the way to the pod; what pods themselves send there is dropped by the guard of ports.c. */
	if (sysctl(c, "ipv4", l->host, "forwarding", "1") < 0 || sysctl(c, "ipv4", l->host, "route_localnet", "1") < 0)
		return -1;
	if (l->addr[V6].family && sysctl(c, "ipv6", l->host, "accept_ra", "0") < 0)
		return -1;
	sys_link_port_up_add(&b, l->host, 0);
	for (int v = V4; v < FAMILIES; v++) {
		const struct sys_addr *a = &l->addr[v];
		if (!a->family)
			continue;
		sys_address_link_add(&b, index, &gateways[v]);
		sys_neighbour_add(&b, index, a, pod_mac);
		sys_route_put(&b, &(struct sys_route){ .to = { *a, (uint8_t)(sys_addr_len(a) * 8) }, .index = index,
						       .protocol = RTPROT_BOOT, .scope = RT_SCOPE_UNIVERSE });
	}
	if (sys_nl_commit(c->route, &b, NULL, "setting up the host's end", &c->err) < 0)
		return cni_fail_with(c, CNI_IO);
	return 0;
}

static int pod_side(struct cni_call *c, const struct cni_lease *l, int sock)
{
	struct sys_link eth;
	char *name = arena_cstr(&c->arena, c->ifname);
	if (sys_link_get(sock, name, 0, &eth, &c->err) < 0)
		return cni_fail_with(c, CNI_IO);
	if (l->addr[V6].family && (sysctl(c, "ipv6", name, "disable_ipv6", "0") < 0 || sysctl(c, "ipv6", name, "accept_ra", "0") < 0))
		return -1;
	auto_nl_batch struct sys_nl_batch b = { 0 };
	sys_link_up_add(&b, 1, true); /* lo is always the first */
	if (l->addr[V6].family)
		sys_link_up_add(&b, eth.index, true);
	else
		sys_link_port_up_add(&b, name, 0); /* without an IPv6 address of the kernel's making */
	for (int v = V4; v < FAMILIES; v++) {
		const struct sys_addr *a = &l->addr[v];
		const struct sys_prefix *gw = &gateways[v];
		if (!a->family)
			continue;
		sys_address_add(&b, eth.index, &(struct sys_prefix){ *a, (uint8_t)(sys_addr_len(a) * 8) });
		sys_neighbour_add(&b, eth.index, &gw->addr, host_mac);
		if (v == V4)
			sys_route_put(&b, &(struct sys_route){ .to = { gw->addr, 32 }, .index = eth.index, .protocol = RTPROT_BOOT,
							       .scope = RT_SCOPE_LINK });
		sys_route_put(&b, &(struct sys_route){ .gateway = gw->addr, .index = eth.index, .protocol = RTPROT_BOOT,
						       .scope = RT_SCOPE_UNIVERSE });
	}
	if (sys_nl_commit(sock, &b, NULL, "setting up the pod's end", &c->err) < 0)
		return cni_fail_with(c, CNI_IO);
	FAILPOINT("cni.attach.inside");
	if (sys_link_ready(sock, eth.index, READY_MS, &c->err) < 0)
		return cni_fail_with(c, CNI_IO);
	return 0;
}

int cni_attach(struct cni_call *c, const struct cni_lease *l, struct cni_attached *out)
{
	auto_nl_batch struct sys_nl_batch b = { 0 };
	auto_fd int ns = netns_open(c), sock = -1;
	struct sys_link host;
	if (ns < 0 || cni_detach(c, l->host) < 0) /* what an ADD left that did not end */
		return -1;
	uint8_t pod_mac[6] = { 0x0a, 0x58 }; /* locally administered; the rest is the address, which is nobody else's */
	memcpy(pod_mac + 2, l->addr[V4].family ? l->addr[V4].b : l->addr[V6].b + 12, 4);
	struct sys_veth veth = { .name = l->host, .peer = arena_cstr(&c->arena, c->ifname), .netns_fd = ns, .mtu = c->mtu };
	memcpy(veth.mac, host_mac, 6);
	memcpy(veth.peer_mac, pod_mac, 6);
	sys_link_veth_add(&b, &veth);
	int rc = sys_nl_commit(c->route, &b, NULL, "making the pair of interfaces", &c->err);
	if (rc == -ERR_EXISTS)
		return cni_fail(c, CNI_THERE, "interface %s is in network namespace %.*s already", veth.peer, SPAN_ARG(c->netns));
	if (rc < 0)
		return cni_fail_with(c, CNI_IO);
	FAILPOINT("cni.attach.made");
	if (sys_link_get(c->route, l->host, 0, &host, &c->err) < 0)
		return cni_fail_with(c, CNI_IO);
	if (host_side(c, l, pod_mac, host.index) < 0)
		return -1;
	FAILPOINT("cni.attach.outside");
	if (enter(c, ns, &sock) < 0 || pod_side(c, l, sock) < 0)
		return -1;
	if (sys_link_ready(c->route, host.index, READY_MS, &c->err) < 0)
		return cni_fail_with(c, CNI_IO);
	memcpy(out->host_mac, host_mac, 6);
	memcpy(out->pod_mac, pod_mac, 6);
	return 0;
}

int cni_detach(struct cni_call *c, const char *host)
{
	static const int gone[] = { ENODEV, 0 };
	auto_nl_batch struct sys_nl_batch b = { 0 };
	auto_err struct err err = ERR_INIT;
	if (!host[0]) {
		/* No record: what stands in the pod's namespace under that name, if that still exists. */
		auto_fd int ns = c->netns.len ? open(arena_cstr(&c->arena, c->netns), O_RDONLY | O_CLOEXEC) : -1, sock = -1;
		struct stat theirs, ours;
		struct sys_link l;
		if (ns < 0 || fstat(ns, &theirs) < 0 || stat("/proc/self/ns/net", &ours) < 0 || theirs.st_ino == ours.st_ino ||
		    setns(ns, CLONE_NEWNET) < 0)
			return 0;
		sock = sys_nl_open(NETLINK_ROUTE, &err);
		if (sock < 0 || sys_link_get(sock, arena_cstr(&c->arena, c->ifname), 0, &l, &err) < 0 || strcmp(l.kind, "veth") != 0)
			return 0;
		sys_link_delete_add(&b, l.name);
		if (sys_nl_commit(sock, &b, gone, "removing the pod's interface", &c->err) < 0)
			return cni_fail_with(c, CNI_IO);
		return 0;
	}
	struct sys_link l;
	int errnum = 0, rc;
	if (FAILPOINT_ERR("cni.detach.look", &errnum))
		rc = err_sys_num(&err, errnum, "interface %s", host);
	else
		rc = sys_link_get(c->route, host, 0, &l, &err);
	if (rc == -ERR_NOT_FOUND)
		return 0;
	/* What could not be asked about may be there, and its address is not to be given again. */
	if (rc < 0) {
		if (c->code != CNI_OK)
			return 0;
		err_move(&c->err, &err);
		return cni_fail_with(c, CNI_IO);
	}
	sys_link_delete_add(&b, host);
	if (sys_nl_commit(c->route, &b, gone, "removing the pair of interfaces", &err) < 0 && c->code == CNI_OK) {
		err_move(&c->err, &err);
		return cni_fail_with(c, CNI_IO);
	}
	return 0;
}

/* ---- CHECK */

struct look {
	const struct cni_lease *l;
	int index;
	unsigned addresses, defaults, back;
};

static int on_address(void *arg, const struct sys_prefix *p, int index)
{
	struct look *k = arg;
	for (int v = V4; v < FAMILIES; v++)
		k->addresses += index == k->index && sys_addr_eq(&p->addr, &k->l->addr[v]);
	return 0;
}

static int on_route_in(void *arg, const struct sys_route *r)
{
	struct look *k = arg;
	if (r->index == k->index && r->to.bits == 0)
		for (int v = V4; v < FAMILIES; v++)
			k->defaults += k->l->addr[v].family && sys_addr_eq(&r->gateway, &gateways[v].addr);
	return 0;
}

static int on_route_out(void *arg, const struct sys_route *r)
{
	struct look *k = arg;
	for (int v = V4; v < FAMILIES; v++)
		k->back += r->index == k->index && k->l->addr[v].family && sys_addr_eq(&r->to.addr, &k->l->addr[v]) &&
			   r->to.bits == sys_addr_len(&r->to.addr) * 8;
	return 0;
}

int cni_check(struct cni_call *c, const struct cni_lease *l)
{
	auto_fd int ns = netns_open(c), sock = -1;
	struct sys_link host, eth;
	struct look out = { .l = l }, in = { .l = l };
	unsigned want = 0;
	if (ns < 0)
		return -1;
	if (sys_link_get(c->route, l->host, 0, &host, &c->err) < 0)
		return cni_fail(c, CNI_DIFFERENT, "the host's interface %s is gone", l->host);
	if (!(host.flags & IFF_UP))
		return cni_fail(c, CNI_DIFFERENT, "the host's interface %s is down", l->host);
	out.index = host.index;
	for (int v = V4; v < FAMILIES; v++) {
		if (!l->addr[v].family)
			continue;
		want++;
		if (sys_route_list(c->route, l->addr[v].family, on_route_out, &out, &c->err) < 0)
			return cni_fail_with(c, CNI_IO);
	}
	if (out.back != want)
		return cni_fail(c, CNI_DIFFERENT, "the host's route to the pod is gone");
	if (enter(c, ns, &sock) < 0)
		return -1;
	if (sys_link_get(sock, arena_cstr(&c->arena, c->ifname), 0, &eth, &c->err) < 0)
		return cni_fail(c, CNI_DIFFERENT, "the pod's interface %.*s is gone", SPAN_ARG(c->ifname));
	if (!(eth.flags & IFF_UP) || eth.peer != host.index)
		return cni_fail(c, CNI_DIFFERENT, "the pod's interface %s is %s", eth.name, eth.flags & IFF_UP ? "another one" : "down");
	in.index = eth.index;
	if (sys_address_each(sock, on_address, &in, &c->err) < 0 ||
	    (l->addr[V4].family && sys_route_list(sock, AF_INET, on_route_in, &in, &c->err) < 0) ||
	    (l->addr[V6].family && sys_route_list(sock, AF_INET6, on_route_in, &in, &c->err) < 0))
		return cni_fail_with(c, CNI_IO);
	if (in.addresses != want)
		return cni_fail(c, CNI_DIFFERENT, "the pod's interface %s does not have its address", eth.name);
	if (in.defaults != want)
		return cni_fail(c, CNI_DIFFERENT, "the pod's default route is gone");
	return 0;
}

/* ---- GC */

struct sweep {
	struct cni_call *c;
	char (*names)[IFNAMSIZ];
	size_t n, cap;
};

static int on_link(void *arg, const struct sys_link *l)
{
	struct sweep *s = arg;
	if (strncmp(l->name, s->c->prefix, strlen(s->c->prefix)) != 0 || strcmp(l->kind, "veth") != 0)
		return 0;
	MEM_GROW(s->names, s->n, s->cap);
	memcpy(s->names[s->n++], l->name, IFNAMSIZ);
	return 0;
}

static int on_named(void *arg, struct span container, struct span ifname, const struct cni_lease *one)
{
	struct sweep *s = arg;
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->names[i], one->host) == 0)
			s->names[i][0] = 0;
	return 0;
}

/* Interfaces are listed before leases: an ADD that is under way has its lease before its interface. */
int cni_sweep(struct cni_call *c)
{
	struct sweep s = { .c = c };
	int rc = sys_link_each(c->route, on_link, &s, &c->err) < 0 ? cni_fail_with(c, CNI_IO) : cni_lease_each(c, on_named, &s);
	for (size_t i = 0; rc == 0 && i < s.n; i++)
		if (s.names[i][0])
			rc = cni_detach(c, s.names[i]);
	free(s.names);
	return rc;
}
