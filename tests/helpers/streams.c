/* What runs in containers in the monitor's tests: it writes, reads and leaves orphans. One command a run. */
#define _GNU_SOURCE
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t k = write(fd, p, n);
		if (k < 0)
			_exit(99);
		p += k;
		n -= (size_t)k;
	}
}

/* lines FD COUNT LENGTH: numbered lines of that many bytes */
static int lines(char **a)
{
	int fd = atoi(a[0]), count = atoi(a[1]);
	size_t len = (size_t)atol(a[2]);
	char *b = malloc(len + 32);
	for (int i = 0; i < count; i++) {
		int n = sprintf(b, "%d:", i);
		memset(b + n, 'x', len);
		b[len] = '\n';
		all(fd, b, len + 1);
	}
	return 0;
}

/* bytes FD HEX: exactly these */
static int bytes(char **a)
{
	int fd = atoi(a[0]);
	for (const char *p = a[1]; *p; p += 2) {
		char hex[3] = { p[0], p[1], 0 }, c = (char)strtol(hex, NULL, 16);
		all(fd, &c, 1);
	}
	return 0;
}

/* cat: until the end, then says so */
static int cat(char **a)
{
	char b[65536];
	ssize_t n;
	while ((n = read(0, b, sizeof(b))) > 0)
		all(1, b, (size_t)n);
	all(2, "end of input\n", 13);
	return n < 0;
}

static volatile sig_atomic_t changed;
static void note(int sig)
{
	changed = sig;
}

/* size: of the terminal, now and after its first change */
static int size(char **a)
{
	struct winsize w = { 0 };
	sigset_t resize, none;
	sigemptyset(&none);
	sigemptyset(&resize);
	sigaddset(&resize, SIGWINCH);
	sigprocmask(SIG_SETMASK, &resize, NULL); /* one that comes right behind the first line waits for sigsuspend */
	signal(SIGWINCH, note);
	ioctl(0, TIOCGWINSZ, &w);
	printf("size %u %u tty %d\n", w.ws_row, w.ws_col, isatty(1));
	fflush(stdout);
	while (!changed)
		sigsuspend(&none);
	ioctl(0, TIOCGWINSZ, &w);
	printf("size %u %u\n", w.ws_row, w.ws_col);
	return 0;
}

/* How many processes there are, and how many of them are zombies. */
static int count(int *zombies)
{
	int processes = 0;
	DIR *d = opendir("/proc");
	struct dirent *e;
	*zombies = 0;
	while (d && (e = readdir(d))) {
		char path[300], text[512] = "";
		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		FILE *f = fopen(path, "r");
		if (f && fgets(text, sizeof(text), f)) {
			char *state = strrchr(text, ')');
			processes++;
			*zombies += state && state[2] == 'Z';
		}
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return processes;
}

/* orphans COUNT: that many processes are left to process 1 and end; then says how many zombies there are. Those that somebody
 * reaps are gone at once, or in ten seconds on a busy machine; that nobody does is said after a second without a change. */
static int orphans(char **a)
{
	int zombies, processes, began = count(&zombies), still = 0, last = -1;
	for (int i = atoi(a[0]); i > 0; i--) {
		pid_t p = fork();
		if (p == 0) {
			if (fork() == 0) {
				usleep(20000);
				_exit(0);
			}
			_exit(0);
		}
		waitpid(p, NULL, 0);
	}
	for (int i = 0; i < 1000; i++) {
		processes = count(&zombies);
		still = processes == last && processes - zombies == began ? still + 1 : 0;
		last = processes;
		if ((processes == began && !zombies) || still == 100)
			break;
		usleep(10000);
	}
	printf("processes %d zombies %d\n", processes, zombies);
	return 0;
}

/* halves LENGTH: half a line on both streams, waits for a byte, ends them */
static int halves(char **a)
{
	size_t len = (size_t)atol(a[0]);
	char *b = malloc(len), c;
	memset(b, 'h', len);
	all(1, b, len);
	all(2, b, len);
	if (read(0, &c, 1) < 0)
		return 1;
	all(1, "\n", 1);
	all(2, "\n", 1);
	return 0;
}

/* forever FD: a line every millisecond */
static int forever(char **a)
{
	int fd = atoi(a[0]);
	for (long i = 0;; i++) {
		char b[64];
		int n = sprintf(b, "tick %ld\n", i);
		all(fd, b, (size_t)n);
		usleep(1000);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(char **);
		int args;
	} c[] = { { "lines", lines, 3 },  { "bytes", bytes, 2 },     { "cat", cat, 0 },
		  { "size", size, 0 },	  { "orphans", orphans, 1 }, { "forever", forever, 1 },
		  { "halves", halves, 1 } };
	for (size_t i = 0; argc > 1 && i < sizeof(c) / sizeof(c[0]); i++)
		if (!strcmp(argv[1], c[i].name) && argc - 2 >= c[i].args) {
			int status = c[i].run(argv + 2);
			fflush(stdout);
			return status;
		}
	return 125;
}
