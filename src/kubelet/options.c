/* Flags and KubeletConfiguration, one row each: as kubelet spells them. A flag is obeyed or refused; a field of the configuration
 * file that nobody here obeys is refused by name. Flags go over the file. */
#include "api/api.h"
#include "base/flags.h"
#include "kubelet/frame.h"
#include "yaml/yaml.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

enum kind { TEXT, BOOL, INT, DURATION, SECONDS, QUANTITY, LIST, PAIRS, TAINTS };

#define AT(member) offsetof(struct kl_options, member)
static const struct row {
	const char *flag, *field; /* field: of KubeletConfiguration, "a.b" beneath; either may be NULL */
	enum kind kind;
	uint16_t at;
	int64_t low, high;
	const char *help;
} rows[] = {
	{ "data-dir", NULL, TEXT, AT(data_dir), 0, 0, "where Knarr keeps its things (default /var/lib/knarr)" },
	{ "root-dir", NULL, TEXT, AT(root_dir), 0, 0, "pods' folders (default DATA/kubelet)" },
	{ "kubeconfig", NULL, TEXT, AT(kubeconfig), 0, 0, "how the API server is reached; none: static pods alone" },
	{ "bootstrap-kubeconfig", NULL, TEXT, AT(bootstrap_kubeconfig), 0, 0, "what --kubeconfig is made with when it is not there" },
	{ "config", NULL, TEXT, AT(config), 0, 0, "a KubeletConfiguration (kubelet.config.k8s.io/v1beta1)" },
	{ "container-runtime-endpoint", "containerRuntimeEndpoint", TEXT, AT(runtime_endpoint), 0, 0,
	  "unix:// socket of CRI v1 (default DATA/run/cri.sock)" },
	{ "hostname-override", NULL, TEXT, AT(node_name), 0, 0, "name of the node (default: the host's, in lower case)" },
	{ "node-ip", NULL, TEXT, AT(node_ip), 0, 0, "address of the node; two with a comma: one of each family" },
	{ "pod-manifest-path", "staticPodPath", TEXT, AT(manifest_dir), 0, 0, "folder of static pods" },
	{ "cert-dir", NULL, TEXT, AT(cert_dir), 0, 0, "certificates of the kubelet (default DATA/pki/kubelet)" },
	{ "client-ca-file", "authentication.x509.clientCAFile", TEXT, AT(client_ca_file), 0, 0, "who may sign clients' certificates" },
	{ "tls-cert-file", "tlsCertFile", TEXT, AT(tls_cert_file), 0, 0, "certificate of the port" },
	{ "tls-private-key-file", "tlsPrivateKeyFile", TEXT, AT(tls_key_file), 0, 0, "its private key" },
	{ "anonymous-auth", "authentication.anonymous.enabled", BOOL, AT(anonymous_auth), 0, 0, "(default false)" },
	{ "cluster-dns", "clusterDNS", LIST, AT(cluster_dns), 0, 0, "name servers of pods, with commas" },
	{ "cluster-domain", "clusterDomain", TEXT, AT(cluster_domain), 0, 0, "domain of the cluster's names" },
	{ "resolv-conf", "resolvConf", TEXT, AT(resolv_conf), 0, 0, "names outside the cluster (default /etc/resolv.conf)" },
	{ "register-node", "registerNode", BOOL, AT(register_node), 0, 0, "make the Node (default true)" },
	{ "node-labels", NULL, TEXT, AT(node_labels), 0, 0, "key=value with commas, for a Node that is made" },
	{ "register-with-taints", "registerWithTaints", TAINTS, AT(taints), 0, 0, "key=value:effect with commas" },
	{ "max-pods", "maxPods", INT, AT(max_pods), 1, 100000, "pods of the node (default 110)" },
	{ "pods-per-core", "podsPerCore", INT, AT(pods_per_core), 0, 100000, "0 = no bound (default 0)" },
	{ "pod-max-pids", "podPidsLimit", INT, AT(pod_pids_limit), -1, INT64_MAX, "processes of a pod; -1 = no bound (default -1)" },
	{ "port", "port", INT, AT(port), 0, 65535, "of the HTTPS server; 0 = none (default 10250)" },
	{ "address", "address", TEXT, AT(address), 0, 0, "of the HTTPS server (default 0.0.0.0)" },
	{ "cgroup-root", "cgroupRoot", TEXT, AT(cgroup_root), 0, 0, "kubepods lies beneath (default /)" },
	{ "cgroup-driver", "cgroupDriver", TEXT, AT(cgroup_driver), 0, 0,
	  "cgroupfs or systemd, where the runtime does not say (default cgroupfs)" },
	{ "cgroups-per-qos", "cgroupsPerQOS", BOOL, AT(cgroups_per_qos), 0, 0, "(default true)" },
	{ "cpu-cfs-quota", "cpuCFSQuota", BOOL, AT(cpu_cfs_quota), 0, 0, "limits of processors hold (default true)" },
	{ "pod-log-dir", "podLogsDir", TEXT, AT(pod_log_dir), 0, 0, "(default /var/log/pods)" },
	{ "seccomp-default", "seccompDefault", BOOL, AT(seccomp_default), 0, 0,
	  "RuntimeDefault where a pod says nothing (default false)" },
	{ "kube-reserved", "kubeReserved", PAIRS, AT(kube_reserved), 0, 0, "cpu=100m,memory=200Mi: taken off allocatable" },
	{ "system-reserved", "systemReserved", PAIRS, AT(system_reserved), 0, 0, "likewise" },
	{ "eviction-hard", "evictionHard", PAIRS, AT(eviction_hard), 0, 0, "memory.available<100Mi,nodefs.available<10%,..." },
	{ "allowed-unsafe-sysctls", "allowedUnsafeSysctls", LIST, AT(allowed_sysctls), 0, 0, "names, or beginnings with *" },
	{ "node-status-update-frequency", "nodeStatusUpdateFrequency", DURATION, AT(status_update_ms), 100, INT64_MAX,
	  "(default 10s)" },
	{ "file-check-frequency", "fileCheckFrequency", DURATION, AT(file_check_ms), 100, INT64_MAX,
	  "of manifests that are links; others tell when they change (default 20s)" },
	{ NULL, "nodeStatusReportFrequency", DURATION, AT(status_report_ms), 1000, INT64_MAX, "" },
	{ NULL, "nodeLeaseDurationSeconds", INT, AT(lease_s), 1, 86400, "" },
	{ NULL, "crashLoopBackOff.maxContainerRestartPeriod", DURATION, AT(max_backoff_ms), 1000, 300000, "" },
	{ "image-gc-high-threshold", "imageGCHighThresholdPercent", INT, AT(image_gc_high), 0, 100, "(default 85)" },
	{ "image-gc-low-threshold", "imageGCLowThresholdPercent", INT, AT(image_gc_low), 0, 100, "(default 80)" },
	{ "minimum-image-ttl-duration", "imageMinimumGCAge", DURATION, AT(image_min_age_ms), 0, INT64_MAX, "(default 2m0s)" },
	{ "container-log-max-size", "containerLogMaxSize", QUANTITY, AT(log_max_bytes), 1, INT64_MAX, "(default 10Mi)" },
	{ "container-log-max-files", "containerLogMaxFiles", INT, AT(log_max_files), 2, 1000, "(default 5)" },
	{ NULL, "maxParallelImagePulls", INT, AT(registry_parallel), 1, 100, "" },
	{ "fail-swap-on", "failSwapOn", BOOL, AT(fail_swap_on), 0, 0, "refuse to run beside swap (default false)" },
	{ "rotate-certificates", "rotateCertificates", BOOL, AT(rotate_certificates), 0, 0,
	  "renew the client certificate (default true)" },
	{ "rotate-server-certificates", "serverTLSBootstrap", BOOL, AT(server_tls_bootstrap), 0, 0,
	  "ask the API for the port's (default true)" },
	{ "v", "logging.verbosity", INT, AT(verbosity), 0, 10, "4 and more: debug" },
};

