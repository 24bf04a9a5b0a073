/* Worker threads with a bounded queue, and the C library's resolver.
 *
 *     owner's loop         pool                       worker
 *     submit   ──────────▶ queue (lock) ──────────▶   run
 *     done     ◀── loop_post ────────────────────────
 *
 * A job's state tells whether it may still be taken back: it changes under the pool's lock alone.
 *
 * Jobs that wait for somebody (loop_pool_wait_begin) are no reason for the others to wait with them: while more jobs are queued
 * than threads are free, and fewer extra threads live than jobs wait, one more is started. It does what the pool's own
 * (n_threads) do, and ends when it finds nothing to do and there are more of its kind than jobs that wait. */
#include "loop/loop_impl.h"

#include <errno.h>

enum { WORK_IDLE, WORK_QUEUED, WORK_RUNNING };

struct loop_pool {
	pthread_mutex_t lock;
	pthread_cond_t some;  /* the queue has something, or the end has come */
	struct list queue;    /* loop_work.link */
	unsigned n_queued, queue_limit;
	unsigned n_threads;
	unsigned n_idle;      /* threads that wait for a job; one that was signalled counts until it wakes */
	unsigned n_waiting;   /* jobs between wait_begin and wait_end */
	unsigned n_extra;     /* threads beyond n_threads, detached */
	pthread_cond_t alone; /* n_extra is 0 */
	bool ending;
	pthread_t threads[];
};

static void work_answer(struct loop_msg *m)
{
	struct loop_work *w = container_of(m, struct loop_work, msg);
	w->state = WORK_IDLE;
	loop_release(w->owner);
	w->done(w);
}

/* Under the lock, which it keeps. */
static void serve(struct loop_pool *p, bool extra)
{
	for (;;) {
		struct loop_work *w = LIST_POP(&p->queue, struct loop_work, link);
		if (!w) {
			if (p->ending || (extra && p->n_extra > p->n_waiting))
				break;
			p->n_idle++;
			pthread_cond_wait(&p->some, &p->lock);
			p->n_idle--;
			continue;
		}
		p->n_queued--;
		w->state = WORK_RUNNING;
		pthread_mutex_unlock(&p->lock);
		w->run(w);
		w->msg.fn = work_answer;
		loop_post(w->owner, &w->msg);
		pthread_mutex_lock(&p->lock);
	}
}

static void *worker(void *arg)
{
	struct loop_pool *p = arg;
	pthread_mutex_lock(&p->lock);
	serve(p, false);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void *extra_worker(void *arg)
{
	struct loop_pool *p = arg;
	pthread_mutex_lock(&p->lock);
	serve(p, true);
	if (--p->n_extra == 0)
		pthread_cond_signal(&p->alone);
	pthread_mutex_unlock(&p->lock); /* the last touch: who frees the pool has to have the lock first */
	return NULL;
}

/* Under the lock. One that cannot be had is none: the queue then moves when somebody comes back. */
static void extra_start(struct loop_pool *p)
{
	pthread_t thread;
	sigset_t all, before;
	if (p->n_queued <= p->n_idle || p->n_extra >= MIN(p->n_waiting, LOOP_POOL_EXTRA_MAX))
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, extra_worker, p) == 0) {
		pthread_detach(thread);
		p->n_extra++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void loop_pool_wait_begin(struct loop_pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->n_waiting++;
	extra_start(p);
	pthread_mutex_unlock(&p->lock);
}

void loop_pool_wait_end(struct loop_pool *p)
{
	pthread_mutex_lock(&p->lock);
	assert(p->n_waiting > 0);
	p->n_waiting--;
	if (p->n_extra > p->n_waiting)
		pthread_cond_broadcast(&p->some); /* an extra one ends */
	pthread_mutex_unlock(&p->lock);
}

int loop_pool_new(unsigned threads, unsigned queue_limit, struct loop_pool **out_pool, struct err *err)
{
	assert(threads > 0 && queue_limit > 0);
	struct loop_pool *p = mem_zalloc(sizeof(*p) + threads * sizeof(p->threads[0]));
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->some, NULL);
	pthread_cond_init(&p->alone, NULL);
	list_init(&p->queue);
	p->queue_limit = queue_limit;
	/* Signals are for the loops. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = 0;
	for (unsigned i = 0; i < threads && rc == 0; i++) {
		rc = pthread_create(&p->threads[i], NULL, worker, p);
		if (rc == 0)
			p->n_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0) {
		loop_pool_free(p);
		return err_sys_num(err, rc, "starting %u worker threads", threads);
	}
	*out_pool = p;
	return 0;
}

void loop_pool_free(struct loop_pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->ending = true;
	pthread_cond_broadcast(&p->some);
	while (p->n_extra > 0)
		pthread_cond_wait(&p->alone, &p->lock);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n_threads; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->some);
	pthread_cond_destroy(&p->alone);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

int loop_work_submit(struct loop_pool *p, struct loop *owner, struct loop_work *w, const char *name,
	void (*run)(struct loop_work *w), void (*done)(struct loop_work *w))
{
	int refused = 0;
	(void)FAILPOINT_ERR(name, &refused); /* a full pool, for tests: by the work's name */
	pthread_mutex_lock(&p->lock);
	if (p->n_queued >= p->queue_limit || p->ending || refused) {
		pthread_mutex_unlock(&p->lock);
		return -ERR_TOO_MANY;
	}
	*w = (struct loop_work){ .owner = owner, .pool = p, .name = name, .run = run, .done = done, .state = WORK_QUEUED };
	list_init(&w->link);
	list_push(&p->queue, &w->link);
	p->n_queued++;
	extra_start(p);
	pthread_cond_signal(&p->some);
	pthread_mutex_unlock(&p->lock);
	loop_hold(owner);
	return 0;
}

