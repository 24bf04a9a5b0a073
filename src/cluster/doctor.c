/* `knarr doctor`: a row for everything that a cluster needs of a machine. Nothing is changed by looking: what can only be found
 * out by
 * trying is tried in a child that goes away with it. */
#include "cluster/private.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "network/network.h"
#include "sys/addr.h"
#include "sys/link.h"
#include "sys/netlink.h"
#include "sys/sys.h"

enum verdict { WELL, NOTE, OBSTACLE };
#define NOTHING_TO_DO "nothing to do" /* how a remedy begins that `up` keeps to itself */

struct patient {
	const struct cluster_layout *l;
	const struct cluster_settings *s;
	bool running;
	struct buf what;   /* what was found */
	struct buf remedy;
};

static bool file_has(const char *path, const char *word)
{
	auto_buf struct buf text = {};
	struct span rest, line, head, name;
	if (sys_file_read(AT_FDCWD, path, &text, 1 << 20) < 0)
		return false;
	rest = buf_span(&text);
	while (span_cut(&rest, '\n', &line)) {
		while (span_split(line, '\t', &head, &name))
			line = name;
		if (span_is(span_trim(line), word))
			return true;
	}
	return false;
}

static bool file_int(const char *path, int64_t *out)
{
	auto_buf struct buf text = {};
	return sys_file_read(AT_FDCWD, path, &text, 4096) == 0 && span_to_i64(span_trim(buf_span(&text)), out);
}

/* ---- the rows' looks: what goes with WELL is shown by `doctor` alone */

static enum verdict look_root(struct patient *p)
{
	if (geteuid() == 0) {
		buf_str(&p->what, "root");
		return WELL;
	}
	buf_printf(&p->what, "user %u is not root", geteuid());
	buf_str(&p->remedy, "sudo knarr up");
	return OBSTACLE;
}

static enum verdict look_kernel(struct patient *p)
{
	struct utsname u;
	if (uname(&u) < 0)
		return WELL;
	char *rest;
	unsigned long major = strtoul(u.release, &rest, 10);
	unsigned long minor = *rest == '.' ? strtoul(rest + 1, NULL, 10) : 0;
	buf_printf(&p->what, "Linux %s", u.release);
	if (major > 5 || (major == 5 && minor >= 10))
		return WELL;
	buf_str(&p->remedy, "5.10 or newer is needed (Debian 11 has it)");
	return OBSTACLE;
}

/* Tried in a child: a namespace that nobody enters leaves nothing. */
static enum verdict look_namespaces(struct patient *p)
{
	int status = 0;
	pid_t pid = fork();
	if (pid == 0)
		_exit(unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS) == 0 ? 0 : errno);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return WELL;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		buf_str(&p->what, "network, mount, PID, IPC and UTS namespaces can be made");
		return WELL;
	}
	buf_printf(&p->what, "no namespaces: %s", WIFEXITED(status) ? err_why(WEXITSTATUS(status)) : "killed");
	buf_str(&p->remedy,
		"inside a container: give it all rights (docker run --privileged); else a kernel with CONFIG_NAMESPACES, CONFIG_NET_NS, "
			    "CONFIG_PID_NS");
	return OBSTACLE;
}

static enum verdict look_cgroups(struct patient *p)
{
	static const char *const v1[] = { "memory", "cpu", "pids", "freezer" };
	auto_buf struct buf text = {};
	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0) {
		if (sys_file_read(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", &text, 4096) == 0 && span_has(buf_span(&text),
			SPAN("memory")) &&
		    span_has(buf_span(&text), SPAN("cpu")) && span_has(buf_span(&text), SPAN("pids"))) {
			buf_str(&p->what, "control groups, version 2");
			return WELL;
		}
		buf_str(&p->what, "control groups of version 2 lack memory, cpu or pids");
		buf_str(&p->remedy, "kernel command line: cgroup_enable=memory; inside a container: delegate the controllers to it");
		return OBSTACLE;
	}
	for (size_t i = 0; i < ARRAY_LEN(v1); i++) {
		char path[64];
		snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/cgroup.procs", v1[i]);
		if (access(path, W_OK) < 0) {
			buf_printf(&p->what, "the control group controller %s is not mounted below /sys/fs/cgroup", v1[i]);
			buf_str(&p->remedy, "mount it (mount -t cgroup -o NAME cgroup /sys/fs/cgroup/NAME), or boot with systemd");
			return OBSTACLE;
		}
	}
	buf_str(&p->what, "control groups, version 1");
	return WELL;
}

