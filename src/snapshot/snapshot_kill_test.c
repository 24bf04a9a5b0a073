/* Death at every step: a child works until the failpoint kills it; then the folder is opened again and must be whole. */
#include <sched.h>
#include "snapshot/snapshot_test.h"

static const char first[] = "d etc\nf etc/a one\nf b two\ns l b\n", second[] = "f .wh.b \nf c three\n";

/* What a child does, step by step; each answered step must survive. */
static void work(int answered)
{
	struct snapshot_store *s;
	char dir[100];
	snprintf(dir, sizeof(dir), "%s/s", top);
	char step = 0;
#define STEP(call)                                                                                                     \
	do {                                                                                                           \
		if ((call) < 0)                                                                                        \
			_exit(9);                                                                                      \
		step++;                                                                                                \
		if (write(answered, &step, 1) != 1)                                                                    \
			_exit(8);                                                                                      \
	} while (0)
	const struct snapshot_params p = { .dir = dir, .backend = SNAPSHOT_OVERLAY };
	STEP(snapshot_open(&p, &s, NULL));
	STEP(unpack(s, chain('a'), "", first, NULL));                  /* 2 */
	STEP(unpack(s, chain('b'), chain('a'), second, NULL));         /* 3 */
	STEP(snapshot_prepare(s, "k", chain('b'), NULL));              /* 4 */
	STEP(snapshot_prepare(s, "m", chain('a'), NULL));              /* 5 */
	STEP(snapshot_commit(s, "m", chain('d'), NULL));               /* 6 */
	STEP(snapshot_remove(s, "k", NULL));                           /* 7 */
	STEP(snapshot_layer_remove(s, chain('b'), NULL));              /* 8 */
	_exit(0);
}

static void verify(char reached, const char *where)
{
	struct snapshot_store *s = opened("s", SNAPSHOT_AUTO, true);
	if (snapshot_healed(s))
		fail_msg("%s after step %d: %u layers were torn", where, reached, snapshot_healed(s));
	bool a = snapshot_layer_has(s, chain('a')), b = snapshot_layer_has(s, chain('b')), d = snapshot_layer_has(s, chain('d'));
	bool k = snapshot_has(s, "k"), m = snapshot_has(s, "m");
	/* What was answered is there; the step under way may be or not. */
	if ((reached >= 2 && !a) || (reached >= 3 && reached < 7 && !b) || (reached >= 4 && reached < 6 && !k) || (reached == 5 && !m && !d) ||
	    (reached >= 6 && (!d || m)) || (reached >= 7 && k) || (reached >= 8 && b) || (reached >= 5 && m == d))
		fail_msg("%s after step %d: a %d b %d d %d k %d m %d", where, reached, a, b, d, k, m);
	if (b) {
		OK(snapshot_layer_mount(s, chain('b'), target, &err));
		assert_string_equal(tree(target), "c = three\netc\netc/a = one\nl -> b\n");
		OK(snapshot_unmount(target, &err));
	}
	char path[100];
	snprintf(path, sizeof(path), "%s/s/tmp", top);
	assert_string_equal(tree(path), "");
	/* And work goes on. */
	OK(unpack(s, chain('a'), "", first, &err));
	OK(unpack(s, chain('f'), chain('a'), second, &err));
	snapshot_close(s);
}

static void test_kill_sweep(void **state)
{
	static const char *const points[] = { "snapshot.unpack.begun", "snapshot.unpack.entry", "snapshot.unpack.unpacked",
		"snapshot.commit.recorded", "snapshot.commit.synced", "snapshot.commit.renamed", "snapshot.prepare.synced",
		"snapshot.prepare.renamed", "snapshot.remove.renamed", "io.write_file.before_rename" };
	int deaths = 0;
	for (size_t i = 0; i < ARRAY_LEN(points); i++)
		for (int passage = 1;; passage++) {
			top_make();
			int pipes[2];
			assert_int_equal(pipe(pipes), 0);
			pid_t pid = fork();
			if (pid == 0) {
				char spec[100];
				snprintf(spec, sizeof(spec), "%s=kill@%d", points[i], passage);
				if (fail_arm(spec) < 0)
					_exit(7);
				close(pipes[0]);
				work(pipes[1]);
			}
			close(pipes[1]);
			char step = 0, more;
			while (read(pipes[0], &more, 1) == 1)
				step = more;
			close(pipes[0]);
			int status;
			assert_int_equal(waitpid(pid, &status, 0), pid);
			bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
			if (!killed && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
				fail_msg("%s@%d: status %x after step %d", points[i], passage, status, step);
			deaths += killed;
			char where[100];
			snprintf(where, sizeof(where), "%s@%d", points[i], passage);
			verify(step, where);
			top_remove();
			if (!killed)
				break;
		}
	print_message("%d deaths\n", deaths);
	assert_true(deaths >= 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_kill_sweep) };
	if (geteuid() != 0) {
		print_message("skip: overlayfs needs root\n");
		return 77;
	}
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
