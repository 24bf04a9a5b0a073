/* A server for tests and benchmarks; not installed.
 *
 *   http_demo [--http PORT] [--https PORT] [--unix PATH] [--threads N] [--dir DIR] [--reuseport] [--queue BYTES] ...
 *
 * Makes its own certificates; with --dir writes ca.crt, client.crt, client.key there. Prints one line per listener
 * ("http 127.0.0.1:PORT"), then "ready". SIGHUP makes a new server certificate, SIGTERM stops gracefully, SIGUSR1
 * prints the statistics.
 *
 *   /hello             13 bytes            /size/N       N bytes in shared pieces of 2 KB
 *   /json/N            N bytes of JSON, gzip if accepted and large
 *   /echo              the request's body  /whole        the same through body_whole (limit 1 MB)
 *   /stream/N          N lines, one a turn, with trailers  /forever     a line each 100 ms
 *   /headers           what came           /who          peer, certificate
 *   /slow/MS           answers after MS    /hijack       raw echo after 101 (or 200) */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include "http/http.h"

static struct tls_slot slot;
static struct bytes *block;
static struct tls_key *ca_key;
static struct buf ca_pem;
static const char *dir;

struct worker {
	struct loop *loop;
	struct http_server *server;
	pthread_t thread;
};
static struct worker workers[64];
static unsigned n_workers = 1, n_stopped, stop_ms = 3000;
static struct http_limits limits;

/* ---- handlers ---- */

struct job {
	struct http_req *r;
	struct loop_timer timer;
	uint64_t left, n;
};

static void job_done(struct http_req *r, bool complete, void *arg)
{
	struct job *j = arg;
	loop_timer_stop(&j->timer);
}

static void echo_data(struct http_req *r, struct span data, void *arg)
{
	http_reply_add(r, http_copy(data));
	if (http_reply_queued(r) > 262144)
		http_req_pause(r);
}

static void echo_end(struct http_req *r, void *arg)
{
	http_reply_end(r);
}

static void echo_drain(struct http_req *r, void *arg)
{
	http_req_resume(r);
}

static const struct http_req_ops echo_ops = { .data = echo_data, .end = echo_end, .drain = echo_drain };

static void whole(struct http_req *r, int rc, struct span body, void *arg)
{
	if (rc < 0) {
		http_reply_text(r, err_kube_code(rc), "text/plain", SPAN("too large\n"));
		return;
	}
	http_reply_add(r, http_copy(body));
	http_reply_end(r);
}

static void line_add(struct job *j)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "line %llu\n", (unsigned long long)j->n++);
	http_reply_add(j->r, http_copy(span_make(line, (size_t)n)));
}

static void stream_tick(struct loop_timer *t)
{
	struct job *j = container_of(t, struct job, timer);
	if (j->left-- == 0) {
		http_reply_trailer(j->r, "X-Lines", SPAN("all"));
		http_reply_end(j->r);
		return;
	}
	line_add(j);
	if (http_reply_queued(j->r) <= 262144)
		loop_timer_start(t, 0);
}

static void stream_drain(struct http_req *r, void *arg)
{
	loop_timer_start(&((struct job *)arg)->timer, 0);
}

static void forever_tick(struct loop_timer *t)
{
	struct job *j = container_of(t, struct job, timer);
	line_add(j);
	loop_timer_start(t, 100);
}

static void forever_hangup(struct http_req *r, void *arg)
{
	http_reply_end(r);
}

static void slow_tick(struct loop_timer *t)
{
	struct job *j = container_of(t, struct job, timer);
	http_reply_text(j->r, 200, "text/plain", SPAN("at last\n"));
}

static const struct http_req_ops stream_ops = { .drain = stream_drain, .done = job_done };
static const struct http_req_ops forever_ops = { .hangup = forever_hangup, .done = job_done };
static const struct http_req_ops slow_ops = { .done = job_done };

static struct job *job_new(struct http_req *r, const struct http_req_ops *ops, const char *name,
	void (*tick)(struct loop_timer *t))
{
	struct job *j = arena_new(http_req_arena(r), struct job);
	j->r = r;
	loop_timer_init(&j->timer, http_req_loop(r), name, tick);
	http_req_ops_set(r, ops, j);
	return j;
}

static void raw_data(struct http_duplex *d, struct span data, void *arg)
{
	http_duplex_write(d, http_copy(data));
	if (http_duplex_queued(d) > 262144)
		http_duplex_pause(d);
}