bool cluster_module_at_hand(const char *root, const char *release, const char *name)
{
	auto_buf struct buf path = {}, text = {}, file = {};
	buf_printf(&path, "%s/lib/modules/%s/modules.dep", root, release);
	buf_printf(&file, "/%s.ko", name);
	return sys_file_read(AT_FDCWD, buf_cstr(&path), &text, 4 << 20) == 0 && span_has(buf_span(&text), buf_span(&file));
}

static enum verdict look_overlay(struct patient *p)
{
	struct utsname u;
	/* A module comes with the first mount that asks for it. */
	if (file_has("/proc/filesystems", "overlay") || (uname(&u) == 0 && cluster_module_at_hand("", u.release, "overlay"))) {
		buf_str(&p->what, "overlayfs");
		return WELL;
	}
	buf_str(&p->what, "overlayfs is not there: containers would get whole copies of their images");
	buf_str(&p->remedy, "modprobe overlay");
	return NOTE;
}

bool cluster_firewall_legacy(const char *root, struct buf *out)
{
	static const struct {
		const char *file, *family;
	} lists[] = { { "ip_tables_names", "IPv4" }, { "ip6_tables_names", "IPv6" } };
	size_t before = out->len;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		auto_buf struct buf path = {}, text = {};
		struct span rest, line;
		bool first = true;
		buf_printf(&path, "%s/proc/net/%s", root, lists[i].file);
		if (sys_file_read(AT_FDCWD, buf_cstr(&path), &text, 4096) < 0)
			continue; /* the module is not there, and so are no tables */
		rest = buf_span(&text);
		while (span_cut(&rest, '\n', &line)) {
			if (!line.len)
				continue;
			buf_printf(out, "%s%.*s", !first ? ", " : out->len > before ? "; " : "", SPAN_ARG(line));
			first = false;
		}
		if (!first)
			buf_printf(out, " (%s)", lists[i].family);
	}
	return out->len > before;
}

/* Rules of iptables-legacy cannot be read without its own calls, and none of ours goes there: a person has to look. */
static enum verdict look_legacy(struct patient *p)
{
	auto_buf struct buf tables = {};
	if (!cluster_firewall_legacy("", &tables)) {
		buf_str(&p->what, "no tables of iptables-legacy");
		return WELL;
	}
	buf_printf(&p->what, "there are tables of iptables-legacy, whose rules are not seen here: %s", buf_cstr(&tables));
	buf_str(&p->remedy, "iptables-legacy-save shows them; what drops there is dropped whatever nftables accept. Let pass ");
	if (p->s->host_network)
		buf_printf(&p->remedy, "what comes from and goes to interfaces k%s-*, br%s-* and docker0", p->l->id, p->l->id);
	else
		buf_printf(&p->remedy, "what comes from and goes to interface kh-%s", p->l->id);
	buf_str(&p->remedy, ", or empty them (iptables-legacy -F; -P FORWARD ACCEPT) and use iptables-nft");
	return NOTE;
}

static enum verdict look_nftables(struct patient *p)
{
	auto_buf struct buf notes = {}, others = {};
	auto_err struct err err = ERR_INIT;
	if (geteuid() != 0)
		return WELL;
	if (network_forward_notes(&notes, &others, &err) < 0) {
		buf_printf(&p->what, "nftables do not answer: %s", err_msg(&err));
		buf_str(&p->remedy, "modprobe nf_tables; the kernel needs CONFIG_NF_TABLES, CONFIG_NFT_NAT, CONFIG_NFT_MASQ");
		return OBSTACLE;
	}
	if (!notes.len && !others.len) {
		buf_str(&p->what, "nftables; no firewall of others drops forwarded packets");
		return WELL;
	}
	struct span text = span_trim(buf_span(others.len ? &others : &notes)), first, rest;
	(void)span_split(text, '\n', &first, &rest);
	buf_printf(&p->what, "%.*s", SPAN_ARG(first));
	if (!others.len)
		buf_str(&p->remedy, NOTHING_TO_DO ": two rules for each way of ours go into the chain meant for it, 'knarr reset' takes "
				    "them out");
	else if (p->s->host_network)
		buf_printf(&p->remedy, "let pods and containers pass there: what comes from and goes to interfaces k%s-*, br%s-* and "
			   "docker0", p->l->id, p->l->id);
	else
		buf_printf(&p->remedy, "let the cluster's cable pass there: what comes from and goes to interface kh-%s", p->l->id);
	return NOTE;
}

