#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/calls_test.h"
#include "logs/private.h"

static char dir[64];
static int at;

static int dir_make(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/knarr-logs-XXXXXX");
	assert_non_null(mkdtemp(dir));
	at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(at >= 0);
	return 0;
}

static int dir_drop(void **state)
{
	fail_arm("");
	(void)unlinkat(at, "l.gz.tmp", 0);
	for (int i = 0; i < 40; i++) {
		char name[16];
		snprintf(name, sizeof(name), "l.%d", i);
		(void)unlinkat(at, i ? name : "l", 0); /* most are not there */
		snprintf(name, sizeof(name), "l.%d.gz", i);
		(void)unlinkat(at, name, 0);
	}
	fd_close(&at);
	assert_int_equal(rmdir(dir), 0);
	return 0;
}

static void append(const char *name, const char *text, size_t len)
{
	auto_fd int fd = openat(at, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	OK(io_write_all(fd, text, len, &err));
}

/* Record i at second i, text "lineI\n"; even ones on stdout. */
static void line_put(const char *name, enum logs_format format, int i)
{
	char text[200], stamp[40];
	time_format(stamp, 1000000 + i, i, 9);
	const char *stream = i % 2 ? "stderr" : "stdout";
	int n = format == LOGS_DOCKER
			? snprintf(text, sizeof(text), "{\"log\":\"line%d\\n\",\"stream\":\"%s\",\"time\":\"%s\"}\n", i, stream, stamp)
			: snprintf(text, sizeof(text), "%s %s F line%d\n", stamp, stream, i);
	append(name, text, (size_t)n);
}

static void piece_put(const char *name, const char *text, const char *stream)
{
	auto_buf struct buf line = {};
	buf_printf(&line, "{\"log\":\"%s\",\"stream\":\"%s\",\"time\":\"2026-11-21T09:30:00.5Z\"}\n", text, stream);
	append(name, line.ptr, line.len);
}

static void rotate(int files)
{
	for (int i = files - 1; i > 0; i--) {
		char from[16], to[16];
		snprintf(to, sizeof(to), "l.%d", i);
		snprintf(from, sizeof(from), "l.%d", i - 1);
		if (renameat(at, i == 1 ? "l" : from, at, to) < 0)
			assert_int_equal(errno, ENOENT);
	}
}

static struct logs_reader *opened(struct logs_params p)
{
	struct logs_reader *r = NULL;
	p.dir = at;
	p.name = "l";
	OK(logs_open(&p, &r, &err));
	return r;
}

/* What there is, as "text|text|"; "\n" as "$". */
static void is_read(struct logs_reader *r, const char *want)
{
	auto_buf struct buf got = {};
	struct logs_record rec;
	int rc;
	auto_err struct err err = ERR_INIT;
	while ((rc = logs_next(r, &rec, &err)) > 0) {
		buf_span_add(&got, rec.text);
		buf_chr(&got, '|');
	}
	if (rc < 0)
		fail_msg("%s", err_msg(&err));
	for (size_t i = 0; i < got.len; i++)
		got.ptr[i] = got.ptr[i] == '\n' ? '$' : got.ptr[i];
	assert_string_equal(buf_cstr(&got), want);
}

static void read_is(struct logs_params p, const char *want)
{
	struct logs_reader *r = opened(p);
	is_read(r, want);
	logs_close(r);
}

static void test_records(void **state)
{
	static const struct {
		enum logs_format format;
		const char *line, *text; /* NULL = torn */
		int stream;
		bool partial;
		int64_t ns;
	} rows[] = {
		{ LOGS_DOCKER, "{\"log\":\"a\\u003c\\\"\\\\\\r\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:01.5Z\"}", "a<\"\\\r\n", 1, false, 1500000000 },
		{ LOGS_DOCKER, "{\"log\":\"\\ud83d\\ude00\\u2028\",\"stream\":\"stderr\",\"time\":\"1970-01-01T00:00:00.000000001Z\"}",
			"\xf0\x9f\x98\x80\xe2\x80\xa8", 2, true, 1 },
		{ LOGS_DOCKER, "{\"stream\":\"stdout\",\"attrs\":{\"k\":\"v\"},\"log\":\"x\\n\",\"time\":\"1970-01-01T01:00:00+01:00\"}", "x\n", 1, false, 0 },
		{ LOGS_DOCKER, "{\"log\":\"\\u0000\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:00Z\"}", "", 1, true, 0 },
		{ LOGS_DOCKER, "{\"log\":\"x\\n\",\"stream\":\"stdin\",\"time\":\"1970-01-01T00:00:00Z\"}", NULL, 0, false, 0 },
		{ LOGS_DOCKER, "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"yesterday\"}", NULL, 0, false, 0 },
		{ LOGS_DOCKER, "{\"log\":\"x\\n\",\"stream\":\"std", NULL, 0, false, 0 },
		{ LOGS_DOCKER, "\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:00Z\"}", NULL, 0, false, 0 },
		{ LOGS_DOCKER, "", NULL, 0, false, 0 },
		{ LOGS_CRI, "1970-01-01T00:00:01.000000000Z stdout F a b", "a b\n", 1, false, NS_PER_S },
		{ LOGS_CRI, "1970-01-01T00:00:01.000000000Z stderr P a b", "a b", 2, true, NS_PER_S },
		{ LOGS_CRI, "1970-01-01T00:00:01.000000000Z stdout F:x:y ", "\n", 1, false, NS_PER_S },
		{ LOGS_CRI, "1970-01-01T00:00:01.000000000Z stdout F", "\n", 1, false, NS_PER_S },
		{ LOGS_CRI, "1970-01-01T00:00:01.000000000Z stdout Q a", NULL, 0, false, 0 },
		{ LOGS_CRI, "1970-01-01T00:00:01.0", NULL, 0, false, 0 },
	};
	auto_buf struct buf scratch = {};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct logs_record r;
		bool ok = logs_record_parse(rows[i].format, span_of(rows[i].line), &scratch, &r);
		if (ok != (rows[i].text != NULL))
			fail_msg("%s: %s", rows[i].line, ok ? "accepted" : "refused");
		/* the 0 byte's row compares one byte */
		if (ok && (!span_eq(r.text, i == 3 ? span_make("", 1) : span_of(rows[i].text)) || r.stream != rows[i].stream ||
				  r.partial != rows[i].partial || r.time_ns != rows[i].ns))
			fail_msg("%s: got \"%.*s\" %d %d %lld", rows[i].line, SPAN_ARG(r.text), r.stream, r.partial, (long long)r.time_ns);
	}
	char stamp[40];
	assert_int_equal(logs_stamp(stamp, 1500000000), 31);
	assert_string_equal(stamp, "1970-01-01T00:00:01.500000000Z ");
	int64_t ns;
	OK(logs_time_parse(SPAN("1700000000.5"), &ns, &err));
	assert_int_equal(ns, 1700000000500000000);
	OK(logs_time_parse(SPAN("7"), &ns, &err));
	assert_int_equal(ns, 7 * NS_PER_S);
	FAILS(ERR_INVALID_REQUEST, "strconv.ParseInt: parsing \"abc\": invalid syntax", logs_time_parse(SPAN("abc"), &ns, &err));
}

