/* Watch fan-out and what idle watches cost: a client of raw HTTP/2 frames, so that little of what is measured is the client.
 *
 * usage: bench-fanout PID (HOST:PORT TOKEN | /unix/socket) [WATCHES [CONNECTIONS [SECONDS [WRITERS [REST_MS]]]]]
 *        PID of the server, whose memory and processor time are told. Default 1000 watches, 10 connections, 3 s, 1 writer.
 *        bench/apiserver runs it.
 *
 *     writers ── PUT of a 1 KB config map each, one after the other ──▶ server ──▶ every watch hears every one of them
 *
 * Every watch must have got every event when the writers stop; a delivery is one event at one watch, known by its closing line
 * end. The rate is deliveries by the time from the first update to the last delivery. The server's processor time for a
 * delivery is the figure that other work on the machine disturbs least. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <time.h>
#include "base/base.h"
#include "took.h"

enum { F_DATA = 0, F_HEADERS = 1, F_SETTINGS = 4, F_PING = 6, F_GOAWAY = 7, F_WINDOW = 8, F_RST = 3 };
#define IN_BYTES (256 * 1024)
#define NS "/api/v1/namespaces/fanout/configmaps"

struct conn {
	int fd;
	SSL *ssl;
	unsigned char *in;
	size_t have;
	size_t left;	     /* of the DATA frame under way */
	uint32_t stream, next_stream;
	uint64_t events, ended; /* line ends in DATA; streams that ended */
	uint64_t data_bytes, credit;
	unsigned headers;
	bool writer;
	uint64_t *per_stream; /* events by stream / 2 */
};

static const char *unix_path, *token;
static struct sockaddr_in addr;
static SSL_CTX *ctx;
static int server_pid;
static int64_t rest_ms = 500;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t number(const char *text)
{
	int64_t n;
	if (!span_to_i64(span_of(text), &n)) {
		(void)fprintf(stderr, "not a number: %s\n", text);
		exit(2);
	}
	return n;
}

/* ---- the server, from outside */

static long anon_kb(void)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/status", server_pid);
	auto_buf struct buf b = {};
	if (io_read_file(AT_FDCWD, path, &b, 1 << 16, NULL) < 0)
		die(path);
	const char *at = strstr(buf_cstr(&b), "RssAnon:");
	return at ? strtol(at + 8, NULL, 10) : 0;
}

static double cpu_s(void)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/stat", server_pid);
	auto_buf struct buf b = {};
	if (io_read_file(AT_FDCWD, path, &b, 1 << 16, NULL) < 0)
		die(path);
	const char *at = strrchr(buf_cstr(&b), ')');
	unsigned long user = 0, sys = 0;
	if (!at || sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) != 2)
		die("stat");
	return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

/* ---- connections */

static void put(struct conn *c, const void *data, size_t len)
{
	const char *p = data;
	while (len) {
		ssize_t n = c->ssl ? SSL_write(c->ssl, p, (int)len) : write(c->fd, p, len);
		if (n <= 0) {
			struct pollfd f = { c->fd, POLLIN | POLLOUT, 0 };
			(void)poll(&f, 1, 100);
			continue;
		}
		p += n;
		len -= (size_t)n;
	}
}

static void frame_add(struct buf *b, unsigned type, unsigned flags, uint32_t id, struct span payload)
{
	const unsigned char h[9] = { (unsigned char)(payload.len >> 16), (unsigned char)(payload.len >> 8),
				     (unsigned char)payload.len, (unsigned char)type, (unsigned char)flags,
				     (unsigned char)(id >> 24), (unsigned char)(id >> 16), (unsigned char)(id >> 8),
				     (unsigned char)id };
	buf_add(b, h, 9);
	buf_span_add(b, payload);
}

static void field(struct buf *b, const char *name, struct span value)
{
	struct span n = span_of(name);
	buf_chr(b, 0); /* literal, not indexed, new name: RFC 7541 section 6.2.2; lengths below 127 */
	buf_chr(b, (char)n.len);
	buf_span_add(b, n);
	assert(value.len < 127);
	buf_chr(b, (char)value.len);
	buf_span_add(b, value);
}

