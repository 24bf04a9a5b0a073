/* fork, and between fork and exec nothing but system calls: the starter may have threads, whose locks stay as they were. All
 * that needs memory (the environment with LISTEN_FDS) is made before. A pipe that closes at exec brings the child's errno. */
#include "proc/proc.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_FD 3
#define PID_DIGITS 10

extern char **environ;

enum step { STEP_FDS, STEP_GROUP, STEP_DIR, STEP_DEATH, STEP_EXEC };
static const char *const steps[] = { "descriptors", "process group", "working folder", "death signal", "executing" };

struct failure {
	int step, errnum;
};

/* What the child needs, made by the starter. */
struct plan {
	const struct proc_wish *w;
	const char *path;
	char **env;
	char *pid_text; /* inside env: where the child writes its number; NULL: it is not told */
	pid_t starter;
	int report;
};

static _Noreturn void child_fail(const struct plan *p, enum step step)
{
	const struct failure f = { .step = (int)step, .errnum = errno };
	ssize_t n = write(p->report, &f, sizeof(f));
	_exit(n == sizeof(f) ? 126 : 125);
}

static void write_pid(char *at)
{
	unsigned long v = (unsigned long)getpid();
	char digits[PID_DIGITS];
	unsigned n = 0;
	do
		digits[n++] = (char)('0' + v % 10);
	while ((v /= 10) && n < PID_DIGITS);
	while (n)
		*at++ = digits[--n];
	*at = 0;
}

/* Every descriptor first goes where nothing is in its way, then to its place. */
static void child_fds(struct plan *p)
{
	const struct proc_wish *w = p->w;
	int high[3 + PROC_FDS_MAX];
	int above = FIRST_FD + (int)w->n_fds, report = fcntl(p->report, F_DUPFD_CLOEXEC, above + 1);
	if (report < 0)
		child_fail(p, STEP_FDS);
	p->report = report;
	for (unsigned i = 0; i < 3 + w->n_fds; i++) {
		int from = i == 0 ? w->in : i == 1 ? w->out : i == 2 ? w->err : w->fds[i - 3];
		auto_fd int null = from < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
		high[i] = fcntl(from < 0 ? null : from, F_DUPFD_CLOEXEC, above + 1);
		if (high[i] < 0)
			child_fail(p, STEP_FDS);
	}
	for (unsigned i = 0; i < 3 + w->n_fds; i++)
		if (dup2(high[i], (int)i) < 0)
			child_fail(p, STEP_FDS);
	/* Descriptors are born close-on-exec here; a library may have forgotten it. Kernels before 5.11 have no such call. */
#ifdef SYS_close_range
	(void)syscall(SYS_close_range, (unsigned)above, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
#endif
}

static _Noreturn void child_run(struct plan *p)
{
	const struct proc_wish *w = p->w;
	/* The kernel's own struct, all zero: SIG_DFL. The C library would refuse the two signals that it keeps for itself, and some
	 * starter may have left those ignored. */
	static const struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} plain;
	sigset_t none;
	for (int sig = 1; sig < NSIG; sig++)
		(void)syscall(SYS_rt_sigaction, sig, &plain, NULL, sizeof(plain.mask)); /* KILL and STOP refuse */
	child_fds(p);
	if (w->group == PROC_GROUP_OWN ? setpgid(0, 0) < 0 : w->group == PROC_GROUP_SESSION && setsid() < 0)
		child_fail(p, STEP_GROUP);
	if (w->dir && chdir(w->dir) < 0)
		child_fail(p, STEP_DIR);
	if (w->death_signal) {
		if (prctl(PR_SET_PDEATHSIG, w->death_signal, 0, 0, 0) < 0)
			child_fail(p, STEP_DEATH);
		if (getppid() != p->starter) /* it ended meanwhile: nobody will send it */
			_exit(125);
	}
	if (p->pid_text)
		write_pid(p->pid_text);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)execve(p->path, (char *const *)w->argv, p->env);
	child_fail(p, STEP_EXEC);
}

static bool env_is(const char *entry, const char *name)
{
	return span_starts(span_of(entry), span_of(name));
}

