/* The applet: one loop with a client of the API, one of the runtime, and the parts of the kubelet. */
#include "kubelet/kubelet.h"
#include "base/notify.h"
#include "kubelet/certs.h"
#include "kubelet/cgroups.h"
#include "kubelet/files.h"
#include "kubelet/image.h"
#include "kubelet/machine.h"
#include "kubelet/node.h"
#include "kubelet/probe.h"
#include "kubelet/relist.h"
#include "kubelet/serving.h"
#include "kubelet/sources.h"
#include "kubelet/volume.h"
#include "kubelet/worker.h"
#include "tls/tls.h"

#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

struct process {
	struct kl k;
	struct kl_options o;
	struct client_source source; /* of config */
	struct client_config config;
	struct loop_ending ending;
	struct loop_task leaving;
	struct kl_bootstrap *bootstrap; /* NULL = over, or not needed */
	int status;
	char ips[2][46];
};

static void leave(struct process *p)
{
	struct kl *k = &p->k;
	size_t pos = 0;
	for (struct kl_pod *pod; (pod = kl_pod_next(k, &pos));)
		if (pod->worker)
			kl_worker_free(pod->worker);
	kl_relist_free(k->relist);
	kl_cgroups_free(k->cgroups);
	kl_sources_free(k->sources);
	kl_images_free(k->images);
	for (pos = 0;;) {
		struct kl_pod *pod = kl_pod_next(k, &pos);
		if (!pod)
			break;
		kl_pod_free(pod);
		pos = 0;
	}
	kl_volumes_free(k->volumes);
	kl_objects_free(k->objects);
	kl_node_free(k->node);
	if (k->events)
		client_recorder_free(k->events);
	loop_ending_close(&p->ending);
	if (k->client)
		client_free(k->client);
	if (k->http)
		http_client_free(k->http);
	kubelet_cri_free(k->cri);
	tls_ctx_unref(k->probe_tls);
	map_done(&k->pods);
	map_done(&k->pods_by_name);
	map_done(&k->mirrors);
	free((char *)k->runtime_name.ptr);
	free((char *)k->runtime_version.ptr);
}

static void on_served(void *arg)
{
	struct process *p = arg;
	/* A folder that is being removed, or given to a group, has a worker that must not be waited for (a mount may hang);
	 * whoever comes next goes on with it. Its structures are in use until then, so nothing is taken down: the kernel does that. */
	if (p->k.folders_out || (p->k.volumes && kl_volumes_owning(p->k.volumes))) {
		log_info("stopped while folders are being worked on", kv_u64("removals", p->k.folders_out));
		exit(p->status);
	}
	leave(p);
}

static void on_leaving(struct loop_task *t)
{
	struct process *p = container_of(t, struct process, leaving);
	kl_bootstrap_cancel(p->bootstrap);
	p->bootstrap = NULL;
	kl_serving_end(take(&p->k.serving), on_served, p);
}

static void stop(struct process *p)
{
	if (p->k.stopping)
		return;
	/* Containers go on: whoever comes next takes them up. */
	p->k.stopping = true;
	loop_defer(p->k.loop, &p->leaving);
}

static void on_ending(struct loop_ending *e, int signum)
{
	stop(container_of(e, struct process, ending));
}

/* The node's addresses: as told, else those that packets to the API server, or out of the machine, would leave with. */
static int addresses(struct process *p, struct err *err)
{
	struct kl *k = &p->k;
	struct span rest = p->o.node_ip, one, host;
	while (span_cut(&rest, ',', &one) && k->n_node_ips < 2) {
		(void)snprintf(p->ips[k->n_node_ips], sizeof(p->ips[0]), "%.*s", SPAN_ARG(one));
		k->node_ips[k->n_node_ips] = span_of(p->ips[k->n_node_ips]);
		k->n_node_ips++;
	}
	if (k->n_node_ips)
		return 0;
	auto_arena struct arena a = {};
	struct http_origin origin;
	bool six = span_chr(p->o.address, ':') >= 0; /* an address where our port does not listen is of no use to those who call it */
	bool api = k->client && http_url_parse(p->config.server, &a, &origin, &host, NULL) == 0;
	bool found = kl_machine_address("192.0.2.1", false, p->ips[0]) || (six && kl_machine_address("2001:db8::1", true, p->ips[0])) ||
		     (api && kl_machine_address(origin.host, false, p->ips[0])) || kl_machine_address("2001:db8::1", true, p->ips[0]) ||
		     (api && kl_machine_address(origin.host, true, p->ips[0]));
	if (!found)
		return err_set(err, ERR_USAGE, "the node has no address that leads anywhere: give --node-ip");
	k->node_ips[k->n_node_ips++] = span_of(p->ips[0]);
	return 0;
}

static void on_pod_event(void *owner, const char *reason, struct span message)
{
	kl_pod_event(owner, SPAN_EMPTY, "Warning", reason, "%.*s", SPAN_ARG(message));
}

static void on_wake(void *owner)
{
	kl_pod_wake(owner);
}

/* Does the kubeconfig name the certificate that we keep in --cert-dir, as the one that bootstrap made does? */
static bool renews(const struct process *p)
{
	auto_buf struct buf kept = {};
	if (!p->o.rotate_certificates || !p->o.cert_dir.len)
		return false;
	buf_printf(&kept, "%.*s/kubelet-client-current.pem", SPAN_ARG(p->o.cert_dir));
	for (unsigned i = 0; i < p->config.n_files; i++)
		if (span_eq(p->config.files[i], buf_span(&kept)))
			return true;
	return false;
}

