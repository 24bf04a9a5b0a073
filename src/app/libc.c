/* What musl lacks, or does otherwise than knarr-run needs. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

/* libseccomp was compiled against glibc with _FORTIFY_SOURCE, where fprintf is this function. It prints filters for people
 * (seccomp_export_pfc), which nobody here asks for, in the same object file as what is asked for. */
int __fprintf_chk(FILE *out, int flag, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int __fprintf_chk(FILE *out, int flag, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vfprintf(out, fmt, ap);
	va_end(ap);
	return n;
}

/* musl sends it to the thread that it remembers, and remembers its parent's in a process made by clone3 without its help: abort,
 * and so a failed assertion, would end the spawner instead of the child that found it. The linker takes this one for all. */
int raise(int sig)
{
	return (int)syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
}
