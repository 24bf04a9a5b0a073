/* For tests: another program with bytes on its standard input, and what it prints. */
#pragma once

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/base.h"

/* Runs the first of `programs` (closed by NULL; looked for in PATH) that there is, with argv. Its output is appended to out, its
 * errors too where asked. Returns its exit status, 127 when none of the programs is there; a signal fails the test. */
static int child_run(const char *const *programs, const char *const *argv, struct span in, bool errors, struct buf *out)
{
	char name[] = "/tmp/knarr-test-XXXXXX";
	auto_fd int file = mkostemp(name, O_CLOEXEC);
	int ends[2];
	assert_true(file >= 0 && pipe2(ends, O_CLOEXEC) == 0);
	auto_fd int read_end = ends[0];
	unlink(name);
	assert_int_equal(io_write_all(file, in.ptr, in.len, NULL), 0);
	assert_int_equal(lseek(file, 0, SEEK_SET), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(file, 0);
		dup2(ends[1], 1);
		if (errors)
			dup2(ends[1], 2);
		for (size_t i = 0; programs[i]; i++)
			execvp(programs[i], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	fd_close(&ends[1]);
	assert_int_equal(io_read_all(read_end, out, 1 << 24, NULL), 0);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}