static void test_whole(void **state)
{
	for (int format = 0; format < 2; format++) {
		enum logs_format f = (enum logs_format)format;
		read_is((struct logs_params){ .format = f, .tail = -1 }, "");
		read_is((struct logs_params){ .format = f, .tail = 3 }, "");
		line_put("l.4", f, 0); /* a gap in the numbers: a rotation that a crash cut short */
		line_put("l.2", f, 1);
		line_put("l.2", f, 2);
		line_put("l.1", f, 3);
		line_put("l", f, 4);
		line_put("l", f, 5);
		append("l", "half a rec", 10);
		append("l.x", "", 0);
		read_is((struct logs_params){ .format = f, .tail = -1 }, "line0$|line1$|line2$|line3$|line4$|line5$|");
		read_is((struct logs_params){ .format = f, .tail = 0 }, "");
		read_is((struct logs_params){ .format = f, .tail = 1 }, "line5$|");
		read_is((struct logs_params){ .format = f, .tail = 3 }, "line3$|line4$|line5$|");
		read_is((struct logs_params){ .format = f, .tail = 5 }, "line1$|line2$|line3$|line4$|line5$|");
		read_is((struct logs_params){ .format = f, .tail = 100 }, "line0$|line1$|line2$|line3$|line4$|line5$|");
		read_is((struct logs_params){ .format = f, .tail = -1, .streams = LOGS_STDERR }, "line1$|line3$|line5$|");
		/* the last two lines, of which one is of that stream: as Docker counts */
		read_is((struct logs_params){ .format = f, .tail = 2, .streams = LOGS_STDERR }, "line5$|");
		read_is((struct logs_params){ .format = f, .tail = -1, .since_ns = 1000002 * NS_PER_S, .until_ns = 1000004 * NS_PER_S }, "line2$|line3$|");
		assert_int_equal(unlinkat(at, "l.x", 0), 0);
		for (int i = 0; i < 5; i++) {
			char name[8];
			snprintf(name, sizeof(name), "l.%d", i);
			(void)unlinkat(at, i ? name : "l", 0); /* l.3 is not there */
		}
	}
}

