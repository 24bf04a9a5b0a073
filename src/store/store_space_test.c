/* A disk that is full, and one that is read-only: a small tmpfs in a mount namespace of our own.
 * Needs root (mount namespaces); skips with the reason otherwise. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include "store/store_test_util.h"

static char dir[200];

static int64_t put_big(struct store *s, int i)
{
	static char big[20001];
	char key[20];
	memset(big, 'x', 20000);
	snprintf(key, sizeof(key), "k%d", i);
	return do_put(s, key, big);
}

static void full_disk(void **state)
{
	char store_dir[300], ballast[300];
	assert_int_equal(mount("knarr-test", dir, "tmpfs", 0, "size=8m,mode=0700"), 0);
	snprintf(store_dir, sizeof(store_dir), "%s/store", dir);
	snprintf(ballast, sizeof(ballast), "%s/ballast", dir);
	struct store *s = do_open(&(struct store_options){ .dir = store_dir, .wal_pages = 200 });
	for (int i = 0; i < 20; i++)
		assert_true(put_big(s, i) > 0);
	assert_true(do_put_flags(s, "heartbeat", "1", true, 0) > 0);
	/* the rest of the disk goes to somebody else */
	int fd = open(ballast, O_CREAT | O_WRONLY, 0600);
	static char block[4096];
	while (write(fd, block, sizeof(block)) > 0)
		;
	close(fd);
	int64_t rev = 1;
	int n = 20;
	for (; n < 2000 && rev > 0; n++)
		rev = put_big(s, n);
	assert_int_equal(rev, -ERR_NO_SPACE);
	int full_at = n - 1;
	auto_wait struct wait w;
	auto_bytes struct bytes *large = bytes_alloc(200000);
	memset(large->data, 'y', large->len);
	struct store_txn *t = store_txn_new();
	store_txn_put(t, STORE_THEN, SPAN("refused"), large, 0);
	assert_int_equal(do_commit(s, t, &w), ERR_NO_SPACE);
	assert_non_null(strstr(w.msg, "no space left"));
	assert_non_null(strstr(w.msg, store_dir));
	/* memory shows what is durable; reads, watches' places and heart beats go on */
	assert_true(is_value(s, "refused", "-"));
	char key[20], value[10];
	snprintf(key, sizeof(key), "k%d", full_at);
	assert_int_equal(do_get(s, key, value, sizeof(value)), 0);
	assert_true(do_get(s, "k3", value, sizeof(value)) > 0);
	int64_t beat = do_put_flags(s, "heartbeat", "2", true, 0);
	assert_true(beat > 0);
	struct store_status st;
	store_status(s, &st);
	assert_int_equal(st.last_error, ERR_NO_SPACE);
	/* space returns: so do writes, without a restart */
	assert_int_equal(unlink(ballast), 0);
	rev = put_big(s, full_at);
	assert_true(rev > beat);
	store_status(s, &st);
	assert_int_equal(st.last_error, 0);
	do_close(s);
	s = do_open(&(struct store_options){ .dir = store_dir });
	assert_true(is_value(s, "heartbeat", "2"));
	assert_true(is_value(s, "refused", "-"));
	assert_int_equal(do_get(s, key, value, sizeof(value)), rev);
	do_close(s);
	assert_int_equal(umount(dir), 0);
}

/* Files held open for writing keep a mount from turning read-only in an orderly way, so the disk's answer is what is made:
 * the failpoint in front of the commit says EROFS as a kernel does after an error. */
static void read_only_disk(void **state)
{
	char store_dir[300];
	assert_int_equal(mount("knarr-test", dir, "tmpfs", 0, "size=8m,mode=0700"), 0);
	snprintf(store_dir, sizeof(store_dir), "%s/store", dir);
	struct store *s = do_open(&(struct store_options){ .dir = store_dir });
	int64_t rev = do_put(s, "k", "1");
	assert_int_equal(fail_arm("store.commit.begin=EROFS"), 0);
	auto_wait struct wait w;
	auto_bytes struct bytes *v = bytes_of(SPAN("2"));
	struct store_txn *t = store_txn_new();
	store_txn_put(t, STORE_THEN, SPAN("k"), v, 0);
	assert_int_not_equal(do_commit(s, t, &w), 0);
	assert_non_null(strstr(w.msg, "ead-only"));
	assert_true(is_value(s, "k", "1"));
	assert_int_equal(fail_arm(""), 0);
	assert_true(do_put(s, "k", "3") > rev);
	do_close(s);
	/* and a store that is opened on a read-only mount: a clear refusal */
	assert_int_equal(mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	auto_err struct err err = ERR_INIT;
	assert_true(store_open(&(struct store_options){ .dir = store_dir }, &s, &err) < 0);
	assert_non_null(strstr(err_msg(&err), "ead-only"));
	assert_non_null(strstr(err_msg(&err), store_dir));
	assert_int_equal(mount(NULL, dir, NULL, MS_REMOUNT, "size=8m"), 0);
	s = do_open(&(struct store_options){ .dir = store_dir });
	assert_true(is_value(s, "k", "3"));
	do_close(s);
	assert_int_equal(umount(dir), 0);
}

int main(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		printf("skipped: a mount namespace of our own needs root (%s)\n", strerror(errno));
		return 77;
	}
	dir_make(dir, sizeof(dir));
	const struct CMUnitTest tests[] = { cmocka_unit_test(full_disk), cmocka_unit_test(read_only_disk) };
	int code = cmocka_run_group_tests(tests, NULL, NULL);
	(void)umount2(dir, MNT_DETACH); /* only if a test failed half way */
	(void)rmdir(dir);
	return code;
}
