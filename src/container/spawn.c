/* The spawner: the one process that clones. It is started with the engine, and again when somebody killed it or it does not answer
 * (stopped, or asleep in the kernel for a disk): decision 0860.
 *
 *     asked ──ANSWER_MS──> killed, another one is asked ──ANSWER_MS──> "the spawner does not answer"
 *
 * One that cannot be killed clones nothing any more when it wakes up: it dies, or sees that nobody listens. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "container/private.h"
#include "sys/program.h"
#include "sys/sys.h"

extern char **environ;

enum { END_MS = 5000, QUEUE_MS = 2 * MONITOR_ANSWER_MS };

/* Those that did not end though they were killed: where a new one's number goes, or NULL when there are too many. */
static pid_t *left_slot(struct container_engine *e)
{
	pid_t *free_one = NULL;
	for (size_t i = 0; i < ARRAY_LEN(e->spawners_left); i++) {
		pid_t *p = &e->spawners_left[i];
		if (*p > 0 && waitpid(*p, NULL, WNOHANG) != 0)
			*p = 0;
		if (*p <= 0)
			free_one = p;
	}
	return free_one;
}

/* Under spawn_lock. */
static int start(struct container_engine *e, struct err *err)
{
	int pair[2];
	if (!left_slot(e))
		return err_set(err, ERR_UNAVAILABLE, "the spawner does not answer and cannot be killed");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socket pair");
	auto_fd int ours = pair[0], theirs = pair[1];
	const char *const argv[] = { e->runner, "spawn", "--fd", "3", NULL };
	pid_t pid;
	monitor_patience(ours, MONITOR_ANSWER_MS);
	int rc = sys_program_start(e->runner, argv, environ, &theirs, 3, 1, &pid, err);
	if (rc < 0)
		return err_note(err, "the spawner");
	e->spawner_pid = pid;
	e->spawner = take_fd(&ours);
	return 0;
}

static bool ended(pid_t pid, int wait_ms)
{
	auto_fd int pidfd = sys_pidfd_open(pid, 0);
	struct pollfd p = { pidfd, POLLIN, 0 };
	if (pidfd >= 0 && poll(&p, 1, wait_ms) < 0 && errno == EINTR)
		(void)poll(&p, 1, wait_ms);
	return waitpid(pid, NULL, WNOHANG) != 0;
}

/* It ends by itself when nobody listens; one that was deaf before is not asked to. */
static void stop(struct container_engine *e, bool deaf)
{
	pid_t pid = e->spawner_pid;
	e->spawner_pid = 0;
	fd_close(&e->spawner);
	if (pid <= 0 || (!deaf && ended(pid, END_MS)))
		return;
	(void)kill(pid, SIGKILL); /* our child, not yet waited for: the number is its own */
	if (ended(pid, END_MS))
		return;
	pid_t *slot = left_slot(e); /* there was one when it was started */
	if (slot)
		*slot = pid;
}

int container_spawner_start(struct container_engine *e, struct err *err)
{
	pthread_mutex_lock(&e->spawn_lock);
	int rc = e->spawner >= 0 ? 0 : start(e, err);
	pthread_mutex_unlock(&e->spawn_lock);
	return rc;
}

void container_spawner_stop(struct container_engine *e)
{
	pthread_mutex_lock(&e->spawn_lock);
	stop(e, false);
	pthread_mutex_unlock(&e->spawn_lock);
}

/* What the one before may have cloned without telling ends when it sees that nobody listens; its folder is free then. */
static int again(struct container_engine *e, const struct monitor_spawn *s, bool deaf, struct monitor_spawned *out, struct err *err)
{
	stop(e, deaf);
	int rc = start(e, err);
	rc = rc < 0 ? rc : container_monitor_gone(s->state_dir, err);
	rc = rc < 0 ? rc : monitor_spawn(e->spawner, s, out, err);
	if (rc == -ERR_UNAVAILABLE && e->spawner >= 0)
		stop(e, true);
	return rc;
}

int container_spawn(struct container_engine *e, const struct monitor_spawn *s, struct monitor_spawned *out, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += QUEUE_MS / 1000;
	if (pthread_mutex_clocklock(&e->spawn_lock, CLOCK_MONOTONIC, &until) != 0)
		return err_set(err, ERR_UNAVAILABLE, "the spawner does not answer");
	int rc = e->spawner >= 0 ? 0 : start(e, err);
	if (rc == 0) {
		rc = monitor_spawn(e->spawner, s, out, &why);
		bool deaf = rc == -ERR_UNAVAILABLE && why.errnum == EAGAIN;
		if (deaf)
			container_warn(e, "the spawner does not answer and is killed; another one is asked", s->id, &why);
		if (rc == -ERR_UNAVAILABLE)
			rc = again(e, s, deaf, out, err);
		else if (rc < 0)
			err_move(err, &why);
	}
	pthread_mutex_unlock(&e->spawn_lock);
	return rc;
}