void kl_options_default(struct kl_options *o)
{
	*o = (struct kl_options){
		.data_dir = SPAN("/var/lib/knarr"), .cluster_domain = SPAN(""), .resolv_conf = SPAN("/etc/resolv.conf"),
		.address = SPAN("0.0.0.0"), .cgroup_root = SPAN("/"), .cgroup_driver = SPAN("cgroupfs"),
		.pod_log_dir = SPAN("/var/log/pods"),
		.eviction_hard = SPAN("memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%"),
		.port = 10250, .max_pods = 110, .pod_pids_limit = -1, .status_update_ms = 10000, .status_report_ms = 300000,
		.file_check_ms = 20000,
		.lease_s = 40, .max_backoff_ms = 300000, .image_gc_high = 85, .image_gc_low = 80,
		.image_min_age_ms = 120000, .log_max_bytes = 10 << 20, .log_max_files = 5, .registry_parallel = 5,
		.register_node = true, .rotate_certificates = true, .server_tls_bootstrap = true, .cgroups_per_qos = true,
		.cpu_cfs_quota = true,
	};
}

void kl_options_done(struct kl_options *o)
{
	arena_done(&o->arena);
}

static int bad(struct err *err, const char *name, struct span value, const char *expected)
{
	return err_set(err, ERR_USAGE, "invalid argument \"%.*s\" for \"%s\": %s expected", SPAN_ARG(value), name, expected);
}

