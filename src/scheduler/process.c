/* The applet: flags, a client, a lease, and the scheduler while we lead. */
#include "base/flags.h"
#include "scheduler/queue.h"
#include "scheduler/scheduler.h"

#include <signal.h>

struct process {
	struct loop *loop;
	struct client_config config;
	struct client *client;
	struct scheduler *scheduler;
	struct client_election *election;
	struct loop_ending ending;
	struct loop_task leaving; /* the client may not go inside one of its callbacks */
	bool stopping;
	int status;
	/* flags */
	const char *kubeconfig, *master, *lease_ns, *lease_name;
	bool leader_elect, help;
	int64_t lease_ms, renew_ms, retry_ms;
};

enum flag_kind { FLAG_TEXT, FLAG_BOOL, FLAG_DURATION, FLAG_ZERO, FLAG_LEVEL };
#define AT(member) offsetof(struct process, member)
static const struct flag {
	const char *name;
	enum flag_kind kind;
	size_t at;
	const char *help;
} flags[] = {
	{ "kubeconfig", FLAG_TEXT, AT(kubeconfig), "how the API server is reached" },
	{ "master", FLAG_TEXT, AT(master), "address of the API server, in place of the kubeconfig's" },
	{ "leader-elect", FLAG_BOOL, AT(leader_elect), "act only while holding the lease (default true)" },
	{ "leader-elect-lease-duration", FLAG_DURATION, AT(lease_ms), "(default 15s)" },
	{ "leader-elect-renew-deadline", FLAG_DURATION, AT(renew_ms), "(default 10s)" },
	{ "leader-elect-retry-period", FLAG_DURATION, AT(retry_ms), "(default 2s)" },
	{ "leader-elect-resource-namespace", FLAG_TEXT, AT(lease_ns), "(default kube-system)" },
	{ "leader-elect-resource-name", FLAG_TEXT, AT(lease_name), "(default kube-scheduler)" },
	{ "secure-port", FLAG_ZERO, 0, "0 alone: a port for health and metrics does not exist yet" },
	{ "v", FLAG_LEVEL, 0, "4 and more: debug" },
};

static int set_flag(struct process *p, const struct flag *f, const char *value, struct err *err)
{
	char *place = (char *)p + f->at;
	struct span v = span_of(value);
	int64_t n;
	switch (f->kind) {
	case FLAG_TEXT: *(const char **)place = value; return 0;
	case FLAG_BOOL:
		if (!span_is(v, "true") && !span_is(v, "false"))
			break;
		*(bool *)place = span_is(v, "true");
		return 0;
	case FLAG_DURATION:
		if (api_duration_parse(v, &n, NULL) < 0 || n < NS_PER_MS || n > 86400 * NS_PER_S)
			break;
		*(int64_t *)place = n / NS_PER_MS;
		return 0;
	case FLAG_ZERO: return span_is(v, "0") ? 0 : err_set(err, ERR_USAGE, "--%s: %s", f->name, f->help);
	case FLAG_LEVEL:
		if (!span_to_i64(v, &n) || n < 0)
			break;
		log_open(2, n >= 4 ? LOG_DEBUG : LOG_INFO, "scheduler");
		return 0;
	}
	return err_set(err, ERR_USAGE, "invalid argument \"%s\" for \"--%s\" flag", value, f->name);
}

static int parse(struct process *p, int argc, char **argv, struct err *err)
{
	struct flags w = FLAGS_OF(argc, argv, flags, "unexpected argument:");
	struct span value;
	int rc;
	while ((rc = flags_next(&w, err)) > 0) {
		const struct flag *f = &flags[w.row];
		if ((rc = flags_value(&w, f->kind == FLAG_BOOL, &value, err)) < 0 || (rc = set_flag(p, f, value.ptr, err)) < 0)
			return rc;
	}
	p->help = w.help;
	if (rc < 0 || w.help)
		return rc;
	if (p->lease_ms <= p->renew_ms)
		return err_set(err, ERR_USAGE, "leaseDuration must be greater than renewDeadline");
	if (p->renew_ms * 10 <= p->retry_ms * 12)
		return err_set(err, ERR_USAGE, "renewDeadline must be greater than retryPeriod*JitterFactor");
	return 0;
}

static void leave(struct process *p)
{
	scheduler_free(p->scheduler);
	p->scheduler = NULL;
	loop_ending_close(&p->ending);
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
	scheduler_free(p->scheduler);
	p->scheduler = NULL;
	if (p->election)
		client_election_end(p->election, on_ended, p);
	else
		loop_defer(p->loop, &p->leaving);
}

static void on_ending(struct loop_ending *e, int signum)
{
	stop(container_of(e, struct process, ending), 0);
}

static void on_started(struct client_election *e, void *arg)
{
	struct process *p = arg;
	log_info("leading");
	scheduler_start(p->scheduler);
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
	const struct client_source source = { .kubeconfig = p->kubeconfig, .server = p->master };
	loop_task_init(&p->leaving, on_leaving);
	int rc = client_config_load(&source, &p->config, err);
	if (rc == 0)
		rc = client_new(&(struct client_params){ .loop = p->loop, .config = &p->config, .user_agent = "knarr-scheduler" },
				&p->client, err);
	if (rc < 0)
		return rc;
	p->scheduler = scheduler_new(p->loop, p->client);
	if ((rc = loop_ending_open(&p->ending, p->loop, on_ending, err)) < 0)
		return rc;
	if (!p->leader_elect) {
		scheduler_start(p->scheduler);
		return 0;
	}
	const struct client_election_params ep = { .client = p->client, .ns = span_of(p->lease_ns), .name = span_of(p->lease_name),
						   .lease_ms = (unsigned)p->lease_ms, .renew_deadline_ms = (unsigned)p->renew_ms,
						   .retry_ms = (unsigned)p->retry_ms, .started = on_started, .stopped = on_lost, .arg = p };
	p->election = client_election_new(&ep);
	return 0;
}

int scheduler_main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct process p = { .leader_elect = true, .lease_ms = 15000, .renew_ms = 10000, .retry_ms = 2000, .lease_ns = "kube-system",
			     .lease_name = "kube-scheduler" };
	log_open(2, LOG_INFO, "scheduler");
	int rc = parse(&p, argc - 1, argv + 1, &err);
	if (rc == 0 && p.help) {
		printf("Usage: knarr scheduler [flags]\n\nFinds a node for each pod that has none.\n\nFlags:\n");
		for (size_t i = 0; i < ARRAY_LEN(flags); i++)
			printf("      --%-40s %s\n", flags[i].name, flags[i].help);
		return 0;
	}
	(void)signal(SIGPIPE, SIG_IGN);
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
	loop_free(p.loop);
	client_config_done(&p.config);
	return p.status;
}
