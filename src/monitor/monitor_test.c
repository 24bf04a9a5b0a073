#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/log.h"
#include "monitor/msg.h"
#include "monitor/record.h"

/* ---- every allocation is counted (not under a sanitizer, which brings its own allocator) */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTING 0
static unsigned long allocations;
#else
#define COUNTING 1
static unsigned long allocations;
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t k);
void *__libc_realloc(void *p, size_t n);
void *malloc(size_t n)
{
	allocations++;
	return __libc_malloc(n);
}
void *calloc(size_t n, size_t k)
{
	allocations++;
	return __libc_calloc(n, k);
}
void *realloc(void *p, size_t n)
{
	allocations++;
	return __libc_realloc(p, n);
}
#endif

/* The processes that would need a runtime are replaced; everything else of the monitor is the real one. */
#include "monitor/build.h"
#include "sys/sys.h"
static int fake_exit;
void monitor_build_run(const struct monitor_spawn *s, const int stdio[3], uint16_t rows, uint16_t cols, int channel)
{
	struct build_msg m = { .kind = BUILD_MADE };
	struct sys_clone_args args = { .flags = CLONE_PARENT };
	pid_t pid = sys_clone3(&args);
	if (pid == 0) {
		char c[4096];
		ssize_t n;
		dup2(stdio[0], 0);
		dup2(stdio[1], 1);
		dup2(stdio[2], 2);
		for (int fd = 3; fd < 100; fd++)
			close(fd);
		while ((n = read(0, c, sizeof(c))) > 0)
			if (write(1, c, (size_t)n) != n || write(2, c, (size_t)n) != n)
				_exit(1);
		_exit(fake_exit);
	}
	m.a = pid;
	if (send(channel, &m, sizeof(m), 0) < 0)
		_exit(1);
	_exit(0);
}
void monitor_build_start(const struct monitor_spawn *s, int channel)
{
	struct build_msg m = { .kind = BUILD_STARTED };
	_exit(send(channel, &m, sizeof(m), 0) < 0);
}
#include "monitor/client.c"
#include "monitor/stream.c"
#undef PAGE
#include "monitor/run.c"

static char dir_path[] = "/tmp/knarr-monitor-XXXXXX";
static int dir;

static int dir_make(void **state)
{
	memcpy(dir_path, "/tmp/knarr-monitor-XXXXXX", sizeof(dir_path));
	assert_non_null(mkdtemp(dir_path));
	dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0;
}

static int dir_remove(void **state)
{
	static const char *const names[] = { "log",	    "log.1",	    "log.2",	    "log.3",
					     "monitor.sock", "monitor.json", "exit.json", ".exit.json.new",
					     "log.1.gz", "log.2.gz", "log.3.gz" };
	fail_arm("");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		unlinkat(dir, names[i], 0);
	close(dir);
	return rmdir(dir_path); /* fails when something else was left */
}

/* ---- log */

#define NS INT64_C(1763717400120000000) /* 2025-11-21T09:30:00.12Z */

static void file_is(const char *name, const char *want)
{
	auto_buf struct buf b = {};
	assert_int_equal(io_read_file(dir, name, &b, 1 << 20, NULL), 0);
	if (strcmp(buf_cstr(&b), want))
		fail_msg("%s holds\n%s\ninstead of\n%s", name, buf_cstr(&b), want);
}

static struct log_file log_make(enum monitor_log_format format, uint64_t max_bytes, unsigned max_files)
{
	struct log_file f = { .format = format, .dir = dir, .name = "log", .max_bytes = max_bytes, .max_files = max_files };
	auto_err struct err err = ERR_INIT;
	if (monitor_log_open(&f, &err) < 0)
		fail_msg("%s", err_msg(&err));
	return f;
}

static char line[MONITOR_LINE];
static struct log_stream stream = { .name = "stdout", .line = line };

static void feed(struct log_file *f, const char *data, size_t len, bool end)
{
	size_t taken = 0;
	memcpy(stream.line + stream.n, data, len);
	stream.n += len;
	monitor_log_feed(f, &stream, &taken, end, NS);
	monitor_log_compact(&stream, &taken);
}
#define FEED(f, text, end) feed((f), text, sizeof(text) - 1, end)

