/* What runs inside containers in tests: one static program with subcommands, so that no image and no package is needed.
 * `ct CMD [ARGS] [-- CMD ...]` runs one after another. Output is one `key value` line per fact. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int cmd_cat(int argc, char **argv)
{
	char b[65536];
	for (int i = 1; i < argc; i++) {
		int fd = open(argv[i], O_RDONLY);
		ssize_t n;
		if (fd < 0) {
			printf("cat %s: %s\n", argv[i], strerror(errno));
			return 1;
		}
		fflush(stdout);
		while ((n = read(fd, b, sizeof(b))) > 0)
			if (write(1, b, (size_t)n) != n)
				return 1;
		if (n < 0) {
			printf("cat %s: %s\n", argv[i], strerror(errno));
			return 1;
		}
		close(fd);
	}
	return 0;
}

static int cmd_ls(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);
		struct dirent *e;
		if (!d) {
			printf("ls %s: %s\n", argv[i], strerror(errno));
			return 1;
		}
		while ((e = readdir(d))) {
			char path[4096], link[4096] = "";
			struct stat st;
			snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
			if (lstat(path, &st) < 0 || e->d_name[0] == '.')
				continue;
			if (S_ISLNK(st.st_mode))
				(void)!readlink(path, link, sizeof(link) - 1);
			printf("%s %06o %u:%u %u,%u %s\n", e->d_name, st.st_mode, st.st_uid, st.st_gid,
			       major(st.st_rdev), minor(st.st_rdev), link);
		}
		closedir(d);
	}
	return 0;
}

static int cmd_ids(int argc, char **argv)
{
	gid_t g[64];
	int n = getgroups(64, g);
	printf("uid %u\ngid %u\ngroups", getuid(), getgid());
	for (int i = 0; i < n; i++)
		printf(" %u", g[i]);
	mode_t m = umask(0);
	umask(m);
	printf("\npid %d\nppid %d\nsid %d\numask %03o\nnnp %d\n", getpid(), getppid(), getsid(0), m,
	       prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	return 0;
}

/* Every open descriptor and what it is. */
static int cmd_fds(int argc, char **argv)
{
	for (int fd = 0; fd < 1024; fd++) {
		struct stat st;
		if (fstat(fd, &st) == 0)
			printf("fd %d type %o\n", fd, st.st_mode & S_IFMT);
	}
	return 0;
}

static int cmd_env(int argc, char **argv)
{
	for (char **e = environ; *e; e++)
		puts(*e);
	return 0;
}

static int cmd_args(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		printf("arg %s\n", argv[i]);
	return 0;
}

static int cmd_rlimits(int argc, char **argv)
{
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit l;
		getrlimit(i, &l);
		printf("rlimit %d %llu %llu\n", i, (unsigned long long)l.rlim_cur, (unsigned long long)l.rlim_max);
	}
	return 0;
}

static int cmd_uname(int argc, char **argv)
{
	struct utsname u;
	uname(&u);
	printf("nodename %s\ndomainname %s\nmachine %s\n", u.nodename, u.domainname, u.machine);
	return 0;
}

static int cmd_pwd(int argc, char **argv)
{
	char b[4096];
	long n = syscall(SYS_getcwd, b, sizeof(b));
	printf("cwd %s\n", n > 0 ? b : strerror(errno));
	return 0;
}

/* open PATH r|w|a: says whether it works */
static int cmd_open(int argc, char **argv)
{
	int flags = argv[2][0] == 'r' ? O_RDONLY : argv[2][0] == 'w' ? O_WRONLY : O_WRONLY | O_CREAT;
	int fd = open(argv[1], flags | O_NONBLOCK, 0644);
	printf("open %s %s: %s\n", argv[1], argv[2], fd < 0 ? strerror(errno) : "ok");
	return 0;
}

static int cmd_write(int argc, char **argv)
{
	int fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0644);
	int ok = fd >= 0 && write(fd, argv[2], strlen(argv[2])) == (ssize_t)strlen(argv[2]);
	printf("write %s: %s\n", argv[1], ok ? "ok" : strerror(errno));
	return 0;
}

static int cmd_mknod(int argc, char **argv)
{
	int r = mknod(argv[1], S_IFCHR | 0666, makedev((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3])));
	printf("mknod %s: %s\n", argv[1], r < 0 ? strerror(errno) : "ok");
	return 0;
}

