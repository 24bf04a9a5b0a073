#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "loop/loop.h"

static struct loop *loop_make(struct clock *clock)
{
	auto_err struct err err = ERR_INIT;
	struct loop *l = NULL;
	if (loop_new(clock, &l, &err) < 0)
		fail_msg("loop_new: %s", err_msg(&err));
	return l;
}

static struct buf trace;

static void trace_add(const char *what)
{
	if (trace.len)
		buf_chr(&trace, ' ');
	buf_str(&trace, what);
}

#define assert_trace(expected)                                                                                         \
	do {                                                                                                           \
		assert_string_equal(buf_cstr(&trace), expected);                                                       \
		buf_trunc(&trace, 0);                                                                                  \
	} while (0)

/* ---- the order of a turn ---- */

struct order {
	struct loop *l;
	struct loop_timer timer;
	struct loop_fd fd;
	struct loop_task task, task2, commit;
	struct loop_msg msg;
	int event_fd;
};

static void order_closed(struct loop_fd *f)
{
	trace_add("closed");
}

static void order_task2(struct loop_task *t)
{
	trace_add("task2");
}

static void order_task(struct loop_task *t)
{
	struct order *o = container_of(t, struct order, task);
	trace_add("task");
	loop_defer(o->l, &o->task2);
}

static void order_commit(struct loop_task *t)
{
	trace_add("commit");
}

static void order_fd(struct loop_fd *f, unsigned events)
{
	struct order *o = container_of(f, struct order, fd);
	trace_add("io");
	loop_fd_close(f, order_closed);
	loop_at_commit(o->l, &o->commit);
	loop_defer(o->l, &o->task);
	trace_add("io-end"); /* nothing of the above ran inside */
}

static void order_timer(struct loop_timer *t)
{
	trace_add("timer");
}

static void test_order_of_phases(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct clock_fake clock;
	clock_fake_init(&clock, 0, 0);
	struct order o = { .l = loop_make(&clock.clock) };
	loop_timer_init(&o.timer, o.l, "order", order_timer);
	loop_task_init(&o.task, order_task);
	loop_task_init(&o.task2, order_task2);
	loop_task_init(&o.commit, order_commit);
	o.event_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(loop_fd_open(&o.fd, o.l, "order fd", o.event_fd, order_fd, &err), 0);
	loop_fd_want(&o.fd, LOOP_READ);
	loop_timer_start(&o.timer, 5);
	clock_fake_advance(&clock, 5 * NS_PER_MS);
	assert_false(loop_turn(o.l, true));
	assert_trace("timer io io-end task task2 commit closed");
	struct loop_stats s = loop_stats(o.l);
	assert_int_equal(s.sources, 0);
	close(o.event_fd);
	loop_free(o.l);
}

/* ---- timers ---- */

struct tick {
	struct loop_timer t;
	char name[8];
	int again;
};

static void tick_ran(struct loop_timer *t)
{
	struct tick *k = container_of(t, struct tick, t);
	trace_add(k->name);
	if (k->again-- > 0)
		loop_timer_start(t, 0);
}

static void test_timers_with_fake_clock(void **state)
{
	struct clock_fake clock;
	clock_fake_init(&clock, 1000 * NS_PER_MS, 0);
	struct loop *l = loop_make(&clock.clock);
	struct tick k[4];
	for (int i = 0; i < 4; i++) {
		k[i] = (struct tick){ .name = { (char)('a' + i) } };
		loop_timer_init(&k[i].t, l, k[i].name, tick_ran);
	}
	loop_timer_start(&k[0].t, 20);
	loop_timer_start(&k[1].t, 10);
	loop_timer_start(&k[2].t, 10);
	loop_timer_start(&k[3].t, 30);
	assert_true(loop_turn(l, true)); /* does not wait for the fake clock */
	assert_trace("");
	clock_fake_advance(&clock, 10 * NS_PER_MS);
	loop_turn(l, true);
	assert_trace("b c"); /* equal deadlines in the order of their start */
	assert_false(loop_timer_running(&k[1].t));

	/* Pushed back twice: costs no heap work, and the first deadline passes silently. */
	loop_timer_start(&k[0].t, 50);
	loop_timer_start(&k[0].t, 60);
	loop_timer_stop(&k[3].t);
	clock_fake_advance(&clock, 15 * NS_PER_MS);
	loop_turn(l, true);
	assert_trace("");
	/* Pulled forward. */
	loop_timer_start(&k[0].t, 3);
	clock_fake_advance(&clock, 3 * NS_PER_MS);
	loop_turn(l, true);
	assert_trace("a");

	/* Delay 0 inside a timer: the next turn, not this phase. */
	k[1].again = 2;
	loop_timer_start(&k[1].t, 0);
	loop_turn(l, true);
	assert_trace("b");
	loop_turn(l, true);
	assert_trace("b");
	loop_turn(l, true);
	assert_trace("b");
	assert_false(loop_turn(l, true));
	assert_trace("");
	loop_free(l);
}

