/* What the parts are: a row each, and their arguments. A flag has the name that the real component gives it. */
#include "cluster/server.h"

#include <pwd.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "sys/sys.h"

#define USER "knarr"
#define USER_BASE 64000
#define CONTROLLERS_PORT 10257
#define KUBELET_PORT 10250
#define PROXY_PORT 10256
#define DNS_PORT 10054 /* of its health */

void part_arg(struct part_args *a, const char *fmt, ...)
{
	va_list ap;
	assert(a->n < PART_ARGS_MAX - 1);
	va_start(ap, fmt);
	a->v[a->n++] = arena_vprintf(a->arena, fmt, ap).ptr;
	va_end(ap);
}

/* May others pass through every folder above and including dir? */
static bool reachable(const char *dir)
{
	auto_buf struct buf path = {};
	struct stat st;
	buf_str(&path, dir);
	for (;;) {
		if (stat(buf_cstr(&path), &st) < 0 || !(st.st_mode & S_IXOTH))
			return false;
		ptrdiff_t slash = span_rchr(buf_span(&path), '/');
		if (slash <= 0)
			return true;
		buf_trunc(&path, (size_t)slash);
	}
}

/* ---- engine */

static void engine_arguments(const struct server *s, struct part_args *a)
{
	part_arg(a, "--data-dir=%s", s->l.data.ptr);
	part_arg(a, "--run-dir=%s", s->l.run.ptr);
	part_arg(a, "--cri-host=unix://%s", s->l.cri_sock.ptr);
	part_arg(a, "--cni-conf-dir=%s/cni/net.d", s->l.data.ptr);
	part_arg(a, "--cni-bin-dir=%s/cni/bin", s->l.data.ptr);
	/* Groups of a cluster carry its ID. The slice is named as the kubelet's are, whose root is /knarr-ID: see kubelet/cgroups.h. */
	if (sys_slice_possible())
		part_arg(a, "--cgroup-parent=knarr_%s-containers.slice", s->l.id);
	else
		part_arg(a, "--cgroup-parent=/knarr-%s/containers", s->l.id);
}

static void engine_probe(const struct server *s, struct part_probe *out)
{
	*out = (struct part_probe){ .unix_path = &s->l.docker_sock, .target = "/_ping" };
}

/* ---- apiserver */

static void apiserver_arguments(const struct server *s, struct part_args *a)
{
	const struct cluster_settings *set = &s->s;
	const char *pki = s->l.pki.ptr;
	struct span advertised = set->advertise_address.len ? set->advertise_address
				 : set->address.len	    ? set->address
							    : cluster_outward_address(a->arena, NULL);
	part_arg(a, "--data-dir=%s", s->l.data.ptr);
	part_arg(a, "--cert-dir=%s/apiserver", pki);
	part_arg(a, "--tls-cert-file=%s/apiserver/apiserver.crt", pki);
	part_arg(a, "--tls-private-key-file=%s/apiserver/apiserver.key", pki);
	part_arg(a, "--client-ca-file=%s/ca.crt", pki);
	part_arg(a, "--service-account-key-file=%s/apiserver/sa.pub", pki);
	part_arg(a, "--service-account-signing-key-file=%s/apiserver/sa.key", pki);
	part_arg(a, "--service-account-issuer=https://kubernetes.default.svc.%.*s", SPAN_ARG(set->domain));
	part_arg(a, "--kubelet-client-certificate=%s/apiserver/kubelet-client.crt", pki);
	part_arg(a, "--kubelet-client-key=%s/apiserver/kubelet-client.key", pki);
	part_arg(a, "--kubelet-certificate-authority=%s/ca.crt", pki);
	part_arg(a, "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname");
	part_arg(a, "--authorization-mode=Node,RBAC");
	part_arg(a, "--enable-admission-plugins=NodeRestriction");
	part_arg(a, "--service-cluster-ip-range=%.*s", SPAN_ARG(set->service_cidr));
	part_arg(a, "--service-node-port-range=%.*s", SPAN_ARG(set->node_ports));
	part_arg(a, "--secure-port=%lld", (long long)set->api_port);
	if (advertised.len)
		part_arg(a, "--advertise-address=%.*s", SPAN_ARG(advertised));
	/* It listens on sockets that it was given, so it needs no right of root's once its folder is its own. */
	if (reachable(s->l.data.ptr)) {
		if (getpwnam(USER))
			part_arg(a, "--user=" USER);
		else
			part_arg(a, "--user=%d", USER_BASE + CLUSTER_APISERVER);
	}
}

static void apiserver_probe(const struct server *s, struct part_probe *out)
{
	*out = (struct part_probe){ .unix_path = &s->l.api_sock, .target = "/readyz" };
}

/* ---- controller-manager */

static void controllers_arguments(const struct server *s, struct part_args *a)
{
	const char *pki = s->l.pki.ptr;
	part_arg(a, "--kubeconfig=%s/controller-manager.kubeconfig", pki);
	part_arg(a, "--leader-elect=false"); /* the supervisor sees to it that there is one, and a lease would cost 15 s after a kill */
	part_arg(a, "--secure-port=%d", CONTROLLERS_PORT);
	part_arg(a, "--root-ca-file=%s/ca.crt", pki);
	part_arg(a, "--service-account-private-key-file=%s/apiserver/sa.key", pki);
	part_arg(a, "--cluster-signing-cert-file=%s/ca.crt", pki);
	part_arg(a, "--cluster-signing-key-file=%s/ca.key", pki);
	part_arg(a, "--allocate-node-cidrs=true");
	part_arg(a, "--cluster-cidr=%.*s", SPAN_ARG(s->s.pod_cidr));
	part_arg(a, "--node-cidr-mask-size=%lld", (long long)s->s.node_mask);
}

