/* One event loop per thread, and one owner of state: the thread that runs the loop.
 *
 * A turn has a fixed order:
 *
 *     timers      what is due, oldest deadline first, equal deadlines in the order they were started
 *     I/O         one wait (none when work is left over), then ready descriptors, signals, children, watches,
 *                 resolver answers and messages from other threads
 *     deferred    tasks given to loop_defer, first come first served; a task deferred meanwhile still runs in
 *                 this turn while the phase has budget
 *     commit      tasks given to loop_at_commit: whoever groups work (a store's sync, a socket's flush) does it
 *                 once for everything that the turn brought
 *     closings    `closed` callbacks of what was closed; then the memory belongs to its owner again
 *
 * Promises
 * - A callback never runs inside the call that began the operation, and never after its source was closed.
 * - `now` is read when a turn begins and again when its wait ends; in between it stands still.
 * - Each phase has a budget of callbacks (loop_budget_set); what is left waits for the next turn, which then does not
 *   block, so no phase starves another.
 * - A loop with nothing to do sleeps in one system call without a timeout; there are no periodic wake-ups.
 * - Every source has a name (borrowed for ever: use a literal), and loop_dump prints all that are open.
 * - Closing is two-step: loop_x_close ends the events at once; the memory may be reused from `closed` on (closed may be
 *   NULL where the memory outlives the loop). Timers and tasks hold nothing outside and end at once: after
 *   loop_timer_stop or loop_task_cancel the memory is free.
 *
 * Threads: everything here is for the loop's own thread, except loop_post, loop_post_call and loop_stop_from_any. Structs
 * are embedded in the caller's; their fields are private unless marked. A source may close itself and any other
 * source in its own callback.
 *
 *     struct loop *l;
 *     loop_new(NULL, &l, &err);
 *     loop_fd_open(&c->fd, l, "docker client", sock, on_ready, &err);
 *     loop_fd_want(&c->fd, LOOP_READ);
 *     loop_run(l);                 // until loop_stop, or until no foreground source is left
 *     loop_free(l); */
#pragma once

#include <netdb.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>
#include "base/base.h"

struct loop;
struct loop_pool;

/* clock NULL = clock_real(). Under any other clock a turn never waits for time to pass: the test moves the clock and
 * calls loop_turn. 0 or -class. */
int loop_new(struct clock *clock, struct loop **out_loop, struct err *err);
/* Everything must be closed (an open source is our mistake: its name is printed, then abort). Accepts NULL. */
void loop_free(struct loop *l);
/* Turns until loop_stop, or until nothing that is not in the background is left. */
void loop_run(struct loop *l);
/* One turn; wait = may block when there is nothing to do. False when nothing keeps the loop alive. */
bool loop_turn(struct loop *l, bool wait);
void loop_stop(struct loop *l); /* loop_run returns at the end of this turn */
void loop_stop_from_any(struct loop *l); /* the same from any thread */

int64_t loop_now_ms(const struct loop *l); /* monotonic, stands still within a phase */
int64_t loop_wall_ns(const struct loop *l);
struct clock *loop_clock(const struct loop *l);
bool loop_here(const struct loop *l); /* does the calling thread run this loop? */

/* Callbacks a phase may run before the next one has its turn (default 4096, at least 1). */
void loop_budget_set(struct loop *l, unsigned callbacks);
/* One line per open source: "fd 7 docker client rw", "timer docker idle in 29950 ms". */
void loop_dump(const struct loop *l, struct buf *out);

struct loop_stats {
	uint64_t turns;      /* since loop_new */
	uint64_t timers, ios, deferred, commits, closings; /* callbacks run */
	uint64_t wakeups;    /* waits that had to be ended from another thread */
	unsigned sources;    /* open now, timers that run included */
};
struct loop_stats loop_stats(const struct loop *l);

/* From now on memory that malloc holds free goes back to the kernel when much has run and then hardly anything for three seconds
 * (malloc_trim: of all threads). Costs a timer after work, and nothing while nothing happens. For the loop of a process that
 * rests for hours between bursts; ends with the loop. */
void loop_trim_at_rest(struct loop *l);

/* Keeps loop_run going although no source is open: a thread that only waits for messages. */
void loop_hold(struct loop *l);
void loop_release(struct loop *l);

/* ---- timers ---- */