static void test_docker(void **state)
{
	struct log_file f = log_make(MONITOR_LOG_DOCKER, 0, 1);
	FEED(&f, "one\ntw", false);
	FEED(&f, "o\n\n", false);
	FEED(&f, "tail", true);
	assert_int_equal(stream.n, 0);
	file_is("log", "{\"log\":\"one\\n\",\"stream\":\"stdout\",\"time\":\"2025-11-21T09:30:00.12Z\"}\n"
		       "{\"log\":\"two\\n\",\"stream\":\"stdout\",\"time\":\"2025-11-21T09:30:00.12Z\"}\n"
		       "{\"log\":\"\\n\",\"stream\":\"stdout\",\"time\":\"2025-11-21T09:30:00.12Z\"}\n"
		       "{\"log\":\"tail\",\"stream\":\"stdout\",\"time\":\"2025-11-21T09:30:00.12Z\"}\n");
	monitor_log_close(&f);
}

static void test_cri(void **state)
{
	struct log_file f = log_make(MONITOR_LOG_CRI, 0, 1);
	FEED(&f, "a \"b\"\xff\r\n", false);
	FEED(&f, "tail", true);
	file_is("log", "2025-11-21T09:30:00.120000000Z stdout F a \"b\"\xff\r\n"
		       "2025-11-21T09:30:00.120000000Z stdout F tail\n");
	monitor_log_close(&f);
}

static void test_pieces(void **state)
{
	struct log_file f = log_make(MONITOR_LOG_CRI, 0, 1);
	static char big[MONITOR_LINE];
	memset(big, 'x', sizeof(big));
	feed(&f, big, sizeof(big) - 1, false);
	assert_int_equal(f.size, 0); /* not full yet */
	feed(&f, big, 1, false);
	assert_int_equal(stream.n, 0);
	assert_int_equal(f.size, strlen("2025-11-21T09:30:00.120000000Z stdout P ") + MONITOR_LINE + 1);
	FEED(&f, "\n", false);
	auto_buf struct buf b = {};
	assert_int_equal(io_read_file(dir, "log", &b, 1 << 20, NULL), 0);
	assert_true(span_ends(buf_span(&b), SPAN("x\n2025-11-21T09:30:00.120000000Z stdout F \n")));
	monitor_log_close(&f);
}

static void test_escape(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "a", "a" },
		{ "\"\\\n\r", "\\\"\\\\\\n\\r" },
		{ "\t\b\f\x01\x1f\x7f", "\\u0009\\u0008\\u000c\\u0001\\u001f\x7f" },
		{ "<>&", "\\u003c\\u003e\\u0026" },
		{ "\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", "\\u2028\\u2029\xe2\x80\xaa" },
		{ "\xc3\xa9\xf0\x9f\x98\x80", "\xc3\xa9\xf0\x9f\x98\x80" },
		{ "\xff\xc3", "\\ufffd\\ufffd" },
		{ "\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd" }, /* a surrogate: each byte, as Go */
		{ "\xc0\x80", "\\ufffd\\ufffd" },
		{ "\xe2\x80", "\\ufffd\\ufffd" },
		{ "\xef\xbf\xbd", "\xef\xbf\xbd" }, /* a real U+FFFD stays */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char out[100];
		size_t n = 0;
		const char *p = rows[i].in, *end = p + strlen(p);
		while (p < end)
			n += monitor_log_escape(&p, end, out + n);
		out[n] = 0;
		assert_string_equal(out, rows[i].out);
	}
}