static void raw_end(struct http_duplex *d, void *arg)
{
	http_duplex_write(d, http_copy(SPAN("bye\n")));
	http_duplex_end(d);
}

static void raw_drain(struct http_duplex *d, void *arg)
{
	http_duplex_resume(d);
}

static const struct http_duplex_ops raw_ops = { .data = raw_data, .end = raw_end, .drain = raw_drain };

static void hijack(struct http_req *r)
{
	auto_err struct err err = ERR_INIT;
	struct http_duplex *d;
	bool upgrade = http_req_wants_upgrade(r, "tcp");
	if (upgrade)
		http_reply_header(r, "Upgrade", SPAN("tcp"));
	else
		http_reply_header(r, "Content-Type", SPAN("application/vnd.docker.raw-stream"));
	if (http_req_hijack(r, upgrade ? 101 : 200, &d, &err) < 0) {
		http_reply_text(r, 501, "text/plain", span_of(err_msg(&err)));
		return;
	}
	http_duplex_ops_set(d, &raw_ops, NULL);
}

static bool number_after(struct span path, const char *prefix, uint64_t *out)
{
	struct span p = span_of(prefix);
	return span_starts(path, p) && span_to_u64(span_from(path, p.len), out);
}

static void handle(struct http_req *r, void *arg)
{
	struct span path = http_req_path(r);
	uint64_t n;
	if (span_is(path, "/hello")) {
		http_reply_text(r, 200, "text/plain", SPAN("Hello, world\n"));
	} else if (number_after(path, "/size/", &n)) {
		for (; n; n -= MIN(n, (uint64_t)block->len))
			http_reply_add(r, http_part(bytes_ref(block), span_sub(bytes_span(block), 0, (size_t)MIN(n, (uint64_t)block->len))));
		http_reply_end(r);
	} else if (number_after(path, "/json/", &n)) {
		http_reply_header(r, "Content-Type", SPAN("application/json"));
		http_reply_gzip(r, 0);
		for (; n; n -= MIN(n, (uint64_t)block->len))
			http_reply_add(r, http_part(bytes_ref(block), span_sub(bytes_span(block), 0, (size_t)MIN(n, (uint64_t)block->len))));
		http_reply_end(r);
	} else if (span_is(path, "/echo")) {
		http_reply_begin(r);
		http_req_ops_set(r, &echo_ops, NULL);
	} else if (span_is(path, "/whole")) {
		http_req_body_whole(r, 1 << 20, whole, NULL);
	} else if (number_after(path, "/stream/", &n)) {
		struct job *j = job_new(r, &stream_ops, "stream", stream_tick);
		j->left = n;
		http_reply_begin(r);
		loop_timer_start(&j->timer, 0);
	} else if (span_is(path, "/forever")) {
		struct job *j = job_new(r, &forever_ops, "forever", forever_tick);
		http_reply_begin(r);
		loop_timer_start(&j->timer, 0);
	} else if (span_is(path, "/quiet")) {
		http_reply_begin(r);
		struct job *j = job_new(r, &forever_ops, "quiet", forever_tick);
		(void)j;
	} else if (number_after(path, "/slow/", &n)) {
		struct job *j = job_new(r, &slow_ops, "slow", slow_tick);
		loop_timer_start(&j->timer, (int64_t)n);
	} else if (span_is(path, "/headers")) {
		const struct http_fields *f = http_req_headers(r);
		auto_buf struct buf out = {};
		for (unsigned i = 0; i < f->n; i++)
			buf_printf(&out, "%.*s: %.*s\n", SPAN_ARG(f->items[i].name), SPAN_ARG(f->items[i].value));
		http_reply_text(r, 200, "text/plain", buf_span(&out));
	} else if (span_is(path, "/who")) {
		const struct http_peer *p = http_req_peer(r);
		auto_buf struct buf out = {};
		buf_printf(&out, "peer=%s tls=%d version=%d", p->is_unix ? "unix" : "tcp", p->is_tls, http_req_version(r));
		if (p->is_unix)
			buf_printf(&out, " uid=%u pid=%d", p->cred.uid, p->cred.pid);
		if (p->cert)
			buf_printf(&out, " cn=%s verified=%d", p->cert->cn, p->cert->verified);
		buf_chr(&out, '\n');
		http_reply_text(r, 200, "text/plain", buf_span(&out));
	} else if (span_is(path, "/hijack")) {
		hijack(r);
	} else {
		http_reply_text(r, 404, "text/plain", SPAN("no such page\n"));
	}
}

