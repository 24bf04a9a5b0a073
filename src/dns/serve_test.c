/* The sockets, over loopback: the zone and a server of other names in one loop with the one that is tested. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "dns/serve.h"

enum { TURNS_MAX = 5000 };

static struct fixture {
	struct clock_fake clock;
	struct loop *loop;
	struct dns_zone *zone;
	struct dns_forward *forward;
	struct dns_serve *serve;
	uint16_t port;
	char file[64];
} x;

/* Free over UDP and TCP, and below the range from which the kernel gives ports to others. */
static uint16_t free_port(void)
{
	static unsigned n;
	while (true) {
		uint16_t port = (uint16_t)(20000 + ((unsigned)getpid() * 7 + n++ * 13) % 12000);
		struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		auto_fd int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(udp >= 0 && tcp >= 0 && n < 12000);
		if (bind(udp, (struct sockaddr *)&a, sizeof(a)) == 0 && bind(tcp, (struct sockaddr *)&a, sizeof(a)) == 0)
			return port;
	}
}

/* text: of resolv.conf, NULL: it is not there; its servers listen on server_port. */
static int begin_with(const char *text, uint16_t port, uint16_t server_port)
{
	const struct sys_addr own = { AF_INET, { 127, 0, 0, 1 } };
	auto_err struct err err = ERR_INIT;
	snprintf(x.file, sizeof(x.file), "/tmp/dns_serve_test.XXXXXX");
	auto_fd int fd = mkstemp(x.file);
	assert_true(fd >= 0);
	x.port = port;
	if (text)
		assert_int_equal(io_write_all(fd, text, strlen(text), &err), 0);
	else
		assert_int_equal(unlink(x.file), 0);
	fd_close(&fd);
	clock_fake_init(&x.clock, NS_PER_S, NS_PER_S);
	assert_int_equal(loop_new(&x.clock.clock, &x.loop, &err), 0);
	assert_int_equal(dns_zone_new(SPAN("cluster.local"), &own, &x.zone, &err), 0);
	const struct dns_forward_params fp = { .loop = x.loop, .resolv_conf = x.file, .server_port = server_port };
	assert_int_equal(dns_forward_new(&fp, &x.forward, &err), 0);
	const struct dns_serve_params sp = { .loop = x.loop, .zone = x.zone, .forward = x.forward, .address = own, .port = x.port };
	assert_int_equal(dns_serve_new(&sp, &x.serve, &err), 0);
	return 0;
}

static int begin(void **state)
{
	return begin_with("", free_port(), 0);
}

static int end(void **state)
{
	dns_serve_stop(x.serve);
	dns_forward_stop(x.forward);
	loop_run(x.loop); /* ends by itself: everything is closed */
	dns_serve_free(x.serve);
	dns_forward_free(x.forward);
	dns_zone_free(x.zone);
	loop_free(x.loop);
	return unlink(x.file);
}

static int client(int type)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(x.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(s, (struct sockaddr *)&a, sizeof(a)), 0);
	return s;
}

/* One turn, and a little sleep when many were needed: the clock is turned by hand, so no turn waits; loopback delivers at
 * once, but a busy machine's kernel may leave that to a thread of its own. */
static void turn(unsigned nth)
{
	(void)loop_turn(x.loop, false);
	if (nth > 50)
		(void)usleep(1000);
}

/* Turns until len bytes or more are there. */
static size_t wait_for(int s, uint8_t *out, size_t size, size_t len)
{
	size_t got = 0;
	for (unsigned i = 0; i < TURNS_MAX && got < len; i++) {
		ssize_t n = recv(s, out + got, size - got, MSG_DONTWAIT);
		got += n > 0 ? (size_t)n : 0;
		if (got < len)
			turn(i);
	}
	return got;
}

static size_t query(uint8_t *out, uint16_t id, const char *text)
{
	struct dnsmsg_name n;
	assert_true(dnsmsg_name_parse(span_of(text), &n));
	return dnsmsg_query(out, id, &n, DNSMSG_A, false, false);
}

