/* A monitor from its clone to its end. See monitor.h; run.h names the parts.
 *
 *        ┌ LATER: the child waits for BUILD; the control socket closed before that: removes its files and is gone
 *     BUILDING ──child: MADE──> CREATED (held) ──START, child: STARTED──> RUNNING ──reaped──> ENDED
 *        │  └─────────────────── MADE (not held) ────────────────────────────^                  ^
 *        └──────── ERROR, or the child is gone without a word ─────────────────────────────────┘
 *
 * Invariants
 * 1. Nothing is reaped while a child is under way: the container's first process may end before we were told its number.
 * 2. exit.json is on disk before anybody hears of the end.
 * 3. The turn's order: events, patience, ending, answers to WAIT. The longest wait is for the next of patience and linger.
 * 4. No allocator is called in this process (monitor_test counts the calls). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/record.h"
#include "monitor/run.h"
#include "sys/sys.h"

/* After the container's end: how long processes that still hold its pipes (a shared pid namespace) are listened to. */
#define LINGER_MS 2000

struct run monitor_run_state;
/* Pages of their own, given back when a stream is quiet. */
static _Alignas(4096) char lines[2][MONITOR_LINE];

int64_t monitor_run_ms(void)
{
	return clock_mono_ms(clock_real());
}

static int64_t now_ns(void)
{
	return clock_wall_ns(clock_real());
}

void monitor_run_arm(int fd, enum source source, uint32_t *armed, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.u32 = source };
	if (fd < 0 || *armed == events)
		return;
	int how = !events ? EPOLL_CTL_DEL : *armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	/* Only a bug or a kernel without memory can refuse: an unwatched source would be a silent hang. */
	if (epoll_ctl(monitor_run_state.epoll, how, fd, &e) < 0)
		abort();
	*armed = events;
}

bool monitor_run_streams_done(const struct run *m)
{
	return m->phase == MONITOR_ENDED && m->streams[0].fd < 0 && m->streams[1].fd < 0;
}

static uint64_t oom_kills_read(int fd)
{
	char text[1024];
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text), 0);
	struct span rest = span_make(text, n > 0 ? (size_t)n : 0), line;
	uint64_t kills = 0;
	while (span_cut(&rest, '\n', &line))
		if (span_starts(line, SPAN("oom_kill ")))
			(void)span_to_u64(span_from(line, 9), &kills); /* the kernel writes numbers */
	return kills;
}

void monitor_run_state_fill(struct run *m, struct monitor_state *out)
{
	if (m->phase != MONITOR_ENDED && m->memory >= 0)
		m->end.oom_kills = oom_kills_read(m->memory);
	*out = (struct monitor_state){ .phase = m->phase,
				       .pid = m->pid,
				       .exit_code = m->phase == MONITOR_ENDED ? m->end.exit_code : -1,
				       .signal = m->end.signal,
				       .started_ns = m->end.started_ns,
				       .finished_ns = m->end.finished_ns,
				       .oom_kills = m->end.oom_kills,
				       .log_bytes = m->log.size,
				       .lost_records = m->log.lost_records,
				       .lost_errno = m->log.lost_errno,
				       .class = (int)m->end.class };
	memcpy(out->error, m->end.error, sizeof(out->error));
	for (unsigned i = 0; i < MONITOR_CLIENTS_MAX; i++)
		out->clients += m->clients[i].fd >= 0;
}

/* ---- children */

static void theirs_close(struct run *m)
{
	for (int i = 0; i < 3; i++)
		fd_close(&m->theirs[i]);
}

static void child_begin(struct run *m, bool build, struct err *err)
{
	int pair[2];
	static uint32_t armed;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		err_sys(err, "socket pair");
		return;
	}
	auto_fd int theirs = pair[1];
	struct sys_clone_args args = { .exit_signal = SIGCHLD };
	pid_t pid = sys_clone3(&args);
	if (pid == 0) {
		close(pair[0]);
		if (build)
			monitor_build_run(m->spawn, m->theirs, m->rows, m->cols, theirs);
		monitor_build_start(m->spawn, theirs);
	}
	if (pid < 0) {
		err_sys(err, "clone");
		close(pair[0]);
		return;
	}
	m->child = pair[0];
	m->child_answered = false;
	m->child_starts = !build;
	armed = 0;
	monitor_run_arm(m->child, SOURCE_CHILD, &armed, EPOLLIN);
}