/* ---- certificates ---- */

static void die(const char *what, struct err *err)
{
	fprintf(stderr, "http_demo: %s: %s\n", what, err_msg(err));
	exit(1);
}

static void make_cert(enum tls_cert_kind kind, const char *cn, struct buf *cert, struct buf *key_pem)
{
	auto_err struct err err = ERR_INIT;
	struct tls_key *key;
	int64_t now = clock_wall_ns(clock_real()) / NS_PER_S;
	const char *dns[] = { "localhost", NULL }, *ips[] = { "127.0.0.1", "::1", NULL }, *orgs[] = { "demo", NULL };
	struct tls_cert_params p = { kind, cn, orgs, kind == TLS_CERT_SERVER ? dns : NULL, kind == TLS_CERT_SERVER ? ips : NULL,
		NULL, now - 60, now + 86400 };
	if (tls_key_new(TLS_ES256, &key, &err) < 0 || tls_cert_make(&p, key, buf_span(&ca_pem), ca_key, cert, &err) < 0 ||
	    tls_key_private_pem(key, key_pem, &err) < 0)
		die("certificate", &err);
	if (kind == TLS_CERT_CA) {
		ca_key = key;
		return;
	}
	tls_key_unref(key);
}

static void put_file(const char *name, struct buf *data)
{
	auto_err struct err err = ERR_INIT;
	auto_fd int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (io_write_file_lazy(d, name, buf_span(data), 0600, &err) < 0)
		die(name, &err);
}

static void new_server_cert(void)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf cert = {}, key = {};
	make_cert(TLS_CERT_SERVER, "http_demo", &cert, &key);
	struct tls_pair pair = { buf_span(&cert), buf_span(&key), "server", "server" };
	struct tls_server_params p = { .pairs = &pair, .n_pairs = 1, .client_ca_pem = buf_span(&ca_pem),
		.client_auth = TLS_CLIENT_ASK, .alpn = TLS_ALPN_HTTP };
	struct tls_ctx *ctx;
	if (tls_server_new(&p, &ctx, &err) < 0)
		die("server certificate", &err);
	tls_slot_put(&slot, ctx);
}

/* ---- process ---- */

static void stopped(struct http_server *s, void *arg)
{
	struct worker *w = arg;
	http_server_free(s);
	w->server = NULL;
	if (w != workers) {
		loop_stop(w->loop);
		return;
	}
	/* The first deals sockets to the others: they stop after it. */
	loop_stop(w->loop);
}

static void stop_other(void *arg)
{
	struct worker *w = arg;
	http_server_stop(w->server, stop_ms, stopped, w);
}

static struct loop_signal term, hup, usr1;

static void on_term(struct loop_signal *s)
{
	if (!n_stopped++)
		http_server_stop(workers[0].server, stop_ms, stopped, &workers[0]);
}

static void on_hup(struct loop_signal *s)
{
	new_server_cert();
}

static void on_usr1(struct loop_signal *s)
{
	struct http_server_stats st = http_server_stats(workers[0].server);
	printf("stats accepted=%llu refused=%llu requests=%llu bad=%llu timeouts=%llu floods=%llu connections=%u streams=%u idle=%u\n",
		(unsigned long long)st.accepted, (unsigned long long)st.refused, (unsigned long long)st.requests,
		(unsigned long long)st.bad_requests, (unsigned long long)st.timeouts, (unsigned long long)st.floods, st.connections,
		st.streams, st.idle);
	fflush(stdout);
}

static void *worker_run(void *arg)
{
	struct worker *w = arg;
	loop_run(w->loop);
	return NULL;
}

static void worker_make(struct worker *w)
{
	auto_err struct err err = ERR_INIT;
	struct http_server_params p = { .name = "demo", .handle = handle, .tls = &slot, .limits = limits };
	if (loop_new(NULL, &w->loop, &err) < 0)
		die("loop", &err);
	p.loop = w->loop;
	if (http_server_new(&p, &w->server, &err) < 0)
		die("server", &err);
	loop_hold(w->loop);
}

static bool reuseport; /* one listening socket for each thread, instead of one loop that deals */

