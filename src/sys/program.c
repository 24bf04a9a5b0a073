/* See program.h. A signal that is ignored or blocked stays so through exec: programs expect neither. */
#include <signal.h>
#include <spawn.h>

#include "sys/program.h"

int sys_program_start(const char *path, const char *const *argv, char *const *env, const int *fds, int first, unsigned n,
		      pid_t *out_pid, struct err *err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	for (unsigned i = 0; i < n; i++)
		posix_spawn_file_actions_adddup2(&actions, fds[i], first + (int)i);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	int errnum = posix_spawn(out_pid, path, &actions, &attr, (char *const *)argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return errnum ? err_sys_num(err, errnum, "starting %s", path) : 0;
}
