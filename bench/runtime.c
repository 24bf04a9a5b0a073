/* Row 1 of the goals: `run` of a program that ends at once, six namespaces, against crun and runc on the same bundle.
 *
 * usage: bench-runtime [ROUNDS]      as root, from the source tree
 *
 * The three take turns, so that whatever else the machine does hits all. crun refuses the hybrid cgroup layout, so all
 * three run where the v2 mount is not visible (a mount namespace of our own). The program is an ELF file of 140 bytes that
 * calls exit: what is measured is the runtime. A runtime that is not installed is left out. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "json/json.h"

static char dir[64] = "/tmp/knarr-bench-XXXXXX";
static char program[4096];

/* mov edi, code; mov eax, 60 (exit); syscall */
static void elf_write(const char *path)
{
	static const unsigned char code[] = { 0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05 };
	unsigned char f[120 + sizeof(code)] = { 0x7f, 'E', 'L', 'F', 2, 1, 1, [16] = 2, [18] = 62, [20] = 1 };
	uint64_t base = 0x400000, entry = base + 120, off = 64, size = sizeof(f), align = 4096;
	uint32_t type = 1, flags = 5;
	uint16_t ehsize = 64, phsize = 56, one = 1;
	memcpy(f + 24, &entry, 8);
	memcpy(f + 32, &off, 8);
	memcpy(f + 52, &ehsize, 2);
	memcpy(f + 54, &phsize, 2);
	memcpy(f + 56, &one, 2);
	memcpy(f + 64, &type, 4);
	memcpy(f + 68, &flags, 4);
	memcpy(f + 80, &base, 8);
	memcpy(f + 88, &base, 8);
	memcpy(f + 96, &size, 8);
	memcpy(f + 104, &size, 8);
	memcpy(f + 112, &align, 8);
	memcpy(f + 120, code, sizeof(code));
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (fd < 0 || write(fd, f, sizeof(f)) != (ssize_t)sizeof(f))
		abort();
	close(fd);
}

