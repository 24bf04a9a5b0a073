/* A network namespace for a whole cluster, and the cable to it. Everything is named by the cluster's ID, so what is there already
 * is
 * recognized and used; a half-made cable is finished by the next call.
 *
 *        host ── kh-ID  198.19.x.1/30 ═══ veth ═══ 198.19.x.2/30  eth0 ── namespace, pinned at `pin`
 *
 * 198.19.0.0/16 is the upper half of the range for benchmarks between networks (RFC 2544, RFC 6890), which nobody routes. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include "network/private.h"

#define RANGE 0xc6130000u /* 198.19.0.0/16 */
#define SLOTS 16384u	  /* of four addresses */
#define TRIES 256

struct taken {
	struct sys_prefix slot;
	int own_index; /* an interface that may have it */
	bool found;
};

static int on_address(void *arg, const struct sys_prefix *p, int index)
{
	struct taken *t = arg;
	t->found |= index != t->own_index && sys_prefix_overlaps(p, &t->slot);
	return 0;
}

/* A default route overlaps everything and says nothing. */
static int on_route(void *arg, const struct sys_prefix *to, int index)
{
	struct taken *t = arg;
	t->found |= to->bits && index != t->own_index && sys_prefix_overlaps(to, &t->slot);
	return 0;
}

static struct sys_prefix slot_at(uint32_t n, uint32_t host)
{
	struct sys_prefix p = { .addr.family = AF_INET, .bits = 30 };
	uint32_t at = htonl(RANGE + (n % SLOTS) * 4 + host);
	memcpy(p.addr.b, &at, 4);
	return p;
}

static int slot_find(int route, const char *name, uint32_t seed, uint32_t *out, struct err *err)
{
	struct sys_link l = {};
	int own = sys_link_get(route, name, 0, &l, NULL) == 0 ? l.index : -1;
	for (uint32_t i = 0; i < TRIES; i++) {
		struct taken t = { .slot = slot_at(seed + i, 0), .own_index = own };
		int rc = sys_address_each(route, on_address, &t, err);
		if (rc == 0)
			rc = sys_route_each(route, AF_INET, on_route, &t, err);
		if (rc < 0)
			return rc;
		if (!t.found) {
			*out = (seed + i) % SLOTS;
			return 0;
		}
	}
	return err_set(err, ERR_UNAVAILABLE, "no four addresses of 198.19.0.0/16 are free for a cluster's cable");
}

static uint32_t seed_of(const char *id)
{
	uint64_t v = 0;
	(void)span_to_u64_base(span_of(id), 16, &v);
	return (uint32_t)(v % SLOTS);
}

void network_cable_name(const struct network_cable *c, char out[16])
{
	snprintf(out, IFNAMSIZ, "kh-%s", c->id);
}

