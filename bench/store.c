/* The store against plain SQLite and Debian's etcd on the same disk in the same run, alternating.
 *
 * usage: bench-store [DIR] [SECONDS]     DIR on the disk to measure (default /var/tmp), SECONDS a measurement (default 1)
 *
 *   commits    1, 16 and 64 writers, each waiting for its own answer, 2 KB values on new keys. SQLite: one transaction per
 *              write, the same pragmas, one connection that the writers share under a lock (it takes one writer at a
 *              time anyway). etcd: one keep-alive HTTP connection a writer to its JSON gateway; JSON, base64 and the hop
 *              through the gateway are in its figure, so on two cores it is bound by processor time there, by the
 *              sync with one writer. Both are given their fastest durable setting.
 *   fan-out    1,000 watches of one prefix on one port, 1 KB values, events counted in the callbacks
 *   recovery   100,000 objects of 1 KB, process killed, time until open, memory beyond the values
 *   memory     10,000 objects of 1,100 bytes (GOALS row 9): what the process holds in all
 *
 * A commit is two thread switches and a sync, so on a machine that does other work the figures measure how long a woken
 * thread waits for a processor: `chrt -f 10 build/bench-store` keeps others out, for all sides alike.
 *
 * The last line is the ratio of commits with 16 writers to etcd's. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "store/store.h"
#include "took.h"

#define WRITERS_MAX 64
#define VALUE 2048
#define ROUNDS 3
#define PORT 23790

static char base[200];
static double seconds = 1;

static int rm_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}
static void dir_of(char *out, size_t size, const char *name)
{
	snprintf(out, size, "%s/%s", base, name);
	(void)nftw(out, rm_one, 16, FTW_DEPTH | FTW_PHYS); /* may not be there */
	if (mkdir(out, 0700) < 0) {
		perror(out);
		exit(1);
	}
}

static long rss_kb(const char *field)
{
	auto_buf struct buf b = { 0 };
	if (io_read_file(AT_FDCWD, "/proc/self/status", &b, 1 << 16, NULL) < 0)
		return 0;
	const char *at = strstr(buf_cstr(&b), field);
	return at ? strtol(at + strlen(field) + 1, NULL, 10) : 0;
}

/* ---- latencies */

struct samples {
	int64_t *v;
	size_t n, cap;
};
static void sample(struct samples *s, int64_t ns)
{
	MEM_GROW(s->v, s->n, s->cap);
	s->v[s->n++] = ns;
}
static double percentile_ms(struct samples *s, double p)
{
	if (!s->n)
		return 0;
	qsort(s->v, s->n, sizeof(s->v[0]), took_by_ns);
	return (double)s->v[(size_t)((double)(s->n - 1) * p)] / 1e6;
}

struct result {
	struct samples all;
	int64_t writes, ns;
};
static struct result results[3][3]; /* ours, SQLite, etcd; 1, 16, 64 writers */
static const int writer_counts[3] = { 1, 16, 64 };

static void value_fill(char *v, size_t len, uint64_t n)
{
	struct rng rng;
	rng_init(&rng, n);
	for (size_t i = 0; i < len; i++)
		v[i] = (char)('a' + rng_u64(&rng) % 26);
}
static char value_text[VALUE];

/* ---- ours */

struct mine {
	struct store *s;
	struct result *r;
	int64_t began, until;
	int id;
	atomic_int *left;
	uint64_t n;
};
static void mine_submit(struct mine *m);
static void mine_done(struct store_call *call, void *arg)
{
	struct mine *m = arg;
	int64_t now = now_ns();
	if (call->err.class) {
		fprintf(stderr, "write: %s\n", err_msg(&call->err));
		exit(1);
	}
	sample(&m->r->all, now - m->began);
	m->r->writes++;
	if (now < m->until)
		mine_submit(m);
	else
		atomic_fetch_sub(m->left, 1);
}
static void mine_submit(struct mine *m)
{
	char key[64];
	int len = snprintf(key, sizeof(key), "/registry/pods/bench/pod-%02d-%llu", m->id, (unsigned long long)m->n++);
	struct bytes *v = bytes_new(value_text, VALUE);
	struct store_txn *t = store_txn_new();
	store_txn_if(t, span_make(key, (size_t)len), STORE_REV, STORE_EQUAL, 0);
	store_txn_put(t, STORE_THEN, span_make(key, (size_t)len), v, 0);
	bytes_unref(v);
	m->began = now_ns();
	store_commit(m->s, t, NULL, mine_done, m);
}

