/* Taking it all back, for `knarr reset` and `knarr proxy --cleanup`: tables, interfaces of pods, routes, forwarding. What is not
 * there is no failure: this may be the second time, or there never was a proxy. */
#include <fcntl.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <unistd.h>

#include "proxy/nodes.h"
#include "proxy/proxy.h"
#include "sys/link.h"
#include "sys/nft.h"

static int tables_remove(const char *id, struct err *err)
{
	static const char *const names[] = { "proxy", "cni" };
	auto_fd int sock = sys_nl_open(NETLINK_NETFILTER, err);
	int rc = sock < 0 ? sock : 0;
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(names); i++) {
		struct sys_nft n;
		char table[32];
		snprintf(table, sizeof(table), "knarr_%s_%.8s", names[i], id);
		sys_nft_init(&n, sock, NFPROTO_INET, table);
		sys_nft_table_delete_add(&n);
		rc = sys_nft_commit(&n, "removing a table", err);
		sys_nft_done(&n);
	}
	return rc;
}

struct found {
	char prefix[16];
	struct sys_nl_batch batch;
	const struct sys_prefix *pods;
	unsigned n_pods;
};

static int on_link(void *arg, const struct sys_link *l)
{
	struct found *f = arg;
	if (strncmp(l->name, f->prefix, strlen(f->prefix)) == 0 && strcmp(l->kind, "veth") == 0)
		sys_link_delete_add(&f->batch, l->name);
	return 0;
}

static int on_route(void *arg, const struct sys_route *r)
{
	struct found *f = arg;
	bool ours = !f->n_pods;
	for (unsigned i = 0; i < f->n_pods; i++)
		ours |= sys_prefix_has(&f->pods[i], &r->to.addr) && r->to.bits >= f->pods[i].bits;
	if (r->protocol == PROXY_ROUTE_PROTOCOL && ours)
		sys_route_delete_add(&f->batch, r);
	return 0;
}

static int links_remove(const char *id, const struct sys_prefix *pods, unsigned n_pods, struct err *err)
{
	static const int gone[] = { ENODEV, ESRCH, ENOENT, 0 };
	struct found f = { .pods = pods, .n_pods = n_pods };
	auto_fd int sock = sys_nl_open(NETLINK_ROUTE, err);
	snprintf(f.prefix, sizeof(f.prefix), "k%.8s-", id);
	int rc = sock < 0 ? sock : sys_link_each(sock, on_link, &f, err);
	if (rc == 0)
		rc = sys_route_list(sock, AF_INET, on_route, &f, err);
	if (rc == 0)
		rc = sys_route_list(sock, AF_INET6, on_route, &f, err);
	if (rc == 0 && f.batch.n)
		rc = sys_nl_commit(sock, &f.batch, gone, "removing pods' interfaces and routes", err);
	sys_nl_batch_done(&f.batch);
	return rc;
}

/* Whoever else forwards here found forwarding on, perhaps by our doing, and needs it: bridges of container engines and virtual
 * machines, tunnels, cables of other clusters. */
static int on_forwarder(void *arg, const struct sys_link *l)
{
	char *name = arg;
	bool tunnel = strcmp(l->kind, "bridge") == 0 || strcmp(l->kind, "wireguard") == 0 || strcmp(l->kind, "tun") == 0;
	if (!name[0] && (tunnel || strncmp(l->name, "kh-", 3) == 0))
		memcpy(name, l->name, IFNAMSIZ);
	return 0;
}

/* Each line "net/...=value": only below net/, and only digits, whoever wrote the file. */
static int forwarding_back(const char *data_dir, struct err *err)
{
	auto_buf struct buf path = { 0 }, text = { 0 };
	buf_printf(&path, "%s/proxy/sysctl", data_dir);
	auto_err struct err why = ERR_INIT;
	int rc = io_read_file(AT_FDCWD, buf_cstr(&path), &text, 65536, &why);
	if (rc < 0)
		return rc == -ERR_NOT_FOUND ? 0 : err ? err_move(err, &why) : rc;
	char other[IFNAMSIZ] = "";
	auto_fd int sock = sys_nl_open(NETLINK_ROUTE, err);
	rc = sock < 0 ? sock : sys_link_each(sock, on_forwarder, other, err);
	if (rc < 0)
		return rc;
	if (other[0]) {
		printf("Forwarding stays on: interface %s is there, and whoever it belongs to may need it.\n", other);
		return 0;
	}
	struct span rest = buf_span(&text), line, name, value;
	while (span_cut(&rest, '\n', &line)) {
		char file[160];
		uint64_t number;
		if (!span_split(line, '=', &name, &value) || !span_starts(name, SPAN("net/")) || span_has(name, SPAN("..")) ||
		    name.len > 100 || !span_to_u64(value, &number))
			continue;
		snprintf(file, sizeof(file), "/proc/sys/%.*s", SPAN_ARG(name));
		auto_fd int fd = open(file, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, value.ptr, value.len) < 0)
			rc = err_sys(err, "writing %s back", file);
	}
	if (rc == 0 && unlink(buf_cstr(&path)) < 0)
		rc = err_sys(err, "removing %s", buf_cstr(&path));
	return rc;
}

int proxy_cleanup(const char *data_dir, const char *id, const struct sys_prefix *pods, unsigned n_pods, struct err *err)
{
	auto_err struct err later = ERR_INIT;
	int rc = tables_remove(id, err), next = links_remove(id, pods, n_pods, rc < 0 ? &later : err);
	rc = rc < 0 ? rc : next;
	err_done(&later);
	next = forwarding_back(data_dir, rc < 0 ? &later : err);
	return rc < 0 ? rc : next;
}