static void test_rotation(void **state)
{
	struct log_file f = log_make(MONITOR_LOG_CRI, 80, 3);
	for (char c = 'a'; c < 'i'; c++) {
		char text[2] = { c, '\n' };
		feed(&f, text, 2, false); /* 42 bytes each: two a file */
	}
#define ROW(c) "2025-11-21T09:30:00.120000000Z stdout F " c "\n"
	file_is("log", ROW("g") ROW("h"));
	file_is("log.1", ROW("e") ROW("f"));
	file_is("log.2", ROW("c") ROW("d"));
	assert_int_equal(faccessat(dir, "log.3", F_OK, 0), -1);
	monitor_log_close(&f);
	f = log_make(MONITOR_LOG_CRI, 80, 1); /* goes on where it was, and empties */
	FEED(&f, "i\nj\n", false);
	file_is("log", ROW("i") ROW("j"));
	monitor_log_close(&f);
}

/* The new file cannot be made: the old one goes on under the next number, the others stay, and it is tried again. */
static void test_rotation_fails(void **state)
{
	struct log_file f = log_make(MONITOR_LOG_CRI, 80, 3);
	FEED(&f, "a\nb\nc\nd\n", false);
	fail_arm("monitor.log.open=ENOSPC");
	for (char c = 'e'; c < 'j'; c++) {
		char text[2] = { c, '\n' };
		feed(&f, text, 2, false);
	}
	fail_arm("");
	assert_int_equal(f.lost_errno, ENOSPC);
	file_is("log.1", ROW("c") ROW("d") ROW("e") ROW("f") ROW("g") ROW("h") ROW("i"));
	file_is("log.2", ROW("a") ROW("b"));
	assert_int_equal(faccessat(dir, "log", F_OK, 0), -1);
	FEED(&f, "j\n", false);
	file_is("log", ROW("j"));
	file_is("log.2", ROW("a") ROW("b"));
	monitor_log_close(&f);
}

static void put(const char *name, const char *text)
{
	assert_int_equal(io_write_file_lazy(dir, name, span_of(text), 0600, NULL), 0);
}

static void absent(const char *name)
{
	if (faccessat(dir, name, F_OK, 0) == 0)
		fail_msg("%s is there", name);
}

/* Compressed files move along; at no time does a number mean two things. */
static void test_rotation_of_compressed(void **state)
{
	struct log_file f = log_make(MONITOR_LOG_DOCKER, 0, 4);
	f.compress = true;
	put("log", "5");
	put("log.1.gz", "4");
	put("log.2.gz", "3");
	put("log.3.gz", "2");
	assert_int_equal(monitor_log_rotate(&f, NULL), 0);
	file_is("log", "");
	file_is("log.1", "5");
	file_is("log.2.gz", "4");
	file_is("log.3.gz", "3");
	assert_true(f.rotated);
	/* A crash between the compressed file's birth and the plain one's end: the plain one counts. Its successor is not compressed yet,
	 * the last one is: neither may meet its like of the other kind. */
	put("log", "7");
	put("log.1", "6");
	put("log.2", "5");
	put("log.2.gz", "half");
	assert_int_equal(monitor_log_rotate(&f, NULL), 0);
	file_is("log.1", "7");
	file_is("log.2", "6");
	file_is("log.3", "5");
	absent("log.1.gz");
	absent("log.2.gz");
	absent("log.3.gz");
	/* The last one is plain, the one before it compressed. */
	unlinkat(dir, "log.2", 0);
	put("log.2.gz", "6");
	put("log", "8");
	assert_int_equal(monitor_log_rotate(&f, NULL), 0);
	file_is("log.1", "8");
	file_is("log.2", "7");
	file_is("log.3.gz", "6");
	absent("log.3");
	/* A gap loses nothing. */
	unlinkat(dir, "log.2", 0);
	put("log", "9");
	assert_int_equal(monitor_log_rotate(&f, NULL), 0);
	file_is("log.1", "9");
	file_is("log.2", "8");
	file_is("log.3.gz", "6");
	monitor_log_close(&f);
}