static int cmd_mount(int argc, char **argv)
{
	int r = mount(argv[1], argv[2], argv[3], argc > 4 ? strtoul(argv[4], NULL, 0) : 0, NULL);
	printf("mount %s: %s\n", argv[2], r < 0 ? strerror(errno) : "ok");
	return 0;
}

static int cmd_stat(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct stat st;
		if (lstat(argv[i], &st) < 0)
			printf("stat %s: %s\n", argv[i], strerror(errno));
		else
			printf("stat %s: %06o %u:%u %u,%u size %lld\n", argv[i], st.st_mode, st.st_uid, st.st_gid,
			       major(st.st_rdev), minor(st.st_rdev), (long long)st.st_size);
	}
	return 0;
}

static int cmd_readlink(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char b[4096];
		ssize_t n = readlink(argv[i], b, sizeof(b) - 1);
		b[n > 0 ? n : 0] = 0;
		printf("readlink %s %s\n", argv[i], n < 0 ? strerror(errno) : b);
	}
	return 0;
}

/* syscall NR: errno of a call with no arguments */
static int cmd_syscall(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		long r = syscall(atol(argv[i]), 0, 0, 0, 0, 0, 0);
		printf("syscall %s %s\n", argv[i], r < 0 ? strerrorname_np(errno) : "ok");
	}
	return 0;
}

static int cmd_sched(int argc, char **argv)
{
	cpu_set_t set;
	struct sched_param p;
	sched_getaffinity(0, sizeof(set), &set);
	sched_getparam(0, &p);
	printf("policy %d\npriority %d\nnice %d\nioprio %ld\ncpus", sched_getscheduler(0), p.sched_priority,
	       getpriority(PRIO_PROCESS, 0), syscall(SYS_ioprio_get, 1, 0));
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set))
			printf(" %d", i);
	puts("");
	return 0;
}

static int cmd_clock(int argc, char **argv)
{
	struct timespec m, b;
	clock_gettime(CLOCK_MONOTONIC, &m);
	clock_gettime(CLOCK_BOOTTIME, &b);
	printf("monotonic %lld\nboottime %lld\n", (long long)m.tv_sec, (long long)b.tv_sec);
	return 0;
}

static int cmd_keyring(int argc, char **argv)
{
	long id = syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -3, 0);
	char b[256] = "";
	long n = syscall(SYS_keyctl, 6 /* DESCRIBE */, id, b, sizeof(b));
	printf("keyring %s\n", n < 0 ? strerror(errno) : b);
	return 0;
}

static int cmd_tty(int argc, char **argv)
{
	struct stat st, c;
	printf("tty %d %s\n", isatty(0), ttyname(0) ? ttyname(0) : "-");
	if (fstat(0, &st) == 0 && stat("/dev/console", &c) == 0)
		printf("console %s\n", st.st_rdev == c.st_rdev ? "same" : "other");
	return 0;
}

/* touch MB of memory */
static int cmd_eat(int argc, char **argv)
{
	size_t n = (size_t)atol(argv[1]) << 20;
	char *p = malloc(n);
	for (size_t i = 0; p && i < n; i += 4096)
		p[i] = 1;
	puts(p ? "eaten" : "refused");
	return 0;
}

static int cmd_fork(int argc, char **argv)
{
	int n = atoi(argv[1]), made = 0;
	for (int i = 0; i < n; i++) {
		pid_t p = fork();
		if (p == 0)
			for (;;)
				pause();
		made += p > 0;
	}
	printf("forked %d\n", made);
	fflush(stdout);
	if (argc > 2)
		for (;;)
			pause();
	return 0;
}

static volatile sig_atomic_t got;
static void note(int sig)
{
	got = sig;
}

/* trap: prints the first signal and ends with its number */
static int cmd_trap(int argc, char **argv)
{
	sigset_t all, none;
	sigfillset(&all);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &all, NULL); /* one that comes right behind "ready" waits for sigsuspend */
	for (int i = 1; i <= 64; i++)
		if (i != SIGKILL && i != SIGSTOP && i != SIGCHLD)
			signal(i, note);
	puts("ready");
	fflush(stdout);
	while (!got)
		sigsuspend(&none);
	printf("signal %d\n", got);
	return got;
}