static enum verdict look_forwarding(struct patient *p)
{
	int64_t on = 1;
	if (file_int("/proc/sys/net/ipv4/ip_forward", &on) && on == 0) {
		buf_str(&p->what, "net.ipv4.ip_forward is 0");
		buf_str(&p->remedy, NOTHING_TO_DO ": it is set to 1 at the start, as every container engine does");
		return NOTE;
	}
	buf_str(&p->what, "net.ipv4.ip_forward is 1");
	return WELL;
}

static enum verdict look_bridge_filter(struct patient *p)
{
	int64_t on = 0;
	if (!file_int("/proc/sys/net/bridge/bridge-nf-call-iptables", &on)) {
		buf_str(&p->what, "br_netfilter is not loaded, and not needed");
		return WELL;
	}
	buf_printf(&p->what, "bridge-nf-call-iptables is %lld; both ways are fine", (long long)on);
	return WELL;
}

/* A port of ours must be free; in a namespace of its own everything is. */
static enum verdict look_ports(struct patient *p)
{
	static const struct {
		int port;
		const char *part;
	} fixed[] = { { 0, "API" }, { 10257, "controller-manager" }, { 10250, "kubelet" }, { 10256, "proxy" }, { 10054, "dns" } };
	if (p->running || !p->s->host_network) {
		buf_str(&p->what, p->running ? "ports are its own" : "ports are those of a network of its own");
		return WELL;
	}
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		int port = fixed[i].port ? fixed[i].port : (int)p->s->api_port, one = 1;
		struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
		struct sockaddr_in at4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
		auto_fd int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), fd4 = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0)
			(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (fd4 >= 0)
			(void)setsockopt(fd4, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		/* The wildcard of IPv6 covers IPv4; a machine without IPv6 has the other alone. */
		int rc = fd >= 0 ? bind(fd, (struct sockaddr *)&at, sizeof(at)) : bind(fd4, (struct sockaddr *)&at4, sizeof(at4));
		if (rc < 0 && errno == EADDRINUSE) {
			buf_printf(&p->what, "port %d (%s) is taken", port, fixed[i].part);
			buf_printf(&p->remedy,
				"ss -ltnp 'sport = :%d' says by whom; end it%s, or use a folder of its own: knarr up --data-dir D", port,
				   fixed[i].port ? "" : ", set apiPort in config.yaml");
			return OBSTACLE;
		}
	}
	buf_printf(&p->what, "ports %lld, 10054, 10250, 10256 and 10257 are free", (long long)p->s->api_port);
	return WELL;
}

/* The nearest folder that is there. */
static void existing(const char *path, struct buf *out)
{
	buf_str(out, path);
	while (out->len > 1 && access(buf_cstr(out), F_OK) < 0) {
		ptrdiff_t slash = span_rchr(buf_span(out), '/');
		buf_trunc(out, slash > 0 ? (size_t)slash : 1);
	}
}

static enum verdict look_disk(struct patient *p)
{
	auto_buf struct buf at = {};
	struct statvfs v;
	existing(p->l->data.ptr, &at);
	if (statvfs(buf_cstr(&at), &v) < 0) {
		buf_printf(&p->what, "%s: %s", buf_cstr(&at), err_why(errno));
		buf_str(&p->remedy, "name another folder with --data-dir");
		return OBSTACLE;
	}
	uint64_t mb = (uint64_t)v.f_bavail * v.f_frsize >> 20;
	buf_printf(&p->what, "%llu MB free at %s", (unsigned long long)mb, buf_cstr(&at));
	if (v.f_flag & ST_RDONLY) {
		buf_str(&p->what, ", which is read-only");
		buf_str(&p->remedy, "name another folder with --data-dir");
		return OBSTACLE;
	}
	if (mb >= 2048 && (v.f_files == 0 || v.f_favail > 10000))
		return WELL;
	buf_str(&p->remedy, "images need some GB (and inodes); make room, or name another folder with --data-dir");
	return mb < 100 ? OBSTACLE : NOTE;
}

