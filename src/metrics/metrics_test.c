/* Tests of metrics: the page byte for byte, bounds, counting from several threads, and promtool's opinion. */
#include "base/child_test.h"
#include "metrics/metrics.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { REQUESTS, INFLIGHT, DURATION, UP, NOTHING, FAMILIES };
static const double bounds[] = { .1, 1, 2.5, INFINITY };
static const struct metrics_family families[FAMILIES] = {
	[REQUESTS] = { "test_request_total", "Requests, by verb\nand code \\ \"quoted\".", METRICS_COUNTER,
		       .labels = { "verb", "code" }, .max_series = 4 },
	[INFLIGHT] = { "test_inflight", "Now.", METRICS_GAUGE, .labels = { "kind" } },
	[DURATION] = { "test_duration_seconds", "Time.", METRICS_HISTOGRAM, .labels = { "verb" }, .bounds = bounds },
	[UP] = { "test_up", "Always there.", METRICS_GAUGE },
	[NOTHING] = { "test_nothing_total", "Never counted.", METRICS_COUNTER, .labels = { "a" } },
};

static void assert_page(struct metrics *m, const char *want)
{
	auto_buf struct buf page = {};
	metrics_write(m, &page);
	if (!span_is(buf_span(&page), want))
		fail_msg("got:\n%s\nwant:\n%s", buf_cstr(&page), want);
}

static void page(void **state)
{
	struct metrics *m = metrics_new();
	struct metrics_table *t = metrics_register(m, families, FAMILIES);
	assert_page(m, "# HELP test_up Always there.\n# TYPE test_up gauge\ntest_up 0\n");

	metrics_inc(METRICS_SERIES(t, REQUESTS, SPAN("GET"), SPAN("200")));
	metrics_inc(METRICS_SERIES(t, REQUESTS, SPAN("GET"), SPAN("200")));
	metrics_add(METRICS_SERIES(t, REQUESTS, SPAN("A\"\\\n"), SPAN("")), 0.5);
	metrics_set(METRICS_SERIES(t, INFLIGHT, SPAN("b")), 12345678);
	metrics_set(METRICS_SERIES(t, INFLIGHT, SPAN("a")), -INFINITY);
	metrics_set(METRICS_SERIES(t, INFLIGHT, SPAN("c")), NAN);
	metrics_inc(METRICS_SERIES(t, INFLIGHT, SPAN("d")));
	metrics_add(METRICS_SERIES(t, INFLIGHT, SPAN("d")), -3.25);
	metrics_set(METRICS_SERIES(t, UP), 0.1);
	struct metrics_series *d = METRICS_SERIES(t, DURATION, SPAN("LIST"));
	const double seen[] = { 0.05, 0.1, 0.11, 1, 2.5, 2.6, 1e300, -1, NAN };
	for (size_t i = 0; i < ARRAY_LEN(seen); i++)
		metrics_observe(d, seen[i]);
	metrics_observe_n(d, 1, 0);
	assert_true(metrics_value(d) == 8);
	struct metrics_series *many = METRICS_SERIES(t, DURATION, SPAN("WATCH"));
	metrics_observe_n(many, 0.5, 1000);
	metrics_observe_n(many, 2, 3);
	metrics_observe_n(many, NAN, 5);
	assert_true(metrics_value(many) == 1003);
	assert_true(metrics_value(METRICS_SERIES(t, REQUESTS, SPAN("GET"), SPAN("200"))) == 2);
	assert_page(m, "# HELP test_request_total Requests, by verb\\nand code \\\\ \"quoted\".\n"
		       "# TYPE test_request_total counter\n"
		       "test_request_total{verb=\"A\\\"\\\\\\n\",code=\"\"} 0.5\n"
		       "test_request_total{verb=\"GET\",code=\"200\"} 2\n"
		       "# HELP test_inflight Now.\n# TYPE test_inflight gauge\n"
		       "test_inflight{kind=\"a\"} -Inf\n"
		       "test_inflight{kind=\"b\"} 12345678\n"
		       "test_inflight{kind=\"c\"} NaN\n"
		       "test_inflight{kind=\"d\"} -2.25\n"
		       "# HELP test_duration_seconds Time.\n# TYPE test_duration_seconds histogram\n"
		       "test_duration_seconds_bucket{verb=\"LIST\",le=\"0.1\"} 3\n"
		       "test_duration_seconds_bucket{verb=\"LIST\",le=\"1\"} 5\n"
		       "test_duration_seconds_bucket{verb=\"LIST\",le=\"2.5\"} 6\n"
		       "test_duration_seconds_bucket{verb=\"LIST\",le=\"+Inf\"} 8\n"
		       "test_duration_seconds_sum{verb=\"LIST\"} 1e+300\n"
		       "test_duration_seconds_count{verb=\"LIST\"} 8\n"
		       "test_duration_seconds_bucket{verb=\"WATCH\",le=\"0.1\"} 0\n"
		       "test_duration_seconds_bucket{verb=\"WATCH\",le=\"1\"} 1000\n"
		       "test_duration_seconds_bucket{verb=\"WATCH\",le=\"2.5\"} 1003\n"
		       "test_duration_seconds_bucket{verb=\"WATCH\",le=\"+Inf\"} 1003\n"
		       "test_duration_seconds_sum{verb=\"WATCH\"} 506\n"
		       "test_duration_seconds_count{verb=\"WATCH\"} 1003\n"
		       "# HELP test_up Always there.\n# TYPE test_up gauge\ntest_up 0.1\n");
	metrics_free(m);
}