static int start_begin(struct run *m, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	bool build = !m->pid; /* a held exec begins only now */
	child_begin(m, build, &why);
	if (why.class)
		return err_move(err, &why);
	if (build) {
		theirs_close(m);
		m->phase = MONITOR_BUILDING;
	}
	return 0;
}

int monitor_run_start(struct run *m, struct err *err)
{
	if (m->phase == MONITOR_RUNNING || m->phase == MONITOR_ENDED)
		return err_set(err, ERR_IN_USE, "the container was started already");
	if (m->phase == MONITOR_BUILDING || m->start_waits || (m->child >= 0 && m->child_starts))
		return err_set(err, ERR_IN_USE, "the container is being built or started");
	/* Who hears STARTED may be faster than the child that told it: it still looks for the memory counter. */
	m->start_waits = m->child >= 0;
	return m->start_waits ? 0 : start_begin(m, err);
}

int monitor_run_build(struct run *m, struct err *err)
{
	const char go = 1;
	if (!m->later)
		return err_set(err, ERR_IN_USE, "the container is being built, or was");
	m->later = false;
	(void)send(m->child, &go, sizeof(go), MSG_NOSIGNAL); /* gone: its channel says so */
	return 0;
}

void monitor_run_unwanted(struct run *m)
{
	(void)unlinkat(m->dir, "monitor.json", 0); /* one that stays tells of a monitor that was killed: nothing ran */
	(void)unlinkat(m->dir, "monitor.sock", 0);
	_exit(0); /* the child reads the end of its channel */
}

/* Not as struct err, which may need memory for a long text. */
void monitor_run_failed(struct run *m, enum err_class class, int errnum, const char *text)
{
	m->end.class = class;
	snprintf(m->end.error, sizeof(m->end.error), "%s", text);
	m->end.exit_code = err_exit_code((int)class);
	if (!m->pid) { /* nothing was made; else the end of the first process is waited for */
		theirs_close(m);
		m->phase = MONITOR_ENDED;
		m->end.finished_ns = now_ns();
		m->linger_until_ms = monitor_run_ms() + LINGER_MS;
		if (monitor_record_exit(m->log.out, m->dir, m->spawn->id, &m->end, false, true) < 0)
			m->log.lost_errno = errno;
		m->recorded = true;
	}
	monitor_client_failed(m, class, errnum, text);
}

static void terminal_set(struct run *m, int master)
{
	m->terminal = master;
	if (m->rows || m->cols) { /* it was made like this, unless RESIZE came meanwhile */
		struct winsize size = { .ws_row = m->rows, .ws_col = m->cols };
		(void)ioctl(master, TIOCSWINSZ, &size); /* a new terminal takes any size */
	}
	(void)fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
	m->input = fcntl(master, F_DUPFD_CLOEXEC, 3); /* epoll watches a descriptor once */
	int reader = fcntl(master, F_DUPFD_CLOEXEC, 3);
	monitor_stream_open(m, 0, reader);
}

static void made(struct run *m, const struct build_msg *msg, int *fd)
{
	m->pid = m->end.pid = msg->a;
	m->ticks = msg->ticks;
	if (msg->b && *fd >= 0)
		terminal_set(m, take_fd(fd));
	m->phase = (m->spawn->flags & (MONITOR_HOLD | MONITOR_EXEC)) == MONITOR_HOLD ? MONITOR_CREATED : MONITOR_RUNNING;
	if (m->phase == MONITOR_RUNNING)
		m->end.started_ns = now_ns();
	/* A refusal (full disk) leaves the older file, with our number: the container is found all the same. */
	(void)monitor_record_self(m->log.out, m->dir, m->spawn->id, m->pid, m->ticks, m->end.started_ns);
	monitor_client_started(m);
}

static void memory_arm(struct run *m, uint32_t events)
{
	monitor_run_arm(m->memory_event >= 0 ? m->memory_event : m->memory, SOURCE_MEMORY, &m->memory_armed, events);
}

/* v2: the counter's file has changed (any of its lines). v1: the group is out of memory; the kill is counted a moment later. */
static void memory_event(struct run *m)
{
	uint64_t kills = oom_kills_read(m->memory), raised = 0;
	bool told = m->memory_event >= 0 && read(m->memory_event, &raised, sizeof(raised)) == sizeof(raised);
	char byte;
	if (pread(m->memory, &byte, 1, 0) < 0) { /* the group is gone: it would tell so for ever */
		memory_arm(m, 0);
		return;
	}
	if (told || kills > m->oom_told)
		monitor_client_oom(m, kills);
	m->oom_told = kills;
}