static void controllers_probe(const struct server *s, struct part_probe *out)
{
	*out = (struct part_probe){ .port = CONTROLLERS_PORT, .target = "/healthz" };
}

/* ---- scheduler */

static void scheduler_arguments(const struct server *s, struct part_args *a)
{
	part_arg(a, "--kubeconfig=%s/scheduler.kubeconfig", s->l.pki.ptr);
	part_arg(a, "--leader-elect=false");
}

static void scheduler_probe(const struct server *s, struct part_probe *out)
{
	*out = (struct part_probe){}; /* it has no port; it tells when it has seen every node and pod */
}

/* ---- kubelet */

static void kubelet_arguments(const struct server *s, struct part_args *a)
{
	const struct cluster_settings *set = &s->s;
	const char *data = s->l.data.ptr, *pki = s->l.pki.ptr;
	struct span address = set->advertise_address.len ? set->advertise_address
			      : set->address.len	 ? set->address
							 : cluster_outward_address(a->arena, NULL);
	part_arg(a, "--data-dir=%s", data);
	part_arg(a, "--kubeconfig=%s/kubelet.kubeconfig", pki);
	part_arg(a, "--cert-dir=%s/kubelet", pki);
	part_arg(a, "--client-ca-file=%s/ca.crt", pki);
	part_arg(a, "--container-runtime-endpoint=unix://%s", s->l.cri_sock.ptr);
	part_arg(a, "--hostname-override=%s", set->node_name.ptr);
	if (address.len)
		part_arg(a, "--node-ip=%.*s", SPAN_ARG(address));
	part_arg(a, "--root-dir=%s/kubelet", data);
	part_arg(a, "--pod-manifest-path=%s/manifests", data);
	part_arg(a, "--pod-log-dir=%s", s->l.is_default ? "/var/log/pods" : cluster_layout_path(&s->l, a->arena, "pods-log"));
	part_arg(a, "--cluster-dns=%.*s", SPAN_ARG(set->dns_address));
	part_arg(a, "--cluster-domain=%.*s", SPAN_ARG(set->domain));
	part_arg(a, "--cgroup-root=/knarr-%s", s->l.id);
	part_arg(a, "--max-pods=%lld", (long long)set->max_pods);
}

static void kubelet_probe(const struct server *s, struct part_probe *out)
{
	*out = (struct part_probe){ .port = KUBELET_PORT, .target = "/healthz", .any = true };
}

/* ---- proxy */

static void proxy_arguments(const struct server *s, struct part_args *a)
{
	part_arg(a, "--data-dir=%s", s->l.data.ptr);
	part_arg(a, "--kubeconfig=%s/proxy.kubeconfig", s->l.pki.ptr);
	part_arg(a, "--hostname-override=%s", s->s.node_name.ptr);
	part_arg(a, "--cluster-cidr=%.*s", SPAN_ARG(s->s.pod_cidr));
	part_arg(a, "--service-cluster-ip-range=%.*s", SPAN_ARG(s->s.service_cidr));
	part_arg(a, "--cni-conf-dir=%s/cni/net.d", s->l.data.ptr);
}

static void proxy_probe(const struct server *s, struct part_probe *out)
{
	*out = (struct part_probe){ .port = PROXY_PORT, .plain = true, .target = "/livez" };
}

/* ---- dns */

static void dns_arguments(const struct server *s, struct part_args *a)
{
	part_arg(a, "--data-dir=%s", s->l.data.ptr);
	part_arg(a, "--kubeconfig=%s/dns.kubeconfig", s->l.pki.ptr);
	part_arg(a, "--hostname-override=%s", s->s.node_name.ptr);
	part_arg(a, "--zone=%.*s", SPAN_ARG(s->s.domain));
}

static void dns_probe(const struct server *s, struct part_probe *out)
{
	*out = (struct part_probe){ .port = DNS_PORT, .plain = true, .target = "/readyz" };
}

const struct part_row part_rows[CLUSTER_PARTS] = {
	[CLUSTER_ENGINE] = { "engine", SOCKET_BIT(SOCKET_DOCKER), 1, engine_arguments, engine_probe },
	[CLUSTER_APISERVER] = { "apiserver", SOCKET_BIT(SOCKET_API) | SOCKET_BIT(SOCKET_API_HOST) | SOCKET_BIT(SOCKET_API_UNIX), 1,
				apiserver_arguments, apiserver_probe },
	[CLUSTER_CONTROLLERS] = { "controller-manager", 0, 0, controllers_arguments, controllers_probe },
	[CLUSTER_SCHEDULER] = { "scheduler", 0, 0, scheduler_arguments, scheduler_probe },
	[CLUSTER_KUBELET] = { "kubelet", 0, 0, kubelet_arguments, kubelet_probe },
	[CLUSTER_PROXY] = { "proxy", 0, 0, proxy_arguments, proxy_probe },
	[CLUSTER_DNS] = { "dns", 0, 0, dns_arguments, dns_probe },
};