static struct store *open_at(const char *dir)
{
	auto_err struct err err = ERR_INIT;
	struct store *s;
	if (store_open(&(struct store_options){ .dir = dir }, &s, &err) < 0) {
		fprintf(stderr, "%s\n", err_msg(&err));
		exit(1);
	}
	return s;
}

static void run_ours(int writers, struct result *r)
{
	char dir[300];
	dir_of(dir, sizeof(dir), "ours");
	struct store *s = open_at(dir);
	static struct mine m[WRITERS_MAX];
	atomic_int left = writers;
	int64_t began = now_ns(), until = began + (int64_t)(seconds * 1e9);
	for (int i = 0; i < writers; i++) {
		m[i] = (struct mine){ .s = s, .r = r, .until = until, .id = i, .left = &left };
		mine_submit(&m[i]);
	}
	while (atomic_load(&left))
		usleep(2000);
	r->ns += now_ns() - began;
	(void)store_close(s, NULL);
}

/* ---- plain SQLite */

static sqlite3 *plain;
static sqlite3_stmt *plain_begin, *plain_insert, *plain_commit;
static pthread_mutex_t plain_lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t plain_until, plain_id;

static void *plain_writer(void *arg)
{
	struct result *mine = arg;
	char key[64];
	while (now_ns() < plain_until) {
		int64_t began = now_ns();
		pthread_mutex_lock(&plain_lock);
		int len = snprintf(key, sizeof(key), "/registry/pods/bench/pod-%lld", (long long)++plain_id);
		int bad = sqlite3_step(plain_begin) != SQLITE_DONE;
		sqlite3_reset(plain_begin);
		sqlite3_bind_text(plain_insert, 1, key, len, SQLITE_STATIC);
		sqlite3_bind_text(plain_insert, 2, value_text, VALUE, SQLITE_STATIC);
		bad |= sqlite3_step(plain_insert) != SQLITE_DONE;
		sqlite3_reset(plain_insert);
		bad |= sqlite3_step(plain_commit) != SQLITE_DONE;
		sqlite3_reset(plain_commit);
		pthread_mutex_unlock(&plain_lock);
		if (bad) {
			fprintf(stderr, "SQLite: %s\n", sqlite3_errmsg(plain));
			exit(1);
		}
		sample(&mine->all, now_ns() - began);
		mine->writes++;
	}
	return NULL;
}

static void merge(struct result *into, struct result *from, int n)
{
	for (int i = 0; i < n; i++) {
		for (size_t k = 0; k < from[i].all.n; k++)
			sample(&into->all, from[i].all.v[k]);
		into->writes += from[i].writes;
		free(from[i].all.v);
	}
}