static int set(struct kl_options *o, const struct row *r, const char *name, struct span value, struct err *err)
{
	char *place = (char *)o + r->at;
	struct api_quantity q;
	int64_t n;
	switch (r->kind) {
	case TEXT:
	case LIST:
	case PAIRS:
	case TAINTS:
		*(struct span *)place = arena_span(&o->arena, value);
		return 0;
	case BOOL:
		if (!span_is(value, "true") && !span_is(value, "false"))
			return bad(err, name, value, "true or false");
		*(bool *)place = span_is(value, "true");
		return 0;
	case DURATION:
		if (api_duration_parse(value, &n, NULL) < 0 || n / NS_PER_MS < r->low || n / NS_PER_MS > r->high)
			return bad(err, name, value, "a duration such as 1m30s");
		*(int64_t *)place = n / NS_PER_MS;
		return 0;
	case QUANTITY:
		if (api_quantity_parse(value, &q, NULL) < 0 || api_quantity_value(&q) < r->low)
			return bad(err, name, value, "a size such as 10Mi");
		*(int64_t *)place = api_quantity_value(&q);
		return 0;
	case SECONDS:
	case INT:
		if (!span_to_i64(value, &n) || n < r->low || n > r->high)
			return bad(err, name, value, "a number in its bounds");
		*(int64_t *)place = n;
		return 0;
	}
	return 0;
}

/* ---- the configuration file */

/* A scalar, a list of scalars or taints, or a map, as the text that the flag would have had. */
static int text_of(struct arena *a, const struct json *v, enum kind kind, struct span *out)
{
	auto_buf struct buf text = {};
	if (kind == TAINTS && json_is(v, JSON_ARRAY)) {
		JSON_EACH_ITEM(v, t)
			buf_printf(&text, "%s%.*s=%.*s:%.*s", text.len ? "," : "", SPAN_ARG(json_span(json_getl(t, "key"))),
				   SPAN_ARG(json_span(json_getl(t, "value"))), SPAN_ARG(json_span(json_getl(t, "effect"))));
	} else if (kind == LIST && json_is(v, JSON_ARRAY)) {
		JSON_EACH_ITEM(v, item)
			buf_printf(&text, "%s%.*s", text.len ? "," : "", SPAN_ARG(json_span(item)));
	} else if (kind == PAIRS && json_is(v, JSON_OBJECT)) {
		JSON_EACH_MEMBER(v, m)
			buf_printf(&text, "%s%.*s%s%.*s", text.len ? "," : "", (int)m->key_len, m->key,
				   span_has(json_key(m), SPAN(".")) ? "<" : "=", SPAN_ARG(json_span(&m->value)));
	} else if (json_is(v, JSON_STRING)) {
		buf_span_add(&text, json_span(v));
	} else if (json_is(v, JSON_BOOL) || json_is_number(v)) {
		json_write(&text, v, 0);
	} else {
		return -1;
	}
	*out = arena_span(a, buf_span(&text));
	return 0;
}