static void test_timer_restart_keeps_order(void **state)
{
	struct clock_fake clock;
	clock_fake_init(&clock, 0, 0);
	struct loop *l = loop_make(&clock.clock);
	struct tick k[3];
	for (int i = 0; i < 3; i++) {
		k[i] = (struct tick){ .name = { (char)('a' + i) } };
		loop_timer_init(&k[i].t, l, k[i].name, tick_ran);
	}
	loop_timer_start(&k[0].t, 5);  /* slot 5, then due 10 */
	loop_timer_start(&k[1].t, 10);
	loop_timer_start(&k[0].t, 10); /* started after b */
	loop_timer_start(&k[2].t, 10);
	clock_fake_advance(&clock, 10 * NS_PER_MS);
	loop_turn(l, false);
	assert_trace("b a c");
	loop_timer_start(&k[0].t, 10);
	loop_timer_start(&k[1].t, 10);
	loop_timer_start(&k[0].t, 10); /* same deadline again: behind b */
	clock_fake_advance(&clock, 10 * NS_PER_MS);
	loop_turn(l, false);
	assert_trace("b a");
	loop_free(l);
}

struct many {
	struct loop_timer t;
	int64_t want_ms;
	unsigned *ran;
	int64_t *last_ms;
};

static void many_ran(struct loop_timer *t)
{
	struct many *m = container_of(t, struct many, t);
	assert_int_equal(m->want_ms, loop_now_ms(t->loop));
	assert_true(*m->last_ms <= m->want_ms);
	*m->last_ms = m->want_ms;
	++*m->ran;
}

static void test_ten_thousand_timers(void **state)
{
	enum { N = 10000 };
	struct clock_fake clock;
	clock_fake_init(&clock, 0, 0);
	struct loop *l = loop_make(&clock.clock);
	loop_budget_set(l, N);
	struct many *m = mem_zalloc(N * sizeof(*m));
	struct rng rng;
	rng_init(&rng, 42);
	unsigned ran = 0, stopped = 0;
	int64_t last = 0;
	for (int i = 0; i < N; i++) {
		loop_timer_init(&m[i].t, l, "many", many_ran);
		m[i].ran = &ran;
		m[i].last_ms = &last;
	}
	for (int round = 0; round < 5; round++)
		for (int i = 0; i < N; i++) {
			m[i].want_ms = (int64_t)rng_below(&rng, 1000);
			loop_timer_start(&m[i].t, m[i].want_ms);
		}
	for (int i = 0; i < N; i += 7) {
		loop_timer_stop(&m[i].t);
		stopped++;
	}
	for (int ms = 0; ms <= 1000; ms++) {
		loop_turn(l, false);
		clock_fake_advance(&clock, NS_PER_MS);
	}
	assert_int_equal(ran, N - stopped);
	assert_int_equal(loop_stats(l).sources, 0);
	free(m);
	loop_free(l);
}

static void test_budget_leaves_the_rest_for_next_turn(void **state)
{
	struct clock_fake clock;
	clock_fake_init(&clock, 0, 0);
	struct loop *l = loop_make(&clock.clock);
	loop_budget_set(l, 2);
	struct tick k[5];
	struct { struct loop_task t; } tasks[3];
	for (int i = 0; i < 5; i++) {
		k[i] = (struct tick){ .name = { (char)('a' + i) } };
		loop_timer_init(&k[i].t, l, k[i].name, tick_ran);
		loop_timer_start(&k[i].t, 0);
	}
	for (int i = 0; i < 3; i++) {
		loop_task_init(&tasks[i].t, order_task2);
		loop_defer(l, &tasks[i].t);
	}
	assert_true(loop_turn(l, true));
	assert_trace("a b task2 task2");
	assert_true(loop_turn(l, true)); /* does not block: work is left over */
	assert_trace("c d task2");
	assert_false(loop_turn(l, true));
	assert_trace("e");
	loop_free(l);
}

static void stop_loop(struct loop_timer *t)
{
	loop_stop(t->loop);
}

/* A deadline that comes between setting the alarm and waiting for it: a loaded machine has others run there. */
static void test_deadline_before_the_wait(void **state)
{
	struct loop *l = loop_make(NULL);
	struct loop_timer end;
	loop_timer_init(&end, l, "end of test", stop_loop);
	loop_timer_start(&end, 5);
	assert_int_equal(fail_arm("loop.turn.alarm=sleep:20"), 0);
	alarm(20); /* ends a wait without an end */
	loop_run(l);
	alarm(0);
	fail_arm("");
	assert_false(loop_timer_running(&end));
	loop_free(l);
}