static enum verdict look_memory(struct patient *p)
{
	auto_buf struct buf text = {};
	struct span rest, line;
	int64_t kb = -1;
	if (sys_file_read(AT_FDCWD, "/proc/meminfo", &text, 1 << 16) < 0)
		return WELL;
	rest = buf_span(&text);
	while (span_cut(&rest, '\n', &line))
		if (span_starts(line, SPAN("MemAvailable:")) && span_ends(line, SPAN(" kB")))
			(void)span_to_i64(span_trim(span_sub(line, 13, line.len - 3)), &kb);
	if (kb < 0)
		return WELL;
	buf_printf(&p->what, "%lld MB of memory available", (long long)kb >> 10);
	if (kb >= 256 << 10)
		return WELL;
	buf_str(&p->remedy, "a cluster at rest needs some 50 MB, applications come on top; free some memory");
	return kb < 64 << 10 ? OBSTACLE : NOTE;
}

/* Certificates made now would not be believed later. */
static enum verdict look_time(struct patient *p)
{
	char text[40];
	int64_t now_s = clock_wall_ns(clock_real()) / NS_PER_S;
	size_t n = time_format(text, now_s, 0, 0);
	buf_printf(&p->what, "the clock says %.*s", (int)n, text);
	if (now_s > INT64_C(1704067200)) /* 2024 */
		return WELL;
	buf_str(&p->remedy, "set it (timedatectl set-ntp true): certificates carry dates");
	return OBSTACLE;
}

static enum verdict look_names(struct patient *p)
{
	if (strcmp(p->s->node_name.ptr, "node") != 0) {
		buf_printf(&p->what, "the node will be called %s", p->s->node_name.ptr);
		return WELL;
	}
	buf_str(&p->what, "the host name is no name for a node; it will be called node");
	buf_str(&p->remedy, "hostnamectl set-hostname NAME, or nodeName in config.yaml");
	return NOTE;
}

/* What others know the node by: kubelet and API server tell it to the cluster. */
static enum verdict look_address(struct patient *p)
{
	auto_arena struct arena a = {};
	const char *of = NULL;
	if (!p->s->host_network || p->s->advertise_address.len) {
		buf_str(&p->what, p->s->host_network ? "the node's address is advertiseAddress of config.yaml"
						     : "the node's address is that of a network of its own");
		return WELL;
	}
	struct span at = cluster_outward_address(&a, &of);
	if (at.len && !of) {
		buf_printf(&p->what, "the node's address is %s", at.ptr);
		return WELL;
	}
	if (at.len) {
		buf_printf(&p->what, "there is no default route: the node's address is %s, the first that there is (%s)", at.ptr, of);
		buf_str(&p->remedy, "pods reach services; this machine itself does only with a route, one that leads nowhere will do");
		return NOTE;
	}
	buf_str(&p->what, "no interface that is up has an IPv4 address: the node's will be 127.0.0.1, which nobody else reaches");
	buf_printf(&p->remedy, "give one an address before the start, or set advertiseAddress in %s", p->l->config.ptr);
	return NOTE;
}

/* The cluster's name server has an address of its own, which a socket bound to every address takes part of. */
static enum verdict look_names_port(struct patient *p)
{
	static const int types[] = { SOCK_DGRAM, SOCK_STREAM };
	struct sys_prefix pods;
	struct sockaddr_storage at;
	if (p->running || !p->s->host_network || !sys_prefix_parse(p->s->pod_cidr, &pods))
		return WELL;
	struct sys_addr own = sys_prefix_at(&pods, 1);
	socklen_t len = sys_addr_sock(&own, 53, &at);
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		int on = 1;
		auto_fd int fd = socket(at.ss_family, types[i] | SOCK_CLOEXEC, 0);
		(void)setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
		if (fd >= 0 && bind(fd, (struct sockaddr *)&at, len) < 0 && errno == EADDRINUSE) {
			buf_str(&p->what, "somebody answers names at port 53 of every address (ss -lnp 'sport = :53' says who)");
			buf_str(&p->remedy, NOTHING_TO_DO ": the cluster's name server takes port 10053 of its own address, behind its "
				"service");
			return NOTE;
		}
	}
	buf_str(&p->what, "port 53 is free at the address of the cluster's name server");
	return WELL;
}

