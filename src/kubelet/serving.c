/* Which certificate the port shows: the one of --tls-cert-file; else one of its own making, and with serverTLSBootstrap the one
 * that the cluster signs as soon as it is there. The files of flags are read again when they change; connections that are open go
 * on with what they began with, and end as soon as nothing is out on them. */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kubelet/serving.h"

#include "kubelet/certs.h"
#include "kubelet/rotate.h"
#include "kubelet/server.h"

enum { FILE_BYTES = 1 << 20 };

struct kl_serving {
	struct kl *k;
	struct kl_serving_params p;
	struct kl_server *server;
	struct kl_cert *serving, *client;
	struct kl_rotation *rotation;
	struct metrics *metrics; /* owned; NULL = somebody else's */
	struct loop_files *files;  /* of --tls-cert-file, --tls-private-key-file, --client-ca-file */
	struct buf ca, cert, key; /* what the port shows and believes */
	void (*ended)(void *arg);
	void *ended_arg;
};

/* ---- /configz: what the options came to, by the names of KubeletConfiguration */

static void key_ms(struct json_out *o, const char *key, int64_t ms)
{
	auto_buf struct buf b = {};
	api_duration_print(&b, ms * NS_PER_MS);
	json_out_kspan(o, key, buf_span(&b));
}

static void key_bool(struct json_out *o, const char *key, bool v)
{
	json_out_key(o, span_of(key));
	json_out_bool(o, v);
}

static void key_i64(struct json_out *o, const char *key, int64_t v)
{
	json_out_key(o, span_of(key));
	json_out_i64(o, v);
}

static void config_write(const struct kl *k, struct buf *out)
{
	const struct kl_options *c = k->o;
	struct json_out o = { .buf = out };
	struct span rest = c->cluster_dns, one;
	json_out_begin(&o);
	key_bool(&o, "enableServer", true);
	json_out_kspan(&o, "staticPodPath", c->manifest_dir);
	json_out_kspan(&o, "podLogsDir", c->pod_log_dir);
	json_out_kspan(&o, "address", c->address.len ? c->address : SPAN("0.0.0.0"));
	key_i64(&o, "port", c->port);
	json_out_kspan(&o, "tlsCertFile", c->tls_cert_file);
	json_out_kspan(&o, "tlsPrivateKeyFile", c->tls_key_file);
	key_bool(&o, "rotateCertificates", c->rotate_certificates);
	key_bool(&o, "serverTLSBootstrap", c->server_tls_bootstrap);
	json_out_key(&o, SPAN("authentication"));
	json_out_begin(&o);
	json_out_key(&o, SPAN("x509"));
	json_out_begin(&o);
	json_out_kspan(&o, "clientCAFile", c->client_ca_file);
	json_out_end(&o);
	json_out_key(&o, SPAN("webhook"));
	json_out_raw(&o, SPAN("{\"enabled\":true,\"cacheTTL\":\"2m0s\"}"));
	json_out_key(&o, SPAN("anonymous"));
	json_out_begin(&o);
	key_bool(&o, "enabled", c->anonymous_auth);
	json_out_end(&o);
	json_out_end(&o);
	json_out_key(&o, SPAN("authorization"));
	json_out_raw(&o, SPAN("{\"mode\":\"Webhook\",\"webhook\":{\"cacheAuthorizedTTL\":\"5m0s\",\"cacheUnauthorizedTTL\":\"30s\"}}"));
	json_out_kspan(&o, "clusterDomain", c->cluster_domain);
	if (rest.len) {
		json_out_key(&o, SPAN("clusterDNS"));
		json_out_begin_array(&o);
		while (span_cut(&rest, ',', &one))
			json_out_span(&o, one);
		json_out_end(&o);
	}
	key_ms(&o, "fileCheckFrequency", c->file_check_ms);
	key_ms(&o, "nodeStatusUpdateFrequency", c->status_update_ms);
	key_ms(&o, "nodeStatusReportFrequency", c->status_report_ms);
	key_i64(&o, "nodeLeaseDurationSeconds", c->lease_s);
	key_ms(&o, "imageMinimumGCAge", c->image_min_age_ms);
	key_i64(&o, "imageGCHighThresholdPercent", c->image_gc_high);
	key_i64(&o, "imageGCLowThresholdPercent", c->image_gc_low);
	json_out_kspan(&o, "cgroupRoot", c->cgroup_root);
	key_bool(&o, "cgroupsPerQOS", c->cgroups_per_qos);
	json_out_kspan(&o, "cgroupDriver", c->cgroup_driver);
	key_i64(&o, "maxPods", c->max_pods);
	key_i64(&o, "podsPerCore", c->pods_per_core);
	key_i64(&o, "podPidsLimit", c->pod_pids_limit);
	json_out_kspan(&o, "resolvConf", c->resolv_conf);
	key_bool(&o, "cpuCFSQuota", c->cpu_cfs_quota);
	key_bool(&o, "failSwapOn", c->fail_swap_on);
	key_i64(&o, "containerLogMaxFiles", c->log_max_files);
	struct api_quantity q = api_quantity_of(c->log_max_bytes, 0, API_QUANTITY_BINARY);
	auto_buf struct buf size = {};
	api_quantity_print(&q, &size);
	json_out_kspan(&o, "containerLogMaxSize", buf_span(&size));
	key_bool(&o, "seccompDefault", c->seccomp_default);
	json_out_kspan(&o, "containerRuntimeEndpoint", c->runtime_endpoint);
	key_bool(&o, "registerNode", c->register_node);
	json_out_end(&o);
}