static void test_idle_loop_sleeps(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct loop *l = loop_make(NULL);
	struct loop_timer end;
	struct loop_fd quiet;
	int p[2];
	assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(loop_fd_open(&quiet, l, "quiet pipe", p[0], order_fd, &err), 0);
	loop_fd_want(&quiet, LOOP_READ);
	loop_timer_init(&end, l, "end of test", stop_loop);
	loop_timer_start(&end, 150);
	int64_t from = clock_mono_ms(clock_real());
	loop_run(l);
	int64_t took = clock_mono_ms(clock_real()) - from;
	assert_in_range(took, 149, 5000);
	/* One turn sleeps, one finds the timer; libuv's millisecond clock may ring a little early once. */
	assert_in_range(loop_stats(l).turns, 1, 4);

	auto_buf struct buf dump = {};
	loop_dump(l, &dump);
	char expected[80];
	snprintf(expected, sizeof(expected), "fd %d quiet pipe r-\n", p[0]);
	assert_string_equal(buf_cstr(&dump), expected);
	loop_fd_close(&quiet, NULL);
	loop_free(l);
	close(p[0]);
	close(p[1]);
}

/* ---- memory at rest ---- */

static void nothing(struct loop_timer *t)
{
	(void)t;
}

static bool waits_for_rest(const struct loop *l)
{
	auto_buf struct buf dump = {};
	loop_dump(l, &dump);
	return strstr(buf_cstr(&dump), "memory at rest") != NULL;
}

static void many(struct loop *l, struct clock_fake *clock, int n)
{
	struct loop_timer t;
	loop_timer_init(&t, l, "work", nothing);
	for (int i = 0; i < n; i++) {
		loop_timer_start(&t, 0);
		loop_turn(l, false);
	}
}

static void test_memory_goes_back_at_rest(void **state)
{
	struct clock_fake clock;
	clock_fake_init(&clock, 1000 * NS_PER_MS, 0);
	struct loop *l = loop_make(&clock.clock);
	loop_trim_at_rest(l);
	assert_true(waits_for_rest(l)); /* what the start needed */
	assert_false(loop_turn(l, false)); /* it keeps nobody alive */
	clock_fake_advance(&clock, 3001 * NS_PER_MS);
	loop_turn(l, false);
	assert_false(waits_for_rest(l));
	many(l, &clock, 200);
	assert_false(waits_for_rest(l)); /* not worth it */
	many(l, &clock, 200);
	assert_true(waits_for_rest(l));
	many(l, &clock, 200);
	clock_fake_advance(&clock, 3001 * NS_PER_MS);
	loop_turn(l, false);
	assert_true(waits_for_rest(l)); /* much ran meanwhile: later */
	clock_fake_advance(&clock, 3001 * NS_PER_MS);
	loop_turn(l, false);
	assert_false(waits_for_rest(l));
	loop_free(l);
}

/* ---- descriptors ---- */

struct both {
	struct loop_fd a, b;
	int n;
	bool closed;
};

static void both_closed(struct loop_fd *f)
{
	struct both *both = container_of(f, struct both, b);
	both->closed = true;
}

static void both_ready(struct loop_fd *f, unsigned events)
{
	struct both *both = container_of(f, struct both, a);
	both->n++;
	/* Both are ready in this turn; whoever comes first closes both, and the other must not be called. */
	loop_fd_close(&both->a, NULL);
	loop_fd_close(&both->b, both_closed);
}

static void both_ready_b(struct loop_fd *f, unsigned events)
{
	both_ready(&container_of(f, struct both, b)->a, events);
}

static void test_close_inside_callback(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct loop *l = loop_make(NULL);
	int e1 = eventfd(1, EFD_CLOEXEC), e2 = eventfd(1, EFD_CLOEXEC);
	struct both both = {};
	assert_int_equal(loop_fd_open(&both.a, l, "a", e1, both_ready, &err), 0);
	assert_int_equal(loop_fd_open(&both.b, l, "b", e2, both_ready_b, &err), 0);
	loop_fd_want(&both.a, LOOP_READ);
	loop_fd_want(&both.b, LOOP_READ);
	loop_run(l);
	assert_int_equal(both.n, 1);
	assert_true(both.closed);
	loop_free(l);
	close(e1);
	close(e2);
}

static unsigned seen_events;

static void note_events(struct loop_fd *f, unsigned events)
{
	seen_events |= events;
	loop_fd_close(f, NULL);
}