/* Fields that may say what is so here anyway, and nothing else; NULL: they concern nothing that exists here. */
static const struct {
	const char *name, *so;
} agreed[] = {
	{ "apiVersion", "kubelet.config.k8s.io/v1beta1" },
	{ "kind", "KubeletConfiguration" },
	{ "authentication.webhook.enabled", "true" },
	{ "authentication.webhook.cacheTTL", NULL },
	{ "authorization.mode", "Webhook" },
	{ "authorization.webhook.cacheAuthorizedTTL", NULL },
	{ "authorization.webhook.cacheUnauthorizedTTL", NULL },
	{ "syncFrequency", NULL },
	{ "httpCheckFrequency", NULL },
	{ "logging.format", "text" },
	{ "logging.flushFrequency", NULL },
	{ "logging.options.json.infoBufferSize", NULL },
	{ "logging.options.text.infoBufferSize", NULL },
	{ "logging.options.text.splitStream", "false" },
	{ "healthzPort", NULL },
	{ "healthzBindAddress", NULL },
};

static int agree(struct arena *a, const char *name, const struct json *v, const char *so, struct err *err)
{
	struct span text;
	if (so && (text_of(a, v, TEXT, &text) < 0 || !span_is(text, so)))
		return err_set(err, ERR_USAGE, "field %s: only \"%s\" is supported", name, so);
	return 0;
}

/* Upstream takes a zero for "not said", and kubeadm writes many of them. */
static bool is_zero(const struct json *v)
{
	struct span s = json_span(v);
	return v->kind == JSON_NULL || ((v->kind == JSON_OBJECT || v->kind == JSON_ARRAY) && v->n == 0) ||
	       (v->kind == JSON_STRING && (!s.len || span_is(s, "0s"))) || (json_is_number(v) && json_i64(v, 1) == 0);
}