static void run_plain(int writers, struct result *r)
{
	char dir[300], path[320];
	dir_of(dir, sizeof(dir), "plain");
	snprintf(path, sizeof(path), "%s/plain.db", dir);
	if (sqlite3_open_v2(path, &plain, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) ||
	    sqlite3_exec(plain, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
				"CREATE TABLE kv(key TEXT PRIMARY KEY, value TEXT)", NULL, NULL, NULL) ||
	    sqlite3_prepare_v2(plain, "BEGIN IMMEDIATE", -1, &plain_begin, NULL) ||
	    sqlite3_prepare_v2(plain, "INSERT OR REPLACE INTO kv VALUES(?1, ?2)", -1, &plain_insert, NULL) ||
	    sqlite3_prepare_v2(plain, "COMMIT", -1, &plain_commit, NULL)) {
		fprintf(stderr, "SQLite: %s\n", sqlite3_errmsg(plain));
		exit(1);
	}
	struct result each[WRITERS_MAX] = { 0 };
	pthread_t threads[WRITERS_MAX];
	int64_t began = now_ns();
	plain_id = 0;
	plain_until = began + (int64_t)(seconds * 1e9);
	for (int i = 0; i < writers; i++)
		pthread_create(&threads[i], NULL, plain_writer, &each[i]);
	for (int i = 0; i < writers; i++)
		pthread_join(threads[i], NULL);
	r->ns += now_ns() - began;
	merge(r, each, writers);
	sqlite3_finalize(plain_begin);
	sqlite3_finalize(plain_insert);
	sqlite3_finalize(plain_commit);
	sqlite3_close(plain);
}

/* ---- etcd */

static pid_t etcd_pid = -1;
static int64_t etcd_until;

static int etcd_connect(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

/* One request, one answer with a Content-Length; false on anything else. */
static bool etcd_put(int fd, const char *key, struct buf *b)
{
	buf_trunc(b, 0);
	auto_buf struct buf body = { 0 };
	buf_str(&body, "{\"key\":\"");
	base64_add(&body, BASE64_STD, key, strlen(key));
	buf_str(&body, "\",\"value\":\"");
	base64_add(&body, BASE64_STD, value_text, VALUE);
	buf_str(&body, "\"}");
	buf_printf(b, "POST /v3/kv/put HTTP/1.1\r\nHost: l\r\nContent-Length: %zu\r\n\r\n", body.len);
	buf_span_add(b, buf_span(&body));
	if (io_write_all(fd, b->ptr, b->len, NULL) < 0)
		return false;
	char in[4096];
	size_t n = 0;
	for (;;) {
		ssize_t got = read(fd, in + n, sizeof(in) - 1 - n);
		if (got <= 0)
			return false;
		n += (size_t)got;
		in[n] = 0;
		char *end = strstr(in, "\r\n\r\n"), *len = strcasestr(in, "content-length:");
		if (!end || !len)
			continue;
		if (n >= (size_t)(end + 4 - in) + strtoul(len + 15, NULL, 10))
			return strncmp(in, "HTTP/1.1 200", 12) == 0;
	}
}

static void *etcd_writer(void *arg)
{
	struct result *mine = arg;
	int fd = etcd_connect();
	char key[64];
	auto_buf struct buf b = { 0 };
	for (uint64_t n = 0; now_ns() < etcd_until; n++) {
		int64_t began = now_ns();
		snprintf(key, sizeof(key), "/registry/pods/bench/pod-%p-%llu", arg, (unsigned long long)n);
		if (fd < 0 || !etcd_put(fd, key, &b)) {
			fprintf(stderr, "etcd: a put failed\n");
			exit(1);
		}
		sample(&mine->all, now_ns() - began);
		mine->writes++;
	}
	close(fd);
	return NULL;
}

static bool etcd_start(void)
{
	char dir[300], client[64], peer[64], cluster[80];
	dir_of(dir, sizeof(dir), "etcd");
	snprintf(client, sizeof(client), "http://127.0.0.1:%d", PORT);
	snprintf(peer, sizeof(peer), "http://127.0.0.1:%d", PORT + 1);
	snprintf(cluster, sizeof(cluster), "default=%s", peer);
	const char *argv[] = { "etcd", "--data-dir", dir, "--listen-client-urls", client, "--advertise-client-urls", client,
			 "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster,
			 "--log-level", "error", "--quota-backend-bytes", "4294967296", NULL };
	posix_spawn_file_actions_t quiet;
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0);
	extern char **environ;
	if (posix_spawnp(&etcd_pid, "etcd", &quiet, NULL, (char **)argv, environ)) {
		etcd_pid = -1;
		return false;
	}
	for (int i = 0; i < 200; i++) {
		usleep(50000);
		int fd = etcd_connect();
		auto_buf struct buf b = { 0 };
		bool up = fd >= 0 && etcd_put(fd, "ready", &b);
		if (fd >= 0)
			close(fd);
		if (up)
			return true;
	}
	return false;
}

