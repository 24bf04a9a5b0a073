/* A container's network, from nothing to an address with a route: row 2 of the goals counts 0.3 to 0.5 ms for it.
 *
 * usage: bench-network [ROUNDS]      as root
 *
 * Works in a network and a mount namespace of its own, state on a tmpfs. The other side is iproute2 told to do the same for
 * the kernel (namespace, veth pair on a bridge, addresses, route) in one process per step file (ip -batch), without ports,
 * names or records: what an engine that calls programs pays at least. The two take turns. Processor time is this process' (the
 * kernel's work in it), of children on the other side; on a busy machine it is the steadier figure. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "network/network.h"
#include "took.h"

static struct network_engine *engine;
static struct loop *the_loop;

static double now_ms(void)
{
	return (double)clock_mono_ns(clock_real()) / 1e6;
}

static double cpu_ms(int who)
{
	struct rusage u;
	getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

struct series {
	const char *title;
	double *ms, cpu;
	int n;
};

static double report(struct series *s)
{
	qsort(s->ms, (size_t)s->n, sizeof(double), took_by_value);
	double median = s->ms[s->n / 2];
	printf("%-44s p50 %7.3f ms  p99 %7.3f ms  min %7.3f ms  processor %7.3f ms\n", s->title, median, s->ms[s->n * 99 / 100],
		s->ms[0],
	       s->cpu / s->n);
	return median;
}

static void fail(const char *what, const struct err *err)
{
	fprintf(stderr, "bench-network: %s: %s\n", what, err_msg(err));
	exit(1);
}

static struct json parse(struct arena *a, const char *text)
{
	struct json v;
	auto_err struct err err = ERR_INIT;
	if (json_parse(a, span_of(text), 0, NULL, &v, &err) < 0)
		fail(text, &err);
	return v;
}

#define ID "00000000000000000000000000000000000000000000000000000000000000aa"

static void timed(struct series *s, double begin, double cpu, int who)
{
	s->ms[s->n++] = now_ms() - begin;
	s->cpu += cpu_ms(who) - cpu;
}

static void start_stop(struct series *start, struct series *stop, const char *host_config)
{
	auto_arena struct arena a = { 0 };
	auto_err struct err err = ERR_INIT;
	struct json config = parse(&a, "{\"Hostname\":\"bench\"}"), host = parse(&a, host_config);
	struct network_got got;
	struct network_wish w = { .id = ID, .name = "bench", .config = &config, .host_config = &host };
	double begin = now_ms(), cpu = cpu_ms(RUSAGE_SELF);
	if (network_sandbox_start(engine, &w, &a, &got, &err) < 0)
		fail("start", &err);
	timed(start, begin, cpu, RUSAGE_SELF);
	network_got_done(&got);
	begin = now_ms();
	cpu = cpu_ms(RUSAGE_SELF);
	network_sandbox_stop(engine, ID);
	timed(stop, begin, cpu, RUSAGE_SELF);
	while (loop_turn(the_loop, false))
		;
}

/* The pair, its addresses and the record alone: a running container joins one more network. */
static void join_leave(struct series *join)
{
	auto_arena struct arena a = { 0 };
	auto_err struct err err = ERR_INIT;
	struct json config = parse(&a, "{\"Hostname\":\"bench\"}"), host = parse(&a, "{\"NetworkMode\":\"none2\"}"),
		none = json_object();
	struct network_got got;
	struct network_wish w = { .id = ID, .name = "bench", .config = &config, .host_config = &host };
	double begin = now_ms(), cpu = cpu_ms(RUSAGE_SELF);
	if (network_connect(engine, &w, SPAN("bridge"), &none, &a, &got, &err) < 0)
		fail("connect", &err);
	timed(join, begin, cpu, RUSAGE_SELF);
	if (network_disconnect(engine, &w, SPAN("bridge"), &a, &got, &err) < 0)
		fail("disconnect", &err);
}

static void ip(const char *script)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		abort();
	pid_t pid = fork();
	if (pid == 0) {
		dup2(ends[0], 0);
		execlp("ip", "ip", "-batch", "-", (char *)NULL);
		_exit(127);
	}
	close(ends[0]);
	(void)io_write_all(ends[1], script, strlen(script), NULL); /* a program that is missing is told by its status */
	close(ends[1]);
	int status;
	waitpid(pid, &status, 0);
	if (status != 0) {
		fprintf(stderr, "bench-network: ip -batch ended with %d\n", WEXITSTATUS(status));
		exit(1);
	}
}