static void test_udp(void **state)
{
	uint8_t q[600], a[1500];
	auto_fd int s = client(SOCK_DGRAM);
	for (uint16_t i = 0; i < 100; i++) {
		size_t len = query(q, i, i % 2 ? "ns.dns.cluster.local" : "none.cluster.local");
		assert_int_equal(send(s, q, len, 0), len);
	}
	for (uint16_t i = 0; i < 100; i++) {
		assert_true(wait_for(s, a, sizeof(a), 1) > DNSMSG_HEAD);
		assert_int_equal(a[1], i);
		assert_int_equal(a[3] & 15, i % 2 ? DNSMSG_OK : DNSMSG_NXDOMAIN);
	}
	/* Nobody to ask. */
	size_t len = query(q, 5, "example.com");
	assert_int_equal(send(s, q, len, 0), len);
	assert_int_equal(wait_for(s, a, sizeof(a), 1), len);
	assert_int_equal(a[3] & 15, DNSMSG_SERVFAIL);
}

/* Several questions in one segment are answered in their order, and the connection ends after them. */
static void test_tcp(void **state)
{
	uint8_t q[600], a[1500];
	size_t at = 0;
	auto_fd int s = client(SOCK_STREAM);
	for (uint16_t i = 1; i <= 3; i++) {
		size_t len = query(q + at + 2, i, "cluster.local.nowhere");
		q[at] = 0;
		q[at + 1] = (uint8_t)len;
		at += len + 2;
	}
	assert_int_equal(send(s, q, at, 0), at);
	assert_int_equal(shutdown(s, SHUT_WR), 0);
	assert_int_equal(wait_for(s, a, sizeof(a), at), at);
	for (unsigned i = 0; i < 3; i++) {
		const uint8_t *m = a + i * (at / 3) + 2;
		assert_int_equal(m[1], i + 1);
		assert_int_equal(m[3] & 15, DNSMSG_SERVFAIL);
	}
	ssize_t n = -1;
	for (unsigned i = 0; i < TURNS_MAX && n < 0; i++) {
		turn(i);
		n = recv(s, a, 1, MSG_DONTWAIT);
	}
	assert_int_equal(n, 0);
}

/* A headless service with as many ready endpoints as a slice may have: its answer is 16 KB. */
static void many_endpoints(const char *key)
{
	struct dns_service *service = mem_zalloc(sizeof(*service));
	struct dns_slice *slice = mem_zalloc(sizeof(*slice) + DNS_ENDPOINTS_MAX * sizeof(*slice->endpoints));
	service->kind = DNS_HEADLESS;
	slice->endpoints = (struct dns_endpoint *)(slice + 1);
	slice->n = DNS_ENDPOINTS_MAX;
	for (unsigned i = 0; i < slice->n; i++)
		slice->endpoints[i] = (struct dns_endpoint){ .ready = true, .addr = { AF_INET, { 10, 1, (uint8_t)(i >> 8), (uint8_t)i } } };
	dns_zone_service(x.zone, span_of(key), service);
	dns_zone_slice(x.zone, span_of(key), SPAN("ns/slice"), slice);
}

