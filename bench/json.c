/* JSON: decoding and encoding of every .json file in a folder (the round-trip fixtures), against jansson and python's json.
 *
 * usage: bench-json [DIR [PASSES]]      default: tests/fixtures/roundtrip, 60 passes
 *
 * One pass takes every file once, as one request would: a new arena, parse, write, end. Sides alternate pass by pass, so that
 * a busy machine hurts both. Encoding is compact, which jansson and python get too. */
#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include "json/json.h"
#include "took.h"
#include "json_jansson.h"

extern char **environ;

struct text {
	struct span json; /* in the arena */
	struct json tree;
	void *jansson; /* owned */
};

static struct text *texts; /* owned */
static size_t n_texts, cap_texts, total;

static double now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void load(struct arena *a, const char *dir)
{
	DIR *d = opendir(dir);
	if (!d) {
		fprintf(stderr, "bench-json: %s: %s\n", dir, strerror(errno));
		exit(1);
	}
	for (struct dirent *de; (de = readdir(d));) {
		if (!span_ends(span_of(de->d_name), SPAN(".json")))
			continue;
		auto_fd int fd = openat(dirfd(d), de->d_name, O_RDONLY | O_CLOEXEC);
		off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
		if (size <= 0 || lseek(fd, 0, SEEK_SET) != 0)
			continue;
		char *text = arena_alloc(a, (size_t)size);
		if (read(fd, text, (size_t)size) != size)
			continue;
		MEM_GROW(texts, n_texts, cap_texts);
		struct text *t = texts + n_texts++;
		*t = (struct text){ .json = span_make(text, (size_t)size) };
		t->jansson = bench_jansson_load(text, (size_t)size);
		if (json_parse(a, t->json, 0, NULL, &t->tree, NULL) < 0 || !t->jansson) {
			fprintf(stderr, "bench-json: %s is no JSON\n", de->d_name);
			exit(1);
		}
		total += (size_t)size;
	}
	closedir(d);
	if (!n_texts) {
		fprintf(stderr, "bench-json: no .json files in %s\n", dir);
		exit(1);
	}
}

/* ---- one pass each; the time it took */
static double ours_decode(unsigned flags)
{
	double start = now();
	for (size_t i = 0; i < n_texts; i++) {
		auto_arena struct arena a = {};
		struct json v;
		if (json_parse(&a, texts[i].json, flags, NULL, &v, NULL) < 0)
			abort();
	}
	return now() - start;
}

static double ours_copied(void)
{
	return ours_decode(0);
}

static double ours_borrowed(void)
{
	return ours_decode(JSON_BORROW);
}

static double ours_check(void)
{
	double start = now();
	for (size_t i = 0; i < n_texts; i++) {
		if (json_check(texts[i].json, NULL, NULL) < 0)
			abort();
	}
	return now() - start;
}

static double jansson_decode(void)
{
	double start = now();
	for (size_t i = 0; i < n_texts; i++)
		bench_jansson_drop(bench_jansson_load(texts[i].json.ptr, texts[i].json.len));
	return now() - start;
}

static size_t encoded; /* bytes of one encoding pass */

static double ours_encode(void)
{
	double start = now();
	size_t n = 0;
	auto_buf struct buf b = {};
	for (size_t i = 0; i < n_texts; i++) {
		buf_trunc(&b, 0);
		json_write(&b, &texts[i].tree, JSON_HTML);
		n += b.len;
	}
	encoded = n;
	return now() - start;
}

static double jansson_encode(void)
{
	double start = now();
	for (size_t i = 0; i < n_texts; i++)
		bench_jansson_dump(texts[i].jansson);
	return now() - start;
}