static uint32_t request_add(struct conn *c, struct buf *b, const char *method, struct span path, struct span body)
{
	auto_buf struct buf h = {}, auth = {};
	uint32_t id = c->next_stream;
	c->next_stream += 2;
	field(&h, ":method", span_of(method));
	field(&h, ":scheme", SPAN("https"));
	field(&h, ":path", path);
	field(&h, ":authority", SPAN("localhost"));
	if (token) {
		buf_printf(&auth, "Bearer %s", token);
		field(&h, "authorization", buf_span(&auth));
	}
	if (body.len)
		field(&h, "content-type", SPAN("application/json"));
	frame_add(b, F_HEADERS, body.len ? 4 : 5, id, buf_span(&h));
	if (body.len)
		frame_add(b, F_DATA, 1, id, body);
	return id;
}

static struct conn *conn_open(unsigned streams)
{
	struct conn *c = mem_new(struct conn);
	c->in = mem_alloc(IN_BYTES);
	c->next_stream = 1;
	c->per_stream = mem_zalloc((streams + 2) * sizeof(*c->per_stream));
	if (unix_path) {
		struct sockaddr_un un = { .sun_family = AF_UNIX };
		snprintf(un.sun_path, sizeof(un.sun_path), "%s", unix_path);
		c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(c->fd, (struct sockaddr *)&un, sizeof(un)) < 0)
			die(unix_path);
	} else {
		int one = 1;
		c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
			die("connect");
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		c->ssl = SSL_new(ctx);
		SSL_set_fd(c->ssl, c->fd);
		if (SSL_connect(c->ssl) != 1)
			die("TLS");
	}
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	auto_buf struct buf b = {};
	buf_str(&b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	frame_add(&b, F_SETTINGS, 0, 0, SPAN("\0\4\x7f\xff\xff\xff"));
	frame_add(&b, F_WINDOW, 0, 0, SPAN("\x7f\xfe\0\0"));
	put(c, b.ptr, b.len);
	return c;
}

static void conn_close(struct conn *c)
{
	if (c->ssl) {
		SSL_free(c->ssl);
	}
	close(c->fd);
	free(c->in);
	free(c->per_stream);
	free(c);
}

static uint64_t lines(const unsigned char *p, size_t n)
{
	uint64_t found = 0;
	const unsigned char *end = p + n;
	while ((p = memchr(p, '\n', (size_t)(end - p)))) {
		found++;
		if (++p == end)
			break;
	}
	return found;
}

static void data_part(struct conn *c, const unsigned char *p, size_t n)
{
	c->data_bytes += n;
	if (c->writer)
		return;
	uint64_t found = lines(p, n);
	c->events += found;
	c->per_stream[c->stream / 2] += found;
}

/* What was read: frames, of which only DATA matters. */
static void frames_read(struct conn *c)
{
	size_t at = 0;
	for (;;) {
		if (c->left) {
			size_t n = MIN(c->left, c->have - at);
			data_part(c, c->in + at, n);
			c->left -= n;
			at += n;
			if (c->left)
				break;
		}
		if (c->have - at < 9)
			break;
		const unsigned char *h = c->in + at;
		size_t len = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2];
		c->stream = (uint32_t)h[5] << 24 | (uint32_t)h[6] << 16 | (uint32_t)h[7] << 8 | h[8];
		if ((h[3] == F_DATA || h[3] == F_HEADERS) && h[4] & 1)
			c->ended++;
		if (h[3] == F_DATA) {
			c->left = len;
			at += 9;
			continue;
		}
		if (c->have - at < 9 + len)
			break;
		if (h[3] == F_HEADERS)
			c->headers++;
		if (h[3] == F_GOAWAY || h[3] == F_RST) {
			fprintf(stderr, "the server ended %s\n", h[3] == F_RST ? "a stream" : "the connection");
			exit(1);
		}
		if (h[3] == F_SETTINGS && !(h[4] & 1))
			put(c, "\0\0\0\4\1\0\0\0\0", 9);
		at += 9 + len;
	}
	memmove(c->in, c->in + at, c->have - at);
	c->have -= at;
	if (c->data_bytes - c->credit > 1 << 30) { /* the connection's window is topped up by what was taken */
		auto_buf struct buf b = {};
		uint32_t n = htonl((uint32_t)(c->data_bytes - c->credit));
		frame_add(&b, F_WINDOW, 0, 0, span_make((char *)&n, 4));
		c->credit = c->data_bytes;
		put(c, b.ptr, b.len);
	}
}