/* Somebody puts a compressed file in its place: the log goes on in the file it has, and rotates at the first record behind that. */
static void test_rotation_waits(void **state)
{
	struct log_file f = log_make(MONITOR_LOG_DOCKER, 10, 3);
	auto_err struct err err = ERR_INIT;
	f.compress = true;
	FEED(&f, "a\n", false);
	auto_fd int lock = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(lock, LOCK_EX), 0);
	FEED(&f, "b\nc\n", false);
	absent("log.1");
	assert_int_equal(monitor_log_rotate(&f, &err), -ERR_UNAVAILABLE);
	assert_false(f.rotated);
	assert_int_equal(f.lost_errno, 0);
	assert_int_equal(f.lost_records, 0);
	fd_close(&lock);
	FEED(&f, "d\n", false);
#define DROW(c) "{\"log\":\"" c "\\n\",\"stream\":\"stdout\",\"time\":\"2025-11-21T09:30:00.12Z\"}\n"
	file_is("log.1", DROW("a") DROW("b") DROW("c"));
	file_is("log", DROW("d"));
	monitor_log_close(&f);
}

static void test_torn_end(void **state)
{
	assert_int_equal(io_write_file_lazy(dir, "log", SPAN("whole\nto"), 0600, NULL), 0);
	struct log_file f = log_make(MONITOR_LOG_CRI, 0, 1);
	FEED(&f, "a\n", false);
	file_is("log", "whole\nto\n" ROW("a"));
	monitor_log_close(&f);
}

static void test_full_disk(void **state)
{
	struct log_file f = log_make(MONITOR_LOG_CRI, 0, 1);
	static char big[10000];
	FEED(&f, "a\n", false);
	fail_arm("monitor.log.write=ENOSPC@1");
	FEED(&f, "b\nc\n", false);
	assert_int_equal(f.lost_records, 2);
	assert_int_equal(f.lost_errno, ENOSPC);
	FEED(&f, "d\n", false);
	file_is("log", ROW("a") ROW("d"));
	/* In the middle of a record that needs several writes: what was written of it goes, the next in the feed too. */
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 3] = big[sizeof(big) - 1] = '\n';
	fail_arm("monitor.log.write=ENOSPC@2");
	feed(&f, big, sizeof(big), false);
	assert_int_equal(f.lost_records, 4);
	file_is("log", ROW("a") ROW("d"));
	fail_arm("");
	FEED(&f, "e\n", false);
	file_is("log", ROW("a") ROW("d") ROW("e"));
	monitor_log_close(&f);
}

/* ---- packets */

static struct monitor_spawn spawn_of(void)
{
	return (struct monitor_spawn){ .flags = MONITOR_OPEN_STDIN,
				       .format = MONITOR_LOG_DOCKER,
				       .id = "id",
				       .root = "/root",
				       .log_name = "log",
				       .state_dir = 10,
				       .bundle = 11,
				       .log_dir = 12,
				       .sockets = { 13, 14 },
				       .n_sockets = 2 };
}

static void test_spawn_packet(void **state)
{
	char packet[MONITOR_SPAWN_MAX];
	int fds[MONITOR_SPAWN_FDS];
	unsigned n;
	struct monitor_spawn s = spawn_of(), back;
	ssize_t len = monitor_spawn_encode(&s, 7, packet, fds, &n, NULL);
	assert_true(len > 0);
	assert_int_equal(n, 5);
	assert_int_equal(monitor_msg_spawn(packet, (size_t)len, fds, n, &back, NULL), 0);
	assert_string_equal(back.id, "id");
	assert_string_equal(back.root, "/root");
	assert_null(back.cache);
	assert_int_equal(back.log_dir, 12);
	assert_int_equal(back.sockets[1], 14);
	for (ssize_t cut = 0; cut < len; cut++) /* every shorter packet is refused */
		assert_int_not_equal(monitor_msg_spawn(packet, (size_t)cut, fds, n, &back, NULL), 0);
	assert_int_not_equal(monitor_msg_spawn(packet, (size_t)len, fds, n - 1, &back, NULL), 0);
}

