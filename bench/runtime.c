/* Row 1 of the goals: `run` of a program that ends at once, six namespaces, against crun and runc on the same bundle.
 *
 * usage: bench-runtime [ROUNDS]      as root, from the source tree
 *
 * The three take turns, so that whatever else the machine does hits all. crun refuses the hybrid cgroup layout, so all
 * three run where the v2 mount is not visible (a mount namespace of our own). State folders are on a tmpfs, as /run is.
 * The program is an ELF file of 140 bytes that calls exit: what is measured is the runtime. Processor time (of the
 * runtime, its first process and whatever else it waits for) is the steadier figure on a busy machine. A runtime that
 * is not installed is left out. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "bundle.h"
#include "took.h"

static char dir[64] = "/tmp/knarr-bench-XXXXXX";
static char program[4096];

static void bundle_make(const char *name, const char *network, const char *profile)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	bench_bundle_make(path, "/true", network, profile);
}

static double now_ms(void)
{
	return (double)clock_mono_ns(clock_real()) / 1e6;
}

static pid_t spawn(char *const *argv, const char *bundle)
{
	pid_t pid = vfork();
	if (pid == 0) {
		if (chdir(bundle) == 0)
			execvp(argv[0], argv);
		_exit(127);
	}
	return pid;
}

/* *cpu_ms (may be NULL) grows by the processor time of the process and of what it has waited for, the container too. */
static int finish(pid_t pid, double *cpu_ms)
{
	int status = 0;
	struct rusage used;
	wait4(pid, &status, 0, &used);
	if (cpu_ms)
		*cpu_ms += (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
			   (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

enum { OURS, CRUN, RUNC, PEERS };
static const char *const names[PEERS] = { "knarr", "crun", "runc" };

/* Groups have the names of their containers, and other runs may be beside us. */
static void id_make(char id[32], const char *what, int peer, int i)
{
	snprintf(id, 32, "%s-%d-%d-%d", what, getpid(), peer, i);
}

static void command(int peer, const char *id, char **argv)
{
	static char root[PEERS][96];
	int n = 0;
	snprintf(root[peer], sizeof(root[peer]), "%s/state-%s", dir, names[peer]);
	argv[n++] = peer == OURS ? program : (char *)names[peer];
	if (peer == OURS)
		argv[n++] = (char *)"runtime";
	argv[n++] = (char *)"--root";
	argv[n++] = root[peer];
	argv[n++] = (char *)"run";
	argv[n++] = (char *)id;
	argv[n] = NULL;
}

/* Rounds of one `run` each, taking turns; prints a line per peer and keeps the medians. */
static bool rounds_run(const char *title, const char *bundle_name, int rounds, double median[PEERS], double cpu[PEERS])
{
	char bundle[128];
	double *ms[PEERS];
	bool there[PEERS];
	snprintf(bundle, sizeof(bundle), "%s/%s", dir, bundle_name);
	for (int p = 0; p < PEERS; p++) {
		char *argv[8], id[32];
		ms[p] = mem_alloc((size_t)rounds * sizeof(double));
		id_make(id, "warm", p, 0);
		command(p, id, argv);
		there[p] = finish(spawn(argv, bundle), NULL) == 0;
		median[p] = cpu[p] = 0;
	}
	for (int i = 0; i < rounds; i++) {
		for (int p = 0; p < PEERS; p++) {
			char *argv[8], id[32];
			if (!there[p])
				continue;
			id_make(id, "bench", p, i);
			command(p, id, argv);
			double start = now_ms();
			int code = finish(spawn(argv, bundle), &cpu[p]);
			ms[p][i] = now_ms() - start;
			if (code != 0) {
				fprintf(stderr, "bench: %s ended with %d\n", names[p], code);
				return false;
			}
		}
	}
	for (int p = 0; p < PEERS; p++) {
		if (!there[p]) {
			printf("%-28s %-6s does not run here\n", title, names[p]);
		} else {
			qsort(ms[p], (size_t)rounds, sizeof(double), took_by_value);
			median[p] = ms[p][rounds / 2];
			cpu[p] /= rounds;
			printf("%-28s %-6s p50 %7.2f ms  p99 %7.2f ms  min %7.2f ms  processor %6.2f ms\n", title,
			       names[p], median[p], ms[p][rounds * 99 / 100], ms[p][0], cpu[p]);
		}
		free(ms[p]);
	}
	return there[OURS];
}

/* Containers run and removed per second, two at a time, without a network namespace. */
static double rate(int n)
{
	char bundle[128], id[32], *argv[8];
	pid_t running[2] = {};
	snprintf(bundle, sizeof(bundle), "%s/nonet", dir);
	double start = now_ms();
	for (int i = 0; i < n; i++) {
		if (running[i % 2])
			finish(running[i % 2], NULL);
		id_make(id, "rate", OURS, i);
		command(OURS, id, argv);
		running[i % 2] = spawn(argv, bundle);
	}
	finish(running[0], NULL);
	finish(running[1], NULL);
	return n / (now_ms() - start) * 1000;
}

static void syscalls_count(void)
{
	char line[9000];
	char bundle[128];
	snprintf(bundle, sizeof(bundle), "%s/plain", dir);
	snprintf(line, sizeof(line),
		 "strace -f -c -o %s/count %s runtime --root %s/state-knarr run counted-%d && awk 'END { print $(NF-2) }' "
		 "%s/count",
		 dir, program, dir, getpid(), dir);
	char *argv[] = { (char *)"sh", (char *)"-c", line, NULL };
	printf("%-28s ", "system calls, all processes");
	fflush(stdout);
	if (finish(spawn(argv, bundle), NULL) != 0)
		puts("(strace is not installed)");
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 100;
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 32);
	if (geteuid() != 0) {
		puts("bench: containers with all namespaces need root");
		return 77;
	}
	if (n <= 0 || rounds < 10 || !mkdtemp(dir))
		return 1;
	program[n] = 0;
	char *slash = strrchr(program, '/');
	snprintf(slash, 32, "/src/app/knarr-run");
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 1;
	(void)umount2("/sys/fs/cgroup/unified", MNT_DETACH); /* only where the layout is hybrid */
	if (mount("tmpfs", dir, "tmpfs", 0, NULL) < 0)
		return 1;
	bundle_make("plain", "", NULL);
	bundle_make("filter", "", "tests/fixtures/seccomp-container.json");
	bundle_make("nonet", NULL, NULL);
	double plain[PEERS], filter[PEERS], cpu[PEERS], cpu_filter[PEERS];
	bool ok = rounds_run("run, six namespaces", "plain", rounds, plain, cpu) &&
		  rounds_run("the same with a filter", "filter", rounds, filter, cpu_filter);
	if (ok) {
		printf("%-28s %.2f ms, %.2f ms of processor time\n", "the filter costs", filter[OURS] - plain[OURS],
		       cpu_filter[OURS] - cpu[OURS]);
		printf("%-28s %.0f per second\n", "run and remove, two workers", rate(rounds * 2));
		syscalls_count();
		printf("processor time: crun / knarr %.1f, runc / knarr %.1f; with a filter %.1f and %.1f\n",
		       cpu[CRUN] / cpu[OURS], cpu[RUNC] / cpu[OURS], cpu_filter[CRUN] / cpu_filter[OURS],
		       cpu_filter[RUNC] / cpu_filter[OURS]);
		printf("ratio: knarr %.2f ms (goal 2.5); crun / knarr %.1f (goal 4), runc / knarr %.1f (goal 8)\n",
		       plain[OURS], plain[CRUN] / plain[OURS], plain[RUNC] / plain[OURS]);
	}
	(void)umount2(dir, MNT_DETACH); /* it goes with our mount namespace in any case */
	(void)rmdir(dir);
	return ok ? 0 : 1;
}
