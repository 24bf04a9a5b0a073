/* See rlimit.h. */
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "sys/rlimit.h"

static const char *const limits[] = {
	[RLIMIT_AS] = "RLIMIT_AS",
	[RLIMIT_CORE] = "RLIMIT_CORE",
	[RLIMIT_CPU] = "RLIMIT_CPU",
	[RLIMIT_DATA] = "RLIMIT_DATA",
	[RLIMIT_FSIZE] = "RLIMIT_FSIZE",
	[RLIMIT_LOCKS] = "RLIMIT_LOCKS",
	[RLIMIT_MEMLOCK] = "RLIMIT_MEMLOCK",
	[RLIMIT_MSGQUEUE] = "RLIMIT_MSGQUEUE",
	[RLIMIT_NICE] = "RLIMIT_NICE",
	[RLIMIT_NOFILE] = "RLIMIT_NOFILE",
	[RLIMIT_NPROC] = "RLIMIT_NPROC",
	[RLIMIT_RSS] = "RLIMIT_RSS",
	[RLIMIT_RTPRIO] = "RLIMIT_RTPRIO",
	[RLIMIT_RTTIME] = "RLIMIT_RTTIME",
	[RLIMIT_SIGPENDING] = "RLIMIT_SIGPENDING",
	[RLIMIT_STACK] = "RLIMIT_STACK",
};

int sys_rlimit_by_name(struct span name)
{
	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		if (limits[i] && span_is(name, limits[i]))
			return (int)i;
	return -1;
}

const char *sys_rlimit_name(int resource)
{
	return resource >= 0 && (size_t)resource < ARRAY_LEN(limits) ? limits[resource] : NULL;
}

static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "ABRT", SIGABRT }, { "ALRM", SIGALRM }, { "BUS", SIGBUS },	   { "CHLD", SIGCHLD },
	{ "CLD", SIGCHLD },  { "CONT", SIGCONT }, { "FPE", SIGFPE },	   { "HUP", SIGHUP },
	{ "ILL", SIGILL },   { "INT", SIGINT },	  { "IO", SIGIO },	   { "IOT", SIGIOT },
	{ "KILL", SIGKILL }, { "PIPE", SIGPIPE }, { "POLL", SIGPOLL },	   { "PROF", SIGPROF },
	{ "PWR", SIGPWR },   { "QUIT", SIGQUIT }, { "SEGV", SIGSEGV },	   { "STKFLT", SIGSTKFLT },
	{ "STOP", SIGSTOP }, { "SYS", SIGSYS },	  { "TERM", SIGTERM },	   { "TRAP", SIGTRAP },
	{ "TSTP", SIGTSTP }, { "TTIN", SIGTTIN }, { "TTOU", SIGTTOU },	   { "URG", SIGURG },
	{ "USR1", SIGUSR1 }, { "USR2", SIGUSR2 }, { "VTALRM", SIGVTALRM }, { "WINCH", SIGWINCH },
	{ "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },
};

int sys_signal_by_name(struct span name)
{
	uint64_t n;
	if (span_to_u64(name, &n))
		return n <= 64 ? (int)n : -1;
	if (name.len > 3 && span_eq_nocase(span_sub(name, 0, 3), SPAN("SIG")))
		name = span_from(name, 3);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		if (span_eq_nocase(name, span_of(signals[i].name)))
			return signals[i].number;
	/* Numbers as the kernel counts them for containers: libc keeps two for itself, so its SIGRTMIN is 34. */
	bool min = name.len >= 5 && span_eq_nocase(span_sub(name, 0, 5), SPAN("RTMIN"));
	bool max = name.len >= 5 && span_eq_nocase(span_sub(name, 0, 5), SPAN("RTMAX"));
	if (!min && !max)
		return -1;
	struct span rest = span_from(name, 5);
	if (!rest.len)
		return min ? 34 : 64;
	if (rest.ptr[0] != (min ? '+' : '-') || !span_to_u64(span_from(rest, 1), &n) || n > 30)
		return -1;
	return min ? 34 + (int)n : 64 - (int)n;
}

void sys_signals_all(sigset_t *out)
{
	memset(out, 0xff, sizeof(*out));
}

void sys_signals_default(void)
{
	/* struct sigaction of the kernel, which is not libc's: handler (SIG_DFL is 0), flags, restorer, mask. */
	static const unsigned long nothing[4];
	for (int i = 1; i <= 64; i++)
		(void)syscall(SYS_rt_sigaction, i, nothing, NULL, sizeof(uint64_t)); /* SIGKILL and SIGSTOP refuse: they are so */
}
