/* The spawner: the one process that clones. It is started with the engine, and again when somebody killed it. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "container/private.h"
#include "sys/program.h"

extern char **environ;

/* Under spawn_lock. */
static int start(struct container_engine *e, struct err *err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socket pair");
	auto_fd int ours = pair[0], theirs = pair[1];
	const char *const argv[] = { e->runner, "spawn", "--fd", "3", NULL };
	pid_t pid;
	int rc = sys_program_start(e->runner, argv, environ, &theirs, 3, 1, &pid, err);
	if (rc < 0)
		return err_note(err, "the spawner");
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
