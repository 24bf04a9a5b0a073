/* The turn, descriptors, messages: over libuv's loop.
 *
 *     loop_turn
 *       read now
 *       timers       our heap (loop_timer.c): under a fake clock too
 *       uv_run       ONCE when nothing is left over, else NOWAIT; libuv's own timer is the alarm for our heap
 *                      fd_ready, signal_came, wake_came -> callbacks
 *       deferred     tasks
 *       commit       commits
 *       closings     closings
 *
 * libuv is told nothing about foreground and background: the async handle keeps its loop alive, what keeps ours alive is
 * counted in `foreground`. Our timers are not libuv's because its clock cannot be turned by hand, and because
 * a restart there always costs a heap operation.
 *
 * Invariants
 * 1. A source is on its list from open to close, and its libuv handle's data points to it exactly then.
 * 2. uv handles live on the heap and are freed by libuv's close callback, so the owner's memory is free once
 *    `closed` ran, whatever libuv still does.
 * 3. Posting wakes the loop only when the inbox was empty; whoever empties it takes all. */
#include "loop/loop_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>

enum { REST_MUCH = 300, REST_FEW = 100, REST_MS = 3000 }; /* callbacks worth a trim; in REST_MS: fewer is rest */

int64_t loop_clock_ms(const struct loop *l)
{
	return clock_mono_ms(l->clock);
}

static void alarm_rang(uv_timer_t *alarm)
{
	(void)alarm; /* its purpose was to end the wait */
}

static void inbox_run(struct loop *l)
{
	struct loop_msg *newest = atomic_exchange_explicit(&l->inbox, NULL, memory_order_acquire);
	struct loop_msg *oldest = NULL;
	while (newest) {
		struct loop_msg *next = newest->next;
		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct loop_msg *m = oldest;
		oldest = m->next; /* m is the receiver's from here on */
		loop_touch(l);
		m->fn(m);
	}
}

static void wake_came(uv_async_t *wake)
{
	struct loop *l = wake->data;
	l->stats.wakeups++;
	inbox_run(l);
	if (atomic_load_explicit(&l->stop_asked, memory_order_acquire))
		l->stopping = true;
}

int loop_new(struct clock *clock, struct loop **out_loop, struct err *err)
{
	struct loop *l = mem_new(struct loop);
	int rc = uv_loop_init(&l->uv);
	if (rc < 0) {
		free(l);
		return err_sys_num(err, -rc, "event loop");
	}
	rc = uv_async_init(&l->uv, &l->wake, wake_came);
	if (rc < 0) {
		uv_loop_close(&l->uv);
		free(l);
		return err_sys_num(err, -rc, "event loop: wake-up descriptor");
	}
	l->wake.data = l;
	uv_timer_init(&l->uv, &l->alarm);
	l->clock = clock ? clock : clock_real();
	l->real_clock = l->clock == clock_real();
	l->now_ms = loop_clock_ms(l);
	l->budget = 4096;
	l->thread = pthread_self();
	l->inotify_fd = -1;
	list_init(&l->tasks);
	list_init(&l->commits);
	list_init(&l->closings);
	list_init(&l->fds);
	list_init(&l->signals);
	list_init(&l->watches);
	list_init(&l->inotify_moved);
	*out_loop = l;
	return 0;
}

static unsigned sources_open(const struct loop *l)
{
	unsigned n = l->n_timers;
	for (const struct list *e = l->fds.next; e != &l->fds; e = e->next)
		n++;
	for (const struct list *e = l->signals.next; e != &l->signals; e = e->next)
		n++;
	for (const struct list *e = l->watches.next; e != &l->watches; e = e->next)
		n++;
	return n;
}

static void closings_run(struct loop *l);