/* ---- /metrics: what is counted, and what there is now, by upstream's names */

static void collect(struct metrics_writer *w, void *arg)
{
	static const char *const node[] = { "node" }, *const state[] = { "container_state" };
	static const char *const states[] = { "created", "running", "exited", "unknown" };
	struct kl_serving *s = arg;
	const struct kl_pod *p;
	size_t pos = 0;
	unsigned pods = 0, containers[ARRAY_LEN(states)] = {};
	while ((p = kl_pod_next(s->k, &pos))) {
		bool ready = kl_pod_sandbox(p);
		pods += ready;
		LIST_EACH(&p->containers, c, const struct kl_container, link)
			containers[MIN((unsigned)c->state, (unsigned)KL_UNKNOWN)]++;
	}
	metrics_emit_family(w, "kubelet_node_name", "[ALPHA] The node's name. The count is always 1.", METRICS_GAUGE);
	metrics_emit(w, node, &s->k->node_name, 1, 1);
	metrics_emit_family(w, "kubelet_running_pods", "[ALPHA] Number of pods that have a running pod sandbox", METRICS_GAUGE);
	metrics_emit(w, NULL, NULL, 0, pods);
	metrics_emit_family(w, "kubelet_running_containers", "[ALPHA] Number of containers currently running", METRICS_GAUGE);
	for (unsigned i = 0; i < ARRAY_LEN(states); i++) {
		struct span name = span_of(states[i]);
		if (containers[i])
			metrics_emit(w, state, &name, 1, containers[i]);
	}
}

static void metrics_begin(struct kl_serving *s)
{
	if (s->k->metrics)
		return;
	s->metrics = s->k->metrics = metrics_new();
	metrics_process_add(s->metrics);
	metrics_collector_add(s->metrics, collect, s);
}

static void metrics_end(struct kl_serving *s)
{
	if (s->metrics)
		s->k->metrics = NULL;
	metrics_free(s->metrics);
}

/* ---- certificates */

static void text_set(struct buf *to, struct span text)
{
	if (to->ptr)
		explicit_bzero(to->ptr, to->len);
	buf_trunc(to, 0);
	buf_span_add(to, text);
}

/* From now on the port shows and believes these. Nothing changes for what is not in order. */
static int show(struct kl_serving *s, struct span cert_pem, struct span key_pem, struct span ca_pem, struct err *err)
{
	int rc = kl_server_tls(s->server, cert_pem, key_pem, ca_pem, err);
	if (rc < 0)
		return rc;
	text_set(&s->cert, cert_pem);
	text_set(&s->key, key_pem);
	text_set(&s->ca, ca_pem);
	return 0;
}

