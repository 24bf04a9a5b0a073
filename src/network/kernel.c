/* What a network is in the kernel: a bridge with the gateway's addresses, and elements of the nft sets. */
#include <net/if.h>

#include "network/private.h"

void network_alias(const struct network_engine *e, const struct network *n, char out[96])
{
	snprintf(out, 96, "knarr:%s:%s", e->id, n->id);
}

int network_forward_v6(struct network_engine *e, struct err *err)
{
	if (e->forward6 || !e->set.ip_forward)
		return 0;
	int rc = network_sysctl("net/ipv6/conf/default/forwarding", "1", err);
	if (rc == 0)
		rc = network_sysctl("net/ipv6/conf/all/forwarding", "1", err);
	e->forward6 = rc == 0;
	return rc;
}

static int bridge_sysctls(const struct network *n, struct err *err)
{
	char name[96];
	/* Router advertisements of containers must not change the host's routes. A kernel without IPv6 has no such file. */
	snprintf(name, sizeof(name), "net/ipv6/conf/%s/accept_ra", n->bridge);
	auto_err struct err why = ERR_INIT;
	if (network_sysctl(name, "0", &why) < 0 && (n->pool[V6].subnet.addr.family || why.errnum != ENOENT))
		return err ? err_move(err, &why) : -(int)why.class;
	return 0;
}

int network_kernel_make(struct network_engine *e, struct network *n, struct err *err)
{
	struct sys_link l;
	char alias[96];
	if (n->driver != NETWORK_BRIDGE)
		return 0;
	network_alias(e, n, alias);
	auto_err struct err why = ERR_INIT;
	int rc = sys_link_get(e->route, n->bridge, 0, &l, &why);
	if (rc < 0 && rc != -ERR_NOT_FOUND)
		return err ? err_move(err, &why) : rc;
	if (rc == 0 && (strcmp(l.alias, alias) != 0 || strcmp(l.kind, "bridge") != 0))
		return err_set(err, ERR_FORBIDDEN, "interface %s is there already and not of this network; Knarr leaves it alone",
			n->bridge);
	bool fresh = rc == -ERR_NOT_FOUND;
	auto_nl_batch struct sys_nl_batch b = { 0 };
	if (fresh) {
		uint8_t mac[6] = { 0x02, 0x42 };
		rng_secret(mac + 2, 4);
		/* Two messages, for the alias is not taken at birth; should we die between them, the name tells whose it is. */
		sys_link_bridge_add(&b, n->bridge, mac, n->mtu);
		sys_link_alias_add(&b, n->bridge, alias);
		if ((rc = sys_nl_commit(e->route, &b, NULL, "making a bridge", err)) < 0 ||
		    (rc = sys_link_get(e->route, n->bridge, 0, &l, err)) < 0)
			goto undo;
		FAILPOINT("network.bridge.made");
	}
	n->ifindex = l.index;
	if ((rc = bridge_sysctls(n, err)) < 0)
		goto undo;
	for (int v = V4; v <= V6; v++)
		if (n->pool[v].gateway.family && n->mode[v] != NETWORK_ISOLATED) {
			struct sys_prefix p = { n->pool[v].gateway, n->pool[v].subnet.bits };
			sys_address_add(&b, l.index, &p);
		}
	/* No link-local address of the kernel's making: it would be tentative for a second or two, and the neighbours of forwarded
	 * packets are asked with that address (RFC 4861 section 7.2.2). fe80::1 on every bridge, as Docker has it. */
	if (n->pool[V6].subnet.addr.family) {
		static const struct sys_prefix link_local = { { AF_INET6, { 0xfe, 0x80, [15] = 1 } }, 64 };
		sys_address_add(&b, l.index, &link_local);
	}
	sys_link_port_up_add(&b, n->bridge, 0);
	if ((rc = sys_nl_commit(e->route, &b, NULL, "giving a bridge its addresses", err)) < 0)
		goto undo;
	if (n->pool[V6].subnet.addr.family && (rc = network_forward_v6(e, err)) < 0)
		goto undo;
	if (fresh) {
		network_kernel_elements(e, n, true);
		if ((rc = network_nft_apply(e, "letting a bridge's traffic pass", err)) < 0)
			goto undo;
	}
	return 0;
undo:
	if (fresh) {
		sys_link_delete_add(&b, n->bridge);
		(void)sys_nl_commit(e->route, &b, NULL, "removing a bridge", NULL); /* the first failure is the one to tell */
	}
	return rc;
}

void network_kernel_elements(struct network_engine *e, const struct network *n, bool add)
{
	if (n->driver != NETWORK_BRIDGE)
		return;
	bool open = n->mode[V4] == NETWORK_NAT_UNPROTECTED && !n->internal;
	if (!open)
		network_nft_interface(&e->nft, NETWORK_NFT_BRIDGES, add, n->bridge);
	if (n->icc)
		network_nft_pair(&e->nft, add, n->bridge);
	else if (e->set.userland_proxy)
		network_nft_interface(&e->nft, NETWORK_NFT_QUIET, add, n->bridge);
	if (n->internal)
		network_nft_interface(&e->nft, NETWORK_NFT_INTERNAL, add, n->bridge);
	for (int v = V4; v <= V6; v++) {
		const struct sys_prefix *p = &n->pool[v].subnet;
		if (!p->addr.family)
			continue;
		network_nft_behind(&e->nft, add, n->bridge, p);
		if (n->masquerade && !n->internal && (n->mode[v] == NETWORK_NAT || n->mode[v] == NETWORK_NAT_UNPROTECTED))
			network_nft_subnet(&e->nft, add, p);
	}
}