static void bounded(void **state)
{
	struct metrics *m = metrics_new();
	struct metrics_table *t = metrics_register(m, families, 1);
	for (int i = 0; i < 1000; i++) {
		char code[16];
		int len = snprintf(code, sizeof(code), "%d", i);
		metrics_inc(METRICS_SERIES(t, REQUESTS, SPAN("GET"), span_make(code, (size_t)len)));
	}
	assert_true(metrics_value(METRICS_SERIES(t, REQUESTS, SPAN("GET"), SPAN("3"))) == 1);
	/* The bound is on new ones: those that are there go on. */
	metrics_inc(METRICS_SERIES(t, REQUESTS, SPAN("GET"), SPAN("3")));
	assert_page(m, "# HELP test_request_total Requests, by verb\\nand code \\\\ \"quoted\".\n"
		       "# TYPE test_request_total counter\n"
		       "test_request_total{verb=\"GET\",code=\"0\"} 1\n"
		       "test_request_total{verb=\"GET\",code=\"1\"} 1\n"
		       "test_request_total{verb=\"GET\",code=\"2\"} 1\n"
		       "test_request_total{verb=\"GET\",code=\"3\"} 2\n"
		       "test_request_total{verb=\"other\",code=\"other\"} 996\n");
	metrics_free(m);
	metrics_free(NULL);
}

static void values_cleaned(void **state)
{
	struct metrics *m = metrics_new();
	struct metrics_table *t = metrics_register(m, families, 2);
	metrics_set(METRICS_SERIES(t, INFLIGHT, SPAN("a\xff\xe6\xbc""b")), 1);
	assert_true(metrics_value(METRICS_SERIES(t, INFLIGHT, SPAN("a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd""b"))) == 1);
	char long_value[300];
	memset(long_value, 'x', sizeof(long_value));
	memcpy(long_value + 255, "\xc3\xa9", 2);
	metrics_set(METRICS_SERIES(t, INFLIGHT, span_make(long_value, sizeof(long_value))), 7);
	assert_true(metrics_value(METRICS_SERIES(t, INFLIGHT, span_make(long_value, 255))) == 7);
	auto_buf struct buf out = {};
	metrics_write(m, &out);
	assert_true(utf8_valid(buf_span(&out)));
	metrics_free(m);
}