static void test_spawn_refusals(void **state)
{
	char long_text[MONITOR_TEXT_MAX + 1], packet[MONITOR_SPAWN_MAX];
	int fds[MONITOR_SPAWN_FDS];
	unsigned n;
	memset(long_text, 'a', MONITOR_TEXT_MAX);
	long_text[MONITOR_TEXT_MAX] = 0;
	for (int i = 0; i < 13; i++) {
		static const char *const words[] = { "id",	 "id",	     "root",  "root",	  "log_name", "log_name",
						     "log_name", "flags", "flags", "max_files", "format",   "n_sockets", "COMPRESS" };
		struct monitor_spawn s = spawn_of();
		auto_err struct err err = ERR_INIT;
		switch (i) {
		case 0: s.id = NULL; break;
		case 1: s.id = long_text; break;
		case 2: s.root = "relative"; break;
		case 3: s.root = long_text; break;
		case 4: s.log_name = "a/b"; break;
		case 5: s.log_name = ".."; break;
		case 6: s.format = MONITOR_LOG_NONE; break;
		case 7: s.flags = 1 << 20; break;
		case 8: s.flags = MONITOR_STDIO | MONITOR_TERMINAL; break;
		case 9: s.max_files = MONITOR_FILES_MAX + 1; break;
		case 10: s.format = (enum monitor_log_format)77; break;
		case 11: s.n_sockets = MONITOR_SOCKETS_MAX + 1; break;
		case 12: s.flags = MONITOR_COMPRESS; break;
		}
		assert_true(monitor_spawn_encode(&s, 1, packet, fds, &n, &err) < 0);
		if (!span_has(span_of(err_msg(&err)), span_of(words[i])))
			fail_msg("case %d: \"%s\" does not name %s", i, err_msg(&err), words[i]);
	}
}

/* ---- records */

static void test_exit_record(void **state)
{
	char scratch[MONITOR_RECORD_MAX];
	struct monitor_exit e = { .pid = 5, .exit_code = 137, .signal = 9, .oom_kills = 2, .started_ns = NS, .finished_ns = NS + 1,
				  .class = ERR_NO_COMMAND }, back;
	enum monitor_found found;
	int sock = -1;
	memset(e.error, '<', sizeof(e.error) - 1); /* six bytes each: more than a record holds */
	assert_int_equal(monitor_find(dir, &found, &sock, &back, NULL), 0);
	assert_int_equal(found, MONITOR_FOUND_NOTHING);
	assert_int_equal(monitor_record_exit(scratch, dir, "i\"d", &e, true, true), 0);
	assert_int_equal(monitor_find(dir, &found, &sock, &back, NULL), 0);
	assert_int_equal(found, MONITOR_FOUND_EXIT);
	assert_int_equal(back.exit_code, 137);
	assert_int_equal(back.signal, 9);
	assert_int_equal(back.oom_kills, 2);
	assert_true(back.started_ns == NS && back.finished_ns == NS + 1);
	assert_int_equal(back.class, ERR_NO_COMMAND);
	assert_true(strlen(back.error) > 300 && back.error[0] == '<');
}

static void file_put(const char *name, const char *text, size_t len)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && write(fd, text, len) == (ssize_t)len);
	close(fd);
}