static void child_message(struct run *m, const struct build_msg *msg, int *fd)
{
	switch ((enum build_kind)msg->kind) {
	case BUILD_WARNING:
		for (unsigned i = 0; i < MONITOR_CLIENTS_MAX; i++)
			if (m->clients[i].fd >= 0 && m->clients[i].is_control)
				(void)monitor_client_say(m, &m->clients[i], MONITOR_WARNING, 0, 0, 0,
							 span_of(msg->text)); /* or it is gone */
		return;
	case BUILD_ERROR:
		m->child_answered = true;
		monitor_run_failed(m, msg->a > 0 && msg->a < ERR_COUNT ? (enum err_class)msg->a : ERR_INTERNAL, msg->b, msg->text);
		return;
	case BUILD_MADE:
		m->child_answered = true;
		made(m, msg, fd);
		return;
	case BUILD_MEMORY:
		m->memory = take_fd(fd);
		memory_arm(m, EPOLLPRI);
		memory_event(m);
		return;
	case BUILD_MEMORY_EVENT:
		memory_arm(m, 0);
		m->memory_event = take_fd(fd);
		memory_arm(m, EPOLLIN);
		return;
	case BUILD_STARTED:
		m->child_answered = true;
		m->phase = MONITOR_RUNNING;
		m->end.class = ERR_NONE; /* of a start before that was cut off */
		m->end.error[0] = 0;
		m->end.started_ns = now_ns();
		(void)monitor_record_self(m->log.out, m->dir, m->spawn->id, m->pid, m->ticks, m->end.started_ns); /* as above */
		monitor_client_started(m);
		return;
	case BUILD_KIND_COUNT: return;
	}
}

static void child_event(struct run *m)
{
	struct build_msg msg = {};
	int fds[1];
	unsigned n_fds;
	ssize_t n = sys_message_recv(m->child, &msg, sizeof(msg), fds, 1, &n_fds, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	auto_fd int fd = n_fds ? fds[0] : -1;
	if (n > (ssize_t)offsetof(struct build_msg, text)) {
		((char *)&msg)[n - 1] = 0;
		child_message(m, &msg, &fd);
		return;
	}
	fd_close(&m->child); /* epoll forgets it */
	m->later = false;
	if (m->start_waits) {
		auto_err struct err err = ERR_INIT;
		m->start_waits = false;
		if (start_begin(m, &err) < 0)
			monitor_client_failed(m, err.class, err.errnum, err_msg(&err));
		return;
	}
	if (!m->child_answered)
		monitor_run_failed(m, ERR_INTERNAL, 0,
		       m->phase == MONITOR_BUILDING ? "the process that builds the container was killed"
						    : "the process that starts the container was killed");
}

/* ---- the end */

/* What is in the pipes now. Bounded: somebody who is still alive may write for ever. */
static void streams_drain(struct run *m)
{
	for (int i = 0; i < 2; i++)
		for (int k = 0; k < 1024 && monitor_stream_read(m, i); k++)
			;
}

static void ended(struct run *m, int status)
{
	m->end.finished_ns = now_ns();
	m->end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	if (!m->end.class) /* else the program never ran: the code of its error stays */
		m->end.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	m->end.oom_kills = oom_kills_read(m->memory);
	m->phase = MONITOR_ENDED;
	m->linger_until_ms = monitor_run_ms() + LINGER_MS;
	/* What it wrote before its end is in the pipes: the log has it before the end is known. */
	streams_drain(m);
}

static void reap(struct run *m)
{
	int status;
	pid_t pid;
	if (m->child >= 0) /* invariant 1 */
		return;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == m->pid && m->phase != MONITOR_ENDED)
			ended(m, status);
}

/* Invariant 2. A disk that is full now may have room later: tried again every second, for as long as it takes. */
static void record(struct run *m)
{
	static int64_t next_ms;
	int64_t now = monitor_run_ms();
	if (m->recorded || m->phase != MONITOR_ENDED || now < next_ms)
		return;
	bool durable = !(m->spawn->flags & (MONITOR_EXEC | MONITOR_VOLATILE));
	if (monitor_record_exit(m->log.out, m->dir, m->spawn->id, &m->end, m->memory >= 0, durable) == 0) {
		m->recorded = true;
		FAILPOINT("monitor.run.recorded"); /* hangs in a test: the end is on disk, and nobody is told */
	} else {
		m->log.lost_errno = errno;
		next_ms = now + 1000;
	}
}