static void on_serving(struct kl_cert *c, struct span cert_pem, struct span key_pem, void *arg)
{
	struct kl_serving *s = arg;
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf ca = {};
	buf_span_add(&ca, buf_span(&s->ca));
	if (show(s, cert_pem, key_pem, buf_span(&ca), &err) < 0)
		log_error("serving certificate not taken", kv_err(&err));
}

/* The client's side sees the file of --cert-dir change. */
static void on_client(struct kl_cert *c, struct span cert_pem, struct span key_pem, void *arg)
{
}

static int files_read(const struct kl_options *o, struct buf *cert, struct buf *key, struct buf *ca, struct err *err)
{
	int rc = 0;
	if (o->tls_cert_file.len) {
		rc = io_read_file(AT_FDCWD, o->tls_cert_file.ptr, cert, FILE_BYTES, err);
		if (rc == 0)
			rc = io_read_file(AT_FDCWD, o->tls_key_file.ptr, key, FILE_BYTES, err);
		if (rc < 0)
			return err_note(err, "--tls-cert-file and --tls-private-key-file");
	}
	if (o->client_ca_file.len && (rc = io_read_file(AT_FDCWD, o->client_ca_file.ptr, ca, FILE_BYTES, err)) < 0)
		return err_note(err, "--client-ca-file");
	return rc;
}

static void on_files(void *arg)
{
	struct kl_serving *s = arg;
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf cert = {}, key = {}, ca = {};
	int rc = files_read(s->k->o, &cert, &key, &ca, &err);
	if (rc == 0 && !s->k->o->tls_cert_file.len) {
		buf_span_add(&cert, buf_span(&s->cert));
		buf_span_add(&key, buf_span(&s->key));
	}
	if (rc == 0 && span_eq(buf_span(&cert), buf_span(&s->cert)) && span_eq(buf_span(&key), buf_span(&s->key)) &&
	    span_eq(buf_span(&ca), buf_span(&s->ca)))
		return;
	if (rc == 0)
		rc = show(s, buf_span(&cert), buf_span(&key), buf_span(&ca), &err);
	if (rc < 0)
		log_error("certificates of the port: kept what there was", kv_err(&err));
	else
		log_info("certificates of the port read again");
	if (key.ptr)
		explicit_bzero(key.ptr, key.len);
}

static void files_follow(struct kl_serving *s)
{
	const struct kl_options *o = s->k->o;
	const struct span paths[] = { o->tls_cert_file, o->tls_key_file, o->client_ca_file };
	auto_err struct err err = ERR_INIT;
	s->files = loop_files_new(s->k->loop, "certificates of the port", on_files, s);
	for (unsigned i = 0; i < ARRAY_LEN(paths); i++)
		if (loop_files_add(s->files, paths[i], &err) < 0)
			log_warn("changes of a file will be seen late", kv_span("file", paths[i]), kv_err(&err));
	on_files(s); /* what changed since it was read was told by nobody */
}

/* The listening socket that the supervisor opened (sd_listen_fds(3)): who comes while we start waits in its queue. -1 = none. */
static int passed_socket(void)
{
	const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	uint64_t n, who;
	int found = -1;
	if (!count || !pid || !span_to_u64(span_of(count), &n) || !span_to_u64(span_of(pid), &who) || who != (uint64_t)getpid())
		return -1;
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDNAMES");
	for (uint64_t i = 0; i < n && i < 16; i++) {
		int fd = 3 + (int)i, listens = 0, domain = 0;
		socklen_t len = sizeof(int);
		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || !listens ||
		    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 || domain == AF_UNIX)
			continue;
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
		if (found < 0)
			found = fd;
		else
			(void)close(fd);
	}
	return found;
}

