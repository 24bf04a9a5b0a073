/* The pure parts: the list of methods, labels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/calls_test.h"
#include "cri/cni.h"
#include "cri/private.h"

/* Every row is a method of the schema and has its messages. */
static void test_rpcs(void **state)
{
	const struct cri_rpc *r;
	for (size_t i = 0; (r = cri_rpc_at(i)); i++) {
		struct api_rpc rpc;
		if (!api_rpc_find(span_from(span_of(r->name), 1), &rpc) && !api_rpc_find(span_of(r->name), &rpc))
			fail_msg("%s is no method of the schema", r->name);
		assert_ptr_equal(api_typed_type(r->request), rpc.request);
		assert_ptr_equal(api_typed_type(r->response), rpc.response);
	}
}

/* And every method of the schema is answered. */
static void test_all_rpcs(void **state)
{
	for (unsigned i = 0; i < api_rpc_count(); i++) {
		struct api_rpc rpc = api_rpc_at(i);
		bool found = !span_starts(rpc.path, SPAN("/runtime.v1."));
		for (size_t j = 0; j < cri_n_methods && !found; j++)
			found = span_is(rpc.path, cri_methods[j].name);
		if (!found)
			fail_msg("nobody answers %.*s", SPAN_ARG(rpc.path));
	}
}

static struct json parsed(struct arena *a, const char *text)
{
	struct json v;
	OK(json_parse(a, span_of(text), 0, NULL, &v, &err));
	return v;
}

static void is_json(const struct json *v, const char *wanted)
{
	auto_buf struct buf b = {};
	json_write(&b, v, JSON_SORTED);
	assert_string_equal(buf_cstr(&b), wanted);
}

static void test_plugin_config(void **state)
{
	auto_arena struct arena a = {};
	struct json list = parsed(&a, "{\"name\":\"n\",\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"t\",\"capabilities\":"
		"{\"portMappings\":true,\"dns\":false,\"bandwidth\":true},\"x\":1}]}");
	struct json caps = parsed(&a, "{\"portMappings\":[1],\"dns\":{}}"), result = parsed(&a, "{\"ips\":[]}"), none = JSON_NULL_VALUE;
	const struct json *plugin = &json_getl(&list, "plugins")->items[0];
	struct json v = cri_net_plugin_config(&a, &list, plugin, &caps, &none);
	is_json(&v, "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"runtimeConfig\":{\"portMappings\":[1]},\"type\":\"t\",\"x\":1}");
	v = cri_net_plugin_config(&a, &list, plugin, &none, &result);
	is_json(&v, "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"prevResult\":{\"ips\":[]},\"type\":\"t\",\"x\":1}");
}