static void test_hangup_is_seen_without_reading(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct loop *l = loop_make(NULL);
	int s[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	struct loop_fd f;
	assert_int_equal(loop_fd_open(&f, l, "paused", s[0], note_events, &err), 0);
	assert_int_equal(fcntl(s[0], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	loop_fd_want(&f, LOOP_HUP);
	shutdown(s[1], SHUT_WR);
	seen_events = 0;
	loop_run(l);
	assert_int_equal(seen_events & LOOP_HUP, LOOP_HUP);
	close(s[0]);
	close(s[1]);
	loop_free(l);
}

static void test_unpollable_is_an_error(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct loop *l = loop_make(NULL);
	struct loop_fd f;
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_true(file >= 0);
	assert_true(loop_fd_open(&f, l, "a file", file, note_events, &err) < 0);
	assert_non_null(strstr(err_msg(&err), "a file"));
	close(file);
	loop_free(l);
}

/* ---- signals, children, watches ---- */

static void signal_seen(struct loop_signal *s)
{
	trace_add("signal");
	loop_signal_close(s, NULL);
	loop_release(s->loop);
}

static void test_signal(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct loop *l = loop_make(NULL);
	struct loop_signal s;
	assert_int_equal(loop_signal_open(&s, l, "reload", SIGUSR1, signal_seen, &err), 0);
	loop_hold(l); /* a signal alone is background */
	raise(SIGUSR1);
	loop_run(l);
	assert_trace("signal");
	loop_free(l);
}

static void ending_seen(struct loop_ending *e, int signum)
{
	trace_add(signum == SIGTERM ? "TERM" : "INT");
	if (signum == SIGTERM) {
		raise(SIGINT);
		return;
	}
	struct loop *l = e->term.loop;
	loop_ending_close(e);
	loop_ending_close(e);
	loop_release(l);
}

static void test_ending(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct loop *l = loop_make(NULL);
	struct loop_ending e = {};
	loop_ending_close(&e);
	assert_int_equal(loop_ending_open(&e, l, ending_seen, &err), 0);
	loop_hold(l);
	raise(SIGTERM);
	loop_run(l);
	assert_trace("TERM INT");
	loop_free(l);
}

static int child_status;

static void child_seen(struct loop_child *c, int status, const struct rusage *used)
{
	child_status = status;
}

static int child_end(struct loop *l, void (*body)(void))
{
	auto_err struct err err = ERR_INIT;
	pid_t pid = fork();
	if (pid == 0) {
		body();
		_exit(99);
	}
	struct loop_child c;
	assert_int_equal(loop_child_open(&c, l, "child", pid, -1, child_seen, &err), 0);
	child_status = -2;
	loop_run(l);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* reaped */
	return child_status;
}

static void exit_7(void)
{
	_exit(7);
}

static void die_by_signal(void)
{
	signal(SIGTERM, SIG_DFL);
	raise(SIGTERM);
}

static void test_children(void **state)
{
	struct loop *l = loop_make(NULL);
	int status = child_end(l, exit_7);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	status = child_end(l, die_by_signal);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
	loop_free(l);
}

struct watching {
	struct loop_watch all, only_delete;
};

static void watch_seen(struct loop_watch *w, uint32_t mask, uint32_t cookie, const char *file)
{
	char what[64];
	snprintf(what, sizeof(what), "%s:%s%s%s", w->name, mask & IN_CREATE ? "+" : "", mask & IN_DELETE ? "-" : "", file);
	trace_add(what);
	if (mask & IN_DELETE && !strcmp(w->name, "b"))
		loop_watch_close(w, NULL);
}

static void test_watches_share_a_folder(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct loop *l = loop_make(NULL);
	char dir[] = "/tmp/loop-test-XXXXXX";
	assert_non_null(mkdtemp(dir));
	struct watching w;
	assert_int_equal(loop_watch_open(&w.all, l, "a", dir, IN_CREATE | IN_DELETE, watch_seen, &err), 0);
	assert_int_equal(loop_watch_open(&w.only_delete, l, "b", dir, IN_DELETE, watch_seen, &err), 0);
	char file[64];
	snprintf(file, sizeof(file), "%s/x", dir);
	close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	loop_turn(l, true);
	assert_trace("a:+x");
	unlink(file);
	loop_turn(l, true);
	assert_trace("a:-x b:-x");
	close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); /* b is closed, a goes on */
	loop_turn(l, true);
	assert_trace("a:+x");
	loop_watch_close(&w.all, NULL);
	unlink(file);
	assert_false(loop_turn(l, true));
	assert_trace("");
	rmdir(dir);
	assert_true(loop_watch_open(&w.all, l, "gone", dir, IN_CREATE, watch_seen, &err) < 0);
	assert_int_equal(err.class, ERR_NOT_FOUND);
	loop_free(l);
}

struct replaced {
	struct loop_files *files;
	bool free_it;
};

static void files_changed(void *arg)
{
	struct replaced *r = arg;
	trace_add("changed");
	if (r->free_it)
		loop_files_free(take(&r->files));
}

static void put(const char *dir, const char *file, const char *other_name)
{
	auto_buf struct buf at = {}, to = {};
	buf_printf(&at, "%s/%s", dir, file);
	buf_printf(&to, "%s/%s", dir, other_name ? other_name : file);
	assert_int_equal(io_write_file(AT_FDCWD, buf_cstr(&at), SPAN("text"), 0600, NULL), 0);
	assert_int_equal(rename(buf_cstr(&at), buf_cstr(&to)), 0);
}

/* Turns until something was told, at most for as long as is given. */
static void turn_for(struct loop *l, int64_t ms)
{
	int64_t until = clock_mono_ms(clock_real()) + ms;
	while (!trace.len && clock_mono_ms(clock_real()) < until) {
		(void)poll(NULL, 0, 2);
		loop_turn(l, false);
	}
}

static void test_files_that_are_replaced(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct loop *l = loop_make(NULL);
	struct replaced r = {};
	char dir[] = "/tmp/loop-test-XXXXXX";
	auto_buf struct buf path = {}, away = {};
	assert_non_null(mkdtemp(dir));
	r.files = loop_files_new(l, "files", files_changed, &r);
	static const char *const names[] = { "a.crt", "a.key" };
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		buf_trunc(&path, 0);
		buf_printf(&path, "%s/%s", dir, names[i]);
		assert_int_equal(loop_files_add(r.files, buf_span(&path), &err), 0);
	}
	assert_int_equal(loop_files_add(r.files, SPAN_EMPTY, &err), 0);
	assert_false(loop_turn(l, true)); /* it keeps no loop going */
	loop_hold(l);
	put(dir, "other", NULL); /* nobody's */
	turn_for(l, 500);
	assert_trace("");
	put(dir, "new", "a.crt"); /* both, told once */
	put(dir, "a.key", NULL);
	turn_for(l, 5000);
	assert_trace("changed");
	turn_for(l, 500);
	assert_trace("");
	buf_trunc(&path, 0);
	buf_printf(&path, "%s/..data", dir); /* a mounted Secret */
	assert_int_equal(symlink(".", buf_cstr(&path)), 0);
	turn_for(l, 5000);
	assert_trace("changed");
	/* The folder is moved away and another comes: what it holds is told without an event of its own. */
	buf_printf(&away, "%s.away", dir);
	assert_int_equal(rename(dir, buf_cstr(&away)), 0);
	loop_turn(l, false);
	assert_int_equal(mkdir(dir, 0700), 0);
	turn_for(l, 15000);
	assert_trace("changed");
	r.free_it = true;
	put(dir, "a.key", NULL);
	turn_for(l, 5000);
	assert_trace("changed");
	put(dir, "a.key", NULL);
	turn_for(l, 500);
	assert_trace("");
	assert_null(r.files);
	r.files = loop_files_new(l, "nowhere", files_changed, &r);
	assert_true(loop_files_add(r.files, SPAN("/nowhere/at/all"), &err) < 0);
	assert_int_equal(err.class, ERR_NOT_FOUND);
	loop_files_free(r.files);
	loop_release(l);
	loop_free(l);
	static const char *const left[] = { "a.crt", "a.key", "other", "..data" };
	for (unsigned i = 0; i < ARRAY_LEN(left); i++)
		for (unsigned k = 0; k < 2; k++) {
			buf_trunc(&path, 0);
			buf_printf(&path, "%s/%s", k ? buf_cstr(&away) : dir, left[i]);
			(void)unlink(buf_cstr(&path));
		}
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(rmdir(buf_cstr(&away)), 0);
}

static void link_swap(const char *dir, const char *name, const char *to)
{
	auto_buf struct buf at = {}, next = {};
	buf_printf(&at, "%s/%s", dir, name);
	buf_printf(&next, "%s/.next", dir);
	assert_int_equal(symlink(to, buf_cstr(&next)), 0);
	assert_int_equal(rename(buf_cstr(&next), buf_cstr(&at)), 0);
}

/* current -> releases/one, in which tls.crt -> ../../archive/1.crt: whichever of the links is pointed elsewhere, and what it leads to
 * then, is seen. */
static void test_files_behind_links(void **state)
{
	static const char *const folders[] = { "releases", "releases/one", "releases/two", "archive" };
	static const char *const left[] = { "current", "releases/one/tls.crt", "releases/two/tls.crt", "archive/1.crt", "archive/2.crt", "circle", "other" };
	auto_err struct err err = ERR_INIT;
	struct loop *l = loop_make(NULL);
	struct replaced r = {};
	char dir[] = "/tmp/loop-test-XXXXXX";
	auto_buf struct buf path = {}, archive = {}, one = {}, two = {};
	assert_non_null(mkdtemp(dir));
	for (unsigned i = 0; i < ARRAY_LEN(folders); i++) {
		buf_trunc(&path, 0);
		buf_printf(&path, "%s/%s", dir, folders[i]);
		assert_int_equal(mkdir(buf_cstr(&path), 0700), 0);
	}
	buf_printf(&archive, "%s/archive", dir);
	buf_printf(&one, "%s/releases/one", dir);
	buf_printf(&two, "%s/releases/two", dir);
	put(buf_cstr(&archive), "1.crt", NULL);
	put(buf_cstr(&archive), "2.crt", NULL);
	put(buf_cstr(&two), "tls.crt", NULL);
	link_swap(buf_cstr(&one), "tls.crt", "../../archive/1.crt");
	link_swap(dir, "current", "releases/one");
	loop_hold(l);
	r.files = loop_files_new(l, "files", files_changed, &r);
	buf_trunc(&path, 0);
	buf_printf(&path, "%s/current/tls.crt", dir);
	assert_int_equal(loop_files_add(r.files, buf_span(&path), &err), 0);
	put(buf_cstr(&archive), "2.crt", NULL); /* nobody's yet */
	put(dir, "other", NULL);
	turn_for(l, 500);
	assert_trace("");
	put(buf_cstr(&archive), "1.crt", NULL); /* the file itself */
	turn_for(l, 5000);
	assert_trace("changed");
	link_swap(buf_cstr(&one), "tls.crt", "../../archive/2.crt"); /* the link that the file is */
	turn_for(l, 5000);
	assert_trace("changed");
	put(buf_cstr(&archive), "2.crt", NULL);
	turn_for(l, 5000);
	assert_trace("changed");
	put(buf_cstr(&archive), "1.crt", NULL); /* nobody's any more */
	turn_for(l, 500);
	assert_trace("");
	link_swap(dir, "current", buf_cstr(&two)); /* the folder's, by a whole path */
	turn_for(l, 5000);
	assert_trace("changed");
	put(buf_cstr(&two), "tls.crt", NULL);
	turn_for(l, 5000);
	assert_trace("changed");
	put(buf_cstr(&archive), "2.crt", NULL);
	turn_for(l, 500);
	assert_trace("");
	/* To nowhere, and in a circle: nothing is read there, and the link is watched on. */
	link_swap(dir, "current", "releases/three");
	turn_for(l, 5000);
	assert_trace("changed");
	link_swap(dir, "circle", "current");
	link_swap(dir, "current", "circle");
	turn_for(l, 5000);
	assert_trace("changed");
	link_swap(dir, "current", "releases/one");
	turn_for(l, 5000);
	assert_trace("changed");
	put(buf_cstr(&archive), "2.crt", NULL);
	turn_for(l, 5000);
	assert_trace("changed");
	loop_files_free(r.files);
	loop_release(l);
	loop_free(l);
	for (unsigned i = 0; i < ARRAY_LEN(left); i++) {
		buf_trunc(&path, 0);
		buf_printf(&path, "%s/%s", dir, left[i]);
		assert_int_equal(unlink(buf_cstr(&path)), 0);
	}
	for (unsigned i = ARRAY_LEN(folders); i-- > 0;) {
		buf_trunc(&path, 0);
		buf_printf(&path, "%s/%s", dir, folders[i]);
		assert_int_equal(rmdir(buf_cstr(&path)), 0);
	}
	assert_int_equal(rmdir(dir), 0);
}

/* ---- messages, workers ---- */

enum { SENDERS = 3, EACH = 20000 };

struct sent {
	struct loop_msg msg;
	int sender, number;
};

struct receiver {
	struct loop *l;
	int got[SENDERS];
	struct sent *all[SENDERS];
};

static struct receiver receiver;

static void sent_arrived(struct loop_msg *m)
{
	struct sent *s = container_of(m, struct sent, msg);
	assert_true(loop_here(receiver.l));
	assert_int_equal(s->number, receiver.got[s->sender]); /* in order */
	receiver.got[s->sender]++;
	int done = 0;
	for (int i = 0; i < SENDERS; i++)
		done += receiver.got[i] == EACH;
	if (done == SENDERS)
		loop_release(receiver.l);
}

static void *sender(void *arg)
{
	int me = (int)(intptr_t)arg;
	for (int i = 0; i < EACH; i++) {
		struct sent *s = &receiver.all[me][i];
		*s = (struct sent){ .msg.fn = sent_arrived, .sender = me, .number = i };
		loop_post(receiver.l, &s->msg);
	}
	return NULL;
}

static void test_messages_from_threads(void **state)
{
	receiver = (struct receiver){ .l = loop_make(NULL) };
	loop_hold(receiver.l);
	pthread_t t[SENDERS];
	for (int i = 0; i < SENDERS; i++) {
		receiver.all[i] = mem_alloc(EACH * sizeof(struct sent));
		pthread_create(&t[i], NULL, sender, (void *)(intptr_t)i);
	}
	loop_run(receiver.l);
	for (int i = 0; i < SENDERS; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(receiver.got[i], EACH);
		free(receiver.all[i]);
	}
	struct loop_stats s = loop_stats(receiver.l);
	assert_true(s.wakeups <= SENDERS * EACH);
	loop_free(receiver.l);
}

static void *stop_from_thread(void *arg)
{
	loop_stop_from_any(arg);
	return NULL;
}

static void called(void *arg)
{
	trace_add(arg);
}

static void test_stop_and_call_from_thread(void **state)
{
	struct loop *l = loop_make(NULL);
	loop_hold(l);
	loop_post_call(l, called, (void *)"one");
	loop_post_call(l, called, (void *)"two");
	pthread_t t;
	pthread_create(&t, NULL, stop_from_thread, l);
	loop_run(l);
	pthread_join(t, NULL);
	assert_trace("one two");
	loop_release(l);
	loop_free(l);
}

struct job {
	struct loop_work w;
	unsigned in, out;
	pthread_mutex_t *gate;
};

static unsigned jobs_done;

static void job_run(struct loop_work *w)
{
	struct job *j = container_of(w, struct job, w);
	if (j->gate) {
		pthread_mutex_lock(j->gate);
		pthread_mutex_unlock(j->gate);
	}
	j->out = j->in * 2;
}

static void job_done(struct loop_work *w)
{
	struct job *j = container_of(w, struct job, w);
	assert_true(loop_here(w->owner));
	assert_int_equal(j->out, j->in * 2);
	jobs_done++;
}

static void test_workers(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct loop *l = loop_make(NULL);
	struct loop_pool *p;
	assert_int_equal(loop_pool_new(3, 1000, &p, &err), 0);
	struct job jobs[1000];
	jobs_done = 0;
	for (unsigned i = 0; i < ARRAY_LEN(jobs); i++) {
		jobs[i] = (struct job){ .in = i };
		assert_int_equal(loop_work_submit(p, l, &jobs[i].w, "double", job_run, job_done), 0);
	}
	loop_run(l); /* ends when the last answer is in */
	assert_int_equal(jobs_done, ARRAY_LEN(jobs));
	loop_pool_free(p);
	loop_free(l);
}

static void test_worker_queue_is_bounded(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct loop *l = loop_make(NULL);
	struct loop_pool *p;
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&gate);
	assert_int_equal(loop_pool_new(1, 2, &p, &err), 0);
	struct job jobs[4] = {};
	for (int i = 0; i < 4; i++)
		jobs[i].gate = &gate;
	jobs_done = 0;
	assert_int_equal(loop_work_submit(p, l, &jobs[0].w, "job", job_run, job_done), 0);
	/* The worker takes the first at some time; at most two wait. */
	int accepted = 1, refused = 0;
	for (int tries = 0; accepted < 3 && tries < 10000; tries++) {
		int rc = loop_work_submit(p, l, &jobs[accepted].w, "job", job_run, job_done);
		if (rc == 0)
			accepted++;
		else
			assert_int_equal(rc, -ERR_TOO_MANY);
		if (rc < 0)
			poll(NULL, 0, 1);
	}
	assert_int_equal(accepted, 3);
	refused = loop_work_submit(p, l, &jobs[3].w, "job", job_run, job_done);
	assert_int_equal(refused, -ERR_TOO_MANY);
	assert_true(loop_work_cancel(&jobs[2].w));
	assert_false(loop_work_cancel(&jobs[2].w));
	pthread_mutex_unlock(&gate);
	loop_run(l);
	assert_int_equal(jobs_done, 2);
	loop_pool_free(p);
	loop_free(l);
}

