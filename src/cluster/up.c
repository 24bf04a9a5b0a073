/* `knarr up`: looks for obstacles, starts the supervisor, and tells what it does while it does it. A supervisor that is there
 * already is followed instead; when it ends meanwhile (it was being stopped, or was killed a moment ago), one is started then.
 *
 * What a supervisor before ours has left in state.json is believed only after it has answered a question asked since: one that
 * was killed a moment ago looks alive from outside, its file says "running", and a "ready" by that word would be a lie (decision
 * 0796). */
#include "cluster/private.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "loop/loop.h"
#include "proc/proc.h"
#include "sys/sys.h"

#define WAIT_S 120
#define ENDS_MAX 3 /* a part that ended that often without getting well will not get well by waiting */
#define TAIL_LINES 8
#define AGAIN_MS 20

struct up {
	struct loop *loop;
	struct cluster_layout l;
	struct loop_watch watch;
	struct loop_timer limit;
	struct proc server;
	struct loop_child former; /* a supervisor that ran already */
	int64_t former_pid, former_ticks; /* who wrote the state.json that was there; 0: nobody */
	struct loop_fd answer;	  /* of the former one */
	struct loop_timer again;  /* it could not be asked */
	int answer_fd;		  /* -1: nothing is asked */
	bool answering;		  /* `answer` is in use, until its close is over */
	struct loop_task leave;
	bool started;	    /* by us: a failure takes it away again */
	bool unit;	    /* systemd was asked to start it: likewise */
	bool terminal, done, watching, following, host_network, wait;
	int64_t began_ms;
	unsigned n_steps;   /* told so far */
	bool part_told[CLUSTER_PARTS];
	char pending[200];  /* the transient line, on a terminal */
	int status;
};

/* ---- the screen */

static double seconds(const struct up *u)
{
	return (double)(clock_mono_ms(clock_real()) - u->began_ms) / 1000;
}

static void pending_clear(struct up *u)
{
	if (u->pending[0])
		printf("\r\033[K");
	u->pending[0] = 0;
}

