/* Configurations, leases in a folder, answers: what needs no right. The kernel's side is tests/76-pod-network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cni/cni.h"
#include "cni/private.h"

static char root[64];

static void call_init(struct cni_call *c, const char *command, const char *container)
{
	*c = (struct cni_call){ .version = "1.0.0", .dir = -1, .route = -1, .nf = -1 };
	c->command = span_of(command);
	c->container = span_of(container);
	c->ifname = SPAN("eth0");
	c->netns = SPAN("/proc/1/ns/net");
}

static void call_done(struct cni_call *c)
{
	fd_close(&c->dir);
	err_done(&c->err);
	arena_done(&c->arena);
}

static int code_of(const char *command, const char *container, const char *conf)
{
	struct cni_call c;
	call_init(&c, command, container);
	(void)cni_conf_read(&c, span_of(conf)); /* the code says it */
	int code = c.code;
	call_done(&c);
	return code;
}

static void configurations(void **state)
{
	static const struct {
		const char *command, *container, *conf;
		int code;
	} rows[] = {
		{ "ADD", "c", "{\"cniVersion\":\"1.0.0\",\"name\":\"k\",\"subnet\":\"10.1.0.0/24\"}", 0 },
		{ "ADD", "c", "{\"cniVersion\":\"0.3.1\",\"name\":\"k\",\"subnets\":[\"10.1.0.0/24\",\"fd00::/64\"]}", 0 },
		{ "ADD", "c", "{\"name\":\"k\",\"subnet\":\"10.1.0.0/24\"}", 0 },
		{ "ADD", "c", "{\"cniVersion\":\"1.0.0\",\"name\":\"k\"}", CNI_CONFIG },
		{ "DEL", "c", "{\"cniVersion\":\"1.0.0\",\"name\":\"k\"}", 0 },
		{ "ADD", "c", "{\"cniVersion\":\"9.0.0\",\"name\":\"k\",\"subnet\":\"10.1.0.0/24\"}", CNI_INCOMPATIBLE },
		{ "ADD", "c", "{\"cniVersion\":\"1.0.0\",\"name\":\"../k\",\"subnet\":\"10.1.0.0/24\"}", CNI_CONFIG },
		{ "ADD", "../c", "{\"cniVersion\":\"1.0.0\",\"name\":\"k\",\"subnet\":\"10.1.0.0/24\"}", CNI_ENVIRONMENT },
		{ "ADD", "", "{\"cniVersion\":\"1.0.0\",\"name\":\"k\",\"subnet\":\"10.1.0.0/24\"}", CNI_ENVIRONMENT },
		{ "ADD", "c", "{\"cniVersion\":\"1.0.0\",\"name\":\"k\",\"subnet\":\"10.1.0.0/31\"}", CNI_CONFIG },
		{ "ADD", "c", "{\"cniVersion\":\"1.0.0\",\"name\":\"k\",\"subnet\":\"10.1.0.0\"}", CNI_CONFIG },
		{ "ADD", "c", "{\"cniVersion\":\"1.0.0\",\"name\":\"k\",\"subnets\":[\"10.1.0.0/24\",\"10.2.0.0/24\"]}", CNI_CONFIG },
		{ "ADD", "c", "{\"cniVersion\":\"1.0.0\",\"name\":\"k\",\"subnet\":\"10.1.0.0/24\",\"id\":\"ABC\"}", CNI_CONFIG },
		{ "ADD", "c", "{\"cniVersion\":\"1.0.0\",\"name\":\"k\",\"subnet\":\"10.1.0.0/24\",\"mtu\":70000}", CNI_CONFIG },
		{ "ADD", "c", "{\"cniVersion\":\"1.0.0\",\"name\":\"k\",\"subnet\":\"10.1.0.0/24\",\"runtimeConfig\":{\"portMappings\":"
			      "[{\"hostPort\":70000,\"containerPort\":1}]}}", CNI_CONFIG },
		{ "VERSION", "", "{\"cniVersion\":\"0.4.0\"}", 0 },
		{ "ADD", "c", "{", CNI_DECODE },
		{ "ADD", "c", "[]", CNI_DECODE },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int code = code_of(rows[i].command, rows[i].container, rows[i].conf);
		if (code != rows[i].code)
			fail_msg("%s %s: code %d, wanted %d", rows[i].command, rows[i].conf, code, rows[i].code);
	}
}

static void ports_are_read(void **state)
{
	struct cni_call c;
	call_init(&c, "ADD", "c");
	assert_int_equal(cni_conf_read(&c, SPAN("{\"cniVersion\":\"1.0.0\",\"name\":\"k\",\"subnet\":\"10.1.0.0/24\",\"runtimeConfig\":{"
		"\"portMappings\":[{\"hostPort\":8080,\"containerPort\":80},{\"hostPort\":0,\"containerPort\":9},"
		"{\"hostPort\":53,\"containerPort\":5353,\"protocol\":\"udp\",\"hostIP\":\"192.0.2.7\"},"
		"{\"hostPort\":54,\"containerPort\":54,\"protocol\":\"SCTP\",\"hostIP\":\"0.0.0.0\"}]}}")), 0);
	assert_int_equal(c.n_ports, 3);
	assert_int_equal(c.ports[0].protocol, 6);
	assert_int_equal(c.ports[0].host, 8080);
	assert_int_equal(c.ports[1].protocol, 17);
	assert_int_equal(c.ports[1].at.family, AF_INET);
	assert_int_equal(c.ports[2].protocol, 132);
	assert_int_equal(c.ports[2].at.family, 0);
	call_done(&c);
}