/* Jobs that wait at a gate, and say so, leave room for the others, however many; the answers of all come. */
struct visitor {
	struct job job;
	struct loop_pool *pool;
};

static void visitor_run(struct loop_work *w)
{
	struct visitor *v = container_of(w, struct visitor, job.w);
	loop_pool_wait_begin(v->pool);
	pthread_mutex_lock(v->job.gate);
	pthread_mutex_unlock(v->job.gate);
	loop_pool_wait_end(v->pool);
	v->job.out = v->job.in * 2;
}

static pthread_mutex_t *last_gate;

/* All the others are done while the gate is shut. */
static void gate_open(struct loop_work *w)
{
	job_done(w);
	if (jobs_done == 20)
		pthread_mutex_unlock(last_gate);
}

static void test_who_waits_makes_room(void **state)
{
	auto_err struct err err = ERR_INIT;
	for (int round = 0; round < 20; round++) {
		struct loop *l = loop_make(NULL);
		struct loop_pool *p;
		pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
		pthread_mutex_lock(&gate);
		last_gate = &gate;
		assert_int_equal(loop_pool_new(2, 1000, &p, &err), 0);
		struct visitor visitors[10];
		struct job jobs[20];
		jobs_done = 0;
		for (unsigned i = 0; i < ARRAY_LEN(jobs); i++) {
			jobs[i] = (struct job){ .in = i };
			if (i < ARRAY_LEN(visitors)) {
				visitors[i] = (struct visitor){ .job = { .in = i, .gate = &gate }, .pool = p };
				assert_int_equal(loop_work_submit(p, l, &visitors[i].job.w, "visit", visitor_run, job_done), 0);
			}
			assert_int_equal(loop_work_submit(p, l, &jobs[i].w, "double", job_run, gate_open), 0);
		}
		loop_run(l);
		assert_int_equal(jobs_done, ARRAY_LEN(jobs) + ARRAY_LEN(visitors));
		/* Those that were made are of use, or gone. */
		jobs[0] = (struct job){ .in = 1 };
		assert_int_equal(loop_work_submit(p, l, &jobs[0].w, "double", job_run, job_done), 0);
		loop_run(l);
		assert_int_equal(jobs[0].out, 2);
		loop_pool_free(p);
		loop_free(l);
	}
}