static void read_all(struct conn *c)
{
	for (;;) {
		ssize_t n = c->ssl ? SSL_read(c->ssl, c->in + c->have, (int)(IN_BYTES - c->have))
				   : read(c->fd, c->in + c->have, IN_BYTES - c->have);
		if (n <= 0) {
			if (!c->ssl && n == 0)
				die("the server closed");
			return;
		}
		c->have += (size_t)n;
		frames_read(c);
		if (!c->ssl && (size_t)n < IN_BYTES / 2)
			return;
	}
}

static int ep;

static void turn(int ms)
{
	struct epoll_event e[64];
	int n = epoll_wait(ep, e, 64, ms);
	for (int i = 0; i < n; i++)
		read_all(e[i].data.ptr);
}

static void watched(struct conn *c)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
	if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e) < 0)
		die("epoll");
}

/* At rest is after the server has tidied up: it gives memory back some seconds after a burst. */
static void settle(void)
{
	for (int64_t until = now_ns() + rest_ms * NS_PER_MS; now_ns() < until;)
		turn(50);
}

static void body_make(struct buf *b, unsigned writer, uint64_t n)
{
	buf_trunc(b, 0);
	buf_printf(b,
		   "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"obj-%u\",\"namespace\":\"fanout\"},"
		   "\"data\":{\"n\":\"%llu\",\"fill\":\"",
		   writer, (unsigned long long)n);
	while (b->len < 720) /* 1 KB as an event: managedFields and system fields come to it */
		buf_str(b, "0123456789abcdef");
	buf_str(b, "\"}}");
}

