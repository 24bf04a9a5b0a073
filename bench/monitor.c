/* Row 3 of the goals (memory of a monitor) and the monitor's part of row 22 (exit to restarted).
 *
 * usage: bench-monitor [ROUNDS]      as root, from the source tree
 *
 *     start      SPAWN sent -> STARTED heard: the spawner clones, the monitor builds, the program runs
 *     restart    the first process is killed -> the end is on disk and told -> the runtime's state and groups are removed ->
 *                SPAWN -> STARTED: what an engine has to do for "restart: always", without its back-off
 *     memory     private memory of MANY monitors at rest, the largest
 *     engine     row 2's share: the container's network namespace is made beforehand and joined by its path (hooks would be a
 *                process each); SPAWN with HOLD, which builds while the engine still works at addresses, then START; and what an
 *                engine asks of a container that runs: its statistics through kept descriptors and by name, new
 *                limits, freezing and thawing
 * No peer has the same shape; the published figure for containerd's shim is 8 MB. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bundle.h"
#include "monitor/monitor.h"
#include "runtime/runtime.h"
#include "sys/cgroup.h"
#include "took.h"

#define MANY 20

static char dir[64] = "/tmp/knarr-bench-XXXXXX";
static int spawner = -1;

static double now_ms(void)
{
	return (double)clock_mono_ns(clock_real()) / 1e6;
}

static void fail(const char *what, const struct err *err)
{
	fprintf(stderr, "bench: %s: %s\n", what, err_msg(err));
	exit(1);
}

static pid_t spawner_start(const char *program)
{
	int pair[2];
	char fd[16];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		abort();
	snprintf(fd, sizeof(fd), "%d", pair[1]);
	pid_t pid = fork();
	if (pid == 0) {
		close(pair[0]);
		execl(program, "knarr-run", "spawn", "--fd", fd, (char *)NULL);
		_exit(127);
	}
	close(pair[1]);
	spawner = pair[0];
	return pid;
}

struct container {
	char id[32], state[128];
	struct monitor_spawned monitor;
	pid_t first;
};

static void up(struct container *c, const char *bundle, int number, unsigned flags)
{
	auto_err struct err err = ERR_INIT;
	char root[128];
	snprintf(c->id, sizeof(c->id), "bench-%d-%d", (int)getpid(), number);
	snprintf(c->state, sizeof(c->state), "%s/s-%d", dir, number);
	snprintf(root, sizeof(root), "%s/runtime", dir);
	mkdir(c->state, 0700);
	auto_fd int state = open(c->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_fd int b = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct monitor_spawn s = { .flags = flags,
				   .id = c->id,
				   .root = root,
				   .state_dir = state,
				   .bundle = b,
				   .log_dir = state,
				   .log_name = "log",
				   .format = MONITOR_LOG_DOCKER };
	if (monitor_spawn(spawner, &s, &c->monitor, &err) < 0)
		fail("spawn", &err);
	for (;;) {
		struct monitor_head h;
		char text[MONITOR_TEXT_MAX];
		if (monitor_recv(c->monitor.control, &h, text, sizeof(text), NULL, 0, NULL, &err) < 0)
			fail("hear of the start", &err);
		if (h.op == MONITOR_ERROR)
			fprintf(stderr, "bench: start: %.*s\n", (int)h.len, text), exit(1);
		if (h.op == MONITOR_STARTED) {
			c->first = h.a;
			return;
		}
	}
}

/* Until the end is on disk and told. */
static void end_hear(struct container *c)
{
	auto_err struct err err = ERR_INIT;
	struct monitor_head h = {};
	struct monitor_state s;
	while (h.op != MONITOR_STATE)
		if (monitor_recv(c->monitor.control, &h, &s, sizeof(s), NULL, 0, NULL, &err) < 0)
			fail("hear of the end", &err);
}

static void down(struct container *c)
{
	auto_err struct err err = ERR_INIT;
	char root[128];
	struct runtime_opts o = {};
	snprintf(root, sizeof(root), "%s/runtime", dir);
	if (runtime_delete(root, c->id, false, &o, &err) < 0)
		fail("delete", &err);
	close(c->monitor.control);
	close(c->monitor.pidfd);
}

static long private_kb(pid_t pid)
{
	char path[64], line[256];
	long private = 0, anonymous = 0, kb;
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Private_Clean: %ld", &kb) == 1 || sscanf(line, "Private_Dirty: %ld", &kb) == 1)
			private += kb;
		if (sscanf(line, "Anonymous: %ld", &kb) == 1)
			anonymous = kb;
	}
	if (f)
		fclose(f);
	return MIN(private, anonymous); /* pages of the program file are the page cache's */
}

/* Kept by a bind mount, as engines and `ip netns` do. */
static void netns_make(const char *path)
{
	auto_fd int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	auto_fd int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (home < 0 || file < 0 || unshare(CLONE_NEWNET) < 0 ||
	    mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0 || setns(home, CLONE_NEWNET) < 0) {
		perror("bench: make a network namespace");
		exit(1);
	}
}

static double took(double *since)
{
	double now = now_ms(), ms = now - *since;
	*since = now;
	return ms;
}