static unsigned threads_of_ours(void)
{
	unsigned n = 0;
	DIR *d = opendir("/proc/self/task");
	assert_non_null(d);
	for (const struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static unsigned threads_meanwhile;

static void idle_run(struct loop_work *w)
{
	struct visitor *v = container_of(w, struct visitor, job.w);
	loop_pool_wait_begin(v->pool);
	threads_meanwhile = threads_of_ours();
	loop_pool_wait_end(v->pool);
}

/* No thread is made for a job that waits while nobody has to wait for it. */
static void test_room_is_not_made_for_nobody(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct loop *l = loop_make(NULL);
	struct loop_pool *p;
	assert_int_equal(loop_pool_new(2, 10, &p, &err), 0);
	struct visitor v = { .pool = p };
	unsigned before = threads_of_ours();
	assert_int_equal(loop_work_submit(p, l, &v.job.w, "visit", idle_run, job_done), 0);
	loop_run(l);
	assert_int_equal(threads_meanwhile, before);
	loop_pool_free(p);
	loop_free(l);
}

/* ---- resolver ---- */

static void resolved(struct loop_resolve *r, int rc, const struct addrinfo *list)
{
	trace_add(rc == 0 && list ? "found" : "none");
}

static void test_resolve(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct loop *l = loop_make(NULL);
	struct loop_resolve r;
	assert_int_equal(loop_resolve_start(&r, l, "127.0.0.1", "80", resolved, &err), 0);
	loop_run(l);
	assert_trace("found");
	assert_int_equal(loop_resolve_start(&r, l, "127.0.0.1", "80", resolved, &err), 0);
	loop_resolve_cancel(&r);
	loop_run(l);
	assert_trace("");
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_of_phases),
		cmocka_unit_test(test_timers_with_fake_clock),
		cmocka_unit_test(test_timer_restart_keeps_order),
		cmocka_unit_test(test_ten_thousand_timers),
		cmocka_unit_test(test_budget_leaves_the_rest_for_next_turn),
		cmocka_unit_test(test_deadline_before_the_wait),
		cmocka_unit_test(test_idle_loop_sleeps),
		cmocka_unit_test(test_close_inside_callback),
		cmocka_unit_test(test_hangup_is_seen_without_reading),
		cmocka_unit_test(test_unpollable_is_an_error),
		cmocka_unit_test(test_signal), cmocka_unit_test(test_ending),
		cmocka_unit_test(test_children),
		cmocka_unit_test(test_watches_share_a_folder),
		cmocka_unit_test(test_files_that_are_replaced),
		cmocka_unit_test(test_files_behind_links),
		cmocka_unit_test(test_memory_goes_back_at_rest),
		cmocka_unit_test(test_messages_from_threads),
		cmocka_unit_test(test_stop_and_call_from_thread),
		cmocka_unit_test(test_workers),
		cmocka_unit_test(test_worker_queue_is_bounded),
		cmocka_unit_test(test_who_waits_makes_room), cmocka_unit_test(test_room_is_not_made_for_nobody),
		cmocka_unit_test(test_resolve),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	buf_done(&trace);
	return rc;
}