static void test_ips(void **state)
{
	static const struct {
		const char *result, *ips;
	} rows[] = {
		{ "{}", "" }, { "{\"ips\":[{\"address\":\"10.0.0.2/24\"}]}", "10.0.0.2 " },
		{ "{\"ips\":[{\"address\":\"fd00::2/64\"},{\"version\":\"4\",\"address\":\"10.0.0.2/24\"}]}", "10.0.0.2 fd00::2 " },
		/* 0: the host's end; 1: the sandbox' */
		{ "{\"interfaces\":[{\"name\":\"br\"},{\"name\":\"eth0\",\"sandbox\":\"/x\"}],\"ips\":[{\"interface\":0,\"address\":"
		  "\"10.0.0.1/24\"},{\"interface\":1,\"address\":\"10.0.0.2/24\"},{\"interface\":7,\"address\":\"10.0.0.3/24\"}]}",
		  "10.0.0.2 10.0.0.3 " },
		{ "{\"ips\":[{\"address\":1},{},3]}", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf b = {};
		struct span got[CRI_IPS_MAX];
		struct json v = parsed(&a, rows[i].result);
		unsigned n = cri_net_ips(&v, got, ARRAY_LEN(got));
		for (unsigned j = 0; j < n; j++)
			buf_printf(&b, "%.*s ", SPAN_ARG(got[j]));
		assert_string_equal(buf_cstr(&b), rows[i].ips);
	}
}

static void test_ip_ranges(void **state)
{
	auto_arena struct arena a = {};
	char cidrs[] = "10.1.0.0/24,fd00::/64";
	struct json two = cri_ip_ranges(&a, span_of(cidrs));
	memset(cidrs, 'x', sizeof(cidrs) - 1); /* UpdateRuntimeConfig with others, while plugins run */
	is_json(&two, "[[{\"subnet\":\"10.1.0.0/24\"}],[{\"subnet\":\"fd00::/64\"}]]");
	struct json one = cri_ip_ranges(&a, SPAN("10.1.0.0/24"));
	is_json(&one, "[[{\"subnet\":\"10.1.0.0/24\"}]]");
}

static void test_interfaces(void **state)
{
	auto_arena struct arena a = {};
	struct api_cri_network_interface_usage *got;
	uint32_t n = cri_interfaces_parse(SPAN("Inter-|   Receive  |  Transmit\n face |bytes packets errs\n"
		"    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n"
		"  eth0: 1234567   10    3    0    0     0          0         0      7654321       1    4    0    0     0       0          0\n"
		"  broken: 1 2\n"), &a, &got);
	assert_int_equal(n, 1);
	assert_true(span_is(got[0].name, "eth0") && got[0].rx_bytes->value == 1234567 && got[0].rx_errors->value == 3);
	assert_true(got[0].tx_bytes->value == 7654321 && got[0].tx_errors->value == 4);
}

static void test_spec(void **state)
{
	auto_arena struct arena a = {};
	struct cri_pod pod = { .id = "pod" };
	struct cri_documents d;
	struct api_cri_linux_container_security_context s = {};
	struct api_cri_linux_container_resources r = { .memory_limit_in_bytes = 100, .cpu_quota = -1 };
	struct api_cri_linux_container_config l = { &r, &s };
	struct api_cri_container_config c = { .linux_ = &l, .stop_signal = 50, .log_path = SPAN("c/0.log") };
	struct api_cri_mount mount = { .container_path = SPAN("x"), .host_path = SPAN("/y"), .propagation = 2 };
	struct api_cri_security_profile local = { .profile_type = 2, .localhost_ref = SPAN("/p") }, plain = {};
	list_init(&pod.containers);
	pod.config.log_directory = SPAN("/logs/");
	c.mounts.ptr = &mount;
	c.mounts.n = 1;
	OK(cri_spec_container(&pod, &c, SPAN("sha256:1"), SPAN_EMPTY, false, &a, &d, &err));
	is_json(json_getl(&d.config, "StopSignal"), "\"SIGRTMIN+15\"");
	is_json(json_getl(&d.host, "MemorySwap"), "100");
	is_json(json_getl(&d.host, "CpuQuota"), "-1");
	is_json(json_getl(&d.host, "PidMode"), "\"container:pod\"");
	is_json(json_getl(&d.host, "SecurityOpt"), "[\"seccomp=unconfined\",\"apparmor=unconfined\",\"no-new-privileges=false\"]");
	is_json(json_getl(&d.host, "Mounts"), "[{\"BindOptions\":{\"CreateMountpoint\":true,\"Propagation\":\"rshared\"},\"ReadOnly\":false,"
		"\"Source\":\"/y\",\"Target\":\"/x\",\"Type\":\"bind\"}]");
	is_json(json_getl(&d.extra, "LogPath"), "\"/logs/c/0.log\"");
	static const struct {
		int n;
		const char *name;
	} signals[] = { { 1, "\"SIGABRT\"" }, { 13, "\"SIGKILL\"" }, { 23, "\"SIGTERM\"" }, { 30, "\"SIGUSR2\"" }, { 34, "\"SIGXFSZ\"" },
		{ 35, "\"SIGRTMIN+0\"" }, { 51, "\"SIGRTMAX-14\"" }, { 65, "\"SIGRTMAX-0\"" } };
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		c.stop_signal = signals[i].n;
		OK(cri_spec_container(&pod, &c, SPAN("sha256:1"), SPAN_EMPTY, false, &a, &d, &err));
		is_json(json_getl(&d.config, "StopSignal"), signals[i].name);
	}
	struct api_cri_linux_pod_sandbox_config lp = { .cgroup_parent = SPAN("/kubepods.slice/kubepods-podx.slice") };
	pod.config.linux_ = &lp;
	OK(cri_spec_container(&pod, &c, SPAN("sha256:1"), SPAN_EMPTY, true, &a, &d, &err));
	is_json(json_getl(&d.host, "CgroupParent"), "\"kubepods-podx.slice\"");
	OK(cri_spec_container(&pod, &c, SPAN("sha256:1"), SPAN_EMPTY, false, &a, &d, &err));
	is_json(json_getl(&d.host, "CgroupParent"), "\"/kubepods.slice/kubepods-podx.slice\"");
	s.seccomp = &local;
	assert_true(span_is(cri_spec_seccomp_path(&local, SPAN_EMPTY), "/p"));
	assert_true(span_is(cri_spec_seccomp_path(NULL, SPAN("localhost/q")), "q"));
	FAILS(ERR_INVALID_REQUEST, "seccomp profile is empty", cri_spec_container(&pod, &c, SPAN("i"), SPAN_EMPTY, false, &a, &d, &err));
	s.seccomp = &plain;
	OK(cri_spec_container(&pod, &c, SPAN("i"), SPAN_EMPTY, false, &a, &d, &err));
	is_json(json_getl(&d.host, "SecurityOpt"), "[\"seccomp=builtin\",\"apparmor=unconfined\",\"no-new-privileges=false\"]");
	s.privileged = true;
	FAILS(ERR_INVALID_REQUEST, "no privileged container allowed in sandbox",
		cri_spec_container(&pod, &c, SPAN("i"), SPAN_EMPTY, false, &a, &d, &err));
	struct api_cri_linux_sandbox_security_context allowed = { .privileged = true };
	lp.security_context = &allowed;
	OK(cri_spec_container(&pod, &c, SPAN("i"), SPAN_EMPTY, false, &a, &d, &err));
	is_json(json_getl(&d.host, "SecurityOpt"), "[\"seccomp=unconfined\",\"apparmor=unconfined\",\"no-new-privileges=false\"]");
	s.privileged = false;
	lp.security_context = NULL;
	s.apparmor = &plain;
	OK(cri_spec_container(&pod, &c, SPAN("i"), SPAN_EMPTY, false, &a, &d, &err));
	is_json(json_getl(&d.host, "SecurityOpt"), "[\"seccomp=builtin\",\"no-new-privileges=false\"]");
	mount.propagation = 3;
	FAILS(ERR_INVALID_REQUEST, "unknown propagation 3", cri_spec_container(&pod, &c, SPAN("i"), SPAN_EMPTY, false, &a, &d, &err));
	mount.propagation = 0;
	struct api_cri_namespace_option n = { .pid = 3, .target_id = SPAN("none") };
	s.namespace_options = &n;
	FAILS(ERR_INVALID_REQUEST, "invalid target container", cri_spec_container(&pod, &c, SPAN("i"), SPAN_EMPTY, false, &a, &d, &err));
}