struct loop_timer {
	struct loop *loop;
	const char *name;
	void (*fn)(struct loop_timer *t);
	int64_t due_ms;     /* public to read: when it will run (loop_now_ms scale) */
	int64_t slot_ms;    /* where it sits in the heap: never later than due_ms */
	uint64_t order, due_order; /* of the slot; of the last start */
	uint32_t pos;       /* index in the heap + 1; 0 = not running */
	bool background;    /* set before start: does not keep loop_run going */
};
void loop_timer_init(struct loop_timer *t, struct loop *l, const char *name, void (*fn)(struct loop_timer *t));
/* Runs once, delay_ms (>= 0) from now; a running timer is moved. Moving to later is free of heap work, so an idle
 * timeout may be restarted at every byte. */
void loop_timer_start(struct loop_timer *t, int64_t delay_ms);
void loop_timer_stop(struct loop_timer *t); /* harmless when it does not run */
static inline bool loop_timer_running(const struct loop_timer *t)
{
	return t->pos != 0;
}

/* ---- tasks: later in this turn ---- */

struct loop_task {
	struct list link;
	void (*fn)(struct loop_task *t);
};
void loop_task_init(struct loop_task *t, void (*fn)(struct loop_task *t));
void loop_defer(struct loop *l, struct loop_task *t);     /* nothing happens when it waits already */
void loop_at_commit(struct loop *l, struct loop_task *t); /* likewise; a task is in one queue at a time */
void loop_task_cancel(struct loop_task *t);
static inline bool loop_task_waiting(const struct loop_task *t)
{
	return !list_empty(&t->link);
}

/* ---- descriptors ---- */

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HUP = 4 /* peer closed its sending side; also while not reading */ };

struct loop_fd {
	struct loop *loop;
	const char *name;
	void (*fn)(struct loop_fd *f, unsigned events);
	void (*closed)(struct loop_fd *f);
	struct list link;
	void *poll;        /* owned by the loop */
	int fd;            /* borrowed; public to read */
	uint8_t events;
	bool background;
};
/* The descriptor must be pollable (not a regular file) and is made non-blocking. It stays the caller's, who may close
 * it right after loop_fd_close. Level-triggered: what is not read is reported again. An error condition is reported as
 * LOOP_READ | LOOP_WRITE | LOOP_HUP, so that the owner's next read or write meets its errno. */
int loop_fd_open(struct loop_fd *f, struct loop *l, const char *name, int fd,
	void (*fn)(struct loop_fd *f, unsigned events), struct err *err);
void loop_fd_want(struct loop_fd *f, unsigned events); /* 0 = nothing for now; cheap when unchanged */
void loop_fd_background(struct loop_fd *f, bool background);
void loop_fd_close(struct loop_fd *f, void (*closed)(struct loop_fd *f));
static inline bool loop_fd_is_open(const struct loop_fd *f)
{
	return f->poll != NULL;
}

/* ---- signals, children, file watches ---- */

struct loop_signal {
	struct loop *loop;
	const char *name;
	void (*fn)(struct loop_signal *s);
	void (*closed)(struct loop_signal *s);
	struct list link;
	void *handle;
	int signum; /* public to read */
};
/* Signals are background sources. Several loops may listen to one signal; each gets it. */
int loop_signal_open(struct loop_signal *s, struct loop *l, const char *name, int signum,
	void (*fn)(struct loop_signal *s), struct err *err);
void loop_signal_close(struct loop_signal *s, void (*closed)(struct loop_signal *s));

/*
 * SIGTERM and SIGINT, either of which asks a process to end. fn gets the number.
 * Zero it before; the memory must outlive the loop.
 */
struct loop_ending {
	void (*fn)(struct loop_ending *e, int signum);
	struct loop_signal term, interrupt;
};
int loop_ending_open(struct loop_ending *e, struct loop *l, void (*fn)(struct loop_ending *e, int signum), struct err *err);
void loop_ending_close(struct loop_ending *e); /* harmless when it is not open */

struct loop_child {
	struct loop_fd fd;
	/* status as waitpid gives it, or -1 when the process was not our child (its end is known, its status is not).
	 * The child is reaped and this source already closed. */
	void (*fn)(struct loop_child *c, int status, const struct rusage *used);
	void (*closed)(struct loop_child *c);
	int pidfd; /* owned */
	pid_t pid; /* public to read */
};
/* Waits for the end of process pid through a pidfd. pidfd -1 = open one; otherwise it is taken over. */
int loop_child_open(struct loop_child *c, struct loop *l, const char *name, pid_t pid, int pidfd,
	void (*fn)(struct loop_child *c, int status, const struct rusage *used), struct err *err);
void loop_child_close(struct loop_child *c, void (*closed)(struct loop_child *c)); /* stops waiting; does not kill */