/* More questions at once than one look answers (DNS_OUT_MAX): each is answered, also when the kernel takes all that is out. */
static void test_tcp_pipeline(void **state)
{
	enum { QUESTIONS = 60 };
	static uint8_t answers[2 << 20];
	uint8_t q[QUESTIONS * 60];
	static const int bytes = 8 << 20;
	size_t at = 0, got = 0;
	unsigned n = 0;
	many_endpoints("ns/web");
	auto_fd int s = client(SOCK_STREAM);
	(void)setsockopt(s, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	for (uint16_t i = 0; i < QUESTIONS; i++) {
		size_t len = query(q + at + 2, i, "web.ns.svc.cluster.local");
		q[at] = 0;
		q[at + 1] = (uint8_t)len;
		at += len + 2;
	}
	assert_int_equal(send(s, q, at, 0), at);
	for (unsigned i = 0; i < TURNS_MAX && n < QUESTIONS; i++) {
		ssize_t more = recv(s, answers + got, sizeof(answers) - got, MSG_DONTWAIT);
		got += more > 0 ? (size_t)more : 0;
		/* Whole ones are counted and dropped. */
		for (size_t len; got >= 2 && got >= (len = 2u + (size_t)(answers[0] << 8 | answers[1])); n++) {
			assert_int_equal(answers[3], n);
			assert_int_equal(answers[2 + 6] << 8 | answers[2 + 7], DNS_ENDPOINTS_MAX);
			memmove(answers, answers + len, got - len);
			got -= len;
		}
		turn(i);
	}
	assert_int_equal(n, QUESTIONS);
}

/* A client too many takes the place of the one that was silent longest. */
static void test_crowd(void **state)
{
	static int all[DNS_CONNS_MAX + 1];
	uint8_t q[600], a[1500];
	for (unsigned i = 0; i < DNS_CONNS_MAX; i++) {
		all[i] = client(SOCK_STREAM);
		(void)loop_turn(x.loop, false);
	}
	for (unsigned i = 0; i < 2; i++) {
		size_t len = query(q + 2, 1, "cluster.local");
		q[0] = 0;
		q[1] = (uint8_t)len;
		assert_int_equal(send(all[0], q, len + 2, 0), len + 2);
		assert_true(wait_for(all[0], a, sizeof(a), DNSMSG_HEAD) > DNSMSG_HEAD);
		if (i)
			break;
		all[DNS_CONNS_MAX] = client(SOCK_STREAM);
		ssize_t n = -1;
		for (unsigned k = 0; k < TURNS_MAX && n < 0; k++) {
			turn(k);
			n = recv(all[1], a, sizeof(a), MSG_DONTWAIT);
		}
		assert_int_equal(n, 0);
	}
	for (unsigned i = 0; i <= DNS_CONNS_MAX; i++)
		close(all[i]);
}

/* ---- a server of others: UDP and TCP at 127.0.0.2, answers as it is told */

static struct upstream {
	int udp, tcp, conn;
	uint16_t port;
	unsigned asked, asked_tcp, with_edns;
	/* what it says */
	unsigned rcode, cut_below; /* UDP questions before the nth come back with TC */
	bool no_edns, silent;      /* FORMERR to who comes with EDNS0; says nothing */
	uint32_t ttl_s, soa_s;
	unsigned records;
} up;

static void up_begin(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002) };
	static const int on = 1;
	up = (struct upstream){ .conn = -1, .ttl_s = 100, .records = 1, .soa_s = 20 };
	for (unsigned i = 0; i < 20 && !up.port; i++) {
		up.port = free_port();
		at.sin_port = htons(up.port);
		up.udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		up.tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)setsockopt(up.tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(up.udp, (struct sockaddr *)&at, sizeof(at)) < 0 || bind(up.tcp, (struct sockaddr *)&at, sizeof(at)) < 0 ||
		    listen(up.tcp, 4) < 0) {
			close(up.udp);
			close(up.tcp);
			up.port = 0;
		}
	}
	assert_true(up.port);
}

static void up_end(void)
{
	close(up.udp);
	close(up.tcp);
	fd_close(&up.conn);
}