/* What is not synced: a name without contents (ext4 and XFS write the rename first), and a whole file of a boot before this one. */
static void test_after_a_power_cut(void **state)
{
	static const char zeros[300];
	static const struct {
		const char *self, *end;
		size_t self_len, end_len;
	} left[] = {
		{ "", NULL, 0, 0 }, { zeros, NULL, 300, 0 }, { "", "", 0, 0 }, { zeros, zeros, 300, 300 },
	};
	char scratch[MONITOR_RECORD_MAX], boot[MONITOR_BOOT_MAX], text[400];
	enum monitor_found found;
	struct monitor_exit back;
	int sock = -1;
	for (unsigned i = 0; i < ARRAY_LEN(left); i++) {
		found = MONITOR_FOUND_LOST;
		file_put("monitor.json", left[i].self, left[i].self_len);
		if (left[i].end)
			file_put("exit.json", left[i].end, left[i].end_len);
		assert_int_equal(monitor_find(dir, &found, &sock, &back, NULL), 0);
		assert_int_equal(found, MONITOR_FOUND_NOTHING);
	}
	unlinkat(dir, "exit.json", 0);
	/* As written by a monitor of the boot before, whose number and start time agree with a process that is here now. */
	int n = snprintf(text, sizeof(text), "{\"version\":1,\"id\":\"x\",\"pid\":%d,\"startTicks\":%llu,\"boot\":\"of-yesterday\"}\n", getpid(),
		(unsigned long long)monitor_record_ticks(getpid()));
	file_put("monitor.json", text, (size_t)n);
	assert_int_equal(monitor_find(dir, &found, &sock, &back, NULL), 0);
	assert_int_equal(found, MONITOR_FOUND_NOTHING);
	/* Of this boot, by a monitor that is no more. */
	monitor_record_boot(boot);
	assert_int_equal(strlen(boot), 36);
	n = snprintf(text, sizeof(text), "{\"version\":1,\"id\":\"x\",\"pid\":%d,\"startTicks\":1,\"boot\":\"%s\"}\n", getpid(), boot);
	file_put("monitor.json", text, (size_t)n);
	assert_int_equal(monitor_find(dir, &found, &sock, &back, NULL), 0);
	assert_int_equal(found, MONITOR_FOUND_LOST);
	/* Half a file. */
	file_put("monitor.json", text, 20);
	assert_int_equal(monitor_find(dir, &found, &sock, &back, NULL), 0);
	assert_int_equal(found, MONITOR_FOUND_NOTHING);
	monitor_record_boot_learn();
	assert_int_equal(monitor_record_self(scratch, dir, "x", 0, 0, 0), 0);
	assert_non_null(strstr(scratch, boot));
}

/* The end is told, and its monitor is there and answers nobody: that is said after five seconds, however often it is asked. */
static void test_silent_behind_its_end(void **state)
{
	char scratch[MONITOR_RECORD_MAX];
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct monitor_exit e = { .pid = 5, .started_ns = NS, .finished_ns = NS + 1 }, back;
	enum monitor_found found;
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), lock = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), got;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/monitor.sock", dir);
	assert_true(sock >= 0 && bind(sock, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(sock, MONITOR_CLIENTS_MAX) == 0);
	assert_true(lock >= 0 && flock(lock, LOCK_EX) == 0);
	assert_int_equal(monitor_record_exit(scratch, dir, "i", &e, true, true), 0);
	int64_t began = clock_mono_ms(clock_real());
	assert_int_equal(monitor_find(dir, &found, &got, &back, NULL), -ERR_TIMEOUT);
	assert_true(clock_mono_ms(clock_real()) - began < 15000); /* each question waits for a second */
	/* When the monitor that lives (we) names the run that has ended, the files are enough: how it ended is not lost. */
	assert_int_equal(monitor_record_self(scratch, dir, "i", 5, 1, NS), 0);
	e.exit_code = 7;
	assert_int_equal(monitor_record_exit(scratch, dir, "i", &e, true, true), 0);
	began = clock_mono_ms(clock_real());
	assert_int_equal(monitor_find(dir, &found, &got, &back, NULL), 0);
	assert_int_equal(found, MONITOR_FOUND_EXIT);
	assert_int_equal(back.exit_code, 7);
	assert_true(clock_mono_ms(clock_real()) - began < 1000); /* nobody was asked */
	/* Another process of the same number began later, or another has ended: that tells nothing of this run. */
	assert_int_equal(monitor_record_self(scratch, dir, "i", 5, 1, NS + 1), 0);
	assert_int_equal(monitor_find(dir, &found, &got, &back, NULL), -ERR_TIMEOUT);
	assert_int_equal(monitor_exit_recorded(dir, &back, NULL), 0);
	assert_int_equal(back.exit_code, 7);
	unlinkat(dir, "exit.json", 0);
	assert_int_equal(monitor_exit_recorded(dir, &back, NULL), -ERR_NOT_FOUND);
	close(lock);
	close(sock);
	unlinkat(dir, "monitor.sock", 0);
}

