#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "proc/proc.h"

static struct loop *l;
static int got_status;
static unsigned n_ended;

static void on_ended(struct proc *p, int status, const struct rusage *used)
{
	got_status = status;
	n_ended++;
}

static int setup(void **state)
{
	auto_err struct err err = ERR_INIT;
	n_ended = 0;
	got_status = -1;
	return loop_new(NULL, &l, &err);
}

static int teardown(void **state)
{
	loop_free(l);
	return 0;
}

/* Runs a shell line with a pipe as its output; what it wrote. */
static void shell(const char *line, struct proc_wish w, struct buf *out)
{
	auto_err struct err err = ERR_INIT;
	struct proc p;
	int ends[2];
	const char *const argv[] = { "sh", "-c", line, NULL };
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	w.path = "/bin/sh";
	w.argv = argv;
	w.out = w.err = ends[1];
	int rc = proc_start(&p, l, "shell", &w, on_ended, &err);
	if (rc < 0)
		fail_msg("%s", err_msg(&err));
	close(ends[1]);
	assert_true(p.running && p.pid > 0);
	loop_run(l);
	assert_false(p.running);
	assert_int_equal(io_read_all(ends[0], out, 1 << 16, &err), 0);
	close(ends[0]);
}

static void test_status(void **state)
{
	auto_buf struct buf out = {}, text = {};
	shell("echo hello; exit 3", (struct proc_wish){ .in = -1 }, &out);
	assert_string_equal(buf_cstr(&out), "hello\n");
	assert_int_equal(n_ended, 1);
	proc_status_text(&text, got_status);
	assert_string_equal(buf_cstr(&text), "exit status 3");
	buf_trunc(&text, 0);
	shell("kill -9 $$", (struct proc_wish){ .in = -1 }, &out);
	proc_status_text(&text, got_status);
	assert_string_equal(buf_cstr(&text), "killed by SIGKILL");
}

/* Exactly 0, 1, 2 and those of the wish; in their order even when they stand in each other's way. */
static void test_descriptors(void **state)
{
	auto_buf struct buf out = {};
	int a[2], b[2], stray = open("/dev/null", O_RDONLY); /* not close-on-exec */
	assert_int_equal(pipe2(a, O_CLOEXEC), 0);
	assert_int_equal(pipe2(b, O_CLOEXEC), 0);
	assert_true(write(a[1], "first\n", 6) == 6 && write(b[1], "second\n", 7) == 7);
	close(a[1]);
	close(b[1]);
	/* The later pipe first: its number is above the place of the other. */
	const int fds[] = { b[0], a[0] };
	shell("cat <&3; cat <&4; ls /proc/self/fd | wc -l; echo $LISTEN_FDS; [ $LISTEN_PID = $$ ] && echo mine",
	      (struct proc_wish){ .in = -1, .fds = fds, .n_fds = 2, .listen = true }, &out);
	/* 0 to 4, and the one that ls has the folder open with. */
	assert_string_equal(buf_cstr(&out), "second\nfirst\n6\n2\nmine\n");
	close(a[0]);
	close(b[0]);
	close(stray);
}

static void test_environment(void **state)
{
	auto_buf struct buf out = {};
	setenv("LISTEN_FDS", "7", 1);
	shell("echo \"[$LISTEN_FDS]\"; pwd", (struct proc_wish){ .in = -1, .dir = "/" }, &out);
	assert_string_equal(buf_cstr(&out), "[]\n/\n"); /* what the starter was given is not the child's */
	unsetenv("LISTEN_FDS");
	const char *const env[] = { "A=b", NULL };
	buf_trunc(&out, 0);
	shell("echo $A$HOME", (struct proc_wish){ .in = -1, .env = env }, &out);
	assert_string_equal(buf_cstr(&out), "b\n");
}

static void test_signals(void **state)
{
	auto_buf struct buf out = {};
	sigset_t set, before;
	(void)signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	(void)pthread_sigmask(SIG_BLOCK, &set, &before);
	shell("grep -E 'Sig(Blk|Ign)' /proc/self/status | cut -f2 | sort -u", (struct proc_wish){ .in = -1 }, &out);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	assert_string_equal(buf_cstr(&out), "0000000000000000\n");
}