static void registries_summed(void **state)
{
	struct metrics *all[2] = { metrics_new(), metrics_new() };
	for (unsigned k = 0; k < 2; k++) {
		struct metrics_table *t = metrics_register(all[k], families, FAMILIES);
		metrics_inc(METRICS_SERIES(t, REQUESTS, SPAN("GET"), SPAN("200")));
		metrics_inc(METRICS_SERIES(t, REQUESTS, k ? SPAN("PUT") : SPAN("LIST"), SPAN("200")));
		metrics_set(METRICS_SERIES(t, INFLIGHT, SPAN("read")), 3 + k);
		metrics_observe(METRICS_SERIES(t, DURATION, SPAN("GET")), k ? .05 : 2);
		/* One more than the family holds: counted as "other" in each. */
		for (unsigned i = 0; i < 4; i++)
			metrics_inc(METRICS_SERIES(t, REQUESTS, SPAN("X"), span_make(&"0123"[i], 1)));
	}
	auto_buf struct buf page = {};
	metrics_write_sum(all, 2, &page);
	static const char *const wants[] = {
		"test_request_total{verb=\"GET\",code=\"200\"} 2\n",
		"test_request_total{verb=\"LIST\",code=\"200\"} 1\n",
		"test_request_total{verb=\"PUT\",code=\"200\"} 1\n",
		"test_request_total{verb=\"X\",code=\"0\"} 2\n",
		"test_request_total{verb=\"other\",code=\"other\"} 4\n",
		"test_inflight{kind=\"read\"} 7\n",
		"test_duration_seconds_bucket{verb=\"GET\",le=\"0.1\"} 1\n",
		"test_duration_seconds_bucket{verb=\"GET\",le=\"2.5\"} 2\n",
		"test_duration_seconds_sum{verb=\"GET\"} 2.05\n",
		"test_duration_seconds_count{verb=\"GET\"} 2\n",
		"test_up 0\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(wants); i++)
		if (!span_has(buf_span(&page), span_of(wants[i])))
			fail_msg("got:\n%s\nwant it to hold: %s", buf_cstr(&page), wants[i]);
	metrics_free(all[0]);
	metrics_free(all[1]);
}

static void collect(struct metrics_writer *w, void *arg)
{
	const char *const labels[] = { "pod", "container" };
	const struct span values[] = { SPAN("web-1"), SPAN("a\"b") };
	metrics_emit_family(w, "test_up", "Twice: left out.", METRICS_GAUGE);
	metrics_emit(w, NULL, NULL, 0, 5);
	metrics_emit_family(w, "container_cpu_seconds_total", "CPU.", METRICS_COUNTER);
	metrics_emit(w, labels, values, 2, *(double *)arg);
}

static void collectors(void **state)
{
	struct metrics *m = metrics_new();
	double cpu = 1.5;
	metrics_collector_add(m, collect, &cpu);
	(void)metrics_register(m, &families[UP], 1);
	assert_page(m, "# HELP test_up Always there.\n# TYPE test_up gauge\ntest_up 0\n"
		       "# HELP container_cpu_seconds_total CPU.\n# TYPE container_cpu_seconds_total counter\n"
		       "container_cpu_seconds_total{pod=\"web-1\",container=\"a\\\"b\"} 1.5\n");
	metrics_free(m);
}

/* The number behind "NAME " at the beginning of a line. */
static double page_number(struct span page, const char *name)
{
	struct span line;
	size_t len = strlen(name);
	while (span_cut(&page, '\n', &line))
		if (span_starts(line, span_of(name)) && line.len > len && line.ptr[len] == ' ') {
			char text[64];
			snprintf(text, sizeof(text), "%.*s", SPAN_ARG(span_from(line, len + 1)));
			return strtod(text, NULL);
		}
	fail_msg("no %s in:\n%.*s", name, SPAN_ARG(page));
	return 0;
}

static void process(void **state)
{
	struct metrics *m = metrics_new();
	metrics_process_add(m);
	auto_buf struct buf before = {}, after = {};
	metrics_write(m, &before);
	auto_fd int a = open("/dev/null", O_RDONLY | O_CLOEXEC), b = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(a >= 0 && b >= 0);
	volatile double work = 0;
	/* The kernel counts in ticks of up to 10 ms; on a busy machine only our own CPU clock tells how many passed. */
	clock_t start = clock();
	while (clock() - start < CLOCKS_PER_SEC / 20)
		work = work + 1;
	metrics_write(m, &after);
	struct span x = buf_span(&before), y = buf_span(&after);
	assert_true(page_number(y, "process_open_fds") == page_number(x, "process_open_fds") + 2);
	assert_true(page_number(y, "process_cpu_seconds_total") > page_number(x, "process_cpu_seconds_total"));
	assert_true(page_number(x, "process_resident_memory_bytes") > 100000);
	assert_true(page_number(x, "process_virtual_memory_bytes") > page_number(x, "process_resident_memory_bytes"));
	assert_true(page_number(x, "process_max_fds") >= 8);
	assert_true(page_number(x, "process_virtual_memory_max_bytes") > 0);
	double now = (double)clock_wall_ns(clock_real()) / 1e9, began = page_number(x, "process_start_time_seconds");
	/* The clock of a machine may have been set since it started; a day covers what tests see. */
	if (fabs(now - began) > 86400)
		fail_msg("started at %.0f, now is %.0f", began, now);
	metrics_free(m);
}

static void mistakes_abort(void **state)
{
	static const struct metrics_family bad[] = {
		{ "1x", "", METRICS_GAUGE },
		{ "a-b", "", METRICS_GAUGE },
		{ "a", "", METRICS_GAUGE, .labels = { "le:x" } },
		{ "a", "", METRICS_GAUGE, .labels = { "__x" } },
		{ "a", "", METRICS_HISTOGRAM },
		{ "a", "", METRICS_HISTOGRAM, .labels = { "le" }, .bounds = bounds },
		{ "a", NULL, METRICS_GAUGE },
		{ "test_up", "", METRICS_GAUGE },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad) + 3; i++) {
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			close(2);
			signal(SIGABRT, SIG_DFL);
			struct metrics *m = metrics_new();
			struct metrics_table *t = metrics_register(m, families, FAMILIES);
			if (i < ARRAY_LEN(bad))
				(void)metrics_register(m, &bad[i], 1);
			else if (i == ARRAY_LEN(bad))
				metrics_add(METRICS_SERIES(t, REQUESTS, SPAN("a"), SPAN("b")), -1);
			else if (i == ARRAY_LEN(bad) + 1)
				(void)METRICS_SERIES(t, REQUESTS, SPAN("a"));
			else
				metrics_set(METRICS_SERIES(t, DURATION, SPAN("a")), 1);
			_exit(0);
		}
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
			fail_msg("mistake %zu: status %x", i, status);
	}
}