/* Stopped: as many connections as it can have wait. It is alive all the same, and its end can be waited for. */
static void test_full_queue(void **state)
{
	char scratch[MONITOR_RECORD_MAX];
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct monitor_exit back;
	enum monitor_found found = MONITOR_FOUND_LOST;
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), waiting[64], got = 99;
	unsigned n = 0;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/monitor.sock", dir);
	assert_true(sock >= 0 && bind(sock, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(sock, MONITOR_CLIENTS_MAX) == 0);
	assert_int_equal(monitor_record_self(scratch, dir, "i", 5, 1, NS), 0);
	while ((waiting[n] = monitor_connect(dir, NULL)) >= 0 && n + 1 < ARRAY_LEN(waiting))
		n++;
	assert_int_equal(waiting[n], -ERR_TOO_MANY);
	assert_int_equal(n, MONITOR_CLIENTS_MAX + 1);
	assert_int_equal(monitor_find(dir, &found, &got, &back, NULL), 0);
	assert_int_equal(found, MONITOR_FOUND_ALIVE);
	assert_int_equal(got, -1);
	auto_fd int process = monitor_process(dir, NULL);
	struct pollfd p = { .fd = process, .events = POLLIN };
	assert_true(process >= 0 && poll(&p, 1, 0) == 0);
	while (n)
		close(waiting[--n]);
	close(sock);
	unlinkat(dir, "monitor.sock", 0);
	unlinkat(dir, "monitor.json", 0);
	assert_int_equal(monitor_process(dir, NULL), -ERR_NOT_FOUND);
}

static void test_ticks(void **state)
{
	struct sys_process p;
	assert_int_equal(sys_process_read(getpid(), &p, NULL), 0);
	assert_true(monitor_record_ticks(getpid()) == p.start_ticks && p.start_ticks);
	assert_int_equal(monitor_record_ticks(1 << 30), 0);
}

/* ---- the monitor's own process: a whole life, and no allocation. It runs in a child of the test, which
 * reads the child's counter through /proc/PID/mem. */

static void life(int control)
{
	static struct monitor_spawn s;
	s = (struct monitor_spawn){ .flags = MONITOR_OPEN_STDIN | MONITOR_COMPRESS, .format = MONITOR_LOG_DOCKER, .max_bytes = 5000, .max_files = 3,
				    .id = "id", .root = "/nothing", .log_name = "log", .state_dir = dir, .bundle = dir,
				    .log_dir = openat(dir, "logs", O_RDONLY | O_DIRECTORY | O_CLOEXEC), .stdio = { -1, -1, -1 } };
	fake_exit = 42;
	allocations = 0;
	monitor_run(&s, control, -1);
}