struct loop_watch {
	struct loop *loop;
	const char *name;
	/* mask and cookie as inotify(7) gives them; file = name inside a watched folder, "" otherwise. IN_Q_OVERFLOW is
	 * reported to every watch: look again at everything. After IN_IGNORED nothing more comes. */
	void (*fn)(struct loop_watch *w, uint32_t mask, uint32_t cookie, const char *file);
	void (*closed)(struct loop_watch *w);
	struct list link;
	struct loop_task close_task;
	uint32_t mask;
	int wd;
};
/* All watches of a loop share one inotify descriptor; several watches of one path each get what they asked for. */
int loop_watch_open(struct loop_watch *w, struct loop *l, const char *name, const char *path, uint32_t mask,
	void (*fn)(struct loop_watch *w, uint32_t mask, uint32_t cookie, const char *file), struct err *err);
void loop_watch_close(struct loop_watch *w, void (*closed)(struct loop_watch *w));

/* Files that others replace while we run: certificates, keys, kubeconfigs. changed() comes from the loop, a moment (0.3 s) after
 * one was written, renamed to its name, or a link on its way was swapped (a folder, itself, `..data` of a Secret), once for a
 * burst; whoever is told reads all its files. The folders of files and links are watched, one watch each, so a file need not be
 * there. A folder that cannot be watched is tried again after ten seconds, later up to ten minutes, and add says why it could not
 * be the first time. Keeps no loop going. free may be called inside changed. */
struct loop_files;
struct loop_files *loop_files_new(struct loop *l, const char *name, void (*changed)(void *arg), void *arg);
int loop_files_add(struct loop_files *f, struct span path, struct err *err); /* copied; an empty path is nothing */
void loop_files_free(struct loop_files *f);                                  /* accepts NULL */

/* ---- messages from other threads ---- */

struct loop_msg {
	struct loop_msg *next;
	void (*fn)(struct loop_msg *m); /* set by the sender; runs on the loop's thread, in the I/O phase */
};
/* Any thread. The message is the loop's until fn begins. Messages of one sender arrive in order. However many are
 * posted while the loop is busy, it is woken once. The loop must outlive the call. */
void loop_post(struct loop *l, struct loop_msg *m);
void loop_post_call(struct loop *l, void (*fn)(void *arg), void *arg); /* the same with a message of its own */

/* ---- workers ---- */

/* A set of threads for hashing, inflating and fsync, shared by any number of loops. They block every signal. */
int loop_pool_new(unsigned threads, unsigned queue_limit, struct loop_pool **out_pool, struct err *err);
/* Finishes what was submitted, ends the threads. The answers are messages: the owners' loops must still turn for
 * them afterwards. Accepts NULL. */
void loop_pool_free(struct loop_pool *p);

struct loop_work {
	struct loop_msg msg;
	struct list link;
	struct loop *owner;
	struct loop_pool *pool;
	const char *name;
	void (*run)(struct loop_work *w);  /* on a worker; touches only what it was given */
	void (*done)(struct loop_work *w); /* on the owner's loop */
	int state;
};
/* 0, or -ERR_TOO_MANY when queue_limit jobs wait already (nothing was taken; try later). Keeps the owner's
 * loop_run going until done ran. */
int loop_work_submit(struct loop_pool *p, struct loop *owner, struct loop_work *w, const char *name,
	void (*run)(struct loop_work *w), void (*done)(struct loop_work *w));
/* For a job, around what may wait for somebody else without an end in sight (a mount whose server does not answer): meanwhile
 * a thread more does the pool's other jobs when they need one, up to LOOP_POOL_EXTRA_MAX of them. Any thread. */
#define LOOP_POOL_EXTRA_MAX 256u
void loop_pool_wait_begin(struct loop_pool *p);
void loop_pool_wait_end(struct loop_pool *p);
/* True when it had not begun: neither run nor done will be called. Owner's thread. */
bool loop_work_cancel(struct loop_work *w);

/* ---- names to addresses ---- */

struct loop_resolve {
	void *req;
	/* Exactly one answer. rc is 0, or getaddrinfo's code (gai_strerror); list is freed after the call. */
	void (*fn)(struct loop_resolve *r, int rc, const struct addrinfo *list);
};
/* getaddrinfo for a stream socket on one of the C library's resolver threads. host and port are copied. */
int loop_resolve_start(struct loop_resolve *r, struct loop *l, const char *host, const char *port,
	void (*fn)(struct loop_resolve *r, int rc, const struct addrinfo *list), struct err *err);
/* fn will not be called; the memory is free at once. */
void loop_resolve_cancel(struct loop_resolve *r);