static void peer(struct series *start, struct series *stop)
{
	double begin = now_ms(), cpu = cpu_ms(RUSAGE_CHILDREN);
	ip("netns add bench\nlink add vbench type veth peer name eth0 netns bench\nlink set vbench master docker0 up\n");
	pid_t pid = fork();
	if (pid == 0) {
		execlp("ip", "ip", "-n", "bench", "-batch", "/run/bench.ip", (char *)NULL);
		_exit(127);
	}
	int status;
	waitpid(pid, &status, 0);
	if (status != 0)
		exit(1);
	timed(start, begin, cpu, RUSAGE_CHILDREN);
	begin = now_ms();
	cpu = cpu_ms(RUSAGE_CHILDREN);
	ip("link del vbench\nnetns del bench\n");
	timed(stop, begin, cpu, RUSAGE_CHILDREN);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 200;
	auto_err struct err err = ERR_INIT;
	auto_arena struct arena a = { 0 };
	static const char batch[] = "link set lo up\n"
				    "addr add 172.17.200.2/16 dev eth0\nlink set eth0 up\nroute add default via 172.17.0.1\n";
	if (rounds < 1 || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bench", "/run", "tmpfs", 0, NULL) < 0) {
		fprintf(stderr, "bench-network: root is needed, and namespaces\n");
		return 77;
	}
	if (io_write_file_lazy(AT_FDCWD, "/run/bench.ip", span_of(batch), 0600, &err) < 0 || loop_new(NULL, &the_loop, &err) < 0)
		fail("preparing", &err);
	struct network_opts o = { .loop = the_loop, .dir = "/run/k/data", .run_dir = "/run/k/run", .id = "0" };
	char id[65];
	struct json named = parse(&a, "{\"Name\":\"named\"}"), second = parse(&a, "{\"Name\":\"none2\",\"Internal\":true}");
	if (network_engine_open(&o, &engine, &err) < 0 || network_create(engine, &named, id, &a, NULL, &err) < 0 ||
	    network_create(engine, &second, id, &a, NULL, &err) < 0)
		fail("opening", &err);
	static const char *const titles[] = { "start, default bridge", "start, a published port",
		"start, user-defined network with names",
					      "one more veth with addresses (connect)", "ip -batch: the kernel's part of the first",
					      "stop, default bridge", "stop, a published port", "stop, user-defined network",
					      "ip -batch: removal" };
	struct series s[ARRAY_LEN(titles)];
	for (size_t i = 0; i < ARRAY_LEN(titles); i++)
		s[i] = (struct series){ .title = titles[i], .ms = mem_alloc((size_t)rounds * sizeof(double)) };
	for (int i = 0; i < rounds; i++) {
		start_stop(&s[0], &s[5], "{}");
		start_stop(&s[1], &s[6], "{\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"8080\"}]}}");
		start_stop(&s[2], &s[7], "{\"NetworkMode\":\"named\"}");
		peer(&s[4], &s[8]);
	}
	struct json config = json_object(), host = parse(&a, "{\"NetworkMode\":\"none2\"}");
	struct network_got got;
	if (network_sandbox_start(engine, &(struct network_wish){ .id = ID, .name = "b", .config = &config, .host_config = &host },
		&a, &got, &err) < 0)
		fail("start", &err);
	for (int i = 0; i < rounds; i++)
		join_leave(&s[3]);
	double median[ARRAY_LEN(titles)];
	for (size_t i = 0; i < ARRAY_LEN(titles); i++)
		median[i] = report(&s[i]);
	printf("ratio: a veth with addresses takes %.3f ms (goal 0.5); a whole start is %.1f times faster than ip -batch\n",
		median[3],
	       median[4] / median[0]);
	if (network_engine_reset(engine, true, &err) < 0)
		fail("reset", &err);
	network_engine_close(engine);
	while (loop_turn(the_loop, false))
		;
	loop_free(the_loop);
	for (size_t i = 0; i < ARRAY_LEN(titles); i++)
		free(s[i].ms);
	return 0;
}