static int read_fields(struct kl_options *o, const struct json *object, const char *before, unsigned depth, struct err *err)
{
	JSON_EACH_MEMBER(object, m) {
		char name[160];
		const struct row *r = NULL;
		size_t known = 0;
		(void)snprintf(name, sizeof(name), "%s%s%.*s", before, *before ? "." : "", (int)m->key_len, m->key);
		for (size_t i = 0; i < ARRAY_LEN(rows); i++)
			if (rows[i].field && strcmp(rows[i].field, name) == 0)
				r = &rows[i];
		while (known < ARRAY_LEN(agreed) && strcmp(agreed[known].name, name) != 0)
			known++;
		if (is_zero(&m->value))
			continue;
		if (!r && known < ARRAY_LEN(agreed)) {
			int rc = agree(&o->arena, name, &m->value, agreed[known].so, err);
			if (rc < 0)
				return rc;
			continue;
		}
		if (!r && m->value.kind == JSON_OBJECT && depth < 4) {
			int rc = read_fields(o, &m->value, name, depth + 1, err);
			if (rc < 0)
				return rc;
			continue;
		}
		struct span text;
		if (!r)
			return err_set(err, ERR_USAGE, "field %s is not supported", name);
		if (text_of(&o->arena, &m->value, r->kind, &text) < 0)
			return err_set(err, ERR_USAGE, "field %s has the wrong type", name);
		int rc = set(o, r, name, text, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_config(struct kl_options *o, const char *path, struct err *err)
{
	auto_buf struct buf text = {};
	auto_arena struct arena a = {};
	struct json doc;
	int rc = io_read_file(AT_FDCWD, path, &text, 1 << 20, err);
	if (rc == 0)
		rc = yaml_parse(&a, buf_span(&text), 0, NULL, &doc, err);
	if (rc == 0 && !span_is(json_span(json_getl(&doc, "kind")), "KubeletConfiguration"))
		rc = err_set(err, ERR_USAGE, "not a KubeletConfiguration");
	if (rc == 0)
		rc = read_fields(o, &doc, "", 0, err);
	return rc < 0 ? err_note(err, "failed to load kubelet config file, path: %s", path) : 0;
}

/* ---- flags */

static int flags(struct kl_options *o, int argc, char **argv, bool only_config, bool *out_help, struct err *err)
{
	struct flags w = FLAGS_OF(argc, argv, rows, "unknown command");
	struct span value;
	int rc;
	while ((rc = flags_next(&w, err)) > 0) {
		const struct row *r = &rows[w.row];
		if ((rc = flags_value(&w, r->kind == BOOL, &value, err)) < 0)
			return rc;
		if (only_config && strcmp(r->flag, "config") != 0)
			continue;
		if ((rc = set(o, r, r->flag, value, err)) < 0)
			return rc;
	}
	*out_help = w.help;
	return rc;
}

/* As the kernel and certificates write them: whoever compares texts compares addresses. */
static int node_ips(struct kl_options *o, struct err *err)
{
	auto_buf struct buf all = {};
	struct span rest = o->node_ip, one;
	unsigned n = 0;
	while (span_cut(&rest, ',', &one)) {
		unsigned char raw[16];
		char text[INET6_ADDRSTRLEN];
		const char *typed = arena_cstr(&o->arena, span_trim(one));
		int family = strchr(typed, ':') ? AF_INET6 : AF_INET;
		if (inet_pton(family, typed, raw) != 1 || !inet_ntop(family, raw, text, sizeof(text)))
			return err_set(err, ERR_USAGE, "--node-ip: \"%s\" is no address", typed);
		if (n++ == 2)
			return err_set(err, ERR_USAGE, "--node-ip: one address, or one of each family");
		buf_printf(&all, "%s%s", all.len ? "," : "", text);
	}
	o->node_ip = arena_span(&o->arena, buf_span(&all));
	return 0;
}

static int finish(struct kl_options *o, struct err *err)
{
	struct arena *a = &o->arena;
	struct utsname u;
	if (!o->root_dir.len)
		o->root_dir = arena_printf(a, "%.*s/kubelet", SPAN_ARG(o->data_dir));
	if (!o->cert_dir.len)
		o->cert_dir = arena_printf(a, "%.*s/pki/kubelet", SPAN_ARG(o->data_dir));
	if (!o->runtime_endpoint.len)
		o->runtime_endpoint = arena_printf(a, "unix://%.*s/run/cri.sock", SPAN_ARG(o->data_dir));
	if (!o->seccomp_root.len)
		o->seccomp_root = arena_printf(a, "%.*s/seccomp", SPAN_ARG(o->root_dir));
	if (!o->node_name.len) {
		if (uname(&u) < 0)
			return err_sys(err, "the host's name");
		o->node_name = arena_span(a, span_of(u.nodename));
	}
	char *name = arena_cstr(a, span_trim(o->node_name));
	for (char *s = name; *s; s++)
		*s = *s >= 'A' && *s <= 'Z' ? (char)(*s + 'a' - 'A') : *s;
	o->node_name = span_of(name);
	if (!o->node_name.len)
		return err_set(err, ERR_USAGE, "the node has no name: give --hostname-override");
	if (!span_is(o->cgroup_driver, "cgroupfs") && !span_is(o->cgroup_driver, "systemd"))
		return err_set(err, ERR_USAGE, "--cgroup-driver: cgroupfs or systemd, not \"%.*s\"", SPAN_ARG(o->cgroup_driver));
	if (o->image_gc_low > o->image_gc_high)
		return err_set(err, ERR_USAGE, "imageGCLowThresholdPercent must be at most imageGCHighThresholdPercent");
	if (o->fail_swap_on) {
		auto_buf struct buf swaps = {};
		int rc = io_read_file(AT_FDCWD, "/proc/swaps", &swaps, 1 << 16, err);
		if (rc < 0)
			return rc;
		ptrdiff_t line = span_chr(buf_span(&swaps), '\n'); /* behind the heading */
		if (line >= 0 && (size_t)line + 1 < swaps.len)
			return err_set(err, ERR_USAGE, "running with swap on is not supported, please disable swap or set --fail-swap-on "
				       "flag to false");
	}
	if (!o->tls_cert_file.len != !o->tls_key_file.len)
		return err_set(err, ERR_USAGE, "--tls-cert-file and --tls-private-key-file go together");
	if (!o->kubeconfig.len && !o->manifest_dir.len)
		return err_set(err, ERR_USAGE, "nothing to do: give --kubeconfig or --pod-manifest-path");
	return node_ips(o, err);
}

int kl_options_parse(struct kl_options *o, int argc, char **argv, bool *out_help, struct err *err)
{
	*out_help = false;
	int rc = flags(o, argc, argv, true, out_help, err);
	if (rc == 0 && o->config.len && !*out_help)
		rc = read_config(o, o->config.ptr, err);
	if (rc == 0 && !*out_help)
		rc = flags(o, argc, argv, false, out_help, err);
	return rc < 0 || *out_help ? rc : finish(o, err);
}

void kl_options_help(void)
{
	printf("Usage: knarr kubelet [flags]\n\nRuns the pods of one node.\n\nFlags:\n");
	FLAGS_PRINT(rows);
}
