/* The applet: flags, a client, a lease, and the scheduler while we lead. */
#include "base/flags.h"
#include "scheduler/queue.h"
#include "scheduler/scheduler.h"

struct process {
	struct client_process frame;
	struct scheduler *scheduler;
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

static struct process *self(struct client_process *frame)
{
	return container_of(frame, struct process, frame);
}

static int start(struct client_process *frame, struct err *err)
{
	self(frame)->scheduler = scheduler_new(frame->loop, frame->client);
	return 0;
}

static void act(struct client_process *frame)
{
	scheduler_start(self(frame)->scheduler);
}

/* At rest, and when it leaves. */
static void end(struct client_process *frame)
{
	scheduler_free(self(frame)->scheduler);
	self(frame)->scheduler = NULL;
}

static void done(struct client_process *frame)
{
}

int scheduler_main(int argc, char **argv)
{
	static const struct client_process_ops ops = { .start = start, .act = act, .rest = end, .leave = end, .done = done };
	auto_err struct err err = ERR_INIT;
	struct process p = { .leader_elect = true, .lease_ms = 15000, .renew_ms = 10000, .retry_ms = 2000, .lease_ns = "kube-system",
			     .lease_name = "kube-scheduler" };
	log_open(2, LOG_INFO, "scheduler");
	if (parse(&p, argc - 1, argv + 1, &err) < 0) {
		(void)fprintf(stderr, "Error: %s\n", err_msg(&err));
		return 1;
	}
	if (p.help) {
		printf("Usage: knarr scheduler [flags]\n\nFinds a node for each pod that has none.\n\nFlags:\n");
		FLAGS_PRINT(flags);
		return 0;
	}
	p.frame = (struct client_process){ .ops = &ops, .source = { .kubeconfig = p.kubeconfig, .server = p.master },
					   .user_agent = "knarr-scheduler" };
	if (p.leader_elect)
		p.frame.lease = (struct client_election_params){ .ns = span_of(p.lease_ns), .name = span_of(p.lease_name),
			.lease_ms = (unsigned)p.lease_ms, .renew_deadline_ms = (unsigned)p.renew_ms, .retry_ms = (unsigned)p.retry_ms };
	return client_process_run(&p.frame);
}
