/* `knarr-run init`: process 1 of a container that asked for one (--init): it starts the program, hands every signal on to
 * it, reaps whatever is left to process 1, and ends as the program ended. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/monitor.h"

static void program_run(char **argv, const sigset_t *mask) __attribute__((noreturn));
static void program_run(char **argv, const sigset_t *mask)
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
	fprintf(stderr, "init: exec %s: %s\n", argv[0], strerror(errnum));
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
	sigfillset(&wanted);
	for (size_t i = 0; i < ARRAY_LEN(faults); i++)
		sigdelset(&wanted, faults[i]);
	sigprocmask(SIG_SETMASK, &wanted, &before);
	if (getpid() != 1 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		fprintf(stderr, "init: warning: orphans go elsewhere: %s\n", strerror(errno));
	pid_t child = fork();
	if (child < 0) {
		fprintf(stderr, "init: fork: %s\n", strerror(errno));
		return 125;
	}
	if (child == 0)
		program_run(argv + at, &before);
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