/* The environment with LISTEN_FDS and LISTEN_PID; without those of the starter. */
static char **env_make(const struct proc_wish *w, struct arena *a, char **out_pid)
{
	char **from = w->env ? (char **)w->env : environ;
	size_t n = 0, k = 0;
	while (from && from[n])
		n++;
	char **env = arena_alloc_n(a, n + 3, sizeof(*env));
	for (size_t i = 0; i < n; i++)
		if (!env_is(from[i], "LISTEN_PID=") && !env_is(from[i], "LISTEN_FDS=") && !env_is(from[i], "LISTEN_FDNAMES="))
			env[k++] = from[i];
	*out_pid = NULL;
	if (w->listen) {
		char *pid = arena_copy(a, "LISTEN_PID=..........", 11 + PID_DIGITS);
		*out_pid = pid + 11;
		env[k++] = pid;
		env[k++] = (char *)arena_printf(a, "LISTEN_FDS=%u", w->n_fds).ptr;
	}
	env[k] = NULL;
	return env;
}

static void on_child(struct loop_child *c, int status, const struct rusage *used)
{
	struct proc *p = container_of(c, struct proc, child);
	p->running = false;
	p->ended(p, status, used);
}

static int failed(const struct failure *f, const char *name, const char *path, struct err *err)
{
	enum err_class class = f->step != STEP_EXEC ? ERR_IO : f->errnum == ENOENT ? ERR_NO_COMMAND : ERR_NOT_EXECUTABLE;
	(void)err_sys_num(err, f->errnum, "starting %s: %s%s%s", name, steps[f->step], f->step == STEP_EXEC ? " " : "",
			  f->step == STEP_EXEC ? path : "");
	if (err)
		err->class = class;
	return -(int)class;
}

int proc_start(struct proc *p, struct loop *l, const char *name, const struct proc_wish *w,
	       void (*ended)(struct proc *p, int status, const struct rusage *used), struct err *err)
{
	auto_arena struct arena a = {};
	struct failure f;
	sigset_t all, before;
	int report[2];
	assert(w->n_fds <= PROC_FDS_MAX);
	*p = (struct proc){ .ended = ended, .group = w->group };
	struct plan plan = { .w = w, .path = w->path ? w->path : w->argv[0], .starter = getpid() };
	plan.env = env_make(w, &a, &plan.pid_text);
	if (pipe2(report, O_CLOEXEC) < 0)
		return err_sys(err, "starting %s: pipe", name);
	auto_fd int in = report[0];
	plan.report = report[1];
	/* No handler of ours may run in the child. */
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (pid == 0)
		child_run(&plan);
	int e = errno;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	close(report[1]);
	if (pid < 0)
		return err_sys_num(err, e, "starting %s: fork", name);
	ssize_t n;
	do
		n = read(in, &f, sizeof(f));
	while (n < 0 && errno == EINTR);
	int rc = n == sizeof(f) ? failed(&f, name, plan.path, err) : loop_child_open(&p->child, l, name, pid, -1, on_child, err);
	if (rc < 0) {
		int status;
		if (n != sizeof(f))
			(void)kill(pid, SIGKILL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		return rc;
	}
	p->pid = pid;
	p->running = true;
	return 0;
}

void proc_signal(struct proc *p, int signum)
{
	/* Through the descriptor: it cannot mean another process. Not yet reaped is fine, ended is ESRCH. */
	if (p->running)
		(void)syscall(SYS_pidfd_send_signal, p->child.pidfd, signum, NULL, 0);
}

void proc_signal_group(struct proc *p, int signum)
{
	/* While the leader is not reaped, its number belongs to the group. */
	if (p->running && p->group != PROC_GROUP_SAME)
		(void)kill(-p->pid, signum);
	else
		proc_signal(p, signum);
}

void proc_forget(struct proc *p, void (*closed)(struct loop_child *c))
{
	p->running = false;
	loop_child_close(&p->child, closed);
}

void proc_status_text(struct buf *out, int status)
{
	if (WIFEXITED(status))
		buf_printf(out, "exit status %d", WEXITSTATUS(status));
	else if (WIFSIGNALED(status) && sigabbrev_np(WTERMSIG(status)))
		buf_printf(out, "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
	else if (WIFSIGNALED(status))
		buf_printf(out, "killed by signal %d", WTERMSIG(status));
	else
		buf_str(out, "end not known");
}
