/* Work queues: a key is waiting, running, or both; never twice in one of them. */
#include "client/private.h"

#define BASE_MS 5
#define MAX_MS 1000000

struct entry {
	struct client_job job; /* key: text */
	struct list link;      /* of ready, while queued */
	struct loop_timer timer;
	bool queued, running, again;
	char text[];
};

struct client_queue {
	struct client_queue_params p;
	struct map entries;
	struct list ready;
	struct loop_task dispatch;
	size_t n_ready, n_running;
};

static void on_dispatch(struct loop_task *t);

struct client_queue *client_queue_new(const struct client_queue_params *p)
{
	struct client_queue *q = mem_new(struct client_queue);
	*q = (struct client_queue){ .p = *p };
	if (!q->p.workers)
		q->p.workers = 1;
	if (!q->p.base_ms)
		q->p.base_ms = BASE_MS;
	if (!q->p.max_ms)
		q->p.max_ms = MAX_MS;
	list_init(&q->ready);
	loop_task_init(&q->dispatch, on_dispatch);
	return q;
}

void client_queue_free(struct client_queue *q)
{
	if (!q)
		return;
	assert(q->n_running == 0);
	loop_task_cancel(&q->dispatch);
	MAP_EACH(&q->entries, e) {
		struct entry *x = e->value;
		loop_timer_stop(&x->timer);
		free(x);
	}
	map_done(&q->entries);
	free(q);
}

/* An entry that says nothing any more goes. */
static void settle(struct client_queue *q, struct entry *x)
{
	if (x->queued || x->running || x->job.failures || loop_timer_running(&x->timer))
		return;
	map_remove(&q->entries, x->job.key);
	free(x);
}

static void make_ready(struct client_queue *q, struct entry *x)
{
	if (x->queued)
		return;
	if (x->running) {
		x->again = true;
		return;
	}
	x->queued = true;
	list_push(&q->ready, &x->link);
	q->n_ready++;
	loop_defer(q->p.loop, &q->dispatch);
}

static void on_due(struct loop_timer *t)
{
	struct entry *x = container_of(t, struct entry, timer);
	make_ready(x->job.queue, x);
}

static struct entry *entry_get(struct client_queue *q, struct span key)
{
	struct entry *x = map_get(&q->entries, key);
	if (x)
		return x;
	x = mem_zalloc(sizeof(*x) + key.len + 1);
	memcpy(x->text, key.ptr, key.len);
	x->job = (struct client_job){ .queue = q, .key = { x->text, key.len } };
	list_init(&x->link);
	loop_timer_init(&x->timer, q->p.loop, q->p.name, on_due);
	map_put(&q->entries, x->job.key, x);
	return x;
}

void client_queue_add(struct client_queue *q, struct span key)
{
	make_ready(q, entry_get(q, key));
}

void client_queue_add_after(struct client_queue *q, struct span key, int64_t delay_ms)
{
	struct entry *x = entry_get(q, key);
	if (delay_ms <= 0) {
		make_ready(q, x);
		return;
	}
	if (!loop_timer_running(&x->timer) || x->timer.due_ms > loop_now_ms(q->p.loop) + delay_ms)
		loop_timer_start(&x->timer, delay_ms);
}

static void on_dispatch(struct loop_task *t)
{
	struct client_queue *q = container_of(t, struct client_queue, dispatch);
	struct entry *x;
	if (q->n_running >= q->p.workers || !(x = LIST_POP(&q->ready, struct entry, link)))
		return;
	q->n_ready--;
	q->n_running++;
	x->queued = false;
	x->running = true;
	/* One a task, so that the loop's budget counts jobs; the next is asked for before this one may free the queue. */
	if (q->n_ready && q->n_running < q->p.workers)
		loop_defer(q->p.loop, &q->dispatch);
	q->p.run(&x->job, q->p.arg);
}

void client_job_done(struct client_job *job, enum client_result result)
{
	struct entry *x = container_of(job, struct entry, job);
	struct client_queue *q = job->queue;
	assert(x->running);
	x->running = false;
	q->n_running--;
	if (result == CLIENT_RETRY) {
		job->failures++;
		client_queue_add_after(q, job->key, (int64_t)client_doubled_ms(job->failures, q->p.base_ms, q->p.max_ms));
	} else {
		job->failures = 0;
	}
	if (x->again) {
		x->again = false;
		make_ready(q, x);
	}
	if (q->n_ready)
		loop_defer(q->p.loop, &q->dispatch);
	settle(q, x);
}

size_t client_queue_waiting(const struct client_queue *q)
{
	return q->n_ready;
}

size_t client_queue_running(const struct client_queue *q)
{
	return q->n_running;
}