/* Every signal of the enum is found by its name and by its number, as images have them. */
static void test_signals(void **state)
{
	static const struct {
		const char *name;
		int n;
	} rows[] = { { "SIGTERM", 23 }, { "TERM", 23 }, { "15", 23 }, { "SIGUSR1", 29 }, { "sigkill", 13 }, { "SIGRTMIN+3", 38 }, { "37", 38 },
		{ "SIGRTMAX", 65 }, { "SIGABRT", 1 }, { "", 0 }, { "SIGNOTHING", 0 }, { "0", 0 }, { "99", 0 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (cri_spec_signal(span_of(rows[i].name)) != rows[i].n)
			fail_msg("%s: wanted %d, got %d", rows[i].name, rows[i].n, cri_spec_signal(span_of(rows[i].name)));
}

/* What a later protocol may bring is refused, not taken for something else. */
static void test_unknown_words(void **state)
{
	auto_arena struct arena a = {};
	struct cri_pod pod = { .id = "pod" };
	struct cri_documents d;
	struct api_cri_security_profile odd = { .profile_type = 3 }, unnamed = { .profile_type = 2 };
	struct api_cri_namespace_option n = {};
	struct api_cri_linux_sandbox_security_context ps = { .namespace_options = &n };
	struct api_cri_linux_pod_sandbox_config lp = { .security_context = &ps };
	struct api_cri_port_mapping port = { .host_port = 80, .container_port = 8080 };
	struct api_cri_pod_sandbox_config p = { .linux_ = &lp };
	struct api_cri_linux_container_security_context s = {};
	struct api_cri_linux_container_config l = { .security_context = &s };
	struct api_cri_container_config c = { .linux_ = &l };
	list_init(&pod.containers);
	p.port_mappings.ptr = &port;
	p.port_mappings.n = 1;
#define POD(words) FAILS(ERR_INVALID_REQUEST, words, cri_spec_pod(&p, "/r", SPAN_EMPTY, SPAN("{}"), false, &a, &d, &err))
#define CONTAINER(words) FAILS(ERR_INVALID_REQUEST, words, cri_spec_container(&pod, &c, SPAN("i"), SPAN("{}"), false, &a, &d, &err))
	OK(cri_spec_pod(&p, "/r", SPAN_EMPTY, SPAN("{}"), false, &a, &d, &err));
	ps.seccomp = &odd;
	POD("unknown kind of seccomp profile: 3");
	ps.seccomp = &unnamed;
	POD("the seccomp profile has no name");
	ps.seccomp = NULL;
	ps.apparmor = &odd;
	POD("unknown kind of AppArmor profile: 3");
	ps.apparmor = NULL;
	n.network = 4;
	POD("namespace mode 4 is none of a sandbox");
	n.network = 0;
	n.pid = 3;
	POD("namespace mode 3 is none of a sandbox");
	n.pid = 0;
	n.ipc = -1;
	POD("namespace mode -1 is none of a sandbox");
	n.ipc = 0;
	port.protocol = 3;
	POD("unknown protocol 3");
	port.protocol = 0;
	port.host_port = 65536;
	POD("port 65536 to 8080: no ports");
	port = (struct api_cri_port_mapping){ .container_port = 0 };
	OK(cri_spec_pod(&p, "/r", SPAN_EMPTY, SPAN("{}"), false, &a, &d, &err));
	OK(cri_spec_container(&pod, &c, SPAN("i"), SPAN("{}"), false, &a, &d, &err));
	s.apparmor = &unnamed;
	CONTAINER("the AppArmor profile has no name");
	s.apparmor = NULL;
	s.seccomp = &odd;
	CONTAINER("unknown kind of seccomp profile: 3");
	s.seccomp = NULL;
	s.supplemental_groups_policy = 2;
	CONTAINER("unknown policy of supplemental groups: 2");
}

static void test_selinux(void **state)
{
	struct api_cri_se_linux_option none = {}, level = { .level = SPAN("s0:c1") };
	OK(cri_spec_selinux(NULL, true, &err));
	OK(cri_spec_selinux(&none, true, &err));
	OK(cri_spec_selinux(&level, false, &err));
	FAILS(ERR_UNSUPPORTED, "SELinux labels are not supported", cri_spec_selinux(&level, true, &err));
}

static void test_labels(void **state)
{
	const struct api_pair have[] = { { SPAN("a"), SPAN("1") }, { SPAN("b"), SPAN("") } };
	const struct api_pair one[] = { { SPAN("b"), SPAN("") } }, other[] = { { SPAN("a"), SPAN("2") } };
	assert_true(cri_labels_match(NULL, 0, have, 2));
	assert_true(cri_labels_match(one, 1, have, 2));
	assert_true(cri_labels_match(have, 2, have, 2));
	assert_false(cri_labels_match(other, 1, have, 2));
	assert_false(cri_labels_match(have, 2, one, 1));
}

/* Whoever has the folder's lock as its descriptor `as`, as a plugin of an engine that was killed has it. */
static pid_t holder_start(const char *folder, int as)
{
	int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), said[2];
	assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(pipe2(said, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		(void)alarm(60);
		if (dup2(said[1], 100) < 0 || dup2(lock, 101) < 0 || close(lock) < 0 || dup2(101, as) < 0)
			_exit(1);
		close(101);
		if (write(100, "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	char x;
	close(said[1]);
	assert_int_equal(read(said[0], &x, 1), 1);
	close(said[0]);
	close(lock); /* without letting go, as the kernel does it for the dead */
	return pid;
}

static int ended_by(pid_t pid, int options)
{
	int status = 0;
	return waitpid(pid, &status, options) == pid && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_alone(void **state)
{
	auto_err struct err err = ERR_INIT;
	char folder[] = "/tmp/knarr-alone-XXXXXX";
	int ending[2];
	assert_non_null(mkdtemp(folder));
	assert_int_equal(pipe2(ending, O_CLOEXEC), 0);
	/* One in the middle of its answer is ended. */
	pid_t pid = holder_start(folder, CRI_PLUGIN_LOCK_FD);
	int lock = cri_alone_begin(folder, "s", ending[0], &err);
	assert_true(lock >= 0);
	assert_int_equal(ended_by(pid, 0), SIGKILL);
	/* What has the folder open after the answer is nobody's to end. */
	pid_t left = fork();
	if (left == 0) {
		(void)alarm(60);
		if (dup2(lock, CRI_PLUGIN_LOCK_FD) < 0)
			_exit(1);
		pause();
		_exit(0);
	}
	cri_alone_end(&lock);
	assert_int_equal(lock, -1);
	lock = cri_alone_begin(folder, "s", ending[0], &err);
	assert_true(lock >= 0);
	cri_alone_end(&lock);
	assert_int_equal(ended_by(left, WNOHANG), 0);
	/* One that has the lock elsewhere is not found: the engine's end does not wait for it. */
	pid = holder_start(folder, 77);
	assert_int_equal(write(ending[1], "x", 1), 1);
	assert_int_equal(cri_alone_begin(folder, "s", ending[0], &err), -ERR_CANCELLED);
	err_done(&err);
	assert_int_equal(ended_by(pid, WNOHANG), 0);
	kill(pid, SIGKILL);
	kill(left, SIGKILL);
	assert_int_equal(ended_by(pid, 0), SIGKILL);
	assert_int_equal(ended_by(left, 0), SIGKILL);
	lock = cri_alone_begin(folder, "s", -1, &err);
	assert_true(lock >= 0);
	cri_alone_end(&lock);
	assert_int_equal(cri_alone_begin("/tmp/knarr-alone-none/x", "s", -1, &err), -ERR_NOT_FOUND);
	close(ending[0]);
	close(ending[1]);
	assert_int_equal(rmdir(folder), 0);
}

/* Who has a lock of his own on a file that has that number on another file system is nobody's to end. */
static void test_alone_beside_others(void **state)
{
	auto_err struct err err = ERR_INIT;
	char folder[2][32] = { "/tmp/knarr-alone-XXXXXX", "/tmp/knarr-alone-XXXXXX" }, path[2][48];
	struct stat st[2];
	int ending[2];
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip(); /* file systems of our own need root */
	for (int i = 0; i < 2; i++) {
		assert_non_null(mkdtemp(folder[i]));
		assert_int_equal(mount("tmpfs", folder[i], "tmpfs", 0, NULL), 0);
		snprintf(path[i], sizeof(path[i]), "%s/%s", folder[i], i ? "other" : "mine"); /* the first there: both are inode 2 */
		assert_int_equal(mkdir(path[i], 0700), 0);
		assert_int_equal(stat(path[i], &st[i]), 0);
	}
	assert_int_equal(st[0].st_ino, st[1].st_ino);
	assert_int_equal(pipe2(ending, O_CLOEXEC), 0);
	pid_t ours = holder_start(path[0], 77), theirs = holder_start(path[1], CRI_PLUGIN_LOCK_FD);
	assert_int_equal(write(ending[1], "x", 1), 1);
	assert_int_equal(cri_alone_begin(path[0], "s", ending[0], &err), -ERR_CANCELLED);
	kill(theirs, SIGTERM);
	assert_int_equal(ended_by(theirs, 0), SIGTERM);
	kill(ours, SIGKILL);
	assert_int_equal(ended_by(ours, 0), SIGKILL);
	close(ending[0]);
	close(ending[1]);
	for (int i = 0; i < 2; i++)
		assert_int_equal(umount2(folder[i], MNT_DETACH) | rmdir(folder[i]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rpcs), cmocka_unit_test(test_all_rpcs), cmocka_unit_test(test_labels),
		cmocka_unit_test(test_plugin_config), cmocka_unit_test(test_ips), cmocka_unit_test(test_ip_ranges),
		cmocka_unit_test(test_interfaces), cmocka_unit_test(test_spec), cmocka_unit_test(test_signals),
		cmocka_unit_test(test_selinux), cmocka_unit_test(test_unknown_words), cmocka_unit_test(test_alone),
		cmocka_unit_test(test_alone_beside_others) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