static void failed(struct process *p, const struct err *err)
{
	(void)fprintf(stderr, "Error: %s\n", err_msg(err));
	p->status = 1;
	stop(p);
}

static void on_runtime_away(const struct err *why, void *arg)
{
	kl_node_runtime(((struct process *)arg)->k.node, why);
}

/* From here on pods may be made: the runtime's containers are looked at. */
static void on_cgroups(bool systemd, const struct err *why, void *arg)
{
	struct process *p = arg;
	if (why)
		return failed(p, why);
	p->o.cgroup_driver = systemd ? SPAN("systemd") : SPAN("cgroupfs");
	kl_relist_begin(p->k.relist);
}

static int start(struct process *p, struct err *err)
{
	struct kl *k = &p->k;
	int rc = 0;
	p->source = (struct client_source){ .kubeconfig = p->o.kubeconfig.ptr, .no_in_cluster = true };
	k->o = &p->o;
	k->node_name = k->node_uid = p->o.node_name;
	if (p->o.kubeconfig.len) {
		rc = client_config_load(&p->source, &p->config, err);
		if (rc == 0)
			rc = client_new(&(struct client_params){ .loop = k->loop, .config = &p->config, .user_agent = "knarr-kubelet" },
					&k->client, err);
		if (rc == 0)
			client_follow(k->client, &p->source);
	}
	if (rc == 0)
		rc = addresses(p, err);
	if (rc == 0)
		rc = kubelet_cri_new(&(struct kubelet_cri_params){ .loop = k->loop, .endpoint = p->o.runtime_endpoint }, &k->cri, err);
	if (rc == 0)
		rc = http_client_new(&(struct http_client_params){ .loop = k->loop, .name = "probes", .idle_per_origin = 1 }, &k->http,
				     err);
	if (rc == 0)
		rc = kl_root_make(p->o.root_dir.ptr, &p->o.arena, &p->o.root_dir, err);
	if (rc == 0)
		rc = io_mkdirs(AT_FDCWD, p->o.pod_log_dir.ptr, 0755, err);
	if (rc < 0)
		return rc;
	if (k->client)
		k->events = client_recorder_new(k->client, SPAN("kubelet"), k->node_name);
	k->objects = kl_objects_new(k->client);
	const struct kl_volumes_params vp = { .loop = k->loop, .client = k->client, .objects = k->objects, .root_dir = p->o.root_dir,
					      .facts = kl_node_facts, .wake = on_wake, .event = on_pod_event };
	k->volumes = kl_volumes_new(&vp);
	k->images = kl_images_new(k);
	k->relist = kl_relist_new(k);
	k->sources = kl_sources_new(k);
	(void)kl_node_new(k);
	rc = kl_serving_begin(k, &(struct kl_serving_params){ .pod_write = kl_pod_write, .renews = renews(p) }, &k->serving,
			      err);
	if (rc < 0)
		return rc;
	kl_node_begin(k->node);
	k->cgroups = kl_cgroups_begin(&(struct kl_cgroups_params){ .k = k, .away = on_runtime_away, .ready = on_cgroups, .arg = p });
	rc = kl_sources_begin(k->sources, err);
	if (rc == 0)
		notify_ready();
	return rc;
}

static void on_bootstrapped(int rc, const struct err *why, void *arg)
{
	struct process *p = arg;
	auto_err struct err err = ERR_INIT;
	p->bootstrap = NULL;
	if (rc < 0)
		failed(p, why);
	else if (start(p, &err) < 0)
		failed(p, &err);
}

/* With a bootstrap kubeconfig the way to the API server may have to be made first. */
static int begin(struct process *p, struct err *err)
{
	const struct kl_options *o = &p->o;
	int rc = loop_ending_open(&p->ending, p->k.loop, on_ending, err);
	if (rc < 0 || !o->bootstrap_kubeconfig.len || !o->kubeconfig.len)
		return rc < 0 ? rc : start(p, err);
	const struct kl_bootstrap_params bp = { .loop = p->k.loop, .kubeconfig = o->kubeconfig, .bootstrap = o->bootstrap_kubeconfig,
						.cert_dir = o->cert_dir, .node_name = o->node_name, .done = on_bootstrapped, .arg = p };
	p->bootstrap = kl_bootstrap_begin(&bp);
	return 0;
}

int kubelet_main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct process *p = mem_new(struct process);
	bool help = false;
	kl_options_default(&p->o);
	log_open(2, LOG_INFO, "kubelet");
	(void)mallopt(M_ARENA_MAX, 1); /* its few workers hardly allocate, and an arena each keeps what a burst needed */
	int rc = kl_options_parse(&p->o, argc - 1, argv + 1, &help, &err);
	if (rc == 0 && help) {
		kl_options_help();
		kl_options_done(&p->o);
		free(p);
		return 0;
	}
	log_open(2, p->o.verbosity >= 4 ? LOG_DEBUG : LOG_INFO, "kubelet");
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(022);
	if (rc == 0)
		rc = loop_new(NULL, &p->k.loop, &err);
	loop_task_init(&p->leaving, on_leaving);
	if (rc == 0 && begin(p, &err) < 0) {
		failed(p, &err);
	} else if (rc < 0) {
		(void)fprintf(stderr, "Error: %s\n", err_msg(&err));
		p->status = 1;
	}
	if (p->k.loop) {
		loop_trim_at_rest(p->k.loop);
		loop_run(p->k.loop);
	}
	loop_free(p->k.loop);
	client_config_done(&p->config);
	kl_options_done(&p->o);
	int status = p->status;
	free(p);
	return status;
}