static void engine_rows(int rounds, int *number)
{
	enum { NETNS, HELD, START, BOTH, STATS, BY_NAME, UPDATE, FREEZE, END, ROWS };
	static const char *const titles[ROWS] = { "network namespace, kept",  "spawn to held, joined netns", "START to running",
						  "both: spawn to running",   "statistics, kept groups",     "statistics by name",
						  "new limits",		      "freeze and thaw",	     "killed, recorded, deleted" };
	char netns[128], bundle[128], root[128];
	double *ms[ROWS];
	for (int i = 0; i < ROWS; i++)
		ms[i] = mem_alloc((size_t)rounds * sizeof(double));
	snprintf(root, sizeof(root), "%s/runtime", dir);
	snprintf(netns, sizeof(netns), "%s/netns", dir);
	snprintf(bundle, sizeof(bundle), "%s/joined", dir);
	bench_bundle_make(bundle, "/pause", netns, NULL);
	for (int i = 0; i < rounds; i++) {
		auto_err struct err err = ERR_INIT;
		auto_arena struct arena a = {};
		auto_sys_cgroup struct sys_cgroup kept = {}, named = {};
		struct sys_cgroup_stats stats;
		struct container c;
		double t = now_ms();
		netns_make(netns);
		ms[NETNS][i] = took(&t);
		up(&c, bundle, (*number)++, MONITOR_HOLD);
		ms[HELD][i] = took(&t);
		if (monitor_call(c.monitor.control, MONITOR_START, 0, 0, NULL, &err) < 0)
			fail("start", &err);
		ms[START][i] = took(&t);
		ms[BOTH][i] = ms[HELD][i] + ms[START][i];
		if (runtime_cgroup_open(&a, root, c.id, &kept, &err) < 0)
			fail("open the groups", &err);
		t = now_ms();
		if (sys_cgroup_stats_read(&kept, &stats, &err) < 0)
			fail("statistics", &err);
		ms[STATS][i] = took(&t);
		if (runtime_cgroup_open(&a, root, c.id, &named, &err) < 0 || sys_cgroup_stats_read(&named, &stats, &err) < 0)
			fail("statistics by name", &err);
		ms[BY_NAME][i] = took(&t);
		if (runtime_update(root, c.id, SPAN("{\"memory\":{\"limit\":67108864},\"pids\":{\"limit\":50}}"), &err) < 0)
			fail("update", &err);
		ms[UPDATE][i] = took(&t);
		if (runtime_freeze(root, c.id, true, &err) < 0 || runtime_freeze(root, c.id, false, &err) < 0)
			fail("freeze and thaw", &err);
		ms[FREEZE][i] = took(&t);
		if (runtime_kill(root, c.id, SIGKILL, false, &err) < 0)
			fail("kill", &err);
		end_hear(&c);
		down(&c);
		ms[END][i] = took(&t);
		(void)umount2(netns, MNT_DETACH); /* it goes with our mount namespace in any case */
	}
	for (int i = 0; i < ROWS; i++) {
		took_row(titles[i], ms[i], rounds);
		free(ms[i]);
	}
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 200, number = 0;
	char program[4096], bundle[128];
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 32);
	if (geteuid() != 0) {
		puts("bench: containers with all namespaces need root");
		return 77;
	}
	if (n <= 0 || rounds < 10 || !mkdtemp(dir))
		return 1;
	program[n] = 0;
	snprintf(strrchr(program, '/'), 32, "/src/app/knarr-run");
	snprintf(bundle, sizeof(bundle), "%s/bundle", dir);
	/* Mounts of ours are seen by nobody else, and the spawner and its children are in here with us. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 1;
	bench_bundle_make(bundle, "/pause", "", NULL);
	pid_t child = spawner_start(program);
	double *start = mem_alloc((size_t)rounds * sizeof(double)), *again = mem_alloc((size_t)rounds * sizeof(double));
	struct container c;
	for (int i = 0; i < rounds; i++) {
		double t = now_ms();
		up(&c, bundle, number++, 0);
		start[i] = now_ms() - t;
		t = now_ms();
		kill(c.first, SIGKILL);
		end_hear(&c);
		down(&c);
		up(&c, bundle, number++, 0);
		again[i] = now_ms() - t;
		kill(c.first, SIGKILL);
		end_hear(&c);
		down(&c);
	}
	took_row("spawn to started", start, rounds);
	took_row("killed to restarted", again, rounds);
	engine_rows(rounds, &number);
	struct container many[MANY];
	long most = 0;
	for (int i = 0; i < MANY; i++)
		up(&many[i], bundle, number++, 0);
	usleep(300000); /* the children that built are gone: they share pages while they live */
	for (int i = 0; i < MANY; i++)
		most = MAX(most, private_kb(many[i].monitor.pid));
	for (int i = 0; i < MANY; i++) {
		kill(many[i].first, SIGKILL);
		end_hear(&many[i]);
		down(&many[i]);
	}
	close(spawner);
	waitpid(child, NULL, 0);
	printf("%-28s %ld KB, the largest of %d (goal 100)\n", "private memory at rest", most, MANY);
	printf("ratio: killed to restarted %.2f ms (goal for the whole engine 10)\n", again[rounds / 2]);
	char *rm[] = { (char *)"rm", (char *)"-rf", dir, NULL };
	if (vfork() == 0) {
		execvp(rm[0], rm);
		_exit(127);
	}
	wait(NULL);
	return 0;
}