void loop_free(struct loop *l)
{
	if (!l)
		return;
	loop_watches_done(l);
	loop_timer_stop(&l->rest);
	/* What was closed in the last turn still gets its `closed`. */
	while (!list_empty(&l->closings))
		closings_run(l);
	if (sources_open(l)) {
		auto_buf struct buf dump = {};
		loop_dump(l, &dump);
		fprintf(stderr, "loop_free: still open:\n%s", buf_cstr(&dump));
		abort();
	}
	uv_close((uv_handle_t *)&l->wake, NULL);
	uv_close((uv_handle_t *)&l->alarm, NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	int rc = uv_loop_close(&l->uv);
	assert(rc == 0);
	free(l->heap);
	free(l);
}

/* Runs what waits in a queue: what is there now, and what joins while there is budget. */
static uint64_t tasks_run(struct list *queue, unsigned budget)
{
	uint64_t ran = 0;
	while (ran < budget) {
		struct loop_task *t = LIST_POP(queue, struct loop_task, link);
		if (!t)
			break;
		ran++;
		t->fn(t);
	}
	return ran;
}

static void closings_run(struct loop *l)
{
	l->stats.closings += tasks_run(&l->closings, l->budget);
}

static uint64_t callbacks(const struct loop *l)
{
	return l->stats.timers + l->stats.ios;
}

static void on_rest(struct loop_timer *t)
{
	struct loop *l = container_of(t, struct loop, rest);
	uint64_t ran = callbacks(l) - l->rest_ran;
	l->rest_ran = callbacks(l);
	if (ran >= REST_FEW)
		loop_timer_start(t, REST_MS);
	else
		(void)malloc_trim(0); /* whether there was any does not matter */
}

void loop_trim_at_rest(struct loop *l)
{
	loop_timer_init(&l->rest, l, "memory at rest", on_rest);
	l->rest.background = true;
	/* What a start needs is more than what is needed from then on. */
	loop_timer_start(&l->rest, REST_MS);
}

bool loop_turn(struct loop *l, bool wait)
{
	l->thread = pthread_self();
	l->stats.turns++;
	l->now_ms = loop_clock_ms(l);
	l->now_stale = false;
	loop_timers_run(l);

	int64_t next_ms = loop_timers_next_ms(l);
	bool left_over = !list_empty(&l->tasks) || !list_empty(&l->commits) || !list_empty(&l->closings) ||
		next_ms <= l->now_ms || l->stopping;
	bool block = wait && !left_over && l->foreground;
	if (!l->real_clock && l->n_timers)
		block = false; /* time passes by the test's hand only */
	bool alarmed = block && next_ms != INT64_MAX;
	if (alarmed) {
		uv_update_time(&l->uv);
		/* It repeats, because uv_run looks at its timers before it computes how long to wait: had the thread to stand aside
		 * here until the deadline, a single alarm would ring and be gone, and the wait have no end. */
		uv_timer_start(&l->alarm, alarm_rang, (uint64_t)(next_ms - l->now_ms), 1);
	}
	FAILPOINT("loop.turn.alarm");
	l->now_stale = true;
	uv_run(&l->uv, block ? UV_RUN_ONCE : UV_RUN_NOWAIT);
	if (alarmed)
		uv_timer_stop(&l->alarm);
	if (l->now_stale) {
		l->now_ms = loop_clock_ms(l);
		l->now_stale = false;
	}
	l->stats.deferred += tasks_run(&l->tasks, l->budget);
	l->stats.commits += tasks_run(&l->commits, l->budget);
	closings_run(l);
	if (l->rest.name && !loop_timer_running(&l->rest) && callbacks(l) - l->rest_ran >= REST_MUCH) {
		l->rest_ran = callbacks(l);
		loop_timer_start(&l->rest, REST_MS);
	}
	return l->foreground || !list_empty(&l->tasks) || !list_empty(&l->commits) || !list_empty(&l->closings) ||
		atomic_load_explicit(&l->inbox, memory_order_relaxed);
}

void loop_run(struct loop *l)
{
	l->stopping = false;
	while (loop_turn(l, true) && !l->stopping)
		;
	l->stopping = false;
	atomic_store(&l->stop_asked, false);
}

void loop_stop(struct loop *l)
{
	l->stopping = true;
}

void loop_stop_from_any(struct loop *l)
{
	atomic_store_explicit(&l->stop_asked, true, memory_order_release);
	uv_async_send(&l->wake);
}

int64_t loop_now_ms(const struct loop *l)
{
	return l->now_ms;
}

int64_t loop_wall_ns(const struct loop *l)
{
	return clock_wall_ns(l->clock);
}

struct clock *loop_clock(const struct loop *l)
{
	return l->clock;
}

bool loop_here(const struct loop *l)
{
	return pthread_equal(l->thread, pthread_self());
}

void loop_budget_set(struct loop *l, unsigned callbacks)
{
	assert(callbacks > 0);
	l->budget = callbacks;
}

struct loop_stats loop_stats(const struct loop *l)
{
	struct loop_stats s = l->stats;
	s.sources = sources_open(l);
	return s;
}

void loop_hold(struct loop *l)
{
	l->foreground++;
}

void loop_release(struct loop *l)
{
	assert(l->foreground > 0);
	l->foreground--;
}

void loop_dump(const struct loop *l, struct buf *out)
{
	for (const struct list *e = l->fds.next; e != &l->fds; e = e->next) {
		const struct loop_fd *f = LIST_ENTRY(e, struct loop_fd, link);
		buf_printf(out, "fd %d %s %s%s%s\n", f->fd, f->name, f->events & LOOP_READ ? "r" : "-",
			f->events & LOOP_WRITE ? "w" : "-", f->background ? " (background)" : "");
	}
	for (const struct list *e = l->signals.next; e != &l->signals; e = e->next) {
		const struct loop_signal *s = LIST_ENTRY(e, struct loop_signal, link);
		buf_printf(out, "signal %d %s (background)\n", s->signum, s->name);
	}
	loop_watches_dump(l, out);
	loop_timers_dump(l, out);
}

/* ---- tasks ---- */

void loop_task_init(struct loop_task *t, void (*fn)(struct loop_task *t))
{
	list_init(&t->link);
	t->fn = fn;
}

void loop_defer(struct loop *l, struct loop_task *t)
{
	if (list_empty(&t->link))
		list_push(&l->tasks, &t->link);
}

void loop_at_commit(struct loop *l, struct loop_task *t)
{
	if (list_empty(&t->link))
		list_push(&l->commits, &t->link);
}

void loop_task_cancel(struct loop_task *t)
{
	list_remove(&t->link);
}

/* ---- descriptors ---- */

static int fd_poll(struct loop_fd *f);

static void fd_ready(uv_poll_t *poll, int status, int uv_events)
{
	struct loop_fd *f = poll->data;
	if (!f)
		return;
	unsigned events = 0;
	if (status < 0) {
		/* libuv stopped polling because of EPOLLERR. The owner's next read or write gets the errno; polling goes
		 * on afterwards if the owner keeps the source. */
		events = LOOP_READ | LOOP_WRITE | LOOP_HUP;
	} else {
		if (uv_events & UV_READABLE)
			events |= LOOP_READ;
		if (uv_events & UV_WRITABLE)
			events |= LOOP_WRITE;
		if (uv_events & UV_DISCONNECT)
			events |= LOOP_HUP;
	}
	loop_touch(f->loop);
	f->fn(f, events);
	if (status < 0 && poll->data == f && f->events) /* poll is freed by a later phase, so it may be read */
		(void)fd_poll(f); /* can only fail for a descriptor that the owner closed too early */
}

static int fd_poll(struct loop_fd *f)
{
	if (!f->events)
		return uv_poll_stop(f->poll);
	int want = 0;
	if (f->events & LOOP_READ)
		want |= UV_READABLE;
	if (f->events & LOOP_WRITE)
		want |= UV_WRITABLE;
	if (f->events & LOOP_HUP)
		want |= UV_DISCONNECT;
	return uv_poll_start(f->poll, want, fd_ready);
}

int loop_fd_open(struct loop_fd *f, struct loop *l, const char *name, int fd,
	void (*fn)(struct loop_fd *f, unsigned events), struct err *err)
{
	*f = (struct loop_fd){ .loop = l, .name = name, .fn = fn, .fd = fd };
	list_init(&f->link);
	uv_poll_t *poll = mem_new(uv_poll_t);
	int rc = uv_poll_init(&l->uv, poll, fd);
	if (rc < 0) {
		free(poll);
		return err_sys_num(err, -rc, "watching descriptor %d (%s)", fd, name);
	}
	poll->data = f;
	f->poll = poll;
	list_push(&l->fds, &f->link);
	loop_keep(l, f->background, 1);
	return 0;
}

void loop_fd_want(struct loop_fd *f, unsigned events)
{
	assert(f->poll);
	if (f->events == events)
		return;
	f->events = (uint8_t)events;
	int rc = fd_poll(f);
	assert(rc == 0);
}

void loop_fd_background(struct loop_fd *f, bool background)
{
	assert(f->poll);
	loop_keep(f->loop, f->background, -1);
	f->background = background;
	loop_keep(f->loop, f->background, 1);
}

static void handle_free(uv_handle_t *h)
{
	free(h);
}

/* closed callbacks need a task; it is allocated so that small sources stay small. */
struct closing {
	struct loop_task task;
	void (*fd_closed)(struct loop_fd *f);
	void (*signal_closed)(struct loop_signal *s);
	void *source;
};

static void closing_run(struct loop_task *t)
{
	struct closing *c = container_of(t, struct closing, task);
	struct closing copy = *c;
	free(c);
	if (copy.fd_closed)
		copy.fd_closed(copy.source);
	else if (copy.signal_closed)
		copy.signal_closed(copy.source);
}

static void closing_add(struct loop *l, struct closing what)
{
	if (!what.fd_closed && !what.signal_closed)
		return;
	struct closing *c = mem_alloc(sizeof(*c));
	*c = what;
	loop_task_init(&c->task, closing_run);
	loop_at_close(l, &c->task);
}

void loop_fd_close(struct loop_fd *f, void (*closed)(struct loop_fd *f))
{
	assert(f->poll);
	uv_poll_t *poll = f->poll;
	poll->data = NULL;
	f->poll = NULL;
	f->events = 0;
	uv_close((uv_handle_t *)poll, handle_free); /* forgets the descriptor at once */
	list_remove(&f->link);
	loop_keep(f->loop, f->background, -1);
	closing_add(f->loop, (struct closing){ .fd_closed = closed, .source = f });
}

/* ---- signals ---- */

static void signal_came(uv_signal_t *handle, int signum)
{
	struct loop_signal *s = handle->data;
	if (!s)
		return;
	loop_touch(s->loop);
	s->fn(s);
}

int loop_signal_open(struct loop_signal *s, struct loop *l, const char *name, int signum,
	void (*fn)(struct loop_signal *s), struct err *err)
{
	*s = (struct loop_signal){ .loop = l, .name = name, .fn = fn, .signum = signum };
	list_init(&s->link);
	uv_signal_t *handle = mem_new(uv_signal_t);
	uv_signal_init(&l->uv, handle);
	handle->data = s;
	int rc = uv_signal_start(handle, signal_came, signum);
	if (rc < 0) {
		uv_close((uv_handle_t *)handle, handle_free);
		return err_sys_num(err, -rc, "listening to signal %d (%s)", signum, name);
	}
	s->handle = handle;
	list_push(&l->signals, &s->link);
	return 0;
}

static void ending_came(struct loop_signal *s)
{
	struct loop_ending *e = s->signum == SIGTERM ? container_of(s, struct loop_ending, term) :
						       container_of(s, struct loop_ending, interrupt);
	e->fn(e, s->signum);
}

int loop_ending_open(struct loop_ending *e, struct loop *l, void (*fn)(struct loop_ending *e, int signum), struct err *err)
{
	e->fn = fn;
	int rc = loop_signal_open(&e->term, l, "SIGTERM", SIGTERM, ending_came, err);
	if (rc == 0)
		rc = loop_signal_open(&e->interrupt, l, "SIGINT", SIGINT, ending_came, err);
	if (rc < 0)
		loop_ending_close(e);
	return rc;
}

void loop_ending_close(struct loop_ending *e)
{
	if (e->term.handle)
		loop_signal_close(&e->term, NULL);
	if (e->interrupt.handle)
		loop_signal_close(&e->interrupt, NULL);
}

void loop_signal_close(struct loop_signal *s, void (*closed)(struct loop_signal *s))
{
	assert(s->handle);
	uv_signal_t *handle = s->handle;
	handle->data = NULL;
	s->handle = NULL;
	uv_close((uv_handle_t *)handle, handle_free);
	list_remove(&s->link);
	closing_add(s->loop, (struct closing){ .signal_closed = closed, .source = s });
}

/* ---- messages ---- */

void loop_post(struct loop *l, struct loop_msg *m)
{
	struct loop_msg *head = atomic_load_explicit(&l->inbox, memory_order_relaxed);
	do {
		m->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&l->inbox, &head, m, memory_order_release,
		memory_order_relaxed));
	if (!head)
		uv_async_send(&l->wake);
}

struct posted_call {
	struct loop_msg msg;
	void (*fn)(void *arg);
	void *arg;
};

static void posted_call_run(struct loop_msg *m)
{
	struct posted_call *c = container_of(m, struct posted_call, msg);
	void (*fn)(void *arg) = c->fn;
	void *arg = c->arg;
	free(c);
	fn(arg);
}

void loop_post_call(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct posted_call *c = mem_alloc(sizeof(*c));
	*c = (struct posted_call){ .msg.fn = posted_call_run, .fn = fn, .arg = arg };
	loop_post(l, &c->msg);
}