/* One request on the writer's connection, waited for. */
static void request_wait(struct conn *w, const char *method, const char *path, struct span body)
{
	auto_buf struct buf b = {};
	uint64_t ended = w->ended;
	(void)request_add(w, &b, method, span_of(path), body);
	put(w, b.ptr, b.len);
	while (w->ended == ended)
		turn(1000);
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		puts("bench/apiserver runs this: bench-fanout PID (HOST:PORT TOKEN | /socket) [WATCHES [CONNECTIONS [SECONDS "
		     "[WRITERS [REST_MS]]]]]");
		return 0;
	}
	int at = 2;
	server_pid = (int)number(argv[1]);
	if (argv[at][0] == '/') {
		unix_path = argv[at++];
	} else {
		char *colon = strchr(argv[at], ':');
		if (!colon || at + 1 >= argc)
			return 2;
		*colon = 0;
		addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)number(colon + 1)) };
		inet_pton(AF_INET, argv[at++], &addr.sin_addr);
		token = argv[at++];
		ctx = SSL_CTX_new(TLS_client_method());
		SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\2h2", 3);
	}
	unsigned watches = at < argc ? (unsigned)number(argv[at++]) : 1000, n_conns = at < argc ? (unsigned)number(argv[at++]) : 10;
	double seconds = at < argc ? strtod(argv[at++], NULL) : 3;
	unsigned writers = at < argc ? (unsigned)number(argv[at++]) : 1;
	unsigned per = (watches + n_conns - 1) / n_conns;
	if (at < argc)
		rest_ms = number(argv[at++]);
	if (!watches || !n_conns || per > 240 || !writers || writers > 64) {
		fputs("at most 240 watches a connection, 64 writers\n", stderr);
		return 2;
	}
	ep = epoll_create1(EPOLL_CLOEXEC);
	auto_free struct conn **conns = mem_zalloc(n_conns * sizeof(struct conn *));
	auto_buf struct buf b = {}, body = {};

	struct conn *w = conn_open(1);
	w->writer = true;
	watched(w);
	request_wait(w, "POST", "/api/v1/namespaces",
		     SPAN("{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"fanout\"}}"));
	for (unsigned i = 0; i < writers; i++) {
		body_make(&body, i, 0);
		request_wait(w, "POST", NS, buf_span(&body));
	}
	/* connections, then watches: what each costs the server at rest */
	long kb0 = anon_kb();
	for (unsigned i = 0; i < n_conns; i++) {
		conns[i] = conn_open(per);
		watched(conns[i]);
	}
	settle();
	long kb1 = anon_kb();
	unsigned begun = 0;
	for (unsigned i = 0; i < n_conns; i++) {
		buf_trunc(&b, 0);
		for (unsigned k = 0; k < per && begun < watches; k++, begun++)
			(void)request_add(conns[i], &b, "GET", SPAN(NS "?watch=1"), SPAN_EMPTY);
		put(conns[i], b.ptr, b.len);
	}
	unsigned answered = 0;
	for (int64_t until = now_ns() + 10 * NS_PER_S; answered < watches && now_ns() < until;) {
		turn(100);
		answered = 0;
		for (unsigned i = 0; i < n_conns; i++)
			answered += conns[i]->headers;
	}
	settle();
	long kb2 = anon_kb();
	for (unsigned i = 0; i < n_conns; i++) { /* they began with what there is */
		conns[i]->events = 0;
		memset(conns[i]->per_stream, 0, (per + 2) * sizeof(uint64_t));
	}
	if (answered != watches) {
		fprintf(stderr, "%u of %u watches were answered\n", answered, watches);
		return 1;
	}
	printf("idle: %u connections %.1f KB each, %u watches %.2f KB each\n", n_conns, (double)(kb1 - kb0) / n_conns, watches,
	       (double)(kb2 - kb1) / watches);

	/* updates */
	double cpu0 = cpu_s();
	int64_t from = now_ns(), until = from + (int64_t)(seconds * 1e9);
	uint64_t sent = 0, ended0 = w->ended;
	for (unsigned i = 0; i < writers; i++) {
		char path[128];
		snprintf(path, sizeof(path), NS "/obj-%u", i);
		body_make(&body, i, ++sent);
		buf_trunc(&b, 0);
		(void)request_add(w, &b, "PUT", span_of(path), buf_span(&body));
		put(w, b.ptr, b.len);
	}
	unsigned turn_of = 0;
	while (w->ended - ended0 < sent) {
		turn(1000);
		while (now_ns() < until && w->ended - ended0 + writers > sent) {
			char path[128];
			snprintf(path, sizeof(path), NS "/obj-%u", turn_of);
			body_make(&body, turn_of, ++sent);
			turn_of = (turn_of + 1) % writers;
			buf_trunc(&b, 0);
			(void)request_add(w, &b, "PUT", span_of(path), buf_span(&body));
			put(w, b.ptr, b.len);
		}
	}
	uint64_t want = sent * watches, got = 0, bytes = 0;
	for (int64_t limit = now_ns() + 20 * NS_PER_S; now_ns() < limit;) {
		got = bytes = 0;
		for (unsigned i = 0; i < n_conns; i++) {
			got += conns[i]->events;
			bytes += conns[i]->data_bytes;
		}
		if (got >= want)
			break;
		turn(100);
	}
	double took = (double)(now_ns() - from) / 1e9, cpu = cpu_s() - cpu0;
	unsigned short_of = 0;
	for (unsigned i = 0; i < n_conns; i++)
		for (uint32_t id = 1; id < conns[i]->next_stream; id += 2)
			short_of += conns[i]->per_stream[id / 2] != sent;
	printf("fan-out: %llu updates to %u watches on %u connections%s, %u writers: %.0f deliveries/s, %.2f us of the server's "
	       "processor each, %.0f bytes each\n",
	       (unsigned long long)sent, watches, n_conns, unix_path ? " (unix)" : " (TLS)", writers, (double)got / took,
	       cpu * 1e6 / (double)got, (double)bytes / (double)got);
	if (short_of)
		printf("WRONG: %u watches missed or repeated events (%llu of %llu)\n", short_of, (unsigned long long)got,
		       (unsigned long long)want);
	for (unsigned i = 0; i < n_conns; i++)
		conn_close(conns[i]);
	conn_close(w);
	return short_of != 0;
}