/* ---- threads */

enum { THREADS = 4, ROUNDS = 20000 };

static void *count(void *arg)
{
	struct metrics_table *t = arg;
	for (int i = 0; i < ROUNDS; i++) {
		char kind[16];
		int len = snprintf(kind, sizeof(kind), "k%d", i % 100);
		metrics_inc(METRICS_SERIES(t, INFLIGHT, span_make(kind, (size_t)len)));
		metrics_inc(METRICS_SERIES(t, REQUESTS, SPAN("GET"), span_make(kind, (size_t)len)));
		metrics_observe(METRICS_SERIES(t, DURATION, SPAN("GET")), (i % 4) * 0.75);
		metrics_add(METRICS_SERIES(t, UP), 0.5);
	}
	return NULL;
}

static void threads_count(void **state)
{
	struct metrics *m = metrics_new();
	struct metrics_table *t = metrics_register(m, families, FAMILIES);
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count, t), 0);
	for (int i = 0; i < 20; i++) {
		auto_buf struct buf out = {};
		metrics_write(m, &out);
		if (span_find(buf_span(&out), SPAN("_count")) >= 0)
			assert_true(page_number(buf_span(&out), "test_duration_seconds_bucket{verb=\"GET\",le=\"+Inf\"}") ==
				    page_number(buf_span(&out), "test_duration_seconds_count{verb=\"GET\"}"));
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_true(metrics_value(METRICS_SERIES(t, INFLIGHT, SPAN("k42"))) == THREADS * ROUNDS / 100);
	assert_true(metrics_value(METRICS_SERIES(t, DURATION, SPAN("GET"))) == THREADS * ROUNDS);
	assert_true(metrics_value(METRICS_SERIES(t, UP)) == THREADS * ROUNDS * 0.5);
	auto_buf struct buf out = {};
	metrics_write(m, &out);
	double sum = page_number(buf_span(&out), "test_duration_seconds_sum{verb=\"GET\"}");
	if (sum != THREADS * ROUNDS / 4 * 4.5)
		fail_msg("sum %g, want %g", sum, THREADS * ROUNDS / 4 * 4.5);
	/* 4 series by their own names, everything else in "other": nothing is lost. */
	double total = page_number(buf_span(&out), "test_request_total{verb=\"other\",code=\"other\"}");
	assert_true(total == THREADS * ROUNDS * 0.96);
	metrics_free(m);
}

/* ---- promtool */

static void promtool(void **state)
{
	struct metrics *m = metrics_new();
	struct metrics_table *t = metrics_register(m, families, FAMILIES);
	metrics_process_add(m);
	metrics_inc(METRICS_SERIES(t, REQUESTS, SPAN("G\"E\\T\n\xc3\xa9"), SPAN("200")));
	metrics_set(METRICS_SERIES(t, INFLIGHT, SPAN("x")), 1e-9);
	metrics_observe(METRICS_SERIES(t, DURATION, SPAN("GET")), 0.3);
	auto_buf struct buf out = {}, said = {};
	metrics_write(m, &out);
	metrics_free(m);

	static const char *const programs[] = { "promtool", "build/aside/usr/bin/promtool", NULL };
	static const char *const argv[] = { "promtool", "check", "metrics", NULL };
	int status = child_run(programs, argv, buf_span(&out), true, &said);
	if (status == 127) {
		print_message("skipped: no promtool (tools/aside prometheus)\n");
		buf_done(&said); /* skip() leaves without the cleanups */
		buf_done(&out);
		skip();
	}
	if (status != 0)
		fail_msg("promtool: status %x, %s\non:\n%s", status, buf_cstr(&said), buf_cstr(&out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(page),		 cmocka_unit_test(bounded),    cmocka_unit_test(values_cleaned),
		cmocka_unit_test(registries_summed),
		cmocka_unit_test(collectors),	 cmocka_unit_test(process),    cmocka_unit_test(mistakes_abort),
		cmocka_unit_test(threads_count), cmocka_unit_test(promtool),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