/* Its answer to a question; 0: none. */
static size_t up_answer(struct span packet, bool tcp, uint8_t *room, size_t size)
{
	static const uint8_t soa[] = "\0\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0"; /* root, root, five numbers */
	struct dnsmsg_question q;
	struct dnsmsg_out o = { .ptr = room, .max = size };
	uint8_t data[4] = { 1, 2, 3, 4 }, zone[22];
	assert_int_equal(dnsmsg_parse(packet, &q), 0);
	if (q.name.b[0] == 16) /* the one that looks for a loop */
		return 0;
	if (up.silent)
		return 0;
	up.asked += !tcp;
	up.asked_tcp += tcp;
	up.with_edns += q.edns;
	if (up.no_edns && q.edns) {
		q.edns = false;
		dnsmsg_begin(&o, packet, &q, DNSMSG_FORMERR, 0);
		return o.len;
	}
	dnsmsg_begin(&o, packet, &q, up.rcode, !tcp && up.asked <= up.cut_below ? DNSMSG_TC : 0);
	if (!tcp && up.asked <= up.cut_below)
		return dnsmsg_end(&o, &q), o.len;
	for (unsigned i = 0; i < up.records && !up.rcode; i++) {
		data[2] = (uint8_t)(i >> 8);
		data[3] = (uint8_t)i;
		assert_true(dnsmsg_record(&o, DNSMSG_ANSWER, DNSMSG_HEAD, DNSMSG_A, up.ttl_s, data, 4));
	}
	if ((up.rcode || !up.records) && up.soa_s) {
		memcpy(zone, soa, sizeof(zone));
		zone[21] = (uint8_t)up.soa_s;
		assert_true(dnsmsg_record(&o, DNSMSG_AUTHORITY, DNSMSG_HEAD, DNSMSG_SOA, 1000, zone, sizeof(zone)));
	}
	dnsmsg_end(&o, &q);
	return o.len;
}