static void test_pieces(void **state)
{
	line_put("l", LOGS_DOCKER, 1);
	piece_put("l", "one ", "stdout");
	piece_put("l", "two ", "stdout");
	piece_put("l", "three\\n", "stdout");
	read_is((struct logs_params){ .tail = 1 }, "one |two |three$|");
	read_is((struct logs_params){ .tail = 2 }, "line1$|one |two |three$|");
	piece_put("l", "prompt> ", "stdout"); /* no line end yet: a line of its own */
	read_is((struct logs_params){ .tail = 1 }, "prompt> |");
	read_is((struct logs_params){ .tail = 2 }, "one |two |three$|prompt> |");
}

/* Records as long as they may be, lines that are none, around the window's edges. */
static void test_long(void **state)
{
	auto_buf struct buf text = {};
	for (int i = 0; i < 12; i++) {
		size_t pieces = i % 3 == 1 ? 16384 : 10;
		buf_printf(&text, "{\"log\":\"%d", i);
		for (size_t k = 0; k < pieces; k++)
			buf_str(&text, "\\u0001");
		buf_str(&text, "\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T09:30:00Z\"}\n");
		for (size_t k = 0; i == 5 && k < 3 * LOGS_RECORD_MAX + 77; k++)
			buf_chr(&text, 'x');
		if (i == 5)
			buf_chr(&text, '\n');
	}
	append("l", text.ptr, text.len);
	for (int tail = 0; tail <= 13; tail++) {
		struct logs_reader *r = opened((struct logs_params){ .tail = tail == 13 ? -1 : tail });
		struct logs_record rec;
		int64_t first = -1, n = 0;
		while (logs_next(r, &rec, NULL) == 1) {
			struct span digits = rec.text, rest;
			int64_t number = -1;
			assert_true(span_split(rec.text, 1, &digits, &rest) && span_to_i64(digits, &number));
			if (first < 0)
				first = number;
			assert_int_equal(number, first + n);
			n++;
			assert_int_equal(rec.text.len, (size_t)((number % 3 == 1 ? 16384 : 10) + (number < 10 ? 2 : 3)));
		}
		assert_int_equal(n, MIN(tail, 12));
		assert_int_equal(logs_torn(r), n >= 6 ? 1 : 0);
		logs_close(r);
	}
}