static void finish(struct run *m)
{
	int64_t now = monitor_run_ms();
	if (m->phase != MONITOR_ENDED)
		return;
	if (now >= m->linger_until_ms || m->quit) {
		streams_drain(m);
		for (int i = 0; i < 2; i++)
			if (!m->streams[i].stuck || m->quit)
				monitor_stream_close(m, i);
	}
	if (!m->recorded)
		return;
	monitor_client_waits_answer(m);
	if (!monitor_run_streams_done(m))
		return;
	for (unsigned i = 0; i < MONITOR_CLIENTS_MAX && !m->quit; i++)
		if (m->clients[i].fd >= 0 && monitor_client_is_stuck(&m->clients[i]))
			return; /* within its patience: the last piece, or an answer, is still here for it */
	(void)unlinkat(m->dir, "monitor.sock", 0); /* a connection that it would still find is refused all the same */
	_exit(0);
}

/* ---- set-up */

static int socket_listen(struct run *m, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	auto_fd int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return err_sys(err, "socket");
	(void)unlinkat(m->dir, "monitor.sock", 0); /* of a monitor that was killed: we hold its lock */
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/monitor.sock", m->dir);
	mode_t old = umask(0177);
	int r = bind(sock, (struct sockaddr *)&addr, sizeof(addr));
	int saved = errno;
	umask(old);
	errno = saved;
	if (r < 0 || listen(sock, MONITOR_CLIENTS_MAX) < 0)
		return err_sys(err, "make monitor.sock in the state folder");
	m->listen = take_fd(&sock);
	static uint32_t armed;
	monitor_run_arm(m->listen, SOURCE_LISTEN, &armed, EPOLLIN);
	return 0;
}

/* Our ends are not blocking; the container's ends are, as programs expect. */
static int pipe_make(int *out_read, int *out_write, bool we_read, struct err *err)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	(void)fcntl(p[we_read ? 0 : 1], F_SETFL, O_NONBLOCK); /* cannot fail on a pipe */
	*out_read = p[0];
	*out_write = p[1];
	return 0;
}

static int streams_make(struct run *m, struct err *err)
{
	const struct monitor_spawn *s = m->spawn;
	if (s->flags & MONITOR_STDIO) {
		memcpy(m->theirs, s->stdio, sizeof(s->stdio));
		return 0;
	}
	if (s->flags & MONITOR_TERMINAL) /* comes with MADE */
		return 0;
	int r = 0;
	if (s->flags & MONITOR_OPEN_STDIN)
		r = pipe_make(&m->theirs[0], &m->input, false, err);
	for (int i = 0; i < 2 && r == 0; i++) {
		int ours;
		r = pipe_make(&ours, &m->theirs[i + 1], true, err);
		if (r == 0)
			monitor_stream_open(m, i, ours);
	}
	return r;
}

static int set_up(struct run *m, struct err *err)
{
	const struct monitor_spawn *s = m->spawn;
	int r = monitor_record_self(m->log.out, m->dir, s->id, 0, 0, 0);
	if (r < 0)
		return err_sys(err, "write monitor.json in the state folder");
	if (unlinkat(m->dir, "exit.json", 0) < 0 && errno != ENOENT)
		return err_sys(err, "remove the exit of the run before");
	r = socket_listen(m, err);
	m->log.format = s->format;
	m->log.dir = s->log_dir;
	m->log.max_bytes = s->max_bytes;
	m->log.max_files = s->max_files;
	m->log.attrs = s->log_attrs;
	m->log.compress = s->flags & MONITOR_COMPRESS;
	if (s->log_name)
		snprintf(m->log.name, sizeof(m->log.name), "%s", s->log_name);
	r = r < 0 ? r : monitor_log_open(&m->log, err);
	return r < 0 ? r : streams_make(m, err);
}