static void run_etcd(int writers, struct result *r)
{
	struct result each[WRITERS_MAX] = { 0 };
	pthread_t threads[WRITERS_MAX];
	int64_t began = now_ns();
	etcd_until = began + (int64_t)(seconds * 1e9);
	for (int i = 0; i < writers; i++)
		pthread_create(&threads[i], NULL, etcd_writer, &each[i]);
	for (int i = 0; i < writers; i++)
		pthread_join(threads[i], NULL);
	r->ns += now_ns() - began;
	merge(r, each, writers);
}

/* ---- fan-out */


static size_t take_events(struct store_watch *w, const struct store_batch *b, void *arg)
{
	*(uint64_t *)arg += b->n;
	return b->n;
}
static void gone(struct store_watch *w, void *arg)
{
	fprintf(stderr, "a watch fell behind\n");
	exit(1);
}
static atomic_bool port_woken;
static void port_wake(void *arg)
{
	atomic_store(&port_woken, true);
}

static void fan_out(void)
{
	static const struct store_watch_fns fns = { take_events, gone };
	char dir[300];
	dir_of(dir, sizeof(dir), "fanout");
	struct store *s = open_at(dir);
	struct store_port *p = store_port_open(s, port_wake, NULL);
	static struct store_watch *w[1000];
	uint64_t n = 0;
	for (int i = 0; i < 1000; i++)
		if (store_watch_open(p, SPAN("/registry/pods/"), false, 0, &fns, &n, &w[i], NULL) < 0)
			exit(1);
	struct result r = { 0 };
	static struct mine m[16];
	atomic_int left = 16;
	int64_t began = now_ns();
	for (int i = 0; i < 16; i++) {
		m[i] = (struct mine){ .s = s, .r = &r, .until = began + (int64_t)(seconds * 1e9), .id = i, .left = &left };
		mine_submit(&m[i]);
	}
	int64_t busy = 0;
	while (atomic_load(&left) || atomic_load(&port_woken)) {
		if (!atomic_exchange(&port_woken, false)) {
			usleep(50);
			continue;
		}
		int64_t t = now_ns();
		while (store_port_run(p, 1000))
			;
		busy += now_ns() - t;
	}
	int64_t took = now_ns() - began;
	printf("fan-out: 1000 watches, %lld commits: %.1f M deliveries/s at 16 writers; the port's thread alone %.1f M/s\n",
	       (long long)r.writes, (double)n / (double)took * 1e3, (double)n / (double)busy * 1e3);
	for (int i = 0; i < 1000; i++)
		store_watch_close(w[i]);
	store_port_close(p);
	(void)store_close(s, NULL);
	free(r.all.v);
}

/* ---- recovery and memory */

static void fill(const char *dir, int objects, size_t value)
{
	pid_t pid = fork();
	if (pid == 0) {
		struct store *s = open_at(dir);
		atomic_int left = 0;
		struct result r = { 0 };
		struct mine m = { .r = &r, .left = &left };
		for (int i = 0; i < objects; i++) {
			char key[64];
			int len = snprintf(key, sizeof(key), "/registry/pods/namespace-%03d/pod-%06d", i % 100, i);
			struct bytes *v = bytes_new(value_text, value);
			struct store_txn *t = store_txn_new();
			store_txn_put(t, STORE_THEN, span_make(key, (size_t)len), v, 0);
			bytes_unref(v);
			atomic_fetch_add(&left, 1);
			store_commit(s, t, NULL, mine_done, &m);
			while (atomic_load(&left) > 1000)
				usleep(100);
		}
		while (atomic_load(&left))
			usleep(1000);
		_exit(0); /* as if killed */
	}
	int status;
	waitpid(pid, &status, 0);
}