static void test_refused(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct proc p;
	const char *const none[] = { "/nowhere/at/all", NULL }, *const folder[] = { "/tmp", NULL };
	int rc = proc_start(&p, l, "nothing", &(struct proc_wish){ .argv = none, .in = -1, .out = -1, .err = -1 }, on_ended, &err);
	assert_int_equal(rc, -ERR_NO_COMMAND);
	assert_string_equal(err_msg(&err), "starting nothing: executing /nowhere/at/all: No such file or directory");
	err_done(&err);
	rc = proc_start(&p, l, "folder", &(struct proc_wish){ .argv = folder, .in = -1, .out = -1, .err = -1 }, on_ended, &err);
	assert_int_equal(rc, -ERR_NOT_EXECUTABLE);
	err_done(&err);
	rc = proc_start(&p, l, "lost", &(struct proc_wish){ .path = "/bin/true", .argv = folder, .dir = "/nowhere", .in = -1, .out = -1,
							    .err = -1 }, on_ended, &err);
	assert_int_equal(rc, -ERR_IO);
	assert_string_equal(err_msg(&err), "starting lost: working folder: No such file or directory");
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left */
	assert_int_equal(errno, ECHILD);
	assert_int_equal(n_ended, 0);
}

static void test_groups(void **state)
{
	static const enum proc_group groups[] = { PROC_GROUP_OWN, PROC_GROUP_SESSION };
	auto_err struct err err = ERR_INIT;
	/* The shell waits for a grandchild that ignores nothing: the group's signal ends both, and the pipe closes. */
	const char *const argv[] = { "sh", "-c", "sleep 1000 & echo up; wait", NULL };
	for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
		struct proc p;
		int ends[2];
		char byte;
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		const struct proc_wish w = { .path = "/bin/sh", .argv = argv, .in = -1, .out = ends[1], .err = -1, .group = groups[i] };
		assert_int_equal(proc_start(&p, l, "group", &w, on_ended, &err), 0);
		close(ends[1]);
		assert_int_equal(read(ends[0], &byte, 1), 1);
		assert_int_equal(getpgid(p.pid), p.pid);
		assert_int_equal(getsid(p.pid), groups[i] == PROC_GROUP_SESSION ? p.pid : getsid(0));
		proc_signal_group(&p, SIGTERM);
		loop_run(l);
		while (read(ends[0], &byte, 1) == 1)
			;
		assert_int_equal(WTERMSIG(got_status), SIGTERM);
		close(ends[0]);
		proc_signal(&p, SIGKILL); /* to nobody */
	}
}

/* A starter that is killed takes the child along; without a death signal the child goes on. */
static void test_death(void **state)
{
	for (int with = 0; with < 2; with++) {
		int ends[2];
		pid_t child;
		char byte;
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
		pid_t starter = fork();
		if (starter == 0) {
			struct loop *mine;
			struct proc p;
			const char *const argv[] = { "sleep", "1000", NULL };
			const struct proc_wish w = { .path = "/bin/sleep", .argv = argv, .in = -1, .out = ends[1], .err = -1,
						     .death_signal = with ? SIGKILL : 0 };
			if (loop_new(NULL, &mine, NULL) < 0 || proc_start(&p, mine, "sleeper", &w, on_ended, NULL) < 0 ||
			    write(ends[1], &p.pid, sizeof(p.pid)) != sizeof(p.pid))
				_exit(1);
			(void)kill(getpid(), SIGKILL);
		}
		close(ends[1]);
		assert_int_equal(read(ends[0], &child, sizeof(child)), sizeof(child));
		int status = 0;
		assert_int_equal(waitpid(starter, &status, 0), starter);
		if (!with) {
			assert_int_equal(kill(child, 0), 0);
			assert_int_equal(waitpid(child, NULL, WNOHANG), 0); /* ours now, and alive */
			(void)kill(child, SIGKILL);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(WTERMSIG(status), SIGKILL);
		assert_int_equal(read(ends[0], &byte, 1), 0);
		close(ends[0]);
		(void)prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_status, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_environment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_groups, setup, teardown),
		cmocka_unit_test_setup_teardown(test_death, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
