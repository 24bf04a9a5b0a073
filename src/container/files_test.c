/* What dockerd 20.10 answers for the same paths was asked over its API; the rows are those answers. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdatomic.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/calls_test.h"
#include "container/files_private.h"
#include "sys/sys.h"

static char top[64]; /* holds root/, the container's, and outside/, which must never change */
static int root, outside;

static void file(int at, const char *name, const char *text)
{
	OK(io_write_file_lazy(at, name, span_of(text), 0644, &err));
}

static int setup(void **state)
{
	umask(022); /* as the engine's */
	snprintf(top, sizeof(top), "/tmp/knarr-files-XXXXXX");
	assert_non_null(mkdtemp(top));
	int fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	OK(io_mkdirs(fd, "root/d/sub", 0755, &err));
	OK(io_mkdirs(fd, "root/e", 0755, &err));
	OK(io_mkdirs(fd, "outside", 0755, &err));
	root = openat(fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	outside = openat(fd, "outside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(fd);
	file(outside, "secret", "secret");
	file(root, "d/f", "x\n");
	static const char *const links[][2] = { { "f", "d/l" }, { "d", "dl" }, { "/d/sub/../../d/f", "abs" }, { "/nosuch/x", "dang" },
		{ "../../../../etc", "up" }, { "loop2", "loop1" }, { "loop1", "loop2" } };
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		assert_int_equal(symlinkat(links[i][0], root, links[i][1]), 0);
	return 0;
}

static int teardown(void **state)
{
	auto_buf struct buf text = {};
	OK(io_read_file(outside, "secret", &text, 100, &err));
	assert_string_equal(buf_cstr(&text), "secret");
	uint64_t entries, bytes;
	OK(snapshot_tree_count(outside, &entries, &bytes, &err));
	assert_int_equal(entries, 1);
	fd_close(&root);
	fd_close(&outside);
	OK(snapshot_tree_remove(AT_FDCWD, top, &err));
	return 0;
}

/* ---- stat and get ---- */

static void names_of(struct span archive, struct buf *out)
{
	struct tar_memory_source m;
	struct tar_reader *r = NULL;
	const struct tar_entry *e;
	int rc;
	auto_err struct err err = ERR_INIT;
	tar_memory_source_init(&m, archive);
	tar_reader_new(&m.source, NULL, &r);
	while ((rc = tar_next(r, &e, &err)) > 0)
		buf_printf(out, "%.*s%s%.*s|", SPAN_ARG(e->path), e->link.len ? ">" : "", SPAN_ARG(e->link));
	if (rc < 0)
		fail_msg("%s", err_msg(&err));
	tar_reader_free(r);
}

static int by_name(const void *a, const void *b)
{
	return span_cmp(*(const struct span *)a, *(const struct span *)b);
}

/* "b|a|" → "a|b|": the order of a folder's entries is the file system's. */
static void sorted(struct buf *text)
{
	auto_buf struct buf out = {};
	struct span parts[64], rest = buf_span(text);
	size_t n = 0;
	while (n < ARRAY_LEN(parts) && span_cut(&rest, '|', &parts[n]))
		n++;
	if (n)
		qsort(parts, n, sizeof(*parts), by_name);
	for (size_t i = 0; i < n; i++) {
		buf_span_add(&out, parts[i]);
		buf_chr(&out, '|');
	}
	buf_trunc(text, 0);
	buf_span_add(text, buf_span(&out));
}

static void test_get(void **state)
{
	static const struct {
		const char *path, *name;
		uint32_t mode;
		const char *link, *entries;
	} rows[] = {
		{ "/d", "d", 2147484141, "", "d/f|d/l>f|d/sub/|d/|" },
		{ "/d/", "d", 2147484141, "", "d/f|d/l>f|d/sub/|d/|" },
		{ "/d/.", ".", 2147484141, "", "./f|./l>f|./sub/|./|" },
		{ "//d/./sub/..", "d", 2147484141, "", "d/f|d/l>f|d/sub/|d/|" },
		{ "dl", "dl", 134218239, "/d", "dl>d|" },
		{ "/dl/", "dl", 2147484141, "", "dl/f|dl/l>f|dl/sub/|dl/|" },
		{ "/dl/.", ".", 2147484141, "", "./f|./l>f|./sub/|./|" },
		{ "/dl/f", "f", 420, "", "f|" },
		{ "/d/f", "f", 420, "", "f|" },
		{ "/abs", "abs", 134218239, "/d/f", "abs>/d/sub/../../d/f|" },
		{ "/dang", "dang", 134218239, "/nosuch/x", "dang>/nosuch/x|" },
		{ "/up", "up", 134218239, "/etc", "up>../../../../etc|" },
		{ "/dl/l", "l", 134218239, "/d/f", "l>f|" },
		{ "/loop1", "loop1", 134218239, "", "loop1>loop2|" },
		{ "/", "/", 2147484141, "",
			"/abs>/d/sub/../../d/f|/d/f|/d/l>f|/d/sub/|/d/|/dang>/nosuch/x|/dl>d|/e/|/loop1>loop2|/loop2>loop1|/up>../../../../etc|/|" },
		{ ".", ".", 2147484141, "",
			"./abs>/d/sub/../../d/f|./d/f|./d/l>f|./d/sub/|./d/|./dang>/nosuch/x|./dl>d|./e/|./loop1>loop2|./loop2>loop1|./up>../../../../etc|./|" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct container_files_stat st;
		OK(container_files_stat(root, "c2", span_of(rows[i].path), &a, &st, &err));
		if (!span_is(st.name, rows[i].name) || st.mode != rows[i].mode || !span_is(st.link, rows[i].link))
			fail_msg("%s: \"%.*s\" %u \"%.*s\"", rows[i].path, SPAN_ARG(st.name), st.mode, SPAN_ARG(st.link));
		auto_buf struct buf archive = {}, names = {}, want = {};
		struct tar_buf_sink sink;
		tar_buf_sink_init(&sink, &archive);
		OK(container_files_get(root, "c2", span_of(rows[i].path), &sink.sink, NULL, NULL, &err));
		names_of(buf_span(&archive), &names);
		buf_str(&want, rows[i].entries);
		sorted(&names);
		sorted(&want);
		assert_string_equal(buf_cstr(&names), buf_cstr(&want));
	}
	auto_arena struct arena a = {};
	struct container_files_stat st;
	FAILS(ERR_NOT_FOUND, "Could not find the file /nosuch/x in container c2", container_files_stat(root, "c2", SPAN("/nosuch/x"), &a, &st, &err));
	FAILS(ERR_NOT_FOUND, "Could not find the file /up/passwd in container c2", container_files_stat(root, "c2", SPAN("/up/passwd"), &a, &st, &err));
	FAILS(ERR_IO, "/d/f/: Not a directory", container_files_stat(root, "c2", SPAN("/d/f/"), &a, &st, &err));
	FAILS(ERR_INVALID_REQUEST, "cannot be empty", container_files_stat(root, "c2", SPAN(""), &a, &st, &err));
	FAILS(ERR_IO, "/loop1/", container_files_stat(root, "c2", SPAN("/loop1/"), &a, &st, &err));
	OK(container_files_stat(root, "c2", SPAN("/dl"), &a, &st, &err));
	st.mtime = (struct timespec){ 1000000, 500 };
	auto_buf struct buf head = {};
	container_files_stat_write(&st, &head);
	assert_string_equal(buf_cstr(&head), "{\"name\":\"dl\",\"size\":1,\"mode\":134218239,\"mtime\":\"1970-01-12T13:46:40.0000005Z\",\"linkTarget\":\"/d\"}");
}

/* ---- put ---- */

/* "d PATH", "f PATH TEXT", "s PATH TARGET", "h PATH TARGET", "p PATH"; one a line */
static void archive_make(struct buf *out, const char *lines)
{
	struct tar_buf_sink sink;
	struct tar_writer w;
	tar_buf_sink_init(&sink, out);
	tar_writer_init(&w, &sink.sink);
	struct span rest = span_of(lines), line, kind, path, arg, tail;
	while (span_cut(&rest, '\n', &line)) {
		(void)span_split(line, ' ', &kind, &tail); /* the texts are ours */
		(void)span_split(tail, ' ', &path, &arg);
		struct tar_entry e = { .path = path, .mode = 0640, .uid = 12, .gid = 34, .mtime = { 1000000, 0 }, .atime.tv_nsec = UTIME_OMIT,
			.ctime.tv_nsec = UTIME_OMIT };
		switch (kind.ptr[0]) {
		case 'd': e.kind = TAR_DIR; e.mode = 0750; break;
		case 'f': e.kind = TAR_FILE; e.size = arg.len; e.mode = 04755; break;
		case 's': e.kind = TAR_SYMLINK; e.link = arg; break;
		case 'h': e.kind = TAR_HARDLINK; e.link = arg; break;
		default: e.kind = TAR_FIFO;
		}
		OK(tar_write(&w, &e, &err));
		if (e.kind == TAR_FILE && arg.len)
			OK(tar_write_data(&w, arg, &err));
	}
	OK(tar_write_end(&w, &err));
	tar_writer_done(&w);
}

static int put(const char *path, const char *lines, struct container_files_put how, struct err *err)
{
	auto_buf struct buf archive = {};
	struct tar_memory_source m;
	archive_make(&archive, lines);
	tar_memory_source_init(&m, buf_span(&archive));
	return container_files_put(root, "c2", span_of(path), &m.source, &how, err);
}

static const struct container_files_put plain;

static void holds(const char *name, const char *want)
{
	auto_buf struct buf text = {};
	OK(io_read_file(root, name, &text, 1000, &err));
	assert_string_equal(buf_cstr(&text), want);
}

static void test_put(void **state)
{
	const struct container_files_put careful = { .no_overwrite_dir_non_dir = true };
	struct stat st;
	if (geteuid() != 0)
		skip();
	OK(put("/e", "d new\nf new/a one\nf b two\ns link b\nh hard new/a\np fifo\nf new/deep/er/c three", plain, &err));
	holds("e/hard", "one");
	holds("e/link", "two");
	holds("e/new/deep/er/c", "three");
	assert_int_equal(fstatat(root, "e/new/a", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 04755);
	assert_int_equal(st.st_uid * 100 + st.st_gid, 1234);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(st.st_mtime, 1000000);
	assert_int_equal(fstatat(root, "e/new", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(st.st_mtime, 1000000); /* set when all was there */
	assert_int_equal(fstatat(root, "e/new/deep", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	/* Through links of the container, as dockerd: inside of its root. */
	OK(put("/dl", "f sub/x four\nf ./f five", plain, &err));
	holds("d/sub/x", "four");
	holds("d/f", "five");
	FAILS(ERR_NOT_FOUND, "Could not find the file /nosuch in container c2", put("/nosuch", "f a b", plain, &err));
	FAILS(ERR_INVALID_REQUEST, "extraction point is not a directory", put("/d/f", "f a b", plain, &err));
	FAILS(ERR_INVALID_REQUEST, "cannot overwrite directory \"/d/sub\" with non-directory \"/d\"", put("/d", "f sub x", careful, &err));
	FAILS(ERR_INVALID_REQUEST, "cannot overwrite non-directory \"/d/f\" with directory \"/d\"", put("/d", "d f", careful, &err));
	OK(put("/d", "f sub six", plain, &err)); /* without the flag it is replaced */
	holds("d/sub", "six");
	FAILS(ERR_FORBIDDEN, "container rootfs is marked read-only", put("/d", "f a b", (struct container_files_put){ .root_read_only = true }, &err));
	OK(put("/e", "f mine x\nd minedir", (struct container_files_put){ .chown = true, .uid = 7, .gid = 8 }, &err));
	assert_int_equal(fstatat(root, "e/mine", &st, 0), 0);
	assert_int_equal(st.st_uid * 100 + st.st_gid, 708);
	/* the same file again: a hard link to itself keeps it */
	OK(put("/e", "h hard new/a", plain, &err));
	holds("e/hard", "one");
}

/* What an archive may try. */
static void test_escapes(void **state)
{
	if (geteuid() != 0)
		skip();
	char host[128], lines[400];
	snprintf(host, sizeof(host), "%s/outside", top);
	FAILS(ERR_INVALID_REQUEST, "outside of the folder", put("/e", "f ../x y", plain, &err));
	FAILS(ERR_INVALID_REQUEST, "outside of the folder", put("/e", "f a/../../../../tmp/x y", plain, &err));
	FAILS(ERR_INVALID_REQUEST, "outside of the folder", put("/e", "h x ../../outside/secret", plain, &err));
	/* a link out of the root, then a file through it: lands inside of the root, or nowhere */
	snprintf(lines, sizeof(lines), "s out %s\nf out/secret changed", host);
	FAILS(ERR_IO, "/e/out: Not a directory", put("/e", lines, plain, &err)); /* there is no such folder inside */
	OK(io_mkdirs(root, "outside", 0755, &err));
	OK(put("/e", "s climb ../../../../../../outside\nf climb/secret changed", plain, &err));
	holds("outside/secret", "changed"); /* in the container's root */
	snprintf(lines, sizeof(lines), "s over %s/secret\nf over changed", host);
	OK(put("/e", lines, plain, &err)); /* the link itself is replaced */
	holds("e/over", "changed");
	snprintf(lines, sizeof(lines), "h hard %s/secret", host);
	FAILS(ERR_NOT_FOUND, "", put("/e", lines, plain, &err));
	/* the extraction point is a link out of the root */
	assert_int_equal(symlinkat(host, root, "point"), 0);
	FAILS(ERR_NOT_FOUND, "Could not find the file /point", put("/point", "f secret changed", plain, &err));
	assert_int_equal(symlinkat("/proc/self/root", root, "magic"), 0);
	FAILS(ERR_NOT_FOUND, "Could not find", put("/magic", "f secret changed", plain, &err));
}

/* CVE-2018-15664: a process in the container swaps a folder with a link to the host's while files go in and out. */
static void *swapper(void *arg)
{
	atomic_bool *stop = arg;
	while (!atomic_load(stop)) {
		(void)renameat2(root, "swap", root, "bait", RENAME_EXCHANGE); /* both names are always there */
		sched_yield();
	}
	return NULL;
}

static void test_race(void **state)
{
	if (geteuid() != 0)
		skip();
	atomic_bool stop = false;
	pthread_t thread;
	char host[128];
	snprintf(host, sizeof(host), "%s/outside", top);
	assert_int_equal(mkdirat(root, "swap", 0755), 0);
	assert_int_equal(symlinkat(host, root, "bait"), 0);
	file(root, "swap/secret", "inside");
	assert_int_equal(pthread_create(&thread, NULL, swapper, &stop), 0);
	int went = 0;
	for (int i = 0; i < 1500; i++) {
		/* Any outcome is right that leaves the host alone, which teardown looks at, and shows nothing of it. */
		went += put("/swap", "f secret inside\nd sub\nf sub/x y\ns sub/l x", plain, NULL) == 0;
		auto_buf struct buf archive = {};
		struct tar_buf_sink sink;
		tar_buf_sink_init(&sink, &archive);
		(void)container_files_get(root, "c2", SPAN("/swap/secret"), &sink.sink, NULL, NULL, NULL);
		(void)container_files_get(root, "c2", SPAN("/swap/"), &sink.sink, NULL, NULL, NULL);
		if (span_find(buf_span(&archive), SPAN("secretsecret")) >= 0 || (archive.len > 520 && !memcmp(archive.ptr + 512, "secret", 6)))
			fail_msg("the host's file was read");
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	assert_true(went > 0);
	/* what was put through the link landed at the same path inside */
	OK(snapshot_tree_remove(root, "tmp", &err));
}

/* ---- roots ---- */

/* Those beneath our folder: others mount too while we look. */
static unsigned count_mounts(void)
{
	auto_buf struct buf text = {};
	struct span rest, line;
	unsigned n = 0;
	OK(io_read_file(AT_FDCWD, "/proc/self/mountinfo", &text, 4 << 20, &err));
	for (rest = buf_span(&text); span_cut(&rest, '\n', &line);)
		n += span_has(line, span_of(top));
	return n;
}

static void test_stopped(void **state)
{
	if (geteuid() != 0)
		skip();
	auto_arena struct arena a = {};
	struct snapshot_store *s = NULL;
	const char *store = arena_printf(&a, "%s/store", top).ptr, *scratch = arena_printf(&a, "%s/scratch", top).ptr,
		   *volume = arena_printf(&a, "%s/volume", top).ptr;
	const struct snapshot_params p = { .dir = store };
	struct snapshot_pending *pending = NULL;
	auto_buf struct buf layer = {};
	struct tar_memory_source m;
	char chain[SNAPSHOT_CHAIN_LEN + 1];
	memset(chain, 'a', SNAPSHOT_CHAIN_LEN);
	chain[SNAPSHOT_CHAIN_LEN] = 0;
	OK(snapshot_open(&p, &s, &err));
	archive_make(&layer, "d etc\nf etc/name image\nd data\ns jump /../../..");
	tar_memory_source_init(&m, buf_span(&layer));
	OK(snapshot_unpack(s, "", &m.source, &pending, NULL, &err));
	OK(snapshot_unpack_commit(pending, chain, "", &err));
	OK(snapshot_prepare(s, "c1", chain, &err));
	OK(io_mkdirs(AT_FDCWD, scratch, 0700, &err));
	OK(io_mkdirs(AT_FDCWD, volume, 0755, &err));
	const struct container_files_mount mounts[] = { { volume, "/data", false }, { volume, "/made/here", true } };
	int saved = root;
	OK(root = container_files_stopped(s, "c1", scratch, "/work/here", mounts, 2, &err));
	assert_int_equal(count_mounts(), 0); /* nobody sees it */
	OK(put("/etc", "f name changed\nf added here", plain, &err));
	OK(put("/data", "f in volume", plain, &err));
	OK(put("/jump/etc", "f jumped inside", plain, &err));
	FAILS(ERR_FORBIDDEN, "mounted volume is marked read-only", put("/made/here", "f x y", plain, &err));
	struct container_files_stat st;
	OK(container_files_stat(root, "c1", SPAN("/made/here/in"), &a, &st, &err));
	OK(container_files_stat(root, "c1", SPAN("/jump"), &a, &st, &err));
	assert_true(span_is(st.link, "/"));
	auto_buf struct buf archive = {}, names = {};
	struct tar_buf_sink sink;
	tar_buf_sink_init(&sink, &archive);
	OK(container_files_export(root, &sink.sink, &err)); /* without the volumes */
	names_of(buf_span(&archive), &names);
	sorted(&names);
	assert_string_equal(buf_cstr(&names), "data/|etc/|etc/added|etc/jumped|etc/name|jump>/../../..|made/|made/here/|work/|work/here/|");
	fd_close(&root);
	root = saved;
	/* the container's own layer has it, the volume what went there */
	struct snapshot_changes changes;
	OK(snapshot_changes(s, "c1", NULL, &changes, &err));
	assert_int_equal(changes.n, 8); /* A /etc/added, A /etc/jumped, C /etc/name, C /etc, A /made, A /made/here, A /work, A /work/here */
	snapshot_changes_done(&changes);
	auto_buf struct buf text = {};
	OK(io_read_file(AT_FDCWD, arena_printf(&a, "%s/in", volume).ptr, &text, 100, &err));
	assert_string_equal(buf_cstr(&text), "volume");
	OK(snapshot_remove(s, "c1", &err));
	snapshot_close(s);
}

static void test_running(void **state)
{
	if (geteuid() != 0)
		skip();
	char path[80];
	int ready[2];
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	snprintf(path, sizeof(path), "%s/root", top);
	pid_t pid = fork();
	if (pid == 0) { /* a process with a root and mounts of its own, as a container's */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount(path, path, NULL, MS_BIND, NULL) < 0 ||
		    chdir(path) < 0 || mount("tmpfs", "e", "tmpfs", 0, NULL) < 0 || sys_pivot_root(".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
		    chdir("/") < 0 || write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	char c;
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	auto_fd int pidfd = sys_pidfd_open(pid, 0);
	int saved = root;
	root = container_files_running(pid, pidfd, NULL);
	assert_true(root >= 0);
	OK(put("/e", "f only tmpfs", plain, &err));
	OK(put("/d", "f f root", plain, &err));
	holds("e/only", "tmpfs");
	auto_arena struct arena a = {};
	struct container_files_stat st;
	OK(container_files_stat(root, "c", SPAN("/abs"), &a, &st, &err));
	assert_true(span_is(st.link, "/d/f"));
	OK(container_files_stat(root, "c", SPAN("/dl/l"), &a, &st, &err));
	assert_true(span_is(st.link, "/d/f"));
	FAILS(ERR_NOT_FOUND, "", container_files_stat(root, "c", SPAN("/up/passwd"), &a, &st, &err));
	fd_close(&root);
	root = saved;
	assert_int_equal(faccessat(root, "e/only", F_OK, 0), -1); /* it is in the mount that only the process sees */
	holds("d/f", "root");
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	FAILS(ERR_GONE, "has ended", container_files_running(pid, pidfd, &err));
	close(ready[0]);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_get), TEST(test_put), TEST(test_escapes), TEST(test_race), TEST(test_stopped),
		TEST(test_running) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