int network_kernel_remove(struct network_engine *e, struct network *n, struct err *err)
{
	if (n->driver != NETWORK_BRIDGE)
		return 0;
	static const int gone[] = { ENODEV, 0 };
	char alias[96];
	struct sys_link l;
	network_alias(e, n, alias);
	network_kernel_elements(e, n, false);
	int rc = network_nft_apply(e, "removing a bridge's elements", err), got = sys_link_get(e->route, n->bridge, 0, &l,
		NULL);
	if (got < 0 || strcmp(l.alias, alias) != 0)
		return rc;
	auto_nl_batch struct sys_nl_batch b = { 0 };
	sys_link_delete_add(&b, n->bridge);
	int late = sys_nl_commit(e->route, &b, gone, "removing a bridge", rc < 0 ? NULL : err);
	return rc < 0 ? rc : late;
}

/* ---- interfaces that go
 *
 * Deleting a link waits for every reader of the kernel's network tables: 10 ms and more, in the caller's thread. A namespace
 * takes its interfaces with it, a veth's other end too, and a worker of the kernel's does the waiting. So a container's port
 * is stopped, which is immediate, and its namespace let go. Should a process live on in there, the pair would stay: the reaper
 * looks once, a second later. */

#define REAP_AFTER_MS 1000

struct leaving {
	struct list link;
	char name[16];
	int64_t due_ms;
};

static void reap(struct loop_timer *t)
{
	static const int gone[] = { ENODEV, 0 };
	struct network_engine *e = container_of(t, struct network_engine, reaper);
	auto_nl_batch struct sys_nl_batch b = { 0 };
	auto_err struct err err = ERR_INIT;
	int64_t now = loop_now_ms(e->opts.loop);
	LIST_EACH(&e->doomed, l, struct leaving, link) {
		if (l->due_ms > now) {
			loop_timer_start(t, l->due_ms - now);
			break;
		}
		sys_link_delete_add(&b, l->name);
		list_remove(&l->link);
		free(l);
	}
	if (b.n && sys_nl_commit(e->route, &b, gone, "removing interfaces", &err) < 0)
		network_note(e, "%s", err_msg(&err));
}

void network_reaper_init(struct network_engine *e)
{
	list_init(&e->doomed);
	loop_timer_init(&e->reaper, e->opts.loop, "interfaces that go", reap);
	e->reaper.background = true;
}

void network_reaper_done(struct network_engine *e)
{
	loop_timer_stop(&e->reaper);
	LIST_EACH(&e->doomed, l, struct leaving, link) {
		list_remove(&l->link);
		free(l); /* what is still there then is swept by the next open */
	}
}

void network_links_leave(struct network_sandbox *box)
{
	/* ENODEV: the namespace went before us. EINVAL: somebody took the port out of the bridge. */
	static const int gone[] = { ENODEV, EINVAL, 0 };
	struct network_engine *e = box->engine;
	auto_nl_batch struct sys_nl_batch b = { 0 };
	auto_err struct err err = ERR_INIT;
	LIST_EACH(&box->endpoints, ep, struct network_endpoint, of_sandbox) {
		if (!ep->outside[0])
			continue;
		struct leaving *l = mem_new(struct leaving);
		memcpy(l->name, ep->outside, sizeof(l->name));
		l->due_ms = loop_now_ms(e->opts.loop) + REAP_AFTER_MS;
		list_push(&e->doomed, &l->link);
		if (ep->outside_index)
			sys_link_port_stop_add(&b, ep->outside_index);
	}
	if (b.n && sys_nl_commit(e->route, &b, gone, "stopping interfaces", &err) < 0)
		network_note(e, "container %.12s: %s", box->id, err_msg(&err));
	if (!list_empty(&e->doomed) && !loop_timer_running(&e->reaper))
		loop_timer_start(&e->reaper, REAP_AFTER_MS);
}

struct doomed {
	const struct network_engine *e;
	struct sys_nl_batch batch;
	unsigned n;
};

static bool wanted(const struct network_engine *e, const struct sys_link *l)
{
	LIST_EACH(&e->networks, n, struct network, link)
		if (n->driver == NETWORK_BRIDGE && strcmp(n->bridge, l->name) == 0)
			return true;
	MAP_EACH(&e->sandboxes, slot) {
		const struct network_sandbox *box = slot->value;
		LIST_EACH(&box->endpoints, ep, struct network_endpoint, of_sandbox)
			if (strcmp(ep->outside, l->name) == 0)
				return true;
	}
	return false;
}

static int on_link(void *arg, const struct sys_link *l)
{
	struct doomed *d = arg;
	char port[16], bridge[16], alias[32];
	snprintf(port, sizeof(port), "v%s-", d->e->id);
	snprintf(bridge, sizeof(bridge), "br%s-", d->e->id);
	snprintf(alias, sizeof(alias), "knarr:%s:", d->e->id);
	bool ours = (strcmp(l->kind, "veth") == 0 && strncmp(l->name, port, strlen(port)) == 0) ||
		    (strcmp(l->kind, "bridge") == 0 &&
		     (strncmp(l->name, bridge, strlen(bridge)) == 0 || strncmp(l->alias, alias, strlen(alias)) == 0));
	if (ours && !wanted(d->e, l)) {
		sys_link_delete_add(&d->batch, l->name);
		d->n++;
	}
	return 0;
}

int network_links_sweep(struct network_engine *e, struct err *err)
{
	static const int gone[] = { ENODEV, 0 };
	struct doomed d = { .e = e };
	int rc = sys_link_each(e->route, on_link, &d, err);
	if (rc == 0 && d.n)
		rc = sys_nl_commit(e->route, &d.batch, gone, "removing interfaces that nobody has", err);
	sys_nl_batch_done(&d.batch);
	return rc;
}
