/* AppArmor's profile is loaded once, however many containers start at the same moment. Files of this test stand for the kernel's list
 * and for the parser, which takes its time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/calls_test.h"

static char profiles[64], parser[64];
#define PROFILES profiles
#define PARSERS parser
#include "container/apparmor.c"

#define THREADS 8

static char top[] = "/tmp/knarr-apparmor-XXXXXX";
static struct container_engine engine = { .run_dir = top };
static pthread_barrier_t together;

static void *start(void *arg)
{
	struct err *err = arg;
	pthread_barrier_wait(&together);
	(void)container_apparmor_load(&engine, err); /* err tells */
	return NULL;
}

static void file(const char *path, const char *text, mode_t mode)
{
	OK(io_write_file(AT_FDCWD, path, span_of(text), mode, &err));
}

static void test_first_starts(void **state)
{
	pthread_t threads[THREADS];
	struct err errs[THREADS];
	auto_buf struct buf script = {}, runs = {}, left = {};
	char path[64];
	assert_non_null(mkdtemp(top));
	snprintf(profiles, sizeof(profiles), "%s/profiles", top);
	snprintf(parser, sizeof(parser), "%s/parser", top);
	file(profiles, "snap (enforce)\n", 0644);
	buf_printf(&script, "#!/bin/sh\necho run >>%s/runs\nsleep 0.3\ngrep -q '^profile docker-default ' \"$2\" || exit 1\n"
		"sleep 0.3\n[ \"$1\" = -Kr ] && [ -s \"$2\" ] && echo 'docker-default (enforce)' >>%s\n", top, profiles);
	file(parser, buf_cstr(&script), 0755);
	pthread_barrier_init(&together, NULL, THREADS);
	for (size_t i = 0; i < THREADS; i++) {
		errs[i] = (struct err)ERR_INIT;
		assert_int_equal(pthread_create(&threads[i], NULL, start, &errs[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		if (errs[i].class)
			fail_msg("start %zu: %s", i, err_msg(&errs[i]));
	}
	pthread_barrier_destroy(&together);
	snprintf(path, sizeof(path), "%s/runs", top);
	OK(io_read_file(AT_FDCWD, path, &runs, 4096, &err));
	assert_string_equal(buf_cstr(&runs), "run\n");
	assert_true(loaded());
	snprintf(path, sizeof(path), "%s/apparmor-docker-default", top);
	assert_int_equal(access(path, F_OK), -1); /* the text is of no use any more */
}

static int teardown(void **state)
{
	static const char *const names[] = { "profiles", "parser", "runs" };
	char path[80];
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", top, names[i]);
		(void)unlink(path);
	}
	return rmdir(top);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_teardown(test_first_starts, teardown) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