static void recovery(int objects, size_t value, const char *name)
{
	char dir[300];
	dir_of(dir, sizeof(dir), name);
	fill(dir, objects, value);
	pid_t pid = fork();
	if (pid == 0) { /* a fresh process, so that its memory is the store's */
		long before = rss_kb("VmRSS:");
		int64_t began = now_ns();
		struct store *s = open_at(dir);
		double ms = (double)(now_ns() - began) / 1e6;
		struct store_status st;
		struct store_snapshot *snap = store_snapshot(s);
		uint64_t n = store_count(snap, SPAN_EMPTY);
		store_snapshot_unref(snap);
		store_status(s, &st);
		long grown = rss_kb("VmRSS:") - before;
		printf("%s: %llu objects of %zu bytes open in %.0f ms after a kill; %ld KB more memory, %.0f bytes an object "
		       "beyond key and value\n", name, (unsigned long long)n, value, ms, grown,
		       ((double)grown * 1024 - (double)n * (double)(value + 37)) / (double)n);
		_exit(n == (uint64_t)objects ? 0 : 1);
	}
	int status;
	waitpid(pid, &status, 0);
}

static void print_row(const char *name, struct result *r, int writers)
{
	printf("  %-8s %2d writers  %8.0f commits/s   p50 %7.3f ms   p99 %7.3f ms\n", name, writers,
	       (double)r->writes / ((double)r->ns / 1e9), percentile_ms(&r->all, 0.5), percentile_ms(&r->all, 0.99));
}

int main(int argc, char **argv)
{
	snprintf(base, sizeof(base), "%s/knarr-bench-store-%d", argc > 1 ? argv[1] : "/var/tmp", (int)getpid());
	if (argc > 2)
		seconds = strtod(argv[2], NULL);
	if (mkdir(base, 0700) < 0) {
		perror(base);
		return 1;
	}
	value_fill(value_text, VALUE, 1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	recovery(100000, 1024, "recovery");
	recovery(10000, 1100, "memory");
	fan_out();
	bool etcd = etcd_start();
	if (!etcd)
		printf("etcd does not start here (package etcd-server); its rows are left out\n");
	for (int round = 0; round < ROUNDS; round++)
		for (int i = 0; i < 3; i++) {
			run_ours(writer_counts[i], &results[0][i]);
			run_plain(writer_counts[i], &results[1][i]);
			if (etcd)
				run_etcd(writer_counts[i], &results[2][i]);
		}
	printf("2 KB values, %d rounds of %.1f s each, alternating\n", ROUNDS, seconds);
	static const char *const names[] = { "knarr", "sqlite", "etcd" };
	double rate[3][3] = { 0 };
	for (int side = 0; side < (etcd ? 3 : 2); side++)
		for (int i = 0; i < 3; i++) {
			print_row(names[side], &results[side][i], writer_counts[i]);
			rate[side][i] = (double)results[side][i].writes / ((double)results[side][i].ns / 1e9);
		}
	printf("memory: knarr (this process, bench included) %ld KB peak\n", rss_kb("VmHWM:"));
	if (etcd_pid > 0) {
		kill(etcd_pid, SIGTERM);
		waitpid(etcd_pid, NULL, 0);
	}
	(void)nftw(base, rm_one, 16, FTW_DEPTH | FTW_PHYS);
	printf("ratio: knarr to plain SQLite %.1f, %.1f, %.1f with 1, 16, 64 writers", rate[0][0] / rate[1][0],
	       rate[0][1] / rate[1][1], rate[0][2] / rate[1][2]);
	if (etcd)
		printf("; to etcd %.1f, %.1f, %.1f", rate[0][0] / rate[2][0], rate[0][1] / rate[2][1], rate[0][2] / rate[2][2]);
	printf("\n");
	return 0;
}