/* A reader that stands somewhere while the log is rotated under it, also several times. */
static void test_rotation(void **state)
{
	line_put("l", LOGS_DOCKER, 0);
	struct logs_reader *r = opened((struct logs_params){ .tail = -1 });
	is_read(r, "line0$|");
	line_put("l", LOGS_DOCKER, 1); /* written and then rotated: read all the same */
	rotate(3);
	is_read(r, "line1$|"); /* between two renames there is no current file */
	line_put("l", LOGS_DOCKER, 2);
	is_read(r, "line2$|");
	for (int i = 3; i < 6; i++) {
		rotate(10);
		line_put("l", LOGS_DOCKER, i);
	}
	is_read(r, "line3$|line4$|line5$|");
	/* So many that those it had not read are gone: it goes on with the oldest that is there. */
	for (int i = 6; i < 12; i++) {
		rotate(3);
		line_put("l", LOGS_DOCKER, i);
	}
	for (int i = 3; i < 12; i++) {
		char name[8];
		snprintf(name, sizeof(name), "l.%d", i);
		(void)unlinkat(at, name, 0); /* left from the ten before */
	}
	is_read(r, "line9$|line10$|line11$|");
	/* max_files 1: the file is emptied. */
	auto_fd int current = openat(at, "l", O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(current >= 0);
	line_put("l", LOGS_DOCKER, 7);
	is_read(r, "line7$|");
	append("l", "{\"log\":\"to", 10);
	is_read(r, "");
	rotate(3);
	line_put("l", LOGS_DOCKER, 8);
	is_read(r, "line8$|");
	assert_int_equal(logs_torn(r), 1);
	logs_close(r);
}

/* ---- compressed ---- */

static atomic_bool stop;

static bool there(const char *name)
{
	return faccessat(at, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void compress_all(int want)
{
	int n = 0, rc;
	auto_err struct err err = ERR_INIT;
	while ((rc = logs_compress(at, "l", &stop, &err)) > 0)
		n++;
	if (rc < 0)
		fail_msg("%s", err_msg(&err));
	assert_int_equal(n, want);
	assert_false(there("l.gz.tmp"));
}

static void move(const char *from, const char *to)
{
	assert_int_equal(renameat(at, from, at, to), 0);
}

static void six_lines(enum logs_format f)
{
	line_put("l.4", f, 0);
	line_put("l.2", f, 1);
	line_put("l.2", f, 2);
	line_put("l.1", f, 3);
	line_put("l", f, 4);
	line_put("l", f, 5);
}

/* As test_whole: it makes no difference. */
static void test_compressed(void **state)
{
	for (int format = 0; format < 2; format++) {
		enum logs_format f = (enum logs_format)format;
		six_lines(f);
		struct logs_reader *early = opened((struct logs_params){ .format = f, .tail = 4 });
		compress_all(3);
		assert_true(there("l") && there("l.1.gz") && there("l.2.gz") && there("l.4.gz"));
		assert_false(there("l.1") || there("l.2") || there("l.4"));
		is_read(early, "line2$|line3$|line4$|line5$|");
		logs_close(early);
		compress_all(0);
		read_is((struct logs_params){ .format = f, .tail = -1 }, "line0$|line1$|line2$|line3$|line4$|line5$|");
		read_is((struct logs_params){ .format = f, .tail = 0 }, "");
		read_is((struct logs_params){ .format = f, .tail = 2 }, "line4$|line5$|");
		read_is((struct logs_params){ .format = f, .tail = 3 }, "line3$|line4$|line5$|");
		read_is((struct logs_params){ .format = f, .tail = 4 }, "line2$|line3$|line4$|line5$|");
		read_is((struct logs_params){ .format = f, .tail = 5 }, "line1$|line2$|line3$|line4$|line5$|");
		read_is((struct logs_params){ .format = f, .tail = 100 }, "line0$|line1$|line2$|line3$|line4$|line5$|");
		read_is((struct logs_params){ .format = f, .tail = 4, .streams = LOGS_STDERR }, "line3$|line5$|");
		read_is((struct logs_params){ .format = f, .tail = -1, .since_ns = 1000002 * NS_PER_S, .until_ns = 1000004 * NS_PER_S }, "line2$|line3$|");
		/* A file that was written last before since is not even opened, also when lines are counted. */
		const struct timespec old[2] = { { .tv_sec = 5 }, { .tv_sec = 5 } };
		assert_int_equal(utimensat(at, "l.2.gz", old, 0), 0);
		read_is((struct logs_params){ .format = f, .tail = 5, .since_ns = 1000003 * NS_PER_S }, "line3$|line4$|line5$|");
		/* The newest is compressed: nothing was written behind it yet. Its last record is a piece of a line. */
		assert_int_equal(unlinkat(at, "l", 0), 0);
		read_is((struct logs_params){ .format = f, .tail = 0 }, "");
		read_is((struct logs_params){ .format = f, .tail = 2 }, "line2$|line3$|");
		for (int i = 0; i < 5; i++) {
			char name[8];
			snprintf(name, sizeof(name), "l.%d.gz", i);
			(void)unlinkat(at, name, 0); /* l.0.gz and l.3.gz are not there */
		}
	}
}

static void test_compressed_pieces(void **state)
{
	line_put("l.3", LOGS_DOCKER, 0);
	piece_put("l.3", "one ", "stdout");
	piece_put("l.2", "two ", "stdout");
	piece_put("l.1", "three\\n", "stdout");
	piece_put("l.1", "prompt> ", "stdout");
	line_put("l", LOGS_DOCKER, 9);
	compress_all(3);
	read_is((struct logs_params){ .tail = 2 }, "one |two |three$|prompt> |line9$|");
	assert_int_equal(unlinkat(at, "l", 0), 0);
	read_is((struct logs_params){ .tail = 0 }, "");
	read_is((struct logs_params){ .tail = 1 }, "prompt> |");
	read_is((struct logs_params){ .tail = 2 }, "one |two |three$|prompt> |");
	read_is((struct logs_params){ .tail = 3 }, "line0$|one |two |three$|prompt> |");
}

/* What a crash leaves at each step of compression, and what a rotation makes of it. */
static void test_compression_cut_off(void **state)
{
	static const char all[] = "line0$|line1$|line2$|line3$|line4$|line5$|";
	static const char *const points[] = { "begin", "written", "synced", "renamed", "removed" };
	six_lines(LOGS_DOCKER);
	compress_all(3);
	for (size_t i = 0; i < ARRAY_LEN(points); i++) {
		/* by hand what the process that died leaves: in a child, so that it is what really happens */
		assert_int_equal(unlinkat(at, "l.1.gz", 0), 0);
		line_put("l.1", LOGS_DOCKER, 3);
		pid_t pid = fork();
		if (pid == 0) {
			char spec[64];
			snprintf(spec, sizeof(spec), "logs.compress.%s=exit:9", points[i]);
			fail_arm(spec);
			(void)logs_compress(at, "l", &stop, NULL);
			_exit(0);
		}
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(WEXITSTATUS(status), 9);
		assert_int_equal(there("l.gz.tmp"), i == 1 || i == 2);
		assert_int_equal(there("l.1"), i < 4);
		assert_int_equal(there("l.1.gz"), i >= 3);
		read_is((struct logs_params){ .tail = -1 }, all);
		read_is((struct logs_params){ .tail = 3 }, "line3$|line4$|line5$|");
		compress_all(i < 4);
		assert_true(there("l.1.gz") && !there("l.1"));
		read_is((struct logs_params){ .tail = -1 }, all);
	}
}

static void test_compression_gives_way(void **state)
{
	line_put("l.1", LOGS_DOCKER, 1);
	/* The log has no current file: the rotated one may still be written to. */
	compress_all(0);
	assert_true(there("l.1"));
	line_put("l", LOGS_DOCKER, 2);
	/* Somebody has the lock for long. */
	auto_fd int lock = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(lock, LOCK_EX), 0);
	FAILS(ERR_IO, "compressing log l: lock the folder", logs_compress(at, "l", &stop, &err));
	assert_true(there("l.1") && !there("l.1.gz") && !there("l.gz.tmp"));
	fd_close(&lock);
	/* It is given up. */
	atomic_store(&stop, true);
	FAILS(ERR_CANCELLED, "given up", logs_compress(at, "l", &stop, &err));
	atomic_store(&stop, false);
	assert_true(there("l.1") && !there("l.gz.tmp"));
	/* What is no file of ours. */
	assert_int_equal(symlinkat("/etc/passwd", at, "l.2"), 0);
	assert_true(logs_compress(at, "l", &stop, NULL) == 1 && logs_compress(at, "l", &stop, NULL) < 0);
	assert_true(there("l.1.gz") && there("l.2"));
	assert_int_equal(unlinkat(at, "l.2", 0), 0);
	read_is((struct logs_params){ .tail = -1 }, "line1$|line2$|");
	/* Time and mode are the plain file's. */
	struct stat a, b;
	move("l", "l.2");
	line_put("l", LOGS_DOCKER, 3);
	assert_int_equal(fstatat(at, "l.2", &a, 0), 0);
	compress_all(1);
	assert_int_equal(fstatat(at, "l.2.gz", &b, 0), 0);
	assert_int_equal(a.st_mode, b.st_mode);
	assert_true(a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec);
}

/* A reader stands in a file that is rotated and compressed behind its back, among files whose inodes were used before. */
static void test_compressed_under_a_reader(void **state)
{
	line_put("l", LOGS_DOCKER, 0);
	struct logs_reader *r = opened((struct logs_params){ .tail = -1 });
	is_read(r, "line0$|");
	for (int i = 1; i < 12; i++) {
		char want[32];
		line_put("l", LOGS_DOCKER, i); /* read when it is compressed already */
		for (int k = 8; k > 0; k--) {
			char from[16], to[16];
			snprintf(from, sizeof(from), "l.%d.gz", k);
			snprintf(to, sizeof(to), "l.%d.gz", k + 1);
			if (there(from))
				move(from, to);
		}
		move("l", "l.1");
		line_put("l", LOGS_DOCKER, 100 + i);
		compress_all(1);
		snprintf(want, sizeof(want), "line%d$|line%d$|", i, 100 + i);
		is_read(r, want);
	}
	logs_close(r);
	/* Two rotations behind. */
	r = opened((struct logs_params){ .tail = 0 });
	for (int i = 20; i < 22; i++) {
		line_put("l", LOGS_DOCKER, i);
		if (there("l.1.gz"))
			move("l.1.gz", "l.2.gz");
		move("l", "l.1");
		line_put("l", LOGS_DOCKER, 100 + i);
		compress_all(1);
	}
	is_read(r, "line20$|line120$|line21$|line121$|");
	logs_close(r);
}

/* Whatever is in a .gz: its records up to there, then an error that says where; it stays one. */
static void test_torn_gz(void **state)
{
	auto_buf struct buf whole = {}, two = {};
	for (int i = 0; i < 300; i++)
		line_put("l.1", LOGS_DOCKER, i);
	line_put("l", LOGS_DOCKER, 998);
	line_put("l", LOGS_DOCKER, 999);
	compress_all(1);
	OK(io_read_file(at, "l.1.gz", &whole, 1 << 20, &err));
	for (size_t len = 0; len < whole.len; len += len < 40 || len + 12 > whole.len ? 1 : 97) {
		OK(io_write_file_lazy(at, "l.1.gz", span_make(whole.ptr, len), 0600, &err));
		read_is((struct logs_params){ .tail = 1 }, "line999$|"); /* not its turn */
		struct logs_reader *r = opened((struct logs_params){ .tail = -1 });
		struct logs_record rec;
		for (int tries = 0; tries < 2; tries++) {
			auto_err struct err err = ERR_INIT;
			int rc, n = 0;
			while ((rc = logs_next(r, &rec, &err)) > 0)
				n++;
			if (rc != -ERR_CORRUPT || !strstr(err_msg(&err), "log l.1.gz: it ends too early"))
				fail_msg("%zu of %zu bytes: %d %s", len, whole.len, rc, err_msg(&err));
			assert_true(n <= 300);
		}
		logs_close(r);
	}
	whole.ptr[whole.len - 5] ^= 1; /* of its checksum */
	OK(io_write_file_lazy(at, "l.1.gz", buf_span(&whole), 0600, &err));
	struct logs_reader *r = opened((struct logs_params){ .tail = 3 });
	struct logs_record rec;
	FAILS(ERR_CORRUPT, "log l.1.gz: incorrect data check", logs_next(r, &rec, &err));
	logs_close(r);
	OK(io_write_file_lazy(at, "l.1.gz", SPAN("{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T09:30:00Z\"}\n"), 0600, &err));
	r = opened((struct logs_params){ .tail = -1 });
	FAILS(ERR_CORRUPT, "log l.1.gz: incorrect header check", logs_next(r, &rec, &err));
	logs_close(r);
	/* Two members in one file are one text (RFC 1952 section 2.2). */
	whole.ptr[whole.len - 5] ^= 1;
	buf_span_add(&two, buf_span(&whole));
	buf_span_add(&two, buf_span(&whole));
	OK(io_write_file_lazy(at, "l.1.gz", buf_span(&two), 0600, &err));
	r = opened((struct logs_params){ .tail = 601 });
	for (int i = 1; i < 602; i++)
		OK(logs_next(r, &rec, &err) - 1);
	assert_int_equal(logs_next(r, &rec, NULL), 0);
	logs_close(r);
}

/* ---- on a loop ---- */

struct follower {
	struct logs_follow follow;
	struct buf got;
	int pause_after; /* records; 0 = never */
	int records, dones;
	bool closed, close_inside;
};

static void on_record(struct logs_follow *f, const struct logs_record *r)
{
	struct follower *o = container_of(f, struct follower, follow);
	buf_span_add(&o->got, span_sub(r->text, 0, r->text.len - 1));
	buf_chr(&o->got, '|');
	if (++o->records == o->pause_after)
		logs_follow_pause(f);
	if (o->close_inside)
		logs_follow_close(f, NULL);
}

static void on_done(struct logs_follow *f, const struct err *err)
{
	struct follower *o = container_of(f, struct follower, follow);
	if (err)
		fail_msg("%s", err_msg(err));
	o->dones++;
}

static void on_closed(struct logs_follow *f)
{
	container_of(f, struct follower, follow)->closed = true;
}

static void turns(struct loop *l)
{
	for (int i = 0; i < 20; i++)
		loop_turn(l, false);
}

static void got_is(struct follower *o, const char *want)
{
	if (!span_is(buf_span(&o->got), want))
		fail_msg("wanted \"%s\", got \"%s\"", want, buf_cstr(&o->got));
}

static void test_follow(void **state)
{
	struct loop *l;
	OK(loop_new(NULL, &l, &err));
	for (int i = 0; i < 3; i++)
		line_put("l", LOGS_DOCKER, i);
	struct follower o = { .pause_after = 4 };
	const struct logs_params p = { .dir = at, .name = "l", .tail = 2 };
	OK(logs_follow_open(&o.follow, l, &p, on_record, on_done, &err));
	got_is(&o, ""); /* never inside the call */
	turns(l);
	got_is(&o, "line1|line2|");
	for (int i = 3; i < 6; i++) {
		line_put("l", LOGS_DOCKER, i);
		rotate(3);
	}
	turns(l);
	got_is(&o, "line1|line2|line3|line4|"); /* paused in the record before */
	line_put("l", LOGS_DOCKER, 6);
	turns(l);
	got_is(&o, "line1|line2|line3|line4|");
	logs_follow_resume(&o.follow);
	turns(l);
	got_is(&o, "line1|line2|line3|line4|line5|line6|");
	line_put("l", LOGS_DOCKER, 7);
	logs_follow_end(&o.follow);
	assert_int_equal(o.dones, 0);
	turns(l);
	got_is(&o, "line1|line2|line3|line4|line5|line6|line7|");
	assert_int_equal(o.dones, 1);
	line_put("l", LOGS_DOCKER, 8);
	turns(l);
	assert_int_equal(o.records, 7);
	assert_int_equal(o.dones, 1);
	logs_follow_close(&o.follow, on_closed);
	turns(l);
	assert_true(o.closed);
	buf_done(&o.got);
	loop_free(l);
}

static void test_follow_ends(void **state)
{
	struct loop *l;
	OK(loop_new(NULL, &l, &err));
	/* a log that is not there yet; until; a callback that closes; many records at once, in several turns */
	struct follower none = {}, until = {}, closes = { .close_inside = true }, many = {};
	const struct logs_params p = { .dir = at, .name = "l", .tail = -1 };
	struct logs_params u = p;
	u.until_ns = 1000001 * NS_PER_S + 500;
	OK(logs_follow_open(&none.follow, l, &p, on_record, on_done, &err));
	OK(logs_follow_open(&until.follow, l, &u, on_record, on_done, &err));
	OK(logs_follow_open(&closes.follow, l, &p, on_record, on_done, &err));
	turns(l);
	for (int i = 0; i < 3; i++)
		line_put("l", LOGS_DOCKER, i);
	turns(l);
	got_is(&none, "line0|line1|line2|");
	got_is(&until, "line0|line1|");
	assert_int_equal(until.dones, 1);
	got_is(&closes, "line0|");
	for (int i = 0; i < 5000; i++)
		line_put("l", LOGS_DOCKER, 10);
	OK(logs_follow_open(&many.follow, l, &p, on_record, on_done, &err));
	loop_budget_set(l, 1);
	loop_turn(l, false);
	loop_turn(l, false);
	assert_true(many.records < 5003);
	loop_budget_set(l, 64);
	turns(l);
	assert_int_equal(many.records, 5003);
	logs_follow_close(&none.follow, on_closed);
	logs_follow_close(&until.follow, on_closed);
	logs_follow_close(&many.follow, on_closed);
	turns(l);
	assert_true(none.closed && until.closed && many.closed);
	assert_int_equal(none.dones, 0);
	loop_free(l);
	buf_done(&none.got);
	buf_done(&until.got);
	buf_done(&closes.got);
	buf_done(&many.got);
}

/* Lines of compressed files are counted in turns of the loop, each of which ends. */
static void test_follow_compressed(void **state)
{
	struct loop *l;
	OK(loop_new(NULL, &l, &err));
	auto_buf struct buf line = {};
	char name[8];
	buf_str(&line, "{\"log\":\"");
	for (int i = 0; i < 9000; i++)
		buf_chr(&line, 'x');
	buf_str(&line, "\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T09:30:00Z\"}\n");
	for (int file = 1; file < 5; file++) {
		snprintf(name, sizeof(name), "l.%d", file);
		for (int i = 0; i < 400; i++)
			append(name, line.ptr, line.len);
	}
	line_put("l", LOGS_DOCKER, 1);
	compress_all(4);
	struct follower o = {};
	const struct logs_params p = { .dir = at, .name = "l", .tail = 1500 };
	OK(logs_follow_open(&o.follow, l, &p, on_record, on_done, &err));
	loop_budget_set(l, 1);
	for (int i = 0; i < 7; i++) /* 400 lines are 3.6 MB, seven turns and a bit */
		loop_turn(l, false);
	assert_int_equal(o.records, 0);
	for (int i = 0; i < 200 && o.records < 1500; i++)
		loop_turn(l, false);
	assert_int_equal(o.records, 1500);
	/* It goes on in what comes, rotated and compressed while it is paused. */
	logs_follow_pause(&o.follow);
	buf_done(&o.got);
	line_put("l", LOGS_DOCKER, 2);
	move("l.4.gz", "l.5.gz");
	move("l.3.gz", "l.4.gz");
	move("l.2.gz", "l.3.gz");
	move("l.1.gz", "l.2.gz");
	move("l", "l.1");
	line_put("l", LOGS_DOCKER, 3);
	compress_all(1);
	logs_follow_resume(&o.follow);
	loop_budget_set(l, 64);
	turns(l);
	got_is(&o, "line2|line3|");
	logs_follow_close(&o.follow, on_closed);
	turns(l);
	assert_true(o.closed);
	loop_free(l);
	buf_done(&o.got);
}

enum { KEPT = 38 };

/* Listings while files are rotated and compressed as fast as it goes: each record once, in order, from wherever the first one is. */
static void test_listing_while_compressing(void **state)
{
	/* What a reader has seen is not removed while it reads: the writer waits for its next pass. */
	atomic_int *passes = mmap(NULL, sizeof(*passes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(passes, MAP_FAILED);
	pid_t pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0, pass = 0, since = 0;; i++, since++) {
			while (since == KEPT - 2 && pass == atomic_load(passes))
				(void)poll(NULL, 0, 1);
			if (pass != atomic_load(passes)) {
				pass = atomic_load(passes);
				since = 0;
			}
			auto_fd int lock = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			line_put("l", LOGS_DOCKER, i);
			if (flock(lock, LOCK_EX) < 0)
				_exit(1);
			for (int k = KEPT; k > 0; k--)
				for (int packed = 0; packed < 2; packed++) {
					char from[16], to[16];
					snprintf(from, sizeof(from), packed ? "l.%d.gz" : "l.%d", k);
					snprintf(to, sizeof(to), packed ? "l.%d.gz" : "l.%d", k + 1);
					if (there(from) && k == KEPT)
						(void)unlinkat(at, from, 0);
					else if (there(from))
						move(from, to);
				}
			move("l", "l.1");
			line_put("l", LOGS_DOCKER, 1000000 + i);
			fd_close(&lock);
			(void)logs_compress(at, "l", &stop, NULL);
		}
	}
	int seen = 0;
	for (int64_t until = clock_mono_ms(clock_real()) + 1000; clock_mono_ms(clock_real()) < until;) {
		atomic_fetch_add(passes, 1);
		struct logs_reader *r = opened((struct logs_params){ .tail = -1 });
		struct logs_record rec;
		int64_t last = -1;
		int rc;
		auto_err struct err err = ERR_INIT;
		/* a file is "line 1000000+i" and "line i+1" */
		while ((rc = logs_next(r, &rec, &err)) > 0) {
			int64_t n;
			if (!span_to_i64(span_sub(rec.text, 4, rec.text.len - 1), &n))
				fail_msg("\"%.*s\" behind %lld", SPAN_ARG(rec.text), (long long)last);
			n = n >= 1000000 ? 2 * (n - 1000000) + 1 : 2 * n;
			if (last >= 0 && n != last + 1)
				fail_msg("%lld behind %lld", (long long)n, (long long)last);
			last = n;
			seen++;
		}
		if (rc < 0)
			fail_msg("%s", err_msg(&err));
		logs_close(r);
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(seen > 50);
	assert_int_equal(munmap(passes, sizeof(*passes)), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, dir_make, dir_drop)
int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_records), TEST(test_whole), TEST(test_pieces), TEST(test_long), TEST(test_rotation),
		TEST(test_compressed), TEST(test_compressed_pieces), TEST(test_compression_cut_off), TEST(test_compression_gives_way),
		TEST(test_compressed_under_a_reader), TEST(test_torn_gz), TEST(test_follow), TEST(test_follow_ends), TEST(test_follow_compressed),
		TEST(test_listing_while_compressing) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
