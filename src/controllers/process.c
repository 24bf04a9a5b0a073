/* The applet: one loop with a client, a port for health, a lease, and the manager while we lead. */
#include "controllers/controllers.h"
#include "controllers/frame.h"
#include "controllers/health.h"

#include <signal.h>
#include <unistd.h>

struct process {
	struct loop *loop;
	struct controllers_options o;
	struct client_config config;
	struct buf root_ca;
	struct client *client;
	struct metrics *metrics;
	struct health *health;
	struct cm *cm;
	struct client_election *election;
	struct loop_ending ending;
	struct loop_task leaving; /* the client may not go inside one of its callbacks */
	bool stopping;
	int status;
};

static void leave(struct process *p)
{
	cm_free(p->cm);
	p->cm = NULL;
	health_stop(p->health);
	loop_ending_close(&p->ending);
	if (p->client)
		client_free(p->client);
	p->client = NULL;
}

static void on_leaving(struct loop_task *t)
{
	leave(container_of(t, struct process, leaving));
}

static void on_ended(void *arg)
{
	struct process *p = arg;
	p->election = NULL;
	loop_defer(p->loop, &p->leaving);
}

static void stop(struct process *p, int status)
{
	if (p->stopping)
		return;
	p->stopping = true;
	p->status = status;
	/* Nothing of ours is under way when the lease goes to somebody else. */
	cm_free(p->cm);
	p->cm = NULL;
	if (p->election)
		client_election_end(p->election, on_ended, p);
	else
		loop_defer(p->loop, &p->leaving);
}

static void on_ending(struct loop_ending *e, int signum)
{
	log_info("stopping", kv_i64("signal", signum));
	stop(container_of(e, struct process, ending), 0);
}

static void on_started(struct client_election *e, void *arg)
{
	struct process *p = arg;
	log_info("leading");
	cm_start(p->cm);
}

static void on_lost(struct client_election *e, const struct err *why, void *arg)
{
	struct process *p = arg;
	if (p->stopping)
		return;
	log_error("leaderelection lost", kv_err(why));
	stop(p, 1);
}

static int start(struct process *p, struct err *err)
{
	const struct controllers_options *o = &p->o;
	const struct client_source source = { .kubeconfig = o->kubeconfig.len ? o->kubeconfig.ptr : NULL,
					      .server = o->master.len ? o->master.ptr : NULL };
	loop_task_init(&p->leaving, on_leaving);
	int rc = client_config_load(&source, &p->config, err);
	if (rc == 0)
		rc = client_new(&(struct client_params){ .loop = p->loop, .config = &p->config, .user_agent = "knarr-controller-manager" },
				&p->client, err);
	if (rc < 0)
		return rc;
	p->metrics = metrics_new();
	metrics_process_add(p->metrics);
	if (o->root_ca_file.len)
		rc = io_read_file(AT_FDCWD, o->root_ca_file.ptr, &p->root_ca, 1 << 20, err);
	else
		buf_span_add(&p->root_ca, p->config.ca_pem);
	if (rc < 0)
		return err_note(err, "--root-ca-file");
	rc = cm_new(p->loop, p->client, o, buf_span(&p->root_ca), p->metrics, &p->cm, err);
	if (rc < 0)
		return rc;
	const struct health_params hp = { .loop = p->loop, .client = p->client, .metrics = p->metrics, .address = o->bind_address,
					  .port = (unsigned)o->secure_port, .cert_file = o->tls_cert_file, .key_file = o->tls_key_file };
	if (o->secure_port && (rc = health_new(&hp, &p->health, err)) < 0)
		return rc;
	if ((rc = loop_ending_open(&p->ending, p->loop, on_ending, err)) < 0)
		return rc;
	if (!o->leader_elect) {
		cm_start(p->cm);
		return 0;
	}
	const struct client_election_params ep = { .client = p->client, .ns = o->lease_ns, .name = o->lease_name,
						   .lease_ms = (unsigned)o->lease_ms, .renew_deadline_ms = (unsigned)o->renew_deadline_ms,
						   .retry_ms = (unsigned)o->retry_ms, .started = on_started, .stopped = on_lost, .arg = p };
	p->election = client_election_new(&ep);
	return 0;
}

int controllers_main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct process p = {};
	bool help;
	log_open(2, LOG_INFO, "controller-manager");
	controllers_options_default(&p.o);
	int rc = controllers_options_parse(&p.o, argc - 1, argv + 1, &help, &err);
	if (rc == 0 && help) {
		controllers_options_help();
		controllers_options_done(&p.o);
		return 0;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	log_open(2, p.o.log_verbosity >= 4 ? LOG_DEBUG : LOG_INFO, "controller-manager");
	if (rc == 0)
		rc = loop_new(NULL, &p.loop, &err);
	if (rc == 0 && (rc = start(&p, &err)) < 0)
		leave(&p);
	if (rc < 0) {
		(void)fprintf(stderr, "Error: %s\n", err_msg(&err));
		p.status = 1;
	}
	if (p.loop) {
		loop_trim_at_rest(p.loop);
		loop_run(p.loop);
	}
	health_free(p.health);
	loop_free(p.loop);
	metrics_free(p.metrics);
	buf_done(&p.root_ca);
	client_config_done(&p.config);
	controllers_options_done(&p.o);
	return p.status;
}
