/* What the files of the loop share. Private. */
#pragma once

#include <assert.h>
#include <pthread.h>
#include <uv.h>
#undef MIN /* sys/param.h, which uv.h brings in, has them too */
#undef MAX
#include "loop/loop.h"

struct loop {
	uv_loop_t uv;
	uv_timer_t alarm;        /* the earliest deadline, real clock only */
	uv_async_t wake;
	struct clock *clock;
	int64_t now_ms;
	bool now_stale;          /* the wait is over, now was not read since */
	bool real_clock;
	bool stopping;
	atomic_bool stop_asked;  /* from another thread */
	unsigned budget;
	pthread_t thread;        /* who turned last */

	struct loop_timer **heap; /* owned; 4-ary, by (slot_ms, order) */
	uint32_t n_timers, cap_timers;
	uint64_t order;

	struct list tasks, commits, closings; /* loop_task.link */
	struct list fds, signals, watches;    /* open sources */
	unsigned foreground;     /* open sources, running timers and holds that keep loop_run going */
	_Atomic(struct loop_msg *) inbox; /* newest first */
	struct list inotify_moved; /* watches of the dispatch that is going on */
	struct loop_fd inotify;
	int inotify_fd;          /* owned, -1 = none yet */
	struct loop_stats stats;
	struct loop_timer rest;  /* loop_trim_at_rest; no name: not asked for */
	uint64_t rest_ran;       /* callbacks when it was last looked at */
};

int64_t loop_clock_ms(const struct loop *l);
/* Called before every callback of the I/O phase. */
static inline void loop_touch(struct loop *l)
{
	if (l->now_stale) {
		l->now_ms = loop_clock_ms(l);
		l->now_stale = false;
	}
	l->stats.ios++;
}
static inline void loop_keep(struct loop *l, bool background, int by)
{
	if (!background)
		l->foreground += (unsigned)by;
}

/* loop_timer.c */
void loop_timers_run(struct loop *l);
int64_t loop_timers_next_ms(const struct loop *l); /* earliest deadline, INT64_MAX for none */
void loop_timers_dump(const struct loop *l, struct buf *out);
/* loop_watch.c */
void loop_watches_done(struct loop *l);
void loop_watches_dump(const struct loop *l, struct buf *out);

/* Queues a task for the closings phase. */
static inline void loop_at_close(struct loop *l, struct loop_task *t)
{
	list_push(&l->closings, &t->link);
}
