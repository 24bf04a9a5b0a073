/* The applet: a process with a client, a port for health, a lease, and the manager while we lead. */
#include "controllers/controllers.h"
#include "controllers/frame.h"
#include "controllers/health.h"

struct process {
	struct client_process frame;
	struct controllers_options o;
	struct buf root_ca;
	struct metrics *metrics;
	struct health *health;
	struct cm *cm;
};

static struct process *self(struct client_process *frame)
{
	return container_of(frame, struct process, frame);
}

static int start(struct client_process *frame, struct err *err)
{
	struct process *p = self(frame);
	const struct controllers_options *o = &p->o;
	int rc = 0;
	p->metrics = metrics_new();
	metrics_process_add(p->metrics);
	if (o->root_ca_file.len)
		rc = io_read_file(AT_FDCWD, o->root_ca_file.ptr, &p->root_ca, 1 << 20, err);
	else
		buf_span_add(&p->root_ca, frame->config.ca_pem);
	if (rc < 0)
		return err_note(err, "--root-ca-file");
	rc = cm_new(frame->loop, frame->client, o, buf_span(&p->root_ca), p->metrics, &p->cm, err);
	if (rc < 0)
		return rc;
	const struct health_params hp = { .loop = frame->loop, .client = frame->client, .metrics = p->metrics,
					  .address = o->bind_address, .port = (unsigned)o->secure_port,
					  .cert_file = o->tls_cert_file, .key_file = o->tls_key_file };
	return o->secure_port ? health_new(&hp, &p->health, err) : 0;
}

static void act(struct client_process *frame)
{
	cm_start(self(frame)->cm);
}

static void rest(struct client_process *frame)
{
	cm_free(self(frame)->cm);
	self(frame)->cm = NULL;
}

static void leave(struct client_process *frame)
{
	rest(frame);
	health_stop(self(frame)->health);
}

static void done(struct client_process *frame)
{
	struct process *p = self(frame);
	health_free(p->health);
	metrics_free(p->metrics);
	buf_done(&p->root_ca);
}

int controllers_main(int argc, char **argv)
{
	static const struct client_process_ops ops = { .start = start, .act = act, .rest = rest, .leave = leave, .done = done };
	auto_err struct err err = ERR_INIT;
	struct process p = {};
	const struct controllers_options *o = &p.o;
	bool help;
	int status = 0;
	log_open(2, LOG_INFO, "controller-manager");
	controllers_options_default(&p.o);
	if (controllers_options_parse(&p.o, argc - 1, argv + 1, &help, &err) < 0) {
		(void)fprintf(stderr, "Error: %s\n", err_msg(&err));
		status = 1;
	} else if (help) {
		controllers_options_help();
	} else {
		log_open(2, o->log_verbosity >= 4 ? LOG_DEBUG : LOG_INFO, "controller-manager");
		p.frame = (struct client_process){ .ops = &ops, .user_agent = "knarr-controller-manager",
			.source = { .kubeconfig = o->kubeconfig.len ? o->kubeconfig.ptr : NULL,
				    .server = o->master.len ? o->master.ptr : NULL } };
		if (o->leader_elect)
			p.frame.lease = (struct client_election_params){ .ns = o->lease_ns, .name = o->lease_name,
				.lease_ms = (unsigned)o->lease_ms, .renew_deadline_ms = (unsigned)o->renew_deadline_ms,
				.retry_ms = (unsigned)o->retry_ms };
		status = client_process_run(&p.frame);
	}
	controllers_options_done(&p.o);
	return status;
}