static enum verdict look_resolver(struct patient *p)
{
	auto_buf struct buf text = {};
	struct span rest, line;
	bool loopback = false, other = false;
	if (p->s->host_network || sys_file_read(AT_FDCWD, "/etc/resolv.conf", &text, 1 << 16) < 0)
		return WELL;
	rest = buf_span(&text);
	while (span_cut(&rest, '\n', &line)) {
		line = span_trim(line);
		if (!span_starts(line, SPAN("nameserver")))
			continue;
		struct span at = span_trim(span_from(line, 10));
		bool own = span_starts(at, SPAN("127.")) || span_is(at, "::1");
		loopback |= own;
		other |= !own;
	}
	if (!loopback || other) {
		buf_str(&p->what, "name servers are within reach of a network of its own");
		return WELL;
	}
	buf_str(&p->what, "/etc/resolv.conf names a server of this host alone, which a network of its own does not reach");
	buf_str(&p->remedy,
		"images are not pulled by name until it names another one (systemd-resolved: /run/systemd/resolve/resolv.conf), or "
			    "use --host-network");
	return NOTE;
}

static enum verdict look_watches(struct patient *p)
{
	int64_t instances = 0;
	if (!file_int("/proc/sys/fs/inotify/max_user_instances", &instances))
		return WELL;
	buf_printf(&p->what, "%lld inotify instances a user", (long long)instances);
	if (instances >= 64)
		return WELL;
	buf_str(&p->remedy, "sysctl -w fs.inotify.max_user_instances=512");
	return NOTE;
}

/* ---- ranges */

#define ROUTE_OF_PROXY 75 /* rtm_protocol of its ways to other nodes (src/proxy/nodes.c) */

struct meeting {
	struct patient *p;
	struct sys_prefix pods, services;
	bool found;
};

/* Have ours and that one addresses in common? The first that do are told. */
static void meet(struct meeting *m, const struct sys_prefix *other, const char *what)
{
	char text[SYS_ADDR_TEXT];
	bool pods = sys_prefix_overlaps(&m->pods, other);
	if (m->found || (!pods && !sys_prefix_overlaps(&m->services, other)))
		return;
	m->found = true;
	const char *name = pods ? "podCIDR" : "serviceCIDR";
	struct span range = pods ? m->p->s->pod_cidr : m->p->s->service_cidr;
	buf_printf(&m->p->what, "%s %.*s has addresses that are somebody's: %s %s", name, SPAN_ARG(range), what,
		   sys_prefix_text(other, text));
	buf_printf(&m->p->remedy, "%s in %s: a range that nobody uses here (it is settled by the first start)", name,
		   m->p->l->config.ptr);
}

/* Pods and containers that run on without a supervisor have ways of their own, and so have other nodes' ranges. */
static int on_way(void *arg, const struct sys_route *r)
{
	struct meeting *m = arg;
	char name[IF_NAMESIZE] = "", own[3][20];
	if (r->to.bits == 0 || r->local || r->protocol == ROUTE_OF_PROXY)
		return 0;
	(void)if_indextoname((unsigned)r->index, name);
	snprintf(own[0], sizeof(own[0]), "k%s-", m->p->l->id);
	snprintf(own[1], sizeof(own[1]), "br%s-", m->p->l->id);
	snprintf(own[2], sizeof(own[2]), "kh-%s", m->p->l->id);
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if (span_starts(span_of(name), span_of(own[i])))
			return 0;
	meet(m, &r->to, "a route to");
	return 0;
}

static void meet_servers(struct meeting *m)
{
	auto_buf struct buf text = {};
	struct span rest, line;
	struct sys_prefix at;
	if (sys_file_read(AT_FDCWD, "/etc/resolv.conf", &text, 1 << 16) < 0)
		return;
	rest = buf_span(&text);
	while (span_cut(&rest, '\n', &line)) {
		line = span_trim(line);
		if (span_starts(line, SPAN("nameserver")) && sys_addr_parse(span_trim(span_from(line, 10)), &at.addr) &&
		    at.addr.family == AF_INET) {
			at.bits = 32;
			meet(m, &at, "name server");
		}
	}
}

/* With the host's network, its own connections into the services' range would be refused, and its ways into the pods' be shadowed;
 * in a network of its own the cluster alone does not reach what is there. */