static void listen_on(const char *kind, unsigned port, unsigned flags, struct err *err)
{
	for (unsigned i = 0; i < (reuseport ? n_workers : 1); i++) {
		int fd = http_listen_tcp("127.0.0.1", port, reuseport ? HTTP_REUSEPORT : 0, err);
		port = http_fd_port(fd);
		if (http_server_listen(workers[i].server, fd, flags, err) < 0)
			die(kind, err);
	}
	printf("%s 127.0.0.1:%u\n", kind, port);
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "http", 1, NULL, 'h' }, { "https", 1, NULL, 's' }, { "unix", 1, NULL, 'u' },
		{ "threads", 1, NULL, 't' }, { "dir", 1, NULL, 'd' }, { "queue", 1, NULL, 'q' }, { "header-ms", 1, NULL, 'H' },
		{ "body-ms", 1, NULL, 'B' }, { "write-ms", 1, NULL, 'W' }, { "connections", 1, NULL, 'c' }, { "window", 1, NULL, 'w' },
		{ "reuseport", 0, NULL, 'r' }, { "stop-ms", 1, NULL, 'S' }, { "handshake-ms", 1, NULL, 'T' },
		{ "idle-ms", 1, NULL, 'I' }, {} };
	auto_err struct err err = ERR_INIT;
	long http = -1, https = -1;
	const char *unix_path = NULL;
	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (o) {
		case 'h': http = strtol(optarg, NULL, 10); break;
		case 's': https = strtol(optarg, NULL, 10); break;
		case 'u': unix_path = optarg; break;
		case 't': n_workers = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'd': dir = optarg; break;
		case 'q': limits.queue_bytes = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'H': limits.header_ms = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'B': limits.body_stall_ms = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'W': limits.write_stall_ms = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'c': limits.connections = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'w': limits.window_bytes = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'r': reuseport = true; break;
		case 'T': limits.handshake_ms = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'I': limits.idle_ms = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'S': stop_ms = (unsigned)strtoul(optarg, NULL, 10); break;
		default: return 2;
		}
	}
	if (n_workers < 1 || n_workers > ARRAY_LEN(workers))
		return 2;
	io_descriptors_raise();
	block = bytes_alloc(2048);
	for (size_t i = 0; i < block->len; i++)
		block->data[i] = "{\"name\":\"web-1\",\"n\":123}\n"[i % 25];
	tls_slot_init(&slot);
	auto_buf struct buf none = {};
	make_cert(TLS_CERT_CA, "demo-ca", &ca_pem, &none);
	new_server_cert();
	if (dir) {
		auto_buf struct buf cert = {}, key = {};
		make_cert(TLS_CERT_CLIENT, "demo-client", &cert, &key);
		put_file("ca.crt", &ca_pem);
		put_file("client.crt", &cert);
		put_file("client.key", &key);
	}
	for (unsigned i = 0; i < n_workers; i++)
		worker_make(&workers[i]);
	if (n_workers > 1 && !reuseport) {
		struct http_server *others[ARRAY_LEN(workers)];
		for (unsigned i = 1; i < n_workers; i++)
			others[i - 1] = workers[i].server;
		http_server_share(workers[0].server, others, n_workers - 1);
	}
	if (http >= 0)
		listen_on("http", (unsigned)http, 0, &err);
	if (https >= 0)
		listen_on("https", (unsigned)https, HTTP_TLS, &err);
	if (unix_path && http_server_listen(workers[0].server, http_listen_unix(unix_path, 0600, &err), 0, &err) < 0)
		die("unix", &err);
	struct loop *l = workers[0].loop;
	if (loop_signal_open(&term, l, "stop", SIGTERM, on_term, &err) < 0 ||
	    loop_signal_open(&hup, l, "certificate", SIGHUP, on_hup, &err) < 0 ||
	    loop_signal_open(&usr1, l, "statistics", SIGUSR1, on_usr1, &err) < 0)
		die("signals", &err);
	for (unsigned i = 1; i < n_workers; i++)
		pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]);
	printf("ready\n");
	fflush(stdout);
	loop_run(l);
	for (unsigned i = 1; i < n_workers; i++) {
		loop_post_call(workers[i].loop, stop_other, &workers[i]);
		pthread_join(workers[i].thread, NULL);
		loop_turn(workers[i].loop, false);
		loop_free(workers[i].loop);
	}
	loop_signal_close(&term, NULL);
	loop_signal_close(&hup, NULL);
	loop_signal_close(&usr1, NULL);
	loop_turn(l, false);
	loop_free(l);
	tls_slot_done(&slot);
	tls_key_unref(ca_key);
	buf_done(&ca_pem);
	bytes_unref(block);
	return 0;
}
