/* What plugins are still to be asked about sandboxes that nobody waits for, one after the other on a thread of its own, as each
 * answer may take minutes: DEL for those that are no more, and CHECK for those that an engine found when it returned.
 *
 *     cri_debt_add ──> debts ──(cri_debts_settle)──> jobs ──> thread ──> gone, or (DEL failed) debts again
 *
 * A DEL that fails is tried again with the next sandbox that gets a network, and with the next start: the record on disk says
 * that it is owed.
 *
 * Plugins may expect that nothing else is asked of them about a sandbox while they run (CNI specification 1.1.0, section 2: "the
 * runtime must not invoke parallel operations for the same container"). DEL of what is no more meets nobody; a CHECK may meet
 * StopPodSandbox, which ends it, waits for its end and goes on: what a network was like matters to nobody then. */
#include <pthread.h>
#include <sys/eventfd.h>

#include "cri/cni.h"
#include "cri/private.h"

struct net_job {
	struct list link;
	struct cri *cri;
	char id[65];
	bool check;           /* else DEL */
	bool told;            /* in the log */
	int ending;           /* of a CHECK: readable when it is to end; -1 = it has not begun */
	struct cri_call *waits; /* for its end; then `then` */
	void (*then)(struct cri_call *k);
	struct loop_msg over;
	struct err err;
};

static void job_free(struct net_job *j)
{
	list_remove(&j->link);
	fd_close(&j->ending);
	err_done(&j->err);
	free(j);
}

static void *job_run(void *arg)
{
	struct net_job *j = arg;
	struct cri *c = j->cri;
	struct cri_paths paths = c->paths;
	if (j->check)
		paths.ending = j->ending;
	/* j->err tells */
	(void)(j->check ? cri_net_check(&paths, j->id, &j->err) : cri_net_del(&paths, j->id, true, &j->err));
	loop_post(c->p.loop, &j->over);
	return NULL;
}

static void next(struct cri *c);

/* Of one that is being stopped nobody asks. */
static bool checked(struct cri *c, const char *id)
{
	const struct cri_pod *pod = map_get(&c->pods_by_id, span_of(id));
	return pod && !pod->stopped;
}

static void job_over(struct loop_msg *m)
{
	struct net_job *j = container_of(m, struct net_job, over);
	struct cri *c = j->cri;
	struct cri_call *waits = j->waits;
	void (*then)(struct cri_call *k) = j->then;
	c->net_job = NULL;
	if (j->err.class && j->check && checked(c, j->id))
		log_warn("a sandbox' network is not as its plugins made it", kv_str("sandbox", j->id), kv_err(&j->err));
	if (j->err.class && !j->check) {
		if (!j->told)
			log_warn("a sandbox' network is not taken back completely", kv_str("sandbox", j->id), kv_err(&j->err));
		j->told = true;
		err_done(&j->err);
		list_push(&c->debts, &j->link);
	} else {
		job_free(j);
	}
	if (waits)
		then(waits);
	next(c);
	cri_busy(c, -1);
}

static void next(struct cri *c)
{
	pthread_t thread;
	pthread_attr_t attr;
	if (c->net_job || c->stopping)
		return;
	struct net_job *j;
	while ((j = LIST_POP(&c->net_jobs, struct net_job, link)) && j->check && !checked(c, j->id))
		job_free(j); /* removed or stopped meanwhile */
	c->net_job = j;
	if (!j)
		return;
	j->over.fn = job_over;
	cri_busy(c, 1);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	j->ending = j->check ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	int errnum = j->check && j->ending < 0 ? errno : pthread_create(&thread, &attr, job_run, j);
	pthread_attr_destroy(&attr);
	if (!errnum)
		return;
	(void)err_sys_num(&j->err, errnum, "a thread for it");
	loop_post(c->p.loop, &j->over);
}

static struct net_job *job_new(struct cri *c, const char *id, bool check)
{
	struct net_job *j = mem_new(struct net_job);
	j->cri = c;
	j->check = check;
	j->ending = -1;
	memcpy(j->id, id, sizeof(j->id) - 1);
	list_init(&j->link);
	return j;
}

void cri_check_add(struct cri *c, const char *id)
{
	struct net_job *j = job_new(c, id, true);
	list_push(&c->net_jobs, &j->link);
	next(c);
}

void cri_check_cancel(struct cri *c)
{
	const struct net_job *j = c->net_job;
	const uint64_t one = 1;
	if (j && j->ending >= 0)
		(void)!write(j->ending, &one, sizeof(one)); /* it cannot be full */
}

bool cri_check_end(struct cri *c, const char *id, struct cri_call *k, void (*then)(struct cri_call *k))
{
	struct net_job *j = c->net_job;
	if (!j || !j->check || strcmp(j->id, id) != 0)
		return false;
	assert(!j->waits); /* changes of a sandbox come one after the other */
	j->waits = k;
	j->then = then;
	cri_check_cancel(c);
	return true;
}

void cri_debt_add(struct cri *c, const char *id)
{
	LIST_EACH (&c->debts, d, struct net_job, link)
		if (!strcmp(d->id, id))
			return;
	struct net_job *j = job_new(c, id, false);
	list_push(&c->debts, &j->link);
}

void cri_debts_settle(struct cri *c)
{
	struct net_job *j;
	while ((j = LIST_POP(&c->debts, struct net_job, link)))
		list_push_front(&c->net_jobs, &j->link); /* what is owed comes before what is only looked at */
	next(c);
}

void cri_debts_free(struct cri *c)
{
	LIST_EACH (&c->debts, d, struct net_job, link)
		job_free(d);
	LIST_EACH (&c->net_jobs, j, struct net_job, link)
		job_free(j);
}