int monitor_run_lock(int state_dir)
{
	auto_fd int lock = openat(state_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0 ? -1 : take_fd(&lock);
}

static int dir_lock(struct run *m, struct err *err)
{
	if (m->lock < 0)
		m->lock = monitor_run_lock(m->dir);
	if (m->lock >= 0)
		return 0;
	return errno == EWOULDBLOCK ? err_set(err, ERR_IN_USE, "another monitor watches this state folder")
				    : err_sys(err, "lock the state folder");
}

static void process_set(struct run *m)
{
	sigset_t all, chld;
	static uint32_t armed;
	(void)setsid(); /* fails only where it is so already */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 || chdir("/") < 0)
		abort();
	(void)prctl(PR_SET_NAME, "knarr-monitor", 0, 0, 0);
	(void)umask(022);
	/* Nothing that can be blocked ends us: whoever watches must not die before what it watches. */
	sys_signals_all(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	m->epoll = epoll_create1(EPOLL_CLOEXEC);
	m->signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	monitor_run_arm(m->signals, SOURCE_SIGNALS, &armed, EPOLLIN);
}

static int wait_ms(const struct run *m)
{
	int64_t until = INT64_MAX, now = monitor_run_ms();
	for (unsigned i = 0; i < MONITOR_CLIENTS_MAX; i++) {
		const struct client *c = &m->clients[i];
		if (c->fd >= 0 && monitor_client_is_stuck(c))
			until = MIN(until, c->stuck_until_ms);
	}
	if (m->phase == MONITOR_ENDED) {
		if (m->linger_until_ms > now)
			until = MIN(until, m->linger_until_ms);
		if (!m->recorded)
			until = MIN(until, now + 1000);
	}
	return until == INT64_MAX ? -1 : until <= now ? 0 : (int)MIN(until - now, INT64_C(86400000));
}

static void event(struct run *m, const struct epoll_event *e)
{
	struct signalfd_siginfo info;
	uint32_t source = e->data.u32;
	if (source == SOURCE_SIGNALS)
		while (read(m->signals, &info, sizeof(info)) > 0)
			; /* reaping is part of every turn */
	else if (source == SOURCE_CHILD)
		child_event(m);
	else if (source == SOURCE_LISTEN)
		monitor_client_accept(m);
	else if (source == SOURCE_INPUT)
		monitor_input_write(m);
	else if (source == SOURCE_MEMORY)
		memory_event(m);
	else if (source < SOURCE_CLIENT)
		(void)monitor_stream_read(m, (int)(source - SOURCE_STREAM)); /* more: the next turn */
	else if (source < SOURCE_COUNT)
		monitor_client_event(m, &m->clients[source - SOURCE_CLIENT], e->events);
}

static void loop(struct run *m) __attribute__((noreturn));
static void loop(struct run *m)
{
	struct epoll_event events[16];
	for (;;) {
		int n = epoll_wait(m->epoll, events, ARRAY_LEN(events), wait_ms(m));
		for (int i = 0; i < n; i++)
			event(m, &events[i]);
		monitor_client_patience(m, monitor_run_ms());
		monitor_client_rotated(m);
		reap(m);
		record(m);
		finish(m);
	}
}

void monitor_run(const struct monitor_spawn *s, int control, int lock)
{
	struct run *m = &monitor_run_state;
	auto_err struct err err = ERR_INIT;
	m->spawn = s;
	m->theirs[0] = m->theirs[1] = m->theirs[2] = -1;
	m->dir = s->state_dir;
	m->lock = lock;
	m->child = m->terminal = m->input = m->memory = m->memory_event = m->listen = m->log.fd = -1;
	m->rows = s->rows;
	m->cols = s->cols;
	m->streams[0].fd = m->streams[1].fd = -1;
	m->streams[0].log.name = "stdout";
	m->streams[1].log.name = "stderr";
	m->streams[0].log.line = lines[0];
	m->streams[1].log.line = lines[1];
	for (unsigned i = 0; i < MONITOR_CLIENTS_MAX; i++)
		m->clients[i].fd = -1;
	FAILPOINT("monitor.run.begin"); /* sleeps in a test: the engine goes before we have written a word */
	process_set(m);
	struct client *c = monitor_client_add(m, control);
	c->is_control = c->waits = true;
	if (dir_lock(m, &err) < 0) { /* not ours: nothing may be written there */
		monitor_client_failed(m, err.class, err.errnum, err_msg(&err));
		_exit(1);
	}
	if (set_up(m, &err) == 0 && (s->flags & MONITOR_EXEC) && (s->flags & MONITOR_HOLD)) {
		m->phase = MONITOR_CREATED;
		monitor_client_started(m);
		loop(m);
	}
	if (!err.class)
		child_begin(m, true, &err);
	theirs_close(m);
	m->later = !err.class && (s->flags & MONITOR_LATER);
	if (err.class)
		monitor_run_failed(m, err.class, err.errnum, err_msg(&err));
	loop(m);
}
