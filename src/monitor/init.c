/* `knarr-run init`: process 1 of a container that asked for one (--init): it starts the program, hands every signal on to
 * it, reaps whatever is left to process 1, and ends as the program ended. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/monitor.h"
#include "sys/sys.h"

static void program_run(int argc, char **argv, const sigset_t *mask) __attribute__((noreturn));
static void program_run(int argc, char **argv, const sigset_t *mask)
{
	/* A group of its own, in front when there is a terminal: ^C reaches the program once, from the terminal. */
	if (setpgid(0, 0) == 0 && isatty(0)) {
		signal(SIGTTOU, SIG_IGN);
		(void)tcsetpgrp(0, getpgrp()); /* not our terminal: then it stays as it is */
		signal(SIGTTOU, SIG_DFL);
	}
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(argv[0], argv);
	int errnum = errno;
	if (errnum == ENOEXEC) { /* a script without #!: execvp(3) and docker-init give it to the shell, musl's execvp does not */
		const char **words = calloc((size_t)argc + 2, sizeof(*words));
		if (words) {
			words[0] = "sh";
			memcpy(words + 1, argv, (size_t)argc * sizeof(*argv));
			execv("/bin/sh", (char *const *)(uintptr_t)words);
		}
	}
	fprintf(stderr, "init: exec %s: %s\n", argv[0], err_why(errnum));
	_exit(errnum == ENOENT ? 127 : 126);
}

int monitor_init_main(int argc, char **argv)
{
	int at = argc > 1 && !strcmp(argv[1], "--") ? 2 : 1;
	if (argc > 1 && !strcmp(argv[1], "--help")) {
		puts("usage: knarr-run init [--] COMMAND [ARGUMENT...]\n\n"
		     "runs COMMAND, hands signals on, reaps zombies, ends with COMMAND's status");
		return 0;
	}
	if (at >= argc) {
		fputs("usage: knarr-run init [--] COMMAND [ARGUMENT...]\n", stderr);
		return 125;
	}
	/* Blocked signals wait for sigwaitinfo, also those that process 1 would otherwise not get at all. Faults of
	 * our own must not wait. */
	sigset_t wanted, before;
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
	sys_signals_all(&wanted);
	for (size_t i = 0; i < ARRAY_LEN(faults); i++)
		sigdelset(&wanted, faults[i]);
	sigprocmask(SIG_SETMASK, &wanted, &before);
	if (getpid() != 1 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		fprintf(stderr, "init: warning: orphans go elsewhere: %s\n", err_why(errno));
	pid_t child = fork();
	if (child < 0) {
		fprintf(stderr, "init: fork: %s\n", err_why(errno));
		return 125;
	}
	if (child == 0)
		program_run(argc - at, argv + at, &before);
	for (;;) {
		siginfo_t info;
		int sig = sigwaitinfo(&wanted, &info), status;
		if (sig == SIGCHLD) {
			int end = -1;
			pid_t pid;
			while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
				if (pid == child)
					end = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
			if (end >= 0)
				return end;
		} else if (sig == SIGTTIN || sig == SIGTTOU) {
			continue; /* for a group in the background that touches the terminal: us, not the program */
		} else if (sig > 0) {
			(void)kill(child, sig); /* it ended meanwhile: SIGCHLD is waiting */
		}
	}
}