static const char config_text[] =
	"{\"ociVersion\":\"1.0.2\",\"process\":{\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"/true\"],\"env\":[\"PATH=/"
	"bin\",\"HOME=/\"],\"cwd\":\"/\","
	"\"capabilities\":{\"bounding\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],\"effective\":["
	"\"CAP_AUDIT_WRITE\","
	"\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],\"permitted\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_"
	"SERVICE\"]},"
	"\"noNewPrivileges\":true},\"root\":{\"path\":\"rootfs\",\"readonly\":true},\"hostname\":\"bench\",\"mounts\":["
	"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
	"{\"destination\":\"/"
	"dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size="
	"65536k\"]},"
	"{\"destination\":\"/dev/"
	"pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode="
	"0666\",\"mode=0620\",\"gid=5\"]},"
	"{\"destination\":\"/dev/"
	"shm\",\"type\":\"tmpfs\",\"source\":\"shm\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size="
	"65536k\"]},"
	"{\"destination\":\"/dev/"
	"mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\",\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
	"{\"destination\":\"/"
	"sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]}],"
	"\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"},{"
	"\"type\":\"cgroup\"}%s],"
	"\"maskedPaths\":[\"/proc/acpi\",\"/proc/kcore\",\"/proc/keys\",\"/proc/latency_stats\",\"/proc/"
	"timer_list\",\"/proc/sched_debug\",\"/sys/firmware\",\"/proc/scsi\"],"
	"\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\",\"/proc/sysrq-trigger\"]%s}}";

static void bundle_make(const char *name, bool network, const char *profile)
{
	char path[256];
	auto_buf struct buf seccomp = {}, text = {};
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%s/rootfs", dir, name);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%s/rootfs/true", dir, name);
	elf_write(path);
	if (profile) {
		buf_str(&seccomp, ",\"seccomp\":");
		if (io_read_file(AT_FDCWD, profile, &seccomp, 1 << 20, NULL) < 0) {
			fprintf(stderr, "bench: %s is missing; run from the source tree\n", profile);
			exit(1);
		}
	}
	buf_printf(&text, config_text, network ? ",{\"type\":\"network\"}" : "", profile ? buf_cstr(&seccomp) : "");
	snprintf(path, sizeof(path), "%s/%s/config.json", dir, name);
	if (io_write_file_lazy(AT_FDCWD, path, buf_span(&text), 0644, NULL) < 0)
		abort();
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

static int finish(pid_t pid)
{
	int status = 0;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

enum { OURS, CRUN, RUNC, PEERS };
static const char *const names[PEERS] = { "knarr", "crun", "runc" };

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
static bool rounds_run(const char *title, const char *bundle_name, int rounds, double median[PEERS])
{
	char bundle[128];
	double *ms[PEERS];
	bool there[PEERS];
	snprintf(bundle, sizeof(bundle), "%s/%s", dir, bundle_name);
	for (int p = 0; p < PEERS; p++) {
		char *argv[8];
		ms[p] = mem_alloc((size_t)rounds * sizeof(double));
		command(p, "warm", argv);
		there[p] = finish(spawn(argv, bundle)) == 0;
		median[p] = 0;
	}
	for (int i = 0; i < rounds; i++) {
		for (int p = 0; p < PEERS; p++) {
			char *argv[8], id[32];
			if (!there[p])
				continue;
			snprintf(id, sizeof(id), "bench-%d-%d", p, i);
			command(p, id, argv);
			double start = now_ms();
			int code = finish(spawn(argv, bundle));
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
			qsort(ms[p], (size_t)rounds, sizeof(double), by_value);
			median[p] = ms[p][rounds / 2];
			printf("%-28s %-6s p50 %7.2f ms  p99 %7.2f ms  min %7.2f ms\n", title, names[p], median[p],
			       ms[p][rounds * 99 / 100], ms[p][0]);
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
			finish(running[i % 2]);
		snprintf(id, sizeof(id), "rate-%d", i);
		command(OURS, id, argv);
		running[i % 2] = spawn(argv, bundle);
	}
	finish(running[0]);
	finish(running[1]);
	return n / (now_ms() - start) * 1000;
}

static void syscalls_count(void)
{
	char line[9000];
	char bundle[128];
	snprintf(bundle, sizeof(bundle), "%s/plain", dir);
	snprintf(line, sizeof(line),
		 "strace -f -c -o %s/count %s runtime --root %s/state-knarr run counted && awk 'END { print $(NF-2) }' "
		 "%s/count",
		 dir, program, dir, dir);
	char *argv[] = { (char *)"sh", (char *)"-c", line, NULL };
	printf("%-28s ", "system calls, all processes");
	fflush(stdout);
	if (finish(spawn(argv, bundle)) != 0)
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
	bundle_make("plain", true, NULL);
	bundle_make("filter", true, "tests/fixtures/seccomp-container.json");
	bundle_make("nonet", false, NULL);
	double plain[PEERS], filter[PEERS];
	bool ok = rounds_run("run, six namespaces", "plain", rounds, plain) &&
		  rounds_run("the same with a filter", "filter", rounds, filter);
	if (ok) {
		printf("%-28s %.2f ms\n", "the filter costs", filter[OURS] - plain[OURS]);
		printf("%-28s %.0f per second\n", "run and remove, two workers", rate(rounds * 2));
		syscalls_count();
		printf("ratio: knarr %.2f ms (goal 2.5); crun / knarr %.1f (goal 4), runc / knarr %.1f (goal 8)\n",
		       plain[OURS], plain[CRUN] / plain[OURS], plain[RUNC] / plain[OURS]);
	}
	char *rm[] = { (char *)"rm", (char *)"-rf", dir, NULL };
	finish(spawn(rm, "/"));
	return ok ? 0 : 1;
}