static void line(struct up *u, const char *what, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void line(struct up *u, const char *what, const char *fmt, ...)
{
	auto_buf struct buf b = {};
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	pending_clear(u);
	printf("  %s%-20s%s %-44s %6.2f s\n", u->terminal ? "\033[32m" : "", what, u->terminal ? "\033[0m" : "", buf_cstr(&b),
		seconds(u));
	(void)fflush(stdout);
}

static void pending_show(struct up *u, const struct cluster_view *v)
{
	auto_buf struct buf b = {};
	if (!u->terminal)
		return;
	if (!span_is(v->phase, "running"))
		buf_str(&b, "the node");
	for (unsigned i = 0; i < v->n_parts; i++)
		if (!span_is(v->parts[i].state, "ready"))
			buf_printf(&b, "%s%s", b.len ? ", " : "", v->parts[i].name.ptr);
	pending_clear(u);
	if (!b.len)
		return;
	snprintf(u->pending, sizeof(u->pending), "%s", buf_cstr(&b));
	printf("  waiting for %s ...", u->pending);
	(void)fflush(stdout);
}

/* ---- the end of it */

static void on_answer_closed(struct loop_fd *f)
{
	container_of(f, struct up, answer)->answering = false;
}

static void ask_end(struct up *u)
{
	loop_timer_stop(&u->again);
	if (u->answer_fd >= 0)
		loop_fd_close(&u->answer, on_answer_closed);
	fd_close(&u->answer_fd);
}

static void leave(struct up *u)
{
	u->done = true;
	loop_defer(u->loop, &u->leave);
}

static void on_leave(struct loop_task *t)
{
	struct up *u = container_of(t, struct up, leave);
	pending_clear(u);
	if (u->watching)
		loop_watch_close(&u->watch, NULL);
	u->watching = false;
	loop_timer_stop(&u->limit);
	if (u->server.running)
		proc_forget(&u->server, NULL);
	if (u->following)
		loop_child_close(&u->former, NULL);
	u->following = false;
	ask_end(u);
}

/* Step, reason, what the part said last, remedy. */
static void give_up(struct up *u, const char *step, const char *reason, const char *part, const char *remedy)
{
	auto_buf struct buf tail = {};
	bool journal = part && strcmp(part, "server") == 0 && cluster_layout_systemd(&u->l);
	if (part && !journal)
		cluster_log_tail(&u->l, part, TAIL_LINES, &tail);
	pending_clear(u);
	(void)fflush(stdout);
	(void)fprintf(stderr, "\nknarr up: %s: %s\n", step, reason);
	if (tail.len)
		(void)fprintf(stderr, "The last lines of %s/%s.log:\n%s", u->l.log.ptr, part, buf_cstr(&tail));
	if (journal)
		(void)fprintf(stderr, "What it said last: knarr logs -n %d server\n", TAIL_LINES);
	(void)fprintf(stderr, "What helps: %s\n", remedy);
	u->status = 1;
	leave(u);
}

static void started(struct up *u)
{
	printf("Started. 'knarr status' says how it is.\n");
	leave(u);
}

static void ready(struct up *u, const struct cluster_view *v)
{
	const char *flag = u->l.is_default ? "" : " --data-dir ", *dir = u->l.is_default ? "" : u->l.data.ptr;
	pending_clear(u);
	printf("\nThe cluster is ready (%.2f s). Its API: %s\n\nType next:\n", seconds(u), v->server.ptr);
	printf("  export KUBECONFIG=%s\n  export DOCKER_HOST=unix://%s\n", u->l.admin.ptr, u->l.docker_sock.ptr);
	printf("  kubectl get nodes\n  knarr status%s%s\n", flag, dir);
	leave(u);
}

/* ---- following */

static void look_part(struct up *u, const struct cluster_part_view *p, unsigned i)
{
	if (!u->part_told[i] && span_is(p->state, "ready")) {
		u->part_told[i] = true;
		line(u, p->name.ptr, p->restarts ? "ready (started %lld times)" : "ready", (long long)p->restarts + 1);
	}
	if (!u->done && p->restarts >= ENDS_MAX && span_is(p->state, "waiting")) {
		auto_buf struct buf reason = {};
		if (span_is(p->last_end, "not started"))
			buf_printf(&reason, "cannot be started: %s", p->health.ptr);
		else
			buf_printf(&reason, "ended %lld times (%s)", (long long)p->restarts, p->last_end.ptr);
		give_up(u, p->name.ptr, buf_cstr(&reason), p->name.ptr,
			"correct what the lines above name ('knarr doctor' lists what stands in the way), then 'knarr up' again");
	}
}

static void look_at(struct up *u, const struct cluster_view *v)
{
	if (v->failure.step.len) {
		give_up(u, v->failure.step.ptr, v->failure.reason.ptr, NULL, v->failure.remedy.ptr);
		return;
	}
	if (!u->wait) {
		if (!span_is(v->phase, "stopping"))
			started(u);
		return;
	}
	for (; u->n_steps < v->n_steps; u->n_steps++)
		line(u, v->steps[u->n_steps].name.ptr, "%s", v->steps[u->n_steps].detail.ptr);
	bool all = v->n_parts > 0 && span_is(v->phase, "running");
	for (unsigned i = 0; i < v->n_parts && !u->done; i++) {
		look_part(u, &v->parts[i], i);
		all &= span_is(v->parts[i].state, "ready");
	}
	if (!u->done && all)
		ready(u, v);
	else if (!u->done)
		pending_show(u, v);
}

static void on_answer(struct loop_fd *f, unsigned events);

/* Asks the former supervisor whether it is at home. False: not possible now, as before it has its socket. */
static bool ask(struct up *u)
{
	auto_buf struct buf path = {};
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	char word[] = NOTICE_ASK;
	struct iovec iov = { .iov_base = word, .iov_len = sizeof(word) - 1 };
	struct msghdr m = { .msg_name = &at, .msg_namelen = sizeof(at), .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room,
			    .msg_controllen = sizeof(control.room) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int pair[2];
	if (u->answer_fd >= 0)
		return true;
	if (u->answering || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return false;
	auto_fd int theirs = pair[1], ours = pair[0], sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	buf_printf(&path, "%s/notify.sock", u->l.run.ptr);
	memcpy(at.sun_path, path.ptr, path.len + 1); /* RUN is short enough for sockets: layout.c */
	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
	memcpy(CMSG_DATA(c), &theirs, sizeof(int));
	if (sock < 0 || sendmsg(sock, &m, MSG_NOSIGNAL) < 0 || loop_fd_open(&u->answer, u->loop, "answer", ours, on_answer, NULL) < 0)
		return false;
	u->answer_fd = take_fd(&ours);
	u->answering = true;
	loop_fd_want(&u->answer, LOOP_READ);
	return true;
}

/* said: the former supervisor, if it is that one's file, has spoken since it was last looked at. */
static void look(struct up *u, bool said)
{
	struct cluster_view v;
	if (u->done || cluster_view_read(&u->l, &v, NULL) < 0)
		return;
	bool former = v.pid == u->former_pid && v.start_ticks == u->former_ticks;
	if (!former || said)
		look_at(u, &v);
	else if (u->following && !ask(u))
		loop_timer_start(&u->again, AGAIN_MS);
	cluster_view_done(&v);
}

static void on_again(struct loop_timer *t)
{
	look(container_of(t, struct up, again), false);
}

/* A byte; or the end, when it went without an answer: that it is gone is told by its descriptor. */
static void on_answer(struct loop_fd *f, unsigned events)
{
	struct up *u = container_of(f, struct up, answer);
	char byte;
	ssize_t n = read(u->answer_fd, &byte, 1);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	ask_end(u);
	if (n == 1)
		look(u, true);
}

static void on_file(struct loop_watch *w, uint32_t mask, uint32_t cookie, const char *file)
{
	if (strcmp(file, "state.json") == 0 || mask & IN_Q_OVERFLOW)
		look(container_of(w, struct up, watch), false);
}

static bool follow(struct up *u);

static void on_server_ended(struct proc *p, int status, const struct rusage *used)
{
	struct up *u = container_of(p, struct up, server);
	auto_buf struct buf how = {};
	u->started = false;
	look(u, false);
	if (u->done)
		return;
	if (follow(u)) { /* somebody else's `up` was faster: just as good */
		look(u, false);
		return;
	}
	proc_status_text(&how, status);
	give_up(u, "supervisor", buf_cstr(&how), "server", "correct what the lines above name, then 'knarr up' again");
}

static void on_limit(struct loop_timer *t)
{
	struct up *u = container_of(t, struct up, limit);
	struct cluster_view v;
	const char *part = NULL;
	auto_buf struct buf reason = {};
	if (cluster_view_read(&u->l, &v, NULL) < 0) {
		give_up(u, "supervisor", "says nothing", "server", "look at its log");
		return;
	}
	if (u->following && (u->answer_fd >= 0 || loop_timer_running(&u->again))) {
		buf_printf(&reason, "process %lld does not answer", (long long)u->former_pid);
		give_up(u, "supervisor", buf_cstr(&reason), "server", "end it (kill -9), then 'knarr up' again");
		cluster_view_done(&v);
		return;
	}
	for (unsigned i = 0; i < v.n_parts && !part; i++)
		if (!span_is(v.parts[i].state, "ready")) {
			part = v.parts[i].name.ptr;
			buf_printf(&reason, "not ready in time%s%s", v.parts[i].health.len ? ": " : "", v.parts[i].health.ptr);
		}
	give_up(u, part ? part : "cluster", part ? buf_cstr(&reason) : "not ready in time", part ? part : "server",
		"see what it waits for ('knarr status', 'knarr logs NAME'); --wait-seconds gives it more time");
	cluster_view_done(&v);
}

/* ---- starting */

static void on_systemctl(struct proc *p, int status, const struct rusage *used)
{
	struct up *u = container_of(p, struct up, server);
	/* What it says of its own failure is better than that there was one. */
	look(u, false);
	if (!u->done && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
		give_up(u, "systemd", "systemctl start knarr.service failed", "server", "correct what it says, then 'knarr up' again");
}

static void on_unit_stopped(struct proc *p, int status, const struct rusage *used)
{
}

/* A unit that does not become ready is started by systemd for ever. It has told on descriptor 2 what it could not do. */
static void unit_stop(struct up *u)
{
	static const char *const argv[] = { "systemctl", "stop", "knarr.service", NULL };
	const struct proc_wish w = { .path = "/usr/bin/systemctl", .argv = argv, .in = -1, .out = 1, .err = 2 };
	auto_err struct err err = ERR_INIT;
	struct proc stopping = {};
	if (proc_start(&stopping, u->loop, "systemctl", &w, on_unit_stopped, &err) == 0)
		loop_run(u->loop);
}

static int start(struct up *u, bool host_network, struct err *err)
{
	static const char *const systemctl[] = { "systemctl", "start", "knarr.service", NULL };
	const char *argv[] = { "knarr", "server", "--data-dir", u->l.data.ptr, host_network ? "--host-network" : NULL, NULL };
	auto_buf struct buf log = {};
	if (cluster_layout_systemd(&u->l)) {
		const struct proc_wish w = { .path = "/usr/bin/systemctl", .argv = systemctl, .in = -1, .out = 1, .err = 2 };
		u->unit = true;
		return proc_start(&u->server, u->loop, "systemctl", &w, on_systemctl, err);
	}
	buf_printf(&log, "%s/server.log", u->l.log.ptr);
	auto_fd int fd = open(buf_cstr(&log), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(err, "%s", buf_cstr(&log));
	const struct proc_wish w = { .path = u->l.program.ptr, .argv = argv, .in = -1, .out = fd, .err = fd, .dir = "/", .group =
		PROC_GROUP_SESSION };
	u->started = true;
	return proc_start(&u->server, u->loop, "server", &w, on_server_ended, err);
}

static int start_and_wait(struct up *u, struct err *err)
{
	int rc = start(u, u->host_network, err);
	if (rc < 0 || u->wait)
		return rc;
	u->started = false;
	started(u);
	return 0;
}

static void on_former_ended(struct loop_child *c, int status, const struct rusage *used)
{
	struct up *u = container_of(c, struct up, former);
	auto_err struct err err = ERR_INIT;
	u->following = false;
	ask_end(u);
	if (u->done)
		return;
	u->n_steps = 0;
	memset(u->part_told, 0, sizeof(u->part_told));
	line(u, "supervisor", "the former one has ended; starting anew");
	if (start_and_wait(u, &err) < 0)
		give_up(u, "supervisor", err_msg(&err), NULL, "'knarr doctor' lists what stands in the way");
}

/* The supervisor that state.json names, if it lives. Its end is waited for by its descriptor and not looked for once: between two
 * looks at the file it may end, and nobody would start another one. */
static bool follow(struct up *u)
{
	struct cluster_view v;
	if (cluster_view_read(&u->l, &v, NULL) < 0)
		return false;
	u->former_pid = v.pid;
	u->former_ticks = v.start_ticks;
	int fd = v.pid > 0 ? sys_process_open((pid_t)v.pid, (uint64_t)v.start_ticks) : -1;
	cluster_view_done(&v);
	u->following = fd >= 0 &&
		       loop_child_open(&u->former, u->loop, "supervisor", (pid_t)u->former_pid, fd, on_former_ended, NULL) == 0;
	return u->following;
}

static int begin(struct up *u, int64_t wait_s, struct err *err)
{
	struct cluster_settings s;
	int rc = cluster_settings_read(&u->l, u->host_network, &s, err);
	bool running = rc == 0 && follow(u);
	unsigned obstacles = rc == 0 ? cluster_doctor(&u->l, &s, running, false, stdout, err) : 0;
	cluster_settings_done(&s);
	if (rc < 0)
		return rc;
	if (obstacles > 1)
		(void)err_note(err, "%u things stand in the way ('knarr doctor' lists them), the first", obstacles);
	if (obstacles)
		return -(int)err->class;
	printf("Knarr " KNARR_VERSION " in %s%s\n\n", u->l.data.ptr, running ? " (runs already)" : "");
	(void)fflush(stdout);
	rc = cluster_layout_make(&u->l, err);
	if (rc == 0)
		rc = loop_watch_open(&u->watch, u->loop, "state.json", u->l.run.ptr, IN_MOVED_TO | IN_CLOSE_WRITE, on_file, err);
	if (rc < 0)
		return rc;
	u->watching = true;
	if (!running && (rc = start_and_wait(u, err)) < 0)
		return rc;
	if (u->done)
		return 0;
	loop_timer_start(&u->limit, wait_s * 1000);
	look(u, false);
	return 0;
}

int cluster_up_main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct span dir = SPAN_EMPTY;
	bool host_network = false, no_wait = false;
	int64_t wait_s = WAIT_S;
	const struct cluster_option options[] = {
		{ "data-dir", 0, CLUSTER_OPTION_TEXT, &dir, "folder of everything (default $KNARR_DATA_DIR or /var/lib/knarr)" },
		{ "host-network", 0, CLUSTER_OPTION_TRUE, &host_network, "at the first start: no network namespace of its own" },
		{ "no-wait", 0, CLUSTER_OPTION_TRUE, &no_wait, "return when it has been started" },
		{ "wait-seconds", 0, CLUSTER_OPTION_NUMBER, &wait_s, "give up after this long (default 120)" },
	};
	struct cluster_usage usage = { .usage = "up [flags]", .about =
		"Starts a cluster in the background and waits until it is ready.",
				       .options = options, .n_options = ARRAY_LEN(options) };
	struct up u = { .answer_fd = -1, .terminal = isatty(1), .began_ms = clock_mono_ms(clock_real()) };
	int rc = cluster_options_parse(&usage, argc - 1, argv + 1, &err);
	if (rc > 0)
		return 0;
	if (rc == 0)
		rc = cluster_layout_init(&u.l, dir, &err);
	if (rc == 0)
		rc = loop_new(NULL, &u.loop, &err);
	if (rc < 0)
		return cluster_fail("up", &err);
	loop_task_init(&u.leave, on_leave);
	loop_timer_init(&u.limit, u.loop, "patience", on_limit);
	loop_timer_init(&u.again, u.loop, "ask again", on_again);
	u.host_network = host_network;
	u.wait = !no_wait;
	rc = begin(&u, MIN(wait_s, (int64_t)86400), &err);
	if (rc < 0)
		on_leave(&u.leave);
	loop_run(u.loop);
	/* Nothing half-started stays behind. */
	if (u.status && u.unit)
		unit_stop(&u);
	loop_free(u.loop);
	if (u.status && u.started)
		(void)cluster_stop(&u.l, true, NULL);
	cluster_layout_done(&u.l);
	return rc < 0 ? cluster_fail("up", &err) : u.status;
}
