/* Row 19: answers a second of the cluster's name server, with the client on the same cores, and how long one takes.
 *
 * usage: bench-dns [SECONDS [SERVICES]]
 *
 * The server is the component's own zone and sockets in a process of their own, with SERVICES (1,000) services; the client asks for
 * their addresses over UDP from 4 sockets with 32 questions each under way, and checks each answer's address. Peers are
 * Debian's dnsmasq and unbound with the same names, if they are there: one process each, no logging, asked by the same client.
 * Processor times for an answer tell what a machine with other work hides: with a core each, the slower side bounds the rate. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dns/serve.h"
#include "took.h"

enum { SOCKETS = 4, WINDOW = 32, LATENCIES = 20000 };

static unsigned n_services, seconds;
static char dir[] = "/tmp/knarr-bench-dns-XXXXXX";

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void address_of(unsigned i, uint8_t out[4])
{
	out[0] = 10;
	out[1] = (uint8_t)(96 + i / 62500);
	out[2] = (uint8_t)(i / 250 % 250);
	out[3] = (uint8_t)(i % 250 + 1);
}

static void name_of(unsigned i, char out[64])
{
	snprintf(out, 64, "service-%u.default.svc.cluster.local", i);
}

/* ---- servers */

static uint16_t free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	auto_fd int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (bind(s, (struct sockaddr *)&a, len) < 0 || getsockname(s, (struct sockaddr *)&a, &len) < 0)
		fail("bench: a port");
	return ntohs(a.sin_port);
}

static pid_t child(void)
{
	(void)fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static void ours(uint16_t port)
{
	auto_err struct err err = ERR_INIT;
	const struct sys_addr own = { AF_INET, { 127, 0, 0, 1 } };
	auto_buf struct buf file = { 0 };
	struct loop *loop;
	struct dns_zone *zone;
	struct dns_forward *forward;
	struct dns_serve *serve;
	buf_printf(&file, "%s/resolv.conf", dir);
	if (loop_new(NULL, &loop, &err) < 0 || dns_zone_new(SPAN("cluster.local"), &own, &zone, &err) < 0)
		exit(1);
	for (unsigned i = 0; i < n_services; i++) {
		auto_arena struct arena a = { 0 };
		auto_buf struct buf text = { 0 }, key = { 0 };
		struct json o;
		uint8_t b[4];
		address_of(i, b);
		buf_printf(&text, "{\"spec\":{\"clusterIP\":\"%u.%u.%u.%u\",\"ports\":[{\"name\":\"http\",\"port\":80}]}}", b[0], b[1],
			   b[2], b[3]);
		buf_printf(&key, "default/service-%u", i);
		if (json_parse(&a, buf_span(&text), JSON_BORROW, NULL, &o, NULL) == 0)
			dns_zone_service(zone, buf_span(&key), dns_service_read(&o));
	}
	const struct dns_forward_params fp = { .loop = loop, .resolv_conf = buf_cstr(&file) };
	if (dns_forward_new(&fp, &forward, &err) < 0)
		exit(1);
	const struct dns_serve_params sp = { .loop = loop, .zone = zone, .forward = forward, .address = own, .port = port };
	if (dns_serve_new(&sp, &serve, &err) < 0)
		exit(1);
	loop_run(loop);
	exit(0);
}

static void file_write(const char *name, const struct buf *text)
{
	auto_buf struct buf path = { 0 };
	auto_err struct err err = ERR_INIT;
	buf_printf(&path, "%s/%s", dir, name);
	if (io_write_file(AT_FDCWD, buf_cstr(&path), buf_span(text), 0644, &err) < 0) {
		fprintf(stderr, "bench: %s\n", err_msg(&err));
		exit(1);
	}
}

static void dnsmasq(uint16_t port)
{
	auto_buf struct buf hosts = { 0 }, file = { 0 };
	char name[64], at[32];
	for (unsigned i = 0; i < n_services; i++) {
		uint8_t b[4];
		address_of(i, b);
		name_of(i, name);
		buf_printf(&hosts, "%u.%u.%u.%u %s\n", b[0], b[1], b[2], b[3], name);
	}
	file_write("hosts", &hosts);
	buf_printf(&file, "--addn-hosts=%s/hosts", dir);
	snprintf(at, sizeof(at), "--port=%u", port);
	execl("/usr/sbin/dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
	      "--user=root", "--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file=", "--log-facility=/dev/null",
	      "--local-ttl=5", buf_cstr(&file), at, (char *)NULL);
	exit(127);
}

static void unbound(uint16_t port)
{
	auto_buf struct buf conf = { 0 }, file = { 0 };
	char name[64];
	buf_printf(&conf, "server:\n  interface: 127.0.0.1\n  port: %u\n  num-threads: 1\n  do-daemonize: no\n  username: \"\"\n"
			  "  chroot: \"\"\n  directory: \"%s\"\n  pidfile: \"\"\n  use-syslog: no\n"
			  "  logfile: \"/dev/null\"\n  verbosity: 0\n  local-zone: \"cluster.local.\" static\n", port, dir);
	for (unsigned i = 0; i < n_services; i++) {
		uint8_t b[4];
		address_of(i, b);
		name_of(i, name);
		buf_printf(&conf, "  local-data: \"%s. 5 IN A %u.%u.%u.%u\"\n", name, b[0], b[1], b[2], b[3]);
	}
	buf_str(&conf, "remote-control:\n  control-enable: no\n");
	file_write("unbound.conf", &conf);
	buf_printf(&file, "%s/unbound.conf", dir);
	execl("/usr/sbin/unbound", "unbound", "-d", "-c", buf_cstr(&file), (char *)NULL);
	exit(127);
}

/* ---- the client */

static uint8_t (*queries)[128];
static size_t *query_lens;

static void queries_make(void)
{
	queries = mem_zalloc(n_services * sizeof(*queries));
	query_lens = mem_zalloc(n_services * sizeof(*query_lens));
	for (unsigned i = 0; i < n_services; i++) {
		struct dnsmsg_name n;
		char name[64];
		name_of(i, name);
		(void)dnsmsg_name_parse(span_of(name), &n);
		query_lens[i] = dnsmsg_query(queries[i], 0, &n, DNSMSG_A, false, false);
	}
}

struct lane {
	int sock;
	unsigned next;           /* id of the next question */
	unsigned what[1 << 16];  /* by id */
	struct mmsghdr in[WINDOW], out[WINDOW];
	struct iovec in_iov[WINDOW], out_iov[WINDOW];
	uint8_t questions[WINDOW][128], answers[WINDOW][600];
};

static unsigned turn;

static void lane_ask(struct lane *l, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned what = turn++ % n_services, id = l->next++ & 0xffff;
		l->what[id] = what;
		memcpy(l->questions[i], queries[what], query_lens[what]);
		l->questions[i][0] = (uint8_t)(id >> 8);
		l->questions[i][1] = (uint8_t)id;
		l->out_iov[i] = (struct iovec){ l->questions[i], query_lens[what] };
		l->out[i].msg_hdr = (struct msghdr){ .msg_iov = &l->out_iov[i], .msg_iovlen = 1 };
	}
	for (unsigned done = 0; done < n;) {
		int sent = sendmmsg(l->sock, l->out + done, n - done, 0);
		if (sent < 0 && errno != EINTR)
			fail("bench: asking");
		done += sent > 0 ? (unsigned)sent : 0;
	}
}