/* Answers what came. */
static void up_turn(void)
{
	static uint8_t packet[DNSMSG_MAX + 2], room[DNSMSG_MAX];
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n;
	while ((n = recvfrom(up.udp, packet, sizeof(packet), MSG_DONTWAIT, (struct sockaddr *)&from, &len)) > 0) {
		size_t out = up_answer(span_make(packet, (size_t)n), false, room, sizeof(room));
		assert_true(!out || sendto(up.udp, room, out, 0, (struct sockaddr *)&from, len) == (ssize_t)out);
	}
	if (up.conn < 0)
		up.conn = accept4(up.tcp, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (up.conn < 0 || (n = recv(up.conn, packet, sizeof(packet), MSG_DONTWAIT)) < 0)
		return;
	if (n > 0) {
		assert_int_equal(n, 2 + (packet[0] << 8 | packet[1]));
		size_t out = up_answer(span_make(packet + 2, (size_t)n - 2), true, room, sizeof(room));
		const uint8_t head[2] = { (uint8_t)(out >> 8), (uint8_t)out };
		/* In pieces, as a network may bring it. */
		assert_int_equal(send(up.conn, head, 1, 0), 1);
		assert_int_equal(send(up.conn, head + 1, 1, 0), 1);
		for (size_t at = 0; at < out; at += 1000)
			assert_true(send(up.conn, room + at, MIN(out - at, (size_t)1000), 0) > 0);
	}
	fd_close(&up.conn);
}

/* Asks the one that is tested, and returns the answer's length; 0: none came. */
static size_t ask(int s, bool tcp, bool edns, const char *name, uint8_t *out, size_t size)
{
	uint8_t q[600], head[2];
	size_t len = query(q, 5, name) - (edns ? 0 : DNSMSG_OPT_LEN), got = 0;
	if (!edns)
		q[11] = 0;
	head[0] = 0;
	head[1] = (uint8_t)len;
	if (tcp)
		assert_int_equal(send(s, head, 2, 0), 2);
	assert_int_equal(send(s, q, len, 0), len);
	for (unsigned i = 0; i < TURNS_MAX; i++) {
		turn(i);
		up_turn();
		ssize_t n = recv(s, out + got, size - got, MSG_DONTWAIT);
		got += n > 0 ? (size_t)n : 0;
		if (got && (!tcp || (got > 2 && got == 2u + (size_t)(out[0] << 8 | out[1]))))
			break;
	}
	if (!tcp || !got)
		return got;
	memmove(out, out + 2, got - 2);
	return got - 2;
}

static unsigned ttl_of(const uint8_t *answer, size_t question_end)
{
	return (unsigned)answer[question_end + 8] << 8 | answer[question_end + 9];
}

#define ANSWERS(m) ((m)[6] << 8 | (m)[7])
#define RCODE(m) ((m)[3] & 15)
#define TC(m) (((m)[2] & 2) != 0)
#define NAME_END(name) (DNSMSG_HEAD + sizeof(name) - 1 + 2 + 4)

/* Another server's answer comes with our id and letters, and is kept as long as it says, ageing. */
static void test_forward(void **state)
{
	static const char name[] = "Example.com";
	uint8_t a[1500], q[600];
	up_begin();
	(void)begin_with("nameserver 127.0.0.2\n", free_port(), up.port);
	auto_fd int s = client(SOCK_DGRAM);
	assert_true(ask(s, false, true, name, a, sizeof(a)) > 0);
	assert_int_equal(ANSWERS(a), 1);
	assert_int_equal(a[1], 5);
	assert_int_equal(ttl_of(a, NAME_END(name)), 100);
	assert_int_equal(up.asked, 1);
	size_t len = query(q, 9, name);
	q[13] = 'E';
	q[15] = 'A';
	assert_int_equal(send(s, q, len, 0), len);
	assert_int_equal(wait_for(s, a, sizeof(a), 1), len + 16);
	assert_memory_equal(a + 12, q + 12, NAME_END(name) - 12);
	assert_int_equal(a[1], 9);
	clock_fake_advance(&x.clock, 40000 * NS_PER_MS);
	(void)loop_turn(x.loop, false);
	assert_true(ask(s, false, true, name, a, sizeof(a)) > 0);
	assert_int_equal(ttl_of(a, NAME_END(name)), 60);
	assert_int_equal(up.asked, 1);
	clock_fake_advance(&x.clock, 60000 * NS_PER_MS);
	(void)loop_turn(x.loop, false);
	assert_true(ask(s, false, true, name, a, sizeof(a)) > 0);
	assert_int_equal(ttl_of(a, NAME_END(name)), 100);
	assert_int_equal(up.asked, 2);
	(void)end(state);
	up_end();
}

/* "No" is kept by its SOA (RFC 2308): both that there is no such name and that it has nothing of this type; SERVFAIL is not. */
static void test_negative(void **state)
{
	static const char name[] = "no.example.com", none[] = "none.example.com", bad[] = "bad.example.com";
	uint8_t a[1500];
	up_begin();
	(void)begin_with("nameserver 127.0.0.2\n", free_port(), up.port);
	auto_fd int s = client(SOCK_DGRAM);
	up.rcode = DNSMSG_NXDOMAIN;
	for (unsigned i = 0; i < 2; i++) {
		assert_true(ask(s, false, true, name, a, sizeof(a)) > 0);
		assert_int_equal(RCODE(a), DNSMSG_NXDOMAIN);
		assert_int_equal(a[9], 1); /* its SOA comes along */
		assert_int_equal(up.asked, 1);
	}
	up.rcode = up.records = 0;
	for (unsigned i = 0; i < 2; i++) {
		assert_true(ask(s, false, true, none, a, sizeof(a)) > 0);
		assert_int_equal(RCODE(a), DNSMSG_OK);
		assert_int_equal(ANSWERS(a), 0);
		assert_int_equal(up.asked, 2);
	}
	clock_fake_advance(&x.clock, 20000 * NS_PER_MS);
	(void)loop_turn(x.loop, false);
	up.records = 1;
	assert_true(ask(s, false, true, name, a, sizeof(a)) > 0);
	assert_int_equal(RCODE(a), DNSMSG_OK);
	assert_int_equal(up.asked, 3);
	/* Each round asks anew, and the next question too. */
	up.rcode = DNSMSG_SERVFAIL;
	assert_true(ask(s, false, true, bad, a, sizeof(a)) > 0);
	assert_int_equal(RCODE(a), DNSMSG_SERVFAIL);
	assert_int_equal(up.asked, 3 + DNS_ROUNDS);
	up.rcode = 0;
	assert_true(ask(s, false, true, bad, a, sizeof(a)) > 0);
	assert_int_equal(RCODE(a), DNSMSG_OK);
	(void)end(state);
	up_end();
}

/* What is cut is asked for over TCP, kept whole, and cut again for who takes little. */
static void test_truncation(void **state)
{
	static const char name[] = "long.example.com";
	static uint8_t a[DNSMSG_MAX];
	up_begin();
	up.cut_below = 1;
	up.records = 1000;
	(void)begin_with("nameserver 127.0.0.2\n", free_port(), up.port);
	auto_fd int s = client(SOCK_DGRAM), t = client(SOCK_STREAM);
	size_t len = ask(s, false, true, name, a, sizeof(a));
	assert_true(len > 0 && len <= DNSMSG_UDP_MAX);
	assert_true(TC(a));
	assert_int_equal(up.asked, 1);
	assert_int_equal(up.asked_tcp, 1);
	assert_true(ask(t, true, true, name, a, sizeof(a)) > 16000);
	assert_false(TC(a));
	assert_int_equal(ANSWERS(a), 1000);
	assert_int_equal(up.asked_tcp, 1); /* it was kept */
	/* 40 records: too long without EDNS0 (512 bytes), short enough with it. */
	up.records = 40;
	len = ask(s, false, false, "forty.example.com", a, sizeof(a));
	assert_true(len > 0 && len <= 512);
	assert_true(TC(a));
	assert_int_equal(a[11], 0); /* who did not say EDNS0 is not told of it */
	assert_true(ask(s, false, true, "forty.example.com", a, sizeof(a)) > 512);
	assert_false(TC(a));
	assert_int_equal(ANSWERS(a), 40);
	assert_int_equal(a[11], 1);
	(void)end(state);
	up_end();
}

/* A server of before EDNS0 is asked without it. */
static void test_no_edns(void **state)
{
	uint8_t a[1500];
	up_begin();
	up.no_edns = true;
	(void)begin_with("nameserver 127.0.0.2\n", free_port(), up.port);
	auto_fd int s = client(SOCK_DGRAM);
	assert_true(ask(s, false, true, "old.example.com", a, sizeof(a)) > 0);
	assert_int_equal(RCODE(a), DNSMSG_OK);
	assert_int_equal(ANSWERS(a), 1);
	assert_int_equal(up.asked, 2);
	assert_int_equal(up.with_edns, 1);
	(void)end(state);
	up_end();
}

/* A server that is silent has its time, then the next is asked; the one that answered is asked first from then on. */
static void test_next_server(void **state)
{
	uint8_t a[1500], q[600];
	up_begin();
	(void)begin_with("nameserver 127.0.0.3\nnameserver 127.0.0.2\n", free_port(), up.port);
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(up.port), .sin_addr.s_addr = htonl(0x7f000003) };
	auto_fd int silent = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(silent, (struct sockaddr *)&at, sizeof(at)), 0);
	auto_fd int s = client(SOCK_DGRAM);
	size_t len = query(q, 5, "one.example.com");
	assert_int_equal(send(s, q, len, 0), len);
	/* The same question from elsewhere waits for the same answer. */
	auto_fd int other = client(SOCK_DGRAM);
	assert_int_equal(send(other, q, len, 0), len);
	/* The question, beside the one that looks for a loop, has come to the one that says nothing. */
	for (unsigned i = 0, came = 0; i < TURNS_MAX && came < 2; i++) {
		turn(i);
		up_turn();
		came += recv(silent, a, sizeof(a), MSG_DONTWAIT) > 0;
	}
	assert_int_equal(up.asked, 0);
	clock_fake_advance(&x.clock, DNS_TRY_MS * NS_PER_MS);
	for (unsigned i = 0; i < TURNS_MAX && !up.asked; i++) {
		turn(i);
		up_turn();
	}
	assert_int_equal(up.asked, 1);
	assert_true(wait_for(s, a, sizeof(a), 1) > 0);
	assert_int_equal(RCODE(a), DNSMSG_OK);
	assert_true(wait_for(other, a, sizeof(a), 1) > 0);
	assert_int_equal(RCODE(a), DNSMSG_OK);
	assert_true(ask(s, false, true, "two.example.com", a, sizeof(a)) > 0);
	assert_int_equal(up.asked, 2);
	(void)end(state);
	up_end();
}