bool loop_work_cancel(struct loop_work *w)
{
	struct loop_pool *p = w->pool;
	pthread_mutex_lock(&p->lock);
	bool waiting = w->state == WORK_QUEUED;
	if (waiting) {
		list_remove(&w->link);
		p->n_queued--;
		w->state = WORK_IDLE;
	}
	pthread_mutex_unlock(&p->lock);
	if (waiting)
		loop_release(w->owner);
	return waiting;
}

/* ---- names to addresses ---- */

struct resolving {
	uv_getaddrinfo_t uv;
	struct loop *loop;
	struct loop_resolve *asker; /* NULL = given up */
};

static void resolved(uv_getaddrinfo_t *uv, int status, struct addrinfo *list)
{
	struct resolving *r = container_of(uv, struct resolving, uv);
	struct loop_resolve *asker = r->asker;
	if (asker) {
		asker->req = NULL;
		loop_release(r->loop);
		loop_touch(r->loop);
		int rc = 0;
		/* libuv has its own numbers for what getaddrinfo says. */
		switch (status) {
		case 0: rc = 0; break;
		case UV_EAI_AGAIN: rc = EAI_AGAIN; break;
		case UV_EAI_MEMORY: rc = EAI_MEMORY; break;
		case UV_EAI_FAMILY: rc = EAI_FAMILY; break;
		case UV_EAI_SERVICE: rc = EAI_SERVICE; break;
		case UV_EAI_FAIL: rc = EAI_FAIL; break;
		default: rc = EAI_NONAME; break;
		}
		asker->fn(asker, rc, list);
	}
	uv_freeaddrinfo(list);
	free(r);
}

int loop_resolve_start(struct loop_resolve *r, struct loop *l, const char *host, const char *port,
	void (*fn)(struct loop_resolve *r, int rc, const struct addrinfo *list), struct err *err)
{
	struct resolving *req = mem_new(struct resolving);
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC };
	req->loop = l;
	req->asker = r;
	*r = (struct loop_resolve){ .req = req, .fn = fn };
	int rc = uv_getaddrinfo(&l->uv, &req->uv, resolved, host, port, &hints);
	if (rc < 0) {
		free(req);
		r->req = NULL;
		return err_sys_num(err, -rc, "looking up %s", host);
	}
	loop_hold(l);
	return 0;
}

void loop_resolve_cancel(struct loop_resolve *r)
{
	struct resolving *req = r->req;
	if (!req)
		return;
	r->req = NULL;
	req->asker = NULL;
	loop_release(req->loop);
	(void)uv_cancel((uv_req_t *)&req->uv); /* too late for one that runs: its answer is dropped */
}
