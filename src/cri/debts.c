/* What plugins are still to be asked about sandboxes that nobody waits for, one after the other on a thread of its own, as each
 * answer may take minutes: DEL for those that are no more, and CHECK for those that an engine found when it returned.
 *
 *     cri_debt_add ──> debts ──(cri_debts_settle)──> jobs ──> thread ──> gone, or (DEL failed) debts again
 *
 * A DEL that fails is tried again with the next sandbox that gets a network, and with the next start: the record on disk says
 * that it is owed. */
#include <pthread.h>

#include "cri/cni.h"
#include "cri/private.h"

struct net_job {
	struct list link;
	struct cri *cri;
	char id[65];
	bool check;           /* else DEL */
	bool told;            /* in the log */
	struct loop_msg over;
	struct err err;
};

static void job_free(struct net_job *j)
{
	list_remove(&j->link);
	err_done(&j->err);
	free(j);
}

static void *job_run(void *arg)
{
	struct net_job *j = arg;
	struct cri *c = j->cri;
	/* j->err tells */
	(void)(j->check ? cri_net_check(&c->paths, j->id, &j->err) : cri_net_del(&c->paths, j->id, true, &j->err));
	loop_post(c->p.loop, &j->over);
	return NULL;
}

static void next(struct cri *c);

static void job_over(struct loop_msg *m)
{
	struct net_job *j = container_of(m, struct net_job, over);
	struct cri *c = j->cri;
	bool there = map_get(&c->pods_by_id, span_of(j->id)) != NULL;
	c->net_job = NULL;
	if (j->err.class && j->check && there)
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
	while ((j = LIST_POP(&c->net_jobs, struct net_job, link)) && j->check && !map_get(&c->pods_by_id, span_of(j->id)))
		job_free(j); /* removed meanwhile */
	c->net_job = j;
	if (!j)
		return;
	j->over.fn = job_over;
	cri_busy(c, 1);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int errnum = pthread_create(&thread, &attr, job_run, j);
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