/* The file may come later, and change: the one in effect is asked. */
static void test_file(void **state)
{
	uint8_t a[1500];
	auto_err struct err err = ERR_INIT;
	up_begin();
	(void)begin_with(NULL, free_port(), up.port);
	auto_fd int s = client(SOCK_DGRAM);
	assert_true(ask(s, false, true, "a.example.com", a, sizeof(a)) > 0);
	assert_int_equal(RCODE(a), DNSMSG_SERVFAIL);
	assert_int_equal(io_write_file(AT_FDCWD, x.file, SPAN("nameserver 127.0.0.2\n"), 0600, &err), 0);
	for (unsigned i = 0; i < 100; i++)
		turn(i);
	assert_true(ask(s, false, true, "a.example.com", a, sizeof(a)) > 0);
	assert_int_equal(RCODE(a), DNSMSG_OK);
	(void)end(state);
	up_end();
}

/* An answer that is late, of another question or of another id ends nothing. */
static void test_forged(void **state)
{
	uint8_t q[600], a[1500], room[1500];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	struct dnsmsg_question got;
	up_begin();
	up.silent = true;
	(void)begin_with("nameserver 127.0.0.2\n", free_port(), up.port);
	auto_fd int s = client(SOCK_DGRAM);
	size_t len = query(q, 5, "wanted.example.com");
	assert_int_equal(send(s, q, len, 0), len);
	ssize_t n = -1;
	for (unsigned i = 0; i < TURNS_MAX && n < 0; i++) {
		turn(i);
		n = recvfrom(up.udp, a, sizeof(a), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
		if (n > 0 && a[DNSMSG_HEAD] == 16)
			n = -1;
	}
	assert_true(n > 0);
	up.silent = false;
	for (unsigned wrong = 0; wrong < 2; wrong++) {
		size_t out = up_answer(span_make(a, (size_t)n), false, room, sizeof(room));
		room[wrong ? DNSMSG_HEAD + 1 : 1] ^= 1;
		assert_int_equal(sendto(up.udp, room, out, 0, (struct sockaddr *)&from, from_len), out);
		for (unsigned i = 0; i < 60; i++)
			turn(i);
		assert_int_equal(recv(s, room, sizeof(room), MSG_DONTWAIT), -1);
	}
	size_t out = up_answer(span_make(a, (size_t)n), false, room, sizeof(room));
	assert_int_equal(sendto(up.udp, room, out, 0, (struct sockaddr *)&from, from_len), out);
	assert_true(wait_for(s, room, sizeof(room), 1) > 0);
	assert_int_equal(dnsmsg_parse(span_make(q, len), &got), 0);
	assert_int_equal(ANSWERS(room), 1);
	(void)end(state);
	up_end();
}

/* A server that is ourselves under another name: found by its own question, and asked no more. */
static void test_loop(void **state)
{
	uint8_t q[600], a[1500];
	uint16_t port = free_port();
	(void)begin_with("nameserver 127.0.0.1\n", port, port);
	for (unsigned i = 0; i < 100; i++)
		turn(i);
	auto_fd int s = client(SOCK_DGRAM);
	size_t len = query(q, 5, "example.com");
	assert_int_equal(send(s, q, len, 0), len);
	assert_int_equal(wait_for(s, a, sizeof(a), 1), len);
	assert_int_equal(a[3] & 15, DNSMSG_SERVFAIL);
	(void)end(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_udp, begin, end), cmocka_unit_test_setup_teardown(test_tcp, begin, end),
		cmocka_unit_test_setup_teardown(test_tcp_pipeline, begin, end),
		cmocka_unit_test_setup_teardown(test_crowd, begin, end),
		cmocka_unit_test(test_forward), cmocka_unit_test(test_negative), cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_no_edns), cmocka_unit_test(test_next_server), cmocka_unit_test(test_file),
		cmocka_unit_test(test_forged), cmocka_unit_test(test_loop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
