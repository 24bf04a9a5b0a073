/* The spawner: the one process that clones. It is started with the engine, and again when somebody killed it. */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "container/private.h"

extern char **environ;

/* Under spawn_lock. */
static int start(struct container_engine *e, struct err *err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socket pair");
	auto_fd int ours = pair[0], theirs = pair[1];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_adddup2(&actions, theirs, 3);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setpgroup(&attr, 0); /* ^C for the engine is none for containers */
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	char *argv[] = { e->runner, (char *)"spawn", (char *)"--fd", (char *)"3", NULL };
	pid_t pid;
	int errnum = posix_spawn(&pid, e->runner, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	if (errnum)
		return err_sys_num(err, errnum, "start the spawner, %s", e->runner);
	e->spawner_pid = pid;
	e->spawner = take_fd(&ours);
	return 0;
}

static void stop(struct container_engine *e)
{
	fd_close(&e->spawner);
	if (e->spawner_pid > 0)
		while (waitpid(e->spawner_pid, NULL, 0) < 0 && errno == EINTR)
			;
	e->spawner_pid = 0;
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
	stop(e);
	pthread_mutex_unlock(&e->spawn_lock);
}

int container_spawn(struct container_engine *e, const struct monitor_spawn *s, struct monitor_spawned *out, struct err *err)
{
	pthread_mutex_lock(&e->spawn_lock);
	int rc = e->spawner >= 0 ? 0 : start(e, err);
	if (rc == 0) {
		auto_err struct err why = ERR_INIT;
		rc = monitor_spawn(e->spawner, s, out, &why);
		if (rc == -ERR_UNAVAILABLE) { /* it was killed: another one */
			stop(e);
			rc = start(e, err);
			rc = rc < 0 ? rc : monitor_spawn(e->spawner, s, out, err);
		} else if (rc < 0) {
			err_move(err, &why);
		}
	}
	pthread_mutex_unlock(&e->spawn_lock);
	return rc;
}