static int cmd_sleep(int argc, char **argv)
{
	struct timespec t = { atoi(argv[1]), 0 };
	while (nanosleep(&t, &t) < 0)
		;
	return 0;
}

static int cmd_read(int argc, char **argv)
{
	char b[256];
	ssize_t n = read(0, b, sizeof(b));
	printf("read %.*s\n", (int)(n > 0 ? n : 0), b);
	return 0;
}

static int cmd_exit(int argc, char **argv)
{
	fflush(stdout);
	_exit(atoi(argv[1]));
}

static int cmd_raise(int argc, char **argv)
{
	fflush(stdout);
	kill(getpid(), atoi(argv[1]));
	return 0;
}

static int cmd_exec(int argc, char **argv)
{
	fflush(stdout);
	execv(argv[1], argv + 1);
	printf("exec %s: %s\n", argv[1], strerror(errno));
	return 1;
}

static int cmd_echo(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		printf("%s%s", argv[i], i + 1 < argc ? " " : "\n");
	return 0;
}

/* CVE-2019-5736: opens whatever program file any other process runs for writing, until told to stop. */
static int cmd_overwrite(int argc, char **argv)
{
	time_t end = time(NULL) + atoi(argv[1]);
	int seen = 0, written = 0;
	struct stat own;
	stat("/proc/self/exe", &own);
	while (time(NULL) < end) {
		DIR *d = opendir("/proc");
		struct dirent *e;
		while (d && (e = readdir(d))) {
			char path[300];
			struct stat st;
			if (e->d_name[0] < '1' || e->d_name[0] > '9')
				continue;
			snprintf(path, sizeof(path), "/proc/%s/exe", e->d_name);
			int fd = open(path, O_PATH);
			if (fd < 0 || fstat(fd, &st) < 0 || (st.st_ino == own.st_ino && st.st_dev == own.st_dev)) {
				if (fd >= 0)
					close(fd);
				continue;
			}
			seen++;
			char again[64];
			snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
			for (int i = 0; i < 200; i++) { /* busy while it is executed, free afterwards */
				int w = open(again, O_WRONLY);
				if (w >= 0) {
					written++;
					(void)!write(w, "overwritten", 11);
					close(w);
					break;
				}
				if (errno == EROFS)
					break;
				usleep(500);
			}
			close(fd);
		}
		if (d)
			closedir(d);
	}
	printf("seen %d written %d\n", seen, written);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "cat", cmd_cat },	    { "ls", cmd_ls },	    { "ids", cmd_ids },
	{ "fds", cmd_fds },	    { "env", cmd_env },	    { "args", cmd_args },
	{ "rlimits", cmd_rlimits }, { "uname", cmd_uname }, { "pwd", cmd_pwd },
	{ "open", cmd_open },	    { "write", cmd_write }, { "mknod", cmd_mknod },
	{ "mount", cmd_mount },	    { "stat", cmd_stat },   { "readlink", cmd_readlink },
	{ "syscall", cmd_syscall }, { "sched", cmd_sched }, { "clock", cmd_clock },
	{ "keyring", cmd_keyring }, { "tty", cmd_tty },	    { "eat", cmd_eat },
	{ "fork", cmd_fork },	    { "trap", cmd_trap },   { "sleep", cmd_sleep },
	{ "read", cmd_read },	    { "exit", cmd_exit },   { "raise", cmd_raise },
	{ "exec", cmd_exec },	    { "echo", cmd_echo },   { "overwrite", cmd_overwrite },
};

int main(int argc, char **argv)
{
	int at = 1, status = 0;
	while (at < argc) {
		int end = at;
		char *saved;
		while (end < argc && strcmp(argv[end], "--") != 0)
			end++;
		size_t i = 0;
		while (i < sizeof(commands) / sizeof(commands[0]) && strcmp(argv[at], commands[i].name) != 0)
			i++;
		if (i == sizeof(commands) / sizeof(commands[0])) {
			fprintf(stderr, "ct: no command %s\n", argv[at]);
			return 125;
		}
		saved = argv[end];
		argv[end] = NULL;
		status |= commands[i].run(end - at, argv + at);
		argv[end] = saved;
		at = end + 1;
	}
	fflush(stdout);
	return status;
}
