/* `knarr-run pause`: holds a sandbox's namespaces and sleeps. As process 1 of a shared pid namespace it reaps. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "monitor/monitor.h"

int monitor_pause_main(int argc, char **argv)
{
	if (argc > 1) {
		bool help = !strcmp(argv[1], "--help");
		fputs("usage: knarr-run pause\n\nholds namespaces and reaps zombies until SIGTERM or SIGINT\n",
		      help ? stdout : stderr);
		return help ? 0 : 125;
	}
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		siginfo_t info;
		int sig = sigwaitinfo(&set, &info);
		if (sig == SIGTERM || sig == SIGINT)
			return 0;
	}
}