/* The namespace as it is pinned; -1 when there is none (a file left over from before the machine's restart is none). */
static int pin_open(const char *pin)
{
	auto_fd int fd = open(pin, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct statfs fs;
	return fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == NSFS_MAGIC ? take_fd(&fd) : -1;
}

/* The calling thread is inside it afterwards. */
static int pin_make(const char *pin, struct err *err)
{
	auto_fd int file = open(pin, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0444);
	if (file < 0)
		return err_sys(err, "%s", pin);
	if (unshare(CLONE_NEWNET) < 0)
		return err_sys(err, "making a network namespace");
	return mount("/proc/thread-self/ns/net", pin, NULL, MS_BIND, NULL) < 0 ? err_sys(err, "pinning a network namespace at %s", pin)
		: 0;
}

int network_cable_table(int filter, const char *id, const struct sys_prefix *all, struct err *err)
{
	struct sys_nft nft;
	network_nft_init(&nft, filter, id);
	network_nft_table_add(&nft);
	network_nft_subnet(&nft, true, all);
	int rc = sys_nft_commit(&nft, "masquerading a cluster", err);
	sys_nft_done(&nft);
	return rc;
}

/* The host's half, in the host's namespace: cable, address, forwarding, masquerading. */
static int host_side(const struct network_cable *c, int route, int inside, uint32_t slot, struct err *err)
{
	static const int there[] = { EEXIST, 0 };
	auto_nl_batch struct sys_nl_batch b = { 0 };
	struct sys_link l;
	char name[IFNAMSIZ];
	network_cable_name(c, name);
	if (sys_link_get(route, name, 0, &l, NULL) < 0) {
		struct sys_veth v = { .name = name, .peer = "eth0", .netns_fd = inside, .mtu = 1500, .peer_mac = { 0x02, 0x42 } };
		rng_secret(v.peer_mac + 2, 4);
		sys_link_veth_add(&b, &v);
		int rc = sys_nl_commit(route, &b, NULL, "making a cluster's cable", err);
		if (rc == 0)
			rc = sys_link_get(route, name, 0, &l, err);
		if (rc < 0)
			return rc;
	}
	const struct sys_prefix at = slot_at(slot, 1), all = slot_at(slot, 0);
	sys_address_add(&b, l.index, &at);
	sys_link_up_add(&b, l.index, true);
	int rc = sys_nl_commit(route, &b, there, "the host's end of a cluster's cable", err);
	if (rc == 0)
		rc = network_sysctl("net/ipv4/ip_forward", "1", err);
	if (rc < 0)
		return rc;
	auto_fd int filter = sys_nl_open(NETLINK_NETFILTER, err);
	if (filter < 0)
		return -(int)(err ? err->class : ERR_IO);
	return network_cable_table(filter, c->id, &all, err);
}

/* Inside: loopback, address, the way out. */
static int inner_side(uint32_t slot, struct err *err)
{
	static const int there[] = { EEXIST, 0 };
	auto_nl_batch struct sys_nl_batch b = { 0 };
	struct sys_link lo, eth;
	auto_fd int route = sys_nl_open(NETLINK_ROUTE, err);
	if (route < 0)
		return -(int)(err ? err->class : ERR_IO);
	int rc = sys_link_get(route, "lo", 0, &lo, err);
	if (rc == 0)
		rc = sys_link_get(route, "eth0", 0, &eth, err);
	if (rc < 0)
		return rc;
	const struct sys_prefix at = slot_at(slot, 2), gateway = slot_at(slot, 1);
	sys_link_up_add(&b, lo.index, true);
	sys_address_add(&b, eth.index, &at);
	sys_link_up_add(&b, eth.index, true);
	sys_route_add(&b, AF_INET, NULL, &gateway.addr, eth.index);
	return sys_nl_commit(route, &b, there, "a cluster's end of its cable", err);
}

int network_cable_enter(const struct network_cable *c, char out_address[INET_ADDRSTRLEN], struct err *err)
{
	uint32_t slot = seed_of(c->id);
	char name[IFNAMSIZ], text[SYS_ADDR_TEXT];
	struct in_addr had;
	network_cable_name(c, name);
	auto_fd int route = sys_nl_open(NETLINK_ROUTE, err), host = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (route < 0)
		return -(int)(err ? err->class : ERR_IO);
	if (host < 0)
		return err_sys(err, "the host's network namespace");
	/* It keeps the address of the last time: certificates and configurations name it. */
	bool kept = c->address && inet_pton(AF_INET, c->address, &had) == 1 && (ntohl(had.s_addr) & 0xffff0003u) == (RANGE | 2);
	int rc = slot_find(route, name, kept ? (ntohl(had.s_addr) - RANGE) / 4 : slot, &slot, err);
	if (rc < 0)
		return rc;
	auto_fd int inside = pin_open(c->pin);
	if (inside < 0) {
		rc = pin_make(c->pin, err);
		if (setns(host, CLONE_NEWNET) < 0)
			return err_sys(err, "leaving a network namespace");
		inside = rc < 0 ? -1 : pin_open(c->pin);
		if (inside < 0)
			return rc < 0 ? rc : err_set(err, ERR_IO, "%s: the network namespace is gone", c->pin);
		/* A cable that led to a namespace that is gone is gone with it, at the kernel's leisure. */
		auto_nl_batch struct sys_nl_batch b = { 0 };
		static const int none[] = { ENODEV, 0 };
		sys_link_delete_add(&b, name);
		(void)sys_nl_commit(route, &b, none, "removing a former cable", NULL);
	}
	rc = host_side(c, route, inside, slot, err);
	if (rc < 0)
		return rc;
	if (setns(inside, CLONE_NEWNET) < 0)
		return err_sys(err, "entering the cluster's network namespace");
	rc = inner_side(slot, err);
	if (rc < 0)
		return rc;
	const struct sys_prefix at = slot_at(slot, 2);
	snprintf(out_address, INET_ADDRSTRLEN, "%s", sys_addr_text(&at.addr, text));
	return 0;
}

int network_cable_join(const char *pin, struct err *err)
{
	auto_fd int inside = pin_open(pin);
	if (inside < 0)
		return err_set(err, ERR_NOT_FOUND, "%s: there is no network namespace", pin);
	return setns(inside, CLONE_NEWNET) < 0 ? err_sys(err, "entering the network namespace at %s", pin) : 0;
}

int network_cable_remove(const struct network_cable *c, struct err *err)
{
	static const int none[] = { ENODEV, ENOENT, 0 };
	auto_nl_batch struct sys_nl_batch b = { 0 };
	char name[IFNAMSIZ];
	network_cable_name(c, name);
	auto_fd int route = sys_nl_open(NETLINK_ROUTE, err), filter = route < 0 ? -1 : sys_nl_open(NETLINK_NETFILTER, err);
	if (route < 0 || filter < 0)
		return -(int)(err ? err->class : ERR_IO);
	network_passage_clear(c);
	sys_link_delete_add(&b, name);
	int rc = sys_nl_commit(route, &b, none, "removing a cluster's cable", err);
	if (rc < 0)
		return rc;
	struct sys_nft nft;
	network_nft_init(&nft, filter, c->id);
	sys_nft_table_delete_add(&nft);
	rc = sys_nft_commit(&nft, "removing a cluster's masquerading", err);
	sys_nft_done(&nft);
	/* Detached, for somebody may look at it this moment; the namespace goes with its last user. */
	while (umount2(c->pin, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (unlink(c->pin) < 0 && errno != ENOENT && rc == 0)
		rc = err_sys(err, "%s", c->pin);
	return rc;
}
