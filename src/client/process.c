/* The frame of a process that works with the API: see client_process in client.h.
 *
 *     start ──> act at once, or when the lease is ours ──> a signal, the lease lost, client_process_stop
 *       └ failed ──> leave ──> done                          └ rest ──> lease given back ──> leave ──> loop ends ──> done
 *
 * leave is deferred because stop is often called from a callback of what it frees. */
#include <signal.h>
#include <stdio.h>

#include "client/private.h"

static void leave(struct client_process *p)
{
	p->ops->leave(p);
	loop_ending_close(&p->ending);
	client_free(p->client);
	p->client = NULL;
}

static void on_leaving(struct loop_task *t)
{
	leave(container_of(t, struct client_process, leaving));
}

static void on_ended(void *arg)
{
	struct client_process *p = arg;
	p->election = NULL;
	loop_defer(p->loop, &p->leaving);
}

void client_process_stop(struct client_process *p, int status)
{
	if (p->stopping)
		return;
	p->stopping = true;
	p->status = status;
	/* Nothing of ours is under way when the lease goes to somebody else. */
	if (p->ops->rest)
		p->ops->rest(p);
	if (p->election)
		client_election_end(p->election, on_ended, p);
	else
		loop_defer(p->loop, &p->leaving);
}

static void on_ending(struct loop_ending *e, int signum)
{
	log_info("stopping", kv_i64("signal", signum));
	client_process_stop(container_of(e, struct client_process, ending), 0);
}

static void on_leading(struct client_election *e, void *arg)
{
	struct client_process *p = arg;
	log_info("leading");
	p->ops->act(p);
}

static void on_lost(struct client_election *e, const struct err *why, void *arg)
{
	struct client_process *p = arg;
	if (p->stopping)
		return;
	log_error("leaderelection lost", kv_err(why));
	client_process_stop(p, 1);
}

static int start(struct client_process *p, struct err *err)
{
	const struct client_params cp = { .loop = p->loop, .config = &p->config, .user_agent = p->user_agent };
	int rc = client_config_load(&p->source, &p->config, err);
	if (rc == 0)
		rc = client_new(&cp, &p->client, err);
	if (rc == 0)
		client_follow(p->client, &p->source);
	if (rc == 0)
		rc = p->ops->start(p, err);
	if (rc == 0)
		rc = loop_ending_open(&p->ending, p->loop, on_ending, err);
	if (rc < 0 || !p->ops->act)
		return rc;
	if (!p->lease.name.len) {
		p->ops->act(p);
		return 0;
	}
	p->lease.client = p->client;
	p->lease.started = on_leading;
	p->lease.stopped = on_lost;
	p->lease.arg = p;
	p->election = client_election_new(&p->lease);
	return 0;
}

int client_process_run(struct client_process *p)
{
	auto_err struct err err = ERR_INIT;
	(void)signal(SIGPIPE, SIG_IGN);
	loop_task_init(&p->leaving, on_leaving);
	int rc = loop_new(NULL, &p->loop, &err);
	if (rc == 0 && (rc = start(p, &err)) < 0)
		leave(p);
	if (rc < 0) {
		(void)fprintf(stderr, "Error: %s\n", err_msg(&err));
		p->status = 1;
	}
	if (p->loop) {
		loop_trim_at_rest(p->loop);
		loop_run(p->loop); /* after a start that failed: what was begun closes */
	}
	p->ops->done(p);
	loop_free(p->loop);
	client_config_done(&p->config);
	return p->status;
}