/* ---- python: one process that measures itself and prints "decode encode" in MB/s (p50) */
static bool python(const char *dir, int passes, double *decode, double *encode)
{
	static const char script[] =
		"import glob,json,sys,time\n"
		"t=[open(f).read() for f in glob.glob(sys.argv[1]+'/*.json')]\n"
		"v=[json.loads(s) for s in t]\n"
		"n=sum(len(s) for s in t);m=sum(len(json.dumps(x,separators=(',',':'))) for x in v)\n"
		"def p50(f,items):\n"
		" r=[]\n"
		" for _ in range(int(sys.argv[2])):\n"
		"  s=time.perf_counter()\n"
		"  for x in items:f(x)\n"
		"  r.append(time.perf_counter()-s)\n"
		" return sorted(r)[len(r)//2]\n"
		"e=json.JSONEncoder(separators=(',',':')).encode\n"
		"print(n/p50(json.loads,t)/1e6,m/p50(e,v)/1e6)\n";
	char count[16];
	snprintf(count, sizeof(count), "%d", passes);
	char *argv[] = { (char *)"python3", (char *)"-c", (char *)script, (char *)dir, count, NULL };
	int pipe_fds[2];
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return false;
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 1);
	pid_t pid;
	int failed = posix_spawnp(&pid, "python3", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(pipe_fds[1]);
	FILE *out = fdopen(pipe_fds[0], "r");
	bool ok = !failed && out && fscanf(out, "%lf %lf", decode, encode) == 2;
	if (out)
		fclose(out);
	if (!failed)
		waitpid(pid, NULL, 0);
	return ok;
}

/* ---- report */
struct side {
	const char *name;
	double (*pass)(void);
	double *times; /* owned */
	bool encodes;
};

static double rate(const struct side *s, int passes, double quantile)
{
	return (double)(s->encodes ? encoded : total) / s->times[(int)(quantile * (passes - 1))] / 1e6;
}

int main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : "tests/fixtures/roundtrip";
	int passes = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 60;
	auto_arena struct arena a = {};
	if (passes < 1)
		passes = 1;
	if (!bench_jansson_open()) {
		fprintf(stderr, "bench-json: libjansson.so.4 does not open (package libjansson4)\n");
		return 1;
	}
	load(&a, dir);
	struct side sides[] = {
		{ .name = "decode, strings copied", .pass = ours_copied },
		{ .name = "decode, strings borrowed", .pass = ours_borrowed },
		{ .name = "check only", .pass = ours_check },
		{ .name = "decode, jansson", .pass = jansson_decode },
		{ .name = "encode", .pass = ours_encode, .encodes = true },
		{ .name = "encode, jansson", .pass = jansson_encode, .encodes = true },
	};
	for (int pass = -1; pass < passes; pass++) { /* pass -1 warms up */
		for (size_t i = 0; i < ARRAY_LEN(sides); i++) {
			struct side *s = sides + i;
			if (!s->times)
				s->times = mem_zalloc(sizeof(double) * (size_t)passes);
			double took = s->pass();
			if (pass >= 0)
				s->times[pass] = took;
		}
	}
	printf("%zu files, %zu bytes as they are, %zu compact, %d passes\n", n_texts, total, encoded, passes);
	for (size_t i = 0; i < ARRAY_LEN(sides); i++) {
		qsort(sides[i].times, (size_t)passes, sizeof(double), took_by_value);
		printf("%-26s p50 %7.1f MB/s   p99 %7.1f MB/s\n", sides[i].name, rate(sides + i, passes, 0.5),
		       rate(sides + i, passes, 0.99));
	}
	double py_decode = 0, py_encode = 0;
	bool py = python(dir, passes / 4 + 1, &py_decode, &py_encode);
	if (py)
		printf("python3 json               p50 %7.1f MB/s decode, %.1f MB/s encode\n", py_decode, py_encode);
	else
		printf("python3 json               not measured: python3 did not run\n");
	printf("ratio: decode %.1fx jansson, %.1fx python; encode %.1fx jansson, %.1fx python\n",
	       rate(sides + 0, passes, 0.5) / rate(sides + 3, passes, 0.5), py ? rate(sides + 0, passes, 0.5) / py_decode : 0,
	       rate(sides + 4, passes, 0.5) / rate(sides + 5, passes, 0.5), py ? rate(sides + 4, passes, 0.5) / py_encode : 0);
	for (size_t i = 0; i < ARRAY_LEN(sides); i++)
		free(sides[i].times);
	for (size_t i = 0; i < n_texts; i++)
		bench_jansson_drop(texts[i].jansson);
	free(texts);
	return 0;
}