/* A lease for a container in 10.9.0.0/29 and fd00:9::/64: offsets 2 to 6 are given. */
static int give_lease(const char *container, const char *dir, struct cni_lease *out)
{
	struct cni_call c;
	auto_buf struct buf conf = { 0 };
	buf_printf(&conf, "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"id\":\"ab\",\"subnets\":[\"10.9.0.0/29\",\"fd00:9::/64\"],"
		   "\"stateDir\":\"%s\"}", dir);
	call_init(&c, "ADD", container);
	int rc = cni_conf_read(&c, buf_span(&conf));
	if (rc == 0)
		rc = cni_state_open(&c, true);
	if (rc == 0)
		rc = cni_lease_take(&c, out);
	int code = c.code;
	call_done(&c);
	return rc < 0 ? code : 0;
}

static void drop(const char *container, const char *dir)
{
	struct cni_call c;
	struct cni_lease l;
	auto_buf struct buf conf = { 0 };
	buf_printf(&conf, "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"id\":\"ab\",\"stateDir\":\"%s\"}", dir);
	call_init(&c, "DEL", container);
	assert_int_equal(cni_conf_read(&c, buf_span(&conf)), 0);
	assert_int_equal(cni_state_open(&c, false), 0);
	assert_int_equal(cni_lease_find(&c, &l), 0);
	assert_int_equal(cni_lease_drop(&c, &l), 0);
	call_done(&c);
}

static void addresses_go_round(void **state)
{
	struct cni_lease l, again;
	char text[SYS_ADDR_TEXT], dir[96];
	static const char *const want[] = { "10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6" };
	snprintf(dir, sizeof(dir), "%s/round", root);
	for (int i = 0; i < 5; i++) {
		char id[8];
		snprintf(id, sizeof(id), "c%d", i);
		assert_int_equal(give_lease(id, dir, &l), 0);
		assert_string_equal(sys_addr_text(&l.addr[V4], text), want[i]);
		assert_int_equal(l.addr[V6].family, AF_INET6);
		assert_int_equal(strncmp(l.host, "kab-", 4), 0);
		assert_int_equal(strlen(l.host), 15);
	}
	assert_int_equal(give_lease("c9", dir, &l), CNI_FULL);
	assert_int_equal(give_lease("c3", dir, &again), 0); /* the same as before */
	assert_string_equal(sys_addr_text(&again.addr[V4], text), "10.9.0.5");
	drop("c1", dir);
	drop("c3", dir);
	assert_int_equal(give_lease("c10", dir, &l), 0);
	assert_string_equal(sys_addr_text(&l.addr[V4], text), "10.9.0.3"); /* behind .6, around */
	drop("c10", dir);
	assert_int_equal(give_lease("c11", dir, &l), 0); /* not the one that was given back last */
	assert_string_equal(sys_addr_text(&l.addr[V4], text), "10.9.0.5");
	assert_string_equal(sys_addr_text(&l.addr[V6], text), "fd00:9::8");
}

/* What failed in IPv6 gives the IPv4 address back as well. */
static void half_a_lease_is_none(void **state)
{
	struct cni_lease l;
	char dir[96], path[128];
	snprintf(dir, sizeof(dir), "%s/half", root);
	for (int i = 0; i < 5; i++) {
		char id[8];
		snprintf(id, sizeof(id), "c%d", i);
		assert_int_equal(give_lease(id, dir, &l), 0);
	}
	assert_int_equal(give_lease("x", dir, &l), CNI_FULL);
	snprintf(path, sizeof(path), "%s/net", dir);
	DIR *d = opendir(path);
	int n = 0;
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] == '1' || e->d_name[0] == 'f';
	closedir(d);
	assert_int_equal(n, 10);
}

static void many_at_once(void **state)
{
	enum { PROCESSES = 8 };
	char dir[96];
	int fds[2];
	snprintf(dir, sizeof(dir), "%s/many", root);
	assert_int_equal(pipe(fds), 0);
	for (int i = 0; i < PROCESSES; i++) {
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			struct cni_lease l = { 0 };
			char id[8];
			snprintf(id, sizeof(id), "p%d", i);
			uint8_t got = give_lease(id, dir, &l) == 0 ? l.addr[V4].b[3] : 0;
			_exit(write(fds[1], &got, 1) == 1 ? 0 : 1);
		}
	}
	uint8_t seen[256] = { 0 };
	for (int i = 0; i < PROCESSES; i++) {
		uint8_t got;
		assert_int_equal(read(fds[0], &got, 1), 1);
		assert_true(wait(NULL) > 0);
		seen[got]++;
	}
	assert_int_equal(seen[0], PROCESSES - 5); /* five addresses: the others were told that it is full */
	for (int a = 2; a < 7; a++)
		assert_int_equal(seen[a], 1);
	close(fds[0]);
	close(fds[1]);
}

static int setup(void **state)
{
	snprintf(root, sizeof(root), "/tmp/knarr-cni-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configurations),	 cmocka_unit_test(ports_are_read), cmocka_unit_test(addresses_go_round),
		cmocka_unit_test(half_a_lease_is_none), cmocka_unit_test(many_at_once),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