static enum verdict look_ranges(struct patient *p)
{
	struct meeting m = { .p = p };
	auto_fd int sock = p->running ? -1 : sys_nl_open(NETLINK_ROUTE, NULL);
	if (sock < 0 || !sys_prefix_parse(p->s->pod_cidr, &m.pods) || !sys_prefix_parse(p->s->service_cidr, &m.services))
		return WELL;
	meet_servers(&m);
	int rc = sys_route_list(sock, AF_INET, on_way, &m, NULL);
	if (m.found)
		return p->s->host_network ? OBSTACLE : NOTE;
	if (rc == 0)
		buf_printf(&p->what, "nobody here has addresses of %.*s and %.*s", SPAN_ARG(p->s->pod_cidr),
			   SPAN_ARG(p->s->service_cidr));
	return WELL;
}

static const struct {
	const char *name;
	enum verdict (*look)(struct patient *p);
} rows[] = {
	{ "rights", look_root },	{ "kernel", look_kernel },   { "namespaces", look_namespaces }, { "control groups", look_cgroups },
	{ "layers", look_overlay },	{ "firewall", look_nftables }, { "old tables", look_legacy },
	{ "forwarding", look_forwarding }, { "bridges", look_bridge_filter },
	{ "ports", look_ports },	{ "disk", look_disk },	     { "memory", look_memory },		{ "time", look_time },
	{ "names", look_names },	{ "address", look_address },   { "name server", look_names_port }, { "resolver", look_resolver },
	{ "watches", look_watches },	{ "ranges", look_ranges },
};

unsigned cluster_doctor(const struct cluster_layout *l, const struct cluster_settings *s, bool running, bool all, FILE *out,
	struct err *err)
{
	static const char *const words[] = { [WELL] = "ok", [NOTE] = "note", [OBSTACLE] = "PROBLEM" };
	unsigned bad = 0;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct patient p = { .l = l, .s = s, .running = running };
		enum verdict v = rows[i].look(&p);
		if (v == OBSTACLE && bad++ == 0)
			(void)err_set(err, ERR_UNAVAILABLE, "%s: %s. What helps: %s", rows[i].name, buf_cstr(&p.what), buf_cstr(&p.remedy));
		bool told = all || (v == NOTE && !span_starts(buf_span(&p.remedy), SPAN(NOTHING_TO_DO)));
		if (out && p.what.len && told) {
			(void)fprintf(out, "%-8s %-15s %s\n", words[v], rows[i].name, buf_cstr(&p.what));
			if (p.remedy.len)
				(void)fprintf(out, "%24s -> %s\n", "", buf_cstr(&p.remedy));
		}
		buf_done(&p.what);
		buf_done(&p.remedy);
	}
	return bad;
}

int cluster_doctor_main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct cluster_layout l = {};
	struct cluster_settings s = {};
	struct cluster_view v;
	struct span dir = SPAN_EMPTY;
	bool host_network = false, running = false;
	unsigned bad = 0;
	const struct cluster_option options[] = {
		{ "data-dir", 0, CLUSTER_OPTION_TEXT, &dir, "folder of everything (default $KNARR_DATA_DIR or /var/lib/knarr)" },
		{ "host-network", 0, CLUSTER_OPTION_TRUE, &host_network, "as 'knarr up --host-network' would start it" },
	};
	struct cluster_usage u = { .usage = "doctor [flags]", .options = options, .n_options = ARRAY_LEN(options),
				   .about = "Lists what stands in a cluster's way on this machine, each with a remedy. Changes nothing." };
	int rc = cluster_options_parse(&u, argc - 1, argv + 1, &err);
	if (rc > 0)
		return 0;
	if (rc == 0)
		rc = cluster_layout_init(&l, dir, &err);
	if (rc == 0)
		rc = cluster_settings_read(&l, host_network, &s, &err);
	if (rc == 0) {
		if (cluster_view_read(&l, &v, NULL) == 0) {
			running = v.alive;
			cluster_view_done(&v);
		}
		bad = cluster_doctor(&l, &s, running, true, stdout, &err);
		if (bad)
			printf("\n%u thing%s in the way.\n", bad, bad == 1 ? " stands" : "s stand");
		else
			printf("\nNothing stands in the way.\n");
	}
	cluster_settings_done(&s);
	cluster_layout_done(&l);
	return rc < 0 ? cluster_fail("doctor", &err) : bad ? 1 : 0;
}