static void test_no_allocation(void **state)
{
	int pair[2];
	static const char *const logs[] = { "logs/log", "logs/log.1", "logs/log.2" };
	assert_int_equal(mkdirat(dir, "logs", 0700), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid_t pid = fork();
	if (pid == 0) {
		close(pair[0]);
		life(pair[1]);
	}
	close(pair[1]);
	struct monitor_head h;
	struct monitor_state st;
	static char payload[MONITOR_LINE];
	auto_err struct err err = ERR_INIT;
	assert_int_equal(monitor_recv(pair[0], &h, payload, sizeof(payload), NULL, 0, NULL, &err), 0);
	assert_int_equal(h.op, MONITOR_STARTED);
	int sock = monitor_connect(dir, &err);
	assert_true(sock >= 0);
	assert_int_equal(monitor_call(sock, MONITOR_STATUS, 0, 0, &st, &err), 0);
	assert_int_equal(st.phase, MONITOR_RUNNING);
	assert_int_equal(monitor_call(sock, MONITOR_RESIZE, 1, 1, NULL, &err), -ERR_INVALID);
	assert_int_equal(monitor_call(sock, MONITOR_KILL, 200, 0, NULL, &err), -ERR_INVALID);
	assert_int_equal(monitor_call(sock, MONITOR_ATTACH, 7, 10000, NULL, &err), 0);
	memset(payload, '<', sizeof(payload));
	payload[100] = '\n';
	for (int i = 0; i < 20; i++) {
		size_t seen = 0;
		assert_int_equal(monitor_send(sock, MONITOR_STDIN, 0, 0, 0, span_make(payload, 4096), &err), 0);
		while (seen < 2 * 4096) {
			char got[MONITOR_LINE];
			assert_int_equal(monitor_recv(sock, &h, got, sizeof(got), NULL, 0, NULL, &err), 0);
			assert_int_equal(h.op, MONITOR_OUTPUT);
			seen += h.len;
		}
	}
	/* Whoever watches the log is told once, also of what was before. */
	assert_int_equal(monitor_send(pair[0], MONITOR_WATCH_LOG, 7, 0, 0, SPAN_EMPTY, &err), 0);
	assert_int_equal(monitor_recv(pair[0], &h, payload, sizeof(payload), NULL, 0, NULL, &err), 0);
	assert_true(h.op == MONITOR_ROTATED && h.tag == 7 && h.len == 0);
	assert_int_equal(monitor_call(sock, MONITOR_ROTATE, 0, 0, NULL, &err), 0);
	assert_int_equal(monitor_send(pair[0], MONITOR_WATCH_LOG, 8, 0, 0, SPAN_EMPTY, &err), 0);
	assert_int_equal(monitor_recv(pair[0], &h, payload, sizeof(payload), NULL, 0, NULL, &err), 0);
	assert_true(h.op == MONITOR_ROTATED && h.tag == 8);
	assert_int_equal(monitor_send(pair[0], MONITOR_WATCH_LOG, 9, 0, 0, SPAN_EMPTY, &err), 0);
	assert_int_equal(monitor_call(sock, MONITOR_STATUS, 0, 0, &st, &err), 0);
	assert_int_equal(poll(&(struct pollfd){ .fd = pair[0], .events = POLLIN }, 1, 50), 0);
	assert_int_equal(monitor_call(sock, MONITOR_ROTATE, 0, 0, NULL, &err), 0);
	assert_int_equal(monitor_recv(pair[0], &h, payload, sizeof(payload), NULL, 0, NULL, &err), 0);
	assert_true(h.op == MONITOR_ROTATED && h.tag == 9);
	assert_int_equal(monitor_call(sock, MONITOR_REOPEN, 0, 0, NULL, &err), 0);
	/* Its counter, read from outside while it lives. */
	if (COUNTING) {
		char path[40];
		unsigned long count = 77;
		snprintf(path, sizeof(path), "/proc/%d/mem", pid);
		int mem = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(mem >= 0);
		assert_int_equal(pread(mem, &count, sizeof(count), (off_t)(uintptr_t)&allocations), sizeof(count));
		close(mem);
		assert_int_equal(count, 0);
	}
	assert_int_equal(monitor_send(sock, MONITOR_CLOSE_STDIN, 9, 0, 0, SPAN_EMPTY, &err), 0);
	assert_int_equal(monitor_recv(pair[0], &h, &st, sizeof(st), NULL, 0, NULL, &err), 0);
	assert_int_equal(h.op, MONITOR_STATE);
	assert_int_equal(st.exit_code, 42);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(sock);
	close(pair[0]);
	for (size_t i = 0; i < ARRAY_LEN(logs); i++)
		assert_int_equal(unlinkat(dir, logs[i], 0), 0);
	assert_int_equal(unlinkat(dir, "logs", AT_REMOVEDIR), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, dir_make, dir_remove)
	const struct CMUnitTest tests[] = {
		T(test_docker), T(test_cri), T(test_pieces), cmocka_unit_test(test_escape), T(test_rotation), T(test_rotation_fails),
		T(test_rotation_of_compressed), T(test_rotation_waits), T(test_torn_end), T(test_full_disk),
		cmocka_unit_test(test_spawn_packet), cmocka_unit_test(test_spawn_refusals), T(test_exit_record),
		cmocka_unit_test(test_ticks), T(test_after_a_power_cut), T(test_silent_behind_its_end), T(test_full_queue), T(test_no_allocation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