static int server_begin(struct kl_serving *s, struct err *err)
{
	struct kl *k = s->k;
	const struct kl_options *o = k->o;
	auto_arena struct arena a = {};
	const char *ips[3] = {};
	for (unsigned i = 0; i < k->n_node_ips && i < 2; i++)
		ips[i] = arena_cstr(&a, k->node_ips[i]);
	int rc = files_read(o, &s->cert, &s->key, &s->ca, err);
	if (rc == 0 && !o->tls_cert_file.len)
		rc = kl_cert_self_signed(k->node_name, ips, loop_wall_ns(k->loop) / NS_PER_S, &s->cert, &s->key, err);
	if (rc < 0)
		return rc;
	const struct kl_server_params p = { .k = k, .address = o->address, .port = (unsigned)o->port, .fd = passed_socket(),
					    .cert_pem = buf_span(&s->cert), .key_pem = buf_span(&s->key),
					    .client_ca_pem = buf_span(&s->ca), .anonymous = o->anonymous_auth, .root_dir = o->root_dir,
					    .log_dir = SPAN("/var/log"), .pod_write = s->p.pod_write, .config_write = config_write,
					    .probes = s->p.probes };
	rc = kl_server_new(&p, &s->server, err);
	if (rc < 0)
		return err_note(err, "the kubelet's port");
	files_follow(s);
	if (!o->tls_cert_file.len && o->server_tls_bootstrap && o->cert_dir.len && k->client) {
		const struct kl_cert_params cp = { .loop = k->loop, .client = k->client, .dir = o->cert_dir, .node_name = k->node_name,
						   .kind = KL_CERT_SERVING, .ips = ips, .ready = on_serving, .arg = s };
		s->serving = kl_cert_new(&cp);
	}
	return 0;
}

static void texts_done(struct kl_serving *s)
{
	text_set(&s->key, SPAN_EMPTY);
	buf_done(&s->key);
	buf_done(&s->cert);
	buf_done(&s->ca);
}

int kl_serving_begin(struct kl *k, const struct kl_serving_params *p, struct kl_serving **out, struct err *err)
{
	const struct kl_options *o = k->o;
	struct kl_serving *s = mem_new(struct kl_serving);
	*s = (struct kl_serving){ .k = k, .p = *p };
	/* Without an API server nobody could be known or allowed; without a port nobody comes. */
	metrics_begin(s);
	int rc = k->client && o->port ? server_begin(s, err) : 0;
	if (rc < 0) {
		metrics_end(s);
		texts_done(s);
		free(s);
		return rc;
	}
	if (k->client && p->renews) {
		const struct kl_cert_params cp = { .loop = k->loop, .client = k->client, .dir = o->cert_dir, .node_name = k->node_name,
						   .kind = KL_CERT_CLIENT, .ready = on_client, .arg = s };
		s->client = kl_cert_new(&cp);
	}
	const struct kl_rotation_params rp = { .loop = k->loop, .cri = k->cri, .max_bytes = o->log_max_bytes,
		.max_files = o->log_max_files };
	s->rotation = kl_rotation_new(&rp);
	*out = s;
	return 0;
}

void kl_serving_look(struct kl_serving *s, const struct kl_pod *p)
{
	if (s)
		kl_rotation_look(s->rotation, p);
}

void kl_serving_forget(struct kl_serving *s, const struct kl_pod *p)
{
	if (s)
		kl_rotation_forget(s->rotation, p);
}

static void on_freed(void *arg)
{
	struct kl_serving *s = arg;
	void (*ended)(void *) = s->ended;
	void *ended_arg = s->ended_arg;
	metrics_end(s);
	texts_done(s);
	free(s);
	ended(ended_arg);
}

void kl_serving_end(struct kl_serving *s, void (*ended)(void *arg), void *arg)
{
	if (!s)
		return ended(arg);
	s->ended = ended;
	s->ended_arg = arg;
	loop_files_free(s->files);
	kl_cert_free(s->serving);
	kl_cert_free(s->client);
	kl_rotation_free(s->rotation);
	if (s->server)
		kl_server_free(s->server, on_freed, s);
	else
		on_freed(s);
}