/* Whatever is wrong with an answer ends the run: a fast wrong one counts for nothing. */
static void check(const struct lane *l, const uint8_t *m, size_t len)
{
	unsigned what = l->what[(unsigned)m[0] << 8 | m[1]];
	uint8_t want[4];
	address_of(what, want);
	size_t end = query_lens[what] - DNSMSG_OPT_LEN;
	if (len < end + 16 || (m[3] & 15) || m[7] != 1 || memcmp(m + end + 12, want, 4) != 0) {
		fprintf(stderr, "bench: a wrong answer about service-%u\n", what);
		exit(1);
	}
}

static int lane_open(struct lane *l, uint16_t port)
{
	static const struct timeval patience = { .tv_sec = 1 };
	static const int bytes = 4 << 20;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	l->sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	(void)setsockopt(l->sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(l->sock, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	for (unsigned i = 0; i < WINDOW; i++) {
		l->in_iov[i] = (struct iovec){ l->answers[i], sizeof(l->answers[i]) };
		l->in[i].msg_hdr = (struct msghdr){ .msg_iov = &l->in_iov[i], .msg_iovlen = 1 };
	}
	return connect(l->sock, (struct sockaddr *)&to, sizeof(to));
}

/* utime and stime of a process, in seconds (proc(5)). */
static double cpu_of(pid_t pid)
{
	char path[64], text[1024];
	unsigned long user = 0, system = 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	text[MAX(n, 0)] = 0;
	const char *end = strrchr(text, ')');
	if (!end || sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
		return 0;
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double cpu_own(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Answers a second; 0: it never answered. */
static double measure(const char *title, void (*server)(uint16_t port))
{
	static struct lane lanes[SOCKETS];
	static int64_t took[LATENCIES];
	uint16_t port = free_port();
	pid_t pid = child();
	if (pid == 0)
		server(port);
	uint8_t byte[600];
	struct lane *first = &lanes[0];
	bool up = false;
	if (lane_open(first, port) < 0)
		fail("bench: a socket");
	/* Up when it answers the first question. */
	for (unsigned i = 0; i < 200 && !up; i++) {
		unsigned what = turn % n_services;
		(void)usleep(20000);
		first->what[0] = what;
		turn++;
		up = send(first->sock, queries[what], query_lens[what], 0) > 0 && recv(first->sock, byte, sizeof(byte), MSG_DONTWAIT) > 0;
		for (unsigned k = 0; k < 20 && !up; k++) {
			(void)usleep(1000);
			up = recv(first->sock, byte, sizeof(byte), MSG_DONTWAIT) > 0;
		}
	}
	if (!up) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		close(first->sock);
		printf("%-8s is not there\n", title);
		return 0;
	}
	(void)usleep(50000);
	while (recv(first->sock, byte, sizeof(byte), MSG_DONTWAIT) > 0)
		;
	/* One at a time. */
	for (unsigned i = 0; i < LATENCIES; i++) {
		int64_t at = now_ns();
		lane_ask(first, 1);
		ssize_t n = recv(first->sock, byte, sizeof(byte), 0);
		took[i] = now_ns() - at;
		if (n < 0)
			fail("bench: an answer");
		check(first, byte, (size_t)n);
	}
	qsort(took, LATENCIES, sizeof(*took), took_by_ns);
	/* As many as it can. */
	for (unsigned i = 1; i < SOCKETS; i++)
		if (lane_open(&lanes[i], port) < 0)
			fail("bench: a socket");
	uint64_t answers = 0;
	double cpu = cpu_of(pid), own = cpu_own();
	int64_t began = now_ns(), until = began + (int64_t)seconds * NS_PER_S;
	for (unsigned i = 0; i < SOCKETS; i++)
		lane_ask(&lanes[i], WINDOW);
	while (now_ns() < until)
		for (unsigned i = 0; i < SOCKETS; i++) {
			int n = recvmmsg(lanes[i].sock, lanes[i].in, WINDOW, MSG_WAITFORONE, NULL);
			if (n <= 0)
				fail("bench: answers");
			for (int k = 0; k < n; k++)
				check(&lanes[i], lanes[i].answers[k], lanes[i].in[k].msg_len);
			answers += (uint64_t)n;
			lane_ask(&lanes[i], (unsigned)n);
		}
	double s = (double)(now_ns() - began) / 1e9;
	cpu = (cpu_of(pid) - cpu) * 1e6 / (double)answers;
	own = (cpu_own() - own) * 1e6 / (double)answers;
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	for (unsigned i = 0; i < SOCKETS; i++)
		close(lanes[i].sock);
	printf("%-8s %8.0f answers/s   processor: server %.2f us, client %.2f us each   one at a time p50 %.1f us, p99 %.1f us\n",
	       title, (double)answers / s, cpu, own, (double)took[LATENCIES / 2] / 1e3, (double)took[LATENCIES * 99 / 100] / 1e3);
	return (double)answers / s;
}

static unsigned number(const char *text)
{
	uint64_t n;
	if (!span_to_u64(span_of(text), &n) || !n || n > 1000000) {
		fprintf(stderr, "usage: bench-dns [SECONDS [SERVICES]]\n");
		exit(2);
	}
	return (unsigned)n;
}

int main(int argc, char **argv)
{
	seconds = number(argc > 1 ? argv[1] : "3");
	n_services = number(argc > 2 ? argv[2] : "1000");
	if (!mkdtemp(dir))
		fail("bench: a folder");
	queries_make();
	log_open(2, LOG_ERROR, "bench");
	double knarr = measure("knarr", ours);
	double masq = access("/usr/sbin/dnsmasq", X_OK) == 0 ? measure("dnsmasq", dnsmasq) : 0;
	double bound = access("/usr/sbin/unbound", X_OK) == 0 ? measure("unbound", unbound) : 0;
	if (masq > 0)
		printf("ratio    %.1fx dnsmasq\n", knarr / masq);
	if (bound > 0)
		printf("ratio    %.1fx unbound\n", knarr / bound);
	static const char *const files[] = { "hosts", "unbound.conf" };
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		auto_buf struct buf path = { 0 };
		buf_printf(&path, "%s/%s", dir, files[i]);
		(void)unlink(buf_cstr(&path));
	}
	free(queries);
	free(query_lens);
	return rmdir(dir) == 0 && knarr > 0 ? 0 : 1;
}
